"""Slow variation of the phase fraction in what a diffusion generates, with the local fraction as a condition or not.

    python -m benchmarks.coarse_field images FOLDER --edge 1024 --drawn 512 --count 8 --steps 800
    python -m benchmarks.coarse_field volumes FOLDER --edge 192 --drawn 128 --count 1 --steps 1000

The material is a level cut of a Gaussian field whose level varies slowly; both laws are known. Two
networks are trained on one image, or one volume, of it, equally long, one with `--coarse-window`. The table has
the standard deviation of the fraction of pores over windows of several edges, in other draws of the
material, and in what is generated: with the coarse field, by the same network with the same fraction
everywhere, and by the network without it. For volumes it is that of `tim3d study`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tifffile
from scipy.special import ndtri

import tim3d
from tim3d.generators import Box, Diffusion, GaussianField, Generator
from tim3d.kernels.generation.coarse_field import CoarseField, CoarseLaw
from tim3d.phases import Phases

PHASES = Phases(pore=0, solid=1)
QUIET = tim3d.Options(progress=False)
VOXEL = 10.0
Rows = dict[str, dict[int, tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class TwoScale(Generator):
    """Pores where a Gaussian field is below a level that another field sets: the local fraction."""

    kind: ClassVar[str] = "two-scale"

    field: GaussianField
    coarse: CoarseField
    phases: Phases | None = PHASES
    spacing_nm: tuple[float, float, float] = (VOXEL,) * 3

    def labels(self, box: Box) -> np.ndarray:
        """0 in the pores."""
        return (self.field.values(box) >= ndtri(self.coarse.values(box))).astype(np.uint8)

    def block_bytes(self, core: tuple[int, int, int]) -> int:
        """Two fields in double precision."""
        return 40 * int(np.prod(core)) + self.field.block_bytes(core)


def material(asked: argparse.Namespace, seed: int) -> TwoScale:
    """A draw of the material."""
    law = CoarseLaw(VOXEL, asked.fraction, 0.0, asked.deviation**2, VOXEL * asked.slow, 1.0)
    spacing = (VOXEL,) * 3
    short = GaussianField((VOXEL * asked.short,) * 3, spacing, seed)
    return TwoScale(short, CoarseField(law, spacing, seed))


def scatter(images: Iterable[np.ndarray], edges: Sequence[int]) -> dict[int, tuple[float, float]]:
    """Standard deviation of the fraction of pores over windows of each edge, and its error between images.

    The error is that of a jackknife over images.
    """
    every: dict[int, list[np.ndarray]] = {edge: [] for edge in edges}
    for image in images:
        for edge in edges:
            rows, columns = (n // edge for n in image.shape)
            cut = (image == 0)[: rows * edge, : columns * edge]
            every[edge].append(cut.reshape(rows, edge, columns, edge).mean((1, 3)).ravel())
    return {
        edge: (float(np.std(np.concatenate(v), ddof=1)), _error(v)) for edge, v in every.items()
    }


def _error(values: list[np.ndarray]) -> float:
    if len(values) < 2:
        return float("nan")
    left = [
        np.std(np.concatenate(values[:n] + values[n + 1 :]), ddof=1) for n in range(len(values))
    ]
    return float(np.sqrt((len(left) - 1) * np.var(left)))


def trained(asked: argparse.Namespace, source: Any, given: Mapping[str, Any]) -> dict[str, Path]:
    """Networks with the coarse field and without, trained equally long."""
    made = {}
    for name, window in (("with", VOXEL * asked.window), ("without", None)):
        begun = time.process_time()
        made[name] = tim3d.train_diffusion(
            source, asked.folder / name, coarse_window=window, steps=asked.steps, widths=asked.widths,
            crop=asked.crop, batch=asked.batch, learning_rate=0.002, average=0.998, seed=1, device="cpu",
            progress=False, **given,
        )  # fmt: skip
        print(
            f"trained {name} the coarse field: {time.process_time() - begun:.0f} s of CPU",
            flush=True,
        )
    return made


# Name of a row, its network, and its amount of the coarse field.
CASES = (
    ("with the coarse field", "with", 1.0),
    ("same network, one fraction", "with", 0.0),
    ("network without it", "without", None),
)


def of_images(asked: argparse.Namespace) -> Rows:
    """Rows of images of 2 dimensions."""
    path = asked.folder / "material.tif"
    if not path.exists():
        whole = Box((0, 0, 0), (1, asked.edge, asked.edge))
        tifffile.imwrite(path, material(asked, 0).labels(whole)[0])
    nets = trained(asked, path, {"phases": PHASES, "pixel_size": VOXEL})
    edges = windows(asked.drawn)
    box = Box((0, 0, 0), (1, asked.drawn, asked.drawn))
    seeds = range(1, 1 + asked.real)
    rows = {"material": scatter((material(asked, seed).labels(box)[0] for seed in seeds), edges)}
    rows["image it learnt from"] = scatter([tifffile.imread(path)], edges)
    for name, net, amount in CASES:
        out = asked.folder / name.replace(" ", "-").replace(",", "")
        more = {} if amount is None else {"coarse": amount}
        begun = time.process_time()
        tim3d.generate_images(
            nets[net], out, shape=(asked.drawn,) * 2, count=asked.count, seed=7, format="tif", device="cpu",
            progress=False, **more,
        )  # fmt: skip
        print(f"{name}: {time.process_time() - begun:.0f} s of CPU", flush=True)
        rows[name] = scatter(map(tifffile.imread, sorted(out.glob("*.tif"))), edges)
    return rows


def of_volumes(asked: argparse.Namespace) -> Rows:
    """Rows of volumes, by `tim3d study`."""
    source = str(asked.folder / "material.zarr")
    tim3d.generate(source, material(asked, 0), shape=(asked.edge,) * 3, options=QUIET)
    nets = trained(asked, source, {"field": "phase"})
    rows: Rows = {"volume it learnt from": studied([source], asked.drawn)}
    seeds = range(1, 1 + asked.real)
    rows["material"] = studied(
        [drawn(asked, f"real-{seed}", material(asked, seed)) for seed in seeds], asked.drawn
    )
    for name, net, amount in CASES:
        begun = time.process_time()
        settings: dict[str, Any] = {"coarse": amount, "device": "cpu", "periodic": True}
        made = [
            drawn(asked, f"{net}-{amount}-{seed}", Diffusion(nets[net], seed=seed, **settings))
            for seed in range(asked.count)
        ]
        print(f"{name}: {time.process_time() - begun:.0f} s of CPU", flush=True)
        rows[name] = studied(made, asked.drawn)
    return rows


def drawn(asked: argparse.Namespace, name: str, generator: Generator) -> str:
    """Sample with a volume."""
    sample = str(asked.folder / f"{name}.zarr")
    tim3d.generate(sample, generator, shape=(asked.drawn,) * 3, options=QUIET)
    return sample


def studied(samples: Sequence[str], edge: int) -> dict[int, tuple[float, float]]:
    """Standard deviation over the windows of all samples about the mean of all."""
    every: dict[int, list[np.ndarray]] = {}
    for sample in samples:
        found = tim3d.study(
            sample,
            quantity="phase_fraction",
            phase="pore",
            windows=windows(edge)[2:],
            options=QUIET,
        )
        for number, size in enumerate(windows(edge)[2:]):
            values = found.value.isel(window=number).values
            every.setdefault(size, []).append(values[np.isfinite(values)])
    return {
        size: (float(np.std(np.concatenate(v), ddof=1)), _error(v)) for size, v in every.items()
    }


def windows(edge: int) -> list[int]:
    """Edges of windows, from a sixteenth to half of the drawn edge; volumes are studied in the two largest."""
    return [edge // 16, edge // 8, edge // 4, edge // 2]


def table(rows: Rows) -> str:
    """The rows, in percent of the volume."""
    edges = list(next(iter(rows.values())))
    lines = [" | ".join(["| s.d. of the fraction, %, in windows of", *map(str, edges)]) + " |"]
    for name, row in rows.items():
        cells = [f"{100 * row[e][0]:.2f} ± {100 * row[e][1]:.2f}" for e in edges]
        lines.append(" | ".join([f"| {name}", *cells]) + " |")
    return "\n".join(lines)


KINDS: Mapping[str, Callable[[argparse.Namespace], Rows]] = {
    "images": of_images,
    "volumes": of_volumes,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder", type=Path)
    whole = {
        "edge": 1024,
        "drawn": 512,
        "count": 8,
        "real": 32,
        "steps": 800,
        "crop": 64,
        "batch": 16,
    }
    for name, default in whole.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    lengths = {"fraction": 0.4, "deviation": 0.1, "short": 6.0, "slow": 120.0, "window": 64.0}
    for name, usual in lengths.items():
        parser.add_argument(f"--{name}", type=float, default=usual)
    parser.add_argument(
        "--widths", type=lambda text: tuple(map(int, text.split(","))), default=(24, 32)
    )
    asked = parser.parse_args(arguments)
    asked.folder.mkdir(parents=True, exist_ok=True)
    print(table(KINDS[asked.kind](asked)))


if __name__ == "__main__":
    main()
