"""Options of the training of a network, without torch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from tim3d.errors import ArgumentError
from tim3d.models.segmentation.crops import Augmentation, Crops
from tim3d.models.segmentation.losses import DEFAULT, losses_of
from tim3d.models.segmentation.schedules import SCHEDULES

# Options that models of earlier versions do not record.
_LATER = ("loss", "class_weights", "schedule", "crops", "encoder_rate")


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """Options of a training; the defaults suit a small U-Net on two CPU cores.

    Parameters
    ----------
    epochs, steps : int
        Largest number of epochs, and batches in an epoch.
    batch, crop : int
        Crops in a batch, and their edge in pixels.
    learning_rate : float
        Highest learning rate of AdamW.
    patience : int
        Number of epochs without a better validation after which training ends.
    validation_fraction : float
        Share of the slices that is held out: the last ones, without gaps.
    validation_slices : int
        Largest number of held-out slices that are evaluated, evenly spaced.
    seed : int
        Seed of the first weights, the crops and their changes.
    device : {"auto", "cpu", "cuda"}
        "auto" is CUDA if it is available.
    mixed_precision : bool
        Whether to compute in fp16 on CUDA.
    threads : int
        CPU threads; 0 keeps the default of torch. Another number gives other bits.
    augmentation : Augmentation
        Random changes of the crops.
    loss : tuple of str
        Words of the losses that are added, see `tim3d.models.segmentation.losses`.
    class_weights : tuple of float
        Weight of each class in the losses; none: all count alike.
    schedule : {"cosine", "one-cycle", "constant"}
        Course of the learning rate, see `tim3d.models.segmentation.schedules`.
    crops : {"random", "balanced"}
        Whether crops lie anywhere, or around a pixel of a class, every class being drawn alike.
    encoder_rate : float
        Learning rate of the encoder, as a share of the others'.

    Raises
    ------
    ArgumentError
        If a number is out of range.
    """

    epochs: int = 12
    steps: int = 40
    batch: int = 4
    crop: int = 128
    learning_rate: float = 4e-3
    patience: int = 5
    validation_fraction: float = 0.2
    validation_slices: int = 16
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    mixed_precision: bool = True
    threads: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)
    loss: tuple[str, ...] = DEFAULT
    class_weights: tuple[float, ...] = ()
    schedule: str = "cosine"
    crops: Crops = "random"
    encoder_rate: float = 1.0

    def __post_init__(self) -> None:
        for name in ("epochs", "steps", "batch", "crop", "patience", "validation_slices"):
            if getattr(self, name) < 1:
                words = name.replace("_", " ")
                raise ArgumentError(f"{words}: {getattr(self, name)}; it must be 1 or more")
        if (
            not 0 < self.validation_fraction < 1
            or not 0 < self.learning_rate < math.inf
            or min(self.seed, self.threads) < 0
        ):
            raise ArgumentError(
                f"validation fraction {self.validation_fraction} lies between 0 and 1, learning rate "
                f"{self.learning_rate} is finite and above 0, seed {self.seed} and threads {self.threads} not below 0"
            )
        losses_of(self.loss)
        if not 0 < self.encoder_rate <= 1 or any(
            not 0 < weight < math.inf for weight in self.class_weights
        ):
            raise ArgumentError(
                f"encoder rate {self.encoder_rate} lies above 0 and up to 1, and class weights "
                f"{self.class_weights} are finite and above 0"
            )
        for name, known in (("schedule", SCHEDULES), ("crops", get_args(Crops))):
            if getattr(self, name) not in known:
                raise ArgumentError(f"{name} is {getattr(self, name)!r}; choose {', '.join(known)}")

    def recorded(self) -> dict[str, Any]:
        """All options, for JSON; those that earlier versions lack only where they are not defaults."""
        values, plain = asdict(self), {one.name: one.default for one in fields(self)}
        if not values["augmentation"]["more"]:
            del values["augmentation"]["more"]
        return {k: v for k, v in values.items() if k not in _LATER or v != plain[k]}
