"""Arguments that the verbs of single images share: which images, and tables as CSV."""

from __future__ import annotations

import csv as csv_files
import io
from pathlib import Path
from typing import Any

from tim3d.errors import ArgumentError
from tim3d.lazy import xarray as xr
from tim3d.sources.collection import images_in, listed_in
from tim3d.stages.shared.wide_table import cell, head
from tim3d.storage import outputs

TABLE = outputs.Kind(
    "a table of images of tim3d",
    lambda data: data.startswith(b"image,") and _has_results(data.splitlines()[0]),
)


def _has_results(head: bytes) -> bool:
    """Whether a first line names results: a user's own table may begin with the names of images too."""
    return any(name in head for name in (b"perimeter_per_area", b"iou", b"distance_from_training"))


def chosen_images(
    folder: str | Path, splits: str | Path | None, subset: str | None
) -> dict[str, Path]:
    """Images of a folder, all or those of a list.

    Raises
    ------
    ArgumentError
        If only one of `splits` and `subset` is given.
    """
    if (splits is None) != (subset is None):
        raise ArgumentError("--splits and --subset go together: --splits splits.json --subset test")
    images = images_in(folder)
    return images if splits is None else listed_in(images, splits, str(subset))


def check_table(csv: str | Path | None) -> Path | None:
    """Target of a table; raise `ArgumentError` if it must not be written."""
    return None if csv is None else outputs.check_target(csv, TABLE)


def write_table(found: xr.Dataset, target: Path | None) -> None:
    """Write a row for each image, and for each of its phases if there are any, with units.

    The unit of a column stands in brackets behind its name. Variables along other axes are left out.
    """
    if target is None:
        return
    names = [
        n for n, v in found.data_vars.items() if {"image"} <= set(v.dims) <= {"image", "phase"}
    ]
    by_phase = any("phase" in found[n].dims for n in names)
    text = io.StringIO(newline="")
    writer = csv_files.writer(text)
    heads = [head(str(n), found[n]) for n in names]
    writer.writerow(["image", *(["phase"] if by_phase else []), *heads])
    for image in found.image.values.tolist():
        for phase in found.phase.values.tolist() if by_phase else [None]:
            cells = [_cell(found[n], image, phase) for n in names]
            writer.writerow([image, *([phase] if by_phase else []), *cells])
    outputs.write_file(target, text.getvalue().encode(), TABLE)


def _cell(variable: xr.DataArray, image: Any, phase: Any) -> str:
    place = {"image": image} | ({"phase": phase} if "phase" in variable.dims else {})
    return cell(variable.sel(place).item())
