"""Judgement of the generator of an entry: its volumes against its micrographs, kept beside it."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tim3d.cataloguing.copying import distances
from tim3d.cataloguing.entries import Entry
from tim3d.engine import Outline, Plan
from tim3d.errors import InputError, StoreError
from tim3d.grid import triple
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases
from tim3d.stages.comparison.fidelity import fidelity
from tim3d.stages.components.label import label
from tim3d.stages.generation.network import Network
from tim3d.stages.generation.volume import generate
from tim3d.stages.geodesic.geodesic import geodesic
from tim3d.stages.shared.field import Options
from tim3d.storage import outputs, store

JUDGEMENT, VOLUMES = "judgement.json", "volumes"
KIND = outputs.Kind(
    "a judgement of a library", lambda data: data.startswith(b'{"tim3d": "judgement"')
)
SCHEMA = 1
MAPPINGS = ("deviations", "three_d", "copies")
# Values of the volumes that a row has; all others stand in the comparison.
THREE_D = {
    "largest_share": "voxels of the largest component over voxels of the phase, 6 neighbours",
    "geodesic_tortuosity_mean": "geodesic tortuosity, mean of +z, +y, +x",
}


@dataclass(frozen=True)
class Judgement:
    """Numbers of a generator, and where the comparison lies that they were taken from.

    Parameters
    ----------
    generator : str
        SHA-256 of the weights that were judged.
    micrographs : mapping of str to str
        SHA-256 of each image by its name.
    volumes, edge, seed : int
        Number of the volumes, their edge in voxels, and the seed of the first.
    node : str
        Name of the comparison in the first volume.
    deviations : mapping of str to float
        Of each quantity the largest deviation over slices and phases, without its sign.
    reached, judged : int
        Comparisons within their goals, and all that have one.
    copies : mapping of str to float
        Mean distance of crops of the volumes, and of crops of the images, to the nearest part of an
        image; empty for grey values.
    three_d : mapping of str to float
        3-D values by name and phase, mean over the volumes that have one.
    """

    generator: str
    micrographs: Mapping[str, str]
    volumes: int
    edge: int
    seed: int
    node: str
    deviations: Mapping[str, float]
    reached: int
    judged: int
    three_d: Mapping[str, float]
    copies: Mapping[str, float]

    def text(self) -> bytes:
        """JSON, with null for nan."""
        values: dict[str, Any] = {"tim3d": "judgement", "schema": SCHEMA, **self.__dict__}
        for name in MAPPINGS:
            values[name] = {k: None if math.isnan(v) else v for k, v in values[name].items()}
        return json.dumps(values, allow_nan=False).encode()


def read_judgement(entry: Entry) -> Judgement | None:
    """Judgement of an entry, of whatever generator; None if there is none.

    Raises
    ------
    InputError
        If its file is damaged.
    """
    path = entry.folder / JUDGEMENT
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text())
        if values.pop("tim3d") != "judgement" or values.pop("schema") != SCHEMA:
            raise ValueError("it has another schema")
        for name in MAPPINGS:
            values[name] = {k: math.nan if v is None else float(v) for k, v in values[name].items()}
        return Judgement(**values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is damaged ({error}); remove it and judge again: tim3d library {entry.folder.parent} --evaluate"
        ) from error


def is_current(entry: Entry, judgement: Judgement | None) -> bool:
    """Whether a judgement is of the generator and the micrographs that the entry has now."""
    return judgement is not None and (judgement.generator, dict(judgement.micrographs)) == (
        entry.generator,
        dict(entry.micrographs),
    )


def current_judgement(entry: Entry) -> Judgement | None:
    """Judgement of what the entry has now; None if there is none, or it is outdated or damaged."""
    with suppress(InputError):
        found = read_judgement(entry)
        return found if is_current(entry, found) else None
    return None


def comparison_of(entry: Entry, judgement: Judgement) -> xr.Dataset:
    """Comparison of volumes and micrographs of which a judgement is the summary.

    Raises
    ------
    InputError
        If the volumes were deleted or changed; the message contains the command that makes them again.
    """
    try:
        return store.open_dataset(
            _volume_path(entry, judgement.edge, judgement.seed), judgement.node
        )
    except (InputError, StoreError) as error:
        raise InputError(
            f"its volumes in {entry.folder / VOLUMES} are gone or were changed: remove what is left of that folder, "
            f"and judge again: tim3d library {shlex.quote(str(entry.folder.parent))} --evaluate --volumes "
            f"{judgement.volumes} --edge {judgement.edge} --seed {judgement.seed}"
        ) from error


def _volume_path(entry: Entry, edge: int, seed: int) -> str:
    """Path of a volume; those of another generator have other names."""
    return str(entry.folder / VOLUMES / f"{entry.generator[:12]}-{edge}-{seed}.zarr")


def state_of(entry: Entry) -> str:
    """State of an entry: evaluated, not evaluated, outdated, or what is wrong, with the cure."""
    if entry.fault:
        return entry.fault
    try:
        found = read_judgement(entry)
        if found is None:
            return "not evaluated"
        if not is_current(entry, found):
            return "outdated"
        comparison_of(entry, found)
    except InputError as error:
        return str(error)
    return "evaluated"


@dataclass(frozen=True)
class Judging:
    """Question asked of a generator: a number of volumes of an edge, from a seed on."""

    entry: Entry
    volumes: int
    edge: int
    seed: int
    device: str
    options: Options

    @property
    def seeds(self) -> range:
        """Seeds of the volumes."""
        return range(self.seed, self.seed + self.volumes)

    @property
    def samples(self) -> list[str]:
        """Paths of the volumes."""
        return [_volume_path(self.entry, self.edge, seed) for seed in self.seeds]

    @property
    def field(self) -> str:
        """Field of the volumes."""
        return "phase" if self.entry.phases else "raw"

    def is_done(self) -> bool:
        """Whether this was asked and answered for the generator that is there, and its comparison is kept."""
        found = read_judgement(self.entry)
        asked = (self.volumes, self.edge, self.seed)
        if (
            found is None
            or self.options.overwrite
            or not is_current(self.entry, found)
            or (found.volumes, found.edge, found.seed) != asked
        ):
            return False
        with suppress(InputError):
            comparison_of(self.entry, found)
            return True
        return False

    def plans(self) -> list[Plan | Outline]:
        """Plans of the volumes that are left, and a line for what is done with them."""
        if self.is_done():
            return []
        self._refuse_fault()
        making = [
            plan
            for sample, seed in zip(self.samples, self.seeds, strict=True)
            for plan in generate.plan(
                sample, self._network(seed), shape=self._shape, options=self.options
            )
        ]
        text = f"compares {self.volumes} volumes of {self.edge}³ of {self.entry.name} with its micrograph"
        return [*making, Outline("library", text)]

    def run(self) -> None:
        """Make the volumes, measure and compare them, and write the judgement last."""
        self._refuse_fault()
        for sample, seed in zip(self.samples, self.seeds, strict=True):
            Path(sample).parent.mkdir(parents=True, exist_ok=True)
            generate(sample, self._network(seed), shape=self._shape, options=self.options)
            if self.entry.phases:
                label(sample, options=self.options)
                geodesic(sample, directions=("+z", "+y", "+x"), options=self.options)
        first, *others = self.samples
        node = f"{self.field}_fidelity_{self.volumes}"
        fidelity(
            first, others, micrograph=self.entry.images,
            phases=Phases(**self.entry.phases) if self.entry.phases else None, as_voxels=True,
            scale=self.entry.scale, out=node, options=self.options,
        )  # fmt: skip
        comparison = store.open_dataset(first, node)
        copies = distances(comparison, self.samples, self.seed) if self.entry.phases else {}
        found = judgement_of(self, node, comparison, copies)
        outputs.write_file(self.entry.folder / JUDGEMENT, found.text(), KIND)

    @property
    def _shape(self) -> tuple[int, int, int]:
        return triple((self.edge,) * 3)

    def _network(self, seed: int) -> Network:
        return Network(weights=self.entry.weights, seed=seed, device=self.device)

    def _refuse_fault(self) -> None:
        if self.entry.fault:
            raise InputError(self.entry.fault)


def judgement_of(
    judging: Judging, node: str, found: xr.Dataset, copies: Mapping[str, float]
) -> Judgement:
    """Numbers of a comparison, each the worst over slices and phases."""
    deviations = {
        str(name): _largest(found.deviation.sel(quantity=name).values)
        for name in found["quantity"].values
    }
    within = found.within.values[np.isfinite(found.within.values)]
    three_d = {}
    if "reported" in found:
        means = found.reported.mean("volume").values
        named = zip(map(str, found["result"].values), map(float, means), strict=True)
        three_d = {
            name.replace(" (", ".").removesuffix(")"): value
            for name, value in named
            if name.partition(" (")[0] in THREE_D
        }
    return Judgement(
        judging.entry.generator, dict(judging.entry.micrographs), judging.volumes, judging.edge, judging.seed, node,
        deviations, int(within.sum()), int(within.size), three_d, copies,
    )  # fmt: skip


def _largest(values: np.ndarray) -> float:
    known = np.abs(values[np.isfinite(values)])
    return float(known.max()) if known.size else math.nan
