"""Stitched inference against the bare network on the very windows that stitching gives it, as ready tensors.

    python benchmarks/inference.py                 # the table of RESULTS.md
    python benchmarks/inference.py --slices 4 --edge 64 --repeats 1     # a quick look

The bare network gets normalised float32 tensors and its logits are thrown away. Stitching starts at
the grey slab of a block and ends with its labels: gathering, normalisation, argmax and placing are
inside. The two take turns, and the ratio is that of neighbouring turns, so that a change of the
machine's speed hits both. The last column is steadier on a busy machine: of the time of a stitched
run, the share that passes within the network. Seconds are those of the processor with one thread,
of the wall with more.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tim3d.grid import Box
from tim3d.kernels.windows.lattice import Lattice, blend_lattice, crop_lattice, slice_lattice
from tim3d.kernels.windows.stitching import batches
from tim3d.models.segmentation.checkpoint import Description, Normalisation, save
from tim3d.models.segmentation.inference import Predictor, ready, segment_core
from tim3d.models.segmentation.unet import UNetSpec, build

GREY = Normalisation("volume", (128.0,), (40.0,))


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    lattice: Lattice
    seconds_bare: float
    seconds_stitched: float
    ratio: float
    within: float

    def row(self) -> str:
        """Millions of voxels of the result for each second, with and without the stitching."""
        voxels = float(np.prod(self.lattice.shape)) / 1e6
        bare, stitched = voxels / self.seconds_bare, voxels / self.seconds_stitched
        return f"| {self.name} | {bare:.3f} | {stitched:.3f} | {100 * self.ratio:.1f} % | {100 * self.within:.1f} % |"


def lattices(shape: tuple[int, int, int], spec: UNetSpec) -> Iterator[tuple[str, Lattice]]:
    """Whole slices, cropped windows and blended windows of half the edge of a slice."""
    step = spec.total_stride
    window = max(4 * step, shape[1] // 2 // step * step)
    halo = max(step, window // 8 // step * step)
    yield "whole slices", slice_lattice(shape, step)
    yield (
        f"windows {window}, crop, halo {halo}",
        crop_lattice(shape, (1, window, window), (0, halo, halo)),
    )
    yield (
        f"windows {window}, blend, overlap {2 * halo}",
        blend_lattice(shape, (1, window, window), (0, 2 * halo, 2 * halo)),
    )


def measure(name: str, lattice: Lattice, predictor: Predictor, repeats: int) -> Case:
    """Median seconds of both ways over alternating runs, after one of each to warm up."""
    volume = np.random.default_rng(0).integers(0, 256, lattice.shape, dtype=np.uint8)
    whole = Box.whole(lattice.shape)
    tensors = [
        ((torch.from_numpy(array).float() - GREY.mean[0]) / GREY.std[0]).contiguous(
            memory_format=torch.channels_last
        )
        for array, _ in batches(lattice, lattice.windows(whole), volume, whole, predictor.batch)
    ]
    model = ready(predictor).model
    torch.set_num_threads(predictor.threads)

    def bare() -> None:
        with torch.inference_mode():
            for tensor in tensors:
                model(tensor)

    def stitched() -> None:
        segment_core(predictor, lattice, whole, volume, whole)

    count = predictor.threads
    shares = [within(model, stitched, count) for _ in range(repeats + 1)][1:]
    pairs = [(seconds(bare, count), seconds(stitched, count)) for _ in range(repeats + 1)][1:]
    bare_seconds, stitched_seconds = (
        statistics.median(column) for column in zip(*pairs, strict=True)
    )
    return Case(
        name, lattice, bare_seconds, stitched_seconds, statistics.median(a / b for a, b in pairs),
        statistics.median(shares),
    )  # fmt: skip


def within(model: torch.nn.Module, work: Callable[[], None], threads: int) -> float:
    """Share of the time of one call that passes within a network."""
    began: list[float] = []
    spent: list[float] = []
    clock = clock_of(threads)
    hooks = (
        model.register_forward_pre_hook(lambda *_: began.append(clock())),
        model.register_forward_hook(lambda *_: spent.append(clock() - began[-1])),
    )
    try:
        whole = seconds(work, threads)
        return sum(spent) / whole
    finally:
        for hook in hooks:
            hook.remove()


def clock_of(threads: int) -> Callable[[], float]:
    """Clock of the processor for one thread, which other programs do not change, else of the wall."""
    return time.process_time if threads == 1 else time.perf_counter


def seconds(work: Callable[[], None], threads: int) -> float:
    """Time of one call."""
    clock = clock_of(threads)
    began = clock()
    work()
    return clock() - began


def predictor_for(folder: str, spec: UNetSpec, threads: int, batch: int) -> Predictor:
    """An untrained network: its speed does not depend on its weights."""
    torch.manual_seed(0)
    path = Path(folder) / "net.safetensors"
    sha256 = save(path, build(spec), Description(spec, GREY, (10.0, 5.0, 5.0)))
    return Predictor(str(path), sha256, threads=threads, batch=batch)


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=16)
    parser.add_argument("--edge", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args(arguments)
    spec = UNetSpec(classes=("pore", "solid", "shine_through"))
    shape = (given.slices, given.edge, given.edge)
    print(
        f"{shape} uint8, {spec.architecture} on {spec.encoder}, depth {spec.depth}, {len(spec.classes)} classes,"
    )
    print(
        f"torch {torch.__version__}, {given.threads} threads, batch {given.batch}, {given.repeats} alternating runs"
    )
    print(
        "| Mvoxel/s of the result | bare network | stitched to labels | ratio | within the network |\n"
        "|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        predictor = predictor_for(folder, spec, given.threads, given.batch)
        for name, lattice in lattices(shape, spec):
            print(measure(name, lattice, predictor, given.repeats).row(), flush=True)


if __name__ == "__main__":
    main()
