"""The example notebook runs, and what is kept in it is what its cells show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.notebooks import executed, texts

NOTEBOOK = Path(__file__).parents[2] / "docs" / "example.ipynb"


@pytest.mark.long
def test_the_cells_run_and_show_what_the_notebook_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pictures = 0
    for cell, outputs in executed(NOTEBOOK):
        kept = cell["outputs"]
        assert texts(outputs) == texts(kept), "".join(cell["source"])
        pictures += sum("image/png" in one.get("data", {}) for one in outputs)
        assert [one.get("data", {}).keys() for one in outputs] == [
            one.get("data", {}).keys() for one in kept
        ]
    assert pictures >= 4
    assert len(list(Path("figures").iterdir())) >= 6


def test_it_is_a_notebook_that_names_no_machine() -> None:
    notebook = json.loads(NOTEBOOK.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    cells = notebook["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    text = "".join("".join(cell["source"]) for cell in cells)
    for verb in ("ingest", "segment", "measure", "describe", "table", "plot"):
        assert f"tim3d.{verb}(" in text
    assert "/tmp" not in NOTEBOOK.read_text()
