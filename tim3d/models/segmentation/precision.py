"""Half precision of a network: how it is switched on, and the test that it passes first."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from torch import nn

from tim3d.errors import ArgumentError
from tim3d.models.segmentation.families import NetworkSpec

log = logging.getLogger(__name__)

# Largest difference of a probability from that in fp32, on the test image: five of the 255 steps
# in which probabilities are kept.
BOUND = 0.02
# Least edge of the test image, in voxels.
EDGE = 64
_TYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def mixed(device: torch.device, precision: str) -> Any:
    """Context in which convolutions are computed in this precision; sums and norms stay in fp32."""
    return torch.autocast(
        device.type, dtype=_TYPES.get(precision, torch.bfloat16), enabled=precision in _TYPES
    )


def check_precision(
    model: nn.Module, spec: NetworkSpec, device: torch.device, precision: str
) -> None:
    """Refuse half precision with which a network gives other probabilities on this device.

    Libraries have had kernels that were wrong in one precision on one device without a word.

    Raises
    ------
    ArgumentError
        If a probability of the test image differs from that in fp32 by more than `BOUND`.
    """
    if precision not in _TYPES:
        return
    given = torch.from_numpy(trial_image(spec)).to(device)
    with torch.inference_mode():
        exact = model(given).softmax(dim=1)
        with mixed(device, precision):
            found = model(given)
        difference = float((found.float().softmax(dim=1) - exact).abs().max())
    if not difference <= BOUND:
        raise ArgumentError(
            f"{precision} changes probabilities of this network by up to {difference:.3g} on {device}, more than "
            f"{BOUND}: --precision fp32"
        )
    log.info("%s changes probabilities by up to %.2g on a test image", precision, difference)


def trial_image(spec: NetworkSpec) -> np.ndarray:
    """Two phases and noise, normalised, as a batch of one input of a network."""
    z, y, x = (stride * max(2, -(-EDGE // stride)) for stride in spec.strides)
    depth = 2 * spec.context + 1 if spec.dimensions == 2 else min(z, 4 * spec.strides[0])
    random = np.random.default_rng(0)
    waves = sum(
        np.cos(
            random.uniform(0, 7)
            + sum(k * n for k, n in zip(random.normal(0, 0.3, 3), at, strict=True))
        )
        for at in [np.indices((depth, y, x))] * 8
    )
    image = np.sign(waves) + 0.3 * random.standard_normal((depth, y, x))
    batch = image[None] if spec.dimensions == 2 else image[None, None]
    return np.asarray(batch, np.float32)
