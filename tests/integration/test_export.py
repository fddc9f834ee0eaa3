"""Voxels leave and come back: what is exported is read by the libraries of others, with its size and place."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

import tim3d
from tests.exports import AGAIN, PHASES, SHAPE, SIZE, exported, sample_in, volumes
from tim3d import Options
from tim3d.cli.main import main
from tim3d.cli.recipe import plan_recipe, run_recipe
from tim3d.errors import (
    ArgumentError,
    MemoryPlanError,
    MissingFieldError,
    MixedRunError,
    StoreError,
)
from tim3d.exporting.asked import cuts
from tim3d.formats import tiff
from tim3d.formats.base import VolumeFormat
from tim3d.formats.builtin import FORMATS, VOLUMES
from tim3d.storage import staging

VALUES = volumes()
FIELDS = list(VALUES)
STEP = tuple(SIZE.values())
# A region that begins and ends within shards: voxels 3 to 18, 2 to 20, 5 to 30.
REGION = {"z": slice(60, 360), "y": slice(20, 200), "x": slice(5 * 7.3, 30 * 7.3)}
PART = (slice(3, 18), slice(2, 20), slice(5, 30))
# A reader gives the voxels (z, y, x), the edges of a voxel, and the centre of the first one; None
# where the format knows none.
Read = tuple[np.ndarray, tuple[float, ...] | None, tuple[float, ...] | None]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    return sample_in(tmp_path_factory.mktemp("export"))


def read_tiff(path: Path, name: str) -> Read:
    with tifffile.TiffFile(path) as file:
        about, page = file.imagej_metadata or {}, file.pages.first
        assert (about["unit"], file.series[0].axes) == ("nm", "ZYX")
        dy, dx = (page.tags[f"{a}Resolution"].value for a in "YX")
        step = (about["spacing"], dy[1] / dy[0], dx[1] / dx[0])
        start = [-about.get(f"{a}origin", 0) + 0.5 for a in "zyx"]
        return file.asarray(), step, tuple(n * s for n, s in zip(start, step, strict=True))


def about_imagej(path: Path) -> dict[str, Any]:
    with tifffile.TiffFile(path) as file:
        return file.imagej_metadata or {}


def read_stack(path: Path, name: str) -> Read:
    files = sorted(path.iterdir())
    assert files[0].name == f"{name}_00000.tif"
    with tifffile.TiffFile(files[0]) as file:
        about, tags = file.imagej_metadata or {}, file.pages.first.tags
        dy, dx = (tags[f"{a}Resolution"].value for a in "YX")
        assert about["unit"] == "nm"
        return tifffile.imread(files), (about["spacing"], dy[1] / dy[0], dx[1] / dx[0]), None


def read_ome(path: Path, name: str) -> Read:
    with tifffile.TiffFile(path) as file:
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
        assert {pixels[f"PhysicalSize{a}Unit"] for a in "XYZ"} == {"nm"}
        return file.asarray(), tuple(pixels[f"PhysicalSize{a}"] for a in "ZYX"), None


def read_itk(path: Path, name: str) -> Read:
    sitk = pytest.importorskip(
        "SimpleITK", reason="to read MetaImage and NRRD: pip install SimpleITK"
    )
    image = sitk.ReadImage(str(path))
    return sitk.GetArrayFromImage(image), image.GetSpacing()[::-1], image.GetOrigin()[::-1]


def read_nrrd(path: Path, name: str) -> Read:
    nrrd = pytest.importorskip("nrrd", reason="to read NRRD: pip install pynrrd")
    values, header = nrrd.read(str(path))
    assert header["space units"] == ["nm"] * 3
    step = np.diag(header["space directions"])[::-1]
    return values.T, tuple(step), tuple(header["space origin"][::-1])


def read_npy(path: Path, name: str) -> Read:
    return np.load(path), None, None


def read_vtk(path: Path, name: str) -> Read:
    vtk = pytest.importorskip("vtk", reason="to read VTK: pip install vtk")
    from vtk.util.numpy_support import vtk_to_numpy

    reader = vtk.vtkXMLImageDataReader() if path.suffix == ".vti" else vtk.vtkHDFReader()
    reader.SetFileName(str(path))
    reader.Update()
    image = reader.GetOutputDataObject(0)
    values = vtk_to_numpy(image.GetCellData().GetArray(name))
    shape = tuple(n - 1 for n in image.GetDimensions()[::-1])
    step, corner = image.GetSpacing()[::-1], image.GetOrigin()[::-1]
    return values.reshape(shape), step, tuple(o + s / 2 for o, s in zip(corner, step, strict=True))


def read_hdf5(path: Path, name: str) -> Read:
    with h5py.File(path) as file:
        found = file[name]
        assert [d.label for d in found.dims] == ["z", "y", "x"]
        step = tuple(1000 * s for s in found.attrs["element_size_um"])
        return found[:], step, tuple(float(found.dims[i][0][0]) for i in range(3))


READERS: dict[str, list[Callable[[Path, str], Read]]] = {
    "tiff": [read_tiff],
    "tiff-stack": [read_stack],
    "ome-tiff": [read_ome],
    "mhd": [read_itk],
    "mha": [read_itk],
    "nrrd": [read_nrrd, read_itk],
    "npy": [read_npy],
    "vti": [read_vtk],
    "vtk-hdf": [read_vtk],
    "hdf5": [read_hdf5],
}


@given(st.integers(0, 40), st.integers(1, 40), st.integers(1, 17))
def test_a_region_is_cut_where_the_chunks_of_the_volume_end(
    start: int, planes: int, thick: int
) -> None:
    """So that a chunk is read once; planes are counted from the region's first."""
    stop = start + planes
    ends = [z - start for z in range(start + 1, stop) if z % thick == 0]
    assert cuts(start, stop, thick) == (0, *ends, planes)


def test_every_format_of_voxels_has_a_reader() -> None:
    assert set(READERS) == {one.name for one in VOLUMES}


def name_of(one: VolumeFormat) -> str:
    return f"a{one.suffixes[0]}" if one.suffixes else "slices"


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("name", READERS)
def test_a_round_trip_keeps_values_voxel_size_and_place(
    sample: str, tmp_path: Path, name: str, field: str
) -> None:
    for part, region, first in ((np.s_[:], {}, (0, 0, 0)), (PART, REGION, (3, 2, 5))):
        folder = tmp_path / str(len(region))
        folder.mkdir()
        out = exported(sample, field, folder / name_of(FORMATS[name]), **region)
        for read in READERS[name]:
            values, step, centre = read(out, field)
            assert values.dtype == VALUES[field].dtype
            np.testing.assert_array_equal(values, VALUES[field][part])
            if step is not None:
                np.testing.assert_allclose(step, STEP, rtol=1e-6)
            if centre is not None:
                at = [(i + 0.5) * s for i, s in zip(first, STEP, strict=True)]
                np.testing.assert_allclose(centre, at, rtol=1e-6)
        assert {p.name for p in folder.iterdir()} == {out.name, *companions(name, out)}


def companions(name: str, out: Path) -> set[str]:
    return {one.name for one in FORMATS[name].companions(out)}


@pytest.mark.parametrize("name", READERS)
def test_tim3d_reads_what_it_wrote(sample: str, tmp_path: Path, name: str) -> None:
    """With its voxel size where the format holds a unit."""
    if name == "nrrd":
        pytest.importorskip("nrrd", reason="to read NRRD: pip install 'tim3d[formats]'")
    out = exported(sample, "phase", tmp_path / name_of(FORMATS[name]))
    size = SIZE if name in ("npy", "mhd", "mha", "vti", "vtk-hdf") else None
    again = tim3d.ingest(
        out, str(tmp_path / "b.zarr"), voxel_size=size, field="phase", phases=PHASES, options=AGAIN
    )
    np.testing.assert_array_equal(again.values, VALUES["phase"])
    found = [2 * float(again[axis][0]) for axis in "zyx"]
    np.testing.assert_allclose(found, STEP, rtol=1e-6)


@pytest.mark.parametrize("unit", ["nm", "um", "mm", "m"])
def test_element_sizes_of_hdf5_are_micrometres_whatever_the_unit(
    unit: str, sample: str, tmp_path: Path
) -> None:
    """As Fiji and ilastik read them; the coordinates beside them are in the unit asked for."""
    per = {"nm": 1.0, "um": 1e-3, "mm": 1e-6, "m": 1e-9}[unit]
    exported(sample, "raw", tmp_path / "nm.h5")
    exported(sample, "raw", tmp_path / "a.h5", unit=unit)
    with h5py.File(tmp_path / "nm.h5") as plain, h5py.File(tmp_path / "a.h5") as found:
        assert found["raw"].attrs["element_size_um"] == pytest.approx(
            plain["raw"].attrs["element_size_um"], rel=1e-9
        )
        for axis in "zyx":
            assert found[axis][:] == pytest.approx(plain[axis][:] * per, rel=1e-9)
            assert found[axis].attrs["units"] == unit


def test_lengths_are_in_the_unit_asked_for(sample: str, tmp_path: Path) -> None:
    _, step, centre = read_itk(exported(sample, "raw", tmp_path / "a.mha", unit="um"), "raw")
    np.testing.assert_allclose(step or (), np.array(STEP) / 1000)
    np.testing.assert_allclose(centre or (), np.array(STEP) / 2000)
    out = exported(sample, "raw", tmp_path / "a.tif", unit="um")
    assert about_imagej(out)["unit"] == "um"
    again = tim3d.ingest(out, str(tmp_path / "b.zarr"), options=AGAIN)
    assert 2 * float(again.z[0]) == 20.0


@pytest.mark.parametrize("name", ["a.vti", "a.vtkhdf", "a.h5"])
def test_several_fields_share_a_file(sample: str, tmp_path: Path, name: str) -> None:
    out = exported(sample, "phase", tmp_path / name, beside=["raw16", "heights"])
    for field in ("phase", "raw16", "heights"):
        values, *_ = (read_hdf5 if name.endswith("h5") else read_vtk)(out, field)
        np.testing.assert_array_equal(values, VALUES[field])


def test_an_ome_tiff_holds_an_image_for_each_field(sample: str, tmp_path: Path) -> None:
    out = exported(sample, "phase", tmp_path / "a.ome.tif", beside=["heights"])
    with tifffile.TiffFile(out) as file:
        assert [one.name for one in file.series] == ["phase", "heights"]
        np.testing.assert_array_equal(file.series[1].asarray(), VALUES["heights"])


@pytest.mark.parametrize(
    "name", ["a.tif", "a.ome.tif", "a.mhd", "a.nrrd", "a.vti", "a.vtkhdf", "a.h5"]
)
def test_names_of_phases_go_along(sample: str, tmp_path: Path, name: str) -> None:
    out = exported(sample, "phase", tmp_path / name)
    text = about_imagej(out)["Info"].encode() if name == "a.tif" else out.read_bytes()
    assert b"pore" in text
    assert b"copper" in text


def test_a_label_image_of_two_phases_is_not_black_in_imagej(sample: str, tmp_path: Path) -> None:
    about = about_imagej(exported(sample, "phase", tmp_path / "a.tif"))
    assert (about["min"], about["max"]) == (2.0, 5.0)


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
def test_above_four_gib_a_tiff_is_a_bigtiff(
    sample: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(tiff, "CLASSIC_BYTES", 1000)
    out = exported(sample, "raw", tmp_path / name)
    with tifffile.TiffFile(out) as file:
        assert file.is_bigtiff
        np.testing.assert_array_equal(file.asarray(), VALUES["raw"])


@pytest.mark.parametrize("name", READERS)
def test_the_slabs_change_no_byte(sample: str, tmp_path: Path, name: str) -> None:
    files = []
    for slices in (None, 1, 5):
        folder = tmp_path / str(slices)
        folder.mkdir()
        block = slices and (slices, *SHAPE[1:])
        options = Options(progress=False, block=block or None)
        out = exported(sample, "raw", folder / name_of(FORMATS[name]), options=options)
        files.append(
            [p.read_bytes() for p in sorted(out.iterdir())] if out.is_dir() else out.read_bytes()
        )
    if name == "ome-tiff":  # it gives itself a random number
        files = [re.sub(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", b"", data) for data in files]
    assert files[0] == files[1] == files[2]


def test_with_less_memory_slabs_are_thinner(
    sample: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What this process holds changes between two plans by more than these slabs.
    monkeypatch.setattr("tim3d.exporting.volume.resident_base", lambda: 2**28)
    plans = []
    plane = SHAPE[1] * SHAPE[2]
    whole = tim3d.plan("export", sample, "raw", tmp_path / "a.npy")[0]
    for slices in (8, 4, 1):
        with tim3d.cluster("serial", memory_bytes=whole.peak_bytes - 4 * (8 - slices) * plane):
            plans += tim3d.plan("export", sample, "raw", tmp_path / "a.npy")
    assert [one.block[0] for one in plans] == [8, 4, 1]


def test_a_slice_that_does_not_fit_is_refused_with_numbers(sample: str, tmp_path: Path) -> None:
    with tim3d.cluster("serial", memory_bytes=2**20), pytest.raises(MemoryPlanError, match="GiB"):
        exported(sample, "raw", tmp_path / "a.tif")
    assert list(tmp_path.iterdir()) == []


def test_the_plan_states_bytes_and_memory(sample: str, tmp_path: Path) -> None:
    (plan,) = tim3d.plan("export", sample, "raw16", tmp_path / "a.npy")
    assert plan.write_bytes == VALUES["raw16"].nbytes
    assert plan.block == (8, *SHAPE[1:])
    assert list(tmp_path.iterdir()) == []


# Flux vectors.


@pytest.fixture(scope="module")
def solved(sample: str) -> dict[str, Any]:
    """Solutions along z and x with kept fields, of conductivities by axis, an interface and contacts."""
    given: dict[str, Any] = {"conductivity": {"pore": 1.0, "copper": [20.0, 10.0, 5.0]}}
    given |= {"interface": {"pore:copper": 2e8}, "contact": [1e9, 3e9], "out": "hard"}
    tim3d.solve(
        sample, axis=["z", "x"], keep_potential=True, keep_flux=True, tolerance=1e-5, **given,
        options=Options(progress=False),
    )  # fmt: skip
    tim3d.solve(
        sample, conductivity={"pore": 0, "copper": 1}, keep_potential=True, keep_flux=True, tolerance=1e-5,
        out="plain", options=Options(progress=False),
    )  # fmt: skip
    return {"hard": ("z", "x"), "plain": ("z",)}


def read_vectors(path: Path, name: str) -> np.ndarray:
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return np.asarray(file[name])
    vtk = pytest.importorskip("vtk", reason="to read VTK: pip install vtk")
    from vtk.util.numpy_support import vtk_to_numpy

    reader = vtk.vtkXMLImageDataReader() if path.suffix == ".vti" else vtk.vtkHDFReader()
    reader.SetFileName(str(path))
    reader.Update()
    image = reader.GetOutputDataObject(0)
    shape = [n - 1 for n in image.GetDimensions()[::-1]]
    return vtk_to_numpy(image.GetCellData().GetArray(name)).reshape(*shape, 3)


@pytest.mark.long
@pytest.mark.parametrize(("out", "axis"), [("hard", "z"), ("hard", "x"), ("plain", "z")])
def test_flux_vectors_have_the_sizes_and_the_mean_that_the_solver_found(
    sample: str, solved: dict[str, Any], tmp_path: Path, out: str, axis: str
) -> None:
    potential = f"{out}_potential_{axis}"
    path = exported(sample, potential, tmp_path / "a.vti", vectors=True)
    vectors = read_vectors(path, f"{out}_flux_vector_{axis}")
    effective = float(tim3d.open_dataset(sample, out).effective_conductivity.sel(axis=axis))
    sizes = tim3d.open_field(sample, f"{out}_flux_{axis}").values
    found = np.linalg.norm(vectors, axis=-1) / effective
    np.testing.assert_allclose(found[sizes > 0], sizes[sizes > 0], rtol=0.01, atol=2e-3)
    mean = vectors[..., "xyz".index(axis)].mean()
    assert mean == pytest.approx(effective, rel=1e-3)


@pytest.mark.parametrize("name", ["a.vti", "a.vtkhdf", "a.h5"])
def test_vectors_of_a_region_are_those_of_the_whole(
    sample: str, solved: dict[str, Any], tmp_path: Path, name: str
) -> None:
    whole = exported(sample, "hard_potential_z", tmp_path / f"whole-{name}", vectors=True)
    part = exported(sample, "hard_potential_z", tmp_path / name, vectors=True, **REGION)
    vector = "hard_flux_vector_z"
    np.testing.assert_array_equal(read_vectors(part, vector), read_vectors(whole, vector)[PART])


def test_vectors_of_two_potentials_share_a_file(
    sample: str, solved: dict[str, Any], tmp_path: Path
) -> None:
    first, second = (f"hard_potential_{axis}" for axis in "zx")
    both = exported(sample, first, tmp_path / "both.vti", beside=[second], vectors=True)
    for axis in "zx":
        name = f"hard_potential_{axis}"
        alone = exported(sample, name, tmp_path / f"{axis}.vti", vectors=True)
        vector = f"hard_flux_vector_{axis}"
        np.testing.assert_array_equal(read_vectors(both, vector), read_vectors(alone, vector))


def test_vectors_need_a_potential_and_a_format(
    sample: str, solved: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ArgumentError, match="needs a potential among the fields"):
        exported(sample, "raw", tmp_path / "a.vti", vectors=True)
    with pytest.raises(ArgumentError, match="holds no vectors"):
        exported(sample, "hard_potential_z", tmp_path / "a.nrrd", vectors=True)


# What is in the way.


def test_the_same_export_is_answered_and_another_one_refused(sample: str, tmp_path: Path) -> None:
    for one in VOLUMES:
        out = exported(sample, "raw", tmp_path / name_of(one))
        written = out.stat().st_mtime_ns
        if one.keeps_mark:
            assert exported(sample, "raw", out) == out
            assert tim3d.plan("export", sample, "raw", out) == []
            assert out.stat().st_mtime_ns == written
        with pytest.raises(MixedRunError, match="--overwrite"):
            exported(sample, "raw16", out)
        assert out.stat().st_mtime_ns == written
        exported(sample, "raw16", out, options=AGAIN)
        np.testing.assert_array_equal(READERS[one.name][0](out, "raw16")[0], VALUES["raw16"])


@pytest.mark.parametrize("name", ["a.tif", "a.mha", "a.vti", "a.h5", "slices"])
def test_a_file_that_no_export_wrote_is_never_replaced(
    sample: str, tmp_path: Path, name: str
) -> None:
    own = tmp_path / name
    if name == "slices":
        own.mkdir()
        (own / "slice.tif").write_bytes(b"the user's own work")
    else:
        own.write_bytes(b"the user's own work")
    for options in (Options(progress=False), AGAIN):
        with pytest.raises(ArgumentError, match="is not an export of tim3d; it was not changed"):
            exported(sample, "raw", own, options=options)
    assert (own / "slice.tif" if own.is_dir() else own).read_bytes() == b"the user's own work"


def test_a_source_is_never_replaced(sample: str) -> None:
    source = Path(sample).parent / "phase.npy"
    before = source.read_bytes()
    for field in ("phase", "raw"):
        with pytest.raises(ArgumentError, match="is the source of 'phase'"):
            exported(sample, field, source, options=AGAIN)
    assert source.read_bytes() == before


def test_a_source_whose_values_were_converted_is_never_replaced(tmp_path: Path) -> None:
    source, sample = tmp_path / "signed.npy", str(tmp_path / "a.zarr")
    np.save(source, np.random.default_rng(0).integers(-100, 100, (4, 8, 8)).astype(np.int16))
    size = dict.fromkeys("zyx", 10.0)
    tim3d.ingest(source, sample, voxel_size=size, convert="shift", options=Options(progress=False))
    before = source.read_bytes()
    with pytest.raises(ArgumentError, match="is the source of 'raw'"):
        exported(sample, "raw", source, options=AGAIN)
    assert source.read_bytes() == before


def test_the_voxels_of_a_header_do_not_replace_another_file(sample: str, tmp_path: Path) -> None:
    (tmp_path / "cu.raw").write_bytes(b"the user's own work")
    with pytest.raises(ArgumentError, match=r"cu\.raw exists"):
        exported(sample, "raw", tmp_path / "cu.mhd", options=AGAIN)
    assert {p.name for p in tmp_path.iterdir()} == {"cu.raw"}


@pytest.mark.parametrize(
    ("field", "name", "given", "says"),
    [
        ("raw", "a.xyz", {}, "no format has this ending"),
        ("raw", "a.tif", {"format": "vti"}, "--format vti writes .vti"),
        ("raw", "a.vti", {"format": "tif"}, "did you mean"),
        ("raw", "a.tif", {"beside": "phase"}, "holds one field"),
        ("raw", "a.tif", {"smoothing": 3}, "--smoothing is for surfaces"),
        ("raw", "a.tif", {"phases": "pore"}, "--phases is for surfaces, finite elements"),
        ("raw", "a.tif", {"z": slice(0, 30)}, "z = 30 nm cuts a voxel; the nearest face"),
        ("raw", "a.tif", {"z": slice(0, 1000)}, "outside of the sample, which ends at 420 nm"),
        ("raw", "a.tif", {"z": slice(40, 40)}, "empty along z"),
        ("raw", "a.tif", {"unit": "inch"}, "there are nm, um, mm, m"),
        ("raw", "no/a.tif", {}, "no folder"),
        ("raw", "s3://bucket/a.tif", {}, "is a URL"),
        ("raw", "a.tif", {"options": Options(time_limit=3.0)}, "export has no time_limit"),
    ],
)
def test_what_cannot_be_is_one_line(
    sample: str, tmp_path: Path, field: str, name: str, given: dict[str, Any], says: str
) -> None:
    out = name if "://" in name else tmp_path / name
    with pytest.raises(ArgumentError, match=says) as said:
        tim3d.export(sample, field, out, **given)
    assert "\n" not in str(said.value)
    assert list(tmp_path.iterdir()) == []


def test_a_field_that_is_missing_is_named(sample: str, tmp_path: Path) -> None:
    with pytest.raises(MissingFieldError, match="nope"):
        exported(sample, "nope", tmp_path / "a.tif")
    with pytest.raises(ArgumentError, match="lies in the sample"):
        exported(sample, "raw", Path(sample) / "a.tif")


def test_component_numbers_go_into_formats_of_32_bits(sample: str, tmp_path: Path) -> None:
    numbers = tim3d.label(sample, keep=True, options=Options(progress=False))
    assert numbers is not None
    with pytest.raises(ArgumentError, match=r"'component' is uint32, .* write .nrrd, .vti or .h5"):
        exported(sample, "component", tmp_path / "a.tif")
    values, *_ = read_nrrd(exported(sample, "component", tmp_path / "a.nrrd"), "component")
    np.testing.assert_array_equal(values, tim3d.open_field(sample, "component").values)


# What a fault leaves.


def test_a_fault_while_reading_leaves_nothing(sample: str, tmp_path: Path) -> None:
    broken = tmp_path / "b.zarr"
    shutil.copytree(sample, broken)
    (broken / "raw/s0/raw/c/2/0/0").unlink()
    for one in VOLUMES:
        with pytest.raises(StoreError, match="missing is not zero"):
            exported(str(broken), "raw", tmp_path / name_of(one))
    assert {p.name for p in tmp_path.iterdir()} == {"b.zarr"}


def test_what_a_killed_export_left_is_removed_by_the_next(sample: str, tmp_path: Path) -> None:
    left = tmp_path / f".a.tif.{32 * 'a'}.partial"
    other = tmp_path / f".b.tif.{32 * 'a'}.partial"
    for folder in (left, other):
        (folder / "made").mkdir(parents=True)
        (folder / "made/a.tif").write_bytes(b"half")
        (folder / "lock").touch()
    exported(sample, "raw", tmp_path / "a.tif")
    assert {p.name for p in tmp_path.iterdir()} == {"a.tif", other.name}


def test_what_a_living_export_writes_is_left_alone(sample: str, tmp_path: Path) -> None:
    with staging.staged(tmp_path / "a.tif") as path:
        path.write_bytes(b"half")
        staging.remove_abandoned(tmp_path / "a.tif")
        assert path.read_bytes() == b"half"
    assert (tmp_path / "a.tif").read_bytes() == b"half"


@pytest.mark.slow
def test_a_killed_export_leaves_no_file_and_is_done_again(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 2, (60, 60, 60), np.uint8)
    np.save(tmp_path / "noise.npy", noise)
    made = str(tmp_path / "noise.zarr")
    two = tim3d.Phases(pore=0, solid=1)
    tim3d.ingest(
        tmp_path / "noise.npy", made, voxel_size=SIZE, field="phase", phases=two, options=AGAIN
    )
    out = tmp_path / "a.obj"
    words = [sys.executable, "-m", "tim3d", "export", made, "phase", str(out), "--phases", "solid"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(tmp_path.glob(".a.obj.*/made/a.obj")):
            time.sleep(0.01)
        process.kill()
    assert not out.exists()
    assert len(list(tmp_path.glob(".a.obj.*"))) == 1
    exported(made, "phase", out, phases="solid")
    again = exported(made, "phase", tmp_path / "b.obj", phases="solid")
    assert out.read_bytes() == again.read_bytes()
    assert list(tmp_path.glob(".*")) == []


RECIPE = """
sample = "cu.zarr"
[[step]]
verb = "simulate"
folder = "stack"
shape = [16, 32, 32]
voxel_size = { z = 10, y = 10, x = 10 }
[[step]]
verb = "ingest"
source = "stack/truth"
voxel_size = { z = 10, y = 10, x = 10 }
field = "phase"
phases = { pore = 0, solid = 1 }
[[step]]
verb = "measure"
[[step]]
verb = "export"
name = "voxels out"
field = "phase"
out = "cu.vti"
z = "0:80"
[[step]]
verb = "export"
name = "solid out"
field = "phase"
out = "cu.stl"
phases = ["solid"]
[[step]]
verb = "export"
name = "numbers out"
field = "phase_descriptors"
out = "cu.csv"
[[step]]
verb = "export"
name = "picture out"
field = "phase"
out = "cu.svg"
"""


@pytest.mark.long
def test_exports_of_a_recipe_are_planned_before_anything_exists_and_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cu.toml").write_text(RECIPE)
    planned = [name for name, plans in plan_recipe("cu.toml") if plans]
    assert [name for name in planned if "out" in name] == [
        "voxels out",
        "solid out",
        "numbers out",
        "picture out",
    ]
    assert {p.name for p in tmp_path.iterdir()} == {"cu.toml"}
    run_recipe("cu.toml", progress=False)
    made = {p.suffix for p in tmp_path.glob("cu.*")}
    assert made == {".toml", ".zarr", ".runs", ".vti", ".stl", ".csv", ".svg"}
    assert len(list(tmp_path.glob("cu.zarr*"))) == 2


def test_the_shell_exports(sample: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "a.vti")
    words = ["export", sample, "phase", out, "--beside", "raw", "--z", "0:200", "--unit", "um"]
    assert main([*words, "--plan"]) == 0
    assert "export vti: 4 of 4 blocks left" in capsys.readouterr().out
    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert main(["export", sample, "phase", out, "--quiet"]) == 4
