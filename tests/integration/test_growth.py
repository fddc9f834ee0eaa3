"""Generators whose cell is grown as a whole: blocks, kills, memory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import tim3d
from tim3d.errors import MemoryPlanError
from tim3d.generators import Box, Grown, Polycrystal, Spinodal
from tim3d.stages.generation import growth
from tim3d.storage import store

QUIET = tim3d.Options(progress=False)
SHAPE = (20, 40, 50)
MODEL: dict[str, Any] = {
    "fractions": (0.5, 0.5), "wavelength_nm": (11.0,) * 3, "spacing_nm": (1.0,) * 3, "seed": 2,
    "cell": (1, 36, 40), "ripening": 10.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Interrupted(Spinodal):
    """The same generator, in a process that is interrupted."""

    kind: ClassVar[str] = "spinodal"
    stretches: ClassVar[int] = 0

    def grow(self, state: np.ndarray) -> float:
        Interrupted.stretches += 1
        if Interrupted.stretches == 4:
            raise KeyboardInterrupt
        return Spinodal.grow(self, state)


@dataclass(frozen=True, slots=True)
class InterruptedGrains(Polycrystal):
    """Grains, in a process that is interrupted."""

    kind: ClassVar[str] = "polycrystal"
    stretches: ClassVar[int] = 0

    def grow(self, state: np.ndarray) -> float:
        InterruptedGrains.stretches += 1
        if InterruptedGrains.stretches == 4:
            raise KeyboardInterrupt
        return Polycrystal.grow(self, state)


def generated(sample: Path, model: Grown, **other: Any) -> np.ndarray:
    shard = other.pop("shard", (16, 16, 16))
    options = tim3d.Options(progress=False, **other)
    return np.asarray(tim3d.generate(str(sample), model, shape=SHAPE, shard=shard, options=options))


def test_blocks_of_any_size_are_cut_from_one_cell(tmp_path: Path) -> None:
    whole = Spinodal(**MODEL).labels(Box.whole(SHAPE))
    assert np.array_equal(generated(tmp_path / "a.zarr", Spinodal(**MODEL)), whole)
    odd = generated(tmp_path / "b.zarr", Spinodal(**MODEL), shard=(4, 40, 8), block=(4, 40, 24))
    assert np.array_equal(odd, whole)
    assert store.nodes(str(tmp_path / "a.zarr")) == ["phase"]


def test_a_growth_that_is_interrupted_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "EVERY_S", 0.0)
    monkeypatch.setattr(Interrupted, "stretches", 0)
    with pytest.raises(KeyboardInterrupt):
        generated(tmp_path / "a.zarr", Interrupted(**MODEL))
    assert "phase_scratch" in store.nodes(str(tmp_path / "a.zarr"))
    before = Interrupted.stretches
    labels = generated(tmp_path / "a.zarr", Interrupted(**MODEL))
    again = Interrupted.stretches - before
    assert np.array_equal(labels, Spinodal(**MODEL).labels(Box.whole(SHAPE)))
    monkeypatch.setattr(Interrupted, "stretches", 10)
    generated(tmp_path / "b.zarr", Interrupted(**MODEL))
    assert again == Interrupted.stretches - 10 - 3, "stretches that were stored are not repeated"


def test_grains_that_were_stored_grow_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: tuple[Any, ...] = (12.0, (1.0,) * 3, 2, (1, 36, 40), None, 4.0)
    monkeypatch.setattr(growth, "EVERY_S", 0.0)
    monkeypatch.setattr(growth, "CHUNK", 999)  # a state of several chunks
    monkeypatch.setattr(InterruptedGrains, "stretches", 0)
    with pytest.raises(KeyboardInterrupt):
        generated(tmp_path / "a.zarr", InterruptedGrains(*given))
    assert "phase_scratch" in store.nodes(str(tmp_path / "a.zarr"))
    labels = generated(tmp_path / "a.zarr", InterruptedGrains(*given))
    assert np.array_equal(labels, Polycrystal(*given).labels(Box.whole(SHAPE)))


def test_a_cell_that_does_not_fit_is_refused_before_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "available_memory", lambda: 2**26)
    with pytest.raises(MemoryPlanError, match="repeat a smaller cell by --cell-nm"):
        generated(tmp_path / "a.zarr", Spinodal(**MODEL))
    assert not (tmp_path / "a.zarr").exists()
