"""Block relaxation: rounds of visits until no block changes its neighbours; each round is a pass.

A visit reads a block and the facing layers of its neighbours, solves the block, writes it and its
own layers, and records digests of the layers that it wrote (shown) and of those that it read
(seen):

    visit of A                                    B is visited in the next round if
      reads    A, layers of B, C, ...               A.shown[B] != B.seen[A]           B has not read this layer yet
      writes   A, layers of A                       and B in A.wakes                  which changes values of B,
      records  shown, seen, wakes, may                  or B in A.may, where A itself   or could, as what A had read
                                                        read layers that are old now    is no longer true

The records are stored with the markers, so a killed run finds its round again. Digests are of what
was really read, so it does not matter which blocks of a round ran first, or twice.
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
    sorted(
        (triple(o) for o in itertools.product((-1, 0, 1), repeat=3) if any(o)),
        key=lambda o: sum(map(abs, o)),
    )
)
FACES = OFFSETS[:6]
# Digest of a block that was never visited, or of a layer without values.
NOTHING = ""


@dataclass(frozen=True)
class Visits(Grid):
    """Blocks to be visited in several volumes of one shape, which are stacked along z.

    The index of a block counts the blocks of the stack; its boxes lie within its own volume.
    """

    places: Sequence[Triple] = ()

    @property
    def layout(self) -> dict[str, Any]:
        """As of every grid, and how many blocks are visited."""
        return {**super().layout, "blocks": len(self)}

    def __len__(self) -> int:
        return len(self.places)

    def indices(self) -> list[Triple]:
        """Indices of the blocks to be visited, in order."""
        return list(self.places)

    def block_at(self, index: Triple) -> Block:
        """The block at an index of the stack."""
        block = Grid.block_at(self, self.within(index))
        return Block(triple(index), block.core, block.read)

    def voxels(self, indices: Iterable[Triple]) -> tuple[int, int]:
        """Voxels of blocks of the stack."""
        return Grid.voxels(self, map(self.within, indices))

    def volume_of(self, index: Triple) -> int:
        """Number of the volume that contains a block."""
        return index[0] // self.counts[0]

    def within(self, index: Triple) -> Triple:
        """Index of a block within its own volume."""
        return (index[0] % self.counts[0], index[1], index[2])

    def stacked(self, volume: int, place: Triple) -> Triple:
        """Index in the stack of a block of a volume."""
        return (volume * self.counts[0] + place[0], place[1], place[2])

    def beside(self, index: Triple, offset: Triple) -> Triple | None:
        """Index of the neighbour at an offset; None outside the volume."""
        place = triple(i + o for i, o in zip(self.within(index), offset, strict=True))
        inside = all(0 <= p < n for p, n in zip(place, self.counts, strict=True))
        return self.stacked(self.volume_of(index), place) if inside else None

    def neighbours(self, index: Triple, offsets: Sequence[Triple]) -> list[Triple]:
        """Offsets at which the block has a neighbour."""
        return [o for o in offsets if self.beside(index, o) is not None]

    def __reduce__(self) -> tuple[Any, ...]:
        """Omit the list of blocks from the pickle, which is sent with every task."""
        return Visits, (self.shape, self.block, self.halo)


def digest(piece: np.ndarray, empty: int) -> str:
    """Hash of a layer; `NOTHING` if all of it is `empty`."""
    if bool((piece == empty).all()):
        return NOTHING
    return hashlib.blake2b(np.ascontiguousarray(piece).tobytes(), digest_size=12).hexdigest()


def report(
    shown: Mapping[Triple, str],
    seen: Mapping[Triple, str],
    wakes: Iterable[Triple],
    may: Iterable[Triple],
) -> dict[str, Any]:
    """Record of a visit: digests of the layers that it wrote and read, by offset, and the neighbours concerned.

    `wakes` are the neighbours that the new values change, given the layers that were read. `may`
    are those that could change if one of these layers is out of date.
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


def blocks_to_revisit(visits: Visits, reports: Mapping[Triple, Mapping[str, Any]]) -> list[Triple]:
    """Blocks that have not read a changed layer of a neighbour which may affect them, sorted."""
    found = set()
    for index, record in reports.items():
        for text in (
            record["wakes"]
            if _is_current(visits, reports, index)
            else {*record["wakes"], *record["may"]}
        ):
            target = visits.beside(index, triple(text.split(",")))
            assert target is not None
            if record["shown"].get(text, NOTHING) != _recorded(reports, target, "seen", text):
                found.add(target)
    return sorted(found)


def _recorded(
    reports: Mapping[Triple, Mapping[str, Any]], neighbour: Triple, key: str, text: str
) -> str:
    """Digest that the neighbour at an offset recorded for its side towards this block."""
    return (
        str(reports[neighbour][key].get(_opposite(text), NOTHING))
        if neighbour in reports
        else NOTHING
    )


def _is_current(visits: Visits, reports: Mapping[Triple, Mapping[str, Any]], index: Triple) -> bool:
    """Whether the layers that a block read are still the current ones of its neighbours.

    If not, its `wakes` are not sufficient: two neighbours that change in the same round may
    together change a third block that neither of them changes alone.
    """
    seen = reports[index]["seen"]
    around = ((_text(offset), visits.beside(index, offset)) for offset in OFFSETS)
    return all(
        seen.get(text, NOTHING) == _recorded(reports, n, "shown", text)
        for text, n in around
        if n is not None
    )


def iterate_until_stable(
    visits: Visits,
    first: Iterable[Triple],
    round_pass: Callable[[int, Visits], Pass],
    *,
    progress: bool,
) -> tuple[int, int]:
    """Visit the blocks `first`, then all that must be revisited, until none is left.

    Done rounds are kept.

    Parameters
    ----------
    visits : Visits
        Blocks of the volumes.
    first : iterable of (z, y, x)
        Indices of the blocks of the first round.
    round_pass : callable
        Pass of a round from its number (from 1) and its visits; its records are made by `report`.
    progress : bool
        Whether to show a progress bar.

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
        places = blocks_to_revisit(visits, reports)
    return number, total
