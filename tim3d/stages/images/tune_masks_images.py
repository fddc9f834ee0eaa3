"""The verb `tune_masks_images`: limits of the masks of a promptable network, chosen on single images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tim3d.engine import Outline
from tim3d.engine.clusters.memory import available_memory
from tim3d.engine.passes.plan import size_text
from tim3d.engine.passes.run import TORCH_BASE_BYTES
from tim3d.errors import ArgumentError, InputError, MemoryPlanError
from tim3d.forecast import expect
from tim3d.grid import Box
from tim3d.models.promptable.mask_rules.base import MaskRule
from tim3d.models.promptable.mask_rules.file import Tuned
from tim3d.models.promptable.object_prompts import objects_in
from tim3d.models.promptable.prompted_segmenter import PromptedSegmenter
from tim3d.models.promptable.prompting.base import drawn
from tim3d.models.promptable.tuning_data import Example
from tim3d.phases import Phases
from tim3d.sources.collection import images_in, paired
from tim3d.sources.image import read_pixels, shape_of
from tim3d.stages.images.by_prompts import ByPrompts, by_prompts
from tim3d.stages.images.chosen import Grey, as_grey
from tim3d.stages.images.listing import chosen_images
from tim3d.stages.images.reading import labels_in, numbers_in, sha256_of
from tim3d.stages.shared.agreement import UNLABELLED
from tim3d.stages.shared.mask_limits import ChoosingLimits, asked_limits
from tim3d.stages.shared.mask_search import JudgedMasks
from tim3d.stages.shared.verb import Task, Verb
from tim3d.typed import Folder, MaskWord, Names, PromptWord

# How labels are given in place of numbers.
LABELS_INSTEAD = "Name the values of labels: --phases none=0,particle=255"


@Verb
def tune_masks_images(
    folder: Folder,
    truth: Folder,
    rule: str | Path,
    *,
    model: str | Path,
    prompts: PromptWord,
    masks: MaskWord | None = None,
    phases: Phases | None = None,
    names: str = "{name}",
    splits: str | Path | None = None,
    subset: str | None = None,
    smallest: int = 10,
    score: Literal[
        "panoptic_quality", "mean_segmentation_accuracy", "iou_foreground"
    ] = "panoptic_quality",
    parameters: Names | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    overwrite: bool = False,
) -> Task[Path]:
    """Choose the limits of masks on labelled single images, and write them to `rule`, to be used on others.

    As tim3d tune-masks does it on slices of a sample. The file names the images, and
    segment-images says where it segments one of them. See docs/images.md.

    Parameters
    ----------
    folder : path
        Folder of grey images, uint8 or uint16.
    truth : path
        Folder of their objects, an image each: numbers of objects, 0 for none, or with `phases`
        labels whose connected components are objects.
    rule : path
        File to write, ending with .json. The masks are kept beside it.
    model : path
        A network written by tim3d import-network or fine-tune.
    prompts : Prompting
        Where prompts come from, as of tim3d segment-images.
    masks : MaskRule, optional
        The rule, with the limits to begin with (default: objects).
    phases : Phases, optional
        Names and values of labels (default: none, values are numbers of objects). 0 is background;
        pixels of a phase that is called ``unlabelled`` are left out.
    names : str
        Name of the true image of the image {name}, without the suffix; or by the {number} at the
        end of its name, as truth_{number}.
    splits : path, optional
        File of lists of images, JSON or CSV (default: all images).
    subset : str, optional
        The list that limits are chosen on, as train or Super2/train (needed with splits).
    smallest : int
        Pixels below which a true object is left out.
    score : {"panoptic_quality", "mean_segmentation_accuracy", "iou_foreground"}
        What is to be high, over the objects of all images.
    parameters : sequence of str, optional
        Limits that are chosen, in this order (default: all that the rule has).
    device : {"auto", "cpu", "cuda"}
        Device of the network.
    overwrite : bool
        Replace limits that were chosen otherwise.

    Returns
    -------
    Path
        The file. It states the score of the limits to begin with, of the chosen ones, and a third
        one: of each fifth of the images by limits that were chosen on the others.

    Raises
    ------
    ArgumentError
        If prompts are those of a sample, or a parameter is not one of the rule.
    CheckpointError
        If the model is damaged, or not a promptable network.
    InputError
        If an image has no true one, the two differ in size, or no image has an object.
    MixedRunError
        If the file holds limits that were chosen otherwise.
    MemoryPlanError
        If the images and the masks of the largest do not fit into memory.
    """
    asked = asked_limits(rule, masks, parameters, score, overwrite)
    if smallest < 1:
        raise ArgumentError(f"smallest {smallest}: 1 pixel or more")
    chosen = by_prompts(Path(model), device, prompts, asked.begin)
    pairs = paired(chosen_images(folder, splits, subset), images_in(truth), names)
    images = ImagesWithObjects(pairs, chosen, phases, smallest)
    tuning = TuningImages(asked, images, str(drawn(prompts)), str(truth))
    return Task(tuning.plans, tuning.run)


@dataclass(frozen=True)
class ImagesWithObjects:
    """Single images and their objects, as masks are judged on them.

    Parameters
    ----------
    pairs : mapping of name to (image, truth)
        The files.
    chosen : ByPrompts
        Network, prompts and rule.
    phases : Phases, optional
        Names and values of labels; none where values are numbers of objects.
    smallest : int
        Pixels below which an object is left out.
    """

    pairs: Mapping[str, tuple[Path, Path]]
    chosen: ByPrompts
    phases: Phases | None
    smallest: int

    def labelled(self) -> dict[str, Example]:
        """Images with an object, by name."""
        every = {name: self._example(name) for name in self.pairs}
        return {name: one for name, one in every.items() if one.objects}

    def _example(self, name: str) -> Example:
        grey, (path, true_path) = self._grey(name), self.pairs[name]
        true = read_pixels(true_path).values
        phases, unknown = self.phases, -1
        if phases is None:
            labels = numbers_in(true, true_path, LABELS_INSTEAD)
        else:
            labels, unknown = labels_in(true, phases, true_path), phases.get(UNLABELLED, -1)
        if labels.shape != grey.shape[1:]:
            raise InputError(
                f"{true_path} has {labels.shape} pixels, {path} {grey.shape[1:]}: objects and image are of one size"
            )
        known: NDArray[np.bool_] = np.not_equal(labels, unknown)
        found = objects_in(np.where(known, labels, 0), self.smallest, numbered=phases is None)
        return Example(self.segmenter_of(name).scaled(grey[0]), tuple(found), known)

    def _grey(self, name: str) -> Grey:
        path = self.pairs[name][0]
        pixels = read_pixels(path)
        return as_grey(pixels.values, path, to_8_bit=False, palette=pixels.palette)

    def segmenter_of(self, key: str) -> PromptedSegmenter:
        """The segmenter with the prompts of this image."""
        return self.chosen.of(self._grey(key), key)

    def place_of(self, key: str) -> Box:
        """The whole image."""
        return Box.whole((1, *shape_of(self.pairs[key][0])))

    def judged_of(self, key: str) -> Box:
        """The whole image."""
        return self.place_of(key)

    def identity_of(self, key: str) -> Mapping[str, Any]:
        """SHA-256 of its file, and its name, by which prompts of a file are found."""
        return {"image": sha256_of(self.pairs[key][0]), "index": key}


@dataclass(frozen=True)
class TuningImages(ChoosingLimits[str]):
    """Checked arguments of `tune_masks_images`."""

    images: ImagesWithObjects
    prompts: str
    folder: str

    @property
    def truth(self) -> str:
        """Name of the folder that has the objects."""
        return self.folder

    @cached_property
    def judged(self) -> JudgedMasks[str]:
        """Masks of the images, each drawn once."""
        chosen, asked = self.images.chosen, self.asked
        begin = asked.begin.stated(chosen.prompting.explicit)
        return JudgedMasks(self.images, begin, asked.names, self.mask_folder)

    def plans(self) -> list[Outline]:
        """One line, or nothing if the file holds these limits; later steps may rely on the file."""
        if self.is_done():
            return []
        chosen, shapes = self.images.chosen, [shape_of(i) for i, _ in self.images.pairs.values()]
        largest = max(shapes, key=math.prod)
        masks = PromptedSegmenter(
            chosen.network, chosen.prompting, chosen.rule, largest
        ).mask_bytes(largest)
        held = 6 * sum(map(math.prod, shapes))
        need = TORCH_BASE_BYTES + held + chosen.bytes_for(largest) + 3 * masks
        if (free := available_memory()) < need:
            raise MemoryPlanError(
                f"tune-masks-images needs {size_text(need)}, {size_text(4 * masks)} of it for the masks of the largest "
                f"image; {size_text(free)} are free. Cut it, or name fewer images (--splits)"
            )
        asked = self.asked
        expect("file", str(asked.target), self.tuned(self.judged.begin))
        return [
            Outline(
                "tune-masks-images",
                f"draws the masks of {len(shapes)} images and chooses {', '.join(asked.names)} by {asked.score}, into "
                f"{asked.target}; at most {size_text(need)}, and {size_text(len(shapes) * masks)} on disk",
            )
        ]

    def tuned(self, rule: MaskRule) -> Tuned:
        """The rule, and the images that it was chosen on."""
        images = {sha256_of(path): name for name, (path, _) in self.images.pairs.items()}
        return Tuned(rule, self.images.chosen.network.sha256, self.prompts, (), images=images)

    def decides(self) -> Mapping[str, Any]:
        """Network, prompts, rule and both files of each image."""
        pairs = {name: [*map(sha256_of, both)] for name, both in self.images.pairs.items()}
        return {
            "verb": "tune_masks_images",
            "segmenter": self.images.chosen.description(),
            "images": pairs,
            "phases": dict(self.images.phases or {}),
            "smallest": self.images.smallest,
        }
