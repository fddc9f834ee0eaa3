"""Corrections on stacks whose defect is known: what is left of the error in grey values and in results.

    python benchmarks/prepare.py drift       # alignment beside pystackreg and cumulative phase correlation
    python benchmarks/prepare.py slices      # missing and bad slices, interpolated

The structure is a smooth Gaussian field, periodic in the plane and sheared (a tilt), whose slices are
displaced exactly, by Fourier shifts. Grey values have soft edges and noise. Errors are against the
same stack without the defect, in per cent of its value.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

import tim3d
from tim3d.corrections import Align, Fill
from tim3d.kernels.image.translation import moved

QUIET = tim3d.Options(progress=False)
SHAPE = (96, 224, 224)
# Pixels cut at each edge before a comparison: more than any method loses.
MARGIN = 40
TILT = 0.4
NOISE = 12.0
SIZE = {"z": 10, "y": 10, "x": 10}
FINDINGS = ("blank", "saturated", "duplicates", "jumps", "drift")
TWO = tim3d.Phases(pore=0, solid=1)


def field(seed: int = 1, sigma: float = 4.0) -> np.ndarray:
    """A smooth field of unit variance, periodic in the plane."""
    noise = np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)
    smooth = ndimage.gaussian_filter(noise, sigma, mode=("nearest", "wrap", "wrap"))
    return smooth / smooth.std()


def displaced(values: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Slices displaced by any number of pixels."""
    fy, fx = np.fft.fftfreq(values.shape[1])[:, None], np.fft.rfftfreq(values.shape[2])[None]
    turn = np.exp(-2j * np.pi * (fy * y[:, None, None] + fx * x[:, None, None]))
    return np.fft.irfft2(np.fft.rfft2(values) * turn, s=values.shape[1:])


def grey(values: np.ndarray, noise: float = NOISE) -> np.ndarray:
    """Grey values with soft edges: pores 60, solid 170."""
    clean = 60 + 110 / (1 + np.exp(-4 * values))
    noisy = clean + noise * np.random.default_rng(5).standard_normal(values.shape)
    return np.rint(noisy).clip(0, 255).astype(np.uint8)


def results(voxels: np.ndarray, folder: Path) -> dict[str, float]:
    """Phase fraction, surface and tortuosity factor of the solid, by one threshold."""
    path = Path(tempfile.mkdtemp(dir=folder))
    np.save(path / "a.npy", voxels)
    sample = str(path / "a.zarr")
    tim3d.ingest(path / "a.npy", sample, voxel_size=SIZE, accept=FINDINGS, options=QUIET)
    tim3d.segment(
        sample, method="fixed", thresholds=[115], phases=TWO, blur="binomial", options=QUIET
    )
    found = tim3d.measure(sample, ["phase_fraction", "specific_surface"], options=QUIET)
    solved = tim3d.solve(
        sample, conductivity={"solid": 1.0, "pore": 0.0}, tolerance=0.01, options=QUIET
    )
    return {
        "fraction": float(found.phase_fraction.sel(phase="solid")),
        "surface": float(found.specific_surface.sel(phase="solid")),
        "tortuosity": float(np.ravel(solved.tortuosity_factor_total.values)[0]),
    }


def inner(voxels: np.ndarray, place: tuple[int, int] = (0, 0)) -> np.ndarray:
    """The middle of the slices, in the rows and columns of the whole frame."""
    y, x = (MARGIN - p for p in place)
    edge = SHAPE[1] - 2 * MARGIN
    return voxels[:, y : y + edge, x : x + edge]


def by_tim3d(voxels: np.ndarray, folder: Path, step: Align) -> tuple[np.ndarray, np.ndarray]:
    """Aligned stack in the frame of the stack, and displacements that were taken back."""
    path = Path(tempfile.mkdtemp(dir=folder))
    np.save(path / "a.npy", voxels)
    sample = str(path / "a.zarr")
    tim3d.ingest(path / "a.npy", sample, voxel_size=SIZE, accept=FINDINGS, options=QUIET)
    made = tim3d.prepare(sample, [step], options=QUIET).values
    table = tim3d.open_dataset(sample, "prepared_align")
    return made, np.stack([table.shift_y.values, table.shift_x.values], axis=1)


def by_phases(voxels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cumulative sum of displacements by scikit-image, to a tenth of a pixel."""
    from skimage.registration import phase_cross_correlation

    steps = [
        phase_cross_correlation(a, b, upsample_factor=10)[0] for a, b in itertools.pairwise(voxels)
    ]
    back = -np.cumsum([np.zeros(2), *steps], axis=0)
    rows, columns = (range(n) for n in voxels.shape[1:])
    made = [moved(s, y, x, rows, columns, "cubic") for s, (y, x) in zip(voxels, back, strict=True)]
    return np.rint(np.array(made)).clip(0, 255).astype(np.uint8), back


def by_stackreg(voxels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Displacements by pystackreg, each slice against the one before."""
    from pystackreg import StackReg

    matrices = StackReg(StackReg.TRANSLATION).register_stack(voxels, reference="previous")
    back = np.stack([matrices[:, 1, 2], matrices[:, 0, 2]], axis=1)
    rows, columns = (range(n) for n in voxels.shape[1:])
    made = [moved(s, y, x, rows, columns, "cubic") for s, (y, x) in zip(voxels, back, strict=True)]
    return np.rint(np.array(made)).clip(0, 255).astype(np.uint8), back


def methods(
    voxels: np.ndarray, folder: Path, remove: Any, ways: tuple[str, ...], *, own: bool
) -> Iterator[tuple[str, Any, Any, float]]:
    """Name, aligned frame, displacements taken back and seconds, of each method."""
    yield "none", voxels, np.zeros((len(voxels), 2)), 0.0
    for how in ways:
        start = time.perf_counter()
        step = Align(remove=remove, interpolation=how, pad="edge")  # type: ignore[arg-type]
        made, back = by_tim3d(voxels, folder, step)
        yield f"tim3d {remove}, {how}", made, back, time.perf_counter() - start
    others = () if own else (("pystackreg", by_stackreg), ("phase correlation", by_phases))
    for name, method in others:
        start = time.perf_counter()
        made, back = method(voxels)
        yield name, made, back, time.perf_counter() - start


def drift(folder: Path, only: str, *, own: bool) -> None:
    """Jitter of three sizes on a tilted structure, and a steady drift of one that is not."""
    z = np.arange(SHAPE[0])
    base = field()
    rng = np.random.default_rng(11)
    normal = rng.standard_normal((SHAPE[0], 2))
    walk = np.cumsum(rng.standard_normal((SHAPE[0], 2)), axis=0)
    cases = [
        ("jitter 0.5 px, tilted", 0.5 * normal, TILT, "jitter"),
        ("jitter 1 px, tilted", 1.0 * normal, TILT, "jitter"),
        ("jitter 2 px, tilted", 2.0 * normal, TILT, "jitter"),
        ("walk 0.5 px a slice, tilted", 0.5 * walk, TILT, "jitter"),
        ("walk 1 px a slice, tilted", 1.0 * walk, TILT, "jitter"),
        ("steady 0.5 px a slice", np.stack([0.5 * z, 0 * z], 1), 0.0, "all"),
        ("steady 1 px a slice", np.stack([1.0 * z, 0 * z], 1), 0.0, "all"),
    ]
    print(
        "| defect | method | residual | tilt error, px a slice | phase fraction | surface | tortuosity | s |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, defect, tilt, remove in [case for case in cases if only in case[0]]:
        defect = defect - np.rint(np.median(defect, axis=0))
        sheared = displaced(base, tilt * (z - z.mean()), 0.0 * z)
        true = results(inner(grey(sheared)), folder)
        ways = ("cubic", "linear", "whole") if name == "jitter 1 px, tilted" else ("cubic",)
        voxels = grey(displaced(base, tilt * (z - z.mean()) + defect[:, 0], defect[:, 1]))
        for method, made, back, seconds in methods(voxels, folder, remove, ways, own=own):
            left = defect - back
            slope = np.polyfit(z, left, 1)[0]
            middle = left.mean(axis=0)
            reference = grey(
                displaced(base, tilt * (z - z.mean()) + middle[0], 0.0 * z + middle[1]), 0.0
            )
            rest = inner(made).astype(float) - inner(reference)
            found = results(inner(made), folder)
            errors = [f"{100 * (found[k] / true[k] - 1):+.2f} %" for k in true]
            print(
                f"| {name} | {method} | {rest.std():.1f} | {np.hypot(*slope):.3f} | "
                f"{' | '.join(errors)} | {seconds:.0f} |",
                flush=True,
            )


def slices(folder: Path, only: str, *, own: bool) -> None:
    """Slices that are blank, saturated, copies or missing, 2, 5 and 10 % of all."""
    clean = grey(field())
    true = results(inner(clean), folder)
    print("| bad slices | | residual, grey values | phase fraction | surface | tortuosity |")
    print("|---|---|---|---|---|---|")
    for share in [one for one in (0.02, 0.05, 0.10) if only in f"{one:.0%}"]:
        rng = np.random.default_rng(3)
        chosen = np.sort(
            rng.choice(np.arange(2, SHAPE[0] - 2), round(share * SHAPE[0]), replace=False)
        )
        voxels = clean.copy()
        for number, z in enumerate(chosen):
            voxels[z] = (np.full_like(voxels[z], 20), np.full_like(voxels[z], 255), voxels[z - 1])[
                number % 3
            ]
        path = Path(tempfile.mkdtemp(dir=folder))
        np.save(path / "a.npy", voxels)
        sample = str(path / "a.zarr")
        tim3d.ingest(path / "a.npy", sample, voxel_size=SIZE, accept=FINDINGS, options=QUIET)
        made = tim3d.prepare(sample, [Fill()], options=QUIET).values
        good = tim3d.open_dataset(sample, "prepared_fill").good.values
        found = set(np.flatnonzero(good == 0).tolist())
        print(f"bad {sorted(chosen.tolist())}; found {sorted(found)}", flush=True)
        for name, stack in (("as it is", voxels), ("tim3d fill", made))[own:]:
            got = results(inner(stack), folder)
            errors = [f"{100 * (got[k] / true[k] - 1):+.2f} %" for k in true]
            rest = (stack.astype(float) - clean).std()
            print(f"| {share:.0%} | {name} | {rest:.1f} | {' | '.join(errors)} |", flush=True)


def main() -> None:
    """Run one of the two."""
    known = {"drift": drift, "slices": slices}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=known)
    parser.add_argument("only", nargs="?", default="", help="cases whose name has this text")
    parser.add_argument("--own", action="store_true", help="without the public programs")
    with tempfile.TemporaryDirectory() as folder:
        given = parser.parse_args()
        known[given.what](Path(folder), given.only, own=given.own)


if __name__ == "__main__":
    main()
