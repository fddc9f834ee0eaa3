"""A generator of volumes is trained on micrographs of a material; it is a file of its own, beside the training."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from tim3d import outputs
from tim3d.engine import lock_sample
from tim3d.engine.memory import available_memory
from tim3d.errors import MemoryPlanError
from tim3d.files import writing
from tim3d.kernels import agreement, latent
from tim3d.kernels.grey import grey_target
from tim3d.kernels.latent import CROP_NODES, Architecture
from tim3d.kernels.likeness import target_of
from tim3d.phases import Phases
from tim3d.removal import remove_file
from tim3d.schema import AXES
from tim3d.stages.micrographs import Micrographs, check_crop, read_micrographs, split

if TYPE_CHECKING:
    from tim3d.models.adversarial import AdversarialOptions
    from tim3d.models.course import Course, Schedule
    from tim3d.models.slicegan import Generator

log = logging.getLogger(__name__)
WEIGHTS, STATE, HISTORY = "generator.safetensors", "training.state", "history"
FLOAT_BYTES = 4
# What convolutions need for themselves: measured peaks are 0.99 to 1.15 of the rest.
MARGIN = 1.25


@dataclass(frozen=True)
class Look:
    """What there is to see of a training after some steps.

    Attributes
    ----------
    folder : path
        Of the training.
    history : list of dict
        A record for each look: `step`, mean losses since the last one, errors.
    slices : tuple of array (rows, columns), uint8
        Middle slices of a generated volume across z, y and x: labels 0, 1, ... or grey values, of colours (3, rows,
        columns).
    images : Micrographs
        The micrographs.
    """

    folder: Path
    history: list[dict[str, float]]
    slices: tuple[np.ndarray, ...]
    images: Micrographs


def train_generator(
    micrograph: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    phases: Phases | None = None,
    preset: str = "demo",
    pixel_size: float | Sequence[float] | None = None,
    scale: int = 1,
    steps: int = 800,
    minutes: float | None = None,
    every: int = 50,
    batch: int = 4,
    slices: int = 16,
    critic_steps: int = 4,
    learning_rate: float = 4e-4,
    average: float = 0.99,
    held_out: float | None = None,
    seed: int = 0,
    device: str = "auto",
    threads: int = 1,
    mixed_precision: bool = True,
    plan: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    on_look: Callable[[Look], None] | None = None,
) -> Path | list[str]:
    """Train a generator of volumes (SliceGAN) on one micrograph, or on three of an anisotropic material.

    Slices of what it makes, in all three directions, come to look like the micrographs. The state that is kept is that
    whose phase fractions, two-point correlation and surface (of grey values and colours: distribution, correlation and
    sharpness) are nearest to the image, not the last one. Interrupted, it goes on where it was, and ends with the same
    weights; with more `steps` it goes on as well.

    Parameters
    ----------
    micrograph : path, or three paths
        Images of labels, grey values or colours: one of an isotropic material; or three, of the planes normal to z, y
        and x, whose rows and columns are (y, x), (z, x) and (z, y).
    out : path
        Folder for ``generator.safetensors``, the state of the training and its history.
    phases : Phases, optional
        Name and grey value of each phase of labelled images. Without them a grey image trains a generator of grey
        values, and one in colour of red, green and blue; both are of 8 bits.
    preset : str
        Of the network; see `tim3d.kernels.latent.PRESETS`.
    pixel_size : float or (z, y, x), optional
        In nm, of the pixels of the files; by default what their metadata say.
    scale : int
        Pixels of a file along the edge of one that is trained on; phase fractions are kept, grey values averaged.
    steps, every : int
        Steps of the generator, and steps from one look at the result to the next.
    minutes : float, optional
        End after this time even if steps are left.
    batch, slices, critic_steps, learning_rate, average, mixed_precision
        See `tim3d.models.adversarial.AdversarialOptions`.
    held_out : float, optional
        Share of the columns that only the selection sees. By default a fifth of an image large enough that a fifth
        tells the phase fractions or the mean grey value, otherwise nothing: the selection then compares with the whole
        image.
    seed : int
        Of the first weights and all that is random.
    device : str
        "auto", "cpu", "cuda" or "cuda:1". Started by torchrun, each process takes a GPU of its own.
    threads : int
        CPU threads; another number gives other bits. 0 leaves torch its own number.
    plan : bool
        Say what it would cost, and do nothing.
    overwrite : bool
        Forget an earlier training in the folder.
    on_look : callable, optional
        Called after every look.

    Returns
    -------
    Path
        The generator; or, of a plan, lines of text.

    Raises
    ------
    ArgumentError
        If an argument is out of range or there is no such preset.
    InputError
        If a micrograph cannot be used.
    MixedRunError
        If the folder holds another training.
    MemoryPlanError
        If it does not fit into memory.
    LockedError
        If another process trains into the folder.

    References
    ----------
    Kench, Cooper, Nat. Mach. Intell. 3 (2021) 299. DOI 10.1038/s42256-021-00322-1
    """
    from tim3d.models.adversarial import AdversarialOptions
    from tim3d.models.course import Schedule
    from tim3d.models.together import is_first

    options = AdversarialOptions(
        batch=batch, slices=slices, critic_steps=critic_steps, learning_rate=learning_rate, average=average, seed=seed,
        mixed_precision=mixed_precision,
    )  # fmt: skip
    schedule = Schedule(steps, every, math.inf if minutes is None else 60 * minutes)
    paths = [micrograph] if isinstance(micrograph, str | Path) else list(micrograph)
    images = read_micrographs(paths, phases, pixel_size, scale)
    architecture = latent.preset(preset, len(images.phases or images.values[0]), images.output)
    check_crop(images, architecture.crop)
    lines = _plan(architecture, images, options, schedule)
    _warn_of_reach(architecture, images)
    _warn_of_gaps(images)
    if plan:
        return lines
    _check_memory(architecture, images, options, device)
    folder = _folder(Path(out))
    training = Training(architecture, images, options, schedule, folder, held_out, progress, on_look)
    # The others that torchrun started wait for the first one before they read what is there.
    with lock_sample(str(folder / WEIGHTS)) if is_first() else contextlib.nullcontext():
        if overwrite and is_first():  # what was made stays until the first look at the new training
            remove_file(folder / STATE)
        return training.run(device, threads)


@dataclass(frozen=True)
class Training:
    """All that `train_generator` was asked for, checked."""

    architecture: Architecture
    images: Micrographs
    options: AdversarialOptions
    schedule: Schedule
    folder: Path
    held_out: float | None
    progress: bool
    on_look: Callable[[Look], None] | None

    def run(self, device: str, threads: int) -> Path:
        """Train to the end; the generator is written by the first process."""
        from tim3d.models.repeatable import cpu_threads
        from tim3d.models.together import processes

        with cpu_threads(threads), processes(device) as (rank, size, chosen):
            course = self._course(rank, size, chosen)
            if rank == 0 and course.done:
                log.info("going on after step %d", course.done)
            self._steps(course)
            if rank == 0:
                self._export(course)
        return self.folder / WEIGHTS

    def _course(self, rank: int, size: int, device: Any) -> Course:
        from tim3d.models.adversarial import Adversaries
        from tim3d.models.course import Course
        from tim3d.models.selection import Judge, judged_edge
        from tim3d.models.views import Views, one_hot

        phases, edge = len(self.images.phases or ()), judged_edge(self.architecture)
        seen, judged, text = split(self.images.values, phases, self.architecture.crop, self.held_out)
        if rank == 0:
            log.info(text)
        views = Views(tuple(one_hot(image[0], tuple(range(phases))) for image in seen) if phases else seen)
        target = target_of([image[0] for image in judged], phases, edge) if phases else grey_target(judged, edge)
        adversaries = Adversaries(self.architecture, views, self.options, device, rank, size)
        return Course(adversaries, Judge(target, self.options.seed), self.folder / STATE)

    def _steps(self, course: Course) -> None:
        hidden = not self.progress or course.adversaries.rank > 0
        with tqdm(total=self.schedule.steps, initial=course.done, desc="train", unit="step", disable=hidden) as bar:
            for record in course.run(self.schedule, lambda _, net: self._show(course, net)):
                bar.update()
                bar.set_postfix(_shown(record, course))

    def _show(self, course: Course, net: Generator) -> None:
        """Write what there is so far: the history, and the generator if it is the best."""
        from tim3d.models.selection import JUDGED, JUDGED_NODES, NO_STEP, cube, voxels_of

        write_history(self.folder, course.history)
        if course.chosen_record() is course.history[-1]:
            self._export(course)
        if self.on_look:
            rng = np.random.default_rng([self.options.seed, NO_STEP, JUDGED])
            volume = voxels_of(net, rng, cube(JUDGED_NODES))
            middle = tuple(volume.take(volume.shape[axis] // 2, axis) for axis in (-3, -2, -1))
            self.on_look(Look(self.folder, list(course.history), middle, self.images))

    def _export(self, course: Course) -> None:
        from tim3d.models.export import GeneratorDescription, save_generator

        description = GeneratorDescription(
            self.architecture, self.images.spacing_nm, self.images.phases, self._summary(course)
        )
        save_generator(self.folder / WEIGHTS, course.chosen(), description)

    def _summary(self, course: Course) -> dict[str, Any]:
        best = course.chosen_record()
        return {
            "images": self.images.sources,
            "seed": self.options.seed,
            "steps": course.done,
            "chosen_step": int(best["step"]),
            "selection": {name: value for name, value in best.items() if name.endswith("_error") or name == "score"},
            "processes": course.adversaries.size,
            "device": course.adversaries.device.type,
            "options": asdict(self.options),
            "history": course.history,
        }


def _plan(
    architecture: Architecture, images: Micrographs, options: AdversarialOptions, schedule: Schedule
) -> list[str]:
    rows, columns = images.shape
    z, y, x = images.spacing_nm
    kinds = "1 micrograph for all directions" if len(images.values) == 1 else "3 micrographs, one for each direction"
    return [
        *architecture.described().splitlines(),
        f"{kinds}: {rows} x {columns} pixels, voxels of {z:g} x {y:g} x {x:g} nm; {images.described()}",
        f"correlation to {images.correlation} pixels; the network reaches {architecture.correlation}",
        f"{schedule.steps} steps of the generator and {schedule.steps * options.critic_steps} of "
        f"{len(images.values)} critic(s), a look every {schedule.every}",
        f"memory {memory_bytes(architecture, len(images.values), options) / 2**30:.2f} GiB",
    ]


def _warn_of_reach(architecture: Architecture, images: Micrographs) -> None:
    """Longer features than the network reaches cannot be learnt."""
    if images.correlation >= architecture.correlation:
        factor = math.ceil((images.correlation + 1) / architecture.correlation)
        log.warning(
            "the micrograph is correlated over %d pixels, and preset %r makes voxels independent at %d; longer "
            "features will be missing. Use --scale %d or more, or a preset with more layers",
            images.correlation, architecture.name, architecture.correlation, images.sources[0]["scale"] * factor,
        )  # fmt: skip


def _warn_of_gaps(images: Micrographs) -> None:
    """What two planes show differently along one axis cannot be learnt from both."""
    if len(images.values) < 3:
        return
    seen = [agreement.indicators(v[0], len(images.phases)) for v in images.values] if images.phases else images.values
    profiles = agreement.profiles_of(seen)
    found = agreement.gaps(profiles)
    turned = agreement.turns(profiles) if found else None
    names = [source["file"] for source in images.sources]
    for gap in found:
        log.warning(
            "%s and %s contradict each other along %s: their correlations differ by %.2f on average, by chance it "
            "would be %.2f; a volume has one, so it misses them by %.2f at least. %s",
            *(names[i] for i in gap.images), AXES[gap.axis], gap.difference, gap.chance, gap.difference / 2,
            _cure_of_gaps(names, turned),
        )  # fmt: skip


def _cure_of_gaps(names: Sequence[str], turned: agreement.Turns | None) -> str:
    if turned is None:
        return "Are they of one material, at one scale, and of the planes normal to z, y and x in this order?"
    return f"Turn by a quarter, and all three agree: {', '.join(itertools.compress(names, turned))}"


def memory_bytes(architecture: Architecture, critics: int, options: AdversarialOptions) -> int:
    """Bytes that a training needs beside its libraries: weights, and what a step of the generator keeps."""
    weights = 9 * architecture.parameters + 7 * critics * _critic_parameters(architecture)
    volumes = 0
    for edge, channels in zip(architecture.edges(CROP_NODES), architecture.channels, strict=False):
        volumes += 4 * channels * edge**3
    if architecture.kind != "transposed":
        volumes += 2 * architecture.channels[-2] * (architecture.crop + 4) ** 3
    pixels, edge = 3 * architecture.outputs * architecture.crop**2, architecture.crop
    for channels in architecture.critic:
        edge //= 2
        pixels += 3 * channels * edge**2
    kept = weights + options.batch * (volumes + 3 * architecture.crop * pixels)
    return int(MARGIN * FLOAT_BYTES * kept)


def _critic_parameters(architecture: Architecture) -> int:
    widths = (architecture.outputs, *architecture.critic, 1)
    return sum(16 * a * b for a, b in itertools.pairwise(widths))


def _check_memory(architecture: Architecture, images: Micrographs, options: AdversarialOptions, device: str) -> None:
    need, free = memory_bytes(architecture, len(images.values), options), available_memory()
    if device == "cpu" and need > free:
        raise MemoryPlanError(
            f"training {architecture.name!r} needs {need / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free; use "
            f"--batch below {options.batch}, or a smaller --preset"
        )


# What a training writes into its folder.
FILES = {
    WEIGHTS: outputs.WEIGHTS, STATE: outputs.STATE,
    f"{HISTORY}.json": outputs.HISTORY, f"{HISTORY}.csv": outputs.HISTORY,
    "curves.png": outputs.FIGURE, "samples.png": outputs.FIGURE,
}  # fmt: skip


def _folder(folder: Path) -> Path:
    """The folder, made, if all that a training writes may be written into it."""
    for name, kind in FILES.items():
        outputs.check_target(folder / name, kind)
    with writing(str(folder), outputs.KEPT):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_history(folder: Path, history: Sequence[Mapping[str, float]]) -> None:
    """The records of a training as JSON and as CSV."""
    table = io.StringIO()
    rows = csv.DictWriter(table, list(history[0]), lineterminator="\n")
    rows.writeheader()
    rows.writerows(history)
    outputs.write_file(folder / f"{HISTORY}.json", json.dumps(history, indent=1).encode(), outputs.HISTORY)
    outputs.write_file(folder / f"{HISTORY}.csv", table.getvalue().encode(), outputs.HISTORY)


def _shown(record: Mapping[str, float], course: Course) -> dict[str, str]:
    shown = {"distance": f"{record['distance']:.2f}", "generator": f"{record['generator_loss']:.2f}"}
    if course.history:
        shown |= {"best": f"{course.chosen_record()['score']:.4f}"}
    return shown
