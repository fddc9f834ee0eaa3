"""A report section of one's own: a result of `measure` as a figure and a table, in the file of `tim3d.report`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import tim3d
from tim3d.generators import GaussianField, LevelCuts
from tim3d.sections import Parts, Section, picture, table

QUIET = tim3d.Options(progress=False)
NAME = "<script>alert('a')</script>"


def porosity_figure(found: xr.Dataset) -> Figure:
    """Share of pores in every slice, as a histogram."""
    figure = Figure(figsize=(4, 3), layout="constrained")
    figure.subplots().hist(found.phase_fraction_z.sel(phase="pore").values)
    return figure


def porosity_html(parts: Parts, node: str) -> Iterator[str]:
    """The figure, and a table of the densest and the most porous slice."""
    found = tim3d.open_dataset(parts.sample, node)
    shares = found.phase_fraction_z.sel(phase="pore")
    yield picture(porosity_figure(found), "Share of pores in the slices.")
    yield table(
        ["slices of", "least", "most"],
        [[NAME, f"{float(shares.min()):.3f}", f"{float(shares.max()):.3f}"]],
        1,
    )
    yield f"Plain text is escaped: {NAME}"


POROSITY = Section(
    "Porosity of slices", porosity_html, nodes=lambda parts: [f"{parts.field}_descriptors"]
)


def test_a_section_of_ones_own(tmp_path: Path) -> None:
    sample, file = str(tmp_path / "a.zarr"), tmp_path / "a.html"
    cuts = LevelCuts(GaussianField((60.0,) * 3, (10.0,) * 3, seed=1), (0.4, 0.6))
    tim3d.generate(sample, cuts, shape=(12, 24, 24), options=QUIET)
    tim3d.report(sample, file, sections=[POROSITY])
    assert "Porosity of slices" not in file.read_text()  # nothing is measured yet
    found = tim3d.measure(sample, ["phase_fraction"], options=QUIET)
    text = tim3d.report(sample, file, sections=[POROSITY]).read_text()
    assert (
        text.index("Results")
        < text.index("<h2>Porosity of slices</h2>")
        < text.index("How it was made")
    )
    shares = np.asarray(found.phase_fraction_z.sel(phase="pore"))
    assert f">{shares.min():.3f}</td>" in text
    assert NAME not in text
    assert text.count("&lt;script&gt;alert(&#39;a&#39;)&lt;/script&gt;") == 2
