"""The verb `combine_labels`: one field of labels from several, hand labels before found ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError
from tim3d.forecast import expected
from tim3d.grid import Block, Triple
from tim3d.kernels.image.threshold import grey_counts
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases
from tim3d.stages.shared.agreement import UNLABELLED
from tim3d.stages.shared.field import DEFAULTS, Making, Options, field_task, many_shards
from tim3d.stages.shared.grid_agreement import refuse_unlike
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import store
from tim3d.storage.schema import Field
from tim3d.typed import Names


@Verb
def combine_labels(
    sample: str,
    labels: Names,
    *,
    confident: float | None = None,
    out: str = "combined",
    options: Options = DEFAULTS,
) -> Task[xr.DataArray]:
    """Combine fields of labels: every voxel has the label of the first field that has one there.

    So hand labels come before an annotation, and what was painted before what a classifier found.
    Voxels that no field labels are of the phase ``unlabelled``, which trainings leave out.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    labels : sequence of str
        Fields of labels, those that win first.
    confident : float, optional
        Least probability of a label of a field that was segmented with probabilities (default: all
        labels count).
    out : str
        Name of the field of labels.
    options : Options
        How it runs.

    Returns
    -------
    xarray.DataArray
        The labels, lazily.

    Raises
    ------
    MissingFieldError
        If a field is missing.
    ArgumentError
        If fewer than two fields are named, they do not fit, or no field has the probabilities that
        are asked for.
    MixedRunError
        If the field exists with other parameters.
    """
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise ArgumentError(
            "combine-labels needs two or more different fields: tim3d combine-labels SAMPLE strokes,annotation"
        )
    if confident is not None and not 0 < confident <= 1:
        raise ArgumentError(f"--confident {confident:g} is not a probability above 0: 0.9")
    fields = [store.complete_field(sample, name, "labels") for name in labels]
    for one in fields:
        if one.phases is None:
            raise ArgumentError(f"{one.name!r} is not a field of labels with phases")
        refuse_unlike(sample, fields[0], one)
    given = [_Given(sample, one, confident) for one in fields]
    if confident is not None and not any(one.probabilities for one in given):
        raise ArgumentError(
            f"--confident {confident:g} changes nothing: none of {', '.join(labels)} was segmented with "
            "--probabilities"
        )
    return field_task(sample, _making(sample, given, out, confident, options), options)


@dataclass(frozen=True)
class _Given:
    """A field of labels and the least probability that its labels need."""

    sample: str
    field: Field
    confident: float | None

    @property
    def phases(self) -> dict[str, int]:
        """Code of each phase but `unlabelled`."""
        known: Mapping[str, int] = self.field.phases or {}
        return {name: code for name, code in known.items() if name != UNLABELLED}

    @property
    def probabilities(self) -> list[Field]:
        """Fields of the probability of its classes, if they are needed."""
        start = f"{self.field.name}_probability_"
        if not self.confident:
            return []
        there = store.fields(self.sample) if store.is_sample(self.sample) else []
        # In a recipe an earlier step has yet to write them.
        planned = [
            name
            for name in (f"{start}{phase}" for phase in self.phases)
            if name not in there and expected("field", f"{self.sample}/{name}")
        ]
        names = [name for name in there if name.startswith(start)]
        return [store.complete_field(self.sample, name) for name in (*names, *planned)]

    def least(self) -> tuple[tuple[str, int, int], ...]:
        """Name of each field of a probability, the code of its phase, and its value for certain."""
        start = len(f"{self.field.name}_probability_")
        found = []
        for one in self.probabilities:
            phase = str(one.attributes.get("phase", one.name[start:]))
            if phase in self.phases:
                whole = int(np.iinfo(one.dtype).max) if one.dtype != "float32" else 1
                found.append((one.name, self.phases[phase], whole))
        return tuple(found)


def _making(
    sample: str, given: Sequence[_Given], out: str, confident: float | None, options: Options
) -> Making:
    phases = _phases(given)
    first = given[0].field
    labels = Field(
        out, first.shape, "uint8", first.spacing_nm, first.chunk, first.shard, labels=True,
        phases=phases, long_name="combined label",
    )  # fmt: skip
    read = [name for one in given for name in (one.field.name, *(n for n, *_ in one.least()))]
    parts = tuple(Part(one.field.name, _table(one, phases), one.least()) for one in given)
    work = CombinedWork(
        sample,
        out,
        parts,
        phases[UNLABELLED],
        confident or 0.0,
        tuple(phases.codes),
        options.durable,
    )
    return Making(
        verb="combine_labels",
        field=labels,
        work=work,
        block=many_shards(labels),
        inputs={name: store.fingerprint_of(sample, name) for name in read},
        parameters={"labels": [one.field.name for one in given], "confident": confident},
        read_bytes=float(2 * len(read)),
    )


def _phases(given: Sequence[_Given]) -> Phases:
    """Phases of all fields: codes of the first field that has a phase, others where there is room."""
    found: dict[str, int] = dict(given[0].field.phases or {})
    names = [name for one in given for name in one.phases]
    for name in (*names, UNLABELLED):
        if name not in found:
            found[name] = next(code for code in range(256) if code not in found.values())
    return Phases(**found)


def _table(one: _Given, phases: Phases) -> tuple[int, ...]:
    """Code in the combined field of each of 256 codes."""
    table = [phases[UNLABELLED]] * 256
    for name, code in one.phases.items():
        table[code] = phases[name]
    return tuple(table)


@dataclass(frozen=True)
class Part:
    """A field to combine: its codes in the result, and the probabilities that its labels need."""

    name: str
    table: tuple[int, ...]
    probabilities: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class CombinedWork:
    """Block work that reads labels and probabilities, and writes labels."""

    sample: str
    out: str
    parts: tuple[Part, ...]
    unlabelled: int
    confident: float
    codes: tuple[int, ...]
    durable: bool

    def read(self, block: Block) -> list[list[np.ndarray]]:
        """Labels of every field, each with its probabilities."""
        return [
            [self._box(name, block) for name in (part.name, *(n for n, *_ in part.probabilities))]
            for part in self.parts
        ]

    def _box(self, name: str, block: Block) -> np.ndarray:
        return store.read_box(store.field_array(self.sample, name), block.read)

    def compute(self, block: Block, inputs: list[list[np.ndarray]]) -> np.ndarray:
        """Take the label of the first field that has one."""
        found = np.full(block.core.shape, self.unlabelled, np.uint8)
        for part, (labels, *sure) in zip(self.parts, inputs, strict=True):
            taken = np.asarray(part.table, np.uint8)[labels]
            taken[~self._is_sure(part, labels, sure)] = self.unlabelled
            found = np.where(found == self.unlabelled, taken, found)
        return found

    def _is_sure(
        self, part: Part, labels: np.ndarray, sure: Sequence[np.ndarray]
    ) -> NDArray[np.bool_]:
        """Whether the classes that count as a voxel's phase are probable enough."""
        if not part.probabilities:
            return np.ones(labels.shape, bool)
        total = np.zeros(labels.shape, np.float64)
        for (_, code, whole), values in zip(part.probabilities, sure, strict=True):
            total += np.where(labels == code, values / whole, 0.0)
        return np.asarray(total >= self.confident - 1e-9)

    def write(self, block: Block, outputs: np.ndarray) -> dict[str, Any]:
        """Write whole shards, and return the number of voxels of each label."""
        store.write_block(self.sample, self.out, block.core, outputs, durable=self.durable)
        counts = grey_counts(outputs)
        return {"voxels": {str(code): int(counts[code]) for code in self.codes}}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of a block: all that is read, labels, and a sum of probabilities."""
        fields = sum(1 + 2 * len(part.probabilities) for part in self.parts)
        return math.prod(core) * (fields + 4 + 20)
