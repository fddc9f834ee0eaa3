"""File of a trained conditional generator: its layers, phases and conditions, and its weights."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tim3d.errors import ArgumentError, CheckpointError
from tim3d.models.common.weights import (
    check_finite,
    package_version,
    parsed,
    read_weights,
    write_weights,
)
from tim3d.models.conditional.network_spec import ConditionalSpec
from tim3d.models.diffusion.network_file import (
    Condition,
    beyond_training,
    inputs_of,
    read_condition,
    state_channels,
)
from tim3d.phases import Phases

if TYPE_CHECKING:
    from tim3d.models.conditional.networks import ConditionalGenerator

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class ConditionalDescription:
    """Description that the file of a conditional generator carries.

    Parameters
    ----------
    spec : ConditionalSpec
        The layers.
    spacing_nm : (z, y, x)
        Edges of a voxel in nm.
    phases : Phases
        Names and codes. Two phases are -1 and 1 in one channel, more have a channel each.
    conditions : tuple of Condition
        Inputs beside the noise, in their order.
    training : mapping
        Summary that JSON can hold.
    tim3d : str
        Version of the package that wrote it.

    Raises
    ------
    ArgumentError
        If phases or conditions do not fit the layers, or an edge is not a positive length.
    """

    spec: ConditionalSpec
    spacing_nm: tuple[float, float, float]
    phases: Phases
    conditions: tuple[Condition, ...]
    training: Mapping[str, Any] = field(default_factory=dict)
    tim3d: str = ""

    def __post_init__(self) -> None:
        inputs = sum(one.columns for one in self.conditions)
        seen = (state_channels(len(self.phases)), inputs)
        if seen != (self.spec.channels, self.spec.conditions):
            raise ArgumentError(
                f"{len(self.phases)} phases with {inputs} inputs of conditions do not fit a network of "
                f"{self.spec.channels} channels and {self.spec.conditions} inputs"
            )
        if len(self.spacing_nm) != 3 or not all(0 < v < math.inf for v in self.spacing_nm):
            raise ArgumentError(
                f"voxel size {self.spacing_nm} nm: three edges must be positive lengths"
            )

    def inputs(self, values: Mapping[str, float | str]) -> tuple[float, ...]:
        """Inputs of the network for conditions by name; NaN for those that are not given."""
        return inputs_of(self.conditions, values)

    def beyond(self, values: Mapping[str, float | str]) -> list[str]:
        """A sentence for each number outside the range of the training, with its distance from it."""
        return beyond_training(self.conditions, values)

    def to_json(self) -> str:
        """The canonical text: keys sorted, no spaces."""
        values = {
            "schema": SCHEMA, "model": "cgan", "spec": asdict(self.spec), "spacing_nm": self.spacing_nm,
            "phases": list(self.phases.items()), "conditions": [asdict(one) for one in self.conditions],
            "training": dict(self.training), "tim3d": self.tim3d or package_version(),
        }  # fmt: skip
        return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> ConditionalDescription:
        """Parse a description; raise CheckpointError for another schema."""
        values = json.loads(text)
        if values["schema"] != SCHEMA:
            raise CheckpointError(
                f"it has schema {values['schema']}, and this tim3d reads schema {SCHEMA}; update tim3d"
            )
        z, y, x = values["spacing_nm"]
        return cls(
            ConditionalSpec.from_dict(values["spec"]),
            (z, y, x),
            Phases(**dict(values["phases"])),
            tuple(read_condition(one) for one in values["conditions"]),
            values["training"],
            values["tim3d"],
        )


def save_conditional(
    path: str | Path, net: ConditionalGenerator, description: ConditionalDescription
) -> str:
    """Write a generator and return the SHA-256 of the file.

    The file appears whole or not at all; the same weights and description give the same bytes.

    Raises
    ------
    ArgumentError
        If the description is of other layers.
    CheckpointError
        If a weight is not finite.
    WriteError
        If the folder cannot be written.
    """
    if net.spec != description.spec:
        raise ArgumentError(f"the network is {net.spec}, the description says {description.spec}")
    tensors = {name: value.cpu() for name, value in net.state_dict().items()}
    check_finite(path, tensors)
    return write_weights(path, tensors, description.to_json())


def load_conditional(
    path: str | Path,
) -> tuple[ConditionalGenerator, ConditionalDescription, str]:
    """The generator in evaluation mode, its description, and the SHA-256 of the file.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, of another kind or schema, or does not fit its own
        description.
    """
    from safetensors import SafetensorError

    from tim3d.models.conditional.networks import ConditionalGenerator

    stored = read_weights(path, "cgan")
    description = parsed(path, stored.text, ConditionalDescription.from_json)
    net = ConditionalGenerator(description.spec)
    try:
        tensors = stored.tensors()
        net.load_state_dict(tensors)
    except (RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{path} does not fit its own description: {error}") from error
    check_finite(path, tensors)
    return net.eval().requires_grad_(False), description, stored.sha256


def describe_conditional(path: str | Path) -> tuple[ConditionalDescription, str]:
    """Read and verify the description of a conditional generator, and return it with the SHA-256.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or of another kind or schema.
    """
    stored = read_weights(path, "cgan")
    return parsed(path, stored.text, ConditionalDescription.from_json), stored.sha256
