"""Struts leave as lines, read by VTK, and as tables."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import tim3d
from tests.exports import exported
from tests.property.test_distance import QUIET, ingested
from tim3d.cli import actions
from tim3d.errors import ArgumentError, MixedRunError

NODE = "phase_struts_phases=solid"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Struts of three tubes that meet."""
    places = np.indices((31, 31, 31)) - 15
    pairs = ((0, 1), (0, 2), (1, 2))
    solid = np.any([places[a] ** 2 + places[b] ** 2 < 20 for a, b in pairs], axis=0)
    labels = np.where(solid, 3, 0).astype(np.uint8)
    url = ingested(tmp_path_factory.mktemp("lines"), labels, (20.0, 10.0, 10.0), (31, 31, 31))
    tim3d.distance(url, options=QUIET)
    tim3d.skeleton(url, options=QUIET)
    tim3d.struts(url, phases=["solid"], options=QUIET)
    tim3d.struts(url, options=QUIET)
    return url


def test_struts_are_lines_that_vtk_reads(sample: str, tmp_path: Path) -> None:
    vtk = pytest.importorskip("vtk")
    util = pytest.importorskip("vtk.util.numpy_support")
    out = exported(sample, NODE, tmp_path / "a.vtp", unit="um")
    reader = vtk.vtkXMLPolyDataReader()
    reader.SetFileName(str(out))
    reader.Update()
    found, struts = reader.GetOutput(), tim3d.open_dataset(sample, NODE)
    assert found.GetNumberOfCells() == found.GetNumberOfLines() == struts.sizes["branch"] == 6
    points = util.vtk_to_numpy(found.GetPoints().GetData())
    expected = np.stack([struts[f"point_{a}"].values for a in "xyz"], axis=1) / 1000
    np.testing.assert_allclose(points, expected, rtol=1e-6)
    length = util.vtk_to_numpy(found.GetCellData().GetArray("length"))
    np.testing.assert_allclose(length, struts.branch_length.values / 1000)
    ids = vtk.vtkIdList()
    for number in range(6):
        found.GetCellPoints(number, ids)
        rows = [ids.GetId(n) for n in range(ids.GetNumberOfIds())]
        assert rows == np.flatnonzero(struts.point_branch.values == number).tolist()
        steps = np.linalg.norm(np.diff(points[rows], axis=0), axis=1)
        assert steps.min() > 0
        # Along the voxels, without the averages that the length is taken of.
        assert length[number] <= steps.sum() * (1 + 1e-5)
    for text in (b"lengths in um", b"solid"):
        assert text in out.read_bytes()[:500]


def test_a_single_strut_has_no_point_twice(tmp_path: Path) -> None:
    labels = np.zeros((9, 9, 24), np.uint8)
    labels[3:6, 3:6, 4:20] = 3
    url = ingested(tmp_path, labels, (10.0, 10.0, 10.0), (9, 9, 24))
    tim3d.distance(url, options=QUIET)
    tim3d.skeleton(url, options=QUIET)
    found = tim3d.struts(url, phases=["solid"], options=QUIET)
    places = np.stack([found[f"point_{axis}"].values for axis in "zyx"], axis=1)
    assert found.sizes["branch"] == 1
    assert len(np.unique(places, axis=0)) == len(places) == found.branch_length / 10 + 1


def test_lines_are_of_the_phases_that_are_wanted(sample: str, tmp_path: Path) -> None:
    whole = exported(sample, "phase_struts", tmp_path / "all.vtp").read_bytes()
    one = exported(sample, "phase_struts", tmp_path / "one.vtp", phases=["solid"]).read_bytes()
    assert b'NumberOfLines="6"' in one
    assert b'NumberOfLines="6"' not in whole
    with pytest.raises(ArgumentError, match="no struts of dirt; it has pore, solid"):
        exported(sample, "phase_struts", tmp_path / "no.vtp", phases=["dirt"])
    with pytest.raises(ArgumentError, match="holds no struts"):
        exported(sample, "phase", tmp_path / "no.vtp")
    with pytest.raises(ArgumentError, match="--smoothing is for surfaces"):
        exported(sample, "phase_struts", tmp_path / "no.vtp", smoothing=2)
    with pytest.raises(MixedRunError, match="another export"):
        exported(sample, NODE, tmp_path / "all.vtp")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["all.vtp", "one.vtp"]


def test_nodes_and_struts_are_rows_of_a_table(sample: str, tmp_path: Path) -> None:
    out = exported(sample, NODE, tmp_path / "a.csv")
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    meetings = sorted(float(r["value"]) for r in rows if r["variable"] == "node_coordination")
    assert meetings == [1] * 6 + [6]
    lengths = [r for r in rows if r["variable"] == "branch_length"]
    assert [r["branch"] for r in lengths] == [str(n) for n in range(6)]
    assert {r["units"] for r in lengths} == {"nm"}
    figure = exported(sample, NODE, tmp_path / "a.png")
    assert figure.stat().st_size > 10_000


def test_a_run_prints_the_numbers_of_phases_and_no_rows(
    sample: str, capsys: pytest.CaptureFixture[str]
) -> None:
    actions.show_result(tim3d.open_dataset(sample, NODE))
    shown = capsys.readouterr().out
    assert "strut_diameter_fit_mean" in shown
    assert not any(word in shown for word in ("node_z", "branch_", "point_"))
