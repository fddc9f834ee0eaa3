"""Segmentation by any segmenter in blocks of whole shards, into fields of labels and of maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from tim3d.engine import Ledger, Outline, Plan
from tim3d.engine.passes.run import BASE_BYTES, TORCH_BASE_BYTES
from tim3d.errors import ArgumentError
from tim3d.grid import Block, Triple, triple
from tim3d.kernels.morphology.joined_basins import Joining
from tim3d.kernels.morphology.objects import WindowObjects
from tim3d.lazy import xarray as xr
from tim3d.models.segmentation.objects import numbered_region
from tim3d.models.segmentation.segmenter import LABELS, Map, Maps, Segmenter, checked
from tim3d.phases import Phases
from tim3d.stages.morphology.basins import BasinField
from tim3d.stages.morphology.joined_field import JoinedField
from tim3d.stages.morphology.votes import VoteField
from tim3d.stages.segmentation.chosen import Chosen
from tim3d.stages.segmentation.numbering import Numbering, in_windows, like, packed_objects
from tim3d.stages.shared.awaited import plan_awaiting
from tim3d.stages.shared.field import (
    Finish,
    Making,
    Options,
    many_shards,
    plan_field,
    produce,
    slab,
    whole_shards,
)
from tim3d.stages.shared.learnt_labels import remark
from tim3d.stages.shared.phase_shares import telling_shares
from tim3d.storage import store
from tim3d.storage.schema import Field

Outputs: TypeAlias = tuple[list[np.ndarray], dict[str, WindowObjects]]


@dataclass(frozen=True)
class Segmentation:
    """Plan and computation of the labels and maps of a grey field.

    `phases` name the labels (default: the classes of the segmenter); `merge` maps classes to the
    class that they count as.
    """

    sample: str
    grey: Field
    out: str
    chosen: Chosen
    phases: Phases | None
    merge: Mapping[str, str]
    options: Options
    verb: str = "segment"

    def plans(self) -> list[Plan | Outline]:
        """The passes; none if the labels exist."""
        first, segmenter = self.chosen.first(), self.chosen.planned()
        making, objects, options = self._makings(segmenter)
        if self.chosen.awaited:
            awaiting = plan_awaiting(self.sample, making, options, self.chosen.awaited)
            return [*awaiting, *self._noted(segmenter)]
        numbers = [plan for one in objects for plan in one.plans()]
        joined = [plan for one in self._joined(segmenter, making) for plan in one.plans()]
        plans = plan_field(self.sample, making, options)
        noted = self._noted(segmenter) if plans else []
        return [*first, *plans, *noted, *numbers, *joined]

    def _noted(self, segmenter: Segmenter) -> list[Outline]:
        return [Outline(self.out, segmenter.note)] if segmenter.note else []

    def run(self) -> xr.DataArray:
        """Write and return the labels."""
        if self.chosen.first():
            self.plans()  # refuses bad arguments before anything is counted
        segmenter = self.chosen.ready()
        making, objects, options = self._makings(segmenter)
        shares = telling_shares(making, self.options)
        labels = produce(self.sample, making, options, _finishing(shares, objects))
        for one in objects:
            one.number()
        for field in self._joined(segmenter, making):
            field.result()
        return labels

    def _joined(self, segmenter: Segmenter, making: Making) -> Iterator[JoinedField]:
        """Yield the fields of objects that are basins of heights, or that are found by votes."""
        phases, codes = self.coded
        names = {code: name for name, code in phases.items()}
        siblings = {one.name: one for one in making.siblings}
        for one in (*segmenter.climbed, *segmenter.voted):
            maps = tuple(siblings[name] for name, _ in one.fields(self.out, segmenter.classes))
            code = codes[segmenter.classes.index(one.of)]
            parameters: dict[str, Any] = {
                "phase": names[code],
                "maps": [field.name for field in maps],
            }
            inputs = dict.fromkeys((self.out, *parameters["maps"]), making.fingerprint)
            out = f"{self.out}_{one.name}"
            if one.voting is not None:
                parameters["voting"] = asdict(one.voting)
                yield VoteField(
                    self.sample, self.verb, making.field, maps, code, one.voting, parameters, inputs, out,
                    one.long_name, self.options,
                )  # fmt: skip
            else:
                parameters["depth"] = one.depth
                yield BasinField(
                    self.sample, self.verb, making.field, maps, code, Joining(depth=one.depth), parameters, inputs,
                    out, one.long_name, self.options,
                )  # fmt: skip

    @cached_property
    def coded(self) -> tuple[Phases, tuple[int, ...]]:
        """Phases of the labels, and the code of each class.

        Raises
        ------
        ArgumentError, CheckpointError
            If phases or merged classes are not classes of the segmenter.
        """
        classes, merge = self.chosen.classes, self.merge
        if unknown := sorted(set(merge) - set(classes)):
            raise ArgumentError(
                f"--merge names {unknown[0]!r}; {self.chosen.name} has the classes {', '.join(classes)}"
            )
        names = [merge.get(name, name) for name in classes]
        kept = list(dict.fromkeys(names))
        phases = self.phases or Phases(**{name: code for code, name in enumerate(kept)})
        if set(phases) != set(kept):
            raise self.chosen.error(
                f"{self.chosen.name} has {len(kept)} classes ({', '.join(kept)}), and {len(phases)} phases are named "
                f"({', '.join(phases)}). {_naming(kept, phases)}"
            )
        return phases, tuple(phases[name] for name in names)

    def _makings(self, segmenter: Segmenter) -> tuple[Making, list[Numbering], Options]:
        """Labels and maps; numbers of objects that are missing; options for the former.

        The numbers that objects have in their windows are written beside the labels until they are
        numbered over the volume. Labels that are there are made again if objects are missing, and
        so are those.
        """
        plain = self._making(segmenter, ())
        every = [
            Numbering(self.sample, self.grey, self.out, one, segmenter, plain, self.options)
            for one in segmenter.numbered
        ]
        missing = [one for one in every if one.is_missing()]
        making = self._making(segmenter, missing)
        again = any(one.is_lost() for one in missing)
        return making, missing, replace(self.options, overwrite=self.options.overwrite or again)

    def _making(self, segmenter: Segmenter, objects: Sequence[Numbering]) -> Making:
        grey, (phases, codes) = self.grey, self.coded
        labels = like(grey, self.out, "uint8", "phase", phases=phases, labels=True)
        numbered = {one.map.name for one in objects}
        written = tuple(
            one for one in segmenter.maps if one.joined != "objects" or one.name in numbered
        )
        named = {code: name for name, code in phases.items()}
        of = tuple(named[code] for code in codes)
        maps = tuple(
            field for one in written for field in _fields(grey, self.out, one, segmenter, of)
        )
        names = (labels.name, *(one.name for one in maps))
        work = SegmentWork(
            sample=self.sample,
            source=grey.name,
            fields=names,
            segmenter=segmenter,
            written=written,
            codes=codes,
            shape=grey.shape,
            voxel_bytes=grey.voxel_bytes,
            durable=self.options.durable,
        )
        block = (
            slab(labels, labels.shard[0])
            if segmenter.whole_slices
            else many_shards(labels, segmenter.block_voxels)
        )
        digest = {"model": segmenter.sha256} if segmenter.sha256 else {}
        return Making(
            verb=self.verb,
            field=labels,
            siblings=maps,
            work=work,
            block=block,
            inputs={
                grey.name: store.fingerprint_of(self.sample, grey.name),
                **digest,
                **segmenter.inputs,
            },
            parameters=segmenter.record(codes),
            halo=_halo(segmenter, labels, self.options.block or block),
            read_bytes=grey.voxel_bytes,
            base_bytes=TORCH_BASE_BYTES if segmenter.needs_torch else BASE_BYTES,
            remarks=remark(self.chosen.learnt),
        )


def _fields(
    grey: Field, out: str, one: Map, segmenter: Segmenter, phases: tuple[str, ...]
) -> Iterator[Field]:
    """Fields of a map; for one of objects that of their numbers in the windows.

    A field of a class states the phase that it counts as, and its place among the classes.
    """
    for place, (name, long_name) in enumerate(one.fields(out, segmenter.classes)):
        if one.joined == "objects":
            yield like(grey, in_windows(name), "uint32", f"{long_name} in its window", labels=True)
        elif one.joined == "given":
            yield like(
                grey, name, "uint32", long_name, labels=True, attributes={"units": one.units}
            )
        else:
            units = {"units": one.units} if one.units else {}
            of = {"phase": phases[place], "class_number": place} if one.per_class else {}
            yield like(grey, name, one.dtype, long_name, attributes={**units, **of})


def _finishing(shares: Finish, objects: Sequence[Numbering]) -> Finish:
    """Join the objects of all windows before the labels count as finished, and log the shares."""

    def finish(ledger: Ledger) -> None:
        for one in objects:
            one.join(ledger)
        shares(ledger)

    return finish


def _naming(classes: list[str], phases: Phases) -> str:
    """Advice on what to type if the phases are not named as the classes of the segmenter."""
    strange = [name for name in classes if name not in phases]
    named = ",".join(f"{name}={code}" for code, name in enumerate(classes))
    if strange and (shared := [name for name in phases if name in classes]):
        merged = ",".join(f"{name}={shared[0]}" for name in strange)
        return f"Name its classes, --phases {named}, or count some as another, for example --merge {merged}"
    return f"Name its classes: --phases {named}"


def _halo(segmenter: Segmenter, labels: Field, block: Triple) -> Triple:
    """Voxels read beyond the core, for the plan; 0 along axes where a block holds all windows."""
    reach = segmenter.farthest_read(labels.shape)
    if segmenter.lattice(labels.shape) is None:
        return reach
    edges = zip(whole_shards(block, labels), labels.shape, reach, strict=True)
    return triple(0 if b >= n else r for b, n, r in edges)


@dataclass(frozen=True)
class SegmentWork:
    """Block work that reads grey values and writes codes of phases and maps.

    `fields` are the names of the labels and of the `written` maps, `codes` the code of each class,
    `shape` the voxels of the volume.
    """

    sample: str
    source: str
    fields: tuple[str, ...]
    segmenter: Segmenter
    written: tuple[Map, ...]
    codes: tuple[int, ...]
    shape: Triple
    voxel_bytes: int
    durable: bool

    @property
    def blocks_at_once(self) -> int:
        """Blocks that compute at a time in a process, as the segmenter states them."""
        return self.segmenter.blocks_at_once

    def read(self, block: Block) -> np.ndarray:
        """Read all voxels that the maps of the core depend on."""
        array = store.field_array(self.sample, self.source)
        return store.read_box(array, self.segmenter.read_box(self.shape, block.core))

    def compute(self, block: Block, inputs: np.ndarray) -> Outputs:
        """Codes of the core, and each map, in the order of the fields; objects of its windows."""
        core, box = block.core, self.segmenter.read_box(self.shape, block.core)
        objects: dict[str, WindowObjects] = {}
        if any(one.joined == "objects" for one in self.written):
            found, objects = numbered_region(self.segmenter, self.shape, core, inputs, box)
        else:
            found = self.segmenter.region(self.shape, core, inputs, box)
        checked(self.segmenter, found, core.shape)
        return [self._codes(found[LABELS]), *self._planes(found)], objects

    def _codes(self, labels: np.ndarray) -> np.ndarray:
        if self.codes == tuple(range(len(self.codes))):
            return labels
        return np.take(np.asarray(self.codes, np.uint8), labels, out=labels, mode="clip")

    def _planes(self, found: Maps) -> list[np.ndarray]:
        return [
            plane
            for one in self.written
            for plane in (found[one.name] if one.per_class or one.planes else [found[one.name]])
        ]

    def write(self, block: Block, outputs: Outputs) -> dict[str, Any]:
        """Write whole shards, the labels last; return voxels of each phase, and the objects."""
        arrays, objects = outputs
        for name, values in reversed(list(zip(self.fields, arrays, strict=True))):
            store.write_block(self.sample, name, block.core, values, durable=self.durable)
        voxels = {
            str(code): int(np.count_nonzero(arrays[0] == code)) for code in sorted(set(self.codes))
        }
        packed = {name: packed_objects(one) for name, one in objects.items()}
        return {"voxels": voxels, **({"objects": packed} if packed else {})}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of a block, as the segmenter states them."""
        return self.segmenter.block_bytes(self.shape, core, read, self.voxel_bytes)
