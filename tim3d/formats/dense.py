"""Files that are a header and the plain voxels behind it: MetaImage, NRRD and npy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tim3d.formats.base import Layer, Volume, VolumeFormat, phases_text, xyz

_META_TYPES = {
    "uint8": "MET_UCHAR",
    "uint16": "MET_USHORT",
    "uint32": "MET_UINT",
    "float32": "MET_FLOAT",
}
_NRRD_TYPES = {"float32": "float"}
# MetaIO keeps this much of a comment.
_LONGEST_COMMENT = 200


@dataclass(frozen=True)
class MetaImage(VolumeFormat):
    """Header and voxels in one file, ``.mha``, for ITK, 3D Slicer, ParaView and GeoDict."""

    name = "mha"
    suffixes = (".mha",)
    keeps_mark = True

    def data_file(self, path: Path) -> Path:
        """File of the voxels: the header itself."""
        return path

    def write(self, volume: Volume, path: Path) -> None:
        """Write the header, then the voxels."""
        (layer,) = volume.layers
        data = self.data_file(path)
        where = "LOCAL" if data == path else data.name
        path.write_bytes(meta_header(volume, layer, where).encode())
        with data.open("ab") as file:
            write_voxels(volume, layer, file)


@dataclass(frozen=True)
class RawMetaImage(MetaImage):
    """Plain voxels in ``NAME.raw``, and their header in ``NAME.mhd``."""

    name = "mhd"
    suffixes = (".mhd",)

    def data_file(self, path: Path) -> Path:
        """File of the voxels, beside the header."""
        return path.with_suffix(".raw")

    def companions(self, path: Path) -> tuple[Path, ...]:
        """The voxels."""
        return (self.data_file(path),)


@dataclass(frozen=True)
class Nrrd(VolumeFormat):
    """NRRD with its header attached, for 3D Slicer, Fiji and pynrrd."""

    name = "nrrd"
    suffixes = (".nrrd",)
    keeps_mark = True

    def write(self, volume: Volume, path: Path) -> None:
        """Write the header, then the voxels."""
        (layer,) = volume.layers
        with path.open("xb") as file:
            file.write(nrrd_header(volume, layer).encode())
            write_voxels(volume, layer, file)


@dataclass(frozen=True)
class Npy(VolumeFormat):
    """npy of numpy; it holds neither the voxel size nor names of phases."""

    name = "npy"
    suffixes = (".npy",)

    def write(self, volume: Volume, path: Path) -> None:
        """Write the header, then the voxels."""
        (layer,) = volume.layers
        kind = np.lib.format.dtype_to_descr(_little(layer.dtype))
        header = {"descr": kind, "fortran_order": False, "shape": volume.shape}
        with path.open("xb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            write_voxels(volume, layer, file)


def write_voxels(volume: Volume, layer: Layer, file: BinaryIO) -> None:
    """Append all voxels, x fastest and little endian."""
    kind = _little(layer.dtype)
    for slab in volume.slabs(layer):
        file.write(slab.astype(kind, copy=False).data)


def _little(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("<")


def _numbers(values: Any) -> str:
    return " ".join(repr(float(v)) for v in xyz(values))


def meta_header(volume: Volume, layer: Layer, data: str) -> str:
    """Header of a MetaImage; `Offset` is the centre of the first voxel, as in ITK."""
    comment = "; ".join(
        filter(None, [volume.mark, f"lengths in {volume.unit}", phases_text(layer.phases)])
    )
    return "\n".join(
        [
            "ObjectType = Image",
            "NDims = 3",
            f"Comment = {comment[:_LONGEST_COMMENT]}",
            "BinaryData = True",
            "BinaryDataByteOrderMSB = False",
            "CompressedData = False",
            "TransformMatrix = 1 0 0 0 1 0 0 0 1",
            f"Offset = {_numbers(volume.centre)}",
            "CenterOfRotation = 0 0 0",
            f"ElementSpacing = {_numbers(volume.spacing)}",
            f"DimSize = {' '.join(map(str, xyz(volume.shape)))}",
            f"ElementType = {_META_TYPES[layer.dtype.name]}",
            f"ElementDataFile = {data}\n",
        ]
    )


def nrrd_header(volume: Volume, layer: Layer) -> str:
    """Header of an NRRD; `space origin` is the centre of the first voxel, axes are x, y, z."""
    dz, dy, dx = map(float, volume.spacing)
    z, y, x = map(float, volume.centre)
    unit = f'"{volume.unit}"'
    lines = [
        "NRRD0005",
        f"# {volume.mark}",
        f"# {volume.note}",
        f"type: {_NRRD_TYPES.get(layer.dtype.name, layer.dtype.name)}",
        "dimension: 3",
        "space dimension: 3",
        f"sizes: {' '.join(map(str, xyz(volume.shape)))}",
        f"space directions: ({dx!r},0,0) (0,{dy!r},0) (0,0,{dz!r})",
        f"space units: {unit} {unit} {unit}",
        f"space origin: ({x!r},{y!r},{z!r})",
        "kinds: domain domain domain",
        'labels: "x" "y" "z"',
        "endian: little",
        "encoding: raw",
        *([f"phases:={phases_text(layer.phases)}"] if layer.phases else []),
    ]
    return "\n".join(lines) + "\n\n"
