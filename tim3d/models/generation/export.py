"""Files of trained generators, with normalisation folded into the convolutions.

A window then needs no statistics.

References
----------
Jacob et al., CVPR 2018 (folding of batch normalisation). DOI 10.1109/CVPR.2018.00286
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from tim3d.errors import ArgumentError, CheckpointError
from tim3d.kernels.generation.architecture import KERNEL, Architecture
from tim3d.models.common.weights import (
    check_finite,
    package_version,
    parsed,
    read_weights,
    write_weights,
)
from tim3d.models.generation.slicegan import Generator
from tim3d.phases import Phases

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class GeneratorDescription:
    """Description that the file of a generator carries.

    Parameters
    ----------
    architecture : Architecture
        The network.
    spacing_nm : (z, y, x)
        Edges of a voxel in nm, from the pixels of the training images.
    phases : Phases, optional
        Names and codes; the channels are in the order of the codes. None for grey and colour.
    training : mapping
        Summary that JSON can hold: digests of the images, seeds, steps, fidelity.
    tim3d : str
        Version of the package that wrote it.

    Raises
    ------
    ArgumentError
        If the number of phases differs from the number of outputs, or an edge is not a positive
        length.
    """

    architecture: Architecture
    spacing_nm: tuple[float, float, float]
    phases: Phases | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    tim3d: str = ""

    def __post_init__(self) -> None:
        outputs = self.architecture.outputs
        if self.architecture.output == "phases" and len(self.phases or ()) != outputs:
            raise ArgumentError(
                f"{self.architecture.name} has {outputs} phases, and named are {self.phases}"
            )
        if self.architecture.output != "phases" and self.phases is not None:
            raise ArgumentError(
                f"{self.architecture.name} makes {self.architecture.output} values, which have no phases"
            )
        if len(self.spacing_nm) != 3 or not all(0 < v < math.inf for v in self.spacing_nm):
            raise ArgumentError(
                f"voxel size {self.spacing_nm} nm: three edges must be positive lengths"
            )

    def to_json(self) -> str:
        """The canonical text: keys sorted, no spaces."""
        values = {
            "schema": SCHEMA,
            "model": "generator",
            "architecture": asdict(self.architecture),
            "spacing_nm": self.spacing_nm,
            "phases": list(self.phases.items()) if self.phases else None,
            "training": dict(self.training),
            "tim3d": self.tim3d or package_version(),
        }
        return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> GeneratorDescription:
        """Parse a description; raise CheckpointError for another schema."""
        values = json.loads(text)
        if values.get("schema") != SCHEMA:
            raise CheckpointError(
                f"it has schema {values.get('schema')}, and this tim3d reads schema {SCHEMA}; update tim3d"
            )
        z, y, x = values["spacing_nm"]
        return cls(
            Architecture.from_dict(values["architecture"]),
            (z, y, x),
            Phases(**dict(values["phases"])) if values["phases"] else None,
            values["training"],
            values["tim3d"],
        )


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution with its normalisation folded in.

    `weight` is (in, out, 4, 4, 4) for a transposed convolution, (out, in, 3, 3, 3) for the
    convolution after a resize.
    """

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True, slots=True)
class Exported:
    """Folded layers with their description and the SHA-256 of their file ("" until written)."""

    layers: tuple[Layer, ...]
    description: GeneratorDescription
    sha256: str = ""

    @property
    def architecture(self) -> Architecture:
        """The network."""
        return self.description.architecture


def fold(net: Generator) -> tuple[Layer, ...]:
    """Fold normalisation into layers that only a ReLU follows.

    W' = W g / sqrt(var + eps), b' = beta - mean g / sqrt(var + eps). The scale g applies to the
    output channels: axis 1 of a transposed convolution. Computed in float64, returned in float32.

    Examples
    --------
    >>> from tim3d.kernels.generation.architecture import preset
    >>> [tuple(layer.bias.shape) for layer in fold(Generator(preset("demo")))]
    [(128,), (64,), (32,), (2,)]
    """
    layers = []
    for number, conv in enumerate(net.convs):
        weight = cast(Tensor, conv.weight).detach().double()
        bias = torch.zeros(weight.shape[1], dtype=torch.float64, device=weight.device)
        if number < len(net.bns):
            norm = cast(nn.BatchNorm3d, net.bns[number])
            scale, bias = _affine(norm)
            weight = weight * scale[None, :, None, None, None]
        layers.append(Layer(weight.float().cpu(), bias.float().cpu()))
    if net.rcconv is not None:
        layers.append(
            Layer(
                net.rcconv.weight.detach().float().cpu(),
                cast(Tensor, net.rcconv.bias).detach().cpu(),
            )
        )
    return tuple(layers)


def _affine(norm: nn.BatchNorm3d) -> tuple[Tensor, Tensor]:
    """Scale and shift of a normalisation in evaluation mode."""
    mean, var = cast(Tensor, norm.running_mean).double(), cast(Tensor, norm.running_var).double()
    scale = norm.weight.detach().double() / torch.sqrt(var + norm.eps)
    return scale, norm.bias.detach().double() - mean * scale


def save_generator(path: str | Path, net: Generator, description: GeneratorDescription) -> str:
    """Fold a generator, write it and return the SHA-256 of the file.

    The file appears whole or not at all, and the same weights and description give the same bytes.

    Raises
    ------
    ArgumentError
        If the description is of another architecture.
    CheckpointError
        If a weight is not finite.
    WriteError
        If the folder cannot be written.
    """
    if net.architecture != description.architecture:
        raise ArgumentError(
            f"the network is {net.architecture}, the description says {description.architecture}"
        )
    return write_generator(path, fold(net), description)


def write_generator(
    path: str | Path, layers: tuple[Layer, ...], description: GeneratorDescription
) -> str:
    """Write folded layers; see `save_generator`."""
    tensors = {
        f"layers.{number}.{part}": getattr(layer, part)
        for number, layer in enumerate(layers)
        for part in ("weight", "bias")
    }
    _check(tensors, description.architecture, str(path))
    return write_weights(path, tensors, description.to_json())


def load_generator(path: str | Path) -> Exported:
    """Read and verify a generator.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, of another kind or schema, or does not fit its own
        description.
    """
    stored = read_weights(path, "generator")
    description = parsed(path, stored.text, GeneratorDescription.from_json)
    try:
        tensors = stored.tensors()
    except SafetensorError as error:
        raise CheckpointError(f"{path} does not fit its own description: {error}") from error
    _check(tensors, description.architecture, str(path))
    layers = tuple(
        Layer(tensors[f"layers.{n}.weight"], tensors[f"layers.{n}.bias"])
        for n in range(len(shapes(description.architecture)))
    )
    return Exported(layers, description, stored.sha256)


def describe_generator(path: str | Path) -> tuple[GeneratorDescription, str]:
    """Read and verify the description of a generator's file, and return it with the SHA-256.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or of another kind or schema.
    """
    stored = read_weights(path, "generator")
    return parsed(path, stored.text, GeneratorDescription.from_json), stored.sha256


def shapes(architecture: Architecture) -> list[tuple[int, ...]]:
    """Shape of each layer's weights.

    >>> from tim3d.kernels.generation.architecture import preset
    >>> shapes(preset("demo-resize"))[-2:]
    [(64, 32, 4, 4, 4), (2, 32, 3, 3, 3)]
    """
    widths = architecture.channels
    pairs = list(pairwise(widths))
    transposed = [(a, b, *(KERNEL,) * 3) for a, b in pairs[: len(architecture.paddings)]]
    return [*transposed, *((b, a, 3, 3, 3) for a, b in pairs[len(architecture.paddings) :])]


def _check(tensors: Mapping[str, Tensor], architecture: Architecture, where: str) -> None:
    """Refuse weights of another architecture, and weights that are not finite."""
    expected: dict[str, tuple[int, ...]] = {}
    for number, shape in enumerate(shapes(architecture)):
        out = shape[1] if shape[-1] == KERNEL else shape[0]
        expected |= {f"layers.{number}.weight": shape, f"layers.{number}.bias": (out,)}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if found != expected:
        name = next(n for n in sorted({*found, *expected}) if found.get(n) != expected.get(n))
        raise CheckpointError(
            f"{where} does not hold a generator {architecture.name!r}: {name} is {found.get(name, 'missing')}, "
            f"expected {expected.get(name, 'nothing of that name')}"
        )
    check_finite(where, tensors)
