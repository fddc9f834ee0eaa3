"""Boxes of an endless generated volume, from tiles that are fixed in the volume.

The noise depends on the seed and the coordinates alone. A tile is always computed whole, from a
window of one shape and by one thread, and cut afterwards: on one kind of processor a voxel then has
the same bits in every requested box.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tim3d.errors import ArgumentError, MemoryPlanError
from tim3d.grid import Box, Triple, triple
from tim3d.kernels.generation.architecture import STRIDE, Architecture
from tim3d.kernels.generation.generator import Generator, as_data
from tim3d.kernels.generation.philox import Noise
from tim3d.models.common.determinism import set_threads
from tim3d.models.common.device import named_device, torch_version
from tim3d.models.common.weights import check_planned
from tim3d.models.generation.export import Exported, Layer, load_generator
from tim3d.models.generation.official_resize import Stretch
from tim3d.models.generation.slicegan import probabilities
from tim3d.models.generation.subpixel import Doubling, doubling, interleave
from tim3d.phases import Phases

Bytes = npt.NDArray[np.uint8]
Precision = Literal["float32", "bfloat16", "float16"]
# Beyond this number of elements convolutions of torch fail or give wrong results (pytorch issues
# 43476 and 141831).
LARGEST_TENSOR = 2**31


@dataclass(frozen=True, slots=True)
class NetworkField(Generator):
    """Network and settings of the synthesis; a few hundred bytes that are sent to workers.

    Parameters
    ----------
    weights : str
        Path of the file.
    sha256 : str
        Digest of the file when the run was planned; a file with another digest is refused.
    architecture : Architecture
        Architecture of the network in the file.
    seed : int
        Seed of the noise, 0 to 2^64 - 1.
    nodes : int
        Nodes along an edge of a window; affects the last bits of the result.
    period : (z, y, x)
        Period of the noise in nodes; 0 for none.
    whole : (z, y, x)
        Nodes of the whole volume. Voxels depend on it only with "official-resize".
    precision : {"float32", "bfloat16", "float16"}
        Precision of the convolutions; affects the result.
    device : str
        "cpu", "cuda" or "cuda:1".
    phases : Phases, optional
        Names and codes of the labels; None for grey values and colours.
    spacing_nm : (dz, dy, dx)
        Edges of a voxel of the training data in nm.

    Raises
    ------
    ArgumentError
        If float16 is requested on a CPU, a window is too small or too large, or the seed is out of
        range.
    """

    kind: ClassVar[str] = "network"
    needs_torch: ClassVar[bool] = True

    weights: str
    sha256: str
    architecture: Architecture
    seed: int
    nodes: int
    period: Triple = (0, 0, 0)
    whole: Triple = (0, 0, 0)
    precision: Precision = "float32"
    device: str = "cpu"
    phases: Phases | None = None
    spacing_nm: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise ArgumentError(
                f"precision is {self.precision!r}; choose of {', '.join(get_args(Precision))}"
            )
        if self.precision == "float16" and self.device == "cpu":
            raise ArgumentError(
                "float16 needs a CUDA device; use --precision float32 or bfloat16 on the CPU"
            )
        if self.nodes <= self.architecture.extra:
            raise ArgumentError(
                f"a window of {self.nodes} nodes gives no whole step of {self.architecture.step} voxels"
            )
        Noise(self.seed, period=self.period)  # refuses a seed out of range
        largest = max(_elements(self.architecture, self.nodes))
        if largest >= LARGEST_TENSOR:
            raise ArgumentError(
                f"tiles of {self.edge} voxels make a tensor of {largest} numbers, and torch computes below "
                f"{LARGEST_TENSOR}; give smaller ones, for example --tile 128"
            )

    @property
    def edge(self) -> int:
        """Edge of a tile in voxels, T."""
        return self.architecture.tile(self.nodes)

    @property
    def tile_edge(self) -> int:
        """Edge of a tile in voxels: blocks are whole tiles, so that none is computed twice."""
        return self.edge

    @property
    def reads(self) -> str:
        """Path of the weights."""
        return self.weights

    def names(self, out: str | None) -> tuple[str, ...]:
        """Names of the fields: ``phase``, or ``raw`` for grey values, or one for each colour."""
        if self.architecture.output == "colour":
            return tuple(f"{out or 'raw'}_{colour}" for colour in ("red", "green", "blue"))
        return (out or ("phase" if self.architecture.output == "phases" else "raw"),)

    def inputs(self) -> Mapping[str, str]:
        """Digest of the weights."""
        return {"weights": self.sha256}

    def description(self) -> dict[str, Any]:
        """All that determines the bits besides the weights."""
        return {
            "kind": self.kind,
            "version": self.version,
            "seed": self.seed,
            "period": list(self.period),
            "architecture": as_data(self.architecture),
            "precision": self.precision,
            "tile": self.edge,
            "whole": list(self.whole) if self.architecture.kind == "official-resize" else None,
            "device": self.device.split(":")[0],
            "threads": 1,
            "torch": torch_version(),
        }

    def labels(self, box: Box) -> Bytes:
        """Phase number or grey value of every voxel, uint8 of shape `box.shape`.

        Colours have shape (3, z, y, x).

        Raises
        ------
        CheckpointError
            If the file is no longer the planned one.
        DeviceError
            If the device is not available.
        """
        ready = home(self)
        out = np.empty((_fields(self.architecture), *box.shape), np.uint8)
        for tile in _tiles(box, self.edge):
            part = tile.clip(box)
            out[(slice(None), *part.within(box).slices)] = ready.tile(tile)[
                (slice(None), *part.within(tile).slices)
            ]
        return out if self.architecture.output == "colour" else out[0]

    def block_bytes(self, core: Triple) -> int:
        """Bytes of the result and, on a CPU, of the tensors of a tile, weights and noise."""
        fields = _fields(self.architecture)
        host = fields * (int(np.prod(core)) + 2 * self.edge**3)
        return host + (tile_bytes(self.architecture, self.nodes) if self.device == "cpu" else 0)


def tile_bytes(architecture: Architecture, nodes: int) -> int:
    """Peak bytes while weights are loaded, in four forms, or a tile is computed in float32.

    A tile needs input and output of the largest layer, each twice: in the layout of torch and in
    the layout of its library, or while voxels are interleaved.

    >>> from tim3d.kernels.generation.architecture import preset, tile_nodes
    >>> tile_bytes(preset("demo"), tile_nodes(preset("demo"), 128)) // 2**20
    106
    """
    sizes = _elements(architecture, nodes)
    layers = max(2 * (a + b) for a, b in pairwise(sizes))
    return 4 * max(4 * architecture.parameters, architecture.parameters + layers + 3 * sizes[0])


def _elements(architecture: Architecture, nodes: int) -> list[int]:
    """Number of elements of each tensor of a window, before voxels at its faces are cut."""
    uncut = [architecture.edges(nodes)[0]]
    uncut += [2 * (n - 1) for n in architecture.edges(nodes)[:-1]]
    return [w * e**3 for w, e in zip(architecture.channels, uncut, strict=True)]


def _fields(architecture: Architecture) -> int:
    return 3 if architecture.output == "colour" else 1


def _tiles(box: Box, edge: int) -> Iterator[Box]:
    """Yield the tiles of the endless volume that a box intersects."""
    ranges = [range(a // edge, -(-b // edge)) for a, b in zip(box.start, box.stop, strict=True)]
    for index in product(*ranges):
        start = triple(edge * i for i in index)
        yield Box(start, triple(a + edge for a in start))


class Home:
    """Network loaded in this process: its layers on the device, in their fastest form."""

    def __init__(self, field: NetworkField, exported: Exported) -> None:
        self.field = field
        self.device = named_device(field.device)
        self.dtype: torch.dtype = getattr(torch, field.precision)
        if self.device.type == "cuda":
            check_room(field, torch.cuda.mem_get_info(self.device)[0])
        architecture = field.architecture
        official = architecture.kind == "official-resize"
        layers = exported.layers[:-1] if official else exported.layers
        paddings = (*architecture.paddings, STRIDE)[: len(layers)]
        doublings = (
            doubling(layer, padding) for layer, padding in zip(layers, paddings, strict=True)
        )
        self.doublings = tuple(d.to(self.device, self.dtype) for d in doublings)
        self.stretch = (
            Stretch(self._moved(exported.layers[-1]), architecture, field.whole)
            if official
            else None
        )

    def _moved(self, layer: Layer) -> Layer:
        return Layer(
            layer.weight.to(self.device, self.dtype), layer.bias.to(self.device, self.dtype)
        )

    def tile(self, tile: Box) -> Bytes:
        """Compute all voxels of a tile, (fields, z, y, x)."""
        noise = torch.from_numpy(self.noise(tile)).to(self.device, self.dtype)
        with _exact(self.device):
            if self.stretch is None:
                return np.asarray(self._plain(noise).cpu())
            logits = self._stretched(self.stretch, noise, tile)
            return np.asarray(reduced(logits[None], self.field.architecture)[0].cpu())

    def noise(self, tile: Box) -> npt.NDArray[np.float32]:
        """Latent noise of the window of a tile, (1, latent, z, y, x)."""
        field, architecture = self.field, self.field.architecture
        start = triple(a // architecture.step - architecture.early for a in tile.start)
        window = Box(start, triple(a + field.nodes for a in start))
        return Noise(field.seed, period=field.period).latent(window, architecture.latent)[None]

    def _plain(self, noise: Tensor) -> Tensor:
        """Compute a tile; the last layer is reduced to bytes before its voxels are interleaved."""
        values = self._hidden(noise, self.doublings[:-1])
        last, edge = self.doublings[-1], self.field.edge
        apart = last.convolved(values)
        del values
        made = reduced(apart.view(8, last.outputs, *apart.shape[1:]), self.field.architecture)
        return interleave(made.flatten(0, 1), made.shape[1], last.cut)[:, :edge, :edge, :edge]

    def _stretched(self, stretch: Stretch, noise: Tensor, tile: Box) -> Tensor:
        features = self._hidden(noise, self.doublings)
        architecture = self.field.architecture
        half = architecture.step // STRIDE
        first = triple((a // architecture.step - architecture.early) * half for a in tile.start)
        return stretch.apply(features, first, tile)

    def _hidden(self, noise: Tensor, doublings: tuple[Doubling, ...]) -> Tensor:
        values = noise
        for layer in doublings:
            values = interleave(layer.convolved(values).relu_(), layer.outputs, layer.cut)[None]
        return values


def check_room(field: NetworkField, free: int) -> None:
    """Refuse tiles that do not fit into the free memory of a device.

    Raises
    ------
    MemoryPlanError
        If a tile does not fit; the message names a smaller one.
    """
    needed = (
        tile_bytes(field.architecture, field.nodes) * getattr(torch, field.precision).itemsize // 4
    )
    if needed > free:
        smaller = max(
            field.architecture.step,
            field.edge // 2 // field.architecture.step * field.architecture.step,
        )
        raise MemoryPlanError(
            f"tiles of {field.edge} voxels need {needed / 2**30:.1f} GiB on {field.device}, which has "
            f"{free / 2**30:.1f} GiB left; give smaller ones: --tile {smaller}"
        )


def reduced(logits: Tensor, architecture: Architecture) -> Tensor:
    """Reduce logits (n, outputs, ...) to bytes (n, fields, ...).

    A byte is the first phase with the highest logit, or a grey value 0 to 255.
    """
    if architecture.output != "phases":
        return probabilities(logits.float(), architecture).mul_(255).round_().to(torch.uint8)
    if logits.shape[1] == 2:
        return (logits[:, 1:] > logits[:, :1]).to(torch.uint8)
    return logits.argmax(dim=1, keepdim=True).to(torch.uint8)


_homes: dict[NetworkField, Home] = {}
_loading = threading.Lock()
# One block computes on a GPU while others of the process read and write.
_cuda = threading.Lock()


def home(field: NetworkField) -> Home:
    """Return the network of a field, loaded once for each process.

    Raises
    ------
    CheckpointError
        If the file is damaged or no longer the planned one.
    DeviceError
        If the device is not available.
    """
    with _loading:
        if field not in _homes:
            exported = load_generator(field.weights)
            check_planned(field.weights, exported.sha256, field.sha256)
            _homes.clear()  # one network at a time: another would hold memory without use
            _homes[field] = Home(field, exported)
        return _homes[field]


def _exact(device: torch.device) -> ExitStack:
    """Context without gradients: one thread, at least the stated precision, one order of sums."""
    set_threads(1)
    stack = ExitStack()
    stack.enter_context(torch.inference_mode())
    if device.type == "cuda":
        stack.enter_context(_cuda)
        flags = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        stack.enter_context(flags)
    return stack
