"""Distance of crops of volumes to the nearest part of their micrograph, beside that of the micrograph to itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tim3d.kernels.statistics.copies import nearest_part
from tim3d.kernels.statistics.correlation import ranks_of
from tim3d.lazy import xarray as xr
from tim3d.storage import store
from tim3d.storage.schema import AXES

# Edge of a crop in pixels, if the image has three times that, so that wherever the crop lies there is a part
# without its pixels; and number of crops of an image.
EDGE, CROPS = 48, 8
DISTANCES = {
    "nearest_part_distance": "mean distance of crops of the volumes to the nearest part of the image, "
    "share of the pixels",
    "nearest_part_distance_of_image": "mean distance of crops of the image to its nearest part without their pixels, "
    "share of the pixels",
}


def distances(found: xr.Dataset, samples: Sequence[str], seed: int) -> dict[str, float]:
    """Mean distances by the names of `DISTANCES`, each a share of the pixels.

    Parameters
    ----------
    found : xarray.Dataset
        Comparison of the volumes with the images, which holds these.
    samples : sequence of str
        Paths of the volumes.
    seed : int
        Number from which the places of the crops of an image follow.
    """
    images = [found[f"micrograph_{axis}"].values for axis in AXES if f"micrograph_{axis}" in found]
    names = [str(name) for name in found["phase"].values]
    shortest = min(store.read_field(samples[0], "phase").shape)
    edge = min(EDGE, shortest, *(n // 3 for image in images for n in image.shape))
    generated = [
        nearest_part(crop, images[normal % len(images)]).distance
        for sample in samples
        for normal, crop in _middle_crops(sample, names, edge)
    ]
    random = np.random.default_rng(seed)
    own = [_to_itself(images[number % len(images)], edge, random) for number in range(CROPS)]
    return dict(zip(DISTANCES, (float(np.mean(generated)), float(np.mean(own))), strict=True))


def _middle_crops(sample: str, names: Sequence[str], edge: int) -> Iterator[tuple[int, np.ndarray]]:
    """Middle crop of the middle slice across each axis, by index of the phase; one slice at a time."""
    phases = store.read_field(sample, "phase").phases
    assert phases is not None
    codes = tuple(phases[name] for name in names)
    labels = store.open_field(sample, "phase")
    for normal, axis in enumerate(AXES):
        plane = labels.isel({axis: labels.sizes[axis] // 2}).values
        rows, columns = ((n - edge) // 2 for n in plane.shape)
        yield normal, ranks_of(plane[rows : rows + edge, columns : columns + edge], codes)


def _to_itself(image: np.ndarray, edge: int, random: np.random.Generator) -> float:
    row, column = (int(random.integers(0, n - edge + 1)) for n in image.shape)
    crop = image[row : row + edge, column : column + edge]
    return nearest_part(crop, image, apart_from=(row, column)).distance
