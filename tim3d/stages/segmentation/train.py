"""The verb `train`: training of a network on labelled slices, into a file of its own."""

from __future__ import annotations

import inspect
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tim3d.engine import Outline
from tim3d.engine.clusters.memory import available_memory
from tim3d.errors import ArgumentError, MemoryPlanError, MixedRunError
from tim3d.forecast import expect, expected, is_forecasting
from tim3d.grid import Box
from tim3d.kernels.windows.lattice import reflect
from tim3d.models.segmentation import checkpoint
from tim3d.models.segmentation.crops import UNLABELLED, Augmentation, Slices, crop_in, prepare
from tim3d.models.segmentation.crops_3d import Stack, prepare_stack
from tim3d.models.segmentation.families import NetworkSpec
from tim3d.models.segmentation.first_weights import FirstWeights, first_key, first_record
from tim3d.models.segmentation.training_options import TrainingOptions
from tim3d.models.segmentation.unet import UNetSpec
from tim3d.models.segmentation.unet_3d import UNet3DSpec, steps_for
from tim3d.phases import Phases
from tim3d.stages.segmentation.chosen import compare_spacing
from tim3d.stages.segmentation.normalisation import check_normalisation, normalisation_of
from tim3d.stages.shared.agreement import UNLABELLED as NO_TRUTH
from tim3d.stages.shared.first_network import Words, described, network, refuse_itself
from tim3d.stages.shared.training_plan import check_cost, cost
from tim3d.stages.shared.training_words import in_order, recorded_changes, recorded_losses
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import outputs, store
from tim3d.storage.advice import other_stack
from tim3d.storage.schema import Field
from tim3d.typed import Channels, ClassWeights, CropChanges, Losses, SliceRange

log = logging.getLogger(__name__)

# Edge of a training crop by the dimensions of the network.
CROPS = {2: 128, 3: 48}


@Verb
def train(
    sample: str,
    model: str | Path,
    *,
    field: str = "raw",
    labels: str = "annotation",
    slices: SliceRange = slice(None),
    every: int = 1,
    dimensions: Literal[2, 3] = 2,
    architecture: str = "Unet",
    encoder: str = "resnet18",
    depth: int = 3,
    decoder_channels: Channels | None = None,
    context: int = 0,
    norm: Literal["batch", "instance"] = "batch",
    normalisation: Literal["volume", "slices"] = "volume",
    epochs: int = 12,
    steps: int = 40,
    batch: int = 4,
    crop: int | None = None,
    learning_rate: float = 4e-3,
    patience: int = 5,
    validation_fraction: float = 0.2,
    encoder_weights: str | Path | None = None,
    start_from: str | Path | None = None,
    loss: Losses | None = None,
    class_weights: ClassWeights | None = None,
    augment: CropChanges | None = None,
    crops: Literal["random", "balanced"] = "random",
    schedule: Literal["cosine", "one-cycle", "constant"] = "cosine",
    encoder_rate: float = 1.0,
    seed: int = 0,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    overwrite: bool = False,
    progress: bool = True,
) -> Task[Path]:
    """Train a U-Net on slices of a grey field and their labels, and write it to `model`.

    The best epoch on held-out slices (the last ones) is kept. An interrupted training resumes where
    it stopped; a finished one is not repeated. The classes of the network are the phases of the
    label field; pixels of a phase that is called ``unlabelled`` are ignored, so that strokes may be
    learnt from.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    model : path
        File to write, for example unet.safetensors.
    field : str
        The grey field.
    labels : str
        Label field: an annotation, or your own labels ingested with phases.
    slices : slice
        Slices to train on, by number (default: all).
    every : int
        Every which slice of them is used.
    dimensions : {2, 3}
        Whether the network sees slices, or boxes of voxels. In three dimensions an axis of longer
        voxels is halved later, and of the slices left out by `every` the grey values are still seen.
    architecture : str
        Architecture of the network of slices. See segmentation-models-pytorch.
    encoder : str
        Encoder of the network.
    depth : int
        Number of times that the encoder halves the resolution.
    decoder_channels : sequence of int, optional
        Widths of the decoder of Unet, UnetPlusPlus and MAnet (default: halved from
        8 * 2^(depth - 1) to 8). In three dimensions
        the deepest level has twice the first of them.
    context : int
        Slices before and after that the network sees as channels.
    norm : {"batch", "instance"}
        Over what the network normalises.
    normalisation : {"volume", "slices"}
        Grey by the mean and deviation of the volume, or of each slice. Those of slices are smoothed
        along z.
    epochs : int
        Most epochs. See `tim3d.models.segmentation.training.TrainingOptions`.
    steps : int
        Batches in an epoch.
    batch : int
        Crops in a batch.
    crop : int, optional
        Edge of a training crop in pixels (default: 128, or the slice where it is smaller; 48 of the
        shortest edge in three dimensions).
    learning_rate : float
        Highest learning rate.
    patience : int
        Epochs without gain after which it stops.
    validation_fraction : float
        Share of the slices, the last ones, that are held out.
    encoder_weights : path, optional
        Local file (.pth, .pt, .safetensors) with weights of the encoder: of MicroNet, torchvision,
        timm or segmentation-models-pytorch. It must fit in every layer.
    start_from : path, optional
        Model of tim3d to go on from: to train longer, or on other data. Its network is taken; other
        classes get a new head.
    loss : sequence of str, optional
        Losses that are added: cross-entropy, dice, focal, tversky, boundary, with numbers as
        focal:gamma=3,weight=0.5 (default: cross-entropy,dice).
    class_weights : mapping of str to float, optional
        Weight of each class in the losses (default: all count alike).
    augment : sequence of str, optional
        Further random changes of crops: elastic, charging, gamma, curtain, blur, with numbers as
        blur:pixels=2 or blur:nm=10; sem for all of them.
    crops : {"random", "balanced"}
        Crops anywhere, or around a pixel of a class, every class being drawn alike.
    schedule : {"cosine", "one-cycle", "constant"}
        Course of the learning rate.
    encoder_rate : float
        Learning rate of the encoder, as a share of the others'.
    seed : int
        Number from which the first weights and all that is random follow.
    device : {"auto", "cpu", "cuda"}
        Device of the training.
    overwrite : bool
        Forget an earlier training into the same file.
    progress : bool
        Show a progress bar on standard error.

    Returns
    -------
    Path
        The model.

    Raises
    ------
    MissingFieldError
        If a field is missing.
    ArgumentError
        If the fields do not fit, or a number is out of range.
    MixedRunError
        If the file or the state beside it belongs to another training.
    CheckpointError
        If a file of weights holds code, or does not fit the network.
    InputError
        If slices are smaller than the crop, or hold labels of one class only.
    MemoryPlanError
        If the slices and a step do not fit into memory.
    LockedError
        If another process trains into the same file.
    """
    target = outputs.check_target(model, outputs.WEIGHTS)
    grey, labelled = (
        store.complete_field(sample, field),
        store.complete_field(sample, labels, "annotate" if labels == "annotation" else "labels"),
    )
    classes = _classes(grey, labelled)
    given = tuple(decoder_channels) if decoder_channels else None
    words = Words(architecture, encoder, depth, given, context, norm)
    spec: NetworkSpec
    first: FirstWeights | None = None
    if dimensions == 3:
        _refuse_of_slices({
            "architecture": architecture, "encoder": encoder, "context": context, "augment": augment, "crops": crops,
            "encoder_weights": encoder_weights, "start_from": start_from, "encoder_rate": encoder_rate,
        })  # fmt: skip
        spec = _spec_3d(tuple(classes), grey, depth, given or _widths(depth), norm)
    elif dimensions == 2:
        spec, first = network(words, list(classes), encoder_weights, start_from)
        refuse_itself(target, start_from)
        if start_from:
            compare_spacing(described(start_from).spacing_nm, grey)
        crop = crop or min(CROPS[2], *grey.shape[1:])
        crop_in(grey.shape[1:], crop, spec.total_stride)
    else:
        raise ArgumentError(f"--dimensions {dimensions}: a network sees 2 or 3")
    numbers = list(range(grey.shape[0])[slices])[::every] if every > 0 else []
    _check_numbers(numbers, grey, spec)
    options = TrainingOptions(
        epochs, steps, batch, crop or CROPS[dimensions], learning_rate, patience, validation_fraction,
        seed=seed, device=device, loss=recorded_losses(loss), class_weights=in_order(class_weights, spec.classes),
        augmentation=Augmentation(rotations=_square_pixels(grey), more=recorded_changes(augment)),
        schedule=schedule, crops=crops, encoder_rate=encoder_rate,
    )  # fmt: skip
    check_normalisation(normalisation)
    training = Training(
        sample, grey, labelled, numbers, spec, options, normalisation, target, overwrite, first
    )
    return Task(training.plans, lambda: training.run(progress))


@dataclass(frozen=True)
class Training:
    """The network to train, its slices and labels, and the file to write."""

    sample: str
    grey: Field
    labelled: Field
    numbers: list[int]
    spec: NetworkSpec
    options: TrainingOptions
    normalisation: str
    target: Path
    overwrite: bool
    first: FirstWeights | None = None

    def plans(self) -> list[Outline]:
        """One line, or nothing if the network exists; later steps may rely on the network."""
        new = self.overwrite or not self.target.exists()
        unread = [
            f.name
            for f in (self.grey, self.labelled)
            if expected("field", f"{self.sample}/{f.name}")
        ]
        if not new and unread:
            kept = f"{self.target} is there; that it is the training asked for is checked when {unread[0]!r} is"
            return [Outline("train", kept)]
        if not new and self._is_trained(self._data().sha256()):
            return []
        how: Literal["volume", "table"] = "volume" if self.normalisation == "volume" else "table"
        unknown = checkpoint.Normalisation(how, (0.0,), (1.0,))
        expect(
            "network",
            str(self.target),
            checkpoint.Description(self.spec, unknown, self.grey.spacing_nm),
        )
        return [Outline("train", self._described() + self._cost())]

    def run(self, progress: bool) -> Path:
        """Train, unless the file holds this training."""
        data = self._data()
        if self.overwrite or not self._is_trained(data.sha256()):
            self._train(data, progress)
        return self.target

    def _described(self) -> str:
        options, edges = self.options, "x".join(map(str, self.grey.shape[1:]))
        spec = self.spec
        network = (
            f"{spec.architecture} on {spec.encoder}"
            if isinstance(spec, UNetSpec)
            else f"a three-dimensional U-Net of widths {', '.join(map(str, spec.widths))}"
        )
        first = f" from {Path(self.first.path).name}" if self.first else ""
        return (
            f"trains {network}{first} for {', '.join(self.spec.classes)} on "
            f"{len(self.numbers)} slices of {edges}, up to {options.epochs} epochs of {options.steps} batches of "
            f"{options.batch} crops of {options.crop} pixels, into {self.target}"
        )

    def _data(self) -> Slices | Stack:
        """Read the slices and their classes from the store."""
        if not isinstance(self.spec, UNetSpec):
            return self._stack()
        images = read_images(self.sample, self.grey, self.numbers, self.spec.context)
        truth = _indices(
            _read_slices(self.sample, self.labelled, self.numbers),
            _classes(self.grey, self.labelled),
        )
        return prepare(images, truth, self.spec, self._scale(), self.numbers)[0]

    def _stack(self) -> Stack:
        """Read all slices from the first to the last; those left out have no label."""
        first, last = min(self.numbers), max(self.numbers)
        every = list(range(first, last + 1))
        codes = _read_slices(self.sample, self.labelled, every)
        truth = _indices(codes, _classes(self.grey, self.labelled))
        truth[np.setdiff1d(np.arange(len(every)), np.asarray(self.numbers) - first)] = UNLABELLED
        images = _read_slices(self.sample, self.grey, every)
        return prepare_stack(images, truth, len(self.spec.classes), self._scale(), first)

    def _cost(self) -> str:
        """Memory and time of a network of slices; refuses one that cannot segment them, or does not fit."""
        if (
            not isinstance(self.spec, UNetSpec) or is_forecasting()
        ):  # a recipe is planned without torch
            return ""
        held = _bytes(self.numbers, self.grey, self.spec)
        return f"; {cost(self.spec, self.options, self.grey.shape, len(self.numbers), held).text()}"

    def _scale(self) -> checkpoint.Normalisation:
        return normalisation_of(self.sample, self.grey, self.normalisation)

    def _is_trained(self, data_sha256: str) -> bool:
        """Whether the file already holds this training; refuse another one."""
        if not self.target.exists():
            return False
        from tim3d.models.segmentation.training import (
            deciding,  # torch takes seconds to load, and not every plan needs it
        )

        about = checkpoint.describe(self.target)
        asked = {"options": deciding(self.options), "data_sha256": data_sha256}
        now: dict[str, Any] = json.loads(json.dumps(asked | first_key(first_record(self.first))))
        before = {key: about.training.get(key) for key in asked} | first_key(about.training)
        if about.spec == self.spec and before == now and about.spacing_nm == self.grey.spacing_nm:
            return True
        raise MixedRunError(
            f"{self.target} holds another training. Replace it with --overwrite, or write to another file"
        )

    def _train(self, data: Slices | Stack, progress: bool) -> None:
        # torch takes seconds to load, and a plan does not need it
        from tim3d.models.segmentation.training import UNetTraining
        from tim3d.models.segmentation.training_3d import UNet3DTraining
        from tim3d.stages.shared.training import bar, writing_alone

        shared = (self.options, self._scale(), self.grey.spacing_nm)
        training: UNetTraining = (
            UNet3DTraining(data, self.spec, *shared)
            if isinstance(data, Stack) and isinstance(self.spec, UNet3DSpec)
            else UNetTraining(data, self.spec, *shared, self.first)  # type: ignore[arg-type]
        )
        if isinstance(self.spec, UNetSpec):
            check_cost(self.spec, self.options, _bytes(self.numbers, self.grey, self.spec))
        if self.first:
            log.info("%s", self.first)
        state = Path(f"{self.target}.state")
        with (
            writing_alone(self.target, state, self.overwrite),
            bar(training.schedule, progress, ("loss", "val_iou")) as show,
        ):
            run = training.carry_out(self.target, show)
        if run.place.rank == 0:
            text = "trained %d epochs, best validation IoU %.4f in epoch %d"
            log.info(text, run.done, run.best["val_iou"], run.best["epoch"])


def _refuse_of_slices(given: Mapping[str, Any]) -> None:
    """Refuse options of networks of slices: they would have no effect."""
    known = inspect.signature(train).parameters
    for name, value in given.items():
        if value != known[name].default:
            raise ArgumentError(
                f"--{name} changes nothing with --dimensions 3: leave it out. The network is a U-Net of plain "
                "convolutions, and sees the slices before and after"
            )


def _spec_3d(
    classes: tuple[str, ...],
    grey: Field,
    depth: int,
    widths: tuple[int, ...],
    norm: Literal["batch", "instance"],
) -> UNet3DSpec:
    """Network of volumes whose levels are halved as the edges of the voxels ask."""
    if depth < 1 or len(widths) != depth:
        raise ArgumentError(f"depth {depth} needs {depth} decoder_channels, not {widths}")
    rising = (*reversed(widths), 2 * widths[0])
    return UNet3DSpec(classes, steps_for(grey.spacing_nm, depth), rising, norm)


def _widths(depth: int) -> tuple[int, ...]:
    return tuple(8 * 2**n for n in reversed(range(depth)))


def _square_pixels(grey: Field) -> bool:
    return math.isclose(grey.spacing_nm[1], grey.spacing_nm[2], rel_tol=1e-3)


def _classes(grey: Field, labelled: Field) -> dict[str, int]:
    """Code of each class to learn."""
    if grey.labels or labelled.phases is None:
        raise ArgumentError(
            f"train needs a grey field and a label field, not {grey.name!r} and {labelled.name!r}"
        )
    if grey.shape != labelled.shape:
        raise ArgumentError(other_stack(grey.name, grey.shape, labelled.name, labelled.shape))
    return _learnt(labelled.phases)


def _learnt(phases: Phases) -> dict[str, int]:
    return {name: code for name, code in phases.items() if name != NO_TRUTH}


def _check_numbers(numbers: list[int], grey: Field, spec: NetworkSpec) -> None:
    if len(numbers) < 2:
        raise ArgumentError(
            f"{len(numbers)} slices are left to train on; choose two or more: --slices 0:{grey.shape[0]}"
        )
    need = _bytes(numbers, grey, spec)
    free = available_memory()
    if need > free:
        thinner = math.ceil(need / free)
        raise MemoryPlanError(
            f"train needs {need / 2**30:.1f} GiB for {len(numbers)} slices, and {free / 2**30:.1f} GiB are free. "
            f"Use fewer slices: {_fewer(numbers, spec, thinner)}"
        )


def _bytes(numbers: list[int], grey: Field, spec: NetworkSpec) -> int:
    """Slices with their neighbours and their labels, twice: a copy is made to check and hash them."""
    plane = grey.shape[1] * grey.shape[2]
    if isinstance(spec, UNetSpec):
        return 2 * len(numbers) * plane * (spec.in_channels * grey.voxel_bytes + 1)
    return 2 * (numbers[-1] - numbers[0] + 1) * plane * (grey.voxel_bytes + 1)


def _fewer(numbers: list[int], spec: NetworkSpec, thinner: int) -> str:
    """Option that leaves a share of the slices: of boxes all in between are read."""
    if isinstance(spec, UNetSpec):
        return f"--every {thinner}"
    return f"--slices {numbers[0]}:{numbers[0] + max(2, len(numbers) // thinner)}"


def read_images(sample: str, grey: Field, numbers: list[int], context: int) -> np.ndarray:
    """Grey values (n, channels, y, x): slices with neighbours, mirrored at the volume's ends."""
    around = reflect(np.asarray(numbers)[:, None] + np.arange(-context, context + 1), grey.shape[0])
    needed = sorted(set(around.ravel().tolist()))
    planes = _read_slices(sample, grey, needed)
    return np.asarray(planes[np.searchsorted(needed, around)])


def _read_slices(sample: str, field: Field, numbers: Sequence[int]) -> np.ndarray:
    """Read slices by number, each shard once."""
    array, out = (
        store.field_array(sample, field.name),
        np.empty((len(numbers), *field.shape[1:]), field.dtype),
    )
    chosen = np.asarray(numbers)
    for start in range(0, field.shape[0], field.shard[0]):
        rows = np.flatnonzero((chosen >= start) & (chosen < start + field.shard[0]))
        if rows.size:
            low, high = int(chosen[rows].min()), int(chosen[rows].max()) + 1
            run = store.read_box(array, Box((low, 0, 0), (high, *field.shape[1:])))
            out[rows] = run[chosen[rows] - low]
    return out


def _indices(labels: np.ndarray, classes: dict[str, int]) -> np.ndarray:
    """Index of the class of each label; all other labels become unlabelled."""
    table = np.full(256, UNLABELLED, np.uint8)
    for place, code in enumerate(classes.values()):
        table[code] = place
    return np.asarray(table[labels])
