"""Every descriptor of a real volume, whole and in four odd chunkings: equal to the last bit, or to what.

    python -m benchmarks.chunkings FOLDER [--volumes electrode-256,fiberform-100] [--edge 128] [--chunkings 4] [--solve]

FOLDER holds electrode-256.tiff (taufactor @ fb64548, MIT), fiberform-100.tif (nasa/puma @ 65a05d7,
NASA Open Source Agreement 1.3) and threephase-100.tiff (ImageRep @ 2c51ffb, BSD-3). Each is ingested
five times, as one shard and as shards of odd edges, which are the blocks of all verbs; volumes of
larger edges are cut. All nodes are then compared with those of the whole.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
import xarray as xr

import tim3d
from tim3d.descriptors.builtin import BUILTIN
from tim3d.grid import Triple
from tim3d.phases import Phases
from tim3d.storage import store

NM = {"z": 1300.0, "y": 1300.0, "x": 1300.0}
PARAMETRIC = (
    "correlation:lags=12",
    "chord_length:lags=12",
    "cluster_correlation:lags=12",
    "curvature",
    "interface_orientation",
    "slice_shape",
    "thickness",
    "distance",
)
OF_THREE = ("triple_phase_boundary", "triple_phase_boundary:components=component")


@dataclass(frozen=True)
class Volume:
    """A file, and how labels come from it."""

    file: str
    phases: Phases
    labels: Callable[[np.ndarray], np.ndarray]
    pore: str


def _codes(values: np.ndarray) -> np.ndarray:
    """Grey values of a segmented volume as 0, 1, 2."""
    return np.asarray(np.unique(values, return_inverse=True)[1].reshape(values.shape), np.uint8)


VOLUMES = {
    "electrode-256": Volume(
        "electrode-256.tiff", Phases(pore=0, active=1, binder=2), _codes, "pore"
    ),
    "fiberform-100": Volume(
        "fiberform-100.tif", Phases(void=0, fibre=1), lambda v: (v >= 90).astype(np.uint8), "void"
    ),
    "threephase-100": Volume("threephase-100.tiff", Phases(pore=0, one=1, two=2), _codes, "pore"),
}


def chunkings(edge: int) -> list[Triple | None]:
    """The whole, and four odd blocks that no edge is a multiple of."""
    shares = (0.37, 0.41, 0.43, 0.29, 0.23, 0.53)
    a, b, c, d, e, f = (min(63, max(3, round(edge * share)) | 1) for share in shares)
    # A shard is one chunk, or made of chunks of 64 voxels.
    whole = edge if edge <= 64 else -(-edge // 64) * 64
    return [None, (a, b, c), (d, whole, e), (whole, d, whole), (f, c, whole)]


def computed(
    sample: str, labels: np.ndarray, one: Volume, block: Triple | None, *, solve: bool
) -> dict[str, xr.Dataset]:
    """All nodes of a volume that is cut into these blocks, by name."""
    options = tim3d.Options(progress=False, block=block)
    plain = tim3d.Options(progress=False)
    folder = Path(sample).parent
    np.save(folder / "labels.npy", labels)
    tim3d.ingest(
        folder / "labels.npy", sample, voxel_size=NM, field="phase", phases=one.phases, shard=block, options=plain
    )  # fmt: skip
    tim3d.distance(sample, options=options)
    tim3d.thickness(sample, options=options)
    tim3d.label(sample, keep=True, options=options)
    tim3d.porosimetry(sample, phase=one.pore, options=options)
    tim3d.geodesic(sample, phases=[one.pore], options=options)
    tim3d.skeleton(sample, options=options)
    tim3d.struts(sample, options=options)
    tim3d.particles(sample, phase=one.phases.names[-1], options=options)
    words = [*BUILTIN, *PARAMETRIC, *(OF_THREE if len(one.phases) > 2 else ())]
    tim3d.measure(sample, words, options=options)
    if solve:
        conductivity = {name: 1.0 if name == one.pore else 0.0 for name in one.phases}
        tim3d.solve(sample, conductivity=conductivity, options=plain)
    return dict(contents(sample))


def contents(sample: str) -> Iterator[tuple[str, xr.Dataset]]:
    """Fields and results; partials are those of blocks."""
    for node in store.nodes(sample):
        record = store.node_attributes(sample, node)
        if record.get("kind") == "field" and node != "phase":
            yield node, xr.Dataset({node: tim3d.open_field(sample, node).load()})
        elif record.get("kind") == "dataset" and not node.endswith("_partials"):
            yield node, store.open_dataset(sample, node)


def difference(whole: xr.Dataset, other: xr.Dataset) -> float:
    """Largest relative difference of a number; 0 if all bits are the same."""
    if set(whole.variables) != set(other.variables):
        return float("inf")
    return max(
        (_apart(whole[name].values, other[name].values) for name in whole.variables), default=0
    )


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    if a.dtype != b.dtype or a.shape != b.shape:
        return float("inf")
    if a.dtype.kind not in "fc":
        return 0.0 if np.array_equal(a, b) else float("inf")
    if a.tobytes() == b.tobytes():
        return 0.0
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return float("inf")
    known = np.isfinite(a)
    apart = np.abs(a[known] - b[known])
    return float((apart / np.maximum(np.abs(a[known]), np.finfo(float).tiny)).max())


def numbers(found: Mapping[str, xr.Dataset], node: str) -> int:
    """How many numbers a node holds."""
    return sum(v.size for v in found[node].data_vars.values())


def row(name: str, node: str, count: int, apart: Sequence[float]) -> str:
    """A line of the table."""
    said = "to the last bit" if not any(apart) else f"within {max(apart):.1e}"
    return f"| {name} | `{node}` | {count:,} | {said} |"


def compared(
    name: str, labels: np.ndarray, one: Volume, count: int, *, solve: bool
) -> Iterator[str]:
    """Lines of the table of a volume, of the whole and so many chunkings."""
    whole: dict[str, xr.Dataset] = {}
    apart: dict[str, list[float]] = {}
    for block in chunkings(min(labels.shape))[: count + 1]:
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            found = computed(f"{folder}/a.zarr", labels, one, block, solve=solve)
        whole = whole or found
        for node in whole:
            apart.setdefault(node, []).append(
                difference(whole[node], found[node]) if node in found else float("inf")
            )
        unlike = sum(differences[-1] > 0 for differences in apart.values())
        print(
            f"{name}: {'x'.join(map(str, block or labels.shape))} in {time.perf_counter() - begun:.0f} s; "
            f"{unlike} of {len(whole)} nodes are not those of the whole to the last bit",
            flush=True,
        )
    yield from (row(name, node, numbers(whole, node), apart[node]) for node in whole)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--volumes", default=",".join(VOLUMES))
    parser.add_argument("--edge", type=int, default=128)
    parser.add_argument("--chunkings", type=int, default=4, choices=range(1, 5))
    parser.add_argument("--solve", action="store_true")
    asked = parser.parse_args(arguments)
    count = asked.chunkings
    lines = [
        f"| volume | node | numbers | {count} odd chunkings against the whole |",
        "|---|---|---|---|",
    ]
    for name in asked.volumes.split(","):
        one = VOLUMES[name]
        labels = one.labels(tifffile.imread(asked.folder / one.file))
        labels = np.ascontiguousarray(labels[(slice(0, asked.edge),) * 3])
        lines += compared(name, labels, one, count, solve=asked.solve)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
