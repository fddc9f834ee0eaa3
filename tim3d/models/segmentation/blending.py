"""Windows that overlap, averaged on the device where their probabilities are.

In the memory of the host, adding up the windows of a voxel takes one thread longer than a large GPU
needs to compute them.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import DTypeLike

from tim3d.grid import Box
from tim3d.kernels.windows.lattice import Array, Lattice
from tim3d.kernels.windows.stitching import HostMemory, Memory
from tim3d.models.common.transfer import upload

# Part of the free memory of a device that the sums of one block may take: another block has its own,
# and the layers of the network need the rest.
PART = 4


class DeviceMemory:
    """Memory of a torch device.

    >>> memory = DeviceMemory(torch.device("cpu"))
    >>> memory.from_numpy(np.ones(2, np.float32)) + memory.zeros((2,), np.float32)
    tensor([1., 1.])
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def zeros(self, shape: tuple[int, ...], dtype: DTypeLike) -> torch.Tensor:
        """Tensor of zeros; `dtype` is numpy's."""
        kind = torch.from_numpy(np.zeros(0, dtype)).dtype
        return torch.zeros(shape, dtype=kind, device=self.device)

    def from_numpy(self, array: Array) -> torch.Tensor:
        """Copy of an array, in float32 as all that is blended."""
        return upload(np.array(array, np.float32), self.device)


def memory_for(device: torch.device, lattice: Lattice, core: Box, channels: int) -> Memory:
    """Return where to put a core together: on a GPU for windows that overlap, if there is room.

    The sums, their weights and the class of highest probability take 4 (channels + 3) bytes a voxel.
    """
    if device.type != "cuda" or lattice.mode == "crop":
        return HostMemory()
    needed = 4 * (channels + 3) * math.prod(core.shape)
    free, _ = torch.cuda.mem_get_info(device)
    return DeviceMemory(device) if PART * needed <= free else HostMemory()


def likeliest(probabilities: torch.Tensor) -> torch.Tensor:
    """First class of the highest probability, uint8 (z, y, x), of (classes, z, y, x)."""
    labels = torch.zeros(probabilities.shape[1:], dtype=torch.uint8, device=probabilities.device)
    highest = probabilities[0].clone()
    for code in range(1, len(probabilities)):
        labels.masked_fill_(probabilities[code] > highest, code)
        torch.maximum(highest, probabilities[code], out=highest)
    return labels


def quantised(probabilities: torch.Tensor) -> torch.Tensor:
    """Probabilities as 0 to 255, uint8; averages may exceed 1 by rounding.

    >>> quantised(torch.tensor([0.0, 0.5, 1.0000001])).tolist()
    [0, 128, 255]
    """
    return (probabilities * 255).round_().clamp_(0, 255).to(torch.uint8)
