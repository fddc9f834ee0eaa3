"""From the statistics of a section to volumes and their conductivity."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from benchmarks import sem_statistics
from tests.conftest import ROOT
from tim3d.cli.parsing import verb
from tim3d.cli.recipe import plan_recipe, run_recipe
from tim3d.errors import ArgumentError, InputError, MissingFieldError
from tim3d.generators import GaussianField, LevelCuts
from tim3d.kernels.generation.admissible_correlation import nearest_admissible
from tim3d.kernels.generation.spectral_field import SpectralField
from tim3d.relating.summary import summary_of
from tim3d.storage import store

QUIET = tim3d.Options(progress=False)
RECIPE = ROOT / "pipelines" / "sem_to_conductivity.toml"
SMALLER = [
    "simulate.shape=[1, 96, 96]",
    "simulate.correlation_nm=40",
    "generate.shape=[16, 16, 16]",
    'solve.axis=["z"]',
]


def section(sample: Path, edge: int, length: tuple[float, float, float], descriptors: Any) -> str:
    """A measured section of a level cut with 40 % pore."""
    field = GaussianField(length, (5.0, 5.0, 5.0), seed=1)
    cuts = LevelCuts(field, (0.4, 0.6), tim3d.Phases(void=2, copper=7))
    tim3d.generate(str(sample), cuts, shape=(1, edge, edge), options=QUIET)
    tim3d.measure(str(sample), descriptors, options=QUIET)
    return str(sample)


def like(sample: Path, source: str, edge: int, **more: Any) -> Any:
    size = {"z": 5.0, "y": 5.0, "x": 5.0}
    return verb("generate")(
        str(sample), kind="field", s2=source, shape=(edge,) * 3, voxel_size=size, options=QUIET, **more
    )  # fmt: skip


def test_the_recipe_is_planned_in_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    planned = dict(plan_recipe(RECIPE, SMALLER))
    assert planned["generate-seed1"]
    assert planned["solve-seed4"]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_recipe_ends_with_a_tensor_and_its_scatter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run_recipe(RECIPE, SMALLER, progress=False)
    assert done["fidelity"].attrs
    share = store.open_dataset("demo/sem/image.zarr", "phase_descriptors").phase_fraction
    made = store.node_attributes("demo/sem/seed1.zarr", "phase")["parameters"]["fractions"]
    assert made == [pytest.approx(float(one)) for one in share]
    with Path("demo/sem/tensor.csv").open() as file:
        rows = {row["number"]: row for row in csv.DictReader(file)}
    along_z = rows["effective_conductivity.z"]
    assert (along_z["samples"], along_z["unit"]) == ("4", "W m-1 K-1")
    assert float(along_z["lowest"]) < float(along_z["mean"]) < float(along_z["highest"])
    assert "effective_conductivity_limit.z" in rows
    assert Path("demo/sem/report.html").stat().st_size > 10_000


def test_a_volume_has_the_fraction_the_phases_and_s2_of_a_section(tmp_path: Path) -> None:
    source = section(tmp_path / "a.zarr", 512, (30.0,) * 3, ["phase_fraction", "correlation"])
    made = like(tmp_path / "b.zarr", source, 64, seed=3)
    field = store.read_field(str(tmp_path / "b.zarr"), "phase")
    assert field.phases == tim3d.Phases(void=2, copper=7)
    void = made.values == 2
    image = store.open_dataset(source, "phase_descriptors")
    wanted = image.two_point.sel(phase="void", phase_other="void", lag_direction="x").values
    assert void.mean() == pytest.approx(wanted[0], abs=0.06)
    for lag in (1, 2, 4):
        found = void[..., lag:] & void[..., :-lag]
        assert found.mean() - void.mean() == pytest.approx(wanted[lag] - wanted[0], abs=0.012)


def test_a_noisy_correlation_becomes_one_that_a_field_can_have() -> None:
    """The image's own noise would make a rough field: the correlation at one voxel falls from 0.98 to 0.96."""
    distances = np.arange(33.0)
    true = np.exp(-((distances / 7) ** 2))
    noisy = true + 0.04 * np.sin(distances / 3) * (distances > 8)
    noisy[0] = 1.0

    def at_one(correlation: np.ndarray) -> tuple[float, float]:
        given = tuple(distances.tolist()), tuple(correlation.tolist())
        field = SpectralField(*given, (1.0,) * 3, seed=0)
        return field.lost, abs(field.made_correlation((0, 0, 1)) - true[1])

    lost, off = at_one(nearest_admissible(distances, noisy))
    assert lost < 0.01
    assert off < 0.003
    assert at_one(noisy)[0] > 0.05
    assert at_one(noisy)[1] > 0.01


def test_a_volume_is_a_source_too_and_an_anisotropic_section_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    volume = str(tmp_path / "v.zarr")
    cuts = LevelCuts(GaussianField((15.0,) * 3, (5.0,) * 3, seed=1), (0.4, 0.6))
    tim3d.generate(volume, cuts, shape=(40, 40, 40), options=QUIET)
    tim3d.measure(volume, ["correlation:lags=12"], options=QUIET)
    assert like(tmp_path / "w.zarr", volume, 16).shape == (16, 16, 16)
    assert not [one for one in caplog.records if one.levelname == "WARNING"]
    source = section(tmp_path / "a.zarr", 200, (20.0, 20.0, 60.0), ["correlation"])
    like(tmp_path / "b.zarr", source, 16)
    said = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert len(said) == 1
    assert "S2 of" in said[0]
    assert "along y and x differs by" in said[0]


def test_what_no_field_can_follow_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    source = section(tmp_path / "a.zarr", 48, (20.0,) * 3, ["phase_fraction"])
    with pytest.raises(
        MissingFieldError, match=r"no measured S2\. Type  tim3d measure .*correlation"
    ):
        like(tmp_path / "b.zarr", source, 16)
    tim3d.measure(source, ["correlation:lags=12"], options=QUIET)
    with pytest.raises(ArgumentError, match="leave out --fractions"):
        like(tmp_path / "b.zarr", source, 16, fractions={"void": 0.4, "copper": 0.6})
    three = str(tmp_path / "three.zarr")
    cuts = LevelCuts(GaussianField((20.0,) * 3, (5.0,) * 3, seed=1), (0.3, 0.3, 0.4))
    tim3d.generate(three, cuts, shape=(1, 48, 48), options=QUIET)
    tim3d.measure(three, ["correlation:lags=12"], options=QUIET)
    with pytest.raises(InputError, match=r"two phases, and 'phase' in .* has 3"):
        like(tmp_path / "b.zarr", three, 16)
    assert not (tmp_path / "b.zarr").exists()


def test_a_summary_leaves_out_what_is_missing() -> None:
    import xarray as xr

    table = xr.Dataset({"k": ("sample", [1.0, math.nan, 4.0]), "name": ("sample", ["a", "b", "c"])})
    found = summary_of(table)
    assert found["number"].values.tolist() == ["k"]
    row = found.sel(number="k")
    assert [float(row[n]) for n in ("samples", "mean", "lowest", "highest")] == [2, 2.5, 1, 4]
    assert float(row.standard_error) == pytest.approx(1.5)


@pytest.mark.long
def test_the_benchmark_prints_a_row_for_each_material(capsys: pytest.CaptureFixture[str]) -> None:
    sem_statistics.main(["--edge", "16", "--section", "64", "--seeds", "2"])
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 5
    assert all(row.endswith("% |") for row in rows[2:])
