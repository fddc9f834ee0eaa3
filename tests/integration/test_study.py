"""The verb study: values of windows, what they say, how it runs, and what it refuses."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.ndimage as ndi
import xarray as xr
from numpy.typing import NDArray
from PIL import Image

import tim3d
from tim3d.cli.main import main
from tim3d.engine import Ledger, Pass
from tim3d.engine import run as run_pass
from tim3d.engine.passes.plan import Plan
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
from tim3d.kernels.conduction.conduction import conduct
from tim3d.plotting import study_figure
from tim3d.reporting.study import is_study, says, text
from tim3d.stages.representative import study as stage
from tim3d.storage import store

pytestmark = pytest.mark.usefixtures("forked_workers")

PHASES = tim3d.Phases(pore=0, copper=1)
QUIET = tim3d.Options(progress=False)
K = {"copper": 400.0, "pore": 1.0}
BY_CODE = {1: 400.0, 0: 1.0}


def ingested(
    folder: Path, labels: NDArray[np.uint8], spacing: tuple[float, ...] = (10.0, 10.0, 10.0)
) -> str:
    folder.mkdir(exist_ok=True)
    np.save(folder / "phase.npy", labels)
    url, size = str(folder / "a.zarr"), dict(zip("zyx", spacing, strict=True))
    tim3d.ingest(
        folder / "phase.npy",
        url,
        voxel_size=size,
        field="phase",
        phases=PHASES,
        shard=(16, 16, 16),
        options=QUIET,
    )
    return url


def noise(
    shape: tuple[int, int, int] = (36, 36, 36), seed: int = 0, share: float = 0.7
) -> NDArray[np.uint8]:
    smooth = ndi.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 1.2)
    return (smooth < np.quantile(smooth, share)).astype(np.uint8)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sample."""
    folder = tmp_path_factory.mktemp("made")
    ingested(folder, noise())
    return folder


@pytest.fixture
def sample(made: Path, tmp_path: Path) -> str:
    """A copy of it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return str(tmp_path / "a.zarr")


def study(sample: str, **arguments: Any) -> xr.Dataset:
    found = tim3d.study(sample, **{"windows": [9, 18], "options": QUIET, **arguments})
    assert isinstance(found, xr.Dataset)
    return found.load()


@pytest.mark.long
def test_windows_are_solved_as_the_kernel_solves_them(sample: str) -> None:
    labels = noise()
    for quantity, attribute in (
        ("effective_conductivity", "conductivity"),
        ("tortuosity_factor", "tortuosity_total"),
        ("tortuosity_factor_through", "tortuosity_through"),
    ):
        found = study(sample, quantity=quantity, conductivity=K, axis="y", windows=[10, 18])
        assert found.voxels.values.tolist() == [[10, 10, 10], [18, 18, 18]]
        assert found.windows.values.tolist() == [27, 8]
        assert found.rest_share.values == pytest.approx([1 - 30**3 / 36**3, 0])
        for z, y, x in ((0, 0, 0), (2, 1, 0)):
            window = labels[
                3 + 10 * z : 13 + 10 * z, 3 + 10 * y : 13 + 10 * y, 3 + 10 * x : 13 + 10 * x
            ]
            expected = conduct(np.ascontiguousarray(window), BY_CODE, 1, spacing=(10, 10, 10))
            assert float(found.value[0, z, y, x]) == getattr(expected, attribute)
        assert found.z_centre.values[0].tolist() == [80.0, 180.0, 280.0]
        assert np.isnan(found.value[1, 2]).all()


def test_statistics_are_those_of_the_values(sample: str) -> None:
    found = study(sample, quantity="effective_conductivity", conductivity=K, windows=[9, 18, 36])
    for one in found.transpose("window", ...).value:
        size = found.sel(window=one.window)
        values = one.values[np.isfinite(one.values)]
        assert size.windows == values.size
        assert float(size["mean"]) == pytest.approx(values.mean())
        last = float(found["mean"][-1])
        assert float(size.bias) == pytest.approx((values.mean() - last) / last, abs=1e-12)
        if values.size > 1:
            assert float(size.standard_deviation) == pytest.approx(values.std(ddof=1))
            assert float(size.standard_error) == pytest.approx(
                values.std(ddof=1) / math.sqrt(values.size)
            )
            assert float(size.relative_spread) == pytest.approx(
                2 * values.std(ddof=1) / values.mean()
            )
    assert float(found.bias[-1]) == 0
    assert found["value"].attrs["units"] == found["mean"].attrs["units"] == "W m-1 K-1"
    assert found.attrs["apparent"].startswith("apparent: potential held on the outer faces")
    assert found.judged.values.tolist() == [1, 1, 0]


def test_one_window_of_the_whole_volume_is_the_whole_volume(sample: str) -> None:
    measured = tim3d.measure(sample, options=QUIET)
    for name in (
        "phase_fraction",
        "specific_surface",
        "specific_surface_gradient",
        "euler_density",
    ):
        one = study(sample, quantity=name, phase="copper", windows=[36])
        assert float(one.value.squeeze()) == float(measured[name].sel(phase="copper"))
        assert one["value"].attrs == measured[name].attrs
        assert one.attrs["verdict"] == "too few windows"
        assert "apparent" not in one.attrs


BORDERS: list[dict[str, Any]] = [
    {},
    {"faces": "centres", "sides": "periodic"},
    {"interface": {"pore:copper": 1e8}},
]


@pytest.mark.parametrize("border", BORDERS)
def test_one_window_of_the_whole_volume_is_solved_like_the_whole_volume(
    sample: str, border: dict[str, Any]
) -> None:
    solved = tim3d.solve(sample, conductivity=K, axis="z", **border, options=QUIET)
    assert isinstance(solved, xr.Dataset)
    conductivity = study(
        sample, quantity="effective_conductivity", conductivity=K, windows=[36], **border
    )
    assert float(conductivity.value.squeeze()) == float(solved.effective_conductivity[0])
    factor = study(sample, quantity="tortuosity_factor", conductivity=K, windows=[36], **border)
    assert float(factor.value.squeeze()) == float(solved.tortuosity_factor_total[0])
    assert f"sides {border.get('sides', 'insulated')}" in factor.attrs["apparent"]
    held = "centres" if border.get("faces") == "centres" else "outer faces"
    assert held in factor.attrs["apparent"]


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_one_window_of_the_whole_volume_has_its_geodesic_tortuosity(sample: str, axis: str) -> None:
    found = tim3d.geodesic(
        sample, phases=["copper"], directions=[f"+{axis}", f"-{axis}"], options=QUIET
    )
    assert isinstance(found, xr.Dataset)
    one = study(sample, quantity="geodesic_tortuosity", phase="copper", axis=axis, windows=[36])
    up, down = found.geodesic_tortuosity.sel(phase="copper").values
    assert float(one.value.squeeze()) == (up + down) / 2
    assert up != down


def test_a_window_has_the_geodesic_tortuosity_of_its_voxels(tmp_path: Path) -> None:
    # A slit along x, with a wall across it that leaves two voxels open.
    labels = np.zeros((8, 16, 16), np.uint8)
    labels[:4] = 1
    labels[:4, 2:, 8] = 0
    sample = ingested(tmp_path, labels, (20.0, 10.0, 10.0))
    found = study(sample, quantity="geodesic_tortuosity", phase="copper", axis="x", windows=[8, 16])
    np.testing.assert_allclose(found.value[0, 0, :, 0], 1)
    assert 1 < float(found.value[0, 0, 0, 1]) < 2
    assert np.isposinf([found.value[0, 0, 1, 1], *found.value[0, 1].values.ravel()]).all()
    assert found.percolating_share.values.tolist() == [0.375, 1.0]
    assert 1 < float(found.value[1, 0, 0, 0]) < 2
    assert found.attrs["metric"] == "eikonal"
    assert "stay inside" in found.attrs["apparent"]


def test_conductivities_may_differ_along_the_axes(sample: str) -> None:
    k = {"copper": [3.0, 2.0, 4.0], "pore": [1.0, 2.0, 1.0]}
    found = study(sample, quantity="effective_conductivity", conductivity=k, axis="y", windows=[36])
    assert float(found.value.squeeze()) == pytest.approx(2.0, rel=1e-6)
    assert float(found.point_variance) == pytest.approx(0.0, abs=1e-20)


@pytest.mark.long
def test_layers_in_series_are_known_in_every_window(tmp_path: Path) -> None:
    # Windows of 8 hold two layers of 4 each and are all alike; windows of 6 are not.
    labels = np.broadcast_to((np.arange(32) // 4 % 2)[:, None, None], (32, 32, 32)).astype(np.uint8)
    sample = ingested(tmp_path, np.ascontiguousarray(labels))
    found = study(
        sample, quantity="effective_conductivity", conductivity={"pore": 1.0, "copper": 3.0}, windows=[6, 8, 16],
        flux_tolerance=1e-8,
    )  # fmt: skip
    profile = np.where(labels[:, 0, 0] == 1, 3.0, 1.0)
    for row, edge in zip(found.value, (6, 8, 16), strict=True):
        first = (32 - 32 // edge * edge) // 2
        for z in range(32 // edge):
            expected = edge / (1 / profile[first + z * edge : first + (z + 1) * edge]).sum()
            np.testing.assert_allclose(row[z, : 32 // edge, : 32 // edge], expected, rtol=1e-7)
    assert float(found.variation[1]) < 1e-7
    assert float(found.representative_edge) == 80.0
    assert np.isnan(found.variance_exponent)


@pytest.mark.slow
def test_independent_voxels_give_the_law_of_a_coin(tmp_path: Path) -> None:
    labels = (np.random.default_rng(3).random((64, 64, 64)) < 0.2).astype(np.uint8)
    found = study(
        ingested(tmp_path, labels), quantity="phase_fraction", phase="copper", windows=[4, 8, 16, 32], tolerance=0.1
    )  # fmt: skip
    p, volumes = labels.mean(), np.array([4, 8, 16, 32]) ** 3
    expected = np.sqrt(p * (1 - p) / volumes)
    doubt = 4 / np.sqrt(2 * found.windows.values)
    assert (np.abs(found.standard_deviation.values / expected - 1) < doubt).all()
    assert abs(float(found.variance_exponent) - 1) < 4 * float(found.variance_exponent_error)
    assert float(found.point_variance) == pytest.approx(p * (1 - p))
    assert float(found.integral_range) == pytest.approx(1000.0, rel=0.06)  # one voxel of 10 nm
    assert found.integral_range.attrs["units"] == "nm3"
    # 2 sqrt((1 - p) / (p V)) = 0.1 at 11.7 voxels.
    assert float(found.required_edge[0]) == pytest.approx(
        10 * (400 * (1 - p) / p) ** (1 / 3), rel=0.1
    )
    assert float(found.representative_edge) == 160.0
    np.testing.assert_allclose(found["mean"], p, rtol=1e-12)


def test_windows_of_anisotropic_voxels_are_cubes_in_nm(tmp_path: Path) -> None:
    sample = ingested(tmp_path, noise((20, 40, 40)), (20.0, 10.0, 10.0))
    by_voxels = study(sample, quantity="tortuosity_factor", phase="copper", windows=[10, 20])
    assert by_voxels.voxels.values.tolist() == [[5, 10, 10], [10, 20, 20]]
    np.testing.assert_array_equal(by_voxels.edges, [[100] * 3, [200] * 3])
    by_nm = study(
        sample,
        quantity="tortuosity_factor",
        phase="copper",
        windows=None,
        windows_nm=[100.0, 200.0],
    )
    xr.testing.assert_identical(by_voxels.drop_attrs(), by_nm.drop_attrs())
    window = np.ascontiguousarray(noise((20, 40, 40))[10:, :20, 20:])
    expected = conduct(window, {0: 0, 1: 1}, 0, spacing=(20, 10, 10)).tortuosity_total
    assert float(by_nm.value[1, 1, 0, 1]) == expected


def test_windows_without_a_path_are_counted(tmp_path: Path) -> None:
    labels = np.ones((16, 32, 32), np.uint8)
    labels[4, :16] = 0
    sample = ingested(tmp_path, labels)
    tortuosity = study(sample, quantity="tortuosity_factor", phase="copper", windows=[8, 16])
    assert tortuosity.percolating_share.values.tolist() == [0.75, 0.5]
    assert tortuosity.excluded.values.tolist() == [8, 2]
    assert tortuosity["mean"].values.tolist() == [1, 1]
    assert np.isposinf(tortuosity.value[0, 0, 0]).all()
    assert tortuosity.within_spread.values.tolist() == [0, 0]
    assert tortuosity.attrs["verdict"] == "not reached"
    assert "(+8 without a value)" in text(tortuosity)
    conductivity = study(sample, quantity="effective_conductivity", phase="copper", windows=[8, 16])
    assert conductivity.excluded.values.tolist() == [0, 0]
    assert conductivity["mean"].values == pytest.approx([0.75, 0.5])
    assert conductivity.percolates.values[0, 0, 0].tolist() == [0, 0, 0, 0]


@pytest.mark.long
def test_workers_and_shards_change_nothing(tmp_path: Path, sample: str) -> None:
    arguments: dict[str, Any] = {
        "quantity": "tortuosity_factor",
        "conductivity": K,
        "windows": [9, 12, 18],
    }
    alone = study(sample, **arguments)
    other = ingested(tmp_path / "other", noise())
    with tim3d.cluster("local", workers=2, threads=2):
        shared = study(other, **arguments)
    xr.testing.assert_identical(alone.drop_attrs(deep=False), shared.drop_attrs(deep=False))


@pytest.mark.long
def test_a_stopped_study_goes_on(sample: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments: dict[str, Any] = {"quantity": "effective_conductivity", "conductivity": K}
    solved: list[int] = []

    def counting(*given: Any, **named: Any) -> Any:
        if given[0].shape != (4, 4, 2):  # the check of the arguments
            solved.append(1)
            if len(solved) == 30:
                raise KeyboardInterrupt
        return conduct(*given, **named)

    monkeypatch.setattr("tim3d.stages.representative.quantities.conduct", counting)
    with pytest.raises(KeyboardInterrupt):
        study(sample, **arguments)
    assert store.nodes(sample) == ["phase"]
    resumed = study(sample, **arguments)
    assert len(solved) == 1 + 64 + 8
    # A size more: only its windows are solved; another tolerance: none.
    study(sample, **arguments, windows=[9, 12, 18])
    assert len(solved) == 73 + 27
    study(sample, **arguments, tolerance=0.3)
    study(sample, **arguments, tolerance=0.3)
    assert len(solved) == 100
    fresh = study(sample, **arguments, options=replace(QUIET, overwrite=True))
    assert len(solved) == 100 + 72
    xr.testing.assert_identical(fresh.drop_attrs(deep=False), resumed.drop_attrs(deep=False))


@pytest.mark.long
def test_other_labels_are_another_study(sample: str, tmp_path: Path) -> None:
    first = study(sample, quantity="phase_fraction", phase="copper")
    np.save(tmp_path / "phase.npy", noise(seed=1, share=0.5))
    tim3d.ingest(
        tmp_path / "phase.npy", sample, voxel_size={"z": 10, "y": 10, "x": 10}, field="phase", phases=PHASES,
        shard=(16, 16, 16), options=replace(QUIET, overwrite=True),
    )  # fmt: skip
    second = study(sample, quantity="phase_fraction", phase="copper")
    assert abs(float(second["mean"][0]) - float(first["mean"][0])) > 0.1


@pytest.mark.long
def test_several_studies_live_side_by_side(sample: str) -> None:
    study(sample, quantity="phase_fraction", phase="copper", out="fractions")
    study(sample, quantity="specific_surface", phase="copper")
    named = "phase_study_quantity=specific_surface,phase=copper,windows_nm=90+180"
    assert {"fractions", named} <= set(store.nodes(sample))
    assert tim3d.open_dataset(sample, "fractions").attrs["quantity"] == "phase_fraction"
    assert tim3d.validate(sample) == []


ALONE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "phase": ({"quantity": "specific_surface", "phase": "pore"}, {"phase": "copper"}),
    "conductivity": (
        {"quantity": "effective_conductivity", "conductivity": K},
        {"conductivity": {"copper": 4.0, "pore": 1.0}},
    ),
    "axis": ({"quantity": "effective_conductivity", "conductivity": K}, {"axis": "x"}),
    "axis of the ways": ({"quantity": "geodesic_tortuosity", "phase": "copper"}, {"axis": "y"}),
    "flux_tolerance": (
        {"quantity": "effective_conductivity", "conductivity": K},
        {"flux_tolerance": 1e-7},
    ),
    "sides": ({"quantity": "effective_conductivity", "conductivity": K}, {"sides": "periodic"}),
    "interface": (
        {"quantity": "effective_conductivity", "conductivity": K},
        {"interface": {"pore:copper": 1e8}},
    ),
}


@pytest.mark.parametrize("other", ALONE)
@pytest.mark.long
def test_studies_of_one_quantity_do_not_take_windows_from_each_other(
    tmp_path: Path, other: str
) -> None:
    """What differs in one thing only gives in one sample what each gives in a fresh one."""
    first, change = ALONE[other]
    labels = noise((16, 16, 16), seed=2)
    asked = [first | {"windows": [8]}, first | change | {"windows": [8]}]
    shared = ingested(tmp_path / "shared", labels)
    together = [study(shared, **one).value for one in asked]
    alone = [study(ingested(tmp_path / str(n), labels), **one).value for n, one in enumerate(asked)]
    for one, fresh in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one, fresh)
    assert not np.array_equal(*together)


def test_the_plan_says_what_it_costs(sample: str) -> None:
    plans = tim3d.study.plan(sample, quantity="tortuosity_factor", conductivity=K, windows=[9, 18])
    assert [(p.blocks, p.left, p.block) for p in plans] == [
        (64, 64, (9, 9, 9)),
        (8, 8, (18, 18, 18)),
    ]
    assert [p.read_bytes for p in plans] == [36**3, 36**3]
    assert plans[0].peak_bytes < plans[1].peak_bytes
    assert store.nodes(sample) == ["phase"]


def test_memory_that_does_not_suffice_names_the_window_that_would(sample: str) -> None:
    arguments: dict[str, Any] = {"quantity": "tortuosity_factor", "conductivity": K}

    def peak(edge: int) -> int:
        (plan,) = tim3d.study.plan(sample, windows=[edge], **arguments)
        assert isinstance(plan, tim3d.engine.Plan)
        return plan.peak_bytes

    limit = (peak(18) + peak(36)) // 2
    with (
        tim3d.cluster("serial", memory_bytes=limit),
        pytest.raises(MemoryPlanError, match="36x36x36") as caught,
    ):
        study(sample, windows=[18, 36], **arguments)
    largest = int(str(caught.value).split("A window of ")[1].split()[0])
    assert 18 <= largest < 36
    assert peak(largest) <= limit + 2**23 < peak(36) + 2**23
    assert store.nodes(sample) == ["phase"]


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"windows": [9, 37]}, ArgumentError, r"37x37x37 .*does not fit into 'phase' with 36x36x36.* 360 nm, 36 vox"),
        ({"windows": [1]}, ArgumentError, "1x1x1 voxels .*needs two along each axis: at least 20 nm"),
        ({"windows": [0]}, ArgumentError, "must be a positive length"),
        ({"windows": []}, ArgumentError, "no window size"),
        ({"windows": [9, 9]}, ArgumentError, "are the same"),
        ({"windows": None}, ArgumentError, "either in voxels or in nm, for example --windows 4,9,18,36"),
        ({"windows_nm": [90.0]}, ArgumentError, "either in voxels or in nm"),
        ({"quantity": "curl"}, ArgumentError, "no quantity 'curl'; there are phase_fraction, "),
        ({"quantity": "phase_fraction", "conductivity": None}, ArgumentError, "no phase is given: --phase pore"),
        ({"quantity": "phase_fraction", "phase": "copper"}, ArgumentError, "does not use --conductivity"),
        ({"phase": "copper"}, ArgumentError, "needs either the phase"),
        ({"phase": "steel", "conductivity": None}, ArgumentError, "phase 'steel' does not exist"),
        ({"conductivity": {"copper": 1}}, ArgumentError, "pore is missing .*--conductivity pore=0,copper=1"),
        ({"conductivity": K | {"pore": -1}}, ArgumentError, "it must be 0 or positive"),
        ({"conductivity": K | {"pore": math.nan}}, ArgumentError, "it must be 0 or positive"),
        ({"axis": "w"}, ArgumentError, "axis is 'w'; use one of z, y or x"),
        ({"flux_tolerance": 2.0}, ArgumentError, "tolerance is 2"),
        ({"tolerance": 0.0}, ArgumentError, "between 0 and 1"),
        ({"out": "phase"}, MixedRunError, "'phase' in .* is not a result of study.*--out"),
        ({"options": tim3d.Options(block=(9, 9, 9))}, ArgumentError, "--windows instead of --block"),
        ({"field": "truth"}, MissingFieldError, "no field 'truth'.*tim3d segment"),
    ],
)  # fmt: skip
def test_bad_arguments_leave_nothing_behind(
    sample: str, arguments: Any, error: type[Exception], says: str
) -> None:
    before = store.nodes(sample)
    with pytest.raises(error, match=says):
        study(sample, **{"quantity": "tortuosity_factor", "conductivity": K, **arguments})
    assert store.nodes(sample) == before


@pytest.mark.parametrize("quantity", ["phase_fraction", "geodesic_tortuosity"])
@pytest.mark.parametrize(
    "unused",
    [
        {"faces": "centres"}, {"sides": "insulated"}, {"interface": {"pore:copper": 1e8}}, {"units": "1"},
        {"flux_tolerance": 1e-3},
    ],
)  # fmt: skip
def test_what_a_quantity_does_not_use_is_refused(
    sample: str, quantity: str, unused: dict[str, Any]
) -> None:
    """Also if it is the default: whoever gives it expects another number."""
    option = next(iter(unused)).replace("_", "-")
    with pytest.raises(ArgumentError, match=f"{quantity} does not use --{option}") as caught:
        study(sample, quantity=quantity, phase="copper", **unused)
    assert caught.value.exit_code == 2
    assert store.nodes(sample) == ["phase"]


def test_a_density_has_no_axis(sample: str) -> None:
    with pytest.raises(ArgumentError, match="euler_density does not use --axis"):
        study(sample, quantity="euler_density", phase="copper", axis="y")


def test_a_grey_field_and_a_code_without_a_name(tmp_path: Path, sample: str) -> None:
    np.save(tmp_path / "raw.npy", noise())
    tim3d.ingest(
        tmp_path / "raw.npy",
        sample,
        voxel_size={"z": 10, "y": 10, "x": 10},
        accept=["blank"],
        options=QUIET,
    )
    with pytest.raises(ArgumentError, match="holds no labels"):
        study(sample, quantity="phase_fraction", phase="pore", field="raw")
    array = store.field_array(sample, "phase", mode="r+")
    store.write_box(array, Box((0, 0, 0), (16, 16, 16)), np.full((16, 16, 16), 9, np.uint8))
    for quantity in ("phase_fraction", "tortuosity_factor"):
        with pytest.raises(InputError, match=r"labels \[9\] belong to no phase"):
            study(sample, quantity=quantity, phase="copper")


def test_a_locked_sample_is_not_written(sample: str) -> None:
    from tim3d.engine import lock_sample

    with lock_sample(sample), pytest.raises(LockedError):
        study(sample, quantity="phase_fraction", phase="copper")


@pytest.mark.long
def test_the_figure_shows_every_window_and_the_verdict(sample: str) -> None:
    found = study(
        sample,
        quantity="tortuosity_factor",
        conductivity=K,
        windows=[6, 9, 12, 18, 36],
        tolerance=0.3,
    )
    left, right = study_figure(found).axes
    drawn = [
        c.get_offsets()
        for c in left.collections
        if hasattr(c, "get_offsets") and len(c.get_offsets()) in (216, 64)
    ]
    assert sorted(np.asarray(drawn[0])[:, 1]) == sorted(found.value.values[0].ravel().tolist())
    legend = left.figure.legends[0].get_texts()
    edge = float(found.representative_edge)
    expected = (
        f"representative from {edge:g} nm on" if np.isfinite(edge) else "no representative size"
    )
    assert any(expected in label.get_text() for label in legend)
    assert right.get_yscale() == "log"
    assert is_study(found)
    assert not is_study(found[["value"]])


def flat(kind: str) -> NDArray[np.uint8]:
    labels = np.ones((16, 16, 16), np.uint8)
    if kind == "nothing conducts":
        labels[4::8] = 0
    return labels


@pytest.mark.parametrize("kind", ["all alike", "nothing conducts"])
@pytest.mark.parametrize("quantity", ["effective_conductivity", "tortuosity_factor"])
def test_the_figure_and_the_table_of_values_without_spread(
    tmp_path: Path, kind: str, quantity: str
) -> None:
    found = study(
        ingested(tmp_path, flat(kind)), quantity=quantity, phase="copper", windows=[8, 16]
    )
    study_figure(found).savefig(tmp_path / "a.png")
    shown = text(found)
    assert ("Representative from 80 nm on" in shown) == (kind == "all alike")
    assert len(list(says(found))) == 1


@pytest.mark.long
def test_the_command_line(sample: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "study.png"
    typed = [
        "study",
        sample,
        "--quantity",
        "tortuosity_factor",
        "--conductivity",
        "pore=1,copper=0",
        "--axis",
        "x",
    ]
    border = ["--faces", "centres", "--sides", "periodic", "--interface", "pore:copper=1e8"]
    assert main([*typed, *border, "--windows", "2,18"]) == 2
    assert "'centres' electrodes need 3" in capsys.readouterr().err
    assert main([*typed, *border, "--windows", "9,18", "--plan"]) == 0
    assert "phase_study/tortuosity_factor/9x9x9" in capsys.readouterr().out
    assert main([*typed, "--windows", "9,18", "--plan"]) == 0
    assert "phase_study/tortuosity_factor/9x9x9: 64 of 64 blocks left" in capsys.readouterr().out
    assert main([*typed, "--windows", "9,18", "--figure", str(picture)]) == 0
    shown = capsys.readouterr().out
    assert "tortuosity_factor along x; apparent: potential held" in shown
    assert "\n90         9,9,9" in shown
    with Image.open(picture) as drawn:
        assert drawn.size[0] > 600
    assert main([*typed, "--windows-nm", "90,180", "--plan"]) == 0
    assert "nothing is left to do" in capsys.readouterr().out
    for code, wrong in (
        (2, ["--windows", "37"]), (2, ["--windows", "a"]), (2, ["--windows", "1"]),
        (4, ["--windows", "9", "--field", "b"]), (5, ["--windows", "9", "--memory", "0.01"]),
    ):  # fmt: skip
        assert main([*typed, *wrong]) == code
        assert capsys.readouterr().err.startswith("tim3d: ")
    surface = [
        "study",
        sample,
        "--quantity",
        "specific_surface",
        "--phase",
        "copper",
        "--windows",
        "9",
    ]
    assert main([*surface, "--faces", "outer"]) == 2
    assert "does not use --faces" in capsys.readouterr().err
    assert main([*typed, "--windows", "9,18", "--figure", str(tmp_path / "none" / "a.png")]) == 2


@pytest.mark.long
def test_the_report_shows_every_study(sample: str, tmp_path: Path) -> None:
    study(sample, quantity="phase_fraction", phase="copper", out="fractions")
    study(sample, quantity="tortuosity_factor", phase="copper")
    page = tim3d.report(sample, tmp_path / "a.html").read_text()
    assert "<h2>Representative volume</h2>" in page
    assert page.count("2 s.d./mean") == 2
    assert "Values of windows are apparent" in page


@pytest.mark.parametrize("only", [0, 5])
def test_markers_are_of_windows(sample: str, only: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Ledger] = []

    def watched(one: Pass, **named: Any) -> Any:
        seen.append(one.ledger)
        return run_pass(one, **named)

    monkeypatch.setattr("tim3d.stages.shared.results.run", watched)
    found = study(sample, quantity="phase_fraction", phase="copper", windows=[9])
    (ledger,) = seen
    assert len(ledger.done()) == 64
    assert ledger.record((0, 0, only % 4))["value"] == float(found.value[0, 0, 0, only % 4])


def test_pickles_are_small(sample: str) -> None:
    import cloudpickle

    kept: list[Callable[..., Any]] = []
    labels = store.complete_field(sample, "phase")
    quantity = stage.choose("tortuosity_factor", labels, phase="copper")
    kept.append(quantity.of)
    assert len(cloudpickle.dumps(quantity)) < 4000
    assert cloudpickle.loads(cloudpickle.dumps(quantity)).nbytes((9, 9, 9)) == quantity.nbytes(
        (9, 9, 9)
    )


@pytest.mark.long
def test_two_phases_are_both_there_and_one_question_has_one_name(sample: str) -> None:
    for phase in ("copper", "pore"):
        study(sample, quantity="phase_fraction", phase=phase)
    study(sample, quantity="phase_fraction", phase="pore", windows=None, windows_nm=[180, 90])
    named = "phase_study_quantity=phase_fraction,phase={},windows_nm=90+180"
    assert store.nodes(sample) == ["phase", *(named.format(phase) for phase in ("copper", "pore"))]


@pytest.mark.long
def test_a_study_of_replaced_labels_is_refused(sample: str, tmp_path: Path) -> None:
    study(sample, quantity="phase_fraction", phase="copper", out="mine")
    np.save(tmp_path / "phase.npy", noise(seed=1))
    tim3d.ingest(
        tmp_path / "phase.npy", sample, voxel_size={"z": 10, "y": 10, "x": 10}, field="phase", phases=PHASES,
        shard=(16, 16, 16), options=replace(QUIET, overwrite=True),
    )  # fmt: skip
    with pytest.raises(
        MixedRunError, match=r"another version of 'phase'.*tim3d study .*--out mine"
    ):
        tim3d.open_dataset(sample, "mine")
    page = tim3d.report(sample, tmp_path / "a.html").read_text()
    assert "2 s.d./mean" not in page
    assert "Renew it: tim3d study" in page
    study(sample, quantity="phase_fraction", phase="copper", out="mine")
    with pytest.raises(MixedRunError, match="--out another-name"):
        study(sample, quantity="phase_fraction", phase="pore", out="mine")


def test_a_plan_writes_nothing_and_overwrite_plans_all_windows(sample: str, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"quantity": "phase_fraction", "phase": "copper", "windows": [9]}
    study(sample, **asked)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert tim3d.study.plan(sample, **asked) == []
    (again,) = tim3d.study.plan(sample, **asked, options=replace(QUIET, overwrite=True))
    assert isinstance(again, Plan)
    assert (again.left, again.blocks) == (64, 64)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    with forecasting():
        field = store.read_field(sample, "phase")
        store.expect_field(
            str(tmp_path / "new.zarr"), field, {"fingerprint": "f", "verb": "segment"}
        )
        (new,) = tim3d.study.plan(str(tmp_path / "new.zarr"), **asked)
    assert isinstance(new, Plan)
    assert (new.left, (tmp_path / "new.zarr").exists()) == (64, False)
