"""Meaning of the pages of a TIFF: slices of one volume among channels, times and separate images."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from tifffile import TIFF, TiffFile, TiffPage

from tim3d.errors import InputError, MissingExtraError
from tim3d.sources.base import VoxelSize
from tim3d.sources.ome_xml import ELSEWHERE, OmeImage, ome_images, whole_number
from tim3d.sources.tiff_meaning import imagej_grey_remarks
from tim3d.sources.wanted import Picks, unnamed

# Letters of tifffile for axes that count slices: z, or axes that the writer did not name.
_SLICES = "ZIQ"
_CALLED = {"S": "samples", "R": "views", "P": "positions", "A": "angles"}
_PICKED = {"C": "channel", "T": "time"}
# Formats with several kinds of stacks whose own metadata tifffile reads.
_VENDORS = (
    "lsm",
    "micromanager",
    "stk",
    "fluoview",
    "scanimage",
    "nih",
    "andor",
    "mmstack",
    "metaseries",
)
# Bit depths that numpy reads without another package.
_PLAIN_BITS = frozenset({1, 8, 16, 32, 64})
# Largest expansion that deflate can reach on decompression.
DEFLATE_LIMIT = 1032
_DEFLATE = frozenset({8, 32946})
_SAME = 1e-3


@dataclass(frozen=True)
class Scene:
    """Planes of one image of a file: letters and lengths of their axes, slowest first.

    `pages` are the numbers of the pages among the slices of the file, in this order.
    """

    axes: str
    sizes: tuple[int, ...]
    pages: Sequence[int]
    name: str = ""
    channels: tuple[str, ...] = ()
    ome: OmeImage | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Length of each axis by its letter; axes without a name are multiplied."""
        found: dict[str, int] = {}
        for axis, length in zip(self.axes, self.sizes, strict=True):
            found[axis] = found.get(axis, 1) * length
        return found


@dataclass(frozen=True)
class Chosen:
    """Planes that are the slices of the volume, in order, and what their metadata say.

    `reduction` is how much smaller the chosen level is along y and x.
    """

    planes: tuple[int, ...]
    level: int = 0
    reduction: tuple[float, float] = (1.0, 1.0)
    voxel_size_nm: VoxelSize | None = None
    positions_nm: tuple[float, ...] | None = None
    remarks: tuple[str, ...] = ()


def chosen_planes(path: Path, tif: TiffFile, pages: Sequence[TiffPage], picks: Picks) -> Chosen:
    """Pages that are the slices of the volume: of several channels, times or images, one is chosen.

    Parameters
    ----------
    path : Path
        The file.
    tif : TiffFile
        The open file.
    pages : sequence of TiffPage
        Its pages without thumbnails.
    picks : Picks
        Channel, time, scene and level to read.

    Raises
    ------
    ArgumentError
        If the file does not have what is chosen; the message says what it has.
    InputError
        If something must be chosen, pages are counted along another axis, or lie in another file.
    """
    scenes = _scenes(path, tif, pages)
    scene = scenes[_scene_number(path, scenes, picks)]
    counts = scene.counts
    _refuse_other_axes(path, scene, len(pages))
    offers = {
        "channel": scene.channels or unnamed(counts.get("C", 1)),
        "time": unnamed(counts.get("T", 1)),
        "level": unnamed(1 + len(pages[0].subifds or ())),
    }
    hint = (
        f". Its shape is {scene.sizes}. If all pages are slices, say so in ImageJ: Image > Properties, slices "
        f"{math.prod(scene.sizes)}, channels 1, frames 1"
    )
    chosen = Picks(picks.scene and 0, picks.time, picks.channel, picks.level).chosen(
        offers, str(path), hint
    )
    planes = _slices(scene, chosen)
    _refuse_elsewhere(path, planes, len(pages), declared_images(tif, pages[0]))
    positions, said = _z_of(scene, chosen, len(planes))
    return Chosen(
        tuple(planes),
        chosen["level"],
        _reduction(pages[planes[0]] if len(pages) > 1 else pages[0], chosen["level"]),
        scene.ome.voxel_size_nm if scene.ome else None,
        positions,
        (*said, *imagej_grey_remarks(path, tif)),
    )


def _scene_number(path: Path, scenes: Sequence[Scene], picks: Picks) -> int:
    names = [scene.name for scene in scenes]
    hint = ". Each has planes of its own"
    return Picks(scene=picks.scene).chosen({"scene": names}, str(path), hint)["scene"]


def _slices(scene: Scene, chosen: Mapping[str, int]) -> list[int]:
    """Pages of the chosen channel and time, in the order of z."""
    index = tuple(chosen[_PICKED[axis]] if axis in _PICKED else slice(None) for axis in scene.axes)
    numbers = np.asarray(scene.pages).reshape(scene.sizes)
    return [int(number) for number in numbers[index].ravel()]


def _refuse_other_axes(path: Path, scene: Scene, pages: int) -> None:
    others = [
        f"{n} {_CALLED.get(a, f'along {a}')}"
        for a, n in scene.counts.items()
        if n > 1 and a not in _SLICES and a not in _PICKED
    ]
    unclear = sum(n > 1 for a, n in zip(scene.axes, scene.sizes, strict=True) if a in _SLICES) > 1
    if others or unclear:
        seen = " and ".join(others) or f"{' x '.join(map(str, scene.sizes))} planes"
        raise InputError(
            f"{path} holds {seen}; tim3d reads one volume, one page a slice. Save the volume you want as a file of its "
            f"own. If all pages are slices, say so in ImageJ: Image > Properties, slices {pages}, channels 1, frames 1"
        )


def _refuse_elsewhere(path: Path, planes: Sequence[int], pages: int, images: int) -> None:
    last = max(pages, images)
    if any(number == ELSEWHERE for number in planes):
        raise InputError(
            f"{path} says that {sum(n == ELSEWHERE for n in planes)} of {len(planes)} slices lie in other files; give "
            "all these files, by a pattern in quotes, if each holds one slice, or export them as one file"
        )
    if max(planes) >= last:
        raise InputError(
            f"{path} is truncated or damaged: its description names page {max(planes)}, and it has {last}; copy it "
            "again from the microscope, or leave it out"
        )


def _reduction(page: TiffPage, level: int) -> tuple[float, float]:
    if not level or page.pages is None:
        return (1.0, 1.0)
    smaller: Any = page.pages[level - 1]
    return (page.shape[0] / smaller.shape[0], page.shape[1] / smaller.shape[1])


def _z_of(
    scene: Scene, chosen: Mapping[str, int], planes: int
) -> tuple[tuple[float, ...] | None, tuple[str, ...]]:
    """Positions of the slices by OME, if they are uneven or differ from the voxel size."""
    ome = scene.ome
    if ome is None or planes < 2:
        return None, ()
    first = (chosen["time"] * len(ome.channels) + chosen["channel"]) * ome.slices
    found = ome.z_nm[first : first + ome.slices]
    if None in found or len(set(found)) == 1:
        return None, ()
    z = np.array(found, np.float64)
    steps, size = np.diff(z), ome.voxel_size_nm[0]
    mean = abs(float(steps.mean()))
    if np.abs(np.abs(steps) - mean).max() > _SAME * mean or size is None:
        return tuple(z.tolist()), ()
    if abs(mean - size) <= _SAME * size:
        return None, ()
    said = f"OME: positions of the planes are {mean:g} nm apart and PhysicalSizeZ is {size:g} nm; positions are taken"
    return tuple(z.tolist()), (said,)


def _scenes(path: Path, tif: TiffFile, pages: Sequence[TiffPage]) -> list[Scene]:
    """Images of a file, as far as they are described; all pages are slices if nothing is said."""
    count = max(len(pages), declared_images(tif, pages[0]) if len(pages) == 1 else 1)
    if tif.imagej_metadata:
        return [_imagej(path, tif.imagej_metadata, count)]
    if tif.is_ome:
        images = ome_images(pages[0].description, path, len(pages))
        if count == 1:  # of a set of files, each describes the whole set
            return [Scene("Z", (1,), (0,), ome=images[0] if images else None)]
        found = [_ome(image, pages) for image in images]
    elif any(getattr(tif, f"is_{vendor}", False) for vendor in _VENDORS):
        found = list(_vendors(tif, pages))
    else:
        found = _shaped(path, pages)
    if not found or all(math.prod(scene.sizes) == 1 for scene in found):
        return [Scene("Z", (count,), range(count))]
    return found


def _imagej(path: Path, held: Mapping[str, Any], count: int) -> Scene:
    sizes = tuple(whole_number(held.get(name, 1)) for name in ("frames", "slices", "channels"))
    if math.prod(sizes) == 1:
        return Scene("Z", (count,), range(count))
    if math.prod(sizes) != count:
        raise InputError(
            f"{path} says that it has {sizes[0]} frames, {sizes[1]} slices and {sizes[2]} channels, and it has {count} "
            "images; correct it in ImageJ: Image > Properties, and save a new file"
        )
    return Scene("TZC", sizes, range(count))


def _ome(image: OmeImage, pages: Sequence[TiffPage]) -> Scene:
    sizes = (image.times, len(image.channels), image.slices)
    among = {page.index: i for i, page in enumerate(pages)}  # thumbnails may lie between them
    own = [n if n == ELSEWHERE else among.get(n, len(pages)) for n in image.pages]
    return Scene("TCZ", sizes, own, image.name, image.channels, image)


def _vendors(tif: TiffFile, pages: Sequence[TiffPage]) -> Iterator[Scene]:
    numbers: dict[Any, int] = {page.index: i for i, page in enumerate(pages)}
    for series in tif.series:
        axes = series.axes.removesuffix("YX")
        own = [numbers.get(getattr(page, "index", None), ELSEWHERE) for page in series.pages]
        if math.prod(series.shape[: len(axes)]) == len(own):
            yield Scene(axes or "Z", tuple(series.shape[: len(axes)]) or (1,), own, series.name)


def _shaped(path: Path, pages: Sequence[TiffPage]) -> list[Scene]:
    """Images by the shapes that tifffile wrote into the first page of each array."""
    found = []
    for i, page in enumerate(pages):
        held = shaped_metadata(page)
        if not held:
            continue
        sizes = tuple(held["shape"])
        inner = "YXS"[: len(page.shape)]
        outer = len(sizes) - len(inner)
        axes = str(held.get("axes") or "Q" * outer + inner)
        if len(axes) != len(sizes) or not axes.endswith(inner):
            raise InputError(
                f"{path} has axes {axes} of lengths {sizes}; a page holds y and x. Save a volume of axes ZYX"
            )
        planes = math.prod(sizes[:outer])
        found.append(Scene(axes[:outer] or "Z", sizes[:outer] or (1,), range(i, i + planes)))
    return found


def shaped_metadata(page: TiffPage) -> dict[str, Any]:
    """Metadata that tifffile wrote into the first page of an array; empty if absent or damaged."""
    texts = (str(getattr(page, name, "")) for name in ("description", "description1"))
    text = next((text for text in texts if text.startswith('{"shape":')), "{}")
    try:
        held: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    shape = held.get("shape")
    good = isinstance(shape, list) and shape and all(isinstance(n, int) and n > 0 for n in shape)
    return held if good and len(held["shape"]) > 1 else {}


def declared_images(tif: TiffFile, page: TiffPage) -> int:
    """Number of slices according to the description, if all lie behind one page header.

    ImageJ writes stacks over 4 GiB with one header; tifffile does so with `truncate`.
    """
    shaped = shaped_metadata(page)
    if shaped.get("truncated"):
        return int(math.prod(shaped["shape"]) // page.size)
    return whole_number((tif.imagej_metadata or {}).get("images", 1))


def refuse_volume_in_a_page(path: Path, page: TiffPage) -> None:
    """Raise if a page is itself a volume.

    Parameters
    ----------
    path : Path
        The file.
    page : TiffPage
        The page.

    Raises
    ------
    InputError
        If it is; the message contains the command that writes its slices as pages of a new file.
    """
    if page.imagedepth > 1:
        raise InputError(
            f"{path}: a page holds a volume of {page.imagedepth} slices (ImageDepth); a page is one slice. Write it "
            f"again: python -c \"import tifffile; tifffile.imwrite('{path.stem}_pages.tif', "
            f"tifffile.imread('{path.name}'), photometric='minisblack')\""
        )


def refuse_undecodable(path: Path, page: TiffPage) -> None:
    """Raise if a page cannot be decoded with the packages that are installed.

    Parameters
    ----------
    path : Path
        The file.
    page : TiffPage
        The page.

    Raises
    ------
    MissingExtraError
        If it cannot; the message says what to type.
    """
    for code, known in (
        (page.compression, TIFF.DECOMPRESSORS),
        (page.predictor, TIFF.UNPREDICTORS),
    ):
        if code not in known:
            name = getattr(code, "name", code)
            raise MissingExtraError(
                f"{path} is compressed with {name}, which the installed imagecodecs does not decode. Type  pip install "
                "-U imagecodecs, or save it uncompressed under another name"
            )
    if page.bitspersample not in _PLAIN_BITS and find_spec("imagecodecs") is None:
        raise MissingExtraError(
            f"{path} packs {page.bitspersample} bits a pixel; to read it type  pip install imagecodecs"
        )


def refuse_promises(path: Path, number: int, page: TiffPage) -> None:
    """Raise if the header of a page states more pixels than its bytes can hold.

    Parameters
    ----------
    path : Path
        The file.
    number : int
        Index of the page.
    page : TiffPage
        The page.

    Raises
    ------
    InputError
        If it does; the message contains both numbers.
    """
    most = {1: 1} | dict.fromkeys(_DEFLATE, DEFLATE_LIMIT)
    factor, stored = most.get(int(page.compression)), sum(page.databytecounts)
    promised = math.prod(page.shape) * page.bitspersample // 8
    if factor is not None and promised > factor * stored:
        raise InputError(
            f"{path} is truncated or damaged: page {number} promises {page.shape} pixels, and its {stored} bytes "
            "cannot hold more than a part of them; copy it again from the microscope, or leave it out"
        )


def piece_bytes(page: TiffPage) -> int:
    """Memory of a decoded strip or tile, in bytes."""
    return math.prod(page.chunks) * np.dtype(page.dtype).itemsize
