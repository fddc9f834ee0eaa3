"""The verb `table`: many samples and their metadata as one table, a row for each sample."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from tim3d.descriptors.coupled import Descriptors
from tim3d.engine import Outline
from tim3d.errors import ArgumentError
from tim3d.relating import files
from tim3d.relating.samples import collected, refuse_mixed
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import outputs
from tim3d.typed import Samples


@Verb
def table(
    samples: Samples,
    *,
    metadata: str | Path | None = None,
    descriptors: Descriptors | None = None,
    field: str = "phase",
    transport: str = "",
    csv: str | Path | None = None,
) -> Task[xr.Dataset]:
    """Put what was measured on many samples into one table, a row for each, beside their metadata.

    No voxel is read. Profiles are left out. A number of a phase that a sample does not have is missing.

    Parameters
    ----------
    samples : list of str
        Paths or URLs of the samples.
    metadata : path, optional
        CSV or Parquet with a row for each sample, named as the sample: material, temperature, measured
        properties (default: none). Units stand in brackets behind the names of columns, as sigma [S/m].
    descriptors : iterable of str, Descriptor or Coupled, optional
        Names of descriptors (default: all that were measured).
    field : str
        The label field.
    transport : str
        Name of the result of solve that is meant (default: all).
    csv : path, optional
        File to which the table is written (default: none).

    Returns
    -------
    xarray.Dataset
        Variables over ``sample``, named after variable and place, as ``geodesic_tortuosity.copper.+z``,
        with units and definitions.

    Raises
    ------
    ArgumentError
        If no sample is given, or the file must not be written.
    InputError
        If a column was measured in different ways, or the metadata lack a sample.
    MissingFieldError
        If a sample has not been measured.
    """
    given = [samples] if isinstance(samples, str) else list(samples)
    if not given:
        raise ArgumentError("no sample is given: tim3d table a.zarr b.zarr")
    target = None if csv is None else outputs.check_target(csv, files.WIDE)
    chosen = None if descriptors is None else list(descriptors)

    def run() -> xr.Dataset:
        found = collected(given, chosen, field, transport, metadata)
        refuse_mixed(found, list(map(str, found.data_vars)))
        files.write_wide(found, target)
        return found

    return Task(lambda: [Outline("table", f"reads results of {len(given)} samples, no voxel")], run)
