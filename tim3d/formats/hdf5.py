"""HDF5 with named axes, coordinates and voxel size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from tim3d.formats.base import UNITS, Volume, VolumeFormat
from tim3d.formats.vtk import write_data_set
from tim3d.grid import AXES


@dataclass(frozen=True)
class Hdf5(VolumeFormat):
    """HDF5: a data set (z, y, x) for each field, with coordinates of the voxel centres as scales."""

    name = "hdf5"
    suffixes = (".h5", ".hdf5")
    keeps_mark = True
    several = True
    vectors = True

    def write(self, volume: Volume, path: Path) -> None:
        """Write the coordinates, then the fields."""
        with h5py.File(path, "x") as file:
            file.attrs.update({"written_by": volume.mark, "content": volume.note})
            for axis, count, first, step in zip(
                AXES, volume.shape, volume.corner, volume.spacing, strict=True
            ):
                file[axis] = first + (np.arange(count) + 0.5) * step
                file[axis].attrs.update(
                    {"units": volume.unit, "long_name": f"centres along {axis}"}
                )
                file[axis].make_scale(axis)
            for layer in volume.layers:
                made = write_data_set(file, volume, layer)
                # Known to ilastik and to the HDF5 plug-in of Fiji; always micrometres, (z, y, x).
                made.attrs["element_size_um"] = [
                    s * UNITS["um"] / UNITS[volume.unit] for s in volume.spacing
                ]
                for place, axis in enumerate(AXES):
                    made.dims[place].label = axis
                    made.dims[place].attach_scale(file[axis])
                if layer.components > 1:
                    made.dims[3].label = "component (x, y, z)"
