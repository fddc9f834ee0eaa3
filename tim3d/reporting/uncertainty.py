"""Uncertainty of the numbers: the calibration, and three parts of every error apart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tim3d.descriptors.uncertainty import HIGH, LEVEL, LOW, STANDARD_ERROR, is_limit
from tim3d.kernels.statistics.sampling_error import prediction_factor
from tim3d.lazy import xarray as xr
from tim3d.plotting.uncertainty import calibration_figure, parts_figure
from tim3d.reporting import page, table
from tim3d.reporting.section import Parts, Section
from tim3d.stages.measurement.describe import describe
from tim3d.stages.shared.draws import draws_of, node_of
from tim3d.stages.shared.results import results_of
from tim3d.storage import store

TEXT = (
    "Three parts of every error, apart: specimen is one standard error of another volume of the material; "
    "segmentation one standard deviation over labels drawn from the calibrated probabilities, with its interval; "
    "calibration the middle of these draws less the number of the labels."
)


def is_calibration(found: xr.Dataset) -> bool:
    """Whether a result was made by `tim3d.calibrate`."""
    return {"temperature", "ece", "fraction_bias"} <= set(found.data_vars)


def rows(found: xr.Dataset) -> list[list[str]]:
    """Rows of a calibration: a number, before and after."""
    named = [
        (f"{name}, {text}", [float(found[name].sel(stage=s, where=w)) for s in ("before", "after")])
        for name in ("ece", "sce", "log_loss")
        for w, text in (("all", "all voxels"), ("near", "near interfaces"))
    ]
    bias, error = found["fraction_bias"], found["fraction_bias_standard_error"]
    for phase in found["phase"].values:
        values = [float(bias.sel(phase=phase, stage=s)) for s in ("before", "after")]
        named.append((f"fraction_bias {phase}", values))
        errors = [float(error.sel(phase=phase, stage=s)) for s in ("before", "after")]
        named.append((f"its standard error {phase}", errors))
    return [[name, *(_number(value) for value in values)] for name, values in named]


def says(found: xr.Dataset) -> Iterator[str]:
    """Sentences on what was found."""
    a = found.attrs
    offsets = ", ".join(
        f"{phase} {float(one):+.3f}"
        for phase, one in zip(found["phase"].values, found["offset"].values, strict=True)
    )
    lengths = ", ".join(f"{one:.3g}" for one in found["correlation_length"].values)
    yield f"{a['voxels']:,} labelled voxels of {len(np.atleast_1d(a['slices']))} slices of {a['truth_field']!r}."
    yield "They must not be among those that the model was trained on: there it is surer than elsewhere."
    yield f"Temperature {float(found['temperature']):.3f}, offsets {offsets} nat."
    yield (
        f"Errors reach over {lengths} nm along z, y, x; along z from "
        f"{found['correlation_length'].attrs['along_z']}."
    )
    if "window_half_width" in found:
        widths = ", ".join(
            f"{phase} ±{float(one):.4f}"
            for phase, one in zip(
                found["phase"].values, found["window_half_width"].values, strict=True
            )
        )
        yield (
            f"Fraction in a window, {100 * a['level']:g} %: {widths}. From "
            f"{found['window_half_width'].attrs['method']}."
        )
    if a["labelled_units"] < 2:
        yield "After is judged on the voxels that it was fitted to: all of them are in one slice."


def text(found: xr.Dataset) -> str:
    """The result as a plain table, with sentences on it below."""
    return "\n".join(
        [*table.aligned([["", "before", "after"], [], *rows(found)]), "", *says(found)]
    )


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


@dataclass(frozen=True)
class Apart:
    """A number and the three parts of its error, in its unit; nan where one is not known."""

    name: str
    units: str
    value: float
    specimen: float
    low: float
    high: float
    draws: int

    @property
    def middle(self) -> float:
        """Mean of the draws."""
        return (self.low + self.high) / 2

    @property
    def segmentation(self) -> float:
        """Standard deviation over the draws."""
        return (self.high - self.low) / 2 / prediction_factor(self.draws, LEVEL)

    @property
    def calibration(self) -> float:
        """Mean of the draws less the number of the labels."""
        return self.middle - self.value


def parts_of(found: xr.Dataset, draws: int) -> list[Apart]:
    """Parts of the errors of all numbers that have an interval."""
    names = [str(n).removesuffix(LOW) for n in found.data_vars if str(n).endswith(LOW)]
    every = []
    for name in names:
        if not is_limit(f"{name}{LOW}", found):
            continue
        beside = {key: found.get(f"{name}{key}") for key in (STANDARD_ERROR, LOW, HIGH)}
        for index in np.ndindex(found[name].shape):
            place = dict(zip(found[name].dims, index, strict=True))
            every.append(_apart(name, found[name].isel(place), beside, place, draws))
    return [one for one in every if math.isfinite(one.low) and one.high > one.low]


def _apart(
    name: str,
    value: xr.DataArray,
    beside: Mapping[str, xr.DataArray | None],
    place: Mapping[object, int],
    draws: int,
) -> Apart:
    at = [str(value[dim].values) for dim in place if dim in value.coords]
    error, low, high = (
        math.nan
        if one is None
        else float(one.isel({d: n for d, n in place.items() if d in one.dims}))
        for one in beside.values()
    )
    units = str(value.attrs.get("units", "1"))
    return Apart(" ".join([name, *at]), units, float(value), error, low, high, draws)


def parts_html(parts: Parts) -> Iterator[str]:
    """Table and figure of the parts, of the draws of the field."""
    found = describe(parts.sample, field=str(parts.field), pore=parts.pore)
    every = parts_of(found, len(draws_of(parts.sample, str(parts.field))))
    if not every:
        yield page.note(
            f"The draws are not measured yet: tim3d measure {parts.sample} --field {parts.field} --draws"
        )
        return
    header = [
        "number",
        "unit",
        "value",
        "specimen ±",
        "segmentation ±",
        f"{100 * LEVEL:g} %",
        "calibration",
    ]
    body = [
        [
            page.code(one.name), page.units(one.units), *map(table.number, (one.value, one.specimen, one.segmentation)),
            f"{table.number(one.low)} to {table.number(one.high)}", f"{one.calibration:+.2g}",
        ]
        for one in every
    ]  # fmt: skip
    yield page.table(header, body, 2, TEXT)
    shown = [one for one in every if one.value][:12]
    relative = [[one.specimen, one.segmentation, one.calibration] for one in shown]
    values = np.array([one.value for one in shown])[:, None]
    yield page.picture(
        parts_figure([one.name for one in shown], np.array(relative) / values),
        "The three parts, relative.",
    )


def _html(parts: Parts, node: str) -> Iterator[str]:
    if node == node_of(str(parts.field)):
        yield from parts_html(parts)
        return
    found = store.open_dataset(parts.sample, node)
    caption = f"Calibration of “{found.attrs['field']}” by “{found.attrs['truth_field']}”."
    yield page.table(["", "before", "after"], rows(found), 1, caption)
    yield page.note(" ".join(says(found)))
    yield page.picture(
        calibration_figure(found),
        "Reliability: share of voxels of the first phase against its probability; a point is a bin.",
    )


def _nodes(parts: Parts) -> list[str]:
    if parts.field is None:
        return []
    return [*results_of(parts.sample, "calibrate", parts.field), node_of(parts.field)]


UNCERTAINTY = Section(
    "Uncertainty of the segmentation",
    nodes=_nodes,
    html=_html,
    shows=is_calibration,
    text=text,
    figure=calibration_figure,
)
