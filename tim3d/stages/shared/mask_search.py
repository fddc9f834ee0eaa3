"""Masks of labelled images that are drawn once, and the limits by which they agree best with the truth.

The images are windows of the slices of a sample, or files. All masks that any of the tried limits
lets pass are kept in a folder, one file for each image. A killed search draws only those that are
missing, and another search draws none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from tim3d.grid import Box
from tim3d.kernels.masks.mask_set import Mask, distinct
from tim3d.kernels.morphology.overlaps import overlaps
from tim3d.kernels.statistics.coordinate_search import Point, best_point
from tim3d.kernels.statistics.object_agreement import Overlaps
from tim3d.kernels.statistics.pooled_scores import Counts, PooledScore
from tim3d.models.promptable.kept_masks import packed_masks, unpacked_masks
from tim3d.models.promptable.mask_rules.base import MaskRule
from tim3d.models.promptable.prompted_segmenter import PromptedSegmenter, session_of
from tim3d.models.promptable.tuning_data import Example, digest
from tim3d.storage import outputs, schema

# Parts of the images, each of which is judged by limits that were chosen on the others.
FOLDS = 5
K = TypeVar("K")


class LabelledImages(Protocol[K]):
    """Labelled images, each with the segmenter that looks at it."""

    def labelled(self) -> Mapping[K, Example]:
        """Images with their objects, by their keys, neighbours one after the other."""

    def segmenter_of(self, key: K) -> PromptedSegmenter:
        """The network with the prompts of this image."""

    def place_of(self, key: K) -> Box:
        """The box that the image is looked at as."""

    def judged_of(self, key: K) -> Box:
        """The part of that box in which the objects are judged."""

    def identity_of(self, key: K) -> Mapping[str, Any]:
        """Whatever tells its grey values from those of other images, for a hash."""


@dataclass(frozen=True)
class JudgedMasks(Generic[K]):
    """Masks of labelled images, and what they are compared with.

    Parameters
    ----------
    images : LabelledImages
        The images.
    begin : MaskRule
        The rule, all of whose limits are given.
    names : tuple of str
        Parameters of the rule that are chosen.
    folder : Path
        Where masks are kept.
    """

    images: LabelledImages[K]
    begin: MaskRule
    names: tuple[str, ...]
    folder: Path

    @cached_property
    def examples(self) -> Mapping[K, Example]:
        """All images by their keys."""
        return self.images.labelled()

    @property
    def indices(self) -> list[K]:
        """Key of each image."""
        return list(self.examples)

    @property
    def digest(self) -> str:
        """SHA-256 of the images and their objects."""
        return digest(list(self.examples.values()))

    def loosest(self, key: K) -> PromptedSegmenter:
        """The segmenter with limits that let every mask pass that one of the tried ones does."""
        low = {
            name: min(getattr(self.begin, name), *self.begin.searched[name])
            for name in ("iou", "stability")
        }
        rule = replace(self.begin, **low, nms=1.0, smallest=1, largest=None)
        return replace(self.images.segmenter_of(key), rule=rule, tuned=None)

    def masks(self, key: K) -> list[list[Mask]]:
        """Masks of each crop of an image: kept, or drawn and kept."""
        path = self.folder / f"{self._question(key)}.masks"
        found = unpacked_masks(path.read_bytes()) if path.is_file() else None
        if found is None:
            found = self._drawn(key)
            with outputs.replacing(path) as file:
                file.write(packed_masks(found))
        return found

    def _question(self, key: K) -> str:
        """Hash of all that decides the masks of an image."""
        segmenter = self.loosest(key)
        return schema.fingerprint(
            network=segmenter.network.description(), prompts=segmenter.prompting.description(),
            inputs=segmenter.inputs, limits=[segmenter.rule.iou, segmenter.rule.stability],
            grey=[segmenter.black, segmenter.white], window=segmenter.pixels, border=segmenter.border,
            batch=segmenter.batch, **self.images.identity_of(key),
        )  # fmt: skip

    def _drawn(self, key: K) -> list[list[Mask]]:
        segmenter, image = self.loosest(key), self.examples[key].image
        if image.min() == image.max():
            return [[]]
        place = self.images.place_of(key)
        return list(segmenter.of_crops(session_of(segmenter.network), image, place))

    def rule(self, point: Point) -> MaskRule:
        """The rule with these values of the parameters."""
        return replace(self.begin, **dict(zip(self.names, point, strict=True)))

    def tables(self, key: K, points: Sequence[Point]) -> list[Overlaps]:
        """Overlaps of the true and the found objects of an image, for each point."""
        example, crops = self.examples[key], self.masks(key)
        core = self.images.judged_of(key)
        known = np.zeros(example.known.shape, bool)
        known[core.slices[1:]] = example.known[core.slices[1:]]
        true = _numbered(example)[known]
        return [self._table(crops, true, known, self.rule(point)) for point in points]

    def _table(
        self, crops: Sequence[Sequence[Mask]], true: np.ndarray, known: np.ndarray, rule: MaskRule
    ) -> Overlaps:
        nms = rule.limits(explicit=True)[2]
        left = distinct([rule.left(masks) for masks in crops], nms)
        found = rule.numbers(left, (known.shape[0], known.shape[1]))[known]
        return Overlaps.of(overlaps(true[None, None], found[None, None]))


def _numbered(example: Example) -> np.ndarray:
    """Numbers of the true objects of an image (y, x), which do not overlap."""
    numbers = np.zeros(example.image.shape, np.uint32)
    for number, one in enumerate(example.objects, 1):
        numbers[one.box][one.bits] = number
    return numbers


@dataclass(frozen=True)
class Chosen:
    """Limits that were chosen.

    Parameters
    ----------
    rule : MaskRule
        The rule.
    begin, chosen : float
        Score of the limits to begin with and of the chosen ones, over all images.
    held_out : float, optional
        Score of all images, each by limits that were chosen without it and its neighbours; none
        for a single image.
    """

    rule: MaskRule
    begin: float
    chosen: float
    held_out: float | None


def searched(judged: JudgedMasks[K], score: PooledScore) -> Chosen:
    """Choose the limits with the highest score."""
    known: dict[Point, np.ndarray] = {}

    def counts(points: Sequence[Point]) -> None:
        new = [one for one in dict.fromkeys(points) if one not in known]
        if new:
            each = [
                [score.counts(table) for table in judged.tables(index, new)]
                for index in judged.indices
            ]
            known.update({one: np.stack([row[n] for row in each]) for n, one in enumerate(new)})

    def scoring(rows: np.ndarray) -> Callable[[Sequence[Point]], list[float]]:
        def scores(points: Sequence[Point]) -> list[float]:
            counts(points)
            return [score.value(_total(known[one], rows)) for one in points]

        return scores

    start = tuple(getattr(judged.begin, name) for name in judged.names)
    values = {name: judged.begin.searched[name] for name in judged.names}
    every = np.arange(len(judged.indices))
    best = best_point(start, values, scoring(every))
    begin, chosen = scoring(every)([start, best])
    held_out = None
    if len(every) > 1:
        parts = np.array_split(every, min(FOLDS, len(every)))
        rest = [np.setdiff1d(every, part) for part in parts]
        points = [best_point(start, values, scoring(rows)) for rows in rest]
        sums = [_total(known[one], part) for one, part in zip(points, parts, strict=True)]
        held_out = score.value(np.sum(sums, axis=0))
    return Chosen(judged.rule(best), begin, chosen, held_out)


def _total(counts: np.ndarray, rows: np.ndarray) -> Counts:
    """Sum over some images."""
    total: Counts = counts[rows].sum(axis=0)
    return total
