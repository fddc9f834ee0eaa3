"""The benchmark runs, tiny, so that it cannot rot."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "descriptors.py"
    spec = importlib.util.spec_from_file_location("benchmark_descriptors", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.long
def test_speed_prints_a_row_for_each_kernel(
    benchmark: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark.main(["speed", "--edge", "24", "--repeats", "1"])
    out = capsys.readouterr().out
    for name in ("octant_histogram", "gradient_area", "plane_counts", "skimage marching_cubes"):
        assert f"| {name}" in out


def test_errors_on_bodies_are_those_of_the_documentation(benchmark: ModuleType) -> None:
    text = (Path(__file__).parents[2] / "docs" / "descriptors.md").read_text()
    for name, values in (
        ("(1, 1, 1), R = 10", benchmark.ball_errors(10, (1, 1, 1))),
        ("(5, 1, 1), R = 5", benchmark.ball_errors(5, (5, 1, 1))),
        (
            "(2, 1, 1), normal (1, 1, 0)",
            benchmark.plane_error(np.array([1.0, 1.0, 0.0]), (2, 1, 1)),
        ),
        ("period 16 voxels", benchmark.gyroid_errors(16)),
    ):
        assert f"| {name} | " + " | ".join(f"{v:+.1f}" for v in values) in text, name
