"""The printed Otsu baseline on the NASA superalloy images, through folders of images.

Values: Li et al., MatSAM, arXiv 2401.05638; images: Stuckner et al., npj Comput. Mater. 8 (2022)
200 (MIT).
"""

from __future__ import annotations

from pathlib import Path

import pytest

import tim3d

PUBLISHED = {
    "Super2": {"iou_macro": 0.7516, "dice": 0.8628, "recall": 0.8692},
    "Super4": {"iou_macro": 0.6678, "dice": 0.7957, "recall": 0.7873},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_otsu_baseline_of_a_folder(data_dir: Path, tmp_path: Path, name: str) -> None:
    folder = data_dir / "nasa-sem"
    lists = {"splits": folder / "splits.json", "subset": f"{name}/test"}
    tim3d.segment_images(
        folder / "Super" / "images",
        tmp_path / "masks",
        method="otsu",
        phases=tim3d.Phases(precipitate=0, matrix=1),
        blur="binomial",
        to_8_bit=True,
        progress=False,
        **lists,
    )
    found = tim3d.evaluate_images(
        tmp_path / "masks",
        folder / "Super" / "annotations",
        true_phases=tim3d.Phases(matrix=0, secondary=1, tertiary=2),
        merge={"secondary": "precipitate", "tertiary": "precipitate"},
        **lists,
    )
    found = found.sel(phase="precipitate")
    assert {n: round(float(found[f"mean_{n}"]), 4) for n in PUBLISHED[name]} == PUBLISHED[name]
