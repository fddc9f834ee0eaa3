"""The verb `train_images`: training of a network on single images and their masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from tim3d.engine import Outline
from tim3d.engine.clusters.memory import available_memory
from tim3d.engine.passes.plan import size_text
from tim3d.errors import ArgumentError, MemoryPlanError
from tim3d.forecast import expect
from tim3d.models.segmentation import checkpoint
from tim3d.models.segmentation.crops import (
    UNLABELLED,
    Augmentation,
    Slices,
    crop_in,
    together,
)
from tim3d.models.segmentation.training_options import TrainingOptions
from tim3d.models.segmentation.unet import UNetSpec
from tim3d.phases import Phases
from tim3d.stages.images.labelled import LabelledImage, LabelledImages, labelled_images
from tim3d.stages.shared.first_network import Words, network, refuse_itself
from tim3d.stages.shared.network_training import NetworkTraining
from tim3d.stages.shared.training_plan import check_cost
from tim3d.stages.shared.training_words import in_order, recorded_changes, recorded_losses
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import outputs
from tim3d.typed import ClassWeights, CropChanges, Folder, Losses, Names


@Verb
def train_images(
    folder: Folder,
    masks: Folder,
    model: str | Path,
    *,
    phases: Phases | None = None,
    names: str = "{name}",
    splits: str | Path | None = None,
    subset: str | None = None,
    validate: Names | None = None,
    pixel_size: float | None = None,
    architecture: str = "Unet",
    encoder: str = "resnet18",
    depth: int = 3,
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
    """Train a U-Net on single images and their masks of the same names, for segment-images.

    The images may have any sizes and depths; each is normalised by its own mean and deviation. The
    best epoch on the images that are left out is kept. An interrupted training resumes where it
    stopped; a finished one is not repeated. Pixels of a phase that is called ``unlabelled`` are
    ignored, so that masks may be strokes.

    Parameters
    ----------
    folder : path
        Folder of the images.
    masks : path
        Folder of the masks, one for each image.
    model : path
        File to write, for example unet.safetensors.
    phases : Phases, optional
        Names and values in the masks (default: as tim3d segment-images recorded them).
    names : str
        Name of the mask of the image {name}, without the suffix; or by the {number} at the
        end of its name, as truth_{number}.
    splits : path, optional
        File of lists of images, JSON or CSV (default: all images).
    subset : str, optional
        The list that is learnt from, as train or Super2/train (needed with splits).
    validate : sequence of str, optional
        Images that are not learnt from, and by which epochs are judged; with splits the name of one
        list (default: the last ones).
    pixel_size : float, optional
        Edge of a pixel in nm (default: from the metadata of the images).
    architecture : str
        Architecture of the network. See segmentation-models-pytorch.
    encoder : str
        Encoder of the network.
    depth : int
        Number of times that the encoder halves the resolution.
    epochs : int
        Most epochs.
    steps : int
        Batches in an epoch.
    batch : int
        Crops in a batch.
    crop : int, optional
        Edge of a training crop in pixels (default: 128, or the images where they are smaller).
    learning_rate : float
        Highest learning rate.
    patience : int
        Epochs without gain after which it stops.
    validation_fraction : float
        Share of the images, the last by name, that are left out if none are named.
    encoder_weights : path, optional
        Local file with weights of the encoder, as in `train`.
    start_from : path, optional
        Model of tim3d to go on from, as in `train`.
    loss : sequence of str, optional
        Losses that are added, as in `train` (default: cross-entropy,dice).
    class_weights : mapping of str to float, optional
        Weight of each class in the losses (default: all count alike).
    augment : sequence of str, optional
        Further random changes of crops, as in `train`; sem for all of them.
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
    ArgumentError
        If phases or numbers do not fit, or the size of a pixel is not known.
    CheckpointError
        If a file of weights holds code, or does not fit the network.
    InputError
        If an image has no mask or one of another size, a mask has values without a phase, a phase
        is not labelled, an image is to be learnt from and to judge, or all are smaller than the crop.
    MixedRunError
        If the file or the state beside it belongs to another training.
    MemoryPlanError
        If the images do not fit into memory.
    LockedError
        If another process trains into the same file.
    """
    target = outputs.check_target(model, outputs.WEIGHTS)
    images = labelled_images(folder, masks, phases, names, splits, subset, validate)
    if len(images.learnt) + len(images.judging) < 2:
        raise ArgumentError("one image is there: a network needs one more by which it is judged")
    if pixel_size is not None and not 0 < pixel_size < np.inf:
        raise ArgumentError(f"--pixel-size {pixel_size:g} is not a length in nm: --pixel-size 5")
    words = Words(architecture, encoder, depth)
    spec, first = network(words, images.classes, encoder_weights, start_from)
    refuse_itself(target, start_from)
    crop = min(128, *images.largest()) if crop is None else crop
    crop_in(images.largest(), crop, spec.total_stride)
    options = TrainingOptions(
        epochs, steps, batch, crop, learning_rate, patience, validation_fraction,
        validation_slices=max(16, len(images.judging)), seed=seed, device=device,
        augmentation=Augmentation(more=recorded_changes(augment)), loss=recorded_losses(loss),
        class_weights=in_order(class_weights, spec.classes), schedule=schedule, crops=crops, encoder_rate=encoder_rate,
    )  # fmt: skip
    into = NetworkTraining(spec, options, target, overwrite, first)
    training = ImagesTraining(images, spec, into, pixel_size)
    return Task(training.plans, lambda: training.run(progress))


@dataclass(frozen=True)
class ImagesTraining:
    """Images and their masks, the network to train and the file to write."""

    images: LabelledImages
    spec: UNetSpec
    into: NetworkTraining
    pixel_size: float | None

    def plans(self) -> list[Outline]:
        """One line, or nothing if the file holds this training."""
        self._refuse_beyond_memory()
        read = self._read()
        if self._is_trained(read):
            return []
        unknown = checkpoint.Normalisation("volume", (0.0,), (1.0,))
        about = checkpoint.Description(self.spec, unknown, self._spacing(read))
        expect("network", str(self.into.target), about)
        options, spec = self.into.options, self.spec
        text = (
            f"trains {spec.architecture} on {spec.encoder} for {', '.join(spec.classes)} on {len(read)} images, up to "
            f"{options.epochs} epochs of {options.steps} batches of {options.batch} crops of {options.crop} pixels, "
            f"into {self.into.target}"
        )
        return [Outline("train-images", text)]

    def run(self, progress: bool) -> Path:
        """Train, unless the file holds this training."""
        self._refuse_beyond_memory()
        read = self._read()
        if not self._is_trained(read):
            self._train(read, progress)
        return self.into.target

    def _read(self) -> list[LabelledImage]:
        """Images to learn from, then those that judge."""
        found = [self.images.read(name) for name in (*self.images.learnt, *self.images.judging)]
        classes = len(self.spec.classes)
        counts = {
            one.name: np.bincount(one.labels[one.labels != UNLABELLED], minlength=classes)
            for one in found
        }
        self.images.check_painted(counts)
        return found

    def _data(self, read: list[LabelledImage]) -> Slices:
        """All images in one array: smaller ones are mirrored at their ends, without a label there."""
        return together([_slice_of(one) for one in read], len(self.images.judging))

    def _spacing(self, read: list[LabelledImage]) -> tuple[float, float, float]:
        """Edges of a pixel, with the longer one for z, which single images do not have."""
        if self.pixel_size is not None:
            return (self.pixel_size,) * 3
        sizes = {one.pixel_nm for one in read}
        size = sizes.pop()
        if sizes or size is None:
            raise ArgumentError(
                "the images do not all state one size of a pixel: give it in nm, --pixel-size 5"
            )
        return (max(size), *size)

    def _is_trained(self, read: list[LabelledImage]) -> bool:
        return not self.into.is_new and self.into.is_trained(
            self._data(read).sha256(), self._spacing(read)
        )

    def _train(self, read: list[LabelledImage], progress: bool) -> None:
        from tim3d.models.segmentation.training import UNetTraining  # torch takes seconds to load

        scales = [one.scale for one in read]
        mean, std = (float(np.mean([getattr(s, n)[0] for s in scales])) for n in ("mean", "std"))
        usual = checkpoint.Normalisation("volume", (mean,), (std,))
        check_cost(self.spec, self.into.options, self._bytes())
        training = UNetTraining(
            self._data(read),
            self.spec,
            self.into.options,
            usual,
            self._spacing(read),
            self.into.first,
        )
        self.into.carry_out(training, progress)

    def _bytes(self) -> int:
        """Memory of the images, as they are read and as one array."""
        ny, nx = self.images.largest()
        return 2 * ny * nx * 3 * (len(self.images.learnt) + len(self.images.judging))

    def _refuse_beyond_memory(self) -> None:
        """Refuse images that do not fit into memory."""
        need = self._bytes()
        if need > (free := available_memory()):
            raise MemoryPlanError(
                f"train-images needs {size_text(need)}, and {size_text(free)} are free: every image takes as much as "
                "the largest. Cut the largest, or name fewer images (--splits)"
            )


def _slice_of(one: LabelledImage) -> Slices:
    """An image as the only one of its size."""
    mean, std = (np.array([[n[0]]], np.float32) for n in (one.scale.mean, one.scale.std))
    return Slices(one.grey[None, None], one.labels[None], mean, std)
