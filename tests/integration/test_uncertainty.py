"""From probabilities to intervals of numbers: calibrate, sample_labels, the verbs with --draws, describe."""

from __future__ import annotations

import dataclasses
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import tifffile

import tim3d
from tests.soft import Soft
from tim3d.cli.main import main
from tim3d.descriptors.coupled import GEODESIC_TORTUOSITY
from tim3d.errors import ArgumentError, InputError, MissingFieldError, MixedRunError
from tim3d.grid import Box
from tim3d.kernels.generation.gaussian_field import GaussianField
from tim3d.phases import Phases
from tim3d.storage import store

QUIET = tim3d.Options(progress=False)
SHAPE, SIZE = (12, 28, 26), {"z": 10, "y": 10, "x": 10}
HELD = (2, 3, 6, 9)
DRAWS = 6
SOFT = Soft()


def stack() -> tuple[np.ndarray, np.ndarray]:
    """Grey values by a logit, and labels drawn from it whose errors reach over 30 nm."""
    box = Box.whole(SHAPE)
    logit = 3.5 * GaussianField((80.0,) * 3, (10.0,) * 3, seed=1).values(box)
    z = GaussianField((30.0,) * 3, (10.0,) * 3, seed=2).values(box)
    from scipy.special import expit, ndtr

    truth = (ndtr(z) < expit(logit)).astype(np.uint8)
    return np.clip(np.rint(128 + 20 * logit), 0, 255).astype(np.uint8), truth


def made(
    folder: Path, soft: Soft = SOFT, name: str = "s.zarr", axes: tuple[int, int, int] = (0, 1, 2)
) -> str:
    grey, truth = (one.transpose(axes) for one in stack())
    held = np.zeros_like(truth)
    held[list(HELD)] = truth[list(HELD)] + 1
    url = str(folder / name)
    for field, values, phases in (
        ("raw", grey, None), ("truth", truth, Phases(pore=0, solid=1)),
        ("held", held, Phases(unlabelled=0, pore=1, solid=2)),
    ):  # fmt: skip
        tifffile.imwrite(folder / "v.tif", values)
        tim3d.ingest(
            folder / "v.tif", url, field=field, phases=phases, voxel_size=SIZE, shard=(4, 16, 16), options=QUIET
        )  # fmt: skip
    tim3d.segment(
        url,
        segmenter=soft,
        uncertainty="views",
        phases=Phases(pore=3, solid=7),
        options=QUIET,
    )
    return url


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = made(tmp_path_factory.mktemp("uncertainty"))
    tim3d.calibrate(url, truth="held", options=QUIET)
    tim3d.sample_labels(url, draws=DRAWS, options=QUIET)
    return url


def test_the_temperature_and_the_length_of_the_errors_are_found(
    sample: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = tim3d.open_dataset(sample, "phase_calibration_truth=held")
    assert float(found["temperature"]) == pytest.approx(2.0, rel=0.2)
    assert found["correlation_length"].sel(axis=["y", "x"]).values == pytest.approx(30, rel=0.3)
    assert found.attrs["slices"] == list(HELD)
    before, after = (found["ece"].sel(stage=one, where="all") for one in ("before", "after"))
    assert float(after) < float(before)
    assert found["ece"].attrs["units"] == "1"
    assert float(found["log_loss"].sel(stage="after", where="near")) > float(
        found["log_loss"].sel(stage="after", where="all")
    )
    assert np.abs(found["fraction_bias"].sel(stage="after")).max() < 1e-3
    figure = Path(sample).with_name("c.png")
    assert main(["calibrate", sample, "--truth", "held", "--figure", str(figure)]) == 0
    said = capsys.readouterr().out
    assert "near interfaces" in said
    assert "Errors reach over" in said
    assert figure.stat().st_size > 5000
    assert (
        found["bin_count"].sel(stage="before", where="all").isel(of=-1).sum()
        == found.attrs["voxels"]
    )


def test_draws_differ_as_often_as_their_probabilities_say(sample: str) -> None:
    """Not only by what was resampled: each has random numbers of its own."""
    every = [tim3d.open_field(sample, f"phase_draw_0{n}").values for n in range(DRAWS)]
    stored = tim3d.open_field(sample, "phase_probability_solid").values
    share = stored / np.iinfo(stored.dtype).max
    # A network that is too sure of itself: calibrated ones are nearer to a half.
    least = float(np.mean(2 * share * (1 - share)))
    for one, other in combinations(every, 2):
        assert (one != other).mean() > 0.9 * least > 0.02


def test_the_calibration_does_not_change_when_slices_are_turned(tmp_path: Path) -> None:
    found = []
    for name, axes in (("a.zarr", (0, 1, 2)), ("b.zarr", (0, 2, 1))):
        one = tim3d.calibrate(made(tmp_path, name=name, axes=axes), truth="held", options=QUIET)
        found.append(one)
    for name in ("temperature", "correlation_length", "ece"):
        np.testing.assert_allclose(found[1][name], found[0][name], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("edge", [20.0, 30.0, 40.0])
def test_windows_of_an_interval_lie_apart_by_their_edge(
    sample: str, tmp_path: Path, edge: float
) -> None:
    """Of slices in a row the first only."""
    own = str(shutil.copytree(sample, tmp_path / "s.zarr"))
    found = tim3d.calibrate(own, truth="held", window=edge, out="windows", options=QUIET)
    voxels = int(edge / 10)
    rows, columns = (len(range(0, n - voxels + 1, 2 * voxels)) for n in SHAPE[1:])
    firsts = sum(z - 1 not in HELD for z in HELD)
    said = f"{firsts * rows * columns} windows of {edge:g} nm"
    assert said in found["window_half_width"].attrs["method"]


@pytest.mark.long
def test_draws_are_label_fields_whatever_the_blocks(sample: str, tmp_path: Path) -> None:
    names = [f"phase_draw_0{n}" for n in range(DRAWS)]
    every = [tim3d.open_field(sample, name).values for name in names]
    assert {code for one in every for code in np.unique(one)} == {3, 7}
    again = made(tmp_path)
    tim3d.calibrate(again, truth="held", options=QUIET)
    small = tim3d.Options(progress=False, block=(4, 16, 16))
    tim3d.sample_labels(again, draws=DRAWS, options=small)
    assert all(
        np.array_equal(one, tim3d.open_field(again, name).values)
        for one, name in zip(every, names, strict=True)
    )
    listing = tim3d.open_dataset(sample, "phase_draws")
    assert listing["temperature"].dims == ("draw",)
    assert (listing["surface_ratio"] > 0).all()


@pytest.mark.long
def test_intervals_stand_beside_the_numbers(
    sample: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (
        ["measure", sample, "--descriptors", "phase_fraction,specific_surface", "--draws"],
        ["label", sample, "--draws"],
        ["geodesic", sample, "--draws", "--phases", "pore", "--directions", "+z"],
        ["solve", sample, "--draws", "--conductivity", "pore=1,solid=10"],
    ):
        assert main([*command, "--quiet"]) == 0, capsys.readouterr().err
    found = tim3d.describe(sample)
    truth = tim3d.measure(sample, ["phase_fraction"], field="truth", options=QUIET)
    for name in (
        "phase_fraction",
        "specific_surface",
        "porosity",
        "effective_conductivity",
        "geodesic_tortuosity",
    ):
        low, high = found[f"{name}_low"], found[f"{name}_high"]
        assert (low < high).any(), name
        assert found[name].attrs["ancillary_variables"].endswith(f"{name}_low {name}_high")
    no_results = (
        "conductivity_wiener_upper",
        "flux_spread",
        "flux_percolates",
        "phase_conductivity",
    )
    assert set(no_results) < set(found)
    assert not {f"{name}_low" for name in no_results} & set(found)
    for name in ("percolates", "flux_percolates"):
        share = found[f"{name}_probability"]
        assert share.dims == found[name].dims
        assert (share.isnull() == found[name].isnull()).all()  # axes that were not solved
        assert f"{name}_low" not in found
        assert found[name].attrs["ancillary_variables"] == f"{name}_probability"
    every = [tim3d.open_dataset(sample, f"phase_draw_0{n}_components") for n in range(DRAWS)]
    through = np.mean([one["percolates"].sel(phase="pore").values for one in every], axis=0)
    assert (found["percolates_probability"].sel(phase="pore") == through).all()
    own = dataclasses.replace(GEODESIC_TORTUOSITY, diagnostics=("geodesic_tortuosity",))
    assert "geodesic_tortuosity_low" not in tim3d.describe(sample, [own])
    within = (found["phase_fraction_low"] < truth["phase_fraction"]) & (
        truth["phase_fraction"] < found["phase_fraction_high"]
    )
    assert within.all()
    assert "phase_fraction_low" not in tim3d.describe(sample, plain=True)
    page = tim3d.report(sample, Path(sample).with_name("r.html")).read_text()
    assert "Uncertainty of the segmentation" in page
    for name in ("phase_fraction pore", "effective_conductivity z", "geodesic_tortuosity"):
        assert name in page
    assert main(["describe", sample, "--csv", str(Path(sample).with_name("d.csv")), "--quiet"]) == 0
    assert "phase_fraction_low" in Path(sample).with_name("d.csv").read_text()
    by_hand = [
        float((tim3d.open_field(sample, f"phase_draw_0{n}").values == 3).mean())
        for n in range(DRAWS)
    ]
    middle = (found["phase_fraction_low"] + found["phase_fraction_high"]).sel(phase="pore") / 2
    assert float(middle) == pytest.approx(np.mean(by_hand), abs=1e-9)


@pytest.mark.long
def test_a_region_has_intervals_of_its_own(sample: str) -> None:
    tim3d.measure(sample, ["phase_fraction"], draws=True, options=QUIET)
    found = tim3d.describe(sample, ["phase_fraction"], z=slice(10, 80), options=QUIET)
    by_hand = [
        float((tim3d.open_field(sample, f"phase_draw_0{n}").values[1:8] == 3).mean())
        for n in range(DRAWS)
    ]
    low, high = (found[f"phase_fraction_{end}"].sel(phase="pore") for end in ("low", "high"))
    assert float(low + high) / 2 == pytest.approx(np.mean(by_hand), abs=1e-9)
    whole = tim3d.describe(sample, ["phase_fraction"], options=QUIET)
    assert float(high) != float(whole["phase_fraction_high"].sel(phase="pore"))


@pytest.mark.long
def test_sure_probabilities_give_no_width(tmp_path: Path) -> None:
    url = made(tmp_path, Soft(sure=4000.0, mean=127.5))
    listing = tim3d.sample_labels(url, draws=3, calibration="none", correlation=30.0, options=QUIET)
    assert (listing["temperature"] == 1).all()
    tim3d.measure(url, ["phase_fraction"], draws=True, options=QUIET)
    found = tim3d.describe(url)
    assert np.abs(found["phase_fraction_high"] - found["phase_fraction_low"]).max() < 1e-12


def test_what_is_missing_is_said_in_one_line(sample: str, tmp_path: Path) -> None:
    url = made(tmp_path)
    with pytest.raises(MissingFieldError, match="tim3d calibrate"):
        tim3d.sample_labels(url)
    with pytest.raises(MissingFieldError, match="tim3d sample-labels"):
        tim3d.measure(url, draws=True)
    with pytest.raises(ArgumentError, match="leave out --out"):
        tim3d.label(sample, draws=True, out="mine")
    with pytest.raises(ArgumentError, match="--correlation 40"):
        tim3d.sample_labels(url, calibration="none")
    with pytest.raises(MixedRunError, match="draws"):
        tim3d.sample_labels(sample, draws=DRAWS + 1)
    tim3d.segment(url, method="otsu", phases=Phases(pore=0, solid=1), out="cut", options=QUIET)
    with pytest.raises(MissingFieldError, match="--uncertainty views --out cut"):
        tim3d.calibrate(url, field="cut")
    with pytest.raises(ArgumentError, match="must be the same"):
        tim3d.calibrate(
            url, truth="phase_draw_00" if "phase_draw_00" in store.nodes(url) else "raw"
        )
    with pytest.raises(InputError, match="no voxel"):
        tim3d.calibrate(url, truth="held", slices=slice(0, 2), options=QUIET)


@pytest.mark.long
def test_points_that_were_looked_at_correct_the_labels(sample: str, tmp_path: Path) -> None:
    folder = tmp_path / "looks"
    assert main(["points", sample, str(folder), "--count", "120", "--quiet"]) == 0
    rows = (folder / "points.csv").read_text().splitlines()
    assert rows[0] == "point,z,y,x,image,answer"
    assert len(list(folder.glob("point_*.png"))) == 120
    _, truth = stack()
    answered = [rows[0]]
    for row in rows[1:]:
        z, y, x = map(int, row.split(",")[1:4])
        answered.append(row + ("pore", "solid")[truth[z, y, x]])
    answered[1] = rows[1]  # one that cannot be told
    table = folder / "answered.csv"
    table.write_text("\n".join(answered))
    tim3d.measure(sample, ["phase_fraction"], options=QUIET)
    found = tim3d.count_points(sample, table, options=QUIET)
    assert found.attrs["points"] == 119
    both, points = (found.sel(way=one, phase="pore") for one in ("both", "points"))
    assert float(both["fraction_lower"]) < (truth == 0).mean() < float(both["fraction_upper"])
    widths = [float(one["fraction_upper"] - one["fraction_lower"]) for one in (both, points)]
    assert widths[0] < widths[1]
    assert tim3d.points(sample, folder, count=120) == folder / "points.csv"
    table.write_text("\n".join(answered).replace("pore", "hole"))
    with pytest.raises(InputError, match="none of the phases pore, solid"):
        tim3d.count_points(sample, table)
    table.write_text("\n".join(rows))
    with pytest.raises(InputError, match="0 answers"):
        tim3d.count_points(sample, table)


@pytest.mark.long
def test_particles_that_were_counted_in_every_draw_have_intervals(tmp_path: Path) -> None:
    url = made(tmp_path)
    tim3d.calibrate(url, truth="held", options=QUIET)
    tim3d.sample_labels(url, draws=2, options=QUIET)
    counts = []
    for field in ("phase", "phase_draw_00", "phase_draw_01"):
        tim3d.measure(url, ["phase_fraction"], field=field, options=QUIET)
        tim3d.distance(url, field=field, options=QUIET)
        found = tim3d.particles(url, field=field, phase="solid", options=QUIET)
        counts.append(found["particle_count"].values.item())
    told = tim3d.describe(url, options=QUIET)
    solid = told.sel(phase="solid")
    low, high = (solid[f"particle_count_{end}"].values.item() for end in ("low", "high"))
    assert (low + high) / 2 == pytest.approx(sum(counts[1:]) / 2)
    assert "particle_diameter_mean_low" in told
