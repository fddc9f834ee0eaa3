"""``tim3d upgrade`` with steps of our own, in a process that dies on the way: `main` is run by tests."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from tim3d.cli import main
from tim3d.maintenance import upgrade
from tim3d.storage import schema

DEATH = "TIM3D_TEST_DIES_AT"
FIRST = schema.SCHEMA_VERSION


def mark(root: Any) -> None:
    """Every node gets an attribute more."""
    for number, (_, node) in enumerate(sorted(root.members())):
        _die("mark", number)
        own = node.attrs["tim3d"]
        node.attrs["tim3d"] = own | {"mark": own["fingerprint"][:8]}


def add_array(root: Any) -> None:
    """Every node gets an array more."""
    for number, (name, node) in enumerate(sorted(root.members())):
        _die("before the array", number)
        array = node.create_array("planes", shape=(9,), dtype="int64", chunks=(3,), fill_value=0, overwrite=True)
        array[:3] = len(name)
        _die("amid the array", number)
        array[3:] = np.arange(6)


def _die(place: str, number: int) -> None:
    if os.environ.get(DEATH) == f"{place} {number}":
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def two_steps() -> Iterator[None]:
    """A tim3d that is two schemas ahead of the present one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "SCHEMA_VERSION", FIRST + 2)
        patch.setitem(upgrade.STEPS, FIRST, mark)
        patch.setitem(upgrade.STEPS, FIRST + 1, add_array)
        yield


if __name__ == "__main__":
    with two_steps():
        sys.exit(main.main(["upgrade", *sys.argv[1:]]))
