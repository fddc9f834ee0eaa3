"""Nothing is asked for and then ignored: arguments of functions and parameters of steps, by the text of the package."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from tests.limits import listed
from tests.unit.test_layers import PACKAGE
from tests.unit.test_layers import modules as files
from tests.unit.test_layers import tree as parsed


@cache
def modules() -> dict[str, ast.Module]:
    return {path.relative_to(PACKAGE).as_posix(): parsed(name) for name, path in files().items()}


@dataclass
class Read:
    """Names and attributes that are read anywhere, and names of functions that are called or renamed."""

    names: Counter[str] = field(default_factory=Counter)
    called: Counter[str] = field(default_factory=Counter)
    attributes: set[str] = field(default_factory=set)

    def see(self, node: ast.AST) -> None:
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                self.names[name] += 1
            case ast.Attribute(attr=name, ctx=ast.Load()):
                self.attributes.add(name)
            case ast.Call(func=ast.Name(id=name)):
                self.called[name] += 1
            case ast.ImportFrom(names=names):
                self.names.update(alias.asname for alias in names if alias.asname)


@cache
def read() -> Read:
    """What the whole package reads, found in one walk."""
    found = Read()
    for tree in modules().values():
        for node in ast.walk(tree):
            found.see(node)
    return found


def handed_on() -> set[str]:
    """Functions that others call: with the arguments that these give, needed or not."""
    return {name for name, count in read().names.items() if count > read().called[name]}


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


def ignored(node: ast.FunctionDef) -> list[str]:
    """Arguments that the body does not read."""
    body = Read()
    for part in node.body:
        for inner in ast.walk(part):
            body.see(inner)
    every = (one.arg for one in (*node.args.args, *node.args.kwonlyargs))
    return [name for name in every if not name.startswith("_") and name not in body.names]


def test_every_argument_of_a_function_is_used() -> None:
    """A function that is handed on may leave some: its caller knows only what others of its kind need."""
    others = handed_on()
    wrong = [
        f"{name}:{node.lineno} {node.name} ignores {one}"
        for name, node in functions()
        if node.name not in others and not is_stub(node) and not is_cached(node)
        for one in ignored(node)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_parameter_is_read() -> None:
    """What only goes into a description decides no result."""
    of_steps = [(kind, name) for kind, name in listed() if kind.startswith("tim3d.")]
    unread = [f"{kind}.{name}" for kind, name in of_steps if name not in read().attributes]
    assert not unread, "\n".join(unread)
