"""The verb `study`: a value as a function of window size, and the representative size."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import xarray as xr

from tim3d.engine import Ledger, Pass, Plan, current_cluster
from tim3d.grid import triple
from tim3d.kernels.conduction.conduction import Sides
from tim3d.kernels.conduction.solver import Electrodes
from tim3d.kernels.statistics import representative as statistics
from tim3d.kernels.statistics.representative import Judgement, Spread
from tim3d.stages.representative.quantities import Quantity, WindowKernel, choose
from tim3d.stages.representative.windows import Windows, WindowWork, lattices, positions
from tim3d.stages.shared.field import DEFAULTS, Options
from tim3d.stages.shared.results import (
    ResultMaking,
    is_kept,
    produce_result,
    refuse_another_question,
    result_name,
)
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import schema, store
from tim3d.storage.schema import AXES, Field
from tim3d.typed import ByPair, Conductivities, Lengths, QuantityName, Sizes

log = logging.getLogger(__name__)

KANIT = "doi:10.1016/S0020-7683(03)00143-4"
PLACES = ("z_window", "y_window", "x_window")
REALISATIONS = (1, 4, 16, 64)


@Verb
def study(
    sample: str,
    *,
    quantity: QuantityName,
    windows: Sizes | None = None,
    windows_nm: Lengths | None = None,
    phase: str | None = None,
    conductivity: Conductivities | None = None,
    field: str = "phase",
    axis: Literal["z", "y", "x"] | None = None,
    tolerance: float = 0.1,
    flux_tolerance: float | None = None,
    units: str | None = None,
    faces: Electrodes | None = None,
    sides: Sides | None = None,
    interface: ByPair | None = None,
    out: str = "",
    options: Options = DEFAULTS,
) -> Task[xr.Dataset]:
    """Find a value in windows of several sizes: its mean and spread, and the size at which it is representative.

    Windows of one size form a lattice in the middle of the volume and do not overlap. Each is read
    from the store and solved or measured by itself, so that windows of any size share the work on a
    volume of any size. See docs/study.md.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    quantity : str
        What is studied, for example phase_fraction or tortuosity_factor. A descriptor of one phase
        (``phase_fraction``, ``specific_surface`` ...), ``effective_conductivity``,
        ``tortuosity_factor`` (islands counted in the mean conductivity),
        ``tortuosity_factor_through`` (left out), or ``geodesic_tortuosity`` (mean of both
        directions along the axis).
    windows : sequence of int, optional
        Edges of the windows, in the shortest edge of a voxel (needed without edges in nm). Windows
        are cubes as nearly as whole voxels allow.
    windows_nm : sequence of float, optional
        Edges of the windows in nm, instead (default: none).
    phase : str, optional
        The phase of a descriptor, or the only one that conducts (needed without conductivities).
    conductivity : mapping of str to float or three floats, optional
        Conductivity of every phase, or along z, y, x, instead of a phase (default: 1 of the phase,
        0 of the others). For effective conductivity and tortuosity factor only.
    field : str
        The label field.
    axis : {"z", "y", "x"}, optional
        Axis of the flux, or of the ways (default: z).
    tolerance : float
        Relative tolerance of a representative size. A size is representative if 2 s.d. / mean of
        its windows, and the difference of their mean from the mean of the largest windows, are
        within it; so must be all larger sizes.
    flux_tolerance : float, optional
        Tolerance of the solver: largest (max - min) / mean of the flux over all planes (default:
        0.001).
    units : str, optional
        Unit of the conductivities (default: W m-1 K-1).
    faces : {"outer", "centres"}, optional
        Where the potential is held (default: outer). As for `solve`, on each window; for
        conductivity and tortuosity factor only, like the two options before and the two after.
    sides : {"insulated", "periodic"}, optional
        Whether the flux stops at the sides of a window (default: insulated).
    interface : mapping of str to float, optional
        Conductance per area between two phases, in W m-2 K-1 (default: perfect contact).
    out : str
        Name of the result (default: FIELD_study and what is not a default).
    options : Options
        How it runs; see `tim3d.Options`.

    Returns
    -------
    xarray.Dataset
        Values over window size and place, statistics over window size, and the representative edge
        in nm (nan if there is none; the attribute `verdict` gives the reason), as stored in its
        node. A plan has one pass for each size.

    Raises
    ------
    MissingFieldError
        If the field is missing.
    ArgumentError
        If an argument is out of range or not used by the quantity, or a window does not fit into
        the volume.
    InputError
        If a voxel has a code without a phase.
    MemoryPlanError
        If the largest window does not fit into a worker; the message gives the largest that would.
    MixedRunError
        If the field is outdated, or `out` is another result.
    """
    options.refuse_unused("study", sample)
    statistics.check_tolerance(tolerance)
    labels = store.complete_field(sample, field, "segment")
    chosen = choose(
        quantity,
        labels,
        phase=phase,
        conductivity=conductivity,
        axis=axis,
        flux_tolerance=flux_tolerance,
        units=units,
        faces=faces,
        sides=sides,
        interface=interface,
    )
    job = Job(
        sample,
        labels,
        quantity,
        chosen,
        lattices(labels, windows, windows_nm),
        float(tolerance),
        out,
    )
    making = job.making(options)
    return Task(partial(_plans, job, making, options), partial(_study_result, job, making, options))


def _plans(job: Job, making: ResultMaking, options: Options) -> list[Plan]:
    """Plans of the passes, one per size; empty if the result is stored."""
    refuse_another_question(making.sample, making.node, "study", making.parameters, options)
    if is_kept(making, options):
        return []
    store.expect_dataset(making.sample, making.node, making.record)
    return [_plan(one, job, options) for one in making.passes]


def _study_result(job: Job, making: ResultMaking, options: Options) -> xr.Dataset:
    """The result; a window that does not fit is refused, and the largest that would is named."""
    plans = _plans(job, making, options)
    for plan in plans:
        plan.check()
    found = produce_result(making, options)
    if plans:
        log.info("%s: %s, %s", making.node, found.attrs["verdict"], found.attrs["verdict_means"])
    return found


@dataclass(frozen=True)
class Job:
    """Everything that decides the numbers of a study; independent of how it runs."""

    sample: str
    labels: Field
    name: str
    quantity: Quantity
    windows: tuple[Windows, ...]
    tolerance: float
    out: str

    @property
    def node(self) -> str:
        """Name of the result node."""
        edges = [one.edge_nm for one in self.windows]
        asked = {"quantity": (self.name, None), **self.quantity.asked, "windows_nm": (edges, None)}
        return self.out or result_name(
            f"{self.labels.name}_study", **asked, tolerance=(self.tolerance, 0.1)
        )

    @property
    def source(self) -> str:
        """Fingerprint of the labels."""
        return store.fingerprint_of(self.sample, self.labels.name)

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters stored as provenance."""
        edges = [one.edge_nm for one in self.windows]
        return {
            "quantity": self.name,
            **self.quantity.parameters,
            "windows_nm": edges,
            "tolerance": self.tolerance,
        }

    def making(self, options: Options) -> ResultMaking:
        """Description of the result, from the windows of each size."""
        passes = tuple(self.work_pass(one, options) for one in self.windows)
        return ResultMaking(
            verb="study",
            sample=self.sample,
            node=self.node,
            inputs={self.labels.name: self.source},
            parameters=self.parameters,
            passes=passes,
            gather=lambda: _dataset(self, [_records(work_pass) for work_pass in passes]),
        )

    def work_pass(self, windows: Windows, options: Options) -> Pass:
        """Pass over the windows of one size; windows of another study are reused."""
        phases = self.labels.phases
        assert phases is not None
        fingerprint = schema.fingerprint(
            verb="study",
            field=self.source,
            quantity=self.name,
            parameters=self.quantity.parameters,
            shape=windows.shape,
            offset=windows.offset,
        )
        kernel = WindowKernel(self.quantity, phases)
        halo = self.quantity.halo
        read = math.prod(w + 2 * h for w, h in zip(windows.shape, halo, strict=True))
        return Pass(
            work=WindowWork(
                self.sample, self.labels.name, windows, halo, kernel, self.quantity.nbytes
            ),
            grid=windows.grid,
            ledger=Ledger(
                self.sample,
                f"{self.labels.name}_study/{self.name}/{'x'.join(map(str, windows.shape))}",
                fingerprint,
            ),
            shard=(1, 1, 1),
            read_bytes=read / math.prod(windows.shape),
            write_bytes=0,
            durable=options.durable,
            time_limit=options.time_limit,
        )


def _plan(one: Pass, job: Job, options: Options) -> Plan:
    """Plan of a pass; its cure names the largest window that would fit."""
    plan = one.plan(afresh=options.overwrite)
    threads = current_cluster().threads
    base = plan.peak_bytes - threads * one.work.block_bytes(one.grid.block, one.grid.block)
    step = min(job.labels.spacing_nm)
    most = int(
        min(n * s for n, s in zip(one.grid.block, job.labels.spacing_nm, strict=True)) / step
    )

    def fits(edge: int) -> bool:
        shape = triple(max(1, round(edge * step / s)) for s in job.labels.spacing_nm)
        return base + threads * one.work.block_bytes(shape, shape) <= plan.limit_bytes

    largest = _largest_fitting(most, fits)
    cure = (
        f"A window of {largest} voxels, {largest * step:g} nm, would fit"
        if largest >= 2
        else "No window would fit"
    )
    return replace(
        plan,
        name=one.ledger.name,
        halo=job.quantity.halo,
        cure=f"{cure}: leave out the larger ones",
    )


def _largest_fitting(most: int, fits: Any) -> int:
    """The largest number up to `most` that fits, 0 if none does; smaller numbers must fit too."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


@dataclass(frozen=True)
class Found:
    """Results of the windows of one size.

    They are values (inf without a path), percolation, and voxels by code.
    """

    values: np.ndarray
    percolates: np.ndarray
    voxels: np.ndarray


def _records(one: Pass) -> Found:
    """Results in the order of places, so that sums do not depend on the order of computing."""
    counts = one.grid.counts
    records = list(one.ledger.records(triple(place) for place in np.ndindex(counts)))
    values = [math.inf if r["value"] is None else r["value"] for r in records]
    paths = [math.nan if r["percolates"] is None else float(r["percolates"]) for r in records]
    voxels = np.array([r["voxels"] for r in records], np.int64).sum(axis=0)
    return Found(np.array(values).reshape(counts), np.array(paths).reshape(counts), voxels)


def _dataset(job: Job, found: Sequence[Found]) -> xr.Dataset:
    spreads = [statistics.spread(one.values) for one in found]
    judgement = statistics.judge(spreads, job.tolerance)
    about = dict(job.quantity.about)
    variables: dict[str, Any] = {
        "value": (("window", *PLACES), _padded([f.values for f in found]), about)
    }
    if job.quantity.apparent:
        text = {"units": "1", "long_name": "1 if a path leads through the window"}
        variables["percolates"] = (
            ("window", *PLACES),
            _padded([f.percolates for f in found]),
            text,
        )
        shares = [float(one.percolates.mean()) for one in found]
        variables["percolating_share"] = _by_size(
            shares, "1", "share of the windows that a path leads through"
        )
    variables |= _statistics(spreads, about["units"]) | _geometry(job) | _judged(spreads, judgement)
    variables |= _scaling(job, spreads, found) | _representative(job, judgement)
    edges = np.array([one.edge_nm for one in job.windows])
    coordinates = {
        "window": (
            "window",
            edges,
            {"units": schema.UNIT, "long_name": "edge of the window that was asked for"},
        ),
        "axis": np.array(AXES, dtype=object),
        "realisations": (
            "realisations",
            np.array(REALISATIONS),
            {"units": "1", "long_name": "windows in the mean"},
        ),
    }
    return xr.Dataset(variables, coordinates, _about(job, judgement))


def _padded(values: Sequence[np.ndarray]) -> np.ndarray:
    """Values of all sizes in one array, nan where a size has fewer windows."""
    most = np.max([v.shape for v in values], axis=0)
    out = np.full((len(values), *most), np.nan)
    for target, source in zip(out, values, strict=True):
        target[tuple(slice(n) for n in source.shape)] = source
    return out


def _by_size(
    values: Sequence[float], units: str, long_name: str, reference: str = ""
) -> tuple[Any, ...]:
    attributes = {"units": units, "long_name": long_name} | (
        {"reference": reference} if reference else {}
    )
    return ("window",), np.array(values, np.float64), attributes


def _statistics(spreads: Sequence[Spread], units: str) -> dict[str, Any]:
    last = spreads[-1].mean
    bias = [(s.mean - last) / abs(last) if last else math.nan for s in spreads]
    errors = [statistics.relative_error(s, max(1, s.count)) for s in spreads]
    return {
        "windows": _by_size([s.count for s in spreads], "1", "windows with a finite value"),
        "excluded": _by_size(
            [s.excluded for s in spreads], "1", "windows without one, left out of all statistics"
        ),
        "mean": _by_size([s.mean for s in spreads], units, "mean over the windows"),
        "standard_deviation": _by_size(
            [s.deviation for s in spreads], units, "between windows, n - 1 below"
        ),
        "standard_error": _by_size([s.error for s in spreads], units, "standard error of the mean"),
        "variation": _by_size(
            [s.variation for s in spreads], "1", "coefficient of variation, s.d. / mean"
        ),
        "relative_spread": _by_size([s.relative for s in spreads], "1", "2 s.d. / mean", KANIT),
        "relative_error": _by_size(
            errors, "1", "2 s.d. / (mean sqrt(windows)), of the mean", KANIT
        ),
        "bias": _by_size(bias, "1", "mean against that of the largest windows, relative"),
    }


def _geometry(job: Job) -> dict[str, Any]:
    shapes = np.array([one.shape for one in job.windows])
    edges = shapes * np.array(job.labels.spacing_nm)
    return {
        "rest_share": _by_size(
            [one.rest for one in job.windows], "1", "share of the volume that no window fills"
        ),
        "voxels": (
            ("window", "axis"),
            shapes,
            {"units": "1", "long_name": "voxels along the window's edges"},
        ),
        "edges": (
            ("window", "axis"),
            edges,
            {"units": schema.UNIT, "long_name": "the window's edges in whole voxels"},
        ),
        **positions(job.windows, job.labels.spacing_nm),
    }


def _judged(spreads: Sequence[Spread], judgement: Judgement) -> dict[str, Any]:
    few = f"1 if there are at least {statistics.FEWEST_WINDOWS} windows with a value"
    return {
        "judged": _by_size(judgement.judged, "1", few),
        "within_spread": _by_size(
            judgement.within_spread, "1", "1 if relative_spread keeps the tolerance"
        ),
        "within_bias": _by_size(judgement.within_bias, "1", "1 if the bias keeps the tolerance"),
    }


def _scaling(job: Job, spreads: Sequence[Spread], found: Sequence[Found]) -> dict[str, Any]:
    """Integral range, exponent of the variance, and the edges that they require."""
    step = math.prod(job.labels.spacing_nm)
    volumes = [math.prod(one.shape) * step for one in job.windows]
    fitted = statistics.fit_variance(volumes, spreads)
    widest = max(found, key=lambda one: int(one.voxels.sum())).voxels
    phases = job.labels.phases
    assert phases is not None
    fractions = {
        code: float(n) / float(widest.sum()) for code, n in zip(phases.codes, widest, strict=True)
    }
    points = job.quantity.point_variance(fractions)
    required = [
        statistics.required_volume(fitted, spreads[-1].mean, job.tolerance, n) for n in REALISATIONS
    ]
    return {
        "variance_exponent": _single(
            fitted.exponent if fitted else math.nan, "1", "a in s^2(V) ~ V^-a, fitted", KANIT
        ),
        "variance_exponent_error": _single(
            fitted.exponent_error if fitted else math.nan,
            "1",
            "standard error of the exponent, a lower bound",
        ),
        "point_variance": _single(
            points, _squared(job.quantity.about["units"]), "variance at single points, D^2"
        ),
        "integral_range": _single(
            statistics.integral_range(volumes, spreads, points),
            "nm3",
            "A3 in s^2(V) = D^2 A3 / V",
            KANIT,
        ),
        "required_edge": (
            ("realisations",),
            np.cbrt(required),
            {
                "units": schema.UNIT,
                "long_name": "edge at which the mean over some windows has the tolerance as relative error, by the law",
                "reference": KANIT,
            },
        ),
    }


def _squared(units: str) -> str:
    return "1" if units == "1" else f"({units})2"


def _representative(job: Job, judgement: Judgement) -> dict[str, Any]:
    edge = math.nan if judgement.smallest is None else job.windows[judgement.smallest].edge_nm
    text = "smallest edge that keeps the tolerance with all larger ones; nan: see the attribute verdict"
    return {"representative_edge": _single(edge, schema.UNIT, text, KANIT)}


def _single(value: float, units: str, long_name: str, reference: str = "") -> tuple[Any, ...]:
    attributes = {"units": units, "long_name": long_name} | (
        {"reference": reference} if reference else {}
    )
    return (), value, attributes


def _about(job: Job, judgement: Judgement) -> dict[str, Any]:
    apparent = {"apparent": job.quantity.apparent} if job.quantity.apparent else {}
    return {
        "field": job.labels.name,
        "quantity": job.name,
        **job.quantity.parameters,
        **apparent,
        "lattice": "no overlap, in the middle of the volume; what no window fills is shared between both ends",
        "tolerance": job.tolerance,
        "verdict": judgement.verdict,
        "verdict_means": statistics.VERDICTS[judgement.verdict],
        "spacing_nm": list(job.labels.spacing_nm),
    }
