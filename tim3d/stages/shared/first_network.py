"""Network of a training: as its words say, or that of the model which it starts from; and its first weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tim3d.errors import ArgumentError
from tim3d.forecast import expected
from tim3d.models.segmentation import checkpoint
from tim3d.models.segmentation.architectures import widths_of
from tim3d.models.segmentation.first_weights import FirstWeights, of_encoder, of_model
from tim3d.models.segmentation.unet import UNetSpec

# What a file that an earlier step of a recipe has yet to write is recorded as.
UNKNOWN = "not trained yet"


@dataclass(frozen=True)
class Words:
    """Network as the arguments say; a default stands for whatever the model to start from has."""

    architecture: str = "Unet"
    encoder: str = "resnet18"
    depth: int = 3
    decoder_channels: tuple[int, ...] | None = None
    context: int = 0
    norm: Literal["batch", "instance"] = "batch"
    dropout: float = 0.0

    def spec(self, classes: Sequence[str]) -> UNetSpec:
        """The network of these words."""
        widths = widths_of(self.architecture, self.depth, self.decoder_channels)
        return UNetSpec(
            tuple(classes),
            self.architecture,
            self.encoder,
            self.depth,
            widths,
            2 * self.context + 1,
            self.norm,
            dropout=self.dropout,
        )

    def of(self, model: UNetSpec, path: str) -> UNetSpec:
        """The network of a model, which words that are not defaults must not contradict."""
        have = {name: getattr(model, name) for name in ("architecture", "encoder", "depth", "norm")}
        have |= {"decoder_channels": model.decoder_channels, "context": model.context}
        for name, value in have.items():
            asked = getattr(self, name)
            if asked != getattr(Words(), name) and asked != value:
                raise ArgumentError(
                    f"{path} has {name} {_text(value)}, and {_text(asked)} is asked for: a training that starts from "
                    f"a model has its network. Leave out --{name.replace('_', '-')}"
                )
        return replace(model, dropout=self.dropout or model.dropout)


def network(
    words: Words,
    classes: Sequence[str],
    encoder_weights: str | Path | None,
    start_from: str | Path | None,
) -> tuple[UNetSpec, FirstWeights | None]:
    """The network and its first weights.

    Raises
    ------
    ArgumentError
        If both kinds of weights are given, or words contradict the model.
    CheckpointError
        If a file cannot be used.
    """
    if encoder_weights and start_from:
        raise ArgumentError(
            "--start-from gives all weights, those of the encoder too: leave out --encoder-weights"
        )
    if start_from:
        return _going_on(words, tuple(classes), str(start_from))
    spec = words.spec(classes)
    return spec, of_encoder(encoder_weights, spec) if encoder_weights else None


def refuse_itself(target: Path, start_from: str | Path | None) -> None:
    """Refuse to train into the very model that the training starts from: it would be lost.

    Raises
    ------
    ArgumentError
        With what to write instead.
    """
    if start_from and target.absolute() == Path(start_from).absolute():
        raise ArgumentError(
            f"{target} is the model to start from, and stays. Write to another file: {target.stem}-2{target.suffix}"
        )


def described(path: str | Path) -> Any:
    """Description of a model that is there, or that an earlier step of a recipe writes."""
    return expected("network", str(path)) or checkpoint.describe(path)


def _going_on(words: Words, classes: tuple[str, ...], path: str) -> tuple[UNetSpec, FirstWeights]:
    about = described(path)
    if not isinstance(about, checkpoint.Description) or not isinstance(about.spec, UNetSpec):
        raise ArgumentError(
            f"{path} holds a segmenter of the kind {about.kind!r}; --start-from takes a network of slices"
        )
    spec = replace(words.of(about.spec, path), classes=classes)
    if expected("network", path):
        return spec, FirstWeights(path, spec, {"from": "model", "sha256": UNKNOWN})
    return spec, of_model(path, spec)


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
