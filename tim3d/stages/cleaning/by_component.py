"""A stage of `clean` that gives whole components another phase, wherever blocks cut them.

Three passes: tables of the blocks with the faces that their components share with other phases,
pairs over the borders of blocks, and the labels. In between the client merges the tables, chooses
components, and finds what each becomes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim3d.descriptors.base import check_labels
from tim3d.engine import Ledger, Outline, Pass, Plan, lock_sample
from tim3d.grid import Block, Box, Triple, triple
from tim3d.kernels.morphology import components as kernel
from tim3d.kernels.morphology.shared_faces import shared_faces
from tim3d.phases import Phases
from tim3d.stages.cleaning.stage import MOVED, PIECES, Stage, changes
from tim3d.stages.cleaning.steps import ComponentStep, Labels, Spacing
from tim3d.stages.components.blocks import (
    KERNEL_BYTES,
    block_record,
    lookup,
    lookup_node,
    merged,
    pairing_pass,
    values_of_block,
)
from tim3d.stages.shared.field import Making, Options, plan_field, produce
from tim3d.stages.shared.packed import pack, unpack
from tim3d.stages.shared.reduction import inner, reduction_pass
from tim3d.stages.shared.results import run_passes
from tim3d.storage import store

# In the lookup table: the component stays what it is.
STAYS = -1


@dataclass(frozen=True)
class ComponentStage(Stage):
    """A stage of one step about components."""

    @property
    def step(self) -> ComponentStep:
        """The step."""
        (step,) = self.steps
        assert isinstance(step, ComponentStep)
        return step

    def plans(self, options: Options) -> list[Plan | Outline]:
        """Plans of the passes that are left."""
        field = plan_field(self.sample, self.making(options), options)
        tables = self.passes(options) if field else ()
        return [*(one.plan(afresh=options.overwrite) for one in tables), *field]

    def run(self, options: Options) -> None:
        """Write the field, unless it is complete."""
        making = self.making(options)
        if not plan_field(self.sample, making, options):
            return
        with lock_sample(self.sample):
            passes = self.passes(options)
            run_passes(passes, options)
            pieces = self._decide(passes, making.fingerprint)

        def finish(ledger: Ledger) -> None:
            self.note(ledger, making, options, **{PIECES: pieces})
            store.delete_node(self.sample, lookup_node(self.out.name))

        produce(self.sample, making, options, finish)

    def passes(self, options: Options) -> tuple[Pass, Pass]:
        """Passes for the tables of all blocks, and for the pairs over their borders."""
        (phases,) = self.phases
        node = lookup_node(
            self.out.name
        )  # not below the field, whose markers go when it is created
        labelling = reduction_pass(
            self.sample,
            (self.source,),
            TableKernel(self.step, phases, self.source.shape),
            name=f"{node}/tables",
            fingerprint=self.making(options, block=(1, 1, 1)).fingerprint,
            options=options,
            halo=(1, 1, 1),
            kernel_bytes=KERNEL_BYTES + 4 + 2 * len(phases),
        )
        return labelling, pairing_pass(labelling, self.step.connectivity, f"{node}/pairs")

    def making(self, options: Options, block: Triple | None = None) -> Making:
        """The field that is written, in the blocks of the tables."""
        (phases,) = self.phases
        work = ByComponent(
            self.sample,
            self.source.name,
            self.out.name,
            self.step,
            phases,
            self.codes,
            options.durable,
        )
        return Making(
            verb="clean",
            field=self.out,
            work=work,
            block=block or self.passes(options)[0].grid.block,
            pyramid=self.kept,
            inputs=self.inputs,
            parameters=self.parameters,
        )

    def _decide(self, passes: tuple[Pass, Pass], fingerprint: str) -> int:
        """Write the table of what components become; return how many change."""
        (phases,) = self.phases
        starts, table, rows = merged(*passes)
        field = self.source
        chosen = np.flatnonzero(self.step.chosen(table, field.shape, field.spacing_nm))
        becomes = np.full(len(table), STAYS, np.int16)
        becomes[chosen] = self._new_codes(passes[0], chosen, starts, rows, phases)
        node = lookup_node(self.out.name)
        record = store.provenance(fingerprint, self.parameters, self.inputs) | {"verb": "clean"}
        store.write_dataset(self.sample, node, lookup(starts, becomes[rows]), record)
        return int((becomes != STAYS).sum())

    def _new_codes(
        self,
        labelling: Pass,
        chosen: NDArray[np.int64],
        starts: NDArray[np.int64],
        rows: NDArray[np.int64],
        phases: Phases,
    ) -> NDArray[np.int16]:
        """Code that each chosen component gets."""
        into = self.step.into(phases)
        if into is not None:
            return np.full(len(chosen), into, np.int16)
        codes = _around(self.step, phases)
        faces = _faces(labelling, chosen, starts, rows, len(codes))
        return largest_surface(faces, codes, self.source.spacing_nm)


def _around(step: ComponentStep, phases: Phases) -> tuple[int, ...]:
    """Codes of the phases that components of a step can share a face with."""
    members = step.members(phases)
    return tuple(code for code in phases.codes if code not in members)


def _faces(
    labelling: Pass,
    chosen: NDArray[np.int64],
    starts: NDArray[np.int64],
    rows: NDArray[np.int64],
    codes: int,
) -> NDArray[np.int64]:
    """Faces of the chosen components, summed over blocks, by component, code and axis."""
    place = np.full(int(rows.max(initial=-1)) + 1, -1, np.int64)
    place[chosen] = np.arange(len(chosen))
    total = np.zeros((len(chosen), codes, 3), np.int64)
    for block, record in labelling.records():
        (row, code, axis), faces = unpack(record["places"]).T, unpack(record["faces"])
        component = place[rows[starts[block.index] + row]]
        is_chosen = component >= 0
        where = (component[is_chosen], code[is_chosen], axis[is_chosen])
        np.add.at(total, where, faces[is_chosen])
    return total


def largest_surface(
    faces: NDArray[np.int64], codes: tuple[int, ...], spacing: Spacing
) -> NDArray[np.int16]:
    """Code with the largest surface of each component; of equal ones the lowest, of none `STAYS`.

    Parameters
    ----------
    faces : (n, codes, 3) int64
        Shared faces normal to z, y and x.
    codes : tuple of int
        Codes, ascending.
    spacing : (sz, sy, sx)
        Edges of a voxel in nm.

    Examples
    --------
    >>> faces = np.array([[[0, 0, 4], [3, 0, 0]], [[1, 0, 0], [1, 0, 0]], [[0, 0, 0], [0, 0, 0]]])
    >>> largest_surface(faces, (3, 8), (2.0, 1.0, 1.0)).tolist()
    [3, 3, -1]
    """
    sz, sy, sx = spacing
    area = (faces[..., 0] * (sy * sx) + faces[..., 1] * (sz * sx)) + faces[..., 2] * (sz * sy)
    best = np.asarray(codes, np.int16)[area.argmax(axis=1)]
    return np.where(area.max(axis=1) > 0, best, np.int16(STAYS))


@dataclass(frozen=True)
class TableKernel:
    """Table of a block's components, the labels on its border, and faces shared with phases."""

    step: ComponentStep
    phases: Phases
    shape: Triple

    def __call__(self, fields: tuple[np.ndarray, ...], block: Block) -> dict[str, Any]:
        """Compute the record of a block, with packed arrays."""
        (labels,) = fields
        check_labels(labels, Box.whole(triple(labels.shape)), self.phases)
        core = inner(block)
        ids, members = component_ids(labels[core.slices], self.step, self.phases)
        record = block_record(ids, members, block.core.start, self.shape)
        if self.step.into(self.phases) is not None:
            return record
        places, faces = shared_faces(ids, labels, core, _around(self.step, self.phases))
        return record | {"places": pack(places), "faces": pack(faces)}


def component_ids(
    labels: Labels, step: ComponentStep, phases: Phases
) -> tuple[NDArray[np.uint32], Labels]:
    """Components of a block, and 1 where a voxel belongs to one, else 0."""
    table = np.zeros(256, np.uint8)
    table[list(step.members(phases))] = 1
    members = table[labels]
    return kernel.label_block(members, (1,), step.connectivity), members


@dataclass(frozen=True)
class ByComponent:
    """Block work: label a block again and give its components what they become."""

    sample: str
    source: str
    out: str
    step: ComponentStep
    phases: Phases
    codes: tuple[int, ...]
    durable: bool

    def read(self, block: Block) -> tuple[Labels, NDArray[np.int16]]:
        """Read codes, and what the block's components become."""
        codes = store.read_box(store.field_array(self.sample, self.source), block.core)
        return np.asarray(codes, np.uint8), values_of_block(self.sample, self.out, block.index)

    def compute(
        self, block: Block, inputs: tuple[Labels, NDArray[np.int16]]
    ) -> tuple[Labels, list[Any]]:
        """Labels after the step, and what it moved."""
        labels, becomes = inputs
        ids, _ = component_ids(labels, self.step, self.phases)
        new = np.concatenate([[STAYS], becomes]).astype(np.int16)[ids]
        after = np.where(new == STAYS, labels, new.astype(np.uint8))
        return after, [changes(labels, after, self.codes)]

    def write(self, block: Block, outputs: tuple[Labels, list[Any]]) -> dict[str, Any]:
        """Write whole shards."""
        labels, moved = outputs
        store.write_block(self.sample, self.out, block.core, labels, durable=self.durable)
        return {MOVED: moved}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of codes while decoded, of labelling, of new codes, and of labels while encoded."""
        return int(np.prod(core) * (2 + KERNEL_BYTES + 10))
