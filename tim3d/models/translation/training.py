"""Training of a translator from unpaired slices: CUT, FastCUT and CycleGAN, by one protocol.

All have a critic that tells translated crops from real ones (least squares, Mao et al. 2017) and a
pool of earlier translations that it sees too (Shrivastava et al. 2017). They differ in what keeps
the structure: CUT finds each place of a translation again among places of its source (Park et al.,
ECCV 2020, DOI 10.1007/978-3-030-58545-7_19), ten times as strongly in FastCUT, and with a term for
real images that should stay as they are in CUT; CycleGAN translates back (Zhu et al., ICCV 2017,
DOI 10.1109/ICCV.2017.244). None forbids to move an interface: that is measured at each judgement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from tim3d.errors import ArgumentError
from tim3d.kernels.image.geometry_guard import Geometry, compare
from tim3d.kernels.image.spectrum_matching import power_spectrum
from tim3d.models.common.distributed import Place
from tim3d.models.common.training_run import Record, Stateful, TrainingRun, Verdict
from tim3d.models.common.transfer import upload
from tim3d.models.translation.model_file import write_translator
from tim3d.models.translation.network import Critic, Heads, Translator, contrast_loss

# Weights of what keeps the structure, and of real images that should stay as they are.
METHODS = {"cut": (1.0, 1.0), "fastcut": (10.0, 0.0), "cyclegan": (10.0, 0.5)}
# Places of a crop whose source is sought, crops by which a state is judged, and what a fault costs in the score.
PLACES, JUDGED, FAULT = 64, 8, 10.0
WINDOW = 16


class Crops(Protocol):
    """Slices from which crops are cut; of volumes of any size only the crops are in memory."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns."""

    def key(self) -> str:
        """Text that differs where the grey values may differ."""

    def crop(self, z: int, y: int, x: int, size: int) -> np.ndarray:
        """A square of a slice (size, size)."""


@dataclass(frozen=True)
class TranslatorOptions:
    """Options of a training.

    Parameters
    ----------
    method : {"cut", "fastcut", "cyclegan"}
        What keeps the structure.
    reach : int
        Pixels around one on which its translation depends.
    channels : int
        Channels of the translator, and of the first layer of the critic.
    crop, batch : int
        Edge of a crop in pixels, and crops of a step on each process.
    learning_rate : float
        Of Adam with betas (0.5, 0.999).
    pool : int
        Earlier translations that the critic sees.
    mixed_precision : bool
        Compute in bfloat16 on CUDA.
    """

    method: str = "cut"
    reach: int = 4
    channels: int = 16
    crop: int = 64
    batch: int = 4
    learning_rate: float = 2e-4
    pool: int = 50
    mixed_precision: bool = True

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ArgumentError(f"no method {self.method!r}: --method {' or '.join(METHODS)}")
        if (
            min(self.reach, self.channels, self.batch, self.pool) < 1
            or not 0 < self.learning_rate < math.inf
        ):
            raise ArgumentError(
                f"reach {self.reach}, channels {self.channels}, batch {self.batch}, pool {self.pool} and learning "
                f"rate {self.learning_rate:g} must be finite and above 0"
            )
        if self.crop < 16 or self.crop % 4:
            raise ArgumentError(
                f"a crop of {self.crop} pixels: its edge is a multiple of 4 from 16 on"
            )


class Pool:
    """Earlier translations; a new one is shown itself or, as often, one from the pool that it replaces."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.kept: list[Tensor] = []

    def state_dict(self) -> dict[str, Any]:
        """Return the translations."""
        return {"kept": list(self.kept)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self.kept = list(state["kept"])

    def shown(self, new: Tensor, rng: np.random.Generator) -> Tensor:
        """Translations for the critic (batch, 1, y, x): new ones, or earlier ones from the pool."""
        out = []
        for one in new.detach():
            if len(self.kept) < self.size:
                self.kept.append(one.clone())
                out.append(one)
            elif rng.random() < 0.5:
                place = int(rng.integers(self.size))
                out.append(self.kept[place].to(one.device))
                self.kept[place] = one.clone()
            else:
                out.append(one)
        return torch.stack(out)


class ContrastSide(nn.Module):
    """Loss of a translator by CUT or FastCUT."""

    def __init__(self, options: TranslatorOptions, translator: Translator) -> None:
        super().__init__()
        self.weight, self.identity = METHODS[options.method]
        self.translator = translator
        self.heads = Heads(options.reach, options.channels)

    def forward(
        self, source: Tensor, real: Tensor, places: Tensor, critics: Sequence[nn.Module]
    ) -> Tensor:
        """Return the loss of a batch."""
        fake = self.translator(source)
        loss = square(critics[0](fake), 1.0) + self.weight * self._contrast(source, fake, places)
        if self.identity:
            loss = loss + self.identity * self._contrast(real, self.translator(real), places)
        return loss

    def _contrast(self, source: Tensor, fake: Tensor, places: Tensor) -> Tensor:
        asked = self.heads(self.translator.features(fake), places)
        return contrast_loss(asked, self.heads(self.translator.features(source), places))


class CycleSide(nn.Module):
    """Loss of two translators by CycleGAN."""

    def __init__(self, options: TranslatorOptions, translator: Translator) -> None:
        super().__init__()
        self.weight, self.identity = METHODS[options.method]
        self.translator = translator
        self.back = Translator(options.channels, options.reach)

    def forward(
        self, source: Tensor, real: Tensor, places: Tensor, critics: Sequence[nn.Module]
    ) -> Tensor:
        """Return the loss of a batch."""
        fake, unreal = self.translator(source), self.back(real)
        loss = square(critics[0](fake), 1.0) + square(critics[1](unreal), 1.0)
        cycle = (self.back(fake) - source).abs().mean() + (
            self.translator(unreal) - real
        ).abs().mean()
        same = (self.translator(real) - real).abs().mean() + (
            self.back(source) - source
        ).abs().mean()
        out: Tensor = loss + self.weight * (cycle + self.identity * same)
        return out


class CriticSide(nn.Module):
    """Loss of a critic."""

    def __init__(self, critic: Critic) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Return the loss of a batch."""
        return (square(self.critic(fake), 0.0) + square(self.critic(real), 1.0)) / 2


def square(judged: Tensor, wanted: float) -> Tensor:
    """Mean squared distance of judgements from what is wanted."""
    return ((judged - wanted) ** 2).mean()


@dataclass(frozen=True)
class TranslatorTraining:
    """A translator, rendered slices with their phases, and real slices: a value.

    Parameters
    ----------
    source, classes : Crops
        Rendered grey values, and the phases of their pixels, numbered from the darkest.
    target : Crops
        Real grey values.
    names : sequence of str
        Phases from the darkest.
    scale : (mean, deviation)
        Of the real grey values; both are normalised by it.
    options : TranslatorOptions
        Options.
    about : mapping
        What else the file records.
    seed : int
        Of the first weights and all random numbers.
    """

    source: Crops
    classes: Crops
    target: Crops
    names: Sequence[str]
    scale: tuple[float, float]
    options: TranslatorOptions = field(default_factory=TranslatorOptions)
    about: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        for one in (self.source, self.target):
            if min(one.shape[1:]) < self.options.crop:
                raise ArgumentError(
                    f"slices have {one.shape[1]} x {one.shape[2]} pixels, fewer than a crop of {self.options.crop}"
                )

    def key(self) -> Mapping[str, Any]:
        """All that decides the weights."""
        data = [one.key() for one in (self.source, self.classes, self.target)]
        return {
            "data": data,
            "names": list(self.names),
            "scale": list(self.scale),
            **asdict(self.options),
        }

    def start(self, place: Place) -> TranslatorLearner:
        """Networks and optimisers on a device."""
        return TranslatorLearner(self, place)

    def save(self, path: Path, run: TrainingRun) -> None:
        """Write the translator with what it needs to translate."""
        text = {
            "options": asdict(self.options), "scale": list(self.scale), "names": list(self.names),
            "about": dict(self.about), "training": run.summary(),
        }  # fmt: skip
        write_translator(path, cast(Translator, run.chosen()), text)


class TranslatorLearner:
    """Networks and optimisers of a training on a device."""

    def __init__(self, training: TranslatorTraining, place: Place) -> None:
        self.training, self.options, self.place = training, training.options, place
        asked = self.options
        self.product = Translator(asked.channels, asked.reach)
        cyclic = asked.method == "cyclegan"
        side = (CycleSide if cyclic else ContrastSide)(asked, self.product).to(place.device)
        self.side = side
        self.critics = [Critic(asked.channels).to(place.device) for _ in range(1 + cyclic)]
        self.pools = [Pool(asked.pool) for _ in self.critics]
        self._side = place.shared(side)
        self._critic_sides = [place.shared(CriticSide(one)) for one in self.critics]
        self.adam = _adam(side, asked)
        self.critic_adams = [_adam(one, asked) for one in self.critics]

    def parts(self) -> Mapping[str, Stateful]:
        """Translators with their heads, critics, optimisers and pools."""
        critics = {f"critic{n}": one for n, one in enumerate(self.critics)}
        adams = {f"critic_adam{n}": one for n, one in enumerate(self.critic_adams)}
        pools = {f"pool{n}": one for n, one in enumerate(self.pools)}
        return {"side": self.side, "adam": self.adam, **critics, **adams, **pools}

    def step(self, number: int, rng: np.random.Generator) -> Record:
        """A step of the critics, then one of the translator."""
        source, real = (
            self._batch(one, rng) for one in (self.training.source, self.training.target)
        )
        precision = "bfloat16" if self.options.mixed_precision else "float32"
        with self.place.cast(precision):  # type: ignore[arg-type]
            judged = self._step_critics(source, real, rng)
            chosen = rng.choice(self.options.crop**2, PLACES, replace=False)
            places = upload(chosen, self.place.device)
            for critic in self.critics:
                critic.requires_grad_(requires_grad=False)
            loss = self._side(source, real, places, self.critics)
        _descend(self.adam, loss)
        for critic in self.critics:
            critic.requires_grad_(requires_grad=True)
        # One wait for both.
        found, critic = torch.stack([loss.detach().float(), judged]).tolist()
        return {"loss": found, "critic": critic}

    def judge(self) -> Verdict:
        """How unlike real crops translated ones are in histogram and spectrum; a fault of geometry costs 10."""
        rng = np.random.default_rng((self.training.seed, 71))
        found, classes = _cut(self.training.source, rng, self.options.crop, self.training.classes)
        real, _ = _cut(self.training.target, rng, self.options.crop)
        mean, deviation = self.training.scale
        inputs = upload(((found - mean) / deviation)[:, None].astype(np.float32), self.place.device)
        self.product.eval()
        with torch.no_grad():
            out = self.product(inputs).float().cpu().numpy()[:, 0]
        self.product.train()
        translated = out * deviation + mean
        unlike = unlikeness(translated, real, deviation)
        geometry = compare(found, translated.astype(np.float32), classes, self.training.names)
        faults = len(geometry.faults())
        return Verdict(unlike + FAULT * faults, {"unlike": unlike, **_numbers(geometry)})

    def _step_critics(self, source: Tensor, real: Tensor, rng: np.random.Generator) -> Tensor:
        with torch.no_grad():
            translated = [self.product(source)]
            if isinstance(self.side, CycleSide):
                translated.append(self.side.back(real))
        total = torch.zeros((), device=self.place.device)
        for n, fake in enumerate(translated):
            shown = self.pools[n].shown(fake, rng)
            loss = self._critic_sides[n](shown, real if n == 0 else source)
            _descend(self.critic_adams[n], loss)
            total += loss.detach().float()
        return total

    def _batch(self, crops: Crops, rng: np.random.Generator) -> Tensor:
        """Crops of random places, mirrored at random."""
        mean, deviation = self.training.scale
        found = []
        for _ in range(self.options.batch):
            one = crops.crop(*_place(crops, rng, self.options.crop), self.options.crop)
            for axis in (0, 1):
                one = np.flip(one, axis) if rng.random() < 0.5 else one
            found.append((one.astype(np.float32) - mean) / deviation)
        return upload(np.stack(found)[:, None], self.place.device)


def unlikeness(translated: np.ndarray, real: np.ndarray, deviation: float) -> float:
    """Difference of quantiles in deviations, and of the logarithms of mean powers: root mean squares, added."""
    shares = np.linspace(0.01, 0.99, 50)
    apart = (np.quantile(translated, shares) - np.quantile(real, shares)) / deviation
    powers = [power_spectrum(one, WINDOW)[1:, 1:] for one in (translated, real)]
    ratio = np.log(np.maximum(powers[0], 1e-6) / np.maximum(powers[1], 1e-6))
    return float(np.sqrt((apart**2).mean()) + np.sqrt((ratio**2).mean()))


def _numbers(geometry: Geometry) -> Record:
    return {
        "shift_px": float(np.hypot(*geometry.shift)),
        "growth_px": max(geometry.growth, key=abs),
        "fraction": max(geometry.fractions, key=abs),
        "invented": float(geometry.invented - geometry.before),
    }


def _cut(
    crops: Crops, rng: np.random.Generator, size: int, classes: Crops | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Crops by which states are judged, and their phases."""
    places = [_place(crops, rng, size) for _ in range(JUDGED)]
    grey = np.stack([crops.crop(*one, size) for one in places]).astype(np.float32)
    if classes is None:
        return grey, np.zeros(0, np.uint8)
    return grey, np.stack([classes.crop(*one, size) for one in places])


def _place(crops: Crops, rng: np.random.Generator, size: int) -> tuple[int, int, int]:
    z, y, x = (
        int(rng.integers(n)) for n in np.subtract(crops.shape, (0, size - 1, size - 1)).tolist()
    )
    return z, y, x


def _adam(module: nn.Module, options: TranslatorOptions) -> torch.optim.Adam:
    return torch.optim.Adam(module.parameters(), lr=options.learning_rate, betas=(0.5, 0.999))


def _descend(adam: torch.optim.Adam, loss: Tensor) -> None:
    adam.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    adam.step()
