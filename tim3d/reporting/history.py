"""Training curves stored in a model file, read without loading the network."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tim3d.errors import CheckpointError

# A longer header means a file of another kind.
_LONGEST_HEADER = 2**27


def training_summary(model: str | Path) -> dict[str, Any]:
    """Return the training record of a model file; only the head of the file is read.

    Raises
    ------
    CheckpointError
        If the file is missing or is not a model of tim3d.
    """
    try:
        with Path(model).open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = file.read(length) if length <= _LONGEST_HEADER else b""
        summary = json.loads(json.loads(header)["__metadata__"]["tim3d"])["training"]
    except OSError as error:
        raise CheckpointError(
            f"cannot read the model {model}: {error.strerror}; check its path"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{model} is not a model of tim3d; expected a file written by tim3d train"
        ) from error
    return dict(summary)


def curves(history: Any) -> dict[str, list[float]]:
    """Columns of numbers, one entry per epoch, from a list of records or a mapping of lists.

    >>> curves([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "val_loss": 0.3}])
    {'epoch': [1.0, 2.0], 'loss': [0.5, 0.25], 'val_loss': [nan, 0.3]}
    """
    if isinstance(history, Mapping):
        return {
            str(k): [_number(v) for v in values]
            for k, values in history.items()
            if _is_list(values)
        }
    records = [r for r in history or [] if isinstance(r, Mapping)]
    names = dict.fromkeys(k for r in records for k, v in r.items() if not math.isnan(_number(v)))
    return {str(k): [_number(r.get(k)) for r in records] for k in names}


def _is_list(values: Any) -> bool:
    return isinstance(values, Sequence) and not isinstance(values, str)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
