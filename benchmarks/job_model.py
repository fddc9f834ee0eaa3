"""How long a whole job takes and what holds it up: a model of reading, computing, writing, storage and scheduler.

    python -m benchmarks.job_model check FOLDER     # the engine against the model, with blocks of known length
    python -m benchmarks.job_model verb FOLDER      # segment and measure, forecast by a pilot on a smaller volume
    python -m benchmarks.job_model table            # three volumes on 1 to 512 GPUs

A worker has one device, on which one block computes at a time; its other threads read and write
meanwhile. Its pace is that of the slower of the two. All workers share one storage and one
scheduler; whichever needs longest for the whole pass is the bottleneck, and what comes before the
first and after the last computation is added.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import tim3d
from benchmarks.scale import EDGE, NoWork, empty_pass
from tim3d.engine import cluster, journal, run
from tim3d.grid import Block, Grid, Triple


@dataclass(frozen=True)
class Machine:
    """Workers of one device each, what they share, and how long they take to start, in seconds."""

    devices: int
    threads: int
    scheduler_seconds: float
    storage_bytes_per_second: float = math.inf
    start_seconds: float = 0.0


@dataclass(frozen=True)
class Sweep:
    """One pass: `blocks` equal blocks, seconds of each step of one of them, and bytes that pass through the storage.

    Between two blocks a worker marks one as done, says so and takes the next: `between_seconds`.
    """

    name: str
    blocks: int
    read_seconds: float
    compute_seconds: float
    write_seconds: float
    stored_bytes: float = 0.0
    between_seconds: float = 0.0

    @property
    def block_seconds(self) -> float:
        """Seconds of a block that has a worker for itself."""
        return self.read_seconds + self.compute_seconds + self.write_seconds + self.between_seconds


@dataclass(frozen=True)
class Forecast:
    """Seconds of a pass, and which of `needs` is the longest."""

    name: str
    needs: dict[str, float]
    edge_seconds: float

    @property
    def bottleneck(self) -> str:
        return max(self.needs, key=lambda need: self.needs[need])

    @property
    def seconds(self) -> float:
        """The longest need, and what no overlap hides."""
        return self.needs[self.bottleneck] + self.edge_seconds


def forecast(sweep: Sweep, machine: Machine) -> Forecast:
    """What a pass takes: every need of all its blocks, as if it were the only one.

    Threads t of a worker overlap: a block leaves every (read + compute + write + between) / t
    seconds, but not faster than the device computes. A worker does ceil(blocks / devices) of them.
    "too few blocks" is the part of that which equal shares would not have.

    >>> calm = Machine(devices=2, threads=1, scheduler_seconds=0.001)
    >>> forecast(Sweep("s", blocks=10, read_seconds=1, compute_seconds=2, write_seconds=1), calm).seconds
    20.0
    >>> forecast(Sweep("s", 10, 1, 2, 1), replace(calm, threads=3)).seconds
    12
    """
    rounds = math.ceil(sweep.blocks / machine.devices)
    pace = {
        "computing": sweep.compute_seconds,
        "reading and writing" if machine.threads > 1 else "its steps in turn": sweep.block_seconds
        / machine.threads,
    }
    slowest = max(pace, key=lambda step: pace[step])
    equal = sweep.blocks / machine.devices
    name = slowest if rounds < 1.5 * equal else "too few blocks"
    needs = {
        name: rounds * pace[slowest],
        "storage": sweep.stored_bytes / machine.storage_bytes_per_second,
        "scheduler": sweep.blocks * machine.scheduler_seconds,
    }
    # The first block is read and the last written while nothing computes: hidden by nobody.
    return Forecast(
        sweep.name, needs, sweep.block_seconds - pace[slowest] if machine.threads > 1 else 0.0
    )


def idle_share(sweep: Sweep, machine: Machine) -> float:
    """Part of the devices' time in which they do not compute, without the start of workers."""
    busy = sweep.blocks * sweep.compute_seconds / machine.devices
    return 1 - busy / forecast(sweep, machine).seconds


@dataclass(frozen=True)
class WaitWork(NoWork):
    """A block whose steps take known times and no processor."""

    seconds: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def read(self, block: Block) -> None:
        time.sleep(self.seconds[0])

    def compute(self, block: Block, inputs: None) -> None:
        time.sleep(self.seconds[1])

    def write(self, block: Block, outputs: None) -> dict[str, Any]:
        time.sleep(self.seconds[2])
        return {}


def measured(folder: Path, sweep: Sweep, machine: Machine) -> float:
    """Seconds that the engine takes for such a pass on local workers that are there already."""
    steps = (sweep.read_seconds, sweep.compute_seconds, sweep.write_seconds)
    warm, timed = (replace(empty_pass(folder / str(n), n), work=WaitWork(steps if n > 4 else (0, 0, 0)))
                   for n in (4, sweep.blocks))  # fmt: skip
    with cluster("local", workers=machine.devices, threads=machine.threads) as on:
        on.client.run(
            importlib.import_module, "tim3d.engine.passes.run"
        )  # on every worker, which the few blocks may not be
        run(warm, progress=False)
        return run(timed, progress=False).wall_seconds


CHECKS = [
    (Sweep("long, one thread", 12, 0.5, 2.0, 0.5), Machine(2, 1, 0.005)),
    (Sweep("long, three threads", 24, 0.5, 2.0, 0.5), Machine(2, 3, 0.005)),
    (Sweep("reading and writing", 36, 1.5, 0.3, 1.5), Machine(2, 3, 0.005)),
    (Sweep("too few blocks", 5, 0.5, 2.0, 0.5), Machine(4, 3, 0.005)),
]


# ----------------------------------------------------------------------------------------------------------------------
# Real verbs: the journal of a pilot gives seconds per voxel of each step, the model those of a larger volume.

Lines = list[dict[str, Any]]
VERBS: dict[str, Callable[[str, tim3d.Options], Any]] = {
    "segment --method otsu": lambda sample, options: tim3d.segment(
        sample, method="otsu", phases=tim3d.Phases(pore=0, solid=1), options=options
    ),
    "measure": lambda sample, options: tim3d.measure(sample, options=options),
}
# The pilot has blocks with neighbours on all sides, as most of a large volume have: what a halo
# costs is then in it.
PILOT, LARGE, BLOCK, PILOTS = 384, 640, (64, 128, 128), 3


@dataclass(frozen=True)
class Timed:
    """What a verb took as a whole, and the journal of its passes."""

    seconds: float
    lines: Lines

    def of(self, event: str) -> Lines:
        """Lines of one kind."""
        return [line for line in self.lines if line["event"] == event]


def sweeps(pilots: Sequence[Timed], large: Timed) -> list[Sweep]:
    """The passes of a large run, of which only numbers of blocks and voxels are taken, at the pace of the pilots.

    Left out is a level of the pyramid that the pilots are too small to have.
    """
    made, between = [], between_blocks([end for pilot in pilots for end in pilot.of("end")])
    for end in large.of("end"):
        known = [one for pilot in pilots for one in pilot.of("end") if one["pass"] == end["pass"]]
        if not known:
            continue
        grown = end["voxels"] / end["computed"] / sum(one["voxels"] for one in known)
        steps = (
            sum(one[f"{step}_seconds"] for one in known) * grown
            for step in ("read", "compute", "write")
        )
        made.append(Sweep(end["pass"], end["computed"], *steps, between_seconds=between))
    return made


def between_blocks(ends: Lines) -> float:
    """Seconds of a worker that are in no step of its blocks, per block; of the pass that has most blocks.

    In a pass of a few blocks most of them would be its start.
    """
    most = max(end["computed"] for end in ends)
    large = [end for end in ends if end["computed"] == most]
    own = sum(
        end[f"{step}_seconds"] for end in large for step in ("read", "wait", "compute", "write")
    )
    return max(0.0, sum(end["wall_seconds"] * end["processes"] for end in large) - own) / (
        most * len(large)
    )


def grey_sample(folder: Path, edge: int, block: Triple) -> Path:
    """A cube of noisy waves, in shards of the size of a block."""
    folder.mkdir(parents=True)
    rng, wave = np.random.default_rng(0), np.sin(np.arange(edge) / 9)
    values = np.lib.format.open_memmap(folder / "in.npy", "w+", np.uint8, (edge, edge, edge))
    for z in range(edge):
        values[z] = np.clip(
            120 + 30 * (wave[z] + wave[:, None] + wave) + rng.normal(0, 9, (edge, edge)), 0, 255
        )
    values.flush()
    size = {"z": 10, "y": 10, "x": 10}
    options = tim3d.Options(progress=False)
    tim3d.ingest(
        folder / "in.npy", str(folder / "raw.zarr"), voxel_size=size, shard=block, options=options
    )
    return folder / "raw.zarr"


def timed(raw: Path, block: Triple) -> dict[str, Timed]:
    """Every verb, on a copy of a sample that has grey values only."""
    shutil.rmtree(raw.parent / "run", ignore_errors=True)
    sample, log = raw.parent / "run" / "a.zarr", raw.parent / "run" / "log"
    shutil.copytree(raw, sample)
    found = {}
    for number, (name, verb) in enumerate(VERBS.items()):
        start = time.perf_counter()
        with journal(f"{log}-{number}"):
            verb(str(sample), tim3d.Options(progress=False, block=block))
        lines = Path(f"{log}-{number}").read_text().splitlines()
        found[name] = Timed(time.perf_counter() - start, [json.loads(line) for line in lines])
    return found


def verb_rows(
    folder: Path,
    pilot: int = PILOT,
    large: int = LARGE,
    block: Triple = BLOCK,
    workers: Sequence[int] = (1, 2),
) -> Iterator[str]:
    """Rows of the table: forecast by the pilot, and measured."""
    samples = [grey_sample(folder / str(edge), edge, block) for edge in (pilot, large)]
    for count in workers:
        machine = Machine(count, 1, TASK_SECONDS)
        with cluster("local", workers=count, threads=1):
            timed(samples[0], block)  # loads libraries and compiles
            small = [timed(samples[0], block) for _ in range(PILOTS)]
            whole = timed(samples[1], block)
        for name in VERBS:
            said = {
                sweep.name: forecast(sweep, machine).seconds
                for sweep in sweeps([one[name] for one in small], whole[name])
            }
            ends = [end for end in whole[name].of("end") if end["pass"] in said]
            found = sum(end["wall_seconds"] for end in ends)
            blocks, expected = sum(end["computed"] for end in ends), sum(said.values())
            yield (
                f"| {name} | {pilot}³ → {large}³ | {count} | {blocks} in {len(ends)} passes | {expected:.1f} "
                f"| {found:.1f} | {expected / found - 1:+.0%} | {whole[name].seconds:.1f} |"
            )


# ----------------------------------------------------------------------------------------------------------------------
# The table: assumptions, and where they are from (docs/scale.md says so too).

# Pixels per second of a 2-D U-Net of nnU-Net, A100, fp16, batch 128: NVIDIA DeepLearningExamples.
GPU_VOXELS = 118.8e6
# Processes of one core each, measured: RESULTS.md, "A gigavoxel" (a pass with its pyramid, voxels/s
# of one of two).
INGEST_VOXELS, MEASURE_VOXELS = 31.8e6, 59.6e6
# One thread, zstd 3 with checksum, noisy grey read and labels written: RESULTS.md, "Codecs".
READ_BYTES, WRITE_BYTES = 513e6, 233e6
GREY_RATIO, LABEL_RATIO = 1.07, 9.16
# Nobody's measurement: a shared file system behind a network of 100 Gbit/s, three cores beside each
# GPU, and the start.
STORAGE_BYTES, CORES, START_SECONDS = 12.5e9, 3, 30.0
# One task with many in flight, measured on two cores: docs/scale.md.
TASK_SECONDS = 0.003
HALO, PYRAMID = 64, 1 / 7

VOLUMES: dict[str, Triple] = {
    "1000 x 2048²": (1000, 2048, 2048), "2000³": (2000, 2000, 2000), "10 000 x 8192²": (10_000, 8192, 8192),
}  # fmt: skip
BLOCKS: list[Triple] = [(EDGE, edge, edge) for edge in (2048, 1024, 512)]


def passes(shape: Triple, block: Triple) -> list[tuple[Sweep, int]]:
    """Ingest, segmentation by a 2-D network in windows, pyramid of the labels, and measure; workers of each per GPU."""
    blocks, voxels = len(Grid(shape, block)), math.prod(shape)
    each = voxels / blocks
    windows = ((block[1] + 2 * HALO) / block[1]) ** 2
    grey, labels = voxels / GREY_RATIO, voxels / LABEL_RATIO
    segment = (each * windows / READ_BYTES, each * windows / GPU_VOXELS, each / WRITE_BYTES)
    coarse = each * PYRAMID / INGEST_VOXELS
    return [
        (Sweep("ingest", blocks, 0.0, each / INGEST_VOXELS, 0.0, voxels + grey), CORES),
        (Sweep("segment", blocks, *segment, windows * grey + labels), 1),
        (Sweep("pyramid of labels", blocks, 0.0, coarse, 0.0, labels * (1 + PYRAMID)), CORES),
        (Sweep("measure", blocks, 0.0, each / MEASURE_VOXELS, 0.0, labels), CORES),
    ]


def job(shape: Triple, gpus: int, block: Triple) -> list[Forecast]:
    """Forecast of every pass of a job."""
    machine = Machine(gpus, 3, TASK_SECONDS, STORAGE_BYTES, START_SECONDS)
    return [
        forecast(
            sweep, machine if per_gpu == 1 else replace(machine, devices=gpus * per_gpu, threads=1)
        )
        for sweep, per_gpu in passes(shape, block)
    ]


def total(forecasts: Sequence[Forecast]) -> float:
    """Seconds of the whole job, its passes one after another."""
    return START_SECONDS + sum(one.seconds for one in forecasts)


def row(name: str, shape: Triple, gpus: int) -> str:
    """The best of the block sizes, the slowest pass and what holds it up."""
    block, found = min(((b, job(shape, gpus, b)) for b in BLOCKS), key=lambda one: total(one[1]))
    slowest = max(found, key=lambda one: one.seconds)
    segment = next(one for one in found if one.name == "segment")
    edges = " x ".join(map(str, block))
    return (
        f"| {name} | {gpus} | {edges} | {len(Grid(shape, block))} | {duration(total(found))} "
        f"| {duration(segment.seconds)}, {segment.bottleneck} | {slowest.name}: {slowest.bottleneck} |"
    )


def duration(seconds: float) -> str:
    """Text of a duration.

    >>> duration(42.3), duration(600), duration(9000)
    ('42 s', '10.0 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def check(folder: Path) -> None:
    """Print forecast and measurement side by side."""
    print(
        "| blocks | read, compute, write s | workers x threads | forecast s | measured s | error | not computing |"
    )
    print("|" + "---|" * 7)
    for sweep, machine in CHECKS:
        said, found = (
            forecast(sweep, machine),
            measured(folder / sweep.name.replace(" ", "-"), sweep, machine),
        )
        idle = 1 - sweep.blocks * sweep.compute_seconds / machine.devices / found
        steps = f"{sweep.read_seconds:g}, {sweep.compute_seconds:g}, {sweep.write_seconds:g}"
        print(
            f"| {sweep.blocks} | {steps} | {machine.devices} x {machine.threads} | {said.seconds:.1f} | {found:.1f} "
            f"| {said.seconds / found - 1:+.0%} | {idle:.0%}, forecast {idle_share(sweep, machine):.0%} |",
            flush=True,
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["check", "verb", "table"])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("job-model"))
    given = parser.parse_args(arguments)
    if given.what == "check":
        check(given.folder.resolve())
        return
    if given.what == "verb":
        print(
            "| verb | volume | workers | blocks | forecast s | measured s | error | whole verb s |"
        )
        print("|" + "---|" * 8)
        for one in verb_rows(given.folder.resolve()):
            print(one, flush=True)
        return
    print(
        "| volume | GPUs | block | blocks | whole job | segment alone | slowest pass: bottleneck |\n|"
        + "---|" * 7
    )
    for name, shape in VOLUMES.items():
        for gpus in (1, 8, 64, 512):
            print(row(name, shape, gpus))


if __name__ == "__main__":
    main()
