"""Results of the flux solver as a Dataset: every number with its unit, definition and source."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tim3d.descriptors.interface_conductances import interface_names, interface_variables
from tim3d.descriptors.particle_shares import particle_share_variables
from tim3d.descriptors.sensitivities import sensitivity_coordinates, sensitivity_variables
from tim3d.grid import AXES
from tim3d.kernels.conduction.bounds import hashin_shtrikman, richardson, wiener
from tim3d.kernels.conduction.conduction import PERFECT, Physics
from tim3d.kernels.conduction.local_flux import CLASSES, class_edges
from tim3d.kernels.conduction.material import Diagonal
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases

REFERENCES = {
    "tortuosity": "doi:10.1016/j.softx.2016.09.002",
    "wiener": "Abh. Math.-Phys. Kl. Koenigl. Saechs. Ges. Wiss. 32 (1912) 509",
    "hashin_shtrikman": "doi:10.1063/1.1728579",
    "kapitza": "doi:10.1103/RevModPhys.61.605",
}
# Variable, key in the record of a solution, long name. The unit: as the conductivity, or 1.
VARIABLES = {
    "effective_conductivity": ("conductivity", "effective conductivity Q L / (A dT)"),
    "tortuosity_factor_total": (
        "tortuosity_total",
        "mean k / effective k, islands counted in the mean",
    ),
    "tortuosity_factor_through": (
        "tortuosity_through",
        "mean k / effective k, islands left out of the mean",
    ),
    "mean_conductivity_total": ("mean_total", "mean conductivity of all voxels"),
    "mean_conductivity_through": ("mean_through", "mean conductivity, islands set to 0"),
    "percolates": ("percolates", "1 if a conducting path joins both faces"),
    "flux_spread": ("spread", "(max - min) / mean of the flux over all planes"),
    "iterations": ("iterations", "steps of conjugate gradients"),
}
EXTRAPOLATED = ("effective_conductivity", "tortuosity_factor_total", "tortuosity_factor_through")
METHOD = "7-point finite volumes, harmonic face conductances, multigrid-preconditioned conjugate gradients"
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Context:
    """Material and physics of a solution, and how it was computed."""

    phases: Phases
    spacing_nm: tuple[float, float, float]
    physics: Physics
    axes: tuple[str, ...]
    units: str
    tolerance: float
    voxels: Mapping[int, int]

    @property
    def conductivity(self) -> dict[int, Diagonal]:
        """Conductivity along z, y, x by code."""
        return self.physics.checked

    @property
    def resists(self) -> bool:
        """Whether interfaces or contacts have a resistance."""
        return bool(self.physics.interface) or self.physics.contact != PERFECT


def transport(
    context: Context, fine: Mapping[str, Record], coarse: Mapping[str, Record]
) -> xr.Dataset:
    """Dataset of the solutions by axis, with those at every second voxel if there are any."""
    first = fine[context.axes[0]]
    found = {
        name: _over_axes(context, name, [value(fine[a], name) for a in context.axes])
        for name in VARIABLES
    }
    found |= (
        _extrapolated(context, fine, coarse)
        | bounds(context)
        | _tensor(context, fine)
        | _local(context, fine)
        | interface_variables(first, context.physics.interface_area)
    )
    interfaces = interface_names(first, context.phases)
    along = {axis: fine[axis] for axis in context.axes}
    found |= sensitivity_variables(along, context.phases, interfaces, context.spacing_nm)
    found |= particle_share_variables(along, context.spacing_nm)
    coordinates: dict[str, Any] = {"axis": np.array(context.axes, dtype=object)}
    coordinates["phase"] = np.array(list(context.phases), dtype=object)
    if "interface_area_true" in found:
        coordinates["interface"] = np.array(interfaces, dtype=object)
    coordinates |= sensitivity_coordinates(found)
    if "flux_coordination" in found:
        coordinates["neighbours"] = np.arange(len(found["flux_coordination"][1]))
    if "conductivity_tensor" in found:
        coordinates["flux_axis"] = np.array(AXES, dtype=object)
    if "flux_histogram" in found:
        middle = np.sqrt(class_edges()[1:] * class_edges()[:-1])
        text = "size of the flux density over its mean: geometric centre of classes a factor 2^(1/4) wide"
        coordinates["flux_class"] = ("flux_class", middle, {"units": "1", "long_name": text})
    for name in context.axes:
        flux, step = np.array(fine[name]["flux"]), context.spacing_nm[AXES.index(name)]
        places = (context.physics.hidden + np.arange(flux.size)) * step
        coordinates[f"{name}_face"] = (
            f"{name}_face",
            places,
            {"units": "nm", "long_name": f"face along {name}"},
        )
        about = _attributes(
            context.units, "conductivity as seen by the flux through each plane of faces"
        )
        found[f"plane_conductivity_{name}"] = ((f"{name}_face",), flux, about)
    if not any("phase" in dims for dims, *_ in found.values()):
        del coordinates["phase"]
    return xr.Dataset(found, coordinates, _about(context))


def value(record: Record, name: str) -> float:
    """Value of a variable in one solution."""
    key = VARIABLES[name][0]
    if not key.startswith("tortuosity"):
        return float(record[key])
    mean = record["mean_" + key.removeprefix("tortuosity_")]
    return mean / record["conductivity"] if record["percolates"] else math.inf


def _over_axes(
    context: Context, name: str, values: Sequence[float], long_name: str = ""
) -> tuple[Any, ...]:
    units = context.units if "conductivity" in name else "1"
    return ("axis",), np.array(values), _attributes(units, long_name or VARIABLES[name][1])


def _attributes(
    units: str, long_name: str, reference: str = REFERENCES["tortuosity"]
) -> dict[str, str]:
    return {"units": units, "long_name": long_name, "method": METHOD, "reference": reference}


def _extrapolated(
    context: Context, fine: Mapping[str, Record], coarse: Mapping[str, Record]
) -> dict[str, Any]:
    """Value of every second voxel, value at vanishing voxel size and its uncertainty."""
    found: dict[str, Any] = {}
    for name in EXTRAPOLATED if coarse else ():
        pairs = [(value(fine[a], name), value(coarse[a], name)) for a in context.axes]
        estimates = [richardson(*pair) for pair in pairs]
        text = VARIABLES[name][1]
        for suffix, values, more in (
            ("coarse", [c for _, c in pairs], "of every second voxel"),
            ("limit", [v for v, _ in estimates], "at vanishing voxel size"),
            ("limit_uncertainty", [u for _, u in estimates], "at vanishing voxel size: half width"),
        ):
            found[f"{name}_{suffix}"] = _over_axes(context, name, values, f"{text}, {more}")
    return found


def bounds(context: Context) -> dict[str, Any]:
    """Bounds by axis from volume fractions; no lower bound if interfaces or contacts resist."""
    total = sum(context.voxels.values())
    fractions = [context.voxels[code] / total for code in context.conductivity]
    isotropic = all(len(set(k)) == 1 for k in context.conductivity.values())
    found: dict[str, Any] = {}
    for name, function, text in (
        ("wiener", wiener, "for any geometry"),
        ("hashin_shtrikman", hashin_shtrikman, "for any isotropic geometry"),
    ):
        if name == "hashin_shtrikman" and not isotropic:
            continue
        along = [
            [k[AXES.index(axis)] for k in context.conductivity.values()] for axis in context.axes
        ]
        pairs = [function(fractions, values) for values in along]
        for number, side in enumerate(("lower", "upper")):
            if side == "upper" or not context.resists:
                about = _attributes(
                    context.units, f"{side} bound of the conductivity {text}", REFERENCES[name]
                )
                values = np.array([pair[number] for pair in pairs])
                found[f"conductivity_{name}_{side}"] = (
                    ("axis",),
                    values,
                    about | {"method": "from volume fractions"},
                )
    return found


def _tensor(context: Context, fine: Mapping[str, Record]) -> dict[str, Any]:
    """Tensor of the conductivity, a row for each axis of the gradient."""
    if not context.physics.cell:
        return {}
    rows = np.array([fine[axis]["row"] for axis in context.axes])
    text = "mean flux density along flux_axis over the mean gradient along axis"
    found: dict[str, Any] = {
        "conductivity_tensor": (("axis", "flux_axis"), rows, _attributes(context.units, text))
    }
    if len(context.axes) == len(AXES):
        asymmetry = float(np.abs(rows - rows.T).max() / max(np.abs(rows).max(), 1e-300))
        about = _attributes(
            "1",
            "largest difference of opposite off-diagonals over the largest entry: 0 if solved exactly",
        )
        found["tensor_asymmetry"] = ((), asymmetry, about)
    return found


# Statistics of the size of the flux density, by axis and phase.
LOCAL = {
    "flux_mean": "mean size of the flux density over its mean, in the voxels of a phase in which something flows",
    "flux_deviation": "standard deviation of that size over the mean flux density",
    "dissipation_share": "share of what is dissipated that is dissipated in the voxels of a phase",
    "flux_histogram": "voxels by size of the flux density over its mean",
}


def _local(context: Context, fine: Mapping[str, Record]) -> dict[str, Any]:
    if not any("local" in record for record in fine.values()):
        return {}
    rows = [
        [_statistics(context, fine[axis], code) for code in context.phases.codes]
        for axis in context.axes
    ]
    found = {}
    for number, (name, text) in enumerate(LOCAL.items()):
        dims = ("axis", "phase", "flux_class") if name == "flux_histogram" else ("axis", "phase")
        found[name] = (
            dims,
            np.array([[phase[number] for phase in axis] for axis in rows]),
            _attributes("1", text),
        )
    return found


def _statistics(
    context: Context, record: Record, code: int
) -> tuple[float, float, float, np.ndarray]:
    """Statistics in the order of `LOCAL`; the mean is nan in a phase without flux."""
    local = record.get("local")
    place = record["labels"].index(code) if local and code in record["labels"] else -1
    if not local or place < 0 or not local["voxels"][place]:
        return math.nan, math.nan, 0.0, np.zeros(CLASSES, np.int64)
    count, mean = local["voxels"][place], record["conductivity"]
    first, second = local["total"][place] / count / mean, local["squares"][place] / count / mean**2
    # Total dissipation, including that at interfaces and contacts.
    whole = mean * sum(context.voxels.values())
    spread = math.sqrt(max(second - first**2, 0.0))
    return first, spread, local["dissipation"][place] / whole, np.array(local["histogram"][place])


def _about(context: Context) -> dict[str, Any]:
    names = {code: name for name, code in context.phases.items()}
    physics = context.physics
    outer = physics.electrodes == "outer"
    driven = (
        "mean gradient in a periodic cell"
        if physics.cell
        else "outer faces, L = N h"
        if outer
        else "voxel centres, L = (N - 1) h"
    )
    about = {
        "method": "steady conduction, mean of the flux through all planes",
        "dirichlet": driven,
        "sides": "periodic" if physics.cell else physics.sides,
        "connectivity": 6,
        "island": "conducting component that does not touch both electrodes, or does not wind around a cell; flux 0",
        "tortuosity": "factor, (mean k) / k_eff, neither squared nor rooted",
        "tolerance": context.tolerance,
        "conductivity": {names[code]: _short(k) for code, k in context.conductivity.items()},
        "phase_voxels": {names[code]: count for code, count in context.voxels.items()},
        "spacing_nm": list(context.spacing_nm),
    }
    per_area = "in the unit of the conductivity per metre"
    if physics.interface:
        pairs = {
            f"{names[a]}:{names[b]}": value * 1e9 for (a, b), value in physics.interface.items()
        }
        about |= {
            "interface": pairs,
            "interface_meaning": f"conductance per area, {per_area}; {REFERENCES['kapitza']}",
            "interface_area": physics.interface_area,
        }
    if physics.contact != PERFECT:
        about |= {
            "contact": [str(value * 1e9) for value in physics.contact],
            "contact_meaning": f"low and high face, {per_area}",
        }
    return about


def _short(k: Diagonal) -> float | list[float]:
    return k[0] if len(set(k)) == 1 else list(k)
