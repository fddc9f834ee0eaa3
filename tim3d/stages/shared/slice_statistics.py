"""Mean, deviation and range of every slice of a grey field: the table against drift of the brightness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tim3d.engine import Ledger
from tim3d.grid import Grid
from tim3d.kernels.image.threshold import grey_counts
from tim3d.lazy import xarray as xr
from tim3d.storage import schema, store
from tim3d.storage.schema import Field

_NAMES = {
    "grey_mean": "mean",
    "grey_std": "standard deviation",
    "grey_min": "minimum",
    "grey_max": "maximum",
    "grey_lowest": "number of voxels with the lowest value of the type",
    "grey_highest": "number of voxels with the highest value of the type",
}


def slice_statistics(slices: np.ndarray) -> dict[str, list[float]]:
    """Mean, population standard deviation, minimum and maximum of each slice, and voxels at the ends.

    Voxels at the ends of the type are those that may be saturated; floats have none.

    >>> slice_statistics(np.array([[[1, 3]]], np.uint8))["grey_mean"]
    [2.0]
    >>> slice_statistics(np.array([[[0, 0, 255]]], np.uint8))["grey_lowest"]
    [2.0]
    """
    rows = [_of_floats(s) if s.dtype.kind == "f" else _of_integers(s) for s in slices]
    return dict(zip(_NAMES, map(list, zip(*rows, strict=True)), strict=True))


def _of_floats(grey: np.ndarray) -> tuple[float, ...]:
    return (
        float(grey.mean(dtype=np.float64)),
        float(grey.std(dtype=np.float64)),
        float(grey.min()),
        float(grey.max()),
        0.0,
        0.0,
    )


def _of_integers(grey: np.ndarray) -> tuple[float, ...]:
    """From the histogram of the slice: exact, and one quick look at each voxel."""
    counts = grey_counts(grey)
    filled = np.flatnonzero(counts)
    mean = float(np.average(filled, weights=counts[filled]))
    variance = float(np.average((filled - mean) ** 2, weights=counts[filled]))
    ends = (float(counts[0]), float(counts[-1]))
    return (mean, variance**0.5, float(filled[0]), float(filled[-1]), *ends)


def sums_of_slices(grey: np.ndarray) -> list[list[int]]:
    """Count, sum, sum of squares, lowest, highest, and voxels at the ends of the type, of each slice of integers.

    They add up to those of whole slices, whatever the blocks.

    >>> sums_of_slices(np.array([[[0, 2, 255]]], np.uint8))
    [[3, 257, 65029, 0, 255, 1, 1]]
    """
    return [_sums(one) for one in grey]


def _sums(grey: np.ndarray) -> list[int]:
    counts = grey_counts(grey).astype(np.int64)
    filled = np.flatnonzero(counts)
    voxels = counts[filled]
    # Of uint16 the squares of 2^31 voxels still fit.
    total, squares = int((voxels * filled).sum()), int((voxels * filled**2).sum())
    ends = [int(filled[0]), int(filled[-1]), int(counts[0]), int(counts[-1])]
    return [int(voxels.sum()), total, squares, *ends]


def keep_sums(
    sample: str, out: Field, ledger: Ledger, grid: Grid, verb: str, key: str = "slices"
) -> None:
    """Write the table of a field, from the sums that its blocks recorded under `key`."""
    found: list[list[int]] = [[] for _ in range(out.shape[0])]
    for index, record in zip(places := sorted(grid.indices()), ledger.records(places), strict=True):
        first = grid.block_at(index).core.start[0]
        for z, one in enumerate(record[key], first):
            found[z] = _joined(found[z], one) if found[z] else one
    rows = [_row(*sums) for sums in found]
    _keep(sample, out, ledger, verb, dict(zip(_NAMES, zip(*rows, strict=True), strict=True)))


def _joined(a: list[int], b: list[int]) -> list[int]:
    added = [x + y for x, y in zip(a, b, strict=True)]
    return [*added[:3], min(a[3], b[3]), max(a[4], b[4]), *added[5:]]


def _row(
    count: int, total: int, squares: int, low: int, high: int, lowest: int, highest: int
) -> tuple[float, ...]:
    """Numbers of the table; the variance from whole numbers, without cancellation."""
    variance = (count * squares - total**2) / count**2
    return (total / count, variance**0.5, float(low), float(high), float(lowest), float(highest))


def keep_statistics(sample: str, out: Field, ledger: Ledger, grid: Grid, verb: str) -> None:
    """Write the table of a field, from the records of its blocks of whole slices."""
    records = list(ledger.records(sorted(grid.indices())))
    values = {name: [v for record in records for v in record[name]] for name in _NAMES}
    _keep(sample, out, ledger, verb, values)


def _keep(
    sample: str, out: Field, ledger: Ledger, verb: str, values: Mapping[str, Sequence[float]]
) -> None:
    columns = {
        name: (
            "z",
            list(values[name]),
            {"long_name": f"{text} of a slice" if "voxels" not in text else text, "units": "1"},
        )
        for name, text in _NAMES.items()
    }
    z = schema.centres(out.shape[0], out.spacing_nm[0])
    dataset = xr.Dataset(
        columns, {"z": ("z", z, {"units": schema.UNIT, "long_name": "voxel centre along z"})}
    )
    record = store.provenance(ledger.fingerprint, {}, {out.name: ledger.fingerprint})
    store.write_dataset(sample, f"{out.name}_slices", dataset, record | {"verb": verb})
