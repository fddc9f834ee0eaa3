"""The verb `fidelity`: generated volumes against the micrographs that they should resemble."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tim3d.descriptors.builtin import COUPLED
from tim3d.engine import Outline, Pass, Plan, lock_sample, run
from tim3d.errors import ArgumentError
from tim3d.forecast import will_exist
from tim3d.grid import Triple
from tim3d.kernels.statistics import comparison as law
from tim3d.kernels.statistics.correlation import check_lags
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases
from tim3d.sources.grey_image import read_picture
from tim3d.sources.image import Image, size_of
from tim3d.sources.labelled_image import read_micrograph
from tim3d.stages.comparison import dataset
from tim3d.stages.comparison.base import Case, Seen
from tim3d.stages.comparison.grey_values import GreyCase
from tim3d.stages.comparison.line_counts import Lags
from tim3d.stages.comparison.phases import LabelCase
from tim3d.stages.comparison.slice_tortuosity import SlicesWork
from tim3d.stages.shared.field import DEFAULTS, Options
from tim3d.stages.shared.partials import sums
from tim3d.stages.shared.results import (
    ResultMaking,
    is_kept,
    refuse_another_question,
    result_name,
    results_of,
)
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import store
from tim3d.storage.files import absolute
from tim3d.storage.schema import AXES, Field
from tim3d.typed import Images, Lengths, PixelSize, Samples, VoxelLags

log = logging.getLogger(__name__)

GREY = "grey"
# Pixel and voxel size may differ by this much.
SIZE_TOLERANCE = 1e-3
SLICES = 8


@Verb
def fidelity(
    sample: str,
    volumes: Samples = (),
    *,
    micrograph: Images,
    phases: Phases | None = None,
    pixel_size: PixelSize | None = None,
    as_voxels: bool = False,
    scale: int = 1,
    field: str | None = None,
    lags: VoxelLags | None = None,
    lags_nm: Lengths | None = None,
    slices: int | None = None,
    period: int | None = None,
    seam: int | None = None,
    seed: int = 0,
    out: str = "",
    options: Options = DEFAULTS,
) -> Task[xr.Dataset]:
    """Compare volumes with micrographs: slices across z, y and x, by the same estimators.

    Compared for each phase: phase fraction, two-point correlation, lineal path, surface per volume
    (2 P_L), geodesic tortuosity within slices; for grey values: distribution, correlation, step
    between neighbours. Also reported: spread between the volumes, imprint of a generator's lattice,
    seams at the faces of chunks, and the 3-D results that the samples hold, for which an image
    provides no reference. See docs/fidelity.md.

    Parameters
    ----------
    sample : str
        The volume, in which the result is kept.
    volumes : sequence of str
        More volumes of the same generator: eight in all show the spread between runs (default:
        none).
    micrograph : path or three paths
        One image, or three for the slices across z, across y and across x. Their rows and columns
        are (y, x), (z, x) and (z, y).
    phases : Phases, optional
        Names as in the volumes, and the value of each in the image (default: grey values are
        compared).
    pixel_size : float or (rows, columns), optional
        Pixels of the images in nm, before the scaling (default: as their metadata say).
    as_voxels : bool
        Take a pixel to be as large as a voxel, even if its metadata state another size.
    scale : int
        Pixels of an image along the edge of one that is compared. The phase fractions stay the
        same.
    field : str, optional
        The field that is judged (default: phase, or raw where grey values are compared).
    lags : sequence of int, optional
        Lags of the curves in voxels (default: 1,2,4,6,8,12,16,24,32,48). Up to half the shortest
        edge.
    lags_nm : sequence of float, optional
        Lags of the curves in nm, instead (default: none). Whole voxels along every axis.
    slices : int, optional
        Slices across each axis in which ways through phases are sought (default: 8). 0 for none;
        grey values have none.
    period : int, optional
        Period of the generator's lattice in voxels (default: from the record of a network's
        volume).
    seam : int, optional
        Edge in voxels of the chunks whose faces are looked at (default: a network's tile, otherwise
        shards or chunks).
    seed : int
        Number from which the bootstrap follows.
    out : str
        Name of the result (default: FIELD_fidelity and what is not a default).
    options : Options
        How it runs.

    Returns
    -------
    xarray.Dataset
        Values of volumes and images, deviations over (quantity, slices, phase) with 95 % bootstrap
        intervals, goals and whether they are reached, as stored in the node of the result.

    Raises
    ------
    MissingFieldError
        If a volume lacks the field.
    ArgumentError
        If an argument is out of range, phases or voxel sizes differ, or pixels are not as large as
        voxels.
    InputError
        If an image cannot be used.
    MixedRunError
        If a field is outdated, or `out` is another result.
    """
    _check_used(phases, pixel_size, as_voxels, slices)
    urls = [str(sample), *map(str, volumes)]
    field = field or _field(urls[0], phases)
    fields = [store.complete_field(url, field, "generate") for url in urls]
    across = SLICES if slices is None else slices
    paths = (
        [str(micrograph)]
        if isinstance(micrograph, str | Path)
        else [str(path) for path in micrograph]
    )

    def comparing() -> Comparing:
        images = _images(paths, phases, pixel_size, scale)
        _check(urls, fields, images, phases, as_voxels)
        by_default = (
            _period(urls[0], field),
            _seam(urls[0], fields[0], None),
            _lags(fields, images, None, None),
        )
        case = (LabelCase if phases else GreyCase)(
            urls, fields, images, tuple(phases or (GREY,)), _lags(fields, images, lags, lags_nm), across,
            by_default[0] if period is None else period, _seam(urls[0], fields[0], seam), seed,
        )  # fmt: skip
        case.check(given_period=period)
        asked: dict[str, tuple[Any, Any]] = {
            "volumes": ([Path(url).stem for url in urls[1:]], []), "micrograph": ([Path(p).stem for p in paths], None),
            "phases": (dict(phases or {}), {}), "scale": (scale, 1), "lags": (case.lags, by_default[2]),
            "slices": (across, SLICES), "period": (case.period, by_default[0]), "seam": (case.seam, by_default[1]),
            "seed": (seed, 0),
        }  # fmt: skip
        parameters = {
            "phases": dict(phases or {}),
            "scale": scale,
            "micrographs": [Path(p).name for p in paths],
        }
        return Comparing(case, out or _node(field, asked), parameters, options)

    def plans() -> list[Plan | Outline]:
        if any(will_exist(path) and not Path(path).exists() for path in paths):
            return [
                Outline(
                    f"{field}_fidelity", "compares with a micrograph that an earlier step writes"
                )
            ]
        return comparing().plans()

    return Task(plans, lambda: comparing().result())


def _node(field: str, asked: Mapping[str, tuple[Any, Any]]) -> str:
    """Name of the result; lags that are equal along all axes appear in it once."""
    lags, usual = asked["lags"]
    shown = lags[0] if len(set(lags)) == 1 else [n for along in lags for n in along]
    return result_name(f"{field}_fidelity", **{**asked, "lags": (shown, usual[0])})


@dataclass(frozen=True)
class Comparing:
    """A comparison, and the node that holds its result."""

    case: Case
    node: str
    parameters: Mapping[str, Any]
    options: Options

    @cached_property
    def passes(self) -> list[list[Pass]]:
        """Passes over each volume."""
        return [self.case.passes(number, self.options) for number in range(len(self.case.urls))]

    @property
    def making(self) -> ResultMaking:
        """The result and its inputs: volumes, their 3-D results, pixels of the images."""
        case = self.case
        first, *others = (
            _inputs(url, field.name) for url, field in zip(case.urls, case.fields, strict=True)
        )
        inputs = {
            **first, "volumes": dict(zip(map(absolute, case.urls[1:]), others, strict=True)),
            "micrographs": [image.sha256 for image in case.images],
        }  # fmt: skip
        parameters = {
            **case.parameters,
            **self.parameters,
            "volumes": [absolute(url) for url in case.urls[1:]],
        }
        return ResultMaking(
            "fidelity", case.urls[0], self.node, inputs, parameters, (), self.gather
        )

    def plans(self) -> list[Plan | Outline]:
        """Plans of the passes that are left over all volumes; empty if the result exists."""
        making, afresh = self.making, self.options.overwrite
        refuse_another_question(
            making.sample, making.node, "fidelity", making.parameters, self.options
        )
        if is_kept(making, self.options):
            return []
        store.expect_dataset(making.sample, making.node, making.record)
        pairs = [
            (url, one)
            for url, ones in zip(self.case.urls, self.passes, strict=True)
            for one in ones
        ]
        left = [one.plan(afresh=afresh) for url, one in pairs if afresh or not _is_done(url, one)]
        return [*left] or [Outline(self.node, "compares what was counted before, reads no voxel")]

    def result(self) -> xr.Dataset:
        """Return the result, from stored counts or from counts made now."""
        plans = self.plans()
        for plan in plans:
            plan.check()
        making = self.making
        if plans:
            found = making.gather()
            with lock_sample(making.sample):
                store.write_dataset(making.sample, making.node, found, making.record)
        return store.open_dataset(making.sample, making.node)

    def gather(self) -> xr.Dataset:
        """Compare the values of all volumes with those in the images."""
        seen = [
            _seen(self.case, number, ones, self.options) for number, ones in enumerate(self.passes)
        ]
        return dataset.dataset(self.case, seen)


def _inputs(url: str, field: str) -> dict[str, str]:
    """Fingerprints of a field and of the current 3-D results about it, which are reported too."""
    nodes = [
        node
        for verb in dict.fromkeys(one.verb for one in COUPLED.values())
        for node in (results_of(url, verb, field) if store.is_sample(url) else ())
        if not store.outdated(url, node)
    ]
    return {node: store.fingerprint_of(url, node) for node in [field, *nodes]}


def _images(
    paths: Sequence[str], phases: Phases | None, pixel_size: Any, scale: int
) -> tuple[Image, ...]:
    if len(paths) not in (1, 3):
        raise ArgumentError(
            f"{len(paths)} micrographs; give one for all directions, or three: across z (rows y, columns x), across y "
            "(rows z, columns x), across x (rows z, columns y)"
        )
    if phases:
        return tuple(read_micrograph(path, phases, pixel_size, scale) for path in paths)
    return tuple(read_picture(path, pixel_size, scale, grey_only=True) for path in paths)


def _field(url: str, phases: Phases | None) -> str:
    """Name of the field to compare if none is given."""
    if phases:
        return "phase"
    if not store.node_attributes(url, "raw") and store.node_attributes(url, "phase"):
        raise ArgumentError(
            f"{url} holds labels ('phase') and no grey values ('raw'). Say which value each phase has in the image: "
            "--phases NAME=VALUE,...; or name a field of grey values: --field NAME"
        )
    return "raw"


def _check_used(
    phases: Phases | None, pixel_size: Any, as_voxels: bool, slices: int | None
) -> None:
    """Refuse a size that no pixel has, and arguments that have no effect together with the others."""
    size_of(pixel_size)
    if phases is None and slices is not None:
        raise ArgumentError(
            "grey values have no ways through phases: leave out --slices, or give --phases"
        )
    if as_voxels and pixel_size is not None:
        raise ArgumentError(
            "with --as-voxels a pixel is as large as a voxel: leave out --pixel-size or --as-voxels"
        )


def _check(
    urls: Sequence[str],
    fields: Sequence[Field],
    images: Sequence[Image],
    phases: Phases | None,
    as_voxels: bool,
) -> None:
    """Refuse volumes that differ from each other, or from the images, in phases or voxel size."""
    for url, one in zip(urls, fields, strict=True):
        if phases:
            _check_phases(url, one, phases)
        else:
            _check_grey(url, one)
        if not _alike(one.spacing_nm, fields[0].spacing_nm):
            raise ArgumentError(
                f"voxels of {url} are {one.spacing_nm} nm, of {urls[0]} {fields[0].spacing_nm} nm"
            )
    if len(set(map(absolute, urls))) < len(urls):
        raise ArgumentError(
            "a volume is given twice; the spread between volumes needs different ones"
        )
    if not as_voxels:
        for normal, plane in enumerate(law.PLANES):
            _check_pixels(
                images[normal % len(images)], AXES[normal], [fields[0].spacing_nm[a] for a in plane]
            )


def _check_phases(url: str, field: Field, phases: Phases) -> None:
    if field.phases is None or set(field.phases) != set(phases):
        raise ArgumentError(
            f"{field.name!r} of {url} has the phases {', '.join(field.phases or ()) or 'none'}, the micrograph has "
            f"{', '.join(phases)}; use the same names: --phases NAME=VALUE,..."
        )


def _check_grey(url: str, field: Field) -> None:
    if field.phases is not None:
        raise ArgumentError(
            f"{field.name!r} of {url} has the phases {', '.join(field.phases)}; say which value each has in the "
            "image: --phases NAME=VALUE,..."
        )
    if field.dtype != "uint8":
        raise ArgumentError(
            f"{field.name!r} of {url} is {field.dtype}, and grey values of 0 to 255 (uint8) are compared, as networks "
            "make them. Ingest it as 8-bit images"
        )


def _check_pixels(image: Image, normal: str, voxels: Sequence[float]) -> None:
    shown = " x ".join(f"{v:g}" for v in voxels)
    if image.pixel_nm is None:
        raise ArgumentError(
            f"{image.path} does not state its pixel size; voxels across {normal} are {shown} nm. "
            "Type --pixel-size, or --as-voxels to take a pixel for a voxel"
        )
    if not _alike(image.pixel_nm, voxels):
        pixels = " x ".join(f"{v:g}" for v in image.pixel_nm)
        raise ArgumentError(
            f"pixels of {image.path} are {pixels} nm (scale {image.scale}), voxels across {normal} are {shown} nm. "
            "Use --scale or --pixel-size, three micrographs, or --as-voxels to compare pixels with voxels all the same"
        )


def _alike(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(abs(x - y) <= SIZE_TOLERANCE * y for x, y in zip(a, b, strict=True))


def _lags(
    fields: Sequence[Field],
    images: Sequence[Image],
    lags: Sequence[int] | None,
    lags_nm: Sequence[float] | None,
) -> Lags:
    """Lags along z, y and x in voxels."""
    if lags is not None and lags_nm is not None:
        raise ArgumentError("give --lags in voxels or --lags-nm, not both")
    shortest = min(*(n for f in fields for n in f.shape), *(n for i in images for n in i.shape))
    if lags_nm is not None:
        z, y, x = (tuple(_whole(length, h) for length in lags_nm) for h in fields[0].spacing_nm)
    else:
        z = y = x = tuple(
            lags
            if lags is not None
            else [lag for lag in law.LAGS if lag == 1 or lag <= shortest // 2]
        )
    for one in (z, y, x):
        check_lags(one)
    longest = max(z[-1], y[-1], x[-1])
    if longest >= shortest:
        raise ArgumentError(
            f"a lag of {longest} voxels does not fit into the shortest edge, {shortest}"
        )
    return (z, y, x)


def _whole(length: float, step: float) -> int:
    lag = round(length / step)
    if lag < 1 or abs(lag * step - length) > SIZE_TOLERANCE * length:
        raise ArgumentError(
            f"a lag of {length:g} nm is not a whole number of voxels of {step:g} nm, 1 or more"
        )
    return lag


def _made(url: str, field: str) -> Mapping[str, Any]:
    parameters: Mapping[str, Any] = store.node_attributes(url, field).get("parameters", {})
    return parameters


def _period(url: str, field: str) -> int | None:
    """Voxels between the lattice nodes of the network that generated a volume."""
    made = _made(url, field).get("architecture")
    if made is None:
        return None
    from tim3d.kernels.generation.architecture import Architecture

    return Architecture.from_dict(made).step


def _seam(url: str, labels: Field, given: int | None) -> Triple:
    """Edges along z, y, x of a network's tiles, or of shards (chunks where one fills the axis)."""
    tile = _made(url, labels.name).get("tile") if given is None else given
    edges = zip(labels.shape, labels.shard, labels.chunk, strict=True)
    z, y, x = (
        int((shard if shard < n else chunk) if tile is None else tile) for n, shard, chunk in edges
    )
    return (z, y, x)


def _seen(case: Case, number: int, passes: Sequence[Pass], options: Options) -> Seen:
    """Values of a volume; passes that are complete are not run again."""
    url = case.urls[number]
    with lock_sample(url):
        for one in passes:
            if options.overwrite:
                one.ledger.forget()
            if options.overwrite or not _is_done(url, one):
                run(one, progress=options.progress)
                if one is passes[0]:
                    _keep(case, number, one)
    return case.seen(number, passes)


def _is_done(url: str, one: Pass) -> bool:
    """Whether a pass is complete.

    Sums of the first pass are kept in a node, so that a pass over other blocks finds them too.
    """
    if isinstance(one.work, SlicesWork):
        return not one.left()
    return store.fingerprint_of(url, one.ledger.name) == one.ledger.fingerprint


def _keep(case: Case, number: int, counting: Pass) -> None:
    lags = {axis: list(lags) for axis, lags in zip(AXES, case.lags, strict=True)}
    inputs = {case.fields[number].name: case.sources[number]}
    record = store.provenance(counting.ledger.fingerprint, {"lags": lags}, inputs) | {
        "verb": "fidelity"
    }
    store.write_dataset(case.urls[number], counting.ledger.name, sums(counting), record)
