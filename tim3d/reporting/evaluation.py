"""Agreement of a segmentation with the truth as a table, and as a section of the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tim3d.lazy import xarray as xr
from tim3d.plotting.evaluation import baselines, evaluation_figure
from tim3d.reporting import page, table
from tim3d.reporting.section import Parts, Section
from tim3d.stages.shared.agreement import DEFINITIONS, GAINS, OF_PHASE, gain_of, prefixes
from tim3d.stages.shared.learnt_labels import LEARNT, said
from tim3d.stages.shared.object_scores import DEFINITIONS as OF_OBJECTS
from tim3d.stages.shared.object_scores import of_all_images
from tim3d.stages.shared.results import results_of
from tim3d.storage import store

ALL = "all"
SHORT = ("iou_macro", "accuracy", "boundary_f1_macro")
SHORT_OF_OBJECTS = ("panoptic_quality", "mean_segmentation_accuracy", "matched_iou")


def is_evaluation(found: xr.Dataset) -> bool:
    """Whether a result was made by `tim3d.evaluate` or `tim3d.evaluate_images`."""
    return {"confusion"} <= set(found.data_vars) or "panoptic_quality" in found


def text(found: xr.Dataset) -> str:
    """The result as plain tables, with sentences on it below."""
    if "threshold" in found.dims:
        return "\n".join(_of_objects(found))
    lines: list[str] = []
    if "image" in found.dims:
        lines += [*table.aligned([["image", *SHORT], [], *_image_rows(found, SHORT)]), ""]
    for kind in _kinds(found):
        lines += [
            *table.aligned([[kind or "metric", *_columns(found)], [], *_rows(found, kind)]),
            "",
        ]
    return "\n".join([*lines, *says(found)])


def _of_objects(found: xr.Dataset) -> Iterator[str]:
    """Lines on objects: of each image and their mean if there are any, and of all together."""
    if "image" in found.dims:
        mean = [_number(found[f"mean_{name}"]) for name in SHORT_OF_OBJECTS]
        rows = [*_image_rows(found, SHORT_OF_OBJECTS), [], ["mean", *mean]]
        yield from table.aligned([["image", *SHORT_OF_OBJECTS], [], *rows])
        yield ""
        found = of_all_images(found)
    yield from table.aligned([["metric", *_sets(found)], [], *_object_rows(found)])
    yield from (f"\n{sentence}" for sentence in _learnt(found))


def _kinds(found: xr.Dataset) -> tuple[str, ...]:
    return ("mean", "pooled") if "image" in found.dims else ("",)


def _sets(found: xr.Dataset) -> list[str]:
    """Names of what is judged."""
    return [
        str(found.attrs.get("field", "masks")),
        *(f"{one} (baseline)" for one in baselines(found)),
    ]


def _columns(found: xr.Dataset) -> list[str]:
    return [*(["of"] if len(_sets(found)) > 1 else []), *map(str, found["phase"].values), ALL]


def _rows(found: xr.Dataset, kind: str) -> list[list[str]]:
    """A row for each metric and each set of labels, with a column for each phase and for all."""
    sets = _sets(found)
    rows = []
    for name in DEFINITIONS:
        for label, prefix in zip(sets, prefixes(len(sets)), strict=True):
            key = f"{prefix}{kind}_{name}" if kind else prefix + name
            cells = _cells(found, key, name in OF_PHASE)
            rows.append([name, *([label] if len(sets) > 1 else []), *cells])
    return rows


def _cells(found: xr.Dataset, key: str, by_phase: bool) -> list[str]:
    if by_phase:
        return [*(_ranged(found.sel(phase=p), key) for p in found["phase"].values), ""]
    return [*([""] * found.sizes["phase"]), _ranged(found, key)]


def _ranged(one: xr.Dataset, key: str) -> str:
    """A value, with the limits of its interval if it has them."""
    value = _number(one[key])
    if f"{key}_low" not in one:
        return value
    return f"{value} ({_number(one[f'{key}_low'])} to {_number(one[f'{key}_high'])})"


def _number(value: xr.DataArray) -> str:
    return "-" if np.isnan(float(value)) else f"{float(value):.4f}"


def _image_rows(found: xr.Dataset, names: Sequence[str]) -> list[list[str]]:
    return [
        [str(image), *(_number(found[name].sel(image=image)) for name in names)]
        for image in found["image"].values
    ]


def _object_rows(found: xr.Dataset) -> list[list[str]]:
    """A row for each metric of objects, with a column for each set of numbers."""
    starts = prefixes(len(_sets(found)))
    rows = [["true objects", *[str(int(found["true_objects"]))] * len(starts)]]
    for name in OF_OBJECTS:
        if name == "segmentation_accuracy":
            continue
        values = [found[prefix + name] for prefix in starts]
        shown = [str(int(v)) if name == "objects" else _number(v) for v in values]
        unit = values[0].attrs["units"]
        rows.append([name if unit == "1" else f"{name} ({unit})", *shown])
    levels = found["threshold"].values
    for level in (levels[0], levels[5]):
        cells = [_number(found[f"{p}segmentation_accuracy"].sel(threshold=level)) for p in starts]
        rows.append([f"segmentation_accuracy at {level:g}", *cells])
    return rows


def says(found: xr.Dataset) -> Iterator[str]:
    """Sentences on what was compared and how."""
    a = found.attrs
    images = "image" in found.dims
    unit, left = ("image", "pixels_without_truth") if images else ("slice", "voxels_without_truth")
    count = a["units_with_truth"]
    things = "pixels" if images else "voxels"
    without = f"; {a[left]:,} without a truth are left out" if a[left] else ""
    yield f"{a['voxels']:,} {things} of {count} {unit}{'s' * (count != 1)}{without}."
    within = f"{a['tolerance_pixels']:g} pixels" if images else f"{a['tolerance_nm']:g} nm"
    yield f"Boundaries agree within {within}; boundary_f1_chance is what boundaries laid at random reach."
    if a["resamples"]:
        runs = f" in runs of {a['resampled_run']}" if a["resampled_run"] > 1 else ""
        yield (
            f"In brackets: {100 * a['level']:g} % intervals of {a['resamples']} resamples of the {unit}s{runs}."
        )
    others = baselines(found)
    for one, prefix in zip(others, prefixes(1 + len(others))[1:], strict=True):
        what = "the baseline" if len(others) == 1 else one
        for name in GAINS:
            yield f"{name} minus that of {what}: {_ranged(found, f'{name}_{gain_of(prefix)}')}."
    yield from _learnt(found)


def _learnt(found: xr.Dataset) -> Iterator[str]:
    """Sentence on slices that are judged by what they taught."""
    if LEARNT in found.attrs:
        seen = said(np.atleast_1d(found.attrs[LEARNT]).tolist())
        yield f"{found.attrs['field']} was made by what learnt from {seen} of the truth: not how it does elsewhere."


def evaluation_html(found: xr.Dataset) -> Iterator[str]:
    """Tables, figure and definitions for the report."""
    if "threshold" in found.dims:
        header, rows = ["metric", *_sets(found)], _object_rows(found)
        definitions = OF_OBJECTS
    else:
        header, rows = ["metric", *_columns(found)], _rows(found, "")
        definitions = DEFINITIONS
    caption = f"Agreement of “{found.attrs['field']}” with “{found.attrs['truth_field']}”."
    yield page.table(header, rows, len(header) - 1, caption)
    if "confusion" in found:
        yield confusion_table(found["confusion"])
        yield page.note(" ".join(says(found)))
    else:
        yield from map(page.note, _learnt(found))
    yield page.picture(evaluation_figure(found), _caption(found))
    yield page.definitions(
        (name, f"{one[:1].upper()}{one[1:]}.") for name, one in definitions.items()
    )


def _caption(found: xr.Dataset) -> str:
    """Caption of the figure."""
    if "threshold" in found.dims:
        return "Accuracy of objects by threshold."
    grey = "; greys: of the baselines, the first darkest" if len(_sets(found)) > 1 else ""
    return (
        "Left: metrics of each phase with their intervals; grey marks are the chance level of the boundary F1. "
        f"Right: mean IoU over the phases along z{grey}."
    )


def confusion_table(matrix: xr.DataArray) -> str:
    """Table of a confusion matrix under the names of the phases."""
    names = [str(n) for n in matrix["predicted"].values]
    body = [
        [f"truly {n}", *(f"{int(v):,}" for v in row)]
        for n, row in zip(matrix["truth"].values, matrix.values, strict=True)
    ]
    return page.table(
        ["", *(f"labelled {n}" for n in names)], body, 1, "Voxels by true and given label."
    )


def _nodes(parts: Parts) -> list[str]:
    """Stored comparisons of the field, without the one that stands beside its picture."""
    shown = f"{parts.field}_evaluation" if parts.truth == "truth" else ""
    found = results_of(parts.sample, "evaluate", str(parts.field)) if parts.field else ()
    return [node for node in found if node != shown and _is_of(parts, node)]


def _is_of(parts: Parts, node: str) -> bool:
    record = store.node_attributes(parts.sample, node)
    return bool(record.get("parameters", {}).get("field") == parts.field)


EVALUATION = Section(
    "Agreement with the truth",
    nodes=_nodes,
    named=True,
    html=lambda parts, node: evaluation_html(store.open_dataset(parts.sample, node)),
    shows=is_evaluation,
    text=text,
    figure=evaluation_figure,
)
