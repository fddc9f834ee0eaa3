"""A FIB-SEM stack of a sintered porous solid whose truth is known, as files that a microscope could have written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tifffile
from tqdm import tqdm

from tim3d import schema
from tim3d.errors import ArgumentError
from tim3d.grid import Triple
from tim3d.kernels.fields import LevelCut
from tim3d.kernels.imaging import Microscope, SimulatedStack
from tim3d.outputs import remove_abandoned, replacing

# A run of slices that is imaged together: the structure behind the last one is computed once per run.
RUN_OF_SLICES = 16
NAMES = ("slices/slice_{:05d}.tif", "truth/truth_{:05d}.tif")
# Says which simulation a folder holds, and while it is written that it is not whole.
MARK, UNFINISHED = "simulation.txt", "unfinished"


def simulate(
    folder: str | Path,
    *,
    shape: Triple = (96, 256, 256),
    voxel_size: Mapping[str, float] | None = None,
    solid_fraction: float = 0.65,
    correlation_nm: float = 80.0,
    seed: int = 0,
    progress: bool = True,
) -> Path:
    """Write a simulated stack: ``folder/slices/*.tif`` in grey, ``folder/truth/*.tif`` with 0 pore and 1 solid.

    The structure is the level cut of a Gaussian random field, whose phase fraction, surface and curvature are known in
    closed form. The slices show shine-through, curtaining, noise and a drift of brightness. A folder that holds the
    same simulation already is left as it is; one that was interrupted is finished.

    Parameters
    ----------
    shape : (z, y, x)
        Number of slices, rows and columns.
    voxel_size : mapping of axis to nm
        Default: z 20, y 10, x 10.
    solid_fraction : float
        Expected share of solid.
    correlation_nm : float
        Length over which the structure is correlated, in nm.
    seed : int
        Same seed, same stack.

    Returns
    -------
    Path
        The folder of the grey slices.

    Raises
    ------
    ArgumentError
        If a number is out of range, or the folder holds something else.
    WriteError
        If the folder cannot be written.
    """
    size = {"z": 20.0, "y": 10.0, "x": 10.0} | dict(voxel_size or {})
    stack = SimulatedStack(
        shape,
        (size["z"], size["y"], size["x"]),
        LevelCut(solid_fraction, correlation_nm, seed=seed),
        Microscope(seed=seed),
    )
    target = Path(folder)
    recipe = schema.fingerprint(shape=shape, size=size, solid=solid_fraction, correlation=correlation_nm, seed=seed)
    mark = target / MARK
    known = mark.read_bytes().decode(errors="replace") if mark.is_file() else ""
    if known == f"{recipe}\n":
        return target / "slices"
    if known != f"{recipe} {UNFINISHED}\n" and target.is_dir() and any(target.iterdir()):
        raise ArgumentError(f"{target} holds other files, or another simulation; give the name of a new folder")
    _mark(mark, f"{recipe} {UNFINISHED}\n")
    _write_slices(stack, target, progress)
    _mark(mark, f"{recipe}\n")
    return target / "slices"


def _mark(mark: Path, text: str) -> None:
    with replacing(mark) as file:
        file.write(text.encode())


def _write_slices(stack: SimulatedStack, target: Path, progress: bool) -> None:
    for name in NAMES:
        remove_abandoned((target / name).parent)
    starts = range(0, stack.shape[0], RUN_OF_SLICES)
    for start in tqdm(starts, desc="simulate", unit="run", disable=not progress, leave=False):
        stop = min(start + RUN_OF_SLICES, stack.shape[0])
        paths = [[target / name.format(z) for name in NAMES] for z in range(start, stop)]
        if all(path.is_file() for pair in paths for path in pair):  # of a run that was killed
            continue
        for pair, pictures in zip(paths, zip(*stack.slices(start, stop), strict=True), strict=True):
            for path, picture in zip(pair, pictures, strict=True):
                _write_slice(path, picture, stack.spacing_nm)


def _write_slice(path: Path, picture: np.ndarray, spacing_nm: tuple[float, float, float]) -> None:
    """A TIFF with the pixel size where ImageJ keeps it; the distance of the slices is not in such files."""
    per_micrometre = (1000 / spacing_nm[2], 1000 / spacing_nm[1])
    about = {"unit": "um", "axes": "YX"}
    with replacing(path, durable=False) as file:
        tifffile.imwrite(file, picture, imagej=True, resolution=per_micrometre, metadata=about)
