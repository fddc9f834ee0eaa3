"""Volumes of one slice: what is computed of them is that of a plane, and is said to be."""

from __future__ import annotations

import logging

from tim3d.storage.schema import Field

log = logging.getLogger(__name__)


def plane_text(field: Field) -> str:
    """Say that a field is a plane, with its edges in voxels; empty if every axis has several.

    >>> plane_text(Field("phase", (1, 9, 7), "uint8", (5.0, 5.0, 5.0), (1, 9, 7), (1, 9, 7)))
    'is a plane (1 x 9 x 7 voxels)'
    """
    if min(field.shape) > 1:
        return ""
    return f"is a plane ({' x '.join(map(str, field.shape))} voxels)"


def warn_of_plane(field: Field, meaning: str) -> None:
    """Warn of a field that is a plane, in one line with what the numbers then mean."""
    if text := plane_text(field):
        log.warning("%r %s: %s", field.name, text, meaning)
