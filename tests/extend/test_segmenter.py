"""A segmenter of one's own is a value: no block shows in its maps, and what it declares wrongly is one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tim3d
from tests.extend.local_contrast import LocalContrast, segment
from tim3d.commands import renewal
from tim3d.errors import ArgumentError, FailedBlocksError, InputError, MixedRunError, Tim3dError
from tim3d.grid import Box, Triple
from tim3d.models.segmentation.segmenter import opened
from tim3d.storage import store

pytestmark = pytest.mark.usefixtures("forked_workers")

QUIET = tim3d.Options(progress=False, block=(8, 16, 16))
PAGE = Path(__file__).parents[2] / "docs" / "extend.md"
SOURCE = Path(__file__).with_name("local_contrast.py")
BEYOND = tim3d.Map("beyond", "grey above the mean of its neighbours")


@dataclass(frozen=True)
class Ranked(tim3d.Segmenter):
    """By the mean of the neighbours within a reach, in integers: any box will do."""

    reach: int = 1
    given: list[int] = field(default_factory=list, repr=False)
    kind: ClassVar[str] = "ranked"
    classes = ("low", "high")
    maps = (BEYOND, tim3d.Map("share", "share of {}", dtype="uint8", per_class=True))

    @property
    def halo(self) -> Triple:  # type: ignore[override]
        return (self.reach, self.reach, self.reach)

    def description(self) -> dict[str, Any]:
        return {"kind": self.kind, "reach": self.reach}

    def open(self) -> Callable[..., Mapping[str, np.ndarray]]:
        return self.rank

    def rank(self, grey: np.ndarray, place: Box) -> Mapping[str, np.ndarray]:
        assert grey.shape == place.shape
        self.given.append(grey.size)
        wide = np.pad(grey.astype(np.int64), self.reach, mode="edge")
        edge = (2 * self.reach + 1,) * 3
        total = np.lib.stride_tricks.sliding_window_view(wide, edge).sum(axis=(3, 4, 5))
        above = grey.astype(np.int64) * edge[0] ** 3 - total
        high = (above > 0).astype(np.uint8)
        return {
            "labels": high,
            "beyond": above.astype(np.float32),
            "share": np.stack([1 - high, high]),
        }


@pytest.fixture(scope="module")
def grey() -> np.ndarray:
    return np.random.default_rng(0).integers(60, 150, (23, 41, 37)).astype(np.uint8)


@pytest.fixture
def sample(tmp_path: Path, grey: np.ndarray) -> str:
    np.save(tmp_path / "grey.npy", grey)
    url = str(tmp_path / "s.zarr")
    size = {"z": 10, "y": 5, "x": 5}
    options = tim3d.Options(progress=False)
    tim3d.ingest(tmp_path / "grey.npy", url, voxel_size=size, shard=(8, 16, 16), options=options)
    return url


def test_labels_and_uncertainty_are_the_same_for_two_blockings(sample: str) -> None:
    labels, uncertainty = (one.compute() for one in segment(sample, (8, 16, 16)))
    again, unsure = (one.compute() for one in segment(sample, (24, 48, 16)))
    np.testing.assert_array_equal(labels, again)
    np.testing.assert_array_equal(uncertainty, unsure)
    assert set(np.unique(labels)) == {1, 5}
    assert uncertainty.dtype == np.float32
    assert uncertainty.attrs == {"long_name": "entropy of pore and solid", "units": "bit"}
    assert 0 <= uncertainty.min() < 0.9 < uncertainty.max() <= 1.000001


def test_it_takes_at_most_sixty_lines_and_the_page_shows_them() -> None:
    code = SOURCE.read_text()
    assert len(code.splitlines()) <= 60
    assert code.partition("from __future__")[2] in PAGE.read_text()


shapes = st.tuples(st.integers(1, 19), st.integers(1, 23), st.integers(1, 23))


@given(data=st.data(), shape=shapes)
def test_any_core_has_the_maps_of_the_whole(data: st.DataObject, shape: Triple) -> None:
    halo = tuple(data.draw(st.integers(0, 2), label="halo") for _ in range(3))
    window = tuple(2 * h + data.draw(st.integers(1, 5), label="kept") for h in halo)
    seen = data.draw(
        st.sampled_from([Windowed(window=window, halo=halo), Ranked(reach=2)]), label="segmenter"
    )
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    core = Box(
        start, tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
    )  # type: ignore[arg-type]
    volume = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    whole, box = Box.whole(shape), seen.read_box(shape, core)
    everywhere = seen.region(shape, whole, volume, whole)
    for name, values in seen.region(shape, core, volume[box.slices], box).items():
        np.testing.assert_array_equal(values, everywhere[name][(..., *core.slices)])
    if isinstance(seen, Ranked):
        np.testing.assert_array_equal(everywhere["beyond"], seen.rank(volume, whole)["beyond"])


@dataclass(frozen=True)
class Windowed(LocalContrast):
    """Looks at a whole window: its mean, and where it lies."""

    window: Triple = (3, 5, 7)
    halo: Triple = (1, 1, 1)

    def look(self, grey: np.ndarray, place: object) -> Mapping[str, np.ndarray]:
        assert isinstance(place, Box)
        assert grey.shape == place.shape == self.window
        from_start = np.indices(grey.shape).sum(axis=0) + sum(place.start)
        beyond = (grey - grey.mean() + from_start).astype(np.float32)
        return {"labels": (beyond > 0).astype(np.uint8), "uncertainty": beyond}


@dataclass(frozen=True)
class Deep(Windowed):
    """Sees slices before and after the one that it labels."""

    window: Triple = (1, 8, 8)
    halo: Triple = (0, 2, 2)
    context: int = 2

    def look(self, grey: np.ndarray, place: object) -> Mapping[str, np.ndarray]:
        assert grey.shape == (5, 8, 8)
        middle = grey.astype(np.float32).mean(axis=0, keepdims=True)
        return {"labels": (middle > 100).astype(np.uint8), "uncertainty": middle}


def test_slices_beside_a_window_are_seen(sample: str, grey: np.ndarray) -> None:
    tim3d.segment(sample, segmenter=Deep(), out="deep", options=QUIET)
    wide = np.pad(grey.astype(np.float32), ((2, 2), (0, 0), (0, 0)), mode="reflect")
    expected = np.stack([wide[z : z + 5].mean(axis=0) for z in range(len(grey))])
    np.testing.assert_allclose(tim3d.open_field(sample, "deep_uncertainty"), expected, rtol=1e-6)


def test_maps_without_windows_are_those_of_the_whole_volume(sample: str, grey: np.ndarray) -> None:
    expected = Ranked(reach=3).rank(grey, Box.whole(grey.shape))  # type: ignore[arg-type]
    phases = tim3d.Phases(all=9)
    seen = Ranked(reach=3)
    plans = tim3d.plan("segment", sample, segmenter=seen, out="r", options=QUIET)
    assert (
        plans[0].write_bytes == 7 * grey.size
    )  # labels, a map in four bytes, a share of each class
    tim3d.segment(
        sample,
        segmenter=seen,
        merge={"low": "all", "high": "all"},
        phases=phases,
        out="r",
        options=QUIET,
    )
    assert np.unique(tim3d.open_field(sample, "r")) == [9]
    np.testing.assert_array_equal(tim3d.open_field(sample, "r_beyond"), expected["beyond"])
    np.testing.assert_array_equal(tim3d.open_field(sample, "r_share_high"), expected["share"][1])
    assert tim3d.open_field(sample, "r_share_low").attrs["long_name"] == "share of low"


def test_workers_give_the_same_bits(sample: str, two_workers: str) -> None:
    labels, uncertainty = (one.compute() for one in segment(sample, (8, 16, 16)))
    with tim3d.cluster(two_workers):
        again, unsure = (one.compute() for one in segment(sample, (8, 48, 16)))
    np.testing.assert_array_equal(labels, again)
    np.testing.assert_array_equal(uncertainty, unsure)


@dataclass(frozen=True)
class Counted(Windowed):
    """Notes in a file each time that it is opened, and falls where the file says so."""

    notes: str = ""

    def open(self) -> Callable[..., Mapping[str, np.ndarray]]:
        with Path(self.notes).open("a") as file:
            file.write("opened\n")
        return self.look

    def look(self, grey: np.ndarray, place: object) -> Mapping[str, np.ndarray]:
        if isinstance(place, Box) and place.start[0] > 16 and Path(self.notes + ".fall").exists():
            raise RuntimeError("out of luck")
        return super().look(grey, place)


def test_it_is_opened_once_and_an_interrupted_run_goes_on(sample: str, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    fall = Path(f"{notes}.fall")
    fall.touch()
    seen = Counted(notes=str(notes))
    with pytest.raises(FailedBlocksError):
        tim3d.segment(sample, segmenter=seen, out="c", options=QUIET)
    fall.unlink()
    assert tim3d.plan("segment", sample, segmenter=seen, out="c", options=QUIET)[0].left == 9
    tim3d.segment(sample, segmenter=seen, out="c", options=QUIET)
    tim3d.segment(sample, segmenter=Windowed(), out="w", options=QUIET)
    for name in ("", "_uncertainty"):
        np.testing.assert_array_equal(
            tim3d.open_field(sample, f"c{name}"), tim3d.open_field(sample, f"w{name}")
        )
    assert notes.read_text() == "opened\n"


def test_a_class_that_is_defined_again_is_opened_again() -> None:
    one, two = made(look=lambda *_: {"labels": 1}), made(look=lambda *_: {"labels": 2})
    assert one.description() == two.description()
    assert [dict(opened(each)()) for each in (one, two, one)] == [
        {"labels": 1},
        {"labels": 2},
        {"labels": 1},
    ]


def test_another_version_is_another_field(sample: str) -> None:
    tim3d.segment(sample, segmenter=LocalContrast(), out="new", options=QUIET)
    with pytest.raises(MixedRunError, match=r"version was 1, now 2"):
        tim3d.segment(sample, segmenter=made(version=2), out="new", options=QUIET)


def made(**of: Any) -> tim3d.Segmenter:
    """A segmenter with some attributes of its class changed."""
    return type("Made", (LocalContrast,), of)()  # type: ignore[no-any-return]


WRONG = [
    (made(kind=""), "Made has no kind"),
    (made(classes=("pore",)), "2 to 255 names, each once"),
    (made(classes=("pore", "pore")), "2 to 255 names, each once"),
    (made(halo=(1, -1, 0)), "none may be negative"),
    (made(halo=(5, 3, 4)), "leaves nothing of a window"),
    (made(context=1), "slices as channels need windows one slice thick"),
    (made(context=1, window=None), "no window: give one"),
    (made(total_stride=(1, 8, 8)), "window 20 along y is not a multiple"),
    (made(maps=(BEYOND, BEYOND)), "each name once"),
    (made(maps=(tim3d.Map("labels", "again"),)), "each name once"),
    (made(maps=(tim3d.Map("a/b", "odd"),)), "a field cannot be called"),
    (made(maps=(tim3d.Map("wide", "odd", dtype="float64"),)), "tim3d stores"),  # type: ignore[arg-type]
    (LocalContrast(level=float("nan")), "cannot be described in JSON"),
    (LocalContrast, "is not a tim3d.Segmenter"),
    ("forest", "is not a tim3d.Segmenter"),
]


@pytest.mark.parametrize(("segmenter", "says"), WRONG, ids=[says for _, says in WRONG])
def test_what_cannot_be_laid_over_the_volume_is_refused_before_any_work(
    sample: str, segmenter: Any, says: str
) -> None:
    before = store.nodes(sample)
    for act in (tim3d.segment, lambda url, **how: tim3d.plan("segment", url, **how)):
        with pytest.raises(Tim3dError, match=says) as caught:
            act(sample, segmenter=segmenter, out="new", options=QUIET)  # type: ignore[operator]
        assert "\n" not in str(caught.value)
    assert store.nodes(sample) == before


def giving(**changed: Any) -> tim3d.Segmenter:
    """A segmenter that gives other maps than it declares; None leaves one out."""

    def look(self: Any, grey: np.ndarray, place: Box) -> Mapping[str, np.ndarray]:
        found = {**LocalContrast.look(self, grey, place), **changed}
        return {name: values for name, values in found.items() if values is not None}

    return made(look=look)


BAD = [
    ({"uncertainty": None}, "gave no 'uncertainty'"),
    ({"labels": None}, "gave no 'labels'"),
    ({"labels": np.zeros((10, 20, 24))}, r"'labels' as float64 .* must be uint8"),
    (
        {"uncertainty": np.zeros((6, 14, 16), np.float32)},
        r"shape \(6, 14, 16\); it must be float32 of \(10, 20, 24\)",
    ),
    ({"labels": np.full((10, 20, 24), 2, np.uint8)}, "gave the label 2; its classes are 0 to 1"),
]


@pytest.mark.parametrize(("changed", "says"), BAD, ids=[says for _, says in BAD])
def test_other_maps_than_declared_are_one_line_and_leave_nothing(
    sample: str, changed: dict[str, Any], says: str
) -> None:
    before = store.nodes(sample)
    with pytest.raises(InputError, match=says) as caught:
        tim3d.segment(sample, segmenter=giving(**changed), out="new", options=QUIET)
    assert "\n" not in str(caught.value)
    assert store.nodes(sample) == before


@pytest.mark.parametrize(
    "other",
    [
        {"method": "otsu"},
        {"model": "a.safetensors"},
        {"batch": 2},
        {"blur": "binomial"},
        {"halo": 4},
    ],
)
def test_what_belongs_to_another_segmenter_is_refused(sample: str, other: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=r"needs either|changes nothing with a segmenter"):
        tim3d.segment(sample, segmenter=LocalContrast(), out="new", options=QUIET, **other)


def test_phases_are_found_by_the_names_of_the_classes(sample: str) -> None:
    with pytest.raises(
        ArgumentError, match=r"'local-contrast' has 2 classes \(pore, solid\), and 2 phases"
    ):
        tim3d.segment(
            sample, segmenter=LocalContrast(), phases=tim3d.Phases(pore=0, copper=1), options=QUIET
        )


def test_a_parameter_makes_another_field_and_the_call_is_recorded(sample: str) -> None:
    tim3d.segment(sample, segmenter=LocalContrast(), out="new", options=QUIET)
    with pytest.raises(Tim3dError, match=r"level was 110, now 100"):
        tim3d.segment(sample, segmenter=LocalContrast(level=100.0), out="new", options=QUIET)
    record = store.node_attributes(sample, "new_uncertainty")
    assert record["parameters"]["kind"] == "local-contrast"
    again = (
        f"tim3d.segment({sample!r}, segmenter=LocalContrast(level=110.0, softness=12.0), out='new')"
    )
    assert renewal(record, sample) == again
