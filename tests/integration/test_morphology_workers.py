"""Two workers give the bits of one process: distances, skeleton, struts and particles."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

import tim3d
from tests.property.test_distance import ingested, volume
from tim3d.storage import store


def made(folder: Path, scheduler: str) -> dict[str, xr.Dataset]:
    """Everything that follows from the distances of a small volume of several blocks."""
    folder.mkdir()
    sample = ingested(folder, volume((12, 14, 26), 3), (20.0, 10.0, 10.0), (6, 14, 13))
    options = tim3d.Options(progress=False, block=(6, 14, 13))
    with tim3d.cluster(scheduler):
        tim3d.distance(sample, options=options)
        tim3d.skeleton(sample, options=options)
        struts = tim3d.struts(sample, options=options)
        particles = tim3d.particles(sample, phase="pore", options=options)
    fields = [n for n in store.nodes(sample) if store.node_attributes(sample, n)["kind"] == "field"]
    assert {"phase_skeleton", "phase_instances_phase=pore"} < set(fields)
    voxels = {name: tim3d.open_field(sample, name).load().to_dataset() for name in fields}
    return voxels | {"struts": struts, "particles": particles}


@pytest.mark.long
def test_two_workers_give_the_bits_of_one_process(tmp_path: Path, two_workers: str) -> None:
    one, two = made(tmp_path / "one", "serial"), made(tmp_path / "two", two_workers)
    assert one.keys() == two.keys()
    for name in one:
        assert one[name].drop_attrs().identical(two[name].drop_attrs()), name
        for variable in one[name].variables:
            a, b = one[name][variable].values, two[name][variable].values
            assert a.dtype == b.dtype
            if a.dtype.kind in "fiub":
                assert a.tobytes() == b.tobytes(), variable
