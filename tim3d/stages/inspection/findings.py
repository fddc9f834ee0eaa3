"""Findings about a stack: each kind is a check, a value with a name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from tim3d.sources.base import VoxelSize
from tim3d.stages.inspection.seen import FEW_VALUES, Seen

_SHOWN = 6


@dataclass(frozen=True)
class Stack:
    """A stack as it is checked.

    Attributes
    ----------
    shape : (z, y, x)
        Number of voxels along each axis.
    names : tuple of str
        Names of the files of the slices, in their order; empty if they have none.
    positions_nm : tuple of float
        z of every slice from its name; empty if names hold none.
    voxel_size_nm : (dz, dy, dx)
        Voxel size; None for an axis along which it is not known.
    seen : Seen or None
        Numbers of the slices; None of a field of labels, whose grey values are not checked.
    """

    shape: tuple[int, int, int]
    names: tuple[str, ...] = ()
    positions_nm: tuple[float, ...] = ()
    voxel_size_nm: VoxelSize = (None, None, None)
    seen: Seen | None = None

    def place(self, z: int) -> str:
        """A slice by its number and, if it has one, its name."""
        return f"{z} ({self.names[z]})" if self.names else str(z)

    def places(self, slices: Sequence[int]) -> str:
        """Several slices, as text of limited length."""
        shown = ", ".join(self.place(z) for z in slices[:_SHOWN])
        more = f" and {len(slices) - _SHOWN} more" if len(slices) > _SHOWN else ""
        return f"slice{'s' if len(slices) > 1 else ''} {shown}{more}"


@dataclass(frozen=True)
class Finding:
    """Something suspicious.

    Attributes
    ----------
    text : str
        What was seen and where.
    slices : tuple of int
        Slices that it is about; empty if it is about all.
    measured, limit : float
        The largest number that was measured, and the limit that it passes.
    unit : str
        Unit of both.
    cure : str
        What to do about it, where that depends on what was seen (default: the cure of the check).
    """

    text: str
    slices: tuple[int, ...]
    measured: float
    limit: float
    unit: str
    cure: str = ""


@dataclass(frozen=True)
class NotJudged:
    """Reason why a check says nothing about a stack."""

    why: str


Verdict: TypeAlias = Finding | NotJudged | None


@dataclass(frozen=True)
class Check:
    """A kind of finding.

    Parameters
    ----------
    name : str
        Name, by which ``--accept`` takes it.
    about : str
        What it finds, as the continuation of "looks for".
    cure : str
        What to do about it.
    judge : callable
        Returns a finding, the reason why there is no judgement, or None if all is well.
    of_labels : bool
        Whether fields of labels are checked too.
    smallest : (slices, pixels)
        Least number of slices, and least edge of a slice in pixels, that can be judged.
    few_values : bool
        Whether stacks with a few grey values, which are labelled, are judged.
    """

    name: str
    about: str
    cure: str
    judge: Callable[[Stack], Verdict] = field(repr=False)
    of_labels: bool = False
    smallest: tuple[int, int] = (1, 1)
    few_values: bool = True

    def verdict(self, stack: Stack) -> Verdict:
        """Judge a stack, unless it is of a kind that cannot be judged."""
        if self.of_labels:
            return self.judge(stack)
        if stack.seen is None:
            return NotJudged("labels have no grey values")
        slices, edge = self.smallest
        if stack.shape[0] < slices or min(stack.shape[1:]) < edge:
            return NotJudged(f"needs {slices} slices of {edge} x {edge} pixels")
        if not self.few_values and stack.seen.values <= FEW_VALUES:
            return NotJudged(
                f"there are {stack.seen.values} grey values only; if they are labels, name them: --phases"
            )
        return self.judge(stack)


def seen(stack: Stack, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Numbers of all slices."""
    assert stack.seen is not None
    return np.asarray(stack.seen.numbers[name])
