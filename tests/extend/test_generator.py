"""A generator of one's own: layers of two phases whose borders wander, the same in any blocks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import tim3d
from tim3d.errors import MixedRunError
from tim3d.generators import Box, Generator, Noise


@dataclass(frozen=True)
class Layers(Generator):
    """Layers normal to z, each column of them moved up or down by a normal number of voxels."""

    kind = "layers"
    version = 1
    phases = tim3d.Phases(electrolyte=2, electrode=5)

    thickness: int
    roughness: float
    seed: int
    spacing_nm: tuple[float, float, float] = (10.0, 10.0, 10.0)

    def labels(self, box: Box) -> np.ndarray:
        """0 and 1 by turns; a voxel depends on its own place and on the noise of its own column."""
        column = Box((0, *box.start[1:]), (1, *box.stop[1:]))
        shift = np.rint(self.roughness * Noise(self.seed).normals(column)).astype(int)
        z = np.arange(box.start[0], box.stop[0])[:, None, None] + shift
        return (z // self.thickness % 2).astype(np.uint8)

    def block_bytes(self, core: tuple[int, int, int]) -> int:
        """The places along z take eight bytes a voxel, twice, and the labels one."""
        return 17 * int(np.prod(core))


def options(*block: int) -> tim3d.Options:
    return tim3d.Options(block=block, progress=False)  # type: ignore[arg-type]


def test_a_generator_of_ones_own(tmp_path: Path) -> None:
    layers, size = Layers(6, 1.5, seed=7), {"shape": (40, 32, 48), "shard": (16, 16, 16)}
    whole = tim3d.generate(str(tmp_path / "a.zarr"), layers, **size, options=options(48, 32, 48))
    blocks = tim3d.generate(str(tmp_path / "b.zarr"), layers, **size, options=options(16, 16, 32))
    assert np.array_equal(whole, blocks)
    assert np.array_equal(whole == 5, layers.labels(Box.whole(whole.shape)))
    shares = tim3d.measure(
        str(tmp_path / "a.zarr"), ["phase_fraction"], options=tim3d.Options(progress=False)
    )
    assert float(shares.phase_fraction.sel(phase="electrode")) == float((whole == 5).mean())
    with pytest.raises(MixedRunError, match="seed was 7, now 8"):
        tim3d.generate(str(tmp_path / "a.zarr"), Layers(6, 1.5, seed=8), **size)
