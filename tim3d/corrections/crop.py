"""Crop: a box of the stack, without the data bar of the microscope."""

from __future__ import annotations

from dataclasses import dataclass

from tim3d.corrections.base import Correction, Greys, Stack
from tim3d.errors import ArgumentError
from tim3d.typed import VoxelRange


@dataclass(frozen=True)
class Crop(Correction):
    """Keep a box of the stack, and nothing else.

    Parameters
    ----------
    z, y, x : slice
        Voxels that are kept, as in 10:1000 (default: all). A negative end counts from the far side.
    bar : int
        Rows at the bottom that are left out besides: the data bar of the microscope.
    """

    z: VoxelRange | None = None
    y: VoxelRange | None = None
    x: VoxelRange | None = None
    bar: int = 0

    kind = "crop"

    def check(self, stack: Stack) -> None:
        """Refuse a box that is empty or reaches beyond the stack."""
        if not 0 <= self.bar < stack.shape[1]:
            raise ArgumentError(f"crop bar {self.bar}: slices have {stack.shape[1]} rows")
        for axis, asked, kept, count in zip(
            "zyx", (self.z, self.y, self.x), self._box(stack), stack.shape, strict=True
        ):
            ends = (asked.start, asked.stop) if asked is not None else ()
            if not kept or any(end is not None and abs(end) > count for end in ends):
                raise ArgumentError(
                    f"crop {axis}={asked.start}:{asked.stop} does not lie in the stack, which has {count} voxels along "
                    f"{axis}: write {axis}=0:{count} or less"
                    if asked is not None
                    else f"crop keeps nothing along {axis}"
                )

    def made(self, stack: Stack) -> Stack:
        """The box."""
        z, y, x = (len(kept) for kept in self._box(stack))
        return Stack((z, y, x), stack.dtype, stack.spacing_nm)

    def reads(self, stack: Stack, wanted: range) -> range:
        """The same slices, counted in the whole stack."""
        return self._box(stack)[0][wanted.start : wanted.stop]

    def correct(self, grey: Greys, first: int) -> Greys:
        """The grey values as they are."""
        return grey

    def region(self, stack: Stack, grey: Greys, given: range, wanted: range) -> Greys:
        """The box of the slices."""
        _, y, x = self._box(stack)
        return grey[:, y.start : y.stop, x.start : x.stop]

    def working_bytes(self, shape: tuple[int, int, int]) -> int:
        """None: the box is a view."""
        return 0

    def _box(self, stack: Stack) -> tuple[range, range, range]:
        """Voxels that are kept along each axis."""
        z, y, x = (
            range(*(asked or slice(None)).indices(count))
            for asked, count in zip((self.z, self.y, self.x), stack.shape, strict=True)
        )
        return z, range(y.start, min(y.stop, stack.shape[1] - self.bar)), x
