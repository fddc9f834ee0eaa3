"""File of a trained segmentation network and its description (`tim3d.models.common.weights`)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tim3d.errors import ArgumentError, CheckpointError
from tim3d.models.common.weights import package_version, parsed, read_weights, write_weights
from tim3d.models.segmentation.families import (
    FAMILIES,
    NetworkSpec,
    build,
    read_spec,
)
from tim3d.models.segmentation.model_file import UNET
from tim3d.models.segmentation.network_spec import spec_values

if TYPE_CHECKING:
    from torch import nn

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Normalisation of grey values for the input of a network: (grey - mean) / std.

    Parameters
    ----------
    how : {"volume", "table", "fixed"}
        One mean and standard deviation for the volume, or one of each for every slice of it; or
        those of an imported network, whatever the volume.
    mean, std : tuple of float
        In grey levels; one number, or one for each slice.

    Raises
    ------
    ArgumentError
        If the numbers do not match `how`, or a standard deviation is not positive.

    Examples
    --------
    >>> Normalisation("volume", (127.0,), (40.0,)).of_slices([5, 6])
    ([127.0, 127.0], [40.0, 40.0])
    """

    how: Literal["volume", "table", "fixed"]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if (
            self.how not in ("volume", "table", "fixed")
            or len(self.mean) != len(self.std)
            or not self.mean
        ):
            raise ArgumentError(
                f"normalisation {self.how!r} with {len(self.mean)} means and {len(self.std)} deviations"
            )
        if self.how != "table" and len(self.mean) != 1:
            raise ArgumentError(
                f"normalisation by the volume has one mean, not {len(self.mean)}; use how='table'"
            )
        if wrong := [deviation for deviation in self.std if not 0 < deviation < math.inf]:
            raise ArgumentError(
                f"a standard deviation of {wrong[0]} grey values: is the image constant?"
            )

    def of_slices(self, slices: Sequence[int]) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each of these slices of the volume, in grey levels."""
        rows = [0] * len(slices) if self.how != "table" else slices
        return [self.mean[z] for z in rows], [self.std[z] for z in rows]


@dataclass(frozen=True, slots=True)
class Description:
    """Description that a checkpoint carries.

    Parameters
    ----------
    spec : UNetSpec or UNet3DSpec
        The network and the names of its classes, in the order of their codes.
    normalisation : Normalisation
        Normalisation of the grey values of the training.
    spacing_nm : (z, y, x)
        Voxel edges of the training data in nm.
    training : mapping
        Summary that JSON can hold: seed, steps, best validation, hash of the data, history.
    tim3d : str
        Version of the package that wrote it.
    """

    spec: NetworkSpec
    normalisation: Normalisation
    spacing_nm: tuple[float, float, float]
    training: Mapping[str, Any] = field(default_factory=dict)
    tim3d: str = ""

    @property
    def kind(self) -> str:
        """Kind of the network, which chooses what reads its file."""
        return self.spec.kind

    def to_json(self) -> str:
        """The canonical text: keys sorted, no spaces."""
        values = {
            "schema": SCHEMA,
            "kind": self.kind,
            **asdict(self),
            "spec": spec_values(self.spec),
            "training": dict(self.training),
            "tim3d": self.tim3d or package_version(),
        }
        return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Description:
        """Parse a description; raise CheckpointError for another kind or schema.

        Files of earlier versions state no kind.
        """
        values = json.loads(text)
        if (kind := values.pop("kind", UNET)) not in FAMILIES:
            raise CheckpointError(
                f"it holds a segmenter of the kind {kind!r}, and a network is needed: {', '.join(FAMILIES)}"
            )
        schema = values.pop("schema", None)
        if schema != SCHEMA:
            raise CheckpointError(
                f"it has schema {schema}, and this tim3d reads schema {SCHEMA}; update tim3d"
            )
        norm = values["normalisation"]
        return cls(
            read_spec(kind, values["spec"]),
            Normalisation(norm["how"], tuple(norm["mean"]), tuple(norm["std"])),
            tuple(values["spacing_nm"]),
            values["training"],
            values["tim3d"],
        )


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A network in evaluation mode, with its description and the SHA-256 of its file."""

    model: nn.Module
    description: Description
    sha256: str

    @property
    def spec(self) -> NetworkSpec:
        """Shape of the network."""
        return self.description.spec

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their codes."""
        return self.description.spec.classes


def save(path: str | Path, model: nn.Module, description: Description) -> str:
    """Write a checkpoint and return its SHA-256. The file appears whole or not at all.

    The same weights and description give the same bytes.

    Raises
    ------
    WriteError
        If the folder cannot be written.
    """
    return write_weights(path, model.state_dict(), description.to_json())


def load(path: str | Path, classes: Sequence[str] | None = None) -> Checkpoint:
    """Read and verify a checkpoint.

    Parameters
    ----------
    path : path
        File written by `save`.
    classes : sequence of str, optional
        Names that the network must have, in the order of their codes.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, of another kind or schema, does not fit its own
        description, or has classes other than requested.
    """
    import torch
    from safetensors import SafetensorError

    stored = read_weights(path, "segmentation")
    try:
        description = Description.from_json(stored.text)
        # The first weights are replaced at once: they must not advance the random numbers of
        # the caller.
        with torch.random.fork_rng(devices=[]):
            model = build(description.spec)
        model.load_state_dict(stored.tensors(), strict=True)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{path} does not fit its own description: {error}") from error
    _check_classes(Path(path), description.spec.classes, classes)
    return Checkpoint(model.eval().requires_grad_(False), description, stored.sha256)


def describe(path: str | Path) -> Description:
    """Read and verify the description of a checkpoint, without building the network."""
    return parsed(path, read_weights(path, "segmentation").text, Description.from_json)


def digest(path: str | Path) -> str:
    """Verified SHA-256 of a checkpoint, as `save` returned it and the file carries it."""
    return read_weights(path, "segmentation").sha256


def _check_classes(path: Path, have: tuple[str, ...], want: Sequence[str] | None) -> None:
    if want is None or tuple(want) == have:
        return
    raise CheckpointError(
        f"{path} has {len(have)} classes ({', '.join(have)}), and {len(want)} are asked for ({', '.join(want)}); "
        "name them alike and in the same order"
    )
