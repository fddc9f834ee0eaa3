"""Segmenter that was trained on strokes: a forest on features of voxels, in one file of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import CheckpointError, InputError
from tim3d.grid import Box, Triple, triple
from tim3d.kernels.image.pixel_features import RUN, TILE, FeatureSet, features_of_band, gaussians
from tim3d.kernels.statistics.forest import Forest
from tim3d.kernels.windows.lattice import Array
from tim3d.models.segmentation.checkpoint import Normalisation
from tim3d.models.segmentation.model_file import ModelFile, read_model, write_model
from tim3d.models.segmentation.network_segmenter import PROBABILITY
from tim3d.models.segmentation.segmenter import EXACT, LABELS, Map, Maps, Segmenter, opened

KIND = "strokes"


@dataclass(frozen=True)
class StrokeModel:
    """Description of a forest of strokes in its file.

    Parameters
    ----------
    classes : tuple of str
        Names of the labels 0, 1, ...
    scales : tuple of float
        Scales of the features, in the unit of the spacing.
    spacing : (dz, dy, dx)
        Edges of a voxel of the training.
    units : {"nm", "pixel"}
        Unit of both.
    planar : bool
        Whether slices are looked at one by one.
    normalisation : {"volume", "slices"}
        Grey by the mean and deviation of the volume, or of each slice.
    training : mapping
        Options, voxels painted, out-of-bag score, and digest of the data.
    """

    kind: ClassVar[str] = KIND

    classes: tuple[str, ...]
    scales: tuple[float, ...]
    spacing: tuple[float, float, float]
    units: str
    planar: bool
    normalisation: str
    training: Mapping[str, Any]

    def features(self, spacing: tuple[float, float, float]) -> FeatureSet:
        """Features of voxels of some size: scales are lengths."""
        return FeatureSet(self.scales, spacing, self.planar)


def save_forest(path: str | Path, forest: Forest, model: StrokeModel) -> str:
    """Write the file, and return its SHA-256. Nothing in it can run."""
    import torch

    tensors = {name: torch.from_numpy(np.array(v)) for name, v in forest.arrays().items()}
    about = {one.name: getattr(model, one.name) for one in fields(model)}
    return write_model(path, model.kind, tensors, about)


def model_of(file: ModelFile) -> StrokeModel:
    """Description of a file.

    Raises
    ------
    CheckpointError
        If something is missing in it.
    """
    try:
        d = dict(file.description)
        model = StrokeModel(
            tuple(map(str, d["classes"])), tuple(map(float, d["scales"])), tuple(map(float, d["spacing"])),  # type: ignore[arg-type]
            str(d["units"]), bool(d["planar"]), str(d["normalisation"]), dict(d["training"]),
        )  # fmt: skip
        if len(model.spacing) != 3 or not model.scales or min(model.scales) <= 0:
            raise ValueError("scales and voxel size are not lengths")
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{file.path} does not describe a forest of strokes: {error}"
        ) from error
    return model


def forest_in(file: ModelFile) -> Forest:
    """Forest of a file.

    Raises
    ------
    CheckpointError
        If its arrays are not a forest of the features that it names.
    """
    model, tensors = model_of(file), file.tensors()
    try:
        forest = Forest(**{f.name: tensors[f.name].numpy() for f in fields(Forest)})
        forest.check(len(model.features(model.spacing).names))
        if forest.share.shape[1] != len(model.classes):
            raise InputError("its leaves have another number of classes")
    except (KeyError, TypeError, ValueError, IndexError, InputError) as error:
        raise CheckpointError(
            f"{file.path} holds no forest that fits its description: {error}"
        ) from error
    return forest


@dataclass(frozen=True)
class StrokeForest(Segmenter):
    """Forest on features of voxels, normalised by numbers of the volume or of each slice.

    Parameters
    ----------
    path : str
        The file.
    model : StrokeModel
        Its description.
    spacing : (dz, dy, dx)
        Edges of the voxels to be segmented, in the unit of the model.
    scale : Normalisation
        Normalisation of the grey values to be segmented.
    sha256 : str
        Digest of the file.
    probabilities : bool
        Whether probabilities are a map.
    as_floats : bool
        Whether that map is `EXACT`.
    """

    path: str
    model: StrokeModel
    spacing: tuple[float, float, float]
    scale: Normalisation
    sha256: str = ""
    probabilities: bool = False
    as_floats: bool = False
    kind: ClassVar[str] = KIND
    # 2: features in float32, by lines. They differ from those of version 1 by rounding.
    version: ClassVar[int] = 2

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the classes."""
        return self.model.classes

    @property
    def maps(self) -> tuple[Map, ...]:  # type: ignore[override]
        """Probabilities, if they are wanted."""
        if self.as_floats:
            return (EXACT,)
        return (PROBABILITY,) if self.probabilities else ()

    def exact(self) -> Segmenter:
        """The same forest with probabilities in float32."""
        return replace(self, as_floats=True)

    @property
    def features(self) -> FeatureSet:
        """Features of these voxels."""
        return self.model.features(self.spacing)

    @property
    def halo(self) -> Triple:  # type: ignore[override]
        """Voxels on each side that a label depends on."""
        return self.features.reach

    def open(self) -> Any:
        """Read and check the forest."""
        return forest_in(read_model(self.path))

    def description(self) -> dict[str, Any]:
        """Kind, scales and normalisation; the digest of the file stands for the forest."""
        return {
            "kind": self.kind, "version": self.version, "scales": list(self.model.scales),
            "spacing": list(self.spacing),
            "planar": self.model.planar, "units": self.model.units, "probabilities": self.probabilities,
            "normalisation": {"how": self.scale.how, "mean": list(self.scale.mean), "std": list(self.scale.std)},
            "classes": list(self.classes),
        }  # fmt: skip

    def region(self, shape: Triple, core: Box, grey: Array, box: Box) -> Maps:
        """Labels, and probabilities, of a core from the grey values around it."""
        made = self.blank(core)
        step = 1 if self.model.planar else core.shape[0]
        for z in range(core.start[0], core.stop[0], step):
            part = Box((z, *core.start[1:]), (min(z + step, core.stop[0]), *core.stop[1:]))
            seen = self.read_box(shape, part)
            normal = normalised(grey[seen.within(box).slices], self.scale, seen.start[0])
            self._fill(made, normal, part, seen, core)
        return made

    def _fill(
        self, made: Maps, normal: NDArray[np.float32], part: Box, seen: Box, core: Box
    ) -> None:
        """Write the maps of a part, by bands of eight lines."""
        smooth, inside = gaussians(normal, self.features), part.within(core)
        depth, ny, nx = part.shape
        corner = part.within(seen).start
        for z, y, x in product(range(depth), range(0, ny, TILE), range(0, nx, RUN)):
            band = (1, min(TILE, ny - y), min(RUN, nx - x))
            first = triple(np.add(corner, (z, y, x)).tolist())
            tiles = features_of_band(normal, smooth, first, band[2], self.features)
            low = np.add(inside.start, (z, y, x)).tolist()
            self._write(made, tiles, Box(triple(low), triple(np.add(low, band).tolist())))

    def _write(self, made: Maps, tiles: NDArray[np.float32], band: Box) -> None:
        forest = cast(Forest, opened(self))
        if not (self.probabilities or self.as_floats):
            made[LABELS][band.slices] = _lines(forest.labels(tiles), band.shape)
            return
        found = forest.votes(tiles)
        made[LABELS][band.slices] = _lines(found.argmax(axis=2), band.shape)
        for code in range(len(self.classes)):
            share = _lines(found[..., code], band.shape)
            if self.as_floats:
                made[EXACT.name][(code, *band.slices)] = share
            else:
                made[PROBABILITY.name][(code, *band.slices)] = np.rint(share * 255)

    def block_bytes(self, shape: Triple, core: Triple, read: Triple, voxel_bytes: int) -> int:
        """Bytes of a block: grey values, their Gaussians, maps, and features of a band."""
        scales = len(self.model.scales) + 2
        smooth = 4 * scales * (prod(read[1:]) if self.model.planar else prod(read))
        bytes_each = 4 if self.as_floats else int(self.probabilities)
        out = 1 + bytes_each * len(self.classes)
        runs = 4 * (len(self.features.names) + 50) * (RUN + 4 * max(self.features.reach))
        band = (
            TILE
            * (min(core[2], RUN) + TILE)
            * (4 * len(self.features.names) + 24 * len(self.classes))
        )
        return 2 * voxel_bytes * prod(read) + smooth + 3 * out * prod(core) + runs + band


def _lines(tiles: NDArray[Any], shape: Triple) -> NDArray[Any]:
    """Values of the voxels of tiles (tiles, 64) as lines of an array (1, lines, width)."""
    lines = tiles.reshape(-1, TILE, TILE).swapaxes(0, 1).reshape(TILE, -1)
    return lines[None, : shape[1], : shape[2]]


def normalised(grey: Array, scale: Normalisation, first: int) -> NDArray[np.float32]:
    """Grey values less the mean, over the deviation; of slices from `first` on."""
    mean, std = scale.of_slices(range(first, first + len(grey)))
    low = np.array(mean, np.float32)[:, None, None]
    factor = (1 / np.array(std)).astype(np.float32)[:, None, None]
    return np.asarray((grey.astype(np.float32) - low) * factor)


def usual_scales(edge: float) -> tuple[float, ...]:
    """Scales of the features if none are given: 1, 2, 4, 8 and 16 edges of a pixel."""
    return tuple(float(n * edge) for n in (1, 2, 4, 8, 16))
