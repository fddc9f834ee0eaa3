"""What explains a property: tables of samples, refusals, validation, laws, and the files that are written."""

from __future__ import annotations

import csv
import json
import shutil
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import tim3d
from tim3d.errors import ArgumentError, InputError, MissingExtraError, MissingFieldError
from tim3d.generators import GaussianField, LevelCuts
from tim3d.phases import Phases
from tim3d.plotting.relation import relation_figure
from tim3d.relating.formulas import bruggeman, curvature_ratio
from tim3d.reporting.relation import samples_text
from tim3d.reporting.table import is_profile, rows

Columns = Mapping[str, Sequence[Any]]
MATERIALS = ("HPA", "NPC", "HPB")


def written(path: str | Path, columns: Columns, mark: str = ",") -> Path:
    """A table of these columns."""
    with Path(path).open("w", newline="") as file:
        lines = csv.writer(file, delimiter=mark)
        lines.writerow(columns)
        lines.writerows(zip(*columns.values(), strict=True))
    return Path(path)


def sintered(seed: int = 0, n: int = 18) -> dict[str, list[Any]]:
    """Samples whose conductivity is that of Bruggeman's law with a scatter of 3 %, and four idle columns."""
    rng = np.random.default_rng(seed)
    density = np.linspace(0.4, 0.8, n) + 0.02 * rng.standard_normal(n)
    tortuosity = 1 + 0.1 * (1 - density) + 0.004 * rng.random(n)
    sigma = 500 * density**1.5 * (1 + 0.03 * rng.standard_normal(n))
    idle = {f"idle{k}": rng.standard_normal(n).tolist() for k in range(4)}
    return {
        "sample": [f"s{k}" for k in range(n)],
        "material": [MATERIALS[k % 3] for k in range(n)],
        "D": density.tolist(),
        "tau": tortuosity.tolist(),
        **idle,
        "sigma [S/m]": sigma.tolist(),
    }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def relate(columns: Columns, **asked: Any) -> xr.Dataset:
    """Relate a table; few shuffles are enough to tell a law from noise."""
    written("t.csv", columns)
    return tim3d.relate("t.csv", **{"target": "sigma", "permutations": 99, **asked})


@pytest.mark.usefixtures("folder")
def test_a_law_is_found_among_idle_columns_and_stands_every_test() -> None:
    found = relate(sintered(), group="material", physics={"density": "D", "tortuosity": "tau"})
    assert "D" in found.feature.values
    assert found.p_value == 0.01
    assert found.q2_nested > 0.9
    assert found.q2_by_group > 0.9
    assert found.measured.attrs["units"] == "S/m"
    held = (found.low <= found.measured) & (found.measured <= found.high)
    assert held.mean() >= 0.8
    assert found.shapley_r2.sum() == pytest.approx(float(found.r2.sel(model=found.attrs["chosen"])))
    assert (found.shap.sum("feature") + found.measured.mean()).values == pytest.approx(
        found.fitted.values
    )


@pytest.mark.usefixtures("folder")
def test_noise_is_called_noise() -> None:
    rng = np.random.default_rng(5)
    noise = sintered() | {"sigma [S/m]": rng.standard_normal(18).tolist()}
    found = relate(noise, largest=2)
    assert found.p_value > 0.05
    # The best model looks better than the search is.
    assert found.q2_nested < found.q2.sel(model=found.attrs["chosen"])
    assert "Not distinguished from noise" in shown(found)


def shown(found: xr.Dataset) -> str:
    from tim3d.reporting.relation import text

    return text(found)


@pytest.mark.long
@pytest.mark.usefixtures("folder")
def test_the_same_call_gives_the_same_bits_and_the_seed_decides() -> None:
    given = sintered() | {"D_error": [0.01] * 18}
    first, again = (relate(given, seed=3) for _ in range(2))
    assert first.identical(again)
    other = relate(given, seed=4)
    assert (other.chance_q2 != first.chance_q2).any()
    assert (other.slope_spread != first.slope_spread).any()
    assert (other.nested == first.nested).all()


@pytest.mark.usefixtures("folder")
def test_a_relation_between_groups_only_is_not_taken_for_one_within() -> None:
    rng = np.random.default_rng(1)
    of = np.arange(18) % 3
    given = {
        "sample": [f"s{k}" for k in range(18)],
        "material": [MATERIALS[k] for k in of],
        "a": (of + 0.05 * rng.standard_normal(18)).tolist(),
        "b": rng.standard_normal(18).tolist(),
        "sigma": (np.array([1.0, 5.0, 2.0])[of] + of + 0.3 * rng.standard_normal(18)).tolist(),
    }
    found = relate(given, group="material")
    assert found.p_value_within > 0.05
    assert found.q2_by_group < 0 < found.q2.max()
    assert "not seen is not predicted" in shown(found)


@pytest.mark.usefixtures("folder")
def test_features_that_go_together_are_named() -> None:
    given = sintered()
    rng = np.random.default_rng(2)
    given["twin"] = (np.array(given["D"]) + 0.002 * rng.standard_normal(18)).tolist()
    found = relate(given, fixed=["D", "twin"])
    assert (found.inflation > 10).all()
    assert "go together" in shown(found)
    given["sum"] = (np.array(given["idle0"]) + given["idle1"]).tolist()
    found = relate(given, features=["idle0", "idle1", "sum", "D"])
    lost = found.kind.sel(model="idle0 + idle1 + sum").item()
    assert lost == "not independent"
    assert np.isinf(found.left_out_error.sel(model="idle0 + idle1 + sum"))


@pytest.mark.usefixtures("folder")
def test_uncertainties_of_columns_move_what_follows_from_them() -> None:
    given = sintered()
    small, large = (
        relate(given | {"D_error": [e] * 18}, fixed=["alpha", "D"], derive=ALPHA, draws=200)
        for e in (0.001, 0.01)
    )
    assert (large.slope_spread > 5 * small.slope_spread).all()
    assert small.draws_kept == 200
    # By hand: the slope of D alone, from the spread of sum(c y) with c = (D - mean) / sum of squares.
    one = relate(given | {"sigma_error [S/m]": [2.0] * 18}, fixed=["D"], draws=2000)
    centred = np.array(given["D"]) - np.mean(given["D"])
    assert one.slope_spread.item() == pytest.approx(2.0 / np.sqrt((centred**2).sum()), rel=0.06)


ALPHA = {"alpha": "bruggeman:tau:D"}


def test_the_exponents_of_the_study_are_those_that_it_prints() -> None:
    """Commun. Mater. 2024, s43246-024-00493-5: HPA and NPC sintered at 175 and 400 C."""
    tortuosity, density = (
        np.array([1.039, 1.013, 1.030, 1.008]),
        np.array([0.576, 0.761, 0.548, 0.756]),
    )
    printed = [0.0694, 0.0473, 0.0491, 0.0285]
    assert bruggeman(tortuosity, density) == pytest.approx(printed, abs=5e-5)


def test_curvatures_are_brought_to_one_unit() -> None:
    assert curvature_ratio(np.array([2.18]), np.array([-146.0]), np.array([0.1])) == pytest.approx(
        2.18 / 14.6
    )
    assert np.isinf(curvature_ratio(np.array([1.0]), np.array([0.0]), np.array([1.0])))


@pytest.mark.usefixtures("folder")
def test_beta_has_the_same_value_in_any_units_and_is_refused_without() -> None:
    given = sintered()
    rng = np.random.default_rng(3)
    mean, gauss, size = 2 + rng.random(18), -50 - 80 * rng.random(18), 0.1 + rng.random(18)
    asked = {"fixed": ["beta", "D"], "derive": {"beta": "curvature_ratio:M:G:d"}}
    um = relate(given | {"M [um-1]": mean, "G [um^-2]": gauss, "d [µm]": size}, **asked)
    nm = relate(given | {"M [um-1]": mean, "G [nm-2]": gauss * 1e-6, "d [nm]": size * 1e3}, **asked)
    assert um.value.values == pytest.approx(nm.value.values)
    assert um.value.sel(feature="beta").values == pytest.approx(mean / (np.abs(gauss) * size))
    with pytest.raises(ArgumentError, match=r"needs d with a unit such as um.*d \[um\]"):
        relate(given | {"M [um-1]": mean, "G [um-2]": gauss, "d": size}, **asked)


@pytest.mark.usefixtures("folder")
def test_laws_stand_in_the_same_table_and_may_win() -> None:
    given = sintered() | {"k [S/m]": (0.99 * np.array(sintered()["sigma [S/m]"])).tolist()}
    roles = {"density": "D", "tortuosity": "tau", "constrictivity": "c", "solved": "k"}
    given["c"] = np.linspace(0.3, 0.9, 18).tolist()
    found = relate(given, physics=roles, bulk=500.0, features=["idle0", "idle1"])
    laws = found.isel(model=np.flatnonzero(found.kind.values == "law"))
    assert laws.sizes["model"] == 5
    assert (laws.parameters == 0).all()
    density, tau = np.array(given["D"]), np.array(given["tau"])
    by_hand = 500 * density**1.15 * np.array(given["c"]) ** 0.37 / tau**4.39
    error = np.sqrt(((by_hand - given["sigma [S/m]"]) ** 2).mean())
    name = "Stenzel (nothing fitted)"
    assert laws.left_out_error.sel(model=name).item() == pytest.approx(error, rel=1e-12)
    assert "No regression is better than a law: solved on the volume" in shown(found)
    fitted = relate(given, physics=roles, features=["idle0", "idle1"])
    bruggeman_fitted = fitted.sel(model="Bruggeman, D^1.5")
    assert bruggeman_fitted.parameters == 1
    predicted, measured = density**1.5, np.array(given["sigma [S/m]"])
    left = [
        measured[i] - predicted[i] * (p @ np.delete(measured, i)) / (p @ p)
        for i in range(18)
        for p in [np.delete(predicted, i)]
    ]
    assert bruggeman_fitted.left_out_error.item() == pytest.approx(
        np.sqrt(np.mean(np.square(left))), rel=1e-10
    )


@pytest.mark.usefixtures("folder")
def test_a_logarithm_gives_no_negative_prediction_and_errors_in_shares() -> None:
    given = sintered()
    found = relate(given, log_target=True, physics={"density": "D"}, derive=ALPHA)
    assert (found.low > 0).all()
    assert found.left_out_error.attrs["units"] == "1"
    assert found.attrs["scale"] == "logarithm"
    plain = relate(given, features=["D", "tau"])
    scales = [relation_figure(one).axes[0].get_xscale() for one in (found, plain)]
    assert scales == ["log", "linear"]
    # Scaling the target moves no error of its logarithm.
    scaled = given | {"sigma [S/m]": (1e6 * np.array(given["sigma [S/m]"])).tolist()}
    other = relate(scaled, log_target=True, physics={"density": "D"}, derive=ALPHA)
    assert other.left_out_error.values == pytest.approx(found.left_out_error.values, rel=1e-6)


@pytest.mark.usefixtures("folder")
def test_samples_that_are_held_out_take_no_part_and_are_predicted() -> None:
    given = sintered()
    found = relate(given, features=["D", "tau"], hold_out=["s3", "s17"])
    assert found.sizes["sample"] == 16
    changed = given | {
        "sigma [S/m]": [v if k not in (3, 17) else "" for k, v in enumerate(given["sigma [S/m]"])]
    }
    unknown = relate(changed, features=["D", "tau"], hold_out=["s3", "s17"])
    assert (unknown.held_out_predicted == found.held_out_predicted).all()
    assert np.isnan(unknown.held_out_measured).all()
    assert found.held_out_measured.sel(held_out="s3") == given["sigma [S/m]"][3]
    assert (found.held_out_low < found.held_out_high).all()
    assert found.held_out_inside.sel(held_out="s3")
    assert not found.held_out_inside.sel(held_out="s17")
    assert "Outside of what was seen: s17" in shown(found)


@pytest.mark.usefixtures("folder")
def test_a_gaussian_process_is_another_model_of_the_table() -> None:
    pytest.importorskip("sklearn", reason="pip install 'tim3d[relate]'")
    first, again = (relate(sintered(), fixed=["D"], gaussian_process=True) for _ in range(2))
    assert first.identical(again)
    row = first.sel(model="Gaussian process of D")
    assert row.q2 > 0.9


@pytest.mark.usefixtures("folder")
def test_a_missing_package_is_named_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tim3d\[relate\]'") as caught:
        tim3d.relate("no.csv", target="sigma", gaussian_process=True)
    assert caught.value.exit_code == 7


def without(rows: int) -> dict[str, list[Any]]:
    return {name: column[:rows] for name, column in sintered().items()}


def changed(column: str, place: int, value: Any) -> dict[str, list[Any]]:
    given = sintered()
    given[column] = [value if k == place else v for k, v in enumerate(given[column])]
    return given


REFUSED: dict[str, tuple[Columns, dict[str, Any], str]] = {
    "no such target": (sintered(), {"target": "sigm"}, "--target: no column 'sigm'.*sigma"),
    "too few samples": (without(7), {"largest": 3}, "7 samples cannot teach.*3 features.*--largest 2"),
    "too few for a level": (without(9), {}, "level 0.9 needs 10 samples, there are 9: --level 0.88"),
    "more features than samples": (
        sintered(n=10) | {f"more{k}": np.random.default_rng(k).random(10) for k in range(6)}, {},
        "12 features are searched with 10 samples",
    ),
    "a constant": (
        sintered() | {"flat": [0.3] * 18}, {"leave_out": ["tau"]},
        "flat is the same in all samples.*--leave-out tau,flat",
    ),
    "the target as a feature": (
        sintered() | {"k": (3 * np.array(sintered()["sigma [S/m]"]) + 1).tolist()}, {}, "k is the target sigma itself"
    ),
    "one number twice": (
        sintered() | {"porosity": (1 - np.array(sintered()["D"])).tolist()}, {"features": ["D", "porosity", "tau"]},
        "D and porosity are one number.*--features D,tau",
    ),
    "all that cannot be learned from, at once": (
        sintered() | {"flat": [0.3] * 18, "k": (3 * np.array(sintered()["sigma [S/m]"]) + 1).tolist(),
                      "porosity": (1 - np.array(sintered()["D"])).tolist(),
                      "percent": (100 * np.array(sintered()["D"])).tolist(),
                      "way": (2 * np.array(sintered()["tau"])).tolist()}, {},
        "flat is the same in all samples.*; k is the target sigma itself, scaled; D and porosity, percent are one "
        "number.*; tau and way are one number.*: --leave-out flat,k,porosity,percent,way$",
    ),
    "the target among the features": (sintered(), {"features": ["sigma", "D"]}, "'sigma' is the "
    "target, and no feature"),
    "a missing value": (changed("tau", 4, ""), {}, "1 values are missing or not finite: tau of s4"),
    "an infinite value": (changed("tau", 4, "inf"), {}, "1 values are missing or not finite: tau of s4"),
    "a text": (changed("tau", 4, "1.07*"), {"features": ["D", "tau"]}, r"tau is a column of texts \('1.07\*'"),
    "a target below 0": (changed("sigma [S/m]", 2, -1.0), {"log_target": True}, "sigma is -1 in s2"),
    "a density in percent": (
        sintered() | {"P": (100 * np.array(sintered()["D"])).tolist()},
        {"physics": {"density": "P"}, "features": ["D", "tau"]}, "P is .* in s0, which is no density",
    ),
    "an exponent without a density": (
        sintered() | {"P": (1 + np.array(sintered()["D"])).tolist()}, {"derive": {"a": "bruggeman:tau:P"}},
        "a is not defined for s0: it needs a tortuosity of at least 1",
    ),
    "no such formula": (sintered(), {"derive": {"a": "brugeman:tau:D"}}, "no formula 'brugeman'.*bruggeman"),
    "two metrics": (
        sintered() | {"tau_metric": ["eikonal"] * 9 + ["graph26"] * 9}, {"features": ["D", "tau"]},
        "tau_metric is 'eikonal' and 'graph26'",
    ),
    "every sample a group": (sintered(), {"group": "D"}, "18 groups of 18 samples"),
    "one group": (sintered() | {"of": ["a"] * 18}, {"group": "of"}, "1 groups of 18 samples"),
    "a sample of no group": (changed("material", 3, ""), {"group": "material"}, "material is empty for s3"),
    "no such sample": (sintered(), {"hold_out": ["s99"]}, "--hold-out: no sample 's99'"),
    "two ways to name features": (sintered(), {"features": ["D"], "leave_out": ["tau"]}, "--leave-out changes nothing"),
    "a model and a search": (sintered(), {"fixed": ["D"], "features": ["D"]}, "--fixed names the model"),
    "few shuffles": (sintered(), {"permutations": 9}, "--permutations is 9; it is at least 99"),
    "no such role": (sintered(), {"physics": {"densty": "D"}}, "--physics has no 'densty'.*density"),
    "a contrast above 1": (sintered(), {"physics": {"density": "D"}, "contrast": 2.0}, "--contrast is 2"),
    "an idle bulk": (sintered(), {"bulk": 5.0}, "--bulk is used by --physics only"),
    "a negative uncertainty": (sintered() | {"D_error": [-1.0] * 18}, {"fixed": ["D"]}, "D_error of "
    "s0 is missing or negative"),
    "options of samples": (sintered(), {"field": "truth"}, "t.csv is a table"),
}  # fmt: skip


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_learned_is_refused_and_named(name: str) -> None:
    columns, asked, why = REFUSED[name]
    with pytest.raises((ArgumentError, InputError), match=f"(?s){why}"):
        relate(columns, json="a.json", **asked)
    assert sorted(p.name for p in Path().iterdir()) == ["t.csv"]


def european(columns: Columns) -> Path:
    """As a spreadsheet writes it where the comma is decimal."""
    return written(
        "e.csv",
        {n: [str(v).replace(".", ",") for v in column] for n, column in columns.items()},
        ";",
    )


def parquet(columns: Columns) -> Path:
    pa = pytest.importorskip("pyarrow", reason="pip install 'tim3d[export]'")
    from pyarrow import parquet as files

    files.write_table(pa.table({n: list(c) for n, c in columns.items()}), "p.parquet")
    return Path("p.parquet")


def tidy(columns: Columns) -> Path:
    """A row for each number, as `tim3d describe --csv` writes."""
    rows = [
        (
            sample,
            name.partition(" ")[0],
            columns[name][k],
            "S/m" if "[" in name else "1",
            k,
            "known",
        )
        for k, sample in enumerate(columns["sample"])
        for name in columns
        if name not in ("sample", "material")
    ]
    names = ("sample", "variable", "value", "units", "uncertainty", "uncertainty_kind")
    return written("d.csv", dict(zip(names, zip(*rows, strict=True), strict=True)))


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("kind", [european, parquet, tidy])
def test_every_kind_of_table_gives_the_same_answer(kind: Callable[[Columns], Path]) -> None:
    given = sintered()
    plain, other = relate(given), tim3d.relate(kind(given), target="sigma", permutations=99)
    assert other.drop_attrs(deep=False).identical(plain.drop_attrs(deep=False))


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has no rows"),
        ("sample,a\n", "has no rows"),
        ("sample,a,a\nx,1,2\n", "two columns 'a'"),
        ("sample,a\nx,1\nx,2\n", "two rows 'x'"),
        ("sample,a\nx,1\n,2\n", "row 3 has no name"),
        ("sample,a\nx,1,2\n", "row 2 has 3 cells and the header has 2"),
        ("sample,a [um],a [nm]\nx,1,2\n", "two columns 'a'"),
    ],
)
def test_a_damaged_table_is_refused_with_its_place(text: str, why: str) -> None:
    Path("t.csv").write_text(text)
    with pytest.raises(InputError, match=why):
        tim3d.relate("t.csv", target="a")


@pytest.mark.long
@pytest.mark.usefixtures("folder")
def test_files_hold_the_answer_and_are_replaced_by_their_kind_only() -> None:
    asked: dict[str, Any] = {"page": "a.html", "json": "a.json", "csv": "a.csv"}
    found = relate(sintered(), group="material", hold_out=["s1"], **asked)
    read = xr.Dataset.from_dict(json.loads(Path("a.json").read_text()))
    assert read.q2.values == pytest.approx(found.q2.values)
    assert read.attrs["question"]["target"] == "sigma"
    with Path("a.csv").open() as file:
        rows = list(csv.DictReader(file))
    nested = {r["sample"]: float(r["value"]) for r in rows if r["variable"] == "nested"}
    assert nested["s0"] == float(found.nested.sel(sample="s0"))
    page = Path("a.html").read_text()
    assert page.count("<img") == 3
    for text in ("What explains sigma", "s17", "held out", found.attrs["chosen"]):
        assert text in page
    before = Path("a.json").read_bytes()
    relate(sintered(), group="material", hold_out=["s1"], json="a.json")
    assert Path("a.json").read_bytes() == before
    Path("mine.csv").write_text("mine")
    with pytest.raises(ArgumentError, match="is not a table of a relation"):
        relate(sintered(), csv="mine.csv")


@pytest.mark.usefixtures("folder")
def test_a_plan_says_what_is_compared_and_writes_nothing() -> None:
    written("t.csv", sintered())
    (plan,) = tim3d.plan("relate", "t.csv", target="sigma", json="a.json")
    assert "compares 41 models of 6 features by 18 samples" in str(plan)
    assert not Path("a.json").exists()
    with pytest.raises(ArgumentError, match="no column"):
        tim3d.plan("relate", "t.csv", target="no")


SOLID = (0.35, 0.45, 0.55, 0.65)
QUIET = tim3d.Options(progress=False)


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four small samples; in the last, paths have another metric."""
    folder = tmp_path_factory.mktemp("stacks")
    for k, solid in enumerate(SOLID):
        sample = str(folder / f"s{k}.zarr")
        cuts = LevelCuts(GaussianField((60.0,) * 3, (10.0,) * 3, seed=k), (1 - solid, solid))
        tim3d.generate(sample, cuts, shape=(12, 12, 12), options=QUIET)
        tim3d.measure(sample, ["phase_fraction", "specific_surface"], options=QUIET)
    for k, metric in ((0, "eikonal"), (3, "graph26")):
        sample = str(folder / f"s{k}.zarr")
        tim3d.geodesic(sample, phases=["solid"], directions=["+z"], metric=metric, options=QUIET)
    written(
        folder / "m.csv", {"name": [f"s{k}" for k in (3, 2, 1, 0)], "T [C]": [400, 300, 200, 100]}
    )
    return folder


MEASURED = ["phase_fraction", "specific_surface"]


def test_samples_and_their_metadata_are_one_table(
    stacks: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(stacks)
    samples = [f"s{k}.zarr" for k in range(4)]
    target = tmp_path / "wide.csv"
    found = tim3d.table(samples, metadata="m.csv", descriptors=MEASURED, csv=target)
    assert found["sample"].values.tolist() == ["s0", "s1", "s2", "s3"]
    assert found["T"].values.tolist() == [100, 200, 300, 400]
    assert found["T"].attrs["units"] == "C"
    for k, sample in enumerate(samples):
        one = tim3d.describe(sample, MEASURED)
        shares = one.phase_fraction.sel(phase="solid")
        assert found["phase_fraction.solid"][k] == shares
    assert found["specific_surface.solid"].attrs["units"] == "nm-1"
    (row,) = [
        r.split()
        for r in samples_text(found).splitlines()
        if r.startswith("specific_surface.solid ")
    ]
    largest = 1000 * float(found["specific_surface.solid"].max())
    assert row[1] == "µm-1"
    assert max(map(float, row[2:])) == pytest.approx(largest, rel=1e-3)
    header, first = target.read_text().splitlines()[:2]
    assert "specific_surface.solid [nm-1]" in header.split(",")
    assert first.startswith("s0,")
    again = target.read_bytes()
    tim3d.table(samples, metadata="m.csv", descriptors=MEASURED, csv=target)
    assert target.read_bytes() == again
    # The file is a table to be related, and so are the samples.
    asked: dict[str, Any] = {"target": "T", "features": ["phase_fraction.solid"]}
    for source, more in ((target, {}), (samples, {"metadata": "m.csv", "descriptors": MEASURED})):
        with pytest.raises(ArgumentError, match="4 samples cannot teach a model of 1 features"):
            tim3d.relate(source, **asked, **more)


@pytest.mark.long
def test_scores_of_an_evaluation_stand_beside_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    truth, samples = np.arange(72).reshape(2, 6, 6) % 2, ["a.zarr", "b.zarr"]
    for wrong, sample in enumerate(samples):
        labels = truth.copy()
        labels[0, 0, : 2 * wrong] ^= 1
        for field, values in (("phase", labels), ("truth", truth)):
            np.save("p.npy", values.astype(np.uint8))
            given = {"voxel_size": dict.fromkeys("zyx", 5), "phases": Phases(pore=0, solid=1)}
            tim3d.ingest("p.npy", sample, field=field, **given, options=QUIET)  # type: ignore[arg-type]
        tim3d.measure(sample, ["phase_fraction"], options=QUIET)
        tim3d.evaluate(sample, resamples=0, out="score", options=QUIET)
    found = tim3d.table(samples, evaluation="score")
    assert found["accuracy"].values.tolist() == [1, 70 / 72]
    assert found["iou.pore"].values.tolist() == [1, 35 / 37]
    assert "accuracy" not in tim3d.table(samples)
    assert not [n for n in found.data_vars if "_z" in str(n) or str(n).endswith(("_low", "_high"))]
    by_axes = tim3d.table(samples, evaluation="score", axes=True)
    assert by_axes["iou"].sel(phase="solid").values.tolist() == [1, 35 / 37]
    with pytest.raises(MissingFieldError, match=r"there are score\. Run: tim3d evaluate a\.zarr"):
        tim3d.table(samples, evaluation="other")
    tim3d.evaluate("b.zarr", resamples=0, tolerance=5, out="near", options=QUIET)
    tim3d.evaluate("a.zarr", resamples=0, tolerance=10, out="near", options=QUIET)
    with pytest.raises(InputError, match=r"boundary_f1.* was not measured alike: within"):
        tim3d.table(samples, evaluation="near")


def test_samples_of_one_name_stand_under_their_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cuts = LevelCuts(GaussianField((60.0,) * 3, (20.0,) * 3, seed=1), (0.5, 0.5))
    tim3d.generate("a/s.zarr", cuts, shape=(6, 6, 6), options=QUIET)
    tim3d.measure("a/s.zarr", ["phase_fraction"], options=QUIET)
    for other in ("b/s.zarr", "b/t.zarr"):
        shutil.copytree("a/s.zarr", other)
    found = tim3d.table(["a/s.zarr", "b/s.zarr/", "b/t.zarr"], descriptors=["phase_fraction"])
    assert found["sample"].values.tolist() == ["a/s.zarr", "b/s.zarr", "t"]


def test_every_number_of_a_description_is_a_cell_of_the_table_also_zero(tmp_path: Path) -> None:
    """A phase that is nowhere fills 0 of the volume; what has no value is missing, and only that."""
    phases, words = Phases(pore=0, solid=1, dirt=5), ["phase_fraction", "specific_surface"]
    samples = []
    for k, codes in enumerate(([0, 1], [0, 1, 5])):
        draw = np.random.default_rng(k)
        np.save(tmp_path / "p.npy", draw.choice(np.array(codes, np.uint8), (6, 7, 8)))
        samples.append(str(tmp_path / f"s{k}.zarr"))
        given = {"voxel_size": {"z": 20, "y": 10, "x": 10}, "field": "phase", "phases": phases}
        tim3d.ingest(tmp_path / "p.npy", samples[k], **given, options=QUIET)  # type: ignore[arg-type]
        tim3d.measure(samples[k], words, options=QUIET)
    found = tim3d.table(samples, descriptors=words)
    for k, sample in enumerate(samples):
        for row in rows({f"s{k}": tim3d.describe(sample, words, plain=True)}):
            if not is_profile(row):
                name = ".".join([row.variable, *map(str, row.place.values())])
                assert float(found[name][k]) == row.value, name
    assert found["phase_fraction.dirt"].values[0] == 0


def test_samples_keep_their_axes_and_phases_that_differ_stand_apart(tmp_path: Path) -> None:
    phases, sizes = (Phases(pore=0, solid=1), Phases(pore=0, copper=2)), (12, 10)
    for k, (names, n) in enumerate(zip(phases, sizes, strict=True)):
        labels = np.array(names.codes, np.uint8)[
            np.random.default_rng(k).integers(0, 2, (n, 12, 12))
        ]
        np.save(tmp_path / "p.npy", labels)
        given = {"voxel_size": {"z": 10, "y": 10, "x": 10 + k}, "field": "phase", "phases": names}
        tim3d.ingest(tmp_path / "p.npy", str(tmp_path / f"s{k}.zarr"), **given, options=QUIET)
        words = ["phase_fraction", "correlation:lags=4"]
        tim3d.measure(str(tmp_path / f"s{k}.zarr"), words, options=QUIET)
    written(tmp_path / "m.csv", {"name": ["s1", "s0"], "T [C]": [400, 300]})
    samples = [str(tmp_path / f"s{k}.zarr") for k in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = tim3d.table(samples, metadata=tmp_path / "m.csv", axes=True)
    assert found.phase.values.tolist() == ["pore", "solid", "copper"]
    assert found["T"].values.tolist() == [300, 400]
    assert found.phase_fraction.dims == ("sample", "phase")
    assert np.isnan(found.phase_fraction.sel(sample="s0", phase="copper"))
    for name, sample, n in zip(("s0", "s1"), samples, sizes, strict=True):
        one, mine = tim3d.describe(sample), found.sel(sample=name)
        for key, values in one.data_vars.items():
            ours = mine[key].sel(phase=one.phase) if "phase" in values.dims else mine[key]
            ours = ours.sel(phase_other=one.phase_other) if "phase_other" in values.dims else ours
            ours = ours.isel(z=slice(n)) if "z" in values.dims else ours
            np.testing.assert_array_equal(ours.values, values.values, err_msg=str(key))
        np.testing.assert_array_equal(mine.z_of_sample[:n], one.z)
        np.testing.assert_array_equal(mine.lag_4_length, one.lag_4_length)
    assert "x" not in found.coords
    assert found.lag_radius_4.values.tolist() == [0, 10, 20, 30, 40]
    assert "y_of_sample" not in found
    assert found.phase_fraction.attrs["units"] == "1"
    with pytest.raises(ArgumentError, match="no axes"):
        tim3d.table(samples, csv=tmp_path / "t.csv", axes=True)


def test_a_table_of_the_users_own_that_begins_alike_is_kept(
    stacks: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(stacks)
    own = tmp_path / "own.csv"
    own.write_text("sample,T [C]\ns0,100\ns1,200\ns9,900\n")
    before = own.read_bytes()
    for more in ({}, {"metadata": own}):
        with pytest.raises(ArgumentError, match=r"own\.csv exists and is not a table of samples"):
            tim3d.table(["s0.zarr", "s1.zarr"], descriptors=MEASURED, csv=own, **more)
    assert own.read_bytes() == before


def test_samples_with_two_metrics_are_not_one_table(
    stacks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(stacks)
    why = r"metric is 'eikonal' in s0 and 'graph26' in s3"
    with pytest.raises(InputError, match=why):
        tim3d.table(["s0.zarr", "s3.zarr"])
    name = "geodesic_tortuosity.solid.+z"
    with pytest.raises(InputError, match=why):
        tim3d.relate(["s0.zarr", "s3.zarr"], metadata="m.csv", target="T", features=[name])


def test_metadata_without_a_sample_are_refused(
    stacks: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(stacks)
    few = written(tmp_path / "few.csv", {"name": ["s0"], "T": [1]})
    with pytest.raises(InputError, match="has no row for s1"):
        tim3d.table(["s0.zarr", "s1.zarr"], metadata=few, descriptors=MEASURED)
    with pytest.raises(InputError, match=r"'s0\.zarr' is given twice"):
        tim3d.table(["s0.zarr", "s0.zarr/"], descriptors=MEASURED)
