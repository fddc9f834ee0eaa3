"""The sample as one OME-Zarr image: attributes at its root, and its labels below the group ``labels``.

Viewers that know OME-Zarr open the sample itself: its grey field is the image. OME-Zarr wants labels
below their image, so the files of each label field are there a second time: as hard links where the
disk has them, since a shard is never changed in place. All of it is made from the fields whenever
one is finished or replaced, and tim3d reads nothing from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import zarr

from tim3d.colours import colours, rgb
from tim3d.errors import Tim3dError
from tim3d.grid import Triple, triple
from tim3d.storage import digests, schema, store
from tim3d.storage.files import are_copies, copy_files, writing
from tim3d.storage.removal import NODE, remove_partials, remove_tree

FOLDER = schema.LABELS_FOLDER
# Verbs that make grey values; other fields of numbers are distances, potentials and the like.
_GREY = ("ingest", "prepare", "generate", "")
# What reading a node raises that is damaged or was made by another program.
_UNREADABLE = (Tim3dError, ValueError, TypeError, LookupError, AttributeError)


@dataclass(frozen=True)
class Seen:
    """A finished field as its metadata describe it."""

    name: str
    levels: tuple[Mapping[str, Any], ...]
    shapes: tuple[Triple, ...]
    labels: bool
    grey: bool
    fingerprint: str
    phases: Mapping[str, int]

    @property
    def grid(self) -> tuple[Any, ...]:
        """Shape and voxel size: fields that agree in both lie on each other."""
        return self.shapes[0], tuple(_scale(self.levels[0]))


@dataclass(frozen=True)
class Wanted:
    """Description of a sample for viewers: the `ome` attribute of its root, and its labels by name."""

    ome: dict[str, Any]
    labels: Mapping[str, Mapping[str, Any]]


def show(sample: str, *, adding: Sequence[str] = (), without: Sequence[str] = ()) -> None:
    """Bring the image of a sample up to date.

    Parameters
    ----------
    sample : str
        Path or URL of the sample; the caller holds its lock.
    adding : sequence of str
        Fields whose voxels are all there and which are about to be marked as finished.
    without : sequence of str
        Fields that are about to be removed.
    """
    wanted = expected(sample, adding=adding, without=without)
    if wanted != found(sample):
        with writing(sample):
            _write(sample, wanted)


def renew(sample: str) -> None:
    """Bring the image up to date, and replace labels that differ from their field."""
    if others := differing(sample):
        show(sample, without=others)
    show(sample)


def differing(sample: str) -> list[str]:
    """Label fields whose files below `FOLDER` are not those of the field."""
    return [
        name
        for name, attributes in expected(sample).labels.items()
        if name in found(sample).labels
        and not all(
            are_copies(f"{sample}/{path}", f"{sample}/{FOLDER}/{path}")
            for level in attributes["ome"]["multiscales"][0]["datasets"]
            for path in [f"{name}/{level['path']}"]
        )
    ]


def found(sample: str) -> Wanted:
    """Description that the root of a sample carries now."""
    root = zarr.open_group(sample, mode="r", zarr_format=3)
    folder: Any = root.get(FOLDER)
    ome = dict(root.attrs).get("ome")
    attributes = {} if folder is None else dict(folder.attrs)
    names: Any = attributes.get("ome", {}) if "tim3d" not in attributes else {}
    listed = names.get("labels", ()) if isinstance(names, Mapping) else ()
    there = {str(name): folder.get(str(name)) for name in listed} if folder is not None else {}
    return Wanted(
        ome if isinstance(ome, dict) else {},
        {name: {} if one is None else dict(one.attrs) for name, one in there.items()},
    )


def expected(sample: str, *, adding: Sequence[str] = (), without: Sequence[str] = ()) -> Wanted:
    """Description that follows from the finished fields of a sample."""
    fields = [one for one in _seen(sample, adding) if one.name not in without]
    image = _image(fields)
    if image is None:
        return Wanted({}, {})
    levels = [{**level, "path": f"{image.name}/{level['path']}"} for level in image.levels]
    shown = [one for one in fields if one.labels and one.grid == image.grid]
    copied = {one.name: _label_attributes(one) for one in shown}
    if store.claimed(sample, FOLDER):  # a field of an older tim3d, which keeps its name
        copied = {}
    return Wanted({"version": "0.5", "multiscales": [_multiscale(image.name, levels)]}, copied)


def _image(fields: list[Seen]) -> Seen | None:
    """The grey field on whose grid most labels lie; without grey values, the labels themselves."""
    grids = [one.grid for one in fields if one.labels]
    candidates = [one for one in fields if one.grey] or [one for one in fields if one.labels]
    first = sorted(candidates, key=lambda one: (one.name not in ("raw", "phase"), one.name))
    return max(first, key=lambda one: grids.count(one.grid), default=None)


def _seen(sample: str, adding: Sequence[str]) -> Iterator[Seen]:
    root = zarr.open_group(sample, mode="r", zarr_format=3)
    for name in store.nodes(sample):
        try:
            one = _described(root, name, adding)
        except _UNREADABLE:
            continue  # `validate` says what is wrong with it
        if one is not None:
            yield one


def _described(root: zarr.Group, name: str, adding: Sequence[str]) -> Seen | None:
    attributes: Any = dict(root[name].attrs)
    record = digests.plain(attributes["tim3d"])
    is_finished = record["status"] == "complete" or name in adding
    if record["kind"] != "field" or not is_finished or record.get("intermediate"):
        return None
    levels = attributes["ome"]["multiscales"][0]["datasets"]
    arrays: list[Any] = [root[f"{name}/{level['path']}"] for level in levels]
    flags = dict(arrays[0].attrs)
    return Seen(
        name,
        tuple(levels),
        tuple(triple(array.shape) for array in arrays),
        bool(record["labels"]) and arrays[0].dtype.kind == "u",  # distances are picked like labels
        not record["labels"] and record.get("verb", "") in _GREY,
        record["fingerprint"],
        schema.phases_of(flags, name) if "flag_values" in flags else {},
    )


def _scale(level: Mapping[str, Any]) -> list[float]:
    return list(level["coordinateTransformations"][0]["scale"])


def _multiscale(name: str, levels: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": name, "axes": schema.OME_AXES, "datasets": levels}


def _label_attributes(one: Seen) -> dict[str, Any]:
    levels = [dict(level) for level in one.levels]
    ome = {"version": "0.5", "multiscales": [_multiscale(one.name, levels)]}
    return {"ome": ome | {"image-label": _image_label(one.phases)}, "shows": one.fingerprint}


def _image_label(phases: Mapping[str, int]) -> dict[str, Any]:
    """Colours and names of phases, under the keys of OME-Zarr.

    >>> _image_label({"pore": 0})["colors"]
    [{'label-value': 0, 'rgba': [0, 114, 178, 255]}]
    """
    source = {"source": {"image": "../../"}}
    if not phases:
        return source
    shades = colours(phases)
    return source | {
        "colors": [
            {"label-value": code, "rgba": [*rgb(shades[name]), 255]}
            for name, code in phases.items()
        ],
        "properties": [{"label-value": code, "phase": name} for name, code in phases.items()],
    }


def _write(sample: str, wanted: Wanted) -> None:
    now = found(sample).labels
    right = [name for name, one in wanted.labels.items() if now.get(name) == one]
    remove_partials(f"{sample}/zarr.json")
    root = zarr.open_group(sample, mode="r+", zarr_format=3)
    if now or wanted.labels:
        _list(root, right)
    for name in (name for name in now if name not in right):
        remove_tree(sample, f"{FOLDER}/{name}", NODE)
    for name, attributes in wanted.labels.items():
        if name not in right:
            _copy(sample, root, name, attributes)
    if wanted.labels:
        _list(root, list(wanted.labels))
    elif now:
        remove_tree(sample, FOLDER, NODE)
    if dict(root.attrs).get("ome", {}) != wanted.ome:
        _set(root, wanted.ome)


def _set(root: zarr.Group, ome: dict[str, Any]) -> None:
    rest = {key: value for key, value in dict(root.attrs).items() if key != "ome"}
    root.attrs.put(rest | ({"ome": ome} if ome else {}))


def _list(root: zarr.Group, names: list[str]) -> None:
    """The group of the labels, with the names of those that are whole."""
    root.require_group(FOLDER).attrs.put({"ome": {"version": "0.5", "labels": names}})


def _copy(sample: str, root: zarr.Group, name: str, attributes: Mapping[str, Any]) -> None:
    """A label field once more, below `FOLDER`; its attributes come last."""
    remove_tree(sample, f"{FOLDER}/{name}", NODE)
    group = root.require_group(FOLDER).require_group(name)
    for level in attributes["ome"]["multiscales"][0]["datasets"]:
        group.require_group(level["path"].partition("/")[0])
        path = f"{name}/{level['path']}"
        copy_files(f"{sample}/{path}", f"{sample}/{FOLDER}/{path}")
    group.attrs.put(dict(attributes))
