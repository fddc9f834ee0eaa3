"""Slices across several axes: one mean for the volume, whatever the blocks, and where they contradict each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tim3d
from tests.nets import tiny_checkpoint
from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple
from tim3d.models.segmentation.by_network import network_segmenter
from tim3d.models.segmentation.checkpoint import Normalisation, describe, digest
from tim3d.models.segmentation.inference import segment_core
from tim3d.models.segmentation.network_segmenter import Inference, lattice_of
from tim3d.models.segmentation.planes_segmenter import PlanesSegmenter
from tim3d.models.segmentation.predictor import Predictor
from tim3d.models.segmentation.segmenter import Segmenter
from tim3d.storage import store

QUIET = tim3d.Options(progress=False)
WINDOWS: list[dict[str, Any]] = [
    {},
    {"window": (16, 16), "halo": 4},
    {"window": (16, 16), "halo": 4, "mode": "blend"},
]
VOLUME = Normalisation("volume", (120.0,), (50.0,))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Networks of one slice, and of three."""
    folder = tmp_path_factory.mktemp("nets")
    return {n: tiny_checkpoint(folder / f"{n}.safetensors", slices=n) for n in (1, 3)}


def made(
    model: Path, shape: Triple, planes: str, scale: Normalisation = VOLUME, **how: Any
) -> Segmenter:
    called = Predictor(str(model), digest(model), normalisation=scale)
    asked = Inference(planes=tuple(planes), probabilities=True, **how)
    return network_segmenter(shape, describe(model).spec, called, asked)


def grey_of(shape: Triple) -> np.ndarray:
    drift = np.linspace(-40, 40, shape[0])[:, None, None]
    grey = np.random.default_rng(2).normal(120, 40, shape) + drift
    return np.clip(grey, 0, 255).astype(np.uint8)


def table(length: int) -> Normalisation:
    """Another mean and deviation for each slice."""
    mean = 120 + np.linspace(-40, 40, length)
    return Normalisation("table", tuple(mean.tolist()), tuple(np.linspace(30, 60, length).tolist()))


@given(st.data())
@pytest.mark.long
def test_any_core_has_the_maps_of_the_whole(models: dict[int, Path], data: st.DataObject) -> None:
    shape = data.draw(st.tuples(*(st.integers(1, 21) for _ in range(3))), label="shape")
    planes = data.draw(st.sampled_from(["zyx", "zy", "yx", "x"]))
    scale = data.draw(st.sampled_from([VOLUME, table(shape[0])]))
    model, how = models[data.draw(st.sampled_from([1, 3]))], data.draw(st.sampled_from(WINDOWS))
    seen = made(model, shape, planes, scale, **how)
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
    core = Box(start, stop)  # type: ignore[arg-type]
    volume, whole = grey_of(shape), Box.whole(shape)
    everywhere = seen.region(shape, whole, volume, whole)
    box = seen.read_box(shape, core)
    assert set(everywhere) == {"labels", *(one.name for one in seen.maps)}
    for name, values in seen.region(shape, core, volume[box.slices], box).items():
        np.testing.assert_array_equal(values, everywhere[name][(..., *core.slices)])


@pytest.mark.long
@pytest.mark.parametrize("slices", [1, 3])
def test_it_is_the_mean_of_turned_volumes(models: dict[int, Path], slices: int) -> None:
    """The plain way: the volume is turned, segmented as slices, and turned back."""
    shape, model = (9, 14, 11), models[slices]
    volume, how = grey_of(shape), WINDOWS[1]
    called = Predictor(str(model), digest(model), normalisation=VOLUME)
    every = []
    for axis in range(3):
        turned = np.moveaxis(volume, axis, 0)
        whole = Box.whole(turned.shape)
        lattice = lattice_of(turned.shape, describe(model).spec, Inference(**how))
        seen = segment_core(called, lattice, whole, turned, whole, ("shares",))["shares"]
        every.append(np.moveaxis(seen, 1, axis + 1))
    mean = (every[0] + every[1] + every[2]) / np.float32(3)
    found = made(model, shape, "zyx", **how).region(
        shape, Box.whole(shape), volume, Box.whole(shape)
    )
    np.testing.assert_array_equal(found["labels"], mean.argmax(axis=0))
    np.testing.assert_array_equal(found["probability"], np.rint(mean * 255))
    chosen = np.stack([np.where(found["labels"] == 1, one[1], one[0]) for one in every])
    np.testing.assert_allclose(found["disagreement"], chosen.std(axis=0), atol=1e-6)
    assert found["disagreement"].max() > 0.01


def test_a_turned_volume_has_the_turned_maps(models: dict[int, Path]) -> None:
    """Slices across y of a volume are slices across x of the one whose y and x are exchanged."""
    shape, model = (9, 14, 11), models[1]
    seen = made(model, shape, "zy").exact()
    turned = seen.turned()
    assert isinstance(turned, PlanesSegmenter)
    assert turned.planes == ("z", "x")
    volume = grey_of(shape)
    given = np.ascontiguousarray(volume.swapaxes(1, 2))
    whole, other = Box.whole(shape), Box.whole(given.shape)
    across_y = made(model, shape, "y").exact().region(shape, whole, volume, whole)["probability"]
    across_x = made(model, given.shape, "x").exact().region(given.shape, other, given, other)
    np.testing.assert_array_equal(across_y, across_x["probability"].swapaxes(2, 3))


def ingested(folder: Path, size: dict[str, float]) -> str:
    np.save(folder / "grey.npy", grey_of((9, 37, 33)))
    sample = str(folder / "sample.zarr")
    shared: dict[str, Any] = {"voxel_size": size, "shard": (4, 16, 16), "accept": ["jumps"]}
    tim3d.ingest(folder / "grey.npy", sample, options=QUIET, **shared)
    return sample


@pytest.mark.long
def test_blocks_do_not_show_in_the_fields(models: dict[int, Path], tmp_path: Path) -> None:
    sample = ingested(tmp_path, {"z": 10, "y": 10, "x": 10})
    names = ["phase", "phase_disagreement", "phase_probability_pore"]
    found = []
    for block in ((4, 16, 32), (12, 48, 48)):
        options = tim3d.Options(block=block, progress=False, overwrite=True)
        shared: dict[str, Any] = {"planes": "zyx", "probabilities": True, "options": options}
        tim3d.segment(sample, model=models[3], window=(16, 16), halo=4, **shared)
        found.append([np.asarray(store.field_array(sample, name)[:]) for name in names])
    for one, again in zip(*found, strict=True):
        np.testing.assert_array_equal(one, again)
    assert tim3d.open_field(sample, "phase_disagreement").attrs["units"] == "1"


def test_stretched_voxels_are_refused_and_others_told(
    models: dict[int, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sample = ingested(tmp_path, {"z": 20, "y": 10, "x": 10})
    with pytest.raises(ArgumentError, match=r"look 2 times stretched .* takes up to 1\.5"):
        tim3d.segment(sample, model=models[1], planes="zyx", options=QUIET)
    with pytest.raises(ArgumentError, match="not some of z, y and x"):
        tim3d.segment(sample, model=models[1], planes="zz", options=QUIET)
    assert "phase" not in store.nodes(sample)
    (tmp_path / "near").mkdir()
    near = ingested(tmp_path / "near", {"z": 13, "y": 10, "x": 10})
    tim3d.plan("segment", near, model=models[1], planes="zyx")
    assert "look 1.3 times stretched" in caplog.text
