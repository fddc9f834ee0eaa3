"""A text where names are expected is one name, not its letters; where numbers are expected it is refused."""

from __future__ import annotations

from typing import Any

import pytest

import tim3d
from tim3d import typed
from tim3d.cli.parsing import parameters
from tim3d.errors import ArgumentError
from tim3d.stages.shared.verb import Task, Verb
from tim3d.verbs import VERBS

KINDS = {one.kind for verb in VERBS for one in parameters(verb).values()}
OF = {kind: what for kind in sorted(KINDS) if (what := typed.sequence_of(kind))}


def taken(kind: str, value: Any) -> Any:
    """Value of an argument of this type as a verb gets it."""

    def takes(*, value: Any) -> Task[Any]:
        return Task(list, lambda: value)

    takes.__annotations__["value"] = f"{kind} | None"
    return Verb(takes).task(value=value).run()


def test_the_types_of_the_verbs_are_known() -> None:
    assert {"Names", "Losses", "CropChanges", "Directions", "Seeds", "Samples"} <= set(OF)
    assert set(OF.values()) == {"texts", "numbers", "one or more numbers"}


@pytest.mark.parametrize("kind", [kind for kind, what in OF.items() if what == "texts"])
def test_a_text_is_one_name(kind: str) -> None:
    assert list(taken(kind, "coral")) == ["coral"]
    assert list(taken(kind, ("coral", "dann"))) == ["coral", "dann"]
    assert taken(kind, None) is None


@pytest.mark.parametrize("kind", [kind for kind, what in OF.items() if what != "texts"])
def test_a_text_is_no_list_of_numbers(kind: str) -> None:
    assert taken(kind, [4, 8]) == [4, 8]
    with pytest.raises(ArgumentError, match="value='48': numbers are expected"):
        taken(kind, "48")
    if OF[kind] == "numbers":
        with pytest.raises(ArgumentError, match="value=48: numbers are expected"):
            taken(kind, 48)
    else:
        assert taken(kind, 48) == 48


def test_verbs_take_one_name_as_it_is() -> None:
    samples = [f"{number}.zarr" for number in range(60)]
    with pytest.raises(ArgumentError, match="need a folder of real images"):
        tim3d.train_surrogate(samples, model="m", greys={"a": 1.0, "b": 200.0}, adapt="coral")
    with pytest.raises(ArgumentError, match="windows='48': numbers are expected"):
        tim3d.study("a.zarr", quantity="phase_fraction", phase="a", windows="48")  # type: ignore[arg-type]
