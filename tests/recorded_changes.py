"""What each parameter of each verb, changed alone, gives or is told, compared with tests/recorded_changes.json.

It is compared where `TIM3D_RECORDED` is set, as by `make slow`. Of a change stands there what differs from the call
as it is. One that is meant is recorded again by

    python -m tests.recorded_changes

and is read as a diff. See tests/recorded.py for what is left out.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from safetensors.numpy import load

from tests import recorded

FILE = Path(__file__).with_suffix(".json")
TESTS = [
    f"tests/integration/test_parameters{one}.py" for one in ("", "_results", "_relate", "_files")
]
Lines = dict[str, Any]
# Compared by `make slow` only: last bits of trainings differ between processors.
WANTED = "TIM3D_RECORDED" in os.environ
# Words for what no call gives on another machine: its networks and forests.
UNSTEADY = {"likeness", "fidelity_images", "train", "embed", "evaluate_images"}
# Clocks, machines and digests in the records of trainings.
OF_THE_RUN = {
    *recorded.OF_THE_RUN,
    "seconds",
    "minutes",
    "rate",
    "device",
    "environment",
    "libraries",
    "sha256",
    "digest",
}
DIGEST = re.compile(r"[0-9a-f]{12,64}")
NEW: Lines | None = None


def of(found: Any, verb: str, folder: Path) -> Lines:
    """Lines of a result, of a field, or of a refusal."""
    if isinstance(found, xr.Dataset):
        steady = verb not in UNSTEADY
        lines = dict(recorded.of_result(found, steady, verb in recorded.ROUNDED))
    elif isinstance(found, xr.DataArray):
        lines = dict(of_field(found))
    else:
        lines = {"": str(found)}
    cleaned: Lines = recorded.clean(recorded.clean(lines, folder), Path.cwd())
    return cleaned


def of_field(found: xr.DataArray) -> Iterator[tuple[str, Any]]:
    """Names, edges, type and mean of the voxels of a field, and what is written beside them."""
    yield "@", recorded.attributes(found.attrs)
    yield "/made", [str(found.name), str(found.dtype), list(found.shape)]
    values = np.asarray(found.values, np.float64)
    turning = values.ravel() * (1 + np.arange(values.size) % 97)
    yield "/values", [float(values.mean()), float(turning.mean())]


def of_files(files: Mapping[str, bytes], folder: Path) -> Lines:
    """What networks, records and tables hold: words and numbers, and of tensors their sum of squares."""
    lines: Lines = {}
    for name, data in files.items():
        lines |= {f"{name}{key}": value for key, value in _of_file(name, data)}
    cleaned: Lines = recorded.clean(recorded.clean(lines, folder), Path.cwd())
    return {key: value for key, value in cleaned.items() if value != "..."}


def _of_file(name: str, data: bytes) -> Iterator[tuple[str, Any]]:
    if name.endswith(".safetensors"):
        size = 8 + int.from_bytes(data[:8], "little")
        for key, text in json.loads(data[8:size]).get("__metadata__", {}).items():
            yield from _parts(f"/{key}", _parsed(text))
        tensors = load(data)
        yield "/size", float(sum(np.square(v.astype(np.float64)).sum() for v in tensors.values()))
    elif name.endswith(".json"):
        yield from _parts("/", json.loads(data))
    elif name.endswith((".csv", ".md", ".txt")):
        yield "", data.decode().splitlines()
    else:
        yield "", len(data) if name.endswith((".ply", ".stl", ".tif")) else "there"


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _parts(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Numbers and words within a record, but for what is of the run."""
    if isinstance(value, dict):
        for name, one in value.items():
            if str(name) not in OF_THE_RUN:
                yield from _parts(f"{key}/{name}", one)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for n, one in enumerate(value):
            yield from _parts(f"{key}/{n}", one)
    elif not (isinstance(value, str) and DIGEST.fullmatch(value)):
        yield key, recorded.shortened(value)


def compare(key: str, lines: Lines, first: Lines | None, verb: str, near: float = 0.0) -> None:
    """Refuse what differs from the recorded lines; of a change those that its first call has too are left out."""
    own = {
        k: lines.get(k, "not there") for k in {*lines, *(first or {})} if first is None or
        lines.get(k, "not there") != first.get(k)
    }  # fmt: skip
    if NEW is not None:
        NEW[key] = own
        return
    if not WANTED:
        return
    expected = listed().get(key, {})
    wrong = []
    for one in sorted({*own, *expected}):
        now = own.get(one, (first or {}).get(one, "not there"))
        then = expected.get(one, (first or {}).get(one, "not there"))
        if not recorded.same(now, then, near or recorded.ITERATED.get(verb, recorded.NEAR)):
            wrong.append(f"{key} {one}: {now!r} for {then!r}"[:600])
    assert not wrong, "if that is meant: python -m tests.recorded_changes\n" + "\n".join(wrong)


_HELD: Lines = {}


def listed() -> Lines:
    """Lines of the file, read once."""
    if not _HELD and FILE.exists():
        _HELD.update(json.loads(FILE.read_text()))
    return _HELD


def main() -> None:
    """Write the file."""
    from tests import recorded_changes as shared

    shared.NEW = {}
    with contextlib.suppress(SystemExit):
        chosen = [
            "-q",
            "-m",
            "not slow and not gpu",
            "-k",
            "changed_alone",
            "-p",
            "no:cacheprovider",
        ]
        pytest.main([*chosen, "-W", "ignore::pytest.PytestAssertRewriteWarning", *TESTS])
    rows = [
        f"{json.dumps(key)}: {json.dumps(shared.NEW[key], sort_keys=True, ensure_ascii=False)}"
        for key in sorted(shared.NEW)
    ]
    FILE.write_text("{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    main()
