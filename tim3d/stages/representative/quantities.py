"""Quantities of a representative-volume study: local descriptors, conductivity, tortuosities."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial as bind
from typing import Any

import numpy as np

from tim3d.descriptors.base import (
    Descriptor,
    Material,
    Variable,
    check_labels,
    compute_partials,
    inputs_of,
)
from tim3d.descriptors.builtin import BUILTIN
from tim3d.descriptors.inputs import LABELS
from tim3d.descriptors.names import known_name
from tim3d.descriptors.porosity import pore_phases
from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple, triple
from tim3d.kernels.conduction.coding import InterfaceArea
from tim3d.kernels.conduction.conduction import Conduction, Physics, Sides, conduct, conduct_bytes
from tim3d.kernels.conduction.material import Conductivity
from tim3d.kernels.conduction.solver import Electrodes
from tim3d.kernels.geodesic import geodesic
from tim3d.phases import Phases
from tim3d.stages.conduction.interfaces import (
    chosen_interface,
    refuse_unused_area,
    refuse_without_particles,
    typed_interface,
    warn_of_conductances,
)
from tim3d.stages.conduction.job import UNITS, short
from tim3d.storage.schema import AXES, Field, Spacing

# Bound on the memory of local descriptors' kernels beside the labels, in bytes per voxel (as in
# `measure`).
LOCAL_BYTES = 2.0
#: Quantities whose value depends on the load on the window's faces; they are called apparent.
FLUX = {
    "effective_conductivity": ("conductivity", "apparent conductivity Q L / (A dT)"),
    "tortuosity_factor": (
        "tortuosity_total",
        "apparent tortuosity factor, mean k / k, islands counted in the mean",
    ),
    "tortuosity_factor_through": (
        "tortuosity_through",
        "apparent tortuosity factor, mean k / k, islands left out of the mean",
    ),
}
APPARENT = (
    "apparent: potential held on the {faces} of the window across the axis, its sides {sides}"
)
FACES = {"outer": "outer faces", "centres": "centres of the first and last voxels"}
FLUX_TOLERANCE = 1e-3
GEODESIC = "geodesic_tortuosity"
WAYS = "apparent: ways start from one face of the window across the axis and stay inside it"
PAPER = "doi:10.1038/s43246-024-00493-5"
COOPER = "doi:10.1016/j.softx.2016.09.002"
Answer = tuple[float, bool | None]


@dataclass(frozen=True)
class Quantity:
    """Number to be found for a window.

    Parameters
    ----------
    about : mapping
        Attributes of the value: units, long_name, method, reference.
    parameters : mapping
        Everything that decides the numbers, beside the labels and the window.
    asked : mapping of str to (value, default)
        The arguments as typed by the user: names are made of them.
    of : callable
        ``of(labels, window)``: the value, and whether a path leads through the window; None if that
        does not apply.
    nbytes : callable
        ``nbytes(shape)``: bytes held beside labels of this shape.
    point_variance : callable
        ``point_variance(fractions)``: variance at single points, from the fraction of each code;
        nan if unknown.
    halo : (z, y, x)
        Voxels around the window that are also read.
    apparent : str
        Load on the window, if the quantity depends on it; else empty.
    """

    about: Mapping[str, str]
    parameters: Mapping[str, Any]
    asked: Mapping[str, tuple[Any, Any]]
    of: Callable[[np.ndarray, Box], Answer]
    nbytes: Callable[[Triple], int]
    point_variance: Callable[[Mapping[int, float]], float]
    halo: Triple = (0, 0, 0)
    apparent: str = ""


def local_variables() -> dict[str, tuple[Descriptor, Variable]]:
    """Variables of the built-in descriptors of labels with one number per phase."""
    of_labels = [d for d in BUILTIN.values() if inputs_of(d.needs) == (LABELS,)]
    return {v.name: (d, v) for d in of_labels for v in d.variables if v.dims == ("phase",)}


def names() -> tuple[str, ...]:
    """Names of all quantities."""
    return (*local_variables(), *FLUX, GEODESIC)


def _local(descriptor: Descriptor, variable: Variable, material: Material, phase: str) -> Quantity:
    """Density of one phase: windows add up, and their faces are not counted as interfaces."""
    is_fraction = variable.name == "phase_fraction"
    return Quantity(
        about=variable.attributes(material),
        parameters={"phase": phase},
        asked={"phase": (phase, None)},
        of=bind(_density, descriptor, variable.name, material, phase),
        nbytes=lambda shape: int(LOCAL_BYTES * math.prod(shape)),
        point_variance=bind(_fraction_variance, material.phases[phase])
        if is_fraction
        else _unknown,
        halo=descriptor.halo,
    )


def _density(
    descriptor: Descriptor,
    name: str,
    material: Material,
    phase: str,
    labels: np.ndarray,
    window: Box,
) -> Answer:
    # Not finalized: a Dataset for each window takes longer than to count it.
    found = descriptor.formula(compute_partials(labels, window, [descriptor], material), material)
    return float(np.asarray(found[name])[material.phases.names.index(phase)]), None


def _fraction_variance(code: int, fractions: Mapping[int, float]) -> float:
    return fractions[code] * (1 - fractions[code])


def _unknown(fractions: Mapping[int, float]) -> float:
    return math.nan


@dataclass(frozen=True)
class Driven:
    """Physics, axis and tolerance of the flux through a window."""

    physics: Physics
    axis: int
    spacing: Spacing
    tolerance: float
    units: str
    phases: Phases

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters stored as provenance."""
        physics = self.physics
        return {
            "conductivity": {str(code): short(k) for code, k in physics.checked.items()},
            "axis": AXES[self.axis],
            "flux_tolerance": self.tolerance,
            "units": self.units,
            "faces": physics.electrodes,
            "sides": physics.sides,
            "interface": {f"{a}:{b}": value for (a, b), value in (physics.interface or {}).items()},
            **({"interface_area": physics.interface_area} if physics.interface else {}),
        }

    @property
    def asked(self) -> dict[str, tuple[Any, Any]]:
        """Arguments as typed, without the interfaces."""
        conductivity = {
            name: short(self.physics.checked[code]) for name, code in self.phases.items()
        }
        return {
            "conductivity": (conductivity, None),
            "axis": (AXES[self.axis], "z"),
            "flux_tolerance": (self.tolerance, FLUX_TOLERANCE),
            "units": (self.units, UNITS),
            "faces": (self.physics.electrodes, "outer"),
            "sides": (self.physics.sides, "insulated"),
            "interface_area": (self.physics.interface_area, "normal"),
        }

    def nbytes(self, shape: Triple) -> int:
        """Bytes that the solver holds for a window of this shape."""
        drive = self.physics.drive(self.axis, self.spacing)
        return conduct_bytes(triple(shape[a] for a in drive.order), drive)


def _flux(name: str, driven: Driven, interface: Mapping[str, float] | None) -> Quantity:
    is_conductivity = name == "effective_conductivity"
    return Quantity(
        about={
            "units": driven.units if is_conductivity else "1",
            "long_name": FLUX[name][1],
            "method": "7-point finite volumes, harmonic face conductances, multigrid-preconditioned conjugate gradient",
            "reference": COOPER,
        },
        parameters=driven.parameters,
        asked=driven.asked | {"interface": (interface, None)},
        of=bind(_through, FLUX[name][0], driven),
        nbytes=driven.nbytes,
        point_variance=bind(_conductivity_variance, driven) if is_conductivity else _unknown,
        apparent=APPARENT.format(
            faces=FACES[driven.physics.electrodes], sides=driven.physics.sides
        ),
    )


def _through(attribute: str, driven: Driven, labels: np.ndarray, window: Box) -> Answer:
    found = _solved(
        labels[window.slices], driven.physics, driven.axis, driven.spacing, driven.tolerance
    )
    return float(getattr(found, attribute)), found.percolates


def _solved(
    labels: np.ndarray, physics: Physics, axis: int, spacing: Spacing, tolerance: float
) -> Conduction:
    # One thread: the other cores solve other windows.
    return conduct(
        labels,
        physics.conductivity,
        axis,
        spacing=spacing,
        electrodes=physics.electrodes,
        sides=physics.sides,
        interface=physics.interface,
        interface_area=physics.interface_area,
        tolerance=tolerance,
        threads=1,
    )


def _conductivity_variance(driven: Driven, fractions: Mapping[int, float]) -> float:
    along = {
        code: k if isinstance(k, float) else k[driven.axis]
        for code, k in driven.physics.conductivity.items()
    }
    mean = sum(fractions[code] * k for code, k in along.items())
    return sum(fractions[code] * (k - mean) ** 2 for code, k in along.items())


def _geodesic(code: int, phase: str, axis: int, spacing: Spacing) -> Quantity:
    return Quantity(
        about={
            "units": "1",
            "long_name": "apparent geodesic tortuosity, mean over the last quarter of the planes and both directions",
            "method": "shortest way through the voxels of the phase, |grad d| = 1, upwind of second order",
            "reference": PAPER,
        },
        parameters={"phase": phase, "axis": AXES[axis], "metric": "eikonal"},
        asked={"phase": (phase, None), "axis": (AXES[axis], "z")},
        of=bind(_detour, code, axis, spacing),
        nbytes=_geodesic_bytes,
        point_variance=_unknown,
        apparent=WAYS,
    )


def _detour(code: int, axis: int, spacing: Spacing, labels: np.ndarray, window: Box) -> Answer:
    """Mean of both directions along the axis, and whether paths lead through."""
    region = np.pad((labels[window.slices] == code).view(np.uint8), geodesic.HALO["refine"])
    up, down = (
        _one_way(region if rises else np.flip(region, axis), axis, spacing)
        for rises in (True, False)
    )
    return (up + down) / 2, math.isfinite(up + down)


def _one_way(region: np.ndarray, axis: int, spacing: Spacing) -> float:
    """Geodesic tortuosity from the first plane of a region with a rim of zeros."""
    region = np.ascontiguousarray(region)
    rim = geodesic.HALO["refine"]
    arrival, exact = (np.full(region.shape, geodesic.UNREACHED, np.uint32) for _ in range(2))
    first = tuple(slice(rim, rim + 1) if a == axis else slice(None) for a in range(3))
    arrival[first][region[first] != 0] = 0
    geodesic.arrive(arrival, region, spacing)
    geodesic.refine(exact, arrival, region, spacing)
    inner = (slice(rim, -rim),) * 3
    return geodesic.tortuosity(
        *geodesic.plane_sums(exact[inner], region[inner], axis), spacing, axis
    ).last_quarter


def _geodesic_bytes(shape: Triple) -> int:
    """Bytes of two regions, arrival times and distances, and of the kernel, all with a rim."""
    rim = triple(n + 2 * geodesic.HALO["refine"] for n in shape)
    return 10 * math.prod(rim) + geodesic.geodesic_bytes(rim)


def asked(quantity: str, phase: str | None, labels: Field) -> tuple[str, str | None]:
    """Name of a quantity under its usual names, and the phase: of porosity the one that is pores.

    Raises
    ------
    ArgumentError
        If there is no such quantity, or the name stands for several.
    """
    name = known_name(quantity, names(), "quantity")
    pores = pore_phases(list(labels.phases or ()))
    is_porosity = quantity.lower() in ("porosity", "void_fraction")
    return name, pores[0] if phase is None and is_porosity and pores else phase


def choose(
    name: str,
    labels: Field,
    *,
    phase: str | None = None,
    conductivity: Mapping[str, Conductivity] | None = None,
    axis: str | None = None,
    flux_tolerance: float | None = None,
    units: str | None = None,
    faces: Electrodes | None = None,
    sides: Sides | None = None,
    interface: Mapping[str, float] | None = None,
    interface_area: InterfaceArea | None = None,
) -> Quantity:
    """Choose a quantity by name, for the phases of a field; None stands for an argument not given.

    Parameters
    ----------
    name : str
        Name of the quantity, as from `asked`.
    labels : Field
        The label field.
    phase, conductivity, axis, flux_tolerance, units, faces, sides, interface, interface_area : optional
        Arguments of the verb `study`, of which each quantity uses some.

    Returns
    -------
    Quantity

    Raises
    ------
    ArgumentError
        If the axis is unknown, a required argument (a phase, a conductivity of each) is
        missing, or one is given that the quantity does not use.
    """
    phases = labels.phases
    if phases is None:
        raise ArgumentError(
            f"field {labels.name!r} holds no labels; segment it first, or ingest it with --phases"
        )
    local = local_variables()
    of_flux = {
        "flux_tolerance": flux_tolerance,
        "units": units,
        "faces": faces,
        "sides": sides,
        "interface": interface,
        "interface_area": interface_area,
    }
    if name in local:
        _refuse(name, {"conductivity": conductivity, "axis": axis, **of_flux})
        descriptor, variable = local[name]
        material = Material(phases, labels.spacing_nm, "nm")
        return _local(descriptor, variable, material, _phase(name, phase, phases))
    axis = "z" if axis is None else axis
    if axis not in AXES:
        raise ArgumentError(f"axis is {axis!r}; use one of z, y or x")
    if name == GEODESIC:
        _refuse(name, {"conductivity": conductivity, **of_flux})
        chosen = _phase(name, phase, phases)
        return _geodesic(phases[chosen], chosen, AXES.index(axis), labels.spacing_nm)
    by_code = _by_code(name, phase, conductivity, phases)
    tolerance = FLUX_TOLERANCE if flux_tolerance is None else flux_tolerance
    physics = Physics(
        by_code,
        faces or "outer",
        sides or "insulated",
        interface=chosen_interface(labels, interface),
        interface_area=interface_area or "normal",
    )
    refuse_unused_area(physics.interface, physics.interface_area)
    refuse_without_particles(labels, physics.interface)
    # The solver's own checks reject bad values: solving a bar of all phases applies them before a
    # window is read.
    bar = np.broadcast_to(np.array(phases.codes, np.uint8), (4, 4, len(phases)))
    _solved(np.ascontiguousarray(bar), physics, 0, (1.0, 1.0, 1.0), tolerance)
    warn_of_conductances(labels, physics, units or UNITS)
    driven = Driven(
        physics, AXES.index(axis), labels.spacing_nm, float(tolerance), units or UNITS, phases
    )
    return _flux(name, driven, typed_interface(labels, interface))


def _refuse(name: str, given: Mapping[str, Any]) -> None:
    """Reject options that a quantity ignores: the user would expect them to change the result."""
    if unused := [
        f"--{option.replace('_', '-')}" for option, value in given.items() if value is not None
    ]:
        raise ArgumentError(f"{name} does not use {', '.join(unused)}: leave it out")


def _phase(name: str, phase: str | None, phases: Phases) -> str:
    if phase is None or phase not in phases:
        seen = "no phase is given" if phase is None else f"phase {phase!r} does not exist"
        raise ArgumentError(
            f"{name} needs one phase, and {seen}: --phase {phases.names[0]} (of {phases})"
        )
    return phase


def _by_code(
    name: str, phase: str | None, conductivity: Mapping[str, Conductivity] | None, phases: Phases
) -> dict[int, Conductivity]:
    """Conductivity of every code: as given, or 1 in one phase."""
    if (phase is None) == (conductivity is None):
        example = ",".join(f"{n}={int(not place)}" for place, n in enumerate(phases))
        raise ArgumentError(
            f"{name} needs either the phase that conducts, --phase {phases.names[0]}, or a conductivity of each, "
            f"--conductivity {example}"
        )
    if conductivity is None:
        conducting = _phase(name, phase, phases)
        return {code: float(n == conducting) for n, code in phases.items()}
    if wrong := set(phases) ^ set(conductivity):
        raise ArgumentError(
            f"conductivities are needed of {', '.join(phases)}, each once; {', '.join(sorted(wrong))} is missing or "
            f"not a phase: --conductivity {','.join(f'{n}={conductivity.get(n, 0)}' for n in phases)}"
        )
    return {
        phases[n]: float(k) if isinstance(k, int | float) else tuple(map(float, k))
        for n, k in conductivity.items()
    }


@dataclass(frozen=True)
class WindowKernel:
    """Record of a window: value or None, whether it percolates, voxels of each code."""

    quantity: Quantity
    phases: Phases

    def __call__(self, labels: np.ndarray, window: Box) -> dict[str, Any]:
        """Compute the record of a window; JSON stores its numbers to the last bit."""
        check_labels(labels, window, self.phases)
        value, percolates = self.quantity.of(labels, window)
        counts = sum(
            (np.bincount(p.ravel(), minlength=256) for p in labels[window.slices]),
            np.zeros(256, np.int64),
        )
        voxels = [int(counts[code]) for code in self.phases.codes]
        return {
            "value": value if math.isfinite(value) else None,
            "percolates": percolates,
            "voxels": voxels,
        }
