"""BPartIS: embeddings become instances by the stated rule, and its weights are known to the last name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import tim3d
from tests.property.test_distance import QUIET
from tim3d.errors import ArgumentError, CheckpointError
from tim3d.grid import Box
from tim3d.kernels.morphology.embeddings import instances_of, mutual_information
from tim3d.models.segmentation.bpartis import PUBLISHED
from tim3d.segmenters import BPartIS, read_model
from tim3d.storage import store

torch = pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
REAL = os.environ.get("TIM3D_BPARTIS", "")


def discs(shape: tuple[int, int], of: list[tuple[int, int, int]]) -> tuple[np.ndarray, ...]:
    """Seed values, middles and spreads that point to the centres of discs, each with its own spread."""
    y, x = np.indices(shape)
    seed, spread = np.full(shape, 0.1, np.float32), np.ones((2, *shape), np.float32)
    middle = np.stack([y, x]).astype(np.float32)
    for cy, cx, radius in of:
        inside = (y - cy) ** 2 + (x - cx) ** 2 <= radius**2
        seed[inside] = 0.9 - 0.3 * np.hypot(y - cy, x - cx)[inside] / radius
        middle[0][inside], middle[1][inside] = cy, cx
        spread[:, inside] = 0.5
    return seed, middle, spread


def test_pixels_that_point_to_one_middle_are_one_object_in_an_image_that_is_not_square() -> None:
    found = instances_of(*discs((40, 90), [(12, 15, 9), (20, 70, 12), (30, 30, 3)]), 30)
    seed, *_ = discs((40, 90), [(12, 15, 9), (20, 70, 12)])
    assert np.array_equal(found > 0, seed > 0.5)  # the smallest has 29 pixels, and is left out
    assert found[12, 15] == 1  # equal seed values: the first pixel of the image
    assert found[20, 70] == 2
    assert found.max() == 2


def by_definition(
    seed: np.ndarray, middle: np.ndarray, spread: np.ndarray, least: int
) -> np.ndarray:
    """The rule pixel by pixel."""
    found = np.zeros(seed.shape, np.uint32)
    open_ = {tuple(p) for p in np.argwhere(seed > 0.5).tolist()}
    every, count = sorted(open_), 0
    while open_:
        best = min(open_, key=lambda p: (-seed[p], p))
        near = [
            p for p in every
            if sum(float(spread[a][best]) * (float(middle[a][p]) - float(middle[a][best])) ** 2 for a in (0, 1))
            < np.log(2)
        ]  # fmt: skip
        free = [p for p in near if p in open_]
        if len(free) >= least and 2 * len(free) > len(near):
            count += 1
            for p in free:
                found[p] = count
        open_ -= {best, *near}
    return found


@pytest.mark.long
@given(st.tuples(st.integers(1, 6), st.integers(1, 9)), st.integers(1, 4), st.integers(0, 99))
def test_instances_are_those_of_the_definition(
    shape: tuple[int, int], least: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    scores = (draw.integers(0, 8, shape) / 8).astype(np.float32)
    middle = (np.indices(shape) + draw.integers(-2, 3, (2, *shape))).astype(np.float32)
    spread = draw.choice([0.1, 0.5, 2.0], (2, *shape)).astype(np.float32)
    found = instances_of(scores, middle, spread, least)
    assert np.array_equal(found, by_definition(scores, middle, spread, least))


def test_passes_that_agree_have_no_mutual_information() -> None:
    share = np.linspace(0, 1, 11, dtype=np.float32)
    own = np.where((share > 0) & (share < 1), -(share * np.log(share + 1e-30)), 0)
    own = (own + own[::-1]).astype(np.float32)
    assert np.abs(mutual_information(share, own)).max() < 1e-6
    assert mutual_information(np.float32([0.5]), np.float32([0])) == pytest.approx([np.log(2)])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights as imagedataextractor stores them; particles are spots of noise."""
    from tim3d.models.segmentation.branched_erfnet import BranchedErfnet

    torch.manual_seed(0)
    network = BranchedErfnet().eval()
    # Outputs of noise: offsets of 3 pixels, a reach of 5, and a seed value in half of the pixels.
    deviations, means = [3 / 511, 3 / 511, 0.05, 0.05, 2.0], [0.0, 0.0, 0.9, 0.9, 0.0]
    with torch.no_grad():
        found = network(torch.rand(1, 3, 48, 64))[0].flatten(1)
        scale = torch.tensor(deviations) / found.std(1)
        shift = torch.tensor(means) - found.mean(1) * scale
        for decoder, rows in zip(network.decoders, (slice(0, 4), slice(4, 5)), strict=True):
            decoder.output_conv.weight *= scale[rows, None, None, None]
            decoder.output_conv.bias *= scale[rows]
            decoder.output_conv.bias += shift[rows]
    path = tmp_path_factory.mktemp("bpartis") / "seg-model.pt"
    torch.save(network.state_dict(), path)
    return path


def test_the_weights_are_known_to_the_last_name(weights: Path, tmp_path: Path) -> None:
    state = torch.load(weights, weights_only=True)
    assert len(state) == 433
    assert sum(one.numel() for one in state.values()) == 2_260_679
    for name in ("a", "b"):
        tim3d.import_network(weights, tmp_path / f"{name}.safetensors")
    assert tim3d.import_network.plan(weights, tmp_path / "a.safetensors") == []
    file = read_model(tmp_path / "a.safetensors")
    assert (file.kind, file.sha256) == ("bpartis", read_model(tmp_path / "b.safetensors").sha256)
    assert file.description["licence"] == "unknown"  # random weights are not the published ones
    odd = dict(state)
    odd["decoders.2.bias"] = odd.pop("decoders.1.output_conv.bias")
    torch.save(odd, tmp_path / "odd.pt")
    with pytest.raises(
        CheckpointError, match=r"decoders\.2\.bias, decoders\.1\.output_conv\.bias \(missing\)"
    ):
        tim3d.import_network(tmp_path / "odd.pt", tmp_path / "c.safetensors")
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(CheckpointError, match=r"text\.pt"):
        tim3d.import_network(tmp_path / "text.pt", tmp_path / "c.safetensors")
    assert not (tmp_path / "c.safetensors").exists()


@pytest.fixture(scope="module")
def model(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("bpartis") / "bpartis.safetensors"
    tim3d.import_network(weights, path)
    return str(path)


def of(model: str, **changes: object) -> BPartIS:
    how = {"window": (1, 24, 32), "halo": (0, 8, 8), "passes": 2, "least": 3, **changes}
    return BPartIS(model, read_model(model).sha256, **how)  # type: ignore[arg-type]


@pytest.mark.long
def test_no_block_shows_in_particles_or_their_uncertainty(model: str, tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (2, 20, 33)).astype(np.uint8)
    np.save(tmp_path / "g.npy", grey)
    found = []
    for name, shard in (("whole", (2, 20, 33)), ("cut", (1, 10, 17))):
        sample = str(tmp_path / name)
        few = tim3d.Options(progress=False, block=shard)
        tim3d.ingest(
            tmp_path / "g.npy", sample, voxel_size={"z": 20, "y": 5, "x": 5}, shard=shard, options=QUIET
        )  # fmt: skip
        tim3d.segment(sample, segmenter=of(model), out="p", options=few)
        found.append(
            [
                tim3d.open_field(sample, f"p{one}").values
                for one in ("", "_particles", "_mutual_information")
            ]
        )
    assert all(np.array_equal(one, other) for one, other in zip(*found, strict=True))
    labels, numbers, doubt = found[0]
    assert numbers.max() > 1
    assert np.array_equal(labels > 0, numbers > 0)
    assert doubt.max() > 0
    # The shell's way: the kind of the file, whole slices.
    tim3d.segment(sample, model=model, out="q", options=QUIET)
    assert "q_mutual_information" in store.fields(sample)
    Image.fromarray(grey[0]).save(tmp_path / "g.png")
    with pytest.raises(CheckpointError, match="numbers particles, which masks of phases do not"):
        tim3d.segment_images(str(tmp_path), str(tmp_path / "masks"), model=model)
    with pytest.raises(ArgumentError, match="--batch changes nothing"):
        tim3d.segment(sample, model=model, out="r", batch=2, options=QUIET)


def test_what_is_dropped_follows_from_seed_place_and_pass(model: str) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (1, 16, 24)).astype(np.uint8)
    place = Box((3, 8, 8), (4, 24, 32))
    first = of(model).open()(grey, place)["mutual_information"]
    assert np.array_equal(first, of(model).open()(grey, place)["mutual_information"])
    for other, where in ((of(model, seed=1), place), (of(model), Box((4, 8, 8), (5, 24, 32)))):
        assert not np.array_equal(first, other.open()(grey, where)["mutual_information"])
    assert "mutual_information" not in of(model, passes=0).open()(grey, place)
    with pytest.raises(ArgumentError, match="windows one slice thick"):
        of(model, window=(2, 16, 24))


def test_what_is_decoded_does_not_depend_on_the_place_in_the_window() -> None:
    """A place of the features is 8 pixels, wherever it lies."""
    from tim3d.models.segmentation.branched_erfnet import Decoder, Shape

    torch.manual_seed(0)
    decoder = Decoder(Shape(), 3).eval()
    features = torch.randn(1, Shape().channels[2], 16, 18)
    with torch.inference_mode():
        whole, part = decoder(features), decoder(features[..., 1:, 2:])
    assert whole.shape == (1, 3, 128, 144)
    edge = slice(48, -48)
    torch.testing.assert_close(part[..., edge, edge], whole[..., 8:, 16:][..., edge, edge])


def test_the_published_weights_find_discs(tmp_path: Path) -> None:
    if not REAL:
        pytest.skip("TIM3D_BPARTIS names no seg-model.pt of imagedataextractor")
    path = str(tmp_path / "bpartis.safetensors")
    tim3d.import_network(REAL, path)
    about = read_model(path).description
    assert about["source"]["sha256"] == PUBLISHED
    assert "MIT" in about["licence"]
    y, x = np.indices((256, 320))
    places = [
        (60, 70, 30),
        (70, 150, 26),
        (70, 240, 34),
        (170, 60, 28),
        (180, 150, 36),
        (180, 250, 30),
    ]
    truth = np.zeros(y.shape, np.uint32)
    grey = np.random.default_rng(0).normal(60, 8, y.shape)
    for number, (cy, cx, radius) in enumerate(places, 1):
        far = np.hypot(y - cy, x - cx)
        truth[far <= radius] = number
        grey += np.where(far <= radius, 90 + 60 * np.clip(far / radius, 0, 1) ** 4, 0)
    how = of(path, window=(1, 256, 320), halo=(0, 0, 0), passes=4, least=128)
    image = np.clip(grey, 0, 255).astype(np.uint8)[None]
    numbers = how.open()(image, Box((0, 0, 0), (1, 256, 320)))["particles"][0]
    for number in range(1, len(places) + 1):
        best = np.bincount(numbers[truth == number]).argmax()
        both, either = (numbers == best) & (truth == number), (numbers == best) | (truth == number)
        assert best > 0
        assert both.sum() / either.sum() > 0.8
