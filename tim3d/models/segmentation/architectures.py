"""Architectures of segmentation-models-pytorch: what each is built with, and which depths it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tim3d.errors import ArgumentError
from tim3d.spelling import suggestion


@dataclass(frozen=True, slots=True)
class Architecture:
    """Needs of an architecture.

    Parameters
    ----------
    widths : bool
        Whether it takes a width for each step of its decoder.
    least : int
        Smallest depth of its encoder.
    pools_window : bool
        Whether it averages over the whole window, which then shows in the result as with
        instance normalisation.
    upsampling : int, optional
        Depth at which its output has the resolution of its input without a last upsampling, whose
        factor is then given for other depths. None for architectures that find it themselves.
    encoders : str
        How the names of its encoders must begin.
    """

    widths: bool = False
    least: int = 1
    pools_window: bool = False
    upsampling: int | None = None
    encoders: str = ""


ARCHITECTURES: dict[str, Architecture] = {
    "Unet": Architecture(widths=True),
    "UnetPlusPlus": Architecture(widths=True, least=2),
    "MAnet": Architecture(widths=True),
    "Linknet": Architecture(),
    "FPN": Architecture(least=3, upsampling=3),
    "PSPNet": Architecture(pools_window=True, upsampling=0),
    "PAN": Architecture(least=3, pools_window=True),
    "DeepLabV3": Architecture(pools_window=True),
    "DeepLabV3Plus": Architecture(least=3, pools_window=True),
    "Segformer": Architecture(least=3),
    "UPerNet": Architecture(least=3, pools_window=True),
    "DPT": Architecture(least=4, pools_window=True, encoders="tu-"),
}


def architecture(name: str) -> Architecture:
    """Needs of the architecture of this name.

    Raises
    ------
    ArgumentError
        If there is none of this name.
    """
    if name not in ARCHITECTURES:
        raise ArgumentError(
            f"no architecture {name!r}{suggestion(name, ARCHITECTURES)}; there are {', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[name]


def widths_of(name: str, depth: int, given: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """Widths of the decoder: those given, or halved from 8 * 2^(depth - 1) to 8; none where none are taken.

    >>> widths_of("Unet", 3), widths_of("FPN", 3)
    ((32, 16, 8), ())

    Raises
    ------
    ArgumentError
        If widths are given to an architecture that takes none.
    """
    takes = architecture(name).widths
    if given and not takes:
        raise ArgumentError(
            f"{name} has no decoder of such widths: leave out --decoder-channels, which are those of "
            f"{', '.join(n for n, one in ARCHITECTURES.items() if one.widths)}"
        )
    return tuple(given or (8 * 2**n for n in reversed(range(depth)))) if takes else ()


def keywords(name: str, depth: int, widths: tuple[int, ...]) -> dict[str, Any]:
    """Keywords of `create_model` that depend on the architecture."""
    needs = architecture(name)
    found: dict[str, Any] = {"decoder_channels": widths} if needs.widths else {}
    if needs.upsampling is not None:
        found["upsampling"] = 2 ** (depth - needs.upsampling)
    return found


def check_architecture(name: str, encoder: str, depth: int, widths: tuple[int, ...]) -> None:
    """Refuse a depth, widths or an encoder that the architecture cannot have, without building it.

    Raises
    ------
    ArgumentError
        With what would do.
    """
    needs = architecture(name)
    if depth < needs.least:
        raise ArgumentError(
            f"{name} needs depth {needs.least} or more, not {depth}: --depth {needs.least}"
        )
    expected = depth if needs.widths else 0
    if len(widths) != expected:
        raise ArgumentError(
            f"{name} of depth {depth} needs {expected or 'no'} decoder channels, not {widths}"
        )
    if not encoder.startswith(needs.encoders):
        raise ArgumentError(f"{name} needs an encoder of timm, {needs.encoders}NAME, not {encoder}")
