"""Volumes of one slice, and of long voxels: what is computed of them is said to be that of a plane, or coarse."""

from __future__ import annotations

import logging

from tim3d.storage.schema import AXES, Field

log = logging.getLogger(__name__)

# Voxels longer than this many of their shortest edge are warned of.
SLENDER = 10.0


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


def warn_of_slender_voxels(field: Field) -> None:
    """Warn of voxels that are much longer than wide."""
    longest = max(field.spacing_nm)
    ratio = longest / min(field.spacing_nm)
    if ratio > SLENDER:
        log.warning(
            "voxels of %r are %.3g times as long along %s as across: what is thinner than %g nm there is not resolved",
            field.name,
            ratio,
            AXES[field.spacing_nm.index(longest)],
            2 * longest,
        )
