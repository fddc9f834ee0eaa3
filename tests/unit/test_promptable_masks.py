"""Prompts from the structure and masks to labels, on pictures that are not square and whose truth is known.

Each fault of the published codes is a rule here, which gives another result than ours.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from tests.promptable import Discs, Threshold
from tim3d.errors import InputError
from tim3d.grid import Box
from tim3d.kernels.masks.containment import Containment, removed
from tim3d.kernels.masks.mask_set import (
    STRIP_BITS,
    Mask,
    box_iou,
    boxed,
    boxes_of,
    image_of,
    intersections,
    mask_of,
    merged,
    stability,
    suppressed,
)
from tim3d.kernels.masks.painting import grain_boundaries, painted
from tim3d.kernels.masks.structure_points import (
    Crop,
    centres,
    crops,
    edge_regions,
    grid_points,
    points_in,
    threshold_regions,
)
from tim3d.kernels.masks.textures import Chipping, chips_of, materials, texture_maps
from tim3d.models.promptable.mask_rules import AsGrains, AsMaterials, AsObjects
from tim3d.models.promptable.prompted_segmenter import PromptedSegmenter
from tim3d.models.promptable.prompting import Grid, Structure

SHAPE = (80, 140)
PARTICLES = ((20, 30), (50, 100), (60, 40), (25, 122))


def discs(middles=PARTICLES, radius: float = 8.0, shape=SHAPE) -> np.ndarray:
    """Number of the disc of each pixel, in the order of the list; 0 for none."""
    rows, columns = np.indices(shape)
    found = np.zeros(shape, int)
    for number, (y, x) in enumerate(middles, 1):
        found[np.hypot(rows - y, columns - x) <= radius] = number
    return found


def picture(truth: np.ndarray) -> np.ndarray:
    """Bright particles with noise."""
    noise = np.random.default_rng(0).normal(0, 3, truth.shape)
    return np.rint(np.where(truth > 0, 200, 60) + noise).astype(np.uint8)


def looked(segmenter: PromptedSegmenter, grey: np.ndarray) -> dict[str, np.ndarray]:
    found = segmenter.look(segmenter.network.open(), grey, Box((0, 0, 0), (1, *grey.shape)))
    return {name: values[0] for name, values in found.items()}


def same_objects(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two maps of numbers part the pixels alike."""
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return bool(len(np.unique(one)) == len(np.unique(other)) == pairs.shape[1])


def rectangle(y: int, x: int, height: int, width: int, quality: float = 1.0) -> Mask:
    image = np.zeros(SHAPE, bool)
    image[y : y + height, x : x + width] = True
    return mask_of(image, quality)


# Prompts.


@pytest.mark.parametrize("regions", [edge_regions, threshold_regions])
def test_the_centres_of_particles_are_found_with_x_along_the_width(regions):
    found = centres(regions(picture(discs())))
    middles = np.array(PARTICLES)[:, ::-1]
    nearest = np.sqrt(np.square(found[:, None] - middles[None]).sum(axis=2))
    assert (nearest.min(axis=0) < 0.6).all()
    # The published code divides x by the height: a point of the right half leaves the image.
    faulty = found * [SHAPE[1] / SHAPE[0], SHAPE[0] / SHAPE[1]]
    assert (faulty[:, 0] > SHAPE[1]).any()
    assert (np.square(faulty[:, None] - middles[None]).sum(axis=2).min(axis=0) > 1).any()


def test_an_outline_counts_with_what_lies_in_it():
    ring = np.zeros((40, 60), bool)
    ring[5:30, 10:45] = True
    ring[10:25, 15:40] = False
    ring[15:20, 18:24] = True  # an island in the hole
    assert centres(ring).tolist() == [[27.0, 17.0], [20.5, 17.0], [27.0, 17.0]]
    edge = np.zeros((10, 10), bool)
    edge[:, 5] = True  # parts the background, encloses nothing
    assert centres(edge).tolist() == [[5.0, 4.5]]


def test_short_edges_are_no_structure():
    grey = np.full((40, 40), 50, np.uint8)
    grey[10, 10] = 255
    assert not edge_regions(grey, smallest=15).any()
    assert edge_regions(grey, smallest=1).any()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 7))
def test_a_grid_lies_alike_from_both_ends(height, width, side):
    points = grid_points((height, width), side)
    mirrored = np.array([width - 1, height - 1]) - points
    np.testing.assert_allclose(mirrored[::-1], points, atol=1e-9)
    assert (points >= -0.5).all()
    assert (points < [width - 0.5, height - 0.5]).all()


def test_points_of_a_crop_lie_in_that_crop_only():
    grey = picture(discs())
    structure = Structure(side=1, layers=1, regions="threshold")
    marks = structure.marks(grey, Box((0, 0, 0), (1, *SHAPE)))
    points = np.concatenate([one.points for one in marks])
    for crop in structure.crops(SHAPE)[1:]:
        prompts = structure.prompts(grey, crop, marks)[1:]  # the first is the grid
        assert len(prompts) == len(points_in(points, crop)) < len(marks)
        for one in prompts:
            assert (one.points >= -0.5).all()
            assert (one.points <= np.array(crop.shape[::-1]) - 0.5).all()
        inside = [one.points[0] + crop.start[::-1] for one in prompts]
        assert all((np.abs(points - one).sum(axis=1) < 1e-9).any() for one in inside)


@given(st.integers(20, 90), st.integers(20, 90), st.integers(0, 2))
def test_crops_cover_the_image(height, width, layers):
    found = crops((height, width), layers)
    assert len(found) == sum(4**n for n in range(layers + 1))
    for layer in range(layers + 1):
        seen = np.zeros((height, width), int)
        for one in found:
            if one.layer == layer:
                seen[one.slices] += 1
        assert seen.min() >= 1


def test_crops_may_have_fewer_points():
    grid = Grid(side=8, layers=1, scale=2)
    grey = np.zeros(SHAPE, np.uint8)
    counts = [len(grid.prompts(grey, crop, [])) for crop in grid.crops(SHAPE)]
    assert counts == [64, 16, 16, 16, 16]
    assert [grid.most(crop) for crop in grid.crops(SHAPE)] == counts


# Masks.


def test_particles_become_one_map_of_objects():
    truth = discs()
    for prompting in (
        Structure(side=1),
        Structure(side=1, regions="threshold"),
        Grid(side=12),
        Grid(side=12, layers=1, scale=2),
    ):
        rule = AsObjects(largest=2000)
        found = looked(PromptedSegmenter(Threshold(), prompting, rule, SHAPE), picture(truth))
        assert same_objects(found["objects"], truth), prompting
        assert (found["labels"] == (truth > 0)).all()
        assert (found["cover"] == (truth > 0)).all()


def test_a_mask_that_a_crop_cuts_is_left_to_the_whole_image():
    truth = discs(((40, 70),), radius=25)
    prompting = Structure(side=1, layers=1, regions="threshold")
    found = looked(
        PromptedSegmenter(Threshold(), prompting, AsObjects(largest=4000), SHAPE), picture(truth)
    )
    assert same_objects(found["objects"], truth)


def test_overlapping_discs_stay_two_objects_and_the_overlap_is_counted():
    truth = [discs((one,)) > 0 for one in ((30, 50), (30, 62))]
    masks = [mask_of(truth[0], 0.8), mask_of(truth[1], 0.9)]
    found = painted(masks, SHAPE)
    assert (found.cover == truth[0].astype(int) + truth[1]).all()
    assert (found.owner == 1).sum() == truth[1].sum()
    assert (found.owner == 0).sum() == (truth[0] & ~truth[1]).sum()
    # A union of masks, as published, is one object and hides the overlap.
    assert ndimage.label(truth[0] | truth[1])[1] == 1


@given(st.permutations(range(6)), st.integers(0, 3))
def test_the_map_does_not_depend_on_the_order_of_masks(order, seed):
    rng = np.random.default_rng(seed)
    masks = [
        rectangle(*rng.integers(0, 40, 2), *rng.integers(5, 40, 2), quality=float(q))
        for q in rng.choice([0.8, 0.9], 6)
    ]
    first = painted(masks, SHAPE)
    again = painted([masks[n] for n in order], SHAPE)
    back = np.array([*order, -1])
    firsts = {one.first for one in masks}
    if len(firsts) == 6:  # of equal quality the first pixel decides
        assert (back[again.owner] == first.owner).all()
    assert (again.cover == first.cover).all()


def test_a_hidden_mask_is_counted():
    assert painted([rectangle(5, 5, 9, 9, 0.8), rectangle(0, 0, 30, 30, 0.9)], SHAPE).hidden == 1


def test_stability_is_of_the_size_of_the_image():
    rows, columns = np.indices((60, 90))
    logits = 2.0 * (20 - np.hypot(rows - 30, columns - 40)).astype(np.float32)
    assert stability(logits) == pytest.approx((19.5 / 20.5) ** 2, abs=0.01)
    assert stability(np.full((5, 5), -9, np.float32)) == 0.0


def test_boxes_are_suppressed_in_one_order():
    masks = [
        rectangle(0, 0, 10, 10, 0.8),
        rectangle(0, 1, 10, 10, 0.8),
        rectangle(40, 0, 9, 9, 0.5),
    ]
    assert suppressed(masks, 0.7) == [masks[0], masks[2]]
    assert suppressed(masks[::-1], 0.7) == [masks[2], masks[0]]
    assert suppressed(masks, 1.0) == masks
    for one in (masks, masks[::-1]):
        kept = boxes_of(suppressed(one, 0.3))
        assert all(box_iou(box, np.delete(kept, n, 0)).max() <= 0.3 for n, box in enumerate(kept))


def test_masks_of_small_crops_come_first_between_crops():
    image = discs(((30, 50),)) > 0
    coarse = mask_of(image, 0.99, Crop((0, 0), SHAPE))
    fine = mask_of(image[10:60, 20:90], 0.9, Crop((10, 20), (60, 90), 1))
    assert suppressed([coarse, fine], 0.7, by_crop=True) == [fine]
    assert suppressed([coarse, fine], 0.7) == [coarse]  # one NMS over all, as in other codes
    assert image_of(fine, SHAPE).sum() == image.sum()


@given(st.lists(st.tuples(*[st.integers(0, 60)] * 2, *[st.integers(1, 19)] * 2), max_size=6))
def test_intersections_are_those_of_the_images(boxes):
    masks = [rectangle(*one) for one in boxes]
    images = [image_of(one, SHAPE) for one in masks]
    expected = [[int((a & b).sum()) for b in images] for a in images]
    assert intersections(masks, SHAPE).tolist() == expected


# Removal and materials.


def test_of_two_equal_masks_one_is_kept():
    masks = [rectangle(5, 5, 20, 20), rectangle(5, 5, 20, 20)]
    found = removed(masks, SHAPE)
    assert found.masks == masks[:1]
    assert found.copies == 1
    # As published: of a redundant pair the one that is not larger goes, which is both.
    shared = intersections(masks, SHAPE)
    gone = {i for i in (0, 1) for j in (0, 1) if i != j and shared[i, i] <= shared[j, j]}
    assert gone == {0, 1}


def test_overlapping_children_are_counted_once():
    parent = rectangle(0, 0, 40, 40)
    children = [rectangle(0, 0, 20, 40), rectangle(5, 0, 20, 40)]
    found = removed([parent, *children], SHAPE)
    assert parent in found.masks  # their union covers 25 rows of 40
    areas = sum(one.area for one in children)
    assert areas > 0.7 * parent.area > merged(children).area
    apart = [rectangle(0, 0, 15, 40), rectangle(15, 0, 15, 40)]
    assert removed([parent, *apart], SHAPE).masks == apart
    assert removed([parent, *apart], SHAPE).compounds == 1


def test_tiny_children_go_and_others_stay():
    parent, tiny, part = rectangle(0, 0, 40, 40), rectangle(2, 2, 5, 5), rectangle(10, 10, 15, 15)
    found = removed([parent, tiny, part], SHAPE)
    assert found.masks == [parent, part]
    assert (found.copies, found.tiny, found.compounds) == (0, 1, 0)
    assert removed([parent, tiny], SHAPE, Containment(tiny=0.001)).masks == [parent, tiny]
    assert removed([], SHAPE).masks == []


def test_a_merged_mask_has_the_area_of_the_union():
    parts = [rectangle(0, 0, 10, 10, 0.7), rectangle(5, 5, 10, 10, 0.9)]
    union = merged(parts)
    assert union.area == 175 < sum(one.area for one in parts)
    assert (image_of(union, SHAPE) == (image_of(parts[0], SHAPE) | image_of(parts[1], SHAPE))).all()


def textured() -> tuple[np.ndarray, list[Mask]]:
    """Two smooth and two rough fields of one mean grey, and a small rough one."""
    rng = np.random.default_rng(1)
    grey = np.full((90, 160), 100.0)
    boxes = [(0, 0, 40, 70), (0, 80, 40, 70), (45, 0, 40, 70), (45, 80, 40, 50), (50, 140, 7, 7)]
    masks = []
    for number, (y, x, height, width) in enumerate(boxes):
        image = np.zeros(grey.shape, bool)
        image[y : y + height, x : x + width] = True
        grey[image] += rng.normal(0, 2 if number < 2 else 25, int(image.sum()))
        masks.append(mask_of(image, 1 - 0.01 * number))
    return grey.astype(np.float32), masks


def test_materials_are_told_apart_by_texture_alone():
    grey, masks = textured()
    how = Chipping(edge=12)
    found = materials(masks, texture_maps(grey), 2, 6, how)
    smooth, rough = found.cluster[:2], found.cluster[2:]
    assert set(smooth) | set(rough) == {0, 1}
    assert len(set(smooth)) == len(set(rough)) == 1
    # A mask without a whole chip is judged by its own pixels, and counted.
    assert chips_of(masks[4], grey.shape, how) == []
    assert found.without_chip == 1
    chosen = materials(masks, texture_maps(grey), None, 6, how)
    assert chosen.clusters == 2


def test_clusters_that_chance_decides_follow_from_the_seed():
    grey = np.random.default_rng(2).normal(100, 20, SHAPE).astype(np.float32)  # one texture
    masks = [rectangle(y, x, 20, 20) for y in range(0, 80, 20) for x in range(0, 140, 20)]

    def drawn(seed: int) -> list[int]:
        how = Chipping(edge=5, most=3, seed=seed)
        return materials(masks, texture_maps(grey), 3, 6, how).cluster.tolist()

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)


def test_more_masks_than_the_plan_compares_are_refused():
    masks = [rectangle(0, 0, 1, 1)] * 4097
    with pytest.raises(InputError, match="4097 masks are too many"):
        AsMaterials().result(masks, np.zeros(SHAPE, np.float32), ())


def test_intersections_of_many_masks_are_those_of_few():
    masks = [rectangle(y, 0, 3, 140) for y in range(77) for _ in range(5)]
    assert STRIP_BITS // (len(masks) * SHAPE[1]) > 64
    few = intersections(masks, SHAPE)
    many = intersections(masks * 5, SHAPE)
    assert STRIP_BITS // (5 * len(masks) * SHAPE[1]) < 64
    assert (many == np.tile(few, (5, 5))).all()


def test_a_mask_of_exactly_as_many_chips_as_are_drawn_has_them():
    grey, masks = textured()
    how = Chipping(edge=10, most=28)
    chips = chips_of(masks[0], grey.shape, how)
    assert len(chips) == how.most == 28
    assert materials(masks, texture_maps(grey), 2, 6, how).without_chip == 1  # the small one only


def test_a_chip_that_the_border_cuts_is_judged_by_its_own_pixels():
    shape, how = (25, 34), Chipping(edge=10)
    found = chips_of(mask_of(np.ones(shape, bool)), shape, how)
    rows, columns = ((0, 10), (10, 20), (20, 25)), ((0, 10), (10, 20), (20, 30), (30, 34))
    assert [((r.start, r.stop), (c.start, c.stop)) for r, c in found] == [
        (r, c) for r in rows for c in columns
    ]


def test_materials_are_numbered_from_dark_to_bright():
    truth = discs()
    grey = picture(truth)
    masks = AsMaterials(materials=2, chip=6, largest=12000)
    found = looked(PromptedSegmenter(Threshold(), Structure(side=4), masks, SHAPE), grey)
    assert masks.classes(()) == ("gap", "material1", "material2")
    assert (found["labels"] == np.where(truth > 0, 2, 1)).all()


def test_touching_grains_are_parted_by_lines():
    masks = [rectangle(0, 0, 80, 70), rectangle(0, 70, 40, 70), rectangle(40, 70, 40, 70)]
    lines = grain_boundaries(masks, SHAPE, smallest=20, shortest=20)
    grains, count = ndimage.label(~lines)
    assert count == 3
    for number, one in enumerate(masks):
        inside = grains[image_of(one, SHAPE) & ~lines]
        share = np.bincount(inside).max() / len(inside)
        assert share > 0.98, number
    assert lines.sum() < 4 * (80 + 70)
    rule = AsGrains(edge=20, line=20)
    found = rule.result(masks, np.zeros(SHAPE, np.float32), ())
    assert (found["labels"] == lines).all()
    assert found["grains"].max() == 3


# What is refused.


@pytest.mark.parametrize(
    ("grey", "said"),
    [
        (np.full(SHAPE, 7, np.uint8), "one grey value everywhere"),
        (picture(discs()), r"no mask of an expected IoU of 0\.99"),
    ],
)
def test_images_without_a_mask_are_refused_unless_they_may_be_empty(grey, said):
    def of(rule: AsObjects) -> PromptedSegmenter:
        return PromptedSegmenter(Discs(), Grid(side=4), rule, SHAPE)

    with pytest.raises(InputError, match=said):
        looked(of(AsObjects(iou=0.99)), grey)
    found = looked(of(AsObjects(iou=0.99, empty="accept")), grey)
    assert not any(values.any() for values in found.values())


def test_noise_that_is_all_outlines_is_refused():
    noise = np.kron(np.indices((140, 140)).sum(axis=0) % 2, np.ones((4, 4)))  # of 9800 squares
    grey = (noise * 200).astype(np.uint8)
    grey[::8] = grey[:, ::8] = 0  # which touch each other no more
    segmenter = PromptedSegmenter(Discs(), Structure(regions="threshold"), AsObjects(), grey.shape)
    with pytest.raises(InputError, match="outlines, which is noise: 4096 at most"):
        looked(segmenter, grey)


@pytest.mark.parametrize("first", [0, 1])
def test_a_mask_of_which_nothing_is_left_is_counted_wherever_it_stands(first: int) -> None:
    large, small = (
        boxed((0, 0), np.ones((4, 4), bool), 0.9),
        boxed((1, 1), np.ones((2, 2), bool), 0.8),
    )
    masks = [large, small] if first else [small, large]
    assert painted(masks, (4, 4)).hidden == 1
    assert painted([large], (4, 4)).hidden == painted([], (4, 4)).hidden == 0
