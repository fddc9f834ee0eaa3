"""Pieces of the page: pictures keep their colours, text cannot become markup, numbers read well."""

from __future__ import annotations

import importlib
import io
import json
import pkgutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from tim3d import reporting
from tim3d.errors import CheckpointError
from tim3d.plotting import style, training_curves
from tim3d.reporting import history, page
from tim3d.reporting.html import PROVENANCE, SECTIONS
from tim3d.reporting.results import relative_error
from tim3d.reporting.section import Section


def _image(figure: Figure) -> Image.Image:
    return Image.open(io.BytesIO(page.png(figure, dpi=50)))


def test_few_colours_keep_those_of_the_phases_exactly() -> None:
    figure = Figure(figsize=(4, 4))
    rng = np.random.default_rng(0)
    figure.add_axes((0, 0, 1, 0.5)).imshow(rng.random((60, 120, 3)), aspect="auto")
    for place, shade in enumerate(style.NAMED.values()):
        figure.add_axes((0.1 + 0.3 * place, 0.6, 0.2, 0.3), facecolor=shade, xticks=[], yticks=[])
    image = _image(figure)
    assert image.mode == "P"
    shown = {tuple(colour) for colour in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}
    wanted = [
        tuple(round(255 * level) for level in to_rgb(s)) for s in (*style.NAMED.values(), "white")
    ]
    assert shown >= set(wanted)


def test_grey_figures_are_stored_as_grey_and_lose_nothing() -> None:
    figure = Figure(figsize=(2.56, 1))
    figure.add_axes((0, 0, 1, 1)).imshow(np.arange(256)[None], cmap="gray", aspect="auto")
    assert _image(figure).mode == "L"


def test_text_cannot_become_markup() -> None:
    evil = '<script>alert("1")</script>'
    figure = Figure(figsize=(1, 1))
    for text in (
        page.note(evil),
        page.picture(figure, evil),
        page.document(evil, []),
        page.section(evil, "x"),
    ):
        assert "<script" not in text
        assert "&lt;script&gt;" in text


def test_a_section_without_content_is_not_there() -> None:
    assert page.section("Results", "", "") == ""


@pytest.mark.parametrize(
    ("value", "truth", "shown"),
    [(1.1, 1.0, "+10.00 %"), (-1.1, -1.0, "−10.00 %"), (float("nan"), 1.0, "–")],
)
def test_relative_error_counts_from_the_truth(value: float, truth: float, shown: str) -> None:
    assert relative_error(value, truth) == shown


@pytest.mark.parametrize("most", [1e-3, 0.9, 1.0, 4.9, 37.0, 2.5e5])
def test_a_scale_bar_is_round_and_as_long_as_it_may_be(most: float) -> None:
    length = style.nice_length(most)
    assert length <= most * (1 + 1e-9) < 2.5 * length * (1 + 1e-9)
    assert float(f"{length:.0e}") == pytest.approx(length, rel=1e-12)


def test_phases_have_one_colour_in_every_figure_and_no_two_share_one() -> None:
    names = ["solid", "pore", "shine_through", "matrix", "filler"]
    first = style.colours(names)
    assert len(set(first.values())) == len(names)
    assert style.colours(["pore", "solid"]) == {k: first[k] for k in ("pore", "solid")}


def _model(path: Path, training: dict[str, object]) -> Path:
    header = json.dumps({"__metadata__": {"tim3d": json.dumps({"training": training})}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    return path


def test_curves_come_from_the_head_of_a_model_file(tmp_path: Path) -> None:
    records = [
        {"epoch": n, "loss": 1 / n, "val_loss": 2 / n, "val_iou": 1 - 1 / n} for n in (1, 2, 3)
    ]
    summary = history.training_summary(
        _model(tmp_path / "m.safetensors", {"seed": 3, "history": records})
    )
    assert summary["seed"] == 3
    curves = history.curves(summary["history"])
    assert curves["val_iou"] == [0.0, 0.5, 1 - 1 / 3]
    figure = training_curves(curves)
    drawn = {line.get_label(): line.get_ydata().tolist() for ax in figure.axes for line in ax.lines}
    assert drawn == {
        "loss": curves["loss"],
        "val loss": curves["val_loss"],
        "val iou": curves["val_iou"],
    }


def test_curves_may_also_be_columns() -> None:
    assert history.curves({"loss": [1, 2], "note": "x"}) == {"loss": [1.0, 2.0]}
    assert history.curves(None) == {}


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"\x02" + b"\0" * 7 + b"{}"])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a model of tim3d"):
        history.training_summary(path)
    with pytest.raises(CheckpointError, match="cannot read"):
        history.training_summary(tmp_path / "none")


def test_every_section_is_in_the_report() -> None:
    """A section that a module of reports makes stands in the table, once."""
    made = [
        (f"{module.name}.{name}", value)
        for module in pkgutil.iter_modules(reporting.__path__, "tim3d.reporting.")
        for name, value in vars(importlib.import_module(module.name)).items()
        if isinstance(value, Section)
    ]
    shown = [*SECTIONS, PROVENANCE]
    assert len({id(one) for _, one in made}) > 15
    assert not [name for name, one in made if not any(one is other for other in shown)]
    assert len({id(one) for one in shown}) == len(shown)
    titles = [one.title for one in shown]
    assert len(set(titles)) == len(titles)
