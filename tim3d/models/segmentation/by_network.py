"""Windows and segmenter of a network, whatever its family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tim3d.errors import ArgumentError
from tim3d.grid import Triple
from tim3d.kernels.windows.lattice import Lattice
from tim3d.models.segmentation.batch import Room, room_for
from tim3d.models.segmentation.families import NetworkSpec
from tim3d.models.segmentation.memory import call_bytes
from tim3d.models.segmentation.network_segmenter import (
    PROBABILITY,
    Inference,
    NetworkSegmenter,
    lattice_of,
)
from tim3d.models.segmentation.planes_segmenter import PlanesSegmenter, lattices_across, maps_across
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
        across = lattices_across(shape, spec, how)
        called, bytes_, room = _batched(spec, predictor, how, across)
        return PlanesSegmenter(spec, called, how.planes, across, bytes_, maps_across(how), room)
    windows = windows_of(shape, spec, how)
    called, bytes_, room = _batched(spec, predictor, how, [windows])
    made = VolumeSegmenter if spec.dimensions == 3 else NetworkSegmenter
    maps = (PROBABILITY,) if how.probabilities else ()
    return made(spec, called, windows, bytes_, maps, room)


def _batched(
    spec: NetworkSpec, predictor: Predictor, how: Inference, lattices: Sequence[Lattice]
) -> tuple[Predictor, int, Room | None]:
    """Predictor with its batch, the bytes of the layers in a call, and what the batch was chosen by.

    A batch on a CPU is one window unless another number is given: more would gain little there,
    and would change the last bits.
    """
    one = max(call_bytes(spec, 1, lattice.window) for lattice in lattices)
    if how.batch is not None or predictor.device == "cpu":
        return predictor, predictor.batch * one, None
    from tim3d.models.common.gpu_memory import free_bytes  # loads torch

    free = free_bytes(predictor.device)
    room = None if free is None else room_for(free, one, lattices)
    called = predictor if room is None else replace(predictor, batch=room.batch)
    return called, called.batch * one, room


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
