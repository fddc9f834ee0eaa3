"""Contacts through the store: made, solved, collected beside the law, and refused where they cannot be."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tim3d.cli.main import main
from tim3d.errors import ArgumentError, InputError, MissingFieldError
from tim3d.kernels.conduction.contact_spots import plastic_conductance
from tim3d.relating.files import read_table
from tim3d.stages.generation.generate import generate

QUIET = tim3d.Options(progress=False)
ROUGHNESS = {"rms_nm": 6.0, "hurst": 0.8, "correlation_nm": 320.0, "cutoff_nm": 300.0}
DRY = {"lower": 400.0, "gap": 0.0, "upper": 200.0}
PRESSURES = {"p02": 0.02, "p06": 0.06, "p20": 0.2}
MADE: dict[str, Any] = {
    "kind": "contact", "shape": (24, 64, 64), "voxel_size": {"z": 20, "y": 20, "x": 20}, "roughness": ROUGHNESS,
}  # fmt: skip


def pressed(sample: str, pressure: float, k: dict[str, float] | None = None, **more: Any) -> None:
    """Make, measure and solve a contact."""
    generate(sample, pressure=pressure, options=QUIET, **MADE | more)
    tim3d.measure(sample, ["phase_fraction", "projected_interface"], options=QUIET)
    tim3d.solve(sample, conductivity=k or DRY, sides="periodic", options=QUIET)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("contacts")
    found = [str(folder / f"{name}.zarr") for name in PRESSURES]
    for sample, pressure in zip(found, PRESSURES.values(), strict=True):
        pressed(sample, pressure)
    return found


def test_area_and_resistance_stand_beside_the_law(samples: list[str], tmp_path: Path) -> None:
    found = tim3d.contact(samples, csv=tmp_path / "contact.csv")
    assert found.pressure.values.tolist() == list(PRESSURES.values())
    assert found.contact_fraction.values == pytest.approx(found.pressure.values, abs=0.5 / 64**2)
    assert (found.resistance * found.conductance).values == pytest.approx(1.0)
    assert (np.diff(found.conductance) > 0).all()
    rms_nm = ROUGHNESS["rms_nm"] * 2**0.5  # of two independent faces
    assert found.rms_height.values == pytest.approx(rms_nm)
    assert found.rms_height.attrs["units"] == found.separation.attrs["units"] == "nm"
    laws = [
        plastic_conductance(p, m, s * 1e-9, 800 / 3)
        for p, m, s in zip(
            found.pressure.values, found.mean_slope.values, found.rms_height.values, strict=True
        )
    ]
    assert found.law_conductance.values == pytest.approx(laws)
    ratio = found.conductance / found.law_conductance
    assert ((ratio > 0.4) & (ratio < 1.1)).all()
    assert 0.8 < found.exponent < 1.1
    assert found.exponent_standard_error > 0
    own = found.conductance * found.rms_height * 1e-9 / (800 / 3 * found.mean_slope)
    line = np.polyfit(np.log(found.pressure.values), np.log(own.values), 1)
    assert [found.exponent, np.log(found.prefactor)] == pytest.approx(line)
    assert found.resistance.attrs["units"] == "m2 K W-1"
    again = read_table(tmp_path / "contact.csv")
    assert again.conductance.attrs["units"] == "W m-2 K-1"
    assert again.resistance.values == pytest.approx(found.resistance.values)


def test_the_shell_shows_contacts_and_what_they_have_together(
    samples: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["contact", *samples]) == 0
    shown = capsys.readouterr().out
    assert "contact_fraction" in shown
    first, together = shown.split("\n\n")
    assert "p02" in first.splitlines()[0]
    assert "exponent_standard_error" in together


def test_what_fills_the_gap_is_counted_and_no_power_law_is_fitted(
    samples: list[str], tmp_path: Path
) -> None:
    filled = str(tmp_path / "filled.zarr")
    pressed(filled, 0.06, DRY | {"gap": 2.0})
    found = tim3d.contact([filled, *samples])
    wet, dry = (float(found.conductance.sel(sample=name)) for name in ("filled", "p06"))
    assert wet > dry
    gap = float(found.law_gap_conductance.sel(sample="filled"))
    assert gap == pytest.approx(2.0 / (float(found.separation[0]) * 1e-9))
    assert float(found.law_gap_conductance.sel(sample="p06")) == 0
    assert "exponent" not in found


def test_layers_of_a_microscope_have_area_and_resistance_without_a_law(tmp_path: Path) -> None:
    """Half of the columns touch, the others have a gap: resistances in parallel where sides insulate."""
    labels = np.zeros((10, 6, 8), np.uint8)
    labels[5:] = 2
    labels[4:6, :, :4] = 1
    np.save(tmp_path / "phase.npy", labels)
    sample, size = str(tmp_path / "a.zarr"), {"z": 10, "y": 10, "x": 10}
    phases = tim3d.Phases(chip=0, grease=1, sink=2)
    tim3d.ingest(
        tmp_path / "phase.npy", sample, field="phase", phases=phases, voxel_size=size, options=QUIET
    )
    tim3d.measure(sample, ["phase_fraction", "projected_interface"], options=QUIET)
    k = {"chip": 1.0, "grease": 1.0, "sink": 1.0}
    tim3d.solve(sample, conductivity=k, options=QUIET)
    found = tim3d.contact([sample], bodies=("chip", "sink"))
    assert float(found.contact_fraction[0]) == pytest.approx(0.5)
    assert float(found.resistance[0]) == pytest.approx(0, abs=1e-13)
    assert np.isnan(found.pressure[0])
    with pytest.raises(ArgumentError, match=r"no phase 'lower'.*--bodies NAME,NAME"):
        tim3d.contact([sample])


def test_the_same_contact_in_any_blocks_has_the_same_numbers(
    samples: list[str], tmp_path: Path
) -> None:
    sample = str(tmp_path / "p06.zarr")
    generate(
        sample, pressure=0.06, shard=(8, 16, 32), options=tim3d.Options(progress=False, block=(8, 32, 32)), **MADE
    )  # fmt: skip
    tim3d.measure(sample, ["phase_fraction", "projected_interface"], options=QUIET)
    tim3d.solve(sample, conductivity=DRY, sides="periodic", options=QUIET)
    one, other = tim3d.contact([samples[1]]), tim3d.contact([sample])
    assert one.drop_vars("sample").equals(other.drop_vars("sample"))


def test_narrow_spots_are_warned_of(samples: list[str], caplog: pytest.LogCaptureFixture) -> None:
    tim3d.contact(samples)
    (warned,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "less than 8 voxels wide in p02, p06" in warned


def test_what_cannot_be_collected_is_one_line(samples: list[str], tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="no sample is given"):
        tim3d.contact([])
    with pytest.raises(ArgumentError, match="has two bodies, got lower"):
        tim3d.contact(samples, bodies=["lower"])
    with pytest.raises(MissingFieldError, match=r"'other' holds no results of solve"):
        tim3d.contact(samples, transport="other")
    bare = str(tmp_path / "bare.zarr")
    generate(bare, pressure=0.1, options=QUIET, **MADE)
    with pytest.raises(
        MissingFieldError, match=r"along nothing, and not along z\. Run: tim3d solve"
    ):
        tim3d.contact([bare])
    tim3d.solve(bare, conductivity=DRY, units="1", options=QUIET)
    with pytest.raises(InputError, match="is in '1'; a resistance needs"):
        tim3d.contact([bare])
    tim3d.solve(bare, conductivity=DRY, axis="y", out="sideways", options=QUIET)
    with pytest.raises(MissingFieldError, match="along y, and not along z"):
        tim3d.contact([bare], transport="sideways")
    tim3d.solve(bare, conductivity=DRY, out="along", options=QUIET)
    with pytest.raises(ArgumentError, match=r"several results of solve along z.*--transport"):
        tim3d.contact([bare])
    with pytest.raises(MissingFieldError, match=r"was not measured\. Run: tim3d measure"):
        tim3d.contact([bare], transport="along")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"pressure": None}, "--kind contact needs --pressure; for example --pressure 0.01"),
        ({"roughness": None}, "--kind contact needs --roughness"),
        ({"roughness": {"rms": 3}}, "--roughness has no 'rms'"),
        ({"roughness": {"rms_nm": 3}}, "--roughness needs hurst and correlation_nm and cutoff_nm"),
        ({"roughness": ROUGHNESS | {"cutoff_nm": 30.0}}, "above two pixels, 40 nm"),
        ({"roughness": ROUGHNESS | {"rms_nm": 200.0}}, "beyond the volume of 480 nm"),
        ({"loading": 0.3}, "has no use for --loading"),
        ({"periodic": True}, "not periodic along z"),
        ({"pressure": 2.0}, "up to 1, not 2"),
    ],
)
def test_a_contact_that_cannot_be_made_writes_nothing(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(ArgumentError, match=said):
        generate(str(tmp_path / "a.zarr"), options=QUIET, **{**MADE, "pressure": 0.1, **changed})
    assert not (tmp_path / "a.zarr").exists()
