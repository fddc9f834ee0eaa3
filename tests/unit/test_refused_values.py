"""What a function or a value takes at its limits, and what it refuses beyond them, each with its words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tim3d
from tim3d.errors import Tim3dError
from tim3d.kernels.generation.plane_wave_field import LevelCut
from tim3d.kernels.generation.spectral_field import SpectralField
from tim3d.kernels.generation.thermal_interface import Delamination
from tim3d.kernels.image.background import background
from tim3d.kernels.image.curtain import stripes, variational_stripes, wavelet_stripes
from tim3d.kernels.image.fibsem_simulation import SimulatedStack
from tim3d.kernels.image.foreshortening import check_interpolation
from tim3d.kernels.image.imaging_model import Imaging
from tim3d.kernels.image.superpixels import superpixels
from tim3d.kernels.image.threshold import classify, otsu, second_derivative_peak
from tim3d.kernels.image.total_variation import total_variation
from tim3d.kernels.morphology.voxel_configurations import configuration_histogram
from tim3d.kernels.statistics.metrics import confusion, of_all
from tim3d.kernels.windows.lattice import Lattice
from tim3d.phantoms import Ball, Balls, HalfSpace
from tim3d.sources.collection import partner, partner_there
from tim3d.storage.schema import Field

GREY = np.random.default_rng(0).integers(0, 200, (12, 16)).astype(np.float32)
STACK = GREY[None].astype(np.uint8)
CELL = np.zeros((2, 2, 2), np.uint8)
TEN = (10.0, 10.0, 10.0)
LEVELS = {"pore": 60.0, "solid": 160.0}


def found_stripes(grey: Any) -> Any:
    return wavelet_stripes(grey, 2, 8)


def confused(truth: Any, predicted: Any) -> Any:
    return confusion(np.asarray(truth), np.asarray(predicted), classes=2)


PEAK = np.exp(-((np.arange(40.0) - 12) ** 2) / 20)
# What is called, arguments that are at a limit and taken, those beyond, and the words of the refusal.
Row = tuple[Callable[..., Any], dict[str, Any], dict[str, Any], str]
ROWS: list[Row] = [
    (background, {"grey": GREY, "scale": (1.0, 1.0)}, {"scale": (0.99, 4.0)}, "1 pixel or more"),
    (background, {"grey": GREY, "scale": (4.0, 1.0)}, {"scale": (4.0, 0.99)}, "1 pixel or more"),
    (
        background,
        {"grey": GREY, "scale": (4.0, 4.0), "rounds": 1},
        {"rounds": 0},
        "1 round or more",
    ),
    (background, {"grey": GREY, "scale": (4.0, 4.0)}, {"removal": "add"}, "removal must be one of"),
    (
        stripes,
        {"grey": GREY, "estimate": found_stripes, "rounds": 1},
        {"rounds": 0},
        "1 round or more",
    ),
    (stripes, {"grey": GREY, "estimate": found_stripes, "phases": 1}, {"phases": 0}, "phases"),
    (
        wavelet_stripes,
        {"grey": GREY, "width": 1, "length": 1},
        {"width": 0.9},
        "width and length >= 1",
    ),
    (
        wavelet_stripes,
        {"grey": GREY, "width": 1, "length": 1},
        {"length": 0.9},
        "width and length >= 1",
    ),
    (
        wavelet_stripes,
        {"grey": GREY, "width": 2, "length": 8, "along": 1},
        {"along": 2},
        "lie along axis 0",
    ),
    (
        wavelet_stripes,
        {"grey": GREY, "width": 2, "length": 8, "along": 0},
        {"along": -1},
        "lie along axis 0",
    ),
    (
        wavelet_stripes,
        {"grey": GREY, "width": 2, "length": 8},
        {"wavelet": "db"},
        "'db' is unknown",
    ),
    (
        variational_stripes,
        {"grey": GREY, "width": 2, "length": 8, "iterations": 1},
        {"iterations": 0},
        "iterations >= 1",
    ),
    (
        variational_stripes,
        {"grey": GREY, "width": 2, "length": 8, "strength": 1e-9},
        {"strength": 0.0},
        "strength > 0",
    ),
    (
        variational_stripes,
        {"grey": GREY, "width": 1, "length": 1},
        {"width": 0.9},
        "width and length >= 1",
    ),
    (
        total_variation,
        {"grey": STACK, "weight": 0.0, "iterations": 1},
        {"weight": -1e-9},
        "weight >= 0",
    ),
    (
        total_variation,
        {"grey": STACK, "weight": 0.0, "iterations": 1},
        {"iterations": 0},
        "iterations >= 1",
    ),
    (
        total_variation,
        {"grey": STACK, "weight": 0.0, "iterations": 1},
        {"weight": np.inf},
        "weight >= 0",
    ),
    (
        check_interpolation,
        {"interpolation": "cubic"},
        {"interpolation": "nearest"},
        "interpolation must be one of",
    ),
    (
        superpixels,
        {"grey_slice": GREY, "size": 1.0, "compactness": 1e-9},
        {"size": 0.9},
        "size >= 1",
    ),
    (
        superpixels,
        {"grey_slice": GREY, "size": 4.0, "compactness": 1e-9},
        {"compactness": 0.0},
        "compactness > 0",
    ),
    (
        superpixels,
        {"grey_slice": GREY, "size": 4.0, "compactness": 0.1},
        {"grey_slice": STACK},
        "one slice",
    ),
    (
        classify,
        {"grey": STACK, "thresholds": [5.0, 5.0]},
        {"thresholds": [5.0, 4.9]},
        "must ascend",
    ),
    (otsu, {"counts": [1, 0, 1], "centres": [0, 1, 2]}, {"centres": [0, 1]}, "as many counts"),
    (otsu, {"counts": [1, 0, 1], "centres": [0, 1, 2]}, {"centres": [0, 1, 1]}, "must ascend"),
    (otsu, {"counts": [1, 0, 1], "centres": [0, 1, 2]}, {"counts": [1, -1, 1]}, "counts >= 0"),
    (otsu, {"counts": [1, 0, 1], "centres": [0, 1, 2]}, {"counts": [1, np.nan, 1]}, "counts >= 0"),
    (
        otsu,
        {"counts": [1, 0, 1], "centres": [0, 1, 2]},
        {"counts": [0, 0, 0]},
        "no voxel was counted",
    ),
    (
        second_derivative_peak,
        {"counts": PEAK + PEAK[::-1], "centres": np.arange(40.0)},
        {"centres": np.arange(40.0) ** 1.1},
        "must be equidistant",
    ),
    (
        configuration_histogram,
        {"labels": CELL, "codes": [0], "boundary": "inside"},
        {"labels": CELL[:1]},
        "no corner inside",
    ),
    (
        configuration_histogram,
        {"labels": CELL, "codes": [0], "boundary": "inside"},
        {"labels": CELL[:, :, :1]},
        "no corner inside",
    ),
    (
        configuration_histogram,
        {"labels": CELL[:1], "codes": [0]},
        {"boundary": "outside"},
        "use one of",
    ),
    (confused, {"truth": [0, 1], "predicted": [1, 1]}, {"predicted": [1]}, "must be equal"),
    (confused, {"truth": [0, 1], "predicted": [1, 1]}, {"predicted": [1, 2]}, "2"),
    (confused, {"truth": [0, 1], "predicted": [1, 1]}, {"truth": [-1, 1]}, "-1"),
    (
        confused,
        {"truth": [0, 1], "predicted": [1, 1]},
        {"truth": [0.0, 1.0]},
        "must be whole numbers",
    ),
    (
        confused,
        {"truth": [0, 1], "predicted": [1, 1]},
        {"predicted": [0.0, 1.0]},
        "must be whole numbers",
    ),
    (of_all, {"matrices": np.eye(2)}, {"matrices": np.ones((2, 3))}, "is square"),
    (
        Lattice,
        {"shape": (1, 4, 4), "window": (1, 4, 4), "stride": (1, 4, 4)},
        {"shape": (0, 4, 4)},
        "positive edges",
    ),
    (
        Lattice,
        {"shape": (1, 4, 4), "window": (1, 4, 4), "stride": (1, 4, 4)},
        {"offset": (0, 0, -1)},
        "no negative offset",
    ),
    (
        Lattice,
        {"shape": (1, 4, 4), "window": (1, 4, 4), "stride": (1, 4, 4)},
        {"context": -1},
        "no negative offset",
    ),
    (
        Lattice,
        {"shape": (1, 4, 4), "window": (1, 4, 4), "stride": (1, 4, 4)},
        {"stride": (1, 0, 4)},
        "positive edges",
    ),
    (
        Lattice,
        {"shape": (2, 8, 8), "window": (1, 4, 4), "stride": (1, 4, 4)},
        {"stride": (1, 4, 5)},
        "leave gaps",
    ),
    (
        Lattice,
        {"shape": (2, 8, 8), "window": (1, 4, 4), "stride": (1, 4, 4)},
        {"stride": (1, 3, 4)},
        "crop mode has no overlap",
    ),
    (Ball, {"centre": TEN, "radius": 1e-9}, {"radius": 0.0}, "must be positive"),
    (
        HalfSpace,
        {"normal": (0.0, 0.0, 1e-9), "offset": 1.0},
        {"normal": (0.0, 0.0, 0.0)},
        "positive length",
    ),
    (
        Balls.random,
        {"count": 1, "radius": 2.0, "extent": (4.0, 4.0, 4.0), "seed": 0},
        {"count": 2},
        "only 1 of 2 balls",
    ),
    (
        Balls.random,
        {"count": 1, "radius": 2.0, "extent": (4.0, 4.0, 4.0), "seed": 0},
        {"radius": 2.01},
        "does not fit",
    ),
    (tim3d.Phases, {"pore": 0, "solid": 255}, {"solid": 256}, "codes are 0 to 255"),
    (tim3d.Phases, {"pore": 0, "solid": 255}, {"pore": -1}, "codes are 0 to 255"),
    (tim3d.Phases, {"pore": 0, "solid": 255}, {"pore": 1.0}, "whole numbers"),
    (tim3d.Phases, {"pore": 0, "solid": 255}, {"pore": True}, "whole numbers"),
    (tim3d.Phases.parse, {"text": "a=0,b=1"}, {"text": "a=0,a=1"}, "named twice"),
    (tim3d.Phases.parse, {"text": "a=0,b=1"}, {"text": "a=0,b=-1"}, "not of the form"),
    (tim3d.Phases.parse, {"text": "a=0,b=1"}, {"text": "a=0,b c=1"}, "is not a word"),
    (
        Imaging,
        {"levels": LEVELS, "through": "pore", "shine": 0.5, "decay_nm": 10.0},
        {"through": "void"},
        "is not a phase",
    ),
    (
        Imaging,
        {"levels": {"pore": 0.0, "solid": 255.0}},
        {"levels": {"pore": 0.0, "solid": 255.1}},
        "must lie between",
    ),
    (
        Imaging,
        {"levels": {"pore": 0.0, "solid": 255.0}},
        {"levels": {"pore": -0.1, "solid": 5.0}},
        "must lie between",
    ),
    (
        Imaging,
        {"levels": LEVELS},
        {"levels": {"pore": 60.0, "solid": 60.0}},
        "need different levels",
    ),
    (Imaging, {"levels": LEVELS}, {"levels": {"pore": 60.0}}, "need different levels"),
    (
        SimulatedStack,
        {"shape": (1, 8, 8), "spacing_nm": TEN, "structure": LevelCut(0.4, 50.0, 0)},
        {"shape": (0, 8, 8)},
        "positive sizes",
    ),
    (
        SpectralField,
        {"distances_nm": (0.0, 10.0), "correlation": (1.0, 0.5), "spacing_nm": TEN, "seed": 0},
        {"distances_nm": (1.0, 10.0)},
        "begin at 0 and rise",
    ),
    (
        SpectralField,
        {"distances_nm": (0.0, 10.0), "correlation": (1.0, 0.5), "spacing_nm": TEN, "seed": 0},
        {"distances_nm": (0.0, 0.0)},
        "begin at 0 and rise",
    ),
    (
        Delamination,
        {"below": 0.1, "patch_nm": 4.0, "gap_nm": 2.0},
        {"below": 0.0},
        "nothing is delaminated",
    ),
    (
        Delamination,
        {"above": 0.1, "patch_nm": 4.0, "gap_nm": 2.0},
        {"above": 0.0},
        "nothing is delaminated",
    ),
    (
        Delamination,
        {"below": 0.1, "patch_nm": 4.0, "gap_nm": 2.0},
        {"below": 1.0},
        r"lies in \[0, 1\)",
    ),
    (Delamination, {"below": 0.1, "patch_nm": 4.0, "gap_nm": 2.0}, {"gap_nm": 0.0}, "above 0"),
    (Delamination, {"below": 0.1, "patch_nm": 4.0, "gap_nm": 2.0}, {"patch_nm": np.inf}, "above 0"),
    (partner, {"rule": "{name}_mask", "name": "a"}, {"rule": "mask"}, r"must hold \{name\} once"),
    (
        partner,
        {"rule": "{name}_mask", "name": "a"},
        {"rule": "{name}_{name}"},
        r"must hold \{name\} once",
    ),
    (
        partner,
        {"rule": "{name}_mask", "name": "a"},
        {"rule": "x/{name}"},
        r"must hold \{name\} once",
    ),
    (partner_there, {"rule": "t_{number}", "name": "a1"}, {"rule": "t"}, r"or \{number\} once"),
    (
        partner_there,
        {"rule": "t_{number}", "name": "a1"},
        {"rule": "{name}_{number}"},
        r"or \{number\} once",
    ),
    (
        partner_there,
        {"rule": "t_{number}", "name": "a1"},
        {"rule": "t/{number}"},
        r"or \{number\} once",
    ),
    (
        Field,
        {
            "name": "raw",
            "shape": (4, 4, 4),
            "dtype": "uint8",
            "spacing_nm": TEN,
            "chunk": (4, 4, 4),
            "shard": (4, 4, 4),
        },
        {"dtype": "int64"},
        "tim3d stores",
    ),
    (
        Field,
        {
            "name": "a" * 128,
            "shape": (4, 4, 4),
            "dtype": "uint8",
            "spacing_nm": TEN,
            "chunk": (4, 4, 4),
            "shard": (4, 4, 4),
        },
        {"name": "a" * 129},
        "cannot be called",
    ),
    (
        Field,
        {
            "name": "_a",
            "shape": (4, 4, 4),
            "dtype": "uint8",
            "spacing_nm": TEN,
            "chunk": (4, 4, 4),
            "shard": (4, 4, 4),
        },
        {"name": "-a"},
        "cannot be called",
    ),
]


def names() -> list[str]:
    return [f"{n} {row[0].__name__} {'/'.join(row[2])}" for n, row in enumerate(ROWS)]


@pytest.mark.parametrize("row", ROWS, ids=names())
def test_a_value_at_its_limit_is_taken_and_one_beyond_is_refused(row: Row) -> None:
    call, given, changed, words = row
    call(**given)
    with pytest.raises(Tim3dError, match=words):
        call(**{**given, **changed})
