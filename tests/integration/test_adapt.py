"""The verb `adapt`: histogram and spectrum of another stack, whatever the blocks."""

from pathlib import Path

import numpy as np
import pytest

import tim3d
from tim3d.cli.main import main
from tim3d.errors import ArgumentError, InputError, MixedRunError
from tim3d.generators import GaussianField, LevelCuts
from tim3d.kernels.image.imaging_model import Imaging
from tim3d.kernels.image.spectrum_matching import filter_taps, filtered, power_spectrum
from tim3d.stages.imaging.imaging_file import write_imaging
from tim3d.storage import store

QUIET = tim3d.Options(progress=False)
SPACING = (10.0, 5.0, 5.0)
PHASES = tim3d.Phases(pore=0, solid=1)


def rendered(folder: Path, name: str, look: Imaging, seed: int, spacing: float = 5.0) -> str:
    """A sample with labels and grey values."""
    size = (10.0, spacing, spacing)
    cuts = LevelCuts(GaussianField((60.0,) * 3, size, seed), (0.4, 0.6), PHASES)
    url = str(folder / name)
    tim3d.generate(url, cuts, shape=(11, 50, 70), shard=(8, 16, 32), options=QUIET)
    write_imaging(folder / f"{name}.json", look, {})
    tim3d.render(url, folder / f"{name}.json", seed=seed, options=QUIET)
    return url


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A rendered sample and a stack of another look."""
    folder = tmp_path_factory.mktemp("pair")
    mine = rendered(folder, "a.zarr", Imaging({"pore": 60.0, "solid": 170.0}, read=6.0), 1)
    other = Imaging({"pore": 40.0, "solid": 120.0}, shot=0.5, read=3.0, blur_nm=9.0)
    return mine, rendered(folder, "b.zarr", other, 2)


@pytest.mark.parametrize("to", ["histogram", "spectrum"])
def test_blocks_do_not_show(pair: tuple[str, str], to: str) -> None:
    mine, other = pair
    whole = tim3d.adapt(mine, other, to=to, out=f"{to}_a", options=QUIET).values
    odd = tim3d.Options(progress=False, block=(8, 16, 32))
    cut = tim3d.adapt(mine, other, to=to, out=f"{to}_b", options=odd).values
    assert np.array_equal(cut, whole)
    assert tim3d.plan("adapt", sample=mine, like=other, to=to, out=f"{to}_a") == []
    table = tim3d.open_dataset(mine, f"{to}_b_slices")
    assert table.grey_mean.values == pytest.approx(whole.mean((1, 2)))


def test_the_histogram_is_that_of_the_stack(pair: tuple[str, str]) -> None:
    mine, other = pair
    found = tim3d.adapt(mine, other, to="histogram", out="h", options=QUIET).values
    wanted = tim3d.open_field(other, "raw").values
    quantiles = np.linspace(0.01, 0.99, 40)
    assert np.quantile(found, quantiles) == pytest.approx(np.quantile(wanted, quantiles), abs=1)
    again = tim3d.adapt(mine, other, to="histogram", out="h2", seed=3, options=QUIET).values
    assert np.abs(again.astype(int) - found).max() > 0


def test_the_spectrum_is_a_filter_of_the_whole_stack(pair: tuple[str, str]) -> None:
    mine, other = pair
    grey, wanted = (tim3d.open_field(one, "raw").values for one in pair)
    found = tim3d.adapt(mine, other, to="spectrum", window=16, share=0.5, out="s", options=QUIET)
    taps = filter_taps(power_spectrum(grey, 16), power_spectrum(wanted, 16), 0.5)
    mean = np.float32(grey.mean(dtype=np.float64))
    plain = filtered(np.pad(grey - mean, ((0, 0), (8, 8), (8, 8)), mode="edge"), taps) + mean
    assert np.abs(np.rint(plain).clip(0, 255) - found.values).max() <= 1
    assert found.values.mean() == pytest.approx(grey.mean(), abs=0.3)


def test_steps_follow_one_another_in_the_shell(pair: tuple[str, str]) -> None:
    mine, other = pair
    first = ["adapt", mine, other, "--to", "spectrum", "--window", "16", "--out", "step"]
    assert main(first) == 0
    then = ["adapt", mine, other, "--to", "histogram", "--field", "step", "--out", "done"]
    assert main([*then, "--plan"]) == 0
    assert main(then) == 0
    made = store.node_attributes(mine, "done")
    used = {other: {"raw": store.fingerprint_of(other, "raw")}}
    assert made["inputs"] == {"step": store.fingerprint_of(mine, "step"), "volumes": used}
    assert set(made["parameters"]) == {"to", "seed"}


@pytest.mark.long
def test_a_field_is_outdated_when_the_stack_it_resembles_was_replaced(tmp_path: Path) -> None:
    look = Imaging({"pore": 60.0, "solid": 170.0}, read=6.0)
    mine, other = (rendered(tmp_path, name, look, seed) for seed, name in enumerate("ab"))
    tim3d.adapt(mine, other, to="histogram", out="done", options=QUIET)
    assert store.outdated(mine, "done") == ""
    again = tim3d.Options(progress=False, overwrite=True)
    tim3d.render(other, f"{other}.json", seed=9, options=again)
    assert store.outdated(mine, "done") == f"raw of {other}"
    with pytest.raises(MixedRunError, match="other volumes; it was made by  tim3d adapt"):
        tim3d.adapt(mine, other, to="histogram", out="done", options=QUIET)
    tim3d.adapt(mine, other, to="histogram", out="done", options=again)
    assert store.outdated(mine, "done") == ""


def test_bad_input_is_refused_before_work(pair: tuple[str, str], tmp_path: Path) -> None:
    mine, other = pair
    coarse = rendered(tmp_path, "c.zarr", Imaging({"pore": 9.0, "solid": 90.0}), 3, 20.0)
    deep = rendered(tmp_path, "d.zarr", Imaging({"pore": 9.0, "solid": 90.0}, "uint16"), 3)
    for given, words in (
        ({"to": "colour"}, "--to histogram or --to spectrum"),
        ({"to": "histogram", "window": 16}, "leave out --window"),
        ({"to": "spectrum", "seed": 1}, "leave out --seed"),
        ({"to": "spectrum", "window": 9}, "even number"),
        ({"to": "spectrum", "share": 2.0}, "up to 1"),
        ({"to": "histogram", "seed": -1}, "seed"),
        ({"to": "histogram", "field": "phase"}, "holds labels"),
        ({"to": "histogram", "like": coarse}, "is 5 x 5 nm and one of .* 20 x 20 nm"),
        ({"to": "histogram", "like": mine}, "'raw' of .*a.zarr is compared with itself"),
        ({"to": "histogram", "like": deep}, "holds uint8 and .* uint16"),
    ):
        with pytest.raises(ArgumentError, match=words):
            tim3d.adapt(**{"sample": mine, "like": other, "options": QUIET} | given)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="50 x 70 pixels, fewer than a window of 64: --window 50"):
        tim3d.adapt(mine, other, to="spectrum", window=64, options=QUIET)
    tim3d.adapt(mine, other, to="histogram", out="kept", options=QUIET)
    with pytest.raises(MixedRunError, match="different parameters"):
        tim3d.adapt(mine, other, to="spectrum", out="kept", options=QUIET)
