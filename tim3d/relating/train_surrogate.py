"""The verb `train_surrogate`: a network that predicts the conductivity of a material from images of its sections."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np

from tim3d.engine import Outline
from tim3d.errors import ArgumentError, InputError, MixedRunError
from tim3d.forecast import names_below, will_exist
from tim3d.kernels.statistics.conformal import fewest
from tim3d.models.common.weights import read_weights
from tim3d.models.surrogate.examples import SurrogateOptions, split
from tim3d.relating.rendered import SolvedSamples
from tim3d.relating.section_images import folder_of_images
from tim3d.stages.images.listing import chosen_images
from tim3d.stages.shared.awaited import cannot_plan
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import outputs, schema
from tim3d.typed import Folder, GreyLevels, LookNumbers, Names, Samples

log = logging.getLogger(__name__)


@Verb
def train_surrogate(
    samples: Samples,
    *,
    model: str | Path,
    greys: GreyLevels,
    look: LookNumbers | None = None,
    field: str = "phase",
    transport: str = "",
    axis: Literal["z", "y", "x"] = "z",
    per_sample: int = 9,
    per_prediction: int = 1,
    adapt: Names = (),
    images: Folder | None = None,
    weight: float = 1.0,
    steps: int = 500,
    every: int = 50,
    batch: int = 16,
    learning_rate: float = 3e-3,
    level: float = 0.9,
    seed: int = 0,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    threads: int = 1,
    overwrite: bool = False,
    progress: bool = True,
) -> Task[Path]:
    """Train a network that predicts the effective conductivity along an axis from images of sections.

    It learns from solved samples, whose sections along the flux are rendered as a microscope would
    show them. A fifth of the samples is kept out to make intervals, and to know how far an image may
    be from the training images. An interrupted training resumes and ends with the same bits.

    Parameters
    ----------
    samples : list of str
        Paths or URLs of solved samples, alike in shape, voxels and phases.
    model : path
        File of the network. The state of its training is kept beside it.
    greys : mapping of phase to grey level
        Grey level of each phase in an image, 0 to 255.
    look : mapping of name to float, optional
        Other parameters of the images: edge, edge_decay, relief, blur, shot, read, shading,
        shading_length, stripes, charging (default: those of `tim3d.kernels.image.section_look.Look`).
    field : str
        The label field.
    transport : str
        Name of the result of solve that is meant (default: the only one).
    axis : {"z", "y", "x"}
        Axis of the flux. It runs down the images.
    per_sample : int
        Sections taken of each sample.
    per_prediction : int
        Sections of a sample from which one prediction is made.
    adapt : list of str
        Adaptation to the look of real images: standardise, adabn, coral, dann (default: none). See
        docs/sem-surrogate.md.
    images : path, optional
        Folder of real images without any property, for adabn, coral and dann (default: none).
    weight : float
        Weight of the loss of coral or dann.
    steps : int
        Steps of the training. With more of them a finished training goes on.
    every : int
        Steps from one judgement to the next; the best state is kept.
    batch : int
        Samples in a step.
    learning_rate : float
        Step size of Adam.
    level : float
        Share of new samples that the intervals are to hold.
    seed : int
        Number from which all that is random follows.
    device : {"auto", "cpu", "cuda"}
        Device of the training.
    threads : int
        CPU threads; another number gives other bits.
    overwrite : bool
        Forget an earlier training into the same file.
    progress : bool
        Show a progress bar on standard error.

    Returns
    -------
    Path
        The file of the network.

    Raises
    ------
    ArgumentError
        If a number is out of range, samples are too few, or adaptation and images do not fit.
    InputError
        If samples are not alike, or an image cannot be read.
    MissingFieldError
        If a sample has no phases or was not solved.
    MixedRunError
        If the file holds another training.
    MemoryPlanError
        If the sections do not fit into memory.

    References
    ----------
    Kim et al., Materials & Design (2025), S0264127525010822 (conductivity from SEM images by
    adaptation from simulated ones).
    """
    paths = (samples,) if isinstance(samples, str) else tuple(samples)
    options = SurrogateOptions(
        per_prediction, tuple(adapt), float(weight), batch, float(learning_rate)
    )
    split(len(paths), seed, fewest(level))
    if min(steps, every) < 1 or per_prediction > per_sample:
        raise ArgumentError(
            f"--steps {steps}, --every {every} and --per-prediction {per_prediction} are 1 or more, and the last is "
            f"at most --per-sample {per_sample}"
        )
    if options.needs_target != (images is not None):
        raise ArgumentError(
            "adabn, coral and dann need a folder of real images, and nothing else does: --adapt adabn --images sem"
        )
    source = SolvedSamples(paths, field, transport, axis, per_sample, greys, look or {}, seed)
    target = outputs.check_target(model, outputs.WEIGHTS)
    if awaited := next((p for p in paths if will_exist(p) or names_below("field", p)), None):
        return Task(lambda: cannot_plan("train_surrogate", awaited), lambda: target)
    source.check()
    how = Schedule(steps, every, device, threads, overwrite, progress)
    training = Surrogates(source, options, images, level, seed, target, how)
    return Task(training.plans, training.run)


@dataclass(frozen=True)
class Schedule:
    """How long and where it runs."""

    steps: int
    every: int
    device: str
    threads: int
    overwrite: bool
    progress: bool


@dataclass(frozen=True)
class Surrogates:
    """Checked arguments of `train_surrogate`."""

    source: SolvedSamples
    options: SurrogateOptions
    images: str | Path | None
    level: float
    seed: int
    target: Path
    how: Schedule

    def plans(self) -> list[Outline]:
        """One line, or nothing if the network is there."""
        if not self.how.overwrite and self._is_done():
            return []
        rows, columns = self.source.plane
        count = len(self.source.samples)
        said = (
            f"trains on {self.source.each} sections of {rows}x{columns} pixels of each of {count} samples, "
            f"{self.how.steps} steps, into {self.target}"
        )
        return [Outline("train_surrogate", said)]

    @cached_property
    def question(self) -> str:
        """Hash of all that decides the network but the number of steps."""
        real = {} if self.images is None else chosen_images(self.images, None, None)
        return schema.fingerprint(
            source=self.source.question(), options=self.options.record(), level=self.level, every=self.how.every,
            threads=self.how.threads, real={n: sha256(p.read_bytes()).hexdigest() for n, p in real.items()},
        )  # fmt: skip

    def _is_done(self) -> bool:
        """Whether the file holds this training to its end; refuse another."""
        if not self.target.exists():
            return False
        known = json.loads(read_weights(self.target, "surrogate").text)
        if known["about"].get("question") != self.question:
            raise MixedRunError(
                f"{self.target} holds another training. Replace it with --overwrite, or write to another file"
            )
        return bool(known["training"]["steps"] >= self.how.steps)

    def run(self) -> Path:
        """Read, render, train, and say what one section can say; nothing if the network is there."""
        if not self.how.overwrite and self._is_done():
            return self.target
        # torch takes seconds to load, and a plan does not need it
        from tim3d.models.surrogate.training import SurrogateTraining
        from tim3d.stages.shared.training import run_training

        examples, about = self.source.examples()
        about["question"] = self.question
        real = None if self.images is None else self._real()
        training = SurrogateTraining(examples, self.options, real, about, self.level, self.seed)
        sigma = about["scatter_of_one_section"]
        log.info(
            "at equal descriptors of one section the property scatters by %.1f %%: a mean absolute error of about "
            "%.1f %% is the limit of what one section can give",
            100 * sigma, 100 * sigma * math.sqrt(2 / math.pi),
        )  # fmt: skip
        how = self.how
        return run_training(
            training, self.target, steps=how.steps, every=how.every, device=how.device, threads=how.threads,
            overwrite=how.overwrite, progress=how.progress,
        )  # fmt: skip

    def _real(self) -> np.ndarray:
        """Real images, cut to the smallest of them so that they are one array."""
        found = folder_of_images(Path(str(self.images)), self.source.pixel_nm)
        rows, columns = (min(one.shape[n] for one in found.values()) for n in (0, 1))
        if rows < self.source.plane[0] or columns < self.source.plane[1]:
            raise InputError(
                f"an image in {self.images} has {rows}x{columns} pixels, and sections "
                f"{self.source.plane[0]}x{self.source.plane[1]}: give larger images, or smaller samples"
            )
        return np.stack([one[:rows, :columns] for one in found.values()])
