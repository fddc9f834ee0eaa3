"""Segmenter by a network of slices that looks along several axes: mean of its probabilities.

A network that was trained on slices across z is given the slices across y and across x of the same
volume too. The mean of the probabilities is one label map of the volume; where the planes contradict
each other it says so. Windows of each axis lie on a lattice of their own, fixed in the volume.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple, triple
from tim3d.kernels.windows.lattice import (
    Array,
    Lattice,
    blend_lattice,
    check_windows,
    crop_lattice,
    require_phase,
)
from tim3d.models.segmentation.batch import Room
from tim3d.models.segmentation.checkpoint import Normalisation
from tim3d.models.segmentation.dropout import Pass
from tim3d.models.segmentation.ensemble import highest
from tim3d.models.segmentation.network_segmenter import (
    PROBABILITY,
    Inference,
    recorded_batch,
    recorded_pass,
    refuse_without_dropout,
)
from tim3d.models.segmentation.predictor import Predictor
from tim3d.models.segmentation.segmenter import EXACT, LABELS, Map, Maps, Segmenter, opened
from tim3d.models.segmentation.unet import UNetSpec
from tim3d.models.segmentation.volume_segmenter import fitted

DISAGREEMENT = Map(
    "disagreement", "standard deviation over the planes of the probability of the label"
)
# Edge of a window by default, in pixels.
EDGE = 256
# Axes of a volume in the order in which a plane across each of them has them.
TURNS: dict[str, Triple] = {"z": (0, 1, 2), "y": (1, 0, 2), "x": (2, 0, 1)}
_AS_IT_IS = Normalisation("volume", (0.0,), (1.0,))


@dataclass(frozen=True)
class PlanesSegmenter(Segmenter):
    """Mean of the probabilities of a network of slices across some axes."""

    spec: UNetSpec
    predictor: Predictor
    planes: tuple[str, ...]
    lattices: tuple[Lattice, ...]
    activation_bytes: int
    maps: tuple[Map, ...] = ()
    room: Room | None = None
    kind: ClassVar[str] = "unet-planes"
    needs_torch: ClassVar[bool] = True
    block_voxels: ClassVar[int] = 2**24

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Class names of the network."""
        return self.spec.classes

    @property
    def sha256(self) -> str:  # type: ignore[override]
        """SHA-256 of the file of the network."""
        return self.predictor.sha256

    def description(self) -> dict[str, Any]:
        """Kind, planes, windows, normalisation, and the settings of inference."""
        called = self.predictor
        lattices = [one.description() for one in self.lattices]
        return {
            "kind": self.kind,
            "planes": self.planes,
            "lattices": lattices,
            "normalisation": asdict(called.normalisation) if called.normalisation else {},
            "batch": recorded_batch(called, self.room),
            "threads": called.threads,
            "precision": called.precision,
            "device": called.device.split(":")[0],
            "probabilities": PROBABILITY in self.maps,
            **recorded_pass(called),
        }

    @property
    def note(self) -> str:
        """The batch, where it was chosen by the memory of a GPU."""
        return str(self.room or "")

    def exact(self) -> Segmenter:
        """The same planes with mean probabilities in float32."""
        return replace(self, maps=(EXACT,))

    def dropping(self, one: Pass) -> Segmenter:
        """The same network in a pass with dropout."""
        refuse_without_dropout(self.spec, self.predictor)
        return replace(self, predictor=replace(self.predictor, dropping=one))

    def turned(self) -> Segmenter:
        """The same planes of volumes whose y and x are exchanged."""
        lattices = tuple(
            one.turned() if name == "z" else one
            for name, one in zip(self.planes, self.lattices, strict=True)
        )
        swapped = tuple({"y": "x", "x": "y"}.get(name, name) for name in self.planes)
        return replace(self, planes=swapped, lattices=lattices)

    def open(self) -> Callable[..., Any]:
        """Load the network onto its device."""
        from tim3d.models.segmentation.inference import ready, segment_core

        ready(self._called)
        return segment_core

    @property
    def _called(self) -> Predictor:
        """Network of planes: a table of slices is used before they are turned."""
        return replace(self.predictor, normalisation=_AS_IT_IS) if self._table else self.predictor

    @property
    def _table(self) -> Normalisation | None:
        scale = self.predictor.normalisation
        return scale if scale is not None and scale.how == "table" else None

    def read_box(self, shape: Triple, core: Box) -> Box:
        """Box of the volume that holds what the windows of every plane read."""
        boxes = [
            _turned(one.read_box(_turned(core, TURNS[name])), _back(TURNS[name]))
            for name, one in zip(self.planes, self.lattices, strict=True)
        ]
        starts, stops = zip(*((box.start, box.stop) for box in boxes), strict=True)
        return Box(
            triple(min(a) for a in zip(*starts, strict=True)),
            triple(max(a) for a in zip(*stops, strict=True)),
        )

    def farthest_read(self, shape: Triple) -> Triple:
        """Largest number of voxels read beyond a core along each axis, for plans."""
        far = []
        for name, one in zip(self.planes, self.lattices, strict=True):
            z, y, x = (p - 1 - h for p, h in zip(one.window, one.halo, strict=True))
            far.append([(z + one.context, y, x)[turn] for turn in _back(TURNS[name])])
        return triple(max(axis) for axis in zip(*far, strict=True))

    def block_bytes(self, shape: Triple, core: Triple, read: Triple, voxel_bytes: int) -> int:
        """Bytes of a block: voxels, probabilities of all planes, maps, and layers of the network."""
        classes, planes = len(self.classes), len(self.planes)
        reach = zip(shape, core, self.farthest_read(shape), strict=True)
        slab = math.prod(min(n, c + 2 * f) for n, c, f in reach)
        made = 1 + sum(
            np.dtype(one.dtype).itemsize * len(one.fields("", self.classes)) for one in self.maps
        )
        window = max(math.prod(one.input_shape) for one in self.lattices)
        return (
            slab * (2 * voxel_bytes + (4 if self._table else 0))
            + math.prod(core) * (4 * classes * (planes + 1) + 12 + 3 * made)
            + 4 * self.predictor.batch * (1 + classes) * window
            + (self.activation_bytes if self.predictor.device == "cpu" else 0)
        )

    def region(self, shape: Triple, core: Box, grey: Array, box: Box) -> Maps:
        """Maps of a core: planes are added in the order z, y, x."""
        if self._table:
            grey = _normal(grey, self._table, box.start[0])
        every = [
            self._across(name, one, core, grey, box)
            for name, one in zip(self.planes, self.lattices, strict=True)
        ]
        return self._joined(every)

    def _across(self, name: str, lattice: Lattice, core: Box, grey: Array, box: Box) -> Array:
        """Probabilities (classes, z, y, x) of a core by the slices across an axis."""
        turn = TURNS[name]
        seen = opened(self)(
            self._called,
            lattice,
            _turned(core, turn),
            grey.transpose(turn),
            _turned(box, turn),
            ("shares",),
        )["shares"]
        return np.asarray(seen).transpose(0, *(1 + axis for axis in _back(turn)))

    def _joined(self, every: list[Array]) -> Maps:
        mean = every[0].copy()
        for one in every[1:]:
            mean += one
        mean /= np.float32(len(every))
        labels = highest(mean)
        made: dict[str, Array] = {LABELS: labels}
        if EXACT in self.maps:
            made[EXACT.name] = mean
        if PROBABILITY in self.maps:
            made[PROBABILITY.name] = _quantised(mean)
        if DISAGREEMENT in self.maps:
            made[DISAGREEMENT.name] = _deviation(every, mean, labels)
        return made


def lattices_across(shape: Triple, spec: UNetSpec, how: Inference) -> tuple[Lattice, ...]:
    """Windows of the planes that are asked for, in the order of the planes.

    Raises
    ------
    ArgumentError
        If window or halo do not fit the network.
    """
    return tuple(windows_across(name, shape, spec, how) for name in how.planes)


def maps_across(how: Inference) -> tuple[Map, ...]:
    """Maps beside the labels: probabilities if they are kept, disagreement of several planes."""
    return (PROBABILITY,) * how.probabilities + (DISAGREEMENT,) * (len(how.planes) > 1)


def windows_across(name: str, shape: Triple, spec: UNetSpec, how: Inference) -> Lattice:
    """Lattice of the windows of slices across an axis: of the requested size, or up to 256 pixels."""
    turned = triple(shape[axis] for axis in TURNS[name])
    if how.window is not None and len(how.window) != 2:
        raise ArgumentError(
            f"planes have windows of two edges, not {how.window}: for example --window 256,256"
        )
    if how.window is not None:
        check_windows(how.window, (how.halo or 0,) * 2)
    window = (1, *(how.window or (EDGE, EDGE)))
    stride = spec.total_stride
    edge = min(window[1:])
    least = -(-edge // 8 // stride) * stride if how.halo is None else how.halo
    halo = (0, least, least)
    if how.window is None:
        window, halo = fitted(turned, triple(window), halo, spec.strides)
    if how.mode == "blend":
        overlap = triple(2 * h for h in halo)
        lattice = blend_lattice(turned, triple(window), overlap, spec.context)
    else:
        lattice = crop_lattice(turned, triple(window), halo, spec.context)
    require_phase(lattice, spec.strides)
    return lattice


def _turned(box: Box, order: Triple) -> Box:
    return Box(triple(box.start[axis] for axis in order), triple(box.stop[axis] for axis in order))


def _back(order: Triple) -> Triple:
    """Order that undoes an order.

    >>> _back(TURNS["x"])
    (1, 2, 0)
    """
    return triple(order.index(axis) for axis in range(3))


def _normal(grey: Array, table: Normalisation, first: int) -> Array:
    """Grey values from slice `first` on by the mean and deviation of each slice, float32."""
    scales = table.of_slices(range(first, first + len(grey)))
    mean, std = (np.array(one, np.float32)[:, None, None] for one in scales)
    return np.asarray((grey.astype(np.float32) - mean) / std)


def _quantised(mean: Array) -> Array:
    """Probabilities as 0 to 255; averages may exceed 1 by rounding."""
    quantised = np.empty(mean.shape, np.uint8)
    for code, values in enumerate(mean):
        quantised[code] = np.clip(np.rint(values * np.float32(255)), 0, 255)
    return quantised


def _deviation(every: list[Array], mean: Array, labels: Array) -> Array:
    """Standard deviation over the planes of the probability of the label, float32."""
    place = labels[None].astype(np.intp)
    centre = np.take_along_axis(mean, place, axis=0)[0]
    total = np.zeros_like(centre)
    for one in every:
        away = np.take_along_axis(one, place, axis=0)[0] - centre
        total += away * away
    return np.asarray(np.sqrt(total / np.float32(len(every))))
