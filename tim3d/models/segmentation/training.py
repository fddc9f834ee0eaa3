"""Training of a U-Net on labelled slices, as a value; each step is an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from tim3d.kernels.statistics.metrics import confusion
from tim3d.kernels.windows.lattice import Array
from tim3d.models.common.device import choose_device
from tim3d.models.common.distributed import Place
from tim3d.models.common.training_run import (
    Record,
    Schedule,
    Stateful,
    TrainingRun,
    Verdict,
    carry_out,
)
from tim3d.models.common.transfer import upload
from tim3d.models.segmentation.checkpoint import Checkpoint, Description, Normalisation, load, save
from tim3d.models.segmentation.crops import (
    UNLABELLED,
    Slices,
    check_classes,
    crop_edge,
    prepare,
    random_batches,
    split,
)
from tim3d.models.segmentation.families import NetworkSpec, build
from tim3d.models.segmentation.first_weights import FirstWeights, first_key, first_record
from tim3d.models.segmentation.inference import LAYOUT
from tim3d.models.segmentation.losses import DEFAULT, losses_of, total
from tim3d.models.segmentation.network_spec import spec_values
from tim3d.models.segmentation.schedules import SCHEDULES
from tim3d.models.segmentation.training_options import TrainingOptions as TrainingOptions
from tim3d.models.segmentation.unet import UNetSpec
from tim3d.storage.removal import remove_file


def train(
    images: Array,
    labels: Array,
    spec: UNetSpec,
    path: str | Path,
    options: TrainingOptions | None = None,
    *,
    spacing_nm: tuple[float, float, float],
    normalisation: Normalisation | None = None,
    numbers: Sequence[int] | None = None,
    on_epoch: Callable[[Record], None] | None = None,
) -> Checkpoint:
    """Train a network and write its best epoch to a checkpoint.

    Called again after an interruption, it resumes.

    The loss is cross-entropy plus Dice (Milletari et al. 2016, doi:10.1109/3DV.2016.79) over the
    labelled pixels; the best epoch has the highest mean intersection over union of the validation
    slices. A file `PATH.state` lies beside the checkpoint until the training is done. On a CPU,
    with the same number of threads, a resumed training ends with the same bytes as an
    uninterrupted one.

    Parameters
    ----------
    images : array (n, y, x) or (n, channels, y, x)
        Grey values. For a 2.5-D network the neighbours of consecutive slices are taken from the
        stack.
    labels : array (n, y, x), uint8
        Class index of every pixel; 255 is unlabelled and neither trains nor counts.
    spec : UNetSpec
        The network.
    path : path
        Checkpoint to write.
    options : TrainingOptions, optional
        How to train.
    spacing_nm : (z, y, x)
        Voxel edges in nm, kept in the checkpoint.
    normalisation : Normalisation, optional
        Normalisation of grey values (default: mean and standard deviation of the images).
    numbers : sequence of int, optional
        Slice of the volume of each image; needed if the normalisation is a table.
    on_epoch : callable, optional
        Called after every epoch with `epoch`, `loss`, `val_loss` and `val_iou`, which the
        checkpoint keeps under `training["history"]`.

    Returns
    -------
    Checkpoint
        The checkpoint, as `load` returns it.

    Raises
    ------
    InputError
        If images and labels do not match or hold nothing to learn.
    MixedRunError
        If the state beside the checkpoint belongs to another training.
    DeviceError
        If CUDA is requested and not available.
    """
    options = options or TrainingOptions()
    slices, found = prepare(images, labels, spec, normalisation, numbers)
    training = UNetTraining(slices, spec, options, found, spacing_nm)
    training.carry_out(path, on_step=lambda run, _: on_epoch(run.history[-1]) if on_epoch else None)
    return load(path)


def deciding(options: TrainingOptions) -> dict[str, Any]:
    """Options as a checkpoint records them, with the device that "auto" selects here."""
    return options.recorded() | {"device": choose_device(options.device)}


@dataclass(frozen=True)
class UNetTraining:
    """A U-Net, its labelled slices and the options of its training.

    Parameters
    ----------
    slices : Slices
        Labelled slices from `prepare`.
    spec : UNetSpec
        The network.
    options : TrainingOptions
        Options of the training.
    normalisation : Normalisation
        Normalisation of the slices, which the checkpoint carries.
    spacing_nm : (z, y, x)
        Voxel edges in nm.
    first : FirstWeights, optional
        Weights that the network begins with (default: random ones).
    about : mapping
        What the checkpoint records beside it, such as where the slices are from.
    """

    slices: Slices
    spec: UNetSpec
    options: TrainingOptions
    normalisation: Normalisation
    spacing_nm: tuple[float, float, float]
    first: FirstWeights | None = None
    about: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def seed(self) -> int:
        """Seed of the first weights, the crops and their changes."""
        return self.options.seed

    @cached_property
    def data_sha256(self) -> str:
        """Hash of the slices."""
        return self.slices.sha256()

    @cached_property
    def parts(self) -> tuple[Slices, Slices]:
        """Slices to train on, and slices held out for validation."""
        return split(self.slices, self.options.validation_fraction)

    @property
    def schedule(self) -> Schedule:
        """Schedule of epochs, each of which is judged."""
        return Schedule(self.options.epochs, 1, patience=self.options.patience, unit="epoch")

    def key(self) -> dict[str, Any]:
        """All that determines the weights."""
        return {
            "spec": spec_values(self.spec),
            "options": deciding(self.options),
            "data": self.data_sha256,
            **first_key(first_record(self.first)),
        }

    def start(self, place: Place) -> UNetLearner:
        """Create the network and its optimiser on a device."""
        return UNetLearner(self, place)

    def save(self, path: Path, run: TrainingRun) -> None:
        """Write the checkpoint of the best epoch."""
        save(
            path,
            run.chosen(),
            Description(self.spec, self.normalisation, self.spacing_nm, self._summary(run)),
        )

    def carry_out(
        self,
        path: str | Path,
        on_step: Callable[[TrainingRun, Record], None] | None = None,
    ) -> TrainingRun:
        """Train to the last epoch, write the checkpoint, and then remove the state beside it."""
        state, options = f"{path}.state", self.options
        run = carry_out(
            self,
            path,
            self.schedule,
            state=state,
            device=options.device,
            threads=options.threads,
            on_step=on_step,
        )
        if run.place.rank == 0:
            remove_file(state)
        return run

    def _summary(self, run: TrainingRun) -> dict[str, Any]:
        seen, held_out = self._counts()
        return {
            "seed": self.seed,
            "epochs": run.done,
            "steps": run.done * self.options.steps,
            "best_epoch": int(run.best["epoch"]),
            "best_val_iou": run.best["val_iou"],
            "training_slices": seen,
            "validation_slices": held_out,
            "data_sha256": self.data_sha256,
            "torch": torch.__version__,
            "device": run.place.device.type,
            "options": deciding(self.options),
            "history": run.history,
            **first_record(self.first),
            **self.about,
        }

    def _counts(self) -> tuple[int, int]:
        """Number of slices to train on, and of those held out."""
        seen, held_out = self.parts
        return len(seen), len(held_out)


class Examples(Protocol):
    """Examples that a network learns from, and others that it is judged by."""

    def batches(
        self, options: TrainingOptions, rng: np.random.Generator
    ) -> Iterator[tuple[Array, Array]]:
        """Yield the random batches of an epoch: inputs float32 and labels int64."""

    def held_out(self) -> Iterator[tuple[Array, Array]]:
        """Yield inputs (channels, ...) and labels (...) that are not learnt from."""


class SliceExamples:
    """Crops of slices, and held-out slices."""

    def __init__(self, training: UNetTraining) -> None:
        self._stride = training.spec.total_stride
        self._seen, held_out = training.parts
        check_classes([self._seen.labels], training.spec.classes)
        self._pixel_nm = training.spacing_nm[1:]
        self._validation = _thinned(held_out, training.options.validation_slices)
        self._edge = crop_edge(training.slices, training.options.crop, self._stride)

    def batches(
        self, options: TrainingOptions, rng: np.random.Generator
    ) -> Iterator[tuple[Array, Array]]:
        """Yield random crops."""
        return random_batches(
            self._seen, self._edge, options.batch, options.steps, options.augmentation, rng,
            crops=options.crops, pixel_nm=self._pixel_nm,
        )  # fmt: skip

    def held_out(self) -> Iterator[tuple[Array, Array]]:
        """Yield slices, mirrored to a multiple of the stride of the network."""
        for number in range(len(self._validation)):
            yield _padded(self._validation, number, self._stride)


class UNetLearner:
    """A network, its optimiser and the scale of its losses."""

    def __init__(self, training: UNetTraining, place: Place) -> None:
        self._options, self._place = training.options, place
        self._spec: NetworkSpec = training.spec
        self._layout = LAYOUT[self._spec.dimensions]
        self._examples = self._examples_of(training)
        net: nn.Module = build(self._spec)
        if training.first:
            training.first.put_into(net)
        net = net.to(place.device, memory_format=self._layout)  # type: ignore[call-overload]
        # An encoder has deeper layers that the network does not use.
        self.product, self._shared = net, place.shared(net, has_unused=True)
        self._optimiser = torch.optim.AdamW(
            _groups(net, self._options.encoder_rate), lr=self._options.learning_rate
        )
        self._losses = losses_of(self._options.loss)
        weights = self._options.class_weights
        self._weights_c = torch.tensor(weights, device=place.device) if weights else None
        self._scaler = place.scaler("float16" if self._options.mixed_precision else "float32")

    def parts(self) -> dict[str, Stateful]:
        """Network, optimiser and scaler."""
        return {"net": self.product, "optimiser": self._optimiser, "scaler": self._scaler}

    def step(self, number: int, rng: np.random.Generator) -> Record:
        """Train an epoch on random crops."""
        options, losses = self._options, []
        self.product.train()
        for batch, (images, labels) in enumerate(self._examples.batches(options, rng)):
            self._set_rate((number - 1) * options.steps + batch)
            losses.append(self._descend(images, labels))
        # Read once for all batches: the host prepares the next one while the device computes.
        return {"loss": float(np.mean(torch.stack(losses).tolist()))}

    def judge(self) -> Verdict:
        """Loss and mean intersection over union of the held-out slices; highest mean is best."""
        self.product.eval()
        classes, losses = len(self._spec.classes), []
        counts = np.zeros((classes, classes), np.int64)
        with torch.inference_mode():
            for image, labels in self._examples.held_out():
                value, logits_ncyx = self._loss(
                    self.product, image[None], labels[None].astype(np.int64)
                )
                losses.append(value.item())
                counts += confusion_matrix(logits_ncyx[0].argmax(0).cpu().numpy(), labels, classes)
        iou = mean_iou(counts)
        return Verdict(-iou, {"val_loss": float(np.mean(losses)), "val_iou": iou})

    def _examples_of(self, training: UNetTraining) -> Examples:
        return SliceExamples(training)

    def _set_rate(self, batch: int) -> None:
        options = self._options
        done = batch / (options.epochs * options.steps)
        for group in self._optimiser.param_groups:
            share = SCHEDULES[options.schedule](done) * group.get("share", 1)
            group["lr"] = options.learning_rate * share

    def _descend(self, images: Array, labels: Array) -> torch.Tensor:
        self._optimiser.zero_grad()
        value = self._loss(self._shared, images, labels)[0]
        self._scaler.scale(value).backward()  # type: ignore[no-untyped-call]
        self._scaler.step(self._optimiser)
        self._scaler.update()
        return value.detach()

    def _loss(
        self, net: nn.Module, images: Array, labels: Array
    ) -> tuple[torch.Tensor, torch.Tensor]:
        device = self._place.device
        given = upload(images, device).contiguous(memory_format=self._layout)
        truth = upload(labels, device)
        with self._place.cast("float16" if self._options.mixed_precision else "float32"):
            logits = net(given)
        return total(self._losses, logits.float(), truth, self._weights_c), logits


def _groups(net: nn.Module, encoder_rate: float) -> Any:
    """Parameters for the optimiser; those of the encoder apart if they have a rate of their own."""
    if encoder_rate == 1:
        return net.parameters()
    encoder = {id(one) for one in net.get_submodule("encoder").parameters()}
    parts = {True: [one for one in net.parameters() if id(one) in encoder],
             False: [one for one in net.parameters() if id(one) not in encoder]}  # fmt: skip
    return [{"params": parts[True], "share": encoder_rate}, {"params": parts[False], "share": 1.0}]


def loss(logits_ncyx: torch.Tensor, labels_nyx: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus Dice loss over labelled pixels; the former is 0 if nothing is labelled."""
    return total(losses_of(DEFAULT), logits_ncyx, labels_nyx)


def confusion_matrix(found: Array, truth: Array, classes: int) -> Array:
    """Pixels of each true class (row) found as each class (column), unlabelled ones excluded.

    >>> confusion_matrix(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 255]), 2)
    array([[1, 1],
           [0, 1]])
    """
    known = truth != UNLABELLED
    return confusion(truth[known], found[known], classes)


def mean_iou(confusion: Array) -> float:
    """Mean of intersection / union over the classes that are present or predicted.

    >>> round(mean_iou(np.array([[1, 1], [0, 1]])), 3)
    0.5
    """
    hit = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - hit
    return float(np.mean(hit[union > 0] / union[union > 0]))


def _thinned(slices: Slices, count: int) -> Slices:
    """At most `count` of the slices that have labels, evenly spaced."""
    labelled = [i for i, labels in enumerate(slices.labels) if (labels != UNLABELLED).any()]
    places = np.linspace(0, len(labelled) - 1, min(count, len(labelled))).round().astype(int)
    return slices.part([labelled[place] for place in places])


def _padded(slices: Slices, number: int, total_stride: int) -> tuple[Array, Array]:
    """Slice mirrored to a multiple of the stride, and labels that leave the padding unlabelled."""
    y, x = slices.labels.shape[1:]
    ys, xs = (np.arange(-(-n // total_stride) * total_stride) for n in (y, x))
    image, labels = slices.cut(number, ys, xs)
    labels[y:], labels[:, x:] = UNLABELLED, UNLABELLED
    return image, labels
