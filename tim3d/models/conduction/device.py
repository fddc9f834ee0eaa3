"""Torch device that runs the conduction stencils on tensors, in place of numba's threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from tim3d.models.common.device import named_device
from tim3d.models.conduction import stencil


class Device:
    """Torch device that processes the planes of a volume, in place of the threads of a `Team`.

    Parameters
    ----------
    device : str
        "cpu", "cuda" or "cuda:1".
    fused : bool
        Let torch.compile fuse the operations of each formula: slow at first, then fewer passes over
        memory. Results agree to rounding. Needs a compiler: Triton on CUDA.

    Raises
    ------
    DeviceError
        If the device does not exist.

    Examples
    --------
    >>> device = Device("cpu")
    >>> x, y = device.zeros((3, 3, 3), np.float32), device.from_numpy(np.ones((3, 3, 3), np.float32))
    >>> device.run(stencil.add_scaled, range(1, 2), 1, x, 0.5, y)
    >>> float(device.to_numpy(x).sum())
    0.5
    """

    kernels = stencil

    def __init__(self, device: str = "cpu", *, fused: bool = False) -> None:
        self.device = named_device(device)
        self.fused = fused

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def zeros(self, shape: Sequence[int], dtype: DTypeLike) -> Tensor:
        """Allocate a tensor of zeros; `dtype` is numpy's."""
        return torch.zeros(tuple(shape), dtype=_torch_type(dtype), device=self.device)

    def from_numpy(self, array: NDArray[Any]) -> Tensor:
        """Copy an array to the device."""
        host = torch.empty(array.shape, dtype=_torch_type(array.dtype))
        host.numpy()[...] = array
        return host.to(self.device)

    def to_numpy(self, array: Tensor) -> NDArray[Any]:
        """Convert to a numpy array, which on the CPU shares the memory of the tensor."""
        values: NDArray[Any] = array.cpu().numpy()
        return values

    def run(self, kernel: Callable[..., None], planes: range, voxels: int, *arguments: Any) -> None:
        """Call the kernel on all planes; return when the work is queued, not when it is done."""
        before = stencil.fusing.set(self.fused)
        try:
            kernel(planes.start, planes.stop, *arguments)
        finally:
            stencil.fusing.reset(before)


def _torch_type(dtype: DTypeLike) -> torch.dtype:
    return torch.from_numpy(np.zeros(0, dtype)).dtype
