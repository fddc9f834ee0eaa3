"""A correction of one's own, and one that needs numbers of every slice first: the same in any blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import tim3d
from tests.traced import traced_peak
from tim3d.corrections import Column, Correction, Crop, Measured, Stack
from tim3d.corrections.chain import Chain
from tim3d.errors import InputError


@dataclass(frozen=True)
class Unsharp(Correction):
    """Sharpen by what a Gaussian along z, y and x takes away."""

    amount: float = 0.5
    sigma: float = 1.0

    kind = "unsharp"
    version = 1

    @property
    def halo(self) -> int:
        """The Gaussian ends after three standard deviations."""
        return int(3 * self.sigma + 0.5)

    def correct(self, grey: np.ndarray, first: int) -> np.ndarray:
        """Grey values as floats: they are rounded and cut to the type of the field."""
        floats = grey.astype(np.float32)
        smooth = ndimage.gaussian_filter(floats, self.sigma, truncate=3.0, mode="nearest")
        return floats + self.amount * (floats - smooth)


@dataclass(frozen=True)
class Offset(Correction):
    """Add a number to every slice."""

    numbers: tuple[float, ...]

    kind = "offset"

    def correct(self, grey: np.ndarray, first: int) -> np.ndarray:
        added = np.array(self.numbers[first : first + len(grey)])
        return grey + added[:, None, None]


@dataclass(frozen=True)
class Level(Measured):
    """Bring the medians of all slices to the median of the stack."""

    table: str | None = None

    kind = "level"
    columns = (Column("offset", "number that is added to a slice"),)

    def row(self, grey: np.ndarray, z: int) -> Mapping[str, float]:
        """The median of a slice, as it is after the corrections before."""
        return {"middle": float(np.median(grey[-1]))}

    def tabulate(self, rows: xr.Dataset, stack: Stack) -> xr.Dataset:
        """From the rows of all slices the numbers that are applied."""
        return rows.assign(offset=float(np.median(rows.middle)) - rows.middle)

    def applied(self, table: xr.Dataset) -> Correction:
        return Offset(tuple(table.offset.values.tolist()))


def sample_of(path: Path, grey: np.ndarray, shard: tuple[int, int, int]) -> str:
    np.save(path.with_suffix(".npy"), grey)
    tim3d.ingest(
        path.with_suffix(".npy"),
        str(path),
        voxel_size={"z": 20, "y": 10, "x": 10},
        accept=("jumps", "drift"),
        shard=shard,
        options=tim3d.Options(progress=False),
    )
    return str(path)


GREY = (
    np.random.default_rng(3).integers(40, 160, (23, 37, 41)) + np.arange(23)[:, None, None]
).astype(np.uint8)
STEPS = [Crop(y=slice(2, 35), bar=3), Level(), Unsharp(sigma=1.5)]


def test_corrections_of_ones_own(tmp_path: Path) -> None:
    thin = sample_of(tmp_path / "thin.zarr", GREY, (3, 64, 64))
    thick = sample_of(tmp_path / "thick.zarr", GREY, (23, 64, 64))
    options = tim3d.Options(progress=False)
    prepared = [tim3d.prepare(sample, STEPS, options=options).values for sample in (thin, thick)]
    assert np.array_equal(*prepared)

    offset = tim3d.open_dataset(thin, "prepared_level").offset.values[:, None, None]
    level = np.rint(GREY[:, 2:34] + offset).clip(0, 255).astype(np.uint8)
    assert np.array_equal(
        prepared[0], np.rint(Unsharp(sigma=1.5).correct(level, 0)).clip(0, 255).astype(np.uint8)
    )


def test_a_table_is_written_edited_and_given_back(tmp_path: Path) -> None:
    sample = sample_of(tmp_path / "a.zarr", GREY, (4, 64, 64))
    quiet = tim3d.Options(progress=False)
    found = tim3d.prepare(sample, [Level()], only_tables=True, tables=tmp_path / "t", options=quiet)
    assert not (tmp_path / "a.zarr" / "prepared").exists()
    written = (tmp_path / "t" / "level.csv").read_text()
    assert written.startswith("slice,middle,offset\n0,")
    assert float(written.splitlines()[1].split(",")[2]) == float(found["level"].offset[0])

    own = str(tmp_path / "own.csv")
    Path(own).write_text("slice,offset\n" + "".join(f"{z},{z % 2}\n" for z in range(23)))
    made = tim3d.prepare(sample, [Level(table=own)], out="own", options=quiet)
    assert np.array_equal(made.values[1], GREY[1] + 1)
    Path(own).write_text("slice,offset\n0,1\n")
    with pytest.raises(tim3d.Tim3dError, match="one for each slice 0 to 22"):
        tim3d.prepare(sample, [Level(table=own)], out="own2", options=quiet)


def test_what_a_correction_of_ones_own_may_hold_is_planned() -> None:
    """Four arrays of 8 bytes for each voxel where it says nothing; this one holds fewer, of 4 bytes."""
    grey = np.random.default_rng(0).integers(0, 255, (12, 64, 64)).astype(np.uint8)
    stack, step, every = Stack(grey.shape, "uint8", (10.0, 10.0, 10.0)), Unsharp(), range(12)
    peak = traced_peak(lambda: step.region(stack, grey, every, every), times=3)
    assert 0.3 * step.working_bytes(grey.shape) < peak < step.working_bytes(grey.shape)


@dataclass(frozen=True)
class Careless(Correction):
    """Returns what the chain does not expect."""

    does: str = "nothing"

    kind = "careless"

    def correct(self, grey: np.ndarray, first: int) -> np.ndarray:
        return grey

    def region(self, stack: Stack, grey: np.ndarray, given: range, wanted: range) -> np.ndarray:
        changes = {
            "nothing": grey,
            "fewer rows": grey[:, 1:],
            "fewer slices": grey[1:],
            "another type": grey.astype(np.float64),
            "no number": np.where(grey > 99, np.nan, grey).astype(grey.dtype),
        }
        return changes[self.does]


@pytest.mark.parametrize("does", ["fewer rows", "fewer slices", "another type", "no number"])
def test_what_a_correction_should_not_return_is_refused(does: str) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (3, 8, 9)).astype(np.float32)
    stack, every = Stack(grey.shape, "float32", (10.0, 10.0, 10.0)), range(3)
    assert np.array_equal(Chain(stack, (Careless(),)).correct(grey, every, every), grey)
    with pytest.raises(InputError, match="correction 'careless' returned"):
        Chain(stack, (Careless(does),)).correct(grey, every, every)
