"""TIFF for Fiji and ImageJ: one file, or a folder of slices; and OME-TIFF."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tifffile

from tim3d.formats.base import Layer, Volume, VolumeFormat, phases_text

# A classic TIFF has offsets of 32 bits: above this many bytes a file is a BigTIFF.
CLASSIC_BYTES = 2**32 - 2**20
# Room for the tags of a page.
PAGE_BYTES = 512
GREY_TYPES = ("uint8", "uint16", "float32")


def is_big(volume: Volume) -> bool:
    """Whether a file of these voxels needs offsets of 64 bits."""
    pages = volume.shape[0] * len(volume.layers)
    return volume.data_bytes + pages * PAGE_BYTES > CLASSIC_BYTES


@dataclass(frozen=True)
class ImageJTiff(VolumeFormat):
    """One TIFF with the description of ImageJ; a BigTIFF above 4 GiB, which Fiji opens by Bio-Formats."""

    name = "tiff"
    suffixes = (".tif", ".tiff")
    keeps_mark = True
    dtypes = GREY_TYPES

    def write(self, volume: Volume, path: Path) -> None:
        """Write all slices as pages, with the voxel size as ImageJ keeps it."""
        (layer,) = volume.layers
        with warnings.catch_warnings():
            # tifffile remarks that ImageJ itself does not write BigTIFF.
            warnings.simplefilter("ignore", UserWarning)
            with tifffile.TiffWriter(path, imagej=True, bigtiff=is_big(volume)) as file:
                file.write(
                    volume.slices(layer),
                    shape=volume.shape,
                    dtype=layer.dtype,
                    **imagej_tags(volume, layer, "ZYX"),
                )


@dataclass(frozen=True)
class TiffStack(VolumeFormat):
    """A folder of TIFF files, one for each slice, numbered from 0."""

    name = "tiff-stack"
    suffixes = ()
    keeps_mark = True
    dtypes = GREY_TYPES
    is_folder = True

    def write(self, volume: Volume, path: Path) -> None:
        """Write the slices as ``FOLDER/FIELD_00000.tif``."""
        (layer,) = volume.layers
        path.mkdir()
        for z, plane in enumerate(volume.slices(layer)):
            tags = imagej_tags(volume, layer, "YX")
            tifffile.imwrite(path / f"{layer.name}_{z:05}.tif", plane, imagej=True, **tags)


@dataclass(frozen=True)
class OmeTiff(VolumeFormat):
    """OME-TIFF, an image for each field; a BigTIFF above 4 GiB."""

    name = "ome-tiff"
    suffixes = (".ome.tif", ".ome.tiff")
    keeps_mark = True
    several = True

    def write(self, volume: Volume, path: Path) -> None:
        """Write the fields one after the other."""
        with tifffile.TiffWriter(path, ome=True, bigtiff=is_big(volume)) as file:
            for layer in volume.layers:
                file.write(
                    volume.slices(layer),
                    shape=volume.shape,
                    dtype=layer.dtype,
                    photometric="minisblack",
                    software=volume.mark,
                    metadata=ome_metadata(volume, layer),
                )


def imagej_tags(volume: Volume, layer: Layer, axes: str) -> dict[str, Any]:
    """Arguments of tifffile: pixels per unit, spacing of the slices, origin and names of phases."""
    (dz, dy, dx), (z, y, x) = volume.spacing, volume.corner
    metadata: dict[str, Any] = {"axes": axes, "unit": volume.unit, "spacing": dz, "loop": False}
    if any(volume.corner):  # in pixels, counted from the first one
        metadata |= {"xorigin": -x / dx, "yorigin": -y / dy, "zorigin": -z / dz}
    if layer.phases:  # labels of two phases would else be black and almost black
        low, high = layer.phases.codes[0], layer.phases.codes[-1]
        metadata |= {"min": float(low), "max": float(max(high, low + 1))}
    metadata["Info"] = "\n".join(filter(None, [volume.note, phases_text(layer.phases)]))
    return {
        "resolution": (1 / dx, 1 / dy),
        "software": volume.mark,
        "metadata": metadata,
        "photometric": "minisblack",
    }


def ome_metadata(volume: Volume, layer: Layer) -> dict[str, Any]:
    """Physical sizes with their unit, and the names of phases as annotations."""
    unit = volume.unit.replace("um", "µm")
    sizes: dict[str, Any] = {"axes": "ZYX", "Name": layer.name, "Description": volume.note}
    for axis, step in zip("ZYX", volume.spacing, strict=True):
        sizes |= {f"PhysicalSize{axis}": step, f"PhysicalSize{axis}Unit": unit}
    if layer.phases:
        sizes["MapAnnotation"] = {"Namespace": "tim3d/phases"} | {
            name: str(code) for name, code in layer.phases.items()
        }
    return sizes
