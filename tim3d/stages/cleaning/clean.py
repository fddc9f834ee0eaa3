"""The verb `clean`: labels put right by steps in a given order, and what each step changed.

Consecutive local steps, at most one of them with a halo, run in one pass; a step about components
has passes of its own. Each pass but the last writes a field ``OUT_stepN``, which goes when the
table of changes is written.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tim3d.engine import Outline, Plan, lock_sample
from tim3d.errors import ArgumentError, MissingFieldError
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases
from tim3d.stages.cleaning.by_component import ComponentStage
from tim3d.stages.cleaning.stage import MOVED, PIECES, Stage
from tim3d.stages.cleaning.steps import CleaningStep, ComponentStep, LocalStep
from tim3d.stages.shared.field import DEFAULTS, Options
from tim3d.stages.shared.results import is_there, refuse_another_question
from tim3d.stages.shared.verb import Task, Verb
from tim3d.steps import checked_steps
from tim3d.storage import schema, store
from tim3d.storage.schema import Field
from tim3d.typed import CleaningSteps

log = logging.getLogger(__name__)


@Verb
def clean(
    sample: str,
    steps: CleaningSteps,
    *,
    field: str = "phase",
    out: str = "cleaned",
    options: Options = DEFAULTS,
) -> Task[xr.Dataset]:
    """Correct labels by steps in the given order: islands, holes, openings, majority, names.

    The labels do not depend on the blocks. What lies beyond the border of the volume is not known:
    it neither erodes nor dilates, does not vote, and encloses no hole.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    steps : sequence of Step
        Steps in their order, as in islands:solid,below_nm3=1e6 holes:solid. In Python values such
        as ``tim3d.cleaning.Holes("solid")``, and of your own (docs/extend.md).
    field : str
        The label field.
    out : str
        Name of the field of cleaned labels.
    options : Options
        How it runs; see `tim3d.Options`.

    Returns
    -------
    xarray.Dataset
        `moved` (step, phase, became): voxels by phase before and after each step; `pieces` (step):
        components that got another phase. Kept as the node ``OUT_changes``.

    Raises
    ------
    MissingFieldError
        If the field is missing.
    ArgumentError
        If a step names an unknown phase or changes nothing, or the field has no
        phases.
    InputError
        If a voxel has a code without a phase.
    MixedRunError
        If `out` exists with other steps or from another field.
    """
    labels = store.complete_field(sample, field, "segment")
    if labels.phases is None:
        raise ArgumentError(
            f"field {field!r} holds no phases; segment it first, or ingest it with --phases"
        )
    listed = checked_steps(steps, (LocalStep, ComponentStep), "clean", "holes:solid")
    cleaning = Cleaning(sample, labels, labels.phases, listed, out, options)
    cleaning.stages  # noqa: B018  refuses steps that do not fit before a plan is made
    return Task(cleaning.plans, cleaning.run)


@dataclass(frozen=True)
class Cleaning:
    """Steps on a label field, and the field that they make."""

    sample: str
    labels: Field
    phases: Phases
    steps: tuple[CleaningStep, ...]
    out: str
    options: Options

    @property
    def node(self) -> str:
        """Name of the table of changes."""
        return f"{self.out}_changes"

    @cached_property
    def before(self) -> tuple[Phases, ...]:
        """Phases before each step, and after the last."""
        found = [self.phases]
        for step in self.steps:
            found.append(step.after(found[-1], self.labels.shape, self.labels.spacing_nm))
        return tuple(found)

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """Stages in order; the last writes the result."""
        source, stages = self.labels, []
        for first, last in self._groups():
            out = self._field(last)
            stages.append(self._stage(source, out, first, last))
            source = out
        return tuple(stages)

    def _groups(self) -> Iterator[tuple[int, int]]:
        """First and last step (half-open) of each stage."""
        first = 0
        for last in range(1, len(self.steps) + 1):
            if last == len(self.steps) or not self._in_one_pass(self.steps[first : last + 1]):
                yield first, last
                first = last

    def _in_one_pass(self, steps: Sequence[CleaningStep]) -> bool:
        """Whether all steps are local, and at most one of them looks around."""
        local = [one for one in steps if isinstance(one, LocalStep)]
        wide = sum(any(one.halo(self.labels.spacing_nm)) for one in local)
        return len(local) == len(steps) and wide <= 1

    def _field(self, last: int) -> Field:
        """The field after the first `last` steps."""
        final = last == len(self.steps)
        name = self.out if final else f"{self.out}_step{last}"
        return replace(self.labels, name=name, phases=self.before[last], long_name="phase")

    def _stage(self, source: Field, out: Field, first: int, last: int) -> Stage:
        steps = self.steps[first:last]
        kind = ComponentStage if isinstance(steps[0], ComponentStep) else Stage
        return kind(
            self.sample,
            source,
            out,
            steps,
            self.before[first:last],
            self.phases.codes,
            self.inputs,
            self._parameters(last),
            kept=last == len(self.steps),
        )

    @cached_property
    def inputs(self) -> dict[str, str]:
        """Fingerprint of the label field."""
        return {self.labels.name: store.fingerprint_of(self.sample, self.labels.name)}

    def _parameters(self, last: int) -> dict[str, Any]:
        return {"steps": [step.description() for step in self.steps[:last]]}

    def plans(self) -> list[Plan | Outline]:
        """Plans of the passes that are left; none if labels and table are stored."""
        parameters = self._parameters(len(self.steps))
        refuse_another_question(self.sample, self.node, "clean", parameters, self.options)
        final = self.stages[-1].plans(self.options)  # refuses another field before any work
        store.expect_dataset(self.sample, self.node, self._record())
        if not final:
            return []
        earlier = [one for stage in self.stages[:-1] for one in stage.plans(self.options)]
        return [*earlier, *final]

    def run(self) -> xr.Dataset:
        """Do what is left, and return the table of changes."""
        plans = self.plans()
        for plan in plans:
            plan.check()
        for stage in self.stages if plans else ():
            stage.run(self.options)
        if plans or not is_there(self.sample, self.node, self._fingerprint()):
            with lock_sample(self.sample):
                store.write_dataset(self.sample, self.node, self._changes(), self._record())
        self._remove_intermediate()
        found = store.open_dataset(self.sample, self.node)
        self._warn_of_lost(found)
        return found

    def _warn_of_lost(self, found: xr.Dataset) -> None:
        """Warn of phases that had voxels and have none, though no step merged or renamed them."""
        before = found["moved"].isel(step=0).sum("became")
        after = found["moved"].isel(step=-1).sum("phase")
        lost = [
            name
            for name in self.before[-1]
            if name in self.phases and before.sel(phase=name) > 0 and after.sel(became=name) == 0
        ]
        if lost:
            log.warning(
                "no voxel of %r is %s any more: the steps took it away. Look at the table %s, and give smaller radii "
                "or volumes", self.out, " or ".join(lost), self.node,
            )  # fmt: skip

    def _fingerprint(self) -> str:
        return schema.fingerprint(
            verb="clean", inputs=self.inputs, parameters=self._parameters(len(self.steps))
        )

    def _record(self) -> dict[str, Any]:
        parameters = self._parameters(len(self.steps))
        written = {self.out: self.stages[-1].making(self.options).fingerprint}
        made = store.provenance(self._fingerprint(), parameters, {**self.inputs, **written})
        return made | {"verb": "clean"}

    def _remove_intermediate(self) -> None:
        for stage in self.stages[:-1]:
            if store.node_attributes(self.sample, stage.out.name).get("verb") == "clean":
                with lock_sample(self.sample):
                    store.delete_node(self.sample, stage.out.name)

    def _changes(self) -> xr.Dataset:
        """The table of changes, from the records of the fields."""
        records = [store.node_attributes(self.sample, stage.out.name) for stage in self.stages]
        if any(MOVED not in record for record in records):
            raise MissingFieldError(
                f"{self.node!r} of {self.sample} is gone, and with it what the steps changed. Clean again: add "
                "--overwrite"
            )
        moved = np.array([matrix for record in records for matrix in record[MOVED]], np.int64)
        counts = [
            float(record.get(PIECES, np.nan))
            for stage, record in zip(self.stages, records, strict=True)
            for _ in stage.steps
        ]
        names = np.array(self.phases.names, dtype=object)
        texts = [f"{n} {step}" for n, step in enumerate(self.steps, 1)]
        return xr.Dataset(
            {
                "moved": (
                    ("step", "phase", "became"),
                    moved,
                    {"units": "1", "long_name": "voxels by phase before and after the step"},
                ),
                "pieces": (
                    "step",
                    np.array(counts),
                    {"units": "1", "long_name": "components that got another phase"},
                ),
            },
            {"step": np.array(texts, dtype=object), "phase": names, "became": names},
            {
                "field": self.labels.name,
                "out": self.out,
                "phases_after": ",".join(f"{n}={c}" for n, c in self.before[-1].items()),
            },
        )
