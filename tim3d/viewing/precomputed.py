"""Fields in the form that neuroglancer reads: documents, and chunks that are read when they are asked for.

The form is neuroglancer's own, "precomputed": an ``info`` for each volume, chunks named after their
box, names of segments, and meshes. Nothing is written; a request reads a chunk of the sample.
"""

from __future__ import annotations

import functools
import json
import re
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from tim3d.grid import Box
from tim3d.stages.shared.phase_surface import PhaseSurface
from tim3d.viewing.layers import Layer, Level

_CHUNK = re.compile(r"(\d+)/(\d+)-(\d+)_(\d+)-(\d+)_(\d+)-(\d+)")
_MESH = re.compile(r"mesh/(\d+)(:0)?")
# One surface at a time: each takes the memory of a mesh.
_one_at_a_time = threading.Lock()


class NotThereError(Exception):
    """There is nothing of this name."""


def served(layer: Layer, path: str) -> tuple[bytes, str]:
    """Content under a path below a layer, and its media type.

    Raises
    ------
    NotThereError
        If nothing does.
    StoreError, RuntimeError
        If the voxels are missing or damaged.
    """
    documents = {"info": info, "names/info": names, "mesh/info": mesh_info}
    if path in documents:
        return json.dumps(documents[path](layer)).encode(), "application/json"
    if found := _CHUNK.fullmatch(path):
        return chunk(layer, *map(int, found.groups())), "application/octet-stream"
    if (found := _MESH.fullmatch(path)) and layer.kind == "phases":
        code, manifest = int(found[1]), bool(found[2])
        if code in (layer.field.phases or {}).values():
            if manifest:
                return json.dumps({"fragments": [str(code)]}).encode(), "application/json"
            return mesh(layer, code), "application/octet-stream"
    raise NotThereError(path)


def info(layer: Layer) -> dict[str, Any]:
    """Description of a volume: its levels, sizes and chunks along x, y, z."""
    is_segments = layer.kind in ("phases", "numbers")
    about = {
        "@type": "neuroglancer_multiscale_volume",
        "type": "segmentation" if is_segments else "image",
        "data_type": layer.field.dtype,
        "num_channels": 1,
        "scales": [_scale(number, level) for number, level in enumerate(layer.levels)],
    }
    return about | ({"segment_properties": "names"} if layer.kind == "phases" else {})


def _scale(number: int, level: Level) -> dict[str, Any]:
    return {
        "key": str(number),
        "size": level.shape[::-1],
        "resolution": level.voxel_nm[::-1],
        "voxel_offset": [0, 0, 0],
        "chunk_sizes": [level.chunk[::-1]],
        "encoding": "raw",
    }


def names(layer: Layer) -> dict[str, Any]:
    """Names of the phases, by code."""
    phases: Mapping[str, int] = layer.field.phases or {}
    values = {"id": "label", "type": "label", "values": list(phases)}
    inline = {"ids": [str(code) for code in phases.values()], "properties": [values]}
    return {"@type": "neuroglancer_segment_properties", "inline": inline}


def chunk(layer: Layer, level: int, *bounds: int) -> bytes:
    """Voxels of one chunk of a level; `bounds` are those along x, y, z.

    Raises
    ------
    NotThereError
        If it is not a chunk of the level: what a request reads stays small.
    """
    x0, x1, y0, y1, z0, z1 = bounds
    box = Box((z0, y0, x0), (z1, y1, x1))
    if level >= len(layer.levels) or not _is_chunk(layer.levels[level], box):
        raise NotThereError(str(box))
    values = layer.voxels(level, box)
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


def _is_chunk(level: Level, box: Box) -> bool:
    return all(
        a % c == 0 and a < b == min(a + c, n)
        for a, b, c, n in zip(box.start, box.stop, level.chunk, level.shape, strict=True)
    )


def mesh_info(layer: Layer) -> dict[str, Any]:
    """Description of the surfaces of the phases."""
    return {"@type": "neuroglancer_legacy_mesh", "segment_properties": "../names"}


def mesh(layer: Layer, code: int) -> bytes:
    """Surface of a phase: number of vertices, x, y, z of each in nm, three vertices of each triangle."""
    with _one_at_a_time:
        return _encoded(layer, code)


@functools.lru_cache(maxsize=16)
def _encoded(layer: Layer, code: int) -> bytes:
    return encoded(layer.surface(code))


def encoded(surface: PhaseSurface) -> bytes:
    """Bytes of a surface.

    >>> corners = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    >>> np.frombuffer(encoded(PhaseSurface(corners, np.array([[0, 1, 2]]), (1, 1, 1)))[4:16], "<f4")
    array([1., 0., 0.], dtype=float32)
    """
    count = np.array([len(surface.vertices_nm)], "<u4")
    corners = surface.vertices_nm.astype("<f4")
    return count.tobytes() + corners.tobytes() + surface.faces.astype("<u4").tobytes()
