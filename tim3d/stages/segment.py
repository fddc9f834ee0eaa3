"""Grey values become labels: by thresholds of the whole volume's histogram, or by a network on one lattice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from tim3d import store
from tim3d.engine import Plan, lock_sample
from tim3d.errors import ArgumentError
from tim3d.grid import Block, Triple
from tim3d.kernels.threshold import classify, is_dark, multi_otsu, otsu
from tim3d.phases import Phases
from tim3d.schema import Field
from tim3d.stages.field import DEFAULTS, Making, Options, many_shards, produce
from tim3d.stages.histogram import BLURS, blurred, check_blur, check_thresholds, histogram, histogram_pass
from tim3d.stages.reduction import inner

METHODS = ("otsu", "multi-otsu", "fixed")


def segment(
    sample: str,
    *,
    model: str | Path | None = None,
    method: Literal["otsu", "multi-otsu", "fixed"] | None = None,
    thresholds: Sequence[float] | None = None,
    phases: Phases | None = None,
    merge: Mapping[str, str] | None = None,
    field: str = "raw",
    out: str = "phase",
    blur: Literal["none", "binomial"] = "none",
    polarity: Literal["dark", "bright"] = "dark",
    mode: Literal["crop", "blend"] = "crop",
    window: tuple[int, int] | None = None,
    halo: int | None = None,
    probabilities: bool = False,
    normalisation: Literal["volume", "slices"] | None = None,
    batch: int = 1,
    precision: Literal["fp32", "fp16"] = "fp32",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    options: Options = DEFAULTS,
) -> xr.DataArray | list[Plan]:
    """Segment a grey field into phases; the labels do not depend on the blocks.

    Parameters
    ----------
    model : path, optional
        A network trained by `tim3d.train`. Else `method`:
    method : {"otsu", "multi-otsu", "fixed"}
        Thresholds from the histogram of the whole volume, or the `thresholds` given. Class k holds
        threshold[k-1] < grey <= threshold[k].
    phases : Phases, optional
        Names and codes of the labels. For thresholds the classes are in the order of the names and of the codes; where
        the two orders differ the phases are refused. Classes of a network are found by their names (default: its own
        classes, with the codes 0, 1, ...).
    merge : mapping of name to name, optional
        Classes of the network that count as another one, for example ``{"shine_through": "pore"}``.
    blur : {"none", "binomial"}
        5 x 5 binomial blur of every slice before the threshold.
    polarity : {"dark", "bright"}
        Whether the first phase is the darkest or the brightest one.
    mode, window, halo
        See docs/segment.md: whole slices by default; `window` (y, x) with a `halo` that is thrown away ("crop"), or
        overlapping windows weighted by a Gaussian ("blend", overlap twice the halo).
    probabilities : bool
        Keep uint8 probabilities of every class too, as fields ``OUT_probability_CLASS``.
    normalisation : {"volume", "slices"}, optional
        Mean and deviation of grey: of the volume, or of each slice, smoothed (default: as the network was trained).
    batch, precision, device
        How the network runs. On a CPU all blockings give the same bits; on a GPU they agree to rounding.

    Returns
    -------
    xarray.DataArray
        The labels, lazily; or the plans.

    Raises
    ------
    ArgumentError
        If neither or both of model and method are given, classes and phases do not match, the phases are written in
        another order than that of their codes, or thresholds do not rise or cut nothing of the field's type.
    CheckpointError
        If the model is damaged or has other classes.
    MissingFieldError
        If the grey field is missing.
    """
    if (model is None) == (method is None):
        raise ArgumentError("segment needs either a network (--model unet.safetensors) or a --method such as otsu")
    grey = store.complete_field(sample, field)
    if grey.labels:
        raise ArgumentError(f"field {field!r} holds labels; segment needs grey values")
    if model is not None:
        from tim3d.stages import network

        how = network.Inference(mode, window, halo, probabilities, normalisation, batch, precision, device)
        return network.segment(sample, grey, out, Path(model), phases, dict(merge or {}), how, options)
    if phases is None:
        raise ArgumentError("thresholds need names for the phases, darkest first: --phases pore=0,solid=1")
    return _by_thresholds(sample, grey, out, str(method), thresholds, phases, blur, polarity, options)


def _by_thresholds(
    sample: str,
    grey: Field,
    out: str,
    method: str,
    given: Sequence[float] | None,
    phases: Phases,
    blur: str,
    polarity: str,
    options: Options,
) -> xr.DataArray | list[Plan]:
    check_blur(blur, grey)
    phases.require_order("the darkest" if is_dark(polarity) else "the brightest")
    _check_method(method, given, phases)
    check_thresholds(given or (), grey)
    if options.plan and given is None:
        return [histogram_pass(sample, grey, blur, options).plan()]
    levels = list(given) if given is not None else _levels(sample, grey, method, phases, blur, options)
    codes = phases.codes if is_dark(polarity) else phases.codes[::-1]
    labels = Field(
        out, grey.shape, "uint8", grey.spacing_nm, grey.chunk, grey.shard, labels=True, phases=phases, long_name="phase"
    )
    making = Making(
        verb="segment",
        field=labels,
        work=ThresholdWork(sample, grey.name, out, tuple(levels), codes, blur, grey.voxel_bytes, options.durable),
        block=many_shards(labels),
        inputs={grey.name: store.fingerprint_of(sample, grey.name)},
        parameters={"method": method, "thresholds": levels, "blur": blur, "polarity": polarity},
        halo=BLURS[blur],
        read_bytes=grey.voxel_bytes,
    )
    return produce(sample, making, options)


def _check_method(method: str, given: Sequence[float] | None, phases: Phases) -> None:
    if method not in METHODS:
        raise ArgumentError(f"no method {method!r}; there are {', '.join(METHODS)}")
    if (method == "fixed") != (given is not None):
        raise ArgumentError("--thresholds go with --method fixed, and only with it: --method fixed --thresholds 85")
    expected = _classes(method, given, phases)
    if len(phases) != expected or expected < 2:
        cure = {
            "otsu": "For more phases: --method multi-otsu",
            "multi-otsu": "Name two phases or more: --phases pore=0,solid=1",
            "fixed": "Name one phase more than there are --thresholds",
        }
        raise ArgumentError(
            f"{method} gives {max(2, expected)} classes, and {len(phases)} phases are named ({', '.join(phases)}). "
            f"{cure[method]}"
        )


def _classes(method: str, given: Sequence[float] | None, phases: Phases) -> int:
    if given is not None:
        return len(given) + 1
    return 2 if method == "otsu" else len(phases)


def _levels(sample: str, grey: Field, method: str, phases: Phases, blur: str, options: Options) -> list[float]:
    with lock_sample(sample):
        counts, centres = histogram(sample, grey, blur, options)
    if method == "otsu":
        return [otsu(counts, centres)]
    return multi_otsu(counts, centres, classes=len(phases))


@dataclass(frozen=True)
class ThresholdWork:
    """Grey in, codes out, one slice at a time."""

    sample: str
    source: str
    out: str
    thresholds: tuple[float, ...]
    codes: tuple[int, ...]
    blur: str
    voxel_bytes: int
    durable: bool

    def read(self, block: Block) -> np.ndarray:
        """Grey values with what the blur needs around them."""
        return store.read_box(store.field_array(self.sample, self.source), block.read)

    def compute(self, block: Block, inputs: np.ndarray) -> np.ndarray:
        """Codes of the core."""
        core = inner(block).slices
        labels = np.empty(block.core.shape, np.uint8)
        for place, grey in zip(labels, inputs[core[0]], strict=True):
            place[...] = self._codes(blurred(grey, self.blur)[core[1:]])
        return labels

    def _codes(self, grey: np.ndarray) -> np.ndarray:
        """Codes of grey values; integers are looked up in a table of all of them."""
        codes = np.asarray(self.codes, np.uint8)
        if grey.dtype.kind == "f":
            return codes[classify(grey, list(self.thresholds))]
        every = np.arange(np.iinfo(grey.dtype).max + 1)
        return np.take(codes[classify(every, list(self.thresholds))], grey)

    def write(self, block: Block, outputs: np.ndarray) -> dict[str, Any]:
        """Whole shards, and how many voxels each phase got."""
        store.write_box(store.field_array(self.sample, self.out, mode="r+"), block.core, outputs, durable=self.durable)
        return {"voxels": {str(code): int((outputs == code).sum()) for code in self.codes}}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Grey (twice while it is decoded), labels (twice while they are encoded), and one slice in the making."""
        return int(np.prod(read)) * 2 * self.voxel_bytes + 3 * int(np.prod(core)) + 40 * read[1] * read[2]
