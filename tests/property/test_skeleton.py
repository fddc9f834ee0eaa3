"""The skeleton is that of plain thinning of the whole, for any blocks, steps and voxels, and keeps the topology."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import euler_number

import tim3d
from tests.examples import costly
from tests.property.test_distance import (
    OTHER,
    QUIET,
    SHAPES,
    THREE,
    WHOLE,
    Spacing,
    by_scipy,
    ingested,
    volume,
)
from tests.property.test_thickness import distances
from tim3d.errors import ArgumentError, InputError, MissingFieldError, MixedRunError
from tim3d.grid import Block, Box, Grid, Triple
from tim3d.kernels.morphology.strut_graph import (
    NO_NODE,
    Curves,
    Network,
    branches,
    network,
    struts,
)
from tim3d.kernels.morphology.thinning import halo, last_level, thin
from tim3d.stages.morphology.skeleton import ThinWork
from tim3d.storage import store

FULL = np.ones((3, 3, 3), bool)
FACES = ndimage.generate_binary_structure(3, 1)
NO_CORNERS = ndimage.generate_binary_structure(3, 2)
TURNS = [(0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0), (1, 1, 0), (1, 1, 1), (1, 0, 1), (1, 0, 0)]


def is_simple(own: np.ndarray) -> bool:
    """Whether the middle of 3 x 3 x 3 voxels of a phase may go, by labelled components."""
    around = own & ~np.pad(np.ones((1, 1, 1), bool), 1)
    numbers, _ = ndimage.label(~own & NO_CORNERS, FACES)
    touching = np.unique(numbers[FACES & (numbers > 0)])
    return ndimage.label(around, FULL)[1] == 1 and len(touching) == 1


def plain_thinning(ranks: np.ndarray, radii: np.ndarray, edge: float) -> np.ndarray:
    """Thinning by its definition, voxel by voxel."""
    left, before = np.pad(ranks, 1), np.zeros(0)
    level = np.pad(np.ceil(radii.astype(float) / edge - 1e-3), 1)
    step = 0
    while step < level.max() or not np.array_equal(left, before):
        step += 1
        before = left.copy()
        places = [tuple(p) for p in np.argwhere((before > 0) & (level <= step))]
        own = {p: before[tuple(slice(i - 1, i + 2) for i in p)] == before[p] for p in places}
        wanted = [p for p in places if own[p].sum() != 2]
        for turn in TURNS:
            for p in wanted:
                near = left[tuple(slice(i - 1, i + 2) for i in p)]
                if tuple((i - 1) % 2 for i in p) == turn and is_simple(near == left[p]):
                    left[p] = 0
    return left[1:-1, 1:-1, 1:-1]


def thinned(ranks: np.ndarray, radii: np.ndarray, edge: float) -> np.ndarray:
    """Thinning of the whole at once."""
    left, first = ranks.copy(), 1
    while True:
        box = Box.whole(left.shape)
        taken = thin(left, radii, edge, first, 1, box, (0, 0, 0))
        if first >= last_level(float(radii.max()), edge) and not taken.any():
            return left
        first += 1


@costly
@given(SHAPES, st.one_of(WHOLE, OTHER), st.integers(0, 99))
def test_thinning_is_that_of_its_definition(shape: Triple, spacing: Spacing, seed: int) -> None:
    labels, radii = volume(shape, seed) + 1, distances(shape, spacing, seed)
    edge = min(spacing)
    assert np.array_equal(thinned(labels, radii, edge), plain_thinning(labels, radii, edge))


@given(SHAPES, st.tuples(*[st.integers(1, 9)] * 3), WHOLE, st.integers(1, 3), st.integers(0, 99))
def test_blocks_change_no_voxel_of_the_skeleton(
    shape: Triple, block: Triple, spacing: Spacing, steps: int, seed: int
) -> None:
    labels, radii = volume(shape, seed) + 1, distances(shape, spacing, seed)
    edge, left = min(spacing), labels
    for first in range(1, 1 + 3 * steps, steps):
        whole, after = left.copy(), np.zeros_like(left)
        counted = thin(whole, radii, edge, first, steps, Box.whole(shape), (0, 0, 0))
        for one in Grid(shape, block, halo(steps)):
            part, core = left[one.read.slices].copy(), one.core.within(one.read)
            near = np.ascontiguousarray(radii[one.read.slices])
            counted -= thin(part, near, edge, first, steps, core, one.read.start)
            after[one.core.slices] = part[core.slices]
        assert np.array_equal(after, whole)
        assert not counted.any()
        left = whole


@given(SHAPES, WHOLE, st.integers(0, 99))
def test_a_skeleton_keeps_pieces_tunnels_and_voids(
    shape: Triple, spacing: Spacing, seed: int
) -> None:
    labels, radii = volume(shape, seed), distances(shape, spacing, seed)
    left = thinned(labels + np.uint8(1), radii, min(spacing))
    for code in np.unique(labels):
        before, after = labels == code, left == code + 1
        assert not (after & ~before).any()
        assert ndimage.label(after, FULL)[1] == ndimage.label(before, FULL)[1]
        assert euler_number(np.pad(after, 1), 3) == euler_number(np.pad(before, 1), 3)


def curves_of(labels: np.ndarray, spacing: Spacing) -> Curves:
    """Voxels of the skeleton of what is not 0."""
    own = (labels > 0).astype(np.uint8)
    radii = by_scipy(own, spacing, [1])
    voxel = np.flatnonzero(thinned(own, radii, min(spacing)))
    return Curves(voxel, radii.ravel()[voxel].astype(float), own.shape, spacing)


def excess(found: Network) -> int:
    """Nodes less branches, rings left aside: pieces less tunnels."""
    return len(found.centre) - int((found.ends[:, 0] != NO_NODE).sum())


@given(st.integers(0, 999), WHOLE)
def test_the_rules_of_the_graph_keep_its_topology(seed: int, spacing: Spacing) -> None:
    curves = curves_of(volume((14, 15, 16), seed), spacing)
    if not len(curves):
        return
    whole, kept = network(curves), struts(network(curves))
    assert excess(kept) == excess(whole)
    assert not (kept.coordination == 2).any()
    assert (kept.ends[:, 0] <= kept.ends[:, 1]).all()
    assert (np.diff(curves.voxel[kept.centre]) > 0).all()
    for found in (whole, kept):
        assert (branches(found).length > 0).all()
        assert (branches(found).chord <= branches(found).length * (1 + 1e-12)).all()


def plain_graph(curves: Curves) -> tuple[int, int]:
    """Clusters of voxels that have not two neighbours, and pieces of the others that end there."""
    skeleton = np.zeros(curves.shape, bool)
    skeleton.ravel()[curves.voxel] = True
    near = ndimage.convolve(skeleton.astype(int), FULL.astype(int), mode="constant") - 1
    nodes = ndimage.label(skeleton & (near != 2), FULL)[1]
    return nodes, ndimage.label(skeleton & (near == 2), FULL)[1]


@given(st.integers(0, 999), WHOLE)
def test_nodes_and_branches_are_those_of_labelled_voxels(seed: int, spacing: Spacing) -> None:
    curves = curves_of(volume((9, 15, 16), seed), spacing)
    if len(curves):
        found = network(curves)
        assert (len(found.centre), len(found.ends)) == plain_graph(curves)


@pytest.mark.long
@pytest.mark.parametrize(
    ("shape", "shard", "spacing"),
    [((16, 13, 44), (8, 13, 22), (4.0, 1.0, 2.0)), ((1, 20, 21), (1, 20, 9), (3.0, 7.0, 7.0))],
)
def test_stored_blocks_change_no_strut(
    tmp_path: Path, shape: Triple, shard: Triple, spacing: Spacing
) -> None:
    labels = volume(shape, 1)
    sample = ingested(tmp_path, labels, spacing, shard)
    few = tim3d.Options(progress=False, block=shard)
    radii = tim3d.distance(sample, options=few).values
    found = tim3d.skeleton(sample, options=few).values
    expected = np.where(thinned(labels + np.uint8(1), radii, min(spacing)), 2 * radii, 0)
    assert np.array_equal(found, expected)
    assert not [name for name in store.nodes(sample) if "scratch" in name]
    again = tim3d.struts(sample, out="again", options=few)
    whole = tim3d.struts(sample, options=QUIET)
    assert again.drop_attrs().equals(whole.drop_attrs())
    assert whole.strut_length_mean.attrs["units"] == "nm"


class Stopped(KeyboardInterrupt):
    """What ends a run."""


def test_an_interrupted_skeleton_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, computed, compute = volume((8, 13, 44), 1), [], ThinWork.compute
    sample = ingested(tmp_path, labels, (1.0, 1.0, 1.0), (8, 13, 11))
    few = tim3d.Options(progress=False, block=(8, 13, 11))
    radii = tim3d.distance(sample, options=few).values

    def counted(self: ThinWork, block: Block, inputs: Any) -> Any:
        if len(computed) == 6:
            raise Stopped
        computed.append((self.number, block.index))
        return compute(self, block, inputs)

    first, *_ = tim3d.plan("skeleton", sample, options=few)
    assert (first.halo, first.blocks, first.left) == (halo(1), 4, 4)
    monkeypatch.setattr(ThinWork, "compute", counted)
    with pytest.raises(Stopped):
        tim3d.skeleton(sample, options=few)
    before = set(computed)
    with pytest.raises(MixedRunError, match="begun with block"):
        tim3d.skeleton(sample, options=QUIET)
    computed[:] = []
    monkeypatch.setattr(
        ThinWork, "compute", lambda *given: computed.append(given) or compute(*given)
    )
    found = tim3d.skeleton(sample, options=few).values
    assert not before & {(work.number, block.index) for work, block, _ in computed}
    assert np.array_equal(found > 0, thinned(labels + np.uint8(1), radii, 1.0) > 0)


def test_what_has_no_struts_is_refused_in_one_line(tmp_path: Path) -> None:
    labels = volume((12, 9, 9), 2)
    sample = ingested(tmp_path, labels, (1.0, 1.0, 1.0), (6, 9, 9))
    for verb in ("skeleton", "struts"):
        with pytest.raises(
            MissingFieldError, match=f"tim3d {'distance' if verb == 'skeleton' else 'skeleton'}"
        ):
            getattr(tim3d, verb)(sample, options=QUIET)
    tim3d.distance(sample, options=QUIET)
    with pytest.raises(ArgumentError, match="holds no distances"):
        tim3d.skeleton(sample, distance="phase", options=QUIET)
    tim3d.skeleton(sample, options=QUIET)
    tim3d.distance(sample, phases=["solid"], out="far", options=QUIET)
    tim3d.skeleton(sample, distance="far", options=QUIET)
    before = store.nodes(sample)
    for given_, error in (
        ({"phases": ["metal"]}, ArgumentError),
        ({"phases": ["dirt"]}, InputError),
        ({"skeleton": "far_skeleton", "phases": ["pore"]}, ArgumentError),
        ({"skeleton": "far"}, ArgumentError),
        ({"spurs": -1.0}, ArgumentError),
        ({"joins": float("nan")}, ArgumentError),
        ({"field": "phase_distance"}, ArgumentError),
    ):
        with pytest.raises(error) as raised:
            tim3d.struts(sample, **given_, options=QUIET)
        assert "\n" not in str(raised.value)
    assert store.nodes(sample) == before
    found = tim3d.struts(sample, options=QUIET)
    assert found.phase.values.tolist() == ["pore", "solid"]
    described = tim3d.describe(sample, ["struts"])
    assert np.isnan(described.strut_length_mean.sel(phase="dirt"))
    assert described.strut_length_mean.sel(phase="pore") == found.strut_length_mean.sel(
        phase="pore"
    )
    with pytest.raises(MixedRunError, match="spurs"):
        tim3d.struts(sample, spurs=0.5, out="phase_struts", options=QUIET)
    assert THREE.names[1] == "solid"


@pytest.mark.parametrize(
    ("shape", "spacing", "said"),
    [
        ((1, 9, 9), (1.0, 1.0, 1.0), "is a plane (1 x 9 x 9 voxels): its skeleton is that of a section"),
        ((6, 9, 9), (20.0, 1.0, 1.0), "voxels of 'phase_distance' are 20 times as long along z as across"),
    ],
)  # fmt: skip
def test_planes_and_slender_voxels_are_said_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, shape: Triple, spacing: Spacing, said: str
) -> None:
    sample = ingested(tmp_path, volume(shape, 2), spacing, shape)
    tim3d.distance(sample, options=QUIET)
    caplog.clear()
    found = tim3d.skeleton(sample, options=QUIET)
    assert [
        said in record.getMessage() for record in caplog.records if record.levelname == "WARNING"
    ] == [True]
    assert (found > 0).any()
