"""A recipe is planned from descriptions: in an empty folder, without a worker, without a byte written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tim3d
from tim3d.cli.main import main
from tim3d.cli.recipe import plan_recipe
from tim3d.errors import ArgumentError, MissingFieldError, MixedRunError
from tim3d.forecast import forecasting
from tim3d.generators import Grains, Overlapping
from tim3d.stages.shared.results import results_of

RECIPE = """
sample = "a.zarr"
[cluster]
kind = "local"
workers = 3
[[step]]
verb = "generate"
kind = "overlapping"
shape = [32, 32, 20]
voxel_size = { z = 10, y = 10, x = 10 }
diameter_nm = 80
loading = 0.3
shard = [16, 16, 16]
[[step]]
verb = "measure"
[[step]]
verb = "label"
keep = true
[[step]]
verb = "solve"
conductivity = { matrix = 1, filler = 20 }
keep_flux = true
[[step]]
verb = "geodesic"
phases = ["matrix"]
directions = ["+z", "-y"]
[[step]]
verb = "study"
quantity = "phase_fraction"
phase = "filler"
windows = [8, 16]
[[step]]
verb = "report"
out = "a.html"
"""


def test_memory_that_is_typed_is_that_of_a_worker_in_a_recipe_and_for_a_verb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.toml").write_text(RECIPE)
    verb = (
        "generate a.zarr --kind overlapping --shape 32,32,20 --voxel-size 10,10,10 --diameter-nm 80"
    )
    for words in ("run r.toml", f"{verb} --loading 0.3"):
        assert main([*words.split(), "--plan", "--memory", "64.5"]) == 0
        plans = [line for line in capsys.readouterr().out.splitlines() if " per worker" in line]
        assert plans
        assert all(" of 64.50 GiB per worker" in line for line in plans)
    (tmp_path / "r.toml").write_text(
        RECIPE.replace("workers = 3", "workers = 3\nmemory_gib = 96.5")
    )
    assert main(["run", "r.toml", "--plan"]) == 0
    assert " of 96.50 GiB per worker" in capsys.readouterr().out


def test_a_cluster_that_is_typed_takes_the_place_of_that_of_the_recipe_and_other_words_change_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its workers are those of the recipe's cluster, and no other has them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.toml").write_text(RECIPE)
    for words, workers in (
        ([], "3 worker(s) x 1 thread(s)"),
        (["--threads", "2"], "3 worker(s) x 2 thread(s)"),
        (["--workers", "5"], "5 worker(s) x 1 thread(s)"),
        (["--cluster", "serial"], "1 worker(s) x 1 thread(s)"),
        (["--cluster", "local", "--workers", "2"], "2 worker(s) x 1 thread(s)"),
    ):
        assert main(["run", "r.toml", "--plan", *words]) == 0
        assert f" per worker, {workers}" in capsys.readouterr().out


# The same from Python.
STEPS: dict[str, dict[str, Any]] = {
    "generate": {"generator": Overlapping(Grains((80.0,), (1.0,)), 0.3, (10.0,) * 3, 0), "shape": (32, 48, 40)},
    "measure": {},
    "label": {},
    "solve": {"conductivity": {"matrix": 1, "filler": 20}},
    "geodesic": {"phases": ["matrix"]},
    "study": {"quantity": "phase_fraction", "phase": "filler", "windows": [8, 16]},
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


def test_every_step_is_planned_before_anything_exists(folder: Path) -> None:
    plans = dict(plan_recipe("recipe.toml"))
    assert list(plans) == ["generate", "measure", "label", "solve", "geodesic", "study", "report"]
    assert all(plans.values())
    labels = plans["generate"][0]
    assert (labels.name, labels.left, labels.workers) == ("phase/s0", labels.blocks, 3)
    assert (
        plans["solve"][0].workers == 3 == plans["solve"][0].left
    )  # a slab for each worker that would be there
    assert [path.name for path in folder.iterdir()] == ["recipe.toml"]


def test_a_step_finds_the_results_that_earlier_ones_will_have_made(folder: Path) -> None:
    with forecasting():
        for verb, asked in STEPS.items():
            assert tim3d.plan(verb, "a.zarr", **asked)
        there = {verb: list(results_of("a.zarr", verb, "phase")) for verb in STEPS}
        assert there["measure"] == ["phase_descriptors", "phase_partials"]
        assert all(
            len(nodes) == 1 for verb, nodes in there.items() if verb not in ("generate", "measure")
        )
        assert tim3d.plan("geodesic", "a.zarr", phases=["matrix"]) == []
        assert tim3d.plan("measure", "a.zarr", ["phase_fraction"])
        with pytest.raises(MixedRunError, match="is not a result of study"):
            tim3d.plan("study", "a.zarr", **STEPS["study"] | {"out": there["solve"][0]})


@pytest.mark.long
def test_what_is_planned_is_what_is_run(folder: Path) -> None:
    before = {name: [plan.name for plan in plans] for name, plans in plan_recipe("recipe.toml")}
    tim3d.run_recipe("recipe.toml", cluster={"kind": "serial"}, progress=False)
    after = dict(plan_recipe("recipe.toml", cluster={"kind": "serial"}))
    assert {name: plans for name, plans in after.items() if plans} == {"report": after["report"]}
    afresh = dict(plan_recipe("recipe.toml", cluster={"kind": "serial"}, overwrite=True))
    assert {name: [plan.name for plan in plans] for name, plans in afresh.items()} == before
    assert all(
        plan.left == plan.blocks
        for name, plans in afresh.items()
        if name != "report"
        for plan in plans
    )


def test_the_shell_prints_every_plan(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "recipe.toml", "--plan"]) == 0
    said = capsys.readouterr().out
    assert said.count("-- ") == 7
    assert "report: writes a.html" in said
    assert [path.name for path in folder.iterdir()] == ["recipe.toml"]


def test_a_step_whose_input_no_step_makes_is_refused(folder: Path) -> None:
    wrong = RECIPE.replace('verb = "measure"', 'verb = "measure"\nfield = "labels"')
    (folder / "recipe.toml").write_text(wrong)
    with pytest.raises(MissingFieldError, match="'labels'"):
        list(plan_recipe("recipe.toml"))


def test_an_option_that_no_step_has_is_refused(folder: Path) -> None:
    with pytest.raises(ArgumentError, match="no step of the recipe has --batch"):
        list(plan_recipe("recipe.toml", batch=2))


def test_a_plan_that_does_not_fit_is_shown_whole_and_ends_as_the_run_would(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = "generate a.zarr --kind overlapping --shape 32,32,20 --voxel-size 10,10,10 --diameter-nm 80 --loading .3"
    (tmp_path / "r.toml").write_text(RECIPE)
    for words in (made, "run r.toml"):
        assert main([*words.split(), "--plan", "--memory", "0.01"]) == 5
        shown, said = capsys.readouterr()
        assert " of 10.2 MiB per worker" in shown
        assert said.count("\n") == 1
        assert " a worker has 10.2 MiB" in said
    assert {one.name for one in tmp_path.iterdir()} == {"r.toml"}
