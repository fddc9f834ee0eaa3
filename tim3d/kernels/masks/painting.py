"""From masks that overlap to one label map, in which every pixel belongs to one mask or to none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.morphology import skeletonize

from tim3d.kernels.masks.mask_set import Bits, Mask, each_image
from tim3d.kernels.masks.structure_points import without_small
from tim3d.lazy import ndimage

# Pixels by which lines between grains are drawn beyond the border of the image.
BEYOND = 8


@dataclass(frozen=True)
class Painted:
    """Masks painted over each other.

    Parameters
    ----------
    owner : array (y, x) of int32
        Number of the mask that each pixel belongs to, from 0 in the order of the list; -1 for none.
    cover : array (y, x) of uint8
        How many masks hold each pixel, 255 for more.
    hidden : int
        Masks of which nothing is left.
    """

    owner: NDArray[np.int32]
    cover: NDArray[np.uint8]
    hidden: int


def painted(masks: Sequence[Mask], shape: tuple[int, int]) -> Painted:
    """Paint masks by rising quality: a pixel of several belongs to the best of them.

    Of equal quality the mask whose first pixel comes first in C order wins, then the earlier in the
    list. So the map does not depend on the order of the masks.

    Examples
    --------
    >>> from tim3d.kernels.masks.mask_set import boxed
    >>> left, right = (boxed((0, x), np.ones((1, 3), bool), q) for x, q in ((0, 0.8), (2, 0.9)))
    >>> painted([left, right], (1, 6)).owner.tolist(), painted([left, right], (1, 6)).cover.tolist()
    ([[0, 0, 1, 1, 1, -1]], [[1, 1, 2, 1, 1, 0]])
    """
    owner = np.full(shape, -1, np.int32)
    cover = np.zeros(shape, np.uint8)
    order = sorted(
        range(len(masks)), key=lambda n: (-masks[n].quality, masks[n].first, n), reverse=True
    )
    for number in order:
        one = masks[number]
        owner[one.box][one.bits] = number
        seen = cover[one.box]
        seen[one.bits & (seen < 255)] += 1
    there = np.unique(owner[owner >= 0])
    return Painted(owner, cover, len(masks) - len(there))


def grain_boundaries(
    masks: Sequence[Mask], shape: tuple[int, int], smallest: int = 50, shortest: int = 200
) -> Bits:
    """Lines between grains, from the outlines of their masks.

    Outlines of all masks are united, thinned to lines, closed over small gaps, and thinned again;
    short pieces are dropped between. The lines are two pixels wide.

    Parameters
    ----------
    masks : sequence of Mask
        Masks of one image.
    shape : (y, x)
        Pixels of the image.
    smallest : int
        Pixels below which a piece of an outline of one mask is dropped.
    shortest : int
        Pixels below which a piece of a line is dropped.

    References
    ----------
    MatSAM (2024). DOI 10.48550/arXiv.2401.05638
    Lee, Kashyap, Chu, CVGIP 56 (1994) 462 (thinning). DOI 10.1006/cgip.1994.1042
    """
    edges = np.zeros(shape, bool)
    for image in each_image(masks, shape):
        edges |= without_small(outline(image), smallest)
    # Thinning shortens ends: lines go on beyond the border of the image, so that they reach it.
    lines = without_small(_thin(np.pad(edges, BEYOND, mode="edge")), shortest)
    wide = ndimage.binary_dilation(lines, np.ones((5, 5), bool))
    narrow = ndimage.binary_erosion(wide, np.ones((3, 3), bool), border_value=1)
    lines = _thin(without_small(narrow, shortest))
    wide = ndimage.binary_dilation(lines, np.ones((2, 2), bool))
    return np.asarray(wide[BEYOND:-BEYOND, BEYOND:-BEYOND])


def outline(image: Bits) -> Bits:
    """Pixels on both sides of the border of a mask, where its Laplacian is not 0; not the image's.

    >>> outline(np.array([[0, 0, 1, 1, 1]], bool)).tolist()
    [[False, True, True, False, False]]
    """
    edge = np.zeros(image.shape, bool)
    for axis in (0, 1):
        change = np.diff(image, axis=axis)
        before = tuple(slice(None, -1) if a == axis else slice(None) for a in (0, 1))
        after = tuple(slice(1, None) if a == axis else slice(None) for a in (0, 1))
        edge[before] |= change
        edge[after] |= change
    return edge


def _thin(image: Bits) -> Bits:
    return np.asarray(skeletonize(image, method="lee") > 0)  # type: ignore[no-untyped-call]
