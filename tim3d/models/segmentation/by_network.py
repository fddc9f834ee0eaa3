"""Windows and segmenter of a network, whatever its family."""

from __future__ import annotations

from functools import partial

from tim3d.errors import ArgumentError
from tim3d.grid import Triple
from tim3d.kernels.windows.lattice import Lattice
from tim3d.models.segmentation.families import NetworkSpec
from tim3d.models.segmentation.memory import activation_bytes, call_bytes
from tim3d.models.segmentation.network_segmenter import (
    PROBABILITY,
    Inference,
    NetworkSegmenter,
    lattice_of,
)
from tim3d.models.segmentation.planes_segmenter import planes_segmenter
from tim3d.models.segmentation.predictor import Predictor
from tim3d.models.segmentation.segmenter import Segmenter
from tim3d.models.segmentation.unet_3d import UNet3DSpec
from tim3d.models.segmentation.volume_segmenter import VolumeSegmenter, boxes_of


def network_segmenter(
    shape: Triple, spec: NetworkSpec, predictor: Predictor, how: Inference
) -> Segmenter:
    """Return the segmenter of a network over a volume, with the memory that its layers need.

    Parameters
    ----------
    shape : (z, y, x)
        Voxels of the volume.
    spec : UNetSpec or UNet3DSpec
        The network.
    predictor : Predictor
        Its file, device and normalisation.
    how : Inference
        Windows, planes and maps.

    Raises
    ------
    ArgumentError
        If window, halo or planes do not fit the network.
    """
    if how.planes != ("z",):
        if isinstance(spec, UNet3DSpec):
            raise ArgumentError(
                "--planes changes nothing with a network of volumes, which looks along every axis: leave it out"
            )
        needs = partial(activation_bytes, spec, predictor.batch)
        return planes_segmenter(shape, spec, predictor, how, needs)
    windows = windows_of(shape, spec, how)
    bytes_ = call_bytes(spec, predictor.batch, windows.window)
    made = VolumeSegmenter if spec.dimensions == 3 else NetworkSegmenter
    return made(spec, predictor, windows, bytes_, (PROBABILITY,) if how.probabilities else ())


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
