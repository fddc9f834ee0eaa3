"""Options of the training of a network, without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tim3d.errors import ArgumentError
from tim3d.models.segmentation.crops import Augmentation


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
        Initial learning rate of AdamW; it falls to a hundredth along half a cosine.
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

    def __post_init__(self) -> None:
        for name in ("epochs", "steps", "batch", "crop", "patience", "validation_slices"):
            if getattr(self, name) < 1:
                raise ArgumentError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if (
            not 0 < self.validation_fraction < 1
            or not self.learning_rate > 0
            or min(self.seed, self.threads) < 0
        ):
            raise ArgumentError(
                f"validation_fraction {self.validation_fraction} lies between 0 and 1, learning_rate "
                f"{self.learning_rate} above 0, seed {self.seed} and threads {self.threads} not below 0"
            )
