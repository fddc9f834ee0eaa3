"""Bright rims of hand-labelled SEM images of superalloys: found without a label, beside what the labels say.

    python -m benchmarks.rims nasa-sem

The images and labels are those of Stuckner, Harder, Smith, npj Comput. Mater. 8 (2022) 200 (MIT): the
training images of a set of its `splits.json`. Grey values of each image are stretched so that its 5
and 95 % quantiles are 85 and 165. Pixels are the unit of length.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.nasa_networks import read
from tim3d.kernels.image.edge_profile import profile, profile_of_edges, rims

LOW, HIGH = 85.0, 165.0


def main() -> None:
    """Print both fits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--set", default="Super2")
    asked = parser.parse_args()
    seen = read(asked.folder, asked.set, "train")
    low, high = (
        np.quantile(seen.grey, share, axis=(1, 2))[:, None, None] for share in (0.05, 0.95)
    )
    grey = ((seen.grey - low) / (high - low) * (HIGH - LOW) + LOW).clip(0, 255)
    bright = (seen.truth == 0).astype(np.uint8)  # the matrix
    known = profile(zip(grey, bright, strict=True), 0, (1.0, 1.0), bright_side=False)
    print("with labels   ", rims(known, LOW, HIGH))
    print("without labels", rims(profile_of_edges(grey), LOW, HIGH))


if __name__ == "__main__":
    main()
