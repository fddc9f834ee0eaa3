"""Crops of a stack lie apart, within it, and where shape, spacing and seed put them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tim3d.stages.imaging.regions import Layout

EDGES = st.tuples(st.integers(1, 40), st.integers(16, 90), st.integers(16, 90))
SIZES = st.tuples(*[st.floats(1, 50)] * 3)


@given(shape=EDGES, spacing=SIZES, regions=st.integers(4, 9), count=st.integers(1, 7))
def test_crops_are_inside_and_do_not_overlap(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], regions: int, count: int
) -> None:
    layout = Layout(shape, spacing, 16, regions, count, 3)
    places = layout.places()
    assert 1 <= len(places) == layout.number <= regions
    seen = np.zeros(shape, np.int64)
    for region in places:
        assert 1 <= len(region) <= count
        for z, y, x in region:
            seen[z, y : y + 16, x : x + 16] += 1
    assert seen.max() == 1
    assert seen.sum() == 256 * sum(map(len, places))
    for boxes, region in zip(layout.boxes(), places, strict=True):
        for (box, middle), (z, y, x) in zip(boxes, region, strict=True):
            assert box.start == (z - middle, y, x)
            assert 0 <= box.start[0] <= z < box.stop[0] <= shape[0]
    assert places == Layout(shape, spacing, 16, regions, count, 3).places()


@pytest.mark.parametrize(
    ("shape", "spacing", "axis"),
    [
        ((200, 64, 64), (10.0, 5.0, 5.0), "z"),
        ((200, 64, 64), (1.0, 5.0, 5.0), "y"),  # as many slices, thinner
        ((8, 64, 128), (10.0, 5.0, 5.0), "x"),
        ((200, 64, 64), (10.0, 5.0, 60.0), "y"),  # crops are longer along x: fewer slices lie apart
    ],
)
def test_regions_lie_where_most_are_a_crop_apart_in_nm(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], axis: str
) -> None:
    layout = Layout(shape, spacing, 16, 16, 4, 0)
    assert layout.axis == axis
    starts = {place["zyx".index(axis)] for region in layout.places() for place in region}
    apart = np.diff(sorted(starts)) * spacing["zyx".index(axis)]
    assert (apart >= 16 * spacing["zyx".index(axis)] * (axis != "z") - 1e-9).all()


def test_another_seed_takes_other_crops() -> None:
    a, b = (Layout((40, 90, 90), (10.0,) * 3, 16, 4, 3, seed).places() for seed in (0, 1))
    assert a != b
