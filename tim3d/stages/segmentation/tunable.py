"""Networks that can be fine-tuned, by the kind of their file: what is tuned, its memory and its training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from tim3d.errors import ArgumentError
from tim3d.forecast import expect
from tim3d.grid import Triple
from tim3d.kernels.windows.lattice import Array, Lattice
from tim3d.models.promptable.file_network import FileNetwork
from tim3d.models.promptable.importing import KIND as PROMPTABLE
from tim3d.models.promptable.kept import Kept
from tim3d.models.promptable.promptable import Image
from tim3d.models.promptable.tuning_data import Example, TuningOptions
from tim3d.models.segmentation.bpartis import KIND as BPARTIS
from tim3d.models.segmentation.bpartis import BPartIS, in_unit_range, window_of
from tim3d.models.segmentation.model_file import read_model
from tim3d.storage.schema import Field
from tim3d.typed import Window

if TYPE_CHECKING:
    from tim3d.models.common.training_run import Training

# Bytes of a step of BPartIS for each pixel: all layers and their gradients, and of each object of it.
STEP_BYTES, OBJECT_BYTES = 6000, 96


class Tunable(Protocol):
    """A network that can be fine-tuned."""

    @property
    def kind(self) -> str:
        """Kind of its file."""

    def described(self) -> str:
        """Name of what is tuned, in words."""

    def asked(self) -> Mapping[str, Any]:
        """All that decides its output, for a hash."""

    def expect(self, target: Path) -> None:
        """Let later steps of a recipe rely on the tuned network."""

    def step_bytes(self, pixels: tuple[int, int]) -> int:
        """Memory of the network and of a step, at most."""

    def training(
        self,
        learn: Sequence[Example],
        judge: Sequence[Example],
        about: Mapping[str, Any],
        seed: int,
    ) -> Training:
        """The training of these examples."""


@dataclass(frozen=True)
class TunableMasks:
    """A promptable network whose mask decoder is tuned."""

    network: FileNetwork
    options: TuningOptions
    kind: ClassVar[str] = PROMPTABLE

    def described(self) -> str:
        """Name of what is tuned, in words."""
        more = f" and updates of rank {self.options.rank} of the encoder"
        return (
            f"the mask decoder{more if self.options.adapt == 'lora' else ''} of {self.network.path}"
        )

    def asked(self) -> Mapping[str, Any]:
        """All that decides its output, for a hash."""
        return self.network.description()

    def expect(self, target: Path) -> None:
        """Let later steps of a recipe rely on the tuned network."""
        base = self.network
        encoder = (base.encoder or base.sha256) if self.options.adapt == "decoder" else ""
        planned = replace(base, path=str(target), sha256="not tuned yet", encoder=encoder)
        expect("network", str(target), planned)

    def step_bytes(self, pixels: tuple[int, int]) -> int:
        """Memory of the network and of a step, at most."""
        return self.options.bytes_for(self.network, pixels)

    def training(
        self,
        learn: Sequence[Example],
        judge: Sequence[Example],
        about: Mapping[str, Any],
        seed: int,
    ) -> Training:
        """The training of these examples."""
        # torch takes seconds to load, and a plan does not need it
        from tim3d.models.promptable.tuning import Tuning

        return Tuning(self.network, learn, judge, self.options, about, seed)


@dataclass(frozen=True)
class TunableEmbeddings:
    """BPartIS, all of whose weights are tuned; it cuts its own windows."""

    network: BPartIS
    options: TuningOptions
    kind: ClassVar[str] = BPARTIS
    kept: Kept | None = None
    embedding_floats: ClassVar[int] = 0

    @property
    def pixels(self) -> tuple[int, int]:
        """Edges of a window."""
        return self.network.window[1], self.network.window[2]

    def lattice(self, shape: Triple) -> Lattice | None:
        """Lattice of the windows over a volume."""
        return self.network.lattice(shape)

    def scaled(self, grey: Array) -> Image:
        """Grey values from 0 to 255, as shares of the range of their type."""
        return in_unit_range(grey) * np.float32(255)

    def described(self) -> str:
        """Name of what is tuned, in words."""
        return f"BPartIS of {self.network.path}"

    def asked(self) -> Mapping[str, Any]:
        """All that decides its output, for a hash."""
        return self.network.description()

    def expect(self, target: Path) -> None:
        """A network of this kind is read when the file is there: a recipe cannot rely on it."""

    def step_bytes(self, pixels: tuple[int, int]) -> int:
        """Memory of a step, at most."""
        return (STEP_BYTES + OBJECT_BYTES * self.options.batch) * math.prod(pixels)

    def training(
        self,
        learn: Sequence[Example],
        judge: Sequence[Example],
        about: Mapping[str, Any],
        seed: int,
    ) -> Training:
        """The training of these examples."""
        from tim3d.models.promptable.embedding_tuning import EmbeddingTuning

        return EmbeddingTuning(self.network, learn, judge, self.options, about, seed)


def holds_embeddings(start: Path) -> bool:
    """Whether a file is there and holds BPartIS."""
    return start.exists() and read_model(start).kind == BPARTIS


def embeddings_of(
    start: Path, grey: Field, window: Window | None, halo: int, options: TuningOptions
) -> TunableEmbeddings:
    """BPartIS of a file, with windows over a field.

    Raises
    ------
    ArgumentError
        If the windows do not fit, or an option is one of prompts.
    """
    plain = TuningOptions(batch=options.batch, learning_rate=options.learning_rate)
    if options != plain:
        raise ArgumentError(
            f"{start} is BPartIS, which takes no prompts and is tuned as a whole: leave out --adapt, --rank, --give "
            "and --jitter"
        )
    if window is not None and len(window) != 2:
        raise ArgumentError(
            f"window {window}: two edges y,x of a window of a slice: --window 512,512"
        )
    if halo and window is None:
        raise ArgumentError(
            "whole slices have no border to throw away; give a window too: --window 512,512"
        )
    if window is not None and any(n % 8 for n in (*window, halo)):
        raise ArgumentError(
            f"window {window} and halo {halo}: multiples of 8, by which BPartIS reduces an image: --window 512,512"
        )
    edges = None if window is None else (window[0], window[1])
    pixels = window_of(grey.shape, edges)
    path = str(start.absolute())
    return TunableEmbeddings(
        BPartIS(path, read_model(start).sha256, pixels, (0, halo, halo)), options
    )
