"""The verb `report`: what a sample holds, as one HTML file that needs nothing but itself."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from tim3d import outputs, store
from tim3d.errors import MissingFieldError, Tim3dError
from tim3d.reporting import figures, page, results, transport
from tim3d.reporting.fidelity import fidelity_html, fidelity_nodes
from tim3d.reporting.history import curves, training_summary
from tim3d.reporting.planes import picture_factors
from tim3d.reporting.provenance import provenance_table, short
from tim3d.reporting.study import study_html, study_nodes
from tim3d.schema import AXES
from tim3d.stages.field import Options
from tim3d.stages.score import score
from tim3d.version import __version__

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """What is reported: a sample, the names of its fields that are there (None: that one is not), a model."""

    sample: str
    raw: str | None
    field: str | None
    truth: str | None
    annotation: str | None
    model: Path | None


def report(
    sample: str,
    out: str | Path,
    *,
    raw: str = "raw",
    field: str = "phase",
    truth: str | None = None,
    annotation: str | None = None,
    model: str | Path | None = None,
    title: str | None = None,
) -> Path:
    """Write one HTML file about a sample: slices, segmentation, results, histogram, training, how it was made.

    Pictures are embedded; the file opens without a network. A section is there if the sample holds what it shows. Of
    each field one plane at a time is read, from the level of its pyramid that fits a picture.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    out : path
        The file to write; its folder is made.
    raw, field : str
        The grey field and the label field; left out if they are not there.
    truth : str, optional
        A label field to compare `field` with, voxel by voxel and, where both are measured, number by number.
    annotation : str, optional
        A label field that a network was trained on.
    model : path, optional
        The trained network, for its training curves.
    title : str, optional
        Heading (default: name of the sample).

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If there is no sample.
    MissingFieldError
        If `truth` or `annotation` is not there, or neither `raw` nor `field` is.
    CheckpointError
        If `model` is no model.
    ArgumentError
        If `out` is a folder, lies in a sample, or is a file that is not a report.
    WriteError
        If the file cannot be written.
    """
    target = outputs.check_target(out, outputs.REPORT)
    parts = _parts(str(sample), raw, field, truth, annotation, model)
    name = title or Path(parts.sample.rstrip("/")).name
    text = page.document(name, _body(parts, name))
    outputs.write_file(target, text.encode(), outputs.REPORT)
    log.info("wrote %s", target)
    return target


def _parts(
    sample: str, raw: str, field: str, truth: str | None, annotation: str | None, model: str | Path | None
) -> Parts:
    for name in filter(None, (truth, annotation)):
        store.complete_field(sample, name)
    grey, labels = (n if _status(sample, n) == "complete" else None for n in (raw, field))
    if grey is None and labels is None:
        raise MissingFieldError(
            f"{sample} has neither a finished field {raw!r} nor {field!r} (has {', '.join(store.nodes(sample))}). "
            "Name the fields: --raw NAME --field NAME"
        )
    return Parts(sample, grey, labels, truth, annotation, None if model is None else Path(model))


def _status(sample: str, name: str) -> str | None:
    status: str | None = store.node_attributes(sample, name).get("status")
    return status


def _body(parts: Parts, title: str) -> Iterator[str]:
    yield _head(parts, title)
    yield page.section("Slices", _slices(parts))
    yield page.section("Segmentation", _segmentation(parts), _disagreement(parts), _scores(parts))
    yield page.section("Results", *_results(parts))
    yield page.section("Representative volume", *map(study_html, study_nodes(parts.sample, parts.field)))
    compared = [one for name in (parts.field, parts.raw) for one in fidelity_nodes(parts.sample, name)]
    yield page.section("Fidelity", *map(fidelity_html, compared))
    yield page.section("Transport", *transport.flux(parts.sample, parts.field))
    yield page.section("Geodesic", *transport.geodesic(parts.sample, parts.field))
    yield page.section("Connectivity", *transport.connectivity(parts.sample, parts.field))
    yield page.section("Grey values", _histogram(parts), _drift(parts))
    yield page.section("Training", _annotation(parts), _training(parts))
    yield page.section("How it was made", provenance_table(parts.sample))
    yield f"<footer>Written by tim3d {__version__}.</footer>"


def _head(parts: Parts, title: str) -> str:
    shown = store.read_field(parts.sample, parts.raw or parts.field or "")
    size = [n * s for n, s in zip(shown.shape, shown.spacing_nm, strict=True)]
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    facts = [
        ("Voxels (z, y, x)", " × ".join(f"{n}" for n in shown.shape)),
        ("Voxel size (z, y, x)", " × ".join(f"{s:.5g}" for s in shown.spacing_nm) + " nm"),
        ("Size (z, y, x)", " × ".join(figures.length_text(s) for s in size)),
        ("Grey values", "" if parts.raw is None else shown.dtype),
        ("Phases", "" if parts.field is None else _phase_names(parts)),
    ]
    cells = [[f"<strong>{label}</strong>", escape(value)] for label, value in facts if value]
    lines = "\n".join(f"<tr><td>{a}</td><td>{b}</td></tr>" for a, b in cells)
    return (
        f"<h1>{escape(title)}</h1>\n"
        f'<p class="subtitle">tim3d {escape(__version__)} · report of {now}</p>\n'
        f"<table><tbody>\n{lines}\n</tbody></table>"
    )


def _phase_names(parts: Parts) -> str:
    phases: Mapping[str, int] = store.read_field(parts.sample, str(parts.field)).phases or {}
    return ", ".join(f"{name} (code {code})" for name, code in phases.items())


def _resolution(sample: str, name: str) -> str:
    """A sentence on what a picture leaves out."""
    step = max(max(factor) for factor in picture_factors(sample, name))
    return "" if step == 1 else f" Shown at reduced resolution: a pixel stands for up to {step} voxels along an axis."


def _slices(parts: Parts) -> str:
    if parts.raw is None:
        return ""
    text = "The middle planes across z, y and x, in their true proportions; z is the direction of cutting."
    shown = " Black and white are the 0.5\u00a0% and 99.5\u00a0% quantiles of the grey values shown."
    return page.picture(
        figures.orthoslices(parts.sample, parts.raw), text + shown + _resolution(parts.sample, parts.raw)
    )


def _segmentation(parts: Parts) -> str:
    if parts.field is None:
        return ""
    text = f"The same planes with the phases of the field “{parts.field}” in colour."
    return page.picture(
        figures.overlay(parts.sample, parts.field, parts.raw), text + _resolution(parts.sample, parts.field)
    )


def _disagreement(parts: Parts) -> str:
    if parts.field is None or parts.truth is None:
        return ""
    text = (
        f"Where “{parts.field}” is not what “{parts.truth}” says, in the colour of the true phase; the share of such "
        "voxels in each plane stands in its title."
    )
    try:
        return page.picture(figures.disagreement(parts.sample, parts.field, parts.truth, parts.raw), text)
    except Tim3dError as error:
        return page.note(f"No map of disagreement: {error}")


def _scores(parts: Parts) -> str:
    """Agreement with the truth voxel by voxel; what was scored before is not read again."""
    if parts.field is None or parts.truth is None:
        return ""
    try:
        found = score(parts.sample, field=parts.field, truth=parts.truth, options=Options(progress=False))
    except Tim3dError as error:
        return page.note(f"Not scored: {error}")
    return results.score_tables(found)


def _results(parts: Parts) -> Iterator[str]:
    found, true = results.measured(parts.sample, parts.field), results.measured(parts.sample, parts.truth)
    if found is None:
        return
    yield results.descriptor_table(found)
    if true is not None:
        yield results.truth_table(found, true, str(parts.truth))
    if "phase" in found and any(f"phase_fraction_{axis}" in found for axis in AXES):
        dashed = "" if true is None else f" Dashed: “{parts.truth}”."
        text = "Phase fraction in every plane across z, y and x, along the axis named below." + dashed
        yield page.picture(figures.profiles(found, true), text)
    yield results.definitions(found)


def _histogram(parts: Parts) -> str:
    if parts.raw is None:
        return ""
    start = f"{parts.raw}_histogram"
    found = [n for n in store.nodes(parts.sample) if n.startswith(start) and _status(parts.sample, n) == "complete"]
    if not found:
        return ""
    marks = {
        label: value
        for name in filter(None, (parts.annotation, parts.field))
        for label, value in thresholds(store.node_attributes(parts.sample, name), name).items()
    }
    counts = {_histogram_label(n, start): store.open_dataset(parts.sample, n) for n in found}
    text = "Histogram of the grey values of the whole volume"
    dashed = "; dashed: the thresholds that were used." if marks else "."
    return page.picture(figures.histogram(counts, marks), text + dashed)


def _histogram_label(node: str, start: str) -> str:
    blur = node.removeprefix(start).strip("_")
    return f"after {blur} blur" if blur else "as ingested"


def thresholds(record: Mapping[str, Any], name: str) -> dict[str, float]:
    """Thresholds among the parameters of a node, each under a name to be shown.

    >>> thresholds({"parameters": {"thresholds": [85.0, 120.0], "size": 6.0}}, "phase")
    {'phase: threshold 1': 85.0, 'phase: threshold 2': 120.0}
    """
    found = {}
    for key, value in record.get("parameters", {}).items():
        if "threshold" in key and isinstance(value, int | float):
            found[f"{name}: {key.replace('_', ' ')}"] = float(value)
        elif key == "thresholds" and isinstance(value, list):
            found.update({f"{name}: threshold {n}": float(v) for n, v in enumerate(value, 1)})
    return found


def _drift(parts: Parts) -> str:
    node = f"{parts.raw}_slices"
    if parts.raw is None or _status(parts.sample, node) != "complete":
        return ""
    text = (
        "Mean grey value of every slice; the band is one standard deviation of its voxels. A slope is a drift of the "
        "brightness, or a gradient of the porosity."
    )
    return page.picture(figures.drift(store.open_dataset(parts.sample, node)), text)


def _annotation(parts: Parts) -> str:
    if parts.annotation is None:
        return ""
    text = f"The middle slice, bare and with the labels of “{parts.annotation}” that a network learns from."
    return page.picture(figures.overlay_slice(parts.sample, parts.annotation, parts.raw), text)


def _training(parts: Parts) -> str:
    if parts.model is None:
        return ""
    summary = training_summary(parts.model)
    history = curves(summary.get("history"))
    facts = [
        [escape(str(k)), f"<code>{escape(short(v))}</code>"]
        for k, v in summary.items()
        if k != "history" and not isinstance(v, list | Mapping)
    ]
    facts_table = page.table(["training", parts.model.name], facts, 2) if facts else ""
    if not any(figures.panels(history)):
        return facts_table
    text = "Loss on the training crops and on the validation slices, and agreement with the validation labels."
    return page.picture(figures.training_curves(history), text) + facts_table
