"""The law of parameters for the verbs that find results: changed alone, each asks another question, or is refused."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.ndimage as ndi
import tifffile
import xarray as xr

import tim3d
from tests import recorded_changes
from tests.integration.test_parameters import CASES as FIELDS
from tests.integration.test_parameters_files import CASES as FILES
from tests.integration.test_parameters_images import CASES as IMAGES
from tests.integration.test_parameters_inspect import VERBS as SEEN
from tests.integration.test_parameters_relate import VERBS as RELATED
from tests.integration.test_view import VERBS as SERVED
from tests.promptable import saved_folder
from tests.soft import Soft
from tim3d import Options, Phases
from tim3d.cleaning import Holes, Majority
from tim3d.cli.parsing import verb
from tim3d.errors import ArgumentError, Tim3dError
from tim3d.stages.uncertainty.point_files import places, table_of
from tim3d.storage import store
from tim3d.verbs import VERBS

QUIET = Options(progress=False)
AGAIN = Options(progress=False, overwrite=True, durable=True)
IN_BLOCKS = Options(progress=False, overwrite=True, durable=True, block=(4, 8, 8))
TWO = Phases(pore=0, solid=1)
A, B = "a.zarr", "b.zarr"


@dataclass(frozen=True)
class Case:
    """A call of a verb, and for every parameter another value than in that call, by what it does.

    Parameters
    ----------
    verb : str
        Which.
    given : dict
        What the call is given.
    decides : dict
        Changed alone, it gives another result, which is kept beside the first.
    refused : dict
        Changed alone, it is refused, and nothing is written.
    names : dict
        Says where the same numbers are kept.
    runs : dict
        Says how it runs, what is kept besides, or allows what stands in no way here: the same
        numbers in the same node.
    """

    verb: str
    given: dict[str, Any]
    decides: dict[str, Any]
    refused: dict[str, Any] = field(default_factory=dict)
    names: dict[str, Any] = field(default_factory=dict)
    runs: dict[str, Any] = field(default_factory=dict)


IMAGE = {"micrograph": "image.tif", "pixel_size": 10.0}
K = {"pore": 1.0, "solid": 10.0}
CASES = {
    "label": Case(
        "label",
        {"sample": A},
        decides={"sample": B, "field": "other", "phases": ["solid"], "connectivity": 26},
        refused={"draws": True, "component": "mine"},
        names={"out": "mine1"},
        runs={"keep": True, "options": IN_BLOCKS},
    ),
    "label and keep": Case(
        "label",
        {"sample": A, "phases": ["solid"], "keep": True, "component": "solids"},
        decides={"sample": B},
        refused={"draws": True, "field": "other", "phases": ["pore"], "connectivity": 26, "keep": False},
        names={"out": "mine2"},
        runs={"component": "mine", "options": AGAIN},
    ),
    "embed": Case(
        "embed",
        {"sample": A, "model": "sam.safetensors"},
        decides={"sample": B, "field": "raw2", "window": (8, 8), "layers": 1},
        refused={"model": "sam2.safetensors", "halo": 2},
        names={"out": "mine5"},
        runs={"device": "cpu", "options": AGAIN},
    ),
    "clean": Case(
        "clean",
        {"sample": A, "steps": [Holes("solid"), Majority(radius_nm=10)]},
        decides={"sample": B, "out": "mine0"},
        refused={"steps": [Majority(radius_nm=10)], "field": "other"},
        runs={"options": IN_BLOCKS},
    ),
    "measure": Case(
        "measure",
        {"sample": A},
        decides={"sample": B, "field": "other", "descriptors": ["phase_fraction"]},
        refused={"draws": True},
        runs={"options": IN_BLOCKS},
    ),
    "measure correlations": Case(
        "measure",
        {"sample": A, "descriptors": ["correlation:lags=4"]},
        decides={"sample": B, "field": "other", "descriptors": ["correlation:lags=5"]},
        refused={"draws": True},
        runs={"options": IN_BLOCKS},
    ),
    "describe": Case(
        "describe",
        {"sample": A},
        decides={
            "sample": B, "field": "other", "descriptors": ["phase_fraction"], "z": slice(0, 30), "y": slice(0, 80),
            "x": slice(80, 160), "pore": ["solid"], "plain": True, "windows": {"z": 40},
        },
        refused={"transport": "none", "step": {"z": 20}},
        # Density adds a number, and leaves the others as they are.
        runs={"density": {"solid": 8.96}, "unit": "voxels", "options": AGAIN},
    ),
    "describe windows": Case(
        "describe",
        {"sample": A, "descriptors": ["phase_fraction"], "z": slice(10, 70), "windows": {"z": 20}, "step": {"z": 10}},
        decides={
            "sample": B, "field": "other", "descriptors": ["specific_surface"], "z": slice(20, 70), "y": slice(0, 80),
            "x": slice(80, 150), "pore": ["solid"], "plain": True, "windows": {"z": 30}, "step": {"z": 20},
        },
        refused={"transport": "none", "unit": "voxels", "density": {"solid": 8.96}},
        runs={"options": AGAIN},
    ),
    "describe a flux": Case(
        "describe",
        {"sample": A, "descriptors": ["effective_conductivity"], "transport": "along_z"},
        decides={"sample": B, "descriptors": ["phase_fraction"], "transport": "along_y"},
        refused={
            "field": "other", "z": slice(0, 40), "y": slice(0, 80), "x": slice(80, 160), "pore": ["solid"],
            "density": {"solid": 8.96}, "windows": {"z": 40}, "step": {"z": 40},
        },
        runs={"plain": True, "unit": "voxels", "options": AGAIN},
    ),
    "calibrate": Case(
        "calibrate",
        {"sample": A, "field": "soft"},
        decides={
            "sample": B, "field": "soft2", "truth": "other", "slices": slice(0, 5), "distance": 10.0, "window": 10.0,
            "most": 500, "seed": 1,
        },
        refused={"level": 0.8},
        names={"out": "mine15"},
        runs={"options": AGAIN},
    ),
    "calibrate with windows": Case(
        "calibrate",
        {"sample": A, "field": "soft", "window": 10.0},
        decides={
            "sample": B, "field": "soft2", "truth": "other", "slices": slice(0, 5), "distance": 10.0, "window": 20.0,
            "most": 500, "seed": 1, "level": 0.8,
        },
        names={"out": "mine16"},
        runs={"options": AGAIN},
    ),
    "count_points": Case(
        "count_points",
        {"sample": A, "table": "answers.csv"},
        decides={"sample": B, "table": "answers2.csv", "field": "other", "level": 0.9},
        names={"out": "mine17"},
        runs={"options": AGAIN},
    ),
    "sample_labels": Case(
        "sample_labels",
        {"sample": A, "field": "soft", "draws": 2},
        decides={"sample": B, "field": "soft2"},
        # The fields of another question would have the same names.
        refused={"draws": 3, "calibration": "none", "correlation": 30.0, "seed": 1},
        runs={"options": IN_BLOCKS},
    ),
    "evaluate": Case(
        "evaluate",
        {"sample": A},
        decides={
            "sample": B, "field": "other", "truth": "other", "baseline": "other", "slices": slice(0, 5),
            "tolerance": 25.0, "resamples": 200, "level": 0.9, "run": 3, "seed": 1,
        },
        refused={"merge": {"solid": "pore"}},
        names={"out": "mine3"},
        runs={"options": IN_BLOCKS},
    ),
    "evaluate three phases": Case(
        "evaluate",
        {"sample": A, "field": "three", "merge": {"ring": "solid"}},
        decides={
            "sample": B, "truth": "other", "baseline": "phase", "slices": slice(0, 5), "merge": {"ring": "pore"},
            "tolerance": 25.0, "resamples": 200, "level": 0.9, "run": 3, "seed": 1,
        },
        refused={"field": "phase"},
        names={"out": "mine4"},
        runs={"options": IN_BLOCKS},
    ),
    "solve": Case(
        "solve",
        {"sample": A, "conductivity": K},
        decides={
            "sample": B, "conductivity": K | {"pore": 2.0}, "field": "other", "axis": "y", "faces": "centres",
            "sides": "periodic", "cell": True, "interface": {"pore:solid": 1e8}, "contact": [1e9, 2e9],
            "tolerance": 1e-5, "units": "m2 s-1",
        },
        refused={"draws": True, "interface_area": "faces", "particles": "parts"},
        names={"out": "mine5", "richardson": True},  # the same numbers, and an estimate beside them
        runs={
            "keep_potential": True, "keep_flux": True, "keep_sensitivity": True, "checkpoint": 1.0, "device": "cpu",
            "options": AGAIN,
        },
    ),
    "solve of particles": Case(
        "solve",
        {"sample": A, "conductivity": K, "interface": {"pore:solid": 1e7, "solid:solid": 1e8}, "particles": "parts"},
        decides={
            "sample": B, "conductivity": K | {"pore": 2.0}, "field": "other", "axis": "y", "faces": "centres",
            "sides": "periodic", "cell": True, "interface": {"solid:solid": 1e8}, "contact": [1e9, 2e9],
            "tolerance": 1e-5, "units": "m2 s-1", "interface_area": "faces", "particles": "parts2",
        },
        refused={"draws": True},
        names={"out": "mine14", "richardson": True},
        runs={
            "keep_potential": True, "keep_flux": True, "keep_sensitivity": True, "checkpoint": 1.0, "device": "cpu",
            "options": AGAIN,
        },
    ),
    "geodesic": Case(
        "geodesic",
        {"sample": A, "phases": ["solid"]},
        decides={
            "sample": B, "field": "other", "phases": ["pore"], "directions": ["+y"], "metric": "graph26",
            "seeds": ("phase", "pore"),
        },
        refused={"draws": True},
        names={"out": "mine6", "richardson": True},
        runs={"keep": True, "options": IN_BLOCKS},
    ),
    "geodesic from seeds": Case(
        "geodesic",
        {"sample": A, "phases": ["solid"], "seeds": ("phase", "pore")},
        decides={
            "sample": B, "field": "other", "phases": ["pore"], "metric": "graph26", "seeds": ("other", "pore"),
        },
        refused={"draws": True, "directions": ["+y"], "richardson": True},
        names={"out": "mine7"},
        runs={"keep": True, "options": IN_BLOCKS},
    ),
    "porosimetry": Case(
        "porosimetry",
        {"sample": A, "phase": "pore"},
        decides={"sample": B, "phase": "solid", "directions": ["+y"]},
        refused={"field": "other"},
        names={"out": "mine13", "distance": "far"},
        runs={"options": IN_BLOCKS},
    ),
    "particles": Case(
        "particles",
        {"sample": A, "phase": "pore"},
        decides={"sample": B, "phase": "solid", "neck": 0.0},
        refused={"field": "other", "instances": "numbers"},
        # The same numbers, and distances from a face beside them.
        names={"out": "mine14", "distance": "far", "substrate": "y-high"},
        runs={"options": IN_BLOCKS},
    ),
    "particles that are there": Case(
        "particles",
        {"sample": A, "instances": "numbers"},
        decides={"sample": B, "instances": "others"},
        refused={"field": "other", "phase": "solid", "neck": 0.5},
        names={"out": "mine15", "distance": "phase_distance", "substrate": "x"},
        runs={"options": IN_BLOCKS},
    ),
    "struts": Case(
        "struts",
        {"sample": A},
        decides={
            "sample": B, "phases": ["pore"], "skeleton": "far_skeleton", "spurs": 0.0, "joins": 0.0,
        },
        refused={"field": "other"},
        names={"out": "mine16"},
        runs={"options": IN_BLOCKS},
    ),
    "study of a flux": Case(
        "study",
        {"sample": A, "quantity": "tortuosity_factor", "conductivity": K, "windows": [4, 6]},
        decides={
            "sample": B, "quantity": "effective_conductivity", "windows": [4, 7], "conductivity": K | {"pore": 2.0},
            "field": "other", "axis": "y", "tolerance": 0.3, "flux_tolerance": 1e-6, "units": "1",
            "faces": "centres", "sides": "periodic", "interface": {"pore:solid": 1e8},
        },
        refused={"windows_nm": [40.0, 60.0], "phase": "solid", "interface_area": "faces"},
        names={"out": "mine8"},
        runs={"options": AGAIN},
    ),
    "study of a fraction": Case(
        "study",
        {"sample": A, "quantity": "phase_fraction", "phase": "solid", "windows": [4, 6]},
        decides={
            "sample": B, "quantity": "specific_surface", "windows": [4, 7], "phase": "pore", "field": "other",
            "tolerance": 0.001,
        },
        refused={
            "windows_nm": [40.0, 60.0], "conductivity": K, "axis": "y", "flux_tolerance": 1e-6, "units": "1",
            "faces": "centres", "sides": "periodic", "interface": {"pore:solid": 1e8},
            "interface_area": "faces",
        },
        names={"out": "mine9"},
        runs={"options": AGAIN},
    ),
    "likeness": Case(
        "likeness",
        {"sample": A, "like": B, "like_field": "raw2", "crop": 4, "regions": 4, "count": 4, "relabellings": 20},
        decides={
            "sample": B, "like": A, "fields": ["raw2"], "like_field": "raw", "regions": 5, "count": 3,
            "relabellings": 21, "seed": 1,
        },
        refused={"crop": 5},
        names={"out": "mine18"},
        runs={"options": AGAIN},
    ),
    "fidelity": Case(
        "fidelity",
        {"sample": A, "phases": TWO, "slices": 1, **IMAGE},
        decides={
            "sample": B, "volumes": [B], "micrograph": "other.tif", "phases": Phases(solid=0, pore=1),
            "field": "other", "lags": [1, 2], "lags_nm": [10.0, 30.0], "slices": 2, "period": 2, "seam": 2, "seed": 1,
        },
        refused={"as_voxels": True, "scale": 2, "pixel_size": 20.0},
        names={"out": "mine10"},
        runs={"options": IN_BLOCKS},
    ),
    "fidelity of voxels": Case(
        "fidelity",
        {"sample": A, "phases": TWO, "micrograph": "image.tif", "as_voxels": True, "slices": 1},
        decides={
            "sample": B, "volumes": [B], "micrograph": "other.tif", "phases": Phases(solid=0, pore=1),
            "field": "other", "scale": 2, "lags": [1, 2], "lags_nm": [10.0, 30.0], "slices": 2, "period": 2, "seam": 2,
            "seed": 1,
        },
        refused={"as_voxels": False, "pixel_size": 10.0},
        names={"out": "mine11"},
        runs={"options": IN_BLOCKS},
    ),
    "fidelity of grey values": Case(
        "fidelity",
        {"sample": A, "micrograph": "grey.tif", "pixel_size": 10.0},
        decides={
            "sample": B, "volumes": [B], "micrograph": "grey10.tif", "field": "raw2", "lags": [1, 2],
            "lags_nm": [10.0, 30.0], "period": 2, "seam": 2, "seed": 1,
        },
        refused={"phases": TWO, "pixel_size": 20.0, "as_voxels": True, "scale": 2, "slices": 4},
        names={"out": "mine12"},
        runs={"options": IN_BLOCKS},
    ),
}  # fmt: skip
CHANGES = [
    (case, how, one)
    for case, row in CASES.items()
    for how in ("decides", "refused", "names", "runs")
    for one in getattr(row, how)
]


def blocks(shape: tuple[int, ...], edge: int) -> np.ndarray:
    """Numbers of cubes that fill a volume."""
    z, y, x = (n // edge for n in np.indices(shape))
    return (1 + z + 10 * y + 50 * x).astype(np.uint16)


def smooth(seed: int) -> np.ndarray:
    """Smoothed noise of mean 0."""
    return ndi.gaussian_filter(np.random.default_rng(seed).standard_normal((8, 16, 16)), 1.5)


def grey(noise: np.ndarray) -> np.ndarray:
    """As grey values of 8 bits."""
    return np.clip(128 + 40 * noise / noise.std(), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two samples of labels, and an image."""
    folder = tmp_path_factory.mktemp("results")
    for seed, name in enumerate((A, B)):
        noise, other = smooth(seed), smooth(seed + 2)
        labels = (noise > 0).astype(np.uint8)
        fields = {"phase": labels, "truth": (noise + other / 5 > 0).astype(np.uint8)}
        fields |= {
            "other": (other > 0).astype(np.uint8),
            "three": labels + (noise > noise.std()).astype(np.uint8),
        }
        fields |= {"raw": grey(noise), "raw2": grey(other)}
        fields |= {"parts": blocks(noise.shape, 5), "parts2": blocks(noise.shape, 7)}
        for field_name, values in fields.items():
            ingest(folder, name, field_name, values)
    for seed, table in ((0, "answers"), (1, "answers2")):
        shape = smooth(0).shape
        asked = table_of(places(shape, 40, seed), ["none"] * 40).replace("none,", "none,pore")
        (folder / f"{table}.csv").write_text(asked)
    for seed, image, shades in ((9, "image", "grey"), (10, "other", "grey10")):
        tifffile.imwrite(folder / f"{image}.tif", (smooth(seed)[0] > 0).astype(np.uint8))
        tifffile.imwrite(folder / f"{shades}.tif", grey(smooth(seed)[0]))
    if find_spec("transformers"):
        for family in ("sam", "sam2"):
            source = saved_folder(family, folder / family)
            tim3d.import_network(source, folder / f"{family}.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in (A, B):
            for labels_name in ("phase", "other"):
                tim3d.measure(name, field=labels_name, options=IN_BLOCKS)
            tim3d.distance(name, options=QUIET)
            for soft, sure in (("soft", 2.0), ("soft2", 1.0)):
                tim3d.segment(
                    name,
                    segmenter=Soft(sure),
                    uncertainty="views",
                    phases=TWO,
                    out=soft,
                    options=QUIET,
                )
                tim3d.calibrate(name, field=soft, options=QUIET)
            tim3d.distance(name, phases=["pore"], out="far", options=QUIET)
            for numbers, phases in (("numbers", None), ("others", ["solid"])):
                tim3d.label(name, phases=phases, keep=True, component=numbers, options=QUIET)
            for distance in ("phase_distance", "far"):
                tim3d.skeleton(name, distance=distance, options=QUIET)
            for axis in "zy":
                tim3d.solve(name, conductivity=K, axis=axis, out=f"along_{axis}", options=QUIET)
        yield folder


def ingest(folder: Path, sample: str, name: str, values: np.ndarray) -> None:
    phases = {
        "three": Phases(pore=0, solid=1, ring=2),
        **dict.fromkeys(("raw", "raw2", "parts", "parts2"), None),
    }.get(name, TWO)
    np.save(folder / "volume.npy", values)
    tim3d.ingest(
        folder / "volume.npy", str(folder / sample), voxel_size={"z": 10, "y": 10, "x": 10}, field=name, phases=phases,
        shard=(4, 8, 8), options=QUIET,
    )  # fmt: skip


@pytest.fixture
def work(folder: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them for each case, so that no sample holds the results of all."""
    own = folder.parent / f"{folder.name}-{case}"
    if not own.exists():
        shutil.copytree(folder, own)
    monkeypatch.chdir(own)
    return own


@pytest.fixture(scope="module")
def firsts() -> dict[str, xr.Dataset]:
    """What each case gives as it stands, computed once."""
    return {}


def run(case: str, **changes: Any) -> xr.Dataset:
    row = CASES[case]
    found = verb(row.verb)(**{"options": QUIET, **row.given, **changes})
    assert isinstance(found, xr.Dataset)
    return found


def alike(found: xr.Dataset, first: xr.Dataset) -> bool:
    """Whether all that a result holds and says is in another one too, apart from the record of its making."""
    names = list(first)
    return set(names) <= set(found) and found[names].assign_attrs(tim3d=None).identical(
        first.assign_attrs(tim3d=None)
    )


def nodes() -> set[tuple[str, str]]:
    """All nodes of both samples."""
    return {(sample, node) for sample in (A, B) for node in store.nodes(sample)}


def test_every_verb_has_a_table() -> None:
    named = {name for name, *_ in (*FIELDS.values(), *IMAGES.values())}
    of_many = {"train_surrogate", "predict_images"}  # tests/integration/test_surrogate.py
    by_hand = {"paint", "take_painted"}  # tests/integration/test_paint.py
    of_generators = {"library"}  # tests/integration/test_library.py
    apart = of_generators | set(FILES) | SEEN | RELATED | SERVED | of_many | by_hand
    assert {row.verb for row in CASES.values()} | named | apart == set(VERBS)


@pytest.mark.parametrize("case", CASES)
def test_the_table_holds_every_parameter(case: str) -> None:
    row = CASES[case]
    told = [*row.decides, *row.refused, *row.names, *row.runs]
    assert sorted(told) == sorted(inspect.signature(verb(row.verb)).parameters)


@pytest.mark.parametrize(("case", "how", "parameter"), CHANGES)
@pytest.mark.long
def test_a_parameter_changed_alone_asks_another_question_or_is_refused(
    work: Path, firsts: dict[str, xr.Dataset], case: str, how: str, parameter: str
) -> None:
    first = firsts[case] if case in firsts else firsts.setdefault(case, run(case))
    held, before = first.copy(deep=True), nodes()
    changes = {parameter: getattr(CASES[case], how)[parameter]}
    key, name = f"{case} {parameter}", CASES[case].verb
    known = recorded_changes.of(first, name, work)
    recorded_changes.compare(case, known, None, name)
    if how == "refused":
        with pytest.raises(Tim3dError) as told:
            run(case, **changes)
        assert nodes() == before
        lines = recorded_changes.of(told.value, name, work)
        recorded_changes.compare(key, lines, None, name)
        return
    found = run(case, **changes)
    lines = recorded_changes.of(found, name, work)
    recorded_changes.compare(key, lines, known, name)
    assert alike(found, first) == (how != "decides")
    assert alike(run(case), held)
    assert first.identical(held)
    made = [store.node_attributes(*node)["kind"] for node in nodes() - before]
    assert made.count("dataset") == (1 if how == "names" else 0) or how == "decides"


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("solve", {"conductivity": K, "axis": ["z", "z"]}),
        ("geodesic", {"directions": ["+z", "+z"]}),
        ("geodesic", {"phases": ["solid", "solid"]}),
        ("label", {"phases": ["solid", "solid"]}),
        ("measure", {"descriptors": ["phase_fraction", "phase_fraction"]}),
        ("describe", {"descriptors": ["tortuosity_factor", "tortuosity_factor"]}),
        ("study", {"quantity": "phase_fraction", "phase": "solid", "windows": [4, 4]}),
        ("fidelity", {"volumes": [f"./{A}"], "phases": TWO, **IMAGE}),
        ("fidelity", {"volumes": [B, f"../{{}}/{B}"], "phases": TWO, **IMAGE}),
    ],
)
@pytest.mark.long
def test_what_is_given_twice_is_refused(folder: Path, name: str, given: dict[str, Any]) -> None:
    if "volumes" in given:
        given = given | {"volumes": [one.format(folder.name) for one in given["volumes"]]}
    before = store.nodes(A)
    with pytest.raises(ArgumentError, match=r"twice|each once|the same"):
        verb(name)(sample=A, **given)
    assert store.nodes(A) == before
