"""Training of a diffusion on a material, in a folder of its own, with its history beside it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tim3d.engine import Outline
from tim3d.engine.clusters.memory import available_memory
from tim3d.errors import MemoryPlanError
from tim3d.forecast import expect
from tim3d.models.common.distributed import is_first
from tim3d.models.common.training_run import TrainingRun
from tim3d.models.diffusion.drawing import Drawing, drawing_bytes
from tim3d.models.diffusion.images import drawn
from tim3d.models.diffusion.local_network import LocalNetwork
from tim3d.models.diffusion.network_file import (
    LocalNetworkDescription,
    describe_network,
)
from tim3d.models.diffusion.network_spec import LocalNetworkSpec
from tim3d.models.diffusion.training import DiffusionTraining
from tim3d.models.diffusion.training_options import DiffusionOptions
from tim3d.stages.generation.condition_looks import SIZE, look_of
from tim3d.stages.generation.diffusion_examples import Material
from tim3d.stages.generation.training_folder import TrainingFolder
from tim3d.stages.generation.training_images import Look

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DiffusionJob:
    """Checked arguments of `train_diffusion`."""

    material: Material
    spec: LocalNetworkSpec
    options: DiffusionOptions
    place: TrainingFolder
    held_out: float | None
    on_look: Callable[[Look], None] | None

    @cached_property
    def training(self) -> DiffusionTraining:
        """The training; what does not fit is refused."""
        seen, judged, text = self.material.parts(self.options.crop, self.held_out)
        if is_first():
            log.info(text)
        return DiffusionTraining(
            self.description, seen, judged, self.options, self.decided, self.material.sources
        )

    @property
    def description(self) -> LocalNetworkDescription:
        """Description of the network without its training."""
        one = self.material
        return LocalNetworkDescription(self.spec, one.spacing_nm, one.phases, one.conditions)

    @cached_property
    def decided(self) -> dict[str, Any]:
        """Record of all that determines the network besides layers, voxels and options."""
        return {"held_out": self.held_out, **self.place.decided}

    def plans(self, overwrite: bool) -> list[Outline]:
        """One line, or nothing if the training is done; later steps may rely on the network."""
        training = self.training
        if not overwrite and self._is_done():
            return []
        expect("diffusion", str(self.place.weights), training.description)
        return [Outline("train_diffusion", f"{'; '.join(self._summary())}; into {self.place.path}")]

    def start(self, overwrite: bool) -> Path:
        """Check, lock and train; start from the beginning with `overwrite`."""
        training = self.training
        self._check_memory()
        return self.place.run(training, ("loss", "score"), self._look, overwrite=overwrite)

    def _is_done(self) -> bool:
        """Whether the stored network is the end of this training; `start` refuses any other."""
        if not self.place.weights.is_file():
            return False
        about, _ = describe_network(self.place.weights)
        known = {"images": self.material.sources, "options": asdict(self.options), **self.decided}
        as_known = (about.spec, about.spacing_nm, about.phases, about.conditions)
        mine = self.description
        asked = (mine.spec, mine.spacing_nm, mine.phases, mine.conditions)
        return as_known == asked and self.place.is_end_of(about.training, known)

    def _summary(self) -> list[str]:
        """Lines that state the network, its examples, the length of the training and its memory."""
        spec, options, material = self.spec, self.options, self.material
        shapes = sorted({" x ".join(map(str, v.shape)) for v in material.values})
        z, y, x = material.spacing_nm
        known = ", ".join(one.name for one in material.conditions)
        return [
            f"local network of {spec.parameters / 1e6:.3g} million weights, {spec.multiplications / 1e3:.3g} thousand "
            f"multiplications a voxel; a voxel depends on those within {spec.reach}",
            f"{len(material.values)} of {', '.join(shapes)} voxels of {z:g} x {y:g} x {x:g} nm"
            + (f", conditions {known}" if known else ""),
            f"{self.place.schedule.steps} steps of {options.batch} crops of {options.crop}, objective "
            f"{spec.objective}, a look every {self.place.schedule.every}",
            f"memory {self._bytes() / 2**30:.2f} GiB",
        ]

    def _bytes(self) -> int:
        kept = sum(int(np.prod(v.shape)) for v in self.material.values)
        step = self.spec.training_bytes(self.options.crop, self.options.batch)
        looks = drawing_bytes(self.spec, (self._edge,) * 2) if self._draws else 0
        return max(step, looks) + (2 * kept if self.material.dimensions == 2 else 0)

    def _check_memory(self) -> None:
        need, free = self._bytes(), available_memory()
        if self.decided["device"] == "cpu" and need > free:
            raise MemoryPlanError(
                f"training needs {need / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free; use --batch below "
                f"{self.options.batch}, or a smaller --crop"
            )

    @property
    def _draws(self) -> bool:
        """Whether looks draw images; a volume takes minutes."""
        return self.on_look is not None and self.material.dimensions == 2

    @property
    def _edge(self) -> int:
        return SIZE * self.options.crop

    def _look(self, run: TrainingRun) -> None:
        """Write the history so far, and the network if it is the best."""
        self.place.keep(run)
        if self.on_look and self._draws:
            self.on_look(self._drawn(run, cast(LocalNetwork, run.judged)))

    def _drawn(self, run: TrainingRun, net: LocalNetwork) -> Look:
        """Images under the conditions of some examples, beside these."""
        about, shape = self.description, (self._edge,) * 2
        drawing = Drawing(seed=self.options.seed)

        def draw(number: int, given: Mapping[str, float | str]) -> NDArray[np.uint8]:
            return next(drawn(net, about, shape, range(number, number + 1), drawing, given))

        return look_of(self.place.path, run.history, self.material, draw)
