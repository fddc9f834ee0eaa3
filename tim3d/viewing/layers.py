"""Layers of the viewer: what a field of a sample becomes."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tim3d.errors import MissingFieldError
from tim3d.forecast import is_forecasting
from tim3d.grid import Box, Triple, triple
from tim3d.stages.shared.phase_surface import PhaseSurface, level_below, phase_surface
from tim3d.storage import store
from tim3d.storage.schema import Field

log = logging.getLogger(__name__)
Kind = Literal["grey", "phases", "numbers", "values"]
# Voxels that are read for a surface, and for the range of values that is shown.
SURFACE_VOXELS, RANGE_VOXELS = 2**21, 2**18
# Verbs whose fields of numbers are shown in colours and not in grey.
_COLOURED = ("geodesic", "solve", "segment")
# Part of the values that lies outside of the range shown, on each side.
_OUTSIDE = 0.005


@dataclass(frozen=True)
class Level:
    """A level of a pyramid: its shape and chunk in voxels, and the edges of a voxel in nm."""

    shape: Triple
    chunk: Triple
    voxel_nm: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Layer:
    """A field as the viewer shows it.

    Attributes
    ----------
    kind : {"grey", "phases", "numbers", "values"}
        Grey values; labels of phases; numbers of components and objects; distances, potentials and
        the like.
    """

    sample: str
    field: Field
    kind: Kind

    @property
    def name(self) -> str:
        """Name of the field."""
        return self.field.name

    @functools.cached_property
    def levels(self) -> tuple[Level, ...]:
        """Levels of the pyramid, the finest first."""
        ome: Any = store.open_sample(self.sample)[self.name].attrs["ome"]
        scales = [
            level["coordinateTransformations"][0]["scale"]
            for level in ome["multiscales"][0]["datasets"]
        ]
        arrays = [store.field_array(self.sample, self.name, n) for n in range(len(scales))]
        return tuple(
            Level(triple(a.shape), triple(a.chunks), (float(z), float(y), float(x)))
            for a, (z, y, x) in zip(arrays, scales, strict=True)
        )

    def voxels(self, level: int, box: Box) -> np.ndarray:
        """Voxels of a box; a missing or damaged shard is refused."""
        return store.read_box(store.field_array(self.sample, self.name, level), box)

    def range(self) -> tuple[float, float]:
        """Lowest and highest value shown, from a coarse level; -1 means that there is no value."""
        number, _ = level_below(self.sample, self.name, RANGE_VOXELS)
        values = self.voxels(number, Box.whole(self.levels[number].shape))
        there = values if self.kind == "grey" else values[values >= 0]
        if not there.size:
            return 0.0, 1.0
        low, high = np.quantile(there, [_OUTSIDE, 1 - _OUTSIDE])
        return float(low), float(high if high > low else low + 1)

    def surface(self, code: int) -> PhaseSurface:
        """Surface of a phase, from a coarse level of a large field."""
        return phase_surface(self.sample, self.name, code, SURFACE_VOXELS)


def layers(sample: str, names: Sequence[str]) -> list[Layer]:
    """The layers of some fields, in their order; of all finished fields if none is named.

    Raises
    ------
    MissingFieldError
        If the sample has no such field, or no finished field at all.
    MixedRunError
        If a named field was made from one that was replaced since.
    """
    found = [_layer(sample, name) for name in names or _finished(sample)]
    if not found and not is_forecasting():
        raise MissingFieldError(
            f"no finished field in {sample} (has {', '.join(store.nodes(sample)) or 'nothing'}). "
            f"Make one: tim3d ingest SOURCE {sample}"
        )
    order = ("grey", "values", "numbers", "phases")
    return sorted(found, key=lambda layer: order.index(layer.kind))


def _finished(sample: str) -> list[str]:
    store.open_sample(sample)
    return [name for name in store.nodes(sample) if _is_shown(sample, name)]


def _is_shown(sample: str, name: str) -> bool:
    record = store.node_attributes(sample, name)
    if record.get("kind") != "field" or record.get("status") != "complete":
        return False
    if why := store.why_outdated(sample, name):
        log.warning("%s is not shown: %s", name, why)
    return not why


def _layer(sample: str, name: str) -> Layer:
    field = store.complete_field(sample, name)
    return Layer(sample, field, _kind(field, store.node_attributes(sample, name)))


def _kind(field: Field, record: dict[str, Any]) -> Kind:
    if field.phases is not None:
        return "phases"
    if field.labels and field.dtype == "uint32":
        return "numbers"
    return "values" if record.get("verb") in _COLOURED else "grey"
