"""Random arguments for the flux solver's kernels, and a multigrid cycle put together from any set of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tim3d.kernels.conduction import stencil as plain
from tim3d.kernels.conduction.arrays import Steps
from tim3d.models.conduction import stencil
from tim3d.models.conduction.device import Device

Array = NDArray[Any]
SHIFTS = [(1, 1, 1), (0, 1, 1), (1, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 0), (2, 1, 1)]
EXACT = [
    "relax_codes",
    "relax_faces",
    "restrict_codes",
    "restrict_faces",
    "prolong",
    "coarsen_codes",
    "coarsen_faces",
]
SUMS = ["energy", "dot"]
SCALED = ["add_scaled", "scale_add"]
KERNELS = [*EXACT, *SUMS, *SCALED, "balance"]


@dataclass
class Volume:
    """Random arguments of every kernel; all ghosts hold something, so that a wrong one shows."""

    shape: tuple[int, int, int]
    shifts: tuple[int, int, int]
    seed: int

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)
        ghosted = tuple(n + 2 for n in self.shape)
        cells = [
            ((n + (1 << s) - 1) >> s) + 2 for n, s in zip(self.shape, self.shifts, strict=True)
        ]
        count = int(random.integers(2, 7))

        def normal(*shape: int) -> Array:
            return random.standard_normal(shape).astype(np.float32)

        self.x, self.b, self.coarse = normal(*ghosted), normal(*ghosted), normal(*cells)
        self.exact = random.standard_normal(ghosted)
        self.codes = random.integers(0, count, ghosted).astype(np.uint8)
        for end in (0, -1):  # the two codes of electrodes are ghosts
            self.codes[end] = random.integers(0, count + 2, ghosted[1:])
        # Not symmetric: which code comes first shows. Code 0 has entries too, which nobody may use.
        self.exact_pairs = 10 ** random.uniform(-3, 2, (3, count + 2, count + 2))
        self.pairs = self.exact_pairs.astype(np.float32)
        self.faces = np.abs(normal(3, *ghosted)) * (random.random((3, *ghosted)) < 0.7)
        self.faces = self.faces.astype(np.float32)
        self.drops = random.random(ghosted[0])
        self.sums = random.standard_normal(ghosted[0])
        self.colour, self.factor = int(random.integers(2)), float(random.standard_normal())

    def call(self, name: str) -> tuple[int, list[Any]]:
        """Planes that the kernel knows, and its arguments."""
        inner, cells = self.shape[0], self.coarse.shape[0] - 2
        calls: dict[str, tuple[int, list[Any]]] = {
            "relax_codes": (inner, [self.x, self.b, self.codes, self.pairs, self.colour]),
            "relax_faces": (inner, [self.x, self.b, self.faces, self.colour]),
            "restrict_codes": (
                cells,
                [self.coarse, self.x, self.b, self.codes, self.pairs, self.shifts],
            ),
            "restrict_faces": (cells, [self.coarse, self.x, self.b, self.faces, self.shifts]),
            "prolong": (inner, [self.x, self.coarse, self.shifts]),
            "coarsen_codes": (cells + 1, [self.coarse, self.codes, self.pairs[1], self.shifts]),
            "coarsen_faces": (cells + 1, [self.coarse, self.faces[1], self.shifts]),
            "energy": (inner + 1, [self.x, self.codes, self.pairs, self.sums]),
            "dot": (inner, [self.x, self.b, self.sums]),
            "add_scaled": (inner, [self.x, self.factor, self.b]),
            "scale_add": (inner, [self.x, self.factor, self.b]),
            "balance": (
                inner + 1,
                [self.b, self.sums, self.exact, self.codes, self.exact_pairs, self.drops],
            ),
        }
        return calls[name]


def both(
    volume: Volume, name: str, planes: range, device: Device
) -> tuple[list[Array], list[Array]]:
    """All array arguments after the call, of numba and of torch: also those that are only read."""
    arguments = volume.call(name)[1]
    mine = [device.from_numpy(a) if isinstance(a, np.ndarray) else a for a in arguments]
    device.run(getattr(stencil, name), planes, 0, *mine)
    theirs = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
    getattr(plain, name)(planes.start, planes.stop, *theirs)
    kept = [device.to_numpy(a) for a in mine if isinstance(a, torch.Tensor)]
    return [a for a in theirs if isinstance(a, np.ndarray)], kept


def w_cycle(work: Any, codes: Array, pairs: Array, b: Array, steps: list[Steps]) -> Array:
    """One W-cycle from 0, put together from the kernels of those who work."""
    k = work.kernels
    fine = work.from_numpy(codes), work.from_numpy(pairs)
    levels: list[tuple[Any, ...]] = [fine]
    shapes = [codes.shape]
    for step in steps:
        shapes.append(tuple(((n - 2 + s) >> s) + 2 for n, s in zip(shapes[-1], step, strict=True)))
        faces = work.zeros((3, *shapes[-1]), np.float32)
        for axis in range(3):
            turned = (step[axis], *(step[a] for a in range(3) if a != axis))
            out, planes = turn(faces[axis], axis), range(1, shapes[-1][axis])
            if len(levels) == 1:
                work.run(
                    k.coarsen_codes, planes, 0, out, turn(fine[0], axis), fine[1][axis], turned
                )
            else:
                work.run(k.coarsen_faces, planes, 0, out, turn(levels[-1][0][axis], axis), turned)
        levels.append((faces,))

    def sweep(number: int, x: Any, b: Any, colours: tuple[int, ...]) -> None:
        relax = k.relax_faces if number else k.relax_codes
        for colour in colours:
            work.run(relax, range(1, shapes[number][0] - 1), 0, x, b, *levels[number], colour)

    def cycle(number: int, x: Any, b: Any) -> None:
        sweep(number, x, b, (0, 1, 0, 1))
        if number < len(steps):
            coarse_x, coarse_b = (work.zeros(shapes[number + 1], np.float32) for _ in range(2))
            restrict = k.restrict_faces if number else k.restrict_codes
            work.run(
                restrict,
                range(1, shapes[number + 1][0] - 1),
                0,
                coarse_b,
                x,
                b,
                *levels[number],
                steps[number],
            )
            for _ in range(2):
                cycle(number + 1, coarse_x, coarse_b)
            work.run(k.prolong, range(1, shapes[number][0] - 1), 0, x, coarse_x, steps[number])
        sweep(number, x, b, (1, 0, 1, 0))

    x = work.zeros(codes.shape, np.float32)
    cycle(0, x, work.from_numpy(b))
    return work.to_numpy(x)


def turn(array: Any, axis: int) -> Any:
    """The axis first, for arrays of both libraries."""
    for a in range(axis, 0, -1):
        array = array.swapaxes(a, a - 1)
    return array


def conduction(shape: tuple[int, int, int], seed: int) -> tuple[Array, Array, Array]:
    """Codes, pairs and a source of random material of two phases and an insulator between two electrodes."""
    random = np.random.default_rng(seed)
    codes = np.zeros([n + 2 for n in shape], np.uint8)
    codes[1:-1, 1:-1, 1:-1] = random.choice(3, shape, p=[0.2, 0.4, 0.4])
    codes[[0, -1], 1:-1, 1:-1] = 3
    k = np.array([0, 1, 30, 1e9])
    pairs = 2 * np.outer(k, k) / np.maximum(np.add.outer(k, k), 1)
    b = random.standard_normal(codes.shape).astype(np.float32)
    # A voxel walled in by insulators is not part of a problem that can be solved.
    lone = np.ones(codes.shape, bool)
    for axis in range(3):
        for by in (-1, 1):
            lone &= np.roll(codes, by, axis) == 0
    codes[lone] = 0
    return codes, np.stack([pairs, pairs / 2, pairs / 3]).astype(np.float32), b
