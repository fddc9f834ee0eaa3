"""The verb `evaluate_images`: masks of a folder against true masks, paired by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tim3d.engine import Outline
from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.morphology.boundary_bands import NONE, half_widths
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases
from tim3d.sources.collection import images_in, paired
from tim3d.sources.image import read_pixels, shape_of
from tim3d.stages.images.listing import check_table, chosen_images, write_table
from tim3d.stages.images.masks import phases_of
from tim3d.stages.images.object_folders import ComparingObjects, holds_objects
from tim3d.stages.images.reading import labels_in
from tim3d.stages.shared.agreement import (
    IMAGES,
    UNLABELLED,
    Agreement,
    Resampling,
    about_baselines,
    compared,
    evaluated,
    stacked,
)
from tim3d.stages.shared.verb import Task, Verb
from tim3d.typed import Folder, Folders, Merges

WHOLE = (slice(None), slice(None))
# Options that objects do not have, as they usually are.
OF_LABELS = {
    "phases": None,
    "true_phases": None,
    "merge": None,
    "tolerance": 2.0,
    "resamples": 1000,
    "level": 0.95,
    "seed": 0,
}


@Verb
def evaluate_images(
    folder: Folder,
    truth: Folder,
    *,
    baseline: Folders | None = None,
    phases: Phases | None = None,
    true_phases: Phases | None = None,
    merge: Merges | None = None,
    objects: bool = False,
    names: str = "{name}",
    accept_missing: bool = False,
    tolerance: float = 2.0,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    splits: str | Path | None = None,
    subset: str | None = None,
    csv: str | Path | None = None,
) -> Task[xr.Dataset]:
    """Compare a folder of masks with true masks of the same names: per image, mean, pooled.

    Pixels of a phase of the truth that is called `unlabelled` have no truth and are left out.

    Parameters
    ----------
    folder : path
        Folder of the masks that are judged.
    truth : path
        Folder of the true masks.
    baseline : path or several, optional
        Other folders of masks of the same names that are judged beside it (default: none). Take
        those of thresholds, as of ``tim3d segment-images --method otsu`` and ``--method adaptive``.
    phases : Phases, optional
        Names and values in the masks (default: as tim3d segment-images recorded them).
    true_phases : Phases, optional
        Names and values in the true masks (default: those of the masks).
    merge : mapping of name to name, optional
        Phases of any folder that count as another one (default: none).
    objects : bool
        Compare numbers of objects, 0 for none, and not labels. Masks of ``tim3d segment-images
        --values objects`` are known to be such.
    names : str
        Name of the true mask of the mask {name}, without the suffix; or by the {number} at the
        end of its name, as truth_{number}.
    accept_missing : bool
        Leave out masks without a true one.
    tolerance : float
        Distance in pixels within which boundaries agree.
    resamples : int
        Resamples of the images from which intervals are found, 0 for none.
    level : float
        Probability of the intervals.
    seed : int
        Seed of the resamples.
    splits : path, optional
        File of lists of images, JSON or CSV (default: all images).
    subset : str, optional
        The list that is judged, as test or Super2/test (needed with splits).
    csv : path, optional
        File to which the metrics of each image are written (default: none).

    Returns
    -------
    xarray.Dataset
        IoU, Dice, precision, recall, boundary F1 and its chance level, and the error of the area
        fraction, of every phase by image; means over phases, `iou_micro` and `accuracy` by image;
        ``mean_METRIC`` over images, ``pooled_METRIC`` over all pixels, with the limits ``_low`` and
        ``_high`` of their intervals; the same of each baseline (`tim3d.evaluate`), and what is
        gained; the pooled `confusion`. Of objects: panoptic quality, segmentation accuracy and the
        other scores of `tim3d.evaluate` by image, ``mean_NAME`` over images with a true object and
        ``pooled_NAME`` as if all images were one.

    Raises
    ------
    ArgumentError
        If phases do not match, a number is out of range, or objects are asked of labels.
    InputError
        If a mask has no true one, another size, or values without a phase, or no pixel has a truth
        or no image a true object.
    """
    target = check_table(csv)
    if not 0 < tolerance < np.inf:
        raise ArgumentError(f"--tolerance {tolerance:g} is not a number of pixels: --tolerance 2")
    resampling = Resampling(resamples, level, seed)
    resampling.check()
    images = chosen_images(folder, splits, subset)
    pairs = paired(images, images_in(truth), names, accept_missing=accept_missing)
    _refuse_itself(pairs)
    folders = _folders(baseline)
    others = [_of_all(images_in(one), pairs, one) for one in folders]
    for one, masks in zip(folders, others, strict=True):
        _refuse_as_baseline(one, masks, pairs)
    compared_pairs = {
        name: ((mask, *(one[name] for one in others)), true_mask)
        for name, (mask, true_mask) in pairs.items()
    }
    asked = objects or holds_objects(Path(truth), asked=False)
    if holds_objects(Path(folder), asked=asked):
        for one in folders:
            holds_objects(one, asked=True)
        _refuse_of_labels(
            phases=phases, true_phases=true_phases, merge=merge, tolerance=tolerance,
            resamples=resamples, level=level, seed=seed,
        )  # fmt: skip
        comparing_objects = ComparingObjects(compared_pairs, target, tuple(map(str, folders)))
        return Task(comparing_objects.plans, comparing_objects.run)
    found = phases_of(Path(folder), phases)
    true, merged = true_phases or found, dict(merge or {})
    readings = {"": Reading(found, merged)}
    readings |= {str(one): Reading(_recorded(one, found), merged) for one in folders}
    common = _common(readings, Reading(true, merged))
    comparing = ComparingImages(
        compared_pairs, tuple(readings.values()), Reading(true, merged), common, tolerance,
        resampling, target, tuple(map(str, folders)),
    )  # fmt: skip
    return Task(comparing.plans, comparing.run)


def _refuse_itself(pairs: Mapping[str, tuple[Path, Path]]) -> None:
    """Refuse a mask that would be judged by itself: it would be found faultless."""
    for mask, true in pairs.values():
        if mask.resolve() == true.resolve():
            raise ArgumentError(
                f"{mask} would be judged by itself: give the folder of true masks after that of the masks"
            )


def _refuse_as_baseline(
    folder: Path, masks: Mapping[str, Path], pairs: Mapping[str, tuple[Path, Path]]
) -> None:
    """Refuse as a baseline masks that are judged, which would add nothing, and true ones, which have no fault."""
    for name, pair in pairs.items():
        for mask, what in zip(pair, ("judged", "the truth"), strict=True):
            if masks[name].resolve() == mask.resolve():
                raise ArgumentError(
                    f"--baseline {folder}: {masks[name]} is {what}; name a folder of other masks"
                )


def _refuse_of_labels(**given: object) -> None:
    """Refuse options of labels where objects are compared."""
    if names := [name for name, value in given.items() if value != OF_LABELS[name]]:
        raise ArgumentError(
            f"--{names[0].replace('_', '-')} changes nothing where objects are compared: leave it out"
        )


def _folders(given: Folders | None) -> list[Path]:
    """Folders of baselines, each once."""
    folders = [] if given is None else [given] if isinstance(given, str | Path) else list(given)
    paths = [Path(one) for one in folders]
    if len({one.resolve() for one in paths}) < len(paths):
        raise ArgumentError(f"--baseline {','.join(map(str, paths))}: folders, each once")
    return paths


def _recorded(folder: Path, otherwise: Phases) -> Phases:
    """Phases of the masks of a baseline: as recorded, or those of the masks that are judged."""
    try:
        return phases_of(folder, None)
    except ArgumentError:
        return otherwise


def _of_all(there: dict[str, Path], wanted: Mapping[str, object], folder: Path) -> dict[str, Path]:
    """Masks of a baseline, one for every image that is judged."""
    if missing := [name for name in wanted if name not in there]:
        raise InputError(
            f"{folder} has no mask {missing[0]} ({len(missing)} of {len(wanted)} are missing): a baseline is judged "
            "on the same images"
        )
    return there


@dataclass(frozen=True)
class Reading:
    """Phases of the masks of a folder, and those that count as others."""

    phases: Phases
    merge: Mapping[str, str]

    @property
    def names(self) -> dict[int, str]:
        """Common name of each value."""
        return {code: self.merge.get(name, name) for name, code in self.phases.items()}

    def ranks(self, path: Path, common: tuple[str, ...]) -> np.ndarray:
        """Index among the common names of each pixel of a mask; `NONE` where there is no truth."""
        labels = labels_in(read_pixels(path).values, self.phases, path)
        table = np.full(256, NONE, np.uint8)
        for code, name in self.names.items():
            table[code] = common.index(name) if name in common else NONE
        return np.asarray(table[labels])


def _common(folders: Mapping[str, Reading], truth: Reading) -> tuple[str, ...]:
    """Names of the phases that are compared, in the order of the values of the truth."""
    common = tuple(name for name in dict.fromkeys(truth.names.values()) if name != UNLABELLED)
    for what, one in folders.items():
        if set(one.names.values()) != set(common):
            masks = f"the masks of the {what}" if what else "the masks"
            raise ArgumentError(
                f"{masks} have the phases {', '.join(sorted(set(one.names.values())))}, the truth "
                f"{', '.join(sorted(common))}. Name them alike: --phases, --true-phases, or count some as "
                "another: --merge secondary=precipitate,tertiary=precipitate"
            )
    return common


@dataclass(frozen=True)
class ComparingImages:
    """Masks that are compared with the truth.

    `masks` are of each image the judged mask, those of the baselines, and the truth; `readings` are
    of the judged masks and of those of the baselines, `baselines` the names of their folders.
    """

    masks: Mapping[str, tuple[tuple[Path, ...], Path]]
    readings: tuple[Reading, ...]
    truth: Reading
    common: tuple[str, ...]
    tolerance: float
    resampling: Resampling
    target: Path | None
    baselines: tuple[str, ...] = ()

    def plans(self) -> list[Outline]:
        """One line."""
        return [Outline("evaluate-images", f"compares {len(self.masks)} masks with the truth")]

    def run(self) -> xr.Dataset:
        """Compare, and write the table."""
        each = [self._counts(*paths) for paths in self.masks.values()]
        counts = [stacked([one[n] for one in each], len(self.common)) for n in range(len(each[0]))]
        found = evaluated(counts[0], counts[1:], self.common, IMAGES, self.resampling)
        pixels = sum(math.prod(shape_of(true)) for _, true in self.masks.values())
        found = found.assign_coords(image=np.array(list(self.masks), object)).assign_attrs(
            tolerance_pixels=self.tolerance,
            pixels_without_truth=pixels - found.attrs["voxels"],
            **about_baselines(self.baselines),
        )
        write_table(found, self.target)
        return found

    def _counts(self, masks: tuple[Path, ...], truth: Path) -> list[Agreement]:
        """Counts of an image: of the judged mask, and of those of the baselines."""
        true = self.truth.ranks(truth, self.common)
        widths = half_widths(self.tolerance, (1.0, 1.0))
        counts = []
        for path, reading in zip(masks, self.readings, strict=True):
            found = reading.ranks(path, self.common)
            if found.shape != true.shape:
                raise InputError(
                    f"{path} has {found.shape} pixels, {truth} {true.shape}; a mask and its truth are of one image"
                )
            counts.append(compared(found, true, len(self.common), widths, WHOLE))
        return counts
