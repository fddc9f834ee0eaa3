"""Lengths with units, and the rule for the voxel size of a sample."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation

from tim3d.errors import ArgumentError, InputError
from tim3d.grid import AXES
from tim3d.sources.base import Source

EXAMPLE = "--voxel-size z=10,y=5,x=5"

# Decimal factors keep 5.9104 um at 5910.4 nm; a float factor gives 5910.400000000001.
NM_PER_UNIT: dict[str, Decimal] = {
    "pm": Decimal("1e-3"),
    "angstrom": Decimal("0.1"),
    "nm": Decimal(1),
    "um": Decimal("1e3"),
    "mm": Decimal("1e6"),
    "cm": Decimal("1e7"),
    "m": Decimal("1e9"),
}
# Less than the radius of the smallest atom: no image has such voxels, and a length in micrometres
# that is typed as nanometres usually has.
LEAST_NM = 0.05
# A metre: numbers of other units, of counts and of damaged files lie beyond.
MOST_NM = 1e9
_SPELLINGS = {
    "å": "angstrom",
    "a": "angstrom",
    "angstroms": "angstrom",
    "nanometer": "nm",
    "nanometre": "nm",
    "\u00b5m": "um",
    "\u03bcm": "um",
    "micron": "um",
    "microns": "um",
    "micrometer": "um",
    "micrometre": "um",
    "millimeter": "mm",
    "millimetre": "mm",
    "centimeter": "cm",
    "centimetre": "cm",
    "meter": "m",
    "metre": "m",
    "picometer": "pm",
    "picometre": "pm",
}


def unit_name(text: str) -> str | None:
    """Short name of a unit of length in any of its spellings, or None.

    >>> unit_name("micron"), unit_name("Nanometer"), unit_name("pixel")
    ('um', 'nm', None)
    """
    # ImageJ writes the Greek letter as six plain characters.
    lowered = text.strip().lower().replace("\\u00b5", "\u00b5").replace("\u212b", "å")
    name = _SPELLINGS.get(lowered, lowered)
    return name if name in NM_PER_UNIT else None


def length_nm(value: float | str, unit: str) -> float:
    """Convert a length to nanometres, with a single rounding.

    Parameters
    ----------
    value : float or str
        The length.
    unit : str
        Its unit, in any spelling.

    Raises
    ------
    ArgumentError
        If the unit is unknown or the value is not a number.

    Examples
    --------
    >>> length_nm("5.9104", "um")
    5910.4
    """
    name = unit_name(unit)
    if name is None:
        raise ArgumentError(
            f"unit {unit!r} is not known; write one of {', '.join(NM_PER_UNIT)} or micron"
        )
    try:
        return float(Decimal(str(value)) * NM_PER_UNIT[name])
    except InvalidOperation as error:
        raise ArgumentError(f"{value!r} is not a number; write a length such as 5.9") from error


def positive_nm(value: object, unit: str) -> float | None:
    """Convert a length to nanometres; None if it is not a positive number or its unit is unknown.

    >>> positive_nm(5, "um"), positive_nm(0, "um"), positive_nm("5", "um"), positive_nm(5, "pixel")
    (5000.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or unit_name(unit) is None:
        return None
    return length_nm(value, unit) if math.isfinite(value) and value > 0 else None


def edges_given(voxel_size: Mapping[str, float | None] | None) -> dict[str, float | None]:
    """Lengths that were given for some of the edges z, y and x; raise `ArgumentError` for a bare number.

    >>> edges_given({"z": 20.0}), edges_given(None)
    ({'z': 20.0}, {})
    """
    if not isinstance(voxel_size, Mapping | None):
        raise ArgumentError(
            "voxel_size gives each edge its own length, as {'z': 20, 'y': 10, 'x': 10} (in the shell --voxel-size "
            f"20,10,10), got {voxel_size!r}"
        )
    return dict(voxel_size or {})


def refuse_mistyped(lengths_nm: Mapping[str, float | None]) -> None:
    """Raise `ArgumentError` if an edge that was typed in nm is smaller than an atom, or longer than a metre.

    The first is a length in micrometres, with the wrong unit or none. Metadata and other units state
    what they mean.
    """
    _refuse_less_than_atoms(lengths_nm)
    for axis, length in lengths_nm.items():
        _refuse_more_than_a_metre(length, axis)


def _refuse_less_than_atoms(lengths_nm: Mapping[str, float | None]) -> None:
    for axis, length in lengths_nm.items():
        if length is not None and 0 < length < LEAST_NM:
            raise ArgumentError(
                f"{length:g} nm along {axis} is less than an atom ({LEAST_NM:g} nm), and lengths are typed in "
                f"nm. If it is in micrometres type {1000 * length:g}"
            )


def _refuse_more_than_a_metre(length: float | None, axis: str) -> None:
    if length is not None and MOST_NM < length < math.inf:
        raise ArgumentError(
            f"the edge of a voxel is {length:g} nm along {axis}, more than a metre; it is typed in nm, for example "
            f"{EXAMPLE}"
        )


def resolve_voxel_size(
    given: Mapping[str, float | None] | None, units: str, source: Source
) -> tuple[float, float, float]:
    """Voxel size (dz, dy, dx) in nm: given lengths take precedence over metadata, axis by axis.

    Parameters
    ----------
    given : mapping of axis name to length, optional
        Lengths for any of z, y and x; None counts as not given.
    units : str
        Unit of the given lengths: nm, um (µm, micron), mm, cm, m, pm or angstrom.
    source : Source
        The source whose `voxel_size_nm` is used for the axes that are not given.

    Raises
    ------
    ArgumentError
        If an axis name or the unit is unknown, or a length in nm is less than an atom.
    InputError
        If a length is zero, negative or not finite, or an axis is neither given nor in the
        metadata.

    Examples
    --------
    >>> import numpy as np
    >>> from tim3d.sources.volumes import RawFile
    >>> scan = RawFile(path="s.raw", shape=(9, 9, 9), dtype=np.dtype("uint8"), voxel_size_nm=(None, 5.0, 5.0))
    >>> resolve_voxel_size({"z": 0.01}, "um", scan)
    (10.0, 5.0, 5.0)
    """
    lengths = lengths_given(given or {}, units)
    z, y, x = (
        lengths.get(axis, known) for axis, known in zip(AXES, source.voxel_size_nm, strict=True)
    )
    missing = [axis for axis, length in zip(AXES, (z, y, x), strict=True) if length is None]
    if missing:
        raise _unknown(missing, source)
    return (_checked(z, "z"), _checked(y, "y"), _checked(x, "x"))


def lengths_given(given: Mapping[str, float | None], units: str) -> dict[str, float]:
    """Edges of a voxel in nm that were typed, by axis.

    Raises
    ------
    ArgumentError
        If an axis name or the unit is unknown, or a length in nm is less than an atom.
    InputError
        If a length is zero, negative or not finite.

    Examples
    --------
    >>> lengths_given({"z": 0.01, "y": None}, "um")
    {'z': 10.0}
    """
    unknown = sorted(set(given) - set(AXES))
    if unknown:
        raise ArgumentError(
            f"voxel size names the axis {unknown[0]!r}; axes are z, y and x: {EXAMPLE}"
        )
    lengths = {axis: length_nm(value, units) for axis, value in given.items() if value is not None}
    try:
        _refuse_less_than_atoms(lengths if units == "nm" else {})
    except ArgumentError as error:
        hint = "or add --units um; if it is meant as it is, --units pm"
        raise ArgumentError(f"voxel size: {error}, {hint}") from error
    length_nm(1, units)  # Reject a misspelt unit even if no length uses it.
    return {axis: _checked(length, axis) for axis, length in lengths.items()}


def _unknown(axes: Sequence[str], source: Source) -> InputError:
    """Error that asks for the lengths that are missing, and for no other."""
    typed = ",".join(f"{axis}=10" for axis in axes)
    return InputError(
        f"voxel size along {', '.join(axes)} is not known: not given, and {source.label} does not contain it "
        f"({source.origin}). Type it, for example --voxel-size {typed}{_position_hint(axes[0], source)}"
    )


def _checked(length: float | None, axis: str) -> float:
    if length is None or not math.isfinite(length) or length <= 0:
        raise InputError(
            f"voxel size along {axis} is {length:g} nm; it must be a positive number: {EXAMPLE}"
        )
    _refuse_more_than_a_metre(length, axis)
    return length


def _position_hint(axis: str, source: Source) -> str:
    if axis != "z" or source.positions_nm is None:
        return ""
    return "; the slice names carry z positions, so resampling to a uniform z gives this length too"


def refuse_units_alone(units: str, voxel_size: Mapping[str, float | None] | None) -> None:
    """Raise `ArgumentError` if a unit is given for a voxel size that is not."""
    if units != "nm" and not voxel_size:
        raise ArgumentError(
            "--units is the unit of --voxel-size, which is not given: add it, or leave --units out"
        )
