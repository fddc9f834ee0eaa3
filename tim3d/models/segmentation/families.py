"""Families of networks by the kind that a model file states: their specs, and how each is built.

A family of one's own is a file with a spec and a function that builds it, and a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from tim3d.models.segmentation import unet, unet_3d
from tim3d.models.segmentation.network_spec import spec_from
from tim3d.models.segmentation.unet import UNetSpec
from tim3d.models.segmentation.unet_3d import UNet3DSpec

if TYPE_CHECKING:
    from torch import nn

NetworkSpec: TypeAlias = UNetSpec | UNet3DSpec


@dataclass(frozen=True)
class Family:
    """Networks of one kind.

    Parameters
    ----------
    spec : type
        Frozen dataclass of all that decides the architecture; its `kind` is that of the family.
    build : callable
        Returns a network of a spec with random weights.
    """

    spec: type[Any]
    build: Callable[[Any], nn.Module]


FAMILIES = {
    one.spec.kind: one for one in (Family(UNetSpec, unet.build), Family(UNet3DSpec, unet_3d.build))
}


def read_spec(kind: str, values: dict[str, Any]) -> NetworkSpec:
    """Spec of a kind from its recorded fields."""
    found: NetworkSpec = spec_from(FAMILIES[kind].spec, values)
    return found


def build(spec: NetworkSpec) -> nn.Module:
    """Build the network of a spec with random weights."""
    return FAMILIES[spec.kind].build(spec)
