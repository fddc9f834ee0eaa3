"""Corrections of a grey field for `tim3d.prepare`, and the parts of a new one (docs/extend.md).

Names are imported on first use.
"""

from __future__ import annotations

from tim3d.lazy import lazy_names

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

_PLACES = dict.fromkeys(_PARTS, "tim3d.corrections.base") | {
    name: module for module, name in STEPS.values()
}

__all__ = sorted(_PLACES)
__getattr__, __dir__ = lazy_names("correction", _PLACES)
