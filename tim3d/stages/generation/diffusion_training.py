"""Training of a diffusion on a material."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from tim3d.models.common.training_run import TrainingRun
from tim3d.models.diffusion.drawing import Drawing, drawing_bytes
from tim3d.models.diffusion.images import drawn
from tim3d.models.diffusion.local_network import LocalNetwork
from tim3d.models.diffusion.network_file import LocalNetworkDescription
from tim3d.models.diffusion.network_spec import LocalNetworkSpec
from tim3d.models.diffusion.training import DiffusionTraining
from tim3d.models.diffusion.training_options import DiffusionOptions
from tim3d.stages.generation.local_fractions import law_text
from tim3d.stages.generation.network_training import Draw, NetworkJob


@dataclass(frozen=True)
class DiffusionJob(NetworkJob):
    """Checked arguments of `train_diffusion`."""

    verb: ClassVar[str] = "train_diffusion"
    shown: ClassVar[tuple[str, ...]] = ("loss", "score")

    options: DiffusionOptions
    spec: LocalNetworkSpec

    @cached_property
    def training(self) -> DiffusionTraining:
        """The training; what does not fit is refused."""
        seen, judged = self.parts
        return DiffusionTraining(
            self.description, seen, judged, self.options, self.decided, self.material.sources
        )

    @property
    def description(self) -> LocalNetworkDescription:
        """Description of the network without its training."""
        one = self.material
        return LocalNetworkDescription(
            self.spec, one.spacing_nm, one.phases, one.conditions, coarse=one.coarse
        )

    @cached_property
    def decided(self) -> dict[str, Any]:
        """Record of all that determines the network besides layers, pixels and options."""
        law = self.material.coarse
        known = {"held_out": self.held_out, **self.place.decided}
        return known if law is None else {**known, "coarse": asdict(law)}

    def _lines(self) -> list[str]:
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
            *(
                [law_text(material.coarse, next(iter(material.phases or ())))]
                if material.coarse
                else ()
            ),
        ]

    def _bytes(self) -> int:
        step = self.spec.training_bytes(self.options.crop, self.options.batch)
        if self.material.dimensions == 3:
            return step
        looks = drawing_bytes(self.spec, (self.edge,) * 2) if self.on_look else 0
        return max(step, looks) + 2 * self.material.voxels

    def _drawing(self, run: TrainingRun) -> Draw | None:
        if self.material.dimensions == 3:  # a volume takes minutes
            return None
        net, about, shape = cast(LocalNetwork, run.judged), self.description, (self.edge,) * 2
        drawing = Drawing(seed=self.options.seed)

        def draw(number: int, given: Mapping[str, float | str]) -> NDArray[np.uint8]:
            return next(drawn(net, about, shape, range(number, number + 1), drawing, given))

        return draw
