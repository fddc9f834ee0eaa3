"""Steps from noise to data, against the solution where data are normal: the velocity is then linear and known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tim3d.errors import ArgumentError
from tim3d.kernels.generation.reverse_process import Evaluation, ReverseProcess, Sampler, moved

SPREAD = 2.5


def velocity(state: np.ndarray, time: float) -> np.ndarray:
    """Mean of data - noise at a state, for normal data of standard deviation `SPREAD`."""
    variance = time**2 * SPREAD**2 + (1 - time) ** 2
    return state * np.float32((time * SPREAD**2 - (1 - time)) / variance)


def ended(process: ReverseProcess, start: np.ndarray, seed: int = 0) -> np.ndarray:
    """The last state from a first one."""
    noise, states = np.random.default_rng(seed), [start]
    for one in process.evaluations():
        drawn = [
            noise.standard_normal(start.shape).astype(np.float32) if asked else None
            for asked in one.drawn
        ]
        earlier = states[-2] if one.corrects else None
        fresh = (drawn[0], drawn[1])
        states.append(moved(one, states[-1], velocity(states[-1], one.at), earlier, fresh))
    return states[-1]


@pytest.mark.parametrize(("sampler", "order"), [("euler", 1), ("heun", 2)])
def test_the_error_falls_with_the_order_of_the_method(sampler: Sampler, order: int) -> None:
    start = np.float32([1.0])
    errors = [
        abs(float(ended(ReverseProcess(steps, sampler), start)[0]) - SPREAD)
        for steps in (16, 32, 64)
    ]
    assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.2)
    assert errors[1] / errors[2] == pytest.approx(2**order, rel=0.2)


@pytest.mark.parametrize(
    "process",
    [
        ReverseProcess(256),
        ReverseProcess(256, "ancestral"),
        ReverseProcess(256, harmonise=3),
        ReverseProcess(256, "ancestral", harmonise=2),
        ReverseProcess(64, "heun", harmonise=2),
    ],
)
def test_every_sampler_ends_with_the_law_of_the_data(process: ReverseProcess) -> None:
    start = np.random.default_rng(1).standard_normal(10_000).astype(np.float32)
    last = ended(process, start)
    assert last.std() == pytest.approx(SPREAD, rel=0.04)
    assert abs(last.mean()) < 0.1
    kept = float(np.corrcoef(start, last)[0, 1])
    draws = any(any(one.drawn) for one in process.evaluations())
    assert (kept < 0.9) if draws else (kept > 0.9999)


@given(st.integers(1, 40), st.sampled_from(["euler", "heun", "ancestral"]), st.integers(1, 4))
def test_steps_lead_from_0_to_1_and_every_way_back_is_gone_again(
    steps: int, sampler: Sampler, harmonise: int
) -> None:
    process = ReverseProcess(steps, sampler, harmonise)
    found = process.evaluations()
    assert len(found) == process.passes
    time = 0.0
    for one in found:
        assert one.since == time or one.corrects
        assert 0 <= one.fresh <= 1
        assert one.to < 1 or not one.drawn[0]
        time = one.since if one.to > one.at and _is_half(one, found) else one.to
        time = one.back if one.back is not None else time
    assert time == 1


def _is_half(one: Evaluation, found: list[Evaluation]) -> bool:
    """Whether a second evaluation of the same step follows."""
    return any(other.step == one.step and other.corrects for other in found)


def test_replaced_noise_keeps_the_variance_of_the_state() -> None:
    """Where the velocity is exact for one datum, the state at a time has the mean and spread of that time."""
    one = ReverseProcess(4, "ancestral").evaluations()[1]
    noise = np.random.default_rng(2).standard_normal((2, 100_000)).astype(np.float32)
    state = one.at * 3 + (1 - one.at) * noise[0]
    after = moved(one, state, (3 - noise[0]).astype(np.float32), None, (noise[1], None))
    assert after.mean() == pytest.approx(3 * one.to, abs=0.01)
    assert after.std() == pytest.approx(1 - one.to, rel=0.01)
    assert 0 < one.fresh < 1
    assert ReverseProcess(2, "ancestral").evaluations()[0].fresh == 1, "nothing is known at time 0"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"steps": 0}, "give 1 or more"),
        ({"steps": 40000}, "at most"),
        ({"sampler": "dpm"}, "choose of"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, object], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        ReverseProcess(**given)  # type: ignore[arg-type]
