"""Every figure read back as numbers: where lines, bands, marks and pictures lie, and how long they say they are.

Edges of a voxel (2, 3, 5) nm and shapes that all differ: no two axes can be exchanged unseen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer

import tim3d
from tim3d.plotting import (
    curves,
    fidelity,
    inspection,
    planes,
    preparation,
    slices,
    study,
    transport,
)  # fmt: skip
from tim3d.plotting.style import LINES
from tim3d.reporting import generator

SPACING = (2.0, 3.0, 5.0)
SHAPE = (5, 9, 14)
SIZE = dict(zip("zyx", (10.0, 27.0, 70.0), strict=True))
QUIET = tim3d.Options(progress=False)
GREY = np.random.default_rng(1).integers(20, 230, SHAPE).astype(np.uint8)
PHASES = tim3d.Phases(solid=3, pore=7)
CODES = np.where(GREY > 90, 3, 7).astype(np.uint8)
# Rows, columns and the voxels of the middle plane across each axis.
MIDDLE: dict[str, tuple[str, Callable[[Any], Any], float]] = {
    "z": ("yx", lambda v: v[2], 5.0),
    "y": ("zx", lambda v: v[:, 4], 13.5),
    "x": ("yz", lambda v: v[:, :, 7].T, 37.5),
}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("small")
    url, size = str(folder / "a.zarr"), dict(zip("zyx", SPACING, strict=True))
    for name, values, phases in (("raw", GREY, None), ("phase", CODES, PHASES)):
        np.save(folder / f"{name}.npy", values)
        tim3d.ingest(
            folder / f"{name}.npy", url, voxel_size=size, field=name, phases=phases,
            accept=["blank", "saturated", "jumps", "drift"] if phases is None else [],
            options=QUIET,
        )  # fmt: skip
    return url


def band(ax: Axes, number: int = 0) -> dict[float, tuple[float, float]]:
    """Lower and upper edge of a filled band by place."""
    corners = np.concatenate([p.vertices for p in ax.collections[number].get_paths()])
    at = np.unique(corners[:, 0])
    inside = [corners[corners[:, 0] == x, 1] for x in at]
    return {float(x): (float(y.min()), float(y.max())) for x, y in zip(at, inside, strict=True)}


def xs(line: Any) -> list[float]:
    """Places of the points of a line."""
    return list(np.asarray(line.get_xdata()).tolist())


def ys(line: Any) -> list[float]:
    """Values of the points of a line."""
    return list(np.asarray(line.get_ydata()).tolist())


def lines(ax: Axes) -> dict[str, tuple[list[float], list[float]]]:
    """Places and values of the lines of a figure by their labels."""
    return {
        str(line.get_label()): (
            xs(line),
            ys(line),
        )
        for line in ax.lines
    }


def bars(ax: Axes) -> list[tuple[float, float, float]]:
    """Middle and half heights of the error bars."""
    found: list[tuple[float, float, float]] = []
    for container in (c for c in ax.containers if isinstance(c, ErrorbarContainer)):
        segments: Any = container.lines[2][0].get_segments()
        for segment in segments:
            (x0, y0), (x1, y1) = segment
            along_x = y0 == y1
            found.append(
                ((x0 + x1) / 2 if along_x else x0, (y0 + y1) / 2, abs(x1 - x0 + y1 - y0) / 2)
            )
    return found


# Planes of a volume ---------------------------------------------------------------------------


@pytest.mark.parametrize("normal", MIDDLE)
def test_a_middle_plane_is_where_and_as_large_as_it_says(sample: str, normal: str) -> None:
    axes, cut, position = MIDDLE[normal]
    plane = planes.middle_plane(sample, "raw", normal)
    steps = dict(zip("zyx", SPACING, strict=True))
    assert np.array_equal(plane.values, cut(GREY))
    assert (plane.normal, plane.axes) == (normal, tuple(axes))
    assert plane.voxel_nm == tuple(steps[a] for a in axes)
    assert plane.size_nm == tuple(SIZE[a] for a in axes)
    assert plane.position_nm == position
    assert plane.extent_nm == (0.0, plane.size_nm[1], plane.size_nm[0], 0.0)
    turned = plane.turned()
    assert np.array_equal(turned.values, cut(GREY).T)
    assert (turned.axes, turned.voxel_nm, turned.size_nm) == (
        plane.axes[::-1],
        plane.voxel_nm[::-1],
        plane.size_nm[::-1],
    )
    assert turned.extent_nm == (0.0, plane.size_nm[0], plane.size_nm[1], 0.0)


def test_a_plane_of_a_coarse_level_lies_where_the_fine_one_does(tmp_path: Path) -> None:
    rng, shape = np.random.default_rng(2), (7, 130, 90)
    np.save(tmp_path / "a.npy", rng.integers(20, 230, shape).astype(np.uint8))
    url = str(tmp_path / "a.zarr")
    tim3d.ingest(
        tmp_path / "a.npy", url, voxel_size=dict(zip("zyx", (2, 3, 5), strict=True)), options=QUIET
    )
    factors = planes.levels(url, "raw")
    assert len(factors) > 1
    for number, normal in enumerate("zyx"):
        fine = planes.middle_plane(url, "raw", normal, 200)
        coarse = planes.middle_plane(url, "raw", normal, 80)
        factor = dict(zip("zyx", planes.picture_factors(url, "raw", 80)[number], strict=True))
        assert max(coarse.values.shape) <= 80 < max(fine.values.shape + coarse.values.shape)
        assert coarse.size_nm == fine.size_nm
        assert coarse.voxel_nm == tuple(
            v * factor[a] for v, a in zip(fine.voxel_nm, fine.axes, strict=True)
        )
        step = SPACING[number] * factor[normal]
        assert abs(coarse.position_nm - fine.position_nm) <= step / 2


def test_three_planes_show_each_axis_with_its_own_length(sample: str) -> None:
    figure = slices.orthoslices(sample)
    low, high = np.percentile(
        np.concatenate([cut(GREY).ravel() for _, cut, _ in MIDDLE.values()]), [0.5, 99.5]
    )
    for ax, (normal, axes) in zip(
        figure.axes, (("z", "yx"), ("y", "xz"), ("x", "yz")), strict=True
    ):
        down, right = tuple(axes)
        assert list(ax.images[0].get_extent()) == [0.0, SIZE[right], SIZE[down], 0.0]
        assert (ax.get_xlim(), ax.get_ylim()) == ((0, SIZE[right]), (SIZE[down], 0))
        assert ax.get_aspect() == 1
        assert ax.get_title().startswith(f"{right}{down}")
        assert f"{normal} = {MIDDLE[normal][2]:.3g} nm" in ax.get_title().replace("\n", " ")
        assert ax.get_xlabel() in (f"{right} →", f"{right}, {SIZE[right]:g} nm →")
        assert ax.get_ylabel() in (f"← {down}", f"← {SIZE[down]:g} nm, {down}")
        cut = MIDDLE[normal][1](GREY)
        cut = cut if MIDDLE[normal][0] == axes else cut.T
        shown = np.asarray(ax.images[0].get_array())[..., 0]
        np.testing.assert_allclose(shown, np.clip((cut - low) / (high - low), 0, 1))
        box = ax.get_position()
        width, height = figure.get_size_inches() * (box.width, box.height)
        assert width / height == pytest.approx(SIZE[right] / SIZE[down])


def test_labels_over_grey_have_the_colour_of_their_phase(sample: str) -> None:
    from matplotlib.colors import to_rgb

    under = slices.orthoslices(sample)
    figures = {
        "z": (slices.overlay(sample), under.axes[0], 0),
        "slice": (slices.overlay_slice(sample, "phase"), slices.overlay_slice(sample, "phase").axes[0], 1),
    }  # fmt: skip
    shades = {3: to_rgb("#e69f00"), 7: to_rgb("#0072b2")}
    for figure, plain, number in figures.values():
        grey = np.asarray(plain.images[0].get_array())
        shown = np.asarray(figure.axes[number].images[0].get_array())
        expected = 0.55 * grey + 0.45 * np.array(
            [[shades[int(code)] for code in row] for row in CODES[2]]
        )
        np.testing.assert_allclose(shown, expected)
        assert list(figure.axes[number].images[0].get_extent()) == [0, SIZE["x"], SIZE["y"], 0]
        assert [t.get_text() for t in figure.legends[0].get_texts()] == ["solid", "pore"]
        assert [h.get_facecolor()[:3] for h in figure.legends[0].get_patches()] == list(
            shades.values()
        )


# Curves ---------------------------------------------------------------------------------------


def test_bars_of_different_widths_are_centred_on_their_grey_values() -> None:
    """500 values in bars of two: the last bar of an odd number is one value wide."""
    voxels = np.arange(1, 302)
    counted = xr.Dataset({"voxels": ("grey", voxels)}, {"grey": np.arange(301.0)})
    figure = curves.histogram({"a": counted, "b": counted * 2}, {"pore": 50.0, "solid": 77.5})
    (ax,) = figure.axes
    for name in "ab":
        grey, share = lines(ax)[name]
        assert grey[-1] == 300
        assert share[-1] == pytest.approx(voxels[-1] / voxels.sum())
        assert grey[0] + 1 == grey[1] - 1
    assert lines(ax)["pore = 50"][0] == [50.0, 50.0]
    assert lines(ax)["solid = 77.5"][0] == [77.5, 77.5]


def of_curves(isotropic: bool) -> xr.Dataset:
    """Values of a comparison: two volumes, two phases, three axes, four lags."""
    rng = np.random.default_rng(3)
    dims = ("volume", "axis", "phase", "lag")
    image = ("slices", "line", "phase", "lag")
    lags = np.outer(SPACING, np.arange(1, 5))
    curve = {n: (dims, rng.random((2, 3, 2, 4))) for n in ("two_point", "lineal_path")}
    image_curve = {
        f"micrograph_{n}": (image, rng.random((3, 2, 2, 4))) for n in ("two_point", "lineal_path")
    }
    more = {
        "residue_fraction": (("axis", "residue", "phase"), rng.random((3, 8, 2))),
        "imprint_error": (("axis", "phase"), rng.random((3, 2))),
    }
    return xr.Dataset(
        curve | image_curve | more,
        {
            "axis": list("zyx"), "slices": list("zyx"), "line": ["rows", "columns"],
            "phase": ["pore", "solid"], "lag_nm": (("axis", "lag"), lags),
        },
        {"isotropic": int(isotropic)},
    )  # fmt: skip


def test_curves_of_volumes_are_their_mean_and_range_along_each_axis() -> None:
    found = of_curves(isotropic=False)
    axes = fidelity.curves_figure(found).axes
    for ax, (quantity, phase) in zip(
        axes, ((q, p) for q in ("two_point", "lineal_path") for p in ("pore", "solid")), strict=True
    ):
        assert ax.get_title().startswith(f"{phase}: {fidelity.CURVES[quantity]}")
        drawn = lines(ax)
        for number, axis in enumerate("zyx"):
            values = found[quantity].sel(axis=axis, phase=phase).values
            lags = found.lag_nm.sel(axis=axis).values
            assert drawn[f"volumes along {axis}"][0] == lags.tolist()
            np.testing.assert_allclose(drawn[f"volumes along {axis}"][1], values.mean(axis=0))
            edges = band(ax, number)
            for at, low, high in zip(lags, values.min(axis=0), values.max(axis=0), strict=True):
                assert edges[float(at)] == pytest.approx((low, high))
        dots = [
            (xs(line), ys(line))
            for line in ax.lines if line.get_marker() == "o"
        ]  # fmt: skip
        # Steps down a column run along the axis of the rows: rows of a slice across z lie along y.
        expected = [
            (
                found.lag_nm.sel(axis=axis).values.tolist(),
                found[f"micrograph_{quantity}"]
                .sel(slices=normal, line=line, phase=phase)
                .values.tolist(),
            )
            for normal, along in (("z", "yx"), ("y", "zx"), ("x", "zy"))
            for line, axis in zip(("rows", "columns"), along, strict=True)
        ]
        assert dots == expected


def test_the_curve_of_one_image_is_the_mean_of_its_lines() -> None:
    found = of_curves(isotropic=True)
    drawn = lines(fidelity.curves_figure(found).axes[1])["micrograph"]
    mean = found.micrograph_two_point.isel(slices=0).mean("line").sel(phase="solid").values
    assert drawn[0] == found.lag_nm.sel(axis="z").values.tolist()
    np.testing.assert_allclose(drawn[1], mean)


def test_grey_curves_and_distributions_are_those_of_volumes_and_images() -> None:
    rng, lags = np.random.default_rng(4), np.outer(SPACING, np.arange(1, 5))
    found = xr.Dataset(
        {
            "correlation": (("volume", "axis", "lag"), rng.random((2, 3, 4))),
            "micrograph_correlation": (("slices", "line", "lag"), rng.random((3, 2, 4))),
            "shares": (("volume", "grey"), rng.random((2, 256))),
            "micrograph_shares": (("slices", "grey"), rng.random((3, 256))),
        },
        {
            "axis": list("zyx"), "slices": list("zyx"), "line": ["rows", "columns"],
            "lag_nm": (("axis", "lag"), lags), "phase": ["grey"],
        },
        {"isotropic": 0},
    )  # fmt: skip
    left, right = fidelity.curves_figure(found).axes
    np.testing.assert_allclose(
        lines(left)["volumes along x"][1], found.correlation.sel(axis="x").mean("volume")
    )
    drawn = lines(right)
    np.testing.assert_allclose(drawn["volumes"][1], found.shares.mean("volume"))
    assert drawn["volumes"][0] == list(range(256))
    for name in "zyx":
        shares = drawn[f"micrograph across {name}"][1]
        assert shares == found.micrograph_shares.sel(slices=name).values.tolist()
    assert band(right)[17.0] == pytest.approx(
        (float(found.shares[:, 17].min()), float(found.shares[:, 17].max()))
    )


def test_residues_are_less_their_mean_with_one_error_for_each_axis() -> None:
    found = of_curves(isotropic=True)
    for ax, phase in zip(fidelity.residues_figure(found).axes, ("pore", "solid"), strict=True):
        drawn = bars(ax)
        for number, axis in enumerate("zyx"):
            values = found.residue_fraction.sel(axis=axis, phase=phase).values
            error = float(found.imprint_error.sel(axis=axis, phase=phase))
            mine = drawn[8 * number : 8 * number + 8]
            np.testing.assert_allclose([x for x, _, _ in mine], np.arange(8))
            np.testing.assert_allclose([y for _, y, _ in mine], values - values.mean())
            np.testing.assert_allclose([e for _, _, e in mine], error)


@pytest.mark.parametrize(("step", "size"), [(10.0, 1), (500.0, 1000)])
def test_tables_of_slices_are_drawn_over_z(step: float, size: int) -> None:
    z, rng = (np.arange(9) + 0.5) * step, np.random.default_rng(5)
    names = [f"{kind}_{axis}" for axis in "yx" for kind in ("drift", "trend", "shift")]
    outlier = (np.arange(9) % 4 == 2).astype(float)
    table = xr.Dataset(
        {name: ("z", rng.random(9)) for name in names} | {"outlier": ("z", outlier)}, {"z": z}
    )
    for ax, axis in zip(preparation.drift(table).axes, "yx", strict=True):
        drawn = lines(ax)
        for kind, label in (("drift", "measured"), ("trend", "slow part"), ("shift", "taken back")):
            np.testing.assert_allclose(np.multiply(drawn[label][0], size), z)
            assert drawn[label][1] == table[f"{kind}_{axis}"].values.tolist()
        placed = drawn["placed by neighbours"]
        np.testing.assert_allclose(np.multiply(placed[0], size), z[[2, 6]])
        assert placed[1] == table[f"drift_{axis}"].values[[2, 6]].tolist()
        assert ax.get_ylabel() == f"along {axis} (pixels)"
    for ax, name in zip(preparation.columns(table).axes, table.data_vars, strict=False):
        assert ax.get_ylabel() == str(name).replace("_", " ")
        assert ys(ax.lines[0]) == table[name].values.tolist()
        np.testing.assert_allclose(np.asarray(xs(ax.lines[0])) * size, z)


def test_stages_and_their_histograms_are_those_of_the_result() -> None:
    rng = np.random.default_rng(6)
    names = ["raw", "align", "median"]
    found = xr.Dataset(
        {
            "picture": (("stage", "row", "column"), rng.integers(0, 99, (3, 7, 11))),
            "voxels": (("stage", "grey"), rng.integers(1, 99, (3, 16))),
        },
        {"stage": names, "grey": np.arange(16.0) * 3},
    )
    shown = preparation.stages(found).axes[:3]
    limits = np.quantile(found.picture.values[[0, -1]], [0.005, 0.995])
    for ax, name, picture in zip(shown, names, found.picture.values, strict=True):
        assert ax.get_title() == name
        assert np.array_equal(np.asarray(ax.images[0].get_array()), picture)
        assert ax.images[0].get_clim() == pytest.approx(tuple(limits))
    shares = found.voxels.values / found.voxels.values.sum(axis=1, keepdims=True)
    for number, ax in enumerate(preparation.stage_histograms(found).axes[:2]):
        assert ax.get_title() == names[number + 1]
        np.testing.assert_allclose(ys(ax.lines[0]), shares[number + 1])
        np.testing.assert_allclose(xs(ax.lines[0]), found.grey)
        before = np.concatenate([p.vertices for p in ax.collections[0].get_paths()])
        assert before[:, 1].max() == pytest.approx(shares[number].max())


def test_an_inspection_shows_every_slice_and_marks_each_finding_where_it_is() -> None:
    rng, count = np.random.default_rng(7), 12
    found = xr.Dataset(
        {n: ("slice", rng.random(count)) for n in ("mean", "std", "shift_y", "shift_x", "difference")},
        {"slice": np.arange(count)},
        {
            "findings": [
                {"name": "jumps", "slices": [3, 8]}, {"name": "drift", "slices": [5]},
                {"name": "duplicates", "slices": [7]}, {"name": "gaps", "slices": [2, 9]},
            ]
        },
    )  # fmt: skip
    brightness, displacement, likeness = inspection.inspection_figure(found).axes
    expected = {
        (0, "mean of the slice"): found["mean"], (1, "y"): found.shift_y, (1, "x"): found.shift_x,
        (2, "r.m.s. difference"): found.difference,
    }  # fmt: skip
    panels = (brightness, displacement, likeness)
    for (number, name), values in expected.items():
        assert lines(panels[number])[name] == (list(range(count)), values.values.tolist())
    edges = band(brightness)
    for z in range(count):
        middle, half = float(found["mean"][z]), float(found["std"][z])
        assert edges[float(z)] == pytest.approx((middle - half, middle + half))
    marks = {"jumps": (brightness, "mean", [3, 8]), "drift": (displacement, "shift_y", [5]),
             "duplicates": (likeness, "difference", [7])}  # fmt: skip
    for name, (ax, values, where) in marks.items():
        assert lines(ax)[name] == (where, found[values].values[where].tolist())
    for ax in panels:
        dotted = [np.asarray(xs(line))[0] for line in ax.lines if line.get_linestyle() == ":"]
        assert dotted == [2.5, 9.5]
    assert displacement.get_ylim() == pytest.approx((-1.15, 1.15))


# Transport ------------------------------------------------------------------------------------


def test_conductivities_stand_between_the_bounds_of_their_own_axis() -> None:
    axes = list("zyx")
    values = {
        "effective_conductivity": [11.0, 22.0, 33.0],
        "effective_conductivity_limit": [12.0, 25.0, 37.0],
        "effective_conductivity_limit_uncertainty": [1.0, 2.0, 3.0],
        "conductivity_wiener_lower": [5.0, 6.0, 7.0],
        "conductivity_wiener_upper": [50.0, 70.0, 90.0],
        "conductivity_hashin_shtrikman_lower": [8.0, 9.0, 10.0],
        "conductivity_hashin_shtrikman_upper": [40.0, 44.0, 48.0],
    }
    found = xr.Dataset(
        {n: ("axis", v, {"units": "W m-1 K-1"}) for n, v in values.items()}, {"axis": axes}
    )
    (ax,) = transport.conductivity_bounds(found).axes
    assert ax.get_xlabel() == "conductivity (W/(m K))"
    assert [t.get_text() for t in ax.get_yticklabels()] == axes
    assert lines(ax)["effective"] == (values["effective_conductivity"], [0, 1, 2])
    drawn: list[Any] = list(ax.patches)
    for number, kind in enumerate(("wiener", "hashin_shtrikman")):
        for place, bar in enumerate(drawn[3 * number : 3 * number + 3]):
            low, high = (values[f"conductivity_{kind}_{s}"][place] for s in ("lower", "upper"))
            assert (bar.get_x(), bar.get_x() + bar.get_width()) == (low, high)
            assert bar.get_y() + bar.get_height() / 2 == pytest.approx(place)
    limits = bars(ax)
    expected = zip(values["effective_conductivity_limit"], range(3), (1.0, 2.0, 3.0), strict=True)
    assert limits == [pytest.approx(one) for one in expected]
    assert (ax.get_xscale(), ax.get_xlim()[0]) == ("linear", 0)


@pytest.mark.parametrize(("planes_", "size"), [(20, 1), (3000, 1000)])
def test_every_way_begins_at_its_inlet(planes_: int, size: int) -> None:
    rng, z = np.random.default_rng(8), (np.arange(planes_) + 0.5) * 2.0
    found = xr.Dataset(
        {
            f"plane_geodesic_tortuosity_z_{way}": (("phase", "z"), rng.random((2, planes_)))
            for way in ("up", "down")
        },
        {"phase": ["pore", "solid"], "z": z},
    )
    (ax,) = transport.geodesic_profiles(found).axes
    drawn = [(np.asarray(xs(li)) * size, np.asarray(ys(li))) for li in ax.lines]
    for number, (way, step) in enumerate((("up", 1), ("down", -1))):
        for place in range(2):
            x, y = drawn[2 * number + place]
            np.testing.assert_allclose(x, np.arange(planes_) * 2.0)
            assert (
                y.tolist()
                == found[f"plane_geodesic_tortuosity_z_{way}"].values[place][::step].tolist()
            )
    (shade,) = ax.patches
    edges = np.array([shade.get_x(), shade.get_x() + shade.get_width()]) * size  # type: ignore[attr-defined]
    np.testing.assert_allclose(edges, [(planes_ - planes_ // 4) * 2.0, (planes_ - 1) * 2.0])
    legend = ax.figure.legends[0]
    assert [t.get_text() for t in legend.get_texts()][:2] == ["pore", "solid"]


# Studies --------------------------------------------------------------------------------------


def of_a_study() -> xr.Dataset:
    """Three sizes of windows with 8, 3 and 1 values."""
    values = np.full((3, 2, 2, 2), np.nan)
    values[0] = np.arange(8).reshape(2, 2, 2) / 10 + 1.6
    values[1].ravel()[:3] = [1.9, 2.0, 2.1]
    values[2].ravel()[:1] = 2.0
    return xr.Dataset(
        {
            "value": (("window", "z_window", "y_window", "x_window"), values, {"units": "W m-1 K-1"}),
            "mean": ("window", [1.95, 2.0, 2.0]),
            "standard_deviation": ("window", [0.245, 0.1, np.nan]),
            "standard_error": ("window", [0.0866, 0.0577, np.nan]),
            "relative_spread": ("window", [0.251, 0.1, np.nan]),
            "judged": ("window", [1.0, 0.0, 0.0]),
            "representative_edge": ((), 60.0),
            "variance_exponent": ((), 0.9),
            "required_edge": ("realisations", [90.0, 55.0, 30.0, 20.0]),
        },
        {"window": [30.0, 60.0, 120.0], "realisations": [1, 4, 16, 64]},
        {
            "tolerance": 0.05, "quantity": "effective_conductivity", "phase": "pore", "axis": "y",
            "verdict": "representative",
        },
    )  # fmt: skip


def test_a_study_is_drawn_with_all_values_their_spread_and_the_tolerance() -> None:
    found = of_a_study()
    left, right = study.study_figure(found).axes
    dots = [np.asarray(c.get_offsets()) for c in left.collections if c.get_alpha() == 0.5]
    for edge, seen, values in zip(found.window.values, dots, found.value.values, strict=True):
        flat = values[np.isfinite(values)]
        assert seen[:, 1].tolist() == flat.tolist()
        assert np.abs(seen[:, 0] / edge - 1).max() <= 0.03 + 1e-9
    drawn = bars(left)
    np.testing.assert_allclose([y for _, y, _ in drawn], found["mean"])
    np.testing.assert_allclose([e for _, _, e in drawn], [0.245, 0.1, 0.0])
    (span,) = left.patches
    assert (span.get_y(), span.get_y() + span.get_height()) == pytest.approx((1.9, 2.1))  # type: ignore[attr-defined]
    assert lines(left)["representative from 60 nm on"][0] == [60.0, 60.0]
    texts = [t.get_text() for t in left.figure.legends[0].get_texts()]
    assert "± 5 % of the largest windows' mean" in texts
    assert left.get_title(loc="left") == "effective conductivity of pore along y"
    assert left.get_ylabel() == "effective conductivity (W/(m K))"
    assert [t.get_text() for t in left.get_xticklabels()] == ["30 nm", "60 nm", "120 nm"]
    judged, few, law, tolerance = right.lines[:4]
    assert (xs(judged), ys(judged)) == ([30.0], [25.1])
    assert (xs(few), ys(few)) == ([60.0], [10.0])
    assert (judged.get_markerfacecolor(), few.get_markerfacecolor()) == (LINES[0], "white")
    # 2 s.d. fall as the root of the variance, V^-a/2: the edge at which they are the tolerance is required.
    expected = [5 * (edge / 90) ** (-1.5 * 0.9) for edge in found.window.values]
    np.testing.assert_allclose(ys(law), expected)
    assert law.get_label() == "$V^{-0.45}$"
    assert ys(tolerance) == [5.0, 5.0]


def test_windows_beyond_the_axis_are_counted() -> None:
    found = of_a_study()
    many = np.full((1, 10, 10, 1), 2.0)
    many[0, 0, :3, 0], many[0, 1, :2, 0] = 90.0, -70.0
    one = found.isel(window=[2]).drop_vars("value")
    shown = one.assign(value=(found.value.dims, many, found.value.attrs))
    left = study.study_figure(shown).axes[0]
    low, high = left.get_ylim()
    assert low < 1.9 < 2.1 < high < 3
    assert left.get_title(loc="right") == "5 windows lie beyond"


# Trainings of generators ----------------------------------------------------------------------


def test_curves_of_a_generator_mark_the_step_with_the_least_score() -> None:
    history = [
        {"step": s, "distance": -s / 10, "critic_loss": 1 / s, "generator_loss": 2 / s, "score": v, "fraction": v / 2}
        for s, v in ((10, 0.5), (20, 0.2), (30, 0.4))
    ]  # fmt: skip
    losses, errors = generator.curves(history).axes
    steps = [10, 20, 30]
    for name in ("distance", "critic_loss", "generator_loss"):
        assert lines(losses)[name.replace("_", " ")] == (steps, [r[name] for r in history])
    for name in ("score", "fraction"):
        assert lines(errors)[name] == (steps, [r[name] for r in history])
    (mark,) = [line for line in errors.lines if line.get_linestyle() == "--"]
    assert xs(mark) == [20, 20]


@pytest.mark.parametrize("images", [1, 3])
def test_made_slices_have_the_edges_of_their_own_voxels(images: int) -> None:
    rng = np.random.default_rng(9)
    shapes = ((9, 14), (5, 14), (5, 9))
    made = [rng.integers(0, 2, shape) for shape in shapes]
    seen = (
        [rng.integers(0, 2, (11, 12))] if images == 1 else [rng.integers(0, 2, s) for s in shapes]
    )
    look: Any = SimpleNamespace(
        images=SimpleNamespace(values=seen, spacing_nm=SPACING, phases=PHASES),
        slices=made,
        names=tuple(f"across {axis}" for axis in "zyx"),
    )
    axes = generator.samples(look).axes
    for column, (plane, edges) in enumerate(zip(made, ((3, 5), (2, 5), (2, 3)), strict=True)):
        image = (seen * 3)[column]
        rows, columns = (min(a, b) for a, b in zip(plane.shape, image.shape, strict=True))
        for ax, values in ((axes[column], plane), (axes[3 + column], image)):
            shown = np.asarray(ax.images[0].get_array()).reshape(rows, columns)
            assert np.array_equal(shown, values[:rows, :columns])
            extent = [0, columns * edges[1], rows * edges[0], 0]
            assert list(ax.images[0].get_extent()) == extent
            (x, _) = (np.asarray(v) for v in ax.lines[0].get_data())
            assert ax.get_xlabel() == f"bar {x[1] - x[0]:g} nm"
        assert axes[column].get_title() == f"generated, across {'zyx'[column]}"


def test_micrographs_and_slices_are_drawn_in_one_scale(sample: str) -> None:
    found = xr.Dataset(
        {
            f"micrograph_{n}": ((f"row_{n}", f"column_{n}"), np.random.default_rng(3).integers(0, 2, shape))
            for n, shape in (("z", (6, 8)), ("y", (4, 7)), ("x", (3, 5)))
        },
        {"phase": ["solid", "pore"], "volume": [sample]},
        {"field": "phase", "spacing_nm": list(SPACING), "isotropic": 0},
    )  # fmt: skip
    axes = fidelity.slices_figure(found).axes
    steps = dict(zip("zyx", SPACING, strict=True))
    along = {"z": "yx", "y": "zx", "x": "zy"}
    sizes = []
    for ax, normal in zip(axes[:3], "zyx", strict=True):
        values = found[f"micrograph_{normal}"].values
        down, right = (n * steps[a] for n, a in zip(values.shape, along[normal], strict=True))
        assert list(ax.images[0].get_extent()) == [0, right, down, 0]
        assert np.array_equal(np.asarray(ax.images[0].get_array()), values)
        sizes.append(max(down, right))
    for ax, normal in zip(axes[3:], "zyx", strict=True):
        axes_of, cut, _ = MIDDLE[normal]
        plane = cut(CODES) if axes_of == along[normal] else cut(CODES).T
        down, right = (SIZE[a] for a in along[normal])
        assert list(ax.images[0].get_extent()) == [0, right, down, 0]
        assert np.array_equal(np.asarray(ax.images[0].get_array()), np.where(plane == 7, 1, 0))
        sizes.append(max(down, right))
    assert {ax.get_xlim() for ax in axes} == {(0, min(sizes))}
    assert {ax.get_ylim() for ax in axes} == {(min(sizes), 0)}
    assert math.isfinite(min(sizes))
