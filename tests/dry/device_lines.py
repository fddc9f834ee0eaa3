"""The statements of `tim3d/models` that depend on the device, and those of them that have run."""

from __future__ import annotations

import ast
import contextlib
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from tests.dry_cuda import PACKAGE

MODELS = PACKAGE / "models"
# What makes a statement depend on the device: it names one, moves a tensor there or back, reads a
# value, or sets what only a device has.
NAMES = {
    "device", "_device", "cuda", "pin_memory", "non_blocking", "autocast", "mixed", "_scaler",
    "upload", "download", "synchronize", "GradScaler", "device_ids", "OutOfMemoryError",
}  # fmt: skip
METHODS = {"cpu", "item", "cast", "scaler", "shared", "agreed"}


@dataclass(frozen=True, order=True)
class Statement:
    """A statement of a function of a file below `models/`: the lines that it evaluates itself."""

    file: str
    scope: str
    first: int
    last: int

    def ran(self, seen: set[tuple[str, int]]) -> bool:
        """Whether one of its lines did."""
        return any((self.file, line) in seen for line in range(self.first, self.last + 1))


def device_statements() -> list[Statement]:
    """Every statement of `models/` that depends on the device.

    A branch that is taken because of a device depends on it as a whole.
    """
    return sorted(
        Statement(str(file.relative_to(MODELS)), function.name, *lines)
        for file in MODELS.rglob("*.py")
        for function in ast.walk(ast.parse(file.read_text()))
        if isinstance(function, ast.FunctionDef)
        for lines in _of_suite(function.body, False)
    )


def _of_suite(suite: list[ast.stmt], inside: bool) -> Iterator[tuple[int, int]]:
    for statement in suite:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            continue  # walked by itself
        head, parts = _parts(statement)
        depends = any(map(_names_device, head))
        if (inside or depends) and not _is_text(statement):
            ends = [node.end_lineno or 0 for node in head if isinstance(node, ast.expr)]
            yield statement.lineno, max(ends, default=statement.lineno)
        branches = isinstance(statement, ast.If | ast.Try | ast.ExceptHandler)
        for part in parts:
            yield from _of_suite(part, inside or (depends and branches))


def _parts(statement: ast.AST) -> tuple[list[ast.AST], list[list[ast.stmt]]]:
    """What a statement evaluates itself, and the suites within it."""
    head: list[ast.AST] = []
    suites: list[list[ast.stmt]] = []
    for child in ast.iter_child_nodes(statement):
        if isinstance(child, ast.excepthandler):
            suites.append(child.body)
        elif not isinstance(child, ast.stmt):
            head.append(child)
    for name in ("body", "orelse", "finalbody"):
        suite = getattr(statement, name, None)
        if isinstance(suite, list) and suite and isinstance(suite[0], ast.stmt):
            suites.append(suite)
    return head, suites


def _names_device(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute) and node.attr in NAMES | METHODS:
        return True
    if isinstance(node, ast.Name) and node.id in NAMES:
        return True
    if isinstance(node, ast.keyword) and node.arg in NAMES:
        return True
    if isinstance(node, ast.Call) and _on_meta(node):
        return any(map(_names_device, [*node.args, *(one.value for one in node.keywords)]))
    return any(map(_names_device, ast.iter_child_nodes(node)))


def _on_meta(call: ast.Call) -> bool:
    """Whether a call names the device without values, which is everywhere the same."""
    given = [*call.args, *(one.value for one in call.keywords if one.arg == "device")]
    return any(isinstance(one, ast.Constant) and one.value == "meta" for one in given)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


@contextlib.contextmanager
def traced(seen: set[tuple[str, int]]) -> Iterator[None]:
    """Add the lines of `models/` that run to `seen`, in every thread."""
    below = cache(_below)

    def local(frame: FrameType, event: str, argument: Any) -> Any:
        seen.add((str(below(frame.f_code.co_filename)), frame.f_lineno))
        return local

    def called(frame: FrameType, event: str, argument: Any) -> Any:
        return local if below(frame.f_code.co_filename) else None

    before = sys.gettrace()
    sys.settrace(called)
    threading.settrace(called)
    try:
        yield
    finally:
        sys.settrace(before)
        threading.settrace(before)  # type: ignore[arg-type]


def listed(statements: list[Statement]) -> str:
    """One line for each statement: where it stands, and its first line."""
    return "\n".join(
        f"{one.file}:{one.first}: {(MODELS / one.file).read_text().splitlines()[one.first - 1].strip()}"
        for one in statements
    )


def _below(file: str) -> str | None:
    path = Path(file)
    return str(path.relative_to(MODELS)) if path.is_relative_to(MODELS) else None


if __name__ == "__main__":
    print(listed(device_statements()))
