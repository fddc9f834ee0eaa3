"""Masks of the crops of an image as bytes, so that they are drawn once and looked at often."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence

import numpy as np

from tim3d.kernels.masks.mask_set import Mask

SHA_BYTES = hashlib.sha256().digest_size


def packed_masks(crops: Sequence[Sequence[Mask]]) -> bytes:
    """Masks of each crop, as a SHA-256 and an archive of arrays that has it."""
    every = [one for masks in crops for one in masks]
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        counts=np.array([len(masks) for masks in crops], np.int64),
        boxes=np.array([(*one.start, *one.size, one.crop) for one in every], np.int64).reshape(
            -1, 5
        ),
        numbers=np.array(
            [(one.quality, one.iou, one.stability) for one in every], np.float64
        ).reshape(-1, 3),
        names=np.array([one.name for one in every], np.str_),
        sizes=np.array([len(one.packed) for one in every], np.int64),
        bits=np.concatenate([np.zeros(0, np.uint8), *(one.packed for one in every)]),
    )
    data = buffer.getvalue()
    return hashlib.sha256(data).digest() + data


def unpacked_masks(data: bytes) -> list[list[Mask]] | None:
    """Inverse of `packed_masks`; None for bytes that are damaged.

    >>> from tim3d.kernels.masks.mask_set import boxed
    >>> mask = boxed((2, 3), np.ones((2, 2), bool), 0.8)
    >>> data = packed_masks([[], [mask]])
    >>> [[one.box for one in masks] for masks in unpacked_masks(data)], unpacked_masks(data[:-9])
    ([[], [(slice(2, 4, None), slice(3, 5, None))]], None)
    """
    sha, archived = data[:SHA_BYTES], data[SHA_BYTES:]
    if hashlib.sha256(archived).digest() != sha:
        return None
    with np.load(io.BytesIO(archived), allow_pickle=False) as archive:
        found = {name: archive[name] for name in archive.files}
    bits = np.split(found["bits"], np.cumsum(found["sizes"])[:-1]) if len(found["sizes"]) else []
    every = [
        Mask(
            (int(y), int(x)), (int(rows), int(columns)), packed, quality=float(quality), crop=int(crop),
            name=str(name), iou=float(iou), stability=float(stability),
        )
        for (y, x, rows, columns, crop), (quality, iou, stability), name, packed in zip(
            found["boxes"], found["numbers"], found["names"], bits, strict=True
        )
    ]  # fmt: skip
    ends = np.cumsum(found["counts"])
    return [every[end - count : end] for count, end in zip(found["counts"], ends, strict=True)]
