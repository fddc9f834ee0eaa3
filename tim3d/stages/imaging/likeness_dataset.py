"""The result of `likeness` as a Dataset: values, what they are by chance, curves, and crops to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tim3d.kernels.image import grey_look as look
from tim3d.kernels.image.grey_look import Look
from tim3d.kernels.statistics.two_sample import Chance
from tim3d.lazy import xarray as xr
from tim3d.stages.imaging.adaptations import Stack
from tim3d.storage import schema
from tim3d.storage.schema import AXES

EXAMPLES = 4
GRETTON = "Gretton et al., J. Mach. Learn. Res. 13 (2012) 723"
SHANNON = "doi:10.1002/j.1538-7305.1948.tb01338.x, doi:10.48550/arXiv.2602.01710"
MATHERON = "doi:10.2113/gsecongeo.58.8.1246"
WELCH = "doi:10.1109/TAU.1967.1161901"


@dataclass(frozen=True)
class Quantity:
    """A compared quantity: its unit, definition and source."""

    units: str
    text: str
    reference: str


QUANTITIES = {
    "entropy_difference": Quantity("bit", "difference of the mean Shannon entropies of regions", SHANNON),
    "histogram_distance": Quantity(
        "grey level", "W1: mean change of a grey value that turns one distribution into the other",
        "doi:10.1137/1118101",
    ),
    **{
        f"correlation_distance_{axis}": Quantity(
            "1", f"mean absolute difference of the correlations along {axis} over the lags", MATHERON
        )
        for axis in AXES
    },
    "spectrum_distance": Quantity(
        "dB", "mean absolute ratio of the radial power spectra over the frequencies", WELCH
    ),
    "classifier_auc": Quantity(
        "1", "area under the curve of a forest that tells crops apart, in regions it did not learn from",
        "doi:10.48550/arXiv.1610.06545, doi:10.2307/2533958",
    ),
    "kernel_distance": Quantity(
        "1", "unbiased squared distance (MMD) by a Gaussian kernel of the features of crops of different regions",
        GRETTON,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Compared:
    """Values of a field by quantity, with what they are by chance, and the standard error of the classifier's."""

    values: Mapping[str, tuple[float, Chance]]
    auc_error: float


def dataset(
    judged: Sequence[Stack],
    real: Stack,
    looks: Sequence[Look],
    compared: Sequence[Compared],
    lags: Sequence[Sequence[int]],
    width: int,
) -> xr.Dataset:
    """Return values and curves; the last of the stacks is the real one."""
    names = [one.grey.name for one in judged]
    stacks = [*names, "real"]
    variables = _values(compared) | _curves(looks, lags) | _entropies(looks)
    about = list(QUANTITIES.values())
    pixel = real.grey.spacing_nm[1:]
    edges = 2 * looks[0].power.shape[1]
    return xr.Dataset(
        variables,
        {
            "field": words(names), "stack": words(stacks), "axis": words(AXES),
            "quantity": words(QUANTITIES),
            "unit": ("quantity", words(one.units for one in about)),
            "definition": ("quantity", words(one.text for one in about)),
            "reference": ("quantity", words(one.reference for one in about)),
            "lag_nm": (("axis", "lag"), _lengths(lags, real.grey.spacing_nm), _about(schema.UNIT, "lag")),
            "frequency": (
                "frequency", look.frequencies(edges, pixel), _about("nm-1", "spatial frequency in the slice"),
            ),
            "grey": (
                "class", np.arange(variables["share"][1].shape[1]) * width, _about("1", "lowest grey value of a class"),
            ),
        },
    )  # fmt: skip


def words(names: Any) -> np.ndarray:
    """Texts as a coordinate."""
    return np.array(list(names), dtype=object)


def _about(units: str, long_name: str, reference: str = "") -> dict[str, str]:
    return {"units": units, "long_name": long_name} | (
        {"reference": reference} if reference else {}
    )


def _values(compared: Sequence[Compared]) -> dict[str, Any]:
    every = [[one.values[name] for name in QUANTITIES] for one in compared]
    dims, mixed = ("field", "quantity"), "mixed"
    of = {
        "value": ([[v for v, _ in row] for row in every], mixed, "unlikeness of a field and the real stack"),
        "chance": (
            [[c.mean for _, c in row] for row in every], mixed, "its mean when regions are dealt out at random",
        ),
        "chance_deviation": (
            [[c.spread for _, c in row] for row in every], mixed, "its standard deviation then",
        ),
        "p_value": (
            [[c.p_value for _, c in row] for row in every], "1", "share of these that are as large",
        ),
    }  # fmt: skip
    found = {
        name: (dims, np.array(rows), _about(units, text))
        for name, (rows, units, text) in of.items()
    }
    errors = np.array([one.auc_error for one in compared])
    text = "standard error of the area of the classifier, regions as clusters"
    return found | {
        "classifier_auc_error": ("field", errors, _about("1", text, "doi:10.2307/2533958"))
    }


def _entropies(looks: Sequence[Look]) -> dict[str, Any]:
    mean = np.array([one.entropies.mean() for one in looks])
    spread = np.array([one.entropies.std(ddof=1) for one in looks])
    about = (
        ("entropy", mean, "mean Shannon entropy of regions"),
        ("entropy_spread", spread, "its standard deviation over regions"),
    )
    return {name: ("stack", values, _about("bit", text, SHANNON)) for name, values, text in about}


def _curves(looks: Sequence[Look], lags: Sequence[Sequence[int]]) -> dict[str, Any]:
    longest = max(map(len, lags))
    correlation = np.full((len(looks), 3, longest), np.nan)
    for row, one in zip(correlation, looks, strict=True):
        for axis, own in enumerate(lags):
            row[axis, : len(own)] = one.correlation(axis) if own else []
    counts = np.stack([one.counts.sum(axis=0) for one in looks])
    used = int(np.flatnonzero(counts.any(axis=0))[-1]) + 1
    shares = counts[:, :used] / counts.sum(axis=1, keepdims=True)
    spectra = np.stack([one.spectrum for one in looks])
    return {
        "correlation": (
            ("stack", "axis", "lag"), correlation, _about("1", "correlation of grey values by lag", MATHERON),
        ),
        "spectrum": (
            ("stack", "frequency"), spectra, _about("nm2", "power spectral density, grey levels squared times", WELCH),
        ),
        "share": (("stack", "class"), shares, _about("1", "share of the pixels by class of grey values")),
    }  # fmt: skip


def _lengths(lags: Sequence[Sequence[int]], spacing: Sequence[float]) -> np.ndarray:
    longest = max(map(len, lags))
    found = np.full((3, longest), np.nan)
    for row, own, edge in zip(found, lags, spacing, strict=True):
        row[: len(own)] = np.array(own, float) * edge
    return found


def pictures(
    crops: Sequence[int], places: np.ndarray, examples: Sequence[np.ndarray]
) -> dict[str, Any]:
    """Places of the crops of all stacks in the t-SNE picture, and some crops of each."""
    reference = "van der Maaten, Hinton, J. Mach. Learn. Res. 9 (2008) 2579"
    return {
        "place": (
            ("crop", "direction"), places, _about("1", "place in the picture; distances have no meaning", reference),
        ),
        "crop_stack": (
            "crop", np.repeat(np.arange(len(crops)), crops), _about("1", "number of the stack of a crop"),
        ),
        "example": (
            ("stack", "number", "row", "column"), np.stack(examples), _about("1", "crops to look at"),
        ),
    }  # fmt: skip
