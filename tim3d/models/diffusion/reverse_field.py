"""Volumes of any size by diffusion: each evaluation of the network is one pass over a stored state.

The noise depends on the seed and the coordinates alone. Tiles are fixed in the volume, each is
evaluated in a window of one shape, with the reach of the network around it, and by one thread: on
one kind of processor a voxel has the same bits for any blocks.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple, triple
from tim3d.kernels.generation.coarse_field import LocalFraction
from tim3d.kernels.generation.generator import as_data
from tim3d.kernels.generation.guidable import Guidable
from tim3d.kernels.generation.guidance import Guide
from tim3d.kernels.generation.iterated import Means, State, gathered
from tim3d.kernels.generation.philox import Noise
from tim3d.kernels.generation.reverse_process import Evaluation, ReverseProcess, moved
from tim3d.models.common.determinism import cpu_threads
from tim3d.models.common.device import named_device, torch_version
from tim3d.models.common.weights import check_planned
from tim3d.models.diffusion.joint_planes import joint, means_of_shares, shares_of
from tim3d.models.diffusion.local_network import LocalNetwork
from tim3d.models.diffusion.network_file import load_network
from tim3d.models.diffusion.network_spec import LocalNetworkSpec
from tim3d.phases import Phases

Planes = Literal["joint", "mean", "alternating"]
Stored = Literal["float32", "float16"]
Reals: TypeAlias = npt.NDArray[np.float32]
# Slices that a network of sections is given at a time.
SLICES = 16
# Edge in voxels of the slices of noise from which a network is asked for the shares of the phases.
SEEN = 128


@dataclass(frozen=True, slots=True)
class Section:
    """A network, and its conditions for one family of planes, or for volumes.

    Parameters
    ----------
    weights, sha256 : str
        Path of the file, and its digest when the run was planned; another one is refused.
    spec : LocalNetworkSpec
        Layers of the network.
    inputs : tuple of float
        Its conditions; None for those that are not given.
    """

    weights: str
    sha256: str
    spec: LocalNetworkSpec
    inputs: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class DiffusionField(Guidable):
    """Networks and settings of a volume; a few hundred bytes that are sent to workers.

    Parameters
    ----------
    sections : tuple of Section
        One of volumes, or three of the planes normal to z, y and x.
    process : ReverseProcess
        Steps from noise to data.
    seed : int
        Seed of the noise, 0 to 2^64 - 1.
    shape : (z, y, x)
        Voxels of the volume.
    domain : Box
        Voxels of a state, which continues itself across the faces of this box.
    tile : int
        Edge of a tile in voxels; affects the last bits of the result.
    planes : {"joint", "mean", "alternating"}
        Of networks of sections: what the three planes of a voxel tell together in every step, the
        mean of their velocities, or one family of planes in each step by turns.
    stored : {"float32", "float16"}
        Type in which states are stored.
    device : str
        "cpu", "cuda" or "cuda:1".
    phases : Phases, optional
        Names and codes of the labels; None for grey values.
    spacing_nm : (dz, dy, dx)
        Edges of a voxel of the training data in nm.
    share : float, optional
        Share of the voxels that get the first of two phases, by a cut of the last state elsewhere
        than at 0.
    guide : Guide, optional
        What the estimates of the data are moved to; `tim3d.generate` makes such a volume.
    coarse : LocalFraction, optional
        Local fraction of the first phase, which the networks are given beside the state.

    Raises
    ------
    ArgumentError
        If a number or a name is out of range, tiles do not fit the network, or a share is given
        and there are not two phases.
    """

    kind: ClassVar[str] = "diffusion"
    needs_torch: ClassVar[bool] = True

    sections: tuple[Section, ...]
    process: ReverseProcess
    seed: int
    shape: Triple
    domain: Box
    tile: int
    planes: Planes = "mean"
    stored: Stored = "float32"
    device: str = "cpu"
    phases: Phases | None = None
    spacing_nm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    share: float | None = None
    guide: Guide | None = None
    coarse: LocalFraction | None = None

    def __post_init__(self) -> None:
        for name, kind in (("planes", Planes), ("stored", Stored)):
            if getattr(self, name) not in get_args(kind):
                raise ArgumentError(
                    f"{name} is {getattr(self, name)!r}; choose of {', '.join(get_args(kind))}"
                )
        whole = self.multiple
        if self.tile < 1 or any(
            n % whole for n in (self.tile, *self.domain.start, *self.domain.shape)
        ):
            domain = " x ".join(map(str, self.domain.shape))
            raise ArgumentError(
                f"tiles of {self.tile} voxels in a domain of {domain}: the network commutes with shifts by multiples "
                f"of {whole} voxels only; give one above 0, for example --tile {max(1, self.tile // whole) * whole}"
            )
        if self.share is not None and (self.phases is None or len(self.phases) != 2):
            raise ArgumentError(
                "a fraction is met by a cut between two phases; leave out --fractions"
            )
        if self.is_joint:
            self._check_joint()
        self._noise(2 * self.passes, self.channels - 1)  # refuses a seed out of range

    def _check_joint(self) -> None:
        if self.phases is None:
            raise ArgumentError(
                "--planes joint adds up what is known of phases, and the network is of grey values: leave it out, or "
                "give --planes mean"
            )
        if any(one.spec.coarse for one in self.sections):
            raise ArgumentError(
                "--planes joint knows shares of the whole volume, and the network was trained with a local fraction: "
                "leave it out, or give --planes mean"
            )
        if self.process.sampler == "heun":
            raise ArgumentError(
                "--planes joint sets the mean of every state, which --sampler heun does not go with: give --planes "
                "mean, or leave --sampler heun out"
            )

    @property
    def multiple(self) -> int:
        """Edge in voxels of the cells by which the networks may be shifted."""
        return math.lcm(*(one.spec.multiple for one in self.sections))

    @property
    def halo_edge(self) -> int:
        """Voxels around a tile that are evaluated with it: the reach in whole cells."""
        longest = max(one.spec.reach for one in self.sections)
        return -(-longest // self.multiple) * self.multiple

    @property
    def is_joint(self) -> bool:
        """Whether three families of planes make one estimate together."""
        return self.planes == "joint" and len(self.sections) > 1

    @property
    def balances(self) -> bool:  # type: ignore[override]
        """Whether the mean of every state is set to that of the data at its time."""
        return self.is_joint

    def balanced(self, number: int, before: State, means: Means) -> State:
        """State moved to the mean t times the data's, in each channel; see `Iterated.balanced`."""
        time = self.process.evaluations()[number - 1].at
        moves = [
            time * a - b for a, b in zip(means_of_shares(home(self).shares), means, strict=True)
        ]
        return before + np.asarray(moves, np.float32).reshape(-1, 1, 1, 1)

    @property
    def channels(self) -> int:  # type: ignore[override]
        """Channels of the state."""
        return self.sections[0].spec.channels

    @property
    def passes(self) -> int:  # type: ignore[override]
        """Evaluations of the network at every voxel."""
        return self.process.passes

    @property
    def remembers(self) -> int:  # type: ignore[override]
        """States that a pass looks at: two for the second half of a step of Heun."""
        return 2 if self.process.sampler == "heun" else 1

    @property
    def tile_edge(self) -> int:
        """Edge of a tile in voxels."""
        return self.tile

    @property
    def reads(self) -> str:
        """Path of the weights."""
        return self.sections[0].weights

    def inputs(self) -> Mapping[str, str]:
        """Digests of the weights."""
        names = ("weights",) if len({one.sha256 for one in self.sections}) == 1 else ("z", "y", "x")
        return {name: one.sha256 for name, one in zip(names, self.sections, strict=False)}

    def description(self) -> dict[str, Any]:
        """All that determines the bits besides the weights."""
        return {
            "kind": self.kind,
            "version": self.version,
            "seed": self.seed,
            "process": as_data(self.process),
            "planes": self.planes if len(self.sections) > 1 else None,
            "conditions": [list(one.inputs) for one in self.sections],
            "share": self.share,
            "domain": as_data(self.domain),
            "tile": self.tile,
            "stored": self.stored,
            "device": self.device.split(":")[0],
            "threads": 1,
            "torch": torch_version(),
            **({} if self.guide is None else {"guide": as_data(self.guide)}),
            **({} if self.coarse is None else {"coarse": self.coarse.described()}),
        }

    def reach(self, number: int) -> Triple:
        """Voxels around a tile that a pass looks at; none across the planes of an alternating one."""
        axis = self._axis(self.process.evaluations()[number - 1])
        return triple(0 if axis == a else self.halo_edge for a in range(3))

    def _axis(self, one: Evaluation) -> int | None:
        """Axis that the planes of an alternating step are normal to."""
        by_turns = len(self.sections) > 1 and self.planes == "alternating"
        return one.step % 3 if by_turns else None

    def begin(self, box: Box) -> State:
        """Normal noise, (channels, z, y, x)."""
        return self._normals(0, box)

    def advance(self, number: int, tile: Box, before: State, earlier: State | None) -> State:
        """State of a tile after an evaluation; see `Iterated.advance`."""
        one, velocity = self.process.evaluations()[number - 1], self.velocity(number, tile, before)
        state = np.asarray(before[(slice(None), *self._inner(number))], np.float32)
        return moved(one, state, velocity, earlier, self.noise(number, tile))

    def noise(self, number: int, tile: Box) -> tuple[State | None, State | None]:
        """Normal noise of a tile that a pass draws, and of its way back, (channels, z, y, x)."""
        drawn = self.process.evaluations()[number - 1].drawn
        fresh, back = (
            gathered(self, tile, partial(self._normals, draw)) if asked else None
            for draw, asked in zip((2 * number - 1, 2 * number), drawn, strict=True)
        )
        return fresh, back

    def velocity(self, number: int, tile: Box, before: State) -> Reals:
        """Velocity of a tile, (channels, z, y, x)."""
        one = self.process.evaluations()[number - 1]
        window = tile.grow(self.reach(number))
        around = self.coarse.standardised(window) if self.coarse else None
        return home(self).velocity(one.at, before, self._inner(number), self._axis(one), around)

    def _inner(self, number: int) -> tuple[slice, ...]:
        """Place of a tile in its window."""
        return tuple(slice(r, r + self.tile) for r in self.reach(number))

    def unguided(self) -> DiffusionField:
        """Return the same field without a guide."""
        return replace(self, guide=None)

    def labels(self, box: Box) -> npt.NDArray[np.uint8]:
        """Labels of a box of the volume; the last state of the whole domain is kept in memory.

        Raises
        ------
        ArgumentError
            If the volume is guided: a step then follows from all of it.
        """
        if self.guide is not None:
            raise ArgumentError("a guided volume is made by tim3d.generate, not box by box")
        return super(DiffusionField, self).labels(box)

    def _normals(self, draw: int, box: Box) -> Reals:
        noise = [self._noise(draw, channel).normals(box) for channel in range(self.channels)]
        return np.stack(noise)

    def _noise(self, draw: int, channel: int) -> Noise:
        return Noise(self.seed, stream=draw * self.channels + channel)

    @property
    def advance_bytes(self) -> int:
        """Bytes of weights, of an evaluation, and of velocities and noise of a tile."""
        long = self.tile + 2 * self.halo_edge
        coarse = 0
        if self.coarse:  # the local fraction, and its copy beside the state
            coarse = self.coarse.bytes((long,) * 3) + 4 * (self.channels + 1) * long**3
        if self.device != "cpu":
            return 16 * self.channels * self.tile**3 + coarse
        window = (SLICES, long, long) if len(self.sections) > 1 else (long, long, long)
        if self.is_joint:
            seen = seen_edge(self)
            window = max(window, (SLICES, seen, seen))
        evaluation = max(one.spec.forward_bytes(window) for one in self.sections)
        kept = 11 if self.is_joint else 7
        voxels = self.channels * (kept * self.tile**3 + 2 * math.prod(window))
        return evaluation + 4 * voxels + coarse + self._weight_bytes

    @property
    def _weight_bytes(self) -> int:
        paths = {one.weights: one.spec for one in self.sections}
        return 8 * sum(spec.parameters for spec in paths.values())

    def finished(self, last: State, cut: float) -> npt.NDArray[np.uint8]:
        """Labels from the cut or the highest channel, or grey values."""
        made = last.argmax(0) if self.channels > 1 else last[0] >= cut
        if self.phases is None:
            made = ((last[0] + 1) * 127.5).round().clip(0, 255)
        return np.asarray(made, np.uint8)


class Home:
    """Networks of a field on their device, loaded once for each process."""

    def __init__(self, field: DiffusionField) -> None:
        self.device = named_device(field.device)
        files = {one.weights: one for one in field.sections}  # one file may serve all planes
        nets = {path: _loaded(one).to(self.device) for path, one in files.items()}
        self.nets = [nets[one.weights] for one in field.sections]
        self.conditions = [_conditions(one).to(self.device) for one in field.sections]
        self.channels = field.channels
        self.shares = self._wanted(field) if field.is_joint else ()

    def velocity(
        self,
        time: float,
        before: State,
        inner: tuple[slice, ...],
        axis: int | None,
        around: Reals | None = None,
    ) -> Reals:
        """Velocity in a tile, (channels, z, y, x).

        Parameters
        ----------
        time : float
            Time of the state.
        before : (channels, z, y, x)
            State of the tile and what lies around.
        inner : three slices
            Place of the tile in it.
        axis : int, optional
            Axis that planes are normal to (default: all three, or a network of volumes).
        around : (z, y, x), optional
            What the network is given beside the state.
        """
        given = before if around is None else np.concatenate([before, around[None]])
        state = torch.from_numpy(np.ascontiguousarray(given)).to(self.device)
        with _exact(self.device):
            if len(self.nets) == 1:
                made = self._evaluated(0, state[None], time)[0][(slice(None), *inner)]
            elif axis is not None:
                made = self._by_planes(axis, state, time, inner)
            else:
                z, y, x = (self._by_planes(a, state, time, inner) for a in range(3))
                made = (z + y + x) / 3
                if self.shares:
                    made = joint(made, state[(slice(None), *inner)], time, self.shares)
            return np.asarray(made.cpu())

    def _wanted(self, field: DiffusionField) -> tuple[float, ...]:
        """Shares of the phases of the volume: those that it is guided to, or those that the networks mean."""
        if field.guide is not None and field.guide.fraction is not None:
            return (field.guide.fraction, 1 - field.guide.fraction)
        return self._shares(field)

    def _shares(self, field: DiffusionField) -> tuple[float, ...]:
        """Shares of the phases that the networks mean when they see noise; the mean over the planes."""
        edge, halo = seen_edge(field), field.halo_edge
        noise = [
            Noise(0, n).normals(Box.whole((SLICES, edge, edge))) for n in range(field.channels)
        ]
        state = torch.from_numpy(np.stack(noise, 1).astype(np.float32)).to(self.device)
        inner = (slice(None), slice(None), slice(halo, -halo), slice(halo, -halo))
        found: dict[tuple[str, tuple[float | None, ...]], list[float]] = {}
        with _exact(self.device):
            for number, one in enumerate(field.sections):
                if (one.weights, one.inputs) not in found:
                    data = (state + self._evaluated(number, state, 0.0))[inner].double()
                    found[one.weights, one.inputs] = data.mean((0, 2, 3)).tolist()
        every = [found[one.weights, one.inputs] for one in field.sections]
        return shares_of([math.fsum(values) / len(every) for values in zip(*every, strict=True)])

    def _by_planes(self, axis: int, state: Tensor, time: float, inner: tuple[slice, ...]) -> Tensor:
        """Velocity from all planes that are normal to an axis."""
        planes = state.movedim(axis + 1, 0)[inner[axis]]
        cut = [inner[a] for a in range(3) if a != axis]
        made = [
            self._evaluated(axis, planes[n : n + SLICES], time)[:, :, cut[0], cut[1]]
            for n in range(0, len(planes), SLICES)
        ]
        return torch.cat(made).movedim(0, axis + 1)

    def _evaluated(self, number: int, state: Tensor, time: float) -> Tensor:
        rows, channels = self.conditions[number].expand(len(state), -1), self.channels
        beside = (state[:, channels:].contiguous(),) if state.shape[1] > channels else ()
        made: Tensor = self.nets[number](
            state[:, :channels].contiguous(), state.new_full((len(state),), time), rows, *beside
        )
        return made


def seen_edge(field: DiffusionField) -> int:
    """Edge in voxels of the slices of noise that tell the shares of the phases, with what lies around."""
    return -(-SEEN // field.multiple) * field.multiple + 2 * field.halo_edge


def _conditions(one: Section) -> Tensor:
    """Row of the conditions, NaN for those that are not given."""
    return torch.tensor([[math.nan if v is None else v for v in one.inputs]], dtype=torch.float32)


def _loaded(one: Section) -> LocalNetwork:
    net, _, sha256 = load_network(one.weights)
    check_planned(one.weights, sha256, one.sha256)
    return net


_homes: dict[DiffusionField, Home] = {}
_loading = threading.Lock()
# One block computes on a GPU while others of the process read and write.
_cuda = threading.Lock()


def home(field: DiffusionField) -> Home:
    """Return the networks of a field, loaded once for each process.

    Raises
    ------
    CheckpointError
        If a file is damaged or no longer the planned one.
    DeviceError
        If the device is not available.
    """
    with _loading:
        if field not in _homes:
            _homes.clear()  # one at a time: another would hold memory without use
            _homes[field] = Home(field)
        return _homes[field]


@contextmanager
def _exact(device: torch.device) -> Iterator[None]:
    """Without gradients, by one thread, in full precision, in one order of sums."""
    with torch.inference_mode(), cpu_threads(1):
        if device.type != "cuda":
            yield
            return
        flags = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        with _cuda, flags:
            yield
