"""The picture of the phases in three dimensions: which surfaces, where, in which colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb

import tim3d
from tim3d.colours import colours
from tim3d.errors import ArgumentError
from tim3d.kernels.morphology.mesh import is_closed, volume
from tim3d.plotting import phases_3d
from tim3d.plotting.phases_3d import drawn_factor
from tim3d.reporting import page
from tim3d.stages.shared.phase_surface import phase_surface

SHAPE, VOXEL = (10, 40, 60), {"z": 20.0, "y": 5.0, "x": 10.0}
THREE = tim3d.Phases(pore=0, copper=1, polymer=2)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bar of copper along x through the whole, a box of polymer in a corner."""
    folder = tmp_path_factory.mktemp("solid")
    values = np.zeros(SHAPE, np.uint8)
    values[3:6, 10:20, :], values[7:, 30:, 50:] = 1, 2
    noise = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
    for name, array, phases in (("phase", values, THREE), ("raw", noise, None)):
        np.save(folder / f"{name}.npy", array)
        tim3d.ingest(
            folder / f"{name}.npy", str(folder / "a.zarr"), voxel_size=VOXEL, field=name, phases=phases,
            options=tim3d.Options(progress=False),
        )  # fmt: skip
    return str(folder / "a.zarr")


def test_a_surface_lies_where_its_voxels_are_and_encloses_them(sample: str) -> None:
    found = phase_surface(sample, "phase", 1, 2**20)
    assert is_closed(found.faces)
    assert volume(found.vertices_nm, found.faces) == pytest.approx(3 * 10 * 60 * 1000, rel=1e-6)
    low, high = found.vertices_nm.min(0), found.vertices_nm.max(0)
    np.testing.assert_allclose(low, [0, 50, 60], atol=12)
    np.testing.assert_allclose(high, [600, 100, 120], atol=12)
    assert (low[0], high[0]) == (0, 600)  # cut by the faces of the volume, it stays flat there


def test_a_coarse_level_says_so_and_has_the_same_places(tmp_path: Path) -> None:
    values = np.zeros((40, 160, 160), np.uint8)
    values[10:30, 40:120, 40:120] = 1
    np.save(tmp_path / "p.npy", values)
    url = str(tmp_path / "a.zarr")
    tim3d.ingest(
        tmp_path / "p.npy", url, voxel_size={"z": 20, "y": 5, "x": 5}, field="phase",
        phases=tim3d.Phases(pore=0, solid=1), options=tim3d.Options(progress=False),
    )  # fmt: skip
    assert drawn_factor(url, "phase") == (1, 2, 2)
    for most, factor in ((2**30, (1, 1, 1)), (2**18, (1, 2, 2)), (1, (1, 4, 4))):
        found = phase_surface(url, "phase", 1, most)
        assert found.factor == factor
        np.testing.assert_allclose(found.vertices_nm.min(0), [200, 200, 200], atol=12)
        np.testing.assert_allclose(found.vertices_nm.max(0), [600, 600, 600], atol=12)


def test_pores_are_empty_and_phases_have_the_colours_of_the_report(sample: str) -> None:
    figure = phases_3d(sample, "phase")
    (axes,) = figure.axes
    (drawn,) = axes.collections
    shades = colours(THREE)
    (legend,) = figure.legends
    named = {text.get_text(): patch.get_facecolor()[:3] for text, patch in entries(legend)}
    assert named == {name: to_rgb(shades[name]) for name in ("copper", "polymer")}
    hues = {tuple(np.round(c / c.max(), 1)) for c in drawn.get_facecolor()[:, :3] if c.max() > 0}
    assert hues == {tuple(np.round(np.array(c) / max(c), 1)) for c in named.values()}
    assert [axes.get_xlim(), axes.get_ylim(), axes.get_zlim()] == [(0, 600), (0, 200), (200, 0)]
    assert axes.get_xlabel() == "x, nm"


def entries(legend: Any) -> list[tuple[Any, Any]]:
    return list(zip(legend.get_texts(), legend.get_patches(), strict=True))


@pytest.mark.long
def test_the_report_shows_it_and_says_what_is_left_out(sample: str, tmp_path: Path) -> None:
    text = Path(tim3d.report(sample, tmp_path / "a.html")).read_text()
    assert "Phases in three dimensions" in text
    assert "Surfaces of copper, polymer in “phase”. pore is left empty." in text


def test_it_is_drawn_without_a_display(sample: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    assert page.png(phases_3d(sample, "phase")).startswith(b"\x89PNG")


def test_grey_values_have_no_surfaces(sample: str) -> None:
    with pytest.raises(ArgumentError, match="holds no labels"):
        phases_3d(sample, "raw")
