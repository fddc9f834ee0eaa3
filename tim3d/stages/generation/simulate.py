"""Simulated FIB-SEM stack of a sintered porous solid with known truth, as files of a microscope."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from tim3d.engine.passes.plan import Outline, size_text
from tim3d.engine.passes.progress import progress_bar
from tim3d.errors import ArgumentError, MixedRunError
from tim3d.forecast import expect
from tim3d.grid import triple
from tim3d.kernels.generation.generator import refuse_longer
from tim3d.kernels.generation.plane_wave_field import LevelCut
from tim3d.kernels.image.fibsem_simulation import Microscope, SimulatedStack
from tim3d.sources import PlannedStack
from tim3d.sources.units import edges_given, refuse_mistyped
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import schema
from tim3d.storage.outputs import (
    make_folder,
    refuse_other_files,
    remove_abandoned,
    replacing,
)
from tim3d.storage.removal import remove_file
from tim3d.typed import Folder, Shape, VoxelSize

# Slices that are imaged together: the structure behind the last one is computed once per run.
RUN_OF_SLICES = 16
SIZE_NM = {"z": 20.0, "y": 10.0, "x": 10.0}
# Folder of each of the two stacks, and the prefix of its files.
STACKS = {"slices": "slice", "truth": "truth"}
# File that states which simulation a folder holds, and whether it is still incomplete.
MARK, UNFINISHED = "simulation.txt", " unfinished"


@Verb
def simulate(
    folder: Folder,
    *,
    shape: Shape = (96, 256, 256),
    voxel_size: VoxelSize | None = None,
    solid_fraction: float = 0.65,
    correlation_nm: float = 80.0,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = True,
) -> Task[Path]:
    """Write a simulated stack: ``folder/slices/*.tif`` in grey, ``folder/truth/*.tif`` with 0 pore and 1 solid.

    The structure is the level cut of a Gaussian random field, whose phase fraction, surface and
    curvature are known in closed form. The slices show shine-through, curtaining, noise and a drift
    of brightness. A folder that holds the same simulation already is left as it is; one that was
    interrupted is finished.

    Parameters
    ----------
    folder : path
        Folder for the slices and their truth. Made if it is not there.
    shape : (z, y, x)
        Number of slices, rows and columns.
    voxel_size : mapping of axis to nm
        Edges of a voxel in nm (default: 20,10,10).
    solid_fraction : float
        Expected share of solid.
    correlation_nm : float
        Length in nm over which the structure is correlated.
    seed : int
        Number from which all that is random follows. Same seed, same stack.
    overwrite : bool
        Write it again, in the place of a simulation that is there.
    progress : bool
        Show a progress bar on standard error.

    Returns
    -------
    Path
        The folder of the grey slices.

    Raises
    ------
    ArgumentError
        If a number is out of range, or the folder holds something else.
    MixedRunError
        If the folder holds another simulation.
    WriteError
        If the folder cannot be written.
    """
    given = edges_given(voxel_size)
    size = SIZE_NM | {axis: edge for axis, edge in given.items() if edge is not None}
    if sorted(size) != sorted(SIZE_NM):
        raise ArgumentError(
            f"a voxel has the edges z, y and x, got {given}; write --voxel-size 20,10,10"
        )
    refuse_mistyped(given)
    edges = (size["z"], size["y"], size["x"])
    refuse_longer(correlation_nm, triple(shape), edges, "a correlation length", "--correlation-nm")
    stack = SimulatedStack(
        triple(shape),
        edges,
        LevelCut(solid_fraction, correlation_nm, seed=seed),
        Microscope(seed=seed),
    )
    recipe = schema.fingerprint(
        shape=shape, size=size, solid=solid_fraction, correlation=correlation_nm, seed=seed
    )
    simulation = Simulation(stack, Path(folder), recipe, overwrite)
    return Task(simulation.plans, lambda: simulation.run(progress))


@dataclass(frozen=True)
class Simulation:
    """A stack and its folder; `recipe` is the hash of all that determines the voxels."""

    stack: SimulatedStack
    target: Path
    recipe: str
    overwrite: bool

    def plans(self) -> list[Outline]:
        """One line, or nothing if the stack exists; later steps may rely on the stack."""
        if self._is_there():
            return []
        z, y, x = self.stack.shape
        for name in STACKS:
            expect("stack", str(self.target / name), self._planned(name))
        size = size_text(2 * math.prod(self.stack.shape))
        return [
            Outline(
                "simulate",
                f"writes {z} slices of {y}x{x} and their truth into {self.target}, {size}",
            )
        ]

    def run(self, progress: bool) -> Path:
        """Write the missing slices, and last the mark that the stack is complete."""
        if not self._is_there():
            begun = self._marked() == self.recipe + UNFINISHED and not self.overwrite
            self._set_mark(self.recipe + UNFINISHED)
            if not begun:
                self._clear()
            self._write_slices(progress)
            self._set_mark(self.recipe)
        return self.target / "slices"

    def _marked(self) -> str:
        mark = self.target / MARK
        return mark.read_bytes().decode(errors="replace").strip() if mark.is_file() else ""

    def _set_mark(self, text: str) -> None:
        with replacing(self.target / MARK) as file:
            file.write(f"{text}\n".encode())

    def _is_there(self) -> bool:
        """Whether the folder holds this whole simulation; refuse another without `overwrite`."""
        marked = self._marked()
        if not marked:
            refuse_other_files(self.target, "slices")
        if self.overwrite or not marked:
            return False
        if marked.removesuffix(UNFINISHED) != self.recipe:
            raise MixedRunError(
                f"{self.target} holds another simulation. Write to another folder, or replace it: --overwrite"
            )
        return marked == self.recipe and all(
            (self.target / n / f).is_file() for n in STACKS for f in self._files(n)
        )

    def _files(self, name: str) -> list[str]:
        return [f"{STACKS[name]}_{z:05d}.tif" for z in range(self.stack.shape[0])]

    def _planned(self, name: str) -> PlannedStack:
        return PlannedStack(
            shape=self.stack.shape,
            dtype=np.dtype(np.uint8),
            voxel_size_nm=(None, *self.stack.spacing_nm[1:]),
            origin="the simulation",
            folder=str(self.target / name),
            names=tuple(self._files(name)),
        )

    def _clear(self) -> None:
        """Remove slices of an earlier (perhaps longer) simulation only, and follow no link."""
        for name, stem in STACKS.items():
            folder = self.target / name
            make_folder(folder)
            for old in folder.glob(f"{stem}_*.tif") if not folder.is_symlink() else ():
                if old.stem.removeprefix(f"{stem}_").isdigit():
                    remove_file(old)

    def _write_slices(self, progress: bool) -> None:
        for name in STACKS:
            remove_abandoned(self.target / name)
        files = list(
            zip(*([self.target / n / f for f in self._files(n)] for n in STACKS), strict=True)
        )
        starts = range(0, self.stack.shape[0], RUN_OF_SLICES)
        for start in progress_bar(starts, desc="simulate", unit="run", shown=progress):
            run = files[start : start + RUN_OF_SLICES]
            if all(path.is_file() for pair in run for path in pair):  # of a killed run
                continue
            for pair, pictures in zip(
                run, zip(*self.stack.slices(start, start + len(run)), strict=True), strict=True
            ):
                for path, picture in zip(pair, pictures, strict=True):
                    _write_slice(path, picture, self.stack.spacing_nm)


def _write_slice(path: Path, picture: np.ndarray, spacing_nm: tuple[float, float, float]) -> None:
    """Write a TIFF with the pixel size where ImageJ stores it; the slice distance is not stored."""
    per_micrometre = (1000 / spacing_nm[2], 1000 / spacing_nm[1])
    about = {"unit": "um", "axes": "YX"}
    with replacing(path, durable=False) as file:
        tifffile.imwrite(file, picture, imagej=True, resolution=per_micrometre, metadata=about)
