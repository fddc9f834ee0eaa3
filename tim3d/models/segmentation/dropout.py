"""Dropout of whole channels in the deepest features of a network: at random in training, drawn in passes.

In a pass the channels that are dropped follow from the seed, the number of the pass and the place of
the window in the volume alone, and the whole window has the same ones. So no block shows.

References
----------
Gal, Ghahramani, Proc. ICML 48 (2016) 1050 (passes with dropout). arXiv 1506.02142
Tompson et al., CVPR (2015) 648 (dropout of channels). DOI 10.1109/CVPR.2015.7298664
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tim3d.errors import ArgumentError
from tim3d.kernels.windows.lattice import Array

if TYPE_CHECKING:
    import torch
    from torch import nn

_WORD = 0xFFFFFFFF
_drawn = threading.local()


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass with dropout.

    Parameters
    ----------
    seed, number : int
        Seed of all passes, and the number of this one.
    """

    seed: int
    number: int


def check_share(share: float) -> None:
    """Raise `ArgumentError` unless it is a share of the channels that may be dropped."""
    if not 0 <= share < 1:
        raise ArgumentError(
            f"dropout is {share:g}: a share of channels from 0 to below 1, for example 0.2"
        )


def kept(one: Pass, start: Sequence[int], channels: int, share: float) -> Array:
    """Factor of each channel of a window, float32: 0 if it is dropped, else 1 / (1 - share).

    Parameters
    ----------
    one : Pass
        The pass.
    start : (z, y, x)
        First voxel of the window in the volume; it may lie before it.
    channels : int
        Number of channels.
    share : float
        Probability that a channel is dropped.

    Examples
    --------
    >>> kept(Pass(0, 1), (0, -8, 16), 6, 0.5).tolist()
    [0.0, 2.0, 2.0, 2.0, 0.0, 2.0]
    """
    words = [one.seed, one.number, *(int(n) & _WORD for n in start)]
    draw = np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))
    factor = np.float32(1 / (1 - share))
    return np.where(draw.random(channels, np.float32) < share, np.float32(0), factor)


def attach(module: nn.Module, share: float) -> None:
    """Let a module drop channels of what it returns, or of the last of several features."""
    import torch

    from tim3d.models.common.transfer import upload

    def dropped(module: nn.Module, _: Any, made: Any) -> Any:
        features = list(made) if isinstance(made, list | tuple) else [made]
        deep = features[-1]
        if (drawn := getattr(_drawn, "of", None)) is not None:
            one, places = drawn
            rows = [kept(one, place, deep.shape[1], share) for place in places.tolist()]
            factors = upload(np.stack(rows), deep.device).to(deep.dtype)
            features[-1] = deep * factors.reshape(*deep.shape[:2], *[1] * (deep.ndim - 2))
        elif module.training:
            drop = (
                torch.nn.functional.dropout3d if deep.ndim == 5 else torch.nn.functional.dropout2d
            )
            features[-1] = drop(deep, share)
        return features if isinstance(made, list | tuple) else features[0]

    module.register_forward_hook(dropped)


@contextmanager
def passing(one: Pass | None, places: torch.Tensor | None) -> Iterator[None]:
    """Drop the channels of a pass in the calls of this thread; without one nothing is dropped.

    Parameters
    ----------
    one : Pass, optional
        The pass.
    places : tensor (n, 3), optional
        First voxels of the windows of the batch.
    """
    _drawn.of = None if one is None else (one, places)
    try:
        yield
    finally:
        _drawn.of = None
