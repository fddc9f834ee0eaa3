"""U-Nets on hand-labelled SEM images of superalloys and coatings, beside Otsu and published figures.

    python -m benchmarks.nasa_networks nasa-sem --encoder-weights efficientnet-lite0-57934424.pth
    python -m benchmarks.nasa_networks nasa-sem --sets Super2 --networks resnet18 --epochs 1 --steps 2

The images and labels are those of Stuckner, Harder, Smith, npj Comput. Mater. 8 (2022) 200 (MIT), with
the training, validation and test images of its `splits.json`. Networks learn three classes from the
training images alone; the best epoch is that of the validation images. Grey values are taken less the
mean, over the deviation, of each image. Beside the table: a specialist that was trained with encoders
for microscopy, and two figures without training of a promptable network (arXiv:2401.05638).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.strokes import Micrograph as TwoClasses
from benchmarks.strokes import by_otsu
from tim3d.kernels.statistics import metrics
from tim3d.models.segmentation.architectures import widths_of
from tim3d.models.segmentation.checkpoint import Normalisation, load
from tim3d.models.segmentation.crops import Augmentation, prepare
from tim3d.models.segmentation.first_weights import of_encoder
from tim3d.models.segmentation.training import UNetTraining
from tim3d.models.segmentation.training_options import TrainingOptions
from tim3d.models.segmentation.unet import UNetSpec

Bytes = NDArray[np.uint8]
CLASSES = ("matrix", "secondary", "tertiary")
LITE = "timm-tf_efficientnet_lite0"
SIZE = (1.0, 1.0, 1.0)  # in pixels: the data do not say how large they are


@dataclass(frozen=True)
class Network:
    """A row of the table: what is trained, and how."""

    spec: UNetSpec
    pretrained: bool = False
    more: dict[str, object] | None = None


def _spec(encoder: str, depth: int, architecture: str = "Unet") -> UNetSpec:
    return UNetSpec(CLASSES, architecture, encoder, depth, widths_of(architecture, depth))


SEM = {"augmentation": Augmentation(more=("sem",))}
NETWORKS = {
    "resnet18": Network(_spec("resnet18", 3)),
    "resnet18, sem": Network(_spec("resnet18", 3), more=SEM),
    "lite0": Network(_spec(LITE, 4)),
    "lite0, ImageNet": Network(_spec(LITE, 4), pretrained=True),
    "lite0, ImageNet, rate 0.1": Network(_spec(LITE, 4), True, {"encoder_rate": 0.1}),
    "lite0, ImageNet, sem": Network(_spec(LITE, 4), True, SEM),
    "lite0, ImageNet, balanced": Network(_spec(LITE, 4), True, {"crops": "balanced"}),
    "lite0, ImageNet, sem, balanced": Network(_spec(LITE, 4), True, {**SEM, "crops": "balanced"}),
}


@dataclass(frozen=True, eq=False)
class Labelled:
    """Images (n, y, x) and their labels."""

    grey: Bytes
    truth: Bytes


def read(folder: Path, name: str, part: str) -> Labelled:
    """Images of a part of a set: those that are there."""
    kind = name.rstrip("0123456789")
    listed = json.loads((folder / "splits.json").read_text())[name][part]
    places = [
        (folder / kind / of / f"{one}.png") for one in listed for of in ("images", "annotations")
    ]
    pairs = [
        (a, b)
        for a, b in zip(places[::2], places[1::2], strict=True)
        if a.is_file() and b.is_file()
    ]
    grey, truth = (
        [_plane(np.array(Image.open(p))) for p in column] for column in zip(*pairs, strict=True)
    )
    return Labelled(np.stack(grey), np.stack(truth))


def _plane(values: NDArray[np.generic]) -> Bytes:
    plane = values if values.ndim == 2 else values[..., 0]
    return np.asarray(
        plane if plane.dtype == np.uint8 else np.rint(plane.astype(float) / 257), np.uint8
    )


def scale(grey: Bytes) -> Normalisation:
    """Mean and deviation of each image."""
    mean, std = (tuple(getattr(one, how)().item() for one in grey) for how in ("mean", "std"))
    return Normalisation("table", mean, std)


def trained(
    network: Network,
    seen: Labelled,
    held_out: Labelled,
    weights: Path | None,
    options: TrainingOptions,
) -> torch.nn.Module:
    """The best epoch of a network."""
    grey = np.concatenate([seen.grey, held_out.grey])
    truth = np.concatenate([seen.truth, held_out.truth])
    spec, numbers = network.spec, range(len(grey))
    slices, found = prepare(grey, truth, spec, scale(grey), numbers)
    asked = replace(
        options, validation_fraction=len(held_out.grey) / len(grey), **(network.more or {})
    )  # type: ignore[arg-type]
    first = of_encoder(weights, spec) if network.pretrained and weights else None
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "net.safetensors"
        UNetTraining(slices, spec, asked, found, SIZE, first).carry_out(path)
        return load(path).model


def labels_of(net: torch.nn.Module, grey: Bytes) -> Bytes:
    """Classes of an image, whose edges are multiples of the stride."""
    normal = ((grey - grey.mean()) / grey.std()).astype(np.float32)
    with torch.inference_mode():
        return net(torch.from_numpy(normal[None, None]))[0].argmax(0).numpy().astype(np.uint8)


def row(test: Labelled, found: list[Bytes]) -> str:
    """Metrics: of precipitate against matrix by image, then of all three classes over all pixels."""
    two = [
        metrics.confusion((t > 0).astype(np.uint8), (f > 0).astype(np.uint8), 2)
        for t, f in zip(test.truth, found, strict=True)
    ]
    mean = metrics.mean_over_images(two)
    pooled = metrics.confusion(test.truth.ravel(), np.stack(found).ravel(), 3)
    by_class = np.diag(pooled) / (pooled.sum(0) + pooled.sum(1) - np.diag(pooled)).clip(1)
    return " | ".join(
        f"{value:.4f}"
        for value in (
            mean["iou_macro"], mean["dice"], mean["recall"], metrics.iou_micro(pooled), metrics.iou_macro(pooled),
            by_class[1], by_class[2], metrics.accuracy(pooled),
        )
    )  # fmt: skip


def rows(folder: Path, name: str, given: argparse.Namespace) -> Iterator[str]:
    """Otsu, which knows two classes, then every network and seed."""
    seen, held_out, test = (read(folder, name, part) for part in ("train", "val", "test"))
    count, edge = len(seen.grey), seen.grey.shape[1]
    otsu = [
        by_otsu(TwoClasses(g, (t > 0).astype(np.uint8)))
        for g, t in zip(test.grey, test.truth, strict=True)
    ]
    yield f"| {name}, {count} images of {edge}² | Otsu, dark side | {row(test, otsu)} | |"
    for title in given.networks:
        network = NETWORKS[title]
        if network.pretrained and not given.encoder_weights:
            continue
        for seed in range(given.seeds):
            options = TrainingOptions(
                epochs=given.epochs, steps=given.steps, patience=given.epochs, seed=seed, device="cpu", threads=1,
                learning_rate=given.learning_rate, crop=given.crop, batch=given.batch,
            )  # fmt: skip
            start = time.process_time()
            net = trained(network, seen, held_out, given.encoder_weights, options)
            spent = time.process_time() - start
            found = [labels_of(net, grey) for grey in test.grey]
            yield f"| {name} | {title}, seed {seed} | {row(test, found)} | {spent:.0f} |"


HEAD = (
    "| set | network | iou_macro, 2 classes by image | dice | recall | iou_micro, 3 classes pooled "
    "| iou_macro, pooled | iou class 1 | iou class 2 | accuracy | CPU s |\n|" + "---|" * 11
)


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder-weights", type=Path)
    parser.add_argument("--sets", nargs="+", default=["Super2", "Super4"])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    given = parser.parse_args(arguments)
    print(HEAD)
    for name in given.sets:
        for line in rows(given.folder, name, given):
            print(line, flush=True)


if __name__ == "__main__":
    main()
