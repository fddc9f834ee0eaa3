"""The verb `tune_masks`: limits of the masks of a promptable network, chosen on labelled slices."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from tim3d.engine import Outline
from tim3d.engine.clusters.memory import available_memory
from tim3d.engine.passes.plan import size_text
from tim3d.engine.passes.run import TORCH_BASE_BYTES
from tim3d.errors import ArgumentError, InputError, MemoryPlanError, MixedRunError
from tim3d.forecast import expect, expected
from tim3d.kernels.statistics.pooled_scores import SCORES
from tim3d.models.promptable.mask_rules.base import MaskRule
from tim3d.models.promptable.mask_rules.file import RULE_FILE, Tuned, record_of, write_tuned
from tim3d.models.promptable.mask_rules.objects import AsObjects
from tim3d.models.promptable.prompted_segmenter import PromptedSegmenter
from tim3d.models.segmentation.training_record import Learnt
from tim3d.stages.segmentation.mask_search import JudgedMasks, searched
from tim3d.stages.segmentation.prompted import awaited_by, prompted
from tim3d.stages.segmentation.tuning_examples import LabelledWindows
from tim3d.stages.shared.awaited import cannot_plan
from tim3d.stages.shared.learnt_labels import made_from
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import outputs, schema, store
from tim3d.typed import MaskWord, Names, PromptWord, SliceRange, Window

log = logging.getLogger(__name__)


@Verb
def tune_masks(
    sample: str,
    rule: str | Path,
    *,
    model: str | Path,
    prompts: PromptWord,
    masks: MaskWord | None = None,
    field: str = "raw",
    truth: str = "truth",
    slices: SliceRange = slice(None),
    window: Window | None = None,
    halo: int = 0,
    embeddings: str = "",
    smallest: int = 10,
    score: Literal[
        "panoptic_quality", "mean_segmentation_accuracy", "iou_foreground"
    ] = "panoptic_quality",
    parameters: Names | None = None,
    batch: int = 64,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    overwrite: bool = False,
) -> Task[Path]:
    """Choose the limits of masks on labelled slices, and write them to `rule`, to be used on others.

    The network draws its masks once; then one limit after the other gets the value of the highest
    score, until none changes. The file names the slices, and `tim3d evaluate` says where they are
    judged again. See docs/promptable.md.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    rule : path
        File to write, ending with .json. The masks are kept beside it.
    model : path
        A network written by tim3d import-network or fine-tune.
    prompts : Prompting
        Where prompts come from, as of tim3d segment-prompted.
    masks : MaskRule, optional
        The rule, with the limits to begin with (default: objects).
    field : str
        The grey field.
    truth : str
        Numbers of objects, or labels whose connected components are objects. 0 is none; pixels of a
        phase that is called ``unlabelled`` are left out.
    slices : slice
        Slices that are looked at, by number (default: all that have an object).
    window : (y, x), optional
        Edges of a window in pixels (default: whole slices).
    halo : int
        Border of a window in pixels that is thrown away.
    embeddings : str
        Node of embeddings that tim3d embed kept (default: none, they are computed).
    smallest : int
        Pixels below which a true object is left out.
    score : {"panoptic_quality", "mean_segmentation_accuracy", "iou_foreground"}
        What is to be high, over the objects of all slices.
    parameters : sequence of str, optional
        Limits that are chosen, in this order (default: all that the rule has).
    batch : int
        Prompts that the network gets at a time.
    device : {"auto", "cpu", "cuda"}
        Device of the network.
    overwrite : bool
        Replace limits that were chosen otherwise.

    Returns
    -------
    Path
        The file. It states the score of the limits to begin with, of the chosen ones, and a third
        one: of each fifth of the slices by limits that were chosen on the others.

    Raises
    ------
    ArgumentError
        If fields do not fit, prompts are made of the truth, or a parameter is not one of the rule.
    CheckpointError
        If the model is damaged, or not a promptable network.
    MissingFieldError
        If a field is missing.
    InputError
        If no slice has an object, or the embeddings are of another network or image.
    MixedRunError
        If the file holds limits that were chosen otherwise.
    MemoryPlanError
        If the masks of a slice do not fit into memory.
    """
    target = outputs.check_target(rule, RULE_FILE)
    if target.suffix != ".json":
        raise ArgumentError(f"{target}: a rule for masks is a file that ends with .json")
    begin = masks or AsObjects()
    if not isinstance(begin, MaskRule):
        raise ArgumentError(f"masks {masks!r} have no limits to begin with: --masks objects")
    grey = store.complete_field(sample, field)
    labelled = store.complete_field(sample, truth, "objects")
    segmenter = prompted(
        sample, grey, Path(model), prompts, begin, window, halo, batch, device, embeddings
    )
    if truth in segmenter.inputs:
        raise ArgumentError(
            f"{prompts} are made of {truth!r}, which is to judge the masks: give prompts that do not know it"
        )
    numbers = tuple(range(grey.shape[0])[slices])
    windows = LabelledWindows(sample, grey, labelled, segmenter, numbers, smallest)
    windows.check()
    awaited = awaited_by(sample, grey, Path(model)) or (
        f"{sample}/{truth}" if expected("field", f"{sample}/{truth}") else ""
    )
    names = _names(begin, parameters)
    if score not in SCORES:
        raise ArgumentError(f"score {score!r}: {' or '.join(SCORES)}")
    tuning = TuningMasks(windows, names, score, target, awaited, overwrite)
    return Task(tuning.plans, tuning.run)


def _names(rule: MaskRule, asked: Names | None) -> tuple[str, ...]:
    """Parameters that are chosen."""
    names = tuple([asked] if isinstance(asked, str) else rule.searched if asked is None else asked)
    strange = [name for name in names if name not in rule.searched]
    if strange or not names or len(set(names)) < len(names):
        raise ArgumentError(
            f"--parameters {','.join(names)}: some of those that {rule.kind} has, each once: "
            f"{','.join(rule.searched)}"
        )
    return names


@dataclass(frozen=True)
class TuningMasks:
    """Checked arguments of `tune_masks`."""

    windows: LabelledWindows[PromptedSegmenter]
    names: tuple[str, ...]
    score: str
    target: Path
    awaited: str
    overwrite: bool

    @cached_property
    def begin(self) -> MaskRule:
        """The rule with all of its limits stated."""
        segmenter = self.windows.segmenter
        return segmenter.rule.stated(segmenter.prompting.explicit)

    @cached_property
    def judged(self) -> JudgedMasks:
        """Masks of the windows, each drawn once."""
        folder = self.target.with_name(f"{self.target.name}.masks")
        return JudgedMasks(self.windows, self.begin, self.names, folder)

    def plans(self) -> list[Outline]:
        """One line, or nothing if the file holds these limits; later steps may rely on the file."""
        if self.awaited:
            self._expect()
            return cannot_plan("tune_masks", self.awaited)
        if self._is_done():
            return []
        segmenter, count = self.windows.segmenter, self.windows.windows
        masks = segmenter.mask_bytes(segmenter.pixels)
        # The masks of a window are packed for their file, and the images of all of them are held.
        need = TORCH_BASE_BYTES + self.windows.bytes + segmenter.image_bytes(segmenter.pixels)
        need += 3 * masks
        if (free := available_memory()) < need:
            raise MemoryPlanError(
                f"tune-masks needs {size_text(need)}, {size_text(4 * masks)} of it for the masks of a window; "
                f"{size_text(free)} are free. Give smaller windows, --window 512,512, or fewer slices, --slices 0:8"
            )
        self._expect()
        return [
            Outline(
                "tune_masks",
                f"draws the masks of up to {count} windows and chooses {', '.join(self.names)} by {self.score}, into "
                f"{self.target}; at most {size_text(need)}, and {size_text(count * masks)} on disk",
            )
        ]

    def _expect(self) -> None:
        expect("file", str(self.target), self._tuned(self.begin, ()))

    def _tuned(self, rule: MaskRule, learnt: tuple[Learnt, ...]) -> Tuned:
        segmenter = self.windows.segmenter
        return Tuned(rule, segmenter.network.sha256, str(segmenter.prompting), learnt)

    @cached_property
    def question(self) -> str:
        """Hash of all that decides the limits."""
        segmenter, labelled = self.windows.segmenter, self.windows.labelled
        sample = self.windows.sample
        return schema.fingerprint(
            verb="tune_masks", segmenter=segmenter.description(), names=self.names, score=self.score,
            values={name: self.begin.searched[name] for name in self.names}, slices=self.windows.slices,
            smallest=self.windows.smallest, grey=store.fingerprint_of(sample, self.windows.grey.name),
            truth=store.fingerprint_of(sample, labelled.name),
        )  # fmt: skip

    def _is_done(self) -> bool:
        """Whether the file holds the limits; refuse others without `overwrite`."""
        if self.overwrite or not self.target.exists():
            return False
        if record_of(self.target).get("question") != self.question:
            raise MixedRunError(
                f"{self.target} holds limits that were chosen otherwise. Replace them with --overwrite, or write to "
                "another file"
            )
        return True

    def run(self) -> Path:
        """Choose the limits, unless the file holds them."""
        if self._is_done():
            return self.target
        judged = self.judged
        if not judged.indices:
            raise InputError(
                f"no slice of {self.windows.labelled.name!r} has an object to judge by"
            )
        found = searched(judged, SCORES[self.score])
        sample, labelled = self.windows.sample, self.windows.labelled
        seen = tuple(sorted({z for z, _, _ in judged.indices}))
        grey = store.fingerprint_of(sample, self.windows.grey.name)
        tuned = self._tuned(found.rule, (Learnt(grey, made_from(sample, labelled.name), seen),))
        about = {
            "score": {"name": self.score, "begin": found.begin, "chosen": found.chosen, "held_out": found.held_out},
            "parameters": list(self.names), "windows": len(judged.indices), "images": judged.digest,
            "question": self.question,
        }  # fmt: skip
        write_tuned(self.target, tuned, about)
        self._tell(found.begin, found.chosen, found.held_out)
        return self.target

    def _tell(self, begin: float, chosen: float, held_out: float | None) -> None:
        if held_out is None:
            log.warning(
                "one window of %r has an object: what the limits are worth elsewhere is not known. Label another slice",
                self.windows.labelled.name,
            )
        if not chosen:
            log.warning(
                "no mask agrees with an object of %r by any limit: the limits are those to begin with. Look at the masks: "
                "tim3d segment-prompted --masks objects:iou=0,stability=0",
                self.windows.labelled.name,
            )
        said = "" if held_out is None else f"; {held_out:.3f} on slices that did not choose them"
        log.info("%s %.3f, before %.3f%s", self.score, chosen, begin, said)
