"""The verb generate with networks against the bare generator on the same windows; and one large volume.

    python -m benchmarks.generate                                      # the table of RESULTS.md
    python -m benchmarks.generate --presets demo --edge 64 --tile 32 --repeats 1        # a quick look
    python -m benchmarks.generate --volume 1024 --workers 2            # one volume on a cluster, with its peak memory

The bare generator is torch's own transposed convolutions with normalisation folded in, on ready
float32 noise, its logits thrown away. The tiles start at coordinates and end with labels; the verb
also compresses and writes them, with markers and pyramid. They take turns, and the ratios are those
of neighbouring turns, so that a change of the machine's speed hits all. One thread each; a volume's
rate is that of all workers together.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional

import tim3d
from benchmarks.large import peaks, timed
from tim3d.generators import Network
from tim3d.grid import Box
from tim3d.kernels.generation.architecture import Architecture, preset, tile_nodes
from tim3d.models.generation.export import (
    Exported,
    GeneratorDescription,
    load_generator,
    save_generator,
)
from tim3d.models.generation.slicegan import Generator, grow
from tim3d.models.generation.synthesis import NetworkField, home

SPACING = (10.0, 10.0, 10.0)
PRESETS = "demo,demo-resize,demo-big,paper,big-volume"


@dataclass(frozen=True)
class Case:
    """One row of the table: seconds of each way for the same voxels, and medians of ratios of neighbouring turns."""

    name: str
    voxels: int
    bare: float
    tiles: float
    verb: float
    ratios: tuple[float, float]

    def row(self) -> str:
        """Millions of voxels a second, and how the last two compare with the first."""
        rates = " | ".join(
            f"{self.voxels / 1e6 / s:.2f}" for s in (self.bare, self.tiles, self.verb)
        )
        return f"| {self.name} | {rates} | {100 * self.ratios[0]:.0f} % | {100 * self.ratios[1]:.0f} % |"


def weights_of(folder: Path, architecture: Architecture) -> tuple[Path, str]:
    """An untrained network: its speed does not depend on its weights, its labels are noise that compresses badly."""
    torch.manual_seed(0)
    path = folder / f"{architecture.name}.safetensors"
    about = GeneratorDescription(architecture, SPACING, tim3d.Phases(pore=0, solid=1))
    return path, save_generator(path, Generator(architecture).eval(), about)


def bare_pass(exported: Exported, noise: torch.Tensor) -> torch.Tensor:
    """Logits as torch's own layers make them."""
    values = noise
    for number, (layer, padding) in enumerate(
        zip(exported.layers, exported.architecture.paddings, strict=False)
    ):
        values = functional.conv_transpose3d(
            values, layer.weight, layer.bias, stride=2, padding=padding
        )
        if number + 1 < len(exported.layers):
            values.relu_()
    if exported.architecture.kind == "resize":
        values = functional.conv3d(
            grow(values), exported.layers[-1].weight, exported.layers[-1].bias
        )
    return values


def measure(architecture: Architecture, edge: int, tile: int, repeats: int, folder: Path) -> Case:
    """Median seconds of the three ways over alternating runs, after one of each to warm up."""
    path, sha256 = weights_of(folder, architecture)
    field = NetworkField(str(path), sha256, architecture, 0, tile_nodes(architecture, tile))
    exported, count = load_generator(path), -((-edge // field.edge) ** 3)
    noise = torch.from_numpy(home(field).noise(Box.whole((field.edge,) * 3)))
    shape, quiet = (edge, edge, edge), tim3d.Options(progress=False, overwrite=True)

    def bare() -> None:
        with torch.inference_mode():
            for _ in range(count):
                bare_pass(exported, noise)

    def verb() -> None:
        network = Network(path, tile=field.edge, device="cpu")
        tim3d.generate(str(folder / "a.zarr"), network, shape=shape, options=quiet)

    ways = (bare, lambda: field.labels(Box.whole(shape)), verb)
    turns = [tuple(timed(way) for way in ways) for _ in range(repeats + 1)][1:]
    bare_seconds, tiles_seconds, verb_seconds = (
        statistics.median(column) for column in zip(*turns, strict=True)
    )
    to_tiles, to_verb = (statistics.median(turn[0] / turn[way] for turn in turns) for way in (1, 2))
    name = f"{architecture.name}, tile {field.edge}"
    return Case(name, edge**3, bare_seconds, tiles_seconds, verb_seconds, (to_tiles, to_verb))


def volume(architecture: Architecture, edge: int, tile: int, workers: int, folder: Path) -> str:
    """One volume through the verb: seconds, rate and the peak of a worker, measured and planned."""
    path, _ = weights_of(folder, architecture)
    sample = folder / "large.zarr"
    with tim3d.cluster("local", workers=workers) if workers else tim3d.cluster("serial"):
        taken = timed(
            lambda: tim3d.generate(
                str(sample),
                Network(path, tile=tile, device="cpu"),
                shape=(edge,) * 3,
                options=tim3d.Options(progress=False),
            )
        )
    said = "; ".join(
        f"{name} {peak:.0f} of planned {plan:.0f} MiB" for name, peak, plan in peaks(str(sample))
    )
    rate = edge**3 / 1e6 / taken
    return f"{architecture.name}: {edge}^3 on {workers} worker(s) in {taken:.0f} s, {rate:.2f} Mvoxel/s; peak {said}"


def main(arguments: list[str] | None = None) -> None:
    """Print the table, or what one volume took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", default=PRESETS)
    parser.add_argument("--edge", type=int, default=256)
    parser.add_argument("--tile", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--volume", type=int, metavar="EDGE", help="generate one volume of this edge instead"
    )
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument(
        "--folder", type=Path, help="where the volume is written (default: a temporary folder)"
    )
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    chosen = [preset(name) for name in given.presets.split(",")]
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        if given.volume:
            print(
                volume(chosen[0], given.volume, given.tile, given.workers, Path(folder)), flush=True
            )
            return
        print(
            f"{given.edge}^3 voxels of 2 phases, torch {torch.__version__}, 1 thread, {given.repeats} turns"
        )
        print(
            "| Mvoxel/s | bare generator | tiles to labels | verb, written | tiles / bare | verb / bare |"
        )
        print("|---|---|---|---|---|---|")
        for architecture in chosen:
            print(
                measure(architecture, given.edge, given.tile, given.repeats, Path(folder)).row(),
                flush=True,
            )


if __name__ == "__main__":
    main()
