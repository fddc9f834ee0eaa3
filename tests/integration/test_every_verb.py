"""Laws of all verbs, one table: a plan writes nothing, overwrite makes again, a result is a value, what was made from a
replaced field is refused until it is renewed, and what is missing or damaged is one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tifffile
import xarray as xr

import tim3d
from tests.micrographs import blobs
from tests.nets import tiny_checkpoint, untrained_diffusion, untrained_translator
from tests.promptable import saved_folder
from tests.soft import Soft
from tests.unit.test_official import written
from tim3d import engine
from tim3d.cleaning import Holes, Majority
from tim3d.cli import parsing
from tim3d.cli.recipe import plan_recipe, run_recipe
from tim3d.commands import renewal
from tim3d.errors import ArgumentError, MixedRunError, Tim3dError
from tim3d.generators import GaussianField, LevelCuts
from tim3d.kernels.generation.architecture import PRESETS, Architecture
from tim3d.kernels.image.imaging_model import Imaging
from tim3d.maintenance import commands
from tim3d.models.promptable.mask_rules import AsObjects
from tim3d.models.promptable.prompting import Grid
from tim3d.stages.imaging.imaging_file import write_imaging
from tim3d.stages.uncertainty.point_files import places, table_of
from tim3d.storage import store
from tim3d.verbs import VERBS

pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
TWO = tim3d.Phases(pore=0, solid=1)
SHAPE = (16, 32, 32)
STACK: dict[str, Any] = {"shape": SHAPE, "voxel_size": {"z": 10}, "correlation_nm": 60}
IMAGE = "stack/truth/truth_00000.tif"
SMALL = Architecture("small", "transposed", (4, 16, 8, 2), (2, 2, 3), (8, 16))
QUIET = tim3d.Options(progress=False)
A = "a.zarr"
OBJECTS = "phase_distance_watershed_depth=15,phase=solid"


@dataclass(frozen=True)
class Row:
    """A call of a verb, and what is known of it.

    Parameters
    ----------
    given, other : dict
        Its arguments, and changes of them that ask another question.
    makes : str
        What it writes, below the working folder; empty if nothing.
    reads : str
        The field of the sample that it is made from; empty if none is.
    after : tuple of str
        Rows that are run before it.
    shown : str
        What `describe` calls its result.
    """

    given: dict[str, Any]
    other: dict[str, Any] = field(default_factory=dict)
    makes: str = ""
    reads: str = ""
    after: tuple[str, ...] = ()
    shown: str = ""

    @property
    def node(self) -> str:
        """The node of the sample, empty for a file."""
        return self.makes.removeprefix(f"{A}/") if self.makes.startswith(f"{A}/") else ""


FIELDS = {
    "generate": Row(
        {
            "sample": A, "out": "made", "kind": "field", "shape": SHAPE, "voxel_size": {"z": 10, "y": 10, "x": 10},
            "correlation_nm": 60, "fractions": {"pore": 0.4, "solid": 0.6},
        },
        makes=f"{A}/made",
    ),
    "ingest": Row({"source": "stack/slices", "sample": A, "field": "b", "voxel_size": {"z": 10}}, makes=f"{A}/b"),
    "prepare": Row(
        {"sample": A, "steps": ["align:window=8", "fill", "crop:bar=2"]}, makes=f"{A}/prepared", reads="raw"
    ),
    "annotate": Row({"sample": A}, makes=f"{A}/annotation", reads="raw"),
    "segment": Row({"sample": A, "method": "otsu", "phases": TWO, "out": "cut"}, makes=f"{A}/cut", reads="raw"),
    "embed": Row({"sample": A, "model": "tiny.safetensors"}, makes=f"{A}/raw_embedding", reads="raw"),
    "combine_labels": Row(
        {"sample": A, "labels": ["phase", "truth"]}, {"labels": ["truth", "phase"], "out": "other"}, f"{A}/combined",
        "phase",
    ),
    "segment_prompted": Row(
        {
            "sample": A, "model": "tiny.safetensors", "prompts": Grid(side=3), "out": "drawn",
            "masks": AsObjects(iou=0, stability=0, smallest=4),
        },
        makes=f"{A}/drawn", reads="raw",
    ),
    "propagate": Row(
        {"sample": A, "model": "tiny.safetensors", "labels": "truth", "out": "propagated"}, makes=f"{A}/propagated",
        reads="raw",
    ),
    "clean": Row(
        {"sample": A, "steps": [Holes("solid"), Majority(radius_nm=10)], "out": "clear"}, {"out": "clearer"},
        f"{A}/clear", "phase",
    ),
}  # fmt: skip
FIELDS |= {
    "distance": Row({"sample": A}, {"phases": ["solid"]}, f"{A}/phase_distance", "phase"),
    "thickness": Row(
        {"sample": A}, {"out": "other"}, f"{A}/phase_thickness", "phase_distance", ("distance",)
    ),
    "skeleton": Row(
        {"sample": A}, {"out": "thin"}, f"{A}/phase_skeleton", "phase_distance", ("distance",)
    ),
    "annotate_instances": Row(
        {"sample": A, "instances": OBJECTS}, {"width": 30.0}, f"{A}/{OBJECTS}_classes", OBJECTS,
        ("distance", "watershed"),
    ),
    "confidence": Row(
        {"sample": A, "instances": OBJECTS, "uncertainty": "phase_distance", "limits": "20"}, {"limits": "30"},
        f"{A}/{OBJECTS}_confidence_uncertainty=phase_distance,limits=20", OBJECTS, ("distance", "watershed"),
    ),
    "link_slices": Row(
        {"sample": A, "field": OBJECTS}, {"overlap": 0.3}, f"{A}/{OBJECTS}_linked", OBJECTS, ("distance", "watershed"),
    ),
    "watershed": Row(
        {"sample": A, "heights": "phase_distance", "depth": 15.0, "phase": "solid"}, {"depth": 30.0},
        f"{A}/{OBJECTS}", "phase_distance", ("distance",),
    ),
}  # fmt: skip
FIELDS |= {
    "render": Row({"sample": A, "model": "imaging.json", "out": "shown"}, makes=f"{A}/shown", reads="phase"),
    "translate": Row(
        {"sample": A, "model": "same.safetensors", "labels": "truth"},
        {"model": "other.safetensors", "out": "second"}, f"{A}/translated", "raw",
    ),
    "adapt": Row(
        {"sample": A, "like": A, "like_field": "b", "to": "spectrum", "window": 8}, {"window": 16, "out": "second"},
        f"{A}/adapted", "raw", ("ingest",),
    ),
    "sample_labels": Row(
        {"sample": A, "field": "soft", "draws": 2}, makes=f"{A}/soft_draw_00", reads="truth", after=("calibrate",)
    ),
}  # fmt: skip
RESULTS = {
    "count_points": Row(
        {"sample": A, "table": "answers.csv"}, {"level": 0.9}, f"{A}/phase_points", "phase", ("measure",)
    ),
    "calibrate": Row({"sample": A, "field": "soft"}, {"slices": "0:4"}, f"{A}/soft_calibration", "truth"),
    "label": Row(
        {"sample": A}, {"connectivity": 26}, f"{A}/phase_components", "phase", shown="percolation"
    ),
    "measure": Row(
        {"sample": A, "descriptors": ["phase_fraction", "specific_surface", "projected_interface"]},
        {"descriptors": ["phase_fraction"]}, f"{A}/phase_partials", "phase", shown="phase_fraction",
    ),
    "solve": Row(
        {"sample": A, "conductivity": {"pore": 1.0, "solid": 10.0}}, {"axis": "y"},
        f"{A}/phase_transport_pore=1,solid=10", "phase", shown="effective_conductivity",
    ),
    "geodesic": Row(
        {"sample": A, "phases": ["solid"]}, {"directions": ["+z"]}, f"{A}/phase_geodesic_phases=solid", "phase",
        shown="geodesic_tortuosity",
    ),
    "porosimetry": Row(
        {"sample": A, "phase": "pore"}, {"directions": ["+y"]}, f"{A}/phase_porosimetry_phase=pore", "phase",
        ("distance",), "porosimetry",
    ),
    "particles": Row(
        {"sample": A, "phase": "solid"}, {"neck": 0.5}, f"{A}/phase_particles_phase=solid", "phase", ("distance",),
        shown="particles",
    ),
    "struts": Row(
        {"sample": A}, {"spurs": 0.5}, f"{A}/phase_struts", "phase", ("distance", "skeleton"), shown="struts"
    ),
    "evaluate": Row({"sample": A}, {"slices": "0:4"}, f"{A}/phase_evaluation", "phase"),
    "study": Row(
        {"sample": A, "quantity": "phase_fraction", "phase": "solid", "windows": [8, 16]}, {"phase": "pore"},
        f"{A}/phase_study_quantity=phase_fraction,phase=solid,windows_nm=80+160", "phase", shown="representative_size",
    ),
    "likeness": Row(
        {
            "sample": A, "like": A, "like_field": "b", "crop": 8, "regions": 4, "count": 2, "relabellings": 20,
        },
        {"seed": 1}, f"{A}/raw_likeness_like=a,like_field=b,crop=8,regions=4,count=2,relabellings=20", "raw",
        ("ingest",),
    ),
    "fidelity": Row(
        {"sample": A, "micrograph": IMAGE, "phases": TWO, "lags": [1, 2], "slices": 1}, {"lags": [1, 3]},
        f"{A}/phase_fidelity_micrograph=truth_00000,pore=0,solid=1,lags=1+2,slices=1", "phase",
    ),
}  # fmt: skip
READERS = {
    "inspect": Row({"source": "stack/slices"}),
    "describe": Row(
        {"sample": A}, {"descriptors": ["phase_fraction"]}, reads="phase", after=("measure",)
    ),
    "report": Row(
        {"sample": A, "out": "a.html", "truth": "truth"},
        makes="a.html",
        reads="phase",
        after=("measure",),
    ),
}
SERVES = {"view": Row({"sample": A, "no_browser": True}, {"fields": ["raw"]})}
FILES = {
    "export": Row({"sample": A, "field": "phase", "out": "a.mha"}, makes="a.mha", reads="phase"),
    "plot": Row({"sample": A, "out": "figures"}, makes="figures", after=("measure",)),
    "simulate": Row({"folder": "other", **STACK}, makes="other"),
    "train": Row(
        {
            "sample": A, "model": "new.safetensors", "labels": "truth", "depth": 2, "decoder_channels": (8, 4),
            "encoder": "mobilenet_v2", "epochs": 1, "steps": 1, "batch": 1, "crop": 16,
        },
        makes="new.safetensors", reads="raw",
    ),
    "train_strokes": Row(
        {"sample": A, "model": "forest.safetensors", "labels": "truth", "scales": "10,20", "trees": 3},
        makes="forest.safetensors", reads="raw",
    ),
    "fine_tune": Row(
        {
            "sample": A, "model": "tuned.safetensors", "start_from": "tiny.safetensors", "labels": "truth", "steps": 1,
            "batch": 1,
        },
        makes="tuned.safetensors", reads="raw",
    ),
    "tune_masks": Row(
        {
            "sample": A, "rule": "rule.json", "model": "tiny.safetensors", "prompts": Grid(side=3), "parameters": "nms",
            "masks": AsObjects(iou=0, stability=0, smallest=4),
        },
        makes="rule.json", reads="raw",
    ),
    "tune_masks_images": Row(
        {
            "folder": "stack/truth", "truth": "stack/truth", "rule": "images.json", "model": "tiny.safetensors",
            "prompts": Grid(side=3), "parameters": "nms", "masks": AsObjects(iou=0, stability=0, smallest=4),
        },
        makes="images.json",
    ),
    "train_images": Row(
        {
            "folder": "stack/truth", "masks": "stack/truth", "model": "flat.safetensors", "phases": TWO, "depth": 2,
            "encoder": "mobilenet_v2", "epochs": 1, "steps": 1, "batch": 1, "crop": 16, "pixel_size": 10,
        },
        makes="flat.safetensors",
    ),
    "train_strokes_images": Row(
        {
            "folder": "stack/truth", "masks": "stack/truth", "model": "flat_forest.safetensors", "phases": TWO,
            "scales": "1,2", "trees": 3,
        },
        makes="flat_forest.safetensors",
    ),
    "train_generator": Row(
        {"micrograph": "image.tif", "out": "gen", "phases": TWO, "pixel_size": 10, "preset": "small", "steps": 2,
         "every": 1, "batch": 2, "slices": 2, "critic_steps": 1, "device": "cpu"},
        makes="gen/generator.safetensors",
    ),
    "train_diffusion": Row(
        {"micrograph": "image.tif", "out": "flow", "phases": TWO, "pixel_size": 10, "widths": (4, 4), "steps": 2,
         "every": 1, "batch": 2, "crop": 16, "device": "cpu"},
        makes="flow/generator.safetensors",
    ),
    "train_cgan": Row(
        {"micrograph": ["image.tif", "denser.tif"], "out": "cgan", "phases": TWO, "pixel_size": 10,
         "conditions": "heats.csv", "widths": (4, 4), "critic_widths": (4, 4), "steps": 2, "every": 1, "batch": 2,
         "crop": 16, "device": "cpu"},
        makes="cgan/generator.safetensors",
    ),
    "generate_images": Row(
        {"weights": "flow.safetensors", "out": "drawn", "shape": (8, 12), "count": 2, "steps": 1, "device": "cpu"},
        makes="drawn",
    ),
    "import_network": Row(
        {"checkpoint": "sam", "weights": "sam.safetensors"}, makes="sam.safetensors"
    ),
    "fit_imaging": Row(
        {"sample": A, "model": "look.json", "phases": ["pore", "solid"], "thresholds": [110.0]}, makes="look.json",
        reads="raw",
    ),
    "train_translator": Row(
        {
            "sample": A, "like": A, "like_field": "b", "model": "translator.safetensors", "labels": "truth",
            "crop": 16, "batch": 1, "channels": 4, "steps": 1, "every": 1,
        },
        makes="translator.safetensors", reads="raw", after=("ingest",),
    ),
    "import_generator": Row(
        {
            "checkpoint": "a_Gen.pt", "weights": "own.safetensors", "voxel_size": {"z": 10, "y": 10, "x": 10},
            "phases": TWO,
        },
        makes="own.safetensors",
    ),
}  # fmt: skip
FILES |= {
    "library": Row(
        {
            "folder": "lib", "add": "own.safetensors", "micrograph": "image.tif", "phases": TWO, "pixel_size": 10,
            "licence": "CC0",
        },
        makes="lib", after=("import_generator",),
    ),
    "points": Row({"sample": A, "folder": "looked", "count": 3}, makes="looked", reads="raw"),
    "segment_images": Row(
        {"folder": "stack/slices", "out": "masks", "method": "otsu", "phases": TWO}, makes="masks"
    ),
    "measure_images": Row(
        {"folder": "stack/truth", "phases": TWO, "in_pixels": True, "csv": "table.csv"}, makes="table.csv"
    ),
    "evaluate_images": Row(
        {"folder": "stack/truth", "truth": "second/truth", "phases": TWO, "csv": "scores.csv"}, makes="scores.csv"
    ),
    "fidelity_images": Row(
        {
            "conditions": "series.csv", "phases": TWO, "in_pixels": True, "crop": 8, "draws": 20, "resamples": 20,
            "csv": "series_scores.csv",
        },
        makes="series_scores.csv",
    ),
    "table": Row({"samples": [A], "csv": "wide.csv"}, makes="wide.csv", after=("measure",)),
    "contact": Row(
        {"samples": [A], "bodies": ["pore", "solid"], "csv": "contact.csv"}, makes="contact.csv",
        after=("measure", "solve"),
    ),
    "bond_line": Row(
        {"samples": ["thin.zarr", "thick.zarr", "thicker.zarr"], "json": "line.json"}, makes="line.json"
    ),
    "relate": Row(
        {"source": "study.csv", "target": "y", "permutations": 99, "json": "y.json"}, makes="y.json"
    ),
}  # fmt: skip
TABLE = {**FIELDS, **RESULTS, **READERS, **SERVES, **FILES}
# They need a dozen solved samples, and a network of these: tests/integration/test_surrogate.py.
OF_MANY_SAMPLES = {"train_surrogate", "predict_images"}
# A hand is between them: tests/integration/test_paint.py.
BY_HAND = {"paint", "take_painted"}
WITHOUT_BLOCKS = {"solve", "calibrate", "count_points", "likeness"}
OVERWRITES = sorted(
    set(TABLE)
    - {"describe", "report", "inspect", "measure_images", "evaluate_images", "fidelity_images"}
    - {"table", "contact", "relate", "bond_line", "view"}
)


def test_every_verb_is_in_the_table() -> None:
    assert set(TABLE) | OF_MANY_SAMPLES | BY_HAND == set(VERBS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return furnished(tmp_path_factory.mktemp("made"))


def furnished(folder: Path) -> Path:
    """Two stacks, a sample with grey values, labels and their truth, an image, and files of foreign generators."""
    for name, seed in (("stack", 0), ("second", 3)):
        tim3d.simulate(folder / name, **STACK, seed=seed, progress=False)
    ingest(folder, "raw")
    ingest(folder, "truth")
    ingest(folder, "phase")
    soft = {"segmenter": Soft(mean=100.0), "uncertainty": "views", "out": "soft"}
    tim3d.segment(str(folder / A), **soft, phases=TWO, options=QUIET)
    tifffile.imwrite(folder / "image.tif", blobs(48, 1.2))
    tifffile.imwrite(folder / "denser.tif", blobs(48, 1.2, 0.6, seed=1))
    (folder / "heats.csv").write_text("file,heat\nimage.tif,200\ndenser.tif,300\n")
    tiny_checkpoint(folder / "net.safetensors")
    untrained_diffusion(folder / "flow.safetensors")
    written(folder, resizes=False)
    for name, scale in (("same", 1.0), ("other", 2.0)):
        untrained_translator(folder / f"{name}.safetensors", scale)
    look = Imaging({"pore": 60.0, "solid": 160.0}, read=8.0, blur_nm=10.0)
    write_imaging(folder / "imaging.json", look, {})
    tim3d.import_network(saved_folder("sam", folder / "sam"), folder / "tiny.safetensors")
    for slices, name in ((4, "thin"), (6, "thick"), (8, "thicker")):
        cuts = LevelCuts(GaussianField((60.0,) * 3, (10.0,) * 3, seed=slices), (0.4, 0.6))
        tim3d.generate(str(folder / f"{name}.zarr"), cuts, shape=(slices, 6, 6), options=QUIET)
        tim3d.solve(
            str(folder / f"{name}.zarr"), conductivity={"pore": 1, "solid": 9}, options=QUIET
        )
    rows = [f"s{n},{n},{n * n % 7},{n + n % 3}" for n in range(12)]
    found, names = places(SHAPE, 12, 0), ["none"] * 12
    asked = table_of(found, names).replace("none,", "none,pore")
    (folder / "answers.csv").write_text(asked)
    (folder / "study.csv").write_text("\n".join(["sample,a,b,y", *rows]))
    (folder / "series.csv").write_text(
        "heat,real,generated\n1,stack/truth,second/truth\n2,second/truth,stack/truth\n"
    )
    return folder


def ingest(folder: Path, name: str, stack: str = "stack", **options: Any) -> None:
    """A field of the sample from a stack: grey values, or labels."""
    kind, phases = ("slices", None) if name == "raw" else ("truth", TWO)
    tim3d.ingest(
        folder / stack / kind, str(folder / A), voxel_size={"z": 10}, field=name, phases=phases,
        options=tim3d.Options(progress=False, **options),
    )  # fmt: skip


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of its own with all of that."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PRESETS, "small", SMALL)
    return tmp_path


def replace(name: str) -> None:
    """Another version of a field."""
    ingest(Path(), name, "second", overwrite=True)


def run(name: str, **changes: Any) -> Any:
    """Call a verb as the shell does."""
    found = parsing.call(name, {**TABLE[name].given, "progress": False, **changes})
    if name in SERVES:
        found.close()
    return found


def prepared(name: str) -> Row:
    """The row of a verb, when what it needs is made."""
    for needed in TABLE[name].after:
        run(needed)
    return TABLE[name]


def renew(row: Row) -> None:
    """Make again what a row needs: results renew themselves, fields are overwritten."""
    for needed in row.after:
        run(needed, **({"overwrite": True} if needed in FIELDS else {}))


def plans(name: str, **changes: Any) -> list[Any]:
    return parsing.call_plan(name, {**TABLE[name].given, "progress": False, **changes})


def bytes_of(folder: Path) -> dict[str, bytes | None]:
    """A path and every path below it; the bytes of files."""
    paths = [folder, *sorted(folder.rglob("*"))]
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in paths}


def ages(path: Path) -> dict[Path, int]:
    """When each file was written."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return {p: p.stat().st_mtime_ns for p in files}


def blocks_done(call: Callable[[], Any]) -> int:
    """Blocks that the engine does while something is called."""
    journal = Path("blocks.jsonl")
    journal.unlink(missing_ok=True)
    with engine.journal(journal):
        call()
    return sum(json.loads(line)["event"] == "block" for line in journal.read_text().splitlines())


def kept(result: Any) -> Any:
    """The numbers of a result now, apart from the sample."""
    return result.copy(deep=True) if isinstance(result, xr.Dataset) else result


def one_line(call: Callable[[], Any], kind: type[Tim3dError] = Tim3dError) -> str:
    """What the error says that something ends with."""
    with pytest.raises(kind) as said:
        call()
    assert "\n" not in str(said.value)
    return str(said.value)


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.long
def test_a_plan_writes_nothing(folder: Path, name: str) -> None:
    if name == "view":
        pytest.importorskip("neuroglancer", reason="pip install 'tim3d[view]'")
    row = prepared(name)
    before = bytes_of(folder)
    asked = plans(name)
    assert asked
    assert bytes_of(folder) == before
    run(name)
    before = bytes_of(folder)
    assert bool(plans(name)) == (name not in OVERWRITES)
    if row.other:
        plans(name, **row.other)
    if name in OVERWRITES:
        assert len(plans(name, overwrite=True)) == len(asked)
    assert bytes_of(folder) == before


@pytest.mark.parametrize("name", OVERWRITES)
@pytest.mark.long
def test_overwrite_makes_again_what_is_otherwise_left(folder: Path, name: str) -> None:
    place = folder / prepared(name).makes
    first = blocks_done(lambda: run(name))
    contents = bytes_of(place)
    assert blocks_done(lambda: run(name)) == 0
    assert bytes_of(place) == contents
    before = ages(place)
    assert blocks_done(lambda: run(name, overwrite=True)) == first
    # Rounds of solve are not blocks, and labelled slices and points are read without any: the ages tell.
    assert (first > 0) == (name not in FILES and name not in WITHOUT_BLOCKS)
    assert all(ages(place)[path] > age for path, age in before.items())
    assert set(bytes_of(place)) == set(contents)


# `describe` counts pieces of cut blocks again, and writes nothing that could be replaced.
@pytest.mark.parametrize("name", sorted(set(TABLE) - set(OVERWRITES) - {"describe"}))
def test_what_has_nothing_to_overwrite_refuses_the_option(folder: Path, name: str) -> None:
    prepared(name)
    assert "has no argument 'overwrite'" in one_line(
        lambda: run(name, overwrite=True), ArgumentError
    )


@pytest.mark.parametrize("name", [*RESULTS, "describe"])
@pytest.mark.long
def test_a_result_is_a_value(folder: Path, name: str) -> None:
    row = prepared(name)
    held = run(name)
    before = kept(held)
    run(name, **row.other)
    if name in OVERWRITES:
        run(name, overwrite=True)
    replace(row.reads)
    renew(row)
    run(name)
    assert held.identical(before)


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.long
def test_the_result_of_a_replaced_field_is_refused_until_it_is_renewed(
    folder: Path, name: str
) -> None:
    row = prepared(name)
    before = kept(run(name))
    command = renewal(store.node_attributes(A, row.node), A)
    assert command.startswith(f"tim3d {name.replace('_', '-')} {A}")
    replace(row.reads)
    said = f"another version of {row.reads!r} than the one that is there now. Renew it: {command}"
    assert said in one_line(lambda: store.open_dataset(A, row.node), MixedRunError)
    if row.shown:
        assert said in one_line(lambda: tim3d.describe(A, [row.shown]), Tim3dError)
    assert (
        f"  {row.node}: dataset; outdated, {row.reads!r} was replaced since. Renew it: {command}"
        in commands.show(A)
    )
    assert (
        f"{row.node}: outdated, {row.reads!r} was replaced since. Renew it: {command}"
        in commands.status(A)
    )
    assert said in "\n".join(map(str, tim3d.validate(A)))
    # The report renews the first, and shows no such result of the field.
    if name not in ("evaluate", "calibrate", "count_points"):
        assert command in page()
    renew(row)
    after = run(name)
    assert not after.equals(before)
    assert store.outdated(A, row.node) == ""
    # Other fields that were made from the replaced one stay outdated.
    (line,) = (one for one in commands.show(A) if one.strip().startswith(f"{row.node}: "))
    assert "outdated" not in line


def page() -> str:
    """What the report says."""
    return Path(tim3d.report(A, "page.html")).read_text()


@pytest.mark.long
@pytest.mark.parametrize("name", ["annotate", "segment", "clean", "distance"])
def test_a_field_made_from_a_replaced_one_is_refused_until_it_is_overwritten(
    folder: Path, name: str
) -> None:
    row = prepared(name)
    run(name)
    command = renewal(store.node_attributes(A, row.node), A)
    replace(row.reads)
    assert f"Renew it: {command}" in one_line(
        lambda: store.complete_field(A, row.node), MixedRunError
    )
    assert f"{row.node}: 16x32x32" in "\n".join(commands.show(A))
    assert f"outdated, {row.reads!r} was replaced since. Renew it: {command}" in "\n".join(
        commands.show(A)
    )
    assert "--overwrite" in one_line(lambda: run(name), MixedRunError)
    run(name, overwrite=True)
    assert store.complete_field(A, row.node).shape == SHAPE


@pytest.mark.parametrize(
    "name", [name for name, row in TABLE.items() if row.reads and name != "describe"]
)
@pytest.mark.long
def test_a_missing_shard_is_not_zero(folder: Path, name: str) -> None:
    row = prepared(name)
    shard = folder / A / row.reads / "s0" / row.reads / "c/0/0/0"
    assert shard.is_file()
    shard.unlink()
    assert row.reads in one_line(lambda: run(name))


def test_describe_reads_no_voxel_and_misses_what_is_lost_of_the_results(folder: Path) -> None:
    prepared("describe")
    for chunk in (folder / A / "phase_partials").rglob("c/*"):
        shutil.rmtree(chunk) if chunk.is_dir() else chunk.unlink()
    assert "phase_partials" in one_line(lambda: run("describe"))


def tear(node: Path) -> None:
    """Cut the metadata in half."""
    data = (node / "zarr.json").read_bytes()
    (node / "zarr.json").write_bytes(data[: len(data) // 2])


def flip(node: Path) -> None:
    """Flip a bit of every chunk."""
    for path in node.rglob("*"):
        if path.is_file() and path.name != "zarr.json":
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)


@pytest.mark.parametrize("damage", [tear, flip])
@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.long
def test_a_damaged_result_is_one_line(
    folder: Path, name: str, damage: Callable[[Path], None]
) -> None:
    row = prepared(name)
    run(name)
    damage(folder / row.makes)
    assert row.node in one_line(lambda: store.open_dataset(A, row.node))
    assert row.node in one_line(lambda: run(name))
    found = tim3d.validate(A, deep=True)
    assert any(row.node in str(fault) for fault in found)
    assert all("\n" not in str(fault) for fault in found)
    if row.shown:
        assert row.node in one_line(lambda: tim3d.describe(A, [row.shown]))
    if damage is tear:
        assert row.node in one_line(lambda: list(commands.show(A)))
        assert row.node in one_line(lambda: tim3d.describe(A))
        assert row.node in one_line(page)


@pytest.mark.parametrize("name", ["train", "import_generator", "simulate"])
def test_a_damaged_file_is_one_line(folder: Path, name: str) -> None:
    row = prepared(name)
    run(name)
    place = folder / row.makes
    file = place / "simulation.txt" if place.is_dir() else place
    file.write_bytes(file.read_bytes()[: len(file.read_bytes()) // 2])
    one_line(lambda: run(name))


RECIPE = """
sample = "a.zarr"
[[step]]
verb = "segment"
method = "otsu"
phases = { pore = 0, solid = 1 }
out = "cut"
[[step]]
verb = "label"
field = "cut"
[[step]]
verb = "evaluate"
field = "cut"
[[step]]
verb = "report"
out = "a.html"
field = "cut"
truth = "truth"
"""


@pytest.mark.long
def test_a_recipe_renews_results_and_refuses_fields_of_a_replaced_field(folder: Path) -> None:
    Path("r.toml").write_text(RECIPE)
    planned = dict(plan_recipe("r.toml"))
    assert [str(one)[:6] for one in planned["report"]] == [
        "report"
    ]  # the result is that of the step before
    first = run_recipe("r.toml", progress=False)
    replace("truth")
    again = run_recipe("r.toml", progress=False)
    assert again["label"].identical(first["label"])
    assert not again["evaluate"].equals(first["evaluate"])
    replace("raw")
    assert "--overwrite" in one_line(lambda: run_recipe("r.toml", progress=False), MixedRunError)
    with pytest.raises(MixedRunError, match=r"--overwrite"):
        dict(plan_recipe("r.toml"))
    last = run_recipe("r.toml", ["segment.overwrite=true"], progress=False)
    assert not last["label"].equals(first["label"])
    # The probabilities that the folder came with are of the raw field that was replaced.
    outdated = [line for line in commands.show(A) if "outdated" in line]
    assert not [line for line in outdated if not line.startswith("  soft")]
