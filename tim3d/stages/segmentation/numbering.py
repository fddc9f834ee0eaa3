"""Objects of a segmenter, numbered over the volume after all windows were seen.

The pass over the labels writes the number that each voxel's object has in its window, and notes the
objects of every window and their pairs. They are joined before the labels count as finished; a
second pass looks the final numbers up. What lies in between (`in_windows`, and the lookup table) is
removed when the numbers are complete.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tim3d.engine import Ledger, Plan
from tim3d.errors import InputError
from tim3d.grid import Block, Box, Grid, Triple
from tim3d.kernels.morphology.components import Components
from tim3d.kernels.morphology.objects import Numbers, WindowObjects, merge_windows
from tim3d.kernels.windows.lattice import Lattice
from tim3d.lazy import xarray as xr
from tim3d.models.segmentation.segmenter import Map, Segmenter
from tim3d.stages.shared.field import (
    Making,
    Options,
    many_shards,
    plan_field,
    produce,
    whole_shards,
)
from tim3d.stages.shared.packed import pack, unpack
from tim3d.storage import schema, store
from tim3d.storage.schema import AXES, Field

log = logging.getLogger(__name__)

MOST = int(np.iinfo(schema.ID_DTYPE).max)
COLUMNS = ("code", "voxels", "first", "start", "stop")


def like(grey: Field, name: str, dtype: str, long_name: str, **more: Any) -> Field:
    """Field on the grid and in the shards of another one."""
    return Field(
        name,
        grey.shape,
        dtype,
        grey.spacing_nm,
        grey.chunk,
        grey.shard,
        long_name=long_name,
        **more,
    )


def in_windows(name: str) -> str:
    """Name of the field of the numbers in the windows, which is removed in the end."""
    return f"{name}_in_windows"


def packed_objects(objects: WindowObjects) -> dict[str, Any]:
    """Objects of the windows of a block, for its record."""
    table = {name: pack(getattr(objects.table, name)) for name in COLUMNS}
    rest = {name: pack(getattr(objects, name)) for name in ("windows", "counts", "pairs")}
    return table | rest


def _objects(record: Mapping[str, Any]) -> WindowObjects:
    table = Components(*(unpack(record[name]) for name in COLUMNS))
    windows, counts, pairs = (unpack(record[name]) for name in ("windows", "counts", "pairs"))
    return WindowObjects(windows, counts, table, pairs)


@dataclass(frozen=True)
class Numbering:
    """Numbers of the objects of one map over the volume.

    Parameters
    ----------
    sample, grey, out : str, Field, str
        The sample, the field that is segmented, and the name of the labels.
    map : Map
        The map of objects.
    segmenter : Segmenter
        The segmenter.
    labels : Making
        Description of the labels, which are made in the same pass.
    options : Options
        How it runs.
    """

    sample: str
    grey: Field
    out: str
    map: Map
    segmenter: Segmenter
    labels: Making
    options: Options

    @cached_property
    def name(self) -> str:
        """Name of the field of numbers."""
        ((name, _),) = self.map.fields(self.out, self.segmenter.classes)
        return name

    @property
    def table(self) -> str:
        """Name of the temporary node with the final numbers of the objects of all windows."""
        return f"{self.name}_lookup"

    @property
    def lattice(self) -> Lattice:
        """Lattice of the windows."""
        lattice = self.segmenter.lattice(self.grey.shape)
        assert lattice is not None
        return lattice

    def making(self, objects: int | None = None) -> Making:
        """Description of the field; its attributes state the number of objects once it is known."""
        known = {} if objects is None else {"objects": objects}
        numbers = like(
            self.grey,
            self.name,
            schema.ID_DTYPE,
            self.map.long_name,
            labels=True,
            attributes={"units": self.map.units, **known} if self.map.units else known,
        )
        work = NumberWork(self.sample, self.name, self.table, self.lattice, self.options.durable)
        return Making(
            verb=self.labels.verb,
            field=numbers,
            work=work,
            block=many_shards(numbers),
            inputs=self.labels.inputs,
            parameters={**self.labels.parameters, "objects": self.map.name},
            read_bytes=numbers.voxel_bytes,
            remarks=self.labels.remarks,
        )

    def plans(self) -> list[Plan]:
        """Plans of the passes that number the volume and make its pyramid."""
        return plan_field(self.sample, self.making(), self.options)

    def is_missing(self) -> bool:
        """Whether a block is not numbered yet."""
        return any(plan.name == f"{self.name}/s0" and plan.left for plan in self.plans())

    def is_lost(self) -> bool:
        """Whether the labels are there, and the numbers in the windows are not any more."""
        labels = store.node_attributes(self.sample, self.out)
        if labels.get("fingerprint") != self.labels.fingerprint:
            return False
        between = [in_windows(self.name)]
        between += [self.table] if labels["status"] == "complete" else []
        found = (store.node_attributes(self.sample, one).get("fingerprint") for one in between)
        return any(one != self.labels.fingerprint for one in found)

    def join(self, ledger: Ledger) -> None:
        """Number the objects of all windows from the records of the blocks, and keep the table.

        Raises
        ------
        InputError
            If there are more objects than uint32 can number.
        """
        making = self.labels
        block = whole_shards(self.options.block or making.block, making.field)
        records = ledger.records(Grid(making.field.shape, block).indices())
        parts = [_objects(record["objects"][self.map.name]) for record in records]
        numbers = merge_windows(self.lattice.counts, parts)
        if numbers.objects > MOST:
            raise InputError(
                f"{numbers.objects} objects are more than {schema.ID_DTYPE} can number; segment a part"
            )
        made = store.provenance(making.fingerprint, making.parameters, making.inputs)
        store.write_dataset(self.sample, self.table, _lookup(numbers), made | {"verb": making.verb})
        self._tell(numbers)

    def _tell(self, numbers: Numbers) -> None:
        log.info("%s: %d objects", self.name, numbers.objects)
        if numbers.chained:
            log.warning(
                "%d objects of %r are separate in a window and joined by a chain of pairs around it: a larger "
                "overlap than %g of the map %r, or a larger halo, joins fewer",
                numbers.chained,
                self.name,
                self.map.overlap,
                self.map.name,
            )

    def number(self) -> xr.DataArray:
        """Write the field, and remove what is not needed any more."""
        objects = int(store.lazy_dataset(self.sample, self.table).attrs["objects"])

        def finish(_: Ledger) -> None:
            for node in (in_windows(self.name), self.table):
                store.delete_node(self.sample, node)

        return produce(self.sample, self.making(objects), self.options, finish)


def _lookup(numbers: Numbers) -> xr.Dataset:
    windows = tuple(f"{axis}_window" for axis in AXES)
    ends = np.append(numbers.starts.ravel()[1:], len(numbers.number)).reshape(numbers.starts.shape)
    # The leading row, which no window has, keeps the table from being empty.
    number = np.concatenate([[0], numbers.number]).astype(np.uint32)
    table = {"number": ("object", number), "start": (windows, numbers.starts + 1)}
    return xr.Dataset(table | {"stop": (windows, ends + 1)}, attrs={"objects": numbers.objects})


@dataclass(frozen=True)
class NumberWork:
    """Block work that looks up the final numbers of the objects."""

    sample: str
    out: str
    table: str
    lattice: Lattice
    durable: bool

    def read(self, block: Block) -> tuple[np.ndarray, dict[Triple, np.ndarray]]:
        """Read the numbers in the windows, and the final numbers for each window."""
        array = store.field_array(self.sample, in_windows(self.out))
        return store.read_box(array, block.core), self._tables(block.core)

    def _tables(self, core: Box) -> dict[Triple, np.ndarray]:
        table = store.lazy_dataset(self.sample, self.table)
        starts, stops = table.start.values, table.stop.values
        found: dict[Triple, np.ndarray] = {}
        for run in _runs(self.lattice.windows(core), starts, stops):
            rows = table.number[int(starts[run[0]]) : int(stops[run[-1]])].values
            first = int(starts[run[0]])
            found |= {w: rows[int(starts[w]) - first : int(stops[w]) - first] for w in run}
        return found

    def compute(
        self, block: Block, inputs: tuple[np.ndarray, dict[Triple, np.ndarray]]
    ) -> np.ndarray:
        """Look the numbers up, window by window."""
        numbers, tables = inputs
        for index, rows in tables.items():
            kept = self.lattice.support(index).clip(block.core).within(block.core)
            inside = numbers[kept.slices]
            inside[...] = np.concatenate([[0], rows]).astype(np.uint32)[inside]
        return numbers

    def write(self, block: Block, outputs: np.ndarray) -> dict[str, Any]:
        """Write whole shards."""
        store.write_block(self.sample, self.out, block.core, outputs, durable=self.durable)
        return {}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of numbers while decoded, looked up and encoded, and of an object in 4 voxels."""
        return int(np.prod(core)) * (2 * 4 + 3 * 4 + 2)


def _runs(windows: list[Triple], starts: np.ndarray, stops: np.ndarray) -> Iterator[list[Triple]]:
    """Windows in groups whose rows follow each other: each is one read."""
    run: list[Triple] = []
    for index in windows:
        if run and starts[index] != stops[run[-1]]:
            yield run
            run = []
        run.append(index)
    if run:
        yield run
