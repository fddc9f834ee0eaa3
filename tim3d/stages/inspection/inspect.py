"""The verb `inspect`: a stack as it would be read, and its faults; nothing is written."""

from __future__ import annotations

from collections.abc import Mapping

from tim3d.engine import Outline
from tim3d.grid import AXES
from tim3d.lazy import xarray as xr
from tim3d.sources import Source, spacing_statistics
from tim3d.sources.base import VoxelSize
from tim3d.sources.conversion import Conversion
from tim3d.sources.holes import MissingChunks
from tim3d.sources.opening import Reading
from tim3d.sources.units import edges_given, lengths_given, refuse_units_alone
from tim3d.stages.inspection.audit import Subject
from tim3d.stages.shared.verb import Task, Verb
from tim3d.typed import PartialVoxelSize, Pick, Shape, Sources


@Verb
def inspect(
    source: Sources | Source,
    *,
    voxel_size: PartialVoxelSize | None = None,
    units: str = "nm",
    labels: bool = False,
    dataset: str | None = None,
    shape: Shape | None = None,
    dtype: str | None = None,
    missing_chunks: MissingChunks = "refuse",
    scene: Pick | None = None,
    time: Pick | None = None,
    channel: Pick | None = None,
    level: Pick | None = None,
    convert: Conversion = "exact",
    deep: bool = False,
    progress: bool = True,
) -> Task[xr.Dataset]:
    """Say what would be read from a stack, in which order, and what is suspicious about it.

    `ingest` does the same before it writes, and stops at anything suspicious; docs/ingest.md has
    the checks and their limits. Every slice is read once; numbers are kept and no voxels.

    Parameters
    ----------
    source : path, glob, list of paths or Source
        Folder, glob or files, as for `ingest`.
    voxel_size : mapping of axis to length, optional
        Edges of a voxel along z, y, x in the units (default: as the metadata say).
    units : str
        Unit of the voxel size: nm, um, mm ...
    labels : bool
        The voxels are labels: names are checked, grey values are not.
    dataset : str, optional
        Which dataset of an HDF5 or zarr (default: the only one).
    shape : (z, y, x), optional
        Shape of a raw file in voxels (needed by a raw file).
    dtype : str, optional
        Type of the numbers of a raw file (needed by a raw file).
    missing_chunks : {"refuse", "fill"}
        Of HDF5 and zarr: what becomes of chunks that are not there. They are refused, or filled
        with the fill value of the file.
    scene : number or name, optional
        Which image of a file with several, from 0 (needed if there are several).
    time : number or name, optional
        Which time, from 0 (needed if there are several).
    channel : number or name, optional
        Which channel, from 0 (needed if there are several).
    level : number or name, optional
        Which level of a pyramid, from 0 (default: 0, the full resolution).
    convert : {"exact", "shift", "float32", "objects"}
        Values of other types than uint8, uint16, float32 must fit without change (exact), get an
        offset (shift: int8 plus 128, int16 plus 32768), or become the nearest float32. Whole
        numbers may be those of objects (objects), which are not judged as grey values.
    deep : bool
        Count every pixel, instead of at most 512 rows and columns of each slice.
    progress : bool
        Show a progress bar on standard error.

    Returns
    -------
    xarray.Dataset
        Numbers of every slice over `slice`: `mean`, `std`, `min`, `max`, `constant_rows`,
        `saturated_low`, `saturated_high`; and against the slice before it `difference`,
        `correlation`, `shift_y`, `shift_x`, `shift_error`. Attributes: `reads` (what will be read),
        `findings` (name, text, slices, measured, limit, unit, cure), `not_judged`, `names`.

    Raises
    ------
    ArgumentError
        If an option does not belong to this kind of source.
    InputError
        If the slices cannot be read as one stack: see docs/ingest.md.
    """
    refuse_units_alone(units, voxel_size)
    reading = Reading(dataset, shape, dtype, missing_chunks, scene, time, channel, level, convert)
    given = edges_given(voxel_size)

    def subject() -> Subject:
        stack = reading.open(source)
        size = known_size(stack, given, units)
        is_label = labels or stack.is_numbered
        return Subject(stack, size, given=tuple(given), labels=is_label, deep=deep)

    return Task(
        lambda: [Outline("inspect", subject().outline())],
        lambda: subject().audit(progress=progress),
    )


def known_size(source: Source, given: Mapping[str, float | None], units: str) -> VoxelSize:
    """Voxel size by axis: as given, else by the names (z), else by the metadata, else None."""
    step = None
    if source.positions_nm is not None and len(source.positions_nm) > 1:
        step = abs(spacing_statistics(source.positions_nm).mean_nm)
    known = (step or source.voxel_size_nm[0], *source.voxel_size_nm[1:])
    lengths = lengths_given(given, units)
    z, y, x = (lengths.get(axis, size) for axis, size in zip(AXES, known, strict=True))
    return (z, y, x)
