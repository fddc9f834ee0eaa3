"""Training: what it learns, what it refuses, and that no interruption shows in its result."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.servers import free_port
from tests.trainings import Changed, KilledError, judged, killed_in, losing
from tim3d.errors import ArgumentError, DeviceError, InputError, MixedRunError
from tim3d.grid import Box
from tim3d.kernels.windows.lattice import slice_lattice
from tim3d.models.common.determinism import generator, seeded
from tim3d.models.common.distributed import ALONE
from tim3d.models.common.training_run import Schedule, TrainingRun, Verdict, carry_out
from tim3d.models.segmentation.checkpoint import Normalisation, load
from tim3d.models.segmentation.crops import (
    Augmentation,
    augment,
    crop_edge,
    prepare,
    random_batches,
    split,
)
from tim3d.models.segmentation.inference import Predictor, segment_core
from tim3d.models.segmentation.training import (
    TrainingOptions,
    UNetTraining,
    confusion_matrix,
    loss,
    mean_iou,
    train,
)
from tim3d.models.segmentation.unet import UNetSpec

SPEC = UNetSpec(classes=("pore", "solid"), encoder="mobilenet_v2", depth=2, decoder_channels=(8, 4))
QUICK = TrainingOptions(epochs=4, steps=3, batch=2, crop=32, patience=9, device="cpu", threads=1)
SPACING = (20.0, 5.0, 5.0)


def discs(count=6, edge=48, seed=0):
    """Bright discs in a dark slice with noise, and their labels."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((edge, edge))
    labels = np.zeros((count, edge, edge), np.uint8)
    for image in labels:
        for cy, cx in rng.integers(0, edge, (5, 2)):
            image[(y - cy) ** 2 + (x - cx) ** 2 < 49] = 1
    grey = 70 + 90 * labels + 25 * rng.standard_normal(labels.shape)
    return np.clip(grey, 0, 255).astype(np.uint8), labels


def weights(path):
    return load(path).model.state_dict()


def same(a, b):
    return all(torch.equal(a[k], b[k]) for k in a) and a.keys() == b.keys()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "net.safetensors"
    records = []
    train(*discs(), SPEC, path, QUICK, spacing_nm=SPACING, on_epoch=records.append)
    return path, records


@pytest.mark.long
def test_it_learns_to_tell_discs_from_ground(tmp_path):
    path = tmp_path / "net.safetensors"
    options = dataclasses.replace(QUICK, epochs=6, steps=10, batch=4)
    checkpoint = train(*discs(), SPEC, path, options, spacing_nm=SPACING)
    grey, truth = discs(seed=9)
    whole = Box.whole(grey.shape)
    found = segment_core(
        Predictor(str(path), checkpoint.sha256), slice_lattice(grey.shape, 4), whole, grey, whole
    )
    assert mean_iou(confusion_matrix(found["labels"], truth, 2)) > 0.85


def test_the_checkpoint_tells_how_it_was_trained(trained):
    path, records = trained
    about = load(path).description
    assert about.spacing_nm == SPACING
    assert about.spec == SPEC
    assert [r["epoch"] for r in records] == [1, 2, 3, 4]
    assert about.training["history"] == records
    assert about.training["best_val_iou"] == max(r["val_iou"] for r in records)
    assert about.training["steps"] == 12
    assert about.training["options"]["seed"] == 0
    assert not Path(f"{path}.state").exists()


def training(options=QUICK, seed=0):
    slices, normalisation = prepare(*discs(seed=seed), SPEC)
    return UNetTraining(slices, SPEC, options, normalisation, SPACING)


def scored(*ious):
    return judged([-iou for iou in ious], lambda score: {"val_loss": 1.0, "val_iou": -score})


def carried_out(asked, path, options=QUICK, **named):
    schedule = Schedule(options.epochs, 1, patience=options.patience, unit="epoch")
    return carry_out(asked, path, schedule, state=f"{path}.state", device="cpu", threads=1, **named)


@pytest.mark.long
def test_the_best_epoch_is_kept(tmp_path):
    path, weight, seen = tmp_path / "net.safetensors", "encoder.features.0.0.weight", []
    asked = Changed(training(), scored(0.5, 0.8, 0.7, 0.8))
    carried_out(
        asked, path, on_look=lambda run: seen.append(run.judged.state_dict()[weight].clone())
    )
    checkpoint = load(path)
    assert checkpoint.description.training["best_epoch"] == 2
    first = checkpoint.model.state_dict()[weight]
    assert [n for n, w in enumerate(seen, 1) if torch.equal(w, first)] == [2]


def test_it_stops_when_patience_is_at_its_end(tmp_path):
    options = dataclasses.replace(QUICK, epochs=9, patience=2, steps=1)
    asked = Changed(training(options), scored(0.5, 0.8, 0.7, 0.8, 0.9))
    assert carried_out(asked, tmp_path / "net", options).done == 4


@pytest.mark.long
def test_the_same_seed_gives_the_same_file_and_another_one_does_not(tmp_path, trained):
    train(*discs(), SPEC, tmp_path / "a", QUICK, spacing_nm=SPACING)
    assert (tmp_path / "a").read_bytes() == trained[0].read_bytes()
    train(*discs(), SPEC, tmp_path / "b", dataclasses.replace(QUICK, seed=1), spacing_nm=SPACING)
    assert not same(weights(tmp_path / "b"), weights(trained[0]))


def test_two_seeds_see_other_crops_from_the_same_first_weights():
    """And one seed other crops in every epoch: what a step draws follows from the seed and its number."""

    def first_loss(seed, number=1):
        torch.manual_seed(3)
        learner = training().start(ALONE)
        with seeded(seed, number):
            return learner.step(1, generator(seed, number))["loss"]

    losses = [first_loss(0), first_loss(1), first_loss(0, 2)]
    assert len(set(losses)) == 3
    assert first_loss(1) == losses[1]


def test_a_run_gives_its_steps_what_follows_from_seed_and_number(tmp_path):
    """The draws of every step, by a training that does nothing but draw."""

    class Drawing:
        def __init__(self, seed):
            self.seed, self.drawn = seed, []
            self.product = torch.nn.Linear(1, 1)

        def key(self):
            return {}

        def start(self, place):
            return self

        def parts(self):
            return {"net": self.product}

        def step(self, number, rng):
            self.drawn.append((number, *rng.random(2), *torch.rand(2).tolist()))
            return {"loss": 0.0}

        def judge(self):
            return Verdict(0.0)

        def save(self, path, run):
            path.touch()

    def drawn(seed, steps, name):
        asked = Drawing(seed)
        carry_out(
            asked,
            tmp_path / name,
            Schedule(steps),
            state=tmp_path / f"{name}.state",
            device="cpu",
            threads=1,
        )
        return asked.drawn

    first, again, other = drawn(0, 3, "a"), drawn(0, 2, "b"), drawn(1, 3, "c")
    assert [step[0] for step in first] == [1, 2, 3]
    assert first[:2] == again
    assert (
        len({value for step in first + other for value in step[1:]}) == 6 * 4
    )  # no number is drawn twice


def test_the_learning_rate_falls_along_half_a_cosine_to_a_hundredth():
    """Written out: the whole rate in the first batch, 0.505 of it after half of them, 0.155 after three quarters."""
    options = dataclasses.replace(QUICK, epochs=4, steps=1, learning_rate=0.02)
    learner, rates = training(options).start(ALONE), []
    for number in range(1, 5):
        learner.step(number, np.random.default_rng(0))
        rates += [
            group["lr"] for group in learner.parts()["optimiser"].state_dict()["param_groups"]
        ]
    assert rates == pytest.approx([0.02, 0.02 * 0.855018, 0.02 * 0.505, 0.02 * 0.154982], rel=1e-5)


def test_the_loss_is_cross_entropy_plus_dice_with_equal_weights():
    """An undecided network: ln 2, and 1 - 2 * 2 / (4 + 4) for each of two classes of four pixels out of eight."""
    labels = torch.tensor([[[0, 0, 0, 0], [1, 1, 1, 1]]])
    assert float(loss(torch.zeros(1, 2, 2, 4), labels)) == pytest.approx(math.log(2) + 0.5)
    sure = torch.nn.functional.one_hot(labels, 2).permute(0, 3, 1, 2) * 200.0
    assert float(loss(sure, labels)) == pytest.approx(0, abs=1e-6)
    assert float(loss(-sure, labels)) == pytest.approx(200 + 1)


def test_the_generators_of_the_caller_are_left_alone(tmp_path):
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    threads = torch.get_num_threads()
    train(*discs(), SPEC, tmp_path / "a", dataclasses.replace(QUICK, epochs=1), spacing_nm=SPACING)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("moment", [1, 3])
def test_a_training_killed_after_an_epoch_ends_with_the_same_bytes(tmp_path, trained, moment):
    def killer(record):
        if record["epoch"] == moment:
            raise KilledError

    path = tmp_path / "net.safetensors"
    with pytest.raises(KilledError):
        train(*discs(), SPEC, path, QUICK, spacing_nm=SPACING, on_epoch=killer)
    assert not path.exists()
    rest = []
    train(*discs(), SPEC, path, QUICK, spacing_nm=SPACING, on_epoch=rest.append)
    assert [r["epoch"] for r in rest] == list(range(moment + 1, 5))
    assert path.read_bytes() == trained[0].read_bytes()


@pytest.mark.parametrize("epoch", [1, 2, 4])
def test_a_training_killed_within_an_epoch_ends_with_the_same_bytes(tmp_path, trained, epoch):
    path = tmp_path / "net.safetensors"
    with pytest.raises(KilledError):
        carried_out(Changed(training(), killed_in(epoch)), path)
    assert TrainingRun(Changed(training()), f"{path}.state").done == epoch - 1
    carried_out(Changed(training()), path)
    assert path.read_bytes() == trained[0].read_bytes()


@pytest.mark.long
def test_a_killed_process_is_resumed_by_the_next(tmp_path, trained):
    path = tmp_path / "net.safetensors"
    script = f"""
        import os, signal
        from tests.unit.test_models_training import *
        def killer(record):
            if record["epoch"] == 2:
                os.kill(os.getpid(), signal.SIGKILL)
        train(*discs(), SPEC, {str(path)!r}, QUICK, spacing_nm=SPACING, on_epoch=killer)
    """
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=root, check=False, env={**os.environ}
    )
    assert done.returncode == -signal.SIGKILL
    train(*discs(), SPEC, path, QUICK, spacing_nm=SPACING)
    assert path.read_bytes() == trained[0].read_bytes()


TWO = """
import sys
from tests.unit.test_models_training import *
quick = dataclasses.replace(QUICK, epochs=1)
run = carried_out(training(quick), sys.argv[1], quick)
torch.save(dict(run.learner.product.named_parameters()), f"{sys.argv[1]}.{run.place.rank}")
"""


@pytest.mark.slow
def test_two_processes_train_one_network_on_crops_of_their_own(tmp_path):
    path, quick = tmp_path / "net.safetensors", dataclasses.replace(QUICK, epochs=1)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
    }
    environment["MASTER_PORT"] = str(free_port())
    command = [sys.executable, "-c", TWO, str(path)]
    root = Path(__file__).parents[2]
    running = [
        subprocess.Popen(command, cwd=root, env={**environment, "RANK": str(rank)})
        for rank in range(2)
    ]
    assert [process.wait(200) for process in running] == [0, 0]
    first, second = (torch.load(f"{path}.{rank}") for rank in range(2))
    assert same(first, second)
    assert same({name: weights(path)[name] for name in first}, first)
    alone = carried_out(training(quick), tmp_path / "alone", quick)
    assert not same(dict(alone.learner.product.named_parameters()), first)


@pytest.mark.long
def test_a_state_of_another_training_is_refused(tmp_path):
    def killer(record):
        raise KilledError

    path = tmp_path / "net.safetensors"
    with pytest.raises(KilledError):
        train(*discs(), SPEC, path, QUICK, spacing_nm=SPACING, on_epoch=killer)
    with pytest.raises(MixedRunError, match="Start again with --overwrite"):
        train(*discs(seed=1), SPEC, path, QUICK, spacing_nm=SPACING)
    with pytest.raises(MixedRunError, match="Start again with --overwrite"):
        train(
            *discs(), SPEC, path, dataclasses.replace(QUICK, learning_rate=1e-4), spacing_nm=SPACING
        )
    state = Path(f"{path}.state")
    whole = state.read_bytes()
    for place in (0, 20, 1000, len(whole) // 2, len(whole) - 1):
        for damaged in (
            whole[:place],
            whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :],
        ):
            state.write_bytes(damaged)
            with pytest.raises(
                InputError, match=r"cannot be resumed\. Start again with --overwrite"
            ):
                train(*discs(), SPEC, path, QUICK, spacing_nm=SPACING)


def test_unlabelled_pixels_do_not_count():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 2, 8, 8), torch.randint(0, 2, (2, 8, 8))
    sparse = labels.clone()
    sparse[:, :, 4:] = 255
    changed = logits.clone()
    changed[..., 4:] += 9 * torch.randn(2, 2, 8, 4)
    assert torch.allclose(loss(logits, sparse), loss(changed, sparse))
    assert torch.allclose(loss(logits[..., :4], labels[..., :4]), loss(logits, sparse))
    assert loss(logits, torch.full_like(labels, 255)) == 0


def test_slices_that_the_network_cannot_halve_are_judged_on_their_own_pixels(tmp_path):
    grey, labels = (array[:, :47, :45] for array in discs())
    wide = ((0, 0), (0, 1), (0, 3))
    by_hand = np.pad(grey, wide, "reflect"), np.pad(labels, wide, constant_values=255)
    verdicts = [first_verdict(*pair) for pair in ((grey, labels), by_hand)]
    assert verdicts[0] == verdicts[1]


def first_verdict(grey, labels):
    """Verdict of the first weights on the last slices."""
    norm = Normalisation("volume", (100.0,), (50.0,))
    slices, _ = prepare(grey, labels, SPEC, norm)
    torch.manual_seed(0)
    return UNetTraining(slices, SPEC, QUICK, norm, SPACING).start(ALONE).judge()


def test_slices_with_few_labels_train(tmp_path):
    grey, labels = discs()
    sparse = np.full_like(labels, 255)
    sparse[:, 10:14, :] = labels[:, 10:14, :]
    checkpoint = train(
        grey, sparse, SPEC, tmp_path / "a", dataclasses.replace(QUICK, epochs=1), spacing_nm=SPACING
    )
    assert 0 <= checkpoint.description.training["best_val_iou"] <= 1


def test_mean_iou_by_hand():
    truth = np.array([0, 0, 1, 1, 2, 255])
    found = np.array([0, 1, 1, 1, 0, 0])
    assert mean_iou(confusion_matrix(found, truth, 4)) == pytest.approx((1 / 3 + 2 / 3 + 0) / 3)


def test_validation_is_the_last_run_of_slices():
    grey, labels = discs(10)
    slices, _ = prepare(grey, labels, SPEC)
    for fraction, held_out in (
        (0.25, 2),
        (0.28, 3),
        (0.01, 1),
    ):  # to the nearest number, at least one
        assert [len(part) for part in split(slices, fraction)] == [10 - held_out, held_out]
    _, last = split(slices, 0.25)
    assert np.array_equal(last.labels, labels[8:])
    labels[8:] = 255
    bare, _ = prepare(grey, labels, SPEC)
    with pytest.raises(InputError, match="validation slices have no label"):
        split(bare, 0.25)


def test_neighbours_come_from_the_stack_and_their_own_row_of_the_table():
    spec = dataclasses.replace(SPEC, in_channels=3)
    grey, labels = discs(4)
    slices, norm = prepare(grey, labels, spec)
    assert np.array_equal(slices.images[0], grey[[1, 0, 1]])
    assert np.array_equal(slices.images[2], grey[[1, 2, 3]])
    assert norm.mean[0] == pytest.approx(grey.mean())
    table = Normalisation("table", tuple(map(float, range(10, 20))), (2.0,) * 10)
    numbered, _ = prepare(slices.images, labels, spec, table, numbers=[0, 3, 4, 9])
    assert numbered.mean.tolist() == [[11, 10, 11], [12, 13, 14], [13, 14, 15], [18, 19, 18]]
    image, _ = numbered.cut(1, np.arange(-2, 50), np.arange(4, 8))
    assert image.shape == (3, 52, 4)
    assert image[2, 2, 0] == (float(slices.images[1, 2, 0, 4]) - 14) / 2
    assert image[0, 0, 0] == image[0, 4, 0]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda g, y: (g[:3], y), "expected 1 channels"),
        (lambda g, y: (g[:, :20], y), "expected 1 channels"),
        (lambda g, y: (g[:1], y[:1]), "2 or more"),
        (lambda g, y: (g, y + 1), "labels hold 2"),
        (lambda g, y: (np.where(y, np.nan, 1.0), y), "not numbers"),
        (lambda g, y: (np.full_like(g, 7), y), "grey value 7"),
        (lambda g, y: (g, np.full_like(y, 255)), "no label"),
    ],
)
def test_what_cannot_train_is_refused_before_anything_is_written(tmp_path, damage, words):
    with pytest.raises(InputError, match=words):
        train(*damage(*discs()), SPEC, tmp_path / "net", QUICK, spacing_nm=SPACING)
    assert not list(tmp_path.iterdir())


def test_a_table_needs_the_numbers_of_the_slices(tmp_path):
    table = Normalisation("table", (1.0,) * 6, (1.0,) * 6)
    with pytest.raises(InputError, match="numbers"):
        train(*discs(), SPEC, tmp_path / "net", QUICK, spacing_nm=SPACING, normalisation=table)


@pytest.mark.parametrize(
    "change", [{"epochs": 0}, {"validation_fraction": 1.0}, {"learning_rate": 0.0}, {"seed": -1}]
)
def test_options_out_of_range_are_refused(change):
    with pytest.raises(ArgumentError, match=next(iter(change)).replace("_", " ")):
        dataclasses.replace(QUICK, **change)


def test_a_training_that_diverges_says_so(tmp_path):
    run = TrainingRun(Changed(training(), losing({"loss": float("nan")})), tmp_path / "state")
    with pytest.raises(ArgumentError, match=r"loss.* of epoch 1 .* learning rate below 0.004"):
        list(run.steps(Schedule(1, unit="epoch")))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_cuda_is_asked_for_in_vain(tmp_path):
    with pytest.raises(DeviceError, match="use --device cpu"):
        train(
            *discs(),
            SPEC,
            tmp_path / "net",
            dataclasses.replace(QUICK, device="cuda"),
            spacing_nm=SPACING,
        )


def test_image_and_labels_turn_together():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (16, 16)).astype(np.uint8)
    seen = set()
    for _ in range(60):
        image, turned = augment(
            labels[None].astype(np.float32),
            labels,
            Augmentation(brightness=0, contrast=0, noise=0),
            rng,
        )
        assert np.array_equal(image[0], turned)
        seen.add(turned.tobytes())
    assert len(seen) == 8


def test_grey_changes_leave_the_labels_and_have_the_size_asked_for():
    rng = np.random.default_rng(1)
    still = Augmentation(flips=False, rotations=False, brightness=0.3, contrast=0.0, noise=0.0)
    flat, labels = np.zeros((1, 4, 4), np.float32), np.eye(4, dtype=np.uint8)
    shifts = [augment(flat, labels, still, rng)[0][0, 0, 0] for _ in range(800)]
    assert np.std(shifts) == pytest.approx(0.3, rel=0.1)
    assert np.array_equal(augment(flat, labels, still, rng)[1], labels)


def test_crops_are_square_of_the_stride_and_hold_labels():
    grey, labels = discs(edge=45)
    sparse = np.full_like(labels, 255)
    sparse[1:5, 30, 44] = 1
    slices, _ = prepare(grey, sparse, SPEC)
    assert crop_edge(slices, 45, 4) == 44
    assert crop_edge(slices, 16, 4) == 16
    rng = np.random.default_rng(0)
    for images, found in random_batches(slices, 16, 3, 20, Augmentation(), rng):
        assert images.shape == (3, 1, 16, 16)
        assert images.dtype == np.float32
        assert found.dtype == np.int64
        assert (found != 255).any(axis=(1, 2)).all()


def test_a_lone_labelled_pixel_lies_anywhere_in_its_crops():
    """Not in one corner of all of them, where a network would see it with half of its surroundings."""
    labels = np.full((2, 64, 64), 255, np.uint8)
    labels[0, 40, 30] = labels[1, 30, 40] = 1
    slices, _ = prepare(discs(2, 64)[0], labels, SPEC)
    still, rng = Augmentation(False, False, 0, 0, 0), np.random.default_rng(3)
    places = [
        np.argwhere(found[0] != 255) for _, found in random_batches(slices, 16, 1, 80, still, rng)
    ]
    assert all(len(one) == 1 for one in places)
    for axis in range(2):
        seen = {int(one[0, axis]) for one in places}
        assert len(seen) > 10
        assert min(seen) < 3
        assert max(seen) > 12
