"""Generated images against real ones over conditions: one law is recognised, deviations are found, inputs refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage as ndi

import tim3d
from tests.integration.test_every_verb import one_line
from tim3d.cli.main import main
from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.morphology.planar import boundary_per_area
from tim3d.phases import Phases
from tim3d.plotting.conditions import TITLES

TWO = Phases(pore=0, solid=255)
FEW = {"phases": TWO, "draws": 30, "resamples": 50, "in_pixels": True}


def cut(seed: int, fraction: float, shape: tuple[int, int] = (96, 112)) -> np.ndarray:
    """Level cut of a smooth field."""
    field = ndi.gaussian_filter(
        np.random.default_rng(seed).standard_normal(shape), 1.5, mode="wrap"
    )
    return np.where(field > np.quantile(field, 1 - fraction), 255, 0).astype(np.uint8)


def series(folder: Path, shift: float = 0.0) -> Path:
    """Six conditions of two materials: an image of each, and a folder of generated ones."""
    rows = ["material,heat,real,generated"]
    for number, (material, heat) in enumerate((m, h) for m in "ab" for h in (1, 2, 3)):
        fraction = 0.3 + 0.1 * heat + (0.05 if material == "b" else 0)
        tifffile.imwrite(folder / f"{number}.tif", cut(number, fraction))
        (folder / f"g{number}").mkdir()
        for n in range(6):
            image = cut(100 + 10 * number + n, fraction + shift, (32, 32))
            tifffile.imwrite(folder / f"g{number}" / f"{n}.tif", image)
        rows.append(f"{material},{heat},{number}.tif,g{number}")
    table = folder / "series.csv"
    table.write_text("\n".join(rows) + "\n")
    return table


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return series(tmp_path_factory.mktemp("series"))


def test_images_of_one_law_reach_what_real_ones_reach(table: Path) -> None:
    found = tim3d.fidelity_images(table, **FEW, by="material")
    assert found["group"].values.tolist() == ["all", "a", "b"]
    assert found["condition"].values.tolist()[:2] == ["a, 1", "a, 2"]
    assert (found["crops_real"].values == 9).all()
    assert (found["crops_generated"].values == 6).all()
    one = found.sel(group="all", quantity="area_fraction", phase="solid")
    assert one["r_squared"] > 0.9
    assert one["r_squared"] > one["r_squared_ceiling_low"]
    inside = (found["deviation_low"] <= 0) & (found["deviation_high"] >= 0)
    assert inside.mean() > 0.75
    assert found["neighbour_precision"].sel(group="all") > 0.7
    assert found["neighbour_samples"].sel(group="all") == 6 * 4
    assert (found["copy_distance_generated"] > 0.6 * found["copy_distance_real"]).all()


def test_numbers_are_those_of_the_crops(table: Path) -> None:
    """Means and deviations by hand, and S2 at a lag by pairs of pixels."""
    found = tim3d.fidelity_images(table, **FEW).sel(condition="a, 1", phase="solid")
    image = tifffile.imread(table.parent / "0.tif") == 255
    crops = [image[r : r + 32, c : c + 32] for r in (0, 32, 64) for c in (0, 32, 64)]
    drawn = [tifffile.imread(one) == 255 for one in sorted((table.parent / "g0").glob("*.tif"))]
    for side, masks in (("real", crops), ("generated", drawn)):
        shares = [one.mean() for one in masks]
        assert found[f"area_fraction_{side}"] == pytest.approx(np.mean(shares))
        assert found[f"area_fraction_{side}_deviation"] == pytest.approx(np.std(shares, ddof=1))
        assert found[f"perimeter_per_area_{side}"] == pytest.approx(
            np.mean([boundary_per_area(one) for one in masks])
        )
        pairs = [(one[:, 4:] & one[:, :-4]).sum() + (one[4:] & one[:-4]).sum() for one in masks]
        expected = np.mean(pairs) / (2 * 28 * 32)
        assert found[f"two_point_{side}"].sel(lag=4) == pytest.approx(expected)
        runs = [
            sum(
                np.lib.stride_tricks.sliding_window_view(m, 5, axis=a).all(-1).sum() for a in (0, 1)
            )
            for m in masks
        ]
        assert found[f"lineal_path_{side}"].sel(lag=4) == pytest.approx(
            np.mean(runs) / (2 * 28 * 32)
        )
    for side in ("real", "generated"):
        for end in ("", "_deviation"):
            units = {name: found[f"{name}_{side}{end}"].attrs["units"] for name in TITLES}
            assert units.pop("perimeter_per_area") == "pixel-1"
            assert set(units.values()) == {"1"}
    error = np.abs(found["two_point_real"] - found["two_point_generated"]).mean()
    assert found["two_point_error"] == pytest.approx(float(error))


def test_a_shift_and_copies_are_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shifted = tim3d.fidelity_images(series(tmp_path, 0.15), **FEW).sel(phase="solid")
    one = shifted.sel(quantity="area_fraction", group="all")
    assert (one["deviation_low"] > 0).all()
    # An offset, to which the squared correlation is blind.
    assert float(one["r_squared"]) < 0.2 < 0.8 < float(one["correlation_squared"])
    image = tifffile.imread(tmp_path / "0.tif")
    for n in range(6):
        crop = np.rot90(image[5 + n : 37 + n, 60:92], n)
        tifffile.imwrite(tmp_path / "g0" / f"{n}.tif", crop)
    found = tim3d.fidelity_images(tmp_path / "series.csv", **FEW)
    assert found["copy_distance_generated"].sel(condition="a, 1") == 0
    assert "generated crops of a, 1 are much nearer" in caplog.text


@pytest.mark.long
def test_the_shell_prints_plans_and_writes_a_row_for_each_condition_and_phase(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = ["fidelity-images", str(table), "--phases", "pore=0,solid=255", "--in-pixels", "--draws", "20",
             "--by", "material", "--csv", str(tmp_path / "o.csv"), "--figure", str(tmp_path / "o.png")]  # fmt: skip
    assert main([*typed, "--plan"]) == 0
    assert "compares 42 images of 6 conditions by crops of 32 pixels" in capsys.readouterr().out
    assert not (tmp_path / "o.csv").exists()
    assert main(typed) == 0
    shown = capsys.readouterr().out
    assert "R² a" in shown
    assert "precision" in shown
    rows = list(csv.DictReader((tmp_path / "o.csv").read_text().splitlines()))
    assert len(rows) == 12
    assert (rows[1]["material"], rows[1]["phase"]) == ("a", "solid")
    assert rows[1]["perimeter_per_area_real [pixel-1]"]
    assert (tmp_path / "o.png").stat().st_size > 10_000
    # The same command again; a table of others is not replaced.
    assert main(typed) == 0
    (tmp_path / "o.csv").write_text("a,b\n")
    assert main(typed) == 2


def test_phases_are_compared_by_name_whatever_their_values(table: Path, tmp_path: Path) -> None:
    first = tim3d.fidelity_images(table, **FEW)
    for path in table.parent.rglob("*.tif"):
        target = tmp_path / path.relative_to(table.parent)
        target.parent.mkdir(exist_ok=True)
        tifffile.imwrite(target, np.where(tifffile.imread(path) == 255, 0, 3).astype(np.uint8))
    (tmp_path / "series.csv").write_text(table.read_text())
    other = {**FEW, "phases": Phases(pore=3, solid=0)}
    found = tim3d.fidelity_images(tmp_path / "series.csv", **other)
    for name, values in first.data_vars.items():
        if not str(name).startswith("neighbour"):
            assert (
                found[name].sel(phase=first["phase"]).equals(values)
                if "phase" in values.dims
                else found[name].equals(values)
            )


HEAD = "heat,real,generated"
REFUSED = [
    ("", {}, InputError, "no column 'real'"),
    ("real,generated\n0.tif,g0\n", {}, InputError, "names no condition"),
    (f"{HEAD}\n", {}, InputError, "no row below its header"),
    (f"{HEAD}\n1,0.tif\n", {}, InputError, "row 2 has 2 cells"),
    (f"{HEAD}\n1,nowhere.tif,g0\n", {}, InputError, "row 2, column 'real': no folder or image"),
    (f"{HEAD}\n1,0.tif,\n", {}, InputError, "row 2, column 'generated': no folder or image"),
    (f"{HEAD}\n1,0.tif,g0\n1,1.tif,g1\n", {}, InputError, "two rows for 1"),
    (f"{HEAD},phase\n1,0.tif,g0,a\n", {}, InputError, "a column 'phase'"),
    (f"{HEAD}\n1,0.tif,g0\n", {"crop": 33}, InputError, "smaller than a crop of 33: --crop 32"),
    (
        f"{HEAD}\n1,0.tif,low\n",
        {"crop": 33},
        InputError,
        "32 x 64 pixels, smaller than a crop of 33",
    ),
    (f"{HEAD}\n1,wide,g0\n", {"crop": 33}, InputError, "64 x 32 pixels, smaller than a crop of 33"),
    (f"{HEAD}\n1,0.tif,g0\n", {"crop": 4}, ArgumentError, "crops of 4 pixels are too small"),
    (
        f"{HEAD}\n1,0.tif,g0/0.tif\n",
        {},
        InputError,
        "the generated images have 1 crop of 32 pixels",
    ),
    (f"{HEAD}\n1,0.tif,g0\n", {"lags": [1, 17]}, ArgumentError, "half a crop is 16 pixels"),
    (f"{HEAD}\n1,0.tif,g0\n", {"by": "metal"}, ArgumentError, "--by metal: "),
    (f"{HEAD}\n1,0.tif,g0\n", {"draws": 3}, ArgumentError, "--draws 3: give 20 or more"),
    (f"{HEAD}\n1,0.tif,g0\n", {"phases": None}, ArgumentError, "name their values"),
    (f"{HEAD}\n1,0.tif,g0\n", {"phases": Phases(a=0, b=1)}, InputError, "which no phase has"),
    (f"{HEAD}\n1,0.tif,g0\n", {"pixel_size": 5.0}, ArgumentError, "leave one of them out"),
    (f"{HEAD}\n1,0.tif,sized\n", {"in_pixels": False}, InputError, "has no pixel size"),
]


@pytest.mark.parametrize(("text", "given", "kind", "says"), REFUSED)
def test_what_cannot_be_compared_is_refused_in_one_line(
    table: Path, text: str, given: dict[str, object], kind: type[Exception], says: str
) -> None:
    sized = table.parent / "sized"
    sized.mkdir(exist_ok=True)
    how = {"imagej": True, "resolution": (200, 200), "metadata": {"unit": "um", "axes": "YX"}}
    for n in range(2):
        tifffile.imwrite(sized / f"{n}.tif", cut(n, 0.5, (32, 32)), **how)
    for name, shape in (("low", (32, 64)), ("wide", (64, 32))):
        (table.parent / name).mkdir(exist_ok=True)
        tifffile.imwrite(table.parent / name / "0.tif", cut(0, 0.5, shape))
    other = table.parent / "other.csv"
    other.write_text(text)
    message = one_line(lambda: tim3d.fidelity_images(other, **{**FEW, **given}), kind)
    assert says in message
