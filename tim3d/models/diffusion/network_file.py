"""File of a trained local network: what its channels and conditions mean, and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tim3d.errors import ArgumentError
from tim3d.kernels.generation.coarse_field import CoarseLaw
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
    coarse : CoarseLaw, optional
        Law of the local fraction of the first phase, which the network is given beside the state.

    Raises
    ------
    ArgumentError
        If the layers take a local fraction and there is no law, or the other way round.

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
    coarse: CoarseLaw | None = None

    def __post_init__(self) -> None:
        super(LocalNetworkDescription, self).__post_init__()
        if bool(self.spec.coarse) != (self.coarse is not None):
            raise ArgumentError(
                f"the layers take {self.spec.coarse} local fractions, and the description has "
                f"{'no law of one' if self.coarse is None else 'a law of one'}"
            )

    def as_values(self) -> dict[str, Any]:
        """Content of the file; without a local fraction nothing of it."""
        values = super(LocalNetworkDescription, self).as_values()
        if self.coarse is None:
            del values["spec"]["coarse"]
            return values
        return values | {"coarse": asdict(self.coarse)}

    @classmethod
    def more(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """The law of the local fraction, if there is one."""
        return {"coarse": CoarseLaw(**values["coarse"])} if "coarse" in values else {}


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
