"""Targets of the volume of a diffusion, from options; those that no volume can have are refused."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from tim3d.errors import ArgumentError
from tim3d.grid import AXES, Triple
from tim3d.kernels.conduction.bounds import hashin_shtrikman, wiener
from tim3d.kernels.conduction.conduction import Physics
from tim3d.kernels.conduction.material import diagonal
from tim3d.kernels.generation.guidance import Guide, is_guided
from tim3d.kernels.generation.reverse_process import ReverseProcess
from tim3d.phases import Phases
from tim3d.spelling import suggestion

log = logging.getLogger(__name__)
TARGETS = ("phase_fraction", "conductivity")
# Voxels of an edge of an octant below which octants say nothing about the scatter.
SHORTEST_OCTANT = 8


class AskedGuidance(Protocol):
    """Settings of a diffusion that decide about guidance."""

    @property
    def target(self) -> Mapping[str, float] | None:
        """Values to guide to."""

    @property
    def conductivity(self) -> Mapping[str, float] | None:
        """Conductivity of both phases."""

    @property
    def axis(self) -> str | None:
        """Axis of the flux."""

    @property
    def scatter(self) -> Mapping[str, float] | None:
        """Natural scatter of targets."""


def chosen_guide(
    asked: AskedGuidance,
    process: ReverseProcess,
    phases: Phases | None,
    share: float | None,
    shape: Triple,
) -> Guide | None:
    """Return what a volume is guided to; None if there are no targets.

    Parameters
    ----------
    asked : AskedGuidance
        Settings of the user.
    process : ReverseProcess
        Steps from noise to data.
    phases : Phases, optional
        Phases of the network.
    share : float, optional
        Share of the first phase that a cut meets; it is a target too then.
    shape : (z, y, x)
        Voxels of the volume.

    Raises
    ------
    ArgumentError
        If no volume can have the targets, or an option does not fit them.
    """
    if not asked.target:
        _refuse_without_target(asked)
        return None
    names = list(phases or {})
    if len(names) != 2:
        raise ArgumentError(
            f"--target guides volumes of two phases, and the network has {', '.join(names) or 'grey values'}"
        )
    _check_names("--target", asked.target)
    _check_process(process)
    fraction = _fraction(asked.target.get("phase_fraction"), share, names)
    guide = Guide(
        fraction=fraction,
        conductivity=asked.target.get("conductivity"),
        conductivities=_conductivities(asked, names),
        axis=AXES.index(_axis(asked)),
        scatter=tuple(sorted(_scatter(asked, fraction is not None).items())),
    )
    if guide.conductivities is not None and guide.conductivity is not None:
        Physics(dict(enumerate(guide.conductivities))).check(shape, guide.axis)
        _check_bounds(guide.conductivity, guide.conductivities, fraction, names)
    _check_octants(guide, shape)
    return guide


def _refuse_without_target(asked: AskedGuidance) -> None:
    for name in ("conductivity", "axis", "scatter"):
        if getattr(asked, name) is not None:
            raise ArgumentError(
                f"--{name} is of a volume that is guided: give --target, for example "
                "--target conductivity=12, or leave it out"
            )


def _check_names(option: str, given: Mapping[str, float]) -> None:
    for name, value in given.items():
        if name not in TARGETS:
            raise ArgumentError(
                f"{option} has no {name!r}{suggestion(name, TARGETS)}; there are {', '.join(TARGETS)}"
            )
        if not math.isfinite(value):
            raise ArgumentError(f"{option} {name}={value}: give a finite number")


def _check_process(process: ReverseProcess) -> None:
    if process.sampler == "heun" or process.harmonise != 1:
        raise ArgumentError(
            "guidance moves the estimate of a step, which is evaluated once and done once: leave out --sampler heun "
            "and --harmonise, or --target"
        )
    if not any(map(is_guided, process.evaluations())):
        raise ArgumentError(
            f"{process.steps} steps leave none to guide, which is not done at the beginning and in the last one; "
            "give 16, for example"
        )


def _fraction(wanted: float | None, share: float | None, names: Sequence[str]) -> float | None:
    """Wanted share of the first phase."""
    if wanted is None:
        return share
    if share is not None:
        raise ArgumentError(
            "--fractions meets the phase fraction to the voxel, and guides to it: leave it out of --target"
        )
    if not 0 < wanted < 1:
        raise ArgumentError(
            f"--target phase_fraction={wanted:g}: the share of {names[0]} in a volume lies between 0 and 1"
        )
    return float(wanted)


def _axis(asked: AskedGuidance) -> str:
    if asked.axis is not None and "conductivity" not in (asked.target or {}):
        raise ArgumentError("--axis is that of a conductivity; name one in --target")
    axis = asked.axis or "z"
    if axis not in AXES:
        raise ArgumentError(f"axis is {axis!r}; choose of {', '.join(AXES)}")
    return axis


def _conductivities(asked: AskedGuidance, names: Sequence[str]) -> tuple[float, float] | None:
    """Conductivities in the order of the phases."""
    given, example = asked.conductivity, f"--conductivity {names[0]}=0,{names[1]}=1"
    if "conductivity" not in (asked.target or {}):
        if given is not None:
            raise ArgumentError(
                "--conductivity is of the phases of a target conductivity; name it in --target"
            )
        return None
    if given is None:
        raise ArgumentError(
            f"a target conductivity needs the conductivities of both phases: {example}"
        )
    if set(given) != set(names):
        raise ArgumentError(
            f"--conductivity names {', '.join(given)}, and the phases are {', '.join(names)}: {example}"
        )
    if any(isinstance(value, Sequence) for value in given.values()):
        raise ArgumentError(f"guidance takes one conductivity for each phase: {example}")
    first, second = (diagonal(name, float(given[name]))[0] for name in names)
    Physics({0: first, 1: second}).checked  # noqa: B018  refuses what is out of range
    if first == second:
        raise ArgumentError(
            f"both phases conduct alike, {first:g}: every volume has this conductivity"
        )
    return first, second


def _scatter(asked: AskedGuidance, has_fraction: bool) -> dict[str, float]:
    given = dict(asked.scatter or {})
    _check_names("--scatter", given)
    wanted = {*(asked.target or {}), *(("phase_fraction",) if has_fraction else ())}
    for name, value in given.items():
        if name not in wanted:
            raise ArgumentError(f"--scatter {name}: it is not among the targets")
        if not value > 0:
            raise ArgumentError(
                f"--scatter {name}={value:g}: a standard deviation is larger than 0"
            )
    return {name: float(value) for name, value in given.items()}


def _check_octants(guide: Guide, shape: Triple) -> None:
    unknown = [name for name in guide.targets if name not in dict(guide.scatter)]
    if unknown and min(shape) < 2 * SHORTEST_OCTANT:
        example = ",".join(f"{name}=0.01" for name in unknown)
        raise ArgumentError(
            f"the octants of a volume of {shape} are too small to tell the scatter of {', '.join(unknown)}: say it, "
            f"for example --scatter {example}"
        )


def _check_bounds(
    wanted: float, conductivities: Sequence[float], fraction: float | None, names: Sequence[str]
) -> None:
    """Refuse a conductivity outside of the bounds of all volumes; warn outside of those of isotropic ones."""
    lowest, highest = min(conductivities), max(conductivities)
    if fraction is None:
        if not lowest <= wanted <= highest:
            raise ArgumentError(
                f"--target conductivity={wanted:g}: that of a volume lies between those of its phases, {lowest:g} and "
                f"{highest:g}"
            )
        return
    fractions = (fraction, 1 - fraction)
    low, high = wiener(fractions, conductivities)
    inner = hashin_shtrikman(fractions, conductivities)
    where = f"with {fraction:.4g} of {names[0]}"
    text = f"from {inner[0]:.6g} to {inner[1]:.6g} if it is isotropic (Hashin and Shtrikman)"
    if not low <= wanted <= high:
        raise ArgumentError(
            f"--target conductivity={wanted:g}: no volume {where} has it. The bounds are {low:.6g} to {high:.6g} "
            f"(Wiener), and {text}"
        )
    if not inner[0] <= wanted <= inner[1]:
        log.warning(
            "the conductivity %g asked for is that of an anisotropic volume: %s it is %s",
            wanted, where, text,
        )  # fmt: skip
