"""The verb `measure`: partials of every block, kept in the sample, and their finalized sums."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property, partial

from tim3d.descriptors.base import Descriptor, Material, partials_of
from tim3d.descriptors.builtin import BUILTIN, is_known, select, settled, split_descriptors
from tim3d.descriptors.coupled import Descriptors
from tim3d.engine import Outline, Pass, Plan, lock_sample
from tim3d.errors import ArgumentError, MixedRunError
from tim3d.forecast import expected
from tim3d.grid import triple
from tim3d.lazy import xarray as xr
from tim3d.stages.measurement.whole import whole_making
from tim3d.stages.shared.draws import with_draws
from tim3d.stages.shared.field import DEFAULTS, Options
from tim3d.stages.shared.partials import (
    Inputs,
    counting_pass,
    finalize_whole,
    gather,
    inputs_of_all,
    material_of,
    no_results,
    reads_of,
    sources_of,
)
from tim3d.stages.shared.planes import plane_text
from tim3d.stages.shared.results import (
    ResultMaking,
    is_kept,
    plan_result,
    produce_result,
    run_passes,
)
from tim3d.stages.shared.stored_results import answers, joined
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import schema, store
from tim3d.storage.schema import Field

log = logging.getLogger(__name__)


@Verb
def measure(
    sample: str,
    descriptors: Descriptors | None = None,
    *,
    field: str = "phase",
    draws: bool = False,
    options: Options = DEFAULTS,
) -> Task[xr.Dataset]:
    """Measure the descriptors of a field: every block is read once, its partials are kept, and their sum is finalized.

    Descriptors of several fields read the same block of each of them. Quantities that couple all
    blocks (conductivity, tortuosity, percolation) are computed by `solve`, `geodesic` and `label`;
    their results are returned beside the others, and no voxel is read again. Coupled descriptors of
    your own are computed from whole fields.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    descriptors : iterable of str, Descriptor, Parametric or Coupled, optional
        Names of descriptors, those with parameters as correlation:lags=64 (default: all that have
        none; of one slice those of a plane). Also
        values of your own; by default
        what is there of the coupled ones too. A partial of your own that computes something else
        than before needs another name, or `overwrite`.
    field : str
        The label field. Any other, for descriptors of your own that read no labels.
    draws : bool
        Do the same for every draw of the field (`sample_labels`), which gives intervals.
    options : Options
        How it runs.

    Returns
    -------
    xarray.Dataset
        The descriptors asked for: variables with units, method and reference. The node
        ``FIELD_descriptors`` keeps them beside those that were measured before in the same blocks,
        and ``FIELD_partials`` their partials. Results of other verbs name the `conditions` that
        they hold under.

    Raises
    ------
    MissingFieldError
        If the field is missing, another one that a descriptor reads, or the results of the verb
        that computes a coupled descriptor; the message names the command.
    MixedRunError
        If a coupled descriptor was asked for that was computed from another version of the field,
        or the field was measured in other blocks.
    ArgumentError
        If a descriptor is not known or needs three dimensions where the field is one slice, or the
        field holds no labels.
    InputError
        If a voxel has a code that no phase names, or fields that a descriptor reads lie on
        different grids.
    """
    if draws:
        return with_draws(measure, locals())
    wanted = None if descriptors is None else list(descriptors)
    additive, coupled = split_descriptors(BUILTIN if wanted is None else wanted)
    measured = store.complete_field(sample, field, "segment")
    material = material_of(measured, reads_of(additive, coupled))
    chosen = settled(additive, material, measured.shape)
    chosen = _of_a_plane(sample, measured, chosen, asked=wanted is not None)
    around = partial(answers, sample, measured, material.phases)
    own = [one for one in coupled if one.whole is not None]
    makings = [whole_making(sample, measured, material, one) for one in own]
    measuring = Measuring(sample, measured, chosen, material, options) if chosen else None

    def plans() -> list[Plan | Outline]:
        additive = measuring.plans() if measuring else []
        return [*additive, *(one for making in makings for one in _plan_whole(making, options))]

    def results() -> xr.Dataset:
        # Missing inputs are reported before any work.
        beside = around(None if wanted is None else [one for one in coupled if one.whole is None])
        additive = measuring.results() if measuring else no_results(measured, material)
        for making in makings:
            produce_result(making, options)
        return joined([additive, *beside, *around(own)], measured)

    return Task(plans, results)


def _of_a_plane(
    sample: str, measured: Field, chosen: tuple[Descriptor, ...], *, asked: bool
) -> tuple[Descriptor, ...]:
    """Descriptors of a field; of one slice without those that need three dimensions."""
    beyond = [one.name for one in chosen if one.needs_volume]
    plane = plane_text(measured)
    if not plane or not beyond:
        return chosen
    said = f"{measured.name!r} of {sample} {plane}, and {', '.join(beyond)} need three dimensions"
    if measured.shape[0] == 1 and measured.phases:
        named = ",".join(f"{name}={code}" for name, code in measured.phases.items())
        export = f"tim3d export {sample} {measured.name} plane"
        said += f". Of the plane: {export}; tim3d measure-images plane --phases {named}"
    if asked:
        raise ArgumentError(said)
    log.warning("left out: %s", said)
    return tuple(one for one in chosen if not one.needs_volume)


def _plan_whole(making: ResultMaking, options: Options) -> list[Plan | Outline]:
    left = not is_kept(making, options)
    outline = Outline(making.node, "is computed from whole fields, in one process")
    return [*plan_result(making, options), *([outline] if left else [])]


@dataclass(frozen=True)
class Measuring:
    """Descriptors of a field, and where their partials and results are kept."""

    sample: str
    measured: Field
    chosen: tuple[Descriptor, ...]
    material: Material
    options: Options

    @cached_property
    def inputs(self) -> Inputs:
        """Field of every input."""
        return inputs_of_all(self.sample, self.measured, self.chosen)

    @property
    def sources(self) -> dict[str, str]:
        """Fingerprint of every field, the measured one first."""
        return sources_of(self.sample, self.measured, self.inputs)

    @property
    def nodes(self) -> tuple[str, str]:
        """Names of the nodes of the partials and of the results."""
        return f"{self.measured.name}_partials", f"{self.measured.name}_descriptors"

    def plans(self) -> list[Plan]:
        """Plan of the single pass; empty if all partials are stored."""
        counting = self.counting()
        if self._has_partials(counting):
            return []
        for node in self.nodes:
            beside = self._stored() is not None
            record = store.provenance(
                "", {"descriptors": self._names(beside)}, self._sources(beside)
            )
            store.expect_dataset(self.sample, node, record | {"verb": "measure"})
        return [counting.plan(afresh=self.options.overwrite)]

    def results(self) -> xr.Dataset:
        """Return the requested results, from partials computed now or stored before."""
        counting = self.counting()
        if not self._is_kept(counting):
            with lock_sample(self.sample):
                self._count(counting)
                self._finalize()
        return finalize_whole(
            store.open_dataset(self.sample, self.nodes[0]), self.chosen, self.material
        )

    def counting(self) -> Pass:
        """Pass that computes the partials of all blocks."""
        partials, stored = partials_of(self.chosen), self._stored()
        source, others = self.sources[self.measured.name], dict(list(self.sources.items())[1:])
        mark = schema.fingerprint(
            verb="measure", field=source, partials=sorted(p.name for p in partials),
            phases=dict(self.material.phases), **({"others": others} if others else {}),
        )  # fmt: skip
        return counting_pass(
            self.sample,
            self.measured,
            self.inputs,
            partials,
            self.material,
            name=self.nodes[0],
            fingerprint=mark,
            options=self.options,
            block=None if stored is None else triple(stored.attrs["block_shape"]),
        )

    def _stored(self) -> xr.Dataset | None:
        """Stored partials of these versions of the fields that are to be kept, or None."""
        record = store.node_attributes(self.sample, self.nodes[0])
        planned = expected("node", f"{self.sample}/{self.nodes[0]}")  # nothing to open yet
        if self.options.overwrite or planned or not self._is_current(self.nodes[0]):
            return None
        return (
            store.open_dataset(self.sample, self.nodes[0])
            if record.get("status") == "complete"
            else None
        )

    def _is_current(self, node: str) -> bool:
        """Whether a node was made from the present versions of the fields."""
        used = store.node_attributes(self.sample, node).get("inputs", {}).get(self.measured.name)
        return used == self.sources[self.measured.name] and not store.outdated(self.sample, node)

    def _has_partials(self, counting: Pass) -> bool:
        stored = self._stored()
        if stored is None or not {p.name for p in partials_of(self.chosen)} <= set(
            stored.data_vars
        ):
            return False
        _refuse_other_blocks(stored, counting, self.sample, self.measured.name)
        return True

    def _is_kept(self, counting: Pass) -> bool:
        """Whether both nodes exist and agree: a formula of the user may have changed."""
        if not self._has_partials(counting) or not self._is_current(self.nodes[1]):
            return False
        kept = store.open_dataset(self.sample, self.nodes[1])
        now = finalize_whole(
            store.open_dataset(self.sample, self.nodes[0]), self.chosen, self.material
        )
        return set(now.data_vars) <= set(kept.data_vars) and now.equals(kept[list(now.data_vars)])

    def _count(self, counting: Pass) -> None:
        """Compute partials of the chosen descriptors and merge them with the stored ones."""
        if self._has_partials(counting):
            return
        stored = self._stored()
        if stored is not None:
            _refuse_other_blocks(stored, counting, self.sample, self.measured.name)
        run_passes([counting], self.options)
        found = gather(counting)
        both = (
            found
            if stored is None
            else stored.drop_vars(found.data_vars, errors="ignore").merge(found)
        )
        beside = stored is not None
        self._write(self.nodes[0], both.assign_attrs(found.attrs), self._names(beside), beside)

    def _finalize(self) -> None:
        """Write results of the chosen descriptors and of built-in ones with stored partials."""
        partials = store.open_dataset(self.sample, self.nodes[0])
        names = self._names(True)
        own = {d.name: d for d in self.chosen}
        beside = select(name for name in names if name not in own and is_known(name))
        known = {d.name: d for d in settled(beside, self.material, self.measured.shape)} | own
        every = tuple(known[name] for name in names if name in known)
        found = finalize_whole(partials, every, self.material)
        self._write(self.nodes[1], self._with_foreign(found, names), names, True)

    def _with_foreign(self, found: xr.Dataset, names: list[str]) -> xr.Dataset:
        """Add stored results of user-defined descriptors that are not among the chosen ones."""
        record = store.node_attributes(self.sample, self.nodes[1])
        known = record.get("parameters", {}).get("descriptors", [])
        own = {d.name for d in self.chosen}
        foreign = [name for name in known if name not in own and not is_known(name)]
        if self.options.overwrite or not self._is_current(self.nodes[1]) or not foreign:
            return found
        before = store.open_dataset(self.sample, self.nodes[1])
        return found.merge(before.drop_vars(found.variables, errors="ignore"), join="left")

    def _names(self, beside: bool) -> list[str]:
        """Names of the descriptors with partials, in the order in which they were measured."""
        beside = beside and self._is_current(self.nodes[0])
        record = store.node_attributes(self.sample, self.nodes[0]) if beside else {}
        before = record.get("parameters", {}).get("descriptors", [])
        return list(dict.fromkeys([*before, *(d.name for d in self.chosen)]))

    def _sources(self, beside: bool) -> dict[str, str]:
        """Fingerprint of every field from which the chosen and the stored partials are computed."""
        record = store.node_attributes(self.sample, self.nodes[0]) if beside else {}
        return {**record.get("inputs", {}), **self.sources}

    def _write(self, node: str, dataset: xr.Dataset, names: list[str], beside: bool) -> None:
        sources = self._sources(beside)
        mark = schema.fingerprint(
            verb="measure", field=sources[self.measured.name], variables=sorted(map(str, dataset.data_vars)),
            phases=dict(self.material.phases), block=dataset.attrs.get("block_shape"),
            **({"inputs": sources} if len(sources) > 1 else {}),
        )  # fmt: skip
        record = store.provenance(mark, {"descriptors": names}, sources)
        store.write_dataset(self.sample, node, dataset, record | {"verb": "measure"})


def _refuse_other_blocks(stored: xr.Dataset, counting: Pass, sample: str, field: str) -> None:
    """Refuse to mix partials of different blocks."""
    before, now = triple(stored.attrs["block_shape"]), counting.grid.block
    if before != now:
        raise MixedRunError(
            f"{field!r} of {sample} was measured in blocks of {before} (now {now}). Use --block "
            f"{','.join(map(str, before))}, or measure all of it again in other blocks: add --overwrite"
        )
