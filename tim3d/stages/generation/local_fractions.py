"""Local fraction of the first phase of a material: counted, fitted, and given to the training of a network."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple, triple
from tim3d.kernels.generation.coarse_field import CoarseLaw
from tim3d.kernels.generation.local_means import LocalMeans, cells_of, counted, fitted_law
from tim3d.models.diffusion.examples import Voxels
from tim3d.stages.generation.diffusion_examples import Material

log = logging.getLogger(__name__)

# Voxels that are counted at a time, and independent windows below which the law is hardly known.
AT_ONCE, FEW = 2**24, 20


def with_local_fractions(material: Material, window_nm: float) -> Material:
    """A material whose crops come with the local fraction of its first phase, and the law of that.

    Parameters
    ----------
    material : Material
        One image or volume of two phases.
    window_nm : float
        Edge in nm of a box with the second moment of the Gaussian window.

    Raises
    ------
    ArgumentError
        If the material has not two phases, or has conditions, or the window is too small.
    InputError
        If the image or the volume is too small for the window, or the fraction the same everywhere.
    """
    if material.labels != 2:
        what = f"{material.labels} phases" if material.labels else "grey values"
        raise ArgumentError(
            f"--coarse-window is about the local fraction of the first of two phases, and these are {what}: "
            "leave it out"
        )
    if material.conditions:
        names = ", ".join(one.name for one in material.conditions)
        raise ArgumentError(
            f"--coarse-window is about one material that is the same along all axes, and there are conditions "
            f"({names}): leave it out, or give one image"
        )
    means = tuple(_means(one, material.spacing_nm, window_nm) for one in material.values)
    law = fitted_law(means)
    return replace(material, means=means, coarse=law)


def _means(values: Voxels, spacing_nm: tuple[float, float, float], window_nm: float) -> LocalMeans:
    shape = triple((*(1 for _ in range(3 - len(values.shape))), *values.shape))
    cell = cells_of(window_nm, shape, spacing_nm)
    if len(values.shape) == 2:
        image: npt.NDArray[np.uint8] = np.asarray(values)
        return LocalMeans(counted(image[None] == 0, cell), shape, cell, spacing_nm, window_nm)
    cells = [-(-n // edge) for n, edge in zip(shape, cell, strict=True)]
    counts = np.zeros(cells, np.int64)
    for box in _boxes(shape, cell):
        low = [a // edge for a, edge in zip(box.start, cell, strict=True)]
        found = counted(values[box.slices] == 0, cell)
        place = tuple(slice(a, a + n) for a, n in zip(low, found.shape, strict=True))
        counts[place] = found
    return LocalMeans(counts, shape, cell, spacing_nm, window_nm)


def _boxes(shape: Triple, cell: Triple) -> list[Box]:
    """Boxes of whole cells, of all columns and a bounded number of voxels."""
    thick = cell[0] * max(1, AT_ONCE // (cell[0] * shape[1] * shape[2]))
    rows = cell[1] * max(1, AT_ONCE // (thick * cell[1] * shape[2]))
    return [
        Box((z, y, 0), triple((min(z + thick, shape[0]), min(y + rows, shape[1]), shape[2])))
        for z in range(0, shape[0], thick)
        for y in range(0, shape[1], rows)
    ]


def law_text(law: CoarseLaw, phase: str) -> str:
    """Mean, deviations and length of a law, for a plan; warn where few windows decide it."""
    error = math.sqrt(2 / law.windows)
    if law.windows < FEW:
        log.warning(
            "the variance of the local fraction of %s follows from %.0f independent windows, to about %.0f %%: give a "
            "larger image, or a shorter --coarse-window",
            phase,
            law.windows,
            100 * error,
        )
    return (
        f"local fraction of {phase} in windows of {law.window_nm:g} nm: {law.mean:.3f}, standard deviation "
        f"{law.deviation:.3f} (to {50 * error:.0f} %), of which {math.sqrt(law.slow_variance):.3f} is slow, with a "
        f"correlation length of {law.correlation_nm:.4g} nm"
    )
