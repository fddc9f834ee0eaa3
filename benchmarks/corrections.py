"""Corrections of grey values: what each leaves of a known defect, beside public functions, and its speed.

    python -m benchmarks.corrections defects           residual and errors after thresholding
    python -m benchmarks.corrections speed             against a plain copy
    python -m benchmarks.corrections layers            what is taken from layers along the stripes
    python -m benchmarks.corrections pictures FOLDER IMAGE ...

A stack of two phases (`tests/defects.py`) gets a defect at three severities. The residual is the root
mean square difference to the stack without the defect, after the best gain and offset for all of it;
phase fraction, surface (`gradient_area`) and tortuosity factor of the bright phase along y are those
of the voxels above Otsu's threshold of the stack, against the structure itself.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pywt
import xarray as xr
from scipy import ndimage
from skimage import exposure, restoration

from tests import defects
from tim3d.corrections import (
    Background,
    Brightness,
    Curtain,
    Measured,
    Median,
    NonLocal,
    Stack,
    Step,
    Tilt,
    Variation,
)
from tim3d.corrections.base import as_type
from tim3d.grid import Box
from tim3d.kernels.conduction.conduction import conduct
from tim3d.kernels.generation.plane_wave_field import LevelCut
from tim3d.kernels.morphology.gradient_area import gradient_area, gradient_quantum

Grey = np.ndarray
Change = Callable[[Grey], Grey]
SHAPE, SPACING = (24, 144, 160), defects.SPACING


def corrected(step: Step, grey: Grey, spacing: tuple[float, float, float] = SPACING) -> Grey:
    """Stack after a correction, its table measured from the stack."""
    stack, every = Stack(grey.shape, str(grey.dtype), spacing), range(len(grey))
    step.check(stack)
    return ready(step, grey, stack).region(stack, grey, every, every)


def ready(step: Any, grey: Grey, stack: Stack) -> Any:
    """Correction whose table, if it needs one, is measured."""
    if not isinstance(step, Measured):
        return step
    rows = [step.row(grey[z : z + 1], z) for z in range(len(grey))]
    columns = {name: ("z", [row[name] for row in rows]) for name in rows[0]}
    return step.applied(step.tabulate(xr.Dataset(columns), stack))


def by_slice(change: Change) -> Change:
    """Change of a stack, slice by slice, in the type of the stack."""
    return lambda grey: np.stack([as_type(change(one.astype(np.float32)), "uint8") for one in grey])


def stripe_filter(grey: Grey, levels: int = 6, sigma: float = 3.0, wavelet: str = "db25") -> Grey:
    """Filter of Münch et al. 2009 in a few lines of PyWavelets, as it is passed around."""
    approximation, *details = pywt.wavedec2(grey, wavelet, "symmetric", levels)
    damped = []
    for across, along, both in details:
        waves = np.fft.fftfreq(len(along)) * len(along)
        damping = 1 - np.exp(-(waves**2) / (2 * sigma**2))
        spectrum = np.fft.fft(along, axis=0) * damping[:, None]
        damped.append((across, np.fft.ifft(spectrum, axis=0).real, both))
    found = pywt.waverec2([approximation, *damped], wavelet, "symmetric")
    return found[: grey.shape[0], : grey.shape[1]]


def noise_of(grey: Grey) -> float:
    return float(np.median([restoration.estimate_sigma(one.astype(float)) for one in grey]))


def skimage_means(grey: Grey) -> Grey:
    sigma = noise_of(grey)
    change = partial(
        restoration.denoise_nl_means, patch_size=3, patch_distance=5, h=0.7 * sigma, sigma=sigma
    )
    return by_slice(change)(grey)


def skimage_variation(grey: Grey) -> Grey:
    change = partial(restoration.denoise_tv_chambolle, weight=0.8 * noise_of(grey))
    return by_slice(change)(grey)


LENGTHS = {"width_nm": 320.0, "length_nm": 240.0}
# Corrections of each defect, by the words of the shell, and public functions.
WAYS: dict[str, dict[str, Step | Change]] = {
    "brightness": {
        "brightness": Brightness(),
        "skimage match_histograms": lambda g: as_type(
            np.stack([exposure.match_histograms(one, g[len(g) // 2]) for one in g]), "uint8"
        ),
    },
    "background": {
        "background": Background(300.0),
        "background phases=1": Background(300.0, phases=1),
        "scipy gaussian, subtracted": by_slice(
            lambda one: one - ndimage.gaussian_filter(one, 30) + one.mean()
        ),
        "skimage rolling_ball": by_slice(
            lambda one: one - restoration.rolling_ball(one, radius=30) + defects.DARK
        ),
    },
    "shading": {
        "background removal=divide": Background(300.0, removal="divide"),
        "scipy gaussian, divided": by_slice(
            lambda one: one / ndimage.gaussian_filter(one, 30) * one.mean()
        ),
    },
    "curtains": {
        "curtain": Curtain(**LENGTHS),
        "curtain phases=1": Curtain(**LENGTHS, phases=1),
        "curtain variational, phases=1": Curtain(**LENGTHS, method="variational", phases=1),
        "PyWavelets stripe filter": by_slice(stripe_filter),
        "numpy column means": by_slice(lambda one: one - one.mean(axis=0) + one.mean()),
    },
    "noise": {
        "median planar": Median(planar=True),
        "nonlocal": NonLocal(),
        "variation": Variation(),
        "skimage denoise_nl_means": skimage_means,
        "skimage denoise_tv_chambolle": skimage_variation,
        "scipy gaussian 1": by_slice(lambda one: ndimage.gaussian_filter(one, 1)),
    },
}


def structure_numbers(labels: Grey, spacing: tuple[float, float, float] = SPACING) -> np.ndarray:
    """Fraction, surface per volume in 1/nm and tortuosity factor along y of the bright phase."""
    fraction = float(labels.mean())
    area = gradient_area(labels, [1], spacing=spacing) * gradient_quantum(spacing)
    volume = labels.size * float(np.prod(spacing))
    found = conduct(labels, {0: 0.0, 1: 1.0}, axis=1, spacing=spacing, threads=1)
    return np.array([fraction, area / volume, fraction / found.conductivity])


def row(name: str, residual: float, found: np.ndarray, wanted: np.ndarray) -> None:
    fraction = found[0] - wanted[0]
    surface, tortuosity = 100 * (found[1:] / wanted[1:] - 1)
    print(
        f"| {name} | {residual:.2f} | {fraction:+.4f} | {surface:+.1f} | {tortuosity:+.1f} |",
        flush=True,
    )


def print_defects(shape: tuple[int, int, int], only: Sequence[str]) -> None:
    """Tables of residuals and errors, one for each defect."""
    labels = defects.truth(shape)
    wanted = structure_numbers(labels)
    for defect in only or WAYS:
        base = (defects.signal if defect == "noise" else defects.clean)(shape)
        clean = defects.stack(base)
        print(
            f"\n| {defect} | residual | fraction | surface % | tortuosity % |\n|---|---|---|---|---|"
        )
        row("without the defect", 0.0, structure_numbers(defects.segmented(clean)), wanted)
        for severity in defects.SEVERITIES[defect]:
            bad = defects.stack(defects.DEFECTS[defect](base, severity))
            ways = {"uncorrected": lambda grey: grey} | WAYS[defect]
            for name, way in ways.items():
                good = corrected(way, bad) if isinstance(way, Step) else way(bad)
                found = structure_numbers(defects.segmented(good))
                row(f"{severity:g}: {name}", defects.residual(good, clean), found, wanted)
        for name, way in WAYS[defect].items():
            good = corrected(way, clean) if isinstance(way, Step) else way(clean)
            found = structure_numbers(defects.segmented(good))
            row(f"none: {name}", defects.residual(good, clean), found, wanted)


def print_tilt(shape: tuple[int, int, int]) -> None:
    """Errors of a structure seen at three angles: as it is seen, by its voxels, and resampled."""
    print("\n| tilt | | fraction | surface % | tortuosity % |\n|---|---|---|---|---|")
    structure = LevelCut(0.55, 80.0, seed=1)
    wanted = structure_numbers(structure.labels(Box((0, 0, 0), shape), SPACING))
    for angle in (70.0, 52.0, 38.0):
        factor = 1 / np.sin(np.radians(angle))
        rows = round(shape[1] / factor)
        seen = (SPACING[0], SPACING[1] * factor, SPACING[2])
        box = Box((0, 0, 0), (shape[0], rows, shape[2]))
        labels = structure.labels(box, seen)
        step = np.where(labels, defects.BRIGHT, defects.DARK)
        signal = ndimage.gaussian_filter(step, [8 / edge for edge in seen])
        noise = defects.NOISE * np.random.default_rng(2).standard_normal(signal.shape)
        grey = defects.stack(signal + noise)
        zoomed = ndimage.zoom(
            grey.astype(np.float32), (1, factor, 1), grid_mode=True, mode="nearest"
        )
        for name, good, spacing in (
            ("as seen", grey, SPACING),
            ("tilt", grey, seen),
            ("tilt, resampled", corrected(Tilt(angle, resample=True), grey), SPACING),
            ("scipy zoom", as_type(zoomed, "uint8"), SPACING),
        ):
            row(
                f"{angle:g}°: {name}",
                0.0,
                structure_numbers(defects.segmented(good), spacing),
                wanted,
            )


def print_layers() -> None:
    """Share of the contrast of layers along the stripes that is left."""
    print("\n| layers along the stripes | thickness | contrast left |\n|---|---|---|")
    for thickness in (4, 8, 16, 32):
        x = np.arange(256)
        layers = np.where(x // thickness % 2, defects.BRIGHT, defects.DARK)
        noise = np.random.default_rng(1).standard_normal((1, 192, 256))
        grey = defects.stack(layers + defects.NOISE * noise)
        weak = defects.stack(110 + (layers - 110) / 8 + defects.NOISE * noise)
        for name, stack, scale in (
            ("", grey, 1.0),
            ("phases=1 ", grey, 1.0),
            ("of 10 grey levels ", weak, 8),
        ):
            for step in (Curtain(**LENGTHS), Curtain(**LENGTHS, method="variational")):
                one = replace(step, phases=1) if name.startswith("phases") else step
                good = corrected(one, stack)[0].mean(axis=0)
                left = np.polyfit(layers, good, 1)[0] * scale
                print(f"| {name}{one.method} | {thickness} px | {left:.2f} |", flush=True)


def print_speed(edge: int, slices: int) -> None:
    """Megavoxels a second of each correction, and of a copy; processor time of one thread."""
    grey = defects.stack(np.random.default_rng(0).normal(110, 30, (slices, edge, edge)))
    spacing = (10.0, 10.0, 10.0)
    stack = Stack(grey.shape, "uint8", spacing)
    copy = rate(lambda: grey.copy(), grey.size)
    print(
        f"\n| {slices} x {edge} x {edge} uint8 | MVoxel/s | times a copy | working bytes a voxel |"
    )
    print(f"|---|---|---|---|\n| copy | {copy:.0f} | 1 | 0 |")
    steps = (
        Brightness(), Background(2000.0), Curtain(320.0), Curtain(320.0, method="variational"),
        Median(), Median(planar=True), NonLocal(), NonLocal(slices=0), Variation(), Variation(planar=True),
        Tilt(52.0, resample=True),
    )  # fmt: skip
    for step in steps:
        step.check(stack)
        one = ready(step, grey, stack)
        every = range(slices)
        speed = rate(partial(one.region, stack, grey, every, every), grey.size)
        held = one.working_bytes(grey.shape) / grey.size
        print(f"| {step} | {speed:.2f} | {copy / speed:.0f} | {held:.1f} |", flush=True)
    for name, step in (("brightness", Brightness()), ("noise", NonLocal())):
        speed = rate(lambda step=step: [step.row(one[None], 0) for one in grey], grey.size)
        print(f"| measuring {name} | {speed:.1f} | {copy / speed:.0f} | |", flush=True)


def rate(call: Callable[[], object], voxels: int, seconds: float = 1.0) -> float:
    call()
    start, calls = time.process_time(), 0
    while not calls or time.process_time() - start < seconds:
        call()
        calls += 1
    return voxels * calls / (time.process_time() - start) / 1e6


def write_pictures(folder: Path, spacing: float, images: Sequence[str]) -> None:
    """Slices before and after each correction, side by side."""
    from skimage.io import imread, imsave

    grey = np.stack([imread(one) for one in images])
    if grey.ndim == 4:
        grey = grey[0]
    cube = (spacing,) * 3
    width = 24 * spacing
    folder.mkdir(parents=True, exist_ok=True)
    for step in (
        Brightness(), Background(100 * spacing, phases=3), Curtain(width, phases=3),
        Curtain(width, phases=1), Curtain(width, method="variational", phases=1),
        Median(planar=True), NonLocal(), Variation(),
    ):  # fmt: skip
        good = corrected(step, grey, cube)
        middle = len(grey) // 2
        change = 128 + 4 * (good[middle].astype(float) - grey[middle])
        sheet = np.hstack([grey[middle], good[middle], as_type(change, "uint8")])
        name = str(step).replace(":", "-").replace(",", "-")
        imsave(folder / f"{name}.png", sheet, check_contrast=False)
        changed = float(np.abs(good.astype(int) - grey).mean())
        print(f"| {step} | {changed:.2f} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("defects", "tilt", "layers", "speed", "pictures"))
    parser.add_argument("rest", nargs="*")
    parser.add_argument("--shape", default=",".join(map(str, SHAPE)))
    parser.add_argument("--edge", type=int, default=512)
    parser.add_argument("--slices", type=int, default=8)
    parser.add_argument("--spacing", type=float, default=10.0)
    given = parser.parse_args(arguments)
    z, y, x = map(int, given.shape.split(","))
    if given.what == "defects":
        print_defects((z, y, x), given.rest)
    elif given.what == "tilt":
        print_tilt((z, y, x))
    elif given.what == "layers":
        print_layers()
    elif given.what == "speed":
        print_speed(given.edge, given.slices)
    else:
        write_pictures(Path(given.rest[0]), given.spacing, given.rest[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
