"""A library of generators: what is added is kept with its micrograph, what is judged is judged once, and what does
not fit is refused in a line."""

from __future__ import annotations

import csv
import inspect
import json
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile

import tim3d
from tests.integration.test_every_verb import SMALL, blocks_done, bytes_of, one_line
from tests.micrographs import blobs, shades
from tests.unit.test_official import written
from tim3d.cataloguing.copying import DISTANCES
from tim3d.cataloguing.judging import JUDGEMENT, MAPPINGS, Judgement, Judging, is_current
from tim3d.cataloguing.listed import read_list
from tim3d.cli.parsing import verb
from tim3d.errors import ArgumentError, CheckpointError, InputError, MixedRunError
from tim3d.kernels.generation.architecture import PRESETS
from tim3d.kernels.statistics.copies import nearest_part
from tim3d.reporting.library import is_library, says, text

pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
import torch

from tim3d.models.common.weights import write_weights

TWO = tim3d.Phases(pore=0, solid=1)
QUIET = tim3d.Options(progress=False)
SIZE = {"z": 10, "y": 10, "x": 10}
ADD: dict[str, Any] = {
    "folder": "lib", "add": "gen.safetensors", "micrograph": "image.tif", "phases": TWO, "pixel_size": 10,
    "licence": "CC0", "origin": "made here", "options": QUIET,
}  # fmt: skip
JUDGE: dict[str, Any] = {"evaluate": True, "volumes": 2, "edge": 32, "options": QUIET}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generators of two phases, images of two values and of grey ones."""
    folder = tmp_path_factory.mktemp("library")
    checkpoint, _ = written(folder, False)
    for name, phases in (("gen", TWO), ("other", tim3d.Phases(void=0, solid=1))):
        tim3d.import_generator(
            checkpoint, folder / f"{name}.safetensors", voxel_size=SIZE, phases=phases
        )
    tifffile.imwrite(folder / "image.tif", blobs(48, 1.2))
    tifffile.imwrite(folder / "grey.tif", shades(48))
    return folder


@pytest.fixture
def work(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PRESETS, "small", SMALL)
    return tmp_path


def test_an_addition_is_kept_with_its_micrograph_and_made_once(work: Path) -> None:
    before = bytes_of(work)
    assert [str(one) for one in tim3d.plan("library", **ADD)] == ["library: adds image to lib"]
    assert bytes_of(work) == before
    found = tim3d.library(**ADD)
    assert tim3d.plan("library", **ADD) == []
    one = found.sel(generator="image")
    assert (one.licence, one.origin, one.state) == ("CC0", "made here", "not evaluated")
    assert (one.phases, float(one.voxel_z)) == ("pore=0,solid=1", 10.0)
    assert Path("lib/image/image.tif").read_bytes() == Path("image.tif").read_bytes()
    assert is_library(found)
    assert "image" in text(found)
    # Killed before the record, the addition is no entry, and adding again completes it.
    Path("lib/image/entry.json").unlink()
    empty = tim3d.library("lib")
    assert empty.sizes["generator"] == 0
    assert "tim3d library lib --train micrographs.csv" in text(empty)
    assert tim3d.library(**ADD).identical(found)


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"licence": " "}, ArgumentError, "image has no licence"),
    ({"micrograph": None}, ArgumentError, "needs its micrograph"),
    ({"micrograph": "gone.tif"}, InputError, "no micrograph at gone.tif"),
    ({"micrograph": ["image.tif"] * 2}, ArgumentError, "2 micrographs of image; give one, or three"),
    ({"micrograph": ["image.tif"] * 3}, ArgumentError, "two micrographs are called image.tif"),
    ({"add": "other.safetensors"}, ArgumentError, "makes the phases void, solid, and the micrograph is said to"),
    ({"phases": None}, ArgumentError, "--phases pore=VALUE,solid=VALUE"),
    ({"pixel_size": None}, ArgumentError, "does not state its pixel size"),
    ({"pixel_size": 5}, ArgumentError, "pixels of image.tif are 5 x 5 nm at scale 1, and voxels across z 10 x 10"),
    ({"add": None}, ArgumentError, "--micrograph describes a generator to add"),
    ({"entry": "../a"}, ArgumentError, "an entry cannot be called '../a'"),
    ({"folder": "none/lib"}, ArgumentError, "no folder none"),
    ({"folder": "image.tif"}, ArgumentError, "is a file, and a library is a folder"),
    ({"folder": "s3://bucket/lib"}, ArgumentError, "is a URL"),
    ({"page": "page.pdf"}, ArgumentError, "--page page.html"),
    ({"volumes": 0}, ArgumentError, "--volumes is 0"),
    ({"edge": 0}, ArgumentError, "--edge is 0"),
    ({"steps": 0}, ArgumentError, "--steps is 0"),
    ({"seed": -1}, ArgumentError, "--seed is -1"),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "kind", "says"), REFUSED)
def test_what_does_not_fit_is_one_line_and_nothing_is_written(
    work: Path, changed: dict[str, Any], kind: Any, says: str
) -> None:
    before = bytes_of(work)
    assert says in one_line(lambda: tim3d.library(**{**ADD, **changed}), kind)
    assert bytes_of(work) == before


def test_another_generator_of_the_same_name_is_refused_until_it_is_overwritten(work: Path) -> None:
    tim3d.library(**ADD)
    again = ADD | {"licence": "MIT"}
    assert "--overwrite" in one_line(lambda: tim3d.library(**again), MixedRunError)
    found = tim3d.library(**again | {"options": tim3d.Options(overwrite=True, progress=False)})
    assert found.licence.item() == "MIT"


def test_a_library_that_is_not_there_is_not_made_by_looking(work: Path) -> None:
    assert "no library at lib" in one_line(lambda: tim3d.library("lib"), InputError)
    assert not Path("lib").exists()


@pytest.mark.parametrize("asked", [{"evaluate": True}, {"page": "page.html"}, {"csv": "lib.csv"}])
def test_a_library_without_generators_is_not_judged_and_not_written(
    work: Path, asked: dict[str, Any]
) -> None:
    (work / "lib").mkdir()
    for call in (tim3d.library, partial(tim3d.plan, "library")):
        said = one_line(partial(call, "lib", **asked), InputError)
        assert (
            "lib has no generators. Train some: tim3d library lib --train micrographs.csv" in said
        )
        assert "--add gen.safetensors" in said
    (work / "lib" / "silver" / "training").mkdir(parents=True)
    assert "training of silver is unfinished" in one_line(
        lambda: tim3d.library("lib", **asked), InputError
    )
    assert not list(work.glob("page.html")) + list(work.glob("lib.csv"))


def test_a_training_that_was_killed_is_listed_as_unfinished(work: Path) -> None:
    tim3d.library(**ADD)
    (work / "lib" / "silver" / "training").mkdir(parents=True)
    found = tim3d.library("lib", page="page.html", csv="lib.csv")
    assert found.generator.values.tolist() == ["image", "silver"]
    assert found.state.values[1] == "training unfinished: type the same --train again"
    assert next(says(found)).startswith("1 generator,")
    assert "grey values" not in text(found)
    page = Path("page.html").read_text()
    assert "training unfinished" in page
    assert "nan" not in page


def test_one_generator_that_cannot_be_judged_does_not_stop_the_others(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tim3d.library(**ADD | {"entry": "bad"})
    tim3d.library(**ADD | {"entry": "good"})
    record = json.loads(Path("lib/good/entry.json").read_text())
    judged: dict[str, Any] = {key: {} for key in MAPPINGS} | {
        "volumes": 2, "edge": 32, "seed": 0, "node": "", "reached": 1, "judged": 2,
        "generator": record["generator"], "micrographs": record["micrographs"],
    }  # fmt: skip
    judged["three_d"] = {"largest_share.pore": 0.5, "geodesic_tortuosity_mean.pore": 1.25}
    judged["copies"] = dict.fromkeys(DISTANCES, 0.25)
    answer = Judgement(**judged)
    monkeypatch.setattr(
        Judging, "run", lambda one: (one.entry.folder / JUDGEMENT).write_bytes(answer.text())
    )
    Path("lib/bad/judgement.json").write_text("{")
    (plan, *_) = tim3d.plan("library", "lib", **JUDGE)
    assert "cannot judge bad: lib/bad/judgement.json is damaged" in str(plan)
    said = one_line(lambda: tim3d.library("lib", csv="lib.csv", **JUDGE), InputError)
    assert "bad cannot be judged: lib/bad/judgement.json is damaged" in said
    bad, good = csv.DictReader(Path("lib.csv").read_text().splitlines())
    assert "is damaged" in bad["state"]
    # Its numbers stay when its volumes are deleted; the state says what makes them again.
    assert (good["volumes"], good["reached"]) == ("2.0", "1.0")
    assert "its volumes in lib/good/volumes are gone or were changed" in good["state"]
    assert "tim3d library lib --evaluate --volumes 2 --edge 32 --seed 0" in good["state"]
    # Facts of the page are words with their unit, and not names of variables alone.
    tim3d.library("lib", page="page.html")
    page = Path("page.html").read_text()
    assert "largest_share of pore, 3-D value" in page
    assert "voxels of the largest component over voxels of the phase" in page
    assert "geodesic_tortuosity_mean of pore" in page
    assert "mean distance of crops of the volumes to the nearest part of the image" in page
    assert page.count("0.2500 of the pixels") == 2


def test_a_network_of_another_kind_is_refused_with_what_can_be_added(work: Path) -> None:
    weights = {"x": torch.zeros(1)}
    write_weights("net.safetensors", weights, '{"model":"diffusion"}')
    said = one_line(lambda: tim3d.library(**ADD | {"add": "net.safetensors"}), CheckpointError)
    assert "tim3d train-generator or tim3d import-generator" in said


@pytest.mark.long
def test_a_judgement_is_that_of_fidelity_and_is_made_once(work: Path) -> None:
    tim3d.library(**ADD)
    plans = [str(one) for one in tim3d.plan("library", "lib", **JUDGE)]
    assert plans[-1].endswith("compares 2 volumes of 32³ of image with its micrograph")
    found = tim3d.library("lib", **JUDGE, page="page.html", csv="lib.csv")
    assert tim3d.plan("library", "lib", **JUDGE) == []
    first, second = sorted(str(one) for one in Path("lib/image/volumes").glob("*.zarr"))
    hand = tim3d.fidelity(
        first, [second], micrograph="image.tif", phases=TWO, pixel_size=10, out="by_hand", options=QUIET
    )  # fmt: skip
    for quantity in ("phase_fraction", "two_point", "lineal_path", "surface"):
        worst = float(np.abs(hand.deviation.sel(quantity=quantity)).max())
        assert float(found[f"{quantity}_deviation"].item()) == worst
    assert int(found.judged.item()) == int(hand.within.notnull().sum())
    assert int(found.reached.item()) == int(hand.within.sum())
    shares = [
        float(tim3d.open_dataset(one, "phase_components").largest_share.sel(phase="solid"))
        for one in (first, second)
    ]
    assert float(found["largest_share.solid"].item()) == pytest.approx(np.mean(shares), rel=1e-12)
    image, middle = blobs(48, 1.2), slice(8, 24)
    crops = [
        tim3d.open_field(one, "phase").values.take(16, axis)[middle, middle]
        for one in (first, second)
        for axis in range(3)
    ]
    near = np.mean([nearest_part(crop, image).distance for crop in crops])
    assert float(found.nearest_part_distance.item()) == pytest.approx(near, rel=1e-12)
    assert 0 < float(found.nearest_part_distance_of_image.item()) < 0.5
    (row,) = csv.DictReader(Path("lib.csv").read_text().splitlines())
    assert (row["generator"], row["voxel_z [nm]"]) == ("image", "10.0")
    assert float(row["surface_deviation"]) == float(found.surface_deviation.item())
    page = Path("page.html").read_text()
    assert all(one in page for one in ("CC0", "made here", "lineal_path", "seeds", "MicroLib"))
    assert "|Δφ| of these: mean" in " ".join(says(found))


@pytest.mark.long
def test_what_stands_is_not_computed_again(work: Path) -> None:
    tim3d.library(**ADD)
    assert blocks_done(lambda: tim3d.library("lib", **JUDGE)) > 0
    whole = Path("lib/image/judgement.json").read_bytes()
    Path("lib/image/judgement.json").unlink()  # killed before its last write
    assert blocks_done(lambda: tim3d.library("lib", **JUDGE)) == 0
    assert Path("lib/image/judgement.json").read_bytes() == whole
    made = len(list(Path("lib/image/volumes").glob("*.zarr")))
    more = tim3d.library("lib", **JUDGE | {"volumes": 3})
    assert len(list(Path("lib/image/volumes").glob("*.zarr"))) == made + 1
    assert int(more.volumes.item()) == 3


@pytest.mark.long
def test_what_was_replaced_or_is_gone_is_shown_and_not_judged(work: Path) -> None:
    tim3d.library(**ADD)
    found = tim3d.library("lib", **JUDGE)
    shutil.rmtree("lib/image/volumes")
    gone = tim3d.library("lib", page="page.html")
    assert "its volumes in lib/image/volumes are gone" in gone.state.item()
    assert tim3d.library("lib", **JUDGE).identical(found)
    entry, judged = Path("lib/image/entry.json"), Path("lib/image/judgement.json")
    record = json.loads(judged.read_text()) | {"generator": "0" * 64}
    judged.write_text(json.dumps(record))
    found = tim3d.library("lib", page="page.html")
    assert found.state.item() == "outdated"
    assert np.isnan(found.volumes.item())
    assert "--evaluate" in Path("page.html").read_text()
    judged.write_text("{")
    assert "judgement.json is damaged" in tim3d.library("lib").state.item()
    judged.unlink()
    Path("lib/image/image.tif").write_bytes(Path("grey.tif").read_bytes())
    assert "is another file than was added" in tim3d.library("lib").state.item()
    Path("lib/image/image.tif").unlink()
    assert "its micrograph lib/image/image.tif is gone" in tim3d.library("lib").state.item()
    said = one_line(lambda: tim3d.library("lib", **JUDGE), InputError)
    assert "image cannot be judged: its micrograph lib/image/image.tif is gone" in said
    entry.write_text("{}")
    assert "is not the record of an entry" in one_line(lambda: tim3d.library("lib"), InputError)


@pytest.mark.parametrize(
    ("generator", "micrographs", "current"),
    [
        ("a", {"x.tif": "1"}, True),
        ("b", {"x.tif": "1"}, False),
        ("a", {"x.tif": "2"}, False),
        ("a", {"y.tif": "1"}, False),
        ("a", {"x.tif": "1", "y.tif": "2"}, False),
    ],
)
def test_a_judgement_is_of_one_generator_and_of_its_micrographs(
    generator: str, micrographs: dict[str, str], current: bool
) -> None:
    entry: Any = SimpleNamespace(generator="a", micrographs={"x.tif": "1"})
    judged: Any = SimpleNamespace(generator=generator, micrographs=micrographs)
    assert is_current(entry, judged) == current
    assert not is_current(entry, None)


HEAD = "file,phases,pixel_size,licence"
ROW = "image.tif,pore=0;solid=1,10,CC0"
TABLES = [
    (f"{HEAD}\n{ROW[:-3]}", "row 2, column 'licence': the licence is missing"),
    (f"{HEAD}\n../{ROW}", "does not lie beside the table"),
    (f"{HEAD}\n/{ROW}", "does not lie beside the table"),
    (f"{HEAD}\nno{ROW}", "row 2, column 'file': no micrograph at noimage.tif"),
    (f"{HEAD}\n{ROW}\n{ROW}", "two rows 'image'"),
    (
        f"{HEAD}\nimage.tif,pore;solid,10,CC0",
        "row 2, column 'phases': phase 'pore' is not of the form",
    ),
    (f"{HEAD}\nimage.tif,pore=0;solid=300,10,CC0", "row 2, column 'phases'"),
    (
        f"{HEAD}\nimage.tif,pore=0;solid=255,10,CC0",
        "row 2, column 'phases': image.tif holds the values 0",
    ),
    (
        f"{HEAD}\nimage.tif,pore=0;solid=1,ten,CC0",
        "row 2, column 'pixel_size': 'ten' is not a length: write the",
    ),
    (
        f"{HEAD}\nimage.tif,pore=0;solid=1,-5,CC0",
        "row 2, column 'pixel_size': '-5' is not a length",
    ),
    (
        f"{HEAD}\nimage.tif,pore=0;solid=1,inf,CC0",
        "row 2, column 'pixel_size': 'inf' is not a length",
    ),
    (f"{HEAD}\nimage.tif,pore=0;solid=1,0.005,CC0", "row 2, column 'pixel_size': 0.005 nm"),
    (
        f"{HEAD}\nimage.tif,pore=0;solid=1,,CC0",
        "row 2, column 'pixel_size': image.tif does not state",
    ),
    (f"{HEAD},scale\n{ROW},0", "row 2, column 'scale': '0' is not a scale"),
    (f"{HEAD},scale\n{ROW},1.5", "row 2, column 'scale': '1.5' is not a scale"),
    (f"{HEAD},scale\n{ROW},99", "row 2, column 'scale': scale is 99"),
    (f"{HEAD},name\n{ROW},../esc", "row 2, column 'name': a generator cannot be called '../esc'"),
    (
        f"{HEAD},origin\n{ROW},Smith, 2020",
        "row 2 has 6 cells, and the header names 5 columns: put a cell",
    ),
    (f"{HEAD},origin\n\n{ROW},a\n{ROW},Smith, 2020", "row 4 has 6 cells"),
    (f"{HEAD},origin\n{ROW}", "row 2 has 4 cells, and the header names 5 columns: write a comma"),
    (f'{HEAD},origin\n{ROW},"Smith, 2020\n{ROW},a', "close each quote"),
    (f"{HEAD},licence\n{ROW},MIT", "two columns 'licence'"),
    (f"{HEAD}\n", "no row below its header"),
    (f"file,phases\n{ROW}", "no column 'pixel_size'"),
    (f"{HEAD},colour\n{ROW},red", "a column 'colour'"),
    ("", "no column 'file'"),
]


@pytest.mark.parametrize(("rows", "says"), TABLES)
def test_a_table_of_micrographs_that_cannot_be_used_is_one_line(
    work: Path, rows: str, says: str
) -> None:
    Path("list.csv").write_text(rows)
    assert says in one_line(lambda: tim3d.library("lib", train="list.csv"), InputError)
    assert not Path("lib").exists()


def test_a_cell_with_a_comma_stands_in_quotes(work: Path) -> None:
    Path("list.csv").write_text(f'{HEAD},origin\n{ROW},"Smith, 2020"\n')
    assert [one.origin for one in read_list("list.csv")] == ["Smith, 2020"]


@pytest.mark.long
def test_a_table_is_trained_judged_and_goes_on(work: Path) -> None:
    Path("list.csv").write_text(f"{HEAD},name\n{ROW},two\ngrey.tif,,10,CC0,grey\n")
    given = {"train": "list.csv", "preset": "small", "steps": 1, "device": "cpu"}
    plans = " ".join(str(one) for one in tim3d.plan("library", "lib", **given, **JUDGE))
    assert "adds two to lib" in plans
    assert "judges grey when it is there" in plans
    assert not Path("lib").exists()
    found = tim3d.library("lib", **given, **JUDGE)
    assert sorted(found.generator.values) == ["grey", "two"]
    assert found.state.values.tolist() == ["evaluated", "evaluated"]
    assert np.isfinite(found.histogram_deviation.sel(generator="grey"))
    assert np.isfinite(found.two_point_deviation.sel(generator="two"))
    assert tim3d.plan("library", "lib", **given, **JUDGE) == []
    on = tim3d.library("lib", **given | {"steps": 2}, options=QUIET)
    assert "outdated" in on.state.values
    tim3d.library(**ADD | {"entry": "three"})
    Path("list.csv").write_text(f"{HEAD},name\n{ROW},three\n")
    said = one_line(lambda: tim3d.library("lib", **given), MixedRunError)
    assert "was added and not trained here" in said


# Of every parameter a value that is refused for an addition as it stands, or asks for something else.
CHANGED: dict[str, Any] = {
    "add": "third.safetensors", "micrograph": "twin/image.tif", "phases": tim3d.Phases(pore=1, solid=0),
    "pixel_size": 5, "scale": 2, "licence": "MIT", "origin": "", "options": tim3d.Options(overwrite=True),
    "folder": "second", "entry": "second", "page": "page.html", "csv": "lib.csv",
}  # fmt: skip
# Of trainings and of judgements: tried below and above.
OF_TRAININGS = {"train", "preset", "steps", "minutes"}
OF_JUDGEMENTS = {"evaluate", "volumes", "edge", "seed", "device"}
ELSEWHERE = {"folder", "entry", "page", "csv", "options"}


def test_every_parameter_is_known_here() -> None:
    known = set(inspect.signature(verb("library")).parameters)
    assert known == set(CHANGED) | OF_TRAININGS | OF_JUDGEMENTS


@pytest.mark.parametrize("parameter", CHANGED)
def test_a_parameter_of_an_addition_changed_alone_is_refused_or_kept_elsewhere(
    work: Path, parameter: str
) -> None:
    (work / "twin").mkdir()
    tifffile.imwrite("twin/image.tif", blobs(48, 1.2, seed=1))
    size = SIZE | {"z": 20}
    tim3d.import_generator("a_Gen.pt", "third.safetensors", voxel_size=size, phases=TWO)
    tim3d.library(**ADD)
    before = bytes_of(work / "lib")
    changed = {**ADD, parameter: CHANGED[parameter]}
    if parameter in ELSEWHERE:
        assert tim3d.plan("library", **changed)
        tim3d.library(**changed)
        assert all(bytes_of(work / "lib")[name] == data for name, data in before.items())
        return
    one_line(lambda: tim3d.library(**changed))
    assert bytes_of(work / "lib") == before


@pytest.mark.long
def test_a_judgement_of_another_question_is_another_one(work: Path) -> None:
    tim3d.library(**ADD)
    few = JUDGE | {"edge": 24, "volumes": 1}
    first = tim3d.library("lib", **few)
    for changed in ({"volumes": 2}, {"edge": 32}, {"seed": 1}):
        assert tim3d.plan("library", "lib", **few | changed)
        second = tim3d.library("lib", **few | changed)
        assert float(second.two_point_deviation.item()) != float(first.two_point_deviation.item())
    assert tim3d.library("lib", **few, device="cpu").identical(first)
