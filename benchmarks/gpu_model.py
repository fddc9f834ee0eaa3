"""Where the time of `tim3d segment` on GPUs goes, and how much of it a GPU computes: a forecast, not a measurement.

    python -m benchmarks.gpu_model host      # seconds of the processor for each voxel, measured here
    python -m benchmarks.gpu_model table     # one GPU: H100 and A100, disk of the node and bucket
    python -m benchmarks.gpu_model scaling   # 1 to 8 GPUs

For every operation of a network, counted on tensors without values,

    seconds = max(FLOP / (share x peak), bytes read and written / (share x bandwidth), launch).

Both shares are the same number, fitted to one published time: nnU-Net in two dimensions on an A100.
With a voxel of the result as the unit, a GPU computes for `device`, its copies take `link`, one
thread of its worker reads and decodes for `read`, copies windows and results for `host`, and encodes
and writes for `write`. A worker of t threads on c cores that shares a store with g - 1 others does

    voxels a second = min(1 / (device + link), 2 / host, t / (read + host + device + link + write),
                          c / (read + host + write), store / (g x bytes in the store)),

and the share of the time in which the GPU computes is device x voxels a second. Two of the t blocks
are on the device at a time, so that between two blocks it does not wait and two threads copy. Windows
that overlap are averaged on the device (blend) or, as before, in memory (blend in memory).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from benchmarks.inference import lattices
from benchmarks.job_model import GPU_VOXELS, GREY_RATIO, LABEL_RATIO, READ_BYTES, WRITE_BYTES
from tim3d.grid import Box
from tim3d.kernels.windows.lattice import Lattice
from tim3d.kernels.windows.stitching import stitch
from tim3d.models.segmentation.network_check import on_meta
from tim3d.models.segmentation.unet import UNetSpec

# The least that a kernel takes on a device.
LAUNCH_SECONDS = 3e-6


@dataclass(frozen=True)
class Gpu:
    """A device by its data sheet: dense float16 FLOP/s, bytes/s of its memory, and of its link to the host."""

    name: str
    flops: float
    memory_bytes: float
    link_bytes: float


H100 = Gpu("H100 SXM", 989e12, 3.35e12, 55e9)
A100 = Gpu("A100 SXM 80 GB", 312e12, 2.04e12, 25e9)
# bytes/s: a disk of the node, and a bucket through a network of 10 Gbit/s. Nobody's measurement.
STORES = {"disk": 5e9, "bucket": 1.2e9}
NETWORKS = {
    "default": UNetSpec(("pore", "solid", "shine_through")),
    "depth 5": UNetSpec(
        ("pore", "solid", "shine_through"), depth=5, decoder_channels=(256, 128, 64, 32, 16)
    ),
}
# Of windows of 1024 with a halo of 128, on slices of 2048.
OVERLAP = (1024 / 768) ** 2
# Nanoseconds of one thread a voxel, measured: `host`, in RESULTS.md.
HOST = {"slices": 1.41, "crop": 5.15, "blend": 5.15, "blend in memory": 50.6}


@dataclass(frozen=True)
class Operation:
    """FLOP, and bytes read and written, of one call."""

    flop: float
    bytes: float

    def seconds(self, gpu: Gpu, share: float) -> float:
        """Time on a device that reaches a share of its peaks."""
        computing = self.flop / (share * gpu.flops)
        return max(computing, self.bytes / (share * gpu.memory_bytes), LAUNCH_SECONDS)


class Counted(TorchDispatchMode):
    """List of the operations that run."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note it, unless it only looks at a tensor in another way."""
        made = func(*args, **(kwargs or {}))
        if not func.is_view:
            seen = [one for one in tree_leaves((args, kwargs, made)) if torch.is_tensor(one)]
            count = flop_registry.get(func.overloadpacket, lambda *_, **__: 0)
            moved = float(sum(one.numel() * one.element_size() for one in seen))
            self.operations.append(
                Operation(float(count(*args, **(kwargs or {}), out_val=made)), moved)
            )
        return made


def operations(network: nn.Module, shape: Sequence[int]) -> list[Operation]:
    """Operations of a network in float16 on a batch of this shape: nothing is computed."""
    half, given = network.half(), torch.empty(tuple(shape), device="meta", dtype=torch.half)
    # Inference mode would not take a convolution apart from its packing, and its FLOP would be missed.
    with torch.no_grad(), Counted() as counted:
        half(given)
    return counted.operations


class Published(nn.Module):
    """nnU-Net in two dimensions as NVIDIA timed it: 4 channels, 4 classes, widths 32 to 512, strides of 2."""

    widths = (32, 64, 128, 256, 512, 512)

    def __init__(self) -> None:
        super().__init__()
        entered = (4, *self.widths[:-1])
        self.down = nn.ModuleList(
            self._twice(given, width, 1 if n == 0 else 2)
            for n, (given, width) in enumerate(zip(entered, self.widths, strict=True))
        )
        pairs = list(zip(self.widths[:0:-1], self.widths[-2::-1], strict=True))
        self.wider = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in pairs)
        self.up = nn.ModuleList(self._twice(2 * b, b, 1) for _, b in pairs)
        self.head = nn.Conv2d(self.widths[0], 4, 1)

    @staticmethod
    def _twice(given: int, width: int, stride: int) -> nn.Module:
        def once(given: int, stride: int) -> list[nn.Module]:
            return [
                nn.Conv2d(given, width, 3, stride, 1),
                nn.InstanceNorm2d(width, affine=True),
                nn.LeakyReLU(0.01, inplace=True),
            ]

        return nn.Sequential(*once(given, stride), *once(width, 1))

    def forward(self, grey: torch.Tensor) -> torch.Tensor:
        """Logits."""
        kept = []
        for block in self.down:
            grey = block(grey)
            kept.append(grey)
        for wider, block, beside in zip(self.wider, self.up, kept[-2::-1], strict=True):
            grey = block(torch.cat([wider(grey), beside], dim=1))
        head: torch.Tensor = self.head(grey)
        return head


@cache
def share_of_peak() -> float:
    """Share of both peaks of an A100 with which the model gives the published time, by halving an interval."""
    shape = (128, 4, 192, 160)
    with torch.device("meta"):
        found = operations(Published().eval(), shape)
    expected = shape[0] * shape[2] * shape[3] / GPU_VOXELS
    low, high = 0.01, 1.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        if sum(one.seconds(A100, middle) for one in found) > expected:
            low = middle
        else:
            high = middle
    return low


def without_norms(network: nn.Module) -> nn.Module:
    """The network as it runs on a GPU, where batch normalisation is folded into the convolutions."""
    for layer in list(network.modules()):
        for name, child in layer.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(layer, name, nn.Identity())
    return network


@cache
def device_seconds(network: str, gpu: Gpu, edge: int = 2048, batch: int = 4) -> float:
    """Seconds a pixel: the network, and around it the grey values normalised and the classes compared in float32."""
    spec, pixels = NETWORKS[network], batch * edge**2
    found = operations(without_norms(on_meta(spec)), (batch, spec.in_channels, edge, edge))
    classes = len(spec.classes)
    around = [
        Operation(0, pixels * moved) for moved in (5, 8, 8, 6, 6 * classes, 4 * classes + 8, 9)
    ]
    return sum(one.seconds(gpu, share_of_peak()) for one in [*found, *around]) / pixels


@dataclass(frozen=True)
class Node:
    """GPUs of one kind that share cores and a store, with a worker of so many threads each."""

    gpu: Gpu
    store: str
    gpus: int = 1
    cores: int = 16
    threads: int = 4


@dataclass(frozen=True)
class Pace:
    """Voxels a second of the whole node by each need, and the share of the time in which its GPUs compute."""

    needs: dict[str, float]
    busy: float

    @property
    def bottleneck(self) -> str:
        return min(self.needs, key=lambda need: self.needs[need])

    @property
    def voxels(self) -> float:
        return self.needs[self.bottleneck]


def pace(device: float, node: Node, mode: str = "slices", windows: float = 1.0) -> Pace:
    """Pace of a node, from the seconds of a GPU for each pixel of its windows.

    `windows` is the number of pixels of windows for each of the result.

    >>> slow = pace(1e-6, Node(H100, "disk"))
    >>> slow.bottleneck, round(slow.busy, 2)
    ('GPU', 1.0)
    """
    host, read, write = HOST[mode] * 1e-9, 1 / READ_BYTES, 1 / WRITE_BYTES
    computing = windows * device
    stage = computing + 2 * windows / node.gpu.link_bytes
    needs = {
        "GPU": node.gpus / stage,
        "copies of the host": 2 * node.gpus / host,
        "threads of a worker": node.gpus * node.threads / (read + host + stage + write),
        "cores": node.cores / (read + host + write),
        "store": STORES[node.store] / (1 / GREY_RATIO + 1 / LABEL_RATIO),
    }
    return Pace(needs, computing * min(needs.values()) / node.gpus)


# Measured here


def host_seconds(
    edge: int = 1024, slices: int = 8, repeats: int = 3
) -> Iterator[tuple[str, float]]:
    """Seconds of the processor a voxel: windows gathered and copied to memory for the device, results placed."""
    spec = NETWORKS["default"]
    shape = (slices, edge, edge)
    volume, whole = np.random.default_rng(0).integers(0, 256, shape, np.uint8), Box.whole(shape)
    for name, lattice in lattices(shape, spec):
        once = [_copies(lattice, volume, whole, len(spec.classes)) for _ in range(repeats + 1)][1:]
        yield name, min(once) / volume.size


def _copies(lattice: Lattice, volume: Any, whole: Box, classes: int) -> float:
    channels, dtype = (1, np.uint8) if lattice.mode == "crop" else (classes, np.float32)
    made = np.zeros((4, channels, *lattice.window), dtype)

    def predict(source: Any) -> Any:
        for array, group in source:
            array.copy()  # to pinned memory
            yield made, group

    began = time.process_time()
    stitch(lattice, whole, volume, whole, predict, channels=channels, dtype=dtype, batch=4)
    return time.process_time() - began


# Tables


def table() -> Iterator[str]:
    """Rows of one GPU."""
    yield "| network | GPU | store | threads | forecast Mvoxel/s | GPU computes | bottleneck |"
    yield "|---|---|---|---|---|---|---|"
    for network in NETWORKS:
        for gpu in (H100, A100):
            for store in STORES:
                for threads in (3, 8):
                    found = pace(device_seconds(network, gpu), Node(gpu, store, threads=threads))
                    yield (
                        f"| {network} | {gpu.name} | {store} | {threads} | {found.voxels / 1e6:.0f} "
                        f"| {found.busy:.0%} | {found.bottleneck} |"
                    )


def modes() -> Iterator[str]:
    """Rows of the ways to lay windows, with the disk of an H100's node."""
    yield "| windows of the default network | forecast Mvoxel/s | GPU computes | bottleneck |"
    yield "|---|---|---|---|"
    node, device = Node(H100, "disk", threads=8), device_seconds("default", H100)
    for mode in HOST:
        windows = 1.0 if mode == "slices" else OVERLAP
        # In a blend each class is read, added to and written in float32 for each pixel of a window.
        adding = 0.0 if mode != "blend" else 3 * 12 / (share_of_peak() * H100.memory_bytes)
        found = pace(device + adding, node, mode, windows)
        yield f"| {mode} | {found.voxels / 1e6:.0f} | {found.busy:.0%} | {found.bottleneck} |"


def scaling(network: str = "depth 5") -> Iterator[str]:
    """Rows of 1 to 8 GPUs in one node: with 16 cores in all, and with 16 for each."""
    yield "| GPUs | store | cores | forecast Mvoxel/s | of one GPU, times | GPUs compute | bottleneck |"
    yield "|---|---|---|---|---|---|---|"
    device = device_seconds(network, H100)
    for store in STORES:
        for each in (False, True):
            alone = Node(H100, store, threads=8)
            single = pace(device, alone).voxels
            for gpus in (1, 2, 4, 8):
                cores = 16 * gpus if each else 16
                found = pace(device, replace(alone, gpus=gpus, cores=cores))
                yield (
                    f"| {gpus} | {store} | {cores} | {found.voxels / 1e6:.0f} | {found.voxels / single:.2f} "
                    f"| {found.busy:.0%} | {found.bottleneck} |"
                )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["host", "table", "scaling"])
    given = parser.parse_args(arguments)
    if given.what == "host":
        for name, spent in host_seconds():
            print(f"{name}: {spent * 1e9:.2f} ns a voxel")
        return
    print(f"share of the peaks, fitted: {share_of_peak():.3f}")
    for network in NETWORKS:
        times = ", ".join(
            f"{gpu.name} {1e-6 / device_seconds(network, gpu):.0f}" for gpu in (H100, A100)
        )
        print(f"{network}, bare, Mpixel/s: {times}")
    for row in [*table(), "", *modes()] if given.what == "table" else scaling():
        print(row)


if __name__ == "__main__":
    main()
