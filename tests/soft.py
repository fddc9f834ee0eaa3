"""A segmenter with probabilities in float32, for the tests of what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tim3d.models.segmentation.segmenter import EXACT, Segmenter


@dataclass(frozen=True)
class Soft(Segmenter):
    """Solid by a grey value, as sure as `sure` says; ``mean`` and ``width`` in grey values."""

    sure: float = 2.0
    mean: float = 128.0
    width: float = 20.0
    kind: ClassVar[str] = "soft"
    classes = ("pore", "solid")
    maps = (EXACT,)

    def open(self) -> Callable[..., Mapping[str, np.ndarray]]:
        """Nothing to load."""
        return self.look

    def look(self, grey: np.ndarray, place: object) -> Mapping[str, np.ndarray]:
        """Labels and probabilities of a box."""
        logit = self.sure * (grey.astype(np.float32) - self.mean) / self.width
        solid = (1 / (1 + np.exp(-np.clip(logit, -80, 80)))).astype(np.float32)
        return {
            "labels": (solid > 0.5).astype(np.uint8),
            "probability": np.stack([1 - solid, solid]),
        }
