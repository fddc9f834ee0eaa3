"""Grey values of volumes against grey micrographs: what passes, what fails, that blocks do not matter, bad input."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import wasserstein_distance

import tim3d
from tests.micrographs import blobs, shades
from tim3d.cli.main import main
from tim3d.errors import ArgumentError, InputError, MissingFieldError
from tim3d.generators import Network
from tim3d.plotting import curves_figure, slices_figure
from tim3d.reporting.fidelity import fidelity_html, rows, text

QUIET = tim3d.Options(progress=False)
STEP = 5.0
EDGE = 48


@cache
def material(
    seed: int, shape: tuple[int, ...], width: float | tuple[float, ...] = 2.0
) -> NDArray[np.uint8]:
    """Smoothed noise around 128."""
    smooth = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), width, mode="wrap")
    return np.clip(np.rint(128 + 30 * smooth / smooth.std()), 0, 255).astype(np.uint8)


def ingested(folder: Path, name: str, grey: NDArray[Any], **named: Any) -> str:
    np.save(folder / f"{name}.npy", grey)
    url = str(folder / f"{name}.zarr")
    given = {"voxel_size": dict.fromkeys("zyx", STEP), "shard": (16, 16, 16), "options": QUIET}
    tim3d.ingest(folder / f"{name}.npy", url, **{**given, **named})
    return url


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A slice of another seed."""
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, material(1, (64, 200, 200))[20])
    return path


def judged(urls: list[str], image: Any, **arguments: Any) -> xr.Dataset:
    given = {"pixel_size": STEP, "options": QUIET, **arguments}
    found = tim3d.fidelity(urls[0], urls[1:], micrograph=image, **given)
    assert isinstance(found, xr.Dataset)
    return found.load()


def volumes(folder: Path, count: int, width: float = 2.0, change: int = 0) -> list[str]:
    every = [material(100 + n, (EDGE,) * 3, width) for n in range(count)]
    return [
        ingested(folder, f"v{n}-{width:g}-{change}", one + np.uint8(change))
        for n, one in enumerate(every)
    ]


@pytest.mark.long
def test_the_same_law_passes_and_each_fault_fails_its_own_measure(
    tmp_path: Path, image: Path
) -> None:
    right = judged(volumes(tmp_path, 3), image)
    assert right["quantity"].values.tolist() == ["histogram", "correlation", "step"]
    assert right["phase"].values.tolist() == ["grey"]
    assert (right.within == 1).all()
    assert (right.deviation_low <= right.deviation_high).all()
    assert (right.spread > 0).all()
    longer = judged(volumes(tmp_path, 2, 4.0), image)
    assert (longer.within.sel(quantity=["correlation", "step"]) == 0).all()
    # The step of a smooth field falls as 1 / width.
    assert float(longer.deviation.sel(quantity="step").mean()) == pytest.approx(-0.5, abs=0.05)
    brighter = judged(volumes(tmp_path, 2, change=20), image)
    assert brighter.within.sel(phase="grey").values.tolist() == [[0.0] * 3, [1.0] * 3, [1.0] * 3]
    assert float(brighter.deviation.sel(quantity="histogram").mean()) == pytest.approx(
        20 / 255, abs=0.01
    )


def test_values_are_those_of_the_definitions(tmp_path: Path, image: Path) -> None:
    lags = (1, 3, 9)
    (url,) = volumes(tmp_path, 1)
    found = judged([url], image, lags=lags)
    grey = material(100, (EDGE,) * 3).astype(float)
    picture = material(1, (64, 200, 200))[20]
    assert float(found["mean"][0]) == pytest.approx(grey.mean())
    assert float(found.micrograph_mean[0]) == pytest.approx(picture.mean())
    for axis in range(3):
        line = np.moveaxis(grey, axis, 0)
        for place, lag in enumerate(lags):
            rho = 1 - ((line[lag:] - line[:-lag]) ** 2).mean() / (2 * grey.var())
            assert float(found.correlation[0, axis, place]) == pytest.approx(rho, abs=1e-12)
        assert float(found.step[0, axis]) == pytest.approx(
            np.abs(np.diff(line, axis=0)).mean() / STEP
        )
    distance = wasserstein_distance(grey.ravel(), picture.ravel()) / 255
    assert found.deviation.sel(quantity="histogram").values.ravel() == pytest.approx([distance] * 3)


@pytest.mark.long
def test_blocks_workers_and_resuming_do_not_matter(
    tmp_path: Path, image: Path, two_workers: str
) -> None:
    grey, found = material(7, (24, 40, 33)), []
    for number, block in enumerate([(48, 48, 48), (16, 16, 32)]):
        url = ingested(tmp_path, f"b{number}", grey)
        found.append(judged([url], image, options=tim3d.Options(progress=False, block=block)))
    with tim3d.cluster(two_workers):
        url = ingested(tmp_path, "shared", grey)
        found.append(
            judged([url], image, options=tim3d.Options(progress=False, block=(16, 32, 16)))
        )
    for one in found[1:]:
        assert one.drop_vars("volume").equals(found[0].drop_vars("volume"))
    assert judged([url], image).equals(found[-1])
    assert tim3d.fidelity.plan(url, micrograph=image, pixel_size=STEP) == []


def test_three_images_are_compared_direction_by_direction(tmp_path: Path) -> None:
    """Flat along z: steps are larger there, and turned images do not fit."""
    grey = material(3, (EDGE,) * 3, (1.0, 3.0, 3.0))
    other = material(4, (96,) * 3, (1.0, 3.0, 3.0))
    url, paths = ingested(tmp_path, "flat", grey), [tmp_path / f"{n}.tif" for n in "zyx"]
    for path, plane in zip(paths, (other[5], other[:, 5], other[:, :, 5]), strict=True):
        tifffile.imwrite(path, plane)
    right = judged([url], paths)
    assert (right.within.sel(quantity=["histogram", "step"]) == 1).all()
    assert right.step.sel(axis="z").item() > 1.5 * right.step.sel(axis="x").item()
    shown = [np.asarray(ax.images[0].get_array()) for ax in slices_figure(right).axes[3:]]
    middle = EDGE // 2
    assert [s.tolist() for s in shown] == [
        p.tolist() for p in (grey[middle], grey[:, middle], grey[:, :, middle])
    ]
    wrong = judged([url], [paths[1], paths[0], paths[2]])
    assert wrong.within.sel(quantity="correlation").values.ravel().tolist()[:2] == [0.0, 0.0]


def test_independent_tiles_have_seams_and_a_period_shows(tmp_path: Path, image: Path) -> None:
    torn = np.empty((EDGE,) * 3, np.uint8)
    for n, (z, y, x) in enumerate(np.ndindex(3, 3, 3)):
        torn[16 * z : 16 * z + 16, 16 * y : 16 * y + 16, 16 * x : 16 * x + 16] = material(
            n, (16, 16, 16)
        )
    found = judged([ingested(tmp_path, "torn", torn)], image, seam=16)
    assert (found.seam_ratio > 2).all()
    striped = (
        material(9, (EDGE,) * 3) + (np.arange(EDGE) % 8 == 0).astype(np.uint8)[:, None, None] * 20
    )
    found = judged([ingested(tmp_path, "striped", striped, accept=["jumps"])], image, period=8)
    assert float(found.imprint_span.sel(axis="z").item()) == pytest.approx(20 / 255, abs=0.02)
    assert float(found.imprint_ratio.sel(axis="z").item()) > 3 * float(
        found.imprint_ratio.sel(axis="x").item()
    )


def test_what_a_grey_network_makes_knows_its_lattice(tmp_path: Path, image: Path) -> None:
    pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
    from tests.generators import TINY, tiny_generator
    from tim3d.models.generation.export import GeneratorDescription, save_generator

    about = GeneratorDescription(TINY["grey"], (STEP,) * 3)
    save_generator(tmp_path / "g.safetensors", tiny_generator(TINY["grey"]), about)
    url = str(tmp_path / "made.zarr")
    tim3d.generate(
        url, Network(tmp_path / "g.safetensors", tile=16), shape=(32, 32, 32), options=QUIET
    )
    found = judged([url], image)
    assert (found.attrs["period_voxels"], found.attrs["seam_voxels"]) == (
        TINY["grey"].step,
        [16, 16, 16],
    )


@pytest.mark.long
def test_it_is_told_as_a_table_figures_and_in_the_report(
    tmp_path: Path, image: Path, capsys: Any
) -> None:
    urls = volumes(tmp_path, 2)
    figure = tmp_path / "a.png"
    typed = [
        "fidelity",
        *urls,
        "--micrograph",
        str(image),
        "--pixel-size",
        "5",
        "--period",
        "8",
        "--figure",
        str(figure),
    ]
    assert main(typed) == 0
    shown = capsys.readouterr().out
    assert "histogram" in shown
    assert "Mean grey over 255 modulo 8 voxels" in shown
    assert figure.read_bytes()[:4] == b"\x89PNG"
    found = judged(urls, image, period=8)
    assert len(rows(found)) == 1 + 3 + 3
    assert "3 volumes" not in text(found)
    assert len(curves_figure(found).axes) == 2
    assert len(slices_figure(found).axes) == 4
    assert fidelity_html(found).count("<img") == 3
    tim3d.report(urls[0], tmp_path / "report.html")
    assert "Fidelity" in (tmp_path / "report.html").read_text()


def test_bad_input_is_one_error_each(tmp_path: Path, image: Path) -> None:
    (url,) = volumes(tmp_path, 1)
    labels = ingested(
        tmp_path,
        "labels",
        blobs(EDGE)[None].repeat(4, 0),
        field="phase",
        phases=tim3d.Phases(a=0, b=1),
    )
    deep = ingested(tmp_path, "deep", material(1, (EDGE,) * 3).astype(np.uint16))
    colours, named = tmp_path / "rgb.tif", tmp_path / "labels.tif"
    tifffile.imwrite(
        colours, np.stack([shades(64, 1.5, n) for n in range(3)], axis=-1), photometric="rgb"
    )
    tifffile.imwrite(named, blobs(64) * 255)
    for urls, micrograph, given, error, says in [
        ([labels], image, {}, ArgumentError, r"holds labels.*--phases"),
        ([labels], image, {"field": "phase"}, ArgumentError, r"has the phases a, b; .*--phases"),
        ([deep], image, {}, ArgumentError, "uint16"),
        ([url], colours, {}, InputError, "--field raw_red"),
        ([url], named, {}, InputError, "it is labelled"),
        ([url], image, {"pixel_size": None}, ArgumentError, "--pixel-size"),
        ([url], image, {"pixel_size": 6.0}, ArgumentError, "voxels across z"),
        ([url], image, {"phases": tim3d.Phases(pore=0, solid=255)}, MissingFieldError, "phase"),
        ([url], image, {"lags": (1, 99)}, ArgumentError, "99"),
    ]:  # fmt: skip
        with pytest.raises(error, match=says):
            judged(urls, micrograph, **given)
