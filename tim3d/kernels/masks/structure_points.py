"""Points that show a promptable network where things are: a grid, and centres of what stands out.

References
----------
MatSAM (2024). DOI 10.48550/arXiv.2401.05638
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.feature import canny

from tim3d.errors import ArgumentError
from tim3d.kernels.image.threshold import binomial_blur, grey_counts, otsu
from tim3d.lazy import ndimage

Points = NDArray[np.float64]
Bits = NDArray[np.bool_]
SQUARE = np.ones((3, 3), bool)
CROSS = ndimage.generate_binary_structure(2, 1)


@dataclass(frozen=True)
class Crop:
    """Part of an image that is looked at by itself, enlarged.

    Parameters
    ----------
    start, stop : (y, x)
        First pixel, and the one after the last.
    layer : int
        0 for the whole image; layer i has 2^i crops along each side.
    """

    start: tuple[int, int]
    stop: tuple[int, int]
    layer: int = 0

    @property
    def slices(self) -> tuple[slice, slice]:
        """Pixels in an array of the image."""
        return slice(self.start[0], self.stop[0]), slice(self.start[1], self.stop[1])

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels (y, x)."""
        return self.stop[0] - self.start[0], self.stop[1] - self.start[1]


def crops(shape: tuple[int, int], layers: int, overlap: float = 512 / 1500) -> list[Crop]:
    """Crops of an image: the whole of it, then the layers.

    Parameters
    ----------
    shape : (y, x)
        Pixels of the image.
    layers : int
        Layers of crops below the whole image; layer i has 4^i.
    overlap : float
        Overlap of crops of layer 1, as a share of the short side; that of layer i is half of the
        one before.

    Examples
    --------
    >>> [crop.shape for crop in crops((60, 90), 1, 0.2)]
    [(60, 90), (36, 51), (36, 51), (36, 51), (36, 51)]
    """
    found = [Crop((0, 0), shape)]
    for layer in range(1, layers + 1):
        side = 2**layer
        shared = int(overlap * min(shape) * 2 / side)
        edges = [math.ceil((shared * (side - 1) + n) / side) for n in shape]
        starts = [[int((edge - shared) * k) for k in range(side)] for edge in edges]
        found += [
            Crop((y, x), (min(y + edges[0], shape[0]), min(x + edges[1], shape[1])), layer)
            for y in starts[0]
            for x in starts[1]
        ]
    return found


def grid_points(shape: tuple[int, int], side: int) -> Points:
    """Points (x, y) of a grid of `side` by `side` cells, in the middle of each, in pixels.

    >>> grid_points((20, 40), 2).tolist()
    [[9.5, 4.5], [29.5, 4.5], [9.5, 14.5], [29.5, 14.5]]
    """
    share = (np.arange(side) + 0.5) / side
    y, x = np.meshgrid(share * shape[0] - 0.5, share * shape[1] - 0.5, indexing="ij")
    return np.stack([x.ravel(), y.ravel()], axis=1)


def points_in(points: Points, crop: Crop) -> Points:
    """Points of an image that lie in a crop, in pixels of the crop.

    >>> points_in(np.array([[3.0, 4.0], [30.0, 4.0]]), Crop((2, 1), (10, 20))).tolist()
    [[2.0, 2.0]]
    """
    low, high = crop.start[::-1], crop.stop[::-1]
    inside = ((points >= np.subtract(low, 0.5)) & (points < np.subtract(high, 0.5))).all(axis=1)
    return np.asarray(points[inside] - low)


def edge_regions(
    grey: NDArray[np.uint8], low: float = 80, high: float = 130, smallest: int = 15, width: int = 5
) -> Bits:
    """Edges of an image by Canny, without short ones, as lines of some width.

    Parameters
    ----------
    grey : array (y, x) of uint8
        The image.
    low, high : float
        Thresholds of the gradient by Sobel, whose weights of one side sum to 4, in grey values.
    smallest : int
        Pixels below which a connected piece of edge (8 neighbours) is dropped.
    width : int
        Edge of the square by which edges are widened.

    Returns
    -------
    array (y, x) of bool

    References
    ----------
    Canny, IEEE Trans. Pattern Anal. Mach. Intell. 8 (1986) 679. DOI 10.1109/TPAMI.1986.4767851
    """
    if not 0 <= low <= high:
        raise ArgumentError(f"edges from {low:g} to {high:g}: the first is the lower threshold")
    edges = canny(grey, sigma=0.0, low_threshold=low, high_threshold=high)  # type: ignore[no-untyped-call]
    kept = without_small(edges, smallest)
    return np.asarray(ndimage.binary_dilation(kept, np.ones((width, width), bool)))


def threshold_regions(grey: NDArray[np.uint8]) -> Bits:
    """Pixels brighter than Otsu's threshold, after a binomial blur over 5 x 5 pixels."""
    smooth = binomial_blur(grey[None])[0]
    counts = grey_counts(smooth)
    return np.asarray(smooth > otsu(counts, np.arange(len(counts), dtype=np.float64)))


def without_small(mask: Bits, smallest: int) -> Bits:
    """The mask without its pieces (8 neighbours) of fewer pixels.

    >>> without_small(np.eye(3, dtype=bool), 4).any(), without_small(np.eye(3, dtype=bool), 3).sum()
    (np.False_, np.int64(3))
    """
    labels, count = ndimage.label(mask, SQUARE)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    return np.asarray((sizes >= smallest)[labels])


def centres(regions: Bits) -> Points:
    """Centres (x, y) of all outlines in a mask: of its pieces, and of the holes in them.

    A piece (8 neighbours) counts with its holes filled, a hole (4 neighbours) with what lies in it:
    the centre is that of the area within an outline. First pieces, then holes, each in the order
    of their first pixels.

    Parameters
    ----------
    regions : array (y, x) of bool
        The mask.

    Examples
    --------
    >>> ring = np.zeros((9, 12), bool)
    >>> ring[1:8, 2:9] = True
    >>> ring[3:6, 3:6] = False
    >>> centres(ring).tolist()
    [[5.0, 4.0], [4.0, 4.0]]
    """
    pieces, _ = ndimage.label(regions, SQUARE)
    outside, _ = ndimage.label(~regions, CROSS)
    border = np.unique(np.concatenate([outside[0], outside[-1], outside[:, 0], outside[:, -1]]))
    holes = np.where(np.isin(outside, border), 0, outside)
    found = [*_filled_centres(pieces, CROSS), *_filled_centres(holes, SQUARE)]
    return np.array(found, np.float64).reshape(-1, 2)


def _filled_centres(labels: NDArray[Any], neighbours: Bits) -> list[tuple[float, float]]:
    found = []
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None:
            continue
        filled = ndimage.binary_fill_holes(labels[box] == number, neighbours)
        y, x = np.nonzero(filled)
        found.append((float(x.mean()) + box[1].start, float(y.mean()) + box[0].start))
    return found
