"""`clean` as a command: resumed where it was stopped, its table, its place in the report, and what it refuses."""

from __future__ import annotations

import json
import random
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import tim3d
from tests.cleaned import cleaned, volume
from tests.contents import content
from tests.processes import killed_until_done
from tim3d import cleaning, engine
from tim3d.cli.main import main
from tim3d.cli.readers import reader
from tim3d.corrections import Crop
from tim3d.errors import ArgumentError, InputError, MemoryPlanError, MixedRunError
from tim3d.maintenance.validation import validate
from tim3d.storage import store

PHASES = tim3d.Phases(pore=0, solid=3, dirt=9)
SPACING = (20.0, 10.0, 5.0)
QUIET = tim3d.Options(progress=False)
BLOCKS = tim3d.Options(progress=False, block=(4, 8, 8))


def steps_of(words: list[str]) -> tuple[object, ...]:
    """Steps as the shell reads them."""
    by = reader("CleaningSteps")
    assert by
    found: tuple[object, ...] = by.read(words)
    return found


def ingested(
    folder: Path, labels: np.ndarray, name: str = "a.zarr", *, overwrite: bool = False
) -> str:
    np.save(folder / "phase.npy", labels)
    tim3d.ingest(
        folder / "phase.npy",
        str(folder / name),
        voxel_size=dict(zip("zyx", SPACING, strict=True)),
        field="phase",
        phases=PHASES,
        shard=(4, 8, 8),
        options=tim3d.Options(progress=False, overwrite=overwrite),
    )
    return str(folder / name)


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return volume((8, 16, 15), 1)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory, labels: np.ndarray) -> str:
    return ingested(tmp_path_factory.mktemp("clean"), labels)


@dataclass(frozen=True)
class Stops(cleaning.LocalStep):
    """A step that changes nothing and stops the run when it is told to."""

    kind = "stops"
    calls: ClassVar[list[object]] = []
    stop_at: ClassVar[int | None] = None

    def relabel(self, labels, phases, spacing):
        self.calls.append(labels.shape)
        if len(self.calls) == Stops.stop_at:
            raise ArgumentError("stopped")
        return labels


@pytest.mark.parametrize("stop_at", [3, 11])
def test_a_stopped_run_goes_on_where_it_was(
    tmp_path: Path, labels: np.ndarray, sample: str, stop_at: int
) -> None:
    steps = [Stops(), cleaning.Islands("dirt", below_voxels=3), Stops()]
    url = ingested(tmp_path, labels)
    Stops.calls.clear()
    Stops.stop_at = stop_at
    with pytest.raises(ArgumentError, match="stopped"):
        tim3d.clean(url, steps, options=BLOCKS)
    Stops.stop_at = None
    with engine.journal(tmp_path / "log.jsonl"):
        found = tim3d.clean(url, steps, options=BLOCKS)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    done = [line["pass"] for line in lines if line["event"] == "block"]
    assert done.count("cleaned_step1/s0") == (6 if stop_at == 3 else 0)
    assert done.count("cleaned_step2_lookup/tables") == (8 if stop_at == 3 else 0)
    assert done.count("cleaned/s0") == (8 if stop_at == 3 else 6)
    assert np.array_equal(
        tim3d.open_field(url, "cleaned").values, cleaned(labels, steps[1:2], PHASES, SPACING)
    )
    assert found.moved.values.sum(axis=(1, 2)).tolist() == [labels.size] * 3
    assert store.nodes(url) == ["cleaned", "cleaned_changes", "phase"]
    assert validate(url, deep=True) == []
    assert tim3d.plan("clean", url, steps, options=BLOCKS) == []


def test_the_shell_prints_the_table_and_the_report_shows_it(
    sample: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = ["islands:dirt,below_nm3=4000", "rename:dirt,to=grain"]
    assert main(["clean", sample, *steps, "--out", "named", "--quiet"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].split() == ["step", "pieces", "phase", "lost", "gained", "voxels", "share"]
    assert any(line.startswith("1 islands:dirt,below_nm3=4000") for line in told)
    assert told[-1] == "named holds the phases pore=0,solid=3,grain=9"
    found = tim3d.open_dataset(sample, "named_changes")
    assert float(found.pieces[0]) > 0
    assert np.isnan(found.pieces[1])
    page = Path(tim3d.report(sample, tmp_path / "a.html", field="named")).read_text()
    assert "<h2>Cleaning</h2>" in page
    assert "1 islands:dirt,below_nm3=4000" in page


def test_what_is_there_is_kept(sample: str) -> None:
    tim3d.clean(sample, steps_of(["holes:solid"]), out="filled", options=QUIET)
    with pytest.raises(MixedRunError, match="another-name"):
        tim3d.clean(sample, steps_of(["holes:pore"]), out="filled", options=QUIET)
    with pytest.raises(ArgumentError, match="reads 'phase'"):
        tim3d.clean(sample, steps_of(["holes:pore"]), out="phase", options=QUIET)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("islnds:solid", "did you mean 'islands'"),
        ("islands:solid", "below_nm3=1e6 or below_voxels=100"),
        ("islands:solid,below_nm3=1e6,below_voxels=3", "it has 2"),
        ("islands:solid,below_nm3=big", "below_nm3='big' cannot be read: write a number"),
        ("islands:solid,below_voxels=1.5", "whole number"),
        ("islands:solid,below_voxels=-1", "positive"),
        ("islands:sold,below_voxels=3", "did you mean 'solid'"),
        ("islands:solid,below_voxels=3,border=cut", "write remove or keep"),
        ("islands:solid,below_voxels=3,connectivity=8", "connectivity is 8"),
        ("islands:below_voxels=3", "islands needs phase: islands:PHASE"),
        ("floating:solid,faces=top", "no face 'top'"),
        ("open:solid", "open needs radius_nm: open:solid,radius_nm="),
        ("open:solid,radius_nm=2", "radius_nm=5 or more"),
        ("open:solid,radius_nm=0", "a ball of 0 nm holds one voxel"),
        ("open:solid,radius_nm=inf", "finite length"),
        ("close:solid,radius_nm=1e9", "radius_nm is longer than the longest edge of the volume, "),
        ("majority:radius_nm=1e300", "radius_nm is longer than the longest edge of the volume, "),
        ("majority:solid,radius_nm=20", "majority has no 'phase'; it has radius_nm"),
        ("merge:dirt,into=dirt", "name two phases"),
        ("merge:dirt,into=sand", "'sand'"),
        ("rename:dirt,to=pore", "merge:dirt,into=pore"),
        ("rename:dirt,to=a b", "not a word"),
        ("", "no step"),
    ],
)
def test_a_step_that_does_not_fit_is_one_line_before_any_work(
    sample: str, step: str, said: str
) -> None:
    before = store.nodes(sample)
    with pytest.raises(ArgumentError, match=said) as error:
        tim3d.clean(sample, steps_of([step]), options=QUIET)
    assert "\n" not in str(error.value)
    assert store.nodes(sample) == before


def test_a_merged_phase_is_not_there_for_later_steps(sample: str) -> None:
    with pytest.raises(ArgumentError, match="'dirt'; there are pore, solid"):
        tim3d.clean(sample, steps_of(["merge:dirt,into=pore", "holes:dirt"]), options=QUIET)


def test_a_code_without_a_phase_is_refused_and_nothing_is_kept(
    tmp_path: Path, labels: np.ndarray
) -> None:
    url = ingested(tmp_path, labels)
    array = store.field_array(url, "phase", mode="r+")
    array[0, 0, 0] = 77
    for step in ("holes:solid", "majority:radius_nm=10"):
        with pytest.raises(InputError, match="77"):
            tim3d.clean(url, steps_of([step]), options=QUIET)
        assert store.nodes(url) == ["phase"]


def test_more_memory_than_there_is_is_refused(sample: str) -> None:
    with (
        tim3d.cluster("serial", memory_bytes=2**20),
        pytest.raises(MemoryPlanError, match=r"--block|--threads"),
    ):
        tim3d.clean(sample, steps_of(["open:solid,radius_nm=10"]), out="large", options=QUIET)
    assert "large" not in store.nodes(sample)


def test_a_slice_is_a_plane(tmp_path: Path) -> None:
    ring = np.zeros((1, 7, 7), np.uint8)
    ring[0, 1:6, 1:6] = 3
    ring[0, 3, 3] = 0
    url = ingested(tmp_path, ring)
    tim3d.clean(url, steps_of(["holes:solid"]), options=QUIET)
    assert tim3d.open_field(url, "cleaned").values[0, 3, 3] == 3
    tim3d.clean(url, steps_of(["floating:solid"]), out="none", options=QUIET)
    assert (tim3d.open_field(url, "none").values[0, 1] == 0).all()
    with pytest.raises(ArgumentError, match="one voxel along that axis"):
        tim3d.clean(url, steps_of(["floating:solid,faces=-z:+z"]), out="no", options=QUIET)


@pytest.mark.slow
def test_killed_again_and_again_it_ends_as_one_that_was_not(tmp_path: Path) -> None:
    steps = ["open:solid,radius_nm=20", "islands:dirt,below_voxels=3", "holes:solid"]
    samples = {}
    for name in ("untouched", "killed"):
        (tmp_path / name).mkdir()
        samples[name] = ingested(tmp_path / name, volume((12, 24, 24), 4))
        command = [
            *(sys.executable, "-m", "tim3d", "clean", samples[name], *steps),
            *("--block", "4,8,8", "--quiet"),
        ]
        victims = ["client"] * 3 if name == "killed" else []
        killed = killed_until_done(
            command, Path(f"{samples[name]}.runs"), victims, random.Random(1)
        )
        assert killed == len(victims)
    assert content(samples["killed"]) == content(samples["untouched"])
    assert validate(samples["killed"], deep=True) == []


def test_pieces_are_the_components_that_got_another_phase(tmp_path: Path) -> None:
    labels = np.zeros((4, 8, 8), np.uint8)
    labels[1, 1, 1] = labels[1, 3:5, 3] = labels[3, 6, 1:6] = 9  # of 1, 2 and 5 voxels
    url = ingested(tmp_path, labels)
    found = tim3d.clean(url, [cleaning.Islands("dirt", below_voxels=3)], options=QUIET)
    assert found.pieces.values.tolist() == [2]
    # From phase, to phase: pore, solid, dirt.
    assert found.moved.values[0].tolist() == [[248, 0, 0], [0, 0, 0], [3, 0, 5]]
    alone = ingested(tmp_path, np.full((4, 8, 8), 9, np.uint8), "alone.zarr")
    kept = tim3d.clean(alone, [cleaning.Islands("dirt", below_voxels=300)], options=QUIET)
    assert kept.pieces.values.tolist() == [0]
    assert (tim3d.open_field(alone, "cleaned").values == 9).all()


def test_a_field_that_is_taken_by_default_is_said_to_have_been_put_right_since(
    tmp_path: Path, labels: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    sample = ingested(tmp_path, labels)
    measured = partial(tim3d.measure, sample, ["phase_fraction"], options=QUIET)

    def said() -> list[str]:
        caplog.clear()
        measured()
        return [one for one in caplog.messages if "not used" in one]

    assert not said()
    tim3d.clean(sample, steps_of(["holes:solid"]), options=QUIET)
    (one,) = said()
    assert one.startswith(
        f"measure takes the field 'phase' of {sample}; 'cleaned' was made from it by clean"
    )
    assert "--field cleaned" in one
    # The newest of a chain is named, not those between.
    tim3d.clean(
        sample, steps_of(["open:solid,radius_nm=20"]), field="cleaned", out="opened", options=QUIET
    )
    (one,) = said()
    assert "--field opened" in one
    # Nothing is said of a field that is named, nor by the verbs that put fields right.
    caplog.clear()
    measured(field="phase")
    measured(field="cleaned")
    tim3d.clean(sample, steps_of(["holes:solid"]), options=QUIET)
    assert "not used" not in caplog.text
    # A plan says it before anything is done, a table of samples says it too.
    tim3d.measure.plan(sample, ["phase_fraction"], options=QUIET)
    tim3d.table([sample])
    assert caplog.text.count("--field opened") == 2
    # A field that was made from an earlier version is not newer.
    again = ingested(tmp_path, np.where(labels == 9, 0, labels), overwrite=True)
    assert again == sample
    assert not said()


def test_grey_values_that_were_prepared_since_are_named_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (4, 40, 40)).astype(np.uint8)
    np.save(tmp_path / "raw.npy", grey)
    sample = str(tmp_path / "a.zarr")
    size = {"z": 10, "y": 10, "x": 10}
    tim3d.ingest(
        tmp_path / "raw.npy", sample, voxel_size=size, accept=("saturated",), options=QUIET
    )
    tim3d.prepare(sample, [Crop(bar=4)], options=QUIET)
    tim3d.segment(
        sample, method="otsu", phases=tim3d.Phases(pore=0, solid=1), out="by_raw", options=QUIET
    )
    assert "segment takes the field 'raw'" in caplog.text
    assert "--field prepared" in caplog.text


def test_a_phase_that_the_steps_take_away_is_a_warning(
    tmp_path: Path, labels: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    sample = ingested(tmp_path, labels)
    tim3d.clean(sample, steps_of(["merge:dirt,into=pore"]), out="merged", options=QUIET)
    assert "any more" not in caplog.text
    tim3d.clean(sample, steps_of(["close:solid,radius_nm=160"]), options=QUIET)
    assert "no voxel of 'cleaned' is pore or dirt any more" in caplog.text


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("close:solid", "steps: close needs radius_nm: close:solid,radius_nm=..."),
        ("close:radius_nm=20", "steps: close needs phase: close:PHASE,radius_nm=20"),
        (
            "close:solid,radius=20",
            "close has no 'radius' (did you mean 'radius_nm'?); it has phase, radius_nm",
        ),
        ("close:solid,radius_nm=20,kind=open", "close has no 'kind'; it has phase, radius_nm"),
    ],
)
def test_a_slip_in_a_step_names_its_own_parameters_only(
    sample: str, capsys: pytest.CaptureFixture[str], word: str, said: str
) -> None:
    assert main(["clean", sample, word, "--out", "never", "--quiet"]) == 2
    assert capsys.readouterr().err.rstrip().endswith(said)
