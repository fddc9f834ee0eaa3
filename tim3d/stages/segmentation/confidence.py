"""The verb `confidence`: instances classed by their mean uncertainty, in ordered classes of a second field.

A pass adds up the uncertainty over every instance, in whole numbers, so that it can be judged when
all of it is known: no block shows. A second pass writes the class of each voxel, and the numbers of
the sure instances alone.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tim3d.engine import Gathering, Ledger, Outline, Pass, Plan, lock_sample
from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Block, Triple, triple
from tim3d.kernels.morphology.instance_sums import added, instance_sums
from tim3d.kernels.morphology.overlaps import added as added_overlaps
from tim3d.kernels.morphology.overlaps import overlaps
from tim3d.kernels.statistics.best_limit import best_limit
from tim3d.kernels.statistics.exact_sums import FixedPoint
from tim3d.kernels.statistics.object_agreement import Overlaps
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases
from tim3d.stages.components.blocks import lookup, lookup_node, values_of_block
from tim3d.stages.shared.field import DEFAULTS, Making, Options, plan_field, produce, renewing
from tim3d.stages.shared.packed import pack, unpack
from tim3d.stages.shared.reduction import reduction_pass
from tim3d.stages.shared.results import result_name, run_passes
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import schema, store
from tim3d.storage.advice import other_stack
from tim3d.storage.schema import Field
from tim3d.typed import GreyValues

log = logging.getLogger(__name__)
# Uncertainties are added up in quanta of 2^-24 of their unit.
POINT = FixedPoint(24)
# Memory for each instance of a block, and for each overlap with a true one.
OBJECT_BYTES, OVERLAP_BYTES = 200, 150
# Bytes a voxel of the sums of a block, with one plane in float64 and int64.
SUM_BYTES = 16.0


@Verb
def confidence(
    sample: str,
    instances: str,
    uncertainty: str,
    *,
    limits: GreyValues | None = None,
    truth: str = "",
    least_diameter: float = 0.0,
    out: str = "",
    options: Options = DEFAULTS,
) -> Task[xr.DataArray]:
    """Class instances by their mean uncertainty, and keep the sure ones as a field of their own.

    An instance is surest if the mean uncertainty of its voxels is below the first limit, and so on.
    A limit can be found on a sample with true instances, to be given for other samples. See
    docs/segment.md.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    instances : str
        Field of numbers of instances.
    uncertainty : str
        Field of the uncertainty of each voxel, such as a mutual information.
    limits : sequence of float, optional
        Rising limits of the mean uncertainty of an instance, in the unit of that field. One limit
        makes the classes unsure and sure, more of them level1, level2 and so on, the last the
        surest. Give them or `truth`.
    truth : str
        Field of numbers of true instances: the limit is that with the largest panoptic quality of
        the sure instances. Judge by other samples.
    least_diameter : float
        Instances smaller than the ball (in one slice, the disc) of this diameter in nm are left
        out.
    out : str
        Name of the field of classes (default: INSTANCES_confidence and what is not a default); OUT
        and ``_sure`` is the field of the numbers of the surest instances.
    options : Options
        How it runs; see `tim3d.Options`.

    Returns
    -------
    xarray.DataArray
        Class of each voxel: none, unsure, sure. Its attributes state the limits, and the instances
        of each class.

    Raises
    ------
    MissingFieldError
        If a field is missing.
    ArgumentError
        If fields differ in shape or are of another kind, limits do not rise, or there are both
        limits and a truth.
    InputError
        If an uncertainty is not a finite number, or the truth has no instance.
    MixedRunError
        If `out` exists with different parameters.

    References
    ----------
    Rettenberger et al., npj Comput. Mater. 10 (2024) 123 (two levels). DOI 10.1038/s41524-024-01302-w
    Yildirim, Cole, J. Chem. Inf. Model. 61 (2021) 1136 (filter). DOI 10.1021/acs.jcim.0c01455
    """
    numbers = _numbers(sample, instances)
    doubt = store.complete_field(sample, uncertainty, "segment")
    if doubt.phases is not None or doubt.dtype == schema.ID_DTYPE:
        raise ArgumentError(
            f"{uncertainty!r} of {sample} holds labels or numbers and no uncertainty: give a map such as "
            "OUT_mutual_information"
        )
    true = _numbers(sample, truth) if truth else None
    for one in filter(None, (doubt, true)):
        if one.shape != numbers.shape:
            raise ArgumentError(other_stack(one.name, one.shape, numbers.name, numbers.shape))
    _check_limits(limits, truth)
    if not 0 <= least_diameter < math.inf:
        raise ArgumentError(f"--least-diameter {least_diameter:g} is not a length in nm")
    asked = {
        "uncertainty": (uncertainty, None), "limits": (None if limits is None else tuple(limits), None),
        "truth": (truth, ""), "least_diameter": (least_diameter, 0.0),
    }  # fmt: skip
    name = out or result_name(f"{instances}_confidence", **asked)
    found = tuple(limits) if limits is not None else None
    made = Classed(sample, numbers, doubt, true, found, least_diameter, name, options)
    return Task(made.plans, made.result)


def _numbers(sample: str, name: str) -> Field:
    field = store.complete_field(sample, name, "segment")
    if not field.may_number:
        raise ArgumentError(
            f"{name!r} of {sample} holds {'labels' if field.phases else field.dtype} and not numbers of instances "
            f"({' or '.join(schema.NUMBER_DTYPES)})"
        )
    return field


def _check_limits(limits: Sequence[float] | None, truth: str) -> None:
    if (limits is None) == (not truth):
        raise ArgumentError(
            "give the limits of the mean uncertainty, --limits 0.0125, or true instances to find one by, --truth FIELD"
            + (", not both" if truth else "")
        )
    if limits is not None and (
        not limits or not all(map(math.isfinite, limits)) or list(limits) != sorted(set(limits))
    ):
        raise ArgumentError(f"limits {list(limits)} do not rise: --limits 0.0125 or 0.01,0.03")


@dataclass(frozen=True)
class Judged:
    """Class of each instance: 0 left out, 1 the least sure; and the limits."""

    numbers: np.ndarray
    levels: np.ndarray
    limits: tuple[float, ...]


@dataclass(frozen=True)
class Classed:
    """Fields of the classes of instances and of the sure ones, and the pass that adds up.

    Parameters
    ----------
    sample : str
        The sample.
    numbers, doubt : Field
        Instances and uncertainty.
    true : Field, optional
        True instances.
    limits : tuple of float, optional
        Limits, if they are given.
    least_diameter : float
        In nm.
    out : str
        Name of the field of classes.
    options : Options
        How it runs.
    """

    sample: str
    numbers: Field
    doubt: Field
    true: Field | None
    limits: tuple[float, ...] | None
    least_diameter: float
    out: str
    options: Options

    @property
    def phases(self) -> Phases:
        """Names of the classes: none, and from the least sure to the surest."""
        count = 1 if self.limits is None else len(self.limits)
        names = ["unsure", "sure"] if count == 1 else [f"level{n + 1}" for n in range(count + 1)]
        return Phases(**{name: code for code, name in enumerate(["none", *names])})

    @property
    def sure(self) -> Field:
        """Field of the numbers of the surest instances."""
        return replace(
            self._numbered, name=f"{self.out}_sure", long_name="number of the sure instance"
        )

    @property
    def _numbered(self) -> Field:
        return replace(self.numbers, dtype=schema.ID_DTYPE, labels=True, attributes={}, phases=None)

    @property
    def _fields(self) -> tuple[Field, ...]:
        return (self.numbers, self.doubt, *([self.true] if self.true else []))

    @cached_property
    def making(self) -> Making:
        """The fields."""
        classes = replace(
            self._numbered, name=self.out, dtype="uint8", phases=self.phases, long_name="confidence of the instance"
        )  # fmt: skip
        return Making(
            verb="confidence",
            field=classes,
            work=ClassWork(
                self.sample, self.numbers.name, (self.sure.name, self.out), len(self.phases) - 1,
                self.numbers.voxel_bytes, self.options.durable,
            ),
            block=self.adding.grid.block,
            read_bytes=self.numbers.voxel_bytes,
            inputs={one.name: store.fingerprint_of(self.sample, one.name) for one in self._fields},
            parameters={"limits": self.limits, "least_diameter": self.least_diameter},
            siblings=(self.sure,),
        )  # fmt: skip

    @cached_property
    def adding(self) -> Pass:
        """Pass that adds up the uncertainty of every instance."""
        inputs = {one.name: store.fingerprint_of(self.sample, one.name) for one in self._fields}
        return reduction_pass(
            self.sample,
            self._fields,
            added_up,
            name=f"{self.out}_sums",
            fingerprint=schema.fingerprint(verb="confidence", step="sums", inputs=inputs),
            options=self.options,
            kernel_bytes=SUM_BYTES,
        )

    def plans(self) -> list[Plan | Outline]:
        """Plans of the passes that are left; none if the fields are complete."""
        options = self._renewing
        left = plan_field(self.sample, self.making, options)
        return [self.adding.plan(afresh=options.overwrite), self.judging, *left] if left else []

    @property
    def judging(self) -> Gathering:
        """Plan of the judgement, whose instances are not known before."""
        each = (OBJECT_BYTES + (2 * OVERLAP_BYTES if self.true else 0), "instances of blocks")
        return Gathering(f"{self.out}/classes", "judges the instances", None, each)

    @property
    def _renewing(self) -> Options:
        return renewing(self.sample, self.making, self.options)

    def result(self) -> xr.DataArray:
        """The field of classes; both fields are made if they are not there."""
        options, plans = self._renewing, self.plans()
        for plan in plans:
            plan.check()
        if plans:
            with lock_sample(self.sample):
                run_passes((self.adding,), options)
                known = self._judge()
            counted = replace(self.making, field=replace(self.making.field, attributes=known))
            produce(self.sample, counted, options, self._finish)
        return store.open_field(self.sample, self.out)

    def _finish(self, _: Ledger) -> None:
        store.delete_node(self.sample, lookup_node(self.out))
        self.adding.ledger.forget()

    def _judge(self) -> dict[str, Any]:
        """Write the class of each instance of each block; return what the field states."""
        places = [triple(one) for one in np.ndindex(self.adding.grid.counts)]
        tables, shared, need = [], [], 0
        for record in self.adding.ledger.records(places):
            tables.append(unpack(record["sums"]))
            shared += [unpack(record["overlaps"])] if self.true else []
            need += len(tables[-1]) * OBJECT_BYTES + sum(map(len, shared[-1:])) * OVERLAP_BYTES
            self.judging.of(need).check()
        judged = self._judged(added(tables), shared)
        ids = np.concatenate([one[:, 0] for one in tables])
        starts = np.cumsum([0, *map(len, tables)])[:-1].reshape(self.adding.grid.counts)
        levels = judged.levels[np.searchsorted(judged.numbers, ids)] if len(ids) else ids
        record = store.provenance(
            self.making.fingerprint, self.making.parameters, self.making.inputs
        )
        table = lookup(starts, np.asarray(levels, np.int64))
        store.write_dataset(
            self.sample, lookup_node(self.out), table, record | {"verb": "confidence"}
        )
        return self._told(judged)

    def _judged(self, sums: np.ndarray, shared: list[np.ndarray]) -> Judged:
        """Class of each instance by its mean."""
        numbers, voxels = sums[:, 0], sums[:, 1]
        means = sums[:, 2] / voxels * POINT.quantum
        large = self._diameters(voxels) >= self.least_diameter
        limits = self.limits or (self._best(numbers[large], means[large], shared),)
        surer = (means[:, None] < np.array(limits)).sum(axis=1)
        return Judged(numbers, np.where(large, surer + 1, 0), limits)

    def _diameters(self, voxels: np.ndarray) -> np.ndarray:
        """Diameters in nm of balls, or in one slice of discs, of as many voxels."""
        z, y, x = self.numbers.spacing_nm
        if self.numbers.shape[0] == 1:
            return np.asarray(2 * np.sqrt(voxels * y * x / math.pi))
        return np.asarray(np.cbrt(6 * voxels * z * y * x / math.pi))

    def _best(self, numbers: np.ndarray, means: np.ndarray, shared: list[np.ndarray]) -> float:
        table = Overlaps.of(added_overlaps(shared))
        true, _ = table.objects()
        if not true:
            raise InputError(f"the truth {self.true and self.true.name!r} has no instance")
        _, found, both, union = table.pairs()
        matched = 2 * both > union
        iou = np.zeros(len(numbers))
        known = np.isin(found[matched], numbers)
        rows = np.searchsorted(numbers, found[matched][known])
        iou[rows] = (both[matched] / union[matched])[known]
        best = best_limit(means, iou, true)
        log.info(
            "%s: panoptic quality %.3f of all, %.3f below the limit %.6g. For other samples: --limits %.6g",
            self.out, best.of_all, best.below, best.limit, best.limit,
        )  # fmt: skip
        return best.limit

    def _told(self, judged: Judged) -> dict[str, Any]:
        counts = np.bincount(judged.levels, minlength=len(self.phases))
        each = {name: int(counts[code]) for name, code in self.phases.items()}
        said = ", ".join(f"{count} {name}" for name, count in each.items() if name != "none")
        log.info("%s: instances %s; %d left out", self.out, said, each["none"])
        return {"limits": list(judged.limits), "instances": [each[one] for one in self.phases]}


def added_up(fields: tuple[np.ndarray, ...], block: Block) -> dict[str, Any]:
    """Record of a block: sums over its instances, and voxels shared with true ones."""
    numbers, doubt, *true = fields
    planes = [
        instance_sums(own, POINT.integers(plane)) for own, plane in zip(numbers, doubt, strict=True)
    ]
    found = {"sums": pack(added(planes))}
    return found | ({"overlaps": pack(overlaps(true[0], numbers))} if true else {})


@dataclass(frozen=True)
class ClassWork:
    """Second pass: the class of each voxel, and the numbers of the surest instances."""

    sample: str
    source: str
    fields: tuple[str, str]
    surest: int
    voxel_bytes: int
    durable: bool

    def read(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """Read numbers, and the classes of the instances of the block."""
        numbers = store.read_box(store.field_array(self.sample, self.source), block.core)
        return numbers, values_of_block(self.sample, self.fields[1], block.index)

    def compute(
        self, block: Block, inputs: tuple[np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sure numbers, and classes."""
        numbers, levels = inputs
        there = np.unique(numbers)
        there = there[there > 0]
        sure, classes = np.zeros(numbers.shape, np.uint32), np.zeros(numbers.shape, np.uint8)
        for own, kept, plane in zip(numbers, sure, classes, strict=True):
            inside = own > 0
            plane[inside] = levels[np.searchsorted(there, own[inside])]
            kept[...] = np.where(plane == self.surest, own, 0)
        return sure, classes

    def write(self, block: Block, outputs: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
        """Write whole shards, the classes last."""
        for name, values in zip(self.fields, outputs, strict=True):
            store.write_block(self.sample, name, block.core, values, durable=self.durable)
        return {}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of numbers while decoded and sorted, and of both fields while encoded."""
        return int(math.prod(core) * (4 * self.voxel_bytes + 3 * 5) + core[1] * core[2] * 20)
