"""Uncertainty of a number, and of which kind it is: read from what lies beside the number.

A standard error of the volume as a sample of its material is a variable of its own beside the number,
which names it in the attribute ``ancillary_variables`` (CF conventions). Where a verb solved at two
voxel sizes, the difference to the limit is the error of the voxel size; the flux has the spread over
its planes.
"""

from __future__ import annotations

from dataclasses import dataclass

from tim3d.lazy import xarray as xr

STANDARD_ERROR = "_standard_error"
# Limits of an interval over draws of the labels, and its level.
LOW, HIGH, LEVEL = "_low", "_high", 0.9
# Share of the draws in which a flag is 1.
PROBABILITY = "_probability"
OF_DRAWS = "segmentation: "
VOXEL_SIZE = "voxel size: difference to h → 0"
RICHARDSON = "extrapolation to h → 0: half width"
SOLVER = "solver: spread of the flux over all planes"
FIT = "standard error of the fit"
# Quantities that are as uncertain as the flux that they are computed from.
OF_FLUX = ("effective_conductivity", "tortuosity_factor_total", "tortuosity_factor_through")


@dataclass(frozen=True)
class Uncertainty:
    """Uncertainty of every element of a variable, in its unit, and its kind in words."""

    values: xr.DataArray
    kind: str


def with_errors(found: xr.Dataset, errors: xr.Dataset) -> xr.Dataset:
    """Results with standard errors beside them.

    Parameters
    ----------
    found : Dataset
        Results.
    errors : Dataset
        Errors of some of them, by their names, with the attribute ``kind``.
    """
    for name, error in errors.data_vars.items():
        beside = f"{name}{STANDARD_ERROR}"
        about = {
            "units": found[name].attrs.get("units", "1"),
            "long_name": f"standard error of {name}",
            "method": error.attrs["kind"],
            "reference": "doi:10.1111/j.1365-2818.1991.tb03099.x",
        }
        found = found.assign(
            {beside: xr.DataArray(error.values, error.coords, error.dims, attrs=about)}
        )
        found[name] = found[name].assign_attrs(ancillary_variables=beside)
    return found


def is_error(name: str, found: xr.Dataset) -> bool:
    """Whether a variable is the standard error of another one."""
    of = name.removesuffix(STANDARD_ERROR)
    return of != name and of in found


def is_limit(name: str, found: xr.Dataset) -> bool:
    """Whether a variable is a limit of the interval of another one over draws."""
    return any(
        name.endswith(end) and name.removesuffix(end) in found for end in (LOW, HIGH)
    ) and str(found[name].attrs.get("method", "")).startswith(OF_DRAWS)


def uncertainty_of(name: str, found: xr.Dataset) -> Uncertainty | None:
    """Uncertainty of a variable of some results; None if nothing is known of it.

    Parameters
    ----------
    name : str
        The variable.
    found : Dataset
        All results of its node.

    Examples
    --------
    >>> found = xr.Dataset({"k": 2.0, "k_limit": 1.5, "k_limit_uncertainty": 0.25})
    >>> one = uncertainty_of("k", found)
    >>> float(one.values), one.kind
    (0.5, 'voxel size: difference to h → 0')
    >>> float(uncertainty_of("k_limit", found).values), uncertainty_of("k_limit_uncertainty", found)
    (0.25, None)
    """
    beside: dict[str, str | None] = {
        f"{name}{STANDARD_ERROR}": None,
        f"{name}_uncertainty": RICHARDSON,
        f"{name}_error": FIT,
    }
    for other, kind in beside.items():
        if other in found:
            return Uncertainty(found[other], kind or str(found[other].attrs["method"]))
    if f"{name}_limit" in found:
        return Uncertainty(abs(found[name] - found[f"{name}_limit"]), VOXEL_SIZE)
    if name in OF_FLUX and "flux_spread" in found:
        return Uncertainty(abs(found[name]) * found["flux_spread"], SOLVER)
    return None
