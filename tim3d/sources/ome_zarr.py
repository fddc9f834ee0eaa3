"""Metadata of an OME-Zarr image: the names of the axes and the voxel size of each level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tim3d.errors import InputError
from tim3d.sources.base import VoxelSize
from tim3d.sources.units import positive_nm

# Images of versions 0.1 and 0.2 have these axes, without recording them.
_UNNAMED = "tczyx"


@dataclass(frozen=True)
class Level:
    """Level at `path` of an image `group`; `entry` is its metadata, `axes` are names."""

    group: Any
    image: Mapping[str, Any]
    entry: Mapping[str, Any]
    path: str
    axes: tuple[str, ...]


def multiscale_of(group: Any) -> Mapping[str, Any] | None:
    """Metadata of the image that a group is, or None if it is not an image.

    Raises
    ------
    InputError
        If the group describes more than one image.
    """
    held = dict(group.attrs)
    own = held.get("ome", held)
    images = own.get("multiscales") if isinstance(own, Mapping) else None
    if not isinstance(images, Sequence) or not images or not isinstance(images[0], Mapping):
        return None
    if len(images) > 1:
        raise InputError(
            f"{group.path or 'the zarr'} holds {len(images)} OME-Zarr images in one group; name an array: "
            "--dataset NAME"
        )
    return images[0]


def level_of(group: Any, path: str | None = None) -> Level | None:
    """Level at a path, or the full-resolution one; None if the group has no such level."""
    image = multiscale_of(group)
    entries = [entry for entry in (image or {}).get("datasets", []) if isinstance(entry, Mapping)]
    chosen = [
        entry for entry in entries if path is None or str(entry.get("path")).strip("/") == path
    ]
    if image is None or not chosen:
        return None
    own = str(chosen[0]["path"])
    return Level(group, image, chosen[0], own, _axis_names(image, len(group[own].shape)))


def _axis_names(image: Mapping[str, Any], count: int) -> tuple[str, ...]:
    axes = image.get("axes")
    if not axes:
        return tuple(_UNNAMED) if count == len(_UNNAMED) else ()
    return tuple(str(axis.get("name") if isinstance(axis, Mapping) else axis) for axis in axes)


def level_size_nm(level: Level) -> VoxelSize:
    """Voxel size along z, y and x in nm: the level's scale times the image's, axis by axis."""
    scale = _scale(level.entry)
    whole = _scale(level.image) or [1.0] * len(scale)
    sizes = {
        str(axis["name"]).lower(): positive_nm(length * factor, str(axis.get("unit", "")))
        for axis, length, factor in zip(level.image.get("axes", []), scale, whole, strict=False)
        if isinstance(axis, Mapping)
    }
    return (sizes.get("z"), sizes.get("y"), sizes.get("x"))


def _scale(holder: Mapping[str, Any]) -> list[float]:
    steps = [
        step for step in holder.get("coordinateTransformations") or [] if isinstance(step, Mapping)
    ]
    scale = next((step.get("scale") for step in steps if step.get("type") == "scale"), None)
    return [float(length) for length in scale] if isinstance(scale, list) else []
