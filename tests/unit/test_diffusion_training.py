"""Training of a local network and images drawn from it: closed forms, and the laws of all trainings."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.micrographs import blobs
from tests.trainings import killed_and_resumed
from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.generation.local_means import (
    LocalMeans,
    Surroundings,
    cells_of,
    counted,
    fitted_law,
)
from tim3d.models.common.conditioned_network import Condition
from tim3d.models.common.determinism import cpu_threads
from tim3d.models.common.training_run import Schedule, TrainingRun
from tim3d.models.diffusion.drawing import Drawing
from tim3d.models.diffusion.examples import Examples, turned
from tim3d.models.diffusion.images import coarse_around, drawn, first_state, followed
from tim3d.models.diffusion.local_network import LocalNetwork
from tim3d.models.diffusion.network_file import LocalNetworkDescription, load_network
from tim3d.models.diffusion.network_spec import LocalNetworkSpec, Objective
from tim3d.models.diffusion.objectives import PATHS, position, shares, velocity
from tim3d.models.diffusion.training import DiffusionLearner, DiffusionTraining
from tim3d.models.diffusion.training_options import DiffusionOptions
from tim3d.phases import Phases

TWO = Phases(pore=0, solid=1)
OPTIONS = DiffusionOptions(crop=16, batch=4, learning_rate=4e-3, average=0.9)
AXES = Condition("axis", ("z", "y", "x"))
OBJECTIVES: tuple[Objective, ...] = ("flow", "ddpm")


def local_means(values: np.ndarray) -> LocalMeans:
    """Local fractions of the first phase in windows of 6 voxels of 5 nm."""
    mask = values.reshape((1,) * (3 - values.ndim) + values.shape) == 0
    cell, spacing = cells_of(30.0, mask.shape, (5.0,) * 3), (5.0,) * 3
    return LocalMeans(counted(mask, cell), mask.shape, cell, spacing, 30.0)


def training(
    objective: Objective = "flow", dimensions: int = 2, **changes: Any
) -> DiffusionTraining:
    """A tiny training: one image or volume, or three images with the axis as a condition."""
    count = 3 if changes.get("axes") else 1
    images = [blobs(40, 1.5, seed=n) for n in range(count)]
    values = images if dimensions == 2 else [np.stack([blobs(20, 1.5, seed=n) for n in range(20)])]
    conditions = (AXES,) if count == 3 else ()
    inputs = np.array([AXES.inputs(a) for a in "zyx"] if conditions else [[]], np.float32)
    means = [local_means(one) for one in values] if changes.get("coarse") else []
    law = fitted_law(means) if means else None
    spec = LocalNetworkSpec(
        dimensions,
        1,
        (8, 8),
        conditions=3 * len(conditions),
        objective=objective,
        coarse=len(means),
    )
    about = LocalNetworkDescription(spec, (5.0, 5.0, 5.0), TWO, conditions, coarse=law)
    around = [Surroundings(one, law) for one in means] if law else []
    examples = Examples(values, inputs, symmetric=count == 1, around=around)
    options = replace(OPTIONS, **changes.get("options", {}))
    return DiffusionTraining(about, examples, examples, options)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("coarse", [False, True])
def test_a_killed_training_ends_with_the_same_bits(
    objective: Objective, dimensions: int, coarse: bool, tmp_path: Path
) -> None:
    one = training(objective, dimensions, coarse=coarse)
    net, about, _ = load_network(killed_and_resumed(one, tmp_path))
    assert net.spec == one.description.spec
    assert [record["step"] for record in about.training["history"]] == [3, 6]
    assert about.training["chosen_step"] in (3, 6)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_loss_falls(objective: Objective, tmp_path: Path) -> None:
    run = TrainingRun(training(objective), tmp_path / "unused")
    with cpu_threads(1):
        for _ in run.steps(Schedule(60, 12)):
            pass
    assert run.history[-1]["score"] < 0.95 * run.history[0]["score"]


def test_the_axis_is_always_given_and_other_conditions_are_dropped_together() -> None:
    one = training(axes=True, options={"dropout": 0.5, "batch": 64})
    spec = replace(one.description.spec, conditions=5)
    numbers = (AXES, Condition("temperature"), Condition("time"))
    inputs = np.hstack([one.examples.conditions, np.ones((3, 2), np.float32)])
    about = replace(one.description, spec=spec, conditions=numbers)
    changed = replace(one, description=about, examples=replace(one.examples, conditions=inputs))
    learner = cast(DiffusionLearner, TrainingRun(changed, "unused").learner)
    seen: list[Tensor] = []
    learner.loss.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    learner.step(1, np.random.default_rng(0))
    given = seen[0].numpy()
    assert np.isfinite(given[:, :3]).all()
    gone = np.isnan(given[:, 3:])
    assert (gone[:, 0] == gone[:, 1]).all()
    assert 16 < gone[:, 0].sum() < 48


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_target_is_what_a_velocity_is_computed_from(objective: Objective) -> None:
    """A network that knows the answer leads from any state on the path straight to the data."""
    generator = torch.Generator().manual_seed(0)
    data, noise = (torch.randn((64, 1, 2, 2), generator=generator).double() for _ in range(2))
    path = PATHS[objective]
    for t in (0.05, 0.3, 0.8):
        place, step = position(t) if objective == "ddpm" else (t, 0.0)
        state = t * data + (1 - t) * noise
        time = torch.full((64,), t if objective == "flow" else step / 1000, dtype=torch.float64)

        def estimate(x: Tensor, asked: Tensor, t: float = t, time: Tensor = time) -> Tensor:
            assert torch.equal(asked, time)
            return path.question(data, noise, asked).target

        found = path.velocity(estimate, state, t)
        assert place == t
        torch.testing.assert_close(found, data - noise, rtol=1e-9, atol=1e-9)
        if objective == "ddpm":  # the network sees the state of its own training, at whole steps
            whole = round(step) / 1000
            asked = path.question(data, noise, torch.full((64,), whole))
            kept = float(np.sqrt(shares()[round(step)]))
            scaled = (kept * data + np.sqrt(1 - kept**2) * noise).float()
            torch.testing.assert_close(asked.state.float(), scaled, rtol=1e-5, atol=1e-5)


class Exact(LocalNetwork):
    """Estimates for data that are Gaussian white noise of a standard deviation and mean, in closed form."""

    deviation, mean = 0.5, 0.25

    def forward(self, state: Tensor, time: Tensor, condition: Tensor | None = None) -> Tensor:
        """E[data - noise | x], or E[noise | y]."""
        shift = (
            self.mean
            if condition is None or bool(condition.isnan().all())
            else float(condition[0, 0])
        )
        if self.spec.objective == "flow":
            kept, added = float(time[0]), 1 - float(time[0])
        else:
            share = float(np.interp(float(time[0]) * 1000, np.arange(1001), shares()))
            kept, added = share**0.5, (1 - share) ** 0.5
        off = (state - kept * shift) / (kept**2 * self.deviation**2 + added**2)
        data, noise = shift + kept * self.deviation**2 * off, added * off
        return data - noise if self.spec.objective == "flow" else noise


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("heun", [False, True])
def test_exact_estimates_end_at_the_distribution_of_the_data(
    objective: Objective, heun: bool
) -> None:
    """The reverse process maps standard normal noise linearly to the data: mean .25, deviation .5."""
    net = Exact(LocalNetworkSpec(2, 1, (4,), unshuffle=1, objective=objective))
    first = torch.from_numpy(first_state(3, 0, 1, (8, 8))).double()
    state = followed(net, first, Drawing(steps=40 if heun else 200, heun=heun))
    expected = 0.25 + 0.5 * first
    assert float((state - expected).abs().max()) < 0.03


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_times_lead_from_noise_to_data(objective: Objective) -> None:
    times = PATHS[objective].schedule(8)
    assert (times[0], times[-1], len(times)) == (0, 1, 9)
    assert all(a < b for a, b in pairwise(times))
    assert PATHS[objective].schedule(1) == [0, 1]
    if objective == "ddpm":
        assert [round(position(t)[1]) for t in times[1:-1]] == [875, 750, 625, 500, 375, 250, 125]


def test_guidance_leads_away_from_the_condition_that_is_not_given() -> None:
    net = Exact(LocalNetworkSpec(2, 1, (4,), conditions=1))
    state, condition = torch.zeros(1, 1, 4, 4), torch.tensor([[1.0]])
    plain, given = velocity(net, state, 0.4), velocity(net, state, 0.4, condition)
    guided = velocity(net, state, 0.4, condition, guidance=2.0)
    torch.testing.assert_close(guided, plain + 2 * (given - plain))
    assert torch.equal(velocity(net, state, 0.4, condition, guidance=0.0), plain)


def random_network(
    dimensions: int = 2, phases: int = 2
) -> tuple[LocalNetwork, LocalNetworkDescription]:
    torch.manual_seed(1)
    channels = 1 if phases == 2 else phases
    spec = LocalNetworkSpec(dimensions, channels, (4,), unshuffle=1)
    names = Phases(**{f"p{n}": n for n in range(phases)})
    return LocalNetwork(spec).eval(), LocalNetworkDescription(spec, (1.0, 1.0, 1.0), names)


def test_an_image_depends_on_its_number_and_not_on_those_beside_it() -> None:
    net, about = random_network(phases=3)
    every = list(drawn(net, about, (13, 17), range(4), Drawing(steps=3, seed=9)))
    assert [image.shape for image in every] == [(13, 17)] * 4
    (third,) = drawn(net, about, (13, 17), range(2, 3), Drawing(steps=3, seed=9))
    assert np.array_equal(third, every[2])
    assert not np.array_equal(every[0], every[1])
    (other,) = drawn(net, about, (13, 17), range(1), Drawing(steps=3, seed=8))
    assert not np.array_equal(other, every[0])


def test_images_with_a_coarse_field_depend_on_their_number_alone_and_on_its_amount() -> None:
    one = training(coarse=True)
    torch.manual_seed(0)
    net, about = LocalNetwork(one.description.spec).eval(), one.description
    drawing = Drawing(steps=2, seed=9)
    every = list(drawn(net, about, (13, 17), range(3), drawing))
    (third,) = drawn(net, about, (13, 17), range(2, 3), drawing)
    assert np.array_equal(third, every[2])
    edges = (64, 64)
    around = [coarse_around(about, replace(drawing, coarse=n), 2, edges) for n in (1.0, 0.0)]
    wide = 64 + 2 * about.spec.halo
    assert [a.shape for a in around if a is not None] == [(1, 1, wide, wide)] * 2
    assert around[0] is not None
    assert around[1] is not None
    assert around[0].std() > 0.3 > np.abs(around[1]).max()
    larger = coarse_around(about, drawing, 2, (96, 64))
    assert larger is not None
    assert np.array_equal(larger[:, :, :wide], around[0])


def test_a_volume_of_the_training_tool_is_drawn_with_its_coarse_field() -> None:
    about = training(dimensions=3, coarse=True).description
    torch.manual_seed(0)
    (volume,) = drawn(LocalNetwork(about.spec).eval(), about, (4, 5, 6), range(1), Drawing(steps=1))
    assert volume.shape == (4, 5, 6)


def test_the_noise_of_an_image_is_that_of_its_plane() -> None:
    plane, image = first_state(5, 3, 2, (4, 6)), first_state(5, 0, 2, (8, 4, 6))
    assert np.array_equal(plane[0], image[0, :, 3])


def test_a_volume_is_drawn_like_an_image() -> None:
    net, about = random_network(3)
    (volume,) = drawn(net, about, (4, 5, 6), range(1), Drawing(steps=2, heun=True))
    assert volume.shape == (4, 5, 6)
    assert set(np.unique(volume)) <= {0, 1}


def test_crops_are_of_all_places_and_symmetries() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    rng = np.random.default_rng(0)
    seen = {turned(image[:2, :2], rng).tobytes() for _ in range(200)}
    assert len(seen) == 8
    assert (
        len(
            {
                turned(np.arange(8, dtype=np.uint8).reshape(2, 2, 2), rng).tobytes()
                for _ in range(2000)
            }
        )
        == 48
    )
    plain = Examples([image], np.zeros((1, 0), np.float32), symmetric=False)
    crops, _ = plain.crops(200, 2, rng)
    assert {int(crop[0, 0]) for crop in crops} == {0, 1, 2, 4, 5, 6}


def test_borders_of_an_image_are_seen_nearly_as_often_as_its_middle() -> None:
    """A frame has 0.31 of the image; crops at all places alike show 0.07 of it."""
    image = np.ones((96, 96), np.uint8)
    image[8:-8, 8:-8] = 0
    plain = Examples([image], np.zeros((1, 0), np.float32))
    seen = plain.crops(4000, 32, np.random.default_rng(0))[0].mean()
    alike = np.mean([image[y : y + 32, x : x + 32].mean() for y in range(65) for x in range(65)])
    assert abs(seen - image.mean()) < 0.5 * abs(alike - image.mean())
    assert abs(seen - image.mean()) < 0.12


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"options": {"crop": 18}}, ArgumentError, "give 16"),
        ({"options": {"crop": 48}}, InputError, "the shortest edge is 40"),
        ({"options": {"average": 1.0}}, ArgumentError, "average 1"),
        ({"options": {"batch": 0}}, ArgumentError, "batch 0"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        training(**change)


def test_arrays_that_do_not_go_together_are_refused() -> None:
    image = np.zeros((20, 20), np.uint8)
    for values, rows in [([image], 2), ([image, image[None]], 2), ([], 0)]:
        with pytest.raises(InputError, match="rows of conditions"):
            Examples(values, np.zeros((rows, 1), np.float32))
    one = training()
    with pytest.raises(ArgumentError, match="3 dimensions cannot learn"):
        replace(
            one,
            description=replace(one.description, spec=replace(one.description.spec, dimensions=3)),
        )
    given = training(coarse=True)
    with pytest.raises(ArgumentError, match=r"of 1 local fractions cannot learn .* without"):
        replace(given, examples=one.examples)
    with pytest.raises(ArgumentError, match=r"of 0 local fractions cannot learn .* with"):
        replace(one, examples=given.examples)
    with pytest.raises(ArgumentError, match="steps is 0"):
        Drawing(steps=0)
