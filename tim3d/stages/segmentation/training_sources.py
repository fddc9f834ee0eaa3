"""Labelled slices of one sample or several: those that a network learns from, and those that judge it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tim3d.errors import ArgumentError
from tim3d.grid import Box
from tim3d.kernels.windows.lattice import reflect
from tim3d.models.segmentation.checkpoint import Normalisation
from tim3d.models.segmentation.crops import UNLABELLED, Slices, last_of, prepare, together
from tim3d.models.segmentation.crops_3d import Stack, Stacks, prepare_stack, split_stack
from tim3d.models.segmentation.families import NetworkSpec
from tim3d.models.segmentation.training_record import Learnt
from tim3d.models.segmentation.unet import UNetSpec
from tim3d.phases import Phases
from tim3d.stages.segmentation.normalisation import normalisation_of
from tim3d.stages.shared.agreement import UNLABELLED as NO_TRUTH
from tim3d.stages.shared.learnt_labels import made_from
from tim3d.storage import store
from tim3d.storage.advice import other_stack
from tim3d.storage.schema import Field

# Relative difference of the edges of voxels up to which samples teach one network.
SPACING_TOLERANCE = 0.1
Numbers = tuple[int, ...]


@dataclass(frozen=True)
class Source:
    """Slices of a sample with labels: those to learn from and those that judge, by number.

    No slice is both. Of the judging slices a share is taken if no source has any.
    """

    sample: str
    grey: Field
    labelled: Field
    learnt: Numbers
    judging: Numbers = ()

    @property
    def classes(self) -> dict[str, int]:
        """Code of each class to learn."""
        if self.grey.labels or self.labelled.phases is None:
            raise ArgumentError(
                f"train needs a grey field and a label field, not {self.grey.name!r} and {self.labelled.name!r}"
            )
        if self.grey.shape != self.labelled.shape:
            raise ArgumentError(
                other_stack(
                    self.grey.name, self.grey.shape, self.labelled.name, self.labelled.shape
                )
            )
        return _learnt(self.labelled.phases)

    def images(self, numbers: Sequence[int], context: int) -> np.ndarray:
        """Grey values (n, channels, y, x): slices with neighbours, mirrored at the volume's ends."""
        return read_images(self.sample, self.grey, numbers, context)

    def labels(self, numbers: Sequence[int], classes: Sequence[str]) -> np.ndarray:
        """Index of the class of each pixel of slices, `UNLABELLED` where there is none."""
        table = np.full(256, UNLABELLED, np.uint8)
        for place, name in enumerate(classes):
            table[self.classes[name]] = place
        return np.asarray(table[_read_slices(self.sample, self.labelled, numbers)])

    def scale(self, how: str) -> Normalisation:
        """Normalisation of its own grey values."""
        return normalisation_of(self.sample, self.grey, how)

    def record(self, learnt: Sequence[int]) -> Learnt:
        """Slices of it that were learnt from and that judged, for the model; no path."""
        return Learnt(
            store.fingerprint_of(self.sample, self.grey.name),
            made_from(self.sample, self.labelled.name),
            tuple(learnt),
            self.judging,
        )


@dataclass(frozen=True)
class Asked:
    """Slices as the arguments name them."""

    field: str
    labels: str
    slices: slice
    every: int
    also: Mapping[str, slice]
    validate: Mapping[str, slice]

    def sources(self, sample: str, fraction: float) -> tuple[Source, ...]:
        """The sources, that of the sample itself first.

        Raises
        ------
        ArgumentError
            If a slice would be learnt from and judge, a sample is named twice, or classes or voxels
            of the samples differ.
        MissingFieldError
            If a field is missing.
        """
        if sample in self.also:
            raise ArgumentError(
                f"--also names {sample}, which is learnt from anyway: choose its slices with --slices"
            )
        judged = {name or sample: chosen for name, chosen in self.validate.items()}
        found = [
            self._source(name, chosen, judged.get(name))
            for name, chosen in {sample: self.slices, **self.also}.items()
        ]
        found += [
            self._source(name, None, chosen)
            for name, chosen in judged.items()
            if name != sample and name not in self.also
        ]
        _check_alike(found)
        _refuse_copies(found)
        return _held_last(found, fraction) if len(found) > 1 else tuple(found)

    def _source(self, sample: str, chosen: slice | None, judged: slice | None) -> Source:
        grey = store.complete_field(sample, self.field)
        verb = "annotate" if self.labels == "annotation" else "labels"
        labelled = store.complete_field(sample, self.labels, verb)
        every = range(grey.shape[0])
        learnt = [] if chosen is None or self.every < 1 else list(every[chosen])[:: self.every]
        judging = [] if judged is None else list(every[judged])
        if judged is not None and not judging:
            raise ArgumentError(
                f"--validate {_text(judged)} names none of the {grey.shape[0]} slices of {sample}: --validate "
                f"{grey.shape[0] * 4 // 5}:{grey.shape[0]}"
            )
        both = sorted(set(learnt) & set(judging))
        if both and chosen is not None and chosen != slice(None):
            raise ArgumentError(_overlap(both, sample))
        return Source(
            sample, grey, labelled, tuple(z for z in learnt if z not in set(both)), tuple(judging)
        )


def folded(sources: Sequence[Source], folds: int) -> Iterator[tuple[Source, ...]]:
    """Yield the sources of each fold: one run of consecutive slices judges, all others are learnt from.

    Slices that judge anyway are in no fold.

    Raises
    ------
    ArgumentError
        If there are fewer slices than folds.
    """
    every = [(n, z) for n, one in enumerate(sources) for z in one.learnt]
    if folds == 1 or not 0 <= folds <= len(every):
        raise ArgumentError(
            f"--folds {folds} needs from 2 to {len(every)}, the number of slices to learn from"
        )
    for run in np.array_split(np.arange(len(every)), folds) if folds else ():
        held = {every[place] for place in run.tolist()}
        yield _holding(sources, held)


def _holding(sources: Sequence[Source], held: set[tuple[int, int]]) -> tuple[Source, ...]:
    """The sources with these slices, by number of the source and of the slice, as the judging ones."""
    return tuple(
        replace(
            one,
            learnt=tuple(z for z in one.learnt if (n, z) not in held),
            judging=tuple(z for z in one.learnt if (n, z) in held),
        )
        for n, one in enumerate(sources)
    )


def _held_last(sources: Sequence[Source], fraction: float) -> tuple[Source, ...]:
    """The sources; if no slice was named to judge, the last ones of all do."""
    if any(one.judging for one in sources):
        return tuple(sources)
    every = [(n, z) for n, one in enumerate(sources) for z in one.learnt]
    return _holding(sources, set(every[-last_of(len(every), fraction) :]) if every else set())


def _overlap(both: Sequence[int], sample: str) -> str:
    return (
        f"slices {both[0]} to {both[-1]} of {sample} would be learnt from and judge: a score on them would be too "
        "good. Take them out of --slices or of --validate"
    )


def _refuse_copies(sources: Sequence[Source]) -> None:
    """Refuse the same slices in two samples, one of which is a copy of the other."""
    for place, one in enumerate(sources):
        for other in sources[:place]:
            print_ = store.fingerprint_of(one.sample, one.grey.name)
            if not print_ or print_ != store.fingerprint_of(other.sample, other.grey.name):
                continue
            both = {*one.learnt, *one.judging} & {*other.learnt, *other.judging}
            if both:
                raise ArgumentError(
                    f"{other.sample} and {one.sample} hold the same grey values, and slices {min(both)} to {max(both)} "
                    "are taken of both: leave one of them out"
                )


def _check_alike(sources: Sequence[Source]) -> None:
    """Refuse samples of other classes, or of voxels of another size."""
    first = sources[0]
    for one in sources:
        if set(one.classes) != set(first.classes):
            raise ArgumentError(
                f"{one.labelled.name!r} of {one.sample} has the phases {', '.join(one.classes)}, that of "
                f"{first.sample} {', '.join(first.classes)}: they must be the same to teach one network"
            )
        apart = [
            abs(math.log(a / b))
            for a, b in zip(one.grey.spacing_nm, first.grey.spacing_nm, strict=True)
        ]
        if max(apart) > SPACING_TOLERANCE:
            raise ArgumentError(
                f"voxels of {one.sample} are {_edges(one)} nm and of {first.sample} {_edges(first)} nm (z, y, x): "
                "a network learns from one size. Bring them to one grid first (tim3d prepare), or train apart"
            )


def _edges(one: Source) -> str:
    return " x ".join(f"{edge:g}" for edge in one.grey.spacing_nm)


def _text(chosen: slice) -> str:
    return ":".join("" if end is None else str(end) for end in (chosen.start, chosen.stop))


def _learnt(phases: Phases) -> dict[str, int]:
    return {name: code for name, code in phases.items() if name != NO_TRUTH}


def slices_of(sources: Sequence[Source], spec: UNetSpec, how: str) -> Slices:
    """Slices of all sources in one array, each normalised as its own sample; the judging ones last."""
    parts = [
        prepare(one.images(numbers, spec.context), one.labels(numbers, spec.classes), spec, one.scale(how), numbers)[0]
        for numbers_of in ("learnt", "judging")
        for one in sources
        if (numbers := getattr(one, numbers_of))
    ]  # fmt: skip
    return together(parts, sum(len(one.judging) for one in sources))


def stacks_of(sources: Sequence[Source], spec: NetworkSpec, how: str) -> Stack | Stacks:
    """Stacks from the first to the last slice of each source; those left out have no label."""
    learnt = tuple(_stack(one, one.learnt, spec, how) for one in sources if one.learnt)
    judging = tuple(_stack(one, one.judging, spec, how) for one in sources if one.judging)
    return Stacks(learnt, judging) if judging else learnt[0]


def _stack(one: Source, numbers: Numbers, spec: NetworkSpec, how: str) -> Stack:
    first, last = min(numbers), max(numbers)
    every = list(range(first, last + 1))
    truth = one.labels(every, spec.classes)
    truth[np.setdiff1d(np.arange(len(every)), np.asarray(numbers) - first)] = UNLABELLED
    images = _read_slices(one.sample, one.grey, every)
    return prepare_stack(images, truth, len(spec.classes), one.scale(how), first)


def records(
    sources: Sequence[Source], data: Slices | Stack | Stacks, fraction: float
) -> list[Learnt]:
    """Return what was learnt from, for the model: slices with a label that do not judge."""
    if isinstance(data, Stack):
        data = split_stack(data, fraction)
    if isinstance(data, Stacks):
        own = [one for one in sources if one.learnt]
        found = {
            id(one): (stack.labelled + min(one.learnt)).tolist()
            for one, stack in zip(own, data.learnt, strict=True)
        }
        return [one.record(found.get(id(one), [])) for one in sources]
    seen = len(data) - (data.held_out or last_of(len(data), fraction))
    known = (data.labels[:seen] != UNLABELLED).any(axis=(1, 2))
    made, place = [], 0
    for one in sources:
        own_known = known[place : place + len(one.learnt)]
        place += len(one.learnt)
        made.append(one.record([z for z, has in zip(one.learnt, own_known, strict=False) if has]))
    return made


def bytes_of(sources: Sequence[Source], spec: NetworkSpec) -> int:
    """Slices with their neighbours and their labels, twice: as they are read, and in one array."""
    voxel = max(one.grey.voxel_bytes for one in sources)
    rows, columns = (max(one.grey.shape[axis] for one in sources) for axis in (1, 2))
    if isinstance(spec, UNetSpec):
        count = sum(len(one.learnt) + len(one.judging) for one in sources)
        return 2 * count * rows * columns * (spec.in_channels * voxel + 1)
    spans = [n for one in sources for n in (one.learnt, one.judging) if n]
    return 2 * sum(max(n) - min(n) + 1 for n in spans) * rows * columns * (voxel + 1)


def read_images(sample: str, grey: Field, numbers: Sequence[int], context: int) -> np.ndarray:
    """Grey values (n, channels, y, x): slices with neighbours, mirrored at the volume's ends."""
    around = reflect(np.asarray(numbers)[:, None] + np.arange(-context, context + 1), grey.shape[0])
    needed = sorted(set(around.ravel().tolist()))
    planes = _read_slices(sample, grey, needed)
    return np.asarray(planes[np.searchsorted(needed, around)])


def _read_slices(sample: str, field: Field, numbers: Sequence[int]) -> np.ndarray:
    """Read slices by number, each shard once."""
    array, out = (
        store.field_array(sample, field.name),
        np.empty((len(numbers), *field.shape[1:]), field.dtype),
    )
    chosen = np.asarray(numbers)
    for start in range(0, field.shape[0], field.shard[0]):
        rows = np.flatnonzero((chosen >= start) & (chosen < start + field.shard[0]))
        if rows.size:
            low, high = int(chosen[rows].min()), int(chosen[rows].max()) + 1
            run = store.read_box(array, Box((low, 0, 0), (high, *field.shape[1:])))
            out[rows] = run[chosen[rows] - low]
    return out
