"""Scores of sets of samples, and the search for copies, against plain loops and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from tim3d.errors import ArgumentError
from tim3d.kernels.statistics.copies import nearest_part
from tim3d.kernels.statistics.neighbour_scores import neighbour_scores


def plain_scores(real: np.ndarray, made: np.ndarray, few: int, many: int) -> tuple[float, ...]:
    """All four scores from all distances."""

    def inside(a: np.ndarray, b: np.ndarray, k: int) -> np.ndarray:
        own = np.sort(np.linalg.norm(a[:, None] - a[None], axis=2), axis=1)[:, k]
        return np.linalg.norm(a[:, None] - b[None], axis=2) <= own[:, None]

    balls = inside(real, made, many)
    return (
        inside(real, made, few).any(0).mean(),
        inside(made, real, few).any(0).mean(),
        balls.sum() / (many * len(made)),
        balls.any(1).mean(),
    )


@pytest.mark.parametrize("seed", range(4))
def test_scores_are_those_of_all_pairs(seed: int) -> None:
    random = np.random.default_rng(seed)
    real, made = random.normal(size=(40, 3)), random.normal(0.4, 1.3, (31, 3))
    found = neighbour_scores(real, made)
    wanted = plain_scores(real, made, 3, 5)
    assert (found.precision, found.recall, found.density, found.coverage) == pytest.approx(wanted)


def test_likeness_and_variety_are_told_apart() -> None:
    random = np.random.default_rng(0)
    real = random.normal(size=(400, 2))
    few_kinds = real[0] + 0.01 * random.normal(size=(400, 2))
    found = neighbour_scores(real, few_kinds)
    assert found.precision > 0.95
    assert found.recall < 0.05
    assert found.coverage < 0.1
    halves = neighbour_scores(real[:200], real[200:])
    # Of one law the expected coverage is 1 - (N - 1) ... (N - k) / ((2 N - 1) ... (2 N - k)), Naeem et al.
    n, k = 200, 5
    expected = 1 - np.prod([(n - i) / (2 * n - i) for i in range(1, k + 1)])
    assert halves.coverage == pytest.approx(expected, abs=0.03)
    assert halves.density == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("real", "made", "says"),
    [((5, 2), (9, 2), "5 real and 9 generated"), ((9, 2), (9, 3), "2 descriptors, generated ones 3")],
)  # fmt: skip
def test_too_few_samples_and_other_vectors_are_refused(
    real: tuple[int, int], made: tuple[int, int], says: str
) -> None:
    with pytest.raises(ArgumentError, match=says):
        neighbour_scores(np.zeros(real), np.zeros(made))


@pytest.mark.parametrize("shape", [(9, 9), (12, 17), (23, 11)])
@pytest.mark.parametrize("labels", [2, 4])
def test_the_nearest_part_is_that_of_a_plain_search(shape: tuple[int, int], labels: int) -> None:
    random = np.random.default_rng(sum(shape) + labels)
    image = random.integers(0, labels, shape).astype(np.uint8)
    crop = random.integers(0, labels, (7, 7)).astype(np.uint8)
    found = nearest_part(crop, image)
    distances = {
        (mirrored, turns, row, column): float(
            np.mean(np.rot90(np.fliplr(crop) if mirrored else crop, turns) != image[row : row + 7, column : column + 7])
        )
        for mirrored in (False, True) for turns in range(4)
        for row in range(shape[0] - 6) for column in range(shape[1] - 6)
    }  # fmt: skip
    assert found.distance == pytest.approx(min(distances.values()), abs=1e-12)
    place = (found.mirrored, found.turns, found.row, found.column)
    assert place == min(k for k, v in distances.items() if v < found.distance + 1e-9)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turns", range(4))
def test_a_copy_is_found_wherever_and_however_it_lies(turns: int, mirrored: bool) -> None:
    image = np.random.default_rng(3).integers(0, 3, (40, 31)).astype(np.uint8)
    part = image[11:24, 15:28]
    crop = np.rot90(np.fliplr(part) if mirrored else part, turns)
    found = nearest_part(crop, image)
    assert (found.distance, found.row, found.column) == (0.0, 11, 15)
    noisy = crop.copy()
    noisy[0, :4] += 1
    assert nearest_part(noisy, image).distance == pytest.approx(4 / 169)


def test_a_crop_of_the_image_itself_is_compared_with_the_parts_apart_from_it() -> None:
    image = np.random.default_rng(4).integers(0, 2, (30, 30)).astype(np.uint8)
    crop = image[3:13, 5:15]
    assert nearest_part(crop, image).distance == 0
    apart = nearest_part(crop, image, apart_from=(3, 5))
    assert apart.distance > 0.2
    assert max(abs(apart.row - 3), abs(apart.column - 5)) >= 10
    with pytest.raises(ArgumentError, match="no part of 10 x 10 pixels"):
        nearest_part(crop, image[:15, :17], apart_from=(3, 5))
    with pytest.raises(ArgumentError, match="must be a square that fits"):
        nearest_part(image, crop)
