"""Grey values or labels as the bytes of a TIFF that napari, Fiji and ilastik open."""

from __future__ import annotations

import io
from typing import Any

import tifffile
from numpy.typing import NDArray


def image_tiff(values: NDArray[Any], pixel_nm: tuple[float, float]) -> bytes:
    """Image (y, x) of uint8, uint16 or float32, with its pixel size."""
    out = io.BytesIO()
    per_micrometre = (1000 / pixel_nm[1], 1000 / pixel_nm[0])
    about = {"unit": "um", "axes": "YX"}
    tifffile.imwrite(out, values, imagej=True, resolution=per_micrometre, metadata=about)
    return out.getvalue()
