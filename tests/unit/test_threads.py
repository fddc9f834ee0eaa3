"""What one step of a recipe sets in its process does not change the steps that follow."""

from __future__ import annotations

import os
import subprocess
import sys

import torch

from tim3d.models.common.determinism import cpu_threads, set_threads, threads_used

SOLVED = """
import torch

before = torch.get_num_threads()
import numpy as np
from tim3d.kernels.conduction.conduction import conduct

labels = np.indices((40, 32, 32)).sum(axis=0) % 2
conduct(labels.astype(np.uint8), {0: 1.0, 1: 5.0})
print(before, torch.get_num_threads())
"""


def test_a_training_after_a_solution_has_the_threads_of_one_before_it() -> None:
    """Training ends with the same bytes for the same number of threads only."""
    one = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", SOLVED], env=one, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "1"]


def test_a_training_after_a_segmentation_has_the_threads_of_one_before_it() -> None:
    with cpu_threads(2):
        set_threads(1)  # as segmentation and generation do
        set_threads(1)
        assert (torch.get_num_threads(), threads_used(0), threads_used(5)) == (1, 2, 5)
        with cpu_threads(0):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 1
        torch.set_num_threads(3)  # what a user sets counts
        assert threads_used(0) == 3
        set_threads(1)
        assert threads_used(0) == 3


def test_fewer_threads_than_none_are_refused() -> None:
    import pytest

    from tim3d.errors import ArgumentError
    from tim3d.models.common.determinism import threads_used

    with pytest.raises(ArgumentError, match="--threads -1: a number of threads"):
        threads_used(-1)
    assert threads_used(3) == 3
