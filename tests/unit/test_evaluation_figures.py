"""What stands in the figure of an evaluation: scores with the ends of their intervals, slices at their places."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from matplotlib.container import ErrorbarContainer

from tim3d.plotting.evaluation import METRICS, evaluation_figure

PHASES = ["pore", "solid"]


def evaluation(baselines: list[str]) -> xr.Dataset:
    """Scores whose intervals reach farther down than up; those of baselines are lower."""
    rng = np.random.default_rng(0)
    variables: dict[str, object] = {"boundary_f1_chance": ("phase", [0.1, 0.2])}
    for number, prefix in enumerate(["", "baseline_"][: 1 + len(baselines)]):
        for name in METRICS:
            value = rng.uniform(0.5, 0.8, 2) - 0.2 * number
            ends = {"": value, "_low": value - 0.1 * rng.random(2), "_high": value + 0.02}
            variables |= {f"{prefix}{name}{end}": ("phase", one) for end, one in ends.items()}
        macro = ("z", rng.uniform(0.5, 0.9, 4), {"units": "1"})
        variables[f"{prefix}iou_macro_z"] = macro
    place = {"phase": PHASES, "z": ("z", [5.0, 15.0, 25.0, 3025.0], {"units": "nm"})}
    return xr.Dataset(variables, place, {"field": "phase", "baseline_fields": baselines})


@pytest.mark.parametrize("baselines", [[], ["otsu"]])
def test_scores_stand_between_the_ends_of_their_intervals(baselines: list[str]) -> None:
    found = evaluation(baselines)
    left, right = evaluation_figure(found).axes
    bars = iter([one for one in left.containers if isinstance(one, ErrorbarContainer)])
    for phase in PHASES:
        for prefix in ["", "baseline_"][: 1 + len(baselines)]:
            points, _, (up,) = next(bars)
            one = found.sel(phase=phase)
            assert points.get_ydata() == pytest.approx(
                [float(one[f"{prefix}{name}"]) for name in METRICS]
            )
            for segment, name in zip(up.get_segments(), METRICS, strict=True):
                ends = [float(one[f"{prefix}{name}_{end}"]) for end in ("low", "high")]
                assert segment[:, 1] == pytest.approx(ends)
    shown = {tuple(line.get_ydata()): line.get_xdata() for line in right.lines}
    for prefix in ["", "baseline_"][: 1 + len(baselines)]:
        x = shown[tuple(found[f"{prefix}iou_macro_z"].values)]
        assert x == pytest.approx(found.z.values / 1000)
    assert right.get_xlabel() == "z (µm)"
