"""Tidy rows: every number once, with its place and unit, the same on the screen and in the CSV."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tim3d.errors import WriteError
from tim3d.reporting import table
from tim3d.reporting.table import Row

PHASES = ["pore", "matrix", "filler"]


@pytest.fixture
def results() -> xr.Dataset:
    pairs = np.array([[np.nan, 1 / 3, 2.0], [1 / 3, np.nan, 3.0], [2.0, 3.0, np.nan]])
    return xr.Dataset(
        {
            "phase_fraction": ("phase", [0.25, 0.5, 0.25], {"units": "1"}),
            "relative_density": ((), 0.75, {"units": "1"}),
            "interface_area": (("phase", "phase_other"), pairs, {"units": "nm-1"}),
            "phase_fraction_z": (("phase", "z"), np.arange(6.0).reshape(3, 2), {"units": "1"}),
        },
        {"phase": PHASES, "phase_other": PHASES, "z": [5.0, 15.0]},
    )


def test_every_number_is_one_row(results: xr.Dataset) -> None:
    rows = table.rows({"a": results, "b": results})
    assert len(rows) == 2 * sum(v.size for v in results.data_vars.values())
    for row in rows:
        expected = float(results[row.variable].sel(row.place).values)
        assert row.value == expected or (math.isnan(row.value) and math.isnan(expected))
        assert row.units == results[row.variable].attrs["units"]


def test_text_leaves_profiles_out_and_shows_each_pair_once(results: xr.Dataset) -> None:
    text = table.text(table.rows({"a": results}))
    assert "phase_fraction_z" not in text
    assert [
        line.split()[:2] for line in text.splitlines() if line.startswith("interface_area")
    ] == [
        ["interface_area", "pore-matrix"],
        ["interface_area", "pore-filler"],
        ["interface_area", "matrix-filler"],
    ]
    assert "nan" not in text


def test_columns_of_the_text_are_aligned_and_hold_the_values(results: xr.Dataset) -> None:
    header, _, *body = table.text(table.rows({"a": results})).splitlines()
    assert header.split() == ["variable", "units", *PHASES, "whole"]
    fraction = next(line for line in body if line.startswith("phase_fraction"))
    for name, value in zip(PHASES, results["phase_fraction"].values, strict=True):
        assert float(fraction[header.index(name) :].split()[0]) == value
    density = next(line for line in body if line.startswith("relative_density"))
    assert density[header.index("whole") :] == "0.7500"


def test_the_sample_is_a_column_only_where_there_are_several(results: xr.Dataset) -> None:
    assert table.text(table.rows({"a": results})).split()[0] == "variable"
    several = table.text(table.rows({"a": results, "b": results})).splitlines()
    assert several[0].split()[0] == "sample"
    assert {line.split()[0] for line in several[2:]} == {"a", "b"}


def test_nothing_measured_is_an_empty_table() -> None:
    assert table.rows({"a": xr.Dataset()}) == []
    assert table.text([]).split()[:2] == ["variable", "units"]


def test_csv_gives_every_number_back(results: xr.Dataset, tmp_path: Path) -> None:
    rows = table.rows({"a, with a comma": results})
    table.write_csv(rows, tmp_path / "r.csv")
    with (tmp_path / "r.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert list(read[0]) == [
        *("sample", "variable", "region", "phase", "phase_other", "z", "value", "units"),
        *("uncertainty", "uncertainty_kind", "definition", "method", "reference"),
    ]
    for row, line in zip(rows, read, strict=True):
        assert line["sample"] == row.sample
        assert line["value"] == "" if math.isnan(row.value) else float(line["value"]) == row.value
        assert {k: line[k] for k in ("phase", "phase_other", "z") if line[k]} == {
            k: str(v) for k, v in row.place.items()
        }


def test_csv_into_a_folder_that_cannot_be_written_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(WriteError, match=r"r\.csv"):
        table.write_csv([Row("a", "v", {}, 1.0, "1")], tmp_path / "r.csv")


@pytest.mark.parametrize("value", [0.0, 1.0, 0.35, -123456.7, 9.99996e-9, 5e20])
def test_numbers_keep_four_digits(value: float) -> None:
    assert float(table.number(value)) == pytest.approx(value, rel=5e-4)


def test_what_has_an_axis_is_one_line_per_axis_with_a_column_per_phase() -> None:
    values = [[0.5, 0.25, 0.0], [1.0, 0.75, float("nan")]]
    share = (("phase", "axis"), values, {"units": "1"})
    found = xr.Dataset({"share": share}, {"phase": ["pore", "solid"], "axis": ["z", "y", "x"]})
    drawn = table.lines(table.rows({"a": found}))
    assert [line.label for line in drawn] == ["share z", "share y", "share x"]
    assert drawn[1].values == {"pore": 0.25, "solid": 0.75}
    assert table.text(table.rows({"a": found})).splitlines()[2].split() == [
        "share",
        "z",
        "1",
        "0.5000",
        "1.000",
    ]


def test_a_direction_is_a_line_and_one_that_was_not_computed_has_none() -> None:
    values = [[1.5, float("nan")], [1.25, float("nan")]]
    path = (("phase", "direction"), values, {"units": "1"})
    found = xr.Dataset({"path": path}, {"phase": ["pore", "solid"], "direction": ["+z", "-z"]})
    (line,) = table.lines(table.rows({"a": found}))
    assert (line.label, line.values) == ("path +z", {"pore": 1.5, "solid": 1.25})
    assert len(table.rows({"a": found})) == 4  # the CSV keeps its place, empty


def test_what_differs_with_the_order_of_its_places_has_a_line_for_both() -> None:
    """An area between two phases is one number; flux along x by a gradient along z is not the reverse."""
    values = np.arange(9.0).reshape(3, 3) + 1
    found = xr.Dataset(
        {"tensor": (("axis", "flux_axis"), values, {"units": "1"})},
        {"axis": list("zyx"), "flux_axis": list("zyx")},
    )
    drawn = table.lines(table.rows({"a": found}))
    assert {line.label: line.values for line in drawn} == {
        f"tensor {axis}-{other}": {"whole": values[i, j]}
        for i, axis in enumerate("zyx")
        for j, other in enumerate("zyx")
    }


def test_a_line_of_a_file_names_its_region(tmp_path: Path, results: xr.Dataset) -> None:
    part = results.assign_attrs(origin_nm=[0.0, 10.0, 20.0], end_nm=[50.0, 60.0, 75.5])
    for found, region in ((results, "whole"), (part, "z 0:50, y 10:60, x 20:75.5 nm")):
        table.write_csv(table.rows({"a": found}), tmp_path / "r.csv")
        with (tmp_path / "r.csv").open(newline="") as file:
            assert {line["region"] for line in csv.DictReader(file)} == {region}
