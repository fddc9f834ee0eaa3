"""What a generator is described by, and what is refused of one before a voxel is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tim3d.errors import ArgumentError
from tim3d.generators import (
    Box,
    GaussianField,
    Generator,
    Grains,
    LevelCuts,
    Overlapping,
    Packed,
    SpectralField,
)

UNIT = (1.0, 1.0, 1.0)
TWO = tim3d.Phases(pore=0, solid=1)
GRAINS = Grains((10.0,), (1.0,))
GENERATORS: list[Generator] = [
    LevelCuts(GaussianField((8.0,) * 3, UNIT, 1), (0.3, 0.7)),
    LevelCuts(SpectralField((0.0, 4.0, 8.0), (1.0, 0.4, 0.0), UNIT, 1), (0.3, 0.7)),
    Overlapping(GRAINS, 0.3, UNIT, 1),
    Packed(GRAINS, 0.4, UNIT, 1, (40.0, 40.0, 40.0)),
]


@dataclass(frozen=True)
class Flat(Generator):
    """Labels of one number, with which everything can be wrong."""

    kind = "flat"
    value: int = 0
    dtype: str = "uint8"
    phases: tim3d.Phases | None = TWO
    spacing_nm: tuple[float, float, float] = UNIT
    more: Any = None

    def labels(self, box: Box) -> np.ndarray:
        return np.full(box.shape, self.value, self.dtype)

    def block_bytes(self, core: tuple[int, int, int]) -> int:
        return 8 * int(np.prod(core))


def test_descriptions_differ_where_the_labels_do_and_hold_no_name_of_a_class() -> None:
    described = [str(one.description()) for one in GENERATORS]
    assert len(set(described)) == len(described)
    names = ("GaussianField", "SpectralField", "LevelCuts", "Overlapping", "Packed", "Grains")
    assert not [name for text in described for name in names if name in text]
    assert all({"kind", "version", "seed"} <= one.description().keys() for one in GENERATORS)


def test_a_class_may_be_renamed_and_a_version_may_not() -> None:
    renamed = type("Even", (Flat,), {})
    newer = type("Flat", (Flat,), {"version": 2})
    assert renamed().description() == Flat().description()
    assert newer().description() != Flat().description()


@pytest.mark.parametrize(
    ("generator", "says"),
    [
        ("packed", "takes a generator, and 'packed' is a str"),
        (Flat(more=np.zeros(2)), "described by numbers and texts, and has a ndarray"),
        (type("Nameless", (Flat,), {"kind": ""})(), "Nameless has no description"),
    ],
)
def test_what_cannot_be_described_is_refused(tmp_path: Path, generator: Any, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        tim3d.generate(str(tmp_path / "a.zarr"), generator, shape=(4, 4, 4))
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.parametrize(
    ("generator", "says"),
    [
        (Flat(value=2), "made the label 2, and it has 2 phases"),
        (Flat(dtype="int64"), "made int64 of shape"),
    ],
)
def test_labels_that_are_none_stop_the_run(tmp_path: Path, generator: Any, says: str) -> None:
    options = tim3d.Options(progress=False)
    with pytest.raises(ArgumentError, match=says):
        tim3d.generate(str(tmp_path / "a.zarr"), generator, shape=(4, 4, 4), options=options)


def test_names_and_codes_are_those_of_the_generator(tmp_path: Path) -> None:
    options = tim3d.Options(progress=False)
    generator = Flat(value=1, phases=tim3d.Phases(pore=3, solid=9))
    made = tim3d.generate(str(tmp_path / "a.zarr"), generator, shape=(4, 4, 4), options=options)
    grey = tim3d.generate(
        str(tmp_path / "b.zarr"), Flat(value=77, phases=None), shape=(4, 4, 4), options=options
    )
    assert (made.name, int(made.max()), grey.name, int(grey.max())) == ("phase", 9, "raw", 77)


def test_many_phases_are_numbered_unless_they_are_named() -> None:
    field = GaussianField((8.0,) * 3, UNIT, 1)
    assert LevelCuts(field, (0.2, 0.3, 0.5)).phases == tim3d.Phases(phase_0=0, phase_1=1, phase_2=2)
    with pytest.raises(ArgumentError, match="2 fractions need as many phases"):
        LevelCuts(field, (0.4, 0.6), tim3d.Phases(a=0, b=1, c=2))
