"""Labels without a single stroke of a pen: threshold and superpixels of whole slices, to train a network from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from tim3d import store
from tim3d.engine import Plan, lock_sample
from tim3d.errors import ArgumentError
from tim3d.grid import Block, Triple
from tim3d.kernels.superpixels import hybrid_labels
from tim3d.kernels.threshold import grey_counts, is_dark, otsu, second_derivative_peak
from tim3d.phases import Phases
from tim3d.schema import Field
from tim3d.stages.field import DEFAULTS, Making, Options, produce, slab
from tim3d.stages.histogram import histogram, histogram_pass

SMOOTHING = 6.0
LABELS = Phases(solid=0, pore=1, shine_through=2)


def annotate(
    sample: str,
    *,
    field: str = "raw",
    out: str = "annotation",
    threshold: float | None = None,
    superpixel_threshold: float | None = None,
    smoothing: float | None = None,
    size: float = 8.0,
    compactness: float = 0.2,
    polarity: Literal["dark", "bright"] = "dark",
    options: Options = DEFAULTS,
) -> xr.DataArray | list[Plan]:
    """Hybrid annotation of a grey stack: 0 solid, 1 pore by threshold, 2 shine-through inside pores.

    A pixel is pore where its grey lies on the pore side of `threshold`, and shine-through where only the mean grey of
    its SLIC superpixel lies on the pore side of `superpixel_threshold`. Both come from the histogram of the whole
    volume.

    Parameters
    ----------
    threshold : float, optional
        For pixels (default: Otsu).
    superpixel_threshold : float, optional
        For means of superpixels (default: the first peak of the second derivative of the smoothed histogram).
    smoothing : float, optional
        Standard deviation in grey levels of the Gaussian that smooths the histogram (default: 6 for uint8, the same
        share of the filled range for other types).
    size : float
        Edge of a superpixel in pixels: smaller than the smallest feature.
    compactness : float
        Of the superpixels: larger is squarer.
    polarity : "dark" or "bright"
        How pores look.

    Returns
    -------
    xarray.DataArray
        The labels, lazily; or the plans. The thresholds are among the node's parameters.

    Raises
    ------
    MissingFieldError
        If the grey field is missing.
    InputError
        If the histogram has one mode only: there is nothing to separate.

    References
    ----------
    Commun. Mater. (2024). DOI 10.1038/s43246-024-00493-5
    """
    grey = store.complete_field(sample, field)
    is_dark(polarity)
    if grey.labels:
        raise ArgumentError(f"field {field!r} holds labels; annotate needs grey values")
    if options.plan and (threshold is None or superpixel_threshold is None):
        return [histogram_pass(sample, grey, "none", options).plan()]
    given = (threshold, superpixel_threshold)
    pixel, mean = given if None not in given else _thresholds(sample, grey, given, smoothing, polarity, options)
    parameters = {
        "threshold": pixel,
        "superpixel_threshold": mean,
        "smoothing": smoothing,
        "size": size,
        "compactness": compactness,
        "polarity": polarity,
    }
    labels = Field(
        out, grey.shape, "uint8", grey.spacing_nm, grey.chunk, grey.shard, labels=True, phases=LABELS, long_name="label"
    )
    making = Making(
        verb="annotate",
        field=labels,
        work=AnnotateWork(sample, field, out, grey.voxel_bytes, parameters, options.durable),
        block=slab(labels, labels.shard[0]),
        inputs={field: store.fingerprint_of(sample, field)},
        parameters=parameters,
        read_bytes=grey.voxel_bytes,
    )
    return produce(sample, making, options)


def _thresholds(
    sample: str,
    grey: Field,
    given: tuple[float | None, float | None],
    smoothing: float | None,
    polarity: Literal["dark", "bright"],
    options: Options,
) -> tuple[float, float]:
    with lock_sample(sample):
        counts, centres = histogram(sample, grey, "none", options)
    pixel = otsu(counts, centres) if given[0] is None else given[0]
    width = _default_smoothing(grey, counts, centres) if smoothing is None else smoothing
    mean = second_derivative_peak(counts, centres, width, polarity) if given[1] is None else given[1]
    # A superpixel may find more pore than its pixels do, never less.
    return pixel, max(pixel, mean) if is_dark(polarity) else min(pixel, mean)


def _default_smoothing(grey: Field, counts: np.ndarray, centres: np.ndarray) -> float:
    if grey.dtype == "uint8":
        return SMOOTHING
    filled = centres[counts > 0]
    return SMOOTHING / 256 * float(filled[-1] - filled[0])


@dataclass(frozen=True)
class AnnotateWork:
    """Whole slices: grey in, labels out."""

    sample: str
    source: str
    out: str
    voxel_bytes: int
    parameters: dict[str, Any]
    durable: bool

    def read(self, block: Block) -> np.ndarray:
        """The slices of the block."""
        return store.read_box(store.field_array(self.sample, self.source), block.read)

    def compute(self, block: Block, inputs: np.ndarray) -> np.ndarray:
        """Labels slice by slice."""
        p = self.parameters
        return np.stack(
            [
                hybrid_labels(s, p["threshold"], p["superpixel_threshold"], p["size"], p["compactness"], p["polarity"])
                for s in inputs
            ]
        )

    def write(self, block: Block, outputs: np.ndarray) -> dict[str, Any]:
        """Whole shards, and how many voxels each label got."""
        array = store.field_array(self.sample, self.out, mode="r+")
        store.write_box(array, block.core, outputs, durable=self.durable)
        return {"voxels": grey_counts(outputs)[: len(LABELS)].tolist()}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Grey and labels of the slab, and what SLIC needs for one slice."""
        return int(np.prod(core)) * (2 * self.voxel_bytes + 3) + 80 * core[1] * core[2]
