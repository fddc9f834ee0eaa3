"""Volumes by diffusion that are guided to a conductivity: what is reached, and how like the micrograph they stay.

    python -m benchmarks.guidance FOLDER --weights silver/generator.safetensors --micrograph porous-silver.tif \
        --pixel-size 5 --scale 4 --edge 64 --fraction 0.284 --changes=-0.2,-0.1,0.1,0.2 --seeds 1,2

Of every seed: a volume as the network makes it, one that is cut at the fraction, one that is guided to
it, and from the conductivity of that one on one for every change. All are periodic; the second phase
conducts, the first does not.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

import tim3d
from tim3d.generators import Diffusion
from tim3d.kernels.conduction.conduction import conduct
from tim3d.storage import store

# Voxels of a component of either phase below which it counts as speckle.
SPECKLE = 27


def speckle(labels: np.ndarray) -> float:
    """Share of the voxels that are in small components of either phase."""
    small = 0
    for phase in (0, 1):
        found, _ = ndimage.label(labels == phase)
        sizes = np.bincount(found.ravel())[1:]
        small += int(sizes[sizes < SPECKLE].sum())
    return small / labels.size


def likeness(sample: str, asked: argparse.Namespace) -> dict[str, float]:
    """Deviations from the micrograph: S2 of the second phase, and the surface."""
    found = tim3d.fidelity(
        sample,
        micrograph=asked.micrograph,
        phases=tim3d.Phases(**asked.codes),
        pixel_size=asked.pixel_size,
        scale=asked.scale,
        options=tim3d.Options(progress=False),
    )
    last = found.deviation.isel(phase=-1)
    chosen = {name: last.sel(quantity=name) for name in ("two_point", "surface")}
    return {name: float(np.nanmean(value)) for name, value in chosen.items()}


def made(asked: argparse.Namespace, name: str, seed: int, **more: Any) -> dict[str, Any]:
    """Generate a volume, and return what is known of it."""
    sample = str(asked.folder / f"{name}-{seed}.zarr")
    generator = Diffusion(
        asked.weights,
        steps=asked.steps,
        sampler="euler" if asked.planes == "mean" else "ancestral",
        planes=asked.planes,
        seed=seed,
        device="cpu",
        periodic=True,
        **more,
    )
    begun = time.process_time()
    labels = tim3d.generate(
        sample, generator, shape=(asked.edge,) * 3, options=tim3d.Options(progress=False)
    )
    seconds = time.process_time() - begun
    phases = store.read_field(sample, "phase").phases
    assert phases is not None
    asked.codes = dict(zip(phases.names, asked.values, strict=True))
    solid = (np.asarray(labels) == phases.codes[1]).astype(np.uint8)
    flux = conduct(solid, {0: 0.0, 1: 1.0}, 0, spacing=store.read_field(sample, "phase").spacing_nm)
    told = store.node_attributes(sample, "phase")
    row = {
        "name": name, "seed": seed, "fraction": 1 - float(solid.mean()), "conductivity": flux.conductivity,
        "speckle": speckle(solid), "seconds": seconds, "targets": told.get("targets", {}),
        **(likeness(sample, asked) if asked.micrograph else {}),
    }  # fmt: skip
    print(text(row), flush=True)
    return row


def text(row: dict[str, Any]) -> str:
    """A row of the table."""
    told = row["targets"].get("conductivity", {})
    missed = f"{(row['conductivity'] - told['asked']) / told['scatter']:+.2f}" if told else ""
    wanted = f"{told['asked']:.4f} ± {told['scatter']:.4f}" if told else ""
    like = [f"{row[name]:.4f}" for name in ("two_point", "surface") if name in row]
    return " | ".join([
        f"| {row['name']}", str(row["seed"]), f"{row['fraction']:.4f}", wanted, f"{row['conductivity']:.4f}", missed,
        *like, f"{100 * row['speckle']:.3f} %", f"{row['seconds']:.0f} s |",
    ])  # fmt: skip


def of_seed(asked: argparse.Namespace, seed: int) -> None:
    """All volumes of a seed."""
    first, second = store_names(asked)
    fractions = {first: asked.fraction, second: 1 - asked.fraction}
    made(asked, "as it comes", seed)
    made(asked, "cut", seed, fractions=fractions)
    start = made(asked, "fraction", seed, target={"phase_fraction": asked.fraction})
    scatter = None
    for change in asked.changes:
        target = {
            "phase_fraction": asked.fraction,
            "conductivity": (1 + change) * start["conductivity"],
        }
        more = {"conductivity": {first: 0.0, second: 1.0}, "target": target, "scatter": scatter}
        row = made(asked, f"{100 * change:+.0f} %", seed, **more)
        scatter = {name: told["scatter"] for name, told in row["targets"].items()}


def store_names(asked: argparse.Namespace) -> tuple[str, str]:
    """Names of the two phases of the network."""
    from tim3d.models.diffusion.network_file import describe_network

    first, second = describe_network(asked.weights)[0].phases or ("", "")
    return first, second


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for every volume."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--micrograph", type=Path)
    parser.add_argument(
        "--values", type=lambda text: [int(v) for v in text.split(",")], default=[0, 255]
    )
    parser.add_argument("--planes", choices=["joint", "mean"], default="mean")
    parser.add_argument("--pixel-size", type=float)
    parser.add_argument("--scale", type=int, default=1)
    parser.add_argument("--edge", type=int, default=64)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--fraction", type=float, required=True)
    parser.add_argument("--changes", type=_numbers, default=[-0.2, -0.1, 0.1, 0.2])
    parser.add_argument("--seeds", type=_numbers, default=[1.0])
    asked = parser.parse_args(arguments)
    asked.folder.mkdir(exist_ok=True)
    shown = ["S2", "surface"] if asked.micrograph else []
    print(
        " | ".join(
            [
                "| volume",
                "seed",
                "fraction",
                "asked",
                "conductivity",
                "scatters off",
                *shown,
                "speckle",
                "CPU |",
            ]
        )
    )
    for seed in asked.seeds:
        of_seed(asked, int(seed))


if __name__ == "__main__":
    main()
