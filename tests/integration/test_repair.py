"""Damage on the disk is found, and costs the damaged blocks: the same command makes the same bytes again."""

from __future__ import annotations

import itertools
import random
import re
import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import zarr

import tim3d
from tests.contents import content
from tim3d.cli.main import main
from tim3d.engine import Ledger, lock_sample
from tim3d.errors import FailedBlocksError, LockedError, StoreError
from tim3d.maintenance.repair import repair
from tim3d.storage import store

T = TypeVar("T")
QUIET = tim3d.Options(progress=False)
PHASES = tim3d.Phases(pore=0, solid=1)


def make(folder: Path, *, ingest_again: bool = False) -> str:
    """The commands that make the sample, always the same."""
    sample = str(folder / "a.zarr")
    ingest = tim3d.Options(progress=False, overwrite=ingest_again)
    tim3d.ingest(
        folder / "in.npy",
        sample,
        voxel_size={"z": 4, "y": 2, "x": 2},
        shard=(8, 32, 32),
        options=ingest,
    )
    tim3d.segment(
        sample,
        method="otsu",
        phases=PHASES,
        options=tim3d.Options(progress=False, block=(8, 32, 32)),
    )
    tim3d.measure(sample, ["phase_fraction"], options=QUIET)
    return sample


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample, and beside it a copy of the folder."""
    folder = tmp_path_factory.mktemp("whole") / "work"
    folder.mkdir()
    grey = np.random.default_rng(1).integers(0, 255, (20, 70, 66)).astype(np.uint8)
    np.save(folder / "in.npy", grey)
    make(folder)
    shutil.copytree(folder, folder.with_name("copy"))
    return folder


@pytest.fixture
def sample(whole: Path) -> str:
    """The sample as it was made, always in the same place."""
    shutil.rmtree(whole)
    shutil.copytree(whole.with_name("copy"), whole)
    return str(whole / "a.zarr")


def flip(file: Path) -> None:
    """One bit in the middle."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 8
    file.write_bytes(data)


def tear(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def lose(file: Path) -> None:
    file.unlink()


def markers(sample: str, name: str) -> dict[str, int]:
    """When the markers of a field were written."""
    folder = Path(
        Ledger(sample, name, store.node_attributes(sample, name)["fingerprint"]).folder
    ).parent
    return {
        str(p.relative_to(folder)): p.stat().st_mtime_ns
        for p in folder.glob("s*/*/done/*/*/*.json")
    }


def each_harm(places: Sequence[T]) -> list[Any]:
    """Every harm to the first place and one to each other; the rest are slow."""
    quick = [(places[0], harm) for harm in HARMS] + list(zip(places[1:], HARMS, strict=False))
    rest = [pair for pair in itertools.product(places, HARMS) if pair not in quick]
    return [*quick, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in rest)]


HARMS = (flip, tear, lose)
SHARDS = [("phase/s0/phase/c/1/2/0", 2), ("phase/s1/phase/c/0/0/1", 1), ("raw/s0/raw/c/2/0/0", 2)]


@pytest.mark.long
@pytest.mark.parametrize(("place", "harm"), each_harm(SHARDS))
def test_only_damaged_blocks_are_computed_again(
    sample: str,
    monkeypatch: pytest.MonkeyPatch,
    place: tuple[str, int],
    harm: Callable[[Path], None],
) -> None:
    shard, again = place
    monkeypatch.chdir(Path(sample).parent)
    before, name = content(sample), shard.split("/")[0]
    stamps = markers(sample, name)
    harm(Path(sample) / shard)
    (fault,) = tim3d.validate(sample, deep=True)
    assert fault.where.startswith("/".join(shard.split("/")[:2]))
    ((mended,), rest) = repair(sample)
    said, _, command = str(mended).partition(": tim3d ")
    assert said.startswith(
        f"{name}: {again} block(s) will be computed again. Run the recipe again, or type"
    )
    assert not rest
    assert store.node_attributes(sample, name)["status"] == "writing"
    block = ["--block", "8,32,32"] if name == "phase" else []
    assert main([*shlex.split(command), *block, "--quiet"]) == 0
    assert content(sample) == before
    assert not tim3d.validate(sample, deep=True)
    assert sum(stamps[key] != when for key, when in markers(sample, name).items()) == again


@pytest.mark.long
@pytest.mark.parametrize(
    ("node", "harm"), each_harm(["raw_slices", "phase_partials", "phase_descriptors"])
)
def test_damaged_results_are_made_again_whole(
    sample: str, node: str, harm: Callable[[Path], None]
) -> None:
    before = content(sample)
    harm(
        next(
            p
            for p in sorted((Path(sample) / node).rglob("*"))
            if p.is_file() and p.name != "zarr.json"
        )
    )
    ((mended,), rest) = repair(sample)
    assert (mended.node, rest) == (node, [])
    make(Path(sample).parent)
    assert content(sample) == before
    assert not tim3d.validate(sample, deep=True)


@pytest.mark.long
@pytest.mark.parametrize("count", [12, pytest.param(40, marks=pytest.mark.slow)])
def test_a_flipped_bit_is_found_or_changes_no_value(sample: str, count: int) -> None:
    """A few bits of a zstd frame are unused: the checksum then says that the values are what they were."""
    files = [p for p in sorted(Path(sample).rglob("*")) if p.is_file() and p.name != "zarr.json"]
    found, chosen = 0, random.Random(0).sample(files, count)
    for file in chosen:
        data, before = bytearray(file.read_bytes()), values(file)
        bit = random.Random(str(file)).randrange(8 * len(data))
        data[bit // 8] ^= 1 << bit % 8
        file.write_bytes(data)
        if tim3d.validate(sample, deep=True):
            found += 1
        else:
            np.testing.assert_array_equal(values(file), before)
        data[bit // 8] ^= 1 << bit % 8
        file.write_bytes(data)
    assert found >= 0.9 * count


def values(file: Path) -> np.ndarray:
    """The array that a chunk belongs to."""
    array = next(p for p in file.parents if (p / "zarr.json").exists())
    return np.asarray(zarr.open_array(str(array), mode="r")[...])


def test_what_cannot_be_repaired_is_said(sample: str) -> None:
    flip(Path(sample) / "raw/s1/z/c/0")
    made, rest = repair(sample)
    assert not made
    assert "--overwrite" in str(rest[0])


def test_a_sample_that_is_written_is_not_repaired(sample: str) -> None:
    with lock_sample(sample), pytest.raises(LockedError):
        repair(sample)


@pytest.mark.parametrize("damage", [flip, tear])
def test_a_verb_that_meets_damage_says_how_to_repair_it(
    sample: str, damage: Callable[[Path], None]
) -> None:
    damage(Path(sample) / "phase/s0/phase/c/1/2/0")
    with pytest.raises(
        FailedBlocksError,
        match=r"phase/s0/phase cannot be decoded .*Type: tim3d validate SAMPLE --deep --repair",
    ):
        tim3d.label(sample, options=QUIET)


@pytest.mark.parametrize(
    ("below", "level"), [("", None), ("s0/", 0), ("s0/phase/", 0), ("s1/z/", 1)]
)
def test_torn_metadata_is_one_line_and_the_node_is_made_again(
    sample: str, below: str, level: int | None
) -> None:
    before, torn = content(sample), Path(sample) / f"phase/{below}zarr.json"
    tear(torn)
    (fault,) = tim3d.validate(sample)
    assert fault.where == str(torn)
    assert fault.cure.startswith(
        f"Copy it from a backup, or delete {sample}/phase and make it again"
    )
    with pytest.raises(
        StoreError, match=rf"{torn} is damaged: it is not JSON .*\. {re.escape(fault.cure)}"
    ):
        store.node_attributes(sample, "phase") if level is None else store.open_field(
            sample, "phase", level
        )
    shutil.rmtree(Path(sample) / "phase")
    make(Path(sample).parent)
    assert content(sample) == before


@pytest.mark.parametrize("node", ["raw_slices", "phase_partials", "phase_descriptors"])
def test_a_result_with_torn_metadata_is_deleted_and_made_again(sample: str, node: str) -> None:
    before = content(sample)
    tear(Path(sample) / node / "zarr.json")
    with pytest.raises(StoreError, match=f"delete {sample}/{node} and make"):
        store.open_dataset(sample, node)
    shutil.rmtree(Path(sample) / node)
    make(Path(sample).parent, ingest_again=node == "raw_slices")  # only its field's making makes it
    assert content(sample) == before


def test_the_metadata_of_a_sample_are_those_of_any_other(sample: str, tmp_path: Path) -> None:
    before, root = content(sample), Path(sample) / "zarr.json"
    other = tmp_path / "other.zarr"
    store.create_sample(str(other))
    root.write_bytes(b"[]")
    with pytest.raises(
        StoreError,
        match=r"it does not contain a JSON object\. Copy it from a backup, or from another sample",
    ):
        store.nodes(sample)
    shutil.copy(other / "zarr.json", root)
    assert repair(sample) == ([], [])  # which says again what viewers read
    assert content(sample) == before
    assert not tim3d.validate(sample, deep=True)
