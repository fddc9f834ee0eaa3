"""The printed Otsu and adaptive baselines on the NASA superalloy images: blur, polarity, thresholds and metrics.

Values: Li et al., MatSAM, arXiv 2401.05638; images: Stuckner et al., npj Comput. Mater. 8 (2022)
200 (MIT).
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from skimage import io

from tim3d.grid import Box
from tim3d.kernels.image.threshold import binomial_blur, foreground, grey_counts, otsu
from tim3d.kernels.statistics.metrics import confusion, mean_over_images
from tim3d.models.segmentation.local_threshold import LocalThreshold

CASES = {
    "Super2": ({"iou_macro": 0.7516, "dice": 0.8628, "recall": 0.8692}, [117, 117, 173, 173]),
    "Super4": ({"iou_macro": 0.6678, "dice": 0.7957, "recall": 0.7873}, [99, 137, 126, 117, 95]),
}


ADAPTIVE = {
    "Super2": {"iou_macro": 0.4458, "dice": 0.5192, "recall": 0.3807},
    "Super4": {"iou_macro": 0.5171, "dice": 0.6239, "recall": 0.5289},
}


def as_uint8(grey: np.ndarray) -> np.ndarray:
    return np.rint(grey / 257).astype(np.uint8) if grey.dtype == np.uint16 else grey


@pytest.mark.parametrize("name", CASES)
def test_published_otsu_baseline(data_dir, name):
    folder = data_dir / "nasa-sem"
    images = json.loads((folder / "splits.json").read_text())[name]["test"]
    published, limits = CASES[name]
    matrices, found = [], []
    for image in images:
        grey = binomial_blur(as_uint8(io.imread(folder / "Super" / "images" / f"{image}.png")))
        truth = io.imread(folder / "Super" / "annotations" / f"{image}.png") > 0
        found.append(otsu(grey_counts(grey), np.arange(256)))
        matrices.append(confusion(truth, foreground(grey, found[-1], "dark"), classes=2))
    got = mean_over_images(matrices)
    assert found == limits
    assert {key: round(got[key], 4) for key in published} == published


@pytest.mark.parametrize("name", ADAPTIVE)
def test_published_adaptive_baseline(data_dir, name):
    folder = data_dir / "nasa-sem"
    images = json.loads((folder / "splits.json").read_text())[name]["test"]
    call = LocalThreshold(("precipitate", "matrix")).open()
    matrices = []
    for image in images:
        grey = as_uint8(io.imread(folder / "Super" / "images" / f"{image}.png"))
        truth = io.imread(folder / "Super" / "annotations" / f"{image}.png") > 0
        found = call(grey[None], Box((0, 0, 0), (1, *grey.shape)))["labels"][0] == 0
        matrices.append(confusion(truth, found, classes=2))
    got = mean_over_images(matrices)
    published = ADAPTIVE[name]
    assert {key: round(got[key], 4) for key in published} == published
