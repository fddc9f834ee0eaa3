"""Windows and segmenter of a network, whatever its family."""

from __future__ import annotations

from tim3d.grid import Triple
from tim3d.kernels.windows.lattice import Lattice
from tim3d.models.segmentation.families import NetworkSpec
from tim3d.models.segmentation.memory import call_bytes
from tim3d.models.segmentation.network_segmenter import (
    PROBABILITY,
    Inference,
    NetworkSegmenter,
    lattice_of,
)
from tim3d.models.segmentation.predictor import Predictor
from tim3d.models.segmentation.unet_3d import UNet3DSpec
from tim3d.models.segmentation.volume_segmenter import VolumeSegmenter, boxes_of


def windows_of(shape: Triple, spec: NetworkSpec, how: Inference) -> Lattice:
    """Lattice of the windows of a network over a volume: slices, windows of slices, or boxes.

    Raises
    ------
    ArgumentError
        If window or halo do not fit the network.
    """
    if isinstance(spec, UNet3DSpec):
        return boxes_of(shape, spec, how)
    return lattice_of(shape, spec, how)


def network_segmenter(
    spec: NetworkSpec, predictor: Predictor, windows: Lattice, probabilities: bool
) -> NetworkSegmenter:
    """Return a network on its windows, with the memory that its layers need."""
    made = VolumeSegmenter if spec.dimensions == 3 else NetworkSegmenter
    needs = call_bytes(spec, predictor.batch, windows.window)
    return made(spec, predictor, windows, needs, (PROBABILITY,) if probabilities else ())
