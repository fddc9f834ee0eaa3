"""Corrections of a grey field for `tim3d.prepare`, and the parts of a new one (docs/extend.md).

Names are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import Any

# Steps by the names that they have in the shell and in recipes: module and class.
STEPS = {
    "align": ("tim3d.corrections.align", "Align"),
    "fill": ("tim3d.corrections.fill", "Fill"),
    "crop": ("tim3d.corrections.crop", "Crop"),
    "tilt": ("tim3d.corrections.tilt", "Tilt"),
    "brightness": ("tim3d.corrections.brightness", "Brightness"),
    "background": ("tim3d.corrections.background", "Background"),
    "curtain": ("tim3d.corrections.curtain", "Curtain"),
    "median": ("tim3d.corrections.median", "Median"),
    "nonlocal": ("tim3d.corrections.nonlocal_means", "NonLocal"),
    "variation": ("tim3d.corrections.variation", "Variation"),
}
_PARTS = ("Column", "Correction", "Measured", "Stack", "Step")

__all__ = sorted([*_PARTS, *(name for _, name in STEPS.values())])


def __getattr__(name: str) -> Any:
    places = {one: module for module, one in STEPS.values()}
    if name not in __all__:
        raise AttributeError(f"no correction {name!r}; there are {', '.join(__all__)}")
    return getattr(importlib.import_module(places.get(name, "tim3d.corrections.base")), name)


def __dir__() -> list[str]:
    return list(__all__)
