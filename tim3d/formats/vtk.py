"""VTK image data for ParaView: VTI (XML with raw data) and VTK-HDF; voxels are cells."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import h5py
import numpy as np

from tim3d.formats.base import Layer, Volume, VolumeFormat, phases_text, xyz
from tim3d.formats.dense import write_voxels

_TYPES = {"uint8": "UInt8", "uint16": "UInt16", "uint32": "UInt32", "float32": "Float32"}


@dataclass(frozen=True)
class Vti(VolumeFormat):
    """VTI: a cell for each voxel, an array for each field, raw data behind the XML."""

    name = "vti"
    suffixes = (".vti",)
    keeps_mark = True
    several = True
    vectors = True

    def write(self, volume: Volume, path: Path) -> None:
        """Write the XML, then each field behind its length."""
        with path.open("xb") as file:
            file.write(vti_head(volume).encode())
            for layer in volume.layers:
                file.write(struct.pack("<Q", volume.voxels * layer.voxel_bytes))
                write_voxels(volume, layer, file)
            file.write(b"\n  </AppendedData>\n</VTKFile>\n")


@dataclass(frozen=True)
class VtkHdf(VolumeFormat):
    """VTK-HDF image data: HDF5 that ParaView opens."""

    name = "vtk-hdf"
    suffixes = (".vtkhdf",)
    keeps_mark = True
    several = True
    vectors = True

    def write(self, volume: Volume, path: Path) -> None:
        """Write the group ``VTKHDF`` with a data set of cells for each field."""
        with h5py.File(path, "x") as file:
            file.attrs["written_by"] = volume.mark
            group = file.create_group("VTKHDF", track_order=True)
            group.attrs["Version"] = np.array([2, 0], dtype="i8")
            group.attrs.create("Type", b"ImageData", dtype=h5py.string_dtype("ascii", 9))
            group.attrs["WholeExtent"] = np.array(_extent(volume), dtype="i8")
            group.attrs["Origin"] = np.array(xyz(volume.corner), dtype="f8")
            group.attrs["Spacing"] = np.array(xyz(volume.spacing), dtype="f8")
            group.attrs["Direction"] = np.eye(3).ravel()
            cells = group.create_group("CellData", track_order=True)
            first = volume.layers[0].name.encode()
            cells.attrs.create("Scalars", first, dtype=h5py.string_dtype("ascii", len(first)))
            for layer in volume.layers:
                write_data_set(cells, volume, layer)


def write_data_set(group: h5py.Group, volume: Volume, layer: Layer) -> h5py.Dataset:
    """Write a field as a contiguous data set (z, y, x), slab by slab, and its meaning."""
    shape = (*volume.shape, *([layer.components] if layer.components > 1 else []))
    made = group.create_dataset(layer.name, shape=shape, dtype=layer.dtype)
    z = 0
    for slab in volume.slabs(layer):
        made[z : z + len(slab)] = slab
        z += len(slab)
    made.attrs.update({"long_name": layer.long_name or layer.name, "units": layer.units})
    if layer.phases:
        made.attrs["flag_values"] = np.array(layer.phases.codes, dtype="u1")
        made.attrs["flag_meanings"] = " ".join(layer.phases.names)
    return made


def _extent(volume: Volume) -> list[int]:
    z, y, x = volume.shape
    return [0, x, 0, y, 0, z]


def vti_head(volume: Volume) -> str:
    """XML up to the appended data, with the place of every array in it."""
    extent = " ".join(map(str, _extent(volume)))
    origin, spacing = (
        " ".join(repr(float(v)) for v in xyz(t)) for t in (volume.corner, volume.spacing)
    )
    place, arrays = 0, []
    for layer in volume.layers:
        arrays.append(_array(layer, place))
        place += 8 + volume.voxels * layer.voxel_bytes
    remarks = [volume.mark, volume.note, f"lengths in {volume.unit}"]
    remarks += [f"{one.name}: {phases_text(one.phases)}" for one in volume.layers if one.phases]
    return "\n".join(
        [
            '<?xml version="1.0"?>',
            *(f"<!-- {comment(text)} -->" for text in remarks),
            '<VTKFile type="ImageData" version="1.0" byte_order="LittleEndian" header_type="UInt64">',
            f'  <ImageData WholeExtent="{extent}" Origin="{origin}" Spacing="{spacing}">',
            f'    <Piece Extent="{extent}">',
            f"      <CellData Scalars={quoteattr(volume.layers[0].name)}>",
            *arrays,
            "      </CellData>",
            "    </Piece>",
            "  </ImageData>",
            '  <AppendedData encoding="raw">\n_',
        ]
    )


def _array(layer: Layer, place: int) -> str:
    return (
        f'        <DataArray type="{_TYPES[layer.dtype.name]}" Name={quoteattr(layer.name)} '
        f'NumberOfComponents="{layer.components}" format="appended" offset="{place}"/>'
    )


def comment(text: str) -> str:
    """Text of an XML comment, which must not hold two hyphens in a row."""
    return escape(text).replace("--", "- -")
