"""Adversarial training: views of volumes and images, the losses, and that no interruption shows in the weights."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.micrographs import blobs, layers, shades
from tests.servers import free_port
from tests.trainings import Changed, KilledError, killed_in, losing
from tim3d.errors import ArgumentError, CheckpointError, InputError, MixedRunError
from tim3d.kernels.generation.architecture import CROP_NODES, Architecture
from tim3d.kernels.statistics.generator_score import target_of
from tim3d.kernels.statistics.grey_statistics import grey_target
from tim3d.models.common.determinism import generator, seeded
from tim3d.models.common.distributed import ALONE, Place
from tim3d.models.common.training_run import Schedule, TrainingRun
from tim3d.models.common.training_state import packed
from tim3d.models.generation.adversarial import (
    AdversarialOptions,
    Adversaries,
    CriticLoss,
    by_critic,
    gradient_penalty,
)
from tim3d.models.generation.checkpoint_selection import (
    Judge,
    calibrated,
    cube,
    judged_edge,
    voxels_of,
)
from tim3d.models.generation.slice_sampler import Views, every_slice, noise, one_hot, random_slices
from tim3d.models.generation.slicegan import Critic, Generator
from tim3d.models.generation.training import SliceGANTraining

TINY = Architecture("tiny", "transposed", (4, 8, 8, 2), (2, 2, 3), (8, 16))
# By the channels of what is seen.
NETS = {
    1: Architecture("tiny", "transposed", (4, 8, 8, 1), (2, 2, 3), (8, 16), "grey"),
    2: TINY,
    3: Architecture("tiny", "transposed", (4, 8, 8, 3), (2, 2, 3), (8, 16), "colour"),
}
OPTIONS = AdversarialOptions(batch=2, slices=4, critic_steps=2, penalties=6, learning_rate=1e-3)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def views(*images):
    return Views(tuple(one_hot(image, (0, 1)) for image in images or (blobs(64),)))


def greys(*seeds):
    return Views(tuple(shades(64, 1.5, seed)[None] for seed in seeds))


SEEN = {
    "labels": lambda: views(),
    "three planes": lambda: views(*layers(64)),
    "grey": lambda: greys(0),
    "three grey planes": lambda: greys(0, 1, 2),
    "colour": lambda: Views((np.concatenate(greys(0, 1, 2).images),)),
}


def adversaries(seen=None, options=OPTIONS, place=ALONE):
    with seeded(options.seed, 0):
        return Adversaries(TINY, seen or views(), options, place)


def step(made, number):
    return made.step(number, generator(0, number))


def training(options=OPTIONS, seen=None, judge=None):
    seen = seen or views()
    edge = judged_edge(TINY)
    target = (
        target_of([blobs(64)], 2, edge) if seen.channels == 2 else grey_target(seen.images, edge)
    )
    return SliceGANTraining(NETS[seen.channels], seen, options, judge or Judge(target, 0))


def course(path, **kwargs):
    return TrainingRun(training(**kwargs), path)


def finished(path, steps=6, **kwargs):
    made = course(path, **kwargs)
    records = list(made.steps(Schedule(steps, 3)))
    return made, records


def state(made):
    parts = {name: part.state_dict() for name, part in made.learner.parts().items()}
    tensors = {}
    packed(parts | {"best": made.chosen().state_dict()}, "", tensors)
    return tensors


def assert_same(a, b):
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


# Views


@given(seed=st.integers(0, 1000), edge=st.sampled_from([3, 8, 16]))
def test_a_crop_is_a_part_of_the_image_turned_by_quarters_or_mirrored(seed, edge):
    image = np.arange(20 * 16, dtype=np.uint16).reshape(20, 16)
    both = np.stack([image >> 8, image & 255]).astype(np.uint8)
    crop = Views((both,)).crops(0, edge, 1, np.random.default_rng(seed))[0]
    high, low = (crop * 255).round().numpy().astype(int)
    steps = set(np.abs(np.diff(high * 256 + low, axis=0)).ravel()) | set(
        np.abs(np.diff(high * 256 + low, axis=1)).ravel()
    )
    assert steps == {1, 16}


def test_an_image_as_large_as_the_crop_can_be_cropped_and_all_eight_symmetries_occur():
    image = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
    crops = Views((image,)).crops(0, 4, 200, np.random.default_rng(0))
    assert len({tuple((crop * 255).round().int().ravel().tolist()) for crop in crops}) == 8


def test_crops_of_three_images_keep_their_direction():
    image = np.arange(100, dtype=np.uint8).reshape(1, 10, 10)
    crops = Views((image,) * 3).crops(1, 4, 50, np.random.default_rng(0))
    assert torch.allclose(crops.diff(dim=3), torch.tensor(1 / 255))


def test_slices_across_each_axis_are_those_of_numpy():
    volumes = torch.arange(2 * 3 * 4 * 4 * 4).reshape(2, 3, 4, 4, 4).float()
    for axis in range(3):
        stack = every_slice(volumes, axis)
        for place in range(4):
            assert np.array_equal(stack[4 + place], volumes[1].numpy().take(place, axis + 1))


def test_random_slices_are_slices_and_none_is_taken_twice():
    volumes = torch.randn(2, 1, 4, 4, 4)
    for axis in range(3):
        every = [tuple(s.ravel().tolist()) for s in every_slice(volumes, axis)]
        found = [
            tuple(s.ravel().tolist())
            for s in random_slices(volumes, axis, 8, np.random.default_rng(axis))
        ]
        assert sorted(found) == sorted(every)
        assert found != every


def test_images_of_different_shapes_or_two_images_are_refused():
    with pytest.raises(InputError, match="same size"):
        views(blobs(64), blobs(64), blobs(48))
    with pytest.raises(InputError, match="one, or three"):
        views(blobs(64), blobs(64))


# Losses


def test_the_penalty_of_a_linear_critic_is_known():
    """The gradient of w.x is w everywhere, so the penalty is (|w| - 1)^2, and its own gradient 2 (|w| - 1) w / |w|."""
    linear = nn.Sequential(nn.Flatten(), nn.Linear(9, 1, bias=False))
    weight = linear[1].weight
    penalty = gradient_penalty(linear, torch.randn(5, 1, 3, 3))
    length = weight.norm()
    assert penalty.item() == pytest.approx(((length - 1) ** 2).item(), rel=1e-5)
    penalty.backward()
    torch.testing.assert_close(
        weight.grad, (2 * (length - 1) / length * weight).detach(), rtol=1e-4, atol=1e-6
    )


def test_the_loss_of_critics_is_generated_minus_real_plus_the_weighted_penalty():
    torch.manual_seed(0)
    critics = [Critic(2, (4,), 0.2) for _ in range(3)]
    made, real, mixed = ([torch.rand(4, 2, 8, 8) for _ in range(3)] for _ in range(3))
    loss, distance = CriticLoss(critics, 10.0)(
        made, real, mixed, torch.autocast("cpu", enabled=False)
    )
    far = sum(
        (c(r).mean() - c(m).mean()).item() for c, m, r in zip(critics, made, real, strict=True)
    )
    steep = sum(gradient_penalty(c, m).item() for c, m in zip(critics, mixed, strict=True))
    assert distance.item() == pytest.approx(far, abs=1e-5)
    assert loss.item() == pytest.approx(10 * steep - far, abs=1e-4)


@pytest.mark.parametrize("still", ["generator", "critics"])
def test_a_step_of_the_generator_leaves_the_critics_alone_and_the_other_way_round(still):
    """One of the two optimisers stands still, and so does what it moves."""
    a = adversaries()
    optimisers = {"generator": a.generator_optimiser, "critics": a.critic_optimiser}
    for group in optimisers[still].param_groups:
        group["lr"] = 0.0
    before = {name: copy.deepcopy(dict(getattr(a, name).named_parameters())) for name in optimisers}
    step(a, 1)
    for name, parameters in before.items():
        same = [torch.equal(p, parameters[n]) for n, p in getattr(a, name).named_parameters()]
        assert all(same) if name == still else not any(same)


def test_the_loss_of_the_generator_has_no_gradient_by_the_weights_of_critics():
    a = adversaries()
    latent = noise(TINY, 2, cube(CROP_NODES), np.random.default_rng(0))
    a.generator_loss(latent, a.place.cast("float32")).backward()
    assert all(p.grad is None for p in a.critics.parameters())
    assert all(p.grad is not None for p in a.generator.parameters())


def test_the_generator_is_judged_by_all_slices_of_all_axes():
    volumes = torch.rand(2, 2, 8, 8, 8)
    (one,) = by_critic(volumes, 1)
    three = by_critic(volumes, 3)
    assert one.shape == (2 * 8 * 3, 2, 8, 8)
    assert torch.equal(torch.cat(three), one)


def test_three_images_have_three_critics_that_differ():
    a = adversaries(views(*layers(64)))
    step(a, 1)
    first, second, third = (c.convs[0].weight for c in a.critics)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)


def test_each_critic_sees_slices_across_its_own_axis():
    """A generator of layers along z: slices across z are flat, those across y and x are not."""
    a, seen = adversaries(views(*layers(64))), []
    a.critic_loss.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    z = 20.0 * (torch.arange(16).reshape(1, 1, 16, 1, 1) % 2) - 10
    sides = z * torch.tensor([1.0, -1]).reshape(1, 2, 1, 1, 1)
    a.generator.register_forward_hook(lambda _, given, logits: 0 * logits + sides)
    step(a, 1)
    varying = [float(made.diff(dim=2).abs().max()) for made in seen[0]]
    assert [round(v) for v in varying] == [0, 1, 1]


def test_the_average_follows_and_begins_with_the_first_steps():
    a = adversaries(options=replace(OPTIONS, average=0.9))
    means = {n: p.clone() for n, p in a.average.named_parameters()}
    for number in (1, 2):
        step(a, number)
        keep = min(0.9, number / (number + 10))
        for name, now in a.generator.named_parameters():
            means[name] = keep * means[name] + (1 - keep) * now.detach()
            torch.testing.assert_close(dict(a.average.named_parameters())[name], means[name])


class Half(Place):
    """Mixed precision on a CPU, which has none of its own accord."""

    def cast(self, precision):
        return torch.autocast("cpu", dtype=getattr(torch, precision))


def test_half_precision_leaves_the_weights_in_single_and_the_losses_near():
    """On a CPU by force: what is bfloat16 on CUDA."""
    single, half = adversaries(), adversaries(place=Half(torch.device("cpu")))
    plain, rounded = step(single, 1), step(half, 1)
    assert rounded != plain
    assert rounded["critic_loss"] == pytest.approx(plain["critic_loss"], rel=0.05)
    assert {p.dtype for p in [*half.generator.parameters(), *half.critics.parameters()]} == {
        torch.float32
    }
    assert not torch.equal(half.generator.convs[0].weight, half.average.convs[0].weight)


@pytest.mark.gpu
def test_cuda_trains_in_half_precision_and_goes_on_from_its_file(tmp_path):
    first = TrainingRun(training(), tmp_path / "state", Place(torch.device("cuda")))
    records = list(first.steps(Schedule(3, 3)))
    second = TrainingRun(training(), tmp_path / "state", Place(torch.device("cuda")))
    assert second.done == 3
    assert_same(state(second), state(first))
    alone = list(course(tmp_path / "cpu").steps(Schedule(3, 3)))
    assert records[0]["critic_loss"] == pytest.approx(alone[0]["critic_loss"], rel=0.05)


def test_options_out_of_range_are_refused():
    for wrong in (
        {"batch": 0},
        {"learning_rate": 0.0},
        {"average": 1.0},
        {"seed": -1},
        {"penalties": 0},
    ):
        with pytest.raises(ArgumentError):
            AdversarialOptions(**wrong)
    for wrong in ({"steps": 0}, {"steps": 3, "every": 0}, {"steps": 3, "seconds": 0.0}):
        with pytest.raises(ArgumentError):
            Schedule(**wrong)


# The course


def test_the_same_seed_gives_the_same_weights_and_another_does_not(tmp_path):
    first, second = (finished(tmp_path / name, 2)[0] for name in "ab")
    assert_same(state(first), state(second))
    other = finished(tmp_path / "c", 2, options=replace(OPTIONS, seed=1))[0]
    assert not torch.equal(
        other.learner.parts()["generator"].convs[0].weight,
        first.learner.parts()["generator"].convs[0].weight,
    )


def test_the_random_numbers_of_the_caller_are_left_alone(tmp_path):
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    finished(tmp_path / "a", 1)
    assert torch.equal(torch.rand(3), expected)


# Every image at one moment, and one image at every moment.
CUTS = [*((3, images) for images in SEEN), *((moment, next(iter(SEEN))) for moment in (1, 5))]


@pytest.mark.parametrize(("moment", "images"), CUTS)
@pytest.mark.long
def test_a_training_killed_in_a_step_and_resumed_ends_with_the_same_bits(tmp_path, moment, images):
    asked = training(seen=SEEN[images]())
    whole = TrainingRun(Changed(asked), tmp_path / "whole")
    records = list(whole.steps(Schedule(6, 3)))
    cut = TrainingRun(Changed(asked, killed_in(moment + 1)), tmp_path / "cut")
    with pytest.raises(KilledError):
        list(cut.steps(Schedule(6, 3, keep_seconds=0.0)))
    resumed = TrainingRun(Changed(asked), tmp_path / "cut")
    assert resumed.done == moment
    assert list(resumed.steps(Schedule(6, 3))) == records[moment:]
    assert_same(state(resumed), state(whole))
    assert resumed.history == whole.history


@pytest.mark.slow
def test_a_killed_process_goes_on_to_the_same_file(tmp_path):
    script = Path(__file__).parents[1] / "train_tiny.py"
    for name, kill in (("whole", "0"), ("cut", "4"), ("cut", "0")):
        done = subprocess.run(
            [sys.executable, str(script), str(tmp_path / name), kill], env={**os.environ, "OMP_NUM_THREADS": "1"},
            cwd=script.parents[1], capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == (-9 if kill == "4" else 0), done.stderr
    assert (tmp_path / "cut").read_bytes() == (tmp_path / "whole").read_bytes()


def test_more_steps_go_on_from_the_end(tmp_path):
    whole = finished(tmp_path / "whole", 6)[0]
    finished(tmp_path / "part", 3)
    longer = finished(tmp_path / "part", 6)[0]
    assert_same(state(longer), state(whole))


def test_the_time_ends_a_call_and_the_next_goes_on(tmp_path):
    made = course(tmp_path / "a")
    assert list(made.steps(Schedule(6, 3, seconds=1e-9))) == []
    assert len(list(made.steps(Schedule(6, 3)))) == 6


def test_a_state_of_other_images_or_options_is_refused_and_a_damaged_one_too(tmp_path):
    path = tmp_path / "state"
    finished(path, 1)
    for other in (
        {"options": replace(OPTIONS, learning_rate=1.0)},
        {"seen": views(blobs(64, seed=9))},
    ):
        with pytest.raises(MixedRunError, match="--overwrite"):
            course(path, **other)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"damaged.*--overwrite"):
        course(path)


class Scores(Judge):
    """Says what it was told to say."""

    def errors(self, net):
        value = SCORES.pop(0)
        return {"fraction_error": 0.0, "s2_error": value, "score": value}


SCORES: list[float] = []


def test_the_best_look_is_kept_not_the_last(tmp_path):
    SCORES[:] = [0.3, 0.1, 0.2]
    nets = []
    made = course(tmp_path / "a", judge=Scores(target_of([blobs(64)], 2, 16), 0))
    for _ in made.steps(Schedule(3, 1), lambda run: nets.append(run.judged)):
        pass
    assert made.best["step"] == 2
    assert_same(dict(made.chosen().state_dict()), dict(nets[1].state_dict()))
    assert not torch.equal(nets[1].convs[0].weight, nets[2].convs[0].weight)
    again = course(tmp_path / "a")
    assert_same(dict(again.chosen().state_dict()), dict(nets[1].state_dict()))


def test_losses_that_are_no_numbers_end_the_training(tmp_path):
    run = TrainingRun(Changed(training(), losing({"critic_loss": float("nan")})), tmp_path / "a")
    with pytest.raises(ArgumentError, match=r"losses of step 1 .* learning rate below 0.001"):
        list(run.steps(Schedule(2, 3)))


# Selection


def test_a_calibrated_net_normalises_what_it_makes():
    torch.manual_seed(0)
    net = Generator(TINY)
    made = calibrated(net, seed=0, batches=8)
    assert not made.training
    values = made.convs[0](noise(TINY, 8, cube(8), np.random.default_rng(1)))
    normal = made.bns[0](values)
    assert normal.mean((0, 2, 3, 4)).abs().max() < 0.1
    assert (normal.std((0, 2, 3, 4)) - 1).abs().max() < 0.1
    assert torch.equal(net.bns[0].running_mean, torch.zeros(8))


def test_a_judge_says_the_same_twice_and_uses_noise_of_its_own():
    net = calibrated(Generator(TINY), 0)
    judge = Judge(target_of([blobs(64)], 2, judged_edge(TINY)), 0)
    assert judge.errors(net) == judge.errors(net)
    own, training = (
        np.random.default_rng(seed).standard_normal(4) for seed in ([0, 0, 1], [0, 1, 0])
    )
    assert not np.allclose(own, training)
    assert voxels_of(net, np.random.default_rng(0), cube(5)).shape == (judged_edge(TINY) - 24,) * 3


# Several processes


@pytest.mark.long
def test_two_processes_hold_the_same_weights_and_make_the_mean_step(tmp_path):
    """Each draws its own samples; the gradient is the mean of theirs."""
    script = Path(__file__).parents[1] / "train_tiny.py"
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
    }
    environment["MASTER_PORT"] = str(free_port())
    running = [
        subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / "state"), "dump"],
            cwd=script.parents[1],
            env={**environment, "RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], errors
    first, second = (torch.load(tmp_path / f"state.{rank}", weights_only=True) for rank in range(2))
    assert_same(first, second)
    alone = [mean_gradient(rank) for rank in range(2)]
    for name, both in first.items():
        if name.startswith("grad."):
            expected = (alone[0][name] + alone[1][name]) / 2
            torch.testing.assert_close(both, expected, rtol=1e-4, atol=1e-6)


def mean_gradient(rank):
    """Gradient of the first critic step as one process draws it alone."""
    a = adversaries(options=replace(OPTIONS, critic_steps=1))
    a.step(1, generator(OPTIONS.seed, 1, rank))
    return {f"grad.{name}": p.grad for name, p in a.critics.named_parameters()}
