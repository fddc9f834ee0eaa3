"""Numbers of the rules stand in a table: constants of modules, and defaults of functions and of classes.

No law of nature: what a number is for, its module says. A number that is changed is thereby changed in two
places, and what is meant to change is written by

python -m tests.unit.test_constants
"""

from __future__ import annotations

import ast
import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path

import tim3d

ROOT = Path(tim3d.__file__).parent
TABLE = Path(__file__).parents[1] / "constants.csv"
LONG = 80


def constants() -> dict[tuple[str, str], str]:
    """Text of every number, by module and name."""
    found: dict[tuple[str, str], str] = {}
    for path in sorted(ROOT.rglob("*.py")):
        module = path.relative_to(ROOT).with_suffix("").as_posix()
        for name, value in _of(ast.parse(path.read_text()).body, ""):
            found[module, name] = _text(value)
    return found


def _of(body: list[ast.stmt], within: str) -> Iterator[tuple[str, ast.expr]]:
    for node in body:
        if isinstance(node, ast.Assign) and _holds_number(node.value):
            for target in node.targets:
                yield within + ast.unparse(target), node.value
        elif isinstance(node, ast.AnnAssign) and node.value and _holds_number(node.value):
            yield within + ast.unparse(node.target), node.value
        elif isinstance(node, ast.ClassDef):
            yield from _of(node.body, f"{within}{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            yield from _defaults(node, f"{within}{node.name}")


def _defaults(node: ast.FunctionDef, name: str) -> Iterator[tuple[str, ast.expr]]:
    given = [*node.args.posonlyargs, *node.args.args]
    last = given[len(given) - len(node.args.defaults) :]
    pairs = [*zip(last, node.args.defaults, strict=True)]
    pairs += [(a, d) for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if d]
    for argument, default in pairs:
        if isinstance(default, ast.Constant) or _holds_number(default):
            yield f"{name}({argument.arg})", default


def _holds_number(value: ast.expr) -> bool:
    """Whether it is made of literals, one of which is a number."""
    if any(
        isinstance(one, ast.Lambda | ast.comprehension | ast.JoinedStr) for one in ast.walk(value)
    ):
        return False
    return any(
        isinstance(one, ast.Constant) and isinstance(one.value, int | float)
        for one in ast.walk(value)
    )


def _text(value: ast.expr) -> str:
    text = ast.unparse(value)
    if len(text) <= LONG:
        return text
    return f"{text[:40]}... {hashlib.sha256(text.encode()).hexdigest()[:12]}"


def listed() -> dict[tuple[str, str], str]:
    with TABLE.open(newline="") as file:
        return {(row["module"], row["name"]): row["value"] for row in csv.DictReader(file)}


def test_numbers_of_modules_are_those_of_the_table() -> None:
    found, known = constants(), listed()
    wrong = [
        f"{module}: {name} is {found.get((module, name))}, and {known.get((module, name))} in the table"
        for module, name in sorted({*found, *known})
        if found.get((module, name)) != known.get((module, name))
    ]
    assert not wrong, "if that is meant: python -m tests.unit.test_constants\n" + "\n".join(wrong)


def main() -> None:
    """Write the table."""
    with TABLE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["module", "name", "value"])
        writer.writerows((*key, value) for key, value in sorted(constants().items()))


if __name__ == "__main__":
    main()
