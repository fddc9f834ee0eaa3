"""The resize of the official code for any box of a volume, whose declared size it depends on.

All S features along an axis are spread over 2 (S - 1) positions, so that the step between positions
is not 1/2 but S / (4 (S - 1)) in units of two features: position i lies at
(i + 1/2) S / (2 (S - 1)) - 1/2. A box is interpolated at the coordinates of the whole volume.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tim3d.grid import Box, Triple, triple
from tim3d.kernels.generation.architecture import Architecture
from tim3d.models.generation.export import Layer

# Planes of the result that are interpolated at a time.
SLAB = 8


@dataclass(frozen=True)
class Stretch:
    """The last layer of an official generator in a volume of `whole` nodes along each axis."""

    layer: Layer
    architecture: Architecture
    whole: Triple

    def apply(self, features: Tensor, first: Triple, box: Box) -> Tensor:
        """Logits of a box from the features of a window; (outputs, z, y, x).

        Parameters
        ----------
        features : tensor (1, channels, z, y, x)
            Features of the window.
        first : (z, y, x)
            Index of its first feature in the volume.
        box : Box
            Voxels to compute; voxels beyond the volume are meaningless.
        """
        slabs = range(box.start[0], box.stop[0], SLAB)
        return torch.cat([self._slab(features, first, _slab_of(box, z)) for z in slabs], dim=1)

    def _slab(self, features: Tensor, first: Triple, box: Box) -> Tensor:
        values = features
        for axis in range(3):
            places = torch.arange(box.start[axis], box.stop[axis] + 2, dtype=torch.float64)
            values = self._interpolated(values, axis, first[axis], places)
        found: Tensor = functional.conv3d(values, self.layer.weight, self.layer.bias)[0]
        return found

    def _interpolated(self, values: Tensor, axis: int, first: int, places: Tensor) -> Tensor:
        count = self.feature_edge(self.whole[axis])
        at = ((places + 0.5) * count / (2 * (count - 1)) - 0.5).clamp(0, count - 1)
        low = at.floor()
        share = (at - low).to(values.device, values.dtype)
        inside = values.shape[2 + axis] - 1
        lower, upper = (
            (n - first).long().clamp(0, inside).to(values.device)
            for n in (low, (low + 1).clamp(max=count - 1))
        )
        shape = [1] * 5
        shape[2 + axis] = -1
        below, above = values.index_select(2 + axis, lower), values.index_select(2 + axis, upper)
        return torch.lerp(below, above, share.view(shape))

    def feature_edge(self, nodes: int) -> int:
        """Features along an axis before the resize, 16 n - 30 for four layers."""
        return self.architecture.edges(nodes)[-2]


def _slab_of(box: Box, z: int) -> Box:
    return Box(triple((z, *box.start[1:])), triple((min(z + SLAB, box.stop[0]), *box.stop[1:])))
