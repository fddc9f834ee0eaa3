"""Fine-tuning of a promptable network on the objects of some labelled images.

With p the sigmoid of a mask's logits and g its truth, sums over the labelled pixels of an image:

    dice    1 - (2 sum(p g) + 1) / (sum(p^2) + sum(g^2) + 1)
    cross   mean of -g log p - (1 - g) log(1 - p)
    quality (q - IoU)^2, with q the IoU that the network expects of the mask, and IoU what it is

The loss of an object is their sum. Of the three masks of a single point the one with the least dice
+ cross learns, and all three learn their quality (as SAM itself was trained).

References
----------
Ma et al. (2024), DOI 10.1038/s41467-024-44824-z (MedSAM: boxes from masks, Dice and cross-entropy);
Kirillov et al. (2023), DOI 10.1109/ICCV51070.2023.00371 (the least of three masks).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from tim3d.errors import CheckpointError
from tim3d.kernels.masks.mask_set import Mask, each_image
from tim3d.models.common.distributed import Place
from tim3d.models.common.training_run import Record, Stateful, TrainingRun, Verdict
from tim3d.models.common.transfer import upload
from tim3d.models.promptable.file_network import FileNetwork, parted
from tim3d.models.promptable.importing import KIND
from tim3d.models.promptable.low_rank import attach, merged
from tim3d.models.promptable.networks import Loaded
from tim3d.models.promptable.object_prompts import prompt_of
from tim3d.models.promptable.prompts import Prompt, batches
from tim3d.models.promptable.tuning_data import Example, TuningOptions, digest, drawn_prompt
from tim3d.models.segmentation.model_file import read_model, write_model

DECODER, ENCODER = "mask_decoder.", "vision_encoder."
# Objects of an image that are judged, at most.
JUDGED = 64


@dataclass(frozen=True)
class Tuning:
    """A promptable network, and the images that it is tuned on.

    Parameters
    ----------
    network : FileNetwork
        The network that is gone on from.
    learn, judge : list of Example
        Images to learn from, and to judge by.
    options : TuningOptions
        What is tuned, and how.
    about : mapping
        What else the file records, for JSON.
    seed : int
        Of all that is random.
    """

    network: FileNetwork
    learn: Sequence[Example]
    judge: Sequence[Example]
    options: TuningOptions = field(default_factory=TuningOptions)
    about: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def key(self) -> Mapping[str, Any]:
        """All that decides the weights: the network, the images, the options."""
        return {
            "base": self.network.sha256, "learn": digest(self.learn), "judge": digest(self.judge),
            "about": dict(self.about), **self.options.record(),
        }  # fmt: skip

    def start(self, place: Place) -> Tuner:
        """Load the network, and keep the embeddings of a frozen encoder."""
        device = str(place.device)
        return Tuner(self, cast(Loaded, replace(self.network, device=device).open()))

    def save(self, path: Path, run: TrainingRun) -> None:
        """Write the whole network with what was tuned in it, and what it was tuned from."""
        file = read_model(self.network.path)
        if file.sha256 != self.network.sha256:
            raise CheckpointError(f"{self.network.path} was replaced during the training")
        tuned = cast(nn.ModuleDict, run.chosen())
        tensors = dict(file.tensors())
        for name, value in tuned["decoder"].state_dict().items():
            tensors[DECODER + name] = value.cpu().contiguous()
        if "encoder" in tuned:
            tensors = merged(tensors, cast(nn.ModuleDict, tuned["encoder"]), ENCODER)
        base = {"file": Path(file.path).name, "sha256": file.sha256}
        record = {"base": base, **self.options.record(), **self.about, **run.summary()}
        about = {**file.description, "training": record}
        if "encoder" not in tuned:
            about["encoder"] = file.description.get("encoder", file.sha256)
        else:
            about.pop("encoder", None)
            about.pop("decoder", None)  # it knows the embeddings of the old encoder
            tensors, _ = parted(tensors)
        write_model(path, KIND, tensors, about)


class Tuner:
    """A network on a device, and the optimiser of what is tuned in it."""

    def __init__(self, training: Tuning, loaded: Loaded) -> None:
        self.training, self.options, self.loaded = training, training.options, loaded
        network: Any = loaded.network
        parts = {"decoder": network.mask_decoder}
        if self.options.adapt == "lora":
            encoder = network.vision_encoder
            parts["encoder"] = attach(encoder, self.options.rank, loaded.family)
            self.learn, self.judged = list(training.learn), list(training.judge)
        else:
            every = {id(one): self._embedded(one) for one in (*training.learn, *training.judge)}
            self.learn = [every[id(one)] for one in training.learn]
            self.judged = [every[id(one)] for one in training.judge]
        self.product = nn.ModuleDict(parts).requires_grad_(True)
        self.objects = np.cumsum([len(one.objects) for one in self.learn])
        self.adam = torch.optim.AdamW(
            self.product.parameters(),
            lr=self.options.learning_rate,
            weight_decay=self.options.decay,
        )

    def _embedded(self, one: Example) -> Example:
        if one.embedding is not None:
            return one
        return replace(one, embedding=self.loaded.embed(one.image))

    def parts(self) -> Mapping[str, Stateful]:
        """The tuned weights and their optimiser."""
        return {"tuned": self.product, "adam": self.adam}

    def step(self, number: int, rng: np.random.Generator) -> Record:
        """Learn from some objects of one image, which is drawn by its number of objects."""
        drawn = int(rng.integers(self.objects[-1]))
        one = self.learn[int(np.searchsorted(self.objects, drawn, side="right"))]
        count = min(self.options.batch, len(one.objects))
        chosen = [one.objects[n] for n in rng.choice(len(one.objects), count, replace=False)]
        shape = (one.image.shape[0], one.image.shape[1])
        prompts = [drawn_prompt(mask, self.options, shape, rng) for mask in chosen]
        found = self._scores(one, chosen, prompts)
        loss = found.learning.mean()
        self.adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.adam.step()
        # One wait for both.
        learnt, dice = torch.stack([loss.detach(), found.dice.detach().mean()]).tolist()
        return {"loss": learnt, "dice": dice}

    @torch.no_grad()
    def judge(self) -> Verdict:
        """Mean Dice loss of the masks that the network is surest of, and their mean IoU."""
        dice, iou = [], []
        for one in self.judged:
            chosen = one.objects[:JUDGED]
            for first in range(0, len(chosen), self.options.batch):
                some = chosen[first : first + self.options.batch]
                prompts = [prompt_of(mask, self.options.give) for mask in some]
                found = self._scores(one, some, prompts)
                dice += found.dice.tolist()
                iou += found.iou.tolist()
        return Verdict(
            float(np.mean(dice)),
            {"held_out_dice": float(np.mean(dice)), "held_out_iou": float(np.mean(iou))},
        )

    def _scores(self, one: Example, masks: Sequence[Mask], prompts: Sequence[Prompt]) -> Scores:
        """Losses of prompts of one form."""
        shape = (one.image.shape[0], one.image.shape[1])
        (batch,) = batches(prompts, len(prompts))
        kept = one.embedding
        embedding = self.loaded.tensors(kept) if kept else self.loaded.embedding(one.image)
        logits, quality = self.loaded.asked(embedding, shape, batch, prompts[0].is_single)
        truth = upload(np.stack(list(each_image(masks, shape))), logits.device)
        # Their number is known on the host: the device is not asked for it.
        known = upload(np.flatnonzero(one.known), logits.device)
        return scores(self.loaded.enlarged(logits, shape), quality, truth, known)


@dataclass(frozen=True)
class Scores:
    """Losses of some prompts.

    Parameters
    ----------
    learning : Tensor (n,)
        What is learnt from.
    dice, iou : Tensor (n,)
        Dice loss and intersection over union of the mask that the network is surest of.
    """

    learning: Tensor
    dice: Tensor
    iou: Tensor


def scores(logits_nmyx: Tensor, quality_nm: Tensor, truth_nyx: Tensor, known: Tensor) -> Scores:
    """Losses of masks against their truth, on the pixels that are known (flat indices); see the module."""
    logits = logits_nmyx.flatten(-2)[..., known]
    truth = truth_nyx.flatten(-2)[:, None, known].float()
    truth = truth.expand_as(logits)
    p = torch.sigmoid(logits)
    both = (p * truth).sum(-1)
    dice = 1 - (2 * both + 1) / (p.square().sum(-1) + truth.sum(-1) + 1)
    cross = binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(-1)
    found = (logits.detach() > 0).float()
    shared = (found * truth).sum(-1)
    iou = shared / (found.sum(-1) + truth.sum(-1) - shared).clamp(min=1)
    error = (quality_nm - iou).square().mean(-1)
    best = (dice + cross).min(dim=-1).values
    sure = quality_nm.detach().argmax(dim=-1, keepdim=True)
    return Scores(best + error, dice.gather(1, sure)[:, 0], iou.gather(1, sure)[:, 0])
