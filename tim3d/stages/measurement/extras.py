"""Numbers beside the stored ones: porosity and its relatives, surface over mass, standard errors."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tim3d.descriptors.porosity import (
    check_density,
    open_and_closed,
    per_mass,
    pore_phases,
    porosity,
)
from tim3d.descriptors.struts import agreement
from tim3d.descriptors.uncertainty import with_errors
from tim3d.errors import ArgumentError
from tim3d.lazy import xarray as xr
from tim3d.stages.shared.results import results_of
from tim3d.storage import store


@dataclass(frozen=True)
class Extras:
    """Numbers that follow from stored ones and are not stored themselves."""

    sample: str
    field: str
    pore: tuple[str, ...] = ()
    density: Mapping[str, float] | None = None

    def beside(self, found: xr.Dataset, errors: xr.Dataset | None, *, whole: bool) -> xr.Dataset:
        """Results with the numbers that follow from them.

        Parameters
        ----------
        found : Dataset
            Results of the whole volume, a region or windows.
        errors : Dataset, optional
            Standard errors of what was measured in blocks (default: nothing was).
        whole : bool
            Whether they are of the whole volume.

        Raises
        ------
        ArgumentError
            If a phase that is named is not there, or a density is not one.
        """
        labels = store.read_field(self.sample, self.field)
        names = list(labels.phases or ())
        pores, density = pore_phases(names, self.pore), self.density or {}
        check_density(density, names)
        self._refuse_unmeasured(found, density)
        if errors is None:
            return found
        made = porosity(found, pores) | per_mass(found, density)
        if whole and "porosity" in made:
            made |= self._open(pores)
        ratios = {name: ratio for name, _, ratio in agreement(found, found).values()}
        full = _beside_fractions(found, made).assign(ratios)
        return with_errors(full, _of_pores(errors, pores))

    def _refuse_unmeasured(self, found: xr.Dataset, density: Mapping[str, float]) -> None:
        """Refuse arguments without the numbers that they are about."""
        needs = {"phase_fraction": bool(self.pore or density), "specific_surface": bool(density)}
        missing = [name for name, needed in needs.items() if needed and name not in found]
        if missing:
            named = "--density" if density else "--pore"
            raise ArgumentError(
                f"{named} needs {' and '.join(missing)} of {self.field!r}, not among these results. Run: "
                f"tim3d measure {shlex.quote(self.sample)} --field {self.field}"
            )

    def _open(self, pores: Sequence[str]) -> dict[str, xr.DataArray]:
        """Open and closed porosity, if the pores are one phase whose components are known."""
        labels = store.read_field(self.sample, self.field)
        phases: Mapping[str, int] = labels.phases or {}
        for node in results_of(self.sample, "label", self.field) if len(pores) == 1 else ():
            if store.outdated(self.sample, node):
                continue
            table = store.open_dataset(self.sample, node)
            if pores[0] in table["phase"].values:
                return open_and_closed(table, phases[pores[0]], math.prod(labels.shape))
        return {}


def _beside_fractions(found: xr.Dataset, made: Mapping[str, xr.DataArray]) -> xr.Dataset:
    """Results with further ones, in the order in which they are read."""
    both = found.assign(made)
    order = ["phase_fraction", *made]
    first = [name for name in order if name in both and name != "specific_surface_per_mass"]
    surfaces = [name for name in ("specific_surface", "specific_surface_per_mass") if name in both]
    rest = [name for name in both.data_vars if name not in (*first, *surfaces)]
    return both[[*first, *surfaces, *rest]]


def _of_pores(errors: xr.Dataset, pores: Sequence[str]) -> xr.Dataset:
    """Errors with those of porosity and relative density, if the pores are one phase."""
    errors = errors.drop_vars("relative_density", errors="ignore")
    if len(pores) != 1 or "phase_fraction" not in errors:
        return errors
    one = errors["phase_fraction"].sel(phase=pores[0], drop=True)
    one.attrs = dict(errors["phase_fraction"].attrs)
    return errors.assign(porosity=one, relative_density=one)
