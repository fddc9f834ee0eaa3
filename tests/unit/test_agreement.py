"""Three planes of one volume agree whatever its shape; a plane that was turned, or of another material, does not."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

import tim3d
from tim3d.kernels.statistics.orthogonal_consistency import gaps, indicators, profiles_of, turns

Planes = list[NDArray[np.uint8]]


def planes(seed: int, correlation: tuple[float, float, float]) -> Planes:
    """Middle planes of a volume of labels whose correlation differs along z, y and x, one channel a phase."""
    field = gaussian_filter(
        np.random.default_rng(seed).normal(size=(96, 96, 96)), correlation, mode="wrap"
    )
    volume = (field < np.quantile(field, 0.4)).astype(np.uint8)
    return [indicators(np.take(volume, 48, axis), 2) for axis in range(3)]


@pytest.mark.parametrize("seed", range(10))
def test_planes_of_one_volume_agree(seed: int) -> None:
    assert gaps(profiles_of(planes(seed, (2.0, 4.0, 8.0)))) == []
    assert gaps(profiles_of(planes(seed, (3.0, 3.0, 3.0)))) == []


@pytest.mark.parametrize("image", [0, 1, 2])
def test_a_plane_that_was_turned_is_found_by_its_two_axes(image: int) -> None:
    seen = planes(0, (1.5, 4.0, 12.0))
    seen[image] = seen[image].swapaxes(1, 2)
    found = gaps(profiles_of(seen))
    assert {gap.axis for gap in found} <= {0, 1, 2} - {image}
    assert found
    assert all(image in gap.images for gap in found)
    turned = turns(profiles_of(seen))
    assert turned is not None
    # Turning the other two as well would only give other axes to the same structure.
    assert turned in (tuple(n == image for n in range(3)), tuple(n != image for n in range(3)))


def test_the_difference_is_that_of_the_correlations_by_brute_force() -> None:
    rng = np.random.default_rng(1)
    seen = [rng.integers(0, 255, (1, 64, 64), np.uint8) for _ in range(3)]
    seen[0] = np.repeat(seen[0][:, ::8], 8, axis=1)
    (gap,) = gaps(profiles_of(seen))

    def rho(lines: NDArray[np.uint8], lag: int) -> float:
        values = lines.astype(float)
        return float(1 - ((values[:, lag:] - values[:, :-lag]) ** 2).mean() / (2 * values.var()))

    lags = (1, 2, 4, 6, 8, 12, 16)
    assert (gap.axis, gap.images) == (1, (0, 2))
    expected = np.mean([abs(rho(seen[0][0].T, lag) - rho(seen[2][0], lag)) for lag in lags])
    assert gap.difference == pytest.approx(expected)


def test_no_turn_helps_where_the_material_differs() -> None:
    fine, coarse = planes(0, (1.5, 1.5, 1.5)), planes(0, (6.0, 6.0, 6.0))
    mixed = [fine[0], fine[1], coarse[2]]
    assert {gap.axis for gap in gaps(profiles_of(mixed))} == {0, 1}
    assert turns(profiles_of(mixed)) is None


def test_a_training_says_which_image_to_turn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen = planes(0, (1.5, 4.0, 12.0))
    seen[2] = seen[2].swapaxes(1, 2)
    paths = [tmp_path / f"{name}.png" for name in ("xy", "xz", "yz")]
    for path, image in zip(paths, seen, strict=True):
        Image.fromarray(255 * image[0]).save(path)
    with caplog.at_level(logging.WARNING):
        tim3d.train_generator.plan(
            paths, tmp_path / "out", phases=tim3d.Phases(pore=0, solid=255), pixel_size=5
        )
    said = [one.getMessage() for one in caplog.records if "contradict" in one.getMessage()]
    assert said
    assert all(one.endswith("Turn by a quarter, and all three agree: yz.png") for one in said)
    assert any(one.startswith("xz.png and yz.png contradict each other along z") for one in said)


def test_the_steel_of_the_literature_contradicts_itself(
    data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [data_dir / "micrographs" / f"SUS_{name}.png" for name in ("XY", "XZ", "YZ90R")]
    with caplog.at_level(logging.WARNING):
        tim3d.train_generator.plan(paths, "unused", pixel_size=5, scale=4)
    said = [one.getMessage() for one in caplog.records if "contradict" in one.getMessage()]
    assert len(said) == 3
    assert all("Are they of one material" in one for one in said)
