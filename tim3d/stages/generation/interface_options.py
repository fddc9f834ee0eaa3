"""A thermal interface from the options of the shell: ``generate --kind interface``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from typing import Any, TypeVar

from tim3d.errors import ArgumentError
from tim3d.grid import Triple
from tim3d.kernels.generation.particles import Grains
from tim3d.kernels.generation.rough_surface import RoughSurface
from tim3d.kernels.generation.thermal_interface import Delamination, ThermalInterface, Voids
from tim3d.stages.generation.contact_options import rough_surface
from tim3d.storage.schema import Spacing

# Arguments that apply to an interface only.
OF_INTERFACES = ("bond_line_nm", "film_nm", "roughness", "voids", "delamination")
# Streams of the noise of the lower and the upper surface; particles, voids and gaps have others.
STREAMS = (8, 9)
T = TypeVar("T", Voids, Delamination)


def thermal_interface(
    given: Mapping[str, Any],
    grains: Grains,
    shape: Triple,
    spacing: Spacing,
    seed: int,
) -> ThermalInterface:
    """Return the generator of an interface: what the bond line leaves of the volume is substrate.

    Raises
    ------
    ArgumentError
        If a substrate is thinner than a voxel, or an argument is out of range.
    """
    bond_line = float(given["bond_line_nm"])
    return ThermalInterface(
        grains,
        given["loading"],
        spacing,
        seed,
        bond_line,
        substrate_nm(shape[0], spacing[0], bond_line),
        (shape[1], shape[2]),
        given.get("film_nm", 0.0),
        *_surfaces(given.get("roughness"), shape, spacing, seed),
        _named(Voids, given.get("voids"), "voids"),
        _named(Delamination, given.get("delamination"), "delamination"),
        given.get("phases"),
    )


def substrate_nm(slices: int, step: float, bond_line: float) -> float:
    """Thickness of the lower substrate in nm: half of what is left, in whole voxels.

    Raises
    ------
    ArgumentError
        If it is thinner than a voxel.

    Examples
    --------
    >>> substrate_nm(47, 10.0, 400.0)
    30.0
    """
    left = slices - bond_line / step
    if left < 2 - 1e-6:
        least = -(-bond_line // step) + 2
        raise ArgumentError(
            f"a substrate is thinner than a voxel: {slices} voxels of {step:g} nm along z leave {left * step:g} nm "
            f"beside a bond line of {bond_line:g} nm, and each substrate takes one voxel or more: "
            f"--shape {least:.0f},... or a smaller --bond-line-nm"
        )
    return float(int(left / 2 + 1e-6) * step)


def _surfaces(
    given: Mapping[str, float] | None, shape: Triple, spacing: Spacing, seed: int
) -> tuple[RoughSurface | None, RoughSurface | None]:
    """Return the lower and the upper surface: of one roughness, and independent of each other."""
    if given is None:
        return None, None
    surface = rough_surface(given, shape, spacing, seed)
    low, high = (replace(surface, stream=stream) for stream in STREAMS)
    return low, high


def _named(kind: type[T], given: Mapping[str, float] | None, name: str) -> T | None:
    """A part of an interface from its numbers by name."""
    if given is None:
        return None
    known = {one.name: one.default is MISSING for one in fields(kind)}
    if unknown := [key for key in given if key not in known]:
        raise ArgumentError(f"--{name} has no {unknown[0]!r}; it has {', '.join(known)}")
    if missing := [key for key, is_needed in known.items() if is_needed and key not in given]:
        raise ArgumentError(
            f"--{name} needs {' and '.join(missing)}; for example --{name} {EXAMPLES[name]}"
        )
    return kind(**{key: float(value) for key, value in given.items()})


EXAMPLES = {
    "voids": "share=0.05,diameter_nm=500",
    "delamination": "below=0.1,patch_nm=2000,gap_nm=100",
}
