"""Fields beside the labels: read with them, refused where they do not fit, measured anew where they were replaced."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tim3d.descriptors.base import Descriptor, Material, Partial, Variable
from tim3d.descriptors.coupled import coupled
from tim3d.descriptors.inputs import Input
from tim3d.errors import ArgumentError, InputError, MissingFieldError, MixedRunError
from tim3d.grid import Box, Grid
from tim3d.kernels.statistics.exact_sums import FixedPoint
from tim3d.storage import store

SHAPE, QUIET, POINT = (9, 10, 14), tim3d.Options(progress=False), FixedPoint(16)
PHASES = tim3d.Phases(pore=0, solid=1)
MANY = tim3d.Options(progress=False, block=(4, 5, 14))


def total_of(values: np.ndarray, core: Box, material: Material) -> int:
    return POINT.total(values[core.slices])


def descriptor(read: Input, name: str = "heat") -> Descriptor:
    """The sum of a field of values."""
    return Descriptor(
        name,
        (Partial(name, (0, 0, 0), (), (), total_of, reads=(read,)),),
        (Variable(name, (), 0, "sum of a field", "fixed point", "none", units="W"),),
        lambda totals, material: {name: totals[name] * POINT.quantum},
    )


HEAT = descriptor(
    Input(
        "values", "{field}_heat", "tim3d solve {sample} --conductivity pore=0,solid=1 --keep flux"
    )
)


def volume(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


def ingest(folder: Path, name: str, array: np.ndarray, *, step: int = 5, **options: Any) -> str:
    np.save(folder / "stack.npy", array)
    url = str(folder / "a.zarr")
    how = tim3d.Options(progress=False, overwrite=name in options.pop("again", ()))
    size = {"z": 10, "y": 5, "x": step}
    tim3d.ingest(
        folder / "stack.npy",
        url,
        voxel_size=size,
        field=name,
        shard=(4, 5, 14),
        options=how,
        **options,
    )
    return url


@pytest.fixture
def sample(tmp_path: Path) -> str:
    ingest(tmp_path, "phase_heat", volume(0))
    return ingest(tmp_path, "phase", (volume(1) > 0).astype(np.uint8), phases=PHASES)


def test_values_are_summed_to_half_a_quantum_a_voxel(sample: str) -> None:
    heat = volume(0)
    found = tim3d.measure(sample, [HEAT], options=MANY)
    assert abs(found.heat.item() - heat.astype(np.float64).sum()) <= heat.size * POINT.quantum / 2
    assert found.heat.attrs["units"] == "W"
    again = tim3d.Options(progress=False, overwrite=True)
    assert (
        tim3d.measure(sample, ["phase_fraction", HEAT], options=again).heat.item()
        == found.heat.item()
    )
    part = tim3d.describe(sample, [HEAT], field="phase")
    assert part.heat.item() == found.heat.item()
    assert tim3d.validate(sample) == []


def test_a_field_without_labels_is_measured_by_what_reads_none(sample: str) -> None:
    own = descriptor(Input("values"))
    found = tim3d.measure(sample, [own], field="phase_heat", options=MANY)
    assert found.heat.item() == tim3d.describe(sample, [own], field="phase_heat").heat.item()
    top = tim3d.describe(sample, [own], field="phase_heat", z=slice(0, 40)).heat.item()
    assert abs(top - volume(0)[:4].astype(np.float64).sum()) <= 4 * 140 * POINT.quantum / 2
    for wanted in (["phase_fraction"], None, ["percolation"]):
        with pytest.raises(ArgumentError, match="'phase_heat' holds no labels"):
            tim3d.measure(sample, wanted, field="phase_heat", options=QUIET)


def test_a_field_that_is_not_there_is_one_line_with_its_command(tmp_path: Path) -> None:
    url = ingest(tmp_path, "phase", (volume(1) > 0).astype(np.uint8), phases=PHASES)
    whole = coupled("heat", (), lambda heat, material: {}, reads=HEAT.needs[0].reads)
    for own in (HEAT, whole):
        with pytest.raises(MissingFieldError) as refused:
            tim3d.measure(url, ["phase_fraction", own], options=QUIET)
        assert f"'heat' reads the field 'phase_heat', not in {url} (has phase)" in str(
            refused.value
        )
        assert str(refused.value).endswith(
            f"Make it: tim3d solve {url} --conductivity pore=0,solid=1 --keep flux"
        )
    for read, made in (
        (Input("grey", "raw"), "ingest SLICES"),
        (Input("numbers", "component"), "label"),
    ):
        with pytest.raises(MissingFieldError, match=rf"Make it: tim3d {made}"):
            tim3d.plan("measure", url, [descriptor(read)])
    assert store.nodes(url) == ["phase"]


def test_another_type_and_another_grid_are_refused(tmp_path: Path, sample: str) -> None:
    with pytest.raises(
        ArgumentError, match=r"reads 'phase_heat' as grey, which are uint8 or uint16; .* is float32"
    ):
        tim3d.measure(sample, [descriptor(Input("grey", "phase_heat"))], options=QUIET)
    with pytest.raises(ArgumentError, match="reads 'phase' as values"):
        tim3d.measure(sample, [descriptor(Input("values"))], options=QUIET)
    ingest(tmp_path, "wide", volume(2), step=7, other_grid=True)
    with pytest.raises(
        InputError, match=r"'phase' .* has 9 x 10 x 14 voxels .* and 'wide' has .* lie on one grid"
    ):
        tim3d.measure(sample, [descriptor(Input("values", "wide"))], options=QUIET)


def test_a_field_that_was_replaced_is_measured_anew(tmp_path: Path, sample: str) -> None:
    tim3d.measure(sample, [HEAT, "phase_fraction"], options=QUIET)
    tim3d.measure(sample, ["euler_density"], options=QUIET)
    assert set(store.node_attributes(sample, "phase_descriptors")["inputs"]) == {
        "phase",
        "phase_heat",
    }
    ingest(tmp_path, "phase_heat", 2 * volume(0), again=("phase_heat",))
    with pytest.raises(MixedRunError, match="another version of 'phase_heat'"):
        tim3d.describe(sample, [HEAT])
    before = volume(0).astype(np.float64).sum()
    assert tim3d.measure(sample, [HEAT], options=QUIET).heat.item() == pytest.approx(
        2 * before, abs=1e-2
    )
    tim3d.measure(sample, ["phase_fraction"], options=QUIET)
    assert {"heat", "phase_fraction"} <= set(tim3d.open_dataset(sample, "phase_descriptors"))
    assert tim3d.plan("measure", sample, [HEAT, "phase_fraction"]) == []


def test_what_a_block_gives_wrongly_ends_the_run_in_one_line(sample: str) -> None:
    wrong = Partial(
        "mean", (0, 0, 0), (), (), lambda labels, core, material: labels[core.slices].mean()
    )
    with pytest.raises(
        ArgumentError, match="partial 'mean' gave float64; partials are whole numbers"
    ):
        tim3d.measure(
            sample, [Descriptor("mean", (wrong,), (), lambda totals, material: {})], options=QUIET
        )
    assert "phase_partials" not in store.nodes(sample)


@pytest.mark.long
def test_ten_descriptors_read_each_field_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = ingest(tmp_path, "phase", (volume(1) > 0).astype(np.uint8), phases=PHASES)
    for verb in (tim3d.distance, tim3d.thickness):
        verb(sample, options=QUIET)
    tim3d.label(sample, keep=True, options=QUIET)
    ten = [
        "phase_fraction", "specific_surface", "mean_curvature_integral", "euler_density",
        "interface_area", "correlation:lags=2", "chord_length:lags=4", "slice_shape", "thickness",
        "distance",
    ]  # fmt: skip
    asked: dict[str, list[Box]] = {}
    taken: dict[str, int] = {}

    def noted(array: Any, box: Box) -> np.ndarray:
        name = array.path.rpartition("/")[2]
        asked.setdefault(name, []).append(box)
        found = read_box(array, box)
        taken[name] = taken.get(name, 0) + found.nbytes
        return found

    read_box = store.read_box
    monkeypatch.setattr(store, "read_box", noted)
    tim3d.measure(sample, ten, options=MANY)
    blocks = len(Grid(SHAPE, (4, 5, 14)))
    # The widest halo that one of them needs: that of chords of four voxels.
    read = [one.read for one in Grid(SHAPE, (4, 5, 14), (4, 4, 4))]
    voxels = sum(math.prod(one.shape) for one in read)
    assert {name: len(boxes) for name, boxes in asked.items()} == dict.fromkeys(taken, blocks)
    assert taken == {"phase": voxels, "phase_distance": 4 * voxels, "phase_thickness": 4 * voxels}
