"""Labelled windows of a sample, as a promptable network and its rule for masks are tuned on them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple
from tim3d.kernels.windows.lattice import Array, Lattice
from tim3d.models.promptable.kept import Kept
from tim3d.models.promptable.object_prompts import objects_in
from tim3d.models.promptable.promptable import Image
from tim3d.models.promptable.prompted_segmenter import PromptedSegmenter
from tim3d.models.promptable.prompting.field import voxels_in
from tim3d.models.promptable.tuning_data import Example
from tim3d.stages.segmentation.prompted import window_in
from tim3d.stages.shared.agreement import UNLABELLED
from tim3d.storage import store
from tim3d.storage.schema import Field


class Windowed(Protocol):
    """Windows of a network in a volume."""

    @property
    def pixels(self) -> tuple[int, int]:
        """Edges of a window."""

    @property
    def kept(self) -> Kept | None:
        """Embeddings that are kept in the sample."""

    @property
    def embedding_floats(self) -> int:
        """Numbers in the embedding of a window."""

    def lattice(self, shape: Triple) -> Lattice | None:
        """Lattice of the windows over a volume."""

    def scaled(self, grey: Array) -> Image:
        """Grey values from 0 to 255."""


S = TypeVar("S", bound=Windowed)


@dataclass(frozen=True)
class LabelledWindows(Generic[S]):
    """Windows of some slices, of which those with an object are learnt from.

    Parameters
    ----------
    sample : str
        The sample.
    grey, labelled : Field
        Grey values; numbers of objects, or labels whose components are objects.
    segmenter : Windowed
        Has the windows, the range of grey values, and kept embeddings if there are any.
    slices : tuple of int
        Slices that are looked at.
    smallest : int
        Pixels below which an object of a window is left out.
    """

    sample: str
    grey: Field
    labelled: Field
    segmenter: S
    slices: tuple[int, ...]
    smallest: int

    def check(self) -> None:
        """Refuse fields that do not fit.

        Raises
        ------
        ArgumentError
            With what was found.
        """
        same = self.grey.name == self.labelled.name
        if self.grey.labels or same or not (self.labelled.labels or self._numbered):
            raise ArgumentError(
                f"tuning needs grey values and objects or labels, not {self.grey.name!r} and {self.labelled.name!r}: "
                "numbers of objects are uint16 or uint32, labels have --phases"
            )
        if self.grey.shape != self.labelled.shape:
            raise ArgumentError(
                f"{self.labelled.name!r} has the shape {self.labelled.shape}, and {self.grey.name!r} {self.grey.shape}"
            )
        if not self.slices or self.smallest < 1:
            raise ArgumentError(
                f"slices {self.slices} of {self.grey.shape[0]}, smallest {self.smallest}: at least one of both"
            )

    @property
    def _numbered(self) -> bool:
        return self.labelled.may_number

    @property
    def windows(self) -> int:
        """Windows at most."""
        _, y, x = self.lattice.counts
        return len(self.slices) * y * x

    @property
    def bytes(self) -> int:
        """Bytes of all of them with their embeddings, at most."""
        window = 4 * self.segmenter.embedding_floats + 6 * math.prod(self.segmenter.pixels)
        return self.windows * window

    @property
    def lattice(self) -> Lattice:
        """Lattice of the windows."""
        lattice = self.segmenter.lattice(self.grey.shape)
        assert lattice is not None, "windows are those of a lattice"
        return lattice

    def examples(self) -> list[Example]:
        """Windows with an object, by slice, row and column, with kept embeddings."""
        return [self._with_kept(one, index) for index, one in self.placed()]

    def placed(self, *, empty: bool = False) -> Iterator[tuple[Triple, Example]]:
        """Yield the windows with an object, each with its index on the lattice; or empty ones too."""
        _, rows, columns = self.lattice.counts
        every = ((z, y, x) for z in self.slices for y in range(rows) for x in range(columns))
        greys = store.field_array(self.sample, self.grey.name)
        phases = self.labelled.phases
        unknown = phases.get(UNLABELLED, -1) if phases else -1
        for index in every:
            box = self.lattice.box(index)
            labels = voxels_in(self.sample, self.labelled.name, box)[0]
            known = self._known(box) & (labels != unknown)
            labels = np.where(known, labels, 0)
            found = objects_in(labels, self.smallest, numbered=self._numbered)
            if found or empty:
                grey = window_in(greys, self.lattice, index)
                yield index, Example(self.segmenter.scaled(grey), tuple(found), known)

    def _known(self, box: Box) -> np.ndarray:
        """Which pixels of a window are in the volume."""
        known: np.ndarray = np.zeros(box.shape, bool)
        known[box.clip(Box.whole(self.grey.shape)).within(box).slices] = True
        return np.asarray(known[0])

    def _with_kept(self, one: Example, index: Triple) -> Example:
        kept = self.segmenter.kept
        return one if kept is None else replace(one, embedding=kept.read(kept.row(index, 0)))


@dataclass(frozen=True)
class JudgedWindows:
    """Windows of the slices that have an object, as masks are judged on them."""

    windows: LabelledWindows[PromptedSegmenter]

    def labelled(self) -> dict[Triple, Example]:
        """All windows of the slices with an object, by their index."""
        every = dict(self.windows.placed(empty=True))
        seen = {z for (z, _, _), one in every.items() if one.objects}
        return {index: one for index, one in every.items() if index[0] in seen}

    def segmenter_of(self, key: Triple) -> PromptedSegmenter:
        """The same for all windows."""
        return self.windows.segmenter

    def place_of(self, key: Triple) -> Box:
        """Box of a window."""
        return self.windows.lattice.box(key)

    def judged_of(self, key: Triple) -> Box:
        """Part of a window without its border."""
        return self.windows.lattice.support(key).within(self.windows.lattice.box(key))

    def identity_of(self, key: Triple) -> Mapping[str, Any]:
        """Fingerprint of the grey field, and the index."""
        grey = store.fingerprint_of(self.windows.sample, self.windows.grey.name)
        return {"image": grey, "index": key}
