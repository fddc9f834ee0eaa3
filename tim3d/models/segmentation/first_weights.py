"""First weights of a training that are not random: an encoder from a file, or a whole trained model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tim3d.errors import CheckpointError
from tim3d.models.segmentation import checkpoint
from tim3d.models.segmentation.unet import UNetSpec

if TYPE_CHECKING:
    from torch import nn

# Part of a network that gives the classes.
HEAD = "segmentation_head."


@dataclass(frozen=True)
class FirstWeights:
    """Weights that a training begins with, from a file that was looked at.

    Parameters
    ----------
    path : str
        The file.
    spec : UNetSpec
        The network that is trained.
    about : mapping
        What the description of the network records: the file's name and SHA-256, what of it is
        used and what is not.
    """

    path: str
    spec: UNetSpec
    about: Mapping[str, Any] = field(hash=False)

    def __str__(self) -> str:
        of = {k: v for k, v in self.about.items() if k not in ("from", "file", "sha256") and v}
        parts = "; ".join(f"{k.replace('_', ' ')}: {_shown(v)}" for k, v in of.items())
        return f"first weights from {self.path} ({parts})"

    def put_into(self, net: nn.Module) -> None:
        """Put the weights into a network that was just built.

        Raises
        ------
        CheckpointError
            If the file has changed or does not fit.
        """
        if self.about["from"] == "encoder":
            from tim3d.models.segmentation.encoder_weights import put_into

            put_into(net, self.path, self.spec, self.about["sha256"])
        else:
            _put_model(net, self.path, self.spec, self.about["sha256"])


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def first_record(first: FirstWeights | None) -> dict[str, Any]:
    """Record of the first weights for a training; nothing of random ones."""
    return {"first_weights": dict(first.about)} if first else {}


def first_key(training: Mapping[str, Any]) -> dict[str, Any]:
    """Part of such a record that decides the numbers: the file may have another name."""
    about = training.get("first_weights", {})
    return {"first_weights": {k: v for k, v in about.items() if k != "file"}} if about else {}


def of_encoder(path: str | Path, spec: UNetSpec) -> FirstWeights:
    """First weights of the encoder from a file of another program.

    Raises
    ------
    CheckpointError
        If the file cannot be read without running code, or does not fit the encoder.
    """
    from tim3d.models.segmentation.encoder_weights import fitted

    return FirstWeights(str(path), spec, fitted(path, spec)[0].record())


def of_model(path: str | Path, spec: UNetSpec) -> FirstWeights:
    """First weights from a model of tim3d of the same network; other classes get a new head.

    Raises
    ------
    CheckpointError
        If the file is damaged or no network.
    """
    about = checkpoint.describe(path)
    before = about.spec.classes
    return FirstWeights(
        str(path),
        spec,
        {
            "from": "model",
            "file": Path(path).name,
            "sha256": checkpoint.digest(path),
            "head": "kept" if before == spec.classes else f"new, instead of {', '.join(before)}",
            "epochs_before": epochs_of(about.training),
        },
    )


def epochs_of(training: Mapping[str, Any]) -> int:
    """Epochs of a training and of those that it went on from."""
    before = training.get("first_weights", {}).get("epochs_before", 0)
    return int(training.get("epochs", 0)) + int(before)


def _put_model(net: nn.Module, path: str, spec: UNetSpec, sha256: str) -> None:
    trained = checkpoint.load(path)
    if trained.sha256 != sha256:
        raise CheckpointError(f"{path} has changed since the training was described; run it again")
    state = trained.model.state_dict()
    if trained.classes != spec.classes:
        own = net.state_dict()
        state = {k: own[k] if k.startswith(HEAD) else v for k, v in state.items()}
    net.load_state_dict(state, strict=True)
