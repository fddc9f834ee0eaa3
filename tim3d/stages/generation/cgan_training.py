"""Training of a conditional generator on a series, in a folder of its own, with its history beside it."""

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
from tim3d.models.conditional.images import made
from tim3d.models.conditional.network_file import ConditionalDescription, describe_conditional
from tim3d.models.conditional.network_spec import ConditionalSpec, CriticSpec
from tim3d.models.conditional.networks import ConditionalGenerator
from tim3d.models.conditional.training import ConditionalTraining
from tim3d.models.conditional.training_options import ConditionalOptions
from tim3d.stages.generation.condition_looks import SIZE, look_of
from tim3d.stages.generation.diffusion_examples import Material
from tim3d.stages.generation.training_folder import TrainingFolder
from tim3d.stages.generation.training_images import Look

log = logging.getLogger(__name__)
SHOWN_BESIDE = ("critic_loss", "generator_loss", "score")


@dataclass(frozen=True)
class CganJob:
    """Checked arguments of `train_cgan`."""

    material: Material
    spec: ConditionalSpec
    critic: CriticSpec
    options: ConditionalOptions
    place: TrainingFolder
    held_out: float | None
    on_look: Callable[[Look], None] | None

    @cached_property
    def training(self) -> ConditionalTraining:
        """The training; what does not fit is refused."""
        seen, judged, text = self.material.parts(self.options.crop, self.held_out)
        if is_first():
            log.info(text)
        return ConditionalTraining(
            self.description, self.critic, seen, judged, self.options, self.decided, self.material.sources
        )  # fmt: skip

    @property
    def description(self) -> ConditionalDescription:
        """Description of the network without its training."""
        one = self.material
        assert one.phases is not None
        return ConditionalDescription(self.spec, one.spacing_nm, one.phases, one.conditions)

    @cached_property
    def decided(self) -> dict[str, Any]:
        """Record of all that determines the network besides layers, pixels and options."""
        return {"held_out": self.held_out, **self.place.decided}

    def plans(self, overwrite: bool) -> list[Outline]:
        """One line, or nothing if the training is done; later steps may rely on the network."""
        training = self.training
        if not overwrite and self._is_done():
            return []
        expect("cgan", str(self.place.weights), training.description)
        return [Outline("train_cgan", f"{'; '.join(self._summary())}; into {self.place.path}")]

    def start(self, overwrite: bool) -> Path:
        """Check, lock and train; start from the beginning with `overwrite`."""
        training = self.training
        self._check_memory()
        return self.place.run(training, SHOWN_BESIDE, self._look, overwrite=overwrite)

    def _is_done(self) -> bool:
        """Whether the stored network is the end of this training; `start` refuses any other."""
        if not self.place.weights.is_file():
            return False
        about, _ = describe_conditional(self.place.weights)
        known = {
            "images": self.material.sources, "critic": asdict(self.critic), "options": asdict(self.options),
            **self.decided,
        }  # fmt: skip
        mine = self.description
        same = (about.spec, about.spacing_nm, about.phases, about.conditions) == (
            mine.spec, mine.spacing_nm, mine.phases, mine.conditions
        )  # fmt: skip
        return same and self.place.is_end_of(about.training, known)

    def _summary(self) -> list[str]:
        """Lines that state the networks, the images, the length of the training and its memory."""
        spec, options, material = self.spec, self.options, self.material
        shapes = sorted({" x ".join(map(str, v.shape)) for v in material.values})
        known = ", ".join(one.name for one in material.conditions)
        return [
            f"generator of {spec.parameters / 1e6:.3g} million weights, {spec.multiplications / 1e3:.3g} thousand "
            f"multiplications a pixel; noise in cells of {spec.cell} pixels, of which a pixel depends on those within "
            f"{spec.reach}; critic of {self.critic.parameters / 1e6:.3g} million weights",
            f"{len(material.values)} of {', '.join(shapes)} pixels of {material.spacing_nm[2]:g} nm, by {known}",
            f"{self.place.schedule.steps} steps, each of {options.critic_steps} of the critic, with {options.batch} "
            f"real and as many generated windows of {options.crop}, a look every {self.place.schedule.every}",
            f"memory {self._bytes() / 2**30:.2f} GiB",
        ]

    def _bytes(self) -> int:
        kept = sum(int(np.prod(v.shape)) for v in self.material.values)
        edge, batch = self.options.crop, self.options.batch
        return (
            self.spec.training_bytes(edge, batch)
            + self.critic.training_bytes(edge, batch)
            + 2 * kept
        )

    def _check_memory(self) -> None:
        need, free = self._bytes(), available_memory()
        if self.decided["device"] == "cpu" and need > free:
            raise MemoryPlanError(
                f"training needs {need / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free; use --batch below "
                f"{self.options.batch}, or a smaller --crop"
            )

    def _look(self, run: TrainingRun) -> None:
        """Write the history so far, and the network if it is the best."""
        self.place.keep(run)
        if self.on_look:
            net = cast(ConditionalGenerator, run.judged)
            edge, about = SIZE * self.options.crop, self.description

            def draw(number: int, given: Mapping[str, float | str]) -> NDArray[np.uint8]:
                seed, inputs = self.options.seed, about.inputs(given)
                return made(net, len(about.phases), (edge, edge), number, seed, inputs)

            self.on_look(look_of(self.place.path, run.history, self.material, draw))
