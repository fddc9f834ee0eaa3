"""Interfaces and contacts of particles: what is typed, what is doubtful about it, and what is found."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.conduction.conduction import PERFECT, Physics
from tim3d.kernels.conduction.interfaces import Areas, Contacts, touching
from tim3d.kernels.conduction.material import Interfaces
from tim3d.stages.shared.grid_agreement import refuse_unlike
from tim3d.stages.shared.siblings import BESIDE
from tim3d.storage import store
from tim3d.storage.schema import AXES, Field

log = logging.getLogger(__name__)

# Metres per nanometre: conductances per area are given in units of conductivity per metre, voxels
# in nm.
NM = 1e-9
# Conductances per area that were measured, in W m-2 K-1: from dry contacts to epitaxial interfaces.
PLAUSIBLE = (1e2, 1e10)
# 1/H is lost in the resistance of half voxels, h / 2k, where H is more than this times k/h.
LOST = 20.0
# Contacts of a smaller radius, in voxels, do not resolve their constriction.
NARROW = 2.0


def chosen_interface(labels: Field, interface: Mapping[str, float] | None) -> Interfaces | None:
    """Conductances per area between codes, in units of conductivity per nm.

    `interface` has them by names of phases, per metre.
    """
    given = {names: _pair(labels, names) for names in interface or {}}
    for names, value in (interface or {}).items():
        _check_conductance(names, float(value))
    found = {
        pair: float((interface or {})[names]) * NM
        for names, pair in sorted(given.items(), key=lambda g: g[1])
    }
    if len(found) < len(given):
        raise ArgumentError(
            f"two phases are given twice in {', '.join(given)}: give each --interface once"
        )
    return found or None


def _check_conductance(names: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ArgumentError(
            f"interface {names} is {value:g}; a conductance per area must be positive and finite "
            f"(measured ones are {PLAUSIBLE[0]:g} ... {PLAUSIBLE[1]:g} W m-2 K-1). "
            f"Leave it out where contact is perfect, or type --interface {names}=1e8"
        )


def chosen_contact(contact: float | Sequence[float] | None) -> tuple[float, float]:
    """Conductance per area of the low and the high face, in units of conductivity per nm."""
    if contact is None:
        return PERFECT
    given = [contact] if isinstance(contact, int | float) else list(contact)
    if len(given) not in (1, 2):
        raise ArgumentError(
            f"{len(given)} contacts are given; give one for the low and one for the high face: --contact H,H"
        )
    for value in given:
        if not value > 0:
            raise ArgumentError(
                f"a contact is {value:g}; a conductance per area must be positive (measured ones are "
                f"{PLAUSIBLE[0]:g} ... {PLAUSIBLE[1]:g} W m-2 K-1). Leave it out where contact is "
                "perfect, or inf for one face: --contact inf,1e6"
            )
    return float(given[0]) * NM, float(given[-1]) * NM


def typed_interface(
    labels: Field, interface: Mapping[str, float] | None
) -> dict[str, float] | None:
    """Conductances per area by phase names as typed, in the order of the field's phases."""
    pairs = sorted((_pair(labels, key), float(value)) for key, value in (interface or {}).items())
    return {pair_name(labels, pair): value for pair, value in pairs} or None


def pair_name(labels: Field, pair: tuple[int, int]) -> str:
    """Names of two codes, as an interface is typed."""
    names = {code: name for name, code in (labels.phases or {}).items()}
    return f"{names[pair[0]]}:{names[pair[1]]}"


def _pair(labels: Field, names: str) -> tuple[int, int]:
    parts = [part.strip() for part in names.split(":")]
    assert labels.phases is not None
    if len(parts) != 2 or not set(parts) <= set(labels.phases):
        first = ":".join(list(labels.phases)[:2])
        raise ArgumentError(
            f"interface {names!r} is not between two of the phases {', '.join(labels.phases)}; "
            f"write --interface {first}=1e8"
        )
    low, high = sorted(labels.phases[part] for part in parts)
    return low, high


def refuse_without_particles(labels: Field, interface: Interfaces | None) -> None:
    """Raise `ArgumentError` for an interface of a phase with itself: nothing says where it is."""
    for code in touching(interface):
        names = pair_name(labels, (code, code))
        raise ArgumentError(
            f"interface {names} is between particles of one phase, and no field says which voxels "
            "are one particle: name it, --particles FIELD"
        )


def refuse_unused_area(interface: Interfaces | None, area: str) -> None:
    """Raise `ArgumentError` if an area is chosen of interfaces that do not resist."""
    if area != "normal" and not interface:
        raise ArgumentError(
            f"the interface area is {area!r} and no interface has a resistance: leave out "
            "--interface-area, or give an --interface"
        )


def check_interfaces(
    sample: str, labels: Field, physics: Physics, particles: str, units: str, axes: Sequence[str]
) -> None:
    """Refuse interfaces that cannot be, and warn of doubtful ones.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    labels : Field
        The label field.
    physics : Physics
        What conducts and resists.
    particles : str
        Field that numbers the particles; empty if none are distinguished.
    units : str
        Unit of the conductivities.
    axes : sequence of str
        Axes along which the flux is driven.
    """
    refuse_unused_area(physics.interface, physics.interface_area)
    if particles:
        _check_particles(sample, labels, particles, physics)
        _warn_of_cut_particles(sample, labels, physics, particles, axes)
    else:
        refuse_without_particles(labels, physics.interface)
    warn_of_conductances(labels, physics, units)


def _warn_of_cut_particles(
    sample: str, labels: Field, physics: Physics, particles: str, axes: Sequence[str]
) -> None:
    """Warn if the solution goes on across faces at which the numbers of particles end."""
    wraps = store.node_attributes(sample, particles).get("wraps", ())
    periodic = [
        name
        for name, voxels in zip(AXES, labels.shape, strict=True)
        if voxels > 1
        and (physics.cell or (physics.sides == "periodic" and any(one != name for one in axes)))
    ]
    cut = [name for name in periodic if name not in wraps]
    if cut:
        log.warning(
            "particles %r were numbered in a volume that ends at its faces normal to %s, and the solution is periodic: "
            "a particle that such a face cuts counts as two, with a contact between its halves. Numbers of packed "
            "grains that go on across the faces:  tim3d generate --particles",
            particles, ", ".join(cut),
        )  # fmt: skip


def _check_particles(sample: str, labels: Field, name: str, physics: Physics) -> None:
    """Raise if the field of particles is missing, of no use, not of integers or on another grid."""
    if not touching(physics.interface):
        conducting = max(
            labels.phases or (),
            key=lambda phase: max(physics.checked[(labels.phases or {})[phase]]),
        )
        raise ArgumentError(
            f"particles {name!r} resist each other only by an interface of their phase with itself: "
            f"add --interface {conducting}:{conducting}=1e5"
        )
    found = store.complete_field(sample, name, "label")
    if not (found.labels or found.may_number):
        raise ArgumentError(
            f"field {name!r} holds grey values of {found.dtype}; particles are numbered by integers, as those of "
            "tim3d label --keep, or of tim3d ingest --convert objects"
        )
    if found.phases:
        raise ArgumentError(
            f"field {name!r} holds the phases {', '.join(found.phases)}; particles are numbered by integers, as those "
            "of tim3d label --keep, or of tim3d generate --particles"
        )
    refuse_unlike(sample, labels, found)
    record = store.node_attributes(sample, name)
    if record.get(BESIDE, labels.name) != labels.name:
        raise ArgumentError(
            f"particles {name!r} were written beside {record[BESIDE]!r} and not beside {labels.name!r}: give the "
            "numbers of these labels, --particles FIELD"
        )


def warn_of_conductances(labels: Field, physics: Physics, units: str) -> None:
    """Warn of conductances per area that are implausible, or that the voxels do not resolve."""
    inner = (physics.interface or {}).items()
    named = [(f"interface {pair_name(labels, pair)}", value) for pair, value in inner]
    named += [("contact", value) for value in physics.contact if math.isfinite(value)]
    for name, value in dict.fromkeys(named):
        if units == "W m-1 K-1" and not PLAUSIBLE[0] <= value / NM <= PLAUSIBLE[1]:
            log.warning(
                "%s: %g W m-2 K-1 is outside of %g ... %g, in which measured interfaces "
                "lie; is it in another unit, as MW m-2 K-1 (times 1e6)?",
                name, value / NM, *PLAUSIBLE,
            )  # fmt: skip
    for pair, value in inner:
        edge = min(labels.spacing_nm)
        best = max(max(physics.checked[code]) for code in pair)
        if best > 0 and value > LOST * best / edge:
            log.warning(
                "interface %s: 1/H is less than a tenth of the resistance of half a voxel on both sides "
                "(H %g, k/h %.3g): the voxels of %g nm do not resolve it",
                pair_name(labels, pair), value / NM, best / edge / NM, edge,
            )  # fmt: skip


def refuse_apart(names: Mapping[int, str], areas: Areas | None) -> None:
    """Raise `InputError` if two phases with an interface touch nowhere."""
    for (one, other), (stairs, _) in areas.interfaces.items() if areas else ():
        if stairs == 0:
            what = f"{names[one]}:{names[other]}"
            seen = (
                f"no two particles of {names[one]} touch"
                if one == other
                else f"{names[one]} and {names[other]} touch nowhere"
            )
            raise InputError(
                f"interface {what} has no place: {seen}. Leave out --interface {what}=..., or "
                "correct its names"
            )


def record_of(areas: Areas, spacing: Sequence[float]) -> dict[str, Any]:
    """Areas of interfaces and statistics of contacts as JSON, in nm2."""
    interfaces = {f"{a}:{b}": list(values) for (a, b), values in areas.interfaces.items()}
    found: dict[str, Any] = {"interfaces": interfaces}
    if areas.particles:
        found["contacts"] = _statistics(areas, areas.contacts, spacing)
    return found


def _statistics(areas: Areas, contacts: Contacts, spacing: Sequence[float]) -> dict[str, Any]:
    """Number, areas and coordination of the contacts of particles."""
    count = len(contacts.areas)
    _, neighbours = np.unique(contacts.pairs, return_counts=True)
    histogram = np.bincount(neighbours, minlength=1)
    histogram[0] = areas.particles - len(neighbours)
    edge = math.prod(spacing) ** (1 / 3)
    narrow = np.count_nonzero(contacts.areas < math.pi * (NARROW * edge) ** 2)
    return {
        "particles": areas.particles,
        "unassigned": areas.unassigned,
        "contacts": count,
        "area": float(contacts.areas.sum()),
        "narrow": int(narrow),
        "coordination": histogram.tolist(),
    }


def warn_of_contacts(found: Mapping[str, Any]) -> None:
    """Warn of contacts that the voxels do not resolve, and of voxels without a particle."""
    if not (contacts := found.get("contacts")):
        return
    if contacts["narrow"]:
        log.warning(
            "%d of %d contacts between particles have a radius below %g voxels: the constriction of "
            "the flux towards them, 1 / (2 a k), is a third too large and more",
            contacts["narrow"], contacts["contacts"], NARROW,
        )  # fmt: skip
    if contacts["unassigned"]:
        log.warning(
            "%d voxels of phases with contacts belong to no particle (0): they conduct into all "
            "particles without a resistance",
            contacts["unassigned"],
        )
