"""Options of `open_source`: which volume of a file is read, and which of them a format takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from numpy.typing import DTypeLike

from tim3d.errors import ArgumentError, InputError
from tim3d.sources.holes import MissingChunks
from tim3d.typed import Pick

Order = Literal["C", "F"]
# Names of what can be chosen along an axis; empty names where a file gives none.
Offers: TypeAlias = Mapping[str, Sequence[str]]

PICKED = ("scene", "time", "channel", "level")
_SHOWN = 6
_MOST = 10**6  # a damaged header may promise any number


def unnamed(count: int) -> tuple[str, ...]:
    """Empty names of `count` things."""
    return ("",) * min(count, _MOST)


@dataclass(frozen=True)
class Picks:
    """Scene, time, channel and level to read: numbers from 0, or names.

    Examples
    --------
    >>> Picks(channel="esb", time=2).chosen({"channel": ("SE2", "ESB"), "time": ("",) * 3}, "a.tif")
    {'scene': 0, 'time': 2, 'channel': 1, 'level': 0}
    """

    scene: Pick | None = None
    time: Pick | None = None
    channel: Pick | None = None
    level: Pick | None = None

    def chosen(self, offers: Offers, where: str, hint: str = "") -> dict[str, int]:
        """Number of what is chosen along each axis; 0 along an axis that offers one thing.

        Parameters
        ----------
        offers : mapping of axis to names
            What the file holds; an axis that is not named has one thing.
        where : str
            Name of the file in messages.
        hint : str
            End of the message if a choice is missing.

        Raises
        ------
        ArgumentError
            If the file does not have what is chosen; the message lists what it has.
        InputError
            If something must be chosen and is not.
        """
        every = {axis: offers.get(axis, ("",)) for axis in PICKED}
        found = {axis: self._number(axis, names, where) for axis, names in every.items()}
        open_axes = {axis: every[axis] for axis, number in found.items() if number is None}
        if open_axes:
            seen = " and ".join(f"{len(names)} {axis}s" for axis, names in open_axes.items())
            typed = " ".join(f"--{axis} 0" for axis in open_axes)
            raise InputError(
                f"{where} holds {seen}; tim3d reads one volume. Choose one, for example {typed}"
                f"{_which(open_axes)}{hint}"
            )
        return {axis: number or 0 for axis, number in found.items()}

    def _number(self, axis: str, names: Sequence[str], where: str) -> int | None:
        pick = getattr(self, axis)
        if pick is None:
            return 0 if len(names) == 1 or axis == "level" else None
        named = [name.lower() for name in names]
        text = str(pick).strip().lower()
        if text and text in named:
            return named.index(text)
        if text.isdigit() and int(text) < len(names):
            return int(text)
        raise ArgumentError(f"{where} has {_counted(axis, names)}; --{axis} {pick} is not there")


def _counted(axis: str, names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"one {axis}, 0{f' ({names[0]})' if names[0] else ''}"
    return f"{len(names)} {axis}s, 0 to {len(names) - 1}{_which({axis: names})}"


def _which(offers: Offers) -> str:
    shown = [
        f"{axis}s " + ", ".join(f"{i} {name}" for i, name in enumerate(names[:_SHOWN]))
        for axis, names in offers.items()
        if any(names)
    ]
    return f" ({'; '.join(shown)})" if shown else ""


@dataclass(frozen=True)
class Wanted:
    """Options of `open_source`: everything besides the location of the source."""

    dataset: str | None = None
    shape: tuple[int, ...] | None = None
    dtype: DTypeLike | None = None
    order: Order = "C"
    missing_chunks: MissingChunks = "refuse"
    picks: Picks = field(default_factory=Picks)

    def refuse(
        self, kind: str, *, dataset: bool = False, raw: bool = False, chunks: bool = False
    ) -> None:
        """Raise `ArgumentError` if an option is set that does not apply to a kind of source."""
        if dataset and self.dataset is not None:
            raise ArgumentError(
                f"--dataset {self.dataset} names an array inside HDF5 or zarr; {kind} has none: leave it out"
            )
        if raw and (self.shape is not None or self.dtype is not None):
            raise ArgumentError(
                f"--shape and --dtype describe a raw file; {kind} contains them: leave them out"
            )
        if chunks and self.missing_chunks != "refuse":
            raise ArgumentError(
                f"--missing-chunks is about HDF5 and zarr; {kind} has no chunks: leave it out"
            )

    def refuse_picks(self, kind: str) -> None:
        """Raise `ArgumentError` if something but the only volume is chosen."""
        self.picks.chosen({}, kind)
