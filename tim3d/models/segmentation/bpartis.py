"""Particles of SEM and TEM images by BPartIS: instances, and the uncertainty of its dropout.

The weights are those that the package imagedataextractor ships (MIT licence). Image and embeddings
are in pixels: an image is not squeezed to 512 x 512, an offset reaches 511 pixels of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError, CheckpointError, InputError
from tim3d.grid import Box, Triple
from tim3d.kernels.morphology.embeddings import binary_entropy, instances_of, mutual_information
from tim3d.kernels.windows.lattice import Array
from tim3d.models.common.weights import check_planned
from tim3d.models.segmentation.model_file import ModelFile, read_model, write_model
from tim3d.models.segmentation.segmenter import LABELS, Map, Maps, Segmenter

if TYPE_CHECKING:
    from torch import Tensor

    from tim3d.models.segmentation.branched_erfnet import BranchedErfnet

KIND = "bpartis"
CLASSES = ("matrix", "particle")
# The edge in pixels of the images of the training, less one: the unit of offsets and spreads.
UNIT = 511.0
# Factor of the logarithm of the spread, in the training.
SPREAD = 10.0
STRIDE = 8
# Bytes for each pixel of a window: all layers of one pass, and what is added up over the passes.
PIXEL_BYTES = 900.0
# Digest of seg-model.pt of imagedataextractor 2.0.4, and its licence.
PUBLISHED = "02b8224a95dc0e9b02c83200a7375e733abd91ac67a332bf887d3b2e00a85585"
LICENCE = "MIT, Batuhan Yildirim; from imagedataextractor"


@dataclass(frozen=True)
class BPartIS(Segmenter):
    """Instances of particles in slices, and where passes with dropout disagree.

    Parameters
    ----------
    path, sha256 : str
        Model file written by ``tim3d import-network``, and its digest.
    window : (z, y, x)
        Voxels of a window: one slice, its edges multiples of 8.
    halo : (z, y, x)
        Border of a window that is discarded, where the objects of two windows are compared.
    passes : int
        Passes with dropout; 0 is one pass without, and no uncertainty.
    seed : int
        Seed of the dropout. What a window drops follows from it, from the place of the window and
        the number of the pass.
    least : int
        Least number of pixels of a particle.
    device : str
        Where the network is called: cpu, cuda or cuda:1.
    """

    path: str
    sha256: str
    window: Triple
    halo: Triple = (0, 0, 0)
    passes: int = 8
    seed: int = 0
    least: int = 128
    device: str = "cpu"
    kind: ClassVar[str] = KIND
    classes = CLASSES
    total_stride = (1, STRIDE, STRIDE)
    working_bytes = PIXEL_BYTES
    needs_torch: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.passes < 0 or self.seed < 0 or self.least < 1 or self.window[0] != 1:
            raise ArgumentError(
                f"BPartIS with {self.passes} passes, seed {self.seed}, particles of {self.least} pixels and windows of "
                f"{self.window}: no negative passes or seed, a pixel at least, and windows one slice thick"
            )

    @property
    def maps(self) -> tuple[Map, ...]:  # type: ignore[override]
        """Numbers of particles, and with passes the mutual information of the seed values."""
        numbers = Map("particles", "number of the particle", dtype="uint32", joined="objects")
        doubt = Map(
            "mutual_information", "mutual information of particle or not and the weights", "nat"
        )
        return (numbers, doubt) if self.passes else (numbers,)

    @property
    def whole_slices(self) -> bool:  # type: ignore[override]
        """Whether a window is a whole slice."""
        return self.halo == (0, 0, 0)

    def description(self) -> dict[str, Any]:
        """All that determines the output; the file by its digest, not by its path."""
        every = super().description()
        return {name: value for name, value in every.items() if name != "path"}

    def open(self) -> Callable[..., Maps]:
        """Load the network onto its device."""
        file = read_model(self.path)
        check_planned(self.path, file.sha256, self.sha256)
        return Opened(self, network_of(file).to(self.device))


@dataclass(frozen=True)
class Opened:
    """The loaded network, called window by window."""

    how: BPartIS
    network: BranchedErfnet

    def __call__(self, grey: Array, place: Box) -> Maps:
        """Labels, numbers and mutual information of a window."""
        values, doubt = self.raw(in_unit_range(grey[0]), place)
        numbers = numbers_in(values, self.how.least)[None]
        found: dict[str, Array] = {LABELS: (numbers > 0).astype(np.uint8), "particles": numbers}
        return found | ({"mutual_information": doubt[None]} if self.how.passes else {})

    def raw(self, image: Array, place: Box) -> tuple[Array, Array]:
        """Mean output of the passes (5, y, x), and the mutual information of the seed values."""
        import torch

        from tim3d.models.common.determinism import set_threads

        set_threads(1)  # sums of more threads round otherwise
        tensor = torch.from_numpy(np.broadcast_to(image, (1, 3, *image.shape)).copy())
        count = max(1, self.how.passes)
        total = np.zeros((5, *image.shape), np.float32)
        share, entropy = np.zeros((2, *image.shape), np.float32)
        with torch.inference_mode():
            for number in range(count):
                self.network.drop(self._draws(place, number) if self.how.passes else None)
                found = self.network(tensor.to(self.how.device))[0].cpu().numpy()
                seeds = _sigmoid(found[4])
                total += found
                share += seeds
                entropy += binary_entropy(seeds)
        n = np.float32(count)
        return total / n, mutual_information(share / n, entropy / n)

    def _draws(self, place: Box, number: int) -> list[Tensor]:
        """Uniform numbers of the channels of each block with dropout, by window and pass alone."""
        import torch

        words = [self.how.seed, number, *(int(n) & 0xFFFFFFFF for n in place.start)]
        draw = np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))
        sizes = [block.bn2.num_features for block in self.network.dropping()]
        draws = [torch.from_numpy(draw.random(size, np.float32)) for size in sizes]
        return [one.to(self.how.device) for one in draws]


def numbers_in(values: Array, least: int) -> NDArray[np.uint32]:
    """Numbers of the particles of an image from the output of the network (5, y, x)."""
    y, x = np.indices(values.shape[1:], np.float32)
    middle = np.stack(
        [y + np.float32(UNIT) * np.tanh(values[1]), x + np.float32(UNIT) * np.tanh(values[0])]
    )
    spread = np.exp(np.float64(SPREAD) * values[[3, 2]]).astype(np.float32) / np.float32(UNIT**2)
    return instances_of(_sigmoid(values[4]), middle, spread, least)


def in_unit_range(grey: Array) -> Array:
    """Grey values as shares of the range of their type.

    >>> in_unit_range(np.array([0, 255], np.uint8)).tolist()
    [0.0, 1.0]
    """
    if grey.dtype.kind != "u":
        raise InputError(
            f"BPartIS takes images of uint8 or uint16, and this one is {grey.dtype}: its black and white are not known"
        )
    return grey.astype(np.float32) / np.float32(np.iinfo(grey.dtype).max)


def _sigmoid(values: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-values.astype(np.float64))), np.float32)


@dataclass(frozen=True, eq=False)
class Published:
    """Weights of BPartIS in the file of another program.

    Parameters
    ----------
    tensors : mapping of str to torch.Tensor
        By name.
    source, sha256 : str
        Name and digest of the file.
    """

    tensors: Mapping[str, Tensor]
    source: str
    sha256: str
    kind: ClassVar[str] = KIND

    @property
    def title(self) -> str:
        """The network in words."""
        count = sum(one.numel() for one in self.tensors.values())
        which = "as published" if self.sha256 == PUBLISHED else "not the published ones"
        return (
            f"BPartIS, particles of SEM and TEM images, {count / 1e6:.1f} million weights, {which}"
        )

    def description(self) -> dict[str, Any]:
        """Description that is written beside the weights."""
        source = {"file": self.source, "sha256": self.sha256}
        licence = LICENCE if self.sha256 == PUBLISHED else "unknown"
        return {"classes": list(CLASSES), "licence": licence, "source": source}

    def write(self, path: str | Path) -> str:
        """Write the model file, and return its SHA-256."""
        tensors = {name: one.contiguous() for name, one in self.tensors.items()}
        return write_model(path, KIND, tensors, self.description())


def is_bpartis(tensors: Mapping[str, Tensor], source: str) -> bool:
    """Whether weights are those of BPartIS.

    Raises
    ------
    CheckpointError
        If most of the names are, and not all names and shapes.
    """
    if 2 * len(set(tensors) & set(_shapes())) <= len(tensors):
        return False
    refuse_other_weights(tensors, source)
    return True


def refuse_other_weights(tensors: Mapping[str, Any], source: str) -> None:
    """Raise `CheckpointError` unless names and shapes are those of BPartIS."""
    known = _shapes()
    odd = [name for name in tensors if name not in known]
    odd += [f"{name} (missing)" for name in known if name not in tensors]
    odd += [n for n in known if n in tensors and tuple(tensors[n].shape) != known[n]]
    if odd:
        raise CheckpointError(
            f"{source} has {len(tensors)} weights and BPartIS {len(known)}; {len(odd)} do not fit, the first of them "
            f"{', '.join(odd[:3])}"
        )


def _shapes() -> dict[str, tuple[int, ...]]:
    import torch

    from tim3d.models.segmentation.branched_erfnet import BranchedErfnet

    with torch.device("meta"):
        return {name: tuple(one.shape) for name, one in BranchedErfnet().state_dict().items()}


def network_of(file: ModelFile) -> BranchedErfnet:
    """The network of a model file, ready to be called."""
    import torch

    from tim3d.models.segmentation.branched_erfnet import BranchedErfnet

    tensors = file.tensors()
    refuse_other_weights(tensors, file.path)
    with torch.device("meta"):
        network = BranchedErfnet()
    network.load_state_dict(tensors, strict=True, assign=True)
    return network.eval()


def window_of(shape: Triple, window: tuple[int, int] | None) -> Triple:
    """Voxels of a window: the given ones, or those of a whole slice up to a multiple of 8.

    >>> window_of((3, 250, 256), None)
    (1, 256, 256)
    """
    y, x = window or (-(-n // STRIDE) * STRIDE for n in shape[1:])
    return (1, y, x)
