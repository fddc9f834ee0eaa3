"""Truth for the FlyEM medulla stack: 0 interior, 1 boundary (a voxel with a 6-neighbour of another body).

    python pipelines/flyem_truth.py DATA/flyem-fibsem demo/flyem-truth.npy

The stack is training_sample2 of janelia-flyem/neuroproof_examples (Creative Commons Attribution).
"""

from __future__ import annotations

import gzip
import sys
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np


def bodies(folder: Path) -> np.ndarray:
    """Body of every voxel, (z, y, x)."""
    with (
        gzip.open(folder / "groundtruth.h5.gz") as packed,
        h5py.File(BytesIO(packed.read())) as file,
    ):
        supervoxels, pairs = file["stack"][:], file["transforms"][:]
    table = np.zeros(int(max(supervoxels.max(), pairs[:, 0].max())) + 1, dtype=np.int64)
    table[pairs[:, 0].astype(np.int64)] = pairs[:, 1]
    return table[supervoxels]


def boundary(body: np.ndarray) -> np.ndarray:
    """1 where one of the six neighbours belongs to another body, else 0; uint8."""
    out = np.zeros(body.shape, dtype=np.uint8)
    for axis in range(3):
        low = [slice(None)] * 3
        high = [slice(None)] * 3
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        differs = body[tuple(low)] != body[tuple(high)]
        out[tuple(low)] |= differs
        out[tuple(high)] |= differs
    return out


if __name__ == "__main__":
    target = Path(sys.argv[2])
    target.parent.mkdir(parents=True, exist_ok=True)
    np.save(target, boundary(bodies(Path(sys.argv[1]))))
