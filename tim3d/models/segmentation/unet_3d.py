"""Small three-dimensional U-Net for voxels whose edges may differ, built from a spec.

Where a voxel is longer along one axis, that axis is halved later than the others, so that deeper
levels see voxels that are nearly cubes (as in Isensee et al. 2021,
doi:10.1038/s41592-020-01008-z).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tim3d.errors import ArgumentError
from tim3d.grid import Triple, triple
from tim3d.models.segmentation import dropout

if TYPE_CHECKING:
    from torch import nn

# An axis is halved while its voxels are shorter than this many times the shortest edge.
LONGEST = 2.0


@dataclass(frozen=True, slots=True)
class UNet3DSpec:
    """Specification of a three-dimensional U-Net.

    Parameters
    ----------
    classes : tuple of str
        Names of the classes, in the order of the codes that the network returns.
    steps : tuple of (z, y, x)
        Factors, 1 or 2, by which each level reduces the resolution along each axis.
    widths : tuple of int
        Channels of the levels, one more than there are steps.
    norm : {"batch", "instance"}
        Normalisation layers. With "instance" the result depends on the window: see docs/segment.md.
    dropout : float
        Share of the deepest channels that are dropped in training, and in passes.

    Raises
    ------
    ArgumentError
        If a number is out of range or a class is named twice.

    Examples
    --------
    >>> spec = UNet3DSpec(("pore", "solid"), steps_for((20.0, 5.0, 5.0), 3), (8, 16, 32, 64))
    >>> spec.steps, spec.strides
    (((1, 2, 2), (1, 2, 2), (2, 2, 2)), (2, 8, 8))
    """

    kind: ClassVar[str] = "unet-3d"
    dimensions: ClassVar[int] = 3
    context: ClassVar[int] = 0

    classes: tuple[str, ...]
    steps: tuple[Triple, ...] = ((2, 2, 2), (2, 2, 2))
    widths: tuple[int, ...] = (8, 16, 32)
    norm: Literal["batch", "instance"] = "batch"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not 2 <= len(self.classes) == len(set(self.classes)) <= 255:
            raise ArgumentError(
                f"a network needs 2 to 255 classes of different names, not {self.classes}"
            )
        if not self.steps or any(sorted({1, 2, *one}) != [1, 2] for one in self.steps):
            raise ArgumentError(
                f"steps of a three-dimensional network halve axes, by 1 or 2 each: {self.steps}"
            )
        if len(self.widths) != len(self.steps) + 1 or min(self.widths) < 1:
            raise ArgumentError(
                f"depth {len(self.steps)} needs {len(self.steps) + 1} widths, not {self.widths}"
            )
        if self.norm not in ("batch", "instance"):
            raise ArgumentError(f"norm is {self.norm!r}; choose batch or instance")
        dropout.check_share(self.dropout)

    @property
    def strides(self) -> Triple:
        """Least shift of an input, along each axis, that shifts every level by whole voxels."""
        return triple(math.prod(one[axis] for one in self.steps) for axis in range(3))

    def call_bytes(self, batch: int, window: Triple) -> int:
        """Upper bound on the memory of a call: outputs of all layers in float32, none freed."""
        voxels, total = math.prod(window), 0
        for level, width in enumerate(self.widths):
            down = level < len(self.steps)
            # Two blocks of convolution, norm and activation; in the decoder also what is joined.
            total += voxels * width * (2 * 3 + (2 * 3 + 3 if down else 0) + 1)
            voxels = voxels // math.prod(self.steps[level]) if down else voxels
        return 4 * batch * (total + math.prod(window) * (len(self.classes) * 3 + 2))


def steps_for(spacing_nm: tuple[float, float, float], depth: int) -> tuple[Triple, ...]:
    """Factors of `depth` levels, after which the voxels are as near to cubes as halving allows.

    >>> steps_for((10.0, 5.0, 5.0), 2)
    ((1, 2, 2), (2, 2, 2))
    """
    if depth < 1:
        raise ArgumentError(f"depth is {depth}; a network halves its input once or more")
    edges, steps = list(spacing_nm), []
    for _ in range(depth):
        shortest = min(edges)
        # Rounding of a ratio of lengths must not decide it.
        one = triple(2 if edge < LONGEST * shortest * (1 - 1e-6) else 1 for edge in edges)
        edges = [edge * factor for edge, factor in zip(edges, one, strict=True)]
        steps.append(one)
    return tuple(steps)


def build(spec: UNet3DSpec) -> nn.Module:
    """Build the network of a spec with random weights.

    It maps (n, 1, z, y, x) float32 to logits (n, classes, z, y, x).

    Examples
    --------
    >>> net = build(UNet3DSpec(("pore", "solid")))
    >>> sum(p.numel() for p in net.parameters()) < 100_000
    True
    """
    import torch
    from torch import nn

    norm = nn.BatchNorm3d if spec.norm == "batch" else _instance_norm()

    def block(given: int, made: int) -> nn.Module:
        layers: list[nn.Module] = []
        for width in (given, made):
            layers += [
                nn.Conv3d(width, made, 3, padding=1, bias=False), norm(made), nn.ReLU(inplace=True),
            ]  # fmt: skip
        return nn.Sequential(*layers)

    class UNet3D(nn.Module):
        """Blocks of two convolutions, pooled per axis and joined again level by level."""

        def __init__(self) -> None:
            super().__init__()
            widths = spec.widths
            given = (1, *widths[:-1])
            self.down = nn.ModuleList(block(a, b) for a, b in zip(given, widths, strict=True))
            self.pool = nn.ModuleList(nn.MaxPool3d(one) for one in spec.steps)
            self.thin = nn.ModuleList(nn.Conv3d(b, a, 1) for a, b in pairwise(widths))
            self.grow = nn.ModuleList(nn.Upsample(scale_factor=one) for one in spec.steps)
            self.up = nn.ModuleList(block(2 * a, a) for a in widths[:-1])
            self.head = nn.Conv3d(widths[0], len(spec.classes), 1)

        def forward(self, x_nczyx: torch.Tensor) -> torch.Tensor:
            kept, seen = [], x_nczyx
            for down, pool in zip(self.down, self.pool, strict=False):
                kept.append(down(seen))
                seen = pool(kept[-1])
            seen = self.down[-1](seen)
            for level in reversed(range(len(kept))):
                wide = self.grow[level](self.thin[level](seen))
                seen = self.up[level](torch.cat([kept[level], wide], dim=1))
            logits_nczyx: torch.Tensor = self.head(seen)
            return logits_nczyx

    net = UNet3D()
    if spec.dropout:
        dropout.attach(net.down[-1], spec.dropout)
    return net


def _instance_norm() -> Any:
    """Instance normalisation with a scale and shift that are learnt."""
    from torch import nn

    return lambda width: nn.InstanceNorm3d(width, affine=True)
