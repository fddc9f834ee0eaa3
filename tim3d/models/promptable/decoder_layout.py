"""Decoder of micro-sam, recognised by the names and shapes of its weights. No torch here.

It turns the embedding of SAM into three maps of 16 times its resolution: foreground, and how far a
pixel is from the centre and from the boundary of its object. `object_decoder` builds it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from tim3d.errors import CheckpointError
from tim3d.models.promptable.shapes import Shapes, misfit

# Names that every file of a decoder holds, whatever its blocks are.
PARTS = ("base.", "deconv1.", "deconv4.", "deconv_out.", "decoder_head.", "out_conv.")
# What the names begin with in a model file, beside those of SAM.
PREFIX = "object_decoder."
MAPS = 3
# How often the decoder doubles the resolution; each time the number of channels halves.
DOUBLINGS = 4


@dataclass(frozen=True)
class Layout:
    """Sizes of a decoder.

    Parameters
    ----------
    channels : int
        Channels of the embedding.
    width : int
        Channels of the first block; those of the later ones are halves, quarters and eighths.
    transposed : bool
        Whether the resolution is doubled by transposed convolutions, or by interpolation.
    """

    channels: int
    width: int
    transposed: bool

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels after each doubling.

        >>> Layout(256, 512, False).widths
        (512, 256, 128, 64)
        """
        return tuple(self.width >> n for n in range(DOUBLINGS))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each weight by its name."""
        widths = self.widths
        found = _pair("base", self.channels, widths[0])
        for n, (given, made) in enumerate(zip((self.channels, *widths), widths, strict=False)):
            found |= self._enlarged(f"deconv{n + 1}", given, made)
        for n, (given, made) in enumerate(pairwise(widths)):
            found |= self._doubled(f"decoder.samplers.{n}", given, made)
            found |= _pair(f"decoder.blocks.{n}", given, made)
        last = widths[-1]
        found |= self._doubled("deconv_out", last, last)
        found |= _pair("decoder_head", 2 * last, last)
        return found | _convolution("out_conv", last, MAPS, 1)

    def _doubled(self, name: str, given: int, made: int) -> dict[str, tuple[int, ...]]:
        if self.transposed:
            return {f"{name}.block.weight": (given, made, 2, 2), f"{name}.block.bias": (made,)}
        return _convolution(f"{name}.conv", given, made, 1)

    def _enlarged(self, name: str, given: int, made: int) -> dict[str, tuple[int, ...]]:
        parts = ("weight", "bias", "running_mean", "running_var")
        return {
            **self._doubled(f"{name}.block.0", given, made),
            **_convolution(f"{name}.block.1.block", made, made, 3),
            **{f"{name}.block.2.{one}": (made,) for one in parts},
            f"{name}.block.2.num_batches_tracked": (),
        }


def _convolution(name: str, given: int, made: int, edge: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (made, given, edge, edge), f"{name}.bias": (made,)}


def _pair(name: str, given: int, made: int) -> dict[str, tuple[int, ...]]:
    """Two convolutions, each after a normalisation without weights."""
    first, second = f"{name}.block.1", f"{name}.block.4"
    return _convolution(first, given, made, 3) | _convolution(second, made, made, 3)


def is_decoder(names: Iterable[str]) -> bool:
    """Whether these are names of a decoder of micro-sam.

    >>> is_decoder(Layout(256, 512, True).shapes()), is_decoder(["base.block.1.weight"])
    (True, False)
    """
    given = list(names)
    return all(any(name.startswith(part) for name in given) for part in PARTS)


def layout_of(shapes: Shapes, channels: int, where: str) -> Layout:
    """Sizes of a decoder that takes embeddings of some channels.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Shape of each weight of the file.
    channels : int
        Channels of the embedding of the network that it goes with.
    where : str
        The file, for messages.

    Raises
    ------
    CheckpointError
        If it is something else, or for another network, or does not fit in every weight.
    """
    if not is_decoder(shapes):
        raise CheckpointError(
            f"{where} is not a decoder of micro-sam, whose weights begin with {', '.join(PARTS)}: give --decoder "
            "vit_b_decoder.pt"
        )
    if any(name.startswith("deconv2.0.") for name in shapes):
        raise CheckpointError(
            f"{where} is a decoder with connections to layers of the encoder, which takes more than the embedding: "
            "take one that micro-sam trained (train_sam with_segmentation_decoder)"
        )
    width, given = (*shapes.get("base.block.1.weight", ()), 0, 0)[:2]
    found = Layout(given, width, any(".samplers.0.block." in name for name in shapes))
    if odd := misfit(shapes, found.shapes()):
        raise CheckpointError(f"{where} does not fit a decoder of micro-sam: {odd}")
    if found.channels != channels:
        raise CheckpointError(
            f"{where} takes embeddings of {found.channels} channels, and the network gives {channels}: give the "
            "network and the decoder of one training"
        )
    return found
