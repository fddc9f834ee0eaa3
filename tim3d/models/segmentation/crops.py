"""Labelled slices, and random crops of them to train on: cut, normalised and augmented."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tim3d.errors import InputError
from tim3d.kernels.windows.lattice import Array, reflect
from tim3d.models.common.digest import arrays_sha256
from tim3d.models.segmentation.checkpoint import Normalisation
from tim3d.models.segmentation.sem_augmentation import UNKNOWN, Pixels, apply, changes_of
from tim3d.models.segmentation.unet import UNetSpec

UNLABELLED = 255
Crops = Literal["random", "balanced"]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Random changes of a training crop.

    Grey values are normalised: 1 is one standard deviation of the volume.

    Parameters
    ----------
    flips, rotations : bool
        Mirror along y and x; rotate by multiples of 90 degrees (only valid for square pixels).
    brightness : float
        Standard deviation of a value that is added to the crop.
    contrast : float
        Standard deviation of the logarithm of a factor.
    noise : float
        Largest standard deviation of white noise; each crop draws its own between 0 and this.
    more : tuple of str
        Words of further changes, see `tim3d.models.segmentation.sem_augmentation`.

    Raises
    ------
    ArgumentError
        If a word cannot be read.
    """

    flips: bool = True
    rotations: bool = True
    brightness: float = 0.2
    contrast: float = 0.1
    noise: float = 0.2
    more: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        changes_of(self.more)


@dataclass(frozen=True, slots=True)
class Slices:
    """Labelled slices with their neighbours and normalisation.

    Parameters
    ----------
    images : array (n, channels, y, x)
        Grey values; the channels of a slice are its neighbours in z, itself in the middle.
    labels : array (n, y, x), uint8
        Index of the class; 255 is unlabelled.
    mean, std : array (n, channels)
        Of every channel of every image, in grey levels.
    held_out : int
        Number of slices, the last ones, that judge and are not learnt from; 0 leaves it to a share.
    """

    images: Array
    labels: Array
    mean: Array
    std: Array
    held_out: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, rows: slice | Sequence[int]) -> Slices:
        """Select slices by index."""
        return Slices(self.images[rows], self.labels[rows], self.mean[rows], self.std[rows])

    def cut(self, number: int, ys: Array, xs: Array) -> tuple[Array, Array]:
        """Normalised crop, float32 (channels, y, x), and its labels, mirrored beyond the border."""
        y, x = (
            reflect(i, n)[:, None] for i, n in zip((ys, xs), self.labels.shape[1:], strict=True)
        )
        grey = self.images[number][:, y, x.T].astype(np.float32)
        normal = (grey - self.mean[number][:, None, None]) / self.std[number][:, None, None]
        return normal, self.labels[number][y, x.T]

    def sha256(self) -> str:
        """Hash of all data of the training."""
        named = f"held out {self.held_out}" if self.held_out else ""
        return arrays_sha256((self.images, self.labels, self.mean, self.std), named)


def together(parts: Sequence[Slices], held_out: int = 0) -> Slices:
    """Join slices of any sizes and types in one array, the last ones to judge.

    Smaller ones are mirrored at their ends, without a label there.

    Examples
    --------
    >>> one, two = (
    ...     Slices(np.zeros((1, 1, n, 4), t), np.zeros((1, n, 4), np.uint8), *np.ones((2, 1, 1), np.float32))
    ...     for n, t in ((3, np.uint8), (5, np.uint16))
    ... )
    >>> both = together([one, two], held_out=1)
    >>> both.images.shape, both.images.dtype.name, both.labels[0, :, 0].tolist(), both.held_out
    ((2, 1, 5, 4), 'uint16', [0, 0, 0, 255, 255], 1)
    """
    if len(parts) == 1:
        return replace(parts[0], held_out=held_out)
    y, x = np.max([one.labels.shape[1:] for one in parts], axis=0).tolist()
    deepest = np.result_type(*[one.images.dtype for one in parts])
    count = sum(map(len, parts))
    images = np.empty((count, parts[0].images.shape[1], y, x), deepest)
    labels = np.empty((count, y, x), np.uint8)
    stop = 0
    for one in parts:  # a part at a time: a list of all would be a third copy
        start, stop = stop, stop + len(one)
        images[start:stop], labels[start:stop] = _framed(one, (y, x))
    return Slices(
        images,
        labels,
        np.concatenate([one.mean for one in parts]),
        np.concatenate([one.std for one in parts]),
        held_out,
    )


def _framed(slices: Slices, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Images mirrored to a shape, and their labels, which end where they did."""
    own = slices.labels.shape[1:]
    if own == shape:
        return slices.images, slices.labels
    y, x = (reflect(np.arange(n), m) for n, m in zip(shape, own, strict=True))
    labels = np.full((len(slices), *shape), UNLABELLED, np.uint8)
    labels[:, : own[0], : own[1]] = slices.labels
    return slices.images[:, :, y[:, None], x], labels


def prepare(
    images: Array,
    labels: Array,
    spec: UNetSpec,
    normalisation: Normalisation | None = None,
    numbers: Sequence[int] | None = None,
) -> tuple[Slices, Normalisation]:
    """Check training data, add the neighbours of slices of a stack, and find the normalisation.

    Parameters
    ----------
    images : array (n, y, x) or (n, channels, y, x)
        Grey values. For a stack of consecutive slices the neighbours are taken from the stack,
        mirrored at its ends.
    labels : array (n, y, x)
        Class index, or 255 where unlabelled.
    spec : UNetSpec
        The network.
    normalisation : Normalisation, optional
        Default: mean and standard deviation of these images.
    numbers : sequence of int, optional
        Slice of the volume of each image; needed with a table.

    Raises
    ------
    InputError
        If shapes, labels or the table do not match.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim == 3:
        images = images[_neighbours(np.arange(len(images)), spec.context, len(images))]
    _check(images, labels, spec)
    found = normalisation or _own(images)
    mean, std = _scales(found, len(labels), spec.context, numbers)
    return Slices(images, labels.astype(np.uint8), mean, std), found


def _neighbours(numbers: Array, context: int, length: int) -> Array:
    return reflect(np.asarray(numbers)[:, None] + np.arange(-context, context + 1), length)


def _check(images: Array, labels: Array, spec: UNetSpec) -> None:
    expected = (len(labels), spec.in_channels, *labels.shape[1:])
    if labels.ndim != 3 or images.shape != expected:
        raise InputError(
            f"images have shape {images.shape} and labels {labels.shape}; expected {spec.in_channels} channels "
            "of each labelled slice"
        )
    wrong = [
        int(v) for v in np.unique(labels) if v != UNLABELLED and not 0 <= v < len(spec.classes)
    ]
    if wrong:
        raise InputError(
            f"labels hold {wrong[0]}; the {len(spec.classes)} classes are 0 to {len(spec.classes) - 1}"
        )
    if not np.isfinite(images.sum(dtype=np.float64)):
        raise InputError("images contain values that are not numbers; ingest them again")


def _own(images: Array) -> Normalisation:
    middle = images[:, images.shape[1] // 2]
    mean, std = float(middle.mean(dtype=np.float64)), float(middle.std(dtype=np.float64))
    if std == 0:
        raise InputError(
            f"all images have the grey value {mean:g}; nothing can be learned from them"
        )
    return Normalisation("volume", (mean,), (std,))


def _scales(
    normalisation: Normalisation, count: int, context: int, numbers: Sequence[int] | None
) -> tuple[Array, Array]:
    if normalisation.how == "table" and (numbers is None or len(numbers) != count):
        raise InputError(
            "a table of slices needs the number in the volume of every image: numbers=..."
        )
    known = np.arange(count) if numbers is None else np.asarray(numbers)
    length = len(normalisation.mean) if normalisation.how == "table" else int(known.max()) + 1
    pairs = [normalisation.of_slices(row.tolist()) for row in _neighbours(known, context, length)]
    mean, std = (np.array([pair[i] for pair in pairs], np.float32) for i in (0, 1))
    return mean, std


def check_classes(labels: Sequence[Array], names: Sequence[str]) -> None:
    """Refuse labels of one class only, from which nothing can be learnt.

    Raises
    ------
    InputError
        With the class that they hold.
    """
    counts = np.sum([np.bincount(one.ravel(), minlength=256) for one in labels], axis=0)[
        : len(names)
    ]
    held = [name for name, count in zip(names, counts, strict=True) if count]
    if len(held) == 1:
        raise InputError(
            f"the {sum(map(len, labels))} training slices have labels of one class only, {held[0]}; a network learns "
            f"from two or more of {', '.join(names)}. Label more, or choose other slices"
        )


def last_of(count: int, fraction: float) -> int:
    """How many of some slices judge if none are named: a share, at least one, never all.

    >>> last_of(10, 0.2), last_of(2, 0.01), last_of(2, 0.99)
    (2, 1, 1)
    """
    return min(count - 1, max(1, round(fraction * count)))


def split(slices: Slices, fraction: float) -> tuple[Slices, Slices]:
    """Split off the last slices for validation: those named, or a share.

    They are consecutive, because neighbours in z are nearly the same image.

    Raises
    ------
    InputError
        If there is one slice, or one of the two has no labels.
    """
    if len(slices) < 2:
        raise InputError(
            f"{len(slices)} labelled slices; training needs 2 or more, one of them for validation"
        )
    held_out = slices.held_out or last_of(len(slices), fraction)
    first = len(slices) - held_out
    parts = slices.part(slice(0, first)), slices.part(slice(first, None))
    for part, name in zip(parts, ("training", "validation"), strict=True):
        if not (part.labels != UNLABELLED).any():
            raise InputError(
                f"the {len(part)} {name} slices have no label; label more slices, or change the fraction"
            )
    return parts


def crop_edge(slices: Slices, wanted: int, total_stride: int) -> int:
    """Edge of a square crop in pixels: at most `wanted`, a multiple of the stride.

    Raises
    ------
    InputError
        If the slices are smaller than the crop.
    """
    return crop_in(slices.labels.shape[1:], wanted, total_stride)


def crop_in(plane: Sequence[int], wanted: int, total_stride: int) -> int:
    """Edge of a square crop of a plane (y, x), see `crop_edge`."""
    y, x = plane
    if wanted > min(y, x):
        fits = min(y, x) // total_stride * total_stride
        raise InputError(
            f"slices of {y} x {x} pixels are smaller than the crop of {wanted}; use "
            + (
                f"--crop {fits}"
                if fits
                else f"a smaller depth: {total_stride} pixels are one of the deepest layer"
            )
        )
    return max(wanted // total_stride * total_stride, 2 * total_stride)


def random_batches(
    slices: Slices,
    edge: int,
    size: int,
    count: int,
    change: Augmentation,
    rng: np.random.Generator,
    *,
    crops: Crops = "random",
    pixel_nm: Pixels = UNKNOWN,
) -> Iterator[tuple[Array, Array]]:
    """Yield batches of random crops.

    A batch is float32 (size, channels, edge, edge) and int64 labels (size, edge, edge). Balanced
    crops hold a pixel of a class that is drawn among those present, each alike.
    """
    cut = _random_crop if crops == "random" else _Balanced(slices).crop
    for _ in range(count):
        pairs = [augment(*cut(slices, edge, rng), change, rng, pixel_nm) for _ in range(size)]
        images, labels = zip(*pairs, strict=True)
        yield np.stack(images), np.stack(labels).astype(np.int64)


def _random_crop(slices: Slices, edge: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Random crop of a slice; a crop without labels is replaced by one with a labelled pixel."""
    number = int(rng.integers(len(slices)))
    room = [max(n - edge, 0) for n in slices.labels.shape[1:]]
    image, labels = _cut_square(slices, number, edge, [int(rng.integers(r + 1)) for r in room])
    if (labels != UNLABELLED).any():
        return image, labels
    number = int(rng.choice(np.flatnonzero((slices.labels != UNLABELLED).any(axis=(1, 2)))))
    return _crop_around(slices, number, slices.labels[number] != UNLABELLED, edge, rng)


def _crop_around(
    slices: Slices, number: int, chosen: Array, edge: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Crop of a slice that holds one of the chosen pixels anywhere."""
    room = [max(n - edge, 0) for n in slices.labels.shape[1:]]
    pixel = rng.choice(np.argwhere(chosen))
    starts = [
        min(max(int(p) - int(rng.integers(edge)), 0), r) for p, r in zip(pixel, room, strict=True)
    ]
    return _cut_square(slices, number, edge, starts)


class _Balanced:
    """Crops around a pixel of a class, every class being drawn alike, and every pixel of it."""

    def __init__(self, slices: Slices) -> None:
        counts = [np.bincount(labels.ravel(), minlength=256) for labels in slices.labels]
        self._counts = np.stack(counts)[:, :UNLABELLED]
        self._present = np.flatnonzero(self._counts.sum(axis=0))

    def crop(self, slices: Slices, edge: int, rng: np.random.Generator) -> tuple[Array, Array]:
        label = rng.choice(self._present)
        shares = self._counts[:, label] / self._counts[:, label].sum()
        number = int(rng.choice(len(shares), p=shares))
        return _crop_around(slices, number, slices.labels[number] == label, edge, rng)


def _cut_square(
    slices: Slices, number: int, edge: int, starts: Sequence[int]
) -> tuple[Array, Array]:
    ys, xs = (np.arange(start, start + edge) for start in starts)
    return slices.cut(number, ys, xs)


def augment(
    image: Array,
    labels: Array,
    change: Augmentation,
    rng: np.random.Generator,
    pixel_nm: Pixels = UNKNOWN,
) -> tuple[Array, Array]:
    """Return a crop (channels, y, x) and its labels (y, x), changed at random in the same way."""
    if change.flips:
        for axis in (-2, -1):
            if rng.random() < 0.5:
                image, labels = np.flip(image, axis), np.flip(labels, axis)
    if change.rotations:
        turns = int(rng.integers(4))
        image, labels = np.rot90(image, turns, (-2, -1)), np.rot90(labels, turns, (-2, -1))
    image, labels = apply(changes_of(change.more), image, labels, pixel_nm, rng)
    factor, shift = (
        np.exp(change.contrast * rng.standard_normal()),
        change.brightness * rng.standard_normal(),
    )
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(
        change.noise * rng.random()
    )
    return image * np.float32(factor) + np.float32(shift) + noise, labels
