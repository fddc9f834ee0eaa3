"""What a segmenter is: windows of grey values in, named maps out, and how the maps of windows become those of a volume.

Everything that segments is a value of this kind: thresholds, networks, and what a user writes
(docs/extend.md). The verb reads voxels, writes fields and resumes; it knows no segmenter by name.
No torch here.
"""

from __future__ import annotations

import json
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np

from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Box, Triple, triple
from tim3d.kernels.windows.lattice import Array, Lattice, crop_lattice, peak_bytes, require_phase
from tim3d.kernels.windows.stitching import gather

Maps: TypeAlias = Mapping[str, Array]
LABELS = "labels"


@dataclass(frozen=True, slots=True)
class Map:
    """A map that a segmenter gives out beside the labels; it becomes a field ``OUT_NAME`` of the sample.

    Parameters
    ----------
    name : str
        Its key in what the segmenter returns, for example ``"uncertainty"``.
    long_name : str
        What its values are; of a map with one plane for each class, ``{}`` stands for the class.
    units : str
        Of the values; ``"1"`` for a number without.
    dtype : {"float32", "uint8", "uint16"}
        Of the values, exactly as returned.
    per_class : bool
        Whether the array has a first axis of classes, each of which becomes a field
        ``OUT_NAME_CLASS``.
    joined : {"voxels", "objects"}
        How windows become a volume. "voxels": each voxel comes from one window. "objects": numbers
        of objects, of which those on both sides of a border are paired; declared, and not built
        yet: it is refused.
    """

    name: str
    long_name: str
    units: str = "1"
    dtype: Literal["float32", "uint8", "uint16"] = "float32"
    per_class: bool = False
    joined: Literal["voxels", "objects"] = "voxels"

    def fields(self, out: str, classes: tuple[str, ...]) -> list[tuple[str, str]]:
        """Name and long name of each field that it becomes.

        >>> Map("probability", "probability of {}", per_class=True).fields("phase", ("pore", "solid"))
        [('phase_probability_pore', 'probability of pore'), ('phase_probability_solid', 'probability of solid')]
        """
        if not self.per_class:
            return [(f"{out}_{self.name}", self.long_name)]
        return [(f"{out}_{self.name}_{one}", self.long_name.format(one)) for one in classes]


class Segmenter(ABC):
    """Windows of grey values in, labels and other maps out; subclass it as a frozen dataclass that pickles.

    It is opened once in each process (`open`), and what that gives is called with windows. A window
    is a box of grey values (z, y, x) as they are stored, and its place in the volume, which may
    reach beyond the border. What comes back is a mapping of arrays: ``labels`` in uint8, the number
    of the class, and each of the `maps`, without the `context`.

    The maps do not depend on the blocks. With a `window`, because all windows lie on one lattice
    that is fixed in the volume, mirrored at its border; so a window may be looked at as a whole.
    Without one, because a voxel must depend on grey values within the `halo` alone, by the same
    arithmetic wherever the array begins (no running sums of floats); then any box may be given, cut
    at the border of the volume.

    Attributes
    ----------
    kind : str
        Name of the family, part of the description.
    version : int
        Raised when the same parameters give other maps; part of the description.
    classes : tuple of str
        Names of the labels 0, 1, ...
    maps : tuple of Map
        What it gives out beside the labels.
    window : (z, y, x), optional
        Voxels of a window, with its halo.
    halo : (z, y, x)
        Border of a window that is thrown away.
    context : int
        Slices before and after a window, one slice thick, that are given besides.
    total_stride : (z, y, x)
        Window and halo must be multiples of it: a network that halves its input d times needs 2**d.
    working_bytes : float
        What a call needs for every voxel that it is given, beside these and the maps.
    needs_torch, whole_slices : bool
        Whether a worker must hold torch; whether blocks are whole slices unless the user says
        otherwise.
    sha256 : str
        Digest of the file that it is read from, if it is; part of what decides the numbers.
    """

    kind: ClassVar[str] = ""
    version: ClassVar[int] = 1
    classes: tuple[str, ...] = ()
    maps: tuple[Map, ...] = ()
    window: Triple | None = None
    halo: Triple = (0, 0, 0)
    context: int = 0
    total_stride: Triple = (1, 1, 1)
    working_bytes: float = 32.0
    needs_torch: ClassVar[bool] = False
    whole_slices: ClassVar[bool] = False
    sha256: str = ""

    @abstractmethod
    def open(self) -> Callable[..., Maps]:
        """Load what the segmenter needs, once in each process, and return what is called as ``(grey, place)``."""

    def description(self) -> dict[str, Any]:
        """What decides the numbers beside the grey values, for JSON: kind, parameters, windows and maps."""
        given: dict[str, Any] = (
            {f.name: getattr(self, f.name) for f in fields(self)} if is_dataclass(self) else {}
        )
        how = {
            "window": self.window,
            "halo": self.halo,
            "context": self.context,
            "total_stride": self.total_stride,
        }
        maps = [asdict(one) for one in self.maps]
        return {
            "kind": self.kind,
            "version": self.version,
            **given,
            **how,
            "classes": self.classes,
            "maps": maps,
        }

    def record(self, codes: tuple[int, ...]) -> dict[str, Any]:
        """What a field records of its making, and what its fingerprint is made of: description and codes of classes."""
        return {**self.description(), "codes": codes}

    def lattice(self, shape: Triple) -> Lattice | None:
        """Where the windows lie over a volume; None if any box may be given."""
        return crop_lattice(shape, self.window, self.halo, self.context) if self.window else None

    def read_box(self, shape: Triple, core: Box) -> Box:
        """Voxels of the volume that are needed for the maps of a core."""
        lattice = self.lattice(shape)
        return lattice.read_box(core) if lattice else core.grow(self.halo).clip(Box.whole(shape))

    def farthest_read(self, shape: Triple) -> Triple:
        """The most that a block reads beyond its core, for a plan."""
        lattice = self.lattice(shape)
        if lattice is None:
            return self.halo
        z, y, x = (p - 1 - h for p, h in zip(lattice.window, lattice.halo, strict=True))
        return (z + lattice.context, y, x)

    def block_bytes(self, shape: Triple, core: Triple, read: Triple, voxel_bytes: int) -> int:
        """Bytes of all buffers at the peak of a block: voxels while they are decoded, maps while encoded, a call."""
        out = 1 + sum(
            np.dtype(m.dtype).itemsize * len(m.fields("", self.classes)) for m in self.maps
        )
        lattice = self.lattice(shape)
        if lattice:
            held = peak_bytes(
                lattice, core, itemsize=2 * voxel_bytes, channels=0, out_bytes=3 * out
            )
            return held + int(self._call_bytes(out) * math.prod(lattice.input_shape))
        call = (_thickness(self.halo[0]) + 2 * self.halo[0]) * read[1] * read[2]
        return (
            2 * voxel_bytes * math.prod(read)
            + 3 * out * math.prod(core)
            + int(self._call_bytes(out) * call)
        )

    def _call_bytes(self, out: int) -> float:
        return self.working_bytes + out

    def region(self, shape: Triple, core: Box, grey: Array, box: Box) -> Maps:
        """The maps of a core from grey values read in a box: `read_box` of the core, or more."""
        made = {LABELS: np.empty(core.shape, np.uint8)}
        for one in self.maps:
            planes = (len(self.classes),) if one.per_class else ()
            made[one.name] = np.empty((*planes, *core.shape), one.dtype)
        call = opened(self)
        for given, place, kept in self._windows(shape, core, grey, box):
            inside = place.grow((-self.context, 0, 0))
            found = checked(self, call(given, place), inside.shape)
            for name, target in made.items():
                target[(..., *kept.within(core).slices)] = found[name][
                    (..., *kept.within(inside).slices)
                ]
        return made

    def _windows(
        self, shape: Triple, core: Box, grey: Array, box: Box
    ) -> Iterator[tuple[Array, Box, Box]]:
        """Grey values of each window, where they lie, and the voxels of the core that come from it."""
        lattice = self.lattice(shape)
        if lattice is None:
            for kept in _slabs(core, _thickness(self.halo[0])):
                place = self.read_box(shape, kept)
                yield grey[place.within(box).slices], place, kept
            return
        for index in lattice.windows(core):
            place = lattice.box(index).grow((self.context, 0, 0))
            yield gather(lattice, index, grey, box), place, lattice.support(index).clip(core)


def _thickness(halo: int) -> int:
    """Slices that are given at once where any box may be: one, or several times the halo."""
    return 1 if halo == 0 else max(8, 4 * halo)


def _slabs(core: Box, thickness: int) -> Iterator[Box]:
    for start in range(core.start[0], core.stop[0], thickness):
        stop = min(start + thickness, core.stop[0])
        yield Box((start, *core.start[1:]), (stop, *core.stop[1:]))


_opened: dict[tuple[type, str, str], Callable[..., Maps]] = {}
_opening = threading.Lock()


def opened(segmenter: Segmenter) -> Callable[..., Maps]:
    """What the segmenter is called by, opened once in a process, whichever thread asks first."""
    # The class itself, not its name: in a notebook it is defined again, with other code.
    key = (type(segmenter), segmenter.sha256, described(segmenter))
    with _opening:
        if key not in _opened:
            _opened[key] = segmenter.open()
        return _opened[key]


def described(segmenter: Segmenter) -> str:
    """The description as canonical JSON.

    Raises
    ------
    ArgumentError
        If it holds what JSON cannot.
    """
    try:
        return json.dumps(
            segmenter.description(), sort_keys=True, separators=(",", ":"), allow_nan=False
        )
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"segmenter {segmenter.kind!r} cannot be described in JSON: {error}. Its parameters must be finite "
            "numbers, texts, lists and mappings; give a file by its path and sha256"
        ) from error


def check_segmenter(segmenter: Segmenter, shape: Triple) -> None:
    """Refuse a segmenter that cannot be laid over a volume, before any voxel is read.

    Raises
    ------
    ArgumentError
        With what it declares and what it may.
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
    if numbered := [one.name for one in segmenter.maps if one.joined != "voxels"]:
        raise ArgumentError(
            f"{what} numbers objects in {numbered[0]!r}: objects are not paired over the borders of windows yet. Give "
            "out labels and number them: tim3d label"
        )


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


def checked(segmenter: Segmenter, found: Maps, shape: Triple) -> Maps:
    """What a segmenter gave for a box of this shape, if it is what it declares.

    Raises
    ------
    InputError
        With the first map that is missing, or of another shape or type, or a label without a class.
    """
    what = f"segmenter {segmenter.kind!r}"
    for one in (Map(LABELS, "", dtype="uint8"), *segmenter.maps):
        expected = ((len(segmenter.classes),) if one.per_class else ()) + shape
        if one.name not in found:
            raise InputError(
                f"{what} gave no {one.name!r} (it gave {', '.join(found) or 'nothing'})"
            )
        values = np.asarray(found[one.name])
        if values.shape != expected or values.dtype != one.dtype:
            raise InputError(
                f"{what} gave {one.name!r} as {values.dtype} of shape {values.shape}; it must be {one.dtype} of "
                f"{expected}"
            )
    if (highest := int(np.max(found[LABELS], initial=0))) >= len(segmenter.classes):
        raise InputError(
            f"{what} gave the label {highest}; its classes are 0 to {len(segmenter.classes) - 1}"
        )
    return found
