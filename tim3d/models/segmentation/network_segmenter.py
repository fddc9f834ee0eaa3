"""Segmenter by a network of slices: its windows and its calls. Only workers load torch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Literal

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple
from tim3d.kernels.windows.lattice import (
    Array,
    Lattice,
    blend_lattice,
    check_windows,
    crop_lattice,
    peak_bytes,
    require_phase,
    slice_lattice,
)
from tim3d.models.segmentation.batch import Room
from tim3d.models.segmentation.dropout import Pass
from tim3d.models.segmentation.families import NetworkSpec
from tim3d.models.segmentation.model_file import UNET
from tim3d.models.segmentation.predictor import Predictor
from tim3d.models.segmentation.segmenter import EXACT, LABELS, Map, Maps, Segmenter, opened
from tim3d.models.segmentation.unet import UNetSpec

log = logging.getLogger(__name__)

PROBABILITY = Map(
    "probability", "probability of {} in 1/255", units="", dtype="uint8", per_class=True
)


@dataclass(frozen=True)
class Inference:
    """Options of windows and inference; see `tim3d.segment`."""

    mode: Literal["crop", "blend"] = "crop"
    window: tuple[int, ...] | None = None
    halo: int | None = None
    probabilities: bool = False
    normalisation: Literal["volume", "slices"] | None = None
    batch: int | None = None
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    device: str = "auto"
    planes: tuple[str, ...] = ("z",)


@dataclass(frozen=True)
class NetworkSegmenter(Segmenter):
    """A U-Net on a lattice of windows, in batches, with weighted averages where they overlap."""

    spec: NetworkSpec
    predictor: Predictor
    windows: Lattice
    activation_bytes: int
    maps: tuple[Map, ...] = ()
    room: Room | None = None
    kind: ClassVar[str] = UNET
    needs_torch: ClassVar[bool] = True
    whole_slices: ClassVar[bool] = True

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Class names of the network."""
        return self.spec.classes

    @property
    def sha256(self) -> str:  # type: ignore[override]
        """SHA-256 of the file of the network."""
        return self.predictor.sha256

    @property
    def blocks_at_once(self) -> int:  # type: ignore[override]
        """Two on a GPU: one is copied while the other computes."""
        return 1 if self.predictor.device == "cpu" else 2

    @property
    def note(self) -> str:
        """The batch, where it was chosen by the memory of a GPU."""
        return str(self.room or "")

    def open(self) -> Callable[..., Any]:
        """Load the network onto its device."""
        from tim3d.models.segmentation.inference import ready, segment_core

        ready(self.predictor)
        return segment_core

    def description(self) -> dict[str, Any]:
        """Kind, windows, normalisation, and the settings of inference."""
        called = self.predictor
        return {
            "kind": self.kind,
            "lattice": self.windows.description(),
            "normalisation": asdict(called.normalisation) if called.normalisation else {},
            "batch": recorded_batch(called, self.room),
            "threads": called.threads,
            "precision": called.precision,
            "device": called.device.split(":")[0],
            "probabilities": bool(self.maps),
            **recorded_pass(called),
        }

    def record(self, codes: tuple[int, ...]) -> dict[str, Any]:
        """Description and codes, without the kind: the file states it, and older fields lack it."""
        return {name: value for name, value in super().record(codes).items() if name != "kind"}

    def exact(self) -> Segmenter:
        """The same network with probabilities in float32."""
        return replace(self, maps=(EXACT,))

    def dropping(self, one: Pass) -> Segmenter:
        """The same network in a pass with dropout."""
        refuse_without_dropout(self.spec, self.predictor)
        return replace(self, predictor=replace(self.predictor, dropping=one))

    def turned(self) -> Segmenter:
        """The same network on windows whose y and x are exchanged."""
        return replace(self, windows=self.windows.turned())

    def lattice(self, shape: Triple) -> Lattice:
        """Lattice of windows, fixed when the segmenter was created."""
        return self.windows

    def farthest_read(self, shape: Triple) -> Triple:
        """Largest number of voxels read beyond a core along each axis, for plans."""
        z, y, x = (
            (p - 1 for p in self.windows.window)
            if self.windows.mode == "blend"
            else self.windows.halo
        )
        return (self.windows.context + z, y, x)

    def block_bytes(self, shape: Triple, core: Triple, read: Triple, voxel_bytes: int) -> int:
        """Bytes of a block: stitching, copies to decode and encode, and layers of the network."""
        classes = len(self.classes)
        bytes_each = 4 if EXACT in self.maps else 1
        out = 2 * (1 + (bytes_each * classes if self.maps else 0))
        held = peak_bytes(
            self.windows, core, itemsize=2 * voxel_bytes, channels=classes, out_bytes=out + 1,
            batch=self.predictor.batch,
        )  # fmt: skip
        return held + (self.activation_bytes if self.predictor.device == "cpu" else 0)

    def region(self, shape: Triple, core: Box, grey: Array, box: Box) -> Maps:
        """Maps of a core, by batches; a GPU does not wait while their results are placed."""
        if self.maps == (EXACT,):
            found = opened(self)(
                self.predictor, self.windows, core, grey, box, ("labels", "shares")
            )
            return {LABELS: found["labels"], EXACT.name: found["shares"]}
        wanted = ("labels", "probabilities") if self.maps else ("labels",)
        found = opened(self)(self.predictor, self.windows, core, grey, box, wanted)
        maps = {one.name: found["probabilities"] for one in self.maps}
        return {LABELS: found["labels"], **maps}


def recorded_batch(called: Predictor, room: Room | None) -> int | str:
    """Entry of a description for the batch.

    One that was chosen by the free memory of a GPU is recorded as such and not as a number: a run
    that is resumed on another GPU is the same run.
    """
    return called.batch if room is None else "by free memory"


def recorded_pass(called: Predictor) -> dict[str, Any]:
    """Entry of a description for the pass with dropout, if it is one."""
    return {"dropping": asdict(called.dropping)} if called.dropping else {}


def refuse_without_dropout(spec: NetworkSpec, called: Predictor) -> None:
    """Raise `ArgumentError` if a network was trained without dropout: its passes would be alike."""
    if not spec.dropout:
        raise ArgumentError(
            f"{called.checkpoint} was trained without dropout, so that all of its passes are alike: "
            "tim3d train --dropout 0.2, or --uncertainty views"
        )


def lattice_of(shape: Triple, spec: UNetSpec, how: Inference) -> Lattice:
    """Lattice of windows: whole slices, or windows of the requested size.

    Windows have a halo, or overlap by twice the halo.

    Raises
    ------
    ArgumentError
        If window or halo do not fit the network.
    """
    if how.window is None:
        if how.mode == "blend" or how.halo:
            raise ArgumentError(
                "whole slices have no seams to blend; give a window too: --window 512,512"
            )
        return slice_lattice(shape, spec.total_stride, spec.context)
    if len(how.window) != 2:
        raise ArgumentError(
            f"a network of slices sees windows y,x, not {how.window}: for example --window 512,512"
        )
    window, stride = (1, *how.window), spec.total_stride
    check_windows(how.window, (how.halo or 0,) * 2)
    halo = _default_halo(how.window, stride) if how.halo is None else how.halo
    whole = [-(-n // stride) * stride for n in shape[1:]]
    if all(p > n for p, n in zip(how.window, whole, strict=True)):
        log.warning(
            "windows of %s are larger than slices of %s pixels, and what is beyond these is computed too: leave out "
            "--window",
            "x".join(map(str, how.window)), "x".join(map(str, shape[1:])),
        )  # fmt: skip
    if how.mode == "blend":
        lattice = blend_lattice(shape, window, (0, 2 * halo, 2 * halo), spec.context)
    else:
        lattice = crop_lattice(shape, window, (0, halo, halo), spec.context)
    require_phase(lattice, spec.strides)
    return lattice


def _default_halo(window: tuple[int, ...], stride: int) -> int:
    """An eighth of the window, rounded up to the network's total stride."""
    return -(-min(window) // 8 // stride) * stride
