"""MicroLib's protocol with the micrographs at hand: a library is trained, judged and written as a page.

    python -m benchmarks.library MICROGRAPHS FOLDER --steps 3000 --volumes 8 --edge 256

MICROGRAPHS is a folder with the images named below, or with a table `micrographs.csv` of one's own
(docs/library.md). MicroLib judged 50 volumes of 512^3 voxels of each generator; with the defaults here
five generators take hours on two cores. A call that was killed is made again and goes on.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import tim3d
from tim3d.reporting.library import text

# File, phases, pixel in nm (1000 where the origin states none), scale, licence, origin.
MICROGRAPHS = [
    ("porous-silver.tif", "pore=0;silver=255", 1000, 4, "MIT", "hirtatsu/SliceGAN"),
    ("snbi-solder.tif", "tin=0;bismuth=255", 1000, 4, "MIT", "hirtatsu/SliceGAN"),
    ("composite.npy", "a=0;b=1;c=2", 1000, 2, "CC BY 4.0", "NEFM-TUDresden/MCRpy"),
    ("sandstone.npy", "a=0;b=1", 1000, 2, "CC BY 4.0", "NEFM-TUDresden/MCRpy"),
    ("alloy.npy", "a=0;b=1", 1000, 2, "CC BY 4.0", "NEFM-TUDresden/MCRpy"),
]
COLUMNS = ("file", "phases", "pixel_size", "scale", "licence", "origin")


def listed(images: Path, folder: Path) -> Path:
    """Table of the micrographs that are there, beside copies of them."""
    if (images / "micrographs.csv").is_file():
        return images / "micrographs.csv"
    folder.mkdir(parents=True, exist_ok=True)
    found = [row for row in MICROGRAPHS if (images / row[0]).is_file()]
    if not found:
        raise SystemExit(f"{images} has none of {', '.join(row[0] for row in MICROGRAPHS)}")
    for name, *_ in found:
        shutil.copyfile(images / name, folder / name)
    with (folder / "micrographs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *found])
    return folder / "micrographs.csv"


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, judge, and print the rows beside MicroLib's figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("micrographs", type=Path)
    parser.add_argument("folder", type=Path)
    for name, value in (("steps", 3000), ("volumes", 8), ("edge", 256)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--preset", default="demo")
    given = parser.parse_args(arguments)
    table = listed(given.micrographs, given.folder / "images")
    started = time.process_time()
    found = tim3d.library(
        given.folder / "library", train=table, preset=given.preset, steps=given.steps, evaluate=True,
        volumes=given.volumes, edge=given.edge, page=given.folder / "library.html", csv=given.folder / "library.csv",
    )  # fmt: skip
    print(text(found))
    bias = found.phase_fraction_deviation.values
    print(
        f"within MicroLib's 90 % quantile: {int(np.sum(bias <= found.attrs['microlib_p90']))} of {bias.size}"
    )
    print(f"CPU time of this call: {time.process_time() - started:.0f} s")


if __name__ == "__main__":
    main()
