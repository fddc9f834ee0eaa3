"""Phases: names and codes. Where their order has a meaning, names and codes must not contradict each other."""

from __future__ import annotations

import pickle
from itertools import permutations

import pytest

from tim3d.errors import ArgumentError
from tim3d.phases import Phases
from tim3d.stages.shared.verb import Task, Verb


@pytest.mark.parametrize("order", list(permutations(["pore", "binder", "copper"])))
def test_the_written_order_does_not_change_what_a_name_stands_for(order: tuple[str, ...]) -> None:
    codes = {"pore": 2, "binder": 5, "copper": 7}
    phases = Phases(**{name: codes[name] for name in order})
    assert dict(phases) == codes
    assert phases == Phases(**codes)
    assert phases.names == ("pore", "binder", "copper")


@pytest.mark.parametrize("order", list(permutations(["pore", "binder", "copper"])))
def test_an_order_that_contradicts_the_codes_is_refused_where_it_has_a_meaning(
    order: tuple[str, ...],
) -> None:
    codes = {"pore": 2, "binder": 5, "copper": 7}
    text = ",".join(f"{name}={codes[name]}" for name in order)
    for phases in (Phases.parse(text), Phases(**{name: codes[name] for name in order})):
        for one in (phases, pickle.loads(pickle.dumps(phases))):
            if order == ("pore", "binder", "copper"):
                one.require_order("the darkest")
            else:
                with pytest.raises(
                    ArgumentError,
                    match=f"{text} can be read in two ways: the darkest is '{order[0]}'",
                ):
                    one.require_order("the darkest")


@pytest.mark.parametrize("code", [0.5, 1.0, True, "1", None, -1, 256])
def test_a_code_is_a_whole_number_of_one_byte(code: object) -> None:
    with pytest.raises(ArgumentError, match="codes are"):
        Phases(pore=code)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["pore=0,pore=1", "pore=0,solid=0", "pore", "pore=0,", "pore=²", "pore=0=1"]
)
def test_a_text_that_is_no_list_of_phases(text: str) -> None:
    with pytest.raises(ArgumentError):
        Phases.parse(text)


def test_a_verb_takes_a_plain_dict_of_phases() -> None:
    taken = []

    @Verb
    def measure(phases: Phases) -> Task[None]:
        return Task(lambda: [], lambda: taken.append(phases))

    measure(phases={"solid": 1, "pore": 0})
    assert isinstance(taken[0], Phases)
    assert taken == [Phases(pore=0, solid=1)]
    with pytest.raises(ArgumentError, match="phase name '1' is not a word"):
        measure.plan(phases={1: 0})
