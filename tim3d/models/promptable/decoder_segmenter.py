"""Segmenter by the decoder of micro-sam: objects of every slice without prompts. No torch here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from tim3d.grid import Box, Triple
from tim3d.kernels.masks.distance_watershed import PIXEL_BYTES, Limits, objects_of
from tim3d.kernels.windows.lattice import Array
from tim3d.models.promptable.mask_rules.objects import OBJECTS
from tim3d.models.promptable.promptable import Embedding, Session
from tim3d.models.promptable.prompted_segmenter import PromptedSegmenter, session_of
from tim3d.models.segmentation.segmenter import LABELS, Map, Maps, Segmenter

FOREGROUND = Map("foreground", "share of foreground, as the decoder expects it")
CENTRE = Map("centre_distance", "distance to the centre of the object, over the largest in it")
BOUNDARY = Map("boundary_distance", "one less the distance to the boundary, over the largest")


class Decoding(Session, Protocol):
    """A network that is loaded with its decoder."""

    def decoded(self, embedding: Embedding, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Foreground and both distances (3, y, x) of an embedded image of this shape."""


@dataclass(frozen=True)
class DecoderSegmenter(Segmenter):
    """Objects of slices, or of windows of them, by the decoder that goes with a network.

    Parameters
    ----------
    asking : PromptedSegmenter
        The network, the range of grey values, the windows, and the embeddings that may be kept.
    limits : Limits
        Limits of the objects.
    """

    asking: PromptedSegmenter
    limits: Limits
    kind: ClassVar[str] = "decoder"
    needs_torch: ClassVar[bool] = True
    whole_slices: ClassVar[bool] = True
    classes = ("background", "object")
    maps = (OBJECTS, FOREGROUND, CENTRE, BOUNDARY)
    working_bytes = float(PIXEL_BYTES)

    @property
    def sha256(self) -> str:  # type: ignore[override]
        """Digest of the file of the network."""
        return self.asking.network.sha256

    @property
    def window(self) -> Triple:  # type: ignore[override]
        """Windows of one slice: the whole of it, or on a lattice that is fixed in the volume."""
        return self.asking.window

    @property
    def halo(self) -> Triple:  # type: ignore[override]
        """Border of a window that is thrown away."""
        return self.asking.halo

    def description(self) -> dict[str, Any]:
        """All that determines the maps."""
        asked = self.asking.description()
        same = {name: asked[name] for name in ("network", "grey", "window", "border")}
        maps = [one.description() for one in self.maps]
        return {
            "kind": self.kind,
            "version": self.version,
            **same,
            "limits": asdict(self.limits),
            "maps": maps,
        }

    def block_bytes(self, shape: Triple, core: Triple, read: Triple, voxel_bytes: int) -> int:
        """Bytes of a block: grey values, maps and numbers; the network, and its decoder."""
        held = super().block_bytes(shape, core, read, voxel_bytes)
        network, pixels = self.asking.network, self.asking.pixels
        return held + network.bytes_for(pixels, 1) + network.decoder_bytes

    def open(self) -> Callable[..., Maps]:
        """Load the network, and return the function of windows."""
        session = cast(Decoding, session_of(self.asking.network))

        def look(grey: Array, place: Box) -> Maps:
            return self.look(session, grey[0], place)

        return look

    def look(self, session: Decoding, grey: Array, place: Box) -> Maps:
        """Labels, objects and maps (1, y, x) of a window of one slice."""
        image = self.asking.scaled(grey)
        embedding = self.asking.embedding(session, image, place, 0)
        found = session.decoded(embedding, (image.shape[0], image.shape[1]))
        foreground, centre, boundary = found
        numbers = objects_of(foreground, centre, boundary, self.limits)
        maps = zip((FOREGROUND, CENTRE, BOUNDARY), found, strict=True)
        return {
            LABELS: (numbers > 0).astype(np.uint8)[None],
            OBJECTS.name: numbers[None],
            **{one.name: values[None] for one, values in maps},
        }
