"""Random changes of a crop that a scanning electron microscope could have made, as values with words."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tim3d.errors import ArgumentError
from tim3d.kernels.image import sem_changes
from tim3d.kernels.windows.lattice import Array
from tim3d.steps import Step, spelt

Pixels = tuple[float, float]
# Edges of pixels of which nothing is known but that they are square.
UNKNOWN: Pixels = (1.0, 1.0)
# The word that stands for all changes with their defaults.
ALL = "sem"


@dataclass(frozen=True)
class Change(Step):
    """A random change of grey values, or of both grey values and labels.

    Grey values are in standard deviations of the volume. A length is in pixels of the training,
    unless `nm` gives it in nm.

    Parameters
    ----------
    share : float
        Share of the crops that are changed.
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ArgumentError(
                f"share of {self.kind} is {self.share:g}; it lies above 0 and up to 1"
            )
        for name, value in vars(self).items():
            if value is not None and not value > 0:
                raise ArgumentError(f"{name} of {self.kind} is {value:g}; it must be above 0")

    @abstractmethod
    def changed(
        self, grey: Array, labels: Array, pixel_nm: Pixels, rng: np.random.Generator
    ) -> tuple[Array, Array]:
        """Changed crop, float32 (channels, y, x), and labels (y, x)."""


@dataclass(frozen=True)
class GreyChange(Change):
    """A random change of grey values that leaves the labels."""

    @abstractmethod
    def of_grey(self, grey: Array, pixel_nm: Pixels, rng: np.random.Generator) -> Array:
        """Changed grey values; what is random is drawn once for the crop."""

    def changed(
        self, grey: Array, labels: Array, pixel_nm: Pixels, rng: np.random.Generator
    ) -> tuple[Array, Array]:
        """Changed grey values, and the same labels."""
        return self.of_grey(grey, pixel_nm, rng), labels


def _pixels(pixels: float, nm: float | None, pixel_nm: Pixels) -> Pixels:
    """A length along y and x in pixels."""
    return (pixels, pixels) if nm is None else (nm / pixel_nm[0], nm / pixel_nm[1])


@dataclass(frozen=True)
class Elastic(Change):
    """Bend the crop and its labels smoothly.

    Parameters
    ----------
    pixels : float
        Standard deviation of the displacement.
    length : float
        Length in pixels over which it changes, as the standard deviation of a Gaussian.
    nm : float, optional
        The displacement in nm; the length is then 8 times as much, in nm too.
    """

    pixels: float = 2.0
    length: float = 16.0
    nm: float | None = None
    kind: ClassVar[str] = "elastic"

    def changed(
        self, grey: Array, labels: Array, pixel_nm: Pixels, rng: np.random.Generator
    ) -> tuple[Array, Array]:
        """Grey values are interpolated, labels are those of the nearest pixel."""
        length = _pixels(self.length, None if self.nm is None else 8 * self.nm, pixel_nm)
        amplitude = _pixels(self.pixels, self.nm, pixel_nm)
        shape = (labels.shape[0], labels.shape[1])
        field = sem_changes.displacement(shape, length, amplitude, rng)
        return sem_changes.displaced(grey, labels, field)


@dataclass(frozen=True)
class Charging(GreyChange):
    """Let bright places leave a bright or dark tail along x.

    Parameters
    ----------
    deviation : float
        Standard deviation of the strength of the tail.
    pixels : float
        Length over which it decays.
    nm : float, optional
        The length in nm.
    """

    deviation: float = 0.5
    pixels: float = 12.0
    nm: float | None = None
    kind: ClassVar[str] = "charging"

    def of_grey(self, grey: Array, pixel_nm: Pixels, rng: np.random.Generator) -> Array:
        """The strength is drawn once for the crop."""
        length = _pixels(self.pixels, self.nm, pixel_nm)[1]
        return sem_changes.charged(grey, length, self.deviation * rng.standard_normal())


@dataclass(frozen=True)
class Gamma(GreyChange):
    """Bend grey values by a power, the ends at 3 standard deviations stay.

    Parameters
    ----------
    deviation : float
        Standard deviation of the logarithm of the power.
    """

    deviation: float = 0.25
    kind: ClassVar[str] = "gamma"

    def of_grey(self, grey: Array, pixel_nm: Pixels, rng: np.random.Generator) -> Array:
        """The power is drawn once for the crop."""
        return sem_changes.bent(grey, float(np.exp(self.deviation * rng.standard_normal())))


@dataclass(frozen=True)
class Curtain(GreyChange):
    """Add stripes along y, the same in all slices.

    Parameters
    ----------
    deviation : float
        Largest standard deviation of the stripes; each crop draws its own.
    pixels : float
        Width, as the standard deviation of a Gaussian along x.
    nm : float, optional
        The width in nm.
    """

    deviation: float = 0.4
    pixels: float = 2.0
    nm: float | None = None
    kind: ClassVar[str] = "curtain"

    def of_grey(self, grey: Array, pixel_nm: Pixels, rng: np.random.Generator) -> Array:
        """Stripes of the simulated microscope."""
        width = _pixels(self.pixels, self.nm, pixel_nm)[1]
        return sem_changes.curtained(grey, width, self.deviation * rng.random(), rng)


@dataclass(frozen=True)
class Blur(GreyChange):
    """Blur every slice by a Gaussian.

    Parameters
    ----------
    pixels : float
        Largest standard deviation; each crop draws its own.
    nm : float, optional
        The standard deviation in nm.
    """

    pixels: float = 1.5
    nm: float | None = None
    kind: ClassVar[str] = "blur"

    def of_grey(self, grey: Array, pixel_nm: Pixels, rng: np.random.Generator) -> Array:
        """Noise that is added afterwards stays sharp, as that of a detector."""
        part = rng.random()
        y, x = _pixels(self.pixels, self.nm, pixel_nm)
        return sem_changes.blurred(grey, (part * y, part * x))


# In the order in which they are made, whatever the order of the words.
CHANGES: dict[str, type[Change]] = {
    one.kind: one for one in (Elastic, Charging, Gamma, Curtain, Blur)
}


def changes_of(words: Iterable[str]) -> tuple[Change, ...]:
    """Changes of words such as ``blur:pixels=2``; `sem` stands for all of them.

    >>> [one.kind for one in changes_of(["blur", "elastic"])], len(changes_of(["sem"]))
    (['elastic', 'blur'], 5)

    Raises
    ------
    ArgumentError
        If one is not known or is given twice.
    """
    listed = [one for word in words for one in (CHANGES if word == ALL else [word])]
    found = [spelt(text, CHANGES, "change of crops") for text in listed]
    kinds = [one.kind for one in found]
    if twice := next((kind for kind in kinds if kinds.count(kind) > 1), None):
        raise ArgumentError(f"{twice!r} is given twice; {ALL!r} holds all changes: give each once")
    return tuple(sorted(found, key=lambda one: list(CHANGES).index(one.kind)))


def apply(
    changes: Iterable[Change],
    grey: Array,
    labels: Array,
    pixel_nm: Pixels,
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    """Make each change in its share of the crops."""
    for one in changes:
        if rng.random() < one.share:
            grey, labels = one.changed(grey, labels, pixel_nm, rng)
    return grey, labels
