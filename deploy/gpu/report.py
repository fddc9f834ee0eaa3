"""What tim3d does on this machine's GPU, in at most eight minutes, as a table for benchmarks/RESULTS.md.

    python deploy/gpu/report.py                    # make gpu-report
    python deploy/gpu/report.py --dry              # make gpu-report DRY=1: all of it small, on a CPU

Every part runs in a process of its own, within its share of the time: one that fails, hangs or
spoils the device does not end the others, and what it had measured by then is kept. A part that no
longer fits is skipped by name.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

# Seconds of the whole report, and what is kept of them for starting processes and for the table.
SECONDS, RESERVE = 470.0, 10.0
# A part is not begun with less than this share of its time.
LEAST = 0.5
Row = tuple[str, str, str]
Rows = Iterator[Row]


@dataclass(frozen=True)
class Setting:
    """Where the parts run and how large they are."""

    dry: bool

    @property
    def device(self) -> str:
        """Of everything that runs on a GPU."""
        return "cpu" if self.dry else "cuda"

    @property
    def precision(self) -> str:
        """Of networks: half, which a CPU refuses."""
        return "fp32" if self.dry else "fp16"

    def size(self, real: Any, small: Any) -> Any:
        """The size on a GPU, or that of a dry run."""
        return small if self.dry else real


@dataclass(frozen=True)
class Part:
    """A part of the report, and the seconds that it may take."""

    name: str
    seconds: float
    run: Callable[[Setting, Path], Rows]


# What is measured with


def seconds(work: Callable[[], Any], setting: Setting, repeats: int = 3) -> float:
    """Median wall time of a call that leaves nothing queued, after one to warm up."""
    import torch

    def once() -> float:
        began = time.perf_counter()
        work()
        if not setting.dry:
            torch.cuda.synchronize()
        return time.perf_counter() - began

    once()
    return statistics.median(once() for _ in range(repeats))


@contextlib.contextmanager
def watched(setting: Setting) -> Iterator[list[float]]:
    """Utilisation of the GPU by its driver, 0 to 1, five times a second; empty if none answers."""
    seen: list[float] = []
    if setting.dry:
        yield seen
        return
    ask = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-i", "0"]
    try:
        asked = subprocess.Popen([*ask, "-lms", "200"], stdout=subprocess.PIPE, text=True)
    except OSError:
        yield seen
        return

    def listen() -> None:
        assert asked.stdout is not None
        for line in asked.stdout:
            with contextlib.suppress(ValueError):
                seen.append(float(line) / 100)

    threading.Thread(target=listen, daemon=True).start()
    try:
        yield seen
    finally:
        asked.terminate()
        asked.wait()


def rate(voxels: float, spent: float) -> str:
    """Millions of voxels a second."""
    return f"{voxels / spent / 1e6:.3g} Mvoxel/s"


def predictor(setting: Setting, folder: Path, **how: Any) -> Any:
    """The reference U-Net, untrained: its speed does not depend on its weights."""
    from benchmarks.inference import predictor_for
    from tim3d.models.segmentation.unet import UNetSpec

    small = {"encoder": "mobilenet_v2", "depth": 2, "decoder_channels": (8, 4)}
    spec = UNetSpec(("pore", "solid", "shine_through"), **setting.size({}, small))
    made = predictor_for(str(folder), spec, 1, setting.size(8, 1))
    asked = {"device": setting.device, "precision": setting.precision, **how}
    return dataclasses.replace(made, **asked)


def grey(shape: tuple[int, int, int]) -> Any:
    """Noise: a few slices, again and again."""
    import numpy as np

    few = np.random.default_rng(0).integers(0, 256, (min(8, shape[0]), *shape[1:]), np.uint8)
    return np.concatenate([few] * -(-shape[0] // len(few)))[: shape[0]]


# The parts


def tests(setting: Setting, folder: Path) -> Rows:
    """The tests that need a device; without one all are skipped."""
    asked = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    said = subprocess.run([*asked, "tests/gpu"], cwd=REPOSITORY, capture_output=True, text=True)
    lines = said.stdout.strip().splitlines() or [said.stderr.strip()[-200:]]
    yield "tests marked gpu", lines[-1].strip("= "), f"exit code {said.returncode}"
    for line in lines:
        if line.startswith("FAILED"):
            yield "failed", line.partition(" - ")[0].removeprefix("FAILED "), ""


def bare_seconds(setting: Setting, called: Any, lattice: Any, slab: Any, core: Any) -> float:
    """Seconds of the bare network for each batch of such windows, on tensors that are on the device."""
    import torch

    from tim3d.kernels.windows.stitching import batches
    from tim3d.models.segmentation.inference import LAYOUT, ready
    from tim3d.models.segmentation.precision import mixed

    loaded = ready(called)
    array = next(iter(batches(lattice, lattice.windows(core), slab, core, called.batch)))[0]
    tensor = torch.from_numpy(array).to(loaded.device).float()
    tensor = ((tensor - 128) / 40).contiguous(memory_format=LAYOUT[2])
    torch.set_num_threads(called.threads)

    def work() -> None:
        with torch.inference_mode(), mixed(loaded.device, called.precision):
            for _ in range(setting.size(8, 1)):
                loaded.model(tensor)

    return seconds(work, setting) / setting.size(8, 1)


def windows(setting: Setting, folder: Path) -> Rows:
    """Whole slices, cropped and blended windows, from grey values in memory to labels in memory."""
    from benchmarks.inference import lattices
    from tim3d.grid import Box
    from tim3d.models.segmentation.checkpoint import describe
    from tim3d.models.segmentation.inference import segment_core

    shape = setting.size((64, 2048, 2048), (3, 64, 64))
    called, whole, slab = predictor(setting, folder), Box.whole(shape), grey(shape)
    for name, lattice in lattices(shape, describe(called.checkpoint).spec):
        count = len(list(lattice.windows(whole)))
        spent = seconds(
            lambda lattice=lattice: segment_core(called, lattice, whole, slab, whole),
            setting,
            setting.size(2, 1),
        )
        bare = bare_seconds(setting, called, lattice, slab, whole) * -(-count // called.batch)
        yield (
            f"{name}, {setting.precision}, stitched",
            rate(slab.size, spent),
            f"{bare / spent:.1%} of the bare network",
        )


def verb(setting: Setting, folder: Path, slices: int) -> Rows:
    """`tim3d segment` from a sample on disk to a field on disk, one worker with a thread for each core, 3 to 8."""
    import tim3d
    from tim3d.engine.clusters.cluster import threads_beside
    from tim3d.grid import Box
    from tim3d.kernels.windows.lattice import slice_lattice
    from tim3d.models.segmentation.checkpoint import describe

    shape = (slices, *setting.size((2048, 2048), (64, 64)))
    quiet, called = tim3d.Options(progress=False), predictor(setting, folder)
    volume, sample = folder / "grey.npy", str(folder / "sample.zarr")
    _write(volume, shape)
    cores = setting.size(max(1, (os.cpu_count() or 2) // 2), 1)
    kind = setting.size("local", "serial")
    how = setting.size({"workers": cores}, {})
    began = time.perf_counter()
    with tim3d.cluster(kind, **how):
        tim3d.ingest(volume, sample, voxel_size={"z": 10, "y": 5, "x": 5}, options=quiet)
    yield (
        f"ingest, {shape}",
        rate(float(slices) * shape[1] * shape[2], time.perf_counter() - began),
        "one process" if cores == 1 else f"{cores} processes",
    )
    how = setting.size({"workers": 1, "threads": threads_beside(1)}, {})
    with tim3d.cluster(kind, **how), watched(setting) as seen:
        began = time.perf_counter()
        tim3d.segment(
            sample, model=called.checkpoint, precision=setting.precision, device=setting.device,
            batch=called.batch, options=quiet,
        )  # fmt: skip
        spent = time.perf_counter() - began
    voxels = float(slices) * shape[1] * shape[2]
    small = (called.batch, *shape[1:])
    lattice = slice_lattice(small, describe(called.checkpoint).spec.total_stride)
    each = bare_seconds(setting, called, lattice, grey(small), Box.whole(small))
    bare = each * slices / called.batch
    busy = f"{statistics.mean(seen):.1%} busy by the driver" if seen else "no driver answered"
    yield f"segment, {shape} on disk", rate(voxels, spent), f"{spent:.1f} s, {busy}"
    yield "the bare network on ready tensors", rate(voxels, bare), f"ratio {bare / spent:.1%}"


def _write(path: Path, shape: tuple[int, int, int]) -> None:
    import numpy as np

    made = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    few = grey((min(16, shape[0]), *shape[1:]))
    for z in range(0, shape[0], len(few)):
        made[z : z + len(few)] = few[: shape[0] - z]
    made.flush()


def short_verb(setting: Setting, folder: Path) -> Rows:
    """256 slices, or four."""
    yield from verb(setting, folder, setting.size(256, 4))


def long_verb(setting: Setting, folder: Path) -> Rows:
    """1000 slices, or eight."""
    yield from verb(setting, folder, setting.size(1000, 8))


def monai(setting: Setting, folder: Path) -> Rows:
    """MONAI's sliding window with the same network, windows and precision, if it is installed."""
    try:
        from monai.inferers import sliding_window_inference
    except ImportError:
        yield "MONAI", "not installed", ""
        return
    import torch

    from tim3d.models.segmentation.inference import ready
    from tim3d.models.segmentation.precision import mixed

    shape = setting.size((32, 2048, 2048), (2, 64, 64))
    called, slab = predictor(setting, folder), grey(shape)
    loaded = ready(called)
    edge = shape[1] // 2

    def work() -> None:
        given = (torch.from_numpy(slab).to(loaded.device).float()[:, None] - 128) / 40
        with torch.inference_mode(), mixed(loaded.device, called.precision):
            found = sliding_window_inference(
                given, (edge, edge), 8, loaded.model, overlap=0.25, mode="gaussian"
            )
        found.argmax(dim=1).to(torch.uint8).cpu()  # type: ignore[union-attr]

    yield f"MONAI, windows {edge}, blend", rate(slab.size, seconds(work, setting, 1)), ""


def training(setting: Setting, folder: Path) -> Rows:
    """A step of the U-Net and of SliceGAN, after one to warm up."""
    from tim3d.models.segmentation.training_cost import measured_times
    from tim3d.models.segmentation.training_options import TrainingOptions
    from tim3d.models.segmentation.unet import UNetSpec

    small = {"encoder": "mobilenet_v2", "depth": 2, "decoder_channels": (8, 4)}
    spec = UNetSpec(("pore", "solid"), **setting.size({}, small))
    edge, batch = setting.size(512, 32), setting.size(16, 2)
    for mixed in setting.size((True, False), (False,)):  # a CPU trains in fp32 only
        options = TrainingOptions(
            batch=batch, crop=edge, device=setting.device, mixed_precision=mixed
        )
        times = measured_times(spec, options, edge)
        name = f"U-Net, {batch} crops of {edge}², {'fp16' if mixed else 'fp32'}"
        yield name, f"{1 / times.step:.3g} steps/s", f"judging {times.megapixel:.2g} s/Mpixel"
    yield from _adversarial(setting)


def _adversarial(setting: Setting) -> Rows:
    import numpy as np
    import torch

    from tim3d.kernels.generation.architecture import preset
    from tim3d.models.common.determinism import generator
    from tim3d.models.common.distributed import Place
    from tim3d.models.generation.adversarial import AdversarialOptions, Adversaries
    from tim3d.models.generation.slice_sampler import Views, one_hot

    image = (np.random.default_rng(0).random((256, 256)) < 0.4).astype(np.uint8)
    name = setting.size("paper", "demo")
    made = Adversaries(
        preset(name), Views((one_hot(image, (0, 1)),)), AdversarialOptions(batch=setting.size(8, 1)),
        Place(torch.device(setting.device)),
    )  # fmt: skip
    spent = seconds(lambda: made.step(1, generator(0, 1)), setting, setting.size(3, 1))
    yield f"SliceGAN, preset {name}", f"{1 / spent:.3g} steps/s", ""


def _field(setting: Setting, folder: Path, name: str, edge: int) -> Any:
    import torch

    from tim3d.kernels.generation.architecture import preset, tile_nodes
    from tim3d.models.generation.export import GeneratorDescription, save_generator
    from tim3d.models.generation.slicegan import Generator
    from tim3d.models.generation.synthesis import NetworkField
    from tim3d.phases import Phases

    torch.manual_seed(0)
    architecture, path = preset(name), folder / "gen.safetensors"
    about = GeneratorDescription(architecture, (1.0, 1.0, 1.0), Phases(pore=0, solid=1))
    sha256 = save_generator(path, Generator(architecture).eval(), about)
    return NetworkField(str(path), sha256, architecture, 0, tile_nodes(architecture, edge))


def generation(setting: Setting, folder: Path) -> Rows:
    """A volume of a generator, from noise to labels in memory."""
    from tim3d.grid import Box

    edge, name = setting.size(512, 32), setting.size("paper", "demo")
    field = _field(setting, folder, name, setting.size(128, 32))
    for precision in setting.size(("float32", "bfloat16", "float16"), ("float32",)):
        asked = dataclasses.replace(field, device=setting.device, precision=precision)
        spent = seconds(lambda asked=asked: asked.labels(Box.whole((edge,) * 3)), setting, 1)
        yield f"generation, preset {name}, {edge}³, {precision}", rate(edge**3, spent), ""


def _solved(labels: Any, device: str) -> tuple[Any, float]:
    """Conductivity of two phases, 10 to 1, and the seconds."""
    from tim3d.kernels.conduction.conduction import Physics, conduct_slab
    from tim3d.kernels.conduction.ghost_layers import Alone, Halo
    from tim3d.kernels.conduction.thread_pool import Team

    physics = Physics({0: 10.0, 1: 1.0})
    if device == "cpu":
        workers: Any = Team(2)
    else:
        from tim3d.models.conduction.device import Device

        workers = Device(device, fused=True)

    def read(start: int, stop: int, out: Any) -> None:
        out[...] = labels[start:stop]

    began = time.perf_counter()
    with workers as team:
        found = conduct_slab(
            read, labels.shape, physics.drive(0, (1.0, 1.0, 1.0)),
            Halo(Alone(), physics.wrap(labels.shape)), team,
        )  # fmt: skip
    return found, time.perf_counter() - began


def solver(setting: Setting, folder: Path, edges: tuple[int, ...]) -> Rows:
    """The flux solver on the device and on two cores."""
    import numpy as np

    from benchmarks.descriptors import blobs

    base = blobs(setting.size(128, 16))
    _solved(base, "cpu")  # compiled here, not in what is timed
    if not setting.dry:
        _solved(base, setting.device)
    for edge in edges:
        labels = np.tile(base, (edge // len(base),) * 3)
        found, spent = _solved(labels, setting.device)
        yield f"solve, {edge}³, contrast 10", f"{spent:.2f} s", f"{found.iterations} iterations"
        on_cpu, host = _solved(labels, "cpu")
        off = abs(found.conductivity / on_cpu.conductivity - 1)
        yield (
            f"solve, {edge}³, two cores",
            f"{host:.2f} s",
            f"{host / spent:.1f} times; conductivity differs by {off:.1e}",
        )


def short_solver(setting: Setting, folder: Path) -> Rows:
    """512³, or 16³."""
    yield from solver(setting, folder, setting.size((512,), (16,)))


def long_solver(setting: Setting, folder: Path) -> Rows:
    """768³, or 32³."""
    yield from solver(setting, folder, setting.size((768,), (32,)))


def differences(setting: Setting, folder: Path) -> Rows:
    """What the device computes, against the CPU in fp32."""
    import numpy as np

    from tim3d.grid import Box
    from tim3d.kernels.windows.lattice import slice_lattice
    from tim3d.models.segmentation.checkpoint import describe
    from tim3d.models.segmentation.inference import segment_core

    shape = setting.size((4, 512, 512), (2, 64, 64))
    slab, whole = grey(shape), Box.whole(shape)
    lattice = None
    exact: Any = None
    for precision in ("exact", *setting.size(("fp32", "fp16", "bf16"), ("fp32",))):
        how = {"device": "cpu", "precision": "fp32"} if precision == "exact" else {}
        called = predictor(setting, folder, **({"precision": precision} | how))
        lattice = lattice or slice_lattice(shape, describe(called.checkpoint).spec.total_stride)
        shares = segment_core(called, lattice, whole, slab, whole, ("shares",))["shares"]
        if exact is None:
            exact = shares
            continue
        flips = (shares.argmax(0) != exact.argmax(0)).mean()
        off = np.abs(shares - exact).max()
        yield f"U-Net, {precision}", f"{off:.1e} of a probability", f"{flips:.1e} of labels differ"
    yield from _generated(setting, folder)


def _generated(setting: Setting, folder: Path) -> Rows:
    from tim3d.grid import Box

    whole = Box.whole((setting.size(96, 32),) * 3)
    field = _field(setting, folder, setting.size("paper", "demo"), 32)
    exact = field.labels(whole)
    for precision in setting.size(("float32", "bfloat16", "float16"), ("float32",)):
        asked = dataclasses.replace(field, device=setting.device, precision=precision)
        flips = (asked.labels(whole) != exact).mean()
        yield f"generation, {precision}", f"{flips:.1e} of labels differ", ""


PARTS = (
    Part("tests", 100, tests),
    Part("differences", 40, differences),
    Part("windows", 50, windows),
    Part("segment, short", 70, short_verb),
    Part("training", 40, training),
    Part("generation", 40, generation),
    Part("solver, short", 60, short_solver),
    Part("MONAI", 20, monai),
    Part("segment, long", 120, long_verb),
    Part("solver, long", 120, long_solver),
)


# The report


def reported(
    setting: Setting, limit: float = SECONDS, parts: tuple[Part, ...] = PARTS
) -> Iterator[str]:
    """Lines of the table, as they come."""
    end = time.monotonic() + limit - RESERVE
    yield from heading(setting)
    for part in parts:
        left = end - time.monotonic()
        if left < LEAST * part.seconds:
            yield f"| {part.name} | skipped | {left:.0f} s were left of its {part.seconds:.0f} |"
            continue
        yield from carried_out(part.name, command_of(part, setting), min(part.seconds, left))


def heading(setting: Setting) -> Iterator[str]:
    """When and where this was."""
    import torch

    device = "CPU, small sizes: a rehearsal, no figures of a GPU"
    if not setting.dry:
        about = torch.cuda.get_device_properties(0)
        device = f"{about.name}, {about.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
    today = datetime.datetime.now(datetime.UTC).date()
    yield f"{today}, {device}, {os.cpu_count()} cores, Python {platform.python_version()},"
    yield f"torch {torch.__version__}. Command: `make gpu-report{' DRY=1' if setting.dry else ''}`."
    yield ""
    yield "| what | measured | remark |"
    yield "|---|---|---|"


def command_of(part: Part, setting: Setting) -> list[str]:
    """What runs a part in a process of its own."""
    return [sys.executable, __file__, "--part", part.name, *(["--dry"] if setting.dry else [])]


def carried_out(name: str, command: list[str], limit: float) -> Iterator[str]:
    """Rows of a part from its process, which is ended with its workers when its time is over."""
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=said, stderr=errors, start_new_session=True
        )
        fault = ""
        try:
            code = process.wait(limit)
            if code:
                errors.seek(0)
                fault = f"failed: {(errors.read().strip().splitlines() or [str(code)])[-1][:160]}"
        except subprocess.TimeoutExpired:
            fault = f"ended after its {limit:.0f} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()
        said.seek(0)
        rows = [line.removeprefix(MARK) for line in said if line.startswith(MARK)]
    for what, measured, remark in map(json.loads, rows):
        yield f"| {what} | {measured} | {remark} |"
    if fault:
        yield f"| {name} | {fault.replace('|', '/')} | |"


# Rows among whatever else a part prints.
MARK = "tim3d-row "


def one_part(name: str, setting: Setting) -> None:
    """Run a part in this process, a row for each line."""
    (part,) = (one for one in PARTS if one.name == name)
    with tempfile.TemporaryDirectory(prefix="tim3d-gpu-") as folder:
        for row in part.run(setting, Path(folder)):
            print(MARK + json.dumps(row), flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Print the table and write it to a file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dry", action="store_true", help="small, on the CPU")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--out", type=Path, default=Path("gpu-report.md"))
    parser.add_argument("--part", choices=[part.name for part in PARTS], help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    setting = Setting(given.dry)
    if given.part:
        one_part(given.part, setting)
        return
    if not given.dry:
        import torch

        if not torch.cuda.is_available():
            sys.exit("no CUDA device is here. Rehearse on the CPU: make gpu-report DRY=1")
    with given.out.open("w") as out:
        for line in reported(setting, given.seconds):
            print(line, flush=True)
            print(line, file=out, flush=True)


if __name__ == "__main__":
    main()
