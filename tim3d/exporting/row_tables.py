"""Results as wide tables: a row for each particle, contact or component, and a column for each of its numbers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tim3d.lazy import xarray as xr
from tim3d.stages.shared.wide_table import head

_KINDS = {"f": float, "i": int, "u": int, "b": int}


def wide(found: xr.Dataset, along: str) -> dict[str, Any]:
    """Columns of the numbers that a result has for each place of a dimension.

    Parameters
    ----------
    found : Dataset
        The result.
    along : str
        The dimension.

    Returns
    -------
    dict of str to array
        The coordinate, and each number under its name, its place along further dimensions, and its
        unit.

    Examples
    --------
    >>> found = xr.Dataset({"centroid": (("particle", "axis"), [[1.0, 2.0]], {"units": "nm"})}, {"axis": ["y", "x"]})
    >>> {name: column.tolist() for name, column in wide(found, "particle").items()}
    {'particle': [0], 'centroid.y [nm]': [1.0], 'centroid.x [nm]': [2.0]}
    """
    columns = {along: np.asarray(found[along].values)}
    for name, variable in found.data_vars.items():
        if along not in variable.dims:
            continue
        others = [str(dim) for dim in variable.dims if dim != along]
        for place in itertools.product(*(enumerate(found[dim].values) for dim in others)):
            label = ".".join([str(name), *(str(tick) for _, tick in place)])
            at = {dim: number for dim, (number, _) in zip(others, place, strict=True)}
            columns[head(label, variable)] = np.asarray(variable.isel(at).values)
    return columns


def kinds(columns: Mapping[str, Any]) -> dict[str, type]:
    """Types of the columns."""
    return {name: _KINDS.get(column.dtype.kind, str) for name, column in columns.items()}


def wide_pieces(
    columns: Mapping[str, Any], sample: str, count: int
) -> Iterator[Mapping[str, Sequence[Any]]]:
    """Rows, `count` at a time, with the name of the sample.

    >>> list(wide_pieces({"particle": np.array([1, 2]), "touches": np.array([True, False])}, "a.zarr", 9))
    [{'sample': ['a.zarr', 'a.zarr'], 'particle': [1, 2], 'touches': [1, 0]}]
    """
    length = len(next(iter(columns.values())))
    types = kinds(columns)
    for start in range(0, length, count):
        piece = {name: column[start : start + count] for name, column in columns.items()}
        rows = {name: [types[name](v) for v in part.tolist()] for name, part in piece.items()}
        yield {"sample": [sample] * len(next(iter(rows.values()))), **rows}
