"""The report of a sample that went through the real verbs."""

from __future__ import annotations

import base64
import io
import itertools
import math
import re
import shlex
import shutil
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

import tim3d
from tests.nets import tiny_checkpoint
from tim3d.cli.main import main
from tim3d.errors import ArgumentError, CheckpointError, InputError, MissingFieldError
from tim3d.grid import Box
from tim3d.plotting import curves, planes, style
from tim3d.plotting import slices as figures
from tim3d.plotting.phases_3d import DRAWN_VOXELS
from tim3d.reporting import page, table
from tim3d.reporting.evaluation import confusion_table
from tim3d.reporting.html import thresholds
from tim3d.reporting.report import report
from tim3d.stages.shared.field import Options
from tim3d.storage import store

QUIET = Options(progress=False)
PHASES = tim3d.Phases(pore=0, solid=1)
SIZE = {"z": 20.0, "y": 10.0, "x": 5.0}
SHAPE = (20, 30, 70)


class Reader(HTMLParser):
    """Tags, their attributes, and the text of the headings and cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []
        self.rows: list[list[str]] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("h1", "h2", "td", "th"):
            self._inside = tag
            (self.headings if tag in ("h1", "h2") else self.rows[-1]).append("")
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            (self.headings if self._inside in ("h1", "h2") else self.rows[-1])[-1] += data


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Raw, truth, annotation and a slightly wrong phase field, measured."""
    folder = tmp_path_factory.mktemp("report")
    url = str(folder / "demo.zarr")
    tim3d.simulate(folder / "sim", shape=SHAPE, voxel_size=SIZE, correlation_nm=60, progress=False)
    tim3d.ingest(folder / "sim" / "slices", url, voxel_size=SIZE, options=QUIET)
    tim3d.ingest(
        folder / "sim" / "truth", url, voxel_size=SIZE, field="truth", phases=PHASES, options=QUIET
    )
    tim3d.segment(url, method="otsu", phases=PHASES, out="otsu", options=QUIET)
    tim3d.annotate(url, threshold=119.0, superpixel_threshold=140.0, options=QUIET)
    labels = tim3d.open_field(url, "truth").values.copy()
    labels[:, :2] = 1 - labels[:, :2]
    np.save(folder / "labels.npy", labels)
    tim3d.ingest(
        folder / "labels.npy", url, voxel_size=SIZE, field="phase", phases=PHASES, options=QUIET
    )
    for field in ("phase", "truth"):
        tim3d.measure(url, field=field, options=QUIET)
    return url


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    history = [
        {"epoch": n, "loss": 1 / n, "val_loss": 1.2 / n, "val_iou": 1 - 0.5 / n}
        for n in range(1, 5)
    ]
    path = tmp_path_factory.mktemp("model") / "unet.safetensors"
    return tiny_checkpoint(path, training={"seed": 7, "history": history})


@pytest.fixture(scope="module")
def whole(sample: str, model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("out") / "report.html"
    found = report(
        sample, out, truth="truth", annotation="annotation", model=model, title="Cu <175 °C> & co"
    )
    assert found == out
    return out.read_text(encoding="utf-8")


def test_it_needs_nothing_but_itself(whole: str) -> None:
    tags = Reader(whole).tags
    sources = [a["src"] for tag, a in tags if tag == "img"]
    assert len(sources) == 10
    assert all(str(s).startswith("data:image/png;base64,") for s in sources)
    assert not {"script", "link", "iframe", "a", "object"} & {tag for tag, _ in tags}
    text = re.sub(r'src="data:[^"]*"', "", whole)
    assert not re.search(r"https?://|url\(|@import|file:", text)
    assert len(whole) < 5_000_000


def test_every_section_is_there_and_names_are_escaped(whole: str) -> None:
    read = Reader(whole)
    assert read.headings == [
        "Cu <175 °C> & co",
        "Slices",
        "Segmentation",
        "Phases in three dimensions",
        "Results",
        "The stack",
        "Grey values",
        "Training",
        "Not in this report",
        "How it was made",
    ]
    assert "<175" not in whole
    head = dict(row for row in read.rows if len(row) == 2 and "(" in row[0])
    assert head["Voxels (z, y, x)"] == "20 × 30 × 70"
    assert head["Voxel size (z, y, x)"] == "20 × 10 × 5 nm"
    assert head["Size (z, y, x)"] == "400 nm × 300 nm × 350 nm"


def _shown(value: float) -> str:
    return re.sub("<.*?>", "", page.number(table.number(value)))


# Of what is some ten nanometres large, µm are read best.
FACTORS = {"1": ("1", 1.0), "nm-1": ("µm−1", 1e3), "nm-2": ("µm−2", 1e6), "nm-3": ("µm−3", 1e9)}


def _cell(found: xr.Dataset, name: str, **place: str) -> str:
    """A number as the report shows it: in the unit of its table, with its standard error."""
    factor = FACTORS[found[name].attrs["units"]][1]
    shown = _shown(factor * float(found[name].sel(place)))
    if f"{name}_standard_error" not in found:
        return shown
    error = factor * float(found[f"{name}_standard_error"].sel(place))
    return f"{shown} ± {error:#.2g}".removesuffix(".")


def test_numbers_are_those_of_describe(sample: str, whole: str) -> None:
    read, found = Reader(whole), tim3d.describe(sample)
    for name in (
        *("phase_fraction", "specific_surface", "specific_surface_gradient"),
        *("mean_curvature_integral", "euler_density"),
    ):
        at = next(n for n, row in enumerate(read.rows) if row[:1] == [name])
        header = next(row for row in read.rows[at::-1] if row[1:2] == ["unit"])
        assert read.rows[at][1].split(" = ")[0] == FACTORS[found[name].attrs["units"]][0]
        for phase in PHASES:
            assert read.rows[at][header.index(phase)] == _cell(found, name, phase=phase)
    at, pair = next(
        (n, r) for n, r in enumerate(read.rows) if r[:1] == ["interface_area pore-solid"]
    )
    header = next(row for row in read.rows[at::-1] if row[1:2] == ["unit"])
    expected = _cell(found, "interface_area", phase="pore", phase_other="solid")
    assert pair[header.index("whole")] == expected
    porosity = next(row for row in read.rows if row[:1] == ["porosity"])
    assert _cell(found, "porosity") in porosity
    assert porosity[-1] == found.porosity_standard_error.attrs["method"]


def test_measured_stands_beside_truth(sample: str, whole: str) -> None:
    read = Reader(whole)
    found, true = tim3d.describe(sample), tim3d.describe(sample, field="truth")
    rows = {tuple(row[:2]): row for row in read.rows if len(row) == 6 and row[1] in PHASES}
    assert ["variable", "phase", "unit", "measured", "truth", "error"] in read.rows
    for phase in PHASES:
        a, b = (float(d["phase_fraction"].sel(phase=phase)) for d in (found, true))
        row = rows["phase_fraction", phase]
        assert row[3:5] == [_cell(d, "phase_fraction", phase=phase) for d in (found, true)]
        assert float(row[5].replace("−", "-").removesuffix(" %")) == pytest.approx(
            100 * (a - b) / b, abs=0.005
        )


def test_agreement_is_that_of_evaluate(sample: str, whole: str) -> None:
    found = tim3d.evaluate(sample, options=QUIET)
    rows = {r[0]: r for r in Reader(whole).rows if r}
    assert rows["accuracy"][-1].startswith(f"{1 - 2 / 30:.4f}")
    assert rows["iou"][1].startswith(f"{float(found['iou'][0]):.4f}")
    assert [int(n.replace(",", "")) for n in rows["truly solid"][1:]] == found["confusion"].values[
        1
    ].tolist()


def test_the_confusion_matrix_stands_under_the_predicted_names() -> None:
    """Cell (i, j): voxels of true phase i that were labelled j, by the row's and by the column's name."""
    truth, predicted = ["solid", "pore", "filler"], ["pore", "filler", "solid"]
    cells = np.arange(9).reshape(3, 3) + 1
    found = xr.Dataset(
        {"confusion": (("truth", "predicted"), cells)}, {"truth": truth, "predicted": predicted},
    )  # fmt: skip
    rows = Reader(confusion_table(found.confusion)).rows
    header = next(row for row in rows if "labelled pore" in row)
    for i, true in enumerate(truth):
        row = next(row for row in rows if row and row[0] == f"truly {true}")
        for j, name in enumerate(predicted):
            assert row[header.index(f"labelled {name}")] == str(cells[i, j])


def test_provenance_names_every_node_with_its_parameters(sample: str, whole: str) -> None:
    rows = {r[0]: r for r in Reader(whole).rows if len(r) == 6}
    assert set(store.nodes(sample)) <= set(rows)
    assert "superpixel_threshold=140" in rows["annotation"][2]
    assert rows["raw"][4] == store.node_attributes(sample, "raw")["fingerprint"][:10]


@pytest.mark.long
def test_what_is_not_there_has_no_section(tmp_path: Path) -> None:
    bare = str(tmp_path / "bare.zarr")
    np.save(tmp_path / "raw.npy", np.arange(4 * 6 * 5, dtype=np.uint8).reshape(4, 6, 5))
    tim3d.ingest(tmp_path / "raw.npy", bare, voxel_size=SIZE, options=QUIET)
    text = report(bare, tmp_path / "bare.html").read_text(encoding="utf-8")
    assert Reader(text).headings == [
        "bare.zarr",
        "Slices",
        "The stack",
        "Not in this report",
        "How it was made",
    ]
    labels = str(tmp_path / "labels.zarr")
    np.save(tmp_path / "labels.npy", np.indices((4, 6, 5)).sum(axis=0).astype(np.uint8) % 2)
    phases = tim3d.Phases(pore=0, solid=1)
    tim3d.ingest(
        tmp_path / "labels.npy",
        labels,
        field="phase",
        phases=phases,
        voxel_size=SIZE,
        options=QUIET,
    )
    text = report(labels, tmp_path / "labels.html").read_text(encoding="utf-8")
    assert Reader(text).headings == [
        "labels.zarr",
        "Segmentation",
        "Phases in three dimensions",
        "Not in this report",
        "How it was made",
    ]


@pytest.mark.long
def test_a_truth_with_other_phases_is_said_and_the_rest_stays(sample: str, tmp_path: Path) -> None:
    text = report(sample, tmp_path / "r.html", truth="annotation").read_text(encoding="utf-8")
    assert "Not compared" in text
    assert "No map of disagreement" in text
    assert "Results" in Reader(text).headings


@pytest.mark.long
def test_bad_names_are_one_clear_error_and_no_file(sample: str, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    with pytest.raises(MissingFieldError, match="no field 'nothing'"):
        report(sample, out, truth="nothing")
    with pytest.raises(MissingFieldError, match="neither"):
        report(sample, out, raw="none", field="none")
    with pytest.raises(CheckpointError, match="cannot read"):
        report(sample, out, model=tmp_path / "none.safetensors")
    # Only the head of the file is shown, and one changed digit of it is found.
    changed = tiny_checkpoint(tmp_path / "changed.safetensors", training={"seed": 7})
    changed.write_bytes(changed.read_bytes().replace(b'seed\\":7', b'seed\\":8', 1))
    with pytest.raises(CheckpointError, match="is damaged: its SHA-256"):
        report(sample, out, model=changed)
    with pytest.raises(InputError, match="no sample"):
        report(str(tmp_path / "none.zarr"), out)
    with pytest.raises(ArgumentError, match="holds no labels"):
        figures.overlay(sample, "raw")
    assert not out.exists()


@pytest.mark.parametrize("normal", ["z", "y", "x"])
def test_a_plane_is_the_middle_one_of_the_field(sample: str, normal: str) -> None:
    field = tim3d.open_field(sample, "raw")
    plane = planes.middle_plane(sample, "raw", normal)
    middle = field.isel({normal: field.sizes[normal] // 2})
    assert np.array_equal(plane.values, middle.transpose(*plane.axes).values)
    assert plane.position_nm == float(middle[normal])
    assert plane.size_nm == tuple(field.sizes[a] * SIZE[a] for a in plane.axes)


def _pixels(figure: Figure, place: int) -> tuple[float, float]:
    """Width and height of a drawn picture."""
    figure.draw_without_rendering()
    box = figure.axes[place].get_window_extent()
    return box.width, box.height


def test_pictures_have_the_proportions_of_the_material(sample: str) -> None:
    z, y, x = (n * SIZE[a] for n, a in zip(SHAPE, "zyx", strict=True))
    figure = figures.orthoslices(sample)
    for place, (width, height) in enumerate([(x, y), (z, x), (z, y)]):
        seen = _pixels(figure, place)
        assert seen[0] / seen[1] == pytest.approx(width / height, rel=0.01)
    # One scale in the column: the shared axis is equally long.
    assert _pixels(figure, 1)[0] == pytest.approx(_pixels(figure, 2)[0], rel=0.02)


@pytest.mark.parametrize(
    "size", [(1, 1, 1), (0.3, 1, 1), (1, 0.5, 2), (5, 1, 1), (1, 3, 1), (0.02, 1, 1)]
)
def test_three_pictures_leave_little_blank_and_no_word_is_cut(
    size: tuple[float, float, float],
) -> None:
    nm = dict(zip("zyx", (1000 * edge for edge in size), strict=True))
    shown = [
        planes.Plane(
            np.zeros((4, 4)),
            normal,
            (down, right),
            (nm[down] / 4, nm[right] / 4),
            (nm[down], nm[right]),
            0.4321 * nm[normal],
        )
        for normal, down, right in (("z", "y", "x"), ("y", "x", "z"), ("x", "y", "z"))
    ]
    figure = figures.three_planes(shown, [np.zeros((4, 4, 3))] * 3)
    paper = figure.get_window_extent()
    assert (
        sum(math.prod(_pixels(figure, place)) for place in range(3))
        > 0.5 * paper.width * paper.height
    )
    boxes = [ax.get_tightbbox() for ax in figure.axes]
    assert all(
        paper.x0 <= b.x0 < b.x1 <= paper.x1 and paper.y0 <= b.y0 < b.y1 <= paper.y1 for b in boxes
    )
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_one_figure_has_one_unit_of_length(tmp_path: Path) -> None:
    url = str(tmp_path / "long.zarr")
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 256, (8, 40, 250), np.uint8))
    tim3d.ingest(tmp_path / "a.npy", url, voxel_size={"z": 20, "y": 10, "x": 10}, options=QUIET)
    shown = [
        text.get_text()
        for ax in figures.orthoslices(url).axes
        for text in (*ax.texts, ax.title, ax.xaxis.label, ax.yaxis.label)
    ]
    assert any("2.5 µm" in text for text in shown)
    assert not [text for text in shown if " nm" in text]


@pytest.mark.long
def test_a_truth_that_is_not_measured_is_said_with_the_command(sample: str, tmp_path: Path) -> None:
    copy = str(shutil.copytree(sample, tmp_path / "copy of it.zarr"))
    for node in ("truth_descriptors", "truth_partials"):
        store.delete_node(copy, node)
    text = unescape(Path(report(copy, tmp_path / "r.html", truth="truth")).read_text())
    command = re.search(r"nothing is measured: tim3d (measure .*? --field truth)<", text)
    assert command
    assert main([*shlex.split(command[1]), "--quiet"]) == 0
    again = Path(report(copy, tmp_path / "r.html", truth="truth")).read_text()
    assert "Measured against truth" in again
    assert "nothing is measured" not in again


def test_a_scale_bar_is_as_long_as_it_says(sample: str) -> None:
    ax = figures.orthoslices(sample).axes[0]
    (bar,) = (p for p in ax.patches if isinstance(p, Rectangle))
    unit = style.length_unit(max(n * SIZE[a] for n, a in zip(SHAPE, "zyx", strict=True)))
    assert ax.texts[0].get_text() == style.length_in(bar.get_width(), unit)
    assert ax.get_xlim() == (0, SHAPE[2] * SIZE["x"])


def test_disagreement_shows_exactly_the_wrong_voxels(sample: str) -> None:
    figure = figures.disagreement(sample)
    shown: np.ndarray = np.asarray(figure.axes[0].images[0].get_array())
    coloured = (shown.max(axis=-1) - shown.min(axis=-1)) > 1e-6
    assert coloured[:2].all()
    assert not coloured[2:].any()
    assert figure.axes[0].get_title().endswith(f"\n{100 * 2 / 30:.2f} % differ")


def test_thresholds_that_were_used_are_marked_in_the_histogram(sample: str) -> None:
    record = store.node_attributes(sample, "otsu")
    marks = thresholds(record, "otsu")
    figure = curves.histogram({"raw": store.open_dataset(sample, "raw_histogram")}, marks)
    dashed = [
        np.asarray(line.get_xdata())[0]
        for line in figure.axes[0].lines
        if line.get_linestyle() == "--"
    ]
    assert dashed == record["parameters"]["thresholds"] == list(marks.values())


def test_profiles_are_drawn_as_measured(sample: str) -> None:
    found, true = tim3d.describe(sample), tim3d.describe(sample, field="truth")
    figure = curves.profiles(found, true)
    for ax, axis in zip(figure.axes, "zyx", strict=True):
        drawn = [line.get_ydata() for line in ax.lines]
        wanted = [
            d[f"phase_fraction_{axis}"].sel(phase=p).values for d in (found, true) for p in PHASES
        ]
        assert all(np.array_equal(a, b) for a, b in zip(drawn, wanted, strict=True))


@pytest.mark.parametrize(("longest", "unit", "size"), [(190, "nm", 1), (300, "µm", 1000)])
def test_a_profile_lies_at_the_centres_of_its_planes(longest: int, unit: str, size: int) -> None:
    """In the unit that the axis names; one unit for all three axes."""
    lengths = {"z": longest, "y": 7, "x": 1}
    centres = {axis: (np.arange(n) + 0.5) * 10 for axis, n in lengths.items()}
    shares = {
        f"phase_fraction_{a}": (("phase", a), np.full((1, n), 0.5)) for a, n in lengths.items()
    }
    figure = curves.profiles(xr.Dataset(shares, {"phase": ["pore"], **centres}))
    for ax, axis in zip(figure.axes, "zyx", strict=True):
        assert ax.get_xlabel() == f"{axis} ({unit})"
        np.testing.assert_allclose(np.asarray(ax.lines[0].get_xdata()) * size, centres[axis])


@pytest.mark.parametrize(("planes", "unit", "size"), [(150, "nm", 1), (400, "µm", 1000)])
def test_the_drift_is_drawn_as_counted(planes: int, unit: str, size: int) -> None:
    z, mean = np.arange(planes) * 10.0 + 5, np.linspace(90, 110, planes)
    std = np.linspace(3, 9, planes)
    figure = curves.drift(xr.Dataset({"grey_mean": ("z", mean), "grey_std": ("z", std)}, {"z": z}))
    (ax,) = figure.axes
    assert ax.get_xlabel() == f"z ({unit})"
    np.testing.assert_allclose(np.asarray(ax.lines[0].get_xdata()) * size, z)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), mean)
    (band,) = ax.collections
    corners = np.concatenate([path.vertices for path in band.get_paths()])
    for at, low, high in zip(z / size, mean - std, mean + std, strict=True):
        there = corners[np.isclose(corners[:, 0], at), 1]
        assert (there.min(), there.max()) == pytest.approx((low, high))


def test_training_curves_are_the_history() -> None:
    history = {
        "epoch": [1, 2, 3],
        "loss": [3.0, 2.0, 1.5],
        "val_loss": [3.5, 2.5, 2.4],
        "val_iou": [0.2, 0.5, 0.6],
    }
    figure = curves.training_curves(history)
    drawn = {line.get_label(): line for ax in figure.axes for line in ax.lines}
    assert {ax.get_ylabel() for ax in figure.axes} == {"loss", "validation score"}
    for name in ("loss", "val_loss", "val_iou"):
        line = drawn[name.replace("_", " ")]
        assert list(line.get_ydata()) == history[name]
        assert list(line.get_xdata()) == history["epoch"]


def test_bars_of_a_histogram_hold_the_share_of_their_grey_values() -> None:
    """At most 256 bars: each stands at the mean of its grey values, and is as high as all their voxels are many."""
    rng = np.random.default_rng(3)
    voxels = rng.multinomial(10**6, rng.dirichlet(np.full(1000, 5.0)))
    counted = xr.Dataset({"voxels": ("grey", voxels)}, {"grey": np.arange(1000.0) + 7})
    line = curves.histogram({"raw": counted}).axes[0].lines[0]
    grey, share = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    width = round(grey[1] - grey[0])
    assert len(grey) <= 256
    assert width == 4
    for at, height in zip(grey[:-1], share[:-1], strict=True):
        first = round(at - (width - 1) / 2) - 7
        assert height == pytest.approx(voxels[first : first + width].sum() / 10**6)


def test_a_histogram_of_other_grey_values_is_named_with_what_renews_it(tmp_path: Path) -> None:
    url, size = str(tmp_path / "it's.zarr"), {"z": 1, "y": 1, "x": 1}
    np.save(tmp_path / "grey.npy", np.arange(8 * 16 * 16, dtype=np.uint8).reshape(8, 16, 16))
    tim3d.ingest(tmp_path / "grey.npy", url, voxel_size=size, options=QUIET)
    tim3d.segment(url, method="otsu", phases=PHASES, options=QUIET)
    np.save(tmp_path / "grey.npy", np.full((8, 16, 16), 7, np.uint8))
    tim3d.ingest(
        tmp_path / "grey.npy", url, voxel_size=size, options=Options(progress=False, overwrite=True)
    )
    read = unescape(report(url, tmp_path / "out.html", field="none").read_text(encoding="utf-8"))
    command = f"tim3d segment {shlex.quote(url)} --method otsu --phases pore=0,solid=1"
    assert f"raw_histogram was computed from another version of raw. Renew it: {command}" in read


def test_shares_of_the_histogram_add_up_to_nearly_one() -> None:
    grey, voxels = (
        np.arange(65536.0),
        np.random.default_rng(0).multinomial(10**6, [1 / 65536] * 65536),
    )
    line = (
        curves.histogram({"raw": xr.Dataset({"voxels": ("grey", voxels)}, {"grey": grey})})
        .axes[0]
        .lines[0]
    )
    centres, shares = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    assert len(centres) <= 256
    assert 0.999 < shares.sum() <= 1
    assert np.all(np.diff(centres) > 0)


@pytest.mark.long
def test_one_plane_at_a_time_is_read_and_from_a_coarse_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = str(tmp_path / "wide.zarr")
    wide = np.zeros((6, 40, 2600), np.uint8)
    wide[..., 1300:] = 1
    np.save(tmp_path / "wide.npy", wide)
    tim3d.ingest(
        tmp_path / "wide.npy", url, voxel_size=SIZE, field="phase", phases=PHASES, options=QUIET
    )
    np.save(tmp_path / "grey.npy", wide * 100)
    tim3d.ingest(tmp_path / "grey.npy", url, voxel_size=SIZE, options=QUIET)
    read: list[Box] = []
    original = store.read_box

    def spy(array: object, box: Box) -> np.ndarray:
        read.append(box)
        return original(array, box)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "read_box", spy)
    text = report(url, tmp_path / "r.html").read_text(encoding="utf-8")
    flat = [box for box in read if 1 in box.shape]
    assert len(flat) >= 6
    assert all(max(box.shape) <= planes.LARGEST for box in flat)
    solid = [math.prod(box.shape) for box in read if 1 not in box.shape]  # for the picture in 3-D
    assert all(voxels <= DRAWN_VOXELS for voxels in solid)
    assert "a pixel stands for up to 4 voxels" in text


def test_big_pictures_stay_within_their_width(whole: str) -> None:
    for data in re.findall(r"data:image/png;base64,([^\"]+)", whole):
        assert Image.open(io.BytesIO(base64.b64decode(data))).width <= 1200
