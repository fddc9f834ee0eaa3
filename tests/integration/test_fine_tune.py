"""A promptable network learns from a few labelled slices: random tiny networks, and discs that are the known answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tests.promptable import decoder_weights, saved_folder
from tests.trainings import Changed, KilledError, killed_in
from tim3d import Options, Phases
from tim3d.errors import ArgumentError, InputError, MixedRunError
from tim3d.kernels.masks.mask_set import boxed
from tim3d.models.promptable.file_network import network_of
from tim3d.models.promptable.mask_rules import AsObjects
from tim3d.models.promptable.prompting import Objects
from tim3d.models.promptable.tuning_data import TuningOptions, drawn_prompt
from tim3d.models.segmentation.model_file import read_model

torch = pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")

SHAPE = (13, 48, 64)
QUIET = Options(progress=False, overwrite=True)
LEARNT = slice(0, 12)  # the last slice is neither learnt from nor judged by


def disc(rng: np.random.Generator) -> np.ndarray:
    """A disc somewhere in a slice."""
    rows, columns = np.indices(SHAPE[1:])
    y, x, r = rng.integers(10, 38), rng.integers(10, 54), rng.integers(6, 10)
    return np.hypot(rows - y, columns - x) <= r


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample of bright discs, their labels, and a random network."""
    folder = tmp_path_factory.mktemp("tuned")
    rng = np.random.default_rng(0)
    truth = np.stack([disc(rng) for _ in range(SHAPE[0])])
    grey = np.rint(np.where(truth, 200, 60) + rng.normal(0, 5, SHAPE))
    painted = np.where(np.arange(SHAPE[2]) < 2, 2, truth)
    fields: dict[str, tuple[Any, Phases | None]] = {
        "raw": (grey, None),
        "truth": (truth, Phases(none=0, disc=1)),
        "nothing": (0 * truth, Phases(none=0, disc=1)),
        "painted": (painted, Phases(none=0, disc=1, unlabelled=2)),
    }
    for name, (values, phases) in fields.items():
        np.save(folder / "volume.npy", values.astype(np.uint8))
        tim3d.ingest(
            folder / "volume.npy", str(folder / "a.zarr"), voxel_size={"z": 10, "y": 5, "x": 5}, field=name,
            phases=phases, accept=["saturated"], options=QUIET,
        )  # fmt: skip
    tim3d.import_network(saved_folder("sam", folder / "sam"), folder / "base.safetensors")
    return folder


def tuned(made: Path, name: str, **how: Any) -> Path:
    """The file of a training of a few steps."""
    given = {"labels": "truth", "slices": LEARNT, "steps": 3, "every": 2, "progress": False} | how
    start = given.pop("start_from", made / "base.safetensors")
    return tim3d.fine_tune(str(made / "a.zarr"), made / name, start_from=start, **given)


def overlap(made: Path, model: Path) -> float:
    """IoU of the disc of the last slice, asked for by its box."""
    sample = str(made / "a.zarr")
    tim3d.segment_prompted(
        sample, model=model, prompts=Objects("truth"), masks=AsObjects(empty="accept"), out="found", options=QUIET
    )  # fmt: skip
    found, truth = (tim3d.open_field(sample, name).values[-1] > 0 for name in ("found", "truth"))
    return float((found & truth).sum() / (found | truth).sum())


@pytest.mark.long
def test_discs_are_found_after_and_not_before(made):
    model = tuned(made, "discs.safetensors", steps=150, every=25, learning_rate=5e-3)
    history = read_model(model).description["training"]["history"]
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert overlap(made, made / "base.safetensors") < 0.3
    assert overlap(made, model) > 0.7


@pytest.mark.parametrize("adapt", ["decoder", "lora"])
@pytest.mark.long
def test_a_killed_training_ends_with_the_same_bits(made, adapt, monkeypatch):
    from tim3d.stages.shared import training

    ordinary = training.carry_out

    def changed(name: str, change: Callable[[Any], Any]) -> Path:
        run = lambda one, *rest, **how: ordinary(Changed(one, change), *rest, **how)  # noqa: E731
        monkeypatch.setattr(training, "carry_out", run)
        return tuned(made, name, adapt=adapt)

    whole = changed(f"whole_{adapt}.safetensors", lambda learner: learner).read_bytes()
    name = f"killed_{adapt}.safetensors"
    for step in (1, 3):
        with pytest.raises(KilledError):
            changed(name, killed_in(step))
    assert changed(name, lambda learner: learner).read_bytes() == whole
    with pytest.raises(MixedRunError, match="another network or training"):
        tuned(made, name, adapt=adapt, seed=1)


def test_only_what_is_tuned_changes_and_the_base_is_named(made):
    base = read_model(made / "base.safetensors")
    before = base.tensors()
    changed = {}
    for adapt in ("decoder", "lora"):
        file = read_model(
            tuned(made, f"parts_{adapt}.safetensors", adapt=adapt, learning_rate=1e-2)
        )
        after = file.tensors()
        assert after.keys() == before.keys()
        changed[adapt] = {n for n in before if not torch.equal(before[n], after[n])}
        record = file.description["training"]
        assert record["base"] == {"file": "base.safetensors", "sha256": base.sha256}
        assert record["held_out"] is True
    assert changed["decoder"]
    assert all(name.startswith("mask_decoder.") for name in changed["decoder"])
    encoder = {n for n in changed["lora"] if not n.startswith("mask_decoder.")}
    assert encoder == {f"vision_encoder.layers.{n}.attn.qkv.weight" for n in (0, 1)}
    name = "vision_encoder.layers.0.attn.qkv.weight"
    queries, keys, values = (after[name] - before[name]).chunk(3)
    assert queries.any()
    assert values.any()
    assert not keys.any()


@pytest.mark.long
def test_a_decoder_of_objects_stays_with_the_encoder_that_it_knows(made):
    torch.save(decoder_weights(False), made / "objects.pt")
    base = tim3d.import_network(
        made / "sam", made / "both.safetensors", decoder=made / "objects.pt"
    )
    kept, dropped = (
        read_model(tuned(made, f"both_{adapt}.safetensors", adapt=adapt, start_from=base))
        for adapt in ("decoder", "lora")
    )
    network = network_of(kept)
    assert network.decoder is not None
    assert network.open().decoder is not None
    assert network_of(dropped).decoder is None
    assert not any(name.startswith("object_decoder.") for name in dropped.tensors())


@pytest.mark.long
def test_embeddings_of_the_base_serve_the_tuned_decoder(made):
    sample, base = str(made / "a.zarr"), made / "base.safetensors"
    tim3d.embed(sample, model=base, options=Options(progress=False))
    plain = tuned(made, "plain.safetensors")
    kept = tuned(made, "kept.safetensors", embeddings="raw_embedding")
    assert plain.read_bytes() == kept.read_bytes()
    with pytest.raises(ArgumentError, match="low ranks change the encoder"):
        tuned(made, "kept.safetensors", embeddings="raw_embedding", adapt="lora")
    again = tuned(made, "again.safetensors", start_from=kept)  # tuned twice
    found = []
    for how in ({}, {"embeddings": "raw_embedding"}):
        tim3d.segment_prompted(
            sample, model=again, prompts=Objects("truth"), masks=AsObjects(empty="accept"), out="found",
            options=QUIET, **how,
        )  # fmt: skip
        found.append(tim3d.open_field(sample, "found_quality").values)
    assert (found[0] == found[1]).all()


def test_pixels_that_are_not_labelled_are_neither_objects_nor_known(made):
    task = tim3d.fine_tune.task(
        str(made / "a.zarr"), made / "painted.safetensors", start_from=made / "base.safetensors", labels="painted"
    )  # fmt: skip
    learn, judge = task.run.__self__.examples
    for one in (*learn, *judge):
        assert not one.known[:, :2].any()
        assert one.known[:, 2:].all()
        assert all(mask.start[1] >= 2 for mask in one.objects)


def test_pixels_that_are_not_known_count_in_no_loss():
    from tim3d.models.promptable.tuning import scores

    torch.manual_seed(0)
    logits = torch.randn(2, 3, 6, 7, requires_grad=True)
    truth, known = torch.rand(2, 6, 7) > 0.5, torch.rand(6, 7) > 0.3
    quality = torch.rand(2, 3)
    places = known.flatten().nonzero()[:, 0]
    found = scores(logits, quality, truth, places)
    found.learning.sum().backward()
    assert not logits.grad[..., ~known].any()
    changed = scores(torch.where(known, logits, -logits), quality, truth ^ ~known, places)
    for name in ("learning", "dice", "iou"):
        assert torch.equal(getattr(found, name), getattr(changed, name))


def test_a_single_window_is_said_to_judge_itself(made, caplog):
    record = read_model(tuned(made, "one.safetensors", slices=slice(0, 1))).description["training"]
    assert record["held_out"] is False
    assert "judged by what it learnt from" in caplog.text


def test_embeddings_serve_a_tuned_decoder_that_is_only_planned(made):
    from tim3d.forecast import expected, forecasting

    base = network_of(read_model(made / "base.safetensors"))
    for adapt in ("decoder", "lora"):
        target = made / f"planned_{adapt}.safetensors"
        with forecasting():
            tim3d.fine_tune.plan(
                str(made / "a.zarr"), target, start_from=made / "base.safetensors", labels="truth", adapt=adapt
            )  # fmt: skip
            planned = expected("network", str(target))
        same = planned.embedding_description() == base.embedding_description()
        assert same == (adapt == "decoder")


def test_what_cannot_be_learnt_from_is_refused(made):
    with pytest.raises(InputError, match="no slice has an object"):
        tuned(made, "none.safetensors", labels="nothing")
    for how, said in (
        ({"labels": "raw"}, "needs grey values and objects or labels"),
        ({"rank": 99, "adapt": "lora"}, "rank 99: 1 to 10"),
        ({"jitter": 0.5}, "jitter 0.5"),
        ({"steps": 0}, "steps 0"),
        ({"validation_fraction": 1.0}, "validation fraction"),
    ):
        with pytest.raises(ArgumentError, match=said):
            tuned(made, "none.safetensors", **how)
    with pytest.raises(ArgumentError, match="the network to start from"):
        tuned(made, "base.safetensors")


def test_drawn_boxes_stay_within_their_jitter_and_the_image():
    mask = boxed((2, 50), np.ones((10, 14), bool))
    options, rng = TuningOptions(give="both", jitter=0.2), np.random.default_rng(0)
    for _ in range(50):
        prompt = drawn_prompt(mask, options, SHAPE[1:], rng)
        assert (np.array(prompt.box) >= [47.2, 0, 60.2, 9]).all()
        assert (prompt.box <= np.array([52.8, 4, 63, 13])).all()
        assert (prompt.points[0] >= [50, 2]).all()
        assert (prompt.points[0] <= [63, 11]).all()
    still = replace(options, jitter=0.0)
    assert drawn_prompt(mask, still, SHAPE[1:], rng).box == (50, 2, 63, 11)
