"""A network over a volume by tim3d, by MONAI's sliding window and by a plain loop: speed, memory and seams.

    python -m benchmarks.peers_inference              # the table of RESULTS.md; needs `pip install monai`
    python -m benchmarks.peers_inference --memory     # tim3d segment on volumes of growing depth
    python -m benchmarks.peers_inference --shape 4,64,64 --window 32 --steps 1 --repeats 1      # a quick look

All ways run the same network, trained for some steps, from grey values in memory to labels in
memory, each in a process of its own on one thread. MONAI blends windows that overlap by a quarter
under a Gaussian, its usual setting; the plain loop lays windows side by side. Seconds are of the
processor, the least of some runs; memory is the highest that the process ever had, less that before
the first run. The seam error is the largest change of a probability when the volume is given in two
halves with a margin of 64 voxels (at most a quarter of it), as one does when it is too large, instead of at once.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tim3d
from tim3d.grid import Box, Triple, triple
from tim3d.kernels.image.fibsem_simulation import simulate_fibsem
from tim3d.kernels.windows.lattice import Array
from tim3d.models.segmentation.by_network import windows_of
from tim3d.models.segmentation.checkpoint import Normalisation, describe, digest, load
from tim3d.models.segmentation.crops import prepare
from tim3d.models.segmentation.crops_3d import prepare_stack
from tim3d.models.segmentation.families import NetworkSpec
from tim3d.models.segmentation.inference import Predictor, segment_core
from tim3d.models.segmentation.network_segmenter import Inference
from tim3d.models.segmentation.training import UNetTraining
from tim3d.models.segmentation.training_3d import UNet3DTraining
from tim3d.models.segmentation.training_options import TrainingOptions
from tim3d.models.segmentation.unet import UNetSpec
from tim3d.models.segmentation.unet_3d import UNet3DSpec

GREY, CLASSES = Normalisation("volume", (120.0,), (50.0,)), ("pore", "solid")
SPACING = (10.0, 10.0, 10.0)
MARGIN, OVERLAP = 64, 0.25
# Slices of a block: of boxes a block of few slices would compute most of them twice.
BLOCK = {2: 16, 3: 64}
Shares = Callable[[Array], Array]


def trained(path: Path, dimensions: int, steps: int) -> None:
    """A network that has seen a small simulated stack for some steps."""
    grey, truth = simulate_fibsem((24, 96, 96), SPACING, 0.6, 80.0, seed=3)
    options = TrainingOptions(1, steps, 2, 32, patience=1, validation_slices=2, device="cpu")
    if dimensions == 2:
        spec = UNetSpec(CLASSES)
        data = prepare(grey, truth, spec, GREY)[0]
        UNetTraining(data, spec, options, GREY, SPACING).carry_out(path)
    else:
        deep = UNet3DSpec(CLASSES)
        stack = prepare_stack(grey, truth, 2, GREY)
        UNet3DTraining(stack, deep, options, GREY, SPACING).carry_out(path)


def by_tim3d(path: Path, window: int | None, blend: bool = False) -> tuple[Shares, Shares]:
    """Functions from grey values to labels, block by block, and to probabilities."""
    spec, called = describe(path).spec, Predictor(str(path), digest(path), normalisation=GREY)

    def each(grey: Array, wanted: str, made: Array) -> Array:
        lattice = windows_of(triple(grey.shape), spec, how_of(spec, window, blend))
        thick = BLOCK[spec.dimensions]
        for z in range(0, len(grey), thick):
            core = Box((z, 0, 0), (min(z + thick, len(grey)), *grey.shape[1:]))
            box = lattice.read_box(core)
            found = segment_core(called, lattice, core, grey[box.slices], box, (wanted,))  # type: ignore[arg-type]
            made[(..., *core.slices)] = found[wanted]  # type: ignore[index]
        return made

    return (
        lambda grey: each(grey, "labels", np.empty(grey.shape, np.uint8)),
        lambda grey: each(grey, "shares", np.empty((len(CLASSES), *grey.shape), np.float32)),
    )


def how_of(spec: NetworkSpec, window: int | None, blend: bool = False) -> Inference:
    """Windows of this edge, or those of tim3d; blended ones overlap as MONAI's."""
    if window is None:
        return Inference()
    edges = (window, window) if isinstance(spec, UNetSpec) else boxes(window, spec)
    if blend:
        return Inference(mode="blend", window=edges, halo=int(window * OVERLAP) // 2)
    return Inference(window=edges)


def boxes(window: int, spec: NetworkSpec) -> Triple:
    """Box of this edge, or half of it along z."""
    return (max(window // 2, spec.strides[0]), window, window)


def by_monai(path: Path, window: int, batch: int) -> tuple[Shares, Shares]:
    """MONAI's sliding window over the whole volume, blended by a Gaussian."""
    from monai.inferers import sliding_window_inference

    checkpoint = load(path)
    flat = checkpoint.spec.dimensions == 2
    edges = (window, window) if flat else boxes(window, checkpoint.spec)

    def logits(grey: Array) -> torch.Tensor:
        given = _normal(grey, flat)
        with torch.inference_mode():
            return sliding_window_inference(
                given, edges, batch, checkpoint.model, overlap=OVERLAP, mode="gaussian"
            )  # type: ignore[return-value]

    return _both(logits, flat)


def by_loop(path: Path, window: int) -> tuple[Shares, Shares]:
    """Windows side by side, the last ones moved inwards."""
    checkpoint = load(path)
    flat = checkpoint.spec.dimensions == 2
    edges = (1, window, window) if flat else boxes(window, checkpoint.spec)

    def logits(grey: Array) -> torch.Tensor:
        given = _normal(grey, flat)
        made = torch.empty((len(given), len(CLASSES), *given.shape[2:]))
        shape = grey.shape
        starts = [
            sorted({min(a, max(n - e, 0)) for a in range(0, n, e)})
            for n, e in zip(shape, edges, strict=True)
        ]
        with torch.inference_mode():
            for z in starts[0]:
                for y in starts[1]:
                    for x in starts[2]:
                        place = tuple(
                            slice(a, a + e) for a, e in zip((z, y, x), edges, strict=True)
                        )
                        at = (
                            (place[0], slice(None), *place[1:])
                            if flat
                            else (0, slice(None), *place)
                        )
                        piece = given[at] if flat else given[at][None]
                        made[at] = checkpoint.model(piece) if flat else checkpoint.model(piece)[0]
        return made

    return _both(logits, flat)


def _normal(grey: Array, flat: bool) -> torch.Tensor:
    normal = (torch.from_numpy(grey).float() - GREY.mean[0]) / GREY.std[0]
    return normal[:, None] if flat else normal[None, None]


def _both(logits: Callable[[Array], torch.Tensor], flat: bool) -> tuple[Shares, Shares]:
    def labels(grey: Array) -> Array:
        found = logits(grey).argmax(dim=1).to(torch.uint8).numpy()
        return np.asarray(found if flat else found[0])

    def shares(grey: Array) -> Array:
        found = logits(grey).softmax(dim=1).numpy()
        return np.asarray(found.swapaxes(0, 1) if flat else found[0])

    return labels, shares


def seam(shares: Shares, grey: Array, path: Path, way: str) -> float:
    """Largest change of a probability when the volume is given in two halves."""
    whole, middle = shares(grey), grey.shape[1] // 16 * 8
    margin = min(MARGIN, grey.shape[1] // 32 * 8)
    if way.startswith("tim3d"):  # blocks read around themselves: here of half the height
        spec, called = describe(path).spec, Predictor(str(path), digest(path), normalisation=GREY)
        lattice = windows_of(
            triple(grey.shape),
            spec,
            how_of(spec, int(way.split()[1]) if " " in way else None, way.endswith("blended")),
        )
        halves = []
        for rows in ((0, middle), (middle, grey.shape[1])):
            core = Box((0, rows[0], 0), (len(grey), rows[1], grey.shape[2]))
            box = lattice.read_box(core)
            halves.append(
                segment_core(called, lattice, core, grey[box.slices], box, ("shares",))["shares"]
            )
    else:
        low = shares(np.ascontiguousarray(grey[:, : middle + margin]))[:, :, :middle]
        start = max(middle - margin, 0)
        high = shares(np.ascontiguousarray(grey[:, start:]))[:, :, middle - start :]
        halves = [low, high]
    return float(np.abs(np.concatenate(halves, axis=2) - whole).max())


def measured(
    given: argparse.Namespace, grey: Array, path: Path, way: str
) -> tuple[float, float, float]:
    """Millions of voxels a second, MiB and seam error of one way, in this process."""
    torch.set_num_threads(1)
    labels, shares = ways(path, given.window)[way]
    Path("/proc/self/clear_refs").write_text("5")  # the highest memory counts from here
    before = _highest_mib()
    times = [_seconds(lambda: labels(grey)) for _ in range(given.repeats)]
    held = _highest_mib() - before
    # Some slices are enough, where each stands for itself.
    part = grey[: max(4, len(grey) // 4)] if given.dimensions == 2 else grey
    error = seam(shares, part, path, way)
    return grey.size / min(times) / 1e6, held, error


def _highest_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def ways(path: Path, window: int) -> dict[str, tuple[Shares, Shares]]:
    """All ways by name."""
    return {
        "plain loop": by_loop(path, window),
        "MONAI": by_monai(path, window, 1),
        "MONAI, batches of 4": by_monai(path, window, 4),
        f"tim3d {window}": by_tim3d(path, window),
        f"tim3d {window} blended": by_tim3d(path, window, blend=True),
        "tim3d": by_tim3d(path, None),
    }


def volume_mib(path: Path, folder: Path, depth: int, edge: int) -> float:
    """MiB that `tim3d segment` needs beyond the start, from a volume on the disk to labels there."""
    options, url = tim3d.Options(progress=False), str(folder / f"{depth}.zarr")
    noise = np.random.default_rng(0).integers(0, 256, (depth, edge, edge), dtype=np.uint8)
    np.save(folder / "v.npy", noise)
    size = dict.fromkeys("zyx", 10.0)
    tim3d.ingest(folder / "v.npy", url, voxel_size=size, shard=(16, 64, 64), options=options)
    del noise
    torch.set_num_threads(1)
    Path("/proc/self/clear_refs").write_text("5")  # the highest memory counts from here
    before = _highest_mib()
    tim3d.segment(url, model=path, options=options)
    return _highest_mib() - before


def memory(path: Path, folder: Path, depths: tuple[int, ...], edge: int) -> None:
    """Print the memory by the depth of the volume, each in a process of its own."""
    print("| volume | MiB above the start |\n|---|---|", flush=True)
    for depth in depths:
        with get_context("fork").Pool(1) as pool:
            mib = pool.apply(volume_mib, (path, folder, depth, edge))
        print(f"| {depth} x {edge} x {edge} | {mib:.0f} |", flush=True)


def _seconds(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main(arguments: list[str] | None = None) -> None:
    """Print a table for a network of slices and one of volumes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="16,384,384")
    parser.add_argument("--window", type=int, default=192)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--dimensions", type=int, default=2)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--depths", default="16,64,192")
    given = parser.parse_args(arguments)
    if given.memory:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "net.safetensors"
            trained(path, given.dimensions, 1)
            edge, depths = int(given.shape.split(",")[1]), tuple(map(int, given.depths.split(",")))
            memory(path, Path(folder), depths, edge)
        return
    print(
        f"{given.dimensions}-D, {given.shape} uint8, windows of {given.window}, torch {torch.__version__}"
    )
    print("| way | Mvoxel/s of the processor | peak MiB | seam error |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.safetensors"
        trained(path, given.dimensions, given.steps)
        grey = simulate_fibsem(tuple(map(int, given.shape.split(","))), SPACING, 0.6, 80.0, seed=4)[
            0
        ]  # type: ignore[arg-type]
        for way in ways(path, given.window):
            # A process of its own, so that the memory of one way is not that of another.
            with get_context("fork").Pool(1) as pool:
                rate, mib, error = pool.apply(measured, (given, grey, path, way))
            print(f"| {way} | {rate:.3f} | {mib:.0f} | {error:.1e} |", flush=True)


if __name__ == "__main__":
    main()
