"""The law of parameters for tables of samples: changed alone, each gives another result, or it is refused."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

import tim3d
from tests import recorded_changes
from tests.integration.test_relate import sintered, written
from tim3d.cli.parsing import verb
from tim3d.errors import Tim3dError
from tim3d.generators import GaussianField, LevelCuts

VERBS = {"table", "contact", "relate", "bond_line"}
FILES = {"csv", "json", "page", "summary"}
# Of each case: the verb, what is given, and another value of every parameter but the names of files.
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "a table of samples": (
        "table",
        {"samples": ["a.zarr", "b.zarr"]},
        {
            "samples": ["b.zarr"], "metadata": "m.csv", "descriptors": ["specific_surface"], "field": "truth",
            "transport": "none", "evaluation": "none", "axes": True,
        },
    ),
    "contacts": (
        "contact",
        {"samples": ["a.zarr"], "bodies": ["pore", "solid"]},
        {"samples": ["b.zarr"], "bodies": ["pore", "pore"], "field": "truth", "transport": "none"},
    ),
    "bond lines": (
        "bond_line",
        {"samples": ["thin.zarr", "thick.zarr", "thicker.zarr"], "transport": "first"},
        {
            "samples": ["thin.zarr", "thick.zarr", "thickest.zarr"], "substrates": ["solid"], "field": "truth",
            "transport": "second", "axis": "y", "level": 0.9,
        },
    ),
    "a relation": (
        "relate",
        {
            "source": "t.csv", "target": "sigma", "features": ["D", "tau", "idle0", "idle1"], "permutations": 99,
            "physics": {"density": "D"}, "draws": 100,
        },
        {
            "source": "other.csv", "target": "idle2", "features": ["D", "tau", "idle0"], "leave_out": ["tau"],
            "derive": {"alpha": "brugeman:tau:D"}, "smallest": 2, "largest": 2, "fixed": ["D"], "group": "material",
            "hold_out": ["s1"], "log_target": True, "physics": {"density": "D", "solved": "tau"}, "bulk": 400.0,
            "contrast": 0.1, "gaussian_process": True, "level": 0.8, "permutations": 100, "draws": 101, "seed": 1,
            "metadata": "m.csv", "descriptors": ["phase_fraction"], "field": "truth", "transport": "none",
        },
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two samples, their metadata, and two tables whose columns have uncertainties."""
    folder, quiet = tmp_path_factory.mktemp("made"), tim3d.Options(progress=False)
    for seed, name in enumerate("ab"):
        cuts = LevelCuts(GaussianField((60.0,) * 3, (10.0,) * 3, seed=seed), (0.4, 0.6))
        tim3d.generate(str(folder / f"{name}.zarr"), cuts, shape=(8, 8, 8), options=quiet)
        sample = str(folder / f"{name}.zarr")
        tim3d.measure(sample, ["phase_fraction", "projected_interface"], options=quiet)
        tim3d.solve(sample, conductivity={"pore": 1.0, "solid": 3.0}, options=quiet)
    written(folder / "m.csv", {"name": ["a", "b"], "T": [1, 2]})
    for slices, name in ((4, "thin"), (6, "thick"), (7, "thicker"), (8, "thickest")):
        cuts = LevelCuts(GaussianField((60.0,) * 3, (10.0,) * 3, seed=slices), (0.4, 0.6))
        sample = str(folder / f"{name}.zarr")
        tim3d.generate(sample, cuts, shape=(slices, 6, 6), options=quiet)
        for k, out in ((1.0, "first"), (2.0, "second")):
            tim3d.solve(sample, conductivity={"pore": k, "solid": 9.0}, out=out, options=quiet)
    for seed, name in ((0, "t.csv"), (1, "other.csv")):
        written(folder / name, sintered(seed) | {"D_error": [0.01] * 18})
    return folder


@pytest.fixture(scope="module")
def firsts() -> dict[str, Any]:
    """What each case gives as it stands, computed once."""
    return {}


def outcome(name: str, given: dict[str, Any]) -> Any:
    """The numbers and words of a call; or those of its refusal."""
    try:
        return verb(name)(**given)
    except Tim3dError as error:
        return str(error)


@pytest.mark.parametrize("case", CASES)
def test_the_table_holds_every_parameter(case: str) -> None:
    name, _, others = CASES[case]
    assert set(inspect.signature(verb(name)).parameters) - FILES == set(others)


@pytest.mark.parametrize(
    ("case", "parameter"), [(case, one) for case, (*_, others) in CASES.items() for one in others]
)
@pytest.mark.long
def test_a_parameter_changed_alone_gives_another_result_or_is_refused(
    made: Path, firsts: dict[str, Any], monkeypatch: pytest.MonkeyPatch, case: str, parameter: str
) -> None:
    name, given, others = CASES[case]
    monkeypatch.chdir(made)
    first = firsts[case] if case in firsts else firsts.setdefault(case, outcome(name, given))
    changed = outcome(name, {**given, parameter: others[parameter]})
    assert not isinstance(first, str)
    assert isinstance(changed, str) or str(changed.to_dict()) != str(first.to_dict())
    known = recorded_changes.of(first, name, made)
    recorded_changes.compare(case, known, None, name)
    lines = recorded_changes.of(changed, name, made)
    recorded_changes.compare(f"{case} {parameter}", lines, known, name)
