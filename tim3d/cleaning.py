"""Steps of `tim3d.clean`, and the parts of a new one (docs/extend.md).

Names are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import Any

_STAGE = "tim3d.stages.cleaning"
# Steps by the names that they have in the shell and in recipes: module and class.
STEPS = {
    "islands": (f"{_STAGE}.islands", "Islands"),
    "floating": (f"{_STAGE}.islands", "Floating"),
    "holes": (f"{_STAGE}.holes", "Holes"),
    "open": (f"{_STAGE}.balls", "Opening"),
    "close": (f"{_STAGE}.balls", "Closing"),
    "majority": (f"{_STAGE}.balls", "Majority"),
    "merge": (f"{_STAGE}.naming", "Merge"),
    "rename": (f"{_STAGE}.naming", "Rename"),
}
_PARTS = ("ComponentStep", "LocalStep")

__all__ = sorted([*_PARTS, *(name for _, name in STEPS.values())])


def __getattr__(name: str) -> Any:
    places = {one: module for module, one in STEPS.values()}
    if name not in __all__:
        raise AttributeError(f"no step {name!r}; there are {', '.join(__all__)}")
    return getattr(importlib.import_module(places.get(name, f"{_STAGE}.steps")), name)


def __dir__() -> list[str]:
    return list(__all__)
