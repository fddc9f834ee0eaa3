"""Checkpoints of the official repository become generators of ours, or are refused in a sentence."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.generators import field_of
from tim3d.errors import ArgumentError, CheckpointError
from tim3d.grid import Box
from tim3d.kernels.generation.architecture import whole_nodes
from tim3d.kernels.generation.philox import Noise
from tim3d.models.generation.export import load_generator
from tim3d.models.generation.official import import_official
from tim3d.phases import Phases

SPACING = (10.0, 10.0, 10.0)
TWO = Phases(pore=0, solid=1)
WIDTHS, PADDINGS = [4, 8, 6, 2], [2, 2, 3]


class Plain(nn.Module):
    """The published generator: a normalisation for every layer, the last of which is not called.

    With `resizes` the last layer is not called either, but a resize to 2 (n - 1) and a convolution.
    """

    def __init__(self, widths: list[int], paddings: list[int], resizes: bool) -> None:
        super().__init__()
        pairs = zip(widths, widths[1:], paddings, strict=False)
        self.convs = nn.ModuleList(
            nn.ConvTranspose3d(a, b, 4, 2, p, bias=False) for a, b, p in pairs
        )
        self.bns = nn.ModuleList(nn.BatchNorm3d(b) for b in widths[1:])
        if resizes:
            self.rcconv = nn.Conv3d(widths[-2], widths[-1], 3)

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        """Probabilities."""
        for conv, norm in zip(self.convs[:-1], self.bns[:-1], strict=True):
            noise = functional.relu(norm(conv(noise)))
        if hasattr(self, "rcconv"):
            size = tuple(2 * (n - 1) for n in noise.shape[2:])
            noise = self.rcconv(
                functional.interpolate(noise, size=size, mode="trilinear", align_corners=False)
            )
        else:
            noise = self.convs[-1](noise)
        return torch.softmax(noise, 1)


def written(folder: Path, resizes: bool, prefix: str = "", **other: Any) -> tuple[Path, Plain]:
    """Files as the official code writes them."""
    torch.manual_seed(1)
    net = Plain(WIDTHS, PADDINGS, resizes).train()
    with torch.no_grad():
        if resizes:
            net.rcconv.bias.mul_(0.1)
        for _ in range(20):
            net(torch.randn(8, WIDTHS[0], 5, 5, 5))
    lists = {"dk": [4] * 3, "ds": [2] * 3, "df": [2, 5, 7, 1], "dp": [1, 1, 0]}
    lists |= {"gk": [4] * 3, "gs": [2] * 3, "gf": WIDTHS, "gp": PADDINGS} | other
    (folder / "a_params.data").write_bytes(pickle.dumps(list(lists.values())))
    torch.save(
        OrderedDict((prefix + k, v) for k, v in net.state_dict().items()), folder / "a_Gen.pt"
    )
    return folder / "a_Gen.pt", net.eval()


@pytest.mark.parametrize("resizes", [False, True])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_blocks_of_an_imported_network_are_the_official_pass(
    tmp_path: Path, resizes: bool, prefix: str
) -> None:
    checkpoint, net = written(tmp_path, resizes, prefix)
    out = tmp_path / "gen.safetensors"
    sha256 = import_official(checkpoint, out, SPACING, TWO)
    architecture = load_generator(out).architecture
    assert architecture.kind == ("official-resize" if resizes else "transposed")
    assert architecture.critic == (5, 7)
    shape = (48, 48, 48)
    made = field_of((out, sha256), architecture, shape).labels(Box.whole(shape))
    noise = Noise(3).latent(Box.whole(whole_nodes(architecture, shape)), architecture.latent)
    with torch.inference_mode():
        expected = net(torch.from_numpy(noise[None])).argmax(1)[0].numpy()
    assert expected.shape == shape
    assert 0.05 < expected.mean() < 0.95
    assert (made != expected).sum() <= 1


@pytest.mark.parametrize("ending", [("_Gen.pt", "_params.data"), (".Gen", ".params")])
def test_files_of_microlib_are_recognised(tmp_path: Path, ending: tuple[str, str]) -> None:
    """Its lists of kernels and strides are longer than that of paddings, where the layers end."""
    checkpoint, _ = written(tmp_path, False, gk=[4] * 4, gs=[2] * 4, dk=[4] * 4, ds=[2] * 4)
    weights, parameters = (tmp_path / f"micro393{one}" for one in ending)
    checkpoint.rename(weights)
    (tmp_path / "a_params.data").rename(parameters)
    import_official(weights, tmp_path / "micro393.safetensors", SPACING, TWO)
    written(tmp_path, False)
    import_official(tmp_path / "a_Gen.pt", tmp_path / "a.safetensors", SPACING, TWO)
    a, b = (load_generator(tmp_path / f"{name}.safetensors") for name in ("micro393", "a"))
    assert a.architecture == b.architecture
    assert all(torch.equal(x.weight, y.weight) for x, y in zip(a.layers, b.layers, strict=True))


def test_without_names_one_channel_is_grey(tmp_path: Path) -> None:
    checkpoint, _ = written(tmp_path, False)
    with pytest.raises(ArgumentError, match="has 2 channels, one for each phase; name them"):
        import_official(checkpoint, tmp_path / "gen.safetensors", SPACING)
    with pytest.raises(ArgumentError, match="has 2 channels, and 3 phases are named"):
        import_official(checkpoint, tmp_path / "gen.safetensors", SPACING, Phases(a=0, b=1, c=2))
    torch.save({"convs.0.weight": torch.randn(4, 1, 4, 4, 4)}, checkpoint)
    lists = [[4], [2], [1, 1], [0], [4, 4], [2, 2], [4, 3, 1], [2, 3]]
    (tmp_path / "a_params.data").write_bytes(pickle.dumps(lists))
    torch.manual_seed(0)
    torch.save(Plain([4, 3, 1], [2, 3], False).state_dict(), checkpoint)
    import_official(checkpoint, tmp_path / "gen.safetensors", SPACING)
    assert load_generator(tmp_path / "gen.safetensors").architecture.output == "grey"


class Evil:
    """Asks for a function when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return np.load, ("no such file",)


def damage(folder: Path, what: str) -> None:
    """Spoil one of the two files."""
    generator, parameters = folder / "a_Gen.pt", folder / "a_params.data"
    spoil: dict[str, Callable[[], Any]] = {
        "no parameters": parameters.unlink,
        "evil parameters": lambda: parameters.write_bytes(pickle.dumps([Evil()] * 8)),
        "other parameters": lambda: parameters.write_bytes(pickle.dumps({"gk": [4]})),
        "cut parameters": lambda: parameters.write_bytes(parameters.read_bytes()[:9]),
        "large parameters": lambda: parameters.write_bytes(pickle.dumps([[4] * 60000] * 8)),
        "no weights": generator.unlink,
        "evil weights": lambda: torch.save({"a": Evil()}, generator),
        "a list": lambda: torch.save([torch.zeros(2)], generator),
        "text": lambda: generator.write_text("weights"),
        "fewer weights": lambda: torch.save(
            {"convs.0.weight": torch.zeros(4, 8, 4, 4, 4)}, generator
        ),
    }
    spoil[what]()


DAMAGED = [
    ("no parameters", "must lie beside the checkpoint"),
    ("evil parameters", "only lists of integers are read"),
    ("other parameters", "expected lists dk, ds, df, dp, gk, gs, gf, gp of integers"),
    ("cut parameters", "not a SliceGAN parameter file"),
    ("large parameters", "not a SliceGAN parameter file"),
    ("no weights", "cannot read"),
    ("evil weights", "not a SliceGAN checkpoint"),
    ("a list", "expected tensors by name"),
    ("text", "not a SliceGAN checkpoint"),
    ("fewer weights", "does not fit its file of parameters"),
]


@pytest.mark.parametrize(("what", "says"), DAMAGED)
def test_other_files_are_refused(tmp_path: Path, what: str, says: str) -> None:
    checkpoint, _ = written(tmp_path, False)
    damage(tmp_path, what)
    with pytest.raises(CheckpointError, match=says):
        import_official(checkpoint, tmp_path / "gen.safetensors", SPACING, TWO)
    assert not (tmp_path / "gen.safetensors").exists()


@pytest.mark.parametrize(
    ("lists", "says"),
    [
        ({"gs": [1, 2, 2], "gp": [0, 2, 3]}, "layer 0 of the generator has kernel 4 and stride 1"),
        ({"gk": [4, 3, 4]}, "layer 1 of the generator has kernel 3"),
        ({"gp": [2, 1, 3]}, "layer 1 has padding 1, below kernel - stride"),
        ({"gp": [2, 2]}, "2 paddings, 3 kernels, 3 strides and 4 widths; expected a kernel"),
        ({"gk": [4, 4]}, "3 paddings, 2 kernels"),
        ({"gf": [4, 8, 7, 2]}, "does not fit its file of parameters"),
    ],
)
def test_networks_that_cannot_be_made_in_blocks_are_refused(
    tmp_path: Path, lists: dict[str, Any], says: str
) -> None:
    checkpoint, _ = written(tmp_path, False, **lists)
    with pytest.raises((ArgumentError, CheckpointError), match=says):
        import_official(checkpoint, tmp_path / "gen.safetensors", SPACING, TWO)
