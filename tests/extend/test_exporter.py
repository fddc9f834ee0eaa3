"""A format of one's own to export to, without a line of the package: a value that `export` takes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import tim3d
from tests.extend.test_format import open_vox
from tim3d.errors import MixedRunError
from tim3d.formats.base import Volume, VolumeFormat


@dataclass(frozen=True)
class Vox(VolumeFormat):
    """A line of JSON, then one byte a voxel, x fastest."""

    name = "vox"
    suffixes = (".vox",)
    dtypes = ("uint8",)
    keeps_mark = True

    def write(self, volume: Volume, path: Path) -> None:
        """Slabs are read one by one; the mark is what the file is recognised by later."""
        (layer,) = volume.layers
        header = {"shape": volume.shape, "nm": volume.spacing[2], "mark": volume.mark}
        with path.open("wb") as file:
            file.write(json.dumps(header).encode() + b"\n")
            for slab in volume.slabs(layer):
                file.write(slab.tobytes())


def test_a_format_of_ones_own_is_written(tmp_path: Path) -> None:
    voxels = np.random.default_rng(3).integers(0, 256, (9, 20, 30), np.uint8)
    sample, out = str(tmp_path / "cu.zarr"), tmp_path / "cu.vox"
    np.save(tmp_path / "cu.npy", voxels)
    options = tim3d.Options(progress=False)
    size = {"z": 20, "y": 5, "x": 5}
    tim3d.ingest(tmp_path / "cu.npy", sample, voxel_size=size, options=options)
    assert tim3d.export(sample, "raw", out, format=Vox(), options=options) == out
    np.testing.assert_array_equal(open_vox(out).read(0, 9), voxels)
    written = out.stat().st_mtime_ns
    tim3d.export(sample, "raw", out, format=Vox(), options=options)
    assert out.stat().st_mtime_ns == written
    with pytest.raises(MixedRunError, match="holds another export"):
        tim3d.export(sample, "raw", out, format=Vox(), z=slice(0, 40), options=options)
