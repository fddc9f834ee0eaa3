"""The data model of a sample: names and attributes of its nodes. No input or output.

A sample is one zarr v3 group. A voxel field `raw` is an OME-Zarr 0.5 multiscale whose levels are
groups that xarray opens by themselves: `raw` carries the `ome` attributes, `raw/s0` holds the array
`raw` and its coordinates z, y, x.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tim3d.errors import ArgumentError, InputError, SchemaError
from tim3d.grid import AXES as AXES
from tim3d.grid import Triple
from tim3d.phases import Phases

SCHEMA_VERSION = 1
UNIT = "nm"
VOXEL_DTYPES = ("uint8", "uint16", "float32")
# Fields of component numbers: labels without phases.
ID_DTYPE = "uint32"
# Types that numbers of objects may have.
NUMBER_DTYPES = ("uint16", ID_DTYPE)
# Inputs that a node may record and that are not fields of the sample; a field must not have such a
# name.
NOT_FIELDS = ("source", "model", "weights", "solution", "volumes", "micrographs")
# Group below the root in which OME-Zarr expects the labels of an image; not a node.
LABELS_FOLDER = "labels"
CHUNK_EDGE = 64
SHARD: Triple = (64, 512, 512)

# Letters and digits of any language, and the characters that separate the parts of a composed name;
# folders of the sample and of its runs have such names.
_NAME = re.compile(r"\w[\w.,+=~-]{0,127}")

Spacing = tuple[float, float, float]
OME_AXES = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in AXES]


def check_name(name: str) -> None:
    """Refuse the name of a field that cannot be the name of a folder.

    Raises
    ------
    ArgumentError
        If it is empty, too long, or holds other characters than letters, digits, and ``_ - . , + =
        ~`` after the first.

    Examples
    --------
    >>> check_name("raw_2")
    >>> check_name("phase_potential_z_copper=400,pore=0.026")
    """
    if not _NAME.fullmatch(name):
        seen = name if len(name) <= 40 else f"{name[:40]}..."
        raise ArgumentError(
            f"a field cannot be called {seen!r}; a name has 1 to 128 letters, digits, '_', '-' and '.', "
            "the first a letter, a digit or '_', for example raw_2"
        )


@dataclass(frozen=True)
class Field:
    """Description of a voxel field: all that is needed to create it and all that is read back.

    `spacing_nm` is the voxel size in nanometres along (z, y, x). Fields of `labels` are downsampled
    by picking a voxel, others by averaging.
    """

    name: str
    shape: Triple
    dtype: str
    spacing_nm: Spacing
    chunk: Triple
    shard: Triple
    labels: bool = False
    phases: Phases | None = None
    long_name: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.name)
        numbers = self.dtype == ID_DTYPE and self.labels and self.phases is None
        if self.dtype not in VOXEL_DTYPES and not numbers:
            raise InputError(
                f"field {self.name!r} has dtype {self.dtype}; tim3d stores {', '.join(VOXEL_DTYPES)}"
            )
        if not all(np.isfinite(self.spacing_nm)) or min(self.spacing_nm) <= 0:
            raise InputError(
                f"voxel size {self.spacing_nm} nm: every edge must be a positive length"
            )
        if any(s % c for s, c in zip(self.shard, self.chunk, strict=True)):
            raise ArgumentError(f"shard {self.shard} is not a multiple of chunk {self.chunk}")

    @property
    def may_number(self) -> bool:
        """Whether its voxels may be numbers of objects: no phases, and a type that counts far."""
        return self.phases is None and self.dtype in NUMBER_DTYPES

    @property
    def voxel_bytes(self) -> int:
        """Bytes of one voxel."""
        return np.dtype(self.dtype).itemsize


def shard_and_chunk(shape: Triple, shard: Triple | None = None) -> tuple[Triple, Triple]:
    """Edges in voxels of shard (cut to the shape) and inner chunk (64 voxels at most).

    >>> shard_and_chunk((14, 1104, 1720))
    ((14, 512, 512), (14, 64, 64))
    >>> shard_and_chunk((1000, 250, 250))
    ((64, 256, 256), (64, 64, 64))
    """
    wanted = SHARD if shard is None else shard
    chunk = tuple(min(CHUNK_EDGE, w, n) for w, n in zip(wanted, shape, strict=True))
    edges = tuple(
        min(-(-w // c) * c, -(-n // c) * c) for w, n, c in zip(wanted, shape, chunk, strict=True)
    )
    return edges, chunk  # type: ignore[return-value]


def asked_shard(shape: Triple, shard: Triple | None) -> tuple[Triple, Triple]:
    """Edges of shard and chunk for a shard that the user typed: cut to the volume, never rounded.

    Raises
    ------
    ArgumentError
        If an edge is not positive, or is neither a multiple of the chunk's nor as long as the
        volume.

    Examples
    --------
    >>> asked_shard((100, 100, 100), (16, 64, 100))
    ((16, 64, 128), (16, 64, 64))
    """
    if shard is not None and not all(map(_is_whole, shard, shape)):
        near = [
            w if _is_whole(w, n) else max(1, w // CHUNK_EDGE * CHUNK_EDGE)
            for w, n in zip(shard, shape, strict=True)
        ]
        raise ArgumentError(
            f"shard {','.join(map(str, shard))}: an edge is 1 to {CHUNK_EDGE} voxels, or a multiple "
            f"of {CHUNK_EDGE}, the edge of a chunk. Use --shard {','.join(map(str, near))}"
        )
    return shard_and_chunk(shape, shard)


def _is_whole(edge: int, length: int) -> bool:
    """Whether an edge of a shard consists of whole chunks, or spans the whole axis."""
    return 1 <= edge <= CHUNK_EDGE or (edge > 0 and edge % CHUNK_EDGE == 0) or 0 < length <= edge


def centres(count: int, spacing: float, step: int = 1, *, picked: bool = False) -> np.ndarray:
    """Coordinates of voxel centres in nm, measured from the outer face of the volume.

    A level of an averaged pyramid has its centres in the middle of `step` fine voxels; a picked
    (label) level has them at the first of these voxels.

    >>> centres(3, 10.0)
    array([ 5., 15., 25.])
    >>> centres(2, 10.0, 2), centres(2, 10.0, 2, picked=True)
    (array([10., 30.]), array([ 5., 25.]))
    """
    first = 0.5 if picked else 0.5 * step
    return np.asarray((np.arange(count) * step + first) * spacing, dtype=np.float64)


def spacing_of(coordinates: Mapping[str, np.ndarray], where: str) -> Spacing:
    """Voxel size in nm from the coordinates of voxel centres; an irregular axis is refused.

    Raises
    ------
    SchemaError
        If the steps of an axis differ by more than one part in a million.
    """
    z, y, x = (_step(np.asarray(coordinates[a], dtype=float), a, where) for a in AXES)
    return (z, y, x)


def _step(values: np.ndarray, axis: str, where: str) -> float:
    # A single centre lies half a voxel from the outer face.
    steps = np.diff(values) if values.size > 1 else 2 * values[:1]
    step = float(steps.mean())
    if step <= 0 or np.abs(steps - step).max() > 1e-6 * step:
        raise SchemaError(
            f"{where}: steps along {axis} run from {steps.min():g} to {steps.max():g} nm; tim3d needs one step. "
            "Ingest the slices again: uneven positions are resampled there."
        )
    # The first centre is half a voxel: twice its value gives the size to the last bit, a mean of
    # steps does not.
    first = 2 * float(values[0])
    return first if abs(first - step) <= 1e-6 * step else step


def refuse_other_axes(axes: Mapping[str, np.ndarray], ome: Any, level: int, where: str) -> None:
    """Refuse coordinates that differ from those in the `ome` attribute of their field at a level.

    Raises
    ------
    SchemaError
        If they differ, or the attribute has none.
    """
    try:
        scale, shift = ome["multiscales"][0]["datasets"][level]["coordinateTransformations"]
        expected = list(zip(AXES, scale["scale"], shift["translation"], strict=True))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise SchemaError(
            f"{where} has no OME-Zarr attributes of level {level}. Make it again: --overwrite"
        ) from error
    for axis, step, first in expected:
        if not np.allclose(
            axes[axis], first + step * np.arange(axes[axis].size), rtol=1e-9, atol=1e-9 * step
        ):
            raise SchemaError(
                f"{where}: {axis} begins at {axes[axis][0]:g} nm, and its OME-Zarr attributes say {first:g} nm and "
                f"steps of {step:g} nm. Make it again: --overwrite"
            )


def ome_multiscale(
    name: str, spacing: Spacing, factors: Sequence[Triple], labels: bool
) -> dict[str, Any]:
    """OME-Zarr 0.5 `ome` attribute of a field with levels downsampled by `factors`.

    The first factor is (1, 1, 1).

    >>> ome = ome_multiscale("raw", (20.0, 5.0, 5.0), [(1, 1, 1), (1, 2, 2)], labels=False)
    >>> ome["multiscales"][0]["datasets"][1]["coordinateTransformations"]
    [{'type': 'scale', 'scale': [20.0, 10.0, 10.0]}, {'type': 'translation', 'translation': [10.0, 5.0, 5.0]}]
    """
    datasets = [_ome_level(name, n, spacing, f, labels) for n, f in enumerate(factors)]
    multiscale = {"name": name, "axes": OME_AXES, "datasets": datasets}
    return {"version": "0.5", "multiscales": [multiscale]}


def _ome_level(
    name: str, number: int, spacing: Spacing, factor: Triple, labels: bool
) -> dict[str, Any]:
    scale = [float(s * f) for s, f in zip(spacing, factor, strict=True)]
    shift = [
        float(centres(1, s, f, picked=labels)[0]) for s, f in zip(spacing, factor, strict=True)
    ]
    return {
        "path": f"s{number}/{name}",
        "coordinateTransformations": [
            {"type": "scale", "scale": scale},
            {"type": "translation", "translation": shift},
        ],
    }


def phase_flags(phases: Phases) -> dict[str, Any]:
    """CF attributes that name the codes of a label field.

    >>> phase_flags(Phases(pore=0, solid=1))
    {'flag_values': [0, 1], 'flag_meanings': 'pore solid'}
    """
    return {"flag_values": list(phases.codes), "flag_meanings": " ".join(phases.names)}


def phases_of(attributes: Mapping[str, Any], where: str) -> Phases:
    """Phases named by CF flag attributes.

    Raises
    ------
    SchemaError
        If the attributes are missing or do not match.
    """
    names = str(attributes.get("flag_meanings", "")).split()
    codes = [int(c) for c in attributes.get("flag_values", [])]
    if not names or len(names) != len(codes):
        raise SchemaError(
            f"{where} does not name its phases: flag_values {codes}, flag_meanings {names}"
        )
    return Phases(**dict(zip(names, codes, strict=True)))


def fingerprint(**decides: Any) -> str:
    """Hash of everything that decides the numbers; independent of the order of keys.

    >>> fingerprint(a=1, b=[2]) == fingerprint(b=(2,), a=1)
    True
    """
    text = json.dumps(decides, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def kind_of(attributes: Mapping[str, Any], is_group: bool, wanted: str) -> str:
    """Kind of a node: ``field``, ``dataset`` or foreign.

    It is `wanted` for an empty node left by a killed run.

    >>> kind_of({}, True, "field"), kind_of({"tim3d": {"kind": "dataset"}}, True, "field")
    ('field', 'dataset')
    """
    given = {key: value for key, value in attributes.items() if key != "coordinates"}  # from xarray
    record = given.get("tim3d", {} if given else {"kind": wanted})
    kind = record.get("kind") if isinstance(record, Mapping) and is_group else None
    return str(kind or "node of another program")


def check_version(attributes: Mapping[str, Any], where: str) -> None:
    """Refuse what is not a sample, and a sample of another schema.

    Raises
    ------
    SchemaError
        With what to type.
    """
    own = attributes.get("tim3d")
    version = own.get("schema") if isinstance(own, Mapping) else None
    if not isinstance(version, int):
        raise SchemaError(
            f"{where} is a zarr group but not a tim3d sample (no attribute 'tim3d'). Make one: tim3d ingest"
        )
    if version > SCHEMA_VERSION:
        raise SchemaError(
            f"{where} has schema {version}, this tim3d reads up to {SCHEMA_VERSION}. Type: pip install --upgrade tim3d"
        )
    if version < SCHEMA_VERSION:
        raise SchemaError(
            f"{where} has schema {version}, this tim3d reads {SCHEMA_VERSION}. Make the sample again"
        )
