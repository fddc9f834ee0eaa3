"""Labelled stack of slices, and random boxes of it to train a three-dimensional network on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tim3d.errors import InputError
from tim3d.grid import Triple, triple
from tim3d.kernels.windows.lattice import Array, reflect
from tim3d.models.common.digest import arrays_sha256
from tim3d.models.segmentation.checkpoint import Normalisation
from tim3d.models.segmentation.crops import UNLABELLED, Augmentation, augment, last_of


@dataclass(frozen=True, slots=True)
class Stack:
    """Consecutive slices, some of them labelled, and their normalisation.

    Parameters
    ----------
    images : array (z, y, x)
        Grey values.
    labels : array (z, y, x), uint8
        Index of the class; 255 is unlabelled.
    mean, std : array (z,)
        Of every slice, in grey levels.
    """

    images: Array
    labels: Array
    mean: Array
    std: Array

    def __len__(self) -> int:
        return len(self.labelled)

    @property
    def labelled(self) -> Array:
        """Numbers of the slices that have labels."""
        found: Array = np.flatnonzero((self.labels != UNLABELLED).any(axis=(1, 2)))
        return found

    def part(self, rows: slice) -> Stack:
        """Select consecutive slices."""
        return Stack(self.images[rows], self.labels[rows], self.mean[rows], self.std[rows])

    def cut(self, start: Sequence[int], edges: Triple) -> tuple[Array, Array]:
        """Normalised box, float32 (z, y, x), and its labels, mirrored beyond the border."""
        z, y, x = (
            reflect(np.arange(a, a + n), length)
            for a, n, length in zip(start, edges, self.labels.shape, strict=True)
        )
        place = np.ix_(z, y, x)
        grey = self.images[place].astype(np.float32)
        normal = (grey - self.mean[z][:, None, None]) / self.std[z][:, None, None]
        return normal, self.labels[place]

    def tiles(self, edges: Triple) -> list[Triple]:
        """First voxels of the boxes, side by side, that hold labels."""
        steps = (range(0, n, e) for n, e in zip(self.labels.shape, edges, strict=True))
        zs, ys, xs = steps
        every = [(z, y, x) for z in zs for y in ys for x in xs]
        ends = [tuple(slice(a, a + e) for a, e in zip(one, edges, strict=True)) for one in every]
        return [
            one
            for one, box in zip(every, ends, strict=True)
            if (self.labels[box] != UNLABELLED).any()
        ]

    def cut_tile(self, start: Triple, edges: Triple) -> tuple[Array, Array]:
        """Box of `tiles`; what is mirrored beyond the border has no label."""
        image, labels = self.cut(start, edges)
        inside = tuple(slice(0, n - a) for a, n in zip(start, self.labels.shape, strict=True))
        seen = np.full_like(labels, UNLABELLED)
        seen[inside] = labels[inside]
        return image, seen

    @property
    def arrays(self) -> tuple[Array, ...]:
        """All that is learnt from."""
        return self.images, self.labels, self.mean, self.std

    def sha256(self) -> str:
        """Hash of all data of the training."""
        return arrays_sha256(self.arrays)


@dataclass(frozen=True, slots=True)
class Stacks:
    """Stacks to learn from, and others that judge.

    Parameters
    ----------
    learnt, judging : tuple of Stack
        One or more of each.
    """

    learnt: tuple[Stack, ...]
    judging: tuple[Stack, ...]

    def sha256(self) -> str:
        """Hash of all data of the training."""
        every = (array for one in (*self.learnt, *self.judging) for array in one.arrays)
        return arrays_sha256(every, f"held out {len(self.judging)}")


def prepare_stack(
    images: Array, labels: Array, classes: int, normalisation: Normalisation, first: int = 0
) -> Stack:
    """Check the data of a training in three dimensions.

    Parameters
    ----------
    images : array (z, y, x)
        Grey values of consecutive slices.
    labels : array (z, y, x)
        Class index, or 255 where unlabelled.
    classes : int
        Number of classes.
    normalisation : Normalisation
        Mean and deviation of the volume, or of each of its slices.
    first : int
        Number of the first slice in the volume.

    Raises
    ------
    InputError
        If shapes or labels do not match.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim != 3 or images.shape != labels.shape:
        raise InputError(
            f"images have shape {images.shape} and labels {labels.shape}; expected the same stack (z, y, x)"
        )
    wrong = [int(v) for v in np.unique(labels) if v != UNLABELLED and not 0 <= v < classes]
    if wrong:
        raise InputError(f"labels hold {wrong[0]}; the {classes} classes are 0 to {classes - 1}")
    if not np.isfinite(images.sum(dtype=np.float64)):
        raise InputError("images contain values that are not numbers; ingest them again")
    scales = normalisation.of_slices(range(first, first + len(images)))
    mean, std = (np.array(one, np.float32) for one in scales)
    return Stack(images, labels.astype(np.uint8), mean, std)


def split_stack(stack: Stack, fraction: float) -> Stacks:
    """Split off the slices from the first held-out labelled one on, for validation.

    Raises
    ------
    InputError
        If fewer than two slices have labels.
    """
    labelled = stack.labelled
    if len(labelled) < 2:
        raise InputError(
            f"{len(labelled)} labelled slices; training needs 2 or more, one of them for validation"
        )
    first = int(labelled[len(labelled) - last_of(len(labelled), fraction)])
    return Stacks((stack.part(slice(0, first)),), (stack.part(slice(first, None)),))


def box_edges(shape: Triple, wanted: int, strides: Triple, *, square: bool) -> Triple:
    """Edges of a box: `wanted` voxels of the shortest edge, multiples of the stride.

    Parameters
    ----------
    shape : (z, y, x)
        Slices to cut it from; it is no longer than they are, but for one stride.
    wanted : int
        Voxels along the axes of the shortest edge.
    strides : (z, y, x)
        Total stride of the network.
    square : bool
        Whether y and x must be alike, as for turns by quarters.

    Examples
    --------
    >>> box_edges((40, 100, 60), 48, (4, 8, 8), square=True)
    (24, 48, 48)
    """
    most = max(strides)
    caps = [max(n // s, 1) for n, s in zip(shape, strides, strict=True)]
    if square:
        caps[1] = caps[2] = min(caps[1:])
    counts = (min(max(1, wanted // most), cap) for cap in caps)
    # At least two strides in the slice: the deepest level then has more than one voxel.
    least = (1, 2, 2)
    return triple(s * max(n, m) for n, s, m in zip(counts, strides, least, strict=True))


def random_boxes(
    stacks: Sequence[Stack],
    edges: Triple,
    size: int,
    count: int,
    change: Augmentation,
    rng: np.random.Generator,
) -> Iterator[tuple[Array, Array]]:
    """Yield batches of random boxes: float32 (size, 1, z, y, x) and int64 labels (size, z, y, x).

    They are changed as crops of slices are, and never mirrored along z: what is seen through a pore
    lies behind it. Of several stacks each is drawn as often as it has labelled slices.
    """
    every = [(stack, stack.labelled) for stack in stacks]
    counts = np.array([len(labelled) for _, labelled in every])

    def box() -> tuple[Array, Array]:
        place = int(rng.choice(len(every), p=counts / counts.sum())) if len(every) > 1 else 0
        return augment(*_random_box(*every[place], edges, rng), change, rng)

    for _ in range(count):
        images, labels = zip(*(box() for _ in range(size)), strict=True)
        yield np.stack(images)[:, None], np.stack(labels).astype(np.int64)


def _random_box(
    stack: Stack, labelled: Array, edges: Triple, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Random box; one without labels is replaced by one around a labelled voxel."""
    room = [max(n - e, 0) for n, e in zip(stack.labels.shape, edges, strict=True)]
    image, labels = stack.cut([int(rng.integers(r + 1)) for r in room], edges)
    if (labels != UNLABELLED).any():
        return image, labels
    z = int(rng.choice(labelled))
    voxel = (z, *rng.choice(np.argwhere(stack.labels[z] != UNLABELLED)))
    starts = [
        min(max(int(p) - int(rng.integers(e)), 0), r)
        for p, e, r in zip(voxel, edges, room, strict=True)
    ]
    return stack.cut(starts, edges)


def thinned(stacks: Sequence[Stack], edges: Triple, count: int) -> list[tuple[Array, Array]]:
    """At most `count` of the boxes that have labels, evenly spaced."""
    tiles = [(stack, start) for stack in stacks for start in stack.tiles(edges)]
    places = np.linspace(0, len(tiles) - 1, min(count, len(tiles))).round().astype(int)
    return [tiles[place][0].cut_tile(tiles[place][1], edges) for place in places]
