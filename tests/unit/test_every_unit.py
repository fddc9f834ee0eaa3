"""A number stands beside its own unit in whatever it is written to, and an interval around its number.

Variables all have other units, numbers and lengths, so that none can stand in the place of another. A new
way to write results gets a line in `WRITTEN`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from tim3d.exporting.row_tables import wide
from tim3d.exporting.tables import pieces
from tim3d.relating.files import read_table
from tim3d.relating.summary import summary_of, write_summary
from tim3d.reporting import results, table
from tim3d.stages.shared.wide_table import head
from tim3d.units import LENGTHS, quotient

# Value and unit of each number of a sample; limits and an error belong to the first.
NUMBERS = {
    "thick": (37.0, "nm"),
    "thick_low": (31.0, "nm"),
    "thick_high": (43.0, "nm"),
    "area": (0.019, "nm-1"),
    "density": (5.3e-7, "nm-3"),
    "conductivity": (1.7, "W m-1 K-1"),
    "conductance": (2.9e8, "W m-2 K-1"),
    "share": (0.23, "1"),
    "ionic": (0.059, "S m-1"),
}
FOUND = xr.Dataset(
    {name: ((), value, {"units": units}) for name, (value, units) in NUMBERS.items()}
)
Written = Iterator[tuple[str, float, str]]


def same(value: float, units: str, stored: float, own: str) -> bool:
    """Whether a number in one unit is another in its own; lengths may be in a longer unit."""
    for name, nm in LENGTHS.items():
        shown = re.sub(r"^nm(?=-?\d*$)", name, own)
        power = int(re.sub(r"^nm", "", own) or 1) if own.startswith("nm") else 0
        if units in (shown, quotient(shown)) and np.isclose(value * nm**power, stored, rtol=6e-4):
            return True
    return False


def of_rows(folder: Path) -> Written:
    for row in table.rows({"a": FOUND}):
        yield row.variable, row.value, row.units


def of_csv(folder: Path) -> Written:
    table.write_csv(table.rows({"a": FOUND}), folder / "a.csv")
    for row in read(folder / "a.csv"):
        yield row["variable"], float(row["value"]), row["units"]


def of_text(folder: Path) -> Written:
    shown = [
        re.split(r"  +", line)
        for line in table.text(table.rows({"a": FOUND})).splitlines()
        if re.search(r"\d", line) and "%" not in line
    ]
    for label, units, value, *_ in shown:
        if " to " in value:
            low, high = value.split(" to ")
            yield f"{label}_low", float(low), units
            yield f"{label}_high", float(high), units
        else:
            yield label, float(value), units


def of_page(folder: Path) -> Written:
    for row in re.findall(r"<tr>(.*?)</tr>", results.descriptor_table(FOUND), re.DOTALL):
        cells = [
            re.sub("<.*?>", "", one).strip()
            for one in re.findall(r"<td.*?>(.*?)</td>", row, re.DOTALL)
        ]
        if cells:
            value, units = (
                one.replace("−", "-").replace(" × 10", "e") for one in (cells[-1], cells[1])
            )
            yield cells[0], float(value), units


def of_export(folder: Path) -> Written:
    for piece in pieces(FOUND, "a", ""):
        yield piece["variable"][0], piece["value"][0], piece["units"][0]


def of_particles(folder: Path) -> Written:
    for name, column in wide(FOUND.expand_dims(particle=[1]), "particle").items():
        if (found := re.fullmatch(r"(\w+)(?: \[(.*)\])?", name)) and found[1] != "particle":
            yield found[1], float(column[0]), found[2] or "1"


def of_head(folder: Path) -> Written:
    for name, values in FOUND.data_vars.items():
        label, _, units = head(str(name), values).partition(" [")
        yield label, float(values), units.removesuffix("]") or "1"


def of_summary(folder: Path) -> Written:
    found = summary_of(samples())
    for name in found["number"].values:
        yield (
            str(name),
            float(found["mean"].sel(number=name)),
            str(found["unit"].sel(number=name).values),
        )


def of_summary_file(folder: Path) -> Written:
    write_summary(samples(), folder / "s.csv")
    for row in read(folder / "s.csv"):
        yield row["number"], float(row["mean"]), row["unit"]


def samples() -> xr.Dataset:
    """A table of two samples that are alike."""
    return FOUND.expand_dims(sample=["a", "b"])


def read(path: Path) -> list[Mapping[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


WRITTEN: dict[str, Callable[[Path], Written]] = {
    "rows": of_rows, "csv": of_csv, "screen": of_text, "report": of_page, "export": of_export,
    "particles": of_particles, "heading": of_head, "summary": of_summary, "summary file": of_summary_file,
}  # fmt: skip


@pytest.mark.parametrize("way", WRITTEN)
def test_every_number_stands_beside_its_unit(way: str, tmp_path: Path) -> None:
    written: dict[str, Any] = {}
    for name, value, units in WRITTEN[way](tmp_path):
        assert name in NUMBERS, f"{name!r} is no number of the result"
        assert same(value, units, *NUMBERS[name]), f"{name} is {value} {units}, not {NUMBERS[name]}"
        written[name] = units
    assert set(written) == set(NUMBERS)
    assert len({units for name, units in written.items() if "thick" not in name}) == 6


def test_an_interval_stands_beside_the_number_of_its_sample() -> None:
    other = FOUND.assign({n: FOUND[n] * 2 for n in ("thick", "thick_low", "thick_high")})
    text = table.text(table.rows({"a": FOUND, "b": xr.merge([other], combine_attrs="override")}))
    ends = re.findall(r"^(\w)\s+thick\s+\w+\s+([\d.]+ to [\d.]+)", text, re.MULTILINE)
    assert ends == [("a", "31.00 to 43.00"), ("b", "62.00 to 86.00")]


@pytest.mark.parametrize("head", ["thick [{}]", "thick ({})", " thick[{}] "])
@pytest.mark.parametrize("units", ["nm", "W m-1 K-1", "S/m"])
def test_a_unit_is_read_in_whichever_brackets_it_stands(
    head: str, units: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(f"sample,{head.format(units)}\na,1.5\nb,2.5\n")
    found = read_table(tmp_path / "a.csv")
    assert found.thick.values.tolist() == [1.5, 2.5]
    assert found.thick.attrs["units"] == units
