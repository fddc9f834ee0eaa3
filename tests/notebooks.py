"""Notebooks as they are run here, without Jupyter: cell after cell, with what each shows.

python -m tests.notebooks docs/example.ipynb     # run it and keep what its cells show
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from tim3d.reporting import page

DPI = 80


def executed(path: Path) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Run the cells of code in the working folder; each with its outputs, as a notebook holds them."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            yield cell, _outputs("".join(cell["source"]), names)


def _outputs(source: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    """What a cell prints, and the value of its last line."""
    tree, last = ast.parse(source), None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "cell", "exec"), names)
        value = None if last is None else eval(compile(last, "cell", "eval"), names)
    stream = {"name": "stdout", "output_type": "stream", "text": _lines(printed.getvalue())}
    shown = {"metadata": {}, "output_type": "display_data", "data": _data(value)}
    return [*([stream] if printed.getvalue() else []), *([] if value is None else [shown])]


def _data(value: Any) -> dict[str, Any]:
    if not isinstance(value, Figure):
        return {"text/plain": _lines(repr(value))}
    drawn = page.png(value, DPI)  # of few colours, a third of the bytes
    return {"image/png": base64.b64encode(drawn).decode(), "text/plain": ["a figure"]}


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def texts(outputs: list[dict[str, Any]]) -> list[list[str]]:
    """What outputs say, without pictures."""
    return [one.get("text") or one["data"]["text/plain"] for one in outputs]


def keep(path: Path) -> None:
    """Write what the cells show into the notebook."""
    notebook = json.loads(path.read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for number, (cell, (_, outputs)) in enumerate(zip(cells, executed(path), strict=True), 1):
            cell |= {"execution_count": number, "outputs": outputs}
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    keep(Path(sys.argv[1]).resolve())
