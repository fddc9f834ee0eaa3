"""Corrections do what they say on stacks whose defect is known, the same in any blocks and after a kill."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import tim3d
from tim3d.cli.recipe import plan_recipe
from tim3d.corrections import Align, Brightness, Correction, Crop, Fill, NonLocal, Variation
from tim3d.errors import ArgumentError, InputError, MixedRunError, Tim3dError
from tim3d.storage import store

QUIET = tim3d.Options(progress=False)
SHAPE = (29, 72, 80)
# What the defects of these stacks look like to the audit of `ingest`.
FINDINGS = ("blank", "saturated", "duplicates", "jumps", "drift", "bar")


def structure(shape: tuple[int, int, int] = SHAPE, seed: int = 1) -> np.ndarray:
    """A smooth field, periodic in the plane."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    field = ndimage.gaussian_filter(noise, (5, 3, 3), mode="wrap")
    return field / field.std()


def moved(field: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Slices displaced by any number of pixels, exactly."""
    fy, fx = np.fft.fftfreq(field.shape[1])[:, None], np.fft.rfftfreq(field.shape[2])[None]
    turn = np.exp(-2j * np.pi * (fy * y[:, None, None] + fx * x[:, None, None]))
    return np.fft.irfft2(np.fft.rfft2(field) * turn, s=field.shape[1:])


def grey(field: np.ndarray, noise: float = 4.0) -> np.ndarray:
    values = 60 + 110 / (1 + np.exp(-3 * field))
    noisy = values + noise * np.random.default_rng(5).standard_normal(field.shape)
    return np.rint(noisy).clip(1, 254).astype(np.uint8)


def sample_of(path: Path, voxels: np.ndarray, shard: int = 64) -> str:
    np.save(path.with_suffix(".npy"), voxels)
    tim3d.ingest(
        path.with_suffix(".npy"),
        str(path),
        voxel_size={"z": 20, "y": 10, "x": 10},
        accept=FINDINGS,
        shard=(shard, 64, 64),
        options=QUIET,
    )
    return str(path)


def test_a_box_is_cropped_from_whole_slices(tmp_path: Path) -> None:
    voxels = grey(structure())
    sample = sample_of(tmp_path / "a.zarr", voxels, shard=4)
    made = tim3d.prepare(sample, [Crop(z=slice(3, -2), x=slice(10, 70), bar=9)], options=QUIET)
    assert np.array_equal(made.values, voxels[3:-2, :-9, 10:70])
    about = tim3d.open_dataset(sample, "prepared_slices")
    assert np.allclose(about.grey_mean, voxels[3:-2, :-9, 10:70].mean(axis=(1, 2)))
    record = store.node_attributes(sample, "prepared")
    assert record["command"] == "tim3d prepare SAMPLE crop:z=3:-2,x=10:70,bar=9"
    assert record["inputs"] == {"raw": store.fingerprint_of(sample, "raw")}


def test_a_box_beyond_the_stack_is_refused(tmp_path: Path) -> None:
    sample = sample_of(tmp_path / "a.zarr", grey(structure()))
    for step in (Crop(bar=72), Crop(y=slice(0, 90)), Crop(z=slice(40, 50))):
        with pytest.raises(ArgumentError, match="crop"):
            tim3d.prepare(sample, [step], options=QUIET)
    assert not any(name.startswith("prepared") for name in store.nodes(sample))


@pytest.mark.parametrize("size", [0.5, 1.0])
def test_jitter_is_taken_back_and_a_tilt_stays(size: float, tmp_path: Path) -> None:
    rng, z = np.random.default_rng(3), np.arange(SHAPE[0])
    jitter = [rng.normal(0, size, SHAPE[0]) for _ in range(2)]
    tilt = 0.7 * z
    sample = sample_of(tmp_path / "a.zarr", grey(moved(structure(), tilt + jitter[0], jitter[1])))
    tim3d.prepare(sample, [Align(window=20)], options=QUIET)
    table = tim3d.open_dataset(sample, "prepared_align")
    for axis, true in zip("yx", jitter, strict=True):
        rest = table[f"shift_{axis}"].values - true
        assert (rest - np.polyval(np.polyfit(z, rest, 1), z)).std() < 0.35 * size
        assert abs(np.polyfit(z, table[f"shift_{axis}"].values, 1)[0]) < 0.02
    assert np.polyfit(z, table.trend_y.values, 1)[0] == pytest.approx(0.7, abs=0.1)


def test_a_slope_of_the_structure_stays_where_all_is_removed(tmp_path: Path) -> None:
    z = np.arange(SHAPE[0])
    sample = sample_of(tmp_path / "a.zarr", grey(moved(structure(), 0.9 * z, 0 * z)))
    tim3d.prepare(sample, [Align(remove="all", slope=(0.4, 0.0))], options=QUIET)
    table = tim3d.open_dataset(sample, "prepared_align")
    assert np.polyfit(z, table.shift_y.values, 1)[0] == pytest.approx(0.5, abs=0.1)


def test_whole_displacements_give_back_the_pixels_themselves(tmp_path: Path) -> None:
    rng, voxels = np.random.default_rng(7), grey(structure())
    places = rng.integers(-3, 4, (2, SHAPE[0]))
    places[:, 0] = 0
    rolled = np.stack([np.roll(s, p, (0, 1)) for s, p in zip(voxels, places.T, strict=True)])
    sample = sample_of(tmp_path / "a.zarr", rolled)
    rows = [f"{n},{y},{x}\n" for n, (y, x) in enumerate(places.T)]
    (tmp_path / "own.csv").write_text("slice,shift_y,shift_x\n" + "".join(rows))
    steps = [Align(table=str(tmp_path / "own.csv"), interpolation="cubic")]
    made = tim3d.prepare(sample, steps, options=QUIET).values
    y, x = (max(0, -p.min()) for p in places)
    assert np.array_equal(made, voxels[:, y : y + made.shape[1], x : x + made.shape[2]])
    frame = [Align(table=str(tmp_path / "own.csv"), pad="edge")]
    assert tim3d.prepare(sample, frame, out="frame", options=QUIET).shape == SHAPE


def test_a_blank_slice_is_placed_by_its_neighbours(tmp_path: Path) -> None:
    voxels = grey(structure())
    voxels[11] = 17
    sample = sample_of(tmp_path / "a.zarr", voxels)
    tim3d.prepare(sample, [Align(remove="all")], options=QUIET)
    table = tim3d.open_dataset(sample, "prepared_align")
    assert table.outlier.values[11] == 1
    assert abs(np.diff(table.drift_y.values)[9:13]).max() < 0.3


def test_what_align_cannot_know_is_a_warning_and_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    voxels = grey(structure())
    voxels[11] = 17  # blank: unlike the slices around it
    voxels[20:] = grey(structure(seed=2))[20:]  # other content from here on
    sample = sample_of(tmp_path / "a.zarr", voxels)
    tim3d.prepare(sample, [Align()], options=QUIET)
    kept = tim3d.open_dataset(sample, "prepared_align").attrs["doubts"]
    assert "slices 11, 20 are unlike the one before" in kept[0]
    assert f"align: {kept[0]}" in caplog.messages
    caplog.clear()
    tim3d.prepare(sample, [Align()], options=QUIET)  # answered, and said again
    assert f"align: {kept[0]}" in caplog.messages


def test_a_crop_of_much_of_the_frame_is_a_warning_also_of_a_given_table(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sample = sample_of(tmp_path / "a.zarr", grey(structure()))
    shift = np.where(np.arange(SHAPE[0]) == 7, 36, 0)
    rows = [f"{z},{y},0\n" for z, y in enumerate(shift)]
    (tmp_path / "own.csv").write_text("slice,shift_y,shift_x\n" + "".join(rows))
    tim3d.prepare(sample, [Align(table=str(tmp_path / "own.csv"))], options=QUIET)
    (said,) = tim3d.open_dataset(sample, "prepared_align").attrs["doubts"]
    assert "50 % of the frame is cropped; slice 7 moves farthest, 36.0 pixels" in said
    assert f"align: {said}" in caplog.messages


def test_a_good_stack_has_no_doubts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sample = sample_of(tmp_path / "a.zarr", grey(structure()))
    tim3d.prepare(sample, [Align(), Fill(), Brightness()], options=QUIET)
    assert not [one for one in caplog.records if one.levelname == "WARNING"]
    assert "doubts" not in tim3d.open_dataset(sample, "prepared_align").attrs


def test_bad_slices_are_found_and_interpolated(tmp_path: Path) -> None:
    clean = grey(structure())
    voxels = clean.copy()
    voxels[4] = 9  # blank
    voxels[9, :50] = 255  # saturated
    voxels[14] = voxels[13]  # a copy
    voxels[20] = clean[20, ::-1, ::-1]  # another place
    sample = sample_of(tmp_path / "a.zarr", voxels, shard=4)
    made = tim3d.prepare(sample, [Fill()], options=QUIET).values
    table = tim3d.open_dataset(sample, "prepared_fill")
    assert {int(z): int(f) for z, f in enumerate(table.fault.values) if f} == {
        4: 1,
        9: 2,
        14: 3,
        20: 4,
    }
    expected = clean.copy()
    for z in (4, 9, 14, 20):
        mean = (clean[z - 1].astype(np.float32) + clean[z + 1].astype(np.float32)) / 2
        expected[z] = np.rint(mean)
    assert np.array_equal(made, expected)


def test_missing_slices_are_interpolated_at_their_places(tmp_path: Path) -> None:
    clean = grey(structure())
    sample = sample_of(tmp_path / "a.zarr", np.delete(clean, [6, 7], axis=0))
    made = tim3d.prepare(sample, [Fill(missing=(6, 7))], options=QUIET).values
    assert made.shape == clean.shape
    assert np.array_equal(np.delete(made, [6, 7], axis=0), np.delete(clean, [6, 7], axis=0))
    a, b = clean[5].astype(float), clean[8].astype(float)
    assert np.abs(made[6] - (2 * a + b) / 3).max() <= 0.51


def test_a_copy_that_is_left_out_closes_the_gap(tmp_path: Path) -> None:
    clean = grey(structure())
    sample = sample_of(tmp_path / "a.zarr", np.insert(clean, 8, clean[7], axis=0))
    made = tim3d.prepare(sample, [Fill(copies="leave-out")], options=QUIET).values
    assert np.array_equal(made, clean)


def with_a_copy() -> np.ndarray:
    """Slices that jitter, the one of number 14 a copy, above a bar that holds another number in each."""
    voxels = grey(moved(structure(), *np.random.default_rng(2).normal(0, 1, (2, SHAPE[0]))))
    voxels[14] = voxels[13]
    voxels[:, -4:] = np.arange(SHAPE[0], dtype=np.uint8)[:, None, None]
    return voxels


@pytest.mark.long
@pytest.mark.parametrize("block", [4, 12])
def test_a_copy_is_found_though_the_alignment_moves_it(tmp_path: Path, block: int) -> None:
    sample = sample_of(tmp_path / "a.zarr", with_a_copy(), shard=4)
    options = tim3d.Options(block=(block, 128, 128), progress=False)
    first = [Crop(z=slice(2, None), bar=4), Align()]
    aligned = tim3d.prepare(sample, first, out="aligned", options=options).values
    made = tim3d.prepare(sample, [*first, Fill()], options=options).values
    table = tim3d.open_dataset(sample, "prepared_fill")
    assert not np.array_equal(aligned[11], aligned[12])  # slices 13 and 14 of the stack
    assert np.flatnonzero(table.fault).tolist() == [12]
    expected = aligned.copy()
    expected[12] = np.rint((aligned[11].astype(np.float32) + aligned[13]) / 2)
    assert np.array_equal(made, expected)


def test_a_copy_that_an_earlier_run_moved_is_a_doubt(tmp_path: Path) -> None:
    sample = sample_of(tmp_path / "a.zarr", with_a_copy())
    tim3d.prepare(sample, [Crop(bar=4), Align()], out="aligned", options=QUIET)
    tim3d.prepare(sample, [Fill()], field="aligned", only_tables=True, options=QUIET)
    (said,) = tim3d.open_dataset(sample, "prepared_fill").attrs["doubts"]
    assert said.startswith("slice 14 is nearly the one before")
    assert said.endswith("Then type fill:bad=14")


STEPS = [Crop(z=slice(1, None), bar=5), Align(window=12), Fill(missing=(4,))]


@pytest.mark.long
def test_no_block_and_no_shard_shows(tmp_path: Path) -> None:
    voxels = grey(moved(structure(), *np.random.default_rng(2).normal(0, 1, (2, SHAPE[0]))))
    found = []
    for shard, block in ((29, 29), (4, 4), (4, 12), (7, 21)):
        sample = sample_of(tmp_path / f"{shard}-{block}.zarr", voxels, shard=shard)
        options = tim3d.Options(block=(block, 128, 128), progress=False)
        found.append(tim3d.prepare(sample, STEPS, options=options).values)
    assert all(np.array_equal(found[0], other) for other in found[1:])


@pytest.mark.long
def test_steps_together_are_steps_field_to_field(tmp_path: Path) -> None:
    voxels = grey(moved(structure(), *np.random.default_rng(2).normal(0, 1, (2, SHAPE[0]))))
    sample = sample_of(tmp_path / "a.zarr", voxels, shard=8)
    together = tim3d.prepare(sample, STEPS, options=QUIET)
    field = "raw"
    for number, step in enumerate(STEPS):
        one = tim3d.prepare(sample, [step], field=field, out=f"one{number}", options=QUIET)
        field = f"one{number}"
    assert np.array_equal(together, one)


@dataclass(frozen=True)
class Failing(Correction):
    """Fails at a slice as long as a file lies there."""

    z: int
    while_there: str

    kind = "failing"

    def correct(self, grey: np.ndarray, first: int) -> np.ndarray:
        if first <= self.z < first + len(grey) and Path(self.while_there).exists():
            raise KeyboardInterrupt
        return grey


@pytest.mark.long
def test_an_interrupted_run_goes_on_with_the_blocks_that_are_left(tmp_path: Path) -> None:
    sample = sample_of(tmp_path / "a.zarr", grey(structure()), shard=4)
    (tmp_path / "stop").touch()
    steps = [*STEPS, Failing(17, str(tmp_path / "stop"))]
    with pytest.raises(KeyboardInterrupt):
        tim3d.prepare(sample, steps, options=QUIET)
    (tmp_path / "stop").unlink()
    left, *_ = tim3d.plan("prepare", sample, steps)
    assert 0 < left.left < left.blocks
    made = tim3d.prepare(sample, steps, options=QUIET)
    assert np.array_equal(made, tim3d.prepare(sample, STEPS, out="whole", options=QUIET))
    assert tim3d.plan("prepare", sample, steps) == []


def test_other_steps_under_the_same_name_are_refused(tmp_path: Path) -> None:
    sample = sample_of(tmp_path / "a.zarr", grey(structure()))
    tim3d.prepare(sample, [Crop(bar=5)], options=QUIET)
    with pytest.raises(MixedRunError, match="another-name"):
        tim3d.prepare(sample, [Crop(bar=6)], options=QUIET)
    again = tim3d.Options(progress=False, overwrite=True)
    assert tim3d.prepare(sample, [Crop(bar=6)], options=again).shape[1] == SHAPE[1] - 6


def test_a_table_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    sample = sample_of(tmp_path / "a.zarr", grey(structure()))
    own = tmp_path / "own.csv"
    for content, message in {
        "slice,shift_y\n0,1\n": "shift_x",
        "slice,shift_y,shift_x\n0,1,1\n": "one for each slice",
        "slice,shift_y,shift_x\n0,1,nan\n": "finite",
        "": "first line",
    }.items():
        own.write_text(content)
        with pytest.raises(InputError, match=message):
            tim3d.prepare(sample, [Align(table=str(own))], options=QUIET)
    assert not any(name.startswith("prepared") for name in store.nodes(sample))


@pytest.mark.parametrize(
    ("step", "text", "message"),
    [
        (Brightness, "slice,gain,offset\n0,1,0\n1,0,0\n", "slice 1 has gain 0; expected a number above"),
        (Brightness, "slice,gain,offset\n0,1,0\n1,-1,0\n", "slice 1 has gain -1; expected a number"),
        (NonLocal, "slice,noise\n0,5\n1,-5\n", "slice 1 has noise -5; expected 0 or more"),
        (Variation, "slice,noise\n0,5\n1,-5\n", "slice 1 has noise -5; expected 0 or more"),
        (Fill, "slice,place,good\n0,0,1\n1,1,7\n", "slice 1 has good 7; expected 1 or 0"),
        (Align, "slice;shift_y;shift_x\n0;1,0;0\n1;1,0;0\n", "semicolons.*with commas"),
        (Align, "slice,shift_y,shift_x\n0,1,0\n0,1,0\n", "two rows for slice 0.*is 1"),
        (Align, "slice,shift_y,shift_x\n0,1,0\n2,1,0\n", "2 rows.*is 1"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_is_refused_with_its_slice(
    step: type, text: str, message: str, tmp_path: Path
) -> None:
    sample = sample_of(tmp_path / "a.zarr", grey(structure((2, 72, 80))))
    (tmp_path / "own.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        tim3d.prepare(sample, [step(table=str(tmp_path / "own.csv"))], options=QUIET)
    assert not any(name.startswith("prepared") for name in store.nodes(sample))


def test_an_edited_table_is_never_replaced(tmp_path: Path) -> None:
    sample = sample_of(tmp_path / "a.zarr", grey(structure()))
    tim3d.prepare(sample, [Align()], only_tables=True, tables=tmp_path, options=QUIET)
    edited = (tmp_path / "align.csv").read_text() + "\n"
    (tmp_path / "align.csv").write_text(edited)
    with pytest.raises(Tim3dError, match="another table"):
        tim3d.prepare(sample, [Align()], tables=tmp_path, options=QUIET)
    assert (tmp_path / "align.csv").read_text() == edited


# Of each step what is given, and for every parameter another value.
PARAMETERS: dict[type, tuple[dict[str, Any], dict[str, Any]]] = {
    Crop: ({}, {"z": slice(1, None), "y": slice(2, None), "x": slice(2, None), "bar": 3}),
    Align: (
        {"remove": "all"},
        {
            "remove": "trend",
            "slope": (0.2, 0.0),
            "y": slice(0, 40),
            "x": slice(0, 40),
            "interpolation": "linear",
            "pad": "edge",
            "table": "align.csv",
            "window": 12.0,
        },
    ),
    Fill: (
        {},
        {"bad": (4,), "missing": (7,), "find": False, "copies": "leave-out", "table": "fill.csv"},
    ),
}


@pytest.mark.parametrize("kind", PARAMETERS)
@pytest.mark.long
def test_a_parameter_of_a_step_gives_another_field(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    voxels = grey(moved(structure(), *np.random.default_rng(2).normal(0, 1, (2, SHAPE[0]))))
    voxels[9] = voxels[8]
    sample = sample_of(tmp_path / "a.zarr", voxels)
    for name, columns in (("align", "shift_y,shift_x"), ("fill", "place,good")):
        rows = [f"{z},{z if name == 'fill' else 2},{1}\n" for z in range(SHAPE[0])]
        Path(f"{name}.csv").write_text(f"slice,{columns}\n" + "".join(rows))
    given, others = PARAMETERS[kind]
    assert {one.name for one in dataclasses.fields(kind)} == set(others)
    first = tim3d.prepare(sample, [kind(**given)], options=QUIET).values
    for name, value in others.items():
        # The window decides nothing where all is removed.
        base = given if name != "window" else {"remove": "jitter"}
        step = kind(**{**base, name: value})
        made = tim3d.prepare(sample, [step], out=f"of_{name}", options=QUIET).values
        assert made.shape != first.shape or not np.array_equal(made, first), name
        assert len({store.fingerprint_of(sample, n) for n in ("prepared", f"of_{name}")}) == 2


@pytest.mark.long
def test_the_report_shows_what_each_step_changed(tmp_path: Path) -> None:
    voxels = grey(moved(structure(), *np.random.default_rng(2).normal(0, 1, (2, SHAPE[0]))))
    sample = sample_of(tmp_path / "a.zarr", voxels, shard=8)
    made = tim3d.prepare(sample, STEPS, options=QUIET)
    found = tim3d.open_dataset(sample, "prepared_steps")
    assert found.stage.values.tolist() == ["as it was", "1 crop", "2 align", "3 fill"]
    chosen = found.attrs["slices"]
    assert np.array_equal(found.voxels[-1], np.bincount(made[chosen].values.ravel(), minlength=256))
    assert float(found["mean"][-1]) == pytest.approx(float(made[chosen].mean()))
    page = tim3d.report(sample, tmp_path / "a.html", raw="raw").read_text()
    assert "<h2>Preparation</h2>" in page
    assert "by how much every slice was moved back" in page


def test_a_recipe_gives_steps_as_words_or_as_tables(tmp_path: Path) -> None:
    sample_of(tmp_path / "a.zarr", grey(structure()))
    words = 'steps = ["crop:y=0:60,bar=20", "align:window=12,pad=edge"]'
    tables = """
    [[step.steps]]
    step = "crop"
    y = "0:60"
    bar = 20
    [[step.steps]]
    step = "align"
    window = 12
    pad = "edge"
    """
    for name, steps in (("words", words), ("tables", tables)):
        head = f'sample = "{tmp_path}/a.zarr"\n[[step]]\nverb = "prepare"\nout = "{name}"\n'
        (tmp_path / "r.toml").write_text(head + steps)
        tim3d.run_recipe(tmp_path / "r.toml", trust=True, progress=False)
    parameters = [
        store.node_attributes(str(tmp_path / "a.zarr"), n)["parameters"]
        for n in ("words", "tables")
    ]
    assert parameters[0] == parameters[1]
    assert parameters[0]["steps"][0]["y"] == [0, 60]


def test_a_recipe_is_planned_before_anything_exists(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", grey(structure()))
    (tmp_path / "r.toml").write_text(
        f"""
        sample = "{tmp_path}/a.zarr"
        [[step]]
        verb = "ingest"
        source = "{tmp_path}/a.npy"
        voxel_size = "20,10,10"
        [[step]]
        verb = "prepare"
        steps = ["align", "fill"]
        [[step]]
        verb = "segment"
        field = "prepared"
        method = "otsu"
        phases = "pore=0,solid=1"
        """
    )
    plans = dict(plan_recipe(tmp_path / "r.toml", trust=True))
    names = [plan.name for plan in plans["prepare"]]
    assert names[:4] == ["prepared_align", "prepared_fill", "prepared_steps", "prepared/s0"]
    assert plans["segment"]
    assert not (tmp_path / "a.zarr").exists()


def test_a_recipe_may_name_a_table_that_a_step_before_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder beneath it: planned before the table is there, and applied when it is."""
    monkeypatch.chdir(tmp_path)
    sample_of(tmp_path / "a.zarr", grey(structure()))
    (tmp_path / "r.toml").write_text(
        "sample = 'a.zarr'\n"
        "[[step]]\nname = 'look'\nverb = 'prepare'\nsteps = 'brightness'\nout = 'measured'\n"
        "only_tables = true\ntables = 'tables'\n"
        "[[step]]\nverb = 'prepare'\nsteps = 'brightness:table=tables/brightness.csv'\n"
    )
    tim3d.run_recipe("r.toml", progress=False)
    by_hand = tim3d.open_field("a.zarr", "prepared").values
    tim3d.prepare("a.zarr", [Brightness(table=Path("tables/brightness.csv"))], options=QUIET)
    direct = tim3d.prepare("a.zarr", [Brightness()], out="direct", options=QUIET)
    assert np.array_equal(by_hand, direct.values)
    tim3d.run_recipe("r.toml", progress=False)
    with pytest.raises(InputError, match=r"wrong\.csv cannot be read"):
        tim3d.run_recipe(
            "r.toml", ["prepare.steps=brightness:table=tables/wrong.csv"], progress=False
        )
