"""Segmenter by a three-dimensional network, and the windows of boxes that it looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tim3d.errors import ArgumentError
from tim3d.grid import Triple, triple
from tim3d.kernels.windows.lattice import (
    Lattice,
    blend_lattice,
    check_windows,
    crop_lattice,
    require_phase,
)
from tim3d.models.segmentation.network_segmenter import Inference, NetworkSegmenter
from tim3d.models.segmentation.segmenter import Segmenter
from tim3d.models.segmentation.unet_3d import UNet3DSpec

# Edge of a window by default, in voxels along the axes of the shortest edges.
EDGE = 128


@dataclass(frozen=True)
class VolumeSegmenter(NetworkSegmenter):
    """A three-dimensional U-Net on a lattice of boxes; blocks are boxes of shards too."""

    kind: ClassVar[str] = UNet3DSpec.kind
    whole_slices: ClassVar[bool] = False

    def farthest_read(self, shape: Triple) -> Triple:
        """Largest number of voxels read beyond a core along each axis, for plans."""
        return Segmenter.farthest_read(self, shape)


def boxes_of(shape: Triple, spec: UNet3DSpec, how: Inference) -> Lattice:
    """Lattice of boxes: of the requested size, or as large as suits the network.

    Along an axis that fits into one box there is no halo unless one is given: the box is the whole
    axis, mirrored at its far end up to a multiple of the network's stride.

    Raises
    ------
    ArgumentError
        If window or halo do not fit the network.
    """
    if how.window is not None and len(how.window) != 3:
        raise ArgumentError(
            f"a three-dimensional network sees boxes, not windows of {how.window}: --window z,y,x, for example "
            f"--window {','.join(map(str, scaled(EDGE, spec.strides)))}"
        )
    window = scaled(EDGE, spec.strides) if how.window is None else triple(how.window)
    halo = scaled(
        min_edge(window, spec.strides) // 8 if how.halo is None else how.halo, spec.strides
    )
    if how.halo is None:
        window, halo = fitted(shape, window, halo, spec.strides)
    check_windows(window, halo)
    if how.mode == "blend":
        lattice = blend_lattice(shape, window, triple(2 * h for h in halo))
    else:
        lattice = crop_lattice(shape, window, halo)
    require_phase(lattice, spec.strides)
    return lattice


def fitted(shape: Triple, window: Triple, halo: Triple, strides: Triple) -> tuple[Triple, Triple]:
    """Window and halo that take an axis as a whole, and without a halo, where it fits.

    >>> fitted((20, 300, 300), (64, 128, 128), (8, 16, 16), (4, 8, 8))
    ((20, 128, 128), (0, 16, 16))
    """
    whole = [-(-n // s) * s for n, s in zip(shape, strides, strict=True)]
    fits = [w <= p for w, p in zip(whole, window, strict=True)]
    return (
        triple(w if f else p for w, p, f in zip(whole, window, fits, strict=True)),
        triple(0 if f else h for h, f in zip(halo, fits, strict=True)),
    )


def scaled(pixels: int, strides: Triple) -> Triple:
    """The same length along each axis, in voxels, rounded up to the network's stride.

    Axes of longer voxels are halved less often, and the same length has fewer of them.

    >>> scaled(16, (4, 8, 8))
    (8, 16, 16)
    """
    most = max(strides)
    return triple(-(-pixels // most) * s for s in strides)


def min_edge(window: Triple, strides: Triple) -> int:
    """Shortest edge of a window, in voxels of the shortest edge.

    >>> min_edge((64, 128, 128), (4, 8, 8))
    128
    """
    most = max(strides)
    return min(p * most // s for p, s in zip(window, strides, strict=True))
