"""The surface to publish comes first, with the error that the documentation measured for it."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tim3d.reporting import table
from tim3d.reporting.surfaces import (
    CROSS_CHECKS,
    KNOWN_ERRORS,
    RECOMMENDED,
    known_errors,
    largest_difference,
    surface_table,
)

DOCS = (Path(__file__).parents[2] / "docs" / "descriptors.md").read_text()


@pytest.mark.parametrize("ratio", KNOWN_ERRORS)
def test_the_known_errors_are_those_of_the_documentation(ratio: int) -> None:
    kinds = (RECOMMENDED, *CROSS_CHECKS)
    start = rf"^\| \({ratio}, 1, 1\), "
    ball = _numbers(re.search(start + r"R = 10 \|(.*)", DOCS, re.MULTILINE)[1])
    planes = np.array(
        [_numbers(r) for r in re.findall(start + r"(?:normal|25).*?\|(.*)", DOCS, re.MULTILINE)]
    )
    for place, name in enumerate(kinds):
        known = KNOWN_ERRORS[ratio][name]
        assert (known.ball, known.lowest, known.highest) == (
            ball[place], planes[:, place].min(), planes[:, place].max(),
        )  # fmt: skip


def _numbers(cells: str) -> list[float]:
    return [float(cell) for cell in cells.split("|")[:4]]


def results(gradient: float, spacing: tuple[float, float, float]) -> xr.Dataset:
    about = {"units": "nm-1"}
    values = {RECOMMENDED: 0.01, **dict(zip(CROSS_CHECKS, (gradient, 0.011, 0.015), strict=True))}
    found = {n: ("phase", [v, v], about) for n, v in reversed(list(values.items()))}
    return xr.Dataset(found, {"phase": ["pore", "solid"]}, {"spacing_nm": list(spacing)})


@pytest.mark.parametrize(
    ("gradient", "spacing", "says"),
    [
        (0.0098, (10, 10, 10), "agrees within 5 %"),
        (0.009, (20, 10, 10), "differs by 10.0 %, more than 5 %"),
        (0.0098, (80, 10, 10), "was not measured: resample"),
    ],
)
def test_the_recommended_one_is_first_and_the_others_check_it(
    gradient: float, spacing: tuple[float, float, float], says: str
) -> None:
    found = results(gradient, spacing)
    lines = table.lines(table.rows({"": found}))
    text = str(surface_table(found, lines, table.units_of(lines)))
    assert re.findall(r"<td><code>(\w+)", text) == [RECOMMENDED, *CROSS_CHECKS]
    assert says in text
    assert "Recommended: specific_surface (Crofton, 13 directions), because" in text
    assert f"{100 * (gradient / 0.01 - 1):+.1f} %".replace("-", "−") in text
    assert "µm<sup>−1</sup> = m<sup>2</sup> cm<sup>−3</sup>" in text  # 1/µm is m²/cm³


def test_longer_voxels_have_the_error_of_longer_ones() -> None:
    assert [
        found and found[0] for found in map(known_errors, ((1, 1, 1), (21, 10, 10), (51, 10, 10)))
    ] == [1, 3, None]


@pytest.mark.parametrize(
    ("one", "other", "largest"),
    [
        ({"a": 1.0, "b": 4.0}, {"a": 2.0, "b": 3.0}, -0.5),
        ({"a": 3.0, "b": 2.9}, {"a": 2.0, "b": 3.0}, 0.5),
        ({"a": 1.0}, {"a": 2.0, "b": 3.0}, -0.5),
        ({"a": 1.0, "b": 3.3}, {"a": 0.0, "b": 3.0}, 0.1),
        ({"a": 1.0}, {"b": 3.0}, math.nan),
    ],
)
def test_the_largest_difference_is_that_farthest_from_none_with_its_sign(
    one: dict[str, float], other: dict[str, float], largest: float
) -> None:
    found = largest_difference(*(table.Line("", "", "", "nm-1", v) for v in (one, other)))
    assert found == pytest.approx(largest, nan_ok=True)
