"""The block that fits is one that may be written: whole shards, and no larger than what was asked."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tim3d.engine.passes.plan import smaller_block
from tim3d.grid import Triple, triple

SHARDS = st.tuples(*[st.integers(1, 9)] * 3)
COUNTS = st.tuples(*[st.integers(1, 13)] * 3)


@given(shard=SHARDS, count=COUNTS, most=st.integers(1, 20_000))
def test_a_smaller_block_is_made_of_whole_shards_and_fits(
    shard: Triple, count: Triple, most: int
) -> None:
    block = triple(s * n for s, n in zip(shard, count, strict=True))
    found = smaller_block(block, shard, lambda one: math.prod(one) <= most)
    if found is None:
        assert math.prod(shard) > most
        return
    assert math.prod(found) <= most
    assert not any(edge % s for edge, s in zip(found, shard, strict=True))
    assert all(s <= edge <= b for edge, s, b in zip(found, shard, block, strict=True))
