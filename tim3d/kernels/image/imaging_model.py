"""Imaging model of a scanning electron microscope: grey values of labelled voxels, in any box of a volume.

    labels ─ level of the phase ─ what is seen through the pores ─ rims ─ blur in the slice ─┐
    grey  ←  rounded  ←  noise  ←  x (1 + stripes) (1 + lines) (1 + drift)  ←───────────────┘

All that is random is a function of the coordinates of the voxel and the seed, so that no box shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple
from tim3d.kernels.generation.gaussian_field import GaussianField
from tim3d.kernels.generation.philox import Noise
from tim3d.lazy import ndimage

Labels: TypeAlias = npt.NDArray[np.uint8]
Reals: TypeAlias = npt.NDArray[np.float32]
Point: TypeAlias = tuple[float, float, float]

# Streams of random numbers, one for each effect: switching one off leaves the others as they are.
NOISE, STRIPES, LINES, DRIFT = 51, 52, 53, 54
# Reach of the blur in standard deviations, and of what is seen through pores in lengths of decay.
BLUR_REACH, SEEN_REACH = 4.0, 4.0
# Length along which a field does not vary, in voxels: its kernel is one voxel.
POINT = 1e-3
GREYS = ("uint8", "uint16")


@dataclass(frozen=True)
class Imaging:
    """Imaging model; grey values in levels of `dtype`, lengths in nm, spreads as shares of the grey value.

    Parameters
    ----------
    levels : mapping of name to float
        Grey level of each phase.
    dtype : {"uint8", "uint16"}
        Type of the grey values.
    shot : float
        Variance of the noise for each level of grey.
    read : float
        Standard deviation of the noise that does not depend on the grey.
    blur_nm : float
        Standard deviation of the Gaussian point spread in the slice.
    rim, rim_nm : float
        Bright rims, as edges of a polished or etched section have: what the grey value is above its
        mean over a Gaussian of deviation `rim_nm` is added to it, `rim` times. A straight boundary of
        two levels gains `rim` / 2 of their difference on its bright side, and loses as much on the other.
    through : str
        Phase that is seen through, such as pore; empty if there is none.
    shine : float
        Share of the step from the level of that phase to the one behind it that is seen.
    decay_nm : float
        Depth over which that falls to 1/e.
    stripes, stripes_width_nm, stripes_depth_nm : float
        Spread of vertical stripes (curtains), and the standard deviations over which they extend along
        x and z.
    lines : float
        Spread of the brightness of single lines of a scan, as charging causes.
    drift, drift_nm : float
        Spread of the brightness of slices, and the depth over which it is correlated.

    Raises
    ------
    ArgumentError
        If a number is out of range, two phases share a level, or `through` is not a phase.

    Examples
    --------
    >>> Imaging({"pore": 60.0, "solid": 180.0}).contrast
    120.0
    """

    levels: Mapping[str, float]
    dtype: str = "uint8"
    shot: float = 0.0
    read: float = 0.0
    blur_nm: float = 0.0
    rim: float = 0.0
    rim_nm: float = 1.0
    through: str = ""
    shine: float = 0.0
    decay_nm: float = 1.0
    stripes: float = 0.0
    stripes_width_nm: float = 1.0
    stripes_depth_nm: float = 1.0
    lines: float = 0.0
    drift: float = 0.0
    drift_nm: float = 1.0

    def __post_init__(self) -> None:
        if self.dtype not in GREYS:
            raise ArgumentError(f"dtype {self.dtype!r}: grey values are {' or '.join(GREYS)}")
        most, levels = self.most, sorted(self.levels.values())
        if len(set(levels)) < 2 or len(set(levels)) < len(levels):
            raise ArgumentError(
                f"levels {dict(self.levels)}: two or more phases need different levels"
            )
        if not 0 <= levels[0] <= levels[-1] <= most:
            raise ArgumentError(f"levels {dict(self.levels)} must lie between 0 and {most:g}")
        if self.through and self.through not in self.levels:
            raise ArgumentError(
                f"through {self.through!r} is not a phase; there are {', '.join(self.levels)}"
            )
        self._refuse_out_of_range()

    def _refuse_out_of_range(self) -> None:
        spreads = ("shot", "read", "blur_nm", "rim", "shine", "stripes", "lines", "drift")
        lengths = ("rim_nm", "decay_nm", "stripes_width_nm", "stripes_depth_nm", "drift_nm")
        for name in (*spreads, *lengths):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0 and (value > 0 or name in spreads)):
                raise ArgumentError(f"{name} of an imaging model is {value:g}; it must be positive")
        if self.shine > 1:
            raise ArgumentError(f"shine is {self.shine:g}; it is a share, from 0 to 1")

    @property
    def most(self) -> float:
        """Largest grey value."""
        return float(np.iinfo(self.dtype).max)

    @property
    def contrast(self) -> float:
        """Smallest difference of two phases, in grey levels."""
        return float(np.diff(sorted(self.levels.values())).min())

    def varied(self, share: float, seed: int) -> Imaging:
        """Return the model with every spread and length multiplied by a factor between 1 / (1 + share) and 1 + share.

        Levels are moved by up to `share` / 4 of the smallest contrast. A share of 0 changes nothing.
        """
        if not 0 <= share <= 1:
            raise ArgumentError(f"a model is varied by a share from 0 to 1, not {share:g}")
        rng = np.random.default_rng((seed, 61))
        change: dict[str, Any] = {
            "levels": {
                name: min(
                    max(level + rng.uniform(-1, 1) * share / 4 * self.contrast, 0.0), self.most
                )
                for name, level in self.levels.items()
            }
        }
        for one in fields(self):
            if one.type == "float":
                factor = (1 + share) ** rng.uniform(-1, 1)
                change[one.name] = getattr(self, one.name) * factor
        change["shine"] = min(change["shine"], 1.0)
        return Imaging(**{**asdict(self), **change})

    def halo(self, spacing: Point) -> Triple:
        """Voxels around a box on which its grey values depend; along z only those behind it."""
        dz, dy, dx = spacing
        behind = math.ceil(SEEN_REACH * self.decay_nm / dz) if self.through and self.shine else 0
        rim_nm = self.rim_nm if self.rim else 0.0
        y, x = (
            sum(math.ceil(BLUR_REACH * nm / d) for nm in (self.blur_nm, rim_nm)) for d in (dy, dx)
        )
        return (behind, y, x)


def render(
    labels: Labels,
    read: Box,
    core: Box,
    codes: Mapping[str, int],
    model: Imaging,
    spacing: Point,
    seed: int,
) -> npt.NDArray[Any]:
    """Grey values of a box, of the type of the model.

    Parameters
    ----------
    labels : uint8 (z, y, x)
        Codes of the voxels of `read`.
    read, core : Box
        The box that was read, which is `core` and the halo of the model as far as the volume reaches,
        and the box whose grey values are returned. Beyond the volume the last pixel of a slice repeats,
        and nothing lies behind the last slice.
    codes : mapping of name to int
        Code of each phase.
    model : Imaging
        The model.
    spacing : (dz, dy, dx)
        Edges of a voxel in nm.
    seed : int
        What noise, stripes, lines and drift follow from.
    """
    inside = core.within(read)
    signal = _seen(labels, inside.start[0], core.shape[0], codes, model, spacing[0])
    if model.rim:
        signal += np.float32(model.rim) * (signal - _spread(signal, model.rim_nm, spacing))
        np.maximum(signal, np.float32(0), out=signal)
    signal = _spread(signal, model.blur_nm, spacing)
    signal = signal[:, inside.slices[1], inside.slices[2]]
    clean = signal * brightness(core, model, spacing, seed)
    noise = Noise(seed, NOISE).normals(core)
    noise *= np.sqrt(np.float32(model.shot) * clean + np.float32(model.read**2))
    clean += noise
    grey: npt.NDArray[Any] = np.rint(clean).clip(0, model.most).astype(model.dtype)
    return grey


def _seen(
    labels: Labels, first: int, count: int, codes: Mapping[str, int], model: Imaging, dz: float
) -> Reals:
    """Levels of the slices from `first` on, through the transparent phase those behind it."""
    levels = np.zeros(256, np.float32)
    for name, code in codes.items():
        levels[code] = model.levels[name]
    out: Reals = levels[labels[first : first + count]]
    if not (model.through and model.shine):
        return out
    void, reach = codes[model.through], math.ceil(SEEN_REACH * model.decay_nm / dz)
    base = levels[void]
    behind = np.full(labels.shape[1:], base, np.float32)
    depth = np.full(labels.shape[1:], reach + 1, np.int32)
    for z in reversed(range(first, len(labels))):
        solid = labels[z] != void
        behind = np.where(solid, levels[labels[z]], behind)
        depth = np.where(solid, 0, np.minimum(depth + 1, reach + 1))
        if z < first + count:
            share = np.float32(model.shine) * np.exp(np.float32(-dz / model.decay_nm) * depth)
            seen = np.where(depth <= reach, base + share.astype(np.float32) * (behind - base), base)
            out[z - first] = np.where(solid, behind, seen)
    return out


def _spread(signal: Reals, deviation: float, spacing: Point) -> Reals:
    """Gaussian blur in the slice, of a deviation in nm."""
    for axis in (1, 2):
        signal = _blurred(signal, axis, deviation / spacing[axis])
    return signal


def _blurred(signal: Reals, axis: int, deviation: float) -> Reals:
    """Gaussian blur along an axis, cut off at 4 deviations; at the end of the array the last pixel repeats."""
    reach = math.ceil(BLUR_REACH * deviation)
    if not reach:
        return signal
    taps = np.exp(-((np.arange(-reach, reach + 1) / deviation) ** 2) / 2)
    return np.asarray(
        ndimage.correlate1d(signal, taps / taps.sum(), axis=axis, mode="nearest"), np.float32
    )


def brightness(core: Box, model: Imaging, spacing: Point, seed: int) -> Reals:
    """Factor of the grey values of a box: stripes along y, lines along x and drift along z."""
    (z0, y0, x0), (z1, y1, x1) = core.start, core.stop
    still = tuple(POINT * d for d in spacing)
    out = np.ones(core.shape, np.float32)
    effects = (
        (model.stripes, STRIPES, (2 * model.stripes_depth_nm, still[1], 2 * model.stripes_width_nm),
         Box((z0, 0, x0), (z1, 1, x1))),
        (model.lines, LINES, still, Box((z0, y0, 0), (z1, y1, 1))),
        (model.drift, DRIFT, (model.drift_nm, still[1], still[2]), Box((z0, 0, 0), (z1, 1, 1))),
    )  # fmt: skip
    for spread, stream, lengths, box in effects:
        if spread:
            field = GaussianField(lengths, spacing, _stream_seed(seed, stream))  # type: ignore[arg-type]
            out *= 1 + np.float32(spread) * field.values(box)
    return np.maximum(out, np.float32(0))


def _stream_seed(seed: int, stream: int) -> int:
    """Seed of an effect: fields have no streams."""
    words = Noise(seed, stream).bits(Box((0, 0, 0), (1, 1, 2))).ravel()
    return int(words[0]) << 32 | int(words[1])
