"""The chosen segmenter, and the counts, training or files that it needs before it is complete."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from tim3d.engine import Plan, lock_sample
from tim3d.errors import ArgumentError, CheckpointError, Tim3dError
from tim3d.forecast import expected
from tim3d.kernels.image.threshold import is_dark, multi_otsu, otsu
from tim3d.kernels.image.valleys import doubts_of_cuts
from tim3d.models.segmentation import checkpoint
from tim3d.models.segmentation.by_network import network_segmenter
from tim3d.models.segmentation.local_threshold import LocalThreshold
from tim3d.models.segmentation.network_segmenter import Inference
from tim3d.models.segmentation.predictor import Predictor
from tim3d.models.segmentation.segmenter import Segmenter
from tim3d.models.segmentation.segmenter_check import check_segmenter
from tim3d.models.segmentation.thresholds import Thresholds
from tim3d.models.segmentation.training_record import Learnt, learnt_from
from tim3d.phases import Phases
from tim3d.stages.segmentation.normalisation import check_normalisation, normalisation_of
from tim3d.stages.shared.histogram import Histogram
from tim3d.storage import store
from tim3d.storage.schema import Field

log = logging.getLogger(__name__)

# Relative difference from the voxel size of the training beyond which the network is used on a
# different material.
SPACING_TOLERANCE = 0.1
# Longest edge of a voxel over its shortest up to which slices across any axis are of one kind.
LONGEST_IN_PLANES = 1.5
Levels: TypeAlias = tuple[float, ...]


def _none() -> list[Plan]:
    return []


@dataclass(frozen=True)
class Chosen:
    """A segmenter that may not be complete yet.

    Parameters
    ----------
    name : str
        Its name in messages.
    classes : tuple of str
        Names of its labels 0, 1, ...
    ready : callable
        Returns the segmenter; may first count the histogram that it depends on.
    planned : callable
        Returns the properties that a plan needs, without reading a voxel.
    first : callable
        Returns the plans of passes that `ready` will run.
    awaited : str
        File that an earlier step of a recipe has yet to write for it.
    error : type
        Exception to raise if phases do not fit its classes.
    learnt : tuple of Learnt
        Slices that it has learnt from, as far as its files state them.
    """

    name: str
    classes: tuple[str, ...]
    ready: Callable[[], Segmenter]
    planned: Callable[[], Segmenter]
    first: Callable[[], list[Plan]] = _none
    awaited: str = ""
    error: type[Tim3dError] = ArgumentError
    learnt: tuple[Learnt, ...] = ()


def given(segmenter: object, grey: Field) -> Chosen:
    """Wrap a segmenter that is given as a value.

    Parameters
    ----------
    segmenter : Segmenter
        The segmenter.
    grey : Field
        The field to segment.

    Returns
    -------
    Chosen
        The segmenter, complete.

    Raises
    ------
    ArgumentError
        If it is not a segmenter, or does not fit the field.
    """
    if not isinstance(segmenter, Segmenter):
        raise ArgumentError(
            f"segmenter {segmenter!r} is not a tim3d.Segmenter, which is a value of Python. In the shell: --model "
            "unet.safetensors or --method otsu"
        )
    check_segmenter(segmenter, grey.shape)

    def itself() -> Segmenter:
        return segmenter

    return Chosen(f"segmenter {segmenter.kind!r}", segmenter.classes, itself, itself)


def locally(phases: Phases, grey: Field, blur: str = "none", polarity: str = "dark") -> Chosen:
    """The segmenter by local thresholds, for two phases of which the first one stands out.

    Raises
    ------
    ArgumentError
        If the field holds other types than uint8 and uint16.
    """
    if grey.dtype not in ("uint8", "uint16"):
        raise ArgumentError(
            f"a local threshold cuts uint8 and uint16, and {grey.name!r} is {grey.dtype}: --method otsu, or prepare "
            "a field of integers first"
        )
    return given(LocalThreshold(tuple(phases), blur=blur, polarity=polarity), grey)


@dataclass(frozen=True)
class FromHistogram:
    """Thresholds that are given, or computed from the histogram of the whole volume."""

    counted: Histogram
    out: str
    phases: Phases
    asked: Mapping[str, str]
    levels: Levels | None

    def chosen(self) -> Chosen:
        """The segmenter; the histogram is counted first if thresholds depend on it."""
        return Chosen(
            f"method {self.asked['method']}", self._classes, self._ready, self._planned, self._first
        )

    @property
    def _classes(self) -> tuple[str, ...]:
        """Names of the classes, from dark to bright."""
        names = tuple(self.phases)
        return names if is_dark(self.asked["polarity"]) else names[::-1]

    def _first(self) -> list[Plan]:
        return [] if self.levels is not None else self.counted.plans()

    def _planned(self) -> Segmenter:
        if self.levels is not None or not self._first():
            return self._cut(self._found(self.counted.read))
        # No plan depends on the thresholds: the values of the stored labels serve.
        record = store.node_attributes(self.counted.sample, self.out)
        return self._cut(tuple(record.get("parameters", {}).get("thresholds", ())))

    def _ready(self) -> Segmenter:
        with lock_sample(self.counted.sample) if self.levels is None else contextlib.nullcontext():
            levels = self._found(self.counted.count)
        if self.levels is None:
            for doubt in doubts_of_cuts(*self.counted.read(), levels, self._classes):
                log.warning("%s", doubt)
        return self._cut(levels)

    def _found(self, histogram: Callable[[], tuple[np.ndarray, np.ndarray]]) -> Levels:
        if self.levels is not None:
            return self.levels
        counts, centres = histogram()
        if self.asked["method"] == "otsu":
            return (otsu(counts, centres),)
        return tuple(multi_otsu(counts, centres, classes=len(self.phases)))

    def _cut(self, levels: Levels) -> Thresholds:
        return Thresholds(levels, self._classes, **self.asked)


@dataclass(frozen=True)
class FromFile:
    """A network from its file, which an earlier step of a recipe may have yet to write."""

    sample: str
    grey: Field
    model: Path
    how: Inference

    def chosen(self) -> Chosen:
        """The segmenter; its network and the table of slices may not exist yet."""
        planned = expected("network", str(self.model))
        about: checkpoint.Description = planned or checkpoint.describe(self.model)
        compare_spacing(about.spacing_nm, self.grey)
        check_planes(self.how.planes, self.grey)
        wanted = self.how.normalisation or about.normalisation.how

        def made_of(predictor: Predictor) -> Segmenter:
            return network_segmenter(self.grey.shape, about.spec, predictor, self.how)

        def ready() -> Segmenter:
            predictor = self._predictor(wanted)
            if predictor.precision != "fp32":
                _test(predictor)
            return made_of(predictor)

        def later() -> Segmenter:
            return made_of(self._planned_predictor(wanted))

        awaited = self._awaited(planned is not None)
        return Chosen(
            str(self.model), about.spec.classes, ready, later if awaited else ready, awaited=awaited,
            error=CheckpointError, learnt=learnt_from(about.training),
        )  # fmt: skip

    def _awaited(self, untrained: bool) -> str:
        if untrained:
            return str(self.model)
        grey = f"{self.sample}/{self.grey.name}"
        return grey if expected("field", grey) else ""

    def _predictor(self, normalisation: str) -> Predictor:
        # Imported here: torch takes seconds to load, and the plan of a recipe does not need it.
        from tim3d.models.common.device import choose_device

        return Predictor(
            str(self.model.absolute()),
            checkpoint.digest(self.model),
            device=choose_device(self.how.device),
            batch=1 if self.how.batch is None else self.how.batch,
            precision=self.how.precision,
            normalisation=self._scale(normalisation),
        )

    def _scale(self, normalisation: str) -> checkpoint.Normalisation:
        """Normalisation of the volume; of an imported network its own, unless another is asked for."""
        if normalisation == "fixed":
            return checkpoint.describe(self.model).normalisation
        return normalisation_of(self.sample, self.grey, normalisation)

    def _planned_predictor(self, normalisation: str) -> Predictor:
        """Predictor for a plan, while the network or the table of slices has yet to be written."""
        if normalisation != "fixed":
            check_normalisation(normalisation)
        device = "cpu" if self.how.device == "auto" else self.how.device
        batch = 1 if self.how.batch is None else self.how.batch
        return Predictor(
            str(self.model), "not trained yet", device, batch, precision=self.how.precision
        )


def _test(predictor: Predictor) -> None:
    """Load the network here, which refuses half precision that differs, before anything is written."""
    from tim3d.models.segmentation.inference import ready

    ready(predictor)


def check_planes(planes: tuple[str, ...], grey: Field) -> None:
    """Refuse slices across other axes where voxels are far from cubes; warn where they are not.

    Raises
    ------
    ArgumentError
        If the longest edge of a voxel is more than `LONGEST_IN_PLANES` times the shortest.
    """
    ratio = max(grey.spacing_nm) / min(grey.spacing_nm)
    if planes == ("z",) or math.log(ratio) <= SPACING_TOLERANCE:
        return
    edges = " x ".join(f"{edge:g}" for edge in grey.spacing_nm)
    if ratio > LONGEST_IN_PLANES:
        raise ArgumentError(
            f"voxels of {edges} nm look {ratio:.3g} times stretched across y or x, unlike the slices of the training; "
            f"--planes takes up to {LONGEST_IN_PLANES:g}. A network of volumes knows such voxels: "
            "tim3d train --dimensions 3"
        )
    log.warning(
        "voxels of %s nm look %.3g times stretched across y or x, unlike the slices of the training",
        edges,
        ratio,
    )


def compare_spacing(trained: tuple[float, float, float], grey: Field) -> None:
    """Warn if a model was trained on voxels of another size."""
    if any(
        abs(math.log(a / b)) > SPACING_TOLERANCE
        for a, b in zip(trained, grey.spacing_nm, strict=True)
    ):
        log.warning(
            "the model was trained on voxels of %s nm, these are %s nm (z, y, x)",
            trained,
            grey.spacing_nm,
        )
