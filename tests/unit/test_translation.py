"""Translators: reach, resuming to the bit, and looks whose answer is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="translators need torch: pip install 'tim3d[seg]'")
import torch

from tests.translators import SMALL, training
from tim3d.errors import ArgumentError, CheckpointError, MixedRunError
from tim3d.models.common.training_run import Schedule, TrainingRun, carry_out
from tim3d.models.translation.model_file import describe, translate_tile
from tim3d.models.translation.network import Translator
from tim3d.models.translation.training import (
    METHODS,
    Pool,
    unlikeness,
)


def test_a_pixel_depends_on_those_within_reach_and_all_of_these() -> None:
    for reach in (1, 3):
        torch.manual_seed(0)
        net = Translator(4, reach)
        torch.nn.init.normal_(net.last.weight)
        x = torch.zeros(1, 1, 15, 15, requires_grad=True)
        (grad,) = torch.autograd.grad(net(x)[0, 0, 7, 7], x)
        seen = np.argwhere(grad[0, 0].numpy() != 0)
        assert seen.min() == 7 - reach
        assert seen.max() == 7 + reach


def test_training_begins_with_the_identity() -> None:
    x = torch.randn(1, 1, 9, 9)
    assert torch.equal(Translator(4, 3)(x), x)


def test_the_pool_shows_old_translations_and_goes_on_where_it_was() -> None:
    pool, rng = Pool(2), np.random.default_rng(0)
    new = [torch.full((1, 1, 2, 2), float(n)) for n in range(12)]
    shown = [float(pool.shown(one, rng)[0, 0, 0, 0]) for one in new]
    assert shown[:2] == [0, 1]
    assert any(a != n for n, a in enumerate(shown))
    other = Pool(2)
    other.load_state_dict(pool.state_dict())
    assert torch.equal(torch.stack(other.kept), torch.stack(pool.kept))


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_training_ends_with_the_same_bits(tmp_path: Path, method: str) -> None:
    asked = training(replace(SMALL, method=method), (90, 130))
    for parts, name in (((4,), "whole"), ((1, 3, 4), "parts")):
        for steps in parts:
            carry_out(
                asked,
                tmp_path / name,
                Schedule(steps, 2),
                state=tmp_path / f"{name}.state",
                threads=1,
            )
    whole, parts_ = (TrainingRun(asked, tmp_path / f"{n}.state") for n in ("whole", "parts"))
    for name, one in whole.learner.side.state_dict().items():  # type: ignore[attr-defined]
        assert torch.equal(one, parts_.learner.side.state_dict()[name])  # type: ignore[attr-defined]
    assert whole.history[-1]["unlike"] == parts_.history[-1]["unlike"]
    known = describe(tmp_path / "whole")
    assert (known.reach, known.names) == (2, ("pore", "solid"))
    tile = np.random.default_rng(0).normal(100, 20, (20, 20))
    assert translate_tile(tmp_path / "whole", known, tile).shape == (16, 16)
    with pytest.raises(MixedRunError):
        TrainingRun(
            replace(asked, options=replace(asked.options, batch=2)), tmp_path / "whole.state"
        )


@pytest.mark.parametrize(
    ("levels", "blur", "steps", "left"),
    [
        pytest.param((90, 130), 1.0, 300, 0.4, marks=pytest.mark.long, id="contrast"),
        pytest.param((60, 160), 1.6, 600, 0.9, marks=pytest.mark.slow, id="blur"),
    ],
)
def test_a_known_look_is_approached_and_no_interface_moves(
    tmp_path: Path, levels: tuple[float, float], blur: float, steps: int, left: float
) -> None:
    asked = training(
        replace(SMALL, method="cut", reach=3, channels=8, batch=2, pool=20), levels, blur
    )
    run = carry_out(
        asked, tmp_path / "net", Schedule(steps, 25), state=tmp_path / "state", threads=1
    )
    before = unlikeness(
        asked.source.crop(0, 0, 0, 96)[None], asked.target.crop(0, 0, 0, 96)[None], asked.scale[1]
    )
    assert run.best["unlike"] < left * before
    assert run.best["shift_px"] < 0.2
    assert abs(run.best["growth_px"]) < 0.5
    assert run.best["invented"] <= 0


def test_bad_options_and_files_are_refused(tmp_path: Path) -> None:
    for change in ({"method": "pix2pix"}, {"reach": 0}, {"crop": 30}):
        with pytest.raises(ArgumentError):
            replace(SMALL, **change)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="96 x 96 pixels, fewer than a crop of 128"):
        training(replace(SMALL, crop=128), (90, 130))
    (tmp_path / "net").write_bytes(b"no network")
    with pytest.raises(CheckpointError, match="train-translator"):
        describe(tmp_path / "net")
