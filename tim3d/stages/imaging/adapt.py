"""The verb `adapt`: grey values made more like those of another stack, by what both have as a whole."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tim3d.engine import Outline, Plan
from tim3d.errors import ArgumentError
from tim3d.grid import Block, Grid, Triple
from tim3d.lazy import xarray as xr
from tim3d.stages.imaging.adaptations import (
    KINDS,
    Adaptation,
    ByHistogram,
    BySpectrum,
    Change,
    Stack,
    check_alike,
)
from tim3d.stages.shared.field import (
    DEFAULTS,
    Making,
    Options,
    many_shards,
    plan_field,
    produce,
    whole_shards,
)
from tim3d.stages.shared.slice_statistics import keep_sums, sums_of_slices
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import store
from tim3d.storage.files import absolute
from tim3d.storage.schema import Field


@Verb
def adapt(
    sample: str,
    like: str | Path,
    *,
    to: str,
    field: str = "raw",
    like_field: str = "raw",
    out: str = "adapted",
    window: int | None = None,
    share: float | None = None,
    seed: int = 0,
    options: Options = DEFAULTS,
) -> Task[xr.DataArray]:
    """Give a grey field the histogram or the spectrum of another stack; no voxel depends on the blocks.

    One call is one step: further steps read the field of the one before. Interfaces stay where they
    are, as each grey value is a function of its own, or of its neighbours by an even filter.

    Parameters
    ----------
    sample : str
        Path or URL of the sample whose grey values are adapted, such as rendered ones.
    like : str
        Sample with the stack that they should resemble; no label of it is read.
    to : {"histogram", "spectrum"}
        What is taken from it: the histogram of the whole stack, exactly but for chance; or the mean
        amplitudes of spatial frequencies in the slice, by windows of the parts that `fit-imaging`
        looks at.
    field, like_field : str
        The grey fields, of one type and pixel size.
    out : str
        Name of the new field.
    window : int, optional
        Of a spectrum: edge of its windows in pixels (default: 32). A pixel depends on those up to half
        of it away.
    share : float, optional
        Of a spectrum: frequencies that are adapted, as a share of the highest of an axis (default: 1,
        all). Low ones belong to the structure where that is not like the material.
    seed : int
        Of a histogram: number from which follows which voxels of one grey value become which.
    options : Options
        How it runs.

    Returns
    -------
    xarray.DataArray
        The grey values, lazily.

    Raises
    ------
    MissingFieldError
        If a grey field is missing.
    ArgumentError
        If a field does not hold grey values of 8 or 16 bits, both differ in type or pixel size, or a
        number is out of range or not one of the step.
    InputError
        If slices are smaller than a window.

    References
    ----------
    Exact histograms: Coltuc et al., DOI 10.1109/TIP.2005.864170. Amplitudes of Fourier: Yang, Soatto,
    CVPR (2020) 4085, DOI 10.1109/CVPR42600.2020.00414
    """
    source = Stack(sample, store.complete_field(sample, field, "render"))
    target = Stack(str(like), store.complete_field(str(like), like_field))
    check_alike(source, target)
    adaptation = _adaptation(to, window, share, seed)
    adaptation.check(source, target)
    adapting = Adapting(source, target, adaptation, out, options)
    return Task(adapting.plans, adapting.run)


def _adaptation(to: str, window: int | None, share: float | None, seed: int) -> Adaptation:
    if to not in KINDS:
        raise ArgumentError(f"nothing is adapted to a {to!r}: --to {' or --to '.join(KINDS)}")
    of_spectrum = {k: v for k, v in {"window": window, "share": share}.items() if v is not None}
    if to == "histogram" and of_spectrum:
        name = next(iter(of_spectrum))
        raise ArgumentError(f"a histogram has no {name}: leave out --{name}, or --to spectrum")
    if to == "spectrum" and seed:
        raise ArgumentError("nothing about a spectrum is random: leave out --seed")
    return ByHistogram(seed) if to == "histogram" else BySpectrum(**of_spectrum)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Adapting:
    """A field that is made of one stack after another."""

    source: Stack
    target: Stack
    adaptation: Adaptation
    out: str
    options: Options

    def plans(self) -> list[Plan | Outline]:
        """Plans of what is learnt from whole stacks, and of the pass that writes the field."""
        writing = plan_field(self.source.sample, self._making(None), self.options)
        learning = self._learning
        counting = self.adaptation.plans(self.source, self.target, learning) if writing else []
        return [*counting, *writing]

    def run(self) -> xr.DataArray:
        """Learn, then write the field."""
        plans = self.plans()
        for plan in plans:
            plan.check()
        change = self.adaptation.learnt(self.source, self.target, self._learning) if plans else None
        making = self._making(change)
        grid = Grid(
            making.field.shape, whole_shards(self.options.block or making.block, making.field)
        )
        return produce(
            self.source.sample, making, self.options,
            lambda ledger: keep_sums(self.source.sample, making.field, ledger, grid, "adapt"),
        )  # fmt: skip

    @property
    def _learning(self) -> Options:
        """Histograms that are kept are never counted again: they follow from their fields alone."""
        return replace(self.options, overwrite=False)

    def _making(self, change: Change | None) -> Making:
        before, like = self.source.grey, self.target.grey.name
        used = {like: store.fingerprint_of(self.target.sample, like)}
        made = Field(
            self.out, before.shape, before.dtype, before.spacing_nm, before.chunk, before.shard,
            long_name="adapted grey value",
        )  # fmt: skip
        work = AdaptWork(
            self.source.sample, before.name, self.out, self.adaptation, change, self.options.durable
        )
        return Making(
            verb="adapt",
            field=made,
            work=work,
            block=many_shards(made),
            inputs={
                before.name: store.fingerprint_of(self.source.sample, before.name),
                "volumes": {absolute(self.target.sample): used},
            },
            parameters={"to": self.adaptation.kind, **self.adaptation.parameters()},
            halo=self.adaptation.halo,
            read_bytes=float(np.dtype(before.dtype).itemsize),
        )


@dataclass(frozen=True)
class AdaptWork:
    """Block work: reads grey values around a block, writes adapted ones."""

    sample: str
    source: str
    out: str
    adaptation: Adaptation
    change: Change | None
    durable: bool

    def read(self, block: Block) -> np.ndarray:
        """Read the grey values around the block."""
        return store.read_box(store.field_array(self.sample, self.source), block.read)

    def compute(self, block: Block, inputs: np.ndarray) -> np.ndarray:
        """Adapted grey values of the core."""
        assert self.change is not None
        return self.change(inputs, block.read, block.core)

    def write(self, block: Block, outputs: np.ndarray) -> dict[str, Any]:
        """Write whole shards, and return sums over the slices."""
        store.write_block(self.sample, self.out, block.core, outputs, durable=self.durable)
        return {"slices": sums_of_slices(outputs)}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of the grey values, before twice and after three times, and of what the step needs."""
        grey = 4 * math.prod(read) + 6 * math.prod(core)
        return grey + 16 * core[1] * core[2] + self.adaptation.block_bytes(core, read)
