"""The report of a stack that was prepared and cleaned: which field is shown, and what each step did."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import tim3d
from tim3d.cli.main import main
from tim3d.plotting.preparation import drift
from tim3d.reporting.preparation import preparation_html

QUIET = tim3d.Options(progress=False)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A stack with a bar and a blank slice, cropped, aligned, filled, segmented and cleaned."""
    folder = tmp_path_factory.mktemp("prepared")
    field = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((20, 70, 72)), 4)
    grey = np.rint(120 + 30 * field / field.std()).clip(1, 254).astype(np.uint8)
    grey[11] = 20
    grey[:, 60:] = 0
    np.save(folder / "a.npy", grey)
    sample = str(folder / "a.zarr")
    for typed in (
        ["ingest", str(folder / "a.npy"), sample, "--voxel-size", "10,10,10", "--accept", "blank,bar"],
        ["prepare", sample, "crop:bar=10", "align", "fill"],
        ["segment", sample, "--field", "prepared", "--method", "otsu", "--phases", "pore=0,solid=1"],
        ["clean", sample, "holes:solid"],
        ["measure", sample, "--field", "cleaned", "--descriptors", "phase_fraction,specific_surface"],
    ):  # fmt: skip
        assert main([*typed, "--quiet"]) == 0
    return sample


def page_of(sample: str, folder: Path, **given: str) -> str:
    text = tim3d.report(sample, folder / "own name.html", **given).read_text()
    return unescape(re.sub(r'src="data:[^"]*"', "", text))


@pytest.mark.long
def test_the_head_is_about_the_labels_and_says_what_was_put_right_since(
    sample: str, tmp_path: Path
) -> None:
    text = page_of(sample, tmp_path, field="cleaned")
    shape = tim3d.open_field(sample, "cleaned").shape
    assert f"<td>{' × '.join(map(str, shape))}</td>" in text
    assert "“raw”, uint8, 20 × 70 × 72 voxels of 10 × 10 × 10 nm: another grid" in text
    assert "“raw” is shown, “prepared” was made from it: --raw prepared" in text
    assert "--field cleaned" not in text.partition("<h2>")[0]
    assert "“phase” is shown, “cleaned” was made from it: --field cleaned" in page_of(
        sample, tmp_path
    )
    both = page_of(sample, tmp_path, field="cleaned", raw="prepared")
    assert "Put right since" not in both
    assert "another grid" not in both


@pytest.mark.long
def test_what_fill_did_is_said_of_all_slices(sample: str, tmp_path: Path) -> None:
    text = page_of(sample, tmp_path)
    assert "Interpolated: slice 11, of 20." in text
    assert "slices of the result, evenly spaced" in text
    assert "Doubtful: slice 11 is unlike the one before" in text


@pytest.mark.long
def test_the_brightness_of_the_slices_is_drawn_once(sample: str, tmp_path: Path) -> None:
    text = page_of(sample, tmp_path)
    assert "<h2>The stack</h2>" in text
    assert "Mean grey value of every slice" not in text
    assert "Mean grey value of every slice" in page_of(sample, tmp_path, raw="prepared")


@pytest.mark.long
def test_hints_name_the_file_of_the_report_and_steps_are_as_they_were_typed(
    sample: str, tmp_path: Path
) -> None:
    text = page_of(sample, tmp_path, field="cleaned")
    assert (
        f"tim3d report {sample} '{tmp_path / 'own name.html'}' --field cleaned --density solid=1"
        in text
    )
    assert "tim3d prepare SAMPLE crop:bar=10 align fill" in text
    assert '"kind"' not in text


def test_the_legend_of_the_drift_lies_outside_of_the_curves(sample: str) -> None:
    figure = drift(tim3d.open_dataset(sample, "prepared_align"))
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    assert not any(ax.get_legend() for ax in figure.axes)
    assert all(ax.get_window_extent().y1 <= legend.y0 for ax in figure.axes)


def test_steps_of_corrections_are_not_drawn_as_one_histogram(sample: str, tmp_path: Path) -> None:
    tim3d.plot(sample, tmp_path / "figures", results=["prepared_steps", "prepared"])
    drawn = {one.stem for one in (tmp_path / "figures").iterdir()}
    assert drawn
    assert not any("steps_histogram" in one for one in drawn)


def test_the_table_of_the_steps_shows_the_numbers_that_are_kept(sample: str) -> None:
    parts: Any = SimpleNamespace(sample=sample)
    shown = "".join(map(str, preparation_html(parts, "prepared_steps")))
    cells = [
        re.findall(r"<t[dh][^>]*>([^<]*)</t[dh]>", row)
        for row in re.findall(r"<tr>(.*?)</tr>", shown, re.DOTALL)
    ]
    found = tim3d.open_dataset(sample, "prepared_steps")
    assert float(found["ends"][0]) > 0.1
    for n in range(found.sizes["stage"]):
        one = found.isel(stage=n)
        changed, change = float(one["changed"]), float(one["change"])
        expected = [
            str(one["stage"].values), f"{float(one['mean']):.4g}", f"{float(one['deviation']):.3g}",
            f"{100 * float(one['ends']):.3g} %",
            "" if np.isnan(changed) else f"{100 * changed:.3g} %" if changed else "none",
            "" if np.isnan(change) else f"{change:.3g}",
        ]  # fmt: skip
        assert expected in cells
