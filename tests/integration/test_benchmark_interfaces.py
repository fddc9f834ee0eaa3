"""The benchmark of interfaces runs, and tells the two areas apart."""

from __future__ import annotations

import pytest

from benchmarks import interfaces


@pytest.mark.long
def test_a_table_of_errors_and_the_cost(capsys: pytest.CaptureFixture[str]) -> None:
    interfaces.main(["--sizes", "12", "--cost", "12", "--bands", "0"])
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "| error, % | 12³ |"
    errors = {
        name.strip(): float(value) for _, name, value, _ in (row.split("|") for row in shown[2:-1])
    }
    assert errors["layers at 45°, faces"] > 15
    assert abs(errors["layers at 45°, normal"]) < 0.1
    assert errors["six neutral spheres, normal"] < 0
    assert shown[-1].startswith("12³: ")


def test_packed_spheres_lie_between_the_closed_forms() -> None:
    """Hasselman and Johnson's for few spheres, and Bruggeman's with Kapitza for those of all sizes."""
    few, dense = interfaces.few_spheres, interfaces.spheres_of_all_sizes
    assert [round(few(f, 0.1), 3) for f in (0.1, 0.3, 0.5)] == [1.236, 1.841, 2.723]
    assert [round(dense(f, 0.1), 3) for f in (0.1, 0.3, 0.5)] == [1.258, 2.159, 4.325]
    for aspect in (1 - 1e-4, 1 + 1e-4):
        assert interfaces.aligned(0.2, 0.1, aspect) == pytest.approx([few(0.2, 0.1)] * 2, rel=1e-3)
    fraction, *k = interfaces.packed(0.3, 0.1, 1.0, 64, 0)
    assert all(0.99 * few(fraction, 0.1) < one < dense(fraction, 0.1) for one in k)
