"""Drawn objects are propagated through a stack: a known answer, any blocks, and the stack upside down."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tim3d
from tests.promptable import Threshold
from tim3d import Options, Phases
from tim3d.errors import ArgumentError
from tim3d.kernels.masks.mask_set import boxed
from tim3d.models.promptable.mask_rules import AsObjects
from tim3d.models.promptable.prompted_segmenter import PromptedSegmenter
from tim3d.models.promptable.propagating_segmenter import Drawn, PropagatingSegmenter
from tim3d.models.promptable.propagation import FixedPrompts, Propagation, between
from tim3d.storage import store

SHAPE = (13, 40, 56)
QUIET = Options(progress=False, overwrite=True)
PHASES = Phases(none=0, cell=1, fibre=2)


def ellipses() -> np.ndarray:
    """A body that drifts and grows, and one that ends in slice 8."""
    z, y, x = np.indices(SHAPE)
    made = np.zeros(SHAPE, np.uint8)
    made[np.hypot(y - 12 - z / 2, x - 14 - z) <= 6 + z / 6] = 1
    made[(np.hypot(y - 28, x - 12) <= 5) & (z < 8)] = 2
    return made


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Bodies in grey values, and drawn in two slices; both also upside down."""
    folder = tmp_path_factory.mktemp("propagated")
    truth = ellipses()
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[[2, 10]] = truth[[2, 10]]
    grey = np.where(truth > 0, 200, 60) + np.random.default_rng(0).integers(-3, 4, SHAPE)
    fields: dict[str, tuple[Any, Phases | None]] = {
        "raw": (grey, None), "drawn": (drawn, PHASES), "truth": (truth, PHASES),
        "raw_turned": (grey[::-1], None), "drawn_turned": (drawn[::-1], PHASES),
    }  # fmt: skip
    path = str(folder / "a.zarr")
    for name, (values, phases) in fields.items():
        np.save(folder / "volume.npy", values.astype(np.uint8))
        tim3d.ingest(
            folder / "volume.npy", path, voxel_size={"z": 10, "y": 5, "x": 5}, field=name, phases=phases,
            shard=(2, 16, 32), accept=["saturated"], options=QUIET,
        )  # fmt: skip
    return path


NAMES = (("cell", 1), ("fibre", 2))


def propagated(
    sample: str,
    turned: str = "",
    block: Any = None,
    depth: int = 32,
    names: Any = NAMES,
    **how: Any,
) -> np.ndarray:
    """Labels and quality of a network that answers with bright components."""
    field = f"drawn{turned}"
    drawn = Drawn(sample, field, store.fingerprint_of(sample, field), names)
    asking = PromptedSegmenter(Threshold(), FixedPrompts(), AsObjects(empty="accept"), SHAPE[1:])
    how_far = Propagation(**{"reach": 6, "give": "both", "least": 0.3, "smallest": 4} | how)
    tim3d.segment(
        sample, field=f"raw{turned}", segmenter=PropagatingSegmenter(asking, drawn, how_far, depth), out="found",
        options=Options(progress=False, overwrite=True, block=block),
    )  # fmt: skip
    return np.stack([tim3d.open_field(sample, one).values for one in ("found", "found_quality")])


@pytest.mark.long
def test_bodies_are_propagated_and_end_where_they_end(sample):
    truth, found = ellipses(), propagated(sample)[0]
    assert (found[[2, 10]] == truth[[2, 10]]).all()  # drawn slices stay
    for z in (0, 1, 3, 5, 7, 9, 11, 12):
        assert ((found[z] == 1) == (truth[z] == 1)).all()
    assert ((found == 2) == (truth == 2)).all()  # not drawn in slice 10, from which nothing comes
    short = propagated(sample, reach=2)[0]
    assert set(np.flatnonzero(short.any(axis=(1, 2)))) == {0, 1, 2, 3, 4, 8, 9, 10, 11, 12}


def test_numbers_stay_those_that_were_drawn(sample):
    found = propagated(sample, names=())[0]
    numbers = store.complete_field(sample, "found_objects")
    assert numbers.dtype == "uint32"
    assert numbers.labels
    values = tim3d.open_field(sample, "found_objects").values
    assert (values == ellipses()).all()
    assert (found == (values > 0)).all()


def test_what_is_drawn_in_another_sample_is_propagated_there(sample, tmp_path):
    """Under the same name, by the same network, in the same process."""
    propagated(sample)
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[4] = np.where(ellipses()[4] == 1, 2, 0)
    other = str(tmp_path / "b.zarr")
    for name, values in (("raw", tim3d.open_field(sample, "raw").values), ("drawn", drawn)):
        np.save(tmp_path / "volume.npy", values)
        tim3d.ingest(
            tmp_path / "volume.npy", other, voxel_size={"z": 10, "y": 5, "x": 5}, field=name,
            phases=PHASES if name == "drawn" else None, shard=(2, 16, 32), accept=["saturated"], options=QUIET,
        )  # fmt: skip
    found = propagated(other)[0]
    assert (found[4] == drawn[4]).all()
    assert not (found == 1).any()


@pytest.mark.long
def test_blocks_windows_and_the_order_of_slices_do_not_show(sample):
    whole = propagated(sample, least=0.6)
    for how in ({"block": (2, 16, 32)}, {"block": (4, 48, 64), "depth": 3}, {"depth": 1}):
        assert (propagated(sample, least=0.6, **how) == whole).all()
    assert (propagated(sample, turned="_turned", least=0.6)[:, ::-1] == whole).all()


def test_outlines_lie_between_those_of_both_chains():
    below, above = (
        boxed((3, 3), np.ones((9, 9), bool), 0.8),
        boxed((5, 5), np.ones((5, 5), bool), 0.4),
    )
    near = between(below, above, 1, 0, 4)
    assert below.area > near.area > above.area
    assert near.quality == pytest.approx(0.7)
    assert (between(below, above, 2, 0, 4).bits == between(above, below, 2, 0, 4).bits).all()
    assert (
        between(
            boxed((0, 0), np.ones((2, 2), bool)), boxed((0, 30), np.ones((2, 2), bool)), 1, 0, 2
        )
        is None
    )


def test_what_does_not_fit_is_refused(sample, tmp_path):
    np.save(tmp_path / "v.npy", ellipses()[1:])
    tim3d.ingest(
        tmp_path / "v.npy", sample, voxel_size={"z": 10, "y": 5, "x": 5}, field="low", phases=PHASES,
        other_grid=True, options=QUIET,
    )  # fmt: skip
    for how, said in (
        ({"reach": 0}, "reach 0"),
        ({"least": 2.0}, "least 2"),
        ({"give": "mask"}, "not 'mask'"),
        ({"labels": "raw"}, "drawn objects or labels"),
        ({"labels": "low"}, r"'raw' \(13, 40, 56\) and 'low' \(12, 40, 56\)"),
    ):
        with pytest.raises(ArgumentError, match=said):
            tim3d.propagate(sample, model=tmp_path / "m.safetensors", **{"labels": "drawn"} | how)
