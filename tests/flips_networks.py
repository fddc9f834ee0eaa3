"""A trained U-Net, a trained generator and the state of its training, and their bytes changed at random.

python -m tests.flips_networks 60 3
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import tim3d
from tests.flips import CHANGES, PHASES, QUIET, Change, Reader, fields, shown, try_changes, whole
from tests.micrographs import blobs
from tim3d.generators import Network

SLICES: dict[str, Any] = {
    "labels": "truth",
    "encoder": "mobilenet_v2",
    "depth": 2,
    "crop": 16,
    "batch": 1,
}
IMAGE: dict[str, Any] = {
    "phases": PHASES,
    "pixel_size": 5,
    "batch": 1,
    "slices": 1,
    "critic_steps": 1,
}
# The beginning of a file, in which its description lies.
HEAD = 4096
FILES = ("net.safetensors", "gan/generator.safetensors", "gan/training.state")


def train(sample: str) -> Path:
    """A network for segmentation beside the sample."""
    return tim3d.train(
        sample, _beside(sample, FILES[0]), epochs=2, steps=2, device="cpu", progress=False, **SLICES
    )


def train_generator(sample: str) -> Path:
    """A generator beside the sample."""
    image, folder = _beside(sample, "image.npy"), _beside(sample, "gan")
    return tim3d.train_generator(
        image, folder, steps=2, every=1, device="cpu", progress=False, **IMAGE
    )


def segment(sample: str) -> Any:
    """Labels by the network."""
    return tim3d.segment(sample, model=_beside(sample, FILES[0]), device="cpu", options=QUIET)


def generate(sample: str) -> Any:
    """A volume by the generator."""
    weights, shape = _beside(sample, FILES[1]), (8, 16, 16)
    made = str(_beside(sample, "b.zarr"))
    return tim3d.generate(made, Network(weights, device="cpu"), shape=shape, options=QUIET)


READERS: dict[str, Reader] = {
    "segment": segment,
    "generate": generate,
    "train": lambda sample: _digest(train(sample)),
    "train-generator": lambda sample: _digest(train_generator(sample)),
    "report": lambda sample: shown(
        tim3d.report(sample, f"{sample}.html", model=_beside(sample, FILES[0]))
    ),
}


def _beside(sample: str, name: str) -> Path:
    return Path(sample).parent / name


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make(folder: Path) -> str:
    """A sample, a micrograph, what was trained on them, and what that makes."""
    sample = fields(folder, (8, 32, 32))
    np.save(folder / "image.npy", blobs(64, 1.2).astype(np.uint8))
    for step in (train, train_generator, segment, generate):
        step(sample)
    return sample


def changes(folder: Path, count: int, seed: int) -> Iterator[Change]:
    """So many changes of the files, half of them in the beginning of a file."""
    rng = random.Random(seed)
    for number in range(count):
        name, change = FILES[number % len(FILES)], rng.choice(sorted(CHANGES))
        data = (folder / name).read_bytes()
        if number // len(FILES) % 2:
            yield f"{name}: {change}", Path(name), CHANGES[change](data, rng)
        else:
            yield (
                f"head of {name}: {change}",
                Path(name),
                CHANGES[change](data[:HEAD], rng) + data[HEAD:],
            )


def try_networks(folder: Path, count: int, seed: int) -> tuple[dict[str, int], list[str]]:
    """Change files of networks, one at a time, and let all that read them answer; see `tests.flips.try_flips`."""
    calm = whole(folder, make, READERS)
    return try_changes(folder, changes(folder / "whole", count, seed), [READERS] * count, calm)


if __name__ == "__main__":
    import sys
    import tempfile

    counts, faults = try_networks(Path(tempfile.mkdtemp()), int(sys.argv[1]), int(sys.argv[2]))
    print(counts, *faults, sep="\n")
