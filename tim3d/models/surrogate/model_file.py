"""File of a trained surrogate: weights, how it reads images, its intervals and the range of its training set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tim3d.errors import CheckpointError
from tim3d.kernels.statistics.conformal import Cloud, Floats
from tim3d.models.common.weights import package_version, read_weights, write_weights
from tim3d.models.surrogate.examples import SurrogateOptions

if TYPE_CHECKING:
    from tim3d.models.surrogate.network import Scale, Surrogate

SCHEMA = 1


@dataclass(frozen=True)
class Calibration:
    """Interval and range, from volumes that were kept out of training and selection.

    Parameters
    ----------
    level, half_width, count : float, float, int
        Level of the interval, its half width in the natural logarithm, and the number of volumes.
    farthest : float
        Largest distance of a section that was kept out from the cloud.
    cloud : Cloud
        Sections of the training, or the real images of an adaptation.
    values : (lowest, highest)
        Property of all samples.
    """

    level: float
    half_width: float
    count: int
    farthest: float
    cloud: Cloud
    values: tuple[float, float]


@dataclass(frozen=True)
class SurrogateDescription:
    """All but the weights; `about` has names, units and the pixel, `training` its history."""

    options: SurrogateOptions
    scale: Scale
    calibration: Calibration
    about: Mapping[str, Any]
    training: Mapping[str, Any] = field(default_factory=dict)


def write_surrogate(path: str | Path, net: Surrogate, description: SurrogateDescription) -> str:
    """Write a network and its description, and return the SHA-256 of the file."""
    import torch

    known, scale = description.calibration, description.scale
    text = {
        "model": "surrogate", "schema": SCHEMA, "tim3d": package_version(), "options": description.options.record(),
        "scale": {"standardise": scale.standardise, "grey": scale.grey, "log_value": scale.log_value},
        "calibration": {
            "level": known.level, "half_width": known.half_width, "count": known.count,
            "farthest": known.farthest, "values": known.values,
        },
        "about": dict(description.about), "training": dict(description.training),
    }  # fmt: skip
    tensors = {f"net.{name}": value for name, value in net.state_dict().items()}
    tensors["cloud.mean"] = torch.from_numpy(known.cloud.mean)
    tensors["cloud.inverse"] = torch.from_numpy(known.cloud.inverse)
    return write_weights(path, tensors, json.dumps(text, sort_keys=True, separators=(",", ":")))


def read_surrogate(path: str | Path) -> tuple[Surrogate, SurrogateDescription]:
    """The network, ready to look, and its description.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or of another kind or schema.
    """
    from safetensors import SafetensorError

    from tim3d.models.surrogate.network import Scale, Surrogate

    stored = read_weights(path, "surrogate")
    try:
        text = json.loads(stored.text)
        if text["schema"] != SCHEMA:
            raise CheckpointError(
                f"{path} has schema {text['schema']}, and this version reads {SCHEMA}: train it again"
            )
        given: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in text["options"].items()
        }
        options = SurrogateOptions(**given)
        scale = Scale(
            text["scale"]["standardise"],
            tuple(text["scale"]["grey"]),
            tuple(text["scale"]["log_value"]),
        )
        tensors, known = stored.tensors(), text["calibration"]
        cloud = Cloud(_array(tensors["cloud.mean"]), _array(tensors["cloud.inverse"]))
        calibration = Calibration(
            known["level"],
            known["half_width"],
            known["count"],
            known["farthest"],
            cloud,
            tuple(known["values"]),
        )
        net = Surrogate(options.channels)
        net.load_state_dict(
            {k.removeprefix("net."): v for k, v in tensors.items() if k.startswith("net.")}
        )
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{path} holds no surrogate that can be read: {error}") from error
    return net.eval(), SurrogateDescription(
        options, scale, calibration, text["about"], text["training"]
    )


def _array(tensor: Any) -> Floats:
    return np.asarray(tensor.numpy(), np.float64)
