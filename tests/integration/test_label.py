"""Labelling through the store equals labelling the array at once, for any blocks, workers and kills."""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import tim3d
from benchmarks.descriptors import blobs
from tests.contents import content
from tests.examples import costly
from tests.processes import killed_until_done
from tim3d.cli.main import main
from tim3d.cli.parsing import call
from tim3d.descriptors.percolation import percolation
from tim3d.engine.state.ledger import Ledger
from tim3d.errors import ArgumentError, InputError, MissingFieldError, MixedRunError
from tim3d.grid import Triple, triple
from tim3d.kernels.morphology.components import label_volume
from tim3d.maintenance.validation import validate
from tim3d.stages.components import label as stage
from tim3d.storage import schema, store

PHASES = tim3d.Phases(pore=0, solid=1, filler=9)
SIZE = {"z": 20.0, "y": 5.0, "x": 4.0}


def quiet(block: Triple | None = None, *, overwrite: bool = False) -> tim3d.Options:
    return tim3d.Options(progress=False, block=block, overwrite=overwrite)


def volume(shape: Triple, seed: int = 0) -> NDArray[np.uint8]:
    return np.array(PHASES.codes, np.uint8)[np.random.default_rng(seed).integers(0, 3, shape)]


def ingested(
    folder: Path, labels: NDArray[np.uint8], shard: Triple, phases: tim3d.Phases = PHASES
) -> str:
    np.save(folder / "phase.npy", labels)
    url = str(folder / "a.zarr")
    tim3d.ingest(
        folder / "phase.npy",
        url,
        voxel_size=SIZE,
        field="phase",
        phases=phases,
        shard=shard,
        options=quiet(),
    )
    return url


def assert_is_that_of_the_array(
    url: str, found: xr.Dataset, labels: NDArray[np.uint8], connectivity: int
) -> None:
    """Results, table and field, to the last bit."""
    ids, table = label_volume(labels, PHASES.codes, connectivity)
    expected = percolation(table, PHASES, triple(labels.shape), connectivity)
    assert list(found.data_vars) == list(expected.data_vars)
    for name in (*expected.data_vars, *expected.coords):
        np.testing.assert_array_equal(found[name].values, expected[name].values, err_msg=str(name))
        assert found[name].dtype.kind in (expected[name].dtype.kind, "T")
        assert found[name].attrs == expected[name].attrs
    component = tim3d.open_field(url, "component")
    assert component.dtype == np.uint32
    np.testing.assert_array_equal(component.values, ids)


@pytest.mark.long
@given(
    shape=st.tuples(*[st.integers(1, 11)] * 3),
    shard=st.tuples(*[st.integers(2, 6)] * 3),
    many=st.tuples(*[st.integers(1, 3)] * 3),
    connectivity=st.sampled_from([6, 18, 26]),
)
@costly
def test_any_blocks_of_whole_shards_give_the_same(
    shape: Triple, shard: Triple, many: Triple, connectivity: int
) -> None:
    labels = volume(shape)
    with tempfile.TemporaryDirectory() as folder:
        url = ingested(Path(folder), labels, shard)
        stored = store.read_field(url, "phase").shard
        block = (stored[0] * many[0], stored[1] * many[1], stored[2] * many[2])
        found = tim3d.label(url, connectivity=connectivity, keep=True, options=quiet(block)).load()
        assert_is_that_of_the_array(url, found, labels, connectivity)
        name = "phase_components" + ("" if connectivity == 6 else f"_connectivity={connectivity}")
        assert store.nodes(url) == ["component", "phase", name]


@pytest.mark.long
def test_two_workers_give_what_one_process_gives(tmp_path: Path, two_workers: str) -> None:
    labels = volume((13, 18, 21), seed=5)
    with tim3d.cluster(two_workers):
        url = ingested(tmp_path, labels, (4, 8, 7))
        found = tim3d.label(url, connectivity=26, keep=True, options=quiet((4, 8, 7)))
    assert_is_that_of_the_array(url, found, labels, 26)
    assert validate(url, deep=True) == []


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sample."""
    folder = tmp_path_factory.mktemp("made")
    ingested(folder, volume((13, 18, 21), seed=5), (4, 8, 7))
    return folder


@pytest.fixture
def sample(made: Path, tmp_path: Path) -> str:
    """A copy of it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return str(tmp_path / "a.zarr")


@pytest.mark.long
def test_the_field_of_components_is_written_only_when_asked_for(sample: str) -> None:
    first = tim3d.label(sample, options=quiet((4, 8, 7))).load()
    assert store.nodes(sample) == ["phase", "phase_components"]
    kept = tim3d.label(sample, keep=True, options=quiet((4, 8, 7)))
    assert_is_that_of_the_array(sample, kept, volume((13, 18, 21), seed=5), 6)
    xr.testing.assert_identical(kept.load(), first)


def test_coarser_levels_pick_and_do_not_average(tmp_path: Path) -> None:
    labels = np.zeros((4, 130, 130), np.uint8)
    labels[:, ::3] = 1
    url = ingested(tmp_path, labels, (4, 64, 64))
    tim3d.label(url, keep=True, options=quiet())
    fine, coarse = (tim3d.open_field(url, "component", level).values for level in (0, 1))
    assert np.array_equal(coarse, fine[:, ::2, ::2])
    assert set(coarse.ravel()) <= set(fine.ravel())


def test_labelling_again_reads_no_voxel(sample: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tim3d.label(sample, keep=True, options=quiet()).load()
    monkeypatch.setattr(store, "read_box", None)
    xr.testing.assert_identical(tim3d.label(sample, keep=True, options=quiet()).load(), first)
    assert tim3d.plan("label", sample, keep=True, options=quiet()) == []


@pytest.mark.long
def test_some_phases_only(sample: str) -> None:
    found = tim3d.label(sample, phases=["filler", "pore"], keep=True, options=quiet((4, 8, 7)))
    assert found.phase.values.tolist() == ["pore", "filler"]
    ids, _ = label_volume(volume((13, 18, 21), seed=5), [0, 9])
    assert np.array_equal(tim3d.open_field(sample, "component").values, ids)


def test_a_phase_that_does_not_occur(tmp_path: Path) -> None:
    url = ingested(tmp_path, np.zeros((5, 6, 7), np.uint8), (2, 6, 7))
    found = tim3d.label(url, phases=["solid"], keep=True, options=quiet((2, 6, 7)))
    assert found.component_count.values.tolist() == [0]
    assert found.sizes["component"] == 0
    assert not tim3d.open_field(url, "component").values.any()


def test_answers_for_two_connectivities_lie_beside_each_other(sample: str) -> None:
    six = tim3d.label(sample, keep=True, options=quiet())
    before = six.copy(deep=True)
    corners = tim3d.label(sample, connectivity=26, options=quiet())
    xr.testing.assert_identical(six, before)
    assert store.nodes(sample) == [
        "component",
        "phase",
        "phase_components",
        "phase_components_connectivity=26",
    ]
    both = tim3d.describe(sample, ["percolation"])
    assert both["components"].values.tolist() == [
        "phase_components",
        "phase_components_connectivity=26",
    ]
    counts = [found.component_count.values.tolist() for found in (six, corners)]
    assert both.component_count.values.tolist() == counts
    assert counts[0] != counts[1]


@pytest.mark.long
def test_a_field_of_other_components_needs_another_name(sample: str) -> None:
    tim3d.label(sample, keep=True, options=quiet())
    with pytest.raises(MixedRunError, match=r"connectivity was 6, now 26"):
        tim3d.label(sample, connectivity=26, keep=True, options=quiet())
    tim3d.label(sample, connectivity=26, keep=True, component="corners", options=quiet())
    tim3d.label(sample, connectivity=26, keep=True, options=quiet(overwrite=True))
    for name in ("corners", "component"):
        ids, _ = label_volume(volume((13, 18, 21), seed=5), PHASES.codes, 26)
        assert np.array_equal(tim3d.open_field(sample, name).values, ids)


def test_a_name_that_holds_another_answer_is_refused(sample: str) -> None:
    tim3d.label(sample, out="mine", options=quiet())
    with pytest.raises(
        MixedRunError, match=r"'mine'.*connectivity 6 \(now 26\).*--out another-name.*--overwrite"
    ):
        tim3d.label(sample, connectivity=26, out="mine", options=quiet())
    assert (
        tim3d.label(sample, connectivity=26, out="mine", options=quiet(overwrite=True)).attrs[
            "connectivity"
        ]
        == 26
    )
    with pytest.raises(MixedRunError, match=r"'phase' .* is not a result of label"):
        tim3d.label(sample, out="phase", options=quiet(overwrite=True))


def test_overwriting_takes_other_blocks_and_gives_the_same(sample: str) -> None:
    first = tim3d.label(sample, options=quiet((4, 8, 7))).load()
    again = tim3d.label(sample, keep=True, options=quiet((8, 8, 7), overwrite=True))
    assert_is_that_of_the_array(sample, again, volume((13, 18, 21), seed=5), 6)
    np.testing.assert_array_equal(again.component_start.values, first.component_start.values)


def test_other_blocks_for_the_field_are_refused_with_the_cure(sample: str) -> None:
    tim3d.label(sample, options=quiet((4, 8, 7)))
    with pytest.raises(MixedRunError, match=r"block \[4, 8, 7\] \(now \[8, 8, 7\]\).*--overwrite"):
        tim3d.label(sample, keep=True, options=quiet((8, 8, 7)))


def test_the_plan_names_three_passes_and_does_nothing(sample: str) -> None:
    plans = tim3d.plan("label", sample, keep=True, options=quiet((4, 8, 7)))
    assert [(p.name, p.left) for p in plans] == [
        ("phase_components/blocks", 36),
        ("phase_components/pairs", 36),
        ("component/s0", 36),
    ]
    voxels = 13 * 18 * 21
    assert [p.read_bytes for p in plans] == [voxels, 0, voxels]  # pairs are of borders in markers
    assert store.nodes(sample) == ["phase"]


class Killed(BaseException):
    """Stands for the end of the process."""


OTHERS = [pytest.param(blow, marks=pytest.mark.slow) for blow in (5, 9, 17, 25)]


@pytest.mark.parametrize("blow", [1, 13, 21, 29, *OTHERS])
def test_a_run_that_stops_anywhere_is_resumed(
    sample: str, blow: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks here are 8: the blows fall into each of the three passes, and after them."""
    mark, left = Ledger.mark_done, blow

    def counting(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed
        return mark(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "mark_done", counting)
        try:
            tim3d.label(sample, keep=True, options=quiet((8, 16, 14)))
        except Killed:
            assert blow <= 24
        else:
            assert blow > 24
    found = tim3d.label(sample, keep=True, options=quiet((8, 16, 14)))
    assert_is_that_of_the_array(sample, found, volume((13, 18, 21), seed=5), 6)
    assert store.nodes(sample) == ["component", "phase", "phase_components"]


@pytest.mark.timeout(120)
@pytest.mark.long
def test_sigkill_leaves_the_bytes_of_an_untouched_run(tmp_path: Path) -> None:
    labels, rng = volume((24, 140, 130), seed=8), random.Random(2)
    samples = {}
    for name, victims in (("untouched", []), ("killed", ["client"] * 2)):
        folder = tmp_path / name
        folder.mkdir()
        samples[name] = Path(ingested(folder, labels, (4, 64, 64)))
        verb = [
            sys.executable,
            "-m",
            "tim3d",
            "label",
            str(samples[name]),
            "--keep",
            "--block",
            "8,64,64",
        ]
        assert (
            killed_until_done(verb, Path(f"{samples[name]}.runs"), victims, rng) >= len(victims) - 1
        )
    # The times of ingestion are parts of the provenance only.
    assert content(samples["killed"]) == content(samples["untouched"])
    assert validate(str(samples["killed"]), deep=True) == []


def test_bad_requests_say_what_to_do(sample: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="no phase por; it has pore, solid, filler"):
        tim3d.label(sample, phases=["por"], options=quiet())
    with pytest.raises(ArgumentError, match="no phase"):
        tim3d.label(sample, phases=[], options=quiet())
    with pytest.raises(ArgumentError, match="connectivity is 8; use 6"):
        tim3d.label(sample, connectivity=8, options=quiet())
    with pytest.raises(MissingFieldError, match=r"no field 'labels'.*tim3d segment"):
        tim3d.label(sample, field="labels", options=quiet())
    with pytest.raises(ArgumentError, match="not made of whole shards"):
        tim3d.label(sample, options=quiet((3, 8, 7)))
    tim3d.label(sample, keep=True, options=quiet())
    with pytest.raises(ArgumentError, match="'component' holds no phases"):
        tim3d.label(sample, field="component", options=quiet())


def test_the_components_of_a_plane_are_said_to_be_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = ingested(tmp_path, volume((1, 6, 7)), (1, 6, 7))
    found = tim3d.label(url, options=quiet())
    assert found.percolating_fraction.sel(axis="z").values.tolist() == [1, 1, 1]
    (line,) = (one.getMessage() for one in caplog.records if "is a plane" in one.getMessage())
    assert line.startswith("'phase' is a plane (1 x 6 x 7 voxels): ")
    assert line.endswith("along its thin axis each touches both faces")


def test_a_code_without_a_name_is_refused(tmp_path: Path) -> None:
    url = ingested(tmp_path, volume((5, 6, 7)), (2, 6, 7))
    store.field_array(url, "phase", mode="r+")[4] = 3
    with pytest.raises(InputError, match=r"labels \[3\] belong to no phase"):
        tim3d.label(url, options=quiet())


def test_more_components_than_numbers_are_refused(
    sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "MOST", 3)
    with pytest.raises(
        InputError, match=r"components are more than uint32 can number; label fewer phases"
    ):
        tim3d.label(sample, keep=True, options=quiet())


def test_numbers_are_stored_in_label_fields_without_phases_only() -> None:
    edges: Triple = (4, 4, 4)
    spacing = (1.0, 1.0, 1.0)
    schema.Field("a", edges, "uint32", spacing, edges, edges, labels=True)
    for labels, phases in ((False, None), (True, PHASES)):
        with pytest.raises(InputError, match="dtype uint32"):
            schema.Field("a", edges, "uint32", spacing, edges, edges, labels=labels, phases=phases)


def test_the_shell_shows_phases_and_not_the_table(
    sample: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(
            ["label", sample, "--phases", "pore,solid", "--connectivity", "26", "--keep", "--quiet"]
        )
        == 0
    )
    shown = capsys.readouterr().out
    assert "percolating_fraction z" in shown
    assert "component_voxels" not in shown
    assert tim3d.open_field(sample, "component").values.max() > 1
    assert main(["label", sample, "--plan", "--overwrite", "--quiet"]) == 0
    assert "phase_components/blocks" in capsys.readouterr().out


def test_a_recipe_may_name_phases(sample: str) -> None:
    found = call(
        "label", {"sample": sample, "phases": ["solid"], "connectivity": 18, "progress": False}
    )
    assert found.phase.values.tolist() == ["solid"]


def measured(
    folder: Path, labels: NDArray[np.uint8], phases: tim3d.Phases, connectivity: int, block: Triple
) -> Any:
    url = str(folder / "a.zarr")
    if not store.is_sample(url):
        ingested(folder, labels, (32, 64, 128), phases)
    return tim3d.label(url, connectivity=connectivity, options=quiet(block)).load()


@pytest.mark.parametrize(
    ("edge", "components", "through"),
    [
        (128, {6: 12, 26: 11}, 0.419774),
        pytest.param(256, {6: 65, 26: 59}, 0.419429, marks=pytest.mark.long),
    ],
)
def test_the_standard_noise(
    tmp_path: Path, edge: int, components: dict[int, int], through: float
) -> None:
    labels = blobs(edge)
    for connectivity, count in components.items():
        found = measured(
            tmp_path, labels, tim3d.Phases(solid=0, pore=1), connectivity, (64, 64, 128)
        )
        assert found.component_count.sel(phase="pore") == count
        share = found.percolating_fraction.sel(phase="pore", axis="z").item()
        if connectivity == 6:
            assert share * labels.mean() == pytest.approx(through, abs=5e-7)


ELECTRODE = tim3d.Phases(pore=0, nmc=85, cbd=170)


@pytest.fixture(scope="module")
def electrode(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the real volume in a sample."""
    folder = tmp_path_factory.mktemp("electrode")
    tim3d.ingest(
        data_dir / "volumes" / "electrode-256.tiff",
        str(folder / "a.zarr"),
        voxel_size={"z": 1, "y": 1, "x": 1},
        field="phase",
        phases=ELECTRODE,
        shard=(64, 128, 256),
        options=quiet(),
    )
    return folder


@pytest.mark.parametrize(
    ("connectivity", "shares"),
    [(6, (0.9989, 0.9611, 0.9740)), (18, (0.9995, 0.9612, 0.9915)), (26, (0.9996, 0.9612, 0.9936))],
)
def test_the_published_connected_shares_of_a_battery_electrode(
    electrode: Path, tmp_path: Path, connectivity: int, shares: tuple[float, ...]
) -> None:
    shutil.copytree(electrode, tmp_path, dirs_exist_ok=True)
    url = str(tmp_path / "a.zarr")
    found = tim3d.label(url, connectivity=connectivity, options=quiet((64, 128, 256)))
    assert found.percolating_fraction.sel(axis="z").values.tolist() == pytest.approx(
        shares, abs=5e-5
    )
