"""The benchmark of promptable networks runs, tiny."""

from __future__ import annotations

import pytest

from benchmarks import promptable
from tests.promptable import transformers


@pytest.mark.long
def test_the_table_has_a_row_for_every_step(capsys):
    transformers()
    promptable.main(["--tiny", "--edge", "64", "--prompts", "4", "--batch", "2"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(rows) == 10
    assert all(float(row.split(" | ")[2]) >= 0 for row in rows[1:])
