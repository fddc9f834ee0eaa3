"""The verb `calibrate`: probabilities against voxels of a known phase."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tim3d.engine import Outline, Plan
from tim3d.errors import ArgumentError
from tim3d.kernels.statistics import bootstrap
from tim3d.kernels.statistics.calibration import (
    BINS,
    Calibration,
    Known,
    Reliability,
    fitted,
    resampled,
)
from tim3d.kernels.statistics.conformal import half_width
from tim3d.lazy import xarray as xr
from tim3d.stages.shared.field import DEFAULTS, Options
from tim3d.stages.shared.learnt_labels import refuse_learnt
from tim3d.stages.shared.results import (
    ResultMaking,
    is_kept,
    plan_result,
    produce_result,
    result_name,
)
from tim3d.stages.shared.verb import Task, Verb
from tim3d.stages.uncertainty.labelled import Labelled, Mask
from tim3d.stages.uncertainty.probabilities import probabilities_of, words
from tim3d.stages.uncertainty.residuals import correlation_lengths, text_of
from tim3d.storage import store
from tim3d.storage.schema import AXES
from tim3d.typed import SliceRange

log = logging.getLogger(__name__)

RESAMPLES = 64
STAGES, PLACES = ("before", "after"), ("all", "near")


@Verb
def calibrate(
    sample: str,
    *,
    field: str = "phase",
    truth: str = "truth",
    slices: SliceRange = slice(None),
    distance: float | None = None,
    window: float | None = None,
    level: float = 0.9,
    most: int = 500_000,
    seed: int = 0,
    out: str = "",
    options: Options = DEFAULTS,
) -> Task[xr.Dataset]:
    """Calibrate the probabilities of a segmentation by voxels of a known phase.

    Finds a temperature, an offset of each phase, and how far errors reach; says how far confidence
    and accuracy lie apart before and after. `sample_labels` uses what is found. The true labels
    must not be those that the model was trained on: it is surer there than anywhere else.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    field : str
        The label field, written with probabilities.
    truth : str
        Label field that counts as true; voxels of its phase ``unlabelled`` have no label.
    slices : slice
        Slices that count, by number (default: all).
    distance : float, optional
        Distance in nm from an interface that is near (default: three pixels).
    window : float, optional
        Edge in nm of square windows in labelled slices, for conformal half widths of the fraction of
        each phase (default: none). Every second window counts, of the first slice of each run.
    level : float
        Probability of the conformal intervals.
    most : int
        Most labelled voxels that are used.
    seed : int
        Seed of the resamples of labelled slices.
    out : str
        Name of the result (default: FIELD_calibration and what is not a default).
    options : Options
        How it runs.

    Returns
    -------
    xarray.Dataset
        `temperature`, `offset`, `correlation_length`; `ece`, `sce` and `log_loss`, over all voxels
        and near interfaces, before and after; `fraction_bias`, mean probability minus true share, with
        its standard error; bins of the reliability figure. What is after is judged on slices that it
        was not fitted to.

    Raises
    ------
    MissingFieldError
        If there are no probabilities or no truth.
    ArgumentError
        If the fields do not fit, a number is out of range, or the model has learnt from labels of
        these slices.
    InputError
        If no voxel is labelled, or too few are uncertain.
    """
    labels = store.complete_field(sample, field, "segment")
    true = store.complete_field(sample, truth, "ingest")
    planes = range(labels.shape[0])[slices]
    near = 3 * max(labels.spacing_nm[1:]) if distance is None else distance
    _check(len(planes), near, window, most, seed)
    if window is None and level != 0.9:
        raise ArgumentError("--level is that of --window: give both, or leave it out")
    labelled = Labelled(probabilities_of(sample, labels), true, (planes.start, planes.stop))
    labelled.check()
    node = result_name(
        f"{field}_calibration", truth=(truth, "truth"),
        slices=(labelled.planes, (0, labels.shape[0])), distance=(distance, None),
        window=(window, None), level=(level, 0.9), most=(most, 500_000), seed=(seed, 0),
    )  # fmt: skip
    calibrating = Calibrating(labelled, near, window, level, most, seed)
    making = calibrating.making(sample, out or node)
    return Task(partial(_plans, making, options), partial(_run, making, options))


def _check(planes: int, near: float, window: float | None, most: int, seed: int) -> None:
    if not planes:
        raise ArgumentError("no slice is left: --slices 0:20")
    for name, length in (("distance", near), ("window", window)):
        if length is not None and not 0 < length < np.inf:
            raise ArgumentError(f"--{name} {length:g} is not a length in nm: --{name} 20")
    if most < 100 or not 0 <= seed < 2**32:
        raise ArgumentError(f"--most {most} is 100 or more, --seed {seed} is from 0 to 2^32 - 1")


def _plans(making: ResultMaking, options: Options) -> list[Plan | Outline]:
    left = not is_kept(making, options)
    line = Outline("calibrate", f"reads the labelled slices, one at a time, into {making.node!r}")
    return [*plan_result(making, options), *([line] if left else [])]


def _run(making: ResultMaking, options: Options) -> xr.Dataset:
    found = produce_result(making, options)
    lengths = tuple(map(float, found["correlation_length"].values))
    log.info(
        "temperature %.3f; errors reach over %s (%s)",
        float(found["temperature"]), text_of((lengths[0], lengths[1], lengths[2])),
        found["correlation_length"].attrs["along_z"],
    )  # fmt: skip
    if found.attrs["labelled_units"] < 2:
        log.warning(
            "all labels are in one slice: how far the calibration itself errs is not known. Label a few slices"
        )
    return found


@dataclass(frozen=True)
class Calibrating:
    """The labelled slices and the parameters."""

    labelled: Labelled
    distance: float
    window: float | None
    level: float
    most: int
    seed: int

    def making(self, sample: str, node: str) -> ResultMaking:
        """The result; labelled slices are read one by one, in this process."""
        probabilities, true = self.labelled.probabilities, self.labelled.true
        names = [probabilities.labels.name, true.name]
        inputs = {name: store.fingerprint_of(sample, name) for name in names}
        parameters: dict[str, Any] = {
            "field": names[0], "truth": names[1], "slices": self.labelled.planes,
            "distance": self.distance, "window": self.window, "level": self.level, "most": self.most,
            "seed": self.seed,
        }  # fmt: skip
        return ResultMaking("calibrate", sample, node, inputs, parameters, (), self.result)

    def result(self) -> xr.Dataset:
        """All numbers."""
        probabilities, true = self.labelled.probabilities, self.labelled.true
        refuse_learnt(probabilities.sample, probabilities.labels.name, true, self.labelled.numbers)
        known, close = self.labelled.voxels(self.most, self.distance)
        found = fitted(known)
        units = int(known.unit.max()) + 1
        weights = bootstrap.weights(units, RESAMPLES, 1, self.seed)
        drawn = resampled(known, found, weights)
        lengths, along_z = correlation_lengths(self.labelled, found)
        phases = self.labelled.probabilities.phases
        table = _table(known, found, drawn, phases)
        table["correlation_length"] = xr.DataArray(
            list(lengths), {"axis": words(AXES)}, ("axis",),
            attrs=_about("nm", "distance at which the correlation of errors falls to 1/e")
            | {"along_z": along_z},
        )  # fmt: skip
        table |= _judged(known, close)
        if self.window is not None:
            table["window_half_width"] = self._conformal(found, self.window)
        return xr.Dataset(table).assign_coords(phase=words(phases)).assign_attrs(
            field=self.labelled.probabilities.labels.name, truth_field=self.labelled.true.name,
            voxels=len(known.truth), labelled_units=units, slices=self.labelled.numbers, distance_nm=self.distance,
            window_nm=self.window or 0.0, level=self.level,
        )  # fmt: skip

    def _conformal(self, found: Calibration, edge: float) -> xr.DataArray:
        """Half widths of the fractions of a window, from windows that are apart from each other."""
        errors = [
            share - truth
            for one, first in zip(self.labelled.slices(), _first_of_run(self.labelled.numbers), strict=True)
            if first
            for share, truth in self._windows(one.ranks, found.of(one.shares, self.labelled.probabilities.least), edge)
        ]  # fmt: skip
        table = np.array(errors).reshape(len(errors), len(self.labelled.probabilities.phases))
        values = [half_width(column, self.level) for column in table.T]
        about = _about("1", "half width of the conformal interval of the fraction in a window")
        condition = (
            f"{len(errors)} windows of {edge:g} nm; holds for a window that is exchangeable with them: of the same "
            "size, material and imaging"
        )
        return xr.DataArray(values, dims=("phase",), attrs=about | {"method": condition})

    def _windows(
        self, ranks: np.ndarray, shares: np.ndarray, edge: float
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        _, dy, dx = self.labelled.true.spacing_nm
        ny, nx = max(1, round(edge / dy)), max(1, round(edge / dx))
        found = []
        for y in range(0, ranks.shape[0] - ny + 1, 2 * ny):
            for x in range(0, ranks.shape[1] - nx + 1, 2 * nx):
                part = np.s_[y : y + ny, x : x + nx]
                if (ranks[part] < len(shares)).all():
                    true = (
                        np.bincount(ranks[part].ravel(), minlength=len(shares)) / ranks[part].size
                    )
                    found.append((shares[:, part[0], part[1]].mean(axis=(1, 2)), true))
        return found


def _first_of_run(numbers: list[int]) -> list[bool]:
    return [n == 0 or z - numbers[n - 1] > 1 for n, z in enumerate(numbers)]


def _about(units: str, long_name: str) -> dict[str, Any]:
    return {"units": units, "long_name": long_name}


def _table(
    known: Known, found: Calibration, drawn: list[Calibration], phases: tuple[str, ...]
) -> dict[str, xr.DataArray]:
    """The calibration and its resamples, and the bias of the fractions with its error."""
    units = int(known.unit.max()) + 1
    bias, error = [], []
    for by in (Calibration(1.0, (0.0,) * len(phases)), found):
        apart = by.of(known.shares, known.least) - (np.arange(len(phases))[:, None] == known.truth)
        sums = np.stack([np.bincount(known.unit, row, units) for row in apart])
        counts = np.bincount(known.unit, minlength=units)
        mean = sums.sum(axis=1) / counts.sum()
        spread = (sums - mean[:, None] * counts) / counts.mean()
        bias.append(mean)
        error.append(
            np.sqrt((spread**2).sum(axis=1) / (units * (units - 1))) if units > 1 else mean * np.nan
        )
    stage = {"stage": words(STAGES)}
    return {
        "temperature": xr.DataArray(found.temperature, attrs=_about("1", "temperature")),
        "offset": xr.DataArray(list(found.offsets), dims=("phase",), attrs=_about("nat", "offset of the phase")),
        "temperature_resampled": xr.DataArray(
            [one.temperature for one in drawn], dims=("resample",), attrs=_about("1", "temperature of resampled slices")
        ),
        "offset_resampled": xr.DataArray(
            [list(one.offsets) for one in drawn], dims=("resample", "phase"),
            attrs=_about("nat", "offset of resampled slices"),
        ),
        "fraction_bias": xr.DataArray(
            np.array(bias), stage, ("stage", "phase"), attrs=_about("1", "mean probability minus true share")
        ),
        "fraction_bias_standard_error": xr.DataArray(
            np.array(error), stage, ("stage", "phase"), attrs=_about("1", "its standard error over labelled slices")
        ),
    }  # fmt: skip


def crossed(known: Known) -> np.ndarray:
    """Calibrated probabilities of each voxel by the units of the other half; by all if there is one."""
    half = known.unit % 2
    if not half.any():
        return fitted(known).of(known.shares, known.least)
    after = np.empty_like(known.shares)
    for number in (0, 1):
        own, others = half == number, half != number
        rest = Known(known.shares[:, others], known.truth[others], known.unit[others], known.least)
        after[:, own] = fitted(rest).of(known.shares[:, own], known.least)
    return after


def _judged(known: Known, close: Mask) -> dict[str, xr.DataArray]:
    """Errors of calibration and bins, before and after, over all voxels and near interfaces."""
    names = ("ece", "sce", "log_loss")
    numbers = np.full((len(names), 2, 2), np.nan)
    bins = np.zeros((3, 2, 2, len(known.shares) + 1, BINS))
    for s, shares in enumerate((known.shares, crossed(known))):
        for p, chosen in enumerate((np.ones_like(close), close)):
            if not chosen.any():
                continue
            one = Reliability.of(shares[:, chosen], known.truth[chosen])
            truth = known.truth[chosen]
            own = shares[:, chosen][truth, np.arange(len(truth))]
            numbers[:, s, p] = one.ece, one.sce, -np.log(np.maximum(own, known.least)).mean()
            bins[:, s, p] = one.count, one.confidence, one.hits
    at = {"stage": words(STAGES), "where": words(PLACES)}
    text = {
        "ece": "expected calibration error",
        "sce": "static calibration error",
        "log_loss": "log loss",
    }
    units = {"log_loss": "nat"}
    table = {
        name: xr.DataArray(numbers[n], at, ("stage", "where"), attrs=_about(units.get(name, "1"), text[name]))
        for n, name in enumerate(names)
    }  # fmt: skip
    kinds = ("count", "confidence", "hits")
    long = ("voxels in the bin", "sum of their probabilities", "those of the phase")
    for n, kind in enumerate(kinds):
        table[f"bin_{kind}"] = xr.DataArray(
            bins[n], at, ("stage", "where", "of", "bin"), attrs=_about("1", long[n])
        )
    return table
