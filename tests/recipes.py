"""A small recipe of many blocks, run in processes of its own, and what it leaves: for tests of clusters and parts."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tim3d.storage.files import file_system

RECIPE = """
[[step]]
verb = "simulate"
folder = "{folder}/stack"
shape = {shape}
voxel_size = {{ z = 20, y = 10, x = 10 }}

[[step]]
verb = "ingest"
source = "{folder}/stack/slices"
voxel_size = {{ z = 20 }}
shard = [4, 32, 32]

[[step]]
verb = "segment"
method = "otsu"
phases = {{ pore = 0, solid = 1 }}
block = [4, 32, 32]

[[step]]
verb = "measure"
block = [4, 32, 32]
"""
SEGMENTED = 6 * 2 * 2


def write_recipe(folder: Path, shape: tuple[int, int, int] = (24, 64, 64)) -> Path:
    """The recipe as a file; it names no sample."""
    path = folder / "recipe.toml"
    path.write_text(RECIPE.format(folder=folder, shape=list(shape)))
    return path


def command(recipe: Path, sample: Path | str, *arguments: str) -> list[str]:
    """What a user types."""
    return [
        sys.executable,
        "-m",
        "tim3d",
        "run",
        str(recipe),
        "--quiet",
        "--set",
        f"sample={sample}",
        *arguments,
    ]


def start(recipe: Path, sample: Path | str, *arguments: str) -> subprocess.Popen[str]:
    """Start it in the folder of the recipe."""
    pipe = subprocess.PIPE
    line = command(recipe, sample, *arguments)
    return subprocess.Popen(line, cwd=recipe.parent, stdout=pipe, stderr=pipe, text=True)


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    """Wait for it; its standard output, or its standard error if it was to fail."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    return out if code == 0 else err


def done_blocks(sample: Path | str, name: str) -> dict[str, dict[str, Any]]:
    """The markers of a pass, by their place."""
    fs, root = file_system(f"{sample}.runs/{name}")
    found = [one for one in fs.find(root) if "/done/" in one and one.endswith(".json")]
    return {one: json.loads(fs.cat_file(one)) for one in found}


def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Wait until something is true."""
    limit = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < limit, f"{what} did not come within {seconds:g} s"
        time.sleep(0.02)
    return found
