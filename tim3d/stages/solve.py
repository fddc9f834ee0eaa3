"""Labels become a conductivity and a tortuosity factor: the flux solver, on a volume that fits into memory."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from tim3d import schema, store
from tim3d.engine import Plan, lock_sample
from tim3d.engine.memory import available_memory
from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Box, triple
from tim3d.kernels.bounds import hashin_shtrikman, richardson, wiener
from tim3d.kernels.team import default_threads
from tim3d.kernels.transport import Conduction, check_arguments, check_conductivities, conduct, conduct_bytes
from tim3d.phases import Phases
from tim3d.schema import AXES, Field
from tim3d.stages.field import DEFAULTS, Options, slab

log = logging.getLogger(__name__)

# Stands in a potential field for voxels in which nothing flows.
NO_FLOW = -1.0
REFERENCES = {
    "tortuosity": "doi:10.1016/j.softx.2016.09.002",
    "wiener": "Abh. Math.-Phys. Kl. Koenigl. Saechs. Ges. Wiss. 32 (1912) 509",
    "hashin_shtrikman": "doi:10.1063/1.1728579",
}


@dataclass(frozen=True)
class Solving:
    """What is solved. All of it decides the numbers.

    `conductivity` is by code; `axes` are names. See `solve`.
    """

    axes: tuple[str, ...]
    conductivity: Mapping[int, float]
    faces: Literal["outer", "centres"]
    tolerance: float
    richardson: bool
    units: str

    @property
    def parameters(self) -> dict[str, Any]:
        """As they are kept with the result."""
        return {
            **vars(self),
            "axes": list(self.axes),
            "conductivity": {str(c): k for c, k in self.conductivity.items()},
        }


def solve(
    sample: str,
    *,
    conductivity: Mapping[str, float],
    field: str = "phase",
    axis: str | Sequence[str] = "z",
    faces: Literal["outer", "centres"] = "outer",
    tolerance: float = 1e-3,
    richardson: bool = False,
    keep_potential: bool = False,
    units: str = "W m-1 K-1",
    options: Options = DEFAULTS,
) -> xr.Dataset | list[Plan]:
    """Solve steady conduction through a label field: effective conductivity and tortuosity factor.

    The whole field is held in this process's memory; see docs/transport.md for what is solved and how it is judged.

    Parameters
    ----------
    conductivity : mapping of str to float
        Of every phase of the field, 0 for an insulator, for example ``{"copper": 400, "pore": 0}``.
    field : str
        The label field.
    axis : "z", "y" or "x", or a sequence of them
        Along which the flux is driven; sides are insulated.
    faces : {"outer", "centres"}
        Where the potential is held: on the outer faces of the volume, or on the centres of its first and last voxels.
    tolerance : float
        Largest (max - min) / mean of the flux over all planes.
    richardson : bool
        Solve every second voxel too, and estimate the value at vanishing voxel size with its uncertainty.
    keep_potential : bool
        Write the potential as float32 fields ``potential_z`` and so on, from 1 to 0, and -1 where nothing
        flows.
    units : str
        Of the conductivities: ``W m-1 K-1``, ``m2 s-1``, or ``1`` for relative ones.

    Returns
    -------
    xarray.Dataset
        The results over `axis`, as kept in the node ``FIELD_transport``; or the plan.

    Raises
    ------
    MissingFieldError
        If the field is missing.
    ArgumentError
        If a phase has no conductivity or one out of range, an axis is unknown or has too few voxels.
    InputError
        If a voxel has a code that no phase names.
    MemoryPlanError
        If the volume does not fit into memory.
    ConvergenceError
        If the tolerance is not reached.
    """
    labels = store.complete_field(sample, field, "segment")
    by_code = _by_code(labels, conductivity)
    solving = Solving(_axes(axis), by_code, faces, tolerance, richardson, units)
    for name in solving.axes:
        check_arguments(labels.shape, AXES.index(name), faces, tolerance)
    plan = _plan(labels, solving, keep_potential)
    inputs = {field: store.node_attributes(sample, field)["fingerprint"]}
    mark = schema.fingerprint(verb="solve", inputs=inputs, parameters=solving.parameters)
    nodes = [f"{field}_transport", *(f"potential_{a}" for a in solving.axes if keep_potential)]
    is_done = not options.overwrite and all(_is_complete(sample, node, mark) for node in nodes)
    if options.plan:
        return [] if is_done else [plan]
    if not is_done:
        plan.check()
        record = store.provenance(mark, solving.parameters, inputs)
        with lock_sample(sample):
            _solve(sample, labels, solving, record, keep_potential, options.durable)
    return store.open_dataset(sample, nodes[0])


def _is_complete(sample: str, node: str, mark: str) -> bool:
    record = store.node_attributes(sample, node)
    return bool(record.get("fingerprint") == mark and record.get("status") == "complete")


def _axes(axis: str | Sequence[str]) -> tuple[str, ...]:
    names = (axis,) if isinstance(axis, str) else tuple(axis)
    if not names or not set(names) <= set(AXES):
        raise ArgumentError(f"axis is {axis!r}; use z, y or x, or several: --axis z,y,x")
    return tuple(a for a in AXES if a in names)


def _by_code(labels: Field, conductivity: Mapping[str, float]) -> dict[int, float]:
    if labels.phases is None:
        raise ArgumentError(f"field {labels.name!r} holds no labels; segment it first, or ingest it with --phases")
    missing, unknown = set(labels.phases) - set(conductivity), set(conductivity) - set(labels.phases)
    if missing or unknown:
        wrong = f"no conductivity for {sorted(missing)}" if missing else f"no phase {sorted(unknown)}"
        example = ",".join(f"{name}={conductivity.get(name, 0):g}" for name in labels.phases)
        raise ArgumentError(
            f"{wrong}; {labels.name!r} has the phases {', '.join(labels.phases)}. "
            f"Give each one, 0 for an insulator: --conductivity {example}"
        )
    return check_conductivities({labels.phases[name]: k for name, k in conductivity.items()})


def _plan(labels: Field, solving: Solving, keep_potential: bool) -> Plan:
    voxels = math.prod(labels.shape)
    peaks = [conduct_bytes(labels.shape, labels.spacing_nm, AXES.index(a), solving.faces) for a in solving.axes]
    peak, free = voxels + max(peaks), available_memory()
    edge = int((free / (peak / voxels)) ** (1 / 3))
    return Plan(
        name=f"{labels.name}_transport",
        blocks=1,
        left=1,
        block=labels.shape,
        halo=(0, 0, 0),
        read_bytes=voxels,
        write_bytes=4 * voxels * len(solving.axes) if keep_potential else 0,
        peak_bytes=peak,
        limit_bytes=free,
        workers=1,
        threads=default_threads(),
        cure=f"The volume is solved in one piece, {peak / voxels:.1f} bytes a voxel: free memory, or ingest a part of "
        f"it; {edge}x{edge}x{edge} voxels would fit",
    )


def _read(sample: str, labels: Field) -> np.ndarray:
    """All labels, slab by slab, so that no second copy is decoded at once."""
    array, out = store.field_array(sample, labels.name), np.empty(labels.shape, np.uint8)
    for box in _slabs(labels):
        out[box.slices] = store.read_box(array, box)
    return out


def _slabs(field: Field) -> Iterator[Box]:
    thick = slab(field, 1)[0]
    for z in range(0, field.shape[0], thick):
        yield Box((z, 0, 0), (min(z + thick, field.shape[0]), *field.shape[1:]))


def _solve(
    sample: str, labels: Field, solving: Solving, record: Mapping[str, Any], keep_potential: bool, durable: bool
) -> None:
    volume = _read(sample, labels)
    counts = sum((np.bincount(plane.ravel(), minlength=256) for plane in volume), np.zeros(256, np.int64))
    if strays := sorted(set(np.flatnonzero(counts).tolist()) - set(solving.conductivity)):
        raise InputError(f"labels {strays} belong to no phase of {labels.phases}; name them, or correct the labels")
    fine, coarse = {}, {}
    for name in solving.axes:
        found = _conduct(volume, name, labels, solving, keep_potential)
        if found.potential is not None:
            _write_potential(sample, labels, name, found.potential, record, durable)
        fine[name] = _Line.of(found)
        log.info(
            "flux along %s: k = %.6g %s, tau = %.5g, spread of the flux %.1e after %d iterations",
            name, found.conductivity, solving.units, found.tortuosity_total, found.spread, found.iterations,
        )  # fmt: skip
        if solving.richardson:
            every_second = np.ascontiguousarray(volume[::2, ::2, ::2])
            coarse[name] = _Line.of(_conduct(every_second, name, labels, solving, False))
    fractions = [float(counts[code]) / volume.size for code in solving.conductivity]
    dataset = _dataset(labels, solving, fine, coarse, fractions)
    store.write_dataset(sample, f"{labels.name}_transport", dataset, record)


def _conduct(volume: np.ndarray, axis: str, labels: Field, solving: Solving, keep_potential: bool) -> Conduction:
    return conduct(
        volume, solving.conductivity, AXES.index(axis),
        spacing=labels.spacing_nm, electrodes=solving.faces, tolerance=solving.tolerance, keep_potential=keep_potential,
    )  # fmt: skip


@dataclass(frozen=True)
class _Line:
    """The numbers of one axis, without the potential."""

    numbers: dict[str, float]
    flux: np.ndarray

    @classmethod
    def of(cls, found: Conduction) -> _Line:
        return cls({name: float(getattr(found, attribute)) for name, (attribute, _) in _VARIABLES.items()}, found.flux)


# Variable, attribute of the solution, long name. The unit is that of the conductivity or 1.
_VARIABLES = {
    "effective_conductivity": ("conductivity", "effective conductivity Q L / (A dT)"),
    "tortuosity_factor_total": ("tortuosity_total", "mean k / effective k, islands counted in the mean"),
    "tortuosity_factor_through": ("tortuosity_through", "mean k / effective k, islands left out of the mean"),
    "mean_conductivity_total": ("mean_total", "mean conductivity of all voxels"),
    "mean_conductivity_through": ("mean_through", "mean conductivity, islands set to 0"),
    "percolates": ("percolates", "1 if a conducting path joins both faces"),
    "flux_spread": ("spread", "(max - min) / mean of the flux over all planes"),
    "iterations": ("iterations", "steps of conjugate gradients"),
}


def _dataset(
    labels: Field, solving: Solving, fine: dict[str, _Line], coarse: dict[str, _Line], fractions: list[float]
) -> xr.Dataset:
    axes = np.array(solving.axes, dtype=object)
    found = {name: _over_axes(name, solving, [fine[a].numbers[name] for a in solving.axes]) for name in _VARIABLES}
    found |= _extrapolated(solving, fine, coarse) | _bounds(solving, fractions)
    coordinates: dict[str, Any] = {"axis": axes}
    for name in solving.axes:
        step = labels.spacing_nm[AXES.index(name)]
        first = 0.0 if solving.faces == "outer" else step
        faces = first + np.arange(fine[name].flux.size) * step
        coordinates[f"{name}_face"] = (f"{name}_face", faces, {"units": schema.UNIT, "long_name": f"face along {name}"})
        attributes = _attributes(solving.units, "conductivity as seen by the flux through each plane of faces")
        found[f"plane_conductivity_{name}"] = ((f"{name}_face",), fine[name].flux, attributes)
    return xr.Dataset(found, coordinates, _about(labels, solving))


def _over_axes(name: str, solving: Solving, values: Sequence[float], long_name: str = "") -> tuple[Any, ...]:
    units = solving.units if "conductivity" in name else "1"
    return ("axis",), np.array(values), _attributes(units, long_name or _VARIABLES[name][1])


def _attributes(units: str, long_name: str, reference: str = REFERENCES["tortuosity"]) -> dict[str, str]:
    method = "7-point finite volumes, harmonic face conductances, multigrid-preconditioned conjugate gradients"
    return {"units": units, "long_name": long_name, "method": method, "reference": reference}


def _extrapolated(solving: Solving, fine: dict[str, _Line], coarse: dict[str, _Line]) -> dict[str, Any]:
    """Value of every second voxel, value at vanishing voxel size and its uncertainty."""
    found: dict[str, Any] = {}
    for name in ("effective_conductivity", "tortuosity_factor_total", "tortuosity_factor_through") if coarse else ():
        pairs = [(fine[a].numbers[name], coarse[a].numbers[name]) for a in solving.axes]
        estimates = [richardson(*pair) for pair in pairs]
        text = _VARIABLES[name][1]
        found |= {
            f"{name}_coarse": _over_axes(name, solving, [c for _, c in pairs], f"{text}, of every second voxel"),
            f"{name}_limit": _over_axes(name, solving, [v for v, _ in estimates], f"{text}, at vanishing voxel size"),
            f"{name}_limit_uncertainty": _over_axes(
                name, solving, [u for _, u in estimates], f"{text}, at vanishing voxel size: half width"
            ),
        }
    return found


def _bounds(solving: Solving, fractions: list[float]) -> dict[str, Any]:
    values = list(solving.conductivity.values())
    found = {}
    for name, function, text in (
        ("wiener", wiener, "for any geometry"),
        ("hashin_shtrikman", hashin_shtrikman, "for any isotropic geometry"),
    ):
        for side, bound in zip(("lower", "upper"), function(fractions, values), strict=True):
            attributes = _attributes(solving.units, f"{side} bound of the conductivity {text}", REFERENCES[name])
            found[f"conductivity_{name}_{side}"] = ((), bound, attributes | {"method": "from volume fractions"})
    return found


def _about(labels: Field, solving: Solving) -> dict[str, Any]:
    names = {code: name for name, code in (labels.phases or Phases(none=0)).items()}
    return {
        "method": "steady conduction, mean of the flux through all planes",
        "dirichlet": "outer faces, L = N h" if solving.faces == "outer" else "voxel centres, L = (N - 1) h",
        "sides": "insulated",
        "connectivity": 6,
        "island": "conducting component that does not touch both electrodes; flux 0",
        "tortuosity": "factor, (mean k) / k_eff, neither squared nor rooted",
        "tolerance": solving.tolerance,
        "conductivity": {names[code]: k for code, k in solving.conductivity.items()},
        "spacing_nm": list(labels.spacing_nm),
    }


def _write_potential(
    sample: str, labels: Field, axis: str, potential: np.ndarray, record: Mapping[str, Any], durable: bool
) -> None:
    field = Field(
        f"potential_{axis}", triple(potential.shape), "float32", labels.spacing_nm, labels.chunk, labels.shard,
        long_name=f"potential, flux along {axis}", attributes={"units": "1", "no_flow": NO_FLOW},
    )  # fmt: skip
    store.delete_node(sample, field.name)
    store.create_field(sample, field, record)
    array = store.field_array(sample, field.name, mode="r+")
    for box in _slabs(field):
        # Fields hold finite values.
        store.write_box(array, box, np.nan_to_num(potential[box.slices], nan=NO_FLOW), durable=durable)
    store.update_node(sample, field.name, status="complete")
