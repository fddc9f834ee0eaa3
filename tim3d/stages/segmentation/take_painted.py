"""The verb `take_painted`: labels that were painted on images go back to their voxels."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from tim3d.errors import InputError, MixedRunError
from tim3d.grid import Block, Triple
from tim3d.kernels.image.threshold import grey_counts
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases
from tim3d.stages.segmentation.painting import Painting, digest, read_painting
from tim3d.stages.shared.field import (
    DEFAULTS,
    Making,
    Options,
    field_task,
    renewing,
    slab,
)
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import schema, store
from tim3d.storage.schema import Field
from tim3d.typed import Folder

log = logging.getLogger(__name__)


@Verb
def take_painted(
    sample: str,
    folder: Folder,
    *,
    out: str = "painted",
    options: Options = DEFAULTS,
) -> Task[xr.DataArray]:
    """Make a field of labels from the images of a folder that were painted on.

    The field is that from which the images were written, or empty, with every pixel that was
    changed. After more was painted, the same command replaces the field.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    folder : path
        Folder that ``tim3d paint`` made.
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
        If the grey field, or the field of labels that was painted on, is missing.
    InputError
        If nothing was painted, or an image is missing, has another size, or values without a phase.
    MixedRunError
        If a field of the sample is not the one from which the images were written.
    """
    painting = read_painting(folder)
    fields = {}
    for name, before in (painting.grey, painting.base):
        if not name:
            continue
        fields[name] = store.complete_field(sample, name)
        if store.fingerprint_of(sample, name) != before:
            raise MixedRunError(
                f"{name!r} of {sample} is not the field from which the images in {folder} were written: what was "
                "painted would lie elsewhere. Write images of this one:  tim3d paint"
            )
    taking = Taking(sample, fields[painting.grey[0]], painting, out)
    making = taking.making(options)
    options = renewing(sample, making, options)
    return field_task(sample, making, options)


@dataclass(frozen=True)
class Taking:
    """The sample, the images, and the field to write."""

    sample: str
    grey: Field
    painting: Painting
    out: str

    def making(self, options: Options) -> Making:
        """The field, from the digests of all that is painted now."""
        painted = {p.file: digest(self.painting.painted(p)) for p in self.painting.patches}
        changed = [p.file for p in self.painting.patches if painted[p.file] != p.sha256]
        if not changed:
            raise InputError(
                f"none of the {len(painted)} images in {self.painting.folder / 'labels'} was changed: paint on them, "
                "and save them in place"
            )
        grey, (base, fingerprint) = self.grey, self.painting.base
        labels = Field(
            self.out, grey.shape, "uint8", grey.spacing_nm, grey.chunk, grey.shard, labels=True,
            phases=Phases(**dict(self.painting.phases)), long_name="painted label",
        )  # fmt: skip
        return Making(
            verb="take_painted",
            field=labels,
            work=PaintedWork(self.sample, base, self.out, self.painting, options.durable),
            block=slab(labels, labels.shard[0]),
            inputs={
                grey.name: self.painting.grey[1],
                "source": schema.fingerprint(painted={name: painted[name] for name in changed}),
                **({base: fingerprint} if base else {}),
            },
            read_bytes=1.0,
        )


@dataclass(frozen=True)
class PaintedWork:
    """Block work that reads labels, puts what was painted on them, and writes them."""

    sample: str
    base: str
    out: str
    painting: Painting
    durable: bool

    def read(self, block: Block) -> np.ndarray:
        """Labels of the block before anything was painted."""
        if not self.base:
            return np.zeros(block.read.shape, np.uint8)
        return store.read_box(store.field_array(self.sample, self.base), block.read)

    def compute(self, block: Block, inputs: np.ndarray) -> np.ndarray:
        """Put every pixel that differs from what was there in its place, image by image."""
        found = np.array(inputs)
        for patch in self.painting.patches:
            shared = patch.box.clip(block.core)
            if min(shared.shape) <= 0:
                continue
            painted = self.painting.painted(patch)[None][shared.within(patch.box).slices]
            at = shared.within(block.core).slices
            found[at] = np.where(painted != inputs[at], painted, found[at])
        return found

    def write(self, block: Block, outputs: np.ndarray) -> dict[str, Any]:
        """Write whole shards, and return the number of voxels of each label."""
        store.write_block(self.sample, self.out, block.core, outputs, durable=self.durable)
        counts = grey_counts(outputs)
        codes = self.painting.phases.values()
        return {"voxels": {str(code): int(counts[code]) for code in codes}}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of a block: labels before and after, and one image."""
        return int(np.prod(core)) * 4 + 4 * core[1] * core[2]
