"""Promptable networks, recognised by the names and shapes of their weights. No torch here.

A file of weights says nothing of its kind, and its name is the user's. What it holds is seen from
its set of names; sizes, heads and windows follow from the shapes of the tensors.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tim3d.errors import CheckpointError
from tim3d.models.promptable.decoder_layout import is_decoder
from tim3d.models.promptable.shapes import Shapes

# Names of the original code, and those of transformers; applied in this order.
RENAMES = tuple(
    (re.compile(old), new)
    for old, new in (
        (r"^image_encoder\.", "vision_encoder."),
        (r"^vision_encoder\.blocks\.", "vision_encoder.layers."),
        (r"\.patch_embed\.proj\.", ".patch_embed.projection."),
        (r"\.norm([1-4])\.", r".layer_norm\1."),
        (r"\.neck\.0\.", ".neck.conv1."),
        (r"\.neck\.1\.", ".neck.layer_norm1."),
        (r"\.neck\.2\.", ".neck.conv2."),
        (r"\.neck\.3\.", ".neck.layer_norm2."),
        (
            r"\.pe_layer\.positional_encoding_gaussian_matrix$",
            ".shared_embedding.positional_embedding",
        ),
        (r"\.point_embeddings\.", ".point_embed."),
        (r"\.mask_downscaling\.0\.", ".mask_embed.conv1."),
        (r"\.mask_downscaling\.1\.", ".mask_embed.layer_norm1."),
        (r"\.mask_downscaling\.3\.", ".mask_embed.conv2."),
        (r"\.mask_downscaling\.4\.", ".mask_embed.layer_norm2."),
        (r"\.mask_downscaling\.6\.", ".mask_embed.conv3."),
        (r"\.output_upscaling\.0\.", ".upscale_conv1."),
        (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
        (r"\.output_upscaling\.3\.", ".upscale_conv2."),
        (r"\.norm_final_attn\.", ".layer_norm_final_attn."),
        (r"(_mlps\.\d+|iou_prediction_head)\.layers\.0\.", r"\1.proj_in."),
        (r"(_mlps\.\d+|iou_prediction_head)\.layers\.2\.", r"\1.proj_out."),
        (r"(_mlps\.\d+|iou_prediction_head)\.layers\.1\.", r"\1.layers.0."),
    )
)
# The matrix of positions, which transformers stores twice.
POSITIONS = "prompt_encoder.shared_embedding.positional_embedding"
COPY = "shared_image_embedding.positional_embedding"
# Entries of the original files: ViT-B, ViT-L, ViT-H by the width of the encoder.
VARIANTS = {768: "ViT-B", 1024: "ViT-L", 1280: "ViT-H"}
# Heads of the mask decoder, which no shape shows; all published networks have as many.
DECODER_HEADS = 8
# Parts of a network of videos that single images do not need.
VIDEO = (
    "memory_attention.",
    "memory_encoder.",
    "object_pointer_proj.",
    "mask_downsample.",
    "memory_temporal_positional_encoding",
    "no_memory_positional_encoding",
    "no_object_pointer",
    "occlusion_spatial_embedding_parameter",
    "temporal_positional_encoding_projection_layer.",
    "spatial_perceiver.",
)


@dataclass(frozen=True)
class Foreign:
    """A network that is known and not read: a sign of it, what it is, and what to do."""

    sign: str
    what: str
    cure: str


FOREIGN = (
    Foreign(
        "image_encoder.patch_embed.seq.0.c.weight",
        "MobileSAM, whose TinyViT the transformers package does not have",
        "take SAM ViT-B, or a folder of EdgeTAM for a small network",
    ),
    Foreign(
        "image_encoder.trunk.patch_embed.proj.weight",
        "SAM 2 in the layout of its authors",
        "take the folder of the same network for transformers (config.json, model.safetensors)",
    ),
    Foreign(
        "sam_mask_decoder.iou_token.weight",
        "SAM 2 in the layout of its authors",
        "take the folder of the same network for transformers (config.json, model.safetensors)",
    ),
    Foreign(
        "mask_decoder.hf_token.weight",
        "SAM-HQ in the layout of its authors",
        "take the folder of the same network for transformers (config.json, model.safetensors)",
    ),
    Foreign(
        "text_encoder.text_model.embeddings.token_embedding.weight",
        "SAM 3 or another network with texts as prompts",
        "take SAM, SAM 2, SAM-HQ or EdgeTAM",
    ),
)


@dataclass(frozen=True)
class Network:
    """A network that was recognised.

    Parameters
    ----------
    family : {"sam", "sam2", "sam_hq", "edgetam"}
        What builds it.
    variant : str
        Its size in words.
    config : dict
        Configuration for transformers.
    unused : tuple of str
        Names of weights that single images do not need.
    """

    family: str
    variant: str
    config: Mapping[str, Any]
    unused: tuple[str, ...] = field(default=(), compare=False)


def in_transformers(names: Iterable[str]) -> dict[str, str]:
    """Name in transformers of each weight of a file, which is in the original layout or in that one."""
    given = list(names)
    original = any(name.startswith("image_encoder.") for name in given)
    return {name: renamed(name) if original else name for name in given}


def renamed(name: str) -> str:
    """Name in transformers of a weight of the original code.

    >>> renamed("image_encoder.blocks.3.norm1.weight")
    'vision_encoder.layers.3.layer_norm1.weight'
    >>> renamed("mask_decoder.iou_prediction_head.layers.2.bias")
    'mask_decoder.iou_prediction_head.proj_out.bias'
    """
    for old, new in RENAMES:
        name = old.sub(new, name)
    return name


def recognised(shapes: Shapes, where: str) -> Network:
    """Recognise SAM in either layout, and its configuration, from the names and shapes of its weights.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Shape of each tensor of the file, without wrappers and prefixes.
    where : str
        The file, for messages.

    Raises
    ------
    CheckpointError
        If it is another network: the message names it, or the nearest one and what is odd.
    """
    _refuse_foreign(shapes, where)
    given = {new: shapes[name] for name, new in in_transformers(shapes).items()}
    given.setdefault(POSITIONS, given.get(COPY, ()))
    try:
        config = sam_config(given)
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(unknown(shapes, where)) from error
    width = config["vision_config"]["hidden_size"]
    depth = config["vision_config"]["num_hidden_layers"]
    return Network("sam", VARIANTS.get(width, f"ViT of width {width}, depth {depth}"), config)


def _refuse_foreign(shapes: Shapes, where: str) -> None:
    for one in FOREIGN:
        if one.sign in shapes:
            raise CheckpointError(f"{where} holds {one.what}: {one.cure}")
    if is_decoder(shapes):
        raise CheckpointError(
            f"{where} holds a decoder of micro-sam without its network: import both, tim3d import-network vit_b.pt "
            f"out.safetensors --decoder {where}"
        )


def sam_config(shapes: Shapes) -> dict[str, Any]:
    """Configuration of SAM from the shapes of its weights, by their names in transformers.

    Raises
    ------
    KeyError
        If a weight that it is read from is missing.
    """
    layers = "vision_encoder.layers"
    width, chans, patch = (
        shapes["vision_encoder.patch_embed.projection.weight"][axis] for axis in (0, 1, 2)
    )
    grid = shapes["vision_encoder.pos_embed"][1]
    spans = [
        (shapes[f"{layers}.{n}.attn.rel_pos_h"][0] + 1) // 2 for n in range(_count(shapes, layers))
    ]
    size = {"image_size": grid * patch, "patch_size": patch}
    vision = {
        **size,
        "hidden_size": width,
        "num_channels": chans,
        "output_channels": shapes["vision_encoder.neck.conv1.weight"][0],
        "num_hidden_layers": len(spans),
        "num_attention_heads": width // shapes[f"{layers}.0.attn.rel_pos_h"][1],
        "mlp_dim": shapes[f"{layers}.0.mlp.lin1.weight"][0],
        "window_size": min(spans),
        "global_attn_indexes": [n for n, span in enumerate(spans) if span == grid],
        "num_pos_feats": shapes[POSITIONS][1],
        "layer_norm_eps": 1e-6,
    }
    prompts = {
        **size,
        "hidden_size": shapes["prompt_encoder.point_embed.0.weight"][1],
        "mask_input_channels": shapes["prompt_encoder.mask_embed.conv2.weight"][0],
        "num_point_embeddings": _count(shapes, "prompt_encoder.point_embed"),
        "layer_norm_eps": 1e-6,
    }
    return {
        "vision_config": vision,
        "prompt_encoder_config": prompts,
        "mask_decoder_config": _decoder_config(shapes),
    }


def _decoder_config(shapes: Shapes) -> dict[str, Any]:
    layers, head = "mask_decoder.transformer.layers", "mask_decoder.iou_prediction_head"
    tokens, width = shapes["mask_decoder.mask_tokens.weight"]
    return {
        "hidden_size": width,
        "num_hidden_layers": _count(shapes, layers),
        "num_attention_heads": DECODER_HEADS,
        "attention_downsample_rate": width
        // shapes[f"{layers}.0.cross_attn_token_to_image.q_proj.weight"][0],
        "mlp_dim": shapes[f"{layers}.0.mlp.lin1.weight"][0],
        "num_multimask_outputs": tokens - 1,
        "iou_head_depth": 2 + _count(shapes, f"{head}.layers"),
        "iou_head_hidden_dim": shapes[f"{head}.proj_in.weight"][0],
        "layer_norm_eps": 1e-6,
    }


def _count(shapes: Iterable[str], prefix: str) -> int:
    """Layers whose names begin with a prefix, which are numbered from 0."""
    found = (re.match(rf"{re.escape(prefix)}\.(\d+)\.", name) for name in shapes)
    return 1 + max((int(one[1]) for one in found if one), default=-1)


def unknown(names: Iterable[str], where: str) -> str:
    """Message about a file of another kind: the nearest known one, and the first odd names."""
    given = {name: _pattern(new) for name, new in in_transformers(sorted(names)).items()}
    odd = [name for name, pattern in given.items() if pattern not in EXPECTED][:3]
    close = sum(pattern in EXPECTED for pattern in given.values())
    nearest = f"It is nearest to SAM ({close} of {len(given)} names)" if close else "It is another"
    likely = difflib.get_close_matches(given[odd[0]], sorted(EXPECTED), 1) if odd else []
    meant = f" (as {likely[0]}?)" if likely and close else ""
    strange = f"{', '.join(odd)}{meant}" if odd else "fewer weights than it needs"
    return (
        f"{where} does not hold SAM, MedSAM or micro-sam. {nearest}, and has {strange}. Known are SAM ViT-B, -L and -H "
        "(.pth, .pt, .safetensors) and folders of SAM, SAM 2, SAM-HQ and EdgeTAM for transformers"
    )


def _pattern(name: str) -> str:
    """A name with all numbers replaced by 0."""
    return re.sub(r"\.\d+(?=\.)", ".0", name)


def _expected() -> frozenset[str]:
    """Names of all weights of SAM in transformers, with all numbers replaced by 0."""
    both, scaled = ("weight", "bias"), ("q_proj", "k_proj", "v_proj", "out_proj")
    vision = [
        *(f"layers.0.{a}.{b}" for a in ("layer_norm1", "layer_norm2", "attn.qkv", "attn.proj") for b in both),
        *(f"layers.0.mlp.{a}.{b}" for a in ("lin1", "lin2") for b in both),
        "layers.0.attn.rel_pos_h", "layers.0.attn.rel_pos_w", "pos_embed",
        *(f"patch_embed.projection.{b}" for b in both),
        "neck.conv1.weight", "neck.conv2.weight",
        *(f"neck.{a}.{b}" for a in ("layer_norm1", "layer_norm2") for b in both),
    ]  # fmt: skip
    prompts = [
        "point_embed.0.weight", "not_a_point_embed.weight", "no_mask_embed.weight",
        "shared_embedding.positional_embedding",
        *(f"mask_embed.{a}.{b}" for a in ("conv1", "layer_norm1", "conv2", "layer_norm2", "conv3") for b in both),
    ]  # fmt: skip
    heads = ("output_hypernetworks_mlps.0", "iou_prediction_head")
    blocks = ("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token")
    decoder = [
        *(f"transformer.layers.0.{a}.{c}.{b}" for a in blocks for c in scaled for b in both),
        *(f"transformer.layers.0.layer_norm{n}.{b}" for n in (1, 2, 3, 4) for b in both),
        *(f"transformer.layers.0.mlp.{a}.{b}" for a in ("lin1", "lin2") for b in both),
        *(f"transformer.final_attn_token_to_image.{c}.{b}" for c in scaled for b in both),
        *(f"transformer.layer_norm_final_attn.{b}" for b in both),
        "iou_token.weight", "mask_tokens.weight",
        *(f"{a}.{b}" for a in ("upscale_conv1", "upscale_layer_norm", "upscale_conv2") for b in both),
        *(f"{a}.{c}.{b}" for a in heads for c in ("proj_in", "layers.0", "proj_out") for b in both),
    ]  # fmt: skip
    parts = {"vision_encoder": vision, "prompt_encoder": prompts, "mask_decoder": decoder}
    return frozenset(f"{part}.{name}" for part, names in parts.items() for name in names) | {COPY}


EXPECTED = _expected()


def without(names: Sequence[str], prefixes: Sequence[str] = VIDEO) -> tuple[str, ...]:
    """Names of weights that belong to the video part of a network."""
    return tuple(name for name in names if name.startswith(tuple(prefixes)))
