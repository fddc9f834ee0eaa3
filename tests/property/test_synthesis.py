"""Any box of a generated volume has the voxels of one plain pass over the whole; nothing shows where boxes meet."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import costly
from tests.generators import TINY, field_of, giant, giant_logits, saved, tiny_generator
from tim3d.errors import ArgumentError, CheckpointError, DeviceError, MemoryPlanError
from tim3d.grid import Box, Grid, Triple
from tim3d.models.generation.slicegan import Generator
from tim3d.models.generation.synthesis import NetworkField, check_room, home, tile_bytes

SHAPE = (29, 34, 31)
EVERY = pytest.mark.parametrize("name", TINY)
Fields = dict[str, tuple[NetworkField, np.ndarray]]


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Fields:
    """Every architecture with the whole volume, in tiles."""
    found = {}
    for name, architecture in TINY.items():
        file = saved(tmp_path_factory.mktemp("net"), architecture)
        field = field_of(file, architecture, SHAPE)
        found[name] = (field, field.labels(Box.whole(SHAPE)))
    return found


@cache
def at_once(name: str) -> tuple[Generator, np.ndarray, torch.Tensor]:
    """A net, and the values and logits of one plain pass of it over the whole volume."""
    net = tiny_generator(TINY[name])
    return net, giant(net, SHAPE), giant_logits(net, SHAPE)[0]


@EVERY
@pytest.mark.parametrize("edge", [8, 24])
def test_tiles_of_any_size_are_the_giant_pass(tmp_path: Path, name: str, edge: int) -> None:
    """No label differs but where the two highest logits are equal to rounding; grey values, by one where it decides."""
    architecture, (net, expected, logits) = TINY[name], at_once(name)
    field = field_of(saved(tmp_path, architecture, net), architecture, SHAPE, edge)
    assert field.edge == edge
    made = field.labels(Box.whole(SHAPE))
    assert len(np.unique(expected)) >= (
        architecture.outputs if architecture.output == "phases" else 20
    )
    differs = made != expected
    assert differs.mean() < 1e-4
    if architecture.output == "phases":
        highest = logits.topk(2, dim=0).values.numpy()
        scale = highest.std()
        assert ((highest[0] - highest[1])[differs] < 1e-5 * scale).all()
    else:
        assert np.abs(made.astype(int) - expected).max() <= 1


@given(
    name=st.sampled_from(sorted(TINY)), start=st.tuples(*[st.integers(0, 28)] * 3), data=st.data()
)
def test_a_box_is_cut_out_of_the_volume_bit_for_bit(
    fields: Fields, name: str, start: Triple, data: st.DataObject
) -> None:
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, SHAPE, strict=True))
    box = Box(start, stop)  # type: ignore[arg-type]
    field, whole = fields[name]
    assert np.array_equal(field.labels(box), whole[(..., *box.slices)])


@costly
@given(name=st.sampled_from(sorted(TINY)), block=st.tuples(*[st.integers(5, 34)] * 3))
def test_any_chunking_is_the_volume(fields: Fields, name: str, block: Triple) -> None:
    field, whole = fields[name]
    again = np.empty_like(whole)
    for part in Grid(SHAPE, block):
        again[(..., *part.core.slices)] = field.labels(part.core)
    assert np.array_equal(again, whole)


def test_boxes_before_the_origin_belong_to_the_same_volume(fields: Fields) -> None:
    field, _ = fields["three phases"]
    around = field.labels(Box((-20, -7, -16), (9, 10, 11)))
    assert np.array_equal(around[20:, 7:, 16:], field.labels(Box.whole((9, 10, 11))))
    assert np.array_equal(around[:12, :, :8], field.labels(Box((-20, -7, -16), (-8, 10, -8))))


@pytest.mark.parametrize("name", ["two phases", "wide paddings", "resize", "grey"])
def test_a_periodic_volume_repeats_itself(tmp_path: Path, name: str) -> None:
    architecture = TINY[name]
    step, period = architecture.step, (4, 2, 3)
    file = saved(tmp_path, architecture)
    shape = tuple(step * n for n in period)
    field = field_of(file, architecture, shape, step, period)  # type: ignore[arg-type]
    twice = field.labels(Box.whole(tuple(2 * n for n in shape)))  # type: ignore[arg-type]
    assert np.array_equal(twice, np.tile(twice[: shape[0], : shape[1], : shape[2]], (2, 2, 2)))
    endless = dataclasses.replace(field, period=(0, 0, 0)).labels(Box.whole(shape))  # type: ignore[arg-type]
    assert not np.array_equal(endless, twice[: shape[0], : shape[1], : shape[2]])
    if architecture.output == "phases":
        assert np.array_equal(
            giant(tiny_generator(architecture), shape, period), twice[tuple(map(slice, shape))]
        )  # type: ignore[arg-type]


def seam_ratio(labels: np.ndarray, edge: int, step: int) -> float:
    """Pairs of other phase across faces of tiles, over those across other planes of the same place in a step.

    The density of interfaces itself varies within a step, so that planes are compared with their
    like.
    """
    across, elsewhere = [], []
    for axis in range(3):
        changes = (np.diff(labels.astype(int), axis=axis) != 0).mean(
            axis=tuple(a for a in range(3) if a != axis)
        )
        for plane in range(step - 1, len(changes), step):
            (across if (plane + 1) % edge == 0 else elsewhere).append(changes[plane])
    return float(np.mean(across) / np.mean(elsewhere))


def test_nothing_shows_where_tiles_meet_and_the_test_would_see_it(tmp_path: Path) -> None:
    """The control has noise of its own for each tile, which is what generating chunk by chunk must not do."""
    architecture, shape, edge = TINY["two phases"], (96, 96, 96), 16
    field = field_of(saved(tmp_path, architecture), architecture, shape, edge)
    seamless = field.labels(Box.whole(shape))
    assert seam_ratio(seamless, edge, architecture.step) == pytest.approx(1.0, abs=0.05)
    apart = np.empty_like(seamless)
    for number, tile in enumerate(Grid(shape, (edge, edge, edge))):
        apart[tile.core.slices] = dataclasses.replace(field, seed=100 + number).labels(
            Box.whole((edge, edge, edge))
        )
    assert seam_ratio(apart, edge, architecture.step) > 1.5


def test_a_padding_of_one_is_refused_for_a_reason() -> None:
    """The same network with padding 1 makes other voxels of the same noise near the edges of a window."""
    architecture = TINY["two phases"]
    net = tiny_generator(architecture)
    noise = torch.randn(1, architecture.latent, 9, 9, 9)
    whole, window = net(noise), net(noise[:, :, 2:7, 2:7, 2:7])
    assert (whole[:, :, 16:40, 16:40, 16:40] - window).abs().max() < 1e-5
    for conv in net.convs:
        conv.padding = (1, 1, 1)
    whole, window = net(noise), net(noise[:, :, 2:7, 2:7, 2:7])
    offset = 2 * architecture.step
    inside = whole[:, :, offset:, offset:, offset:][(..., *map(slice, window.shape[2:]))]
    assert (inside - window).abs().max() > 0.01


def test_values_farther_apart_than_the_correlation_are_independent(fields: Fields) -> None:
    """A node changed alone changes nothing beyond its reach: the same noise but for the period tells."""
    field, _ = fields["two phases"]
    reach, step = field.architecture.correlation, field.architecture.step
    far = dataclasses.replace(field, period=(50, 0, 0))
    edge = 50 * step
    near_end = Box((edge - reach - 2 * step, 0, 0), (edge + 2 * step, 24, 24))
    same = (field.labels(near_end) == far.labels(near_end)).all(axis=(1, 2))
    assert same[: reach - step].all()
    assert not same[reach + step :].all()


def test_reduced_precision_flips_few_labels_and_is_no_default(tmp_path: Path) -> None:
    architecture = TINY["two phases"]
    net = tiny_generator(architecture)
    field = field_of(saved(tmp_path, architecture, net), architecture, SHAPE)
    made = field.labels(Box.whole(SHAPE))
    rough = dataclasses.replace(field, precision="bfloat16").labels(Box.whole(SHAPE))
    assert 0 < (rough != made).mean() < 0.03
    logits = giant_logits(net, SHAPE)[0]
    margin = (logits[1] - logits[0]).abs().numpy()
    assert margin[rough != made].max() < 0.1 * margin.max()


def test_a_field_is_small_and_needs_the_planned_file(tmp_path: Path) -> None:
    import cloudpickle

    architecture = TINY["two phases"]
    file = saved(tmp_path, architecture)
    field = field_of(file, architecture, SHAPE)
    assert len(cloudpickle.dumps(field)) < 1500
    assert home(field) is home(dataclasses.replace(field))
    saved(tmp_path, architecture, tiny_generator(architecture, seed=1))
    with pytest.raises(CheckpointError, match="the run was planned with"):
        home(dataclasses.replace(field, seed=4))


def test_threads_that_others_have_set_do_not_matter(fields: Fields) -> None:
    field, whole = fields["two phases"]
    torch.set_num_threads(2)
    assert np.array_equal(field.labels(Box.whole(SHAPE)), whole)
    assert torch.get_num_threads() == 1


def test_tiles_that_a_device_has_no_room_for_are_refused(fields: Fields) -> None:
    field, _ = fields["two phases"]
    needed = tile_bytes(field.architecture, field.nodes)
    check_room(field, needed)
    with pytest.raises(MemoryPlanError, match=r"tiles of 16 voxels need .* on cpu.*: --tile 8"):
        check_room(field, needed - 1)
    check_room(dataclasses.replace(field, precision="bfloat16"), needed // 2)


WRONG: list[tuple[dict[str, object], str]] = [
    ({"nodes": 2}, "gives no whole step of 8 voxels"),
    ({"nodes": 300}, "torch computes below 2147483648; give smaller ones"),
    ({"precision": "float16"}, "float16 needs a CUDA device"),
    ({"precision": "float64"}, "choose of float32, bfloat16, float16"),
]


@pytest.mark.parametrize(("wrong", "says"), WRONG)
def test_what_cannot_be_computed_is_refused(
    fields: Fields, wrong: dict[str, object], says: str
) -> None:
    with pytest.raises(ArgumentError, match=says):
        dataclasses.replace(fields["two phases"][0], **wrong)  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_a_device_that_is_not_here_is_named(fields: Fields) -> None:
    with pytest.raises(DeviceError, match="cuda"):
        dataclasses.replace(fields["two phases"][0], device="cuda").labels(Box.whole((1, 1, 1)))
