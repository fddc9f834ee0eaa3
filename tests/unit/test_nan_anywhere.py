"""A number that is none is refused at every place of a tuple, though the least of (1, nan) is 1 in Python."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tim3d.errors import ArgumentError
from tim3d.generators import GaussianField as Gaussian
from tim3d.generators import Grains, Packed, RoughSurface, Spinodal
from tim3d.kernels.image.background import check_background
from tim3d.kernels.image.curtain import check_stripes
from tim3d.models.segmentation.checkpoint import Normalisation

TAKES: dict[str, tuple[int, Callable[[Any], Any]]] = {
    "orientation": (3, lambda v: Grains((5.0,), (1.0,), 1.0, v)),
    "diameters": (3, lambda v: Grains(v, (1.0, 1.0, 1.0))),
    "shares": (3, lambda v: Grains((5.0, 6.0, 7.0), v)),
    "correlation": (3, lambda v: Gaussian(v, (1.0, 1.0, 1.0), 0)),
    "edges of a field": (3, lambda v: Gaussian((4.0, 4.0, 4.0), v, 0)),
    "cell of a packing": (
        3,
        lambda v: Packed(Grains((1.0,), (1.0,)), 0.3, (1.0,) * 3, 0, tuple(32 * x for x in v)),
    ),
    "wavelength": (
        3,
        lambda v: Spinodal((0.5, 0.5), tuple(20 * x for x in v), (1.0,) * 3, 0, (64, 64, 64)),
    ),
    "edges of a surface": (2, lambda v: RoughSurface(1.0, 0.8, 20.0, 5.0, v, (64, 64), 0)),
    "background": (2, lambda v: check_background(tuple(9 * x for x in v), 2, "subtract", 1)),
    "stripes": (2, lambda v: check_stripes(9 * v[0], 9 * v[1], 0)),
    "deviations": (2, lambda v: Normalisation("table", (0.0, 0.0), v)),
}


@pytest.mark.parametrize("name", TAKES)
def test_nan_and_infinity_are_refused_at_every_place(name: str) -> None:
    places, take = TAKES[name]
    take((1.0,) * places)
    for place in range(places):
        for bad in (math.nan, math.inf, -1.0):
            with pytest.raises(ArgumentError):
                take((*(1.0,) * place, bad, *(1.0,) * (places - place - 1)))


def test_scales_of_strokes_are_ascending_numbers(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for number in range(3):
            values = np.arange(256, dtype=np.uint8).reshape(16, 16)
            np.save(
                tmp_path / folder / f"{number}.npy", values if folder == "images" else values % 3
            )
    for scales in ((1.0, math.nan, 4.0), (1.0, math.inf), (math.nan,)):
        with pytest.raises(ArgumentError, match="not ascending numbers"):
            tim3d.train_strokes_images(
                tmp_path / "images", tmp_path / "masks", tmp_path / "m.safetensors", scales=scales,
                phases=tim3d.Phases(unlabelled=0, pore=1, solid=2),
            )  # fmt: skip
