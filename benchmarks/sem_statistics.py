"""Conductivity from the S2 of one section, against that of the material itself.

    python -m benchmarks.sem_statistics

A section of each of three materials is measured, volumes are generated from it, and both these and
volumes of the material itself are solved.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

import tim3d
from tim3d.generators import GaussianField, Generator, Grains, LevelCuts, Overlapping, Packed
from tim3d.kernels.conduction.conduction import conduct

VOXEL = (10.0, 10.0, 10.0)
SIZE = {"z": 10, "y": 10, "x": 10}
QUIET = tim3d.Options(progress=False)
CONDUCTIVITY = {0: 0.02, 1: 1.0}


def materials(edge: int, seed: int, diameter: float) -> dict[str, Generator]:
    """Three laws with a half or more of the conducting phase; packed spheres do not touch."""
    period, solid = (edge,) * 3, tim3d.Phases(pore=0, solid=1)
    return {
        "level cut": LevelCuts(
            GaussianField((diameter / 2,) * 3, VOXEL, seed, period), (0.4, 0.6), solid
        ),
        "overlapping spheres": Overlapping(Grains((diameter,), (1.0,)), 0.6, VOXEL, seed, period, solid),
        "packed spheres": Packed(
            Grains((diameter,), (1.0,)), 0.5, VOXEL, seed, (4 * diameter, 10.0 * edge, 10.0 * edge), solid
        ),
    }  # fmt: skip


def conductivities(labels: np.ndarray) -> float:
    """Mean over the three axes, in units of the conducting phase."""
    axes = [conduct(labels, CONDUCTIVITY, axis, cell=True).conductivity for axis in range(3)]
    return float(np.mean(axes))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", type=int, default=64, help="voxels along the edge of a volume")
    parser.add_argument(
        "--section", type=int, default=512, help="pixels along the edge of a section"
    )
    parser.add_argument("--seeds", type=int, default=4, help="volumes of each kind")
    given = parser.parse_args(arguments)
    print(
        "| material | solid: material, section | k of the material | k from S2 of a section | difference |"
    )
    print("|---|---|---|---|---|")
    for name in materials(given.edge, 0, 2.5 * given.edge):
        with tempfile.TemporaryDirectory() as folder:
            row(name, given.edge, given.section, given.seeds, Path(folder))


def row(name: str, edge: int, section: int, seeds: int, folder: Path) -> None:
    """Print a row of the table."""
    own = [
        volume(folder / f"own{n}.zarr", edge, materials(edge, n, 2.5 * edge)[name])
        for n in range(seeds)
    ]
    plane = str(folder / "section.zarr")
    tim3d.generate(
        plane, materials(section, 99, 2.5 * edge)[name], shape=(1, section, section), options=QUIET
    )
    tim3d.measure(plane, ["phase_fraction", "correlation:lags=32"], options=QUIET)
    share = float(
        tim3d.describe(plane, ["phase_fraction"], plain=True, options=QUIET).phase_fraction[1]
    )
    like = [like_section(folder / f"like{n}.zarr", edge, plane, n) for n in range(seeds)]
    truth, found = ([conductivities(v) for v in some] for some in (own, like))
    solid = np.mean([v.mean() for v in own])
    off = np.mean(found) / np.mean(truth) - 1
    print(f"| {name} | {solid:.3f}, {share:.3f} | {cell(truth)} | {cell(found)} | {off:+.1%} |")


def cell(values: list[float]) -> str:
    """Mean and its standard error."""
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.4f}"


def volume(path: Path, edge: int, generator: Generator) -> np.ndarray:
    """Labels of a volume of a law."""
    made = tim3d.generate(str(path), generator, shape=(edge,) * 3, options=QUIET)
    return np.asarray(made.values)


def like_section(path: Path, edge: int, plane: str, seed: int) -> np.ndarray:
    """Labels of a volume with the S2 of a section."""
    from tim3d.cli.parsing import verb

    made = verb("generate")(
        str(path),
        kind="field",
        s2=plane,
        shape=(edge,) * 3,
        voxel_size=SIZE,
        seed=seed,
        periodic=True,
        options=QUIET,
    )
    return np.asarray(made.values)


if __name__ == "__main__":
    main()
