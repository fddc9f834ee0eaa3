"""Cleaned labels are those of scipy on the whole array, for any blocks and voxels of any shape."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tim3d
from tests.cleaned import BY_HAND, ball, cleaned, majority, opened, volume
from tests.examples import costly
from tim3d import cleaning
from tim3d.cleaning import STEPS as KINDS
from tim3d.cli.readers import reader
from tim3d.grid import Grid, Triple
from tim3d.kernels.morphology import ball as kernel
from tim3d.stages.cleaning.stage import LocalWork, halo_of
from tim3d.storage import store

PHASES = tim3d.Phases(pore=0, solid=3, dirt=9)
SPACINGS = st.sampled_from([(1.0, 1.0, 1.0), (20.0, 10.0, 5.0), (3.0, 7.0, 7.0), (0.1, 0.1, 0.3)])
SHAPES = st.tuples(*[st.integers(1, 9)] * 3)


@given(SHAPES, SPACINGS, st.floats(1.0, 3.2), st.integers(0, 99))
def test_opening_is_that_of_a_footprint(
    shape: Triple, spacing: tuple[float, float, float], factor: float, seed: int
) -> None:
    mask, radius = volume(shape, seed) == 3, factor * min(spacing)
    assert np.array_equal(kernel.opened(mask, radius, spacing), opened(mask, radius, spacing))
    assert np.array_equal(kernel.closed(~mask, radius, spacing), ~opened(mask, radius, spacing))


@given(SPACINGS, st.integers(1, 12))
def test_a_radius_of_whole_voxels_reaches_them(
    spacing: tuple[float, float, float], steps: int
) -> None:
    for axis, step in enumerate(spacing):
        assert kernel.ball_reach(steps * step, spacing)[axis] == steps
    foot = ball(steps * spacing[2], spacing)
    rows = kernel.ball_rows(steps * spacing[2], spacing)
    assert foot.sum() == (2 * rows[:, 2] + 1).sum()


@given(SHAPES, SPACINGS, st.floats(1.0, 2.5), st.integers(0, 99))
def test_majority_is_a_count_of_votes(
    shape: Triple, spacing: tuple[float, float, float], factor: float, seed: int
) -> None:
    labels, step = volume(shape, seed), cleaning.Majority(factor * min(spacing))
    found = kernel.majority(labels, PHASES.codes, step.radius_nm, spacing)
    assert np.array_equal(found, majority(step, labels, PHASES, spacing))


def test_opening_twice_is_opening_once_and_never_adds() -> None:
    mask = volume((9, 12, 13), 5) == 3
    once = kernel.opened(mask, 15.0, (20.0, 10.0, 5.0))
    assert not (once & ~mask).any()
    assert np.array_equal(kernel.opened(once, 15.0, (20.0, 10.0, 5.0)), once)


LOCAL = st.lists(
    st.sampled_from(
        [
            cleaning.Opening("solid", 12.0),
            cleaning.Opening("dirt", 5.0),
            cleaning.Closing("pore", 10.0),
            cleaning.Majority(10.0),
        ]
    ),
    min_size=1,
    max_size=3,
)


@given(SHAPES, st.tuples(*[st.integers(1, 6)] * 3), LOCAL, st.integers(0, 99))
def test_local_steps_in_a_row_do_not_depend_on_the_blocks(
    shape: Triple, block: Triple, steps: list[cleaning.LocalStep], seed: int
) -> None:
    spacing, labels, found = (20.0, 10.0, 5.0), volume(shape, seed), np.zeros(shape, np.uint8)
    work = LocalWork(
        "", "", "", tuple(steps), (PHASES,) * len(steps), PHASES.codes, spacing, shape, False
    )
    for one in Grid(shape, block, halo_of(steps, spacing)):
        found[one.core.slices], _ = work.compute(one, labels[one.read.slices])
    assert np.array_equal(found, cleaned(labels, tuple(steps), PHASES, spacing))


STEPS = st.lists(
    st.sampled_from(
        [
            cleaning.Islands("dirt", below_voxels=3),
            cleaning.Islands("solid", below_nm3=7000.0, connectivity=26),
            cleaning.Islands("pore", below_voxels=9, border="keep", connectivity=18),
            cleaning.Floating("solid"),
            cleaning.Floating("pore", faces="-z:+x"),
            cleaning.Holes("solid"),
            cleaning.Holes("pore", below_voxels=4, connectivity=26),
            cleaning.Opening("solid", 11.0),
            cleaning.Majority(6.0),
        ]
    ),
    min_size=1,
    max_size=3,
)


@pytest.mark.long
@given(
    shape=st.tuples(*[st.integers(2, 9)] * 3),
    shard=st.tuples(*[st.integers(2, 5)] * 3),
    many=st.tuples(*[st.integers(1, 2)] * 3),
    steps=STEPS,
    merged=st.booleans(),
    seed=st.integers(0, 99),
)
@costly
def test_any_steps_in_any_blocks_are_those_of_the_whole_array(
    shape: Triple,
    shard: Triple,
    many: Triple,
    steps: list[cleaning.Step],
    merged: bool,
    seed: int,
) -> None:
    labels, spacing = volume(shape, seed), (20.0, 10.0, 5.0)
    chosen = [*steps, *([cleaning.Merge("dirt", "pore")] if merged else [])]
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "phase.npy", labels)
        sample = f"{folder}/a.zarr"
        tim3d.ingest(
            f"{folder}/phase.npy",
            sample,
            voxel_size=dict(zip("zyx", spacing, strict=True)),
            field="phase",
            phases=PHASES,
            shard=shard,
            options=tim3d.Options(progress=False),
        )
        stored = store.read_field(sample, "phase").shard
        block = (stored[0] * many[0], stored[1] * many[1], stored[2] * many[2])
        found = tim3d.clean(sample, chosen, options=tim3d.Options(progress=False, block=block))
        kept = tim3d.open_field(sample, "cleaned").values
        assert store.nodes(sample) == ["cleaned", "cleaned_changes", "phase"]
    before = labels
    for number, step in enumerate(chosen):
        after = cleaned(before, (step,), PHASES, spacing)
        counts = [[np.sum((before == a) & (after == b)) for b in (0, 3, 9)] for a in (0, 3, 9)]
        assert found.moved.values[number].tolist() == counts
        before = after
    assert np.array_equal(kept, before)


FORMS = (
    "islands:solid,below_nm3=1e6", "floating:solid,faces=-z:+z", "holes:solid", "open:solid,radius_nm=20",
    "close:solid,radius_nm=20", "majority:radius_nm=20", "merge:binder,into=pore", "rename:pore,to=void",
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_step_has_a_form_to_type_and_a_rule_on_whole_arrays(form: str) -> None:
    by = reader("CleaningSteps")
    assert by
    (step,) = by.read([form])
    assert step.kind == form.partition(":")[0] in BY_HAND
    assert by.read([str(step)]) == (step,)


def test_no_step_is_without_a_form() -> None:
    assert {form.partition(":")[0] for form in FORMS} == set(KINDS) == set(BY_HAND)
