"""What one process makes of the records of all blocks needs no more than the plan says, or is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tim3d
from tests.property.test_distance import QUIET, ingested, volume
from tests.traced import OBJECTS, traced_peak
from tim3d.cli.main import main
from tim3d.descriptors.particles import Measured, particles
from tim3d.descriptors.struts import Struts, strut_results
from tim3d.engine import Gathering
from tim3d.errors import MemoryPlanError
from tim3d.grid import Block, Box, Grid
from tim3d.kernels.morphology.distance import metric_of
from tim3d.kernels.morphology.instances import Tallies, growing, tally, tally_bytes
from tim3d.kernels.morphology.joined_basins import Joining
from tim3d.kernels.morphology.painting import largest_ball, painting_bytes
from tim3d.kernels.morphology.strut_graph import Curves, graph_bytes, network, struts
from tim3d.stages.geodesic.block_relaxation import Visits
from tim3d.stages.geodesic.halo_arrays import Borders
from tim3d.stages.morphology.basins import BasinField, joining, particles_of
from tim3d.stages.shared.results import run_passes
from tim3d.storage import store

CUBIC = (1.0, 1.0, 1.0)


def lattice(edge: int, step: int) -> np.ndarray:
    """Voxels on the edges of the cells of a lattice; with a step of two every voxel is at a node."""
    return (np.indices((edge,) * 3) % step == 0).sum(axis=0) >= 2


CURVES = {
    "lattice of 2": lattice(32, 2),
    "lattice of 4": lattice(28, 4),
    "lattice of 9": lattice(46, 9),
    "noise": np.random.default_rng(0).random((32, 32, 32)) < 0.1,
}


@pytest.mark.long
@pytest.mark.parametrize("name", CURVES)
def test_a_graph_needs_no_more_than_its_plan(name: str) -> None:
    place = np.flatnonzero(CURVES[name])
    curves = Curves(place, np.ones(len(place)), CURVES[name].shape, CUBIC)

    def made() -> None:
        strut_results({"solid": Struts.of(struts(network(curves)))}, "nm")

    made()
    # A third of the bound may go to compiled loops, which are not traced: 24 bytes a voxel do.
    assert (
        graph_bytes([len(place)]) / 6
        < traced_peak(made, times=3)
        < graph_bytes([len(place)]) - 24 * len(place)
    )


def grains(count: int, cube: int, gap: bool) -> np.ndarray:
    """Cubes in a row, column and layer, with or without gaps between them."""
    ids = np.arange(1, count**3 + 1, dtype=np.uint32).reshape((count,) * 3)
    for axis in range(3):
        ids = ids.repeat(cube, axis)
    if gap:
        ids[(np.indices(ids.shape) % cube == 0).any(axis=0)] = 0
    return ids


@pytest.mark.long
@pytest.mark.parametrize("gap", [True, False])
@pytest.mark.parametrize("block", [36, 10])
def test_a_table_of_particles_needs_no_more_than_its_plan(gap: bool, block: int) -> None:
    ids = grains(12, 3, gap)
    found: list[Tallies] = []
    parts = [
        tally(ids[one.read.slices].copy(), None, one.read, one.core)
        for one in Grid(ids.shape, (block,) * 3, (1, 1, 1))
    ]

    def fresh(part: Tallies) -> Tallies:
        return Tallies(part.ids.copy(), part.rows.copy(), part.pairs.copy(), part.contacts.copy())

    def made() -> None:
        for rows in growing(map(fresh, parts)):
            found[:] = [rows]
        particles(Measured(found[0], ids.shape, CUBIC, False, "z", "solid"))

    made()
    rows = found.pop()
    planned = tally_bytes(len(rows.ids), len(rows.pairs))
    assert planned / 4 < traced_peak(made, times=3) < planned + OBJECTS


def test_the_joining_of_basins_needs_no_more_than_its_plan(tmp_path: Path) -> None:
    labels = np.where(np.random.default_rng(0).random((40, 40, 40)) < 0.4, 3, 0).astype(np.uint8)
    sample = ingested(tmp_path, labels, CUBIC, (40, 20, 40))
    tim3d.distance(sample, options=QUIET)
    fields = store.read_field(sample, "phase"), store.read_field(sample, "phase_distance")
    options = tim3d.Options(progress=False, block=(40, 20, 40))
    basins = BasinField(
        sample,
        "particles",
        fields[0],
        fields[1:],
        0,
        Joining(),
        {},
        {},
        "a",
        "number of the particle",
        options,
    )
    run_passes(basins.passes, options)
    needs: list[int] = []

    class Noted(Gathering):
        """Keeps what is found to be needed."""

        def of(self, data_bytes: int) -> Gathering:
            needs.append(data_bytes)
            return super().of(data_bytes)

    plan = joining("a")

    def made() -> None:
        particles_of(*basins.passes, Joining(), Noted(plan.name, plan.does, None, plan.each))

    made()
    assert max(needs) / 4 < traced_peak(made, times=3) < max(needs) + OBJECTS


@pytest.mark.long
def test_of_the_blocks_around_a_block_one_is_decoded_at_a_time(tmp_path: Path) -> None:
    sample = ingested(tmp_path, volume((4, 4, 4), 0), CUBIC, (4, 4, 4))
    shape, block = (64, 192, 192), (32, 64, 64)
    visits = Visits(shape, block, (0, 0, 0), [])
    borders = Borders(sample, "widths_scratch", "width", visits, 1)
    borders.create(0)
    random = np.random.default_rng(0)
    truth = random.integers(0, 2**32 - 1, shape, dtype=np.uint32)
    for one in Grid(shape, block, (0, 0, 0)):
        borders.write(one, truth[one.core.slices], durable=False)
    box = Box((20, 50, 50), (44, 142, 142))
    wide = Block((0, 0, 0), box, box)
    assert np.array_equal(borders.read(wide), truth[box.slices])
    decoded = 4 * 32 * 64 * 64
    held = traced_peak(lambda: borders.read(wide), times=3) - 4 * box.size
    assert decoded < held < 3 * decoded + OBJECTS


@pytest.mark.long
@pytest.mark.parametrize("spacing", [CUBIC, (np.pi, 1.0, 1.0)])
@pytest.mark.parametrize("largest", [1.0, 1.7])
def test_painting_needs_no_more_than_its_plan_where_every_voxel_is_the_centre_of_a_ball(
    spacing: tuple[float, float, float], largest: float
) -> None:
    shape, metric = (80, 88, 96), metric_of(spacing)
    radii = np.random.default_rng(0).uniform(1, largest, shape).astype(np.float32)
    core = Box((0, 0, 0), shape)
    largest_ball(radii, metric, core)
    need = radii.nbytes + traced_peak(lambda: largest_ball(radii, metric, core), times=3)
    planned = painting_bytes(core.shape, core.shape, metric, largest)
    assert planned - 2**22 <= 12 * radii.size < need < planned + OBJECTS


def test_the_plan_of_struts_knows_the_memory_of_their_graph_before_a_block_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = ingested(tmp_path, volume((12, 14, 26), 3), CUBIC, (12, 14, 13))
    tim3d.distance(sample, options=QUIET)
    found = tim3d.skeleton(sample, options=QUIET).values
    codes = tim3d.open_field(sample, "phase").values
    phases = store.node_attributes(sample, "phase_skeleton")["parameters"]["phases"]
    voxels = {name: int((found[codes == code] > 0).sum()) for name, code in phases.items()}
    assert store.node_attributes(sample, "phase_skeleton")["voxels"] == voxels
    (graph,) = [one for one in tim3d.struts.plan(sample) if isinstance(one, Gathering)]
    assert graph.data_bytes == graph_bytes(list(voxels.values())) > 0
    assert "phase_struts/graph: joins the skeleton of all blocks, in one process; peak" in str(
        graph
    )
    # What the shell prints once the prospective cluster is left is the limit that a run has.
    asked = ["struts", sample, "--cluster", "local", "--workers", "1", "--memory", "64.5", "--plan"]
    assert main(asked) == 0
    assert " of 64.50 GiB" in capsys.readouterr().out.split("phase_struts/graph")[1]
    store.update_node(sample, "phase_skeleton", voxels={**voxels, "pore": 10**12})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(MemoryPlanError, match=r"graph needs .* voxels of a skeleton: give it more"):
        tim3d.struts(sample, options=QUIET)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_plan_of_particles_says_how_many_there_is_room_for_until_they_are_counted(
    tmp_path: Path,
) -> None:
    sample = ingested(tmp_path, volume((12, 14, 26), 3), CUBIC, (12, 14, 13))
    tim3d.distance(sample, options=QUIET)
    plans = [
        one for one in tim3d.particles.plan(sample, phase="pore") if isinstance(one, Gathering)
    ]
    assert [one.data_bytes for one in plans] == [None, None]
    assert "more are refused once they are counted" in str(plans[0])
    tim3d.particles(sample, phase="pore", options=QUIET)
    (rows,) = tim3d.particles.plan(sample, phase="pore", substrate="z")[-1:]
    numbers = tim3d.open_field(sample, "phase_instances_phase=pore").values
    touching = {
        (a, b)
        for shift in np.ndindex(3, 3, 3)
        for a, b in zip(*_beside(numbers, np.array(shift) - 1), strict=True)
        if 0 < a < b
    }
    assert isinstance(rows, Gathering)
    assert rows.data_bytes == tally_bytes(int(numbers.max()), len(touching))


def _beside(numbers: np.ndarray, shift: np.ndarray) -> tuple[list[int], list[int]]:
    """Numbers of all voxels and of those that lie a step beside them."""
    here = tuple(
        slice(max(0, -s), n - max(0, s)) for s, n in zip(shift, numbers.shape, strict=True)
    )
    there = tuple(
        slice(max(0, s), n - max(0, -s)) for s, n in zip(shift, numbers.shape, strict=True)
    )
    return numbers[here].ravel().tolist(), numbers[there].ravel().tolist()
