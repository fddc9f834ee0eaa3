"""Metadata of an OME-Zarr image: axes, channels, levels, and the voxel size of each level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tim3d.errors import InputError
from tim3d.sources.base import VoxelSize
from tim3d.sources.units import positive_nm

# Images of versions 0.1 and 0.2 have these axes, without recording them.
_UNNAMED = "tczyx"
# Transformations of a level and of the whole image; all others are refused.
_KNOWN_STEPS = ("identity", "scale", "translation")


@dataclass(frozen=True)
class Level:
    """Level at `path` of an image `group`; `entry` is its metadata, `axes` are names."""

    group: Any
    image: Mapping[str, Any]
    entry: Mapping[str, Any]
    path: str
    axes: tuple[str, ...]

    @property
    def channels(self) -> tuple[str, ...]:
        """Labels of the channels; empty if there are none."""
        held = dict(self.group.attrs)
        omero = dict(held.get("ome", held)).get("omero") or held.get("omero") or {}
        channels = omero.get("channels") if isinstance(omero, Mapping) else None
        if not isinstance(channels, Sequence):
            return ()
        return tuple(str(one.get("label", "")) for one in channels if isinstance(one, Mapping))


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


def level_paths(group: Any) -> tuple[str, ...]:
    """Paths of the levels of an image, the full resolution first."""
    entries = (multiscale_of(group) or {}).get("datasets", [])
    return tuple(
        str(entry["path"]) for entry in entries if isinstance(entry, Mapping) and "path" in entry
    )


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


def level_size_nm(level: Level, where: str) -> VoxelSize:
    """Voxel size along z, y and x in nm: the level's scale times the image's, axis by axis.

    `where` names the level in messages.

    Raises
    ------
    InputError
        If a transformation is not a scale or a translation, or has not one number an axis.
    """
    axes = level.image.get("axes") or []
    scale = _scale(level.entry, len(level.axes), where)
    whole = _scale(level.image, len(level.axes), where)
    sizes = {
        str(axis["name"]).lower(): positive_nm(length * factor, str(axis.get("unit", "")))
        for axis, length, factor in zip(axes, scale, whole, strict=False)
        if isinstance(axis, Mapping)
    }
    return (sizes.get("z"), sizes.get("y"), sizes.get("x"))


def _scale(holder: Mapping[str, Any], count: int, where: str) -> list[float]:
    """Product of all scales; translations move the volume and change no length."""
    steps = [
        step for step in holder.get("coordinateTransformations") or [] if isinstance(step, Mapping)
    ]
    product = [1.0] * count if steps or "datasets" in holder else []
    for step in steps:
        kind, numbers = str(step.get("type")), step.get("scale") or []
        if kind not in _KNOWN_STEPS or (kind == "scale" and not numbers):
            raise InputError(
                f"{where} has the transformation {kind!r}; tim3d reads scales and translations, with their "
                "numbers in place. Write the image again with a scale"
            )
        if kind == "scale":
            if len(numbers) != count:
                raise InputError(
                    f"{where} has {len(numbers)} scales for {count} axes; write its metadata again"
                )
            product = [a * float(b) for a, b in zip(product, numbers, strict=True)]
    return product
