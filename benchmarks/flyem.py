"""Boundaries of cells in a real FIB-SEM stack: boundary F1, and objects after a watershed, on slices not learnt from.

    python -m benchmarks.flyem DATA/flyem-fibsem                    # the table of RESULTS.md
    python -m benchmarks.flyem DATA/flyem-fibsem --epochs 1 --steps 1    # a quick look

The stack is training_sample2 of janelia-flyem/neuroproof_examples (Creative Commons Attribution). The
network learns the boundary of true bodies in the first 200 slices, and the last 50 are judged as a
stack of their own. Objects are what a watershed parts in the interior, by the distance to the boundary
that was found; voxels of the true boundary do not count. Control: the same watershed of the true
boundary. The chance level of boundary F1 is that of labels without a relation to the truth.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

import tim3d
from pipelines.flyem_truth import bodies, boundary

QUIET = tim3d.Options(progress=False)
SIZE = {"z": 10.0, "y": 10.0, "x": 10.0}
NAMES = tim3d.Phases(interior=0, boundary=1)
LEARNT = 200
HEAD = (
    "| boundary of | depth, nm | boundary F1 | by chance | IoU | Dice | precision | recall "
    "| adapted Rand error | VI split | VI merge | CPU s |"
)


def samples(data: Path, folder: Path) -> tuple[str, str]:
    """The slices that are learnt from, and those that are judged, with grey values, boundary and bodies."""
    grey = np.stack([np.array(Image.open(one)) for one in sorted((data / "slices").glob("*.png"))])
    body = bodies(data)
    edge = boundary(body)
    objects = np.where(edge == 1, 0, body).astype(np.uint32)
    fields = {"raw": grey, "truth": edge, "bodies": objects}
    for name, planes in (("learnt", slice(0, LEARNT)), ("judged", slice(LEARNT, None))):
        for field, values in fields.items():
            path = folder / f"{field}.npy"
            np.save(path, values[planes])
            tim3d.ingest(
                path, str(folder / f"{name}.zarr"), voxel_size=SIZE, field=field,
                phases=NAMES if field == "truth" else None,
                convert="objects" if field == "bodies" else "exact", options=QUIET,
            )  # fmt: skip
    return str(folder / "learnt.zarr"), str(folder / "judged.zarr")


def row(sample: str, name: str, field: str, depth: float, spent: float) -> str:
    """Boundary of a field of labels, and objects that are parted by its distances."""
    edge = tim3d.evaluate(sample, field=field, resamples=0, options=QUIET).sel(phase="boundary")
    tim3d.distance(sample, field=field, options=QUIET)
    out = f"{field}_parted_{depth:g}"
    tim3d.watershed(
        sample, f"{field}_distance", field=field, phase="interior", depth=depth, out=out, options=QUIET
    )  # fmt: skip
    parted = tim3d.evaluate(sample, field=out, truth="bodies", resamples=0, options=QUIET)
    of_edge = (
        edge.boundary_f1,
        edge.boundary_f1_chance,
        edge.iou,
        edge.dice,
        edge.precision,
        edge.recall,
    )
    of_objects = (parted.adapted_rand_error, parted.vi_split, parted.vi_merge)
    values = " | ".join(f"{float(one):.3f}" for one in (*of_edge, *of_objects))
    return f"| {name} | {depth:g} | {values} | {spent:.0f} |"


def rows(given: argparse.Namespace, folder: Path) -> Iterator[str]:
    """The true boundary, then Otsu's and the network's."""
    learnt, judged = samples(given.folder, folder)
    began, path = time.process_time(), folder / "net.safetensors"
    tim3d.segment(judged, out="otsu", method="otsu", polarity="bright", phases=NAMES, options=QUIET)
    tim3d.train(
        learnt, path, labels="truth", context=1, epochs=given.epochs, steps=given.steps, crop=given.crop,
        patience=given.epochs, learning_rate=2e-3, progress=False,
    )  # fmt: skip
    tim3d.segment(judged, out="net", model=path, options=QUIET)
    spent = time.process_time() - began
    for depth in given.depths:
        yield row(judged, "true boundary", "truth", depth, 0)
        yield row(judged, "Otsu", "otsu", depth, 0)
        yield row(judged, "U-Net, 2.5-D", "net", depth, spent)


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--depths", type=float, nargs="+", default=[20.0, 40.0, 80.0], help="in nm")
    given = parser.parse_args(arguments)
    logging.getLogger("tim3d").setLevel(logging.ERROR)
    print(f"{HEAD}\n|" + "---|" * 12, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for line in rows(given, Path(folder)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
