"""Networks without a label: rungs of the imaging model on real SEM images, and their worth in labels.

    python -m benchmarks.label_free super2 DATA/nasa-sem FOLDER --encoder-weights efficientnet-lite0-57934424.pth
    python -m benchmarks.label_free shine FOLDER

Both tables are of RESULTS.md. What is done is kept in FOLDER, and a run that was killed goes on there.

`super2`: the 12 images of Stuckner, Harder, Smith, npj Comput. Mater. 8 (2022) 200 (MIT) are one stack
without labels. It is brought to one brightness, an imaging model with bright rims is fitted to it, and
networks learn from structures that are shown by it. The four test images are judged by their labels:
precipitates, secondary and tertiary ones, against matrix. A seed is that of structures, look and network.

`shine`: the simulated porous solid of `benchmarks.shine_through`, seen through. The stack that is judged
is the one to which the imaging model is fitted; labels, where there are some, are true ones of slices of
another stack. So many labels has a person to paint for a network as good.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtri

import tim3d
from benchmarks import shine_through
from benchmarks.nasa_networks import LITE, Labelled, read
from benchmarks.strokes import Micrograph, by_otsu
from tim3d.corrections import Brightness
from tim3d.generators import (
    Box,
    GaussianField,
    Generator,
    Grains,
    LevelCuts,
    Packed,
    Spinodal,
    lognormal,
)
from tim3d.kernels.image.imaging_model import Imaging
from tim3d.stages.imaging.imaging_file import read_imaging, write_imaging
from tim3d.storage import store

QUIET = tim3d.Options(progress=False)
NAMES = tim3d.Phases(precipitate=0, matrix=1)
# A pixel counts as 1 nm: the data do not say how large it is.
SIZE, EDGES = {"z": 4.0, "y": 1.0, "x": 1.0}, (4.0, 1.0, 1.0)
PLANES, EDGE, CELL = 12, 512, 720
# Share of precipitates, which is near that of any threshold of these images, and lengths in pixels by eye.
SHARE, DIAMETER, CORRELATION, WAVELENGTH = 0.52, 95.0, 32.0, 85.0
KINDS = ("packed", "cuts", "spinodal")


@dataclass(frozen=True)
class Rung:
    """What a network learns from: structures, the model that shows them, and what is done to them then."""

    field: str = "raw"
    kinds: tuple[str, ...] = KINDS
    model: str = "rims"
    pretrained: bool = True


RUNGS = {
    "imaging model": Rung(),
    "+ spectrum": Rung("like_spectrum"),
    "+ spectrum, + histogram": Rung("like_stack"),
    "+ histogram": Rung("like_histogram"),
    "imaging model without rims, levels of Otsu's classes": Rung(model="flat"),
    "imaging model, level cuts only": Rung(kinds=("cuts",)),
    "imaging model, spinodal only": Rung(kinds=("spinodal",)),
    "imaging model, packed spheres only": Rung(kinds=("packed",)),
    "imaging model, weights at random": Rung(pretrained=False),
    "+ translation (CUT)": Rung("translated"),
}


@dataclass(frozen=True)
class Rows:
    """Rows that are done, by name, in a file."""

    path: Path

    def of(self, name: str, make: Callable[[], list[float]]) -> list[float]:
        """The row of a name: made, or read where it was made before."""
        known = json.loads(self.path.read_text()) if self.path.exists() else {}
        if name not in known:
            began = time.process_time()
            known[name] = [*make(), time.process_time() - began]
            fresh = self.path.with_suffix(".new")
            fresh.write_text(json.dumps(known, indent=1))
            fresh.replace(self.path)
        return [float(v) for v in known[name]]


def put(values: np.ndarray, sample: Path, field: str, phases: tim3d.Phases | None = None) -> None:
    """A field of a sample, from an array."""
    path = sample.with_name(f"{sample.stem}_{field}.npy")
    np.save(path, values)
    accepted = () if phases else ("jumps", "drift", "saturated")
    tim3d.ingest(
        path, str(sample), voxel_size=SIZE, field=field, phases=phases, accept=accepted, options=QUIET
    )  # fmt: skip


def stack(data: Path, folder: Path) -> tuple[str, slice]:
    """All images as a sample of one brightness, with the truth for later; and the slices that are judged."""
    parts: list[Labelled] = [read(data, "Super2", name) for name in ("train", "val", "test")]
    sample = folder / "real.zarr"
    grey, truth = (np.concatenate([getattr(p, of) for p in parts]) for of in ("grey", "truth"))
    put(grey, sample, "raw")
    put((truth == 0).astype(np.uint8), sample, "truth", NAMES)
    tim3d.prepare(str(sample), [Brightness()], options=QUIET)
    test = parts[-1]
    dark = [by_otsu(Micrograph(g, t)) for g, t in zip(test.grey, test.truth, strict=True)]
    first = len(grey) - len(dark)
    blank = np.zeros((first, *grey.shape[1:]), np.uint8)
    put(np.concatenate([blank, 1 - np.stack(dark)]), sample, "otsu", NAMES)
    return str(sample), slice(first, len(grey))


def models(sample: str, folder: Path) -> dict[str, Path]:
    """The model that was fitted, and one without rims whose levels are those of Otsu's classes."""
    paths = {name: folder / f"{name}.json" for name in ("rims", "flat")}
    tim3d.fit_imaging(sample, paths["rims"], phases=tuple(NAMES), field="prepared", progress=False)
    if not paths["flat"].exists():
        grey = np.asarray(store.field_array(sample, "prepared")[:]).astype(float)
        fitted = json.loads(paths["rims"].read_text())["fitted"]
        bright = grey > fitted["by_thresholds"][0]
        levels = {"precipitate": float(grey[~bright].mean()), "matrix": float(grey[bright].mean())}
        flat: Imaging = replace(read_imaging(paths["rims"]), levels=levels, rim=0.0)
        write_imaging(
            paths["flat"], flat, {**fitted, "edited": "no rims, levels of Otsu's classes"}
        )
    return paths


def planes(kind: str, seed: int) -> np.ndarray:
    """Independent plane structures (n, y, x): 0 precipitate, 1 matrix."""
    plane, unit = (1, EDGE, EDGE), (1.0, 1.0, 1.0)
    made: list[tuple[Generator, int]]  # a generator, and where along z its plane is
    if kind == "spinodal":
        shares, wavelength = (SHARE, 1 - SHARE), (WAVELENGTH,) * 3
        made = [
            (Spinodal(shares, wavelength, unit, 100 * seed + n, plane, 12.0), 0)
            for n in range(PLANES)
        ]
    elif kind == "cuts":
        far = GaussianField((CORRELATION,) * 3, unit, seed)
        cuts = LevelCuts(far, (SHARE, 1 - SHARE), NAMES)
        made = [(cuts, n * 4 * int(CORRELATION)) for n in range(PLANES)]
    else:
        sizes = lognormal(DIAMETER, spread=0.35)
        grains, filled = (
            Grains(tuple(sizes), tuple(sizes.values())),
            tim3d.Phases(matrix=0, precipitate=1),
        )
        packed = Packed(grains, 0.55, unit, seed, (float(CELL),) * 3, filled)
        made = [(packed, n * CELL // PLANES) for n in range(PLANES)]
    labels = np.concatenate([g.labels(Box((z, 0, 0), (z + 1, EDGE, EDGE))) for g, z in made])
    return 1 - labels if kind == "packed" else labels


def shown(
    kind: str, seed: int, model: Path, real: str, fields: tuple[str, ...], translator: Path | None
) -> str:
    """A structure as a sample, with its grey values on the rungs that are asked for."""
    sample = model.parent / f"{kind}_{model.stem}_{seed}.zarr"
    if not sample.exists():
        put(planes(kind, seed), sample, "phase", NAMES)
    tim3d.render(str(sample), model, vary=0.3, seed=seed, options=QUIET)
    adapted(str(sample), real, "prepared", fields)
    if "translated" in fields and translator:
        tim3d.translate(str(sample), translator, options=QUIET)
    return str(sample)


def adapted(sample: str, real: str, like_field: str, fields: tuple[str, ...]) -> None:
    """The further rungs of a rendered structure."""
    step = {"like_field": like_field, "options": QUIET}
    if {"like_spectrum", "like_stack"} & set(fields):
        tim3d.adapt(sample, real, to="spectrum", out="like_spectrum", **step)
    if "like_stack" in fields:
        tim3d.adapt(sample, real, to="histogram", field="like_spectrum", out="like_stack", **step)
    if "like_histogram" in fields:
        tim3d.adapt(sample, real, to="histogram", out="like_histogram", **step)


def translator(given: argparse.Namespace, real: str, model: Path) -> Path:
    """A translator of the first structure's look, of some minutes."""
    path = Path(given.folder) / "translator.safetensors"
    sample = shown("packed", 0, model, real, ("raw",), None)
    tim3d.train_translator(
        sample, real, path, like_field="prepared", minutes=given.minutes, steps=10**6, progress=False
    )  # fmt: skip
    return path


def scores(sample: str, field: str, judged: slice) -> list[float]:
    """Mean over the images of macro IoU, and of boundary F1 within two pixels and its chance level."""
    found = tim3d.evaluate(
        sample, field=field, truth="truth", slices=judged, resamples=0, options=QUIET
    )
    names = ("iou_macro_z", "boundary_f1_macro_z", "boundary_f1_chance_z")
    return [float(found[name].mean()) for name in names]


def super2(given: argparse.Namespace) -> Iterator[str]:
    """Otsu, then every rung and seed."""
    folder, rows = Path(given.folder), Rows(Path(given.folder) / "super2.json")
    real, judged = stack(given.data, folder)
    paths = models(real, folder)
    yield (
        "| way | seed | iou_macro, by image | boundary F1 (2 px) | by chance | CPU s |\n"
        + "|---" * 6
        + "|"
    )
    yield _line("Otsu, dark side", "", rows.of("otsu", lambda: scores(real, "otsu", judged)))
    for name in given.rungs:
        rung, found = RUNGS[name], []
        moved = translator(given, real, paths["rims"]) if rung.field == "translated" else None
        for seed in range(given.seeds):
            make = partial(taught, given, real, judged, paths, rung, seed, moved)
            made = rows.of(f"{name}, {seed}", make)
            found.append(made)
            yield _line(name, str(seed), made)
        mean, spread = np.mean(found, axis=0), np.std(found, axis=0)
        yield _line(f"**{name}**", f"± {spread[0]:.3f}, {spread[1]:.3f}", list(mean))


def taught(
    given: argparse.Namespace,
    real: str,
    judged: slice,
    paths: Mapping[str, Path],
    rung: Rung,
    seed: int,
    moved: Path | None,
) -> list[float]:
    """A network of a rung and seed, judged on the test images."""
    samples = [shown(k, seed, paths[rung.model], real, (rung.field,), moved) for k in rung.kinds]
    out = f"{rung.field}_{'_'.join(rung.kinds)}_{rung.model}_{'' if rung.pretrained else 'random_'}{seed}"
    path = Path(given.folder) / f"{out}.safetensors"
    tim3d.train(
        samples[0], path, field=rung.field, labels="phase", also={s: slice(None) for s in samples[1:]} or None,
        encoder=LITE, depth=4, encoder_weights=given.encoder_weights if rung.pretrained else None,
        epochs=given.epochs, patience=given.epochs, steps=given.steps, crop=128, learning_rate=2e-3,
        augment=("sem",), seed=seed, progress=False,
    )  # fmt: skip
    tim3d.segment(real, model=path, field="prepared", out=out, options=QUIET)
    return scores(real, out, judged)


def _line(name: str, seed: str, values: list[float]) -> str:
    return (
        f"| {name} | {seed} | "
        + " | ".join(f"{v:.3f}" for v in values[:-1])
        + f" | {values[-1]:.0f} |"
    )


LADDER = {
    "imaging model": ("cuts", "raw"),
    "+ spectrum": ("cuts", "like_spectrum"),
    "+ spectrum, + histogram": ("cuts", "like_stack"),
    "imaging model, another structure": ("spinodal", "raw"),
}
# Two are the fewest: one is learnt from, and one chooses the epoch.
PAINTED = (2, 5, 20)


def shine(given: argparse.Namespace) -> Iterator[str]:
    """Thresholds and the annotation, the ladder, then networks of painted slices."""
    folder, rows = Path(given.folder), Rows(Path(given.folder) / "shine.json")
    shape = tuple(map(int, given.shape.split(",")))
    asked = shine_through.Given(given.severity, shape, given.epochs, given.steps, 8, folder)  # type: ignore[arg-type]
    judged = shine_through.simulated(asked, "judged", 1)
    learnt = shine_through.simulated(asked, "learnt", 0)
    truth = shine_through.numbers(judged, "truth")
    yield (
        "| way | seed | mean IoU | boundary F1 | fraction | surface | tortuosity | CPU s |\n"
        + "|---" * 8
        + "|"
    )
    for number, (name, make) in enumerate(_ways(given, asked, learnt, judged)):
        out = f"way{number}"
        made = rows.of(name, partial(_judged, judged, out, make, truth))
        yield (
            f"| {name} | {made[0]:.4f} | {made[1]:.3f} | "
            + " | ".join(f"{v:+.1f} %" for v in made[2:-1])
            + f" | {made[-1]:.0f} |"
        )


def _judged(sample: str, out: str, make: Callable[[str], None], truth: np.ndarray) -> list[float]:
    make(out)
    found = tim3d.evaluate(sample, field=out, truth="truth", resamples=0, options=QUIET)
    errors = 100 * (shine_through.numbers(sample, out) / truth - 1)
    return [float(found.iou_macro), float(found.boundary_f1.sel(phase="pore")), *map(float, errors)]


def _ways(
    given: argparse.Namespace, asked: shine_through.Given, learnt: str, judged: str
) -> Iterator[tuple[str, Callable[[str], None]]]:
    """Name and seed of a way, and the function that writes its labels of the judged stack."""
    ways = dict(shine_through.ways(asked, learnt, judged))
    for name in ("Otsu", "hybrid annotation"):
        yield f"{name} | ", ways[name]
    for seed in range(given.seeds):
        for name, (kind, field) in LADDER.items():
            yield f"without a label, {name} | {seed}", _without(asked, judged, kind, field, seed)
        for count in PAINTED:
            yield f"{count} painted slices | {seed}", _painted(asked, learnt, judged, count, seed)


def _net(
    asked: shine_through.Given, sample: str, judged: str, name: str, **how: Any
) -> Callable[[str], None]:
    def make(out: str) -> None:
        path = asked.folder / f"{name}.safetensors"
        tim3d.train(sample, path, dimensions=3, depth=2, crop=32, **asked.network(**how))
        tim3d.segment(judged, model=path, out=out, phases=shine_through.TWO, options=QUIET)

    return make


def _without(
    asked: shine_through.Given, judged: str, kind: str, field: str, seed: int
) -> Callable[[str], None]:
    """A network that learnt from a structure, shown as the judged stack is."""

    def make(out: str) -> None:
        model, sample = asked.folder / "imaging.json", str(asked.folder / f"{kind}_{seed}.zarr")
        tim3d.fit_imaging(judged, model, phases=("pore", "solid"), through="pore", progress=False)
        structure(judged, sample, kind, seed, asked.shape)
        tim3d.render(sample, model, vary=0.3, seed=seed, options=QUIET)
        adapted(sample, judged, "raw", (field,))
        how = {"field": field, "labels": "phase", "seed": seed}
        _net(asked, sample, judged, f"free_{kind}_{field}_{seed}", **how)(out)

    return make


def structure(judged: str, sample: str, kind: str, seed: int, shape: tuple[int, int, int]) -> None:
    """A structure with the fraction of the hybrid annotation and the length that its surface has in a level cut.

    Of a field of correlation exp(-(r/l)^2) cut at u, S_V = 2 sqrt(2) / (pi l) exp(-u^2 / 2). The truth is
    such a cut; a spinodal structure is another one, with a wavelength of pi l.
    """
    pores, surface, _ = shine_through.numbers(judged, "way1")
    length = 2 * math.sqrt(2) / (math.pi * surface) * math.exp(-(float(ndtri(pores)) ** 2) / 2)
    shares, edges = (float(pores), 1 - float(pores)), (10.0, 10.0, 10.0)
    model: Generator = LevelCuts(
        GaussianField((length,) * 3, edges, seed + 100), shares, shine_through.TWO
    )  # fmt: skip
    if kind == "spinodal":
        z, y, x = (
            max(n, math.ceil(3 * math.pi * length / d)) for n, d in zip(shape, edges, strict=True)
        )
        shape, wave = (z, y, x), math.pi * length
        model = Spinodal(shares, (wave, wave, wave), edges, seed, shape, 11.0, shine_through.TWO)
    tim3d.generate(sample, model, shape=shape, options=QUIET)


def _painted(
    asked: shine_through.Given, learnt: str, judged: str, count: int, seed: int
) -> Callable[[str], None]:
    """A network of true labels of some slices, spread evenly."""

    def make(out: str) -> None:
        truth = np.asarray(store.field_array(learnt, "truth")[:])
        hand = np.full_like(truth, 2)
        at = np.linspace(0, len(truth), count, endpoint=False) + len(truth) / count / 2
        hand[at.astype(int)] = truth[at.astype(int)]
        path, field = asked.folder / f"hand_{count}.npy", f"hand_{count}"
        np.save(path, hand)
        named = tim3d.Phases(pore=0, solid=1, unlabelled=2)
        tim3d.ingest(
            path, learnt, voxel_size=shine_through.SIZE, field=field, phases=named, options=QUIET
        )
        _net(asked, learnt, judged, f"{field}_{seed}", labels=field, seed=seed)(out)

    return make


def main(arguments: list[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=25)
    verbs = parser.add_subparsers(required=True)
    real = verbs.add_parser("super2")
    real.add_argument("data", type=Path)
    real.add_argument("folder", type=Path)
    real.add_argument("--encoder-weights", type=Path)
    real.add_argument("--epochs", type=int, default=6)
    real.add_argument("--minutes", type=float, default=5.0, help="of the translator")
    real.add_argument("--rungs", nargs="+", default=list(RUNGS), choices=list(RUNGS))
    real.set_defaults(table=super2)
    made = verbs.add_parser("shine")
    made.add_argument("folder", type=Path)
    made.add_argument("--severity", choices=list(shine_through.SEVERITIES), default="middle")
    made.add_argument("--shape", default="64,128,128")
    made.add_argument("--epochs", type=int, default=4)
    made.set_defaults(table=shine)
    given = parser.parse_args(arguments)
    logging.getLogger("tim3d").setLevel(logging.ERROR)
    given.folder.mkdir(parents=True, exist_ok=True)
    for line in given.table(given):
        print(line, flush=True)


if __name__ == "__main__":
    main()
