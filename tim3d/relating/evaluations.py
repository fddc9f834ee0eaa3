"""Scores of the segmentation of a sample, to stand beside what was measured on its labels."""

from __future__ import annotations

from tim3d.errors import MissingFieldError
from tim3d.lazy import xarray as xr
from tim3d.stages.shared.results import results_of
from tim3d.storage import store

LIMITS = ("_low", "_high")
# Scores whose value depends on the distance within which boundaries agree.
WITHIN = "boundary"


def scores_of(sample: str, field: str, node: str) -> xr.Dataset:
    """Scores of the whole stack, by phase or in one number; without those by slice, and without intervals.

    Parameters
    ----------
    sample, field : str
        The sample, and the field that was judged.
    node : str
        Name of the result of `evaluate`.

    Raises
    ------
    MissingFieldError
        If the sample has no such result.
    MixedRunError
        If it was computed from another version of a field.
    """
    there = list(results_of(sample, "evaluate", field))
    if node not in there:
        listed = f"there are {', '.join(there)}" if there else "there are none yet"
        raise MissingFieldError(
            f"{node!r} holds no results of evaluate for {field!r} of {sample}; {listed}. "
            f"Run: tim3d evaluate {sample} --field {field}"
        )
    found = store.open_dataset(sample, node)
    kept = {
        str(name): one.reset_coords(drop=True)
        for name, one in found.data_vars.items()
        if set(one.dims) <= {"phase"} and not _is_limit(str(name), found)
    }
    for name, one in kept.items():
        if WITHIN in name:
            one.attrs["conditions"] = f"within: {found.attrs['tolerance_nm']:g} nm"
    return xr.Dataset(kept)


def _is_limit(name: str, found: xr.Dataset) -> bool:
    return any(name.endswith(end) and name.removesuffix(end) in found for end in LIMITS)
