"""Copies between the host and a device, during which neither waits for the other."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray


def upload(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """Start a copy to a device; on the CPU, share the memory of the array.

    The copy is made from pinned memory: from any other the host would wait until the device has
    done all that was asked of it before. On a CUDA device the array may be changed at once.

    >>> import numpy as np
    >>> upload(np.arange(3), torch.device("cpu"))
    tensor([0, 1, 2])
    """
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
