"""Objects of some slices, propagated to the slices between them by prompts; no torch here.

From a drawn slice a chain runs up and one runs down, each until the next drawn slice or for `reach`
slices. A step asks the network for each component of an object by its box and innermost pixel; the
object ends where the answer has an IoU below `least` with it. A slice z between the drawn slices s
and t gets, of an object of both chains, the pixels where

    (t - z) d_s + (z - s) d_t > 0

with d the distance to the border of the object in the slice by either chain, positive inside
(shape-based interpolation); of an object of one chain, its mask. The rule is the same for the stack
upside down, and does not depend on blocks or windows.

References
----------
Raya & Udupa (1990), DOI 10.1109/42.52980 (shape-based interpolation).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tim3d.grid import Box
from tim3d.kernels.masks.mask_set import Mask, image_of, mask_of, merged
from tim3d.lazy import ndimage
from tim3d.models.promptable.object_prompts import objects_in, prompt_of
from tim3d.models.promptable.promptable import Answers, Embedding, Image, Session
from tim3d.models.promptable.prompted_segmenter import PromptedSegmenter
from tim3d.models.promptable.prompting.base import Grey8, Prompting
from tim3d.models.promptable.prompts import Batch, Prompt

# Objects of a slice by their number or code.
Objects: TypeAlias = Mapping[int, Mask]


@dataclass(frozen=True)
class FixedPrompts(Prompting):
    """Prompts that are given for one image, each of one object."""

    given: tuple[Prompt, ...] = ()
    explicit: ClassVar[bool] = True
    kind: ClassVar[str] = "fixed"

    def marks(self, grey: Grey8, place: Box) -> list[Prompt]:
        """All of them."""
        return list(self.given)


class CachedSession:
    """A session that computes the embedding of an image once."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.cache: dict[bytes, Embedding] = {}

    def embed(self, image: Image) -> Embedding:
        """Embedding of an image."""
        key = hashlib.blake2b(image.tobytes()).digest()
        if key not in self.cache:
            self.cache[key] = self.session.embed(image)
        return self.cache[key]

    def answer(
        self, embedding: Embedding, shape: tuple[int, int], batch: Batch, several: bool
    ) -> Answers:
        """Masks of prompts."""
        return self.session.answer(embedding, shape, batch, several)


@dataclass(frozen=True)
class Propagation:
    """How objects are propagated from slice to slice.

    Parameters
    ----------
    reach : int
        Slices to which an object is propagated at most.
    give : {"box", "point", "both"}
        What the prompt of a connected component of an object is made of.
    least : float
        Intersection over union of an object in two slices below which it ends.
    smallest : int
        Pixels below which a component is not asked for, and an object ends.
    """

    reach: int
    give: str
    least: float
    smallest: int

    def step(
        self,
        segmenter: PromptedSegmenter,
        session: Session,
        image: Image,
        place: Box,
        before: Objects,
    ) -> dict[int, Mask]:
        """Objects of a slice from those of the slice beside it."""
        if image.min() == image.max():
            return {}
        prompts = tuple(
            replace(prompt_of(part, self.give), name=str(key))
            for key, mask in before.items()
            for part in self._components(mask)
        )
        if not prompts:
            return {}
        asking = replace(segmenter, prompting=FixedPrompts(prompts))
        answers: dict[int, list[Mask]] = {}
        for mask in asking.masks(session, image, place):
            answers.setdefault(int(mask.name), []).append(mask)
        found = {key: merged(parts) for key, parts in sorted(answers.items())}
        return {key: mask for key, mask in found.items() if self._continues(before[key], mask)}

    def _components(self, mask: Mask) -> list[Mask]:
        found = objects_in(mask.bits.astype(np.uint8), self.smallest, numbered=False)
        return [one.moved(*mask.start) for one in found]

    def _continues(self, before: Mask, now: Mask) -> bool:
        both = merged([before, now]).area
        shared = before.area + now.area - both
        return now.area >= self.smallest and shared >= self.least * both

    def ends(self, seeds: Sequence[int], core: range) -> Iterator[tuple[int, range]]:
        """Drawn slices, and the slices of each chain from them that a core needs."""
        for number, seed in enumerate(seeds):
            up = seeds[number + 1] if number + 1 < len(seeds) else core.stop
            last = min(up, seed + self.reach + 1, core.stop)
            if last > core.start and seed + 1 < last:
                yield seed, range(seed + 1, last)
            down = seeds[number - 1] if number else core.start - 1
            first = max(down, seed - self.reach - 1, core.start - 1)
            if first < core.stop - 1 and seed - 1 > first:
                yield seed, range(seed - 1, first, -1)


def between(below: Mask, above: Mask, z: int, s: int, t: int) -> Mask | None:
    """Mask in slice z from those that slices s and t led to; None if nothing is left.

    >>> from tim3d.kernels.masks.mask_set import boxed
    >>> left, right = (boxed((0, x), np.ones((3, 4), bool)) for x in (0, 2))
    >>> between(left, right, 2, 1, 3).start, between(left, right, 2, 1, 3).size
    ((0, 1), (3, 4))
    """
    box = merged([below, above])
    y, x = box.start
    under, over = (_depth(one.moved(-y, -x), box.size) for one in (below, above))
    inside = (t - z) * under + (z - s) * over > 0
    if not inside.any():
        return None
    quality = ((t - z) * below.quality + (z - s) * above.quality) / (t - s)
    return mask_of(inside, quality).moved(y, x)


def _depth(mask: Mask, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Distance to the border of a mask, halfway between two pixels; positive inside."""
    bits = np.pad(image_of(mask, shape), 1)
    inside = ndimage.distance_transform_edt(bits) - 0.5
    outside = ndimage.distance_transform_edt(~bits) - 0.5
    return np.asarray(np.where(bits, inside, -outside)[1:-1, 1:-1])


def drawn_objects(plane: NDArray[Any], leave_out: int) -> dict[int, Mask]:
    """Objects of a drawn slice by their number or code; 0 and one code are none."""
    numbers = [int(n) for n in np.unique(plane) if n not in (0, leave_out)]
    found: dict[int, Mask] = {}
    for number in numbers:
        (one,) = objects_in(np.where(plane == number, 1, 0), numbered=True)
        found[number] = one
    return found
