"""The verb `annotate_instances`: labels to train a network on, from numbers of instances."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tim3d.errors import ArgumentError
from tim3d.grid import Block, Triple
from tim3d.kernels.morphology.instance_borders import classes_of, halo_of, offsets_within
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases
from tim3d.stages.shared.field import DEFAULTS, Making, Options, field_task, many_shards
from tim3d.stages.shared.results import result_name
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import schema, store

CLASSES = Phases(matrix=0, middle=1, border=2)


@Verb
def annotate_instances(
    sample: str,
    instances: str,
    *,
    width: float | None = None,
    out: str = "",
    options: Options = DEFAULTS,
) -> Task[xr.DataArray]:
    """Write labels from which a network learns to tell instances apart: matrix, middle and border.

    A voxel of an instance belongs to its border if another instance or none lies within the width.
    The probabilities of a network that learnt these labels are what `tim3d.watershed` takes: the
    middle as heights, the border as boundary. See docs/segment.md.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    instances : str
        Field of numbers of instances, such as masks of a user, 0 for none.
    width : float, optional
        Width of the border in nm (default: two pixels). Voxels that share a face with another
        instance always belong to it.
    out : str
        Name of the field (default: INSTANCES_classes and what is not a default).
    options : Options
        How it runs; see `tim3d.Options`.

    Returns
    -------
    xarray.DataArray
        The labels.

    Raises
    ------
    MissingFieldError
        If the field is missing.
    ArgumentError
        If it does not hold numbers, or the width is not a length.
    MixedRunError
        If `out` exists with different parameters.
    """
    numbers = store.complete_field(sample, instances, "segment")
    if not numbers.may_number:
        raise ArgumentError(
            f"{instances!r} of {sample} holds {'labels' if numbers.phases else numbers.dtype} and not numbers of "
            f"instances ({' or '.join(schema.NUMBER_DTYPES)})"
        )
    within = 2 * max(numbers.spacing_nm[1:]) if width is None else width
    if not 0 < within < math.inf:
        raise ArgumentError(f"--width {within:g} is not a length in nm: --width 20")
    offsets = tuple(offsets_within(within, numbers.spacing_nm))
    name = out or result_name(f"{instances}_classes", width=(width, None))
    classes = replace(
        numbers, name=name, dtype="uint8", labels=True, phases=CLASSES, attributes={},
        long_name="part of the instance",
    )  # fmt: skip
    making = Making(
        verb="annotate_instances",
        field=classes,
        work=BorderWork(sample, instances, name, offsets, numbers.voxel_bytes, options.durable),
        block=many_shards(classes),
        halo=halo_of(offsets),
        read_bytes=numbers.voxel_bytes,
        inputs={instances: store.fingerprint_of(sample, instances)},
        parameters={"width": within},
    )
    return field_task(sample, making, options)


@dataclass(frozen=True)
class BorderWork:
    """Block work that classes the voxels of instances."""

    sample: str
    source: str
    out: str
    offsets: tuple[Triple, ...]
    voxel_bytes: int
    durable: bool

    def read(self, block: Block) -> np.ndarray:
        """Read the numbers of the block and around it."""
        return store.read_box(store.field_array(self.sample, self.source), block.read)

    def compute(self, block: Block, inputs: np.ndarray) -> np.ndarray:
        """Compute the classes."""
        return classes_of(inputs, block.core.within(block.read), self.offsets)

    def write(self, block: Block, outputs: np.ndarray) -> dict[str, Any]:
        """Write whole shards."""
        store.write_block(self.sample, self.out, block.core, outputs, durable=self.durable)
        return {}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of numbers while decoded and compared, and of classes while encoded."""
        return int(math.prod(read) * (2 * self.voxel_bytes + 2) + math.prod(core) * 5)
