"""Rendered sections, intervals, and a small network that is trained, resumed and adapted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tim3d.errors import ArgumentError, CheckpointError, MixedRunError
from tim3d.kernels.image.section_look import Look, render
from tim3d.kernels.statistics.conformal import Cloud, half_width, scatter_at_equal

TWO = Look({0: 70.0, 1: 160.0})


def stripes(width: int, edge: int = 32) -> np.ndarray:
    """Vertical layers of two phases."""
    return np.broadcast_to((np.arange(edge) // width % 2).astype(np.uint8), (edge, edge)).copy()


def test_a_look_has_its_grey_levels_its_noise_and_its_blur() -> None:
    plain = Look({0: 60.0, 3: 180.0}, edge=0, blur=0, shot=0.5, read=3, shading=0)
    flat = np.zeros((200, 200), np.uint8)
    seen = render(flat, plain, seed=2).astype(float)
    assert seen.mean() == pytest.approx(60, abs=0.1)
    assert seen.var() == pytest.approx(0.5 * 60 + 9, rel=0.05)
    half = flat.copy()
    half[:, 100:] = 3
    sharp = render(half, Look({0: 60.0, 3: 180.0}, edge=0, blur=0, shot=0, read=0, shading=0), 0)
    assert sorted(np.unique(sharp).tolist()) == [60, 180]
    soft = render(half, Look({0: 60.0, 3: 180.0}, edge=0, blur=2, shot=0, read=0, shading=0), 0)
    assert soft[0, 99] == pytest.approx(120 - 120 * 0.0987, abs=1)  # normal law at 1/4 deviation


def test_the_edge_of_the_brighter_phase_and_the_side_towards_the_detector_are_brighter() -> None:
    quiet: dict[str, Any] = {"blur": 0, "shot": 0, "read": 0, "shading": 0}
    seen = render(stripes(8), Look({0: 60.0, 1: 160.0}, edge=40, edge_decay=2, **quiet), 0)
    row = seen[5].astype(float)
    assert row[:8].tolist() == [60] * 8
    assert row[8:16].tolist() == [round(160 + 40 * np.exp(-min(n, 7 - n) / 2)) for n in range(8)]
    lit = render(stripes(8), Look({0: 60.0, 1: 160.0}, edge=0, relief=20, **quiet), 0)[5].astype(
        float
    )
    assert lit[8] > 160 + 15
    assert lit[15] < 160 - 15


def test_sections_follow_from_seed_and_number_alone() -> None:
    first = render(stripes(4), TWO, seed=1, number=7)
    assert np.array_equal(first, render(stripes(4), TWO, seed=1, number=7))
    assert not np.array_equal(first, render(stripes(4), TWO, seed=1, number=8))
    assert not np.array_equal(first, render(stripes(4), TWO, seed=2, number=7))
    for wrong in (
        {"greys": {0: 70.0}},
        {"greys": {0: 70.0, 1: 70.0}},
        {"greys": {0: 1.0, 1: 2.0}, "blur": -1},
    ):
        with pytest.raises(ArgumentError):
            Look(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="no grey level"):
        render(stripes(4) * 2, TWO, seed=0)


def test_an_interval_holds_its_share_of_new_cases_whatever_the_law_of_errors() -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(2000):
        errors = rng.standard_t(2, 25)
        held.append(np.abs(errors[-1]) <= half_width(errors[:-1], 0.8))
    assert np.mean(held) == pytest.approx(0.8, abs=0.03)
    with pytest.raises(ArgumentError, match="needs 9 held-out samples, and there are 8"):
        half_width(np.ones(8), 0.9)


def test_a_case_far_from_the_cloud_is_far_in_every_direction() -> None:
    points = np.random.default_rng(1).normal(size=(200, 4)) * [1.0, 2.0, 0.5, 1.0]
    cloud = Cloud.of(points)
    assert cloud.distances(points).max() < 4
    assert cloud.distances(np.array([[0.0, 0.0, 20.0, 0.0], [40.0, 0.0, 0.0, 0.0]])).min() > 5


def test_scatter_at_equal_descriptors_is_what_no_function_of_them_can_say() -> None:
    rng = np.random.default_rng(3)
    known = rng.uniform(size=3000)
    values = np.sin(3 * known) + 0.2 * rng.standard_normal(3000)
    assert scatter_at_equal(known[:, None], values, np.arange(3000)) == pytest.approx(0.2, rel=0.1)


torch = pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
from tim3d.models.surrogate.examples import Examples, SurrogateOptions  # noqa: E402
from tim3d.models.surrogate.model_file import read_surrogate  # noqa: E402
from tim3d.models.surrogate.network import Surrogate, coral, reversed_gradient  # noqa: E402
from tim3d.models.surrogate.training import SurrogateTraining, predict  # noqa: E402

SMALL: dict[str, Any] = {"channels": (8, 8, 8), "batch": 8, "learning_rate": 1e-2}


def materials(count: int, shown: Look, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two sections of layers each, whose property is their share."""
    rng = np.random.default_rng(seed)
    shares = rng.uniform(0.2, 0.8, count)
    planes = [
        [(rng.uniform(size=(16, 16)) < share).astype(np.uint8) for _ in range(2)]
        for share in shares
    ]
    images = [
        [render(p, shown, seed, 2 * n + m) for m, p in enumerate(one)]
        for n, one in enumerate(planes)
    ]
    return np.array(images), shares


def training(
    adapt: tuple[str, ...] = (), target: np.ndarray | None = None, **more: Any
) -> SurrogateTraining:
    images, values = materials(60, TWO)
    options = SurrogateOptions(adapt=adapt, **{**SMALL, **more})
    return SurrogateTraining(
        Examples(images, values), options, target, {"pixel_nm": [1.0, 1.0]}, level=0.8
    )


def trained(path: Path, of: SurrogateTraining, steps: int = 60) -> Path:
    return tim3d.run_training(
        of, path, steps=steps, every=10, device="cpu", threads=1, progress=False
    )


def test_a_training_in_two_calls_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole = trained(tmp_path / "a.safetensors", training(), steps=20)
    cut = trained(tmp_path / "b.safetensors", training(), steps=10)
    assert cut.read_bytes() != whole.read_bytes()
    assert trained(cut, training(), steps=20).read_bytes() == whole.read_bytes()
    with pytest.raises(MixedRunError):
        trained(cut, training(sections=2), steps=20)


def test_it_learns_and_its_intervals_hold_new_samples(tmp_path: Path) -> None:
    path = trained(tmp_path / "a.safetensors", training())
    net, about = read_surrogate(path)
    images, values = materials(100, TWO, seed=9)
    said, features = predict(net, about.scale, torch.from_numpy(images[:, :1]), torch.device("cpu"))
    off = np.abs(said - np.log(values))
    assert off.mean() < 0.5 * np.abs(np.log(values) - np.log(values).mean()).mean()
    assert np.mean(off <= about.calibration.half_width) > 0.45  # of 12 kept out: 0.77 ± 0.11
    known = about.calibration
    assert np.mean(known.cloud.distances(features[:, 0]) <= known.farthest) > 0.6
    strange = torch.from_numpy(materials(100, Look({0: 150.0, 1: 165.0}), seed=9)[0][:, :1])
    _, far = predict(net, about.scale, strange, torch.device("cpu"))
    assert np.mean(known.cloud.distances(far[:, 0]) > known.farthest) > 0.9
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match="damaged"):
        read_surrogate(path)


OTHER = Look({0: 110.0, 1: 200.0})


@pytest.mark.long
@pytest.mark.parametrize("adapt", ["standardise", "adabn"])
def test_brightness_of_another_look_is_taken_away(tmp_path: Path, adapt: str) -> None:
    seen, values = materials(40, OTHER, seed=5)
    real = materials(30, OTHER, seed=6)[0].reshape(-1, 16, 16)

    def error(name: str, of: SurrogateTraining) -> float:
        net, about = read_surrogate(trained(tmp_path / name, of))
        said, _ = predict(net, about.scale, torch.from_numpy(seen[:, :1]), torch.device("cpu"))
        return float(np.abs(said - np.log(values)).mean())

    target = None if adapt == "standardise" else real
    plain = error("plain.safetensors", training())
    assert error("adapted.safetensors", training((adapt,), target)) < 0.7 * plain


@pytest.mark.parametrize("adapt", ["coral", "dann"])
def test_the_weight_of_an_adaptation_decides_the_network(tmp_path: Path, adapt: str) -> None:
    real = materials(30, OTHER, seed=6)[0].reshape(-1, 16, 16)
    files = [
        trained(tmp_path / f"{w}.safetensors", training((adapt,), real, weight=w), steps=10)
        for w in (0.0, 3.0)
    ]
    first, second = (read_surrogate(one)[1].training["history"][-1]["gap"] for one in files)
    assert first != second
    if adapt == "coral":
        assert second < first


def test_what_does_not_fit_is_refused_before_anything_is_trained() -> None:
    real = np.zeros((3, 16, 16), np.uint8)
    for adapt, target, says in (
        (("adabn",), None, "--images FOLDER"), ((), real, "leave out --images"),
        (("coral", "dann"), real, "coral or dann"), (("cyclegan",), real, "no adaptation 'cyclegan'"),
        (("coral",), real[:, :8], "smaller than sections"),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=says):
            training(adapt, target)
    with pytest.raises(ArgumentError, match="3 sections make one prediction, and 2"):
        training(sections=3)
    images, values = materials(10, TWO)
    with pytest.raises(ArgumentError, match="10 samples are too few"):
        SurrogateTraining(Examples(images, values), SurrogateOptions(), level=0.9)
    with pytest.raises(ArgumentError, match="above 0"):
        Examples(images, values - 0.5)


def test_covariances_and_turned_gradients() -> None:
    features = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    assert float(coral(features, features + 5)) == pytest.approx(0, abs=1e-10)
    assert float(coral(features, 3 * features)) > 0.1
    value = torch.ones(3, requires_grad=True)
    reversed_gradient(value, 0.5).sum().backward()
    assert value.grad is not None
    assert value.grad.tolist() == [-0.5] * 3


def test_sections_of_one_sample_count_alike() -> None:
    """What is said of several sections is the mean of what is said of each, in any order."""
    torch.manual_seed(0)
    net = Surrogate((4, 8)).eval()
    sections = torch.rand(3, 4, 16, 16)
    with torch.inference_mode():
        said = net(sections)
        each = torch.stack([net(sections[:, n : n + 1]) for n in range(4)])
        turned = net(sections.flip(1))
    torch.testing.assert_close(said, each.mean(0))
    torch.testing.assert_close(turned, said)
    assert each.std(0).min() > 1e-4
