"""Corrected grey values back in the type of the field: rounded, clipped, and counted."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Grey: TypeAlias = npt.NDArray[np.integer | np.floating]
Floats: TypeAlias = npt.NDArray[np.float32]


def rounded(values: Floats, dtype: npt.DTypeLike) -> Grey:
    """Values in an integer type, rounded to nearest (halves to even) and clipped; floats as they are.

    >>> rounded(np.array([-3.0, 1.5, 2.5, 300.0], np.float32), np.uint8).tolist()
    [0, 2, 2, 255]
    """
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return values.astype(kind)
    limits = np.iinfo(str(kind))
    return np.asarray(np.rint(values).clip(limits.min, limits.max).astype(kind))


def clipped(values: Floats, dtype: npt.DTypeLike) -> tuple[int, int]:
    """Voxels that `rounded` clips at the lowest and at the highest value of an integer type.

    >>> clipped(np.array([-3.0, -0.5, 2.5, 300.0], np.float32), np.uint8)
    (1, 1)
    """
    if np.dtype(dtype).kind == "f":
        return 0, 0
    limits = np.iinfo(str(np.dtype(dtype)))
    low, high = values < limits.min - 0.5, values > limits.max + 0.5
    return int(np.count_nonzero(low)), int(np.count_nonzero(high))
