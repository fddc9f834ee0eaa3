"""The segmenter of a single image: thresholds of its own histogram, or a network."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError, CheckpointError, InputError
from tim3d.grid import Box, Triple
from tim3d.kernels.image.threshold import blurred, grey_counts, is_dark, multi_otsu, otsu
from tim3d.kernels.image.valleys import doubts_of_cuts
from tim3d.models.promptable.importing import KIND as PROMPTABLE
from tim3d.models.segmentation import checkpoint
from tim3d.models.segmentation.bpartis import KIND as BPARTIS
from tim3d.models.segmentation.by_network import network_segmenter
from tim3d.models.segmentation.local_threshold import LocalThreshold
from tim3d.models.segmentation.model_file import read_model
from tim3d.models.segmentation.network_segmenter import Inference
from tim3d.models.segmentation.predictor import Predictor
from tim3d.models.segmentation.segmenter import Segmenter
from tim3d.models.segmentation.stroke_forest import KIND as STROKES
from tim3d.models.segmentation.stroke_forest import StrokeForest, StrokeModel, model_of
from tim3d.models.segmentation.thresholds import Thresholds
from tim3d.phases import Phases
from tim3d.sources.image import read_pixels
from tim3d.sources.image_files import read_header

log = logging.getLogger(__name__)

# Bytes for each pixel of an image while it is read, cut at thresholds and written: two copies of up
# to 16 bits, a blur in 32 bits, labels, codes and the file.
PIXEL_BYTES = 24
Grey = NDArray[np.unsignedinteger[Any]]


class PerImage(ABC):
    """A way to segment single images, each by itself."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""

    @property
    def numbers(self) -> str | None:
        """Name of the map that numbers objects; None if there is none."""
        return None

    @property
    def learnt_images(self) -> Mapping[str, str]:
        """Names of the images that its limits were chosen on, by the SHA-256 of their files."""
        return {}

    @abstractmethod
    def of(self, grey: Grey, name: str) -> Segmenter:
        """Return the segmenter of the image (1, y, x) of this name."""

    @abstractmethod
    def bytes_for(self, shape: tuple[int, int]) -> int:
        """Memory of an image of this shape."""

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """All that decides the labels of an image."""


@dataclass(frozen=True)
class ByHistogram(PerImage):
    """Thresholds that are given, or found in the histogram of each image by itself.

    `phases` are in the order of grey values, from the darkest (or brightest) on.
    """

    method: str
    phases: Phases
    blur: str
    polarity: str
    levels: tuple[float, ...] | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, from dark to bright."""
        names = tuple(self.phases)
        return names if is_dark(self.polarity) else names[::-1]

    def of(self, grey: Grey, name: str) -> Segmenter:
        """Return the segmenter of the image (1, y, x) of this name."""
        levels = self.levels or self._found(grey, name)
        return Thresholds(levels, self.classes, self.method, self.blur, self.polarity)

    def _found(self, grey: Grey, name: str) -> tuple[float, ...]:
        counts = grey_counts(blurred(grey, self.blur))
        centres = np.arange(len(counts), dtype=np.float64)
        levels = (
            (otsu(counts, centres),)
            if self.method == "otsu"
            else tuple(multi_otsu(counts, centres, classes=len(self.phases)))
        )
        for doubt in doubts_of_cuts(counts, centres, levels, self.classes):
            log.warning("%s: %s", name, doubt)
        return levels

    def bytes_for(self, shape: tuple[int, int]) -> int:
        """Memory of an image of this shape."""
        return PIXEL_BYTES * shape[0] * shape[1]

    def description(self) -> dict[str, Any]:
        """All that decides the labels of an image."""
        return {
            "method": self.method, "blur": self.blur, "polarity": self.polarity, "thresholds": self.levels,
        }  # fmt: skip


@dataclass(frozen=True)
class ByLocalThreshold(PerImage):
    """A local threshold, the same for all images; the first class is what stands out."""

    segmenter: LocalThreshold

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.segmenter.classes

    def of(self, grey: Grey, name: str) -> Segmenter:
        """Return the segmenter of the image (1, y, x) of this name."""
        return self.segmenter

    def bytes_for(self, shape: tuple[int, int]) -> int:
        """Memory of an image of this shape."""
        return int((PIXEL_BYTES + self.segmenter.working_bytes) * shape[0] * shape[1])

    def description(self) -> dict[str, Any]:
        """All that decides the labels of an image."""
        return self.segmenter.record(())


@dataclass(frozen=True)
class ByNetwork(PerImage):
    """A network from its file, normalised by the mean and deviation of each image."""

    path: Path
    device: str

    @property
    def about(self) -> checkpoint.Description:
        """Description in the file."""
        return checkpoint.describe(self.path)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.about.spec.classes

    def check(self) -> None:
        """Raise `CheckpointError` if the network needs neighbouring slices."""
        if self.about.spec.dimensions == 3:
            raise CheckpointError(
                f"{self.path} looks at volumes, and a single image is none; train a network of slices: --dimensions 2"
            )
        if self.about.spec.context:
            raise CheckpointError(
                f"{self.path} looks at {self.about.spec.context} slices before and after each, which a single image "
                "does not have; train one without --context"
            )

    def of(self, grey: Grey, name: str) -> Segmenter:
        """Return the segmenter of the image (1, y, x) of this name."""
        from tim3d.models.common.device import choose_device

        scale = (
            self.about.normalisation
            if self.about.normalisation.how == "fixed"
            else checkpoint.Normalisation(
                "volume", (float(grey.mean()),), (float(grey.std()) or 1.0,)
            )
        )
        called = Predictor(
            str(self.path.absolute()),
            checkpoint.digest(self.path),
            device=choose_device(self.device),
            normalisation=scale,
        )
        shape: Triple = (1, *grey.shape[1:])
        return network_segmenter(shape, self.about.spec, called, Inference())

    def bytes_for(self, shape: tuple[int, int]) -> int:
        """Memory of an image of this shape, with the layers of the network."""
        plane: Triple = (1, *shape)
        spec = self.about.spec
        called = Predictor(str(self.path), "", "cpu")
        segmenter = network_segmenter(plane, spec, called, Inference())
        return segmenter.block_bytes(plane, plane, plane, 2) + PIXEL_BYTES * shape[0] * shape[1]

    def description(self) -> dict[str, Any]:
        """All that decides the labels of an image."""
        return {"model": checkpoint.digest(self.path)}


@dataclass(frozen=True)
class ByStrokes(PerImage):
    """A forest of strokes from its file, normalised by the mean and deviation of each image."""

    path: Path

    @property
    def about(self) -> StrokeModel:
        """Description in the file."""
        return model_of(read_model(self.path))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.about.classes

    def check(self) -> None:
        """Raise `CheckpointError` if the forest looks at neighbouring slices."""
        if not self.about.planar:
            raise CheckpointError(
                f"{self.path} looks at slices before and after each, which a single image does not have; train one "
                "with --planar"
            )

    def of(self, grey: Grey, name: str) -> Segmenter:
        """Return the segmenter of an image, whose pixels count as those of the training."""
        return self._segmenter((float(grey.mean()),), (float(grey.std()) or 1.0,))

    def _segmenter(self, mean: tuple[float], std: tuple[float]) -> StrokeForest:
        file = read_model(self.path)
        model = model_of(file)
        scale = checkpoint.Normalisation("volume", mean, std)
        return StrokeForest(str(self.path.absolute()), model, model.spacing, scale, file.sha256)

    def bytes_for(self, shape: tuple[int, int]) -> int:
        """Memory of an image of this shape."""
        plane: Triple = (1, *shape)
        held = self._segmenter((0.0,), (1.0,)).block_bytes(plane, plane, plane, 2)
        return held + PIXEL_BYTES * shape[0] * shape[1]

    def description(self) -> dict[str, Any]:
        """All that decides the labels of an image."""
        return {"model": read_model(self.path).sha256}


def of_model(path: Path, device: str) -> ByNetwork | ByStrokes:
    """The segmenters of a model file, by the kind that it states.

    Raises
    ------
    ArgumentError
        If a device is named for what needs none.
    CheckpointError
        If it needs neighbouring slices.
    """
    if read_model(path).kind == PROMPTABLE:
        raise CheckpointError(
            f"{path} is a promptable network, which draws what prompts show: add --prompts structure"
        )
    if read_model(path).kind == BPARTIS:
        raise CheckpointError(
            f"{path} numbers particles, which masks of phases do not hold: make a sample of the image, tim3d ingest "
            f"IMAGE a.zarr --voxel-size z=10,y=5,x=5, then tim3d segment a.zarr --model {path}"
        )
    chosen: ByNetwork | ByStrokes = ByNetwork(path, device)
    if read_model(path).kind == STROKES:
        if device != "auto":
            raise ArgumentError(
                f"--device changes nothing with a model of the kind {STROKES!r}: leave it out"
            )
        chosen = ByStrokes(path)
    chosen.check()
    return chosen


def maps_of(segmenter: Segmenter, grey: Grey) -> dict[str, NDArray[Any]]:
    """Maps of an image (1, y, x) by their names, (y, x)."""
    shape: Triple = (1, *grey.shape[1:])
    whole = Box.whole(shape)
    found = segmenter.region(shape, whole, grey, whole)
    return {name: np.asarray(values[0]) for name, values in found.items()}


def codes_of(
    classes: Sequence[str], phases: Phases, merge: Mapping[str, str], what: str
) -> NDArray[np.uint8]:
    """Code of each class.

    Raises
    ------
    ArgumentError
        If the classes are not those that are named.
    """
    counted = [merge.get(name, name) for name in classes]
    if set(counted) != set(phases) or not set(merge) <= set(classes):
        raise ArgumentError(
            f"{what} has the classes {', '.join(classes)}, and the phases are {phases}. Name them alike, or count "
            "classes as another: --merge shine_through=pore"
        )
    return np.array([phases[name] for name in counted], np.uint8)


def check_grey(path: Path, *, to_8_bit: bool) -> None:
    """Refuse an image that has no grey values, by its header; pixels are read only where that says no.

    Raises
    ------
    InputError
        As `as_grey`.
    """
    try:
        header = None if path.suffix.lower() == ".npy" else read_header(path)
    except InputError:  # in colour, perhaps of three equal channels
        header = None
    if header is None or header.pages != 1:
        pixels = read_pixels(path)
        as_grey(pixels.values, path, to_8_bit=to_8_bit, palette=pixels.palette)
    else:
        as_grey(np.empty((1, 1), header.dtype), path, to_8_bit=to_8_bit, palette=header.palette)


def as_grey(values: NDArray[Any], path: Path, *, to_8_bit: bool, palette: bool) -> Grey:
    """Grey values of a file as an array (1, y, x), uint8 or uint16.

    Three equal channels are grey. With `to_8_bit`, uint16 becomes rint(v / 257).

    Raises
    ------
    InputError
        If the image is in colour, has a palette, or is of another type.
    """
    if palette:
        raise InputError(
            f"{path} has a palette: its pixels are numbers of colours. Save it as grey"
        )
    if values.ndim == 3 and (values == values[..., :1]).all():
        values = values[..., 0]
    if values.ndim != 2:
        raise InputError(
            f"{path} is in colour; grey values are segmented. Save one channel of it as grey"
        )
    if values.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"{path} is {values.dtype}; single images are segmented in uint8 and uint16. Convert it, with the same "
            "black and white for all images"
        )
    if to_8_bit and values.dtype == np.uint16:
        values = np.rint(values / 257).astype(np.uint8)
    return np.ascontiguousarray(values)[None]
