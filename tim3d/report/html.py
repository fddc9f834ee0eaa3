"""The verb `report`: what a sample holds, as one HTML file that needs nothing but itself."""

from __future__ import annotations

import datetime
import json
import logging
import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import xarray as xr

from tim3d import store
from tim3d.descriptors.builtin import BUILTIN
from tim3d.errors import MissingFieldError, Tim3dError
from tim3d.report import figures, page, table
from tim3d.report.history import curves, training_summary
from tim3d.report.planes import picture_factors
from tim3d.schema import AXES, Field
from tim3d.stages.field import Options
from tim3d.stages.score import score
from tim3d.version import __version__

log = logging.getLogger(__name__)

# Longer records of a node, such as a list of files, are cut.
_LONGEST_RECORD = 300


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
    WriteError
        If the file cannot be written.
    """
    parts = _parts(str(sample), raw, field, truth, annotation, model)
    name = title or Path(parts.sample.rstrip("/")).name
    text = page.document(name, _body(parts, name))
    target = Path(out)
    with store.writing(str(target)):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
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
    yield page.section("Grey values", _histogram(parts), _drift(parts))
    yield page.section("Training", _annotation(parts), _training(parts))
    yield page.section("How it was made", _provenance(parts))
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


_METRICS = {
    "accuracy": "share of voxels with the true label",
    "iou_foreground": "TP / (TP + FP + FN) of the foreground: intersection over union",
    "iou_macro": "mean over the phases of TP / (TP + FP + FN)",
    "iou_micro": "sums over the phases, TP / (TP + FP + FN)",
    "dice": "2 TP / (2 TP + FP + FN) of the foreground",
    "precision": "TP / (TP + FP) of the foreground",
    "recall": "TP / (TP + FN) of the foreground",
}


def _scores(parts: Parts) -> str:
    """Agreement with the truth voxel by voxel; what was scored before is not read again."""
    if parts.field is None or parts.truth is None:
        return ""
    try:
        found = score(parts.sample, field=parts.field, truth=parts.truth, options=Options(progress=False))
    except Tim3dError as error:
        return page.note(f"Not scored: {error}")
    body = [
        [escape(str(name)), escape(_METRICS.get(str(name), "")), _value(float(v))]
        for name, v in found.data_vars.items()
        if v.ndim == 0
    ]
    caption = f"Agreement with “{parts.truth}”, pooled over all voxels; foreground: {found.attrs['foreground']}."
    return page.table(["metric", "definition", "value"], body, 2, caption) + _confusion(found["confusion"])


def _confusion(matrix: xr.DataArray) -> str:
    names = [str(n) for n in matrix["predicted"].values]
    body = [
        [f"truly {escape(str(n))}", *(f"{int(v):,}" for v in row)]
        for n, row in zip(matrix["truth"].values, matrix.values, strict=True)
    ]
    return page.table(["", *(f"labelled {escape(n)}" for n in names)], body, 1, "Voxels by true and given label.")


def _value(value: float | None) -> str:
    return page.number(table.number(value)) or "–"


def _measured(parts: Parts, field: str | None) -> xr.Dataset | None:
    if field is None or _status(parts.sample, f"{field}_descriptors") != "complete":
        return None
    found = store.open_dataset(parts.sample, f"{field}_descriptors").load()
    return found[sorted(found.data_vars, key=_rank)]


def _rank(name: Hashable) -> tuple[int, str]:
    """Place of a variable: the built-in ones in their order, then those of a user by name."""
    known = [v.name for d in BUILTIN.values() for v in d.variables]
    return (known.index(str(name)) if name in known else len(known), str(name))


def _results(parts: Parts) -> Iterator[str]:
    found, true = _measured(parts, parts.field), _measured(parts, parts.truth)
    if found is None:
        return
    lines = table.lines(table.rows({"": found}))
    yield _descriptor_table(lines)
    if true is not None:
        yield _truth_table(lines, table.lines(table.rows({"": true})), str(parts.truth))
    if "phase" in found and any(f"phase_fraction_{axis}" in found for axis in AXES):
        dashed = "" if true is None else f" Dashed: “{parts.truth}”."
        text = "Phase fraction in every plane across z, y and x, along the axis named below." + dashed
        yield page.picture(figures.profiles(found, true), text)
    yield _definitions(found)


def _descriptor_table(lines: list[table.Line]) -> str:
    names = table.columns(lines)
    header = ["variable", "unit", *(escape(n) for n in names)]
    body = [
        [f"<code>{escape(line.label)}</code>", page.units(line.units), *(_cell(line.values.get(n)) for n in names)]
        for line in lines
    ]
    return page.table(header, body, 2, "All lengths are in nanometres; densities are per volume of the whole sample.")


def _cell(value: float | None) -> str:
    return "" if value is None else _value(value)


def _truth_table(lines: list[table.Line], true: list[table.Line], name: str) -> str:
    """Each number beside the same number of the truth."""
    known = {line.label: line.values for line in true}
    body = [
        [
            f"<code>{escape(line.label)}</code>",
            escape(column),
            page.units(line.units),
            _value(value),
            _value(known[line.label][column]),
            relative_error(value, known[line.label][column]),
        ]
        for line in lines
        for column, value in line.values.items()
        if column in known.get(line.label, {})
    ]
    header = ["variable", "phase", "unit", "measured", "truth", "error"]
    text = f"Measured against truth: the same estimators applied to “{name}”; error = (measured − truth) / |truth|."
    return page.table(header, body, 3, text) if body else ""


def relative_error(value: float, truth: float) -> str:
    """Signed deviation in percent of the truth.

    >>> relative_error(0.99, 1.0), relative_error(1.0, 0.0)
    ('−1.00 %', '–')
    """
    if not (math.isfinite(value) and math.isfinite(truth)) or truth == 0:
        return "–"
    return f"{100 * (value - truth) / abs(truth):+.2f} %".replace("-", "−")


def _definitions(found: xr.Dataset) -> str:
    entries = [
        f"<dt><code>{escape(str(name))}</code></dt><dd>{escape(_sentence(variable.attrs))}</dd>"
        for name, variable in found.data_vars.items()
        if "long_name" in variable.attrs
    ]
    return f"<h3>Definitions</h3>\n<dl>\n{''.join(entries)}\n</dl>" if entries else ""


def _sentence(attributes: Mapping[str, Any]) -> str:
    parts = [attributes["long_name"], attributes.get("method"), attributes.get("reference")]
    return ". ".join(str(p)[:1].upper() + str(p)[1:] if n < 2 else str(p) for n, p in enumerate(parts) if p) + "."


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
        [escape(str(k)), f"<code>{escape(_short(v))}</code>"]
        for k, v in summary.items()
        if k != "history" and not isinstance(v, list | Mapping)
    ]
    facts_table = page.table(["training", parts.model.name], facts, 2) if facts else ""
    if not any(figures.panels(history)):
        return facts_table
    text = "Loss on the training crops and on the validation slices, and agreement with the validation labels."
    return page.picture(figures.training_curves(history), text) + facts_table


def _provenance(parts: Parts) -> str:
    """Every node: what made it, from what, when."""
    records = {name: store.node_attributes(parts.sample, name) for name in store.nodes(parts.sample)}
    body = [
        [
            f"<code>{escape(name)}</code>",
            _shape(parts.sample, name, record),
            f'<code class="long">{escape(_pairs(record.get("parameters")))}</code>',
            f'<code class="long">{escape(_pairs(record.get("inputs")))}</code>',
            f"<code>{escape(str(record.get('fingerprint', ''))[:10])}</code>",
            escape(str(record.get("created", "")).replace("T", " ").removesuffix("+00:00")),
        ]
        for name, record in records.items()
    ]
    header = ["node", "kind", "parameters", "made from", "fingerprint", "created (UTC)"]
    text = (
        "Nodes of the sample. The fingerprint is the start of a SHA-256 over all that decides the numbers: inputs, "
        "parameters, shape and voxel size."
    )
    return page.table(header, body, len(header), text)


def _shape(sample: str, name: str, record: Mapping[str, Any]) -> str:
    if record.get("kind") != "field":
        return "results" if record else "other"
    field: Field = store.read_field(sample, name)
    kind = "labels" if field.labels else field.dtype
    state = "" if record.get("status") == "complete" else ", not finished"
    return escape(f"{kind}{state}")


def _pairs(record: Any) -> str:
    if not isinstance(record, Mapping):
        return ""
    return _cut(", ".join(f"{k}={_short(v)}" for k, v in record.items()))


def _short(value: Any) -> str:
    """A value as a line: hashes by their start, numbers to six digits."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return value[:10] if len(value) == 64 and value.isalnum() else value
    return _cut(json.dumps(value, default=str, ensure_ascii=False))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_RECORD else text[: _LONGEST_RECORD - 1] + "…"
