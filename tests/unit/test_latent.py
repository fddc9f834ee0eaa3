"""What the description of a generator says is what the network does: sizes, nodes, reach, parameters and work."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.generators import TINY, tiny_generator
from tim3d.errors import ArgumentError
from tim3d.kernels.generation.architecture import PRESETS, Architecture, preset, tile_nodes
from tim3d.models.generation.slicegan import Critic, Generator

EVERY = pytest.mark.parametrize("name", TINY)


@EVERY
@pytest.mark.parametrize("nodes", [4, 5, 7])
def test_edges_are_those_of_the_network(name: str, nodes: int) -> None:
    architecture, seen = TINY[name], []
    net = Generator(architecture).eval()
    for layer in [*net.convs, *([net.rcconv] if net.rcconv is not None else [])]:
        layer.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[2]))
    net(torch.zeros(1, architecture.latent, nodes, nodes, nodes))
    assert [nodes, *seen] == architecture.edges(nodes)
    assert seen[-1] == architecture.output_edge(nodes)


@given(st.sampled_from(sorted(TINY)), st.integers(-200, 200), st.integers(1, 90))
def test_nodes_are_enough_and_no_more(name: str, lo: int, edge: int) -> None:
    architecture = TINY[name]
    first, last = architecture.nodes_for(lo, lo + edge)
    nodes, early = last - first - 2 * architecture.early, architecture.early
    begin = (first + early) * architecture.step
    assert begin <= lo < begin + architecture.step
    assert begin + architecture.output_edge(nodes) >= lo + edge
    assert begin + architecture.output_edge(nodes - 1) < lo + edge


@pytest.mark.parametrize("name", ["two phases", "three phases", "wide paddings", "resize"])
def test_a_node_reaches_as_far_as_is_said_and_values_farther_apart_share_none(name: str) -> None:
    """Positive weights: what a node touches differs from zero."""
    architecture = TINY[name]
    net = tiny_generator(architecture).double()
    with torch.no_grad():
        for module in net.modules():
            for number in module.parameters(recurse=False):
                number.copy_(number.abs() + 0.1)
    noise = (
        torch.zeros(1, architecture.latent, 9, 1, 1, dtype=torch.float64)
        .expand(-1, -1, -1, 6, 6)
        .clone()
    )
    noise += 1.0
    changed = noise.clone()
    changed[:, :, 4] += 1.0
    touched = (net(changed) - net(noise)).abs().amax(dim=(0, 1, 3, 4)) > 0
    places = torch.nonzero(touched).ravel()
    assert int(places[-1] - places[0]) + 1 == architecture.correlation


@EVERY
def test_parameters_and_work_are_counted(name: str) -> None:
    architecture, work = TINY[name], []
    net = Generator(architecture).eval()
    assert sum(p.numel() for p in net.parameters()) == architecture.parameters
    nodes = tile_nodes(architecture, 64)
    for conv in net.convs:
        conv.register_forward_hook(
            lambda m, i, o: work.append(i[0][0, 0].numel() * m.weight.numel())
        )
    if net.rcconv is not None:
        net.rcconv.register_forward_hook(
            lambda m, i, o: work.append(o[0, 0].numel() * m.weight.numel())
        )
    net(torch.zeros(1, architecture.latent, nodes, nodes, nodes))
    per_voxel = sum(work) / 1000 / architecture.tile(nodes) ** 3
    told = architecture.kmac_per_voxel * architecture.overlap(nodes)
    assert told == pytest.approx(per_voxel, rel=1e-9)
    assert architecture.overlap(tile_nodes(architecture, 4096)) == pytest.approx(1, abs=0.02)


# Thousands of products a voxel and millions of parameters, by outputs.
PUBLISHED = [
    ("paper", 2, 15.4, 13.1),
    ("big-volume", 2, 4.4, 13.2),
    ("resize", 3, 23.1, 40.1),
    ("demo", 2, 3.6, 0.79),
]


def test_presets_have_the_published_sizes() -> None:
    crops = {name: (a.crop, a.levels, a.correlation, a.critic_field) for name, a in PRESETS.items()}
    assert crops["paper"] == (64, 5, 94, 64)
    assert crops["big-volume"] == (128, 6, 190, 128)
    assert crops["demo"] == (32, 4, 46, 32)
    assert crops["resize"] == (64, 5, 96, 64)
    for name, outputs, kmac, millions in PUBLISHED:
        assert preset(name, outputs).kmac_per_voxel == pytest.approx(kmac, abs=0.06)
        assert preset(name, outputs).parameters / 1e6 == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize("name", PRESETS)
def test_a_critic_sees_the_crop_of_its_generator(name: str) -> None:
    architecture = PRESETS[name]
    critic = Critic(architecture.outputs, [2] * len(architecture.critic), slope=0.5)
    edge = architecture.crop
    for _ in architecture.critic:
        edge = (edge + 2 - 4) // 2 + 1
    assert edge == 4
    slices = torch.randn(
        2, architecture.outputs, architecture.crop, architecture.crop, requires_grad=True
    )
    critic(slices)[0].backward()
    assert slices.grad is not None
    assert bool((slices.grad[0].abs().amax(0) > 0).all())
    assert not slices.grad[1].any()


def test_descriptions_come_back_from_json() -> None:
    for architecture in [*PRESETS.values(), *TINY.values()]:
        assert Architecture.from_json(architecture.to_json()) == architecture
    assert preset("demo", 3).outputs == 3
    assert preset("paper", 3, "colour").output == "colour"


WRONG = [
    ({"paddings": (2, 1, 3)}, "layer 1 has padding 1, below kernel - stride = 2"),
    ({"paddings": (2, 2)}, "make 3 transposed convolutions, and there are 2 paddings"),
    ({"paddings": (9, 9, 9)}, "leave nothing of 4 nodes"),
    ({"channels": (5, 0, 6, 2)}, "positive widths"),
    ({"channels": (5, 8, 6, 1)}, "1 output channels for output 'phases'"),
    ({"output": "grey"}, "phases need 2 to 255, grey 1"),
    ({"kind": "instance"}, "kind 'instance'"),
    ({"critic": (0,)}, "positive widths"),
]


@pytest.mark.parametrize(("wrong", "says"), WRONG)
def test_what_cannot_be_is_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        dataclasses.replace(TINY["two phases"], **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not the architecture"), ("[1]", "not the architecture"),
        ('{"name":"a"}', "needs channels, kind, paddings"),
        ('{"name":"a","kind":"transposed","channels":[1,2],"paddings":[2],"norm":"ada"}', "unknown fields .*norm"),
    ],
)  # fmt: skip
def test_descriptions_of_something_else_are_refused(text: str, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        Architecture.from_json(text)
    with pytest.raises(ArgumentError, match="no preset 'nets'"):
        preset("nets")
