"""An option of a verb reaches the verb, also where a cluster has one of the same name."""

from __future__ import annotations

from typing import Any

import pytest

from tim3d.cli import actions, parsing
from tim3d.verbs import VERBS

OF_CLUSTERS = ("cluster", "workers", "threads", "memory", "site", "tls", "log", "pilot", "price")
OWN = [(verb, one) for verb in VERBS for one in parsing.parameters(verb) if one in OF_CLUSTERS]


def test_some_verbs_have_such_options() -> None:
    assert {"train_diffusion", "train_cgan", "train_generator"} <= {verb for verb, _ in OWN}


@pytest.mark.parametrize("plan", [True, False])
@pytest.mark.parametrize(("verb", "option"), OWN)
def test_an_option_of_the_verb_is_not_taken_by_the_cluster(
    verb: str, option: str, plan: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    for call in ("call", "call_plan"):
        monkeypatch.setattr(parsing, call, lambda name, given: seen.update({name: given}))
    actions.perform(verb, {option: "2"}, plan=plan)
    assert seen[verb][option] == "2"


def test_options_of_a_cluster_do_not_reach_a_verb_that_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(parsing, "call_plan", lambda name, given: seen.update(given))
    actions.perform("measure", {"threads": 2, "cluster": "local"}, plan=True)
    assert set(seen) == {"progress"}
