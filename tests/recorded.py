"""Results of every verb on tiny volumes as lines of text, compared with those of the committed file.

No law: a change that no law forbids shows here as a difference. One that is meant is recorded again by

    python -m tests.recorded

and is read as a diff. Edges of a voxel and numbers of voxels differ along all axes, labels have three
phases, and the volumes are made of whole numbers, so that every machine has the same. Left out are clocks,
folders, memory, fingerprints, networks, and numbers whose sums depend on the machine.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import html
import io
import itertools
import json
import logging
import math
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import tifffile
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage as ndi

import tim3d
from tests.integration.test_every_verb import SMALL, TABLE, TWO, A, furnished
from tests.soft import Soft
from tim3d import engine
from tim3d.cli import actions, parsing
from tim3d.descriptors.builtin import BUILTIN, PARAMETRIC
from tim3d.kernels.generation.architecture import PRESETS
from tim3d.stages.uncertainty.point_files import places, table_of
from tim3d.storage import store

FILE = Path(__file__).with_suffix(".json")
QUIET = tim3d.Options(progress=False)
THREE = tim3d.Phases(pore=0, solid=1, third=2)


def fields_of(kind: type) -> set[str]:
    """Names of the parameters of a class."""
    return {one.name for one in dataclasses.fields(kind)}


SHAPE, SPACING = (14, 26, 21), {"z": 10.0, "y": 8.0, "x": 5.0}
EVERY = [
    *BUILTIN,
    *(kind for kind, one in PARAMETRIC.items() if not {"lags", "sigma"} & fields_of(one)),
    *(f"{kind}:lags=4" for kind, one in PARAMETRIC.items() if "lags" in fields_of(one)),
    *(f"{kind}:sigma=1" for kind, one in PARAMETRIC.items() if "sigma" in fields_of(one)),
]
# What the calls ask otherwise than in `tests.integration.test_every_verb`: lengths of this sample, three phases.
CHANGES: dict[str, dict[str, Any]] = {
    "generate": {"shape": SHAPE, "voxel_size": SPACING},
    "ingest": {"source": "c.npy", "field": "c", "voxel_size": SPACING},
    "prepare": {
        "steps": [
            "fill",
            "median:radius_nm=11",
            "background:scale_nm=60",
            "brightness",
            "crop:bar=2",
        ]
    },
    "combine_labels": {"labels": ["phase", "truth"]},
    "segment": {"method": "fixed", "thresholds": [90, 170], "phases": THREE},
    "label": {"keep": True, "component": "component"},
    "measure": {"descriptors": EVERY},
    "solve": {"conductivity": {"pore": 1.0, "solid": 10.0, "third": 3.0}},
    "study": {"windows": None, "windows_nm": [40.0, 60.0]},
    "calibrate": {"truth": "two"},
    "sample_labels": {"correlation": 30},
    "render": {"field": "two"},
    "fidelity": {"field": "two", "as_voxels": True},
    "likeness": {"crop": 6},
    "fit_imaging": {"field": "coarse", "thresholds": [128.0]},
}
# Not called: they serve a browser, make the files that the others are given, or are networks, whose sums
# in float32 have an order that the machine chooses.
LEFT_OUT = {
    "view", "simulate",
    "embed", "fine_tune", "generate_images", "import_generator", "import_network", "library", "propagate",
    "segment_prompted", "train", "train_cgan", "train_diffusion", "train_generator", "train_images", "train_strokes",
    "train_strokes_images", "train_translator", "translate", "tune_masks", "tune_masks_images",
}  # fmt: skip
# What other verbs make of the phases for the descriptors that are measured here.
NEEDED = {"measure": ("distance", "thickness", "label")}
# What they return is printed in whole, or was returned by others.
AGAIN = {"table", "describe"}
# Their figures are those of `plot`, and what is printed is the table that is written.
SHOWN_BY_OTHERS = {"report", "table"}
# Neighbours, forests and places without meaning: their numbers may change by a rounded sum.
UNSTEADY = {"likeness", "fidelity_images"}
# Relative difference of numbers: that of iterations, which may end one step earlier, and of all others.
NEAR = 1e-6
ITERATED = {
    "solve": 2e-3, "contact": 5e-2, "bond_line": 5e-2, "struts": 1e-4, "particles": 1e-4, "prepare": 1e-3,
    "plot": 2e-3, "describe": 2e-3, "table": 2e-3, "report": 2e-3,
}  # fmt: skip
# Grey values and labels are rounded sums of floats: another machine may round some the other way.
ROUNDED = {
    "prepare",
    "adapt",
    "render",
    "annotate",
    "generate",
    "sample_labels",
    "inspect",
    "fit_imaging",
}
# Parts of a plan that follow from the memory of the process and of the machine; workers that are not
# started hold nothing, so that their peak is that of any machine.
OF_THE_MACHINE = {"base_bytes", "limit_bytes", "cost", "workers", "threads", "cure"}
# What differs from run to run within a text: days, digests, the version.
RUNS = re.compile(r"\d{4}-\d\d-\d\d[ T]?[\d:+]*( UTC)?|\b[0-9a-f]{12,64}\b|\b0\.\d+\.\d+\b")
# Attributes that say when, where and of which bytes something was made.
OF_THE_RUN = {"fingerprint", "inputs", "created", "version", "schema", "source_hash"}
FEW, LONG = 24, 40
# In place of every picture: to draw one takes most of the time, and its pixels are not recorded.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)
Lines = Iterator[tuple[str, Any]]


def volume(seed: int, noise: int = 0, smooth: int = 2) -> NDArray[np.int64]:
    """Smooth whole numbers."""
    drawn = np.random.default_rng(seed).integers(-1000, 1000, SHAPE)
    for _ in range(smooth):
        for axis in range(3):
            drawn = ndi.correlate1d(drawn, [1, 2, 3, 2, 1], axis=axis, mode="reflect")
    ranks = np.empty(drawn.size, np.int64)
    ranks[np.argsort(drawn.ravel(), kind="stable")] = np.arange(drawn.size)
    found = ranks.reshape(SHAPE) * 256 // drawn.size
    return found + np.random.default_rng(seed + 1).integers(-noise, noise + 1, SHAPE)


def prepare(folder: Path) -> None:
    """The sample of `tests.integration.test_every_verb` in voxels with three different edges, and with three phases."""
    furnished(folder)
    shutil.rmtree(folder / A)
    smooth, noisy = volume(3), volume(3, noise=20)
    fields = {
        "raw": np.clip(noisy, 0, 255),
        "b": np.clip(volume(7, noise=12), 0, 255),
        "phase": np.digitize(smooth, [100, 215]),
        "truth": np.digitize(noisy, [104, 210]),
        "two": np.digitize(noisy, [140]),
        "c": np.clip(volume(9), 0, 255),
        "coarse": np.clip(volume(11, noise=4, smooth=6), 0, 255),
    }
    for name, values in fields.items():
        np.save(folder / f"{name}.npy", values.astype(np.uint8))
        labels = {"phase": THREE, "truth": THREE, "two": TWO}.get(name)
        if name == "c":  # its call of `ingest` is one of those that are recorded
            continue
        tim3d.ingest(
            folder / f"{name}.npy", str(folder / A), voxel_size=SPACING, field=name, phases=labels, options=QUIET
        )  # fmt: skip
    soft = {"segmenter": Soft(mean=100.0), "uncertainty": "views", "out": "soft"}
    tim3d.segment(str(folder / A), **soft, phases=TWO, options=QUIET)
    asked = table_of(places(SHAPE, 12, 0), ["none"] * 12).replace("none,", "none,pore")
    (folder / "answers.csv").write_text(asked)


class Messages(logging.Handler):
    """Warnings of the package."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the text."""
        self.said.append(record.getMessage())


def recorded(folder: Path) -> dict[str, Any]:
    """Lines of all verbs, which are run in a folder one after the other."""
    prepare(folder)
    with contextlib.chdir(folder), mock.patch.dict(PRESETS, {"small": SMALL}):
        return {
            f"{name}{key}": clean(value, folder)
            for name in ordered()
            for key, value in of_verb(name)
        }


def ordered() -> list[str]:
    """Verbs behind those that they need."""
    found: list[str] = []

    def add(name: str) -> None:
        for one in (*NEEDED.get(name, ()), *TABLE[name].after):
            add(one)
        if name not in found and name not in LEFT_OUT:
            found.append(name)

    # What is unsteady comes last, so that no report shows it.
    for name in sorted(
        set(TABLE) - LEFT_OUT, key=lambda name: (name in UNSTEADY, [*TABLE].index(name))
    ):
        add(name)
    return found


def of_verb(name: str) -> Lines:
    """Its plan, then what it returns, prints, warns of, draws and writes."""
    row = TABLE[name]
    given = {**row.given, **CHANGES.get(name, {}), "progress": False}
    with engine.prospective("local", workers=2, threads=1, memory_bytes=2**40):
        for n, plan in enumerate(parsing.call_plan(name, given)):
            yield f"/plan/{n}", {k: v for k, v in parts(plan).items() if k not in OF_THE_MACHINE}
    before = store.nodes(A)
    messages, printed, drawn, numbers = Messages(), io.StringIO(), [], name not in UNSTEADY

    def keep(figure: Figure, *args: Any, **options: Any) -> None:
        drawn.append(figure)
        target = args[0] if args else options["fname"]
        Path(target).write_bytes(PIXEL) if isinstance(target, (str, Path)) else target.write(PIXEL)

    logging.getLogger("tim3d").addHandler(messages)
    try:
        with mock.patch.object(Figure, "savefig", keep) if numbers else contextlib.nullcontext():
            result = parsing.call(name, given)
        with contextlib.redirect_stdout(printed):
            actions.show_result(result)
    finally:
        logging.getLogger("tim3d").removeHandler(messages)
    if name not in AGAIN:
        yield from of_result(result, numbers, name in ROUNDED)
    yield "/warnings", list(dict.fromkeys(messages.said))
    if numbers and name not in SHOWN_BY_OTHERS:
        yield "/printed", printed.getvalue().splitlines()
        for n, figure in enumerate(drawn):
            yield from ((f"/figure {n}{key}", value) for key, value in of_figure(figure))
    for node in store.nodes(A):
        if node not in before:
            yield f" {node}", clean(dict(store.node_attributes(A, node)), Path.cwd())
    if row.makes and not row.node:
        yield from of_files(Path(row.makes), numbers)


def parts(value: Any) -> dict[str, Any]:
    """Fields of a plan."""
    return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}


def of_result(result: Any, numbers: bool, rounded: bool = False) -> Lines:
    """Variables of a dataset with their dimensions, units, attributes and values."""
    if hasattr(result, "children"):
        for name, one in result.children.items():
            yield from (
                (f"/{name}{key}", v) for key, v in of_result(one.to_dataset(), numbers, rounded)
            )
        return
    if isinstance(result, xr.DataArray):
        result = result.to_dataset(name=result.name)
    if not isinstance(result, xr.Dataset):
        return
    yield "@", attributes(result.attrs)
    for name, variable in result.variables.items():
        if variable.dims == (name,) and variable.dtype.kind == "f" and name in "zyx":
            continue
        sizes = " ".join(f"{dim}={size}" for dim, size in variable.sizes.items())
        yield f"/{name}", [f"{variable.dtype} {sizes}".strip(), attributes(variable.attrs)]
        counted = variable.dtype.kind in "iub"
        if (numbers and not (rounded and counted)) or not (counted or variable.dtype.kind == "f"):
            yield f"/{name}:", summary(np.asarray(variable.values))


def attributes(held: Mapping[Any, Any]) -> dict[str, Any]:
    """Words as they are; of long ones the first and a digest, as they stand in the documentation."""
    return {str(key): shortened(value) for key, value in held.items() if key not in OF_THE_RUN}


def shortened(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = value.replace(str(Path.cwd()), "")
    return text if len(text) <= LONG + 10 else f"{text[:LONG]}... {digest(text)[:6]}"


def summary(values: NDArray[Any]) -> Any:
    """All of few values; of many the digest of whole numbers, and sums of others that know their order."""
    if values.size <= FEW or values.dtype.kind not in "fiub":
        flat = values.ravel().tolist()[: 8 * FEW]
        return [one if isinstance(one, (int, float, str)) else str(one) for one in flat]
    if values.dtype.kind in "iub":
        data = np.ascontiguousarray(values).astype(np.int64).tobytes()
        return [f"{values.size} values", hashlib.sha256(data).hexdigest()[:16]]
    flat = values.ravel().astype(np.float64)
    known = flat[np.isfinite(flat)]
    turning = known * (1 + np.arange(known.size) % 97)
    return {
        "values": int(flat.size), "finite": int(known.size),
        "sums": [*(known.min(initial=0), known.max(initial=0)), known.sum(), (known**2).sum(), turning.sum()],
    }  # fmt: skip


def of_figure(figure: Figure) -> Lines:
    """Words and data of every axes."""
    for n, ax in enumerate(figure.axes):
        words = [ax.get_title(), ax.get_xlabel(), ax.get_ylabel(), ax.get_xscale(), ax.get_yscale()]
        legend = ax.get_legend()
        words += [one.get_text() for one in (legend.get_texts() if legend else [])]
        words += [one.get_text() for one in ax.texts]
        yield f"/{n}", words
        for m, line in enumerate(ax.lines):
            yield f"/{n}/line {m}", [str(line.get_linestyle()), *map(array, line.get_data())]
        for m, image in enumerate(ax.images):
            shown = np.ma.filled(np.ma.asarray(image.get_array()).astype(np.float64), np.nan)
            yield f"/{n}/image {m}", [list(map(float, image.get_extent())), summary(shown)]
        for m, many in enumerate(ax.collections):
            paths = [path.vertices for path in many.get_paths()]
            data = np.concatenate(paths) if paths else np.empty(0)
            yield f"/{n}/points {m}", [array(many.get_offsets()), array(data)]
        if ax.patches:
            places = [one.get_path().get_extents().size for one in ax.patches]
            yield f"/{n}/patches", array(places)


def array(values: Any) -> Any:
    try:
        return summary(np.ma.filled(np.ma.asarray(values, np.float64), np.nan))
    except (TypeError, ValueError):  # names on an axis
        return [str(one) for one in values]


def of_files(place: Path, numbers: bool) -> Lines:
    """Names of what was written, text of what is text, and heads of the others."""
    files = sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]
    for path in files:
        yield f" {path.relative_to(place.parent)}", of_file(path, numbers)


def of_file(path: Path, numbers: bool) -> Any:
    ending = path.suffix
    if ending == ".safetensors":
        data = path.read_bytes()
        head = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        tensors = {k: f"{v['dtype']} {v['shape']}" for k, v in head.items() if k != "__metadata__"}
        return {"metadata": sorted(head.get("__metadata__", {})), "tensors": digest(tensors)}
    if ending == ".html":
        text = re.sub(r"<(script|style|svg).*?</\1>", " ", path.read_text(), flags=re.DOTALL)
        lines = [one.strip() for one in re.sub(r"<[^>]*>", "\n", html.unescape(text)).splitlines()]
        # From there on it holds fingerprints and clocks.
        return list(filter(None, itertools.takewhile(lambda one: one != "How it was made", lines)))
    if ending in (".tif", ".tiff"):
        with tifffile.TiffFile(path) as file:
            tags = {t.name: str(t.value)[:80] for t in file.pages[0].tags if t.name in TAGS}
            return [tags, summary(file.asarray()) if numbers else ""]
    if ending in (".mha", ".mhd"):
        return path.read_bytes().split(b"ElementDataFile")[0].decode().splitlines()
    if ending in (".csv", ".json", ".txt", ".md", ".toml") and numbers:
        return path.read_text().splitlines()
    return ""


TAGS = {
    "ImageDescription",
    "XResolution",
    "YResolution",
    "ResolutionUnit",
    "ImageLength",
    "ImageWidth",
}


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def clean(value: Any, folder: Path) -> Any:
    """Plain values of JSON; the working folder has no name."""
    if isinstance(value, Mapping):
        return {str(key): clean(one, folder) for key, one in value.items() if key not in OF_THE_RUN}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [clean(one, folder) for one in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.9g}") if math.isfinite(value) else str(float(value))
    if isinstance(value, (int, np.integer)) or value is None:
        return value if value is None else int(value)
    return RUNS.sub("...", str(value).replace(str(folder), ""))


# Numbers in texts are as near as their last place says.
NUMBER = re.compile(r"(?<![\w.])[-−]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])")


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[str]:
    """What is in one only, or is another value."""
    for key in sorted({*found, *expected}):
        if key not in found or key not in expected:
            yield f"{key} is {'new' if key in found else 'not there any more'}"
            continue
        near = ITERATED.get(verb_in(key), NEAR)
        if not same(found[key], expected[key], near):
            yield f"{key}: {_at(found[key], expected[key], near)}"


def _at(one: Any, other: Any, near: float) -> str:
    """Where two values differ first."""
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return next(
            _at(a, b, near) for a, b in zip(one, other, strict=True) if not same(a, b, near)
        )
    return f"{one!r} for {other!r}"[:500]


def same(one: Any, other: Any, near: float) -> bool:
    """Whether two values agree: floats by a relative difference, texts by their words and numbers."""
    if isinstance(one, dict) and isinstance(other, dict):
        return set(one) == set(other) and all(same(one[key], other[key], near) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return False
        if all(isinstance(v, (int, float)) for v in (*one, *other)):
            size = max((abs(v) for v in other), default=0.0)
            return all(_near(a, b, near, size * near) for a, b in zip(one, other, strict=True))
        return all(same(a, b, near) for a, b in zip(one, other, strict=True))
    if isinstance(one, str) and isinstance(other, str):
        return one == other or _same_text(one, other, near)
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return _near(one, other, near, 0.0)
    return bool(one == other)


def _near(one: float, other: float, near: float, apart: float) -> bool:
    if isinstance(one, int) and isinstance(other, int):
        return one == other
    return math.isclose(one, other, rel_tol=near, abs_tol=max(apart, 1e-12))


def _same_text(one: str, other: str, near: float) -> bool:
    if NUMBER.split(one) != NUMBER.split(other):
        return False
    return all(
        map(lambda a, b: _same_number(a, b, near), NUMBER.findall(one), NUMBER.findall(other))
    )


def _same_number(one: str, other: str, near: float) -> bool:
    if one == other:
        return True
    (mantissa, _, power), (second, _, _) = other.partition("e"), one.partition("e")
    if "." not in mantissa + second:
        return False
    places = len(mantissa.partition(".")[2])
    a, b = (float(v.replace("−", "-")) for v in (one, other))
    return math.isclose(a, b, rel_tol=near, abs_tol=1.01 * 10.0 ** (int(power or 0) - places))


def verb_in(key: str) -> str:
    """The verb that a line is of."""
    return re.split(r"[/@ ]", key)[0]


def listed() -> dict[str, Any]:
    """Lines of the file."""
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found


def main() -> None:
    """Write the file."""
    with tempfile.TemporaryDirectory() as folder:
        lines = recorded(Path(folder))
    rows = [
        f"{json.dumps(key)}: {json.dumps(lines[key], ensure_ascii=False)}" for key in sorted(lines)
    ]
    FILE.write_text("{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    main()
