"""Steps of a recipe that are done for each of several samples: what they become, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tim3d.cli.recipe import Recipe, load_recipe
from tim3d.errors import ArgumentError

STUDY = Path(__file__).parents[2] / "pipelines" / "study.toml"
TWO = """
sample = "study"
[each]
a = { label = { connectivity = 26 } }
b = {}
"""
LABEL = """
[[step]]
verb = "label"
each = true
sample = "study/{each}.zarr"
"""
TABLE = """
[[step]]
verb = "table"
samples = ["study/{each}.zarr", "other.zarr"]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(text: str, *settings: str) -> Recipe:
    Path("r.toml").write_text(text)
    return load_recipe("r.toml", settings)


def test_a_step_is_done_for_each_and_a_list_names_all() -> None:
    steps = load(TWO + LABEL + TABLE).steps
    assert [(s.name, s.verb) for s in steps] == [
        ("label-a", "label"),
        ("label-b", "label"),
        ("table", "table"),
    ]
    assert steps[0].arguments == {"sample": "study/a.zarr", "connectivity": 26}
    assert steps[1].arguments == {"sample": "study/b.zarr"}
    assert steps[2].arguments == {"samples": ["study/a.zarr", "study/b.zarr", "other.zarr"]}


def test_a_setting_changes_the_step_of_all_and_the_table_decides() -> None:
    steps = load(TWO + LABEL, "label.connectivity=18", "label.field=truth").steps
    assert [s.arguments["connectivity"] for s in steps] == [26, 18]
    assert [s.arguments["field"] for s in steps] == ["truth", "truth"]


def test_a_recipe_without_it_is_as_it_was() -> None:
    steps = load('sample = "a.zarr"\n[[step]]\nverb = "label"\nout = "{each}"').steps
    assert [(s.name, s.arguments) for s in steps] == [("label", {"out": "{each}"})]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (TWO + TABLE, "no step has  each = true"),
        ('sample = "a.zarr"' + LABEL, r"there is no table \[each\]"),
        (TWO + LABEL.replace("true", '"yes"'), "each = 'yes'; it is true or false"),
        (TWO.replace("label", "lable") + LABEL, "a has 'lable'.*did you mean 'label'"),
        (TWO.replace("{}", "3") + LABEL, r"\[each\] b has 3"),
        (TWO.replace("b = {}", "'../../b' = {}") + LABEL, "which leads out of"),
        (
            TWO.replace("connectivity = 26", 'sample = "/etc/a.zarr"') + LABEL,
            r"label.sample is '/etc/a.zarr', which leads out",
        ),
        ("each = 3\n" + 'sample = "a.zarr"' + LABEL, "each is 3, expected"),
    ],
)
def test_what_does_not_fit_is_refused(text: str, why: str) -> None:
    with pytest.raises(ArgumentError, match=why):
        load(text)


def test_the_study_has_three_materials_at_six_stages() -> None:
    recipe = load_recipe(STUDY, trust=True)
    made = [s.arguments for s in recipe.steps if s.verb == "generate"]
    assert len(made) == 18
    assert len({one["seed"] for one in made}) == 18
    assert all(sum(one["fractions"].values()) == pytest.approx(1) for one in made)
    rows = STUDY.with_suffix(".csv").read_text().split()
    assert {Path(one["sample"]).stem for one in made} == {r.split(",")[0] for r in rows[2:]}
    (table,) = [s.arguments for s in recipe.steps if s.verb == "table"]
    assert table["samples"] == [one["sample"] for one in made]
