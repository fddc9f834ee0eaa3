"""Names by which other programs and papers call a descriptor or quantity."""

from __future__ import annotations

from collections.abc import Sequence

from tim3d.errors import ArgumentError
from tim3d.spelling import suggestion

#: Other names of descriptors and quantities; of two that are called alike, both.
ALIASES: dict[str, str | tuple[str, ...]] = {
    "porosity": "phase_fraction",
    "void_fraction": "phase_fraction",
    "volume_fraction": "phase_fraction",
    "relative_density": "phase_fraction",
    "solid_fraction": "phase_fraction",
    "open_porosity": "percolation",
    "closed_porosity": "percolation",
    "surface": "specific_surface",
    "surface_area": "specific_surface",
    "specific_surface_area": "specific_surface",
    "ssa": "specific_surface",
    "euler_number": "euler_density",
    "euler_characteristic": "euler_density",
    "mean_curvature": "mean_curvature_integral",
    "mip": "porosimetry",
    "mercury_intrusion": "porosimetry",
    "intrusion": "porosimetry",
    "constriction": "porosimetry",
    "bottleneck": "porosimetry",
    "k_eff": "effective_conductivity",
    "conductivity": "effective_conductivity",
    "thermal_conductivity": "effective_conductivity",
    "tortuosity": ("tortuosity_factor", "geodesic_tortuosity"),
}


def known_name(name: str, known: Sequence[str], what: str) -> str:
    """Name of a descriptor or quantity, from the name that was typed.

    Parameters
    ----------
    name : str
        A name, or another one of the same.
    known : sequence of str
        All names.
    what : str
        For the message: ``descriptor`` or ``quantity``.

    Raises
    ------
    ArgumentError
        If it is not known, or stands for several; the message lists what there is.

    Examples
    --------
    >>> known_name("porosity", ["phase_fraction", "euler_density"], "descriptor")
    'phase_fraction'
    """
    if name in known:
        return name
    meant = ALIASES.get(name.lower().replace(" ", "_").replace("-", "_"), ())
    if isinstance(meant, str) and meant in known:
        return meant
    several = [one for one in meant if one in known] if isinstance(meant, tuple) else []
    if several:
        raise ArgumentError(f"{name!r} may be {' or '.join(several)}: name one of them")
    raise ArgumentError(
        f"no {what} {name!r}{suggestion(name, [*known, *ALIASES])}; there are {', '.join(known)}"
    )
