"""Import of a network of segmentation-models-pytorch that a user trained elsewhere and describes by words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tim3d.errors import ArgumentError
from tim3d.models.segmentation import checkpoint as files
from tim3d.models.segmentation.architectures import widths_of
from tim3d.models.segmentation.unet import UNetSpec
from tim3d.stages.shared.importing import Import

AXES = ("z", "y", "x")


@dataclass(frozen=True)
class Words:
    """Description of a network that its file of weights does not hold."""

    classes: Sequence[str] | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    voxel_size: Mapping[str, float] | None = None
    architecture: str = "Unet"
    encoder: str = "resnet34"
    depth: int = 5
    decoder_channels: Sequence[int] | None = None
    context: int = 0

    def spec(self) -> UNetSpec:
        """The network of these words."""
        given = tuple(self.decoder_channels) if self.decoder_channels else None
        takes = bool(widths_of(self.architecture, self.depth))
        usual = tuple(16 * 2**n for n in reversed(range(self.depth))) if takes else None
        widths = widths_of(self.architecture, self.depth, given or usual)
        return UNetSpec(
            tuple(self.classes or ()),
            self.architecture,
            self.encoder,
            self.depth,
            widths,
            2 * self.context + 1,
        )


def importing(words: Words, checkpoint: Path, weights: Path, overwrite: bool) -> Import:
    """The import that the words describe.

    Raises
    ------
    ArgumentError
        If words lack or fit no network.
    """
    lacking = [
        f"--{name.replace('_', '-')}"
        for name in ("classes", "mean", "std", "voxel_size")
        if not getattr(words, name)
    ]
    if lacking:
        raise ArgumentError(
            f"a network of segmentation-models-pytorch needs {', '.join(lacking)} too: its file does not say them"
        )
    mean, std = (tuple(map(float, getattr(words, name))) for name in ("mean", "std"))
    edges = _edges(words.voxel_size or {})
    spec = words.spec()

    def make(target: Path) -> None:
        from tim3d.models.segmentation.imported import import_network
        from tim3d.models.segmentation.network_check import check_network

        edge = 4 * spec.total_stride
        check_network(spec, (edge, edge))
        import_network(checkpoint, target, spec, mean, std, edges)

    return Import("import_network", "network", checkpoint, weights, overwrite, make, files.describe)


def _edges(size: Mapping[str, float]) -> tuple[float, float, float]:
    if set(size) != set(AXES) or not all(0 < edge < math.inf for edge in size.values()):
        raise ArgumentError(
            f"a voxel has an edge above 0 along z, y and x, not {dict(size)}: --voxel-size z=10,y=5,x=5"
        )
    z, y, x = (float(size[axis]) for axis in AXES)
    return z, y, x
