"""Every table of the report and the shell read back: each number under its heading and in its row.

Numbers of a table all differ, so that none can stand in the place of another.
"""

from __future__ import annotations

import csv
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tim3d.descriptors.coupled import POROSIMETRY
from tim3d.phases import Phases
from tim3d.reporting import (
    cleaning,
    fidelity,
    images,
    morphology,
    relation,
    results,
    struts,
    study,
    table,
    transport,
    windows_text,
)
from tim3d.reporting.evaluation import confusion_table

PAIR = ["pore", "solid"]


class Tables(HTMLParser):
    """Cells of all tables, row by row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.rows[-1][-1] += data


def rows_of(text: str) -> list[list[str]]:
    return Tables(text).rows


# Files ----------------------------------------------------------------------------------------


def test_a_csv_has_all_digits_of_a_number_and_of_its_place(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values, places = rng.random((2, 5)) * 10.0 ** rng.integers(-9, 9, (2, 5)), rng.random(5) * 1e3
    found = xr.Dataset(
        {"a": (("phase", "z"), values, {"units": "nm-1"})}, {"phase": PAIR, "z": places}
    )
    table.write_csv(table.rows({"s": found}), tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [float(row["value"]) for row in read] == values.ravel().tolist()
    assert [float(row["z"]) for row in read] == 2 * places.tolist()
    assert [row["phase"] for row in read] == [p for p in PAIR for _ in places]


# Cleaning, studies, comparisons, images -------------------------------------------------------


def test_voxels_that_a_step_moved_are_lost_by_one_and_gained_by_another() -> None:
    first = np.array([[50, 7, 3], [0, 20, 1], [4, 0, 15]])
    second = np.array([[54, 0, 0], [2, 25, 0], [0, 9, 10]])
    found = xr.Dataset(
        {"moved": (("step", "from", "phase"), [first, second]), "pieces": ("step", [6.0, np.nan])},
        {"phase": ["pore", "solid", "dirt"], "step": ["1 holes", "2 majority"]},
    )
    assert cleaning.rows(found) == [
        ["before", "", "pore", "", "", "60", "0.6000"],
        ["before", "", "solid", "", "", "21", "0.2100"],
        ["before", "", "dirt", "", "", "19", "0.1900"],
        ["1 holes", "6", "pore", "10", "4", "54", "0.5400"],
        ["", "", "solid", "1", "7", "27", "0.2700"],
        ["", "", "dirt", "4", "4", "19", "0.1900"],
        ["2 majority", "", "pore", "0", "2", "56", "0.5600"],
        ["", "", "solid", "2", "9", "34", "0.3400"],
        ["", "", "dirt", "9", "0", "10", "0.1000"],
    ]


def of_a_study(verdict: str = "representative") -> xr.Dataset:
    one = "window"
    return xr.Dataset(
        {
            "value": ("window", [0.0, 0.0, 0.0], {"units": "1"}),
            "voxels": (("window", "axis"), [[15, 10, 6], [30, 20, 12], [60, 40, 24]]),
            "windows": (one, [64, 8, 1]),
            "excluded": (one, [3, 0, 0]),
            "mean": (one, [1.25, 1.375, 1.5]),
            "standard_deviation": (one, [0.0625, 0.03125, np.nan]),
            "standard_error": (one, [0.0078125, 0.011, np.nan]),
            "relative_spread": (one, [0.1, 0.045, np.nan]),
            "bias": (one, [-0.1667, -0.0833, -1e-16]),
            "percolating_share": (one, [0.75, 0.875, 1.0]),
            "judged": (one, [1.0, 1.0, 0.0]),
            "within_spread": (one, [0.0, 1.0, 0.0]),
            "within_bias": (one, [0.0, 0.0, 1.0]),
            "representative_edge": ((), 60.0),
            "variance_exponent": ((), 0.875),
            "variance_exponent_error": ((), 0.0625),
            "integral_range": ((), 8000.0),
            "required_edge": ("realisations", [90.0, 57.0, 36.0]),
        },
        {"window": [30.0, 60.0, 120.0], "realisations": [1, 4, 16]},
        {
            "tolerance": 0.05, "quantity": "tortuosity_factor", "axis": "y", "verdict": verdict,
            "verdict_means": "windows differ",
        },
    )  # fmt: skip


def test_rows_of_a_study_are_the_statistics_of_each_size() -> None:
    found = of_a_study()
    assert [dict(zip(study.header(found), row, strict=True)) for row in study.rows(found)] == [
        {
            "edge (nm)": "30", "voxels z,y,x": "15,10,6", "windows": "64 (+3 without a value)",
            "mean ± s.e.": "1.250 ± 0.0078", "s.d.": "0.06250", "2 s.d./mean": "10 %", "bias": "-16.7 %",
            "through": "75 %", "within tolerance": "no: spread and bias",
        },
        {
            "edge (nm)": "60", "voxels z,y,x": "30,20,12", "windows": "8", "mean ± s.e.": "1.375 ± 0.011",
            "s.d.": "0.03125", "2 s.d./mean": "4.5 %", "bias": "-8.33 %", "through": "87.5 %",
            "within tolerance": "no: bias",
        },
        {
            "edge (nm)": "120", "voxels z,y,x": "60,40,24", "windows": "1", "mean ± s.e.": "1.500",
            "s.d.": "-", "2 s.d./mean": "-", "bias": "0 %", "through": "100 %",
            "within tolerance": "too few windows",
        },
    ]  # fmt: skip


def test_sentences_of_a_study_have_its_tolerance_law_and_lengths() -> None:
    said = list(study.says(of_a_study()))
    assert said == [
        "Representative from 60 nm on: about 95 % of these windows lie within 5 % of their mean, "
        "and their mean within the same of the mean of the largest.",
        "The variance falls with the power 0.875 ± 0.062 of the volume (1 expected of large windows).",
        "Integral range: 8000 nm3, a cube of 20 nm.",
        "By this law a relative error of the mean of 5 % needs 1 window of 90 nm, 4 windows of 57 nm, "
        "16 windows of 36 nm.",
    ]
    assert next(study.says(of_a_study("spread"))) == "No representative size: windows differ."


def of_a_comparison() -> xr.Dataset:
    """Three quantities of two phases in slices across each axis; numbers differ everywhere."""
    dims, names = (
        ("quantity", "slices", "phase"),
        ["phase_fraction", "two_point", "surface", "slice_tortuosity"],
    )
    count = np.arange(1, 25).reshape(4, 3, 2) / 1000
    within = np.where(count < 0.0115, 1.0, 0.0)
    within[3] = np.nan
    values = {
        "phase_fraction": (("volume", "phase"), [[0.25, 0.75], [0.375, 0.625]]),
        "two_point": (("volume", "axis", "phase", "lag"), np.ones((2, 3, 2, 2))),
        "surface": (("volume", "axis", "phase"), np.arange(1, 13).reshape(2, 3, 2) / 1e3, {"units": "nm-1"}),
        "slice_tortuosity": (("volume", "slices", "phase"), np.arange(12).reshape(2, 3, 2) + 1.5),
        "micrograph_phase_fraction": (("slices", "phase"), np.arange(6).reshape(3, 2) / 8),
        "micrograph_phase_fraction_interval": (("slices", "phase"), np.arange(6).reshape(3, 2) / 32),
        "micrograph_surface": (("slices", "phase"), np.arange(20, 26).reshape(3, 2) / 1e3),
        "micrograph_slice_tortuosity": (("slices", "phase"), np.arange(6).reshape(3, 2) + 30.5),
    }  # fmt: skip
    judged = {
        "deviation": (dims, -count), "deviation_low": (dims, -2 * count), "deviation_high": (dims, 3 * count),
        "spread": (dims, 5 * count), "goal": ("quantity", [0.01, 0.02, 0.05, np.nan]), "within": (dims, within),
        "seam_ratio": ("axis", [1.125, 0.875, np.nan]), "seam_ratio_error": ("axis", [0.03, 0.02, np.nan]),
        "imprint_ratio": (("axis", "phase"), [[0.5, 0.75], [1.0, 3.5], [0.25, 2.0]]),
        "imprint_span": (("axis", "phase"), np.arange(1, 7).reshape(3, 2) / 100),
        "imprint_error": (("axis", "phase"), np.arange(1, 7).reshape(3, 2) / 1000),
        "reported": (("volume", "result"), [[1.5, np.nan], [2.5, np.nan]]),
    }  # fmt: skip
    return xr.Dataset(
        values | judged,
        {
            "quantity": names, "slices": list("zyx"), "axis": list("zyx"), "phase": PAIR,
            "result": ["tau", "k"],
        },
        {"isotropic": 0, "volumes": 2, "warning": "", "seam_voxels": [8, 16, 32], "period_voxels": 4},
    )  # fmt: skip


def test_rows_of_a_comparison_stand_for_their_slices_and_phase() -> None:
    found = of_a_comparison()
    shown = [dict(zip(fidelity.HEADER, row, strict=True)) for row in fidelity.rows(found)]
    assert len(shown) == 4 * 3 * 2
    across = {"z": "yx", "y": "zx", "x": "zy"}
    for row in shown:
        (quantity, _, unit), normal = row["quantity"].partition(" "), row["slices across"]
        phase, factor = row["phase"], {"": 1, "(µm-1)": 1000}[unit]
        one = found.sel(quantity=quantity, slices=normal, phase=phase)
        relative = quantity in ("surface", "slice_tortuosity")
        size = 100 if relative else 1

        def value(text: str) -> float:
            return float(text.removesuffix(" %"))

        assert all((" %" in row[c]) == relative for c in ("deviation", "95 %", "s.d."))
        assert value(row["deviation"]) == pytest.approx(size * float(one.deviation), abs=1e-6)
        low, high = row["95 %"].split(" to ")
        assert value(low) == pytest.approx(size * float(one.deviation_low), rel=5e-3)
        assert value(high) == pytest.approx(size * float(one.deviation_high), rel=5e-3)
        assert value(row["s.d."]) == pytest.approx(size * float(one.spread), rel=5e-3)
        assert row["within"] == {1.0: "yes", 0.0: "no"}.get(float(one.within), "")
        if quantity == "slice_tortuosity":
            assert row["goal"] == ""
        else:
            assert value(row["goal"].removeprefix("± ")) == size * float(one.goal)
        if quantity == "two_point":
            assert (row["volumes"], row["micrograph"]) == ("", "")
            continue
        made = found[quantity].sel(phase=phase)
        if quantity == "surface":
            made = made.sel(axis=list(across[normal]))
        if quantity == "slice_tortuosity":
            made = made.sel(slices=normal)
        assert float(row["volumes"]) == pytest.approx(factor * float(made.mean()), rel=5e-4)
        seen = float(found[f"micrograph_{quantity}"].sel(slices=normal, phase=phase))
        assert float(row["micrograph"].split(" ± ")[0]) == pytest.approx(factor * seen, rel=5e-4)
        if quantity == "phase_fraction":
            half = float(found.micrograph_phase_fraction_interval.sel(slices=normal, phase=phase))
            assert float(row["micrograph"].split(" ± ")[1]) == pytest.approx(half, rel=0.05)


def test_sentences_of_a_comparison_name_the_place_of_each_number() -> None:
    said = list(fidelity.says(of_a_comparison()))
    assert said == [
        "11 of 18 comparisons are within their goals (2 volumes).",
        "Seam ratio, 1 without seams: z 1.125 ± 0.03 (every 8 voxels), y 0.875 ± 0.02 (every 16 voxels).",
        "Phase fraction modulo 4 voxels: at most along y, solid, it spans 0.04 (standard error 0.004); "
        "r.m.s. over error 3.5, about 1 or below without an imprint.",
        "Not judged, for an image knows no truth for them:",
        "  tau: 2 (1.5 to 2.5)",
        "  k: no finite value",
    ]


def test_numbers_of_images_stand_under_their_names() -> None:
    found = xr.Dataset(
        {
            "area": (("image", "phase"), [[0.125, 0.25], [0.375, 0.5]], {"units": "1"}),
            "chord": (("image", "phase"), [[1.5, 2.5], [3.5, np.nan]], {"units": "nm"}),
            "features": (("image", "phase"), [[3, 4], [5, 6]], {"units": "1"}),
            "pixel_y": ("image", [7.5, 8.5], {"units": "nm"}),
        },
        {"image": ["a", "b"], "phase": PAIR},
    )  # fmt: skip
    told = [line.split() for line in images.text(found).splitlines()]
    assert told == [
        ["image", "phase", "area", "chord", "(nm)", "features", "pixel_y", "(nm)"],
        told[1],
        ["a", "pore", "0.1250", "1.500", "3", "7.500"],
        ["a", "solid", "0.2500", "2.500", "4", "7.500"],
        ["b", "pore", "0.3750", "3.500", "5", "8.500"],
        ["b", "solid", "0.5000", "-", "6", "8.500"],
    ]


# Tables of the report -------------------------------------------------------------------------


def test_a_confusion_has_truth_down_and_labels_across() -> None:
    found = xr.Dataset(
        {
            "confusion": (("truth", "predicted"), [[11, 2200], [33, 44]]),
        },
        {"truth": ["void", "grain"], "predicted": PAIR},
    )  # fmt: skip
    assert rows_of(confusion_table(found.confusion)) == [
        ["", "labelled pore", "labelled solid"],
        ["truly void", "11", "2,200"],
        ["truly grain", "33", "44"],
    ]


def test_numbers_stand_beside_the_truth_of_the_same_phase() -> None:
    about = {"units": "nm-1"}
    found = xr.Dataset(
        {"density": ("phase", [0.5, 2.0], about), "only_here": ((), 1.0)}, {"phase": PAIR}
    )
    true = xr.Dataset({"density": ("phase", [0.625, 1.6], about)}, {"phase": PAIR})
    assert rows_of(results.truth_table(found, true, "truth"))[1:] == [
        ["density", "pore", "nm−1", "0.5000", "0.6250", "−20.00 %"],
        ["density", "solid", "nm−1", "2.000", "1.600", "+25.00 %"],
    ]
    shares = xr.Dataset(
        {
            "density": ("phase", [0.5, 2.0], about), "relative": ((), 0.75, {"units": "1"}),
            "area": (("phase", "phase_other"), [[np.nan, 3.0], [3.0, np.nan]], about),
        },
        {"phase": PAIR, "phase_other": PAIR},
    )  # fmt: skip
    assert rows_of(results.descriptor_table(shares)) == [
        ["variable", "unit", "pore", "solid", "whole"],
        ["density", "nm−1", "0.5000", "2.000", ""],
        ["relative", "1", "", "", "0.7500"],
        ["area pore-solid", "nm−1", "", "", "3.000"],
    ]


def test_values_at_h_and_2h_and_the_limit_are_not_exchanged() -> None:
    found = xr.Dataset(
        {
            f"tau{end}": (("phase", "axis"), first + np.arange(4).reshape(2, 2) / 8)
            for end, first in (("", 1.5), ("_coarse", 2.5), ("_limit", 3.5), ("_limit_uncertainty", 0.5))
        },
        {"phase": PAIR, "axis": ["z", "x"]},
    )  # fmt: skip
    assert rows_of(transport.richardson_table(found))[1:] == [
        ["tau", "pore z", "", "1.500", "2.500", "3.500 ± 0.50"],
        ["tau", "pore x", "", "1.625", "2.625", "3.625 ± 0.62"],
        ["tau", "solid z", "", "1.750", "2.750", "3.750 ± 0.75"],
        ["tau", "solid x", "", "1.875", "2.875", "3.875 ± 0.88"],
    ]


# Shapes and ways ------------------------------------------------------------------------------


def of_an_intrusion() -> xr.Dataset:
    about = {"units": "nm"}
    return xr.Dataset(
        {
            "r_max": ((), 4000.0, about),
            "r_min": ("direction", [1000.0, 3000.0, 2000.0], about),
            "r_min_mean": ((), 2250.0, about),
            "constriction": ("direction", [0.0625, 0.5625, 0.25], {"units": "1"}),
            "constriction_mean": ((), 0.3125, {"units": "1"}),
            "percolation_radius": ("direction", [500.0, 750.0, 0.0], about),
        },
        {"direction": ["+z", "-z", "+x"]},
        {"phase": "pore"},
    )


def test_numbers_of_an_intrusion_stand_under_their_direction() -> None:
    assert rows_of(morphology.intrusion_table(of_an_intrusion())) == [
        ["intrusion", "unit", "+z", "-z", "+x", "mean"],
        ["r_max", "µm", "4.000", "4.000", "4.000", "4.000"],
        ["r_min", "µm", "1.000", "3.000", "2.000", "2.250"],
        ["percolation_radius", "µm", "0.5000", "0.7500", "0.000", "–"],
        ["constriction", "1", "0.06250", "0.5625", "0.2500", "0.3125"],
    ]


def test_a_description_has_every_number_of_an_intrusion() -> None:
    """The phase of the result is a place of its numbers; curves along the radius stay with the result."""
    found = of_an_intrusion()
    taken = POROSIMETRY.take(found, Phases(pore=0, solid=1))
    assert set(taken.data_vars) == set(found.data_vars)
    for name in found.data_vars:
        np.testing.assert_array_equal(taken[name].sel(phase="pore"), found[name])
        assert np.isnan(taken[name].sel(phase="solid")).all()


def test_other_measures_of_a_strut_stand_beside_their_phase() -> None:
    found = xr.Dataset({"strut_diameter_mean": ("phase", [60.0, 3000.0])}, {"phase": PAIR})
    others = xr.Dataset(
        {
            "thickness_mean": ("phase", [80.0, 2000.0]),
            "mean_chord_length": (("phase", "axis"), [[120.0, 360.0], [1000.0, 1400.0]]),
        },
        {"phase": PAIR},
    )
    assert list(struts.other_rows(found, others)) == [
        ["pore", "local thickness, by volume", "80 nm", "0.75"],
        ["solid", "local thickness, by volume", "2 µm", "1.5"],
        ["pore", "mean chord", "240 nm", "0.25"],
        ["solid", "mean chord", "1.2 µm", "2.5"],
    ]
    assert list(struts.other_rows(found, None)) == []


def test_windows_are_told_by_their_mean_their_spread_and_their_ends() -> None:
    values = {
        "phase_fraction": [[0.25, 0.75], [0.5, 0.5], [0.375, 0.625]],
        "surface": [[2.0] * 2] * 3,
    }
    found = xr.Dataset(
        {
            name: (("z_window", "phase"), rows, {"units": "1" if "fraction" in name else "nm-1"})
            for name, rows in values.items()
        },
        {"z_window": [5.0, 15.0, 25.0], "phase": PAIR},
    )
    every = table.rows({"": found})
    assert windows_text.of_windows(every)
    assert not windows_text.of_windows(table.rows({"": found.isel(z_window=0, drop=True)}))
    told = [line.split() for line in windows_text.text(every).splitlines()]
    assert told[0] == ["variable", "units", "windows", "mean", "s.d.", "lowest", "highest"]
    assert told[2:] == [
        ["phase_fraction", "pore", "1", "3", "0.3750", "0.1250", "0.2500", "0.5000"],
        ["phase_fraction", "solid", "1", "3", "0.6250", "0.1250", "0.5000", "0.7500"],
        ["surface", "pore", "nm-1", "3", "2.000", "0.000", "2.000", "2.000"],
        ["surface", "solid", "nm-1", "3", "2.000", "0.000", "2.000", "2.000"],
    ]


# Relations ------------------------------------------------------------------------------------


def of_a_relation(**numbers: float) -> xr.Dataset:
    """A relation of the model a, with a second one beside it, a law, and a model that was left out."""
    usual = {"p_value": 0.001, "q2_nested": 0.5, "inflation": 1.5, "condition": 2.0, "law": 9.0}
    given = usual | numbers
    beside = {
        n: ((), given[n]) for n in ("p_value_within", "q2_by_group", "q2_spread") if n in given
    }
    if "q2_by_group" in given:
        beside["q2_by_group_chosen"] = ((), given["q2_by_group_chosen"])
    return xr.Dataset(
        {
            "kind": ("model", np.array(["regression", "regression", "law", "not independent"], object)),
            "r2": ("model", [0.875, 0.5, 0.25, np.nan]),
            "q2": ("model", [0.75, 0.375, 0.125, -np.inf]),
            "within_one_error": ("model", [True, bool(given.get("near", 0)), True, False]),
            "largest_inflation": ("model", [given["inflation"], 1.0, np.nan, np.nan]),
            "condition": ("model", [given["condition"], 1.0, np.nan, np.nan]),
            "left_out_error": ("model", [2.0, 4.0, given["law"], np.inf]),
            "q2_nested": ((), given["q2_nested"]),
            "p_value": ((), given["p_value"]),
            "chance_q2": ("permutation", np.zeros(99)),
            **beside,
        },
        {"model": ["a", "b", "law", "c"]},
        {
            "target": "k", "units": "W m-1 K-1", "chosen": "a", "models": 3, "candidates": 2, "samples": 12,
            "scale": "linear",
        },
    )  # fmt: skip


NOISE, MEAN, BETWEEN = (
    "Not distinguished from noise",
    "no better than the mean",
    "only between groups",
)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({}, "More than noise: p = 0.001 (99 shuffles)."),
        ({"p_value": 0.05}, "More than noise: p = 0.05 (99 shuffles)."),
        ({"p_value": 0.06}, NOISE),
        ({"p_value": 0.06, "q2_nested": -1.0}, NOISE),
        ({"q2_nested": 0.0}, MEAN),
        ({"p_value_within": 0.06}, BETWEEN),
        ({"p_value_within": 0.05}, "More than noise: p"),
        ({"q2_spread": 0.125}, "move Q² by ± 0.12."),
        ({"near": 1}, "2 models are within one standard error of the best"),
        ({"inflation": 10.5}, "The chosen features go together (VIF up to 10.5, condition 2)"),
        ({"condition": 30.5}, "The chosen features go together (VIF up to 1.5, condition 30.5)"),
        ({"law": 2.0}, "No regression is better than a law: law has an error of 2.000."),
        ({"q2_by_group": 0.25, "q2_by_group_chosen": 0.375}, "Q² 0.250 of the search, 0.375 of the chosen"),
        ({"q2_by_group": -0.25, "q2_by_group_chosen": 0.375}, "features that do not predict it"),
        ({"q2_by_group": -0.25, "q2_by_group_chosen": -0.375}, "the relation holds for these groups only"),
    ],
)  # fmt: skip
def test_a_relation_is_judged_by_its_numbers(numbers: dict[str, float], said: str) -> None:
    """Each sentence is said of the numbers that call for it, and of no others."""
    text, plain = "\n".join(relation.says(of_a_relation(**numbers))), of_a_relation()
    assert said in text
    assert numbers == {} or said not in "\n".join(relation.says(plain)) or said.startswith("More")
    assert "R² 0.875; Q² 0.750 of left-out samples" in text
    assert "1 models are left out: their features are not independent." in text
    verdicts = [one for one in ("More than noise: p", NOISE, MEAN, BETWEEN) if one in text]
    assert len(verdicts) == 1
