"""Words of the shell for prompts and for rules of masks: module and class of each."""

RULES = {
    "objects": ("tim3d.models.promptable.mask_rules", "AsObjects"),
    "grains": ("tim3d.models.promptable.mask_rules", "AsGrains"),
    "materials": ("tim3d.models.promptable.mask_rules", "AsMaterials"),
}
PROMPTS = {
    "grid": ("tim3d.models.promptable.prompting", "Grid"),
    "structure": ("tim3d.models.promptable.prompting", "Structure"),
    "file": ("tim3d.models.promptable.prompting", "Listed"),
    "strokes": ("tim3d.models.promptable.prompting", "Strokes"),
    "objects": ("tim3d.models.promptable.prompting", "Objects"),
}
