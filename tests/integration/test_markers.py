"""Markers of finished blocks: read many at a time or not at all, and not believed when they are damaged."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

import tim3d
from tim3d import Options, Phases
from tim3d.engine import Ledger
from tim3d.engine.state.ledger import HELD_RECORDS
from tim3d.errors import StoreError

QUIET = Options(progress=False)


@pytest.fixture(params=["folder", "memory://markers"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    place = str(tmp_path) if request.param == "folder" else request.param
    made = Ledger(f"{place}/a.zarr", "raw/s0", "0" * 64)
    made.forget()
    return made


def test_records_come_in_the_order_of_the_places_asked_for(ledger: Ledger) -> None:
    places = [(z, y, x) for z in range(7) for y in range(7) for x in range(7)]
    for place in places:
        ledger.mark_done(place, {"place": place, "share": 0.1 * place[0]})
    wanted = places[::-1]
    assert [tuple(record["place"]) for record in ledger.records(wanted)] == wanted


def test_a_record_held_is_the_one_that_is_read(ledger: Ledger) -> None:
    record = {"counts": (1, 2), "by": {"a": [0.1, float("inf")]}, "text": "ä"}
    ledger.hold((0, 0, 0), ledger.mark_done((0, 0, 0), record))
    again = Ledger(ledger.sample, ledger.name, ledger.fingerprint)
    assert (
        list(ledger.records([(0, 0, 0)]))
        == list(again.records([(0, 0, 0)]))
        == [again.record((0, 0, 0))]
    )


def test_what_is_held_does_not_travel_and_is_forgotten_with_the_markers(ledger: Ledger) -> None:
    ledger.hold((0, 0, 0), ledger.mark_done((0, 0, 0), {"sum": 1}))
    assert not pickle.loads(pickle.dumps(ledger)).held
    ledger.forget()
    assert list(ledger.records([(0, 0, 0)])) == [{}]


def test_of_two_records_of_a_block_the_later_counts_and_no_more_are_held_than_fit(
    ledger: Ledger,
) -> None:
    """A block that is done again in the same run has its new numbers; a run of a million keeps some in memory."""
    more = [(0, y, x) for y in range(100) for x in range(HELD_RECORDS // 100 + 1)]
    first = ledger.mark_done((0, 0, 0), {"sum": 1})
    for place in more:
        ledger.hold(place, first)
    assert len(ledger.held) == HELD_RECORDS
    ledger.hold((0, 0, 0), ledger.mark_done((0, 0, 0), {"sum": 2}))
    assert list(ledger.records([(0, 0, 0)])) == [{"sum": 2}]


@pytest.mark.parametrize("place", range(0, 40, 3))
def test_one_changed_byte_of_a_marker_is_refused(place: int, tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path / "a.zarr"), "raw/s0", "0" * 64)
    ledger.mark_done((0, 0, 0), {"counts": [123, 456], "share": 0.25, "voxels": 4096})
    marker = Path(ledger.folder, "done/0/0/0.json")
    data = bytearray(marker.read_bytes())
    data[place] ^= 1
    marker.write_bytes(bytes(data))
    with pytest.raises(StoreError, match=f"{marker} is damaged: .*run the same command again"):
        list(ledger.records([(0, 0, 0)]))


@pytest.fixture
def sample(tmp_path: Path) -> str:
    voxels = np.random.default_rng(0).choice(np.array([50, 200], np.uint8), (32, 32, 32))
    np.save(tmp_path / "v.npy", voxels)
    made, phases = str(tmp_path / "s.zarr"), Phases(pore=0, solid=1)
    size, blocks = {"z": 5, "y": 5, "x": 5}, Options(progress=False, block=(8, 16, 16))
    tim3d.ingest(str(tmp_path / "v.npy"), made, voxel_size=size, shard=(8, 16, 16), options=QUIET)
    tim3d.segment(made, method="fixed", thresholds=[100], phases=phases, options=blocks)
    return made


def test_a_result_reads_only_the_markers_of_blocks_that_were_done_before(
    sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, seen = Ledger.record, []

    def counting(self: Ledger, index: tuple[int, int, int]) -> dict[str, object]:
        seen.append(index)
        return read(self, index)

    monkeypatch.setattr(Ledger, "record", counting)
    with tim3d.cluster("serial"):
        tim3d.segment(
            sample, method="otsu", phases=Phases(pore=0, solid=1), out="otsu", options=QUIET
        )
    assert not seen


def test_a_marker_that_lies_is_refused_by_the_verb_that_gathers_it(sample: str) -> None:
    tim3d.measure(sample, options=QUIET)
    tim3d.storage.store.delete_node(sample, "phase_partials")
    marker = next(Path(f"{sample}.runs/phase_partials").rglob("done/0/0/0.json"))
    record = json.loads(marker.read_text())
    record["voxels"] += 1
    marker.write_text(json.dumps(record))
    with pytest.raises(StoreError, match="damaged: its checksum"):
        tim3d.measure(sample, options=QUIET)
    marker.unlink()
    tim3d.measure(sample, options=QUIET)


@pytest.mark.parametrize("gathered", [False, True])
def test_a_block_that_is_dropped_is_not_done_and_its_record_is_gone_everywhere(
    ledger: Ledger, gathered: bool
) -> None:
    for place in ((0, 0, 0), (0, 0, 1)):
        ledger.hold(place, ledger.mark_done(place, {"place": place[2]}))
    if gathered:
        ledger.gather()
    ledger.drop([(0, 0, 1)])
    again = Ledger(ledger.sample, ledger.name, ledger.fingerprint)
    for one in (ledger, again):
        assert one.done() == {(0, 0, 0)}
        assert one.record((0, 0, 1)) == {}
        assert list(one.records([(0, 0, 0), (0, 0, 1)])) == [{"place": 0}, {}]
    ledger.mark_done((0, 0, 1), {"place": 9})
    assert list(ledger.records([(0, 0, 1)])) == [{"place": 9}]
