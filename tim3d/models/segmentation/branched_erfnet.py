"""The network of BPartIS: an ERFNet encoder and two decoders, with dropout of whole channels.

References
----------
Romera, Alvarez, Bergasa, Arroyo, IEEE Trans. Intell. Transp. Syst. 19 (2018) 263 (ERFNet).
DOI 10.1109/TITS.2017.2750080
Yildirim, Cole, J. Chem. Inf. Model. 61 (2021) 1136 (BPartIS). DOI 10.1021/acs.jcim.0c01455
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

# Channels of the encoder after each halving, and dilations and dropout of the blocks that follow.
CHANNELS = (16, 64, 128)
FINE = ((1, 0.03),) * 5
WIDE = tuple((dilation, 0.3) for dilation in (2, 4, 8, 16)) * 2
# Two offsets and two spreads; a seed value.
HEADS = (4, 1)
_EPS = 1e-3


@dataclass(frozen=True)
class Shape:
    """Channels and blocks of the network; the defaults are those of the published one."""

    channels: tuple[int, int, int] = CHANNELS
    fine: tuple[tuple[int, float], ...] = FINE
    wide: tuple[tuple[int, float], ...] = WIDE


class Half(nn.Module):
    """Halve the image: a convolution and a maximum side by side."""

    def __init__(self, given: int, made: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(given, made - given, 3, stride=2, padding=1)
        self.bn = nn.BatchNorm2d(made, eps=_EPS)

    def forward(self, image: Tensor) -> Tensor:
        """Return half as many pixels along each axis."""
        both = torch.cat([self.conv(image), functional.max_pool2d(image, 2)], 1)
        return functional.elu(self.bn(both))


class Twice(nn.Module):
    """Double the image by interpolation and a convolution."""

    def __init__(self, given: int, made: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(given, made, 3, padding=1)
        self.bn = nn.BatchNorm2d(made, eps=_EPS)

    def forward(self, image: Tensor) -> Tensor:
        """Return twice as many pixels along each axis."""
        return functional.elu(self.bn(self.conv(_doubled(image))))


class Rows(nn.Module):
    """A residual of convolutions along y and x, the second pair of them dilated."""

    def __init__(self, channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.kept: Tensor | None = None
        self.conv3x1_1 = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0))
        self.conv1x3_1 = nn.Conv2d(channels, channels, (1, 3), padding=(0, 1))
        self.bn1 = nn.BatchNorm2d(channels, eps=_EPS)
        d = dilation
        self.conv3x1_2 = nn.Conv2d(channels, channels, (3, 1), padding=(d, 0), dilation=(d, 1))
        self.conv1x3_2 = nn.Conv2d(channels, channels, (1, 3), padding=(0, d), dilation=(1, d))
        self.bn2 = nn.BatchNorm2d(channels, eps=_EPS)

    def forward(self, image: Tensor) -> Tensor:
        """Return as many pixels; channels that are not kept add nothing."""
        first = self.bn1(self.conv1x3_1(functional.elu(self.conv3x1_1(image))))
        second = self.conv1x3_2(functional.elu(self.conv3x1_2(functional.elu(first))))
        found = self.bn2(second)
        return functional.elu((found if self.kept is None else found * self.kept) + image)


def _doubled(image: Tensor) -> Tensor:
    return functional.interpolate(image, scale_factor=2, mode="bilinear", align_corners=False)


class Encoder(nn.Module):
    """Three halvings with residuals behind the second and the third."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        few, some, many = shape.channels
        self.initial_block = Half(3, few)
        fine = [Rows(some, *one) for one in shape.fine]
        wide = [Rows(many, *one) for one in shape.wide]
        self.layers = nn.ModuleList([Half(few, some), *fine, Half(some, many), *wide])
        self.output_conv = nn.Conv2d(many, sum(HEADS), 1)  # of its training; nothing calls it

    def forward(self, image: Tensor) -> Tensor:
        """Return features of an eighth of the pixels along each axis."""
        found: Tensor = self.initial_block(image)
        for layer in self.layers:
            found = layer(found)
        return found


class Decoder(nn.Module):
    """Three doublings."""

    def __init__(self, shape: Shape, made: int) -> None:
        super().__init__()
        few, some, many = shape.channels
        steps = [(many, some), (some, few)]
        self.layers = nn.ModuleList(
            layer
            for given, to in steps
            for layer in (Twice(given, to), Rows(to, 1, 0.0), Rows(to, 1, 0.0))
        )
        self.output_conv = nn.Conv2d(few, made, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Return values of each pixel."""
        for layer in self.layers:
            features = layer(features)
        found: Tensor = self.output_conv(_doubled(features))
        return found


class BranchedErfnet(nn.Module):
    """Offsets, spreads and seed values of each pixel of an image whose edges are multiples of 8."""

    def __init__(self, shape: Shape | None = None) -> None:
        super().__init__()
        shape = shape or Shape()
        self.encoder = Encoder(shape)
        self.decoders = nn.ModuleList(Decoder(shape, made) for made in HEADS)

    def forward(self, image: Tensor) -> Tensor:
        """Return (n, 5, y, x) from (n, 3, y, x) in 0 to 1."""
        features = self.encoder(image)
        return torch.cat([decoder(features) for decoder in self.decoders], 1)

    def dropping(self) -> Iterator[Rows]:
        """Blocks with dropout, in the order of the calls."""
        return (one for one in self.modules() if isinstance(one, Rows) and one.dropout)

    def drop(self, draws: Sequence[Tensor] | None) -> None:
        """Set which channels the blocks with dropout keep; all of them without draws of 0 to 1."""
        for number, block in enumerate(self.dropping()):
            block.kept = None
            if draws is not None:
                kept = (draws[number] >= block.dropout).float() / (1 - block.dropout)
                block.kept = kept[None, :, None, None]
