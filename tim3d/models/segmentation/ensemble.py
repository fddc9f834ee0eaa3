"""Segmenter that asks others, each in several views of the volume: mean probabilities, and how far they differ.

References
----------
Lakshminarayanan, Pritzel, Blundell, NeurIPS 30 (2017) (ensembles). arXiv 1612.01474
Wang et al., Neurocomputing 338 (2019) 34 (views at test time). DOI 10.1016/j.neucom.2019.01.103
Depeweg et al., Proc. ICML 80 (2018) 1184 (mutual information). arXiv 1710.07283
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tim3d.grid import Box, Triple, triple
from tim3d.kernels.windows.lattice import Array, Lattice
from tim3d.kernels.windows.views import View
from tim3d.models.segmentation.segmenter import EXACT, LABELS, Map, Maps, Segmenter, opened

Reals: TypeAlias = NDArray[np.float32]

# Steps of stored probabilities and of the maps in nat: float32 of which only these bits vary is
# small when compressed.
STEPS, NAT = 65535, 4096
MEAN = Map("probability", "probability of {} in 1/65535", units="", dtype="uint16", per_class=True)
ENTROPY = Map("entropy", "entropy of the mean probabilities, in steps of 1/4096 nat", units="nat")
MUTUAL = Map(
    "mutual_information",
    "mutual information of class and member, in steps of 1/4096 nat",
    units="nat",
)


@dataclass(frozen=True)
class Member:
    """A segmenter that gives the map `EXACT`, and the view in which it sees the volume."""

    segmenter: Segmenter
    view: View

    def read_box(self, shape: Triple, core: Box) -> Box:
        """Box of the volume that it needs for a core."""
        seen = self.segmenter.read_box(self.view.shape(shape), self.view.box(core, shape))
        return self.view.box_back(seen, shape)

    def shares(self, shape: Triple, core: Box, grey: Array, box: Box) -> Reals:
        """Probabilities of a core, float32 (classes, z, y, x)."""
        look = self.view
        maps = self.segmenter.region(
            look.shape(shape), look.box(core, shape), look.of(grey), look.box(box, shape)
        )
        return look.back(maps[EXACT.name])


@dataclass(frozen=True)
class Ensemble(Segmenter):
    """Segmenters of the same classes, all weighted alike.

    Parameters
    ----------
    members : tuple of Member
        Two or more.
    """

    members: tuple[Member, ...]
    kind: ClassVar[str] = "ensemble"
    maps: tuple[Map, ...] = (MEAN, ENTROPY, MUTUAL)

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Classes of every member."""
        return self._first.classes

    @property
    def _first(self) -> Segmenter:
        return self.members[0].segmenter

    @property
    def needs_torch(self) -> bool:  # type: ignore[override]
        """Whether a member needs torch."""
        return any(one.segmenter.needs_torch for one in self.members)

    @property
    def whole_slices(self) -> bool:  # type: ignore[override]
        """Whether a member prefers blocks of whole slices."""
        return any(one.segmenter.whole_slices for one in self.members)

    @property
    def block_voxels(self) -> int:  # type: ignore[override]
        """Voxels of a block that suit every member."""
        return min(one.segmenter.block_voxels for one in self.members)

    @property
    def sha256(self) -> str:  # type: ignore[override]
        """Digest of the digests of all files."""
        every = ",".join(one.segmenter.sha256 for one in self.members)
        return hashlib.sha256(every.encode()).hexdigest()

    @property
    def note(self) -> str:
        """Lines of the members, each once."""
        return "; ".join(dict.fromkeys(filter(None, (one.segmenter.note for one in self.members))))

    def open(self) -> Callable[..., Any]:
        """Load all members."""
        for one in self.members:
            opened(one.segmenter)
        return self.region

    def description(self) -> dict[str, Any]:
        """Members, each with its view, and the maps."""
        return {
            "kind": self.kind, "version": self.version, "classes": list(self.classes),
            "members": [{**one.segmenter.description(), "view": one.view.name} for one in self.members],
            "files": [one.segmenter.sha256 for one in self.members],
            "maps": [one.description() for one in self.maps],
        }  # fmt: skip

    def lattice(self, shape: Triple) -> Lattice | None:
        """Lattice of the first member, if it has one."""
        return self._first.lattice(shape)

    def read_box(self, shape: Triple, core: Box) -> Box:
        """Smallest box with all that any member needs for a core."""
        boxes = [one.read_box(shape, core) for one in self.members]
        return Box(
            triple(np.min([b.start for b in boxes], axis=0).tolist()),
            triple(np.max([b.stop for b in boxes], axis=0).tolist()),
        )

    def farthest_read(self, shape: Triple) -> Triple:
        """Largest number of voxels read beyond a core along each axis, for plans."""
        every = [
            one.view.shape(one.segmenter.farthest_read(one.view.shape(shape)))
            for one in self.members
        ]
        return triple(np.max(every, axis=0).tolist())

    def block_bytes(self, shape: Triple, core: Triple, read: Triple, voxel_bytes: int) -> int:
        """Bytes of a block: the member that needs most, its view, sums, and maps with copies."""
        needs = max(
            one.segmenter.block_bytes(
                one.view.shape(shape), one.view.shape(core), one.view.shape(read), voxel_bytes
            )
            for one in self.members
        )
        classes = len(self.classes)
        # The shares of a member and turned back, their sums, logarithms, and what is written.
        held = 4 * 4 * classes + 4 * 4 + 3 * (1 + 2 * classes + 8)
        return needs + 2 * voxel_bytes * prod(read) + held * prod(core)

    def region(self, shape: Triple, core: Box, grey: Array, box: Box) -> Maps:
        """Labels of the highest mean probability of a core, and the maps."""
        total, entropies = self._summed(core, self._each(shape, core, grey, box))
        mean = total / np.float32(len(self.members))
        entropy = entropy_of(mean)
        mutual = np.maximum(entropy - entropies / np.float32(len(self.members)), 0)
        return {
            LABELS: highest(mean),
            MEAN.name: np.rint(np.clip(mean, 0, 1) * np.float32(STEPS)).astype(np.uint16),
            ENTROPY.name: _stepped(entropy),
            MUTUAL.name: _stepped(mutual),
        }

    def _each(self, shape: Triple, core: Box, grey: Array, box: Box) -> Iterator[Reals]:
        return (one.shares(shape, core, grey, box) for one in self.members)

    def _summed(self, core: Box, each: Iterator[Reals]) -> tuple[Reals, Reals]:
        """Sums of the shares and of their entropies, in the order of the members."""
        total = np.zeros((len(self.classes), *core.shape), np.float32)
        entropies = np.zeros(core.shape, np.float32)
        for shares in each:
            total += shares
            entropies += entropy_of(shares)
        return total, entropies


def entropy_of(shares: Reals) -> Reals:
    """Entropy in nat of probabilities (classes, ...).

    >>> [round(float(one), 4) for one in entropy_of(np.array([[0.5, 1.0], [0.5, 0.0]], np.float32))]
    [0.6931, 0.0]
    """
    found = np.zeros(shares.shape[1:], np.float32)
    for one in shares:
        found -= one * np.log(np.maximum(one, np.float32(1e-30)))
    return np.maximum(found, 0)


def highest(shares: Reals) -> NDArray[np.uint8]:
    """First class of the highest probability."""
    labels, top = np.zeros(shares.shape[1:], np.uint8), shares[0].copy()
    for code, one in enumerate(shares[1:], 1):
        labels[one > top] = code
        np.maximum(top, one, out=top)
    return labels


def _stepped(values: Reals) -> Reals:
    return np.asarray(np.rint(values * np.float32(NAT)) / np.float32(NAT))
