"""Storage of an HDF5 data set: its own chunks, other files, or missing."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tim3d.errors import InputError, MissingExtraError
from tim3d.sources.holes import Holes, first_absent

Seen = set[tuple[str, str]]

_OPEN_ENDED = "%b"
# Largest depth of nested virtual data sets.
_DEEPEST = 8


def outside(path: str | Path, folder: Path) -> bool:
    """Return whether a path leads out of a folder, by its text.

    Links of the file system are not resolved: they are made by the user.
    """
    return not Path(os.path.normpath(Path(path).absolute())).is_relative_to(folder)


def surveyed(dataset: Any, folder: Path) -> Holes:
    """Count the missing chunks of a data set, and the missing sources of a virtual one.

    Chunks may never have been written; sources may have been deleted or never named.

    Parameters
    ----------
    dataset : h5py.Dataset
        The data set.
    folder : Path
        Folder that sources of a virtual data set must not leave.

    Raises
    ------
    InputError
        If voxels lie in a file that is not HDF5, or outside `folder`, which may be any file of the
        user; or if a virtual data set is a source of itself.
    MissingExtraError
        If a filter is not installed.
    """
    return _surveyed(dataset, folder, set(), ())


def _surveyed(dataset: Any, folder: Path, seen: Seen, above: tuple[object, ...]) -> Holes:
    where, own = f"{dataset.file.filename}:{dataset.name}", _identity(dataset)
    # The HDF5 library follows a cycle until the stack overflows.
    if own in above or len(above) > _DEEPEST:
        raise InputError(
            f"{where} is a virtual data set whose sources lead back to it, or through more than {_DEEPEST} "
            "others; give the files that hold the voxels"
        )
    _refuse_other_files(dataset, where)
    _refuse_unknown_filters(dataset, where)
    if dataset.is_virtual:
        return _virtual_holes(dataset, folder, seen, (*above, own))
    return _chunk_holes(dataset) if dataset.chunks else _plain_holes(dataset)


def _identity(dataset: Any) -> object:
    info = h5py.h5o.get_info(dataset.id)
    return (info.fileno, info.addr)


def _refuse_other_files(dataset: Any, where: str) -> None:
    for name, *_ in dataset.external or ():
        shape = ",".join(map(str, dataset.shape))
        raise InputError(
            f"{where} keeps its voxels in another file, {_text(name)} (external storage), which may be any file of "
            f"yours. If it holds voxels, give it itself: tim3d ingest {_text(name)} SAMPLE --shape {shape} --dtype "
            f"{dataset.dtype}"
        )


def _refuse_unknown_filters(dataset: Any, where: str) -> None:
    plan = dataset.id.get_create_plist()
    for code, _, _, name in (plan.get_filter(i) for i in range(plan.get_nfilters())):
        if not h5py.h5z.filter_avail(code):
            raise MissingExtraError(
                f"{where} is compressed with HDF5 filter {code} ({_text(name).split(';')[0] or 'unnamed'}), which is "
                "not installed. Type  pip install hdf5plugin  and then  "
                "export HDF5_PLUGIN_PATH=$(python -c 'import hdf5plugin; print(hdf5plugin.PLUGIN_PATH)')"
            )


def _text(name: bytes | str) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def _plain_holes(dataset: Any) -> Holes:
    return Holes(0, 1) if dataset.id.get_storage_size() else Holes(1, 1, "all of it")


def _chunk_holes(dataset: Any) -> Holes:
    grid = [-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True)]
    total = math.prod(grid)
    if dataset.id.get_num_chunks() == total:
        return Holes(0, total)
    count, first = first_absent(_chunks_there(dataset, grid))
    start = [int(i) * c for i, c in zip(np.unravel_index(first, grid), dataset.chunks, strict=True)]
    return Holes(total - count, total, f"the one from voxel {tuple(start)} on")


def _chunks_there(dataset: Any, grid: list[int]) -> list[int]:
    strides = [math.prod(grid[axis + 1 :]) for axis in range(len(grid))]
    found: list[int] = []

    def keep(chunk: Any) -> None:
        steps = zip(chunk.chunk_offset, dataset.chunks, strides, strict=True)
        found.append(sum(offset // edge * stride for offset, edge, stride in steps))

    dataset.id.chunk_iter(keep)
    return found


def _virtual_holes(dataset: Any, folder: Path, seen: Seen, above: tuple[object, ...]) -> Holes:
    pieces = dataset.virtual_sources()
    sources = sorted({(piece.file_name, piece.dset_name) for piece in pieces})
    holes = sum(
        (_source_holes(dataset, *source, folder, seen, above) for source in sources), Holes(0, 0)
    )
    voxels = sum(piece.vspace.get_select_npoints() for piece in pieces)
    return (
        holes
        if voxels >= math.prod(dataset.shape)
        else holes + Holes(1, 1, "where no source is named")
    )


def _source_holes(
    dataset: Any, file_name: str, name: str, folder: Path, seen: Seen, above: tuple[object, ...]
) -> Holes:
    own = Path(dataset.file.filename).absolute()
    where, path = f"{own}:{dataset.name}", own if file_name == "." else own.parent / file_name
    if _OPEN_ENDED in file_name + name:
        raise InputError(
            f"{where} takes its voxels from {file_name}:{name}, any number of files; give those themselves"
        )
    # If the source is not next to the file, HDF5 looks for it in the working folder.
    if outside(path, folder) or (not path.exists() and Path(file_name).exists()):
        raise outside_error(where, file_name, folder)
    key = (str(path), name)
    if key in seen:
        return Holes(0, 0)
    with _opened(dataset.file, path, name) as found:
        if not isinstance(found, h5py.Dataset):
            return Holes(1, 1, f"{file_name}:{name}")
        if outside(found.file.filename, folder):
            raise outside_error(where, found.file.filename, folder)
        holes = _surveyed(found, folder, seen, above)
    seen.add(key)
    return holes


@contextmanager
def _opened(own: Any, path: Path, name: str) -> Iterator[Any]:
    if not path.is_file():
        yield None
    elif path == Path(own.filename).absolute():
        yield own.get(name)
    else:
        with h5py.File(path, "r") as file:
            yield file.get(name)


def outside_error(where: str, target: str, folder: Path) -> InputError:
    """Return the error for voxels that lie outside the folder of the given file."""
    return InputError(
        f"{where} takes its voxels from {target}, which is outside the folder {folder}. Give that file itself, or copy "
        "it into the folder and link it by its name alone"
    )
