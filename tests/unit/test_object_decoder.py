"""The decoder of micro-sam: its maps by a second implementation, its files, and its objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import tim3d
from tests.promptable import decoder_weights, saved_folder
from tim3d.errors import ArgumentError, CheckpointError, MixedRunError
from tim3d.kernels.masks.distance_watershed import Limits, objects_of
from tim3d.models.segmentation.model_file import read_model

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402, N812

from tim3d.models.promptable import decoder_layout, object_decoder  # noqa: E402
from tim3d.models.promptable.file_network import network_of  # noqa: E402

SHAPE = (48, 64)
IMAGE = np.random.default_rng(0).integers(0, 255, SHAPE).astype(np.float32)


@pytest.fixture(scope="module")
def sam(tmp_path_factory) -> Path:
    """Folder of a random tiny SAM."""
    return saved_folder("sam", tmp_path_factory.mktemp("tiny") / "sam")


def reference(w: dict[str, Any], z12: Any) -> Any:
    """Maps of the decoder, layer by layer from its weights."""

    def conv(x, name, pad):
        return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=pad)

    def up(x, name):
        if f"{name}.block.weight" in w:
            return F.conv_transpose2d(
                x, w[f"{name}.block.weight"], w[f"{name}.block.bias"], stride=2
            )
        y = F.interpolate(x, (2 * x.shape[2], 2 * x.shape[3]), mode="bilinear", align_corners=False)
        return conv(y, f"{name}.conv", 0)

    def two(x, name):
        for n in (1, 4):
            mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, unbiased=False)
            x = F.relu(conv((x - mean) / torch.sqrt(var + 1e-5), f"{name}.block.{n}", 1))
        return x

    def stage(x, name):
        x = conv(up(x, f"{name}.block.0"), f"{name}.block.1.block", 1)
        norm = f"{name}.block.2"
        mean, var, scale, shift = (
            w[f"{norm}.{one}"][:, None, None]
            for one in ("running_mean", "running_var", "weight", "bias")
        )
        return F.relu((x - mean) / torch.sqrt(var + 1e-5) * scale + shift)

    z9 = stage(z12, "deconv1")
    z6 = stage(z9, "deconv2")
    z3 = stage(z6, "deconv3")
    z0 = stage(z3, "deconv4")
    x = two(z12, "base")
    for n, beside in enumerate((z9, z6, z3)):
        quarter = beside.shape[1] // 4
        x = up(x, f"decoder.samplers.{n}")
        x = two(torch.cat([x, beside[:, quarter:-quarter]], 1), f"decoder.blocks.{n}")
    x = torch.cat([up(x, "deconv_out"), z0], 1)
    return torch.sigmoid(conv(two(x, "decoder_head"), "out_conv", 0))


def imported(sam: Path, folder: Path, decoder: Any, name: str = "made") -> Path:
    """Model file of a network with a decoder of these weights."""
    torch.save(decoder, folder / "vit_b_decoder.pt")
    return tim3d.import_network(
        sam, folder / f"{name}.safetensors", decoder=folder / "vit_b_decoder.pt"
    )


@pytest.mark.parametrize("transposed", [False, True])
def test_the_maps_are_those_of_the_layers_one_by_one(transposed, sam, tmp_path):
    weights = decoder_weights(transposed)
    network = network_of(read_model(imported(sam, tmp_path, weights)))
    session = network.open()
    (embedding,) = session.embed(IMAGE)
    with torch.inference_mode():
        maps = reference(weights, torch.from_numpy(embedding))
        assert maps.shape == (1, 3, 128, 128)
        square = F.interpolate(maps, (64, 64), mode="bilinear", align_corners=False)
        expected = F.interpolate(
            square[..., :48, :64], SHAPE, mode="bilinear", align_corners=False
        )[0].numpy()
    found = session.decoded((embedding,), SHAPE)
    assert np.abs(found - expected).max() < 1e-5 < 0.1 < np.ptp(found)
    larger = session.decoded((embedding,), (75, 100))
    assert larger.shape == (3, 75, 100)


def test_the_file_records_both_sources_and_the_network_answers_as_without(sam, tmp_path):
    made = imported(sam, tmp_path, decoder_weights(True))
    about = read_model(made).description["decoder"]
    assert about["transposed"] is True
    assert (about["channels"], about["width"]) == (32, 32)
    assert about["source"]["file"] == "vit_b_decoder.pt"
    assert len(about["source"]["sha256"]) == 64
    plain = network_of(read_model(tim3d.import_network(sam, tmp_path / "plain.safetensors")))
    network = network_of(read_model(made))
    assert plain.decoder is None
    assert network.decoder == decoder_layout.Layout(32, 32, True)
    for one, other in zip(network.open().embed(IMAGE), plain.open().embed(IMAGE), strict=True):
        assert (one == other).all()
    with pytest.raises(MixedRunError, match="holds something else"):
        tim3d.import_network(sam, made)
    assert tim3d.plan("import_network", sam, made, decoder=tmp_path / "vit_b_decoder.pt") == []


def test_a_decoder_in_the_file_of_its_network_is_taken(sam, tmp_path):
    from safetensors.torch import load_file

    from tests.promptable import original_name

    state = load_file(sam / "model.safetensors")
    named = {f"sam.{original_name(name)}": one for name, one in state.items()}
    named.pop("sam.None", None)
    named.setdefault(
        "sam.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        state["shared_image_embedding.positional_embedding"],
    )
    weights = decoder_weights(False)
    torch.save({"model_state": named, "decoder_state": weights}, tmp_path / "both.pt")
    made = tim3d.import_network(tmp_path / "both.pt", tmp_path / "both.safetensors")
    assert read_model(made).description["decoder"]["source"]["file"] == "both.pt"
    apart = imported(sam, tmp_path, {"decoder_state": weights}, "apart")
    found = [network_of(read_model(one)).open() for one in (made, apart)]
    embedding = found[0].embed(IMAGE)
    assert (found[0].decoded(embedding, SHAPE) == found[1].decoded(embedding, SHAPE)).all()


def spoilt(kind: str) -> dict[str, Any]:
    """Weights that are no decoder of the tiny SAM."""
    weights = decoder_weights(False)
    if kind == "unet":
        return {"encoder.conv1.weight": torch.zeros(1)}
    if kind == "missing":
        del weights["decoder.blocks.1.block.4.bias"]
    if kind == "extra":
        weights["decoder.blocks.3.block.1.weight"] = torch.zeros(1)
    if kind == "shape":
        weights["out_conv.weight"] = torch.zeros(2, 4, 1, 1)
    if kind == "channels":
        return decoder_weights(False, channels=256)
    if kind == "skips":
        weights["deconv2.0.block.0.conv.weight"] = torch.zeros(1)
    if kind == "entry":
        weights["base.block.1.weight"] = torch.zeros(1)
    return weights


REFUSED = {
    "unet": "is not a decoder of micro-sam",
    "missing": r"decoder.blocks.1.block.4.bias is missing",
    "extra": r"decoder.blocks.3.block.1.weight is too many",
    "shape": r"out_conv.weight has the shape \(2, 4, 1, 1\), not \(3, 4, 1, 1\)",
    "channels": "embeddings of 256 channels, and the network gives 32",
    "skips": "connections to layers of the encoder",
    "entry": "does not fit a decoder of micro-sam",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_other_decoders_are_refused_in_one_line(kind, sam, tmp_path):
    with pytest.raises(CheckpointError, match=REFUSED[kind]) as raised:
        imported(sam, tmp_path, spoilt(kind))
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "made.safetensors").exists()


def test_a_decoder_goes_with_sam_alone_and_not_by_itself(tmp_path):
    torch.save(decoder_weights(False), tmp_path / "vit_b_decoder.pt")
    given = {"decoder": tmp_path / "vit_b_decoder.pt"}
    with pytest.raises(CheckpointError, match=r"is for SAM, and .* holds sam2"):
        tim3d.import_network(saved_folder("sam2", tmp_path / "b"), tmp_path / "b.st", **given)
    with pytest.raises(CheckpointError, match=r"without its network.*--decoder"):
        tim3d.import_network(tmp_path / "vit_b_decoder.pt", tmp_path / "c.safetensors")
    with pytest.raises(ArgumentError, match="--decoder is of promptable networks"):
        tim3d.import_network(tmp_path / "a.pt", tmp_path / "a.safetensors", classes=["a"], **given)


@pytest.mark.parametrize("transposed", [False, True])
def test_the_published_size_is_recognised(transposed):
    shapes = {
        name: tuple(one.shape)
        for name, one in decoder_weights(transposed, channels=16, width=16).items()
    }
    assert decoder_layout.layout_of(shapes, 16, "d") == decoder_layout.Layout(16, 16, transposed)
    with torch.device("meta"):
        made = object_decoder.ObjectDecoder(decoder_layout.Layout(256, 512, transposed))
    own = {name: tuple(one.shape) for name, one in made.state_dict().items()}
    assert own == decoder_layout.Layout(256, 512, transposed).shapes()


def maps_of(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Foreground and distances of objects, as the decoder was trained to give them."""
    foreground = (numbers > 0).astype(np.float32)
    centre, boundary = np.ones((2, *numbers.shape), np.float32)
    for number in range(1, numbers.max() + 1):
        mask = numbers == number
        rows, columns = np.nonzero(mask)
        far = np.hypot(rows - rows.mean(), columns - columns.mean())
        centre[mask] = far / far.max()
        deep = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        boundary[mask] = 1 - deep[mask] / deep.max()
    return foreground, centre, boundary


def touching(shape: tuple[int, int] = (40, 64)) -> np.ndarray:
    """Two discs that share a border, and a third one apart."""
    rows, columns = np.indices(shape)
    numbers = np.zeros(shape, int)
    for number, (y, x, radius) in enumerate(((20, 15, 9), (20, 33, 9), (20, 53, 6)), 1):
        numbers[np.hypot(rows - y, columns - x) <= radius] = number
    return numbers


def test_objects_that_touch_are_parted_where_they_do():
    truth = touching()
    found = objects_of(*maps_of(truth), Limits())
    assert len(np.unique(found)) == 4
    for number in (1, 2, 3):
        one = truth == number
        other = found == np.bincount(found[one]).argmax()
        assert (one & other).sum() / (one | other).sum() > 0.95
    without = objects_of(*maps_of(truth), Limits(smooth=0, smooth_distances=0))
    assert ((without > 0) == (truth > 0)).all()
    pieces = [set(without[truth == number]) for number in (1, 2, 3)]
    assert all(len(one) == 1 for one in pieces[::2])


def test_limits_decide_what_is_an_object():
    maps = maps_of(touching())
    assert (
        len(np.unique(objects_of(*maps, Limits(smallest=200)))) == 3
    )  # the small disc is left out
    assert not objects_of(*maps, Limits(foreground=1.0)).any()
    assert not objects_of(*maps, Limits(centre=0.0)).any()
    assert not objects_of(*maps, Limits(boundary=0.0)).any()
    # A foreground without a seed belongs to no object.
    foreground, centre, boundary = maps
    assert not objects_of(foreground, centre, np.ones_like(boundary), Limits()).any()
