"""Numbers and words that a function refuses, at the limit where there is one: the message says what was seen.

A row holds the message, the call, arguments that are refused, and arguments next to them that are taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.each import each
from tim3d.cli.values import range_of
from tim3d.corrections import Curtain, Fill, NonLocal, Tilt, Variation
from tim3d.corrections.base import Correction, Stack
from tim3d.descriptors.lags import refuse_long
from tim3d.descriptors.porosity import check_density
from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Box
from tim3d.kernels.conduction.conduction import Physics, check_tolerance
from tim3d.kernels.conduction.contact_spots import plastic_conductance, spots_resistance
from tim3d.kernels.conduction.material import LARGEST_CONTRAST, check_conductivities
from tim3d.kernels.generation.gaussian_field import GaussianField
from tim3d.kernels.generation.philox import Noise
from tim3d.kernels.generation.thermal_interface import Delamination
from tim3d.kernels.geodesic.geodesic import distance
from tim3d.kernels.image.background import check_background
from tim3d.kernels.image.brightness import check_quantiles
from tim3d.kernels.image.curtain import check_stripes, check_wavelet
from tim3d.kernels.image.denoise import nonlocal_means, reach
from tim3d.kernels.image.foreshortening import stretch, stretched
from tim3d.kernels.image.imaging_model import Imaging
from tim3d.kernels.image.pyramid import level_factors, mean_downsample
from tim3d.kernels.image.spectrum_matching import filter_taps
from tim3d.kernels.image.superpixels import superpixels
from tim3d.kernels.image.threshold import binned_counts, binomial_blur, classify, multi_otsu, otsu
from tim3d.kernels.image.total_variation import total_variation
from tim3d.kernels.morphology.phase_mask import as_core
from tim3d.kernels.statistics.conformal import fewest
from tim3d.kernels.statistics.integral_range import integral_range
from tim3d.kernels.statistics.representative import check_tolerance as check_representative
from tim3d.phantoms import Ball, Balls, HalfSpace
from tim3d.phases import Phases

SLICE = np.arange(64, dtype=np.uint8).reshape(8, 8)
BLOCK = np.zeros((4, 4, 4), np.uint8)
STACK = Stack((20, 40, 60), "uint8", (20.0, 10.0, 5.0))
STRIPES = partial(Curtain, width_nm=20.0)
LEVELS = {"pore": 60.0, "solid": 160.0}


class Row(NamedTuple):
    """A refusal."""

    said: str
    call: Callable[..., Any]
    refused: list[tuple[Any, ...]]
    taken: list[tuple[Any, ...]] = []  # noqa: RUF012 - rows share the empty list, which is not changed


def checked(kind: Callable[..., Correction], name: str) -> Callable[[Any], None]:
    """Check a correction whose parameter of this name is given."""
    return lambda value: kind(**{name: value}).check(STACK)


def imaging(name: str) -> Callable[[Any], Imaging]:
    return lambda value: Imaging(**{"levels": LEVELS, name: value})


KERNELS = [
    Row(
        "tolerance is .*; use a number from 1e-10 to below 1",
        check_tolerance,
        [(0.99e-10,), (1.0,)],
        [(1e-10,), (0.999,)],
    ),
    Row(
        "electrodes are 'inner'; use 'outer' or 'centres'",
        lambda word: Physics({0: 1.0, 1: 2.0}, word).check((4, 4, 4), 0),
        [("inner",)],
        [("outer",), ("centres",)],
    ),
    Row(
        "the pressure over the hardness is .*; use 0 to 0.5",
        lambda p: plastic_conductance(p, 0.1, 50.0, 100.0),
        [(0.0,), (0.5,)],
        [(1e-4,), (0.499,)],
    ),
    Row(
        "no pixel is in contact: the resistance is infinite",
        lambda: spots_resistance(np.zeros((8, 8), bool), (10.0, 10.0), (1.0, 1.0)),
        [()],
    ),
    Row(
        r"conductivities run from 1.* to .*, a contrast of",
        check_conductivities,
        [({0: 1.0, 1: 1.01 * LARGEST_CONTRAST},)],
        [({0: 1.0, 1: LARGEST_CONTRAST},), ({0: 0.0, 1: 1e-300},)],
    ),
    Row(
        "conductivity of label 1 has 2 numbers; give one, or one for z, y and x",
        check_conductivities,
        [({0: 1.0, 1: (1.0, 2.0)},)],
        [({0: 1.0, 1: (1.0, 2.0, 3.0)},)],
    ),
    Row(
        "a field needs positive lengths, got correlation_nm",
        lambda length: GaussianField((length,) * 3, (5.0,) * 3, 0),
        [(0.0,), (-1.0,), (np.inf,)],
        [(30.0,)],
    ),
    Row(
        "a node has words for the numbers 0 to 65535, not",
        lambda number: Noise(0).words(Box((0, 0, 0), (1, 1, 1)), number),
        [(-1,), (65536,)],
        [(0,), (65535,)],
    ),
    Row(
        "the share below that is delaminated is .*; it lies in",
        lambda share: Delamination(below=share, patch_nm=9, gap_nm=3),
        [(1.0,), (-0.01,)],
        [(0.99,)],
    ),
    Row(
        "delaminated areas need patch_nm and gap_nm above 0, got",
        lambda patch, gap: Delamination(below=0.1, patch_nm=patch, gap_nm=gap),
        [(0, 3), (9, 0), (np.inf, 3)],
        [(9, 3)],
    ),
    Row(
        "region is .*, seeds are .*; both must be of one shape",
        distance,
        [(np.ones((3, 3, 3)), np.ones((3, 3, 2))), (np.ones((3, 3)), np.ones((3, 3)))],
    ),
    Row(
        "a background needs 1 round or more, got 0",
        lambda rounds: check_background((9.0, 9.0), 2, "subtract", rounds),
        [(0,)],
        [(1,)],
    ),
    Row(
        "quantiles must be 0 < low < high < 1, got",
        check_quantiles,
        [(0, 0.5), (0.5, 1), (0.5, 0.5), (0.6, 0.4)],
        [(0.1, 0.9)],
    ),
    Row("wavelet 'db' is unknown; take one such as 'db4'", check_wavelet, [("db",)], [("db4",)]),
    Row(
        "stripes need width and length >= 1 pixel, got",
        lambda w, n: check_stripes(w, n, 0),
        [(0.9, 9), (9, 0.9)],
        [(1, 1)],
    ),
    Row(
        r"stripes lie along axis 0 \(y\) or 1 \(x\), got 2",
        lambda along: check_stripes(2, 9, along),
        [(2,)],
        [(0,), (1,)],
    ),
    Row(
        "a distance must be 0 or more nanometres, got",
        lambda nm: reach(nm, (9.0,) * 3),
        [(-1e-9,), (np.inf,), (np.nan,)],
        [(0.0,)],
    ),
    Row(
        "non-local means needs noise and strength above 0, got",
        lambda noise, strength: nonlocal_means(BLOCK, noise, (0, 1, 1), (0, 1, 1), strength),
        [(0.0, 0.6), (1.0, 0.0), (np.inf, 0.6)],
        [(1.0, 0.1)],
    ),
    Row(
        "the angle between the line of sight and the face must be above 10 and at most 90",
        stretch,
        [(10,), (90.1,)],
        [(10.1,), (90,)],
    ),
    Row(
        "stretching needs a factor of 1 or more, got",
        lambda factor: stretched(SLICE[None], factor),
        [(0.99,)],
        [(1.0,)],
    ),
    Row(
        "a pyramid needs positive numbers: shape",
        level_factors,
        [((0, 4, 4), (1.0,) * 3), ((4, 4, 4), (1.0, 0.0, 1.0)), ((4, 4, 4), (1.0,) * 3, 0)],
        [((1, 1, 1), (1.0,) * 3, 1)],
    ),
    Row(
        "a mean of bool is not defined; downsample labels by stride",
        mean_downsample,
        [(BLOCK > 0, (2, 2, 2))],
        [(BLOCK, (2, 2, 2))],
    ),
    Row(
        "frequencies up to a share of .*: above 0, up to 1",
        lambda share: filter_taps(SLICE + 1.0, SLICE + 2.0, share),
        [(0.0,), (1.01,)],
    ),
    Row(
        r"superpixels work on one slice \(y, x\), got shape \(4, 4, 4\)",
        superpixels,
        [(BLOCK, 4, 0.2)],
    ),
    Row(
        "superpixels need size >= 1 and compactness > 0, got",
        partial(superpixels, SLICE),
        [(0.9, 0.2), (4, 0)],
        [(4, 0.2)],
    ),
    Row(
        "bins need low < high and bins >= 1, got low",
        partial(binned_counts, SLICE * 1.0),
        [(1, 1, 9), (0, 1, 0)],
        [(0, 1, 1)],
    ),
    Row(
        "multi-Otsu needs at least 2 classes, got 1",
        lambda n: multi_otsu([1, 1, 1], [0, 1, 2], n),
        [(1,)],
        [(2,)],
    ),
    Row(
        "thresholds must ascend, got",
        partial(classify, SLICE),
        [([3.0, 2.0],)],
        [([2.0, 2.0],), ([2.0, 3.0],)],
    ),
    Row(
        "the binomial blur is exact for uint8 and uint16, got float64",
        binomial_blur,
        [(BLOCK * 1.0,)],
        [(BLOCK,)],
    ),
    Row(
        "a histogram needs as many counts >= 0 as centres, got",
        otsu,
        [([1, 1], [0, 1, 2]), ([1, -1, 1], [0, 1, 2]), ([1, np.nan], [0, 1])],
        [([1, 0, 1], [0, 1, 2])],
    ),
    Row("the bin centres of a histogram must ascend", otsu, [([1, 1, 1], [0, 2, 2])]),
    Row(
        r"the histogram has 1 grey value\(s\) \(1\), 2 are needed to split it",
        otsu,
        [([0, 5, 0], [0, 1, 2])],
    ),
    Row(
        "total variation needs weight >= 0 and iterations >= 1, got",
        lambda w, n: total_variation(BLOCK, w, n),
        [(-0.1, 2), (1.0, 0), (np.inf, 2)],
        [(0.0, 1)],
    ),
    Row(
        r"core .* is empty or leaves the labels of shape",
        lambda *box: as_core(BLOCK, Box(*box)),
        [((0, 0, 0), (4, 4, 5)), ((2, 2, 2), (2, 3, 3)), ((-1, 0, 0), (2, 2, 2))],
        [((0, 0, 0), (4, 4, 4))],
    ),
    Row("the level of an interval is between 0 and 1, got", fewest, [(0,), (1,)], [(0.9,)]),
    Row(
        "all pixels are .*; an integral range needs pixels of a phase and others",
        integral_range,
        [(SLICE > 99,)],
    ),
    Row(
        "tolerance is .*; use a number between 0 and 1, for example 0.1",
        check_representative,
        [(0,), (1,)],
        [(0.1,)],
    ),
    Row(
        "correlation: lags=0; give the number of lags, from 1 on",
        lambda n: refuse_long("correlation", n, (9, 9, 9)),
        [(0,)],
        [(1,)],
    ),
    Row(
        "--density zinc=7: there are the phases pore, solid",
        partial(check_density, names=("pore", "solid")),
        [({"zinc": 7},)],
        [({"pore": 7},)],
    ),
    Row(
        "--density solid=.*: a density in g cm-3 above 0 and below 30",
        partial(check_density, names=("pore", "solid")),
        [({"solid": 0},), ({"solid": 30},)],
        [({"solid": 29.9},)],
    ),
]
VALUES = [
    Row(
        r"a model is varied by a share from 0 to 1, not",
        lambda share: Imaging(LEVELS).varied(share, 0),
        [(-0.1,), (1.1,)],
        [(0,), (1,)],
    ),
    Row("dtype 'int8': grey values are", imaging("dtype"), [("int8",)], [("uint16",)]),
    Row(
        "levels .*: two or more phases need different levels",
        imaging("levels"),
        [({"a": 9.0},), ({"a": 9.0, "b": 9.0},)],
    ),
    Row(
        "levels .* must lie between 0 and 255",
        imaging("levels"),
        [({"a": -0.1, "b": 9.0},), ({"a": 0.0, "b": 255.1},)],
        [({"a": 0.0, "b": 255.0},)],
    ),
    Row("through 'zinc' is not a phase; there are", imaging("through"), [("zinc",)], [("pore",)]),
    Row(
        "read of an imaging model is -1; it must be positive", imaging("read"), [(-1.0,)], [(0.0,)]
    ),
    Row("shine is 1.01; it is a share, from 0 to 1", imaging("shine"), [(1.01,)], [(1.0,)]),
    Row(
        "curtain along=z: stripes lie along y or x",
        checked(STRIPES, "along"),
        [("z",)],
        [("y",), ("x",)],
    ),
    Row(
        "curtain method=fft; it is wavelet or variational",
        checked(STRIPES, "method"),
        [("fft",)],
        [("wavelet",)],
    ),
    Row(
        "curtain rounds=.*,strength=.*: both must be above 0",
        checked(STRIPES, "rounds"),
        [(0,)],
        [(1,)],
    ),
    Row(
        "curtain rounds=.*,strength=.*: both must be above 0",
        checked(STRIPES, "strength"),
        [(0.0,)],
        [(0.1,)],
    ),
    Row(
        "fill: bad=.*; there are slices 0 to 19",
        lambda n: Fill(bad=(n,)).check(STACK),
        [(20,), (-1,)],
        [(19,), (0,)],
    ),
    Row(
        "nonlocal strength=.*,slices=.*: strength must be above 0, slices 0 or more",
        checked(NonLocal, "strength"),
        [(0.0,)],
        [(0.1,)],
    ),
    Row("strength must be above 0, slices 0 or more", checked(NonLocal, "slices"), [(-1,)], [(0,)]),
    Row(
        "tilt angle=90 changes nothing: the face was seen straight on",
        checked(Tilt, "angle"),
        [(90.0,)],
        [(89.9,)],
    ),
    Row(
        "variation strength=.*,iterations=.*: strength must be above 0, iterations 1 to",
        checked(Variation, "iterations"),
        [(0,)],
        [(1,)],
    ),
    Row(
        "strength must be above 0, iterations 1 to",
        checked(Variation, "strength"),
        [(0.0,)],
        [(0.1,)],
    ),
    Row(
        "a packing of balls has no ball; give at least one",
        Balls,
        [((),)],
        [((Ball((0.0, 0.0, 0.0), 1.0),),)],
    ),
    Row(
        "a plane needs a normal of positive length, got",
        lambda *n: HalfSpace(n, 0.0),
        [(0.0, 0.0, 0.0)],
        [(0.0, 0.0, 1.0)],
    ),
    Row(
        "phase 'solid' has code 256; codes are 0 to 255",
        lambda code: Phases(solid=code),
        [(256,)],
        [(255,), (0,)],
    ),
    Row("phase 'a' is named twice in 'a=0,a=1'", Phases.parse, [("a=0,a=1",)], [("a=0,b=1",)]),
    Row(
        "is empty: the end of a range is beyond its start, as in 0:200",
        lambda text: range_of(text, int),
        [("5:5",), ("5:4",)],
        [("5:6",), ("5:-1",)],
    ),
]


@each(KERNELS + VALUES, called=lambda row: row.said)
def test_what_is_out_of_range_is_refused_at_its_limit(row: Row) -> None:
    for arguments in row.refused:
        with pytest.raises((ArgumentError, InputError)) as refused:
            row.call(*arguments)
        assert re.search(row.said, str(refused.value)), f"{arguments}: {refused.value}"
    for arguments in row.taken:
        row.call(*arguments)
