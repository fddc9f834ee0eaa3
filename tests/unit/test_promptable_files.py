"""Files of promptable networks: what they hold is seen from their weights, and nothing is guessed."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tests.promptable import SAM_SIZES, original_name, original_sam, saved_folder, transformers
from tim3d.errors import ArgumentError, CheckpointError, MixedRunError
from tim3d.models.segmentation.model_file import read_model

torch = pytest.importorskip("torch")

from tim3d.models.promptable import foreign_file, importing, key_sets  # noqa: E402
from tim3d.models.promptable.file_network import network_of  # noqa: E402
from tim3d.models.promptable.preprocessing import MEDSAM, SAM, SQUARE  # noqa: E402
from tim3d.models.promptable.prompts import Prompt, batches  # noqa: E402

IMAGE = np.random.default_rng(0).integers(0, 255, (48, 64)).astype(np.float32)
PROMPT = Prompt(np.array([[10.0, 20.0], [30.0, 40.0]]), np.array([1, 0]), (5.0, 6.0, 40.0, 41.0))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> tuple[dict[str, Any], Any]:
    """Weights of a random tiny SAM by their names in the authors' layout, and the network."""
    folder = saved_folder("sam", tmp_path_factory.mktemp("tiny") / "sam")
    state = importing.recognise(folder).tensors
    names = {original_name(name): one for name, one in state.items()}
    return {name: one for name, one in names.items() if name}, folder


def imported(source: Path, folder: Path, **how: Any) -> Any:
    """The network of a file, through the verb."""
    out = tim3d.import_network(source, folder / "made.safetensors", **how)
    return network_of(read_model(out))


def answers(network: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embedding, qualities and masks of one prompt."""
    session = network.open()
    embedding = session.embed(IMAGE)
    (batch,) = batches([PROMPT], 4)
    found = session.answer(embedding, IMAGE.shape, batch, True)
    return embedding[0], found.quality, np.stack([found.logits(0, n) for n in range(3)])


def test_the_authors_network_and_the_imported_one_give_the_same_masks(tmp_path):
    authors = original_sam()
    torch.save(authors.state_dict(), tmp_path / "sam.pth")
    embedding, quality, masks = answers(imported(tmp_path / "sam.pth", tmp_path))

    image = torch.zeros(1, 3, 64, 64)
    for channel, (mean, std) in enumerate(zip(SAM.mean, SAM.std, strict=True)):
        image[0, channel, :48] = (torch.tensor(IMAGE) / 255 - mean) / std
    points = (
        torch.tensor(PROMPT.points[None], dtype=torch.float32),
        torch.tensor(PROMPT.labels[None]),
    )
    with torch.inference_mode():
        expected = authors.image_encoder(image)
        sparse, dense = authors.prompt_encoder(points, torch.tensor([PROMPT.box]), None)
        low, scores = authors.mask_decoder(
            expected, authors.prompt_encoder.get_dense_pe(), sparse, dense, multimask_output=True
        )
        full = authors.postprocess_masks(low, (48, 64), (48, 64))
    assert np.abs(embedding - expected.numpy()).max() < 1e-5
    assert np.abs(quality - scores.numpy()).max() < 1e-5
    assert np.abs(masks - full[0].numpy()).max() < 1e-5 < np.abs(masks).max()


@pytest.mark.parametrize(("name", "entries"), [("vit_b", 314), ("vit_l", 482), ("vit_h", 594)])
def test_the_published_sizes_load_strictly(name, entries):
    transformers()
    authors = pytest.importorskip("segment_anything", reason="segment-anything is not installed")
    from tim3d.models.promptable import networks

    with torch.device("meta"):
        state = authors.sam_model_registry[name]().state_dict()
    assert len(state) == entries
    found = key_sets.recognised({k: tuple(v.shape) for k, v in state.items()}, name)
    given = {new: state[old] for old, new in key_sets.in_transformers(state).items()}
    given[key_sets.COPY] = given[key_sets.POSITIONS]
    networks.loaded(found, given, name)
    assert found.variant == {"vit_b": "ViT-B", "vit_l": "ViT-L", "vit_h": "ViT-H"}[name]
    last = {"vit_b": [2, 5, 8, 11], "vit_l": [5, 11, 17, 23], "vit_h": [7, 15, 23, 31]}[name]
    assert found.config["vision_config"]["global_attn_indexes"] == last


def test_both_layouts_of_one_network_give_the_same_masks(tiny, tmp_path):
    state, folder = tiny
    torch.save({"model": {f"module.{name}": one for name, one in state.items()}}, tmp_path / "a.pt")
    of_file = imported(tmp_path / "a.pt", tmp_path)
    of_folder = network_of(read_model(tim3d.import_network(folder, tmp_path / "b.safetensors")))
    for one, other in zip(answers(of_file), answers(of_folder), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert of_file.config["vision_config"]["num_attention_heads"] == 2
    assert of_file.shapes((48, 64)) == ((1, 32, 8, 8),)


@pytest.mark.parametrize("family", ["sam2", "sam_hq"])
def test_folders_of_later_networks_answer_prompts(family, tmp_path):
    network = imported(saved_folder(family, tmp_path / family), tmp_path)
    embedding = network.open().embed(IMAGE)
    assert tuple(one.shape for one in embedding) == network.shapes(IMAGE.shape)
    assert len(embedding) > 1
    _, quality, masks = answers(network)
    assert quality.shape == (1, 3)
    assert masks.shape == (3, 48, 64)
    assert np.isfinite(masks).all()
    assert network.preprocessing == (SQUARE if family == "sam2" else SAM)


def test_the_file_records_what_it_is_and_how_images_are_prepared(tiny, tmp_path):
    state, _ = tiny
    torch.save(state, tmp_path / "medsam_vit_b.pth")
    made = tim3d.import_network(
        tmp_path / "medsam_vit_b.pth", tmp_path / "m.safetensors", preprocessing="medsam"
    )
    about = read_model(made).description
    assert about["source"]["file"] == "medsam_vit_b.pth"
    assert about["source"]["sha256"] == foreign_file.sha256_of(tmp_path / "medsam_vit_b.pth")
    assert network_of(read_model(made)).preprocessing == MEDSAM
    assert (
        tim3d.plan("import_network", tmp_path / "medsam_vit_b.pth", made, preprocessing="medsam")
        == []
    )
    with pytest.raises(MixedRunError, match="holds something else"):
        tim3d.import_network(tmp_path / "medsam_vit_b.pth", made)


def test_the_same_file_gives_the_same_bytes(tiny, tmp_path):
    state, _ = tiny
    torch.save(state, tmp_path / "a.pth")
    made = [tim3d.import_network(tmp_path / "a.pth", tmp_path / f"{n}.safetensors") for n in "xy"]
    assert made[0].read_bytes() == made[1].read_bytes()


def changed(state: dict[str, Any], kind: str) -> dict[str, Any]:
    """Weights of other networks, by their tell-tale names."""
    one = torch.zeros(1)
    if kind == "mobile":
        return {"image_encoder.patch_embed.seq.0.c.weight": one, **state}
    if kind == "sam2":
        return {"model": {"image_encoder.trunk.patch_embed.proj.weight": one}}
    if kind == "decoder":
        parts = ("base.block.0.w", "deconv1.w", "deconv4.w", "deconv_out.w", "out_conv.w")
        return dict.fromkeys((*parts, "decoder_head.conv.w"), one)
    if kind == "unet":
        return {"encoder.conv1.weight": one, "decoder.blocks.0.weight": one}
    if kind == "missing":
        return {name: v for name, v in state.items() if "iou_token" not in name}
    if kind == "shape":
        return state | {"mask_decoder.iou_token.weight": torch.zeros(1, 33)}
    if kind == "extra":
        return state | {"mask_decoder.hq.weight": one}
    return {"epoch": 3, "weights": state}


REFUSED = {
    "mobile": "MobileSAM.*take SAM ViT-B",
    "sam2": "SAM 2 in the layout of its authors.*take the folder",
    "decoder": "a decoder of micro-sam without its network.*import both",
    "unet": r"does not hold SAM.*encoder.conv1.weight",
    "missing": "iou_token",
    "shape": "iou_token",
    "extra": "hq.weight",
    "plain": "beside weights",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_other_networks_are_named_and_refused(kind, tiny, tmp_path):
    state, _ = tiny
    torch.save(changed(state, kind), tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=REFUSED[kind]) as raised:
        tim3d.import_network(tmp_path / "odd.pth", tmp_path / "out.safetensors")
    assert "odd.pth" in str(raised.value)
    assert not (tmp_path / "out.safetensors").exists()


class Code:
    """What a training file holds beside weights: an object of a class."""


def test_a_file_that_would_run_code_is_refused_with_the_way_out(tiny, tmp_path):
    torch.save({"model_state": tiny[0], "trainer": Code()}, tmp_path / "best.pt")
    with pytest.raises(CheckpointError, match=r"run code.*export_custom_sam_model"):
        tim3d.import_network(tmp_path / "best.pt", tmp_path / "out.safetensors")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(CheckpointError):
        tim3d.import_network(tmp_path / "plain.pth", tmp_path / "out.safetensors")


def test_damaged_files_are_refused(tiny, tmp_path):
    state, folder = tiny
    matrix = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
    torch.save(state | {key_sets.COPY: state[matrix] + 1}, tmp_path / "two.pth")
    with pytest.raises(CheckpointError, match="two different matrices"):
        tim3d.import_network(tmp_path / "two.pth", tmp_path / "out.safetensors")
    half = tmp_path / "half.safetensors"
    half.write_bytes((folder / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="damaged"):
        tim3d.import_network(half, tmp_path / "out.safetensors")
    for name in ("none.pth", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(CheckpointError, match=r"check its path|config\.json"):
            tim3d.import_network(tmp_path / name, tmp_path / "out.safetensors")


def test_folders_of_other_kinds_are_refused(tiny, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(CheckpointError, match="save_pretrained"):
        tim3d.import_network(tmp_path, tmp_path / "out.safetensors")
    (tmp_path / "model.safetensors").write_bytes((tiny[1] / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="kind 'bert'"):
        tim3d.import_network(tmp_path, tmp_path / "out.safetensors")


def test_no_other_preprocessing(tiny, tmp_path):
    with pytest.raises(ArgumentError, match="there are sam, medsam, square"):
        importing.recognise(tiny[1], "cellpose")


def test_the_sizes_of_the_tests_are_those_of_the_shapes(tiny):
    shapes = {name: tuple(one.shape) for name, one in tiny[0].items()}
    config = key_sets.recognised(shapes, "tiny").config
    for part, sizes in SAM_SIZES.items():
        assert {name: config[part][name] for name in sizes} == sizes
