"""The verb `study`: a value as a function of window size, and the representative size."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np

from tim3d.engine import Pass, Plan, current_cluster
from tim3d.grid import triple
from tim3d.kernels.conduction.coding import InterfaceArea
from tim3d.kernels.conduction.conduction import Sides
from tim3d.kernels.conduction.solver import Electrodes
from tim3d.kernels.statistics import representative as statistics
from tim3d.lazy import xarray as xr
from tim3d.stages.representative.dataset import Found, study_dataset
from tim3d.stages.representative.job import Job
from tim3d.stages.representative.quantities import asked, choose
from tim3d.stages.representative.windows import lattices
from tim3d.stages.shared.field import DEFAULTS, Options
from tim3d.stages.shared.results import (
    ResultMaking,
    is_kept,
    produce_result,
    refuse_another_question,
)
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import store
from tim3d.typed import ByPair, Conductivities, Lengths, QuantityName, Sizes

log = logging.getLogger(__name__)


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
    interface_area: InterfaceArea | None = None,
    out: str = "",
    options: Options = DEFAULTS,
) -> Task[xr.Dataset]:
    """Find the representative volume: mean and spread of a quantity in windows of several sizes.

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
    interface_area : {"faces", "normal"}, optional
        Area on which it acts: that of the smooth interface, by its normal, or that of the voxel
        faces (default: normal).
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
    quantity, phase = asked(quantity, phase, labels)
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
        interface_area=interface_area,
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
    making = _making(job, options)
    return Task(partial(_plans, job, making, options), partial(_study_result, job, making, options))


def _making(job: Job, options: Options) -> ResultMaking:
    """Description of the result, from the windows of each size."""
    passes = tuple(job.work_pass(one, options) for one in job.windows)
    return ResultMaking(
        verb="study",
        sample=job.sample,
        node=job.node,
        inputs={job.labels.name: job.source},
        parameters=job.parameters,
        passes=passes,
        gather=lambda: study_dataset(job, [_records(work_pass) for work_pass in passes]),
    )


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


def _records(one: Pass) -> Found:
    """Results in the order of places, so that sums do not depend on the order of computing."""
    counts = one.grid.counts
    records = list(one.ledger.records(triple(place) for place in np.ndindex(counts)))
    values = [math.inf if r["value"] is None else r["value"] for r in records]
    paths = [math.nan if r["percolates"] is None else float(r["percolates"]) for r in records]
    voxels = np.array([r["voxels"] for r in records], np.int64).sum(axis=0)
    return Found(np.array(values).reshape(counts), np.array(paths).reshape(counts), voxels)
