"""Interface of promptable networks: an image becomes an embedding, prompts on it become masks.

A network of a file is a value of this class (`file_network`), and so is one of a user or of a test.
No torch here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tim3d.models.promptable.prompts import Batch

Image: TypeAlias = NDArray[np.float32]
# What a network keeps of an image: one array, or maps of several sizes.
Embedding: TypeAlias = tuple[NDArray[np.float32], ...]


@dataclass(frozen=True)
class Answers:
    """Masks for a batch of prompts.

    Parameters
    ----------
    quality : array (prompts, masks) of float
        Intersection over union with the object that the network expects of each mask.
    logits : callable
        Returns the mask ``(prompt, mask)`` as floats (y, x), of the size of the image: positive
        inside.
    """

    quality: NDArray[np.float32]
    logits: Callable[[int, int], NDArray[np.float32]]


class Session(Protocol):
    """A network that is loaded."""

    def embed(self, image: Image) -> Embedding:
        """Embedding of an image (y, x) of grey values from 0 to 255."""

    def answer(
        self, embedding: Embedding, shape: tuple[int, int], batch: Batch, several: bool
    ) -> Answers:
        """Masks of prompts on an embedded image of this shape: three for each, or one."""


class Promptable(ABC):
    """A promptable network as a value, to be inherited by a frozen dataclass that pickles.

    Attributes
    ----------
    kind : str
        Name of the family.
    sha256 : str
        Digest of its file, if any.
    """

    kind: ClassVar[str] = ""
    sha256: str = ""

    @abstractmethod
    def open(self) -> Session:
        """Load the network."""

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """All that decides its masks, for JSON."""

    def embedding_description(self) -> dict[str, Any]:
        """All that decides its embeddings, for JSON."""
        return self.description()

    def bytes_for(self, shape: tuple[int, int], prompts: int) -> int:
        """Memory that it needs for an image of this shape, and that many prompts at a time."""
        return 64 * shape[0] * shape[1]

    @property
    def decoder_bytes(self) -> int:
        """Memory that its decoder of objects needs for an image, if it has one."""
        return 0

    def shapes(self, shape: tuple[int, int]) -> tuple[tuple[int, ...], ...]:
        """Shape of each array of the embedding of an image of this shape."""
        return ((1, *shape),)
