"""What is asked wrongly is refused before work starts, by one message that says what to give instead."""

from __future__ import annotations

import csv
import importlib
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tim3d
from tim3d import Phases
from tim3d.cli.main import main
from tim3d.engine.clusters.tls import certificates
from tim3d.errors import ArgumentError, InputError, MemoryPlanError, Tim3dError
from tim3d.generators import GaussianField, Polycrystal, SpectralField, Spinodal, ThermalInterface
from tim3d.grid import Grid
from tim3d.kernels.conduction.conduction import conduct
from tim3d.kernels.generation.packing import Grains, HardCore, Overlapping, Packed
from tim3d.kernels.generation.plane_wave_field import LevelCut
from tim3d.kernels.image.fibsem_simulation import SimulatedStack
from tim3d.kernels.masks.structure_points import edge_regions
from tim3d.kernels.morphology.triple_edges import triple_edges
from tim3d.models.segmentation.checkpoint import Normalisation
from tim3d.models.segmentation.crops_3d import prepare_stack, split_stack
from tim3d.models.segmentation.unet import UNetSpec
from tim3d.models.segmentation.unet_3d import UNet3DSpec, steps_for
from tim3d.models.surrogate.examples import Examples
from tim3d.relating.formulas import derived
from tim3d.relating.physics import check_roles
from tim3d.stages.generation.volume import spacing_nm
from tim3d.stages.shared.first_network import refuse_itself
from tim3d.stages.uncertainty.point_files import answers_in
from tim3d.storage.schema import Field

SIZE = {"z": 2.0, "y": 1.0, "x": 1.0}
QUIET = tim3d.Options(progress=False)
SHAPE = (6, 12, 14)
Call = Callable[[str], Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sample of grey values, labels, and numbers of objects."""
    here = tmp_path_factory.mktemp("refusals")
    grey = np.random.default_rng(0).integers(1, 250, SHAPE).astype(np.uint8)
    fields: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
        "raw": (grey, {}),
        "phase": ((grey > 120).astype(np.uint8), {"phases": Phases(pore=0, solid=1)}),
        "other": ((grey > 130).astype(np.uint8), {"phases": Phases(pore=0, solid=1)}),
        "numbers": (
            np.where(grey > 120, 1 + grey % 5, 0).astype(np.uint32),
            {"convert": "objects"},
        ),
    }
    for name, (values, how) in fields.items():
        np.save(here / "v.npy", values)
        tim3d.ingest(
            here / "v.npy", str(here / "a.zarr"), field=name, voxel_size=SIZE, options=QUIET, **how
        )
    # The same on another grid.
    for name, values, how in (
        ("raw_low", grey, {}),
        ("phase_low", (grey > 120).astype(np.uint8), {"phases": Phases(pore=0, solid=1)}),
        ("numbers_low", np.where(grey > 120, 1 + grey % 5, 0).astype(np.uint32), {"convert": "objects"}),
    ):  # fmt: skip
        np.save(here / "v.npy", values[:4, :10])
        tim3d.ingest(
            here / "v.npy", str(here / "a.zarr"), field=name, voxel_size=SIZE, other_grid=True,
            options=QUIET, **how,
        )  # fmt: skip
    pictures = {
        "grey/a.tif": grey[0], "grey/b.tif": grey[1], "masks/a.tif": (grey[0] > 99).astype(np.uint8),
        "masks/b.tif": (grey[1] > 99).astype(np.uint8), "truth/a.tif": (grey[0] > 98).astype(np.uint8),
        "truth/b.tif": (grey[1] > 98).astype(np.uint8), "colour/a.png": np.dstack([grey[0], grey[1], grey[2]]),
        "full/a.tif": grey[0], "float/a.tif": grey[0].astype(np.float32), "one/a.tif": (grey[0] > 99).astype(np.uint8),
        "small/a.tif": (grey[0, :6] > 99).astype(np.uint8), "small/b.tif": (grey[1, :6] > 99).astype(np.uint8),
    }  # fmt: skip
    for name, picture in pictures.items():
        (here / name).parent.mkdir(exist_ok=True)
        Image.fromarray(picture).save(here / name)
    rows = [f"s{i},{0.1 + 0.01 * i},{1 + 0.1 * i},{5 - 0.2 * i}" for i in range(12)]
    (here / "t.csv").write_text("\n".join(["sample,porosity,tau,k", *rows]))
    (here / "bad.csv").write_bytes(b"\xff\xfea,b")
    (here / "short.txt").write_text("0,.3\n1,.2\n")
    (here / "s2.txt").write_text("0,.9\n1,.2\n2,.1\n3,.1\n4,.1\n")
    return here


STEPS: dict[str, tuple[str, Call]] = {
    "annotate labels": (
        "annotate needs grey values",
        lambda s: tim3d.annotate(s, field="phase", options=QUIET),
    ),
    "segment labels": (
        "segment needs grey values",
        lambda s: tim3d.segment(
            s, field="phase", method="otsu", phases=Phases(pore=0, solid=1), options=QUIET
        ),
    ),
    "segment without a file": (
        "--model names no file",
        lambda s: tim3d.segment(s, model=[], options=QUIET),
    ),
    "prepare labels": (
        "prepare needs grey values",
        lambda s: tim3d.prepare(s, ["crop:top=1"], field="phase", options=QUIET),
    ),
    "a front without phases": (
        "holds no phases; segment it first",
        lambda s: tim3d.geodesic(s, field="raw", phases="pore", options=QUIET),
    ),
    "points on labels": (
        "points show grey values",
        lambda s: tim3d.points(s, Path(s).parent / "p", field="phase"),
    ),
    "too many points": (
        "--count 10001 is from 1 to 10000",
        lambda s: tim3d.points(s, Path(s).parent / "p", count=10001),
    ),
    "certificates for no day": ("give at least 1", lambda s: certificates(Path(s).parent / "c", 0)),
    "a descriptor twice": (
        "given twice",
        lambda s: tim3d.measure(
            s, ["phase_fraction", "phase_fraction"], field="phase", options=QUIET
        ),
    ),
}
# What is typed, without the name of the program, and a part of what is answered.
with (Path(__file__).parents[1] / "refusals.csv").open(newline="") as table:
    SHELL = {row["command"]: row["answer"] for row in csv.DictReader(table)}


def surrogate(count: int = 60, **more: Any) -> object:
    """Samples that no one looks at."""
    samples = [f"{number}.zarr" for number in range(count)]
    return tim3d.train_surrogate(samples, model="m", greys={"a": 60.0, "b": 160.0}, **more)


SPHERES = Grains((100.0,), (1.0,))
LONG = Grains((100.0,), (1.0,), 2.0)
GREY = Normalisation("volume", (0.0,), (1.0,))
BOX = np.zeros((3, 8, 8))
VALUES: dict[str, tuple[str, Callable[[], Any]]] = {
    "grid": ("positive edges", lambda: Grid((4, 4, 0), (2, 2, 2))),
    "particles of another shape": (
        r"particles are \(2, 2, 2\)",
        lambda: conduct(
            np.ones((2, 2, 3), np.uint8),
            {1: 1.0},
            interface={(1, 1): 1.0},
            particles=np.ones((2, 2, 2), int),
        ),
    ),
    "S2 of long grains": (
        "for spheres only",
        lambda: Overlapping(LONG, 0.3, (1.0, 1.0, 1.0), 0).two_point(1.0),
    ),
    "surface of long grains": (
        "for spheres only",
        lambda: (
            HardCore(
                Grains((100.0,), (1.0,), 2.0, (1.0, 0.0, 0.0)), 0.1, (1.0, 1.0, 1.0), 0
            ).specific_surface
        ),
    ),
    "edges of a voxel": (
        "all three must be positive",
        lambda: Overlapping(SPHERES, 0.3, (1.0, 0.0, 1.0), 0),
    ),
    "thresholds of edges": (
        "the first is the lower",
        lambda: edge_regions(BOX[0].astype(np.uint8), 0.5, 0.2),
    ),
    "too many phases": (
        "counted for up to",
        lambda: triple_edges(np.zeros((2, 2, 2), np.uint8), 99),
    ),
    "norm": ("choose batch or instance", lambda: UNet3DSpec(("a", "b"), norm="layer")),  # type: ignore[arg-type]
    "no depth": ("halves its input once or more", lambda: steps_for((1.0, 1.0, 1.0), 0)),
    "colours and neighbours": (
        "sees one slice",
        lambda: UNetSpec(("a", "b"), in_channels=3, colours=((0.0, 1.0),) * 3),
    ),
    "labels of another shape": ("the same stack", lambda: prepare_stack(BOX, BOX[:2], 2, GREY)),
    "a strange label": (
        "labels hold 7; the 2 classes",
        lambda: prepare_stack(BOX, BOX + 7, 2, GREY),
    ),
    "no number": ("not numbers", lambda: prepare_stack(BOX + np.nan, BOX, 2, GREY)),
    "one labelled slice": (
        "training needs 2 or more",
        lambda: split_stack(
            prepare_stack(BOX, np.where(np.arange(3)[:, None, None] == 1, BOX, 255), 2, GREY), 0.2
        ),
    ),
    "sections without values": (
        "do not go with 2 values",
        lambda: Examples(np.zeros((3, 1, 4, 4), np.float32), np.ones(2)),
    ),
    "a packing of five": (
        "holds 5 particles; 8 to",
        lambda: Packed(SPHERES, 0.1, (10.0,) * 3, 0, (300.0,) * 3),
    ),
    "images that nothing uses": ("and nothing else does", lambda: surrogate(images="grey")),
    "no images to adapt to": ("need a folder of real images", lambda: surrogate(adapt=["coral"])),
    "a batch of one": ("a batch 2 or more", lambda: surrogate(batch=1)),
    "no steps": ("are 1 or more", lambda: surrogate(steps=0)),
    "no judgement": ("are 1 or more", lambda: surrogate(every=0)),
    "more sections than there are": (
        "at most --per-sample 9",
        lambda: surrogate(per_prediction=10),
    ),
    "too few samples": ("samples are too few", lambda: surrogate(count=9)),
    "a network in its own place": (
        "is the model to start from, and stays",
        lambda: refuse_itself(Path("a.safetensors"), Path("a.safetensors").absolute()),
    ),
    "a network in its own place, by another path": (
        "is the model to start from, and stays",
        lambda: refuse_itself(Path("a.safetensors").absolute(), "a.safetensors"),
    ),
    "columns of a formula": ("bruggeman takes", lambda: derived("a", "bruggeman:tau")),
    "bulk": ("a conductivity is above 0", lambda: check_roles({"density": "d"}, -1.0, 0.0)),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_refused_before_it_starts(folder: Path, name: str) -> None:
    text, call = STEPS[name]
    before = sorted(folder.rglob("*"))
    with pytest.raises(Tim3dError, match=text):
        call(str(folder / "a.zarr"))
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("line", SHELL)
def test_a_command_is_refused_before_it_starts(
    folder: Path, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    assert main([word.replace("SAMPLE", "a.zarr") for word in line.split()]) in (2, 3, 4)
    said = capsys.readouterr().err
    assert SHELL[line] in said
    assert said.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_refused_where_it_is_made(name: str) -> None:
    text, call = VALUES[name]
    with pytest.raises((ArgumentError, InputError), match=text):
        call()


A_B = Phases(a=0, b=1)
# Verbs that hold what they learn from in one process, by the module that compares it with what is free.
HELD: dict[str, Callable[..., object]] = {
    "segmentation.train": lambda folder, **more: tim3d.train(
        str(folder / "a.zarr"), "m.safetensors", labels="phase", encoder="mobilenet_v2", depth=2,
        crop=8, progress=False, **more,
    ),
    "segmentation.train_strokes": lambda folder, **more: tim3d.train_strokes(
        str(folder / "a.zarr"), "m.safetensors", labels="phase", scales=[2.0], **more
    ),
    "images.train_images": lambda folder, **more: tim3d.train_images(
        folder / "grey", folder / "masks", "m.safetensors", phases=A_B, encoder="mobilenet_v2",
        depth=2, crop=8, progress=False, **more,
    ),
    "images.train_strokes_images": lambda folder, **more: tim3d.train_strokes_images(
        folder / "grey", folder / "masks", "m.safetensors", phases=A_B, scales=[2.0], **more
    ),
}  # fmt: skip


def needed_bytes(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, free: int = 1000, **more: Any
) -> float:
    """What a verb says that it needs, where that is not free."""
    module = importlib.import_module(f"tim3d.stages.{name}")
    monkeypatch.setattr(module, "available_memory", lambda: free)
    with pytest.raises(MemoryPlanError, match="are free") as refusal:
        HELD[name](folder, **more)
    number, unit = re.findall(r"needs ([\d.]+) (.iB)", str(refusal.value))[0]
    return float(number) * {"MiB": 2**20, "GiB": 2**30}[unit]


@pytest.mark.parametrize("name", HELD)
def test_what_does_not_fit_into_memory_is_refused_before_it_starts(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    needed_bytes(name, folder, monkeypatch)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("name", [one for one in HELD if "strokes" in one])
def test_a_training_on_more_pixels_needs_as_much_more(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, three = (needed_bytes(name, folder, monkeypatch, most=n * 10**6) for n in (1, 2, 3))
    # Of each pixel a row of features in float32 at least.
    assert two - one == pytest.approx(three - two, rel=0.1)
    assert two - one > 2 * 10**6 * 4 * 10


Edges = tuple[float, float, float]
# Whatever is made of voxels: from their edges along z, y, x.
OF_VOXELS: dict[str, Callable[[Edges], object]] = {
    "field": lambda h: Field("raw", (4, 4, 4), "uint8", h, (4, 4, 4), (4, 4, 4)),
    "gaussian field": lambda h: GaussianField((50.0, 50.0, 50.0), h, 0),
    "overlapping": lambda h: Overlapping(SPHERES, 0.3, h, 0),
    "hard-core": lambda h: HardCore(SPHERES, 0.1, h, 0),
    "packed": lambda h: Packed(SPHERES, 0.3, h, 0, (600.0, 600.0, 600.0)),
    "polycrystal": lambda h: Polycrystal(200.0, h, 0, (64, 64, 64)),
    "spinodal": lambda h: Spinodal((0.5, 0.5), (200.0, 200.0, 200.0), h, 0, (64, 64, 64)),
    "spectral field": lambda h: SpectralField((0.0, 10.0), (1.0, 0.5), h, 0),
    "interface": lambda h: ThermalInterface(SPHERES, 0.2, h, 0, 600.0, 100.0, (64, 64)),
    "simulated": lambda h: SimulatedStack((4, 8, 8), h, LevelCut(0.4, 50.0, 0)),
    "of a generator": lambda h: spacing_nm(dict(zip("zyx", h, strict=True))),
}


@pytest.mark.parametrize("name", OF_VOXELS)
def test_an_edge_of_a_voxel_is_a_finite_length_above_0_along_every_axis(name: str) -> None:
    OF_VOXELS[name]((10.0, 10.0, 10.0))
    for axis in range(3):
        for length in (0.0, -10.0, math.inf, math.nan):
            edges = tuple(length if n == axis else 10.0 for n in range(3))
            with pytest.raises((ArgumentError, InputError)):
                OF_VOXELS[name](edges)  # type: ignore[arg-type]


GOOD_ANSWER = {"point": "0", "z": "1", "y": "2", "x": "3", "image": "", "answer": "pore"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"answer": "pores"}, "line 3: 'pores' is none of the phases pore, solid"),
        ({"z": "6"}, "line 3: voxel \\(6, 2, 3\\) lies outside of \\(6, 12, 14\\)"),
        ({"y": "-1"}, "line 3: voxel"),
        ({"x": "14"}, "line 3: voxel"),
        ({"x": "3.5"}, "line 3: z, y, x are not whole numbers"),
        ({"z": ""}, "line 3: z, y, x are not whole numbers"),
    ],
)
def test_an_answer_that_cannot_be_is_refused_with_its_line(
    tmp_path: Path, change: dict[str, str], said: str
) -> None:
    path = tmp_path / "points.csv"
    for rows in ([GOOD_ANSWER], [GOOD_ANSWER, GOOD_ANSWER | change]):
        with path.open("w", newline="") as table:
            lines = csv.DictWriter(table, list(GOOD_ANSWER))
            lines.writeheader()
            lines.writerows(rows)
        if len(rows) == 1:
            assert [one.phase for one in answers_in(path, SHAPE, ["pore", "solid"])] == ["pore"]
            continue
        with pytest.raises(InputError, match=said):
            answers_in(path, SHAPE, ["pore", "solid"])
