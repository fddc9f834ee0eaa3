"""Whether 90 % intervals of drawn labels hold the truth: simulated stacks, whose truth is known.

    python -m benchmarks.uncertainty                       # the tables of RESULTS.md
    python -m benchmarks.uncertainty --stacks 2 --draws 6  # a quick look
    python -m benchmarks.uncertainty --ideal 60 --draws 12 # the surface where the truth is itself a draw

Two forests of strokes are trained on three slices of one stack, and segment others of the same
material with shine-through, curtains and noise. In each of these, four pairs of neighbouring slices are
labelled, for `calibrate`; `sample_labels` draws with the correlation length that was found. Controls
draw every voxel by itself: with the same resampled calibrations, and with one calibration, the usual
way. Truth is the fraction, the specific surface and the
geodesic tortuosity of the pores of the simulated structure, by the same estimators.

With ``--ideal`` there is no segmentation: the truth is one more draw from known probabilities, so that
whatever is wrong with an interval of the surface is its own. Surfaces are edges in the slices.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

import tim3d
from tim3d.descriptors.base import Material
from tim3d.descriptors.builtin import BUILTIN
from tim3d.descriptors.in_memory import describe_array
from tim3d.grid import Box
from tim3d.kernels.generation.gaussian_field import GaussianField
from tim3d.kernels.generation.label_draws import Draws
from tim3d.kernels.generation.plane_wave_field import LevelCut
from tim3d.kernels.geodesic import geodesic
from tim3d.kernels.image.fibsem_simulation import Microscope, SimulatedStack
from tim3d.kernels.statistics import bootstrap
from tim3d.kernels.statistics.calibration import Calibration
from tim3d.kernels.statistics.sampling_error import prediction_interval
from tim3d.phases import Phases
from tim3d.stages.uncertainty.probabilities import probabilities_of
from tim3d.stages.uncertainty.sample_labels import Sampling
from tim3d.storage import store

SHAPE, EDGE = (48, 56, 56), 10.0
SPACING = (EDGE,) * 3
SIZE = dict.fromkeys("zyx", EDGE)
TRAINED, HELD = (10, 24, 38), (5, 6, 17, 18, 29, 30, 41, 42)
TWO, SPARSE = Phases(pore=0, solid=1), Phases(unlabelled=0, pore=1, solid=2)
KINDS = ("correlated", "independent", "independent, one calibration")
NAMES = ("fraction", "surface", "tortuosity")
QUIET = tim3d.Options(progress=False)
AGAIN = tim3d.Options(progress=False, overwrite=True)


def stack(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Grey values and truth of a simulated stack; 0 is pore."""
    structure = LevelCut(0.6, 100.0, seed=seed)
    both = list(SimulatedStack(SHAPE, SPACING, structure, Microscope(seed=seed)))
    return np.stack([one for one, _ in both]), np.stack([one for _, one in both])


def sample_of(folder: Path, seed: int, slices: tuple[int, ...]) -> tuple[str, np.ndarray]:
    """A sample with grey values and labels of some slices; and the truth."""
    grey, truth = stack(seed)
    sparse = np.zeros(SHAPE, np.uint8)
    sparse[list(slices)] = truth[list(slices)] + 1
    url = str(folder / f"{seed}.zarr")
    for field, values, phases in (("raw", grey, None), ("held", sparse, SPARSE)):
        tifffile.imwrite(folder / "volume.tif", values)
        tim3d.ingest(
            folder / "volume.tif", url, field=field, phases=phases, voxel_size=SIZE, options=QUIET
        )
    return url, truth


def one_way(region: np.ndarray) -> float:
    """Geodesic tortuosity from the first plane of a region with a rim of zeros."""
    region, rim = np.ascontiguousarray(region), geodesic.HALO["refine"]
    arrival, exact = (np.full(region.shape, geodesic.UNREACHED, np.uint32) for _ in range(2))
    arrival[rim][region[rim] != 0] = 0
    geodesic.arrive(arrival, region, SPACING)
    geodesic.refine(exact, arrival, region, SPACING)
    inner = (slice(rim, -rim),) * 3
    sums = geodesic.plane_sums(exact[inner], region[inner], 0)
    return float(geodesic.tortuosity(*sums, SPACING, 0).last_quarter)


def numbers(labels: np.ndarray) -> np.ndarray:
    """Fraction, specific surface in 1/um and geodesic tortuosity of the pores."""
    chosen = [BUILTIN["phase_fraction"], BUILTIN["specific_surface"]]
    found = describe_array(labels, chosen, Material(TWO, SPACING)).sel(phase="pore")
    region = np.pad((labels == 0).view(np.uint8), geodesic.HALO["refine"])
    detour = (one_way(region) + one_way(region[::-1])) / 2
    return np.array([float(found.phase_fraction), float(found.specific_surface), detour])


def draw(url: str, draws: int, kind: str) -> None:
    """Draws of one kind, in the place of those before."""
    if kind != "independent, one calibration":
        correlation = None if kind == "correlated" else 0.0
        tim3d.sample_labels(url, draws=draws, correlation=correlation, options=AGAIN)
        return
    node = "phase_calibration_truth=held"
    found, labels = tim3d.open_dataset(url, node), store.complete_field(url, "phase")
    one = Calibration(float(found["temperature"]), tuple(map(float, found["offset"].values)))
    fields = Draws((0.0, 0.0, 0.0), labels.spacing_nm)
    Sampling(probabilities_of(url, labels), node, (one,) * draws, fields).run(AGAIN)


def spread(url: str, draws: int) -> np.ndarray:
    """Numbers of every draw, the surface over its ratio in the labelled slices; (draws, 3)."""
    ratio = tim3d.open_dataset(url, "phase_draws")["surface_ratio"].sel(phase="pore").values
    names = [f"phase_draw_{n:02d}" for n in range(draws)]
    values = np.array([numbers(tim3d.open_field(url, name).values) for name in names])
    values[:, 1] /= ratio
    return values


def coverage(numbers_of: range, draws: int) -> Iterator[dict[str, Any]]:
    """What was found of each stack."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url, _ = sample_of(folder, 1000, TRAINED)
        models = [folder / f"{seed}.safetensors" for seed in (0, 1)]
        for seed, model in enumerate(models):
            tim3d.train_strokes(
                url, model, labels="held", scales=(10.0, 20.0, 40.0), trees=30, leaf=10, most=2000, seed=seed
            )  # fmt: skip
        for seed in numbers_of:
            yield {"stack": seed, **of_stack(folder, seed, models, draws)}


def of_stack(folder: Path, seed: int, models: list[Path], draws: int) -> dict[str, Any]:
    """Errors of the labels, calibration errors, lengths; limits over the truth of each kind of draws."""
    url, truth = sample_of(folder, seed, HELD)
    labels = tim3d.segment(url, model=models, phases=TWO, options=QUIET)
    found = tim3d.calibrate(url, truth="held", options=QUIET)
    true, limits = numbers(truth), {}
    for kind in KINDS:
        draw(url, draws, kind)
        limits[kind] = [one.tolist() for one in prediction_interval(spread(url, draws) / true, 0.9)]
    return {
        "errors": (numbers(labels.values) / true - 1).tolist(), "ece": found["ece"].values.tolist(),
        "lengths": found["correlation_length"].values[[0, 2]].tolist(), "limits": limits,
    }  # fmt: skip


def tables(found: list[dict[str, Any]]) -> Iterator[str]:
    """The tables of RESULTS.md."""
    yield f"| {len(found)} stacks, pores | {' | '.join(NAMES)} |"
    yield "|---|---|---|---|"
    errors = np.array([one["errors"] for one in found])
    yield f"| error of the labels, mean | {_row(errors.mean(axis=0))} |"
    yield f"| error of the labels, root mean square | {_row(np.sqrt((errors**2).mean(axis=0)))} |"
    for kind in KINDS:
        low, high = np.moveaxis(np.array([one["limits"][kind] for one in found]), 1, 0)
        yield f"| {kind}: intervals that hold the truth | {_row(((low <= 1) & (high >= 1)).mean(axis=0))} |"
        yield f"| {kind}: half width, mean | {_row((high - low).mean(axis=0) / 2)} |"
    yield ""
    yield "| ECE, mean over the stacks | all voxels | within three pixels of an interface |"
    yield "|---|---|---|"
    ece = np.mean([one["ece"] for one in found], axis=0)
    for row, stage in zip(ece, ("before", "after"), strict=True):
        yield f"| {stage} | {row[0]:.4f} | {row[1]:.4f} |"
    yield ""
    lengths = np.array([one["lengths"] for one in found])
    for column, along in zip(lengths.T, ("along z", "in the plane"), strict=True):
        yield f"lengths {along}: {column.min():.0f} to {column.max():.0f} nm, median {np.median(column):.0f}"


def slice_edges(labels: np.ndarray) -> np.ndarray:
    """Edges between pixels of two phases in each slice."""
    rows = (labels[:, 1:] != labels[:, :-1]).sum(axis=(1, 2))
    return np.asarray(rows + (labels[:, :, 1:] != labels[:, :, :-1]).sum(axis=(1, 2)), float)


def ideal_stack(seed: int, draws: int) -> dict[str, tuple[float, float]]:
    """Error of the middle and half width of the interval, over the truth, by the rule of the ratio."""
    box = Box.whole(SHAPE)
    logit = 3.0 * GaussianField((100.0,) * 3, SPACING, seed=10_000 + seed).values(box)
    planes = (1 / (1 + np.exp(-logit.astype(np.float64))))[:, None]
    fields = Draws((50.0,) * 3, SPACING, seed=seed)
    every = np.array(
        [slice_edges(fields.labels(box, lambda n: planes[n], k)) for k in range(draws + 1)]
    )
    pairs = every[:, list(HELD)].reshape(draws + 1, -1, 2).sum(axis=2)
    units, (drawn, true) = pairs.shape[1], (pairs[:-1], pairs[-1])
    weights = bootstrap.weights(units, 64, 1, seed)
    mean = np.broadcast_to(drawn.mean(axis=0), drawn.shape)
    ratios = {
        "of each draw, slices resampled": resampled_ratios(_totals(true, drawn), weights)[:, 0],
        "of the mean of the draws, slices resampled": resampled_ratios(_totals(true, mean), weights)[:, 0],
        "of each draw": drawn.sum(axis=1) / true.sum(),
        "none": np.ones(draws),
    }  # fmt: skip
    surface = every[:-1].sum(axis=1) / every[-1].sum()
    limits = {name: prediction_interval(surface / one, 0.9) for name, one in ratios.items()}
    return {
        name: (float(low + high) / 2 - 1, float(high - low) / 2)
        for name, (low, high) in limits.items()
    }


def resampled_ratios(totals: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Ratio of each draw to the truth over resampled units; (draws, phases).

    Deviations from the ratio over all units are enlarged by sqrt(n / (n - 1)), as those of
    calibrations are. No stage does so any more: it counts the scatter of the slices twice.

    Parameters
    ----------
    totals : (1 + draws, units, phases) float64
        Surfaces of the truth, then of each draw.
    weights : (resamples, units) int64
        How often each unit is drawn; draws take them by turns.

    Examples
    --------
    >>> totals = np.array([[[2.0], [2.0]], [[2.0], [4.0]]])
    >>> resampled_ratios(totals, np.array([[1, 1]])).tolist()
    [[1.5]]
    """
    units = weights.shape[1]
    enlarged = math.sqrt(units / (units - 1)) if units > 1 else 0.0
    plain = _ratio(totals[1:].sum(axis=1), totals[0].sum(axis=0))
    turns = weights[np.arange(len(plain)) % len(weights)]
    drawn = _ratio(np.einsum("nu,nup->np", turns, totals[1:]), turns @ totals[0])
    return np.asarray(plain + enlarged * (drawn - plain))


def _ratio(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.asarray(one / np.where(other > 0, other, np.nan))


def _totals(true: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    return np.concatenate([true[None], drawn])[..., None]


def ideal(stacks: int, draws: int) -> Iterator[str]:
    """The table of an ideal segmentation."""
    found = [ideal_stack(seed, draws) for seed in range(stacks)]
    yield f"| ratio, {stacks} stacks | intervals that hold the truth | half width, mean | error of the middle, rms |"
    yield "|---|---|---|---|"
    for name in found[0]:
        middle, half = np.array([one[name] for one in found]).T
        rms = math.sqrt((middle**2).mean())
        held = (np.abs(middle) <= half).mean()
        yield f"| {name} | {100 * held:.0f} % | {100 * half.mean():.1f} % | {100 * rms:.1f} % |"


def _row(values: np.ndarray) -> str:
    return " | ".join("-" if math.isnan(v) else f"{100 * v:.2f} %" for v in values)


def main(arguments: list[str] | None = None) -> None:
    """Print all lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stacks", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="number of the first stack")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--ideal", type=int, help="number of stacks whose truth is a draw")
    parser.add_argument("--tables", nargs="+", help="the tables of what earlier runs printed")
    asked = parser.parse_args(arguments)
    if asked.ideal:
        print("\n".join(ideal(asked.ideal, asked.draws)))
        return
    if asked.tables:
        lines = [line for name in asked.tables for line in Path(name).read_text().splitlines()]
        found = [json.loads(line) for line in lines if line.startswith("{")]
    else:
        found = []
        for one in coverage(range(asked.first, asked.first + asked.stacks), asked.draws):
            found.append(one)
            print(json.dumps(one), flush=True)
    print("\n".join(tables(found)))


if __name__ == "__main__":
    main()
