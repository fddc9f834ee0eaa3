"""An entry of a library: a generator, its micrographs, their licence, and the record of all of these.

An entry is a folder of the library. Its record is written last, so that a folder without one is an
addition that was interrupted, and adding again completes it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tim3d.errors import ArgumentError, CheckpointError, InputError, MixedRunError
from tim3d.kernels.statistics.comparison import PLANES
from tim3d.phases import Phases
from tim3d.sources.grey_image import read_picture
from tim3d.sources.image import Image
from tim3d.sources.labelled_image import read_micrograph
from tim3d.storage import outputs
from tim3d.storage.files import is_local, refuse_unwritable
from tim3d.storage.schema import AXES

if TYPE_CHECKING:
    from tim3d.models.generation.export import GeneratorDescription

RECORD, WEIGHTS, TRAINING = "entry.json", "generator.safetensors", "training"
ENTRY = outputs.Kind("an entry of a library", lambda data: data.startswith(b'{"tim3d": "entry"'))
IMAGE = outputs.Kind("a micrograph of a library", lambda data: True)
SCHEMA = 1
UNFINISHED = "training unfinished: type the same --train again"
# Pixel and voxel size may differ by this much.
SIZE_TOLERANCE = 1e-3
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Entry:
    """A generator of a library, as its record says.

    Parameters
    ----------
    folder : Path
        Its folder; the last part is its name.
    generator : str
        SHA-256 of the weights, as the file states it; empty while its training is unfinished.
    micrographs : mapping of str to str
        SHA-256 of each image by its name in the folder: one, or those across z, y and x.
    phases : mapping of str to int
        Value of each phase in the images; empty for grey values.
    scale : int
        Pixels of an image along the edge of a voxel.
    licence, origin : str
        Terms under which the images may be passed on, and where they come from.
    """

    folder: Path
    generator: str
    micrographs: Mapping[str, str]
    phases: Mapping[str, int]
    scale: int
    licence: str
    origin: str = ""

    @property
    def name(self) -> str:
        """Name of the entry."""
        return self.folder.name

    @property
    def weights(self) -> Path:
        """File of the generator."""
        return self.folder / WEIGHTS

    @property
    def images(self) -> list[Path]:
        """Files of the micrographs."""
        return [self.folder / name for name in self.micrographs]

    def record(self) -> dict[str, Any]:
        """Text of the record as JSON, without the folder."""
        return {"tim3d": "entry", "schema": SCHEMA} | {
            key: value for key, value in asdict(self).items() if key != "folder"
        }

    @cached_property
    def fault(self) -> str:
        """Reason why it cannot be judged, with the cure; empty if it can."""
        if not self.generator:
            return UNFINISHED
        for path in (self.weights, *self.images):
            if not path.is_file():
                what = "generator" if path == self.weights else "micrograph"
                return f"its {what} {path} is gone: put it back, or add the entry again"
        try:
            found = {self.weights: describe(self.weights)[1]}
        except CheckpointError as error:
            return str(error)
        found |= {path: digest_of(path) for path in self.images}
        for path, digest in zip(found, (self.generator, *self.micrographs.values()), strict=True):
            if found[path] != digest:
                return (
                    f"{path} is another file than was added: add the entry again with --overwrite"
                )
        return ""

    def described(self) -> GeneratorDescription:
        """Description of the generator."""
        return describe(self.weights)[0]


def describe(weights: Path) -> tuple[GeneratorDescription, str]:
    """Description of a generator's file and SHA-256 of its weights."""
    from tim3d.models.generation.export import describe_generator  # torch takes seconds to load

    return describe_generator(weights)


def digest_of(path: Path) -> str:
    """SHA-256 of the bytes of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_library(folder: str | Path, *, new: bool) -> Path:
    """Folder of a library; with `new` it may be made in a folder that is there.

    Raises
    ------
    ArgumentError
        If it is a URL, or lies in a folder that is not there.
    InputError
        If it is not there and is not to be made.
    WriteError
        If it cannot be written and is to be made.
    """
    path = Path(folder)
    if not is_local(str(folder)):
        raise ArgumentError(
            f"{folder} is a URL, and a library is a folder of this machine: copy it here first"
        )
    if path.exists() and not path.is_dir():
        raise ArgumentError(f"{folder} is a file, and a library is a folder: give another name")
    if not path.is_dir() and not new:
        raise InputError(
            f"no library at {folder}. Begin one: tim3d library {folder} --train micrographs.csv"
        )
    if not path.parent.is_dir():
        raise ArgumentError(f"no folder {path.parent} for the library {path.name}: make it first")
    if new:
        refuse_unwritable(path if path.is_dir() else path.parent)
    return path


def entries(library: Path) -> list[Entry]:
    """All entries of a library, by name.

    Raises
    ------
    InputError
        If a record is damaged or of another schema.
    """
    found = sorted(library.glob(f"*/{RECORD}")) if library.is_dir() else []
    return [read_entry(path.parent) for path in found]


def unfinished(library: Path) -> list[Entry]:
    """Entries whose training was begun and is not finished, by name; they have no generator yet."""
    found = sorted(library.glob(f"*/{TRAINING}")) if library.is_dir() else []
    folders = [path.parent for path in found if not (path.parent / RECORD).is_file()]
    return [Entry(folder, "", {}, {}, 1, "") for folder in folders]


def refuse_empty(library: Path) -> None:
    """Refuse a library without generators where they are to be judged or written.

    Raises
    ------
    InputError
        If it has none; the message contains the commands that make some.
    """
    if entries(library):
        return
    command = f"tim3d library {shlex.quote(str(library))}"
    if begun := ", ".join(entry.name for entry in unfinished(library)):
        raise InputError(
            f"{library} has no generators, and the training of {begun} is unfinished. Type the same --train again: "
            f"{command} --train micrographs.csv"
        )
    raise InputError(
        f"{library} has no generators. Train some: {command} --train micrographs.csv. Or add one: {command} "
        "--add gen.safetensors --micrograph image.tif --licence 'CC BY 4.0'"
    )


def read_entry(folder: Path) -> Entry:
    """Read the record of an entry.

    Raises
    ------
    InputError
        If it is damaged or of another schema.
    """
    path = folder / RECORD
    try:
        values = json.loads(path.read_text())
        if values.pop("tim3d") != "entry" or values.pop("schema") != SCHEMA:
            raise ValueError("it has another schema")
        return Entry(folder, **values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not the record of an entry of a library ({error}); remove it and add the generator again"
        ) from error


def is_name(name: str) -> bool:
    """Whether an entry can have this name, which is that of a folder.

    >>> is_name("porous-silver"), is_name("../silver")
    (True, False)
    """
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> str:
    """Name of an entry, which is that of a folder.

    Examples
    --------
    >>> check_name("porous-silver")
    'porous-silver'
    """
    if not is_name(name):
        raise ArgumentError(
            f"an entry cannot be called {name!r}: use letters, digits, '.', '-' and '_', and begin with one of the "
            "first two: --entry porous-silver"
        )
    return name


@dataclass(frozen=True)
class Addition:
    """A generator and its micrographs that are to be added; reading them checks that they fit."""

    library: Path
    name: str
    weights: Path
    images: tuple[Path, ...]
    phases: Phases | None
    scale: int | None
    pixel_size: float | Sequence[float] | None
    licence: str
    origin: str

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that are read."""
        return (self.weights, *self.images)

    def entry(self) -> Entry:
        """The entry that this becomes.

        Raises
        ------
        ArgumentError
            If the licence is missing, phases do not fit, or pixels are not as large as voxels.
        InputError
            If a file cannot be used.
        """
        if not self.licence.strip():
            raise ArgumentError(
                f"{self.name} has no licence: write under which terms its micrograph may be passed on, for example "
                "--licence 'CC BY 4.0' or --licence 'not to be passed on'"
            )
        if len(self.images) not in (1, 3):
            raise ArgumentError(
                f"{len(self.images)} micrographs of {self.name}; give one, or three across z, y and x"
            )
        if twice := {
            p.name for p in self.images if [q.name for q in self.images].count(p.name) > 1
        }:
            raise ArgumentError(f"two micrographs are called {min(twice)}: rename one")
        about, digest = describe(self.weights)
        _check_phases(self.weights, about, self.phases)
        trained = self._training_scale(about)
        scale = next(one for one in (self.scale, trained, 1) if one is not None)
        images = [self._read(path, scale) for path in self.images]
        if trained is None:
            _check_pixels(images, about)
        elif self.scale not in (None, trained):
            raise ArgumentError(
                f"{self.weights} was trained on {self.images[0]} at scale {trained}, and --scale is {self.scale}"
            )
        digests = {path.name: image.sha256 for path, image in zip(self.images, images, strict=True)}
        phases = dict(self.phases or {})
        return Entry(
            self.library / check_name(self.name), digest, digests, phases, images[0].scale,
            self.licence.strip(), self.origin.strip(),
        )  # fmt: skip

    def _training_scale(self, about: GeneratorDescription) -> int | None:
        """Scale at which the generator was trained on these very images; None if it was on others."""
        known = about.training.get("images") or []
        seen = [digest_of(path) if path.is_file() else "" for path in self.images]
        return int(known[0]["scale"]) if seen == [one.get("sha256") for one in known] else None

    def _read(self, path: Path, scale: int) -> Image:
        if self.phases:
            return read_micrograph(path, self.phases, self.pixel_size, scale)
        return read_picture(path, self.pixel_size, scale, grey_only=True)

    def is_done(self, *, overwrite: bool) -> bool:
        """Whether the library holds it already; raise MixedRunError if it holds another of this name."""
        entry = self.entry()
        if overwrite or not (entry.folder / RECORD).is_file():
            return False
        if read_entry(entry.folder) != entry:
            raise MixedRunError(
                f"{entry.folder} holds another generator, micrograph or licence. Replace it with --overwrite, or give "
                "another name: --entry NAME"
            )
        return not entry.fault

    def put(self) -> None:
        """Copy generator and micrographs into the library, and write the record last."""
        entry = self.entry()
        for source, target, kind in (
            (self.weights, entry.weights, outputs.WEIGHTS),
            *((source, entry.folder / source.name, IMAGE) for source in self.images),
        ):
            if source.resolve() != target.resolve():
                outputs.write_file(target, source.read_bytes(), kind)
        outputs.write_file(entry.folder / RECORD, json.dumps(entry.record()).encode(), ENTRY)


def _check_phases(path: Path, about: GeneratorDescription, phases: Phases | None) -> None:
    made = about.phases
    if about.architecture.output == "colour":
        raise ArgumentError(
            f"{path} makes colours, and a library judges generators of phases or of grey values"
        )
    if made is None and phases is not None:
        raise ArgumentError(f"{path} makes grey values, which have no phases: leave out --phases")
    if made is not None and set(made) != set(phases or ()):
        raise ArgumentError(
            f"{path} makes the phases {', '.join(made)}, and the micrograph is said to have "
            f"{', '.join(phases or ()) or 'none'}; say which value each has in the image: "
            f"--phases {','.join(f'{name}=VALUE' for name in made)}"
        )


def _check_pixels(images: Sequence[Image], about: GeneratorDescription) -> None:
    """Refuse images of pixels that are not as large as voxels, or of which that is not known."""
    for normal, plane in enumerate(PLANES[: len(images)]):
        image, voxel = images[normal], [about.spacing_nm[axis] for axis in plane]
        if image.pixel_nm is None:
            raise ArgumentError(
                f"{image.path} does not state its pixel size, and the generator was not trained on this file here: "
                "give it in nm, --pixel-size 5"
            )
        if any(abs(a - b) > SIZE_TOLERANCE * b for a, b in zip(image.pixel_nm, voxel, strict=True)):
            raise ArgumentError(
                f"pixels of {image.path} are {_edges(image.pixel_nm)} nm at scale {image.scale}, and voxels across "
                f"{AXES[normal]} {_edges(voxel)} nm: give --scale, or the right --pixel-size"
            )


def _edges(values: Sequence[float]) -> str:
    return " x ".join(f"{v:g}" for v in values)
