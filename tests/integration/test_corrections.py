"""The corrections of grey values through `prepare`: blocks, types and lengths do not show in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import tim3d
from tests.defects import DEFECTS, clean, residual, stack
from tests.traced import OBJECTS, traced_peak
from tim3d.cli.main import main
from tim3d.corrections import (
    Background,
    Brightness,
    Curtain,
    Measured,
    Median,
    NonLocal,
    Stack,
    Tilt,
    Variation,
)

QUIET = tim3d.Options(progress=False)
SIZE = {"z": 20, "y": 10, "x": 10}
STEPS = {
    "tilt": Tilt(52.0, resample=True),
    "brightness": Brightness(),
    "background": Background(240.0),
    "curtain": Curtain(320.0, length_nm=200.0),
    "variational": Curtain(320.0, length_nm=200.0, method="variational"),
    "median": Median(20.0),
    "nonlocal": NonLocal(),
    "variation": Variation(iterations=3),
}


def sample_of(path: Path, grey: np.ndarray, slices: int) -> str:
    np.save(path.with_suffix(".npy"), grey)
    shard = (slices, 128, 128)
    tim3d.ingest(path.with_suffix(".npy"), str(path), voxel_size=SIZE, shard=shard, options=QUIET)
    return str(path)


def defective(dtype) -> np.ndarray:
    grey = clean()[:, :70, :81]
    for name, amount in (("brightness", 0.1), ("curtains", 8.0), ("background", 12.0)):
        grey = DEFECTS[name](grey, amount)
    return stack(grey, dtype)


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> tuple[str, str, str]:
    """One stack with all defects, in shards of 3 and 12 slices; and the stack without them."""
    folder = tmp_path_factory.mktemp("corrections")
    bad, good = defective(np.uint8), stack(clean()[:, :70, :81])
    places = zip(("thin", "thick", "good"), (bad, bad, good), (3, 12, 12), strict=True)
    return tuple(sample_of(folder / f"{name}.zarr", grey, n) for name, grey, n in places)


@pytest.mark.long
@pytest.mark.parametrize("name", STEPS)
def test_no_block_shows_in_a_correction(samples, name):
    made = [tim3d.prepare(one, [STEPS[name]], out=name, options=QUIET) for one in samples[:2]]
    assert np.array_equal(made[0].values, made[1].values)
    assert made[0].dtype == np.uint8
    assert np.ptp(made[0].values) > 0


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.long
def test_no_block_shows_in_all_corrections_of_other_types(tmp_path, dtype):
    steps = [step for name, step in STEPS.items() if name != "variational"]
    made = [
        tim3d.prepare(
            sample_of(tmp_path / f"{n}.zarr", defective(dtype)[:8, :48, :56], n),
            steps,
            options=QUIET,
        )
        for n in (3, 8)
    ]
    assert np.array_equal(made[0].values, made[1].values)
    assert made[0].dtype == dtype


# A value of each parameter other than the one before it.
OTHERS = [
    (Tilt(52.0), Tilt(60.0)),
    (Tilt(52.0), Tilt(52.0, resample=True)),
    (Tilt(52.0, resample=True), Tilt(52.0, resample=True, interpolation="linear")),
    *[
        (Brightness(), other)
        for other in (
            Brightness(low=0.2),
            Brightness(high=0.7),
            Brightness(contrast=False),
            Brightness(slow_nm=40.0),
        )
    ],
    *[
        (Background(240.0), other)
        for other in (
            Background(300.0),
            Background(240.0, phases=1),
            Background(240.0, removal="divide"),
            Background(240.0, rounds=1),
        )
    ],
    *[
        (Curtain(320.0), other)
        for other in (
            Curtain(100.0, length_nm=320.0),
            Curtain(320.0, length_nm=100.0),
            Curtain(320.0, along="x"),
            Curtain(320.0, method="variational"),
            Curtain(320.0, phases=1),
            Curtain(320.0, rounds=1),
            Curtain(320.0, wavelet="db8"),
        )
    ],
    (
        Curtain(320.0, method="variational"),
        Curtain(320.0, method="variational", strength=1.0),
    ),
    (Median(), Median(20.0)),
    (Median(20.0), Median(20.0, planar=True)),
    *[
        (NonLocal(), other)
        for other in (
            NonLocal(strength=0.3),
            NonLocal(search_nm=30.0),
            NonLocal(patch_nm=20.0),
            NonLocal(slices=0),
        )
    ],
    *[
        (Variation(), other)
        for other in (Variation(strength=0.3), Variation(iterations=3), Variation(planar=True))
    ],
]


@pytest.mark.parametrize(("usual", "other"), OTHERS, ids=str)
def test_every_parameter_decides_grey_values(usual, other):
    grey = defective(np.uint8)[:5, :48, :56]
    assert not same(corrected(usual, grey), corrected(other, grey))
    assert same(corrected(usual, grey), corrected(usual, grey))


def corrected(step, grey: np.ndarray) -> tuple[Stack, np.ndarray]:
    """Field and grey values after a correction, its table measured from the same slices."""
    before = Stack(grey.shape, str(grey.dtype), (20.0, 10.0, 10.0))
    step.check(before)
    step, every = ready(step, grey, before), range(len(grey))
    return step.made(before), step.region(before, grey, every, every)


def ready(step, grey: np.ndarray, before: Stack):
    """Correction whose table, if it needs one, is measured."""
    if not isinstance(step, Measured):
        return step
    rows = [step.row(grey[z : z + 1], z) for z in range(len(grey))]
    columns = {name: ("z", [row[name] for row in rows]) for name in rows[0]}
    return step.applied(step.tabulate(xr.Dataset(columns), before))


def same(one: tuple[Stack, np.ndarray], other: tuple[Stack, np.ndarray]) -> bool:
    return one[0] == other[0] and np.array_equal(one[1], other[1])


def test_all_corrections_after_one_another_come_near_the_clean_stack(samples):
    steps = [STEPS[name] for name in ("brightness", "background", "curtain")]
    made = tim3d.prepare(samples[1], steps, out="all", options=QUIET)
    before, wanted = (tim3d.open_field(one, "raw").values for one in samples[1:])
    assert residual(made.values, wanted) < 0.35 * residual(before, wanted)


def test_the_same_medium_in_other_voxels_is_corrected_likewise():
    """Lengths are nanometres: rows twice as high are half as many, and so is the reach along y."""
    fine, coarse = Stack((4, 96, 96), "uint8", (20.0, 10.0, 10.0)), (20.0, 20.0, 10.0)
    assert NonLocal(search_nm=50.0).boxes(fine.spacing_nm)[0] == (1, 5, 5)
    assert NonLocal(search_nm=50.0).boxes(coarse)[0] == (1, 3, 5)
    grey = stack(DEFECTS["background"](clean(), 20.0))[:2]
    found = [
        Background(240.0, phases=1).at(one, spacing) - one.astype(np.float32)
        for one, spacing in ((grey, fine.spacing_nm), (grey[:, ::2], coarse))
    ]
    assert np.abs(found[0][:, ::2] - found[1]).max() < 8.0


def test_tilt_makes_voxels_higher_or_rows_more(samples):
    factor = 1 / np.sin(np.radians(52.0))
    raw = tim3d.open_field(samples[0], "raw")
    higher = tim3d.prepare(samples[0], [Tilt(52.0)], out="higher", options=QUIET)
    assert np.array_equal(higher.values, raw.values)
    assert float(higher.y[1] - higher.y[0]) == pytest.approx(10 * factor)
    more = tim3d.prepare(samples[0], [STEPS["tilt"]], out="tilt", options=QUIET)
    assert more.shape == (12, int(70 * factor), 81)
    assert float(more.y[1] - more.y[0]) == pytest.approx(10)


def test_voxels_at_the_ends_of_the_type_are_counted(samples, tmp_path):
    own = tmp_path / "dark.csv"
    own.write_text("slice,gain,offset\n" + "".join(f"{z},1,{-30 * (z == 3)}\n" for z in range(12)))
    made = tim3d.prepare(samples[0], [Brightness(table=str(own))], out="dark", options=QUIET)
    ends = [tim3d.open_dataset(samples[0], f"{name}_slices") for name in ("raw", "dark")]
    lowest = [table.grey_lowest.values for table in ends]
    assert np.array_equal(lowest[1], (made.values == 0).sum(axis=(1, 2)))
    assert lowest[1][3] > lowest[0][3]
    assert np.array_equal(np.delete(lowest[1], 3), np.delete(lowest[0], 3))
    steps = tim3d.open_dataset(samples[0], "dark_steps")
    assert steps.ends.values[1] >= steps.ends.values[0]


@pytest.mark.long
def test_a_slice_is_shown_beside_what_it_was(samples):
    """The report compares the same slice at both ends of a stack, where the halo is cut."""
    tim3d.prepare(samples[0], [NonLocal(), Variation(iterations=3)], out="shown", options=QUIET)
    steps = tim3d.open_dataset(samples[0], "shown_steps")
    raw, made = (tim3d.open_field(samples[0], name).values for name in ("raw", "shown"))
    chosen = steps.attrs["slices"]
    for stage, grey in ((0, raw), (2, made)):
        assert float(steps["mean"][stage]) == pytest.approx(grey[chosen].mean())


def test_brightness_is_a_table_that_can_be_edited(samples, tmp_path):
    folder = tmp_path / "t"
    tim3d.prepare(
        samples[0], [Brightness()], out="even", tables=folder, only_tables=True, options=QUIET
    )
    rows = (folder / "brightness.csv").read_text().splitlines()
    assert rows[0] == "slice,low,high,gain,offset"
    own = tmp_path / "own.csv"
    own.write_text("slice,gain,offset\n" + "".join(f"{z},1,0\n" for z in range(12)))
    same = tim3d.prepare(samples[0], [Brightness(table=str(own))], out="same", options=QUIET)
    assert np.array_equal(same.values, tim3d.open_field(samples[0], "raw").values)


@pytest.mark.parametrize(
    "wrong",
    [
        Tilt(90.0),
        Tilt(5.0),
        Tilt(52.0, interpolation="spline"),
        Brightness(low=0.95, high=0.05),
        Brightness(slow_nm=-1.0),
        Background(5.0),
        Background(500.0, phases=9),
        Background(500.0, removal="log"),
        Background(500.0, rounds=0),
        Curtain(5.0),
        Curtain(300.0, along="z"),
        Curtain(300.0, method="fourier"),
        Curtain(300.0, wavelet="none"),
        Curtain(300.0, phases=0),
        Curtain(300.0, rounds=0),
        Curtain(300.0, strength=0.0),
        Median(4.0),
        Median(500.0),
        NonLocal(strength=0.0),
        NonLocal(slices=-1),
        NonLocal(search_nm=1.0, slices=0),
        NonLocal(search_nm=2000.0),
        NonLocal(patch_nm=500.0),
        Variation(strength=0.0),
        Variation(iterations=0),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_before_any_work(wrong):
    with pytest.raises(tim3d.Tim3dError):
        wrong.check(Stack((4, 96, 96), "uint8", (20.0, 10.0, 10.0)))


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.long] if n == "variational" else []) for n in STEPS],
)
def test_memory_is_what_the_plan_reckons_with(name):
    """Arrays of numpy at the peak, beside what is given; the kernels of numba hold three rows more."""
    grey = np.tile(defective(np.uint8)[:5], (1, 4, 4))
    before = Stack(grey.shape, "uint8", (20.0, 10.0, 10.0))
    step, every = ready(STEPS[name], grey, before), range(len(grey))
    made = step.region(before, grey, every, every)
    peak = traced_peak(lambda: step.region(before, grey, every, every), times=3)
    # A chain adds twice the result itself.
    foreseen = step.working_bytes(grey.shape) + 2 * made.nbytes
    assert 0.15 * foreseen < peak < foreseen + OBJECTS


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("background", "background needs scale_nm: background:scale_nm=..."),
        ("background:scale_nm=240,removal=log", "removal='log'; it is subtract or divide"),
        ("curtain:width_nm=320,along=z", "along='z'; it is y or x"),
        ("tilt:angle=52,interpolation=spline", "it is linear or cubic"),
        ("tilt:resample=true", "tilt needs angle"),
        ("background:scale_nm=4", "the scale of a background must be 1 pixel or more"),
    ],
)
def test_the_shell_says_what_a_step_needs(samples, words, said, capsys):
    assert main(["prepare", samples[0], *words.split(), "--out", "none"]) == 2
    assert said in capsys.readouterr().err


def test_a_correction_is_the_same_by_its_word_and_in_python(samples):
    words = ["curtain:width_nm=320,length_nm=200", "nonlocal:slices=0", "tilt:angle=52"]
    assert main(["prepare", samples[0], *words, "--out", "words", "--quiet"]) == 0
    steps = [Curtain(320.0, length_nm=200.0), NonLocal(slices=0), Tilt(52.0)]
    made = tim3d.prepare(samples[0], steps, out="values", options=QUIET)
    assert np.array_equal(made.values, tim3d.open_field(samples[0], "words").values)
    assert [str(step) for step in steps] == words
