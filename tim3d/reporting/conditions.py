"""Generated images beside real ones over conditions, as tables in the shell."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tim3d.lazy import xarray as xr
from tim3d.plotting.conditions import conditions_figure
from tim3d.reporting import table
from tim3d.reporting.section import Section

SHORT = ("precision", "recall", "density", "coverage")


def is_of_conditions(found: xr.Dataset) -> bool:
    """Whether a result was made by `tim3d.fidelity_images`."""
    return "r_squared_ceiling" in found


def text(found: xr.Dataset) -> str:
    """The result as plain tables, with sentences on it below."""
    header = ["quantity", "phase", *(f"R² {group}" for group in found["group"].values)]
    blocks = [
        table.aligned([_HEAD, [], *_condition_rows(found)]),
        table.aligned([header, [], *_r_squared_rows(found)]),
        table.aligned([["conditions", *SHORT, "crops"], [], *_neighbour_rows(found)]),
        [*_says(found)],
    ]
    return "\n\n".join("\n".join(block) for block in blocks)


_HEAD = ["condition", "phase", "area fraction, real", "generated", "deviation", "perimeter", "S2 error",
         "L error", "copy distance (real)"]  # fmt: skip


def _condition_rows(found: xr.Dataset) -> Iterator[list[str]]:
    for condition in found["condition"].values.tolist():
        copy, own = (
            _number(found[f"copy_distance_{side}"].sel(condition=condition))
            for side in ("generated", "real")
        )
        for phase in found["phase"].values.tolist():
            one = found.sel(condition=condition, phase=phase)
            yield [
                condition, phase, _number(one["area_fraction_real"]), _number(one["area_fraction_generated"]),
                _ranged(one.sel(quantity="area_fraction")), _ranged(one.sel(quantity="perimeter_per_area")),
                _number(one["two_point_error"]), _number(one["lineal_path_error"]), f"{copy} ({own})",
            ]  # fmt: skip


def _ranged(one: xr.Dataset) -> str:
    value, low, high = (float(one[f"deviation{end}"]) for end in ("", "_low", "_high"))
    return "-" if np.isnan(value) else f"{value:+.2f} ({low:+.2f} to {high:+.2f})"


def _number(value: xr.DataArray) -> str:
    return "-" if np.isnan(float(value)) else f"{float(value):.4f}"


def _r_squared_rows(found: xr.Dataset) -> Iterator[list[str]]:
    """R^2 of each group, with that of real crops in brackets."""
    for quantity in found["quantity"].values.tolist():
        for phase in found["phase"].values.tolist():
            one = found.sel(quantity=quantity, phase=phase)
            yield [
                quantity,
                phase,
                *(_r_squared(one.sel(group=group)) for group in found["group"].values),
            ]


def _r_squared(one: xr.Dataset) -> str:
    value, best, low = (
        float(one[name]) for name in ("r_squared", "r_squared_ceiling", "r_squared_ceiling_low")
    )
    return "-" if np.isnan(value) else f"{value:.2f} (real {best:.2f}, from {low:.2f})"


def _neighbour_rows(found: xr.Dataset) -> Iterator[list[str]]:
    for group in found["group"].values.tolist():
        one = found.sel(group=group)
        cells = [
            f"{float(one[f'neighbour_{name}']):.2f} (real {float(one[f'neighbour_{name}_of_real']):.2f})"
            for name in SHORT
        ]
        yield [group, *cells, str(int(one["neighbour_samples"]))]


def _says(found: xr.Dataset) -> Iterator[str]:
    crop = found.attrs["crop"]
    yield (
        f"Crops of {crop} x {crop} pixels. Deviations of area fraction and of perimeter per area are in standard "
        "deviations between real crops, with 95 % intervals. In brackets: real crops against other real ones."
    )


CONDITIONS = Section.of_shell("Images over conditions", is_of_conditions, text, conditions_figure)
