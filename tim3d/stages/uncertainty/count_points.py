"""The verb `count_points`: fractions of the phases from labels and from points that were looked at."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tim3d.engine import Outline, Plan
from tim3d.errors import ArgumentError, InputError, MissingFieldError
from tim3d.kernels.statistics.prediction_powered import (
    Estimate,
    by_labels_and_points,
    by_points,
)
from tim3d.lazy import xarray as xr
from tim3d.stages.shared.field import DEFAULTS, Options
from tim3d.stages.shared.results import (
    ResultMaking,
    is_kept,
    plan_result,
    produce_result,
    result_name,
)
from tim3d.stages.shared.verb import Task, Verb
from tim3d.stages.uncertainty.point_files import Answer, answers_in
from tim3d.stages.uncertainty.probabilities import in_order, words
from tim3d.storage import store
from tim3d.storage.schema import Field

# Answers that an interval needs.
FEWEST = 10
WAYS = ("points", "labels", "both")


@Verb
def count_points(
    sample: str,
    table: str | Path,
    *,
    field: str = "phase",
    level: float = 0.95,
    out: str = "",
    options: Options = DEFAULTS,
) -> Task[xr.Dataset]:
    """Find the fractions of a volume from its labels and from points that were looked at.

    The fraction of the labels plus the mean difference at the points is unbiased whatever made the
    labels (prediction-powered inference); the points alone need many more looks for the same error.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    table : path
        The table of `points` with answers.
    field : str
        The label field, measured.
    level : float
        Probability that an interval holds the true fraction of this volume.
    out : str
        Name of the result (default: FIELD_points and what is not a default).
    options : Options
        How it runs.

    Returns
    -------
    xarray.Dataset
        `fraction` of every phase with `fraction_lower` and `fraction_upper`, from the points alone, from
        the labels alone (without an interval) and from both.

    Raises
    ------
    MissingFieldError
        If the field is missing or was not measured.
    InputError
        If the table cannot be read, an answer is not a phase, or there are too few.
    """
    labels = store.complete_field(sample, field, "segment")
    if not labels.phases:
        raise ArgumentError(f"{field!r} holds no labels of phases")
    if not 0 < level < 1:
        raise ArgumentError(f"--level {level:g} is between 0 and 1")
    answers = answers_in(Path(table), labels.shape, in_order(labels))
    if len(answers) < FEWEST:
        raise InputError(f"{table} has {len(answers)} answers, and an interval needs {FEWEST}")
    if store.node_attributes(sample, f"{field}_descriptors").get("status") != "complete":
        raise MissingFieldError(
            f"{field!r} of {sample} was not measured. Run: tim3d measure {sample} --field {field}"
        )
    node = out or result_name(f"{field}_points", level=(level, 0.95))
    making = Counted(sample, labels, answers, level).making(node)
    return Task(partial(_plans, making, options), partial(produce_result, making, options))


def _plans(making: ResultMaking, options: Options) -> list[Plan | Outline]:
    left = not is_kept(making, options)
    line = Outline("count-points", f"compares labels with points, into {making.node!r}")
    return [*plan_result(making, options), *([line] if left else [])]


@dataclass(frozen=True)
class Counted:
    """A label field, and the answers at points of it."""

    sample: str
    labels: Field
    answers: list[Answer]
    level: float

    def making(self, node: str) -> ResultMaking:
        """The result; answers are an input, as a field is."""
        said = "\n".join(f"{one.place} {one.phase}" for one in self.answers)
        inputs = {
            self.labels.name: store.fingerprint_of(self.sample, self.labels.name),
            "answers": hashlib.sha256(said.encode()).hexdigest(),
        }
        parameters = {"field": self.labels.name, "level": self.level}
        return ResultMaking("count_points", self.sample, node, inputs, parameters, (), self.result)

    def result(self) -> xr.Dataset:
        """Fractions by each way."""
        phases = in_order(self.labels)
        measured = store.open_dataset(self.sample, f"{self.labels.name}_descriptors")
        fractions = measured["phase_fraction"]
        found = self._labels()
        table = np.array(
            [self._ways(one, float(fractions.sel(phase=one)), found) for one in phases]
        )
        at = {"way": words(WAYS), "phase": words(phases)}
        names = ("fraction", "fraction_lower", "fraction_upper")
        text = ("volume fraction", "lower limit of its interval", "upper limit of its interval")
        return xr.Dataset(
            {
                name: xr.DataArray(
                    table[:, :, n].T, at, ("way", "phase"),
                    attrs={"units": "1", "long_name": text[n], "reference": "doi:10.1126/science.adi6000"},
                )
                for n, name in enumerate(names)
            },
            attrs={"field": self.labels.name, "points": len(self.answers), "level": self.level},
        )  # fmt: skip

    def _labels(self) -> np.ndarray:
        """Code at each point; a voxel is read at a time."""
        array = store.field_array(self.sample, self.labels.name)
        return np.array([int(np.asarray(array[one.place])) for one in self.answers])

    def _ways(self, phase: str, fraction: float, codes: np.ndarray) -> list[list[float]]:
        said = np.array([one.phase == phase for one in self.answers])
        known: Mapping[str, int] = self.labels.phases or {}
        labelled = np.asarray(codes == known[phase])
        alone = by_points(said, self.level)
        both = by_labels_and_points(fraction, labelled, said, self.level)
        return [_limits(alone), [fraction, np.nan, np.nan], _limits(both)]


def _limits(one: Estimate) -> list[float]:
    return [one.value, one.low, one.high]
