"""Checks of what a segmenter declares, against itself and a volume, before any voxel is read."""

from __future__ import annotations

import math

from tim3d.errors import ArgumentError
from tim3d.grid import Triple, triple
from tim3d.kernels.windows.lattice import require_phase
from tim3d.models.segmentation.segmenter import LABELS, Map, Segmenter, described


def check_segmenter(segmenter: Segmenter, shape: Triple) -> None:
    """Refuse a segmenter that does not fit a volume, before any voxel is read.

    Raises
    ------
    ArgumentError
        If a declared value is not allowed; the message states both.
    """
    what = f"segmenter {segmenter.kind!r}"
    if not segmenter.kind or not isinstance(segmenter.kind, str):
        raise ArgumentError(
            f"{type(segmenter).__name__} has no kind: name the family, for example kind = 'forest'"
        )
    if not 1 < len(set(segmenter.classes)) == len(segmenter.classes) < 256:
        raise ArgumentError(
            f"{what} has the classes {segmenter.classes}: 2 to 255 names, each once"
        )
    _check_maps(what, segmenter)
    _check_windows(what, segmenter, shape)
    described(segmenter)


def _check_maps(what: str, segmenter: Segmenter) -> None:
    names = [LABELS, *(one.name for one in segmenter.maps)]
    if len(set(names)) < len(names):
        raise ArgumentError(f"{what} gives the maps {', '.join(names)}: each name once")
    for one in segmenter.maps:
        _check_map(f"{what} declares the map {one.name!r}", one, segmenter)


def _check_map(what: str, one: Map, segmenter: Segmenter) -> None:
    """Refuse a map whose objects cannot be paired, and numbers of objects that are not objects."""
    if one.joined == "votes" or one.voting is not None:
        _check_votes(what, one, segmenter)
        return
    if one.joined == "basins":
        _check_heights(what, one, segmenter)
        return
    if one.joined in ("voxels", "given"):
        if (one.dtype == "uint32") != (one.joined == "given"):
            raise ArgumentError(
                f"{what} in {one.dtype}, joined={one.joined!r}: only numbers of objects have uint32, joined='objects', "
                "or 'given' if they are those of the volume"
            )
        return
    if one.dtype == "float32" or one.per_class:
        raise ArgumentError(
            f"{what} of objects: one array of numbers, dtype='uint8', 'uint16' or 'uint32', "
            "not per class"
        )
    if not 0 < one.overlap <= 1:
        raise ArgumentError(f"{what} with the overlap {one.overlap}: above 0, and 1 at most")
    if segmenter.window is None or type(segmenter).region is not Segmenter.region:
        raise ArgumentError(
            f"{what} of objects, which are numbered window by window: give a window, and override "
            "each_window instead of region"
        )


def _check_heights(what: str, one: Map, segmenter: Segmenter) -> None:
    if one.per_class or one.dtype == "uint32" or one.of not in segmenter.classes:
        raise ArgumentError(
            f"{what} of heights: one array of uint8, uint16 or float32, and of='CLASS', one of "
            f"{', '.join(segmenter.classes)}"
        )
    if not 0 < one.depth < math.inf:
        raise ArgumentError(f"{what} of heights with the depth {one.depth}: above 0, and finite")


def _check_votes(what: str, one: Map, segmenter: Segmenter) -> None:
    right = one.joined == "votes" and one.voting is not None
    if not right or one.per_class or one.dtype != "float32" or one.of not in segmenter.classes:
        raise ArgumentError(
            f"{what} of offsets: joined='votes' with voting=Voting(...), arrays of float32, and of='CLASS', one of "
            f"{', '.join(segmenter.classes)}"
        )
    assert one.voting is not None
    one.voting.check()


def _check_windows(what: str, segmenter: Segmenter, shape: Triple) -> None:
    window, halo, context = segmenter.window, segmenter.halo, segmenter.context
    if min(halo) < 0 or context < 0:
        raise ArgumentError(
            f"{what} has a halo of {halo} and a context of {context}: none may be negative"
        )
    if context and window is None:
        raise ArgumentError(
            f"{what} has a context of {context} and no window: give one, one slice thick"
        )
    try:
        lattice = segmenter.lattice(shape)
        if lattice:
            require_phase(lattice, triple(segmenter.total_stride))
    except ArgumentError as error:
        raise ArgumentError(f"{what}: {error}") from error
