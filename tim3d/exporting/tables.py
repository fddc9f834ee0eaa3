"""Results of a sample, and descriptions of a region, as tidy tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tim3d.descriptors.uncertainty import Uncertainty, is_error, uncertainty_of
from tim3d.engine import Outline
from tim3d.errors import ArgumentError
from tim3d.exporting.asked import REGION
from tim3d.exporting.job import Export
from tim3d.exporting.row_tables import kinds, wide, wide_pieces
from tim3d.forecast import is_forecasting
from tim3d.formats.base import Table, TableFormat
from tim3d.lazy import xarray as xr
from tim3d.reporting.table import ABOUT, FIRST, LAST, WHOLE, region_text
from tim3d.stages.measurement.describe import blocks_of, describe
from tim3d.storage import store

# Rows that are made at once.
PIECE = 2**14
_NUMBERS = ("value", "uncertainty")
# Faces of a region along each axis, in nm.
FACES = tuple(f"{axis}_{end}_nm" for axis in REGION for end in ("from", "to"))


@dataclass(frozen=True)
class TableExport(Export):
    """A result as rows; of a field, what was measured on it."""

    @property
    def name(self) -> str:
        """The result or field."""
        if len(self.asked.names) > 1:
            raise ArgumentError(
                f"a table holds one result, got {' and '.join(self.asked.names)}: leave out --beside"
            )
        return self.asked.names[0]

    @cached_property
    def is_field(self) -> bool:
        """Whether it is a field, which `describe` is asked about."""
        return bool(store.node_attributes(self.asked.sample, self.name).get("kind") == "field")

    def inputs(self) -> dict[str, str]:
        """Fingerprint of what is read; of a field, of all results about it."""
        sample, name = self.asked.sample, self.name
        if self.asked.given["regions"]:
            self._refuse_regions()
        if self.asked.given["rows"] and not is_forecasting():
            self._refuse_rows(self.asked.given["rows"])
        if not self.is_field:
            self._refuse_region()
            store.refuse_outdated(sample, name)
            return {name: store.fingerprint_of(sample, name)}
        about = [
            n for n in store.nodes(sample)
            if n == name or name in store.node_attributes(sample, n).get("inputs", {})
        ]  # fmt: skip
        return {n: store.fingerprint_of(sample, n) for n in about}

    def steps(self) -> list[Outline]:
        """One line; blocks that a region cuts are read before, in the passes of `describe`."""
        return [Outline(f"export {self.asked.format.name}", f"writes {self.name} as a table")]

    def write(self, path: Path) -> None:
        """Write all numbers."""
        assert isinstance(self.asked.format, TableFormat)
        found, sample = self._found(), Path(self.asked.sample.rstrip("/")).name
        if each := self.asked.given["rows"]:
            numbers = wide(found, each)
            rows_of = wide_pieces(numbers, sample, PIECE)
            table = Table({"sample": str, **kinds(numbers)}, rows_of, self.mark)
            self.asked.format.write(table, path)
            return
        rows = self._regions(sample) if self.asked.given["regions"] else None
        table = Table(
            columns(found) | (dict.fromkeys(FACES, float) if rows else {}),
            rows or pieces(found, sample, region_text(found) or WHOLE),
            self.mark,
        )
        self.asked.format.write(table, path)

    def _regions(self, sample: str) -> Iterator[Mapping[str, Sequence[Any]]]:
        """Rows of every block in which the field was measured, with the faces of the block."""
        for one in blocks_of(self.asked.sample, self.name):
            ends = [
                v
                for pair in zip(one.attrs["origin_nm"], one.attrs["end_nm"], strict=True)
                for v in pair
            ]
            for piece in pieces(one, sample, region_text(one)):
                count = len(piece["variable"])
                yield {**piece, **{name: [v] * count for name, v in zip(FACES, ends, strict=True)}}

    def _found(self) -> xr.Dataset:
        if not self.is_field:
            return store.open_dataset(self.asked.sample, self.name)
        region = {axis: self.asked.given[axis] for axis in REGION}
        options = replace(self.asked.options, block=None, overwrite=False, time_limit=None)
        return describe(self.asked.sample, field=self.name, options=options, **region)

    def _refuse_rows(self, each: str) -> None:
        """A row for each place of a dimension needs a result that has it."""
        found = xr.Dataset() if self.is_field else store.open_dataset(self.asked.sample, self.name)
        if each not in found.dims or self.asked.given["regions"]:
            there = ", ".join(map(str, found.dims)) or "none"
            raise ArgumentError(
                f"--rows {each}: {self.name} has no rows of that; its dimensions are {there}. "
                "Give one of a result, for example --rows particle"
            )

    def _refuse_regions(self) -> None:
        """Regions are the blocks of what was measured on a field, all of them."""
        if self.is_field and self.asked.region_text() == "whole":
            return
        raise ArgumentError(
            f"--regions lists every block in which a field was measured: tim3d export {self.asked.sample} FIELD "
            f"{self.asked.target} --regions, without --z, --y, --x"
        )

    def _refuse_region(self) -> None:
        if self.asked.region_text() != "whole":
            raise ArgumentError(
                f"{self.name} is a result of the whole volume. For a region export what was measured "
                f"on the field itself: tim3d export {self.asked.sample} FIELD {self.asked.target} --z ..."
            )


def columns(found: xr.Dataset) -> dict[str, type]:
    """Names and types of the columns; a column for each dimension, and one for texts if there are any."""
    dims = dict.fromkeys(str(d) for v in found.data_vars.values() for d in v.dims)
    kinds = {dim: _kind(_ticks(found, dim)) for dim in dims}
    texts = {"text": str} if any(_is_text(v) for v in found.data_vars.values()) else {}
    last = {name: float if name in _NUMBERS else str for name in LAST}
    return {**dict.fromkeys(FIRST, str), **kinds, **texts, **last}


def pieces(found: xr.Dataset, sample: str, region: str) -> Iterator[Mapping[str, Sequence[Any]]]:
    """Rows of all variables, column by column, some thousand at a time."""
    for name, variable in found.data_vars.items():
        if is_error(str(name), found):
            continue
        known = uncertainty_of(str(name), found)
        ticks = [_ticks(found, str(dim)) for dim in variable.dims]
        for start in range(0, variable.size, PIECE):
            places = np.arange(start, min(start + PIECE, variable.size))
            index = np.unravel_index(places, variable.shape) if variable.dims else ()
            values = np.asarray(variable.values).ravel()[places]
            same = {"sample": sample, "region": region, "variable": str(name), **_about(variable)}
            yield (
                {key: [text] * len(places) for key, text in same.items()}
                | {
                    str(dim): tick[at].tolist()
                    for dim, tick, at in zip(variable.dims, ticks, index, strict=True)
                }
                | _value(variable, values)
                | _uncertainty(known, variable, places)
            )


def _value(variable: xr.DataArray, values: Any) -> dict[str, list[Any]]:
    if _is_text(variable):
        return {"text": [str(v) for v in values], "value": [None] * len(values)}
    return {"value": values.astype(np.float64).tolist()}


def _uncertainty(
    known: Uncertainty | None, variable: xr.DataArray, places: Any
) -> dict[str, list[Any]]:
    if known is None:
        return {"uncertainty": [None] * len(places), "uncertainty_kind": [None] * len(places)}
    fitted = known.values.transpose(*variable.dims).values
    errors = np.broadcast_to(fitted, variable.shape).ravel()[places]
    kinds = [known.kind if np.isfinite(error) else None for error in errors]
    return {"uncertainty": errors.tolist(), "uncertainty_kind": kinds}


def _about(variable: xr.DataArray) -> dict[str, str | None]:
    found = {key: variable.attrs.get(name) for key, name in {"units": "units", **ABOUT}.items()}
    return {key: None if text is None else str(text) for key, text in found.items()}


def _ticks(found: xr.Dataset, dim: str) -> Any:
    """Coordinate along a dimension, or numbers from 0."""
    values = np.asarray(found[dim].values if dim in found.coords else np.arange(found.sizes[dim]))
    return values.astype(str).astype(object) if values.dtype.kind in "OUS" else values


def _kind(ticks: Any) -> type:
    return {"f": float, "i": int, "u": int, "b": int}.get(ticks.dtype.kind, str)


def _is_text(variable: xr.DataArray) -> bool:
    return variable.dtype.kind not in "fiub"
