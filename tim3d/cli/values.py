"""Values of arguments from what is typed in the shell or stands in a recipe."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tim3d.errors import ArgumentError
from tim3d.grid import Triple
from tim3d.phases import Phases


def parts(value: Any) -> list[Any]:
    """Entries between commas, or of a list."""
    return value.split(",") if isinstance(value, str) else list(value)


def names(value: Any) -> list[str]:
    """Names, each once."""
    found = [str(part).strip() for part in parts(value)]
    if not all(found):
        raise ValueError
    refuse_twice(found, value)
    return found


def words(value: Any) -> list[Any]:
    """Names with parameters: a part that is a parameter belongs to the name before it."""
    if not isinstance(value, str):
        return list(value)
    words: list[str] = []
    for part in parts(value):
        if words and ":" in words[-1] and "=" in part and ":" not in part:
            words[-1] += f",{part.strip()}"
        else:
            words.append(part.strip())
    return names(words)


def refuse_twice(found: Iterable[Any], value: Any) -> None:
    """Refuse an entry that is listed twice: a typing error that would be lost silently."""
    listed = list(found)
    if twice := [one for place, one in enumerate(listed) if one in listed[:place]]:
        shown = repr(twice[0]) if isinstance(twice[0], str) else f"{twice[0]:g}"
        raise ArgumentError(f"{shown} is given twice in {value!r}: give it once")


def pairs(value: Any) -> dict[str, str]:
    """Texts by their names."""
    if isinstance(value, Mapping):
        return {str(k): str(v) for k, v in value.items()}
    found = [[half.strip() for half in part.split("=")] for part in parts(value)]
    if not all(len(pair) == 2 and all(pair) for pair in found):
        raise ValueError
    refuse_twice((key for key, _ in found), value)
    return dict(found)


def phases(value: Any) -> Phases:
    """Names of phases and their codes."""
    return Phases.parse(value) if isinstance(value, str) else Phases(**value)


def voxel_size(value: Any) -> dict[str, float]:
    """Edges of a voxel by axis."""
    if isinstance(value, Mapping) or (isinstance(value, str) and "=" in value):
        return numbers_by_name(value)
    z, y, x = parts(value)
    return {"z": float(z), "y": float(y), "x": float(x)}


def numbers_by_name(value: Any) -> dict[str, float]:
    """Numbers by their names."""
    return {key: float(item) for key, item in pairs(value).items()}


def sizes(value: Any) -> dict[str, float]:
    """How many there are of each diameter."""
    found = numbers_by_name(value)
    refuse_twice(map(float, found), value)  # 150 and 150.0 are one
    return found


def by_pair(value: Any) -> dict[str, float]:
    """Numbers by pairs of phases; a:b and b:a are one."""
    found = numbers_by_name(value)
    refuse_twice((":".join(sorted(key.split(":"))) for key in found), value)
    return found


def conductivities(value: Any) -> dict[str, float | list[float]]:
    """A number, or three for z, y, x."""
    given = value if isinstance(value, Mapping) else pairs(value)
    return {str(key): number_or_three(item) for key, item in given.items()}


def number_or_three(value: Any) -> float | list[float]:
    """A number, or three between colons."""
    given = value.split(":") if isinstance(value, str) else value
    listed = given if isinstance(given, list | tuple) else [given]
    return one_or_all([float(one) for one in listed])


def slice_of(value: Any) -> slice:
    """A range of whole numbers."""
    return range_of(value, int)


def sample_slices(value: Any) -> dict[str, slice]:
    """Ranges of slices by sample; a sample alone is all of it, a range alone that of the verb's own.

    >>> sample_slices("60:80,b.zarr=0:40,c.zarr")
    {'': slice(60, 80, None), 'b.zarr': slice(0, 40, None), 'c.zarr': slice(None, None, None)}
    """
    if isinstance(value, slice):
        return {"": value}
    if isinstance(value, Mapping):
        return {path(name): _slices(one) for name, one in value.items()}
    found = [_of_sample(str(part).strip()) for part in parts(value)]
    refuse_twice((name for name, _ in found), value)
    return dict(found)


def _of_sample(part: str) -> tuple[str, slice]:
    name, equals, text = part.rpartition("=")
    if not equals and not re.fullmatch(r"-?\d*\s*:\s*-?\d*", part):
        if not part:
            raise ValueError
        return part, slice(None)
    return name.strip(), slice_of(text)


def _slices(value: Any) -> slice:
    return value if isinstance(value, slice) else slice_of(value)


def lengths(value: Any) -> slice:
    """A range of lengths."""
    return range_of(value, float)


def range_of(value: Any, kind: type) -> slice:
    """A range of numbers of a type; an open end is None."""
    start, colon, stop = str(value).partition(":")
    if not colon:
        raise ValueError
    low, high = (kind(end) if end.strip() else None for end in (start, stop))
    if low is not None and high is not None and high <= low and min(low, high) >= 0:
        raise ArgumentError(
            f"{value!r} is empty: the end of a range is beyond its start, as in 0:200"
        )
    return slice(low, high)


def numbers(value: Any) -> list[float]:
    """Numbers between commas, or one."""
    return [float(v) for v in ([value] if isinstance(value, int | float) else parts(value))]


def one_or_all(values: list[float]) -> float | list[float]:
    """The number if there is only one, else the list."""
    return values[0] if len(values) == 1 else values


def whole_number(value: Any) -> int:
    """A whole number; a fraction is an error and is not cut off."""
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return int(value)


def window(value: Any) -> tuple[int, ...]:
    """Two or three edges."""
    edges = tuple(map(whole_number, parts(value)))
    if len(edges) not in (2, 3):
        raise ValueError(f"{len(edges)} edges")
    return edges


def two_numbers(value: Any) -> tuple[float, float]:
    """Two numbers."""
    y, x = map(float, parts(value))
    return (y, x)


def three_edges(value: Any) -> Triple:
    """Three whole numbers."""
    z, y, x = map(whole_number, parts(value))
    return (z, y, x)


def three_numbers(value: Any) -> list[float]:
    """Three numbers."""
    z, y, x = map(float, parts(value))
    return [z, y, x]


def whole_numbers(value: Any) -> tuple[int, ...]:
    """Whole numbers between commas, or one."""
    return tuple(map(whole_number, [value] if isinstance(value, int) else parts(value)))


def number(value: Any) -> float:
    """A number; neither a truth value nor NaN."""
    if isinstance(value, bool) or math.isnan(float(value)):
        raise ValueError
    return float(value)


def truth_value(value: Any) -> bool:
    """A truth value; a text is an error, because any text, "no" too, would count as true."""
    if not isinstance(value, bool):
        raise ValueError
    return value


def text(value: Any) -> Any:
    """A text, or a path."""
    if not isinstance(value, str | os.PathLike):
        raise ValueError
    return value


def pick(value: Any) -> str:
    """A number or a name, as text."""
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise ValueError
    return str(value)


def path(value: Any) -> Any:
    """A path that is not empty."""
    if not str(text(value)):
        raise ValueError
    return value


def paths(value: Any) -> Any:
    """One path or several, none of them empty."""
    for one in value if isinstance(value, list | tuple) else [value]:
        path(one)
    return value


def different(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Wrap a reader of lists to refuse repeated entries."""

    def rule(value: Any) -> Any:
        found = read(value)
        refuse_twice(found, value)
        return found

    return rule


def unchanged(value: Any) -> Any:
    """The value as it is."""
    return value


def gibibytes(value: Any) -> int:
    """Bytes, from GiB."""
    return int(number(value) * 2**30)


def model_files(value: Any) -> Any:
    """One path, or several between commas; a comma may be part of the name of a file that is there."""
    if isinstance(value, str) and "," in value and not Path(value).exists():
        return [path(part) for part in names(value)]
    return path(value) if isinstance(value, str) else [path(one) for one in value]


def one_or_several(value: Any) -> float | list[float]:
    """A number, or several."""
    return one_or_all(numbers(value))
