"""In Python a sample is named by a text or a Path, with the same answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import tim3d
from tim3d import Phases

QUIET = tim3d.Options(progress=False)


def test_a_path_is_as_good_as_its_text(tmp_path: Path) -> None:
    labels, sample = np.indices((4, 6, 8)).sum(axis=0) % 2, tmp_path / "a.zarr"
    np.save(tmp_path / "v.npy", labels.astype(np.uint8))
    size = dict.fromkeys("zyx", 1.0)
    phases = Phases(pore=0, solid=1)
    tim3d.ingest(
        tmp_path / "v.npy", sample, field="phase", voxel_size=size, phases=phases, options=QUIET
    )  # type: ignore[call-overload]
    by_path = tim3d.measure(sample, ["phase_fraction"], options=QUIET)  # type: ignore[arg-type]
    assert by_path.equals(tim3d.measure(str(sample), ["phase_fraction"], options=QUIET))
    assert tim3d.open_field(sample, "phase").equals(tim3d.open_field(str(sample), "phase"))
    assert tim3d.open_dataset(sample, "phase_descriptors").sizes
    assert tim3d.validate(sample) == []
    table = tim3d.table([sample], csv=tmp_path / "t.csv")  # type: ignore[list-item]
    assert table.equals(tim3d.table([str(sample)]))
