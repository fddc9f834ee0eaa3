"""Decoder of micro-sam: foreground and distances of objects from the embedding of SAM.

The embedding is enlarged twice over. One branch is doubled four times by itself, and each of its
stages is kept; the other is doubled likewise, and takes at each doubling the stage of that size
beside itself. A stage has twice the channels that are wanted, except the last: then the middle half
of them is taken, with which the published weights were trained.

References
----------
Archit et al. (2025), DOI 10.1038/s41592-024-02580-4 (micro-sam);
Hatamizadeh et al. (2022), DOI 10.1109/WACV51458.2022.00181 (UNETR).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from tim3d.models.promptable.decoder_layout import MAPS, Layout


class Interpolated(nn.Module):
    """Twice the resolution by bilinear interpolation, then a convolution of single pixels."""

    def __init__(self, given: int, made: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(given, made, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps of twice the edges."""
        wide = interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return self.conv(wide)  # type: ignore[no-any-return]


class Inner(nn.Module):
    """A layer below the name ``block``, as in the file."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.block = layers[0] if len(layers) == 1 else nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Maps of the layer."""
        return self.block(x)  # type: ignore[no-any-return]


def doubled(layout: Layout, given: int, made: int) -> nn.Module:
    """Twice the resolution, in the way of the file."""
    if layout.transposed:
        return Inner(nn.ConvTranspose2d(given, made, 2, stride=2))
    return Interpolated(given, made)


def stage(layout: Layout, given: int, made: int) -> nn.Module:
    """Twice the resolution, a convolution, and the normalisation of the training."""
    return Inner(
        doubled(layout, given, made),
        Inner(nn.Conv2d(made, made, 3, padding=1)),
        nn.BatchNorm2d(made),
        nn.ReLU(),
    )


def pair(given: int, made: int) -> nn.Module:
    """Two convolutions, each after a normalisation of every channel over the image."""
    return Inner(
        nn.InstanceNorm2d(given), nn.Conv2d(given, made, 3, padding=1), nn.ReLU(),
        nn.InstanceNorm2d(made), nn.Conv2d(made, made, 3, padding=1), nn.ReLU(),
    )  # fmt: skip


class Joined(nn.Module):
    """The branch that takes the stages of the other one beside itself."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        steps = list(pairwise(layout.widths))
        self.blocks = nn.ModuleList([pair(*one) for one in steps])
        self.samplers = nn.ModuleList([doubled(layout, *one) for one in steps])

    def forward(self, x: Tensor, stages: list[Tensor]) -> Tensor:
        """Maps of eight times the edges of the embedding."""
        for sampler, block, beside in zip(self.samplers, self.blocks, stages, strict=True):
            x = sampler(x)
            count = x.shape[1]
            first = (beside.shape[1] - count) // 2
            x = block(torch.cat([x, beside[:, first : first + count]], dim=1))
        return x


class ObjectDecoder(nn.Module):
    """Maps (n, 3, 16 y, 16 x) from embeddings (n, channels, y, x), each from 0 to 1."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        first, second, third, last = layout.widths
        self.deconv1 = stage(layout, layout.channels, first)
        self.deconv2 = stage(layout, first, second)
        self.deconv3 = stage(layout, second, third)
        self.deconv4 = stage(layout, third, last)
        self.base = pair(layout.channels, first)
        self.decoder = Joined(layout)
        self.deconv_out = doubled(layout, last, last)
        self.decoder_head = pair(2 * last, last)
        self.out_conv = nn.Conv2d(last, MAPS, 1)

    def forward(self, embedding: Tensor) -> Tensor:
        """Foreground, distance to the centre, distance to the boundary."""
        stages = [self.deconv1(embedding)]
        stages.append(self.deconv2(stages[-1]))
        stages.append(self.deconv3(stages[-1]))
        finest = self.deconv4(stages[-1])
        x = self.deconv_out(self.decoder(self.base(embedding), stages))
        del stages
        x = self.decoder_head(torch.cat([x, finest], dim=1))
        return torch.sigmoid(self.out_conv(x))


def loaded_decoder(layout: Layout, tensors: Mapping[str, Tensor]) -> ObjectDecoder:
    """The decoder with these weights, which fit its layout, in evaluation mode."""
    with torch.device("meta"):
        made = ObjectDecoder(layout)
    made.load_state_dict(dict(tensors), strict=True, assign=True)
    return made.eval().requires_grad_(False)


def fitted(maps: Tensor, edge: int, filled: tuple[int, int], shape: tuple[int, int]) -> Tensor:
    """Maps in the size of the image.

    Parameters
    ----------
    maps : Tensor (n, 3, y, x)
        Maps of the decoder.
    edge : int
        Pixels of the edge of the square that the network looks at.
    filled : (y, x)
        Pixels of it that the image fills.
    shape : (y, x)
        Pixels of the image.
    """
    square = interpolate(maps, (edge, edge), mode="bilinear", align_corners=False)
    inside = square[..., : filled[0], : filled[1]]
    return interpolate(inside, shape, mode="bilinear", align_corners=False)
