"""The benchmark of interfaces runs, and tells the two areas apart."""

from __future__ import annotations

import pytest

from benchmarks import interfaces


@pytest.mark.long
def test_a_table_of_errors_and_the_cost(capsys: pytest.CaptureFixture[str]) -> None:
    interfaces.main(["--sizes", "12", "--cost", "12"])
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "| error, % | 12³ |"
    errors = {
        name.strip(): float(value) for _, name, value, _ in (row.split("|") for row in shown[2:-1])
    }
    assert errors["layers at 45°, faces"] > 15
    assert abs(errors["layers at 45°, normal"]) < 0.1
    assert errors["six neutral spheres, normal"] < 0
    assert shown[-1].startswith("12³: ")
