"""Voxels of a known phase with their probabilities, slice by slice: what a calibration is made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Box
from tim3d.kernels.morphology.boundary_bands import NONE, half_widths, near, on_boundary
from tim3d.kernels.statistics.calibration import Known
from tim3d.stages.shared.agreement import UNLABELLED
from tim3d.stages.uncertainty.probabilities import Probabilities
from tim3d.storage import store
from tim3d.storage.advice import other_stack
from tim3d.storage.schema import Field

Ranks: TypeAlias = NDArray[np.uint8]
Mask: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Slice:
    """A slice with labels: its number, the rank of the true phase of each pixel, the probabilities."""

    z: int
    ranks: Ranks
    shares: Floats

    @property
    def known(self) -> Mask:
        """Pixels with a label."""
        return np.asarray(self.ranks != NONE)


@dataclass(frozen=True)
class Labelled:
    """The labelled slices of a truth.

    Parameters
    ----------
    probabilities : Probabilities
        Of the segmentation.
    true : Field
        The field of true labels.
    planes : (int, int)
        Slices that count, from the first to before the last.
    """

    probabilities: Probabilities
    true: Field
    planes: tuple[int, int]

    def check(self) -> None:
        """Refuse a truth that does not fit the segmentation."""
        labels, true = self.probabilities.labels, self.true
        if true.shape != labels.shape:
            raise ArgumentError(other_stack(labels.name, labels.shape, true.name, true.shape))
        names = {name for name in true.phases or () if name != UNLABELLED}
        if names != set(self.probabilities.phases):
            raise ArgumentError(
                f"{true.name!r} has the phases {', '.join(sorted(names))}, and {labels.name!r} has "
                f"{', '.join(sorted(self.probabilities.phases))}: they must be the same"
            )

    @cached_property
    def numbers(self) -> list[int]:
        """Numbers of the slices with a label.

        Raises
        ------
        InputError
            If there are none.
        """
        found = [z for z, ranks in self._ranked(range(*self.planes)) if (ranks != NONE).any()]
        if not found:
            raise InputError(f"no voxel of {self.true.name!r} is labelled in these slices")
        return found

    @cached_property
    def units(self) -> NDArray[np.int64]:
        """Unit of each labelled slice: its run of consecutive slices, or itself if there are few runs."""
        apart = np.diff(self.numbers, prepend=self.numbers[0]) > 1
        runs = np.cumsum(apart)
        return np.asarray(runs if runs[-1] >= 2 else np.arange(len(self.numbers)), np.int64)

    def slices(self) -> Iterator[Slice]:
        """The labelled slices, in order."""
        for z, ranks in self._ranked(self.numbers):
            _, ny, nx = self.true.shape
            shares = self.probabilities.read(Box((z, 0, 0), (z + 1, ny, nx)))
            yield Slice(z, ranks, shares[:, 0])

    def _ranked(self, numbers: range | list[int]) -> Iterator[tuple[int, Ranks]]:
        """Ranks of the phases of slices; shards are read once each."""
        table, thick = self._table, self.true.shard[0]
        array = store.field_array(self.probabilities.sample, self.true.name)
        first, slab = -1, np.empty((0, 0, 0), np.uint8)
        for z in numbers:
            if z // thick != first:
                first, (nz, ny, nx) = z // thick, self.true.shape
                box = Box((first * thick, 0, 0), (min((first + 1) * thick, nz), ny, nx))
                slab = store.read_box(array, box)
            yield z, table[slab[z - first * thick]]

    @property
    def _table(self) -> Ranks:
        table = np.full(256, NONE, np.uint8)
        for name, code in (self.true.phases or {}).items():
            if name != UNLABELLED:
                table[code] = self.probabilities.phases.index(name)
        return table

    def voxels(self, most: int, distance: float) -> tuple[Known, Mask]:
        """Labelled voxels, and whether each lies near an interface of the truth.

        Parameters
        ----------
        most : int
            Most voxels; of more, every second, third, ... in C order.
        distance : float
            What is near, in nm in the plane of the slice.
        """
        total = sum(int(one.known.sum()) for one in self.slices())
        step, before = max(1, -(-total // most)), 0
        widths = half_widths(distance, self.true.spacing_nm[1:])
        shares, truth, unit, close = [], [], [], []
        for one, number in zip(self.slices(), self.units, strict=True):
            places = np.flatnonzero(one.known.ravel())
            kept = places[(-before) % step :: step]
            before += len(places)
            shares.append(one.shares.reshape(len(one.shares), -1)[:, kept])
            truth.append(one.ranks.ravel()[kept].astype(np.int64))
            unit.append(np.full(len(kept), number, np.int64))
            close.append(near(on_boundary(one.ranks), widths).ravel()[kept])
        known = Known(
            np.concatenate(shares, axis=1), np.concatenate(truth), np.concatenate(unit), self.probabilities.least
        )  # fmt: skip
        return known, np.concatenate(close)
