"""What the verbs of morphology advise is what makes them work, and nothing that is then refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import tim3d
from tim3d.cli.main import main
from tim3d.errors import InputError, MissingFieldError, Tim3dError

QUIET = tim3d.Options(progress=False)


def ingested(folder: Path, labels: np.ndarray, field: str = "phase", z: float = 10) -> str:
    np.save(folder / "labels.npy", labels.astype(np.uint8))
    sample = str(folder / "a.zarr")
    size = {"z": z, "y": 10, "x": 10}
    phases = tim3d.Phases(pore=0, solid=1)
    tim3d.ingest(
        folder / "labels.npy", sample, voxel_size=size, field=field, phases=phases, options=QUIET
    )
    return sample


@pytest.mark.parametrize("field", ["phase", "own"])
@pytest.mark.parametrize(
    "asked",
    [
        partial(tim3d.measure, descriptors=["thickness"]),
        partial(tim3d.measure, descriptors=["distance"]),
        partial(tim3d.measure, descriptors=["cluster_correlation:lags=3"]),
        partial(tim3d.porosimetry, phase="pore"),
    ],
    ids=["thickness", "distance", "clusters", "porosimetry"],
)
def test_an_advice_is_followed_until_the_verb_works(
    tmp_path: Path, field: str, asked: Callable[..., object]
) -> None:
    noise = np.random.default_rng(0).standard_normal((12, 14, 16))
    sample = ingested(tmp_path, ndimage.gaussian_filter(noise, 2) > 0, field)
    call = partial(asked, sample, field=field, options=QUIET)
    with pytest.raises(MissingFieldError) as refused:
        call()
    (commands,) = re.findall(r"Make it: (.*)$", str(refused.value))
    for command in commands.split("; "):
        assert main([*command.split()[1:], "--quiet"]) == 0
    call()


def test_a_thickness_of_a_field_of_ones_own_is_advised_by_its_name(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal((12, 14, 16))
    sample = ingested(tmp_path, ndimage.gaussian_filter(noise, 2) > 0, "own")
    with pytest.raises(MissingFieldError, match=r"Make it: tim3d distance \S+ --field own$"):
        tim3d.thickness(sample, distance="own_distance", options=QUIET)
    with pytest.raises(
        MissingFieldError, match=r"Make it: tim3d distance \S+ --field own --phases solid$"
    ):
        tim3d.thickness(sample, distance="own_distance_phases=solid", options=QUIET)


def test_a_volume_of_one_phase_is_not_advised_what_is_refused(tmp_path: Path) -> None:
    sample = ingested(tmp_path, np.ones((6, 7, 8)))
    calls: list[Callable[[], object]] = [
        partial(tim3d.distance, sample, options=QUIET),
        partial(tim3d.thickness, sample, options=QUIET),
        partial(tim3d.porosimetry, sample, phase="solid", options=QUIET),
        partial(tim3d.measure, sample, ["thickness"], options=QUIET),
        partial(tim3d.measure, sample, ["distance"], options=QUIET),
    ]
    for call in calls:
        with pytest.raises(InputError, match="solid fills all of 'phase'") as refused:
            call()
        assert "Make it" not in str(refused.value)


def test_distances_of_another_phase_name_the_command_that_makes_these(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal((12, 14, 16))
    sample = ingested(tmp_path, ndimage.gaussian_filter(noise, 2) > 0)
    tim3d.distance(sample, phases=["solid"], out="far", options=QUIET)
    with pytest.raises(Tim3dError, match=r"tim3d distance \S+ --field phase --phases pore$"):
        tim3d.porosimetry(sample, phase="pore", distance="far", options=QUIET)


WARNED = {
    "distance": tim3d.distance,
    "thickness": tim3d.thickness,
    "skeleton": tim3d.skeleton,
    "particles": partial(tim3d.particles, phase="solid"),
}


@pytest.mark.parametrize("name", WARNED)
def test_a_single_slice_of_long_voxels_is_warned_of_by_every_verb(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    sample = ingested(tmp_path, np.indices((1, 9, 9)).sum(axis=0) % 5 > 1, z=110)
    if name != "distance":
        tim3d.distance(sample, options=QUIET)
    caplog.clear()
    WARNED[name](sample, options=QUIET)
    said = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert any("is a plane (1 x 9 x 9 voxels)" in text for text in said)
    assert any("11 times as long along z as across" in text for text in said)
    assert not any("\n" in text for text in said)
