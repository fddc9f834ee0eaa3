"""Numbers as they are published: porosity by its name, units that fit, an uncertainty with its kind, regions."""

from __future__ import annotations

import csv
import math
import re
import shlex
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage as ndi

import tim3d
from tim3d.cli.main import main
from tim3d.descriptors.uncertainty import STANDARD_ERROR, uncertainty_of
from tim3d.errors import ArgumentError
from tim3d.kernels.statistics.sampling_error import parts_error
from tim3d.reporting import table
from tim3d.storage import store

QUIET = tim3d.Options(progress=False)
SHAPE, SPACING = (32, 40, 48), {"z": 20.0, "y": 10.0, "x": 10.0}
BLOCK = (8, 20, 24)
PHASES = tim3d.Phases(pore=0, solid=1)


def labels() -> np.ndarray:
    smooth = ndi.gaussian_filter(np.random.default_rng(5).standard_normal(SHAPE), (1, 2, 2))
    return (smooth > np.quantile(smooth, 0.25)).astype(np.uint8)


def ingested(folder: Path, name: str, phases: tim3d.Phases = PHASES) -> str:
    np.save(folder / "labels.npy", labels())
    url = str(folder / name)
    tim3d.ingest(
        folder / "labels.npy", url, voxel_size=SPACING, field="phase", phases=phases, shard=BLOCK, options=QUIET
    )  # fmt: skip
    return url


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Measured in 16 blocks and labelled."""
    url = ingested(tmp_path_factory.mktemp("scientist"), "cu.zarr")
    tim3d.measure(url, options=tim3d.Options(progress=False, block=BLOCK))
    tim3d.label(url, options=QUIET)
    return url


def test_porosity_and_its_relatives_are_the_counted_voxels(sample: str) -> None:
    found, pores = tim3d.describe(sample), labels() == 0
    number, count = ndi.label(pores)
    faces = [number[[0, -1]], number[:, [0, -1]], number[:, :, [0, -1]]]
    outside = set(np.concatenate([f.ravel() for f in faces])) - {0}
    is_open = np.isin(number, list(outside))
    assert len(outside) < count
    assert float(found.porosity) == pytest.approx(pores.mean())
    assert float(found.relative_density) == pytest.approx(1 - pores.mean())
    assert float(found.open_porosity) == is_open.mean()
    assert float(found.closed_porosity) == pytest.approx((pores & ~is_open).mean())
    assert {found[n].attrs["units"] for n in ("porosity", "open_porosity")} == {"1"}


@pytest.mark.parametrize(
    ("names", "given", "pores"),
    [
        (("Void", "cu"), (), ["Void"]),
        (("a", "b"), (), []),
        (("pore", "air"), (), []),  # two: not guessed
        (("pore", "air"), ("air",), ["air"]),
        (("a", "b"), ("a", "b"), ["a", "b"]),
    ],
)
def test_pores_are_named_or_not_guessed(
    tmp_path: Path, names: tuple[str, str], given: tuple[str, ...], pores: list[str]
) -> None:
    url = ingested(tmp_path, "a.zarr", tim3d.Phases(**dict(zip(names, (0, 1), strict=True))))
    tim3d.measure(url, ["phase_fraction"], options=QUIET)
    found = tim3d.describe(url, pore=given)
    assert ("porosity" in found) == bool(pores)
    if pores:
        share = float(found.phase_fraction.sel(phase=pores).sum())
        assert float(found.porosity) == pytest.approx(share)
    with pytest.raises(ArgumentError, match=f"there are the phases {', '.join(names)}"):
        tim3d.describe(url, pore=["nothing"])


def test_a_density_gives_the_surface_of_a_gram(sample: str) -> None:
    found = tim3d.describe(sample, density={"solid": 8.96})
    share = float(found.phase_fraction.sel(phase="solid"))
    per_m3 = found.specific_surface.values * 1e9  # m² per m³
    grams = share * 8.96e6  # in a cubic metre
    np.testing.assert_allclose(found.specific_surface_per_mass, per_m3 / grams)
    assert found.specific_surface_per_mass.attrs["units"] == "m2 g-1"
    assert found.specific_surface_per_mass.attrs["density"] == "solid 8.96 g cm-3"
    for wrong in ({"solid": 0.0}, {"solid": 8960.0}, {"copper": 8.96}):
        with pytest.raises(ArgumentError, match="--density"):
            tim3d.describe(sample, density=wrong)
    with pytest.raises(ArgumentError, match="needs specific_surface"):
        tim3d.describe(sample, ["phase_fraction"], density={"solid": 8.96})


def test_an_error_follows_from_sub_blocks_as_from_regions_of_their_own(sample: str) -> None:
    found = tim3d.describe(sample)
    regions = [
        {"z": slice(z, z + 320), "y": slice(y, y + 200), "x": slice(x, x + 240)}
        for z in (0, 320) for y in (0, 200) for x in (0, 240)
    ]  # fmt: skip
    each = [tim3d.describe(sample, plain=True, **region) for region in regions]
    for name in ("specific_surface", "euler_density", "interface_area"):
        error = parts_error([one[name].values for one in each], np.ones(8))
        np.testing.assert_allclose(found[name + STANDARD_ERROR], error)
        assert found[name].attrs["ancillary_variables"] == name + STANDARD_ERROR
        known = uncertainty_of(name, found)
        assert known is not None
        assert known.kind == "representative volume: 8 sub-blocks"


def test_the_error_of_a_fraction_depends_on_no_block(sample: str, tmp_path: Path) -> None:
    url = ingested(tmp_path, "b.zarr")
    tim3d.measure(url, options=tim3d.Options(progress=False, block=(32, 40, 48)))
    one, many = tim3d.describe(url), tim3d.describe(sample)
    assert one.phase_fraction_standard_error.equals(many.phase_fraction_standard_error)
    assert 0 < float(one.porosity_standard_error) < 0.1
    assert "specific_surface_standard_error" not in one  # one block: nothing is known


def test_a_study_says_it_better(sample: str, tmp_path: Path) -> None:
    url = str(shutil.copytree(sample, tmp_path / "c.zarr"))
    asked = {"phase": "pore", "windows": [12, 16], "options": QUIET}
    study = tim3d.study(url, quantity="porosity", **asked)
    assert study.attrs["quantity"] == "phase_fraction"
    volume = math.prod(n * s for n, s in zip(SHAPE, SPACING.values(), strict=True))
    found = tim3d.describe(url)
    reach = float(study.integral_range * study.point_variance)
    how = "integral range" if math.isfinite(reach) else "windows of one size"
    assert found.porosity_standard_error.attrs["method"].endswith(f"study, {how}")
    if math.isfinite(reach):
        assert float(found.porosity_standard_error) == pytest.approx(math.sqrt(reach / volume))
    region = tim3d.describe(url, z=slice(0, 320))
    assert "study" not in region.phase_fraction_standard_error.attrs["method"]


@pytest.mark.long
def test_what_is_shown_changes_no_stored_number(sample: str, tmp_path: Path) -> None:
    before = {n: store.open_dataset(sample, n) for n in ("phase_descriptors", "phase_partials")}
    plain = tim3d.describe(sample, plain=True)
    tim3d.report(sample, tmp_path / "r.html", density={"solid": 8.96})
    assert all(one.identical(store.open_dataset(sample, n)) for n, one in before.items())
    assert not [n for n in plain if str(n).endswith(STANDARD_ERROR) or n == "porosity"]
    full = tim3d.describe(sample)
    for name in before["phase_descriptors"].data_vars:
        np.testing.assert_array_equal(full[name], before["phase_descriptors"][name])


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_holds_region_uncertainty_and_its_kind(sample: str, tmp_path: Path) -> None:
    assert main(["describe", sample, "--z", "0:320", "--csv", str(tmp_path / "a.csv")]) == 0
    found = tim3d.describe(sample, z=slice(0, 320))
    rows = {(r["variable"], r["phase"]): r for r in read(tmp_path / "a.csv")}
    row = rows["specific_surface", "pore"]
    assert row["region"] == "z 0:320, y 0:400, x 0:480 nm"
    assert (row["units"], float(row["value"])) == (
        "nm-1",
        float(found.specific_surface.sel(phase="pore")),
    )
    error = found.specific_surface_standard_error.sel(phase="pore")
    assert float(row["uncertainty"]) == float(error)
    assert row["uncertainty_kind"] == "representative volume: 8 sub-blocks"
    assert not any(name.endswith(STANDARD_ERROR) for name, _ in rows)
    assert rows["porosity", ""]["uncertainty_kind"]


def test_the_screen_has_fitting_units_and_errors(sample: str, capsys: Any) -> None:
    assert main(["describe", sample]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[::-1]}
    found = tim3d.describe(sample)
    value = 1e3 * float(found.specific_surface.sel(phase="pore"))
    error = 1e3 * float(found.specific_surface_standard_error.sel(phase="pore"))
    shown = f"{table.number(value)} ± {error:#.2g}".removesuffix(".")
    assert lines["specific_surface"].split()[1] == "µm-1"
    assert shown in lines["specific_surface"]
    assert lines["percolates"].split()[1:] == ["z", "1", "yes", "yes"]


def test_every_block_is_a_region_of_a_table_of_its_own(sample: str, tmp_path: Path) -> None:
    tim3d.export(sample, "phase", tmp_path / "regions.csv", regions=True, options=QUIET)
    for row in read(tmp_path / "regions.csv"):
        ends = [f"{a} {float(row[f'{a}_from_nm']):g}:{float(row[f'{a}_to_nm']):g}" for a in "zyx"]
        assert row["region"] == f"{', '.join(ends)} nm"
    rows = [r for r in read(tmp_path / "regions.csv") if r["variable"] == "phase_fraction"]
    rows = [r for r in rows if r["phase"] == "pore"]
    assert len(rows) == 16
    whole, total = 0.0, 0.0
    for row in rows:
        ends = [(float(row[f"{a}_from_nm"]), float(row[f"{a}_to_nm"])) for a in "zyx"]
        inside = tuple(
            slice(round(low / SPACING[a]), round(high / SPACING[a]))
            for a, (low, high) in zip("zyx", ends, strict=True)
        )
        value = (labels()[inside] == 0).mean()
        assert float(row["value"]) == value
        size = math.prod(high - low for low, high in ends)
        whole, total = whole + size * value, total + size
    assert whole / total == pytest.approx(float(tim3d.describe(sample).porosity))
    for wrong in ({"field": "phase_components"}, {"field": "phase", "z": slice(0, 160)}):
        with pytest.raises(ArgumentError, match="--regions lists every block"):
            tim3d.export(sample, out=tmp_path / "x.csv", regions=True, options=QUIET, **wrong)


def listed(text: str) -> list[str]:
    """Commands of the report that add what it lacks."""
    return re.findall(r'<li>.*?: <code class="long">tim3d (.*?)</code>', unescape(text))


@pytest.mark.long
@pytest.mark.parametrize("measured", [False, True])
def test_what_a_report_lacks_stands_with_commands_that_are_accepted(
    sample: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    if measured:
        shutil.copytree(sample, "my cu.zarr")
    else:
        ingested(tmp_path, "my cu.zarr")
    text = tim3d.report("my cu.zarr", "first.html").read_text()
    assert "<h2>Not in this report</h2>" in text
    commands = listed(text)
    wanted = {"study", "solve", "geodesic", "distance"}
    wanted |= {"report", "export"} if measured else {"measure", "label"}
    assert {command.split()[0] for command in commands} == wanted
    for command in commands:  # of several, those behind the first need what it makes
        first = command.partition("; ")[0]
        assert main([*shlex.split(first), "--plan"]) == 0, first


@pytest.mark.long
def test_a_command_that_was_followed_is_not_listed_again(
    sample: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(sample, "a.zarr")
    first = listed(tim3d.report("a.zarr", "first.html").read_text())
    (density,) = [command for command in first if "--density" in command]
    assert main(shlex.split(density)) == 0
    text = Path("first.html").read_text()  # the hint names the file of the report
    assert set(first) - set(listed(text)) == {density}
    assert "specific_surface_per_mass" in text


@pytest.mark.long
def test_a_report_does_not_scroll_sideways_on_a_phone(sample: str, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium on this machine")
    page = tim3d.report(sample, tmp_path / "r.html", title="a" * 80)
    frame = tmp_path / "frame.html"
    # A browser's own window may be no narrower than 500 pixels; a frame is as narrow as it says.
    frame.write_text(
        """<iframe id=f src="r.html" style="width:390px;height:800px;border:0"></iframe>
        <p id=out></p><script>f.onload = () => { const d = f.contentDocument, w = f.contentWindow;
        const small = [...d.querySelectorAll("td, th, p, dd, dt, li, figcaption")].filter(
          e => parseFloat(w.getComputedStyle(e).fontSize) < 14);
        const all = d.documentElement, over = all.scrollWidth - all.clientWidth;
        out.textContent = `over=${over} small=${small.length}`; }</script>"""
    )
    command = [
        *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000"),
        *("--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'p'}", "--dump-dom"),
        frame.as_uri(),
    ]
    seen = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout
    assert page.exists()
    assert "over=0 small=0" in seen, seen[-500:]


def test_an_uncertainty_is_that_of_the_voxel_or_of_the_solver() -> None:
    found = xr.Dataset({"effective_conductivity": ("axis", [2.0]), "flux_spread": ("axis", [0.01])})
    known = uncertainty_of("effective_conductivity", found)
    assert known is not None
    assert (float(known.values[0]), known.kind.split(":")[0]) == (0.02, "solver")
    more = found.assign(effective_conductivity_limit=("axis", [1.75]))
    known = uncertainty_of("effective_conductivity", more)
    assert known is not None
    assert (float(known.values[0]), known.kind.split(":")[0]) == (0.25, "voxel size")
    assert uncertainty_of("flux_spread", found) is None
