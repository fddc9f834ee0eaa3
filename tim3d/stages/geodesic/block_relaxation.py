"""Values that blocks pass on to each other until none changes: rounds of visits, each round a pass of its own.

A visit reads a block with what its neighbours show of their borders, settles it, writes it, and reports by digests
what it shows and what it saw. A block is visited again when a neighbour shows what it has not seen and what may change
it. Because the reports lie with the markers, a run that was killed knows its rounds again; because digests are of what
was really seen, it does not matter which blocks of a round ran first, or twice.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tim3d.engine import Pass, run
from tim3d.grid import Block, Grid, Triple, triple

# A block's 26 neighbours by offset; those that share a face come first.
OFFSETS: tuple[Triple, ...] = tuple(
    sorted((triple(o) for o in itertools.product((-1, 0, 1), repeat=3) if any(o)), key=lambda o: sum(map(abs, o)))
)
FACES = OFFSETS[:6]
# Nothing to see: a block that was never visited, or a border without any value.
NOTHING = ""


@dataclass(frozen=True)
class Visits(Grid):
    """Blocks of several volumes of one shape, of which some are visited: the volumes are stacked along z.

    The index of a block counts the blocks of the stack, its boxes are those within its own volume.
    """

    places: Sequence[Triple] = ()

    def __len__(self) -> int:
        return len(self.places)

    def indices(self) -> list[Triple]:
        """Those to be visited, in their order."""
        return list(self.places)

    def block_at(self, index: Triple) -> Block:
        """The block at a place of the stack."""
        block = Grid.block_at(self, self.within(index))
        return Block(triple(index), block.core, block.read)

    def voxels(self, indices: Iterable[Triple]) -> tuple[int, int]:
        """Voxels of blocks of the stack."""
        return Grid.voxels(self, map(self.within, indices))

    def volume_of(self, index: Triple) -> int:
        """The volume that a block belongs to."""
        return index[0] // self.counts[0]

    def within(self, index: Triple) -> Triple:
        """Place of a block in its own volume."""
        return (index[0] % self.counts[0], index[1], index[2])

    def stacked(self, volume: int, place: Triple) -> Triple:
        """Index of a block of a volume."""
        return (volume * self.counts[0] + place[0], place[1], place[2])

    def beside(self, index: Triple, offset: Triple) -> Triple | None:
        """The neighbour at an offset, None outside the volume."""
        place = triple(i + o for i, o in zip(self.within(index), offset, strict=True))
        inside = all(0 <= p < n for p, n in zip(place, self.counts, strict=True))
        return self.stacked(self.volume_of(index), place) if inside else None

    def neighbours(self, index: Triple, offsets: Sequence[Triple]) -> list[Triple]:
        """Offsets at which there is a neighbour."""
        return [o for o in offsets if self.beside(index, o) is not None]

    def __reduce__(self) -> tuple[Any, ...]:
        """A task needs no list of the others: it travels with every one of them."""
        return Visits, (self.shape, self.block, self.halo)


def digest(piece: np.ndarray, empty: int) -> str:
    """Of a piece of border: `NOTHING` if all of it is `empty`."""
    if bool((piece == empty).all()):
        return NOTHING
    return hashlib.blake2b(np.ascontiguousarray(piece).tobytes(), digest_size=12).hexdigest()


def report(
    shown: Mapping[Triple, str], seen: Mapping[Triple, str], wakes: Iterable[Triple], may: Iterable[Triple]
) -> dict[str, Any]:
    """What a visit records: digests of its border by offset, of what it saw there, and whom this changes.

    `wakes` are the neighbours that change if they are as they were seen, `may` those that may change if any neighbour
    is not as it was seen.
    """
    return {
        "shown": _by_text(shown),
        "seen": _by_text(seen),
        "wakes": [_text(o) for o in wakes],
        "may": [_text(o) for o in may],
    }


def _by_text(digests: Mapping[Triple, str]) -> dict[str, str]:
    return {_text(offset): value for offset, value in digests.items() if value != NOTHING}


def _text(offset: Triple) -> str:
    return ",".join(map(str, offset))


def _opposite(text: str) -> str:
    return _text(triple(-int(o) for o in text.split(",")))


def woken(visits: Visits, reports: Mapping[Triple, Mapping[str, Any]]) -> list[Triple]:
    """Blocks to which a neighbour shows what may change them and what they have not seen."""
    found = set()
    for index, one in reports.items():
        for text in one["wakes"] if _is_current(visits, reports, index) else {*one["wakes"], *one["may"]}:
            target = visits.beside(index, triple(text.split(",")))
            assert target is not None
            if one["shown"].get(text, NOTHING) != _told(reports, target, "seen", text):
                found.add(target)
    return sorted(found)


def _told(reports: Mapping[Triple, Mapping[str, Any]], neighbour: Triple, key: str, text: str) -> str:
    """What the neighbour at an offset showed or saw on this side."""
    return str(reports[neighbour][key].get(_opposite(text), NOTHING)) if neighbour in reports else NOTHING


def _is_current(visits: Visits, reports: Mapping[Triple, Mapping[str, Any]], index: Triple) -> bool:
    """Whether the neighbours of a block still show what it saw.

    If not, its word on whom it changes does not count: two neighbours that changed at the same time may change a third
    together that neither changes alone.
    """
    seen = reports[index]["seen"]
    around = ((_text(offset), visits.beside(index, offset)) for offset in OFFSETS)
    return all(seen.get(text, NOTHING) == _told(reports, n, "shown", text) for text, n in around if n is not None)


def settle(
    visits: Visits, first: Iterable[Triple], round_pass: Callable[[int, Visits], Pass], *, progress: bool
) -> tuple[int, int]:
    """Visit `first`, then whom they woke, until nobody is woken; rounds that are done are not done again.

    Parameters
    ----------
    round_pass : callable
        Gives the pass of a round, from its number (from 1) and its visits; its records hold a `report`.

    Returns
    -------
    rounds, visits : int
    """
    reports: dict[Triple, Mapping[str, Any]] = {}
    places, number, total = sorted(first), 0, 0
    while places:
        number, total = number + 1, total + len(places)
        work_pass = round_pass(number, Visits(visits.shape, visits.block, visits.halo, places))
        run(work_pass, progress=progress)
        reports |= {index: work_pass.ledger.record(index) for index in places}
        places = woken(visits, reports)
    return number, total
