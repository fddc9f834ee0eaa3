"""Data to tune a promptable network on: images, their objects, and how prompts are drawn from these.

No torch here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.masks.mask_set import Mask, boxes_of
from tim3d.models.common.digest import arrays_sha256
from tim3d.models.promptable.file_network import FileNetwork
from tim3d.models.promptable.object_prompts import check_give
from tim3d.models.promptable.promptable import Embedding, Image
from tim3d.models.promptable.prompts import ON, Prompt
from tim3d.models.segmentation.crops import last_of

ADAPTATIONS = ("decoder", "lora")
# Masks of a single point, and bytes of the losses for each pixel of a mask.
SEVERAL, LOSS_BYTES = 3, 64


@dataclass(frozen=True)
class Example:
    """A labelled image, or window of one.

    Parameters
    ----------
    image : array (y, x) of float32
        Grey values from 0 to 255.
    objects : tuple of Mask
        Its objects.
    known : array (y, x) of bool
        Pixels that are labelled, and inside the volume.
    embedding : tuple of arrays, optional
        Its embedding, if it is kept.
    """

    image: Image
    objects: tuple[Mask, ...]
    known: NDArray[np.bool_]
    embedding: Embedding | None = None


@dataclass(frozen=True)
class TuningOptions:
    """How a promptable network is tuned.

    Parameters
    ----------
    adapt : {"decoder", "lora"}
        What is tuned: the mask decoder, or besides it low-rank updates of queries and values of the
        encoder. The encoder of prompts stays as it is.
    rank : int
        Rank of these updates.
    give : {"box", "point", "both"}
        What prompts are made of.
    jitter : float
        How far an edge of a box is moved at most, in sides of the box.
    batch : int
        Objects of an image in a step, at most.
    learning_rate, decay : float
        Of AdamW.
    """

    adapt: str = "decoder"
    rank: int = 4
    give: str = "box"
    jitter: float = 0.1
    batch: int = 8
    learning_rate: float = 1e-4
    decay: float = 0.01

    def __post_init__(self) -> None:
        if self.adapt not in ADAPTATIONS:
            raise ArgumentError(f"adapt {self.adapt!r}: decoder or lora")
        check_give(self.give, "prompts")
        if self.batch < 1 or self.rank < 1 or not 0 <= self.jitter < 0.5:
            raise ArgumentError(
                f"batch {self.batch} and rank {self.rank} are 1 or more, jitter {self.jitter:g} is from 0 to below 0.5"
            )
        if not 0 < self.learning_rate < np.inf or not 0 <= self.decay < np.inf:
            raise ArgumentError(
                f"learning rate {self.learning_rate:g} is above 0, decay {self.decay:g} 0 or more, and both are finite"
            )

    def record(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self)

    def bytes_for(self, network: FileNetwork, shape: tuple[int, int]) -> int:
        """Memory of the network and of a step on an image of this shape, at most."""
        masks = SEVERAL if self.give == "point" else 1
        losses = LOSS_BYTES * masks * self.batch * math.prod(shape)
        step = network.bytes_for(shape, 4 * self.batch) + losses
        if self.adapt != "lora":
            return step
        # torch takes seconds to load
        from tim3d.models.promptable.low_rank import activation_bytes

        # activations of the encoder, and their gradients
        return step + 2 * activation_bytes(network.network, network.edge, self.rank)


def drawn_prompt(
    mask: Mask, options: TuningOptions, shape: tuple[int, int], rng: np.random.Generator
) -> Prompt:
    """Prompt of an object as a user might give it: a shifted box, and a random pixel of the object.

    Each edge of the box is moved by itself, evenly up to `jitter` sides in or out, but not out of
    the image (the authors of SAM draw alike, doi:10.1109/ICCV51070.2023.00371).
    """
    (y, x), (rows, columns) = mask.start, mask.size
    sides = np.array([columns, rows, columns, rows])
    edges = np.array([x, y, x + columns - 1, y + rows - 1])
    moved = edges + options.jitter * sides * rng.uniform(-1, 1, 4)
    x0, y0, x1, y1 = np.clip(moved, 0, np.array(shape[::-1] * 2) - 1).tolist()
    box = (x0, y0, max(x0, x1), max(y0, y1))
    if options.give == "box":
        return Prompt(np.zeros((0, 2)), np.zeros(0, np.int64), box)
    inside = np.argwhere(mask.bits)
    row, column = inside[rng.integers(len(inside))]
    point = np.array([[x + column, y + row]], np.float64)
    return Prompt(point, np.array([ON]), box if options.give == "both" else None)


def halves(examples: Sequence[Example], share: float) -> tuple[list[Example], list[Example]]:
    """Examples to learn from, and the last ones, by which the network is judged.

    A single example is used for both.

    Raises
    ------
    InputError
        If there is none.
    ArgumentError
        If the share is out of its range.
    """
    if not 0 < share < 1:
        raise ArgumentError(f"validation fraction {share:g}: it lies between 0 and 1")
    if not examples:
        raise InputError("no slice has an object to learn from")
    if len(examples) == 1:
        return list(examples), list(examples)
    held = last_of(len(examples), share)
    return list(examples[:-held]), list(examples[-held:])


def digest(examples: Sequence[Example]) -> str:
    """SHA-256 of images, objects and what is known."""
    return arrays_sha256(
        array
        for one in examples
        for masks in [[mask.packed for mask in one.objects]]
        for array in (one.image, one.known, boxes_of(one.objects), *masks)
    )
