"""Messages for a missing sample or field: which command to type.

No command that they suggest writes into a folder of the user's files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tim3d.errors import InputError
from tim3d.spelling import similar, suggestion
from tim3d.storage.files import is_local

SIZE = "--voxel-size z=10,y=5,x=5"


def no_sample(url: str) -> str:
    """Message for a path without a sample: what was found there, and the command that makes one."""
    if seen := foreign(url):
        return (
            f"{seen}. If these are slices, make a sample of them: tim3d ingest {url} {beside(url)} {SIZE}; single "
            f"images: tim3d segment-images {url} {url.rstrip('/')}-masks --method otsu --phases pore=0,solid=1"
        )
    if alike := _alike(url):
        return f"no sample at {url}{alike}"
    return f"no sample at {url}. Make one: tim3d ingest SLICES {url} {SIZE}"


def _alike(url: str) -> str:
    """Suggestion, in brackets, of a sample in the same folder with a similar name."""
    place = Path(url)
    if not is_local(url) or not place.parent.is_dir():
        return ""
    names = {one.parent.stem: one.parent for one in sorted(place.parent.glob("*/zarr.json"))}
    # What all paths and names have in common, folder and ending, would make any two alike.
    meant = similar(place.stem, names)
    return f" (did you mean {str(names[meant])!r}?)" if meant else ""


def foreign(path: str) -> str:
    """Message naming the contents of a folder that is not a sample; empty if there are none."""
    folder = Path(path)
    if not is_local(path) or not folder.is_dir() or not any(folder.iterdir()):
        return ""
    kinds = Counter(
        "folder" if one.is_dir() else one.suffix or "no suffix" for one in folder.iterdir()
    )
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return f"{path} is a folder of other files ({listed}), not a sample"


def beside(folder: str) -> str:
    """A name for a sample made from the slices in a folder, never one in that folder.

    >>> beside("scan/slices/")
    'scan/slices.zarr'
    """
    return f"{folder.rstrip('/')}.zarr"


def refuse_place(path: str) -> None:
    """Refuse a path where no sample can be created: a file, or a folder inside a sample.

    A file there usually is the last slice, and the name of the sample was forgotten.

    Raises
    ------
    InputError
        With the correct order of the arguments, or the sample and the name of the field in it.
    """
    if sample := _around(path):
        name = Path(path).resolve().relative_to(sample).parts[0]
        raise InputError(
            f"{path} lies in the sample {sample}, and no sample lies in another. Name the sample; "
            f"a field of it is named by an option: {sample} --field {name}"
        )
    if is_local(path) and Path(path).is_file():
        raise InputError(
            f"{path} is a file, and a sample is a folder. The sample comes last, after all slices: "
            f"tim3d ingest SLICES sample.zarr {SIZE}"
        )


def _around(path: str) -> Path | None:
    """The sample that contains a path, if any."""
    if not is_local(path):
        return None
    records = (one / "zarr.json" for one in reversed(Path(path).resolve().parents))
    return next(
        (one.parent for one in records if one.is_file() and b'"tim3d"' in one.read_bytes()), None
    )


def no_field(url: str, name: str, there: Sequence[str], verb: str) -> str:
    """Message for a missing field: the fields of the sample, and a similar name or how to make the field.

    >>> no_field("a.zarr", "pase", ["phase", "raw"], "segment")
    "no field 'pase' in a.zarr (did you mean 'phase'?); its fields are phase, raw"
    >>> no_field("a.zarr", "phase_skeleton", ["phase", "phase_distance"], "skeleton").partition(". ")[2]
    'Make it: tim3d skeleton a.zarr'
    """
    usual = name.endswith(f"_{verb}") and name.removesuffix(f"_{verb}") in there
    meant = "" if usual else suggestion(name, there)
    has = f"its fields are {', '.join(there)}" if there else "it has no field"
    # A field is not made under a mistyped name; phase_skeleton is not a mistyped phase_distance.
    cure = "" if meant else f". Make it: {making(url, name, verb)}"
    return f"no field {name!r} in {url}{meant}; {has}{cure}"


def no_result(url: str, node: str, there: Sequence[str]) -> str:
    """Message for a missing result: what the sample has, and a similar name or how to measure.

    >>> no_result("a.zarr", "phase_component", ["phase", "phase_components"])
    "no result 'phase_component' in a.zarr (did you mean 'phase_components'?); it has phase, phase_components"
    """
    meant = suggestion(node, there)
    cure = "" if meant else f". Run: tim3d measure {url}"
    if node.endswith("_slices"):  # of a grey field, written with it
        cure = f". Make the field {node.removesuffix('_slices')!r} again, with --overwrite"
    return f"no result {node!r} in {url}{meant}; it has {', '.join(there) or 'nothing'}{cure}"


def _thinning(url: str, name: str) -> str:
    """Command that makes a skeleton of this name.

    >>> _thinning("a.zarr", "phase_skeleton"), _thinning("a.zarr", "phase_skeleton_phases=a")
    ('tim3d skeleton a.zarr', 'tim3d skeleton a.zarr --distance phase_distance_phases=a')
    """
    of, found, phases = name.rpartition("_skeleton")
    distance = f"{of}_distance{phases}"
    if not found:
        return f"tim3d skeleton {url} --out {name}"
    return f"tim3d skeleton {url}" + (
        f" --distance {distance}" if distance != "phase_distance" else ""
    )


def making(url: str, name: str, verb: str) -> str:
    """The complete command that makes a field.

    >>> making("a.zarr", "truth", "labels")
    'tim3d ingest MASKS a.zarr --field truth --phases pore=0,solid=1 --voxel-size z=10,y=5,x=5'
    >>> making("a.zarr", "drawn", "objects")
    'tim3d ingest OBJECTS a.zarr --field drawn --convert objects --voxel-size z=10,y=5,x=5'
    >>> making("a.zarr", "cleaned_distance_phases=a+b", "distance")
    'tim3d distance a.zarr --field cleaned --phases a,b'
    """
    of, found, phases = name.rpartition("_distance")
    on_field = f" --field {of}" if of != "phase" else ""
    chosen = phases.replace("_phases=", " --phases ").replace("+", ",")
    usual = found and (not phases or phases.startswith("_phases="))
    by_verb = {
        "annotate": f"tim3d annotate {url} --out {name}",
        "distance": f"tim3d distance {url}"
        + (f"{on_field}{chosen}" if usual else f" --out {name}"),
        "skeleton": _thinning(url, name),
        "generate": f"tim3d generate {url} --kind network --weights gen.safetensors --shape 256,256,256 --out {name}",
        "objects": f"tim3d ingest OBJECTS {url} --field {name} --convert objects {SIZE}",
        "labels": f"tim3d ingest MASKS {url} --field {name} --phases pore=0,solid=1 {SIZE}",
        "segment": f"tim3d segment {url} --method otsu --phases pore=0,solid=1 --out {name}",
    }
    return by_verb.get(verb, f"tim3d ingest SLICES {url} --field {name} {SIZE}")


def other_stack(one: str, its: Sequence[int], other: str, others: Sequence[int]) -> str:
    """Message for two fields of different shape: the likely reason, and how to get two that agree.

    >>> other_stack("raw", (2, 3, 4), "truth", (1, 3, 4)).partition(":")[0]
    "'raw' has 2 x 3 x 4 voxels and 'truth' has 1 x 3 x 4"
    """
    shapes = [" x ".join(map(str, shape)) for shape in (its, others)]
    return (
        f"{one!r} has {shapes[0]} voxels and {other!r} has {shapes[1]}: one lacks slices, or is of another stack. "
        "Ingest the slices of both that belong together into a new sample"
    )
