"""Two rough bodies in contact from the options of the shell: ``generate --kind contact``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tim3d.errors import ArgumentError
from tim3d.grid import Triple
from tim3d.kernels.generation.rough_contact import PRESSED, RoughContact
from tim3d.kernels.generation.rough_surface import RoughSurface
from tim3d.storage.schema import Spacing

# Arguments that apply to a contact only, and its phases.
OF_CONTACTS = ("roughness", "pressure", "phases")
# Numbers of a surface as they are typed, in the order of `RoughSurface`.
ROUGHNESS = ("rms_nm", "hurst", "correlation_nm", "cutoff_nm")
EXAMPLE = "rms_nm=60,hurst=0.8,correlation_nm=4000,cutoff_nm=400"


def rough_contact(
    given: Mapping[str, Any], shape: Triple, spacing: Spacing, seed: int
) -> RoughContact:
    """Return the generator of a contact: both surfaces alike in law, of the volume's own period.

    Raises
    ------
    ArgumentError
        If a number is missing, out of range, or does not fit the volume.
    """
    lower = rough_surface(given["roughness"], shape, spacing, seed)
    height, phases = shape[0] * spacing[0], given.get("phases", PRESSED)
    upper = replace(lower, stream=1)
    return RoughContact(lower, upper, given["pressure"], height, spacing, phases)


def rough_surface(
    given: Mapping[str, float], shape: Triple, spacing: Spacing, seed: int
) -> RoughSurface:
    """Return the surface of the volume's own period that some numbers by name describe.

    Raises
    ------
    ArgumentError
        If a number is missing, out of range, or does not fit the volume.
    """
    rms, hurst, longest, shortest = _numbers(given)
    period = (shape[1], shape[2])
    return RoughSurface(rms, hurst, longest, shortest, spacing[1:], period, seed)


def _numbers(given: Mapping[str, float]) -> list[float]:
    """Numbers of a surface in their order."""
    if unknown := [name for name in given if name not in ROUGHNESS]:
        raise ArgumentError(f"--roughness has no {unknown[0]!r}; it has {', '.join(ROUGHNESS)}")
    if missing := [name for name in ROUGHNESS if name not in given]:
        raise ArgumentError(
            f"--roughness needs {' and '.join(missing)}; for example --roughness {EXAMPLE}"
        )
    return [float(given[name]) for name in ROUGHNESS]
