"""The names and numbers of docs/study.md are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from tim3d.kernels.statistics.representative import (
    FEWEST_WINDOWS,
    RANGES_HELD,
    SMALLEST_FITTED,
    VERDICTS,
)
from tim3d.stages.representative.quantities import names

PAGE = (Path(__file__).parents[2] / "docs" / "study.md").read_text()


def test_the_page_says_what_the_code_does() -> None:
    assert f"at least {FEWEST_WINDOWS} windows" in PAGE
    assert f"at least {RANGES_HELD:g} of it" in PAGE
    assert SMALLEST_FITTED == (1 / 4) ** 3
    for verdict in set(VERDICTS) - {"representative"}:
        assert f"`{verdict}`" in PAGE
    for name in (
        "effective_conductivity",
        "tortuosity_factor",
        "geodesic_tortuosity",
        "specific_surface",
    ):
        assert f"`{name}`" in PAGE
        assert name in names()
    assert set(re.findall(r"--quantity (\w+)", PAGE)) <= set(names())
