"""Assignment of an array's axes to z, y and x: by their names, otherwise by their order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tim3d.errors import InputError
from tim3d.grid import AXES, Triple
from tim3d.sources.base import Voxels, volume_shape
from tim3d.sources.wanted import Picks, unnamed

Places = tuple[int, int, int]
# Positions of other axes, and what is chosen along each.
Others: TypeAlias = tuple[tuple[int, int], ...]

IN_ORDER: Places = (0, 1, 2)
# Position of z in an array that is one slice.
NONE = -1
# Names of axes along which one thing is chosen.
CHOSEN = {
    "c": "channel",
    "channel": "channel",
    "channels": "channel",
    "t": "time",
    "time": "time",
    "times": "time",
}
# Other words for z, y and x: a row is counted along y, a column along x.
CALLED = {
    **dict.fromkeys(("slice", "slices", "depth"), "z"),
    **dict.fromkeys(("row", "rows", "height"), "y"),
    **dict.fromkeys(("col", "cols", "column", "columns", "width"), "x"),
}
_UNIT_BEHIND = re.compile(r"\s*[\[(].*[\])]\s*$")
# A last axis of three or four bytes is red, green, blue (and opacity) if the other two are an
# image's.
COLOUR_CHANNELS = (3, 4)
LEAST_IMAGE_EDGE = 16


class Layout(NamedTuple):
    """Positions of z, y and x among an array's axes, and what is chosen along the others."""

    places: Places
    others: Others = ()


def axis_name(name: object) -> str:
    """Name of an axis as it is compared: without its unit, and z, y or x by any of their names.

    >>> axis_name("Z"), axis_name("x [nm]"), axis_name("row"), axis_name("width (um)"), axis_name("c")
    ('z', 'x', 'y', 'x', 'c')
    """
    bare = _UNIT_BEHIND.sub("", str(name)).lower()
    return CALLED.get(bare, bare)


def names_of_space(names: Sequence[Any]) -> tuple[str, ...]:
    """Names of the axes if z, y or x is among them, by any of their names; else none.

    >>> names_of_space(["row", "column", "slice"]), names_of_space(["dim_0", "dim_1", "dim_2"])
    (('row', 'column', 'slice'), ())
    """
    known = set(AXES) & set(map(axis_name, names))
    return tuple(map(str, names)) if known else ()


def layout_by_name(
    shape: Sequence[int],
    names: Sequence[Any],
    where: str,
    picks: Picks | None = None,
    called: Mapping[str, Sequence[str]] | None = None,
) -> Layout:
    """Positions of z, y and x among named axes; of channels and times, one is chosen.

    Parameters
    ----------
    shape : sequence of int
        Lengths of the axes.
    names : sequence of str
        Names of the axes.
    where : str
        Name of the array in messages.
    picks : Picks, optional
        Channel and time to read.
    called : mapping of axis to names, optional
        Names of channels or times.

    Raises
    ------
    ArgumentError
        If the array does not have the channel or time that is chosen.
    InputError
        If y or x is not among the names, a channel or time must be chosen, or another axis is
        longer than one.

    Examples
    --------
    >>> layout_by_name((20, 16, 5), "xyz", "scan.zarr").places
    (2, 1, 0)
    >>> layout_by_name((2, 5, 16, 20), "czyx", "scan.zarr", Picks(channel=1))
    Layout(places=(1, 2, 3), others=((0, 1),))
    """
    lowered = [axis_name(name) for name in names]
    said = f"{where} has the axes {', '.join(map(str, names))}, shape {tuple(shape)}"
    if len(lowered) != len(shape) or len(set(lowered)) < len(lowered):
        raise InputError(
            f"{said}; every axis needs one name of its own. Its metadata are damaged: write it again"
        )
    absent = [axis for axis in ("y", "x") if axis not in lowered]
    if absent:
        raise InputError(f"{said}; {absent[0]} is not among them, and a slice has y and x")
    offers: dict[str, Sequence[str]] = {}
    for name, length in zip(lowered, shape, strict=True):
        if name in CHOSEN:
            own = (called or {}).get(CHOSEN[name], ())
            offers[CHOSEN[name]] = own if len(own) == length else unnamed(length)
        elif name not in AXES and length != 1:
            raise InputError(
                f"{said}: {length} volumes along {name}. tim3d reads one volume: save the one you want as an array "
                "of its own"
            )
    hint = f". Its axes are {', '.join(map(str, names))}, its shape {tuple(shape)}"
    chosen = (picks or Picks()).chosen(offers, where, hint)
    others = tuple((i, chosen[CHOSEN[name]]) for i, name in enumerate(lowered) if name in CHOSEN)
    z, y, x = (lowered.index(axis) if axis in lowered else NONE for axis in AXES)
    return Layout((z, y, x), tuple((i, number) for i, number in others if number))


def places_in_order(shape: Sequence[int], dtype: np.dtype[Any], where: str) -> Places:
    """Positions of z, y and x among axes without names, after axes of length one are dropped.

    Axes of length one at the end (channels) are dropped first, then those at the front, until three
    axes are left. Two axes are one slice.

    Parameters
    ----------
    shape : sequence of int
        Lengths of the axes.
    dtype : dtype
        Type of a voxel; a last axis of three or four bytes may be a colour.
    where : str
        Name of the array in messages.

    Raises
    ------
    InputError
        If the number of axes left is not two or three, or the array is a colour image.

    Examples
    --------
    >>> places_in_order((1, 5, 16, 20, 1), np.dtype("uint8"), "scan.h5")
    (1, 2, 3)
    >>> places_in_order((16, 20), np.dtype("uint8"), "slice.npy")
    (-1, 0, 1)
    """
    places = _longer(shape)
    if len(places) == 2:
        return (NONE, *places)  # type: ignore[return-value]
    if len(places) != 3:
        volume_shape(tuple(shape), where)
    if _is_colour_image([shape[i] for i in places], dtype):
        raise InputError(
            f"{where} has shape {tuple(shape)}: an image in colour, not a volume. Save one grey value a pixel, of "
            "shape (z, y, x)"
        )
    z, y, x = places
    return (z, y, x)


def is_volume(shape: Sequence[int], dtype: np.dtype[Any]) -> bool:
    """Return whether the axes that are longer than one can be z, y and x."""
    places = _longer(shape)
    return len(places) == 3 and not _is_colour_image([shape[i] for i in places], dtype)


def _longer(shape: Sequence[int]) -> list[int]:
    places = list(range(len(shape)))
    while len(places) > 3 and shape[places[-1]] == 1:
        places.pop()
    while len(places) > 3 and any(shape[i] == 1 for i in places):
        places.remove(next(i for i in places if shape[i] == 1))
    return places


def _is_colour_image(edges: Sequence[int], dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "u" and edges[2] in COLOUR_CHANNELS and min(edges[:2]) >= LEAST_IMAGE_EDGE


def ordered_shape(shape: Sequence[int], places: Places, where: str) -> Triple:
    """Number of voxels along z, y and x.

    Parameters
    ----------
    shape : sequence of int
        Lengths of the axes.
    places : three ints
        Positions of z, y and x among the axes.
    where : str
        Name of the array in messages.

    Raises
    ------
    InputError
        If an axis is empty.
    """
    return volume_shape(tuple(1 if i == NONE else shape[i] for i in places), where)


def cut(array: Any, places: Places, z0: int, z1: int, others: Others = ()) -> Voxels:
    """Read the slices `z0` <= z < `z1`, and no others, of an array of any rank, as (z, y, x).

    Parameters
    ----------
    array : array
        An array that is indexed like numpy's.
    places : three ints
        Positions of z, y and x among its axes.
    z0, z1 : int
        Range of slices.
    others : pairs of position and number
        What is chosen along other axes; 0 where none is named.
    """
    index: list[Any] = [0] * len(array.shape)
    for place, number in others:
        index[place] = number
    for place in places[1:]:
        index[place] = slice(None)
    if places[0] != NONE:
        index[places[0]] = slice(z0, z1)
    found = np.asarray(array[tuple(index)])
    stored = sorted(place for place in places if place != NONE)
    turned = found.transpose([stored.index(place) for place in places if place != NONE])
    return turned if places[0] != NONE else turned[None]
