"""Networks of segmentation-models-pytorch that a user trained elsewhere, as models of tim3d.

A network of three colours is fed three equal grey images. If all three were normalised alike, its
first convolution is summed over the colours, which gives the same network of one channel. If each
had a mean and deviation of its own, as those of ImageNet, the three images differ: then the network
keeps its three channels and makes them of the grey image, each by a factor and a shift.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tim3d.errors import ArgumentError, CheckpointError
from tim3d.models.segmentation.checkpoint import Description, Normalisation, save
from tim3d.models.segmentation.network_check import on_meta
from tim3d.models.segmentation.state_dicts import COUNTER, StateDict, read_state_dict
from tim3d.models.segmentation.unet import COLOURS, UNetSpec, build

if TYPE_CHECKING:
    from torch import Tensor

# Prefixes under which trainings keep a network, taken off by name.
PREFIXES = ("model.", "net.", "network.", "_forward_module.")
# Parts that take no part in segmenting slices.
UNUSED = ("classification_head.", "criterion.", "loss.", "loss_fn.")


def import_network(
    checkpoint: str | Path,
    out: str | Path,
    spec: UNetSpec,
    mean: Sequence[float],
    std: Sequence[float],
    spacing_nm: tuple[float, float, float],
) -> str:
    """Write a state dict of segmentation-models-pytorch as a model of tim3d and return its SHA-256.

    Parameters
    ----------
    checkpoint : path
        State dict, alone or below ``state_dict``; with the prefixes that trainings add.
    out : path
        File to write.
    spec : UNetSpec
        The network for slices; that of the file may have three colours instead of one channel.
    mean, std : sequence of float
        Of the grey values that the network was trained on, in grey levels: one, or one of each
        colour.
    spacing_nm : (z, y, x)
        Voxel edges in nm, which the file does not contain.

    Raises
    ------
    CheckpointError
        If the file cannot be read without running code, or does not fit in every layer.
    ArgumentError
        If the numbers fit no network.
    """
    held = read_state_dict(checkpoint)
    state, said = _plain(held)
    asked = _with_colours(spec, mean, std)
    ready, folded = _folded(state, asked)
    net = build(asked)
    _check(ready, {k: tuple(v.shape) for k, v in net.state_dict().items()}, held, asked)
    missing = {k: v for k, v in net.state_dict().items() if k not in ready and k.endswith(COUNTER)}
    net.load_state_dict({**ready, **missing}, strict=True)
    record = {
        "from": Path(checkpoint).name,
        "sha256": held.sha256,
        "taken_off": [*held.said, *said],
        "first_convolution": folded,
    }
    scale = Normalisation("fixed", (float(mean[0]),), (float(std[0]),))
    return save(out, net.eval(), Description(asked, scale, spacing_nm, {"imported": record}))


def _plain(held: StateDict) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors of the network by their names in it, and what was taken off or left out."""
    tensors, said = dict(held.tensors), []
    for prefix in PREFIXES:
        inside = {k: v for k, v in tensors.items() if k.startswith(f"{prefix}encoder.")}
        if inside:
            tensors = {k.removeprefix(prefix): v for k, v in tensors.items()}
            said.append(prefix)
    for part in UNUSED:
        if any(name.startswith(part) for name in tensors):
            tensors = {k: v for k, v in tensors.items() if not k.startswith(part)}
            said.append(part)
    return tensors, said


def _with_colours(spec: UNetSpec, mean: Sequence[float], std: Sequence[float]) -> UNetSpec:
    """The network with a factor and a shift for each colour, where they differ."""
    if len(mean) != len(std) or len(mean) not in (1, COLOURS) or not min(std) > 0:
        raise ArgumentError(
            f"mean has {len(mean)} and std {len(std)} numbers; give one each, or {COLOURS} of a network of colours, "
            "and deviations above 0: --mean 123.7,116.3,103.5 --std 58.4,57.1,57.4"
        )
    if len(mean) == 1 or (len(set(mean)) == 1 and len(set(std)) == 1):
        return spec
    if spec.in_channels != 1:
        raise ArgumentError(
            f"a network of {spec.in_channels} neighbouring slices has one mean and deviation, not {len(mean)}"
        )
    factors = tuple((std[0] / s, (mean[0] - m) / s) for m, s in zip(mean, std, strict=True))
    return replace(spec, colours=factors)


def _folded(state: dict[str, Tensor], spec: UNetSpec) -> tuple[dict[str, Tensor], str]:
    """First convolution of three equal colours as one of a single channel, and what is said of it."""
    if spec.colours:
        return state, f"kept, with {COLOURS} channels made of the grey image"
    wanted = {k: tuple(v.shape) for k, v in on_meta(spec).state_dict().items()}
    first = [
        name for name, value in state.items()
        if spec.in_channels == 1 and value.ndim == 4 and value.shape[1] == COLOURS
        and wanted.get(name) == (value.shape[0], 1, *value.shape[2:])
    ]  # fmt: skip
    if not first:
        return state, "kept"
    found = {k: v.sum(1, keepdim=True) if k in first else v for k, v in state.items()}
    return found, f"{' and '.join(first)} summed over {COLOURS} equal colours"


def _check(
    state: Mapping[str, Tensor],
    wanted: Mapping[str, tuple[int, ...]],
    held: StateDict,
    spec: UNetSpec,
) -> None:
    lacks = [name for name in wanted if name not in state and not name.endswith(COUNTER)]
    more = [name for name in state if name not in wanted]
    other = [n for n in state if n in wanted and tuple(state[n].shape) != wanted[n]]
    if not (lacks or more or other):
        return
    seen = [
        f"it lacks {len(lacks)} of {len(wanted)} tensors, first {lacks[0]}" if lacks else "",
        f"it has {len(more)} others, first {more[0]}" if more else "",
        f"{other[0]} is {tuple(state[other[0]].shape)}, expected {wanted[other[0]]}"
        if other
        else "",
    ]
    raise CheckpointError(
        f"{held.path} does not fit {spec.architecture} on {spec.encoder} of depth {spec.depth} with "
        f"{len(spec.classes)} classes: {'; '.join(filter(None, seen))}.{_hint(state, spec)}"
    )


def _hint(state: Mapping[str, Tensor], spec: UNetSpec) -> str:
    """End of a message: encoder and number of classes, as far as the file shows them."""
    from tim3d.models.segmentation.encoder_weights import fitting_encoders

    try:
        fits = fitting_encoders(state)
    except CheckpointError:
        fits = []
    hints = [f"Its encoder is {' or '.join(fits)}"] if fits and spec.encoder not in fits else []
    head = next(
        (v for k, v in state.items() if k.startswith("segmentation_head.") and v.ndim == 4), None
    )
    if head is not None and head.shape[0] != len(spec.classes):
        hints.append(
            f"It has {head.shape[0]} classes"
            + (": a network of one is not read, train it with two" if head.shape[0] == 1 else "")
        )
    return "".join(f" {hint}" for hint in hints)
