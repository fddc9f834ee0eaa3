"""Networks of slices from segmentation-models-pytorch, built from a spec that a file can store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tim3d.errors import ArgumentError
from tim3d.grid import Triple
from tim3d.models.segmentation import dropout
from tim3d.models.segmentation.architectures import check_architecture, keywords
from tim3d.models.segmentation.model_file import UNET
from tim3d.spelling import suggestion

if TYPE_CHECKING:
    from torch import nn


# Channels of a network of colours.
COLOURS = 3


@dataclass(frozen=True, slots=True)
class UNetSpec:
    """Specification of the architecture of a network.

    The defaults are a small U-Net for training on a CPU; for a GPU take for example depth 5 and
    decoder channels (256, 128, 64, 32, 16).

    Parameters
    ----------
    classes : tuple of str
        Names of the classes, in the order of the codes that the network returns.
    architecture : str
        A model of segmentation-models-pytorch, such as "Unet" or "UnetPlusPlus".
    encoder : str
        One of its encoders.
    depth : int
        Number of times that the encoder halves its input.
    decoder_channels : tuple of int
        Width of each of the `depth` steps of the decoder; none for an architecture that takes none
        (`tim3d.models.segmentation.architectures`).
    in_channels : int
        Slices of an input: 1, or an odd number for 2.5-D, of which the middle one is segmented.
    norm : {"batch", "instance"}
        Normalisation layers. With "instance" the result depends on the window: see docs/segment.md.
    colours : tuple of (factor, shift)
        Of an imported network of three colours: each is the grey value times a factor plus a shift.
    dropout : float
        Share of the deepest channels that are dropped in training, and in passes.

    Raises
    ------
    ArgumentError
        If a number is out of range, the channels are even or a class is named twice.

    Examples
    --------
    >>> spec = UNetSpec(classes=("pore", "solid"))
    >>> spec.total_stride, spec.context
    (8, 0)
    """

    kind: ClassVar[str] = UNET
    dimensions: ClassVar[int] = 2

    classes: tuple[str, ...]
    architecture: str = "Unet"
    encoder: str = "resnet18"
    depth: int = 3
    decoder_channels: tuple[int, ...] = (32, 16, 8)
    in_channels: int = 1
    norm: Literal["batch", "instance"] = "batch"
    colours: tuple[tuple[float, float], ...] = ()
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if len(self.classes) < 2 or len(set(self.classes)) < len(self.classes):
            raise ArgumentError(
                f"a network needs two or more classes of different names, not {self.classes}"
            )
        if len(self.classes) > 255:
            raise ArgumentError(
                f"{len(self.classes)} classes do not fit uint8 labels, where 255 means unlabelled"
            )
        if self.in_channels < 1 or self.in_channels % 2 == 0:
            raise ArgumentError(
                f"in_channels is {self.in_channels}; a slice and its neighbours are 1, 3, 5, ..."
            )
        if self.colours and (len(self.colours) != COLOURS or self.in_channels != 1):
            raise ArgumentError(
                f"a network of colours has {COLOURS} of them and sees one slice, not {self.in_channels}"
            )
        check_architecture(self.architecture, self.encoder, self.depth, self.decoder_channels)
        if self.norm not in ("batch", "instance"):
            raise ArgumentError(f"norm is {self.norm!r}; choose batch or instance")
        dropout.check_share(self.dropout)

    @property
    def total_stride(self) -> int:
        """Least shift of an input, in voxels, that shifts every pooled layer by whole voxels."""
        return int(2**self.depth)

    @property
    def strides(self) -> Triple:
        """The total stride along each axis."""
        return (1, self.total_stride, self.total_stride)

    @property
    def context(self) -> int:
        """Number of input slices before, and after, the segmented one."""
        return self.in_channels // 2


def build(spec: UNetSpec) -> nn.Module:
    """Build the network of a spec with random weights.

    It maps (n, in_channels, y, x) float32 to logits (n, classes, y, x). Nothing is ever downloaded:
    an encoder starts from random weights.

    Raises
    ------
    ArgumentError
        If segmentation-models-pytorch lacks the architecture or encoder, or cannot combine
        the two.

    Examples
    --------
    >>> net = build(UNetSpec(classes=("pore", "solid")))
    >>> sum(p.numel() for p in net.parameters()) > 100_000
    True
    """
    from tim3d.models.segmentation.torchvision_shim import import_smp, old_names

    smp = import_smp()
    try:
        with old_names():
            net: nn.Module = smp.create_model(
                spec.architecture,
                encoder_name=spec.encoder,
                encoder_weights=None,
                encoder_depth=spec.depth,
                in_channels=COLOURS if spec.colours else spec.in_channels,
                classes=len(spec.classes),
                **keywords(spec.architecture, spec.depth, spec.decoder_channels),
            )
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        listed = not spec.encoder.startswith("tu-")
        if listed and spec.encoder not in (known := smp.encoders.get_encoder_names()):
            raise ArgumentError(
                f"no encoder {spec.encoder!r}{suggestion(spec.encoder, known)}; segmentation-models-pytorch lists "
                f"{len(known)}, such as resnet18, resnet34, mobilenet_v2"
            ) from error
        raise ArgumentError(
            f"cannot build {spec.architecture} on {spec.encoder} of depth {spec.depth}: {error}; "
            "see the lists of segmentation-models-pytorch"
        ) from error
    if spec.norm == "instance":
        _to_instance_norm(net)
    if spec.colours:
        _feed_colours(net, spec.colours)
    if spec.dropout:
        dropout.attach(net.get_submodule("encoder"), spec.dropout)
    return net


def _feed_colours(net: nn.Module, colours: tuple[tuple[float, float], ...]) -> None:
    """Make the channels of a network of colours from the grey image before its first layer."""
    import torch

    def fed(module: nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        grey, *rest = given
        made = torch.cat([grey * factor + shift for factor, shift in colours], dim=1)
        return (made, *rest)

    net.register_forward_pre_hook(fed)


def _to_instance_norm(module: nn.Module) -> None:
    """Replace every BatchNorm by InstanceNorm with its own statistics."""
    from torch import nn

    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.InstanceNorm2d(child.num_features, eps=child.eps, affine=True))
        else:
            _to_instance_norm(child)
