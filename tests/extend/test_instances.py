"""A segmenter of one's own that numbers objects: one numbering of the volume, whatever the blocks and the kills."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import tim3d
from tests.extend.particles import Particles, number
from tim3d.errors import ArgumentError, FailedBlocksError, MixedRunError
from tim3d.grid import Box
from tim3d.maintenance.repair import repair
from tim3d.maintenance.validation import validate
from tim3d.models.segmentation.objects import numbered_region
from tim3d.models.segmentation.segmenter import Segmenter
from tim3d.storage import store

PAGE = Path(__file__).parents[2] / "docs" / "extend.md"
SOURCE = Path(__file__).with_name("particles.py")
SHAPE = (26, 45, 41)
QUIET = tim3d.Options(progress=False, block=(8, 16, 16))


@pytest.fixture(scope="module")
def centres() -> list[tuple[int, ...]]:
    """Places of balls of radius 4 that do not touch, some of which the border of the volume cuts."""
    rng, found = np.random.default_rng(1), []
    for _ in range(2000):
        one = tuple(int(rng.integers(0, n)) for n in SHAPE)
        if all(sum((a - b) ** 2 for a, b in zip(one, c, strict=True)) > 110 for c in found):
            found.append(one)
    return found


@pytest.fixture(scope="module")
def grey(centres: list[tuple[int, ...]]) -> np.ndarray:
    away = np.ones(SHAPE, bool)
    away[tuple(np.array(centres).T)] = False
    ball = ndimage.distance_transform_edt(away) <= 4.2
    noise = np.random.default_rng(2).integers(-20, 21, SHAPE)
    return (80 + 80 * ball + noise).astype(np.uint8)


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory, grey: np.ndarray) -> Path:
    folder = tmp_path_factory.mktemp("ingested")
    np.save(folder / "grey.npy", grey)
    ingest(folder / "grey.npy", folder / "s.zarr", "raw")
    return folder / "s.zarr"


def ingest(stack: Path, sample: Path | str, field: str) -> None:
    size, options = {"z": 10, "y": 5, "x": 5}, tim3d.Options(progress=False)
    tim3d.ingest(
        stack, str(sample), field=field, voxel_size=size, shard=(8, 16, 16), options=options
    )


@pytest.fixture
def sample(tmp_path: Path, ingested: Path) -> str:
    return str(shutil.copytree(ingested, tmp_path / "s.zarr"))


def whole(grey: np.ndarray, segmenter: Segmenter) -> np.ndarray:
    """Numbers of particles by connected components of the whole volume."""
    return ndimage.label(grey > 110)[0]  # type: ignore[no-any-return]


def test_particles_are_numbered_over_the_volume_for_two_blockings(
    sample: str, grey: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    expected, count = ndimage.label(grey > 110)
    one = number(sample, (8, 16, 16)).compute()
    np.testing.assert_array_equal(one, number(sample, (32, 16, 48)).compute())
    np.testing.assert_array_equal(one, expected)
    assert one.dtype == np.uint32
    assert one.attrs["objects"] == count > 20
    assert one.attrs["long_name"] == "number of the particle"
    assert capsys.readouterr().out == 2 * f"{count} particles\n"
    assert store.nodes(sample) == [
        "grains",
        "grains_particles",
        "raw",
        "raw_inspection",
        "raw_slices",
    ]
    assert validate(sample, deep=True) == []


def test_it_takes_at_most_sixty_lines_and_the_page_shows_them() -> None:
    code = SOURCE.read_text()
    assert len(code.splitlines()) <= 60
    assert code.partition("from __future__")[2] in PAGE.read_text()


@pytest.mark.long
def test_workers_give_the_same_numbers(sample: str) -> None:
    one = number(sample, (8, 16, 16)).compute()
    with tim3d.cluster("local", workers=1):
        np.testing.assert_array_equal(one, number(sample, (8, 48, 16)).compute())


@dataclass(frozen=True)
class Falling(Particles):
    """Falls at the end of the volume while a file is there."""

    fall: str = ""

    def look(self, grey: np.ndarray, place: object) -> Mapping[str, np.ndarray]:
        assert isinstance(place, Box)
        if Path(self.fall).exists() and place.start[0] >= 12:
            raise RuntimeError("out of luck")
        return super().look(grey, place)


def test_an_interrupted_run_goes_on_at_either_pass(
    sample: str, grey: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fall = tmp_path / "fall"
    fall.touch()
    seen = Falling(fall=str(fall))
    with pytest.raises(FailedBlocksError):
        tim3d.segment(sample, segmenter=seen, out="p", options=QUIET)
    fall.unlink()
    plans = tim3d.plan("segment", sample, segmenter=seen, out="p", options=QUIET)
    assert [(plan.name, plan.left, plan.blocks) for plan in plans] == [
        ("p/s0", 18, 36),
        ("p_particles/s0", 36, 36),
    ]
    break_off(monkeypatch, sample, seen)
    np.testing.assert_array_equal(tim3d.open_field(sample, "p_particles"), whole(grey, seen))


def break_off(monkeypatch: pytest.MonkeyPatch, sample: str, seen: Segmenter) -> None:
    """Break the second pass off after three blocks, and run the same command again."""
    write, written = store.write_block, []

    def thrice(url: str, name: str, core: Box, *values: Any, **how: Any) -> None:
        if name == "p_particles":
            written.append(core)
            if len(written) > 3:
                raise KeyboardInterrupt
        write(url, name, core, *values, **how)

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_block", thrice)
        with pytest.raises(KeyboardInterrupt):
            tim3d.segment(sample, segmenter=seen, out="p", options=QUIET)
    plans = tim3d.plan("segment", sample, segmenter=seen, out="p", options=QUIET)
    assert [(plan.name, plan.left) for plan in plans] == [("p_particles/s0", 33)]
    tim3d.segment(sample, segmenter=seen, out="p", options=QUIET)


@pytest.mark.long
def test_numbers_that_were_removed_or_damaged_are_made_again(sample: str, grey: np.ndarray) -> None:
    seen = Particles()
    tim3d.segment(sample, segmenter=seen, out="p", options=QUIET)
    assert tim3d.plan("segment", sample, segmenter=seen, out="p", options=QUIET) == []
    store.delete_node(sample, "p_particles")
    tim3d.segment(sample, segmenter=seen, out="p", options=QUIET)
    for name in ("p", "p_particles"):
        first = next(Path(sample, name, "s0", name, "c").rglob("0"))
        shard = first if first.is_file() else next(p for p in first.rglob("*") if p.is_file())
        shard.unlink()
        repair(sample)
        tim3d.segment(sample, segmenter=seen, out="p", options=QUIET)
        assert validate(sample, deep=True) == []
    np.testing.assert_array_equal(tim3d.open_field(sample, "p_particles"), whole(grey, seen))
    np.testing.assert_array_equal(tim3d.open_field(sample, "p"), grey > 110)


def test_the_overlap_decides_and_is_recorded(sample: str) -> None:
    tim3d.segment(sample, segmenter=Particles(), out="p", options=QUIET)
    with pytest.raises(MixedRunError, match="other maps"):
        tim3d.segment(sample, segmenter=changed(overlap=0.9), out="p", options=QUIET)
    (recorded,) = store.node_attributes(sample, "p_particles")["parameters"]["maps"]
    assert recorded["overlap"] == 0.5


def test_no_object_at_all_is_a_field_of_zeros(sample: str) -> None:
    tim3d.segment(sample, segmenter=Particles(level=254), out="p", options=QUIET)
    found = tim3d.open_field(sample, "p_particles")
    assert found.attrs["objects"] == int(found.max()) == 0


def test_objects_that_a_chain_joins_are_warned_of(
    sample: str, caplog: pytest.LogCaptureFixture
) -> None:
    tim3d.segment(sample, segmenter=Crossed(), out="p", options=QUIET)
    assert "separate in a window and joined by a chain" in caplog.text


@dataclass(frozen=True)
class Crossed(Particles):
    """Halves of a window, by turns along y and along x: four windows around an edge join all halves."""

    window = (16, 12, 12)
    halo = (0, 2, 2)

    def look(self, grey: np.ndarray, place: object) -> Mapping[str, np.ndarray]:
        assert isinstance(place, Box)
        turn = sum(n // 8 for n in place.start[1:]) % 2
        halves = 1 + (np.indices(grey.shape)[1 + turn] >= 6)
        return {"labels": np.zeros(grey.shape, np.uint8), "particles": halves.astype(np.uint16)}


def changed(**of: Any) -> Particles:
    """Particles with another description of their map."""
    given = {"dtype": "uint16", "joined": "objects", **of}
    maps = (tim3d.Map("particles", "number of the particle", **given),)
    return type("Changed", (Particles,), {"maps": maps})()  # type: ignore[no-any-return]


class Whole(Particles):
    """Overrides the maps of a core, where objects of windows are not seen."""

    def region(self, *given: Any) -> Any:
        raise AssertionError


WRONG = [
    (changed(overlap=0.0), "above 0, and 1 at most"),
    (changed(overlap=1.5), "above 0, and 1 at most"),
    (changed(dtype="float32"), "one array of numbers"),
    (changed(per_class=True), "not per class"),
    (changed(joined="voxels", dtype="uint32"), "joined='objects'"),
    (type("Anywhere", (Particles,), {"window": None})(), "give a window"),
    (Whole(), "override each_window"),
]


@pytest.mark.parametrize(("segmenter", "says"), WRONG, ids=[says for _, says in WRONG])
def test_what_cannot_be_paired_is_refused_before_any_work(
    sample: str, segmenter: Any, says: str
) -> None:
    with pytest.raises(ArgumentError, match=says):
        tim3d.segment(sample, segmenter=segmenter, out="p", options=QUIET)
    assert store.nodes(sample) == ["raw", "raw_inspection", "raw_slices"]


def test_a_field_of_the_name_of_a_map_is_not_replaced(sample: str, ingested: Path) -> None:
    ingest(ingested.with_name("grey.npy"), sample, "p_particles")
    with pytest.raises(MixedRunError, match="p_particles"):
        tim3d.segment(sample, segmenter=Particles(), out="p", options=QUIET)
    assert "p" not in store.nodes(sample)


@dataclass(frozen=True)
class Batched(Particles):
    """Takes its windows in one batch."""

    def each_window(self, shape: Any, indices: Any, grey: Any, box: Any) -> Any:
        yield from list(super().each_window(shape, indices, grey, box))


def test_windows_in_batches_have_the_same_numbers(grey: np.ndarray) -> None:
    core = Box((8, 16, 0), (26, 45, 41))
    box = Particles().read_box(SHAPE, core)
    given = (SHAPE, core, grey[box.slices], box)
    maps, objects = numbered_region(Particles(), *given)
    again, others = numbered_region(Batched(), *given)
    np.testing.assert_array_equal(maps["particles"], again["particles"])
    np.testing.assert_array_equal(objects["particles"].pairs, others["particles"].pairs)
