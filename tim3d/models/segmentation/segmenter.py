"""Interface of segmenters: windows of grey values to named maps, joined over a volume.

Thresholds, networks and segmenters of users (docs/extend.md) are values of this class. The verb
reads voxels, writes fields and resumes; it names no particular segmenter. No torch here.
"""

from __future__ import annotations

import json
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np

from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Box, Triple, triple
from tim3d.kernels.morphology.offset_votes import Voting
from tim3d.kernels.windows.lattice import Array, Lattice, crop_lattice, peak_bytes
from tim3d.kernels.windows.stitching import gather
from tim3d.models.segmentation.dropout import Pass

Maps: TypeAlias = Mapping[str, Array]
LABELS = "labels"


@dataclass(frozen=True, slots=True)
class Map:
    """Map that a segmenter returns beside the labels; it becomes a field ``OUT_NAME``.

    Parameters
    ----------
    name : str
        Key of the map in the mapping that the segmenter returns, for example ``"uncertainty"``.
    long_name : str
        Quantity of its values; in a map with a plane for each class, ``{}`` stands for the class.
    units : str
        Unit of the values; ``"1"`` for dimensionless ones.
    dtype : {"float32", "uint8", "uint16", "uint32"}
        Type of the values, exactly as returned; uint32 only for objects, whose field is uint32
        whatever the type of the numbers in a window.
    per_class : bool
        Whether the array has a first axis of classes, each of which becomes a field
        ``OUT_NAME_CLASS``.
    joined : {"voxels", "objects", "given", "basins", "votes"}
        How windows are joined to a volume. "voxels": each voxel comes from one window. "objects":
        numbers of objects, 0 for none, which are paired over the borders of windows and numbered
        from 1 over the volume; see `tim3d.kernels.morphology.objects`. "given": numbers in uint32
        that are already those of the volume; each voxel comes from one window. "basins": heights, kept as
        ``OUT_NAME_heights``, which rise towards the middle of objects; ``OUT_NAME`` holds the
        numbers of their basins in the class `of`; see `tim3d.kernels.morphology.joined_basins`.
        "votes": an array with a first axis of offsets along z, y and x from each voxel to the middle of
        its object, kept as ``OUT_name_offset_z`` and so on; ``OUT_name`` holds the numbers of the
        objects of the class `of`; see `tim3d.kernels.morphology.offset_votes`.
    overlap : float
        Least intersection over union of two objects that are one, where two windows are compared.
    of : str
        Class of the labels whose voxels climb the heights.
    depth : float
        Tops are one object if the saddle between them lies less than this below the lower one.
    voting : Voting, optional
        How voxels vote for the middles of objects.
    """

    name: str
    long_name: str
    units: str = "1"
    dtype: Literal["float32", "uint8", "uint16", "uint32"] = "float32"
    per_class: bool = False
    joined: Literal["voxels", "objects", "given", "basins", "votes"] = "voxels"
    overlap: float = 0.5
    of: str = ""
    depth: float = 0.0
    voting: Voting | None = None

    @property
    def planes(self) -> tuple[str, ...]:
        """Names of the planes of offsets, and of what is given beside them; none for other maps."""
        if self.voting is None:
            return ()
        offsets, rest = self.voting.planes[:3], self.voting.planes[3:]
        return (*(f"offset_{axis}" for axis in offsets), *rest)

    def leading(self, classes: tuple[str, ...]) -> tuple[int, ...]:
        """Axes before those of the voxels: of classes, of planes, or none."""
        count = len(classes) if self.per_class else len(self.planes)
        return (count,) if count else ()

    def fields(self, out: str, classes: tuple[str, ...]) -> list[tuple[str, str]]:
        """Name and long name of each field of the map.

        >>> Map("probability", "probability of {}", per_class=True).fields("phase", ("pore", "solid"))
        [('phase_probability_pore', 'probability of pore'), ('phase_probability_solid', 'probability of solid')]
        """
        if self.joined == "basins":
            return [(f"{out}_{self.name}_heights", f"heights of {self.long_name}")]
        if self.planes:
            said = f"of each voxel for {self.long_name}"
            return [(f"{out}_{self.name}_{one}", f"{one} {said}") for one in self.planes]
        if not self.per_class:
            return [(f"{out}_{self.name}", self.long_name)]
        return [(f"{out}_{self.name}_{one}", self.long_name.format(one)) for one in classes]

    def description(self) -> dict[str, Any]:
        """All that decides the values, for JSON; not what decides numbers of objects only."""
        left_out = {"of", "depth", "voting"} | (set() if self.joined == "objects" else {"overlap"})
        planes = {"planes": list(self.planes)} if self.planes else {}
        return {n: value for n, value in asdict(self).items() if n not in left_out} | planes


# Probabilities as they are computed, for segmenters that ask others.
EXACT = Map("probability", "probability of {}", per_class=True)


class Segmenter(ABC):
    """Function from windows of grey values to labels and other maps.

    Subclass it as a frozen dataclass that pickles. `open` is called once in each process and
    returns the function that is called with windows. A window is a box of grey values (z, y, x) as
    stored, and its position in the volume, which may reach beyond the border. The function returns
    a mapping of arrays: ``labels`` in uint8, the number of the class, and each of the `maps`,
    without the `context`.

    The maps do not depend on the blocks. With a `window`, because all windows lie on one lattice
    that is fixed in the volume, mirrored at its border; so a voxel may depend on its whole window.
    Without one, because a voxel must depend on grey values within the `halo` alone, by the same
    arithmetic wherever the array begins (no running sums of floats); then any box may be passed,
    cut at the border of the volume.

    Attributes
    ----------
    kind : str
        Name of the family, part of the description.
    version : int
        To be increased when the same parameters give other maps; part of the description.
    classes : tuple of str
        Names of the labels 0, 1, ...
    maps : tuple of Map
        Maps that it returns beside the labels.
    window : (z, y, x), optional
        Voxels of a window, with its halo.
    halo : (z, y, x)
        Border of a window that is discarded.
    context : int
        Additional slices before and after a window of one slice.
    total_stride : (z, y, x)
        Window and halo must be multiples of it: 2**d for a network that halves its input d times.
    working_bytes : float
        Bytes that a call needs for each input voxel, besides the input and the maps.
    needs_torch, whole_slices : bool
        Whether workers need torch; whether blocks are whole slices by default.
    block_voxels : int
        About how many voxels a block has by default, if it is not of whole slices.
    blocks_at_once : int
        Blocks of a process that are computed at a time: 1, or 2 where a device computes.
    sha256 : str
        Digest of the file that it is read from, if any; part of the fingerprint.
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
    block_voxels: ClassVar[int] = 2**26
    blocks_at_once: ClassVar[int] = 1
    sha256: str = ""

    @abstractmethod
    def open(self) -> Callable[..., Maps]:
        """Load the segmenter, once in each process, and return a function of ``(grey, place)``."""

    def description(self) -> dict[str, Any]:
        """Kind, parameters, windows and maps: all that determines the output, for JSON."""
        given: dict[str, Any] = (
            {f.name: getattr(self, f.name) for f in fields(self)} if is_dataclass(self) else {}
        )
        how = {
            "window": self.window,
            "halo": self.halo,
            "context": self.context,
            "total_stride": self.total_stride,
        }
        maps = [one.description() for one in self.maps]
        return {
            "kind": self.kind,
            "version": self.version,
            **given,
            **how,
            "classes": self.classes,
            "maps": maps,
        }

    @property
    def note(self) -> str:
        """Line of a plan about what it does beside its blocks; empty if there is nothing to say."""
        return ""

    def exact(self) -> Segmenter:
        """The same segmenter with the one map `EXACT`: probabilities in float32.

        Raises
        ------
        ArgumentError
            If it gives no probabilities.
        """
        if EXACT not in self.maps:
            raise ArgumentError(
                f"segmenter {self.kind!r} gives no probabilities, of which an uncertainty is made. It needs the map "
                f"{EXACT.name!r}, per class, in float32"
            )
        return self

    def dropping(self, one: Pass) -> Segmenter:
        """The same segmenter in a pass with dropout.

        Raises
        ------
        ArgumentError
            If it drops nothing.
        """
        raise ArgumentError(
            f"a segmenter of the kind {self.kind!r} has no dropout, so that all of its passes are alike: "
            "--uncertainty views"
        )

    def turned(self) -> Segmenter:
        """The same segmenter for volumes whose y and x are exchanged.

        Raises
        ------
        ArgumentError
            If its windows are not square.
        """
        if (self.window and self.window[1] != self.window[2]) or self.halo[1] != self.halo[2]:
            raise ArgumentError(
                f"segmenter {self.kind!r} has windows {self.window} that cannot be turned by a quarter"
            )
        return self

    def record(self, codes: tuple[int, ...]) -> dict[str, Any]:
        """Description and codes of classes, as recorded in a field and in its fingerprint."""
        return {**self.description(), "codes": codes}

    def lattice(self, shape: Triple) -> Lattice | None:
        """Lattice of the windows over a volume; None if any box may be passed."""
        return crop_lattice(shape, self.window, self.halo, self.context) if self.window else None

    @property
    def climbed(self) -> tuple[Map, ...]:
        """Maps of heights, whose basins are objects."""
        return tuple(one for one in self.maps if one.joined == "basins")

    @property
    def voted(self) -> tuple[Map, ...]:
        """Maps of offsets, whose objects are found by votes."""
        return tuple(one for one in self.maps if one.joined == "votes")

    @property
    def inputs(self) -> Mapping[str, str]:
        """Other fields of the sample that it reads, and their fingerprints."""
        return {}

    @property
    def read_sample(self) -> str:
        """The sample of these fields, or ""."""
        return ""

    @property
    def numbered(self) -> tuple[Map, ...]:
        """Maps of numbered objects."""
        return tuple(one for one in self.maps if one.joined == "objects")

    def read_box(self, shape: Triple, core: Box) -> Box:
        """Box of the volume that the maps of a core depend on."""
        lattice, volume = self.lattice(shape), Box.whole(shape)
        if lattice is None:
            return core.grow(self.halo).clip(volume)
        # Objects are compared with those of the windows before them, which may end at the core.
        return lattice.read_box(core.grow(self._before, (0, 0, 0)).clip(volume))

    @property
    def _before(self) -> Triple:
        return (1, 1, 1) if self.numbered else (0, 0, 0)

    def farthest_read(self, shape: Triple) -> Triple:
        """Largest number of voxels read beyond a core along each axis, for plans."""
        lattice = self.lattice(shape)
        if lattice is None:
            return self.halo
        edges = zip(lattice.window, lattice.halo, self._before, strict=True)
        z, y, x = (p - 1 - h + b for p, h, b in edges)
        return (z + lattice.context, y, x)

    def block_bytes(self, shape: Triple, core: Triple, read: Triple, voxel_bytes: int) -> int:
        """Peak bytes of a block: voxels and maps with copies to decode and encode, and a call."""
        out = 1 + sum(
            np.dtype(m.dtype).itemsize * len(m.fields("", self.classes)) for m in self.maps
        )
        lattice = self.lattice(shape)
        if lattice:
            grown = triple(n + b for n, b in zip(core, self._before, strict=True))
            held = peak_bytes(
                lattice, grown, itemsize=2 * voxel_bytes, channels=0, out_bytes=3 * out
            )
            objects = len(self.numbered) * held_bytes(lattice, grown)
            return held + objects + int(self._call_bytes(out) * math.prod(lattice.input_shape))
        call = (_thickness(self.halo[0]) + 2 * self.halo[0]) * read[1] * read[2]
        return (
            2 * voxel_bytes * math.prod(read)
            + 3 * out * math.prod(core)
            + int(self._call_bytes(out) * call)
        )

    def _call_bytes(self, out: int) -> float:
        return self.working_bytes + out

    def region(self, shape: Triple, core: Box, grey: Array, box: Box) -> Maps:
        """Maps of a core from the grey values of a box: `read_box` of the core, or larger."""
        made = self.blank(core)
        for found, seen, kept in self._calls(shape, core, grey, box):
            place(made, found, seen, kept, core)
        return made

    def blank(self, core: Box) -> dict[str, Array]:
        """Arrays for the maps of a core."""
        made = {LABELS: np.empty(core.shape, np.uint8)}
        for one in self.maps:
            made[one.name] = np.empty((*one.leading(self.classes), *core.shape), one.dtype)
        return made

    def each_window(
        self, shape: Triple, indices: Sequence[Triple], grey: Array, box: Box
    ) -> Iterator[Maps]:
        """Yield the maps of whole windows, in this order; override it to call a device in batches.

        `grey` are the values of a box that contains all that these windows read.
        """
        lattice, call = self.lattice(shape), opened(self)
        assert lattice is not None, "windows are asked for and the segmenter has none"
        for index in indices:
            seen = lattice.box(index)
            given = gather(lattice, index, grey, box)
            yield checked(self, call(given, seen.grow((self.context, 0, 0))), seen.shape)

    def _calls(
        self, shape: Triple, core: Box, grey: Array, box: Box
    ) -> Iterator[tuple[Maps, Box, Box]]:
        """Yield maps, the box that they show, and the box of the core that they determine."""
        lattice = self.lattice(shape)
        if lattice is None:
            call = opened(self)
            for kept in _slabs(core, _thickness(self.halo[0])):
                seen = self.read_box(shape, kept)
                yield (
                    checked(self, call(grey[seen.within(box).slices], seen), seen.shape),
                    seen,
                    kept,
                )
            return
        indices = lattice.windows(core)
        every = self.each_window(shape, indices, grey, box)
        for index, found in zip(indices, every, strict=True):
            yield found, lattice.box(index), lattice.support(index).clip(core)


def place(made: Mapping[str, Array], found: Maps, seen: Box, kept: Box, core: Box) -> None:
    """Copy the `kept` voxels of maps that show the box `seen` into the maps of a core."""
    for name, target in made.items():
        target[(..., *kept.within(core).slices)] = found[name][(..., *kept.within(seen).slices)]


def held_bytes(lattice: Lattice, core: Triple) -> int:
    """Bytes of numbers that wait for the next window, and of the comparison of two windows."""
    z, y, x = lattice.window
    _, ny, nx = (n // s + 2 for n, s in zip(core, lattice.stride, strict=True))
    oz, oy, ox = (max(1, 2 * h) for h in lattice.halo)
    waiting = ny * nx * oz * y * x + nx * z * oy * x + z * y * ox
    return 4 * waiting + 32 * math.prod(lattice.window)


def _thickness(halo: int) -> int:
    """Slices of a call when any box may be passed: one, or several times the halo."""
    return 1 if halo == 0 else max(8, 4 * halo)


def _slabs(core: Box, thickness: int) -> Iterator[Box]:
    for start in range(core.start[0], core.stop[0], thickness):
        stop = min(start + thickness, core.stop[0])
        yield Box((start, *core.start[1:]), (stop, *core.stop[1:]))


_opened: dict[tuple[object, ...], Callable[..., Maps]] = {}
_opening = threading.Lock()


def opened(segmenter: Segmenter) -> Callable[..., Maps]:
    """Return the function of a segmenter, opened once in each process."""
    # The class itself, not its name: a notebook may define it again with other code.
    also = (segmenter.read_sample, *sorted(segmenter.inputs.items()))
    key = (type(segmenter), segmenter.sha256, described(segmenter), also)
    with _opening:
        if key not in _opened:
            _opened[key] = segmenter.open()
        return _opened[key]


def described(segmenter: Segmenter) -> str:
    """The description as canonical JSON.

    Raises
    ------
    ArgumentError
        If it holds values that JSON cannot.
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


def checked(segmenter: Segmenter, found: Maps, shape: Triple) -> Maps:
    """Return the maps of a box of this shape if they are as the segmenter declares.

    Raises
    ------
    InputError
        If a map is missing or has another shape or type, or a label has no class.
    """
    what = f"segmenter {segmenter.kind!r}"
    for one in (Map(LABELS, "", dtype="uint8"), *segmenter.maps):
        expected = one.leading(segmenter.classes) + shape
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
