"""The verbs `train_translator` and `translate`: blocks do not show, and what moves structure is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="translators need torch: pip install 'tim3d[seg]'")
import torch

import tim3d
from tests.integration.test_adapt import PHASES, rendered
from tests.nets import untrained_translator
from tim3d.cli.main import main
from tim3d.errors import ArgumentError, CheckpointError, InputError, MixedRunError
from tim3d.kernels.image.imaging_model import Imaging
from tim3d.models.translation.model_file import (
    describe,
    loaded_translator,
    translate_tile,
    write_translator,
)
from tim3d.models.translation.network import Translator
from tim3d.models.translation.training import TranslatorOptions
from tim3d.stages.imaging.adaptations import Stack
from tim3d.stages.imaging.imaging_file import write_imaging
from tim3d.stages.imaging.train_translator import How, Translators, one_phase_share
from tim3d.storage import store

QUIET = tim3d.Options(progress=False)
TRAIN = {"crop": 16, "batch": 1, "channels": 4, "steps": 2, "every": 1, "progress": False}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A rendered sample and a stack of another look."""
    folder = tmp_path_factory.mktemp("pair")
    look = Imaging({"pore": 60.0, "solid": 170.0}, read=5.0, blur_nm=6.0)
    other = Imaging({"pore": 40.0, "solid": 120.0}, read=3.0, blur_nm=9.0)
    return rendered(folder, "a.zarr", look, 1), rendered(folder, "b.zarr", other, 2)


def written(path: Path, change: Callable[[Translator], None], reach: int = 2) -> Path:
    """A translator of random weights, changed."""
    torch.manual_seed(0)
    net = Translator(2, reach)
    with torch.no_grad():
        change(net)
    text = {
        "options": {"reach": reach, "channels": 2},
        "scale": [115.0, 50.0],
        "names": ["pore", "solid"],
    }
    write_translator(path, net, text)
    return path


def rough(net: Translator) -> None:
    """A little of everything that is around."""
    torch.nn.init.normal_(net.last.weight, std=0.02)


@pytest.mark.long
def test_blocks_do_not_show_and_tiles_are_those_of_the_slice(
    pair: tuple[str, str], tmp_path: Path
) -> None:
    sample, model = pair[0], written(tmp_path / "rough.safetensors", rough)
    whole = tim3d.translate(sample, model, out="a", options=QUIET).values
    odd = tim3d.Options(progress=False, block=(8, 16, 32))
    assert np.array_equal(tim3d.translate(sample, model, out="b", options=odd).values, whole)
    grey = tim3d.open_field(sample, "raw").values
    assert (whole != grey).any()
    tile = np.pad(grey[3], 2, mode="edge")[:68, :68]
    tile = np.pad(tile, ((0, 68 - len(tile)), (0, 0)), mode="edge")
    plain = np.rint(translate_tile(model, describe(model), tile)[:50]).clip(0, 255)
    assert np.array_equal(whole[3, :, :64], plain)
    assert abs(store.node_attributes(sample, "a")["geometry"]["shift_px"][1]) < 0.5
    assert tim3d.plan("translate", sample=sample, model=model, out="a") == []


def test_a_file_that_changes_during_the_run_is_not_mixed_with_the_one_before(
    pair: tuple[str, str], tmp_path: Path
) -> None:
    model = written(tmp_path / "net.safetensors", rough)
    known = describe(model)
    tim3d.translate(pair[0], model, out="first", options=QUIET)
    untrained_translator(model)
    loaded_translator.cache_clear()
    with pytest.raises(CheckpointError, match="was replaced during the run"):
        translate_tile(model, known, np.zeros((68, 68), np.uint8))
    with pytest.raises(MixedRunError, match="model"):
        tim3d.translate(pair[0], model, out="first", options=QUIET)


def shifts(net: Translator) -> None:
    """The pixel to the left, and nothing of the own."""
    for one in net.parameters():
        one.zero_()
    net.first.weight[0, 0, 1, 0], net.first.weight[1, 0, 1, 0] = 1, -1
    net.first.weight[0, 0, 1, 1], net.first.weight[1, 0, 1, 1] = -1, 1
    # A leaky step of d and of -d: their difference is 1.2 d.
    net.last.weight[0, 0], net.last.weight[0, 1] = 1 / 1.2, -1 / 1.2


def swaps(net: Translator) -> None:
    """Twice the grey value is taken off."""
    for one in net.parameters():
        one.zero_()
    net.first.weight[0, 0, 1, 1], net.first.weight[1, 0, 1, 1] = 1, -1
    net.last.weight[0, 0], net.last.weight[0, 1] = -2 / 1.2, 2 / 1.2


@pytest.mark.parametrize(
    ("fault", "words"),
    [(shifts, r"shifts the structure by (0\.[6-9]|1\.)"), (swaps, "swaps phases: pore has")],
)
def test_a_translator_that_moves_structure_is_refused_by_name(
    pair: tuple[str, str], tmp_path: Path, fault: Callable[[Translator], None], words: str
) -> None:
    model = written(tmp_path / "bad.safetensors", fault)
    with pytest.raises(InputError, match=f"bad.safetensors was refused, as it {words}"):
        tim3d.translate(pair[0], model, out="bad", options=QUIET)
    assert "bad" not in store.nodes(pair[0])


def test_from_two_stacks_to_a_translation_in_the_shell(
    pair: tuple[str, str], tmp_path: Path
) -> None:
    (mine, other), model = pair, tmp_path / "look.safetensors"
    typed = ["train-translator", mine, other, str(model)]
    typed += ["--crop", "16", "--batch", "1", "--channels", "4", "--steps", "2", "--every", "1"]
    assert main([*typed, "--plan"]) == 0
    assert not model.exists()
    assert main(typed) == 0
    before = model.read_bytes()
    assert main(typed) == 0
    assert model.read_bytes() == before
    known = describe(model)
    assert known.names == ("pore", "solid")
    assert 2 * known.reach + 1 <= 3 * known.about["about"]["interface_px"]
    with pytest.raises(MixedRunError, match="another training"):
        tim3d.train_translator(mine, other, model, **TRAIN | {"seed": 4})  # type: ignore[arg-type]
    assert main(["translate", mine, str(model), "--out", "seen"]) == 0


def test_a_phase_that_is_nowhere_in_the_parts_that_are_looked_at_is_refused(
    pair: tuple[str, str], tmp_path: Path
) -> None:
    mine, other = (Stack(one, store.complete_field(one, "raw")) for one in pair)
    known = store.complete_field(pair[0], "phase")
    three = replace(known, phases={**dict(known.phases or {}), "crack": 2})
    how = How(1, None, 1, "cpu", 1, overwrite=False, progress=False)
    asked = Translators(
        mine, three, other, TranslatorOptions(crop=16), None, 0, tmp_path / "net.safetensors", how
    )
    with pytest.raises(InputError, match="'phase' has no crack in the parts"):
        asked.run()


def test_bad_input_is_refused_before_work(pair: tuple[str, str], tmp_path: Path) -> None:
    (mine, other), model = pair, tmp_path / "new.safetensors"
    for given, words in (
        ({"method": "pix2pix"}, "--method cut or fastcut or cyclegan"),
        ({"crop": 64}, "50 x 70 pixels, fewer than a crop of 64: --crop 48"),
        ({"reach": 30}, "a reach of 30 sees 61 pixels, more than 3 times"),
        ({"labels": "raw"}, "does not hold two phases"),
        ({"steps": 0}, "must be above 0"),
        ({"minutes": 0}, "must be above 0"),
        ({"like": mine}, "is compared with itself"),
    ):
        with pytest.raises(ArgumentError, match=words):
            tim3d.train_translator(
                **{"sample": mine, "like": other, "model": model} | TRAIN | given  # type: ignore[arg-type]
            )
    with pytest.raises(ArgumentError, match="reach 0"):
        tim3d.plan("train_translator", sample=mine, like=other, model=model, reach=0, **TRAIN)
    with pytest.raises(CheckpointError, match="check its path"):
        tim3d.translate(mine, tmp_path / "none.safetensors", options=QUIET)
    untrained_translator(model)
    for given, words in (
        ({"field": "phase"}, "holds labels"),
        ({"labels": "raw"}, "has the phases none"),
    ):
        with pytest.raises(ArgumentError, match=words):
            tim3d.translate(mine, model, out="x", options=QUIET, **given)  # type: ignore[arg-type]
    assert dict(PHASES) == {"pore": 0, "solid": 1}


def test_structures_larger_than_a_crop_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = np.zeros((4, 64, 64), np.uint8)
    labels[:, :, 40:] = 1
    np.save(tmp_path / "v.npy", labels)
    sample, size = str(tmp_path / "c.zarr"), {"z": 10.0, "y": 5.0, "x": 5.0}
    tim3d.ingest(
        tmp_path / "v.npy", sample, field="phase", phases=PHASES, voxel_size=size, options=QUIET
    )
    for field, grey in (("raw", 60.0), ("other", 90.0)):
        model = Imaging({"pore": grey, "solid": grey + 80.0}, read=5.0, blur_nm=6.0)
        write_imaging(tmp_path / "m.json", model, {})
        tim3d.render(sample, tmp_path / "m.json", out=field, options=QUIET)
    for crop, share in ((16, 0.75), (32, 0.5)):
        assert one_phase_share([labels], crop) == share
        caplog.clear()
        more = TRAIN | {"crop": crop, "like_field": "other"}
        tim3d.train_translator(sample, sample, tmp_path / f"{crop}.safetensors", **more)  # type: ignore[arg-type]
        said = [one.message for one in caplog.records if "hold one phase only" in one.message]
        assert [one[:4] for one in said] == (["75 %"] if share > 0.5 else [])


def test_only_whole_numbers_of_grey_are_translated(pair: tuple[str, str], tmp_path: Path) -> None:
    mine = pair[0]
    raw = store.complete_field(mine, "raw")
    np.save(tmp_path / "v.npy", tim3d.open_field(mine, "raw").values.astype(np.float32))
    size = dict(zip("zyx", raw.spacing_nm, strict=True))
    tim3d.ingest(tmp_path / "v.npy", mine, field="floats", voxel_size=size, options=QUIET)
    for field, held in (("floats", "float32"), ("phase", "labels")):
        with pytest.raises(ArgumentError, match=f"holds {held}; translate needs rendered grey"):
            tim3d.translate(mine, tmp_path / "none.safetensors", field=field, options=QUIET)
