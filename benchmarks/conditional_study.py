"""Diffusion and a conditional GAN on a series whose truth is known, at equal processor time and size.

    python -m benchmarks.conditional_study --folder study --minutes 5

Three materials at six temperatures are generated: sections of level cuts of Gaussian fields, whose
solid fraction and grain of structure follow the temperature. An image of each condition is learnt
from, but for one middle temperature of each material, which only the judging sees. Each network is
trained for `--minutes` of processor time (not of the clock), with `--seeds` seeds, then draws images
of all conditions, which `fidelity-images` compares with the images of the training and as many
others of the same law. A second call with the same folder repeats no training that was finished.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import xarray as xr

import tim3d
from tim3d.generators import GaussianField, LevelCuts
from tim3d.models.conditional.network_file import describe_conditional
from tim3d.models.diffusion.network_file import describe_network
from tim3d.storage import store

QUIET = tim3d.Options(progress=False)
PHASES = tim3d.Phases(pore=0, solid=1)
PIXEL_NM = 5.0
TEMPERATURES = (200, 225, 250, 275, 300, 325)
# Solid fraction and correlation length in pixels at the lowest and the highest temperature; fractions
# as in the study of sintered porous copper (DOI 10.1038/s43246-024-00493-5).
MATERIALS = {
    "HPA": ((0.576, 0.761), (6.0, 9.0)),
    "HPB": ((0.383, 0.456), (7.5, 8.0)),
    "NPC": ((0.548, 0.756), (4.0, 7.0)),
}
HELD_OUT = {("HPA", 250), ("HPB", 275), ("NPC", 250)}
QUANTITIES = ("area_fraction", "perimeter_per_area", "shape_index")
# Steps after which a step is known to take as long as the ones before.
FIRST = 40


@dataclass(frozen=True)
class Condition:
    """A material at a temperature."""

    material: str
    temperature: int

    @property
    def name(self) -> str:
        """Name of its files."""
        return f"{self.material}-{self.temperature}"

    @property
    def is_held_out(self) -> bool:
        """Whether no training sees it."""
        return (self.material, self.temperature) in HELD_OUT

    @property
    def fraction(self) -> float:
        """Solid fraction."""
        return self._between(*MATERIALS[self.material][0])

    @property
    def correlation(self) -> float:
        """Correlation length in pixels."""
        return self._between(*MATERIALS[self.material][1])

    def _between(self, low: float, high: float) -> float:
        return low + (high - low) * TEMPERATURES.index(self.temperature) / (len(TEMPERATURES) - 1)


def conditions() -> list[Condition]:
    """All conditions."""
    return [Condition(material, heat) for material in MATERIALS for heat in TEMPERATURES]


@dataclass(frozen=True)
class Method:
    """A kind of network, how it is trained, and how many weights it has."""

    name: str
    train: Callable[..., Path]
    options: dict[str, Any]
    weights: Callable[[Path], int]


METHODS = (
    Method("flow", tim3d.train_diffusion, {}, lambda p: describe_network(p)[0].spec.parameters),
    Method("cgan", tim3d.train_cgan, {}, lambda p: describe_conditional(p)[0].spec.parameters),
)


@dataclass(frozen=True)
class Asked:
    """What is asked for: sizes, and the processor time of a training in seconds."""

    folder: Path
    seconds: float
    seeds: int
    edge: int
    crop: int
    drawn: int
    count: int
    methods: Sequence[Method] = METHODS


def image_of(folder: Path, one: Condition, seed: int, edge: int) -> None:
    """Write a section of a level cut as labels."""
    length = PIXEL_NM * one.correlation
    field = GaussianField(correlation_nm=(length,) * 3, spacing_nm=(PIXEL_NM,) * 3, seed=seed)
    cut = LevelCuts(field, (1 - one.fraction, one.fraction), PHASES)
    sample = str(folder.parent / "sections" / f"{one.name}-{seed}.zarr")
    tim3d.generate(sample, cut, shape=(1, edge, edge), options=QUIET)
    labels = np.asarray(store.open_field(sample, "phase"))[0]
    tifffile.imwrite(folder / f"{one.name}.tif", labels)


def series(asked: Asked) -> Path:
    """Images of all conditions, twice, and the table of those that are learnt from."""
    for place, name in enumerate(("learnt", "others")):
        folder = asked.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        for number, one in enumerate(conditions()):
            if not (folder / f"{one.name}.tif").exists():
                image_of(folder, one, 1 + 2 * number + place, asked.edge)
    table = asked.folder / "learnt.csv"
    rows = [
        {"file": f"{one.name}.tif", "material": one.material, "temperature": one.temperature}
        for one in conditions()
        if not one.is_held_out
    ]
    write(table, rows)
    for one in conditions():
        both = asked.folder / "real" / one.name
        both.mkdir(parents=True, exist_ok=True)
        for name in ("learnt", "others"):
            (both / f"{name}.tif").write_bytes(
                (asked.folder / name / f"{one.name}.tif").read_bytes()
            )
    return table


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows as CSV."""
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def trained(asked: Asked, method: Method, seed: int) -> dict[str, Any]:
    """Train for the processor time that is asked for, and return what was done.

    The time of a step is measured, then so many steps are added that the time is used up.
    """
    out = asked.folder / f"{method.name}-{seed}"
    kept = out / "study.json"
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    images = [asked.folder / "learnt" / f"{o.name}.tif" for o in conditions() if not o.is_held_out]
    given = {
        "phases": PHASES, "pixel_size": PIXEL_NM, "conditions": asked.folder / "learnt.csv", "crop": asked.crop,
        "seed": seed, "device": "cpu", "progress": False, "every": FIRST, **method.options,
    }  # fmt: skip
    used, steps = 0.0, FIRST
    while True:
        begun = time.process_time()
        weights = method.train(images, out, steps=steps, overwrite=steps == FIRST, **given)
        used += time.process_time() - begun
        more = int((asked.seconds - used) / (used / steps))
        if more < FIRST:
            break
        steps += max(FIRST, int(0.9 * more) // FIRST * FIRST)
    history = json.loads((out / "history.json").read_text())
    best = min(history, key=lambda record: record["score"])
    done = {
        "weights": method.weights(weights), "steps": steps, "seconds": used, "chosen": best["step"],
        "scores": [record["score"] for record in history],
    }  # fmt: skip
    kept.write_text(json.dumps(done))
    return done


def drawn(asked: Asked, method: Method, seed: int) -> tuple[Path, float]:
    """Images of all conditions, their table, and the processor time of an image."""
    folder = asked.folder / f"{method.name}-{seed}"
    begun, rows = time.process_time(), []
    for number, one in enumerate(conditions()):
        tim3d.generate_images(
            folder / "generator.safetensors", folder / one.name, shape=(asked.drawn, asked.drawn), count=asked.count,
            conditions={"material": one.material, "temperature": one.temperature}, device="cpu", progress=False,
            seed=100 * seed + number,  # other noise for each condition, or their errors would be alike
        )  # fmt: skip
        rows.append({
            "material": one.material, "temperature": one.temperature,
            "known": "held out" if one.is_held_out else "learnt", "real": f"../real/{one.name}", "generated": one.name,
        })  # fmt: skip
    write(folder / "judged.csv", rows)
    return folder / "judged.csv", (time.process_time() - begun) / (len(rows) * asked.count)


def judged(asked: Asked, table: Path) -> xr.Dataset:
    """Comparison of drawn images with real ones."""
    return tim3d.fidelity_images(
        table, phases=PHASES, in_pixels=True, crop=asked.crop, by="material"
    )


def lines(name: str, found: xr.Dataset) -> Iterator[str]:
    """Rows of the tables: R^2, then deviations, of the solid."""
    solid = found.sel(phase="solid")
    for group in found["group"].values:
        cells = [
            f"{float(one['r_squared']):.2f} / {float(one['correlation_squared']):.2f} "
            f"({float(one['r_squared_ceiling']):.2f})"
            for quantity in QUANTITIES
            for one in [solid.sel(group=group, quantity=quantity)]
        ]
        shares = [
            f"{float(found[f'neighbour_{n}'].sel(group=group)):.2f}"
            for n in ("precision", "recall", "coverage")
        ]
        yield f"| {name} | {group} | {' | '.join(cells)} | {' | '.join(shares)} |"


def spreads(name: str, found: xr.Dataset, known: Sequence[str]) -> Iterator[str]:
    """Rows of deviations in standard deviations of real crops, spreads, S2 and distances to copies."""
    solid = found.sel(phase="solid")
    for word in ("learnt", "held out"):
        chosen = [n for n, one in enumerate(known) if one == word]
        those = solid.isel(condition=chosen)
        deviations = [
            f"{float(np.abs(those['deviation'].sel(quantity=q)).mean()):.2f}" for q in QUANTITIES
        ]
        ratio = float(those["spread_ratio"].sel(quantity="area_fraction").mean())
        copies = [
            float(found[f"copy_distance_{side}"].isel(condition=chosen).mean())
            for side in ("generated", "real")
        ]
        yield (
            f"| {name} | {word} | {' | '.join(deviations)} | {ratio:.2f} | "
            f"{float(those['two_point_error'].mean()):.4f} | {copies[0]:.3f} / {copies[1]:.3f} |"
        )


def picture(asked: Asked, runs: Sequence[str]) -> None:
    """Real and drawn images of each material at a low, a held-out and a high temperature, side by side."""
    from PIL import Image

    rows = []
    for one in conditions():
        if one.temperature not in (200, 325) and not one.is_held_out:
            continue
        real = tifffile.imread(asked.folder / "others" / f"{one.name}.tif")
        panels = [real] + [
            np.asarray(Image.open(asked.folder / run / one.name / "image_00000.png"))
            for run in runs
        ]
        edge = min(asked.drawn, asked.edge)
        rows.append(
            np.hstack([np.pad(255 * p[:edge, :edge], 2, constant_values=128) for p in panels])
        )
    Image.fromarray(np.vstack(rows).astype(np.uint8)).save(asked.folder / "study.png")


def study(asked: Asked) -> None:
    """Train, draw and judge, and print the tables."""
    series(asked)
    scores, rest, costs, runs = [], [], [], []
    for seed in range(1, asked.seeds + 1):
        for method in asked.methods:
            name = f"{method.name}, seed {seed}"
            done = trained(asked, method, seed)
            table, each = drawn(asked, method, seed)
            found = judged(asked, table)
            scores += lines(name, found)
            with table.open() as file:
                rest += spreads(name, found, [row["known"] for row in csv.DictReader(file)])
            costs.append(
                f"| {name} | {done['weights'] / 1e6:.3f} | {done['steps']} | {done['seconds']:.0f} | {done['chosen']} "
                f"| {done['scores'][0]:.3f}, {min(done['scores']):.3f} | {each:.2f} |"
            )
            runs.append(f"{method.name}-{seed}")
            print(costs[-1], flush=True)
    picture(asked, runs)
    for head, rows in (
        (
            "| | million weights | steps | CPU s | chosen | first, best score | CPU s an image |",
            costs,
        ),
        (
            "| | group | "
            + " | ".join(f"{q}: R² / r² (ceiling)" for q in QUANTITIES)
            + " | precision | recall | coverage |",
            scores,
        ),
        (
            "| | conditions | "
            + " | ".join(f"{q}: mean deviation" for q in QUANTITIES)
            + " | s.d. of density, drawn / real | S2 error | nearest part, drawn / real |",
            rest,
        ),
    ):
        print(f"\n{head}\n|{'---|' * (head.count('|') - 1)}")
        print("\n".join(rows))


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command and run the study."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=5.0)
    for name, value in (("seeds", 2), ("edge", 512), ("crop", 64), ("drawn", 192), ("count", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args(sys.argv[1:] if arguments is None else list(arguments))
    study(
        Asked(
            given.folder, 60 * given.minutes, given.seeds, given.edge, given.crop, given.drawn, given.count
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
