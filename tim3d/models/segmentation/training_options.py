"""How a network is trained; known without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tim3d.errors import ArgumentError
from tim3d.models.segmentation.crops import Augmentation


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """How a network is trained; the defaults suit a small U-Net on two CPU cores.

    Parameters
    ----------
    epochs, steps : int
        Epochs at most, and batches in an epoch.
    batch, crop : int
        Crops in a batch, and their edge in pixels.
    learning_rate : float
        Of AdamW at the start; it falls to a hundredth along half a cosine.
    patience : int
        Training ends after this many epochs without a better validation.
    validation_fraction : float
        Share of the slices held out: the last ones, in one run.
    validation_slices : int
        Of these at most so many are looked at, evenly spaced.
    seed : int
        Of the first weights, the crops and their changes.
    device : {"auto", "cpu", "cuda"}
        "auto" is CUDA where it is.
    mixed_precision : bool
        fp16 on CUDA.
    threads : int
        CPU threads; 0 leaves torch its own number. Another number gives other bits.
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
