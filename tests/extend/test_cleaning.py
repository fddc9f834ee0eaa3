"""Steps of `clean` of one's own: one that looks at neighbours, one about whole components."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

import tim3d
from tests.cleaned import volume
from tim3d.cleaning import ComponentStep, LocalStep, Rename
from tim3d.grid import Triple

PHASES = tim3d.Phases(pore=0, solid=3, dirt=9)


@dataclass(frozen=True)
class Coat(LocalStep):
    """Give a phase a coat of another one, some voxels thick along each axis."""

    phase: str
    coat: str
    thickness: int

    kind = "coat"
    voxel_bytes = 3.0

    def halo(self, spacing):
        return (self.thickness,) * 3

    def relabel(self, labels, phases, spacing):
        edge = 2 * self.thickness + 1
        near = ndimage.maximum_filter((labels == phases[self.phase]).view(np.uint8), edge)
        coated = near.view(bool) & (labels != phases[self.phase])
        return np.where(coated, np.uint8(phases[self.coat]), labels)


@dataclass(frozen=True)
class Flat(ComponentStep):
    """Give components of a phase that are flat along z to the phase that surrounds them most."""

    phase: str
    voxels: int
    connectivity: int = 26

    kind = "flat"

    def members(self, phases):
        return (phases[self.phase],)

    def chosen(self, found, shape, spacing):
        return found.stop[:, 0] - found.start[:, 0] <= self.voxels


def sample(folder: Path, shard: Triple) -> str:
    np.save(folder / "phase.npy", volume((8, 13, 12), 3))
    url = str(folder / "a.zarr")
    tim3d.ingest(
        folder / "phase.npy",
        url,
        voxel_size={"z": 20, "y": 10, "x": 5},
        field="phase",
        phases=PHASES,
        shard=shard,
        options=tim3d.Options(progress=False),
    )
    return url


def test_steps_of_ones_own_do_not_depend_on_the_blocks(tmp_path: Path) -> None:
    url = sample(tmp_path, (4, 4, 4))
    steps = [Flat("dirt", voxels=1), Rename("dirt", "grain"), Coat("grain", "solid", thickness=1)]
    found = {}
    for block in ((4, 4, 4), (8, 8, 16)):
        options = tim3d.Options(progress=False, block=block, overwrite=True)
        changes = tim3d.clean(url, steps, options=options)
        found[block] = tim3d.open_field(url, "cleaned").values.tobytes(), changes.moved.values
    one, other = found.values()
    assert one[0] == other[0]
    assert np.array_equal(one[1], other[1])
    assert one[1][0, 2, :2].sum() > 0
    assert one[1][2, 0, 1] > 0
    command = str(tim3d.open_dataset(url, "cleaned_changes").attrs["tim3d"]["command"])
    assert command.startswith("tim3d.clean(SAMPLE, steps=[Flat(phase='dirt', voxels=1")
