"""One law over the parameters of a verb: changed alone, each gives another result, or it is refused."""

from __future__ import annotations

import inspect
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tests import recorded_changes
from tests.extend.local_contrast import LocalContrast
from tim3d import Options, Phases
from tim3d.cli.parsing import verb
from tim3d.corrections import Crop
from tim3d.errors import Tim3dError
from tim3d.kernels.image.imaging_model import Imaging
from tim3d.models.promptable.mask_rules import AsObjects
from tim3d.models.promptable.prompting import Grid
from tim3d.stages.imaging.imaging_file import write_imaging
from tim3d.storage import store

QUIET = Options(progress=False)
TWO = Phases(pore=0, solid=1)
# What decides where a result is kept and how a run goes, and never a number.
PLACES = {"sample", "out", "options", "shard", "keep", "tables", "only_tables"}
GRAINS = {"kind": "overlapping", "shape": (8, 16, 16), "voxel_size": {"z": 2, "y": 1, "x": 1}}
GRAINS |= {"loading": 0.3, "diameter_nm": 6.0}
FIELD = {"kind": "field", "shape": (8, 16, 16), "voxel_size": {"z": 2, "y": 1, "x": 1}}
FIELD |= {"fractions": {"a": 0.4, "b": 0.6}, "correlation_nm": 4.0}
CONTACT: dict[str, Any] = {
    "kind": "contact",
    "shape": (8, 16, 16),
    "voxel_size": {"z": 2, "y": 1, "x": 1},
}
CONTACT |= {
    "pressure": 0.2,
    "roughness": {"rms_nm": 0.5, "hurst": 0.8, "correlation_nm": 8.0, "cutoff_nm": 3.0},
}
DIFFUSION = {
    "kind": "diffusion",
    "shape": (8, 16, 16),
    "weights": "sections-0.safetensors",
    "steps": 1,
}
DIFFUSION |= {
    "tile": 16,
    "conditions": {"temperature": 220},
    "voxel_size": {"z": 2, "y": 1, "x": 1},
}
GUIDED: dict[str, Any] = DIFFUSION | {
    "steps": 4,
    "target": {"phase_fraction": 0.45, "conductivity": 2.5},
    "conductivity": {"pore": 0.5, "solid": 8.0},
    "scatter": {"phase_fraction": 0.004, "conductivity": 0.03},
}
SPINODAL = FIELD | {"kind": "spinodal", "wavelength_nm": 11.0, "ripening": 9.0}
SPINODAL |= {"cell_nm": (2, 36, 40)}
SPINODAL.pop("correlation_nm")
POLYCRYSTAL = FIELD | {"kind": "polycrystal", "grain_nm": 11.0, "boundary_nm": 3.0, "growth": 2.0}
POLYCRYSTAL |= {"cell_nm": (2, 36, 40), "phases": Phases(edge=0, grain=1)}
for name in ("correlation_nm", "fractions"):
    POLYCRYSTAL.pop(name)
ANOTHER: dict[str, Any] = {
    "particles": "grain",
    "shape": (8, 16, 8), "voxel_size": {"z": 1, "y": 1, "x": 1}, "seed": 1, "fractions": {"a": 0.5, "b": 0.5},
    "correlation_nm": 4.0, "s2": "s2.csv", "loading": 0.2, "phases": Phases(resin=0, silver=1), "diameter_nm": 5.0,
    "spread": 0.3, "sizes": {"6": 1}, "aspect": 0.5, "orientation": (1, 0, 0), "cell_nm": (16, 16, 16),
    "wavelength_nm": 12.0, "ripening": 10.0, "grain_nm": 12.0, "boundary_nm": 2.0, "growth": 2.5,
    "roughness": {"rms_nm": 0.5, "hurst": 0.8, "correlation_nm": 16.0, "cutoff_nm": 3.0}, "pressure": 0.3,
    "bond_line_nm": 8.0, "film_nm": 0.5, "voids": {"share": 0.1, "diameter_nm": 3.0},
    "delamination": {"below": 0.3, "patch_nm": 4.0, "gap_nm": 2.0},
    "weights": "g.safetensors", "precision": "bfloat16", "tile": 8, "device": "cpu", "periodic": True,
    "steps": 2, "sampler": "heun", "planes": "alternating", "harmonise": 2, "conditions": {"temperature": 250},
    "coarse": 0.5, "coarse_sample": "s.zarr", "coarse_field": "raw2",
    "stored": "float16", "target": {"phase_fraction": 0.4, "conductivity": 2.8},
    "conductivity": {"pore": 0.4, "solid": 8.0}, "axis": "y", "scatter": {"phase_fraction": 0.02, "conductivity": 0.03},
}  # fmt: skip

# Of each case of a verb: what is given, and for every parameter another value than in the first
# call.
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "ingest": (
        "ingest",
        {"source": "grey.npy", "voxel_size": {"z": 2, "y": 1, "x": 1}, "field": "new"},
        {
            "source": "other.npy", "voxel_size": {"z": 3, "y": 1, "x": 1}, "units": "um", "field": "newer",
            "phases": TWO, "dataset": "raw", "shape": (8, 16, 16), "dtype": "uint8", "even_z": False,
            "missing_chunks": "fill", "other_grid": True, "scene": 1, "time": "1", "channel": 1,
            "level": 1, "convert": "shift", "accept": ["blank"],
        },
    ),
    "prepare": (
        "prepare",
        {"steps": (Crop(bar=2),), "out": "new"},
        {"field": "raw16", "steps": (Crop(bar=3),)},
    ),
    "annotate": (
        "annotate",
        {"out": "new", "threshold": 100.0},
        {
            "field": "raw16", "threshold": 120.0, "superpixel_threshold": 131.5, "smoothing": 9.0, "size": 4.0,
            "compactness": 0.5, "polarity": "bright",
        },
    ),
    "combine labels": (
        "combine_labels",
        {"labels": ["labelled", "swapped"], "out": "new"},
        {"labels": ["swapped", "labelled"], "confident": 0.5},
    ),
    "segment by a threshold": (
        "segment",
        {"method": "otsu", "phases": TWO, "out": "new"},
        {
            "model": "m.safetensors", "method": "multi-otsu", "segmenter": LocalContrast(), "thresholds": [100.0],
            "phases": Phases(pore=0, copper=1), "merge": {"a": "pore"}, "field": "raw16", "blur": "binomial",
            "polarity": "bright", "mode": "blend",
            "window": (16, 16), "halo": 4, "planes": "zy", "probabilities": True, "normalisation": "slices",
            "batch": 2, "uncertainty": "views", "passes": 3, "seed": 1, "precision": "fp16", "device": "cpu",
        },
    ),
    "segment by a network": (
        "segment",
        {"model": "net.safetensors", "out": "new"},
        {
            "model": "slices.safetensors", "method": "otsu", "segmenter": LocalContrast(), "thresholds": [100.0],
            "phases": Phases(void=0, solid=1), "merge": {"pore": "solid"}, "field": "raw16", "blur": "binomial",
            "polarity": "bright", "mode": "blend", "window": (8, 8), "halo": 4, "planes": "zy",
            "probabilities": True, "uncertainty": "views", "passes": 3, "seed": 1, "normalisation": "slices",
            "batch": 2, "precision": "fp16", "device": "cpu",
        },
    ),
    "segment_prompted": (
        "segment_prompted",
        {
            "model": "sam.safetensors", "prompts": Grid(side=3), "out": "new",
            "masks": AsObjects(iou=0, stability=0, smallest=4),
        },
        {
            "model": "sam2.safetensors", "prompts": Grid(side=4), "masks": AsObjects(iou=1.0), "field": "raw16",
            "phases": Phases(none=0, object=1), "merge": {"object": "background"}, "window": (8, 8), "halo": 2,
            "embeddings": "none", "batch": 2, "device": "cpu",
        },
    ),
    "propagate": (
        "propagate",
        {"model": "sam.safetensors", "labels": "few", "out": "new"},
        {
            "model": "sam2.safetensors", "labels": "few2", "field": "raw16", "reach": 1, "give": "box", "least": 0.9,
            "smallest": 30, "embeddings": "none", "batch": 2, "device": "cpu",
        },
    ),
    "distance": (
        "distance",
        {"field": "labelled"},
        {"field": "swapped", "phases": ["solid"]},
    ),
    "annotate_instances": (
        "annotate_instances",
        {"instances": "cells", "out": "parts"},
        {"instances": "cells2", "width": 1.0},
    ),
    "confidence": (
        "confidence",
        {"instances": "cells", "uncertainty": "raw", "limits": [100.0], "out": "rated"},
        {
            "instances": "cells2", "uncertainty": "raw2", "limits": [140.0], "truth": "cells2",
            "least_diameter": 9.0,
        },
    ),
    "link_slices": (
        "link_slices",
        {"field": "cells", "out": "linked"},
        {"field": "cells2", "overlap": 0.9, "rule": "multicut"},
    ),
    "watershed": (
        "watershed",
        {"heights": "raw", "depth": 20.0, "phase": "solid", "field": "labelled", "out": "objects"},
        {
            "heights": "raw2", "depth": 60.0, "phase": "pore", "field": "swapped", "boundary": "raw2",
        },
    ),
    "thickness": ("thickness", {"distance": "far"}, {"distance": "far_swapped"}),
    "skeleton": ("skeleton", {"distance": "far"}, {"distance": "far_swapped"}),
    "render": (
        "render",
        {"field": "labelled", "model": "look.json", "out": "new"},
        {"field": "swapped", "model": "other_look.json", "seed": 1, "vary": 0.5},
    ),
    "translate": (
        "translate",
        {"model": "same.safetensors", "labels": "labelled", "out": "new"},
        {"field": "raw2", "model": "bright.safetensors", "labels": "swapped"},
    ),
    "adapt to a histogram": (
        "adapt",
        {"like": "s.zarr", "to": "histogram", "like_field": "raw2", "out": "new"},
        {
            "field": "raw2", "like": "like.zarr", "like_field": "raw", "to": "spectrum", "window": 16,
            "share": 0.5, "seed": 1,
        },
    ),
    "adapt to a spectrum": (
        "adapt",
        {"like": "like.zarr", "to": "spectrum", "window": 8, "out": "new"},
        {
            "field": "raw2", "like": "s.zarr", "like_field": "raw2", "to": "histogram", "window": 10,
            "share": 0.5, "seed": 1,
        },
    ),
    "generate grains": (
        "generate",
        GRAINS,
        ANOTHER | {"kind": "hard-core"},
    ),
    "generate a field": (
        "generate",
        FIELD,
        ANOTHER | {"kind": "packed", "correlation_nm": 3.0},
    ),
    "generate a spinodal structure": (
        "generate",
        SPINODAL,
        ANOTHER | {"kind": "packed", "cell_nm": (2, 33, 34)},
    ),
    "generate a polycrystal": (
        "generate",
        POLYCRYSTAL,
        ANOTHER | {"kind": "packed", "cell_nm": (2, 40, 42)},
    ),
    "generate a contact": (
        "generate",
        CONTACT,
        ANOTHER | {"kind": "packed", "roughness": CONTACT["roughness"] | {"hurst": 0.5}},
    ),
    "generate by diffusion": (
        "generate",
        DIFFUSION,
        ANOTHER
        | {
            "kind": "packed", "weights": "sections-1.safetensors", "fractions": {"pore": 0.4, "solid": 0.6},
        },
    ),
    "generate by guided diffusion": (
        "generate",
        GUIDED,
        ANOTHER
        | {
            "kind": "packed", "weights": "sections-1.safetensors", "fractions": {"pore": 0.4, "solid": 0.6}, "steps": 5,
        },
    ),
    "generate an interface": (
        "generate",
        GRAINS | {"kind": "interface", "diameter_nm": 5.0, "bond_line_nm": 10.0},
        ANOTHER | {"kind": "hard-core", "diameter_nm": 4.5, "sizes": {"4.5": 1}},
    ),
}  # fmt: skip
# What networks make: another machine rounds their sums otherwise.
NETWORKS = {
    "segment by a network", "segment_prompted", "propagate", "translate", "generate by diffusion",
    "generate by guided diffusion",
}  # fmt: skip
# What may change nothing: an orientation of spheres, alike in all directions, and leave for what is
# not the case.
ALIKE = {
    ("generate grains", "orientation"),
    ("generate an interface", "orientation"),
    ("generate by diffusion", "device"),
    ("generate by guided diffusion", "device"),
    ("ingest", "other_grid"),
    ("ingest", "accept"),
    ("segment by a network", "device"),
    ("segment_prompted", "device"),
    ("propagate", "device"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey values of two kinds and labels, in files and in a sample."""
    folder = tmp_path_factory.mktemp("made")
    z, y = np.indices((8, 16, 16))[:2]
    grey = (
        60 * ((y + z) // 4 % 2) + 80 + np.random.default_rng(0).integers(0, 40, z.shape)
    ).astype(np.uint8)
    for name, volume in {
        "grey": grey,
        "other": grey[::-1],
        "labels": (grey > 120).astype(np.uint8),
        "swapped": (grey > 120).astype(np.uint8)[::-1],
    }.items():
        np.save(folder / f"{name}.npy", volume)
    for name, slices in (("few", [1, 6]), ("few2", [2])):
        drawn = np.isin(z, slices) & (grey > 120)
        np.save(folder / f"{name}.npy", drawn.astype(np.uint8))
    # Bars that move a third of their width from slice to slice: best partners until they are asked for more.
    for name, step in (("cells", 1), ("cells2", 2)):
        np.save(folder / f"{name}.npy", ((y + step * z) // 3 % 4).astype(np.uint16))
    np.save(folder / "raw16.npy", grey.astype(np.uint16) * 7)
    if find_spec("torch"):
        from tests.diffusers import saved
        from tests.nets import tiny_checkpoint, untrained_translator

        for seed in range(2):
            saved(folder, "sections", seed)
        untrained_translator(folder / "same.safetensors")
        untrained_translator(folder / "bright.safetensors", added=9.0)
        tiny_checkpoint(folder / "net.safetensors")
        tiny_checkpoint(folder / "slices.safetensors", norm="instance")
    for name, read in (("look", 8.0), ("other_look", 12.0)):
        write_imaging(
            folder / f"{name}.json", Imaging({"pore": 60.0, "solid": 160.0}, read=read), {}
        )
    if find_spec("transformers"):
        from tests.promptable import saved_folder

        for family in ("sam", "sam2"):
            source = saved_folder(family, folder / family)
            tim3d.import_network(source, folder / f"{family}.safetensors")
    (folder / "s2.csv").write_text("0,0.4\n2,0.3\n4,0.2\n8,0.16\n")
    size = {"z": 2, "y": 1, "x": 1}
    for name, field, phases in (
        ("grey", "raw", None),
        ("raw16", "raw16", None),
        ("other", "raw2", None),
        ("cells", "cells", None),
        ("cells2", "cells2", None),
        ("labels", "labelled", TWO),
        ("swapped", "swapped", TWO),
        ("few", "few", TWO),
        ("few2", "few2", TWO),
    ):
        tim3d.ingest(
            folder / f"{name}.npy",
            str(folder / "s.zarr"),
            voxel_size=size,
            field=field,
            phases=phases,
            options=QUIET,
        )
    for field, factor in (("raw", 0.5), ("raw2", 0.7)):
        np.save(folder / "like.npy", (grey[:, ::-1] * factor).astype(np.uint8))
        tim3d.ingest(
            folder / "like.npy",
            str(folder / "like.zarr"),
            voxel_size=size,
            field=field,
            options=QUIET,
        )
    for name, out in (("labelled", "far"), ("swapped", "far_swapped")):
        tim3d.distance(str(folder / "s.zarr"), field=name, out=out, options=QUIET)
    return folder


@pytest.fixture(scope="module")
def firsts() -> dict[str, Any]:
    """What each case gives as it stands, computed once."""
    return {}


def outcome(made: Path, work: Path, name: str, given: dict[str, Any]) -> Any:
    """What a call left: hash, voxel edges, names and voxels of its field; or that it was refused, and left nothing."""
    sample = str(work / "s.zarr")
    shutil.copytree(made / "s.zarr", sample)
    before = store.nodes(sample)
    try:
        found = verb(name)(sample=sample, **given, options=QUIET)
        field = store.read_field(sample, str(found.name))
        mark = store.fingerprint_of(sample, field.name)
        return (
            mark,
            field.spacing_nm,
            field.phases,
            found.values.tobytes(),
            field.name if name == "ingest" else "",
            recorded_changes.of(found.load(), name, work),
        )
    except Tim3dError as error:
        assert store.nodes(sample) == before
        return recorded_changes.of(error, name, work)
    finally:
        shutil.rmtree(sample)
        shutil.rmtree(f"{sample}.runs", ignore_errors=True)


@pytest.mark.parametrize("case", CASES)
def test_the_table_holds_every_parameter(case: str) -> None:
    name, _, others = CASES[case]
    assert set(inspect.signature(verb(name)).parameters) - PLACES == set(others)


@pytest.mark.parametrize(
    ("case", "parameter"), [(case, one) for case, (*_, others) in CASES.items() for one in others]
)
@pytest.mark.long
def test_a_parameter_changed_alone_gives_another_result_or_is_refused(
    made: Path,
    firsts: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
    parameter: str,
) -> None:
    monkeypatch.chdir(made)
    name, given, others = CASES[case]
    first = firsts.get(case) or firsts.setdefault(case, outcome(made, tmp_path, name, given))
    assert isinstance(first, tuple)
    changed = outcome(made, tmp_path, name, {**given, parameter: others[parameter]})
    near = 0.1 if name in NETWORKS or case in NETWORKS else 1e-3
    recorded_changes.compare(case, first[-1], None, name, near)
    if isinstance(changed, dict):
        recorded_changes.compare(f"{case} {parameter}", changed, None, name, near)
        return
    recorded_changes.compare(f"{case} {parameter}", changed[-1], first[-1], name, near)
    assert changed[:-1] != first[:-1] or (case, parameter) in ALIKE
    # Two results with one fingerprint would be taken for each other.
    assert changed[3] == first[3] or changed[0] != first[0]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("segment", {"method": "otsu", "phases": TWO, "merge": {"a": "b"}}),
        ("segment", {"method": "otsu", "phases": TWO, "batch": 2}),
        ("segment", {"model": "m.safetensors", "blur": "binomial"}),
        ("segment", {"model": "m.safetensors", "polarity": "bright"}),
        ("segment", {"model": "m.safetensors", "thresholds": [85.0]}),
        ("annotate", {"superpixel_threshold": 120.0, "smoothing": 3.0}),
        ("ingest", {"source": "grey.npy", "units": "um"}),
    ],
)
def test_what_would_change_nothing_is_refused(
    made: Path, monkeypatch: pytest.MonkeyPatch, name: str, given: dict[str, Any]
) -> None:
    monkeypatch.chdir(made)
    with pytest.raises(tim3d.errors.ArgumentError, match="leave"):
        verb(name)(sample="s.zarr", **given, options=QUIET)
