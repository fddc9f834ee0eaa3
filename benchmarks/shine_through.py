"""A porous solid with shine-through: thresholds, strokes and networks of 2, 2.5 and 3 dimensions against the truth.

    python -m benchmarks.shine_through --severity middle      # a table of RESULTS.md
    python -m benchmarks.shine_through --severity middle --shape 16,32,32 --epochs 1 --steps 1      # a quick look

Two stacks of one simulated microscope are made, of other seeds: one is learnt from, the other is
judged. Labels are the hybrid annotation, which needs no hand, or true labels of every `--every`-th
slice, as one would paint them. Errors of the volume fraction of pores, of the surface and of the
tortuosity factor of pores along z are relative to the same measure of the true labels.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tim3d
from tim3d.kernels.image.fibsem_simulation import Microscope, simulate_fibsem
from tim3d.storage import store

QUIET = tim3d.Options(progress=False)
TWO = tim3d.Phases(pore=0, solid=1)
SIZE = {"z": 10.0, "y": 10.0, "x": 10.0}
MERGE = {"shine_through": "pore"}
# Share of the grey step that solid behind a pore restores, depth of its decay and reach in nm.
SEVERITIES = {
    "mild": (0.6, 30.0, 120.0),
    "middle": (0.85, 60.0, 240.0),
    "severe": (0.95, 120.0, 480.0),
}
STROKES, STROKE_LENGTH = 8, 24


@dataclass(frozen=True)
class Given:
    """What the shell is given."""

    severity: str
    shape: tuple[int, int, int]
    epochs: int
    steps: int
    every: int
    folder: Path

    def network(self, **more: Any) -> dict[str, Any]:
        """Options of a training."""
        return {
            "epochs": self.epochs,
            "steps": self.steps,
            "patience": self.epochs,
            "progress": False,
            **more,
        }


def simulated(given: Given, name: str, seed: int) -> str:
    """A sample with grey values and the truth."""
    shine, decay, reach = SEVERITIES[given.severity]
    scope = Microscope(shine=shine, shine_decay_nm=decay, shine_reach_nm=reach, seed=seed)
    edges = (SIZE["z"], SIZE["y"], SIZE["x"])
    grey, truth = simulate_fibsem(given.shape, edges, 0.65, 80.0, seed=seed, microscope=scope)
    sample = str(given.folder / f"{name}.zarr")
    for field, values, phases in (("raw", grey, None), ("truth", truth, TWO)):
        path = given.folder / f"{name}_{field}.npy"
        np.save(path, values)
        tim3d.ingest(path, sample, voxel_size=SIZE, field=field, phases=phases, options=QUIET)
    return sample


def add_hand(given: Given, sample: str) -> None:
    """True labels of every few slices, and strokes on three of them; 2 is not painted."""
    truth = np.asarray(store.field_array(sample, "truth")[:])
    by_hand, strokes = np.full_like(truth, 2), np.full_like(truth, 2)
    by_hand[:: given.every] = truth[:: given.every]
    random = np.random.default_rng(0)
    for z in np.linspace(2, len(truth) - 3, 3).astype(int):
        for label in (0, 1):
            for y, x in random.permutation(np.argwhere(truth[z] == label))[:STROKES]:
                line = slice(x, x + STROKE_LENGTH)
                strokes[z, y, line][truth[z, y, line] == label] = label
    named = tim3d.Phases(pore=0, solid=1, unlabelled=2)
    for field, values in (("hand", by_hand), ("strokes", strokes)):
        path = given.folder / f"{field}.npy"
        np.save(path, values)
        tim3d.ingest(path, sample, voxel_size=SIZE, field=field, phases=named, options=QUIET)


def ways(given: Given, learnt: str, judged: str) -> Iterator[tuple[str, Callable[[str], None]]]:
    """Name of each way, and the function that writes its labels of the judged stack as a field."""
    yield "Otsu", lambda out: _segment(judged, out, method="otsu", phases=TWO)
    yield "hybrid annotation", lambda out: _annotate(judged, out)
    yield "strokes, forest", lambda out: _strokes(given, learnt, judged, out)
    nets = {
        "2-D": {"crop": 96},
        "2.5-D, 2 neighbours": {"crop": 96, "context": 2},
        "3-D": {"dimensions": 3, "depth": 2, "crop": 32},
    }
    for labels, merge in (("annotation", MERGE), ("hand", {})):
        for name, how in nets.items():
            path = given.folder / f"{labels}_{name[:3]}.safetensors"
            text = "hybrid labels" if merge else f"true labels of every {given.every}th slice"
            options = given.network(labels=labels, every=1 if merge else given.every, **how)
            yield (
                f"U-Net {name}, {text}",
                lambda out, p=path, o=options, m=merge: _network(learnt, judged, out, p, o, m),
            )
            if name == "2-D":
                yield (
                    f"the same across z, y and x, {text}",
                    lambda out, p=path, m=merge: _segment(
                        judged, out, model=p, merge=m, phases=TWO, planes="zyx"
                    ),
                )


def _segment(sample: str, out: str, **how: Any) -> None:
    tim3d.segment(sample, out=out, options=QUIET, **how)


def _annotate(sample: str, out: str) -> None:
    tim3d.annotate(sample, out="annotated", options=QUIET)
    found = np.asarray(store.field_array(sample, "annotated")[:])
    path = Path(sample).parent / "annotated.npy"
    np.save(path, (found == 0).astype(np.uint8))
    tim3d.ingest(path, sample, voxel_size=SIZE, field=out, phases=TWO, options=QUIET)


def _strokes(given: Given, learnt: str, judged: str, out: str) -> None:
    path = given.folder / "strokes.safetensors"
    tim3d.train_strokes(learnt, path, labels="strokes")
    _segment(judged, out, model=path, phases=TWO)


def _network(
    learnt: str,
    judged: str,
    out: str,
    path: Path,
    options: Mapping[str, Any],
    merge: Mapping[str, str],
) -> None:
    tim3d.train(learnt, path, **options)
    _segment(judged, out, model=path, merge=merge, phases=TWO)


def numbers(sample: str, field: str) -> np.ndarray:
    """Volume fraction of pores, specific surface in nm-1, and tortuosity factor of pores along z."""
    tim3d.measure(sample, ["phase_fraction", "specific_surface"], field=field, options=QUIET)
    found = tim3d.describe(
        sample, ["phase_fraction", "specific_surface"], field=field, options=QUIET
    )
    solved = tim3d.solve(
        sample, axis="z", field=field, conductivity={"pore": 1.0, "solid": 0.0}, options=QUIET
    )
    of_pore = found.sel(phase="pore")
    values = (of_pore.phase_fraction, of_pore.specific_surface, solved.tortuosity_factor_total)
    return np.array([float(np.asarray(one.values).ravel()[0]) for one in values])


def main(arguments: list[str] | None = None) -> None:
    """Print the table of a severity."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--severity", choices=list(SEVERITIES), default="middle")
    parser.add_argument("--shape", default="64,128,128")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--every", type=int, default=8)
    parser.add_argument("--only", default="", help="ways whose names hold this text")
    asked = parser.parse_args(arguments)
    logging.getLogger("tim3d").setLevel(logging.ERROR)
    shape = tuple(map(int, asked.shape.split(",")))
    print(f"{asked.severity}, {shape}, {asked.epochs} epochs of {asked.steps} batches")
    print("| way | accuracy | boundary F1 | fraction | surface | tortuosity | CPU s |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        given = Given(asked.severity, shape, asked.epochs, asked.steps, asked.every, Path(folder))  # type: ignore[arg-type]
        learnt, judged = simulated(given, "learnt", 0), simulated(given, "judged", 1)
        tim3d.annotate(learnt, options=QUIET)
        add_hand(given, learnt)
        truth = numbers(judged, "truth")
        for number, (name, make) in enumerate(ways(given, learnt, judged)):
            if asked.only in name:
                print(row(judged, f"way{number}", name, make, truth), flush=True)


def row(sample: str, out: str, name: str, make: Callable[[str], None], truth: np.ndarray) -> str:
    """One way, made and judged."""
    began = time.process_time()
    make(out)
    spent = time.process_time() - began
    judged = tim3d.evaluate(sample, field=out, truth="truth", resamples=0, options=QUIET)
    error = 100 * (numbers(sample, out) / truth - 1)
    sharp = float(judged.boundary_f1.sel(phase="pore"))
    errors = " | ".join(f"{one:+.1f} %" for one in error)
    return f"| {name} | {float(judged.accuracy):.4f} | {sharp:.3f} | {errors} | {spent:.0f} |"


if __name__ == "__main__":
    main()
