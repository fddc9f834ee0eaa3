"""A training that is killed anywhere ends as if it had not been, and its state is read whole or not at all."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
from torch import nn  # noqa: E402

import tim3d  # noqa: E402
from tests.examples import costly  # noqa: E402
from tests.trainings import Changed, KilledError, judged, killed_in  # noqa: E402
from tim3d.errors import ArgumentError, CheckpointError, MixedRunError, Tim3dError  # noqa: E402
from tim3d.models.common.distributed import Place  # noqa: E402
from tim3d.models.common.training_run import Learner, Schedule, TrainingRun, Verdict  # noqa: E402
from tim3d.models.common.training_state import packed, unpacked  # noqa: E402
from tim3d.models.common.weights import write_weights  # noqa: E402

STEPS = 7


@dataclass(frozen=True)
class Line:
    """A small network with everything that has a state: normalisation, dropout, momentum, a falling rate."""

    slope: float = 2.0
    seed: int = 0

    def key(self) -> dict[str, Any]:
        return {"slope": self.slope}

    def start(self, place: Place) -> Learner:
        return Fit(self.slope)

    def save(self, path: Path, run: TrainingRun) -> None:
        net = run.chosen().state_dict()
        write_weights(path, net, '{"model":"training"}')


class Fit:
    def __init__(self, slope: float) -> None:
        self.slope = slope
        layers = (
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.Linear(16, 1),
        )
        self.product = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.optimiser = torch.optim.AdamW(self.product.parameters(), lr=0.1)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimiser, 2, 0.5)

    def parts(self) -> dict[str, Any]:
        return {"net": self.product, "optimiser": self.optimiser, "scheduler": self.scheduler}

    def step(self, number: int, rng: np.random.Generator) -> dict[str, float]:
        x = torch.from_numpy(rng.standard_normal((8, 1, 4, 4), np.float32))
        loss = ((self.product.train()(x)[:, 0] - self.slope * x.mean((1, 2, 3))) ** 2).mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.scheduler.step()
        return {"loss": loss.item()}

    def judge(self) -> Verdict:
        x = torch.randn(32, 1, 4, 4)
        with torch.no_grad():
            error = (
                ((self.product.eval()(x)[:, 0] - self.slope * x.mean((1, 2, 3))) ** 2).mean().item()
            )
        return Verdict(error, {"error": error})


def bits(run: TrainingRun) -> tuple[bytes, Any]:
    """All that a run is, to the last bit."""
    tensors: dict[str, torch.Tensor] = {}
    values = {name: part.state_dict() for name, part in run.learner.parts().items()}
    tree = packed({"parts": values, "best": run.chosen().state_dict()}, "", tensors)
    return b"".join(t.contiguous().numpy().tobytes() for t in tensors.values()), (
        tree,
        run.history,
        run.done,
    )


def finished(state: Path, schedule: Schedule, training: Any = None) -> TrainingRun:
    run = TrainingRun(training or Changed(Line()), state)
    for _ in run.steps(schedule):
        pass
    return run


@given(
    st.sets(st.integers(1, STEPS), max_size=3),
    st.integers(1, STEPS + 1),
    st.sampled_from([0.0, 1e9]),
)
@costly
def test_kills_in_any_steps_leave_no_trace(
    deaths: set[int], every: int, keep_seconds: float
) -> None:
    schedule = Schedule(STEPS, every, keep_seconds=keep_seconds)
    with TemporaryDirectory() as folder:
        whole = finished(Path(folder, "whole"), schedule)
        for step in sorted(deaths):
            with pytest.raises(KilledError):
                finished(Path(folder, "cut"), schedule, Changed(Line(), killed_in(step)))
        assert bits(finished(Path(folder, "cut"), schedule)) == bits(whole)


@given(st.integers(0, STEPS - 1))
@costly
def test_a_kill_while_a_judgement_is_shown_leaves_no_trace(dies: int) -> None:
    with TemporaryDirectory() as folder:
        whole = finished(Path(folder, "whole"), Schedule(STEPS, 1))
        run, looks = TrainingRun(Changed(Line()), Path(folder, "cut")), itertools.count()

        def look(run: TrainingRun) -> None:
            if next(looks) == dies:
                raise KilledError

        with pytest.raises(KilledError):
            list(run.steps(Schedule(STEPS, 1), look))
        assert bits(finished(Path(folder, "cut"), Schedule(STEPS, 1))) == bits(whole)


@given(
    st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=STEPS, max_size=STEPS), st.integers(1, 4)
)
@costly
def test_it_stops_after_so_many_judgements_without_a_better_one_and_keeps_the_first_best(
    scores: list[float], patience: int
) -> None:
    stops = next(
        (n for n in range(1, STEPS) if n - 1 - scores.index(min(scores[:n])) >= patience), STEPS
    )  # fmt: skip
    said = Changed(Line(), judged(list(scores), lambda score: {"score": score}))
    with TemporaryDirectory() as folder:
        run = finished(Path(folder, "state"), Schedule(STEPS, 1, patience=patience), said)
    assert run.done == stops
    assert run.best["step"] == scores.index(min(scores[:stops])) + 1


def test_the_random_numbers_of_the_caller_are_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    finished(tmp_path / "state", Schedule(2, 1))
    assert torch.equal(torch.rand(3), expected)


def test_the_layout_of_tensors_comes_back_with_their_values() -> None:
    weights = torch.randn(4, 3, 2, 2)
    for tensor in (
        weights.to(memory_format=torch.channels_last),
        weights[:, :, :1, :1],
        weights[0, 0].T,
        torch.tensor(3),
    ):
        tensors: dict[str, torch.Tensor] = {}
        back = unpacked(packed([tensor], "a", tensors), tensors)[0]
        assert torch.equal(back, tensor)
        assert back.stride() == tensor.stride() or not tensor.is_non_overlapping_and_dense()


# Whatever is not its own state is refused in one line, and nothing is replaced

REFUSED: dict[str, tuple[Any, type[Tim3dError], str]] = {
    "other data": (Line(slope=3.0), MixedRunError, "belongs to a training with other"),
    "another seed": (Line(seed=1), MixedRunError, "belongs to a training with other"),
    "another class": (Changed(Line()), MixedRunError, "belongs to a training with other"),
}


def run_training(training: Any, model: Path, **named: Any) -> Path:
    return tim3d.run_training(
        training, model, **{"steps": 2, "every": 1, "device": "cpu", "progress": False} | named
    )


def refused(call: Callable[[], Any], error: type[Tim3dError], words: str) -> None:
    with pytest.raises(error, match=words) as seen:
        call()
    assert "\n" not in str(seen.value)
    assert "--overwrite" in str(seen.value)


@pytest.mark.parametrize("case", REFUSED)
def test_another_training_is_refused_until_overwritten(case: str, tmp_path: Path) -> None:
    other, error, words = REFUSED[case]
    model = run_training(Line(), tmp_path / "line")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    refused(lambda: run_training(other, model), error, words)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    run_training(other, model, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == set(before)


@pytest.mark.parametrize("named", [{"every": 2}, {"threads": 3}])
def test_what_decides_the_bits_besides_the_training_is_held_against_the_state(
    named: dict[str, int], tmp_path: Path
) -> None:
    model = run_training(Line(), tmp_path / "line")
    refused(
        lambda: run_training(Line(), model, **named),
        MixedRunError,
        "other data, network or options",
    )


def test_more_steps_go_on_and_the_same_call_changes_nothing(tmp_path: Path) -> None:
    whole = run_training(Line(), tmp_path / "whole", steps=4)
    part = run_training(Line(), tmp_path / "part", steps=2)
    before = part.read_bytes()
    assert run_training(Line(), part, steps=2).read_bytes() == before
    assert run_training(Line(), part, steps=4).read_bytes() == whole.read_bytes()
    assert Path(f"{part}.state").read_bytes() == Path(f"{whole}.state").read_bytes()


def test_a_product_without_its_state_is_not_replaced(tmp_path: Path) -> None:
    model = run_training(Line(), tmp_path / "line")
    before = model.read_bytes()
    Path(f"{model}.state").unlink()
    refused(
        lambda: run_training(Line(slope=3.0), model),
        MixedRunError,
        "is there without the state of a training",
    )
    assert model.read_bytes() == before


@pytest.mark.parametrize("content", ["cut", "flipped", "empty", "a pickle", "the product", "text"])
def test_a_damaged_state_is_one_line(content: str, tmp_path: Path) -> None:
    model = run_training(Line(), tmp_path / "line")
    state = Path(f"{model}.state")
    data, before = state.read_bytes(), model.read_bytes()
    flipped = bytearray(data)
    flipped[-3] ^= 1
    made = {
        "cut": data[:-5], "flipped": bytes(flipped), "empty": b"", "a pickle": pickle.dumps({"a": 1}),
        "the product": before[:-1], "text": b"hello",
    }  # fmt: skip
    state.write_bytes(made[content])
    refused(
        lambda: run_training(Line(), model),
        CheckpointError,
        "is damaged, or is not the state of a training",
    )
    assert model.read_bytes() == before


@pytest.mark.parametrize("old", [b"tim3d state\n" + bytes(99), None])
def test_the_state_of_an_earlier_version_is_refused_and_the_product_stays(
    old: bytes | None, tmp_path: Path
) -> None:
    model = run_training(Line(), tmp_path / "line")
    state, before = Path(f"{model}.state"), model.read_bytes()
    if old:
        state.write_bytes(old)
    else:
        write_weights(
            state, {"a": torch.zeros(2)}, '{"model":"training","schema":1,"key":"a","step":1}'
        )
    refused(lambda: run_training(Line(), model), MixedRunError, "another version of tim3d")
    assert model.read_bytes() == before


def test_a_key_or_a_state_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="key of a training must be JSON"):
        run_training(replace(Line(), slope=np.zeros(2)), tmp_path / "a")
    with pytest.raises(ArgumentError, match="adam of a training is of type function"):
        packed({"adam": copy.deepcopy}, "", {})
    with pytest.raises(ArgumentError, match="patience 0"):
        run_training(Line(), tmp_path / "a", patience=0)
    assert not list(tmp_path.iterdir())
