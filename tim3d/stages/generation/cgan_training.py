"""Training of a conditional generator on a series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from tim3d.models.common.training_run import TrainingRun
from tim3d.models.conditional.images import made
from tim3d.models.conditional.network_file import ConditionalDescription
from tim3d.models.conditional.network_spec import ConditionalSpec, CriticSpec
from tim3d.models.conditional.networks import ConditionalGenerator
from tim3d.models.conditional.training import ConditionalTraining
from tim3d.models.conditional.training_options import ConditionalOptions
from tim3d.stages.generation.network_training import Draw, NetworkJob


@dataclass(frozen=True)
class CganJob(NetworkJob):
    """Checked arguments of `train_cgan`."""

    verb: ClassVar[str] = "train_cgan"
    shown: ClassVar[tuple[str, ...]] = ("critic_loss", "generator_loss", "score")

    options: ConditionalOptions
    spec: ConditionalSpec
    critic: CriticSpec

    @cached_property
    def training(self) -> ConditionalTraining:
        """The training; what does not fit is refused."""
        seen, judged = self.parts
        return ConditionalTraining(
            self.description, self.critic, seen, judged, self.options, self.decided, self.material.sources
        )  # fmt: skip

    @property
    def description(self) -> ConditionalDescription:
        """Description of the network without its training."""
        one = self.material
        assert one.phases is not None
        return ConditionalDescription(self.spec, one.spacing_nm, one.phases, one.conditions)

    @property
    def _known(self) -> dict[str, Any]:
        return {**super()._known, "critic": asdict(self.critic)}

    def _lines(self) -> list[str]:
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
        ]

    def _bytes(self) -> int:
        edge, batch = self.options.crop, self.options.batch
        step = self.spec.training_bytes(edge, batch) + self.critic.training_bytes(edge, batch)
        return step + 2 * self.material.voxels

    def _drawing(self, run: TrainingRun) -> Draw | None:
        net, about, edge = cast(ConditionalGenerator, run.judged), self.description, self.edge

        def draw(number: int, given: Mapping[str, float | str]) -> NDArray[np.uint8]:
            seed, inputs = self.options.seed, about.inputs(given)
            return made(net, len(about.phases), (edge, edge), number, seed, inputs)

        return draw
