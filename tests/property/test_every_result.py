"""Laws of the results of every verb that measures or changes a volume: turned, mirrored, or in other units of length.

Edges of a voxel and numbers of voxels differ along all axes. What a verb gives is found by its name, its
dimensions and its unit, so that a new variable is under the laws without a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage as ndi

import tim3d
from tests.turns import Change, power_of_length
from tim3d.cleaning import Closing, Islands, Majority, Opening
from tim3d.corrections import Background, Median
from tim3d.verbs import VERBS

QUIET = tim3d.Options(progress=False)
PHASES = tim3d.Phases(pore=0, solid=1)
SHAPE, SPACING = (14, 16, 19), (10.0, 8.0, 5.0)
SMOOTH = ndi.gaussian_filter(np.random.default_rng(5).normal(size=SHAPE), 1.6)
SOLID = (SMOOTH > 0).astype(np.uint8)
TRUTH = (SMOOTH > 0.02).astype(np.uint8)
GREY = np.clip(128 + 900 * SMOOTH + np.random.default_rng(1).normal(size=SHAPE), 0, 255).astype(
    np.uint8
)
CHANGES = {
    "scaled": Change(scale=2.0),
    "turned": Change((1, 2, 0)),
    "mirrored": Change(mirrored=True),
}


@dataclass(frozen=True)
class World:
    """A sample of the changed volume, and how what is asked changes with it."""

    sample: str
    change: Change

    def nm(self, length: float) -> float:
        """A length."""
        return length * self.change.scale

    def directions(self, *words: str) -> list[str]:
        """Directions along axes."""
        return [self.change.word(w, [f"{s}{a}" for a in "zyx" for s in "+-"]) for w in words]


Asked = Callable[[World], dict[str, Any]]


# Volumes, by the verbs that give them: what is asked of each. Corrections look at slices along z.
FIELDS: dict[str, Asked] = {
    "distance": lambda w: {},
    "thickness": lambda w: {},
    "skeleton": lambda w: {},
    "watershed": lambda w: {"heights": "phase_distance", "depth": w.nm(2.0), "phase": "solid", "out": "objects"},
    "annotate_instances": lambda w: {"instances": "objects", "width": w.nm(9.0)},
    "segment": lambda w: {"method": "otsu", "phases": PHASES, "out": "cut"},
    "prepare": lambda w: {"steps": [Median(radius_nm=w.nm(11.0)), Background(scale_nm=w.nm(40.0))]},
    "clean": lambda w: {
        "steps": [
            Opening("solid", w.nm(11.0)), Closing("solid", w.nm(11.0)), Majority(w.nm(10.5)),
            Islands("pore", below_nm3=w.nm(20.0) * w.nm(15.0) * w.nm(10.0)),
        ],
    },
}  # fmt: skip
# Tables; a word behind the verb tells its calls apart.
RESULTS: dict[str, Asked] = {
    "measure": lambda w: {},
    "label": lambda w: {"keep": True},
    "solve": lambda w: {
        "conductivity": {"pore": 1.0, "solid": 10.0}, "axis": w.change.axis("z"), "tolerance": 1e-7,
        "interface": {"pore:solid": 2e8 / w.change.scale},
    },
    "geodesic": lambda w: {},
    "porosimetry": lambda w: {"phase": "solid", "directions": w.directions("+z", "-z", "+y", "-y", "+x", "-x")},
    "particles of components": lambda w: {"instances": "component"},
    "particles": lambda w: {"phase": "solid"},
    "struts": lambda w: {},
    "study": lambda w: {"quantity": "phase_fraction", "phase": "solid", "windows_nm": [w.nm(40.0), w.nm(60.0)]},
    "evaluate": lambda w: {"tolerance": w.nm(12.0), "resamples": 100},
    "describe": lambda w: {},
}  # fmt: skip
EVERY = FIELDS | RESULTS
# What depends on the order of the voxels: thinning, floods of equal heights, and all that is made of them.
ORDERED = {"skeleton", "watershed", "annotate_instances", "particles", "struts", "describe"}
# Windows are laid from the first corner; slices along z are no others.
KEPT = {
    "scaled": set(EVERY),
    "turned": set(EVERY) - ORDERED - {"prepare", "evaluate"},
    "mirrored": set(EVERY) - ORDERED - {"study"},
}
# Rows whose order is that of the voxels, and what stands in them: numbers of others, and places.
LISTS = {"component", "particle", "contact"}
NUMBERS = {"contact_first", "contact_second", "particle_neighbour"}
# Bootstrap of slices, which are others or in another order.
RESAMPLED = ("_low", "_high")
# Logarithms of lengths, in nm.
LOGARITHMS = ("_fit_mu",)
# They make no volume of the sample or table of one: networks, images, text, figures and many samples.
OTHERS = {
    "adapt", "annotate", "bond_line", "calibrate", "combine_labels", "confidence", "contact", "count_points", "embed",
    "evaluate_images", "export", "fidelity", "fidelity_images", "fine_tune", "fit_imaging", "generate",
    "generate_images", "import_generator", "import_network", "ingest", "inspect", "library", "likeness",
    "link_slices", "measure_images", "paint", "plot", "points", "predict_images", "propagate", "relate", "render",
    "report", "sample_labels", "segment_images", "segment_prompted", "simulate", "table", "take_painted", "train",
    "train_cgan", "train_diffusion", "train_generator", "train_images", "train_strokes", "train_strokes_images",
    "train_surrogate", "train_translator", "translate", "tune_masks", "tune_masks_images", "view",
}  # fmt: skip


def world(folder: Path, change: Change) -> World:
    """A sample of grey values, labels and their truth."""
    sample = str(folder / "a.zarr")
    z, y, x = change.edges(SPACING)
    for name, values in (("phase", SOLID), ("truth", TRUTH), ("raw", GREY)):
        np.save(folder / f"{name}.npy", change.voxels(values))
        tim3d.ingest(
            folder / f"{name}.npy",
            sample,
            voxel_size={"z": z, "y": y, "x": x},
            field=name,
            phases=None if name == "raw" else PHASES,
            options=QUIET,
        )
    return World(sample, change)


def verb_of(name: str) -> Any:
    return getattr(tim3d, name.split()[0])


def found(folder: Path, change: Change, names: set[str]) -> dict[str, Any]:
    """What verbs give in the changed volume."""
    asked, results = world(folder, change), {}
    for name in [name for name in EVERY if name in names]:
        one = verb_of(name)(asked.sample, **EVERY[name](asked), options=QUIET)
        results[name] = (
            tim3d.open_field(asked.sample, "cleaned") if name == "clean" else one
        ).load()
    return results


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return found(tmp_path_factory.mktemp("whole"), Change(), KEPT["scaled"])


def test_every_verb_is_under_the_laws_or_named() -> None:
    assert {name.split()[0] for name in EVERY} | OTHERS == set(VERBS)


@pytest.mark.long
@pytest.mark.parametrize("name", CHANGES)
def test_every_result_is_that_of_the_changed_volume(
    whole: dict[str, Any], tmp_path: Path, name: str
) -> None:
    change = CHANGES[name]
    other = found(tmp_path, change, KEPT[name])
    wrong = []
    for verb, one in other.items():
        expected = whole[verb]
        if verb in FIELDS:
            voxels = change.voxels(expected.values)
            one = xr.Dataset({"volume": (("z", "y", "x"), one.values, one.attrs)})
            expected = xr.Dataset({"volume": (("z", "y", "x"), voxels, expected.attrs)})
        else:
            expected = change.expected(expected, one)
        wrong += [f"{verb}: {seen}" for seen in differences(one, expected, change)]
    assert not wrong, "\n".join(wrong)


def differences(one: xr.Dataset, expected: xr.Dataset, change: Change) -> list[str]:
    """Variables that are not as expected, but for lengths, which are to be scaled."""
    if set(one.variables) != set(expected.variables):
        return [f"has {set(one.variables) ^ set(expected.variables)} in one of both only"]
    wrong = []
    for key, values in expected.variables.items():
        if values.dtype.kind not in "fiub" or skipped(str(key), values, change):
            continue
        units = str(values.attrs.get("units", "1"))
        if one[key].attrs.get("units", "1") != units:
            wrong.append(f"{key} in {one[key].attrs.get('units')} for {units}")
        seen, wanted = (rows_of(v, change) for v in (one[key].transpose(*values.dims), values))
        wanted = wanted * change.scale ** power_of_length(units)
        if str(key).endswith(LOGARITHMS):
            wanted = wanted + np.log(change.scale)
        near = 1e-6 if units == "1" else 1e-5 * np.nan_to_num(np.abs(wanted)).max(initial=0)
        if not np.allclose(seen, wanted, rtol=1e-5, atol=near, equal_nan=True):
            wrong.append(f"{key} in {units} is {seen.ravel()[:4]} for {wanted.ravel()[:4]}")
    return wrong


def skipped(name: str, values: xr.Variable, change: Change) -> bool:
    """What a turned or mirrored volume has in another order, or from another corner."""
    if change.scale != 1:
        return False
    in_rows = bool(LISTS & set(values.dims))
    placed = change.mirrored and "axis" in values.dims and "side" not in values.dims
    return (
        name in NUMBERS
        or name.endswith(RESAMPLED)
        or (change.mirrored and name in LISTS)
        or (in_rows and placed)
    )


def rows_of(values: Any, change: Change) -> NDArray[np.float64]:
    """The numbers; rows that have no order of their own are sorted, and axes of ellipsoids have no sign."""
    numbers = np.asarray(values.values, np.float64)
    lists = [n for n, dim in enumerate(values.dims) if dim in LISTS]
    if change.scale != 1 or not lists:
        return numbers
    return np.sort(np.abs(numbers), axis=lists[0])
