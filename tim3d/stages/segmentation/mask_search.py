"""Masks of labelled windows that are drawn once, and the limits by which they agree best with the truth.

All masks that any of the tried limits lets pass are kept in a folder, one file for each window. A
killed search draws those only that are missing, and another search draws none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from tim3d.grid import Triple
from tim3d.kernels.masks.mask_set import Mask, distinct
from tim3d.kernels.morphology.overlaps import overlaps
from tim3d.kernels.statistics.coordinate_search import Point, best_point
from tim3d.kernels.statistics.object_agreement import Overlaps
from tim3d.kernels.statistics.pooled_scores import Counts, PooledScore
from tim3d.models.promptable.kept_masks import packed_masks, unpacked_masks
from tim3d.models.promptable.mask_rules.base import MaskRule
from tim3d.models.promptable.prompted_segmenter import PromptedSegmenter, session_of
from tim3d.models.promptable.tuning_data import Example, digest
from tim3d.stages.segmentation.tuning_examples import LabelledWindows
from tim3d.storage import outputs, schema, store

# Parts of the windows, each of which is judged by limits that were chosen on the others.
FOLDS = 5


@dataclass(frozen=True)
class JudgedMasks:
    """Masks of labelled windows, and what they are compared with.

    Parameters
    ----------
    windows : LabelledWindows
        The windows.
    begin : MaskRule
        The rule, all of whose limits are given.
    names : tuple of str
        Parameters of the rule that are chosen.
    folder : Path
        Where masks are kept.
    """

    windows: LabelledWindows[PromptedSegmenter]
    begin: MaskRule
    names: tuple[str, ...]
    folder: Path

    @cached_property
    def examples(self) -> dict[Triple, Example]:
        """All windows of the slices with an object, by their index."""
        every = dict(self.windows.placed(empty=True))
        seen = {z for (z, _, _), one in every.items() if one.objects}
        return {index: one for index, one in every.items() if index[0] in seen}

    @property
    def indices(self) -> list[Triple]:
        """Index of each window."""
        return list(self.examples)

    @property
    def digest(self) -> str:
        """SHA-256 of the images and their objects."""
        return digest(list(self.examples.values()))

    @cached_property
    def loosest(self) -> PromptedSegmenter:
        """The segmenter with limits that let every mask pass that one of the tried ones does."""
        low = {
            name: min(getattr(self.begin, name), *self.begin.searched[name])
            for name in ("iou", "stability")
        }
        rule = replace(self.begin, **low, nms=1.0, smallest=1, largest=None)
        return replace(self.windows.segmenter, rule=rule, tuned=None)

    def masks(self, index: Triple) -> list[list[Mask]]:
        """Masks of each crop of a window: kept, or drawn and kept."""
        path = self.folder / f"{self._question(index)}.masks"
        found = unpacked_masks(path.read_bytes()) if path.is_file() else None
        if found is None:
            found = self._drawn(index)
            with outputs.replacing(path) as file:
                file.write(packed_masks(found))
        return found

    def _question(self, index: Triple) -> str:
        """Hash of all that decides the masks of a window."""
        segmenter, windows = self.loosest, self.windows
        return schema.fingerprint(
            network=segmenter.network.description(), prompts=segmenter.prompting.description(),
            inputs=segmenter.inputs, limits=[segmenter.rule.iou, segmenter.rule.stability],
            grey=[segmenter.black, segmenter.white], window=segmenter.pixels, border=segmenter.border,
            batch=segmenter.batch, image=store.fingerprint_of(windows.sample, windows.grey.name), index=index,
        )  # fmt: skip

    def _drawn(self, index: Triple) -> list[list[Mask]]:
        segmenter, image = self.loosest, self.examples[index].image
        if image.min() == image.max():
            return [[]]
        place = self.windows.lattice.box(index)
        return list(segmenter.of_crops(session_of(segmenter.network), image, place))

    def rule(self, point: Point) -> MaskRule:
        """The rule with these values of the parameters."""
        return replace(self.begin, **dict(zip(self.names, point, strict=True)))

    def tables(self, index: Triple, points: Sequence[Point]) -> list[Overlaps]:
        """Overlaps of the true and the found objects of a window, for each point."""
        example, crops = self.examples[index], self.masks(index)
        core = self.windows.lattice.support(index).within(self.windows.lattice.box(index))
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
    """Numbers of the true objects of a window (y, x), which do not overlap."""
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
        Score of the limits to begin with and of the chosen ones, over all windows.
    held_out : float, optional
        Score of all windows, each by limits that were chosen without it and its neighbours; none
        for a single window.
    """

    rule: MaskRule
    begin: float
    chosen: float
    held_out: float | None


def searched(judged: JudgedMasks, score: PooledScore) -> Chosen:
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
    """Sum over some windows."""
    total: Counts = counts[rows].sum(axis=0)
    return total
