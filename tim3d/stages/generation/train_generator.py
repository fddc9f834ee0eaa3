"""The verb `train_generator`: training of a generator of volumes on micrographs of a material."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tim3d.forecast import will_exist
from tim3d.phases import Phases
from tim3d.stages.generation.training_images import Look, read_micrographs
from tim3d.stages.shared.awaited import cannot_plan
from tim3d.stages.shared.verb import Task, Verb
from tim3d.typed import Folder, Images, Minutes, PixelSize


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

    Training makes slices of generated volumes, in all three directions, look like the micrographs.
    The kept state is not the last one, but the one nearest to the image in phase fractions,
    two-point correlation and surface (for grey values and colours: distribution, correlation and
    sharpness). An interrupted training resumes where it stopped, and ends with the same weights;
    a finished one continues if `steps` is larger.

    Parameters
    ----------
    micrograph : path, or three paths
        One image of an isotropic material, or three, of the planes normal to z, y and x. Images of
        labels, grey values or colours; rows and columns of the three are (y, x), (z, x) and (z, y).
    out : path
        Folder for the generator, the state of its training, its history and pictures. The generator
        is ``generator.safetensors``.
    phases : Phases, optional
        Name and grey value of each phase of labelled images (default: grey values or colours are
        learnt). Without them a grey image trains a generator of grey values, and one in colour of
        red, green and blue; both are of 8 bits.
    preset : str
        Size of the network. See `tim3d.kernels.generation.architecture.PRESETS`.
    pixel_size : float or (z, y, x), optional
        Pixels of the files in nm, of three images along z, y, x (default: as their metadata say).
    scale : int
        Pixels of a file along the edge of one that is trained on. Phase fractions are kept, grey
        values averaged.
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
        Share of the columns that only the selection sees (default: a fifth of a large image,
        otherwise none). Large enough is one of which a fifth tells the phase fractions or the mean
        grey value; the selection of a smaller one compares with the whole image.
    seed : int
        Number from which the first weights and all that is random follow.
    device : str
        Device of the training: auto, cpu, cuda or cuda:1. Started by torchrun, each process takes a
        GPU of its own.
    threads : int
        CPU threads; another number gives other bits. 0 leaves torch its own number.
    mixed_precision : bool
        Compute in bfloat16 on CUDA.
    overwrite : bool
        Forget an earlier training in the folder.
    progress : bool
        Show a progress bar on standard error.
    on_look : callable, optional
        Called after every look; `tim3d.reporting.generator.write_figures` draws curves and samples
        into the folder, as the shell does.

    Returns
    -------
    Path
        The generator.

    Raises
    ------
    ArgumentError
        If an argument is out of range, or the preset is unknown.
    InputError
        If a micrograph cannot be used.
    MixedRunError
        If the folder holds another training.
    MemoryPlanError
        If the training does not fit into memory.
    LockedError
        If another process trains into the folder.

    References
    ----------
    Kench, Cooper, Nat. Mach. Intell. 3 (2021) 299. DOI 10.1038/s42256-021-00322-1
    """
    # torch takes seconds to load
    from tim3d.models.common.training_run import Schedule
    from tim3d.models.generation.adversarial import AdversarialOptions
    from tim3d.stages.generation.generator_training import GeneratorTraining, network
    from tim3d.stages.generation.training_folder import TrainingFolder

    options = AdversarialOptions(
        batch=batch, slices=slices, critic_steps=critic_steps, learning_rate=learning_rate, average=average, seed=seed,
        mixed_precision=mixed_precision,
    )  # fmt: skip
    schedule = Schedule(steps, every, math.inf if minutes is None else 60 * minutes)
    place = TrainingFolder(Path(out), schedule, device, threads, progress)
    paths = [str(p) for p in ([micrograph] if isinstance(micrograph, str | Path) else micrograph)]
    awaited = next((p for p in paths if will_exist(p) and not Path(p).exists()), None)
    if awaited:
        return Task(partial(cannot_plan, "train_generator", awaited), lambda: place.weights)
    images = read_micrographs(paths, phases, pixel_size, scale)
    training = GeneratorTraining(network(preset, images), images, options, place, held_out, on_look)
    return Task(partial(training.plans, overwrite), partial(training.start, overwrite))
