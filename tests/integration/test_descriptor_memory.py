"""Counting for a descriptor holds no more than its plan says, by the arrays of Python and NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tests.integration.test_measure import quiet, volume
from tests.integration.test_regions import LABELLED, MATERIAL, WORDS, ingested
from tests.traced import OBJECTS, traced_peak
from tim3d.descriptors.base import inputs_of, partials_of
from tim3d.descriptors.builtin import select, settled
from tim3d.grid import Block
from tim3d.stages.components.blocks import PairsWork
from tim3d.stages.shared.partials import counting_pass
from tim3d.stages.shared.percolating import through_bits
from tim3d.storage import store

EDGES = (80, 84, 88)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A sample of one block, with the numbers of its components."""
    url = ingested(tmp_path_factory.mktemp("one_block"), volume(EDGES, seed=7), EDGES)
    tim3d.label(url, keep=True, options=quiet())
    return url


@pytest.fixture(scope="module")
def sample(labelled: str) -> str:
    """The same with the inputs of every descriptor."""
    tim3d.distance(labelled, options=quiet())
    tim3d.thickness(labelled, options=quiet())
    return labelled


@pytest.mark.long
@pytest.mark.parametrize("word", [word for word in WORDS if word != LABELLED])
def test_counting_for_a_descriptor_needs_no_more_than_its_plan(sample: str, word: str) -> None:
    assert_within_plan(sample, word)


def test_counting_active_triple_lines_needs_no_more_than_its_plan(labelled: str) -> None:
    assert_within_plan(labelled, LABELLED)


def assert_within_plan(sample: str, word: str) -> None:
    """Hold the traced peak of counting in a block against the plan of the pass."""
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
    numbers = np.random.default_rng(0).integers(0, 500, (80, 84, 88), np.uint32)
    through = ((1, 4, 499), (4, 9, 77), ())
    found = through_bits(numbers, through)
    expected = [np.isin(numbers, ids).astype(np.uint8) << axis for axis, ids in enumerate(through)]
    assert np.array_equal(found, np.bitwise_or.reduce(expected))
    assert traced_peak(lambda: through_bits(numbers, through), times=3) < numbers.size + OBJECTS
    assert not through_bits(numbers, ((), (), ())).any()


def test_pairing_borders_of_blocks_needs_no_more_than_its_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block in the middle reads its own borders and those of 13 neighbours, each voxel with its number."""
    labels = (np.random.default_rng(0).random((96, 96, 96)) < 0.4).astype(np.uint8)
    np.save(tmp_path / "v.npy", labels)
    sample = str(tmp_path / "s.zarr")
    size = dict.fromkeys("zyx", 5.0)
    tim3d.ingest(
        tmp_path / "v.npy", sample, voxel_size=size, field="phase", shard=(32, 32, 32),
        phases=tim3d.Phases(pore=0, solid=1), options=quiet(),
    )  # fmt: skip
    needs: list[tuple[int, int]] = []
    read, compute = PairsWork.read, PairsWork.compute

    def traced(self: PairsWork, block: Block, inputs: Any) -> Any:
        peak = traced_peak(lambda: compute(self, block, read(self, block)))
        needs.append((peak, self.block_bytes(block.core.shape, block.read.shape)))
        return compute(self, block, inputs)

    monkeypatch.setattr(PairsWork, "compute", traced)
    tim3d.label(sample, connectivity=26, options=quiet((32, 32, 32)))
    assert len(needs) == 27
    for peak, planned in needs:
        assert peak < planned + 2**16  # a buffer of NumPy
