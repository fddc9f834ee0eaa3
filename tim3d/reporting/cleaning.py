"""Table of what the steps of `tim3d.clean` changed, for the shell and the report."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tim3d.lazy import xarray as xr
from tim3d.reporting import page, table
from tim3d.reporting.section import Parts, Section
from tim3d.stages.shared.results import results_of
from tim3d.storage import store

HEADER = ("step", "pieces", "phase", "lost", "gained", "voxels", "share")


def is_cleaning(found: xr.Dataset) -> bool:
    """Whether a result was made by `tim3d.clean`."""
    return {"moved", "pieces"} <= set(found.data_vars)


def rows(found: xr.Dataset) -> list[list[str]]:
    """Rows of the table: each phase before the first step, and after each step."""
    names = [str(name) for name in found.phase.values]
    start = found.moved.values[0].sum(axis=1)
    body = [
        ["before", "", name, "", "", f"{voxels}", _share(voxels, start.sum())]
        for name, voxels in zip(names, start.tolist(), strict=True)
    ]
    return body + [row for n in range(found.sizes["step"]) for row in _rows(found, n, names)]


def _rows(found: xr.Dataset, number: int, names: list[str]) -> Iterator[list[str]]:
    moved, pieces = found.moved.values[number], float(found.pieces[number])
    shown = "" if math.isnan(pieces) else f"{pieces:.0f}"
    for place, name in enumerate(names):
        lost = int(moved[place].sum() - moved[place, place])
        gained = int(moved[:, place].sum() - moved[place, place])
        after = int(moved[:, place].sum())
        head = [str(found.step.values[number]), shown] if place == 0 else ["", ""]
        yield [*head, name, f"{lost}", f"{gained}", f"{after}", _share(after, moved.sum())]


def _share(voxels: int, total: int) -> str:
    return table.number(voxels / total)


def text(found: xr.Dataset) -> str:
    """The table as plain text, with the phases of the field that was written."""
    a = found.attrs
    lines = table.aligned([list(HEADER), [], *rows(found)])
    return "\n".join([*lines, "", f"{a['out']} holds the phases {a['phases_after']}"])


def _html(parts: Parts, node: str) -> Iterator[str]:
    found = store.open_dataset(parts.sample, node)
    a = found.attrs
    caption = (
        f"“{a['out']}” was made from “{a['field']}” by these steps; it holds the phases {a['phases_after']}. Lost and "
        "gained: voxels of a phase that a step gave to others, and took from them. Pieces: components that got "
        "another phase."
    )
    yield page.table(HEADER, rows(found), 3, caption)


CLEANING = Section(
    "Cleaning",
    nodes=lambda parts: results_of(parts.sample, "clean", parts.field) if parts.field else (),
    html=_html,
    named=True,
    shows=is_cleaning,
    text=text,
)
