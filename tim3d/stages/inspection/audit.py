"""Audit of a stack: what will be read, what is suspicious, and the error that stops an ingest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tim3d.engine.passes.plan import size_text
from tim3d.errors import ArgumentError, InputError
from tim3d.grid import AXES
from tim3d.lazy import xarray as xr
from tim3d.sources import ResampledSource, Source, spacing_statistics
from tim3d.sources.base import VoxelSize
from tim3d.sources.stacks import SliceStack
from tim3d.spelling import suggestion
from tim3d.stages.inspection.checks import CHECKS, saturated_shares
from tim3d.stages.inspection.findings import Finding, NotJudged, Stack
from tim3d.stages.inspection.seen import Seen, look, peak_bytes

# Findings that the error of `ingest` states in full, and the most letters of each.
SHOWN, LONGEST = 2, 160

_VARIABLES = {
    "mean": "mean grey value of a slice",
    "std": "standard deviation of the grey values of a slice",
    "min": "lowest grey value of a slice",
    "max": "highest grey value of a slice",
    "constant_rows": "share of rows without contrast",
    "difference": "root mean square difference to the slice before",
    "correlation": "correlation with the slice before, after the displacement in whole pixels",
    "shift_y": "displacement against the slice before along y, in pixels",
    "shift_x": "displacement against the slice before along x, in pixels",
    "shift_error": "standard error of the displacement, in pixels",
}


@dataclass(frozen=True)
class Subject:
    """A stack to be audited, the voxel size that it would get, and where each length is from.

    Parameters
    ----------
    source : Source
        The stack as it is on the disk.
    voxel_size_nm : (dz, dy, dx)
        Voxel size; None for an axis along which it is not known.
    given : collection of str
        Axes whose length is given, and not from the metadata.
    labels : bool
        Whether it becomes a field of labels.
    deep : bool
        Whether every pixel counts, instead of a subsample.
    """

    source: Source
    voxel_size_nm: VoxelSize
    given: tuple[str, ...] = ()
    labels: bool = False
    deep: bool = False

    @property
    def peak_bytes(self) -> int:
        """Memory that the audit takes."""
        return 0 if self.labels else peak_bytes(self.source, deep=self.deep)

    def outline(self) -> str:
        """The audit as one line of a plan."""
        names = ", ".join(name for name, one in CHECKS.items() if one.of_labels or not self.labels)
        if self.labels:
            return f"looks at the names of {self.source.label} ({names})"
        read = self.source.shape[0] * self.source.slice_bytes
        return (
            f"reads {self.source.label} once, {size_text(read)}, and looks for {names}; "
            f"peak {size_text(self.peak_bytes)} in this process"
        )

    def audit(self, *, progress: bool = True) -> xr.Dataset:
        """Read the stack and judge it: see `tim3d.inspect`."""
        seen = None if self.labels else look(self.source, deep=self.deep, progress=progress)
        source = self.source
        names = _names(source)
        stack = Stack(source.shape, names, source.positions_nm or (), self.voxel_size_nm, seen)
        verdicts = {name: check.verdict(stack) for name, check in CHECKS.items()}
        return _dataset(stack, seen).assign_attrs(
            source=source.label,
            names=list(names),
            reads=[[label, text] for label, text in self._reads()],
            findings=[
                _as_data(name, one) for name, one in verdicts.items() if isinstance(one, Finding)
            ],
            not_judged=[
                {"name": name, "why": one.why}
                for name, one in verdicts.items()
                if isinstance(one, NotJudged)
            ],
            pixels="every pixel"
            if self.deep
            else "a subsample of at most 512 x 512 pixels a slice",
        )

    def _reads(self) -> Iterable[tuple[str, str]]:
        """Order, sizes and origins, in words."""
        source, last = self.source, self.source.shape[0] - 1
        yield "slices", f"{last + 1} of {source.shape[1]} x {source.shape[2]} pixels (y, x)"
        for place, z in (("first", 0), ("last", last)):
            names = _names(source)
            yield place, names[z] if names else f"slice {z}"
        yield "grey values", str(source.dtype)
        for axis, length in zip(AXES, self.voxel_size_nm, strict=True):
            yield f"voxel along {axis}", self._length(axis, length)
        if source.positions_nm is not None and last:
            yield "z in the names", str(spacing_statistics(source.positions_nm))
        tilts = [text for text in (source.origin, *source.remarks) if "tilt" in text.lower()]
        yield "tilt", "; ".join(tilts) or "the metadata say nothing of a tilt"
        yield from (("note", remark) for remark in source.remarks if remark not in tilts)

    def _length(self, axis: str, length: float | None) -> str:
        if length is None:
            return f"not known ({self.source.origin}); type --voxel-size {axis}=10"
        return f"{length:.6g} nm ({'given' if axis in self.given else self._origin(axis)})"

    def _origin(self, axis: str) -> str:
        from_names = axis == "z" and self.source.positions_nm is not None
        return "mean step of z in the names" if from_names else self.source.origin


def original(stack: Source) -> Source:
    """The slices as they are on the disk, of a stack that is resampled too."""
    return stack.source if isinstance(stack, ResampledSource) else stack


def _names(source: Source) -> tuple[str, ...]:
    """Names of the files of the slices, also of a stack whose values are converted."""
    inner = getattr(source, "source", source)
    return inner.names if isinstance(inner, SliceStack) else ()


def check_accepted(names: Sequence[str]) -> tuple[str, ...]:
    """Names of accepted findings in the order of the checks.

    Raises
    ------
    ArgumentError
        If there is no check of a name.
    """
    for name in names:
        if name not in CHECKS:
            raise ArgumentError(
                f"--accept {name}: there is no such finding{suggestion(name, CHECKS)}; there are {', '.join(CHECKS)}"
            )
    return tuple(name for name in CHECKS if name in names)


def refuse_suspicious(found: xr.Dataset, accepted: Sequence[str], typed: str) -> dict[str, str]:
    """Raise `InputError` for what is suspicious and not accepted; return what is accepted.

    Parameters
    ----------
    found : Dataset
        From `Subject.audit`.
    accepted : sequence of str
        Names of the checks whose findings are accepted.
    typed : str
        The source as it is typed.
    """
    findings = {one["name"]: one for one in found.attrs["findings"]}
    left = [one for name, one in findings.items() if name not in accepted]
    if left:
        names = ",".join(name for name in CHECKS if name in findings or name in accepted)
        raise InputError(
            f"{found.attrs['source']}: the stack looks wrong, and nothing is written. {_said(left)}. "
            f"{_no_grey(left)}See all with  tim3d inspect {typed}  or take it as it is: --accept {names}"
        )
    return {name: one["text"] for name, one in findings.items()}


def _no_grey(findings: Sequence[Mapping[str, Any]]) -> str:
    """Remark where masks may have been taken for grey values."""
    if "saturated" not in {one["name"] for one in findings}:
        return ""
    return (
        "Labels are read with --phases pore=0,solid=1, numbers of objects with --convert objects. "
    )


def _said(findings: Sequence[Mapping[str, Any]]) -> str:
    """The first findings with their cures, and the names of the others."""
    full = [f"{one['name']}: {_shortened(one['text'])} ({one['cure']})" for one in findings[:SHOWN]]
    rest = ", ".join(one["name"] for one in findings[SHOWN:])
    return ". ".join(full) + (f". Then there is {rest}" if rest else "")


def _shortened(text: str) -> str:
    """Text of at most `LONGEST` letters, cut between words."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST].rpartition(' ')[0]} ..."


def _as_data(name: str, found: Finding) -> dict[str, Any]:
    cure = found.cure or CHECKS[name].cure
    return {"name": name, **asdict(found), "slices": list(found.slices), "cure": cure}


def _dataset(stack: Stack, seen: Seen | None) -> xr.Dataset:
    n = stack.shape[0]
    index = {"slice": ("slice", np.arange(n), {"long_name": "slice in the order of reading"})}
    columns: Mapping[str, Any] = (
        {}
        if seen is None
        else {
            name: ("slice", seen.numbers[name], {"long_name": text, "units": "1"})
            for name, text in _VARIABLES.items()
        }
        | {
            f"saturated_{end}": ("slice", share, {"long_name": text, "units": "1"})
            for end, share, text in zip(
                ("low", "high"),
                saturated_shares(stack),
                (
                    "share of pixels at the lowest grey value of the stack",
                    "share of pixels at the highest grey value of the stack",
                ),
                strict=True,
            )
        }
    )
    return xr.Dataset(columns, index)
