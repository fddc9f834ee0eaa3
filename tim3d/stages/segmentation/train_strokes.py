"""The verb `train_strokes`: a classifier of voxels from a few strokes, into a file of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tim3d.engine import Outline
from tim3d.engine.clusters.memory import available_memory
from tim3d.errors import ArgumentError, InputError, MemoryPlanError, MixedRunError
from tim3d.forecast import expect, expected
from tim3d.grid import Box, triple
from tim3d.kernels.image.pixel_features import FeatureSet, features_of, gaussians
from tim3d.models.segmentation.checkpoint import Normalisation
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
from tim3d.models.segmentation.training_record import Learnt, recorded
from tim3d.stages.segmentation.normalisation import check_normalisation, normalisation_of
from tim3d.stages.shared.agreement import UNLABELLED
from tim3d.stages.shared.grid_agreement import refuse_unlike
from tim3d.stages.shared.learnt_labels import made_from
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import outputs, store
from tim3d.storage.schema import Field
from tim3d.typed import Lengths

log = logging.getLogger(__name__)

# Edge in voxels of the boxes in which features of painted voxels are computed.
EDGE = 128


@Verb
def train_strokes(
    sample: str,
    model: str | Path,
    *,
    field: str = "raw",
    labels: str = "strokes",
    scales: Lengths | None = None,
    planar: bool = False,
    normalisation: Literal["volume", "slices"] = "volume",
    trees: int = 100,
    depth: int = 12,
    leaf: int = 2,
    most: int = 50_000,
    seed: int = 0,
    overwrite: bool = False,
) -> Task[Path]:
    """Train a random forest on a few strokes, and write it to `model` for tim3d segment.

    A forest of decision trees is trained on the painted voxels by features of their neighbourhood:
    Gaussians, gradients, eigenvalues of the Hessian, structure tensors and differences of Gaussians
    at some scales. Paint in any program, save labels of which 0 is not painted, and ingest them as
    a field with the phase ``unlabelled=0``.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    model : path
        File to write, for example strokes.safetensors.
    field : str
        The grey field.
    labels : str
        Label field of the strokes; voxels of its phase ``unlabelled`` are not painted.
    scales : sequence of float, optional
        Scales of the features in nm (default: 1, 2, 4, 8 and 16 edges of a pixel).
    planar : bool
        Look at every slice by itself.
    normalisation : {"volume", "slices"}
        Grey by the mean and deviation of the volume, or of each slice. Those of slices are smoothed
        along z.
    trees : int
        Trees of the forest.
    depth : int
        Most steps to a leaf.
    leaf : int
        Least painted voxels in a leaf.
    most : int
        Most voxels of each phase in the training; they are drawn from those painted.
    seed : int
        Seed of the draw and of the forest.
    overwrite : bool
        Replace an earlier training.

    Returns
    -------
    Path
        The model.

    Raises
    ------
    MissingFieldError
        If a field is missing.
    ArgumentError
        If the fields do not fit, scales are not ascending, or a number is out of range.
    InputError
        If fewer than two phases are painted.
    MixedRunError
        If the file holds another training.
    MemoryPlanError
        If a box of voxels does not fit into memory.
    MissingExtraError
        If scikit-learn is not installed.
    """
    require_sklearn()
    target = outputs.check_target(model, outputs.WEIGHTS)
    grey = store.complete_field(sample, field)
    painted = store.complete_field(sample, labels, "labels")
    classes = _classes(grey, painted)
    refuse_unlike(sample, grey, painted)
    check_normalisation(normalisation)
    options = ForestOptions(trees, depth, leaf, most, seed)
    options.check()
    given = usual_scales(min(grey.spacing_nm[1:])) if scales is None else tuple(map(float, scales))
    if (
        not given
        or not all(0 < s < np.inf for s in given)
        or any(b <= a for a, b in pairwise(given))
    ):
        raise ArgumentError(
            f"--scales {list(given)} are not ascending lengths in nm: --scales 10,20,40"
        )
    features = FeatureSet(given, grey.spacing_nm, planar or grey.shape[0] == 1)
    training = StrokeTraining(
        sample, grey, painted, classes, features, normalisation, options, target, overwrite
    )
    return Task(training.plans, training.run)


def _classes(grey: Field, painted: Field) -> dict[str, int]:
    """Code of each class."""
    if grey.labels or painted.phases is None:
        raise ArgumentError(
            f"train-strokes needs a grey field and a label field, not {grey.name!r} and {painted.name!r}"
        )
    classes = {name: code for name, code in painted.phases.items() if name != UNLABELLED}
    if len(classes) < 2:
        raise ArgumentError(
            f"{painted.name!r} has the phases {painted.phases}: name two or more that are painted, and "
            f"{UNLABELLED}=0 for voxels that are not"
        )
    return classes


@dataclass(frozen=True)
class StrokeTraining:
    """The strokes, and the file to write."""

    sample: str
    grey: Field
    painted: Field
    classes: dict[str, int]
    features: FeatureSet
    normalisation: str
    options: ForestOptions
    target: Path
    overwrite: bool

    def plans(self) -> list[Outline]:
        """One line, or nothing if the file holds this training; later steps may rely on the file."""
        self._refuse_beyond_memory()
        names, count = ", ".join(self.classes), len(self.features.names)
        text = f"trains on the strokes of {names} in {self.painted.name!r} by {count} features, into {self.target}"
        if not self.target.exists() or self.overwrite:
            expect("network", str(self.target), self._model({}))
        elif self._unread():
            text = f"{self.target} is there; that it is the training asked for is checked when its fields are"
        else:
            self._refuse_another(digest(*self._data()))
            return []
        return [Outline("train-strokes", text)]

    def run(self) -> Path:
        """Train, unless the file holds this training."""
        self._refuse_beyond_memory()
        rows, labels = self._data()
        if self.target.exists() and not self.overwrite:
            self._refuse_another(digest(rows, labels))
            return self.target
        forest, record = fit_forest(rows, labels, len(self.classes), self.options)
        record |= recorded([self._learnt()])
        save_forest(self.target, forest, self._model(record))
        log.info(
            "trained on %s voxels of %s; out-of-bag accuracy %.2f %%",
            " + ".join(map(str, record["voxels"])), ", ".join(self.classes), 100 * record["out_of_bag"],
        )  # fmt: skip
        return self.target

    def _learnt(self) -> Learnt:
        """Slices with a stroke."""
        codes = list(self.classes.values())
        painted = [
            first + z
            for first, slab in self._slabs()
            for z in np.flatnonzero(np.isin(slab, codes).any(axis=(1, 2))).tolist()
        ]
        grey = store.fingerprint_of(self.sample, self.grey.name)
        return Learnt(grey, made_from(self.sample, self.painted.name), tuple(painted))

    def _data(self) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Features and class of the voxels of the training."""
        points, labels = self._points()
        return self._rows(points), labels

    def _model(self, record: Mapping[str, Any]) -> StrokeModel:
        f = self.features
        return StrokeModel(
            tuple(self.classes), f.scales, f.spacing, "nm", f.planar, self.normalisation, record
        )

    def _unread(self) -> bool:
        """Whether a field is yet to be written by an earlier step of a recipe."""
        names = (self.grey.name, self.painted.name)
        return any(expected("field", f"{self.sample}/{name}") for name in names)

    def _refuse_another(self, data_sha256: str) -> None:
        """Refuse a file of another training: of other options or other strokes."""
        file = read_model(self.target)
        before = model_of(file) if file.kind == KIND else None
        now = {**asdict(self.options), "data_sha256": data_sha256}
        if (
            before is None
            or before != self._model(before.training)
            or any(before.training.get(name) != value for name, value in now.items())
        ):
            raise MixedRunError(
                f"{self.target} holds another training. Replace it with --overwrite, or write to another file"
            )

    def _refuse_beyond_memory(self) -> None:
        """Refuse a box with its halo and its Gaussians, or a slab of labels, that does not fit."""
        reach, shape = self.features.reach, self.grey.shape
        box = np.prod([min(n, EDGE + 2 * r) for n, r in zip(shape, reach, strict=True)])
        slab = self.painted.shard[0] * shape[1] * shape[2]
        rows = len(self.classes) * self.options.most * (4 * len(self.features.names) + 60)
        need = int(box * (4 * (len(self.features.scales) + 2) + 8) + 3 * slab + rows)
        if need > (free := available_memory()):
            raise MemoryPlanError(
                f"train-strokes needs {need / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free. Train on fewer "
                "voxels (--most), with smaller scales (--scales), or slice by slice (--planar)"
            )

    def _slabs(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Strokes in slabs of whole shards, with the first slice of each."""
        array, (depth, ny, nx) = (
            store.field_array(self.sample, self.painted.name),
            self.painted.shape,
        )
        for z in range(0, depth, self.painted.shard[0]):
            box = Box((z, 0, 0), (min(z + self.painted.shard[0], depth), ny, nx))
            yield z, store.read_box(array, box)

    def _points(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Painted voxels of the training, in C order of each class, and the class of each."""
        codes = list(self.classes.values())
        counts = np.zeros(len(codes), np.int64)
        for _, slab in self._slabs():
            counts += np.bincount(slab.ravel(), minlength=256)[codes]
        empty = [name for name, n in zip(self.classes, counts, strict=True) if not n]
        if empty:
            raise InputError(
                f"{self.painted.name!r} has no stroke of {', '.join(empty)}: paint every phase, or leave out the name"
            )
        ranks = [chosen_ranks(int(n), self.options, k) for k, n in enumerate(counts)]
        found: list[list[NDArray[np.int64]]] = [[] for _ in codes]
        before = np.zeros(len(codes), np.int64)
        for first, slab in self._slabs():
            for k, code in enumerate(codes):
                there = np.argwhere(slab == code) + np.array([first, 0, 0])
                kept = _of_ranks(there, int(before[k]), ranks[k])
                before[k] += len(there)
                found[k].append(kept)
        points = [np.concatenate(each) for each in found]
        labels = np.repeat(np.arange(len(codes), dtype=np.uint8), [len(each) for each in points])
        return np.concatenate(points), labels

    def _rows(self, points: NDArray[np.int64]) -> NDArray[np.float32]:
        """Features of the points, box by box; no box shows in them."""
        rows = np.empty((len(points), len(self.features.names)), np.float32)
        scale = normalisation_of(self.sample, self.grey, self.normalisation)
        boxes, of = np.unique(points // EDGE, axis=0, return_inverse=True)
        for number in range(len(boxes)):
            mine = np.flatnonzero(of.ravel() == number)
            rows[mine] = self._rows_of_box(points[mine], scale)
        return rows

    def _rows_of_box(self, points: NDArray[np.int64], scale: Normalisation) -> NDArray[np.float32]:
        tight = Box(triple(points.min(axis=0).tolist()), triple((points.max(axis=0) + 1).tolist()))
        seen = tight.grow(self.features.reach).clip(Box.whole(self.grey.shape))
        grey = store.read_box(store.field_array(self.sample, self.grey.name), seen)
        normal = normalised(grey, scale, seen.start[0])
        smooth = gaussians(normal, self.features)
        return features_of(normal, smooth, points - np.array(seen.start), self.features)


def _of_ranks(
    points: NDArray[np.int64], first: int, ranks: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """Points whose number, counted from `first`, is among sorted ranks; all of them without ranks."""
    if ranks is None:
        return points
    low, high = np.searchsorted(ranks, [first, first + len(points)])
    return points[ranks[low:high] - first]
