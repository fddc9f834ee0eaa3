"""Tables of the particles and contacts that limit a flux most."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tim3d.lazy import xarray as xr
from tim3d.reporting import page, table

MOST = 10
SHARES = "share of the dissipation"


def worst_tables(found: xr.Dataset) -> Iterator[str]:
    """The contacts, then the particles with the largest shares along each axis; none without any."""
    if "flux_contact_share" not in found:
        return
    contacts = [_contact(found, axis, n) for axis, n in _worst(found.flux_contact_share)]
    header = ["flux along", "particle", "particle", "area, µm²", "z, µm", "y, µm", "x, µm", SHARES]
    text = (
        f"The contacts of two particles with the largest shares, {MOST} at most along each axis, of "
        f"{found.sizes['contact']}; place: the voxel of the largest dissipation."
    )
    if contacts:
        yield page.table(header, contacts, 3, text)
    particles = [
        [str(axis), str(int(found.particle[n])), _shown(found.flux_particle_share.sel(axis=axis)[n])]
        for axis, n in _worst(found.flux_particle_share)
    ]  # fmt: skip
    text = f"The particles with the largest shares, of {found.sizes['particle']}; without their contacts."
    if particles:
        yield page.table(["flux along", "particle", SHARES], particles, 2, text)


def _worst(shares: xr.DataArray) -> Iterator[tuple[str, int]]:
    """Axis and index of the largest shares along each axis, the largest first."""
    for axis in shares["axis"].values:
        row = np.nan_to_num(shares.sel(axis=axis).values)
        yield from (
            (str(axis), int(n)) for n in np.argsort(-row, kind="stable")[:MOST] if row[n] > 0
        )


def _contact(found: xr.Dataset, axis: str, n: int) -> list[str]:
    one = found.isel(contact=n).sel(axis=axis)
    lengths = [_shown(place / 1000) for place in one.flux_contact_position]
    numbers = [str(int(one[f"flux_contact_{end}"])) for end in ("first", "second")]
    area = _shown(one.flux_contact_area_each / 1e6)
    return [axis, *numbers, area, *lengths, _shown(one.flux_contact_share)]


def _shown(value: xr.DataArray) -> str:
    return page.number(table.number(float(value)))
