"""The layers of the package: imports go down only, families stay apart, each room holds its own libraries."""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path

from tim3d.verbs import VERBS

PACKAGE = Path(__file__).parents[2] / "tim3d"


@dataclass(frozen=True)
class Room:
    """Modules below `name`, their layer, the rooms of the same layer that they see, and their libraries."""

    layer: int
    name: str
    sees: str = ""
    libraries: str = ""


# fmt: off
ROOMS = [
    #    layer, room, rooms of the same layer that it sees, libraries
    Room(0, "version"),
    Room(0, "errors"),
    Room(0, "grid",         "errors"),
    Room(0, "verbs"),
    Room(0, "typed",        "grid"),
    Room(0, "commands",     "verbs"),
    Room(0, "forecast"),
    Room(0, "lazy",         "",                         "scipy xarray"),
    Room(0, "spelling"),
    Room(0, "units"),
    Room(0, "steps",        "errors spelling"),
    Room(0, "credentials",  "errors"),
    Room(0, "colours"),
    Room(0, "phases",       "errors"),
    Room(0, "phantoms",     "errors grid", "numpy"),

    Room(1, "kernels"),
    Room(1, "kernels.morphology", "",
         "numpy scipy numba skimage cc3d fast_simplification bioimage_cpp"),
    Room(1, "kernels.statistics", "",                   "numpy scipy numba llvmlite sklearn threadpoolctl"),
    Room(1, "kernels.geodesic",   "",                   "numpy numba"),
    Room(1, "kernels.generation", "",                   "numpy scipy numba"),
    Room(1, "kernels.windows",    "",                   "numpy"),
    Room(1, "kernels.conduction", "kernels.morphology", "numpy scipy numba"),
    Room(1, "kernels.image",      "kernels.generation kernels.statistics", "numpy numba scipy skimage pywt"),
    Room(1, "kernels.masks",      "kernels.image",      "numpy scipy skimage"),
    Room(1, "storage",            "",                   "numpy xarray zarr numcodecs fsspec obstore"),
    Room(1, "models"),
    Room(1, "models.common",       "storage",           "numpy torch safetensors pynvml"),
    Room(1, "models.segmentation", "kernels.image kernels.morphology kernels.statistics kernels.windows "
         "models.common storage", "numpy torch torchvision safetensors segmentation_models_pytorch sklearn"),
    Room(1, "models.promptable",  "kernels.masks kernels.windows models.common models.segmentation storage",
         "numpy scipy torch safetensors transformers"),
    Room(1, "models.generation",   "kernels.generation kernels.statistics models.common storage",
         "numpy torch safetensors"),
    Room(1, "models.surrogate",    "kernels.statistics models.common storage", "numpy torch safetensors"),
    Room(1, "models.diffusion",    "kernels.generation kernels.statistics models.common", "numpy torch"),
    Room(1, "models.conditional",  "kernels.generation kernels.statistics models.common models.diffusion "
         "models.generation", "numpy torch"),
    Room(1, "models.translation",  "kernels.image models.common", "numpy torch"),
    Room(1, "models.conduction",   "models.common",     "numpy torch"),
    Room(1, "formats",             "",                  "numpy tifffile h5py meshio pyarrow"),
    Room(1, "sources",             "",                  "numpy tifffile PIL h5py zarr"),

    Room(2, "engine",             "engine.clusters engine.collective engine.job_array engine.passes engine.state"),
    Room(2, "engine.state",       "",                   "obstore"),
    Room(2, "engine.clusters",    "",                   "dask distributed dask_cuda dask_jobqueue cryptography"),
    Room(2, "engine.job_array",   "engine.state"),
    Room(2, "engine.collective",  "engine.clusters",    "distributed cloudpickle psutil"),
    Room(2, "engine.passes",      "engine.clusters engine.job_array engine.state",
         "distributed cloudpickle tqdm prometheus_client"),

    Room(3, "corrections",        "",                   "numpy xarray"),
    Room(3, "descriptors",        "",                   "numpy xarray"),

    Room(4, "stages"),
    Room(4, "stages.shared",         "",                                  "numpy xarray"),
    Room(4, "stages.inspection",     "stages.shared",                     "numpy xarray"),
    Room(4, "stages.ingest",         "stages.inspection stages.shared",   "numpy xarray"),
    Room(4, "stages.preparation",    "stages.shared",                     "numpy xarray"),
    Room(4, "stages.segmentation",   "stages.components stages.morphology stages.shared",   "numpy xarray"),
    Room(4, "stages.generation",     "stages.shared",                     "numpy xarray tifffile"),
    Room(4, "stages.components",     "stages.shared",                     "numpy xarray"),
    Room(4, "stages.images",         "stages.shared",                     "numpy xarray PIL tifffile"),
    Room(4, "stages.imaging",        "stages.shared",                     "numpy xarray"),
    Room(4, "stages.cleaning",       "stages.components stages.shared",   "numpy xarray"),
    Room(4, "stages.conduction",     "stages.shared",                     "numpy xarray"),
    Room(4, "stages.geodesic",       "stages.shared",                     "numpy xarray"),
    Room(4, "stages.morphology",     "stages.components stages.geodesic stages.shared",   "numpy xarray"),
    Room(4, "stages.uncertainty",    "stages.shared",                     "numpy xarray PIL"),
    Room(4, "stages.measurement",    "stages.shared",                     "numpy xarray"),
    Room(4, "stages.comparison",     "stages.shared",                     "numpy xarray"),
    Room(4, "stages.representative", "stages.conduction stages.shared",   "numpy xarray"),

    Room(5, "generators"),
    Room(5, "segmenters"),
    Room(5, "cleaning"),
    Room(5, "sections",           "reporting"),
    Room(5, "maintenance",        "",                   "numpy numba zarr"),
    Room(5, "plotting",           "",                   "numpy xarray matplotlib mpl_toolkits"),
    Room(5, "reporting",          "plotting",           "numpy xarray matplotlib PIL jinja2 markupsafe"),
    Room(5, "cataloguing",        "reporting",          "numpy xarray"),
    Room(5, "relating",           "plotting reporting", "numpy xarray sklearn pyarrow"),
    Room(5, "exporting",          "plotting reporting", "numpy xarray matplotlib"),
    Room(5, "viewing",            "",                   "numpy neuroglancer tornado"),
    Room(5, "cli",                "cleaning maintenance reporting"),
    Room(5, "__main__",           "cli"),
    Room(5, "",                   "cli maintenance reporting"),
]
# fmt: on

# What a room must not see although it lies lower.
BLIND = {
    "engine": {"kernels", "models", "sources"},
    "corrections": {"engine", "storage", "models", "sources"},
    "descriptors": {"engine", "storage", "models", "sources"},
}
# What a library is confined to, within the rooms that hold it.
ONLY_IN = {
    "bioimage_cpp": {"kernels.morphology.multicut"},
    "pynvml": {"models.common.gpu_memory"},
    "zarr": {
        "sources.zarr_array",
        "sources.zarr_chunks",
        "storage.block_results",
        "storage.folder",
        "storage.sample_image",
        "storage.samples",
        "storage.scratch",
        "storage.shards",
        "storage.small_results",
        "storage.store",
        "storage.strict_store",
        "maintenance.validation",
    },
}
# What `tim3d.lazy` imports on first use, by its name there.
LATE = {
    "csgraph": "scipy.sparse.csgraph", "fft": "scipy.fft", "interpolate": "scipy.interpolate",
    "ndimage": "scipy.ndimage", "optimize": "scipy.optimize", "sparse": "scipy.sparse", "spatial": "scipy.spatial",
    "xarray": "xarray",
}  # fmt: skip
HOMES = {"dask": "engine", "distributed": "engine", "torch": "models"}
# The only modules that may need torch as soon as they are imported.
NEEDS_TORCH = {
    "models",
    "stages.generation.cgan_training",
    "stages.generation.diffusion_generator",
    "stages.generation.diffusion_training",
    "stages.generation.network_training",
    "stages.generation.generator_training",
    "stages.generation.training_folder",
    "stages.generation.network_generator",
    "stages.shared.training",
}
# Of these, what a plan needs: they load torch when a network is built, read or called.
LIGHT = {
    "models.surrogate.examples",
    "models",
    "models.common",
    "models.conduction",
    "models.generation",
    "models.segmentation",
    "models.common.conditioned_network",
    "models.common.conditioned_options",
    "models.common.digest",
    "models.common.weights",
} | {
    f"models.segmentation.{name}"
    for name in (
        "architectures",
        "bpartis",
        "by_network",
        "checkpoint",
        "crops",
        "crops_3d",
        "encoder_shapes",
        "encoder_weights",
        "dropout",
        "families",
        "planes_segmenter",
        "first_weights",
        "imported",
        "losses",
        "network_check",
        "schedules",
        "sem_augmentation",
        "state_dicts",
        "unet_3d",
        "volume_segmenter",
        "memory",
        "model_file",
        "ensemble",
        "batch",
        "network_segmenter",
        "objects",
        "predictor",
        "segmenter",
        "segmenter_check",
        "stroke_forest",
        "stroke_training",
        "local_threshold",
        "thresholds",
        "network_spec",
        "training_options",
        "training_record",
        "unet",
    )
}
LIGHT |= {
    "models.conditional",
    "models.conditional.network_file",
    "models.conditional.network_spec",
    "models.conditional.training_options",
    "models.diffusion",
    "models.diffusion.drawing",
    "models.diffusion.examples",
    "models.diffusion.network_file",
    "models.diffusion.network_spec",
    "models.diffusion.training_options",
}
LIGHT |= {"models.translation", "models.translation.model_file"}
LIGHT |= {"models.promptable"} | {
    f"models.promptable.{name}"
    for name in (
        "propagation",
        "propagating_segmenter",
        "file_network",
        "decoder_layout",
        "decoder_segmenter",
        "foreign_file",
        "importing",
        "kept",
        "key_sets",
        "mask_rules",
        "kept_masks",
        "mask_rules.base",
        "mask_rules.file",
        "mask_rules.grains",
        "mask_rules.materials",
        "mask_rules.objects",
        "object_prompts",
        "prompted_segmenter",
        "prompting",
        "prompting.base",
        "prompting.decoder",
        "prompting.field",
        "prompting.file",
        "prompting.grid",
        "prompting.objects",
        "prompting.strokes",
        "prompting.structure",
        "preprocessing",
        "promptable",
        "prompts",
        "shapes",
        "tuning_data",
    )
}
# In tokens, which no line length changes.
LONGEST_FUNCTION, LONGEST_MODULE = 500, 4000
LAYOUT = {
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.COMMENT,
    tokenize.ENDMARKER,
}


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its name below ``tim3d``."""
    names = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


@cache
def tree(name: str) -> ast.Module:
    """The parsed text of a module."""
    return ast.parse(modules()[name].read_text())


@cache
def inside(name: str, *, top_only: bool = False) -> frozenset[str]:
    """Modules of the package that a module imports."""
    targets = {t for t in _targets(name, top_only=top_only) if t.split(".")[0] == "tim3d"}
    return frozenset({t.removeprefix("tim3d").removeprefix(".") for t in targets} - {name, ""})


@cache
def libraries(name: str) -> frozenset[str]:
    """Libraries that a module imports, by their first word."""
    return frozenset(
        {t.split(".")[0] for t in _targets(name)} - {"tim3d"} - sys.stdlib_module_names
    )


def _targets(name: str, *, top_only: bool = False) -> Iterator[str]:
    for node in tree(name).body if top_only else ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used"
            if node.module == "tim3d.lazy":  # libraries that are imported on first use
                yield from (LATE[alias.name] for alias in node.names if alias.name in LATE)
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (full for full in inner if full.removeprefix("tim3d.") in modules())
            yield str(node.module)  # a package is imported too, whatever is taken from it


def room(name: str) -> Room:
    """The room of a module: the longest name that begins it."""
    fitting = [r for r in ROOMS if name == r.name or (r.name and name.startswith(r.name + "."))]
    assert fitting, f"{name} has no row in the table of rooms"
    return max(fitting, key=lambda r: len(r.name))


def within(name: str, rooms: set[str]) -> bool:
    """Whether a module or room lies in one of some rooms."""
    return any(name == r or name.startswith(r + ".") for r in rooms)


def test_imports_go_down_and_families_stay_apart() -> None:
    wrong = [
        f"{name} must not import {target}"
        for name in modules()
        for target in inside(name)
        if not _may(name, target)
    ]
    assert not wrong, "\n".join(wrong)


def _may(name: str, target: str) -> bool:
    own, other = room(name), room(target)
    if any(
        within(own.name, {blind}) and within(other.name, lower) for blind, lower in BLIND.items()
    ):
        return False
    # A package is imported with everything below it; its own text imports nothing.
    return (
        other.layer < own.layer
        or other.name in {own.name, *own.sees.split()}
        or own.name.startswith(other.name + ".")
    )


def test_libraries_stay_in_their_rooms() -> None:
    wrong = [
        f"{name} must not import {library}"
        for name in modules()
        for library in libraries(name)
        if not _holds(name, library)
    ]
    assert not wrong, "\n".join(wrong)


def _holds(name: str, library: str) -> bool:
    home, only = HOMES.get(library), ONLY_IN.get(library)
    return (
        library in room(name).libraries.split()
        and (home is None or within(name, {home}))
        and (only is None or name in only)
    )


def test_no_row_of_the_table_is_idle() -> None:
    assert {room(name).name for name in modules()} == {r.name for r in ROOMS}
    used = {
        r.name: {lib for name in modules() if room(name) == r for lib in libraries(name)}
        for r in ROOMS
    }
    idle = {r.name: extra for r in ROOMS if (extra := set(r.libraries.split()) - used[r.name])}
    assert not idle, f"libraries that a room may hold and does not: {idle}"


def test_torch_is_loaded_by_its_users_only() -> None:
    light = [name for name in modules() if not _needs_torch(name)]
    early = {
        name: found
        for name in light
        if (found := [t for t in inside(name, top_only=True) if _needs_torch(t)])
    }
    assert not early, (
        f"these load torch when they are imported; import it where it is used: {early}"
    )


def _needs_torch(name: str) -> bool:
    return name not in LIGHT and within(name, NEEDS_TORCH)


def test_what_takes_long_to_import_is_imported_on_first_use() -> None:
    early = {
        name: found
        for name in modules()
        if name != "lazy"
        and (found := {str(target) for target in _plainly(name)} & {*LATE.values()})
    }
    assert not early, f"take these from tim3d.lazy: {early}"


def _plainly(name: str) -> Iterator[str | None]:
    """What the import statements at the top of a module name, but for tim3d.lazy."""
    for node in tree(name).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_stage_imports_a_verb() -> None:
    verbs = {where.removeprefix("tim3d.") for where in VERBS.values()}
    stages = [name for name in modules() if within(name, {"stages"})]
    used = {name: found for name in stages if (found := inside(name) & verbs)}
    assert not used, f"what two stages share is a module of its own, not a verb: {used}"


def test_there_is_no_import_cycle() -> None:
    finished: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a cycle: {' -> '.join((*path[path.index(name) :], name))}"
        if name not in finished:
            for target in inside(name):
                visit(target, (*path, name))
            finished.add(name)

    for name in modules():
        visit(name, ())
    assert finished == set(modules())


def test_functions_and_modules_are_short() -> None:
    long = [f"{name} has {n} tokens" for name in modules() if (n := _length(name)) > LONGEST_MODULE]
    for name in modules():
        functions = [
            n for n in ast.walk(tree(name)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        long += [
            f"{name}.{f.name} has {n} tokens"
            for f in functions
            if (n := _body_tokens(name, f)) > LONGEST_FUNCTION
        ]
    assert not long, "\n".join(long)


@cache
def tokens(name: str) -> tuple[int, ...]:
    """The line of every token of a module but comments, docstrings and layout: lines would reward dense ones."""
    found = tokenize.generate_tokens(io.StringIO(modules()[name].read_text()).readline)
    return tuple(
        t.start[0] for t in found if t.type not in LAYOUT and not t.string.startswith('"""')
    )


@cache
def at_most(name: str) -> list[int]:
    """Tokens up to each line, or more: words and signs, those of comments too, found in a tenth of the time."""
    lines = modules()[name].read_text().splitlines()
    return [0, *accumulate(len(re.findall(r"\w+|[^\w\s]", line)) for line in lines)]


def _length(name: str) -> int:
    most = at_most(name)[-1]
    return len(tokens(name)) if most > LONGEST_MODULE else most


def _body_tokens(name: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first, last = node.body[0].lineno, node.end_lineno or node.lineno
    most = at_most(name)[last] - at_most(name)[first - 1]
    if most <= LONGEST_FUNCTION:
        return most
    lines = tokens(name)
    return bisect_right(lines, last) - bisect_left(lines, first)


def test_what_an_object_keeps_is_read() -> None:
    """An attribute that is set and never read is a misspelt one, or a rest."""
    attributes = [
        node
        for name in modules()
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Attribute)
    ]
    kept = {
        node.attr
        for node in attributes
        if isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
    read = {node.attr for node in attributes if not isinstance(node.ctx, ast.Store)}
    assert kept - read == set()
