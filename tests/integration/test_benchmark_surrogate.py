"""The benchmark of surrogates runs."""

from __future__ import annotations

import pytest

from benchmarks import surrogate

pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")


@pytest.mark.slow
def test_a_table_of_baselines_and_networks(capsys: pytest.CaptureFixture[str]) -> None:
    surrogate.main(["--edge", "24", "--learn", "40", "--test", "6", "--steps", "2", "--seeds", "1"])
    shown = capsys.readouterr().out
    rows = [line for line in shown.splitlines() if line.startswith("| ")]
    assert len(rows) == 16
    assert "at equal descriptors of 9 sections" in shown


def test_closed_forms_at_their_ends() -> None:
    for law in (surrogate.maxwell, surrogate.bruggeman):
        assert law(1e-9) == pytest.approx(surrogate.RESIN, rel=1e-6)
        assert law(1 - 1e-9) == pytest.approx(surrogate.FILLER, rel=1e-2)
        assert law(0.3) > surrogate.RESIN
    assert surrogate.bruggeman(0.4) > surrogate.maxwell(0.4)
