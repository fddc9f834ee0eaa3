"""Inference of a checkpoint on a device: batches of windows, and the labels of a block's core.

On a CPU the result for a voxel does not depend on the block, bit for bit, as long as window, batch
and threads are the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import nn

from tim3d.errors import ArgumentError, CheckpointError, DeviceError
from tim3d.grid import Box, Triple
from tim3d.kernels.windows.lattice import Array, Lattice, reflect, require_phase
from tim3d.kernels.windows.stitching import Batch, EmptyRule, stitch
from tim3d.models.common.convolutions import by_onednn
from tim3d.models.common.determinism import set_threads
from tim3d.models.common.folding import folded
from tim3d.models.common.transfer import upload
from tim3d.models.common.weights import check_planned
from tim3d.models.segmentation.blending import DeviceMemory, likeliest, memory_for, quantised
from tim3d.models.segmentation.checkpoint import Checkpoint, Normalisation, load
from tim3d.models.segmentation.dropout import passing
from tim3d.models.segmentation.precision import check_precision, mixed, trial_image
from tim3d.models.segmentation.predictor import Predictor as Predictor

Item = TypeVar("Item")
Output = Literal["labels", "probabilities", "shares"]
Reduction = Literal["labels", "labels+probabilities", "softmax"]
# Layout of the values of a network of slices and of one of volumes: the channels of a voxel side by
# side.
LAYOUT = {2: torch.channels_last, 3: torch.channels_last_3d}


@dataclass(frozen=True)
class Loaded:
    """A loaded predictor: its network on the device, and what batches hold while they are queued on it."""

    checkpoint: Checkpoint
    model: nn.Module
    device: torch.device
    normalisation: Normalisation
    call: AbstractContextManager[Any]


loaded_networks: dict[Predictor, Loaded] = {}
_loading = threading.Lock()
# Two blocks compute on a GPU (`NetworkSegmenter.blocks_at_once`): when the last results of one are
# placed, the first batches of the other are there. Calls of the network are queued one at a time, so
# that the device holds the layers of one batch.
_cuda_call = threading.Lock()


def ready(predictor: Predictor) -> Loaded:
    """Return the network of a predictor, loaded once for each process.

    Raises
    ------
    CheckpointError
        If the file is damaged, is no longer the planned one, or needs a table of slices that the
        volume lacks.
    DeviceError
        If the device is not available.
    """
    plain = replace(predictor, dropping=None)  # all passes share one network
    with _loading:
        if plain not in loaded_networks:
            loaded_networks[plain] = _load(plain)
        return loaded_networks[plain]


def _load(predictor: Predictor) -> Loaded:
    device = _device(predictor.device)
    checkpoint = load(predictor.checkpoint)
    check_planned(predictor.checkpoint, checkpoint.sha256, predictor.sha256)
    normalisation = predictor.normalisation or checkpoint.description.normalisation
    if normalisation.how == "table" and predictor.normalisation is None:
        raise CheckpointError(
            f"{predictor.checkpoint} was trained on slices normalised one by one; give the table of this volume"
        )
    model = checkpoint.model
    if device.type == "cuda":
        model = folded(model, torch.from_numpy(trial_image(checkpoint.spec)))
    model = model.to(device, memory_format=LAYOUT[checkpoint.spec.dimensions])  # type: ignore[call-overload]
    if device.type == "cpu" and predictor.precision == "fp32":
        by_onednn(model)
    call: AbstractContextManager[Any] = _cuda_call if device.type == "cuda" else nullcontext()
    with call:
        check_precision(model, checkpoint.spec, device, predictor.precision)
    return Loaded(checkpoint, model, device, normalisation, call)


def _device(name: str) -> torch.device:
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"{name} is asked for and {torch.cuda.device_count()} CUDA devices are here; use --device cpu"
        )
    return device


def segment_core(
    predictor: Predictor,
    lattice: Lattice,
    core: Box,
    slab: Array,
    slab_box: Box,
    outputs: Sequence[Output] = ("labels",),
    empty: EmptyRule | None = None,
) -> dict[Output, Array]:
    """Classify every voxel of a core box by the windows of the lattice that touch it.

    Parameters
    ----------
    predictor : Predictor
        The network.
    lattice : Lattice
        The windows: one slice thick, with the context of the network.
    core : Box
        Voxels to classify.
    slab, slab_box : array (z, y, x), Box
        Grey values and their box: `lattice.read_box(core)` or larger.
    outputs : sequence of {"labels", "probabilities", "shares"}
        Arrays to return.
    empty : EmptyRule, optional
        Rule that skips the network for windows of a single grey value; `output` is one probability
        for each class.

    Returns
    -------
    dict of arrays
        `labels` uint8 (z, y, x), the index of the class; `probabilities` uint8 (classes, z, y, x),
        where 255 is certain; `shares` the same as float32 from 0 to 1.

    Raises
    ------
    ArgumentError
        If the lattice does not fit the network, or an output is unknown.
    """
    loaded = ready(predictor)
    check_lattice(lattice, loaded.checkpoint)
    reduction = _reduction(lattice, outputs)
    classes = len(loaded.checkpoint.classes)
    channels = {"labels": 1, "labels+probabilities": 1 + classes, "softmax": classes}[reduction]
    memory = memory_for(loaded.device, lattice, core, channels)
    there = isinstance(memory, DeviceMemory)
    stitched = stitch(
        lattice,
        core,
        slab,
        slab_box,
        lambda source: _predict(predictor, loaded, lattice, source, reduction, there),
        channels=channels,
        dtype=np.float32 if reduction == "softmax" else np.uint8,
        batch=predictor.batch,
        empty=_reduced(empty, reduction, classes),
        memory=memory,
    )
    if there:
        return _fetched(stitched, outputs)
    return _named(stitched, reduction, outputs)


def check_lattice(lattice: Lattice, checkpoint: Checkpoint) -> None:
    """Refuse windows whose thickness, context or phase (see `require_phase`) misfit the network."""
    spec = checkpoint.spec
    if spec.dimensions == 2 and (lattice.window[0] != 1 or lattice.context != spec.context):
        raise ArgumentError(
            f"the network sees one slice and {spec.context} on each side; the windows have {lattice.window[0]} and "
            f"{lattice.context}: make the lattice with a window of 1 along z and context={spec.context}"
        )
    require_phase(lattice, spec.strides)
    if spec.norm == "instance" and lattice.window == spec.strides:
        raise ArgumentError(
            f"windows of {lattice.window} shrink to one voxel inside the network, which has no statistics; "
            f"use windows of {2 * max(spec.strides)} or more"
        )


def _reduction(lattice: Lattice, outputs: Sequence[Output]) -> Reduction:
    unknown = set(outputs) - {"labels", "probabilities", "shares"}
    if unknown or not outputs:
        raise ArgumentError(f"outputs are {list(outputs)}; choose labels, probabilities or shares")
    if lattice.mode == "blend" or "shares" in outputs:
        return "softmax"
    return "labels+probabilities" if "probabilities" in outputs else "labels"


def _reduced(empty: EmptyRule | None, reduction: Reduction, classes: int) -> EmptyRule | None:
    """Rule for empty windows, with its output in the channels of the reduction."""
    if empty is None or reduction == "softmax":
        return empty
    if len(empty.output) != classes:
        raise ArgumentError(
            f"the empty rule has {len(empty.output)} probabilities and the network {classes} classes"
        )
    label = float(np.argmax(empty.output))
    quantised = tuple(float(round(255 * p)) for p in empty.output)
    return EmptyRule(empty.fill, (label,) if reduction == "labels" else (label, *quantised))


def _named(stitched: Array, reduction: Reduction, outputs: Sequence[Output]) -> dict[Output, Array]:
    named: dict[Output, Array] = {}
    if "labels" in outputs:
        named["labels"] = _argmax(stitched) if reduction == "softmax" else stitched[0]
    if "shares" in outputs:
        named["shares"] = stitched
    if "probabilities" in outputs:
        named["probabilities"] = _quantise(stitched) if reduction == "softmax" else stitched[1:]
    return named


def _fetched(blended: torch.Tensor, outputs: Sequence[Output]) -> dict[Output, Array]:
    """Outputs of probabilities on a device, reduced there."""
    made: dict[Output, Callable[[torch.Tensor], torch.Tensor]] = {
        "labels": likeliest,
        "shares": torch.Tensor.contiguous,
        "probabilities": quantised,
    }
    return {name: _download(made[name](blended))() for name in outputs}


def _argmax(probabilities: Array) -> Array:
    """First class of highest probability; several times faster than numpy argmax along axis 0."""
    labels = np.zeros(probabilities.shape[1:], np.uint8)
    highest = probabilities[0].copy()
    for code in range(1, len(probabilities)):
        labels[probabilities[code] > highest] = code
        np.maximum(highest, probabilities[code], out=highest)
    return labels


def _quantise(probabilities: Array) -> Array:
    """Probabilities as 0 to 255; averages may exceed 1 by rounding."""
    quantised = np.empty(probabilities.shape, np.uint8)
    for code, values in enumerate(probabilities):
        quantised[code] = np.clip(np.rint(values * np.float32(255)), 0, 255)
    return quantised


def _predict(
    predictor: Predictor,
    loaded: Loaded,
    lattice: Lattice,
    source: Iterator[Batch],
    reduction: Reduction,
    stays: bool,
) -> Iterator[Any]:
    """Results, one batch behind the device, so that a GPU does not wait while they are placed.

    Those that stay there are yielded as tensors.
    """
    set_threads(predictor.threads)

    def start(some: Batch) -> tuple[Callable[[], Any], list[Triple]]:
        array, group = some
        mean, std = _scales(loaded.normalisation, lattice, group, len(array))
        starts = [lattice.box(index).start for index in _filled(group, len(array))]
        found = _call(predictor, loaded, array, mean, std, starts, reduction)
        return (lambda: found) if stays else _download(found), group

    started = _behind(map(start, source), look_ahead=loaded.device.type == "cuda")
    return ((fetch(), group) for fetch, group in started)


def _behind(results: Iterator[Item], look_ahead: bool) -> Iterator[Item]:
    """Yield the same results; with look-ahead, each one only after the next was started."""
    waiting: list[Item] = []
    for result in results:
        waiting.append(result)
        if len(waiting) > look_ahead:
            yield waiting.pop(0)
    yield from waiting


def _download(result: torch.Tensor) -> Callable[[], Array]:
    """Start a copy to the host; the returned function waits for it, and for nothing later."""
    if result.device.type != "cuda":
        return result.numpy
    host = torch.empty(result.shape, dtype=result.dtype, pin_memory=True)
    host.copy_(result, non_blocking=True)
    copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
    copied.record()

    def fetch() -> Array:
        copied.synchronize()
        return np.asarray(host)

    return fetch


def _scales(
    normalisation: Normalisation, lattice: Lattice, group: list[Triple], batch: int
) -> tuple[Array, Array]:
    """Mean and deviation of every slice in a batch, to broadcast over (batch, slices, y, x)."""
    if normalisation.how != "table":
        one = np.ones((1, 1, 1, 1), np.float32)
        return one * np.float32(normalisation.mean[0]), one * np.float32(normalisation.std[0])
    if len(normalisation.mean) != lattice.shape[0]:
        raise ArgumentError(
            f"the table has {len(normalisation.mean)} slices and the volume {lattice.shape[0]}"
        )
    rows = [lattice.box(index).grow((lattice.context, 0, 0)) for index in _filled(group, batch)]
    seen = [reflect(np.arange(box.start[0], box.stop[0]), lattice.shape[0]) for box in rows]
    scales = [normalisation.of_slices(z.tolist()) for z in seen]
    mean, std = (
        np.array([pair[i] for pair in scales], np.float32)[:, :, None, None] for i in (0, 1)
    )
    return mean, std


def _filled(group: list[Triple], batch: int) -> list[Triple]:
    """Windows of a whole batch: the first one stands for those that are lacking."""
    return group + group[:1] * (batch - len(group))


def _call(
    predictor: Predictor,
    loaded: Loaded,
    array: Array,
    mean: Array,
    std: Array,
    starts: Sequence[Triple],
    reduction: Reduction,
) -> torch.Tensor:
    grey_nzyx = upload(_known(array), loaded.device)
    dimensions = loaded.checkpoint.spec.dimensions
    mean_, std_ = (upload(scale, loaded.device) for scale in (mean, std))

    def forward(
        grey: torch.Tensor, mean: torch.Tensor, std: torch.Tensor, places: torch.Tensor
    ) -> torch.Tensor:
        ready = (grey.float() - mean) / std
        # Slices of a window are channels of a network of slices, and an axis of one of volumes.
        given = ready if dimensions == 2 else ready[:, None]
        with mixed(loaded.device, predictor.precision), passing(predictor.dropping, places):
            logits = loaded.model(given.contiguous(memory_format=LAYOUT[dimensions]))
        reduced = reduced_logits(logits.float(), reduction)
        return reduced[:, :, None] if dimensions == 2 else reduced

    with torch.inference_mode(), loaded.call:
        return halving(forward, grey_nzyx, mean_, std_, torch.tensor(starts))


def _known(array: Array) -> Array:
    """Values of a type with which torch computes: of unsigned integers only uint8."""
    return array if array.dtype in (np.uint8, np.int16, np.float32) else array.astype(np.float32)


def reduced_logits(logits: torch.Tensor, reduction: Reduction) -> torch.Tensor:
    """Reduce logits (n, classes, ...) on the device to (n, channels, ...); labels take 1 byte."""
    if reduction == "labels":
        return _top(logits)[:, None]
    probabilities = logits.softmax(dim=1)
    if reduction == "softmax":
        return probabilities
    quantised = (probabilities * 255).round().to(torch.uint8)
    return torch.cat([_top(logits)[:, None], quantised], dim=1)


def _top(logits: torch.Tensor) -> torch.Tensor:
    """First class of the highest logit, uint8 (n, ...)."""
    if logits.shape[1] == 2:
        return (logits[:, 1] > logits[:, 0]).to(torch.uint8)
    return logits.argmax(dim=1).to(torch.uint8)


def halving(
    forward: Callable[..., torch.Tensor], grey: torch.Tensor, *scales: torch.Tensor
) -> torch.Tensor:
    """Call a function on a batch, halving the batch as often as the memory of the device requires.

    Raises
    ------
    torch.OutOfMemoryError
        If one window alone does not fit.
    """
    try:
        return forward(grey, *scales)
    except torch.OutOfMemoryError:
        if len(grey) == 1:
            raise
    # Outside the handler, whose traceback would keep the memory of the failed call.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(grey) // 2
    parts = (slice(0, middle), slice(middle, None))
    return torch.cat(
        [halving(forward, grey[p], *(s[p] if len(s) > 1 else s for s in scales)) for p in parts]
    )
