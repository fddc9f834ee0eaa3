"""The benchmark of instances finds every sphere, and rules that join blocks find another number for other blocks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from benchmarks import instances


@pytest.mark.long
def test_every_whole_sphere_is_found_with_its_volume(capsys: pytest.CaptureFixture[str]) -> None:
    instances.main(["spheres", "--edge", "96"])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[1:]]
    assert len(rows) == 12
    for row in rows:
        assert abs(float(row[3])) <= 1.0
        assert abs(float(row[6])) <= 3.0


@pytest.mark.long
def test_other_rules_depend_on_the_blocks(capsys: pytest.CaptureFixture[str]) -> None:
    truth, _, _ = instances.packed(96, 0.5, (16.0, 28.0), 3)
    inside = truth > 0
    instances.controls((distance_transform_edt(inside) * inside).astype(np.float32))
    out = capsys.readouterr().out
    for kind in ("dask-image", "cellpose"):
        rows = [row for row in out.splitlines() if row.startswith(kind)]
        assert len(rows) == 6
        for margin in ("margin 8", "margin 56"):
            counts = {row.split(" | ")[1] for row in rows if margin in row}
            assert len(counts) > 1


def test_labels_are_joined_at_faces_as_the_packages_join_them() -> None:
    """Worked by hand: dask-image joins what touches, also two labels side by side; cellpose what is left of both."""
    labels = np.zeros((4, 8, 12), np.uint32)
    labels[:2, 1:7, 1:6], labels[:2, 1:7, 6:11] = 1, 2
    labels[2:, 1:7, 1:6], labels[2:, 1:7, 6:11] = 3, 4
    face = labels[1:3]
    assert instances.joined(labels, 2, shrink=False) == 1
    pairs = {tuple(row) for row in instances.touching(face)}
    assert pairs == {(1, 2), (2, 3), (3, 4)}
    left = np.stack([instances.shrunk(plane) for plane in face])
    assert {tuple(row) for row in instances.touching(left)} == {(1, 3), (2, 4)}


@pytest.mark.slow
def test_ours_has_the_same_particles_for_two_blockings(capsys: pytest.CaptureFixture[str]) -> None:
    instances.main(["stitching", "--edge", "64"])
    assert "for both blockings equal" in capsys.readouterr().out
