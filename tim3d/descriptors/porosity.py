"""Porosity and its relatives: computed from stored fractions, surfaces and components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tim3d.errors import ArgumentError
from tim3d.lazy import xarray as xr

#: Names of phases that are pores without being named so by the user.
PORES = ("pore", "pores", "void", "voids", "air", "vacuum")
_VOXELS = {"units": "1", "method": "voxel count", "reference": "doi:10.1002/9783527628308"}
_PYCNOMETER = "doi:10.1351/pac199466081739"


def pore_phases(names: Sequence[str], wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """Phases that count as pores: those that are wanted, or the only one with the name of pores.

    Parameters
    ----------
    names : sequence of str
        All phases.
    wanted : sequence of str
        Phases that the user names (default: by their names).

    Returns
    -------
    tuple of str
        Empty if no phase has such a name, or several have.

    Raises
    ------
    ArgumentError
        If a wanted phase is not there.

    Examples
    --------
    >>> pore_phases(["void", "copper"]), pore_phases(["pore", "air"]), pore_phases(["a", "b"], ["b"])
    (('void',), (), ('b',))
    """
    if missing := [name for name in wanted if name not in names]:
        raise ArgumentError(f"--pore {','.join(missing)}: there are the phases {', '.join(names)}")
    found = [name for name in names if name.lower() in PORES]
    return tuple(wanted) or (tuple(found) if len(found) == 1 else ())


def porosity(found: xr.Dataset, pores: Sequence[str]) -> dict[str, xr.DataArray]:
    """Porosity and relative density.

    Parameters
    ----------
    found : Dataset
        With ``phase_fraction``.
    pores : sequence of str
        Phases that count as pores.
    """
    if not pores or "phase_fraction" not in found:
        return {}
    share = found["phase_fraction"].sel(phase=list(pores)).sum("phase")
    named = " and ".join(pores)
    return {
        "porosity": _number(share, f"volume fraction of {named}"),
        "relative_density": _number(1 - share, f"volume fraction of all that is not {named}"),
    }


def open_and_closed(components: xr.Dataset, code: int, voxels: int) -> dict[str, xr.DataArray]:
    """Open and closed porosity from the components of one phase.

    Parameters
    ----------
    components : Dataset
        Table of components, as `label` keeps it.
    code : int
        Code of the pores.
    voxels : int
        Voxels of the volume.
    """
    ours = components["component_phase"].values == code
    sizes = components["component_voxels"].values[ours]
    outside = components["component_touches"].values[ours].any(axis=(1, 2))
    joined = f"connectivity {components.attrs.get('connectivity', 'not recorded')}"
    text = "volume fraction of the pores that {} (" + joined + ")"
    return {
        "open_porosity": _number(
            int(sizes[outside].sum()) / voxels,
            text.format("reach an outer face of the sample"),
            _PYCNOMETER,
        ),
        "closed_porosity": _number(
            int(sizes[~outside].sum()) / voxels, text.format("reach no outer face"), _PYCNOMETER
        ),
    }


def per_mass(found: xr.Dataset, density: Mapping[str, float]) -> dict[str, xr.DataArray]:
    """Specific surface over the mass of the phases whose density is given, in m² g⁻¹.

    Parameters
    ----------
    found : Dataset
        With ``phase_fraction`` and ``specific_surface``, in nm-1.
    density : mapping of str to float
        Density in g cm-3, by phase; what is not named counts without mass.

    Examples
    --------
    >>> found = xr.Dataset({"phase_fraction": ("phase", [0.5, 0.5]),
    ...     "specific_surface": ("phase", [0.01, 0.01], {"units": "nm-1"})}, {"phase": ["pore", "solid"]})
    >>> round(float(per_mass(found, {"solid": 2.5})["specific_surface_per_mass"].sel(phase="solid")), 6)
    8.0
    """
    if not density or not {"phase_fraction", "specific_surface"} <= set(found.data_vars):
        return {}
    names = [str(n) for n in found["phase"].values]
    check_density(density, names)
    shares = found["phase_fraction"]
    each = [rho * shares.sel(phase=n, drop=True) for n, rho in density.items()]
    mass = sum(each[1:], each[0])
    listed = ", ".join(f"{name} {rho:g} g cm-3" for name, rho in density.items())
    about = {
        **found["specific_surface"].attrs,
        "units": "m2 g-1",
        "long_name": f"surface of each phase over the mass of {listed}; other phases weigh nothing",
        "density": listed,
    }
    about.pop("ancillary_variables", None)
    metres = found["specific_surface"] * 1e3 / mass.where(mass > 0)
    return {"specific_surface_per_mass": metres.assign_attrs(about)}


def check_density(density: Mapping[str, float], names: Sequence[str]) -> None:
    """Refuse densities that are not positive, or of phases that are not there.

    Raises
    ------
    ArgumentError
    """
    for name, rho in density.items():
        if name not in names:
            raise ArgumentError(
                f"--density {name}={rho:g}: there are the phases {', '.join(names)}"
            )
        if not 0 < rho < 30:
            raise ArgumentError(
                f"--density {name}={rho:g}: a density in g cm-3 above 0 and below 30, for example {name}=8.96"
            )


def _number(value: float | xr.DataArray, long_name: str, reference: str = "") -> xr.DataArray:
    about: dict[str, Any] = _VOXELS | {"long_name": long_name}
    found = xr.DataArray(value)
    found.attrs = about | ({"reference": reference} if reference else {})
    return found
