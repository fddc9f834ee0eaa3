"""Tests hold what is public to its laws: none imports, reads or replaces a private name of the package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
# Interfaces of libraries that are private by their spelling only.
FOREIGN = {
    "_strip_protocol",  # fsspec: a file system overrides it
    # torch: operations, and the storage of a tensor, to watch a device that is not there
    *("_local_scalar_dense", "_pin_memory", "_to_copy", "_cdata"),
    "_getframe",  # sys
}
OWN = {"self", "cls"}


def private(name: str) -> bool:
    """Whether a name, or the last part of a path, begins with one underscore."""
    last = name.rpartition(".")[2]
    return last.startswith("_") and not last.startswith("__") and last[1:2].isalpha()


def uses(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of every private name that a module takes from elsewhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("tim3d", "tests")):
            names = [node.module or "", *(alias.name for alias in node.names)]
            yield from ((node.lineno, name) for name in names if private(name))
        elif isinstance(node, ast.Attribute) and private(node.attr):
            if not (isinstance(node.value, ast.Name) and node.value.id in OWN):
                yield node.lineno, node.attr
        elif isinstance(node, ast.Call) and called(node.func) in {"setattr", "getattr", "delattr"}:
            texts = [one.value for one in node.args[:2] if isinstance(one, ast.Constant)]
            yield from ((node.lineno, str(text)) for text in texts if private(str(text)))


def called(function: ast.expr) -> str:
    """Last part of the name of a function that is called."""
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def test_no_test_uses_a_private_name() -> None:
    found = [
        f"{path.relative_to(TESTS.parent)}:{line}: {name}"
        for path in sorted(TESTS.rglob("*.py"))
        for line, name in uses(ast.parse(path.read_text()))
        if name not in FOREIGN
    ]
    assert not found, (
        "a name that a test needs is worth being public, or the law can be stated without it:\n"
        + "\n".join(found)
    )


def test_private_names_are_found_however_they_are_written() -> None:
    text = """
from tim3d.a import _b, c
import tim3d.d as d
d._e()
monkeypatch.setattr(d, "_f", None)
monkeypatch.setattr("tim3d.d.G._h", None)
getattr(d, "_i")
self._own = d.__name__ + d.public
"""
    assert [name for _, name in sorted(uses(ast.parse(text)))] == [
        "_b",
        "_e",
        "_f",
        "tim3d.d.G._h",
        "_i",
    ]
