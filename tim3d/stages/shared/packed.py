"""Arrays in the JSON records of blocks: deflated, as a table may have thousands of numbers."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np


def pack(array: np.ndarray) -> dict[str, Any]:
    """Pack an array for JSON.

    >>> unpack(pack(np.array([[1, 2]], np.uint8))).tolist()
    [[1, 2]]
    """
    data = base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes(), 1)).decode()
    return {"dtype": str(array.dtype), "shape": list(array.shape), "deflated": data}


def unpack(packed: Mapping[str, Any]) -> np.ndarray:
    """The array that was packed."""
    data = zlib.decompress(base64.b64decode(packed["deflated"]))
    return np.frombuffer(data, packed["dtype"]).reshape(packed["shape"])
