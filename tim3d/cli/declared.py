"""Parameters of a function, read from its source: help must not wait for the import of xarray.

Type and default come from the signature, the help from the section Parameters of the docstring.
Names of a default or of a type are resolved through the imports of the module.
"""

from __future__ import annotations

import ast
import functools
import operator
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
NEEDED = object()
_SECTION = re.compile(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n---|\Z)", re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(r"^(\S[^:\n]*?)(?: : .*)?\n((?:[ ].*\n?|\n)+)", re.MULTILINE)
_ARITHMETIC = {
    ast.Add: operator.add,
    ast.Div: operator.truediv,
    ast.Mult: operator.mul,
    ast.Pow: operator.pow,
    ast.Sub: operator.sub,
}
_STATEMENT = re.compile(r"^(?=[^\s)\]}#])", re.MULTILINE)
_BINDING = re.compile(r"^(?:@.*\n)*(?:(?:def|class) (\w+)\b|(\w+)\b[^\n=]*=)", re.MULTILINE)


@dataclass(frozen=True)
class Parameter:
    """A parameter: its type without "or None", its default (`NEEDED` if it has none), its help."""

    name: str
    kind: str
    default: Any
    text: str
    by_place: bool


@dataclass(frozen=True)
class Declared:
    """Docstring and parameters that a function or a class of a module declares."""

    module: str
    node: ast.FunctionDef | ast.ClassDef

    @cached_property
    def document(self) -> str:
        """Full docstring."""
        return (ast.get_docstring(self.node) or "") + "\n"

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """Parameters by name, in the order of the signature; those of the bases of a dataclass first."""
        texts = dict(_texts(self.document))
        found = [
            Parameter(
                key,
                _kind(self.module, sign),
                _default(self.module, key, value),
                texts.get(key, ""),
                by_place,
            )
            for key, sign, value, by_place in _signature(self.node)
        ]
        return self._inherited | {one.name: one for one in found}

    @property
    def _inherited(self) -> dict[str, Parameter]:
        """Parameters of the bases that are dataclasses too."""
        names = [one.id for one in getattr(self.node, "bases", ()) if isinstance(one, ast.Name)]
        places = [found for name in names if (found := _found(self.module, name))]
        bases = [
            Declared(where, node)
            for where, node in places
            if isinstance(node, ast.ClassDef) and _is_dataclass(node)
        ]
        return {name: one for base in bases for name, one in base.parameters.items()}


@cache
def declared(module: str, name: str) -> Declared:
    """Return the declaration of a function or of a dataclass.

    >>> declared("tim3d.stages.conduction.solve", "solve").parameters["tolerance"].default
    0.001
    """
    where, node = _statement(module, name)
    assert isinstance(node, ast.FunctionDef | ast.ClassDef), f"{module}.{name} declares nothing"
    return Declared(where, node)


def _found(module: str, name: str) -> tuple[str, ast.stmt] | None:
    """Module and statement that bind a name, unless it is of a library."""
    try:
        return _statement(module, name)
    except LookupError:
        return None


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(one) for one in node.decorator_list)


def constant(module: str, name: str) -> Any:
    """Value of a constant of a module."""
    where, node = _statement(module, name)
    assert isinstance(node, ast.Assign | ast.AnnAssign), f"{module}.{name} is not a constant"
    assert node.value is not None
    return _value(where, node.value)


def choices(kind: str) -> tuple[Any, ...]:
    """Values of a ``Literal``; empty for another type.

    >>> choices("Literal[6, 18, 26]"), choices("int")
    ((6, 18, 26), ())
    """
    listed = re.fullmatch(r"Literal\[(.*)\]", kind)
    return ast.literal_eval(f"({listed[1]},)") if listed else ()


@cache
def _text(module: str) -> str:
    path = PACKAGE.parent.joinpath(*module.split("."))
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(
        encoding="utf-8"
    )


@cache
def _statement(module: str, name: str) -> tuple[str, ast.stmt]:
    """Module and statement that bind a name; only the lines of the statement are parsed."""
    where, text = _source(module, name)
    return where, ast.parse(text).body[0]


def summary(module: str, name: str) -> str:
    """Return the first line of the docstring of a function; nothing is parsed.

    >>> summary("tim3d.cli.declared", "choices")
    'Values of a ``Literal``; empty for another type.'
    """
    return _source(module, name)[1].split('"""', 2)[1].partition("\n")[0]


def _source(module: str, name: str) -> tuple[str, str]:
    """Module and source of the statement that binds a name."""
    text = _text(module)
    if name in (starts := _starts(module)):
        start, body = starts[name]
        end = _STATEMENT.search(text, body)
        return module, text[start : end.start() if end else len(text)]
    if imported := re.search(
        rf"^from (tim3d\S*) import (?:\([^)]*|.*)\b{name}\b", text, re.MULTILINE
    ):
        return _source(imported[1], name)
    raise LookupError(f"{module} binds no {name}")


@cache
def _starts(module: str) -> dict[str, tuple[int, int]]:
    """Where the first statement that binds each name begins, and where its name has ended."""
    found = [
        (one[1] or one[2], (one.start(), one.end())) for one in _BINDING.finditer(_text(module))
    ]
    return dict(reversed(found))


def _signature(
    node: ast.FunctionDef | ast.ClassDef,
) -> Iterator[tuple[str, ast.expr | None, ast.expr | None, bool]]:
    """Yield name, type, default and whether a parameter may be positional."""
    if isinstance(node, ast.ClassDef):
        for line in node.body:
            if not isinstance(line, ast.AnnAssign) or "ClassVar" in ast.unparse(line.annotation):
                continue
            if isinstance(line.target, ast.Name):
                yield line.target.id, line.annotation, line.value, False
        return
    of = node.args
    needed: list[ast.expr | None] = [None] * (len(of.args) - len(of.defaults))
    for one, value in zip(of.args, needed + [*of.defaults], strict=True):
        yield one.arg, one.annotation, value, True
    for one, value in zip(of.kwonlyargs, of.kw_defaults, strict=True):
        yield one.arg, one.annotation, value, False


def _kind(module: str, sign: ast.expr | None) -> str:
    """A type without "or None"; an alias of choices is replaced by them."""
    text = ast.unparse(sign).removesuffix(" | None") if sign else ""
    if alias := re.match(r"([A-Z]\w+) \| ", text):  # what follows the alias exists in Python only
        text = alias[1]
    if not re.fullmatch(r"[A-Z]\w+", text):
        return text
    try:
        _, node = _statement(module, text)
    except LookupError:  # a type of the library
        return text
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    choice = ast.unparse(value) if value else ""
    return choice if choice.startswith("Literal[") else text


def _default(module: str, name: str, node: ast.expr | None) -> Any:
    return NEEDED if node is None else None if name == "options" else _value(module, node)


def _value(module: str, node: ast.expr) -> Any:
    """Value of a default or a constant: literals, names of constants, arithmetic, slices."""
    value = functools.partial(_value, module)
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return constant(module, node.id)
        case ast.Tuple():
            return tuple(map(value, node.elts))
        case ast.Dict():
            pairs = zip(node.keys, node.values, strict=True)
            return {value(key): value(of) for key, of in pairs if key is not None}
        case ast.UnaryOp(op=ast.USub()):
            return -value(node.operand)
        case ast.BinOp():
            return _ARITHMETIC[type(node.op)](value(node.left), value(node.right))
        case ast.Call(func=ast.Name(id="slice")):
            return slice(*map(value, node.args))
    raise LookupError(f"{module}: the value of {ast.unparse(node)} is not read")


def _texts(document: str) -> Iterator[tuple[str, str]]:
    """Yield each parameter with its help: the first sentence without backticks and full stop."""
    section = _SECTION.search(document)
    for names, text in _ENTRY.findall(section[1] if section else ""):
        first = " ".join(text.split()).split(". ")[0].rstrip(".").replace("`", "")
        for name in names.split(", "):
            yield name, first if first[1:2].isupper() else first[:1].lower() + first[1:]
