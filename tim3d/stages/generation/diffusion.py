"""Volumes by diffusion as a generator, given by the paths of networks; torch is loaded when they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple
from tim3d.kernels.generation.generator import Generator
from tim3d.kernels.generation.reverse_process import ReverseProcess, Sampler

# Steps and sampler by default, and of planes that are taken together.
STEPS: int = 16
SAMPLER: Sampler = "euler"
JOINT_STEPS: int = 32
JOINT_SAMPLER: Sampler = "ancestral"


@dataclass(frozen=True, eq=False)
class Diffusion(Generator):
    """A generator that turns noise into a volume by a network of diffusion, in passes.

    Parameters
    ----------
    weights : path, or three
        File of a network of volumes, or of sections; or three files, for the sections normal to z,
        y and x. A network of sections with the condition ``axis`` is given it.
    steps : int, optional
        Steps from noise to data (default: 32 with `planes` joint, otherwise 16).
    sampler : {"euler", "heun", "ancestral"}, optional
        Method of a step; heun evaluates the network twice (default: ancestral with `planes` joint,
        otherwise euler).
    planes : {"joint", "mean", "alternating"}, optional
        Of networks of sections: what the three planes of every voxel tell together in each step;
        the mean of their velocities; or one family of planes in each step by turns, at a third of
        the work (default: joint; mean of grey values, with a local fraction, and with the sampler
        heun).
    harmonise : int
        How often every step is done; between two of them noise takes the state back.
    conditions : mapping of name to number or class, optional
        Conditions of the network (default: none).
    fractions : mapping of name to float, optional
        Fractions of two phases, which are met to the voxel by a cut of the last state (default: the
        cut is at 0).
    seed : int
        0 to 2^64 - 1.
    tile : int, optional
        Edge in voxels of the box that is computed at a time (default about 128, or the volume). The
        last bits depend on it.
    stored : {"float32", "float16"}
        Type in which the states are stored meanwhile.
    device : str
        "auto", "cpu", "cuda" or "cuda:1".
    periodic : bool
        Whether the volume is periodic.
    target : mapping of name to float, optional
        Values that the volume is guided to (default: none): ``phase_fraction`` of the first phase,
        effective ``conductivity``.
    conductivity : mapping of name to float, optional
        Conductivity of both phases (needed by a target for it).
    axis : {"z", "y", "x"}, optional
        Axis along which a conductivity is meant (default: z).
    scatter : mapping of name to float, optional
        Natural scatter of the targets, their standard deviation between volumes of this size
        (default: from the octants of an unguided volume, which is made before).
    coarse : float, optional
        Factor of the standard deviation of the local fraction, of networks that are given it: 0 for
        the same fraction everywhere (default: 1, as it was measured).
    coarse_sample : path or URL, optional
        Sample with the local fraction of the first phase instead, float32 from 0 to 1 in voxels of any
        size, as large as the volume (default: it is drawn).
    coarse_field : str, optional
        Name of that field (default: raw).

    Raises
    ------
    ArgumentError
        If a number or a name is out of range.
    """

    kind: ClassVar[str] = "diffusion"
    needs_torch: ClassVar[bool] = True

    weights: str | Path | Sequence[str | Path]
    steps: int | None = None
    sampler: Sampler | None = None
    planes: Literal["joint", "mean", "alternating"] | None = None
    harmonise: int = 1
    conditions: Mapping[str, float | str] | None = None
    fractions: Mapping[str, float] | None = None
    seed: int = 0
    tile: int | None = None
    stored: Literal["float32", "float16"] = "float32"
    device: str = "auto"
    periodic: bool = False
    target: Mapping[str, float] | None = None
    conductivity: Mapping[str, float] | None = None
    axis: Literal["z", "y", "x"] | None = None
    scatter: Mapping[str, float] | None = None
    coarse: float | None = None
    coarse_sample: str | Path | None = None
    coarse_field: str | None = None

    def __post_init__(self) -> None:
        if len(self.paths) not in (1, 3):
            raise ArgumentError(
                f"{len(self.paths)} files: give one network, or three for the sections normal to z, y and x"
            )
        self.process(is_joint=False)  # refuses what is out of range

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the files."""
        given = self.weights
        return (str(given),) if isinstance(given, str | Path) else tuple(map(str, given))

    def process(self, *, is_joint: bool) -> ReverseProcess:
        """Steps from noise to data, of planes that are taken together or not."""
        steps, sampler = (JOINT_STEPS, JOINT_SAMPLER) if is_joint else (STEPS, SAMPLER)
        return ReverseProcess(
            steps if self.steps is None else self.steps, self.sampler or sampler, self.harmonise
        )

    @property
    def given(self) -> Mapping[str, float | str]:
        """Conditions by name."""
        return self.conditions or {}

    @property
    def reads(self) -> str:
        """Path of the first file."""
        return self.paths[0]

    def of_shape(self, shape: Triple) -> Generator:
        """Read the files and return the generator of a volume of this shape.

        Raises
        ------
        CheckpointError
            If a file is not a network of diffusion.
        ArgumentError
            If an argument does not fit the networks.
        DeviceError
            If the device is not available.
        """
        from tim3d.stages.generation.diffusion_generator import diffusion_field

        return diffusion_field(self, shape)

    def labels(self, box: Box) -> np.ndarray:
        """Labels of a box of the volume that ends with it."""
        return self.of_shape(box.stop).labels(box)

    def block_bytes(self, core: Triple) -> int:
        """Bytes of all buffers while a volume of this shape is computed in memory."""
        return self.of_shape(core).block_bytes(core)
