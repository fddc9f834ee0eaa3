"""A slab sees what lies around it: the repeated border of the volume, or the far side along periodic axes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tim3d.errors import InputError
from tim3d.kernels.conduction.surroundings import (
    MARGIN,
    MOST_PARTICLES,
    PARTICLES,
    Read,
    surroundings,
)

SHAPE = (7, 5, 6)
LABELS = np.random.default_rng(0).integers(0, 4, SHAPE).astype(np.uint8)
NUMBERS = np.random.default_rng(1).integers(0, 30, SHAPE).astype(np.uint32)
TOUCHING = frozenset({1, 3})


def reading(array: np.ndarray) -> Read:
    def read(start: int, stop: int, out: np.ndarray[Any, Any]) -> None:
        out[...] = array[start:stop]

    return read


def padded(array: np.ndarray, wrap: tuple[bool, ...]) -> np.ndarray:
    """The whole with its margin, axis by axis."""
    for axis, periodic in enumerate(wrap):
        width = [(MARGIN * (a == axis),) * 2 for a in range(3)]
        array = np.pad(array, width, mode="wrap" if periodic else "edge")
    return array


@pytest.mark.parametrize("owned", [range(7), range(3), range(2, 5), range(5, 7)])
@pytest.mark.parametrize("wrap", list(itertools.product((False, True), repeat=3)))
def test_a_slab_is_cut_from_the_volume_with_its_surroundings(
    wrap: tuple[bool, bool, bool], owned: range
) -> None:
    cut = slice(owned.start, owned.stop + 2 * MARGIN)
    labels, numbers = (padded(array, wrap)[cut] for array in (LABELS, NUMBERS))
    found = surroundings(reading(LABELS), reading(NUMBERS), owned, SHAPE, wrap, TOUCHING)
    assert np.array_equal(found.labels, labels)
    apart = np.isin(labels, list(TOUCHING)) & (numbers > 0)
    assert np.array_equal(found.parts, np.where(apart, numbers + PARTICLES, labels))
    assert np.array_equal(found.inner, LABELS[owned.start : owned.stop])
    assert found.shape == (len(owned), *SHAPE[1:])
    assert (found.wrap, found.last) == (wrap, owned.stop == SHAPE[0])
    plain = surroundings(reading(LABELS), None, owned, SHAPE, wrap, frozenset())
    assert np.array_equal(plain.parts, labels)


def test_a_number_that_cannot_be_one_of_a_particle_is_refused() -> None:
    for number, fits in ((MOST_PARTICLES, True), (MOST_PARTICLES + 1, False)):
        numbers = NUMBERS.copy()
        numbers[6, 4, 5] = number
        given = (reading(LABELS), reading(numbers), range(7), SHAPE, (False,) * 3, TOUCHING)
        if fits:
            surroundings(*given)  # type: ignore[arg-type]
            continue
        with pytest.raises(InputError, match="has a number that is not from 1 to"):
            surroundings(*given)  # type: ignore[arg-type]
