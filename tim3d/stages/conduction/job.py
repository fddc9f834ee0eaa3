"""Checked arguments of the verb solve: physics of a sample's phases, solutions and fields."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tim3d.engine import Ledger
from tim3d.errors import ArgumentError
from tim3d.kernels.conduction.coding import InterfaceArea
from tim3d.kernels.conduction.conduction import Physics
from tim3d.kernels.conduction.material import Conductivity, check_conductivities, diagonal
from tim3d.spelling import suggestion
from tim3d.stages.conduction.interfaces import chosen_contact, chosen_interface
from tim3d.stages.conduction.slab_solver import Case
from tim3d.stages.shared.results import result_name
from tim3d.storage import schema, scratch, store
from tim3d.storage.schema import AXES, Field

UNITS = "W m-1 K-1"
# A variable that a result has only if this field was asked for.
SHOWN_BY = {"flux": "flux_mean", "sensitivity": "sensitivity_certificate"}


@dataclass(frozen=True)
class Solving:
    """Everything that decides the numbers of a conduction result."""

    axes: tuple[str, ...]
    physics: Physics
    tolerance: float
    richardson: bool
    units: str
    particles: str = ""

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters stored as provenance of the result."""
        return {
            "axes": list(self.axes),
            "richardson": self.richardson,
            "units": self.units,
            **self.of_field,
        }

    @property
    def of_field(self) -> dict[str, Any]:
        """Parameters that decide a potential.

        Other axes, the coarse voxel size and the unit do not.
        """
        physics = self.physics
        interface = {f"{a}:{b}": value for (a, b), value in (physics.interface or {}).items()}
        conductivity = {str(c): short(k) for c, k in physics.checked.items()}
        return {
            "conductivity": conductivity,
            "faces": physics.electrodes,
            "tolerance": self.tolerance,
            "sides": physics.sides,
            "cell": physics.cell,
            "contact": [str(value) for value in physics.contact],
            "interface": interface,
            **self.of_interfaces,
        }

    @property
    def of_interfaces(self) -> dict[str, Any]:
        """Parameters of interfaces, where there are any."""
        divided = {"particles": self.particles} if self.particles else {}
        area = {"interface_area": self.physics.interface_area} if self.physics.interface else {}
        return area | divided

    def cases(self) -> list[tuple[str, int]]:
        """Axis of each solution, and its step: 1 for every voxel, 2 for every second one."""
        return list(itertools.product(self.axes, (1, 2) if self.richardson else (1,)))


@dataclass(frozen=True)
class Job:
    """One call of solve: the label field, the solutions, and the names of what is stored.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    labels : Field
        The label field.
    solving : Solving
        Everything that decides the numbers.
    kinds : tuple of str
        Fields to be kept: ``potential``, ``flux``, ``sensitivity``.
    asked : mapping of str to (value, default)
        Physics and tolerance as typed by the user: names are made of them.
    out : str
        Name that replaces those made from the arguments; empty for the latter.
    seconds : float
        Seconds between two checkpoints.
    device : str
        Device of the solver.
    """

    sample: str
    labels: Field
    solving: Solving
    kinds: tuple[str, ...]
    asked: Mapping[str, tuple[Any, Any]]
    out: str
    seconds: float
    device: str = "cpu"

    @property
    def node(self) -> str:
        """Name of the result node."""
        solving = self.solving
        other = {
            "axis": (solving.axes, ("z",)),
            "richardson": (solving.richardson, False),
            "units": (solving.units, UNITS),
        }
        return self.out or result_name(f"{self.labels.name}_transport", **self.asked, **other)

    @property
    def inputs(self) -> dict[str, Any]:
        """Fingerprints of the fields that are read, stored as provenance."""
        names = filter(None, (self.labels.name, self.solving.particles))
        return {name: store.fingerprint_of(self.sample, name) for name in names}

    @property
    def fingerprint(self) -> str:
        """Hash of everything that decides the result."""
        return schema.fingerprint(
            verb="solve", inputs=self.inputs, parameters=self.solving.parameters
        )

    @property
    def record(self) -> dict[str, Any]:
        """Provenance of the result."""
        return store.provenance(self.fingerprint, self.solving.parameters, self.inputs) | {
            "verb": "solve"
        }

    @property
    def scratch(self) -> str:
        """Name of the node that holds temporary arrays during a run."""
        return scratch.node_of(self.node)

    def ledger(self, name: str) -> Ledger:
        """Ledger of ``solutions`` or of ``checkpoints``."""
        return Ledger(self.sample, f"{self.node}/{name}", self.fingerprint)

    def field_name(self, kind: str, axis: str) -> str:
        """Name of a kept field, made from what decides it: several results may share the field."""
        if self.out:
            return f"{self.out}_{kind}_{axis}"
        return result_name(f"{self.labels.name}_{kind}_{axis}", **self.asked)

    def fields(self) -> list[tuple[str, str]]:
        """Kind and axis of the fields that are kept."""
        return list(itertools.product(self.kinds, self.solving.axes))

    def has_results(self) -> bool:
        """Whether the result is stored, with everything that is requested."""
        record = store.node_attributes(self.sample, self.node)
        there = record.get("fingerprint") == self.fingerprint and record.get("status") == "complete"
        needed = {SHOWN_BY[kind] for kind in self.kinds if kind in SHOWN_BY}
        return there and needed <= set(record.get("variables", []))

    def case(self, axis: str, every: int) -> Case:
        """One solution: along `axis`, on every voxel or every second one."""
        labels = self.labels
        return Case(
            sample=self.sample,
            field=labels.name,
            ledger=self.ledger("checkpoints"),
            shape=labels.shape,
            spacing=labels.spacing_nm,
            physics=self.solving.physics,
            axis=AXES.index(axis),
            every=every,
            tolerance=self.solving.tolerance,
            scratch=self.scratch,
            keeps=self.kinds if every == 1 else (),
            seconds=self.seconds,
            device=self.device,
            particles=self.solving.particles,
            names={code: name for name, code in (labels.phases or {}).items()},
        )


def chosen_axes(axis: str | Sequence[str]) -> tuple[str, ...]:
    """Names of axes, checked and in the order z, y, x."""
    names = (axis,) if isinstance(axis, str) else tuple(axis)
    if not names or not set(names) <= set(AXES) or len(set(names)) < len(names):
        raise ArgumentError(f"axis is {axis!r}; use z, y or x, or several, each once: --axis z,y,x")
    return tuple(a for a in AXES if a in names)


def chosen_physics(
    labels: Field,
    conductivity: Mapping[str, Conductivity],
    faces: Any,
    sides: Any,
    cell: bool,
    interface: Mapping[str, float] | None,
    contact: float | Sequence[float] | None,
    area: InterfaceArea = "normal",
) -> Physics:
    """Physics of a label field, from arguments by phase name."""
    by_code = _by_code(labels, conductivity)
    return Physics(
        by_code,
        faces,
        sides,
        cell,
        chosen_interface(labels, interface),
        chosen_contact(contact),
        area,
    )


def typed_conductivity(labels: Field, by_code: Mapping[int, Conductivity]) -> dict[str, Any]:
    """Conductivities by phase name, in the order of the field, in their shortest form."""
    checked = check_conductivities(by_code)
    return {name: short(checked[code]) for name, code in (labels.phases or {}).items()}


def short(along: Sequence[float]) -> float | list[float]:
    """One number if all axes have the same, else the list."""
    return along[0] if len(set(along)) == 1 else list(along)


def _by_code(labels: Field, conductivity: Mapping[str, Conductivity]) -> dict[int, Conductivity]:
    if labels.phases is None:
        raise ArgumentError(
            f"field {labels.name!r} holds no labels; segment it first, or ingest it with --phases"
        )
    missing, unknown = (
        set(labels.phases) - set(conductivity),
        set(conductivity) - set(labels.phases),
    )
    if missing or unknown:
        strays = ", ".join(repr(name) + suggestion(name, labels.phases) for name in sorted(unknown))
        wrong = (
            f"no phase {strays}" if unknown else f"no conductivity for {', '.join(sorted(missing))}"
        )
        example = ",".join(f"{name}={conductivity.get(name, 'VALUE')}" for name in labels.phases)
        raise ArgumentError(
            f"{wrong}; {labels.name!r} has the phases {', '.join(labels.phases)}. "
            f"Give each one, 0 for an insulator: --conductivity {example}"
        )
    for name, k in conductivity.items():
        diagonal(name, k)  # refused by its name; below, codes are all that is known
    by_code = {labels.phases[name]: k for name, k in conductivity.items()}
    if not any(max(k) for k in check_conductivities(by_code).values()):
        example = ",".join(f"{name}={int(not place)}" for place, name in enumerate(labels.phases))
        raise ArgumentError(
            f"no phase conducts: give one a conductivity above 0, as --conductivity {example}"
        )
    return by_code
