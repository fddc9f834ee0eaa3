"""Ways to make rendered grey values more like a stack, each a value: what it learns, and what it then does to a box."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tim3d.engine import Plan, lock_sample
from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Box, Triple
from tim3d.kernels.generation.philox import Noise
from tim3d.kernels.image.histogram_matching import HistogramMatch
from tim3d.kernels.image.imaging_model import GREYS
from tim3d.kernels.image.spectrum_matching import (
    check_window,
    filter_taps,
    filtered,
    power_spectrum,
)
from tim3d.kernels.image.valleys import has_two_modes
from tim3d.stages.imaging.looked_at import boxes
from tim3d.stages.shared.field import Options
from tim3d.stages.shared.histogram import Histogram
from tim3d.storage import store
from tim3d.storage.schema import Field

log = logging.getLogger(__name__)

# Stream of random numbers by which voxels of one grey value are dealt out.
TIES = 55
# Pixels of both stacks may differ by this share.
SIZE_TOLERANCE = 1e-3

Change = Callable[[np.ndarray, Box, Box], np.ndarray]


@dataclass(frozen=True)
class Stack:
    """A grey field of a sample."""

    sample: str
    grey: Field

    def histogram(self, options: Options) -> Histogram:
        """Its histogram, kept in the sample."""
        return Histogram(self.sample, self.grey, "none", options)

    def parts(self) -> Iterator[np.ndarray]:
        """Grey values of the parts that `fit-imaging` looks at."""
        array = store.field_array(self.sample, self.grey.name)
        return (store.read_box(array, box) for box in boxes(self.grey))

    def spectrum(self, window: int) -> np.ndarray:
        """Mean spectrum of these parts."""
        found: np.ndarray = np.mean([power_spectrum(one, window) for one in self.parts()], axis=0)
        return found

    def mean(self) -> float:
        """Mean grey value of these parts."""
        return float(np.mean([one.mean(dtype=np.float64) for one in self.parts()]))


def check_alike(source: Stack, target: Stack, verb: str = "adapt") -> None:
    """Refuse stacks without grey values, of two types or pixel sizes, and a stack and itself."""
    for one in (source, target):
        if one.grey.labels or one.grey.dtype not in GREYS:
            held = "labels" if one.grey.labels else one.grey.dtype
            raise ArgumentError(
                f"field {one.grey.name!r} of {one.sample} holds {held}; {verb} needs grey values of "
                f"{' or '.join(GREYS)}"
            )
    if (source.sample, source.grey.name) == (target.sample, target.grey.name):
        raise ArgumentError(
            f"field {source.grey.name!r} of {source.sample} is compared with itself: name the sample that it should "
            "resemble in second place, or its field by --like-field"
        )
    if source.grey.dtype != target.grey.dtype:
        raise ArgumentError(
            f"{source.sample} holds {source.grey.dtype} and {target.sample} {target.grey.dtype}: fit the imaging "
            "model to the stack that is to be resembled, and render by it"
        )
    mine, theirs = source.grey.spacing_nm[1:], target.grey.spacing_nm[1:]
    if not np.allclose(mine, theirs, rtol=SIZE_TOLERANCE, atol=0):
        raise ArgumentError(
            f"a pixel of {source.sample} is {mine[0]:g} x {mine[1]:g} nm and one of {target.sample} "
            f"{theirs[0]:g} x {theirs[1]:g} nm: make the structure with pixels of the stack, --voxel-size"
        )


class Adaptation(ABC):
    """Base of adaptations: frozen dataclasses that pickle.

    Attributes
    ----------
    kind : str
        Its name in the shell.
    """

    kind: ClassVar[str]

    @abstractmethod
    def parameters(self) -> Mapping[str, Any]:
        """Return all that decides the voxels besides the two stacks, for JSON."""

    @abstractmethod
    def check(self, source: Stack, target: Stack) -> None:
        """Raise an error if it does not fit the stacks."""

    @property
    def halo(self) -> Triple:
        """Voxels around a box on which its grey values depend."""
        return (0, 0, 0)

    def plans(self, source: Stack, target: Stack, options: Options) -> list[Plan]:
        """Return the passes that it needs to learn."""
        return []

    @abstractmethod
    def learnt(self, source: Stack, target: Stack, options: Options) -> Change:
        """Learn from whole stacks, and return what is done to the grey values of a box.

        It is called with the grey values of the box that was read, that box, and its inner part whose
        grey values are wanted; it returns them in the type given.
        """

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of a box besides its grey values before and after."""
        return 0


@dataclass(frozen=True)
class ByHistogram(Adaptation):
    """The histogram of the whole stack.

    Parameters
    ----------
    seed : int
        Number from which follows who of the voxels of one grey value becomes what.
    """

    seed: int = 0

    kind = "histogram"

    def parameters(self) -> Mapping[str, Any]:
        """Return the seed."""
        return {"seed": self.seed}

    def check(self, source: Stack, target: Stack) -> None:
        """Refuse a seed out of range."""
        Noise(self.seed, TIES)

    def plans(self, source: Stack, target: Stack, options: Options) -> list[Plan]:
        """Return the passes that count grey values."""
        return [plan for one in (source, target) for plan in one.histogram(options).plans()]

    def learnt(self, source: Stack, target: Stack, options: Options) -> Change:
        """Count the grey values of both stacks."""
        found = []
        for one in (source, target):
            with lock_sample(one.sample):
                found.append(one.histogram(options).count())
        _warn_of_one_mode(source, target, [has_two_modes(*one) for one in found])
        return Dealt(HistogramMatch(found[0][0], found[1][0]), self.seed)

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Random numbers of all slices; of one slice its place and its search."""
        return 8 * core[0] * core[1] * core[2] + 40 * core[1] * core[2]


def _warn_of_one_mode(source: Stack, target: Stack, two: Sequence[bool]) -> None:
    """Warn where a stack of two modes is to resemble one of one, whose phases its grey values do not part."""
    if two == [True, False]:
        log.warning(
            "the histogram of %s has two modes and that of %s has one: grey values of phases get mixed up",
            source.sample,
            target.sample,
        )


@dataclass(frozen=True, eq=False)
class Dealt:
    """Grey values after a match of histograms."""

    match: HistogramMatch
    seed: int

    def __call__(self, grey: np.ndarray, read: Box, core: Box) -> np.ndarray:
        """Match a box, slice by slice."""
        uniform = Noise(self.seed, TIES).uniforms(core)
        inner = grey[core.within(read).slices]
        out = np.empty_like(inner)
        for one, values, numbers in zip(out, inner, uniform, strict=True):
            one[...] = self.match(values, numbers)
        return out


@dataclass(frozen=True)
class BySpectrum(Adaptation):
    """The mean amplitudes of its spatial frequencies in the slice.

    Parameters
    ----------
    window : int
        Edge of the windows and reach of the filter across, in pixels.
    share : float
        Frequencies that are adapted, as a share of the highest of an axis.
    """

    window: int = 32
    share: float = 1.0

    kind = "spectrum"

    def parameters(self) -> Mapping[str, Any]:
        """Return window and share."""
        return {"window": self.window, "share": self.share}

    def check(self, source: Stack, target: Stack) -> None:
        """Refuse a window or share out of range, and slices smaller than a window."""
        check_window(self.window)
        if not 0 < self.share <= 1:
            raise ArgumentError(f"frequencies up to a share of {self.share:g}: above 0, up to 1")
        for one in (source, target):
            if min(one.grey.shape[1:]) < self.window:
                y, x = one.grey.shape[1:]
                raise InputError(
                    f"slices of {one.sample} have {y} x {x} pixels, fewer than a window of {self.window}: "
                    f"--window {min(y, x) // 2 * 2}"
                )

    @property
    def halo(self) -> Triple:
        """Half a window in the slice."""
        return (0, self.window // 2, self.window // 2)

    def learnt(self, source: Stack, target: Stack, options: Options) -> Change:
        """Measure the spectra of both stacks."""
        taps = filter_taps(source.spectrum(self.window), target.spectrum(self.window), self.share)
        return Filtered(taps, source.mean())

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Floats of one slice with its margin and without."""
        reach = self.window + 1
        return 8 * ((core[1] + reach) * (core[2] + reach) + core[1] * core[2])


@dataclass(frozen=True, eq=False)
class Filtered:
    """Grey values after a filter; beyond the volume the last pixel of a slice repeats."""

    taps: np.ndarray
    mean: float

    def __call__(self, grey: np.ndarray, read: Box, core: Box) -> np.ndarray:
        """Filter a box, slice by slice."""
        reach = len(self.taps) // 2
        margins = [
            (reach - (start - low), reach - (high - stop))
            for start, stop, low, high in zip(
                core.start[1:], core.stop[1:], read.start[1:], read.stop[1:], strict=True
            )
        ]
        out = np.empty(core.shape, grey.dtype)
        most, mean = np.iinfo(grey.dtype).max, np.float32(self.mean)
        for one, values in zip(out, grey[core.within(read).slices[0]], strict=True):
            padded = np.pad(values.astype(np.float32) - mean, margins, mode="edge")
            one[...] = np.rint(filtered(padded[None], self.taps)[0] + mean).clip(0, most)
        return out


KINDS = {one.kind: one for one in (ByHistogram, BySpectrum)}
