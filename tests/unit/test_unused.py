"""Nothing is asked for and then ignored: arguments of functions and parameters of steps, by the text of the package."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import tim3d
from tests.limits import listed

PACKAGE = Path(tim3d.__file__).parent


@cache
def modules() -> dict[str, ast.Module]:
    return {
        path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def loaded(tree: ast.AST) -> Iterator[str]:
    """Names that are read, and the functions that are given away and not called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id


@cache
def handed_on() -> frozenset[str]:
    """Functions that others call: with the arguments that these give, needed or not."""
    every, called = Counter[str](), Counter[str]()
    for tree in modules().values():
        every.update(loaded(tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                called[node.func.id] += 1
            if isinstance(node, ast.ImportFrom):
                every.update(alias.asname for alias in node.names if alias.asname)
    return frozenset(name for name, count in every.items() if count > called[name])


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions of the modules; methods answer to a base class."""
    for name, tree in modules().items():
        yield from ((name, node) for node in tree.body if isinstance(node, ast.FunctionDef))


def is_cached(node: ast.FunctionDef) -> bool:
    """Whether its arguments tell what is kept from what is new."""
    return any("cache" in ast.unparse(one) for one in node.decorator_list)


def is_stub(node: ast.FunctionDef) -> bool:
    """Whether it only documents itself, as the silent default of a callback."""
    last = node.body[-1]
    return isinstance(last, ast.Pass | ast.Expr) and len(node.body) <= 2


def test_every_argument_of_a_function_is_used() -> None:
    """A function that is handed on may leave some: its caller knows only what others of its kind need."""
    ignored = [
        f"{name}:{node.lineno} {node.name} ignores {one.arg}"
        for name, node in functions()
        if node.name not in handed_on() and not is_stub(node) and not is_cached(node)
        for one in (*node.args.args, *node.args.kwonlyargs)
        if not one.arg.startswith("_")
        and one.arg not in {n for part in node.body for n in loaded(part)}
    ]
    assert not ignored, "\n".join(ignored)


@cache
def read_somewhere() -> frozenset[str]:
    """Attributes that are read anywhere."""
    found: set[str] = set()
    for tree in modules().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                found.add(node.attr)
    return frozenset(found)


def test_every_parameter_is_read() -> None:
    """What only goes into a description decides no result."""
    unread = [f"{kind}.{name}" for kind, name in listed() if name not in read_somewhere()]
    assert not unread, "\n".join(unread)
