"""The verb `segment_images`: a folder of single images becomes a folder of masks."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tim3d.engine import Outline, progress_bar
from tim3d.engine.clusters.memory import available_memory
from tim3d.engine.passes.plan import size_text
from tim3d.errors import ArgumentError, InputError, MemoryPlanError
from tim3d.kernels.image.threshold import BLURS, is_dark
from tim3d.lazy import xarray as xr
from tim3d.models.promptable.mask_rules.objects import AsObjects
from tim3d.models.segmentation.local_threshold import METHOD, LocalThreshold
from tim3d.models.segmentation.segmenter import LABELS
from tim3d.phases import Phases
from tim3d.sources.collection import partner
from tim3d.sources.image import read_pixels, shape_of
from tim3d.stages.images.by_prompts import by_prompts
from tim3d.stages.images.chosen import (
    ByHistogram,
    ByLocalThreshold,
    PerImage,
    as_grey,
    check_grey,
    codes_of,
    maps_of,
    of_model,
)
from tim3d.stages.images.listing import chosen_images
from tim3d.stages.images.masks import OBJECTS, Masks, encoded, numbered
from tim3d.stages.images.reading import sha256_of
from tim3d.stages.shared.verb import Task, Verb
from tim3d.typed import Folder, GreyValues, MaskWord, Merges, PromptWord

log = logging.getLogger(__name__)


@Verb
def segment_images(
    folder: Folder,
    out: Folder,
    *,
    model: str | Path | None = None,
    prompts: PromptWord | None = None,
    masks: MaskWord | None = None,
    method: Literal["otsu", "multi-otsu", "adaptive", "fixed"] | None = None,
    thresholds: GreyValues | None = None,
    phases: Phases | None = None,
    merge: Merges | None = None,
    blur: Literal["none", "binomial"] = "none",
    polarity: Literal["dark", "bright"] = "dark",
    to_8_bit: bool = False,
    splits: str | Path | None = None,
    subset: str | None = None,
    names: str = "{name}",
    values: Literal["codes", "black-white", "palette", "objects"] = "codes",
    format: Literal["png", "tif"] = "png",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    overwrite: bool = False,
    progress: bool = True,
) -> Task[xr.Dataset]:
    """Segment a folder of single images, of any sizes, into a folder of masks of the same names.

    Each image is segmented by itself: thresholds come from its own histogram, a network gets it
    normalised by its own mean and deviation. No sample is made.

    Parameters
    ----------
    folder : path
        Folder of grey images, uint8 or uint16.
    out : path
        Folder for the masks. Made if it is not there.
    model : path, optional
        A network trained by tim3d train (default: none, thresholds by the method).
    prompts : Prompting, optional
        Where prompts come from, for a promptable network of tim3d import-network: grid, structure
        or file:path=points.csv, whose rows name their image (default: none, another network).
    masks : MaskRule, optional
        What becomes of the masks of prompts: objects, grains or materials, or file:path=rules.json
        of tim3d tune-masks (default: objects, with prompts).
    method : {"otsu", "multi-otsu", "adaptive", "fixed"}
        How thresholds are found in the histogram of each image (needed without a model). Adaptive
        cuts each pixel at the mean of 21 x 21 pixels around it, less 5/255 of the range.
    thresholds : sequence of float, optional
        Grey values that part the classes (needed by the method fixed).
    phases : Phases, optional
        Names and codes of the labels (default: the network's classes). For thresholds in the order
        of the codes.
    merge : mapping of name to name, optional
        Classes of the network that count as another one (default: none).
    blur : {"none", "binomial"}
        Blur over 5 x 5 pixels before the threshold.
    polarity : {"dark", "bright"}
        Whether the first phase is the darkest or the brightest one.
    to_8_bit : bool
        Reduce 16-bit grey values to rint(v / 257) first.
    splits : path, optional
        File of lists of images, JSON or CSV (default: all images).
    subset : str, optional
        The list that is segmented, as test or Super2/test (needed with splits).
    names : str
        Name of the mask of the image {name}, without the suffix.
    values : {"codes", "black-white", "palette", "objects"}
        Pixels of a mask: codes of phases, 0 and 255 for two phases, codes with colours, or numbers of
        objects in 16 bits, 0 for none (with prompts).
    format : {"png", "tif"}
        Format of the masks. A TIFF has the pixel size of its image.
    device : {"auto", "cpu", "cuda"}
        Device of the network.
    overwrite : bool
        Replace masks that were made with other arguments.
    progress : bool
        Show a progress bar on standard error.

    Returns
    -------
    xarray.Dataset
        Area fraction of each phase in each image.

    Raises
    ------
    ArgumentError
        If not exactly one of model and method is given, phases do not match, or the folder of masks
        holds other files.
    InputError
        If an image is missing, in colour, unreadable, or of another type; or a list names one that
        is not there.
    MixedRunError
        If the folder holds masks that were made with other arguments.
    MemoryPlanError
        If the largest image does not fit into memory.
    """
    if (model is None) == (method is None):
        raise ArgumentError(
            "segment-images needs either --model unet.safetensors or --method otsu --phases pore=0,solid=1"
        )
    if masks is not None and prompts is None:
        raise ArgumentError("--masks are those of prompts: --prompts structure")
    if model is not None:
        _refuse_beside("--model", thresholds=thresholds, blur=blur, polarity=polarity)
        chosen: PerImage = _by_model(Path(model), device, prompts, masks)
    else:
        _refuse_beside("--method", merge=merge, device=device, prompts=prompts)
        chosen = _by_thresholds(str(method), thresholds, phases, blur, polarity)
    named = phases or Phases(**{name: code for code, name in enumerate(chosen.classes)})
    coded = codes_of(chosen.classes, named, dict(merge or {}), str(model or method))
    coded, named = _stored(coded, named, values, format)
    if values == OBJECTS and chosen.numbers is None:
        raise ArgumentError(
            "--values objects are numbers of the masks of prompts: --model sam.safetensors --prompts structure "
            "--masks objects"
        )
    partner(names, "name")
    if Path(folder).resolve() == Path(out).resolve():
        raise ArgumentError(f"masks would lie among the images of {folder}; give another folder")
    question = {
        **chosen.description(), "merge": dict(merge or {}), "to_8_bit": to_8_bit, "names": names, "values": values,
        "format": format,
    }  # fmt: skip
    images = chosen_images(folder, splits, subset)
    target = Masks(Path(out), question, named, wanted=list(images))
    segmenting = Segmenting(images, chosen, coded, target, to_8_bit, overwrite, progress)
    return Task(segmenting.plans, segmenting.run)


def _by_model(model: Path, device: str, prompts: object, masks: object) -> PerImage:
    """The segmenters of a model file, and of prompts if they are given."""
    if prompts is None:
        return of_model(model, device)
    return by_prompts(model, device, prompts, AsObjects() if masks is None else masks)


def _refuse_beside(way: str, **others: Any) -> None:
    """Refuse options of another way to segment, which would have no effect."""
    usual = {
        "thresholds": None,
        "blur": "none",
        "polarity": "dark",
        "merge": None,
        "prompts": None,
        "device": "auto",
    }
    if given := [f"--{name}" for name, value in others.items() if value != usual[name]]:
        raise ArgumentError(f"{given[0]} changes nothing with {way}: leave it out")


def _stored(
    coded: NDArray[np.uint8], phases: Phases, values: str, suffix: str
) -> tuple[NDArray[np.uint8], Phases]:
    """Value of each class in the files, and the phases with these values."""
    if values not in ("codes", "black-white", "palette", OBJECTS) or suffix not in ("png", "tif"):
        raise ArgumentError(
            f"no values {values!r} or format {suffix!r}; see  tim3d segment-images --help"
        )
    if values == "palette" and suffix == "tif":
        raise ArgumentError("--values palette is for PNG; leave out --format tif")
    if values != "black-white":
        return coded, phases
    if len(phases) != 2:
        raise ArgumentError(
            f"--values black-white is for two phases; there are {len(phases)}: {phases}"
        )
    white = np.where(coded == phases.codes[0], 0, 255).astype(np.uint8)
    return white, Phases(**dict(zip(phases.names, (0, 255), strict=True)))


def _by_thresholds(
    method: str, thresholds: Any, phases: Phases | None, blur: str, polarity: str
) -> PerImage:
    if phases is None:
        raise ArgumentError(
            "thresholds need names for the phases, darkest first: --phases pore=0,solid=1"
        )
    if method not in ("otsu", "multi-otsu", METHOD, "fixed") or blur not in BLURS:
        raise ArgumentError(
            f"no method {method!r} or blur {blur!r}; see  tim3d segment-images --help"
        )
    phases.require_order("the darkest" if is_dark(polarity) else "the brightest")
    if (method == "fixed") != (thresholds is not None):
        raise ArgumentError(
            "--thresholds go with --method fixed, and only with it: --method fixed --thresholds 85"
        )
    levels = None if thresholds is None else tuple(float(v) for v in thresholds)
    if levels is not None and (
        list(levels) != sorted(set(levels)) or not all(map(math.isfinite, levels))
    ):
        raise ArgumentError(
            f"thresholds {list(levels)} are not ascending: write them in ascending order"
        )
    expected = {"otsu": 2, METHOD: 2, "fixed": len(levels or ()) + 1}.get(
        method, max(2, len(phases))
    )
    if len(phases) != expected:
        raise ArgumentError(
            f"{method} gives {expected} classes, and {len(phases)} phases are named ({', '.join(phases)})"
        )
    if method == METHOD:
        return ByLocalThreshold(LocalThreshold(tuple(phases), blur=blur, polarity=polarity))
    return ByHistogram(method, phases, blur, polarity, levels)


@dataclass(frozen=True)
class Segmenting:
    """Images that become masks."""

    images: Mapping[str, Path]
    chosen: PerImage
    coded: np.ndarray
    masks: Masks
    to_8_bit: bool
    overwrite: bool
    progress: bool

    def plans(self) -> list[Outline]:
        """One line, or nothing if all masks are there."""
        self.masks.load(overwrite=self.overwrite)
        left = self._left()
        if not left:
            return []
        needed = self._check(left)
        does = (
            f"{len(left)} of {len(self.images)} images left, into {self.masks.folder}; peak {size_text(needed)} for "
            "the largest"
        )
        return [Outline("segment-images", does)]

    def _check(self, left: Mapping[str, Path]) -> int:
        """Bytes that the largest image needs; refuse images that are not grey, and more than is free."""
        for path in left.values():
            check_grey(path, to_8_bit=self.to_8_bit)
        needed, path = max((self.chosen.bytes_for(shape_of(path)), path) for path in left.values())
        if needed > (there := available_memory()):
            raise MemoryPlanError(
                f"{path} needs {size_text(needed)}, and {size_text(there)} are free. Cut it, or leave it out"
            )
        return needed

    def _left(self) -> dict[str, Path]:
        return {n: p for n, p in self.images.items() if not self.masks.is_done(n, sha256_of(p))}

    def run(self) -> xr.Dataset:
        """Write the missing masks."""
        self.masks.load(overwrite=self.overwrite)
        left = self._left()
        if left:
            self._check(left)
        if left or self.overwrite:
            self.masks.begin()
        self._warn_of_learnt(left)
        for name, path in progress_bar(left.items(), desc="segment-images", shown=self.progress):
            self._segment(name, path)
        return self.masks.shares(list(self.images))

    def _warn_of_learnt(self, left: Mapping[str, Path]) -> None:
        """Name the images that limits of masks were chosen on: a score on them would be too good."""
        known = self.chosen.learnt_images
        if seen := [name for name, path in left.items() if known and sha256_of(path) in known]:
            log.warning(
                "the limits of masks were chosen on %s: judge them by other images",
                ", ".join(seen[:4]) + (" and others" if len(seen) > 4 else ""),
            )

    def _segment(self, name: str, path: Path) -> None:
        pixels = read_pixels(path)
        grey = as_grey(pixels.values, path, to_8_bit=self.to_8_bit, palette=pixels.palette)
        segmenter = self.chosen.of(grey, name)
        try:
            maps = maps_of(segmenter, grey)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        codes = self.coded[maps[LABELS]]
        question = self.masks.question
        numbers = self.chosen.numbers if question["values"] == OBJECTS else None
        suffix = f".{question['format']}"
        data = encoded(
            codes if numbers is None else numbered(maps[numbers], path),
            suffix,
            palette=question["values"] == "palette",
            pixel_nm=pixels.pixel_nm,
        )
        counts = {n: int(np.count_nonzero(codes == code)) for n, code in self.masks.phases.items()}
        if empty := [n for n, count in counts.items() if not count]:
            log.warning(
                "%s has no pixel of %s: look at it, and at thresholds, polarity and names",
                path,
                empty[0],
            )
        self.masks.add(
            name,
            partner(str(question["names"]), name) + suffix,
            data,
            {
                "source": path.name,
                "source_sha256": pixels.sha256,
                "thresholds": list(getattr(segmenter, "levels", ())),
                "pixel_nm": pixels.pixel_nm,
                "pixels": counts,
            },
        )
