"""The verb `tune_masks`: limits of the masks of a promptable network, chosen on labelled slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from tim3d.engine import Outline
from tim3d.engine.clusters.memory import available_memory
from tim3d.engine.passes.plan import size_text
from tim3d.engine.passes.run import TORCH_BASE_BYTES
from tim3d.errors import ArgumentError, MemoryPlanError
from tim3d.forecast import expect, expected
from tim3d.grid import Triple
from tim3d.models.promptable.mask_rules.base import MaskRule
from tim3d.models.promptable.mask_rules.file import Tuned
from tim3d.models.promptable.prompted_segmenter import PromptedSegmenter
from tim3d.models.segmentation.training_record import Learnt
from tim3d.stages.segmentation.prompted import awaited_by, prompted
from tim3d.stages.segmentation.tuning_examples import JudgedWindows, LabelledWindows
from tim3d.stages.shared.awaited import cannot_plan
from tim3d.stages.shared.learnt_labels import made_from
from tim3d.stages.shared.mask_limits import ChoosingLimits, asked_limits
from tim3d.stages.shared.mask_search import JudgedMasks
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import store
from tim3d.typed import MaskWord, Names, PromptWord, SliceRange, Window


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
    asked = asked_limits(rule, masks, parameters, score, overwrite)
    grey = store.complete_field(sample, field)
    labelled = store.complete_field(sample, truth, "objects")
    segmenter = prompted(
        sample, grey, Path(model), prompts, asked.begin, window, halo, batch, device, embeddings
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
    tuning = TuningMasks(asked, windows, awaited)
    return Task(tuning.plans, tuning.run)


@dataclass(frozen=True)
class TuningMasks(ChoosingLimits[Triple]):
    """Checked arguments of `tune_masks`."""

    windows: LabelledWindows[PromptedSegmenter]
    awaited: str

    @cached_property
    def judged(self) -> JudgedMasks[Triple]:
        """Masks of the windows, each drawn once."""
        segmenter = self.windows.segmenter
        begin = segmenter.rule.stated(segmenter.prompting.explicit)
        return JudgedMasks(JudgedWindows(self.windows), begin, self.asked.names, self.mask_folder)

    @property
    def truth(self) -> str:
        """Name of the field that has the objects."""
        return repr(self.windows.labelled.name)

    def plans(self) -> list[Outline]:
        """One line, or nothing if the file holds these limits; later steps may rely on the file."""
        if self.awaited:
            self._expect()
            return cannot_plan("tune_masks", self.awaited)
        if self.is_done():
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
        asked = self.asked
        return [
            Outline(
                "tune_masks",
                f"draws the masks of up to {count} windows and chooses {', '.join(asked.names)} by {asked.score}, into "
                f"{asked.target}; at most {size_text(need)}, and {size_text(count * masks)} on disk",
            )
        ]

    def _expect(self) -> None:
        segmenter = self.windows.segmenter
        tuned = Tuned(self.judged.begin, segmenter.network.sha256, str(segmenter.prompting), ())
        expect("file", str(self.asked.target), tuned)

    def tuned(self, rule: MaskRule) -> Tuned:
        """The rule, and the slices that it was chosen on."""
        segmenter, sample = self.windows.segmenter, self.windows.sample
        seen = tuple(sorted({z for z, _, _ in self.judged.indices}))
        grey = store.fingerprint_of(sample, self.windows.grey.name)
        learnt = Learnt(grey, made_from(sample, self.windows.labelled.name), seen)
        return Tuned(rule, segmenter.network.sha256, str(segmenter.prompting), (learnt,))

    def decides(self) -> Mapping[str, Any]:
        """Network, prompts, rule, slices and both fields."""
        sample, windows = self.windows.sample, self.windows
        return {
            "verb": "tune_masks",
            "segmenter": windows.segmenter.description(),
            "slices": windows.slices,
            "smallest": windows.smallest,
            "grey": store.fingerprint_of(sample, windows.grey.name),
            "truth": store.fingerprint_of(sample, windows.labelled.name),
        }
