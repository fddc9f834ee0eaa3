"""Slice numbers in file names: duplicates are an error, gaps a warning."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from tim3d.errors import InputError
from tim3d.sources.positions import DIGITS, position_nm

_SHOWN = 3


@dataclass(frozen=True)
class Gap:
    """Numbers that are missing after a slice: its name and number, the next ones, how many."""

    before: str
    number: int
    after: str
    following: int
    missing: int

    def __str__(self) -> str:
        return (
            f"numbers of slices jump from {self.number} to {self.following} ({self.before}, {self.after}): "
            f"{self.missing} slices are missing, and z is wrong from there on"
        )


def check_numbers(names: Sequence[str]) -> tuple[str, ...]:
    """Check the numbers in the names of slices, and return warnings about gaps.

    Names that differ in one number only are numbered by it. Files that also differ in other words
    (two detectors), or in two numbers (tiles of a mosaic), must not have the same numbers within a
    folder. Names that contain z positions are not checked.

    Parameters
    ----------
    names : sequence of str
        Paths of the files relative to the folder of the stack, in the order of the slices.

    Returns
    -------
    tuple of str
        One warning if numbers are missing, otherwise empty.

    Raises
    ------
    InputError
        If two files have the same number, or the names count two things.

    Examples
    --------
    >>> check_numbers(["s_1.tif", "s_2.tif", "s_7.tif", "s_8.tif"])
    ('numbers of slices jump from 2 to 7 (s_2.tif, s_7.tif): 4 slices are missing, and z is wrong from there on',)
    """
    if any(position_nm(name) is not None for name in names):
        return ()
    for paths in _by_folder(names).values():
        kinds = _by_words(paths)
        for members in kinds.values():
            _refuse_grid([numbers for _, numbers in members], [path for path, _ in members])
        _refuse_doubles(_numbered_kinds(kinds))
    return tuple(str(gap) for gap in gaps_in(names)[:_SHOWN])


def gaps_in(names: Sequence[str]) -> tuple[Gap, ...]:
    """Numbers that are missing among the numbers in names, folder by folder.

    Names that contain z positions, and folders with several kinds of names, have none.

    >>> [gap.missing for gap in gaps_in(["s_1.tif", "s_2.tif", "s_7.tif", "s_8.tif"])]
    [4]
    """
    if any(position_nm(name) is not None for name in names):
        return ()
    every = (_by_words(paths) for paths in _by_folder(names).values())
    return tuple(gap for kinds in every if len(kinds) == 1 for gap in _gaps(_numbered_kinds(kinds)))


def all_negative(names: Sequence[str]) -> bool:
    """Whether all numbers in names are negative, so that dashes before them may be separators.

    >>> all_negative(["s_-1.tif", "s_-2.tif"]), all_negative(["s_-1.tif", "s_0.tif"])
    (True, False)
    """
    if len(names) < 2 or any(position_nm(name) is not None for name in names):
        return False
    every = (_by_words(paths) for paths in _by_folder(names).values())
    numbers = [number for kinds in every for number, _ in _numbered_kinds(kinds)]
    return bool(numbers) and max(numbers) < 0


def _numbered_kinds(
    kinds: dict[tuple[str, ...], list[tuple[str, tuple[int, ...]]]],
) -> list[tuple[int, str]]:
    return [pair for members in kinds.values() for pair in _numbered(members)]


def _by_folder(names: Iterable[str]) -> dict[str, list[str]]:
    folders: dict[str, list[str]] = defaultdict(list)
    for name in names:
        folders[str(PurePosixPath(name).parent)].append(name)
    return folders


def _by_words(paths: Iterable[str]) -> dict[tuple[str, ...], list[tuple[str, tuple[int, ...]]]]:
    """Group paths, with the numbers in their names, by the other words in the names."""
    kinds: dict[tuple[str, ...], list[tuple[str, tuple[int, ...]]]] = defaultdict(list)
    for path in paths:
        parts = DIGITS.split(PurePosixPath(path).name)
        kinds[tuple(parts[::2])].append((path, tuple(int(part) for part in parts[1::2])))
    return kinds


def _varying(numbers: Sequence[tuple[int, ...]]) -> list[int]:
    return [
        place for place, column in enumerate(zip(*numbers, strict=True)) if len(set(column)) > 1
    ]


def _refuse_grid(numbers: Sequence[tuple[int, ...]], paths: Sequence[str]) -> None:
    places = _varying(numbers)
    counts = [len({row[place] for row in numbers}) for place in places]
    if len(places) == 2 and counts[0] * counts[1] == len(set(numbers)):
        raise InputError(
            f"names count two things, {counts[0]} x {counts[1]}: {', '.join(paths[:_SHOWN])} ... Slices of one volume "
            f"have one number: name those of one kind by a pattern such as '{_pattern(paths[0])}'"
        )


def _numbered(members: Sequence[tuple[str, tuple[int, ...]]]) -> list[tuple[int, str]]:
    """Number of each slice: the only number in its name that varies, or the only number."""
    numbers = [row for _, row in members]
    places = _varying(numbers) if len(set(numbers)) > 1 else list(range(len(numbers[0])))
    return [(row[places[0]], path) for path, row in members] if len(places) == 1 else []


def _refuse_doubles(numbered: Sequence[tuple[int, str]]) -> None:
    seen: dict[int, str] = {}
    for number, path in numbered:
        if number in seen:
            raise InputError(
                f"{seen[number]} and {path} both have the number {number}; a stack has one image a slice. Name those "
                f"of one kind by a pattern such as '{_pattern(path)}', or leave one out"
            )
        seen[number] = path


def _pattern(path: str) -> str:
    name = PurePosixPath(path).name
    return str(PurePosixPath(path).with_name(re.sub(r"\d+", "*", name, count=1)))


def _gaps(numbered: Sequence[tuple[int, str]]) -> list[Gap]:
    ordered = sorted(numbered)
    usual = min((b[0] - a[0] for a, b in itertools.pairwise(ordered)), default=1)
    return [
        Gap(first, a, second, b, (b - a) // usual - 1)
        for (a, first), (b, second) in itertools.pairwise(ordered)
        if b - a >= 2 * usual
    ]
