"""Counting for a descriptor holds no more than its plan says, by the arrays of Python and NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import tim3d
from tests.integration.test_measure import quiet, volume
from tests.integration.test_regions import MATERIAL, WORDS, ingested
from tests.traced import OBJECTS, traced_peak
from tim3d.descriptors.base import inputs_of, partials_of
from tim3d.descriptors.builtin import select, settled
from tim3d.stages.shared.partials import counting_pass
from tim3d.stages.shared.percolating import through_bits
from tim3d.storage import store

EDGES = (48, 52, 56)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A sample of one block, with the inputs of every descriptor."""
    url = ingested(tmp_path_factory.mktemp("one_block"), volume(EDGES, seed=7), EDGES)
    tim3d.label(url, keep=True, options=quiet())
    tim3d.distance(url, options=quiet())
    tim3d.thickness(url, options=quiet())
    return url


@pytest.mark.parametrize(
    "word", [pytest.param(w, marks=[] if "components" in w else [pytest.mark.long]) for w in WORDS]
)
def test_counting_for_a_descriptor_needs_no_more_than_its_plan(sample: str, word: str) -> None:
    labels = store.read_field(sample, "phase")
    partials = partials_of(settled(select([word]), MATERIAL, labels.shape))
    inputs = {one: store.read_field(sample, one.field_name("phase")) for one in inputs_of(partials)}
    counting = counting_pass(
        sample, labels, inputs, partials, MATERIAL, name="a", fingerprint="a", options=quiet()
    )
    (block,) = counting.grid
    fields = counting.work.read(block)
    counting.work.compute(block, fields)  # compiled
    planned = counting.work.block_bytes(block.core.shape, block.read.shape)
    read = sum(one.nbytes for one in fields)
    need = traced_peak(lambda: counting.work.compute(block, fields), times=3)
    assert need < planned - 2 * read + OBJECTS


def test_bits_of_components_are_looked_up_in_a_byte_a_voxel() -> None:
    numbers = np.random.default_rng(0).integers(0, 500, (60, 61, 62), np.uint32)
    through = ((1, 4, 499), (4, 9, 77), ())
    found = through_bits(numbers, through)
    expected = [np.isin(numbers, ids).astype(np.uint8) << axis for axis, ids in enumerate(through)]
    assert np.array_equal(found, np.bitwise_or.reduce(expected))
    assert traced_peak(lambda: through_bits(numbers, through), times=3) < numbers.size + OBJECTS
    assert not through_bits(numbers, ((), (), ())).any()
