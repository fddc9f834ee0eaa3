"""Images with their masks, in pairs by name: which are learnt from, which judge, and their content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError, InputError
from tim3d.models.segmentation.checkpoint import Normalisation
from tim3d.models.segmentation.crops import UNLABELLED
from tim3d.phases import Phases
from tim3d.sources.collection import images_in, listed_in, paired
from tim3d.sources.image import read_pixels, shape_of
from tim3d.stages.images.chosen import Grey, as_grey
from tim3d.stages.images.listing import chosen_images
from tim3d.stages.images.masks import phases_of
from tim3d.stages.images.reading import labels_in
from tim3d.stages.shared.agreement import UNLABELLED as NO_TRUTH

Pairs = dict[str, tuple[Path, Path]]


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """An image (y, x), the class of each pixel (255: none), and the size of a pixel if it is known."""

    name: str
    grey: Grey
    labels: NDArray[np.uint8]
    pixel_nm: tuple[float, float] | None

    @property
    def scale(self) -> Normalisation:
        """Mean and deviation of its grey values, by which it is normalised."""
        mean, std = float(self.grey.mean()), float(self.grey.std()) or 1.0
        return Normalisation("volume", (mean,), (std,))


@dataclass(frozen=True)
class LabelledImages:
    """Pairs of an image and its mask to learn from, those that judge, and the phases of the masks.

    Parameters
    ----------
    learnt, judging : dict of name to (image, mask)
        The pairs. No image is in both.
    phases : Phases
        Names and values in the masks.
    """

    learnt: Pairs
    judging: Pairs
    phases: Phases

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes: the phases but for `unlabelled`."""
        return tuple(name for name in self.phases if name != NO_TRUTH)

    def largest(self) -> tuple[int, int]:
        """Rows and columns into which every image fits."""
        shapes = np.array([shape_of(path) for path, _ in (self.learnt | self.judging).values()])
        rows, columns = shapes.max(axis=0).tolist()
        return rows, columns

    def read(self, name: str) -> LabelledImage:
        """Read a pair.

        Raises
        ------
        InputError
            If the two differ in size, or the mask has values without a phase.
        """
        path, mask = (self.learnt | self.judging)[name]
        pixels = read_pixels(path)
        grey = as_grey(pixels.values, path, to_8_bit=False, palette=pixels.palette)[0]
        codes = labels_in(read_pixels(mask).values, self.phases, mask)
        if codes.shape != grey.shape:
            raise InputError(
                f"{mask} has {codes.shape[0]} x {codes.shape[1]} pixels, and {path} has "
                f"{grey.shape[0]} x {grey.shape[1]}"
            )
        table = np.full(256, UNLABELLED, np.uint8)
        for place, one in enumerate(self.classes):
            table[self.phases[one]] = place
        return LabelledImage(name, grey, table[codes], pixels.pixel_nm)

    def check_painted(self, counts: Mapping[str, NDArray[np.int64]]) -> None:
        """Refuse images in which a class does not occur, by the pixels of each class of each image.

        Raises
        ------
        InputError
            If the images to learn from, or those that judge, lack a class.
        """
        for what, pairs in (("learn from", self.learnt), ("judge by", self.judging)):
            total = sum((counts[name] for name in pairs), np.zeros(len(self.classes), np.int64))
            empty = [one for one, n in zip(self.classes, total, strict=True) if not n]
            if pairs and (what == "learn from" or not total.any()) and empty:
                raise InputError(
                    f"no mask to {what} has a pixel of {', '.join(empty)}: label it in one of them, or leave out "
                    "the name of the phase"
                )


def labelled_images(
    folder: str | Path,
    masks: str | Path,
    phases: Phases | None,
    names: str,
    splits: str | Path | None,
    subset: str | None,
    validate: Sequence[str] | None,
) -> LabelledImages:
    """Pairs of two folders by name.

    Parameters
    ----------
    folder, masks : path
        Folders of images and of masks.
    phases : Phases, optional
        Names and values in the masks (default: as tim3d segment-images recorded them).
    names : str
        Name of the mask of the image ``{name}``.
    splits, subset : path, str, optional
        File of lists, and the list to learn from.
    validate : sequence of str, optional
        Names of the images that judge, or with `splits` one list of it.

    Raises
    ------
    ArgumentError
        If fewer than two phases are named, or nothing is left to learn from.
    InputError
        If an image has no mask, two have one name, or an image is to be learnt from and to judge.
    """
    known = phases_of(Path(masks), phases)
    images, every = chosen_images(folder, splits, subset), images_in(folder)
    judges = _judges(every, splits, validate)
    if splits is not None and (both := [name for name in judges if name in images]):
        raise InputError(
            f"{', '.join(both)} would be learnt from and judge: a score on it would be too good. Take it out of one "
            f"of the lists of {splits}"
        )
    learnt = {name: path for name, path in images.items() if name not in judges}
    if not learnt:
        raise ArgumentError("--validate names all images: leave some to learn from")
    others = images_in(masks)
    found = LabelledImages(
        paired(learnt, others, names), paired(judges, others, names) if judges else {}, known
    )
    if len(found.classes) < 2:
        raise ArgumentError(
            f"the masks have the phases {known}: a classifier needs two. Name two or more, and "
            f"{NO_TRUTH}=0 for pixels without a label"
        )
    return found


def _judges(
    every: Mapping[str, Path], splits: str | Path | None, validate: Sequence[str] | None
) -> dict[str, Path]:
    if validate is None:
        return {}
    if splits is not None:
        if len(validate) != 1:
            raise ArgumentError("--validate names one list of --splits: --validate validation")
        return listed_in(every, splits, validate[0])
    wanted = [name if name in every else Path(name).stem for name in validate]
    if missing := [name for name in wanted if name not in every]:
        raise ArgumentError(
            f"--validate names {', '.join(missing)}, and the folder has {', '.join(list(every)[:5])}"
        )
    return {name: every[name] for name in wanted}
