"""The verb `segment`: labels from grey values by thresholds, a network or any other segmenter."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tim3d.errors import ArgumentError
from tim3d.kernels.image.threshold import is_dark
from tim3d.lazy import xarray as xr
from tim3d.models.segmentation.dropout import Pass
from tim3d.models.segmentation.local_threshold import METHOD
from tim3d.models.segmentation.network_segmenter import Inference
from tim3d.models.segmentation.segmenter import Segmenter
from tim3d.phases import Phases
from tim3d.stages.segmentation import kinds
from tim3d.stages.segmentation.chosen import Chosen, FromHistogram, given, locally
from tim3d.stages.segmentation.ensembles import ensemble_of, in_views
from tim3d.stages.segmentation.inference import Segmentation
from tim3d.stages.shared.field import DEFAULTS, Options
from tim3d.stages.shared.histogram import Histogram, check_blur, check_thresholds
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import store
from tim3d.storage.schema import Field
from tim3d.typed import Axes, GreyValues, Merges, ModelFiles, Window

METHODS = ("otsu", "multi-otsu", "adaptive", "fixed")


@Verb
def segment(
    sample: str,
    *,
    model: ModelFiles | None = None,
    method: Literal["otsu", "multi-otsu", "adaptive", "fixed"] | None = None,
    segmenter: Segmenter | None = None,
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
    planes: Axes = "z",
    probabilities: bool = False,
    uncertainty: Literal["none", "views", "models", "dropout"] = "none",
    passes: int = 8,
    seed: int = 0,
    normalisation: Literal["volume", "slices"] | None = None,
    batch: int | None = None,
    precision: Literal["fp32", "fp16", "bf16"] = "fp32",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    options: Options = DEFAULTS,
) -> Task[xr.DataArray]:
    """Segment a grey field into phases; the labels do not depend on the blocks.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    model : path or several, optional
        A network trained by tim3d train (default: none, thresholds by the method). The kind that
        the file states chooses what reads it. Of several, the mean probability counts.
    method : {"otsu", "multi-otsu", "adaptive", "fixed"}
        How thresholds are found in the histogram of the whole volume (needed without a model).
        Class k holds threshold[k-1] < grey <= threshold[k]. Adaptive cuts each pixel at the mean of
        21 x 21 pixels of its slice, less 5/255 of the range (`tim3d.segmenters.LocalThreshold`).
    segmenter : Segmenter, optional
        Any other one, a value of Python. Each of its `maps` becomes a field ``OUT_MAP``
        (docs/extend.md).
    thresholds : sequence of float, optional
        Grey values that part the classes (needed by the method fixed).
    phases : Phases, optional
        Names and codes of the labels (default: those of the network's classes, with the codes 0, 1,
        ...). For thresholds the classes are in the order of the names and of the codes; where the
        two orders differ the phases are refused. Classes of a network or segmenter are found by
        their names.
    merge : mapping of name to name, optional
        Classes of the network that count as another one (default: none). For example
        ``{"shine_through": "pore"}``.
    field : str
        The grey field.
    out : str
        Name of the field of labels.
    blur : {"none", "binomial"}
        Blur of every slice before the threshold. The binomial one is over 5 x 5 pixels.
    polarity : {"dark", "bright"}
        Whether the first phase is the darkest or the brightest one.
    mode : {"crop", "blend"}
        How windows are joined. By a border that is thrown away ("crop"), or weighted by a Gaussian
        ("blend", which overlap by twice the halo); see docs/segment.md.
    window : (y, x), optional
        Edges of a window in pixels (default: whole slices). Of a network of volumes z, y and x
        (default: 128 voxels along the shortest edges).
    halo : int, optional
        Border of a window in pixels that is thrown away, or half the overlap (default: an eighth of
        the window).
    planes : "z", "y" or "x", or several of them
        Axes across which the slices lie that a network of slices sees. Of several the probabilities
        are averaged, and ``OUT_disagreement`` is how far they scatter.
    probabilities : bool
        Keep probabilities of every class too, in 8 bits. They are fields ``OUT_probability_CLASS``.
    uncertainty : {"none", "views", "models", "dropout"}
        How sure the labels are, by several answers. Views are those to the volume mirrored in the
        plane of the slices and, where pixels are square, turned by quarters; models are those of
        several models, as by default where there are several; dropout asks each model, trained with
        --dropout, in some passes. Labels follow the mean probability, which is kept in 16 bits, with
        fields ``OUT_entropy`` and ``OUT_mutual_information`` in nat.
    passes : int
        Passes with dropout.
    seed : int
        Seed of the passes: which channels are dropped follows from it, the pass and the place of the
        window.
    normalisation : {"volume", "slices"}, optional
        Mean and deviation of grey: of the volume, or of each slice, smoothed (default: as the
        network was trained).
    batch : int, optional
        Windows that the network gets at a time (default: 1 on a CPU; on a GPU as many as fit into
        its free memory, up to 2^25 voxels, which ``--plan`` tells).
    precision : {"fp32", "fp16", "bf16"}
        Precision of the network's convolutions. Half precision is compared with fp32 on a test
        image first, and refused where probabilities differ by more than 0.02.
    device : {"auto", "cpu", "cuda"}
        Device of the network. On a CPU all blockings give the same bits; on a GPU they agree to
        rounding.
    options : Options
        How it runs.

    Returns
    -------
    xarray.DataArray
        The labels, lazily.

    Raises
    ------
    ArgumentError
        If not exactly one of model, method and segmenter is given, the segmenter does not fit the
        field, classes and phases do not match, the phases are not in the order of their codes, or
        thresholds do not rise or lie outside the range of the field's type.
    CheckpointError
        If the model is damaged or has other classes.
    MissingFieldError
        If the grey field is missing.
    InputError
        If a segmenter returns other maps than it declares.
    """
    if sum(way is not None for way in (model, method, segmenter)) != 1:
        raise ArgumentError(
            "segment needs either a network (--model unet.safetensors) or --method otsu --phases pore=0,solid=1"
        )
    of_thresholds = {"thresholds": thresholds, "blur": blur, "polarity": polarity}
    of_network = {
        "mode": mode, "window": window, "halo": halo, "planes": planes, "probabilities": probabilities,
        "normalisation": normalisation, "uncertainty": uncertainty, "passes": passes, "seed": seed, "batch": batch,
        "precision": precision, "device": device,
    }  # fmt: skip
    if method is not None:
        _refuse_unused("--method", {"merge": merge, **of_network})
    else:
        _refuse_unused("--model" if model is not None else "a segmenter", of_thresholds)
    if segmenter is not None:
        _refuse_unused("a segmenter", {**of_network, "uncertainty": "none"})
    if uncertainty != "dropout":
        _refuse_unused(f"--uncertainty {uncertainty}", {"passes": passes, "seed": seed})
    grey = store.complete_field(sample, field)
    if grey.labels:
        raise ArgumentError(f"field {field!r} holds labels; segment needs grey values")
    if segmenter is not None:
        chosen = _by_value(segmenter, grey, uncertainty)
    elif model is not None:
        how = Inference(
            mode, window, halo, probabilities, normalisation, batch, precision, device,
            chosen_planes(planes),
        )  # fmt: skip
        chosen = _by_models(sample, grey, model, how, uncertainty, passes_of(passes, seed))
    else:
        asked = {"method": str(method), "blur": blur, "polarity": polarity}
        chosen = _by_thresholds(
            Histogram(sample, grey, blur, options), out, phases, asked, thresholds
        )
    segmentation = Segmentation(sample, grey, out, chosen, phases, dict(merge or {}), options)
    segmentation.coded  # noqa: B018  refuses bad phases before a plan is made
    return Task(segmentation.plans, segmentation.run)


def _by_models(
    sample: str,
    grey: Field,
    model: ModelFiles,
    how: Inference,
    uncertainty: str,
    passes: Sequence[Pass],
) -> Chosen:
    """One model, or the mean of several, of several views or of passes with dropout."""
    paths = [Path(model)] if isinstance(model, str | Path) else [Path(one) for one in model]
    if not paths:
        raise ArgumentError("--model names no file: --model unet.safetensors")
    compared = "models" if len(paths) > 1 and uncertainty == "none" else uncertainty
    if compared == "none":
        return kinds.chosen(kinds.Asked(sample, grey, paths[0], how))
    if how.probabilities:
        raise ArgumentError(
            "mean probabilities are kept with --uncertainty and with several models: leave out --probabilities"
        )
    return ensemble_of(sample, grey, paths, how, compared, passes)


def passes_of(count: int, seed: int) -> tuple[Pass, ...]:
    """Passes with dropout.

    Raises
    ------
    ArgumentError
        If there are fewer than two, or the seed is out of range.
    """
    if count < 2 or not 0 <= seed < 2**32:
        raise ArgumentError(
            f"--passes {count} is 2 or more, --seed {seed} is from 0 to 2^32 - 1: --passes 8"
        )
    return tuple(Pass(seed, number) for number in range(count))


def _by_value(segmenter: Segmenter, grey: Field, uncertainty: str) -> Chosen:
    """A segmenter that is given, as it is or in all views."""
    if uncertainty in ("models", "dropout"):
        raise ArgumentError(f"uncertainty={uncertainty!r} asks model files: uncertainty='views'")
    return given(segmenter, grey) if uncertainty == "none" else in_views(segmenter, grey)


def chosen_planes(given: Axes) -> tuple[str, ...]:
    """Axes across which slices lie, in the order z, y, x.

    >>> chosen_planes("xz"), chosen_planes(["y", "z"])
    (('z', 'x'), ('z', 'y'))
    """
    letters = "".join(given)
    if not letters or set(letters) - set("zyx") or len(set(letters)) < len(letters):
        raise ArgumentError(f"--planes {letters!r} are not some of z, y and x, each once: zyx")
    return tuple(axis for axis in "zyx" if axis in letters)


def _refuse_unused(way: str, others: Mapping[str, Any]) -> None:
    """Refuse options of another way to segment: they would have no effect."""
    known = inspect.signature(segment).parameters
    for name, value in others.items():
        if value != known[name].default:
            raise ArgumentError(
                f"--{name.replace('_', '-')} changes nothing with {way}: leave it out"
            )


def _by_thresholds(
    counted: Histogram,
    out: str,
    phases: Phases | None,
    asked: Mapping[str, str],
    given: Sequence[float] | None,
) -> Chosen:
    """Segmenter by given or computed thresholds, for phases in the order of grey values."""
    if phases is None:
        raise ArgumentError(
            "thresholds need names for the phases, darkest first: --phases pore=0,solid=1"
        )
    check_blur(asked["blur"], counted.field)
    phases.require_order("the darkest" if is_dark(asked["polarity"]) else "the brightest")
    _check_method(asked["method"], given, phases)
    check_thresholds(given or (), counted.field)
    if asked["method"] == METHOD:
        return locally(phases, counted.field, asked["blur"], asked["polarity"])
    levels = None if given is None else tuple(float(v) for v in given)
    return FromHistogram(counted, out, phases, asked, levels).chosen()


def _check_method(method: str, given: Sequence[float] | None, phases: Phases) -> None:
    if method not in METHODS:
        raise ArgumentError(f"no method {method!r}; there are {', '.join(METHODS)}")
    if (method == "fixed") != (given is not None):
        raise ArgumentError(
            "--thresholds go with --method fixed, and only with it: --method fixed --thresholds 85"
        )
    expected = _classes(method, given, phases)
    if len(phases) != expected or expected < 2:
        cure = {
            "otsu": "Name two, pore=0,solid=1, or for more phases: --method multi-otsu",
            "adaptive": "Name two, pore=0,solid=1, or for more phases: --method multi-otsu",
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
    return 2 if method in ("otsu", METHOD) else len(phases)
