"""Selection of the best state by volumes of the averaged generator, from noise kept for this."""

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

# Nodes of the windows to judge, and of the windows for the statistics of normalisation.
JUDGED_NODES, STATISTICS_NODES = 8, 6
# Steps of a training count from 1; step 0 stands for random numbers that belong to none.
NO_STEP = 0
STATISTICS, JUDGED = 0, 1


@dataclass(frozen=True, slots=True)
class Judge:
    """Reference that a generator is compared with, always with the same noise.

    Parameters
    ----------
    target : Target or GreyTarget
        Statistics of an image, or of a part of it that is held out of the training.
    seed : int
        Seed of the training.
    volumes : int
        Number of volumes to generate.
    """

    target: Target | GreyTarget
    seed: int
    volumes: int = 8

    def errors(self, net: Generator) -> dict[str, float]:
        """Errors as in `Target.errors`; the generator must be in evaluation mode."""
        rng = np.random.default_rng([self.seed, NO_STEP, JUDGED])
        return self.target.errors(
            [voxels_of(net, rng, cube(JUDGED_NODES)) for _ in range(self.volumes)]
        )


def judged_voxels(net: Generator, seed: int) -> npt.NDArray[np.uint8]:
    """The first of the judged volumes, as `voxels_of` returns it."""
    return voxels_of(net, np.random.default_rng([seed, NO_STEP, JUDGED]), cube(JUDGED_NODES))


def judged_edge(architecture: Architecture) -> int:
    """Edge of the judged volumes in voxels."""
    return architecture.output_edge(JUDGED_NODES)


@torch.inference_mode()
def voxels_of(net: Generator, rng: np.random.Generator, nodes: Triple) -> npt.NDArray[np.uint8]:
    """Volume (z, y, x) of labels 0, 1, ... of the likeliest phases, or of grey values.

    Colours have shape (3, z, y, x).
    """
    logits = net(noise(net.architecture, 1, nodes, rng).to(next(net.parameters()).device))
    fields: npt.NDArray[np.uint8] = reduced(logits, net.architecture)[0].cpu().numpy()
    return fields if len(fields) > 1 else fields[0]


@torch.no_grad()
def calibrated(average: Generator, seed: int, batches: int = 4, batch: int = 4) -> Generator:
    """Return a copy in evaluation mode whose normalisation statistics fit its averaged weights.

    Averaging the weights yields no statistics, and the last step's belong to other weights.
    """
    net = copy.deepcopy(average).train()
    for norm in net.bns:
        norm.reset_running_stats()  # type: ignore[operator]
        norm.momentum = None  # type: ignore[assignment]  # a plain mean over the batches that follow
    rng, device = np.random.default_rng([seed, NO_STEP, STATISTICS]), next(net.parameters()).device
    for _ in range(batches):
        net(noise(net.architecture, batch, cube(STATISTICS_NODES), rng).to(device))
    return net.eval()


def cube(nodes: int) -> Triple:
    """The same number of nodes along every axis."""
    return nodes, nodes, nodes
