"""The verb fidelity on volumes of a known law: what passes, what fails, that blocks do not matter, bad input."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import xarray as xr
from numpy.typing import NDArray

import tim3d
from tim3d.cli.main import main
from tim3d.errors import ArgumentError, InputError, MissingFieldError, MixedRunError
from tim3d.grid import Box, Triple, triple
from tim3d.kernels.generation.gaussian_field import GaussianField, LevelCuts
from tim3d.kernels.statistics.correlation import line_counts, pairs_at
from tim3d.plotting import curves_figure, residues_figure, slices_figure
from tim3d.reporting.fidelity import fidelity_html, rows, text
from tim3d.storage import store

QUIET = tim3d.Options(progress=False)
PHASES = tim3d.Phases(pore=0, solid=255)
STEP = 5.0
EDGE = 48


@cache
def material(seed: int, shape: Triple, length: float = 15.0) -> NDArray[np.uint8]:
    """Level cut of a Gaussian field, 40 % pore."""
    return LevelCuts(GaussianField((length,) * 3, (STEP,) * 3, seed), (0.4, 0.6)).labels(
        Box.whole(shape)
    )


def ingested(
    folder: Path, name: str, labels: NDArray[np.uint8], step: float = STEP, shard: int = EDGE
) -> str:
    np.save(folder / f"{name}.npy", labels)
    url, phases = str(folder / f"{name}.zarr"), tim3d.Phases(pore=0, solid=1)
    size = dict.fromkeys("zyx", step)
    source = folder / f"{name}.npy"
    tim3d.ingest(
        source,
        url,
        voxel_size=size,
        field="phase",
        phases=phases,
        shard=(shard,) * 3,
        options=QUIET,
    )
    return url


def volumes(folder: Path, count: int, length: float = 15.0, shard: int = EDGE) -> list[str]:
    shape = (EDGE,) * 3
    return [
        ingested(folder, f"v{n}-{length:g}", material(100 + n, shape, length), shard=shard)
        for n in range(count)
    ]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A slice of another seed."""
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, material(1, (1, 400, 400))[0] * np.uint8(255))
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small one, where its statistics do not matter."""
    path = tmp_path / "small.tif"
    tifffile.imwrite(path, material(1, (1, 120, 120))[0] * np.uint8(255))
    return path


def judged(urls: list[str], image: Any, **arguments: Any) -> xr.Dataset:
    given = {"phases": PHASES, "pixel_size": STEP, "slices": 1, "options": QUIET, **arguments}
    found = tim3d.fidelity(urls[0], urls[1:], micrograph=image, **given)
    assert isinstance(found, xr.Dataset)
    return found.load()


@pytest.mark.long
def test_the_same_law_passes_and_another_length_fails(tmp_path: Path, image: Path) -> None:
    right = judged(volumes(tmp_path, 4), image, slices=3)
    wrong = judged(volumes(tmp_path, 4, 25.0), image)
    for name in ("phase_fraction", "two_point", "lineal_path", "surface"):
        assert (right.within.sel(quantity=name) == 1).all(), name
    for name in ("two_point", "lineal_path", "surface"):
        assert (wrong.within.sel(quantity=name) == 0).all(), name
    # The surface of a level cut falls as 1 / length.
    assert float(wrong.deviation.sel(quantity="surface").mean()) == pytest.approx(
        15 / 25 - 1, abs=0.05
    )
    assert np.isnan(right.within.sel(quantity="slice_tortuosity")).all()
    solid = right.deviation.sel(quantity="slice_tortuosity", phase="solid")
    assert np.abs(solid).max() < 0.05
    assert (right.deviation_low <= right.deviation_high).values[:4].all()
    assert (right.spread.values[:4] > 0).all()
    assert float(right.micrograph_phase_fraction_interval[0, 0]) == pytest.approx(0.012, rel=0.5)


@pytest.mark.long
def test_values_are_those_of_the_definitions(tmp_path: Path, image: Path) -> None:
    urls = volumes(tmp_path, 2)
    found = judged(urls, image, lags=(1, 3, 9))
    picture = material(1, (1, 400, 400))
    for axis in range(3):
        for number in range(2):
            solid = np.moveaxis(material(100 + number, (EDGE,) * 3) == 1, axis, 0)
            for place, lag in enumerate((1, 3, 9)):
                pairs = (solid[lag:] & solid[:-lag]).mean()
                assert float(found.two_point[number, axis, 1, place]) == pytest.approx(
                    pairs, abs=1e-12
                )
            crossings = (solid[1:] != solid[:-1]).mean() / STEP
            assert float(found.surface[number, axis, 1]) == pytest.approx(2 * crossings, abs=1e-12)
    counts = line_counts(picture, 2, [1, 3, 9], 1).segments / pairs_at(
        triple(picture.shape), [1, 3, 9], 1
    )
    assert found.micrograph_lineal_path.sel(slices="z", line="rows").values == pytest.approx(counts)
    assert found.lag_nm.values.tolist() == [[5.0, 15.0, 45.0]] * 3


@pytest.mark.long
def test_blocks_workers_and_resuming_do_not_matter(
    tmp_path: Path, small: Path, two_workers: str
) -> None:
    labels = material(7, (24, 40, 33))
    blocks = [(48, 48, 48), (16, 16, 32)]
    found = []
    for number, block in enumerate(blocks):
        url = ingested(tmp_path, f"b{number}", labels, shard=16)
        found.append(judged([url], small, options=tim3d.Options(progress=False, block=block)))
    with tim3d.cluster(two_workers):
        url = ingested(tmp_path, "shared", labels, shard=16)
        found.append(
            judged([url], small, options=tim3d.Options(progress=False, block=(16, 32, 16)))
        )
    for one in found[1:]:
        assert one.drop_vars("volume").equals(found[0].drop_vars("volume"))
    again = judged([url], small)
    assert again.equals(found[-1])
    assert (
        tim3d.fidelity.plan(url, micrograph=small, phases=PHASES, pixel_size=STEP, slices=1) == []
    )


@pytest.mark.long
def test_independent_tiles_have_seams_and_a_field_has_none(tmp_path: Path, image: Path) -> None:
    edge = 16
    torn = np.empty((EDGE,) * 3, np.uint8)
    for number, index in enumerate(np.ndindex(3, 3, 3)):
        place = tuple(slice(edge * i, edge * (i + 1)) for i in index)
        torn[place] = material(1000 + number, (edge,) * 3)
    with_seams = judged([ingested(tmp_path, "torn", torn, shard=16)], image, slices=0)
    without = judged(volumes(tmp_path, 4, shard=16), image, slices=0)
    assert with_seams.attrs["seam_voxels"] == [16, 16, 16]
    assert with_seams.seam_ratio.values.min() > 2
    assert np.abs(without.seam_ratio.values - 1).max() < 0.1
    assert np.isnan(without.deviation.sel(quantity="slice_tortuosity")).all()


@pytest.mark.long
def test_an_imprint_of_the_lattice_is_found_along_its_axis(tmp_path: Path, image: Path) -> None:
    cells = [material(100 + n, (EDGE,) * 3).copy() for n in range(4)]
    marked = []
    for number, labels in enumerate(cells):
        labels[:, :, 3::8] &= np.random.default_rng(number).random(labels[:, :, 3::8].shape) < 0.7
        marked.append(ingested(tmp_path, f"m{number}", labels))
    found = judged(marked, image, period=8, slices=0)
    solid = found.sel(phase="solid")
    assert float(solid.imprint_ratio.sel(axis="x")) > 4
    assert int(solid.residue_fraction.sel(axis="x").values.argmin()) == 3
    assert solid.imprint_ratio.sel(axis=["z", "y"]).values.max() < 2.5
    assert found.residue_fraction.shape == (3, 8, 2)
    assert "modulo 8 voxels: at most along x" in text(found)
    assert len(residues_figure(found).axes) == 2


@pytest.mark.long
def test_three_micrographs_of_an_anisotropic_material(tmp_path: Path) -> None:
    def cut(seed: int, shape: Triple) -> NDArray[np.uint8]:
        field = GaussianField((15.0, 15.0, 40.0), (STEP,) * 3, seed)
        return LevelCuts(field, (0.4, 0.6)).labels(Box.whole(shape))

    planes = []
    for axis in range(3):
        shape = [1 if a == axis else 300 for a in range(3)]
        planes.append(tmp_path / f"{axis}.npy")
        np.save(planes[-1], cut(axis, triple(shape)).squeeze(axis) * np.uint8(255))
    urls = [ingested(tmp_path, f"a{n}", cut(50 + n, (64, 64, 64))) for n in range(4)]
    own = judged(urls, planes, lags=(1, 2, 4, 6, 8), slices=0)
    turned = judged(urls, planes[::-1], lags=(1, 2, 4, 6, 8), slices=0, out="turned")
    measured = own.deviation.sel(quantity=["two_point", "lineal_path"])
    assert float(measured.max()) < 0.03
    assert float(turned.deviation.sel(quantity="two_point", slices="z").max()) > 0.04
    assert own.attrs["isotropic"] == 0
    assert own.micrograph_x.shape == (300, 300)
    assert len(slices_figure(own).axes) == 6
    assert len(curves_figure(own).axes) == 4


@pytest.mark.long
def test_results_in_three_dimensions_are_told_and_never_judged(tmp_path: Path, small: Path) -> None:
    url = ingested(tmp_path, "one", material(3, (24, 24, 24)))
    before = judged([url], small)
    assert "reported" not in before
    tim3d.solve(url, conductivity={"pore": 0.0, "solid": 1.0}, options=QUIET)
    after = judged([url], small)
    names = after.result.values.tolist()
    assert any(name.startswith("tortuosity_factor") for name in names)
    assert after.sizes["quantity"] == 5
    assert "Not judged, for an image knows no truth for them" in text(after)


@pytest.mark.long
def test_the_shell_the_report_and_a_recipe(
    tmp_path: Path, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    urls = volumes(tmp_path, 2)
    typed = [
        "--micrograph",
        str(small),
        "--phases",
        "pore=0,solid=255",
        "--pixel-size",
        "5",
        "--slices",
        "2",
    ]
    figure = tmp_path / "f.png"
    assert main(["fidelity", *urls, *typed, "--plan", "--quiet"]) == 0
    assert "phase_lines: 1 of 1 blocks left" in capsys.readouterr().out
    assert main(["fidelity", *urls, *typed, "--figure", str(figure), "--quiet"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("quantity")
    assert "comparisons are within their goals (2 volumes)" in out
    assert "8 are needed to estimate the spread between runs" in out
    assert figure.stat().st_size > 10_000
    assert main(["report", urls[0], str(tmp_path / "r.html"), "--quiet"]) == 0
    page = (tmp_path / "r.html").read_text()
    assert "<h2>Fidelity</h2>" in page
    assert "Dots: micrograph." in page
    assert main(["validate", urls[0], "--deep"]) == 0
    capsys.readouterr()
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        f'sample = "{urls[1]}"\n[[step]]\nverb = "fidelity"\nmicrograph = "{small}"\npixel_size = 5\nslices = 0\n'
        f'volumes = ["{urls[0]}"]\nphases = {{ pore = 0, solid = 255 }}\nlags = [1, 2, 4]\n'
    )
    found = tim3d.run_recipe(recipe, progress=False)["fidelity"]
    assert found.sizes["lag"] == 3
    assert found.attrs["volumes"] == 2


@pytest.mark.long
def test_the_pages_parts(tmp_path: Path, small: Path) -> None:
    found = judged(volumes(tmp_path, 1), small)
    table = rows(found)
    assert len(table) == 2 + 4 * 3 * 2
    assert table[0][:3] == ["phase_fraction", "all", "pore"]
    assert {row[-1] for row in table} <= {"yes", "no", ""}
    assert all(row[6] == "" for row in table)  # no interval from one volume
    assert fidelity_html(found).count("<img") == 2
    store.delete_node(str(found.volume.values[0]), "phase")
    assert "No slices:" in fidelity_html(found)


@pytest.mark.long
def test_its_figures_are_drawn_and_no_others(tmp_path: Path, small: Path) -> None:
    """A comparison holds lineal paths and no chords."""
    urls = volumes(tmp_path, 1)
    judged(urls, small)
    drawn = [one.name for one in tim3d.plot(urls[0], tmp_path / "figures").iterdir()]
    assert any("curves_figure" in name for name in drawn)
    assert not any("chord" in name for name in drawn)


@pytest.mark.long
def test_lengths_must_agree(tmp_path: Path, small: Path) -> None:
    urls = volumes(tmp_path, 1)
    with pytest.raises(
        ArgumentError, match=r"pixels of .*small.tif are 10 x 10 nm .*voxels across z are 5 x 5 nm"
    ):
        judged(urls, small, pixel_size=10.0)
    with pytest.raises(ArgumentError, match="does not state its pixel size"):
        judged(urls, small, pixel_size=None)
    told = judged(urls, small, pixel_size=None, as_voxels=True)
    by_size = judged(urls, small, out="other")
    assert np.array_equal(told.deviation.values, by_size.deviation.values, equal_nan=True)
    finer = tmp_path / "finer.npy"
    np.save(finer, (material(1, (1, 120, 120))[0] * np.uint8(255)).repeat(2, 0).repeat(2, 1))
    scaled = judged(urls, finer, pixel_size=2.5, scale=2, out="scaled")
    assert np.array_equal(scaled.deviation.values, by_size.deviation.values, equal_nan=True)
    in_nm = judged(urls, small, lags=None, lags_nm=[5, 20, 45], out="nm")
    assert in_nm.lag_nm.values.tolist() == [[5.0, 20.0, 45.0]] * 3


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    (
        {"lags": (1, 48)},
        ArgumentError,
        "a lag of 48 voxels does not fit into the shortest edge, 48",
    ),
    ({"lags": (4, 2)}, ArgumentError, "rise from 1"),
    ({"lags": (1, 2), "lags_nm": (5.0,)}, ArgumentError, "not both"),
    ({"lags_nm": (7.0,)}, ArgumentError, "a lag of 7 nm is not a whole number of voxels of 5 nm"),
    ({"slices": -1}, ArgumentError, "--slices is -1"),
    ({"period": 25}, ArgumentError, "--period is 25; it must be 2 to 24"),
    ({"period": 1}, ArgumentError, "--period is 1"),
    ({"seam": 0}, ArgumentError, "--seam is"),
    (
        {"phases": tim3d.Phases(pore=0, copper=255)},
        ArgumentError,
        "has the phases pore, solid, the micrograph has",
    ),
    ({"phases": tim3d.Phases(pore=0, solid=1)}, InputError, r"holds the values 0 \(.*255"),
    ({"scale": 500}, ArgumentError, "scale is 500"),
    ({"field": "none"}, MissingFieldError, "no field 'none'"),
    ({"out": "phase"}, MixedRunError, "is not a result of fidelity"),
]


@pytest.mark.parametrize(("arguments", "error", "says"), WRONG)
def test_bad_input_is_one_error_and_nothing_is_written(
    tmp_path: Path, small: Path, arguments: dict[str, Any], error: type[Exception], says: str
) -> None:
    url = ingested(tmp_path, "one", material(3, (EDGE,) * 3))
    before = store.nodes(url)
    with pytest.raises(error, match=says):
        judged([url], small, **arguments)
    assert store.nodes(url) == before


def test_volumes_and_images_that_do_not_belong_together(tmp_path: Path, small: Path) -> None:
    labels = material(3, (24, 24, 24))
    one, other = ingested(tmp_path, "one", labels), ingested(tmp_path, "other", labels, step=7.0)
    with pytest.raises(ArgumentError, match=r"voxels of .*other.zarr are \(7"):
        judged([one, other], small)
    with pytest.raises(ArgumentError, match="given twice"):
        judged([one, one], small)
    with pytest.raises(ArgumentError, match="2 micrographs; give one for all directions, or three"):
        judged([one], [small, small])


@pytest.mark.long
def test_questions_lie_beside_each_other_and_replaced_volumes_are_noticed(
    tmp_path: Path, small: Path
) -> None:
    urls = [ingested(tmp_path, f"q{n}", material(n, (24, 24, 24))) for n in range(2)]
    other: dict[str, Any] = {"lags": (1, 2), "seed": 5, "seam": 8, "period": 6}
    first = judged(urls, small, slices=0)
    before, found = (
        first.copy(deep=True),
        [judged(urls, small, **{"slices": 0, name: value}) for name, value in other.items()],
    )
    kept = [node for node in store.nodes(urls[0]) if node.startswith("phase_fidelity")]
    assert len(kept) == 1 + len(other)
    assert first.identical(before)
    assert not any(one.identical(first) for one in found)
    given: dict[str, Any] = {"micrograph": small, "phases": PHASES, "pixel_size": STEP, "slices": 0}
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert tim3d.fidelity.plan(urls[0], urls[1:], **given) == []
    again = tim3d.Options(progress=False, overwrite=True)
    assert len(tim3d.fidelity.plan(urls[0], urls[1:], **given, options=again)) == 2
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files
    changed = tmp_path / "changed.npy"
    np.save(changed, material(9, (24, 24, 24)))
    size = {"z": STEP, "y": STEP, "x": STEP}
    phases = tim3d.Phases(pore=0, solid=1)
    tim3d.ingest(
        changed,
        urls[1],
        voxel_size=size,
        field="phase",
        phases=phases,
        shard=(EDGE,) * 3,
        options=again,
    )
    with pytest.raises(MixedRunError, match=r"another version of 'phase of .*q1.*tim3d fidelity"):
        tim3d.open_dataset(urls[0], kept[0])
    page = tim3d.report(urls[0], tmp_path / "r.html").read_text()
    assert page.count("Renew it: tim3d fidelity") == len(kept)
    assert "Dots: micrograph." not in page
    assert not judged(urls, small, slices=0).identical(first)
