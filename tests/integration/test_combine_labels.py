"""Labels of several fields: the first that has one wins, and what a classifier found must be sure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

import tim3d
from tim3d import Options, Phases
from tim3d.errors import ArgumentError
from tim3d.storage import store

SHAPE = (9, 20, 24)
SIZE = {"z": 20.0, "y": 5.0, "x": 5.0}
QUIET = Options(progress=False)
HAND = Phases(unlabelled=9, solid=2)
FOUND = Phases(pore=0, solid=1, gas=4)


def fields() -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Strokes, labels of all voxels, and their probabilities."""
    random = np.random.default_rng(0)
    strokes = np.where(random.random(SHAPE) < 0.2, 2, 9).astype(np.uint8)
    found = random.choice(np.array([0, 1, 4], np.uint8), SHAPE)
    sure = random.integers(85, 255, SHAPE)
    shares = {
        name: np.where(found == code, sure, (255 - sure) // 2).astype(np.uint8)
        for name, code in FOUND.items()
    }
    return strokes, found, shares


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    strokes, found, shares = fields()
    everything: dict[str, tuple[np.ndarray, Phases | None]] = {
        "strokes": (strokes, HAND), "found": (found, FOUND),
    }  # fmt: skip
    everything |= {f"found_probability_{name}": (one, None) for name, one in shares.items()}
    for name, (values, phases) in everything.items():
        tifffile.imwrite("v.tif", values)
        tim3d.ingest(
            "v.tif",
            "s.zarr",
            field=name,
            phases=phases,
            voxel_size=SIZE,
            shard=(4, 8, 8),
            options=QUIET,
        )
    return "s.zarr"


def expected(least: float) -> np.ndarray:
    """By the definition: codes of the strokes, new ones for what they do not name."""
    strokes, found, shares = fields()
    top = np.max(list(shares.values()), axis=0)
    named = np.select([found == 1, found == 0], [2, 0], 1)
    return np.where(strokes != 9, strokes, np.where(top / 255 >= least, named, 9))


@pytest.mark.parametrize("block", [None, (4, 8, 24), (8, 24, 8), (4, 8, 8)])
@pytest.mark.parametrize("least", [None, 0.8])
@pytest.mark.long
def test_the_first_label_wins_and_must_be_sure_whatever_the_blocks(
    sample: str, least: float | None, block: tuple[int, int, int] | None
) -> None:
    how = Options(progress=False, block=block)
    made = tim3d.combine_labels(sample, ["strokes", "found"], confident=least, options=how)
    assert np.array_equal(made.values, expected(least or 0))
    assert store.read_field(sample, "combined").phases == Phases(
        unlabelled=9, solid=2, pore=0, gas=1
    )
    counts = {
        int(code): int(n) for code, n in zip(*np.unique(made, return_counts=True), strict=True)
    }
    assert (9 in counts) == (least is not None)


def test_one_field_other_numbers_and_probabilities_that_are_not_there_are_refused(
    sample: str,
) -> None:
    for labels, given, said in (
        (["strokes"], {}, "two or more different"),
        (["strokes", "strokes"], {}, "two or more different"),
        (["strokes", "found"], {"confident": 1.5}, "--confident 1.5"),
        (["strokes", "found_probability_pore"], {}, "not a field of labels"),
    ):
        with pytest.raises(ArgumentError, match=said):
            tim3d.combine_labels(sample, labels, **given)
    tifffile.imwrite("v.tif", fields()[1])
    tim3d.ingest(
        "v.tif", sample, field="bare", phases=FOUND, voxel_size=SIZE, shard=(4, 8, 8), options=QUIET
    )
    with pytest.raises(ArgumentError, match="none of strokes, bare"):
        tim3d.combine_labels(sample, ["strokes", "bare"], confident=0.9)


@pytest.mark.long
def test_a_network_is_taught_by_what_a_forest_is_sure_of(sample: str) -> None:
    """Painted voxels are kept as they are, and those of doubt are left out."""
    pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
    tim3d.combine_labels(sample, ["strokes", "found"], confident=0.8, out="taught", options=QUIET)
    grey = np.random.default_rng(1).integers(0, 255, SHAPE).astype(np.uint8)
    tifffile.imwrite("v.tif", grey)
    tim3d.ingest("v.tif", sample, voxel_size=SIZE, shard=(4, 8, 8), options=QUIET)
    model = tim3d.train(
        sample, "n.safetensors", labels="taught", encoder="mobilenet_v2", depth=2, epochs=1, steps=1, batch=2,
        crop=16, device="cpu", progress=False,
    )  # fmt: skip
    assert model.is_file()
