"""A field of objects whose numbers are known when all blocks were looked at: passes, a table, and the field."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from tim3d.engine import Gathering, Ledger, Outline, Pass, Plan, lock_sample
from tim3d.errors import InputError
from tim3d.grid import Triple
from tim3d.lazy import xarray as xr
from tim3d.stages.components.blocks import lookup_node
from tim3d.stages.shared.field import (
    Making,
    Options,
    many_shards,
    plan_field,
    produce,
    renewing,
    whole_shards,
)
from tim3d.stages.shared.results import run_passes
from tim3d.storage import schema, store
from tim3d.storage.schema import Field

# Entry of the record of the field and of its table: what was counted.
COUNTS = "counts"
MOST = int(np.iinfo(schema.ID_DTYPE).max)


class JoinedField(ABC):
    """Passes over blocks, one table from their records, and a field that is made by it.

    To be inherited by a frozen dataclass with the sample, the labels, the name and long name of the
    field and the options. The table is the node ``OUT_lookup``, whose record holds `COUNTS`; it is
    removed in the end.

    Attributes
    ----------
    block_voxels : int
        Voxels of a block, unless it is given.
    """

    sample: str
    labels: Field
    out: str
    long_name: str
    options: Options
    block_voxels: ClassVar[int]

    @property
    def block(self) -> Triple:
        """Voxels of a block along each axis."""
        asked = self.options.block
        if asked:
            return whole_shards(asked, self.labels)
        return many_shards(self.labels, self.block_voxels)

    @property
    def numbers(self) -> Field:
        """Numbers of the objects, 0 for none."""
        return replace(
            self.labels, name=self.out, dtype=schema.ID_DTYPE, phases=None, long_name=self.long_name, attributes={}
        )  # fmt: skip

    @property
    @abstractmethod
    def making(self) -> Making:
        """The field."""

    @property
    @abstractmethod
    def passes(self) -> Sequence[Pass]:
        """Passes before it."""

    @property
    @abstractmethod
    def gathering(self) -> Gathering:
        """Plan of what is done with their records."""

    @abstractmethod
    def write_lookup(self) -> None:
        """Write the table."""

    def plans(self) -> list[Plan | Outline]:
        """Plans of the passes that are left; none if the field is complete."""
        options = self._renewing
        left = plan_field(self.sample, self.making, options)
        if not left:
            return []
        passes = [one.plan(afresh=options.overwrite) for one in self.passes]
        return [*passes, self.gathering, *left]

    @property
    def _renewing(self) -> Options:
        """Options by which a field of another version of its inputs is made again."""
        return renewing(self.sample, self.making, self.options)

    def result(self) -> xr.DataArray:
        """The field; it is made if it is not there."""
        for plan in self.plans():
            plan.check()
        self.make()
        return store.open_field(self.sample, self.out)

    def make(self) -> None:
        """Make the field, or what is left of it."""
        options = self._renewing
        if not plan_field(self.sample, self.making, options):
            return
        for one in self.passes:
            one.plan(afresh=options.overwrite).check()
        with lock_sample(self.sample):
            run_passes(self.passes, options)
            self.write_lookup()
        produce(self.sample, self.making, options, self._finish)

    def _finish(self, _: Ledger) -> None:
        counts = store.node_attributes(self.sample, lookup_node(self.out))[COUNTS]
        store.update_node(self.sample, self.out, **{COUNTS: counts})
        store.delete_node(self.sample, lookup_node(self.out))
        for one in self.passes:
            one.ledger.forget()


def check_count(objects: int, cure: str) -> None:
    """Raise `InputError` for more objects than there are numbers; `cure` is what makes them fewer."""
    if objects > MOST:
        raise InputError(f"{objects} objects are more than {schema.ID_DTYPE} can number: {cure}")
