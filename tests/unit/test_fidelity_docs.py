"""The numbers of docs/fidelity.md are those of the code."""

from __future__ import annotations

from pathlib import Path

from tim3d.kernels.statistics.comparison import DRAWS, FEWEST_VOLUMES, GOALS, GREY_GOALS, LAGS

PAGE = (Path(__file__).parents[2] / "docs" / "fidelity.md").read_text()


def test_the_page_says_what_the_code_does() -> None:
    assert f"default {','.join(map(str, LAGS))}" in PAGE
    assert f"over {DRAWS} draws" in PAGE
    assert FEWEST_VOLUMES == 8
    goals = GOALS | GREY_GOALS
    for name in goals:
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}`")]
        goal = row.rstrip(" |").rsplit("|", 1)[1].strip()
        shown = {"10 %": 0.1, "none": None}.get(goal, goal)
        assert shown is None if goals[name] != goals[name] else float(str(shown)) == goals[name]
