"""The verb bond_line: exact layers, cut stacks, packings of a known conductivity; what cannot be compared."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import tim3d
from tim3d.cli.main import main
from tim3d.errors import ArgumentError, InputError, MissingFieldError, MixedRunError, Tim3dError
from tim3d.generators import Box, Generator, Grains, Overlapping, ThermalInterface
from tim3d.storage import store

QUIET = tim3d.Options(progress=False)
RESIN, METAL = 0.2, 400.0
# Conductance of each substrate: a contact resistance of 5 K mm2/W.
CONTACT = 2e5
K = {"resin": RESIN, "substrate": METAL}
SHEET = {"conductivity": K, "interface": {"resin:substrate": CONTACT}, "tolerance": 1e-8}


@dataclass(frozen=True)
class Sheet(Generator):
    """A layer of resin between two plates of three voxels."""

    kind = "sheet"
    phases = tim3d.Phases(resin=0, substrate=1)

    slices: int
    spacing_nm: tuple[float, float, float] = (250.0, 500.0, 500.0)

    def labels(self, box: Box) -> np.ndarray:
        z = np.arange(box.start[0], box.stop[0])[:, None, None] - 3
        return np.broadcast_to((z < 0) | (z >= self.slices), box.shape).astype(np.uint8)

    def block_bytes(self, core: tuple[int, int, int]) -> int:
        return 9 * math.prod(core)


def sheet(folder: Path, slices: int, **more: Any) -> str:
    """A solved sample of a layer."""
    sample = str(folder / f"sheet{slices}.zarr")
    tim3d.generate(sample, Sheet(slices), shape=(slices + 6, 4, 4), options=QUIET)
    tim3d.solve(sample, **{**SHEET, **more}, options=QUIET)
    return sample


@pytest.fixture(scope="module")
def sheets(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Four bond lines of 2 to 6 micrometres."""
    folder = tmp_path_factory.mktemp("sheets")
    return [sheet(folder, n) for n in (8, 12, 18, 24)]


def test_layers_give_their_conductivity_and_contacts_exactly(sheets: list[str]) -> None:
    found = tim3d.bond_line(sheets)
    np.testing.assert_allclose(found.bond_line, [2000.0, 3000.0, 4500.0, 6000.0])
    assert float(found.conductivity) == pytest.approx(RESIN, rel=1e-6)
    assert float(found.contact_resistance) == pytest.approx(1 / CONTACT, rel=1e-6)
    np.testing.assert_allclose(found.substrate_resistance, 6 * 250e-9 / METAL)
    np.testing.assert_allclose(found.thermal_impedance, found.fitted, rtol=1e-6)
    assert (
        float(found.conductivity_low) <= float(found.conductivity) <= float(found.conductivity_high)
    )
    assert found.thermal_impedance.attrs["units"] == "K m2 W-1"


def test_substrates_may_be_named_and_none_is_one_bond_line_with_them(sheets: list[str]) -> None:
    named = tim3d.bond_line(sheets, substrates=["substrate"])
    xr.testing.assert_identical(named, tim3d.bond_line(sheets))
    bare = tim3d.bond_line(sheets, substrates=[])
    np.testing.assert_allclose(bare.bond_line, np.array([14, 18, 24, 30]) * 250.0)


def test_the_error_of_the_voxels_widens_the_intervals(tmp_path: Path) -> None:
    """A laminate has none; the message to solve with it is gone."""
    samples = [sheet(tmp_path, n, richardson=True) for n in (8, 12, 16)]
    found = tim3d.bond_line(samples)
    assert found.attrs["includes_voxels"] == 1
    assert np.isfinite(found.thermal_impedance_error).all()
    width = float(found.slope_high - found.slope_low) / 2
    assert width >= float(found.slope_error)


@pytest.mark.long
def test_all_of_the_extrapolation_is_its_error(tmp_path: Path) -> None:
    more = {"richardson": True}
    found = tim3d.bond_line([packed(tmp_path, n, seed=1, **more) for n in (20, 28, 40)])
    sample = str(tmp_path / "packed-20-1.zarr")
    (node,) = (one for one in store.nodes(sample) if "transport" in one)
    solved = tim3d.open_dataset(sample, node)
    length = 28 * 250e-9
    ends = [length / float(solved[f"effective_conductivity{end}"][0]) for end in ("", "_limit")]
    assert float(found.thermal_impedance_error[0]) == pytest.approx(abs(ends[0] - ends[1]))
    plates = float(found.substrate_resistance[0])
    assert float(found.thermal_impedance[0]) == pytest.approx(ends[1] - plates)


def test_a_segmented_stack_is_cut_to_bond_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/interfaces.md says: export a part along z, ingest it, solve with contacts. Layers are exact."""
    monkeypatch.chdir(tmp_path)
    phases, samples = tim3d.Phases(resin=0, filler=1), []
    layers = np.repeat(np.tile([0, 0, 1, 1], 6), 36).reshape(24, 6, 6).astype(np.uint8)
    given: Any = {
        "field": "phase",
        "phases": phases,
        "options": QUIET,
        "accept": ["duplicates", "blank"],
    }
    np.save("stack.npy", layers)
    tim3d.ingest("stack.npy", "stack.zarr", voxel_size={"z": 250, "y": 250, "x": 250}, **given)
    for nm in (2000, 4000, 6000):
        tim3d.export("stack.zarr", "phase", f"{nm}.tif", z=slice(0, nm), options=QUIET)
        tim3d.ingest(f"{nm}.tif", f"{nm}.zarr", **given)
        k = {"resin": 0.2, "filler": 30.0}
        tim3d.solve(f"{nm}.zarr", conductivity=k, contact=CONTACT, tolerance=1e-7, options=QUIET)
        samples.append(f"{nm}.zarr")
    found = tim3d.bond_line(samples)
    assert found.bond_line.values.tolist() == [2000.0, 4000.0, 6000.0]
    assert float(found.slope) == pytest.approx((1 / 0.2 + 1 / 30) / 2, rel=1e-6)
    assert float(found.contact_resistance) == pytest.approx(1 / CONTACT, rel=1e-6)


NEUTRAL_RADIUS, FILLER = 1000.0, 30.0


def packed(folder: Path, voxels: int, seed: int, pixel: float = 250.0, **more: Any) -> str:
    """A solved packing of spheres that the flux does not see: k is that of the resin."""
    cell = round(9000 / pixel)
    model = ThermalInterface(
        Grains((2 * NEUTRAL_RADIUS,), (1.0,)), 0.12, (pixel,) * 3, seed, voxels * pixel, 4 * pixel, (cell, cell),
        film_nm=1000.0,
    )  # fmt: skip
    sample = str(folder / f"packed-{voxels}-{seed}.zarr")
    options = more.pop("options", QUIET)
    tim3d.generate(sample, model, shape=(voxels + 8, cell, cell), options=options)
    neutral = 1 / (NEUTRAL_RADIUS * 1e-9 * (1 / RESIN - 1 / FILLER))
    tim3d.solve(
        sample,
        conductivity={
            "resin": RESIN, "filler": FILLER, "substrate_below": METAL, "substrate_above": METAL,
        },
        interface={
            "filler:resin": neutral, "resin:substrate_below": CONTACT, "resin:substrate_above": CONTACT,
        },
        sides="periodic", tolerance=1e-4, options=QUIET, **more,
    )  # fmt: skip
    return sample


def test_a_packing_of_neutral_spheres_gives_the_resin_and_its_contacts(tmp_path: Path) -> None:
    """To the first-order error of four voxels a radius."""
    found = tim3d.bond_line([packed(tmp_path, n, seed=1) for n in (20, 28, 40)])
    assert float(found.conductivity) == pytest.approx(RESIN, rel=0.04)
    assert float(found.contact_resistance) == pytest.approx(1 / CONTACT, rel=0.04)
    assert float(found.conductivity_error) < 0.01 * RESIN


@pytest.mark.long
def test_blocks_and_workers_change_no_bit(tmp_path: Path, two_workers: str) -> None:
    """Generated in other blocks and solved on two workers."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    heights = (20, 24, 28)
    whole = tim3d.bond_line([packed(tmp_path / "a", n, seed=2) for n in heights])
    blocks = tim3d.Options(progress=False, block=(64, 512, 512))
    first = packed(tmp_path / "b", heights[0], seed=2, options=blocks)
    with tim3d.cluster(two_workers):
        shared = [packed(tmp_path / "b", n, seed=2) for n in heights[1:]]
    xr.testing.assert_identical(tim3d.bond_line([first, *shared]), whole)


@pytest.mark.long
def test_the_shell_prints_it_and_writes_its_files(
    sheets: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    typed = [
        "bond-line",
        *sheets,
        "--page",
        "a.html",
        "--csv",
        "a.csv",
        "--json",
        "a.json",
        "--figure",
        "a.png",
    ]
    assert main([*typed, "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "k = 0.2000 W/(m K)" in printed
    assert "R_c = 5.000 K mm²/W a substrate" in printed
    assert "solve with --richardson" in printed
    page = Path("a.html").read_text()
    assert "Thermal impedance and bond line" in page
    assert "data:image/png" in page
    assert Path("a.csv").read_text().startswith("variable,sample,value")
    again = xr.Dataset.from_dict(json.loads(Path("a.json").read_text()))
    assert float(again.conductivity) == pytest.approx(RESIN, rel=1e-6)
    assert Path("a.png").stat().st_size > 5000
    assert main([*typed, "--quiet"]) == 0  # its own files are replaced


@pytest.mark.parametrize(
    ("orientation", "k", "is_said"),
    [((1, 1, 1), 5.0, False), ((1, 1, 1), [5, 300, 300], True), ((1, 0, 0), [5, 300, 300], False)],
)
def test_a_tensor_that_is_tilted_against_the_axes_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, orientation: Any, k: Any, is_said: bool
) -> None:
    """Plates that all point along an axis have their tensor along the axes."""
    plates = Overlapping(Grains((60.0,), (1.0,), 0.3, orientation), 0.3, (10.0,) * 3, seed=1)
    sample = str(tmp_path / "plates.zarr")
    tim3d.generate(sample, plates, shape=(12, 12, 12), options=QUIET)
    tim3d.solve(sample, conductivity={"matrix": 0.2, "filler": k}, options=QUIET)
    said = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert any("point in several directions" in one for one in said) == is_said


def refused(kind: type[Tim3dError], says: str, samples: list[str], **more: Any) -> None:
    with pytest.raises(kind, match=says):
        tim3d.bond_line(samples, **more)


def test_what_is_no_line_is_refused(sheets: list[str], tmp_path: Path) -> None:
    refused(
        ArgumentError,
        "needs 3 bond lines or more, and 2 are given: tim3d bond-line thin.zarr",
        sheets[:2],
    )
    refused(InputError, "given twice", [sheets[0], sheets[0], sheets[1]])
    refused(ArgumentError, "--level is 1", sheets, level=1.0)
    refused(ArgumentError, "heat flows along z, y or x", sheets, axis="w")
    refused(MissingFieldError, "solved along z, and not along y", sheets, axis="y")
    refused(
        ArgumentError,
        "no phase 'copper'; there are resin, substrate",
        sheets,
        substrates=["copper"],
    )
    refused(ArgumentError, "names all phases", sheets, substrates=["resin", "substrate"])
    refused(MissingFieldError, "holds no results of solve", sheets, transport="other")
    refused(ArgumentError, "--page a.html", sheets, page="a.pdf")
    (tmp_path / "c").mkdir()
    same = [sheet(folder, 8) for folder in _folders(tmp_path)]
    refused(InputError, "a line needs several", same)


@dataclass(frozen=True)
class Columns(Sheet):
    """Resin and plate side by side, so that heat passes the resin by."""

    kind = "columns"

    def labels(self, box: Box) -> np.ndarray:
        x = np.arange(box.start[2], box.stop[2])
        return np.broadcast_to(x < 2, box.shape).astype(np.uint8)


def test_substrates_that_resist_more_than_the_whole_are_refused(tmp_path: Path) -> None:
    samples = []
    for slices in (6, 9, 12):
        samples.append(str(tmp_path / f"{slices}.zarr"))
        tim3d.generate(samples[-1], Columns(slices), shape=(slices, 4, 4), options=QUIET)
        tim3d.solve(samples[-1], conductivity={"resin": 0.2, "substrate": METAL}, options=QUIET)
    refused(InputError, "the substrates of 6 alone would resist", samples, substrates=["resin"])


def _folders(path: Path) -> list[Path]:
    found = [path / name for name in "def"]
    for one in found:
        one.mkdir()
    return found


@pytest.mark.long
def test_what_is_not_alike_is_refused(sheets: list[str], tmp_path: Path) -> None:
    others = {
        "conductivity is .*0.2.* in sheet8 and .*0.3": {"conductivity": {"resin": 0.3, "substrate": METAL}},
        "interface is": {"interface": {"resin:substrate": 1e6}},
        "contact is none in sheet8": {"contact": 1e6},
        "sides is": {"sides": "periodic"},
    }  # fmt: skip
    for n, (says, more) in enumerate(others.items()):
        refused(InputError, says, [*sheets[:3], sheet(tmp_path, 30 + n, **more)])
    odd = sheet(tmp_path, 40, units="1")
    refused(InputError, "needs conductivities in W m-1 K-1", [*sheets[:3], odd])
    centred = sheet(tmp_path, 41, faces="centres")
    refused(InputError, "solve without --cell and --faces", [*sheets[:3], centred])


def test_which_result_is_meant_is_asked_for_and_an_old_one_is_refused(
    sheets: list[str], tmp_path: Path
) -> None:
    twice = sheet(tmp_path, 14)
    tim3d.solve(twice, conductivity=K, options=QUIET)
    refused(
        ArgumentError,
        "several results of solve along z: .* --transport phase_",
        [*sheets[:3], twice],
    )
    bare = str(tmp_path / "bare.zarr")
    tim3d.generate(bare, Sheet(16), shape=(22, 4, 4), options=QUIET)
    refused(
        MissingFieldError, "along nothing, and not along z. Run: tim3d solve", [*sheets[:3], bare]
    )
    old = sheet(tmp_path, 20)
    again = tim3d.Options(progress=False, overwrite=True)
    tim3d.generate(old, Sheet(22), shape=(26, 4, 4), options=again)
    refused(MixedRunError, "sheet20", [*sheets[:3], old])
