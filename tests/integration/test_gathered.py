"""Markers gathered into one file: the same blocks and records, whatever is killed, dropped or damaged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scale import empty_pass
from tests.works import number_pass
from tim3d.engine import Ledger, run
from tim3d.engine.passes.run import GATHERED_FROM
from tim3d.engine.state.gathered import GATHERED
from tim3d.engine.state.ledger import HELD_RECORDS
from tim3d.engine.state.status import status
from tim3d.errors import StoreError
from tim3d.grid import Triple

PLACES = [(z, y, x) for z in range(3) for y in range(4) for x in range(5)]


def marked(where: Path, places: list[Triple] = PLACES) -> Ledger:
    ledger = Ledger(str(where / "a.zarr"), "raw/s0", "0" * 64)
    ledger.claim_layout({"shape": (3, 4, 5), "block": (1, 1, 1)})
    for place in places:
        ledger.mark_done(place, {"place": place, "share": 0.1 * place[0], "ä": None})
    return ledger


def fresh(ledger: Ledger) -> Ledger:
    return replace(ledger)


def records(ledger: Ledger, places: list[Triple] = PLACES) -> list[dict[str, Any]]:
    return list(fresh(ledger).records(places))


def markers(ledger: Ledger) -> list[Path]:
    return sorted(Path(ledger.folder).glob("done/*/*/*.json"))


def test_nothing_changes_but_the_number_of_files(tmp_path: Path) -> None:
    ledger = marked(tmp_path)
    before, seen = records(ledger), status(ledger.sample)
    ledger.gather()
    assert not markers(ledger)
    assert fresh(ledger).done() == set(PLACES)
    assert records(ledger) == before
    assert records(ledger, PLACES[::-1]) == before[::-1]
    assert fresh(ledger).record((2, 3, 4)) == before[-1]
    assert fresh(ledger).record((7, 0, 0)) == fresh(ledger).record((2, 3, 5)) == {}
    (now,) = status(ledger.sample).passes
    assert (now.done, now.left, now.blocks) == (60, 0, 60)
    assert [(one.done, one.left) for one in seen.passes] == [(60, 0)]


@given(
    st.lists(st.sampled_from(PLACES), unique=True),
    st.lists(st.sampled_from(PLACES), unique=True),
    st.booleans(),
)
def test_what_is_dropped_and_done_again_has_its_new_record(
    tmp_path_factory: pytest.TempPathFactory, first: list[Triple], second: list[Triple], again: bool
) -> None:
    ledger = marked(tmp_path_factory.mktemp("a"))
    ledger.gather()
    ledger.drop(first)
    assert fresh(ledger).done() == set(PLACES) - set(first)
    for place in second:
        ledger.drop([place])
        ledger.mark_done(place, {"place": place, "new": True})
    if again:
        ledger.gather()
        assert not markers(ledger)
    there = (set(PLACES) - set(first)) | set(second)
    assert fresh(ledger).done() == there
    for place, record in zip(PLACES, records(ledger), strict=True):
        assert (record.get("place") == list(place)) == (place in there)
        assert record.get("new", False) == (place in second)


def test_a_kill_between_the_file_and_the_markers_changes_nothing(tmp_path: Path) -> None:
    """Both are there then; of the markers some may be gone already."""
    ledger = marked(tmp_path)
    before, kept = records(ledger), {path: path.read_bytes() for path in markers(ledger)}
    ledger.gather()
    for path, data in list(kept.items())[::2]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert fresh(ledger).done() == set(PLACES)
    assert records(ledger) == before
    fresh(ledger).gather()
    assert not markers(ledger)
    assert records(ledger) == before
    ledger.drop(PLACES)
    assert not fresh(ledger).done()


def test_a_record_held_in_memory_is_the_one_that_is_gathered(tmp_path: Path) -> None:
    ledger = marked(tmp_path, [])
    for place in PLACES:
        ledger.hold(place, ledger.mark_done(place, {"place": place}))
    ledger.gather()
    assert [tuple(one["place"]) for one in records(ledger)] == PLACES


def test_a_damaged_byte_is_named_or_changes_nothing(tmp_path: Path) -> None:
    ledger = marked(tmp_path)
    before = records(ledger)
    ledger.gather()
    path = Path(ledger.folder) / GATHERED
    whole, random = path.read_bytes(), np.random.default_rng(0)
    said = []
    for place in random.integers(0, len(whole), 200):
        data = bytearray(whole)
        data[place] ^= 1 << int(random.integers(8))
        path.write_bytes(data)
        try:
            assert fresh(ledger).done() == set(PLACES)
            assert records(ledger) == before
        except StoreError as error:
            said.append(str(error))
    assert len(said) > 190  # what is left are the ends of lines
    assert all(str(path) in one and "run the same command again" in one for one in said)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match="is damaged"):
        records(ledger)


def test_a_run_after_it_computes_what_was_lost_only(tmp_path: Path) -> None:
    made = replace(number_pass(str(tmp_path / "a.zarr")), arrays=("raw/s0/raw",))
    run(made, progress=False)
    made.ledger.gather()
    assert run(made, progress=False).computed == 0
    next(tmp_path.glob("a.zarr/raw/s0/raw/c/*/*/*")).unlink()
    assert run(made, progress=False).computed == 1
    assert len(markers(made.ledger)) == 1
    assert run(made, progress=False).computed == 0
    fresh(made.ledger).forget()
    assert not Path(made.ledger.folder).exists()


@pytest.mark.parametrize(("blocks", "files"), [(GATHERED_FROM, 1), (60, 60)])
def test_a_large_pass_is_gathered_when_it_ends(tmp_path: Path, blocks: int, files: int) -> None:
    assert GATHERED_FROM < HELD_RECORDS
    sweep = empty_pass(tmp_path, blocks)
    assert run(sweep, progress=False).computed == blocks
    folder = Path(sweep.ledger.folder)
    found = [*folder.glob("done/*/*/*.json"), *folder.glob(GATHERED)]
    assert len(found) == files
    assert run(sweep, progress=False).skipped == blocks
    assert {json.dumps(one["voxels"]) for _, one in sweep.records()} == {"262144"}
