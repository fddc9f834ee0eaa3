"""Segmentation by a network, bound to the engine: one lattice of windows for the volume, blocks of whole shards."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from tim3d.engine import Outline, Plan
from tim3d.engine.passes.run import TORCH_BASE_BYTES
from tim3d.errors import ArgumentError, CheckpointError
from tim3d.forecast import expected
from tim3d.grid import Block, Triple, triple
from tim3d.kernels.windows.lattice import Lattice, blend_lattice, crop_lattice, peak_bytes, require_phase, slice_lattice
from tim3d.models.segmentation import checkpoint
from tim3d.models.segmentation.memory import activation_bytes
from tim3d.models.segmentation.predictor import Predictor
from tim3d.models.segmentation.unet import UNetSpec
from tim3d.phases import Phases
from tim3d.stages.segmentation.normalisation import check_normalisation, normalisation_of
from tim3d.stages.shared.awaited import plan_awaiting
from tim3d.stages.shared.field import Making, Options, plan_field, produce, slab, whole_shards
from tim3d.stages.shared.phase_shares import telling_shares
from tim3d.stages.shared.verb import Task
from tim3d.storage import store
from tim3d.storage.schema import Field

log = logging.getLogger(__name__)

# Voxels that differ by more than this from those of the training look like another material to a network.
SPACING_TOLERANCE = 0.1


@dataclass(frozen=True)
class Inference:
    """How a network is laid over a volume and run; see `tim3d.segment`."""

    mode: Literal["crop", "blend"] = "crop"
    window: tuple[int, int] | None = None
    halo: int | None = None
    probabilities: bool = False
    normalisation: Literal["volume", "slices"] | None = None
    batch: int = 1
    precision: Literal["fp32", "fp16"] = "fp32"
    device: str = "auto"


def segment(
    sample: str,
    grey: Field,
    out: str,
    model: Path,
    phases: Phases | None,
    merge: Mapping[str, str],
    how: Inference,
    options: Options,
) -> Task[xr.DataArray]:
    """Labels of a grey field by a network; see `tim3d.segment`."""
    planned = expected("network", str(model))
    about: checkpoint.Description = planned or checkpoint.describe(model)
    phases, codes = _codes(about.spec, phases, merge, model)
    _compare_spacing(about.spacing_nm, grey)
    labels = Field(
        out, grey.shape, "uint8", grey.spacing_nm, grey.chunk, grey.shard, labels=True, phases=phases, long_name="phase"
    )
    lattice = lattice_of(grey.shape, about.spec, how)
    segmenting = ByNetwork(sample, grey, labels, model, about, planned is None, codes, lattice, how, options)
    return Task(segmenting.plans, segmenting.run)


@dataclass(frozen=True)
class ByNetwork:
    """Segmentation by a network that is there (`trained`) or will be, from what its file says or will say."""

    sample: str
    grey: Field
    labels: Field
    model: Path
    about: checkpoint.Description
    trained: bool
    codes: tuple[int, ...]
    lattice: Lattice
    how: Inference
    options: Options

    def plans(self) -> list[Plan | Outline]:
        """The passes; none if the labels are there."""
        grey = f"{self.sample}/{self.grey.name}"
        if not self.trained:
            return plan_awaiting(self.sample, self._making(self._planned_predictor()), self.options, str(self.model))
        if expected("field", grey):
            return plan_awaiting(self.sample, self._making(self._planned_predictor()), self.options, grey)
        return list(plan_field(self.sample, self._making(self._predictor()), self.options))

    def run(self) -> xr.DataArray:
        """The labels."""
        making = self._making(self._predictor())
        return produce(self.sample, making, self.options, telling_shares(making, self.options))

    def _predictor(self) -> Predictor:
        # Imported here: torch takes seconds to load, and the plan of a chain needs none.
        from tim3d.models.common.device import choose_device

        return Predictor(
            str(self.model.absolute()),
            checkpoint.digest(self.model),
            device=choose_device(self.how.device),
            batch=self.how.batch,
            precision=self.how.precision,
            normalisation=normalisation_of(
                self.sample, self.grey, self.how.normalisation or self.about.normalisation.how
            ),
        )

    def _planned_predictor(self) -> Predictor:
        """That of a network or a table of slices that an earlier step has yet to write."""
        check_normalisation(self.how.normalisation or self.about.normalisation.how)
        device = "cpu" if self.how.device == "auto" else self.how.device
        return Predictor(str(self.model), "not trained yet", device, self.how.batch, precision=self.how.precision)

    def _making(self, predictor: Predictor) -> Making:
        grey, labels, spec = self.grey, self.labels, self.about.spec
        certainty = tuple(_probability(labels, name) for name in spec.classes) if self.how.probabilities else ()
        work = NetworkWork(
            sample=self.sample,
            source=grey.name,
            out=labels.name,
            certainty=tuple(p.name for p in certainty),
            predictor=predictor,
            lattice=self.lattice,
            codes=self.codes,
            voxel_bytes=grey.voxel_bytes,
            classes=len(spec.classes),
            activation_bytes=activation_bytes(spec, self.how.batch, self.lattice.window[1:]),
            durable=self.options.durable,
        )
        return Making(
            verb="segment",
            field=labels,
            siblings=certainty,
            work=work,
            block=slab(labels, labels.shard[0]),
            inputs={grey.name: store.fingerprint_of(self.sample, grey.name), "model": predictor.sha256},
            parameters=_parameters(self.how, self.lattice, predictor, self.codes),
            halo=_halo(self.lattice, labels, self.options),
            read_bytes=grey.voxel_bytes,
            base_bytes=TORCH_BASE_BYTES,
        )


def lattice_of(shape: Triple, spec: UNetSpec, how: Inference) -> Lattice:
    """The windows: whole slices, or windows of the size asked for with a halo or an overlap of twice the halo.

    Raises
    ------
    ArgumentError
        If window or halo do not fit the network.
    """
    if how.window is None:
        if how.mode == "blend" or how.halo:
            raise ArgumentError("whole slices have no seams to blend; give a window too: --window 512,512")
        return slice_lattice(shape, spec.total_stride, spec.context)
    window = (1, *how.window)
    halo = _default_halo(how.window, spec.total_stride) if how.halo is None else how.halo
    if how.mode == "blend":
        lattice = blend_lattice(shape, window, (0, 2 * halo, 2 * halo), spec.context)
    else:
        lattice = crop_lattice(shape, window, (0, halo, halo), spec.context)
    require_phase(lattice, (1, spec.total_stride, spec.total_stride))
    return lattice


def _default_halo(window: tuple[int, int], stride: int) -> int:
    """An eighth of the window, rounded up to the network's total stride."""
    return -(-min(window) // 8 // stride) * stride


def _codes(
    spec: UNetSpec, phases: Phases | None, merge: Mapping[str, str], model: Path
) -> tuple[Phases, tuple[int, ...]]:
    """Phases of the labels, and the code of each class of the network."""
    unknown = sorted(set(merge) - set(spec.classes))
    if unknown:
        raise ArgumentError(f"--merge names {unknown[0]!r}; {model} has the classes {', '.join(spec.classes)}")
    names = [merge.get(name, name) for name in spec.classes]
    kept = list(dict.fromkeys(names))
    chosen = phases or Phases(**{name: code for code, name in enumerate(kept)})
    if set(chosen) != set(kept):
        raise CheckpointError(
            f"{model} has {len(kept)} classes ({', '.join(kept)}), and {len(chosen)} phases are named "
            f"({', '.join(chosen)}). {_naming(kept, chosen)}"
        )
    return chosen, tuple(chosen[name] for name in names)


def _naming(classes: list[str], phases: Phases) -> str:
    """What to type where the classes of a network and the phases have other names."""
    strange = [name for name in classes if name not in phases]
    named = ",".join(f"{name}={code}" for code, name in enumerate(classes))
    if strange and (shared := [name for name in phases if name in classes]):
        merged = ",".join(f"{name}={shared[0]}" for name in strange)
        return f"Name the network's own, --phases {named}, or count classes as another, for example --merge {merged}"
    return f"Name the network's own: --phases {named}"


def _compare_spacing(trained: tuple[float, float, float], grey: Field) -> None:
    if any(abs(math.log(a / b)) > SPACING_TOLERANCE for a, b in zip(trained, grey.spacing_nm, strict=True)):
        log.warning("the network was trained on voxels of %s nm, these are %s nm (z, y, x)", trained, grey.spacing_nm)


def _probability(labels: Field, name: str) -> Field:
    return Field(
        f"{labels.name}_probability_{name}", labels.shape, "uint8", labels.spacing_nm, labels.chunk, labels.shard,
        long_name=f"probability of {name} in 1/255",
    )  # fmt: skip


def _parameters(how: Inference, lattice: Lattice, predictor: Predictor, codes: tuple[int, ...]) -> dict[str, Any]:
    numbers = asdict(predictor.normalisation) if predictor.normalisation else {}
    return {
        "lattice": {k: v for k, v in asdict(lattice).items() if k != "shape"},
        "normalisation": numbers,
        "batch": predictor.batch,
        "threads": predictor.threads,
        "precision": predictor.precision,
        "device": predictor.device.split(":")[0],
        "codes": codes,
        "probabilities": how.probabilities,
    }


def _halo(lattice: Lattice, labels: Field, options: Options) -> Triple:
    """What a block reads beyond its core, for the plan: the lattice itself says exactly what."""
    block = whole_shards(options.block or slab(labels, labels.shard[0]), labels)
    outer = triple(p - 1 for p in lattice.window) if lattice.mode == "blend" else lattice.halo
    reach = (lattice.context + outer[0], outer[1], outer[2])
    return triple(0 if b >= n else r for b, n, r in zip(block, lattice.shape, reach, strict=True))


@dataclass(frozen=True)
class NetworkWork:
    """Grey windows in, codes of phases out, and probabilities where asked for."""

    sample: str
    source: str
    out: str
    certainty: tuple[str, ...]
    predictor: Predictor
    lattice: Lattice
    codes: tuple[int, ...]
    voxel_bytes: int
    classes: int
    activation_bytes: int
    durable: bool

    def read(self, block: Block) -> np.ndarray:
        """All voxels that the windows of the block see."""
        array = store.field_array(self.sample, self.source)
        return store.read_box(array, self.lattice.read_box(block.core))

    def compute(self, block: Block, inputs: np.ndarray) -> dict[Any, np.ndarray]:
        """Classes of the core, as codes of phases."""
        from tim3d.models.segmentation.inference import segment_core

        outputs = ("labels", "probabilities") if self.certainty else ("labels",)
        seen = self.lattice.read_box(block.core)
        found: dict[Any, np.ndarray] = dict(
            segment_core(self.predictor, self.lattice, block.core, inputs, seen, outputs)  # type: ignore[arg-type]
        )
        found["labels"] = np.asarray(self.codes, np.uint8)[found["labels"]]
        return found

    def write(self, block: Block, outputs: dict[Any, np.ndarray]) -> dict[str, Any]:
        """Whole shards of the labels and of each probability."""
        for name, values in zip(self.certainty, outputs.get("probabilities", ()), strict=True):
            self._write(name, block, values)
        self._write(self.out, block, outputs["labels"])
        return {"voxels": {str(code): int((outputs["labels"] == code).sum()) for code in sorted(set(self.codes))}}

    def _write(self, name: str, block: Block, values: np.ndarray) -> None:
        store.write_box(store.field_array(self.sample, name, mode="r+"), block.core, values, durable=self.durable)

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """What stitching holds, once more what is decoded and encoded, and the layers of the network."""
        out = 2 * (1 + (self.classes if self.certainty else 0))
        held = peak_bytes(
            self.lattice, core, itemsize=2 * self.voxel_bytes, channels=self.classes, out_bytes=out + 1,
            batch=self.predictor.batch,
        )  # fmt: skip
        return held + (self.activation_bytes if self.predictor.device == "cpu" else 0)
