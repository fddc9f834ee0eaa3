"""S2 of the first phase of a sample: a volume, or a single section that stands for an isotropic material."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tim3d.errors import InputError, MissingFieldError
from tim3d.forecast import expected, names_below
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases
from tim3d.storage import store

Floats: TypeAlias = npt.NDArray[np.float64]
log = logging.getLogger(__name__)
FIELD, NODE = "phase", "phase_descriptors"
_CURVE = re.compile(r"two_point(_lags_\d+)?")
# Share of the variance by which S2 along the two axes of a section may differ on average: half of
# it is what an isotropic field is off by.
ANISOTROPY = 0.1


@dataclass(frozen=True)
class MeasuredS2:
    """S2 of the first of two phases over distance in nm, beginning with its fraction at 0."""

    distances_nm: Floats
    values: Floats
    phases: Phases


def is_sample_name(path: str | Path) -> bool:
    """Whether S2 is asked of a sample and not of a table.

    >>> is_sample_name("sem.zarr"), is_sample_name("s2.csv")
    (True, False)
    """
    return str(path).rstrip("/").endswith(".zarr") or Path(path).is_dir()


def is_measured(sample: str) -> bool:
    """Whether the results are there, and not only planned by an earlier step of a recipe."""
    return store.is_sample(sample) and NODE in store.nodes(sample) and not _is_planned(sample)


def is_awaited(sample: str) -> bool:
    """Whether an earlier step of a recipe has yet to measure the sample."""
    makes = bool(names_below("field", sample)) and not is_measured(sample)
    return makes or _is_planned(sample)


def _is_planned(sample: str) -> bool:
    return expected("node", f"{sample}/{NODE}") is not None


def two_phases(sample: str) -> Phases:
    """Names and codes of the phases of a sample, which are two.

    Raises
    ------
    InputError
        If there are more or fewer.
    """
    phases = store.complete_field(sample, FIELD, "segment").phases or Phases()
    if len(phases) != 2:
        raise InputError(
            f"S2 is that of two phases, and {FIELD!r} in {sample} has {len(phases)}: {phases}"
        )
    return phases


def measured_s2(sample: str) -> MeasuredS2:
    """S2 of the first phase, as `measure` counted it: the mean over directions.

    Of a volume all 13 directions count by their share of the sphere. Of a section the four
    directions in its plane count by their share of the half circle.

    Raises
    ------
    InputError
        If there are not two phases, or the lags are too few.
    MissingFieldError
        If correlations were not measured.
    MixedRunError
        If the phases were replaced since.
    """
    phases = two_phases(sample)
    found = store.open_dataset(sample, NODE) if is_measured(sample) else xr.Dataset()
    curves = [str(n) for n in found.data_vars if _CURVE.fullmatch(str(n))]
    if not curves:
        raise MissingFieldError(
            f"{sample} has no measured S2. Type  tim3d measure {sample} --descriptors phase_fraction,correlation"
        )
    store.refuse_outdated(sample, NODE)
    name = max(curves, key=lambda one: int(found[one].sizes[found[one].dims[-1]]))
    first = next(iter(phases))
    own = found.sel(phase=first, phase_other=first)
    radial = own[name.replace("two_point", "two_point_radial")]
    if np.isfinite(radial.values).all():
        distances, values = np.asarray(radial[radial.dims[0]].values), np.asarray(radial.values)
    else:
        distances, values = _of_section(own[name], found.attrs["spacing_nm"], sample)
    return MeasuredS2(distances.astype(np.float64), values.astype(np.float64), phases)


def _of_section(
    curve: xr.DataArray, spacing: Sequence[float], sample: str
) -> tuple[Floats, Floats]:
    """Radial mean in the plane of a section, at steps of its shorter pixel edge."""
    direction, lag = curve.dims
    inside = np.isfinite(curve.values).all(axis=1)
    lengths = next(c for n, c in curve.coords.items() if str(n).startswith("lag_length")).values
    names = [str(n) for n in curve[direction].values[inside]]
    axes = [n for n in names if n in "zyx"]
    if len(names) != 4 or len(axes) != 2:
        raise InputError(f"{sample} is neither a volume nor a section: S2 is known along {names}")
    steps = dict(zip("zyx", spacing, strict=True))
    shorter = min(steps[a] for a in axes)
    radii = np.arange(curve.sizes[lag], dtype=np.float64) * float(shorter)
    rows = np.stack(
        [np.interp(radii, x, y) for x, y in zip(lengths[inside], curve.values[inside], strict=True)]
    )
    _warn_of_anisotropy(rows[[names.index(a) for a in axes]], axes, sample)
    return radii, np.asarray(direction_shares(names, steps) @ rows, np.float64)


def direction_shares(names: Sequence[str], steps: dict[str, float]) -> Floats:
    """Shares of the half circle that are nearest to the axes and diagonals of a plane of pixels.

    >>> direction_shares(["y", "x", "y+x", "y-x"], {"y": 1.0, "x": 1.0}).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    slow, fast = (n for n in names if n in steps)
    rise = math.atan2(steps[slow], steps[fast])
    return np.array(
        [{slow: 1 - 2 * rise / math.pi, fast: 2 * rise / math.pi}.get(n, 0.5) / 2 for n in names]
    )


def _warn_of_anisotropy(rows: Floats, axes: Sequence[str], sample: str) -> None:
    share = rows[0, 0]
    variance = share * (1 - share)
    off = float(np.abs(rows[0] - rows[1]).mean() / variance) if variance > 0 else 0.0
    if off > ANISOTROPY:
        log.warning(
            "S2 of %s along %s and %s differs by %.0f %% of its variance on average, and the field is isotropic: it "
            "takes the mean of all directions",
            sample, *axes, 100 * off,
        )  # fmt: skip
