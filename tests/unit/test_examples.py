"""How many examples a law is tried with is said in one place, so that ``make slow`` tries each with more."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parents[1]
WORD = "max_" + "examples"


def test_no_law_has_a_number_of_examples_of_its_own() -> None:
    holders = [
        path.relative_to(TESTS).as_posix()
        for path in sorted(TESTS.rglob("*.py"))
        if WORD in path.read_text(encoding="utf-8")
    ]
    assert holders == ["examples.py"], f"take `costly` from tests/examples.py instead: {holders}"
