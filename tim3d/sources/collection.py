"""Folders of single images instead of a stack: names, lists of some of them, and partners.

Images may differ in size, type and pixel size. The name of an image is its file name without the
suffix; a rule such as ``{name}_mask`` says how the partner of an image is called.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tim3d.errors import ArgumentError, InputError
from tim3d.sources.image_files import IMAGE_SUFFIXES
from tim3d.sources.positions import natural_key

SUFFIXES = (*IMAGE_SUFFIXES, ".npy")
_SHOWN = 5


def images_in(folder: str | Path) -> dict[str, Path]:
    """Images of a folder by name, in natural order; other files are left out.

    Raises
    ------
    InputError
        If the folder is missing or holds no image, or two files have one name.

    Examples
    --------
    >>> import tempfile
    >>> place = tempfile.TemporaryDirectory()
    >>> for name in ("b10.png", "b2.tif", "notes.txt"): _ = Path(place.name, name).write_bytes(b"")
    >>> list(images_in(place.name))
    ['b2', 'b10']
    >>> place.cleanup()
    """
    where = Path(folder)
    if not where.is_dir():
        raise InputError(f"no folder {folder}; give a folder of single images")
    if (where / "zarr.json").is_file():
        raise InputError(
            f"{folder} is a sample, not a folder of single images; see  tim3d show {folder}"
        )
    found: dict[str, Path] = {}
    for path in sorted(where.iterdir(), key=lambda path: natural_key(path.name)):
        if path.name.startswith(".") or path.suffix.lower() not in SUFFIXES or path.is_dir():
            continue
        if path.stem in found:
            raise InputError(
                f"{found[path.stem].name} and {path.name} in {folder} have one name; move one of them elsewhere"
            )
        found[path.stem] = path
    if not found:
        raise InputError(f"{folder} holds no image; expected {', '.join(SUFFIXES)}")
    return found


def listed_in(images: Mapping[str, Path], splits: str | Path, subset: str) -> dict[str, Path]:
    """Images that a file of lists names, in its order.

    Parameters
    ----------
    images : mapping of name to path
        Images of the folder.
    splits : path
        JSON of lists of names, perhaps in groups ({"train": [...], "test": [...]}), or CSV with the
        columns name and set. Names may carry a suffix.
    subset : str
        The list, with groups divided by slashes: test, Super2/test.

    Raises
    ------
    ArgumentError
        If the file has no such list.
    InputError
        If the file cannot be read, or names an image that is not there, or one twice.
    """
    names = [Path(name).stem if name not in images else name for name in _lists(splits, subset)]
    if missing := [name for name in names if name not in images]:
        raise InputError(
            f"{splits} lists {_some(missing)} in {subset!r}, and the folder has no such image"
        )
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise InputError(f"{splits} lists {twice[0]} twice in {subset!r}: list it once")
    return {name: images[name] for name in names}


def _lists(splits: str | Path, subset: str) -> list[str]:
    path = Path(splits)
    try:
        text = path.read_text()
        found: Any = json.loads(text) if path.suffix.lower() == ".json" else _of_csv(text)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{splits} is not a file of lists: {error}. Expected JSON {{set: [names]}}, or CSV with the columns "
            "name and set"
        ) from error
    for key in subset.split("/"):
        if not isinstance(found, Mapping) or key not in found:
            known = ", ".join(map(str, found)) if isinstance(found, Mapping) else "names"
            raise ArgumentError(f"{splits} has no list {subset!r}; at {key!r} there are {known}")
        found = found[key]
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        below = ", ".join(f"{subset}/{key}" for key in found) if isinstance(found, Mapping) else ""
        raise ArgumentError(f"{subset!r} of {splits} is not a list of names; write {below}")
    return found


def _of_csv(text: str) -> dict[str, list[str]]:
    lists: dict[str, list[str]] = {}
    for row in csv.DictReader(text.splitlines()):
        lists.setdefault(row["set"].strip(), []).append(row["name"].strip())
    return lists


def partner(rule: str, name: str) -> str:
    """Name of the partner of an image by a rule.

    Raises
    ------
    ArgumentError
        If the rule does not hold ``{name}`` once.

    Examples
    --------
    >>> partner("{name}_mask", "sem 3")
    'sem 3_mask'
    """
    if rule.count("{name}") != 1 or "/" in rule:
        raise ArgumentError(f"the rule {rule!r} must hold {{name}} once, as in {{name}}_mask")
    return rule.replace("{name}", name)


def partner_there(rule: str, name: str) -> str:
    """Name of the partner of an image by a rule of its name or of the number at its end.

    Raises
    ------
    ArgumentError
        If the rule holds neither ``{name}`` nor ``{number}`` once.
    InputError
        If the rule asks for a number, and the name does not end in one.

    Examples
    --------
    >>> partner_there("truth_{number}", "slice_00012")
    'truth_00012'
    """
    if rule.count("{name}") + rule.count("{number}") != 1 or "/" in rule:
        raise ArgumentError(
            f"the rule {rule!r} must hold {{name}} or {{number}} once, as in {{name}}_mask or truth_{{number}}"
        )
    if "{name}" in rule:
        return partner(rule, name)
    number = re.search(r"\d+$", name)
    if number is None:
        raise InputError(
            f"the rule {rule!r} needs the number at the end of a name, and the image {name!r} has none: use {{name}}"
        )
    return rule.replace("{number}", number[0])


def paired(
    images: Mapping[str, Path],
    others: Mapping[str, Path],
    rule: str,
    *,
    accept_missing: bool = False,
) -> dict[str, tuple[Path, Path]]:
    """Each image with its partner, by name.

    Parameters
    ----------
    images, others : mapping of name to path
        The images, and those among which partners are.
    rule : str
        Name of the partner of the image ``{name}``, or by the ``{number}`` at the end of its name.
    accept_missing : bool
        Leave out images without a partner.

    Raises
    ------
    InputError
        If an image has no partner, unless that is accepted; if none has one; or if two images have
        the same.
    """
    called = {name: partner_there(rule, name) for name in images}
    if twice := [one for one, times in Counter(called.values()).items() if times > 1]:
        alike = _some(name for name, one in called.items() if one == twice[0])
        raise InputError(f"the rule {rule!r} gives {alike} one partner, {twice[0]}: use {{name}}")
    found = {name: (path, others.get(called[name])) for name, path in images.items()}
    missing = [name for name, (_, other) in found.items() if other is None]
    if len(missing) == len(found) or (missing and not accept_missing):
        cure = "" if len(missing) == len(found) else ", or leave these out: --accept-missing"
        raise InputError(
            f"no partner called {rule} for {_some(missing)} ({len(missing)} of {len(found)} images). Add the files, "
            f"or give another rule, as --names {{name}}_mask or --names truth_{{number}}{cure}"
        )
    return {name: (path, other) for name, (path, other) in found.items() if other is not None}


def _some(names: Sequence[str] | Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
