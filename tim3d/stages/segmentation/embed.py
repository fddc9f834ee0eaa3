"""The verb `embed`: what a promptable network makes of each slice, kept so that prompts cost little."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tim3d.engine import Ledger, Pass, Plan, lock_sample, run
from tim3d.engine.passes.run import TORCH_BASE_BYTES
from tim3d.errors import ArgumentError, MixedRunError
from tim3d.grid import Block, Grid, Triple
from tim3d.lazy import xarray as xr
from tim3d.models.promptable.kept import NAME, Kept, flat_row
from tim3d.models.promptable.mask_rules.objects import AsObjects
from tim3d.models.promptable.prompted_segmenter import PromptedSegmenter, session_of
from tim3d.models.promptable.prompting.grid import Grid as PointGrid
from tim3d.stages.segmentation.prompted import kept_in, prompted, question, window_in
from tim3d.stages.shared.field import DEFAULTS, Options
from tim3d.stages.shared.results import result_name
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import block_results, schema, store
from tim3d.storage.schema import Field
from tim3d.typed import Window


@Verb
def embed(
    sample: str,
    *,
    model: str | Path,
    field: str = "raw",
    out: str = "",
    window: Window | None = None,
    halo: int = 0,
    layers: int = 0,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    options: Options = DEFAULTS,
) -> Task[xr.Dataset]:
    """Keep the embeddings of all slices by a promptable network, for tim3d segment-prompted.

    An embedding takes nearly all of the time, and does not depend on prompts. The plan states the
    bytes: 4 MiB for a slice and a crop by SAM.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    model : path
        A network written by tim3d import-network.
    field : str
        The grey field.
    out : str
        Name of the node (default: FIELD_embedding, and what is not a default).
    window : (y, x), optional
        Edges of a window in pixels (default: whole slices).
    halo : int
        Border of a window in pixels that is thrown away.
    layers : int
        Layers of crops, as of the prompts that will be given.
    device : {"auto", "cpu", "cuda"}
        Device of the network.
    options : Options
        How it runs.

    Returns
    -------
    xarray.Dataset
        How many embeddings are kept, their bytes, and their mean.

    Raises
    ------
    ArgumentError
        If the field holds labels, or a parameter is out of its range.
    CheckpointError
        If the model is damaged, or not a promptable network.
    MixedRunError
        If the node holds other embeddings.
    """
    grey = store.complete_field(sample, field)
    if grey.labels:
        raise ArgumentError(f"field {field!r} holds labels; embed needs grey values")
    prompts = PointGrid(side=1, layers=layers)
    segmenter = prompted(
        sample, grey, Path(model), prompts, AsObjects(), window, halo, 1, device, ""
    )
    options.refuse_unused("embed", sample)
    name = out or result_name(
        f"{field}_embedding", window=(window, None), halo=(halo, 0), layers=(layers, 0)
    )
    embedding = Embeddings(sample, grey, name, segmenter, options)
    return Task(embedding.plans, embedding.run)


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of all windows of a field, as a result that is written block by block."""

    sample: str
    grey: Field
    out: str
    segmenter: PromptedSegmenter
    options: Options

    @cached_property
    def kept(self) -> Kept:
        """Where they lie."""
        return kept_in(self.sample, self.out, self.segmenter, self.grey.shape)

    @cached_property
    def question(self) -> dict[str, Any]:
        """All that decides them."""
        return question(self.segmenter, store.fingerprint_of(self.sample, self.grey.name))

    @property
    def fingerprint(self) -> str:
        """Hash of the question."""
        return schema.fingerprint(verb="embed", parameters=self.question)

    def _is_there(self) -> str:
        record = {} if self.options.overwrite else store.node_attributes(self.sample, self.out)
        if record and record.get("fingerprint") != self.fingerprint:
            raise MixedRunError(
                f"{self.out!r} in {self.sample} holds something else. Replace it with --overwrite, or keep both: --out "
                "another-name"
            )
        return str(record.get("status", "nothing"))

    def plans(self) -> list[Plan]:
        """The pass; none if the embeddings are there."""
        store.refuse_another_kind(self.sample, self.out, "dataset")
        there = self._is_there()
        return [] if there == "complete" else [self._pass().plan(afresh=there == "nothing")]

    def run(self) -> xr.Dataset:
        """Write and return them."""
        plans = self.plans()
        for plan in plans:
            plan.check()
        if plans:
            with lock_sample(self.sample):
                self._write()
        return self._summary()

    def _summary(self) -> xr.Dataset:
        """Number, size and mean of the embeddings, from the records of the rows."""
        grid = self._pass().grid
        records = self._pass().ledger.records(grid.indices())
        mean = float(np.mean([one["mean"] for one in records]))
        found = {
            "embeddings": (self.kept.rows, "embeddings that are kept", "1"),
            "embedding_bytes": (self.kept.bytes, "bytes of all embeddings, uncompressed", "byte"),
            "embedding_mean": (mean, "mean of all numbers of the embeddings", "1"),
        }
        return xr.Dataset(
            {
                name: ((), value, {"long_name": said, "units": units})
                for name, (value, said, units) in found.items()
            }
        )

    def _write(self) -> None:
        one = self._pass()
        if self._is_there() == "nothing":
            one.ledger.forget(self.out)
            inputs: Mapping[str, Any] = {self.grey.name: self.question["image"]}
            record = store.provenance(self.fingerprint, self.question, inputs) | {"verb": "embed"}
            shape, chunk = (self.kept.rows, 1, self.kept.values), (1, 1, self.kept.values)
            about = {
                "dims": ("row", "part", "value"),
                "long_name": "embedding of a window or crop",
                "units": "1",
            }
            block_results.create_block_result(
                self.sample, self.out, NAME, shape, chunk, about, record
            )
        run(one, progress=self.options.progress)
        store.update_node(self.sample, self.out, status="complete")

    def _pass(self) -> Pass:
        kept = self.kept
        pixels = self.segmenter.pixels[0] * self.segmenter.pixels[1]
        windows = kept.crops * kept.counts[1] * kept.counts[2]
        work = EmbedWork(
            kept, self.segmenter, self.grey.name, self.grey.shape, self.options.durable
        )
        return Pass(
            work=work,
            grid=Grid((kept.rows, 1, kept.values), (windows, 1, kept.values)),
            ledger=Ledger(self.sample, self.out, self.fingerprint),
            shard=(1, 1, kept.values),
            read_bytes=self.grey.voxel_bytes * pixels / kept.values,
            write_bytes=4,
            base_bytes=TORCH_BASE_BYTES,
            durable=self.options.durable,
            time_limit=self.options.time_limit,
            arrays=(f"{self.out}/{NAME}",),
        )


@dataclass(frozen=True)
class EmbedWork:
    """Block work that embeds the windows of one slice."""

    kept: Kept
    segmenter: PromptedSegmenter
    source: str
    shape: Triple
    durable: bool

    def read(self, block: Block) -> dict[Triple, np.ndarray]:
        """Read the windows of these rows."""
        lattice = self.segmenter.lattice(self.shape)
        assert lattice is not None, "windows are those of a lattice"
        array = store.field_array(self.kept.sample, self.source)
        found: dict[Triple, np.ndarray] = {}
        for row in range(block.core.start[0], block.core.stop[0]):
            index, _ = self.kept.window(row)
            if index not in found:
                found[index] = window_in(array, lattice, index).copy()
        return found

    def compute(self, block: Block, inputs: dict[Triple, np.ndarray]) -> np.ndarray:
        """Embed every crop."""
        session = session_of(self.segmenter.network)
        crops = self.segmenter.prompting.crops(self.segmenter.pixels)
        rows = []
        for row in range(block.core.start[0], block.core.stop[0]):
            index, crop = self.kept.window(row)
            image = self.segmenter.scaled(inputs[index])
            part = np.ascontiguousarray(image[crops[crop].slices])
            rows.append(flat_row(session.embed(part)))
        return np.stack(rows)[:, None]

    def write(self, block: Block, outputs: np.ndarray) -> dict[str, Any]:
        """Write the rows."""
        path = f"{self.kept.node}/{NAME}"
        block_results.write_rows(self.kept.sample, path, block.core, outputs, durable=self.durable)
        return {"mean": float(outputs.mean(dtype=np.float64))}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of the windows, the network, and three copies of the rows."""
        y, x = self.segmenter.pixels
        image = self.segmenter.network.bytes_for((y, x), 1) + 16 * y * x
        return image + core[0] // self.kept.crops * y * x * 8 + 12 * core[0] * core[2]
