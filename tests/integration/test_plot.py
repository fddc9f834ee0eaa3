"""Every distribution that a sample holds is a figure of its own in a folder, and stands in the report."""

from __future__ import annotations

import re
import shlex
import shutil
from html import unescape
from pathlib import Path

import numpy as np
import pytest

import tim3d
from tim3d.cli.main import main
from tim3d.cli.recipe import plan_recipe, run_recipe
from tim3d.errors import ArgumentError, MissingFieldError, MixedRunError, Tim3dError
from tim3d.exporting import figures
from tim3d.generators import GaussianField, LevelCuts
from tim3d.reporting import page, table

QUIET = tim3d.Options(progress=False)
SHAPE, SPACING = (14, 22, 26), (12.0, 10.0, 8.0)
MEASURED = [
    "phase_fraction", "thickness", "distance", "correlation:lags=8", "correlation:lags=5", "chord_length:lags=8",
    "cluster_correlation:lags=8", "curvature:sigma=1,bins=8", "slice_shape",
]  # fmt: skip
OF_DESCRIPTORS = {
    "profiles", "thickness_figure", "distance_figure", "correlation_figure_lags_8", "correlation_figure_lags_5",
    "chord_figure_lags_8", "cluster_figure_lags_8", "curvature_figure_sigma_1_bins_8", "slice_shape_figure",
}  # fmt: skip
STUDY = "phase_study_quantity=phase_fraction,phase=pore,windows_nm=48+96"


def generated(sample: Path, seed: int = 2, **how: bool) -> str:
    """Labels of a level cut."""
    field = GaussianField((60.0,) * 3, SPACING, seed=seed)
    options = tim3d.Options(progress=False, **how)
    tim3d.generate(str(sample), LevelCuts(field, (0.4, 0.6)), shape=SHAPE, options=options)
    return str(sample)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    sample = generated(tmp_path_factory.mktemp("plot") / "a.zarr")
    tim3d.distance(sample, options=QUIET)
    tim3d.thickness(sample, options=QUIET)
    tim3d.label(sample, keep=True, options=QUIET)
    tim3d.porosimetry(sample, phase="pore", options=QUIET)
    tim3d.measure(sample, MEASURED, options=QUIET)
    tim3d.study(sample, quantity="phase_fraction", phase="pore", windows_nm=[48, 96], options=QUIET)
    return sample


@pytest.fixture(scope="module")
def drawn(whole: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tim3d.plot(whole, tmp_path_factory.mktemp("figures") / "all", format="svg")


@pytest.fixture
def copy(whole: str, tmp_path: Path) -> str:
    for end in ("", ".runs"):
        shutil.copytree(whole + end, tmp_path / f"b.zarr{end}")
    return str(tmp_path / "b.zarr")


@pytest.mark.long
def test_every_figure_of_every_result_is_a_file(drawn: Path) -> None:
    expected = {f"phase_descriptors_{name}" for name in OF_DESCRIPTORS}
    expected |= {"phase_porosimetry_phase=pore_porosimetry_figure", f"{STUDY}_study_figure"}
    assert {one.stem for one in drawn.iterdir()} == expected
    assert all(one.read_bytes().startswith(b"<?xml") for one in drawn.iterdir())


def test_a_file_holds_the_figure_that_python_draws(whole: str, drawn: Path, tmp_path: Path) -> None:
    subject = figures.Subject(whole, "phase_descriptors")
    figures.drawings(subject)["correlation_figure_lags_5"](subject).savefig(tmp_path / "a.svg")
    known = (drawn / "phase_descriptors_correlation_figure_lags_5.svg").read_text()
    other = (drawn / "phase_descriptors_correlation_figure_lags_8.svg").read_text()
    paths = re.findall(r' d="([^"]+)"', (tmp_path / "a.svg").read_text())
    assert paths == re.findall(r' d="([^"]+)"', known) != re.findall(r' d="([^"]+)"', other)


@pytest.mark.long
@pytest.mark.parametrize(("format", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_figures_are_chosen_by_name_and_format(
    whole: str, tmp_path: Path, format: str, start: bytes
) -> None:
    given = {"results": ["phase_descriptors"], "drawings": ["thickness", "cluster_figure"]}
    found = tim3d.plot(whole, tmp_path / "f", format=format, **given)
    names = ["phase_descriptors_cluster_figure_lags_8", "phase_descriptors_thickness_figure"]
    assert sorted(one.name for one in found.iterdir()) == [f"{name}.{format}" for name in names]
    assert all(one.read_bytes().startswith(start) for one in found.iterdir())


@pytest.mark.long
def test_the_same_question_draws_nothing_and_a_newer_result_is_asked_for(
    copy: str, tmp_path: Path
) -> None:
    given = {"drawings": ["thickness"], "format": "svg"}
    (file,) = tim3d.plot(copy, tmp_path / "f", **given).iterdir()
    age = file.stat().st_mtime_ns
    (line,) = tim3d.plan("plot", copy, tmp_path / "g", **given)
    assert str(line) == f"plot: draws {file.name}"
    assert tim3d.plan("plot", copy, tmp_path / "f", **given) == []
    tim3d.plot(copy, tmp_path / "f", **given)
    assert file.stat().st_mtime_ns == age
    tim3d.measure(copy, ["chord_length:lags=5"], options=QUIET)
    with pytest.raises(MixedRunError, match="--overwrite"):
        tim3d.plot(copy, tmp_path / "f", **given)
    assert file.stat().st_mtime_ns == age
    tim3d.plot(copy, tmp_path / "f", overwrite=True, **given)
    assert file.stat().st_mtime_ns > age


def test_an_outdated_result_is_left_out_and_named(
    copy: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    generated(Path(copy), seed=4, overwrite=True)
    tim3d.measure(copy, ["slice_shape"], options=QUIET)
    found = tim3d.plot(copy, tmp_path / "f", format="svg")
    assert [one.stem for one in found.iterdir()] == ["phase_descriptors_slice_shape_figure"]
    assert (
        "phase_porosimetry_phase=pore is not drawn: outdated, 'phase' was replaced" in caplog.text
    )
    with pytest.raises(MixedRunError, match="Renew it: tim3d porosimetry"):
        tim3d.plot(copy, tmp_path / "g", results=["phase_porosimetry_phase=pore"])
    assert not (tmp_path / "g").exists()


def test_bad_questions_are_one_line_and_write_nothing(whole: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    empty = generated(tmp_path / "empty.zarr")
    cases: list[tuple[str, str, dict[str, object], type[Tim3dError], str]] = [
        (
            whole,
            "a.png",
            {},
            ArgumentError,
            "is the name of a file. Name a folder, or draw one figure: tim3d export",
        ),
        (whole, "file", {}, ArgumentError, "is the name of a file"),
        (
            whole,
            "f",
            {"drawings": ["drift"]},
            ArgumentError,
            "no figure 'drift' of .*; there are profiles, thickness",
        ),
        (whole, "f", {"drawings": ["thicknes"]}, ArgumentError, "thickness_figure.*; there are"),
        (whole, "f", {"results": ["nope"]}, MissingFieldError, "no finished 'nope'"),
        (whole, "f", {"format": "jpeg"}, ArgumentError, "there are png, svg, pdf"),
        (
            empty,
            "f",
            {},
            MissingFieldError,
            "has a figure. Measure one: tim3d measure .*empty.zarr --descriptors",
        ),
        (str(tmp_path / "none.zarr"), "f", {}, Tim3dError, "no sample at"),
    ]
    for sample, out, given, kind, text in cases:
        with pytest.raises(kind, match=text) as said:
            tim3d.plot(sample, tmp_path / out, **given)
        assert "\n" not in str(said.value)
    assert {one.name for one in tmp_path.iterdir()} <= {"file", "empty.zarr", "empty.zarr.runs"}
    assert (tmp_path / "file").read_text() == "mine"


def test_what_no_export_wrote_is_kept(whole: str, tmp_path: Path) -> None:
    mine = tmp_path / "f" / "phase_descriptors_thickness_figure.svg"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(ArgumentError, match="is not an export of tim3d"):
        tim3d.plot(
            whole, mine.parent, drawings=["distance", "thickness"], format="svg", overwrite=True
        )
    assert [one.read_text() for one in mine.parent.iterdir()] == ["mine"]


@pytest.mark.long
def test_the_shell_and_a_recipe_draw(copy: str, tmp_path: Path) -> None:
    command = f"plot {copy} {tmp_path / 'f'} --drawings slice_shape,chord --format svg --quiet"
    assert main(shlex.split(command)) == 0
    assert len(list((tmp_path / "f").iterdir())) == 2
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        f'sample = "{copy}"\n[[step]]\nverb = "plot"\nout = "{tmp_path / "g"}"\ndrawings = ["slice_shape"]\n'
    )
    assert "draws the results of" in "\n".join(map(str, plan_recipe(recipe)))
    assert not (tmp_path / "g").exists()
    run_recipe(recipe)
    assert len(list((tmp_path / "g").iterdir())) == 1


@pytest.mark.long
def test_the_report_shows_thickness_and_intrusion_with_their_numbers(
    whole: str, tmp_path: Path
) -> None:
    text = unescape(tim3d.report(whole, tmp_path / "a.html").read_text())
    for heading in ("Thickness and distance", "Intrusion", "Correlations and curvatures"):
        assert f"<h2>{heading}</h2>" in text
    for caption in (
        "Local thickness: diameter", "Distance of the voxels", "Share of the phase that balls",
        "in one connected component", "of every slice across",
    ):  # fmt: skip
        assert caption in text
    found = tim3d.open_dataset(whole, "phase_porosimetry_phase=pore")
    row = text[text.index("<td><code>r_min</code>") :].split("</tr>")[0]
    plain = re.sub("<.*?>", "|", row)
    for value in [*found.r_min.values, float(found.r_min_mean)]:
        assert f"|{re.sub('<.*?>', '', page.number(table.number(float(value))))}|" in plain


@pytest.mark.long
def test_what_the_report_lacks_is_added_by_its_commands(tmp_path: Path) -> None:
    sample = generated(tmp_path / "c.zarr")
    before = unescape(re.sub("<.*?>", "\n", tim3d.report(sample, tmp_path / "a.html").read_text()))
    assert "Intrusion" not in before
    commands = [
        line
        for line in before.splitlines()
        if "tim3d porosimetry" in line or "--descriptors thickness" in line
    ]
    assert len(commands) == 2
    for one in [part for line in commands for part in line.split("; ")]:
        assert main([*shlex.split(one)[1:], "--quiet"]) == 0
    text = tim3d.report(sample, tmp_path / "b.html").read_text()
    assert "<h2>Intrusion</h2>" in text
    assert "<h2>Thickness and distance</h2>" in text
    assert np.isfinite(tim3d.describe(sample, ["thickness"]).thickness_mean.values).all()
