"""A local fraction that a sample gives: linear between its voxels, by coordinates in nm, whatever the box."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import tim3d
from tests.diffusers import LAW, SPACING, TWO, saved
from tests.works import dying_at
from tim3d.errors import ArgumentError, InputError, MissingFieldError
from tim3d.generators import Box, Diffusion
from tim3d.grid import Triple
from tim3d.models.diffusion.reverse_field import DiffusionField
from tim3d.stages.generation.given_fraction import GivenFraction, given_fraction
from tim3d.stages.generation.iteration import StepWork
from tim3d.storage import store

pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
SHAPE = (10, 18, 13)
QUIET = tim3d.Options(progress=False)


def given(folder: Path, values: np.ndarray, name: str = "graded") -> str:
    """Sample whose field raw has these values, and the size of the volume."""
    sample, file = str(folder / f"{name}.zarr"), folder / f"{name}.npy"
    np.save(file, values)
    size = {
        axis: n * edge / own
        for axis, n, edge, own in zip("zyx", SHAPE, SPACING, values.shape, strict=True)
    }
    tim3d.ingest(file, sample, voxel_size=size, options=QUIET)
    return sample


@pytest.fixture
def graded(tmp_path: Path) -> str:
    rng = np.random.default_rng(0)
    return given(tmp_path, rng.uniform(0.2, 0.8, (4, 6, 7)).astype(np.float32))


def fraction(sample: str, periodic: bool = False) -> GivenFraction:
    return given_fraction(sample, "raw", LAW, SHAPE, SPACING, periodic)


@pytest.mark.parametrize("periodic", [False, True])
def test_values_are_those_of_a_plain_interpolation(graded: str, periodic: bool) -> None:
    """Against scipy's, whose coordinates are in voxels of the field."""
    box = Box((-9, -7, -8), (19, 30, 25))
    found = fraction(graded, periodic).standardised(box)
    coarse = np.asarray(tim3d.open_field(graded, "raw"))
    places = np.meshgrid(
        *(
            (np.arange(a, b) + 0.5) * own / n - 0.5
            for a, b, own, n in zip(box.start, box.stop, coarse.shape, SHAPE, strict=True)
        ),
        indexing="ij",
    )
    mode = "grid-wrap" if periodic else "nearest"
    plain = ndimage.map_coordinates(coarse.astype(float), places, order=1, mode=mode)
    assert np.abs(found - (plain - LAW.mean) / LAW.deviation).max() < 1e-5


@pytest.mark.parametrize("periodic", [False, True])
def test_any_box_has_the_bits_of_a_larger_one(graded: str, periodic: bool) -> None:
    whole, field = Box((-5, -5, -5), (15, 25, 20)), fraction(graded, periodic)
    values = field.standardised(whole)
    for box in (
        Box((-2, 3, 7), (1, 20, 9)),
        Box((0, 0, 0), SHAPE),
        Box((14, 24, 19), (15, 25, 20)),
    ):
        assert np.array_equal(field.standardised(box), values[box.within(whole).slices])


def diffusion(folder: Path, sample: str, **more: Any) -> Diffusion:
    net = saved(folder, "coarse volumes")
    return Diffusion(
        net, steps=2, seed=3, tile=16, device="cpu", **{"coarse_sample": sample, **more}
    )


def in_memory(generator: Diffusion, shape: Triple = SHAPE) -> np.ndarray:
    made = generator.of_shape(shape)
    assert isinstance(made, DiffusionField)
    return np.array(list(TWO.codes))[made.labels(Box.whole(shape))]


@pytest.mark.long
def test_three_blockings_and_a_death_give_the_same_bits_and_it_is_recorded(
    tmp_path: Path, graded: str
) -> None:
    generator = diffusion(tmp_path, graded)
    expected = in_memory(generator)
    assert not np.array_equal(expected, in_memory(diffusion(tmp_path, graded, coarse_sample=None)))
    for number, block in enumerate([(16, 16, 16), (16, 48, 32), (32, 24, 48)]):
        sample = str(tmp_path / f"{number}.zarr")
        options = tim3d.Options(block=block, progress=False)
        if number == 0:
            with dying_at(StepWork, 3):
                tim3d.generate(sample, generator, shape=SHAPE, shard=(8, 8, 8), options=options)
        made = tim3d.generate(sample, generator, shape=SHAPE, shard=(8, 8, 8), options=options)
        assert np.array_equal(made, expected)
    told = (tmp_path / "0.zarr" / "phase" / "zarr.json").read_text().replace(" ", "")
    assert '"kind":"given"' in told


def test_another_field_is_another_volume(tmp_path: Path, graded: str) -> None:
    other = given(tmp_path, np.full((1, 1, 1), 0.4, np.float32), "even")
    described = [diffusion(tmp_path, s).of_shape(SHAPE).description() for s in (graded, other)]
    assert described[0] != described[1]


@pytest.mark.parametrize(("value", "words"), [(1.5, "has 1.5 at voxel"), (-0.1, "has -0.1 at")])
def test_a_value_that_is_no_fraction_is_refused_where_it_is_read(
    tmp_path: Path, value: float, words: str
) -> None:
    values = np.full((4, 6, 7), 0.5, np.float32)
    values[2, 3, 4] = value
    sample = given(tmp_path, values)
    with pytest.raises(InputError, match=rf"{words}.*from 0 to 1"):
        in_memory(diffusion(tmp_path, sample))


def test_what_does_not_fit_is_refused_in_one_line(tmp_path: Path, graded: str) -> None:
    whole = given(tmp_path, np.zeros((4, 6, 7), np.uint8), "whole")
    for sample, more, error, words in [
        (whole, {}, ArgumentError, "holds uint8, and a local fraction is a number from 0 to 1"),
        (graded, {"coarse_field": "none"}, MissingFieldError, "none"),
        (graded, {"coarse": 1.0}, ArgumentError, "leave one of them out"),
        (None, {"coarse_field": "raw"}, ArgumentError, "name it with --coarse-sample"),
    ]:
        with pytest.raises(error, match=words):
            diffusion(tmp_path, sample, **more).of_shape(SHAPE)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="is 120 nm long along z, and the volume 240 nm"):
        diffusion(tmp_path, graded).of_shape((20, 18, 13))
    plain = Diffusion(saved(tmp_path, "volumes"), coarse_sample=graded, device="cpu")
    with pytest.raises(ArgumentError, match="--coarse-sample is about the local fraction"):
        plain.of_shape(SHAPE)


def test_a_box_across_faces_reads_no_more_than_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(1).uniform(0.2, 0.8, [4 * n for n in SHAPE])
    field = fraction(given(tmp_path, values.astype(np.float32), "finer"), periodic=True)
    box, plain, read = Box((-2,) * 3, (2,) * 3), store.read_box, []
    monkeypatch.setattr(store, "read_box", lambda a, part: [read.append(part), plain(a, part)][1])
    field.standardised(box)
    assert sum(math.prod(part.shape) for part in read) <= (4 * 4 + 2) ** 3
    assert len(read) == 8


def test_the_peak_of_memory_is_below_what_a_plan_counts(tmp_path: Path) -> None:
    fine = given(tmp_path, np.full(SHAPE, 0.5, np.float32), "fine")
    field, box = fraction(fine), Box((-32, -32, -32), (64, 64, 64))
    field.standardised(box)
    tracemalloc.start()
    field.standardised(box)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < field.bytes(box.shape)
    bare, beside = (
        Diffusion(saved(tmp_path, name), tile=16, device="cpu").of_shape(SHAPE)
        for name in ("volumes", "coarse volumes")
    )
    assert beside.block_bytes((16, 16, 16)) > bare.block_bytes((16, 16, 16)) + 4 * 24**3
