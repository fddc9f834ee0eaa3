"""The verb generate: any blocks, workers and deaths give the same volume; its laws are measured; bad input is named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tests.works import dying_at
from tim3d.cli.main import main
from tim3d.engine import Ledger
from tim3d.errors import InputError, MixedRunError
from tim3d.grid import Box, Triple
from tim3d.kernels.generation.gaussian_field import GaussianField, LevelCuts
from tim3d.kernels.generation.packing import Overlapping
from tim3d.kernels.generation.particles import Grains
from tim3d.kernels.generation.philox import Noise
from tim3d.stages.generation import structures
from tim3d.stages.generation.generate import generate as shell_form
from tim3d.stages.generation.volume import GenerateWork
from tim3d.storage import store

SHAPE = (37, 45, 45)
SIZE = {"z": 10.0, "y": 5.0, "x": 4.0}
QUIET = tim3d.Options(progress=False)
SHARD = (16, 16, 16)
KINDS: dict[str, dict[str, Any]] = {
    "field": {
        "fractions": {"pore": 0.3, "copper": 0.5, "oxide": 0.2},
        "correlation_nm": (60.0, 30.0, 30.0),
    },
    "overlapping": {"loading": 0.3, "diameter_nm": 60.0, "spread": 0.3, "aspect": 0.4},
    "hard-core": {
        "loading": 0.08,
        "sizes": {"40": 2, "60": 1},
        "phases": tim3d.Phases(polymer=3, silver=7),
    },
    "packed": {"loading": 0.5, "diameter_nm": 60.0},
    "spinodal": {
        "fractions": {"pore": 0.4, "copper": 0.6},
        "wavelength_nm": (110.0, 75.0, 60.0),
        "ripening": 10.0,
    },
    "polycrystal": {
        "voxel_size": {"z": 10.0, "y": 5.0, "x": 4.0},
        "grain_nm": 60.0,
        "growth": 2.0,
        "cell_nm": (10.0, 180.0, 180.0),
    },
    "contact": {
        "roughness": {"rms_nm": 20.0, "hurst": 0.8, "correlation_nm": 160.0, "cutoff_nm": 40.0},
        "pressure": 0.1,
    },
    "interface": {
        "loading": 0.3,
        "diameter_nm": 45.0,
        "bond_line_nm": 300.0,
        "roughness": {"rms_nm": 8.0, "hurst": 0.8, "correlation_nm": 160.0, "cutoff_nm": 20.0},
        "voids": {"share": 0.1, "diameter_nm": 30.0},
        "delamination": {"above": 0.2, "patch_nm": 40.0, "gap_nm": 10.0},
    },
}


def made(
    sample: Path | str,
    kind: str,
    options: tim3d.Options = QUIET,
    verb: Any = shell_form,
    **more: Any,
) -> Any:
    arguments = {
        "shape": SHAPE,
        "voxel_size": SIZE,
        "seed": 11,
        "shard": SHARD,
        **KINDS[kind],
        **more,
    }
    return verb(str(sample), kind=kind, options=options, **arguments)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_any_blocks_and_workers_give_the_volume(
    tmp_path: Path, kind: str, two_workers: str
) -> None:
    whole = made(
        tmp_path / "whole.zarr", kind, tim3d.Options(progress=False, block=(48, 64, 64))
    ).values
    blocks = made(
        tmp_path / "blocks.zarr", kind, tim3d.Options(progress=False, block=(16, 32, 16))
    ).values
    with tim3d.cluster(two_workers):
        shared = made(
            tmp_path / "shared.zarr", kind, tim3d.Options(progress=False, block=(32, 16, 16))
        ).values
    assert np.array_equal(whole, blocks)
    assert np.array_equal(whole, shared)
    assert len(np.unique(whole)) == {"field": 3, "contact": 3, "interface": 5}.get(kind, 2)
    assert not np.array_equal(whole, made(tmp_path / "other.zarr", kind, seed=12).values)


@pytest.mark.parametrize("kind", ["field", "overlapping", "hard-core"])
def test_a_larger_volume_begins_with_the_smaller(tmp_path: Path, kind: str) -> None:
    small = made(tmp_path / "a.zarr", kind).values
    large = made(tmp_path / "b.zarr", kind, shape=(40, 50, 50)).values
    assert np.array_equal(large[: SHAPE[0], : SHAPE[1], : SHAPE[2]], small)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_died_goes_on(tmp_path: Path, kind: str) -> None:
    expected = made(tmp_path / "whole.zarr", kind).values
    sample, options = tmp_path / "a.zarr", tim3d.Options(progress=False, block=(16, 32, 32))
    with dying_at(GenerateWork, 5):
        made(sample, kind, options)
    plans = {plan.name: plan for plan in made(sample, kind, options, verb=shell_form.plan)}
    assert (plans["phase/s0"].blocks, plans["phase/s0"].left) == (12, 8)
    assert np.array_equal(made(sample, kind, options).values, expected)
    assert made(sample, kind, verb=shell_form.plan) == []


def seam_ratio(labels: np.ndarray, edge: int) -> float:
    """Changes of phase across planes at multiples of `edge`, over those elsewhere; mean of the three axes."""
    ratios = []
    for axis in range(3):
        changes = np.diff(labels.astype(int), axis=axis) != 0
        by_plane = changes.mean(axis=tuple(a for a in range(3) if a != axis))
        seam = (np.arange(len(by_plane)) + 1) % edge == 0
        ratios.append(by_plane[seam].mean() / by_plane[~seam].mean())
    return float(np.mean(ratios))


@dataclass(frozen=True)
class Seeded:
    """What must not be: noise of its own for every chunk."""

    edge: int

    def labels(self, box: Box) -> np.ndarray:
        seed = hash(tuple(a // self.edge for a in box.start)) % 1000
        return LevelCuts(GaussianField((30.0,) * 3, (5.0,) * 3, seed), (0.4, 0.6)).labels(
            Box.whole(box.shape)
        )


def chunked(maker: Any, shape: Triple, edge: int) -> np.ndarray:
    out = np.empty(shape, np.uint8)
    for index in np.ndindex(*(n // edge for n in shape)):
        start = tuple(i * edge for i in index)
        box = Box(start, tuple(a + edge for a in start))  # type: ignore[arg-type]
        out[box.slices] = maker.labels(box)
    return out


def test_there_are_no_seams_and_the_test_would_see_them() -> None:
    shape, edge = (96, 96, 96), 16
    cuts = LevelCuts(GaussianField((30.0,) * 3, (5.0,) * 3, 3), (0.4, 0.6))
    grains = Overlapping(Grains((60.0,), (1.0,)), 0.4, (5.0,) * 3, 3)
    for maker in (cuts, grains):
        labels = chunked(maker, shape, edge)
        assert np.array_equal(labels, maker.labels(Box.whole(shape)))
        assert seam_ratio(labels, edge) == pytest.approx(1.0, abs=0.1)
    assert seam_ratio(chunked(Seeded(edge), shape, edge), edge) > 2


def test_a_periodic_volume_continues_itself(tmp_path: Path) -> None:
    labels = made(
        tmp_path / "a.zarr", "field", periodic=True, fractions={"pore": 0.4, "solid": 0.6}
    ).values
    open_end = made(tmp_path / "b.zarr", "field", fractions={"pore": 0.4, "solid": 0.6}).values
    for axis in range(3):
        inside = (np.diff(labels.astype(int), axis=axis) != 0).mean()
        across = (np.take(labels, 0, axis) != np.take(labels, -1, axis)).mean()
        assert across < 2 * inside
        assert (np.take(open_end, 0, axis) != np.take(open_end, -1, axis)).mean() > 2.5 * inside


def test_measured_surface_and_fraction_are_the_closed_forms(tmp_path: Path) -> None:
    """Spheres of 24 voxels; the estimators have a bias of about 1 % there, the volume an error of a few."""
    sample, shape = str(tmp_path / "a.zarr"), (120, 240, 240)
    model = Overlapping(Grains((24.0,), (1.0,)), 0.3, (2.0, 1.0, 1.0), 2)
    tim3d.generate(sample, model, shape=shape, options=QUIET)
    found = tim3d.measure(sample, descriptors=["phase_fraction", "specific_surface"], options=QUIET)
    assert float(found.phase_fraction.sel(phase="filler")) == pytest.approx(0.3, abs=0.02)
    surface = found.specific_surface.sel(phase="filler")
    if "estimator" in surface.dims:
        surface = surface.sel(estimator="crofton")
    assert float(surface) == pytest.approx(model.specific_surface, rel=0.05)


def test_what_is_kept_of_a_volume(tmp_path: Path) -> None:
    sample = str(tmp_path / "a.zarr")
    labels = made(sample, "hard-core")
    record = store.node_attributes(sample, "phase")
    assert record["parameters"]["seed"] == 11
    assert (record["parameters"]["kind"], record["parameters"]["version"]) == ("hard-core", 1)
    assert record["parameters"]["grains"]["diameters_nm"] == [40.0, 60.0]
    assert sorted(np.unique(labels).tolist()) == [3, 7]
    assert store.complete_field(sample, "phase").phases == tim3d.Phases(polymer=3, silver=7)
    assert float(labels.z[1] - labels.z[0]) == 10.0
    ledger = Ledger(sample, "phase/s0", record["fingerprint"])
    counted = sum(ledger.record(index)["voxels"]["7"] for index in ledger.done())
    assert counted == int((labels == 7).sum())
    with pytest.raises(MixedRunError, match="seed was 11, now 12"):
        made(sample, "hard-core", seed=12)


@pytest.mark.long
def test_a_field_from_a_table_of_s2(tmp_path: Path) -> None:
    distances = np.arange(0.0, 41.0, 2.0)
    table = tmp_path / "s2.csv"
    np.savetxt(
        table, np.column_stack([distances, 0.25 * np.exp(-distances / 8.0) + 0.25]), delimiter=","
    )
    arguments = {"fractions": {"pore": 0.5, "solid": 0.5}, "s2": table, "correlation_nm": None}
    size = {"z": 4.0, "y": 2.0, "x": 2.0}
    whole = made(
        tmp_path / "a.zarr", "field", shape=(64, 96, 96), voxel_size=size, **arguments
    ).values
    small = tim3d.Options(progress=False, block=(16, 48, 32))
    blocks = made(
        tmp_path / "b.zarr", "field", small, shape=(64, 96, 96), voxel_size=size, **arguments
    ).values
    assert np.array_equal(whole, blocks)
    pore = whole == 0
    for lag in (1, 2, 4):
        found = (pore[..., lag:] & pore[..., :-lag]).mean()
        assert found == pytest.approx(0.25 * np.exp(-2 * lag / 8.0) + 0.25, abs=0.03)
    for text, says in (
        ("a,b\n", "expected rows of numbers"), ("0,0.5\n", "has 1 rows of 2"),
        ("0,0.3\n1,0.2\n2,0.1\n3,0.1\n", "S2 at distance 0 is the fraction, 0.5"),
    ):  # fmt: skip
        table.write_text(text)
        with pytest.raises(InputError, match=says):
            made(tmp_path / "c.zarr", "field", **arguments)
    assert not (tmp_path / "c.zarr").exists()


WRONG = [
    (2, ["--kind", "field", "--correlation-nm", "50"], "needs --fractions"),
    (
        2,
        ["--kind", "field", "--correlation-nm", "50", "--fractions", "a=0.5,b=0.6"],
        "add up to 1.1",
    ),
    (
        2,
        ["--kind", "field", "--correlation-nm", "5,6", "--fractions", "a=0.5,b=0.5"],
        "one number or three",
    ),
    (
        2,
        ["--kind", "field", "--correlation-nm", "0", "--fractions", "a=0.5,b=0.5"],
        "a length is above 0 nm",
    ),
    (
        2,
        ["--kind", "field", "--correlation-nm", "1e12", "--fractions", "a=0.5,b=0.5", "--plan"],
        "longer than the longest edge of the volume",
    ),
    (2, ["--kind", "field", "--fractions", "a=0.5,b=0.5"], "either --correlation-nm 80 or --s2"),
    (3, ["--kind", "field", "--fractions", "a=0.5,b=0.5", "--s2", "none.csv"], "none.csv"),
    (2, ["--kind", "overlapping", "--diameter-nm", "50"], "needs --loading"),
    (2, ["--kind", "overlapping", "--diameter-nm", "50", "--loading", "1.5"], "between 0 and 0.99"),
    (
        2,
        ["--kind", "overlapping", "--sizes", "50=0", "--loading", "0.5"],
        "positive diameters and shares",
    ),
    (
        2,
        ["--kind", "overlapping", "--diameter-nm", "50", "--loading", "0.2", "--cell-nm", "1,1,1"],
        "no use for",
    ),
    (
        2,
        ["--kind", "overlapping", "--diameter-nm", "50", "--loading", "0.2", "--seed", "-1"],
        "not between 0 and 2^64 - 1",
    ),
    (
        2,
        ["--kind", "overlapping", "--diameter-nm", "50", "--loading", "0.2", "--phases", "a=0"],
        "are two phases",
    ),
    (
        2,
        ["--kind", "hard-core", "--diameter-nm", "50", "--loading", "0.2"],
        "fill between 0 and 0.1225",
    ),
    (
        2,
        ["--kind", "overlapping", "--diameter-nm", "1e12", "--loading", "0.2", "--plan"],
        "a grain of 1e+12 nm is longer than the longest edge of the volume, 200 nm: give a shorter --diameter-nm",
    ),
    (2, ["--kind", "packed", "--diameter-nm", "50", "--loading", "0.7"], "between 0 and 0.6"),
    (
        2,
        ["--kind", "packed", "--diameter-nm", "500", "--loading", "0.5"],
        "narrower than three particles",
    ),
    (
        5,
        ["--kind", "overlapping", "--diameter-nm", "50", "--loading", "0.2", "--memory", "0.01"],
        "a worker has",
    ),
]


@pytest.mark.parametrize("length", ["1e12", "inf"])
def test_a_simulation_of_one_phase_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], length: str
) -> None:
    assert main(["simulate", str(tmp_path / "sim"), "--correlation-nm", length]) == 2
    assert "longer than the longest edge of the volume, 2560 nm" in capsys.readouterr().err
    assert not (tmp_path / "sim").exists()


@pytest.mark.parametrize(("code", "typed", "says"), WRONG)
def test_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], code: int, typed: list[str], says: str
) -> None:
    sample = tmp_path / "a.zarr"
    assert (
        main(
            [
                "generate",
                str(sample),
                "--shape",
                "20,30,30",
                "--voxel-size",
                "10,5,5",
                "--quiet",
                *typed,
            ]
        )
        == code
    )
    error = capsys.readouterr().err
    assert error.startswith("tim3d: ")
    assert says in error
    assert not sample.exists()


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = str(tmp_path / "a.zarr")
    typed = [
        "generate",
        sample,
        "--shape",
        "20,30,30",
        "--voxel-size",
        "10,5,5",
        "--quiet",
        "--kind",
        "field",
    ]
    typed += ["--fractions", "pore=0.4,solid=0.6", "--correlation-nm", "60,40,40", "--seed", "3"]
    assert main([*typed, "--plan"]) == 0
    assert "phase/s0: 1 of 1 blocks left" in capsys.readouterr().out
    assert main(typed) == 0
    expected = LevelCuts(GaussianField((60.0, 40.0, 40.0), (10.0, 5.0, 5.0), 3), (0.4, 0.6)).labels(
        Box.whole((20, 30, 30))
    )
    assert np.array_equal(store.open_field(sample, "phase").values, expected)
    assert main(["validate", sample, "--deep"]) == 0


def test_a_generator_is_small_and_needs_no_draw(tmp_path: Path) -> None:
    import cloudpickle

    generator = structures.choose(
        "packed",
        {"loading": 0.4, "diameter_nm": 10.0},
        structures.Place((60, 60, 60), (1.0, 1.0, 1.0), 0, (0, 0, 0)),
    )
    assert len(cloudpickle.dumps(generator)) < 4000
    assert Noise(0).bits(Box.whole((1, 1, 1))).dtype == np.uint32
