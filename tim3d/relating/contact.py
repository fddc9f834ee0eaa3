"""The verb `contact`: area and resistance of solved contacts against pressure, beside the law of plastic contacts."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tim3d.engine import Outline
from tim3d.errors import ArgumentError, InputError, MissingFieldError
from tim3d.kernels.conduction.contact_spots import (
    harmonic,
    mean_spot_radius,
    plastic_conductance,
)
from tim3d.kernels.generation.rough_contact import RoughContact
from tim3d.kernels.generation.rough_surface import RoughSurface
from tim3d.kernels.statistics.straight_line import Line
from tim3d.lazy import xarray as xr
from tim3d.relating import files
from tim3d.relating.samples import names_of
from tim3d.relating.solved import NM, between_faces, component, solved_along
from tim3d.stages.measurement.describe import describe
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import outputs, store
from tim3d.storage.schema import Field
from tim3d.typed import Names, Samples

log = logging.getLogger(__name__)

MEASURED = ("phase_fraction", "projected_interface")
LAW = "doi:10.1016/0017-9310(69)90011-8"
# Voxels across a spot below which its constriction is a fifth too large or more.
RESOLVED = 8.0
# Name of a column, its unit, what it is, and where it comes from.
COLUMNS: dict[str, tuple[str, str, str]] = {
    "pressure": ("1", "pressure over the hardness of the softer body", "generator"),
    "contact_fraction": ("1", "share of the cross-section in contact", "voxel faces across z"),
    "resistance": ("m2 K W-1", "L / k_eff less L / k of both bodies, to the middle of the gap", "solve"),
    "conductance": ("W m-2 K-1", "1 / resistance", "solve"),
    "separation": ("nm", "distance of the mean planes of both faces", "bearing curve"),
    "rms_height": ("nm", "rms height of both faces together", "spectrum of the generator"),
    "mean_slope": ("1", "mean absolute slope of profiles of both faces together", "spectrum of the generator"),
    "spot_diameter": ("voxels", "mean diameter of a spot by the law", "law"),
    "law_conductance": ("W m-2 K-1", "conductance of the spots by Cooper, Mikic and Yovanovich", "law"),
    "law_gap_conductance": ("W m-2 K-1", "conductivity of the gap over the separation", "law"),
}  # fmt: skip


@Verb
def contact(
    samples: Samples,
    *,
    bodies: Names = ("lower", "upper"),
    field: str = "phase",
    transport: str = "",
    csv: str | Path | None = None,
) -> Task[xr.Dataset]:
    """Collect contact area and resistance of solved contacts, beside the law of plastic contacts.

    No voxel is read. Each sample is one contact at one pressure, measured and solved along z. What
    its generator recorded gives the pressure and the roughness; other samples, as those of a
    microscope, have area and resistance only. See docs/contact.md.

    Parameters
    ----------
    samples : list of str
        Paths or URLs of the samples.
    bodies : two names
        Phases of the lower and of the upper body; all others are gap.
    field : str
        The label field.
    transport : str
        Name of the result of solve that is meant (default: the only one along z).
    csv : path, optional
        File to which the table is written (default: none).

    Returns
    -------
    xarray.Dataset
        Variables over ``sample``, and where three pressures or more are known and the gap insulates
        ``exponent`` and ``prefactor`` of conductance x rms_height / (k mean_slope) against the
        pressure, with their standard errors. The law has 0.95 and 1.25.

    Raises
    ------
    ArgumentError
        If no sample is given, the bodies are not two phases, or the file must not be written.
    InputError
        If a result is not of flux along z between outer faces, or its unit is not W m-1 K-1.
    MissingFieldError
        If a sample has not been measured or solved.
    """
    given = [samples] if isinstance(samples, str) else list(samples)
    if not given:
        raise ArgumentError("no sample is given: tim3d contact p1.zarr p2.zarr")
    pair = tuple(bodies)
    if len(pair) != 2 or pair[0] == pair[1]:
        raise ArgumentError(
            f"a contact has two bodies, got {', '.join(pair)}: --bodies lower,upper"
        )
    target = None if csv is None else outputs.check_target(csv, files.WIDE)

    def run() -> xr.Dataset:
        found = _table(given, (pair[0], pair[1]), field, transport)
        files.write_wide(found[list(COLUMNS)], target)
        return found

    text = f"reads results of {len(given)} samples, no voxel"
    return Task(lambda: [Outline("contact", text)], run)


@dataclass(frozen=True)
class Solved:
    """Conductivities of a solved contact, in W m-1 K-1, in the volume and in its parts."""

    effective: float
    lower: float
    upper: float
    gap: float


def _table(
    samples: Sequence[str], bodies: tuple[str, str], field: str, transport: str
) -> xr.Dataset:
    rows = [_row(sample, bodies, field, transport) for sample in samples]
    found = xr.Dataset(coords={"sample": np.array(names_of(samples), object)})
    for name, (units, text, method) in COLUMNS.items():
        about = {"units": units, "long_name": text, "method": method}
        if method == "law":
            about["reference"] = LAW
        found[name] = ("sample", np.array([row[name] for row in rows]), about)
    insulating = all(row["gap_conductivity"] == 0 for row in rows)
    known = np.isfinite(found.pressure) & np.isfinite(found.conductance)
    if insulating and len(set(found.pressure.values[known.values])) >= 3:
        scale = np.array([row["conductivity"] for row in rows])
        found = found.assign(_fitted(found.isel(sample=known.values), scale[known.values]))
    _warn(found)
    return found


def _row(sample: str, bodies: tuple[str, str], field: str, transport: str) -> dict[str, float]:
    labels = store.complete_field(sample, field, "segment")
    if missing := [name for name in bodies if name not in (labels.phases or {})]:
        raise ArgumentError(
            f"{sample} has no phase {missing[0]!r} in {field!r} (it has {', '.join(labels.phases or {})}): "
            "name both bodies, --bodies NAME,NAME"
        )
    solved = _solved(sample, labels, bodies, transport)
    measured = _measured(sample, field)
    thickness = labels.shape[0] * labels.spacing_nm[0] * NM
    share = measured["phase_fraction"]
    low, high = (float(share.sel(phase=name)) for name in bodies)
    half = (1 - low - high) / 2
    outside = thickness * ((low + half) / solved.lower + (high + half) / solved.upper)
    resistance = thickness / solved.effective - outside if solved.effective > 0 else math.inf
    touching = measured["projected_interface"].sel(phase=bodies[0], phase_other=bodies[1], axis="z")
    return {
        "contact_fraction": float(touching) * thickness / NM,
        "resistance": resistance,
        "conductance": 1 / resistance if resistance > 0 else math.inf,
        "conductivity": harmonic(solved.lower, solved.upper),
        "gap_conductivity": solved.gap,
        **_generated(sample, labels, solved),
    }


def _measured(sample: str, field: str) -> xr.Dataset:
    try:
        return describe(sample, list(MEASURED), field=field, plain=True)
    except (MissingFieldError, ArgumentError) as error:
        raise MissingFieldError(
            f"the contact area of {field!r} of {sample} was not measured. Run: tim3d measure {sample}"
            f" --descriptors {','.join(MEASURED)}{'' if field == 'phase' else f' --field {field}'}"
        ) from error


def _solved(sample: str, labels: Field, bodies: tuple[str, str], transport: str) -> Solved:
    node = solved_along(sample, labels.name, "z", transport)
    found = between_faces(sample, node)
    if "contact" in found.attrs:
        raise InputError(
            f"{node!r} of {sample} has contacts at its outer faces, and the bodies none: solve without --contact"
        )
    along = {name: component(k, 0) for name, k in found.attrs["conductivity"].items()}
    gap = max([k for name, k in along.items() if name not in bodies], default=0.0)
    if min(along[name] for name in bodies) <= 0:
        raise InputError(f"a body of {node!r} of {sample} does not conduct")
    effective = float(found["effective_conductivity"].sel(axis="z"))
    return Solved(effective, along[bodies[0]], along[bodies[1]], gap)


def _generated(sample: str, labels: Field, solved: Solved) -> dict[str, float]:
    """Pressure and roughness as the generator recorded them, and the law; nan of other samples."""
    names = ("pressure", "separation", "rms_height", "mean_slope", "spot_diameter")
    laws = ("law_conductance", "law_gap_conductance")
    made = store.node_attributes(sample, labels.name).get("parameters", {})
    if made.get("kind") != "contact":
        return dict.fromkeys((*names, *laws), math.nan)
    pressed = _pressed(made)
    pressure, rms, slope = pressed.pressure, pressed.rms_nm, pressed.mean_slope
    known = pressure < 0.5 and rms > 0
    edge = math.sqrt(math.prod(labels.spacing_nm[1:]))
    spots = mean_spot_radius(pressure, slope, rms) if known else math.nan
    k = harmonic(solved.lower, solved.upper)
    law = plastic_conductance(pressure, slope, rms * NM, k) if known else math.nan
    away = pressed.separation_nm
    gap = solved.gap / (away * NM) if away > 0 else math.nan
    values = (pressure, away, rms, slope, 2 * spots / edge)
    return dict(zip((*names, *laws), (*values, law, gap), strict=True))


def _pressed(made: Mapping[str, Any]) -> RoughContact:
    """The generator of a record."""
    lower, upper = (_surface(made[name]) for name in ("lower", "upper"))
    z, y, x = made["spacing_nm"]
    return RoughContact(lower, upper, made["pressure"], made["thickness_nm"], (z, y, x))


def _surface(made: Mapping[str, Any]) -> RoughSurface:
    given = {key: value for key, value in made.items() if key != "kind"}
    for key in ("spacing_nm", "period"):
        given[key] = tuple(given[key])
    return RoughSurface(**given)


def _fitted(found: xr.Dataset, conductivity: np.ndarray) -> dict[str, Any]:
    """Power law of the dimensionless conductance, with standard errors of the fit."""
    own = found.conductance * found.rms_height * NM / (conductivity * found.mean_slope)
    line = Line(np.log(found.pressure.values), np.log(own.values))
    prefactor = math.exp(line.intercept)
    method = "least squares of logarithms; the law of plastic contacts has 0.95 and 1.25"
    values = {
        "exponent": (line.slope, "exponent of the pressure"),
        "exponent_standard_error": (line.slope_error, "standard error of the exponent"),
        "prefactor": (prefactor, "conductance x rms_height / (k mean_slope) at pressure 1"),
        "prefactor_standard_error": (prefactor * line.intercept_error, "standard error of the prefactor"),
    }  # fmt: skip
    about = {"units": "1", "method": method, "reference": LAW}
    return {name: ((), v, about | {"long_name": text}) for name, (v, text) in values.items()}


def _warn(found: xr.Dataset) -> None:
    """Warn of spots that the voxels do not resolve."""
    rough = [
        str(name) for name, d in zip(found["sample"].values, found.spot_diameter.values, strict=True) if d < RESOLVED
    ]  # fmt: skip
    if rough:
        log.warning(
            "spots are less than %g voxels wide in %s: the resistance is a fifth too large or more; use smaller "
            "voxels, which show the same contact",
            RESOLVED,
            ", ".join(rough),
        )
