"""tim3d: FIB-SEM stacks of any size to numbers that can be trusted.

Names are imported when they are used, so that ``import tim3d`` is quick and loads neither torch nor dask.
"""

from __future__ import annotations

import importlib
from typing import Any

from tim3d.errors import Tim3dError
from tim3d.phases import Phases
from tim3d.version import __version__

_WHERE = {
    "Options": "tim3d.stages.field",
    "annotate": "tim3d.stages.annotate",
    "cluster": "tim3d.engine",
    "describe": "tim3d.stages.describe",
    "fidelity": "tim3d.stages.fidelity",
    "generate": "tim3d.stages.generate",
    "geodesic": "tim3d.stages.geodesic",
    "import_generator": "tim3d.stages.import_generator",
    "ingest": "tim3d.stages.ingest",
    "label": "tim3d.stages.label",
    "measure": "tim3d.stages.measure",
    "open_dataset": "tim3d.store",
    "open_field": "tim3d.store",
    "plan": "tim3d.arguments",
    "report": "tim3d.reporting.report",
    "run_recipe": "tim3d.recipe",
    "score": "tim3d.stages.score",
    "segment": "tim3d.stages.segment",
    "simulate": "tim3d.stages.simulate",
    "solve": "tim3d.stages.solve",
    "study": "tim3d.stages.study",
    "train": "tim3d.stages.train",
    "train_generator": "tim3d.reporting.generator",
    "validate": "tim3d.validation",
}

__all__ = ["Phases", "Tim3dError", "__version__", *sorted(_WHERE)]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'tim3d' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
