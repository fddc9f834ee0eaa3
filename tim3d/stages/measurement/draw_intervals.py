"""Intervals of the numbers of a field from those of its draws: what the segmentation leaves open.

A result that is 1 or 0, such as whether a phase percolates, has no interval: the share of the draws in
which it is 1 stands beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from tim3d.descriptors.builtin import COUPLED
from tim3d.descriptors.coupled import Coupled, Descriptors
from tim3d.descriptors.uncertainty import HIGH, LEVEL, LOW, OF_DRAWS, PROBABILITY
from tim3d.errors import MissingFieldError
from tim3d.kernels.statistics.sampling_error import prediction_interval
from tim3d.lazy import xarray as xr
from tim3d.stages.shared.draws import draws_of, node_of
from tim3d.storage import store
from tim3d.storage.schema import AXES

log = logging.getLogger(__name__)

# Variables that are corrected by the surface of the draws in the labelled slices.
SURFACES = ("specific_surface",)


def with_intervals(
    sample: str,
    field: str,
    found: xr.Dataset,
    measured: Callable[[str], xr.Dataset],
    asked: Descriptors = (),
) -> xr.Dataset:
    """Results with the limits of intervals, ``NAME_low`` and ``NAME_high``, where the field has draws.

    Results that are 1 or 0 have ``NAME_probability`` instead.

    Parameters
    ----------
    sample, field : str
        The sample and its label field.
    found : Dataset
        Results of the field.
    measured : callable
        ``measured(name)``, the same results of a draw.
    asked : sequence, optional
        The descriptors that were asked for, which may be ones of the user.
    """
    names = draws_of(sample, field)
    every = _every(sample, field, names, measured)
    if not every:
        return found
    listing = store.open_dataset(sample, node_of(field))
    beside: dict[str, Mapping[str, xr.DataArray]] = {}
    diagnostics, flags = _declared("diagnostics", asked), _declared("flags", asked)
    for name, variable in ((str(n), v) for n, v in found.data_vars.items()):
        if flags(name):
            beside[name] = _probability(name, variable, every)
        elif not diagnostics(name) and _has_interval(name, variable, found):
            beside[name] = _limits(name, variable, every, listing)
    full = found.assign({key: one for made in beside.values() for key, one in made.items()})
    for name, made in beside.items():
        before = str(full[name].attrs.get("ancillary_variables", ""))
        if made:
            full[name] = full[name].assign_attrs(
                ancillary_variables=" ".join([before, *made]).strip()
            )
    return full


def _every(
    sample: str, field: str, names: list[str], measured: Callable[[str], xr.Dataset]
) -> list[xr.Dataset]:
    """Results of all draws; none if some were not measured."""
    try:
        return [_renamed(measured(name), name, field) for name in names]
    except MissingFieldError:
        log.warning(
            "left out: intervals of %s, whose draws are not all measured. Run: tim3d measure %s --field %s --draws",
            field, sample, field,
        )  # fmt: skip
        return []


def _renamed(one: xr.Dataset, name: str, field: str) -> xr.Dataset:
    """Results of a draw, whose nodes are called like those of the field."""
    for dim, values in one.coords.items():
        if values.dtype == object and values.dims == (dim,):
            names = [str(each).replace(name, field, 1) for each in values.values]
            one = one.assign_coords({dim: (dim, np.array(names, dtype=object), values.attrs)})
    return one


def _declared(what: str, asked: Descriptors) -> Callable[[str], bool]:
    """Whether a name is among the diagnostics, or the flags, of a kind of results."""
    kinds = (*COUPLED.values(), *(one for one in asked if isinstance(one, Coupled)))
    patterns = {pattern for kind in kinds for pattern in getattr(kind, what)}
    return lambda name: any(fnmatchcase(name, pattern) for pattern in patterns)


def _has_interval(name: str, variable: xr.DataArray, found: xr.Dataset) -> bool:
    """Whether a variable is a number of the structure, and not an input, a place or an error."""
    return (
        variable.dtype.kind == "f"
        and variable.attrs.get("method") != "input"
        and not any(one.dtype.kind == "f" for one in variable.indexes.values())
        and "long_name" in variable.attrs
        and not set(variable.dims) & set(AXES)
        and not name.endswith("_standard_error")
        and f"{name}{LOW}" not in found
    )


def _limits(
    name: str, variable: xr.DataArray, every: list[xr.Dataset], listing: xr.Dataset
) -> Mapping[str, xr.DataArray]:
    """Limits of a variable; none unless all draws have it."""
    values = _of_draws(name, variable, every)
    if values is None:
        return {}
    text = f"{OF_DRAWS}{100 * LEVEL:g} % interval of {len(every)} draws"
    if name in SURFACES and "surface_ratio" in listing and variable.dims == ("phase",):
        values = values / listing["surface_ratio"].sel(phase=variable["phase"]).values
        text += ", over their surface in the labelled slices relative to the truth"
    limits = prediction_interval(values, LEVEL)
    about: dict[str, Any] = {"units": variable.attrs.get("units", "1"), "method": text}
    return {
        f"{name}{end}": xr.DataArray(
            one, variable.coords, variable.dims,
            attrs={**about, "long_name": f"{word} limit of {name}", "reference": "doi:10.1007/0-387-28678-0"},
        )
        for end, word, one in zip((LOW, HIGH), ("lower", "upper"), limits, strict=True)
    }  # fmt: skip


def _probability(
    name: str, variable: xr.DataArray, every: list[xr.Dataset]
) -> Mapping[str, xr.DataArray]:
    """Share of the draws in which a flag is 1; none unless all draws have it."""
    values = _of_draws(name, variable, every)
    if values is None:
        return {}
    about = {
        "units": "1",
        "long_name": f"share of the draws in which {name} is 1",
        "method": f"{OF_DRAWS}{len(every)} draws",
        "reference": "doi:10.1007/0-387-28678-0",
    }
    share = xr.DataArray(values.mean(axis=0), variable.coords, variable.dims, attrs=about)
    return {f"{name}{PROBABILITY}": share}


def _of_draws(name: str, variable: xr.DataArray, every: list[xr.Dataset]) -> np.ndarray | None:
    """Values of all draws, one after the other; None unless all have the variable."""
    if any(name not in one or one[name].dims != variable.dims for one in every):
        return None
    aligned = [one[name].reindex_like(variable) for one in every]
    return np.stack([np.asarray(one.values, np.float64) for one in aligned])
