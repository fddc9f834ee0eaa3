"""Results of every verb are those of tests/recorded.json; what is meant to change is recorded again:

python -m tests.recorded
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import recorded
from tests.integration.test_every_verb import TABLE


@pytest.mark.slow
def test_every_verb_is_recorded_or_left_out() -> None:
    names = {recorded.verb_in(key) for key in recorded.listed()}
    assert names | recorded.LEFT_OUT == set(TABLE), "record it: python -m tests.recorded"


@pytest.mark.slow
def test_every_verb_gives_what_is_recorded(tmp_path: Path) -> None:
    wrong = list(recorded.differences(recorded.recorded(tmp_path), recorded.listed()))
    assert not wrong, "if that is meant: python -m tests.recorded\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ([1.0, 2.0], [1.0, 2.0000001], True),
        ([1.0, 2.0], [1.0, 2.0001], False),
        ([1, 2], [1, 3], False),
        ("0.25 nm", "0.26 nm", True),  # the last place may be rounded the other way
        ("0.25 nm", "0.27 nm", False),
        ("0.25 nm", "0.25 um", False),
        ("3 voxels", "4 voxels", False),
        (["nan"], ["nan"], True),
        ({"a": 1.0}, {"b": 1.0}, False),
        ([1.0], [1.0, 1.0], False),
    ],
)
def test_numbers_are_near_and_words_are_equal(one: object, other: object, alike: bool) -> None:
    assert recorded.same(one, other, recorded.NEAR) is alike
