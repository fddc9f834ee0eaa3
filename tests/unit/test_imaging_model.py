"""Laws of the imaging model: known in closed form, and a function of the coordinates."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erf

from tim3d.errors import ArgumentError
from tim3d.grid import Box
from tim3d.kernels.image.imaging_model import Imaging, render

CODES = {"pore": 3, "solid": 5}
LEVELS = {"pore": 60.0, "solid": 180.0}
SPACING = (10.0, 4.0, 5.0)
FULL = Imaging(
    LEVELS, shot=0.4, read=4.0, blur_nm=6.0, rim=0.7, rim_nm=9.0, through="pore", shine=0.8, decay_nm=20.0,
    stripes=0.05, stripes_width_nm=10.0, stripes_depth_nm=15.0, lines=0.02, drift=0.04, drift_nm=60.0,
)  # fmt: skip


def blocks(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 2, tuple(-(-n // 5) for n in shape))
    fine = coarse.repeat(5, 0).repeat(5, 1).repeat(5, 2)[: shape[0], : shape[1], : shape[2]]
    return np.where(fine, 5, 3).astype(np.uint8)


def shown(labels: np.ndarray, model: Imaging, seed: int = 0) -> np.ndarray:
    box = Box.whole(labels.shape)
    return render(labels, box, box, CODES, model, SPACING, seed)


def test_without_any_effect_the_levels_are_shown() -> None:
    labels = blocks((6, 20, 20))
    assert np.array_equal(shown(labels, Imaging(LEVELS)), np.where(labels == 5, 180, 60))


@given(st.data())
def test_no_box_shows(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.integers(1, 24)) for _ in range(3))
    labels = blocks(shape, data.draw(st.integers(0, 9)))
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
    core = Box(start, stop)
    around = core.grow(FULL.halo(SPACING)).clip(Box.whole(shape))
    part = render(labels[around.slices], around, core, CODES, FULL, SPACING, 7)
    assert np.array_equal(part, shown(labels, FULL, 7)[core.slices])


def test_rims_beside_a_straight_boundary() -> None:
    labels = np.full((1, 3, 81), 3, np.uint8)
    labels[..., 40:] = 5
    model = Imaging({"pore": 60.0, "solid": 160.0}, rim=0.5, rim_nm=25.0)
    grey = shown(labels, model)[0, 1].astype(float)
    distance = np.arange(81) - 39.5
    above = (distance > 0) - (1 + erf(distance / (math.sqrt(2) * 5))) / 2
    assert np.abs(grey - (60 + 100 * ((distance > 0) + 0.5 * above))).max() <= 1.2
    assert grey[[0, 80]].tolist() == [60, 160]
    assert grey[39] < 42 < 178 < grey[40]


def test_what_is_behind_a_pore_is_seen_by_its_depth() -> None:
    labels = np.full((8, 1, 1), 3, np.uint8)
    labels[5] = 5
    grey = shown(labels, Imaging(LEVELS, through="pore", shine=0.5, decay_nm=20.0)).ravel()
    expected = [60 + 0.5 * 120 * math.exp(-d * 10 / 20) for d in (5, 4, 3, 2, 1)]
    assert np.abs(grey[:5] - expected).max() <= 0.5
    assert grey[5:].tolist() == [180, 60, 60]


def test_noise_has_its_variance() -> None:
    grey = shown(np.full((4, 64, 64), 5, np.uint8), Imaging(LEVELS, shot=0.5, read=6.0))
    assert grey.mean() == pytest.approx(180, abs=0.5)
    assert grey.var() == pytest.approx(0.5 * 180 + 36 + 1 / 12, rel=0.04)


def test_a_step_is_blurred_to_an_error_function() -> None:
    labels = np.full((1, 1, 60), 3, np.uint8)
    labels[:, :, 30:] = 5
    model = Imaging({"pore": 10000.0, "solid": 50000.0}, "uint16", blur_nm=15.0)
    x = (np.arange(60) - 29.5) * 5
    exact = 10000 + 40000 * np.array([0.5 * (1 + math.erf(v / 15 / math.sqrt(2))) for v in x])
    assert np.abs(shown(labels, model).ravel() - exact).max() < 40000 * 0.006


def test_stripes_lines_and_drift_have_their_spreads_and_directions() -> None:
    labels = np.full((60, 60, 61), 5, np.uint8)
    base = {"pore": 1000.0, "solid": 30000.0}
    for name, axes in (("stripes", 1), ("lines", 2), ("drift", (1, 2))):
        model = Imaging(base, "uint16", **{name: 0.02, "stripes_width_nm": 4.0, "drift_nm": 8.0})
        relative = shown(labels, model) / 30000.0 - 1
        assert np.ptp(relative, axis=axes).max() < 1e-4
        assert relative.std() == pytest.approx(0.02, rel=0.25)


def test_a_varied_model_stays_within_its_share() -> None:
    for seed in range(20):
        other = FULL.varied(0.3, seed)
        for name in ("shot", "read", "blur_nm", "decay_nm", "stripes", "drift"):
            assert 1 / 1.3 <= getattr(other, name) / getattr(FULL, name) <= 1.3
        assert abs(other.levels["pore"] - 60) <= 0.075 * 120 + 1e-9
    assert FULL.varied(0.3, 1) != FULL.varied(0.3, 2)
    assert FULL.varied(0.0, 1) == FULL


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"levels": {"pore": 60.0}}, "two or more phases"),
        ({"levels": {"pore": 60.0, "solid": 60.0}}, "different levels"),
        ({"levels": {"pore": 60.0, "solid": 300.0}}, "between 0 and 255"),
        ({"dtype": "float32"}, "uint8 or uint16"),
        ({"through": "void"}, "is not a phase"),
        ({"shine": 1.5}, "share, from 0 to 1"),
        ({"read": -1.0}, "read of an imaging model is -1"),
        ({"decay_nm": 0.0}, "decay_nm of an imaging model is 0"),
        ({"blur_nm": math.nan}, "blur_nm of an imaging model is nan"),
    ],
)
def test_a_model_out_of_range_is_refused(other: dict[str, object], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        Imaging(**({"levels": LEVELS} | other))  # type: ignore[arg-type]
