"""The labels of a network do not depend on the blocks, the workers or a resume: bit for bit on a CPU."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tim3d
from tests.examples import costly
from tests.nets import tiny_checkpoint
from tim3d import Options
from tim3d.grid import Box
from tim3d.models.segmentation.checkpoint import describe, digest
from tim3d.models.segmentation.inference import Predictor, segment_core
from tim3d.models.segmentation.network_segmenter import Inference, lattice_of
from tim3d.stages.segmentation.normalisation import normalisation_of
from tim3d.storage import store

SHARD = (4, 16, 16)
LAYOUTS: dict[str, dict[str, Any]] = {
    "whole slices": {},
    "crop": {"window": (32, 32), "halo": 8},
    "blend": {"window": (32, 32), "halo": 8, "mode": "blend"},
}


@pytest.fixture(scope="module")
def models() -> Iterator[dict[str, Path]]:
    with tempfile.TemporaryDirectory() as folder:
        yield {
            "batch": tiny_checkpoint(Path(folder) / "batch.safetensors"),
            "instance": tiny_checkpoint(Path(folder) / "instance.safetensors", norm="instance"),
            "2.5-D": tiny_checkpoint(Path(folder) / "deep.safetensors", slices=3),
        }


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Grey values with a strong drift, which statistics of a block would betray."""
    grey = (
        np.random.default_rng(seed).normal(120, 40, shape)
        + np.linspace(-40, 40, shape[0])[:, None, None]
    )
    return np.clip(grey, 0, 255).astype(np.uint8)


def ingested(folder: Path, grey: np.ndarray) -> str:
    np.save(folder / "grey.npy", grey)
    sample = str(folder / "sample.zarr")
    tim3d.ingest(
        folder / "grey.npy",
        sample,
        voxel_size={"z": 20, "y": 5, "x": 5},
        shard=SHARD,
        accept=["jumps"],  # the drift of `noise`
        options=Options(progress=False),
    )
    return sample


def unchunked(sample: str, model: Path, layout: dict[str, Any]) -> np.ndarray:
    """The whole volume in one call, with no engine."""
    grey = store.read_field(sample, "raw")
    lattice = lattice_of(grey.shape, describe(model).spec, Inference(**layout))
    predictor = Predictor(
        str(model), digest(model), normalisation=normalisation_of(sample, grey, "volume")
    )
    whole = Box.whole(grey.shape)
    voxels = store.read_box(store.field_array(sample, "raw"), whole)
    return segment_core(predictor, lattice, whole, voxels, whole)["labels"]


# Each layout and each network; slices around a slice have nothing to do with windows within it.
@pytest.mark.long
@pytest.mark.parametrize(
    ("net", "layout"),
    [
        *(("batch", layout) for layout in LAYOUTS),
        pytest.param("instance", "crop", marks=pytest.mark.long),
        ("instance", "blend"),
        pytest.param("2.5-D", "whole slices", marks=pytest.mark.long),
        ("2.5-D", "blend"),
    ],
)
@costly
@given(data=st.data())
def test_every_block_shape_gives_the_same_bits(
    models: dict[str, Path], layout: str, net: str, data: st.DataObject
) -> None:
    shape = data.draw(
        st.tuples(st.integers(1, 11), st.integers(9, 45), st.integers(9, 45)), label="shape"
    )
    with tempfile.TemporaryDirectory() as folder:
        sample = ingested(Path(folder), noise(shape))
        expected = unchunked(sample, models[net], LAYOUTS[layout])
        tops = store.read_field(sample, "raw").shard
        multiples = st.tuples(*(st.integers(1, 3) for _ in range(3)))
        block = tuple(m * t for m, t in zip(data.draw(multiples, label="block"), tops, strict=True))
        options = Options(block=block, progress=False)  # type: ignore[arg-type]
        tim3d.segment(sample, model=models[net], options=options, **LAYOUTS[layout])
        np.testing.assert_array_equal(store.field_array(sample, "phase")[:], expected)


@pytest.mark.long
def test_workers_and_probabilities_give_the_same_bits(
    models: dict[str, Path], tmp_path: Path, two_workers: str
) -> None:
    sample = ingested(tmp_path, noise((9, 40, 37)))
    quiet = Options(progress=False)
    tim3d.segment(sample, model=models["batch"], options=quiet, **LAYOUTS["blend"])
    with tim3d.cluster(two_workers):
        tim3d.segment(
            sample,
            model=models["batch"],
            out="again",
            probabilities=True,
            options=quiet,
            **LAYOUTS["blend"],
        )
    labels, again = (store.field_array(sample, name)[:] for name in ("phase", "again"))
    np.testing.assert_array_equal(labels, again)
    pore, solid = (
        np.asarray(store.field_array(sample, f"again_probability_{n}")[:], int)
        for n in ("pore", "solid")
    )
    assert np.abs(pore + solid - 255).max() <= 1
    decided = np.abs(pore - solid) > 1
    np.testing.assert_array_equal((solid > pore)[decided], (again == 1)[decided])


def test_the_network_is_told_apart_from_a_shifted_lattice(
    models: dict[str, Path], tmp_path: Path
) -> None:
    """The control: windows anchored at blocks instead of the volume do change the labels."""
    sample = ingested(tmp_path, noise((4, 45, 45)))
    expected = unchunked(sample, models["instance"], LAYOUTS["crop"])
    grey = np.asarray(store.field_array(sample, "raw")[:])
    np.save(tmp_path / "part.npy", grey[:, 14:, 14:])
    part = str(tmp_path / "part.zarr")
    tim3d.ingest(
        tmp_path / "part.npy",
        part,
        voxel_size={"z": 20, "y": 5, "x": 5},
        options=Options(progress=False),
    )
    anchored = unchunked(part, models["instance"], LAYOUTS["crop"])
    assert (anchored != expected[:, 14:, 14:]).any()


def test_the_checkpoint_is_never_changed(models: dict[str, Path], tmp_path: Path) -> None:
    before = hashlib.sha256(models["batch"].read_bytes()).hexdigest()
    tim3d.segment(
        ingested(tmp_path, noise((2, 16, 16))),
        model=models["batch"],
        options=Options(progress=False),
    )
    assert hashlib.sha256(models["batch"].read_bytes()).hexdigest() == before
