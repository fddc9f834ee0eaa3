"""Every descriptor of any region and window through the store: as counted in one box of the whole volume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import tim3d
from tests.integration.test_measure import PHASES, assert_same, quiet, volume
from tim3d.cli.main import main
from tim3d.descriptors import KINDS
from tim3d.descriptors.base import Descriptor, Material, evaluate, inputs_of, partials_of
from tim3d.descriptors.builtin import BUILTIN, select, settled
from tim3d.descriptors.inputs import Input
from tim3d.engine.state.status import status
from tim3d.errors import ArgumentError, MissingFieldError, StoreError
from tim3d.grid import Box, Triple
from tim3d.stages.shared.percolating import percolating, through_bits
from tim3d.storage import store

SHAPE, SPACING = (17, 20, 23), (3.0, 2.0, 2.5)
MATERIAL = Material(PHASES, SPACING)
SHORT = {"correlation": ":lags=3", "chord_length": ":lags=4", "curvature": ":sigma=1,bins=8"}
SHORT |= {"cluster_correlation": ":lags=2", "interface_orientation": ":sigma=1"}
WORDS = [
    *BUILTIN,
    *(kind + SHORT.get(kind, "") for kind in KINDS),
    "triple_phase_boundary:components=component",
]
FEW = ["phase_fraction", "specific_surface", "correlation:lags=3"]
LABELLED = "triple_phase_boundary:components=component"


def ingested(folder: Path, labels: np.ndarray, shard: Triple) -> str:
    np.save(folder / "phase.npy", labels)
    url, size = str(folder / "a.zarr"), dict(zip("zyx", SPACING, strict=True))
    given = {"voxel_size": size, "field": "phase", "phases": PHASES, "shard": shard}
    tim3d.ingest(folder / "phase.npy", url, **given, options=quiet())
    return url


@pytest.fixture(scope="module", params=[(9, 11, 12), (17, 7, 23)], ids=str)
def everything(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Every descriptor measured, in blocks of two kinds."""
    url = ingested(tmp_path_factory.mktemp("regions"), volume(SHAPE, seed=7), request.param)
    tim3d.label(url, keep=True, options=quiet())
    tim3d.distance(url, options=quiet())
    tim3d.thickness(url, options=quiet())
    tim3d.measure(url, WORDS, options=quiet(request.param))
    return url


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three descriptors measured."""
    url = ingested(tmp_path_factory.mktemp("few"), volume(SHAPE, seed=7), (6, 8, 9))
    tim3d.measure(url, FEW, options=quiet((6, 8, 9)))
    return url


def voxels_of(url: str, chosen: tuple[Descriptor, ...]) -> dict[Input, np.ndarray]:
    """Whole fields of all inputs, in memory."""
    labels, found = store.read_field(url, "phase"), {}
    for one in inputs_of(partials_of(chosen)):
        field = store.read_field(url, one.field_name("phase"))
        values = store.field_array(url, field.name)[...]
        found[one] = (
            through_bits(values, percolating(url, labels, field))
            if one.role == "through"
            else values
        )
    return found


def expected(url: str, region: Box) -> xr.Dataset:
    """What one count of the region gives, with the whole volume around it."""
    chosen = settled(select(WORDS), MATERIAL, SHAPE)
    totals = evaluate(partials_of(chosen), voxels_of(url, chosen), region, MATERIAL)
    return xr.merge([d.finalize(totals, MATERIAL, region.start) for d in chosen], join="exact")


def asked(region: Box) -> dict[str, Any]:
    ends = zip("zyx", region.start, region.stop, strict=True)
    return {axis: slice(low, high) for axis, low, high in ends} | {"unit": "voxels"}


@pytest.mark.parametrize(
    "region", [Box((1, 3, 2), (16, 19, 20)), Box((5, 9, 8), (6, 10, 10)), Box((0, 0, 0), (17, 20, 22))], ids=str
)  # fmt: skip
def test_any_region_of_every_descriptor_is_as_if_counted_alone(
    everything: str, region: Box
) -> None:
    found = tim3d.describe(everything, WORDS, plain=True, options=quiet(), **asked(region))
    assert_same(found, expected(everything, region))
    assert found.attrs["origin_nm"] == [n * s for n, s in zip(region.start, SPACING, strict=True)]
    assert found.attrs["end_nm"] == [n * s for n, s in zip(region.stop, SPACING, strict=True)]


@pytest.mark.long
def test_every_window_is_the_region_of_the_same_faces(sample: str) -> None:
    how = {"unit": "voxels", "plain": True, "options": quiet(), "y": slice(2, 19)}
    found = tim3d.describe(sample, FEW, windows={"z": 5, "x": 10}, step={"x": 6}, **how)
    assert (found.sizes["z_window"], found.sizes["x_window"]) == (3, 3)
    assert found.z_window_to.values.tolist() == [15.0, 30.0, 45.0]
    for n, low in enumerate((0, 6, 12)):
        one = tim3d.describe(sample, FEW, z=slice(5, 10), x=slice(low, low + 10), **how).drop_dims(
            ("z", "x")
        )
        window = found.isel(z_window=1, x_window=n, drop=True)
        xr.testing.assert_identical(window.drop_attrs(), one.drop_attrs())
        assert float(found.x_window[n]) == (low + 5) * 2.5
    assert "phase_fraction_z" not in found
    assert found.phase_fraction_y.dims == ("z_window", "x_window", "phase", "y")


def test_what_is_of_the_whole_volume_does_not_stand_beside_windows(tmp_path: Path) -> None:
    """Also where the windows fill the volume: each number there has a window."""
    url = ingested(tmp_path, volume(SHAPE, seed=7), (6, 8, 9))
    tim3d.measure(url, ["phase_fraction"], options=quiet())
    tim3d.label(url, options=quiet())
    pore = next(iter(PHASES))
    whole = tim3d.describe(url, pore=[pore])
    assert {"percolates", "open_porosity"} <= set(map(str, whole.data_vars))
    found = tim3d.describe(url, pore=[pore], windows={"z": SPACING[0]}, options=quiet())
    assert "porosity" in found
    assert not [str(n) for n, v in found.data_vars.items() if "z_window" not in v.dims]


def test_slabs_side_by_side_weigh_to_the_whole(sample: str) -> None:
    slabs = tim3d.describe(sample, ["specific_surface"], windows={"z": 3.0}, options=quiet())
    whole = tim3d.describe(sample, ["specific_surface"]).specific_surface
    assert slabs.sizes["z_window"] == SHAPE[0]
    np.testing.assert_allclose(slabs.specific_surface.mean("z_window"), whole, rtol=1e-12)
    assert not [name for name in slabs if str(name).endswith("_standard_error")]


def test_porosity_and_grams_are_of_each_window(sample: str) -> None:
    names = ["phase_fraction", "specific_surface"]
    how = {"density": {"solid": 8.96}, "unit": "voxels", "options": quiet()}
    found = tim3d.describe(sample, names, windows={"z": 5}, **how)
    assert found.porosity.equals(found.phase_fraction.sel(phase="pore", drop=True))
    one = tim3d.describe(sample, names, z=slice(5, 10), **how)
    for name in ("porosity", "relative_density", "specific_surface_per_mass"):
        np.testing.assert_array_equal(found[name].isel(z_window=1), one[name])
        assert found[name].attrs["units"] == one[name].attrs["units"]


def test_the_plan_says_what_is_read_again_and_nothing_is_written(sample: str) -> None:
    before = sorted(Path(f"{sample}.runs").rglob("*"))
    again, sums = map(str, tim3d.plan("describe", sample, z=slice(0, 5), unit="voxels", plain=True))
    assert "phase_regions" in again
    assert "halo" in again
    assert "blocks are cut and read again" in sums
    (sums,) = map(
        str, tim3d.plan("describe", sample, y=slice(None), windows={"z": 17}, unit="voxels")
    )
    assert "reads no voxel" in sums
    assert sorted(Path(f"{sample}.runs").rglob("*")) == before


def test_the_same_question_again_reads_no_voxel(
    sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    region = {"z": slice(3, 11), "x": slice(1, 20), "unit": "voxels"}
    first = tim3d.describe(sample, **region, options=quiet()).load()
    reading = store.read_box
    monkeypatch.setattr(store, "read_box", None)
    assert tim3d.describe(sample, **region, options=quiet()).identical(first)
    monkeypatch.setattr(store, "read_box", reading)
    again = tim3d.describe(sample, **region, options=quiet(overwrite=True))
    assert again.identical(first)


def test_a_finished_region_has_no_blocks_left(sample: str) -> None:
    tim3d.describe(sample, windows={"z": 4}, step={"z": 3}, unit="voxels", options=quiet())
    (asked,) = [str(one) for one in status(sample).passes if one.name == "phase_regions"][-1:]
    assert ", 0 left, 0 failed" in asked


def test_a_region_that_cuts_blocks_has_the_errors_of_its_parts(sample: str) -> None:
    region = {"z": slice(1, 16), "y": slice(3, 19), "x": slice(2, 20), "unit": "voxels"}
    found = tim3d.describe(
        sample, ["phase_fraction", "specific_surface"], options=quiet(), **region
    )
    assert (found.specific_surface_standard_error > 0).all()
    assert found.specific_surface_standard_error.attrs["method"].endswith("8 sub-blocks")
    assert found.phase_fraction.attrs["ancillary_variables"] == "phase_fraction_standard_error"


def test_an_interrupted_region_goes_on_where_it_was(
    sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    region = {"z": slice(4, 13), "y": slice(1, 20), "unit": "voxels", "options": quiet()}
    reading, read = store.read_box, []

    def counted(array: Any, box: Box) -> Any:
        if len(read) == 5:
            raise StoreError("the disk is gone")
        read.append(box)
        return reading(array, box)

    monkeypatch.setattr(store, "read_box", counted)
    with pytest.raises(StoreError, match="the disk is gone"):
        tim3d.describe(sample, FEW, **region)
    monkeypatch.setattr(
        store, "read_box", lambda array, box: read.append(box) or reading(array, box)
    )
    found = tim3d.describe(sample, FEW, **region)
    assert len(read) == len(set(read)) == 21
    assert found.identical(tim3d.describe(sample, FEW, **region))


def labelled(folder: Path, block: Triple = (6, 8, 9)) -> str:
    url = ingested(folder, volume(SHAPE, seed=3), block)
    tim3d.label(url, keep=True, options=quiet())
    tim3d.measure(url, ["phase_fraction", LABELLED], options=quiet(block))
    return url


def test_a_field_that_is_gone_is_named_where_it_must_be_read_again(tmp_path: Path) -> None:
    url = labelled(tmp_path)
    store.delete_node(url, "component")
    whole = tim3d.describe(url, z=slice(0, 18), options=quiet())
    assert "triple_phase_boundary_active_components_component" in whole
    with pytest.raises(MissingFieldError, match=r"label .* --keep"):
        tim3d.describe(url, z=slice(0, 15), options=quiet())
    tim3d.describe(url, ["phase_fraction"], z=slice(0, 15), options=quiet())


def test_a_missing_shard_is_not_zero_in_a_region_that_is_read_again(tmp_path: Path) -> None:
    url = labelled(tmp_path)
    (Path(url) / "phase/s0/phase/c/0/0/0").unlink()
    tim3d.describe(url, ["phase_fraction"], z=slice(18, None), options=quiet())
    with pytest.raises(StoreError, match="phase"):
        tim3d.describe(url, ["phase_fraction"], z=slice(0, 15), options=quiet())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"z": slice(0, 10)}, "z = 10 nm cuts a voxel; the nearest face of a voxel is at 9 nm"),
        ({"x": slice(0, 1.5), "unit": "voxels"}, "x = 1.5 voxels cuts a voxel"),
        ({"x": slice(None, 120)}, "x = 120 nm is outside of the sample, which ends at 57.5 nm"),
        ({"y": slice(-1, None)}, "y = -1 nm is outside of the sample"),
        ({"z": slice(18, 6)}, "empty along z"),
        ({"step": {"z": 20}}, "a step is that of windows"),
        ({"options": tim3d.Options(block=(6, 8, 9))}, "describe has no block"),
    ],
)
def test_what_is_no_region_is_refused(sample: str, given: dict[str, Any], says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        tim3d.describe(sample, **given)


def test_windows_in_the_shell_show_their_spread_and_each_in_the_csv(
    sample: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = [
        "describe",
        sample,
        "--windows",
        "z=5,x=10",
        "--unit",
        "voxels",
        "--descriptors",
        "phase_fraction",
    ]
    assert main([*typed, "--quiet"]) == 0
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("porosity"))
    assert line.split()[:3] == ["porosity", "1", "6"]
    assert main([*typed, "--csv", str(tmp_path / "w.csv"), "--quiet"]) == 0
    head, *rows = (tmp_path / "w.csv").read_text().splitlines()
    assert "z_window,x_window" in head
    assert len([row for row in rows if ",porosity," in row]) == 6
    assert main([*typed, "--plan", "--quiet"]) == 0
    assert "phase_regions" in capsys.readouterr().out
