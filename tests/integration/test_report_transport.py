"""The report says what solve, geodesic and label found: each number with its unit, and what the numbers leave open."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from scipy import ndimage as ndi

import tim3d
from tim3d.grid import Box
from tim3d.plotting import transport as transport_figures
from tim3d.reporting import page, table, transport
from tim3d.reporting.particle_shares import worst_tables
from tim3d.reporting.report import report
from tim3d.sections import Parts, Section
from tim3d.storage import store
from tim3d.storage.schema import Field

SPACING = (10.0, 5.0, 5.0)
SHAPE = (16, 20, 24)
PHASES = tim3d.Phases(pore=0, copper=1)
K = {"pore": 0.0, "copper": 400.5}
QUIET = tim3d.Options(progress=False)
DIRECTIONS = ("+z", "-z", "+x")
NAMED = "pore=0,copper=400.5"
FLUX = f"phase_transport_{NAMED},axis=z+x,richardson=True"
KEPT = "phase_geodesic_copper_z_up_metric=graph26"


class Cells(HTMLParser):
    """Text of the cells by row; what a rest of the page says."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.headings: list[str] = []
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th", "h2"):
            self.inside = tag
            (self.headings if tag == "h2" else self.rows[-1]).append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = "" if tag == self.inside else self.inside

    def handle_data(self, data: str) -> None:
        if self.inside:
            (self.headings if self.inside == "h2" else self.rows[-1])[-1] += data


def volume() -> NDArray[np.uint8]:
    smooth = ndi.gaussian_filter(np.random.default_rng(1).standard_normal(SHAPE), 1.5)
    return np.where(smooth > -0.05, 1, 0).astype(np.uint8)


def geodesic(url: str) -> xr.Dataset:
    """Results as the verb `geodesic` keeps them, with numbers of no meaning, and a field of distances along z."""
    mark = store.node_attributes(url, "phase")["fingerprint"]
    dims = ("phase", "direction")
    about = {"units": "1", "long_name": "a number", "method": "none", "reference": "none"}
    values = 1 + np.arange(6.0).reshape(2, 3) / 7
    planes = {
        f"plane_geodesic_tortuosity_{axis}_{way}": (
            ("phase", axis), np.random.default_rng(2).random((2, SHAPE["zyx".index(axis)])), about
        )
        for axis, way in (("z", "up"), ("z", "down"), ("x", "up"))
    }  # fmt: skip
    single = {
        "geodesic_tortuosity": values,
        "geodesic_tortuosity_last_plane": values + 1,
        "geodesic_tortuosity_all_planes": values + 2,
        "geodesic_reached_share": values / 10,
        "geodesic_unreached_voxels": np.arange(1234, 1240).reshape(2, 3),
    }
    coordinates = {
        "phase": np.array(list(PHASES), object),
        "direction": np.array(DIRECTIONS, object),
    } | {
        axis: (axis, (np.arange(n) + 0.5) * step)
        for axis, n, step in zip("zyx", SHAPE, SPACING, strict=True)
    }
    spread = {**about, "long_name": "largest less smallest"}
    summary = {
        "geodesic_tortuosity_mean": ("phase", values.mean(1), about),
        "geodesic_tortuosity_spread": ("phase", np.ptp(values, axis=1), spread),
    }
    found = xr.Dataset(
        {n: (dims, v, about) for n, v in single.items()} | summary | planes, coordinates
    )
    asked = {"phases": list(PHASES), "directions": list(DIRECTIONS), "metric": "graph26"}
    record = store.provenance("1" * 64, asked, {"phase": mark}) | {"verb": "geodesic"}
    store.write_dataset(url, "phase_geodesic", found.assign_attrs(metric="graph26"), record)
    _distances(
        url, record | {"parameters": {"phase": "copper", "direction": "+z", "metric": "graph26"}}
    )
    return found


def _distances(url: str, record: dict[str, object]) -> None:
    labels = store.read_field(url, "phase")
    field = Field(KEPT, SHAPE, "float32", SPACING, labels.chunk, labels.shard)
    store.create_field(url, field, record)
    values = np.indices(SHAPE)[0].astype(np.float32) * 10
    values[volume() == 0] = -1
    store.write_box(store.field_array(url, field.name, mode="r+"), Box.whole(SHAPE), values)
    store.update_node(url, field.name, status="complete")


def ingest(folder: Path, name: str, labels: NDArray[np.uint8], *, overwrite: bool = False) -> str:
    np.save(folder / f"{name}.npy", labels)
    url, size = str(folder / f"{name}.zarr"), dict(zip("zyx", SPACING, strict=True))
    how = tim3d.Options(progress=False, overwrite=overwrite)
    tim3d.ingest(
        folder / f"{name}.npy", url, voxel_size=size, field="phase", phases=PHASES, options=how
    )
    return url


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = ingest(tmp_path_factory.mktemp("flux"), "cu", volume())
    tim3d.measure(url, ["phase_fraction", "specific_surface"], options=QUIET)
    tim3d.label(url, options=QUIET)
    tim3d.solve(
        url, conductivity=K, axis=["z", "x"], richardson=True, keep_potential=True, options=QUIET
    )
    geodesic(url)
    return url


@pytest.fixture(scope="module")
def text(sample: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return report(sample, tmp_path_factory.mktemp("out") / "r.html").read_text(encoding="utf-8")


def shown(value: float) -> str:
    return re.sub("<.*?>", "", page.number(table.number(value)))


def test_every_flux_number_stands_with_its_unit_and_its_bounds(sample: str, text: str) -> None:
    found, rows = tim3d.open_dataset(sample, FLUX), Cells(text).rows
    header = next(row for row in rows if "Wiener bounds" in row)
    assert header[:4] == ["variable", "unit", "z", "x"]
    by_name = {row[0]: row for row in rows[rows.index(header) :][:9]}
    for name in (
        "effective_conductivity",
        "tortuosity_factor_total",
        "tortuosity_factor_through",
        "flux_spread",
    ):
        assert by_name[name][1] == ("W/(m K)" if "conductivity" in name else "1")
        cells = [cell.split(" ± ") for cell in by_name[name][2:4]]
        assert [cell[0] for cell in cells] == [shown(float(found[name].sel(axis=a))) for a in "zx"]
        if name == "flux_spread":
            continue
        # Solved at two voxel sizes: the difference to the limit is the error of the voxel size.
        off = [float(abs(found[name] - found[f"{name}_limit"]).sel(axis=a)) for a in "zx"]
        assert [float(cell[1]) for cell in cells] == pytest.approx(off, rel=0.05)
    assert by_name["iterations"][2] == f"{int(found.iterations[0])}"
    assert by_name["percolates"][2:4] == ["yes", "yes"]
    upper = float(found.conductivity_hashin_shtrikman_upper.max())
    assert by_name["effective_conductivity"][5] == f"{shown(0.0)} to {shown(upper)}"
    # The bounds of the tortuosity factor hold it, as those of the conductivity do.
    least = float(found.mean_conductivity_total[0]) / upper
    assert by_name["tortuosity_factor_total"][5] == f"{shown(least)} to ∞"
    assert (found.tortuosity_factor_total > least).all()


def test_a_bottleneck_stands_with_its_place_in_micrometres_and_its_share(
    sample: str, tmp_path: Path
) -> None:
    url, node = str(tmp_path / "a.zarr"), f"{FLUX}_b"
    shutil.copytree(sample, url)
    places = np.arange(1.0, 13.0).reshape(2, 2, 3) * 1250
    found = tim3d.open_dataset(url, FLUX).assign(
        bottleneck_share=(("axis", "bottleneck"), [[0.5, 0.25], [0.125, np.nan]]),
        bottleneck_position=(("axis", "bottleneck", "coordinate"), places, {"units": "nm"}),
    )
    coordinates = {"bottleneck": [1, 2], "coordinate": np.array(list("zyx"), object)}
    record = store.node_attributes(url, FLUX)
    store.write_dataset(url, node, found.assign_coords(coordinates), record)
    rows = Cells("".join(transport.FLUX.html(Parts(url, field="phase"), node))).rows
    header = next(row for row in rows if "share of the dissipation" in row)
    assert header[:5] == ["flux along", "", "z, µm", "y, µm", "x, µm"]
    assert rows[rows.index(header) + 1 :][:3] == [
        ["z", "1", "1.250", "2.500", "3.750", "0.5000"],
        ["z", "2", "5.000", "6.250", "7.500", "0.2500"],
        ["x", "1", "8.750", "10.00", "11.25", "0.1250"],
    ]


def test_the_contacts_and_particles_that_limit_most_stand_first() -> None:
    """Ten of each along each axis, and none through which nothing flows."""
    shares = np.linspace(0.01, 0.12, 12)
    places = np.full((1, 12, 3), 1500.0)
    found = xr.Dataset(
        {
            "flux_contact_first": ("contact", np.arange(12)),
            "flux_contact_second": ("contact", np.arange(12) + 20),
            "flux_contact_area_each": ("contact", np.full(12, 2.5e6)),
            "flux_contact_share": (("axis", "contact"), [shares]),
            "flux_contact_position": (("axis", "contact", "coordinate"), places),
            "flux_particle_share": (("axis", "particle"), [[0.0, 0.25, np.nan]]),
        },
        {"axis": ["z"], "particle": [3, 5, 8]},
    )
    rows = Cells("".join(worst_tables(found))).rows
    contacts = [row for row in rows if len(row) == 8]
    assert contacts[1] == ["z", "11", "31", "2.500", "1.500", "1.500", "1.500", "0.1200"]
    assert [row[1] for row in contacts[1:]] == [str(n) for n in range(11, 1, -1)]
    assert [row for row in rows if len(row) == 3][1:] == [["z", "5", "0.2500"]]
    assert not list(worst_tables(xr.Dataset()))


def test_value_at_h_and_2h_and_the_limit_stand_in_one_row(sample: str, text: str) -> None:
    found, rows = tim3d.open_dataset(sample, FLUX), Cells(text).rows
    for name in ("effective_conductivity", "tortuosity_factor_through"):
        for axis in "zx":
            row = next(row for row in rows if row[:2] == [name, axis])
            h, coarse, limit, half = (
                float(found[f"{name}{end}"].sel(axis=axis))
                for end in ("", "_coarse", "_limit", "_limit_uncertainty")
            )
            assert row[3:5] == [shown(h), shown(coarse)]
            value, uncertainty = row[5].split(" ± ")
            assert value == shown(limit)
            assert float(uncertainty) == pytest.approx(half, rel=0.05)


def test_each_direction_has_its_column_and_the_metric_is_named(sample: str, text: str) -> None:
    found, rows = tim3d.open_dataset(sample, "phase_geodesic"), Cells(text).rows
    tables = [n for n, row in enumerate(rows) if row[2:5] == list(DIRECTIONS)]
    assert len(tables) == len(PHASES)
    for start, phase in zip(tables, PHASES, strict=True):
        one = found.sel(phase=phase)
        by_name = {row[0]: row for row in rows[start + 1 : start + 6]}
        for name in (
            "geodesic_tortuosity",
            "geodesic_tortuosity_last_plane",
            "geodesic_reached_share",
        ):
            assert by_name[name][2:5] == [shown(float(v)) for v in one[name].values]
        assert by_name["geodesic_unreached_voxels"][2:5] == [
            f"{int(v):,}" for v in one.geodesic_unreached_voxels
        ]
        mean, spread = float(one.geodesic_tortuosity_mean), float(one.geodesic_tortuosity_spread)
        assert by_name["geodesic_tortuosity"][5] == f"{shown(mean)} ({shown(spread)})"
    assert "metric: graph26" in text
    assert "Spread: largest less smallest" in text


def test_shares_of_components_stand_by_phase_and_axis(sample: str, text: str) -> None:
    found, rows = tim3d.open_dataset(sample, "phase_components"), Cells(text).rows
    for phase in PHASES:
        for axis in "zyx":
            row = next(row for row in rows if row[:2] == [phase, axis])
            names = ("percolating_fraction", "dead_end_fraction", "isolated_fraction")
            assert row[2:] == [shown(float(found[n].sel(phase=phase, axis=axis))) for n in names]
    assert "connectivity 6" in text
    counts = next(row for row in rows if row[0] == "component_count")
    assert counts[2:] == [f"{int(n):,}" for n in found.component_count]


def test_sections_stand_in_their_order_and_few_voxels_are_warned_of(sample: str, text: str) -> None:
    assert Cells(text).headings[2:6] == ["Results", "Transport", "Geodesic", "Connectivity"]
    chords = transport.feature_voxels(sample, "phase")
    found = tim3d.describe(sample, ["phase_fraction", "specific_surface"])
    expected = 4 * found.phase_fraction / found.specific_surface / max(SPACING)
    assert list(chords.values()) == pytest.approx(expected.values.tolist())
    assert max(chords.values()) < 8
    assert f"fewer than 8 voxels per feature (pore {chords['pore']:.1f}" in text
    assert "--richardson" not in text  # it was run


def said_of(section: Section, sample: str) -> str:
    return "".join(section.blocks(Parts(sample, field="phase")))


def test_without_extrapolation_it_says_how_to_have_it(tmp_path: Path) -> None:
    url = ingest(tmp_path, "bare", volume())
    tim3d.solve(url, conductivity=K, axis="x", faces="centres", options=QUIET)
    said = said_of(transport.FLUX, url)
    asked = f"tim3d solve {url} --conductivity pore=0,copper=400.5 --axis x --faces centres"
    assert f"To have it: {asked} --richardson" in said
    assert "limit at h" not in said
    assert "voxels per feature" not in said  # not known


def test_results_of_every_name_are_shown_with_their_fields(tmp_path: Path) -> None:
    url = ingest(tmp_path, "named", volume())
    tim3d.solve(url, conductivity=K, options=QUIET)
    tim3d.solve(
        url, conductivity={"pore": 2.0, "copper": 9.0}, out="wet", keep_flux=True, options=QUIET
    )
    said = said_of(transport.FLUX, url)
    assert said.index(f"Results phase_transport_{NAMED}:") < said.index("Results wet:")
    assert (
        f"tim3d solve {url} --conductivity pore=2,copper=9 --keep-flux --out wet --richardson"
        in said
    )
    assert (
        said.count("flux_z: the middle planes") == said.count("wet_flux_z: the middle planes") > 0
    )


def test_what_does_not_percolate_is_said_in_words(tmp_path: Path) -> None:
    labels = np.ones(SHAPE, np.uint8)
    labels[8] = 0
    url = ingest(tmp_path, "cut", labels)
    tim3d.solve(url, conductivity=K, options=QUIET)
    rows = {row[0]: row for row in Cells(said_of(transport.FLUX, url)).rows}
    assert rows["percolates"][2] == "no"
    assert rows["tortuosity_factor_total"][2] == "∞"


def test_results_of_another_version_are_not_shown(tmp_path: Path) -> None:
    url = ingest(tmp_path, "old", volume())
    tim3d.solve(url, conductivity=K, keep_potential=True, options=QUIET)
    tim3d.label(url, options=QUIET)
    geodesic(url)
    ingest(tmp_path, "old", volume()[:-2], overwrite=True)
    verbs = {
        "solve": transport.FLUX,
        "geodesic": transport.GEODESIC,
        "label": transport.CONNECTIVITY,
    }
    for verb, section in verbs.items():
        said = said_of(section, url)
        assert f"another version of phase. Renew it: tim3d {verb} {url}" in said
        assert not {"<table", "<img"} & set(re.findall("<[a-z]+", said))


def test_variables_that_are_not_known_yet_have_a_table_too(tmp_path: Path) -> None:
    url = ingest(tmp_path, "more", volume())
    found = tim3d.solve(url, conductivity=K, axis=["z", "y", "x"], options=QUIET).load()
    tensor = np.arange(9.0).reshape(3, 3) + 0.5
    axes = np.array(list("zyx"), object)
    more = xr.Dataset(
        {
            "conductivity_tensor": (
                ("axis", "axis_of_flux"),
                tensor,
                {"units": "W m-1 K-1", "long_name": "tensor"},
            ),
            "flux_mean": (("axis", "phase"), tensor[:, :2] * 10, {"units": "1"}),
        },
        {"axis": axes, "axis_of_flux": axes, "phase": np.array(list(PHASES), object)},
    )
    node = f"phase_transport_{NAMED},axis=z+y+x"
    record = store.node_attributes(url, node)
    store.write_dataset(url, node, found.merge(more).assign_attrs(found.attrs), record)
    rows = Cells(said_of(transport.FLUX, url)).rows
    assert ["y", *(shown(v) for v in tensor[1])] in rows
    assert ["flux_mean y", "1", shown(35.0), shown(45.0)] in rows
    described = tim3d.describe(url, ["effective_conductivity", "local_flux"])
    np.testing.assert_array_equal(described.conductivity_tensor, tensor)
    np.testing.assert_array_equal(described.flux_mean.sel(axis="y"), [35.0, 45.0])


def test_bounds_may_differ_by_axis_and_be_missing(tmp_path: Path) -> None:
    url = ingest(tmp_path, "lines", volume())
    found = tim3d.solve(url, conductivity=K, axis=["z", "x"], options=QUIET).load()
    about = found.conductivity_wiener_upper.attrs
    other = found.drop_vars(
        [n for n in found.data_vars if str(n).startswith("conductivity_")]
    ).assign(conductivity_wiener_upper=("axis", [300.0, 200.0], about))
    attributes = {**found.attrs, "conductivity": {"pore": 0.0, "copper": [400.0, 400.0, 300.0]}}
    node = f"phase_transport_{NAMED},axis=z+x"
    record = store.node_attributes(url, node)
    store.write_dataset(url, node, other.assign_attrs(attributes), record)
    said = said_of(transport.FLUX, url)
    assert f"z: at most {shown(300)}<br>x: at most {shown(200)}" in said
    least = [float(m) / k for m, k in zip(found.mean_conductivity_total, (300, 200), strict=True)]
    assert f"z: at least {shown(least[0])}<br>x: at least {shown(least[1])}" in said
    assert "Hashin" not in said
    assert "--axis z,x --richardson" in said  # the recorded command, one option longer
    given = tim3d.describe(url, ["effective_conductivity"]).phase_conductivity
    assert given.sel(phase="copper", axis=["z", "x"]).values.tolist() == [400, 300]
    assert given.sel(phase="pore", axis="x") == 0
    bars = transport_figures.conductivity_bounds(other).axes[0].patches
    assert [bar.get_width() for bar in bars] == [300, 200]  # type: ignore[attr-defined]


def test_the_conductivity_is_drawn_between_its_bounds(sample: str) -> None:
    found = tim3d.open_dataset(sample, FLUX)
    ax = transport_figures.conductivity_bounds(found).axes[0]
    drawn = ax.lines[0]
    np.testing.assert_array_equal(drawn.get_xdata(), found.effective_conductivity)
    edges = {(patch.get_x(), patch.get_x() + patch.get_width()) for patch in ax.patches}  # type: ignore[attr-defined]
    for kind in ("wiener", "hashin_shtrikman"):
        band = tuple(
            float(found[f"conductivity_{kind}_{side}"].max()) for side in ("lower", "upper")
        )
        assert band in edges
    assert "W/(m K)" in ax.get_xlabel()


def test_profiles_begin_at_the_inlet_and_the_last_quarter_is_shaded(sample: str) -> None:
    found = tim3d.open_dataset(sample, "phase_geodesic").load()
    figure = transport_figures.geodesic_profiles(found)
    assert [ax.get_xlabel().split()[0] for ax in figure.axes] == ["z", "x"]
    up, down = figure.axes[0].lines[0], figure.axes[0].lines[2]
    np.testing.assert_array_equal(up.get_ydata(), found.plane_geodesic_tortuosity_z_up[0])
    np.testing.assert_array_equal(down.get_ydata(), found.plane_geodesic_tortuosity_z_down[0][::-1])
    assert np.asarray(up.get_xdata())[0] == np.asarray(down.get_xdata())[0] == 0
    (shade,) = figure.axes[0].patches
    assert (shade.get_x(), shade.get_x() + shade.get_width()) == (120.0, 150.0)  # type: ignore[attr-defined]


def test_what_was_not_reached_is_grey_and_only_that(sample: str) -> None:
    figure = transport_figures.field_slices(sample, KEPT, "nm")
    shown_z = np.asarray(figure.axes[0].images[0].get_array())
    grey = (shown_z == transport_figures.NOT_REACHED).all(axis=-1)
    np.testing.assert_array_equal(grey, volume()[SHAPE[0] // 2] == 0)
    shown_y = np.asarray(figure.axes[1].images[0].get_array()).swapaxes(0, 1)
    reached = ~(shown_y == transport_figures.NOT_REACHED).all(axis=-1)
    lightness = shown_y @ np.array([0.2126, 0.7152, 0.0722])
    means = [lightness[z][reached[z]].mean() for z in range(SHAPE[0]) if reached[z].any()]
    assert np.all(np.diff(means) > 0)  # lighter all the way
    assert to_rgb("white") not in {tuple(c) for c in shown_z.reshape(-1, 3)}


def test_kept_fields_are_shown_with_the_results_to_which_they_belong(
    sample: str, text: str, tmp_path: Path
) -> None:
    for name in (f"phase_potential_z_{NAMED}", f"phase_potential_x_{NAMED}", KEPT):
        assert text.count(f'alt="{name}: the middle planes') == 1
    url = ingest(tmp_path, "again", volume())
    tim3d.solve(url, conductivity=K, keep_potential=True, options=QUIET)
    tim3d.solve(url, conductivity={"pore": 1.0, "copper": 2.0}, options=QUIET)
    mine, other = said_of(transport.FLUX, url).split("Results phase_transport_pore=1,copper=2:")
    assert f"phase_potential_z_{NAMED}: the middle planes" in mine
    assert "potential_z" not in other
