"""Inspection of a stack as text, as JSON, and as a section of a report."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tim3d.lazy import xarray as xr
from tim3d.plotting.inspection import inspection_figure
from tim3d.reporting import page
from tim3d.reporting.section import Parts, Section
from tim3d.storage import outputs, store

_WIDE, _INDENT = 110, 14


def is_inspection(found: xr.Dataset) -> bool:
    """Whether a result was made by `tim3d.inspect`."""
    return {"reads", "findings", "not_judged"} <= set(found.attrs)


def text(found: xr.Dataset) -> str:
    """Inspection for the screen: the stack as it will be read, findings, checks without a judgement."""
    findings = found.attrs["findings"]
    return "\n".join(
        [
            *_entries([("source", found.attrs["source"])] if "source" in found.attrs else []),
            *_entries((label, said) for label, said in found.attrs["reads"]),
            "",
            _heading(findings),
            *_entries((one["name"], finding_text(one)) for one in findings),
            *_not_judged(found),
            *_accepting(findings),
        ]
    )


def _heading(findings: Sequence[Mapping[str, Any]]) -> str:
    if not findings:
        return "nothing suspicious was found"
    return f"suspicious: {len(findings)}; ingest stops unless they are accepted"


def _not_judged(found: xr.Dataset) -> Iterator[str]:
    if found.attrs["not_judged"]:
        yield "not judged"
        yield from _entries((one["name"], one["why"]) for one in found.attrs["not_judged"])


def _accepting(findings: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if findings:
        names = ",".join(one["name"] for one in findings)
        yield f"to take the stack as it is: tim3d ingest ... --accept {names}"


def _entries(pairs: Any) -> Iterator[str]:
    """Lines of names and texts, wrapped."""
    for name, said in pairs:
        head = f"  {name:<{_INDENT}} "
        if len(name) > _INDENT:
            head = f"  {name} "
        yield textwrap.fill(
            str(said), _WIDE, initial_indent=head, subsequent_indent=" " * (_INDENT + 3),
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip


def finding_text(one: Mapping[str, Any]) -> str:
    """A finding with its number, the limit, and what to do."""
    numbers = f"{one['measured']:.3g} {one['unit']}, limit {one['limit']:.3g}"
    return f"{one['text']} [{numbers}]. What to do: {one['cure']}"


def as_json(found: xr.Dataset) -> str:
    """Findings and the numbers of every slice as JSON; what is not known is null."""
    numbers = {
        str(name): [None if np.isnan(v) else float(v) for v in values.values]
        for name, values in found.data_vars.items()
    }
    about = {
        key: found.attrs[key] for key in ("source", "reads", "findings", "not_judged", "names")
    }
    return json.dumps({"tim3d": "inspect", **about, "slices": numbers}, indent=1) + "\n"


def check_json(path: str | Path) -> None:
    """Refuse a file that `write_json` would refuse, before the stack is read."""
    outputs.check_target(path, outputs.INSPECTION)


def write_json(found: xr.Dataset, path: str | Path) -> None:
    """Write `as_json` to a file, atomically."""
    outputs.write_file(path, as_json(found).encode(), outputs.INSPECTION)


def _html(parts: Parts, node: str) -> Iterator[str]:
    found = store.open_dataset(parts.sample, node)
    caption = (
        "The stack as it was read: brightness of every slice, its displacement against the slice before (sub-pixel "
        f"phase correlation of four tiles), and the difference to it; from {found.attrs['pixels']}."
    )
    yield page.picture(inspection_figure(found), caption)
    rows = [[one["name"], finding_text(one)] for one in found.attrs["findings"]]
    if rows:
        yield page.table(["accepted", "what was found"], rows, 2, "Suspicious, and taken as it is.")
    for one in found.attrs["not_judged"]:
        yield page.note(f"Not judged: {one['name']}, {one['why']}.")


INSPECTION = Section(
    "The stack",
    _html,
    nodes=lambda parts: [f"{parts.raw}_inspection"] if parts.raw else (),
    shows=is_inspection,
    text=text,
    figure=inspection_figure,
)
