"""Resistance of rough contacts by a network, and what its explanations are worth.

Run as ``python -m benchmarks.contact_network --train 800 --test 100 --steps 1500``.

Contacts of random roughness and pressure are solved in voxels. A small convolutional network learns log R and log A
from both height maps and the pressure; baselines are the law of Cooper, Mikic and Yovanovich and a regression on
its logarithm. What the network looks at (occlusion, integrated gradients) is then compared, by rank correlation over
patches, with the exact sensitivity of log R to the conductivity of each column, which a solution has for nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from scipy.stats import spearmanr
from torch import nn

import tim3d
from tim3d.grid import Box
from tim3d.kernels.conduction.conduction import conduct
from tim3d.kernels.conduction.contact_spots import plastic_conductance
from tim3d.kernels.generation.rough_contact import RoughContact
from tim3d.kernels.generation.rough_surface import RoughSurface
from tim3d.models.common.training_run import Verdict
from tim3d.models.common.weights import write_weights

EDGE, DEPTH, PATCH = 48, 32, 4
K = {0: 1.0, 1: 0.0, 2: 1.0}
Maps = np.ndarray


@dataclass(frozen=True)
class Example:
    """A solved contact."""

    maps: Maps  # (3, y, x): heights of both faces over the rms of both together, and the pressure
    log_resistance: float
    log_area: float
    log_law: float
    sensitivity: Maps  # (y, x): share of each column in R, adds up to 1
    touching: Maps  # (y, x)


def drawn(seed: int) -> RoughContact:
    """A contact of random Hurst exponent, wavelengths, slopes and pressure, in voxels of 1 nm."""
    rng = np.random.default_rng(seed)
    longest = rng.uniform(16, EDGE)
    low = RoughSurface(
        1.0, rng.uniform(0.5, 0.9), longest, rng.uniform(8, 16), (1.0, 1.0), (EDGE, EDGE), seed
    )
    scaled = rng.uniform(0.1, 0.2) / (2**0.5 * low.mean_slope)
    low = replace(low, rms_nm=scaled)
    pressure = float(np.exp(rng.uniform(np.log(0.01), np.log(0.3))))
    return RoughContact(low, replace(low, stream=1), pressure, float(DEPTH), (1.0, 1.0, 1.0))


def solved(seed: int) -> Example:
    """Resistance and sensitivity of a contact, by the solver."""
    pressed, whole = drawn(seed), (0, 0)
    labels = pressed.labels(Box.whole((DEPTH, EDGE, EDGE)))
    found = conduct(labels, K, sides="periodic", tolerance=1e-4, keep_sensitivity=True)
    assert found.derivative is not None
    share = (
        (found.derivative * (labels != 1)).sum(0, dtype=float) / labels.size / found.conductivity
    )
    heights = [
        one.heights(whole, one.period) / pressed.rms_nm for one in (pressed.lower, pressed.upper)
    ]
    apart = np.full((EDGE, EDGE), NormalDist().inv_cdf(1 - pressed.pressure))
    law = plastic_conductance(pressed.pressure, pressed.mean_slope, pressed.rms_nm, 1.0)
    return Example(
        np.stack([*heights, apart]).astype(np.float32),
        float(np.log(DEPTH * (1 / found.conductivity - 1))),
        float(np.log(pressed.contact_fraction)), -float(np.log(law)), share,
        ((labels[:-1] == 0) & (labels[1:] == 2)).any(0),
    )  # fmt: skip


class Network(nn.Module):
    """Convolutions on the period of the surfaces, their mean and maximum, and two numbers."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((3, width, width, 2 * width, 2 * width)):
            stride = 1 if before == 3 else 2
            layers += [nn.Conv2d(before, after, 5, stride, 2, padding_mode="circular"), nn.GELU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Linear(4 * width, 2 * width), nn.GELU(), nn.Linear(2 * width, 2)
        )

    def forward(self, maps_bcyx: torch.Tensor) -> torch.Tensor:
        """Standardised log R and log A, (b, 2)."""
        features = self.body(maps_bcyx)
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
        out: torch.Tensor = self.head(pooled)
        return out


@dataclass(frozen=True)
class ContactTraining:
    """Contacts to learn from and to choose by."""

    maps: np.ndarray
    targets: np.ndarray
    held_out: int
    seed: int = 0
    batch: int = 32

    def key(self) -> dict[str, Any]:
        """Digest of the data, and options."""
        data = hashlib.sha256(self.maps.tobytes() + self.targets.tobytes()).hexdigest()
        return {"data": data, "held_out": self.held_out, "batch": self.batch}

    def start(self, place: Any) -> Student:
        """Network and optimiser."""
        return Student(self, place.device)

    def save(self, path: Path, run: Any) -> None:
        """Write the weights."""
        write_weights(path, run.chosen().state_dict(), json.dumps({"kind": "contact"}))


class Student:
    """A network in training; rolls, flips and the exchange of both faces change no resistance."""

    def __init__(self, training: ContactTraining, device: Any) -> None:
        self.product = Network().to(device)
        self.adam = torch.optim.AdamW(self.product.parameters(), lr=2e-3, weight_decay=1e-3)
        self.training = training
        self.maps, self.targets = (
            torch.from_numpy(a).to(device) for a in (training.maps, training.targets)
        )

    def parts(self) -> dict[str, Any]:
        """What a step changes."""
        return {"net": self.product, "adam": self.adam}

    def step(self, number: int, rng: np.random.Generator) -> dict[str, float]:
        """Learn from a batch, turned at random."""
        chosen = rng.integers(self.training.held_out, len(self.maps), self.training.batch)
        maps = torch.roll(self.maps[chosen], tuple(rng.integers(0, EDGE, 2).tolist()), (2, 3))
        if rng.random() < 0.5:
            maps = maps.transpose(2, 3)
        if rng.random() < 0.5:
            maps = maps[:, [1, 0, 2]]
        maps = torch.flip(maps, [axis for axis in (2, 3) if rng.random() < 0.5])
        loss = nn.functional.smooth_l1_loss(self.product.train()(maps), self.targets[chosen])
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        return {"loss": loss.item()}

    def judge(self) -> Verdict:
        """Error of log R on contacts that are held out, in standard deviations."""
        kept = slice(self.training.held_out)
        with torch.no_grad():
            wrong = self.product.eval()(self.maps[kept]) - self.targets[kept]
        return Verdict(float(wrong[:, 0].abs().mean()))


def occlusion(net: Callable[[torch.Tensor], torch.Tensor], maps: Maps) -> Maps:
    """Change of log R where a patch of both faces is taken to its mean height, per patch."""
    n = EDGE // PATCH
    hidden = torch.from_numpy(np.repeat(maps[None], n * n + 1, 0))
    for place in range(n * n):
        y, x = (PATCH * i for i in divmod(place, n))
        hidden[place, :2, y : y + PATCH, x : x + PATCH] = 0
    with torch.no_grad():
        values = net(hidden)[:, 0]
    return np.asarray((values[:-1] - values[-1]).abs().reshape(n, n))


def integrated_gradients(
    net: Callable[[torch.Tensor], torch.Tensor], maps: Maps, steps: int = 32
) -> Maps:
    """Heights times the mean gradient of log R on the way from flat faces, per patch."""
    full = torch.from_numpy(maps)
    flat = full.clone()
    flat[:2] = 0
    weights = ((torch.arange(steps) + 0.5) / steps)[:, None, None, None]
    way = (flat + weights * (full - flat)).requires_grad_()
    (gradient,) = torch.autograd.grad(net(way)[:, 0].sum(), way)
    return patches(((full - flat) * gradient.mean(0))[:2].abs().sum(0).numpy())


def patches(values: Maps) -> Maps:
    """Means of patches."""
    n = EDGE // PATCH
    return np.asarray(values.reshape(n, PATCH, n, PATCH).mean((1, 3)))


def explained(net: Network, blank: Network, examples: Sequence[Example]) -> dict[str, np.ndarray]:
    """Rank correlations of explanations with the exact sensitivity, by example."""
    ways: dict[str, Callable[[Example], Maps]] = {
        "occlusion": lambda e: occlusion(net, e.maps),
        "integrated gradients": lambda e: integrated_gradients(net, e.maps),
        "occlusion, weights not trained": lambda e: occlusion(blank, e.maps),
        "integrated gradients, weights not trained": lambda e: integrated_gradients(blank, e.maps),
        "height of both faces, no network": lambda e: patches(e.maps[:2].sum(0)),
        "share in contact, no network": lambda e: patches(e.touching.astype(float)),
    }
    return {
        name: np.array([spearmanr(way(e).ravel(), patches(e.sensitivity).ravel())[0] for e in examples])
        for name, way in ways.items()
    }  # fmt: skip


def trained(
    examples: Sequence[Example], held_out: int, steps: int, seed: int
) -> tuple[Network, Maps, Maps]:
    """A network, and mean and standard deviation of its targets."""
    maps = np.stack([e.maps for e in examples])
    targets = np.array([[e.log_resistance, e.log_area] for e in examples], np.float32)
    mean, spread = targets[held_out:].mean(0), targets[held_out:].std(0)
    training = ContactTraining(maps, (targets - mean) / spread, held_out, seed)
    net = Network()
    with tempfile.TemporaryDirectory() as folder:
        path = tim3d.run_training(
            training, Path(folder) / "net.safetensors", steps=steps, every=max(1, min(50, steps // 2)),
            device="cpu", progress=False,
        )  # fmt: skip
        net.load_state_dict(load_file(path))
    return net.eval(), mean, spread


def regression(examples: Sequence[Example], of: Sequence[Example]) -> Maps:
    """Log R from the logarithms of the law and of the pressure, by least squares."""

    def columns(some: Sequence[Example]) -> Maps:
        return np.array([[1.0, e.log_law, e.log_area] for e in some])

    known = np.array([e.log_resistance for e in examples])
    weights = np.linalg.lstsq(columns(examples), known, rcond=None)[0]
    return np.asarray(columns(of) @ weights)


def lines(given: argparse.Namespace) -> Iterator[str]:
    """Errors of log R on contacts of other seeds, and rank correlations of explanations."""
    examples = [solved(seed) for seed in range(given.train)]
    test = [solved(10**6 + seed) for seed in range(given.test)]
    truth = np.array([e.log_resistance for e in test])
    maps = torch.from_numpy(np.stack([e.maps for e in test]))
    predictions = {
        "mean of the trained": np.full(len(test), np.mean([e.log_resistance for e in examples])),
        "law": np.array([e.log_law for e in test]),
        "regression on law and pressure": regression(examples, test),
    }
    nets = [trained(examples, given.train // 8, given.steps, seed) for seed in range(given.seeds)]
    for seed, (net, mean, spread) in enumerate(nets):
        with torch.no_grad():
            predictions[f"network, seed {seed}"] = net(maps)[:, 0].numpy() * spread[0] + mean[0]
    yield "| log R on other contacts | mean absolute error |\n|---|---|"
    for name, found in predictions.items():
        yield f"| {name} | {np.abs(found - truth).mean():.3f} |"
    yield "\n| explanation | rank correlation with the exact sensitivity |\n|---|---|"
    torch.manual_seed(1)
    by_seed = [explained(net, Network().eval(), test) for net, *_ in nets]
    for name in by_seed[0]:
        means = [float(np.nanmean(one[name])) for one in by_seed]
        spread = float(np.nanstd(np.concatenate([one[name] for one in by_seed])))
        seeds = ", ".join(f"{m:.2f}" for m in means)
        yield f"| {name} | {np.mean(means):.2f} (seeds {seeds}; between contacts ± {spread:.2f}) |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--train", type=int, default=800)
    parser.add_argument("--test", type=int, default=100)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, default=3)
    for line in lines(parser.parse_args(arguments)):
        print(line, flush=True)


if __name__ == "__main__":
    main()
