"""Results of all verbs: name of the node, currency, plan, run, write and read.

A result answers a question about fields of a sample. The name of its node is built from the
question, so that answers to different questions are stored side by side. The fingerprint includes
the fingerprints of the fields, so that an answer about a replaced field is not mistaken for an
answer about the present one. A result is returned in memory.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tim3d.commands import shell_text
from tim3d.engine import Outline, Pass, Plan, lock_sample, run
from tim3d.errors import ArgumentError, MixedRunError
from tim3d.lazy import xarray as xr
from tim3d.stages.shared import differences
from tim3d.stages.shared.field import Options
from tim3d.stages.shared.verb import Task
from tim3d.storage import schema, store
from tim3d.units import with_typed_conductances

# Longer names are cut and end in a hash: file systems allow 255 bytes, and the folder of runs
# lengthens the names.
LONGEST_NAME = 100


@dataclass(frozen=True)
class ResultMaking:
    """Description of a result and of its computation.

    Parameters
    ----------
    verb, sample, node : str
        The verb, and the sample and node that store the result.
    inputs : mapping
        Fingerprint of each field (and file) that the result is computed from.
    parameters : mapping
        Everything else that determines the numbers; part of the fingerprint, with the inputs and
        the verb.
    passes : sequence of Pass
        Passes to run in this order before `gather`.
    gather : callable
        Function that computes the result from the records of the passes.
    """

    verb: str
    sample: str
    node: str
    inputs: Mapping[str, Any]
    parameters: Mapping[str, Any]
    passes: Sequence[Pass]
    gather: Callable[[], xr.Dataset]

    @property
    def fingerprint(self) -> str:
        """Hash of everything that determines the numbers; independent of the blocking."""
        return schema.fingerprint(verb=self.verb, inputs=self.inputs, parameters=self.parameters)

    @property
    def record(self) -> dict[str, Any]:
        """Provenance of the result, stored in its node."""
        made = store.provenance(self.fingerprint, self.parameters, self.inputs)
        return made | {"verb": self.verb}


def result_task(making: ResultMaking, options: Options) -> Task[xr.Dataset]:
    """Return the task of a verb whose result is a node computed by passes."""
    return Task(partial(plan_result, making, options), partial(produce_result, making, options))


def plan_result(making: ResultMaking, options: Options) -> list[Plan | Outline]:
    """Plans of the passes; none if the result is stored. Later steps of a recipe may rely on it."""
    if making.node == schema.LABELS_FOLDER:
        raise ArgumentError(f"a result cannot be called {making.node!r}: --out another-name")
    refuse_another_question(making.sample, making.node, making.verb, making.parameters, options)
    if is_kept(making, options):
        return []
    store.refuse_unwritable_sample(making.sample)
    store.expect_dataset(making.sample, making.node, making.record)
    return [one.plan(afresh=options.overwrite) for one in making.passes]


def produce_result(making: ResultMaking, options: Options) -> xr.Dataset:
    """Return the result in memory; compute and store it first if it is missing or to be replaced.

    Raises
    ------
    MixedRunError
        If the node holds the answer to another question, or blocks of another size are done.
    MemoryPlanError, LockedError, FailedBlocksError, WriteError
        See `tim3d.engine.passes.run.run`.
    """
    plans = plan_result(making, options)
    for plan in plans:
        plan.check()
    if not is_kept(making, options):
        with lock_sample(making.sample):
            run_passes(making.passes, options)
            store.write_dataset(making.sample, making.node, making.gather(), making.record)
    return store.open_dataset(making.sample, making.node)


def run_passes(passes: Sequence[Pass], options: Options) -> None:
    """Run passes one after the other; with `overwrite`, recompute all blocks."""
    for one in passes if options.overwrite else ():
        one.ledger.forget()
    for one in passes:
        run(one, progress=options.progress)


def is_kept(making: ResultMaking, options: Options) -> bool:
    """Whether the result is stored in the sample and not to be recomputed."""
    return not options.overwrite and is_there(making.sample, making.node, making.fingerprint)


def is_there(sample: str, node: str, fingerprint: str) -> bool:
    """Whether a finished node has this fingerprint."""
    record = store.node_attributes(sample, node)
    return record.get("status") == "complete" and record.get("fingerprint") == fingerprint


def refuse_another_question(
    sample: str, node: str, verb: str, parameters: Mapping[str, Any], options: Options
) -> None:
    """Refuse to replace the answer to another question, unless `overwrite` is set.

    The answer to the same question about an earlier version of a field is replaced silently: no
    reader returns it any more.

    Raises
    ------
    MixedRunError
        If the node holds anything but an answer of this verb to this question.
    """
    record = (
        store.claimed(sample, node) if options.overwrite else store.node_attributes(sample, node)
    )
    if not record:
        return
    if record.get("kind") == "field" or record.get("verb") != verb:
        raise MixedRunError(
            f"{node!r} in {sample} is not a result of {verb}; give this one another name: --out another-name"
        )
    before, now = record.get("parameters", {}), parameters
    if not options.overwrite and schema.fingerprint(p=before) != schema.fingerprint(p=now):
        was, wanted = with_typed_conductances(before), with_typed_conductances(now)
        said = ", ".join(differences.changed(was, wanted, differences.MADE))
        raise MixedRunError(
            f"{node!r} in {sample} was made with {said}{differences.origin(record, sample, said)}. "
            "Keep both: --out another-name; or replace it: --overwrite"
        )


def result_name(base: str, **question: tuple[Any, Any]) -> str:
    """Name of a node: `base`, then every argument of the question that differs from its default.

    Parameters
    ----------
    base : str
        Field and kind, such as ``phase_components``.
    **question : (value, default)
        Arguments by name, in the order of the verb's signature.

    Examples
    --------
    >>> result_name("phase_components", phases=(None, None), connectivity=(26, 6))
    'phase_components_connectivity=26'
    >>> result_name("phase_transport", conductivity=({"copper": 400.0, "pore": 0.026}, None), axis=(("z", "y"), ("z",)))
    'phase_transport_copper=400,pore=0.026,axis=z+y'
    """
    parts = [
        _part(key, value) for key, (value, default) in question.items() if not _same(value, default)
    ]
    name = "_".join([base, *filter(None, [",".join(parts)])])
    plain = re.sub(r"[^A-Za-z0-9._=,+~-]", "-", name)
    if plain == name and len(name) <= LONGEST_NAME:
        return name
    return f"{plain[:LONGEST_NAME]}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _same(value: Any, default: Any) -> bool:
    return schema.fingerprint(v=value) == schema.fingerprint(v=default)


def _part(key: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return shell_text(value).replace(":", "+")
    return f"{key}={shell_text(value).replace(',', '+').replace(':', '+')}"


def results_of(sample: str, verb: str, field: str) -> Iterator[str]:
    """Yield the finished results of a verb about any version of a field, sorted by name."""
    for node in store.nodes(sample):
        record = store.node_attributes(sample, node)
        about = (record.get("kind"), record.get("status"), record.get("verb"))
        if about == ("dataset", "complete", verb) and field in record.get("inputs", {}):
            yield node
