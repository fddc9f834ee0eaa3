"""Segmenter that propagates the objects of drawn slices to their neighbours; see `propagation`. No torch here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tim3d.grid import Box, Triple
from tim3d.kernels.masks.mask_set import Mask
from tim3d.kernels.masks.painting import painted
from tim3d.kernels.windows.lattice import Array
from tim3d.models.promptable.mask_rules.objects import QUALITY, by_owner
from tim3d.models.promptable.promptable import Session
from tim3d.models.promptable.prompted_segmenter import PromptedSegmenter, session_of
from tim3d.models.promptable.prompting.field import voxels_in
from tim3d.models.promptable.propagation import CachedSession, Propagation, between, drawn_objects
from tim3d.models.segmentation.segmenter import LABELS, Map, Maps, Segmenter
from tim3d.storage import store

NUMBERS = Map("objects", "number of the object, as it was drawn", dtype="uint32", joined="given")
# Slices that a window keeps.
DEPTH = 32


@dataclass(frozen=True)
class Drawn:
    """Field of drawn slices; all others hold 0 everywhere.

    Parameters
    ----------
    sample, field, fingerprint : str
        The field.
    names : tuple of (str, int)
        Phases and their codes, the background not among them; none if it has numbers of objects.
    unlabelled : int
        Code of pixels that were not drawn, if it is not 0.
    """

    sample: str
    field: str
    fingerprint: str
    names: tuple[tuple[str, int], ...] = ()
    unlabelled: int = 0


@dataclass(frozen=True)
class PropagatingSegmenter(Segmenter):
    """A promptable network that propagates drawn objects from slice to slice.

    Parameters
    ----------
    asking : PromptedSegmenter
        The network, and how it is asked.
    drawn : Drawn
        The drawn slices.
    how : Propagation
        How they are propagated.
    depth : int
        Slices that are done at a time, on a lattice that is fixed in the volume; no voxel depends
        on it.
    """

    asking: PromptedSegmenter
    drawn: Drawn
    how: Propagation
    depth: int = DEPTH
    kind: ClassVar[str] = "propagated"
    needs_torch: ClassVar[bool] = True
    whole_slices: ClassVar[bool] = True

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Background, and the drawn phases; or object."""
        return ("background", *([name for name, _ in self.drawn.names] or ["object"]))

    @property
    def maps(self) -> tuple[Map, ...]:  # type: ignore[override]
        """Numbers of drawn objects, and quality."""
        return (QUALITY,) if self.drawn.names else (NUMBERS, QUALITY)

    @property
    def sha256(self) -> str:  # type: ignore[override]
        """Digest of the file of the network."""
        return self.asking.network.sha256

    @property
    def inputs(self) -> Mapping[str, str]:
        """The drawn slices."""
        return {self.drawn.field: self.drawn.fingerprint}

    @property
    def read_sample(self) -> str:
        """The sample of the drawn slices."""
        return self.drawn.sample

    def description(self) -> dict[str, Any]:
        """All that determines the maps."""
        asked = self.asking.description()
        how = {name: asked[name] for name in ("network", "grey", "batch", "masks")}
        drawn = {
            "field": self.drawn.field,
            "names": self.drawn.names,
            "unlabelled": self.drawn.unlabelled,
        }
        propagation = {
            name: getattr(self.how, name) for name in ("reach", "give", "least", "smallest")
        }
        maps = [one.description() for one in self.maps]
        return {
            "kind": self.kind, "version": self.version, "drawn": drawn, **propagation, **how, "depth": self.depth,
            "maps": maps,
        }  # fmt: skip

    @property
    def window(self) -> Triple:  # type: ignore[override]
        """Some whole slices, and those from which objects may come."""
        return (self.depth + 2 * self.how.reach, *self.asking.pixels)

    @property
    def halo(self) -> Triple:  # type: ignore[override]
        """The latter."""
        return (self.how.reach, 0, 0)

    def block_bytes(self, shape: Triple, core: Triple, read: Triple, voxel_bytes: int) -> int:
        """Bytes of a block: grey values, drawn slices and maps; embeddings and masks of a window."""
        network, pixels = self.asking.network, self.asking.pixels
        embedding = 4 * sum(math.prod(one) for one in network.shapes(pixels))
        window = self.window[0] * (embedding + (voxel_bytes + 8) * math.prod(pixels))
        maps = self.depth * 9 * math.prod(pixels) + 27 * math.prod(core)
        return math.prod(read) * 2 * voxel_bytes + window + maps + self.asking.image_bytes(pixels)

    def open(self) -> Callable[..., Maps]:
        """Load the network, and return the function of windows."""
        session = session_of(self.asking.network)

        def look(grey: Array, place: Box) -> Maps:
            return self.look(session, grey, place)

        return look

    def look(self, session: Session, grey: Array, place: Box) -> Maps:
        """Labels and maps of a window; slices of its halo hold nothing."""
        drawn = voxels_in(self.drawn.sample, self.drawn.field, place)
        known = {
            z: drawn_objects(plane, self.drawn.unlabelled)
            for z, plane in enumerate(drawn)
            if np.any((plane != 0) & (plane != self.drawn.unlabelled))
        }
        core = range(self.how.reach, self.how.reach + self.depth)
        inside = range(max(core.start, -place.start[0]), core.stop)
        reached = self._chains(CachedSession(session), grey, place, known, inside)
        made = self._blank(grey.shape)
        for z in inside:
            objects = known.get(z) or _together(reached.get(z, []), z)
            self._paint(made, z, objects)
        return made

    def _chains(
        self,
        session: Session,
        grey: Array,
        place: Box,
        known: Mapping[int, Mapping[int, Mask]],
        core: range,
    ) -> dict[int, list[tuple[int, dict[int, Mask]]]]:
        """Objects that each slice is reached by, and the drawn slice that they come from."""
        reached: dict[int, list[tuple[int, dict[int, Mask]]]] = {}
        end = self._depth_inside(place)
        for seed, slices in self.how.ends(sorted(known), range(core.start, min(core.stop, end))):
            objects = dict(known[seed])
            for z in slices:
                image = self.asking.scaled(grey[z])
                start = (place.start[0] + z, *place.start[1:])
                at = Box(start, (start[0] + 1, *place.stop[1:]))
                objects = self.how.step(self.asking, session, image, at, objects)
                if not objects:
                    break
                reached.setdefault(z, []).append((seed, objects))
        return reached

    def _depth_inside(self, place: Box) -> int:
        """Slices of a window up to the end of the volume."""
        array = store.field_array(self.drawn.sample, self.drawn.field)
        return int(array.shape[0]) - place.start[0]

    def _blank(self, shape: Triple) -> dict[str, Array]:
        made: dict[str, Array] = {LABELS: np.zeros(shape, np.uint8)}
        return made | {one.name: np.zeros(shape, one.dtype) for one in self.maps}

    def _paint(self, made: dict[str, Array], z: int, objects: Mapping[int, Mask]) -> None:
        """Paint objects by rising quality."""
        keys, masks = list(objects), list(objects.values())
        found = painted(masks, made[LABELS][z].shape)
        codes = [code for _, code in self.drawn.names]
        classes = [codes.index(key) + 1 if codes else 1 for key in keys]
        made[LABELS][z] = by_owner(found, classes, np.uint8)
        made[QUALITY.name][z] = by_owner(found, [one.quality for one in masks], np.float32)
        if not codes:
            made[NUMBERS.name][z] = by_owner(found, keys, np.uint32)


def _together(chains: list[tuple[int, dict[int, Mask]]], z: int) -> dict[int, Mask]:
    """Objects of a slice from the chains that reach it: one, or one from below and one from above."""
    if len(chains) < 2:
        return dict(chains[0][1]) if chains else {}
    (s, below), (t, above) = sorted(chains, key=lambda one: one[0])
    found = {}
    for key in sorted(below.keys() | above.keys()):
        if key in below and key in above:
            mask = between(below[key], above[key], z, s, t)
        else:
            mask = below.get(key) or above.get(key)
        if mask is not None:
            found[key] = mask
    return found
