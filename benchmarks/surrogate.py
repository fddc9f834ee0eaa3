"""Conductivity of a filled resin from SEM-like sections: baselines, networks, adaptations, in one table.

    python -m benchmarks.surrogate

Volumes of packed fillers are solved, sections along the flux are rendered in two looks: that of the
simulation (source), whose properties are known, and another one (target), of which only images are
known. Errors are of volumes that nothing has seen.
"""

from __future__ import annotations

import argparse
import csv
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.optimize import brentq

import tim3d
from tim3d.generators import Grains, Packed, lognormal
from tim3d.grid import Box
from tim3d.kernels.conduction.conduction import conduct
from tim3d.kernels.image.section_look import Look, render
from tim3d.kernels.image.threshold import otsu
from tim3d.kernels.morphology.planar import boundary_per_area
from tim3d.kernels.statistics.conformal import scatter_at_equal

RESIN, FILLER = 0.2, 30.0
SOURCE = Look({0: 70.0, 1: 160.0})
TARGET = Look(
    {0: 100.0, 1: 155.0}, edge=35.0, edge_decay=2.5, relief=10.0, blur=1.3, shot=0.8, read=7.0, shading=0.1,
    stripes=0.05, charging=0.02,
)  # fmt: skip
SECTIONS = 9
NAMES = ("area_fraction", "boundary", "chord_along", "chord_across", "boundary_squared")


@dataclass(frozen=True)
class Material:
    """Sections of solved volumes, and what is known of each volume."""

    labels: np.ndarray
    fraction: np.ndarray
    values: np.ndarray

    def seen(self, look: Look, seed: int) -> np.ndarray:
        """All sections in a look."""
        pictures = [
            [render(plane, look, seed, 1000 * v + s) for s, plane in enumerate(planes)]
            for v, planes in enumerate(self.labels)
        ]
        return np.array(pictures)


def volume(edge: int, seed: int) -> np.ndarray:
    """Spheres or plates normal to the flux, of one or two sizes, in resin."""
    rng = np.random.default_rng((seed, 5))
    loading, longest = float(rng.uniform(0.15, 0.5)), float(rng.uniform(0.08, 0.15) * edge)
    spread, aspect = float(rng.choice([0.1, 0.3])), float(rng.choice([1.0, 0.4, 2.0]))
    direction = (1.0, 1.0, 1.0) if aspect == 1 else (1.0, 0.0, 0.0)

    def grains(diameter: float) -> Grains:
        sizes = lognormal(diameter, spread)
        return Grains(tuple(sizes), tuple(sizes.values()), aspect, direction)

    scaled = grains(longest / grains(1.0).longest)
    model = Packed(scaled, loading, (1.0, 1.0, 1.0), seed, (float(edge),) * 3)
    return model.labels(Box((0, 0, 0), (edge,) * 3))


def material(count: int, edge: int, first: int) -> Material:
    """Solved volumes and some sections of each along the flux."""
    planes, fraction, values = [], [], []
    for seed in range(first, first + count):
        labels = volume(edge, seed)
        places = (np.arange(SECTIONS) * edge) // SECTIONS + edge // (2 * SECTIONS)
        planes.append(np.moveaxis(labels[:, places], 1, 0))
        fraction.append(labels.mean())
        values.append(conduct(labels, {0: RESIN, 1: FILLER}, axis=0, sides="periodic").conductivity)
    return Material(np.array(planes), np.array(fraction), np.array(values))


def maxwell(fraction: float) -> float:
    """Dilute spheres, the lower bound of Hashin and Shtrikman."""
    beta = (FILLER - RESIN) / (FILLER + 2 * RESIN)
    return RESIN * (1 + 2 * fraction * beta) / (1 - fraction * beta)


def bruggeman(fraction: float) -> float:
    """Spheres of all sizes without interface resistance (Every et al. 1992 at alpha 0)."""

    def zero(k: float) -> float:
        return (1 - fraction) - (FILLER - k) / (FILLER - RESIN) * (RESIN / k) ** (1 / 3)

    return float(brentq(zero, RESIN, FILLER))


def described(mask: np.ndarray) -> list[float]:
    """Descriptors of the filler in a section: share, boundary, mean chords along and across the flux."""
    share, boundary = float(mask.mean()), boundary_per_area(mask)
    along, across = (
        max(float(np.mean(np.diff(mask.astype(np.int8), axis=a) != 0)), 1e-3) for a in (0, 1)
    )
    return [share, boundary, 2 * share / along, 2 * share / across, boundary**2]


def segmented(image: np.ndarray) -> np.ndarray:
    """Filler of an image by Otsu's threshold after a blur."""
    smooth = np.rint(gaussian_filter(image.astype(np.float64), 1.0)).astype(np.uint8)
    return smooth > otsu(np.bincount(smooth.ravel(), minlength=256), np.arange(256.0))


def error(said: np.ndarray, values: np.ndarray) -> float:
    """Mean absolute error as a share of the value."""
    return float(np.mean(np.abs(said / values - 1)))


def related(
    known: np.ndarray, values: np.ndarray, asked: np.ndarray, truth: np.ndarray
) -> np.ndarray:
    """What `relate` says of held-out rows: a linear model of all descriptors for ln k."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        names = [f"s{n}" for n in range(len(known) + len(asked))]
        with table.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["sample", *NAMES, "k [W/(m K)]"])
            for name, row, k in zip(
                names, np.vstack([known, asked]), np.concatenate([values, truth]), strict=True
            ):
                writer.writerow([name, *map(repr, map(float, row)), repr(float(k))])
        found = tim3d.relate(
            table,
            target="k",
            log_target=True,
            hold_out=names[len(known) :],
            fixed=NAMES,
            permutations=99,
        )
        return np.asarray(found.held_out_predicted.values)


Said = Callable[[np.ndarray], np.ndarray]


def networks(
    images: np.ndarray, values: np.ndarray, target: np.ndarray | None, adapt: tuple[str, ...],
    given: argparse.Namespace, seed: int, sections: int, folder: Path,
) -> Said:  # fmt: skip
    """Train a surrogate; what it says of sections (volumes, sections, y, x)."""
    import torch

    from tim3d.models.surrogate.examples import Examples, SurrogateOptions
    from tim3d.models.surrogate.model_file import read_surrogate
    from tim3d.models.surrogate.training import SurrogateTraining, predict

    options = SurrogateOptions(sections=sections, adapt=adapt)
    training = SurrogateTraining(Examples(images, values), options, target, seed=seed)
    path = (
        folder
        / f"{'-'.join(adapt) or 'plain'}-{sections}-{seed}-{images[0, 0, 0].sum()}.safetensors"
    )
    tim3d.run_training(
        training,
        path,
        steps=given.steps,
        every=max(1, given.steps // 8),
        device="cpu",
        threads=1,
        progress=False,
    )
    net, about = read_surrogate(path)

    def predicted(seen: np.ndarray) -> np.ndarray:
        found, _ = predict(
            net, about.scale, torch.from_numpy(seen[:, :sections]), torch.device("cpu")
        )
        return np.exp(found)

    predicted.half_width = about.calibration.half_width  # type: ignore[attr-defined]
    return predicted


def cell(values: Sequence[float]) -> str:
    """Mean over the seeds, and their standard deviation if there are several."""
    mean = 100 * float(np.mean(values))
    return (
        f"{mean:.1f}"
        if len(values) < 2
        else f"{mean:.1f} ± {100 * float(np.std(values, ddof=1)):.1f}"
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", type=int, default=48)
    parser.add_argument("--learn", type=int, default=200, help="volumes to learn from")
    parser.add_argument("--test", type=int, default=60, help="volumes to judge by")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args(arguments)
    start = time.process_time()
    known, other = (
        material(given.learn, given.edge, 0),
        material(max(20, given.learn // 3), given.edge, 10_000),
    )
    test = material(given.test, given.edge, 20_000)
    counts, spent = (
        f"{given.learn} + {len(other.values)} + {given.test}",
        time.process_time() - start,
    )
    print(f"{counts} volumes of {given.edge}³: {spent:.0f} s of CPU", flush=True)
    k, share = known.values, known.fraction
    print(
        f"k {k.min():.2f} to {k.max():.2f} W/(m K), filler {share.min():.2f} to {share.max():.2f}\n"
    )
    print("| mean absolute error of k, % | source look | target look |\n|---|---|---|")
    baselines(known, test)
    with tempfile.TemporaryDirectory() as folder:
        trained(known, other, test, given, Path(folder))
    limit(known)
    print(f"\n{time.process_time() - start:.0f} s of CPU in all")


def row(name: str, source: str, target: str) -> None:
    print(f"| {name} | {source} | {target} |", flush=True)


def baselines(known: Material, test: Material) -> None:
    """Closed forms, and descriptors of true and of segmented sections by `relate`."""
    geometric = np.full(len(test.values), math.exp(float(np.log(known.values).mean())))
    row("always the mean of ln k", cell([error(geometric, test.values)]), "the same")
    first = test.labels[:, 0]
    for name, law in (("Maxwell", maxwell), ("Bruggeman (Every)", bruggeman)):
        of_section, of_volume = (
            error(np.array([law(float(f)) for f in shares]), test.values)
            for shares in (first.mean(axis=(1, 2)), test.fraction)
        )
        row(
            f"{name}, true share of one section (of the volume)",
            f"{cell([of_section])} ({cell([of_volume])})",
            "the same",
        )
    true = [np.array([described(one[0] == 1) for one in m.labels]) for m in (known, test)]
    row(
        "descriptors of one true section, relate",
        cell([error(related(true[0], known.values, true[1], test.values), test.values)]),
        "the same",
    )
    source, target, learnt = (
        np.array([described(segmented(one[0])) for one in m.seen(look, seed)])
        for m, look, seed in ((test, SOURCE, 2), (test, TARGET, 3), (known, SOURCE, 1))
    )
    both = [
        error(related(learnt, known.values, asked, test.values), test.values)
        for asked in (source, target)
    ]
    row("one section segmented (Otsu), then described, relate", cell(both[:1]), cell(both[1:]))


def trained(
    known: Material, other: Material, test: Material, given: argparse.Namespace, folder: Path
) -> None:
    """Networks without and with adaptation, and one that learnt the target look."""
    images, source, target = known.seen(SOURCE, 1), test.seen(SOURCE, 2), test.seen(TARGET, 3)
    unlabelled = other.seen(TARGET, 4).reshape(-1, *images.shape[2:])
    cases: list[tuple[str, tuple[str, ...], int]] = [
        ("network, 1 section", (), 1),
        ("the same, standardise", ("standardise",), 1),
        ("the same, adabn", ("adabn",), 1),
        ("the same, coral", ("coral",), 1),
        ("the same, dann", ("dann",), 1),
        ("the same, standardise + adabn", ("standardise", "adabn"), 1),
        ("the same, standardise + coral", ("standardise", "coral"), 1),
        ("network, 3 sections, standardise + adabn", ("standardise", "adabn"), 3),
        ("network, 9 sections, standardise + adabn", ("standardise", "adabn"), 9),
    ]
    for name, adapt, sections in cases:
        found = []
        for seed in range(given.seeds):
            asks = unlabelled if {"adabn", "coral", "dann"} & set(adapt) else None
            said = networks(images, known.values, asks, adapt, given, seed, sections, folder)
            found.append([error(said(seen), test.values) for seen in (source, target)])
        errors = np.array(found)
        row(name, cell(errors[:, 0]), cell(errors[:, 1]))
    oracle, inside = [], []
    labelled = known.seen(TARGET, 5)
    for seed in range(given.seeds):
        said = networks(labelled, known.values, None, (), given, seed, 1, folder)
        oracle.append(error(said(target), test.values))
        off = np.abs(np.log(said(target) / test.values))
        inside.append(float(np.mean(off <= said.half_width)))  # type: ignore[attr-defined]
    row("oracle: network, 1 section, learnt in the target look", "", cell(oracle))
    print(
        f"\nintervals of 90 % of the oracle hold {100 * np.mean(inside):.0f} % of the volumes of its own look"
    )


def limit(known: Material) -> None:
    """What one section cannot say: scatter of ln k at equal descriptors."""
    described_all = np.array([[described(one == 1) for one in planes] for planes in known.labels])
    groups = np.repeat(np.arange(len(known.values)), SECTIONS)
    sigma = scatter_at_equal(
        described_all.reshape(-1, len(NAMES)), np.log(np.repeat(known.values, SECTIONS)), groups
    )
    every = scatter_at_equal(
        described_all.mean(axis=1), np.log(known.values), np.arange(len(known.values))
    )
    mean = math.sqrt(2 / math.pi)
    for count, value in ((1, sigma), (SECTIONS, every)):
        print(
            f"at equal descriptors of {count} sections ln k scatters by {value:.3f}: {100 * value * mean:.1f} %"
        )


if __name__ == "__main__":
    main()
