"""The verb `train_strokes_images`: a classifier of pixels from strokes on single images."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim3d.engine import Outline
from tim3d.engine.clusters.memory import available_memory
from tim3d.engine.passes.plan import size_text
from tim3d.errors import ArgumentError, MemoryPlanError, MixedRunError
from tim3d.forecast import expect
from tim3d.kernels.image.pixel_features import FeatureSet, features_of, gaussians
from tim3d.kernels.statistics import metrics
from tim3d.kernels.statistics.forest import Forest
from tim3d.models.segmentation.crops import UNLABELLED
from tim3d.models.segmentation.model_file import read_model
from tim3d.models.segmentation.stroke_forest import (
    KIND,
    StrokeModel,
    model_of,
    normalised,
    save_forest,
    usual_scales,
)
from tim3d.models.segmentation.stroke_training import (
    ForestOptions,
    chosen_ranks,
    digest,
    fit_forest,
    require_sklearn,
)
from tim3d.phases import Phases
from tim3d.stages.images.labelled import LabelledImage, LabelledImages, labelled_images
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import outputs
from tim3d.typed import Folder, Names, PixelScales

log = logging.getLogger(__name__)

Rows = tuple[NDArray[np.float32], NDArray[np.uint8]]


@Verb
def train_strokes_images(
    folder: Folder,
    masks: Folder,
    model: str | Path,
    *,
    phases: Phases | None = None,
    names: str = "{name}",
    splits: str | Path | None = None,
    subset: str | None = None,
    validate: Names | None = None,
    folds: int = 0,
    scales: PixelScales | None = None,
    trees: int = 100,
    depth: int = 12,
    leaf: int = 2,
    most: int = 50_000,
    seed: int = 0,
    overwrite: bool = False,
) -> Task[Path]:
    """Train a random forest on strokes on single images, for segment-images.

    The images may have any sizes and depths; each is normalised by its own mean and deviation.
    Masks need not be whole: pixels of a phase that is called ``unlabelled`` are not painted.

    Parameters
    ----------
    folder : path
        Folder of the images.
    masks : path
        Folder of the masks or strokes, one for each image.
    model : path
        File to write, for example strokes.safetensors.
    phases : Phases, optional
        Names and values in the masks (default: as tim3d segment-images recorded them).
    names : str
        Name of the mask of the image {name}, without the suffix; or by the {number} at the
        end of its name, as truth_{number}.
    splits : path, optional
        File of lists of images, JSON or CSV (default: all images).
    subset : str, optional
        The list that is learnt from, as train or Super2/train (needed with splits).
    validate : sequence of str, optional
        Images that are not learnt from, and on which the classifier is judged; with splits the name
        of one list (default: none).
    folds : int
        Parts of a cross-validation, each of which is left out once and judged (default: none).
    scales : sequence of float, optional
        Scales of the features in pixels (default: 1, 2, 4, 8 and 16).
    trees : int
        Trees of the forest.
    depth : int
        Most steps to a leaf.
    leaf : int
        Least painted pixels in a leaf.
    most : int
        Most pixels of each phase in the training; they are drawn from those painted.
    seed : int
        Seed of the draw and of the forest.
    overwrite : bool
        Replace an earlier training.

    Returns
    -------
    Path
        The model. Its record has the mean IoU of the images that judged, and of each fold.

    Raises
    ------
    ArgumentError
        If phases, scales or numbers do not fit.
    InputError
        If an image has no mask or one of another size, a mask has values without a phase, a phase
        is not painted, or an image is to be learnt from and to judge.
    MixedRunError
        If the file holds another training.
    MemoryPlanError
        If the largest image does not fit into memory.
    MissingExtraError
        If scikit-learn is not installed.
    """
    require_sklearn()
    target = outputs.check_target(model, outputs.WEIGHTS)
    images = labelled_images(folder, masks, phases, names, splits, subset, validate)
    options = ForestOptions(trees, depth, leaf, most, seed)
    options.check()
    given = usual_scales(1.0) if scales is None else tuple(map(float, scales))
    positive = given and all(0 < scale < math.inf for scale in given)
    if not positive or any(b <= a for a, b in pairwise(given)):
        raise ArgumentError(f"--scales {list(given)} are not ascending numbers of pixels: 1,2,4")
    if folds and not 2 <= folds <= len(images.learnt):
        raise ArgumentError(
            f"--folds {folds} needs from 2 to {len(images.learnt)}, the number of images"
        )
    features = FeatureSet(given, (1.0, 1.0, 1.0), planar=True)
    training = StrokeImagesTraining(images, features, options, folds, target, overwrite)
    return Task(training.plans, training.run)


@dataclass(frozen=True)
class StrokeImagesTraining:
    """Images with strokes, and the file to write."""

    images: LabelledImages
    features: FeatureSet
    options: ForestOptions
    folds: int
    target: Path
    overwrite: bool

    def plans(self) -> list[Outline]:
        """One line, or nothing if the file holds this training."""
        self._refuse_beyond_memory()
        if self.target.exists() and not self.overwrite:
            self._refuse_another(self._rows())
            return []
        expect("network", str(self.target), self._model({}))
        text = (
            f"trains on the strokes of {', '.join(self.images.classes)} in {len(self.images.learnt)} images by "
            f"{len(self.features.names)} features, into {self.target}"
        )
        return [Outline("train-strokes-images", text)]

    def run(self) -> Path:
        """Train, unless the file holds this training."""
        self._refuse_beyond_memory()
        rows = self._rows()
        if self.target.exists() and not self.overwrite:
            self._refuse_another(rows)
            return self.target
        forest, record = self._fitted(rows, list(self.images.learnt))
        record |= self._asked(rows) | self._judged(forest, rows)
        save_forest(self.target, forest, self._model(record))
        log.info(
            "trained on %s pixels of %s; out-of-bag accuracy %.2f %%%s",
            " + ".join(map(str, record["voxels"])), ", ".join(self.images.classes),
            100 * record["out_of_bag"], _said(record),
        )  # fmt: skip
        return self.target

    def _fitted(self, rows: Mapping[str, Rows], names: list[str]) -> tuple[Forest, dict[str, Any]]:
        x, y = (np.concatenate([rows[name][n] for name in names]) for n in (0, 1))
        return fit_forest(x, y, len(self.images.classes), self.options)

    def _judged(self, forest: Forest, rows: Mapping[str, Rows]) -> dict[str, Any]:
        """Mean IoU of the images that judge, and of every fold."""
        found: dict[str, Any] = {}
        if self.images.judging:
            found["validation"] = self._score(forest, [rows[name] for name in self.images.judging])
        parts = np.array_split(list(self.images.learnt), self.folds) if self.folds else []
        scores = []
        for part in (one.tolist() for one in parts):
            kept = [name for name in self.images.learnt if name not in part]
            scores.append(self._score(self._fitted(rows, kept)[0], [rows[name] for name in part]))
        return found | ({"fold_iou": scores} if scores else {})

    def _score(self, forest: Forest, rows: list[Rows]) -> float:
        """Mean over the classes of the IoU of the painted pixels."""
        classes = len(self.images.classes)
        x, y = (np.concatenate([one[n] for one in rows]) for n in (0, 1))
        found = forest.probabilities(x).argmax(axis=1).astype(np.uint8)
        return float(metrics.iou_macro(metrics.confusion(y, found, classes)))

    def _rows(self) -> dict[str, Rows]:
        """Features and classes of the painted pixels of each image, at most `most` of a class."""
        counts = {name: self._count(self.images.read(name)) for name in self._names()}
        self.images.check_painted(counts)
        classes = range(len(self.images.classes))
        learnt = [counts[name] for name in self.images.learnt]
        total = np.sum(learnt, axis=0)
        ranks = [chosen_ranks(int(total[k]), self.options, k) for k in classes]
        found, before = {}, np.zeros(len(classes), np.int64)
        for name in self._names():
            judges = name in self.images.judging
            image = self.images.read(name)
            found[name] = self._of_image(image, [None] * len(classes) if judges else ranks, before)
            before += 0 if judges else counts[name]
        return found

    def _names(self) -> list[str]:
        return [*self.images.learnt, *self.images.judging]

    def _count(self, image: LabelledImage) -> NDArray[np.int64]:
        classes = len(self.images.classes)
        return np.bincount(image.labels[image.labels != UNLABELLED], minlength=classes)

    def _of_image(
        self,
        image: LabelledImage,
        ranks: Sequence[NDArray[np.int64] | None],
        before: NDArray[np.int64],
    ) -> Rows:
        points, labels = [], []
        for label, chosen in enumerate(ranks):
            there = np.argwhere(image.labels[None] == label)
            if chosen is not None:
                first = int(before[label])
                low, high = np.searchsorted(chosen, [first, first + len(there)])
                there = there[chosen[low:high] - first]
            points.append(there)
            labels.append(np.full(len(there), label, np.uint8))
        normal = normalised(image.grey[None], image.scale, 0)
        smooth = gaussians(normal, self.features)
        rows = features_of(normal, smooth, np.concatenate(points), self.features)
        return rows, np.concatenate(labels)

    def _model(self, record: Mapping[str, Any]) -> StrokeModel:
        f = self.features
        return StrokeModel(
            self.images.classes, f.scales, f.spacing, "pixel", f.planar, "volume", record
        )

    def _asked(self, rows: Mapping[str, Rows]) -> dict[str, Any]:
        """All that decides the file, but for its features."""
        x, y = (np.concatenate([one[n] for one in rows.values()]) for n in (0, 1))
        return {
            **asdict(self.options), "data_sha256": digest(x, y), "images": list(self.images.learnt),
            "validation_images": list(self.images.judging), "folds": self.folds,
        }  # fmt: skip

    def _refuse_another(self, rows: Mapping[str, Rows]) -> None:
        file = read_model(self.target)
        before = model_of(file) if file.kind == KIND else None
        if (
            before is None
            or before != self._model(before.training)
            or any(before.training.get(key) != value for key, value in self._asked(rows).items())
        ):
            raise MixedRunError(
                f"{self.target} holds another training. Replace it with --overwrite, or write to another file"
            )

    def _refuse_beyond_memory(self) -> None:
        """Refuse images of which one does not fit with its Gaussians, or whose rows do not."""
        ny, nx = self.images.largest()
        most = len(self.images.classes) * self.options.most
        rows = 2 * most * (4 * len(self.features.names) + 60)
        need = ny * nx * (4 * (len(self.features.scales) + 2) + 8) + rows
        if need > (free := available_memory()):
            raise MemoryPlanError(
                f"train-strokes-images needs {size_text(need)}, and {size_text(free)} are free. Train on fewer pixels "
                "(--most), or on smaller images"
            )


def _said(record: Mapping[str, Any]) -> str:
    """Scores of a record in words."""
    said = ""
    if "validation" in record:
        said += f"; mean IoU of the images left out {record['validation']:.3f}"
    if scores := record.get("fold_iou"):
        each = ", ".join(f"{one:.3f}" for one in scores)
        mean, spread = np.mean(scores), np.std(scores, ddof=1)
        said += f"; mean IoU of {len(scores)} folds {mean:.3f}, standard deviation {spread:.3f} ({each})"
    return said
