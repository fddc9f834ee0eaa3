"""The verb `render`: labels as a microscope would show them, block by block."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tim3d.errors import ArgumentError
from tim3d.forecast import expected
from tim3d.grid import Block, Grid, Triple
from tim3d.kernels.generation.philox import Noise
from tim3d.kernels.image.imaging_model import Imaging
from tim3d.kernels.image.imaging_model import render as rendered
from tim3d.lazy import xarray as xr
from tim3d.stages.imaging.imaging_file import read_imaging
from tim3d.stages.shared.awaited import plan_awaiting
from tim3d.stages.shared.field import (
    DEFAULTS,
    Finish,
    Making,
    Options,
    field_task,
    many_shards,
    produce,
    whole_shards,
)
from tim3d.stages.shared.slice_statistics import keep_sums, sums_of_slices
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import store
from tim3d.storage.schema import Field, Spacing

# Bytes a voxel of what is read: signal, its blur, its rims, what is behind, and the depth; and of the core: brightness
# and noise.
READ_BYTES, CORE_BYTES = 25, 20


@Verb
def render(
    sample: str,
    model: str | Path,
    *,
    field: str = "phase",
    out: str = "raw",
    seed: int = 0,
    vary: float = 0.0,
    options: Options = DEFAULTS,
) -> Task[xr.DataArray]:
    """Render labels as grey values by an imaging model; no voxel depends on the blocks.

    With the labels as truth, the grey values teach a network that has seen no label of a real stack.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    model : path
        Imaging model that `tim3d fit-imaging` wrote.
    field : str
        The label field, whose phases are those of the model.
    out : str
        Name of the grey field.
    seed : int
        Number from which noise, stripes, drift and the variation follow.
    vary : float
        Share by which the numbers of the model are varied at random, 0 to 1: 0.3 multiplies each by 0.77
        to 1.3, and moves levels by up to 0.075 of their contrast.
    options : Options
        How it runs.

    Returns
    -------
    xarray.DataArray
        The grey values, lazily. The numbers that were used are among the node's parameters.

    Raises
    ------
    MissingFieldError
        If the labels are missing.
    InputError
        If `model` is not an imaging model.
    ArgumentError
        If the phases differ, or a number is out of range.
    """
    labels = store.complete_field(sample, field, "generate")
    Noise(seed)  # raises if the seed is out of range
    asked = Asked(sample, labels, str(model), out, seed, vary, options)
    if (planned := expected("file", str(model))) is None:
        making = asked.making(read_imaging(model))
        return field_task(sample, making, options, asked.keep(making))
    return Task(
        lambda: plan_awaiting(sample, asked.making(planned), options, str(model)),
        lambda: asked.produce(asked.making(read_imaging(model))),
    )


@dataclass(frozen=True)
class Asked:
    """The arguments of `render`, and the labels."""

    sample: str
    labels: Field
    path: str
    out: str
    seed: int
    vary: float
    options: Options

    def keep(self, making: Making) -> Finish:
        """Function that writes the table of slices, which training needs."""
        grid = Grid(
            making.field.shape, whole_shards(self.options.block or making.block, making.field)
        )
        return lambda ledger: keep_sums(self.sample, making.field, ledger, grid, "render")

    def produce(self, making: Making) -> xr.DataArray:
        """The grey values."""
        return produce(self.sample, making, self.options, self.keep(making))

    def making(self, model: Imaging) -> Making:
        """The grey field by a model."""
        labels, used = self.labels, model.varied(self.vary, self.seed)
        spacing = labels.spacing_nm
        grey = Field(
            self.out, labels.shape, used.dtype, spacing, labels.chunk, labels.shard, long_name="rendered grey value"
        )  # fmt: skip
        work = RenderWork(
            self.sample, labels.name, self.out, used, _codes(labels, used, self.path), spacing, self.seed,
            self.options.durable,
        )  # fmt: skip
        return Making(
            verb="render",
            field=grey,
            work=work,
            block=many_shards(grey),
            inputs={labels.name: store.fingerprint_of(self.sample, labels.name)},
            parameters={"model": asdict(used), "seed": self.seed},
            halo=used.halo(spacing),
        )


def _codes(labels: Field, model: Imaging, path: str | Path) -> dict[str, int]:
    if not labels.labels or not labels.phases:
        raise ArgumentError(f"field {labels.name!r} holds no phases; name a label field: --field")
    if set(labels.phases) != set(model.levels):
        raise ArgumentError(
            f"{labels.name!r} has the phases {', '.join(labels.phases)}, and {path} has levels of "
            f"{', '.join(model.levels)}: edit the file, or fit it with these names"
        )
    return dict(labels.phases)


@dataclass(frozen=True)
class RenderWork:
    """Block work: reads labels around a block, writes grey values."""

    sample: str
    source: str
    out: str
    model: Imaging
    codes: Mapping[str, int]
    spacing: Spacing
    seed: int
    durable: bool

    def read(self, block: Block) -> np.ndarray:
        """Read the labels around the block."""
        return store.read_box(store.field_array(self.sample, self.source), block.read)

    def compute(self, block: Block, inputs: np.ndarray) -> np.ndarray:
        """Grey values of the core."""
        return rendered(
            inputs, block.read, block.core, self.codes, self.model, self.spacing, self.seed
        )

    def write(self, block: Block, outputs: np.ndarray) -> dict[str, Any]:
        """Write whole shards, and return sums over the slices."""
        store.write_block(self.sample, self.out, block.core, outputs, durable=self.durable)
        return {"slices": sums_of_slices(outputs)}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of labels, of the signal in the slices of the core, and of brightness, noise and result."""
        slices = core[0] * read[1] * read[2]
        return math.prod(read) + READ_BYTES * slices + CORE_BYTES * math.prod(core)
