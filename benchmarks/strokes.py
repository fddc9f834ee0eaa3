"""Strokes on four images of a superalloy against hand labels, and the speed of the forest.

    python benchmarks/strokes.py nasa-sem             # the tables of RESULTS.md
    python benchmarks/strokes.py nasa-sem --seeds 1 --images 1 --strokes 3 --trees 5      # a quick look

The images and labels are those of Stuckner, Harder, Smith, npj Comput. Mater. 8 (2022) 200 (MIT).
Strokes of 40 pixels are laid over the true labels of the four training images of Super-2 and
Super-4, with random places and directions, and end at the border of the phase. The forest is judged on the
test images, secondary and tertiary precipitate as one. The peer is scikit-learn's forest on
the features of scikit-image, at the same scales, with as many trees.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from tim3d.kernels.image.pixel_features import (
    TILE,
    FeatureSet,
    features_of,
    features_of_band,
    gaussians,
)
from tim3d.kernels.image.threshold import blurred, grey_counts, otsu
from tim3d.kernels.statistics import metrics
from tim3d.kernels.statistics.forest import Forest
from tim3d.models.segmentation.stroke_training import ForestOptions, fit_forest

SCALES, LENGTH = (1.0, 2.0, 4.0, 8.0, 16.0), 40
FEATURES = FeatureSet(SCALES, (1.0, 1.0, 1.0), planar=True)
Floats = NDArray[np.float32]
Labels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Micrograph:
    """An image and its labels: 1 is precipitate."""

    grey: NDArray[np.uint8]
    truth: Labels

    def normal(self) -> Floats:
        """Grey values less their mean, over their deviation, as one slice."""
        values = self.grey.astype(np.float32)
        return ((values - values.mean()) / values.std())[None]

    def rows(self, labels: Labels) -> Floats:
        """Features of the pixels that are painted."""
        grey = self.normal()
        points = np.argwhere(labels[None] != 255)
        return features_of(grey, gaussians(grey, FEATURES), points, FEATURES)

    def found(self, forest: Forest) -> Labels:
        """Labels of all pixels by a forest."""
        grey, (_, width) = self.normal(), self.grey.shape
        smooth, lines = gaussians(grey, FEATURES), []
        for y in range(0, len(self.grey), TILE):
            tiles = forest.labels(features_of_band(grey, smooth, (0, y, 0), width, FEATURES))
            lines.append(tiles.reshape(-1, TILE, TILE).swapaxes(0, 1).reshape(TILE, -1))
        return np.concatenate(lines)[: len(self.grey), :width]


def read(folder: Path, name: str) -> Micrograph:
    """One image with its labels."""
    values = np.array(Image.open(folder / "Super" / "images" / f"{name}.png"))
    grey = np.rint(values / 257).astype(np.uint8) if values.dtype != np.uint8 else values
    truth = np.array(Image.open(folder / "Super" / "annotations" / f"{name}.png"))
    return Micrograph(grey if grey.ndim == 2 else grey[..., 0], (truth > 0).astype(np.uint8))


def painted(truth: Labels, strokes: int, random: np.random.Generator) -> Labels:
    """Strokes of both classes; 255 where nothing is painted."""
    found = np.full(truth.shape, 255, np.uint8)
    along = np.arange(LENGTH) - LENGTH // 2
    for label in (0, 1):
        places = np.argwhere(truth == label)
        for _ in range(strokes):
            y, x = places[random.integers(len(places))]
            angle = random.uniform(0, np.pi)
            rows = np.rint(y + along * np.sin(angle)).astype(int)
            columns = np.rint(x + along * np.cos(angle)).astype(int)
            inside = (rows >= 0) & (rows < len(truth)) & (columns >= 0) & (columns < truth.shape[1])
            rows, columns = rows[inside], columns[inside]
            own = truth[rows, columns] == label
            found[rows[own], columns[own]] = label
    return found


def iou_macro(truth: Labels, found: Labels) -> float:
    """Mean of the IoU of both classes."""
    return metrics.iou_macro(metrics.confusion(truth, found, 2))


def by_otsu(image: Micrograph) -> Labels:
    """The dark side of Otsu's threshold after a binomial blur."""
    smooth = blurred(image.grey[None], "binomial")
    level = otsu(grey_counts(smooth), np.arange(256.0))
    return (smooth[0] <= level).astype(np.uint8)


def trained(images: list[Micrograph], strokes: int, options: ForestOptions) -> tuple[Forest, int]:
    """A forest of strokes on some images, and how many pixels they cover."""
    random = np.random.default_rng(options.seed)
    labels = [painted(one.truth, strokes, random) for one in images]
    x = np.concatenate([one.rows(k) for one, k in zip(images, labels, strict=True)])
    y = np.concatenate([k[k != 255] for k in labels])
    return fit_forest(x, y, 2, options)[0], len(y)


def accuracy(folder: Path, seeds: int, images: int, strokes: int, trees: int) -> Iterator[str]:
    """A line for each test set: Otsu, and the forest with each seed."""
    lists = json.loads((folder / "splits.json").read_text())
    for name in ("Super2", "Super4"):
        learn, test = (
            [read(folder, one) for one in lists[name][part][:images]] for part in ("train", "test")
        )
        otsus = [iou_macro(one.truth, by_otsu(one)) for one in test]
        scores, pixels = [], []
        for seed in range(seeds):
            forest, count = trained(learn, strokes, ForestOptions(trees=trees, seed=seed))
            scores.append(np.mean([iou_macro(one.truth, one.found(forest)) for one in test]))
            pixels.append(count)
        each = ", ".join(f"{s:.4f}" for s in scores)
        yield (
            f"| {name} | {len(learn)} | {np.mean(pixels):.0f} | {np.mean(otsus):.4f} | {np.mean(scores):.4f} | {each} |"
        )


def seconds(call: Callable[[], object]) -> float:
    """Processor time of the quicker of two calls."""
    found = []
    for _ in range(2):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return min(found)


def speed(
    name: str, grey: Floats, label: Labels, features: FeatureSet, trees: int
) -> Iterator[str]:
    """Time of features and forest, beside scikit-image and scikit-learn, for what is painted."""
    from skimage.feature import multiscale_basic_features
    from sklearn.ensemble import RandomForestClassifier

    points = np.ascontiguousarray(np.argwhere(np.ones(grey.shape, bool)))
    known = label.ravel() != 255
    painted_labels = label.ravel()[known]

    def bands() -> Iterator[Floats]:
        smooth = gaussians(grey, features)
        for z, y in product(range(grey.shape[0]), range(0, grey.shape[1], TILE)):
            yield features_of_band(grey, smooth, (z, y, 0), grey.shape[2], features)

    def theirs() -> Floats:
        found = multiscale_basic_features(
            grey[0] if features.planar else grey,
            sigma_min=min(features.scales),
            sigma_max=max(features.scales),
            num_sigma=len(features.scales),
        )
        return found.reshape(-1, found.shape[-1])

    forest = RandomForestClassifier(
        trees, max_depth=12, min_samples_leaf=2, class_weight="balanced", random_state=0, n_jobs=1
    )
    of_ours, of_theirs = np.concatenate(list(bands())), theirs()
    rows = features_of(grey, gaussians(grey, features), points[known], features)
    own = fit_forest(rows, painted_labels, 2, ForestOptions(trees=trees))[0]
    forest.fit(of_theirs[known], painted_labels)
    own.labels(of_ours[:1])  # is compiled
    times = {
        "features": (seconds(lambda: all(len(one) for one in bands())), seconds(theirs)),
        "forest": (
            seconds(lambda: own.labels(of_ours)),
            seconds(lambda: forest.predict(of_theirs)),
        ),
        "probabilities": (
            seconds(lambda: own.votes(of_ours)),
            seconds(lambda: forest.predict_proba(of_theirs)),
        ),
        "labels from grey": (
            seconds(lambda: [own.labels(one) for one in bands()]),
            seconds(lambda: forest.predict(theirs())),
        ),
    }
    counts = f"{rows.shape[1]} and {of_theirs.shape[1]} features"
    for step, (mine, peer) in times.items():
        mega = grey.size / 1e6
        yield f"| {name}, {counts} | {step} | {mega / mine:.3f} | {mega / peer:.3f} | {peer / mine:.2f} |"


def speeds(folder: Path, strokes: int, trees: int, edge: int) -> Iterator[str]:
    """Rows of an image, and of a volume of blobs."""
    names = json.loads((folder / "splits.json").read_text())["Super2"]["train"]
    image, random = read(folder, names[0]), np.random.default_rng(0)
    label = painted(image.truth, 4 * strokes, random)
    yield from speed("image", image.normal(), label, FEATURES, trees)
    noise = random.normal(size=(edge // 2, edge, edge))
    blobs = ndimage.gaussian_filter(noise, 3)
    grey = (blobs / blobs.std() + 0.5 * noise).astype(np.float32)
    label = np.full(grey.shape, 255, np.uint8)
    for z in range(4, edge // 2, 8):
        label[z] = painted((blobs[z] > 0).astype(np.uint8), strokes, random)
    solid = FeatureSet(SCALES[:4], (1.0, 1.0, 1.0), planar=False)
    yield from speed("volume", grey, label, solid, trees)


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=9)
    parser.add_argument("--strokes", type=int, default=20)
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--edge", type=int, default=128)
    given = parser.parse_args(arguments)
    if given.seeds:  # none: the speed only
        head = "| set | images | painted pixels | Otsu | strokes | each seed |"
        print(f"{head}\n|---|---|---|---|---|---|")
        for line in accuracy(given.folder, given.seeds, given.images, given.strokes, given.trees):
            print(line, flush=True)
    print("\n| of | step | tim3d, M/s | peer, M/s | times |\n|---|---|---|---|---|")
    for line in speeds(given.folder, given.strokes, given.trees, given.edge):
        print(line, flush=True)


if __name__ == "__main__":
    main()
