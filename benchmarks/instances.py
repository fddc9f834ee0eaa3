"""Instances: touching spheres, slices linked to bodies, particles of SEM images, and rules of stitching.

    python -m benchmarks.instances spheres --edge 160
    python -m benchmarks.instances slices FLYEM-FOLDER
    python -m benchmarks.instances sem BPARTIS.safetensors --images 8
    python -m benchmarks.instances stitching --edge 512
    python -m benchmarks.instances blockings --edge 512

The controls are rules of other programs, written from their descriptions: the links of micro-sam (share of
the lower object, attractive from 0.269 on) and the stitching of blocks by labels that touch at their faces, as
dask-image does (`_across_block_label_grouping`), and as cellpose's distributed segmentation, which shrinks labels
on a face first and sees blocks with a margin of twice the diameter. Both were compared with the functions of the
packages (dask-image 2026.5.0, cellpose 4.2.1.1): the same groups at every face of 96 voxels cubed in three blockings.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

import tim3d
from benchmarks.large import peaks
from benchmarks.large_prepare import run, timed
from tim3d.generators import Grains, Packed
from tim3d.grid import Box, Grid, triple
from tim3d.kernels.image.section_look import Look, render
from tim3d.kernels.morphology.basins import positive
from tim3d.kernels.morphology.joined_basins import basins_of_volume
from tim3d.kernels.morphology.multicut import multicut
from tim3d.kernels.morphology.offset_votes import Voting, objects_by_votes
from tim3d.kernels.morphology.overlaps import overlaps
from tim3d.kernels.morphology.slice_links import (
    Slices,
    added,
    links_of,
    objects_of,
    volume_objects,
)
from tim3d.kernels.statistics import object_agreement as scores
from tim3d.kernels.statistics.best_limit import best_limit
from tim3d.models.segmentation.bpartis import BPartIS
from tim3d.models.segmentation.model_file import read_model

Ids = NDArray[np.uint32]
CUBE = np.ones((3, 3, 3))


def packed(
    edge: int, loading: float, sizes: tuple[float, ...], seed: int
) -> tuple[Ids, NDArray[np.float32], NDArray[np.float64]]:
    """Numbers of the spheres of a packing, each periodic copy its own; the depth in each over its radius; middles."""
    shares = tuple(sizes[-1] ** 3 / size**3 for size in sizes)  # equal volumes of all sizes
    model = Packed(Grains(sizes, shares), loading, (1.0,) * 3, seed, (float(edge),) * 3)
    truth, depth = np.zeros((edge,) * 3, np.uint32), np.zeros((edge,) * 3, np.float32)
    number, middles = 0, [np.zeros(3)]
    for row in model.cell():
        radius = row[6] / 2 * 1.01  # they touch
        for copy in itertools.product((-edge, 0, edge), repeat=3):
            centre = row[:3] + copy
            low = np.maximum(0, np.floor(centre - radius)).astype(int)
            high = np.minimum(edge, np.ceil(centre + radius) + 1).astype(int)
            if (high <= low).any():
                continue
            cut = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            far = np.sqrt(
                sum((g + 0.5 - c) ** 2 for g, c in zip(np.ogrid[cut], centre, strict=True))
            )
            inner = 1 - far / radius
            inside = (inner > 0) & (inner > depth[cut])
            if inside.any():
                number += 1
                truth[cut][inside], depth[cut][inside] = number, inner[inside]
                middles.append(centre - 0.5)  # of a voxel, counted from the middle of the first
    return truth, depth, np.array(middles)


def pointing(truth: Ids, middles: NDArray[np.float64], noise: float) -> NDArray[np.float32]:
    """Offsets of each voxel to the middle of its sphere, as a network that errs by `noise` voxels would give them."""
    rng = np.random.default_rng(0)
    planes = [
        np.where(truth > 0, middles[truth, axis] - grid, 0) + rng.normal(0, noise, truth.shape)
        for axis, grid in enumerate(np.ogrid[tuple(slice(0, n) for n in truth.shape)])
    ]
    return np.stack(planes).astype(np.float32)


def whole(truth: Ids) -> NDArray[np.int64]:
    """Numbers of the spheres that the border does not cut."""
    faces = [np.take(truth, side, axis) for axis in range(3) for side in (0, -1)]
    return np.setdiff1d(
        np.unique(truth[truth > 0]), np.unique(np.concatenate([f.ravel() for f in faces]))
    )


def spheres(edge: int) -> None:
    """Count and volumes of touching spheres of two sizes, by four maps."""
    print(
        "loading | map | whole found | error % | without a sphere | with cut pieces | volume error % | total %"
    )
    for loading in (0.3, 0.45, 0.6):
        truth, depth, middles = packed(edge, loading, (16.0, 28.0), 1)
        inside = truth > 0
        radii = (ndimage.distance_transform_edt(inside) * inside).astype(np.float32)
        noise = np.random.default_rng(0).normal(0, 12, truth.shape)
        network = np.clip(255 * ndimage.gaussian_filter(depth, 0.7) + noise, 0, 255)
        network = ndimage.gaussian_filter(network, 1.0).astype(np.uint8)
        ways: dict[str, Ids] = {
            "distance, necks 0.75": basins_of_volume(radii, 0.75),
            "distance, depth 1 voxel": basins_of_volume(radii, 1.0, depth=1.0),
            "network map, noisy, depth 26": basins_of_volume(
                positive(network) * inside, 1.0, depth=26
            ),
            "offsets, noise of 2 voxels, votes": objects_by_votes(
                pointing(truth, middles, 2.0), inside, Voting(10.0, (24, 24, 24), 20)
            ),
        }
        for name, found in ways.items():
            table = scores.Overlaps.of(overlaps(truth, found))
            print(f"{loading} | {name} | {_counts(truth, table)} | {_volumes(truth, found, table)}")


def _counts(truth: Ids, table: scores.Overlaps) -> str:
    """Whole spheres with an object of their own (IoU above a half); objects without a sphere; pieces."""
    own = whole(truth)
    a, _, shared, union = table.pairs()
    matched = 2 * shared > union
    hits = int(np.isin(own, a[matched]).sum())
    true, count = table.objects()
    return f"{hits} of {len(own)} | {100 * (hits / len(own) - 1):+.2f} | {count - matched.sum()} | {count} of {true}"


def _volumes(truth: Ids, found: Ids, table: scores.Overlaps) -> str:
    """Error of the volume of whole spheres, by the object that shares most with each."""
    sizes, own = np.bincount(found.ravel()), np.bincount(truth.ravel())
    a, b, shared, _ = table.pairs()
    order = np.lexsort((shared, a))
    last = np.append(a[order][1:] != a[order][:-1], True)
    best = dict(zip(a[order][last].tolist(), b[order][last].tolist(), strict=True))
    ids = [one for one in whole(truth).tolist() if one in best]
    ratio = np.array([sizes[best[one]] / own[one] for one in ids])
    total = sum(sizes[best[one]] for one in ids) / sum(own[one] for one in ids)
    return f"{100 * np.abs(ratio - 1).mean():.2f} | {100 * (total - 1):+.2f}"


def bodies(folder: Path) -> Ids:
    """Bodies of the FlyEM stack."""
    import h5py

    with gzip.open(folder / "groundtruth.h5.gz") as packed_file, h5py.File(packed_file) as file:
        stack, pairs = file["stack"][:], file["transforms"][:]
    table = np.zeros(int(stack.max()) + 1, np.uint32)
    table[pairs[:, 0]] = np.unique(pairs[:, 1], return_inverse=True)[1] + 1
    return table[stack]


def in_slices(volume: Ids) -> Ids:
    """Every piece of a body in a slice numbered anew, slice by slice."""
    found = np.zeros(volume.shape, np.uint32)
    for out, plane in zip(found, volume, strict=True):
        edges = np.zeros((2, *plane.shape), bool)
        edges[0, 1:], edges[1, :, 1:] = plane[1:] != plane[:-1], plane[:, 1:] != plane[:, :-1]
        count = 0
        for body in np.unique(plane[plane > 0]):
            pieces, number = ndimage.label(plane == body)
            out[pieces > 0] = pieces[pieces > 0] + count
            count += number
    return found


def of_micro_sam(slices: Slices) -> NDArray[np.int64]:
    """Groups by the share of the lower object."""
    sizes = slices.pixels
    shared = slices.overlap / (1 + slices.overlap) * (sizes[slices.lower] + sizes[slices.upper])
    share = 0.998 * shared / sizes[slices.lower] + 0.001
    weights = 1 + np.log(share / (1 - share))
    return multicut(len(slices.z), np.column_stack([slices.lower, slices.upper]), weights) + 1


def slices(folder: Path) -> None:
    """Bodies from their pieces in slices, as the stack is and reversed."""
    truth = bodies(folder)
    cut = in_slices(truth)
    rules: dict[str, Callable[[Slices], Any]] = {
        "mutual 0.5": lambda s: volume_objects(s, "mutual", 0.5),
        "mutual 0.25": lambda s: volume_objects(s, "mutual", 0.25),
        "multicut 0.25": lambda s: volume_objects(s, "multicut", 0.25),
        "multicut 0.1": lambda s: volume_objects(s, "multicut", 0.1),
        "multicut 0.05": lambda s: volume_objects(s, "multicut", 0.05),
        "micro-sam": of_micro_sam,
    }
    print("rule | objects | VI split + merge, bit | adapted Rand error | same when reversed | s")
    for name, rule in rules.items():
        start = time.perf_counter()
        found = _linked(cut, rule)
        took = time.perf_counter() - start
        back = _linked(cut[::-1], rule)[::-1]
        table = scores.Overlaps.of(overlaps(truth, found))
        vi, arand = scores.variation_of_information(table), scores.adapted_rand_error(table)
        pairs = overlaps(found, np.ascontiguousarray(back))
        same = len(pairs) == len(np.unique(pairs[:, 0])) == len(np.unique(pairs[:, 1]))
        print(
            f"{name} | {found.max()} | {vi['vi_split']:.4f} + {vi['vi_merge']:.4f} | "
            f"{arand['adapted_rand_error']:.4f} | {'yes' if same else 'no'} | {took:.1f}"
        )


def _linked(volume: Ids, rule: Callable[[Slices], Any]) -> Ids:
    box = Box.whole(triple(volume.shape))
    table = added([objects_of(volume, box, box.shape)], [links_of(np.ascontiguousarray(volume), 0)])
    numbers = rule(table)
    out = np.zeros(volume.shape, np.uint32)
    for z in range(len(volume)):
        own = table.z == z
        lookup = np.zeros(int(volume[z].max()) + 1, np.uint32)
        lookup[table.number[own]] = numbers[own]
        out[z] = lookup[volume[z]]
    return out


LOOKS = (
    Look({0: 40.0, 1: 150.0}, edge=60.0, edge_decay=4.0, blur=1.2, shot=0.4, read=6.0),
    Look({0: 70.0, 1: 140.0}, edge=80.0, edge_decay=3.0, blur=1.5, shot=0.6, read=8.0),
)


def images(count: int, first: int) -> Iterator[tuple[NDArray[np.uint8], Ids]]:
    """Sections of packed spheres as a microscope shows them, 512 x 512, and the true numbers."""
    for number in range(count):
        truth, _, _ = packed(192, (0.3, 0.4, 0.5)[number % 3], (24.0, 40.0), first + number)
        plane = np.kron(truth[96], np.ones((3, 3), np.uint32))[:512, :512]
        yield render((plane > 0).astype(np.uint8), LOOKS[number % 2], seed=first + number), plane


def sem(model: str, count: int) -> None:
    """BPartIS on generated images: agreement and sizes, of all particles and of the sure ones."""
    how = BPartIS(model, read_model(model).sha256, (1, 512, 512), passes=8)
    call = how.open()
    chosen = _judged(call, images(count, 100))
    means, iou, true, _, _ = chosen
    limit = best_limit(means, iou, true)
    print(
        f"limit on {count} images: {limit.limit:.5f}; PQ {limit.of_all:.3f}, below {limit.below:.3f}"
    )
    means, iou, true, found, sizes = _judged(call, images(count, 200))
    for name, kept in (
        ("all", means < 9),
        ("sure", means < limit.limit),
        ("below 0.0125", means < 0.0125),
    ):
        hits = int((iou[kept] > 0).sum())
        quality = 2 * iou[kept].sum() / (kept.sum() + true)
        spread = np.percentile(found[kept], [10, 50, 90])
        print(
            f"{name} | {kept.sum()} of {true} | precision {hits / max(1, kept.sum()):.3f} recall {hits / true:.3f} "
            f"PQ {quality:.3f} | diameter mean {found[kept].mean():.1f}, 10/50/90 % {spread.round(1).tolist()}"
        )
    print(
        f"truth | mean {sizes.mean():.1f}, 10/50/90 % {np.percentile(sizes, [10, 50, 90]).round(1).tolist()}"
    )


def _judged(
    call: Any, some: Iterator[tuple[NDArray[np.uint8], Ids]]
) -> tuple[Any, Any, int, Any, Any]:
    """Mean uncertainty, IoU and diameter of the found particles, how many true ones there are, their diameters."""
    means, ious, true, found, sizes = [], [], 0, [], []
    for number, (image, truth) in enumerate(some):
        maps = call(image[None], Box((number, 0, 0), (number + 1, 512, 512)))
        ids, doubt = maps["particles"][0], maps["mutual_information"][0]
        each = np.bincount(ids.ravel())
        means.append((np.bincount(ids.ravel(), doubt.ravel()) / np.maximum(each, 1))[1:])
        table = scores.Overlaps.of(overlaps(truth[None], ids[None]))
        _, b, shared, union = table.pairs()
        iou = np.zeros(len(each))
        matched = 2 * shared > union
        iou[b[matched]] = shared[matched] / union[matched]
        ious.append(iou[1:])
        found.append(2 * np.sqrt(each[1:] / np.pi))
        own = np.bincount(truth.ravel())[1:]
        true += int((own > 0).sum())
        sizes.append(2 * np.sqrt(own[own > 0] / np.pi))
    return (
        np.concatenate(means),
        np.concatenate(ious),
        true,
        np.concatenate(found),
        np.concatenate(sizes),
    )


def in_blocks(radii: NDArray[np.float32], block: int, margin: int) -> Ids:
    """Objects of each block by itself, seen with a margin, numbered one block after the other."""
    labels, count = np.zeros(radii.shape, np.uint32), 0
    for one in Grid(triple(radii.shape), (block,) * 3, (margin,) * 3):
        own = basins_of_volume(radii[one.read.slices].copy(), 0.75)
        kept = own[one.core.within(one.read).slices]
        ids = np.unique(kept[kept > 0])
        part = np.zeros(kept.shape, np.uint32)
        part[kept > 0] = np.searchsorted(ids, kept[kept > 0]) + 1 + count
        labels[one.core.slices], count = part, count + len(ids)
    return labels


def faces(labels: Ids, block: int) -> Iterator[NDArray[np.uint32]]:
    """The two planes of labels at each face between two blocks, stacked along the first axis."""
    starts = [range(0, n, block) for n in labels.shape]
    for axis in range(3):
        rest = [a for a in range(3) if a != axis]
        for at in starts[axis][1:]:
            both = np.stack([np.take(labels, n, axis) for n in (at - 1, at)])
            for first, second in itertools.product(*(starts[a] for a in rest)):
                yield both[:, first : first + block, second : second + block]


def touching(face: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Pairs that dask-image joins at a face: labels in one connected piece of both planes."""
    pieces, _ = ndimage.label(face)
    seen = np.unique(np.column_stack([pieces.ravel(), face.ravel()])[face.ravel() > 0], axis=0)
    alike = np.flatnonzero(np.diff(seen[:, 0]) == 0)
    return np.column_stack([seen[alike, 1], seen[alike + 1, 1]])


def shrunk(plane: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """A plane of a face as cellpose compares it: without pixels within one of where labels change."""
    change = np.linalg.norm(np.gradient(plane.astype(float)), axis=0) > 0
    inner = np.where(change, 0, plane)
    return np.where(ndimage.distance_transform_edt(inner) > 1, inner, 0).astype(np.uint32)


def joined(labels: Ids, block: int, *, shrink: bool) -> int:
    """Number of objects when the labels of blocks are joined at their faces."""
    planes = faces(labels, block)
    seen = (np.stack([shrunk(p) for p in face]) if shrink else face for face in planes)
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *map(touching, seen)])
    count = int(labels.max()) + 1
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(count, count))
    return int(connected_components(graph, directed=False)[0]) - 1


def ours(folder: Path, inside: NDArray[np.bool_], block: int) -> str:
    """Rows of the commands, and whether particles of other blocks are the same to the last bit; the sample."""
    sample, source = str(folder / "spheres.zarr"), folder / "spheres.npy"
    np.save(source, inside.astype(np.uint8))
    edge = block // 2
    tim3d.ingest(
        source, sample, voxel_size={"z": 10.0, "y": 10.0, "x": 10.0}, field="phase",
        phases=tim3d.Phases(pore=0, solid=1), shard=(edge,) * 3, options=tim3d.Options(progress=False),
    )  # fmt: skip
    source.unlink()
    workers = "--cluster local --workers 2 --memory 2 --block"
    found = []
    for words in (
        f"distance {sample} {workers} {block},{block},{block}",
        f"particles {sample} --phase solid {workers} {block},{block},{block}",
        f"particles {sample} --phase solid {workers} {edge},{block},{inside.shape[2]} --overwrite",
    ):
        before = Counter(peaks(sample))
        wall, used = timed(partial(run, [sys.executable, "-m", "tim3d", *words.split()]))
        _, peak, planned = max((Counter(peaks(sample)) - before), key=lambda note: note[1])
        at = words.split("--block ")[1].partition(" ")[0]
        print(
            f"{words.split()[0]}, blocks of {at} | {wall:.0f} s | {used:.0f} CPU-s | "
            f"peak {peak:.0f} of {planned:.0f} MiB"
        )
        if words.startswith("particles"):
            found.append(np.asarray(tim3d.open_field(sample, "phase_instances_phase=solid")))
    same = np.array_equal(*found)
    print(f"ours | {found[0].max()} objects, for both blockings {'equal' if same else 'NOT equal'}")
    return sample


def touching_spheres(edge: int) -> NDArray[np.bool_]:
    """Voxels inside the spheres of a packing of two sizes."""
    truth = packed(edge, 0.5, (16.0, 28.0), 3)[0]
    print(f"true pieces | {truth.max()}")
    return truth > 0


def blockings(edge: int) -> None:
    """The commands in two blockings, without the controls."""
    with TemporaryDirectory() as folder:
        ours(Path(folder), touching_spheres(edge), min(edge // 2, 128))


def stitching(edge: int) -> None:
    """Objects found by the exact rule and by rules that join blocks, for three blockings."""
    inside = touching_spheres(edge)
    with TemporaryDirectory() as folder:
        sample = ours(Path(folder), inside, min(edge // 2, 128))
        radii = np.where(inside, np.asarray(tim3d.open_field(sample, "phase_distance")), 0)
    controls(radii.astype(np.float32))


def controls(radii: NDArray[np.float32]) -> None:
    """Objects by the rules that join blocks."""
    edge = len(radii)
    for margin, block in itertools.product((8, 56), (edge // 2, edge // 3 + 1, edge // 4)):
        start = time.process_time()
        labels = in_blocks(radii, block, margin)
        alone = time.process_time() - start
        for name, shrink in (("dask-image", False), ("cellpose", True)):
            start = time.process_time()
            count = joined(labels, block, shrink=shrink)
            print(
                f"{name}, blocks of {block}, margin {margin} | {count} objects | "
                f"{alone + time.process_time() - start:.0f} CPU-s"
            )


def main(arguments: list[str] | None = None) -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=["spheres", "slices", "sem", "stitching", "blockings"])
    parser.add_argument("path", nargs="?", default="")
    parser.add_argument("--edge", type=int, default=160)
    parser.add_argument("--images", type=int, default=6)
    given = parser.parse_args(arguments)
    if given.what == "spheres":
        spheres(given.edge)
    elif given.what == "slices":
        slices(Path(given.path))
    elif given.what == "sem":
        sem(given.path, given.images)
    elif given.what == "blockings":
        blockings(given.edge)
    else:
        stitching(given.edge)


if __name__ == "__main__":
    main()
