"""Masks of one image, which may overlap: each as the bits of its own box."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim3d.kernels.masks.structure_points import Crop
from tim3d.lazy import sparse

Bits = NDArray[np.bool_]
Floats = NDArray[np.float32]
# Rows of an image that are multiplied at once, and bits of all masks in them, at most.
STRIP, STRIP_BITS = 64, 2**24


@dataclass(frozen=True)
class Mask:
    """A mask of an image.

    Parameters
    ----------
    start : (y, x)
        First pixel of its box.
    size : (y, x)
        Pixels of the box, none of whose borders is empty.
    packed : array of uint8
        Bits of the box, eight in a byte.
    quality : float
        How sure it is, from 0 to 1.
    crop : int
        Pixels of the crop that it was found in.
    name : str
        Phase that was asked for.
    iou : float
        Intersection over union with the object that the network expects.
    stability : float
        Intersection over union of the mask cut above and below its threshold.
    """

    start: tuple[int, int]
    size: tuple[int, int]
    packed: NDArray[np.uint8]
    quality: float = 1.0
    crop: int = 0
    name: str = ""
    iou: float = 1.0
    stability: float = 1.0

    @property
    def bits(self) -> Bits:
        """The box as an array (y, x)."""
        count = self.size[0] * self.size[1]
        return np.unpackbits(self.packed, count=count).reshape(self.size).view(bool)

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(np.bitwise_count(self.packed).sum(dtype=np.int64))

    @property
    def box(self) -> tuple[slice, slice]:
        """Its box in an array of the image."""
        y, x = self.start
        return slice(y, y + self.size[0]), slice(x, x + self.size[1])

    @property
    def first(self) -> tuple[int, int]:
        """First pixel in C order, by which ties are broken."""
        return self.start[0], self.start[1] + int(np.argmax(self.bits[0]))

    def moved(self, y: int, x: int) -> Mask:
        """The same mask, that many pixels further."""
        return replace(self, start=(self.start[0] + y, self.start[1] + x))


def boxed(
    start: tuple[int, int], bits: Bits, quality: float = 1.0, crop: int = 0, name: str = ""
) -> Mask:
    """Mask of the bits of a box that begins at a pixel."""
    size = (int(bits.shape[0]), int(bits.shape[1]))
    return Mask(start, size, np.packbits(bits), quality, crop, name)


def mask_of(image: Bits, quality: float = 1.0, crop: Crop | None = None, name: str = "") -> Mask:
    """Mask of the pixels that are set in an image, or in a crop of one.

    Raises
    ------
    ValueError
        If none is.
    """
    rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        raise ValueError("an empty mask has no box")
    low, high = (rows[0], columns[0]), (rows[-1] + 1, columns[-1] + 1)
    bits = image[low[0] : high[0], low[1] : high[1]]
    y, x = crop.start if crop else (0, 0)
    pixels = int(np.prod(crop.shape)) if crop else 0
    return boxed((int(low[0]) + y, int(low[1]) + x), bits, quality, pixels, name)


def image_of(mask: Mask, shape: tuple[int, int]) -> Bits:
    """The mask as an image."""
    image = np.zeros(shape, bool)
    image[mask.box] = mask.bits
    return image


def stability(logits: Floats, offset: float = 1.0, threshold: float = 0.0) -> float:
    """Intersection over union of the mask cut above and below its threshold; 0 if it is empty.

    >>> stability(np.array([[-2.0, -0.5, 0.5, 2.0, 3.0]], np.float32))
    0.5
    """
    wide = np.count_nonzero(logits > threshold - offset)
    return float(np.count_nonzero(logits > threshold + offset) / wide) if wide else 0.0


def touches_edge(image: Bits, crop: Crop, shape: tuple[int, int], margin: int = 20) -> bool:
    """Whether the box of a mask in a crop ends near an edge of the crop that is none of the image.

    >>> left = np.zeros((40, 40), bool)
    >>> left[10:20, 30:40] = True
    >>> touches_edge(left, Crop((0, 0), (40, 40)), (40, 90)), touches_edge(left, Crop((0, 0), (40, 40)), (40, 40))
    (True, False)
    """
    for axis in (0, 1):
        inside = np.flatnonzero(image.any(axis=1 - axis))
        if not len(inside):
            return False
        low, high = crop.start[axis] + inside[0], crop.start[axis] + inside[-1] + 1
        if crop.start[axis] > 0 and low - crop.start[axis] <= margin < low:
            return True
        if crop.stop[axis] < shape[axis] and crop.stop[axis] - high <= margin < shape[axis] - high:
            return True
    return False


def intersections(masks: Sequence[Mask], shape: tuple[int, int]) -> NDArray[np.int64]:
    """Pixels that each two masks share, as a matrix; its diagonal holds the areas.

    One product of a sparse matrix with itself for each strip of rows of the image; whole numbers
    add up in any order.

    >>> masks = [boxed((0, 0), np.ones((2, 3), bool)), boxed((1, 1), np.ones((2, 3), bool))]
    >>> intersections(masks, (4, 5)).tolist()
    [[6, 2], [2, 6]]
    """
    total = np.zeros((len(masks), len(masks)), np.int64)
    strip = max(1, min(STRIP, STRIP_BITS // max(1, len(masks) * shape[1])))
    for row in range(0, shape[0], strip):
        rows, columns = _strip(masks, row, strip, shape)
        if len(rows):
            ones = np.ones(len(rows), np.int64)
            matrix = sparse.csr_matrix((ones, (rows, columns)), (len(masks), strip * shape[1]))
            total += (matrix @ matrix.T).toarray()
    return total


def _strip(
    masks: Sequence[Mask], row: int, strip: int, shape: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Mask and pixel of every bit in a strip of rows."""
    owners, pixels = [], []
    for number, mask in enumerate(masks):
        low, high = max(row - mask.start[0], 0), row + strip - mask.start[0]
        if high > 0 and low < mask.size[0]:
            y, x = np.nonzero(mask.bits[low:high])
            pixels.append((y + low + mask.start[0] - row) * shape[1] + x + mask.start[1])
            owners.append(np.full(len(y), number))
    none = np.zeros(0, np.int64)
    return np.concatenate([none, *owners]), np.concatenate([none, *pixels])


def boxes_of(masks: Sequence[Mask]) -> NDArray[np.int64]:
    """Boxes (y0, x0, y1, x1) of masks."""
    rows = [(*one.start, *np.add(one.start, one.size)) for one in masks]
    return np.array(rows, np.int64).reshape(-1, 4)


def suppressed(masks: Sequence[Mask], limit: float, by_crop: bool = False) -> list[Mask]:
    """Masks of which no two boxes have an intersection over union above a limit: the best ones.

    Masks are looked at from the best on, and a mask is dropped where its box meets that of a kept
    one. The order is that of quality, of equal ones that of the first pixel, then of the list.

    Parameters
    ----------
    masks : sequence of Mask
        The masks.
    limit : float
        Intersection over union of boxes above which the later mask is dropped.
    by_crop : bool
        Whether masks of small crops come first instead, which see more.
    """
    boxes = boxes_of(masks)
    order = sorted(
        range(len(masks)),
        key=lambda n: (masks[n].crop if by_crop else 0, -masks[n].quality, masks[n].first, n),
    )
    kept: list[int] = []
    for number in order:
        if not kept or box_iou(boxes[number], boxes[kept]).max() <= limit:
            kept.append(number)
    return [masks[n] for n in sorted(kept)]


def distinct(crops: Iterable[Sequence[Mask]], limit: float) -> list[Mask]:
    """Masks of all crops without copies: within each crop, then between crops, the small ones first.

    Parameters
    ----------
    crops : iterable of sequence of Mask
        Masks of each crop of an image; a single one is the image itself.
    limit : float
        Intersection over union of boxes above which the later mask is dropped.
    """
    each = [suppressed(one, limit) for one in crops]
    found = [mask for one in each for mask in one]
    return suppressed(found, limit, by_crop=True) if len(each) > 1 else found


def box_iou(box: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union of a box with others.

    >>> box_iou(np.array([0, 0, 2, 2]), np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]])).tolist()
    [1.0, 0.3333333333333333, 0.0]
    """
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    return np.asarray(shared / (areas - shared))


def merged(masks: Iterable[Mask]) -> Mask:
    """Union of masks, whose area is that of the union; its quality is the best of them."""
    parts = list(masks)
    boxes = boxes_of(parts)
    (y, x), (bottom, right) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    bits = np.zeros((bottom - y, right - x), bool)
    for one in parts:
        rows, columns = one.box
        bits[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x] |= one.bits
    return boxed((int(y), int(x)), bits, max(one.quality for one in parts), parts[0].crop)


def each_image(masks: Iterable[Mask], shape: tuple[int, int]) -> Iterator[Bits]:
    """The masks as images, one at a time."""
    for one in masks:
        yield image_of(one, shape)
