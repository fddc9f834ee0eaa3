"""Promptable networks for tests: random tiny ones of files, and one that answers discs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from scipy import ndimage

from tim3d.models.promptable.promptable import Answers, Promptable

SAM_SIZES: dict[str, dict[str, Any]] = {
    "vision_config": {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_dim": 64, "output_channels": 32,
        "image_size": 64, "patch_size": 8, "global_attn_indexes": [1], "window_size": 4, "num_pos_feats": 16,
        "layer_norm_eps": 1e-6,
    },
    "prompt_encoder_config": {"hidden_size": 32, "image_size": 64, "patch_size": 8, "mask_input_channels": 8},
    "mask_decoder_config": {
        "hidden_size": 32, "num_hidden_layers": 2, "mlp_dim": 64, "num_attention_heads": 8, "iou_head_depth": 3,
        "iou_head_hidden_dim": 32,
    },
}  # fmt: skip
SAM2_SIZES: dict[str, dict[str, Any]] = {
    "vision_config": {
        "backbone_config": {
            "model_type": "sam2_hiera_det_model", "hidden_size": 16, "num_attention_heads": 1, "image_size": [128, 128],
            "blocks_per_stage": [1, 1, 2, 1], "embed_dim_per_stage": [16, 32, 64, 128],
            "num_attention_heads_per_stage": [1, 1, 2, 2], "window_size_per_stage": [8, 4, 8, 4],
            "global_attention_blocks": [3], "window_positional_embedding_background_size": [4, 4],
        },
        "backbone_channel_list": [128, 64, 32, 16], "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        "fpn_hidden_size": 32,
    },
    "prompt_encoder_config": {"hidden_size": 32, "image_size": 128, "patch_size": 16, "mask_input_channels": 8},
    "mask_decoder_config": {
        "hidden_size": 32, "num_hidden_layers": 2, "mlp_dim": 64, "num_attention_heads": 8, "iou_head_depth": 3,
        "iou_head_hidden_dim": 32,
    },
}  # fmt: skip


def transformers() -> Any:
    """The package, or a skipped test."""
    pytest.importorskip("transformers", reason="transformers is not installed: tim3d[promptable]")
    from tim3d.models.promptable.networks import import_transformers

    return import_transformers()


def original_sam() -> Any:
    """A random tiny SAM of its authors' code."""
    transformers()
    reason = "segment-anything, the code of SAM's authors, is not installed"
    authors = pytest.importorskip("segment_anything.modeling", reason=reason)
    import torch

    torch.manual_seed(0)
    encoder = authors.ImageEncoderViT(
        img_size=64, patch_size=8, embed_dim=32, depth=2, num_heads=2, mlp_ratio=2, out_chans=32, qkv_bias=True,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), use_rel_pos=True, window_size=4, global_attn_indexes=[1],
    )  # fmt: skip
    prompts = authors.PromptEncoder(
        embed_dim=32, image_embedding_size=(8, 8), input_image_size=(64, 64), mask_in_chans=8
    )
    both_ways = authors.TwoWayTransformer(depth=2, embedding_dim=32, mlp_dim=64, num_heads=8)
    decoder = authors.MaskDecoder(
        num_multimask_outputs=3, transformer=both_ways, transformer_dim=32, iou_head_depth=3, iou_head_hidden_dim=32
    )  # fmt: skip
    return shaken(authors.Sam(encoder, prompts, decoder))


def shaken(network: Any, amount: float = 0.02) -> Any:
    """The network with no weight at zero, where a wrong name would not show."""
    import torch

    for one in network.parameters():
        one.data += amount * torch.randn_like(one)
    return network.eval()


def saved_folder(family: str, folder: Path, seed: int = 0) -> Path:
    """Folder of a random tiny network for transformers."""
    import torch

    package = transformers()
    model, config = {
        "sam": ("SamModel", "SamConfig"),
        "sam2": ("Sam2Model", "Sam2Config"),
        "sam_hq": ("SamHQModel", "SamHQConfig"),
    }[family]
    sizes = SAM2_SIZES if family == "sam2" else SAM_SIZES
    if family == "sam_hq":
        sizes = sizes | {"mask_decoder_config": sizes["mask_decoder_config"] | {"vit_dim": 32}}
    torch.manual_seed(seed)
    network = shaken(getattr(package, model)(getattr(package, config)(**sizes)))
    if family == "sam":  # its two matrices of positions are one
        network.prompt_encoder.shared_embedding = network.shared_image_embedding
    network.save_pretrained(folder)
    return folder


def original_name(name: str) -> str | None:
    """Name in the authors' layout of a weight of `SAM_SIZES` in transformers."""
    from tim3d.models.promptable.key_sets import COPY

    if name == COPY:
        return None
    pairs = [
        ("vision_encoder.layers.", "image_encoder.blocks."), ("vision_encoder.", "image_encoder."),
        ("patch_embed.projection.", "patch_embed.proj."), ("neck.conv1.", "neck.0."),
        ("neck.layer_norm1.", "neck.1."), ("neck.conv2.", "neck.2."), ("neck.layer_norm2.", "neck.3."),
        ("layer_norm_final_attn", "norm_final_attn"), ("mask_embed.conv1.", "mask_downscaling.0."),
        ("mask_embed.layer_norm1.", "mask_downscaling.1."), ("mask_embed.conv2.", "mask_downscaling.3."),
        ("mask_embed.layer_norm2.", "mask_downscaling.4."), ("mask_embed.conv3.", "mask_downscaling.6."),
        ("shared_embedding.positional_embedding", "pe_layer.positional_encoding_gaussian_matrix"),
        ("point_embed.", "point_embeddings."), ("upscale_conv1.", "output_upscaling.0."),
        ("upscale_layer_norm.", "output_upscaling.1."), ("upscale_conv2.", "output_upscaling.3."),
    ]  # fmt: skip
    if "_mlps." in name or "iou_prediction_head" in name:
        pairs += [(".layers.0.", ".layers.1."), (".proj_in.", ".layers.0.")]
        pairs += [(".proj_out.", ".layers.2.")]
    for new, old in pairs:
        if new == "point_embed." and "not_a_point" in name:
            continue
        name = name.replace(new, old)
    return name.replace(".layer_norm", ".norm")


@dataclass(frozen=True)
class Discs(Promptable):
    """A network without weights: three discs around the first point, or the box, of every prompt.

    It needs no image: geometry and rules are tested on it, where the truth is known. A crop is
    answered in its own pixels, so that a point in the wrong crop or with x for y shows.
    """

    radius: float = 6.0
    quality: float = 0.95
    soft: float = 4.0  # logits of a pixel
    kind: ClassVar[str] = "discs"

    def open(self) -> Discs:
        return self

    def description(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}

    def embed(self, image: np.ndarray) -> tuple[np.ndarray, ...]:
        return (image[None],)

    def answer(self, embedding: Any, shape: tuple[int, int], batch: Any, several: bool) -> Answers:
        assert embedding[0].shape[1:] == shape
        radii = [self.radius * share for share in ((1.0, 0.5, 2.0) if several else (1.0,))]
        rows, columns = np.indices(shape)

        def logits(prompt: int, mask: int) -> np.ndarray:
            if batch.boxes is not None:
                x0, y0, x1, y1 = batch.boxes[prompt]
                inside = np.minimum.reduce([columns - x0, x1 - columns, rows - y0, y1 - rows]) + 0.5
                return (self.soft * inside).astype(np.float32)
            x, y = batch.points[prompt, 0]
            return (self.soft * (radii[mask] - np.hypot(columns - x, rows - y))).astype(np.float32)

        quality = np.tile(self.quality - 0.1 * np.arange(len(radii)), (len(batch), 1))
        return Answers(quality.astype(np.float32), logits)


@dataclass(frozen=True)
class Threshold(Discs):
    """A network that answers with the connected piece of bright or dark pixels at the first point."""

    level: float = 128.0

    def answer(self, embedding: Any, shape: tuple[int, int], batch: Any, several: bool) -> Answers:
        bright = embedding[0][0] > self.level
        pieces = np.where(bright, ndimage.label(bright)[0], -ndimage.label(~bright)[0])

        def logits(prompt: int, mask: int) -> np.ndarray:
            if batch.points.shape[1]:
                x, y = batch.points[prompt, 0]
            else:
                x, y = (batch.boxes[prompt, :2] + batch.boxes[prompt, 2:]) / 2
            piece = (
                pieces == pieces[int(np.clip(y, 0, shape[0] - 1)), int(np.clip(x, 0, shape[1] - 1))]
            )
            return np.where(piece, np.float32(10), np.float32(-10))

        return Answers(np.full((len(batch), 1), self.quality, np.float32), logits)


def decoder_shapes(channels: int, width: int, transposed: bool) -> dict[str, tuple[int, ...]]:
    """Shape of every weight of a decoder of micro-sam, as its files list them."""
    w = [width, width // 2, width // 4, width // 8]
    up = "block" if transposed else "conv"
    convolutions: dict[str, tuple[int, int, int]] = {
        "base.block.1": (channels, w[0], 3), "base.block.4": (w[0], w[0], 3), "out_conv": (w[3], 3, 1),
        "decoder_head.block.1": (2 * w[3], w[3], 3), "decoder_head.block.4": (w[3], w[3], 3),
        f"deconv_out.{up}": (w[3], w[3], 0),
    }  # fmt: skip
    shapes: dict[str, tuple[int, ...]] = {}
    for n, given in enumerate([channels, *w[:3]]):
        convolutions[f"deconv{n + 1}.block.0.{up}"] = (given, w[n], 0)
        convolutions[f"deconv{n + 1}.block.1.block"] = (w[n], w[n], 3)
        norm = f"deconv{n + 1}.block.2"
        shapes |= {f"{norm}.{one}": (w[n],) for one in ("weight", "bias")}
        shapes |= {f"{norm}.running_{one}": (w[n],) for one in ("mean", "var")}
        shapes[f"{norm}.num_batches_tracked"] = ()
    for n in range(3):
        convolutions[f"decoder.samplers.{n}.{up}"] = (w[n], w[n + 1], 0)
        convolutions[f"decoder.blocks.{n}.block.1"] = (w[n], w[n + 1], 3)
        convolutions[f"decoder.blocks.{n}.block.4"] = (w[n + 1], w[n + 1], 3)
    for name, (given, made, edge) in convolutions.items():
        usual = (made, given, edge or 1, edge or 1)
        turned = (given, made, 2, 2)
        shapes[f"{name}.weight"] = turned if transposed and not edge else usual
        shapes[f"{name}.bias"] = (made,)
    return shapes


def decoder_weights(
    transposed: bool, channels: int = 32, width: int = 32, seed: int = 0
) -> dict[str, Any]:
    """Random weights of a decoder of micro-sam by their names."""
    import torch

    torch.manual_seed(seed)
    made = {}
    for name, shape in decoder_shapes(channels, width, transposed).items():
        made[name] = torch.randn(shape) * 0.5
        if "running_var" in name:
            made[name] = 0.5 + torch.rand(shape)
        if "num_batches" in name:
            made[name] = torch.tensor(7)
    return made
