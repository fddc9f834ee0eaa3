"""The names and numbers of docs/relate.md are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from tim3d.kernels.statistics.regression import fewest_samples
from tim3d.relating.formulas import FORMULAS
from tim3d.relating.physics import ROLES
from tim3d.relating.problem import FREE, LEFT_OUT
from tim3d.relating.variables import TEXTS

PAGE = (Path(__file__).parents[2] / "docs" / "relate.md").read_text()


def test_the_page_says_what_the_code_does() -> None:
    table = PAGE.partition("| variable | definition |")[2].partition("\n\n")[0]
    first = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    named = set(re.findall(r"`(\w+)`", " ".join(first)))
    assert named
    assert named <= set(TEXTS)
    for formula in FORMULAS:
        assert f"`{formula}:" in PAGE
    for role in ROLES:
        assert f"{role}=" in PAGE
    assert f"k features need k + {1 + LEFT_OUT + FREE}" in PAGE
    assert f"90 % needs {fewest_samples(0.9) + 1}" in PAGE
