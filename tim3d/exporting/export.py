"""The verb `export`: any field, surface, table or figure of a sample as a file of another program."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tim3d.errors import ArgumentError
from tim3d.exporting.asked import Asked
from tim3d.exporting.elements import ElementExport
from tim3d.exporting.job import Export
from tim3d.exporting.lines import LineExport
from tim3d.exporting.surface import SurfaceExport
from tim3d.exporting.tables import TableExport
from tim3d.exporting.volume import VolumeExport
from tim3d.formats.base import (
    ElementFormat,
    FigureFormat,
    Format,
    LineFormat,
    SurfaceFormat,
    TableFormat,
    VolumeFormat,
)
from tim3d.formats.builtin import format_of
from tim3d.spelling import given_twice
from tim3d.stages.shared.field import DEFAULTS, Options
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import outputs, store
from tim3d.typed import FormatName, Names, Nodes, Range


@Verb
def export(
    sample: str,
    field: str,
    out: str | Path,
    *,
    beside: Nodes = (),
    format: FormatName | Format | None = None,
    z: Range = slice(None),
    y: Range = slice(None),
    x: Range = slice(None),
    unit: Literal["nm", "um", "mm", "m"] = "nm",
    vectors: bool = False,
    phases: Names = (),
    smoothing: int = 0,
    keep: float = 1.0,
    cells: Literal["hexahedra", "tetrahedra"] = "hexahedra",
    drawing: str = "",
    regions: bool = False,
    rows: str = "",
    options: Options = DEFAULTS,
) -> Task[Path]:
    """Write a field, a surface, finite elements, struts, a table or a figure for other programs.

    The ending of the file says the format. Voxels are read and written slab by slab. A file gets its
    name when it is complete; an interrupted export is redone from the start. Coordinates in files are
    those of the sample: voxel i of an axis with step h has its centre at (i + 1/2) h.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    field : str
        Field or result to export. A figure may also show the file of a trained network.
    out : path
        File to write; a name without an ending is a folder of TIFF slices.
    beside : list of str
        Further fields of the same file (default: none). For VTI, VTK-HDF, HDF5 and OME-TIFF.
    format : str or Format, optional
        Format of the file (default: by its ending). In Python also one of your own
        (docs/extend.md).
    z, y, x : slice of nm
        Region along the axis from outer face to outer face, in nm whatever the unit of the file
        (default: all).
    unit : {"nm", "um", "mm", "m"}
        Unit of all lengths in the file.
    vectors : bool
        Add the flux density as vectors, for every potential among the fields.
    phases : list of str
        Phases that a surface encloses, or whose voxels become elements or struts lines (default: all
        but for surfaces).
    smoothing : int
        Number of steps of smoothing of a surface, which keep its volume.
    keep : float
        Share of the triangles of a surface that stays.
    cells : {"hexahedra", "tetrahedra"}
        Finite elements that a voxel becomes: one hexahedron or six tetrahedra.
    drawing : str
        Name of the figure, as in `tim3d.plotting` (default: the first one that suits).
    regions : bool
        Write the numbers of every block in which the field was measured, a table of regions.
    rows : str
        Write a table with a row for each place along this dimension of a result, such as particle, and a
        column for each of its numbers (default: a row for each number).
    options : Options
        How it runs, in this process. A block divides the volume for a surface, and its first edge is
        the number of slices of a slab; the file is the same for any.

    Returns
    -------
    Path
        The file or folder.

    Raises
    ------
    ArgumentError
        If the format cannot hold what is asked for, an argument does not apply to it, a face of the
        region cuts a voxel, or the file exists and no export wrote it.
    MixedRunError
        If the file is another export and `overwrite` is not set.
    MissingFieldError
        If the sample has no such field or result.
    MissingExtraError
        If a package is not installed that the format needs.
    MemoryPlanError
        If a slab, a mesh or the elements do not fit into memory.
    WriteError
        If the disk has no room for the file, or its folder cannot be written.
    """
    chosen = (phases,) if isinstance(phases, str) else tuple(phases)
    given = {
        "z": z, "y": y, "x": x, "unit": unit, "vectors": vectors, "phases": chosen, "smoothing": smoothing,
        "keep": keep, "cells": cells, "drawing": drawing, "regions": regions, "rows": rows,
    }  # fmt: skip
    names = (field, *((beside,) if isinstance(beside, str) else beside))
    if twice := given_twice(names):
        raise ArgumentError(f"{twice!r} is given twice: leave it out of --beside")
    if not store.is_sample(sample) and not store.nodes(sample):
        store.open_sample(sample)
    target = outputs.check_place(out, "an export")
    asked = Asked(sample, names, target, format_of(out, format), given, options)
    options.refuse_unused("export", sample)
    asked.refuse_unused()
    made = _export(asked)
    made.inputs()  # bad names are refused before anything is planned
    return Task(made.plans, made.run)


def _export(asked: Asked) -> Export:
    """Export of the kind of the format."""
    one = asked.format
    if isinstance(one, VolumeFormat):
        return VolumeExport(asked)
    if isinstance(one, SurfaceFormat):
        return SurfaceExport(asked)
    if isinstance(one, ElementFormat):
        return ElementExport(asked)
    if isinstance(one, LineFormat):
        return LineExport(asked)
    if isinstance(one, TableFormat):
        return TableExport(asked)
    if isinstance(one, FigureFormat):
        from tim3d.exporting.figures import FigureExport  # matplotlib takes a while to load

        return FigureExport(asked)
    raise ArgumentError(
        f"{one!r} is not a format of voxels, surfaces, elements, lines, tables or figures"
    )
