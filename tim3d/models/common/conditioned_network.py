"""Files of networks that generate under conditions: layers, phases and conditions, and weights."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, TypeVar

from tim3d.errors import ArgumentError, CheckpointError
from tim3d.models.common.weights import (
    check_finite,
    package_version,
    parsed,
    read_weights,
    write_weights,
)
from tim3d.phases import Phases

if TYPE_CHECKING:
    from torch import nn

SCHEMA = 1
Conditioned = Literal["diffusion", "cgan"]


class Layers(Protocol):
    """Layers of a network, a frozen dataclass of numbers and texts but for its `widths`."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def channels(self) -> int:
        """Channels of what is generated."""

    @property
    def conditions(self) -> int:
        """Numbers that the network is given beside noise or state."""


D = TypeVar("D", bound="NetworkDescription")
N = TypeVar("N", bound="nn.Module")


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition by name: one of some classes, or a number.

    Parameters
    ----------
    name : str
        Name, as it is stated when something is generated.
    classes : tuple of str
        Names of the classes, each a column of the input; none for a number.
    lowest, highest : float
        Range of the number in the training.
    """

    name: str
    classes: tuple[str, ...] = ()
    lowest: float = 0.0
    highest: float = 1.0

    @property
    def columns(self) -> int:
        """Number of inputs of the network."""
        return len(self.classes) or 1

    def inputs(self, value: float | str | None) -> list[float]:
        """Inputs for a value; NaN for None. The range of the training becomes -1 to 1.

        Raises
        ------
        ArgumentError
            If there is no such class, or a number is none or not finite.

        Examples
        --------
        >>> Condition("axis", ("z", "y", "x")).inputs("y")
        [0.0, 1.0, 0.0]
        >>> Condition("temperature", lowest=200, highest=300).inputs(250)
        [0.0]
        """
        if value is None:
            return [math.nan] * self.columns
        if self.classes:
            if value not in self.classes:
                raise ArgumentError(
                    f"{self.name} {value!r} is not among the classes of the training: {', '.join(self.classes)}"
                )
            return [float(value == one) for one in self.classes]
        half = (self.highest - self.lowest) / 2 or 1.0
        return [(self.number(value) - (self.highest + self.lowest) / 2) / half]

    def number(self, value: float | str) -> float:
        """The value as a number; raise `ArgumentError` if it is none, or not finite."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ArgumentError(
                f"{self.name} is {value!r}; a finite number is expected, as of the training: {self.lowest:g} to "
                f"{self.highest:g}"
            )
        return number

    @property
    def example(self) -> str:
        """Name and a value of the training, as they are typed."""
        return f"{self.name}={self.classes[0] if self.classes else f'{self.highest:g}'}"


@dataclass(frozen=True, slots=True)
class NetworkDescription:
    """Description that a file carries; a kind of network has a subclass, with its layers.

    Parameters
    ----------
    spec : Layers
        The layers.
    spacing_nm : (z, y, x)
        Edges of a voxel in nm.
    phases : Phases, optional
        Names and codes. Two phases are -1 and 1 in one channel, more have a channel each, 1 where
        the phase is and -1 elsewhere. None for grey values, 0 to 255 as -1 to 1.
    conditions : tuple of Condition
        Inputs beside noise or state, in their order.
    training : mapping
        Summary that JSON can hold.
    tim3d : str
        Version of the package that wrote it.

    Raises
    ------
    ArgumentError
        If phases or conditions do not fit the layers, or an edge is not a positive length.
    """

    kind: ClassVar[Conditioned]
    layers: ClassVar[Callable[..., Layers]]

    spec: Layers
    spacing_nm: tuple[float, float, float]
    phases: Phases | None = None
    conditions: tuple[Condition, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    tim3d: str = ""

    def __post_init__(self) -> None:
        if self.phases is not None and state_channels(len(self.phases)) != self.spec.channels:
            raise ArgumentError(
                f"{len(self.phases)} phases have {state_channels(len(self.phases))} channels, and the network has "
                f"{self.spec.channels}"
            )
        inputs = sum(one.columns for one in self.conditions)
        if inputs != self.spec.conditions:
            raise ArgumentError(
                f"the conditions have {inputs} inputs, and the network has {self.spec.conditions}"
            )
        if len(self.spacing_nm) != 3 or not all(0 < v < math.inf for v in self.spacing_nm):
            raise ArgumentError(
                f"voxel size {self.spacing_nm} nm: three edges must be positive lengths"
            )

    def inputs(self, values: Mapping[str, float | str]) -> tuple[float, ...]:
        """Inputs of the network for conditions by name; NaN for those that are not given.

        Raises
        ------
        ArgumentError
            If a name or a class is unknown.
        """
        known = [one.name for one in self.conditions]
        if unknown := sorted(set(values) - set(known)):
            raise ArgumentError(
                f"the network has no condition {unknown[0]!r}; it has {', '.join(known) or 'none'}"
            )
        return tuple(v for one in self.conditions for v in one.inputs(values.get(one.name)))

    def beyond(self, values: Mapping[str, float | str]) -> list[str]:
        """A sentence for each number outside the range of the training, with its distance from it."""
        texts = []
        for one in self.conditions:
            value = values.get(one.name)
            if value is None or one.classes:
                continue
            number = one.number(value)
            excess = max(one.lowest - number, number - one.highest)
            if excess > 0:
                span = one.highest - one.lowest
                by = f"{100 * excess / span:.3g} % of its range" if span else f"{excess:g}"
                texts.append(
                    f"{one.name} {number:g} is outside the training, {one.lowest:g} to {one.highest:g}, by {by}"
                )
        return texts

    def to_json(self) -> str:
        """The canonical text: keys sorted, no spaces."""
        return json.dumps(self.as_values(), sort_keys=True, separators=(",", ":"), allow_nan=False)

    def as_values(self) -> dict[str, Any]:
        """Content of the file, as numbers and texts by name."""
        return {
            "schema": SCHEMA, "model": self.kind, "spec": asdict(self.spec), "spacing_nm": self.spacing_nm,
            "phases": list(self.phases.items()) if self.phases else None,
            "conditions": [asdict(one) for one in self.conditions],
            "training": dict(self.training), "tim3d": self.tim3d or package_version(),
        }  # fmt: skip

    @classmethod
    def more(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Attributes that a kind of network has beside the common ones, from what its file says."""
        return {}

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse a description; raise CheckpointError for another schema."""
        values = json.loads(text)
        if values["schema"] != SCHEMA:
            raise CheckpointError(
                f"it has schema {values['schema']}, and this tim3d reads schema {SCHEMA}; update tim3d"
            )
        z, y, x = values["spacing_nm"]
        return cls(
            cls.layers(**{**values["spec"], "widths": tuple(values["spec"]["widths"])}),
            (z, y, x),
            Phases(**dict(values["phases"])) if values["phases"] else None,
            tuple(_condition(one) for one in values["conditions"]),
            values["training"],
            values["tim3d"],
            **cls.more(values),
        )


def _condition(values: Mapping[str, Any]) -> Condition:
    return Condition(**{**values, "classes": tuple(values["classes"])})


def state_channels(phases: int) -> int:
    """Channels of what is generated for a number of phases.

    >>> [state_channels(n) for n in (2, 3, 4)]
    [1, 3, 4]
    """
    return 1 if phases == 2 else phases


def save_described(path: str | Path, net: nn.Module, description: NetworkDescription) -> str:
    """Write a network and return the SHA-256 of the file.

    The file appears whole or not at all; the same weights and description give the same bytes.

    Raises
    ------
    ArgumentError
        If the description is of other layers than the `spec` of the network.
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


def load_described(path: str | Path, about: type[D], build: Callable[[Any], N]) -> tuple[N, D, str]:
    """A network in evaluation mode, its description, and the SHA-256 of the file.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, of another kind or schema, or does not fit its own
        description.
    """
    from safetensors import SafetensorError

    stored = read_weights(path, about.kind)
    description = parsed(path, stored.text, about.from_json)
    net = build(description.spec)
    try:
        tensors = stored.tensors()
        net.load_state_dict(tensors)
    except (RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{path} does not fit its own description: {error}") from error
    check_finite(path, tensors)
    return net.eval().requires_grad_(False), description, stored.sha256


def described(path: str | Path, about: type[D]) -> tuple[D, str]:
    """Read and verify the description of a network, and return it with the SHA-256 of the file.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or of another kind or schema.
    """
    stored = read_weights(path, about.kind)
    return parsed(path, stored.text, about.from_json), stored.sha256
