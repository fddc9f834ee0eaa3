"""Limits of masks chosen on labelled slices: from masks that are drawn once, and never on what is judged unsaid."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pytest
import tifffile

import tim3d
from tests.promptable import Discs, Threshold, saved_folder
from tim3d import Options, Phases
from tim3d.errors import ArgumentError, InputError, MixedRunError
from tim3d.grid import Box
from tim3d.kernels.masks.mask_set import distinct
from tim3d.kernels.statistics.coordinate_search import best_point
from tim3d.kernels.statistics.pooled_scores import SCORES, PooledScore
from tim3d.models.promptable.mask_rules import AsGrains, AsMaterials, AsObjects, RuleFile
from tim3d.models.promptable.promptable import Answers
from tim3d.models.promptable.prompted_segmenter import PromptedSegmenter, session_of
from tim3d.models.promptable.prompting import Grid, Objects, Structure
from tim3d.stages.images.by_prompts import ByPrompts
from tim3d.stages.images.tune_masks_images import ImagesWithObjects
from tim3d.stages.segmentation.tuning_examples import JudgedWindows, LabelledWindows
from tim3d.stages.shared.mask_search import JudgedMasks, searched
from tim3d.storage import store

SHAPE = (4, 40, 56)
QUIET = Options(progress=False, overwrite=True)
LOOSE = AsObjects(iou=0, stability=0, smallest=4)


@dataclass(frozen=True)
class Boastful(Threshold):
    """Expects little of right masks, and more or less than that of discs somewhere else."""

    right: float = 0.75

    def answer(self, embedding: Any, shape: Any, batch: Any, several: bool) -> Answers:
        true = super().answer(embedding, shape, batch, several)
        odd = Discs.answer(self, embedding, shape, batch, several)
        quality = np.tile([self.right, 0.72, 0.6], (len(batch), 1)).astype(np.float32)
        return Answers(quality, lambda p, m: true.logits(p, 0) if m == 0 else odd.logits(p, m))


BOASTFUL = Boastful(soft=400)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright discs in all slices, their numbers, labels with unlabelled pixels, and a random network."""
    folder = tmp_path_factory.mktemp("masks")
    rng, (rows, columns) = np.random.default_rng(0), np.indices(SHAPE[1:])
    numbers = np.zeros(SHAPE, np.uint8)
    for z in range(SHAPE[0]):
        for number, x in enumerate((12, 40), 1):
            y = int(rng.integers(10, 30))
            numbers[z][np.hypot(rows - y, columns - x) <= 6] = number
    grey = np.rint(np.where(numbers > 0, 200, 60) + rng.normal(0, 3, SHAPE))
    fields: dict[str, tuple[Any, Phases | None]] = {
        "raw": (grey, None),
        "cells": (numbers > 0, Phases(none=0, cell=1)),
        "nothing": (0 * numbers, Phases(none=0, cell=1)),
        "part": (
            np.where(columns < 28, numbers > 0, 2) + 0 * numbers,
            Phases(none=0, cell=1, unlabelled=2),
        ),
    }
    for name, (values, phases) in fields.items():
        np.save(folder / "v.npy", values.astype(np.uint8))
        tim3d.ingest(
            folder / "v.npy", str(folder / "a.zarr"), voxel_size={"z": 10, "y": 5, "x": 5}, field=name,
            phases=phases, accept=["saturated"], shard=(2, 16, 32), options=QUIET,
        )  # fmt: skip
    for seed, name in enumerate(("sam", "other")):
        tim3d.import_network(
            saved_folder("sam", folder / name, seed), folder / f"{name}.safetensors"
        )
    return folder


def judged(
    folder: Path, kept: Path, network: Any, rule: Any, truth: str = "cells", **how: Any
) -> JudgedMasks[Any]:
    sample = str(folder / "a.zarr")
    grey, labels = (store.complete_field(sample, name, "") for name in ("raw", truth))
    names = how.pop("names", tuple(rule.searched))
    prompts = how.pop("prompts", Grid(side=6))
    segmenter = PromptedSegmenter(network, prompts, rule, how.pop("pixels", SHAPE[1:]), **how)
    windows = LabelledWindows(
        sample, grey, labels, segmenter.check(sample, SHAPE), tuple(range(SHAPE[0])), 10
    )
    return JudgedMasks(JudgedWindows(windows), rule.stated(explicit=False), names, kept)


def test_limits_are_found_that_part_right_masks_from_wrong_ones(
    folder: Path, tmp_path: Path
) -> None:
    rule = AsObjects(largest=1000)
    found = searched(judged(folder, tmp_path, BOASTFUL, rule), SCORES["panoptic_quality"])
    assert found.begin == 0.0  # no mask has the usual expected IoU of 0.88
    assert found.chosen == found.held_out == 1.0
    assert found.rule.iou == 0.75
    assert (found.rule.stability, found.rule.largest) == (0.95, 1000)  # what gains nothing stays


@pytest.mark.long
@pytest.mark.parametrize(
    ("rule", "score"),
    [
        (AsGrains(edge=5, line=5), "mean_segmentation_accuracy"),
        (AsMaterials(materials=2, chip=6), "iou_foreground"),
    ],
)
def test_each_rule_has_its_parameters_and_no_value_makes_it_worse(
    folder: Path, tmp_path: Path, rule: Any, score: str
) -> None:
    own = tuple(name for name in rule.searched if name not in AsObjects.searched)
    kept = judged(folder, tmp_path, BOASTFUL, rule, names=("iou", *own))
    found = searched(kept, SCORES[score])
    assert 0 <= found.begin < found.chosen <= 1
    assert found.rule.iou != rule.iou


@pytest.mark.parametrize("layers", [0, 1])
def test_masks_that_are_kept_give_those_of_every_limit(
    folder: Path, tmp_path: Path, layers: int
) -> None:
    from tim3d.models.promptable.file_network import network_of
    from tim3d.models.segmentation.model_file import read_model

    network = network_of(read_model(folder / "sam.safetensors"))
    rule = replace(LOOSE, smallest=1)
    kept = judged(folder, tmp_path, network, rule, prompts=Grid(side=4, layers=layers))
    index = kept.indices[1]
    image, place = kept.examples[index].image, Box((index[0], 0, 0), (index[0] + 1, *SHAPE[1:]))
    kept.masks(index)  # drawn; from here on read
    qualities = [one.iou for masks in kept.masks(index) for one in masks]
    for iou, sure, nms, least, most in (
        (0.0, 0.0, 1.0, 1, None), (float(np.median(qualities)), 0.1, 0.7, 5, None), (0.0, 0.5, 0.3, 30, 900),
    ):  # fmt: skip
        tight = AsObjects(iou=iou, stability=sure, nms=nms, smallest=least, largest=most)
        plain = replace(kept.images.segmenter_of(index), rule=tight)
        expected = plain.masks(session_of(network), image, place)
        found = distinct([tight.left(masks) for masks in kept.masks(index)], nms)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert (one.bits == other.bits).all()
            assert replace(one, packed=other.packed) == other


def test_windows_are_judged_without_their_border_and_what_is_unlabelled(
    folder: Path, tmp_path: Path
) -> None:
    rule = AsObjects(iou=0.7, largest=1000)
    one = judged(
        folder, tmp_path, Threshold(), rule, "part", names=("iou",), pixels=(32, 40), border=4
    )
    tables = [table for index in one.indices for table in one.tables(index, [(0.7,)])]
    known = int((np.arange(SHAPE[2]) < 28).sum()) * SHAPE[0] * SHAPE[1]
    assert sum(int(table.shared.sum()) for table in tables) == known


def test_masks_are_drawn_once_and_again_where_their_file_is_damaged(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule, drawn = AsObjects(largest=1000), []
    ordinary = PromptedSegmenter.of_crops

    def seen(*given: Any) -> Any:
        drawn.append(given[-1])
        return ordinary(*given)

    monkeypatch.setattr(PromptedSegmenter, "of_crops", seen)
    best = searched(judged(folder, tmp_path, BOASTFUL, rule), SCORES["panoptic_quality"])
    assert len(drawn) == SHAPE[0]
    searched(
        judged(folder, tmp_path, BOASTFUL, AsGrains(), names=("line",)), SCORES["iou_foreground"]
    )
    assert len(drawn) == SHAPE[0]
    first = sorted(tmp_path.glob("*.masks"))[0]
    damaged = bytearray(first.read_bytes())
    damaged[len(damaged) // 2] ^= 255
    first.write_bytes(damaged)
    assert searched(judged(folder, tmp_path, BOASTFUL, rule), SCORES["panoptic_quality"]) == best
    assert len(drawn) == SHAPE[0] + 1


@pytest.fixture(scope="module")
def images(folder: Path) -> Path:
    """Images of two sizes, none square, and the numbers of their bright discs."""
    rng = np.random.default_rng(1)
    for name, shape in (("a", (40, 56)), ("b", (48, 44)), ("c", (40, 56))):
        rows, columns = np.indices(shape)
        numbers = np.zeros(shape, np.uint16)
        for number, (y, x) in enumerate(((10, 12), (28, 32)), 1):
            numbers[np.hypot(rows - y - rng.integers(4), columns - x) <= 6] = number
        grey = np.rint(np.where(numbers > 0, 200, 60) + rng.normal(0, 3, shape)).astype(np.uint8)
        for kind, values in (("images", grey), ("objects", numbers)):
            (folder / kind).mkdir(exist_ok=True)
            tifffile.imwrite(folder / kind / f"{name}.tif", values)
    return folder


def tuned_on_images(folder: Path, name: str, **how: Any) -> Path:
    given = {
        "folder": folder / "images", "truth": folder / "objects", "model": folder / "sam.safetensors",
        "prompts": Grid(side=3), "masks": LOOSE, "parameters": ["iou", "largest"], **how,
    }  # fmt: skip
    return tim3d.tune_masks_images(rule=folder / name, **given)


def test_limits_are_found_on_images_of_any_size(images: Path, tmp_path: Path) -> None:
    pairs = {
        one.stem: (one, images / "objects" / one.name) for one in (images / "images").iterdir()
    }
    rule = AsObjects(largest=1000)
    chosen: Any = ByPrompts(BOASTFUL, Grid(side=6), rule)  # type: ignore[arg-type]
    judged = JudgedMasks(
        ImagesWithObjects(pairs, chosen, None, 10),
        rule.stated(explicit=False),
        tuple(rule.searched),
        tmp_path,
    )
    found = searched(judged, SCORES["panoptic_quality"])
    assert (found.begin, found.chosen, found.held_out, found.rule.iou) == (0.0, 1.0, 1.0, 0.75)


def test_limits_of_images_name_them_and_are_judged_by_others(
    images: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (images / "lists.json").write_text(json.dumps({"train": ["a", "b"], "test": ["c"]}))
    lists = {"splits": images / "lists.json"}
    path = tuned_on_images(images, "of_images.json", subset="train", **lists)
    assert sorted(json.loads(path.read_text())["learnt_images"].values()) == ["a", "b"]

    def masks_of(subset: str) -> None:
        tim3d.segment_images(
            images / "images", images / f"masks_{subset}", model=images / "sam.safetensors", prompts=Grid(side=3),
            masks=RuleFile(path), subset=subset, progress=False, **lists,
        )  # fmt: skip

    masks_of("test")
    assert "were chosen on" not in caplog.text
    masks_of("train")
    assert "the limits of masks were chosen on a, b: judge them by other images" in caplog.text
    before = path.stat().st_mtime_ns
    assert tuned_on_images(images, path.name, subset="train", **lists).stat().st_mtime_ns == before
    with pytest.raises(MixedRunError, match="chosen otherwise"):
        tuned_on_images(images, path.name)
    # They are limits of the same network on slices too.
    tim3d.segment_prompted(
        str(images / "a.zarr"), model=images / "sam.safetensors", prompts=Grid(side=3),
        masks=RuleFile(path), out="by_limits_of_images", options=QUIET,
    )  # fmt: skip


def test_images_that_cannot_judge_are_refused(images: Path, tmp_path: Path) -> None:
    for shape, dtype, said in (
        ((40, 56), np.float32, "numbers of objects are one whole number"),
        ((40, 55), np.uint16, "are of one size"),
        ((40, 56), np.uint8, "has no object to judge by"),
    ):
        for name in "abc":
            tifffile.imwrite(tmp_path / f"{name}.tif", np.zeros(shape, dtype))
        if said.startswith("has"):
            tifffile.imwrite(tmp_path / "b.tif", np.zeros((48, 44), np.uint8))
        with pytest.raises(InputError, match=said):
            tuned_on_images(images, "never.json", truth=tmp_path)
    with pytest.raises(ArgumentError, match="1 pixel or more"):
        tuned_on_images(images, "never.json", smallest=0)


def tuned(folder: Path, name: str, **how: Any) -> Path:
    given = {
        "model": folder / "sam.safetensors", "prompts": Grid(side=3), "masks": LOOSE, "truth": "cells",
        "parameters": ["iou", "largest"], **how,
    }  # fmt: skip
    return tim3d.tune_masks(str(folder / "a.zarr"), folder / name, **given)


@pytest.mark.long
def test_the_file_is_taken_by_the_verb_and_its_slices_are_named(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sample, path = str(folder / "a.zarr"), tuned(folder, "rule.json", slices=slice(1, 2))
    assert "what the limits are worth elsewhere is not known" in caplog.text
    record = json.loads(path.read_text())
    assert record["score"]["chosen"] >= record["score"]["begin"]
    labels = tim3d.segment_prompted(
        sample, model=folder / "sam.safetensors", prompts=Grid(side=3), masks=RuleFile(path), out="found",
        options=QUIET,
    )  # fmt: skip
    parameters = store.node_attributes(sample, "found")["parameters"]
    assert parameters["masks"] == record["rule"]
    caplog.clear()
    judged = tim3d.evaluate(
        sample, truth="cells", field="found", merge={"object": "cell", "background": "none"}
    )
    assert list(judged.attrs["learnt_slices"]) == [1]
    assert "learnt from slice 1 of 'cells'" in caplog.text
    assert labels.shape == SHAPE
    others = tim3d.evaluate(
        sample,
        truth="cells",
        field="found",
        slices=slice(2, 4),
        merge={"object": "cell", "background": "none"},
    )
    assert "learnt_slices" not in others.attrs
    tim3d.label(sample, field="cells", keep=True, component="cells_objects", options=QUIET)
    objects = tim3d.evaluate(sample, truth="cells_objects", field="found_objects")
    assert "learnt_slices" in objects.attrs
    from tim3d.reporting.evaluation import text

    assert "was made by what learnt from slice 1" in text(objects)


def test_limits_that_find_no_object_are_said(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tuned(folder, "none.json", masks=replace(LOOSE, largest=4), parameters=["iou"])
    assert json.loads(path.read_text())["score"]["chosen"] == 0
    assert "no mask agrees with an object of 'cells' by any limit" in caplog.text


def test_the_same_question_is_answered_from_the_file_and_another_refused(folder: Path) -> None:
    path = tuned(folder, "again.json")
    before = path.stat().st_mtime_ns
    assert tuned(folder, "again.json").stat().st_mtime_ns == before
    assert json.loads(path.read_text())["score"]["held_out"] is not None
    with pytest.raises(MixedRunError, match="chosen otherwise"):
        tuned(folder, "again.json", score="iou_foreground")
    (plan,) = tim3d.plan(
        "tune_masks", str(folder / "a.zarr"), folder / "new.json", model=folder / "sam.safetensors",
        prompts=Grid(side=3), truth="cells",
    )  # fmt: skip
    assert "draws the masks of up to 4 windows" in str(plan)


def test_what_is_refused(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tuned(folder, "refused.json")
    for how, error, said in (
        ({"prompts": Objects("cells")}, ArgumentError, "made of 'cells'"),
        ({"parameters": ["edge"]}, ArgumentError, "some of those that objects has"),
        ({"truth": "nothing"}, InputError, "'nothing' has no object to judge by"),
        ({"truth": "raw"}, ArgumentError, "needs grey values and objects or labels"),
        ({"masks": RuleFile(path)}, ArgumentError, "have no limits to begin with"),
        ({"score": "odd"}, ArgumentError, "odd"),
    ):
        with pytest.raises(error, match=said):
            tuned(folder, "new.json", **how)
    with pytest.raises(ArgumentError, match=r"ends with \.json"):
        tuned(folder, "new.txt")

    def use(rule: Path, model: str = "sam.safetensors", prompts: Any = None) -> Any:
        return tim3d.segment_prompted(
            str(folder / "a.zarr"), model=folder / model, prompts=prompts or Grid(side=3), masks=RuleFile(rule),
            out="never", options=QUIET,
        )  # fmt: skip

    with pytest.raises(ArgumentError, match="masks of another network"):
        use(path, "other.safetensors")
    record = json.loads(path.read_text())
    for change, said in (
        ({"tim3d": "else"}, "not a rule for masks of this version"),
        ({"rule": {**record["rule"], "iou": 7}}, "damaged or was edited"),
        ({"rule": {"kind": "file", "version": 1, "path": "odd.json"}}, "damaged or was edited"),
        ({"rule": {**record["rule"], "version": 99, "gone": 1}}, "choose the limits again"),
    ):
        odd = tmp_path / "odd.json"
        odd.write_text(json.dumps({**record, **change}))
        with pytest.raises(InputError, match=said):
            use(odd)
    with pytest.raises(InputError, match="tim3d tune-masks"):
        use(tmp_path / "missing.json")
    with caplog.at_level(logging.WARNING):
        use(path, prompts=Structure(side=3))
    assert "chosen for the prompts grid:side=3, and these are structure:side=3" in caplog.text


@dataclass(frozen=True)
class Limits:
    """A rule of two limits."""

    low: int = 0
    high: int = 0
    searched: ClassVar[dict[str, tuple[int, ...]]] = {"low": (0, 1, 2), "high": (0, 1, 2)}


@dataclass(frozen=True)
class Counted:
    """Images whose counts are known for every limit."""

    found: np.ndarray
    begin: Limits = Limits()
    names: tuple[str, ...] = ("low", "high")

    @property
    def indices(self) -> list[int]:
        return list(range(len(self.found)))

    def tables(self, key: int, points: Any) -> list[np.ndarray]:
        return [self.found[key, low, high] for low, high in points]

    def rule(self, point: tuple[int, int]) -> Limits:
        return Limits(*point)


@pytest.mark.parametrize("images", [1, 2, 4, 5, 7, 12])
def test_a_score_that_is_held_out_is_of_limits_that_were_chosen_without_the_image(
    images: int,
) -> None:
    """Images are parted into five, neighbours together; each part has the best limits of all others."""
    rng = np.random.default_rng(images)
    counts = np.stack([rng.integers(1, 90, (images, 3, 3)), np.full((images, 3, 3), 100)], axis=-1)
    score = PooledScore(lambda table: table, lambda total: float(total[0] / total[1]))
    found = searched(cast(Any, Counted(counts)), score)

    def best(rows: np.ndarray) -> tuple[int, int]:
        shares = counts[rows, ..., 0].sum(axis=0)
        return best_point(
            (0, 0), Limits.searched, lambda points: [float(shares[one]) for one in points]
        )

    everything = np.arange(images)
    assert (found.rule.low, found.rule.high) == best(everything)  # type: ignore[attr-defined]
    assert found.begin == pytest.approx(counts[:, 0, 0, 0].mean() / 100)
    assert found.chosen == pytest.approx(counts[(slice(None), *best(everything), 0)].mean() / 100)
    if images == 1:
        assert found.held_out is None
        return
    parts = np.array_split(everything, min(5, images))
    own = [counts[(part, *best(np.setdiff1d(everything, part)), 0)].sum() for part in parts]
    assert found.held_out == pytest.approx(sum(own) / (100 * images))
