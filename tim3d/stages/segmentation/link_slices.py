"""Objects that were numbered slice by slice, linked to objects of the volume.

One pass over the blocks counts the pixels of the objects of every slice and what they share with
those of the next slice. The client adds the tables up and solves for the whole volume. A second
pass looks the final numbers up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from tim3d.engine import Gathering, Ledger, Outline, Pass, Plan, lock_sample
from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Block, Box, Triple
from tim3d.kernels.morphology import slice_links as kernel
from tim3d.kernels.morphology.multicut import require_multicut
from tim3d.lazy import xarray as xr
from tim3d.stages.components.blocks import lookup_node
from tim3d.stages.shared.field import (
    DEFAULTS,
    Making,
    Options,
    many_shards,
    plan_field,
    produce,
    renewing,
)
from tim3d.stages.shared.packed import pack, unpack
from tim3d.stages.shared.reduction import reduction_pass
from tim3d.stages.shared.results import result_name, run_passes
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import schema, store
from tim3d.storage.schema import Field

AFTER: Triple = (1, 0, 0)
OVERLAP = 0.5
# Memory of the solution for each object of a slice and for each overlap, above what was measured.
OBJECT_BYTES, LINK_BYTES = 250, 300
# Bytes a pixel of the tables of a block, of objects of 4 pixels or more.
TABLE_BYTES = 24.0


@Verb
def link_slices(
    sample: str,
    field: str,
    *,
    rule: Literal["mutual", "multicut"] = "mutual",
    overlap: float = OVERLAP,
    out: str = "",
    options: Options = DEFAULTS,
) -> Task[xr.DataArray]:
    """Link objects that were numbered slice by slice to objects of the volume.

    Numbers in different slices need not have anything to do with each other. All links are found
    at once from one table of the overlaps of the volume: they depend neither on the blocks nor on
    the direction in which the slices are numbered. See docs/segment.md.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    field : str
        Field of numbers of objects in the slices, 0 for none.
    rule : {"mutual", "multicut"}
        mutual: two objects are linked if each is the best partner of the other, so that none
        branches. multicut: all overlaps are weighed together, and objects may branch and join.
    overlap : float
        Least intersection over union of two objects of neighbouring slices that are linked, of all
        their pixels; of a multicut that from which they attract each other.
    out : str
        Name of the field of numbers (default: FIELD_linked and what is not a default).
    options : Options
        How it runs; see `tim3d.Options`.

    Returns
    -------
    xarray.DataArray
        Number of the object of each voxel (uint32), from 1 in the order of their first voxels.

    Raises
    ------
    MissingFieldError
        If the field is missing.
    ArgumentError
        If the field does not hold numbers, or the overlap is not a share.
    MissingExtraError
        If the package of the multicut is not installed.
    InputError
        If there are more objects than uint32 can number.
    MixedRunError
        If `out` exists with different parameters.
    """
    numbers = store.complete_field(sample, field, "segment")
    if not numbers.may_number:
        raise ArgumentError(
            f"{field!r} of {sample} holds {'labels' if numbers.phases else numbers.dtype} and not numbers of objects "
            f"({' or '.join(schema.NUMBER_DTYPES)}): give a field of a segmenter or of label --keep"
        )
    if not 0 < overlap < 1:
        raise ArgumentError(
            f"overlap is {overlap:g}: it is a share of the pixels of two objects, above 0 and below 1: --overlap "
            f"{OVERLAP}"
        )
    if rule == "multicut":
        require_multicut()
    name = out or result_name(f"{field}_linked", rule=(rule, "mutual"), overlap=(overlap, OVERLAP))
    made = LinkedField(sample, numbers, rule, overlap, name, options)
    return Task(made.plans, made.result)


@dataclass(frozen=True)
class LinkedField:
    """The field of linked objects, and the pass that counts their overlaps.

    Parameters
    ----------
    sample : str
        The sample.
    numbers : Field
        Numbers of the objects in the slices.
    rule, overlap : str, float
        See `tim3d.kernels.morphology.slice_links.volume_objects`.
    out : str
        Name of the field.
    options : Options
        How it runs.
    """

    sample: str
    numbers: Field
    rule: str
    overlap: float
    out: str
    options: Options

    @cached_property
    def making(self) -> Making:
        """The field."""
        field = replace(
            self.numbers, name=self.out, dtype=schema.ID_DTYPE, labels=True, long_name="number of the object",
            attributes={},
        )  # fmt: skip
        return Making(
            verb="link_slices",
            field=field,
            work=LookUpWork(self.sample, self.numbers.name, self.out, self.options.durable),
            block=many_shards(field),
            read_bytes=self.numbers.voxel_bytes,
            inputs={self.numbers.name: store.fingerprint_of(self.sample, self.numbers.name)},
            parameters={"rule": self.rule, "overlap": self.overlap},
        )

    @cached_property
    def counting(self) -> Pass:
        """Pass over the overlaps, which serves any rule."""
        inputs = self.making.inputs
        return reduction_pass(
            self.sample,
            (self.numbers,),
            CountOverlaps(self.numbers.shape),
            name=f"{self.out}_overlaps",
            fingerprint=schema.fingerprint(verb="link_slices", step="overlaps", inputs=inputs),
            options=self.options,
            halo=AFTER,
            kernel_bytes=TABLE_BYTES,
        )

    def plans(self) -> list[Plan | Outline]:
        """Plans of the passes that are left; none if the field is complete."""
        left = plan_field(self.sample, self.making, self._renewing)
        if not left:
            return []
        return [self.counting.plan(afresh=self._renewing.overwrite), self.solving, *left]

    @property
    def solving(self) -> Gathering:
        """Plan of the solution, whose objects are not known before."""
        each = (OBJECT_BYTES + 2 * LINK_BYTES, "objects of slices with two overlaps each")
        return Gathering(f"{self.out}/links", "links the objects of all slices", None, each)

    @property
    def _renewing(self) -> Options:
        """Options by which a field of another version of its input is made again."""
        return renewing(self.sample, self.making, self.options)

    def result(self) -> xr.DataArray:
        """The field; it is made if it is not there."""
        options, plans = self._renewing, self.plans()
        for plan in plans:
            plan.check()
        if plans:
            with lock_sample(self.sample):
                run_passes((self.counting,), options)
                self._write_lookup()
            produce(self.sample, self._counted, options, self._finish)
        return store.open_field(self.sample, self.out)

    @property
    def _counted(self) -> Making:
        """The field, whose attributes state the number of objects."""
        objects = int(store.lazy_dataset(self.sample, lookup_node(self.out)).attrs["objects"])
        return replace(
            self.making, field=replace(self.making.field, attributes={"objects": objects})
        )

    def _finish(self, _: Ledger) -> None:
        store.delete_node(self.sample, lookup_node(self.out))
        self.counting.ledger.forget()

    def _write_lookup(self) -> None:
        """Write the number in the volume of each object of each slice."""
        slices = self._slices()
        numbers = kernel.volume_objects(slices, self.rule, self.overlap)
        if numbers.max(initial=0) > np.iinfo(schema.ID_DTYPE).max:
            raise InputError(
                f"{numbers.max()} objects are more than {schema.ID_DTYPE} can number: take a part of the volume"
            )
        record = store.provenance(
            self.making.fingerprint, self.making.parameters, self.making.inputs
        )
        table = lookup(slices, numbers, self.numbers.shape[0])
        store.write_dataset(
            self.sample, lookup_node(self.out), table, record | {"verb": "link_slices"}
        )

    def _slices(self) -> kernel.Slices:
        """Tables of all blocks, refused as soon as they do not fit."""
        objects, links, need = [], [], 0
        for _, record in self.counting.records():
            objects.append(unpack(record["objects"]))
            links.append(unpack(record["links"]))
            need += len(objects[-1]) * OBJECT_BYTES + len(links[-1]) * LINK_BYTES
            self.solving.of(need).check()
        return kernel.added(objects, links)


@dataclass(frozen=True)
class CountOverlaps:
    """Objects of the slices of a block, and their overlaps with those of the next slice."""

    shape: Triple

    def __call__(self, fields: tuple[np.ndarray, ...], block: Block) -> dict[str, Any]:
        """The record of a block."""
        (numbers,) = fields
        core, last = block.core, min(block.core.stop[0] + 1, self.shape[0])
        own = numbers[core.within(block.read).slices]
        seen = Box(core.start, (last, *core.stop[1:])).within(block.read)
        objects = kernel.objects_of(own, core, self.shape)
        links = kernel.links_of(numbers[seen.slices], core.start[0])
        return {"objects": pack(objects), "links": pack(links)}


def lookup(slices: kernel.Slices, numbers: np.ndarray, depth: int) -> xr.Dataset:
    """Table of number in the slice and number in the volume, slice by slice."""
    order = np.lexsort((slices.number, slices.z))
    ends = np.searchsorted(slices.z[order], np.arange(depth + 1))
    # The leading row, which no slice has, keeps the table from being empty.
    seen, given = (np.concatenate([[0], one[order]]) for one in (slices.number, numbers))
    rows = {
        "seen": ("object", seen.astype(np.uint32)),
        "given": ("object", given.astype(np.uint32)),
    }
    return xr.Dataset(rows | {"end": ("slice_end", ends + 1)}, attrs={"objects": int(given.max())})


@dataclass(frozen=True)
class LookUpWork:
    """Second pass: give the objects of slices the numbers of the volume."""

    sample: str
    source: str
    out: str
    durable: bool

    def read(self, block: Block) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
        """Read numbers in the slices, and for each slice both numbers of its objects."""
        numbers = store.read_box(store.field_array(self.sample, self.source), block.core)
        table = store.lazy_dataset(self.sample, lookup_node(self.out))
        ends = table.end[block.core.start[0] : block.core.stop[0] + 1].values
        seen, given = (
            table[name][int(ends[0]) : int(ends[-1])].values for name in ("seen", "given")
        )
        cuts = (ends - ends[0])[1:-1]
        return numbers, list(zip(np.split(seen, cuts), np.split(given, cuts), strict=True))

    def compute(
        self, block: Block, inputs: tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]
    ) -> np.ndarray:
        """Numbers in the volume."""
        numbers, tables = inputs
        made = np.zeros(numbers.shape, np.uint32)
        for plane, out, (seen, given) in zip(numbers, made, tables, strict=True):
            inside = plane > 0
            out[inside] = given[np.searchsorted(seen, plane[inside])]
        return made

    def write(self, block: Block, outputs: np.ndarray) -> dict[str, Any]:
        """Write whole shards."""
        store.write_block(self.sample, self.out, block.core, outputs, durable=self.durable)
        return {}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of numbers while decoded and encoded, of one slice being looked up, and of tables."""
        return int(math.prod(core) * 18 + core[1] * core[2] * 20)
