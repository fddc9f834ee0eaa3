"""Where prompts come from: a kind in each module, and their base.

Names are imported on first use. No torch here.
"""

from __future__ import annotations

from tim3d.lazy import lazy_names

# Kinds by the names that they have in the shell and in recipes: module and class.
PROMPTS = {
    "grid": ("tim3d.models.promptable.prompting.grid", "Grid"),
    "structure": ("tim3d.models.promptable.prompting.structure", "Structure"),
    "file": ("tim3d.models.promptable.prompting.file", "Listed"),
    "strokes": ("tim3d.models.promptable.prompting.strokes", "Strokes"),
    "objects": ("tim3d.models.promptable.prompting.objects", "Objects"),
    "decoder": ("tim3d.models.promptable.prompting.decoder", "Decoder"),
}

_PLACES = {"Prompting": "tim3d.models.promptable.prompting.base"} | {
    name: module for module, name in PROMPTS.values()
}

__all__ = sorted(_PLACES)
__getattr__, __dir__ = lazy_names("kind of prompts", _PLACES)
