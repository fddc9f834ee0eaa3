"""Training of a generator on micrographs, in a folder of its own, with its history beside it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np

from tim3d.engine import Outline
from tim3d.forecast import expect
from tim3d.kernels.generation import architecture
from tim3d.kernels.generation.architecture import Architecture
from tim3d.kernels.statistics.generator_score import target_of
from tim3d.kernels.statistics.grey_statistics import grey_target
from tim3d.models.common.distributed import is_first
from tim3d.models.common.training_run import TrainingRun
from tim3d.models.generation.adversarial import AdversarialOptions
from tim3d.models.generation.checkpoint_selection import Judge, judged_edge, judged_voxels
from tim3d.models.generation.export import GeneratorDescription, describe_generator
from tim3d.models.generation.slice_sampler import Views, one_hot
from tim3d.models.generation.slicegan import Generator
from tim3d.models.generation.training import SliceGANTraining
from tim3d.stages.generation.generator_cost import (
    check_memory,
    summary,
    warn_of_gaps,
    warn_of_reach,
)
from tim3d.stages.generation.training_folder import TrainingFolder
from tim3d.stages.generation.training_images import Look, Micrographs, check_crop, split

log = logging.getLogger(__name__)


def network(preset: str, images: Micrographs) -> Architecture:
    """Return the network of a preset; the images must be at least as large as its crop."""
    found = architecture.preset(preset, len(images.phases or images.values[0]), images.output)
    check_crop(images, found.crop)
    return found


@dataclass(frozen=True)
class GeneratorTraining:
    """Checked arguments of `train_generator`."""

    architecture: Architecture
    images: Micrographs
    options: AdversarialOptions
    place: TrainingFolder
    held_out: float | None
    on_look: Callable[[Look], None] | None

    @cached_property
    def parts(self) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...], str]:
        """Images to train on, images to select by, and a sentence about the split."""
        return split(
            self.images.values, len(self.images.phases or ()), self.architecture.crop, self.held_out
        )

    @cached_property
    def decided(self) -> dict[str, Any]:
        """Record of all that determines the generator besides network, pixels and options."""
        held_out = self.images.shape[1] - self.parts[0][0].shape[-1]
        return {"held_out_columns": held_out, **self.place.decided}

    def plans(self, overwrite: bool) -> list[Outline]:
        """One line, or nothing if the training is done; later steps may rely on the generator."""
        if not overwrite and self._is_done():
            return []
        self._warn()
        description = GeneratorDescription(
            self.architecture, self.images.spacing_nm, self.images.phases
        )
        expect("generator", str(self.place.weights), description)
        return [Outline("train_generator", f"{self._described()}; into {self.place.path}")]

    def start(self, overwrite: bool) -> Path:
        """Check, lock and train; start from the beginning with `overwrite`."""
        self._warn()
        check_memory(self.architecture, self.images, self.options, self.decided["device"])
        shown = ("distance", "generator_loss", "score")
        return self.place.run(self._training(), shown, self._look, overwrite=overwrite)

    def _is_done(self) -> bool:
        """Whether the stored generator is the end of this training; `start` refuses any other."""
        if not self.place.weights.is_file():
            return False
        about, _ = describe_generator(self.place.weights)
        known = {"images": self.images.sources, "options": asdict(self.options), **self.decided}
        known_as = (about.architecture, about.spacing_nm, about.phases)
        asked = (self.architecture, self.images.spacing_nm, self.images.phases)
        return known_as == asked and self.place.is_end_of(about.training, known)

    def _warn(self) -> None:
        warn_of_reach(self.architecture, self.images)
        warn_of_gaps(self.images)

    def _described(self) -> str:
        return "; ".join(summary(self.architecture, self.images, self.options, self.place.schedule))

    def _training(self) -> SliceGANTraining:
        phases, edge = len(self.images.phases or ()), judged_edge(self.architecture)
        seen, judged, text = self.parts
        if is_first():
            log.info(text)
        views = Views(
            tuple(one_hot(image[0], tuple(range(phases))) for image in seen) if phases else seen
        )
        target = (
            target_of([image[0] for image in judged], phases, edge)
            if phases
            else grey_target(judged, edge)
        )
        return SliceGANTraining(
            self.architecture, views, self.options, Judge(target, self.options.seed), self.images.spacing_nm,
            self.images.phases, self.decided, self.images.sources,
        )  # fmt: skip

    def _look(self, run: TrainingRun) -> None:
        """Write the history so far, and the generator if it is the best."""
        self.place.keep(run)
        if self.on_look:
            volume = judged_voxels(cast(Generator, run.judged), self.options.seed)
            middle = tuple(volume.take(volume.shape[axis] // 2, axis) for axis in (-3, -2, -1))
            self.on_look(Look(self.place.path, list(run.history), middle, self.images))
