"""The English of the package: docstrings begin with what comes out, and programs are not persons."""

from __future__ import annotations

import re
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "tim3d"
# Patterns that a native writer would not use here, and what to write.
WORDS = {
    r'"""(What|Of|Those|That|Who|Whose|As recorded|Both)\b': "begin with an imperative or the result and its unit",
    r"\b([Ww]hoever|[Nn]obody|[Ss]omebody|[Ee]verybody|whom)\b": "programs are not persons",
    r"\btold\b|\btells? (it|them|us)\b": "reported, recorded, stated",
    r"(?<!here )\b(is|are|was) no (?!longer\b|more\b|less\b|larger\b|smaller\b|other\b|such\b)\w+": "is not a ...",
    r"\banew\b": "again",
    r"\b[Mm]end(ed|s|ing)?\b": "fix",
    r"\bmade otherwise\b": "created with different parameters",
    r"\bso many\b": "that many, as many as, at most N",
}


def test_words() -> None:
    found = [
        f"{path.relative_to(PACKAGE.parent)}:{number}: {line.strip()!r}: {advice}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for pattern, advice in WORDS.items()
        if re.search(pattern, line)
    ]
    assert not found, "\n".join(found)
