"""Import of a network of segmentation-models-pytorch that a user trained elsewhere and describes by words."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tim3d.engine import Outline
from tim3d.errors import ArgumentError, MixedRunError
from tim3d.forecast import expect, will_exist
from tim3d.models.segmentation import checkpoint as files
from tim3d.models.segmentation.architectures import widths_of
from tim3d.models.segmentation.unet import UNetSpec
from tim3d.stages.shared.awaited import cannot_plan

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


def importing(words: Words, checkpoint: Path, weights: Path, overwrite: bool) -> ImportingSlices:
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
    return ImportingSlices(checkpoint, weights, words.spec(), mean, std, edges, overwrite)


def _edges(size: Mapping[str, float]) -> tuple[float, float, float]:
    if set(size) != set(AXES) or not min(size.values()) > 0:
        raise ArgumentError(
            f"voxel_size needs an edge above 0 along z, y and x, not {dict(size)}: --voxel-size z=10,y=5,x=5"
        )
    z, y, x = (float(size[axis]) for axis in AXES)
    return z, y, x


@dataclass(frozen=True)
class ImportingSlices:
    """A file of weights, the network that it holds, and the file to write."""

    checkpoint: Path
    weights: Path
    spec: UNetSpec
    mean: tuple[float, ...]
    std: tuple[float, ...]
    spacing_nm: tuple[float, float, float]
    overwrite: bool

    def plans(self) -> list[Outline]:
        """One line, or nothing if the file exists; later steps may rely on the model."""
        if not self.checkpoint.is_file() and will_exist(str(self.checkpoint)):
            return cannot_plan("import_network", str(self.checkpoint))
        with tempfile.TemporaryDirectory() as folder:
            made = self._made(Path(folder) / "made.safetensors")
            if self._is_there(made):
                return []
            expect("network", str(self.weights), files.describe(made))
        return [Outline("import_network", f"writes {self.weights} from {self.checkpoint}")]

    def run(self) -> Path:
        """Write the file unless it exists; the same input gives the same bytes."""
        with tempfile.TemporaryDirectory() as folder:
            made = self._made(Path(folder) / "made.safetensors")
            if self.overwrite or not self._is_there(made):
                self._made(self.weights)
        return self.weights

    def _made(self, target: Path) -> Path:
        from tim3d.models.segmentation.imported import import_network
        from tim3d.models.segmentation.network_check import check_network

        edge = 4 * self.spec.total_stride
        check_network(self.spec, (edge, edge))
        import_network(self.checkpoint, target, self.spec, self.mean, self.std, self.spacing_nm)
        return target

    def _is_there(self, made: Path) -> bool:
        if self.overwrite or not self.weights.exists():
            return False
        if not self.weights.is_file() or self.weights.read_bytes() != made.read_bytes():
            raise MixedRunError(
                f"{self.weights} holds something else. Replace it with --overwrite, or write to another file"
            )
        return True
