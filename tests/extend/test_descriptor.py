"""A descriptor of one's own of two fields: grey value of each phase, through measure and describe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tim3d.descriptors.base import Counts, Descriptor, Material, Partial, Variable
from tim3d.descriptors.inputs import LABELS, Input
from tim3d.grid import Box


def moments(labels: np.ndarray, grey: np.ndarray, core: Box, material: Material) -> Counts:
    """Voxels, sum and sum of squares of the grey values in each phase: whole numbers that add up over blocks."""
    grey, labels = grey[core.slices].astype(np.int64), labels[core.slices]
    inside = [grey[labels == code] for code in material.phases.codes]
    return np.array([[len(g), g.sum(), (g * g).sum()] for g in inside])


def mean_and_spread(totals: Mapping[str, Counts], material: Material) -> dict[str, Any]:
    voxels, total, squares = totals["grey_moments"].T
    mean = total / voxels
    return {"mean_grey": mean, "grey_spread": np.sqrt(squares / voxels - mean**2)}


MOMENTS = Partial(
    "grey_moments", halo=(0, 0, 0), dims=("phase", "moment"), sizes=lambda material: (len(material.phases), 3),
    compute=moments, reads=(LABELS, Input("grey", "raw")), voxel_bytes=20,
)  # fmt: skip
GREY = Descriptor(
    "grey_by_phase",
    (MOMENTS,),
    (
        Variable(
            "mean_grey", ("phase",), 0, "mean grey value of each phase", "voxel by voxel", "none"
        ),
        Variable(
            "grey_spread",
            ("phase",),
            0,
            "standard deviation of the grey values",
            "voxel by voxel",
            "none",
        ),
    ),
    mean_and_spread,
)


@pytest.mark.parametrize("block", [(8, 8, 8), (16, 24, 8)])
def test_two_fields_are_measured_like_labels(tmp_path: Path, block: tuple[int, int, int]) -> None:
    grey = np.random.default_rng(1).integers(0, 256, (16, 24, 21), np.uint8)
    labels, url, quiet = (
        (grey > 99).astype(np.uint8),
        str(tmp_path / "a.zarr"),
        tim3d.Options(progress=False),
    )
    for name, array, phases in (
        ("raw", grey, None),
        ("phase", labels, tim3d.Phases(pore=0, solid=1)),
    ):
        np.save(tmp_path / "s.npy", array)
        how: dict[str, Any] = {
            "voxel_size": {"z": 10, "y": 5, "x": 4},
            "shard": (8, 8, 8),
            "options": quiet,
        }
        tim3d.ingest(tmp_path / "s.npy", url, field=name, phases=phases, **how)
    whole = tim3d.measure(
        url, ["phase_fraction", GREY], options=tim3d.Options(block=block, progress=False)
    )
    assert whole.mean_grey.sel(phase="solid") == grey[labels == 1].mean()
    assert whole.grey_spread.sel(phase="pore").item() == pytest.approx(
        grey[labels == 0].std(), rel=1e-12
    )
    region = tim3d.describe(url, [GREY], x=slice(32, None))
    assert region.mean_grey.sel(phase="solid") == grey[..., 8:][labels[..., 8:] == 1].mean()
