"""Segmenter by a promptable network: prompts, masks of them, and the maps that a rule makes.

Every slice, or window of one, is looked at by itself. No torch here: the network is a value that
is opened in the worker.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Box, Triple
from tim3d.kernels.masks.mask_set import Mask, distinct
from tim3d.kernels.masks.structure_points import Crop
from tim3d.kernels.windows.lattice import Array
from tim3d.models.promptable.kept import Kept
from tim3d.models.promptable.mask_rules.base import MaskRule
from tim3d.models.promptable.mask_rules.file import Tuned
from tim3d.models.promptable.promptable import Embedding, Image, Promptable, Session
from tim3d.models.promptable.prompting.base import Prompting
from tim3d.models.promptable.prompts import Batch, Prompt, batches
from tim3d.models.segmentation.segmenter import Map, Maps, Segmenter
from tim3d.models.segmentation.segmenter_check import check_segmenter

# Masks of a prompt of one point: a part, an object, a group of them.
SEVERAL = 3
# Bytes for each pixel of an image besides its masks: floats, logits, labels, maps, and their copies.
PIXEL_BYTES = 96


@lru_cache(maxsize=4)
def session_of(network: Promptable) -> Session:
    """The network, loaded once in each process."""
    return network.open()


@dataclass(frozen=True)
class PromptedSegmenter(Segmenter):
    """A promptable network with its prompts and its rule for masks.

    Parameters
    ----------
    network : Promptable
        The network.
    prompting : Prompting
        Where prompts come from.
    rule : MaskRule
        What becomes of masks.
    black, white : float
        Grey values that become 0 and 255 of the image.
    pixels : (y, x)
        Edges of a window in pixels: those of a slice for whole slices.
    border : int
        Border of a window in pixels that is thrown away.
    batch : int
        Prompts that the network gets at a time; affects the last bits.
    kept : Kept, optional
        Embeddings that are kept in the sample; they give the same bits as computed ones.
    tuned : Tuned, optional
        Where the limits of the rule come from, if they were chosen on labelled images.
    """

    network: Promptable
    prompting: Prompting
    rule: MaskRule
    pixels: tuple[int, int]
    black: float = 0.0
    white: float = 255.0
    border: int = 0
    batch: int = 64
    kept: Kept | None = None
    tuned: Tuned | None = None
    kind: ClassVar[str] = "promptable"
    needs_torch: ClassVar[bool] = True
    whole_slices: ClassVar[bool] = True

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the labels."""
        return self.rule.classes(self.prompting.names)

    @property
    def maps(self) -> tuple[Map, ...]:  # type: ignore[override]
        """Maps of the rule."""
        return self.rule.maps

    @property
    def sha256(self) -> str:  # type: ignore[override]
        """Digest of the file of the network."""
        return self.network.sha256

    @property
    def inputs(self) -> dict[str, str]:
        """Fields from which prompts are read."""
        return self.prompting.inputs

    @property
    def read_sample(self) -> str:
        """The sample of its prompts or of its embeddings."""
        return str(getattr(self.kept or self.prompting, "sample", ""))

    def description(self) -> dict[str, Any]:
        """All that determines the maps."""
        return {
            "kind": self.kind,
            "version": self.version,
            "network": self.network.description(),
            "prompts": self.prompting.description(),
            "masks": self.rule.description(),
            "grey": [self.black, self.white],
            "window": self.pixels,
            "border": self.border,
            "batch": self.batch,
            "maps": [one.description() for one in self.maps],
            **({"tuned": self.tuned.sha256} if self.tuned else {}),
        }

    @property
    def window(self) -> Triple:  # type: ignore[override]
        """Windows of one slice: the whole of it, or on a lattice that is fixed in the volume."""
        return (1, *self.pixels)

    @property
    def halo(self) -> Triple:  # type: ignore[override]
        """Border of a window that is thrown away."""
        return (0, self.border, self.border)

    def block_bytes(self, shape: Triple, core: Triple, read: Triple, voxel_bytes: int) -> int:
        """Bytes of a block: grey values and maps, the network, and all masks of an image."""
        maps = sum(np.dtype(one.dtype).itemsize for one in self.maps)
        held = math.prod(read) * 2 * voxel_bytes + math.prod(core) * (3 * (1 + maps) + 8)
        return held + self.image_bytes(self.pixels)

    def image_bytes(self, shape: tuple[int, int]) -> int:
        """Bytes for an image: the network, and every mask of every prompt as bits."""
        each = 1 if self.prompting.explicit else SEVERAL
        masks = each * sum(self.prompting.most(crop) for crop in self.prompting.crops(shape))
        return (
            self.network.bytes_for(shape, self.batch)
            + self.mask_bytes(shape)
            + PIXEL_BYTES * math.prod(shape)
            + self.rule.bytes_for(masks)
        )

    def mask_bytes(self, shape: tuple[int, int]) -> int:
        """Bytes of every mask of every prompt of an image, as bits, at most."""
        each = 1 if self.prompting.explicit else SEVERAL
        crops = self.prompting.crops(shape)
        return each * sum(self.prompting.most(one) * math.prod(one.shape) for one in crops) // 8

    def check(self, sample: str, shape: Triple) -> PromptedSegmenter:
        """The segmenter with prompts that are ready; refuses what does not fit the volume."""
        if self.batch < 1 or not self.black < self.white:
            raise ArgumentError(
                f"batch {self.batch} is 1 or more, and grey values run from {self.black} up to {self.white}"
            )
        prompting = self.prompting.ready(sample, shape)
        self.rule.check(prompting.names)
        made = replace(self, prompting=prompting)
        check_segmenter(made, shape)
        return made

    def open(self) -> Callable[..., Maps]:
        """Load the network, and return the function of windows."""
        session = session_of(self.network)

        def look(grey: Array, place: Box) -> Maps:
            return self.look(session, grey[0], place)

        return look

    def look(self, session: Session, grey: Array, place: Box) -> Maps:
        """Labels and maps (1, y, x) of a window of one slice."""
        image = self.scaled(grey)
        where = f"slice {place.start[0]}, window from {place.start[1:]}"
        if image.min() == image.max():
            self._refuse_empty(f"{where} has one grey value everywhere", "Leave it out")
            masks: list[Mask] = []
        else:
            masks = self.masks(session, image, place)
        if not masks:
            self._refuse_no_mask(where, place)
        found = self.rule.result(masks, image, self.prompting.names)
        return {name: values[None] for name, values in found.items()}

    @property
    def embedding_floats(self) -> int:
        """Numbers in the embedding of a window."""
        return sum(math.prod(one) for one in self.network.shapes(self.pixels))

    def scaled(self, grey: Array) -> Image:
        """Grey values from 0 to 255, cut at both."""
        share = (grey.astype(np.float32) - np.float32(self.black)) * np.float32(
            255 / (self.white - self.black)
        )
        cut: Image = np.clip(share, np.float32(0), np.float32(255))
        return cut

    def _refuse_no_mask(self, where: str, place: Box) -> None:
        asked = self.prompting.explicit
        if asked and not self.prompting.marks(np.zeros(place.shape[1:], np.uint8), place):
            return  # nothing was asked for here
        iou, sure, _ = self.rule.limits(asked)
        self._refuse_empty(
            f"{where} has no mask of an expected IoU of {iou:g}, a stability of {sure:g} and {self.rule.smallest} "
            f"to {self.rule.largest or 'any'} pixels",
            "Lower the limits",
        )

    def _refuse_empty(self, found: str, cure: str) -> None:
        if self.rule.empty != "accept":
            raise InputError(
                f"{found}. {cure}, or let it stay empty: --masks {self.rule.kind}:empty=accept"
            )

    def masks(self, session: Session, image: Image, place: Box) -> list[Mask]:
        """Masks of an image that pass the rule, without copies."""
        nms = self.rule.limits(self.prompting.explicit)[2]
        return distinct(self.of_crops(session, image, place), nms)

    def of_crops(self, session: Session, image: Image, place: Box) -> Iterator[list[Mask]]:
        """Yield the masks of each crop of an image that pass the rule, with copies."""
        grey = np.rint(image).astype(np.uint8)
        marks = self.prompting.marks(grey, place)
        crops = self.prompting.crops(image.shape)
        limits = self.rule.limits(self.prompting.explicit)
        for number, crop in enumerate(crops):
            prompts = self.prompting.prompts(grey, crop, marks)
            if len(prompts) > self.prompting.most(crop):
                raise InputError(
                    f"slice {place.start[0]} has {len(prompts)} prompts, and the memory is planned for "
                    f"{self.prompting.most(crop)}: give windows, --window 512,512 --halo 64"
                )
            seen: list[Mask] = []
            if prompts:
                part = np.ascontiguousarray(image[crop.slices])
                embedding = self.embedding(session, part, place, number)
                seen = self._of_crop(session, embedding, prompts, crop, image.shape, limits)
            yield seen

    def embedding(self, session: Session, part: Image, place: Box, crop: int) -> Embedding:
        """Embedding of a crop of a window: kept, or computed."""
        if self.kept is None:
            return session.embed(part)
        edges = (place.start[1] + self.border, place.start[2] + self.border)
        y, x = (a // (n - 2 * self.border) for a, n in zip(edges, self.pixels, strict=True))
        return self.kept.read(self.kept.row((place.start[0], y, x), crop))

    def _of_crop(
        self,
        session: Session,
        embedding: Embedding,
        prompts: Sequence[Prompt],
        crop: Crop,
        shape: tuple[int, ...],
        limits: tuple[float, float, float],
    ) -> list[Mask]:
        found: dict[int, list[Mask]] = {}
        for batch in batches(prompts, self.batch):
            for number, mask in self._answers(
                session, embedding, batch, prompts, crop, shape, limits
            ):
                found.setdefault(number, []).append(mask)
        return [mask for number in sorted(found) for mask in found[number]]

    def _answers(
        self,
        session: Session,
        embedding: Embedding,
        batch: Batch,
        prompts: Sequence[Prompt],
        crop: Crop,
        shape: tuple[int, ...],
        limits: tuple[float, float, float],
    ) -> list[tuple[int, Mask]]:
        """Masks of a batch that pass, each with the number of its prompt."""
        several = batch.boxes is None and batch.points.shape[1] == 1
        answer = session.answer(embedding, crop.shape, batch, several)
        chosen = _chosen(answer.quality, self.prompting.explicit)
        found = []
        for row, column in chosen:
            quality = float(answer.quality[row, column])
            if quality < limits[0]:
                continue
            name = prompts[batch.numbers[row]].name
            size = (shape[0], shape[1])
            mask = self.rule.screened(answer.logits(row, column), quality, crop, size, limits, name)
            if mask is not None:
                found.append((batch.numbers[row], mask))
        return found


def _chosen(quality: NDArray[np.float32], explicit: bool) -> list[tuple[int, int]]:
    """Masks that are looked at: all, or the best one of each prompt."""
    if explicit:
        return [(row, int(best)) for row, best in enumerate(quality.argmax(axis=1))]
    return [(int(row), int(column)) for row, column in np.ndindex(quality.shape)]
