"""The commands of docs/study.md are ones that the command line takes, and its names are those of the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tim3d.arguments import convert
from tim3d.cli import build_parser
from tim3d.kernels.representative import FEWEST_WINDOWS, RANGES_HELD, SMALLEST_FITTED, VERDICTS
from tim3d.stages.quantities import names

PAGE = (Path(__file__).parents[2] / "docs" / "study.md").read_text()
COMMANDS = [line for block in re.findall(r"```shell\n(.*?)```", PAGE, re.S) for line in block.splitlines() if line]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_taken(command: str) -> None:
    given = vars(build_parser().parse_args(shlex.split(command, comments=True)[1:]))
    assert given["quantity"] in names()
    for name, value in given.items():
        convert(name, value, "study")


def test_the_page_says_what_the_code_does() -> None:
    assert f"at least {FEWEST_WINDOWS} windows" in PAGE
    assert f"at least {RANGES_HELD:g} of it" in PAGE
    assert SMALLEST_FITTED == (1 / 4) ** 3
    for verdict in set(VERDICTS) - {"representative"}:
        assert f"`{verdict}`" in PAGE
    for name in ("effective_conductivity", "tortuosity_factor", "geodesic_tortuosity", "specific_surface"):
        assert f"`{name}`" in PAGE
        assert name in names()
