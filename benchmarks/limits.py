"""Each verb beside what the hardware asks for at least: bytes that zarr alone reads and writes, or multiplications.

    python -m benchmarks.limits FOLDER [--size small] [--only measure,solve]

One process and one thread, seconds of the processor. The limit of a pass over a volume is the time in which zarr
alone reads its inputs, each as often as the verb has to see it, and writes its fields, shard by shard, at the same
compression. That of the solver is the time in which the vectors of its iterations pass through memory once: ten of
float32 (the four of conjugate gradients read and written, the potential and the material). That of a network is the
time of its multiplications at the speed of a large matrix product. A share of 1 cannot be passed without another
method; what lies between is arithmetic and ours to mend. Every verb runs on a tiny volume first, so that imports and
compiled kernels do not count.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr

import tim3d
from benchmarks.large import copy_shards, make_volume
from tim3d.corrections import Brightness
from tim3d.generators import Grains, Overlapping
from tim3d.grid import Grid, Triple, triple

SIZES: dict[str, Triple] = {
    "tiny": (8, 32, 32),
    "small": (64, 128, 128),
    "medium": (128, 512, 512),
    "large": (512, 512, 512),
}
QUIET = tim3d.Options(progress=False)
PHASES = tim3d.Phases(pore=0, solid=1)
VOXEL = {"z": 10.0, "y": 5.0, "x": 5.0}
VECTORS_BYTES = 10 * 4


@dataclass(frozen=True)
class Row:
    """A verb: what it does, the fields that it has to read (each as often as it is named) and write."""

    name: str
    run: Callable[[str], Any]
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


def solved(sample: str) -> Any:
    """A solution with a contrast of 100."""
    return tim3d.solve(sample, conductivity={"pore": 1.0, "solid": 100.0}, options=QUIET)


ROWS = (
    Row(
        "segment, Otsu",
        lambda s: tim3d.segment(s, method="otsu", phases=PHASES, options=QUIET),
        ("raw", "raw"),
        ("phase",),
    ),
    Row("measure", lambda s: tim3d.measure(s, options=QUIET), ("phase",)),
    Row(
        "prepare, brightness",
        lambda s: tim3d.prepare(s, [Brightness()], options=QUIET),
        ("raw", "raw"),
        ("prepared",),
    ),
    Row("label", lambda s: tim3d.label(s, options=QUIET), ("phase",)),
    Row(
        "label --keep",
        lambda s: tim3d.label(s, keep=True, out="kept", options=QUIET),
        ("phase", "phase"),
        ("component",),
    ),
    Row("distance", lambda s: tim3d.distance(s, options=QUIET), ("phase",), ("phase_distance",)),
    Row(
        "geodesic, one direction",
        lambda s: tim3d.geodesic(s, phases=["pore"], directions=["+z"], options=QUIET),
        ("phase",),
    ),
    Row("export, TIFF", lambda s: tim3d.export(s, "raw", f"{s}.tif", options=QUIET), ("raw",)),
    Row(
        "generate, overlapping spheres",
        lambda s: tim3d.generate(
            f"{s}.made",
            Overlapping(Grains((120.0,), (1.0,)), 0.4, (10.0, 5.0, 5.0), 0),
            shape=shape_of(s),
            options=QUIET,
        ),
    ),
)


def shape_of(sample: str) -> Triple:
    """Voxels of the grey field."""
    return triple(tim3d.open_field(sample, "raw").shape)


def seconds(action: Callable[[], Any]) -> float:
    """Processor time, user and system, of this process."""
    before = time.process_time()
    action()
    return time.process_time() - before


def best(action: Callable[[], Any], runs: int = 3) -> float:
    """Least processor time of a few runs."""
    return min(seconds(action) for _ in range(runs))


def array_path(sample: str, field: str) -> str:
    """The finest level of a field."""
    return f"{sample}/{field}/s0/{field}"


def read_seconds(sample: str, field: str) -> float:
    """Time in which zarr alone reads a field, slab of shards by slab."""
    array: Any = zarr.open_array(array_path(sample, field), mode="r")
    slab = ((array.shards or array.chunks)[0], *array.shape[1:])
    return best(
        lambda: [array[block.core.slices] for block in Grid(triple(array.shape), triple(slab))]
    )


def write_seconds(sample: str, field: str, scratch: Path) -> float:
    """Time in which zarr alone writes a field: a copy less the reading."""
    source = array_path(sample, field)

    def copy() -> None:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        shutil.copy(f"{source}/zarr.json", scratch)
        copy_shards((source, str(scratch), 0, 1))

    return max(best(copy) - read_seconds(sample, field), 0.0)


def bytes_a_second() -> float:
    """Bytes that one thread reads and writes in a second, by copies of 256 MiB."""
    there = np.ones(2**26, np.float32)
    found = np.empty_like(there)
    return 2 * there.nbytes / best(lambda: np.copyto(found, there))


def multiplications_a_second(edge: int = 1536) -> float:
    """Multiplications with their additions in a second, by a product of large matrices of torch, one thread."""
    import torch

    a = torch.ones((edge, edge))
    torch.set_num_threads(1)
    return edge**3 / best(lambda: torch.mm(a, a))


def passes(sample: str, only: Sequence[str], scratch: Path) -> Iterator[tuple[str, float, float]]:
    """Name, seconds and limit of every verb that passes over the volume."""
    for row in ROWS:
        took = seconds(partial(row.run, sample))  # always: later rows read its fields
        if only and not any(word in row.name for word in only):
            continue
        limit = sum(read_seconds(sample, name) for name in row.reads)
        limit += sum(write_seconds(sample, name, scratch) for name in row.writes)
        yield row.name, took, limit


def solving(sample: str) -> tuple[str, float, float]:
    """The solver, and its vectors once through memory in each iteration."""
    took = seconds(lambda: solved(sample))
    found = tim3d.open_dataset(sample, "phase_transport_pore=1,solid=100")
    iterations = int(np.max(found["iterations"].values))
    moved = VECTORS_BYTES * iterations * float(np.prod(shape_of(sample)))
    return f"solve, contrast 100, {iterations} iterations", took, moved / bytes_a_second()


def segmenting(sample: str, folder: Path) -> tuple[str, float, float]:
    """A U-Net of random weights over the slices, and its multiplications."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from tim3d.models.segmentation.checkpoint import Description, Normalisation, save
    from tim3d.models.segmentation.unet import UNetSpec, build

    spec = UNetSpec(("pore", "solid"), depth=3, decoder_channels=(64, 32, 16))
    network = build(spec)
    slices, *plane = shape_of(sample)
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        network(torch.zeros((1, 1, *plane)))
    about = Description(spec, Normalisation("volume", (128.0,), (40.0,)), (10.0, 5.0, 5.0))
    save(folder / "unet.safetensors", network, about)
    took = seconds(
        lambda: tim3d.segment(
            sample,
            model=str(folder / "unet.safetensors"),
            field="raw",
            out="by_network",
            options=QUIET,
        )
    )
    work = slices * counted.get_total_flops() / 2
    return "segment, U-Net, whole slices", took, work / multiplications_a_second()


def rows(folder: Path, shape: Triple, only: Sequence[str]) -> Iterator[tuple[str, float, float]]:
    """Name, seconds and limit of every verb."""
    folder.mkdir(parents=True)
    source, sample = folder / "grey.npy", str(folder / "limits.zarr")
    make_volume(source, shape)
    took = seconds(lambda: tim3d.ingest(source, sample, voxel_size=VOXEL, options=QUIET))
    scratch = folder / "copy"
    if not only or "ingest" in only:
        yield "ingest, with pyramid", took, write_seconds(sample, "raw", scratch)
    yield from passes(sample, only, scratch)
    if not only or "solve" in only:
        yield solving(sample)
    if not only or "U-Net" in only:
        yield segmenting(sample, folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a new folder for the volume and the sample")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--only", default="", help="words of rows, divided by commas")
    given = parser.parse_args(arguments)
    shape = SIZES[given.size]
    print(f"{'x'.join(map(str, shape))} voxels, {bytes_a_second() / 1e9:.1f} GB/s, "
          f"{multiplications_a_second() / 1e9:.1f} GMAC/s\n")  # fmt: skip
    print("| verb | CPU s | ns a voxel | limit, CPU s | share of it |\n|---|---|---|---|---|")
    only = [word for word in given.only.split(",") if word]
    list(
        rows(given.folder / "warm", SIZES["tiny"], only)
    )  # what is imported and compiled once does not count
    for name, took, limit in rows(given.folder / "timed", shape, only):
        each = 1e9 * took / np.prod(shape)
        share = f"{limit / took:.2f}" if limit else ""
        print(f"| {name} | {took:.4f} | {each:.1f} | {limit:.2f} | {share} |", flush=True)


if __name__ == "__main__":
    main()
