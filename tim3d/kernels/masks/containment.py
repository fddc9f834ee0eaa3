"""Masks that lie in others: copies, small parts and compounds, which are removed.

References
----------
SAM-I-Am (2024). DOI 10.48550/arXiv.2404.06638
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tim3d.kernels.masks.mask_set import Mask, intersections, merged

Matrix: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Containment:
    """Limits of shares of areas.

    Parameters
    ----------
    inside : float
        Share of a mask above which it lies in another: a child of it. Two that lie in each other
        are copies.
    tiny : float
        Share of its parent below which a child is dropped.
    compound : float
        Share of a parent above which it is dropped where its children, each of at least the share
        `tiny`, cover it together.
    """

    inside: float = 0.9
    tiny: float = 0.05
    compound: float = 0.7


DEFAULT = Containment()


@dataclass(frozen=True)
class Removal:
    """Masks that are left, and how many were removed for which reason."""

    masks: list[Mask]
    copies: int
    tiny: int
    compounds: int


def removed(
    masks: Sequence[Mask], shape: tuple[int, int], limits: Containment = DEFAULT
) -> Removal:
    """Remove copies, then tiny children and compounds, of what is left after the copies.

    Parameters
    ----------
    masks : sequence of Mask
        Masks of one image.
    shape : (y, x)
        Pixels of the image.
    limits : Containment
        The limits.
    """
    shared = intersections(masks, shape)
    kept = _without_copies(shared, limits.inside)
    left = [masks[n] for n in kept]
    shared = shared[np.ix_(kept, kept)]
    children = _children(shared, limits.inside)
    share = shared / shared.diagonal()[:, None]  # of the parent, in its row
    small = (children & (share < limits.tiny)).any(axis=0)
    compound = np.array(
        [
            _is_compound(left, parent, children[parent] & (share[parent] >= limits.tiny), limits)
            for parent in range(len(left))
        ],
        bool,
    )
    gone = small | compound
    return Removal(
        [one for one, is_gone in zip(left, gone, strict=True) if not is_gone],
        len(masks) - len(kept),
        int(small.sum()),
        int((compound & ~small).sum()),
    )


def _without_copies(shared: Matrix, inside: float) -> list[int]:
    """Masks of which no two lie in each other: the larger, of equal ones the earlier."""
    area = shared.diagonal()
    kept: list[int] = []
    for number in sorted(range(len(area)), key=lambda n: (-area[n], n)):
        both = shared[number, kept]
        if not ((both > inside * area[number]) & (both > inside * area[kept])).any():
            kept.append(number)
    return sorted(kept)


def _children(shared: Matrix, inside: float) -> NDArray[np.bool_]:
    """Whether the mask of a column lies in that of a row, which does not lie in it."""
    area = shared.diagonal()
    lies_in = shared > inside * area[None]
    np.fill_diagonal(lies_in, False)
    return np.asarray(lies_in & ~lies_in.T)


def _is_compound(
    masks: Sequence[Mask], parent: int, children: NDArray[np.bool_], limits: Containment
) -> bool:
    """Whether the children of a mask cover it, each pixel counted once."""
    numbers = np.flatnonzero(children)
    if not len(numbers):
        return False
    union = merged([masks[int(n)] for n in numbers])
    (covered,) = intersections([masks[parent], union], _reach(masks[parent], union))[0, 1:]
    return bool(covered > limits.compound * masks[parent].area)


def _reach(one: Mask, other: Mask) -> tuple[int, int]:
    ends = [np.add(mask.start, mask.size) for mask in (one, other)]
    y, x = np.maximum(*ends)
    return int(y), int(x)
