"""A volume by diffusion is one plain evaluation of all voxels in each step; blocks, workers and kills change no bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tim3d
from tests.diffusers import TWO, giant, saved, volume
from tests.works import dying_at
from tim3d.errors import ArgumentError, CheckpointError
from tim3d.generators import Box, Diffusion
from tim3d.grid import Triple
from tim3d.kernels.generation.iterated import last_state, means_of, sums_of
from tim3d.models.diffusion import reverse_field
from tim3d.models.diffusion.reverse_field import DiffusionField
from tim3d.stages.generation.iteration import StepWork
from tim3d.storage import store

SHAPE = (10, 18, 13)
HEAT = {"temperature": 240.0}
# Each with another network or another rule.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "volumes": ("volumes", {}),
    "periodic volumes": ("volumes", {"periodic": True}),
    "mean of planes": ("sections", {"conditions": HEAT, "planes": "mean"}),
    "joint planes": ("sections", {"conditions": HEAT, "sampler": "euler", "steps": 3}),
    "alternating planes": ("sections", {"planes": "alternating", "steps": 4}),
    "three phases": ("three phases", {}),
    "coarse field": ("coarse volumes", {}),
    "periodic coarse field": ("coarse volumes", {"periodic": True}),
    "coarse field by planes": ("coarse sections", {}),
    "coarse field by turns": ("coarse sections", {"planes": "alternating", "steps": 4}),
}
EVERY = pytest.mark.parametrize("name", KINDS)


def field(folder: Path, name: str, shape: Triple = SHAPE, **more: Any) -> DiffusionField:
    """The volume of a kind in memory."""
    made = diffusion(folder, name, **more).of_shape(shape)
    assert isinstance(made, DiffusionField)
    return made


def diffusion(folder: Path, name: str, **more: Any) -> Diffusion:
    of, given = KINDS[name]
    settings = {"steps": 2, "seed": 3, "tile": 16, "device": "cpu", **given, **more}
    return Diffusion(saved(folder, of), **settings)


@pytest.mark.long
@EVERY
def test_passes_over_tiles_are_the_giant_evaluation(tmp_path: Path, name: str) -> None:
    """To rounding of float32 against float64, over tiles of two sizes, the last ones cut."""
    shape = (10, 18, 12) if "periodic" in name else SHAPE
    small = field(tmp_path, name, shape)
    plain = giant(small)
    moved = np.abs(plain - small.begin(small.domain)).mean()
    assert moved > 0.2, "the network has a say"
    for edge in (16, 24):
        state = last_state(replace(small, tile=edge))
        assert np.abs(state - plain).max() < 2e-4
    labels = small.labels(Box.whole(shape))
    expected = volume(small, plain)
    sure = np.abs(expected[0]) > 1e-3
    if name != "three phases":
        assert np.array_equal(labels[sure], (expected[0] > 0)[sure])
    assert len(np.unique(labels)) == len(small.phases or ())


class WindowStatistics(nn.Module):
    """A layer that divides by the spread of the whole window."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values / values.std()


@pytest.mark.long
def test_a_network_with_statistics_of_the_window_fails_the_same_law(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: it differs from the giant evaluation by far more than rounding, and between tiles."""
    small, more = field(tmp_path, "volumes"), WindowStatistics()
    home = reverse_field.home(small)
    net = home.nets[0]
    monkeypatch.setattr(home, "nets", [lambda *inputs: more(net(*inputs))])
    state = last_state(small)
    assert np.abs(state - giant(small, more)).max() > 0.02
    other = replace(small, tile=24)
    monkeypatch.setattr(reverse_field.home(other), "nets", [lambda *inputs: more(net(*inputs))])
    assert np.abs(last_state(other) - state).max() > 0.02


@pytest.mark.long
@EVERY
def test_blocks_are_the_volume_in_memory(tmp_path: Path, name: str) -> None:
    shape = (10, 18, 12) if "periodic" in name else SHAPE
    whole = field(tmp_path, name, shape)
    codes = np.array(list((whole.phases or TWO).codes))
    expected = codes[whole.labels(Box.whole(shape))]
    made = generated(tmp_path, name, shape, (16, 32, 16))
    assert np.array_equal(made, expected)
    assert store.nodes(str(tmp_path / "16x32x16.zarr")) == [made.name]


def generated(
    folder: Path, name: str, shape: Triple = SHAPE, block: Triple | None = None, **more: Any
) -> Any:
    edges = "x".join(map(str, block or (0,)))
    options = tim3d.Options(block=block, progress=False)
    given: dict[str, Any] = {"shape": shape, "shard": (8, 8, 8), "options": options}
    return tim3d.generate(str(folder / f"{edges}.zarr"), diffusion(folder, name, **more), **given)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("volumes", {}),
        ("volumes", {"sampler": "heun"}),
        ("volumes", {"sampler": "ancestral", "harmonise": 2}),
        ("volumes", {"stored": "float16"}),
        ("volumes", {"fractions": {"pore": 0.37, "solid": 0.63}}),
        ("joint planes", {"sampler": None}),
        ("joint planes", {"harmonise": 2, "steps": 2, "stored": "float16"}),
        ("coarse field", {"coarse": 1.5}),
    ],
    ids=str,
)
def test_three_blockings_and_two_deaths_give_the_same_bits(
    tmp_path: Path, name: str, more: dict[str, Any]
) -> None:
    whole = field(tmp_path, name, **more)
    expected = np.array([2, 5])[whole.labels(Box.whole(SHAPE))]
    for block in ((16, 16, 16), (16, 48, 32), (32, 24, 48)):
        assert np.array_equal(generated(tmp_path, name, block=block, **more), expected)
    for number in (3, 14):
        with dying_at(StepWork, number):
            generated(tmp_path, name, block=(16, 32, 32), **more)
    assert np.array_equal(generated(tmp_path, name, block=(16, 32, 32), **more), expected)
    if "fractions" in more:
        assert (expected == 2).sum() == round(0.37 * expected.size)


@pytest.mark.long
@pytest.mark.parametrize("name", ["mean of planes", "joint planes"])
def test_any_workers_give_the_same_bits(tmp_path: Path, two_workers: str, name: str) -> None:
    expected = np.array([2, 5])[field(tmp_path, name).labels(Box.whole(SHAPE))]
    with tim3d.cluster(two_workers):
        made = generated(tmp_path, name, block=(16, 16, 32))
    assert np.array_equal(made, expected)


@pytest.mark.long
def test_a_larger_volume_has_the_smaller_in_it_beyond_the_reach_of_all_steps(
    tmp_path: Path,
) -> None:
    """Bit for bit; nearer to a face voxels depend on what lies across it, in another domain."""
    small, large = (field(tmp_path, "three phases", (n,) * 3) for n in (20, 28))
    far = small.halo_edge * small.passes
    assert small.domain.start == large.domain.start
    inside = Box(
        tuple(far + a for a in small.domain.start), tuple(b - far for b in small.domain.stop)
    )  # type: ignore[arg-type]
    assert min(inside.shape) >= 8
    assert np.array_equal(small.labels(inside), large.labels(inside))
    assert not np.array_equal(
        small.labels(Box.whole((20,) * 3)), large.labels(Box.whole((20,) * 3))
    )


@pytest.mark.parametrize("name", ["periodic volumes", "periodic coarse field"])
def test_a_periodic_volume_repeats_itself(tmp_path: Path, name: str) -> None:
    made = field(tmp_path, name, (8, 12, 10))
    labels = made.labels(Box.whole((8, 12, 10)))
    twice = made.labels(Box((-8, 0, 5), (8, 24, 15)))
    expected = np.roll(np.tile(labels, (2, 2, 1)), -5, axis=2)
    assert np.array_equal(twice, expected)


@pytest.mark.long
def test_seeds_and_conditions_change_the_volume_and_three_files_are_three_planes(
    tmp_path: Path,
) -> None:
    box = Box.whole(SHAPE)
    first = field(tmp_path, "mean of planes").labels(box)
    assert not np.array_equal(first, field(tmp_path, "mean of planes", seed=4).labels(box))
    hot = field(tmp_path, "mean of planes", conditions={"temperature": "290"})
    assert not np.array_equal(first, hot.labels(box))
    same, other = saved(tmp_path, "sections"), saved(tmp_path, "sections", seed=1)
    settings: dict[str, Any] = {
        "steps": 2,
        "seed": 3,
        "tile": 16,
        "device": "cpu",
        "conditions": HEAT,
        "planes": "mean",
    }
    three = Diffusion((same, same, same), **settings).of_shape(SHAPE)
    assert np.array_equal(three.labels(box), first)
    mixed = Diffusion((same, other, same), **settings).of_shape(SHAPE)
    assert not np.array_equal(mixed.labels(box), first)


@pytest.mark.parametrize(
    ("more", "planes", "sampler", "steps"),
    [
        ({}, "joint", "ancestral", 32),
        ({"planes": "mean"}, "mean", "euler", 16),
        ({"sampler": "heun"}, "mean", "heun", 16),
        (
            {"target": {"phase_fraction": 0.4}, "scatter": {"phase_fraction": 0.01}},
            "joint",
            "ancestral",
            32,
        ),
        ({"steps": 8, "sampler": "euler"}, "joint", "euler", 8),
    ],
    ids=str,
)
def test_planes_are_taken_together_where_nothing_else_is_asked_for(
    tmp_path: Path, more: dict[str, Any], planes: str, sampler: str, steps: int
) -> None:
    made = Diffusion(saved(tmp_path, "sections"), tile=16, device="cpu", **more).of_shape((16,) * 3)
    assert isinstance(made, DiffusionField)
    assert (made.planes, made.process.sampler, made.process.steps) == (planes, sampler, steps)


@pytest.mark.long
def test_the_mean_of_a_joint_state_is_that_of_the_data_at_its_time(tmp_path: Path) -> None:
    """Whatever the state was: what a pass looks at has the mean t (2 share - 1) over the domain."""
    made = field(tmp_path, "joint planes")
    share = reverse_field.home(made).shares[1]
    state = made.begin(made.domain) + np.float32(0.7)
    looked = made.balanced(3, state, means_of(sums_of(state), state[0].size))
    assert looked.mean() == pytest.approx(2 / 3 * (2 * share - 1), abs=1e-5)


@pytest.mark.parametrize(
    ("name", "shape", "more", "words"),
    [
        (
            "volumes",
            SHAPE,
            {"tile": 7},
            "multiples of 2 voxels only; give one above 0, for example --tile 6",
        ),
        ("volumes", (9, 10, 12), {"periodic": True}, "give --shape 8,10,12"),
        ("volumes", SHAPE, {"steps": 0}, "give 1 or more"),
        ("volumes", SHAPE, {"planes": "two"}, "choose of joint, mean, alternating"),
        ("volumes", SHAPE, {"conditions": HEAT}, "has no condition 'temperature'; it has none"),
        (
            "volumes",
            SHAPE,
            {"fractions": {"pore": 0.3, "oxide": 0.7}},
            "of the phases pore and solid",
        ),
        ("volumes", SHAPE, {"fractions": {"pore": 0.3, "solid": 0.6}}, "add up to 1, not 0.9"),
        ("three phases", SHAPE, {"fractions": {"pore": 0.3}}, "between two phases"),
        ("mean of planes", SHAPE, {"conditions": {"axis": "z"}}, "leave out axis"),
        ("volumes", SHAPE, {"seed": -1}, "seed -1 is not between 0"),
        ("volumes", SHAPE, {"coarse": 1.0}, "was trained without it: leave it out"),
        ("coarse field", SHAPE, {"coarse": -1.0}, "give a number from 0 to below 4.14"),
        ("coarse field", SHAPE, {"coarse": 4.2}, "would leave 0 to 1"),
        ("joint planes", SHAPE, {"planes": "joint", "sampler": "heun"}, "does not go with"),
        ("coarse field by planes", SHAPE, {"planes": "joint"}, "was trained with a local fraction"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    tmp_path: Path, name: str, shape: Triple, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(ArgumentError, match=words):
        field(tmp_path, name, shape, **more)


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    volumes, sections, three = (saved(tmp_path, n) for n in ("volumes", "sections", "three phases"))
    with pytest.raises(ArgumentError, match="give one network, or three"):
        Diffusion((sections, sections))
    with pytest.raises(ArgumentError, match="is a network of volumes: give it alone"):
        Diffusion((volumes, three, volumes)).of_shape(SHAPE)
    coarse = saved(tmp_path, "coarse sections")
    with pytest.raises(ArgumentError, match="another law of the local fraction"):
        Diffusion((coarse, coarse, sections)).of_shape(SHAPE)
    with pytest.raises(ArgumentError, match="other phases or dimensions"):
        Diffusion((sections, three, sections)).of_shape(SHAPE)
    planned = field(tmp_path, "volumes")
    saved(tmp_path, "volumes").write_bytes(saved(tmp_path, "volumes", seed=5).read_bytes())
    with pytest.raises(CheckpointError, match="was planned with"):
        planned.labels(Box.whole(SHAPE))


def test_conditions_outside_the_training_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    field(tmp_path, "mean of planes", conditions={"temperature": 350.0})
    assert "temperature 350 is outside the training, 200 to 300, by 50 %" in caplog.text


def test_a_coarse_field_moves_the_volume_and_none_of_it_is_the_same_fraction(
    tmp_path: Path,
) -> None:
    """Its amount is recorded; three phases have none."""
    box = Box.whole(SHAPE)
    made = {n: field(tmp_path, "coarse field", coarse=n) for n in (None, 1.0, 0.0, 2.0)}
    labels = {n: one.labels(box).tobytes() for n, one in made.items()}
    assert labels[None] == labels[1.0]
    assert len(set(labels.values())) == 3
    assert made[2.0].description()["coarse"]["amount"] == 2
    assert "coarse" not in field(tmp_path, "three phases").description()
    sections = field(tmp_path, "coarse field by planes").coarse
    assert sections is not None
    assert sections.parts == "slow"
