"""Distance, local thickness, widest paths, skeleton and its graph, and particles beside other packages, in one run.

    python -m benchmarks.morphology [--edge 256] [--runs 2] [--only particles "distance, edt"]

Volume: smoothed noise, 42 % inside, as in benchmarks/descriptors.py. Seconds are CPU seconds of one
thread, best of some runs after one that compiles. Memory is what a process of its own needs at its
peak beyond the volume that it is given. Packages that are not installed are left out (edt,
localthickness, porespy, skan: benchmarks/requirements-peers.txt). Of a skeleton the mean is its share of the phase,
of a graph the mean length of a branch in voxels.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage as ndi
from skimage.feature import peak_local_max
from skimage.measure import label
from skimage.morphology import h_maxima, skeletonize
from skimage.segmentation import watershed

from benchmarks.descriptors import blobs
from tim3d.grid import Box, triple
from tim3d.kernels.morphology.distance import lengths, metric_of, squared_distances
from tim3d.kernels.morphology.joined_basins import basins_of_volume
from tim3d.kernels.morphology.painting import largest_ball
from tim3d.kernels.morphology.strut_graph import Curves, branches, network, struts
from tim3d.kernels.morphology.thinning import last_level, thin
from tim3d.kernels.morphology.widest_path import widen

METRIC = metric_of((1, 1, 1))
Work = Callable[[np.ndarray], Any]
SMALL = 12
# Steps of thinning in a pass, as of whole blocks.
STEPS = 16


def distance(inside: np.ndarray) -> np.ndarray:
    """Distances of both phases."""
    return lengths(squared_distances(inside, METRIC), METRIC)


def thickness(radii: np.ndarray) -> np.ndarray:
    """Diameters of the largest balls."""
    return 2 * largest_ball(radii, METRIC, Box.whole(triple(radii.shape)))


def widths(radii: np.ndarray) -> np.ndarray:
    """Widths of the widest paths from the lowest plane."""
    found = np.zeros_like(radii)
    found[0] = radii[0]
    widen(found, radii)
    return found


def skeleton(radii: np.ndarray) -> np.ndarray:
    """Skeleton by the order of the distances."""
    left, first = (radii > 0).astype(np.uint8), 1
    last = last_level(float(radii.max()), 1.0)
    while True:
        taken = thin(left, radii, 1.0, first, STEPS, Box.whole(triple(left.shape)), (0, 0, 0))
        first += STEPS
        if first > last and not taken[-1]:
            return left > 0


def graph(radii: np.ndarray) -> np.ndarray:
    """Lengths of the branches of the skeleton, without spurs."""
    voxel = np.flatnonzero(skeleton(radii))
    own = radii.ravel()[voxel].astype(np.float64)
    curves = Curves(voxel, own, triple(radii.shape), (1.0, 1.0, 1.0))
    return branches(struts(network(curves))).length


def by_skimage(inside: np.ndarray) -> np.ndarray:
    """Skeleton by scikit-image, after Lee et al. (1994)."""
    return np.asarray(skeletonize(inside > 0))


def by_skan(inside: np.ndarray) -> np.ndarray:
    """Lengths of the branches of that skeleton by skan, spurs among them."""
    import skan

    found = skan.Skeleton(by_skimage(inside))
    return np.asarray(found.path_lengths())


def particles(radii: np.ndarray) -> np.ndarray:
    """Number of the particle of each voxel."""
    return basins_of_volume(radii, 0.75)


def by_watershed(radii: np.ndarray) -> np.ndarray:
    """The same by scikit-image: maxima that rise a voxel above their necks, then the watershed."""
    return watershed(-radii, label(h_maxima(radii, 1.0)), mask=radii > 0)


def by_peaks(radii: np.ndarray) -> np.ndarray:
    """The usual recipe of scikit-image: peaks at least so far apart, then the watershed."""
    markers = np.zeros(radii.shape, np.int32)
    peaks = peak_local_max(radii, min_distance=3, labels=(radii > 0).astype(np.int32))
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return watershed(-radii, markers, mask=radii > 0)


def edt_both(inside: np.ndarray) -> np.ndarray:
    """Distances of both phases by edt, whose label 0 has none."""
    import edt

    return edt.edt(inside + 1, anisotropy=(1, 1, 1), black_border=False, parallel=1)


def by_localthickness(inside: np.ndarray) -> np.ndarray:
    """Diameters by localthickness, at full scale."""
    import localthickness

    return 2 * localthickness.local_thickness(inside > 0, scale=1)


def by_porespy(inside: np.ndarray) -> np.ndarray:
    """Diameters by PoreSpy, whose radii are whole voxels."""
    import porespy

    porespy.settings.tqdm["disable"] = True
    return 2 * porespy.filters.local_thickness(inside > 0)


# Name, what is called, what it reads ("inside" or "radii"), and the package that it needs.
ROWS: dict[str, tuple[Work, str, str]] = {
    "distance, tim3d, both phases": (distance, "inside", "tim3d"),
    "distance, edt, both phases": (edt_both, "inside", "edt"),
    "distance, scipy, one phase": (ndi.distance_transform_edt, "inside", "scipy"),
    "thickness, tim3d, of the distances": (thickness, "radii", "tim3d"),
    "thickness, PoreSpy, with distances": (by_porespy, "inside", "porespy"),
    "thickness, localthickness, with distances": (by_localthickness, "inside", "localthickness"),
    "widest paths, tim3d": (widths, "radii", "tim3d"),
    "skeleton, tim3d, of the distances": (skeleton, "radii", "tim3d"),
    "skeleton, scikit-image": (by_skimage, "inside", "skimage"),
    "skeleton and graph, tim3d, of the distances": (graph, "radii", "tim3d"),
    "skeleton and graph, scikit-image and skan": (by_skan, "inside", "skan"),
    "particles, tim3d, of the distances": (particles, "radii", "tim3d"),
    "particles, scikit-image, peaks and watershed": (by_peaks, "radii", "skimage"),
    "particles, scikit-image, h-maxima and watershed": (by_watershed, "radii", "skimage"),
}
MEMORY = """
import sys, numpy as np
from benchmarks.morphology import ROWS, SMALL
from benchmarks.descriptors import blobs
work, name = ROWS[sys.argv[1]][0], sys.argv[2]
given = np.load(name)
work(given[:SMALL, :SMALL, :SMALL].copy())
def memory(key):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(key))
open("/proc/self/clear_refs", "w").write("5")
before = memory("VmRSS")
work(given)
print((memory("VmHWM") - before) / given.size)
"""


def seconds(work: Work, given: np.ndarray, runs: int) -> tuple[float, np.ndarray]:
    """CPU seconds, best of some runs, and what came out."""
    work(given[:SMALL, :SMALL, :SMALL].copy())
    found, best = np.empty(0), float("inf")
    for _ in range(runs):
        start = time.process_time()
        found = np.asarray(work(given))
        best = min(best, time.process_time() - start)
    return best, found


def bytes_a_voxel(row: str, given: np.ndarray) -> float:
    """Peak memory beyond the input, in bytes a voxel, of a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "given.npy"
        np.save(path, given)
        command = [sys.executable, "-c", MEMORY, row, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", type=int, default=256)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[""], help="rows that begin with one of these")
    asked = parser.parse_args(arguments)
    inside = blobs(asked.edge)
    given = {"inside": inside, "radii": distance(inside) * inside}
    print(
        f"{asked.edge}³ voxels, {inside.mean():.0%} inside, R_max {given['radii'].max():.3g} voxels"
    )
    print("| | CPU s | µs a voxel | bytes a voxel | mean inside |\n|---|---|---|---|---|")
    for row, (work, reads, package) in ROWS.items():
        wanted = row.startswith(tuple(asked.only))
        if not wanted or importlib.util.find_spec(package) is None:
            continue
        took, found = seconds(work, given[reads], asked.runs)
        held = bytes_a_voxel(row, given[reads])
        mean = found[inside > 0].mean() if found.shape == inside.shape else found.mean()
        print(
            f"| {row} | {took:.3g} | {took / inside.size * 1e6:.3g} | {held:.3g} | {mean:.5g} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
