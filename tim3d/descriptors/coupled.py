"""Quantities that couple all blocks: a flux, a path or a component crosses the whole volume.

They are not sums over blocks. A verb solves for them and stores a node of results; a `Coupled`
states which variables of that node belong to a name, and which command makes the node. It holds no
voxels and no blocks. `coupled` defines a quantity of the user: `measure` computes it, and stores it
as the verbs store theirs.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

import numpy as np

from tim3d.descriptors.base import Descriptor, Material, Variable, assembled
from tim3d.descriptors.inputs import LABELS, Input
from tim3d.descriptors.parametric import Parametric
from tim3d.errors import ArgumentError
from tim3d.grid import AXES
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases

# Conductivity of a phase: a number, or three along z, y and x.
Conductivity: TypeAlias = float | Sequence[float]
# Attributes of a node that are not conditions of its numbers.
_NO_CONDITIONS = ("tim3d", "spacing_nm", "volume_shape", "phase_voxels")
# Dimensions of tables that have a row for each object: thousands or millions of them.
ROW_DIMENSIONS = ("component", "particle", "contact", "node", "branch", "point")


@dataclass(frozen=True, slots=True)
class Whole:
    """Computation of a quantity from whole fields at once, by `measure`.

    Parameters
    ----------
    variables : tuple of Variable
        The results.
    compute : callable
        ``compute(*fields, material)``: value of each variable by its name, from the fields of
        `reads` as lazy `xarray.DataArray` with coordinates in nm, whose dask chunks are shards.
    reads : tuple of Input
        The fields.
    """

    variables: tuple[Variable, ...]
    compute: Callable[..., Mapping[str, Any]]
    reads: tuple[Input, ...] = (LABELS,)

    def results(self, fields: Sequence[xr.DataArray], material: Material) -> xr.Dataset:
        """Compute the values and attach their units and sources.

        Raises
        ------
        ArgumentError
            If a variable is missing.
        """
        values = self.compute(*fields, material)
        if missing := [v.name for v in self.variables if v.name not in values]:
            raise ArgumentError(
                f"compute gave {', '.join(values) or 'nothing'}, and declares {', '.join(missing)} too"
            )
        return assembled(self.variables, values, material)


@dataclass(frozen=True, slots=True)
class Coupled:
    """A named set of results of a verb that works on the whole volume.

    Parameters
    ----------
    name : str
        Name by which a user asks for it.
    verb : str
        The verb that computes it.
    node : str
        Ending of the node: ``transport`` stands for ``FIELD_transport``.
    variables : tuple of str
        Variables of the node that belong to it; ``*`` is a wildcard.
    arguments : str
        Arguments of the command besides the sample; ``{conductivity}`` stands for a conductivity
        of each phase.
    renamed : tuple of (str, str)
        Variables that are renamed, because another node has a variable of that name.
    windows : bool
        Whether `study` computes this quantity for windows of the volume.
    whole : Whole, optional
        How `measure` computes it, if no verb does: see `coupled`.
    of_phase : bool
        Whether a node is of the one phase that its attribute ``phase`` names. Nodes of several phases
        are joined along it.
    diagnostics : tuple of str
        Those of its results that bound a number or say how it was found, by their names in a
        Dataset; ``*`` is a wildcard. They have no interval of draws.
    flags : tuple of str
        Those of its results that are 1 or 0, in the same way. Beside them stands the share of the
        draws in which they are 1, in place of an interval.

    Examples
    --------
    >>> TORTUOSITY_FACTOR.command("a.zarr", "phase", Phases(pore=0, solid=1))
    'tim3d solve a.zarr --conductivity pore=0,solid=1 --axis z,y,x'
    """

    name: str
    verb: str
    node: str
    variables: tuple[str, ...]
    arguments: str = ""
    renamed: tuple[tuple[str, str], ...] = ()
    windows: bool = False
    whole: Whole | None = None
    of_phase: bool = False
    diagnostics: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()

    def command(self, sample: str, field: str, phases: Phases) -> str:
        """Command to type, with a conductivity of 0 for the phase ``pore`` and 1 for the others."""
        pairs = ",".join(f"{name}={int(name != 'pore')}" for name in phases)
        typed = self.arguments.format(conductivity=pairs)
        parts = [
            "tim3d",
            self.verb,
            shlex.quote(sample),
            typed,
            "" if field == "phase" else f"--field {field}",
        ]
        return " ".join(part for part in parts if part)

    def take(self, found: xr.Dataset, phases: Phases) -> xr.Dataset:
        """Variables of this quantity from the results of the verb, over all phases.

        Parameters
        ----------
        found : Dataset
            The node, as the verb wrote it.
        phases : Phases
            Phases of the label field; the values of a phase that was not computed are NaN.

        Returns
        -------
        xarray.Dataset
            The same numbers with `units`, `long_name`, `method`, `reference` and the `conditions`
            they hold under. Flags become 0 and 1. Where the node names conductivities, they are
            ``phase_conductivity`` (phase).
        """
        names = [
            n
            for n in found.data_vars
            if any(fnmatchcase(str(n), pattern) for pattern in self.variables)
        ]
        about = {"conditions": self.conditions(found.attrs)}
        chosen = {str(n): _numbers(found[n]).assign_attrs(found[n].attrs, **about) for n in names}
        if chosen and "effective_conductivity" in found and "conductivity" in found.attrs:
            chosen["phase_conductivity"] = _given(found, phases)
        taken = xr.Dataset(
            {dict(self.renamed).get(name, name): values for name, values in chosen.items()}
        )
        if self.of_phase:
            taken = taken.expand_dims(phase=np.array([found.attrs["phase"]], dtype=object))
        return taken.reindex(phase=_names(phases)) if "phase" in taken.dims else taken

    def conditions(self, attributes: Mapping[str, Any]) -> str:
        """Conditions of a node; where a node is of one phase, this is a coordinate."""
        own = ("phase",) if self.of_phase else ()
        return conditions({key: v for key, v in attributes.items() if key not in own})


# Requested descriptors: names of built-in ones, or values.
Descriptors: TypeAlias = Iterable[str | Descriptor | Parametric | Coupled]


def coupled(
    name: str,
    variables: tuple[Variable, ...],
    compute: Callable[..., Mapping[str, Any]],
    reads: tuple[Input, ...] = (LABELS,),
    diagnostics: tuple[str, ...] = (),
    flags: tuple[str, ...] = (),
) -> Coupled:
    """Define a quantity that needs the whole volume at once.

    `measure` computes it once for a version of its fields, in its own process, and stores it in the
    node ``FIELD_NAME``, from which `describe` reads it.

    Parameters
    ----------
    name : str
        Name of the quantity and ending of its node.
    variables : tuple of Variable
        The results.
    compute : callable
        As in `Whole`.
    reads : tuple of Input
        The fields (default: the measured labels).
    diagnostics, flags : tuple of str
        As in `Coupled`.

    Examples
    --------
    >>> size = Variable("largest_code", (), 0, "largest code", "maximum", "none")
    >>> own = coupled("largest_code", (size,), lambda labels, material: {"largest_code": labels.max()})
    >>> own.node, own.variables
    ('largest_code', ('largest_code',))
    """
    whole = Whole(variables, compute, reads)
    names = tuple(v.name for v in variables)
    return Coupled(name, "measure", name, names, whole=whole, diagnostics=diagnostics, flags=flags)


def _numbers(values: xr.DataArray) -> xr.DataArray:
    """Flags as 0 and 1: a flag of a phase that was not computed is NaN."""
    return values.astype(np.float64) if values.dtype == bool else values


def _names(phases: Phases) -> np.ndarray:
    return np.array(phases.names, dtype=object)


def _along(conductivity: Conductivity) -> list[float]:
    """Return one number, or three along z, y and x."""
    return (
        [float(k) for k in conductivity]
        if isinstance(conductivity, Sequence)
        else [float(conductivity)]
    )


def _typed(value: float) -> str:
    return str(value).removesuffix(".0")


def _given(found: xr.Dataset, phases: Phases) -> xr.DataArray:
    """Conductivity of each phase; along each axis if one differs there."""
    rows = [_along(found.attrs["conductivity"].get(name, np.nan)) for name in phases]
    about = {
        "units": found["effective_conductivity"].attrs.get("units", "1"),
        "long_name": "conductivity of the phase, as given to solve",
        "method": "input",
    }
    if all(len(row) == 1 for row in rows):
        return xr.DataArray(
            [k for (k,) in rows], {"phase": _names(phases)}, ("phase",), attrs=about
        )
    places = {"phase": _names(phases), "axis": np.array(AXES, dtype=object)}
    return xr.DataArray(
        [row * 3 if len(row) == 1 else row for row in rows], places, tuple(places), attrs=about
    )


def conditions(attributes: Mapping[str, Any]) -> str:
    """Conditions recorded in a node, as one line.

    >>> conditions({"sides": "insulated", "conductivity": {"solid": 2.0}, "spacing_nm": [1, 1, 1]})
    'sides: insulated; conductivity: solid=2'
    """
    return "; ".join(f"{k}: {_text(v)}" for k, v in attributes.items() if k not in _NO_CONDITIONS)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={_text(v)}" for k, v in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


_SOLVE = "--conductivity {conductivity} --axis z,y,x"
# The components of a phase percolate too, and not always where the conductors do.
_FLUX = (("percolates", "flux_percolates"),)
_FLAGS = ("flux_percolates",)
_SOLVER = ("flux_spread",)

EFFECTIVE_CONDUCTIVITY = Coupled(
    "effective_conductivity",
    "solve",
    "transport",
    (
        "effective_conductivity*",
        "conductivity_tensor*",
        "tensor_asymmetry",
        "conductivity_wiener_*",
        "conductivity_hashin_shtrikman_*",
        "flux_spread",
        "percolates",
    ),
    _SOLVE,
    _FLUX,
    windows=True,
    diagnostics=(*_SOLVER, "conductivity_wiener_*", "conductivity_hashin_shtrikman_*"),
    flags=_FLAGS,
)
TORTUOSITY_FACTOR = Coupled(
    "tortuosity_factor",
    "solve",
    "transport",
    ("tortuosity_factor_*", "flux_spread", "percolates"),
    _SOLVE,
    _FLUX,
    windows=True,
    diagnostics=_SOLVER,
    flags=_FLAGS,
)
LOCAL_FLUX = Coupled(
    "local_flux",
    "solve",
    "transport",
    ("flux_*", "dissipation_*", "plane_conductivity_*", "mean_conductivity_*"),
    _SOLVE,
    diagnostics=(*_SOLVER, "plane_conductivity_*"),
)
GEODESIC_TORTUOSITY = Coupled(
    "geodesic_tortuosity",
    "geodesic",
    "geodesic",
    ("geodesic_*", "plane_geodesic_*"),
    windows=True,
    diagnostics=("plane_geodesic_*",),
    flags=("geodesic_percolates",),
)
PERCOLATION = Coupled(
    "percolation",
    "label",
    "components",
    ("component_count", "largest_share", "*_fraction", "percolates"),
    flags=("percolates",),
)
PARTICLES = Coupled(
    "particles", "particles", "particles", ("particle_*", "contact_*"), "--phase PHASE"
)
STRUTS = Coupled("struts", "struts", "struts", ("strut_*",))
POROSIMETRY = Coupled(
    "porosimetry",
    "porosimetry",
    "porosimetry",
    ("r_max", "r_min*", "constriction*", "percolation_radius"),
    "--phase PHASE",
    of_phase=True,
)
REPRESENTATIVE_SIZE = Coupled(
    "representative_size",
    "study",
    "study",
    ("representative_edge", "required_edge", "integral_range", "variance_exponent*"),
    "--quantity phase_fraction --phase PHASE --windows N,N,...",
)
