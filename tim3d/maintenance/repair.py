"""Repair of damage found by `validate --deep`: damaged blocks are marked as not done.

The verb that made them then recomputes them.

No voxel is computed here. Markers are removed first and the status of the node is changed last, so
that after a kill in between the damage is still found.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tim3d.commands import renewal
from tim3d.engine import Ledger, lock_sample
from tim3d.grid import Box, Grid, Triple, triple
from tim3d.maintenance.validation import Damage, Fault, validate
from tim3d.storage import sample_image, store


@dataclass(frozen=True)
class Repair:
    """Blocks of a node that will be recomputed, and the command that does so.

    Attributes
    ----------
    blocks : int
        Blocks that will be computed again, over all levels; 0 for results, which are remade as a
        whole.
    command : str
        What to type.
    """

    node: str
    blocks: int
    command: str

    def __str__(self) -> str:
        what = (
            f"{self.blocks} block(s) will be computed again"
            if self.blocks
            else "will be made again"
        )
        return f"{self.node}: {what}. Run the recipe again, or type (with the --block that it had): {self.command}"


def repair(sample: str) -> tuple[list[Repair], list[Fault]]:
    """Read every shard, and mark everything that is damaged to be computed again.

    For a field these are the damaged blocks and the pyramid blocks above them; for results, the
    whole node.

    What viewers read at the root of the sample is made again where it does not list the fields.

    Returns
    -------
    repairs : list of Repair
        One per node, with what to type. Until then the node is not finished, and no verb reads it.
    faults : list of Fault
        Faults that cannot be repaired in this way.

    Raises
    ------
    LockedError
        If a run is writing to the sample.
    InputError, SchemaError
        If the sample is missing, or its schema is newer.
    """
    with lock_sample(sample):
        sample_image.renew(sample)
        faults = validate(sample, deep=True)
        damages: dict[str, list[Damage]] = {}
        for fault in faults:
            if fault.damage is not None:
                damages.setdefault(fault.damage.node, []).append(fault.damage)
        sample_image.show(sample, without=list(damages))  # its labels are links to the same files
        made = [one for node, some in damages.items() for one in _forget(sample, node, some)]
    return made, [fault for fault in faults if fault.damage is None]


def _forget(sample: str, node: str, damages: list[Damage]) -> Iterator[Repair]:
    record = store.node_attributes(sample, node)
    owner = _owner(sample, node, record)
    if record.get("kind") != "field":
        store.delete_node(sample, node)
        yield Repair(node, 0, renewal(record, sample))
    else:
        blocks = _forget_blocks(sample, owner or node, record["fingerprint"], damages)
        yield Repair(node, blocks, renewal(record, sample))
        store.update_node(sample, node, status="writing")
    if owner is not None:  # the blocks of a field, or its last step, wrote it too
        store.update_node(sample, owner, status="writing")


def _owner(sample: str, node: str, record: dict[str, Any]) -> str | None:
    """Another field that was made together with this node; it has the same fingerprint."""
    fingerprint = record["fingerprint"]
    if Ledger(sample, f"{node}/s0", fingerprint).layout():
        return None
    others = [
        name
        for name in store.nodes(sample)
        if name != node and _is_field(sample, name, fingerprint)
    ]
    return next(
        (name for name in others if Ledger(sample, f"{name}/s0", fingerprint).layout()),
        next(iter(others), None),
    )


def _is_field(sample: str, name: str, fingerprint: str) -> bool:
    record = store.node_attributes(sample, name)
    return record.get("kind") == "field" and record.get("fingerprint") == fingerprint


def _forget_blocks(sample: str, name: str, fingerprint: str, damages: list[Damage]) -> int:
    """Remove the markers of blocks in the damaged boxes and above them; return how many."""
    levels = len(store.open_sample(sample)[name].attrs["ome"]["multiscales"][0]["datasets"])  # type: ignore[index, call-overload, arg-type]
    boxes: dict[int, list[Box]] = {
        level: [d.box for d in damages if d.level == level and d.box] for level in range(levels)
    }
    shapes = [triple(store.field_array(sample, name, level).shape) for level in range(levels)]
    for fine, coarse in itertools.pairwise(range(levels)):
        boxes[coarse] += [_coarser(box, shapes[fine], shapes[coarse]) for box in boxes[fine]]
    return sum(
        _forget_level(Ledger(sample, f"{name}/s{level}", fingerprint), boxes[level])
        for level in range(levels)
    )


def _coarser(box: Box, fine: Triple, coarse: Triple) -> Box:
    """Box of the next coarser level that covers a box; an edge is halved, rounded up, or kept.

    >>> _coarser(Box((8, 0, 5), (16, 3, 7)), (16, 7, 7), (16, 4, 4))
    Box(start=(8, 0, 2), stop=(16, 2, 4))
    """
    steps = [-(-f // c) for f, c in zip(fine, coarse, strict=True)]
    start = triple(a // s for a, s in zip(box.start, steps, strict=True))
    return Box(start, triple(-(-b // s) for b, s in zip(box.stop, steps, strict=True)))


def _forget_level(ledger: Ledger, boxes: Iterable[Box]) -> int:
    layout = ledger.layout()
    if layout is None:  # a copied sample has no markers: the whole field is remade
        return 0
    edge = triple(layout["block"])
    hit = {index for box in boxes for index in _blocks(box, edge)}
    grid = Grid(triple(layout["shape"]), edge)
    ledger.drop(hit & set(grid.indices()))
    return len(hit)


def _blocks(box: Box, edge: Triple) -> Iterator[Triple]:
    ranges = [range(a // e, -(-b // e)) for a, b, e in zip(box.start, box.stop, edge, strict=True)]
    yield from map(triple, itertools.product(*ranges))
