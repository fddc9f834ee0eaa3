"""The result of a comparison as a Dataset: values, deviations, intervals, imprint and seams."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tim3d.kernels.statistics import comparison as law
from tim3d.lazy import xarray as xr
from tim3d.stages.comparison.base import Arrays, Case, Seen
from tim3d.storage import schema
from tim3d.storage.schema import AXES

LANTUEJOUL = "doi:10.1111/j.1365-2818.1991.tb03099.x, doi:10.48550/arXiv.2410.19568"
EFRON = "doi:10.1214/aos/1176344552"


def dataset(case: Case, seen: Sequence[Seen]) -> xr.Dataset:
    """Return the result of a comparison as a Dataset, see docs/fidelity.md."""
    volumes = {name: np.array([s.values[name] for s in seen]) for name in seen[0].values}
    images = case.of_images()
    variables = _judged(case, volumes, images) | _values(case, volumes, images)
    variables |= _imprint(case, seen) | _seams(case, seen) | _reported(seen) | _pictures(case)
    return xr.Dataset(variables, _coordinates(case, seen), _about(case))


def _judged(case: Case, volumes: Arrays, images: Arrays) -> dict[str, Any]:
    """Deviations of the mean of all volumes, their intervals, and the spread between volumes."""
    count, compare = len(case.urls), case.measures.deviations
    means = compare(
        {k: v.mean(axis=0) for k, v in volumes.items()}, images, isotropic=case.isotropic
    )
    drawn = {k: law.resampled(v, case.seed) for k, v in volumes.items()}
    intervals = {
        k: law.interval(v, count)
        for k, v in compare(drawn, images, isotropic=case.isotropic).items()
    }
    single = compare(volumes, images, isotropic=case.isotropic)
    spread = {
        k: v.std(axis=0, ddof=1) if count > 1 else np.full(v.shape[1:], np.nan)
        for k, v in single.items()
    }
    quantities = tuple(case.measures.goals)
    goals = np.array(list(case.measures.goals.values()))
    deviation = np.array([means[q] for q in quantities])
    dims = ("quantity", "slices", "phase")
    text = "mean of all volumes against the micrograph; see the coordinate meaning"
    return {
        "deviation": (dims, deviation, _about_value("1", text)),
        "deviation_low": (dims, np.array([intervals[q][0] for q in quantities]), _bound("2.5 %")),
        "deviation_high": (dims, np.array([intervals[q][1] for q in quantities]), _bound("97.5 %")),
        "spread": (
            dims,
            np.array([spread[q] for q in quantities]),
            _about_value("1", "s.d. between volumes"),
        ),
        "goal": (
            "quantity",
            goals,
            _about_value("1", "largest deviation that is within the goal; nan: none"),
        ),
        "within": (
            dims,
            _within(deviation, goals),
            _about_value("1", "1 within the goal, 0 not, nan without a goal"),
        ),
    }


def _within(deviation: np.ndarray, goals: np.ndarray) -> np.ndarray:
    limit = np.broadcast_to(goals[:, None, None], deviation.shape)
    # A phase without a surface in the image has no reference: its nan is not within the goal.
    return np.where(np.isnan(limit), np.nan, (np.abs(deviation) <= limit).astype(float))


def _about_value(units: str, long_name: str, reference: str = "") -> dict[str, str]:
    return {"units": units, "long_name": long_name} | (
        {"reference": reference} if reference else {}
    )


def _bound(share: str) -> dict[str, str]:
    return _about_value(
        "1", f"{share} quantile of the deviation over volumes drawn with replacement", EFRON
    )


def _values(case: Case, volumes: Arrays, images: Arrays) -> dict[str, Any]:
    out = {}
    for name, row in case.measures.rows.items():
        out[name] = (
            ("volume", *row.volume),
            volumes[name],
            _about_value(row.units, row.text, row.reference),
        )
        about = _about_value(row.units, f"{row.text}, of the micrograph", row.reference)
        out[f"micrograph_{name}"] = (("slices", *row.image), images[name], about)
    for name in (n for n in images if n.endswith("_interval")):
        text = "half width of the 95 % interval, 1.96 sqrt(variance A / pixels) with the integral range A"
        out[f"micrograph_{name}"] = (
            ("slices", "phase"),
            images[name],
            _about_value("1", text, LANTUEJOUL),
        )
    return out


def _imprint(case: Case, seen: Sequence[Seen]) -> dict[str, Any]:
    """Levels of the planes of all volumes by residue; empty unless the period fits twice."""
    period = case.period
    if period is None or period < 2 or min(min(f.shape) for f in case.fields) < 2 * period:
        return {}
    found, level = (
        [law.imprint([s.planes[axis] for s in seen], period) for axis in range(3)],
        case.measures.level,
    )
    texts = {
        "span": f"largest minus smallest {level} by residue of the plane",
        "error": f"standard error of the {level} of one residue, from planes of the same residue",
        "ratio": "r.m.s. deviation of the residues over that error; about 1 or below without an imprint",
    }
    out: dict[str, Any] = {
        f"imprint_{name}": (
            ("axis", "phase"),
            np.array([getattr(f, name) for f in found]),
            _about_value("1", text),
        )
        for name, text in texts.items()
    }
    profile = np.array([f.profile for f in found])
    text = f"{level} of the planes across an axis by their place modulo the period"
    return out | {
        "residue_fraction": (("axis", "residue", "phase"), profile, _about_value("1", text))
    }


def _seams(case: Case, seen: Sequence[Seen]) -> dict[str, Any]:
    found = [law.seams([s.changes[a] for s in seen], case.seam[a], case.period) for a in range(3)]
    text = f"{case.measures.changed} across faces of chunks, over that elsewhere; 1 without seams"
    return {
        "seam_ratio": ("axis", np.array([f.ratio for f in found]), _about_value("1", text)),
        "seam_ratio_error": (
            "axis",
            np.array([f.error for f in found]),
            _about_value("1", "its standard error"),
        ),
        "seam_faces": (
            "axis",
            np.array([f.faces for f in found]),
            _about_value("1", "planes of faces"),
        ),
    }


def _reported(seen: Sequence[Seen]) -> dict[str, Any]:
    """3-D results, for which an image provides no reference."""
    names = list(dict.fromkeys(name for s in seen for name in s.known))
    if not names:
        return {}
    values = np.array([[s.known.get(name, math.nan) for name in names] for s in seen])
    text = "3-D results of the samples, in their own units: an image knows no truth for them"
    return {"reported": (("volume", "result"), values, {"units": "mixed", "long_name": text})}


def _pictures(case: Case) -> dict[str, Any]:
    """Images as compared, stored so that the report does not need their files."""
    out = {}
    for normal, image in zip(AXES, case.images, strict=False):
        about = _about_value("1", "as compared") | {"path": image.path, "sha256": image.sha256}
        out[f"micrograph_{normal}"] = (
            (f"row_{normal}", f"column_{normal}"),
            case.picture(image),
            about,
        )
    return out


def _coordinates(case: Case, seen: Sequence[Seen]) -> dict[str, Any]:
    numbers = np.arange(1, len(case.lags[0]) + 1)
    lengths = np.array(
        [[n * h for n in lags] for lags, h in zip(case.lags, case.spacing, strict=True)]
    )
    names = list(dict.fromkeys(name for s in seen for name in s.known))
    known_results = {"result": np.array(names, dtype=object)} if names else {}
    return {
        "volume": np.array([str(url) for url in case.urls], dtype=object),
        "quantity": np.array(list(case.measures.goals), dtype=object),
        "meaning": (
            "quantity",
            np.array([case.measures.meaning[q] for q in case.measures.goals], dtype=object),
        ),
        "slices": np.array(AXES, dtype=object),
        "axis": np.array(AXES, dtype=object),
        "line": np.array(["rows", "columns"], dtype=object),
        "phase": np.array(case.names, dtype=object),
        "lag": ("lag", numbers, _about_value("1", "number of the lag")),
        "lag_nm": (("axis", "lag"), lengths, _about_value(schema.UNIT, "lag along an axis")),
        "lag_voxels": (
            ("axis", "lag"),
            np.array(case.lags, float),
            _about_value("1", "lag in voxels"),
        ),
        **known_results,
    }


def _about(case: Case) -> dict[str, Any]:
    few = len(case.urls) < law.FEWEST_VOLUMES
    return {
        "field": case.fields[0].name,
        "spacing_nm": list(case.spacing),
        "isotropic": int(case.isotropic),
        "volumes": len(case.urls),
        "seam_voxels": list(case.seam),
        "period_voxels": case.period or 0,
        "slices_each": case.slices,
        "windows": case.windows,
        "seed": case.seed,
        "warning": f"few volumes: {law.FEWEST_VOLUMES} are needed to estimate the spread between runs"
        if few
        else "",
    }
