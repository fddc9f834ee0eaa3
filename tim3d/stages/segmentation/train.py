"""The verb `train`: training of a network on labelled slices, into a file of its own."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tim3d.engine import Outline
from tim3d.engine.clusters.memory import available_memory
from tim3d.errors import ArgumentError, MemoryPlanError
from tim3d.forecast import expect, expected, is_forecasting
from tim3d.models.segmentation import checkpoint
from tim3d.models.segmentation.crops import Augmentation, Slices, crop_in
from tim3d.models.segmentation.crops_3d import Stack, Stacks
from tim3d.models.segmentation.families import NetworkSpec
from tim3d.models.segmentation.first_weights import FirstWeights
from tim3d.models.segmentation.training_options import TrainingOptions
from tim3d.models.segmentation.training_record import recorded
from tim3d.models.segmentation.unet import UNetSpec
from tim3d.models.segmentation.unet_3d import UNet3DSpec, steps_for
from tim3d.stages.segmentation.chosen import compare_spacing
from tim3d.stages.segmentation.normalisation import check_normalisation
from tim3d.stages.segmentation.training_sources import (
    Asked,
    Source,
    bytes_of,
    folded,
    records,
    slices_of,
    stacks_of,
)
from tim3d.stages.shared.first_network import Words, described, network, refuse_itself
from tim3d.stages.shared.network_training import NetworkTraining
from tim3d.stages.shared.training_plan import check_cost, cost
from tim3d.stages.shared.training_words import in_order, recorded_changes, recorded_losses
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import outputs
from tim3d.storage.schema import Field
from tim3d.typed import Channels, ClassWeights, CropChanges, Losses, SampleSlices, SliceRange

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
    also: SampleSlices | None = None,
    validate: SampleSlices | None = None,
    folds: int = 0,
    dimensions: Literal[2, 3] = 2,
    architecture: str = "Unet",
    encoder: str = "resnet18",
    depth: int = 3,
    decoder_channels: Channels | None = None,
    context: int = 0,
    norm: Literal["batch", "instance"] = "batch",
    dropout: float = 0.0,
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
    """Train a U-Net on a grey field and its labels, and write it to `model`.

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
    also : mapping of str to slice, optional
        Further samples to learn from, each with its slices, as b.zarr=0:40,c.zarr. Planes may have
        other sizes; each is normalised as its own sample.
    validate : mapping of str to slice, optional
        Slices that are not learnt from, and by which epochs are judged: of the sample itself as
        60:80, of others as b.zarr=0:20 (default: the last ones, see validation_fraction).
    folds : int
        Networks that are trained beside, each without one run of the slices, by which it is judged
        (default: none). They are MODEL_fold_1_of_K and so on, an ensemble for `segment`.
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
    dropout : float
        Share of the deepest channels that are dropped at random, for segment --uncertainty dropout.
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
    asked = Asked(field, labels, slices, every, dict(also or {}), dict(validate or {}))
    sources = asked.sources(sample, validation_fraction)
    grey, classes = sources[0].grey, sources[0].classes
    given = tuple(decoder_channels) if decoder_channels else None
    words = Words(architecture, encoder, depth, given, context, norm, dropout)
    spec: NetworkSpec
    first: FirstWeights | None = None
    if dimensions == 3:
        _refuse_of_slices({
            "architecture": architecture, "encoder": encoder, "context": context, "augment": augment, "crops": crops,
            "encoder_weights": encoder_weights, "start_from": start_from, "encoder_rate": encoder_rate,
        })  # fmt: skip
        spec = _spec_3d(tuple(classes), grey, depth, given or _widths(depth), norm, dropout)
    elif dimensions == 2:
        spec, first = network(words, list(classes), encoder_weights, start_from)
        refuse_itself(target, start_from)
        if start_from:
            compare_spacing(described(start_from).spacing_nm, grey)
        largest = [max(one.grey.shape[axis] for one in sources) for axis in (1, 2)]
        crop = min(CROPS[2], *largest) if crop is None else crop
        crop_in(largest, crop, spec.total_stride)
    else:
        raise ArgumentError(f"--dimensions {dimensions}: a network sees 2 or 3")
    _check_sources(sources, spec)
    options = TrainingOptions(
        epochs, steps, batch, CROPS[dimensions] if crop is None else crop, learning_rate, patience, validation_fraction,
        seed=seed, device=device, loss=recorded_losses(loss), class_weights=in_order(class_weights, spec.classes),
        augmentation=Augmentation(rotations=_square_pixels(grey), more=recorded_changes(augment)),
        schedule=schedule, crops=crops, encoder_rate=encoder_rate,
    )  # fmt: skip
    check_normalisation(normalisation)
    into = NetworkTraining(spec, options, target, overwrite, first)
    training = Training(sources, into, normalisation, tuple(folded(sources, folds)))
    return Task(training.plans, lambda: training.run(progress))


@dataclass(frozen=True)
class Training:
    """Slices to train on, the network and the file to write; and the slices of folds."""

    sources: tuple[Source, ...]
    into: NetworkTraining
    normalisation: str
    folds: tuple[tuple[Source, ...], ...] = ()

    def plans(self) -> list[Outline]:
        """One line, or nothing if the network exists; later steps may rely on the network."""
        into = self.into
        unread = [
            field.name
            for one in self.sources
            for field in (one.grey, one.labelled)
            if expected("field", f"{one.sample}/{field.name}")
        ]
        if not into.is_new and unread:
            kept = f"{into.target} is there; that it is the training asked for is checked when {unread[0]!r} is"
            return [Outline("train", kept)]
        if self._is_trained():
            return []
        how: Literal["volume", "table"] = "volume" if self.normalisation == "volume" else "table"
        unknown = checkpoint.Normalisation(how, (0.0,), (1.0,))
        for target in (into.target, *(one.into.target for one in self._each_fold())):
            expect(
                "network", str(target), checkpoint.Description(into.spec, unknown, self._spacing)
            )
        return [Outline("train", self._described() + self._cost())]

    def run(self, progress: bool) -> Path:
        """Train, unless the file holds this training; first the networks of the folds."""
        if not self._is_trained():
            # Before the slices of all are read: memory holds those of one training at a time.
            scores = [one.score(progress) for one in self._each_fold()]
            if scores:
                log.info("%s", _of_folds(scores))
            self._train(self._data(), progress, scores)
        return self.into.target

    def score(self, progress: bool) -> float:
        """Mean IoU of the slices that judge, of the best epoch."""
        return float(checkpoint.describe(self.run(progress)).training["best_val_iou"])

    def _each_fold(self) -> Iterator[Training]:
        """The training of each fold, into a file of its own."""
        target, count = self.into.target, len(self.folds)
        for number, sources in enumerate(self.folds, 1):
            own = target.with_stem(f"{target.stem}_fold_{number}_of_{count}")
            yield Training(sources, replace(self.into, target=own), self.normalisation)

    @property
    def _spacing(self) -> tuple[float, float, float]:
        return self.sources[0].grey.spacing_nm

    def _described(self) -> str:
        into, spec, options = self.into, self.into.spec, self.into.options
        edges = "x".join(map(str, self.sources[0].grey.shape[1:]))
        network = (
            f"{spec.architecture} on {spec.encoder}"
            if isinstance(spec, UNetSpec)
            else f"a three-dimensional U-Net of widths {', '.join(map(str, spec.widths))}"
        )
        first = f" from {Path(into.first.path).name}" if into.first else ""
        samples = f" of {len(self.sources)} samples" if len(self.sources) > 1 else ""
        judging = sum(len(one.judging) for one in self.sources)
        judged = f", judged by {judging} others" if judging else ""
        folds = f", after {len(self.folds)} networks of folds" if self.folds else ""
        return (
            f"trains {network}{first} for {', '.join(spec.classes)} on "
            f"{sum(len(one.learnt) for one in self.sources)} slices of {edges}{samples}{judged}, up to "
            f"{options.epochs} epochs of {options.steps} batches of "
            f"{options.batch} crops of {options.crop} pixels, into {into.target}{folds}"
        )

    def _data(self) -> Slices | Stack | Stacks:
        """Read the slices and their classes from the store."""
        spec = self.into.spec
        if isinstance(spec, UNetSpec):
            return slices_of(self.sources, spec, self.normalisation)
        return stacks_of(self.sources, spec, self.normalisation)

    def _cost(self) -> str:
        """Memory and time of a network of slices; refuses one that cannot segment them, or does not fit."""
        spec = self.into.spec
        if not isinstance(spec, UNetSpec) or is_forecasting():  # a recipe is planned without torch
            return ""
        count = sum(len(one.learnt) + len(one.judging) for one in self.sources)
        held, shape = bytes_of(self.sources, spec), self.sources[0].grey.shape
        each = "; each" if self.folds else ";"
        return f"{each} {cost(spec, self.into.options, shape, count, held).text()}"

    def _is_trained(self) -> bool:
        """Whether the file already holds this training; of a new one no slice is read."""
        return not self.into.is_new and self.into.is_trained(
            self._data().sha256(), self._spacing, len(self.folds)
        )

    def _train(self, data: Slices | Stack | Stacks, progress: bool, scores: list[float]) -> None:
        # torch takes seconds to load, and a plan does not need it
        from tim3d.models.segmentation.training import UNetTraining
        from tim3d.models.segmentation.training_3d import UNet3DTraining

        spec, options = self.into.spec, self.into.options
        about = recorded(records(self.sources, data, options.validation_fraction))
        if scores:
            about |= {"folds": len(scores), "fold_iou": scores}
        shared = (options, self.sources[0].scale(self.normalisation), self._spacing)
        if isinstance(data, Slices):
            assert isinstance(spec, UNetSpec)
            check_cost(spec, options, bytes_of(self.sources, spec))
            training = UNetTraining(data, spec, *shared, self.into.first, about)
        else:
            assert isinstance(spec, UNet3DSpec)
            training = UNet3DTraining(data, spec, *shared, None, about)
        self.into.carry_out(training, progress)


def _of_folds(scores: Sequence[float]) -> str:
    """Scores of folds in words.

    >>> _of_folds([0.8, 0.9])
    'mean IoU of 2 folds 0.850, standard deviation 0.071 (0.800, 0.900)'
    """
    each = ", ".join(f"{one:.3f}" for one in scores)
    mean, spread = np.mean(scores), np.std(scores, ddof=1)
    return f"mean IoU of {len(scores)} folds {mean:.3f}, standard deviation {spread:.3f} ({each})"


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
    dropout: float,
) -> UNet3DSpec:
    """Network of volumes whose levels are halved as the edges of the voxels ask."""
    if depth < 1 or len(widths) != depth:
        raise ArgumentError(f"depth {depth} needs {depth} decoder channels, not {widths}")
    rising = (*reversed(widths), 2 * widths[0])
    return UNet3DSpec(classes, steps_for(grey.spacing_nm, depth), rising, norm, dropout)


def _widths(depth: int) -> tuple[int, ...]:
    return tuple(8 * 2**n for n in reversed(range(depth)))


def _square_pixels(grey: Field) -> bool:
    return math.isclose(grey.spacing_nm[1], grey.spacing_nm[2], rel_tol=1e-3)


def _check_sources(sources: Sequence[Source], spec: NetworkSpec) -> None:
    """Refuse too few slices, or more than fit into memory."""
    learnt = sum(len(one.learnt) for one in sources)
    if learnt + any(one.judging for one in sources) < 2 or not learnt:
        raise ArgumentError(
            f"{learnt} slices are left to train on; choose two or more: --slices 0:{sources[0].grey.shape[0]}"
        )
    need, free = bytes_of(sources, spec), available_memory()
    if need > free:
        raise MemoryPlanError(
            f"train needs {need / 2**30:.1f} GiB for {learnt} slices, and {free / 2**30:.1f} GiB are free. "
            f"Use fewer slices: {_fewer(sources[0].learnt, spec, math.ceil(need / free))}"
        )


def _fewer(numbers: Sequence[int], spec: NetworkSpec, thinner: int) -> str:
    """Option that leaves a share of the slices: of boxes all in between are read."""
    if isinstance(spec, UNetSpec) or not numbers:
        return f"--every {thinner}"
    return f"--slices {numbers[0]}:{numbers[0] + max(2, len(numbers) // thinner)}"
