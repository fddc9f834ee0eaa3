"""Steps of `tim3d.clean`, and the parts of a new one (docs/extend.md).

Names are imported on first use.
"""

from __future__ import annotations

from tim3d.lazy import lazy_names

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

_PLACES = dict.fromkeys(_PARTS, f"{_STAGE}.steps") | {
    name: module for module, name in STEPS.values()
}

__all__ = sorted(_PLACES)
__getattr__, __dir__ = lazy_names("step", _PLACES)
