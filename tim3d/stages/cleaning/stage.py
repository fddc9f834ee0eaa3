"""A pass of `clean` that writes labels: the steps that it does, and what they moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tim3d.descriptors.base import check_labels
from tim3d.engine import Ledger, Outline, Plan
from tim3d.errors import ArgumentError
from tim3d.grid import Block, Box, Grid, Triple, triple
from tim3d.phases import Phases
from tim3d.stages.cleaning.steps import CleaningStep, Labels, LocalStep, Spacing
from tim3d.stages.shared.field import (
    BLOCK_VOXELS,
    Making,
    Options,
    many_shards,
    plan_field,
    produce,
    whole_shards,
)
from tim3d.storage import store
from tim3d.storage.schema import Field

# Entries that each written field keeps in its own record until the table of changes is made.
MOVED, PIECES = "moved", "pieces"


@dataclass(frozen=True)
class Stage:
    """Some steps, the field that they read and the field that they write.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    source, out : Field
        The fields; `source` may be written by the stage before.
    steps : tuple of CleaningStep
        Steps of this stage.
    phases : tuple of Phases
        Phases before each of them.
    codes : tuple of int
        Codes of the first field of all, by which changes are counted.
    inputs, parameters : mapping
        Of the field that is written.
    kept : bool
        Whether it is the result, with a pyramid, or read by the next stage only.
    """

    sample: str
    source: Field
    out: Field
    steps: tuple[CleaningStep, ...]
    phases: tuple[Phases, ...]
    codes: tuple[int, ...]
    inputs: Mapping[str, Any]
    parameters: Mapping[str, Any]
    kept: bool

    def plans(self, options: Options) -> list[Plan | Outline]:
        """Plans of the passes that are left."""
        return [*plan_field(self.sample, self.making(options), options)]

    def run(self, options: Options) -> None:
        """Write the field, unless it is complete."""
        making = self.making(options)

        def finish(ledger: Ledger) -> None:
            self.note(ledger, making, options)

        produce(self.sample, making, options, finish)

    def note(self, ledger: Ledger, making: Making, options: Options, **more: Any) -> None:
        """Record in the field what its blocks moved, step by step, and further entries."""
        block = whole_shards(options.block or making.block, making.field)
        places = Grid(making.field.shape, block).indices()
        moved = np.sum([np.array(one[MOVED]) for one in ledger.records(places)], axis=0)
        store.update_node(self.sample, self.out.name, **{MOVED: moved.tolist()}, **more)

    def making(self, options: Options) -> Making:
        """The field that local steps write."""
        steps = tuple(one for one in self.steps if isinstance(one, LocalStep))
        work = LocalWork(
            self.sample,
            self.source.name,
            self.out.name,
            steps,
            self.phases,
            self.codes,
            self.source.spacing_nm,
            self.source.shape,
            options.durable,
        )
        return Making(
            verb="clean",
            field=self.out,
            work=work,
            block=many_shards(self.out, BLOCK_VOXELS // 2),
            halo=_within(halo_of(steps, self.source.spacing_nm), self.source.shape),
            pyramid=self.kept,
            inputs=self.inputs,
            parameters=self.parameters,
        )


def halo_of(steps: Sequence[LocalStep], spacing: Spacing) -> Triple:
    """Voxels that several steps in a row look beyond a core."""
    reach = np.sum([(0, 0, 0), *(step.halo(spacing) for step in steps)], axis=0)
    return triple(reach)


def _within(halo: Triple, shape: Triple) -> Triple:
    """The halo as far as there is a volume: more is never read."""
    return triple(min(reach, n) for reach, n in zip(halo, shape, strict=True))


@dataclass(frozen=True)
class LocalWork:
    """Block work: read labels with a halo, do local steps one after the other, write the core."""

    sample: str
    source: str
    out: str
    steps: tuple[LocalStep, ...]
    phases: tuple[Phases, ...]
    codes: tuple[int, ...]
    spacing: Spacing
    shape: Triple
    durable: bool

    def read(self, block: Block) -> Labels:
        """Read the block with its halo."""
        return np.asarray(
            store.read_box(store.field_array(self.sample, self.source), block.read), np.uint8
        )

    def compute(self, block: Block, inputs: Labels) -> tuple[Labels, list[Any]]:
        """Labels of the core after all steps, and what each step moved there."""
        labels, box, moved = inputs, block.read, []
        check_labels(labels, Box.whole(triple(labels.shape)), self.phases[0])
        for number, (step, phases) in enumerate(zip(self.steps, self.phases, strict=True)):
            after = relabelled(step, labels, phases, self.spacing)
            core = block.core.within(box).slices
            moved.append(changes(labels[core], after[core], self.codes))
            left = halo_of(self.steps[number + 1 :], self.spacing)
            known = block.core.grow(left).clip(Box.whole(self.shape))
            labels, box = after[known.within(box).slices], known
        return labels, moved

    def write(self, block: Block, outputs: tuple[Labels, list[Any]]) -> dict[str, Any]:
        """Write whole shards."""
        labels, moved = outputs
        store.write_block(self.sample, self.out, block.core, labels, durable=self.durable)
        return {MOVED: moved}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of labels while decoded, before and after a step, of the step, and encoded."""
        step = max(one.voxel_bytes for one in self.steps)
        return int(np.prod(read) * (4 + step) + np.prod(core) * 11)


def relabelled(step: LocalStep, labels: Labels, phases: Phases, spacing: Spacing) -> Labels:
    """Labels after a step; a step of one's own that returns anything else is refused.

    Raises
    ------
    ArgumentError, InputError
        If the shape or type differs, or a code has no phase.
    """
    found = step.relabel(labels, phases, spacing)
    if found.shape != labels.shape or found.dtype != np.uint8:
        raise ArgumentError(
            f"step {step} gave {found.dtype} of shape {found.shape}; it must be uint8 of {labels.shape}"
        )
    check_labels(found, Box.whole(triple(found.shape)), phases)
    return found


def changes(before: Labels, after: Labels, codes: Sequence[int]) -> list[list[int]]:
    """Voxels by code before (row) and after (column).

    >>> changes(np.array([[[0, 0, 2]]], np.uint8), np.array([[[0, 2, 2]]], np.uint8), (0, 2))
    [[1, 1], [0, 1]]
    """
    rank = np.zeros(256, np.intp)
    rank[list(codes)] = np.arange(len(codes))
    counts = np.zeros(len(codes) ** 2, np.int64)
    for one, other in zip(before, after, strict=True):  # plane by plane: eight bytes for each voxel
        pairs = rank[one] * len(codes) + rank[other]
        counts += np.bincount(pairs.ravel(), minlength=len(counts))
    matrix: list[list[int]] = counts.reshape(len(codes), len(codes)).tolist()
    return matrix
