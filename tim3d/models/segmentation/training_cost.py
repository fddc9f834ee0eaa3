"""Cost of a training: its memory, computed, and its time, measured on steps of the very training."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from tim3d.models.common.determinism import cpu_threads, generator, seeded
from tim3d.models.common.device import choose_device
from tim3d.models.common.distributed import ALONE, Place
from tim3d.models.segmentation.checkpoint import Normalisation
from tim3d.models.segmentation.crops import Slices
from tim3d.models.segmentation.memory import counted_bytes
from tim3d.models.segmentation.network_check import on_meta
from tim3d.models.segmentation.training import UNetTraining
from tim3d.models.segmentation.training_options import TrainingOptions
from tim3d.models.segmentation.unet import UNetSpec

# Weights, their gradients and both moments of AdamW, in float32; the best weights so far.
COPIES = 5


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Seconds of a step of the training, and of the judgement of a megapixel."""

    step: float
    megapixel: float


def training_bytes(spec: UNetSpec, batch: int, edge: int) -> int:
    """Upper bound on the memory of a step beside the slices, in bytes.

    All layers' outputs are kept for the way back, and each of them has a gradient for a while.
    """
    weights = sum(p.numel() * 4 for p in on_meta(spec).parameters())
    return COPIES * weights + 2 * counted_bytes(spec, batch, (edge, edge))


def measured_times(spec: UNetSpec, options: TrainingOptions, edge: int) -> StepTimes:
    """Time a batch of crops of noise and a judgement, each after one that is not timed."""
    device = choose_device(options.device)
    place = ALONE if device == "cpu" else Place(torch.device(device))
    one = replace(options, steps=1, epochs=3)
    with cpu_threads(options.threads), seeded(0, 0, device=place.device):
        learner = UNetTraining(
            _noise(spec, edge), spec, one, Normalisation("volume", (0.0,), (1.0,)), (1.0, 1.0, 1.0)
        ).start(place)
        step = _second(lambda number: learner.step(number, generator(0, number)))
        judged = _second(lambda number: learner.judge())
    return StepTimes(step, judged / (edge**2 / 1e6))


def _second(call: object) -> float:
    spent = 0.0
    for number in (1, 2):
        start = time.perf_counter()
        call(number)  # type: ignore[operator]
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        spent = time.perf_counter() - start
    return spent


def _noise(spec: UNetSpec, edge: int) -> Slices:
    random, classes = np.random.default_rng(0), len(spec.classes)
    shape = (2, spec.in_channels, edge, edge)
    return Slices(
        random.integers(0, 255, shape, np.uint8),
        random.integers(0, classes, (2, edge, edge)).astype(np.uint8),
        np.full(shape[:2], 127, np.float32),
        np.full(shape[:2], 70, np.float32),
    )
