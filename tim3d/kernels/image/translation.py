"""Images moved by a fraction of a pixel: four neighbours along each axis, in one fixed order."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Image: TypeAlias = npt.NDArray[Any]
Interpolation: TypeAlias = Literal["whole", "linear", "cubic"]


def weights_of(fraction: float, how: Interpolation) -> tuple[float, float, float, float]:
    """Weights of the neighbours at -1, 0, 1 and 2 of a place between 0 and 1.

    Cubic: Keys' convolution with a = -1/2, exact for parabolas. The sum of the squares is the share
    of the variance of white noise that is left: at half a pixel 0.5 (linear) and 0.64 (cubic) along
    an axis, 0.25 and 0.41 along both.

    References
    ----------
    Keys, IEEE Trans. Acoust. Speech Signal Process. 29 (1981) 1153,
    https://doi.org/10.1109/TASSP.1981.1163711

    Examples
    --------
    >>> weights_of(0.5, "cubic"), weights_of(0.25, "linear"), weights_of(0.6, "whole")
    ((-0.0625, 0.5625, 0.5625, -0.0625), (0.0, 0.75, 0.25, 0.0), (0.0, 0.0, 1.0, 0.0))
    """
    if how == "whole":
        return (0.0, 0.0, 1.0, 0.0) if fraction >= 0.5 else (0.0, 1.0, 0.0, 0.0)
    if how == "linear":
        return (0.0, 1.0 - fraction, fraction, 0.0)
    t = fraction
    return (
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )


def moved(
    image: Image, y: float, x: float, rows: range, columns: range, how: Interpolation = "cubic"
) -> Image:
    """Image at the places (row + y, column + x); beyond its edge its outermost pixels repeat.

    Whole displacements return the pixels themselves.

    Parameters
    ----------
    image : (y, x)
        The image.
    y, x : float
        Displacement of the content, in pixels, that is taken back.
    rows, columns : range
        Pixels of the result.
    how : {"whole", "linear", "cubic"}
        Interpolation; "whole" rounds the displacement.

    Returns
    -------
    float32 array, or the type of the image if both displacements are whole

    Examples
    --------
    >>> moved(np.arange(12).reshape(3, 4), 1.0, 0.0, range(0, 3), range(0, 2)).tolist()
    [[4, 5], [8, 9], [8, 9]]
    >>> moved(np.arange(8.0).reshape(1, 8), 0.0, 0.5, range(1), range(2, 5)).tolist()
    [[2.5, 3.5, 4.5]]
    """
    along_y = _along(image, 0, y, rows, how)
    return _along(along_y, 1, x, columns, how)


def _along(image: Image, axis: int, by: float, wanted: range, how: Interpolation) -> Image:
    whole = math.floor(by)
    weights = weights_of(by - whole, how)
    used = [(k - 1, w) for k, w in enumerate(weights) if w]
    parts = [_rows(image, axis, wanted, whole + offset) for offset, _ in used]
    if len(used) == 1:
        return parts[0]
    total = np.float32(used[0][1]) * parts[0].astype(np.float32)
    for part, (_, weight) in zip(parts[1:], used[1:], strict=True):
        total += np.float32(weight) * part.astype(np.float32)
    return np.asarray(total)


def _rows(image: Image, axis: int, wanted: range, offset: int) -> Image:
    places = np.arange(wanted.start, wanted.stop) + offset
    return np.take(image, places.clip(0, image.shape[axis] - 1), axis=axis)
