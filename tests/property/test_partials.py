"""Partials of any fields: any blocks of odd shapes give the same integers; floats within the error that is stated."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tim3d.descriptors.base import Material, Partial, add_blocks, evaluate, inputs_of, largest_halo
from tim3d.descriptors.inputs import LABELS, Input
from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Box, Grid, Triple
from tim3d.kernels.statistics.exact_sums import FixedPoint, add_exactly, exact_sum
from tim3d.phases import Phases

GREY, DISTANCE = Input("grey", "raw"), Input("values", "{field}_distance")
POINT = FixedPoint(12)
edges = st.tuples(*[st.integers(1, 9)] * 3)
spacings = st.tuples(*[st.sampled_from([0.5, 1.0, 3.0, 20.0])] * 3)


def slopes(grey: np.ndarray, distance: np.ndarray, core: Box, material: Material) -> dict[str, Any]:
    """Slope of the distance along x, which needs a neighbour; the grey values beside it, plane by plane."""
    padded = np.pad(distance, ((0, 0), (0, 0), (1, 1)), mode="edge").astype(np.float64)
    slope = (padded[:, :, 2:] - padded[:, :, :-2])[core.slices] / (2 * material.spacing[2])
    return {
        "slope": POINT.total(slope),
        "planes": grey[core.slices].sum(axis=(1, 2), dtype=np.uint32),
    }


def by_phase(labels: np.ndarray, distance: np.ndarray, core: Box, material: Material) -> list[int]:
    inside, values = labels[core.slices], distance[core.slices]
    return [POINT.total(values, inside == code) for code in material.phases.codes]


TOGETHER = {"compute": slopes, "reads": (GREY, DISTANCE)}
PARTIALS = (
    Partial("slope", (0, 0, 1), (), (), part="slope", **TOGETHER),
    Partial("planes", (0, 0, 0), ("z",), (), plane="z", part="planes", **TOGETHER),
    Partial("by_phase", (0, 0, 0), ("phase",), (2,), by_phase, reads=(LABELS, DISTANCE)),
)


def fields(shape: Triple, seed: int) -> dict[Input, np.ndarray]:
    random = np.random.default_rng(seed)
    labels, grey = (
        random.integers(0, 2, shape, np.uint8),
        random.integers(0, 65536, shape, np.uint16),
    )
    return {
        LABELS: labels,
        GREY: grey,
        DISTANCE: (random.standard_normal(shape) * 100).astype(np.float32),
    }


@given(shape=edges, block=edges, extra=st.integers(0, 2), spacing=spacings, seed=st.integers(0, 99))
def test_blocks_of_several_fields_add_up_to_the_whole(
    shape: Triple, block: Triple, extra: int, spacing: tuple[float, float, float], seed: int
) -> None:
    material, voxels = Material(Phases(pore=0, solid=1), spacing), fields(shape, seed)
    whole = evaluate(PARTIALS, voxels, Box.whole(shape), material)
    z, y, x = largest_halo(PARTIALS)
    grid = Grid(shape, block, (z + extra, y + extra, x + extra))
    pieces = (
        (
            b,
            evaluate(
                PARTIALS,
                {i: v[b.read.slices] for i, v in voxels.items()},
                b.core.within(b.read),
                material,
            ),
        )
        for b in grid
    )
    totals = add_blocks(PARTIALS, shape, pieces, material)
    for name, total in totals.items():
        assert total.dtype == np.int64
        assert np.array_equal(total, whole[name]), name


@given(
    values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=50),
    bits=st.integers(-4, 20),
)
def test_a_sum_in_fixed_point_is_off_by_half_a_quantum_a_value_at_most(
    values: list[float], bits: int
) -> None:
    point, array = FixedPoint(bits), np.array(values, np.float32)
    total = point.total(array)
    assert (
        total
        == point.total(array[::-1])
        == sum(point.total(array[i : i + 3]) for i in range(0, len(array), 3))
    )
    error = abs(
        total * Fraction(point.quantum) - sum(map(Fraction, values))
    )  # without any rounding
    assert error <= len(values) * Fraction(point.quantum) / 2


def test_a_list_of_values_is_summed_as_one_plane(monkeypatch: pytest.MonkeyPatch) -> None:
    summed: list[int] = []
    original = FixedPoint.integers

    def counted(self: FixedPoint, values: Any) -> Any:
        summed.append(np.size(values))
        return original(self, values)

    monkeypatch.setattr(FixedPoint, "integers", counted)
    values, kept = np.arange(1000) / 4, np.arange(1000) % 2 == 0
    assert FixedPoint(2).total(values) == 999 * 500
    assert FixedPoint(2).total(values, kept) == 499 * 500
    assert FixedPoint(2).total(values.reshape(4, 250)) == 999 * 500
    assert summed == [1000, 500, *4 * [250]]


def test_a_shared_computation_runs_once() -> None:
    calls = []

    def both(labels: np.ndarray, core: Box, material: Material) -> dict[str, int]:
        calls.append(core)
        return {"a": 1, "b": 2}

    pair = [Partial(name, (0, 0, 0), (), (), both, part=name) for name in ("a", "b")]
    found = evaluate(
        pair,
        {LABELS: np.zeros((1, 1, 1), np.uint8)},
        Box.whole((1, 1, 1)),
        Material(Phases(pore=0)),
    )
    assert [found["a"].item(), found["b"].item(), len(calls)] == [1, 2, 1]
    assert inputs_of(PARTIALS) == (GREY, DISTANCE, LABELS)


@pytest.mark.parametrize(
    ("gives", "says"),
    [
        (0.5, r"partial 'own' gave float64; partials are whole numbers.*FixedPoint"),
        (np.ones(2, int), r"gave the shape \(2,\), and declares \(\)"),
        (np.uint64(2**63), "leaves 64 bits"),
    ],
)
def test_what_does_not_add_up_is_refused(gives: Any, says: str) -> None:
    own = Partial("own", (0, 0, 0), (), (), lambda labels, core, material: gives)
    with pytest.raises(ArgumentError, match=says):
        evaluate(
            [own],
            {LABELS: np.zeros((1, 1, 1), np.uint8)},
            Box.whole((1, 1, 1)),
            Material(Phases(pore=0)),
        )


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 2.0**41])
def test_a_value_without_a_number_of_quanta_is_refused(wrong: float) -> None:
    with pytest.raises(InputError, match=r"cannot be counted in quanta of 0\.000244141"):
        POINT.total(np.array([[1.0, wrong]]))


def test_sums_that_would_leave_64_bits_are_refused() -> None:
    large = np.array([2**62, 2**62, -5])
    with pytest.raises(ArgumentError, match="leaves 64 bits: count in larger quanta"):
        add_exactly(large.copy(), large)
    with pytest.raises(ArgumentError, match="leaves 64 bits"):
        exact_sum(large)
    with pytest.raises(ArgumentError, match="leaves 64 bits"):
        FixedPoint(0).total(np.full((1024, 1), 2.0**52))
    kept = np.array([-(2**63), 2**62])
    add_exactly(kept, np.array([0, 2**62 - 1]))
    assert kept.tolist() == [-(2**63), 2**63 - 1]
