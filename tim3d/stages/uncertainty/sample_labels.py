"""The verb `sample_labels`: label fields that the segmentation could as well have been."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tim3d.engine import Outline, Plan
from tim3d.errors import ArgumentError, MissingFieldError
from tim3d.forecast import expected
from tim3d.grid import Block, Triple
from tim3d.kernels.generation.label_draws import Draws, Point, cumulated
from tim3d.kernels.morphology.boundary_bands import NONE
from tim3d.kernels.statistics.calibration import Calibration
from tim3d.lazy import xarray as xr
from tim3d.stages.shared.awaited import cannot_plan
from tim3d.stages.shared.draws import draw_name, node_of
from tim3d.stages.shared.field import (
    DEFAULTS,
    Making,
    Options,
    many_shards,
    plan_field,
    produce,
)
from tim3d.stages.shared.results import ResultMaking, plan_result, produce_result, results_of
from tim3d.stages.shared.verb import Task, Verb
from tim3d.stages.uncertainty.labelled import Labelled, Ranks
from tim3d.stages.uncertainty.labelled_surface import surface_totals
from tim3d.stages.uncertainty.probabilities import Probabilities, probabilities_of, words
from tim3d.stages.uncertainty.residuals import text_of
from tim3d.storage import store
from tim3d.storage.schema import Field
from tim3d.typed import Correlations

log = logging.getLogger(__name__)

MOST_DRAWS = 64
VOXELS = 2**24


@Verb
def sample_labels(
    sample: str,
    *,
    field: str = "phase",
    draws: int = 20,
    calibration: str = "",
    correlation: Correlations | None = None,
    seed: int = 0,
    options: Options = DEFAULTS,
) -> Task[xr.Dataset]:
    """Draw label fields from the probabilities of a segmentation, for intervals of whatever is measured.

    Every voxel has each phase with its calibrated probability, exactly; neighbouring voxels err
    together, over the correlation length that `calibrate` found. The fields ``FIELD_draw_00``, ... are
    measured by ``measure --draws``, ``label --draws``, ``geodesic --draws`` and ``solve --draws``;
    `describe` then gives intervals.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    field : str
        The label field, written with probabilities.
    draws : int
        Number of fields that are drawn.
    calibration : str
        Result of calibrate that is used (default: the only one of the field). Each draw uses one
        resample of it. "none" takes the probabilities as they are.
    correlation : float or (z, y, x), optional
        Distance in nm at which the correlation of errors falls to 1/e (default: that of the
        calibration). 0 lets every voxel err alone, which makes intervals far too narrow.
    seed : int
        Seed of the draws.
    options : Options
        How it runs.

    Returns
    -------
    xarray.Dataset
        A row for each draw: its temperature and offsets, and the surface of each phase in the labelled
        slices over that of the truth.

    Raises
    ------
    MissingFieldError
        If there are no probabilities, or neither a calibration nor a correlation length.
    ArgumentError
        If a number is out of range, or there are several calibrations and none is named.
    """
    labels = store.complete_field(sample, field, "segment")
    if not 2 <= draws <= MOST_DRAWS or not 0 <= seed < 2**32:
        raise ArgumentError(
            f"--draws {draws} is from 2 to {MOST_DRAWS}, --seed {seed} from 0 to 2^32 - 1"
        )
    node = _calibration(sample, labels, calibration, correlation)
    if node and expected("node", f"{sample}/{node}"):
        return _awaiting(sample, labels, draws, node)
    probabilities = probabilities_of(sample, labels)
    found = store.open_dataset(sample, node) if node else None
    lengths = _lengths(correlation, found)
    by = _calibrations(found, len(probabilities.phases), draws)
    sampling = Sampling(probabilities, node, by, Draws(lengths, labels.spacing_nm, seed))
    return Task(partial(sampling.plans, options), partial(sampling.run, options))


def _calibration(sample: str, labels: Field, asked: str, correlation: Correlations | None) -> str:
    """Node of the calibration; empty for none."""
    if asked == "none":
        if correlation is None:
            raise ArgumentError(
                "without a calibration the correlation length is not known: --correlation 40"
            )
        return ""
    if asked:
        if not expected("node", f"{sample}/{asked}"):
            store.refuse_outdated(sample, asked)
            store.open_dataset(sample, asked)
        return asked
    usual = f"{labels.name}_calibration"
    if expected("node", f"{sample}/{usual}"):
        return usual
    there = [
        one
        for one in results_of(sample, "calibrate", labels.name)
        if not store.outdated(sample, one)
    ]
    if len(there) > 1:
        raise ArgumentError(
            f"{sample} has {len(there)} calibrations of {labels.name!r}: --calibration {there[0]}"
        )
    if not there:
        raise MissingFieldError(
            f"{labels.name!r} of {sample} is not calibrated, so that it is not known how far errors reach. Run: tim3d "
            f"calibrate {sample} --field {labels.name}, or give --calibration none --correlation 40"
        )
    return there[0]


def _lengths(asked: Correlations | None, found: xr.Dataset | None) -> Point:
    given = found["correlation_length"].values if asked is None and found is not None else asked
    values = [float(one) for one in np.atleast_1d(np.asarray(given, np.float64))]
    if len(values) not in (1, 3) or not all(0 <= one < math.inf for one in values):
        raise ArgumentError(
            f"--correlation {asked} is one length in nm, or three along z, y, x: --correlation 40"
        )
    z, y, x = values if len(values) == 3 else values * 3
    return z, y, x


def _calibrations(found: xr.Dataset | None, phases: int, draws: int) -> tuple[Calibration, ...]:
    """The calibration of each draw: resamples of the labelled slices by turns."""
    if found is None:
        return (Calibration(1.0, (0.0,) * phases),) * draws
    drawn = found[["temperature_resampled", "offset_resampled"]]
    count = drawn.sizes["resample"]
    return tuple(
        Calibration(
            float(drawn["temperature_resampled"].values[n % count]),
            tuple(map(float, drawn["offset_resampled"].values[n % count])),
        )
        for n in range(draws)
    )


def _awaiting(sample: str, labels: Field, draws: int, node: str) -> Task[xr.Dataset]:
    """Plan of a recipe whose calibration has yet to be found; later steps may rely on the draws."""

    def plans() -> list[Plan | Outline]:
        for number in range(draws):
            store.expect_field(sample, _field(labels, number), {"verb": "sample_labels"})
        store.expect_dataset(sample, node_of(labels.name), {"verb": "sample_labels"})
        return list(cannot_plan("sample-labels", f"{sample}/{node}"))

    def run() -> xr.Dataset:
        raise AssertionError("a recipe runs a step after those before it")

    return Task(plans, run)


def _field(labels: Field, number: int) -> Field:
    return Field(
        draw_name(labels.name, number), labels.shape, "uint8", labels.spacing_nm, labels.chunk, labels.shard,
        labels=True, phases=labels.phases, long_name="phase in a draw",
    )  # fmt: skip


@dataclass(frozen=True)
class Sampling:
    """Probabilities, the calibration of each draw, and the random fields."""

    probabilities: Probabilities
    node: str
    calibrations: tuple[Calibration, ...]
    draws: Draws

    def plans(self, options: Options) -> list[Plan | Outline]:
        """The pass that writes all draws; none if they are there."""
        sample = self.probabilities.sample
        making = self._making(options)
        return [*plan_field(sample, making, options), *plan_result(self._listing(), options)]

    def run(self, options: Options) -> xr.Dataset:
        """Write the draws and their list."""
        log.info("errors reach over %s", text_of(self.draws.correlation_nm))
        produce(self.probabilities.sample, self._making(options), options)
        return produce_result(self._listing(), options)

    def _making(self, options: Options) -> Making:
        first, *others = (
            _field(self.probabilities.labels, n) for n in range(len(self.calibrations))
        )
        work = DrawWork(self, tuple(one.name for one in (first, *others)), options.durable)
        stored = np.dtype(self.probabilities.dtype).itemsize
        return Making(
            verb="sample_labels", field=first, siblings=tuple(others), work=work,
            block=many_shards(first, VOXELS), inputs=self._inputs, parameters=self._parameters,
            read_bytes=stored * len(self.probabilities.names),
        )  # fmt: skip

    @property
    def _inputs(self) -> dict[str, str]:
        names = [self.probabilities.labels.name, *([self.node] if self.node else [])]
        return {name: store.fingerprint_of(self.probabilities.sample, name) for name in names}

    @property
    def _parameters(self) -> dict[str, Any]:
        return {
            "draws": len(self.calibrations), "seed": self.draws.seed,
            "correlation_nm": list(self.draws.correlation_nm),
            "calibrations": [[one.temperature, *one.offsets] for one in self.calibrations],
        }  # fmt: skip

    def _listing(self) -> ResultMaking:
        labels = self.probabilities.labels
        # Results of earlier versions, which took edges in the plane, are not answered.
        asked = self._parameters | {"surface": "13 directions"}
        return ResultMaking(
            "sample_labels", self.probabilities.sample, node_of(labels.name), self._inputs, asked, (), self.listing
        )  # fmt: skip

    def listing(self) -> xr.Dataset:
        """A row for each draw."""
        names = [
            draw_name(self.probabilities.labels.name, n) for n in range(len(self.calibrations))
        ]
        found = xr.Dataset(coords={"draw": words(names), "phase": words(self.probabilities.phases)})
        temperatures = [one.temperature for one in self.calibrations]
        found["temperature"] = ("draw",), temperatures, _about("1", "temperature")
        found["offset"] = (
            ("draw", "phase"), [list(one.offsets) for one in self.calibrations], _about("nat", "offset"),
        )  # fmt: skip
        if self.node:
            found["surface_ratio"] = (
                ("draw", "phase"), self._surface_ratios(names),
                _about("1", "surface in the labelled slices over that of the truth"),
            )  # fmt: skip
        lengths = list(self.draws.correlation_nm)
        return found.assign_attrs(field=self.probabilities.labels.name, correlation_nm=lengths)

    def _surface_ratios(self, names: Sequence[str]) -> np.ndarray:
        """Surface of each draw over that of the truth, in the labelled slices.

        The volume of a draw over its labelled slices scatters as the truth does, so that no more is
        needed: resampled slices would count their scatter twice.
        """
        sample, phases = self.probabilities.sample, len(self.probabilities.phases)
        found = store.open_dataset(sample, self.node)
        true = store.complete_field(sample, str(found.attrs["truth_field"]))
        first, last = found.attrs["tim3d"]["parameters"]["slices"]
        labelled = Labelled(self.probabilities, true, (int(first), int(last)))
        table = np.full(256, NONE, np.uint8)
        table[self.probabilities.codes] = np.arange(phases)
        drawn = [partial(_ranks, store.field_array(sample, name), table) for name in names]
        true_area, *areas = surface_totals(labelled, drawn, phases).sum(axis=1)
        return np.array(areas) / np.where(true_area > 0, true_area, np.nan)


def _about(units: str, long_name: str) -> dict[str, str]:
    return {"units": units, "long_name": long_name}


def _ranks(draw: Any, table: Ranks, z: int) -> Ranks:
    """Ranks of the phases of a slice of a draw."""
    return np.asarray(table[np.asarray(draw[z])])


@dataclass(frozen=True)
class DrawWork:
    """Block work that reads probabilities and writes all draws."""

    sampling: Sampling
    fields: tuple[str, ...]
    durable: bool

    def read(self, block: Block) -> list[np.ndarray]:
        """Read the stored probabilities of the block."""
        return self.sampling.probabilities.stored(block.core)

    def compute(self, block: Block, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """Codes of the block in every draw."""
        own, codes = self.sampling, self.sampling.probabilities.codes
        every = []
        for number, by in enumerate(own.calibrations):
            planes = partial(self._cumulated, inputs, by)
            every.append(codes[own.draws.labels(block.core, planes, number)])
        return every

    def _cumulated(self, inputs: list[np.ndarray], by: Calibration, plane: int) -> np.ndarray:
        known = self.sampling.probabilities
        return cumulated(by.of(known.shares([one[plane] for one in inputs]), known.least))

    def write(self, block: Block, outputs: list[np.ndarray]) -> dict[str, Any]:
        """Write whole shards, the first draw last."""
        sample = self.sampling.probabilities.sample
        for name, values in reversed(list(zip(self.fields, outputs, strict=True))):
            store.write_block(sample, name, block.core, values, durable=self.durable)
        return {}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of a block: probabilities, draws with a copy to encode, and planes of floats."""
        known, voxels = self.sampling.probabilities, math.prod(core)
        stored = 2 * np.dtype(known.dtype).itemsize * len(known.names)
        plane = 8 * 6 * len(known.phases) * core[1] * core[2]
        return (
            (stored + len(self.fields) + 4) * voxels + plane + self.sampling.draws.block_bytes(core)
        )
