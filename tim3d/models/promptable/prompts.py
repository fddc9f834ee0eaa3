"""Prompts of one image: points and boxes, as a network is given them. No torch here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Labels of points: on the object, not on it.
ON, OFF = 1, 0
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Prompt:
    """One prompt, which asks for one object.

    Parameters
    ----------
    points : array (n, 2) of float
        Pixels (x, y), whole numbers at pixel centres.
    labels : array (n,) of int
        1 for a point on the object, 0 for one that is not on it.
    box : (x0, y0, x1, y1), optional
        First and last pixel of a box around the object.
    name : str
        Phase of the object; "" if it has none.
    """

    points: Floats
    labels: NDArray[np.int64]
    box: tuple[float, float, float, float] | None = None
    name: str = ""

    @property
    def is_single(self) -> bool:
        """Whether it is one point only, which may mean a part, an object or a group of them."""
        return self.box is None and len(self.points) == 1

    def moved(self, x: float, y: float) -> Prompt:
        """The same prompt in an image that begins at this pixel."""
        box = self.box and (self.box[0] - x, self.box[1] - y, self.box[2] - x, self.box[3] - y)
        return Prompt(self.points - [x, y], self.labels, box, self.name)


def point(x: float, y: float) -> Prompt:
    """Prompt of one point on an object."""
    return Prompt(np.array([[x, y]], np.float64), np.array([ON]))


@dataclass(frozen=True)
class Batch:
    """Prompts of equal form: as many points each, and all or none with a box.

    Parameters
    ----------
    numbers : tuple of int
        Place of each prompt in the list that they are from.
    points : array (prompts, n, 2) of float
        Pixels (x, y).
    labels : array (prompts, n) of int
        1 or 0.
    boxes : array (prompts, 4) of float, optional
        (x0, y0, x1, y1) of each.
    """

    numbers: tuple[int, ...]
    points: Floats
    labels: NDArray[np.int64]
    boxes: Floats | None

    def __len__(self) -> int:
        return len(self.numbers)


def batches(prompts: Sequence[Prompt], most: int) -> Iterator[Batch]:
    """Prompts in batches of equal form, of `most` at a time, in their own order within a form.

    >>> [len(batch) for batch in batches([point(1, 1), point(2, 2), point(3, 3)], 2)]
    [2, 1]
    """
    forms: dict[tuple[int, bool], list[int]] = {}
    for number, one in enumerate(prompts):
        forms.setdefault((len(one.points), one.box is None), []).append(number)
    for numbers in forms.values():
        for first in range(0, len(numbers), most):
            yield _batch(prompts, numbers[first : first + most])


def _batch(prompts: Sequence[Prompt], numbers: Sequence[int]) -> Batch:
    chosen = [prompts[n] for n in numbers]
    boxes = [one.box for one in chosen if one.box is not None]
    return Batch(
        tuple(numbers),
        np.stack([one.points.reshape(-1, 2) for one in chosen]),
        np.stack([one.labels for one in chosen]).astype(np.int64),
        np.array(boxes, np.float64) if boxes else None,
    )
