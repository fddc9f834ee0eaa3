"""What each network makes of given weights is what its files were trained with: another formula reads them wrongly.

Weights and inputs are waves of float64, so that every machine has the same; recorded are the mean of the
output and one that knows its order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
import torch
from torch import Tensor, nn

from tim3d.kernels.generation.architecture import Architecture
from tim3d.models.conditional.network_spec import ConditionalSpec, CriticSpec
from tim3d.models.conditional.networks import ConditionalGenerator, ProjectionCritic
from tim3d.models.diffusion.local_network import LocalNetwork
from tim3d.models.diffusion.network_spec import LocalNetworkSpec
from tim3d.models.generation.slicegan import Critic as SliceCritic
from tim3d.models.generation.slicegan import Generator
from tim3d.models.promptable.decoder_layout import Layout
from tim3d.models.promptable.object_decoder import ObjectDecoder
from tim3d.models.segmentation import unet_3d
from tim3d.models.segmentation.branched_erfnet import BranchedErfnet
from tim3d.models.surrogate.network import Critic as SectionCritic
from tim3d.models.surrogate.network import Surrogate
from tim3d.models.translation.network import Critic as LookCritic
from tim3d.models.translation.network import Heads, Translator


def wave(*shape: int, step: float = 0.7, high: float = 1.0) -> Tensor:
    """Waves of numbers from -high to high."""
    count = torch.arange(int(torch.tensor(shape).prod()), dtype=torch.float64)
    return (high * torch.sin(step * count + 0.3)).reshape(shape)


def known(net: nn.Module) -> nn.Module:
    """The network with waves as weights, and counts of its normalisation that are not those at the start."""
    with torch.no_grad():
        for number, (name, value) in enumerate(net.double().state_dict().items()):
            if not value.is_floating_point():
                continue
            high = (3 / max(1, value[0].numel())) ** 0.5 if value.ndim > 1 else 0.3
            made = wave(*value.shape, step=0.7 + 0.01 * number, high=high)
            value.copy_(made + 1 if name.endswith(("running_var", "norm.weight")) else made)
    return net.eval()


def heads() -> Tensor:
    features = [wave(2, 4, 6, 5), wave(2, 4, 6, 5, step=0.3)]
    found = known(Heads(2, 4, 8))(features, torch.tensor([0, 7, 29]))
    return torch.cat([one.ravel() for one in found])


CASES: dict[str, tuple[Callable[[], Any], list[float]]] = {
    "diffusion": (
        lambda: known(LocalNetwork(LocalNetworkSpec(2, 2, (4, 6), 1, 1, 2)))(
            wave(2, 2, 16, 16), torch.tensor([0.2, 0.7]).double(), wave(2, 2)
        ),
        [1024, 0.1781174035, 8.424597565],
    ),
    "diffusion of volumes": (
        lambda: known(LocalNetwork(LocalNetworkSpec(3, 1, (2, 4), 1, 2, 0)))(
            wave(1, 1, 16, 16, 16), torch.tensor([0.4]).double()
        ),
        [4096, 0.06408044693, 3.109546633],
    ),
    "conditional generator of two phases": (
        lambda: known(ConditionalGenerator(ConditionalSpec(1, 2, (3, 4), 1, 2)))(
            wave(2, 2, 8, 8), torch.tensor([[0.3, torch.nan], [-0.5, 0.2]]).double()
        ),
        [8, -0.1918699373, -1.226095115],
    ),
    "conditional generator of three phases": (
        lambda: known(ConditionalGenerator(ConditionalSpec(3, 1, (3, 4, 5), 2, 3)))(
            wave(1, 3, 18, 16), torch.tensor([[0.3]]).double()
        ),
        [2652, -0.3333333333, -15.98249837],
    ),
    "projection critic": (
        lambda: known(ProjectionCritic(CriticSpec(1, 2, (3, 4))))(
            wave(3, 1, 16, 16), torch.tensor([[0.3, 0.1], [0.2, torch.nan], [0.0, -1.0]]).double()
        ),
        [3, 1.291522737, 2.391934164],
    ),
    "generator of volumes": (
        lambda: known(Generator(Architecture("a", "transposed", (3, 4, 2), (2, 2))))(
            wave(1, 3, 4, 4, 4)
        ),
        [2000, -0.0007058751742, -0.03607531429],
    ),
    "generator of volumes that resizes": (
        lambda: known(Generator(Architecture("a", "resize", (3, 4, 4, 2), (2, 2))))(
            wave(1, 3, 5, 5, 5)
        ),
        [27648, 0.1716857418, 8.426828176],
    ),
    "critic of slices": (
        lambda: known(SliceCritic(2, (4, 6), 0.1))(wave(3, 2, 16, 16)),
        [3, 0.02851808644, 0.05313529163],
    ),
    "translator": (lambda: known(Translator(4, 3))(wave(2, 1, 9, 8)), [144, 2.04919942, 81.31626336]),
    "critic of looks": (lambda: known(LookCritic(4))(wave(2, 1, 24, 24)), [50, 0.1622964083, 3.98883203]),
    "heads of contrasts": (heads, [96, 0.1052120043, 7.066850466]),
    "surrogate": (lambda: known(Surrogate((4, 6)))(wave(2, 3, 16, 16)), [2, 0.4013923119, 0.6040736384]),
    "critic of sections": (lambda: known(SectionCritic(5))(wave(3, 5)), [3, 2.663831631, 5.657915692]),
    "unet of volumes": (
        lambda: known(unet_3d.build(unet_3d.UNet3DSpec(("a", "b"), ((1, 2, 2), (2, 2, 2)), (4, 4, 6))))(
            wave(1, 1, 8, 16, 16)
        ),
        [4096, 0.3949570295, 19.28528657],
    ),
    "instances": (lambda: known(BranchedErfnet())(wave(1, 3, 16, 16)), [1280, 0.06210249652, 3.198775115]),
    "object decoder": (
        lambda: known(ObjectDecoder(Layout(8, 16, False)))(wave(1, 8, 4, 4)),
        [12288, 0.5546158136, 27.11326479],
    ),
    "object decoder that is trained to enlarge": (
        lambda: known(ObjectDecoder(Layout(8, 16, True)))(wave(1, 8, 4, 4)),
        [12288, 0.5622876629, 27.49648616],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_network_of_known_weights_gives_what_it_gave(name: str) -> None:
    call, expected = CASES[name]
    with torch.no_grad():
        made = call()
    values = torch.cat([one.ravel() for one in made]) if isinstance(made, tuple) else made.ravel()
    turning = values * (1 + torch.arange(values.numel()) % 97)
    assert [len(values), float(values.mean()), float(turning.mean())] == pytest.approx(
        expected, rel=1e-6
    )
