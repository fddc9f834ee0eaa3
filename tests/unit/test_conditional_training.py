"""Training of a conditional generator: the laws of all trainings, and what it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from tests.micrographs import blobs
from tests.trainings import killed_and_resumed
from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.statistics.generator_score import target_of
from tim3d.models.common.conditioned_network import Condition
from tim3d.models.common.determinism import cpu_threads
from tim3d.models.common.training_run import Schedule, TrainingRun
from tim3d.models.conditional.images import made
from tim3d.models.conditional.network_file import ConditionalDescription, load_conditional
from tim3d.models.conditional.network_spec import ConditionalSpec, CriticSpec
from tim3d.models.conditional.networks import ConditionalGenerator
from tim3d.models.conditional.training import ConditionalLearner, ConditionalTraining
from tim3d.models.conditional.training_options import ConditionalOptions
from tim3d.models.diffusion.examples import Examples
from tim3d.phases import Phases

TWO = Phases(pore=0, solid=1)
HEAT = Condition("heat", lowest=0.0, highest=1.0)
OPTIONS = ConditionalOptions(crop=16, batch=4, average=0.9)


def training(phases: Phases = TWO, **options: Any) -> ConditionalTraining:
    """Two images, of few and of much solid."""
    images = [blobs(64, 1.5, share, seed) for seed, share in enumerate((0.25, 0.75))]
    if len(phases) == 3:
        images = [np.where(one == 1, 2, blobs(64, 2.0, seed=9)).astype(np.uint8) for one in images]
    examples = Examples(images, np.array([[-1.0], [1.0]], np.float32))
    channels = 3 if len(phases) == 3 else 1
    about = ConditionalDescription(
        ConditionalSpec(channels, 1, (8, 12), 1, 4), (5.0, 5.0, 5.0), phases, (HEAT,)
    )
    critic = CriticSpec(channels, 1, (8, 12))
    return ConditionalTraining(about, critic, examples, examples, replace(OPTIONS, **options))


@pytest.mark.parametrize("phases", [TWO, Phases(pore=0, nickel=1, oxide=2)])
def test_a_killed_training_ends_with_the_same_bits(phases: Phases, tmp_path: Path) -> None:
    one = training(phases)
    net, about, _ = load_conditional(killed_and_resumed(one, tmp_path))
    assert net.spec == one.description.spec
    assert [record["step"] for record in about.training["history"]] == [3, 6]
    assert about.training["chosen_step"] in (3, 6)


def test_it_learns_what_a_condition_changes(tmp_path: Path) -> None:
    run = TrainingRun(training(batch=8, learning_rate=2e-3), tmp_path / "unused")
    with cpu_threads(1):
        for _ in run.steps(Schedule(150, 30)):
            pass
    net = cast(ConditionalGenerator, run.chosen())
    few, much = (
        np.mean([made(net, 2, (64, 64), n, 0, (value,)).mean() for n in range(4)])
        for value in (-1.0, 1.0)
    )
    assert few < 0.45 < 0.55 < much
    assert min(r["score"] for r in run.history) < 0.7 * run.history[0]["score"]


def test_the_score_is_that_of_crossings_and_pairs_counted_one_by_one() -> None:
    image, seen = blobs(48, 1.5, 0.4), np.stack([blobs(16, 1.5, 0.6, seed=n) for n in range(3)])
    target = target_of([image], 2, 16)

    def of(images: np.ndarray, phase: int) -> tuple[np.ndarray, np.ndarray]:
        """Pairs at each lag and changes, along columns and along rows."""
        masks = [images == phase, (images == phase).swapaxes(1, 2)]
        pairs = [
            [(m[:, lag:] & m[:, : m.shape[1] - lag]).mean() for lag in target.lags] for m in masks
        ]
        return np.array(pairs), np.array([(m[:, 1:] != m[:, :-1]).mean() for m in masks])

    wrong, rough = [], []
    for phase in (0, 1):
        (real, one), (drawn, other) = of(image[None], phase), of(seen, phase)
        wrong += list(np.abs(drawn - real.mean(0)))
        rough += list(np.abs(other - one.mean()) / one.mean())
    found = target.errors_of_images(seen)
    assert found["fraction_error"] == pytest.approx(np.mean([w[0] for w in wrong]))
    assert found["s2_error"] == pytest.approx(np.mean([w[1:] for w in wrong]))
    assert found["surface_error"] == pytest.approx(np.mean(rough))
    both = target_of([np.triu(image) + np.triu(image, 1).T], 2, 16)
    assert max(both.errors_of_images((np.triu(image) + np.triu(image, 1).T)[None]).values()) < 1e-12


def test_a_direction_that_images_have_is_an_error() -> None:
    """Images that lie in one direction have the mean of both axes right."""
    image = blobs(64, 2.0, 0.5)
    target = target_of([image], 2, 32)
    along = blobs(64, (1.0, 5.0), 0.5, seed=1)
    flat = target.errors_of_images(np.stack([along] * 2))
    mixed = target.errors_of_images(np.stack([along, along.T]))
    assert flat["s2_error"] > mixed["s2_error"]
    assert flat["surface_error"] > mixed["surface_error"]


def test_real_windows_are_turned_and_generated_ones_reach_the_critic_as_they_are_made() -> None:
    one = training(batch=32)
    stripes = Examples(
        [np.tile(np.arange(64) % 2, (64, 1)).astype(np.uint8)] * 2, one.examples.conditions
    )
    learner = cast(
        ConditionalLearner, TrainingRun(replace(one, examples=stripes), "unused").learner
    )
    learner.net.register_forward_hook(
        lambda _, given, made: torch.arange(float(made.shape[3])).expand_as(made)
    )
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    learner.critic_loss.register_forward_pre_hook(lambda _, given: seen.append(given[:2]))
    learner.critic_step(np.random.default_rng(0))
    real, made_ = seen[0]
    assert bool((made_.diff(dim=2) == 0).all())
    assert bool((made_.diff(dim=3) == 1).all())
    upright = (real.diff(dim=2) == 0).flatten(1).all(1)
    assert 4 < int(upright.sum()) < 28


def test_conditions_are_dropped_together_and_real_and_generated_windows_share_them() -> None:
    one = training(dropout=0.5, batch=64)
    learner = cast(ConditionalLearner, TrainingRun(one, "unused").learner)
    seen: list[torch.Tensor] = []
    learner.critic_loss.register_forward_pre_hook(lambda _, given: seen.append(given[3]))
    learner.step(1, np.random.default_rng(0))
    assert len(seen) == one.options.critic_steps
    gone = seen[0].isnan()
    assert 16 < int(gone.sum()) < 48
    assert set(seen[0][~gone].tolist()) == {-1.0, 1.0}


def test_the_critic_learns_nothing_from_a_step_of_the_generator() -> None:
    learner = cast(ConditionalLearner, TrainingRun(training(), "unused").learner)
    learner.step(1, np.random.default_rng(0))
    before = {name: p.clone() for name, p in learner.critic.named_parameters()}
    learner.critic.zero_grad()
    learner.generator_step(np.random.default_rng(1))
    assert all(p.grad is None for p in learner.critic.parameters())
    assert all(torch.equal(p, before[name]) for name, p in learner.critic.named_parameters())


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"crop": 128}, InputError, "the shortest edge is 64, and training sees 128"),
        ({"crop": 3}, ArgumentError, "below 4, the least that a critic of 2 widths sees"),
        ({"critic_steps": 0}, ArgumentError, "critic steps: 0"),
        ({"learning_rate": 0.0}, ArgumentError, "learning rate 0"),
        ({"average": 1.0}, ArgumentError, "average 1"),
        ({"dropout": 1.0}, ArgumentError, "dropout 1"),
    ],
)
def test_what_does_not_fit_is_refused(
    options: dict[str, Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        training(**options)


def test_judges_are_spread_over_many_images() -> None:
    one = training()
    many = Examples([blobs(64, 1.5)] * 100, np.zeros((100, 1), np.float32))
    chosen = replace(one, judged=many).chosen
    assert (len(chosen), chosen[0], chosen[-1]) == (32, 0, 99)
    assert one.chosen == [0, 1]
