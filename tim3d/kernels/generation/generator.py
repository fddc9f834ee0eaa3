"""Base class of generators: values that compute the labels of any box of an endless volume."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import lru_cache
from itertools import product
from typing import Any, ClassVar

import numpy as np

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple, triple
from tim3d.phases import Phases


class Generator(ABC):
    """Generator of labels, or grey values; subclass it as a frozen dataclass that can be pickled.

    Two boxes must agree, bit for bit, where they overlap: a voxel is a function of its coordinates
    and of the fields of the dataclass, and does not depend on the box. Then the result is
    independent of blocks, workers and resumed runs. `tim3d.generators.Noise` provides random
    numbers with this property.

    Attributes
    ----------
    kind : str
        Name of the model. With `version` and the fields of the dataclass it forms the description
        that is recorded and hashed into the fingerprint of a volume. The name of the class is not
        included.
    version : int
        Version of the model, to be raised whenever the same fields give different labels.
    phases : Phases, optional
        Names and codes of the labels 0, 1, ... that `labels` returns; None for grey values from 0
        to 255.
    spacing_nm : (dz, dy, dx)
        Edges of a voxel.
    needs_torch : bool
        Whether a worker needs torch.
    """

    __slots__ = ()
    kind: ClassVar[str] = ""
    version: ClassVar[int] = 1
    needs_torch: ClassVar[bool] = False
    phases: Phases | None = None
    spacing_nm: tuple[float, float, float]

    @abstractmethod
    def labels(self, box: Box) -> np.ndarray:
        """Compute labels 0, 1, ... in the order of the codes, or grey values; uint8 of a box."""

    @abstractmethod
    def block_bytes(self, core: Triple) -> int:
        """Memory in bytes while the labels of a block are computed, including the labels."""

    @property
    def halo(self) -> Triple:
        """Range around a block that it depends on, in voxels; a plan reports the extra work."""
        return (0, 0, 0)

    @property
    def tile_edge(self) -> int:
        """Edge of a tile, which is computed as a whole, in voxels; blocks are whole tiles.

        Tiles start at the origin of the volume.
        """
        return 1

    @property
    def reads(self) -> str:
        """Path of the file that the generator was read from; empty if there is none."""
        return ""

    def of_shape(self, shape: Triple) -> Generator:
        """Return the generator of a volume of a shape: itself, unless it depends on the shape."""
        return self

    def names(self, out: str | None) -> tuple[str, ...]:
        """Names of the fields that are written: `out`, or ``phase``, or ``raw`` for grey values.

        With several names, `labels` returns an array with a first axis of that length.
        """
        return (out or ("raw" if self.phases is None else "phase"),)

    def check(self) -> None:  # noqa: B027
        """Raise if every block would fail; called before anything is written."""

    def doubts(self) -> tuple[str, ...]:
        """Sentences that warn of what the voxels do not resolve; logged before the work."""
        return ()

    def inputs(self) -> Mapping[str, str]:
        """Digests of the files that determine the labels, by their names in messages."""
        return {}

    def description(self) -> dict[str, Any]:
        """Everything that determines the labels, for JSON: kind, version and all fields but phases.

        The phases are recorded by name elsewhere.

        Raises
        ------
        ArgumentError
            If the generator has no kind, is not a dataclass, or a field cannot be written as JSON.
        """
        if not self.kind or not hasattr(self, "__dataclass_fields__"):
            raise ArgumentError(
                f"{type(self).__name__} has no description: make it a frozen dataclass with a kind, as kind = 'stripes'"
            )
        described: dict[str, Any] = as_data(self)
        return described


class Numbered(Generator):
    """Generator of particles that do not overlap, each of which has a number."""

    __slots__ = ()

    @abstractmethod
    def numbers(self, box: Box, shape: Triple) -> np.ndarray:
        """Compute the number of the particle of every voxel of a box of a volume; uint32.

        From 1 on, and 0 between particles. A particle that a face of the volume cuts has one number
        on both sides along the axes of `wrapped`. Along others its halves are two.

        Parameters
        ----------
        box : Box
            Voxels.
        shape : (z, y, x)
            Voxels of the volume.
        """

    @abstractmethod
    def wrapped(self, shape: Triple) -> tuple[int, ...]:
        """Axes along which a volume of a shape goes on across its faces."""


class Grown(Generator):
    """Generator whose periodic cell is simulated as a whole, once, before any block is made.

    The simulation is a state, an array that `grow` takes a stretch further. `tim3d.generate` keeps
    the state in the sample, goes on from it after a kill, and cuts the blocks out of the cell.

    Attributes
    ----------
    cell : (z, y, x)
        Voxels of the cell, which is repeated beyond its faces.
    """

    __slots__ = ()
    cell: Triple

    @abstractmethod
    def begin(self) -> np.ndarray:
        """State at the start: a contiguous array."""

    @abstractmethod
    def grow(self, state: np.ndarray) -> float:
        """Take the state some steps further, in place; return the share that is done, 1 at the end.

        It depends on the state alone, so that a run from a stored state ends with the same bits.
        """

    @abstractmethod
    def grown(self, state: np.ndarray) -> np.ndarray:
        """Labels of the cell at the end; uint8 of the shape `cell`."""

    @property
    @abstractmethod
    def growth_bytes(self) -> int:
        """Memory in bytes of the simulation."""

    def labels(self, box: Box) -> np.ndarray:
        """Compute labels of a box; the last cell is kept in memory."""
        whole, out = _grown(self), np.empty(box.shape, np.uint8)
        for place, source in repeats(box, self.cell):
            out[place] = whole[source.slices]
        return out

    def block_bytes(self, core: Triple) -> int:
        """Memory in bytes of a block, with the cell."""
        return self.growth_bytes + math.prod(core)


@lru_cache(maxsize=1)
def _grown(generator: Grown) -> np.ndarray:
    state = generator.begin()
    while generator.grow(state) < 1:
        pass
    return generator.grown(state)


def repeats(box: Box, cell: Triple) -> Iterator[tuple[tuple[slice, ...], Box]]:
    """Parts of a box that lie in one repetition of a cell each: the place in the box, and the part of the cell.

    >>> [(place[2], source.start[2], source.stop[2]) for place, source in repeats(Box((0, 0, 3), (1, 1, 9)), (1, 1, 4))]
    [(slice(0, 1, None), 3, 4), (slice(1, 5, None), 0, 4), (slice(5, 6, None), 0, 1)]
    """
    axes = [list(_repeats(a, b, n)) for a, b, n in zip(box.start, box.stop, cell, strict=True)]
    for parts in product(*axes):
        places, starts, stops = zip(*parts, strict=True)
        yield places, Box(triple(starts), triple(stops))


def _repeats(start: int, stop: int, period: int) -> Iterator[tuple[slice, int, int]]:
    at = start
    while at < stop:
        first = at % period
        length = min(stop - at, period - first)
        yield slice(at - start, at - start + length), first, first + length
        at += length


def as_data(value: Any) -> Any:
    """Convert a value for JSON; a dataclass by its fields, with kind and version of its class.

    Raises
    ------
    ArgumentError
        If the value is not a finite number, string, boolean or None, or composed of these.

    Examples
    --------
    >>> as_data({"edges": (10.0, 2.5), "name": None})
    {'edges': [10, 2.5], 'name': None}
    """
    if is_dataclass(value) and not isinstance(value, type):
        named = {
            key: getattr(value, key) for key in ("kind", "version") if hasattr(type(value), key)
        }
        return named | {
            f.name: as_data(getattr(value, f.name)) for f in fields(value) if f.name != "phases"
        }
    if isinstance(value, Mapping):
        return {str(key): as_data(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [as_data(item) for item in value]
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() else value  # 10 and 10.0 are the same length
    if value is None or isinstance(value, str | int):
        return value
    raise ArgumentError(
        f"a generator is described by numbers and texts, and has a {type(value).__name__}: {value!r}"
    )


def refuse_longer(
    length: float, shape: Triple, spacing: tuple[float, float, float], what: str, cure: str
) -> None:
    """Raise `ArgumentError` if a structure is longer than the volume, which would be all of one phase.

    Parameters
    ----------
    length : float
        Length of what the structure is made of, in nm.
    shape, spacing : (z, y, x)
        Voxels of the volume, and edges of a voxel in nm.
    what, cure : str
        The length in words, and the option that makes it shorter.
    """
    longest = max(n * edge for n, edge in zip(shape, spacing, strict=True))
    if not length <= longest:
        raise ArgumentError(
            f"{what} of {length:g} nm is longer than the longest edge of the volume, {longest:g} nm: "
            f"give a shorter {cure}, or a larger volume"
        )


def listed(lengths: Sequence[float]) -> str:
    """Numbers as they are typed.

    >>> listed((80.0, 80.0, 0.5))
    '80, 80, 0.5'
    """
    return ", ".join(f"{length:g}" for length in lengths)
