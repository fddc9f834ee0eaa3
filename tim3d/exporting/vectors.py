"""Flux vectors of a potential that `solve` kept, as a layer of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError
from tim3d.formats.base import Layer
from tim3d.grid import AXES, Box, triple
from tim3d.kernels.conduction.coding import code_labels
from tim3d.kernels.conduction.flux_vectors import flux_vectors
from tim3d.kernels.conduction.material import Diagonal, Interfaces, check_conductivities
from tim3d.kernels.conduction.surroundings import MARGIN
from tim3d.storage import store
from tim3d.storage.schema import Field


def is_potential(sample: str, name: str) -> bool:
    """Whether a field is a potential that `solve` kept."""
    return bool(_parameters(sample, name).get("kind") == "potential")


def _parameters(sample: str, name: str) -> Mapping[str, Any]:
    parameters: Mapping[str, Any] = store.node_attributes(sample, name).get("parameters", {})
    return parameters


def vector_layers(sample: str, fields: list[Field], box: Box) -> list[Layer]:
    """Flux vectors of every potential among the fields, in a region.

    Raises
    ------
    ArgumentError
        If none of them is a potential, or one has periodic sides or electrodes on voxel centres.
    """
    found = [one for one in fields if is_potential(sample, one.name)]
    if not found:
        raise ArgumentError(
            "--vectors needs a potential among the fields, and there is none. Keep one: "
            f"tim3d solve {sample} --conductivity ... --keep-potential"
        )
    return [_layer(sample, one, box) for one in found]


def _layer(sample: str, potential: Field, box: Box) -> Layer:
    parameters = _parameters(sample, potential.name)
    plain = (parameters["faces"], parameters["sides"], parameters["cell"])
    if plain != ("outer", "insulated", False):
        raise ArgumentError(
            f"{potential.name!r} was solved with faces {plain[0]}, sides {plain[1]}, cell {plain[2]}; "
            "vectors are made for outer faces and insulated sides"
        )
    if parameters.get("particles"):
        raise ArgumentError(
            f"{potential.name!r} was solved with contacts between particles; vectors are not made of those"
        )
    inputs = store.node_attributes(sample, potential.name)["inputs"]
    (labels,) = [name for name in inputs if name in store.nodes(sample)]
    return Layer(
        name=potential.name.replace("_potential_", "_flux_vector_", 1),
        dtype=np.dtype("float32"),
        read=Vectors(sample, potential, labels, dict(parameters), box).read,
        long_name="flux density under a unit of mean gradient, in the unit of the conductivity",
        components=3,
    )


@dataclass(frozen=True)
class Vectors:
    """Flux vectors of a region, slab by slab; a slab is computed with a voxel more on each side."""

    sample: str
    potential: Field
    labels: str
    parameters: dict[str, Any]
    box: Box

    def read(self, z0: int, z1: int) -> NDArray[Any]:
        """Vectors x, y, z of the slices `z0` <= z < `z1` of the region."""
        start, stop = self.box.start, self.box.stop
        core = Box(triple((start[0] + z0, *start[1:])), triple((start[0] + z1, *stop[1:])))
        read = core.grow((1, 1, 1))
        axis = AXES.index(self.parameters["axis"])
        conductivity = check_conductivities(
            {int(c): k for c, k in self.parameters["conductivity"].items()}
        )
        # Conductances per area are recorded with nanometres as lengths.
        interface = {_pair(pair): k for pair, k in self.parameters["interface"].items()}
        codes = self._padded(self.labels, read, 0, np.uint8)
        if interface:
            codes, conductivity, interface = self._coded(read, conductivity, interface)
        return flux_vectors(
            self._padded(self.potential.name, read, -1.0, np.float32),
            codes,
            conductivity=conductivity,
            interface=interface,
            contact=[float(value) for value in self.parameters["contact"]],
            spacing=self.potential.spacing_nm,
            axis=axis,
            ends=(-read.start[axis], self.potential.shape[axis] - 1 - read.start[axis]),
        )

    def _coded(
        self, read: Box, conductivity: Mapping[int, Diagonal], interface: Interfaces
    ) -> tuple[NDArray[np.uint8], dict[int, Diagonal], dict[tuple[int, int], float]]:
        """Codes that tell normals, and what conducts by them, as the solver has them."""
        wide = read.grow((MARGIN,) * 3)
        inner = wide.clip(Box.whole(self.potential.shape))
        labels = store.read_box(store.field_array(self.sample, self.labels), inner)
        ends = [
            (a - b, c - d)
            for a, b, c, d in zip(inner.start, wide.start, wide.stop, inner.stop, strict=True)
        ]
        # Beyond the volume its border is repeated, as in the solver.
        around = np.pad(labels, ends, mode="edge")
        # Fields of versions that did not know normals have no such parameter.
        area = self.parameters.get("interface_area", "faces")
        return code_labels(around, conductivity, interface, area, self.potential.spacing_nm)

    def _padded(self, name: str, box: Box, outside: float, dtype: Any) -> NDArray[Any]:
        """Values of a field in a box that may reach out of the volume."""
        inner = box.clip(Box.whole(self.potential.shape))
        values = np.full(box.shape, outside, dtype)
        values[inner.within(box).slices] = store.read_box(
            store.field_array(self.sample, name), inner
        )
        return values


def _pair(text: str) -> tuple[int, int]:
    one, other = text.split(":")
    return int(one), int(other)
