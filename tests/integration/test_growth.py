"""Generators whose cell is grown as a whole: blocks, kills, memory."""

from pathlib import Path
from typing import Any

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


def counted(monkeypatch: pytest.MonkeyPatch, model: type[Grown]) -> list[int]:
    """A list that grows with each stretch of a generator; the fourth is interrupted."""
    stretches, grow = [], model.grow

    def grown(self: Any, state: np.ndarray) -> float:
        stretches.append(len(stretches))
        if len(stretches) == 4:
            raise KeyboardInterrupt
        return grow(self, state)

    monkeypatch.setattr(model, "grow", grown)
    return stretches


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
    stretches = counted(monkeypatch, Spinodal)
    with pytest.raises(KeyboardInterrupt):
        generated(tmp_path / "a.zarr", Spinodal(**MODEL))
    assert "phase_scratch" in store.nodes(str(tmp_path / "a.zarr"))
    labels = generated(tmp_path / "a.zarr", Spinodal(**MODEL))
    again = len(stretches) - 4
    whole = generated(tmp_path / "b.zarr", Spinodal(**MODEL))
    assert np.array_equal(labels, whole)
    assert again == len(stretches) - 4 - again - 3, "stretches that were stored are not repeated"


def test_grains_that_were_stored_grow_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: tuple[Any, ...] = (12.0, (1.0,) * 3, 2, (1, 36, 40), None, 4.0)
    monkeypatch.setattr(growth, "EVERY_S", 0.0)
    monkeypatch.setattr(growth, "CHUNK", 999)  # a state of several chunks
    counted(monkeypatch, Polycrystal)
    with pytest.raises(KeyboardInterrupt):
        generated(tmp_path / "a.zarr", Polycrystal(*given))
    assert "phase_scratch" in store.nodes(str(tmp_path / "a.zarr"))
    labels = generated(tmp_path / "a.zarr", Polycrystal(*given))
    assert np.array_equal(labels, Polycrystal(*given).labels(Box.whole(SHAPE)))


def test_a_cell_that_does_not_fit_is_refused_before_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "available_memory", lambda: 2**26)
    with pytest.raises(MemoryPlanError, match="repeat a smaller cell by --cell-nm"):
        generated(tmp_path / "a.zarr", Spinodal(**MODEL))
    assert not (tmp_path / "a.zarr").exists()
