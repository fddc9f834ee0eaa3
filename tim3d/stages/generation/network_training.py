"""Training of a network that generates under conditions, in a folder of its own, with its history beside it."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tim3d.engine import Outline
from tim3d.engine.clusters.memory import available_memory
from tim3d.errors import MemoryPlanError
from tim3d.forecast import expect
from tim3d.models.common.conditioned_network import NetworkDescription, described
from tim3d.models.common.conditioned_options import ConditionedOptions
from tim3d.models.common.distributed import is_first
from tim3d.models.common.training_run import Training, TrainingRun
from tim3d.models.diffusion.examples import Examples
from tim3d.stages.generation.condition_looks import SIZE, look_of
from tim3d.stages.generation.diffusion_examples import Material
from tim3d.stages.generation.training_folder import TrainingFolder
from tim3d.stages.generation.training_images import Look

log = logging.getLogger(__name__)
Draw = Callable[[int, Mapping[str, float | str]], NDArray[np.uint8]]


@dataclass(frozen=True)
class NetworkJob(ABC):
    """Checked arguments of a training; a kind of network has a subclass.

    Attributes
    ----------
    verb : str
        Name of the verb.
    shown : tuple of str
        Numbers of a step that progress shows.
    """

    verb: ClassVar[str]
    shown: ClassVar[tuple[str, ...]]

    material: Material
    options: ConditionedOptions
    place: TrainingFolder
    held_out: float | None
    on_look: Callable[[Look], None] | None

    @property
    @abstractmethod
    def description(self) -> NetworkDescription:
        """Description of the network without its training."""

    @property
    @abstractmethod
    def training(self) -> Training:
        """The training; what does not fit is refused."""

    @abstractmethod
    def _lines(self) -> list[str]:
        """Lines that state the network, its examples and the length of the training."""

    @abstractmethod
    def _bytes(self) -> int:
        """Bytes of a step, of the examples, and of what a look draws."""

    @abstractmethod
    def _drawing(self, run: TrainingRun) -> Draw | None:
        """Function from number and conditions to an image by the network of a look; None for no images."""

    @property
    def _known(self) -> dict[str, Any]:
        """Record of the training that a network has in which this one ends."""
        return {
            "images": self.material.sources,
            "options": asdict(self.options),
            **self.decided,
        }

    @cached_property
    def decided(self) -> dict[str, Any]:
        """Record of all that determines the network besides layers, pixels and options."""
        return {"held_out": self.held_out, **self.place.decided}

    @cached_property
    def parts(self) -> tuple[Examples, Examples]:
        """Examples to learn from, and those that select the state."""
        seen, judged, text = self.material.parts(self.options.crop, self.held_out)
        if is_first():
            log.info(text)
        return seen, judged

    @property
    def edge(self) -> int:
        """Edge in pixels of an image of a look."""
        return SIZE * self.options.crop

    def plans(self, overwrite: bool) -> list[Outline]:
        """One line, or nothing if the training is done; later steps may rely on the network."""
        _ = self.training  # what does not fit is refused here
        if not overwrite and self._is_done():
            return []
        expect(self.description.kind, str(self.place.weights), self.description)
        said = [*self._lines(), f"memory {self._bytes() / 2**30:.2f} GiB"]
        return [Outline(self.verb, f"{'; '.join(said)}; into {self.place.path}")]

    def start(self, overwrite: bool) -> Path:
        """Check, lock and train; start from the beginning with `overwrite`."""
        training = self.training
        self._check_memory()
        return self.place.run(training, self.shown, self._look, overwrite=overwrite)

    def _is_done(self) -> bool:
        """Whether the stored network is the end of this training; `start` refuses any other."""
        if not self.place.weights.is_file():
            return False
        mine = self.description
        about, _ = described(self.place.weights, type(mine))
        same = (about.spec, about.spacing_nm, about.phases, about.conditions) == (
            mine.spec, mine.spacing_nm, mine.phases, mine.conditions
        )  # fmt: skip
        return same and self.place.is_end_of(about.training, self._known)

    def _check_memory(self) -> None:
        need, free = self._bytes(), available_memory()
        if self.decided["device"] == "cpu" and need > free:
            raise MemoryPlanError(
                f"training needs {need / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free; use --batch below "
                f"{self.options.batch}, or a smaller --crop"
            )

    def _look(self, run: TrainingRun) -> None:
        """Write the history so far, the network if it is the best, and what it draws."""
        self.place.keep(run)
        draw = self._drawing(run) if self.on_look else None
        if self.on_look and draw:
            self.on_look(look_of(self.place.path, run.history, self.material, draw))
