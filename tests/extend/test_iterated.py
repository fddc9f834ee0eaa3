"""A generator of many passes of one's own, the same volume in any blocks, after kills and in memory."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tim3d.errors import ConvergenceError, MixedRunError
from tim3d.generators import Box, Iterated, Noise
from tim3d.storage import store


@dataclass(frozen=True)
class Smoothed(Iterated):
    """Noise that is averaged over 3 x 3 x 3 voxels again and again, and cut so that a share is pore."""

    kind = "smoothed"
    phases = tim3d.Phases(pore=2, solid=5)
    tile_edge = 8
    advance_bytes = 0

    passes: int
    seed: int
    share: float | None = None
    shape: tuple[int, int, int] = (0, 0, 0)
    spacing_nm: tuple[float, float, float] = (10.0, 10.0, 10.0)

    def of_shape(self, shape: tuple[int, int, int]) -> Smoothed:
        """The volume is one period."""
        return replace(self, shape=shape)

    @property
    def domain(self) -> Box:
        """The volume: it continues itself across its faces."""
        return Box.whole(self.shape)

    def begin(self, box: Box) -> np.ndarray:
        """White noise."""
        return Noise(self.seed).normals(box)[None]

    def reach(self, number: int) -> tuple[int, int, int]:
        """One voxel around a tile."""
        return (1, 1, 1)

    def advance(self, number: int, tile: Box, before: np.ndarray, earlier: Any) -> np.ndarray:
        """The mean of 27 neighbours, scaled so that white noise keeps its spread."""
        z, y, x = tile.shape
        moved = [
            before[:, a : a + z, b : b + y, c : c + x] for a, b, c in product(range(3), repeat=3)
        ]
        return np.sum(moved, axis=0) / np.float32(27**0.5)

    def finished(self, last: np.ndarray, cut: float) -> np.ndarray:
        """Solid is what is not below the cut."""
        return (last[0] >= cut).astype(np.uint8)


SHAPE = (11, 18, 25)


def made(sample: Path, generator: Iterated, *block: int, **more: Any) -> np.ndarray:
    """The labels of a volume, generated in blocks."""
    options = tim3d.Options(block=block or None, progress=False, **more)  # type: ignore[arg-type]
    given = {"shape": SHAPE, "shard": (8, 8, 8), "options": options}
    return np.asarray(tim3d.generate(str(sample), generator, **given))


def test_blocks_are_the_volume_in_memory_and_nothing_is_left(tmp_path: Path) -> None:
    smoothed = Smoothed(2, 7, 0.3)
    whole = smoothed.of_shape(SHAPE).labels(Box.whole(SHAPE))
    for number, block in enumerate([(), (8, 16, 16)]):
        sample = tmp_path / f"{number}.zarr"
        assert np.array_equal(made(sample, smoothed, *block) == 5, whole)
        assert store.nodes(str(sample)) == ["phase"]
        assert not list(Path(f"{sample}.runs").glob("phase_scratch*"))
    assert (whole == 0).sum() == round(0.3 * whole.size), "the share is met to the voxel"


def test_a_state_continues_itself_across_faces() -> None:
    """A mean over whole periods in an array of two periods, the plain way."""
    smoothed = Smoothed(2, seed=1, shape=(9, 10, 11))
    state = smoothed.begin(smoothed.domain)[0].astype(np.float64)
    for _ in range(2):
        moves = [np.roll(state, shift, (0, 1, 2)) for shift in product((-1, 0, 1), repeat=3)]
        state = np.sum(moves, axis=0) / 27**0.5
    far = np.abs(state) > 1e-5
    labels = smoothed.labels(smoothed.domain)
    assert np.array_equal(labels[far], (state > 0)[far])
    again = smoothed.labels(Box((-9, 3, 5), (18, 30, 13)))
    assert np.array_equal(again[:9, :7], labels[:, 3:, [5, 6, 7, 8, 9, 10, 0, 1]])


@dataclass(frozen=True)
class Interrupted(Smoothed):
    """The same, in a process that is interrupted in the middle of a pass."""

    journal: str = ""
    stop: int = 10**9

    def description(self) -> dict[str, Any]:
        """That of the calm one."""
        return Smoothed(self.passes, self.seed, self.share, self.shape).description()

    def advance(self, number: int, tile: Box, before: np.ndarray, earlier: Any) -> np.ndarray:
        """Note every tile, and stop before one of them."""
        path = Path(self.journal)
        seen = path.read_text().splitlines() if path.exists() else []
        if len(seen) == self.stop:
            raise KeyboardInterrupt
        path.write_text("\n".join([*seen, json.dumps([number, *tile.start])]) + "\n")
        return super().advance(number, tile, before, earlier)


def test_a_run_that_is_killed_twice_repeats_only_blocks_in_flight(tmp_path: Path) -> None:
    calm, sample = Smoothed(3, 7, 0.3), tmp_path / "a.zarr"
    log = str(tmp_path / "tiles.txt")
    for stop in (30, 60):  # of 24 tiles a pass
        with pytest.raises(KeyboardInterrupt):
            made(sample, Interrupted(3, 7, 0.3, journal=log, stop=stop), 16, 16, 16)
    with pytest.raises(MixedRunError, match="was begun with block"):
        made(sample, calm, 8, 8, 16)
    labels = made(sample, Interrupted(3, 7, 0.3, journal=log), 16, 16, 16)
    assert np.array_equal(labels, made(tmp_path / "b.zarr", calm))
    tiles = Path(log).read_text().splitlines()
    assert len(set(tiles)) == 3 * 24
    assert len(tiles) - len(set(tiles)) <= 2 * 8, "a kill costs the block in flight at most"


@dataclass(frozen=True)
class Broken(Smoothed):
    """States that overflow."""

    def advance(self, number: int, tile: Box, before: np.ndarray, earlier: Any) -> np.ndarray:
        """Infinite values."""
        return before[:, 1:-1, 1:-1, 1:-1] * np.float32(np.inf)


def test_values_that_are_not_finite_end_the_run(tmp_path: Path) -> None:
    with pytest.raises(ConvergenceError, match=r"pass 1 of 2 .* values that are not finite"):
        made(tmp_path / "a.zarr", Broken(2, 1))


def test_a_cut_far_from_0_is_warned_of_and_recorded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made(tmp_path / "a.zarr", Smoothed(1, 7, 0.3))
    assert "makes interfaces rough" in caplog.text
    record = store.node_attributes(str(tmp_path / "a.zarr"), "phase")
    assert record["shift"] == pytest.approx(-0.2, abs=0.03)
    assert record["cut"] < 0
