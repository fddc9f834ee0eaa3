"""Results as they have to be when the axes of a volume are named otherwise, mirrored, or measured by another length."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

# Powers of length of the units of results while conductivities stay as they are: W m-1 K-1 has none.
POWERS = {"1": 0, "%": 0, "K": 0, "nm": 1, "m": 1, "W": 1, "S": 1}
# Ends of an axis, and each other's name in the mirrored volume.
ENDS = {"up": "down", "down": "up", "low": "high", "high": "low"}
_AXIS = re.compile(r"(?<![^_])([zyx])(?![^_])")


def power_of_length(units: str) -> int:
    """How a number of these units grows with the edges of the voxels.

    >>> power_of_length("nm-2"), power_of_length("W m-1 K-1"), power_of_length("m2 K W-1")
    (-2, 0, 1)
    """
    parts = [re.fullmatch(r"([A-Za-z%]+|1)(-?\d+)?", one) for one in units.split(" ")]
    assert all(parts), f"{units!r} is no unit"
    return sum(POWERS[one[1]] * int(one[2] or 1) for one in parts if one)


@dataclass(frozen=True)
class Change:
    """What is done to a volume: axes in another order, all mirrored, and longer edges of the voxels."""

    turn: tuple[int, int, int] = (0, 1, 2)
    mirrored: bool = False
    scale: float = 1.0

    def axis(self, letter: str) -> str:
        """New name of an axis."""
        return "zyx"[self.turn.index("zyx".index(letter))]

    def name(self, text: str) -> str:
        """New name of a variable or a dimension; ends of an axis stand behind it."""
        found = _AXIS.search(text)
        if not found:
            return text
        old, end = found[1], text[found.end() + 1 :]
        new = ENDS.get(end, end) if self.mirrored else end
        return text[: found.start()] + self.axis(old) + text[found.end() : found.end() + 1] + new

    def word(self, text: str, known: list[str]) -> str:
        """New name of an axis or a direction among those that are known there."""
        steps = {
            self.axis(letter): (sign == "-") != self.mirrored
            for sign, letter in re.findall(r"([+-]?)([zyx])", text)
        }
        for flip in (False, True):  # a direction and its reverse are one, where only one is there
            word = "".join(f"{'-' if steps[a] != flip else '+'}{a}" for a in "zyx" if a in steps)
            for one in (word, word.removeprefix("+")):
                if one in known:
                    return one
        raise AssertionError(f"{text} has no place among {known}")

    def voxels(self, values: NDArray[Any]) -> NDArray[Any]:
        """The changed volume."""
        whole = np.flip(values) if self.mirrored else values
        return np.ascontiguousarray(whole.transpose(self.turn))

    def edges(self, spacing: tuple[float, ...]) -> tuple[float, float, float]:
        """Edges of its voxels."""
        z, y, x = (self.scale * spacing[axis] for axis in self.turn)
        return z, y, x

    def expected(self, whole: xr.Dataset, like: xr.Dataset) -> xr.Dataset:
        """Results of the volume as those of the changed one, laid out as `like`; lengths as they were."""
        names = {str(n): self.name(str(n)) for n in (*whole.variables, *whole.dims)}
        moved = {n: new for n, new in names.items() if n != new}
        for dim in [
            d for d in whole.dims if self.mirrored and (d == "side" or _AXIS.search(str(d)))
        ]:
            # Places are counted from the end that is the first one there.
            places = {dim: whole[dim].variable} if dim in whole.coords else {}
            whole = whole.isel({dim: slice(None, None, -1)}).assign_coords(places)
        found = whole.rename({n: f"-{new}" for n, new in moved.items()})
        found = found.rename({f"-{new}": new for new in moved.values()})
        for dim in [str(d) for d in found.dims if d in found.coords and is_directions(found[d])]:
            known = [str(v) for v in like[dim].values]
            words = [self.word(str(v), known) for v in found[dim].values]
            found = found.assign_coords({dim: np.array(words, dtype=object)}).sel({dim: known})
        return found


def is_directions(values: xr.DataArray) -> bool:
    """Whether a coordinate holds names of axes, or of directions between them."""
    return values.dtype.kind in "OTU" and all(
        re.fullmatch(r"[+\-zyx]+", str(v)) for v in values.values
    )


def assert_alike(found: xr.Dataset, expected: xr.Dataset, rounding: float) -> None:
    """Every number and every coordinate that is one; sums of floats depend on their order."""
    assert set(found.variables) == set(expected.variables)
    for name, values in expected.variables.items():
        if values.dtype.kind in "fiub":
            other = found[name].transpose(*values.dims)
            largest = np.nan_to_num(np.abs(values.values)).max(initial=0)
            np.testing.assert_allclose(
                other.values,
                values.values,
                rtol=10 * rounding,
                atol=rounding * largest,
                err_msg=str(name),
            )
