"""Parts of a job array share what is left: each block has one part, whatever was done before."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tim3d.cli.recipe import run_recipe
from tim3d.engine import Part
from tim3d.errors import ArgumentError


@given(st.integers(0, 40), st.integers(1, 7), st.data())
def test_every_block_that_is_left_has_one_part_and_keeps_it(
    count: int, parts: int, data: st.DataObject
) -> None:
    every = list(range(count))
    left = [n for n in every if data.draw(st.booleans())]
    shares = [Part(number, parts).share(every, left) for number in range(1, parts + 1)]
    assert sorted(block for share in shares for block in share) == left
    for number, share in enumerate(shares, 1):
        # The part is that of the place among all blocks: it does not change as blocks are done.
        assert share == [
            block for block in Part(number, parts).share(every, every) if block in left
        ]
    sizes = [len(Part(number, parts).share(every, every)) for number in range(1, parts + 1)]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/3", "1/0", "-1/3", "1/3/3", "1.0/3", ""])
def test_a_part_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ArgumentError, match="is not i/n with i from 1 to n"):
        Part.parse(text)


@pytest.mark.parametrize(
    ("text", "others"), [("2/3", "part(s) 1, 3 of 3"), ("1/1", "part(s)  of 1")]
)
def test_a_part_knows_itself_and_the_others(text: str, others: str) -> None:
    assert str(Part.parse(text)) == text
    assert Part.parse(text).others == others


@pytest.mark.parametrize(
    ("argument", "options", "said"),
    [
        ("overwrite = true", {}, "--overwrite and --part do not go together"),
        ("", {"overwrite": True}, "--overwrite and --part do not go together"),
        ("sample = 'b.zarr'", {}, "step 'measure' has a sample of its own"),
    ],
)
def test_what_parts_cannot_share_is_refused_before_anything_is_done(
    argument: str,
    options: dict[str, bool],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    steps = f"[[step]]\nverb = 'label'\n[[step]]\nverb = 'measure'\n{argument}\n"
    (tmp_path / "r.toml").write_text(f"sample = 'a.zarr'\n{steps}")
    with pytest.raises(ArgumentError, match=said):
        run_recipe(tmp_path / "r.toml", part="1/2", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["r.toml"]
