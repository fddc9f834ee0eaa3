"""Units of tables: numbers are read between 1 and 1000 where that is possible, and mean what is stored."""

from __future__ import annotations

import math

import pytest

from tim3d.reporting import table
from tim3d.reporting.table import Line
from tim3d.units import LENGTHS, fitting, power_of, quotient


@pytest.mark.parametrize("power", [-3, -2, -1, 1, 2, 3])
@pytest.mark.parametrize("nm", [3.0, 170.0, 2400.0, 8.1e5, 4e7])
def test_a_shown_number_is_the_stored_length_in_another_unit(power: int, nm: float) -> None:
    units = "nm" if power == 1 else f"nm{power}"
    shown = fitting(units, [nm**power, 0.0, math.nan, math.inf])
    edge = LENGTHS[shown.units.removesuffix(str(power)) if power != 1 else shown.units]
    assert nm**power * shown.factor == pytest.approx((nm / edge) ** power)
    others = [abs(math.log10((nm / e) ** power) - 1.5) for e in LENGTHS.values()]
    assert abs(math.log10(nm**power * shown.factor) - 1.5) == pytest.approx(min(others))


@pytest.mark.parametrize("units", ["1", "W m-1 K-1", "bit", ""])
def test_other_units_stay(units: str) -> None:
    assert power_of(units) == 0
    assert (fitting(units, [1e9]).units, fitting(units, [1e9]).factor) == (units, 1.0)


def test_one_unit_holds_for_all_numbers_of_a_table() -> None:
    lines = [Line("", n, n, "nm-1", {"pore": v}) for n, v in (("a", 0.02), ("b", 2e-7))]
    shown = table.units_of(lines)["nm-1"]
    assert shown.units == "µm-1"
    assert [table.cell(line, "pore", shown.factor)[0] for line in lines] == ["20.00", "0.0002000"]


@pytest.mark.parametrize(
    ("units", "written"),
    [("W m-1 K-1", "W/(m K)"), ("S m-1", "S/m"), ("m2 g-1", "m2/g"), ("W m-2 K-1", "W m-2 K-1")],
)
def test_factors_are_written_as_a_quotient(units: str, written: str) -> None:
    assert quotient(units) == written
