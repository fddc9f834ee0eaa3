"""Files that are written are read back by their own rules: normals, names of phases, sizes, lines of a journal."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from PIL import Image

from tim3d.engine.state.journal import journal, note
from tim3d.formats.base import Elements, Surface
from tim3d.formats.figures import DPI, Png
from tim3d.formats.finite_elements import Gmsh
from tim3d.formats.surfaces import Stl
from tim3d.kernels.morphology.components import Components
from tim3d.phases import Phases
from tim3d.relating.job import tidy
from tim3d.stages.cleaning.islands import Islands


def test_the_normals_of_a_closed_surface_look_outwards(tmp_path: Path) -> None:
    corners = np.array([[0, 0, 0], [2, 0, 0], [0, 3, 0], [0, 0, 4.0]])
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    Stl().write(Surface(corners, faces, "a", "nm", "mark", "note"), tmp_path / "a.stl")
    kind = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    found = np.frombuffer((tmp_path / "a.stl").read_bytes()[84:], kind)
    assert np.array_equal(found["corners"], corners[faces])
    away = found["corners"].mean(axis=1) - corners.mean(axis=0)
    assert (np.einsum("ij,ij->i", found["normal"], away) > 0).all()
    assert np.linalg.norm(found["normal"], axis=1) == pytest.approx(1)


def test_elements_of_gmsh_have_the_number_under_which_their_phase_is_named(tmp_path: Path) -> None:
    meshio = pytest.importorskip("meshio")
    points = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in range(4)], float)
    cube = np.array([0, 1, 5, 4, 8, 9, 13, 12])
    phases, codes = Phases(pore=0, solid=3, dirt=7), np.array([3, 0, 3], np.uint8)
    elements = Elements(points, cube + np.arange(3)[:, None], codes, phases, "nm", "mark", "note")
    Gmsh().write(elements, tmp_path / "a.msh")
    found = meshio.read(tmp_path / "a.msh")
    numbers = {name: int(value[0]) for name, value in found.field_data.items()}
    assert set(numbers) == {"pore", "solid"}
    (tags,) = found.cell_data["gmsh:physical"]
    assert tags.tolist() == [numbers["solid"], numbers["pore"], numbers["solid"]]


def test_a_second_run_adds_its_lines_to_a_journal(tmp_path: Path) -> None:
    for number in range(3):
        with journal(tmp_path / "run.jsonl"):
            note("begin", {"number": number})
            note("end", {})
        note("lost", {})
    found = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    assert [one["event"] for one in found] == ["begin", "end"] * 3
    assert [one["number"] for one in found[::2]] == [0, 1, 2]


def test_a_number_of_a_relation_has_its_unit_and_its_definition() -> None:
    found = xr.Dataset(
        {
            "slope": ("feature", [0.5, np.nan], {"units": "nm", "long_name": "slope of it"}),
            "q2": ((), 0.25, {"units": "1", "long_name": "goodness"}),
        },
        {"feature": ["a", "b"]},
    )
    assert list(csv.DictReader(io.StringIO(tidy(found)))) == [
        {"variable": "slope", "feature": "a", "value": "0.5", "units": "nm", "definition": "slope of it"},
        {"variable": "slope", "feature": "b", "value": "", "units": "nm", "definition": "slope of it"},
        {"variable": "q2", "feature": "", "value": "0.25", "units": "1", "definition": "goodness"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("limit", "border", "expected"),
    [
        ({"below_voxels": 5}, "remove", [True, True, False, False]),
        ({"below_voxels": 5}, "keep", [True, False, False, False]),
        # Voxels of 2 x 3 x 5 nm: 4 of them are 120 nm3.
        ({"below_nm3": 121.0}, "remove", [True, True, False, False]),
        ({"below_nm3": 120.0}, "remove", [False, False, False, False]),
        ({"below_voxels": 6}, "keep", [True, False, True, False]),
    ],
)
def test_an_island_is_small_and_may_be_kept_at_the_border(
    limit: dict[str, float], border: str, expected: list[bool]
) -> None:
    start = np.array([[1, 1, 1], [0, 4, 4], [5, 5, 5], [5, 1, 1]])
    stop = np.array([[3, 3, 2], [1, 6, 6], [6, 6, 8], [6, 9, 2]])
    voxels = np.array([4, 4, 5, 8])
    found = Components(np.ones(4, np.uint8), voxels, np.arange(4), start, stop)
    step = Islands("solid", border=border, **limit)  # type: ignore[arg-type]
    assert step.chosen(found, (9, 9, 9), (2.0, 3.0, 5.0)).tolist() == expected


def test_a_bitmap_has_so_many_pixels_per_inch(tmp_path: Path) -> None:
    figure = Figure(figsize=(2, 1.5))
    Png().write(figure, tmp_path / "a.png", "")
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (2 * DPI, 1.5 * DPI)
        assert image.info["dpi"] == pytest.approx((DPI, DPI), rel=1e-3)
