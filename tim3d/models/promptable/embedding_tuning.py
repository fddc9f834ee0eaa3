"""Fine-tuning of BPartIS on the objects of some labelled images.

A pixel points to a place e, with the logarithms s of its spreads along both axes. Of an object k let m
be the mean of e over its pixels, and S that of s; with u the unit of offsets, a pixel is a member of k by

    f_k = exp(-sum over the axes of exp(10 S) ((e - m) / u)^2)

    masks    1 - (2 sum(f_k g_k) + 1) / (sum(f_k^2) + sum(g_k^2) + 1), g_k 1 in the object and 0 elsewhere
    spreads  mean of (s - S)^2 over the pixels of the object
    seeds    mean of (q - f)^2: q the seed value from 0 to 1, f the membership of the pixel's own object,
             which does not learn from it; 0 where no object is

The loss is masks + 10 spreads (means over objects) + seeds (10 times the mean over the pixels of objects,
and that over the background), as BPartIS was trained, but for the Dice loss of masks in place of the
Lovasz hinge. Statistics of the normalisation layers stay those of the weights that are gone on from.

References
----------
Neven, De Brabandere, Proesmans, Van Gool, CVPR (2019) 8829. DOI 10.1109/CVPR.2019.00904
Yildirim, Cole, J. Chem. Inf. Model. 61 (2021) 1136. DOI 10.1021/acs.jcim.0c01455
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tim3d.models.common.distributed import Place
from tim3d.models.common.training_run import Record, Stateful, TrainingRun, Verdict
from tim3d.models.common.transfer import upload
from tim3d.models.common.weights import check_planned
from tim3d.models.promptable.tuning_data import Example, TuningOptions, digest
from tim3d.models.segmentation.bpartis import KIND, SPREAD, UNIT, BPartIS, network_of, numbers_in
from tim3d.models.segmentation.instance_quality import pooled_quality
from tim3d.models.segmentation.model_file import read_model, write_model

# Weights of the spreads, and of the seeds of objects.
SPREADS, INSIDE = 10.0, 10.0


@dataclass(frozen=True)
class EmbeddingTuning:
    """BPartIS, and the images that it is tuned on.

    Parameters
    ----------
    start_from : BPartIS
        The network that is gone on from.
    learn, judge : list of Example
        Images to learn from, and to judge by.
    options : TuningOptions
        Objects of a step, and the optimiser.
    about : mapping
        What else the file records, for JSON.
    seed : int
        Of all that is random.
    """

    start_from: BPartIS
    learn: Sequence[Example]
    judge: Sequence[Example]
    options: TuningOptions = field(default_factory=TuningOptions)
    about: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def key(self) -> Mapping[str, Any]:
        """All that decides the weights: the network, the images, the options."""
        return {
            "base": self.start_from.sha256, "learn": digest(self.learn), "judge": digest(self.judge),
            "about": dict(self.about), **self.options.record(),
        }  # fmt: skip

    def start(self, place: Place) -> EmbeddingTuner:
        """Load the network onto a device."""
        return EmbeddingTuner(self, place)

    def save(self, path: Path, run: TrainingRun) -> None:
        """Write the network with what it was tuned from."""
        file = read_model(self.start_from.path)
        check_planned(self.start_from.path, file.sha256, self.start_from.sha256)
        tensors = {name: one.cpu().contiguous() for name, one in run.chosen().state_dict().items()}
        base = {"file": Path(file.path).name, "sha256": file.sha256}
        tuned = {name: self.options.record()[name] for name in ("batch", "learning_rate", "decay")}
        record = {"base": base, **tuned, **self.about, **run.summary()}
        write_model(path, KIND, tensors, {**file.description, "training": record})


class EmbeddingTuner:
    """The network on a device, and its optimiser."""

    def __init__(self, training: EmbeddingTuning, place: Place) -> None:
        self.training, self.device = training, place.device
        file = read_model(training.start_from.path)
        check_planned(training.start_from.path, file.sha256, training.start_from.sha256)
        self.product: nn.Module = network_of(file).to(place.device).requires_grad_(True)
        self.objects = np.cumsum([len(one.objects) for one in training.learn])
        options = training.options
        self.adam = torch.optim.AdamW(
            self.product.parameters(), lr=options.learning_rate, weight_decay=options.decay
        )

    def parts(self) -> Mapping[str, Stateful]:
        """The weights and their optimiser."""
        return {"tuned": self.product, "adam": self.adam}

    def step(self, number: int, rng: np.random.Generator) -> Record:
        """Learn from some objects of one image, turned and mirrored, with dropout."""
        drawn = int(rng.integers(self.objects[-1]))
        one = self.training.learn[int(np.searchsorted(self.objects, drawn, side="right"))]
        way = int(rng.integers(8))
        image, ids = turned(one.image, way), turned(numbered(one), way)
        count = min(self.training.options.batch, len(one.objects))
        chosen = 1 + rng.choice(len(one.objects), count, replace=False)
        sizes = [block.bn2.num_features for block in self.product.dropping()]  # type: ignore[operator]
        draws = [upload(rng.random(size, np.float32), self.device) for size in sizes]
        loss = embedding_loss(self._values(image, draws), upload(ids, self.device), chosen)
        self.adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.adam.step()
        return {"loss": float(loss.detach())}

    @torch.no_grad()
    def judge(self) -> Verdict:
        """Mean loss of the held-out images, without dropout, and the panoptic quality of what is found in them."""
        losses, pairs = [], []
        for one in self.training.judge:
            truth = numbered(one)
            values = self._values(one.image, None)
            every = np.arange(1, 1 + len(one.objects))
            losses.append(float(embedding_loss(values, upload(truth, self.device), every)))
            pairs.append((truth, numbers_in(values.cpu().numpy(), self.training.start_from.least)))
        loss = float(np.mean(losses))
        quality = pooled_quality(pairs)
        return Verdict(loss, {"held_out_loss": loss, "held_out_panoptic_quality": quality})

    def _values(self, image: NDArray[np.float32], draws: Sequence[Tensor] | None) -> Tensor:
        y, x = image.shape
        padded = np.pad(image, ((0, -y % 8), (0, -x % 8)), mode="symmetric") / np.float32(255)
        given = upload(np.broadcast_to(padded, (1, 3, *padded.shape)).copy(), self.device)
        self.product.drop(draws)  # type: ignore[operator]
        values: Tensor = self.product(given)[0, :, :y, :x]
        return values


def numbered(one: Example) -> NDArray[np.int64]:
    """Numbers of the objects of an image, from 1; 0 where there is none, -1 where that is not known."""
    ids = np.where(one.known, 0, -1).astype(np.int64)
    for number, mask in enumerate(one.objects, 1):
        rows, columns = (slice(a, a + n) for a, n in zip(mask.start, mask.size, strict=True))
        ids[rows, columns][mask.bits & (ids[rows, columns] == 0)] = number
    return ids


def turned(plane: NDArray[Any], which: int) -> NDArray[Any]:
    """An image in one of the eight ways to lay a sheet on a table.

    >>> turned(np.array([[1, 2]]), 5).tolist()
    [[1], [2]]
    """
    mirrored = plane[:, ::-1] if which >= 4 else plane
    return np.ascontiguousarray(np.rot90(mirrored, which % 4))


def mean_of(values: Tensor, inside: Tensor) -> Tensor:
    """Means over the pixels of an object, (..., 1, 1) from (..., y, x).

    Sums of masked values: to pick the pixels out, a host would wait for a device to count them.

    >>> mean_of(torch.tensor([[1.0, 3.0, 5.0]]), torch.tensor([[True, True, False]])).tolist()
    [[2.0]]
    """
    return (values * inside).sum((-2, -1), keepdim=True) / inside.sum()


def embedding_loss(values: Tensor, ids: Tensor, chosen: NDArray[np.int64]) -> Tensor:
    """Loss of the values of an image; see the module.

    Parameters
    ----------
    values : Tensor (5, y, x)
        Offsets along x and y, spreads along x and y, and a seed value of each pixel.
    ids : Tensor (y, x) of int64
        Numbers of objects, 0 for none, -1 where it is not known.
    chosen : array of int
        Numbers of the objects that are learnt from; the others are left out.
    """
    y, x = (
        torch.arange(n, device=values.device, dtype=torch.float32) / UNIT for n in values.shape[1:]
    )
    place = torch.stack([x[None, :] + torch.tanh(values[0]), y[:, None] + torch.tanh(values[1])])
    spread, seed = values[2:4], torch.sigmoid(values[4])
    known = ids >= 0
    wanted, own = torch.zeros_like(seed), torch.zeros_like(known)
    masks, spreads = [], []
    for number in chosen.tolist():
        inside = ids == number
        mean = mean_of(spread, inside)
        far = (place - mean_of(place, inside)).square()
        member = torch.exp(-(torch.exp(SPREAD * mean) * far).sum(0))
        f, g = member * known, inside.float()
        masks.append(1 - (2 * (f * g).sum() + 1) / (f.square().sum() + g.sum() + 1))
        spreads.append(mean_of((spread - mean).square(), inside).mean())
        wanted = torch.where(inside, member.detach(), wanted)
        own = own | inside
    error = (seed - wanted).square()
    background = ids == 0
    outside = (error * background).sum() / background.sum().clamp(min=1)
    seeds = INSIDE * mean_of(error, own).squeeze() + outside
    return torch.stack(masks).mean() + SPREADS * torch.stack(spreads).mean() + seeds
