"""Corrections whose lengths are nanometres, turned into voxels along each axis of a field."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from tim3d.corrections.base import Correction, Greys, Stack, as_type

Spacing: TypeAlias = tuple[float, float, float]


class InNanometres(Correction):
    """Correction that has to know the edges of a voxel."""

    @abstractmethod
    def at(self, grey: Greys, spacing_nm: Spacing) -> Greys:
        """Corrected grey values of whole slices, of the same shape.

        Parameters
        ----------
        grey : array (slices, y, x)
            Whole slices, cut at the ends of the stack.
        spacing_nm : (dz, dy, dx)
            Edges of a voxel.
        """

    def halo_at(self, spacing_nm: Spacing) -> int:
        """Slices before and after a slice that it depends on."""
        return 0

    def correct(self, grey: Greys, first: int) -> Greys:
        """As `at`, for voxels with edges of one nanometre."""
        return self.at(grey, (1.0, 1.0, 1.0))

    def halo_in(self, stack: Stack) -> int:
        """Halo for the voxels of a field."""
        return self.halo_at(stack.spacing_nm)

    def region(self, stack: Stack, grey: Greys, given: range, wanted: range) -> Greys:
        """Corrected grey values of the wanted slices, in the type of the field."""
        inner = slice(wanted.start - given.start, wanted.stop - given.start)
        return as_type(self.at(grey, stack.spacing_nm)[inner], stack.dtype)


def by_slice(change: Callable[[Greys], Greys], grey: Greys) -> Greys:
    """Slices after a change, each back in its type before the next one: floats of one are held.

    >>> by_slice(lambda one: one * 1.2, np.array([[[10, 250]]], np.uint8)).tolist()
    [[[12, 255]]]
    """
    out = np.empty_like(grey)
    for one, made in zip(grey, out, strict=True):
        made[...] = as_type(change(one), str(grey.dtype))
    return out
