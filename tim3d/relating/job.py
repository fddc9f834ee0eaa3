"""Work of `tim3d.relate`: read the table, answer, write files."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tim3d.descriptors.coupled import Descriptors
from tim3d.engine import Outline
from tim3d.errors import ArgumentError
from tim3d.lazy import xarray as xr
from tim3d.relating import gaussian_process, predictions, study
from tim3d.relating.files import is_table, read_table
from tim3d.relating.problem import Problem, problem
from tim3d.relating.question import Question
from tim3d.relating.samples import collected, with_metadata
from tim3d.storage import outputs

RELATION = outputs.Kind("a relation of tim3d", lambda data: data.startswith(b'{"kind": "relation"'))
TIDY = outputs.Kind("a table of a relation", lambda data: data.startswith(b"variable,"))


@dataclass(frozen=True)
class Place:
    """Where the numbers come from: one table in a file, or results of samples."""

    source: Sequence[str]
    metadata: str | Path | None
    descriptors: Descriptors | None
    field: str
    transport: str

    @property
    def of_samples(self) -> bool:
        """Whether samples are named, and not a table."""
        return not any(map(is_table, self.source))

    def check(self) -> None:
        """Refuse a table beside samples, and options of samples for a table.

        Raises
        ------
        ArgumentError
            If the sources are not one table, or some samples.
        """
        if not self.source:
            raise ArgumentError("no table is given: tim3d relate table.csv --target NAME")
        if self.of_samples:
            return
        if len(self.source) > 1:
            raise ArgumentError(
                f"one table is related, or some samples; got {' and '.join(self.source[:3])}"
            )
        if self.descriptors is not None or self.field != "phase" or self.transport:
            raise ArgumentError(
                f"{self.source[0]} is a table, and --descriptors, --field and --transport are of "
                f"samples: leave them out"
            )

    def read(self) -> xr.Dataset:
        """The table."""
        if self.of_samples:
            return collected(
                self.source, self.descriptors, self.field, self.transport, self.metadata
            )
        found = read_table(self.source[0])
        names = found["sample"].values.tolist()
        return found if self.metadata is None else with_metadata(found, names, self.metadata)


@dataclass(frozen=True)
class Relating:
    """A question about a table, and the files in which the answer is kept."""

    question: Question
    place: Place
    csv: str | Path | None = None
    json: str | Path | None = None
    page: str | Path | None = None

    def check(self) -> None:
        """Refuse what can be refused before anything is read.

        Raises
        ------
        ArgumentError
            If the question, its source or a file is refused.
        MissingExtraError
            If scikit-learn is needed and missing.
        """
        self.question.check()
        self.place.check()
        for path, kind in ((self.csv, TIDY), (self.json, RELATION), (self.page, outputs.REPORT)):
            if path is not None:
                outputs.check_target(path, kind)
        if self.page is not None and Path(self.page).suffix.lower() not in (".html", ".htm"):
            raise ArgumentError(
                f"--page is HTML, and {self.page} has another ending: --page {Path(self.page).with_suffix('.html')}"
            )
        if self.question.gaussian_process:
            gaussian_process.require()

    def plans(self) -> list[Outline]:
        """One line. A table that is there is read, so that its faults show before the run."""
        if self.place.of_samples or not Path(self.place.source[0]).is_file():
            return [Outline("relate", f"relates {self.question.target} to features of samples")]
        return [Outline("relate", _outline(self._problem(), self.question))]

    def _problem(self) -> Problem:
        return problem(self.place.read(), self.question)

    def run(self) -> xr.Dataset:
        """Answer, and write the files."""
        found = study.answer(self._problem(), self.question)
        if self.csv is not None:
            outputs.write_file(self.csv, tidy(found).encode(), TIDY)
        if self.json is not None:
            outputs.write_file(self.json, as_json(found).encode(), RELATION)
        if self.page is not None:
            from tim3d.reporting.relation import relation_page  # matplotlib takes a while to load

            text = relation_page(found)
            outputs.write_file(self.page, text.encode(), outputs.REPORT)
        return found


def _outline(found: Problem, question: Question) -> str:
    n, models = len(found.samples), len(found.candidates)
    fits = models * (1 + n + question.permutations)
    pairs = n * (n - 1) // 2 * (models if predictions.is_searched(found) else 1)
    return (
        f"compares {models} models of {len(found.names)} features by {n} samples: {fits + pairs} "
        f"fits for their errors, "
        "the test and the intervals"
    )


def as_json(found: xr.Dataset, kind: str = "relation") -> str:
    """Everything as JSON; null for what is not finite. `xarray.Dataset.from_dict` reads it again."""
    content = {"kind": kind, **_finite(found.to_dict())}
    return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=None) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def tidy(found: xr.Dataset) -> str:
    """A row for each number or text: variable, its place, value, units and meaning."""
    dims = list(map(str, found.sizes))
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["variable", *dims, "value", "units", "definition"])
    for name, variable in found.data_vars.items():
        about = [str(variable.attrs.get(key, "")) for key in ("units", "long_name")]
        for place, value in _values(variable):
            writer.writerow([name, *(place.get(d, "") for d in dims), value, *about])
    return text.getvalue()


def _values(variable: xr.DataArray) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield place and value of every element; nan is an empty text."""
    ticks = {
        str(d): variable[d].values.tolist() if d in variable.coords else range(variable.sizes[d])
        for d in variable.dims
    }
    for index, value in np.ndenumerate(variable.values):
        place = {d: tick[at] for (d, tick), at in zip(ticks.items(), index, strict=True)}
        plain = value.item() if isinstance(value, np.generic) else value
        yield place, "" if isinstance(plain, float) and math.isnan(plain) else plain
