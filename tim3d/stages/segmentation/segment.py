"""Grey values become labels: by thresholds of the whole volume's histogram, or by a network on one lattice."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from tim3d.engine import Outline, Plan, lock_sample
from tim3d.errors import ArgumentError
from tim3d.grid import Block, Triple
from tim3d.kernels.image.threshold import classify, is_dark, multi_otsu, otsu
from tim3d.phases import Phases
from tim3d.stages.shared.field import DEFAULTS, Making, Options, many_shards, plan_field, produce
from tim3d.stages.shared.histogram import BLURS, Histogram, blurred, check_blur, check_thresholds
from tim3d.stages.shared.phase_shares import telling_shares
from tim3d.stages.shared.reduction import inner
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import store
from tim3d.storage.schema import Field
from tim3d.typed import GreyValues, Merges, Window

METHODS = ("otsu", "multi-otsu", "fixed")


@Verb
def segment(
    sample: str,
    *,
    model: str | Path | None = None,
    method: Literal["otsu", "multi-otsu", "fixed"] | None = None,
    thresholds: GreyValues | None = None,
    phases: Phases | None = None,
    merge: Merges | None = None,
    field: str = "raw",
    out: str = "phase",
    blur: Literal["none", "binomial"] = "none",
    polarity: Literal["dark", "bright"] = "dark",
    mode: Literal["crop", "blend"] = "crop",
    window: Window | None = None,
    halo: int | None = None,
    probabilities: bool = False,
    normalisation: Literal["volume", "slices"] | None = None,
    batch: int = 1,
    precision: Literal["fp32", "fp16"] = "fp32",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    options: Options = DEFAULTS,
) -> Task[xr.DataArray]:
    """Segment a grey field into phases; the labels do not depend on the blocks.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    model : path, optional
        A network trained by tim3d train (default: none, thresholds by the method).
    method : {"otsu", "multi-otsu", "fixed"}
        How thresholds are found in the histogram of the whole volume (needed without a model). Class k holds
        threshold[k-1] < grey <= threshold[k].
    thresholds : sequence of float, optional
        Grey values that part the classes (needed by the method fixed).
    phases : Phases, optional
        Names and codes of the labels (default: the network's own classes, with the codes 0, 1, ...). For thresholds the
        classes are in the order of the names and of the codes; where the two orders differ the phases are refused.
        Classes of a network are found by their names.
    merge : mapping of name to name, optional
        Classes of the network that count as another one (default: none). For example ``{"shine_through": "pore"}``.
    field : str
        The grey field.
    out : str
        Name of the field of labels.
    blur : {"none", "binomial"}
        Blur of every slice before the threshold. The binomial one is over 5 x 5 pixels.
    polarity : {"dark", "bright"}
        Whether the first phase is the darkest or the brightest one.
    mode : {"crop", "blend"}
        How windows are joined. By a border that is thrown away ("crop"), or weighted by a Gaussian ("blend", which
        overlap by twice the halo); see docs/segment.md.
    window : (y, x), optional
        Edges of a window in pixels (default: whole slices).
    halo : int, optional
        Border of a window in pixels that is thrown away, or half the overlap (default: an eighth of the window).
    probabilities : bool
        Keep probabilities of every class too, in 8 bits. They are fields ``OUT_probability_CLASS``.
    normalisation : {"volume", "slices"}, optional
        Mean and deviation of grey: of the volume, or of each slice, smoothed (default: as the network was trained).
    batch : int
        Windows that the network gets at a time.
    precision : {"fp32", "fp16"}
        Precision of the network's arithmetic.
    device : {"auto", "cpu", "cuda"}
        Device of the network. On a CPU all blockings give the same bits; on a GPU they agree to rounding.
    options : Options
        How it runs.

    Returns
    -------
    xarray.DataArray
        The labels, lazily.

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
        raise ArgumentError(
            "segment needs either a network (--model unet.safetensors) or --method otsu --phases pore=0,solid=1"
        )
    thresholding = {"thresholds": thresholds, "blur": blur, "polarity": polarity}
    of_network = {
        "merge": merge, "mode": mode, "window": window, "halo": halo, "probabilities": probabilities,
        "normalisation": normalisation, "batch": batch, "precision": precision, "device": device,
    }  # fmt: skip
    _refuse_unused(*(("--method", of_network) if model is None else ("--model", thresholding)))
    grey = store.complete_field(sample, field)
    if grey.labels:
        raise ArgumentError(f"field {field!r} holds labels; segment needs grey values")
    if model is not None:
        from tim3d.stages.segmentation import inference

        how = inference.Inference(mode, window, halo, probabilities, normalisation, batch, precision, device)
        return inference.segment(sample, grey, out, Path(model), phases, dict(merge or {}), how, options)
    if phases is None:
        raise ArgumentError("thresholds need names for the phases, darkest first: --phases pore=0,solid=1")
    check_blur(blur, grey)
    phases.require_order("the darkest" if is_dark(polarity) else "the brightest")
    _check_method(str(method), thresholds, phases)
    check_thresholds(thresholds or (), grey)
    codes = phases.codes if is_dark(polarity) else phases.codes[::-1]
    asked = {"method": str(method), "blur": blur, "polarity": polarity}
    given = None if thresholds is None else [float(v) for v in thresholds]
    segmenting = Thresholding(sample, grey, out, phases, codes, asked, given, options)
    return Task(segmenting.plans, segmenting.run)


def _refuse_unused(way: str, others: Mapping[str, Any]) -> None:
    """Refuse what belongs to the other way to segment: it would change nothing."""
    known = inspect.signature(segment).parameters
    for name, value in others.items():
        if value != known[name].default:
            raise ArgumentError(f"--{name.replace('_', '-')} changes nothing with {way}: leave it out")


@dataclass(frozen=True)
class Thresholding:
    """Segmentation by thresholds, which may have to be found first.

    `codes` are those of the classes from dark to bright, `asked` the parameters beside the thresholds.
    """

    sample: str
    grey: Field
    out: str
    phases: Phases
    codes: tuple[int, ...]
    asked: Mapping[str, str]
    given: list[float] | None
    options: Options

    def plans(self) -> list[Plan | Outline]:
        """The pass that counts grey values, unless they are known, and those that write labels."""
        counting = [] if self.given is not None else self._histogram.plans()
        levels = self._kept() if counting else self._levels(self._histogram.read)
        return [*counting, *plan_field(self.sample, self._making(levels), self.options)]

    def run(self) -> xr.DataArray:
        """The labels, with thresholds from the whole volume."""
        self.plans()  # what cannot be is refused before anything is counted
        with lock_sample(self.sample) if self.given is None else contextlib.nullcontext():
            levels = self._levels(self._histogram.count)
        making = self._making(levels)
        return produce(self.sample, making, self.options, telling_shares(making, self.options))

    @property
    def _histogram(self) -> Histogram:
        return Histogram(self.sample, self.grey, self.asked["blur"], self.options)

    def _levels(self, counted: Callable[[], tuple[np.ndarray, np.ndarray]]) -> list[float]:
        if self.given is not None:
            return self.given
        counts, centres = counted()
        if self.asked["method"] == "otsu":
            return [otsu(counts, centres)]
        return multi_otsu(counts, centres, classes=len(self.phases))

    def _kept(self) -> list[float]:
        """Thresholds of the labels that are there, while those of the field are not known; a plan depends on none."""
        record = store.node_attributes(self.sample, self.out)
        return list(record.get("parameters", {}).get("thresholds", []))

    def _making(self, levels: list[float]) -> Making:
        grey = self.grey
        labels = Field(
            self.out, grey.shape, "uint8", grey.spacing_nm, grey.chunk, grey.shard, labels=True, phases=self.phases,
            long_name="phase",
        )  # fmt: skip
        work = ThresholdWork(
            self.sample, grey.name, self.out, tuple(levels), self.codes, self.asked["blur"], grey.voxel_bytes,
            self.options.durable,
        )  # fmt: skip
        return Making(
            verb="segment",
            field=labels,
            work=work,
            block=many_shards(labels),
            inputs={grey.name: store.fingerprint_of(self.sample, grey.name)},
            parameters={**self.asked, "thresholds": levels},
            halo=BLURS[self.asked["blur"]],
            read_bytes=grey.voxel_bytes,
        )


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
