"""Two-dimensional image of labelled phases: data for training, reference for a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError, InputError
from tim3d.phases import Phases
from tim3d.sources.base import Voxels
from tim3d.sources.image import Image, enlarged, number, read_pixels, size_of, squares_of

# Largest number of sweeps in which the offsets of several phases are fitted; two phases need one.
SWEEPS = 64
_SHOWN = 8


@dataclass(frozen=True, eq=False)
class Micrograph(Image):
    """Labelled image: an `Image` with its labels and their meaning.

    Attributes
    ----------
    labels : (y, x) uint8
        Code of the phase of every pixel.
    phases : Phases
        Names and codes of the phases, each of which occurs.
    """

    labels: NDArray[np.uint8]
    phases: Phases

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        rows, columns = self.labels.shape
        return (rows, columns)

    @property
    def channels(self) -> NDArray[np.uint8]:
        """Ranks of the phases, as one channel (1, y, x)."""
        return self.ranks[None]

    @property
    def ranks(self) -> NDArray[np.uint8]:
        """Rank of every pixel's phase: 0, 1, ... in the order of the codes."""
        return np.searchsorted(self.phases.codes, self.labels).astype(np.uint8)

    @property
    def fractions(self) -> dict[str, float]:
        """Area fraction of each phase, by its name."""
        return {name: float(np.mean(self.labels == code)) for name, code in self.phases.items()}


def read_micrograph(
    path: str | Path,
    phases: Mapping[str, int],
    pixel_size: float | Sequence[float] | None = None,
    scale: int = 1,
) -> Micrograph:
    """Read a labelled image, and downscale it if requested.

    Parameters
    ----------
    path : path
        TIFF, PNG or npy (y, x).
    phases : mapping of name to grey value
        Value of each phase in the image, 0 to 255. Every pixel must have one of these values.
    pixel_size : float or (dy, dx), optional
        Size of the file's pixels in nm; takes precedence over the metadata of a TIFF.
    scale : int
        Edge of the squares of pixels that are combined into one (see `downscaled`).

    Returns
    -------
    Micrograph
        Labels (y, x), uint8.

    Raises
    ------
    ArgumentError
        If pixel size or scale are out of range, or fewer than two phases are named.
    InputError
        If the file is missing, unreadable, in colour, has several pages or values that are not
        finite; or has values without a phase, or a phase without pixels.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> np.save(f"{folder.name}/image.npy", np.array([[0, 255], [255, 255]], np.uint8))
    >>> read_micrograph(f"{folder.name}/image.npy", {"pore": 0, "solid": 255}, pixel_size=5).fractions
    {'pore': 0.25, 'solid': 0.75}
    >>> folder.cleanup()
    """
    where, names = Path(path), Phases(**dict(phases))
    size = size_of(pixel_size)
    if len(names) < 2:
        raise ArgumentError(
            f"a micrograph has two phases or more, and {names} names one; write pore=0,solid=255"
        )
    found = read_pixels(where)
    if found.values.ndim == 3:
        raise InputError(
            f"{where} has 3 channels (red, green, blue), and phases are values of one grey channel. Leave out --phases "
            "to use its colours, or label it first"
        )
    labels = _labelled(found.values, names, str(where))
    if scale != 1:
        labels = downscaled(labels, names.codes, scale)
        _refuse_lost(labels, names, str(where), scale)
    size = enlarged(size or found.pixel_nm, scale)
    return Micrograph(
        labels, names, pixel_nm=size, sha256=found.sha256, path=str(path), scale=scale
    )


def downscaled(labels: NDArray[np.uint8], codes: Sequence[int], scale: int) -> NDArray[np.uint8]:
    """Downscale a labelled image by area averaging, so that the fraction of every phase is kept.

    Each square of `scale`² pixels becomes one pixel. It gets the phase whose area fraction in the
    square plus an offset is largest; the offsets are chosen so that the phases cover the same area
    as before. For two phases this is a threshold at a quantile. Ties are decided by the fractions
    in the eight squares around. Rows and columns at the end that do not fill a square are dropped.

    Parameters
    ----------
    labels : (y, x) uint8
        Code of the phase of every pixel.
    codes : sequence of int
        Codes of the phases.
    scale : int
        1 or more, at most the shorter edge.

    Returns
    -------
    (y // scale, x // scale) uint8
        Codes.

    Raises
    ------
    ArgumentError
        If the scale is out of range.

    Examples
    --------
    >>> downscaled(np.array([[0, 0, 1, 1], [0, 1, 1, 1]], np.uint8), (0, 1), 2)
    array([[0, 1]], dtype=uint8)
    """
    rows, columns = squares_of(labels.shape, scale)
    squares = labels[: rows * scale, : columns * scale].reshape(rows, scale, columns, scale)
    counts = np.stack([(squares == code).sum(axis=(1, 3)) for code in codes]).astype(np.float64)
    # The neighbours shift two phases against each other by at most half a pixel: they decide ties
    # only.
    shares = counts + _around(counts) / (4 * 9 * scale**2)
    wanted = np.array([np.mean(labels == code) for code in codes])
    offsets = _offsets(shares.reshape(len(codes), -1), wanted)
    places = np.argmax(shares + offsets[:, None, None], axis=0)
    small: NDArray[np.uint8] = np.asarray(codes, np.uint8)[places]
    return small


def _around(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over 3 x 3 squares; squares at the border are repeated outside."""
    rows, columns = counts.shape[1:]
    wide = np.pad(counts, ((0, 0), (1, 1), (1, 1)), mode="edge")
    return np.asarray(
        sum(wide[:, y : y + rows, x : x + columns] for y in range(3) for x in range(3)), np.float64
    )


def _offsets(shares: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Offsets at which each phase, except for ties, is largest in its wanted share of the pixels.

    The first offset is 0.
    """
    offsets = np.zeros(len(wanted))
    for _ in range(SWEEPS):
        before = offsets.copy()
        for phase in range(1, len(wanted)):
            rivals = np.delete(shares + offsets[:, None], phase, axis=0).max(axis=0)
            offsets[phase] = _cut(rivals - shares[phase], wanted[phase])
        if np.array_equal(before, offsets):
            break
    return offsets


def _cut(margins: NDArray[np.float64], share: float) -> float:
    """Value between two margins with a fraction of them, as nearly as possible, below it."""
    values, counts = np.unique(margins, return_counts=True)
    below = np.concatenate([[0], np.cumsum(counts)]) / margins.size
    place = int(np.argmin(np.abs(below - share)))
    edges = np.concatenate([[values[0] - 1.0], (values[:-1] + values[1:]) / 2, [values[-1] + 1.0]])
    return float(edges[place])


def _labelled(grey: Voxels, phases: Phases, where: str) -> NDArray[np.uint8]:
    """Return the image as codes, or raise if a value has no phase or a phase no pixels."""
    if grey.dtype.kind == "f" and not np.isfinite(grey).all():
        bad = grey.size - np.count_nonzero(np.isfinite(grey))
        raise InputError(
            f"{where} holds {bad} values that are NaN or infinite; every pixel needs the value of a phase"
        )
    seen, counts = np.unique(grey, return_counts=True)
    if not grey.size or len(seen) < 2:
        raise InputError(
            f"{where} has {grey.shape} pixels, all {_listing(seen)}: one phase has no structure"
        )
    unknown, absent = set(seen.tolist()) - set(phases.codes), set(phases.codes) - set(seen.tolist())
    if unknown or absent:
        shares = [
            f"{number(v)} ({100 * n / grey.size:.3g} %)" for v, n in zip(seen, counts, strict=True)
        ]
        shown = ", ".join(shares[:_SHOWN]) + (
            f" and {len(shares) - _SHOWN} more" if len(shares) > _SHOWN else ""
        )
        cure = (
            "Label a grey image first (tim3d segment), or leave out --phases to use its grey values"
            if len(seen) > _SHOWN
            else "Name each: --phases NAME=VALUE,..."
        )
        raise InputError(f"{where} holds the values {shown}; the phases are {phases}. {cure}")
    return grey.astype(np.uint8)


def _refuse_lost(labels: NDArray[np.uint8], phases: Phases, where: str, scale: int) -> None:
    lost = [name for name, code in phases.items() if not (labels == code).any()]
    if lost:
        raise InputError(f"{where} has no {lost[0]!r} left at scale {scale}; use a smaller one")


def _listing(seen: Voxels) -> str:
    return ", ".join(map(number, seen)) or "missing"
