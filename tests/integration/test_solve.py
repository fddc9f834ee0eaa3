"""The verb solve: what it writes, that it does nothing twice, and what it refuses."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.ndimage as ndi
from numpy.typing import NDArray

import tim3d
from tim3d.cli.main import main
from tim3d.engine import current_cluster
from tim3d.errors import (
    ArgumentError,
    InputError,
    LockedError,
    MemoryPlanError,
    MissingFieldError,
    MixedRunError,
)
from tim3d.forecast import forecasting
from tim3d.grid import Box
from tim3d.kernels.conduction.conduction import Physics, conduct
from tim3d.kernels.conduction.interfaces import Areas, Contacts
from tim3d.stages.conduction import solve as stage
from tim3d.stages.conduction.interfaces import record_of, warn_of_contacts
from tim3d.storage import store
from tim3d.storage.schema import Field

SPACING = (20.0, 5.0, 4.0)
PHASES = tim3d.Phases(pore=0, copper=7, unused=9)
K = {"copper": 400.0, "pore": 0.026, "unused": 1.0}
BY_CODE = {7: 400.0, 0: 0.026}
QUIET = tim3d.Options(progress=False)
NAMED = "pore=0.026,copper=400,unused=1"
NODE, POTENTIAL = f"phase_transport_{NAMED}", "phase_potential_{}_" + NAMED


def volume(shape: tuple[int, int, int] = (11, 18, 21), seed: int = 0) -> NDArray[np.uint8]:
    smooth = ndi.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2)
    return np.where(smooth > 0, 7, 0).astype(np.uint8)


def ingested(
    folder: Path, labels: NDArray[np.uint8], shard: tuple[int, int, int] = (4, 8, 8)
) -> str:
    np.save(folder / "phase.npy", labels)
    url, size = str(folder / "a.zarr"), dict(zip("zyx", SPACING, strict=True))
    tim3d.ingest(
        folder / "phase.npy",
        url,
        voxel_size=size,
        field="phase",
        phases=PHASES,
        shard=shard,
        options=QUIET,
    )
    return url


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sample."""
    folder = tmp_path_factory.mktemp("made")
    ingested(folder, volume())
    return folder


@pytest.fixture
def sample(made: Path, tmp_path: Path) -> str:
    """A copy of it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return str(tmp_path / "a.zarr")


def solve(sample: str, **arguments: Any) -> Any:
    return tim3d.solve(sample, **{"conductivity": K, "options": QUIET, **arguments})


def planned(sample: str, **arguments: Any) -> list[Any]:
    return tim3d.solve.plan(sample, **{"conductivity": K, "options": QUIET, **arguments})


def replace_labels(sample: str, folder: Path, labels: NDArray[np.uint8]) -> None:
    np.save(folder / "phase.npy", labels)
    tim3d.ingest(
        folder / "phase.npy", sample, voxel_size=dict(zip("zyx", SPACING, strict=True)), field="phase",
        phases=PHASES, shard=(4, 8, 8), options=tim3d.Options(progress=False, overwrite=True),
    )  # fmt: skip


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("faces", ["outer", "centres"])
def test_results_are_those_of_the_kernel(sample: str, faces: Any) -> None:
    found = solve(sample, axis=["x", "y", "z"], faces=faces)
    assert found.axis.values.tolist() == ["z", "y", "x"]
    for number, axis in enumerate("zyx"):
        expected = conduct(volume(), BY_CODE, number, spacing=SPACING, electrodes=faces)
        one = found.sel(axis=axis)
        assert one.effective_conductivity == expected.conductivity
        assert (
            one.tortuosity_factor_total
            == expected.tortuosity_total
            == one.tortuosity_factor_through
        )
        assert (one.percolates, one.flux_spread, one.iterations) == (
            1,
            expected.spread,
            expected.iterations,
        )
        profile = found[f"plane_conductivity_{axis}"]
        np.testing.assert_array_equal(profile, expected.flux)
        planes = profile[f"{axis}_face"].values
        edge = 0 if faces == "outer" else SPACING[number]
        assert (planes[0], planes[-1]) == (edge, volume().shape[number] * SPACING[number] - edge)


def test_every_number_has_a_unit_a_name_and_a_source(sample: str) -> None:
    found = solve(sample, richardson=True)
    for name, variable in found.data_vars.items():
        assert variable.attrs["units"] == ("W m-1 K-1" if "conductivity" in str(name) else "1")
        assert all(variable.attrs[key] for key in ("long_name", "method", "reference"))
    assert found.attrs["dirichlet"] == "outer faces, L = N h"
    assert found.attrs["conductivity"] == K
    assert tim3d.validate(sample) == []


def test_the_bounds_hold_the_value(sample: str) -> None:
    found = solve(sample, axis=["z", "y", "x"])
    k, share = found.effective_conductivity, (volume() == 7).mean()
    assert (found.conductivity_wiener_lower < k).all()
    assert (k < found.conductivity_wiener_upper).all()
    assert float(found.conductivity_wiener_upper.sel(axis="y")) == pytest.approx(
        share * 400 + (1 - share) * 0.026
    )
    assert (found.conductivity_hashin_shtrikman_upper < found.conductivity_wiener_upper).all()


def test_a_second_call_does_nothing(sample: str) -> None:
    first = solve(sample)
    written = {path: path.stat().st_mtime_ns for path in Path(sample).rglob("*")}
    assert solve(sample).identical(first)
    assert {path: path.stat().st_mtime_ns for path in Path(sample).rglob("*")} == written
    assert planned(sample) == []
    for other in (
        {"axis": "y"},
        {"tolerance": 1e-4},
        {"conductivity": K | {"pore": 0}},
        {"keep_potential": True},
        {"options": tim3d.Options(progress=False, overwrite=True)},
    ):
        assert planned(sample, **other) != []


def test_a_new_phase_field_is_solved_anew(sample: str, tmp_path: Path) -> None:
    first = float(solve(sample).effective_conductivity[0])
    replace_labels(sample, tmp_path, volume(seed=1))
    expected = conduct(volume(seed=1), BY_CODE, 0, spacing=SPACING).conductivity
    assert float(solve(sample).effective_conductivity[0]) == expected != first


def test_the_potential_is_a_field(sample: str) -> None:
    solve(sample, axis=["z", "x"], conductivity=K | {"pore": 0}, keep_potential=True)
    for number, axis in ((0, "z"), (2, "x")):
        expected = conduct(
            volume(), {7: 400.0, 0: 0.0}, number, spacing=SPACING, keep_potential=True
        ).potential
        kept = tim3d.open_field(sample, f"phase_potential_{axis}_pore=0,copper=400,unused=1")
        assert expected is not None
        np.testing.assert_array_equal(kept.values, np.nan_to_num(expected, nan=-1))
        assert (kept.dtype, kept.attrs["units"]) == (np.float32, "1")
        np.testing.assert_allclose(kept.z.diff("z"), SPACING[0])
    assert tim3d.validate(sample, deep=True) == []
    assert not [node for node in store.nodes(sample) if "potential_y" in node]


def test_a_wall_gives_zero_and_says_so(tmp_path: Path) -> None:
    labels = volume()
    labels[5] = 0
    found = solve(
        ingested(tmp_path, labels), conductivity=K | {"pore": 0}, axis=["z", "y"], richardson=True
    )
    z = found.sel(axis="z")
    assert (z.effective_conductivity, z.percolates, z.iterations, z.mean_conductivity_through) == (
        0,
        0,
        0,
        0,
    )
    assert np.isinf(z.tortuosity_factor_total)
    assert np.isnan(z.tortuosity_factor_total_limit)
    assert found.sel(axis="y").percolates == 1


def test_two_resolutions_give_the_limit_of_a_smooth_geometry(tmp_path: Path) -> None:
    # One pore space at 2, 4 and 8 voxels per correlation length: the coarse pair foretells what the
    # fine pair gives.
    white = np.random.default_rng(5).standard_normal((64, 64, 64), dtype=np.float32)
    smooth = ndi.gaussian_filter(white, 4.0, mode="wrap")
    pore = smooth < np.quantile(smooth, 0.42)
    tau = {
        n: conduct(
            np.ascontiguousarray(pore[::n, ::n, ::n]).view(np.uint8), {0: 0, 1: 1}
        ).tortuosity_total
        for n in (1, 2, 4)
    }
    labels = np.where(pore, 0, 7).astype(np.uint8)[::2, ::2, ::2]
    np.save(tmp_path / "half.npy", labels)
    url = str(tmp_path / "half.zarr")
    tim3d.ingest(
        tmp_path / "half.npy",
        url,
        voxel_size={"z": 2, "y": 2, "x": 2},
        field="phase",
        phases=PHASES,
        options=QUIET,
    )
    found = solve(
        url, conductivity={"pore": 1, "copper": 0, "unused": 0}, richardson=True, units="m2 s-1"
    ).sel(axis="z")
    assert found.effective_conductivity.units == "m2 s-1"
    assert float(found.tortuosity_factor_total) == pytest.approx(tau[2], rel=1e-12)
    assert float(found.tortuosity_factor_total_coarse) == pytest.approx(tau[4], rel=1e-12)
    finer = 2 * tau[1] - tau[2]
    assert (
        abs(found.tortuosity_factor_total_limit - finer)
        < found.tortuosity_factor_total_limit_uncertainty
    )
    assert abs(found.tortuosity_factor_total_limit - finer) < 0.5 * abs(tau[2] - finer)


def test_the_plan_says_what_it_costs(sample: str) -> None:
    plan, *fields = planned(sample, axis=["z", "y"], keep_potential=True)
    voxels = volume().size
    assert (plan.read_bytes, plan.write_bytes, plan.block) == (voxels, 8 * voxels, volume().shape)
    # Ghosts weigh much in so small a volume.
    assert 20 * voxels < plan.peak_bytes - stage.LOADED_LATER_BYTES < 100 * voxels
    assert {one.name.split("/")[0] for one in fields} == {POTENTIAL.format(axis) for axis in "zy"}
    assert store.nodes(sample) == ["phase"]


def test_every_kept_field_is_in_the_plan_of_memory(sample: str) -> None:
    kinds = ("keep_potential", "keep_flux", "keep_sensitivity")
    plans = [planned(sample, **dict.fromkeys(kinds[:n], True))[0] for n in range(4)]
    assert len({plan.peak_bytes for plan in plans}) == 4
    assert plans == sorted(plans, key=lambda plan: plan.peak_bytes)
    # A kept field has four bytes a voxel while it is solved.
    steps = np.diff([plan.peak_bytes for plan in plans])
    assert (steps >= 4 * volume().size).all()


def test_too_little_memory_is_refused_with_what_would_fit(sample: str) -> None:
    with (
        tim3d.cluster("serial", memory_bytes=stage.LOADED_LATER_BYTES + 2**16),
        pytest.raises(
            MemoryPlanError,
            match=r"phase_transport_.* needs .* GiB .*block 11x18x21.*voxels would fit into one worker",
        ),
    ):
        solve(sample)
    assert store.nodes(sample) == ["phase"]


def test_the_refusal_names_the_decomposition_that_would_fit(tmp_path: Path) -> None:
    big = ingested(tmp_path, np.zeros((128, 64, 64), np.uint8), (16, 64, 64))
    with (
        tim3d.cluster("serial", memory_bytes=2**20 * 10),
        pytest.raises(MemoryPlanError, match="more memory"),
    ):
        solve(big)
    labels = store.complete_field(big, "phase")
    job = stage.Job(
        big, labels, stage.Solving(("z",), Physics({0: 1.0}), 1e-3, False, "1"), (), {}, "n", 300
    )
    base = {1: stage.LOADED_LATER_BYTES, 2: stage.BASE_BYTES, 4: stage.BASE_BYTES}
    needs = [stage.peak_bytes(job, slabs, current_cluster()) - base[slabs] for slabs in base]
    assert needs[0] > 1.5 * needs[1] > 2 * needs[2]
    (plan,) = planned(big)
    assert plan.peak_bytes == needs[0] + base[1]


@pytest.mark.long
def test_the_plan_holds_what_workers_hold_of_earlier_steps(sample: str, two_workers: str) -> None:
    """Networks that a segmentation loaded stay in its workers."""
    held = 500 * 2**20

    def load(dask_worker: Any) -> None:
        dask_worker.held = np.ones(held, np.uint8)

    def drop(dask_worker: Any) -> None:
        del dask_worker.held

    labels = store.complete_field(sample, "phase")
    job = stage.Job(
        sample, labels, stage.Solving(("z",), Physics({0: 1.0}), 1e-3, False, "1"), (), {}, "n", 300
    )
    with tim3d.cluster(two_workers):
        on = current_cluster()
        assert on.client is not None
        before = stage.peak_bytes(job, 2, on)
        on.client.run(load)
        try:
            after, resident = stage.peak_bytes(job, 2, on), on.resident_bytes()
        finally:
            on.client.run(drop)
    assert resident > held
    assert after > max(resident, before)


def test_the_workers_that_are_named_would_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fewest whose part fits, and never more than there can be parts."""
    monkeypatch.setattr(stage, "BASE_BYTES", stage.LOADED_LATER_BYTES)
    big, limit = (
        ingested(tmp_path, np.zeros((128, 64, 64), np.uint8), (16, 64, 64)),
        stage.BASE_BYTES + 6 * 2**20,
    )
    with tim3d.cluster("serial", memory_bytes=limit), pytest.raises(MemoryPlanError) as refused:
        solve(big)
    found = re.search(r"(\d+) workers of this memory would do", str(refused.value))
    assert found
    labels, count = store.complete_field(big, "phase"), int(found[1])
    job = stage.Job(
        big, labels, stage.Solving(("z",), Physics({0: 1.0}), 1e-3, False, "1"), (), {}, "n", 300
    )
    assert (
        stage.peak_bytes(job, count, current_cluster())
        <= limit
        < stage.peak_bytes(job, count - 1, current_cluster())
    )
    with (
        tim3d.cluster("serial", memory_bytes=stage.BASE_BYTES + 2**19),
        pytest.raises(MemoryPlanError, match="more m"),
    ):
        solve(big)


def test_labels_are_read_once(sample: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    whole = stage.Case.read

    def noting(case: stage.Case, start: int, stop: int, out: np.ndarray) -> None:
        read.extend(range(start, stop))
        whole(case, start, stop, out)

    monkeypatch.setattr(stage.Case, "read", noting)
    solve(sample)
    assert read == list(range(len(volume())))


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"conductivity": {"pore": 1}}, ArgumentError, r"no conductivity for .*pore=1,copper=VALUE,unused=VALUE"),
        ({"conductivity": K | {"steel": 1}}, ArgumentError, "'phase' has the phases pore, copper, unused"),
        ({"conductivity": K | {"pore": -1}}, ArgumentError, "it must be 0 or positive"),
        ({"conductivity": K | {"pore": float("nan")}}, ArgumentError, "it must be 0 or positive"),
        ({"conductivity": K | {"pore": 1e-6}}, ArgumentError, "a contrast of 4e\\+08"),
        ({"axis": "w"}, ArgumentError, "axis is 'w'; use z, y or x"),
        ({"axis": []}, ArgumentError, "use z, y or x"),
        ({"axis": ["z", "z"]}, ArgumentError, "each once"),
        ({"contact": [1, 2, 3]}, ArgumentError, "3 contacts are given"),
        ({"contact": [1e6, -3]}, ArgumentError, r"a contact is -3; .* positive .*1e\+10 W"),
        ({"interface": {"pore:copper": 1e8, "copper:pore": 2e8}}, ArgumentError, "given twice"),
        ({"interface": {"pore:copper": -1e8}}, ArgumentError, r"pore:copper is -1e\+08; .* positive .*1e\+10 W"),
        ({"interface": {"copper:copper": 1e5}}, ArgumentError, "no field says which voxels .*--particles FIELD"),
        ({"interface": {"pore:unused": 1e8}}, InputError, "pore:unused has no place: pore and unused touch nowhere"),
        ({"interface_area": "faces"}, ArgumentError, "no interface has a resistance"),
        ({"particles": "phase"}, ArgumentError, "add --interface copper:copper=1e5"),
        ({"interface": {"copper:copper": 1e5}, "particles": "grains"}, MissingFieldError, "no field 'grains'"),
        ({"cell": True, "sides": "periodic"}, ArgumentError, "leave out --faces and --sides"),
        ({"faces": "inner"}, ArgumentError, "electrodes are 'inner'"),
        ({"tolerance": 2}, ArgumentError, "tolerance is 2"),
        ({"field": "truth"}, MissingFieldError, "no field 'truth'.*tim3d segment"),
    ],
)  # fmt: skip
def test_bad_arguments_leave_nothing_behind(
    sample: str, arguments: Any, error: type[Exception], says: str
) -> None:
    before = store.nodes(sample)
    with pytest.raises(error, match=says):
        solve(sample, **arguments)
    assert store.nodes(sample) == before


def test_a_thin_axis_is_refused_and_the_others_are_those_of_a_plane(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    thin = ingested(tmp_path, volume((1, 18, 21)))
    with pytest.raises(ArgumentError, match=r"1 voxel\(s\) along z.*another axis"):
        solve(thin)
    assert "is a plane" not in caplog.text
    assert solve(thin, axis="x").percolates.item() == 1
    assert "'phase' is a plane (1 x 18 x 21 voxels): the flux stays in it" in caplog.text


def test_a_code_without_a_name_is_bad_input(tmp_path: Path) -> None:
    sample, labels = ingested(tmp_path, volume()), volume()
    labels[3, 3, 3] = 5
    store.write_box(
        store.field_array(sample, "phase", mode="r+"), Box((0, 0, 0), (4, 18, 21)), labels[:4]
    )
    with pytest.raises(InputError, match=r"labels \[5\] belong to no phase"):
        solve(sample)


def test_a_grey_field_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "raw.npy", volume())
    url = str(tmp_path / "raw.zarr")
    tim3d.ingest(tmp_path / "raw.npy", url, voxel_size={"z": 1, "y": 1, "x": 1}, options=QUIET)
    with pytest.raises(ArgumentError, match="holds no labels"):
        solve(url, field="raw")


def test_a_locked_sample_is_not_written(sample: str) -> None:
    from tim3d.engine import lock_sample

    with lock_sample(sample), pytest.raises(LockedError):
        solve(sample)


def test_the_command_line(sample: str, capsys: pytest.CaptureFixture[str]) -> None:
    typed = [
        "solve",
        sample,
        "--conductivity",
        "copper=400,pore=0.026,unused=0",
        "--axis",
        "z,x",
        "--faces",
        "centres",
    ]
    assert main([*typed, "--tolerance", "1e-4", "--units", "1"]) == 0
    shown = capsys.readouterr().out
    assert "effective_conductivity" in shown
    assert "tortuosity_factor_through" in shown
    record = store.node_attributes(
        sample,
        "phase_transport_pore=0.026,copper=400,unused=0,faces=centres,tolerance=0.0001,axis=z+x,units=1",
    )["parameters"]
    assert record["conductivity"] == {"0": 0.026, "7": 400.0, "9": 0.0}
    assert (record["axes"], record["faces"], record["units"]) == (["z", "x"], "centres", "1")
    assert main([*typed, "--tolerance", "1e-4", "--units", "1", "--plan"]) == 0
    assert "nothing is left to do" in capsys.readouterr().out
    assert main(["solve", sample, "--conductivity", "copper"]) == 2
    assert "write one number for each phase" in capsys.readouterr().err


def test_one_question_has_one_name(sample: str) -> None:
    alike: list[dict[str, Any]] = [
        {"interface": {"pore:copper": 1e8}}, {"interface": {"copper:pore": 100000000}, "axis": ["z"]},
    ]  # fmt: skip
    for one in [*alike, {"conductivity": dict(reversed(K.items()))}, {"contact": float("inf")}, {}]:
        solve(sample, **one)
    assert store.nodes(sample) == ["phase", NODE, f"{NODE},pore+copper=100000000"]


def test_interfaces_act_on_their_true_area_and_the_result_says_so(sample: str) -> None:
    one = {"interface": {"pore:copper": 1e8}, "tolerance": 1e-6}
    found, stairs = solve(sample, **one), solve(sample, **one, interface_area="faces")
    given: Any = {"spacing": SPACING, "interface": {(0, 7): 0.1}, "tolerance": 1e-6}
    for area, there in (("normal", found), ("faces", stairs)):
        plain = conduct(volume(), BY_CODE, interface_area=area, **given)
        assert there.effective_conductivity.item() == plain.conductivity
        assert there.attrs["interface_area"] == area
        assert there.interface.values.tolist() == ["pore:copper"]
        assert (
            there.interface_area_faces.item(),
            there.interface_area_true.item(),
        ) == plain.areas.interfaces[0, 7]
    assert found.effective_conductivity < stairs.effective_conductivity
    assert found.interface_area_true < stairs.interface_area_true == stairs.interface_area_faces
    assert found.interface_area_true.attrs["units"] == "nm2"


@pytest.mark.parametrize("area", ["normal", "faces"])
def test_vectors_know_on_which_area_an_interface_was_solved(
    sample: str, tmp_path: Path, area: Any
) -> None:
    given: Any = {
        "interface": {"pore:copper": 1e8},
        "tolerance": 1e-6,
        "conductivity": K | {"pore": 40.0},
    }
    found = solve(sample, **given, interface_area=area, keep_potential=True, out="a")
    tim3d.export(sample, "a_potential_z", tmp_path / "a.h5", vectors=True, options=QUIET)
    with h5py.File(tmp_path / "a.h5") as file:
        along = np.asarray(file["a_flux_vector_z"])[..., 2]
    assert along.mean() == pytest.approx(found.effective_conductivity.item(), rel=1e-4)
    planes = along.mean(axis=(1, 2))
    assert planes == pytest.approx(planes.mean(), rel=1e-3)


def test_narrow_contacts_are_counted_and_named(caplog: pytest.LogCaptureFixture) -> None:
    """Of a radius below 2 voxels, of the volume's own voxel size."""
    pairs, areas = np.array([[1, 2], [2, 3]]), np.array([12.0, 13.0])
    for spacing, narrow in (((1.0, 1.0, 1.0), 1), ((2.0, 1.0, 1.0), 2), ((0.5, 1.0, 1.0), 0)):
        record = record_of(Areas({}, Contacts(pairs, areas), np.arange(1, 4)), spacing)
        assert record["contacts"]["narrow"] == narrow
        assert record["contacts"]["coordination"] == [0, 2, 1]
        caplog.clear()
        warn_of_contacts(record)
        assert (f"{narrow} of 2 contacts" in caplog.text) == (narrow > 0)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, ""),
        ({"cell": True}, "normal to z, y, x, and"),
        ({"sides": "periodic"}, "normal to z, y, and"),
        ({"sides": "periodic", "axis": ["x", "y"]}, "normal to z, y, x, and"),
    ],
)
def test_particles_that_a_periodic_face_cuts_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, more: dict[str, Any], said: str
) -> None:
    copper = np.full((4, 6, 8), 7, np.uint8)
    url, numbers = ingested(tmp_path, copper), np.arange(8) // 4 + np.ones_like(copper)
    np.save(tmp_path / "grains.npy", numbers.astype(np.uint16))
    size = dict(zip("zyx", SPACING, strict=True))
    tim3d.ingest(
        tmp_path / "grains.npy", url, voxel_size=size, field="grains", convert="objects", options=QUIET
    )  # fmt: skip
    how: Any = {"interface": {"copper:copper": 1e8}, "particles": "grains", "axis": "x"}
    tim3d.solve(url, conductivity=K, **how | more, options=QUIET)
    assert ("such a face cuts counts as two" in caplog.text) == bool(said)
    assert said in caplog.text


@pytest.mark.long
def test_contacts_of_particles_are_counted(
    sample: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Slices of four of 20 nm as particles of copper: contacts of any width between them."""
    slices = np.arange(11)[:, None, None] // 4 + np.zeros(volume().shape, np.int32)
    np.save(tmp_path / "grains.npy", slices.astype(np.uint16))
    size = dict(zip("zyx", SPACING, strict=True))
    tim3d.ingest(
        tmp_path / "grains.npy", sample, voxel_size=size, field="grains", shard=(4, 8, 8), options=QUIET
    )  # fmt: skip
    given: Any = {
        "interface": {"copper:copper": 1e8}, "particles": "grains", "axis": ["z", "x"], "keep_sensitivity": True
    }  # fmt: skip
    found, without = solve(sample, **given), solve(sample)
    assert found.effective_conductivity.sel(axis="z") < without.effective_conductivity.item()
    assert (found.flux_particle_count.item(), found.flux_contact_count.item()) == (
        2,
        1,
    )  # the first is none: 0
    assert found.flux_coordination_mean.item() == 1.0
    assert found.flux_coordination.values.tolist() == [0, 2]
    touching = (volume()[7] == 7) & (volume()[8] == 7)
    # Its rim is ragged: some of its faces are taken for slanted ones.
    assert 0.6 < found.flux_contact_area.item() / (touching.sum() * 20.0) <= 1
    assert "belong to no particle (0)" in caplog.text
    assert found.particle.values.tolist() == [1, 2]
    assert (found.flux_contact_first.item(), found.flux_contact_second.item()) == (1, 2)
    assert found.flux_contact_area_each.item() == found.flux_contact_area.item()
    np.testing.assert_allclose(
        found.flux_contact_share[:, 0], found.interface_share[:, 0], rtol=1e-12
    )
    assert np.abs(found.flux_particle_certificate).max() < 1e-12
    assert (found.flux_particle_share_missing > 0).all()
    assert found.flux_particle_share_largest.equals(found.flux_particle_share.max("particle"))
    # Across z, the first plane of the second particle.
    assert found.flux_contact_position.sel(axis="z", coordinate="z").item() == 8.5 * 20
    assert store.node_attributes(sample, next(n for n in store.nodes(sample) if "grains" in n and "tran" in n))[
        "inputs"
    ].keys() == {"phase", "grains"}  # fmt: skip


@pytest.mark.parametrize(
    ("conductance", "units", "outside", "lost"),
    [
        (99.0, "W m-1 K-1", True, False), (101.0, "W m-1 K-1", False, False), (99.0, "1", False, False),
        # 1/H of a twentieth of h / k, of the better conductor and the shortest edge, is lost.
        (4.9e9, "W m-1 K-1", False, False), (5.1e9, "W m-1 K-1", False, True), (1.1e10, "W m-1 K-1", True, True),
        (5.1e9, "1", False, True),
    ],
)  # fmt: skip
def test_a_conductance_in_another_unit_or_not_resolved_is_named(
    sample: str,
    caplog: pytest.LogCaptureFixture,
    conductance: float,
    units: str,
    outside: bool,
    lost: bool,
) -> None:
    known = K | {"copper": 1.0}
    planned(sample, conductivity=known, interface={"pore:copper": conductance}, units=units)
    said = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert ["is outside of 100 ... 1e+10" in one for one in said] == [True] * outside + [
        False
    ] * lost
    assert ["the voxels of 4 nm do not resolve it" in one for one in said] == [False] * outside + [
        True
    ] * lost


@pytest.mark.parametrize(
    ("contact", "named"), [([1e6, float("inf")], 0), (20.0, 1), ([1e6, 20.0], 1), ([5.0, 20.0], 2)]
)
def test_a_contact_in_another_unit_is_named(
    sample: str, caplog: pytest.LogCaptureFixture, contact: Any, named: int
) -> None:
    planned(sample, contact=contact)
    said = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert len([one for one in said if one.startswith("contact: ")]) == named


@pytest.mark.long
def test_sensitivities_are_a_field_and_shares_that_add_up(sample: str) -> None:
    given: Any = {
        "interface": {"pore:copper": 1e8},
        "contact": [1e8, 2e9],
        "axis": ["z", "x"],
        "tolerance": 1e-6,
    }
    plain = solve(sample, **given)
    found = solve(sample, **given, keep_sensitivity=True)
    assert plain.effective_conductivity.identical(found.effective_conductivity)
    shares = [
        found[f"{of}_share"].values.reshape(2, -1)
        for of in ("conductivity", "interface", "contact")
    ]
    np.testing.assert_allclose(np.concatenate(shares, 1).sum(1), 1, atol=1e-8)
    assert np.abs(found.sensitivity_certificate).max() < 1e-8
    assert found.contact_share.sel(axis="z", end="low") > found.contact_share.sel(
        axis="z", end="high"
    )
    (name,) = (n for n in store.nodes(sample) if n.startswith("phase_sensitivity_x"))
    field = tim3d.open_field(sample, name).values
    whole = (
        sum(K[phase] * field[volume() == code].sum() for phase, code in PHASES.items()) / field.size
    )
    by_phase = found.conductivity_share.sel(axis="x").sum() * found.effective_conductivity.sel(
        axis="x"
    )
    assert whole == pytest.approx(by_phase.item(), rel=1e-5)
    z, y, x = found.bottleneck_position.sel(axis="z", bottleneck=1).values
    assert all(0 < p < n * h for p, n, h in zip((z, y, x), volume().shape, SPACING, strict=True))
    assert (np.diff(found.bottleneck_share.sel(axis="z").dropna("bottleneck")) <= 0).all()
    with pytest.raises(ArgumentError, match="electrodes on the outer faces"):
        solve(sample, faces="centres", keep_sensitivity=True)


def test_the_worst_bottleneck_lies_where_the_field_of_sensitivity_has_it(sample: str) -> None:
    """Along every axis: in the cube of 8 voxels that loses most, at the voxel that loses most in it."""
    alone = {"copper": 1.0, "pore": 0.0, "unused": 0.0}
    found = solve(
        sample, conductivity=alone, axis=["z", "y", "x"], tolerance=1e-6, keep_sensitivity=True
    )
    for axis in "zyx":
        (name,) = (n for n in store.nodes(sample) if n.startswith(f"phase_sensitivity_{axis}"))
        lost = np.maximum(tim3d.open_field(sample, name).values, 0)
        cubes = {
            tuple(at): lost[tuple(slice(8 * n, 8 * n + 8) for n in at)]
            for at in np.ndindex(*(-(-n // 8) for n in lost.shape))
        }
        start, cube = max(cubes.items(), key=lambda one: one[1].sum())
        place = 8 * np.array(start) + np.unravel_index(cube.argmax(), cube.shape)
        worst = found.sel(axis=axis, bottleneck=1)
        assert worst.bottleneck_position.values == pytest.approx((place + 0.5) * SPACING)
        assert float(worst.bottleneck_share) == pytest.approx(cube.sum() / lost.sum(), rel=1e-4)


def test_two_potentials_are_both_there_and_one_is_shared(sample: str) -> None:
    other = K | {"pore": 1.0}
    solve(sample, keep_potential=True)
    solve(sample, keep_potential=True, conductivity=other)
    kept = [node for node in store.nodes(sample) if "potential" in node]
    assert kept == [POTENTIAL.format("z"), "phase_potential_z_pore=1,copper=400,unused=1"]
    made = store.node_attributes(sample, kept[0])["created"]
    solve(sample, keep_potential=True, axis=["z", "y"])
    assert store.node_attributes(sample, kept[0])["created"] == made
    assert POTENTIAL.format("y") in store.nodes(sample)


def test_results_of_replaced_labels_are_refused_and_renewed(sample: str, tmp_path: Path) -> None:
    solve(sample, keep_potential=True)
    replace_labels(sample, tmp_path, volume(seed=1))
    for read in (
        lambda: tim3d.open_dataset(sample, NODE),
        lambda: store.complete_field(sample, POTENTIAL.format("z")),
    ):
        with pytest.raises(
            MixedRunError, match=r"another version of 'phase'.*tim3d solve .*--conductivity"
        ):
            read()
    solve(sample, keep_potential=True)
    expected = conduct(volume(seed=1), BY_CODE, 0, spacing=SPACING, keep_potential=True).potential
    np.testing.assert_array_equal(tim3d.open_field(sample, POTENTIAL.format("z")).values, expected)


def test_another_question_under_the_same_name_is_refused(sample: str) -> None:
    solve(sample, out="mine")
    with pytest.raises(MixedRunError, match=r"'mine' .* was made with axes .*--out another-name"):
        solve(sample, out="mine", axis="y")
    assert (
        solve(
            sample, out="mine", axis="y", options=tim3d.Options(progress=False, overwrite=True)
        ).axis
        == "y"
    )
    with pytest.raises(MixedRunError, match="is not a result of solve"):
        solve(sample, out="phase")


def test_a_plan_writes_nothing_and_overwrite_solves_again(sample: str, tmp_path: Path) -> None:
    again = tim3d.Options(progress=False, overwrite=True)
    solve(sample, keep_potential=True)
    before, made = files_of(tmp_path), store.node_attributes(sample, POTENTIAL.format("z"))
    assert planned(sample, keep_potential=True) == []
    assert all(
        plan.left == plan.blocks > 0 for plan in planned(sample, keep_potential=True, options=again)
    )
    assert planned(sample, axis="y", keep_flux=True)
    assert files_of(tmp_path) == before
    voxels = store.field_array(sample, POTENTIAL.format("z"), mode="r+")
    store.write_box(voxels, Box((0, 0, 0), (4, 8, 8)), np.zeros((4, 8, 8), np.float32))
    solve(sample, keep_potential=True, options=again)
    assert tim3d.open_field(sample, POTENTIAL.format("z")).values[:4, :8, :8].any()
    assert (
        store.node_attributes(sample, POTENTIAL.format("z"))["fingerprint"] == made["fingerprint"]
    )


def test_a_solution_is_planned_before_its_sample_is_there(tmp_path: Path) -> None:
    with forecasting():
        field = Field(
            "phase", (8, 8, 8), "uint8", SPACING, (8, 8, 8), (8, 8, 8), labels=True, phases=PHASES
        )
        store.expect_field(
            str(tmp_path / "new.zarr"), field, {"fingerprint": "f", "verb": "segment"}
        )
        names = [plan.name for plan in planned(str(tmp_path / "new.zarr"), keep_flux=True)]
    assert names == [NODE, f"phase_flux_z_{NAMED}/s0"]
    assert not files_of(tmp_path)
