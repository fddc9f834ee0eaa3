"""A recipe whose bytes are changed at random, and what its text then says.

    python -m tests.flips_recipes 60 3

A changed recipe is another recipe. It is refused, or it does what its text says: the numbers, units
and names are those of the verbs called with the arguments that stand there, and the nodes record
these arguments. Where the first recipe was done before, what the changed one returns is no other
than in an empty folder, and never an answer of the first.
"""

from __future__ import annotations

import inspect
import random
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import tim3d
from tests.flips import CHANGES, QUIET, answer
from tim3d.cli.parsing import verb
from tim3d.errors import Tim3dError
from tim3d.storage import store

RECIPE = """# Copper in pores.
title = "a small one"
sample = "a.zarr"

[[step]]
verb = "ingest"
source = "raw.npy"
voxel_size = { z = 10, y = 5.5, x = 5.5 }
shard = [4, 16, 16]

[[step]]
verb = "segment"
method = "fixed"
thresholds = [100]
polarity = "dark"
phases = { pore = 0, solid = 1 }

[[step]]
verb = "measure"
descriptors = ["phase_fraction", "specific_surface"]

[[step]]
verb = "label"
connectivity = 26

[[step]]
verb = "solve"
conductivity = { pore = 1.5, solid = 20 }
axis = ["z", "y"]
"""
REFUSED = "refused"
_CREATED = re.compile(r'"created": "[^"]*"')


def make(folder: Path) -> None:
    """What the recipe is about."""
    folder.mkdir(parents=True)
    np.save(folder / "raw.npy", np.random.default_rng(0).integers(0, 200, (8, 16, 16), np.uint8))
    (folder / "r.toml").write_text(RECIPE)


def run(folder: Path, data: bytes) -> Any:
    """What a recipe of these bytes returns, or that it is refused."""
    (folder / "r.toml").write_bytes(data)
    try:
        return answer_of(tim3d.run_recipe(folder / "r.toml", progress=False))
    except Tim3dError:
        return REFUSED


def answer_of(made: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers, units and names of each step."""
    return {name: _timeless(answer(found)) for name, found in made.items()}


def _timeless(said: Any) -> Any:
    """An answer without the time at which it was made."""
    if isinstance(said, dict):
        return {name: _timeless(one) for name, one in said.items()}
    return _CREATED.sub("", said) if isinstance(said, str) else said


def typed(data: bytes) -> dict[str, Any]:
    """What the verbs return, called with the arguments in the text of a recipe."""
    text = tomllib.loads(data.decode())
    made = {}
    for step in text["step"]:
        arguments = {key: value for key, value in step.items() if key not in ("verb", "name")}
        if "phases" in arguments:
            arguments["phases"] = tim3d.Phases(**arguments["phases"])
        made[step.get("name", step["verb"])] = verb(step["verb"])(
            **{"sample": text["sample"], **arguments}, options=QUIET
        )
    return answer_of(made)


def unrecorded(data: bytes) -> Iterator[str]:
    """Arguments in the text of a recipe that no node records as they stand there."""
    text = tomllib.loads(data.decode())
    records = [store.node_attributes(text["sample"], name) for name in store.nodes(text["sample"])]
    for step in text["step"]:
        known = inspect.signature(verb(step["verb"])).parameters
        commands = [
            one["command"] for one in records if one["command"].startswith(f"tim3d {step['verb']} ")
        ]
        for key, value in step.items():
            if key in known and value != known[key].default:
                missing = [
                    leaf
                    for leaf in _leaves(value)
                    if not any(leaf in command for command in commands)
                ]
                yield from (f"{step['verb']}.{key}: {leaf}" for leaf in missing)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (f"{key}={leaf}" for key, one in value.items() for leaf in _leaves(one))
    elif isinstance(value, list):
        yield from (leaf for one in value for leaf in _leaves(one))
    else:
        yield repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def verdict(folder: Path, data: bytes, into: Callable[[Path], None]) -> str:
    """Run a changed recipe in an empty folder and where the first one was run; `into` goes into a folder."""
    said = {}
    for place in ("empty", "done", "typed"):
        shutil.rmtree(folder / place, ignore_errors=True)
        shutil.copytree(folder / ("whole" if place == "done" else "source"), folder / place)
        into(folder / place)
        said[place] = (
            typed(data)
            if place == "typed" and said["empty"] != REFUSED
            else run(folder / place, data)
        )
        if place == "empty" and said["empty"] != REFUSED and (missing := list(unrecorded(data))):
            return f"not recorded: {', '.join(missing)}"
    if said["empty"] == REFUSED:
        return (
            REFUSED
            if said["done"] == REFUSED
            else "refused in an empty folder, and not where it was run"
        )
    if said["typed"] != said["empty"]:
        return "another answer than that of the verbs"
    if said["done"] not in (REFUSED, said["empty"]):
        return "another answer where the first recipe was run"
    return (
        "does what it says"
        if tomllib.loads(data.decode()) != tomllib.loads(RECIPE)
        else "says the same"
    )


def try_recipes(
    folder: Path, count: int, seed: int, into: Callable[[Path], None]
) -> tuple[dict[str, int], list[str]]:
    """Change the recipe so many times: how many were refused, said the same, did what they said; and what is wrong."""
    rng, wrong = random.Random(seed), []
    verdicts = {REFUSED: 0, "says the same": 0, "does what it says": 0}
    make(folder / "source")
    shutil.copytree(folder / "source", folder / "whole")
    into(folder / "whole")
    run(folder / "whole", RECIPE.encode())
    for number in range(count):
        change = rng.choice(sorted(CHANGES))
        data = CHANGES[change](RECIPE.encode(), rng)
        what = f"{change}: {differing(data)}"
        try:
            found = verdict(folder, data, into)
        except Exception as error:  # a recipe that ends in a traceback
            found = f"{type(error).__name__}: {str(error)[:200]}"
        if found in verdicts:
            verdicts[found] += 1
        else:
            wrong.append(f"{what}: {found}")
        print(f"{number + 1}: {what}: {found}", flush=True)
    return verdicts, wrong


def differing(data: bytes) -> bytes:
    """The first line of a changed recipe that is not that of the recipe."""
    lines = [*data.split(b"\n"), b""]
    return next(
        (a for a, b in zip(lines, RECIPE.encode().split(b"\n"), strict=False) if a != b), b""
    )


if __name__ == "__main__":
    import os
    import sys
    import tempfile

    counts, faults = try_recipes(
        Path(tempfile.mkdtemp()), int(sys.argv[1]), int(sys.argv[2]), os.chdir
    )
    print(counts, *faults, sep="\n")
