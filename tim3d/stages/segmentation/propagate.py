"""The verb `propagate`: objects that were drawn in some slices are propagated to the slices between them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from tim3d.errors import ArgumentError
from tim3d.lazy import xarray as xr
from tim3d.models.promptable.mask_rules.objects import AsObjects
from tim3d.models.promptable.object_prompts import check_give
from tim3d.models.promptable.propagating_segmenter import Drawn, PropagatingSegmenter
from tim3d.models.promptable.propagation import FixedPrompts, Propagation
from tim3d.stages.segmentation.chosen import given
from tim3d.stages.segmentation.inference import Segmentation
from tim3d.stages.segmentation.prompted import awaited_by, prompted
from tim3d.stages.shared.agreement import UNLABELLED
from tim3d.stages.shared.field import DEFAULTS, Options
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import store
from tim3d.storage.schema import Field


@Verb
def propagate(
    sample: str,
    *,
    model: str | Path,
    labels: str = "annotation",
    field: str = "raw",
    out: str = "phase",
    reach: int = 16,
    give: Literal["box", "point", "both"] = "both",
    least: float = 0.5,
    smallest: int = 10,
    embeddings: str = "",
    batch: int = 64,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    options: Options = DEFAULTS,
) -> Task[xr.DataArray]:
    """Propagate objects that were drawn in some slices to the others, by a promptable network.

    Each slice is asked for the objects of the slice before it, from the nearest drawn slices below
    and above; where both lead to an object, its outline lies between theirs. Drawn slices stay as
    they are. See docs/promptable.md.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    model : path
        A network written by tim3d import-network or fine-tune.
    labels : str
        Drawn slices: numbers of objects, or labels. Slices of nothing but 0, or of a phase that is
        called ``unlabelled``, are not drawn.
    field : str
        The grey field.
    out : str
        Name of the field of labels; beside it are ``OUT_quality`` and, of numbers, ``OUT_objects``.
    reach : int
        Slices to which an object is propagated at most.
    give : {"box", "point", "both"}
        What the prompt of a component of an object is made of: its box, its innermost pixel, or both.
    least : float
        Intersection over union of an object in two slices below which it ends.
    smallest : int
        Pixels below which a component is not asked for, and an object ends.
    embeddings : str
        Node of embeddings that tim3d embed kept of the same network and field (default: none, they
        are computed).
    batch : int
        Prompts that the network gets at a time.
    device : {"auto", "cpu", "cuda"}
        Device of the network.
    options : Options
        How it runs.

    Returns
    -------
    xarray.DataArray
        The labels, lazily.

    Raises
    ------
    ArgumentError
        If the fields do not fit, or a number is out of range.
    CheckpointError
        If the model is damaged, or not a promptable network.
    MissingFieldError
        If a field is missing.
    InputError
        If the embeddings are of another network or image.
    MissingExtraError
        If transformers is not installed.
    """
    check_give(give, "prompts")
    if reach < 1 or smallest < 1 or not 0 <= least <= 1:
        raise ArgumentError(
            f"reach {reach} and smallest {smallest} are 1 or more, and least {least:g} lies from 0 to 1"
        )
    grey = store.complete_field(sample, field)
    found = store.complete_field(sample, labels, "objects")
    drawn = _drawn(sample, grey, found)
    rule, prompts = AsObjects(empty="accept"), FixedPrompts()
    asking = prompted(sample, grey, Path(model), prompts, rule, None, 0, batch, device, embeddings)
    segmenter = PropagatingSegmenter(asking, drawn, Propagation(reach, give, least, smallest))
    chosen = replace(given(segmenter, grey), awaited=awaited_by(sample, grey, Path(model)))
    segmentation = Segmentation(sample, grey, out, chosen, None, {}, options, "propagate")
    return Task(segmentation.plans, segmentation.run)


def _drawn(sample: str, grey: Field, found: Field) -> Drawn:
    """The drawn slices.

    Raises
    ------
    ArgumentError
        If the fields do not fit.
    """
    holds = found.name != grey.name and (found.labels or found.may_number)
    if grey.labels or not holds or found.shape != grey.shape:
        raise ArgumentError(
            f"propagate needs grey values and drawn objects or labels of one shape, not {grey.name!r} {grey.shape} and "
            f"{found.name!r} {found.shape}"
        )
    fingerprint = store.fingerprint_of(sample, found.name)
    if found.may_number:
        return Drawn(sample, found.name, fingerprint)
    phases = dict(found.phases or {})
    names = tuple((n, c) for n, c in phases.items() if c and n != UNLABELLED)
    if not names or any(name == "background" for name, _ in names):
        raise ArgumentError(
            f"{found.name!r} has the phases {phases}: objects have codes other than 0, and none is called background"
        )
    return Drawn(sample, found.name, fingerprint, names, phases.get(UNLABELLED, 0))
