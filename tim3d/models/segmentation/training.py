"""Training of a network on labelled slices: seeded, and resumed exactly after any interruption.

What is random in epoch e is drawn from the seed and e alone, so the state of a training is its weights, its optimizer
and the number of its epoch. It is written after every epoch.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from tim3d.errors import ArgumentError, InputError, MixedRunError
from tim3d.kernels.statistics.metrics import confusion
from tim3d.kernels.windows.lattice import Array
from tim3d.models.common.determinism import cpu_threads, seeded
from tim3d.models.common.device import choose_device
from tim3d.models.segmentation.checkpoint import Checkpoint, Description, Normalisation, load, save
from tim3d.models.segmentation.crops import UNLABELLED, Slices, crop_edge, prepare, random_batches, split
from tim3d.models.segmentation.torchvision_shim import import_smp
from tim3d.models.segmentation.training_options import TrainingOptions as TrainingOptions
from tim3d.models.segmentation.unet import UNetSpec, build
from tim3d.storage import outputs
from tim3d.storage.removal import remove_file

Record = dict[str, float]

STATE = 2
# A state begins with this word and the SHA-256 of the rest: a pickle of tensors has no checksum that torch looks at.
_HEAD = b"tim3d state\n"
_DIGEST_BYTES = 32


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
    """Train a network and write its best epoch to a checkpoint; call it again after an interruption to go on.

    The loss is cross-entropy plus Dice (Milletari et al. 2016, doi:10.1109/3DV.2016.79) over the labelled pixels; the
    best epoch has the highest mean intersection over union of the validation slices. Beside the checkpoint lies a file
    `PATH.state` until the training is done. On a CPU, with the same number of threads, an interrupted training that is
    resumed ends with the same bytes as one that was not.

    Parameters
    ----------
    images : array (n, y, x) or (n, channels, y, x)
        Grey values. Of a stack of consecutive slices the neighbours that a 2.5-D network sees are taken from the stack.
    labels : array (n, y, x), uint8
        Class index of every pixel; 255 is unlabelled and neither trains nor counts.
    spec : UNetSpec
        The network.
    path : path
        Checkpoint to write.
    options : TrainingOptions, optional
        How to train.
    spacing_nm : (z, y, x)
        Voxel edges, kept in the checkpoint.
    normalisation : Normalisation, optional
        Of grey values; default is the mean and standard deviation of the images.
    numbers : sequence of int, optional
        Which slice of the volume each image is; needed if the normalisation is a table.
    on_epoch : callable, optional
        Called after every epoch with `epoch`, `loss`, `val_loss`, `val_iou` and `seconds`. The checkpoint keeps all
        but the seconds, under `training["history"]`, so that the same training gives the same file.

    Returns
    -------
    Checkpoint
        As `load` gives it.

    Raises
    ------
    InputError
        If images and labels do not match or hold nothing to learn.
    MixedRunError
        If the state beside the checkpoint belongs to another training.
    DeviceError
        If CUDA is asked for and not there.
    """
    options = options or TrainingOptions()
    slices, normalisation = prepare(images, labels, spec, normalisation, numbers)
    run = Run(slices, spec, options, Path(f"{path}.state"))
    with cpu_threads(options.threads):
        for record in run.epochs():
            if on_epoch:
                on_epoch(record)
    description = Description(spec, normalisation, spacing_nm, run.summary())
    run.net.load_state_dict(run.best)
    save(path, run.net, description)
    remove_file(run.state)
    return load(path)


def deciding(options: TrainingOptions) -> dict[str, Any]:
    """Options as a checkpoint records them: with the device that "auto" chooses here."""
    return asdict(options) | {"device": choose_device(options.device)}


class Run:
    """One training: the network, its optimizer, and how far they are."""

    def __init__(self, slices: Slices, spec: UNetSpec, options: TrainingOptions, state: Path) -> None:
        self.spec, self.options, self.state = spec, options, state
        self.data_sha256 = slices.sha256()
        self.training, held_out = split(slices, options.validation_fraction)
        self.validation = _thinned(held_out, options.validation_slices)
        self.held_out = len(held_out)
        self.edge = crop_edge(slices, options.crop, spec.total_stride)
        self.device = torch.device(choose_device(options.device))
        self.half = self.device.type == "cuda" and options.mixed_precision
        with seeded(options.seed, 0):
            self.net = build(spec).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=options.learning_rate)
        self.scaler = torch.amp.GradScaler(enabled=self.half)
        self.history: list[Record] = []
        self.best: dict[str, torch.Tensor] = {}
        self._resume()

    def epochs(self) -> Iterator[Record]:
        """Train until the end, one record for each epoch; the state is on disk before its record is given."""
        while not self._done():
            began = time.perf_counter()
            record = self._epoch(len(self.history) + 1)
            self.history.append(record)
            if self._best_epoch() == record["epoch"]:
                self.best = copy.deepcopy(self.net.state_dict())
            self._keep()
            yield {**record, "seconds": time.perf_counter() - began}

    def summary(self) -> dict[str, Any]:
        """What the checkpoint says about the training."""
        best = self.history[self._best_epoch() - 1]
        return {
            "seed": self.options.seed,
            "epochs": len(self.history),
            "steps": len(self.history) * self.options.steps,
            "best_epoch": int(best["epoch"]),
            "best_val_iou": best["val_iou"],
            "training_slices": len(self.training),
            "validation_slices": self.held_out,
            "data_sha256": self.data_sha256,
            "torch": torch.__version__,
            "device": self.device.type,
            "options": self.decided,
            "history": self.history,
        }

    def _done(self) -> bool:
        finished = len(self.history)
        stale = finished - self._best_epoch() if finished else 0
        return finished >= self.options.epochs or stale >= self.options.patience

    def _best_epoch(self) -> int:
        scores = [record["val_iou"] for record in self.history]
        return scores.index(max(scores)) + 1

    def _epoch(self, number: int) -> Record:
        options, losses = self.options, []
        rng = np.random.default_rng([options.seed, number])
        source = random_batches(self.training, self.edge, options.batch, options.steps, options.augmentation, rng)
        self.net.train()
        with seeded(options.seed, number):
            for step, (images, labels) in enumerate(source):
                self._set_rate((number - 1) * options.steps + step)
                losses.append(self._step(images, labels))
        if not np.isfinite(losses).all():
            raise ArgumentError(
                f"the loss of epoch {number} is no longer a number; use a learning rate below {options.learning_rate}"
            )
        return {"epoch": number, "loss": float(np.mean(losses)), **self._validate()}

    def _set_rate(self, step: int) -> None:
        done = step / (self.options.epochs * self.options.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))

    def _step(self, images: Array, labels: Array) -> float:
        self.optimizer.zero_grad()
        value = self._loss(images, labels)[0]
        self.scaler.scale(value).backward()  # type: ignore[no-untyped-call]
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return value.item()

    def _loss(self, images: Array, labels: Array) -> tuple[torch.Tensor, torch.Tensor]:
        x_ncyx = torch.from_numpy(images).to(self.device).contiguous(memory_format=torch.channels_last)
        y_nyx = torch.from_numpy(labels).to(self.device)
        with torch.autocast(self.device.type, dtype=torch.float16, enabled=self.half):
            logits_ncyx = self.net(x_ncyx)
        return loss(logits_ncyx.float(), y_nyx), logits_ncyx

    def _validate(self) -> Record:
        self.net.eval()
        classes, losses = len(self.spec.classes), []
        counts = np.zeros((classes, classes), np.int64)
        with torch.inference_mode():
            for number in range(len(self.validation)):
                image, labels = _padded(self.validation, number, self.spec.total_stride)
                value, logits_ncyx = self._loss(image[None], labels[None].astype(np.int64))
                losses.append(value.item())
                counts += confusion_matrix(logits_ncyx[0].argmax(0).cpu().numpy(), labels, classes)
        return {"val_loss": float(np.mean(losses)), "val_iou": mean_iou(counts)}

    @property
    def decided(self) -> dict[str, Any]:
        """The options that decide the weights, with the device that was chosen."""
        return deciding(self.options)

    def _key(self) -> str:
        """Hash of all that decides the weights."""
        parts = {"spec": asdict(self.spec), "options": self.decided, "data": self.data_sha256}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _keep(self) -> None:
        values = {
            "schema": STATE, "key": self._key(), "net": self.net.state_dict(), "best": self.best,
            "optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict(), "history": self.history,
        }  # fmt: skip
        buffer = io.BytesIO()
        torch.save(values, buffer)
        data = buffer.getvalue()
        outputs.write_file(self.state, _HEAD + hashlib.sha256(data).digest() + data, outputs.STATE)

    def _resume(self) -> None:
        if not self.state.is_file():
            return
        values = _read_state(self.state, self.device)
        if values.get("schema") != STATE or values.get("key") != self._key():
            raise MixedRunError(
                f"{self.state} belongs to a training with other data, network or options; "
                "start anew with --overwrite, or give the options of that training"
            )
        self.net.load_state_dict(values["net"])
        self.optimizer.load_state_dict(values["optimizer"])
        self.scaler.load_state_dict(values["scaler"])
        self.best, self.history = values["best"], values["history"]


def loss(logits_ncyx: torch.Tensor, labels_nyx: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus Dice loss over the labelled pixels; the cross-entropy is 0 where nothing is labelled."""
    count = (labels_nyx != UNLABELLED).sum().clamp(min=1)
    entropy = functional.cross_entropy(logits_ncyx, labels_nyx, ignore_index=UNLABELLED, reduction="sum") / count
    dice: torch.Tensor = import_smp().losses.DiceLoss("multiclass", ignore_index=UNLABELLED)(logits_ncyx, labels_nyx)
    return entropy + dice


def confusion_matrix(found: Array, truth: Array, classes: int) -> Array:
    """Pixels of each true class (row) found as each class (column); unlabelled pixels do not count.

    >>> confusion_matrix(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 255]), 2)
    array([[1, 1],
           [0, 1]])
    """
    known = truth != UNLABELLED
    return confusion(truth[known], found[known], classes)


def mean_iou(confusion: Array) -> float:
    """Mean over the classes of intersection / union; a class that is neither there nor found does not count.

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
    """A whole slice mirrored to a multiple of the stride, and labels that ignore what was added."""
    y, x = slices.labels.shape[1:]
    ys, xs = (np.arange(-(-n // total_stride) * total_stride) for n in (y, x))
    image, labels = slices.cut(number, ys, xs)
    labels[y:], labels[:, x:] = UNLABELLED, UNLABELLED
    return image, labels


def _read_state(path: Path, device: torch.device) -> dict[str, Any]:
    content = path.read_bytes()
    at = len(_HEAD)
    digest, data = content[at : at + _DIGEST_BYTES], content[at + _DIGEST_BYTES :]
    try:
        if not content.startswith(_HEAD) or hashlib.sha256(data).digest() != digest:
            raise ValueError("not the bytes that were written")
        values: dict[str, Any] = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
    except Exception as error:  # a pickle may raise anything
        raise InputError(
            f"{path} is damaged, or no state of a training, and cannot be gone on with. Start anew with --overwrite"
        ) from error
    return values
