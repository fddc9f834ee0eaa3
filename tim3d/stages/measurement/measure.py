"""The verb `measure`: partials of every block, kept in the sample, and what they add up to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import xarray as xr

from tim3d.descriptors.base import Descriptor, Material, halo_of, partials_of
from tim3d.descriptors.builtin import BUILTIN, split_descriptors
from tim3d.descriptors.coupled import Descriptors
from tim3d.engine import Pass, Plan, lock_sample
from tim3d.errors import MixedRunError
from tim3d.forecast import expected
from tim3d.grid import triple
from tim3d.stages.shared.field import DEFAULTS, Options
from tim3d.stages.shared.partials import PartialsKernel, finalize_whole, gather, material_of, no_results
from tim3d.stages.shared.reduction import reduction_pass
from tim3d.stages.shared.results import run_passes
from tim3d.stages.shared.stored_results import answers, joined
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import schema, store
from tim3d.storage.schema import Field

# Bound on what the kernels hold beside the labels, in bytes per voxel (benchmarks/RESULTS.md, "A gigavoxel").
KERNEL_BYTES = 2.0


@Verb
def measure(
    sample: str,
    descriptors: Descriptors | None = None,
    *,
    field: str = "phase",
    options: Options = DEFAULTS,
) -> Task[xr.Dataset]:
    """Measure a label field: every block is read once, its partials are kept, and their sum is finalized.

    What couples all blocks (conductivity, tortuosity, percolation) is not computed here: `solve`, `geodesic` and
    `label` do, and their results stand beside the others without a voxel read again.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    descriptors : iterable of str, Descriptor or Coupled, optional
        Names of descriptors (default: all that are built in). Also values of your own; by default what is there of the
        coupled ones too. A partial of your own that computes something else than before needs another name, or
        `overwrite`.
    field : str
        The label field.
    options : Options
        How it runs.

    Returns
    -------
    xarray.Dataset
        The descriptors asked for: variables with units, method and reference. The node ``FIELD_descriptors`` keeps
        them beside those that were measured before in the same blocks, and ``FIELD_partials`` their partials. Results
        of other verbs name the `conditions` that they hold under.

    Raises
    ------
    MissingFieldError
        If the field is missing, or the results of the verb that computes a coupled descriptor.
    MixedRunError
        If a coupled descriptor was asked for that was computed from another version of the field, or the field was
        measured in other blocks.
    ArgumentError
        If a descriptor is not known, or the field holds no labels.
    InputError
        If a voxel has a code that no phase names.
    """
    wanted = None if descriptors is None else list(descriptors)
    chosen, coupled = split_descriptors(BUILTIN if wanted is None else wanted)
    labels = store.complete_field(sample, field, "segment")
    material = material_of(labels)
    around = partial(answers, sample, labels, material.phases, None if wanted is None else coupled)
    if not chosen:
        return Task(list, lambda: joined([no_results(labels), *around()], labels))
    measuring = Measuring(sample, labels, chosen, material, options)

    def measured() -> xr.Dataset:
        beside = around()  # what is missing is refused before any work
        return joined([measuring.results(), *beside], labels)

    return Task(measuring.plans, measured)


@dataclass(frozen=True)
class Measuring:
    """Descriptors of a label field, and where their partials and results are kept."""

    sample: str
    labels: Field
    chosen: tuple[Descriptor, ...]
    material: Material
    options: Options

    @property
    def nodes(self) -> tuple[str, str]:
        """Of the partials, and of the results."""
        return f"{self.labels.name}_partials", f"{self.labels.name}_descriptors"

    @property
    def source(self) -> str:
        """Fingerprint of the labels."""
        return store.fingerprint_of(self.sample, self.labels.name)

    def plans(self) -> list[Plan]:
        """The one pass, unless all partials are there."""
        counting = self.counting()
        if self._has_partials(counting):
            return []
        for node in self.nodes:
            names = self._names(self._stored() is not None)
            record = store.provenance("", {"descriptors": names}, {self.labels.name: self.source})
            store.expect_dataset(self.sample, node, record | {"verb": "measure"})
        return [counting.plan(afresh=self.options.overwrite)]

    def results(self) -> xr.Dataset:
        """What was asked for, from partials that are there now or were before."""
        counting = self.counting()
        if not self._is_kept(counting):
            with lock_sample(self.sample):
                self._count(counting)
                self._finalize()
        return finalize_whole(store.open_dataset(self.sample, self.nodes[0]), self.chosen, self.material)

    def counting(self) -> Pass:
        """The pass that finds the partials of all blocks."""
        names, stored = sorted(p.name for p in partials_of(self.chosen)), self._stored()
        return reduction_pass(
            self.sample,
            (self.labels,),
            PartialsKernel(self.chosen, self.material),
            name=self.nodes[0],
            fingerprint=schema.fingerprint(
                verb="measure", field=self.source, partials=names, phases=dict(self.material.phases)
            ),
            options=self.options,
            halo=halo_of(self.chosen),
            kernel_bytes=KERNEL_BYTES,
            block=None if stored is None else triple(stored.attrs["block_shape"]),
        )

    def _stored(self) -> xr.Dataset | None:
        """Partials of this version of the field that are to be kept, if there are some."""
        record = store.node_attributes(self.sample, self.nodes[0])
        current = record.get("inputs", {}).get(self.labels.name) == self.source
        planned = expected("node", f"{self.sample}/{self.nodes[0]}")  # nothing to open yet
        if self.options.overwrite or planned or record.get("status") != "complete" or not current:
            return None
        return store.open_dataset(self.sample, self.nodes[0])

    def _has_partials(self, counting: Pass) -> bool:
        stored = self._stored()
        if stored is None or not {p.name for p in partials_of(self.chosen)} <= set(stored.data_vars):
            return False
        _refuse_other_blocks(stored, counting, self.sample, self.labels.name)
        return True

    def _is_kept(self, counting: Pass) -> bool:
        """Whether both nodes are there and agree: a formula of one's own may have changed."""
        record = store.node_attributes(self.sample, self.nodes[1])
        if not self._has_partials(counting) or record.get("inputs", {}).get(self.labels.name) != self.source:
            return False
        kept = store.open_dataset(self.sample, self.nodes[1])
        now = finalize_whole(store.open_dataset(self.sample, self.nodes[0]), self.chosen, self.material)
        return set(now.data_vars) <= set(kept.data_vars) and now.equals(kept[list(now.data_vars)])

    def _count(self, counting: Pass) -> None:
        """Partials of the chosen descriptors, beside those that are there."""
        if self._has_partials(counting):
            return
        stored = self._stored()
        if stored is not None:
            _refuse_other_blocks(stored, counting, self.sample, self.labels.name)
        run_passes([counting], self.options)
        found = gather(counting, partials_of(self.chosen), self.material)
        both = found if stored is None else stored.drop_vars(found.data_vars, errors="ignore").merge(found)
        self._write(self.nodes[0], both.assign_attrs(found.attrs), self._names(stored is not None))

    def _finalize(self) -> None:
        """Results of the chosen descriptors, beside those of the built-in ones whose partials are there."""
        partials = store.open_dataset(self.sample, self.nodes[0])
        names = self._names(True)
        own = {d.name: d for d in self.chosen}
        every = tuple(own.get(name) or BUILTIN[name] for name in names if name in own or name in BUILTIN)
        found = finalize_whole(partials, every, self.material)
        self._write(self.nodes[1], self._with_foreign(found, names), names)

    def _with_foreign(self, found: xr.Dataset, names: list[str]) -> xr.Dataset:
        """Beside them, results of descriptors of a user's own that were measured before and are not at hand now."""
        record = store.node_attributes(self.sample, self.nodes[1])
        known = record.get("parameters", {}).get("descriptors", [])
        current = record.get("inputs", {}).get(self.labels.name) == self.source
        if self.options.overwrite or not current or set(known) <= {*BUILTIN, *(d.name for d in self.chosen)}:
            return found
        before = store.open_dataset(self.sample, self.nodes[1])
        return found.merge(before.drop_vars(found.variables, errors="ignore"), join="left")

    def _names(self, beside: bool) -> list[str]:
        """Descriptors whose partials are there, in the order in which they were measured."""
        record = store.node_attributes(self.sample, self.nodes[0]) if beside else {}
        current = record.get("inputs", {}).get(self.labels.name) == self.source
        before = record.get("parameters", {}).get("descriptors", []) if current else []
        return list(dict.fromkeys([*before, *(d.name for d in self.chosen)]))

    def _write(self, node: str, dataset: xr.Dataset, names: list[str]) -> None:
        mark = schema.fingerprint(
            verb="measure", field=self.source, variables=sorted(map(str, dataset.data_vars)),
            phases=dict(self.material.phases), block=dataset.attrs.get("block_shape"),
        )  # fmt: skip
        record = store.provenance(mark, {"descriptors": names}, {self.labels.name: self.source})
        store.write_dataset(self.sample, node, dataset, record | {"verb": "measure"})


def _refuse_other_blocks(stored: xr.Dataset, counting: Pass, sample: str, field: str) -> None:
    """Refuse to mix partials of different blocks."""
    before, now = triple(stored.attrs["block_shape"]), counting.grid.block
    if before != now:
        raise MixedRunError(
            f"{field!r} of {sample} was measured in blocks of {before} (now {now}). Use --block "
            f"{','.join(map(str, before))}, or measure all of it again in other blocks: add --overwrite"
        )
