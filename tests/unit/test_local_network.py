"""Networks of bounded reach: what an output depends on is proven by gradients, at every place in a cell."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tim3d.errors import ArgumentError, CheckpointError
from tim3d.kernels.generation.coarse_field import CoarseLaw
from tim3d.models.common.conditioned_network import Condition, state_channels
from tim3d.models.common.weights import write_weights
from tim3d.models.diffusion.encoding import decoded, encoded
from tim3d.models.diffusion.local_network import LocalNetwork, doubled, shuffled, unshuffled
from tim3d.models.diffusion.network_file import (
    LocalNetworkDescription,
    describe_network,
    load_network,
    save_network,
)
from tim3d.models.diffusion.network_spec import LocalNetworkSpec
from tim3d.phases import Phases

SPECS = [
    LocalNetworkSpec(2, 1, (4,), unshuffle=1),
    LocalNetworkSpec(2, 1, (4, 6)),
    LocalNetworkSpec(2, 3, (4, 4), unshuffle=1, conditions=2),
    LocalNetworkSpec(2, 1, (4, 4), blocks=2, unshuffle=1),
    LocalNetworkSpec(2, 1, (4, 4, 4), unshuffle=1),
    LocalNetworkSpec(2, 1, (4, 6), coarse=1),
]


def beside(values: torch.Tensor, spec: LocalNetworkSpec) -> tuple[torch.Tensor, ...]:
    """What stands after the channels of the state, for a network that is given it."""
    return (values[:, spec.channels :],) if spec.coarse else ()


def network(spec: LocalNetworkSpec, seed: int = 0) -> LocalNetwork:
    torch.manual_seed(seed)
    return LocalNetwork(spec).double()


def measured_support(
    net: nn.Module, spec: LocalNetworkSpec, edge: int, place: int
) -> list[tuple[int, int]]:
    """First and last voxel along each axis on which the output at `place` of every axis depends."""
    generator = torch.Generator().manual_seed(5)
    shape = (1, spec.channels + spec.coarse, *(edge,) * spec.dimensions)
    state = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    time = torch.tensor([0.3], dtype=torch.float64)
    out = net(state[:, : spec.channels], time, None, *beside(state, spec))
    out[(0, slice(None), *(place,) * spec.dimensions)].sum().backward()
    assert state.grad is not None
    each = (state.grad[0] != 0).any(0).nonzero()
    if spec.coarse:  # what is given beside the state reaches as far as the state, and no farther
        alone = (state.grad[0, spec.channels :] != 0).any(0).nonzero()
        assert torch.equal(alone.min(0).values, each.min(0).values)
        assert torch.equal(alone.max(0).values, each.max(0).values)
    seen = each
    return [(int(a), int(b)) for a, b in zip(seen.min(0).values, seen.max(0).values, strict=True)]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_an_output_depends_on_the_stated_window_and_on_all_of_it(spec: LocalNetworkSpec) -> None:
    """At every place in a cell of the last level, in float64 with random weights."""
    edge = 2 * spec.halo + spec.multiple
    net, seen = network(spec), []
    for residue in range(spec.multiple):
        place = spec.halo + residue
        seen.append((place, measured_support(net, spec, edge, place)))
        assert seen[-1][1] == [spec.support(place)] * 2
    assert spec.reach == max(max(p - a, b - p) for p, found in seen for a, b in found)


def test_the_reach_of_volumes_is_that_of_images() -> None:
    spec = LocalNetworkSpec(3, 1, (3,), unshuffle=2)
    edge = 2 * spec.halo + spec.multiple
    for place in (spec.halo, spec.halo + 1):
        assert measured_support(network(spec), spec, edge, place) == [spec.support(place)] * 3


def test_statistics_of_the_window_fail_the_same_proof() -> None:
    """The control: with group normalisation an output depends on the whole window."""
    spec = SPECS[1]
    net = network(spec)
    net.norm = nn.GroupNorm(1, spec.widths[0]).double()
    edge = 2 * spec.halo + 3 * spec.multiple
    assert measured_support(net, spec, edge, spec.halo) == [(0, edge - 1)] * 2


def evaluated(net: LocalNetwork, both: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    """Output of a network for a state, and what is given beside it in further channels."""
    made: torch.Tensor = net(both[:, : net.spec.channels], time, None, *beside(both, net.spec))
    return made


@pytest.mark.parametrize("spec", [*SPECS[1:4], SPECS[-1]], ids=str)
def test_windows_with_a_halo_equal_the_evaluation_of_everything(spec: LocalNetworkSpec) -> None:
    net, m, h = network(spec), spec.multiple, spec.halo
    shape = (2 * h + 3 * m, 2 * h + 2 * m)
    generator = torch.Generator().manual_seed(1)
    channels = spec.channels + spec.coarse
    both = torch.randn((1, channels, *shape), generator=generator, dtype=torch.float64)
    time = torch.tensor([0.7], dtype=torch.float64)
    with torch.no_grad():
        whole = evaluated(net, both, time)
        for i, j in itertools.product(range(3), range(2)):
            window = both[..., i * m : (i + 1) * m + 2 * h, j * m : (j + 1) * m + 2 * h]
            inner = evaluated(net, window, time)[..., h : h + m, h : h + m]
            expected = whole[..., h + i * m : h + (i + 1) * m, h + j * m : h + (j + 1) * m]
            assert float((inner - expected).abs().max()) < 1e-13


def test_shifts_by_cells_commute_and_smaller_ones_do_not() -> None:
    spec = SPECS[1]
    net, h, m = network(spec), spec.halo, spec.multiple
    state = torch.randn(
        (1, 1, 2 * h + 4 * m, 2 * h + m), generator=torch.Generator().manual_seed(2)
    ).double()
    time = torch.tensor([0.2], dtype=torch.float64)
    with torch.no_grad():
        plain = net(state, time)[..., h + m : h + 2 * m, h : h + m]
        by_cell, by_voxel = (
            net(state.roll(n, 2), time)[..., h + m + n : h + 2 * m + n, h : h + m] for n in (m, 1)
        )
    assert float((by_cell - plain).abs().max()) < 1e-13
    assert float((by_voxel - plain).abs().max()) > 1e-3


def test_a_condition_that_is_not_given_differs_from_zero() -> None:
    spec = LocalNetworkSpec(2, 1, (4,), conditions=2)
    net = network(spec)
    state = torch.randn((1, 1, 8, 8), generator=torch.Generator().manual_seed(2)).double()
    time = torch.tensor([0.5], dtype=torch.float64)
    absent = net(state, time)
    nan = torch.full((1, 2), torch.nan, dtype=torch.float64)
    assert torch.equal(absent, net(state, time, nan))
    assert not torch.allclose(absent, net(state, time, torch.zeros_like(nan)))
    half = torch.tensor([[1.0, torch.nan]], dtype=torch.float64)
    assert not torch.allclose(absent, net(state, time, half))
    later = net(state, torch.tensor([0.501], dtype=torch.float64))
    assert not torch.allclose(absent, later, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3, 4, 8), (1, 2, 4, 8, 12)])
def test_shuffling_is_reversed(shape: tuple[int, ...]) -> None:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(shuffled(unshuffled(values, 4), 4), values)
    if len(shape) == 4:
        assert torch.equal(unshuffled(values, 2), nn.functional.pixel_unshuffle(values, 2))
    assert torch.equal(doubled(values), nn.functional.interpolate(values, scale_factor=2))


@pytest.mark.parametrize("spec", [*SPECS, LocalNetworkSpec(3, 2, (4, 6), conditions=1)], ids=str)
def test_the_cost_is_that_of_the_convolutions(spec: LocalNetworkSpec) -> None:
    """Multiplications counted while a window of four cells is evaluated."""
    net, counted = network(spec), [0]

    def count(layer: nn.Module, _: object, out: torch.Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        counted[0] += weight[0].numel() * out.numel()

    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d):
            layer.register_forward_hook(count)
    assert spec.parameters == sum(p.numel() for p in net.parameters())
    shape = (1, spec.channels + spec.coarse, *(2 * spec.multiple,) * spec.dimensions)
    evaluated(net, torch.zeros(shape, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
    assert counted[0] == pytest.approx(
        spec.multiplications * (2 * spec.multiple) ** spec.dimensions, rel=1e-12
    )


def test_what_does_not_fit_is_refused() -> None:
    net, time = LocalNetwork(LocalNetworkSpec(2, 1, (4, 4), conditions=1)), torch.zeros(1)
    for shape in [(1, 1, 8, 6), (1, 2, 8, 8), (1, 1, 8, 8, 8)]:
        with pytest.raises(ArgumentError, match="multiples of 4"):
            net(torch.zeros(shape), time)
    with pytest.raises(ArgumentError, match="local fractions of shape"):
        net(torch.zeros(1, 1, 8, 8), time, None, torch.zeros(1, 1, 8, 8))
    with pytest.raises(ArgumentError, match="of one phase or of none, not of 2"):
        LocalNetworkSpec(2, 1, (4,), coarse=2)
    with pytest.raises(ArgumentError, match="conditions of shape"):
        net(torch.zeros(1, 1, 8, 8), time, torch.zeros(1, 2))
    for bad in (
        {"dimensions": 4},
        {"widths": ()},
        {"blocks": 0},
        {"conditions": -1},
        {"objective": "x"},
    ):
        with pytest.raises(ArgumentError, match="a local network has"):
            LocalNetworkSpec(**({"dimensions": 2, "channels": 1, "widths": (4,)} | bad))  # type: ignore[arg-type]


CONDITIONS = (
    Condition("axis", ("z", "y", "x")),
    Condition("temperature", lowest=200.0, highest=300.0),
)


def description(**given: Any) -> LocalNetworkDescription:
    spec = LocalNetworkSpec(2, 3, (4, 4), conditions=4)
    phases = Phases(pore=0, solid=7, dirt=9)
    return LocalNetworkDescription(
        **{
            "spec": spec,
            "spacing_nm": (1.0, 2.0, 2.5),
            "phases": phases,
            "conditions": CONDITIONS,
            **given,
        }
    )


def test_a_file_gives_back_the_network_and_its_description(tmp_path: Path) -> None:
    about = description(training={"steps": 3})
    net = network(about.spec).float()
    digest = save_network(tmp_path / "net.safetensors", net, about)
    loaded, known, again = load_network(tmp_path / "net.safetensors")
    assert (replace(known, tim3d=""), again) == (about, digest)
    assert describe_network(tmp_path / "net.safetensors") == (known, digest)
    state, time = torch.zeros(1, 3, 8, 8), torch.tensor([0.4])
    assert torch.equal(loaded(state, time), net(state, time))
    assert save_network(tmp_path / "same.safetensors", loaded, known) == digest


def test_the_law_of_the_local_fraction_is_in_the_file_and_nothing_of_it_in_others(
    tmp_path: Path,
) -> None:
    spec, law = SPECS[-1], CoarseLaw(60.0, 0.4, 0.004, 0.01, 150.0, 40.0)
    about = LocalNetworkDescription(spec, (1.0, 1.0, 1.0), Phases(pore=0, solid=1), (), coarse=law)
    save_network(tmp_path / "net.safetensors", network(spec).float(), about)
    loaded, known, _ = load_network(tmp_path / "net.safetensors")
    assert (loaded.spec, known.coarse) == (spec, law)
    assert "coarse" not in description().to_json()
    for bad, changes in ((about, None), (description(), law)):
        with pytest.raises(ArgumentError, match="local fractions, and the description has"):
            replace(bad, coarse=changes)


def test_files_that_hold_something_else_are_refused(tmp_path: Path) -> None:
    about, path = description(), tmp_path / "net.safetensors"
    with pytest.raises(ArgumentError, match="the description says"):
        save_network(path, LocalNetwork(replace(about.spec, widths=(4,))), about)
    net = LocalNetwork(about.spec)
    write_weights(path, dict(list(net.state_dict().items())[:-1]), about.to_json())
    with pytest.raises(CheckpointError, match="does not fit its own description"):
        load_network(path)
    write_weights(path, net.state_dict(), '{"model":"generator"}')
    with pytest.raises(CheckpointError, match="generating volumes"):
        load_network(path)
    torch.nn.init.constant_(net.stem.weight, math.nan)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=r"stem\.weight holds values that are not finite"):
        save_network(path, net, about)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"phases": Phases(a=0, b=1)}, "2 phases have 1 channels"),
        ({"conditions": CONDITIONS[:1]}, "the conditions have 3 inputs"),
        ({"spacing_nm": (1.0, 0.0, 1.0)}, "positive lengths"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(change: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        description(**change)


def test_conditions_by_name() -> None:
    about = description()
    assert about.inputs({"axis": "x", "temperature": 300}) == (0, 0, 1, 1)
    assert np.isnan(about.inputs({})).all()
    assert about.beyond({"temperature": 220, "axis": "x"}) == []
    assert "by 10 % of its range" in about.beyond({"temperature": 190})[0]
    for bad, text in [
        ({"axis": "w"}, "z, y, x"),
        ({"heat": 1}, "axis, temperature"),
        ({"temperature": math.inf}, "finite"),
    ]:
        with pytest.raises(ArgumentError, match=text):
            about.inputs(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("phases", [0, 2, 3, 5])
def test_labels_and_grey_values_survive_as_a_state(phases: int) -> None:
    values = torch.randint(
        phases or 256, (2, 4, 5), generator=torch.Generator().manual_seed(0)
    ).byte()
    state = encoded(values, phases)
    assert state.shape == (2, state_channels(phases) or 1, 4, 5)
    assert float(state.abs().max()) <= 1
    assert torch.equal(decoded(state, phases), values)


# Code and tables of libraries that the larger work touches first, which a plan counts apart.
LIBRARY_PAGES = 24 * 2**20
MEASURED = """
import sys, torch
from torch.nn.functional import mse_loss
from tim3d.engine.clusters.memory import peak_memory
from tim3d.models.diffusion.local_network import LocalNetwork
from tim3d.models.diffusion.network_spec import LocalNetworkSpec
torch.set_num_threads(1)
dimensions, count, edge, learns = map(int, sys.argv[1:])
spec = LocalNetworkSpec(dimensions, 1, (32, 48))
net = LocalNetwork(spec)
adam = torch.optim.AdamW(net.parameters())
def work(count, edge):
    state = torch.randn((count, 1, *(edge,) * dimensions))
    with torch.set_grad_enabled(bool(learns)):
        loss = mse_loss(net(state, torch.rand(count)), state)
    if learns:
        adam.zero_grad()
        loss.backward()
        adam.step()
    return peak_memory()
before = work(1, 4 * spec.multiple)
planned = spec.training_bytes(edge, count) if learns else spec.forward_bytes((edge,) * dimensions)
print(work(count, edge) - before, planned)
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("dimensions", "count", "edge", "learns"),
    [(2, 32, 64, 1), (2, 1, 640, 0), (3, 4, 32, 1), (3, 1, 80, 0)],
)
def test_the_peak_of_memory_is_below_the_plan(
    dimensions: int, count: int, edge: int, learns: int
) -> None:
    given = [str(n) for n in (dimensions, count, edge, learns)]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *given], capture_output=True, text=True, check=True
    )
    measured, planned = map(int, done.stdout.split())
    assert planned / 3 < measured < planned + LIBRARY_PAGES
