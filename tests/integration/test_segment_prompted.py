"""A stack segmented by prompts: by points and boxes of files and fields, and whatever the blocks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tests.promptable import Discs, Threshold, saved_folder
from tim3d import Options, Phases
from tim3d.cli.recipe import plan_recipe, run_recipe
from tim3d.errors import ArgumentError, CheckpointError, InputError, MixedRunError
from tim3d.models.promptable.mask_rules import AsGrains, AsMaterials, AsObjects
from tim3d.models.promptable.prompted_segmenter import PromptedSegmenter
from tim3d.models.promptable.prompting import Grid, Listed, Objects, Strokes, Structure
from tim3d.storage import store

SHAPE = (6, 40, 72)
QUIET = Options(progress=False, overwrite=True)
MIDDLES = ((12, 18), (26, 50))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two particles through all slices, in grey values, as labels, and strokes on some slices."""
    folder = tmp_path_factory.mktemp("prompted")
    rows, columns = np.indices(SHAPE[1:])
    plane = np.zeros(SHAPE[1:], int)
    for number, (y, x) in enumerate(MIDDLES, 1):
        plane[np.hypot(rows - y, columns - x) <= 7] = number
    noise = np.random.default_rng(0).normal(0, 3, SHAPE)
    fields: dict[str, tuple[Any, Phases | None]] = {
        "raw": (np.rint(np.where(plane > 0, 200, 60) + noise), None),
        "other": (np.rint(np.where(plane > 0, 200, 60) - noise), None),
        "cells": (np.repeat((plane > 0)[None], SHAPE[0], 0), Phases(none=0, cell=1)),
        "strokes": (np.zeros(SHAPE), Phases(unlabelled=0, matrix=1, filler=2)),
    }
    fields["strokes"][0][2, 11:14, 15:20] = 2
    fields["strokes"][0][2, 30:38, 5] = 1
    path = str(folder / "a.zarr")
    for name, (values, phases) in fields.items():
        np.save(folder / f"{name}.npy", values.astype(np.uint8))
        tim3d.ingest(
            folder / f"{name}.npy", path, voxel_size={"z": 10, "y": 5, "x": 5}, field=name, phases=phases,
            shard=(2, 16, 32), accept=["saturated"], options=QUIET,
        )  # fmt: skip
    return path


def segmented(sample: str, network: Any, prompts: Any, rule: Any = None, **how: Any) -> np.ndarray:
    """Labels and objects of a network that is given as a value."""
    options = Options(progress=False, overwrite=True, block=how.pop("block", None))
    value = PromptedSegmenter(
        network, prompts, rule or AsObjects(largest=2000), how.pop("pixels", SHAPE[1:]), **how
    )
    tim3d.segment(sample, segmenter=value.check(sample, SHAPE), out="found", options=options)
    names = ("found", *(f"found_{one.name}" for one in value.maps))
    return np.stack([tim3d.open_field(sample, one).values.astype(float) for one in names])


@pytest.mark.parametrize(
    "rule", [AsObjects(largest=2000), AsGrains(edge=5, line=5), AsMaterials(materials=2, chip=6)]
)
@pytest.mark.long
def test_blocks_do_not_show(sample, rule):
    whole = segmented(sample, Threshold(), Structure(side=4), rule)
    for block in ((2, 48, 96), (4, 16, 32)):
        assert (segmented(sample, Threshold(), Structure(side=4), rule, block=block) == whole).all()


@pytest.mark.long
def test_windows_join_objects_and_blocks_do_not_show(sample):
    how = {"pixels": (32, 48), "border": 8}
    rule = AsObjects(largest=700, empty="accept")
    whole = segmented(sample, Threshold(), Structure(side=4, regions="threshold"), rule, **how)
    truth = tim3d.open_field(sample, "cells").values
    assert (whole[0] == truth).all()
    assert len(np.unique(whole[1])) == 3  # 0, and two particles through all slices
    again = segmented(
        sample, Threshold(), Structure(side=4, regions="threshold"), rule, block=(2, 16, 32), **how
    )
    assert (again == whole).all()


@pytest.mark.long
def test_points_and_boxes_of_a_file(sample, tmp_path):
    path = tmp_path / "prompts.csv"
    path.write_text(
        "z,x,y,phase,object,label\n1,18,12,pore,,1\n1,50,26,solid,b,1\n1,10,35,solid,b,0\n3,50,26,pore,,\n"
    )
    found = segmented(sample, Discs(radius=5), Listed(path))
    rows, columns = np.indices(SHAPE[1:])
    near = [np.hypot(rows - y, columns - x) < 5 for y, x in MIDDLES]
    assert (found[0, 1] == np.where(near[0], 1, np.where(near[1], 2, 0))).all()
    assert (found[0, 3] == near[1]).all()
    assert not found[0][[0, 2, 4, 5]].any()  # nothing was asked for there
    same = tmp_path / "prompts.json"
    same.write_text(
        json.dumps(
            [
                {"z": 1, "x": 18, "y": 12, "phase": "pore", "label": 1},
                {"z": 1, "x": 50, "y": 26, "phase": "solid", "object": "b"},
                {"z": 1, "x": 10, "y": 35, "phase": "solid", "object": "b", "label": 0},
                {"z": 3, "x": 50, "y": 26, "phase": "pore"},
            ]
        )
    )
    assert Listed(same).ready(sample, SHAPE).rows == Listed(path).ready(sample, SHAPE).rows
    box = tmp_path / "boxes.json"
    box.write_text(json.dumps([{"z": 0, "x0": 30, "y0": 5, "x1": 44, "y1": 9}]))
    found = segmented(sample, Discs(), Listed(box))
    assert (found[0, 0, 5:10, 30:45] == 1).all()
    assert found[0].sum() == 5 * 15


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("z,x,y\n0,39,60\n", "outside.*z=0"),  # x and y exchanged
        ("z,x,y\n6,3,3\n", "outside.*z=6"),
        ("z,x0,y0,x1,y1\n0,3,3,72,9\n", "outside"),
        ("z,x,y,label\n0,3,3,0\n", "no box and no point on its object"),
        ("z,x,y,label\n0,3,3,2\n", "label 2: 1 on the object or 0 beside it"),
        ("z,x,y\n1.5,3,3\n", "row 1 has z=1.5: slices have whole numbers"),
        ("z,x,y\nnan,3,3\n", "row 1 has no number 'z'"),
        ("z,x,y,object,phase\n0,3,3,a,pore\n0,4,4,a,solid\n", "one at most"),
        ("z,x0,y0,x1,y1,object\n0,3,3,7,9,a\n0,4,4,8,9,a\n", "2 boxes"),
        ("x,y\n3,3\n", "no number 'z'"),
        ("z,x,y\n0,3,\n", "no number 'y'"),
        ("z,x,y\n", "has no prompts"),
        ("image,x,y\na,3,3\n", "names images"),
    ],
)
def test_prompts_that_do_not_fit_are_refused(sample, tmp_path, rows, said):
    path = tmp_path / "odd.csv"
    path.write_text(rows)
    with pytest.raises(InputError, match=said):
        segmented(sample, Discs(), Listed(path))


def test_strokes_of_the_user_ask_for_their_phases(sample):
    found = segmented(sample, Threshold(), Strokes("strokes"), AsObjects())
    truth = tim3d.open_field(sample, "cells").values[2]
    rows, columns = np.indices(SHAPE[1:])
    left = (np.hypot(rows - 12, columns - 18) <= 7) & (truth > 0)
    assert (found[0, 2] == np.where(left, 2, np.where(truth > 0, 0, 1))).all()
    assert not found[0][[0, 1, 3, 4, 5]].any()


@pytest.mark.parametrize("give", ["box", "point", "both"])
def test_objects_of_another_field_are_drawn_again(sample, give):
    prompts = Objects("cells", give=give)
    marks = prompts.ready(sample, SHAPE).marks(
        np.zeros(SHAPE[1:], np.uint8), tim3d.grid.Box((1, 0, 0), (2, 40, 72))
    )
    for one, (y, x) in zip(marks, MIDDLES, strict=True):
        assert (one.box is None) == (give == "point")
        assert one.points.tolist() == ([] if give == "box" else [[x, y]])
        assert one.box in (None, (x - 7, y - 7, x + 7, y + 7))
    found = segmented(sample, Threshold(), prompts)
    assert (found[0] == tim3d.open_field(sample, "cells").values).all()
    record = store.node_attributes(sample, "found")
    assert record["inputs"]["cells"] == store.fingerprint_of(sample, "cells")


def test_the_same_values_are_recorded_and_others_refused(sample):
    segmented(sample, Threshold(), Structure(side=3), AsObjects(iou=0.9, largest=2000))
    parameters = store.node_attributes(sample, "found")["parameters"]
    assert parameters["prompts"]["side"] == 3
    assert (parameters["masks"]["iou"], parameters["masks"]["largest"]) == (0.9, 2000)
    value = PromptedSegmenter(Threshold(), Structure(side=4), AsObjects(), SHAPE[1:])
    with pytest.raises(MixedRunError):
        tim3d.segment(sample, segmenter=value, out="found", options=Options(progress=False))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random tiny SAM, imported."""
    folder = tmp_path_factory.mktemp("model")
    source = saved_folder("sam", folder / "sam")
    return tim3d.import_network(source, folder / "sam.safetensors")


@pytest.mark.long
def test_the_verb_with_a_file(sample, model):
    rule = AsObjects(iou=0, stability=0, smallest=4)
    labels = tim3d.segment_prompted(
        sample, model=model, prompts=Grid(side=3), masks=rule, out="by_sam", options=QUIET
    )
    assert labels.attrs["flag_meanings"] == "background object"
    cover = tim3d.open_field(sample, "by_sam_cover").values
    assert ((cover > 0) == (labels.values == 1)).all()
    assert store.node_attributes(sample, "by_sam")["verb"] == "segment_prompted"
    again = tim3d.segment_prompted(
        sample, model=model, prompts=Grid(side=3), masks=rule, out="by_sam2",
        options=Options(progress=False, block=(2, 48, 96)),
    )  # fmt: skip
    assert (again.values == labels.values).all()


def test_what_the_verb_refuses(sample, model, tmp_path):
    def call(**how: Any) -> Any:
        given = {"model": model, "prompts": Grid(side=3), "out": "never", **how}
        return tim3d.segment_prompted(sample, **given, options=QUIET)

    with pytest.raises(CheckpointError, match="segment-prompted"):
        tim3d.segment(sample, model=model, out="never", options=QUIET)
    for odd, said in (
        ({"prompts": "grid"}, "prompts 'grid' are not known"),
        ({"masks": 3}, "not known"),
        ({"masks": AsObjects(iou=2.0)}, "from 0 to 1"),
        ({"masks": AsMaterials(materials=0)}, "1 to 32 materials"),
        ({"prompts": Strokes("strokes"), "masks": AsMaterials()}, "--masks objects"),
        ({"prompts": Grid(side=0)}, "1 or more"),
        ({"prompts": Structure(regions="odd")}, "edges or threshold"),
        ({"halo": 8}, "give a window"),
        ({"window": (32, 32), "halo": 16}, "window"),
        ({"batch": 0}, "1 or more"),
        ({"field": "cells"}, "holds labels"),
    ):
        with pytest.raises((ArgumentError, InputError), match=said):
            call(**odd)
    from tests.nets import tiny_checkpoint

    tiny_checkpoint(tmp_path / "net.safetensors")
    with pytest.raises(CheckpointError, match="takes no prompts"):
        call(model=tmp_path / "net.safetensors")
    assert "never" not in store.fields(sample)


@pytest.mark.long
def test_kept_embeddings_give_the_same_bits(sample, model):
    (plan,) = tim3d.plan("embed", sample, model=model, layers=1)
    kept = tim3d.embed(sample, model=model, layers=1, options=Options(progress=False))
    assert kept.embeddings == SHAPE[0] * 5
    assert kept.embedding_bytes == kept.embeddings * 4 * 32 * 8 * 8 == plan.write_bytes
    assert tim3d.plan("embed", sample, model=model, layers=1) == []

    def labels(out: str, **how: Any) -> np.ndarray:
        rule = AsObjects(iou=0, stability=0, smallest=4)
        prompts = Grid(side=3, layers=1)
        tim3d.segment_prompted(
            sample, model=model, prompts=prompts, masks=rule, out=out, options=QUIET, **how
        )
        return tim3d.open_field(sample, f"{out}_quality").values

    node = "raw_embedding_layers=1"
    assert (labels("with", embeddings=node) == labels("without")).all()
    assert (
        store.node_attributes(sample, "with")["fingerprint"]
        == (store.node_attributes(sample, "without")["fingerprint"])
    )


@pytest.mark.long
def test_embeddings_of_another_network_or_image_are_refused(sample, model, tmp_path):
    other = saved_folder("sam", tmp_path / "sam", seed=1)
    another = tim3d.import_network(other, tmp_path / "other.safetensors")
    node = "of_another"
    tim3d.embed(sample, model=another, out=node, options=QUIET)

    def call(**how: Any) -> Any:
        given = {
            "model": another,
            "prompts": Grid(side=3),
            "out": "never",
            "embeddings": node,
            **how,
        }
        return tim3d.segment_prompted(sample, **given, options=QUIET)

    for odd, said in (
        ({"model": model}, "another network"),
        ({"window": (20, 20)}, "other windows"),
        ({"prompts": Grid(side=3, layers=1)}, "other crops"),
        ({"field": "other"}, "another image"),
    ):
        with pytest.raises(InputError, match=said):
            call(**odd)
    with pytest.raises(MixedRunError, match="holds something else"):
        tim3d.embed(sample, model=model, out="of_another", options=Options(progress=False))


@pytest.mark.long
def test_a_recipe_plans_a_network_that_it_imports(sample, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved_folder("sam", tmp_path / "sam")
    shutil.copytree(sample, "a.zarr")
    recipe = """
sample = "a.zarr"
[[step]]
verb = "import_network"
checkpoint = "sam"
weights = "sam.safetensors"
[[step]]
verb = "segment_prompted"
model = "sam.safetensors"
prompts = "grid:side=3"
masks = "objects:iou=0,stability=0,smallest=4"
out = "drawn"
[[step]]
verb = "link_slices"
field = "drawn_objects"
"""
    Path("r.toml").write_text(recipe)
    planned = list(plan_recipe("r.toml"))
    assert not Path("sam.safetensors").exists()
    assert [name for name, _ in planned][:2] == ["import_network", "segment_prompted"]
    run_recipe("r.toml", progress=False)
    assert "drawn_objects_linked" in store.fields("a.zarr")
