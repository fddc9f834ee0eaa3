"""Weights of an encoder from a local file, put into the network strictly: every layer by its name and shape.

What is in the file and not in the encoder is dropped by name, and said: the head of a classifier,
the decoder of a whole network, layers deeper than the network uses. Anything else that is too much,
lacks or has another shape is refused.

The first convolution of three colours becomes one of a slice and its neighbours: its weights are
summed over the colours and shared out evenly over the slices. For one slice that is the very
convolution of an image whose three colours are equal; for more it gives the same on equal slices.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tim3d.errors import ArgumentError, CheckpointError
from tim3d.models.segmentation.encoder_shapes import SHAPES
from tim3d.models.segmentation.state_dicts import COUNTER, StateDict, read_state_dict
from tim3d.models.segmentation.unet import UNetSpec

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

# First parts of the names of a classifier's head, in the programs whose files are read.
HEADS = (
    "fc", "_fc", "classifier", "last_linear", "linear", "head", "head_norm", "logits", "AuxLogits",
)  # fmt: skip
# What a timm EfficientNet has after its last block, and its backbone lacks.
TOPS = ("conv_head", "bn2")
# Parts of a whole network of segmentation-models-pytorch beside its encoder.
BESIDE = ("decoder", "segmentation_head", "classification_head")
COLOURS = 3
DEEPEST = 5
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class EncoderWeights:
    """A file whose weights fit the encoder of a network.

    Parameters
    ----------
    file : str
        Its name.
    sha256 : str
        Of all its bytes.
    encoder : str
        The encoder.
    layout : str
        How its layers are named: as in the encoder, or how they were renamed.
    first_convolution : str
        What became of the first convolution.
    dropped : tuple of str
        What the file holds beside, by the first parts of the names.
    """

    file: str
    sha256: str
    encoder: str
    layout: str
    first_convolution: str
    dropped: tuple[str, ...]

    def record(self) -> dict[str, object]:
        """Record for the description of the network, for JSON."""
        return {"from": "encoder", **asdict(self), "dropped": list(self.dropped)}

    def __str__(self) -> str:
        beside = f"; not used: {', '.join(self.dropped)}" if self.dropped else ""
        return f"encoder {self.encoder} from {self.file}, {self.layout}, {self.first_convolution}{beside}"


def fitted(path: str | Path, spec: UNetSpec) -> tuple[EncoderWeights, dict[str, Tensor]]:
    """Read a file for the encoder of a network: what is recorded, and the encoder's state dict.

    Raises
    ------
    CheckpointError
        If the file cannot be read without running code, or does not fit the encoder.
    ArgumentError
        If the network normalises by instance, which leaves no place for the file's statistics.
    """
    if spec.norm != "batch":
        raise ArgumentError(
            "weights of an encoder come with the statistics of its batch normalisation: leave out --norm instance"
        )
    held = read_state_dict(path)
    inside, beside = _inside(held.tensors)
    wanted, whole = encoder_shapes(spec.encoder, spec.depth), encoder_shapes(spec.encoder, DEEPEST)
    renamed, layout = _renamed(inside, wanted, whole)
    kept, dropped = _kept(renamed, wanted, whole.keys() - wanted.keys())
    _check(kept, wanted, held, spec)
    adapted, said = _adapted(kept, spec, wanted)
    names = tuple(sorted({*beside, *dropped}))
    about = EncoderWeights(_name(path), held.sha256, spec.encoder, layout, said, names)
    return about, adapted


def put_into(net: nn.Module, path: str | Path, spec: UNetSpec, sha256: str) -> None:
    """Put the weights of a file, which must still have this SHA-256, into the encoder of a network.

    Raises
    ------
    CheckpointError
        If the file is another one now, or does not fit.
    """
    about, state = fitted(path, spec)
    if about.sha256 != sha256:
        raise CheckpointError(f"{path} has changed since the training was described; run it again")
    encoder = net.get_submodule("encoder")
    own = dict(encoder.state_dict())
    # A counter of batches takes no part in what is computed, and old files lack it.
    missing = {name: own[name] for name in own.keys() - state.keys() if name.endswith(COUNTER)}
    _load(encoder, {**state, **missing})


def _load(encoder: nn.Module, state: Mapping[str, Tensor]) -> None:
    """By torch itself: encoders of segmentation-models-pytorch drop a head without a word."""
    from torch import nn

    nn.Module.load_state_dict(encoder, dict(state), strict=True)


def _name(path: str | Path) -> str:
    from pathlib import Path

    return Path(path).name


def _inside(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], set[str]]:
    """Layers of the encoder, and the parts beside it in the file of a whole network."""
    parts = {name.partition(".")[0] for name in tensors}
    below = "model." if parts == {"model"} else ""
    plain = {name.removeprefix(below): value for name, value in tensors.items()}
    if not any(name.startswith("encoder.") for name in plain):
        return plain, set()
    beside = {first for name in plain if (first := name.partition(".")[0]) != "encoder"}
    if unknown := sorted(beside - set(BESIDE)):
        raise CheckpointError(
            f"the file holds an encoder and {', '.join(unknown)}; expected a network of "
            f"segmentation-models-pytorch, which has {', '.join(BESIDE)} beside it"
        )
    inside = {
        name.removeprefix("encoder."): v for name, v in plain.items() if name.startswith("encoder.")
    }
    return inside, beside


def encoder_shapes(name: str, depth: int, channels: int = COLOURS) -> Shapes:
    """Shape of each tensor of an encoder, built without data where that is possible."""
    import torch

    from tim3d.models.segmentation.torchvision_shim import import_smp, old_names

    def made() -> nn.Module:
        with old_names():
            found: nn.Module = import_smp().encoders.get_encoder(
                name, in_channels=channels, depth=depth, weights=None
            )
        return found

    try:
        with torch.device("meta"):
            encoder = made()
    except (RuntimeError, NotImplementedError):
        with torch.random.fork_rng(devices=[]):
            encoder = made()
    return {key: tuple(value.shape) for key, value in encoder.state_dict().items()}


def _renamed(
    tensors: Mapping[str, Tensor], wanted: Shapes, whole: Shapes
) -> tuple[dict[str, Tensor], str]:
    """Tensors by the encoder's names; the rule is chosen by the names alone."""
    for layout, rule in _RULES.items():
        found = {rule(name, tensors, whole): value for name, value in tensors.items()}
        if len(found) == len(tensors) and not _needed(wanted) - found.keys():
            return found, layout
    return dict(tensors), "named as in the encoder"


def _needed(wanted: Shapes) -> set[str]:
    return {name for name in wanted if not name.endswith(COUNTER)}


def _same(name: str, tensors: Mapping[str, Tensor], whole: Shapes) -> str:
    return name


def _old_densenet(name: str, tensors: Mapping[str, Tensor], whole: Shapes) -> str:
    """``denselayer1.norm.1.weight`` of the first files of torchvision is ``denselayer1.norm1.weight``."""
    return re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)", r"\1\2", name)


def _timm_features(name: str, tensors: Mapping[str, Tensor], whole: Shapes) -> str:
    """A timm model as a backbone is below ``model.``, and joins the first parts of names by ``_``."""
    for place in range(name.count(".") + 1):
        if (joined := f"model.{name.replace('.', '_', place)}") in whole:
            return joined
    return name


def _efficientnet(name: str, tensors: Mapping[str, Tensor], whole: Shapes) -> str:
    """Names of EfficientNet-PyTorch as those of timm: blocks counted in stages, layers in order."""
    return _timm_features(_timm_name(name, tensors, whole), tensors, whole)


def _timm_name(name: str, tensors: Mapping[str, Tensor], whole: Shapes) -> str:
    outer = {
        "_conv_stem": "conv_stem",
        "_bn0": "bn1",
        "_conv_head": "conv_head",
        "_bn1": "bn2",
        "_fc": "classifier",
    }
    first, _, rest = name.partition(".")
    if first != "_blocks":
        return f"{outer.get(first, first)}.{rest}"
    number, _, layer = rest.partition(".")
    blocks = list(_blocks(whole))
    if not number.isdigit() or int(number) >= len(blocks):
        return name
    expands = f"_blocks.{number}._expand_conv.weight" in tensors
    part, _, last = layer.partition(".")
    return f"{blocks[int(number)]}.{_LAYERS[expands].get(part, part)}.{last}"


def _blocks(whole: Shapes) -> Iterator[str]:
    """Names of the blocks of a timm EfficientNet, in their order."""
    found = (re.search(r"blocks\.\d+\.\d+", name) for name in whole)
    yield from dict.fromkeys(one[0] for one in found if one)


_SE = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
# By whether the block begins with an expansion.
_LAYERS = {
    True: {
        "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
        "_project_conv": "conv_pwl", "_bn2": "bn3", **_SE,
    },
    False: {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2", **_SE},
}  # fmt: skip
_RULES = {
    "named as in the encoder": _same,
    "densenet names of early torchvision": _old_densenet,
    "timm names": _timm_features,
    "EfficientNet-PyTorch names": _efficientnet,
}


def _kept(
    tensors: Mapping[str, Tensor], wanted: Shapes, deeper: set[str]
) -> tuple[dict[str, Tensor], set[str]]:
    """Tensors of the encoder or of no known place, and first parts of the names that are dropped."""
    dropped = {
        name for name in tensors.keys() - wanted.keys()
        if name in deeper or name.removeprefix("model.").partition(".")[0] in HEADS + TOPS
    }  # fmt: skip
    kept = {name: value for name, value in tensors.items() if name not in dropped}
    return kept, {_part(name, name in deeper) for name in dropped}


def _part(name: str, is_deeper: bool) -> str:
    plain = name.removeprefix("model.").partition(".")[0]
    return f"{plain} (deeper than the network)" if is_deeper else plain


def _check(kept: Mapping[str, Tensor], wanted: Shapes, held: StateDict, spec: UNetSpec) -> None:
    """Refuse what lacks, is too much or has another shape, with the encoder that the file fits."""
    lacks = [name for name in wanted if name not in kept and not name.endswith(COUNTER)]
    more = [name for name in kept if name not in wanted]
    other = [n for n in kept if n in wanted and tuple(kept[n].shape) != wanted[n]]
    if not (lacks or more or other):
        return
    raise CheckpointError(
        f"{held.path} does not fit the encoder {spec.encoder}: {_seen(kept, wanted, lacks, more, other)}. "
        f"{_advice(held)}"
    )


def _seen(
    kept: Mapping[str, Tensor], wanted: Shapes, lacks: list[str], more: list[str], other: list[str]
) -> str:
    if other and not lacks and not more:
        name = other[0]
        return (
            f"{len(other)} layers have another shape, first {name}: {tuple(kept[name].shape)}, "
            f"expected {wanted[name]}"
        )
    parts = []
    if lacks:
        parts.append(f"it lacks {len(lacks)} of {len(wanted)} tensors, first {lacks[0]}")
    if more:
        parts.append(f"it has {len(more)} others, first {more[0]}")
    if other:
        parts.append(f"{len(other)} have another shape, first {other[0]}")
    return "; ".join(parts)


def _advice(held: StateDict) -> str:
    fits = fitting_encoders(held.tensors)
    if fits:
        return f"It fits {' or '.join(fits)}: --encoder {fits[0]}"
    return "It fits no encoder that is known by its layers; an encoder of timm is --encoder tu-NAME"


def fitting_encoders(tensors: Mapping[str, Tensor]) -> list[str]:
    """Encoders of segmentation-models-pytorch with layers of these shapes, whatever their names."""
    inside = _inside(tensors)[0]
    body = [
        tuple(value.shape) for name, value in inside.items()
        if not name.endswith(COUNTER) and name.partition(".")[0] not in HEADS
    ]  # fmt: skip
    found = shapes_digest(body)
    return [name for name, digest in SHAPES.items() if digest == found]


def shapes_digest(shapes: Iterable[tuple[int, ...]]) -> str:
    """Digest of the shapes of the tensors of an encoder in any order, without counters.

    >>> shapes_digest([(3,), (4, 1)]) == shapes_digest([(4, 1), (3,)])
    True
    """
    return hashlib.sha256(repr(sorted(map(tuple, shapes))).encode()).hexdigest()[:12]


def _adapted(
    kept: Mapping[str, Tensor], spec: UNetSpec, wanted: Shapes
) -> tuple[dict[str, Tensor], str]:
    """The encoder's state dict for slices, and what became of the first convolution."""
    slices = spec.in_channels
    # In an encoder of another number of channels, only the first convolutions have other shapes.
    probe = encoder_shapes(spec.encoder, spec.depth, channels=1)
    first = [name for name, shape in wanted.items() if probe[name] != shape]
    found = {
        name: value.sum(1, keepdim=True).repeat(1, slices, 1, 1) / slices
        if name in first
        else value
        for name, value in kept.items()
    }
    shared = "" if slices == 1 else f", shared out over {slices} slices"
    return found, f"{' and '.join(first)} summed over {COLOURS} colours{shared}"
