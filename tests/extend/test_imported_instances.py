"""A U-Net that a user trained elsewhere, from its file of weights to numbered objects: by offsets, and by middles.

The training is plain torch, as in a program of the user's; what follows are the commands of docs/segment.md and a
segmenter of docs/extend.md. Touching discs are told apart on slices that it did not learn from, whatever the blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from scipy import ndimage

import tim3d
from tests.nets import smp_unet
from tim3d.grid import Box, Triple
from tim3d.segmenters import Map, Segmenter, Voting

torch = pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
pytestmark = pytest.mark.long
MEAN, STD = 100.0, 50.0
SIZE = {"z": 20.0, "y": 5.0, "x": 5.0}
SHAPE: Triple = (4, 48, 56)


def slices(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Grey values and numbers (z, y, x) of discs in pairs that touch, others in every slice."""
    rng, (rows, columns) = np.random.default_rng(seed), np.indices(SHAPE[1:])
    numbers = np.zeros((count, *SHAPE[1:]), np.uint16)
    for z in range(count):
        for pair in range(2):
            y, x = 13 + 23 * pair + rng.integers(-3, 4), rng.integers(14, 28)
            for number, middle in enumerate((x, x + 13)):
                disc = np.hypot(rows - y, columns - middle) <= 7
                numbers[z][disc & (numbers[z] == 0)] = 1 + 2 * pair + number
    return look(numbers, seed), numbers


def look(numbers: np.ndarray, seed: int) -> np.ndarray:
    """Grey values of objects, with noise."""
    noise = np.random.default_rng(seed).normal(0, 8, numbers.shape)
    return np.clip(np.rint(np.where(numbers > 0, 150, 60) + noise), 0, 255).astype(np.uint8)


def pointing(numbers: np.ndarray) -> np.ndarray:
    """Offsets along y and x (2, y, x) from every pixel of an object to its middle."""
    found = np.zeros((2, *numbers.shape), np.float32)
    for number in np.unique(numbers[numbers > 0]):
        own = np.argwhere(numbers == number)
        found[:, numbers == number] = (own.mean(0) - own).T
    return found


def parts(numbers: np.ndarray) -> np.ndarray:
    """Matrix 0, middle 1, border 2 of the objects of a slice."""
    inner = np.zeros(numbers.shape, bool)
    for number in np.unique(numbers[numbers > 0]):
        inner |= ndimage.distance_transform_edt(numbers == number) > 2.5
    return np.where(numbers == 0, 0, np.where(inner, 1, 2))


def trained(loss: Callable[[Any, int], Any], classes: int, grey: np.ndarray, steps: int) -> Any:
    """A network of the user's own training; grey values are normalised as it was fed."""
    net = smp_unet(classes=classes, channels=1)
    adam = torch.optim.Adam(net.parameters(), lr=1e-2)
    images = torch.from_numpy((grey[:, None].astype(np.float32) - MEAN) / STD)
    rng = np.random.default_rng(0)
    net.train()
    for _ in range(steps):
        chosen = rng.choice(len(images), 4, replace=False)
        out = net(images[chosen])
        total = sum(loss(one, int(number)) for one, number in zip(out, chosen, strict=True))
        adam.zero_grad()
        total.backward()
        adam.step()
    return net.eval()


def imported(net: Any, folder: Path, classes: list[str]) -> Path:
    torch.save(net.state_dict(), folder / "mine.pth")
    return tim3d.import_network(
        folder / "mine.pth", folder / "mine.safetensors", classes=classes, mean=[MEAN], std=[STD],
        encoder="mobilenet_v2", depth=2, decoder_channels=[32, 16], voxel_size=SIZE,
    )  # fmt: skip


def sample_of(folder: Path, shard: Triple, *, columns: bool) -> str:
    """Slices that taught nothing, and the true numbers: of columns, or of each slice its own."""
    grey, numbers = slices(SHAPE[0], 99)
    if columns:
        numbers = np.repeat(numbers[:1], SHAPE[0], axis=0)
        grey = look(numbers, 99)
    else:
        numbers += (4 * np.arange(SHAPE[0], dtype=np.uint16))[:, None, None] * (numbers > 0)
    sample = str(folder / f"{shard[0]}.zarr")
    for name, values, how in (("raw", grey, {}), ("truth", numbers, {"convert": "objects"})):
        np.save(folder / f"{name}.npy", values)
        tim3d.ingest(
            folder / f"{name}.npy", sample, field=name, voxel_size=SIZE, shard=shard,
            options=tim3d.Options(progress=False), **how,
        )  # type: ignore[arg-type] # fmt: skip
    return sample


@cache
def network_of(path: str) -> Any:
    """The network of a model file, loaded once in each process."""
    from tim3d.models.segmentation import checkpoint

    return checkpoint.load(path).model


@dataclass(frozen=True)
class Pointing(Segmenter):
    """A network of four outputs: outside, inside, and offsets in pixels along y and x."""

    path: str
    sha256: str
    kind: ClassVar[str] = "pointing"
    needs_torch: ClassVar[bool] = True
    classes = ("matrix", "grain")
    window = (1, 48, 48)
    halo = (0, 8, 8)
    total_stride = (1, 4, 4)

    @property
    def maps(self) -> tuple[Map, ...]:  # type: ignore[override]
        voting = Voting(radius=18.0, reach=(0, 10, 10), least=20)
        return (Map("grains", "number of the grain", joined="votes", of="grain", voting=voting),)

    def open(self) -> Callable[..., Mapping[str, np.ndarray]]:
        return self.look

    def look(self, grey: np.ndarray, place: Box) -> Mapping[str, np.ndarray]:
        image = torch.from_numpy((grey[:, None].astype(np.float32) - MEAN) / STD)
        with torch.no_grad():
            outside, inside, y, x = network_of(self.path)(image).numpy().swapaxes(0, 1)
        return {
            "labels": (inside > outside).astype(np.uint8),
            "grains": np.stack([np.zeros_like(y), y, x]),
        }


def test_offsets_of_an_imported_network_number_objects(tmp_path: Path) -> None:
    grey, numbers = slices(12, 0)
    inside = torch.from_numpy((numbers > 0).astype(np.int64))
    aims = torch.from_numpy(np.stack([pointing(one) for one in numbers]))

    def loss(out: Any, number: int) -> Any:
        own = inside[number]
        far = (out[2:] - aims[number]).abs().sum(0)[own > 0].mean()
        return torch.nn.functional.cross_entropy(out[None, :2], own[None]) + 0.2 * far

    net = trained(loss, 4, grey, 60)
    model = imported(net, tmp_path, ["outside", "inside", "offset_y", "offset_x"])
    seen = Pointing(str(model), tim3d.segmenters.read_model(model).sha256)
    found = []
    for shard in ((4, 48, 56), (1, 16, 24)):
        sample = sample_of(tmp_path, shard, columns=False)
        few = tim3d.Options(progress=False, block=shard)
        tim3d.segment(sample, segmenter=seen, out="by_votes", options=few)
        found.append(tim3d.open_field(sample, "by_votes_grains").values)
        judged = tim3d.evaluate(sample, field="by_votes_grains", truth="truth", options=few)
        assert float(judged.panoptic_quality) > 0.85
        assert int(judged.objects) == len(np.unique(tim3d.open_field(sample, "truth"))) - 1
    assert np.array_equal(*found)


def test_middles_of_an_imported_network_are_seeds_of_objects(tmp_path: Path) -> None:
    grey, numbers = slices(12, 0)
    true = torch.from_numpy(np.stack([parts(one) for one in numbers]))

    def loss(out: Any, number: int) -> Any:
        return torch.nn.functional.cross_entropy(out[None], true[number][None])

    net = trained(loss, 3, grey, 60)
    model = imported(net, tmp_path, ["matrix", "middle", "border"])
    found = []
    for shard in ((4, 48, 56), (1, 16, 24)):
        sample = sample_of(tmp_path, shard, columns=True)
        few = tim3d.Options(progress=False, block=shard)
        tim3d.segment(
            sample, model=model, probabilities=True, merge={"border": "middle"}, window=(48, 48), halo=8,
            device="cpu", options=few,
        )  # fmt: skip
        tim3d.watershed(
            sample, "phase_probability_middle", phase="middle", depth=26, out="by_middles", options=few
        )  # fmt: skip
        found.append(tim3d.open_field(sample, "by_middles").values)
        judged = tim3d.evaluate(sample, field="by_middles", truth="truth", options=few)
        assert float(judged.panoptic_quality) > 0.85
        assert int(judged.objects) == len(np.unique(tim3d.open_field(sample, "truth"))) - 1
    assert np.array_equal(*found)
    # Less the probability of the border, which falls again towards the matrix, the rim is objects too.
    tim3d.watershed(
        sample, "phase_probability_middle", boundary="phase_probability_border", phase="middle", depth=26,
        out="rims", options=few,
    )  # fmt: skip
    assert int(tim3d.open_field(sample, "rims").max()) > int(found[0].max())
