"""The public names, what `import tim3d` costs, the page of errors, and that the core needs no torch."""

from __future__ import annotations

import builtins
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tim3d
from tests.each import each
from tim3d import errors

NAMES = [
    "Map",
    "Options",
    "Phases",
    "Segmenter",
    "Source",
    "Tim3dError",
    "__version__",
    "adapt",
    "annotate",
    "annotate_instances",
    "bond_line",
    "calibrate",
    "clean",
    "cluster",
    "combine_labels",
    "confidence",
    "contact",
    "count_points",
    "describe",
    "distance",
    "embed",
    "evaluate",
    "evaluate_images",
    "export",
    "fidelity",
    "fidelity_images",
    "fine_tune",
    "fit_imaging",
    "generate",
    "generate_images",
    "geodesic",
    "import_generator",
    "import_network",
    "ingest",
    "inspect",
    "label",
    "library",
    "likeness",
    "link_slices",
    "measure",
    "measure_images",
    "open_dataset",
    "open_field",
    "paint",
    "particles",
    "plan",
    "plot",
    "points",
    "porosimetry",
    "predict_images",
    "prepare",
    "propagate",
    "relate",
    "render",
    "report",
    "run_recipe",
    "run_training",
    "sample_labels",
    "segment",
    "segment_images",
    "segment_prompted",
    "simulate",
    "skeleton",
    "solve",
    "struts",
    "study",
    "table",
    "take_painted",
    "thickness",
    "train",
    "train_cgan",
    "train_diffusion",
    "train_generator",
    "train_images",
    "train_strokes",
    "train_strokes_images",
    "train_surrogate",
    "train_translator",
    "translate",
    "tune_masks",
    "tune_masks_images",
    "validate",
    "view",
    "watershed",
]
EVERY_ERROR = [
    e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.Tim3dError)
]


# scikit-image 0.26 beside NumPy 2.5.
TOLERATED = "ignore:Setting the shape on a NumPy array:DeprecationWarning"


def fresh(code: str, *arguments: str) -> str:
    """Output of a new interpreter that treats warnings as errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", TOLERATED, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_public_names_are_these() -> None:
    assert sorted(tim3d.__all__) == NAMES == dir(tim3d)


@each([n for n in NAMES if n != "__version__"])
def test_every_public_name_says_what_it_is(name: str) -> None:
    if name in ("train", "segment", "run_training"):
        pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
    text = getattr(tim3d, name).__doc__
    assert text.splitlines()[0].endswith(".")


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'ingst'; it has .*ingest"):
        tim3d.ingst  # noqa: B018


def test_a_verb_keeps_its_name_when_its_package_is_imported() -> None:
    fresh("import tim3d; from tim3d.reporting import report; assert tim3d.report is report.report")


def test_import_is_quick_and_light() -> None:
    code = (
        "import json, sys, time; t = time.process_time(); import tim3d; "
        "print(json.dumps([time.process_time() - t, sorted(m.split('.')[0] for m in sys.modules)]))"
    )
    # Seconds of this process: how busy the machine is does not count. The first run may compile.
    seconds, modules = json.loads(fresh(code))
    assert min(seconds, json.loads(fresh(code))[0]) < 0.5
    heavy = {
        "torch",
        "dask",
        "distributed",
        "xarray",
        "zarr",
        "numba",
        "skimage",
        "scipy",
        "matplotlib",
        "numpy",
    }
    assert not heavy & set(modules)


def test_help_is_quick_and_light() -> None:
    code = (
        "import contextlib, sys, tim3d.cli.main\n"
        "with contextlib.suppress(SystemExit): tim3d.cli.main.main(['ingest', '--help'])\n"
        "assert not {'torch', 'dask', 'xarray', 'zarr', 'numpy', 'fsspec', 'tim3d.stages'} & set(sys.modules)"
    )
    assert "voxel" in fresh(code)


def test_a_plan_waits_for_no_library_that_it_does_without(tmp_path: Path) -> None:
    sample = tmp_path / "s.zarr"
    np.save(tmp_path / "labels.npy", np.eye(8, dtype=np.uint8)[None].repeat(8, 0))
    phases = {"pore": 0, "solid": 1}
    tim3d.ingest(
        tmp_path / "labels.npy",
        str(sample),
        voxel_size=dict.fromkeys("zyx", 10),
        field="phase",
        phases=phases,
    )
    code = (
        "import sys, tim3d.cli.main\n"
        "for verb in ('show', 'distance'):\n"
        "    plan = ['--plan'] if verb == 'distance' else []\n"
        f"    assert not tim3d.cli.main.main([verb, {str(sample)!r}, *plan])\n"
        "heavy = {'torch', 'xarray', 'pandas', 'scipy.spatial', 'scipy.ndimage', 'skimage', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    assert "phase_distance/s0" in fresh(code)


@each(EVERY_ERROR, lambda error: error.__name__)
def test_every_error_is_a_builtin_too_and_has_an_exit_code(error: type[errors.Tim3dError]) -> None:
    fitting = [
        base
        for base in error.__mro__
        if base.__module__ == builtins.__name__ and base not in _PLAIN
    ]
    assert fitting or error in (errors.Tim3dError, errors.StoreError)
    assert 1 <= error.exit_code <= 7
    assert str(error("seen", "expected")) == "seen expected"


_PLAIN = {object, Exception, BaseException}


def test_the_exit_codes_are_those_of_the_help() -> None:
    from tim3d.cli.main import EXIT_CODES

    for error in EVERY_ERROR:
        assert f"{error.exit_code} " in EXIT_CODES


BLOCK_TORCH = """
import sys, importlib.abc

class NoTorch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "segmentation_models_pytorch", "safetensors"}:
            raise ImportError(f"{name} is not installed")

sys.meta_path.insert(0, NoTorch())
import numpy as np
import tim3d
folder = sys.argv[1]
np.save(folder + "/a.npy", (np.indices((5, 6, 7)).sum(0) % 2).astype(np.uint8))
options = tim3d.Options(progress=False)
phases = tim3d.Phases(pore=0, solid=1)
size = {"z": 2, "y": 1, "x": 1}
tim3d.ingest(folder + "/a.npy", folder + "/a.zarr", voxel_size=size, field="phase", phases=phases, options=options)
print(float(tim3d.measure(folder + "/a.zarr", options=options).phase_fraction.sel(phase="solid")))
"""


def test_store_and_measure_need_no_torch(tmp_path: Path) -> None:
    assert float(fresh(BLOCK_TORCH, str(tmp_path))) == 0.5
