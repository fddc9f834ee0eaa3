"""The verb `likeness`: halves of one stack are alike, and each change is found by what should see it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import tim3d
from tests.traced import traced_peak
from tim3d.cli.main import main
from tim3d.errors import ArgumentError, InputError
from tim3d.plotting import crop_map_figure, crop_pairs_figure, grey_look_figure
from tim3d.reporting.likeness import rows, says
from tim3d.stages.imaging.adaptations import Stack
from tim3d.stages.imaging.likeness import Comparing
from tim3d.stages.inspection.checks import CHECKS
from tim3d.storage import store

pytest.importorskip("sklearn", reason="forests need scikit-learn: pip install 'tim3d[likeness]'")
QUIET = tim3d.Options(progress=False)
# Voxels of three lengths.
SIZE = {"z": 20.0, "y": 5.0, "x": 10.0}
FEW = {"crop": 16, "regions": 6, "count": 6, "relabellings": 99, "options": QUIET}
CHANGES = ("half", "shifted", "blurred", "noisy", "shuffled")


def ingest(
    sample: str,
    name: str,
    values: np.ndarray,
    size: dict[str, float] = SIZE,
    shard: tuple[int, int, int] = (8, 32, 32),
) -> None:
    path = Path(sample).parent / "volume.npy"
    np.save(path, values)
    tim3d.ingest(
        path, sample, voxel_size=size, field=name, accept=list(CHECKS), shard=shard, options=QUIET
    )  # fmt: skip


def stack(seed: int, depth: int = 10) -> np.ndarray:
    """Two phases under noise, with the same lengths in nm along all axes."""
    random = np.random.default_rng(seed)
    lengths = [30.0 / SIZE[axis] for axis in "zyx"]
    field = ndimage.gaussian_filter(random.standard_normal((depth, 192, 96)), lengths, mode="wrap")
    grey = np.where(field > 0, 150.0, 80.0) + random.normal(0, 8, field.shape)
    return grey.round().clip(0, 255).astype(np.uint8)


def changed(grey: np.ndarray) -> dict[str, np.ndarray]:
    """The same half of a stack, and after each change."""
    random = np.random.default_rng(9)
    blurred = ndimage.gaussian_filter(grey.astype(float), (0, 1.2, 0.6))
    noisy = grey + random.normal(0, 12, grey.shape)
    shuffled = np.stack([random.permutation(one.ravel()).reshape(one.shape) for one in grey])
    every = {"half": grey, "shifted": grey + 20.0, "blurred": blurred, "noisy": noisy}
    every["shuffled"] = shuffled
    return {name: v.round().clip(0, 255).astype(np.uint8) for name, v in every.items()}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """One half of a stack in several looks, and the other half."""
    folder, whole = tmp_path_factory.mktemp("likeness"), stack(1, 20)
    mine, real = str(folder / "mine.zarr"), str(folder / "real.zarr")
    for name, values in changed(whole[:10]).items():
        ingest(mine, name, values)
    ingest(real, "raw", whole[10:])
    return mine, real


@pytest.fixture(scope="module")
def found(pair: tuple[str, str]) -> xr.Dataset:
    return tim3d.likeness(*pair, fields=CHANGES, **FEW)


def p_of(found: xr.Dataset, field: str) -> dict[str, float]:
    values = found["p_value"].sel(field=field)
    return dict(zip(map(str, found["quantity"].values), values.values.tolist(), strict=True))


@pytest.mark.long
def test_halves_of_one_stack_are_alike(found: xr.Dataset) -> None:
    half = found.sel(field="half")
    area, kernel = (half.sel(quantity=q) for q in ("classifier_auc", "kernel_distance"))
    assert abs(float(area["value"]) - 0.5) < 2 * float(area["chance_deviation"])
    assert abs(float(kernel["value"])) < 3 * float(kernel["chance_deviation"])
    assert min(p_of(found, "half").values()) > 0.01


@pytest.mark.long
@pytest.mark.parametrize(
    ("field", "seen", "missed"),
    [
        ("shifted", ["histogram_distance", "classifier_auc", "kernel_distance"],
         ["entropy_difference", "spectrum_distance"]),
        ("blurred", ["spectrum_distance", "classifier_auc", "kernel_distance", "entropy_difference"], []),
        ("noisy", ["spectrum_distance", "entropy_difference", "classifier_auc", "kernel_distance"], []),
        # The law of entropy: the histogram of a shuffled slice is that of the slice.
        (
            "shuffled",
            ["correlation_distance_z", "correlation_distance_y", "correlation_distance_x", "spectrum_distance",
             "classifier_auc", "kernel_distance"],
            ["entropy_difference", "histogram_distance"],
        ),
    ],
)  # fmt: skip
def test_a_change_is_found_by_what_should_see_it(
    found: xr.Dataset, field: str, seen: list[str], missed: list[str]
) -> None:
    p = p_of(found, field)
    assert {q: p[q] for q in seen if p[q] > 0.05} == {}
    assert {q: p[q] for q in missed if p[q] < 0.05} == {}


@pytest.mark.long
def test_no_figure_depends_on_what_else_is_judged_or_on_the_blocks(
    pair: tuple[str, str], found: xr.Dataset, tmp_path: Path
) -> None:
    mine, real = str(tmp_path / "mine.zarr"), pair[1]
    ingest(mine, "half", stack(1, 20)[:10], shard=(10, 16, 48))
    alone = tim3d.likeness(mine, real, fields=["half"], out="one", **FEW)
    assert alone["value"].identical(found["value"].sel(field=["half"]))
    assert np.array_equal(alone["spectrum"], found["spectrum"].sel(stack=["half", "real"]))
    kept = tim3d.open_dataset(mine, "one")
    assert kept["p_value"].identical(alone["p_value"])
    assert tim3d.plan("likeness", mine, real, fields=["half"], out="one", **FEW) == []


@pytest.mark.long
def test_the_result_is_shown(found: xr.Dataset, pair: tuple[str, str], tmp_path: Path) -> None:
    assert len(rows(found)) == found.sizes["quantity"]
    assert "Entropy of regions in bit" in " ".join(says(found))
    assert len(grey_look_figure(found).axes) == 6
    assert len(crop_pairs_figure(found).axes) == 4 * (len(CHANGES) + 1)
    labels = crop_map_figure(found).axes[0].get_legend_handles_labels()[1]
    assert labels == [*CHANGES, "real"]
    page = Path(tim3d.report(pair[0], tmp_path / "page.html", raw="half")).read_text()
    assert "Likeness to a real stack" in page
    assert set(found["unit"].values) == {"bit", "grey level", "1", "dB"}
    assert all(str(one) for one in found["reference"].values)


@pytest.mark.long
def test_it_runs_from_the_shell_within_its_plan(
    pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, real = pair
    typed = [
        "likeness",
        mine,
        real,
        "--fields",
        "half,noisy",
        "--crop",
        "16",
        "--relabellings",
        "20",
    ]
    (plan,) = tim3d.plan("likeness", mine, real, fields=["half", "noisy"], crop=16, relabellings=20)
    assert main([*typed, "--plan"]) == 0
    assert "in one process; peak" in capsys.readouterr().out
    assert plan.data_bytes > traced_peak(
        lambda: main([*typed, "--quiet", "--figure", str(tmp_path / "a.png")])
    )
    assert "kernel_distance" in capsys.readouterr().out


@pytest.mark.long
def test_deep_grey_values_and_one_mode(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    a, b = str(tmp_path / "a.zarr"), str(tmp_path / "b.zarr")
    for name, seed in ((a, 1), (b, 2)):
        one = np.random.default_rng(seed).normal(30000, 500, (4, 64, 64))
        ingest(name, "raw", one.astype(np.uint16))
    found = tim3d.likeness(a, b, **FEW)
    assert found.attrs["class_width"] == 16
    assert min(p_of(found, "raw").values()) > 0.01
    # Slices of another thickness have no common lags along z.
    ingest(
        str(tmp_path / "c.zarr"),
        "raw",
        random.normal(30000, 500, (4, 64, 64)).astype(np.uint16),
        SIZE | {"z": 7.0},
    )
    assert np.isnan(
        float(
            tim3d.likeness(str(tmp_path / "c.zarr"), b, **FEW)["value"].sel(
                quantity="correlation_distance_z"
            )[0]
        )
    )


@pytest.mark.parametrize(
    "change", [{"seed": 7}, {"crop": 24}, {"count": 9}, {"relabellings": 150}, {"regions": 5}]
)
def test_every_number_decides_which_comparison_it_is(
    pair: tuple[str, str], change: dict[str, int]
) -> None:
    """Before anything is compared: the hash of the question."""
    usual: dict[str, Any] = {"crop": 32, "count": 12, "relabellings": 200, "regions": 6, "seed": 0}
    stacks = [
        Stack(url, store.complete_field(url, n))
        for url, n in zip(pair, ("half", "raw"), strict=True)
    ]
    marks = [
        Comparing((stacks[0],), stacks[1], **how).making("a").fingerprint
        for how in (usual, usual, usual | change)
    ]
    assert marks[0] == marks[1] != marks[2]


def test_bad_input_is_refused_before_work(pair: tuple[str, str], tmp_path: Path) -> None:
    mine, real = pair
    flat, other, small = (str(tmp_path / f"{n}.zarr") for n in ("flat", "other", "small"))
    ingest(flat, "raw", np.full((4, 64, 64), 7, np.uint8))
    ingest(other, "raw", stack(2, 4), SIZE | {"x": 20.0})
    ingest(small, "raw", stack(2, 4)[:, :40, :40])
    ingest(small, "deep", stack(2, 4)[:, :40, :40].astype(np.uint16))
    for given, words in (
        ({"fields": []}, "no field: name each field once"),
        ({"fields": ["half", "half"]}, "name each field once"),
        ({"crop": 3}, "--crop 3 is not from 4"),
        ({"regions": 3}, "--regions 3 is not from 4"),
        ({"count": 0}, "--count 0"),
        ({"relabellings": 5}, "--relabellings 5 is not from 20"),
        ({"seed": -1}, "--seed -1"),
        ({"like": mine, "like_field": "half"}, "is compared with itself"),
        ({"like": other}, "is 5 x 10 nm and one of .* 5 x 20 nm: make the structure with pixels"),
        ({"like": small, "like_field": "deep"}, "holds uint8 and .* uint16"),
    ):
        with pytest.raises(ArgumentError, match=words):
            tim3d.likeness(**{"sample": mine, "like": real, "fields": ["half"], **FEW} | given)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="192 x 96 pixels, fewer than a crop of 128: --crop 96"):
        tim3d.likeness(mine, real, fields=["half"], crop=128, options=QUIET)
    with pytest.raises(
        InputError, match="has 2 regions that lie a crop's edge apart, and 4 are needed"
    ):
        tim3d.likeness(mine, small, fields=["half"], **FEW)
    with pytest.raises(InputError, match="have one grey value: there is nothing to compare"):
        tim3d.likeness(flat, real, **FEW)
