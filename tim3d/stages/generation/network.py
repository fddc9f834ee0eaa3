"""A trained network as a generator, given by its path; torch is loaded when the file is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from tim3d.grid import Box, Triple
from tim3d.kernels.generation.generator import Generator


@dataclass(frozen=True, slots=True)
class Network(Generator):
    """A generator that computes a volume from noise with a trained network.

    The file determines phases, voxel size and architecture, and so whether the volume holds
    labels, grey values or colours.

    Parameters
    ----------
    weights : path
        File written by ``tim3d train-generator`` or ``tim3d import-generator``.
    seed : int
        0 to 2^64 - 1.
    tile : int, optional
        Edge in voxels of the box that is computed at a time (default about 128, on CUDA 256). The
        result depends on it.
    precision : {"float32", "bfloat16", "float16"}
        Precision of the arithmetic; float16 on CUDA only.
    device : str
        "auto", "cpu", "cuda" or "cuda:1".
    periodic : bool
        Whether the volume is periodic.
    """

    kind: ClassVar[str] = "network"
    needs_torch: ClassVar[bool] = True

    weights: str | Path
    seed: int = 0
    tile: int | None = None
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = "auto"
    periodic: bool = False

    @property
    def reads(self) -> str:
        """Path of the weights."""
        return str(self.weights)

    def of_shape(self, shape: Triple) -> Generator:
        """Read the file and return the network for a volume of this shape.

        Raises
        ------
        CheckpointError
            If the file is not a generator.
        ArgumentError
            If an argument does not fit the network.
        DeviceError
            If the device is not available.
        """
        from tim3d.stages.generation.network_generator import network_field

        return network_field(
            self.weights,
            shape,
            seed=self.seed,
            tile=self.tile,
            precision=self.precision,
            device=self.device,
            periodic=self.periodic,
        )

    def labels(self, box: Box) -> np.ndarray:
        """Labels of a box, as in any larger volume unless the network depends on the shape."""
        return self.of_shape(box.stop).labels(box)

    def block_bytes(self, core: Triple) -> int:
        """Bytes of all buffers while a block is computed."""
        return self.of_shape(core).block_bytes(core)
