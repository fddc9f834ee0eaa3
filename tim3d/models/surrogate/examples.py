"""Sections of volumes whose property is known, and how they are split between training and judging."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError

Images: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float64]
Adaptation = Literal["standardise", "adabn", "coral", "dann"]
ADAPTATIONS: tuple[str, ...] = get_args(Adaptation)
# Those that need images of the real look, without any property.
NEED_TARGET = {"adabn", "coral", "dann"}
# Shares of the volumes by which the best state is chosen, and by which intervals are made.
VALIDATION, CALIBRATION = 0.15, 0.2


@dataclass(frozen=True)
class Examples:
    """Rendered sections (volumes, sections, rows, columns) and the property of each volume, above 0."""

    images: Images
    values: Floats

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or len(self.images) != len(self.values):
            raise ArgumentError(
                f"sections of shape {self.images.shape} do not go with {len(self.values)} values"
            )
        if not (np.isfinite(self.values).all() and (self.values > 0).all()):
            raise ArgumentError(
                "a property must be above 0 in every sample: the network is trained on its logarithm. Leave out "
                "samples without a conducting path"
            )

    def sha256(self) -> str:
        """Digest of all pixels and values."""
        content = self.images.tobytes() + self.values.astype(np.float64).tobytes()
        return hashlib.sha256(repr(self.images.shape).encode() + content).hexdigest()


@dataclass(frozen=True, slots=True)
class SurrogateOptions:
    """All that decides a training besides data, seed and length.

    Parameters
    ----------
    sections : int
        Sections of a volume that make one prediction together.
    adapt : tuple of str
        Adaptations from the simulated to the real look: "standardise" gives each image mean 0 and
        deviation 1, "adabn" takes the statistics of batch normalisation from real images, "coral"
        draws covariances of features together, "dann" makes them indistinguishable to a critic.
    weight : float
        Weight of the loss of "coral" or "dann" beside that of the property.
    batch : int
        Volumes, and as many real images, in a step.
    learning_rate : float
        Of Adam.
    channels : tuple of int
        Channels of the convolutions, each with stride 2.

    Raises
    ------
    ArgumentError
        If a number is out of range, or adaptations are unknown or exclude each other.

    References
    ----------
    Li et al., Pattern Recognit. 80 (2018) 109 (AdaBN). DOI 10.1016/j.patcog.2018.03.005
    Sun, Saenko, ECCV 2016 Workshops (deep CORAL). DOI 10.1007/978-3-319-49409-8_35
    Ganin et al., J. Mach. Learn. Res. 17 (2016) 1 (DANN).
    """

    sections: int = 1
    adapt: tuple[str, ...] = ()
    weight: float = 1.0
    batch: int = 16
    learning_rate: float = 3e-3
    channels: tuple[int, ...] = (16, 32, 48, 64, 64)

    def __post_init__(self) -> None:
        if strange := [one for one in self.adapt if one not in ADAPTATIONS]:
            raise ArgumentError(f"no adaptation {strange[0]!r}; there are {', '.join(ADAPTATIONS)}")
        if {"coral", "dann"} <= set(self.adapt) or len(set(self.adapt)) < len(self.adapt):
            raise ArgumentError(f"adapt {', '.join(self.adapt)}: coral or dann, and each only once")
        if (
            min(self.sections, self.batch - 1, *self.channels) < 1
            or not 0 < self.learning_rate < math.inf
            or not 0 <= self.weight < math.inf
        ):
            raise ArgumentError(
                f"sections {self.sections}, batch {self.batch}, learning rate {self.learning_rate:g}, weight "
                f"{self.weight:g}: all must be finite and above 0, and a batch 2 or more"
            )

    @property
    def needs_target(self) -> bool:
        """Whether images of the real look are needed."""
        return bool(NEED_TARGET & set(self.adapt))

    def record(self) -> dict[str, Any]:
        """All options, for JSON."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}


@dataclass(frozen=True)
class Split:
    """Numbers of the volumes to train on, to choose the state by, and to calibrate intervals by."""

    learn: npt.NDArray[np.int64]
    choose: npt.NDArray[np.int64]
    calibrate: npt.NDArray[np.int64]


def split(count: int, seed: int, fewest: int) -> Split:
    """Share volumes out at random; at least `fewest` for intervals.

    Raises
    ------
    ArgumentError
        If too few are left to train on.

    Examples
    --------
    >>> [len(part) for part in (split(100, 0, 9).learn, split(100, 0, 9).choose, split(100, 0, 9).calibrate)]
    [65, 15, 20]
    """
    choose, calibrate = max(2, round(VALIDATION * count)), max(fewest, round(CALIBRATION * count))
    if count - choose - calibrate < max(8, calibrate // 2):
        raise ArgumentError(
            f"{count} samples are too few: {calibrate} are kept for intervals and {choose} to choose by. Give "
            f"{choose + calibrate + max(8, calibrate)} or more, or a lower --level"
        )
    order = np.random.default_rng((seed, 29)).permutation(count)
    ends = (count - choose - calibrate, count - calibrate)
    return Split(order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] :])


def check_target(target: Images | None, options: SurrogateOptions, edge: Mapping[str, int]) -> None:
    """Refuse an adaptation without images of the real look, and images smaller than the sections."""
    if options.needs_target and target is None:
        names = ", ".join(one for one in options.adapt if one in NEED_TARGET)
        raise ArgumentError(f"{names} needs unlabelled images of the real look: --images FOLDER")
    if not options.needs_target and target is not None:
        raise ArgumentError(
            "images of the real look change nothing without --adapt adabn, coral or dann: leave out --images"
        )
    if target is not None and (
        target.shape[-2] < edge["rows"] or target.shape[-1] < edge["columns"]
    ):
        raise ArgumentError(
            f"images of {target.shape[-2]}x{target.shape[-1]} pixels are smaller than sections of "
            f"{edge['rows']}x{edge['columns']}"
        )
