"""Networks by name, the shim they need, and the calls to them that need no block."""

from __future__ import annotations

import dataclasses
import pickle
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from tim3d.errors import ArgumentError, CheckpointError, DeviceError
from tim3d.grid import Box
from tim3d.kernels.windows.lattice import blend_lattice, crop_lattice, slice_lattice
from tim3d.kernels.windows.stitching import EmptyRule, HostMemory
from tim3d.models.segmentation import inference, torchvision_shim
from tim3d.models.segmentation.blending import DeviceMemory, memory_for
from tim3d.models.segmentation.checkpoint import Description, Normalisation, save
from tim3d.models.segmentation.families import read_spec
from tim3d.models.segmentation.inference import Predictor, halving, ready, segment_core
from tim3d.models.segmentation.model_file import UNET
from tim3d.models.segmentation.unet import UNetSpec, build

SMALL = UNetSpec(classes=("pore", "solid", "dirt"), depth=2, decoder_channels=(8, 4))


def checkpoint_of(path, spec=SMALL, seed=0, normalisation=None):
    torch.manual_seed(seed)
    norm = normalisation or Normalisation("volume", (120.0,), (50.0,))
    return save(path, build(spec).eval(), Description(spec, norm, (10.0, 5.0, 5.0)))


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "net.safetensors"
    return Predictor(str(path), checkpoint_of(path))


def grey(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def segment(predictor, lattice, volume, core=None, **options):
    core = core or Box.whole(volume.shape)
    box = lattice.read_box(core)
    return segment_core(predictor, lattice, core, volume[box.slices], box, **options)


def test_the_shim_gives_torchvision_and_can_be_called_again():
    module = torchvision_shim.import_torchvision()
    assert torchvision_shim.import_torchvision() is module
    assert hasattr(module, "models")


def test_the_shim_passes_on_other_failures(monkeypatch, tmp_path):
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('something else')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(RuntimeError, match="something else"):
        torchvision_shim.import_torchvision()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": ("pore",)}, "two or more"),
        ({"classes": ("pore", "pore")}, "two or more"),
        ({"classes": tuple(f"c{i}" for i in range(256))}, "uint8"),
        ({"in_channels": 2}, "1, 3, 5"),
        ({"depth": 4}, "depth 4 needs 4"),
        ({"norm": "group"}, "batch or instance"),
    ],
)
def test_a_spec_that_cannot_be_is_refused(change, words):
    with pytest.raises(ArgumentError, match=words):
        dataclasses.replace(SMALL, **change)


def test_a_spec_survives_a_dictionary():
    values = {
        key: list(v) if isinstance(v, tuple) else v for key, v in dataclasses.asdict(SMALL).items()
    }
    assert read_spec(UNET, values) == SMALL
    with pytest.raises(ArgumentError, match="colour"):
        read_spec(UNET, {**values, "colour": 1})


def test_unknown_networks_are_refused():
    with pytest.raises(ArgumentError, match="no-such-encoder"):
        build(dataclasses.replace(SMALL, encoder="no-such-encoder"))
    with pytest.raises(ArgumentError, match="NoNet"):
        build(dataclasses.replace(SMALL, architecture="NoNet"))


def test_instance_norm_takes_the_place_of_every_batch_norm():
    kinds = [type(m) for m in build(dataclasses.replace(SMALL, norm="instance")).modules()]
    assert torch.nn.BatchNorm2d not in kinds
    assert torch.nn.InstanceNorm2d in kinds


@pytest.mark.parametrize("architecture", ["Unet", "UnetPlusPlus"])
def test_networks_keep_the_shape_of_a_slice(architecture):
    spec = dataclasses.replace(SMALL, architecture=architecture, in_channels=3)
    out = build(spec).eval()(torch.zeros(2, 3, 16, 24))
    assert out.shape == (2, 3, 16, 24)
    assert spec.total_stride == 4
    assert spec.context == 1


def test_labels_and_probabilities_are_those_of_the_bare_network(predictor):
    volume = grey((3, 20, 24))
    lattice = slice_lattice(volume.shape, 4)
    out = segment(predictor, lattice, volume, outputs=("labels", "probabilities"))
    net = ready(predictor).model
    with torch.inference_mode():
        ready_nchw = (torch.from_numpy(volume)[:, None].float() - 120) / 50
        p = torch.cat([net(x[None]) for x in ready_nchw]).softmax(1).permute(1, 0, 2, 3).numpy()
    assert (out["labels"] == p.argmax(0)).mean() > 0.999
    assert np.abs(out["probabilities"].astype(float) - 255 * p).max() <= 0.51
    assert out["labels"].dtype == out["probabilities"].dtype == np.uint8


def test_labels_do_not_depend_on_what_else_is_asked(predictor):
    volume = grey((2, 21, 19))
    lattice = crop_lattice(volume.shape, (1, 16, 16), (0, 4, 4))
    both = segment(predictor, lattice, volume, outputs=("labels", "probabilities"))
    assert np.array_equal(segment(predictor, lattice, volume)["labels"], both["labels"])
    only = segment(predictor, lattice, volume, outputs=("probabilities",))
    assert set(only) == {"probabilities"}
    assert np.array_equal(only["probabilities"], both["probabilities"])


def test_blended_probabilities_sum_to_one(predictor):
    volume = grey((1, 37, 21))
    lattice = blend_lattice(volume.shape, (1, 16, 16), (0, 8, 8))
    out = segment(predictor, lattice, volume, outputs=("labels", "probabilities"))
    total = out["probabilities"].astype(int).sum(axis=0)
    assert np.abs(total - 255).max() <= 2
    highest = out["probabilities"].max(axis=0)
    assert np.array_equal(
        np.take_along_axis(out["probabilities"], out["labels"][None], 0)[0], highest
    )


@pytest.mark.parametrize("empty", [None, EmptyRule(7, (0.5, 0.25, 0.25))])
def test_windows_blended_on_a_device_give_what_they_give_in_memory(predictor, monkeypatch, empty):
    volume = grey((2, 37, 21))
    volume[0] = 7
    lattice = blend_lattice(volume.shape, (1, 16, 16), (0, 8, 8))
    for core in (Box.whole(volume.shape), Box((0, 3, 2), (2, 30, 21))):
        how = {"core": core, "outputs": ("labels", "probabilities", "shares"), "empty": empty}
        expected = segment(predictor, lattice, volume, **how)
        with monkeypatch.context() as patched:
            memory = DeviceMemory(torch.device("cpu"))
            patched.setattr(inference, "memory_for", lambda *_, memory=memory: memory)
            found = segment(predictor, lattice, volume, **how)
        for name, values in expected.items():
            assert found[name].dtype == values.dtype
            np.testing.assert_array_equal(found[name], values)


def test_windows_are_blended_on_a_gpu_that_has_room(monkeypatch):
    lattice, core = blend_lattice((4, 32, 32), (1, 16, 16), (0, 8, 8)), Box.whole((4, 32, 32))
    needed = 4 * (3 + 3) * 4 * 32 * 32
    chosen = []
    for free in (4 * needed, 4 * needed - 1):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 2 * free))
        chosen.append(type(memory_for(torch.device("cuda"), lattice, core, 3)))
    assert chosen == [DeviceMemory, HostMemory]
    assert isinstance(memory_for(torch.device("cpu"), lattice, core, 3), HostMemory)
    crop = crop_lattice((4, 32, 32), (1, 16, 16), (0, 4, 4))
    assert isinstance(memory_for(torch.device("cuda"), crop, core, 3), HostMemory)


@pytest.mark.parametrize(("call", "at_a_time"), [(threading.Lock(), 1), (nullcontext(), 2)])
def test_of_two_blocks_on_a_device_one_calls_the_network_at_a_time(
    predictor, monkeypatch, call, at_a_time
):
    """The lock of a device; without it, as on a CPU, both are in the network together."""
    volume = grey((4, 16, 16))
    lattice = slice_lattice(volume.shape, 4)
    calls, most = [], []
    expected = segment(predictor, lattice, volume)["labels"]

    def before(*_):
        calls.append(1)
        time.sleep(0.05)  # the other block gets here too, if it may
        most.append(len(calls))

    def after(*_):
        calls.pop()

    loaded = ready(predictor)
    hooks = (
        loaded.model.register_forward_pre_hook(before),
        loaded.model.register_forward_hook(after),
    )
    monkeypatch.setitem(
        inference.loaded_networks, predictor, dataclasses.replace(loaded, call=call)
    )
    try:
        with ThreadPoolExecutor(2) as pool:
            found = list(
                pool.map(lambda _: segment(predictor, lattice, volume)["labels"], range(4))
            )
    finally:
        for hook in hooks:
            hook.remove()
    assert max(most) == at_a_time
    assert all(np.array_equal(one, expected) for one in found)


@pytest.mark.parametrize("dtype", [np.uint16, ">u2", np.int16, np.float32, np.float64])
def test_grey_values_of_every_type_give_the_same_labels(predictor, dtype):
    volume = grey((2, 16, 16))
    lattice = slice_lattice(volume.shape, 4)
    expected = segment(predictor, lattice, volume)["labels"]
    assert np.array_equal(segment(predictor, lattice, volume.astype(dtype))["labels"], expected)


def test_a_table_normalises_each_slice_and_its_neighbours_by_their_own_row(tmp_path):
    spec = dataclasses.replace(SMALL, in_channels=3)
    path = tmp_path / "net.safetensors"
    sha256 = checkpoint_of(path, spec)
    flat = grey((4, 16, 16)).astype(np.float32)
    gain, shift = np.array([1, 2, 4, 0.5], np.float32), np.array([0, 8, -16, 32], np.float32)
    lattice = slice_lattice(flat.shape, 4, context=1)
    table = Normalisation(
        "table", tuple((120 * gain + shift).tolist()), tuple((50 * gain).tolist())
    )
    plain = segment(Predictor(str(path), sha256), lattice, flat)["labels"]
    drifted = flat * gain[:, None, None] + shift[:, None, None]
    undone = Predictor(str(path), sha256, normalisation=table, batch=3)
    assert (segment(undone, lattice, drifted)["labels"] == plain).mean() > 0.999
    assert (
        segment(Predictor(str(path), sha256), lattice, drifted)["labels"] == plain
    ).mean() < 0.99
    with pytest.raises(ArgumentError, match="4 slices and the volume 3"):
        segment(undone, slice_lattice((3, 16, 16), 4, context=1), drifted[:3])


def test_a_checkpoint_trained_with_a_table_asks_for_one(tmp_path):
    path = tmp_path / "net.safetensors"
    sha256 = checkpoint_of(path, normalisation=Normalisation("table", (1.0, 2.0), (1.0, 1.0)))
    with pytest.raises(CheckpointError, match="give the table"):
        ready(Predictor(str(path), sha256))


def test_a_checkpoint_that_changed_since_the_plan_is_refused(tmp_path):
    path = tmp_path / "net.safetensors"
    planned = checkpoint_of(path, seed=0)
    checkpoint_of(path, seed=1)
    with pytest.raises(CheckpointError, match="plan again"):
        ready(Predictor(str(path), planned))


def test_a_predictor_travels_and_loads_once(predictor):
    again = pickle.loads(pickle.dumps(predictor))
    assert ready(again) is ready(predictor)
    assert not ready(again).model.training


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch": 0}, "1 or more"),
        ({"precision": "fp8"}, "fp32, fp16 or bf16"),
        ({"precision": "fp16"}, "CUDA"),
    ],
)
def test_predictors_that_cannot_be_are_refused(change, words):
    with pytest.raises(ArgumentError, match=words):
        Predictor("net", "0", **change)


def test_a_device_that_is_not_there_is_named(predictor):
    with pytest.raises(DeviceError, match="cuda:99"):
        ready(dataclasses.replace(predictor, device="cuda:99"))


def test_lattices_and_outputs_that_do_not_fit_are_refused(predictor):
    volume = grey((4, 16, 16))
    with pytest.raises(ArgumentError, match="total stride 4"):
        segment(predictor, crop_lattice(volume.shape, (1, 16, 16), (0, 2, 2)), volume)
    with pytest.raises(ArgumentError, match="one slice"):
        segment(predictor, crop_lattice(volume.shape, (4, 16, 16), (0, 4, 4)), volume)
    with pytest.raises(ArgumentError, match="context=0"):
        segment(predictor, slice_lattice(volume.shape, 4, context=1), volume)
    with pytest.raises(ArgumentError, match="choose labels"):
        segment(predictor, slice_lattice(volume.shape, 4), volume, outputs=("logits",))


def test_windows_that_shrink_to_one_voxel_have_no_statistics(tmp_path):
    path = tmp_path / "net.safetensors"
    predictor = Predictor(
        str(path), checkpoint_of(path, dataclasses.replace(SMALL, norm="instance"))
    )
    with pytest.raises(ArgumentError, match="windows of 8 or more"):
        segment(predictor, slice_lattice((1, 3, 4), 4), grey((1, 3, 4)))
    assert segment(predictor, slice_lattice((1, 3, 5), 4), grey((1, 3, 5)))["labels"].shape == (
        1,
        3,
        5,
    )


def test_too_large_batches_are_halved_until_they_fit():
    seen = []

    def forward(grey, scale):
        seen.append(len(grey))
        if len(grey) > 2:
            raise torch.OutOfMemoryError("full")
        return grey * scale

    batch = torch.arange(7.0)[:, None]
    assert torch.equal(halving(forward, batch, torch.tensor([[2.0]])), 2 * batch)
    assert torch.equal(halving(forward, batch, batch), batch**2)
    assert max(seen) == 7
    with pytest.raises(torch.OutOfMemoryError):
        halving(lambda grey: forward(torch.zeros(9), grey), batch)


@pytest.mark.parametrize("lattice", [crop_lattice((2, 24, 40), (1, 16, 16), (0, 4, 4)),
                                     blend_lattice((2, 24, 40), (1, 16, 16), (0, 8, 8))])  # fmt: skip
def test_of_equally_likely_classes_the_first_is_taken_and_shares_are_rounded(tmp_path, lattice):
    """A quarter of 255 is 63.75."""
    spec = dataclasses.replace(SMALL, classes=("a", "b", "c", "d"))
    net = build(spec)
    with torch.no_grad():
        for weights in net.parameters():
            weights.zero_()
    scale = Normalisation("volume", (100.0,), (50.0,))
    path = tmp_path / "even.safetensors"
    even = Predictor(str(path), save(path, net, Description(spec, scale, (10, 5, 5))))
    found = segment(even, lattice, grey((2, 24, 40)), outputs=("labels", "probabilities"))
    assert (found["labels"] == 0).all()
    assert (found["probabilities"] == 64).all()
