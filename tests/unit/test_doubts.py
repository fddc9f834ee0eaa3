"""What is doubtful about a table of slices is said with its number; what is usual is not."""

from __future__ import annotations

import numpy as np
import pytest

from tim3d.corrections.doubts import far, interpolated, left_out, strong, unlike

EVEN = np.full(20, 0.9)


def test_unlike_neighbours_are_named_and_a_stack_that_is_noise_is_said_to_be() -> None:
    one = EVEN.copy()
    one[7] = 0.2
    assert not list(unlike(EVEN))
    (said,) = unlike(one)
    assert said.startswith("slice 7 is unlike the one before (correlation 0.20 at the lowest")
    (said,) = unlike(0.2 * EVEN)
    assert "hardly alike (correlation 0.18, median)" in said


def test_the_first_slice_has_no_neighbour_before_it() -> None:
    one = EVEN.copy()
    one[0] = 0.0
    assert not list(unlike(one))
    assert not list(unlike(EVEN[:1]))


@pytest.mark.parametrize(("lost", "count"), [(0.09, 0), (0.11, 1)])
def test_a_small_crop_is_usual(lost: float, count: int) -> None:
    assert len(list(far("y", np.arange(9.0), lost, cropped=True))) == count


def test_a_repeated_frame_is_not_advised_to_repeat() -> None:
    (said,) = far("x", np.arange(9.0), 0.4, cropped=False)
    assert "repeats the outermost pixels" in said
    assert "align:pad=crop" in said


def test_many_interpolated_slices_and_a_long_gap_are_two_doubts() -> None:
    gap = np.zeros(40, bool)
    gap[5:7] = True
    assert not list(interpolated(gap))
    gap[7] = True
    (said,) = interpolated(gap)
    assert said.startswith("3 slices in a row are interpolated (from slice 5 of the result on)")
    gap[::5] = True
    assert "10 of 40 slices are interpolated (25 %)" in next(interpolated(gap))


def test_slices_left_out_at_the_ends_are_said() -> None:
    assert not list(left_out(np.array([1.0, 0.0, 1.0])))
    assert list(left_out(np.array([0.0, 1.0, 1.0, 0.0]))) == [
        "slices 0, 3 at the end of the stack are bad and left out"
    ]


def test_a_gain_of_more_than_two_either_way_is_a_doubt() -> None:
    assert not list(strong(np.array([0.6, 1.0, 1.9])))
    assert "slice 2: 0.4" in next(strong(np.array([1.0, 1.0, 0.4])))
