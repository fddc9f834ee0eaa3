"""Laws of the verbs that make fields, networks and files: a plan writes nothing, overwrite makes again, no argument is
without effect, and what was made from a replaced field is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tests.nets import tiny_checkpoint
from tim3d.cleaning import Holes
from tim3d.corrections import Median
from tim3d.errors import ArgumentError, MixedRunError, Tim3dError
from tim3d.forecast import forecasting
from tim3d.generators import GaussianField, LevelCuts
from tim3d.stages.generation.simulate import UNFINISHED
from tim3d.stages.shared.learnt_labels import records_of
from tim3d.storage import store

QUIET = tim3d.Options(progress=False)
AGAIN = tim3d.Options(progress=False, overwrite=True)
TWO = tim3d.Phases(pore=0, solid=1)
SHAPE = (4, 32, 32)
STACK: dict[str, Any] = {"shape": SHAPE, "correlation_nm": 60, "progress": False}
CUTS = LevelCuts(GaussianField((60.0,) * 3, (10.0,) * 3, seed=0), (0.4, 0.6))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack, a second one, a sample with a grey field and its truth, and a network."""
    folder = tmp_path_factory.mktemp("made")
    tim3d.simulate(folder / "stack", **STACK)
    tim3d.simulate(folder / "second", **{**STACK, "seed": 3})
    url = str(folder / "a.zarr")
    tim3d.ingest(folder / "stack" / "slices", url, voxel_size={"z": 20}, options=QUIET)
    tim3d.ingest(
        folder / "stack" / "truth",
        url,
        voxel_size={"z": 20},
        field="truth",
        phases=TWO,
        options=QUIET,
    )
    tiny_checkpoint(folder / "net.safetensors")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of its own with all of that."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def bytes_of(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder; the bytes of files."""
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None
        for p in sorted(folder.rglob("*"))
    }


def test_a_plan_makes_no_sample(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(SHAPE, np.uint8))
    before = bytes_of(tmp_path)
    url = str(tmp_path / "new.zarr")
    assert tim3d.ingest.plan(tmp_path / "a.npy", url, voxel_size={"z": 1, "y": 1, "x": 1})
    assert tim3d.generate.plan(url, CUTS, shape=SHAPE)
    with pytest.raises(Tim3dError, match="no sample"):
        tim3d.segment.plan(url, method="otsu", phases=TWO)
    assert bytes_of(tmp_path) == before


def test_overwrite_makes_the_same_stack_again_and_leaves_what_is_not_its_own(folder: Path) -> None:
    before = bytes_of(folder / "stack")
    (folder / "stack" / "slices" / "notes.txt").write_text("mine")
    with pytest.raises(MixedRunError, match=r"holds another simulation.*--overwrite"):
        tim3d.simulate("stack", **{**STACK, "shape": (2, 32, 32)})
    tim3d.simulate("stack", **{**STACK, "shape": (2, 32, 32)}, overwrite=True)
    assert len(list((folder / "stack" / "slices").glob("*.tif"))) == 2
    tim3d.simulate("stack", **STACK, overwrite=True)
    assert bytes_of(folder / "stack") == {**before, "slices/notes.txt": b"mine"}


def test_a_simulation_that_died_goes_on_and_one_that_lost_a_slice_is_mended(folder: Path) -> None:
    before, mark = bytes_of(folder / "stack"), folder / "stack" / "simulation.txt"
    mark.write_text(mark.read_text().strip() + UNFINISHED)
    (folder / "stack" / "truth" / "truth_00003.tif").unlink()
    tim3d.simulate("stack", **STACK)
    assert bytes_of(folder / "stack") == before
    (folder / "stack" / "slices" / "slice_00000.tif").unlink()
    tim3d.simulate("stack", **STACK)
    assert bytes_of(folder / "stack") == before


@pytest.mark.parametrize(
    "change",
    [
        {"shape": (5, 32, 32)},
        {"voxel_size": {"z": 10}},
        {"solid_fraction": 0.6},
        {"correlation_nm": 61},
        {"seed": 1},
    ],
)
def test_every_argument_of_a_simulation_makes_another_one(
    folder: Path, change: dict[str, Any]
) -> None:
    with pytest.raises(MixedRunError, match="another simulation"):
        tim3d.simulate("stack", **{**STACK, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"window": (16, 16)}, {"window": (16, 16), "halo": 4}, {"window": (16, 16), "mode": "blend"},
        {"probabilities": True}, {"batch": 2}, {"normalisation": "slices"}, {"merge": {"solid": "pore"}},
        {"phases": tim3d.Phases(pore=1, solid=0)},
    ],
)  # fmt: skip
@pytest.mark.long
def test_every_argument_of_a_network_makes_other_labels(
    folder: Path, change: dict[str, Any]
) -> None:
    tim3d.segment("a.zarr", model="net.safetensors", options=QUIET)
    with pytest.raises(MixedRunError, match="created with different parameters"):
        tim3d.segment.plan("a.zarr", model="net.safetensors", **change)


@pytest.mark.parametrize("modes", [(300, 400, 500), (800, 1100, 1400), (40000, 40010, 40020)])
def test_thresholds_of_uint16_tell_modes_apart_wherever_they_lie(
    tmp_path: Path, modes: tuple[int, ...]
) -> None:
    truth = np.random.default_rng(4).integers(0, 3, SHAPE)
    np.save(tmp_path / "a.npy", np.asarray(modes, np.uint16)[truth])
    url, phases = str(tmp_path / "a.zarr"), tim3d.Phases(a=0, b=1, c=2)
    tim3d.ingest(tmp_path / "a.npy", url, voxel_size={"z": 1, "y": 1, "x": 1}, options=QUIET)
    labels = tim3d.segment(url, method="multi-otsu", phases=phases, options=QUIET)
    assert np.array_equal(labels.values, truth)


def test_other_shards_of_an_ingested_field_are_refused(folder: Path) -> None:
    with pytest.raises(MixedRunError, match=r"has shards of \(4, 32, 32\), now \(4, 16, 16\)"):
        tim3d.ingest(
            "stack/slices", "a.zarr", voxel_size={"z": 20}, shard=(4, 16, 16), options=QUIET
        )


def test_what_was_made_from_a_replaced_field_is_refused_with_the_command_that_renews_it(
    folder: Path,
) -> None:
    tim3d.segment("a.zarr", method="otsu", phases=TWO, options=QUIET)
    tim3d.ingest("second/slices", "a.zarr", voxel_size={"z": 20}, options=AGAIN)
    assert store.outdated("a.zarr", "raw_histogram") == store.outdated("a.zarr", "phase") == "raw"
    assert store.outdated("a.zarr", "raw_slices") == ""
    with pytest.raises(MixedRunError, match=r"Renew it: tim3d segment a\.zarr --method otsu"):
        store.complete_field("a.zarr", "phase")
    with pytest.raises(MixedRunError, match=r"from another raw.*--overwrite"):
        tim3d.segment("a.zarr", method="otsu", phases=TWO, options=QUIET)
    tim3d.segment("a.zarr", method="otsu", phases=TWO, options=AGAIN)
    assert store.outdated("a.zarr", "phase") == store.outdated("a.zarr", "raw_histogram") == ""


def test_a_chain_is_planned_before_anything_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with forecasting():
        (line,) = tim3d.simulate.plan("stack", shape=SHAPE)
        assert "writes 4 slices of 32x32" in str(line)
        assert tim3d.ingest.plan("stack/slices", "a.zarr", voxel_size={"z": 20})[0].blocks == 1
        assert tim3d.ingest.plan(
            ["stack/truth/*0.tif"], "a.zarr", voxel_size={"z": 20}, field="t", phases=TWO
        )
        assert store.complete_field("a.zarr", "raw").spacing_nm == (20, 10, 10)
        assert store.complete_field("a.zarr", "t").shape == (1, 32, 32)
        assert [p.name for p in tim3d.annotate.plan("a.zarr")][:2] == [
            "raw_histogram",
            "annotation/s0",
        ]
        (line,) = tim3d.train.plan("a.zarr", "net.safetensors")
        assert "for solid, pore, shine_through on 4 slices" in str(line)
        phases = tim3d.segment.plan(
            "a.zarr", model="net.safetensors", merge={"shine_through": "pore"}, phases=TWO
        )
        assert phases[0].name == "phase/s0"
        with pytest.raises(ArgumentError, match="--merge names 'resin'"):
            tim3d.segment.plan("a.zarr", model="net.safetensors", merge={"resin": "pore"})
    assert bytes_of(tmp_path) == {}


@pytest.mark.long
def test_the_demo_is_planned_without_torch(tmp_path: Path) -> None:
    recipe = Path(__file__).parents[2] / "pipelines" / "demo.toml"
    code = (
        "import sys; from tim3d.cli.recipe import plan_recipe\n"
        "steps = [name for name, plans in plan_recipe(sys.argv[1], cluster={'kind': 'serial'}) if plans]\n"
        "assert 'train' in steps; assert not {'torch', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(recipe)], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert bytes_of(tmp_path) == {}


def test_the_records_of_a_field_are_those_of_all_that_it_was_made_of(folder: Path) -> None:
    """However many steps lie between: what a model has learnt from is sought in all of them."""
    tim3d.prepare("a.zarr", [Median(20.0)], options=QUIET)
    tim3d.segment("a.zarr", field="prepared", method="otsu", phases=TWO, out="first", options=QUIET)
    tim3d.clean("a.zarr", [Holes("solid")], field="first", out="second", options=QUIET)
    tim3d.label("a.zarr", field="second", keep=True, options=QUIET)
    made = {
        name: [one["verb"] for one in records_of("a.zarr", name)] for name in store.fields("a.zarr")
    }
    assert made["raw"] == made["truth"] == ["ingest"]
    assert made["first"] == ["segment", "prepare", "ingest"]
    assert made["second"] == ["clean", *made["first"]]
    (last,) = set(made) - {"raw", "truth", "prepared", "first", "second"}
    assert made[last] == ["label", *made["second"]]
