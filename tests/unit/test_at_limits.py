"""What lies exactly at a limit, and beside it: whether a limit itself counts is part of its definition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
import pytest

from tests.each import each
from tim3d.corrections.doubts import LONG_GAP, interpolated
from tim3d.engine.clusters.slurm import load_site
from tim3d.errors import Tim3dError
from tim3d.exporting.lines import LineExport
from tim3d.grid import Box
from tim3d.kernels.image.imaging_fit import classified
from tim3d.kernels.masks.containment import Containment, removed
from tim3d.kernels.masks.mask_set import Mask, mask_of, suppressed, touches_edge
from tim3d.kernels.masks.structure_points import Crop, points_in, without_small
from tim3d.kernels.masks.textures import Chipping, chips_of
from tim3d.kernels.statistics.bootstrap import run_length
from tim3d.kernels.statistics.conformal import half_width
from tim3d.kernels.statistics.label_residuals import Pairs, fitted_length
from tim3d.kernels.statistics.object_agreement import Overlaps, matches, panoptic_quality
from tim3d.kernels.statistics.sampling_error import parts_error, slabs_error
from tim3d.models.promptable.mask_rules.objects import AsObjects
from tim3d.models.promptable.prompting.base import MOST_MARKS
from tim3d.models.promptable.prompting.file import Listed
from tim3d.models.promptable.prompting.structure import Structure
from tim3d.sources.ome_zarr import multiscale_of
from tim3d.stages.representative.windows import lattices
from tim3d.storage.schema import Field, spacing_of

WHOLE = Crop((0, 0), (30, 30))
RANDOM = np.random.default_rng(0).normal(size=500)


def box(y0: int, y1: int, x0: int, x1: int, edge: int = 30) -> Mask:
    image = np.zeros((edge, edge), bool)
    image[y0:y1, x0:x1] = True
    return mask_of(image)


def screened(
    logits: np.ndarray, quality: float = 1.0, sure: float = 0.0, iou: float = 0.0, **rule: int
) -> bool:
    values = np.full((30, 30), -9, np.float32)
    values[: len(logits), : logits.shape[1]] = logits
    limits = (iou, sure, 1.0)
    return AsObjects(**rule).screened(values, quality, WHOLE, (30, 30), limits, "") is not None


def row(*parts: tuple[int, float], width: int = 100) -> np.ndarray:
    """Logits of a square of 100 pixels: numbers of pixels, and their logit; the rest is in doubt."""
    flat = np.full(width, 0.5, np.float32)
    start = 0
    for count, logit in parts:
        flat[start : start + count] = logit
        start += count
    return flat.reshape(10, -1)


def works(call: Callable[[], object]) -> bool:
    try:
        call()
    except Tim3dError:
        return False
    return True


def inside(limits: Containment, *masks: Mask) -> tuple[int, int]:
    found = removed(masks, (30, 30), limits)
    return found.tiny, found.compounds


def edge_of_crop(low: int, high: int) -> bool:
    """Whether pixels low to high of a crop from 100 to 200 of an image of 300 are too near to its cut."""
    image = np.zeros((100, 100), bool)
    image[low:high, 50] = True
    return touches_edge(image, Crop((100, 0), (200, 100)), (300, 100), margin=20)


def overlaps(shared: int) -> Overlaps:
    """An object and its partner, with so many of a hundred pixels in both."""
    return Overlaps.of(np.array([[1, 1, shared], [1, 0, 100 - shared]]))


def pairs(count: int) -> Pairs:
    one = Pairs(1)
    one.put(1, RANDOM[:count], RANDOM[:count], np.ones((24, count)) / 24, np.ones((24, count)))
    return one


def is_above(grey: float, threshold: float) -> bool:
    return bool(classified(np.full((1, 9, 9), grey), [threshold]).classes[0, 4, 4])


def is_chip(rows: int) -> bool:
    return bool(chips_of(box(0, rows, 0, 10, 10), (10, 10), Chipping(10, 0.9)))


def has_error(parts: int) -> bool:
    return bool(np.isfinite(parts_error(RANDOM[:parts], np.ones(parts))))


def is_even(late: float) -> bool:
    """Whether steps pass of which the last is longer."""
    return works(lambda: spacing_of(dict.fromkeys("zyx", np.array([5, 15, 25 + late])), "a"))


# Its shortest extent is the last: 95 nm of 140.
FLAT = Field("phase", (14, 16, 19), "uint8", (10.0, 8.0, 5.0), (7, 8, 19), (14, 16, 19))
TEN, EIGHT, CHILD = box(0, 10, 0, 10), box(0, 10, 0, 8), box(0, 5, 0, 1)


def dots(count: int) -> np.ndarray:
    """An image of so many bright squares."""
    image = np.zeros((65 * 10, 64 * 10), np.uint8)
    for n in range(count):
        y, x = divmod(n, 64)
        image[10 * y + 2 : 10 * y + 8, 10 * x + 2 : 10 * x + 8] = 200
    return image


def marks(count: int) -> bool:
    image = dots(count)
    place = Box((0, 0, 0), (1, *image.shape))
    return works(lambda: Structure(regions="threshold").marks(image, place))


def images_in_a_group(count: int) -> bool:
    group = SimpleNamespace(attrs={"multiscales": [{}] * count}, path="")
    return works(lambda: multiscale_of(group))


def walltime(length: float) -> bool:
    text = f"00:{int(length) // 60:02}:{int(length) % 60:02}"
    return works(lambda: load_site(None, {"walltime": text, "interface": "lo"}))


def names_images(without: int) -> bool:
    """Whether a file of prompts passes, of which so many rows name no image."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "prompts.csv")
        path.write_text("image,x,y\na,1,2\n" + ",3,4\n" * without)
        return works(lambda: Listed(path).ready_for_images())


def results_as_lines(count: int) -> bool:
    asked = SimpleNamespace(names=("one", "two")[:count])
    return works(lambda: LineExport(asked).name)  # type: ignore[arg-type]


# What it is, whether a value passes, the limit, a step, and whether values below, at and above it pass.
Row = tuple[str, Callable[[float], bool], float, float, Sequence[bool]]
BELOW, ABOVE, FROM, UPTO = (
    (True, False, False),
    (False, False, True),
    (False, True, True),
    (True, True, False),
)
ROWS: list[Row] = [
    ("grey above a threshold", lambda v: is_above(v, 100.0), 100, 0.01, ABOVE),
    ("quality of a mask", lambda v: screened(row((100, 9.0)), v, iou=0.8), 0.8, 1e-9, FROM),
    ("stability of a mask", lambda v: screened(row((int(v), 9.0)), sure=0.5), 50, 1, FROM),
    ("smallest mask", lambda v: screened(np.full((1, int(v)), 9.0), smallest=10), 10, 1, FROM),
    ("largest mask", lambda v: screened(np.full((1, int(v)), 9.0), largest=10), 10, 1, UPTO),
    ("boxes that overlap", lambda v: len(suppressed([box(0, 1, 0, 2), box(0, 1, 0, 1)], v)) == 2, 0.5, 1e-9, FROM),
    ("a tiny part goes", lambda v: inside(Containment(0.9, v, 0.7), TEN, CHILD)[0] == 1, 0.05, 1e-9, ABOVE),
    ("a part makes a compound", lambda v: inside(Containment(0.9, v, 0.7), TEN, EIGHT)[1] == 1, 0.8, 1e-9, UPTO),
    ("a covered compound goes", lambda v: inside(Containment(0.9, 0.05, v), TEN, EIGHT)[1] == 1, 0.8, 1e-9, BELOW),
    ("a part lies inside", lambda v: inside(Containment(v, 0.5, 0.7), TEN, box(1, 2, 2, 12))[0] == 1, 0.8, 1e-9, BELOW),
    ("a chip lies in a mask", lambda v: is_chip(int(v)), 9, 1, FROM),
    ("a point at the start of a crop", lambda v: len(points_in(np.array([[v, 5.0]]), WHOLE)) == 1, -0.5, 1e-9, FROM),
    ("a point at the end of a crop", lambda v: len(points_in(np.array([[v, 5.0]]), WHOLE)) == 1, 29.5, 1e-9, BELOW),
    ("a piece is small", lambda v: bool(without_small(box(0, 1, 0, int(v)).bits, 15).any()), 15, 1, FROM),
    ("near the start of a crop", lambda v: edge_of_crop(int(v), 50), 20, 1, UPTO),
    ("near the end of a crop", lambda v: edge_of_crop(50, int(v)), 80, 1, FROM),
    ("half of the union is a match", lambda v: matches(overlaps(int(v)), 10) == 1, 50, 1, FROM),
    ("panoptic: more than half", lambda v: panoptic_quality(overlaps(int(v)))["object_f1"] > 0, 50, 1, ABOVE),
    ("planes of slabs", lambda v: bool(np.isfinite(slabs_error([RANDOM[: int(v)]]))), 18, 1, FROM),
    ("parts of a volume", lambda v: has_error(int(v)), 8, 1, FROM),
    ("samples of an interval", lambda v: works(lambda: half_width(RANDOM[: int(v)], 0.9)), 9, 1, FROM),
    ("pairs of a length", lambda v: works(lambda: fitted_length([(pairs(int(v)), 1.0)])), 100, 1, FROM),
    ("marks of a slice", lambda v: marks(int(v)), MOST_MARKS, 1, UPTO),
    ("images in one group", lambda v: images_in_a_group(int(v)), 1, 1, UPTO),
    ("seconds of a job", walltime, 60, 1, FROM),
    ("rows without an image", lambda v: names_images(max(int(v), 0)), 0, 1, UPTO),
    ("results as lines", lambda v: not v or results_as_lines(int(v)), 1, 1, UPTO),
    ("a window fits along each axis", lambda v: works(lambda: lattices(FLAT, None, [v])), 97.5, 0.1, BELOW),
    ("slices in a row are filled", lambda v: bool([*interpolated(np.arange(99) < v)]), LONG_GAP, 1, FROM),
    ("steps of a volume", lambda v: is_even(v), 2e-5, 1e-6, UPTO),
]  # fmt: skip


@each(ROWS, lambda one: one[0])
def test_a_limit_is_where_it_is_and_counts_as_it_is_defined(one: Row) -> None:
    _, passes, limit, step, expected = one
    found = [passes(limit + n * step) for n in (-1, 0, 1)]
    assert found == list(expected), f"{found} below, at and above {limit:g}"


@pytest.mark.parametrize("count", [8, 20, 60])
def test_a_run_is_a_quarter_of_the_values_at_most(count: int) -> None:
    """However slowly values drift; else few runs would be drawn again and again."""
    assert run_length(np.linspace(0.0, 1.0, count)) <= count // 4
    assert run_length(np.repeat([0.0, 1.0], count // 2)) == count // 4
