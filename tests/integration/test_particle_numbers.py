"""Numbers of generated particles: those of a brute-force search, of any blocks, and on across the faces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tim3d
from tim3d.errors import ArgumentError, MixedRunError
from tim3d.generators import Box, Grains, Numbered, Overlapping, Packed, ThermalInterface
from tim3d.grid import Triple
from tim3d.kernels.conduction.conduction import conduct
from tim3d.phases import Phases
from tim3d.storage import store

QUIET = tim3d.Options(progress=False)
SPACING = (5.0, 4.0, 4.0)
SHAPE = (24, 32, 30)
CELL = (120.0, 128.0, 120.0)
GRAINS = Grains((32.0, 24.0), (1.0, 2.0))
PACKED = Packed(GRAINS, 0.45, SPACING, 3, CELL)
FLAKES = Packed(Grains((30.0,), (1.0,), 0.5, (1.0, 0.0, 0.0)), 0.4, SPACING, 3, CELL)
INTERFACE = ThermalInterface(GRAINS, 0.35, SPACING, 3, 100.0, 10.0, SHAPE[1:])


def generate(where: Path, model: Any, shape: Triple = SHAPE, **more: Any) -> str:
    url = str(where / "a.zarr")
    tim3d.generate(
        url, model, shape=shape, particles="grain", shard=(8, 16, 16), options=QUIET, **more
    )
    return url


def values(url: str, field: str = "grain") -> np.ndarray:
    return np.asarray(tim3d.open_field(url, field).values)


@pytest.mark.parametrize("model", [PACKED, FLAKES], ids=["spheres", "flakes"])
def test_each_voxel_has_the_number_of_the_nearest_image(model: Packed) -> None:
    cell, stretch = model.cell(), np.array(model.grains.stretch)
    centres = (np.indices(SHAPE).reshape(3, -1).T + 0.5) * SPACING
    apart = centres[:, None] - cell[None, :, :3]
    apart -= np.rint(apart / CELL) * CELL
    inside = ((apart / stretch) ** 2).sum(axis=2) <= (cell[:, 6] / 2) ** 2
    first = np.where(inside.any(axis=1), inside.argmax(axis=1) + 1, 0).reshape(SHAPE)
    found = model.numbers(Box.whole(SHAPE), SHAPE)
    assert (found == first).all()
    assert ((found > 0) == (model.labels(Box.whole(SHAPE)) == 1)).all()
    assert model.wrapped(SHAPE) == (0, 1, 2)


@pytest.mark.parametrize("model", [PACKED, FLAKES, INTERFACE])
@given(start=st.tuples(*[st.integers(0, 20)] * 3), edges=st.tuples(*[st.integers(1, 20)] * 3))
def test_a_box_has_the_numbers_of_the_whole(model: Any, start: Triple, edges: Triple) -> None:
    stop = tuple(min(a + b, n) for a, b, n in zip(start, edges, SHAPE, strict=True))
    box = Box(start, stop)  # type: ignore[arg-type]
    assert (model.numbers(box, SHAPE) == model.numbers(Box.whole(SHAPE), SHAPE)[box.slices]).all()


@pytest.mark.parametrize(
    ("shape", "wrapped"),
    [((24, 64, 60), (0, 1, 2)), ((24, 48, 30), (0, 2)), ((36, 40, 45), ()), ((12, 16, 15), ())],
)
def test_other_cells_hold_other_particles(shape: Triple, wrapped: tuple[int, ...]) -> None:
    """Voxels have one number if they are of one image, which goes on across the faces of whole cells."""
    found = PACKED.numbers(Box.whole(shape), shape)
    assert PACKED.wrapped(shape) == wrapped
    rows = np.array(PACKED.cell()[:, :3])
    for number in np.unique(found)[1:]:
        places = np.argwhere(found == number)
        own = rows[(number - 1) % len(rows)]
        apart = (places + 0.5) * SPACING - own
        images = np.rint(apart / CELL).astype(int)
        for axis, n in enumerate(shape):
            whole = round(n * SPACING[axis] / CELL[axis])
            seen = images[:, axis] % whole if axis in wrapped else images[:, axis]
            assert len(np.unique(seen)) == 1


def test_substrates_have_no_particle() -> None:
    labels, found = INTERFACE.labels(Box.whole(SHAPE)), INTERFACE.numbers(Box.whole(SHAPE), SHAPE)
    assert ((found > 0) == (labels == 1)).all()
    assert INTERFACE.wrapped(SHAPE) == (1, 2)
    assert len(np.unique(found)) - 1 == INTERFACE.count


def test_the_field_of_any_blocks(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    url = generate(one, PACKED)
    tim3d.generate(
        str(other / "a.zarr"), PACKED, shape=SHAPE, particles="grain", shard=SHAPE, options=QUIET
    )
    whole = PACKED.numbers(Box.whole(SHAPE), SHAPE)
    assert (values(url) == whole).all()
    assert (values(str(other / "a.zarr")) == whole).all()
    assert (values(url, "phase") == PACKED.labels(Box.whole(SHAPE))).all()
    assert store.node_attributes(url, "grain")["wraps"] == ["z", "y", "x"]
    field = store.read_field(url, "grain")
    assert (field.dtype, field.labels, field.phases) == ("uint32", True, None)


def test_a_volume_with_numbers_is_another_making(tmp_path: Path) -> None:
    url = generate(tmp_path, PACKED)
    with pytest.raises(MixedRunError, match="particles"):
        tim3d.generate(url, PACKED, shape=SHAPE, shard=(8, 16, 16), options=QUIET)


def test_numbers_belong_to_the_labels_beside_which_they_were_written(tmp_path: Path) -> None:
    url = generate(tmp_path, PACKED)
    how: Any = {
        "conductivity": {"matrix": 0.2, "filler": 30.0}, "interface": {"filler:filler": 1e7}, "options": QUIET,
    }  # fmt: skip
    other = Packed(GRAINS, 0.4, SPACING, 4, CELL)
    again = tim3d.Options(progress=False, overwrite=True)
    # They are not replaced by those of another field, even with --overwrite.
    for options in (QUIET, again):
        with pytest.raises(MixedRunError, match=r"'grain' too, .* belongs to 'phase'.*--particles"):
            tim3d.generate(
                url,
                other,
                shape=SHAPE,
                out="other",
                particles="grain",
                shard=(8, 16, 16),
                options=options,
            )
    assert "other" not in store.nodes(url)
    tim3d.generate(
        url, other, shape=SHAPE, out="other", particles="grain2", shard=(8, 16, 16), options=QUIET
    )
    with pytest.raises(ArgumentError, match="'grain2' were written beside 'other' and not beside"):
        tim3d.solve(url, particles="grain2", **how)
    with pytest.raises(ArgumentError, match="holds the phases matrix, filler"):
        tim3d.solve(url, particles="phase", **how)
    tim3d.solve(url, particles="grain", **how)
    # Labels that are replaced without them leave them outdated.
    tim3d.generate(url, other, shape=SHAPE, shard=(8, 16, 16), options=again)
    with pytest.raises(MixedRunError, match=r"'grain' .* was made from another version of 'phase'"):
        tim3d.solve(url, particles="grain", **how)


def test_labels_whose_numbers_are_gone_are_not_complete(tmp_path: Path) -> None:
    url = generate(tmp_path, PACKED)
    generate(tmp_path, PACKED)
    store.delete_node(url, "grain")
    with pytest.raises(
        MixedRunError, match=r"together with 'phase' .* it is not there.*--overwrite"
    ):
        generate(tmp_path, PACKED)


@pytest.mark.parametrize("name", ["", 3, True, ["a"], b"x"])
def test_a_name_of_numbers_is_a_text(tmp_path: Path, name: Any) -> None:
    with pytest.raises(ArgumentError, match="it is the name of the field of their numbers"):
        tim3d.generate(str(tmp_path / "a.zarr"), PACKED, shape=SHAPE, particles=name, options=QUIET)


def test_a_cut_particle_is_one_for_a_periodic_solution(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Shifting a periodic volume changes nothing; numbers that end at the faces make it resist more."""
    dense = Packed(GRAINS, 0.55, (4.0,) * 3, 3, (96.0, 96.0, 96.0))
    url = generate(tmp_path, dense, (24, 24, 24))
    labels, numbers = values(url, "phase"), values(url)
    how: Any = {"spacing": (4.0,) * 3, "interface": {(1, 1): 0.02}, "tolerance": 1e-6, "cell": True}
    k = {0: 0.2, 1: 30.0}

    def conductivity(shift: Triple) -> float:
        turned = [np.roll(one, shift, (0, 1, 2)) for one in (labels, numbers)]
        return conduct(turned[0], k, particles=turned[1], **how).conductivity

    first = conductivity((0, 0, 0))
    assert conductivity((5, 11, 17)) == pytest.approx(first, rel=1e-5)
    halves = numbers + 1000 * (np.indices(numbers.shape)[0] < 12) * (numbers > 0)
    cut = conduct(labels, k, particles=halves, **how).conductivity
    assert cut < 0.95 * first
    found = tim3d.solve(
        url,
        conductivity={"matrix": 0.2, "filler": 30.0},
        cell=True,
        interface={"filler:filler": 0.02e9},
        particles="grain",
        tolerance=1e-6,
        options=QUIET,
    )
    assert found.effective_conductivity.item() == pytest.approx(first, rel=1e-5)
    assert "counts as two" not in caplog.text


@dataclass(frozen=True)
class Wide(Numbered):
    """Numbers of the wrong type."""

    kind = "wide"
    spacing_nm = (1.0, 1.0, 1.0)
    phases = Phases(matrix=0, filler=1)

    def labels(self, box: Box) -> np.ndarray:
        return np.ones(box.shape, np.uint8)

    def numbers(self, box: Box, shape: Triple) -> np.ndarray:
        return np.ones(box.shape, np.int64)

    def wrapped(self, shape: Triple) -> tuple[int, ...]:
        return ()

    def block_bytes(self, core: Triple) -> int:
        return 10 * int(np.prod(core))


def test_what_cannot_be_numbered_is_refused(tmp_path: Path) -> None:
    loose = Overlapping(GRAINS, 0.2, SPACING, 1)
    for model, name, said in (
        (loose, "grain", "'overlapping' does not tell particles apart"),
        (PACKED, "phase", "is the field of the phases"),
        (Wide(), "grain", "numbered particles by int64"),
    ):
        with pytest.raises(ArgumentError, match=said):
            tim3d.generate(
                str(tmp_path / name / "a.zarr"), model, shape=SHAPE, particles=name, options=QUIET
            )


def test_grains_below_three_voxels_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By the longest edge of a voxel and the shortest axis of a grain."""
    for grains, is_said in (
        (Grains((15.0,), (1.0,)), False),
        (Grains((14.9,), (1.0,)), True),
        (Grains((16.0,), (1.0,), 0.5), True),
        (Grains((16.0, 14.0), (1.0, 1.0)), True),
    ):
        caplog.clear()
        model = Overlapping(grains, 0.2, SPACING, 1)
        tim3d.generate(
            str(tmp_path / str(grains) / "a.zarr"), model, shape=(8, 8, 8), options=QUIET
        )
        assert ("below 3 the volume" in caplog.text) == is_said
    assert "40.1 % of the volume" in caplog.text
