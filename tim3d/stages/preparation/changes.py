"""Grey values of a few slices before and after every step: histograms, a picture, what changed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tim3d.corrections.base import Greys, Stack
from tim3d.corrections.chain import Chain
from tim3d.lazy import xarray as xr
from tim3d.stages.preparation.works import read_slices

# Slices that are looked at, evenly spaced, and the edge of the picture from the middle one.
SLICES = 8
EDGE = 320
BINS = 256


def changes(sample: str, source: str, chain: Chain, names: Sequence[str]) -> xr.Dataset:
    """Grey values before the first and after each step, in slices of the result and what they are made from.

    Parameters
    ----------
    sample, source : str
        Sample and the field that is prepared.
    chain : Chain
        The steps.
    names : sequence of str
        Names of the stages: of the field as it is, and of each step.
    """
    count = chain.made.shape[0]
    chosen = sorted(
        {round(z) for z in np.linspace(0, count - 1, min(SLICES, count))} | {count // 2}
    )
    looked: list[list[Greys]] = [_stages(sample, source, chain, z) for z in chosen]
    columns = [[slices[number] for slices in looked] for number in range(len(names))]
    edges = _edges(chain.stack, columns[0])
    found = [_described(column, edges) for column in columns]
    shares = [
        (np.nan, np.nan),
        *(_changed(a, b) for a, b in itertools.pairwise(columns)),
    ]
    middle = _pictures(columns, chosen.index(count // 2))
    return xr.Dataset(
        {
            "voxels": (
                ("stage", "grey"),
                np.stack([one.counts for one in found]),
                _about("number of voxels"),
            ),
            "mean": ("stage", [one.mean for one in found], _about("mean grey value")),
            "deviation": ("stage", [one.deviation for one in found], _about("standard deviation")),
            "changed": (
                "stage",
                [share for share, _ in shares],
                _about("share of the voxels that the step changed"),
            ),
            "ends": (
                "stage",
                [_ends(column, chain.stack) for column in columns],
                _about("share of the voxels at the lowest or highest value of the type"),
            ),
            "change": ("stage", [size for _, size in shares], _about("mean size of its changes")),
            "picture": (
                ("stage", "row", "column"),
                middle,
                _about("grey value of the middle slice"),
            ),
        },
        {
            "stage": ("stage", np.array(names, dtype=object)),
            "grey": (
                "grey",
                (edges[:-1] + edges[1:]) / 2,
                _about("grey value at the centre of the bin"),
            ),
        },
        {"slices": chosen},
    )


def _about(long_name: str) -> dict[str, str]:
    return {"long_name": long_name, "units": "1"}


def _stages(sample: str, source: str, chain: Chain, z: int) -> list[Greys]:
    """Slice z of the result, and what it was before each step."""
    ranges = chain.ranges(range(z, z + 1))
    grey = read_slices(sample, source, chain, ranges[0])
    places = chain.places(z)
    stages = chain.stages(grey, range(z, z + 1))
    return [one[place - own.start] for one, place, own in zip(stages, places, ranges, strict=True)]


def _edges(stack: Stack, slices: Sequence[Greys]) -> np.ndarray:
    if np.dtype(stack.dtype).kind == "u":
        return np.linspace(-0.5, stack.largest + 0.5, BINS + 1)
    low, high = min(float(s.min()) for s in slices), max(float(s.max()) for s in slices)
    return np.linspace(low, high if high > low else low + 1, BINS + 1)


@dataclass(frozen=True, eq=False)
class _Described:
    """Histogram, mean and standard deviation of some slices."""

    counts: np.ndarray
    mean: float
    deviation: float


def _described(slices: Sequence[Greys], edges: np.ndarray) -> _Described:
    grey = np.concatenate([one.ravel() for one in slices]).astype(np.float64)
    counts = np.histogram(grey.clip(edges[0], edges[-1]), edges)[0]
    return _Described(counts, float(grey.mean()), float(grey.std()))


def _ends(slices: Sequence[Greys], stack: Stack) -> float:
    """Share of the voxels that may be saturated; none of floats."""
    if np.dtype(stack.dtype).kind == "f":
        return 0.0
    return float(np.mean([((one == 0) | (one == stack.largest)).mean() for one in slices]))


def _changed(before: Sequence[Greys], after: Sequence[Greys]) -> tuple[float, float]:
    """Share of the voxels that differ and the mean size of the differences; NaN between unlike frames."""
    if before[0].shape != after[0].shape:
        return np.nan, np.nan
    sizes = [np.abs(b.astype(np.float64) - a) for a, b in zip(before, after, strict=True)]
    return float(np.mean([np.mean(s > 0) for s in sizes])), float(
        np.mean([s.mean() for s in sizes])
    )


def _pictures(columns: Sequence[Sequence[Greys]], number: int) -> np.ndarray:
    """Middles of one slice at all stages, of equal shape."""
    images = [column[number] for column in columns]
    rows, across = (min(EDGE, *(image.shape[axis] for image in images)) for axis in (0, 1))
    return np.stack([_middle(image, rows, across) for image in images]).astype(np.float32)


def _middle(image: Greys, rows: int, across: int) -> Greys:
    y, x = (image.shape[0] - rows) // 2, (image.shape[1] - across) // 2
    return image[y : y + rows, x : x + across]


def stage_names(steps: Iterable[str]) -> list[str]:
    """Names of the stages: the field as it is, then each step with its number."""
    return ["as it was", *(f"{number} {name}" for number, name in enumerate(steps, 1))]
