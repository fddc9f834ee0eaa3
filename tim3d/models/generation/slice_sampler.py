"""Input of critics: random crops of micrographs, and slices of volumes in three directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tim3d.errors import InputError
from tim3d.grid import Triple
from tim3d.kernels.generation.architecture import Architecture
from tim3d.models.common.digest import arrays_sha256
from tim3d.models.common.transfer import upload

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Views:
    """Images of the planes normal to z, y and x, or one image of an isotropic material.

    Parameters
    ----------
    images : tuple of array (channels, rows, columns), uint8
        255 stands for 1. Labels have one channel for each phase, 255 where it is; grey values and
        colours are unchanged. Rows and columns are (y, x), (z, x) and (z, y).

    Raises
    ------
    InputError
        If the number of images is neither one nor three, or they differ in shape.
    """

    images: tuple[Array, ...]

    def __post_init__(self) -> None:
        shapes = {image.shape for image in self.images}
        if len(self.images) not in (1, 3) or len(shapes) != 1:
            raise InputError(
                f"{len(self.images)} images of shapes {sorted(shapes)}; training takes one, or three of one shape for "
                "the planes normal to z, y and x. Cut them to the same size"
            )

    @property
    def isotropic(self) -> bool:
        """Whether one image represents all directions."""
        return len(self.images) == 1

    @property
    def channels(self) -> int:
        """Number of channels of every image."""
        return int(self.images[0].shape[0])

    def crops(self, view: int, edge: int, count: int, rng: np.random.Generator) -> Tensor:
        """Random squares of an image, float32 (count, channels, edge, edge) from 0 to 1.

        Rotated by multiples of 90 degrees and mirrored at random if the material is isotropic.

        Examples
        --------
        >>> views = Views((np.zeros((2, 40, 40), np.uint8),))
        >>> views.crops(0, 32, 5, np.random.default_rng(0)).shape
        torch.Size([5, 2, 32, 32])
        """
        image = self.images[view]
        rows, columns = (rng.integers(n - edge + 1, size=count) for n in image.shape[1:])
        turns = rng.integers(8, size=count) if self.isotropic else np.zeros(count, np.int64)
        squares = [
            _turned(image[:, y : y + edge, x : x + edge], int(turn))
            for y, x, turn in zip(rows, columns, turns, strict=True)
        ]
        return torch.from_numpy(np.stack(squares)).float() / 255

    def sha256(self) -> str:
        """Hash of all images of the training."""
        return arrays_sha256(self.images)


def one_hot(labels: Array, codes: tuple[int, ...]) -> Array:
    """Channels (codes, rows, columns), uint8: 255 where the label is the code.

    >>> one_hot(np.array([[0, 7]]), (0, 7)).tolist()
    [[[255, 0]], [[0, 255]]]
    """
    return np.stack([np.where(labels == code, 255, 0).astype(np.uint8) for code in codes])


def every_slice(volumes: Tensor, axis: int) -> Tensor:
    """All slices across an axis of volumes (batch, channels, z, y, x).

    The result has shape (batch * n, channels, rows, columns).
    """
    return volumes.movedim(2 + axis, 1).flatten(0, 1)


def random_slices(volumes: Tensor, axis: int, count: int, rng: np.random.Generator) -> Tensor:
    """Random slices of `every_slice`, each at most once: (count, channels, rows, columns)."""
    stacks = volumes.movedim(2 + axis, 1)
    chosen = rng.choice(stacks.shape[0] * stacks.shape[1], count, replace=False)
    batch, place = (upload(part, volumes.device) for part in np.divmod(chosen, stacks.shape[1]))
    return stacks[batch, place]


def noise(
    architecture: Architecture, batch: int, nodes: Triple, rng: np.random.Generator
) -> Tensor:
    """Latent noise (batch, latent, *nodes), float32 standard normal: the same on every device."""
    return torch.from_numpy(rng.standard_normal((batch, architecture.latent, *nodes), np.float32))


def _turned(square: Array, turn: int) -> Array:
    """One of the eight symmetries of a square."""
    turned = np.rot90(square, turn % 4, (1, 2))
    return np.flip(turned, 2) if turn >= 4 else turned
