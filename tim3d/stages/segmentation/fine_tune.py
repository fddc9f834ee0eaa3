"""The verb `fine_tune`: an imported network learns from the objects of some labelled slices."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from tim3d.engine import Outline
from tim3d.engine.clusters.memory import available_memory
from tim3d.engine.passes.plan import size_text
from tim3d.engine.passes.run import TORCH_BASE_BYTES
from tim3d.errors import ArgumentError, MemoryPlanError, MixedRunError
from tim3d.forecast import expected
from tim3d.models.promptable.file_network import FileNetwork
from tim3d.models.promptable.mask_rules.objects import AsObjects
from tim3d.models.promptable.prompting.grid import Grid
from tim3d.models.promptable.tuning_data import Example, TuningOptions, digest, halves
from tim3d.models.segmentation.model_file import read_model
from tim3d.stages.segmentation.prompted import awaited_by, prompted
from tim3d.stages.segmentation.tunable import Tunable, TunableMasks, embeddings_of, holds_embeddings
from tim3d.stages.segmentation.tuning_examples import LabelledWindows
from tim3d.stages.shared.awaited import cannot_plan
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import outputs, schema, store
from tim3d.typed import SliceRange, Window

log = logging.getLogger(__name__)


@Verb
def fine_tune(
    sample: str,
    model: str | Path,
    *,
    start_from: str | Path,
    field: str = "raw",
    labels: str = "annotation",
    slices: SliceRange = slice(None),
    window: Window | None = None,
    halo: int = 0,
    embeddings: str = "",
    smallest: int = 10,
    adapt: Literal["decoder", "lora"] = "decoder",
    rank: int = 4,
    give: Literal["box", "point", "both"] = "box",
    jitter: float = 0.1,
    steps: int = 200,
    every: int = 20,
    batch: int = 8,
    learning_rate: float = 1e-4,
    validation_fraction: float = 0.2,
    seed: int = 0,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    threads: int = 1,
    overwrite: bool = False,
    progress: bool = True,
) -> Task[Path]:
    """Fine-tune a promptable network, or BPartIS, on objects of labelled slices; write it to `model`.

    Prompts are drawn from the objects, as a user might give them; BPartIS needs none. The best state
    on held-out windows (the last ones) is kept. An interrupted training resumes and ends with the same bits.
    See docs/promptable.md.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    model : path
        File to write, for example tuned.safetensors. The state of the training is kept beside it.
    start_from : path
        The network to go on from, written by tim3d import-network or fine-tune.
    field : str
        The grey field.
    labels : str
        Numbers of objects, or labels whose connected components are objects. 0 is none; pixels of a
        phase that is called ``unlabelled`` are ignored.
    slices : slice
        Slices to learn from, by number (default: all that have an object).
    window : (y, x), optional
        Edges of a window in pixels (default: whole slices). Take those of the segmentation.
    halo : int
        Border of a window in pixels that the segmentation throws away.
    embeddings : str
        Node of embeddings that tim3d embed kept of the same network, field and windows (default:
        none, they are computed). Of adapt=decoder only.
    smallest : int
        Pixels below which an object of a window is left out.
    adapt : {"decoder", "lora"}
        What is tuned: the mask decoder, or besides it low-rank updates of queries and values of
        the encoder.
    rank : int
        Rank of these updates.
    give : {"box", "point", "both"}
        What prompts are made of.
    jitter : float
        How far an edge of a box is moved at most, in sides of the box.
    steps : int
        Steps of the training. With more of them a finished training goes on.
    every : int
        Steps from one judgement to the next; the best state is kept.
    batch : int
        Objects of a window in a step, at most.
    learning_rate : float
        Step size of AdamW.
    validation_fraction : float
        Share of the windows, the last ones, that are held out. A single one is not held out.
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
        The network.

    Raises
    ------
    ArgumentError
        If the fields do not fit, or a number is out of range.
    CheckpointError
        If `start_from` is damaged, or neither a promptable network nor BPartIS.
    MissingFieldError
        If a field is missing.
    InputError
        If no slice has an object, or the embeddings are of another network or image.
    MixedRunError
        If the file holds another training.
    MemoryPlanError
        If the embeddings and a step do not fit into memory.
    MissingExtraError
        If transformers is not installed.
    """
    target = outputs.check_target(model, outputs.WEIGHTS)
    if target.resolve() == Path(start_from).resolve():
        raise ArgumentError(f"{model} is the network to start from; write to another file")
    if embeddings and adapt != "decoder":
        raise ArgumentError(
            "low ranks change the encoder, and its embeddings with it: leave out --embeddings"
        )
    if min(steps, every) < 1:
        raise ArgumentError(f"steps {steps} and every {every} are 1 or more")
    options = TuningOptions(adapt, rank, give, jitter, batch, learning_rate)
    grey = store.complete_field(sample, field)
    labelled = store.complete_field(sample, labels, "objects")
    start = Path(start_from)
    numbers = tuple(range(grey.shape[0])[slices])
    windows: LabelledWindows[Any]
    tunable: Tunable
    if holds_embeddings(start):
        if embeddings:
            raise ArgumentError(f"{start} is BPartIS, which keeps none: leave out --embeddings")
        tunable = embeddings_of(start, grey, window, halo, options)
        windows = LabelledWindows(sample, grey, labelled, tunable, numbers, smallest)
    else:
        segmenter = prompted(
            sample, grey, start, Grid(side=1), AsObjects(), window, halo, batch, device, embeddings
        )
        assert isinstance(segmenter.network, FileNetwork)
        tunable = TunableMasks(segmenter.network, options)
        windows = LabelledWindows(sample, grey, labelled, segmenter, numbers, smallest)
    windows.check()
    awaited = awaited_by(sample, grey, start) or (
        f"{sample}/{labels}" if expected("field", f"{sample}/{labels}") else ""
    )
    how = How(steps, every, validation_fraction, seed, device, threads, overwrite, progress)
    tuning = FineTuning(windows, tunable, options, how, target, awaited)
    return Task(tuning.plans, tuning.run)


@dataclass(frozen=True)
class How:
    """How long the training is, where it runs, and what it is judged by."""

    steps: int
    every: int
    validation_fraction: float
    seed: int
    device: str
    threads: int
    overwrite: bool
    progress: bool


@dataclass(frozen=True)
class FineTuning:
    """Checked arguments of `fine_tune`."""

    windows: LabelledWindows[Any]
    tunable: Tunable
    options: TuningOptions
    how: How
    target: Path
    awaited: str = ""

    def plans(self) -> list[Outline]:
        """One line, or nothing if the file holds this training; later steps may rely on the file."""
        if self.awaited:
            self.tunable.expect(self.target)
            return cannot_plan("fine_tune", self.awaited)
        if not self.how.overwrite and self._is_done():
            return []
        need = self._bytes()
        if (free := available_memory()) < need:
            raise MemoryPlanError(
                f"fine-tune needs {size_text(need)}, {size_text(self.windows.bytes)} of it for "
                f"{self.windows.windows} windows; {size_text(free)} are free. Give fewer slices, --slices 0:20, or a "
                "smaller --batch"
            )
        self.tunable.expect(self.target)
        return [Outline("fine_tune", f"{self._described()}; at most {size_text(need)}")]

    def _described(self) -> str:
        y, x = self.windows.segmenter.pixels
        return (
            f"tunes {self.tunable.described()} on up to "
            f"{self.windows.windows} windows of {y}x{x} pixels, {self.how.steps} steps of up to {self.options.batch} "
            f"objects, into {self.target}"
        )

    def _bytes(self) -> int:
        step = self.tunable.step_bytes(self.windows.segmenter.pixels)
        return TORCH_BASE_BYTES + self.windows.bytes + step

    @cached_property
    def examples(self) -> tuple[list[Example], list[Example]]:
        """Windows to learn from, and to judge by."""
        return halves(self.windows.examples(), self.how.validation_fraction)

    @cached_property
    def question(self) -> str:
        """Hash of all that decides the network but the number of steps."""
        learn, judge = self.examples
        how = self.how
        return schema.fingerprint(
            base=self.tunable.asked(), learn=digest(learn), judge=digest(judge), options=self.options.record(),
            every=how.every, seed=how.seed, threads=how.threads,
        )  # fmt: skip

    def _is_done(self) -> bool:
        """Whether the file holds this training to its end; refuse another."""
        if not self.target.exists():
            return False
        file = read_model(self.target)
        record: dict[str, Any] = dict(file.description.get("training", {}))
        if file.kind != self.tunable.kind or record.get("question") != self.question:
            raise MixedRunError(
                f"{self.target} holds another network or training. Replace it with --overwrite, or write to another "
                "file"
            )
        return bool(record["steps"] >= self.how.steps)

    def run(self) -> Path:
        """Train, unless the file holds this training."""
        if not self.how.overwrite and self._is_done():
            return self.target
        # torch takes seconds to load, and a plan does not need it
        from tim3d.stages.shared.training import run_training

        learn, judge = self.examples
        if not (held_out := learn[0] is not judge[0]):
            log.warning(
                "one window of %s has an object: the network is judged by what it learnt from. Label another slice",
                self.windows.labelled.name,
            )
        about = {
            "question": self.question, "windows": [len(learn), len(judge)], "held_out": held_out,
            "objects": [sum(len(one.objects) for one in part) for part in (learn, judge)],
        }  # fmt: skip
        training = self.tunable.training(learn, judge, about, self.how.seed)
        how = self.how
        return run_training(
            training, self.target, steps=how.steps, every=how.every, device=how.device, threads=how.threads,
            overwrite=how.overwrite, progress=how.progress,
        )  # fmt: skip
