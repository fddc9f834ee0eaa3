"""Conductivity and tortuosity factor of a label field.

The flux solver runs in this process or on workers.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

from tim3d.descriptors.transport import Context, transport
from tim3d.engine import Cluster, Plan, current_cluster, lock_sample, progress_bar, run_collective
from tim3d.engine.passes.run import BASE_BYTES, LOADED_LATER_BYTES, TORCH_BASE_BYTES
from tim3d.engine.passes.summary import elapsed
from tim3d.errors import ArgumentError
from tim3d.grid import triple
from tim3d.kernels.conduction.coding import InterfaceArea
from tim3d.kernels.conduction.conduction import check_tolerance, conduct_bytes, most_parts
from tim3d.kernels.conduction.thread_pool import default_threads
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases
from tim3d.stages.conduction.flux_fields import drop_scratch, has_field, keep_fields, plan_fields
from tim3d.stages.conduction.interfaces import (
    NM,
    check_interfaces,
    typed_interface,
    warn_of_contacts,
)
from tim3d.stages.conduction.job import (
    UNITS,
    Job,
    Solving,
    chosen_axes,
    chosen_physics,
    typed_conductivity,
)
from tim3d.stages.conduction.particle_tables import read_tables
from tim3d.stages.conduction.slab_solver import THICK, Case
from tim3d.stages.conduction.tilted import warn_of_tilted
from tim3d.stages.shared.draws import with_draws
from tim3d.stages.shared.field import DEFAULTS, Options
from tim3d.stages.shared.planes import warn_of_plane
from tim3d.stages.shared.results import refuse_another_question
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import scratch, store
from tim3d.storage.schema import AXES
from tim3d.typed import Axes, ByPair, Conductivities, Contacts, Seconds

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 300.0


@Verb
def solve(
    sample: str,
    *,
    conductivity: Conductivities,
    field: str = "phase",
    axis: Axes = "z",
    faces: Literal["outer", "centres"] = "outer",
    sides: Literal["insulated", "periodic"] = "insulated",
    cell: bool = False,
    interface: ByPair | None = None,
    interface_area: InterfaceArea = "normal",
    particles: str = "",
    contact: Contacts | None = None,
    tolerance: float = 1e-3,
    richardson: bool = False,
    keep_potential: bool = False,
    keep_flux: bool = False,
    keep_sensitivity: bool = False,
    units: str = UNITS,
    out: str = "",
    checkpoint: Seconds = CHECKPOINT_SECONDS,
    device: str = "",
    draws: bool = False,
    options: Options = DEFAULTS,
) -> Task[xr.Dataset]:
    """Solve steady conduction through a label field: effective conductivity and tortuosity factor.

    On a cluster each worker holds a slab of the volume and exchanges planes with its neighbours;
    without one the whole volume is held in this process. The numbers are the same, bit for bit. See
    docs/transport.md for the equations and for how the solution is judged.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    conductivity : mapping of str to float or three floats
        Conductivity of every phase, or along z, y, x; 0 for an insulator. For example ``{"copper":
        400, "pore": 0}``.
    field : str
        The label field.
    axis : "z", "y" or "x", or a sequence of them
        Axes along which the flux is driven.
    faces : {"outer", "centres"}
        Where the potential is held. On the outer faces of the volume, or on the centres of its
        first and last voxels.
    sides : {"insulated", "periodic"}
        Whether the flux stops at the other four faces or goes on at the far side.
    cell : bool
        The volume wraps along all axes: rows of the conductivity tensor. A mean gradient drives the
        flux.
    interface : mapping of str to float
        Conductance per area between two phases, in W m-2 K-1 (default: perfect contact). The
        Kapitza conductance: ``{"copper:polymer": 1e8}``, in the unit of the conductivities per
        metre. With `particles` also ``{"copper:copper": 1e5}``: where two particles touch.
    interface_area : {"normal", "faces"}
        Area on which it acts: of the smooth interface, by its normal, or of the voxel faces. The
        latter is 1.5 times larger in the mean, at any voxel size.
    particles : str
        Field of integers that numbers the particles of a phase, whose contacts then resist
        (default: none).
    contact : float or two floats
        Conductance per area of the low and the high outer face, in W m-2 K-1 (default: perfect
        contact). Between the face and the voxels on it, in the unit of the conductivities per
        metre.
    tolerance : float
        Largest (max - min) / mean of the flux over all planes.
    richardson : bool
        Solve every second voxel too, and estimate the value at vanishing voxel size. With its
        uncertainty.
    keep_potential : bool
        Write the potential as a field. As float32 fields ``FIELD_potential_z...`` and so on, from 1
        to 0, and -1 where there is none. The rest of their names is the same as in the name of the
        result.
    keep_flux : bool
        Write the map of bottlenecks, and statistics of the flux by phase. It is the size of the
        flux density over its mean, as float32 fields ``FIELD_flux_z...``, and -1 where there is
        none.
    keep_sensitivity : bool
        Write the derivative of the result by the conductivity of each voxel, and list the worst
        bottlenecks. With shares of phases, interfaces and contacts, and with `particles` of each of
        them, as float32 fields ``FIELD_sensitivity_z...``; faces must be outer.
    units : str
        Unit of the conductivities: W m-1 K-1, m2 s-1, or 1 for relative ones.
    out : str
        Name of the result (default: FIELD_transport and what is not a default, the conductivities
        always). Fields are then called ``OUT_potential_z``.
    checkpoint : float
        Seconds between two checkpoints, from which a killed run goes on.
    device : str
        Device: cpu, or one of torch such as cuda (default: the GPUs of a cluster of kind cuda, else
        the CPU). The numbers agree to rounding.
    draws : bool
        Do the same for every draw of the field (`sample_labels`), which gives intervals.
    options : Options
        How it runs; see `tim3d.Options`.

    Returns
    -------
    xarray.Dataset
        The results over `axis`, as stored in their node.

    Raises
    ------
    MissingFieldError
        If the field is missing.
    ArgumentError
        If a phase has no conductivity or one out of range, an axis is unknown, given twice or has
        too few voxels, a cell is given faces or sides, an interface of a phase with itself has no
        `particles`, or `options` has a time limit.
    InputError
        If a voxel has a code without a phase, or two phases with an interface touch nowhere.
    MemoryPlanError
        If the volume does not fit into memory.
    ConvergenceError
        If the tolerance is not reached.
    MixedRunError
        If the field is outdated, or `out` is another result.
    """
    if draws:
        return with_draws(solve, locals())
    options.refuse_unused("solve", sample)
    labels = store.complete_field(sample, field, "segment")
    if cell and (faces, sides) != ("outer", "insulated"):
        raise ArgumentError("a cell is periodic and has no faces: leave out --faces and --sides")
    physics = chosen_physics(
        labels, conductivity, faces, sides, cell, interface, contact, interface_area
    )
    check_interfaces(sample, labels, physics, particles, units, chosen_axes(axis))
    warn_of_tilted(sample, labels, physics)
    solving = Solving(chosen_axes(axis), physics, float(tolerance), richardson, units, particles)
    check_tolerance(tolerance)
    for name in solving.axes:
        physics.check(labels.shape, AXES.index(name))
    warn_of_plane(labels, "the flux stays in it, as if all slices of the material were the same")
    kept = {"potential": keep_potential, "flux": keep_flux, "sensitivity": keep_sensitivity}
    kinds = tuple(kind for kind, is_kept in kept.items() if is_kept)
    if keep_sensitivity:
        physics.refuse_centres()
    contacts = [f"{value / NM:.9g}" for value in physics.contact]
    asked = {
        "conductivity": (typed_conductivity(labels, physics.conductivity), None),
        "faces": (faces, "outer"),
        "sides": (sides, "insulated"),
        "cell": (cell, False),
        "interface": (typed_interface(labels, interface), None),
        "interface_area": (interface_area, "normal"),
        "particles": (particles, ""),
        "contact": (contacts, ["inf", "inf"]),
        "tolerance": (float(tolerance), 1e-3),
    }
    device = device or ("cuda" if current_cluster().kind == "cuda" else "cpu")
    job = Job(
        sample=sample,
        labels=labels,
        solving=solving,
        kinds=kinds,
        asked=asked,
        out=out,
        seconds=checkpoint,
        device=device,
    )
    return Task(partial(_plans, job, options), partial(_results, job, options))


def _plans(job: Job, options: Options) -> list[Plan]:
    """Plans of the solutions and of the fields; empty if all of them are stored."""
    refuse_another_question(job.sample, job.node, "solve", job.solving.parameters, options)
    fields = plan_fields(job, options)
    if not (options.overwrite or fields or not job.has_results()):
        return []
    store.expect_dataset(job.sample, job.node, job.record)
    return [_plan(job, current_cluster()), *fields]


def _results(job: Job, options: Options) -> xr.Dataset:
    """The results, solved for if they are missing or to be replaced."""
    plans = _plans(job, options)
    for plan in plans:
        plan.check()
    if plans:
        with lock_sample(job.sample):
            _solve(job, plans[0].workers, options)
        keep_fields(job, options)
        drop_scratch(job)
    return store.open_dataset(job.sample, job.node)


def _plan(job: Job, on: Cluster) -> Plan:
    """Plan of the largest solution, on as many workers as can take part."""
    shape, most = job.labels.shape, _most(job)
    slabs = 1 if on.kind == "serial" else min(on.workers, most)
    peak, voxels = peak_bytes(job, slabs, on), math.prod(shape)
    return Plan(
        name=job.node,
        blocks=slabs,
        left=slabs,
        block=triple((-(-shape[0] // slabs), *shape[1:])),
        halo=(1 if slabs > 1 else 0, 0, 0),
        read_bytes=voxels,
        write_bytes=4 * voxels * len(job.fields()),
        peak_bytes=peak,
        limit_bytes=on.memory_bytes,
        workers=slabs,
        threads=default_threads() if on.kind == "serial" else on.threads,
        cure="" if peak <= on.memory_bytes else _cure(job, peak * slabs / voxels, most, on),
    )


def _cure(job: Job, bytes_per_voxel: float, most: int, on: Cluster) -> str:
    fitting = next((n for n in range(2, most + 1) if peak_bytes(job, n, on) <= on.memory_bytes), 0)
    more = (
        f"{fitting} workers of this memory would do: --cluster"
        if fitting
        else "Use workers of more memory"
    )
    edge = int((on.memory_bytes / bytes_per_voxel) ** (1 / 3))
    return (
        f"It takes {bytes_per_voxel:.1f} bytes a voxel. {more}, or ingest a part: "
        f"{edge}x{edge}x{edge} voxels would fit into one worker"
    )


def _most(job: Job) -> int:
    """Largest number of slabs into which every solution can be divided."""
    cases = (job.case(axis, every) for axis, every in job.solving.cases())
    return min(most_parts(case.turned, case.drive) for case in cases)


def peak_bytes(job: Job, slabs: int, on: Cluster) -> int:
    """Peak memory in bytes of a worker, or of this process, for the largest solution."""
    return _base(job, slabs, on) + max(_held(job.case(axis, 1), slabs) for axis in job.solving.axes)


def _base(job: Job, slabs: int, on: Cluster) -> int:
    if job.device != "cpu":
        return TORCH_BASE_BYTES
    if on.kind == "serial" and slabs == 1:
        return LOADED_LATER_BYTES  # what this process holds already is not in the plan
    held = 0 if on.client is None else on.resident_bytes()  # of earlier steps, as of a segmentation
    return max(BASE_BYTES, held + LOADED_LATER_BYTES)


def _held(case: Case, slabs: int) -> int:
    voxels = math.prod(case.turned)
    decoded = 2 * THICK * voxels // case.turned[0]
    return min(decoded, voxels) + conduct_bytes(case.turned, case.drive, slabs, len(case.keeps))


def _solve(job: Job, workers: int, options: Options) -> None:
    """Compute all missing solutions, then write the results."""
    solutions = job.ledger("solutions")
    if options.overwrite:
        solutions.forget(job.node)
        store.delete_node(job.sample, job.scratch)
    records: dict[tuple[str, int], dict[str, Any]] = {}
    for axis, every in job.solving.cases():
        case = job.case(axis, every)
        if not (found := solutions.record(case.index)) or _lacks(job, case, found):
            found = _solve_case(job, case, axis, workers, options)
            solutions.mark_done(case.index, found, durable=options.durable)
        records[axis, every] = found
        if every == 1:
            _log_result(job, axis, found)
    fine, coarse = ({a: r for (a, n), r in records.items() if n == every} for every in (1, 2))
    for axis, record in fine.items():
        if record.get("tables"):
            fine[axis] = record | {"single": read_tables(job.sample, job.case(axis, 1).tables)}
    warn_of_contacts(next(iter(fine.values())))
    labels = job.labels
    assert labels.phases is not None
    solving = job.solving
    context = Context(
        phases=labels.phases,
        spacing_nm=labels.spacing_nm,
        physics=solving.physics,
        axes=solving.axes,
        units=solving.units,
        tolerance=solving.tolerance,
        voxels=_voxels(labels.phases, fine),
    )
    store.write_dataset(job.sample, job.node, transport(context, fine, coarse), job.record)


def _lacks(job: Job, case: Case, found: Mapping[str, Any]) -> bool:
    """Whether fields or statistics to be kept of a finished solution are missing."""
    parts = {"flux": "local", "sensitivity": "sensitivity"}
    wanted = {part for kind, part in parts.items() if kind in case.keeps}
    if found["percolates"] and not wanted <= set(found):
        return True
    if found.get("tables") and not all(_is_left(job.sample, p) for p in case.tables.values()):
        return True
    axis = AXES[case.axis]
    gone = [kind for kind in case.keeps if not _is_left(job.sample, case.path(kind))]
    return any(not has_field(job, kind, axis) for kind in gone)


def _is_left(sample: str, path: str) -> bool:
    try:
        return bool(scratch.array(sample, path).shape)
    except KeyError:
        return False


def _solve_case(job: Job, case: Case, axis: str, workers: int, options: Options) -> dict[str, Any]:
    text = f"{job.node} {axis}" + (", every second voxel" if case.every > 1 else "")
    planned = peak_bytes(job, workers, current_cluster())
    bar = progress_bar(desc=text, unit=" steps", shown=options.progress)
    with bar:

        def listen(news: Mapping[str, Any]) -> None:
            bar.set_postfix_str(
                f"flux within {news['spread']:.1e}, to reach {job.solving.tolerance:g}"
            )
            bar.update(news["iterations"] - bar.n)

        start = time.perf_counter()
        members = run_collective(case, workers, listen)
    found: dict[str, Any] = members[0]
    peak = max(member.pop("peak_bytes") for member in members)
    log.info(
        "%s on %d worker(s): %d steps in %.1f s; peak %.0f MiB, planned %.0f",
        text,
        len(members),
        found["iterations"],
        time.perf_counter() - start,
        peak / 2**20,
        planned / 2**20,
    )
    summary = {
        "workers": len(members),
        "wall_seconds": elapsed(start),
        "peak_bytes": peak,
        "planned_peak_bytes": planned,
    }
    job.ledger("solutions").note(f"summary-{axis}-{case.every}", {"name": text, **summary})
    return found


def _log_result(job: Job, axis: str, found: Mapping[str, Any]) -> None:
    factor = found["mean_total"] / found["conductivity"] if found["percolates"] else math.inf
    log.info(
        "flux along %s: k = %.6g %s, tau = %.5g, spread of the flux %.1e",
        axis,
        found["conductivity"],
        job.solving.units,
        factor,
        found["spread"],
    )


def _voxels(phases: Phases, fine: Mapping[str, Mapping[str, Any]]) -> dict[int, int]:
    """Voxels of each phase, which every solution has counted alike."""
    counted = next(iter(fine.values()))["voxels"]
    return {code: counted.get(str(code), 0) for code in phases.codes}
