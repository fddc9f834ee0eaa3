"""Laws of the window lattice: no block shows in the result."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Grid
from tim3d.kernels.windows.lattice import (
    Lattice,
    blend_lattice,
    crop_lattice,
    peak_bytes,
    reflect,
    require_phase,
    slice_lattice,
)
from tim3d.kernels.windows.stitching import (
    EmptyRule,
    batches,
    gather,
    stitch,
    weight_sum,
    window_weight,
)


def toy(array):
    """Two channels: a local one, and one that depends on the statistics of the window, like InstanceNorm."""
    grey = np.ascontiguousarray(array, dtype=np.float32)
    local = grey + np.roll(grey, 1, axis=2)
    local[:, :, 0] = 0  # A zero-padded border, as in a convolution.
    scaled = (grey - grey.mean()) / (grey.std() + 1)
    return np.stack([local, scaled])


def net_for(lattice: Lattice):
    def predict(source):
        for array, group in source:
            out = np.stack([toy(window) for window in array])
            c = lattice.context
            yield out[:, :, c : out.shape[2] - c] if c else out, group

    return predict


def run(lattice, core, volume, batch=2, empty=None):
    box = lattice.read_box(core)
    slab = volume[box.slices]
    return stitch(lattice, core, slab, box, net_for(lattice), channels=2, batch=batch, empty=empty)


def inside(window, stride, length):
    """Windows from the first voxel on, up to the first that reaches the last one."""
    return range(1 + next(k for k in itertools.count() if k * stride + window >= length))


def by_formula(lattice, volume):
    """Every window of the lattice over a mirrored copy of the volume, summed as the formula says."""
    margin = [p + 2 for p in lattice.input_shape]
    wide = np.pad(
        volume, [(m, m) for m in margin], mode="reflect" if min(volume.shape) > 1 else "symmetric"
    )
    total = np.zeros((2, *volume.shape))
    weights = np.zeros(volume.shape)
    weight = np.zeros(lattice.window)
    if lattice.mode == "blend":
        weight = window_weight(lattice.window).astype(float)
    else:
        weight[
            tuple(slice(h, p - h) for h, p in zip(lattice.halo, lattice.window, strict=True))
        ] = 1
    counts = [
        range(-p // s - 1, n // s + 2)
        for p, s, n in zip(lattice.window, lattice.stride, volume.shape, strict=True)
    ]
    if lattice.mode == "blend":
        counts = list(map(inside, lattice.window, lattice.stride, volume.shape))
    for index in itertools.product(*counts):
        start = [k * s - o for k, s, o in zip(index, lattice.stride, lattice.offset, strict=True)]
        if any(
            a <= -p or a >= n for a, p, n in zip(start, lattice.window, volume.shape, strict=True)
        ):
            continue
        low = [a + m for a, m in zip(start, margin, strict=True)]
        low[0] -= lattice.context
        seen = wide[tuple(slice(a, a + p) for a, p in zip(low, lattice.input_shape, strict=True))]
        c = lattice.context
        values = toy(seen)[:, c : c + lattice.window[0]]
        for local in itertools.product(*(range(p) for p in lattice.window)):
            v = tuple(a + i for a, i in zip(start, local, strict=True))
            if all(0 <= i < n for i, n in zip(v, volume.shape, strict=True)):
                total[(slice(None), *v)] += weight[local] * values[(slice(None), *local)]
                weights[v] += weight[local]
    return total / weights


def test_a_blend_weight_is_the_gaussian_of_the_distance_from_the_middle():
    """Written out here, and the same from either end of every axis, also of one with an even edge or of one voxel."""
    window = (5, 8, 1)
    found = window_weight(window)
    for index in np.ndindex(window):
        squares = [((i - (n - 1) / 2) / (n / 8)) ** 2 for i, n in zip(index, window, strict=True)]
        assert found[index] == pytest.approx(math.exp(-sum(squares) / 2), rel=1e-6)
    for axis in range(3):
        assert np.array_equal(found, np.flip(found, axis))
    assert found.max() == found[2, 3, 0] == found[2, 4, 0] < 1


edges = st.integers(1, 13)
shapes = st.tuples(edges, edges, edges)


@st.composite
def lattices(draw):
    shape = draw(shapes)
    context = draw(st.integers(0, 2))
    window = tuple(1 if context and axis == 0 else draw(st.integers(1, 6)) for axis in range(3))
    if draw(st.booleans()):
        halo = tuple(draw(st.integers(0, (p - 1) // 2)) for p in window)
        return crop_lattice(shape, window, halo, context)
    overlap = tuple(draw(st.integers(0, p - 1)) for p in window)
    return blend_lattice(shape, window, overlap, context)


@st.composite
def lattice_and_core(draw):
    lattice = draw(lattices())
    start = tuple(draw(st.integers(0, n - 1)) for n in lattice.shape)
    stop = tuple(draw(st.integers(a + 1, n)) for a, n in zip(start, lattice.shape, strict=True))
    return lattice, Box(start, stop)


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@given(lattice_and_core(), st.integers(1, 4))
def test_any_core_equals_the_same_box_of_the_whole_bit_for_bit(case, batch):
    lattice, core = case
    volume = noise(lattice.shape)
    whole = run(lattice, Box.whole(lattice.shape), volume)
    assert np.array_equal(run(lattice, core, volume, batch), whole[(slice(None), *core.slices)])


@given(lattices(), st.tuples(*[st.integers(1, 7)] * 3))
def test_blocks_of_every_shape_tile_the_same_volume(lattice, block):
    volume = noise(lattice.shape, seed=1)
    whole = run(lattice, Box.whole(lattice.shape), volume)
    tiled = np.full_like(whole, np.nan)
    for one in itertools.islice(Grid(lattice.shape, block), 40):
        tiled[(slice(None), *one.core.slices)] = run(lattice, one.core, volume)
    done = ~np.isnan(tiled)
    assert done.any()
    assert np.array_equal(tiled[done], whole[done])


@given(lattices().filter(lambda lattice: min(lattice.shape) > 1 and np.prod(lattice.shape) < 400))
def test_the_result_is_the_formula(lattice):
    volume = noise(lattice.shape, seed=2)
    ours = run(lattice, Box.whole(lattice.shape), volume)
    np.testing.assert_allclose(ours, by_formula(lattice, volume), rtol=2e-5, atol=2e-4)


@pytest.mark.parametrize("thickness", range(1, 9))
@pytest.mark.parametrize("mode", ["crop", "blend"])
def test_a_thin_last_block_reads_far_enough_back(thickness, mode):
    shape = (1, 5, 24 + thickness)
    lattice = (
        crop_lattice(shape, (1, 4, 16), (0, 1, 4))
        if mode == "crop"
        else blend_lattice(shape, (1, 4, 16), (0, 2, 8))
    )
    volume = noise(shape, seed=3)
    core = Box((0, 0, 24), shape)
    whole = run(lattice, Box.whole(shape), volume)
    assert np.array_equal(run(lattice, core, volume), whole[(slice(None), *core.slices)])


@given(lattice_and_core())
def test_windows_are_those_that_touch_the_core_in_order(case):
    lattice, core = case
    counts = [range(-p - 1, n + 2) for p, n in zip(lattice.window, lattice.shape, strict=True)]
    if lattice.mode == "blend":
        counts = list(map(inside, lattice.window, lattice.stride, lattice.shape))
    expected = [
        index for index in itertools.product(*counts) if lattice.support(index).clip(core).size
    ]
    assert lattice.windows(core) == expected


@given(lattice_and_core())
def test_the_read_box_is_needed_to_its_last_voxel(case):
    lattice, core = case
    box = lattice.read_box(core)
    whole = Box.whole(lattice.shape)
    assert box.clip(whole) == box
    slab = np.zeros(box.shape, np.uint8)
    for index in lattice.windows(core):
        assert gather(lattice, index, slab, box).shape == lattice.input_shape
    for axis in range(3):
        if box.shape[axis] == 1:
            continue
        cut = Box(tuple(a + (i == axis) for i, a in enumerate(box.start)), box.stop)
        with pytest.raises(ArgumentError, match="read the box"):
            [
                gather(lattice, index, np.zeros(cut.shape, np.uint8), cut)
                for index in lattice.windows(core)
            ]


@given(lattices(), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_the_memory_formula_is_never_below_what_is_read(lattice, z, y, x):
    core = tuple(min(c, n) for c, n in zip((z, y, x), lattice.shape, strict=True))
    for start in itertools.product(
        *({0, n - c, (n - c) // 2} for n, c in zip(lattice.shape, core, strict=True))
    ):
        box = Box(start, tuple(a + c for a, c in zip(start, core, strict=True)))
        stitched = lattice.read_box(box).size + box.size
        fixed = peak_bytes(lattice, core, itemsize=0, channels=2, out_bytes=0)
        assert peak_bytes(lattice, core, itemsize=1, channels=2) - fixed >= stitched


def test_the_memory_formula_counts_threads_batch_and_accumulator():
    crop = crop_lattice((64, 64, 64), (16, 16, 16), (4, 4, 4))
    blend = blend_lattice((64, 64, 64), (16, 16, 16), (8, 8, 8))
    small = {"itemsize": 2, "channels": 3}
    one = peak_bytes(crop, (8, 8, 8), **small)
    assert one == 2 * 24**3 + 8**3 + 4 * 4 * 16**3
    assert peak_bytes(crop, (8, 8, 8), **small, batch=2) - one == 4 * 4 * 16**3
    assert (
        peak_bytes(crop, (8, 8, 8), **small, threads=2) == 2 * (one - 4 * 4 * 16**3) + 4 * 4 * 16**3
    )
    assert peak_bytes(blend, (8, 8, 8), **small) > 4 * 4 * 8**3


@given(lattice_and_core().filter(lambda case: case[0].mode == "blend"))
def test_the_weight_sum_is_the_direct_sum(case):
    lattice, core = case
    weight = window_weight(lattice.window).astype(float)
    direct = np.zeros(core.shape)
    for index in lattice.windows(core):
        shared = lattice.support(index).clip(core)
        direct[shared.within(core).slices] += weight[shared.within(lattice.box(index)).slices]
    np.testing.assert_allclose(weight_sum(lattice, core), direct, rtol=1e-5)


@given(st.integers(1, 9), st.integers(0, 30))
def test_mirrored_indices_are_those_of_numpy(length, margin):
    axis = np.arange(length)
    expected = np.pad(axis, margin, mode="reflect") if length > 1 else np.zeros(1 + 2 * margin, int)
    assert np.array_equal(reflect(np.arange(-margin, length + margin), length), expected)


@pytest.mark.parametrize("mode", ["crop", "blend"])
def test_empty_windows_are_judged_one_by_one(mode):
    shape = (3, 23, 19)
    volume = noise(shape, seed=4)
    volume[:, 3:17, 2:] = 7
    make = crop_lattice if mode == "crop" else blend_lattice
    lattice = make(shape, (1, 6, 6), (0, 2, 2))
    rule = EmptyRule(7, (0.25, 0.75))
    whole = run(lattice, Box.whole(shape), volume, empty=rule)
    assert (np.abs(whole[0] - 0.25) < 1e-6).sum() > 50
    for block in Grid(shape, (2, 5, 7)):
        part = run(lattice, block.core, volume, empty=rule)
        assert np.array_equal(part, whole[(slice(None), *block.core.slices)])


def test_batches_have_one_shape_and_end_in_copies():
    lattice = crop_lattice((5, 8, 8), (1, 8, 8), (0, 0, 0))
    volume = noise((5, 8, 8)).astype(">u2")
    made = list(
        batches(
            lattice, lattice.windows(Box.whole(volume.shape)), volume, Box.whole(volume.shape), 3
        )
    )
    assert [array.shape for array, _ in made] == [(3, 1, 8, 8)] * 2
    assert [len(group) for _, group in made] == [3, 2]
    assert made[0][0].dtype == np.dtype("=u2")
    assert np.array_equal(made[1][0][2], made[1][0][0])


def test_context_reads_mirrored_neighbours_as_channels():
    volume = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    lattice = slice_lattice((4, 2, 2), 2, context=2)
    whole = Box.whole(volume.shape)
    assert gather(lattice, (0, 0, 0), volume, whole)[:, 0, 0].tolist() == [2, 1, 0, 1, 2]
    assert gather(lattice, (3, 0, 0), volume, whole)[:, 0, 0].tolist() == [1, 2, 3, 2, 1]


def test_what_cannot_be_a_lattice_is_refused():
    with pytest.raises(ArgumentError, match="leaves nothing"):
        crop_lattice((9, 9, 9), (4, 4, 4), (2, 2, 2))
    with pytest.raises(ArgumentError, match="no negative"):
        blend_lattice((9, 9, 9), (4, 4, 4), (4, 4, 4))
    with pytest.raises(ArgumentError, match="gaps"):
        Lattice((9, 9, 9), (4, 4, 4), (5, 4, 4))
    with pytest.raises(ArgumentError, match="no overlap"):
        Lattice((9, 9, 9), (4, 4, 4), (3, 4, 4))
    with pytest.raises(ArgumentError, match="slice thick"):
        crop_lattice((9, 9, 9), (4, 4, 4), (0, 0, 0), context=1)


def test_the_pooling_phase_is_checked():
    require_phase(crop_lattice((9, 9, 9), (1, 64, 64), (0, 16, 16)), (1, 16, 16))
    with pytest.raises(ArgumentError, match="window 60 along y"):
        require_phase(crop_lattice((9, 9, 9), (1, 60, 64), (0, 16, 16)), (1, 16, 16))
    with pytest.raises(ArgumentError, match="stride 40 along x"):
        require_phase(blend_lattice((9, 9, 9), (1, 64, 64), (0, 16, 24)), (1, 16, 16))


@pytest.mark.parametrize(
    ("edge", "many"), [(256, 1), (257, 2), (448, 2), (512, 3), (768, 4), (1024, 5)]
)
def test_no_window_is_blended_that_begins_outside(edge, many):
    """As many windows as one needs to cover a slice, and every voxel of them has a value from a window."""
    lattice = blend_lattice((2, edge, edge), (1, 256, 256), (0, 64, 64))
    whole = Box.whole(lattice.shape)
    indices = lattice.windows(whole)
    assert len(indices) == 2 * many**2
    assert min(min(index) for index in indices) == 0
    assert lattice.read_box(whole) == whole
    assert weight_sum(lattice, whole).min() > 0


def test_the_same_windows_with_other_ends_are_another_making():
    crop = crop_lattice((9, 9, 9), (4, 4, 4), (1, 1, 1)).description()
    blend = blend_lattice((9, 9, 9), (4, 4, 4), (2, 2, 2)).description()
    assert "ends" not in crop
    assert "shape" not in {**crop, **blend}
    assert blend["ends"] == "inside"
    assert (blend["mode"], blend["window"], blend["stride"]) == ("blend", (4, 4, 4), (2, 2, 2))
