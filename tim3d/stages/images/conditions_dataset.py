"""The result of `fidelity_images` as a dataset, and as a table."""

from __future__ import annotations

import csv as csv_files
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tim3d.lazy import xarray as xr
from tim3d.stages.images.condition_scores import LEVEL, LOW, Measured, Scoring, table
from tim3d.stages.images.crop_numbers import QUANTITIES
from tim3d.stages.shared.wide_table import cell, head
from tim3d.storage import outputs

KIND = outputs.Kind("a table of conditions of tim3d", lambda data: data.startswith(b"condition,"))
SCORES = {
    "deviation": "(mean generated - mean real) / standard deviation between real crops",
    "deviation_low": f"lower limit of the {100 * LEVEL:g} % bootstrap interval over crops",
    "deviation_high": f"upper limit of the {100 * LEVEL:g} % bootstrap interval over crops",
    "wasserstein": "distance W1 of the distributions over crops / standard deviation between real crops",
    "spread_ratio": "standard deviation between generated crops / that between real ones",
}
GROUP_SCORES = {
    "r_squared": "1 - sum (real - generated)^2 / sum (real - mean real)^2 of means over conditions",
    "correlation_squared": "squared correlation of the means over conditions, blind to bias",
    "r_squared_ceiling": "r_squared of real crops against other real crops, mean over draws",
    "r_squared_ceiling_low": f"the same, {100 * LOW:g} % quantile over draws",
}
NEIGHBOURS = {
    "precision": "share of generated crops among the nearest neighbours of a real one, k = 3",
    "recall": "share of real crops among the nearest neighbours of a generated one, k = 3",
    "density": "mean number of neighbourhoods of real crops around a generated one, over k = 5",
    "coverage": "share of real crops with a generated one among their 5 nearest neighbours",
}
REFERENCES = {
    "precision": "doi:10.48550/arXiv.1904.06991",
    "recall": "doi:10.48550/arXiv.1904.06991",
    "density": "doi:10.48550/arXiv.2002.09797",
    "coverage": "doi:10.48550/arXiv.2002.09797",
}
_BOOK = "doi:10.1002/9783527628308"
# An R^2 of real crops below which one of generated crops tells little, and the share of the distance
# between real crops below which generated ones are called copies.
TELLING, COPIED = 0.5, 0.5
OF_CONDITION = ("quantity", "condition", "phase")
OF_GROUP = ("quantity", "group", "phase")


def dataset(
    found: Sequence[Measured],
    scoring: Scoring,
    lags: Sequence[int],
    crop: int,
    unit: str,
    phases: Sequence[str],
) -> xr.Dataset:
    """Everything that was found, with units and definitions."""
    groups = scoring.groups(found)
    variables = (
        _means(found, unit)
        | _curves(found)
        | _scores(table(found, len(phases), scoring.of_condition), SCORES, OF_CONDITION)
        | _scores(table([*groups.values()], len(phases), scoring.of_group), GROUP_SCORES, OF_GROUP)
        | _neighbours([scoring.neighbours(one) for one in groups.values()])
        | _distances(found)
    )
    coordinates: dict[str, Any] = {
        "condition": np.array([", ".join(one.cells.values()) for one in found], object),
        "phase": np.array(phases, object),
        "quantity": np.array([*QUANTITIES], object),
        "lag": ("lag", np.array(lags, np.int64), {"units": "pixel"}),
        "group": np.array([*groups], object),
    }
    columns = {
        f"condition_{name}": ("condition", np.array([one.cells[name] for one in found], object))
        for name in found[0].cells
    }
    about = {"crop": crop, "unit": unit, "by": scoring.by or "", "draws": scoring.draws,
             "resamples": scoring.resamples, "seed": scoring.seed}  # fmt: skip
    return xr.Dataset(variables, coordinates | columns, about)


def _means(found: Sequence[Measured], unit: str) -> dict[str, Any]:
    """Mean and standard deviation over crops of each quantity, and number of the crops."""
    variables: dict[str, Any] = {}
    for side in ("real", "generated"):
        crops = [getattr(one, side) for one in found]
        variables[f"crops_{side}"] = (
            "condition",
            np.array([len(one.values) for one in crops], np.int64),
            {"units": "1", "long_name": f"number of {side} crops"},
        )
        for place, (name, (power, meaning)) in enumerate(QUANTITIES.items()):
            values = [one.values[:, place] for one in crops]
            for end, work in (("", _mean), ("_deviation", _deviation)):
                about = {
                    "units": f"{unit}{power}" if power else "1",
                    "long_name": f"{meaning}; {'standard deviation' if end else 'mean'} over {side} crops",
                    "reference": _BOOK,
                }
                variables[f"{name}_{side}{end}"] = (
                    ("condition", "phase"),
                    np.array([work(one) for one in values]),
                    about,
                )
    return variables


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the crops where the value is known, (phases,)."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0).sum(axis=0)
    return np.asarray(total / np.where(count > 0, count, np.nan))


def _deviation(values: np.ndarray) -> np.ndarray:
    """Standard deviation over the crops where the value is known, (phases,)."""
    count = np.isfinite(values).sum(axis=0)
    squares = _mean((values - _mean(values)) ** 2)
    return np.asarray(np.sqrt(squares * count / np.where(count > 1, count - 1, np.nan)))


def _curves(found: Sequence[Measured]) -> dict[str, Any]:
    """S2 and lineal path of both sides, and the mean of their differences."""
    names = {"two_point": "two-point probability S2", "lineal_path": "lineal path L"}
    variables: dict[str, Any] = {}
    for name, meaning in names.items():
        means = {
            side: np.array([getattr(getattr(one, side), name).mean(axis=0) for one in found])
            for side in ("real", "generated")
        }
        for side, values in means.items():
            about = {"units": "1", "long_name": f"{meaning}, mean over {side} crops"}
            variables[f"{name}_{side}"] = (("condition", "phase", "lag"), values, about)
        error = np.abs(means["generated"] - means["real"]).mean(axis=-1)
        about = {"units": "1", "long_name": f"mean absolute difference of {meaning} over the lags"}
        variables[f"{name}_error"] = (("condition", "phase"), error, about)
    return variables


def _scores(
    values: dict[str, np.ndarray], meanings: dict[str, str], dims: tuple[str, ...]
) -> dict[str, Any]:
    return {
        name: (dims, values[name], {"units": "1", "long_name": meaning})
        for name, meaning in meanings.items()
    }


def _neighbours(scores: Sequence[dict[str, float]]) -> dict[str, Any]:
    variables: dict[str, Any] = {}
    for name, meaning in NEIGHBOURS.items():
        for end, of in (("", ""), ("_of_real", "; other real crops in place of generated ones")):
            about = {"units": "1", "long_name": meaning + of, "reference": REFERENCES[name]}
            key = f"neighbour_{name}{end}"
            variables[key] = ("group", np.array([one[key] for one in scores]), about)
    about = {"units": "1", "long_name": "crops of each of the three sets that are compared"}
    counts = np.array([one["neighbour_samples"] for one in scores]).astype(np.int64)
    return {**variables, "neighbour_samples": ("group", counts, about)}


def _distances(found: Sequence[Measured]) -> dict[str, Any]:
    """Mean distance of crops to the nearest part of a real image."""
    meaning = "share of the pixels in which a crop differs from the nearest part of a real image"
    variables = {}
    for side in ("generated", "real"):
        lists = [getattr(one, f"{side}_distances") for one in found]
        values = np.array([np.mean(one) if len(one) else np.nan for one in lists])
        apart = ", apart from itself" if side == "real" else ""
        about = {"units": "1", "long_name": f"{meaning}{apart}, mean of some {side} crops"}
        variables[f"copy_distance_{side}"] = ("condition", values, about)
    return variables


def check_csv(csv: str | Path | None) -> Path | None:
    """Target of the table; raise `ArgumentError` if it must not be written."""
    return None if csv is None else outputs.check_target(csv, KIND)


def write_csv(found: xr.Dataset, target: Path | None) -> None:
    """Write a row for each condition and phase, with units in brackets behind the names of columns."""
    if target is None:
        return
    columns = {
        f"{name}_of_{quantity}" if quantity else str(name): (str(name), quantity)
        for name, variable in found.data_vars.items()
        if "condition" in variable.dims and "lag" not in variable.dims
        for quantity in (QUANTITIES if "quantity" in variable.dims else [None])
    }
    given = [str(name) for name in found.coords if str(name).startswith("condition_")]
    heads = [head(name, found[of]) for name, (of, _) in columns.items()]
    text = io.StringIO(newline="")
    writer = csv_files.writer(text)
    writer.writerow(["condition", *(n.removeprefix("condition_") for n in given), "phase", *heads])
    for number, condition in enumerate(found["condition"].values.tolist()):
        cells = [found[name].values[number] for name in given]
        for phase in found["phase"].values.tolist():
            at = {"condition": number}
            values = [_value(found[of].isel(at), phase, q) for of, q in columns.values()]
            writer.writerow([condition, *cells, phase, *values])
    outputs.write_file(target, text.getvalue().encode(), KIND)


def _value(variable: xr.DataArray, phase: str, quantity: str | None) -> str:
    place = {"phase": phase, "quantity": quantity}
    return cell(variable.sel({k: v for k, v in place.items() if k in variable.dims}).item())


def warnings_of(found: xr.Dataset) -> Iterator[str]:
    """Sentences on what the result cannot tell, and on what is suspicious in it."""
    low = found["r_squared_ceiling_low"].min("phase")
    blurred = [
        f"{quantity} over {group} ({float(low.sel(quantity=quantity, group=group)):.2f})"
        for quantity in found["quantity"].values.tolist()
        for group in found["group"].values[low.sel(quantity=quantity).values < TELLING].tolist()
    ]
    if blurred:
        yield (
            f"R^2 tells little where real crops do not reach {TELLING:g} against real crops ({100 * LOW:g} % "
            f"quantile): {', '.join(blurred)}. Give more crops, or conditions that differ more"
        )
    near = found["copy_distance_generated"] < COPIED * found["copy_distance_real"]
    for condition in found["condition"].values[near.values].tolist():
        yield (
            f"generated crops of {condition} are much nearer to parts of its real images than real crops are: "
            "they may be copies"
        )
