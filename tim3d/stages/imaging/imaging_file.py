"""The file of an imaging model: JSON to be read and edited."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.image.imaging_model import Imaging
from tim3d.spelling import suggestion
from tim3d.storage import outputs

MARK, SCHEMA = "imaging", 1
IMAGING = outputs.Kind("an imaging model of tim3d", lambda data: b'"tim3d": "imaging"' in data[:60])


def write_imaging(path: Path, model: Imaging, fitted: Mapping[str, Any]) -> None:
    """Write a model and what it was fitted to; the file appears whole or not at all."""
    about = {"tim3d": MARK, "schema": SCHEMA, "model": asdict(model), "fitted": dict(fitted)}
    outputs.write_file(path, (json.dumps(about, indent=2) + "\n").encode(), IMAGING)


def read_imaging(path: str | Path) -> Imaging:
    """Read a model.

    Raises
    ------
    InputError
        If the file is missing or not a model, or one of its numbers is out of range.
    """
    try:
        about = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is not an imaging model: {error}. Make one: tim3d fit-imaging SAMPLE {path}"
        ) from error
    if not isinstance(about, dict) or about.get("tim3d") != MARK or about.get("schema") != SCHEMA:
        raise InputError(
            f"{path} is not an imaging model of this version. Make one: tim3d fit-imaging SAMPLE {path}"
        )
    return _checked(path, about.get("model"))


def _checked(path: str | Path, values: Any) -> Imaging:
    known = [one.name for one in fields(Imaging)]
    given = values if isinstance(values, dict) else {}
    if strange := [name for name in given if name not in known]:
        raise InputError(
            f"{path}: an imaging model has no {strange[0]!r}{suggestion(strange[0], known)}"
        )
    texts = {"dtype", "through"}
    for name, value in given.items():
        wanted: type | tuple[type, ...] = str if name in texts else (int, float)
        wanted = dict if name == "levels" else wanted
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise InputError(f"{path}: {name} is {value!r}, a {type(value).__name__}")
    try:
        return Imaging(**given)
    except (ArgumentError, TypeError) as error:
        raise InputError(f"{path}: {error}") from error
