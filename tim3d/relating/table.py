"""The verb `table`: many samples and their metadata as one table, a row for each sample."""

from __future__ import annotations

from pathlib import Path

from tim3d.descriptors.coupled import Descriptors
from tim3d.descriptors.uncertainty import is_error
from tim3d.engine import Outline
from tim3d.errors import ArgumentError
from tim3d.lazy import xarray as xr
from tim3d.relating import files
from tim3d.relating.samples import collected, refuse_mixed
from tim3d.relating.summary import SUMMARY, write_summary
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
    evaluation: str = "",
    csv: str | Path | None = None,
    summary: str | Path | None = None,
    axes: bool = False,
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
    evaluation : str
        Name of the result of evaluate whose scores stand beside, as phase_evaluation (default: none).
    csv : path, optional
        File to which the table is written (default: none).
    summary : path, optional
        CSV with a row for each number: its mean, standard deviation and standard error over the samples
        (default: none). For samples that repeat each other, as volumes of several seeds do.
    axes : bool
        Keep phases, directions, lags, bins and planes as dimensions, with profiles, curves and
        standard errors. No table in a file.

    Returns
    -------
    xarray.Dataset
        Variables over ``sample``, named after variable and place, as ``geodesic_tortuosity.copper.+z``,
        with units and definitions. With `axes` those of `describe` with ``sample`` as first
        dimension: phases that a sample lacks are nan. An axis of numbers on which samples differ, as
        planes of volumes of other sizes, is counted, and ``NAME_of_sample`` holds its places.

    Raises
    ------
    ArgumentError
        If no sample is given, or the file must not be written or cannot hold `axes`.
    InputError
        If a column was measured in different ways (scores of boundaries within other distances
        too), or the metadata lack a sample.
    MissingFieldError
        If a sample has not been measured, or lacks that evaluation.
    """
    given = [samples] if isinstance(samples, str) else list(samples)
    if not given:
        raise ArgumentError("no sample is given: tim3d table a.zarr b.zarr")
    if axes and (csv is not None or summary is not None):
        raise ArgumentError("a CSV has a row for each sample and no axes: leave out one of both")
    target = None if csv is None else outputs.check_target(csv, files.WIDE)
    means = None if summary is None else outputs.check_target(summary, SUMMARY)
    chosen = None if descriptors is None else list(descriptors)

    def run() -> xr.Dataset:
        found = collected(
            given, chosen, field, transport, metadata, evaluation=evaluation, axes=axes
        )
        # How errors were found may differ: by as many sub-blocks as a sample has.
        refuse_mixed(found, [str(n) for n in found.data_vars if not is_error(str(n), found)])
        files.write_wide(found, target)
        write_summary(found, means)
        return found

    return Task(lambda: [Outline("table", f"reads results of {len(given)} samples, no voxel")], run)
