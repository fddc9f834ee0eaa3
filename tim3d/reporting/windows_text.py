"""How numbers of a lattice of windows spread, as a plain table; each number is left to the CSV."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tim3d.reporting.table import Row, aligned, is_profile, number
from tim3d.units import fitting, quotient

ENDING = "_window"
_HEAD = ("variable", "units", "windows", "mean", "s.d.", "lowest", "highest")


def of_windows(found: Iterable[Row]) -> bool:
    """Whether some numbers are of windows."""
    return any(place.endswith(ENDING) for row in found for place in row.place)


def text(found: Iterable[Row]) -> str:
    """Mean, standard deviation and range over the windows, a line for each variable and place.

    Windows without a value are left out of a line, and so are profiles.

    >>> rows = [Row("a", "phase_fraction", {"z_window": z, "phase": "pore"}, z / 40, "1") for z in (10.0, 20.0)]
    >>> print(text(rows))
    variable             units  windows  mean    s.d.    lowest  highest
    -------------------  -----  -------  ------  ------  ------  -------
    phase_fraction pore  1      2        0.3750  0.1768  0.2500  0.5000
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in map(_without_windows, found):
        if not is_profile(row) and np.isfinite(row.value):
            label = " ".join([row.variable, "-".join(map(str, row.place.values()))]).rstrip()
            groups.setdefault((row.sample, label), []).append(row)
    several = len({sample for sample, _ in groups}) > 1
    lines = [
        [*([sample] if several else []), label, *_spread(rows)]
        for (sample, label), rows in groups.items()
    ]
    return "\n".join(aligned([[*(["sample"] if several else []), *_HEAD], [], *lines]))


def _without_windows(row: Row) -> Row:
    place = {key: value for key, value in row.place.items() if not key.endswith(ENDING)}
    return Row(row.sample, row.variable, place, row.value, row.units)


def _spread(rows: list[Row]) -> list[str]:
    values = np.array([row.value for row in rows])
    shown = fitting(rows[0].units, values.tolist())
    spread = values.std(ddof=1) if len(values) > 1 else float("nan")
    numbers = [values.mean(), spread, values.min(), values.max()]
    return [
        quotient(shown.units),
        str(len(values)),
        *(number(float(v) * shown.factor) for v in numbers),
    ]
