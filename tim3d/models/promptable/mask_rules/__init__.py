"""Rules for masks: one in each module, and their base.

Names are imported on first use. No torch here.
"""

from __future__ import annotations

from tim3d.lazy import lazy_names

# Rules by the names that they have in the shell and in recipes: module and class.
RULES = {
    "objects": ("tim3d.models.promptable.mask_rules.objects", "AsObjects"),
    "grains": ("tim3d.models.promptable.mask_rules.grains", "AsGrains"),
    "materials": ("tim3d.models.promptable.mask_rules.materials", "AsMaterials"),
    "file": ("tim3d.models.promptable.mask_rules.file", "RuleFile"),
}

_PLACES = {"MaskRule": "tim3d.models.promptable.mask_rules.base"} | {
    name: module for module, name in RULES.values()
}

__all__ = sorted(_PLACES)
__getattr__, __dir__ = lazy_names("rule for masks", _PLACES)
