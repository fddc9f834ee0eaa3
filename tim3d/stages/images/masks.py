"""A folder of masks: its files, and the record of how and from what each was made."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from tim3d.commands import current_command
from tim3d.errors import ArgumentError, InputError, MixedRunError
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases
from tim3d.storage import outputs, schema
from tim3d.storage.files import refuse_unwritable
from tim3d.storage.removal import remove_file
from tim3d.version import __version__

RECORD = "masks.json"
# Values of masks that are numbers of objects, and the largest that a file holds.
OBJECTS, MOST_OBJECTS = "objects", 2**16 - 1
KIND = outputs.Kind("a record of masks", lambda data: data.startswith(b'{"masks of": "tim3d'))
MASK = outputs.Kind("a mask of tim3d", lambda data: True)  # its folder has the record
# Colours of phases in a palette, in the order of their codes (Okabe and Ito).
COLOURS = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (213, 94, 0),
    (240, 228, 66),
)


@dataclass
class Masks:
    """A folder of masks and its record.

    Parameters
    ----------
    folder : Path
        The folder.
    question : mapping
        All that decides the masks of any image.
    phases : Phases
        Names of the phases and the values that they have in the files.
    images : dict
        What is known of each image that is done, by its name.
    wanted : list of str
        Names of the images that were asked for, done or not.
    """

    folder: Path
    question: Mapping[str, Any]
    phases: Phases
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    wanted: list[str] = field(default_factory=list)

    @property
    def fingerprint(self) -> str:
        """Hash of the question and the phases."""
        return schema.fingerprint(question=self.question, phases=dict(self.phases))

    def load(self, *, overwrite: bool) -> None:
        """Take over what is done; refuse a folder of other files or of another question.

        Raises
        ------
        ArgumentError
            If the folder holds other files or is a file, or its parent is missing.
        MixedRunError
            If it holds masks that were made with other arguments.
        """
        outputs.check_target(self.folder / RECORD, KIND, makes_folder=self.folder.parent.is_dir())
        refuse_unwritable(self.folder)
        known = read_record(self.folder) if self.folder.is_dir() else None
        if known is None:
            outputs.refuse_other_files(self.folder, "masks")
        if known is None or overwrite:
            return
        if known["fingerprint"] != self.fingerprint:
            raise MixedRunError(
                f"{self.folder} holds masks that were made with other arguments: {known['command']}. Write into "
                "another folder, or replace them: --overwrite"
            )
        self.images = dict(known["images"])
        self.wanted = list(dict.fromkeys([*known["wanted"], *self.wanted]))

    def is_done(self, name: str, source_sha256: str) -> bool:
        """Whether the mask of an image is there, and made from the file that is there now."""
        record = self.images.get(name, {})
        return (
            record.get("source_sha256") == source_sha256
            and (self.folder / str(record.get("file"))).is_file()
        )

    def begin(self) -> None:
        """Remove masks of an earlier record that is replaced, and write the record."""
        known = read_record(self.folder) if self.folder.is_dir() else None
        for old in (known or {"images": {}})["images"].values():
            if old not in self.images.values():
                remove_file(self.folder / Path(str(old["file"])).name)
        outputs.make_folder(self.folder)
        outputs.remove_abandoned(self.folder)
        self.save()

    def add(self, name: str, file: str, data: bytes, record: Mapping[str, Any]) -> None:
        """Write a mask in one piece, then the record."""
        with outputs.replacing(self.folder / file, durable=False) as target:
            target.write(data)
        self.images[name] = {"file": file, **record}
        self.save()

    def shares(self, names: Sequence[str]) -> xr.Dataset:
        """Area fraction of each phase in images that are done."""
        counts = np.array([list(self.images[n]["pixels"].values()) for n in names], float)
        shares = counts / counts.sum(axis=1, keepdims=True)
        about = {"units": "1", "long_name": "area fraction of each phase in each image"}
        return xr.Dataset(
            {"area_fraction": (("image", "phase"), shares, about)},
            {"image": np.array(names, object), "phase": np.array(self.phases.names, object)},
            {"folder": str(self.folder)},
        )

    def save(self) -> None:
        """Write the record in one piece."""
        content = {
            "masks of": f"tim3d {__version__}",
            "command": current_command(),
            "fingerprint": self.fingerprint,
            "phases": dict(self.phases),
            "question": self.question,
            "wanted": self.wanted,
            "images": self.images,
        }
        outputs.write_file(self.folder / RECORD, json.dumps(content).encode(), KIND)


def read_record(folder: Path) -> dict[str, Any] | None:
    """Record of a folder of masks; None if it has none.

    Raises
    ------
    InputError
        If it is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        return (
            found
            if {"images", "wanted", "phases", "fingerprint", "command"} <= set(found)
            else None
        )
    except ValueError as error:
        raise InputError(
            f"{path} is damaged: {error}. Remove it, or write into another folder"
        ) from error


def phases_of(folder: Path, given: Phases | None) -> Phases:
    """Phases of masks: as given, or as the record of the folder says.

    Raises
    ------
    ArgumentError
        If neither is there, or the record says that masks are numbers of objects.
    InputError
        If the record says that masks are missing: their segmentation was stopped.
    """
    known = read_record(folder)
    if known and (left := [name for name in known["wanted"] if name not in known["images"]]):
        raise InputError(
            f"{folder} lacks {len(left)} of {len(known['wanted'])} masks (first: {left[0]}): their segmentation was "
            f"stopped. Finish it: {known['command']}"
        )
    if known and known["question"].get("values") == OBJECTS:
        raise ArgumentError(
            f"{folder} holds numbers of objects, and labels are read: segment into another folder without "
            "--values objects"
        )
    if given is not None:
        return given
    if known is None:
        raise ArgumentError(
            f"the masks in {folder} were not made by tim3d: name their values, --phases pore=0,solid=255"
        )
    return Phases(**known["phases"])


def numbered(numbers: NDArray[Any], path: Path) -> NDArray[np.uint16]:
    """Numbers of objects as a file holds them: 1, 2, ... in the order of their first pixels.

    Raises
    ------
    InputError
        If they are more than 65535.

    Examples
    --------
    >>> numbered(np.array([[0, 9, 9], [4, 4, 0]]), Path("a.png")).tolist()
    [[0, 1, 1], [2, 2, 0]]
    """
    ids, first, place = np.unique(numbers, return_index=True, return_inverse=True)
    objects = ids > 0
    if objects.sum() > MOST_OBJECTS:
        raise InputError(
            f"{path} has {objects.sum()} objects, and a file of 16 bits numbers {MOST_OBJECTS}: cut the image"
        )
    ranks = np.zeros(len(ids), np.uint16)
    ranks[objects] = 1 + np.argsort(np.argsort(first[objects]))
    return np.asarray(ranks[place].reshape(numbers.shape))


def encoded(
    codes: NDArray[np.uint8] | NDArray[np.uint16],
    suffix: str,
    *,
    palette: bool,
    pixel_nm: tuple[float, float] | None,
) -> bytes:
    """Bytes of a mask as PNG or TIFF; a TIFF has the pixel size, a palette has colours."""
    out = io.BytesIO()
    if suffix == ".png":
        image = Image.fromarray(codes)
        if palette:
            image.putpalette(_palette())
        image.save(out, "PNG", optimize=False)
        return out.getvalue()
    how: dict[str, Any] = {"compression": "zlib"}
    if pixel_nm is not None:
        per_micrometre = (1000 / pixel_nm[1], 1000 / pixel_nm[0])
        how = {
            "imagej": True,
            "resolution": per_micrometre,
            "metadata": {"unit": "um", "axes": "YX"},
        }
    tifffile.imwrite(out, codes, **how)
    return out.getvalue()


def _palette() -> list[int]:
    return [part for code in range(256) for part in COLOURS[code % len(COLOURS)]]
