"""The flux solver's kernels on tensors against those of numba: the same numbers on any planes of any volume."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from tests.stencils import (
    EXACT,
    KERNELS,
    SCALED,
    SHIFTS,
    SUMS,
    Array,
    Volume,
    both,
    conduction,
    w_cycle,
)
from tim3d.errors import DeviceError
from tim3d.kernels.conduction import stencil as plain
from tim3d.kernels.conduction.thread_pool import Team
from tim3d.models.conduction import stencil
from tim3d.models.conduction.device import Device

CPU = Device("cpu")


@pytest.fixture(params=["whole", "lattices", "slabs"])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Small slabs relaxed whole, large ones lattice by lattice, and a slab for every other plane."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param != "whole":
            patch.setattr(stencil, "SMALL", 0)
        if request.param == "slabs":
            patch.setattr(stencil, "SCRATCH", 1)
        yield request.param


def volumes() -> st.SearchStrategy[tuple[Volume, tuple[float, float]]]:
    edge = st.integers(1, 9)
    share = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(lambda s: (min(s), max(s)))
    return st.tuples(
        st.builds(
            Volume, st.tuples(edge, edge, edge), st.sampled_from(SHIFTS), st.integers(0, 2**31)
        ),
        share,
    )


def some_planes(count: int, share: tuple[float, float]) -> range:
    return range(1 + round(share[0] * count), 1 + round(share[1] * count))


# Function-scoped fixtures and hypothesis do not mix; each way draws volumes of its own.
def check(name: str, same: Callable[[Array, Array], None]) -> None:
    @settings(database=None)
    @given(volumes())
    def law(drawn: tuple[Volume, tuple[float, float]]) -> None:
        volume, share = drawn
        planes = some_planes(volume.call(name)[0], share)
        for theirs, mine in zip(*both(volume, name, planes, CPU), strict=True):
            assert theirs.dtype == mine.dtype
            same(theirs, mine)

    law()


@pytest.mark.parametrize("name", EXACT)
def test_kernels_of_single_voxels_agree_bit_for_bit(name: str, way: str) -> None:
    check(name, np.testing.assert_array_equal)


@pytest.mark.parametrize("name", SUMS)
def test_sums_agree_to_rounding_of_float64(name: str, way: str) -> None:
    check(name, lambda a, b: np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-12))


@pytest.mark.parametrize("name", SCALED)
def test_vectors_agree_to_rounding_of_float32(name: str, way: str) -> None:
    check(name, lambda a, b: np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-6))


def test_balance_agrees_exactly_in_voxels_and_to_rounding_in_fluxes(way: str) -> None:
    def same(theirs: Array, mine: Array) -> None:
        if theirs.ndim == 1:
            np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-10)
        else:
            np.testing.assert_array_equal(mine, theirs)

    check("balance", same)


def test_the_potential_is_added_to_in_float64() -> None:
    random = np.random.default_rng(1)
    x, y = random.standard_normal((5, 6, 7)), random.standard_normal((5, 6, 7)).astype(np.float32)
    mine = CPU.from_numpy(x)
    CPU.run(stencil.add_scaled, range(1, 4), 60, mine, 0.1, CPU.from_numpy(y))
    plain.add_scaled(1, 4, x, 0.1, y)
    np.testing.assert_allclose(CPU.to_numpy(mine), x, rtol=1e-15, atol=1e-16)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_turned_arrays_are_coarsened_as_by_numba(axis: int) -> None:
    volume = Volume((5, 6, 7), (1, 1, 1), 3)
    theirs, mine = volume.coarse.copy(), CPU.from_numpy(volume.coarse)
    order = (axis, *(a for a in range(3) if a != axis))
    last = theirs.shape[axis]
    codes, pairs = volume.codes.transpose(order), volume.pairs[axis]
    plain.coarsen_codes(1, last, theirs.transpose(order), codes, pairs, (1, 1, 1))
    tensors = CPU.from_numpy(volume.codes).permute(order), CPU.from_numpy(pairs)
    stencil.coarsen_codes(1, last, mine.permute(order), *tensors, (1, 1, 1))
    np.testing.assert_array_equal(CPU.to_numpy(mine), theirs)


@pytest.mark.parametrize("name", [*SUMS, "balance"])
def test_sums_do_not_depend_on_the_slabs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = Volume((9, 13, 17), (1, 1, 1), 5)
    planes = range(1, volume.call(name)[0] + 1)
    whole = both(volume, name, planes, CPU)[1]
    monkeypatch.setattr(stencil, "SCRATCH", 1)
    for one, other in zip(whole, both(volume, name, planes, CPU)[1], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("shape", [(20, 21, 22), (13, 8, 17)])
@pytest.mark.parametrize("steps", [[(1, 1, 1)] * 3, [(0, 1, 1), (1, 1, 1), (1, 0, 1)]])
def test_a_cycle_of_multigrid_is_the_same_and_the_same_again(
    shape: tuple[int, int, int], steps: list[Any]
) -> None:
    problem = conduction(shape, 11)
    with Team(1) as team:
        expected = w_cycle(team, *problem, steps)
    assert np.isfinite(expected).all()
    for _ in range(2):
        np.testing.assert_array_equal(w_cycle(CPU, *problem, steps), expected)


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, and g++ is not here"
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "name", ["relax_codes", "relax_faces", "restrict_codes", "restrict_faces", *SUMS, "balance"]
)
def test_fused_formulas_are_equal_to_rounding(name: str) -> None:
    volume = Volume((12, 11, 14), (1, 1, 1), 9)
    planes = range(1, volume.call(name)[0] + 1)
    for theirs, mine in zip(*both(volume, name, planes, Device("cpu", fused=True)), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)


class Watch(TorchDispatchMode):
    """Bytes of the tensors that live at once, of those made since it began."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.most = 0, 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_flatten(out)[0]:
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return out

    def known(self, tensors: list[torch.Tensor]) -> None:
        self._seen |= {t.untyped_storage().data_ptr() for t in tensors}

    def _count(self, storage: Any) -> None:
        place, size = storage.data_ptr(), storage.nbytes()
        if place in self._seen or size == 0:
            return
        self._seen.add(place)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._forget, place, size)

    def _forget(self, place: int, size: int) -> None:
        self._seen.discard(place)
        self.now -= size


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("budget", [2**14, 2**17, 2**26])
def test_temporaries_stay_within_what_is_promised(
    name: str, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stencil, "SCRATCH", budget)
    monkeypatch.setattr(stencil, "SMALL", 0)
    volume = Volume((21, 18, 19), (1, 1, 1), 7)
    count, arguments = volume.call(name)
    mine = [CPU.from_numpy(a) if isinstance(a, np.ndarray) else a for a in arguments]
    with Watch() as watch:
        watch.known([a for a in mine if isinstance(a, torch.Tensor)])
        CPU.run(getattr(stencil, name), range(1, count + 1), 0, *mine)
    assert (watch.most > 0) == (name not in {"prolong", *SCALED})
    assert watch.most <= stencil.scratch_bytes(volume.shape)


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(DeviceError, match="use --device cpu"):
        Device("cuda:99")
    with pytest.raises(DeviceError, match="'gpu'"):
        Device("gpu")
