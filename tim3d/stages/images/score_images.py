"""The verb `score_images`: masks of a folder against true masks, paired by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from tim3d.engine import Outline
from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.statistics import metrics
from tim3d.phases import Phases
from tim3d.sources.collection import images_in, paired
from tim3d.sources.image import read_pixels
from tim3d.stages.images.listing import check_table, chosen_images, write_table
from tim3d.stages.images.masks import phases_of
from tim3d.stages.images.reading import labels_in
from tim3d.stages.shared.verb import Task, Verb
from tim3d.typed import Folder, Merges


@Verb
def score_images(
    folder: Folder,
    truth: Folder,
    *,
    phases: Phases | None = None,
    true_phases: Phases | None = None,
    merge: Merges | None = None,
    foreground: str | None = None,
    names: str = "{name}",
    accept_missing: bool = False,
    splits: str | Path | None = None,
    subset: str | None = None,
    csv: str | Path | None = None,
) -> Task[xr.Dataset]:
    """Agreement of a folder of masks with true masks of the same names: per image, mean, pooled.

    Parameters
    ----------
    folder : path
        Folder of the masks that are judged.
    truth : path
        Folder of the true masks.
    phases : Phases, optional
        Names and values in the masks (default: as tim3d segment-images recorded them).
    true_phases : Phases, optional
        Names and values in the true masks (default: those of the masks).
    merge : mapping of name to name, optional
        Phases of either folder that count as another one (default: none).
    foreground : str, optional
        The phase that IoU, Dice, precision and recall speak of (default: the last).
    names : str
        Name of the true mask of the mask {name}, without the suffix.
    accept_missing : bool
        Leave out masks without a true one.
    splits : path, optional
        File of lists of images, JSON or CSV (default: all images).
    subset : str, optional
        The list that is judged, as test or Super2/test (needed with splits).
    csv : path, optional
        File to which the scores of each image are written (default: none).

    Returns
    -------
    xarray.Dataset
        Each metric of `tim3d.kernels.statistics.metrics` by image, and `area_fraction_error`, the
        area fraction of the foreground minus that of the truth; ``mean_METRIC`` over images,
        ``pooled_METRIC`` over all pixels, and the pooled `confusion`.

    Raises
    ------
    ArgumentError
        If phases do not match.
    InputError
        If a mask has no true one, another size, or values without a phase.
    """
    target = check_table(csv)
    images = chosen_images(folder, splits, subset)
    pairs = paired(images, images_in(truth), names, accept_missing=accept_missing)
    found = phases_of(Path(folder), phases)
    true = true_phases or found
    ranks = _common(found, true, dict(merge or {}))
    common = tuple(dict.fromkeys(dict(merge or {}).get(n, n) for n in true))
    chosen = foreground or common[-1]
    if chosen not in common:
        raise ArgumentError(f"no phase {chosen!r}; there are {', '.join(common)}")
    scoring = ScoringImages(pairs, found, true, ranks, common, chosen, target)
    return Task(scoring.plans, scoring.run)


def _common(
    found: Phases, true: Phases, merge: Mapping[str, str]
) -> tuple[dict[int, str], dict[int, str]]:
    """Common name of each value, in the masks and in the true masks."""
    named = tuple({code: merge.get(n, n) for n, code in one.items()} for one in (found, true))
    if set(named[0].values()) != set(named[1].values()):
        raise ArgumentError(
            f"the masks have the phases {', '.join(sorted(set(named[0].values())))}, the truth "
            f"{', '.join(sorted(set(named[1].values())))}. Name them alike: --phases, --true-phases, or count some as "
            "another: --merge secondary=precipitate,tertiary=precipitate"
        )
    return named[0], named[1]


def _scores(matrix: metrics.Matrix, label: int) -> dict[str, float]:
    """Metrics of a confusion matrix, and the error of the area fraction of the foreground."""
    error = (matrix[:, label].sum() - matrix[label].sum()) / matrix.sum()
    return metrics.scores(matrix, label) | {"area_fraction_error": float(error)}


@dataclass(frozen=True)
class ScoringImages:
    """Pairs of masks that are compared."""

    pairs: Mapping[str, tuple[Path, Path]]
    found: Phases
    true: Phases
    ranks: tuple[dict[int, str], dict[int, str]]
    common: tuple[str, ...]
    foreground: str
    target: Path | None

    def plans(self) -> list[Outline]:
        """One line."""
        return [Outline("score-images", f"compares {len(self.pairs)} masks with the truth")]

    def run(self) -> xr.Dataset:
        """Compare, and write the table."""
        matrices = [self._matrix(*pair) for pair in self.pairs.values()]
        label = self.common.index(self.foreground)
        each = [_scores(matrix, label) for matrix in matrices]
        pooled = _scores(np.sum(matrices, axis=0), label)
        variables: dict[str, Any] = {
            name: ("image", np.array([one[name] for one in each]), {"units": "1"})
            for name in pooled
        }
        for name in pooled:
            mean = float(np.mean([one[name] for one in each]))
            variables[f"mean_{name}"] = ((), mean, {"units": "1", "long_name": "mean over images"})
        for name, value in pooled.items():
            variables[f"pooled_{name}"] = ((), value, {"units": "1", "long_name": "of all pixels"})
        about = {"units": "1", "long_name": "pixels"}
        variables["confusion"] = (("truth", "predicted"), np.sum(matrices, axis=0), about)
        found = xr.Dataset(
            variables,
            {
                "image": np.array(list(self.pairs), object),
                "truth": np.array(self.common, object),
                "predicted": np.array(self.common, object),
            },
            {"foreground": self.foreground},
        )
        write_table(found, self.target)
        return found

    def _matrix(self, mask: Path, truth: Path) -> np.ndarray:
        one, other = read_pixels(mask), read_pixels(truth)
        if one.values.shape[:2] != other.values.shape[:2]:
            raise InputError(
                f"{mask} has {one.values.shape[:2]} pixels, {truth} {other.values.shape[:2]}; a mask and its truth "
                "are of one image"
            )
        predicted = self._rank(labels_in(one.values, self.found, mask), self.ranks[0])
        true = self._rank(labels_in(other.values, self.true, truth), self.ranks[1])
        return metrics.confusion(true, predicted, len(self.common))

    def _rank(self, labels: np.ndarray, names: Mapping[int, str]) -> np.ndarray:
        table = np.zeros(256, np.uint8)
        for code, name in names.items():
            table[code] = self.common.index(name)
        return np.asarray(table[labels])
