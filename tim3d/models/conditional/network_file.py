"""File of a trained conditional generator: its layers, phases and conditions, and its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tim3d.models.common.conditioned_network import (
    Conditioned,
    NetworkDescription,
    described,
    load_described,
    save_described,
)
from tim3d.models.conditional.network_spec import ConditionalSpec
from tim3d.phases import Phases

if TYPE_CHECKING:
    from tim3d.models.conditional.networks import ConditionalGenerator


@dataclass(frozen=True, slots=True)
class ConditionalDescription(NetworkDescription):
    """Description that the file of a conditional generator carries; see `NetworkDescription`.

    Parameters
    ----------
    spec : ConditionalSpec
        The layers.
    phases : Phases
        Names and codes: grey values are not learnt.
    """

    kind: ClassVar[Conditioned] = "cgan"
    layers: ClassVar[type[ConditionalSpec]] = ConditionalSpec

    spec: ConditionalSpec
    phases: Phases


def save_conditional(
    path: str | Path, net: ConditionalGenerator, description: ConditionalDescription
) -> str:
    """Write a generator and return the SHA-256 of the file; see `save_described`."""
    return save_described(path, net, description)


def load_conditional(
    path: str | Path,
) -> tuple[ConditionalGenerator, ConditionalDescription, str]:
    """The generator in evaluation mode, its description, and the SHA-256 of the file."""
    from tim3d.models.conditional.networks import ConditionalGenerator

    return load_described(path, ConditionalDescription, ConditionalGenerator)


def describe_conditional(path: str | Path) -> tuple[ConditionalDescription, str]:
    """Read and verify the description of a conditional generator, and return it with the SHA-256."""
    return described(path, ConditionalDescription)
