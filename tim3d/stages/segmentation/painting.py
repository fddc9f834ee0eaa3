"""A folder of images to paint on: their grey values, their labels, and the record of where each lies.

``grey`` and ``labels`` hold TIFFs of the same names, which napari, Fiji and ilastik open. Labels are
saved in place; ``painting.json`` says from which sample and from which voxels each image is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Box, Triple, triple
from tim3d.phases import Phases
from tim3d.sources.image import read_pixels
from tim3d.storage import outputs
from tim3d.version import __version__

RECORD = "painting.json"
KIND = outputs.Kind(
    "a record of images to paint on", lambda data: b'"painting of": "tim3d' in data[:60]
)
GREY, LABELS = "grey", "labels"


@dataclass(frozen=True)
class Patch:
    """An image to paint on.

    Parameters
    ----------
    file : str
        Name of its two files.
    start : (z, y, x)
        Its first voxel.
    shape : (y, x)
        Its size in pixels.
    entropy : float
        Mean entropy of the segmentation in it, in nat.
    sha256 : str
        Digest of its labels as they were written.
    """

    file: str
    start: Triple
    shape: tuple[int, int]
    entropy: float
    sha256: str

    @property
    def box(self) -> Box:
        """Its voxels."""
        (z, y, x), (rows, columns) = self.start, self.shape
        return Box((z, y, x), (z + 1, y + rows, x + columns))


@dataclass(frozen=True)
class Painting:
    """The record of a folder.

    Parameters
    ----------
    folder : Path
        The folder.
    grey, base : (name, fingerprint)
        The grey field, and the field of labels that is gone on with; ("", "") without one.
    grid : mapping
        Shape and voxel edges of both.
    phases : mapping of name to code
        What can be painted.
    patches : list of Patch
        The images.
    """

    folder: Path
    grey: tuple[str, str]
    base: tuple[str, str]
    grid: Mapping[str, Any]
    phases: Mapping[str, int]
    patches: list[Patch] = field(default_factory=list)

    def save(self) -> None:
        """Write the record in one piece."""
        content = {
            "painting of": f"tim3d {__version__}", "grey": self.grey, "base": self.base,
            "grid": dict(self.grid), "phases": dict(self.phases),
            "images": [asdict(one) for one in self.patches],
        }  # fmt: skip
        outputs.write_file(self.folder / RECORD, json.dumps(content, indent=1).encode(), KIND)

    def question(self) -> dict[str, Any]:
        """Return what must not change while a folder is painted on."""
        return {
            "grey": list(self.grey), "base": list(self.base), "grid": dict(self.grid),
            "phases": dict(self.phases),
        }  # fmt: skip

    def painted(self, patch: Patch) -> NDArray[np.uint8]:
        """Labels of an image as they are now.

        Raises
        ------
        InputError
            If the file is missing, has another size, or values without a phase.
        """
        path = self.folder / LABELS / patch.file
        values = read_pixels(path).values
        if values.shape != tuple(patch.shape):
            raise InputError(
                f"{path} has {' x '.join(map(str, values.shape))} pixels, and was written with "
                f"{' x '.join(map(str, patch.shape))}: save it in its own size, or write it again with  tim3d paint"
            )
        known = Phases(**dict(self.phases))
        if strange := sorted(set(np.unique(values).tolist()) - set(known.codes)):
            shown = ", ".join(f"{one:g}" for one in strange[:4])
            raise InputError(f"{path} holds the values {shown}, and the phases are {known}")
        return values.astype(np.uint8)


def digest(labels: NDArray[np.uint8]) -> str:
    """SHA-256 of labels."""
    return hashlib.sha256(np.ascontiguousarray(labels).tobytes()).hexdigest()


def read_painting(folder: str | Path) -> Painting:
    """Record of a folder.

    Raises
    ------
    ArgumentError
        If the folder has none.
    InputError
        If it is damaged.
    """
    path = Path(folder) / RECORD
    if not path.is_file():
        raise ArgumentError(
            f"{folder} has no {RECORD}: it was not made by tim3d. Write images to paint on:  "
            f"tim3d paint SAMPLE {folder}"
        )
    try:
        found = json.loads(path.read_bytes())
        patches = [
            Patch(
                str(one["file"]), triple(one["start"]), (int(one["shape"][0]), int(one["shape"][1])),
                float(one["entropy"]), str(one["sha256"]),
            )
            for one in found["images"]
        ]  # fmt: skip
        grey, base = ((str(a), str(b)) for a, b in (found["grey"], found["base"]))
        return Painting(Path(folder), grey, base, found["grid"], found["phases"], patches)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"{path} is damaged: {error!r}. Write the images again") from error
