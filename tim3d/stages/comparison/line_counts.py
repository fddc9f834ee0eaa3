"""Pairs, segments and changes along the axes of a label field, block by block, and the values that follow from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from tim3d.engine import Pass
from tim3d.grid import Block, Triple, triple
from tim3d.kernels.statistics.correlation import line_counts, pairs_at, ranks_of
from tim3d.stages.shared.field import Options
from tim3d.stages.shared.reduction import inner, reduction_pass
from tim3d.storage import schema, store
from tim3d.storage.schema import AXES, Field, Spacing

# Lags in voxels along z, y and x.
Lags = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
COUNTS = ("pairs", "segments", "voxels", "changes")
BY_PLANE = ("voxels", "changes")


@dataclass(frozen=True)
class LinesKernel:
    """Counts of a core along all three axes; phases are numbered in the order of the codes given."""

    codes: tuple[int, ...]
    lags: Lags

    def __call__(self, fields: tuple[np.ndarray, ...], block: Block) -> dict[str, Any]:
        """Integers by axis."""
        ranks = ranks_of(fields[0], self.codes)
        found = [line_counts(ranks, len(self.codes), lags, a, inner(block)) for a, lags in enumerate(self.lags)]
        return {
            axis: {name: values.tolist() for name, values in vars(one).items()}
            for axis, one in zip(AXES, found, strict=True)
        }


def lines_node(labels: Field) -> str:
    """Name of the node that keeps the counts of a field."""
    return f"{labels.name}_lines"


def lines_pass(sample: str, labels: Field, codes: tuple[int, ...], lags: Lags, options: Options) -> Pass:
    """The pass that counts along the lines of a label field."""
    source = store.fingerprint_of(sample, labels.name)
    return reduction_pass(
        sample,
        (labels,),
        LinesKernel(codes, lags),
        name=lines_node(labels),
        fingerprint=schema.fingerprint(verb="fidelity", field=source, codes=codes, lags=lags),
        options=options,
        halo=triple(one[-1] for one in lags),
        kernel_bytes=2,
    )


@dataclass(frozen=True, eq=False)
class Lines:
    """What lines through a volume, or an image, say; phases in the order that was asked for.

    Attributes
    ----------
    fraction : (phases,)
    two_point, lineal_path : (3, phases, lags)
        Along z, y, x; nan along an axis without pairs.
    surface : (3, phases)
        2 P_L along z, y, x, per nm.
    planes : three arrays (planes, phases)
        Fractions of the planes across z, y, x.
    changes : three arrays (planes - 1,)
        Share of the voxel pairs between two planes that are of two phases.
    """

    fraction: np.ndarray
    two_point: np.ndarray
    lineal_path: np.ndarray
    surface: np.ndarray
    planes: tuple[np.ndarray, ...]
    changes: tuple[np.ndarray, ...]


def gathered(counting: Pass, phases: int, lags: Lags) -> xr.Dataset:
    """Sums over all blocks of a finished pass, as kept in the node ``FIELD_lines``."""
    shape = counting.grid.shape
    totals = [_empty(phases, len(one), n) for one, n in zip(lags, shape, strict=True)]
    for block, record in counting.records():
        for axis, total in enumerate(totals):
            for name, values in record[AXES[axis]].items():
                total[name][block.core.slices[axis] if name in BY_PLANE else ...] += np.asarray(values)
    return xr.Dataset(
        {
            f"{name}_{axis}": ((axis if name in BY_PLANE else "phase", "phase" if name in BY_PLANE else "lag"), values)
            for axis, total in zip(AXES, totals, strict=True)
            for name, values in total.items()
        }
    )


def lines_in(counts: xr.Dataset, lags: Lags, shape: Triple, spacing: Spacing) -> Lines:
    """The values that counts stand for."""
    totals = [{name: np.asarray(counts[f"{name}_{axis}"].values) for name in COUNTS} for axis in AXES]
    return _values(totals, lags, shape, spacing)


def lines_of(ranks: np.ndarray, phases: int, lags: Lags, spacing: Spacing) -> Lines:
    """The same of an array of ranks; an image is one slice."""
    totals = [vars(line_counts(ranks, phases, lags[axis], axis)) for axis in range(3)]
    return _values(totals, lags, triple(ranks.shape), spacing)


def _empty(phases: int, lags: int, planes: int) -> dict[str, np.ndarray]:
    shapes = {"pairs": (phases, lags), "segments": (phases, lags), "voxels": (planes, phases)}
    return {name: np.zeros(shape, np.int64) for name, shape in (shapes | {"changes": (planes, phases)}).items()}


def _values(totals: Sequence[dict[str, np.ndarray]], lags: Lags, shape: Triple, spacing: Spacing) -> Lines:
    curves = {name: [_shares(totals[a][name], shape, lags[a], a) for a in range(3)] for name in ("pairs", "segments")}
    across = [math.prod(shape) // n for n in shape]
    crossings = [_shares(totals[a]["changes"].sum(axis=0)[:, None], shape, (1,), a)[:, 0] for a in range(3)]
    return Lines(
        fraction=totals[0]["voxels"].sum(axis=0) / math.prod(shape),
        two_point=np.array(curves["pairs"]),
        lineal_path=np.array(curves["segments"]),
        surface=np.array([2 * c / h for c, h in zip(crossings, spacing, strict=True)]),
        planes=tuple(total["voxels"] / n for total, n in zip(totals, across, strict=True)),
        changes=tuple(t["changes"].sum(axis=1)[:-1] / (2 * n) for t, n in zip(totals, across, strict=True)),
    )


def _shares(counts: np.ndarray, shape: Triple, lags: Sequence[int], axis: int) -> np.ndarray:
    every = pairs_at(shape, lags, axis)
    return np.asarray(counts / np.where(every > 0, every, np.nan))
