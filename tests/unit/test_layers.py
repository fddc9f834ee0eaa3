"""The layers of the package: imports go down only, and each room holds the libraries that belong there."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tim3d.arguments import VERBS

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
    Room(0, "tim3d.version",      "",              ""),
    Room(0, "tim3d.errors",       "",              ""),
    Room(0, "tim3d.grid",         "errors",        ""),
    Room(0, "tim3d.commands",     "",              ""),
    Room(0, "tim3d.forecast",     "",              ""),
    Room(0, "tim3d.spelling",     "",              ""),
    Room(0, "tim3d.credentials",  "errors",        ""),
    Room(0, "tim3d.phases",       "errors",        ""),
    Room(0, "tim3d.phantoms",     "errors grid",   "numpy"),
    Room(1, "tim3d.kernels",      "",              "numpy scipy numba skimage cc3d"),
    Room(1, "tim3d.models",       "kernels outputs removal",
         "numpy torch torchvision segmentation_models_pytorch safetensors"),
    Room(1, "tim3d.sources",      "",              "numpy tifffile PIL h5py zarr"),
    Room(1, "tim3d.schema",       "",              "numpy"),
    Room(1, "tim3d.object_store", "",              "fsspec obstore"),
    Room(1, "tim3d.files",        "object_store",  "fsspec"),
    Room(1, "tim3d.removal",      "advice files",         ""),
    Room(1, "tim3d.advice",       "files",         ""),
    Room(1, "tim3d.outputs",      "files removal", ""),
    Room(1, "tim3d.metadata",     "files",         ""),
    Room(1, "tim3d.moments",      "",              ""),
    Room(1, "tim3d.digests",      "",              ""),
    Room(1, "tim3d.intact",       "digests",       "zarr"),
    Room(1, "tim3d.shards",       "files removal", "numpy zarr"),
    Room(1, "tim3d.store",        "advice digests files intact metadata moments removal schema shards",
         "numpy xarray zarr"),
    Room(1, "tim3d.scratch",      "files shards store",   "numpy zarr"),
    Room(2, "tim3d.engine", "",
         "dask distributed dask_cuda dask_jobqueue fsspec obstore cloudpickle psutil tqdm cryptography "
         "prometheus_client"),
    Room(3, "tim3d.descriptors",  "",              "numpy xarray"),
    Room(4, "tim3d.stages",       "",              "numpy xarray tifffile tqdm"),
    Room(5, "tim3d.validation",   "",              "numpy zarr"),
    Room(5, "tim3d.arguments",    "",              ""),
    Room(5, "tim3d.reporting",       "",              "numpy xarray matplotlib PIL"),
    Room(5, "tim3d.repair",       "validation",    ""),
    Room(5, "tim3d.upgrade",      "",              ""),
    Room(5, "tim3d.finding",      "",              ""),
    Room(5, "tim3d.places",       "finding",       ""),
    Room(5, "tim3d.doctor",       "finding places", "numba"),
    Room(5, "tim3d.upkeep",       "doctor repair upgrade validation", ""),
    Room(5, "tim3d.options",      "",              ""),
    Room(5, "tim3d.console",      "",              ""),
    Room(5, "tim3d.paths",        "",              ""),
    Room(5, "tim3d.recipe",       "arguments paths", ""),
    Room(5, "tim3d.cli",          "arguments console options recipe reporting upkeep", ""),
    Room(5, "tim3d",              "arguments recipe reporting validation", ""),
]
# fmt: on

# What a room must not see although it lies lower.
BLIND = {"tim3d.engine": {"tim3d.kernels", "tim3d.models", "tim3d.sources"}, "tim3d.descriptors": {"tim3d.engine"}}
BLIND["tim3d.descriptors"] |= {"tim3d.store", "tim3d.scratch", "tim3d.schema", "tim3d.models", "tim3d.sources"}
# What a library is confined to, within the rooms that hold it.
ONLY_IN = {
    "zarr": {
        "tim3d.intact",
        "tim3d.shards",
        "tim3d.sources.zarr_array",
        "tim3d.sources.zarr_chunks",
        "tim3d.store",
        "tim3d.scratch",
        "tim3d.validation",
    }
}
# The only modules that may need torch as soon as they are imported.
NEEDS_TORCH = {"tim3d.models", "tim3d.stages.neural"}
# Of these, what a plan needs: they load torch when a network is built, read or called.
LIGHT = {"tim3d.models"} | {
    f"tim3d.models.{name}"
    for name in ("checkpoint", "crops", "memory", "predictor", "training_options", "unet", "weights")
}
LONGEST_FUNCTION, LONGEST_MODULE = 60, 500


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    names = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


@cache
def imports(name: str, *, top_only: bool = False) -> frozenset[str]:
    """What a module imports: modules of the package by full name, libraries by their first word."""
    tree = ast.parse(modules()[name].read_text())
    nodes = tree.body if top_only else ast.walk(tree)
    return frozenset(target for node in nodes for target in _targets(node) if target != name)


def _targets(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (_short(alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative imports are not used"
        inner = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (full for full in inner if full in modules())
        yield _short(str(node.module))  # a package is imported too, whatever is taken from it


def _short(name: str) -> str:
    return name if name.split(".")[0] == "tim3d" else name.split(".")[0]


def room(name: str) -> Room:
    """The room of a module: the longest name that begins it."""
    fitting = [r for r in ROOMS if name == r.name or (name.startswith(r.name + ".") and r.name != "tim3d")]
    assert fitting, f"{name} has no row in the table of rooms"
    return max(fitting, key=lambda r: len(r.name))


def inside(name: str) -> list[str]:
    """Modules of the package that a module imports."""
    return sorted(t for t in imports(name) if t.split(".")[0] == "tim3d" and t != "tim3d")


EVERY = pytest.mark.parametrize("name", modules())


@EVERY
def test_imports_go_down(name: str) -> None:
    own = room(name)
    same = {f"tim3d.{word}" for word in own.sees.split()} | {own.name}
    for target in map(room, inside(name)):
        assert target.layer < own.layer or target.name in same, f"{name} must not import {target.name}"
        assert target.name not in BLIND.get(own.name, set()), f"{name} must not see {target.name}"


@EVERY
def test_libraries_stay_in_their_rooms(name: str) -> None:
    foreign = {t for t in imports(name) if t.split(".")[0] != "tim3d"} - sys.stdlib_module_names
    assert foreign <= set(room(name).libraries.split()), f"{name} imports {foreign}"
    for library, homes in ONLY_IN.items():
        assert library not in foreign or name in homes, f"{name} must not import {library}"


def test_dask_lives_in_the_engine_and_torch_in_the_models() -> None:
    homes = {"dask": "tim3d.engine", "distributed": "tim3d.engine", "torch": "tim3d.models"}
    for library, home in homes.items():
        users = {room(name).name for name in modules() if library in imports(name)}
        assert users == {home}


@EVERY
def test_torch_is_loaded_by_its_users_only(name: str) -> None:
    if not _needs_torch(name):
        early = [t for t in imports(name, top_only=True) if _needs_torch(t)]
        assert not early, f"{name} loads {early} when it is imported; import it where it is used"


def _needs_torch(name: str) -> bool:
    return name not in LIGHT and any(name == user or name.startswith(user + ".") for user in NEEDS_TORCH)


@EVERY
def test_no_stage_imports_a_verb(name: str) -> None:
    if room(name).name == "tim3d.stages":
        used = set(inside(name)) & set(VERBS.values())
        assert not used, f"{name} imports the verbs {used}; what two stages share is a module of its own"


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


@EVERY
def test_functions_and_modules_are_short(name: str) -> None:
    text = modules()[name].read_text()
    assert len(text.splitlines()) <= LONGEST_MODULE, f"{name} has {len(text.splitlines())} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert _body_lines(node) <= LONGEST_FUNCTION, f"{name}.{node.name} has {_body_lines(node)} lines"


def _body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a body without its docstring."""
    first = node.body[1:2] if ast.get_docstring(node) else node.body[:1]
    return node.body[-1].end_lineno - first[0].lineno + 1 if first and node.body[-1].end_lineno else 0


def test_every_row_of_the_table_is_used() -> None:
    assert {room(name).name for name in modules()} == {r.name for r in ROOMS}
