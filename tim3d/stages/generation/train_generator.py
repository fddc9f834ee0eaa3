"""A generator of volumes is trained on micrographs of a material; it is a file of its own, beside the training."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from tim3d.engine import Outline, lock_sample
from tim3d.forecast import expect, will_exist
from tim3d.kernels.generation import architecture
from tim3d.kernels.generation.architecture import Architecture
from tim3d.kernels.statistics.generator_score import target_of
from tim3d.kernels.statistics.grey_statistics import grey_target
from tim3d.phases import Phases
from tim3d.stages.generation.generator_cost import check_memory, summary, warn_of_gaps, warn_of_reach
from tim3d.stages.generation.training_images import Micrographs, check_crop, read_micrographs, split
from tim3d.stages.shared.awaited import cannot_plan
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import outputs
from tim3d.storage.files import writing
from tim3d.storage.removal import remove_file
from tim3d.typed import Folder, Images, Minutes, PixelSize

if TYPE_CHECKING:
    from tim3d.models.generation.adversarial import AdversarialOptions
    from tim3d.models.generation.adversarial_run import Course, Schedule
    from tim3d.models.generation.slicegan import Generator

log = logging.getLogger(__name__)
WEIGHTS, STATE, HISTORY = "generator.safetensors", "training.state", "history"


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


@Verb
def train_generator(
    micrograph: Images,
    out: Folder,
    *,
    phases: Phases | None = None,
    preset: str = "demo",
    pixel_size: PixelSize | None = None,
    scale: int = 1,
    steps: int = 800,
    minutes: Minutes | None = None,
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
    overwrite: bool = False,
    progress: bool = True,
    on_look: Callable[[Look], None] | None = None,
) -> Task[Path]:
    """Train a generator of volumes (SliceGAN) on one micrograph, or on three of an anisotropic material.

    Slices of what it makes, in all three directions, come to look like the micrographs. The state that is kept is that
    whose phase fractions, two-point correlation and surface (of grey values and colours: distribution, correlation and
    sharpness) are nearest to the image, not the last one. Interrupted, it goes on where it was, and ends with the same
    weights; with more `steps` it goes on as well.

    Parameters
    ----------
    micrograph : path, or three paths
        One image of an isotropic material, or three, of the planes normal to z, y and x. Images of labels, grey values
        or colours; rows and columns of the three are (y, x), (z, x) and (z, y).
    out : path
        Folder for the generator, the state of its training, its history and pictures. The generator is
        ``generator.safetensors``.
    phases : Phases, optional
        Name and grey value of each phase of labelled images (default: grey values or colours are learnt). Without them
        a grey image trains a generator of grey values, and one in colour of red, green and blue; both are of 8 bits.
    preset : str
        Size of the network. See `tim3d.kernels.generation.architecture.PRESETS`.
    pixel_size : float or (z, y, x), optional
        Pixels of the files in nm, of three images along z, y, x (default: as their metadata say).
    scale : int
        Pixels of a file along the edge of one that is trained on. Phase fractions are kept, grey values averaged.
    steps : int
        Steps of the generator. With more of them a finished training goes on.
    minutes : float, optional
        Time after which it ends even if steps are left (default: none). The next call goes on.
    every : int
        Steps from one look at the result to the next.
    batch : int
        Volumes of a step. See `tim3d.models.generation.adversarial.AdversarialOptions`.
    slices : int
        Slices that a critic sees along each axis.
    critic_steps : int
        Steps of the critics before each of the generator.
    learning_rate : float
        Learning rate of all networks.
    average : float
        Share that the averaged generator keeps in a step.
    held_out : float, optional
        Share of the columns that only the selection sees (default: a fifth of a large image, otherwise none). Large
        enough is one of which a fifth tells the phase fractions or the mean grey value; the selection of a smaller one
        compares with the whole image.
    seed : int
        Number from which the first weights and all that is random follow.
    device : str
        Device of the training: auto, cpu, cuda or cuda:1. Started by torchrun, each process takes a GPU of its own.
    threads : int
        CPU threads; another number gives other bits. 0 leaves torch its own number.
    mixed_precision : bool
        Compute in bfloat16 on CUDA.
    overwrite : bool
        Forget an earlier training in the folder.
    progress : bool
        Show a progress bar on standard error.
    on_look : callable, optional
        Called after every look.

    Returns
    -------
    Path
        The generator.

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
    from tim3d.models.generation.adversarial import AdversarialOptions
    from tim3d.models.generation.adversarial_run import Schedule

    options = AdversarialOptions(
        batch=batch, slices=slices, critic_steps=critic_steps, learning_rate=learning_rate, average=average, seed=seed,
        mixed_precision=mixed_precision,
    )  # fmt: skip
    schedule = Schedule(steps, every, math.inf if minutes is None else 60 * minutes)
    paths = [str(p) for p in ([micrograph] if isinstance(micrograph, str | Path) else micrograph)]
    awaited = next((p for p in paths if will_exist(p) and not Path(p).exists()), None)
    if awaited:
        return Task(partial(cannot_plan, "train_generator", awaited), lambda: Path(out) / WEIGHTS)
    images = read_micrographs(paths, phases, pixel_size, scale)
    network = architecture.preset(preset, len(images.phases or images.values[0]), images.output)
    check_crop(images, network.crop)
    training = Training(network, images, options, schedule, Path(out), held_out, device, threads, progress, on_look)
    return Task(partial(training.plans, overwrite), partial(training.start, overwrite))


@dataclass(frozen=True)
class Training:
    """All that `train_generator` was asked for, checked."""

    architecture: Architecture
    images: Micrographs
    options: AdversarialOptions
    schedule: Schedule
    folder: Path
    held_out: float | None
    device: str
    threads: int
    progress: bool
    on_look: Callable[[Look], None] | None

    @cached_property
    def parts(self) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...], str]:
        """What is trained on, what is selected by, and a sentence about it."""
        return split(self.images.values, len(self.images.phases or ()), self.architecture.crop, self.held_out)

    @cached_property
    def decided(self) -> dict[str, Any]:
        """What decides the generator besides network, pixels and options; as it is recorded."""
        from tim3d.models.common.determinism import threads_used
        from tim3d.models.common.device import choose_device

        device = choose_device(self.device).partition(":")[0]
        return {
            "held_out_columns": self.images.shape[1] - self.parts[0][0].shape[-1],
            "every": self.schedule.every,
            "device": device,
            "threads": threads_used(self.threads) if device == "cpu" else None,
        }

    def plans(self, overwrite: bool) -> list[Outline]:
        """One line, or nothing if the training is done; the generator is expected by the steps that follow."""
        if not overwrite and self._is_done():
            return []
        self._warn()
        from tim3d.models.generation.export import GeneratorDescription

        description = GeneratorDescription(self.architecture, self.images.spacing_nm, self.images.phases)
        expect("generator", str(self.folder / WEIGHTS), description)
        return [Outline("train_generator", f"{self._described()}; into {self.folder}")]

    def start(self, overwrite: bool) -> Path:
        """Check, lock and train; with `overwrite` from the beginning."""
        from tim3d.models.common.distributed import is_first

        self._warn()
        check_memory(self.architecture, self.images, self.options, self.decided["device"])
        folder = _folder(self.folder)
        # The others that torchrun started wait for the first one before they read what is there.
        with lock_sample(str(folder / WEIGHTS)) if is_first() else contextlib.nullcontext():
            if overwrite and is_first():  # what was made stays until the first look at the new training
                remove_file(folder / STATE)
            return self.run()

    def _is_done(self) -> bool:
        """Whether the generator that is there is the end of this training; another one is refused when it is run."""
        from tim3d.models.generation.export import describe_generator

        if not (self.folder / WEIGHTS).is_file():
            return False
        about, _ = describe_generator(self.folder / WEIGHTS)
        known = {"images": self.images.sources, "options": asdict(self.options), **self.decided}
        known = json.loads(json.dumps(known))
        same = {key: about.training.get(key) for key in known} == known
        known_as = (about.architecture, about.spacing_nm, about.phases)
        asked = (self.architecture, self.images.spacing_nm, self.images.phases)
        return same and known_as == asked and about.training["steps"] >= self.schedule.steps

    def _warn(self) -> None:
        warn_of_reach(self.architecture, self.images)
        warn_of_gaps(self.images)

    def _described(self) -> str:
        return "; ".join(summary(self.architecture, self.images, self.options, self.schedule))

    def run(self) -> Path:
        """Train to the end; the generator is written by the first process."""
        from tim3d.models.common.determinism import cpu_threads
        from tim3d.models.common.distributed import processes

        with cpu_threads(self.threads), processes(self.device) as (rank, size, chosen):
            course = self._course(rank, size, chosen)
            if rank == 0 and course.done:
                log.info("going on after step %d", course.done)
            self._steps(course)
            if rank == 0:
                self._export(course)
        return self.folder / WEIGHTS

    def _course(self, rank: int, size: int, device: Any) -> Course:
        from tim3d.models.generation.adversarial import Adversaries
        from tim3d.models.generation.adversarial_run import Course
        from tim3d.models.generation.checkpoint_selection import Judge, judged_edge
        from tim3d.models.generation.slice_sampler import Views, one_hot

        phases, edge = len(self.images.phases or ()), judged_edge(self.architecture)
        seen, judged, text = self.parts
        if rank == 0:
            log.info(text)
        views = Views(tuple(one_hot(image[0], tuple(range(phases))) for image in seen) if phases else seen)
        target = target_of([image[0] for image in judged], phases, edge) if phases else grey_target(judged, edge)
        adversaries = Adversaries(self.architecture, views, self.options, device, rank, size)
        names = {"spacing_nm": self.images.spacing_nm, "phases": dict(self.images.phases or {})}
        return Course(adversaries, Judge(target, self.options.seed), self.folder / STATE, self.decided | names)

    def _steps(self, course: Course) -> None:
        hidden = not self.progress or course.adversaries.rank > 0
        with tqdm(total=self.schedule.steps, initial=course.done, desc="train", unit="step", disable=hidden) as bar:
            for record in course.run(self.schedule, lambda _, net: self._show(course, net)):
                bar.update()
                bar.set_postfix(_shown(record, course))

    def _show(self, course: Course, net: Generator) -> None:
        """Write what there is so far: the history, and the generator if it is the best."""
        from tim3d.models.generation.checkpoint_selection import JUDGED, JUDGED_NODES, NO_STEP, cube, voxels_of

        write_history(self.folder, course.history)
        if course.chosen_record() is course.history[-1]:
            self._export(course)
        if self.on_look:
            rng = np.random.default_rng([self.options.seed, NO_STEP, JUDGED])
            volume = voxels_of(net, rng, cube(JUDGED_NODES))
            middle = tuple(volume.take(volume.shape[axis] // 2, axis) for axis in (-3, -2, -1))
            self.on_look(Look(self.folder, list(course.history), middle, self.images))

    def _export(self, course: Course) -> None:
        from tim3d.models.generation.export import GeneratorDescription, save_generator

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
            **self.decided,
            "options": asdict(self.options),
            "history": course.history,
        }


# What a training writes into its folder.
FILES = {
    WEIGHTS: outputs.WEIGHTS, STATE: outputs.STATE,
    f"{HISTORY}.json": outputs.HISTORY, f"{HISTORY}.csv": outputs.HISTORY,
    "curves.png": outputs.FIGURE, "samples.png": outputs.FIGURE,
}  # fmt: skip


def _folder(folder: Path) -> Path:
    """The folder, made, if all that a training writes may be written into it."""
    for name, kind in FILES.items():
        outputs.check_target(folder / name, kind, makes_folder=True)
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
