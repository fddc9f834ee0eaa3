"""The benchmark of the coarse field runs, small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")

from benchmarks import coarse_field

SMALL = "--steps 1 --crop 16 --batch 1 --widths 4 --short 3 --count 2 --real 2"


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "more", "sizes"),
    [
        ("images", "--edge 128 --drawn 64 --window 16 --slow 20", 4),
        ("volumes", "--edge 48 --drawn 32 --window 12 --slow 12", 2),
    ],
)
def test_a_row_for_the_material_and_every_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, more: str, sizes: int
) -> None:
    coarse_field.main([kind, str(tmp_path / "made"), *SMALL.split(), *more.split()])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(rows) == 6
    assert {row.count(" | ") for row in rows} == {sizes}
    assert {name for name, _, _ in coarse_field.CASES} < {row.split(" | ")[0][2:] for row in rows}


def test_the_scatter_is_that_of_the_fractions_of_all_windows() -> None:
    """White noise: the square root of f (1 - f) over the pixels of a window."""
    rng = np.random.default_rng(0)
    images = [(rng.random((256, 256)) < 0.4).astype(np.uint8) for _ in range(4)]
    found = coarse_field.scatter(images, [8, 16])
    for edge, (scatter, error) in found.items():
        assert scatter == pytest.approx(0.24**0.5 / edge, rel=0.08)
        assert 0 < error < 0.1 * scatter
