"""Faults of published codes of instances: each faulty rule is written out, and fails where this package does not.

| code | fault | test |
|---|---|---|
| micro-sam | links of slices by the share of the lower object | tests/property/test_link_slices.py |
| micro-sam | the lowest number of a slice is taken for background | here |
| Rettenberger | the last particle is never measured, the background is | here |
| Rettenberger | the filter of areas walks over numbers that it changes | here |
| Rettenberger | the median of the crop decides what a particle is | here |
| Rettenberger | small images come back padded | here |
| BPartIS | a later particle takes pixels of an earlier one, images are squares | tests/unit/test_bpartis.py |
| BPartIS | numbers of 16 bits, and no score of an image without particles | here |
| all | files that were saved on CUDA are not read without it | here |
| stitching | labels that touch at a face are joined: blocks decide | tests/property/test_watershed.py, test_particles |
| MatSAM, SAM-I-Am, transformers | nine faults of prompts, masks and materials | tests/unit/test_promptable_masks.py |
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tim3d import Options
from tim3d.grid import Box, triple
from tim3d.kernels.morphology.embeddings import instances_of
from tim3d.kernels.morphology.overlaps import overlaps
from tim3d.kernels.morphology.slice_links import (
    Slices,
    added,
    by_mutual_best,
    links_of,
    objects_of,
)
from tim3d.kernels.statistics import object_agreement as scores
from tim3d.storage import store

QUIET = Options(progress=False)
SIZE = {"z": 10.0, "y": 10.0, "x": 10.0}


def linked(volume: np.ndarray) -> Slices:
    box = Box.whole(triple(volume.shape))
    return added([objects_of(volume, box, box.shape)], [links_of(volume, 0)])


def test_a_slice_without_background_has_no_number_too_few() -> None:
    volume = np.zeros((2, 6, 12), np.uint32)
    for plane in volume:
        plane[:, :6], plane[:, 6:] = 4, 9
    published = [set(np.unique(plane)[1:].tolist()) for plane in volume]
    assert published == [{9}, {9}]  # object 4 has no edge upwards
    table = linked(volume)
    assert sorted(table.number.tolist()) == [4, 4, 9, 9]
    assert len(np.unique(by_mutual_best(table, 0.5))) == 2


def in_sample(folder: Path, **fields: np.ndarray) -> str:
    for name, values in fields.items():
        np.save(folder / f"{name}.npy", values)
        how: dict[str, Any] = {} if values.dtype.kind == "f" else {"convert": "objects"}
        tim3d.ingest(
            folder / f"{name}.npy", str(folder / "a.zarr"), field=name, voxel_size=SIZE, options=QUIET, **how
        )  # fmt: skip
    return str(folder / "a.zarr")


# Eight particles along a row: of 1, 1, 1, 27, 27, 1, 1 and 27 voxels, the last the one of the highest number.
EDGES = (1, 1, 1, 3, 3, 1, 1, 3)


def row_of_particles() -> np.ndarray:
    volume = np.zeros((5, 5, 5 * len(EDGES)), np.uint32)
    for number, edge in enumerate(EDGES, 1):
        at = 5 * number - 4
        volume[1 : 1 + edge, 1 : 1 + edge, at : at + edge] = number
    return volume


def test_every_particle_is_measured_to_the_last_and_the_background_is_not(tmp_path: Path) -> None:
    volume = row_of_particles()
    published = [int((volume == number).sum()) for number in range(int(volume.max()))]
    assert published[0] == int((volume == 0).sum())
    assert len(published) == len(EDGES)  # one of them is the background, and the last is missing
    found = tim3d.particles(in_sample(tmp_path, n=volume), instances="n", options=QUIET)
    assert found.particle_voxels.values.tolist() == [edge**3 for edge in EDGES]


def renumbered_while_walking(volume: np.ndarray, least: int) -> np.ndarray:
    """The published filter: what is left out makes room at once, and the walk goes on over the old numbers."""
    out = volume.copy()
    for number in range(1, int(volume.max()) + 1):
        if 0 < (out == number).sum() < least:
            out[out == number] = 0
            out[out > number] -= 1
    return out


def test_small_instances_are_left_out_and_no_other(tmp_path: Path) -> None:
    volume = row_of_particles()
    published = renumbered_while_walking(volume, 8)
    assert (np.unique(published, return_counts=True)[1][1:] < 8).any()  # neighbours in number stay
    sample = in_sample(tmp_path, n=volume, u=np.zeros(volume.shape, np.float32))
    found = tim3d.confidence(
        sample, "n", "u", limits=[0.5], least_diameter=20.0, out="c", options=QUIET
    )
    sure = store.open_field(sample, "c_sure").values
    assert np.array_equal(np.unique(sure), [0, 4, 5, 8])
    assert np.array_equal(np.asarray(found) > 0, np.isin(volume, [4, 5, 8]))


def larger_than_the_median(volume: np.ndarray) -> set[int]:
    """The published rule: a particle of more than 1.4 times the median area of the image is cut."""
    areas = np.bincount(volume.ravel())[1:]
    return {int(n) + 1 for n in np.flatnonzero(areas > 1.4 * np.median(areas[areas > 0]))}


def test_what_an_instance_is_does_not_depend_on_the_others(tmp_path: Path) -> None:
    volume = row_of_particles()
    doubt = (volume % 3 / 3).astype(np.float32)
    crop = np.ascontiguousarray(volume[:, :, 15:25])  # the particles 4 and 5
    assert larger_than_the_median(volume) & {4, 5} != larger_than_the_median(crop)
    classes = []
    for name, part in (("whole", np.s_[:]), ("part", np.s_[:, :, 15:25])):
        (tmp_path / name).mkdir()
        sample = in_sample(
            tmp_path / name, n=np.ascontiguousarray(volume[part]), u=np.ascontiguousarray(doubt[part])
        )  # fmt: skip
        found = tim3d.confidence(sample, "n", "u", limits=[0.1, 0.5], options=QUIET)
        classes.append(np.asarray(found))
    assert np.array_equal(classes[0][:, :, 15:25], classes[1])
    assert len(np.unique(classes[1])) > 2


def test_a_small_image_comes_back_in_its_size() -> None:
    pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
    from tests.promptable import Threshold
    from tim3d.models.promptable.mask_rules import AsObjects
    from tim3d.models.promptable.prompted_segmenter import PromptedSegmenter
    from tim3d.models.promptable.prompting import Grid

    grey = np.full((1, 9, 17), 60, np.uint8)
    grey[0, 2:7, 3:12] = 200
    how = PromptedSegmenter(Threshold(), Grid(side=4), AsObjects(), (9, 17))
    # The bright piece and the dark one, whose masks leave nothing over.
    found = how.open()(grey, Box.whole((1, 9, 17)))
    assert {one.shape for one in found.values()} == {(1, 9, 17)}
    assert (found["objects"] > 0).all()


def test_more_instances_than_16_bits_number_are_told_apart() -> None:
    shape = (190, 190)  # every pixel is an object of its own
    rows, columns = np.indices(shape).astype(np.float32)
    found = instances_of(
        np.ones(shape, np.float32), np.stack([rows, columns]), np.full((2, *shape), 9, np.float32), 1
    )  # fmt: skip
    assert len(np.unique(found)) == found.size > np.iinfo(np.int16).max
    assert len(np.unique(found.astype(np.int16))) == found.size  # they wrap round to negative ones
    assert found.astype(np.int16).min() < 0 < found.min()


def test_images_without_an_instance_have_scores() -> None:
    none, one = np.zeros((1, 4, 4), np.uint32), np.ones((1, 4, 4), np.uint32)
    for true, found, quality in ((none, none, 1.0), (none, one, 0.0), (one, none, 0.0)):
        table = scores.Overlaps.of(overlaps(true, found))
        assert scores.panoptic_quality(table)["panoptic_quality"] == quality
        assert (scores.segmentation_accuracy(table) == quality).all()


def saved_on_cuda(path: Path) -> Path:
    """The file as torch writes it for weights on a GPU: their place is a text in it."""
    with zipfile.ZipFile(path) as file:
        parts = {one.filename: file.read(one) for one in file.infolist()}
    place, on_gpu = b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"
    assert sum(place in data for data in parts.values()) == 1
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for name, data in parts.items():
            file.writestr(name, data.replace(place, on_gpu) if name.endswith(".pkl") else data)
    return path


def of_sam(folder: Path) -> Path:
    from tests.promptable import original_sam

    return saved(folder, original_sam().state_dict())


def of_bpartis(folder: Path) -> Path:
    from tim3d.models.segmentation.branched_erfnet import BranchedErfnet

    return saved(folder, BranchedErfnet().state_dict())


def of_unet(folder: Path) -> Path:
    package = pytest.importorskip("segmentation_models_pytorch")
    network = package.Unet("resnet18", encoder_weights=None, in_channels=1, classes=2)
    return saved(folder, network.state_dict())


def saved(folder: Path, state: Any) -> Path:
    import torch

    torch.save(state, folder / "weights.pt")
    return folder / "weights.pt"


@pytest.mark.long
@pytest.mark.parametrize(
    ("made", "how"),
    [
        (of_sam, {}),
        (of_bpartis, {}),
        (
            of_unet,
            {"classes": ["a", "b"], "mean": [100.0], "std": [40.0], "encoder": "resnet18", "voxel_size": SIZE},
        ),
    ],
)  # fmt: skip
def test_files_that_were_saved_on_a_gpu_are_read_without_one(
    made: Callable[[Path], Path], how: dict[str, Any], tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
    source = made(tmp_path)
    tim3d.import_network(source, tmp_path / "cpu.safetensors", **how)
    saved_on_cuda(source)
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="CUDA"):  # as published codes read it
            torch.load(source, weights_only=True)
    tim3d.import_network(source, tmp_path / "gpu.safetensors", **how)
    from tim3d.models.segmentation.model_file import read_model

    first, second = (read_model(tmp_path / f"{one}.safetensors").tensors() for one in ("cpu", "gpu"))  # fmt: skip
    assert first.keys() == second.keys()
    assert all(bool((first[name] == second[name]).all()) for name in first)
