"""Results of folders of single images as text in the shell; no sample holds them."""

from __future__ import annotations

from tim3d.lazy import xarray as xr
from tim3d.reporting import table
from tim3d.reporting.section import Section


def is_of_images(found: xr.Dataset) -> bool:
    """Whether a result was made by a verb of single images."""
    return "image" in found.dims


def text(found: xr.Dataset) -> str:
    """A row for each image, or for each of its phases."""
    names = [str(n) for n, v in found.data_vars.items() if "image" in v.dims]
    by_phase = any("phase" in found[n].dims for n in names)
    header = ["image", *(["phase"] if by_phase else []), *(_head(found, n) for n in names)]
    rows = [
        [
            str(image),
            *([str(phase)] if by_phase else []),
            *(_cell(found[n], image, phase) for n in names),
        ]
        for image in found.image.values
        for phase in (found.phase.values if by_phase else [None])
    ]
    return "\n".join(table.aligned([header, [], *rows]))


def _head(found: xr.Dataset, name: str) -> str:
    units = str(found[name].attrs.get("units", "1"))
    return name if units == "1" else f"{name} ({units})"


def _cell(variable: xr.DataArray, image: object, phase: object) -> str:
    place = {"image": image} | ({"phase": phase} if "phase" in variable.dims else {})
    value = variable.sel(place).item()
    return str(value) if isinstance(value, int) else table.number(value) or "-"


IMAGES = Section.of_shell("Images", is_of_images, text)
