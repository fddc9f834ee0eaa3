"""Content of a sample as the text of one self-contained HTML file; see `tim3d.report`."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from tim3d.errors import Tim3dError
from tim3d.plotting import curves as graphs
from tim3d.plotting import slices as figures
from tim3d.plotting.phases_3d import drawn_factor, phases_3d, phases_drawn
from tim3d.plotting.planes import picture_factors
from tim3d.plotting.style import length_text
from tim3d.reporting import missing, page, results
from tim3d.reporting.bond_line import BOND_LINE
from tim3d.reporting.cleaning import CLEANING
from tim3d.reporting.conditions import CONDITIONS
from tim3d.reporting.correlations import CORRELATIONS
from tim3d.reporting.evaluation import EVALUATION, evaluation_html
from tim3d.reporting.fidelity import FIDELITY
from tim3d.reporting.history import curves, training_summary
from tim3d.reporting.images import IMAGES
from tim3d.reporting.inspection import INSPECTION
from tim3d.reporting.library import LIBRARY
from tim3d.reporting.likeness import LIKENESS
from tim3d.reporting.morphology import INTRUSION, SIZES
from tim3d.reporting.particles import PARTICLES
from tim3d.reporting.preparation import PREPARATION
from tim3d.reporting.provenance import provenance_table, short
from tim3d.reporting.relation import RELATION, SAMPLES
from tim3d.reporting.section import Html, Parts, Section
from tim3d.reporting.struts import STRUTS
from tim3d.reporting.study import STUDY
from tim3d.reporting.transport import CONNECTIVITY, FLUX, GEODESIC
from tim3d.reporting.uncertainty import UNCERTAINTY
from tim3d.stages.segmentation.evaluate import evaluate
from tim3d.stages.shared.field import Options
from tim3d.stages.shared.newer_fields import newer_fields
from tim3d.storage import store
from tim3d.storage.schema import AXES
from tim3d.version import __version__


def document(parts: Parts, title: str, sections: Sequence[Section] = ()) -> str:
    """Text of the file: the built-in sections that apply, further ones, and provenance."""
    shown = [(section, section.markup(parts)) for section in (*SECTIONS, *sections)]
    left_out = [
        entry for section, markup in shown if not markup for entry in section.missing(parts)
    ]
    body = [
        *(markup for _, markup in shown),
        page.section("Not in this report", page.missing(left_out, "Each command adds a section")),
        PROVENANCE.markup(parts),
    ]
    return page.document(title, [_head(parts, title), *body, page.footer(__version__)])


def _is_there(sample: str, name: str) -> bool:
    """Whether a complete result is stored, for any version of its field."""
    return bool(store.node_attributes(sample, name).get("status") == "complete")


def _head(parts: Parts, title: str) -> str:
    shown = store.read_field(parts.sample, parts.field or parts.raw or "")
    size = [n * s for n, s in zip(shown.shape, shown.spacing_nm, strict=True)]
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    facts = [
        ("Voxels (z, y, x)", " × ".join(f"{n}" for n in shown.shape)),
        ("Voxel size (z, y, x)", " × ".join(f"{s:.5g}" for s in shown.spacing_nm) + " nm"),
        ("Size (z, y, x)", " × ".join(length_text(s) for s in size)),
        ("Grey values", _grey_values(parts)),
        ("Phases", "" if parts.field is None else _phase_names(parts)),
        ("Put right since", ", ".join(_newer(parts))),
        ("Pores, as given", ", ".join(parts.pore)),
        ("Densities, as given", ", ".join(f"{n} {d:g} g cm⁻³" for n, d in parts.density.items())),
    ]
    return page.head(title, __version__, now, [(label, value) for label, value in facts if value])


def _grey_values(parts: Parts) -> str:
    """Type of the grey values, with their voxels where the labels lie on another grid."""
    if parts.raw is None:
        return ""
    grey = store.read_field(parts.sample, parts.raw)
    labels = store.read_field(parts.sample, parts.field or parts.raw)
    if (grey.shape, grey.spacing_nm) == (labels.shape, labels.spacing_nm):
        return f"“{parts.raw}”, {grey.dtype}"
    edges = " × ".join(f"{s:.5g}" for s in grey.spacing_nm)
    return f"“{parts.raw}”, {grey.dtype}, {' × '.join(map(str, grey.shape))} voxels of {edges} nm: another grid"


def _newer(parts: Parts) -> Iterator[str]:
    """Fields that were made from those shown and are not shown, with the option that shows them."""
    for option, name in (("--raw", parts.raw), ("--field", parts.field)):
        for newer in newer_fields(parts.sample, name) if name else ():
            yield f"“{name}” is shown, “{newer}” was made from it: {option} {newer}"


def _phase_names(parts: Parts) -> str:
    phases: Mapping[str, int] = store.read_field(parts.sample, str(parts.field)).phases or {}
    return ", ".join(f"{name} (code {code})" for name, code in phases.items())


def _resolution(sample: str, name: str) -> str:
    """A sentence on the reduced resolution of a picture; empty at full resolution."""
    step = max(max(factor) for factor in picture_factors(sample, name))
    return (
        ""
        if step == 1
        else f" Shown at reduced resolution: a pixel stands for up to {step} voxels along an axis."
    )


def _slices(parts: Parts) -> str:
    if parts.raw is None:
        return ""
    text = "The middle planes across z, y and x, in their true proportions; z is the direction of cutting."
    shown = (
        " Black and white are the 0.5\u00a0% and 99.5\u00a0% quantiles of the grey values shown."
    )
    return page.picture(
        figures.orthoslices(parts.sample, parts.raw),
        text + shown + _resolution(parts.sample, parts.raw),
    )


def _segmentation(parts: Parts) -> str:
    if parts.field is None:
        return ""
    text = f"The same planes with the phases of the field “{parts.field}” in colour."
    return page.picture(
        figures.overlay(parts.sample, parts.field, parts.raw),
        text + _resolution(parts.sample, parts.field),
    )


def _phases_3d(parts: Parts) -> str:
    if parts.field is None:
        return ""
    phases: Mapping[str, int] = store.read_field(parts.sample, parts.field).phases or {}
    drawn = phases_drawn(phases)
    empty = [name for name in phases if name not in drawn]
    left = f" {', '.join(empty)} is left empty." if empty else ""
    factor = drawn_factor(parts.sample, parts.field)
    coarse = (
        ""
        if max(factor) == 1
        else f" Drawn from a coarser level, a voxel of which stands for {' × '.join(map(str, factor))} voxels "
        "(z, y, x): what is thinner may be broken."
    )
    text = f"Surfaces of {', '.join(drawn)} in “{parts.field}”."
    return page.picture(phases_3d(parts.sample, parts.field), text + left + coarse)


def _disagreement(parts: Parts) -> str:
    if parts.field is None or parts.truth is None:
        return ""
    text = (
        f"Voxels whose label in “{parts.field}” differs from “{parts.truth}”, in the colour of the true phase; "
        "the title of each plane gives their fraction."
    )
    try:
        return page.picture(
            figures.disagreement(parts.sample, parts.field, parts.truth, parts.raw), text
        )
    except Tim3dError as error:
        return page.note(f"No map of disagreement: {error}")


def _agreement(parts: Parts) -> str:
    """Agreement with the truth; a stored comparison is not computed again."""
    if parts.field is None or parts.truth is None:
        return ""
    try:
        found = evaluate(
            parts.sample, field=parts.field, truth=parts.truth, options=Options(progress=False)
        )
    except Tim3dError as error:
        return page.note(f"Not compared: {error}")
    return Markup("\n").join(evaluation_html(found))


def _results(parts: Parts) -> Iterator[str]:
    found, true = (
        results.described(parts.sample, parts.field, parts.pore, parts.density),
        results.described(parts.sample, parts.truth),
    )
    for name in filter(None, (parts.field, parts.truth)):
        yield results.outdated_note(parts.sample, f"{name}_descriptors")
    if found is None:
        return
    yield results.descriptor_table(found)
    if true is not None:
        yield results.truth_table(found, true, str(parts.truth))
    elif parts.truth is not None and not store.node_attributes(
        parts.sample, f"{parts.truth}_descriptors"
    ):
        yield page.note(
            f"Not compared with the truth, of which nothing is measured: tim3d measure {shlex.quote(parts.sample)} "
            f"--field {shlex.quote(parts.truth)}"
        )
    if "phase" in found and any(f"phase_fraction_{axis}" in found for axis in AXES):
        dashed = "" if true is None else f" Dashed: “{parts.truth}”."
        text = (
            "Phase fraction in every plane across z, y and x, along the axis named below." + dashed
        )
        yield page.picture(graphs.profiles(found, true), text)
    yield results.definitions(found)


def _histograms(parts: Parts) -> Iterator[str]:
    """One picture of all histograms; a note replaces each that is of other grey values."""
    if parts.raw is None:
        return
    start = f"{parts.raw}_histogram"
    there = [
        n for n in store.nodes(parts.sample) if n.startswith(start) and _is_there(parts.sample, n)
    ]
    notes = {n: results.outdated_note(parts.sample, n) for n in there}
    yield from notes.values()
    if current := [n for n, note in notes.items() if not note]:
        yield _histogram(parts, current, start)


def _histogram(parts: Parts, found: list[str], start: str) -> str:
    marks = {
        label: value
        for name in filter(None, (parts.annotation, parts.field))
        for label, value in thresholds(store.node_attributes(parts.sample, name), name).items()
    }
    counts = {_histogram_label(n, start): store.open_dataset(parts.sample, n) for n in found}
    text = "Histogram of the grey values of the whole volume"
    dashed = "; dashed: the thresholds that were used." if marks else "."
    return page.picture(graphs.histogram(counts, marks), text + dashed)


def _histogram_label(node: str, start: str) -> str:
    blur = node.removeprefix(start).strip("_")
    return f"after {blur} blur" if blur else "as ingested"


def thresholds(record: Mapping[str, Any], name: str) -> dict[str, float]:
    """Thresholds among the parameters of a node, each under a name for display.

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
    if parts.raw is None or not _is_there(parts.sample, node) or _is_inspected(parts):
        return ""
    if note := results.outdated_note(parts.sample, node):
        return note
    text = (
        "Mean grey value of every slice; the band is one standard deviation of its voxels. A slope is a drift of the "
        "brightness, or a gradient of the porosity."
    )
    return page.picture(graphs.drift(store.open_dataset(parts.sample, node)), text)


def _is_inspected(parts: Parts) -> bool:
    """Whether the brightness of every slice is drawn already, as the stack was read."""
    node = f"{parts.raw}_inspection"
    return _is_there(parts.sample, node) and not store.outdated(parts.sample, node)


def _annotation(parts: Parts) -> str:
    if parts.annotation is None:
        return ""
    text = f"The middle slice without and with the labels of “{parts.annotation}”, on which the network is trained."
    return page.picture(figures.overlay_slice(parts.sample, parts.annotation, parts.raw), text)


def _training(parts: Parts) -> str:
    if parts.model is None:
        return ""
    summary = training_summary(parts.model)
    history = curves(summary.get("history"))
    facts = [
        [str(k), page.code(short(v))]
        for k, v in summary.items()
        if k != "history" and not isinstance(v, list | Mapping)
    ]
    facts_table = page.table(["training", parts.model.name], facts, 2) if facts else ""
    if not any(graphs.panels(history)):
        return facts_table
    text = "Loss on the training crops and on the validation slices, and agreement with the validation labels."
    return page.picture(graphs.training_curves(history), text) + facts_table


def _each(*shown: Callable[[Parts], str]) -> Html:
    return lambda parts, _: (one(parts) for one in shown)


# Sections in the order of the report; further sections come before the last.
SECTIONS = (
    Section("Slices", _each(_slices)),
    PREPARATION,
    Section(
        "Segmentation",
        _each(_segmentation, _disagreement, _agreement),
        missing=missing.segmentation,
    ),
    EVALUATION,
    UNCERTAINTY,
    Section("Phases in three dimensions", _each(_phases_3d)),
    CLEANING,
    Section("Results", lambda parts, _: _results(parts), missing=missing.results),
    SIZES,
    INTRUSION,
    CORRELATIONS,
    PARTICLES,
    STRUTS,
    STUDY,
    FIDELITY,
    LIKENESS,
    FLUX,
    GEODESIC,
    CONNECTIVITY,
    INSPECTION,
    Section("Grey values", lambda parts, _: (*_histograms(parts), _drift(parts))),
    Section("Training", _each(_annotation, _training)),
    IMAGES,
    BOND_LINE,
    CONDITIONS,
    RELATION,
    LIBRARY,
    SAMPLES,
)
PROVENANCE = Section("How it was made", lambda parts, _: [provenance_table(parts.sample)])
