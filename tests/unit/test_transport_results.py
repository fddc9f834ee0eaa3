"""Results of the flux solver from records made by hand: every number by its definition, in its unit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tim3d.descriptors.transport import Context, transport
from tim3d.kernels.conduction.conduction import Physics
from tim3d.kernels.conduction.local_flux import CLASSES, class_edges
from tim3d.phases import Phases

PHASES, SPACING, VOXELS = Phases(pore=2, copper=5), (2.0, 3.0, 5.0), {2: 4, 5: 6}
K = {2: 1.0, 5: 10.0}


def context(axes: tuple[str, ...] = ("z", "x"), **physics: Any) -> Context:
    return Context(PHASES, SPACING, Physics(K, **physics), axes, "W m-1 K-1", 1e-6, VOXELS)


def record(conductivity: float, **more: Any) -> dict[str, Any]:
    found = {
        "mean_total": 6.0,
        "mean_through": 5.0,
        "percolates": True,
        "spread": 0.01,
        "iterations": 7,
    }
    return {"conductivity": conductivity, "flux": [1.0, 2.0, 3.0], **found, **more}  # fmt: skip


@pytest.mark.parametrize(("electrodes", "first"), [("outer", 0), ("centres", 1)])
def test_planes_of_faces_are_counted_from_the_outer_face(electrodes: Any, first: int) -> None:
    found = transport(context(electrodes=electrodes), {"z": record(4.0), "x": record(2.0)}, {})
    for axis, step in (("z", 2.0), ("x", 5.0)):
        assert found[f"{axis}_face"].values.tolist() == [(first + n) * step for n in range(3)]
        assert found[f"plane_conductivity_{axis}"].values.tolist() == [1.0, 2.0, 3.0]
    assert found.effective_conductivity.values.tolist() == [4.0, 2.0]
    assert found.tortuosity_factor_total.values.tolist() == [1.5, 3.0]
    assert found.tortuosity_factor_through.values.tolist() == [1.25, 2.5]


def test_conductances_are_told_per_square_metre() -> None:
    physics = {"interface": {(2, 5): 0.25}, "contact": (0.5, math.inf)}
    found = transport(context(**physics), {"z": record(4.0), "x": record(2.0)}, {})
    assert found.attrs["interface"] == {"pore:copper": 0.25e9}
    assert [float(one) for one in found.attrs["contact"]] == [0.5e9, math.inf]
    assert "conductivity_wiener_lower" not in found
    assert found.conductivity_wiener_upper.values == pytest.approx(0.4 * 1 + 0.6 * 10)


def test_local_flux_is_relative_to_the_mean_and_its_deviation_is_about_its_own_mean() -> None:
    local = {
        "voxels": [4, 6], "total": [8.0, 18.0], "squares": [20.0, 84.0], "dissipation": [3.0, 17.0],
        "histogram": [np.eye(CLASSES, dtype=int)[n].tolist() for n in (3, 4)],
    }  # fmt: skip
    one = record(2.0, labels=[2, 5], local=local)
    found = transport(context(("z",)), {"z": one}, {}).isel(axis=0)
    assert found.flux_mean.values.tolist() == pytest.approx([1.0, 1.5])
    # sqrt of the mean of the squares less the square of the mean, both over the flux density 2.
    assert found.flux_deviation.values == pytest.approx(
        [math.sqrt(1.25 - 1), math.sqrt(3.5 - 2.25)]
    )
    assert found.dissipation_share.values == pytest.approx([3 / 20, 17 / 20])
    assert found.flux_histogram.values.argmax(axis=-1).tolist() == [3, 4]
    # A class is a factor 2^(1/4) wide, and its place is its middle on a logarithmic axis.
    edges = class_edges()
    assert edges[1:] / edges[:-1] == pytest.approx(2**0.25)
    assert found.flux_class.values == pytest.approx(edges[:-1] * 2**0.125)


def test_a_tensor_is_asymmetric_by_its_largest_difference_over_its_largest_entry() -> None:
    rows = {"z": [4.0, 1.0, 0.0], "y": [0.5, 5.0, 0.1], "x": [0.0, 0.0, 2.0]}
    fine = {axis: record(5.0, row=row) for axis, row in rows.items()}
    found = transport(context(("z", "y", "x"), cell=True), fine, {})
    assert found.conductivity_tensor.sel(axis="z", flux_axis="y") == 1.0
    assert float(found.tensor_asymmetry) == pytest.approx(0.5 / 5)
