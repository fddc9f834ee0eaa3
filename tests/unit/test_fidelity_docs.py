"""The commands of docs/fidelity.md are ones that the command line takes, and its numbers are those of the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tim3d.arguments import convert
from tim3d.cli import build_parser
from tim3d.kernels.fidelity import DRAWS, FEWEST_VOLUMES, GOALS, LAGS, QUANTITIES

PAGE = (Path(__file__).parents[2] / "docs" / "fidelity.md").read_text()
COMMANDS = [line for block in re.findall(r"```shell\n(.*?)```", PAGE, re.S) for line in block.splitlines() if line]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_taken(command: str) -> None:
    given = vars(build_parser().parse_args(shlex.split(command, comments=True)[1:]))
    assert given["micrograph"]
    for name, value in given.items():
        convert(name, value, "fidelity")


def test_the_page_says_what_the_code_does() -> None:
    assert f"default {','.join(map(str, LAGS))}" in PAGE
    assert f"over {DRAWS} draws" in PAGE
    assert FEWEST_VOLUMES == 8
    for name in QUANTITIES:
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}`")]
        goal = row.rstrip(" |").rsplit("|", 1)[1].strip()
        shown = {"10 %": 0.1, "none": None}.get(goal, goal)
        assert shown is None if GOALS[name] != GOALS[name] else float(str(shown)) == GOALS[name]
