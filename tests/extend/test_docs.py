"""The page on extending is made of the tested code: each of its blocks stands in the tests as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "extend.md"


def test_every_block_of_the_page_is_tested_code() -> None:
    tested = "\n".join(path.read_text() for path in sorted(Path(__file__).parent.glob("*.py")))
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    assert [block for block in blocks if block.strip() not in tested] == []
