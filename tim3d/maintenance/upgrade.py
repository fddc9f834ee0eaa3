"""Samples of an older schema brought to the present one, step by step; killed in the middle, it is typed again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tim3d.engine import lock_sample
from tim3d.errors import SchemaError
from tim3d.storage import schema, store

# What makes of a sample of schema n (given as its open zarr group) one of n + 1. A step may be killed and is then begun
# anew: done once, twice, or half and then whole, it must leave the same bytes. There has been one schema so far.
STEPS: dict[int, Callable[[Any], None]] = {}


def upgrade(sample: str) -> list[int]:
    """Bring a sample to the schema that this tim3d works on, under the sample's lock.

    After each step the new number is written, last and in one piece: whatever is killed, the number says which steps
    are wholly done, and the next call goes on with the one that is not.

    Parameters
    ----------
    sample : str
        Path or URL.

    Returns
    -------
    list of int
        The schemas that were left behind, the oldest first; empty if the sample was up to date.

    Raises
    ------
    InputError
        If there is no sample.
    SchemaError
        If it is no sample, one of a newer schema, or one so old that no step leads on.
    LockedError
        If another run writes to it.
    """
    store.open_sample(sample, older=True)
    with lock_sample(sample):
        left = list(range(store.schema_of(sample), schema.SCHEMA_VERSION))
        missing = [number for number in left if number not in STEPS]
        if missing:
            raise SchemaError(f"{sample} has schema {left[0]}: no step leads on from {missing[0]}. Make it anew")
        for number in left:
            STEPS[number](store.open_sample(sample, "r+", older=True))
            store.seal_again(sample)
            store.declare_schema(sample, number + 1)
    return left
