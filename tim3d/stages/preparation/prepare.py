"""The verb `prepare`: corrections of a grey field, one after the other, into a new field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tim3d.corrections.base import Correction, Measured, Stack
from tim3d.corrections.chain import Chain
from tim3d.corrections.table_files import csv_of
from tim3d.engine import Ledger, Outline, Plan, lock_sample
from tim3d.errors import ArgumentError
from tim3d.forecast import expect
from tim3d.grid import Grid, Triple
from tim3d.lazy import xarray as xr
from tim3d.stages.preparation.changes import SLICES, changes, stage_names
from tim3d.stages.preparation.tables import TableMaking, write_new
from tim3d.stages.preparation.works import PrepareWork
from tim3d.stages.shared.awaited import plan_awaiting
from tim3d.stages.shared.field import (
    DEFAULTS,
    Making,
    Options,
    plan_field,
    produce,
    slab,
    whole_shards,
)
from tim3d.stages.shared.results import is_there
from tim3d.stages.shared.slice_statistics import keep_statistics
from tim3d.stages.shared.verb import Task, Verb
from tim3d.steps import checked_steps
from tim3d.storage import outputs, schema, store
from tim3d.storage.schema import Field
from tim3d.typed import Folder, Steps


@Verb
def prepare(
    sample: str,
    steps: Steps,
    *,
    field: str = "raw",
    out: str = "prepared",
    tables: Folder | None = None,
    only_tables: bool = False,
    options: Options = DEFAULTS,
) -> Task[xr.DataArray | xr.DataTree]:
    """Correct a grey field: crop, align, repair slices, even out brightness, take away stripes and noise.

    The corrections are done one after the other, in one pass over the slices: no field is written
    between them. What a correction has to know of the whole stack, such as the drift, is measured
    first and kept as a table of slices ``OUT_STEP``, which can be looked at, edited and given back
    (docs/prepare.md).

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    steps : sequence of Step
        Corrections in their order, as in crop:y=0:1024 align brightness. In Python values such as
        ``tim3d.corrections.Crop(y=slice(0, 1024))``.
    field : str
        The grey field.
    out : str
        Name of the corrected field.
    tables : path, optional
        Folder for the tables of slices as CSV files, one for each step that has one (default: none
        are written). Edited, a table is given back as in align:table=align.csv.
    only_tables : bool
        Measure the tables only, to look at them before anything is corrected.
    options : Options
        How it runs.

    Returns
    -------
    xarray.DataArray or xarray.DataTree
        The corrected field, lazily; with `only_tables` the tables by the names of the steps.

    Raises
    ------
    ArgumentError
        If there is no step, a step does not fit the field, or the field holds labels.
    InputError
        If a table that is given does not have a number for each slice.
    MissingFieldError
        If the grey field is missing.
    MixedRunError
        If the sample has a field or a table of that name from other steps.
    """
    grey = store.complete_field(sample, field)
    if grey.labels:
        raise ArgumentError(f"field {field!r} holds labels; prepare needs grey values")
    listed = checked_steps(steps, (Correction, Measured), "prepare", "crop:bar=40")
    preparing = Preparing(sample, grey, out, listed, options)
    folder = None if tables is None else Path(tables)
    if folder is not None:
        outputs.check_target(folder / "NAME.csv", outputs.SLICES, makes_folder=True)
    return Task(
        partial(preparing.plans, folder, only_tables=only_tables),
        partial(preparing.run, folder, only_tables=only_tables),
    )


@dataclass(frozen=True)
class Preparing:
    """Steps that make one field of another."""

    sample: str
    grey: Field
    out: str
    steps: tuple[Correction | Measured, ...]
    options: Options

    def plans(self, folder: Path | None, *, only_tables: bool) -> list[Plan | Outline]:
        """Passes that measure tables and the one that corrects; by the full size until it is known."""
        found: list[Plan | Outline] = []

        def foreseen(table: TableMaking) -> xr.Dataset:
            found.extend(table.plans())
            if folder is not None:
                expect("file", str(folder / f"{table.name}.csv"), "a table of slices")
            known = table.known()
            return table.step.neutral(table.chain.made) if known is None else known

        chain = self._chain(foreseen)
        if not self._changes_are_there():
            found.append(
                Outline(self._changes_node, f"looks at {SLICES} slices before and after each step")
            )
        if not only_tables:
            found.extend(self._plan_field(chain))
        return found

    def _plan_field(self, chain: Chain) -> list[Plan | Outline]:
        awaited = [one.table for one in self.steps if isinstance(one, Measured) and one.is_awaited]
        making = self._making(chain)
        if awaited:
            return plan_awaiting(self.sample, making, self.options, str(awaited[0]))
        return [*plan_field(self.sample, making, self.options)]

    def run(self, folder: Path | None, *, only_tables: bool) -> xr.DataArray | xr.DataTree:
        """Measure what is not measured, then correct."""
        for plan in self.plans(folder, only_tables=only_tables):
            plan.check()
        tables: dict[str, xr.Dataset] = {}

        def measured(table: TableMaking) -> xr.Dataset:
            with lock_sample(self.sample):
                tables[table.name] = table.made()
            return tables[table.name]

        chain = self._chain(measured)
        if folder is not None:
            for name, table in tables.items():
                write_new(folder / f"{name}.csv", csv_of(table))
        self._keep_changes(chain)
        return xr.DataTree.from_dict(tables) if only_tables else self._produce(chain)

    @property
    def stack(self) -> Stack:
        """Field that the first step is given."""
        return Stack(self.grey.shape, self.grey.dtype, self.grey.spacing_nm)

    def _chain(self, table_of: Callable[[TableMaking], xr.Dataset]) -> Chain:
        """Corrections, those that are measured by the tables that `table_of` returns."""
        chain = Chain(self.stack, ())
        for number, step in enumerate(self.steps):
            if isinstance(step, Measured):
                step.check(chain.made)
                chain = chain.then(step.applied(table_of(self._table(number, step, chain))))
            else:
                chain = chain.then(step)
        return chain

    def _produce(self, chain: Chain) -> xr.DataArray:
        making = self._making(chain)
        grid = Grid(making.field.shape, self._block(making.field))
        return produce(
            self.sample, making, self.options, partial(_keep, self.sample, making.field, grid)
        )

    @property
    def _changes_node(self) -> str:
        return f"{self.out}_steps"

    def _changes_are_there(self) -> bool:
        """Whether the grey values before and after the steps are kept and not to be made again."""
        kept = is_there(self.sample, self._changes_node, self._fingerprint)
        return kept and not self.options.overwrite

    def _keep_changes(self, chain: Chain) -> None:
        if self._changes_are_there():
            return
        names = stage_names(step.kind for step in self.steps)
        record = store.provenance(self._fingerprint, self._parameters(), self._inputs)
        with lock_sample(self.sample):
            found = changes(self.sample, self.grey.name, chain, names)
            store.write_dataset(
                self.sample, self._changes_node, found, record | {"verb": "prepare"}
            )

    @property
    def _inputs(self) -> dict[str, str]:
        return {self.grey.name: store.fingerprint_of(self.sample, self.grey.name)}

    @property
    def _fingerprint(self) -> str:
        return schema.fingerprint(
            verb="prepare", inputs=self._inputs, parameters=self._parameters()
        )

    def _table(self, number: int, step: Measured, chain: Chain) -> TableMaking:
        return TableMaking(
            self.sample,
            self.grey.name,
            self.out,
            self._name(number),
            chain,
            step,
            self._parameters(number + 1),
            self.options,
        )

    def _name(self, number: int) -> str:
        """Name of a table: the kind of the step, numbered from the second of a kind on."""
        kind = self.steps[number].kind
        before = sum(one.kind == kind for one in self.steps[:number])
        return f"{kind}{before + 1}" if before else kind

    def _parameters(self, count: int | None = None) -> dict[str, Any]:
        return {"steps": [step.description() for step in self.steps[:count]]}

    def _making(self, chain: Chain) -> Making:
        made = chain.made
        shard, chunk = schema.shard_and_chunk(made.shape, self.grey.shard)
        field = Field(
            self.out, made.shape, made.dtype, made.spacing_nm, chunk, shard, long_name="grey value"
        )
        work = PrepareWork(self.sample, self.grey.name, self.out, chain, self.options.durable)
        return Making(
            verb="prepare",
            field=field,
            work=work,
            block=self._block(field),
            inputs=self._inputs,
            parameters=self._parameters(),
            read_bytes=chain.stack.bytes_of(1) / (made.shape[1] * made.shape[2]),
            other_grid=(made.shape, made.spacing_nm) != (self.grey.shape, self.grey.spacing_nm),
        )

    def _block(self, field: Field) -> Triple:
        block = whole_shards(self.options.block or slab(field, field.shard[0]), field)
        if any(b < n for b, n in zip(block[1:], field.shape[1:], strict=True)):
            raise ArgumentError(
                f"prepare works on whole slices; use --block {block[0]},{field.shape[1]},{field.shape[2]}"
            )
        return block


def _keep(sample: str, out: Field, grid: Grid, ledger: Ledger) -> None:
    keep_statistics(sample, out, ledger, grid, "prepare")
