"""Table of the estimators of a surface: the recommended one first, and why; the others beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tim3d.lazy import xarray as xr
from tim3d.reporting import page, table
from tim3d.units import Shown, power_of

RECOMMENDED = "specific_surface"
PER_MASS = "specific_surface_per_mass"
CROSS_CHECKS = (
    "specific_surface_gradient",
    "specific_surface_marching_cubes",
    "specific_surface_faces",
)
# A larger difference between Crofton and gradient says that one of them is off.
ALIKE = 0.05


@dataclass(frozen=True)
class KnownError:
    """Measured error of an estimator in %: on a ball of radius 10 voxels, and on single planes."""

    ball: float
    lowest: float
    highest: float

    @property
    def text(self) -> str:
        """The error in words."""
        return (
            f"ball {signed(self.ball)} %, planes {signed(self.lowest)} to {signed(self.highest)} %"
        )


# By the longest over the shortest edge of a voxel; from the tables of docs/descriptors.md.
KNOWN_ERRORS = {
    1: {
        RECOMMENDED: KnownError(-0.1, -7.3, 2.2),
        CROSS_CHECKS[0]: KnownError(-0.8, -1.1, 0.9),
        CROSS_CHECKS[1]: KnownError(8.6, -0.4, 12.7),
        CROSS_CHECKS[2]: KnownError(50.1, 0.0, 73.1),
    },
    2: {
        RECOMMENDED: KnownError(-0.4, -12.9, 8.9),
        CROSS_CHECKS[0]: KnownError(-1.5, -1.1, 3.0),
        CROSS_CHECKS[1]: KnownError(11.8, -0.4, 22.8),
        CROSS_CHECKS[2]: KnownError(49.6, 0.0, 73.2),
    },
    3: {
        RECOMMENDED: KnownError(-0.4, -15.7, 10.1),
        CROSS_CHECKS[0]: KnownError(-2.1, -1.1, 6.0),
        CROSS_CHECKS[1]: KnownError(15.6, -0.4, 29.4),
        CROSS_CHECKS[2]: KnownError(49.6, 0.0, 73.2),
    },
    5: {
        RECOMMENDED: KnownError(-1.9, -23.2, 9.8),
        CROSS_CHECKS[0]: KnownError(-5.5, -1.1, 11.4),
        CROSS_CHECKS[1]: KnownError(18.6, -0.4, 35.5),
        CROSS_CHECKS[2]: KnownError(47.4, 0.0, 73.2),
    },
}


def signed(value: float) -> str:
    """A number of percent with its sign.

    >>> signed(-0.4), signed(8.9), signed(0.0)
    ('−0.4', '+8.9', '0')
    """
    return f"{value:+.1f}".replace("-", "−") if value else "0"


def known_errors(spacing: Sequence[float]) -> tuple[int, dict[str, KnownError]] | None:
    """Errors measured on voxels at least as long as these; None for longer ones.

    >>> known_errors((20, 10, 10))[0], known_errors((22, 10, 10))[0], known_errors((100, 10, 10))
    (2, 3, None)
    """
    ratio = max(spacing) / min(spacing)
    fitting = [edge for edge in KNOWN_ERRORS if edge >= ratio * (1 - 1e-9)]
    return (fitting[0], KNOWN_ERRORS[fitting[0]]) if fitting else None


def is_surface(name: str) -> bool:
    """Whether a variable has a row here."""
    return name in (RECOMMENDED, PER_MASS, *CROSS_CHECKS)


def surface_table(
    found: xr.Dataset, lines: Sequence[table.Line], units: dict[str, Shown]
) -> Markup:
    """Estimators of the surface by phase, with the recommendation as a note.

    Parameters
    ----------
    found : Dataset
        Results, with the voxel size in the attribute ``spacing_nm``.
    lines : sequence of Line
        All lines of the results.
    units : dict of str to Shown
        Units in which they are shown.
    """
    ours = {line.variable: line for line in lines if is_surface(line.variable)}
    order = [n for n in (RECOMMENDED, PER_MASS, *CROSS_CHECKS) if n in ours]
    if not order:
        return Markup()
    names = table.columns(ours.values())
    known = known_errors(found.attrs.get("spacing_nm", (1.0,)))
    header = ["surface", "unit", *names, "difference", "known error", *_kinds(ours)]
    body = [
        [
            page.code(name),
            _unit(units[ours[name].units]),
            *(page.measured(ours[name], column, units) for column in names),
            _difference(ours, name),
            "" if known is None or name not in known[1] else known[1][name].text,
            *([ours[name].kind] if _kinds(ours) else []),
        ]
        for name in order
    ]
    text = "Surface of each phase per volume of the whole sample; the first line is the recommended one."
    return page.table(header, body, 2, text) + page.note(advice(found, known))


def _kinds(lines: dict[str, table.Line]) -> list[str]:
    return ["±"] * any(line.kind for line in lines.values())


def _unit(shown: Shown) -> Markup:
    """Unit of a surface per volume: one over µm is a square metre per cubic centimetre."""
    both = " = m2 cm-3" if shown.units == "µm-1" else ""
    return Markup('<span class="unit">{}</span>').format(page.units(shown.units + both))


def _difference(lines: dict[str, table.Line], name: str) -> str:
    """Largest difference of a cross-check from the recommended estimator over the phases, in %."""
    if name not in CROSS_CHECKS or RECOMMENDED not in lines:
        return ""
    return f"{signed(100 * largest_difference(lines[name], lines[RECOMMENDED]))} %"


def largest_difference(one: table.Line, other: table.Line) -> float:
    """Relative difference of the phase in which it is largest; nan without a surface."""
    pairs = [(one.values[n], v) for n, v in other.values.items() if n in one.values and v > 0]
    return max(((a - b) / b for a, b in pairs), key=abs, default=math.nan)


def advice(found: xr.Dataset, known: tuple[int, dict[str, KnownError]] | None) -> str:
    """Sentence on which estimator to publish and why, and what its cross-check says."""
    if RECOMMENDED not in found:
        return ""
    error = (
        "its error on voxels this long was not measured: resample, or believe the gradient"
        if known is None
        else f"its error was measured on voxels of {known[0]}:1 ({known[1][RECOMMENDED].text})"
    )
    return (
        f"Recommended: {RECOMMENDED} (Crofton, 13 directions), because it tends to the area of a smooth surface of any "
        f"shape and keeps small features; {error}. The others are cross-checks. {_check(found)}"
    )


def _check(found: xr.Dataset) -> str:
    if CROSS_CHECKS[0] not in found or power_of(found[RECOMMENDED].attrs.get("units", "1")) != -1:
        return ""
    a, b = (found[name].values for name in (CROSS_CHECKS[0], RECOMMENDED))
    off = max((abs(x / y - 1) for x, y in zip(a, b, strict=True) if y > 0), default=0.0)
    if off <= ALIKE:
        return f"The gradient agrees within {100 * ALIKE:g} %."
    return (
        f"The gradient differs by {100 * off:.1f} %, more than {100 * ALIKE:g} %: the surface lies along the grid, "
        "features are small, or voxels are long."
    )
