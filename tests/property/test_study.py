"""Laws of the windows of a study: where they lie, and that they add up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tim3d.descriptors.base import Material
from tim3d.descriptors.builtin import BUILTIN
from tim3d.descriptors.in_memory import describe_array
from tim3d.errors import ArgumentError
from tim3d.grid import Box, triple
from tim3d.phases import Phases
from tim3d.stages.representative.quantities import choose
from tim3d.stages.representative.windows import Windows, lattices
from tim3d.storage.schema import Field

PHASES = Phases(pore=0, solid=1)
shapes = st.tuples(*[st.integers(4, 30)] * 3)


def field(
    shape: tuple[int, int, int], spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> Field:
    return Field("phase", shape, "uint8", spacing, (4, 4, 4), (4, 4, 4), labels=True, phases=PHASES)


@given(shapes, st.tuples(*[st.integers(2, 12)] * 3))
def test_windows_lie_apart_in_the_middle_of_the_volume(
    shape: tuple[int, int, int], window: tuple[int, int, int]
) -> None:
    one = Windows(1.0, triple(min(w, n) for w, n in zip(window, shape, strict=True)), shape)
    times = np.zeros(shape, int)
    for block in one.grid:
        assert block.core.shape == one.shape
        times[block.core.shift(one.offset).slices] += 1
    assert times.max() == 1
    assert 1 - times.mean() == pytest.approx(one.rest)
    for axis in range(3):
        filled = np.flatnonzero(times.any(axis=tuple(a for a in range(3) if a != axis)))
        before, after = filled[0], shape[axis] - 1 - filled[-1]
        assert 0 <= after - before <= 1
        assert before + after < one.shape[axis]


@given(shapes, st.tuples(*[st.sampled_from([4.0, 5.0, 10.0, 20.0])] * 3), st.integers(2, 30))
def test_edges_in_voxels_are_those_in_nm(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], edge: int
) -> None:
    volume = field(shape, spacing)
    try:
        (one,) = lattices(volume, [edge], None)
    except ArgumentError:
        return
    assert (one,) == lattices(volume, None, [edge * min(spacing)])
    for n, step in zip(one.shape, spacing, strict=True):
        assert abs(n * step - one.edge_nm) <= step / 2 + 1e-9


@given(
    st.integers(0, 100), st.sampled_from(["phase_fraction", "specific_surface", "euler_density"])
)
def test_windows_of_a_density_add_up_to_the_value_of_the_region(seed: int, name: str) -> None:
    labels = (np.random.default_rng(seed).random((12, 12, 18)) < 0.4).astype(np.uint8)
    volume = field(triple(labels.shape), (2.0, 1.0, 1.0))
    quantity = choose(name, volume, phase="solid")
    one = Windows(6.0, (3, 6, 6), volume.shape)
    values = []
    for block in one.grid:
        box = block.core.grow(quantity.halo).clip(Box.whole(volume.shape))
        value, percolates = quantity.of(labels[box.slices], block.core.within(box))
        assert percolates is None
        values.append(value)
    (descriptor,) = (d for d in BUILTIN.values() if name in {v.name for v in d.variables})
    whole = describe_array(labels, [descriptor], Material(PHASES, volume.spacing_nm))[name].sel(
        phase="solid"
    )
    assert np.mean(values) == pytest.approx(float(whole), rel=1e-12)
