"""Tables of slices that corrections need: measured by a pass, or given as a file, and kept as results."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tim3d.corrections.base import Measured
from tim3d.corrections.chain import Chain
from tim3d.engine import Ledger, Pass, Plan
from tim3d.errors import ArgumentError, InputError
from tim3d.forecast import expected
from tim3d.grid import Grid
from tim3d.lazy import xarray as xr
from tim3d.stages.preparation.works import MeasureWork
from tim3d.stages.shared.field import Options
from tim3d.stages.shared.results import is_there, refuse_another_question, run_passes
from tim3d.storage import outputs, schema, store

log = logging.getLogger(__name__)

# Slices of a block that measures rows.
THICK = 64


@dataclass(frozen=True)
class TableMaking:
    """A table of the slices of a field as it is after the corrections before.

    Parameters
    ----------
    sample, source, out, name : str
        Sample, the field that is prepared, the field that is made of it, and the name of the table.
    chain : Chain
        Corrections before.
    step : Measured
        Correction that needs the table.
    parameters : mapping
        Descriptions of the corrections up to this one, which decide the numbers.
    options : Options
        How it runs; its `block` is that of the field and is not used.
    """

    sample: str
    source: str
    out: str
    name: str
    chain: Chain
    step: Measured
    parameters: Mapping[str, Any]
    options: Options

    @property
    def node(self) -> str:
        """Node that keeps the table."""
        return f"{self.out}_{self.name}"

    def plans(self) -> list[Plan]:
        """Plan of the pass that measures it; none if it is there or given.

        Raises
        ------
        MixedRunError
            If the node holds another table.
        """
        if not self.step.is_awaited:  # else what it will hold is not known
            refuse_another_question(
                self.sample, self.node, "prepare", self.parameters, self.options
            )
        known = self.step.table is not None or self.is_there()
        if not self.is_there():
            store.refuse_unwritable_sample(self.sample)
        store.expect_dataset(self.sample, self.node, self._record())
        return [] if known else [self._measuring().plan(afresh=self.options.overwrite)]

    def is_there(self) -> bool:
        """Whether the table is kept and is not to be made again."""
        kept = is_there(self.sample, self.node, self._fingerprint)
        return kept and not self.options.overwrite

    def known(self) -> xr.Dataset | None:
        """The table, if it can be had without measuring."""
        if self.step.table is not None:
            return None if self.step.is_awaited else self.step.given(self.chain.made)
        # A plan of a recipe finds what earlier steps will write, and no numbers in it.
        foreseen = expected("node", f"{self.sample}/{self.node}") is not None
        there = self.is_there() and not foreseen
        return store.open_dataset(self.sample, self.node) if there else None

    def made(self) -> xr.Dataset:
        """The table, measured first unless it is known; the sample must be locked."""
        if not self.is_there():
            table = self.step.given(self.chain.made) if self.step.table else self._measured()
            store.write_dataset(self.sample, self.node, self._described(table), self._record())
        kept = store.open_dataset(self.sample, self.node)
        for doubt in kept.attrs.get("doubts", ()):
            log.warning("%s: %s", self.name, doubt)
        return kept

    def _measured(self) -> xr.Dataset:
        measuring, stack = self._measuring(), self.chain.made
        run_passes([measuring], self.options)
        rows = [row for _, record in measuring.records() for row in record["rows"]]
        columns = {name: ("z", [float(row[name]) for row in rows]) for name in rows[0]}
        return self.step.tabulate(xr.Dataset(columns), stack)

    def _described(self, table: xr.Dataset) -> xr.Dataset:
        """Units and names of the columns, and the place of each slice."""
        stack = self.chain.made
        for one in self.step.columns:
            if one.name not in table or table[one.name].sizes != {"z": stack.shape[0]}:
                raise InputError(
                    f"correction {self.step.kind!r} made no column {one.name!r} with a number for each slice"
                )
            table[one.name].attrs.update(long_name=one.long_name, units=one.units)
        z = schema.centres(stack.shape[0], stack.spacing_nm[0])
        about = {"units": schema.UNIT, "long_name": "voxel centre along z"}
        doubts = self.step.doubts(table, stack)
        kept = {"doubts": doubts} if doubts else {}
        return table.assign_coords(z=("z", z, about)).assign_attrs(kept)

    def _measuring(self) -> Pass:
        shape = self.chain.made.shape
        block = (min(THICK, shape[0]), *shape[1:])
        return Pass(
            work=MeasureWork(self.sample, self.source, self.chain, self.step),
            grid=Grid(shape, block, (self.step.before, 0, 0)),
            ledger=Ledger(self.sample, self.node, self._fingerprint),
            shard=block,
            read_bytes=self.chain.stack.bytes_of(1) / (shape[1] * shape[2]),
            write_bytes=0,
            durable=self.options.durable,
            time_limit=self.options.time_limit,
        )

    @property
    def _inputs(self) -> dict[str, str]:
        return {self.source: store.fingerprint_of(self.sample, self.source)}

    @property
    def _fingerprint(self) -> str:
        return schema.fingerprint(
            verb="prepare", table=self.step.kind, inputs=self._inputs, parameters=self.parameters
        )

    def _record(self) -> dict[str, Any]:
        made = store.provenance(self._fingerprint, self.parameters, self._inputs)
        return made | {"verb": "prepare"}


def write_new(path: Path, content: bytes) -> None:
    """Write a table as a file; one that was edited since is never replaced.

    Raises
    ------
    ArgumentError
        If the file exists with other content.
    """
    outputs.check_target(path, outputs.SLICES, makes_folder=True)
    if path.exists() and path.read_bytes() != content:
        raise ArgumentError(
            f"{path} exists and holds another table; it was not changed. Give another folder: --tables FOLDER"
        )
    outputs.write_file(path, content, outputs.SLICES)
