"""Estimates of an imaging model, against the models whose images they are made from."""

import numpy as np
import pytest

import tim3d
from tim3d.errors import InputError
from tim3d.generators import Box, GaussianField, LevelCuts
from tim3d.kernels.image.imaging_fit import classified, fit
from tim3d.kernels.image.imaging_model import Imaging, brightness, render
from tim3d.kernels.image.threshold import otsu

SPACING = (10.0, 5.0, 5.0)
LEVELS = {"pore": 50.0, "solid": 170.0}


def estimated(model: Imaging, through: str = "") -> Imaging:
    box = Box.whole((48, 160, 160))
    cuts = LevelCuts(
        GaussianField((120.0,) * 3, SPACING, 1), (0.4, 0.6), tim3d.Phases(pore=0, solid=1)
    )
    labels = cuts.labels(box)
    grey = render(labels, box, box, {"pore": 0, "solid": 1}, model, SPACING, 5)
    threshold = otsu(np.bincount(grey.ravel(), minlength=256), np.arange(256.0))
    runs = [classified(grey[z : z + 16], [threshold]) for z in (0, 16, 32)]
    return fit(runs, ("pore", "solid"), SPACING, "uint8", through)


def test_levels_noise_and_blur() -> None:
    found = estimated(Imaging(LEVELS, shot=0.6, read=5.0, blur_nm=6.0))
    assert found.levels == pytest.approx(LEVELS, abs=1)
    assert found.shot == pytest.approx(0.6, rel=0.15)
    assert found.read == pytest.approx(5.0, rel=0.15)
    assert found.blur_nm == pytest.approx(6.0, rel=0.15)
    assert max(found.stripes, found.lines, found.drift) < 0.003
    assert found.rim == 0


def test_stripes_lines_and_drift() -> None:
    model = Imaging(
        LEVELS, shot=0.3, read=4.0, blur_nm=8.0, stripes=0.04, stripes_width_nm=12.0, stripes_depth_nm=20.0,
        lines=0.02, drift=0.05, drift_nm=60.0,
    )  # fmt: skip
    found = estimated(model)
    assert found.stripes == pytest.approx(0.04, rel=0.25)
    assert found.stripes_width_nm == pytest.approx(12.0, rel=0.3)
    assert found.stripes_depth_nm == pytest.approx(20.0, rel=0.3)
    assert found.lines == pytest.approx(0.02, rel=0.3)
    alone = Imaging(LEVELS, drift=0.05, drift_nm=60.0)
    drawn = brightness(Box.whole((48, 1, 1)), alone, SPACING, 5)  # of few lengths of correlation
    assert found.drift == pytest.approx(float(drawn.std()), rel=0.2)
    assert 30 < found.drift_nm < 120


def test_bright_rims() -> None:
    found = estimated(Imaging(LEVELS, read=6.0, blur_nm=6.0, rim=0.8, rim_nm=20.0))
    assert found.levels == pytest.approx(LEVELS, abs=8)
    assert found.rim == pytest.approx(0.8, rel=0.25)
    assert found.rim_nm == pytest.approx(20.0, rel=0.25)
    assert found.blur_nm == pytest.approx(6.0, rel=0.25)


def test_how_deep_a_pore_is_seen_through() -> None:
    seen = Imaging(
        LEVELS, shot=0.6, read=5.0, blur_nm=5.0, through="pore", shine=0.85, decay_nm=40.0
    )
    found = estimated(seen, "pore")
    assert found.decay_nm == pytest.approx(40.0, rel=0.3)
    assert found.levels["pore"] == pytest.approx(50.0, abs=6)
    assert found.blur_nm == pytest.approx(5.0, rel=0.4)
    assert (found.through, found.shine) == ("pore", 0.85)
    assert estimated(Imaging(LEVELS, read=5.0), "pore").shine == 0


def test_a_phase_that_is_not_there_is_refused() -> None:
    flat = np.random.default_rng(0).normal(100, 5, (4, 40, 40)).astype(np.uint8)
    with pytest.raises(InputError, match="pore has 0 pixels away from other phases"):
        fit([classified(flat, [20.0])], ("pore", "solid"), SPACING, "uint8")
