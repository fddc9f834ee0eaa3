"""What stands in a figure of conditions: numbers of the dataset, each on its axis, in its colour."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from matplotlib.container import ErrorbarContainer

from tim3d.plotting.conditions import COLOURS, TITLES, conditions_figure

PHASES, CONDITIONS = ["pore", "solid"], ["a, 1", "a, 2", "b, 1"]


def conditions(by: str = "material") -> xr.Dataset:
    """Three conditions of two materials; all numbers differ."""
    rng = np.random.default_rng(0)
    shape = (len(CONDITIONS), len(PHASES))
    units = {"area_fraction": "1", "perimeter_per_area": "nm-1"}
    sides = [f"{side}{end}" for side in ("real", "generated") for end in ("", "_deviation")]
    variables = {
        f"{name}_{side}": (
            ("condition", "phase"),
            rng.uniform(1, 2, shape),
            {"units": units.get(name, "1")},
        )
        for name in TITLES
        for side in sides
    }
    scores = {
        name: (("quantity", "phase", "group"), rng.uniform(0, 1, (len(TITLES), len(PHASES), 1)))
        for name in ("r_squared", "r_squared_ceiling")
    }
    return xr.Dataset(
        variables | scores,
        {
            "condition": CONDITIONS,
            "phase": PHASES,
            "quantity": list(TITLES),
            "group": ["all"],
            "condition_material": ("condition", ["a", "a", "b"]),
        },
        {"by": by},
    )


@pytest.mark.parametrize("by", ["material", ""])
def test_every_panel_shows_its_numbers_with_their_spreads_on_their_own_axes(by: str) -> None:
    found = conditions(by)
    axes = iter(conditions_figure(found).axes)
    for phase in PHASES:
        for quantity, title in TITLES.items():
            ax, one = next(axes), found.sel(phase=phase)
            score = one.sel(quantity=quantity, group="all")
            assert ax.get_title() == (
                f"{title}, {phase}\nR² {float(score.r_squared):.2f} "
                f"(real {float(score.r_squared_ceiling):.2f})"
            )
            bars = [each for each in ax.containers if isinstance(each, ErrorbarContainer)]
            groups = [[0, 1], [2]] if by else [[0, 1, 2]]
            assert len(bars) == len(groups)
            for place, (bar, group) in enumerate(zip(bars, groups, strict=True)):
                points, _, (across, up) = bar
                real, generated = (
                    one[f"{quantity}_{side}"].values[group] for side in ("real", "generated")
                )
                assert points.get_color() == COLOURS[place]
                assert points.get_xdata().tolist() == real.tolist()
                assert points.get_ydata().tolist() == generated.tolist()
                for lines, axis, side in ((across, 0, "real"), (up, 1, "generated")):
                    spread = one[f"{quantity}_{side}_deviation"].values[group]
                    ends = np.array(lines.get_segments())[:, :, axis]
                    assert np.diff(ends)[:, 0] == pytest.approx(2 * spread)
            shown = " ".join(text.get_text() for text in ax.texts)
            assert ("nm⁻¹" in shown) == (quantity == "perimeter_per_area")
