"""Training of a surrogate on rendered sections, with or without images of the real look."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from tim3d.errors import ArgumentError
from tim3d.kernels.statistics.conformal import Cloud, fewest, half_width
from tim3d.models.common.distributed import Place
from tim3d.models.common.training_run import Record, Stateful, TrainingRun, Verdict
from tim3d.models.surrogate.examples import (
    Examples,
    Floats,
    Images,
    Split,
    SurrogateOptions,
    check_target,
    split,
)
from tim3d.models.surrogate.model_file import Calibration, SurrogateDescription, write_surrogate
from tim3d.models.surrogate.network import Critic, Scale, Surrogate, coral, reversed_gradient

# Steps over which the weight of an adversarial loss rises to its full size.
WARM_UP = 200
# Every which real image is kept out, to know how far they may be from each other.
KEPT = 4
# Sections in a batch outside of the training.
AT_ONCE = 256


@dataclass(frozen=True)
class SurrogateTraining:
    """A surrogate, the sections it is trained on, and images of the real look.

    Parameters
    ----------
    examples : Examples
        Rendered sections and properties.
    options : SurrogateOptions
        Network and adaptation.
    target : (images, rows, columns) uint8, optional
        Unlabelled images of the real look.
    about : mapping
        What else the file records: names, units, edges of a pixel in nm.
    level : float
        Level of the intervals.
    seed : int
        Of the split, the first weights and all random numbers.
    """

    examples: Examples
    options: SurrogateOptions = field(default_factory=SurrogateOptions)
    target: Images | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    level: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        _, sections, rows, columns = self.examples.images.shape
        check_target(self.target, self.options, {"rows": rows, "columns": columns})
        if self.options.sections > sections:
            raise ArgumentError(
                f"{self.options.sections} sections make one prediction, and {sections} of each sample are there"
            )
        self.parts  # noqa: B018  too few samples are refused before anything is trained

    @cached_property
    def parts(self) -> Split:
        """Which volumes are for what."""
        return split(len(self.examples.values), self.seed, fewest(self.level))

    def key(self) -> Mapping[str, Any]:
        """All that decides the weights: data, options, and the images of the real look."""
        target = None if self.target is None else hashlib.sha256(self.target.tobytes()).hexdigest()
        return {
            "data": self.examples.sha256(), "target": target, "about": dict(self.about), "level": self.level,
            **self.options.record(),
        }  # fmt: skip

    def start(self, place: Place) -> SurrogateLearner:
        """The network, its optimiser and, for DANN, a critic."""
        return SurrogateLearner(self, place.device)

    def save(self, path: Path, run: TrainingRun) -> None:
        """Write the network with its intervals and the range of its training set."""
        learner = cast(SurrogateLearner, run.learner)
        net = cast(Surrogate, run.chosen())
        if "adabn" in self.options.adapt:
            learner.adapt_statistics(net)
        source = learner.source_net(net, cast(Surrogate, run.chosen()))
        calibration = self._calibration(learner, source, net)
        scale = learner.scale
        write_surrogate(
            path,
            net,
            SurrogateDescription(self.options, scale, calibration, self.about, run.summary()),
        )

    def _calibration(
        self, learner: SurrogateLearner, source: Surrogate, net: Surrogate
    ) -> Calibration:
        """Intervals by rendered sections that were kept out; distances by real images where there are any."""
        wanted = np.log(self.examples.values[self.parts.calibrate])
        said, kept = learner.held_out(source, self.parts.calibrate)
        _, learnt = learner.held_out(source, self.parts.learn)
        if self.target is not None:
            _, real = predict(
                net, learner.scale, torch.from_numpy(self.target)[:, None], learner.device
            )
            kept, learnt = real[::KEPT], np.delete(real, np.s_[::KEPT], axis=0)
        cloud = Cloud.of(learnt.reshape(-1, learnt.shape[-1]))
        farthest = float(cloud.distances(kept.reshape(-1, kept.shape[-1])).max())
        values = (float(self.examples.values.min()), float(self.examples.values.max()))
        width = half_width(np.abs(said - wanted), self.level)
        return Calibration(self.level, width, len(wanted), farthest, cloud, values)


class SurrogateLearner:
    """Network and optimiser of a training on a device."""

    def __init__(self, training: SurrogateTraining, device: torch.device) -> None:
        self.training, self.options, self.device = training, training.options, device
        learn = training.parts.learn
        seen, values = training.examples.images[learn], np.log(training.examples.values)
        self.scale = Scale(
            "standardise" in self.options.adapt,
            (float(seen.mean()), max(float(seen.std()), 1.0)),
            (float(values[learn].mean()), max(float(values[learn].std()), 1e-9)),
        )
        self.images = torch.from_numpy(training.examples.images)
        self.wanted = torch.from_numpy(
            ((values - self.scale.log_value[0]) / self.scale.log_value[1]).astype(np.float32)
        )
        self.target = None if training.target is None else torch.from_numpy(training.target)
        self.product = Surrogate(self.options.channels).to(device)
        self.critic = Critic(self.options.channels[-1]).to(device)
        adversarial = list(self.critic.parameters()) if "dann" in self.options.adapt else []
        self.adam = torch.optim.Adam(
            [*self.product.parameters(), *adversarial],
            lr=self.options.learning_rate,
            weight_decay=1e-4,
        )

    def parts(self) -> Mapping[str, Stateful]:
        """Network, critic and optimiser."""
        return {"net": self.product, "critic": self.critic, "adam": self.adam}

    def step(self, number: int, rng: np.random.Generator) -> Record:
        """Learn from some volumes and, where adapted, from as many real images."""
        source, wanted = self._batch(rng)
        self.product.train()
        paired = {"coral", "dann"} & set(self.options.adapt)
        inputs = torch.cat([source, self._real(rng, source.shape)]) if paired else source
        features = self.product.features(inputs.to(self.device))
        count = len(source)
        loss = mse_loss(self.product.from_features(features[:count]), wanted.to(self.device))
        record = {"loss": float(loss.detach())}
        if paired:
            gap = self._gap(features.flatten(0, 1), count * source.shape[1], number)
            record["gap"] = float(gap.detach())
            loss = loss + self.options.weight * gap
        self.adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.adam.step()
        return record

    def judge(self) -> Verdict:
        """Mean absolute error of the logarithm on volumes that are not in the training set."""
        said, _ = self.held_out(self.product, self.training.parts.choose)
        error = float(
            np.abs(said - np.log(self.training.examples.values[self.training.parts.choose])).mean()
        )
        return Verdict(error, {"error": error})

    def held_out(self, net: Surrogate, volumes: np.ndarray) -> tuple[Floats, Floats]:
        """Logarithm of the property of volumes by their first sections, and what is known of these."""
        images = self.images[volumes][:, : self.options.sections]
        return predict(net, self.scale, images, self.device)

    def adapt_statistics(self, net: Surrogate) -> None:
        """Take the statistics of batch normalisation from the real images."""
        if self.target is None:
            return
        for one in _normalisations(net):
            one.reset_running_stats()
            one.momentum = None  # the mean over all batches
        net.train()
        with torch.no_grad():
            for part in torch.split(self.target[:, None], AT_ONCE):
                net.features(self.scale.inputs(part).to(self.device))
        net.eval()

    def source_net(self, net: Surrogate, chosen: Surrogate) -> Surrogate:
        """The network by which rendered sections are judged: that with their own statistics."""
        return chosen if "adabn" in self.options.adapt else net

    def _batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        learn, wanted = self.training.parts.learn, self.options.sections
        volumes = rng.choice(learn, self.options.batch, replace=len(learn) < self.options.batch)
        every = self.images.shape[1]
        chosen = np.stack([rng.choice(every, wanted, replace=False) for _ in volumes])
        images = self.images[torch.from_numpy(volumes)[:, None], torch.from_numpy(chosen)]
        return _flipped(self.scale.inputs(images), rng), self.wanted[torch.from_numpy(volumes)]

    def _real(self, rng: np.random.Generator, shape: torch.Size) -> Tensor:
        """As many pieces of real images as there are sections, of their size."""
        assert self.target is not None
        batch, sections, rows, columns = shape
        picked = rng.integers(0, len(self.target), batch * sections)
        down = int(rng.integers(0, self.target.shape[1] - rows + 1))
        right = int(rng.integers(0, self.target.shape[2] - columns + 1))
        pieces = self.target[torch.from_numpy(picked), down : down + rows, right : right + columns]
        return _flipped(self.scale.inputs(pieces.reshape(shape)), rng)

    def _gap(self, features_bc: Tensor, count: int, number: int) -> Tensor:
        if "coral" in self.options.adapt:
            return coral(features_bc[:count], features_bc[count:])
        rise = 2 / (1 + math.exp(-10 * min(1.0, number / WARM_UP))) - 1
        logits = self.critic(reversed_gradient(features_bc, rise))
        rendered = torch.zeros(len(logits), device=logits.device)
        rendered[:count] = 1
        return binary_cross_entropy_with_logits(logits, rendered)


def predict(
    net: Surrogate, scale: Scale, images: Tensor, device: torch.device
) -> tuple[Floats, Floats]:
    """Logarithm of the property (volumes,), and what is known of each grey section, for distances.

    The latter (volumes, sections, numbers) are the features of the network and `statistics` of its
    input: features alone may be blind for what the network never had to see.
    """
    net.eval()
    said, known = [], []
    with torch.no_grad():
        for part in torch.split(images, max(1, AT_ONCE // images.shape[1])):
            inputs = scale.inputs(part)
            features = net.features(inputs.to(device))
            said.append(scale.logarithm(net.from_features(features)).cpu().double().numpy())
            both = torch.cat([features.cpu(), statistics(inputs)], dim=-1)
            known.append(both.double().numpy())
    return np.concatenate(said), np.concatenate(known)


def statistics(inputs: Tensor) -> Tensor:
    """Mean, deviation, skewness of images (..., y, x), mean steps along rows and columns, and roughness."""
    mean, deviation = inputs.mean(dim=(-2, -1)), inputs.std(dim=(-2, -1))
    off = inputs - mean[..., None, None]
    skewness = (off**3).mean(dim=(-2, -1)) / deviation.clamp(min=1e-6) ** 3
    down, right = inputs.diff(dim=-2), inputs.diff(dim=-1)
    steps = [down.abs().mean(dim=(-2, -1)), right.abs().mean(dim=(-2, -1))]
    return torch.stack(
        [mean, deviation, skewness, *steps, right.diff(dim=-1).abs().mean(dim=(-2, -1))], dim=-1
    )


def predict_one(net: Surrogate, scale: Scale, sections: Images) -> tuple[float, Floats]:
    """Logarithm of the property, and what is known of the sections (n, y, x) of one sample."""
    said, known = predict(net, scale, torch.from_numpy(sections)[None], torch.device("cpu"))
    return float(said[0]), known[0]


def _flipped(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Mirrored along rows and columns at random: neither changes the conductivity along an axis."""
    axes = [axis for axis in (-2, -1) if rng.random() < 0.5]
    return images.flip(axes) if axes else images


def _normalisations(net: nn.Module) -> list[nn.BatchNorm2d]:
    return [one for one in net.modules() if isinstance(one, nn.BatchNorm2d)]
