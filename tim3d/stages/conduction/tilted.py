"""Warning of particles whose own conductivity tensor is tilted against the axes of the volume."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from tim3d.kernels.conduction.conduction import Physics
from tim3d.storage import store
from tim3d.storage.schema import Field

log = logging.getLogger(__name__)


def warn_of_tilted(sample: str, labels: Field, physics: Physics) -> None:
    """Warn where a generated field has plates or fibres in several directions, and an anisotropic phase.

    A phase has one conductivity along each axis of the volume. That of a particle along and across its
    own axis is such a one only if all point along an axis.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    labels : Field
        The label field.
    physics : Physics
        What conducts.
    """
    names = {code: name for name, code in (labels.phases or {}).items()}
    anisotropic = [names[code] for code, k in physics.checked.items() if len(set(k)) > 1]
    if not anisotropic or not _point_anywhere(store.node_attributes(sample, labels.name)):
        return
    log.warning(
        "%s conducts differently along z, y and x, and the particles of %s point in several directions: their own "
        "tensors are tilted against the axes, which is not represented. Generate them along one, --orientation 1,0,0",
        " and ".join(anisotropic), labels.name,
    )  # fmt: skip


def _point_anywhere(record: Mapping[str, Any]) -> bool:
    """Whether a generator that is recorded has spheroids in several directions."""
    grains = (record.get("parameters") or {}).get("grains")
    if not isinstance(grains, Mapping) or float(grains.get("aspect", 1)) == 1:
        return False
    return len([weight for weight in grains["orientation"] if weight > 0]) > 1
