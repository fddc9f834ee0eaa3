"""tim3d: reliable numbers from FIB-SEM stacks of any size.

Names are imported on first use, so that ``import tim3d`` is quick and loads neither torch nor dask.
"""

from __future__ import annotations

import importlib
from typing import Any

from tim3d.errors import Tim3dError
from tim3d.phases import Phases
from tim3d.verbs import BY_VALUE, VERBS
from tim3d.version import __version__

_WHERE = {
    **VERBS,
    **BY_VALUE,
    "Map": "tim3d.models.segmentation.segmenter",
    "Options": "tim3d.stages.shared.field",
    "Segmenter": "tim3d.models.segmentation.segmenter",
    "Source": "tim3d.sources",
    "cluster": "tim3d.engine",
    "open_dataset": "tim3d.storage.store",
    "open_field": "tim3d.storage.store",
    "plan": "tim3d.cli.parsing",
    "run_recipe": "tim3d.cli.recipe",
    "run_training": "tim3d.stages.shared.training",
    "validate": "tim3d.maintenance.validation",
}

__all__ = ["Phases", "Tim3dError", "__version__", *sorted(_WHERE)]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(
            f"module 'tim3d' has no attribute {name!r}; it has {', '.join(__all__)}"
        )
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
