"""A coupled descriptor of one's own: computed once from whole fields, kept, answered by describe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage as ndi

import tim3d
from tim3d.descriptors.base import Material, Variable
from tim3d.descriptors.coupled import coupled
from tim3d.errors import ArgumentError, MissingFieldError, MixedRunError


def largest_ball(labels: xr.DataArray, material: Material) -> dict[str, Any]:
    """Radius of the largest ball in each phase, which may lie across any blocks."""
    voxels = (
        labels.values
    )  # `labels` is lazy: what does not fit into memory goes through its dask chunks
    radii = [
        ndi.distance_transform_edt(voxels == code, material.spacing).max()
        for code in material.phases.codes
    ]
    return {"largest_ball": np.array(radii)}


BALL = Variable(
    "largest_ball",
    ("phase",),
    1,
    "radius of the largest ball in the phase",
    "distance transform",
    "none",
)
LARGEST_BALL = coupled("largest_ball", (BALL,), largest_ball)


def ingest(folder: Path, labels: np.ndarray) -> str:
    np.save(folder / "phase.npy", labels)
    url, size, phases = (
        str(folder / "a.zarr"),
        {"z": 10, "y": 5, "x": 5},
        tim3d.Phases(pore=0, solid=1),
    )
    how = tim3d.Options(progress=False, overwrite=True)
    tim3d.ingest(
        folder / "phase.npy", url, voxel_size=size, field="phase", phases=phases, options=how
    )
    return url


def test_a_quantity_of_the_whole_is_kept_and_described(tmp_path: Path) -> None:
    labels = np.zeros((9, 12, 12), np.uint8)
    labels[:, 4:9] = 1
    url, quiet = ingest(tmp_path, labels), tim3d.Options(progress=False)
    with pytest.raises(MissingFieldError, match=r"was not computed on 'phase'.*tim3d.measure\("):
        tim3d.describe(url, [LARGEST_BALL])
    measured = tim3d.measure(url, ["phase_fraction", LARGEST_BALL], options=quiet)
    found = tim3d.describe(url, ["phase_fraction", LARGEST_BALL], plain=True)
    assert measured.equals(found)
    assert found.largest_ball.sel(phase="solid").item() == 15
    assert found.largest_ball.attrs["units"] == "nm"
    assert tim3d.validate(url) == []
    with pytest.raises(ArgumentError, match="couples all blocks"):
        tim3d.describe(url, [LARGEST_BALL], z=slice(0, 40))
    ingest(tmp_path, 1 - labels)
    with pytest.raises(MixedRunError, match="another version of 'phase'"):
        tim3d.describe(url, [LARGEST_BALL])
