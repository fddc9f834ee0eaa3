"""A file format of one's own, without a line of the package: a source that `ingest` takes like a path."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import tim3d
from tim3d.errors import InputError
from tim3d.sources.base import reading


@dataclass(frozen=True, kw_only=True)
class Vox(tim3d.Source):
    """A line of JSON, then one byte a voxel, x fastest."""

    path: Path
    start: int

    @property
    def label(self) -> str:
        return str(self.path)

    def load(self, z0: int, z1: int) -> np.ndarray:
        """Slices z0 to z1; the base class checks what it gets."""
        plane = self.shape[1] * self.shape[2]
        with reading(self.path), self.path.open("rb") as file:
            file.seek(self.start + z0 * plane)
            return np.frombuffer(file.read((z1 - z0) * plane), np.uint8).reshape(
                -1, *self.shape[1:]
            )

    def parts(self) -> tuple[object, ...]:
        """What tells this file from others, wherever it lies."""
        return self.path.name, self.path.stat().st_size


def open_vox(path: Path) -> Vox:
    """Read the header only."""
    with reading(path), path.open("rb") as file:
        header, start = json.loads(file.readline()), file.tell()
    size = (None, header["nm"], header["nm"])  # the thickness of a slice is not in such files
    return Vox(
        shape=tuple(header["shape"]),
        dtype=np.dtype("uint8"),
        voxel_size_nm=size,
        path=path,
        start=start,
    )


def test_a_format_of_ones_own_is_ingested(tmp_path: Path) -> None:
    voxels = np.random.default_rng(3).integers(0, 256, (9, 20, 30), np.uint8)
    path, sample = tmp_path / "cu.vox", str(tmp_path / "cu.zarr")
    path.write_bytes(
        json.dumps({"shape": voxels.shape, "nm": 5}).encode() + b"\n" + voxels.tobytes()
    )
    raw = tim3d.ingest(open_vox(path), sample, voxel_size={"z": 20})
    np.testing.assert_array_equal(raw.values, voxels)
    assert [float(raw[axis][0]) for axis in "zyx"] == [10.0, 2.5, 2.5]
    assert tim3d.plan("ingest", open_vox(path), sample, voxel_size={"z": 20}) == []
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"cannot read .*cu\.vox"):
        tim3d.ingest(open_vox(path), str(tmp_path / "cut.zarr"), voxel_size={"z": 20})
