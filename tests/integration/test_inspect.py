"""What is suspicious about a stack is found, at its place and by its number; a clean stack has nothing."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage

import tim3d
from tim3d.cli.main import main
from tim3d.errors import ArgumentError, InputError, MixedRunError
from tim3d.kernels.image.fibsem_simulation import simulate_fibsem
from tim3d.plotting import inspection_figure
from tim3d.sources import open_source
from tim3d.stages.inspection.checks import CHECKS
from tim3d.storage import store

Volume = NDArray[Any]
QUIET = tim3d.Options(progress=False)
SIZE = {"z": 10.0, "y": 10.0, "x": 10.0}
NZ = 24


@pytest.fixture(scope="module")
def clean() -> Volume:
    """A simulated stack with noise, curtains and slow drift of the brightness."""
    return simulate_fibsem((NZ, 160, 144), (10.0, 10.0, 10.0), 0.65, 80.0, seed=0)[0]


def inspected(volume: Volume, folder: Path, **options: Any) -> xr.Dataset:
    np.save(folder / "v.npy", volume)
    return tim3d.inspect(folder / "v.npy", progress=False, **options)


def findings(found: xr.Dataset) -> dict[str, Mapping[str, Any]]:
    return {one["name"]: one for one in found.attrs["findings"]}


def write_slices(folder: Path, volume: Volume, names: Sequence[str] = ()) -> Path:
    folder.mkdir()
    for z, picture in enumerate(volume):
        tifffile.imwrite(folder / (names[z] if names else f"s_{z:04d}.tif"), picture)
    return folder


def write_fiji(folder: Path, volume: Volume) -> Path:
    """Slices as Fiji saves them, with pixels of 10 nm and nothing said of z."""
    folder.mkdir()
    scale = {"resolution": (100, 100), "metadata": {"unit": "um"}}
    for z, picture in enumerate(volume):
        tifffile.imwrite(folder / f"s_{z}.tif", picture, imagej=True, **scale)
    return folder


def paths(folder: Path) -> list[str]:
    return sorted(str(one.relative_to(folder)) for one in folder.rglob("*"))


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((16, 64, 64), (20.0, 10.0, 10.0)),
        ((12, 128, 200), (10.0, 5.0, 5.0)),
        ((12, 256, 256), (40.0, 5.0, 5.0)),
    ],
)
@pytest.mark.parametrize("deep", [False, True])
def test_clean_stacks_have_no_finding(
    tmp_path: Path, shape: tuple[int, int, int], spacing: tuple[float, float, float], deep: bool
) -> None:
    volume = simulate_fibsem(shape, spacing, 0.65, 80.0, seed=3)[0]
    found = inspected(
        volume, tmp_path, deep=deep, voxel_size=dict(zip("zyx", spacing, strict=True))
    )
    assert found.attrs["findings"] == []


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_type_of_the_grey_values_does_not_matter(
    tmp_path: Path, clean: Volume, dtype: type
) -> None:
    scale = {np.uint8: 1, np.uint16: 200, np.float32: 1 / 7}[dtype]
    volume = (clean * scale).astype(dtype)
    assert inspected(volume, tmp_path).attrs["findings"] == []
    volume[7] = volume[7].mean()
    assert list(findings(inspected(volume, tmp_path))) == ["blank"]


@pytest.mark.parametrize("level", [0, 97, 255])
@pytest.mark.parametrize("at", [[0], [11], [NZ - 1], [5, 6, 20]])
def test_blank_slices_are_found_where_they_are(
    tmp_path: Path, clean: Volume, level: int, at: list[int]
) -> None:
    volume = clean.copy()
    volume[at] = level
    found = findings(inspected(volume, tmp_path))
    assert found["blank"]["slices"] == at
    assert set(found) == {"blank"}


@pytest.mark.parametrize("share", [0.1, 0.3, 0.9])
def test_a_slice_that_ends_early_is_found(tmp_path: Path, clean: Volume, share: float) -> None:
    volume = clean.copy()
    volume[9, int(160 * (1 - share)) :] = 0
    assert findings(inspected(volume, tmp_path))["blank"]["slices"] == [9]


@pytest.mark.parametrize(("share", "alarm"), [(0.02, False), (0.2, True), (0.5, True)])
@pytest.mark.parametrize("end", ["low", "high"])
def test_grey_values_that_were_cut_off_are_found(
    tmp_path: Path, clean: Volume, share: float, alarm: bool, end: str
) -> None:
    limit = np.quantile(clean, share if end == "low" else 1 - share)
    volume = np.maximum(clean, limit) if end == "low" else np.minimum(clean, limit)
    found = inspected(volume.astype(np.uint8), tmp_path, deep=True)
    assert ("saturated" in findings(found)) == alarm
    assert float(found[f"saturated_{end}"].mean()) == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("noise", [0, 1, 2])
def test_a_slice_that_was_saved_twice_is_found(tmp_path: Path, clean: Volume, noise: int) -> None:
    """Compressed anew it differs a little."""
    volume = clean.copy()
    change = np.random.default_rng(0).integers(-noise, noise + 1, volume[4].shape)
    volume[5] = np.clip(volume[4] + change, 0, 255)
    assert findings(inspected(volume, tmp_path))["duplicates"]["slices"] == [5]


def test_a_copy_far_from_its_original_is_found(tmp_path: Path, clean: Volume) -> None:
    volume = clean.copy()
    volume[19] = volume[2]
    one = findings(inspected(volume, tmp_path))["duplicates"]
    assert one["slices"] == [19]
    assert "slice 19 has the same pixels as slice 2" in one["text"]


@pytest.mark.parametrize(("step", "alarm"), [(4, False), (30, True), (60, True)])
@pytest.mark.parametrize("behind", [False, True])
def test_jumps_of_the_brightness_are_found(
    tmp_path: Path, clean: Volume, step: int, alarm: bool, behind: bool
) -> None:
    """Of one slice, or of all behind it; a step of 4 of a deviation of 50 is none."""
    volume = clean.astype(np.float32)
    volume[10 : None if behind else 11] += step
    found = findings(inspected(volume, tmp_path))
    assert ("jumps" in found) == alarm
    assert not alarm or found["jumps"]["slices"] == [10]


@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_a_jump_of_the_contrast_is_found(tmp_path: Path, clean: Volume, gain: float) -> None:
    volume = clean.astype(np.float32)
    volume[10:] = volume.mean() + gain * (volume[10:] - volume.mean())
    assert findings(inspected(volume, tmp_path))["jumps"]["slices"] == [10]


def displaced(volume: Volume, shifts: NDArray[np.float64]) -> Volume:
    moved = [
        ndimage.shift(one.astype(np.float32), shift, order=1, mode="reflect")
        for one, shift in zip(volume, shifts, strict=True)
    ]
    return np.asarray(moved, np.float32).round().astype(np.uint8)


@pytest.mark.parametrize(("scatter", "alarm"), [(0.1, False), (1.0, True), (2.5, True)])
def test_slices_that_jump_to_and_fro_are_found(
    tmp_path: Path, clean: Volume, scatter: float, alarm: bool
) -> None:
    shifts = np.random.default_rng(5).normal(0, scatter, (NZ, 2))
    found = inspected(displaced(clean, shifts), tmp_path)
    assert ("drift" in findings(found)) == alarm
    told = np.stack([found.shift_y.values, found.shift_x.values], axis=1)[1:]
    assert np.median(np.abs(told - np.diff(shifts, axis=0))) < 0.3


@pytest.mark.parametrize(("step", "alarm"), [(0.3, False), (1.0, True), (2.0, True)])
def test_a_steady_drift_is_found(tmp_path: Path, clean: Volume, step: float, alarm: bool) -> None:
    shifts = np.stack([step * np.arange(NZ), 0.5 * step * np.arange(NZ)], axis=1)
    found = inspected(displaced(clean, shifts), tmp_path, voxel_size=SIZE)
    assert ("drift" in findings(found)) == alarm
    assert float(found.shift_y.median()) == pytest.approx(step, abs=0.2)
    assert float(found.shift_x.median()) == pytest.approx(step / 2, abs=0.2)


def test_the_slope_of_a_drift_goes_by_the_voxels(tmp_path: Path, clean: Volume) -> None:
    """A pixel of 5 nm between slices 40 nm apart is a slope of an eighth."""
    volume = displaced(clean, np.stack([np.arange(NZ), np.zeros(NZ)], axis=1))
    flat = inspected(volume, tmp_path, voxel_size={"z": 40, "y": 5, "x": 40})
    assert "drift" not in findings(flat)
    steep = findings(inspected(volume, tmp_path, voxel_size={"z": 10, "y": 20, "x": 5}))
    assert steep["drift"]["measured"] == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize("leap", [4, 12])
def test_a_leap_of_the_stage_is_found_where_it_is(tmp_path: Path, clean: Volume, leap: int) -> None:
    volume = clean.copy()
    volume[13:] = np.roll(volume[13:], leap, axis=1)
    assert findings(inspected(volume, tmp_path))["drift"]["slices"] == [13]


@pytest.mark.parametrize("side", ["bottom", "top", "left", "right"])
@pytest.mark.parametrize("rows", [5, 20, 50])
@pytest.mark.parametrize("text", [False, True])
def test_an_info_bar_is_found_with_its_height(
    tmp_path: Path, clean: Volume, side: str, rows: int, text: bool
) -> None:
    """Black, or with a white line and writing, a part of which differs from slice to slice."""
    rng = np.random.default_rng(1)
    bar = np.zeros((NZ, rows, 144), np.uint8)
    if text:
        bar[:, 0] = 255
        bar[:, 2:-1, 10:90] = 255 * (rng.random((max(rows - 3, 0), 80)) > 0.6)
        bar[:, 2:-1, 100:115] = 255 * (rng.random((NZ, max(rows - 3, 0), 15)) > 0.6)
    turns = {"bottom": 0, "right": 1, "top": 2, "left": 3}[side]
    volume = np.rot90(np.concatenate([clean, bar], axis=1), turns, axes=(1, 2))
    found = findings(inspected(volume, tmp_path))
    assert found["bar"]["measured"] == rows
    assert side in found["bar"]["text"]
    # The black of a bar is not that of the detector.
    assert set(found) == {"bar"}
    word = {
        "bottom": f"bar={rows}",
        "top": f"y={rows}:",
        "left": f"x={rows}:",
        "right": f"x=:-{rows}",
    }
    assert found["bar"]["cure"].endswith(f"tim3d prepare SAMPLE crop:{word[side]}")


def test_a_blank_slice_above_an_info_bar_is_no_jump_and_not_saturated(
    tmp_path: Path, clean: Volume
) -> None:
    bar = np.zeros((NZ, 20, 144), np.uint8)
    bar[:, 5:15, 10:100:3] = 255
    volume = np.concatenate([clean, bar], axis=1)
    volume[9, :160] = 255
    found = findings(inspected(volume, tmp_path))
    assert set(found) == {"bar", "blank"}
    assert found["blank"]["slices"] == [9]
    # Nor is a slice of which a part is missing.
    volume = clean.copy()
    volume[9, 60:] = 0
    assert set(findings(inspected(volume, tmp_path))) == {"blank"}


def test_what_is_advised_against_missing_slices_puts_the_stack_right(
    tmp_path: Path, clean: Volume
) -> None:
    folder = write_slices(tmp_path / "s", clean)
    for z in (3, 7, 8):
        (folder / f"s_{z:04d}.tif").unlink()
    cure = findings(tim3d.inspect(folder, progress=False))["gaps"]["cure"]
    assert "--accept gaps" in cure
    word = cure.split("tim3d prepare SAMPLE ")[1]
    sample = str(tmp_path / "a.zarr")
    assert (
        main(
            [
                "ingest",
                str(folder),
                sample,
                "--voxel-size",
                "20,10,10",
                "--accept",
                "gaps",
                "--quiet",
            ]
        )
        == 0
    )
    assert main(["prepare", sample, word, "--quiet"]) == 0
    made = tim3d.open_field(sample, "prepared").values
    assert made.shape == clean.shape
    kept = [z for z in range(NZ) if z not in (3, 7, 8)]
    assert np.array_equal(made[kept], clean[kept])


def test_a_round_field_of_view_has_no_bar(tmp_path: Path, clean: Volume) -> None:
    y, x = np.indices(clean.shape[1:])
    outside = (y - 79.5) ** 2 / 80**2 + (x - 71.5) ** 2 / 72**2 > 1
    assert "bar" not in findings(inspected(np.where(outside, 0, clean), tmp_path))


@pytest.mark.parametrize("missing", [[7], [7, 8, 9], [3, 15]])
def test_missing_numbers_are_found(tmp_path: Path, clean: Volume, missing: list[int]) -> None:
    folder = write_slices(tmp_path / "s", clean)
    for z in missing:
        (folder / f"s_{z:04d}.tif").unlink()
    one = findings(tim3d.inspect(folder, progress=False))["gaps"]
    assert one["measured"] == len(missing)
    assert one["slices"][0] == missing[0] - 1
    assert f"s_{missing[0] - 1:04d}.tif" in one["text"]


def test_a_missing_position_is_found_and_uneven_ones_are_not(tmp_path: Path) -> None:
    steps = np.random.default_rng(0).uniform(9, 14, 12)
    z = np.concatenate([[0], np.cumsum(steps)])
    volume = np.random.default_rng(1).integers(0, 255, (13, 16, 16)).astype(np.uint8)
    names = [f"s_z={one / 1000:.4f}um.tif" for one in z]
    folder = write_slices(tmp_path / "s", volume, names)
    assert tim3d.inspect(folder, progress=False).attrs["findings"] == []
    (folder / names[6]).unlink()
    assert findings(tim3d.inspect(folder, progress=False))["gaps"]["slices"] == [5]


def test_a_dash_before_every_number_is_asked_about(tmp_path: Path, clean: Volume) -> None:
    names = [f"s_-{z + 1}.tif" for z in range(4)]
    one = findings(tim3d.inspect(write_slices(tmp_path / "s", clean[:4], names), progress=False))
    assert "first s_-4.tif, last s_-1.tif" in one["negative"]["text"]


@pytest.mark.parametrize(
    ("shape", "judged"),
    [
        ((1, 40, 40), {"blank", "saturated"}),
        ((20, 16, 16), set()),
        ((9, 40, 48), {"blank", "saturated", "duplicates", "jumps"}),
    ],
)
def test_what_is_too_small_to_be_judged_says_so(
    tmp_path: Path, shape: tuple[int, int, int], judged: set[str]
) -> None:
    volume = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    found = inspected(volume, tmp_path)
    assert found.attrs["findings"] == []
    silent = {one["name"] for one in found.attrs["not_judged"]}
    assert set(CHECKS) - silent - {"gaps", "negative", "voxel"} == judged
    assert all(one["why"] for one in found.attrs["not_judged"])


def test_noise_without_structure_has_no_drift_that_could_be_judged(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(0, 255, (12, 96, 96)).astype(np.uint8)
    found = inspected(volume, tmp_path)
    assert found.attrs["findings"] == []
    assert [one["name"] for one in found.attrs["not_judged"]] == ["drift"]


def test_labels_are_judged_by_their_names_only(tmp_path: Path, clean: Volume) -> None:
    """So are grey values of which there are few."""
    labels = (clean > 100).astype(np.uint8)
    labels[5] = 1
    folder = write_slices(tmp_path / "s", labels)
    (folder / "s_0009.tif").unlink()
    found = tim3d.inspect(folder, labels=True, progress=False)
    assert set(findings(found)) == {"gaps"}
    assert found.data_vars == {}
    unnamed = tim3d.inspect(folder, progress=False)
    assert any("name them: --phases" in one["why"] for one in unnamed.attrs["not_judged"])
    made = tim3d.ingest(
        folder, str(tmp_path / "a.zarr"), voxel_size=SIZE, phases=tim3d.Phases(pore=0, solid=1),
        accept=["gaps"], options=QUIET,
    )  # fmt: skip
    assert made.sizes["z"] == NZ - 1


def test_the_numbers_do_not_depend_on_how_the_stack_is_stored(
    tmp_path: Path, clean: Volume
) -> None:
    """One file, files of slices, chunks, and runs of slices of any length: the same numbers, bit for bit."""
    whole = inspected(clean, tmp_path)
    tifffile.imwrite(tmp_path / "v.tif", clean, compression="zlib")
    beside = tim3d.inspect(write_slices(tmp_path / "s", clean), progress=False)
    xr.testing.assert_identical(whole.drop_attrs(), beside.drop_attrs())
    xr.testing.assert_identical(
        whole.drop_attrs(), tim3d.inspect(tmp_path / "v.tif", progress=False).drop_attrs()
    )
    tall = np.tile(clean, (4, 1, 1))[:90]
    first = inspected(tall[:64], tmp_path).drop_attrs()
    xr.testing.assert_identical(
        first.drop_vars(["saturated_low", "saturated_high"]),
        inspected(tall, tmp_path)
        .drop_attrs()
        .isel(slice=slice(0, 64))
        .drop_vars(["saturated_low", "saturated_high"]),
    )


def test_it_says_what_is_read_and_where_each_length_is_from(tmp_path: Path, clean: Volume) -> None:
    folder = write_fiji(tmp_path / "s", clean[:3])
    reads = dict(tim3d.inspect(folder, voxel_size={"z": 20}, progress=False).attrs["reads"])
    assert reads["slices"] == "3 of 160 x 144 pixels (y, x)"
    assert reads["first"] == "s_0.tif"
    assert reads["last"] == "s_2.tif"
    assert reads["voxel along z"] == "20 nm (given)"
    assert reads["voxel along y"] == "10 nm (ImageJ metadata)"
    unknown = dict(tim3d.inspect(folder, progress=False).attrs["reads"])
    assert unknown["voxel along z"] == "not known (ImageJ metadata); type --voxel-size z=10"


def suspicious(folder: Path, clean: Volume) -> Path:
    """A stack with a gap and a blank slice."""
    volume = clean.copy()
    volume[12] = 0
    stack = write_slices(folder / "s", volume)
    (stack / "s_0005.tif").unlink()
    return stack


def test_ingest_stops_at_what_is_suspicious_and_writes_nothing(
    tmp_path: Path,
    clean: Volume,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    suspicious(tmp_path, clean)
    before = paths(tmp_path)
    assert main(["ingest", "s", "a.zarr", "--voxel-size", "10,10,10"]) == 3
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("tim3d: ")]
    assert "gaps: numbers jump from 4 to 6 (s_0004.tif, s_0006.tif): 1 slices are missing" in line
    assert "blank: slice 11 (s_0012.tif)" in line
    assert "tim3d inspect s" in line
    assert line.endswith("--accept gaps,blank")
    assert paths(tmp_path) == before


def test_what_is_accepted_is_recorded_and_decides_no_number(tmp_path: Path, clean: Volume) -> None:
    stack, url = suspicious(tmp_path, clean), str(tmp_path / "a.zarr")
    with pytest.raises(InputError, match=r"--accept gaps,blank$"):
        tim3d.ingest(stack, url, voxel_size=SIZE, accept=["blank"], options=QUIET)
    made = tim3d.ingest(stack, url, voxel_size=SIZE, accept=["blank", "gaps"], options=QUIET)
    record = store.node_attributes(url, "raw")
    assert set(record["accepted"]) == {"gaps", "blank"}
    assert "slice 11" in record["accepted"]["blank"]
    assert "accept" not in record["parameters"]
    again = tim3d.ingest(stack, url, voxel_size=SIZE, options=QUIET)
    assert again.equals(made)
    assert tim3d.validate(url, deep=True) == []
    kept = tim3d.open_dataset(url, "raw_inspection")
    assert {one["name"] for one in kept.attrs["findings"]} == {"gaps", "blank"}
    assert kept.attrs["names"][11] == "s_0012.tif"
    assert kept.drop_attrs().equals(tim3d.inspect(stack, progress=False).drop_attrs())


def test_a_clean_stack_records_nothing_accepted(tmp_path: Path, clean: Volume) -> None:
    url = str(tmp_path / "a.zarr")
    stack = write_slices(tmp_path / "s", clean)
    tim3d.ingest(stack, url, voxel_size=SIZE, accept=["drift"], options=QUIET)
    assert "accepted" not in store.node_attributes(url, "raw")


def test_an_unknown_finding_is_refused_with_the_ones_there_are(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"--accept blnk.*did you mean 'blank'.*gaps, negative"):
        tim3d.ingest("s", str(tmp_path / "a.zarr"), accept=["blnk"], options=QUIET)


def test_another_stack_under_the_same_name_is_refused_before_it_is_read(
    tmp_path: Path, clean: Volume
) -> None:
    url = str(tmp_path / "a.zarr")
    np.save(tmp_path / "v.npy", clean)
    tim3d.ingest(tmp_path / "v.npy", url, voxel_size=SIZE, options=QUIET)
    with pytest.raises(MixedRunError):
        tim3d.ingest(suspicious(tmp_path, clean), url, voxel_size=SIZE, options=QUIET)


def test_the_plan_says_that_the_stack_is_read_once_more(tmp_path: Path, clean: Volume) -> None:
    np.save(tmp_path / "v.npy", clean)
    url = str(tmp_path / "a.zarr")
    first, *_ = tim3d.plan("ingest", tmp_path / "v.npy", url, voxel_size=SIZE)
    assert "once" in str(first)
    assert "gaps, negative, blank" in str(first)
    tim3d.ingest(tmp_path / "v.npy", url, voxel_size=SIZE, options=QUIET)
    assert tim3d.plan("ingest", tmp_path / "v.npy", url, voxel_size=SIZE) == []


def test_the_shell_prints_a_table_and_keeps_json_and_a_figure(
    tmp_path: Path,
    clean: Volume,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    suspicious(tmp_path, clean)
    before = set(paths(tmp_path))
    typed = ["inspect", "s", "--json", "a.json", "--figure", "a.png", "--quiet"]
    assert main(typed) == 0
    shown = capsys.readouterr().out
    assert "s_0000.tif" in shown
    assert "blank" in shown
    assert "--accept gaps,blank" in shown
    kept = json.loads(Path("a.json").read_text())
    assert [one["name"] for one in kept["findings"]] == ["gaps", "blank"]
    assert len(kept["slices"]["mean"]) == NZ - 1
    assert kept["slices"]["shift_y"][0] is None
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")
    assert set(paths(tmp_path)) - before == {"a.json", "a.png"}
    assert main(typed) == 0  # its own files are written again, others are not
    Path("a.json").write_text("{}")
    assert main(typed) == 2


def test_the_figure_marks_what_was_found(tmp_path: Path, clean: Volume) -> None:
    found = tim3d.inspect(suspicious(tmp_path, clean), progress=False)
    brightness, displacement, difference = inspection_figure(found).axes
    assert "blank" in [text.get_text() for text in brightness.get_legend().get_texts()]
    assert displacement.get_ylabel() == "displacement (pixels)"
    assert difference.get_xlabel().startswith("slice")
    labels = tim3d.inspect(tmp_path / "s", labels=True, progress=False)
    assert inspection_figure(labels).axes[0].texts


def test_the_recipe_for_a_stack_asks_for_the_distance_of_slices(
    tmp_path: Path, clean: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It states none, and accepts nothing."""
    recipe = Path(__file__).parents[2] / "pipelines" / "fibsem.toml"
    (ingest,) = (s for s in tomllib.loads(recipe.read_text())["step"] if s["verb"] == "ingest")
    assert set(ingest) == {"verb", "source"}
    monkeypatch.chdir(tmp_path)
    write_fiji(tmp_path / "s", clean[:4])
    with pytest.raises(InputError, match=r"along z is not known.*--set ingest\.voxel_size=z=10$"):
        tim3d.run_recipe(recipe, ["ingest.source=s", "cluster.kind=serial"])
    assert paths(tmp_path) == sorted(["s", *(f"s/s_{z}.tif" for z in range(4))])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("flyem-fibsem/slices", marks=pytest.mark.long),
        pytest.param("volumes/electrode-256.tiff", marks=pytest.mark.long),
        "volumes/threephase-100.tiff",
        "volumes/fiberform-100.tif",
        "micrographs/porous-silver.tif",
    ],
)
def test_real_stacks_without_a_fault_have_no_finding(data_dir: Path, name: str) -> None:
    assert tim3d.inspect(data_dir / name, progress=False).attrs["findings"] == []


@pytest.mark.long
def test_the_real_stack_that_was_not_aligned_is_found(data_dir: Path) -> None:
    found = tim3d.inspect(data_dir / "shale-fibsem", progress=False)
    assert list(findings(found)) == ["drift"]


def test_a_real_stack_with_a_drift_of_a_pixel_is_found(data_dir: Path, tmp_path: Path) -> None:
    """The drift that adds 11 % of surface."""
    files = sorted((data_dir / "flyem-fibsem/slices").iterdir())[:24]
    volume = open_source(files).read(0, 24)
    shifts = np.stack([np.arange(24.0), 0.5 * np.arange(24)], axis=1)
    assert list(findings(inspected(displaced(volume, shifts), tmp_path))) == ["drift"]


@pytest.mark.parametrize(
    ("typed", "units", "said"),
    [
        ({"z": 10, "y": 5, "x": 5}, "um", "10000 nm along z, larger"),
        ({"z": 60, "y": 60, "x": 60}, "pm", "0.06 nm along z, smaller"),
        ({"z": 300, "y": 5, "x": 5}, "nm", "60 times as long along z (300 nm) as along y (5 nm)"),
    ],
)
def test_an_implausible_voxel_size_stops_ingest_until_it_is_accepted(
    tmp_path: Path, clean: Volume, typed: dict[str, float], units: str, said: str
) -> None:
    np.save(tmp_path / "a.npy", clean[:4])
    given = {"voxel_size": typed, "units": units, "options": QUIET}
    for labels in ({}, {"phases": tim3d.Phases(all=0)}):
        source = tmp_path / "a.npy" if not labels else tmp_path / "b.npy"
        np.save(tmp_path / "b.npy", np.zeros((4, 40, 40), np.uint8))
        with pytest.raises(InputError, match=r"--accept voxel$") as refused:
            tim3d.ingest(source, str(tmp_path / "a.zarr"), **given, **labels)
        assert said in str(refused.value)
    tim3d.ingest(tmp_path / "a.npy", str(tmp_path / "a.zarr"), accept=["voxel"], **given)
    assert said in store.node_attributes(str(tmp_path / "a.zarr"), "raw")["accepted"]["voxel"]


@pytest.mark.parametrize("size", [(100, 4, 4), (0.2, 0.2, 0.2), (1500, 1500, 1500), (20, 5, 5)])
def test_a_usual_voxel_size_is_no_finding(
    tmp_path: Path, clean: Volume, size: tuple[float, float, float]
) -> None:
    found = inspected(clean[:4], tmp_path, voxel_size=dict(zip("zyx", size, strict=True)))
    assert "voxel" not in findings(found)


def test_the_error_of_many_findings_is_short_and_names_all(
    tmp_path: Path, clean: Volume, capsys: pytest.CaptureFixture[str]
) -> None:
    bar = np.zeros((NZ, 20, 144), np.uint8)
    volume = np.concatenate([clean, bar], axis=1)
    volume[9] = 0
    volume[15:] = np.roll(volume[15:], 12, axis=2)
    names = [f"a_long_name_of_a_sample_and_a_detector_{z:04d}.tif" for z in range(NZ)]
    folder = write_slices(tmp_path / "s", volume, names)
    (folder / names[5]).unlink()
    typed = [
        "ingest",
        str(folder),
        str(tmp_path / "a.zarr"),
        "--voxel-size",
        "10,10,10",
        "--units",
        "um",
    ]
    assert main([*typed, "--quiet"]) == 3
    said = capsys.readouterr().err.replace(str(tmp_path), "")
    assert len(said) < 1000
    assert said.endswith("--accept gaps,blank,drift,bar,voxel\n")
    assert "fill:missing=5" in said
    assert "Then there is drift, bar, voxel" in said


@pytest.mark.parametrize(
    ("without", "is_bar"),
    [([74, 149], False), ([37, 112], False), ([0, 74], False), ([1, 63, 64, 100, 127, 128], True), ([], True)],
)  # fmt: skip
def test_a_bar_is_sought_in_slices_at_equal_distances(
    tmp_path: Path, without: list[int], is_bar: bool
) -> None:
    """Five, from the first to the last, in whatever runs slices are read: most of the neighbours among them have it."""
    volume = np.random.default_rng(0).integers(1, 255, (150, 70, 72)).astype(np.uint8)
    volume[:, :9] = 0
    volume[without] = np.random.default_rng(1).integers(1, 255, (len(without), 70, 72))
    assert ("bar" in findings(inspected(volume, tmp_path))) == is_bar


@pytest.mark.parametrize("rows", [0, 20, 80])
def test_the_share_that_was_cut_off_is_that_of_the_image_without_its_bar(
    tmp_path: Path, clean: Volume, rows: int
) -> None:
    limit = np.quantile(clean, 0.7)
    bar = np.zeros((NZ, rows, 144), np.uint8)
    volume = np.concatenate([np.minimum(clean, limit).astype(np.uint8), bar], axis=1)
    found = inspected(volume, tmp_path, deep=True)
    assert ("bar" in findings(found)) == (rows > 0)
    share = (volume[:, :160] == volume.max()).mean()
    assert float(found.saturated_high.mean()) == pytest.approx(share, rel=0.02)
    assert findings(found)["saturated"]["measured"] >= share
