"""Automatic labels by a threshold and superpixels of whole slices, to train a network on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tim3d.engine import Plan, lock_sample
from tim3d.errors import ArgumentError
from tim3d.grid import Block, Triple
from tim3d.kernels.image.superpixels import check_superpixels, hybrid_labels
from tim3d.kernels.image.threshold import (
    check_smoothing,
    grey_counts,
    is_dark,
    otsu,
    second_derivative_peak,
)
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases
from tim3d.stages.shared.field import DEFAULTS, Making, Options, plan_field, produce, slab
from tim3d.stages.shared.histogram import Histogram, check_thresholds
from tim3d.stages.shared.phase_shares import telling_shares
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import store
from tim3d.storage.schema import Field

SMOOTHING = 6.0
LABELS = Phases(solid=0, pore=1, shine_through=2)


@Verb
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
) -> Task[xr.DataArray]:
    """Label a grey stack by histogram and superpixels: 0 solid, 1 pore, 2 shine-through inside pores.

    A pixel is pore where its grey lies on the pore side of `threshold`, and shine-through where
    only the mean grey of its SLIC superpixel lies on the pore side of `superpixel_threshold`. Both
    come from the histogram of the whole volume.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    field : str
        The grey field.
    out : str
        Name of the field of labels.
    threshold : float, optional
        Grey value that separates pixels (default: by Otsu's method).
    superpixel_threshold : float, optional
        Grey value that separates means of superpixels (default: from the histogram). There it is the
        first peak of the second derivative of the smoothed histogram.
    smoothing : float, optional
        Standard deviation in grey levels by which the histogram is smoothed (default: 6 for uint8).
        For other types it is the same share of the filled range; the smoothing is by a Gaussian.
    size : float
        Edge of a superpixel in pixels: smaller than the smallest feature.
    compactness : float
        Compactness of the superpixels: larger is squarer.
    polarity : "dark" or "bright"
        How pores look.
    options : Options
        How it runs.

    Returns
    -------
    xarray.DataArray
        The labels, lazily. The thresholds are among the node's parameters.

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
    check_superpixels(size, compactness)
    if smoothing is not None:
        check_smoothing(smoothing)
    for one in (threshold, superpixel_threshold):
        check_thresholds(() if one is None else (one,), grey)
    if smoothing is not None and superpixel_threshold is not None:
        raise ArgumentError(
            "--smoothing changes nothing with --superpixel-threshold: leave one of them out"
        )
    asked = {"smoothing": smoothing, "size": size, "compactness": compactness, "polarity": polarity}
    annotating = Annotating(sample, grey, out, (threshold, superpixel_threshold), asked, options)
    return Task(annotating.plans, annotating.run)


@dataclass(frozen=True)
class Annotating:
    """Labels of a grey field by two given or computed thresholds; `asked` are other parameters."""

    sample: str
    grey: Field
    out: str
    given: tuple[float | None, float | None]
    asked: dict[str, Any]
    options: Options

    def plans(self) -> list[Plan]:
        """Passes that write labels, after the pass that counts grey values unless it is done."""
        counting = self._histogram.plans() if None in self.given else []
        thresholds = self._kept() if counting else self._thresholds(self._histogram.read)
        return [*counting, *plan_field(self.sample, self._making(thresholds), self.options)]

    def run(self) -> xr.DataArray:
        """Write and return the labels, with thresholds from the whole volume."""
        self.plans()  # refuses bad arguments before anything is counted
        with lock_sample(self.sample) if None in self.given else contextlib.nullcontext():
            thresholds = self._thresholds(self._histogram.count)
        making = self._making(thresholds)
        return produce(
            self.sample,
            making,
            self.options,
            telling_shares(making, self.options, may_lack=("shine_through",)),
        )

    @property
    def _histogram(self) -> Histogram:
        return Histogram(self.sample, self.grey, "none", self.options)

    def _thresholds(
        self, counted: Callable[[], tuple[np.ndarray, np.ndarray]]
    ) -> tuple[float, float]:
        """Thresholds for pixels and for superpixel means, in grey levels."""
        pixel, mean = self.given
        if pixel is not None and mean is not None:
            return pixel, mean
        counts, centres = counted()
        polarity, smoothing = self.asked["polarity"], self.asked["smoothing"]
        pixel = otsu(counts, centres) if pixel is None else pixel
        width = _default_smoothing(self.grey, counts, centres) if smoothing is None else smoothing
        mean = second_derivative_peak(counts, centres, width, polarity) if mean is None else mean
        # Superpixels may add pore to that found by pixels, never remove it.
        return pixel, max(pixel, mean) if is_dark(polarity) else min(pixel, mean)

    def _kept(self) -> tuple[float, float]:
        """Thresholds of the stored labels until the histogram is known; no plan depends on them."""
        known = store.node_attributes(self.sample, self.out).get("parameters", {})
        pixel, mean = (known.get(name, 0.0) for name in ("threshold", "superpixel_threshold"))
        return pixel, mean

    def _making(self, thresholds: tuple[float, float]) -> Making:
        grey, (pixel, mean) = self.grey, thresholds
        parameters = {"threshold": pixel, "superpixel_threshold": mean, **self.asked}
        labels = Field(
            self.out, grey.shape, "uint8", grey.spacing_nm, grey.chunk, grey.shard, labels=True, phases=LABELS,
            long_name="label",
        )  # fmt: skip
        return Making(
            verb="annotate",
            field=labels,
            work=AnnotateWork(
                self.sample, grey.name, self.out, grey.voxel_bytes, parameters, self.options.durable
            ),
            block=slab(labels, labels.shard[0]),
            inputs={grey.name: store.fingerprint_of(self.sample, grey.name)},
            parameters=parameters,
            read_bytes=grey.voxel_bytes,
        )


def _default_smoothing(grey: Field, counts: np.ndarray, centres: np.ndarray) -> float:
    if grey.dtype == "uint8":
        return SMOOTHING
    filled = centres[counts > 0]
    return SMOOTHING / 256 * float(filled[-1] - filled[0])


@dataclass(frozen=True)
class AnnotateWork:
    """Block work on whole slices: reads grey values, writes labels."""

    sample: str
    source: str
    out: str
    voxel_bytes: int
    parameters: dict[str, Any]
    durable: bool

    def read(self, block: Block) -> np.ndarray:
        """Read the slices of the block."""
        return store.read_box(store.field_array(self.sample, self.source), block.read)

    def compute(self, block: Block, inputs: np.ndarray) -> np.ndarray:
        """Label the block slice by slice."""
        p = self.parameters
        return np.stack(
            [
                hybrid_labels(
                    s,
                    p["threshold"],
                    p["superpixel_threshold"],
                    p["size"],
                    p["compactness"],
                    p["polarity"],
                )
                for s in inputs
            ]
        )

    def write(self, block: Block, outputs: np.ndarray) -> dict[str, Any]:
        """Write whole shards, and return the number of voxels of each label."""
        store.write_block(self.sample, self.out, block.core, outputs, durable=self.durable)
        counts = grey_counts(outputs)
        return {"voxels": {str(code): int(counts[code]) for code in LABELS.codes}}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of a block: grey values and labels of the slab, and SLIC buffers of one slice."""
        return int(np.prod(core)) * (2 * self.voxel_bytes + 3) + 80 * core[1] * core[2]
