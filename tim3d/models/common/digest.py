"""Digest of the arrays that a model learns from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def arrays_sha256(arrays: Iterable[NDArray[Any]], more: str = "") -> str:
    """SHA-256 of arrays with their types and shapes, and of what else decides what is learnt.

    >>> row = np.zeros(4, np.uint8)
    >>> arrays_sha256([row]) == arrays_sha256([row.reshape(2, 2)]), arrays_sha256([row])[:8]
    (False, 'ee46865c')
    """
    state = hashlib.sha256()
    for array in arrays:
        state.update(f"{array.dtype.str}{array.shape}".encode())
        state.update(np.ascontiguousarray(array).data)
    state.update(more.encode())
    return state.hexdigest()
