"""The verb `report`: the content of a sample as one self-contained HTML file."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tim3d.descriptors.porosity import check_density, pore_phases
from tim3d.engine import Outline, Plan
from tim3d.errors import ArgumentError, MissingFieldError, Tim3dError
from tim3d.forecast import expected
from tim3d.stages.segmentation.evaluate import evaluate
from tim3d.stages.shared.field import Options
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import outputs, store
from tim3d.typed import Densities, Names

if TYPE_CHECKING:
    from tim3d.reporting.section import Section

log = logging.getLogger(__name__)


@Verb
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
    pore: Names = (),
    density: Densities | None = None,
    sections: Sequence[Section] = (),
) -> Task[Path]:
    """Write an HTML report on a sample: slices, labels, results, histogram, training, provenance.

    Pictures are embedded; the file opens without a network. A section appears if the sample holds
    its data. Each field is read one plane at a time, from the level of its pyramid that fits a
    picture.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    out : path
        The file to write, ending in .html. In a folder that is there; a report that is there is
        replaced.
    raw : str
        The grey field; none leaves it out, as does a sample without `raw`.
    field : str
        The label field; none leaves it out, as does a sample without `phase`.
    truth : str, optional
        A label field to compare with (default: none). Voxel by voxel and, where both are measured,
        number by number.
    annotation : str, optional
        A label field that a network was trained on (default: none).
    model : path, optional
        The trained network, for its training curves (default: none).
    title : str, optional
        Heading (default: name of the sample).
    pore : list of str
        Phases that count as pores (default: the one named pore, pores, void, voids, air or vacuum;
        of several such none).
    density : mapping of str to float, optional
        Density of some phases in g cm-3 (default: none): adds the surface over their mass.
    sections : sequence of Section
        Further sections, shown before the last one (`tim3d.sections`).

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If the sample does not exist.
    MissingFieldError
        If a field that is named does not exist, or neither `raw` nor `phase` does and none is.
    MixedRunError
        If a field was made from another one that has been replaced since.
    CheckpointError
        If `model` is not a model file.
    ArgumentError
        If `pore` or `density` names a phase that is not there, or `out` is refused by
        `tim3d.storage.outputs.check_target` or has the ending of another format.
    WriteError
        If the file cannot be written.
    """
    target = outputs.check_target(out, outputs.REPORT)
    if target.suffix.lower() not in (".html", ".htm"):
        raise ArgumentError(
            f"a report is HTML, and {out} has another ending. Type: tim3d report {sample} "
            f"{target.with_suffix('.html')} (a browser prints it as PDF)"
        )
    for name, verb in ((truth, "labels"), (annotation, "annotate")):
        if name is not None:
            store.complete_field(sample, name, verb)
    for name, usual, verb in ((raw, "raw", "ingest"), (field, "phase", "segment")):
        if name not in (usual, "none"):
            store.complete_field(sample, name, verb)
    grey, labels = (_if_complete(sample, name) for name in (raw, field))
    if grey is None and labels is None:
        raise MissingFieldError(
            f"{sample} has neither a finished field {raw!r} nor {field!r} (has {', '.join(store.fields(sample))}). "
            "Name the fields: --raw NAME --field NAME"
        )
    given = Given(tuple(pore), dict(density or {}))
    if labels is not None:
        given.check(list(store.complete_field(sample, labels, "segment").phases or {}))
    shown = {"raw": grey, "field": labels, "truth": truth, "annotation": annotation}
    reporting = Reporting(
        sample, target, shown, None if model is None else Path(model), title, tuple(sections), given
    )
    return Task(reporting.plans, reporting.run)


@dataclass(frozen=True)
class Given:
    """Facts on the phases that the sample does not hold."""

    pore: tuple[str, ...] = ()
    density: Mapping[str, float] = dataclass_field(default_factory=dict)

    def check(self, names: Sequence[str]) -> None:
        """Refuse facts on a phase that is not there."""
        pore_phases(names, self.pore)
        check_density(self.density, names)


@dataclass(frozen=True)
class Reporting:
    """A report on a sample; `shown` names the fields that exist."""

    sample: str
    target: Path
    shown: Mapping[str, str | None]
    model: Path | None
    title: str | None
    sections: tuple[Section, ...] = ()
    given: Given = Given()

    def plans(self) -> list[Plan | Outline]:
        """Plans of the pass that compares voxel by voxel, unless complete, and of the file."""
        if not expected("network", str(self.model)):
            self._check_model()
        return [*self._comparing(), Outline("report", f"writes {self.target}")]

    def _check_model(self) -> None:
        """Raise `CheckpointError` if the file of the model is damaged: the section reads its head only."""
        if self.model is not None:
            from tim3d.models.segmentation import checkpoint

            checkpoint.describe(self.model)

    def run(self) -> Path:
        """Write the file atomically."""
        self._check_model()
        from tim3d.reporting import (
            html,
            section,
        )  # matplotlib takes a while to load, and a plan needs none

        name = self.title or Path(self.sample.rstrip("/")).name
        parts = section.Parts(
            self.sample,
            model=self.model,
            pore=self.given.pore,
            density=self.given.density,
            out=str(self.target),
            **self.shown,
        )
        text = html.document(parts, name, self.sections)
        outputs.write_file(self.target, text.encode(), outputs.REPORT)
        log.info("wrote %s", self.target)
        return self.target

    def _comparing(self) -> list[Any]:
        field, truth = self.shown["field"], self.shown["truth"]
        if field is None or truth is None:
            return []
        try:
            return evaluate.plan(
                self.sample, field=field, truth=truth, options=Options(progress=False)
            )
        except Tim3dError:  # the report states why it is missing
            return []


def _if_complete(sample: str, name: str) -> str | None:
    """Name of a field if it is complete, else None."""
    if store.node_attributes(sample, name).get("status") != "complete":
        return None
    store.complete_field(sample, name)
    return name
