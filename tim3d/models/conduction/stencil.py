"""The kernels of `tim3d.kernels.conduction.stencil` on tensors, for any device.

They have the same names and arguments.

Every function there has its counterpart here, which takes tensors instead of arrays. All but the
sums, `add_scaled` and `scale_add` do the same operations in the same order, so that on a CPU they
agree bit for bit.

A kernel works slab by slab, so that its temporaries stay within `scratch_bytes`. It does not
synchronize with the device and copies nothing to or from it. Sums of a plane are added by halves,
one element to one element: in float64, in an order that depends only on the plane's shape, not on
slabs, threads or device.

Each operation of a formula is one pass over a slab; ``Device(fused=True)`` of
`tim3d.models.conduction.device` has torch.compile fuse them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from functools import cache, lru_cache
from itertools import product
from typing import Any, TypeAlias

import torch
from torch import Tensor

Steps: TypeAlias = tuple[int, int, int]
# Part of a ghosted array: a slice along each axis with given start and stop.
Window: TypeAlias = tuple[slice, slice, slice]

# Temporaries of a slab, in bytes; larger ones fall out of the cache of a device.
SCRATCH = 2**26
# Bytes per voxel of a slab that the largest formula, `balance`, holds.
PER_VOXEL = 64
# A smaller slab, in voxels, is relaxed as a whole and half of it discarded: launching work on a
# device takes longer.
SMALL = 2**18
# Kernels that make several half sweeps in one pass, by the one that makes half a sweep: none on a device.
AT_ONCE: dict[Callable[..., None], Callable[..., None]] = {}

# Whether formulas are compiled; `tim3d.models.conduction.device` sets it for each call.
fusing: ContextVar[bool] = ContextVar("fusing", default=False)


def scratch_bytes(shape: Sequence[int]) -> int:
    """Peak bytes that a kernel holds beside its arguments, for a volume of this shape.

    At most 64 MiB, or 64 bytes for each voxel of two planes where these need more, and 4 MiB for
    checkerboards.

    >>> scratch_bytes((512, 512, 512)) / 2**20
    68.0
    """
    planes = [(n + 2) for n in shape]
    slab = max(SCRATCH, 2 * PER_VOXEL * planes[1] * planes[2])
    return min(slab, PER_VOXEL * planes[0] * planes[1] * planes[2]) + 16 * SMALL


def _slabs(
    start: int, stop: int, plane: Tensor, lattices: int = 1, cell: int = 1
) -> Iterator[tuple[int, int]]:
    """Ranges of planes, in multiples of `cell`, that fit when `lattices` are processed in turn."""
    thick = max(1, SCRATCH * lattices // (PER_VOXEL * plane.numel() * cell))
    for first in range(start, stop, thick):
        yield first, min(first + thick, stop)


def _inside(x: Tensor, start: int, stop: int) -> Window:
    return slice(start, stop), slice(1, x.shape[1] - 1), slice(1, x.shape[2] - 1)


def _moved(window: Window, axis: int, by: int) -> Window:
    moved = list(window)
    moved[axis] = slice(window[axis].start + by, window[axis].stop + by, window[axis].step)
    return moved[0], moved[1], moved[2]


def _near(t: Tensor, window: Window) -> list[Tensor]:
    """Values of the six neighbours: below and above along z, y and x."""
    return [t[_moved(window, axis, by)] for axis in range(3) for by in (-1, 1)]


def _near_faces(faces: Tensor, window: Window) -> list[Tensor]:
    return [faces[axis][_moved(window, axis, by)] for axis in range(3) for by in (0, 1)]


def _of_colour(x: Tensor, start: int, stop: int, colour: int) -> Iterator[Window]:
    """Voxels of one colour, as four lattices of every second voxel along each axis."""
    for z, y in product((start, start + 1), (1, 2)):
        i = 1 + (z + y + colour) % 2
        if z < stop and y < x.shape[1] - 1 and i < x.shape[2] - 1:
            yield slice(z, stop, 2), slice(y, x.shape[1] - 1, 2), slice(i, x.shape[2] - 1, 2)


@lru_cache(maxsize=16)
def _checkerboard(shape: torch.Size, parity: int, device: torch.device) -> Tensor:
    """Whether z + y + x + parity is odd, counted from 0."""
    z, y, x = (torch.arange(n, device=device) for n in shape)
    return (z[:, None, None] + y[:, None] + x + parity) % 2 == 1


# Formulas map views to a new tensor. They name neither device nor slab, so that they can be fused.


@cache
def _compiled(formula: Callable[..., Tensor]) -> Callable[..., Tensor]:
    compiled: Callable[..., Tensor] = torch.compile(formula, dynamic=True)
    return compiled


def _evaluate(formula: Callable[..., Tensor], *arguments: Any) -> Tensor:
    return (_compiled(formula) if fusing.get() else formula)(*arguments)


def _look(table: Tensor, base: Tensor, other: Tensor) -> Tensor:
    """Conductance of pairs, from the flat table of an axis; `base` is the first code times the number of codes."""
    return table.index_select(0, (base + other).reshape(-1)).view(other.shape)


def _row(own: Tensor, pairs: Tensor) -> Tensor:
    return own.to(torch.int32) * pairs.shape[-1]


def _inflow(axis: int, before: Tensor, low: Tensor, high: Tensor, near: list[Tensor]) -> Tensor:
    """Add the inflow along an axis, in the order of the numba kernel."""
    if axis == 0:
        return before + low * near[0] + high * near[1]
    return before + (low * near[2 * axis] + high * near[2 * axis + 1])


def _relaxed_codes(
    here: Tensor, b: Tensor, near: list[Tensor], own: Tensor, others: list[Tensor], pairs: Tensor
) -> Tensor:
    base, inflow, diagonal = _row(own, pairs), b, torch.zeros_like(b)
    for axis in range(3):
        low, high = (
            _look(pairs[axis].reshape(-1), base, others[2 * axis + side]) for side in (0, 1)
        )
        inflow = _inflow(axis, inflow, low, high, near)
        diagonal = diagonal + low + high
    return torch.where(own > 0, inflow / diagonal, here)


def _relaxed_faces(here: Tensor, b: Tensor, near: list[Tensor], faces: list[Tensor]) -> Tensor:
    inflow, diagonal = b, torch.zeros_like(b)
    for axis in range(3):
        low, high = faces[2 * axis], faces[2 * axis + 1]
        inflow = _inflow(axis, inflow, low, high, near)
        diagonal = diagonal + low + high
    return torch.where(diagonal > 0, inflow / diagonal, here)


def _rest_codes(
    here: Tensor, b: Tensor, near: list[Tensor], own: Tensor, others: list[Tensor], pairs: Tensor
) -> Tensor:
    base, rest = _row(own, pairs), b
    for face in range(6):
        rest = rest + _look(pairs[face // 2].reshape(-1), base, others[face]) * (near[face] - here)
    return torch.where(own > 0, rest, 0)


def _rest_faces(here: Tensor, b: Tensor, near: list[Tensor], faces: list[Tensor]) -> Tensor:
    rest = b
    for face in range(6):
        rest = rest + faces[face] * (near[face] - here)
    return rest


def _dissipated(
    here: Tensor, below: list[Tensor], own: Tensor, others: list[Tensor], pairs: Tensor
) -> Tensor:
    """Dissipation in the faces below, along as many axes as there are neighbours in `below`."""
    base, exact = _row(own, pairs), here.to(torch.float64)
    total = torch.zeros_like(exact)
    for axis, (value, code) in enumerate(zip(below, others, strict=True)):
        fall = value - exact
        total = total + _look(pairs[axis].reshape(-1), base, code) * (fall * fall)
    return total


def _rising(
    here: Tensor, below: Tensor, own: Tensor, other: Tensor, pairs: Tensor, drop: Tensor
) -> Tensor:
    """Flow through the face below each voxel."""
    return _look(pairs[0].reshape(-1), _row(own, pairs), other) * (drop + below - here)


def _gain(
    inflow: Tensor,
    here: Tensor,
    near: list[Tensor],
    own: Tensor,
    others: list[Tensor],
    pairs: Tensor,
    drop: Tensor,
) -> Tensor:
    """Net inflow, given the inflow through the face below.

    `near` and `others` begin with the voxel above.
    """
    base = _row(own, pairs)
    gain = inflow - _look(pairs[0].reshape(-1), base, others[0]) * (drop + here - near[0])
    for face in range(1, 5):
        gain = gain + _look(pairs[(face + 1) // 2].reshape(-1), base, others[face]) * (
            near[face] - here
        )
    return gain


# Kernels.


def _relax(
    start: int, stop: int, x: Tensor, colour: int, relaxed: Callable[[Window], Tensor]
) -> None:
    """Relax the voxels of a colour: small slabs as a whole, large ones lattice by lattice."""
    voxels = (stop - start) * x[0].numel()
    for first, last in _slabs(start, stop, x[0], 1 if voxels <= SMALL else 8):
        if voxels <= SMALL:
            window = _inside(x, first, last)
            chosen = _checkerboard(x[window].shape, (first + colour) % 2, x.device)
            x[window].copy_(torch.where(chosen, relaxed(window), x[window]))
            continue
        for window in _of_colour(x, first, last, colour):
            x[window].copy_(relaxed(window))


def relax_codes(
    start: int, stop: int, x: Tensor, b: Tensor, codes: Tensor, pairs: Tensor, colour: int
) -> None:
    """Relax the voxels of one colour to balance their flux: half a Gauss-Seidel sweep."""

    def relaxed(w: Window) -> Tensor:
        return _evaluate(_relaxed_codes, x[w], b[w], _near(x, w), codes[w], _near(codes, w), pairs)

    _relax(start, stop, x, colour, relaxed)


def relax_faces(start: int, stop: int, x: Tensor, b: Tensor, faces: Tensor, colour: int) -> None:
    """Relax the voxels of one colour as `relax_codes`, with stored conductances."""

    def relaxed(w: Window) -> Tensor:
        return _evaluate(_relaxed_faces, x[w], b[w], _near(x, w), _near_faces(faces, w))

    _relax(start, stop, x, colour, relaxed)


def _restrict(
    start: int,
    stop: int,
    coarse: Tensor,
    x: Tensor,
    shifts: Steps,
    rest: Callable[[Window], Tensor],
) -> None:
    coarse[start:stop] = 0
    top = x.shape[0] - 1
    for first, last in _slabs(start, stop, x[0], cell=1 << shifts[0]):
        window = _inside(x, ((first - 1) << shifts[0]) + 1, min(((last - 1) << shifts[0]) + 1, top))
        _join(coarse[first:last, 1:, 1:], rest(window), shifts)


def _join(coarse: Tensor, fine: Tensor, shifts: Steps) -> None:
    """Add the voxels of each cell to it, in storage order."""
    for z, y, x in product(*(range(1 << shift) for shift in shifts)):
        part = fine[z :: 1 << shifts[0], y :: 1 << shifts[1], x :: 1 << shifts[2]]
        coarse[: part.shape[0], : part.shape[1], : part.shape[2]].add_(part)


def restrict_codes(
    start: int,
    stop: int,
    coarse: Tensor,
    x: Tensor,
    b: Tensor,
    codes: Tensor,
    pairs: Tensor,
    shifts: Steps,
) -> None:
    """Sum the residual b - A x over the voxels of coarse cells; `shifts` are the binary logarithms of their edges."""

    def rest(w: Window) -> Tensor:
        return _evaluate(_rest_codes, x[w], b[w], _near(x, w), codes[w], _near(codes, w), pairs)

    _restrict(start, stop, coarse, x, shifts, rest)


def restrict_faces(
    start: int, stop: int, coarse: Tensor, x: Tensor, b: Tensor, faces: Tensor, shifts: Steps
) -> None:
    """Sum the residual over coarse cells as `restrict_codes`, with stored conductances."""

    def rest(w: Window) -> Tensor:
        return _evaluate(_rest_faces, x[w], b[w], _near(x, w), _near_faces(faces, w))

    _restrict(start, stop, coarse, x, shifts, rest)


def _conducting(pairs: Tensor) -> Tensor:
    """The table, with zero conductance from a voxel of code 0."""
    pairs = pairs.clone()
    pairs[:, 0] = 0
    return pairs


def energy(start: int, stop: int, x: Tensor, codes: Tensor, pairs: Tensor, out: Tensor) -> None:
    """Write the dissipation x A x by plane to `out` (nz+2); a face counts in the voxel above it."""
    pairs, top = _conducting(pairs), x.shape[0] - 1
    for first, last, axes in _below_top(start, stop, x[0], top):
        w = _inside(x, first, last)
        below, others = ([t[_moved(w, axis, -1)] for axis in range(axes)] for t in (x, codes))
        out[first:last] = _fold(_evaluate(_dissipated, x[w], below, codes[w], others, pairs))


def _below_top(start: int, stop: int, plane: Tensor, top: int) -> Iterator[tuple[int, int, int]]:
    """Slabs and the axes whose faces count.

    At the ghosts on top only the faces to the last voxels count.
    """
    for first, last in _slabs(start, min(stop, top), plane):
        yield first, last, 3
    if stop > top >= start:
        yield top, top + 1, 1


def balance(
    start: int,
    stop: int,
    residual: Tensor,
    flux: Tensor,
    x: Tensor,
    codes: Tensor,
    pairs: Tensor,
    drops: Tensor,
) -> None:
    """Flux through every plane and net inflow of every voxel, for `x` plus a linear profile.

    See `tim3d.kernels.conduction.stencil.balance`; `flux`, `x`, `pairs` and `drops` are float64.
    """
    pairs, top = _conducting(pairs), x.shape[0] - 1
    for first, last, axes in _below_top(start, stop, x[0], top):
        w = _inside(x, first, last)
        own, under = codes[w], _moved(w, 0, -1)
        rising = _evaluate(
            _rising, x[w], x[under], own, codes[under], pairs, drops[first:last, None, None]
        )
        if axes == 3:
            near, others, drop = (
                _near(x, w)[1:],
                _near(codes, w)[1:],
                drops[first + 1 : last + 1, None, None],
            )
            residual[w].copy_(_evaluate(_gain, rising, x[w], near, own, others, pairs, drop))
        flux[first:last] = _fold(rising)


def prolong(start: int, stop: int, x: Tensor, coarse: Tensor, shifts: Steps) -> None:
    """Add to every voxel the value of its coarse cell."""
    ends = (stop, x.shape[1] - 1, x.shape[2] - 1)
    starts = (start, 1, 1)
    for pieces in product(*(_cells(*axis) for axis in zip(starts, ends, shifts, strict=True))):
        fine, cells = x[tuple(p[0] for p in pieces)], coarse[tuple(p[1] for p in pieces)]
        (nz, ny, nx), (cz, cy, cx) = fine.shape, cells.shape
        pairs = fine.view(cz, nz // cz, cy, ny // cy, cx, nx // cx)
        pairs.add_(cells[:, None, :, None, :, None])


def _cells(start: int, stop: int, shift: int) -> Iterator[tuple[slice, slice]]:
    """Runs of voxels and their cells with equally many voxels per cell: whole cells, cut ends."""
    while start < stop:
        cell, edge = ((start - 1) >> shift) + 1, 1 << shift
        offset = (start - 1) % edge
        whole = (stop - start) // edge if offset == 0 else 0
        end = start + whole * edge if whole else min(start + edge - offset, stop)
        yield slice(start, end), slice(cell, cell + max(1, whole))
        start = end


def _coarsen(
    start: int,
    stop: int,
    out: Tensor,
    fine: Tensor,
    shifts: Steps,
    conductance: Callable[[slice], Tensor],
) -> None:
    """Add the conductances of voxel faces below some planes to the coarse faces with them."""
    edge, top = 1 << shifts[0], fine.shape[0] - 1
    # Where the voxels do not fill their last cells, the last coarse face is the topmost of the
    # voxels.
    cut = min(stop, (top - 1) // edge + 2)
    for first, last in _slabs(start, cut, fine[0]):
        planes = slice((first - 1) * edge + 1, (last - 2) * edge + 2, edge)
        _join(out[first:last, 1:, 1:], conductance(planes) * (1 / edge), (0, shifts[1], shifts[2]))
    for face in range(max(start, cut), stop):
        _join(
            out[face : face + 1, 1:, 1:],
            conductance(slice(top, top + 1)) * (1 / edge),
            (0, shifts[1], shifts[2]),
        )


# Called once per axis, with all arrays turned so that their first axis is the normal of the faces.
def coarsen_codes(
    start: int, stop: int, out: Tensor, codes: Tensor, pairs: Tensor, shifts: Steps
) -> None:
    """Conductance of the faces of coarse cells.

    It is the sum over their voxel faces, divided by the number of voxels between the centres.
    """

    def conductance(planes: slice) -> Tensor:
        above = (planes, slice(1, codes.shape[1] - 1), slice(1, codes.shape[2] - 1))
        return _look(pairs.reshape(-1), _row(codes[_moved(above, 0, -1)], pairs), codes[above])

    _coarsen(start, stop, out, codes, shifts, conductance)


def coarsen_faces(start: int, stop: int, out: Tensor, fine: Tensor, shifts: Steps) -> None:
    """Conductance of coarse faces as `coarsen_codes`, from stored conductances."""
    _coarsen(start, stop, out, fine, shifts, lambda planes: fine[planes, 1:-1, 1:-1])


def _fold(values: Tensor) -> Tensor:
    """Sum of each plane, by halves, along y and then x; overwrites `values`."""
    for axis in (1, 2):
        while (n := values.shape[axis]) > 1:
            half = (n + 1) // 2
            values.narrow(axis, 0, n - half).add_(values.narrow(axis, half, n - half))
            values = values.narrow(axis, 0, half)
    return values[:, 0, 0]


def dot(start: int, stop: int, a: Tensor, b: Tensor, out: Tensor) -> None:
    """Write the scalar product of two arrays to `out`, by plane."""
    for first, last in _slabs(start, stop, a[0]):
        w = _inside(a, first, last)
        out[first:last] = _fold(a[w].to(torch.float64, copy=True).mul_(b[w]))


def add_scaled(start: int, stop: int, x: Tensor, factor: float, y: Tensor) -> None:
    """``x += factor * y``."""
    for first, last in _slabs(start, stop, x[0]):
        w = _inside(x, first, last)
        x[w].add_(y[w], alpha=float(factor))


def scale_add(start: int, stop: int, x: Tensor, factor: float, y: Tensor) -> None:
    """``x = factor * x + y``."""
    for first, last in _slabs(start, stop, x[0]):
        w = _inside(x, first, last)
        x[w].mul_(float(factor)).add_(y[w])
