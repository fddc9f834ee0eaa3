"""Tables and figures leave: every number with its unit and definition, every figure of the report in each format."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import tim3d
from tests.exports import QUIET, exported, sample_in
from tim3d import plotting
from tim3d.cli.main import main
from tim3d.errors import ArgumentError, MissingFieldError, MixedRunError
from tim3d.exporting import figures
from tim3d.exporting.tables import columns, pieces
from tim3d.formats.builtin import FIGURES
from tim3d.storage import store

TRANSPORT = "phase_transport_pore=1,copper=10"
POTENTIAL = "phase_potential_z_pore=1,copper=10"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    made = sample_in(tmp_path_factory.mktemp("tables"))
    block = tim3d.Options(progress=False, block=(8, 32, 48))
    tim3d.measure(made, ["phase_fraction", "specific_surface"], options=block)
    tim3d.label(made, options=QUIET)
    tim3d.solve(made, conductivity={"pore": 1, "copper": 10}, keep_potential=True, options=QUIET)
    tim3d.geodesic(made, phases=["copper"], options=QUIET)
    tim3d.annotate(made, options=QUIET)
    return made


def read_csv(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="") as file:
        return [{k: v or None for k, v in row.items()} for row in csv.DictReader(file)]


def read_json(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())
    return found


def read_parquet(path: Path) -> list[dict[str, Any]]:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pip install 'tim3d[export]'")
    found: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return found


READERS = {"csv": read_csv, "json": read_json, "parquet": read_parquet}


def numbers(found: xr.Dataset) -> dict[tuple[Any, ...], float]:
    """Every number of a result by its variable and place."""
    return {
        (name, *(str(v[d].values[i]) if d in v.coords else str(i) for d, i in zip(v.dims, at, strict=True))): float(x)
        for name, v in found.data_vars.items()
        for at, x in np.ndenumerate(v.values)
    }  # fmt: skip


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("node", ["phase_descriptors", "phase_components", TRANSPORT, "raw_slices"])
def test_every_number_of_a_result_is_a_row(
    sample: str, tmp_path: Path, node: str, kind: str
) -> None:
    found = store.open_dataset(sample, node)
    rows = READERS[kind](exported(sample, node, tmp_path / f"a.{kind}"))
    seen = {}
    for row in rows:
        dims = found[row["variable"]].dims
        value = row["value"]
        seen[(row["variable"], *(str(row[str(d)]) for d in dims))] = (
            math.nan if value is None else float(value)
        )
    expected = numbers(found)
    if kind != "parquet":  # where infinity has no place
        expected = {k: v if math.isfinite(v) else math.nan for k, v in expected.items()}
    assert len(rows) == len(expected)
    assert seen.keys() == expected.keys()
    for place, value in expected.items():
        np.testing.assert_equal(seen[place], value)


def test_a_row_has_sample_region_unit_and_definition(sample: str, tmp_path: Path) -> None:
    rows = read_json(exported(sample, "phase", tmp_path / "a.json", z=slice(0, 160)))
    found = tim3d.describe(sample, z=slice(0, 160))
    (row,) = [r for r in rows if (r["variable"], r.get("phase")) == ("specific_surface", "copper")]
    about = found.specific_surface.attrs
    assert row["sample"] == "a.zarr"
    assert row["region"].startswith("z 0:160, y 0:")
    assert row["value"] == float(found.specific_surface.sel(phase="copper"))
    assert (row["units"], row["definition"]) == (about["units"], about["long_name"])
    assert (row["method"], row["reference"]) == (about["method"], about["reference"])


def test_a_table_has_one_layout_whichever_verb_writes_it(sample: str, tmp_path: Path) -> None:
    exported(sample, "phase", tmp_path / "a.csv", z=slice(0, 160))
    given = ["describe", sample, "--z", "0:160", "--csv", str(tmp_path / "b.csv")]
    assert main(given) == 0
    tables = [
        list(csv.DictReader((tmp_path / f"{name}.csv").read_text().splitlines())) for name in "ab"
    ]
    heads = [list(rows[0]) for rows in tables]
    assert heads[0] == heads[1]
    first, second = ([{**row, "sample": ""} for row in rows] for rows in tables)
    assert first == second


def test_a_long_table_comes_in_pieces() -> None:
    long = xr.Dataset(
        {"size": ("component", np.arange(40000)), "name": ((), "a"), "one": ((), 2.5)}
    )
    found = list(pieces(long, "a.zarr", "whole"))
    assert [len(piece["variable"]) for piece in found] == [16384, 16384, 7232, 1, 1]
    assert [v for piece in found for v in piece.get("component", ())] == list(range(40000))
    assert columns(long)["component"] is int
    assert found[-2]["text"] == ["a"]


def test_a_result_of_the_whole_has_no_region(sample: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="is a result of the whole volume"):
        exported(sample, "phase_components", tmp_path / "a.csv", z=slice(0, 160))
    with pytest.raises(ArgumentError, match="cuts a voxel"):
        exported(sample, "phase", tmp_path / "a.csv", z=slice(0, 21))
    with pytest.raises(MissingFieldError, match="nope"):
        exported(sample, "nope", tmp_path / "a.csv")


def test_a_table_is_replaced_when_it_is_asked_for(sample: str, tmp_path: Path) -> None:
    out = exported(sample, "phase", tmp_path / "a.csv")
    with pytest.raises(MixedRunError, match="--overwrite"):
        exported(sample, "phase_components", out)
    exported(sample, "phase_components", out, options=tim3d.Options(overwrite=True))
    assert "percolating_fraction" in out.read_text()


# Figures.

START = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
SHOWN = {
    "raw": "orthoslices",
    "phase": "overlay",
    POTENTIAL: "field_slices",
    "raw_histogram": "histogram",
    "raw_slices": "drift",
    "raw_inspection": "inspection_figure",
    "phase_descriptors": "profiles",
    TRANSPORT: "conductivity_bounds",
    "phase_geodesic_phases=copper": "geodesic_profiles",
}


def test_every_figure_of_the_package_can_be_exported() -> None:
    of_relations = {"importance_figure", "models_figure", "relation_figure"}  # of `relate --figure`
    assert set(figures.FIGURES) == set(plotting.__all__) - of_relations


@pytest.mark.parametrize("one", FIGURES, ids=lambda one: one.name)
def test_a_figure_is_written_and_answered(sample: str, tmp_path: Path, one: Any) -> None:
    out = exported(sample, "phase_descriptors", tmp_path / f"a{one.suffixes[0]}")
    data = out.read_bytes()
    assert data.startswith(START[one.name])
    assert b"tim3d export " in data
    exported(sample, "phase_descriptors", out)
    assert out.read_bytes() == data
    with pytest.raises(MixedRunError, match="holds another export"):
        exported(sample, "phase", out)


@pytest.mark.parametrize("node", SHOWN)
def test_the_first_figure_of_a_subject(sample: str, tmp_path: Path, node: str) -> None:
    subject = figures.Subject(sample, node)
    fitting = [name for name, drawn in figures.FIGURES.items() if drawn.suits(subject)]
    assert fitting[0] == SHOWN[node]
    assert exported(sample, node, tmp_path / "a.svg").stat().st_size > 1000


def test_a_figure_is_chosen_by_its_name(sample: str, tmp_path: Path) -> None:
    exported(sample, "phase", tmp_path / "a.svg", drawing="overlay_slice")
    with pytest.raises(
        ArgumentError, match="no figure 'drift' of 'phase'; there is overlay, overlay_slice"
    ):
        exported(sample, "phase", tmp_path / "b.svg", drawing="drift")
    with pytest.raises(MissingFieldError, match="no finished 'nope'"):
        exported(sample, "nope", tmp_path / "b.svg")
