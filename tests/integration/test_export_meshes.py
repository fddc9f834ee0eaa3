"""Surfaces and finite elements leave: closed, in their place, the same for any blocks, and read by others."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tests.exports import AGAIN, PHASES, SIZE, exported, sample_in, volumes
from tim3d import Options
from tim3d.errors import ArgumentError, MemoryPlanError, MissingExtraError
from tim3d.exporting import elements, surface
from tim3d.formats import builtin
from tim3d.formats.builtin import ELEMENTS, SURFACES
from tim3d.kernels.morphology import mesh

STEP = np.array(list(SIZE.values()))
LABELS = volumes()["phase"]
REGION: dict[str, Any] = {"z": slice(60, 360), "y": slice(20, 200), "x": slice(5 * 7.3, 30 * 7.3)}
PART = (slice(3, 18), slice(2, 20), slice(5, 30))
START = np.array([60, 20, 5 * 7.3])


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    return sample_in(tmp_path_factory.mktemp("meshes"))


def read_surface(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces by VTK, which joins the equal corners of an STL."""
    vtk = pytest.importorskip("vtk", reason="to read meshes: pip install vtk")
    from vtk.util.numpy_support import vtk_to_numpy

    kinds = {".stl": vtk.vtkSTLReader, ".ply": vtk.vtkPLYReader, ".obj": vtk.vtkOBJReader}
    reader = kinds[path.suffix]()
    reader.SetFileName(str(path))
    reader.Update()
    found = reader.GetOutput()
    vertices = vtk_to_numpy(found.GetPoints().GetData()).astype(np.float64)
    cells = found.GetPolys()
    return vertices, vtk_to_numpy(cells.GetConnectivityArray()).reshape(-1, 3).astype(np.int64)


@pytest.mark.parametrize("one", SURFACES, ids=lambda one: one.name)
@pytest.mark.parametrize("region", [{}, REGION], ids=["whole", "part"])
def test_a_surface_is_closed_and_encloses_its_voxels(
    sample: str, tmp_path: Path, one: Any, region: dict[str, Any]
) -> None:
    region = {**region, "unit": "um" if region else "nm", "phases": ["copper"]}
    vertices, faces = read_surface(
        exported(sample, "phase", tmp_path / f"a{one.suffixes[0]}", **region)
    )
    if region["unit"] == "um":
        vertices = vertices * 1000
    part, start = (PART, START) if "z" in region else (np.s_[:], np.zeros(3))
    inside = LABELS[part] == 5
    assert mesh.is_closed(faces)
    target = inside.sum() * math.prod(STEP)
    assert mesh.volume(vertices, faces) == pytest.approx(target, rel=0.02)
    places = np.argwhere(inside)
    low = (places.min(axis=0) * STEP + start)[::-1]
    high = ((places.max(axis=0) + 1) * STEP + start)[::-1]
    np.testing.assert_allclose(vertices.min(axis=0), low, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(vertices.max(axis=0), high, rtol=1e-5)


@pytest.mark.parametrize("given", [{}, {"smoothing": 5}, {"smoothing": 5, "keep": 0.3}], ids=str)
def test_the_file_is_the_same_for_any_blocks(
    sample: str, tmp_path: Path, given: dict[str, Any]
) -> None:
    if "keep" in given:
        pytest.importorskip("fast_simplification", reason="pip install 'tim3d[export]'")
    files = set()
    for block in (None, (22, 27, 36), (11, 14, 18), (5, 3, 17)):
        options = Options(progress=False, block=block, overwrite=True)
        out = exported(
            sample, "phase", tmp_path / "a.ply", phases="copper", options=options, **given
        )
        files.add(out.read_bytes())
    assert len(files) == 1


def test_smoothing_and_decimation_keep_the_volume(sample: str, tmp_path: Path) -> None:
    pytest.importorskip("fast_simplification", reason="pip install 'tim3d[export]'")
    target = (LABELS == 5).sum() * math.prod(STEP) * 1e-9
    first = None
    for given in ({"smoothing": 10}, {"smoothing": 10, "keep": 0.25}):
        out = exported(
            sample, "phase", tmp_path / "a.ply", phases="copper", unit="um", options=AGAIN, **given
        )
        vertices, faces = read_surface(out)
        assert mesh.is_closed(faces)
        assert mesh.volume(vertices, faces) == pytest.approx(target, rel=1e-5)
        assert len(faces) <= 0.26 * (first or math.inf)
        first = first or len(faces)
        assert vertices.min() >= 0
        assert (vertices.max(axis=0) <= (LABELS.shape * STEP)[::-1] * 1e-3 + 1e-9).all()


def test_several_phases_count_as_one(sample: str, tmp_path: Path) -> None:
    out = exported(sample, "phase", tmp_path / "a.stl", phases=["pore", "copper"])
    vertices, faces = read_surface(out)
    box = math.prod(LABELS.shape * STEP)
    assert mesh.volume(vertices, faces) == pytest.approx(box, rel=0.01)


def test_an_stl_does_not_look_like_text(sample: str, tmp_path: Path) -> None:
    data = exported(sample, "phase", tmp_path / "a.stl", phases="copper").read_bytes()
    assert data.startswith(b"tim3d export ")
    assert b"nm copper" in data[:80]
    assert len(data) == 84 + 50 * int.from_bytes(data[80:84], "little")


def test_a_surface_that_does_not_fit_is_refused_with_numbers(
    sample: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surface, "TRIANGLE_BYTES", 2**40)
    with pytest.raises(MemoryPlanError, match=r"million triangles, and .* million fit") as said:
        exported(sample, "phase", tmp_path / "a.stl", phases="copper")
    assert "\n" not in str(said.value)
    assert float(str(said.value).split("some ")[1].split()[0]) < 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "a surface encloses a phase: --phases copper"),
        ({"phases": "gold"}, "no phase 'gold'; there are pore, copper"),
        ({"phases": "pore", "keep": 0.0}, "--keep 0"),
        ({"phases": "pore", "smoothing": -1}, "--smoothing -1"),
        ({"phases": "pore", "beside": "raw"}, "one field of phases, got phase and raw"),
        ({"phases": "pore", "cells": "tetrahedra"}, "--cells is for finite elements"),
    ],
)
def test_a_surface_that_cannot_be_is_one_line(
    sample: str, tmp_path: Path, given: dict[str, Any], says: str
) -> None:
    with pytest.raises(ArgumentError, match=says) as said:
        exported(sample, "phase", tmp_path / "a.stl", **given)
    assert "\n" not in str(said.value)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_with_what_to_type(
    sample: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builtin.importlib.util, "find_spec", lambda name: None)
    for out, given in (
        ("a.inp", {}),
        ("a.parquet", {}),
        ("a.stl", {"phases": "pore", "keep": 0.5}),
    ):
        with pytest.raises(MissingExtraError, match=r"pip install 'tim3d\[export\]'") as said:
            exported(sample, "phase", tmp_path / out, **given)
        assert said.value.exit_code == 7


# Finite elements.


def read_elements(path: Path, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, cells, and the code of the phase of every cell, by meshio."""
    meshio = pytest.importorskip("meshio", reason="pip install 'tim3d[export]'")
    found = meshio.read(path)
    (cells,) = [one.data for one in found.cells]
    if name == "abaqus":
        codes = np.zeros(len(cells), int)
        for key, members in found.cell_sets.items():
            codes[members[0]] = PHASES[key]
    else:
        key = {"gmsh": "gmsh:physical", "nastran": "nastran:ref", "vtu": "phase"}[name]
        codes = found.cell_data[key][0] - (name != "vtu")
    return np.asarray(found.points), cells, codes


def volumes_of(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Volume of every cell; of a hexahedron by its edges from the first corner."""
    ends = (1, 3, 4) if cells.shape[1] == 8 else (1, 2, 3)
    edges = np.stack([points[cells[:, n]] - points[cells[:, 0]] for n in ends], axis=1)
    return np.asarray(np.linalg.det(edges)) / (1 if cells.shape[1] == 8 else 6)


@pytest.mark.parametrize("kind", ["hexahedra", "tetrahedra"])
@pytest.mark.parametrize("one", ELEMENTS, ids=lambda one: one.name)
def test_elements_fill_their_voxels_once(sample: str, tmp_path: Path, one: Any, kind: str) -> None:
    region = {"z": slice(60, 160), "y": slice(20, 80), "x": slice(5 * 7.3, 11 * 7.3)}
    labels = LABELS[3:8, 2:8, 5:11]
    out = exported(sample, "phase", tmp_path / f"a{one.suffixes[0]}", cells=kind, **region)
    points, cells, codes = read_elements(out, one.name)
    per = {"hexahedra": 1, "tetrahedra": 6}[kind]
    assert len(cells) == per * labels.size
    np.testing.assert_array_equal(codes, np.repeat(labels.ravel(), per))
    np.testing.assert_allclose(volumes_of(points, cells), math.prod(STEP) / per, rtol=1e-5)
    assert len(points) == 6 * 7 * 7
    middles = points[cells].mean(axis=1)[:, ::-1]
    voxels = np.floor((middles - START) / STEP).astype(int)
    np.testing.assert_array_equal(
        np.ravel_multi_index(voxels.T, labels.shape), np.repeat(np.arange(labels.size), per)
    )


@pytest.mark.parametrize("kind", ["hexahedra", "tetrahedra"])
def test_neighbours_share_whole_faces(kind: str) -> None:
    """Every face belongs to one element on the border, and to two inside."""
    inside = np.random.default_rng(0).random((4, 5, 3)) < 0.6
    points, cells = elements.connected(inside, kind)
    corners = {
        "tetrahedra": [(0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3)],
        "hexahedra": [
            (0, 1, 2, 3),
            (4, 5, 6, 7),
            (0, 1, 5, 4),
            (3, 2, 6, 7),
            (0, 3, 7, 4),
            (1, 2, 6, 5),
        ],
    }[kind]
    faces = np.sort(np.concatenate([cells[:, list(c)] for c in corners]), axis=1)
    _, counts = np.unique(faces, axis=0, return_counts=True)
    padded = np.pad(inside, 1).astype(int)
    border = sum(int(np.abs(np.diff(padded, axis=a)).sum()) for a in range(3))
    assert set(counts.tolist()) == {1, 2}
    assert (counts == 1).sum() == border * (2 if kind == "tetrahedra" else 1)
    assert len(points) == len(np.unique(cells))


def test_elements_of_one_phase(sample: str, tmp_path: Path) -> None:
    out = exported(sample, "phase", tmp_path / "a.vtu", phases="copper", unit="um", **REGION)
    points, cells, codes = read_elements(out, "vtu")
    assert len(cells) == (LABELS[PART] == 5).sum()
    assert set(codes.tolist()) == {5}
    assert points.max() <= 0.36 + 1e-9


def test_elements_that_do_not_fit_are_refused_with_the_number_that_does(
    sample: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(elements.ELEMENT_BYTES, "hexahedra", 2**40)
    for phases in ((), ("pore",)):
        with pytest.raises(
            MemoryPlanError, match=r"million hexahedra fit into .* a cube of 0 voxels"
        ):
            exported(sample, "phase", tmp_path / "a.vtu", phases=phases)
    assert list(tmp_path.iterdir()) == []


def test_the_plan_of_a_mesh_says_what_fits(sample: str, tmp_path: Path) -> None:
    for out, phases, says in (
        ("a.stl", ["pore"], "million triangles"),
        ("a.inp", [], "million hexahedra fit"),
    ):
        plans = tim3d.plan("export", sample, "phase", tmp_path / out, phases=phases)
        assert says in str(plans[-1])
    assert list(tmp_path.iterdir()) == []


def test_a_surface_that_does_not_enclose_its_voxels_is_a_warning_with_the_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "specks.npy", (rng.random((1, 24, 24)) > 0.7).astype(np.uint8))
    sample = str(tmp_path / "a.zarr")
    tim3d.ingest(
        tmp_path / "specks.npy",
        sample,
        voxel_size=SIZE,
        field="phase",
        phases=tim3d.Phases(pore=0, copper=1),
        options=Options(progress=False),
    )
    exported(sample, "phase", tmp_path / "a.stl", phases="copper")
    (said,) = [one for one in caplog.messages if "than its voxels" in one]
    assert "% less than its voxels" in said
    assert "--smoothing 10" in said
    caplog.clear()
    exported(sample, "phase", tmp_path / "b.stl", phases="copper", smoothing=5)
    assert "than its voxels" not in caplog.text
