"""The verb `translate`: rendered grey values as a network shows them, unless it moves the structure."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tim3d.engine import Gathering, Outline, Plan
from tim3d.engine.clusters.memory import resident_memory
from tim3d.engine.passes.run import TORCH_BASE_BYTES
from tim3d.errors import ArgumentError, InputError
from tim3d.forecast import will_exist
from tim3d.grid import Block, Box, Grid, Triple
from tim3d.kernels.image.geometry_guard import compare
from tim3d.lazy import xarray as xr
from tim3d.models.translation.model_file import TILE, Description, describe, translate_tile
from tim3d.stages.imaging.field_crops import FieldCrops
from tim3d.stages.imaging.looked_at import boxes
from tim3d.stages.shared.awaited import cannot_plan
from tim3d.stages.shared.field import (
    DEFAULTS,
    Making,
    Options,
    many_shards,
    plan_field,
    produce,
    whole_shards,
)
from tim3d.stages.shared.grid_agreement import refuse_unlike
from tim3d.stages.shared.slice_statistics import keep_sums, sums_of_slices
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import store
from tim3d.storage.schema import Field

log = logging.getLogger(__name__)

# Every which slice of the parts that are looked at is compared.
EVERY = 4
# Bytes of a pixel that is compared: 71 at most in the comparison (measured), 10 of its grey values and phase before.
COMPARED_BYTES = 88


@Verb
def translate(
    sample: str,
    model: str | Path,
    *,
    field: str = "raw",
    labels: str = "phase",
    out: str = "translated",
    options: Options = DEFAULTS,
) -> Task[xr.DataArray]:
    """Translate rendered grey values by a network, and refuse one that moves the structure; blocks do not show.

    Before anything is written, slices of the parts that `fit-imaging` looks at are translated and
    compared with their labels: phases must keep the order of their grey values, interfaces their place
    (half a pixel) and phases their fraction (.01), and no objects may appear within phases.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    model : path
        Translator that `tim3d train-translator` wrote.
    field, labels : str
        The rendered grey field, and the labels it was rendered from.
    out : str
        Name of the new field.
    options : Options
        How it runs.

    Returns
    -------
    xarray.DataArray
        The grey values, lazily. What the network did to the structure is among the node's attributes.

    Raises
    ------
    MissingFieldError
        If a field is missing.
    CheckpointError
        If `model` is not a translator.
    ArgumentError
        If the labels hold other phases than the translator was trained with.
    InputError
        If the translation moves interfaces, swaps phases, changes fractions or invents objects.
    """
    grey = store.complete_field(sample, field, "render")
    known = store.complete_field(sample, labels, "generate")
    if grey.labels or np.dtype(grey.dtype).kind != "u":
        held = "labels" if grey.labels else grey.dtype
        raise ArgumentError(
            f"field {field!r} holds {held}; translate needs rendered grey values of whole numbers"
        )
    refuse_unlike(sample, grey, known)
    if will_exist(str(model)) and not Path(model).exists():
        return Task(
            lambda: cannot_plan("translate", str(model)),
            lambda: _translating(sample, grey, known, model, out, options).run(),
        )
    translating = _translating(sample, grey, known, model, out, options)
    return Task(translating.plans, translating.run)


def _translating(
    sample: str, grey: Field, labels: Field, model: str | Path, out: str, options: Options
) -> Translating:
    network = describe(model)
    if set(labels.phases or {}) != set(network.names):
        raise ArgumentError(
            f"{labels.name!r} has the phases {', '.join(labels.phases or {}) or 'none'}, and {model} was trained with "
            f"{', '.join(network.names)}: name the labels that were rendered, --labels"
        )
    return Translating(sample, grey, labels, str(model), network, out, options)


@dataclass(frozen=True)
class Translating:
    """A rendered field and the network that translates it."""

    sample: str
    grey: Field
    labels: Field
    path: str
    network: Description
    out: str
    options: Options

    def plans(self) -> list[Plan | Outline]:
        """The comparison of some slices, and the pass that writes the field."""
        writing = plan_field(self.sample, self._making({}), self.options)
        return [self._comparing, *writing] if writing else []

    def run(self) -> xr.DataArray:
        """Compare, then write the field."""
        plans = self.plans()
        for plan in plans:
            plan.check()
        making = self._making(self._compared() if plans else {})
        grid = Grid(
            making.field.shape, whole_shards(self.options.block or making.block, making.field)
        )
        return produce(
            self.sample, making, self.options,
            lambda ledger: keep_sums(self.sample, making.field, ledger, grid, "translate"),
        )  # fmt: skip

    @property
    def _looked_at(self) -> list[Box]:
        """Slices that are compared."""
        return [
            Box((z, *part.start[1:]), (z + 1, *part.stop[1:]))
            for part in boxes(self.grey)
            for z in range(part.start[0], part.stop[0], EVERY)
        ]

    @property
    def _comparing(self) -> Gathering:
        """Plan of the comparison."""
        pixels = sum(math.prod(one.shape) for one in self._looked_at)
        return Gathering(
            "translate", f"compares slices of {self.labels.name!r} with their translation first",
            COMPARED_BYTES * pixels, (COMPARED_BYTES, "pixels"), max(TORCH_BASE_BYTES, resident_memory()),
        )  # fmt: skip

    def _compared(self) -> dict[str, Any]:
        """Changes of the structure by the network.

        Raises
        ------
        InputError
            With every fault and its figure.
        """
        codes: dict[str, int] = dict(self.labels.phases or {})
        numbers = {codes[name]: n for n, name in enumerate(self.network.names)}
        classes = FieldCrops.of(self.sample, self.labels, numbers)
        whole = Box.whole(self.grey.shape)
        found: list[tuple[np.ndarray, ...]] = []
        margin = self.network.reach + TILE - 1
        for core in self._looked_at:
            read = core.grow((0, margin, margin)).clip(whole)
            grey = store.read_box(store.field_array(self.sample, self.grey.name), read)
            after = translate_box(self.path, self.network, grey, read, core, self.grey.shape)
            found.append((grey[core.within(read).slices], after, classes.box(core)))
        before, after, known = (np.concatenate(one) for one in zip(*found, strict=True))
        seen = compare(
            before.astype(np.float32), after.astype(np.float32), known, self.network.names
        )
        if faults := seen.faults():
            raise InputError(
                f"{self.path} was refused, as it {'; it '.join(faults)}. Train it longer, with a smaller --reach, or "
                f"leave out the translation: tim3d train SAMPLE --field {self.grey.name}"
            )
        said = {
            "shift_px": list(seen.shift), "growth_px": list(seen.growth), "fractions": list(seen.fractions),
            "invented": seen.invented - seen.before,
        }  # fmt: skip
        log.info(
            "translate: the structure is shifted by %s pixels along y and x, phases grow by %s pixels, their fractions "
            "change by %s, and %d pores or particles are new",
            *(_numbers(one) for one in (seen.shift, seen.growth, seen.fractions)), said["invented"],
        )  # fmt: skip
        return {"geometry": said}

    @property
    def _halo(self) -> Triple:
        """Reach of the network, and to the end of the tile where shards are not made of tiles."""
        return (0, *(  # type: ignore[return-value]
            self.network.reach + (0 if n % TILE == 0 else TILE - 1) for n in self.grey.shard[1:]
        ))  # fmt: skip

    def _making(self, remarks: Mapping[str, Any]) -> Making:
        before = self.grey
        made = Field(
            self.out, before.shape, before.dtype, before.spacing_nm, before.chunk, before.shard,
            long_name="translated grey value",
        )  # fmt: skip
        work = TranslateWork(
            self.sample,
            before.name,
            self.out,
            self.path,
            self.network,
            before.shape,
            self.options.durable,
        )
        return Making(
            verb="translate",
            field=made,
            work=work,
            block=many_shards(made),
            inputs={
                one.name: store.fingerprint_of(self.sample, one.name)
                for one in (before, self.labels)
            },
            parameters={"model": self.network.sha256},
            halo=self._halo,
            read_bytes=float(np.dtype(before.dtype).itemsize),
            base_bytes=TORCH_BASE_BYTES,
            remarks=remarks,
        )


@dataclass(frozen=True)
class TranslateWork:
    """Block work: reads grey values around a block, writes translated ones."""

    sample: str
    source: str
    out: str
    path: str
    network: Description
    shape: Triple
    durable: bool

    def read(self, block: Block) -> np.ndarray:
        """Read the grey values around the block."""
        return store.read_box(store.field_array(self.sample, self.source), block.read)

    def compute(self, block: Block, inputs: np.ndarray) -> np.ndarray:
        """Translated grey values of the core."""
        return translate_box(self.path, self.network, inputs, block.read, block.core, self.shape)

    def write(self, block: Block, outputs: np.ndarray) -> dict[str, Any]:
        """Write whole shards, and return sums over the slices."""
        store.write_block(self.sample, self.out, block.core, outputs, durable=self.durable)
        return {"slices": sums_of_slices(outputs)}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of the grey values, before twice and after three times, and of the features of a tile."""
        tile = (TILE + 2 * self.network.reach) ** 2
        features = 4 * tile * (8 * self.network.channels + 4)
        return 4 * math.prod(read) + 6 * math.prod(core) + 16 * core[1] * core[2] + features


def translate_box(
    path: str, network: Description, grey: np.ndarray, read: Box, core: Box, shape: Triple
) -> np.ndarray:
    """Translated grey values of `core` from those of `read`, tile by tile of a lattice that begins at pixel (0, 0).

    Beyond the slice its last pixel repeats.
    """
    out, most, reach = np.empty(core.shape, grey.dtype), np.iinfo(grey.dtype).max, network.reach
    for y in range(core.start[1] // TILE * TILE, core.stop[1], TILE):
        for x in range(core.start[2] // TILE * TILE, core.stop[2], TILE):
            rows, columns = (
                np.arange(at - reach, at + TILE + reach).clip(0, shape[axis] - 1) - read.start[axis]
                for axis, at in ((1, y), (2, x))
            )
            inner, place = _common((y, x), core)
            for z in range(core.shape[0]):
                tile = grey[core.start[0] - read.start[0] + z][np.ix_(rows, columns)]
                made = translate_tile(path, network, tile)[inner]
                out[z][place] = np.rint(made).clip(0, most)
    return out


def _common(tile: tuple[int, int], core: Box) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Common part of a tile and a core, within the tile and within the core."""
    inner, place = [], []
    for at, start, stop in zip(tile, core.start[1:], core.stop[1:], strict=True):
        low, high = max(at, start), min(at + TILE, stop)
        inner.append(slice(low - at, high - at))
        place.append(slice(low - start, high - start))
    return (inner[0], inner[1]), (place[0], place[1])


def _numbers(values: Iterable[float]) -> str:
    return " and ".join(f"{value:.3f}" for value in values)
