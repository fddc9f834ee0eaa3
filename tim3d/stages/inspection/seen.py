"""A stack read once: numbers of every slice, displacement to its neighbour, and its borders."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tim3d.engine import progress_bar
from tim3d.engine.clusters.memory import available_memory
from tim3d.kernels.image.shift import LARGEST_TILE, Tiles
from tim3d.kernels.image.slice_numbers import (
    SliceNumbers,
    constant_border,
    equal_rows,
    rms_difference,
    slice_numbers,
    subsample,
)
from tim3d.sources import Source

Image: TypeAlias = npt.NDArray[Any]
Floats: TypeAlias = npt.NDArray[np.float64]

SIDES = ("top", "bottom", "left", "right")
# Slices that are compared to find borders, spread over the stack.
REFERENCES = 5
# A stack with at most this many grey values is labelled.
FEW_VALUES = 8
# Images with shorter edges have no displacement that could be judged.
SMALLEST_FOR_SHIFT = 64
MOST_THREADS = 2
_RUN_SLICES, _RUN_BYTES, _SHARE_OF_MEMORY = 64, 2**29, 8
_NEIGHBOUR = ("difference", "correlation", "shift_y", "shift_x", "shift_error")


@dataclass(frozen=True, eq=False)
class Seen:
    """Numbers of a stack that was read.

    Attributes
    ----------
    numbers : mapping of name to (slice,)
        Fields of `SliceNumbers`; and of each slice against the one before it, NaN for the first:
        `difference` (root mean square), `correlation`, `shift_y`, `shift_x` and `shift_error` in
        pixels (see `tim3d.kernels.image.shift`).
    same_as : (slice,) of int
        Index of the first slice with the same pixels; its own if there is none.
    borders : mapping of side to int
        Rows or columns that are the same in all slices.
    border_shares : (float, float, float)
        Share of a slice that lies in these borders; shares of a slice that lie in them and have the
        lowest, and the highest, grey value of the stack.
    values : int
        Number of different grey values; `FEW_VALUES` + 1 stands for any larger number.
    """

    numbers: Mapping[str, Floats]
    same_as: npt.NDArray[np.int64]
    borders: Mapping[str, int]
    border_shares: tuple[float, float, float]
    values: int


@dataclass(frozen=True, eq=False)
class _Slice:
    """Numbers of a slice as a row of the table, and what is compared with other slices."""

    row: Mapping[str, float]
    digest: bytes
    values: frozenset[float]
    strips: tuple[Image, Image] | None


def look(source: Source, *, deep: bool = False, progress: bool = True) -> Seen:
    """Read every slice once, in order, and keep numbers only.

    Parameters
    ----------
    source : Source
        The stack.
    deep : bool
        Count every pixel, instead of a subsample of at most 512 rows and columns of each slice.
    progress : bool
        Show a progress bar on standard error.
    """
    n = source.shape[0]
    chosen = frozenset(np.unique(np.linspace(0, n - 1, REFERENCES).round().astype(int)).tolist())
    step = run_length(source)
    starts = range(0, n, step)
    work = partial(_run, source, step, chosen, deep)
    found: list[_Slice] = []
    with (
        ThreadPoolExecutor(threads(source)) as pool,
        progress_bar(total=n, desc="inspect", unit="slice", shown=progress) as bar,
    ):
        for slices in _in_order(pool, work, starts):
            found += slices
            bar.update(len(slices))
    names = (*(one.name for one in fields(SliceNumbers)), *_NEIGHBOUR)
    numbers = {name: np.array([one.row.get(name, np.nan) for one in found]) for name in names}
    strips = _filled([one.strips for one in found if one.strips is not None])
    borders = _borders(strips)
    ends = float(numbers["min"].min()), float(numbers["max"].max())
    return Seen(
        numbers,
        _same_as([one.digest for one in found]),
        borders,
        _border_shares(strips, borders, source.shape[2], ends),
        min(len(frozenset().union(*(one.values for one in found))), FEW_VALUES + 1),
    )


def run_length(source: Source) -> int:
    """Number of slices that are read at once: as many as `ingest` reads, if they are small."""
    most = min(_RUN_BYTES, available_memory() // _SHARE_OF_MEMORY)
    return max(1, min(_RUN_SLICES, source.shape[0], most // source.slice_bytes - 1))


def threads(source: Source) -> int:
    """Number of runs that are read at the same time."""
    runs = -(-source.shape[0] // run_length(source))
    return max(1, min(MOST_THREADS, runs, len(os.sched_getaffinity(0))))


def peak_bytes(source: Source, *, deep: bool = False) -> int:
    """Memory that looking at a stack takes: runs of slices, and one slice as floats."""
    per_run = (run_length(source) + 1) * source.slice_bytes + source.piece_bytes
    pixels = source.shape[1] * source.shape[2] if deep else 512**2
    working = 3 * 8 * pixels + 2 * 4 * (source.slice_bytes // 2 + 16 * LARGEST_TILE**2)
    strips = 2 * REFERENCES * 512 * max(source.shape[1:]) * source.dtype.itemsize
    return threads(source) * (per_run + working) + strips


def _in_order(pool: ThreadPoolExecutor, work: Any, starts: range) -> Iterator[list[_Slice]]:
    """Results of all runs in order; no more are in memory than there are threads."""
    waiting: list[Any] = []
    for start in starts:
        waiting.append(pool.submit(work, start))
        if len(waiting) >= MOST_THREADS:
            yield waiting.pop(0).result()
    for one in waiting:
        yield one.result()


def _run(source: Source, step: int, chosen: frozenset[int], deep: bool, start: int) -> list[_Slice]:
    """Numbers of a run of slices; the slice before it is read too."""
    stop, before = min(start + step, source.shape[0]), max(start - 1, 0)
    slices = source.read(before, stop)
    most = max(source.shape[1:]) if deep else 512
    samples = [subsample(one, most) for one in slices]
    rows = [slice_numbers(one) for one in samples]
    beside: list[dict[str, float]] = [{}] + [
        {"difference": rms_difference(a, b)} for a, b in pairwise(samples)
    ]
    if min(source.shape[1:]) >= SMALLEST_FOR_SHIFT:
        tiles = [Tiles.quarters(slices[0])]
        for i in range(1, len(slices)):
            tiles = [tiles[-1], Tiles.quarters(slices[i])]
            moved = tiles[0].shift_to(tiles[1])
            beside[i] |= {"correlation": moved.correlation, "shift_error": moved.error}
            beside[i] |= {"shift_y": moved.y, "shift_x": moved.x}
    return [
        _Slice(
            {**vars(rows[i]), **beside[i]},
            hashlib.blake2b(samples[i].tobytes(), digest_size=16).digest(),
            _some_values(samples[i]),
            _strips(slices[i]) if before + i in chosen else None,
        )
        for i in range(start - before, len(slices))
    ]


def _some_values(sample: Image) -> frozenset[float]:
    """Grey values of a part of a slice, or more than `FEW_VALUES` of them."""
    return frozenset(np.unique(subsample(sample, 64))[: FEW_VALUES + 1].tolist())


def _strips(image: Image) -> tuple[Image, Image]:
    """The slice with fewer columns, and with fewer rows, turned."""
    rows, columns = (-(-n // 512) for n in image.shape)
    return image[:, ::columns].copy(), image[::rows].T.copy()


def _same_as(digests: list[bytes]) -> npt.NDArray[np.int64]:
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(digest, z) for z, digest in enumerate(digests)], np.int64)


def _filled(strips: list[tuple[Image, Image]]) -> list[tuple[Image, Image]]:
    """Slices that have more than one value."""
    return [pair for pair in strips if pair[0].min() < pair[0].max()]


def _border_shares(
    strips: list[tuple[Image, Image]],
    borders: Mapping[str, int],
    columns: int,
    ends: tuple[float, float],
) -> tuple[float, float, float]:
    """Share of a slice in the borders, and of a slice that is in them at either end of the range."""
    if not any(borders.values()):
        return 0.0, 0.0, 0.0
    image = np.mean([[pair[0] == end for end in ends] for pair in strips], axis=0)
    rows = np.arange(image.shape[1])
    places = np.arange(image.shape[2]) * -(-columns // 512)
    down = (rows < borders["top"]) | (rows >= len(rows) - borders["bottom"])
    across = (places < borders["left"]) | (places >= columns - borders["right"])
    inside = down[:, None] | across[None, :]
    at_low, at_high = (float((one * inside).mean()) for one in image)
    return float(inside.mean()), at_low, at_high


def _borders(strips: list[tuple[Image, Image]]) -> dict[str, int]:
    """Rows of each side that are the same in all slices."""
    if len(strips) < 2:
        return dict.fromkeys(SIDES, 0)
    down, along = (equal_rows([pair[axis] for pair in strips]) for axis in (0, 1))
    found = (constant_border(equal) for equal in (down, down[::-1], along, along[::-1]))
    return dict(zip(SIDES, found, strict=True))
