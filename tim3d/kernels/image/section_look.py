"""Sections of known phases as a scanning electron microscope would show them: a look is a value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError
from tim3d.kernels.image.fibsem_simulation import Microscope, image
from tim3d.lazy import ndimage

Labels: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float64]
_SHADE, _CHARGE = 11, 12


@dataclass(frozen=True, slots=True)
class Look:
    """Look of polished sections: grey levels of uint8, lengths in pixels.

    Parameters
    ----------
    greys : mapping of int to float
        Grey level of each code.
    edge : float
        Grey levels by which the brighter phase gains at its boundary, as an edge effect does.
    edge_decay : float
        Distance from the boundary over which that falls to 1/e.
    relief : float
        Grey levels by which boundaries that face the detector (low x) gain and others lose.
    blur : float
        Standard deviation of the Gaussian point spread.
    shot : float
        Variance of the noise per unit of grey; the Gaussian limit of Poisson counts.
    read : float
        Standard deviation of the noise that does not depend on the grey.
    shading : float
        Standard deviation of the slow variation of brightness, as a fraction of the grey value.
    shading_length : float
        Distance over which the brightness varies.
    stripes : float
        Standard deviation of vertical stripes (curtains), as a fraction of the grey value.
    charging : float
        Standard deviation of horizontal stripes (charging between lines), as a fraction.

    Raises
    ------
    ArgumentError
        If a grey level is outside 0 to 255, two phases share one, or a length or amplitude is
        negative.

    Examples
    --------
    >>> Look({0: 70.0, 1: 160.0}).lowest_contrast
    90.0
    """

    greys: Mapping[int, float]
    edge: float = 15.0
    edge_decay: float = 1.5
    relief: float = 0.0
    blur: float = 0.7
    shot: float = 0.3
    read: float = 4.0
    shading: float = 0.03
    shading_length: float = 40.0
    stripes: float = 0.0
    charging: float = 0.0

    def __post_init__(self) -> None:
        levels = sorted(self.greys.values())
        if (
            len(levels) < 2
            or len(set(levels)) < len(levels)
            or not 0 <= levels[0] <= levels[-1] <= 255
        ):
            raise ArgumentError(
                f"grey levels {dict(self.greys)}: two or more phases need different levels from 0 to 255"
            )
        amplitudes = (
            self.edge,
            self.blur,
            self.shot,
            self.read,
            self.shading,
            self.stripes,
            self.charging,
        )
        lengths = (self.edge_decay, self.shading_length)
        if (
            min(amplitudes) < 0
            or min(lengths) <= 0
            or not all(map(math.isfinite, (*amplitudes, *lengths, self.relief)))
        ):
            raise ArgumentError(
                f"a look has amplitudes of 0 or more and lengths above 0, all finite, got {self}"
            )

    @property
    def lowest_contrast(self) -> float:
        """Smallest difference of two phases in grey levels."""
        return float(np.diff(sorted(self.greys.values())).min())

    def microscope(self, seed: int) -> Microscope:
        """Point spread, stripes and noise in the terms of the simulated microscope; a pixel is 1 nm."""
        levels = self.greys.values()
        return Microscope(
            solid_grey=max(levels), pore_grey=min(levels), blur_nm=self.blur, curtain=self.stripes,
            curtain_width_nm=2.0, curtain_depth_nm=1.0, drift=0.0, shot=self.shot, read=self.read, seed=seed,
        )  # fmt: skip


def render(labels: Labels, look: Look, seed: int, number: int = 0) -> Labels:
    """Section as a microscope shows it, uint8 (y, x).

    Parameters
    ----------
    labels : (y, x) uint8
        Code of each pixel.
    look : Look
        Parameters of the image.
    seed, number : int
        What noise, stripes and shading follow from; `number` tells the sections of a seed apart.

    Examples
    --------
    >>> labels = np.zeros((16, 16), np.uint8)
    >>> labels[:, 8:] = 1
    >>> look = Look({0: 60.0, 1: 180.0})
    >>> seen = render(labels, look, seed=1)
    >>> bool(seen[:, 10:].mean() > seen[:, :6].mean() + 90), bool((seen == render(labels, look, 1)).all())
    (True, True)
    """
    if strange := set(np.unique(labels).tolist()) - set(look.greys):
        raise ArgumentError(
            f"a section holds the codes {sorted(strange)}, which the look has no grey level for"
        )
    levels = np.zeros(256)
    levels[list(look.greys)] = list(look.greys.values())
    signal = levels[labels]
    signal = signal + look.edge * _edge(signal, look.edge_decay)
    signal = signal + look.relief * _relief(
        signal, max(look.greys.values()) - min(look.greys.values())
    )
    signal = signal * (1 + _shade(signal.shape, look, seed, number))
    return image(signal.astype(np.float32), number, (1.0, 1.0, 1.0), look.microscope(seed))


def _edge(signal: Floats, decay: float) -> Floats:
    """exp(-d / decay) in what is brighter than some neighbour, with the distance d from there."""
    darker = ndimage.minimum_filter(signal, 3, mode="nearest") < signal
    if not darker.any():
        return np.zeros(signal.shape)
    distance, nearest = ndimage.distance_transform_edt(~darker, return_indices=True)
    same = signal[tuple(nearest)] == signal
    return np.where(same, np.exp(-distance / decay), 0.0)


def _relief(signal: Floats, contrast: float) -> Floats:
    """Slope along x of the smoothed steps, about 1 at a straight boundary of the largest contrast."""
    slope = np.gradient(ndimage.gaussian_filter(signal, 1.0, mode="nearest"), axis=1)
    return np.asarray(slope * math.sqrt(2 * math.pi) / contrast)


def _shade(shape: tuple[int, ...], look: Look, seed: int, number: int) -> Floats:
    """Slow variation of brightness in the plane, and lines that are brighter as a whole."""
    white = np.random.default_rng((seed, _SHADE, number)).standard_normal(shape)
    slow = ndimage.gaussian_filter(white, look.shading_length / 2, mode="wrap")
    slow, spread = slow - slow.mean(), float(slow.std())
    lines = np.random.default_rng((seed, _CHARGE, number)).standard_normal((shape[0], 1))
    shade = look.shading * slow / (spread if spread > 0 else math.inf)
    return np.asarray(shade + look.charging * lines)
