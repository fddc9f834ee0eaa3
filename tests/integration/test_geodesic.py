"""Distances through the store equal those of the array at once, for any blocks, workers and kills."""

from __future__ import annotations

import random
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.ndimage as ndi
import xarray as xr
from numpy.typing import NDArray

import tim3d
from tests.contents import content
from tests.processes import killed_until_done
from tim3d.cli.main import main
from tim3d.cli.parsing import call
from tim3d.engine.passes.plan import Outline
from tim3d.engine.state.ledger import Ledger
from tim3d.errors import ArgumentError, MemoryPlanError, MissingFieldError, MixedRunError
from tim3d.forecast import forecasting
from tim3d.grid import Box, Triple
from tim3d.kernels.geodesic import geodesic as kernel
from tim3d.maintenance.validation import validate
from tim3d.stages.geodesic import geodesic as stage
from tim3d.storage import store
from tim3d.storage.schema import AXES, Field

PHASES = tim3d.Phases(solid=0, pore=1, filler=9)
DIRECTIONS = ("+z", "-z", "+y", "-y", "+x", "-x")
Labels = NDArray[np.uint8]


def quiet(block: Triple | None = None, *, overwrite: bool = False) -> tim3d.Options:
    return tim3d.Options(progress=False, block=block, overwrite=overwrite)


def noise(shape: Triple, share: float = 0.72, seed: int = 0) -> Labels:
    """Pores just above the threshold of percolation: ways are long and go to and fro."""
    return (np.random.default_rng(seed).random(shape) < share).astype(np.uint8)


def spiral(turns: int, width: int = 2) -> Labels:
    """One channel in the plane z, y that winds from the lowest plane to the middle and on through the far x face."""
    edge = 2 * turns * (width + 1) + width
    plane = np.zeros((edge, edge), np.uint8)
    step = width + 1
    for n in range(turns):
        low, high = n * step, edge - n * step
        plane[low : low + width, low:high] = 1
        plane[low:high, high - width : high] = 1
        plane[high - width : high, low + step : high] = 1
        plane[low + step : high, low + step : low + step + width] = 1
    return np.repeat(plane[:, :, None], 4, axis=2)


def slanted(shape: Triple, slope: float = 0.7, width: int = 4) -> Labels:
    """A slit that runs across the blocks at an angle."""
    z, y, _ = np.indices(shape)
    return np.asarray(np.abs(y - slope * z - 2) < width, np.uint8)


def ingested(
    folder: Path, labels: Labels, shard: Triple, size: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> str:
    np.save(folder / "phase.npy", labels)
    url = str(folder / "a.zarr")
    voxel_size = dict(zip(AXES, size, strict=True))
    tim3d.ingest(
        folder / "phase.npy",
        url,
        voxel_size=voxel_size,
        field="phase",
        phases=PHASES,
        shard=shard,
        options=quiet(),
    )
    return url


def at_once(
    labels: Labels, code: int, direction: str, size: tuple[float, ...], metric: str
) -> NDArray[np.float32]:
    """Of the whole array, as the field has it: -1 where no path leads."""
    seeds, region = np.zeros_like(labels), labels == code
    np.moveaxis(seeds, AXES.index(direction[1]), 0)[0 if direction[0] == "+" else -1] = 1
    return np.nan_to_num(kernel.distance(region, seeds, size, metric=metric), nan=-1.0)


def name_of(phase: str, direction: str, metric: str = "eikonal") -> str:
    other = "" if metric == "eikonal" else f"_metric={metric}"
    return f"phase_geodesic_{phase}_{direction[1]}_{'up' if direction[0] == '+' else 'down'}{other}"


def assert_is_that_of_the_array(
    url: str,
    labels: Labels,
    size: tuple[float, ...],
    metric: str,
    directions: tuple[str, ...] = DIRECTIONS,
) -> None:
    """Every voxel of every direction, to the last bit."""
    for direction in directions:
        found = tim3d.open_field(url, name_of("pore", direction, metric))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(
            found.values, at_once(labels, 1, direction, size, metric), err_msg=direction
        )


CUTS = [
    ((7, 6, 9), (4, 4, 4), (4, 4, 4), (1.0, 1.0, 1.0)),
    ((11, 13, 9), (4, 4, 4), (4, 8, 12), (20.0, 5.0, 4.0)),
    ((5, 5, 9), (2, 4, 4), (2, 4, 8), (1.0, 1.0, 3.0)),
    ((7, 6, 8), (1, 3, 8), (2, 3, 8), (1.0, 2.0, 1.0)),
    ((5, 2, 7), (8, 8, 8), (8, 8, 8), (1.0, 1.0, 1.0)),
]
BY_EDGES = [
    pytest.param("graph26", *cut, marks=pytest.mark.slow if number % 2 else [])
    for number, cut in enumerate(CUTS, 1)
]


@pytest.mark.long
@pytest.mark.parametrize(
    ("metric", "shape", "shard", "block", "size"), [*(("eikonal", *cut) for cut in CUTS), *BY_EDGES]
)
def test_any_blocks_give_the_distances_of_the_array(
    tmp_path: Path,
    metric: str,
    shape: Triple,
    shard: Triple,
    block: Triple,
    size: tuple[float, float, float],
) -> None:
    labels = noise(shape)
    url = ingested(tmp_path, labels, shard, size)
    directions = ("-y", "-x")
    tim3d.geodesic(
        url, phases=["pore"], directions=directions, metric=metric, keep=True, options=quiet(block)
    )
    assert_is_that_of_the_array(url, labels, size, metric, directions)
    fields = [name_of("pore", d, metric) for d in directions]
    other = "" if metric == "eikonal" else f",metric={metric}"
    assert store.nodes(url) == sorted(
        [*fields, "phase", f"phase_geodesic_phases=pore,directions=-y+-x{other}"]
    )


def test_a_profile_is_counted_from_the_inlet_of_its_direction(tmp_path: Path) -> None:
    """Plane by plane: falling through a volume is rising through the flipped one, read from the other end."""
    labels = noise((12, 9, 10), share=0.8, seed=4)
    labels[:5, 3:] = 0  # the two ends do not look alike
    profiles = {}
    for name, volume in (("as it is", labels), ("flipped", np.ascontiguousarray(labels[::-1]))):
        (tmp_path / name).mkdir()
        url = ingested(tmp_path / name, volume, (8, 16, 16), (2.0, 1.0, 1.0))
        found = tim3d.geodesic(url, phases=["pore"], directions=("+z", "-z"), options=quiet())
        profiles[name] = {
            d: found[f"plane_geodesic_tortuosity_{d}"].values[0] for d in ("z_up", "z_down")
        }
    for one, other in (("as it is", "flipped"), ("flipped", "as it is")):
        np.testing.assert_allclose(
            profiles[one]["z_down"], profiles[other]["z_up"][::-1], rtol=1e-6
        )
    down, up = profiles["as it is"]["z_down"], profiles["as it is"]["z_up"]
    assert np.isnan(
        down[-1]
    )  # no way has been gone at the inlet, and falling begins at the highest plane
    assert np.isnan(up[0])
    assert not np.allclose(down[:-1], up[::-1][:-1], equal_nan=True)


@pytest.mark.long
@pytest.mark.parametrize("metric", ["eikonal", "graph26"])
@pytest.mark.parametrize(
    ("draw", "directions"), [("spiral", ("+z", "-y")), ("slanted", ("+z", "-z"))]
)
def test_ways_that_cross_many_blocks(
    tmp_path: Path, metric: str, draw: str, directions: tuple[str, ...]
) -> None:
    labels = spiral(2) if draw == "spiral" else slanted((20, 18, 5))
    url = ingested(tmp_path, labels, (5, 5, 8))
    found = tim3d.geodesic(
        url,
        phases=["pore"],
        directions=directions,
        metric=metric,
        keep=True,
        options=quiet((5, 5, 8)),
    )
    assert_is_that_of_the_array(url, labels, (1.0, 1.0, 1.0), metric, directions)
    assert found.geodesic_percolates.sel(direction="+z").item() == 1
    assert found.geodesic_tortuosity.sel(direction="+z").item() > 1.1


@pytest.mark.long
def test_two_workers_give_what_one_process_gives(tmp_path: Path, two_workers: str) -> None:
    labels = noise((9, 12, 14), seed=5)
    found = []
    for kind, folder in (("serial", tmp_path / "one"), (two_workers, tmp_path / "two")):
        folder.mkdir()
        with tim3d.cluster(kind):
            url = ingested(folder, labels, (4, 8, 7), (2.0, 1.0, 1.0))
            asked: dict[str, Any] = {"phases": ["pore"], "directions": ("+z", "-x"), "keep": True}
            found.append(tim3d.geodesic(url, **asked, options=quiet((4, 8, 14))).load())
        assert_is_that_of_the_array(url, labels, (2.0, 1.0, 1.0), "eikonal", ("+z", "-x"))
        assert validate(url, deep=True) == []
    xr.testing.assert_identical(*(f.drop_attrs() for f in found))


@pytest.mark.long
@pytest.mark.parametrize("metric", ["eikonal", "graph26"])
def test_an_open_box_has_tortuosity_1(tmp_path: Path, metric: str) -> None:
    size = (20.0, 5.0, 4.0)
    url = ingested(tmp_path, np.ones((9, 10, 11), np.uint8), (4, 4, 4), size)
    found = tim3d.geodesic(url, phases=["pore"], metric=metric, options=quiet((8, 8, 12))).load()
    for name in (
        "geodesic_tortuosity",
        "geodesic_tortuosity_last_plane",
        "geodesic_tortuosity_all_planes",
    ):
        np.testing.assert_allclose(found[name], 1, rtol=1e-5)
    assert (found.geodesic_reached_share == 1).all()
    assert (found.geodesic_unreached_voxels == 0).all()
    assert found.geodesic_tortuosity_mean.item() == pytest.approx(1, rel=1e-5)
    assert found.geodesic_tortuosity_spread.item() < 1e-5
    for direction in DIRECTIONS:
        profile = found[name_of("tortuosity", direction).replace("phase", "plane")].squeeze()
        assert np.flatnonzero(np.isnan(profile)).tolist() == [
            0 if direction[0] == "+" else profile.size - 1
        ]


def test_what_is_not_reached_is_counted_and_never_hidden(tmp_path: Path) -> None:
    labels = np.zeros((8, 6, 5), np.uint8)
    labels[:5, 1, 1] = 1  # from the lowest plane, but not through
    labels[3:5, 4, 3] = 1  # closed all round
    url = ingested(tmp_path, labels, (4, 3, 5))
    found = tim3d.geodesic(
        url, phases=["pore", "filler"], directions=["+z", "-z"], keep=True, options=quiet((4, 3, 5))
    )
    pore = found.sel(phase="pore")
    assert pore.geodesic_unreached_voxels.values.tolist() == [2, 7]
    assert pore.geodesic_reached_share.values.tolist() == [5 / 7, 0]
    assert pore.geodesic_percolates.values.tolist() == [0, 0]
    assert np.isnan(pore.geodesic_tortuosity).all()
    np.testing.assert_allclose(pore.plane_geodesic_tortuosity_z_up[1:5], 1)
    assert np.isnan(pore.plane_geodesic_tortuosity_z_up[5:]).all()
    assert np.isnan(pore.geodesic_tortuosity_mean)
    filler = found.sel(phase="filler")
    assert filler.geodesic_unreached_voxels.values.tolist() == [0, 0]
    assert np.isnan(filler.geodesic_reached_share).all()
    assert (tim3d.open_field(url, "phase_geodesic_filler_z_up") == -1).all()


def test_the_results_are_those_of_the_kernel_and_say_what_they_are(tmp_path: Path) -> None:
    labels, size = noise((14, 12, 10), 0.8), (3.0, 2.0, 2.0)
    url = ingested(tmp_path, labels, (4, 4, 10), size)
    found = tim3d.geodesic(url, phases=["pore"], options=quiet((8, 12, 10)))
    for direction in DIRECTIONS:
        axis = AXES.index(direction[1])
        lengths = at_once(labels, 1, direction, size, "eikonal").astype(float)
        units = np.where(lengths < 0, kernel.UNREACHED, np.rint(lengths / 2 * kernel.UNIT)).astype(
            np.uint32
        )
        order = slice(None, None, 1 if direction[0] == "+" else -1)
        total, reached, phase = (s[order] for s in kernel.plane_sums(units, labels, axis))
        expected = kernel.tortuosity(total, reached, phase, size, axis)
        one = found.sel(phase="pore", direction=direction)
        assert one.geodesic_tortuosity.item() == pytest.approx(expected.last_quarter, rel=1e-6)
        assert one.geodesic_reached_share.item() == expected.reached
    assert found.geodesic_tortuosity_mean.item() == pytest.approx(
        found.geodesic_tortuosity.mean().item()
    )
    for name in found.data_vars:
        assert {"units", "long_name", "method", "reference"} <= set(found[name].attrs)
    assert found.attrs["metric"] == "eikonal"
    assert found.attrs["spacing_nm"] == list(size)


@pytest.mark.long
def test_from_seeds_of_a_label_field(tmp_path: Path) -> None:
    labels = noise((6, 7, 9), 0.8)
    labels[4, 5, 6] = 9
    url = ingested(tmp_path, labels, (4, 4, 4), (2.0, 1.0, 1.0))
    found = tim3d.geodesic(
        url, phases=["pore"], seeds=("phase", "filler"), options=quiet((4, 4, 4))
    )
    expected = kernel.distance(labels > 0, labels == 9, (2, 1, 1))
    field = tim3d.open_field(url, "phase_geodesic_pore_seeds=phase+filler").values
    np.testing.assert_array_equal(field, np.nan_to_num(expected, nan=-1))
    inside = (labels == 1) & np.isfinite(expected)
    assert found.geodesic_unreached_voxels.item() == ((labels == 1) & ~inside).sum()
    assert found.geodesic_mean_distance.item() == pytest.approx(expected[inside].mean(), rel=1e-5)
    assert found.attrs["seeds"] == ["phase", "filler"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sample."""
    folder = tmp_path_factory.mktemp("made")
    ingested(folder, noise((9, 12, 14), seed=5), (4, 8, 7))
    return folder


@pytest.fixture
def sample(made: Path, tmp_path: Path) -> str:
    """A copy of it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return str(tmp_path / "a.zarr")


def test_doing_it_again_reads_no_voxel(sample: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {"phases": ["pore"], "directions": ["+z"], "keep": True}
    first = tim3d.geodesic(sample, **asked, options=quiet()).load()
    monkeypatch.setattr(store, "read_box", None)
    xr.testing.assert_identical(tim3d.geodesic(sample, **asked, options=quiet()).load(), first)
    assert tim3d.geodesic.plan(sample, **asked, options=quiet()) == []


def test_the_fields_may_be_asked_for_later(sample: str) -> None:
    asked: dict[str, Any] = {"phases": ["pore"], "directions": ["+x"]}
    first = tim3d.geodesic(sample, **asked, options=quiet((8, 8, 7))).load()
    assert store.nodes(sample) == ["phase", "phase_geodesic_phases=pore,directions=+x"]
    second = tim3d.geodesic(sample, **asked, keep=True, options=quiet((8, 8, 7))).load()
    assert_is_that_of_the_array(
        sample, noise((9, 12, 14), seed=5), (1.0, 1.0, 1.0), "eikonal", ("+x",)
    )
    xr.testing.assert_identical(first.drop_attrs(), second.drop_attrs())


def test_fronts_in_groups_give_the_same(sample: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {"phases": ["pore"], "directions": ["+z", "+x"]}
    together = tim3d.geodesic(sample, **asked, options=quiet((8, 16, 7))).load()
    monkeypatch.setattr(stage, "TOGETHER", 1)
    apart = tim3d.geodesic(sample, **asked, options=quiet((16, 8, 21), overwrite=True)).load()
    xr.testing.assert_identical(together.drop_attrs(), apart.drop_attrs())


class Killed(BaseException):
    """Stands for the end of the process."""


LATER = [pytest.param(blow, marks=pytest.mark.slow) for blow in (1, 11, 25, 40)]


@pytest.mark.long
@pytest.mark.parametrize("blow", [4, 20, *LATER])
def test_a_run_that_stops_anywhere_is_resumed(
    sample: str, blow: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the marker of any visit: what is done stays done, and one block is visited again."""
    mark, visits = Ledger.mark_done, [0]

    def counting(*arguments: Any, **options: Any) -> Any:
        visits[0] += 1
        if visits[0] == blow:
            raise Killed
        return mark(*arguments, **options)

    asked: dict[str, Any] = {"phases": ["pore"], "directions": ["+z", "-y"], "keep": True}
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "mark_done", counting)
        with pytest.raises(Killed):
            tim3d.geodesic(sample, **asked, options=quiet((8, 16, 7)))
        tim3d.geodesic(sample, **asked, options=quiet((8, 16, 7)))
    assert_is_that_of_the_array(
        sample, noise((9, 12, 14), seed=5), (1.0, 1.0, 1.0), "eikonal", ("+z", "-y")
    )
    fields = [name_of("pore", "-y"), name_of("pore", "+z")]
    assert store.nodes(sample) == sorted(
        ["phase", "phase_geodesic_phases=pore,directions=+z+-y", *fields]
    )
    total = visits[0]
    visits[0] = -(10**6)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "mark_done", counting)
        tim3d.geodesic(sample, **asked, options=quiet((8, 16, 7), overwrite=True))
    assert total <= visits[0] + 10**6 + 1


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_sigkill_leaves_the_bytes_of_an_untouched_run(tmp_path: Path) -> None:
    labels, rng = noise((16, 40, 36), seed=8), random.Random(2)
    samples = {}
    for name, victims in (("untouched", []), ("killed", ["client", "worker", "client"])):
        folder = tmp_path / name
        folder.mkdir()
        samples[name] = Path(ingested(folder, labels, (8, 8, 18)))
        verb = [
            sys.executable,
            "-m",
            "tim3d",
            "geodesic",
            str(samples[name]),
            "--phases",
            "pore",
            "--keep",
        ]
        options = [
            "--directions=+z,-x",
            "--block",
            "8,8,18",
            "--cluster",
            "local",
            "--workers",
            "2",
        ]
        node = Path(f"{samples[name]}.runs") / "phase_geodesic_phases=pore,directions=+z+-x"
        assert killed_until_done([*verb, *options], node, victims, rng) >= len(victims) - 1
    assert content(samples["killed"]) == content(samples["untouched"])
    assert validate(str(samples["killed"]), deep=True) == []


def test_bad_requests_say_what_to_do_and_write_nothing(
    sample: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for asked, error, text in (
        ({"phases": ["por"]}, ArgumentError, "no phase 'por'; it has solid, pore, filler"),
        ({"metric": "euclid"}, ArgumentError, "metric is 'euclid'; use eikonal or graph26"),
        ({"directions": ["up"]}, ArgumentError, "direction 'up' is not known"),
        ({"field": "labels"}, MissingFieldError, r"no field 'labels'.*tim3d segment"),
        ({"seeds": ("phase", "copper")}, ArgumentError, "no phase 'copper'"),
        ({"seeds": ("phase",)}, ArgumentError, "--seeds phase,metal"),
        (
            {"seeds": ("phase", "pore"), "directions": ["+z"]},
            ArgumentError,
            "leave out --directions",
        ),
        ({"out": "phase"}, MixedRunError, "is not a result of geodesic"),
    ):
        with pytest.raises(error, match=text):
            tim3d.geodesic(sample, **asked, options=quiet())
    with pytest.raises(ArgumentError, match="not made of whole shards"):
        tim3d.geodesic(sample, options=quiet((3, 8, 7)))
    assert store.nodes(sample) == ["phase"]
    assert main(["geodesic", sample, "--phases", "por", "--quiet"]) == 2
    assert main(["geodesic", sample, "--field", "labels", "--quiet"]) == 4
    assert main(["geodesic", sample, "--metric", "graph", "--quiet"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_an_axis_of_one_voxel_has_no_way(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = ingested(tmp_path, np.ones((1, 6, 7), np.uint8), (1, 6, 7))
    with pytest.raises(ArgumentError, match=r"one voxel along z.*leave out \+z"):
        tim3d.geodesic(url, options=quiet())
    found = tim3d.geodesic(url, phases=["pore"], directions=["+y"], options=quiet())
    assert found.geodesic_tortuosity.item() == pytest.approx(1)
    assert "'phase' is a plane (1 x 6 x 7 voxels): paths stay in it" in caplog.text


def test_what_does_not_fit_is_refused_with_the_block_that_would(sample: str) -> None:
    with (
        tim3d.cluster("serial", memory_bytes=2**20),
        pytest.raises(MemoryPlanError, match=r"phase_geodesic.*per worker"),
    ):
        tim3d.geodesic(sample, options=quiet())
    assert store.nodes(sample) == ["phase"]


def test_the_block_is_as_large_as_a_worker_holds(sample: str) -> None:
    (plan, *_) = tim3d.geodesic.plan(sample, directions=["+z"], options=quiet())
    assert plan.block == (12, 16, 14)
    limit = plan.peak_bytes - 1
    with tim3d.cluster("serial", memory_bytes=limit):
        (less, *_) = tim3d.geodesic.plan(sample, directions=["+z"], options=quiet())
    assert less.block < plan.block


def test_the_plan_names_its_passes_and_does_nothing(
    sample: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plans = tim3d.geodesic.plan(
        sample, phases=["pore"], directions=["+z"], keep=True, options=quiet((4, 8, 7))
    )
    node = "phase_geodesic_phases=pore,directions=+z"
    names = [p.name.removeprefix(f"{node}/4x8x7/000/") for p in plans]
    assert names == ["arrival/0001", "exact/0001", "sums", "phase_geodesic_pore_z_up/s0"]
    assert all(p.left == 12 for p in plans)
    assert store.nodes(sample) == ["phase"]
    assert not Path(f"{sample}.runs/{node}").exists()
    assert main(["geodesic", sample, "--plan", "--directions=-z,+x", "--quiet"]) == 0
    assert "arrival/0001" in capsys.readouterr().out


@pytest.mark.long
def test_a_run_that_was_stopped_is_not_gone_on_with_in_other_blocks(
    sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: Any, **options: Any) -> None:
        raise Killed

    asked: dict[str, Any] = {"phases": ["pore"], "directions": ["+z"]}
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "mark_done", killed)
        with pytest.raises(Killed):
            tim3d.geodesic(sample, **asked, options=quiet((4, 8, 7)))
    (fault,) = validate(sample)
    assert fault.seen == "holds temporary arrays of a run that has not ended"
    with pytest.raises(MixedRunError, match=r"block \[4, 8, 7\] \(now \[8, 8, 7\]\).*--overwrite"):
        tim3d.geodesic(sample, **asked, options=quiet((8, 8, 7)))
    tim3d.geodesic(sample, **asked, options=quiet())  # takes the blocks that it was begun with
    assert validate(sample) == []


def test_distances_of_both_metrics_lie_beside_each_other(sample: str) -> None:
    asked: dict[str, Any] = {"phases": ["pore"], "directions": ["+z"], "keep": True}
    for metric in ("eikonal", "graph26"):
        tim3d.geodesic(sample, **asked, metric=metric, options=quiet())
    for metric in ("eikonal", "graph26"):
        labels = noise((9, 12, 14), seed=5)
        assert_is_that_of_the_array(sample, labels, (1.0, 1.0, 1.0), metric, ("+z",))


def test_another_question_under_the_same_name_is_refused(sample: str) -> None:
    asked: dict[str, Any] = {"phases": ["pore"], "directions": ["+z"], "out": "mine"}
    tim3d.geodesic(sample, **asked, keep=True, options=quiet())
    assert store.nodes(sample) == ["mine", "mine_pore_z_up", "phase"]
    with pytest.raises(
        MixedRunError, match=r"'mine' .* was made with metric eikonal \(now graph26\).*--overwrite"
    ):
        tim3d.geodesic(sample, **asked, metric="graph26", options=quiet())


def test_the_shell_and_recipes_speak_of_it(sample: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["geodesic", sample, "--phases", "pore", "--directions=+z,-z", "--keep", "--quiet"])
        == 0
    )
    shown = capsys.readouterr().out
    assert "geodesic_tortuosity" in shown
    found = call(
        "geodesic", {"sample": sample, "phases": ["pore"], "directions": ["+z"], "progress": False}
    )
    assert found.direction.values.tolist() == ["+z"]


@pytest.mark.long
def test_two_resolutions_give_the_limit_of_a_smooth_geometry(tmp_path: Path) -> None:
    """One pore space at three resolutions: the coarse pair foretells what the fine pair gives, in any blocks."""
    white = np.random.default_rng(5).standard_normal((96, 96, 96), dtype=np.float32)
    smooth = ndi.gaussian_filter(white, 6.0, mode="wrap")
    labels = (smooth < np.quantile(smooth, 0.42)).astype(np.uint8)
    for name in "12":
        (tmp_path / name).mkdir()
    whole = ingested(tmp_path / "1", labels, (48, 96, 96), (3.0, 3.0, 3.0))
    half = ingested(
        tmp_path / "2", np.ascontiguousarray(labels[::2, ::2, ::2]), (24, 48, 48), (6.0, 6.0, 6.0)
    )
    asked: dict[str, Any] = {"phases": ["pore"], "directions": ["+z", "-y"], "richardson": True}
    fine = tim3d.geodesic(whole, **asked, options=quiet()).load()
    other = tim3d.geodesic(half, **asked, options=quiet((24, 48, 48))).load()
    np.testing.assert_array_equal(fine.geodesic_tortuosity_coarse, other.geodesic_tortuosity)
    np.testing.assert_array_equal(
        fine.geodesic_tortuosity_mean_coarse, other.geodesic_tortuosity_mean
    )
    away = abs(other.geodesic_tortuosity_limit - fine.geodesic_tortuosity_limit)
    assert (away < other.geodesic_tortuosity_limit_uncertainty).all()
    assert (away < abs(other.geodesic_tortuosity - fine.geodesic_tortuosity_limit)).all()
    again = tim3d.geodesic(whole, **asked, options=quiet())
    assert again.equals(fine)
    assert again.attrs["metric"] == "eikonal"
    assert validate(whole) == []


@pytest.mark.parametrize("shape", [(2, 9, 9), (9, 9, 2)])
def test_no_second_voxel_is_refused(tmp_path: Path, shape: Triple) -> None:
    sample = ingested(tmp_path, np.zeros(shape, np.uint8), (8, 8, 8))
    with pytest.raises(ArgumentError, match="leave out --richardson"):
        tim3d.geodesic(sample, phases=["pore"], richardson=True, options=quiet())
    assert store.nodes(sample) == ["phase"]


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def replaced(sample: str, folder: Path, labels: Labels) -> None:
    np.save(folder / "phase.npy", labels)
    tim3d.ingest(
        folder / "phase.npy", sample, voxel_size=dict.fromkeys(AXES, 1.0), field="phase", phases=PHASES,
        shard=(4, 8, 7), options=quiet(overwrite=True),
    )  # fmt: skip


def test_the_order_in_which_it_is_typed_is_not_another_question(sample: str) -> None:
    tim3d.geodesic(sample, phases=["solid", "pore"], directions=["+z", "-z"], options=quiet())
    assert (
        tim3d.geodesic.plan(
            sample, phases=["pore", "solid"], directions=["-z", "+z"], options=quiet()
        )
        == []
    )


def test_what_two_questions_share_is_found_once(sample: str) -> None:
    """A field of distances, and the fronts of every voxel when every second one is asked for too."""
    asked: dict[str, Any] = {"phases": ["pore"], "options": quiet()}
    tim3d.geodesic(sample, directions=["+z"], keep=True, **asked)
    made = store.node_attributes(sample, name_of("pore", "+z"))["created"]
    tim3d.geodesic(sample, directions=["+z", "-x"], keep=True, **asked)
    assert store.node_attributes(sample, name_of("pore", "+z"))["created"] == made
    names = {
        p.name.split("/")[0]
        for p in tim3d.geodesic.plan(sample, directions=["+z"], richardson=True, **asked)
    }
    assert names == {"phase_geodesic_phases=pore,directions=+z_coarse"}
    (sums,) = tim3d.geodesic.plan(sample, directions=["+z"], out="again", **asked)
    assert "reads no voxel" in str(sums)


def test_results_of_replaced_labels_are_refused_and_renewed(sample: str, tmp_path: Path) -> None:
    asked: dict[str, Any] = {
        "phases": ["pore"],
        "directions": ["+z"],
        "keep": True,
        "options": quiet(),
    }
    tim3d.geodesic(sample, **asked)
    labels = noise((9, 12, 14), seed=6)
    replaced(sample, tmp_path, labels)
    node = "phase_geodesic_phases=pore,directions=+z"
    with pytest.raises(
        MixedRunError, match=r"another version of 'phase'.*tim3d geodesic .*--directions \+z"
    ):
        tim3d.open_dataset(sample, node)
    with pytest.raises(MixedRunError, match="another version of 'phase'"):
        store.complete_field(sample, name_of("pore", "+z"))
    tim3d.geodesic(sample, **asked)
    assert_is_that_of_the_array(sample, labels, (1.0, 1.0, 1.0), "eikonal", ("+z",))


def test_a_plan_writes_nothing_and_overwrite_travels_again(sample: str, tmp_path: Path) -> None:
    asked: dict[str, Any] = {
        "phases": ["pore"],
        "directions": ["+z"],
        "keep": True,
        "richardson": True,
    }
    first = tim3d.geodesic(sample, **asked, options=quiet())
    before = files_of(tmp_path)
    assert tim3d.geodesic.plan(sample, **asked, options=quiet()) == []
    again = tim3d.geodesic.plan(sample, **asked, options=quiet(overwrite=True))
    assert len(again) == 7
    assert all(plan.left == plan.blocks > 0 for plan in again if not isinstance(plan, Outline))
    assert files_of(tmp_path) == before
    voxels = store.field_array(sample, name_of("pore", "+z"), mode="r+")
    store.write_box(voxels, Box((0, 0, 0), (4, 8, 7)), np.zeros((4, 8, 7), np.float32))
    second = tim3d.geodesic(sample, **asked, options=quiet(overwrite=True))
    assert second.drop_attrs(deep=False).identical(
        first.drop_attrs(deep=False)
    )  # but for the time of its making
    assert_is_that_of_the_array(
        sample, noise((9, 12, 14), seed=5), (1.0, 1.0, 1.0), "eikonal", ("+z",)
    )


def test_fronts_are_planned_before_their_sample_is_there(tmp_path: Path) -> None:
    with forecasting():
        field = Field(
            "phase", (8, 8, 8), "uint8", (1, 1, 1), (8, 8, 8), (8, 8, 8), labels=True, phases=PHASES
        )
        store.expect_field(
            str(tmp_path / "new.zarr"), field, {"fingerprint": "f", "verb": "segment"}
        )
        asked: dict[str, Any] = {
            "phases": ["pore"],
            "directions": ["+z"],
            "keep": True,
            "options": quiet(),
        }
        names = [plan.name for plan in tim3d.geodesic.plan(str(tmp_path / "new.zarr"), **asked)]
    assert names[-1] == f"{name_of('pore', '+z')}/s0"
    assert len(names) == 4
    assert not files_of(tmp_path)
