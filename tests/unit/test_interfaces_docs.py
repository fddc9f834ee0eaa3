"""The names in docs/interfaces.md are those of the code, and every number of the result is defined there."""

from __future__ import annotations

import re
from pathlib import Path

from tim3d.relating.impedance import TEXTS

PAGE = (Path(__file__).parents[2] / "docs" / "interfaces.md").read_text()


def test_the_page_defines_what_the_result_holds() -> None:
    table = PAGE.partition("| variable | definition |")[2].partition("\n\n")[0]
    named = set(
        re.findall(r"`(\w+)`", " ".join(row.split("|")[1] for row in table.splitlines()[2:]))
    )
    assert named <= set(TEXTS)
    ends = ("_error", "_low", "_high")
    assert all(f"`...{end}`" in table for end in ends)
    stems = {next((name.removesuffix(e) for e in ends if name.endswith(e)), name) for name in TEXTS}
    assert stems <= named
