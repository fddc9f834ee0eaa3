"""Corrections one after the other, as one function of slices; no field is written between them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tim3d.corrections.base import Correction, Greys, Stack
from tim3d.corrections.crop import Crop
from tim3d.errors import InputError

# Slices that go through the chain at a time: working memory is held for these only.
RUN = 16


@dataclass(frozen=True)
class Chain:
    """Corrections applied one after the other.

    Slices of the result are asked for; each correction says which slices of the one before it they
    need, down to the field that is read.

    Parameters
    ----------
    stack : Stack
        Field that the first correction is given.
    steps : tuple of Correction
        The corrections, in their order.
    """

    stack: Stack
    steps: tuple[Correction, ...]

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        """Field that is given to each correction, and the result."""
        found = [self.stack]
        for step in self.steps:
            found.append(step.made(found[-1]))
        return tuple(found)

    @property
    def made(self) -> Stack:
        """The result."""
        return self.stacks[-1]

    def then(self, step: Correction) -> Chain:
        """Chain with one correction more, which must fit; raises `ArgumentError` as its `check` does."""
        step.check(self.made)
        return Chain(self.stack, (*self.steps, step))

    def ranges(self, wanted: range) -> list[range]:
        """Slices that are needed before each correction, and the slices of the result."""
        found = [wanted]
        for step, stack in zip(reversed(self.steps), reversed(self.stacks[:-1]), strict=True):
            found.append(step.reads(stack, found[-1]))
        return found[::-1]

    def reads(self, wanted: range) -> range:
        """Slices of the field that slices of the result are made from."""
        return self.ranges(wanted)[0]

    def correct(self, grey: Greys, given: range, wanted: range) -> Greys:
        """Slices of the result from slices of the field, `RUN` or more at a time.

        Parameters
        ----------
        grey : array (slices, y, x)
            Slices of the field: `reads` of the wanted ones, or more.
        given, wanted : range
            Numbers of these slices, and of those of the result.
        """
        out = np.empty((len(wanted), *self.made.shape[1:]), self.made.dtype)
        for part in self._runs(wanted):
            needed = self.reads(part)
            inner = grey[needed.start - given.start : needed.stop - given.start]
            *_, last = self.stages(inner, part)
            out[part.start - wanted.start : part.stop - wanted.start] = last
        return out

    def stages(self, grey: Greys, wanted: range) -> Iterator[Greys]:
        """Grey values before the first and after each correction, of slices that are wanted last.

        `grey` holds exactly the slices that they are made from.
        """
        ranges = self.ranges(wanted)
        yield grey
        for number, step in enumerate(self.steps):
            stack, given, own = self.stacks[number], ranges[number], ranges[number + 1]
            grey = step.region(stack, grey, given, own)
            _refuse_other(
                step,
                grey,
                (len(own), *self.stacks[number + 1].shape[1:]),
                self.stacks[number + 1].dtype,
            )
            yield grey

    @cached_property
    def stored(self) -> Chain:
        """The crops that come first: slices as they were stored, without what is not looked at."""
        crops = itertools.takewhile(lambda step: isinstance(step, Crop), self.steps)
        return Chain(self.stack, tuple(crops))

    def places(self, z: int) -> list[int]:
        """Slice before each step that slice z of the result shows, and z; of several the middle one."""
        found = [z]
        for step, stack in zip(reversed(self.steps), reversed(self.stacks[:-1]), strict=True):
            needed = step.reads(stack, range(found[-1], found[-1] + 1))
            same = type(step).reads is Correction.reads
            found.append(found[-1] if same else needed[len(needed) // 2])
        return found[::-1]

    def peak_bytes(self, slices: int) -> int:
        """Bytes held while that many slices of the result are made from slices in memory.

        What is read and the result are not among them.
        """
        return max((self._held(part) for part in self._widest(slices)), default=0)

    def _runs(self, wanted: range) -> Iterator[range]:
        thick = self.run_slices
        for start in range(wanted.start, wanted.stop, thick):
            yield range(start, min(start + thick, wanted.stop))

    @cached_property
    def run_slices(self) -> int:
        """Slices at a time: more where corrections look beyond their slice, to repeat less."""
        middle = self.made.shape[0] // 2
        extra = len(self.reads(range(middle, middle + 1))) - 1
        return max(RUN, 2 * extra)

    def _widest(self, slices: int) -> list[range]:
        thick = min(slices, self.run_slices, self.made.shape[0])
        middle = (self.made.shape[0] - thick) // 2
        return [range(start, start + thick) for start in {0, middle, self.made.shape[0] - thick}]

    def _held(self, wanted: range) -> int:
        ranges, held = self.ranges(wanted), 0
        for number, step in enumerate(self.steps):
            before, after = self.stacks[number], self.stacks[number + 1]
            given, own = len(ranges[number]), len(ranges[number + 1])
            inputs = 0 if number == 0 else before.bytes_of(given)
            working = step.working_bytes((given, *before.shape[1:]))
            held = max(held, inputs + working + 2 * after.bytes_of(own))
        return held


def _refuse_other(step: Correction, grey: Greys, shape: tuple[int, ...], dtype: str) -> None:
    """Refuse what a correction of one's own should not return."""
    if grey.shape != shape or grey.dtype != dtype:
        raise InputError(
            f"correction {step.kind!r} returned {grey.dtype} of shape {grey.shape}; expected {dtype} of shape {shape}"
        )
    if grey.dtype.kind == "f" and not np.isfinite(grey).all():
        raise InputError(f"correction {step.kind!r} returned values that are not finite")
