"""Commands that are killed at any moment and typed again leave the bytes of commands that nobody killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import kill_commands


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", kill_commands.COMMANDS)
def test_a_killed_command_leaves_the_bytes_of_an_untouched_one(name: str, tmp_path: Path) -> None:
    kill_commands.check(tmp_path, 4, seed=0, names=[name])
