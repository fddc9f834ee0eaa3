"""Two-dimensional image of grey values or colours: training data of a generator of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import InputError
from tim3d.sources.base import Voxels
from tim3d.sources.image import Image, enlarged, number, read_pixels, size_of, squares_of

COLOURS = ("red", "green", "blue")
# An image with at most this many different values is labelled.
FEW_VALUES = 8


@dataclass(frozen=True, eq=False)
class Picture(Image):
    """Image of grey values or colours: an `Image` with its values.

    Attributes
    ----------
    values : (channels, y, x) uint8
        0 to 255; one channel is grey, three are red, green and blue.
    """

    values: NDArray[np.uint8]

    @property
    def channels(self) -> NDArray[np.uint8]:
        """Values of all channels (channels, y, x)."""
        return self.values

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        _, rows, columns = self.values.shape
        return (rows, columns)


def read_picture(
    path: str | Path,
    pixel_size: float | Sequence[float] | None = None,
    scale: int = 1,
    *,
    grey_only: bool = False,
) -> Picture:
    """Read an image of grey values or colours, and downscale it if requested.

    A colour image whose channels are all equal is grey.

    Parameters
    ----------
    path : path
        TIFF, PNG or npy: (y, x), or (y, x, 3) of uint8.
    pixel_size : float or (dy, dx), optional
        Size of the file's pixels in nm; takes precedence over the metadata of a TIFF.
    scale : int
        Edge of the squares of pixels that are averaged into one (see `averaged`).
    grey_only : bool
        Whether to reject colour images.

    Raises
    ------
    ArgumentError
        If pixel size or scale are out of range.
    InputError
        If the file is missing or unreadable; contains values that are not whole numbers from 0 to
        255; has only one value, or so few that it must be labelled; or has a constant colour
        channel.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> np.save(f"{folder.name}/image.npy", np.arange(256, dtype=np.uint8).reshape(16, 16))
    >>> read_picture(f"{folder.name}/image.npy", pixel_size=5, scale=8).values.tolist()
    [[[60, 68], [188, 196]]]
    >>> folder.cleanup()
    """
    where, size = Path(path), size_of(pixel_size)
    found = read_pixels(where)
    if found.palette:
        raise InputError(
            f"{where} has a palette: its pixels are numbers of colours. Save it as 8-bit grey or RGB, or name what "
            "the numbers mean: --phases NAME=VALUE,..."
        )
    values = _channels(_whole_numbers(found.values, str(where)))
    if grey_only and len(values) > 1:
        raise InputError(
            f"{where} is in colour, and one field of grey values is compared with it. A volume in colour has three: "
            "save each channel as an image of its own and compare it with its field, for example --field raw_red"
        )
    _refuse_flat(values, str(where))
    _refuse_labels(values, str(where))
    if scale != 1:
        values = averaged(values, scale)
        _refuse_flat(values, f"{where} at scale {scale}")
    size = enlarged(size or found.pixel_nm, scale)
    return Picture(values, pixel_nm=size, sha256=found.sha256, path=str(path), scale=scale)


def averaged(values: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Downscale an image by means of squares of `scale`² pixels, with halves rounded up.

    Rows and columns at the end that do not fill a square are dropped.

    Parameters
    ----------
    values : (channels, y, x) uint8
        Grey values or colours.
    scale : int
        1 or more, at most the shorter edge.

    Returns
    -------
    (channels, y // scale, x // scale) uint8

    Raises
    ------
    ArgumentError
        If the scale is out of range.

    Examples
    --------
    >>> averaged(np.array([[[0, 1, 9], [0, 1, 9]]], np.uint8), 2)
    array([[[1]]], dtype=uint8)
    """
    rows, columns = squares_of(values.shape[1:], scale)
    squares = values[:, : rows * scale, : columns * scale].reshape(
        len(values), rows, scale, columns, scale
    )
    sums, pixels = squares.sum(axis=(2, 4), dtype=np.int64), scale**2
    return np.asarray((2 * sums + pixels) // (2 * pixels), np.uint8)


def _whole_numbers(values: Voxels, where: str) -> NDArray[np.uint8]:
    """Return the values as uint8, or raise unless they are whole numbers from 0 to 255."""
    if not values.size:
        raise InputError(f"{where} has no pixels, shape {values.shape}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = values.size - np.count_nonzero(np.isfinite(values))
        raise InputError(
            f"{where} holds {bad} values that are NaN or infinite; every pixel needs a grey value"
        )
    whole = values.astype(np.uint8) if values.min() >= 0 and values.max() <= 255 else None
    if whole is None or not np.array_equal(whole, values):
        raise InputError(
            f"{where} holds {values.dtype} values from {number(values.min())} to {number(values.max())}; grey values "
            "are whole numbers from 0 to 255. Choose what becomes black (a) and white (b), the same for every image, "
            "and save  numpy.rint(numpy.clip((grey - a) / (b - a), 0, 1) * 255).astype('uint8')"
        )
    return whole


def _channels(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Move the channels to the front, and keep one if all are equal."""
    if values.ndim == 2:
        return values[None]
    channels = np.ascontiguousarray(np.moveaxis(values, 2, 0))
    return channels[:1] if (channels == channels[:1]).all() else channels


def _refuse_flat(values: NDArray[np.uint8], where: str) -> None:
    names = ("grey",) if len(values) == 1 else COLOURS
    for name, channel in zip(names, values, strict=True):
        if channel.min() == channel.max():
            raise InputError(
                f"{where}: {name} is {channel.min()} everywhere; a generator cannot learn from a constant image. "
                "Give one whose values vary"
            )


def _refuse_labels(values: NDArray[np.uint8], where: str) -> None:
    seen = np.unique(values)
    if len(values) == 1 and len(seen) <= FEW_VALUES:
        raise InputError(
            f"{where} holds the values {', '.join(map(str, seen))} only: it is labelled. Name them: --phases "
            + ",".join(f"NAME={value}" for value in seen)
        )
