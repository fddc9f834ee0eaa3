"""A guided volume is the plain law over all voxels at once; blocks, workers and kills change no bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tim3d
from tests.diffusers import saved
from tests.works import dying_at
from tim3d.errors import ArgumentError, ConvergenceError, MemoryPlanError
from tim3d.generators import Box, Diffusion
from tim3d.grid import Triple
from tim3d.kernels.conduction.conduction import conduct
from tim3d.kernels.generation.guidance import gain, is_guided, steepness
from tim3d.models.diffusion import reverse_field
from tim3d.models.diffusion.network_file import load_network
from tim3d.models.diffusion.reverse_field import DiffusionField
from tim3d.stages.generation import guided_iteration, guided_passes
from tim3d.stages.generation.guided_passes import MoveWork, VelocityWork
from tim3d.stages.generation.iteration import StepWork
from tim3d.storage import store

SHAPE = (10, 18, 13)
K = {"pore": 0.5, "solid": 8.0}
BOTH: dict[str, Any] = {
    "target": {"phase_fraction": 0.45, "conductivity": 2.8},
    "conductivity": K,
    "scatter": {"phase_fraction": 0.004, "conductivity": 0.03},
    "axis": "y",
}
FRACTION: dict[str, Any] = {
    "target": {"phase_fraction": 0.4},
    "scatter": {"phase_fraction": 0.004},
}
JOINT: dict[str, Any] = {"network": "sections", "conditions": {"temperature": 250.0}, "steps": 6}
QUIET = tim3d.Options(progress=False)


def diffusion(folder: Path, **more: Any) -> Diffusion:
    settings = {"steps": 5, "seed": 3, "tile": 16, "device": "cpu", **more}
    return Diffusion(saved(folder, settings.pop("network", "volumes")), **settings)


def field(folder: Path, shape: Triple = SHAPE, **more: Any) -> DiffusionField:
    made = diffusion(folder, **more).of_shape(shape)
    assert isinstance(made, DiffusionField)
    return made


def generated(
    folder: Path, name: str, shape: Triple = SHAPE, block: Triple | None = None, **more: Any
) -> Any:
    given: dict[str, Any] = {
        "shape": shape,
        "shard": (8, 8, 8),
        "options": replace(QUIET, block=block),
    }
    return tim3d.generate(str(folder / f"{name}.zarr"), diffusion(folder, **more), **given)


def record(folder: Path, name: str) -> dict[str, Any]:
    return store.node_attributes(str(folder / f"{name}.zarr"), "phase")


def value(name: str, labels: np.ndarray, axis: int = 1) -> float:
    if name == "phase_fraction":
        return float((labels == 0).mean())
    return conduct(
        labels.astype(np.uint8), {0: 0.5, 1: 8.0}, axis, spacing=(12, 10, 8)
    ).conductivity


def plain_volume(made: DiffusionField, scatter: dict[str, float]) -> np.ndarray:
    """Last state in the volume: every step at once for all voxels, in double precision, without levels.

    The gradient of the conductivity is that of a medium of 251 levels, each solved afresh.
    """
    net, guide = load_network(made.sections[0].weights)[0].double(), made.guide
    assert guide is not None
    state, halo = made.begin(made.domain)[0].astype(np.float64), made.halo_edge
    at = tuple(slice(-a, n - a) for a, n in zip(made.domain.start, made.shape, strict=True))
    for number, one in enumerate(made.process.evaluations(), 1):
        wrapped = np.pad(state, halo, mode="wrap")
        with torch.inference_mode():
            out = net(
                torch.from_numpy(wrapped)[None, None],
                torch.tensor([one.at]).double(),
                torch.zeros(1, 0).double(),
            )
        velocity = np.asarray(out)[0, 0][(slice(halo, -halo),) * 3]
        if is_guided(one):
            estimate = (state + (1 - one.at) * velocity)[at]
            longest = guide.strength * np.linalg.norm(velocity[at])
            move = plain_move(made, estimate, steepness(one.at), gain(one), longest, scatter)
            velocity = velocity.copy()
            velocity[at] += move / (1 - one.at)
        data, noise = state + (1 - one.at) * velocity, state - one.at * velocity
        if one.fresh and one.to < 1:
            drawn = made.noise(number, made.domain)[0]
            assert drawn is not None
            noise = np.sqrt(1 - one.fresh**2) * noise + one.fresh * drawn[0]
        state = one.to * data + (1 - one.to) * noise
    return state[at]


def plain_move(
    made: DiffusionField,
    estimate: np.ndarray,
    steep: float,
    times: float,
    longest: float,
    scatter: dict[str, float],
) -> np.ndarray:
    guide = made.guide
    assert guide is not None
    share = np.round(251 / (1 + np.exp(-2 * steep * estimate))) / 251
    slope, rows, missed = 2 * steep * share * (1 - share) / share.size, [], []
    for name, wanted in guide.targets.items():
        missed.append((value(name, estimate >= 0, guide.axis) - wanted) / scatter[name])
        factor = -np.ones(share.shape)
        if name == "conductivity":
            each = 0.5 * (8 / 0.5) ** (np.arange(252) / 251)
            codes = np.round(251 * share).astype(np.uint8)
            found = conduct(
                codes, dict(enumerate(each.tolist())), guide.axis, spacing=(12, 10, 8), tolerance=1e-5,
                keep_sensitivity=True,
            )  # fmt: skip
            assert found.derivative is not None
            factor = each[codes] * np.log(16) * found.derivative
        rows.append((slope * factor).ravel() / scatter[name])
    if max(map(abs, missed)) <= 0.5:
        return np.zeros(share.shape)
    eased = np.ones(share.size)
    if "conductivity" in guide.targets:
        usual = np.average(np.abs(factor), weights=slope)
        eased = 1 / (1 + np.abs(factor) / usual).ravel()
    matrix = np.array(rows)
    move = -eased * (
        matrix.T @ np.linalg.solve(matrix * eased @ matrix.T, times * np.array(missed))
    )
    length = np.sqrt((move**2 / eased).sum())
    return np.asarray(move * min(1, longest / length)).reshape(share.shape)


@pytest.mark.long
@pytest.mark.parametrize(
    "given",
    [FRACTION, BOTH, BOTH | {"sampler": "ancestral"}],
    ids=["fraction", "both", "with fresh noise"],
)
def test_passes_are_the_plain_law_for_all_voxels_at_once(
    tmp_path: Path, given: dict[str, Any]
) -> None:
    made = field(tmp_path, **given)
    plain = plain_volume(made, given["scatter"])
    labels = np.asarray(generated(tmp_path, "a", **given).values) == 5
    plainly = {name: given[name] for name in given if name == "sampler"}
    unguided = field(tmp_path, **plainly).labels(Box.whole(SHAPE)) == 1
    sure = np.abs(plain) > 0.02
    assert sure.mean() > 0.9
    assert np.array_equal(labels[sure], (plain >= 0)[sure])
    assert (labels != unguided).mean() > 0.02, "guidance has a say"


@pytest.mark.long
@pytest.mark.parametrize(
    "given",
    [
        BOTH,
        BOTH | {"stored": "float16"},
        {k: v for k, v in BOTH.items() if k != "scatter"},
        BOTH | JOINT,
    ],
    ids=["both", "float16", "scatter of octants", "planes together"],
)
def test_blockings_and_deaths_give_the_same_bits(tmp_path: Path, given: dict[str, Any]) -> None:
    shape = SHAPE if "scatter" in given else (16, 18, 17)
    expected = np.asarray(generated(tmp_path, "a", shape, (16, 16, 16), **given).values)
    told = record(tmp_path, "a")
    for name, block in (("b", (16, 48, 32)), ("d", (32, 16, 48))):
        assert np.array_equal(generated(tmp_path, name, shape, block, **given).values, expected)
        assert record(tmp_path, name)["guided_steps"] == told["guided_steps"]
    for work, number in ((StepWork, 3), (VelocityWork, 3), (MoveWork, 1), (MoveWork, 9)):
        with dying_at(work, number):
            generated(tmp_path, "c", shape, (16, 32, 32), **given)
    with dying_between(2):
        generated(tmp_path, "c", shape, (16, 32, 32), **given)
    made = generated(tmp_path, "c", shape, (16, 32, 32), **given)
    assert np.array_equal(made.values, expected)
    assert record(tmp_path, "c")["targets"] == told["targets"]
    assert record(tmp_path, "c")["guided_steps"] == told["guided_steps"]
    assert store.nodes(str(tmp_path / "c.zarr")) == ["phase"]


def test_the_mean_of_states_is_that_of_the_fraction_that_is_asked_for(tmp_path: Path) -> None:
    """Planes that are taken together: the share of the target in place of that which the network means."""
    made = field(tmp_path, **FRACTION, **JOINT)
    assert made.is_joint
    assert made.process.sampler == "ancestral"
    state = np.zeros((1, 2, 2, 2), np.float32)
    moved = made.balanced(4, state, (0.25,))
    assert moved.ravel() == pytest.approx(3 / 6 * (0.6 - 0.4) - 0.25)


@contextmanager
def dying_between(number: int) -> Iterator[None]:
    """Within it, a run is interrupted in the n-th solution of the soft medium."""
    solutions, plain = count(1), guided_iteration.conduct_from

    def dying(*given: Any, **more: Any) -> Any:
        found = plain(*given, **more)
        if next(solutions) == number:
            raise KeyboardInterrupt
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guided_iteration, "conduct_from", dying)
        with pytest.raises(KeyboardInterrupt):
            yield


@pytest.mark.long
def test_any_workers_give_the_same_bits(tmp_path: Path, two_workers: str) -> None:
    expected = generated(tmp_path, "a", **BOTH).values
    with tim3d.cluster(two_workers):
        made = generated(tmp_path, "b", block=(16, 16, 32), **BOTH)
    assert np.array_equal(made.values, expected)


def towards_zero(monkeypatch: pytest.MonkeyPatch, made: DiffusionField) -> None:
    """Give a field a velocity that leads to smooth data of its own: the noise, half as large and made nearer."""
    monkeypatch.setattr(
        reverse_field.Home,
        "velocity",
        lambda home, time, before, inner, axis, around: (
            0.3 * before[(slice(None), *inner)]
        ).astype(np.float32),
    )


@pytest.mark.long
def test_targets_are_reached_and_told(tmp_path: Path) -> None:
    """With a network that keeps what it is given; what is told is what the labels have."""
    shape, wanted = (24, 24, 24), {"phase_fraction": 0.48, "conductivity": 2.45}
    given = BOTH | {"target": wanted, "steps": 16, "scatter": None}
    with pytest.MonkeyPatch.context() as patch:
        towards_zero(patch, field(tmp_path, shape))
        labels = np.asarray(generated(tmp_path, "a", shape, **given).values) == 5
        unguided = np.asarray(generated(tmp_path, "b", shape, steps=16).values) == 5
    for name, told in record(tmp_path, "a")["targets"].items():
        assert told["asked"] == wanted[name]
        assert told["reached"] == pytest.approx(value(name, labels), rel=1e-9)
        assert told["unguided"] == pytest.approx(value(name, unguided), rel=1e-9)
        assert told["scatter"] == pytest.approx(octants(name, labels=unguided), rel=1e-9)
        assert abs(told["unguided"] - told["asked"]) > 2 * told["scatter"]
        assert abs(told["reached"] - told["asked"]) < told["scatter"]
    steps = record(tmp_path, "a")["guided_steps"]
    assert [step["time"] for step in steps] == [n / 16 for n in range(4, 15)]
    assert all(abs(step["certificate"]) < 1e-3 for step in steps)


def octants(name: str, labels: np.ndarray) -> float:
    """Standard deviation of the octants over the root of 8."""
    z, y, x = (n // 2 for n in labels.shape)
    parts = [
        labels[a : a + z, b : b + y, c : c + x] for a in (0, z) for b in (0, y) for c in (0, x)
    ]
    return float(np.std([value(name, part) for part in parts], ddof=1) / np.sqrt(8))


@pytest.mark.long
def test_the_wrong_sign_leads_the_volume_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published error of a distillation term, in a whole run: the control of what is reached."""
    right = guided_passes.guided_velocity
    towards_zero(monkeypatch, field(tmp_path))
    away = []
    for sign in (1, -1):
        monkeypatch.setattr(
            guided_passes,
            "guided_velocity",
            lambda one, v, move, sign=sign: right(one, v, sign * move),
        )
        generated(tmp_path, f"sign{sign}", **BOTH)
        away.append(
            {
                n: abs(t["reached"] - t["asked"])
                for n, t in record(tmp_path, f"sign{sign}")["targets"].items()
            }
        )
    made = np.asarray(generated(tmp_path, "none").values) == 5
    for name, wanted in BOTH["target"].items():
        before = abs(value(name, made) - wanted)
        assert away[0][name] < before < away[1][name]


@pytest.mark.long
def test_a_fraction_by_guidance_and_by_the_cut(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The cut is exact; with a target both hold, and the state needs less of a shift."""
    fractions = {"pore": 0.45, "solid": 0.55}
    with pytest.MonkeyPatch.context() as patch:
        towards_zero(patch, field(tmp_path))
        generated(tmp_path, "cut", fractions=fractions, steps=16)
        more = BOTH | {
            "target": {"conductivity": 2.6},
            "fractions": fractions,
        }
        labels = np.asarray(generated(tmp_path, "both", steps=16, **more).values) == 5
    assert np.count_nonzero(~labels) == round(0.45 * labels.size)
    shifts = [abs(record(tmp_path, name)["shift"]) for name in ("cut", "both")]
    assert shifts[1] < 0.5 * shifts[0]
    told = record(tmp_path, "both")["targets"]
    assert told["phase_fraction"]["reached"] == pytest.approx(0.45, abs=1 / labels.size)
    assert told["conductivity"]["reached"] == pytest.approx(value("conductivity", labels), rel=1e-9)


def test_the_edges_of_voxels_that_are_asked_for_are_those_of_the_flux(tmp_path: Path) -> None:
    """The network's are 12, 10 and 8 nm."""
    given: dict[str, Any] = {"shape": SHAPE, "voxel_size": {"z": 5, "y": 10, "x": 20}}
    made = tim3d.generate(
        str(tmp_path / "a.zarr"), diffusion(tmp_path, **BOTH), options=QUIET, **given
    )
    found = conduct((made.values == 5).astype(np.uint8), {0: 0.5, 1: 8.0}, 1, spacing=(5, 10, 20))
    told = record(tmp_path, "a")["targets"]["conductivity"]
    assert told["reached"] == pytest.approx(found.conductivity, rel=1e-9)


def test_what_is_not_reached_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = {"target": {"phase_fraction": 0.98}, "scatter": {"phase_fraction": 1e-5}}
    generated(tmp_path, "a", **given)
    assert " 0.98 was asked for and" in caplog.text
    assert "fraction of " in caplog.text
    assert "farther than a natural scatter, 1e-05" in caplog.text


def test_a_plan_counts_passes_solutions_and_memory(tmp_path: Path) -> None:
    shape, given = (32, 32, 32), BOTH | {"scatter": None}
    sample = str(tmp_path / "a.zarr")
    plans = tim3d.plan("generate", sample, diffusion(tmp_path, **given), shape=shape)
    text = "\n".join(map(str, plans))
    assert "5 such passes" in text
    assert "/002-velocity: 1 of 1 blocks left" in text
    assert (
        "5 passes of an unguided volume before, 3 passes more that move the state and 6 solutions"
        in text
    )
    assert "the volume as a whole: 1 of 1 blocks left, each 32x32x32" in text
    known = tim3d.plan("generate", sample, diffusion(tmp_path, **BOTH), shape=shape)
    assert "unguided" not in "\n".join(map(str, known))
    whole = next(plan for plan in plans if "as a whole" in str(plan))
    small = replace(whole, limit_bytes=2**20)  # type: ignore[type-var]
    with pytest.raises(MemoryPlanError, match="ask for a smaller --shape"):
        small.check()
    assert store.nodes(sample) == [] if Path(sample).exists() else True


def test_an_unsolved_flux_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate is looked at in every step: dissipation that is not the conductivity stops the run."""
    plain = guided_iteration.conduct_from

    def wrong(*given: Any, **more: Any) -> Any:
        found, guess = plain(*given, **more)
        assert found.sensitivity is not None
        return replace(found, sensitivity=replace(found.sensitivity, certificate=0.02)), guess

    monkeypatch.setattr(guided_iteration, "conduct_from", wrong)
    with pytest.raises(ConvergenceError, match=r"\+0.02 off the effective conductivity"):
        generated(tmp_path, "a", **BOTH)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"target": {"phase_fraction": 1.2}}, "phase_fraction=1.2: the share of pore"),
        ({"target": {"fraction": 0.2}}, "has no 'fraction'.*there are phase_fraction, conductivity"),
        ({"target": {"conductivity": 3}}, "needs the conductivities of both phases: --conductivity pore=0,solid=1"),
        ({"target": {"conductivity": 9}, "conductivity": K}, "between those of its phases, 0.5 and 8"),
        (
            {"target": {"conductivity": 6, "phase_fraction": 0.5}, "conductivity": K},
            r"no volume with 0.5 of pore has it. The bounds are 0.941176 to 4.25 .*from 1.57143 to 3.55556",
        ),
        ({"target": {"conductivity": 3}, "conductivity": {"pore": 1, "oxide": 2}}, "the phases are pore, solid"),
        ({"target": {"conductivity": 3}, "conductivity": {"pore": 3, "solid": 3}}, "both phases conduct alike"),
        ({"target": {"conductivity": 3}, "conductivity": {"pore": 3, "solid": (1, 2, 3)}}, "one conductivity for each"),
        ({"target": {"phase_fraction": 0.3}, "conductivity": K}, "name it in --target"),
        ({"target": {"phase_fraction": 0.3}, "axis": "y"}, "--axis is that of a conductivity"),
        (FRACTION | {"fractions": {"pore": 0.3, "solid": 0.7}}, "leave it out of --target"),
        (FRACTION | {"sampler": "heun"}, "leave out --sampler"),
        (FRACTION | {"harmonise": 2}, "leave out --sampler heun and --harmonise"),
        (FRACTION | {"steps": 1}, "leave none to guide"),
        ({"conductivity": K}, "--conductivity is of a volume that is guided"),
        ({"scatter": {"conductivity": 1}}, "--scatter is of a volume that is guided"),
        (FRACTION | {"scatter": {"phase_fraction": 0}}, "a standard deviation is larger than 0"),
        (FRACTION | {"scatter": {"conductivity": 1}}, "not among the targets"),
        ({"target": {"phase_fraction": 0.3}}, "too small to tell the scatter of phase_fraction"),
    ],
)  # fmt: skip
def test_targets_that_cannot_be_are_refused(
    tmp_path: Path, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(ArgumentError, match=words):
        field(tmp_path, **more)


def test_octants_that_are_all_alike_say_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        reverse_field.Home,
        "velocity",
        lambda home, time, before, inner, axis, around: np.full((1, 16, 16, 16), 9, np.float32),
    )
    given = {"target": {"phase_fraction": 0.3}}
    with pytest.raises(ArgumentError, match="have the same phase_fraction"):
        generated(tmp_path, "a", (16, 16, 16), **given)


def test_other_networks_and_single_boxes_are_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    three = Diffusion(saved(tmp_path, "three phases"), **FRACTION)
    with pytest.raises(ArgumentError, match="two phases, and the network has pore, nickel, oxide"):
        three.of_shape(SHAPE)
    with pytest.raises(ArgumentError, match=r"made by tim3d.generate"):
        field(tmp_path, **FRACTION).labels(Box.whole(SHAPE))
    field(tmp_path, **BOTH | {"target": {"phase_fraction": 0.5, "conductivity": 4}})
    assert (
        "is that of an anisotropic volume: with 0.5 of pore it is from 1.57143 to 3.55556"
        in caplog.text
    )
