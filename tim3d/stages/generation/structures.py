"""Generators with a known law, from options: cuts of Gaussian fields, phase fields, particles in a matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Triple, triple
from tim3d.kernels.generation.admissible_correlation import nearest_admissible
from tim3d.kernels.generation.gaussian_field import GaussianField, LevelCuts
from tim3d.kernels.generation.generator import Generator, listed, refuse_longer
from tim3d.kernels.generation.packing import FILLED, HardCore, Overlapping, Packed
from tim3d.kernels.generation.particles import Grains, lognormal
from tim3d.kernels.generation.polycrystal import GROWTH, POLYCRYSTAL, Polycrystal
from tim3d.kernels.generation.spectral_field import FARTHEST, SpectralField, correlation_of
from tim3d.kernels.generation.spinodal import RIPENING, Spinodal
from tim3d.phases import Phases
from tim3d.stages.generation.contact_options import EXAMPLE, OF_CONTACTS, rough_contact
from tim3d.stages.generation.interface_options import OF_INTERFACES, thermal_interface
from tim3d.stages.generation.measured_s2 import (
    is_awaited,
    is_sample_name,
    measured_s2,
    two_phases,
)
from tim3d.storage.schema import Spacing

# Arguments that are lengths in nm above 0.
LENGTHS = ("correlation_nm", "wavelength_nm", "grain_nm", "diameter_nm", "cell_nm", "bond_line_nm")
# Arguments that apply to some kinds only.
OF_FIELDS = ("fractions", "correlation_nm", "s2")
OF_SPINODAL = ("fractions", "wavelength_nm", "ripening", "cell_nm")
OF_POLYCRYSTALS = ("grain_nm", "boundary_nm", "growth", "phases", "cell_nm")
OF_GRAINS = ("loading", "phases", "diameter_nm", "spread", "sizes", "aspect", "orientation")


@dataclass(frozen=True)
class Place:
    """Where a structure is made: shape, voxel edges, seed, and the period (0 along none)."""

    shape: Triple
    spacing: Spacing
    seed: int
    period: Triple


@dataclass(frozen=True)
class Kind:
    """A kind of structure: the arguments that it has, and its generator of those that are given."""

    options: Sequence[str]
    make: Callable[[Mapping[str, Any], Place], Generator]


def refuse_no_lengths(given: Mapping[str, Any]) -> None:
    """Raise `ArgumentError` if a length that was typed is not above 0 and finite."""
    for name in (name for name in LENGTHS if name in given):
        value = given[name]
        lengths = [float(v) for v in (value if isinstance(value, Sequence) else [value])]
        if not all(0 < length < math.inf for length in lengths):
            raise ArgumentError(
                f"--{name.replace('_', '-')} {listed(lengths)}: a length is above 0 nm and finite"
            )


def choose(kind: str, given: Mapping[str, Any], place: Place) -> Generator:
    """Return the generator of a kind that has a known law.

    Raises
    ------
    ArgumentError
        If an argument is missing or does not apply to the kind.
    """
    refuse_foreign(kind, given, STRUCTURES[kind].options)
    refuse_no_lengths(given)
    return STRUCTURES[kind].make(given, place)


def _grains_in_matrix(
    model: type[Overlapping | HardCore], kind: str, given: Mapping[str, Any], at: Place
) -> Generator:
    grains, loading = _grains(given), need(given, "loading", kind, "0.3")
    cure = "--diameter-nm" if "diameter_nm" in given else "--sizes"
    refuse_longer(2 * grains.longest, at.shape, at.spacing, "a grain", cure)
    return model(grains, loading, at.spacing, at.seed, at.period, given.get("phases", FILLED))


def _packed(given: Mapping[str, Any], at: Place) -> Generator:
    grains, loading = _grains(given), need(given, "loading", "packed", "0.3")
    volume = [n * d for n, d in zip(at.shape, at.spacing, strict=True)]
    z, y, x = (float(v) for v in given.get("cell_nm", volume))
    if any(at.period) and (z, y, x) != tuple(volume):
        raise ArgumentError(
            "a periodic volume of packed grains is one cell: leave out --cell-nm or --periodic"
        )
    return Packed(grains, loading, at.spacing, at.seed, (z, y, x), given.get("phases", FILLED))


def _spinodal(given: Mapping[str, Any], at: Place) -> Generator:
    shares = need(given, "fractions", "spinodal", "pore=0.4,solid=0.6")
    z, y, x = _three(need(given, "wavelength_nm", "spinodal", "200"), "wavelength-nm")
    if len(shares) != 2:
        raise ArgumentError(
            f"spinodal decomposition has two phases, and {len(shares)} are named: {', '.join(shares)}"
        )
    first, second = (float(v) for v in shares.values())
    return Spinodal(
        (first, second), (z, y, x), at.spacing, at.seed, _cell_voxels(given, at),
        given.get("ripening", RIPENING), Phases(**{name: code for code, name in enumerate(shares)}),
    )  # fmt: skip


def _polycrystal(given: Mapping[str, Any], at: Place) -> Generator:
    return Polycrystal(
        need(given, "grain_nm", "polycrystal", "200"), at.spacing, at.seed, _cell_voxels(given, at),
        given.get("boundary_nm"), given.get("growth", GROWTH), given.get("phases", POLYCRYSTAL),
    )  # fmt: skip


def _cell_voxels(given: Mapping[str, Any], at: Place) -> Triple:
    """Voxels of the cell, by default those of the volume."""
    if "cell_nm" not in given:
        return at.shape
    if any(at.period):
        raise ArgumentError("a periodic volume is one cell: leave out --cell-nm or --periodic")
    edges = [float(v) / d for v, d in zip(given["cell_nm"], at.spacing, strict=True)]
    if any(abs(n - round(n)) > 1e-6 for n in edges):
        raise ArgumentError(
            f"a cell of {listed(given['cell_nm'])} nm is not whole voxels of {listed(at.spacing)} nm; change --cell-nm"
        )
    return triple(round(n) for n in edges)


def _contact(given: Mapping[str, Any], at: Place) -> Generator:
    _refuse_period("a contact", at.period)
    need(given, "roughness", "contact", EXAMPLE)
    need(given, "pressure", "contact", "0.01")
    return rough_contact(given, at.shape, at.spacing, at.seed)


def _interface(given: Mapping[str, Any], at: Place) -> Generator:
    _refuse_period("an interface", at.period)
    grains = _grains(given)
    need(given, "loading", "interface", "0.3")
    need(given, "bond_line_nm", "interface", "20000")
    return thermal_interface(given, grains, at.shape, at.spacing, at.seed)


def _refuse_period(what: str, period: Triple) -> None:
    if any(period):
        raise ArgumentError(
            f"{what} is not periodic along z, and always is along y and x: leave out --periodic"
        )


def refuse_foreign(kind: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise `ArgumentError` if an argument does not apply to this kind."""
    foreign = [name for name in given if name not in known]
    if foreign:
        dashed = [f"--{name.replace('_', '-')}" for name in (foreign[0], *known)]
        raise ArgumentError(
            f"--kind {kind} has no use for {dashed[0]}; it has {', '.join(dashed[1:])}"
        )


def need(given: Mapping[str, Any], name: str, kind: str, example: str) -> Any:
    """Return an argument that this kind needs, or raise `ArgumentError` with an example."""
    if name not in given:
        dashed = name.replace("_", "-")
        raise ArgumentError(f"--kind {kind} needs --{dashed}; for example --{dashed} {example}")
    return given[name]


def _field(given: Mapping[str, Any], at: Place) -> Generator:
    spacing, seed, period = at.spacing, at.seed, at.period
    if ("s2" in given) == ("correlation_nm" in given):
        raise ArgumentError(
            "--kind field needs either --correlation-nm 80 or --s2 with a table or a measured sample"
        )
    if "s2" in given and is_sample_name(given["s2"]):
        return _like_sample(given, spacing, seed, period)
    shares = need(given, "fractions", "field", "pore=0.4,solid=0.6")
    phases = Phases(**{name: code for code, name in enumerate(shares)})
    fractions = tuple(float(v) for v in shares.values())
    if "s2" in given:
        if len(fractions) != 2:
            raise ArgumentError(
                f"S2 is that of two phases, and {len(fractions)} are named: {', '.join(shares)}"
            )
        return LevelCuts(
            _from_s2(Path(given["s2"]), fractions[0], spacing, seed, period), fractions, phases
        )
    z, y, x = _three(given["correlation_nm"], "correlation-nm")
    refuse_longer(max(z, y, x), at.shape, spacing, "a correlation length", "--correlation-nm")
    return LevelCuts(GaussianField((z, y, x), spacing, seed, period), fractions, phases)


def _like_sample(
    given: Mapping[str, Any], spacing: Spacing, seed: int, period: Triple
) -> LevelCuts:
    """Level cut with the phases, the fraction and S2 of a sample."""
    source = str(given["s2"])
    if "fractions" in given:
        raise ArgumentError(f"phases and fractions are those of {source}: leave out --fractions")
    if is_awaited(source):
        return _awaited(two_phases(source), spacing, seed, period)
    found = measured_s2(source)
    first = float(found.values[0])
    counted = correlation_of(np.minimum(found.values, first), first)
    counted[0] = 1.0
    correlation = nearest_admissible(found.distances_nm, counted)
    field = SpectralField(
        tuple(found.distances_nm.tolist()), tuple(correlation.tolist()), spacing, seed, period
    )
    return LevelCuts(field, (first, 1 - first), found.phases)


def _awaited(phases: Phases, spacing: Spacing, seed: int, period: Triple) -> LevelCuts:
    """Level cut in place of one whose S2 is yet to be measured; its reach, the longest, bounds the memory."""
    longest = (0.0, FARTHEST * min(spacing))
    return LevelCuts(SpectralField(longest, (1.0, 0.5), spacing, seed, period), (0.5, 0.5), phases)


def awaits(given: Mapping[str, Any]) -> str:
    """The sample whose S2 an earlier step of a recipe has yet to measure; empty if there is none."""
    source = str(given.get("s2", ""))
    return source if source and is_sample_name(source) and is_awaited(source) else ""


def _three(value: float | Sequence[float], name: str) -> list[float]:
    values = [float(v) for v in (value if isinstance(value, Sequence) else [value])]
    if len(values) not in (1, 3):
        raise ArgumentError(f"--{name} takes one number or three for z, y, x; got {len(values)}")
    return values * 3 if len(values) == 1 else values


def _from_s2(
    path: Path, fraction: float, spacing: Spacing, seed: int, period: Triple
) -> SpectralField:
    """Return the field whose cut has the S2 of a table; at distance 0, S2 is the phase fraction."""
    try:
        table = np.loadtxt(path, delimiter=",", ndmin=2)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: {error}; expected rows of numbers: distance in nm, S2"
        ) from error
    if table.shape[0] < 4 or table.shape[1] != 2 or not np.isfinite(table).all():
        raise InputError(
            f"{path} has {table.shape[0]} rows of {table.shape[1]}; expected 4 or more: distance in nm, S2"
        )
    if table[0, 0] != 0 or abs(table[0, 1] - fraction) > 0.01:
        raise InputError(
            f"{path} begins with {table[0, 0]:g}, {table[0, 1]:g}; S2 at distance 0 is the fraction, {fraction:g}"
        )
    correlation = correlation_of(np.minimum(table[:, 1], fraction), fraction)
    correlation[0] = 1.0
    return SpectralField(
        tuple(table[:, 0].tolist()), tuple(correlation.tolist()), spacing, seed, period
    )


def _grains(given: Mapping[str, Any]) -> Grains:
    if ("sizes" in given) == ("diameter_nm" in given) or ("sizes" in given and "spread" in given):
        raise ArgumentError(
            "grains need either --diameter-nm 200 (and --spread 0.3) or --sizes 150=3,250=1"
        )
    if "sizes" in given:
        sizes = {float(d): float(n) for d, n in given["sizes"].items()}
    else:
        sizes = lognormal(given["diameter_nm"], given.get("spread", 0.0))
    z, y, x = _three(given.get("orientation", 1.0), "orientation")
    return Grains(tuple(sizes), tuple(sizes.values()), given.get("aspect", 1.0), (z, y, x))


STRUCTURES = {
    "field": Kind(OF_FIELDS, _field),
    "overlapping": Kind(OF_GRAINS, partial(_grains_in_matrix, Overlapping, "overlapping")),
    "hard-core": Kind(OF_GRAINS, partial(_grains_in_matrix, HardCore, "hard-core")),
    "packed": Kind((*OF_GRAINS, "cell_nm"), _packed),
    "spinodal": Kind(OF_SPINODAL, _spinodal),
    "polycrystal": Kind(OF_POLYCRYSTALS, _polycrystal),
    "interface": Kind((*OF_GRAINS, *OF_INTERFACES), _interface),
    "contact": Kind(OF_CONTACTS, _contact),
}
