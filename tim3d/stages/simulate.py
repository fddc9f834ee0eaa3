"""A FIB-SEM stack of a sintered porous solid whose truth is known, as files that a microscope could have written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tifffile
from tqdm import tqdm

from tim3d import schema
from tim3d.errors import ArgumentError
from tim3d.files import writing
from tim3d.grid import Triple
from tim3d.kernels.fields import LevelCut
from tim3d.kernels.imaging import Microscope, SimulatedStack

# A run of slices that is imaged together: the structure behind the last one is computed once per run.
RUN_OF_SLICES = 16


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
    same simulation already is left as it is.

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
        If a number is out of range.
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
    mark = target / "simulation.txt"
    if mark.is_file() and mark.read_text().strip() == recipe:
        return target / "slices"
    if target.is_dir() and any(target.iterdir()) and not mark.is_file():
        raise ArgumentError(f"{target} holds other files; give the name of a new folder")
    with writing(str(target)):
        _write_slices(stack, target, progress)
        mark.write_text(recipe + "\n")
    return target / "slices"


def _write_slices(stack: SimulatedStack, target: Path, progress: bool) -> None:
    for name in ("slices", "truth"):
        (target / name).mkdir(parents=True, exist_ok=True)
    starts = range(0, stack.shape[0], RUN_OF_SLICES)
    for start in tqdm(starts, desc="simulate", unit="run", disable=not progress, leave=False):
        grey, truth = stack.slices(start, min(start + RUN_OF_SLICES, stack.shape[0]))
        for z, (picture, labels) in enumerate(zip(grey, truth, strict=True), start):
            _write_slice(target / "slices" / f"slice_{z:05d}.tif", picture, stack.spacing_nm)
            _write_slice(target / "truth" / f"truth_{z:05d}.tif", labels, stack.spacing_nm)


def _write_slice(path: Path, picture: np.ndarray, spacing_nm: tuple[float, float, float]) -> None:
    """A TIFF with the pixel size where ImageJ keeps it; the distance of the slices is not in such files."""
    per_micrometre = (1000 / spacing_nm[2], 1000 / spacing_nm[1])
    tifffile.imwrite(path, picture, imagej=True, resolution=per_micrometre, metadata={"unit": "um", "axes": "YX"})
