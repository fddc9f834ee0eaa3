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
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.micrographs import blobs, layers, shades
from tests.servers import free_port
from tim3d.errors import ArgumentError, CheckpointError, InputError, MixedRunError
from tim3d.kernels.generation.architecture import Architecture
from tim3d.kernels.statistics.generator_score import target_of
from tim3d.kernels.statistics.grey_statistics import grey_target
from tim3d.models.generation.adversarial import AdversarialOptions, Adversaries, CriticLoss, by_critic, gradient_penalty
from tim3d.models.generation.adversarial_run import Course, Schedule
from tim3d.models.generation.checkpoint_selection import Judge, calibrated, cube, judged_edge, voxels_of
from tim3d.models.generation.slice_sampler import Views, every_slice, noise, one_hot, random_slices
from tim3d.models.generation.slicegan import Critic, Generator

TINY = Architecture("tiny", "transposed", (4, 8, 8, 2), (2, 2, 3), (8, 16))
# By the channels of what is seen.
NETS = {
    1: Architecture("tiny", "transposed", (4, 8, 8, 1), (2, 2, 3), (8, 16), "grey"),
    2: TINY,
    3: Architecture("tiny", "transposed", (4, 8, 8, 3), (2, 2, 3), (8, 16), "colour"),
}
OPTIONS = AdversarialOptions(batch=2, slices=4, critic_steps=2, penalties=6, learning_rate=1e-3)
CPU = torch.device("cpu")


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


def course(path, options=OPTIONS, seen=None, judge=None):
    seen = seen or views()
    edge = judged_edge(TINY)
    target = target_of([blobs(64)], 2, edge) if seen.channels == 2 else grey_target(seen.images, edge)
    return Course(Adversaries(NETS[seen.channels], seen, options, CPU), judge or Judge(target, 0), path)


def finished(path, steps=6, **kwargs):
    made = course(path, **kwargs)
    records = list(made.run(Schedule(steps, 3)))
    return made, records


def state(made):
    parts = made._parts() | {"best": made.chosen()}
    tensors = {f"{part}.{name}": v for part, net in parts.items() for name, v in net.state_dict().items()}
    for part, optimiser in made._optimisers().items():
        for number, values in optimiser.state_dict()["state"].items():
            tensors |= {f"{part}.{number}.{name}": v for name, v in values.items()}
    return tensors


def assert_same(a, b):
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


# Views


@given(seed=st.integers(0, 1000), edge=st.sampled_from([3, 8, 16]))
@settings(max_examples=25, deadline=None)
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
        found = [tuple(s.ravel().tolist()) for s in random_slices(volumes, axis, 8, np.random.default_rng(axis))]
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
    torch.testing.assert_close(weight.grad, (2 * (length - 1) / length * weight).detach(), rtol=1e-4, atol=1e-6)


def test_the_loss_of_critics_is_generated_minus_real_plus_the_weighted_penalty():
    torch.manual_seed(0)
    critics = [Critic(2, (4,), 0.2) for _ in range(3)]
    made, real, mixed = ([torch.rand(4, 2, 8, 8) for _ in range(3)] for _ in range(3))
    loss, distance = CriticLoss(critics, 10.0)(made, real, mixed, torch.autocast("cpu", enabled=False))
    far = sum((c(r).mean() - c(m).mean()).item() for c, m, r in zip(critics, made, real, strict=True))
    steep = sum(gradient_penalty(c, m).item() for c, m in zip(critics, mixed, strict=True))
    assert distance.item() == pytest.approx(far, abs=1e-5)
    assert loss.item() == pytest.approx(10 * steep - far, abs=1e-4)


def test_a_step_of_the_generator_leaves_the_critics_alone_and_the_other_way_round():
    a = Adversaries(TINY, views(), OPTIONS, CPU)
    rng = np.random.default_rng(0)
    before = [copy.deepcopy(net.state_dict()) for net in (a.generator, a.critics)]
    a._critic_step(rng)
    weights = {name for name, _ in a.generator.named_parameters()}
    assert_same({n: before[0][n] for n in weights}, {n: v for n, v in a.generator.state_dict().items() if n in weights})
    between = copy.deepcopy(a.critics.state_dict())
    assert any(not torch.equal(before[1][name], between[name]) for name in between)
    a.critic_optimiser.zero_grad()
    a._generator_step(rng)
    assert_same(between, dict(a.critics.state_dict()))
    assert all(p.grad is None for p in a.critics.parameters())
    assert any(not torch.equal(before[0][name], a.generator.state_dict()[name]) for name in weights)


def test_the_generator_is_judged_by_all_slices_of_all_axes():
    volumes = torch.rand(2, 2, 8, 8, 8)
    (one,) = by_critic(volumes, 1)
    three = by_critic(volumes, 3)
    assert one.shape == (2 * 8 * 3, 2, 8, 8)
    assert torch.equal(torch.cat(three), one)


def test_three_images_have_three_critics_that_differ():
    a = Adversaries(TINY, views(*layers(64)), OPTIONS, CPU)
    a.step(1)
    first, second, third = (c.convs[0].weight for c in a.critics)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)


def test_each_critic_sees_slices_across_its_own_axis(monkeypatch):
    """A generator of layers along z: slices across z are flat, those across y and x are not."""
    a = Adversaries(TINY, views(*layers(64)), OPTIONS, CPU)
    seen = {}
    monkeypatch.setattr(
        a.critic_loss,
        "forward",
        lambda made, *rest: seen.update(made=made) or CriticLoss.forward(a.critic_loss, made, *rest),
    )
    z = torch.arange(16).reshape(1, 1, 16, 1, 1) % 2
    monkeypatch.setattr(
        a.generator,
        "forward",
        lambda n: (20.0 * z - 10).expand(len(n), 2, 16, 16, 16) * torch.tensor([1.0, -1]).reshape(1, 2, 1, 1, 1),
    )
    a._critic_step(np.random.default_rng(0))
    varying = [float(made.diff(dim=2).abs().max()) for made in seen["made"]]
    assert [round(v) for v in varying] == [0, 1, 1]


def test_the_average_follows_and_begins_with_the_first_steps():
    a = Adversaries(TINY, views(), replace(OPTIONS, average=0.9), CPU)
    means = {n: p.clone() for n, p in a.average.named_parameters()}
    for number in (1, 2):
        a.step(number)
        keep = min(0.9, number / (number + 10))
        for name, now in a.generator.named_parameters():
            means[name] = keep * means[name] + (1 - keep) * now.detach()
            torch.testing.assert_close(dict(a.average.named_parameters())[name], means[name])


def test_half_precision_leaves_the_weights_in_single_and_the_losses_near(monkeypatch):
    """On a CPU by force: what is bfloat16 on CUDA."""
    single, half = (Adversaries(TINY, views(), OPTIONS, CPU) for _ in range(2))
    monkeypatch.setattr(half, "_cast", lambda: torch.autocast("cpu", dtype=torch.bfloat16))
    plain, rounded = single.step(1), half.step(1)
    assert rounded != plain
    assert rounded["critic_loss"] == pytest.approx(plain["critic_loss"], rel=0.05)
    assert {p.dtype for p in [*half.generator.parameters(), *half.critics.parameters()]} == {torch.float32}
    assert not torch.equal(half.generator.convs[0].weight, half.average.convs[0].weight)


@pytest.mark.gpu
def test_cuda_trains_in_half_precision_and_goes_on_from_its_file(tmp_path):
    def made():
        a = Adversaries(TINY, views(), OPTIONS, torch.device("cuda"))
        return Course(a, Judge(target_of([blobs(64)], 2, judged_edge(TINY)), 0), tmp_path / "state")

    first = made()
    records = list(first.run(Schedule(3, 3)))
    second = made()
    assert second.done == 3
    assert_same(state(second), state(first))
    alone = list(course(tmp_path / "cpu").run(Schedule(3, 3)))
    assert records[0]["critic_loss"] == pytest.approx(alone[0]["critic_loss"], rel=0.05)


def test_options_out_of_range_are_refused():
    for wrong in ({"batch": 0}, {"learning_rate": 0.0}, {"average": 1.0}, {"seed": -1}, {"penalties": 0}):
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
    assert not torch.equal(other.adversaries.generator.convs[0].weight, first.adversaries.generator.convs[0].weight)


def test_the_random_numbers_of_the_caller_are_left_alone(tmp_path):
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    finished(tmp_path / "a", 1)
    assert torch.equal(torch.rand(3), expected)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("images", SEEN)
@pytest.mark.parametrize("moment", [1, 3, 5])
def test_a_training_killed_in_a_step_and_resumed_ends_with_the_same_bits(tmp_path, monkeypatch, moment, images):
    seen = SEEN[images]()
    whole, records = finished(tmp_path / "whole", seen=seen)
    step = Adversaries._generator_step

    def killer(self, rng):
        if made.done == moment:
            raise KilledError
        return step(self, rng)

    with monkeypatch.context() as patch:
        patch.setattr(Adversaries, "_generator_step", killer)
        made = course(tmp_path / "cut", seen=seen)
        with pytest.raises(KilledError):
            list(made.run(Schedule(6, 3, keep_seconds=0.0)))
    resumed = course(tmp_path / "cut", seen=seen)
    assert resumed.done == moment
    assert list(resumed.run(Schedule(6, 3))) == records[moment:]
    assert_same(state(resumed), state(whole))
    assert resumed.history == whole.history


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
    assert list(made.run(Schedule(6, 3, seconds=1e-9))) == []
    assert len(list(made.run(Schedule(6, 3)))) == 6


def test_a_state_of_other_images_or_options_is_refused_and_a_damaged_one_too(tmp_path):
    path = tmp_path / "state"
    finished(path, 1)
    for other in ({"options": replace(OPTIONS, learning_rate=1.0)}, {"seen": views(blobs(64, seed=9))}):
        with pytest.raises(MixedRunError, match="--overwrite"):
            course(path, **other)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
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
    for _ in made.run(Schedule(3, 1), lambda record, net: nets.append(net)):
        pass
    assert made.chosen_record()["step"] == 2
    assert_same(dict(made.chosen().state_dict()), dict(nets[1].state_dict()))
    assert not torch.equal(nets[1].convs[0].weight, nets[2].convs[0].weight)
    again = course(tmp_path / "a")
    assert_same(dict(again.chosen().state_dict()), dict(nets[1].state_dict()))


def test_losses_that_are_no_numbers_end_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(Adversaries, "step", lambda *_: {"critic_loss": float("nan")})
    with pytest.raises(ArgumentError, match="learning rate below"):
        finished(tmp_path / "a", 2)


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
    own, training = (np.random.default_rng(seed).standard_normal(4) for seed in ([0, 0, 1], [0, 1, 0]))
    assert not np.allclose(own, training)
    assert voxels_of(net, np.random.default_rng(0), cube(5)).shape == (judged_edge(TINY) - 24,) * 3


# Several processes


def test_two_processes_hold_the_same_weights_and_make_the_mean_step(tmp_path):
    """Each draws its own samples; the gradient is the mean of theirs."""
    script = Path(__file__).parents[1] / "train_tiny.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
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
    a = Adversaries(TINY, views(), replace(OPTIONS, critic_steps=1), CPU, rank, 1)
    a._critic_step(np.random.default_rng([OPTIONS.seed, 1, rank]))
    return {f"grad.{name}": p.grad for name, p in a.critics.named_parameters()}
