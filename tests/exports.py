"""A sample of every kind of field and result, to be exported, and quick calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage as ndi

import tim3d
from tim3d import Options, Phases

QUIET = Options(progress=False)
AGAIN = Options(progress=False, overwrite=True)
SHAPE, SIZE = (21, 26, 35), {"z": 20.0, "y": 10.0, "x": 7.3}
PHASES = Phases(pore=2, copper=5)


def volumes() -> dict[str, np.ndarray]:
    """Grey values of three types, and labels, of a shape that no block divides."""
    noise = ndi.gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 2)
    grey = np.clip(noise / noise.std() * 40 + 120, 0, 255).astype(np.uint8)
    labels = np.where(noise > 0, 5, 2).astype(np.uint8)
    return {
        "raw": grey,
        "raw16": grey.astype(np.uint16) * 200,
        "heights": noise.astype(np.float32),
        "phase": labels,
    }


def sample_in(folder: Path) -> str:
    """A sample with all of that, in shards that a slab does not respect."""
    sample = str(folder / "a.zarr")
    for name, values in volumes().items():
        np.save(folder / f"{name}.npy", values)
        phases = PHASES if name == "phase" else None
        tim3d.ingest(
            folder / f"{name}.npy", sample, voxel_size=SIZE, field=name, phases=phases, shard=(8, 16, 16),
            options=QUIET,
        )  # fmt: skip
    return sample


def exported(sample: str, field: str, out: Path, **given: Any) -> Path:
    """An export without a bar."""
    return Path(tim3d.export(sample, field, out, **{"options": QUIET, **given}))
