"""Dataset of a study: values of all windows, statistics by size, verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tim3d.kernels.statistics import representative as statistics
from tim3d.kernels.statistics.representative import Judgement, Spread
from tim3d.lazy import xarray as xr
from tim3d.stages.representative.job import Job
from tim3d.stages.representative.windows import positions
from tim3d.storage import schema
from tim3d.storage.schema import AXES

KANIT = "doi:10.1016/S0020-7683(03)00143-4"
PLACES = ("z_window", "y_window", "x_window")
REALISATIONS = (1, 4, 16, 64)


@dataclass(frozen=True)
class Found:
    """Results of the windows of one size.

    They are values (inf without a path), percolation, and voxels by code.
    """

    values: np.ndarray
    percolates: np.ndarray
    voxels: np.ndarray


def study_dataset(job: Job, found: Sequence[Found]) -> xr.Dataset:
    """Values by size and place of the windows, their statistics, and the representative size."""
    spreads = [statistics.spread(one.values) for one in found]
    judgement = statistics.judge(spreads, job.tolerance)
    about = dict(job.quantity.about)
    variables: dict[str, Any] = {
        "value": (("window", *PLACES), _padded([f.values for f in found]), about)
    }
    if job.quantity.apparent:
        text = {"units": "1", "long_name": "1 if a path leads through the window"}
        variables["percolates"] = (
            ("window", *PLACES),
            _padded([f.percolates for f in found]),
            text,
        )
        shares = [float(one.percolates.mean()) for one in found]
        variables["percolating_share"] = _by_size(
            shares, "1", "share of the windows that a path leads through"
        )
    variables |= _statistics(spreads, about["units"]) | _geometry(job) | _judged(judgement)
    variables |= _scaling(job, spreads, found) | _representative(job, judgement)
    edges = np.array([one.edge_nm for one in job.windows])
    coordinates = {
        "window": (
            "window",
            edges,
            {"units": schema.UNIT, "long_name": "edge of the window that was asked for"},
        ),
        "axis": np.array(AXES, dtype=object),
        "realisations": (
            "realisations",
            np.array(REALISATIONS),
            {"units": "1", "long_name": "windows in the mean"},
        ),
    }
    return xr.Dataset(variables, coordinates, _about(job, judgement))


def _padded(values: Sequence[np.ndarray]) -> np.ndarray:
    """Values of all sizes in one array, nan where a size has fewer windows."""
    most = np.max([v.shape for v in values], axis=0)
    out = np.full((len(values), *most), np.nan)
    for target, source in zip(out, values, strict=True):
        target[tuple(slice(n) for n in source.shape)] = source
    return out


def _by_size(
    values: Sequence[float], units: str, long_name: str, reference: str = ""
) -> tuple[Any, ...]:
    attributes = {"units": units, "long_name": long_name} | (
        {"reference": reference} if reference else {}
    )
    return ("window",), np.array(values, np.float64), attributes


def _statistics(spreads: Sequence[Spread], units: str) -> dict[str, Any]:
    last = spreads[-1].mean
    bias = [(s.mean - last) / abs(last) if last else math.nan for s in spreads]
    errors = [statistics.relative_error(s, max(1, s.count)) for s in spreads]
    return {
        "windows": _by_size([s.count for s in spreads], "1", "windows with a finite value"),
        "excluded": _by_size(
            [s.excluded for s in spreads], "1", "windows without one, left out of all statistics"
        ),
        "mean": _by_size([s.mean for s in spreads], units, "mean over the windows"),
        "standard_deviation": _by_size(
            [s.deviation for s in spreads], units, "between windows, n - 1 below"
        ),
        "standard_error": _by_size([s.error for s in spreads], units, "standard error of the mean"),
        "variation": _by_size(
            [s.variation for s in spreads], "1", "coefficient of variation, s.d. / mean"
        ),
        "relative_spread": _by_size([s.relative for s in spreads], "1", "2 s.d. / mean", KANIT),
        "relative_error": _by_size(
            errors, "1", "2 s.d. / (mean sqrt(windows)), of the mean", KANIT
        ),
        "bias": _by_size(bias, "1", "mean against that of the largest windows, relative"),
    }


def _geometry(job: Job) -> dict[str, Any]:
    shapes = np.array([one.shape for one in job.windows])
    edges = shapes * np.array(job.labels.spacing_nm)
    return {
        "rest_share": _by_size(
            [one.rest for one in job.windows], "1", "share of the volume that no window fills"
        ),
        "voxels": (
            ("window", "axis"),
            shapes,
            {"units": "1", "long_name": "voxels along the window's edges"},
        ),
        "edges": (
            ("window", "axis"),
            edges,
            {"units": schema.UNIT, "long_name": "the window's edges in whole voxels"},
        ),
        **positions(job.windows, job.labels.spacing_nm),
    }


def _judged(judgement: Judgement) -> dict[str, Any]:
    few = f"1 if there are at least {statistics.FEWEST_WINDOWS} windows with a value"
    return {
        "judged": _by_size(judgement.judged, "1", few),
        "within_spread": _by_size(
            judgement.within_spread, "1", "1 if relative_spread keeps the tolerance"
        ),
        "within_bias": _by_size(judgement.within_bias, "1", "1 if the bias keeps the tolerance"),
    }


def _scaling(job: Job, spreads: Sequence[Spread], found: Sequence[Found]) -> dict[str, Any]:
    """Integral range, exponent of the variance, and the edges that they require."""
    step = math.prod(job.labels.spacing_nm)
    volumes = [math.prod(one.shape) * step for one in job.windows]
    fitted = statistics.fit_variance(volumes, spreads)
    widest = max(found, key=lambda one: int(one.voxels.sum())).voxels
    phases = job.labels.phases
    assert phases is not None
    fractions = {
        code: float(n) / float(widest.sum()) for code, n in zip(phases.codes, widest, strict=True)
    }
    points = job.quantity.point_variance(fractions)
    required = [
        statistics.required_volume(fitted, spreads[-1].mean, job.tolerance, n) for n in REALISATIONS
    ]
    return {
        "variance_exponent": _single(
            fitted.exponent if fitted else math.nan, "1", "a in s^2(V) ~ V^-a, fitted", KANIT
        ),
        "variance_exponent_error": _single(
            fitted.exponent_error if fitted else math.nan,
            "1",
            "standard error of the exponent, a lower bound",
        ),
        "point_variance": _single(
            points, _squared(job.quantity.about["units"]), "variance at single points, D^2"
        ),
        "integral_range": _single(
            statistics.integral_range(volumes, spreads, points),
            "nm3",
            "A3 in s^2(V) = D^2 A3 / V",
            KANIT,
        ),
        "required_edge": (
            ("realisations",),
            np.cbrt(required),
            {
                "units": schema.UNIT,
                "long_name": "edge at which the mean over some windows has the tolerance as relative error, by the law",
                "reference": KANIT,
            },
        ),
    }


def _squared(units: str) -> str:
    return "1" if units == "1" else f"({units})2"


def _representative(job: Job, judgement: Judgement) -> dict[str, Any]:
    edge = math.nan if judgement.smallest is None else job.windows[judgement.smallest].edge_nm
    text = "smallest edge that keeps the tolerance with all larger ones; nan: see the attribute verdict"
    return {"representative_edge": _single(edge, schema.UNIT, text, KANIT)}


def _single(value: float, units: str, long_name: str, reference: str = "") -> tuple[Any, ...]:
    attributes = {"units": units, "long_name": long_name} | (
        {"reference": reference} if reference else {}
    )
    return (), value, attributes


def _about(job: Job, judgement: Judgement) -> dict[str, Any]:
    apparent = {"apparent": job.quantity.apparent} if job.quantity.apparent else {}
    return {
        "field": job.labels.name,
        "quantity": job.name,
        **job.quantity.parameters,
        **apparent,
        "lattice": "no overlap, in the middle of the volume; what no window fills is shared between both ends",
        "tolerance": job.tolerance,
        "verdict": judgement.verdict,
        "verdict_means": statistics.VERDICTS[judgement.verdict],
        "spacing_nm": list(job.labels.spacing_nm),
    }
