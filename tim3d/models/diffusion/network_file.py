"""File of a trained local network: what its channels and conditions mean, and its weights."""

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
from tim3d.models.diffusion.network_spec import LocalNetworkSpec

if TYPE_CHECKING:
    from tim3d.models.diffusion.local_network import LocalNetwork

AXES = ("z", "y", "x")
# Name of the condition that states which axis a section is normal to.
AXIS = "axis"


@dataclass(frozen=True, slots=True)
class LocalNetworkDescription(NetworkDescription):
    """Description that the file of a local network carries; see `NetworkDescription`.

    Parameters
    ----------
    spec : LocalNetworkSpec
        The layers.

    Examples
    --------
    >>> from tim3d.models.common.conditioned_network import Condition
    >>> spec = LocalNetworkSpec(2, 1, (4,), conditions=1)
    >>> asked = (Condition("temperature", lowest=200.0, highest=300.0),)
    >>> LocalNetworkDescription(spec, (1.0, 1.0, 1.0), None, asked).beyond({"temperature": 350})
    ['temperature 350 is outside the training, 200 to 300, by 50 % of its range']
    """

    kind: ClassVar[Conditioned] = "diffusion"
    layers: ClassVar[type[LocalNetworkSpec]] = LocalNetworkSpec

    spec: LocalNetworkSpec


def save_network(path: str | Path, net: LocalNetwork, description: LocalNetworkDescription) -> str:
    """Write a network and return the SHA-256 of the file; see `save_described`."""
    return save_described(path, net, description)


def load_network(path: str | Path) -> tuple[LocalNetwork, LocalNetworkDescription, str]:
    """The network in evaluation mode, its description, and the SHA-256 of the file."""
    from tim3d.models.diffusion.local_network import LocalNetwork

    return load_described(path, LocalNetworkDescription, LocalNetwork)


def describe_network(path: str | Path) -> tuple[LocalNetworkDescription, str]:
    """Read and verify the description of a local network, and return it with the SHA-256."""
    return described(path, LocalNetworkDescription)
