"""Descriptions of samples along the dimension `sample`, with phases, directions, lags and planes kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from tim3d.errors import InputError
from tim3d.lazy import xarray as xr

Samples: TypeAlias = "Mapping[str, xr.Dataset]"  # in quotes: xarray is imported on first use
# Ending of the coordinates of an axis on which samples differ: its places in each sample.
OF_SAMPLE = "_of_sample"


def stacked(
    found: Samples, attributes: Callable[[Mapping[str, Mapping[str, Any]]], dict[str, str]]
) -> xr.Dataset:
    """Every variable of every sample, along `sample` first; nan where a sample has no value.

    An axis of names (phases, directions) has those of all samples. An axis of numbers (planes, lags,
    bins) keeps its coordinate if that is the same in all samples. Else its places are counted, and
    ``NAME_of_sample`` (sample, NAME) says where they lie in each.

    Parameters
    ----------
    found : mapping of str to Dataset
        Descriptions by the names of the samples.
    attributes : callable
        Attributes of a variable, from those in each sample.

    Raises
    ------
    InputError
        If a variable has other dimensions in one sample than in another.
    """
    fitted, places = _fitted(found)
    names = list(dict.fromkeys(str(n) for one in fitted.values() for n in one.data_vars))
    sample = np.array(list(found), dtype=object)
    table = xr.Dataset(coords={"sample": sample, **places, **_beside(fitted)})
    for name in names:
        about = {s: one[name].attrs for s, one in fitted.items() if name in one}
        table[name] = _stack(name, fitted).assign_attrs(attributes(about))
    return table


def _fitted(found: Samples) -> tuple[dict[str, xr.Dataset], dict[str, xr.Variable]]:
    """Descriptions on common axes, and coordinates of the axes on which they differ."""
    fitted = {name: one.copy() for name, one in found.items()}
    places = {}
    for dim in dict.fromkeys(str(d) for one in found.values() for d in one.dims):
        along = {s: one[dim] for s, one in fitted.items() if dim in one.dims}
        if all(a.dtype.kind in "OUS" for a in along.values()):
            union = list(dict.fromkeys(str(n) for a in along.values() for n in a.values))
            fitted |= {s: fitted[s].reindex({dim: np.array(union, object)}) for s in along}
        elif not _alike(list(along.values())):
            longest = max(a.size for a in along.values())
            blank = xr.DataArray(np.full(longest, np.nan), dims=dim)
            kept = {s: _padded(a.drop_vars(dim), longest) for s, a in along.items()}
            rows = [kept.get(s, blank).values for s in fitted]
            attrs = next(iter(along.values())).attrs
            places[dim + OF_SAMPLE] = xr.Variable(("sample", dim), np.array(rows), attrs)
            fitted |= {s: _padded(fitted[s].drop_vars(dim), longest, dim) for s in along}
    return fitted, places


def _alike(each: Sequence[xr.DataArray]) -> bool:
    return all(np.array_equal(one.values, each[0].values) for one in each)


def _padded(found: Any, length: int, dim: str = "") -> Any:
    """Data with nan at the end of a dimension, by default of the only one."""
    along = dim or str(found.dims[0])
    return found.pad({along: (0, length - found.sizes[along])})


def _beside(fitted: Samples) -> dict[str, xr.Variable]:
    """Coordinates besides those of dimensions: one for all samples, or by sample where they differ."""
    names = dict.fromkeys(
        str(n) for one in fitted.values() for n, c in one.coords.items() if (n,) != c.dims
    )
    made = {}
    for name in names:
        each = [one[name] for one in fitted.values() if name in one.coords]
        same = all(one.dims == each[0].dims for one in each) and _alike(each)
        values = each[0] if same else _stack(name, fitted)
        made[name] = xr.Variable(values.dims, values.values, each[0].attrs)
    return made | {
        str(dim): one.coords[dim].variable
        for one in fitted.values() for dim in one.dims if dim in one.coords
    }  # fmt: skip


def _stack(name: str, fitted: Samples) -> xr.DataArray:
    """One variable of all samples; nan, or no text, where a sample lacks it."""
    there = {s: one[name] for s, one in fitted.items() if name in one.variables}
    dims = {s: one.dims for s, one in there.items()}
    first = next(iter(dims))
    if other := next((s for s, d in dims.items() if set(d) != set(dims[first])), None):
        raise InputError(
            f"{name} stands along {', '.join(map(str, dims[first])) or 'nothing'} in {first} and along "
            f"{', '.join(map(str, dims[other])) or 'nothing'} in {other}: name the results that are meant, "
            "as with --descriptors and --transport"
        )
    like = there[first]
    texts = like.dtype.kind in "OUS"
    empty = np.full(like.shape, "" if texts else np.nan, object if texts else np.float64)
    rows = [there[s].transpose(*like.dims).values if s in there else empty for s in fitted]
    return xr.DataArray(np.stack(rows), dims=("sample", *like.dims))
