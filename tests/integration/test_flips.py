"""Whatever byte of a file is changed: each reader refuses it in one line, or says what it said before."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import flips, flips_networks, flips_recipes


@pytest.mark.long
def test_changed_bytes_of_voxels_results_and_markers_are_refused_or_change_no_answer(
    tmp_path: Path,
) -> None:
    found, wrong = flips.try_flips(tmp_path, 6, seed=2, of=("chunk", "marker", "run"))
    assert wrong == []
    assert found["refused"] > 0


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_two_hundred_changed_bytes_are_refused_or_change_no_answer(tmp_path: Path) -> None:
    found, wrong = flips.try_flips(tmp_path, 200, seed=3, drawn_every=5)
    assert wrong == []
    assert found["kinds of files"] > 20


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_changed_bytes_of_networks_are_refused_by_all_that_read_them(tmp_path: Path) -> None:
    found, wrong = flips_networks.try_networks(tmp_path, 30, seed=1)
    assert wrong == []
    assert found["refused"] > 20


@pytest.mark.long
def test_a_changed_recipe_is_refused_or_does_what_its_text_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, wrong = flips_recipes.try_recipes(tmp_path, 8, 2, monkeypatch.chdir)
    assert wrong == []
    assert found["refused"] > 0
    assert found["does what it says"] > 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_sixty_changed_recipes_are_refused_or_do_what_their_text_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert flips_recipes.try_recipes(tmp_path, 60, 1, monkeypatch.chdir)[1] == []
