"""Trainings of translators on small slices whose structure and look are known."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from tim3d.models.translation.training import TranslatorOptions, TranslatorTraining

SMALL = TranslatorOptions(reach=2, channels=4, crop=32, batch=1, pool=2, learning_rate=2e-3)


@dataclass(frozen=True, eq=False)
class Held:
    """Slices in memory."""

    values: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.values.shape  # type: ignore[return-value]

    def key(self) -> str:
        return f"{float(self.values.sum(dtype=np.float64)):.17g}"

    def crop(self, z: int, y: int, x: int, size: int) -> np.ndarray:
        return np.asarray(self.values[z, y : y + size, x : x + size])


def structure(seed: int) -> np.ndarray:
    field = np.random.default_rng(seed).normal(size=(4, 96, 96))
    return (ndimage.gaussian_filter(field, (0, 5, 5), mode="wrap") > 0).astype(np.uint8)


def look(classes: np.ndarray, seed: int, levels: tuple[float, float], blur: float) -> np.ndarray:
    grey = ndimage.gaussian_filter(np.where(classes, *levels[::-1]).astype(float), (0, blur, blur))
    return grey + np.random.default_rng(seed).normal(0, 3, grey.shape)


def training(
    options: TranslatorOptions, levels: tuple[float, float], blur: float = 1.0
) -> TranslatorTraining:
    """Unpaired slices: rendered with levels 60 and 160, and real ones of other structures and another look."""
    classes = structure(0)
    real = look(structure(1), 3, levels, blur)
    return TranslatorTraining(
        Held(look(classes, 2, (60, 160), 1.0)), Held(classes), Held(real), ("pore", "solid"),
        (float(real.mean()), float(real.std())), options,
    )  # fmt: skip
