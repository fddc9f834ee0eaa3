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
    "Options": "tim3d.stages.shared.field",
    "annotate": "tim3d.stages.segmentation.annotate",
    "cluster": "tim3d.engine",
    "describe": "tim3d.stages.measurement.describe",
    "fidelity": "tim3d.stages.comparison.fidelity",
    "generate": "tim3d.stages.generation.generate",
    "geodesic": "tim3d.stages.geodesic.geodesic",
    "import_generator": "tim3d.stages.generation.import_generator",
    "ingest": "tim3d.stages.ingest",
    "label": "tim3d.stages.components.label",
    "measure": "tim3d.stages.measurement.measure",
    "open_dataset": "tim3d.storage.store",
    "open_field": "tim3d.storage.store",
    "plan": "tim3d.cli.parsing",
    "report": "tim3d.reporting.report",
    "run_recipe": "tim3d.cli.recipe",
    "score": "tim3d.stages.segmentation.score",
    "segment": "tim3d.stages.segmentation.segment",
    "simulate": "tim3d.stages.generation.simulate",
    "solve": "tim3d.stages.conduction.solve",
    "study": "tim3d.stages.representative.study",
    "train": "tim3d.stages.segmentation.train",
    "train_generator": "tim3d.reporting.generator",
    "validate": "tim3d.maintenance.validation",
}

__all__ = ["Phases", "Tim3dError", "__version__", *sorted(_WHERE)]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'tim3d' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
