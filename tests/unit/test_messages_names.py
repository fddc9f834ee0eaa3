"""Messages name an option as it is typed in the shell, or in plain words, never by its name in Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tim3d.cli.parsing import parameters
from tim3d.verbs import VERBS

PACKAGE = Path(__file__).parents[2] / "tim3d"
# Names that are typed so in the shell too, within the value of an option.
TYPED = {"diameter_nm": "--voids", "correlation_nm": "--roughness"}
SAYS = {"warning", "info", "error"}


def test_no_message_names_an_option_by_its_name_in_python() -> None:
    names = {name for verb in VERBS for name in parameters(verb) if "_" in name} - set(TYPED)
    assert len(names) > 40
    pattern = re.compile(rf"(?<![\w.])({'|'.join(sorted(names))})(?![\w(])")
    found = [
        f"{path.relative_to(PACKAGE.parent)}:{line}: {text!r} has {match[0]}: write --{match[0].replace('_', '-')}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, text in _said(ast.parse(path.read_text()))
        if (match := pattern.search(text)) and f"--{match[0].replace('_', '-')}" not in text
    ]
    assert not found, "\n".join(found)


def _said(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Texts of what is raised or logged, with their lines."""
    for node in ast.walk(module):
        logged = isinstance(node, ast.Call) and getattr(node.func, "attr", "") in SAYS
        if isinstance(node, ast.Raise) or logged:
            for part in ast.walk(node):
                if isinstance(part, ast.JoinedStr):
                    yield part.lineno, "".join(
                        one.value for one in part.values
                        if isinstance(one, ast.Constant) and isinstance(one.value, str)
                    )  # fmt: skip
                elif isinstance(part, ast.Constant) and " " in str(part.value):
                    yield part.lineno, str(part.value)
