"""Which state of a training is best: volumes of its averaged generator, from noise that training never draws."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from tim3d.grid import Triple
from tim3d.kernels.generation.architecture import Architecture
from tim3d.kernels.statistics.generator_score import Target
from tim3d.kernels.statistics.grey_statistics import GreyTarget
from tim3d.models.generation.slice_sampler import noise
from tim3d.models.generation.slicegan import Generator
from tim3d.models.generation.synthesis import reduced

# Nodes of the windows that are judged, and of those that give the statistics of normalisation.
JUDGED_NODES, STATISTICS_NODES = 8, 6
# Steps of a training count from 1; what belongs to none is drawn under 0.
NO_STEP = 0
STATISTICS, JUDGED = 0, 1


@dataclass(frozen=True, slots=True)
class Judge:
    """What a generator is held against, always with the same noise.

    Parameters
    ----------
    target : Target or GreyTarget
        From an image, or a part of it that is held out of the training.
    seed : int
        Of the training.
    volumes : int
        How many.
    """

    target: Target | GreyTarget
    seed: int
    volumes: int = 8

    def errors(self, net: Generator) -> dict[str, float]:
        """As `Target.errors`; the generator must be in evaluation mode."""
        rng = np.random.default_rng([self.seed, NO_STEP, JUDGED])
        return self.target.errors(
            [voxels_of(net, rng, cube(JUDGED_NODES)) for _ in range(self.volumes)]
        )


def judged_voxels(net: Generator, seed: int) -> npt.NDArray[np.uint8]:
    """The first of the volumes that are judged, as `voxels_of`."""
    return voxels_of(net, np.random.default_rng([seed, NO_STEP, JUDGED]), cube(JUDGED_NODES))


def judged_edge(architecture: Architecture) -> int:
    """Voxels along an edge of the volumes that are judged."""
    return architecture.output_edge(JUDGED_NODES)


@torch.inference_mode()
def voxels_of(net: Generator, rng: np.random.Generator, nodes: Triple) -> npt.NDArray[np.uint8]:
    """One volume (z, y, x): labels 0, 1, ... of the likeliest phases, or grey values; of colours (3, z, y, x)."""
    logits = net(noise(net.architecture, 1, nodes, rng).to(next(net.parameters()).device))
    fields: npt.NDArray[np.uint8] = reduced(logits, net.architecture)[0].cpu().numpy()
    return fields if len(fields) > 1 else fields[0]


@torch.no_grad()
def calibrated(average: Generator, seed: int, batches: int = 4, batch: int = 4) -> Generator:
    """A copy in evaluation mode whose normalisation has the statistics of its own weights.

    An average over steps has none of its own, and those of the last step are not its.
    """
    net = copy.deepcopy(average).train()
    for norm in net.bns:
        norm.reset_running_stats()  # type: ignore[operator]
        norm.momentum = None  # type: ignore[assignment]  # a plain mean over what follows
    rng, device = np.random.default_rng([seed, NO_STEP, STATISTICS]), next(net.parameters()).device
    for _ in range(batches):
        net(noise(net.architecture, batch, cube(STATISTICS_NODES), rng).to(device))
    return net.eval()


def cube(nodes: int) -> Triple:
    """As many nodes along every axis."""
    return nodes, nodes, nodes
