"""The verb `train_cgan`: an adversarial network that makes images under conditions in one pass."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tim3d.forecast import will_exist
from tim3d.models.common.conditioned_network import state_channels
from tim3d.models.conditional.network_spec import ConditionalSpec, CriticSpec
from tim3d.models.conditional.training_options import ConditionalOptions
from tim3d.phases import Phases
from tim3d.stages.generation.diffusion_examples import of_table
from tim3d.stages.generation.training_images import Look
from tim3d.stages.shared.awaited import cannot_plan
from tim3d.stages.shared.verb import Task, Verb
from tim3d.typed import Channels, Folder, Images, Minutes, PixelSize


@Verb
def train_cgan(
    micrograph: Images,
    out: Folder,
    *,
    phases: Phases,
    conditions: str | Path,
    pixel_size: PixelSize | None = None,
    scale: int = 1,
    widths: Channels = (16, 32, 64),
    blocks: int = 3,
    critic_widths: Channels = (32, 48, 64, 96),
    crop: int = 64,
    batch: int = 16,
    critic_steps: int = 2,
    learning_rate: float = 5e-4,
    average: float = 0.995,
    dropout: float = 0.1,
    steps: int = 2000,
    minutes: Minutes | None = None,
    every: int = 100,
    held_out: float | None = None,
    seed: int = 0,
    device: str = "auto",
    threads: int = 1,
    mixed_precision: bool = True,
    overwrite: bool = False,
    progress: bool = True,
    on_look: Callable[[Look], None] | None = None,
) -> Task[Path]:
    """Train a conditional adversarial network: a generator of images of a series, against a critic.

    The generator makes an image from noise in one pass; what `train_diffusion` trains takes many, and
    this is what to compare it with. Every pixel depends on noise within a bounded reach only, so that
    images of any size can be made. Kept is the state whose images are nearest in phase fractions, S2
    and surface. An interrupted training resumes where it stopped, and ends with the same weights; a
    finished one continues if `steps` is larger.

    Parameters
    ----------
    micrograph : path, or several paths
        Images of labels of isotropic materials, with pixels of one size.
    out : path
        Folder for the network, ``generator.safetensors``, the state of its training, its history and
        pictures.
    phases : Phases
        Name and grey value of each phase.
    conditions : path
        CSV with a row for each image, its name in the column ``file``, and a condition in every other
        column, numbers or names of classes.
    pixel_size : float, optional
        Pixels of the files in nm (default: as their metadata say).
    scale : int
        Pixels of a file along the edge of one that is trained on.
    widths : sequence of int
        Channels of the generator at each level, from single pixels on; the edge of a cell doubles from
        one to the next, and a cell of the last has its own noise.
    blocks : int
        Residual convolutions at the last level.
    critic_widths : sequence of int
        Channels of the critic behind each convolution, which halves the edge.
    crop : int
        Edge in pixels of the windows that the critic sees.
    batch : int
        Real windows of a step, and as many generated ones.
    critic_steps : int
        Steps of the critic before each of the generator.
    learning_rate : float
        Learning rate of Adam, of both networks.
    average : float
        Share that the averaged generator keeps in a step.
    dropout : float
        Share of the windows that are learnt without their conditions.
    steps : int
        Steps of the generator in all. With more of them a finished training goes on.
    minutes : float, optional
        Time after which it ends even if steps are left (default: none). The next call goes on.
    every : int
        Steps from one look at the result to the next.
    held_out : float, optional
        Share of the columns that only the selection sees (default: a fifth of a large image, otherwise
        none).
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
        Called after every look; `tim3d.reporting.generator.write_figures` draws curves and samples into
        the folder, as the shell does.

    Returns
    -------
    Path
        The network.

    Raises
    ------
    ArgumentError
        If an argument is out of range.
    InputError
        If an image or the table cannot be used.
    MixedRunError
        If the folder holds another training.
    MemoryPlanError
        If the training does not fit into memory.
    LockedError
        If another process trains into the folder.

    References
    ----------
    Miyato and Koyama, ICLR 2018 (projection critic), DOI 10.48550/arXiv.1802.05637. Gulrajani et al.,
    NeurIPS 2017 (gradient penalty), DOI 10.48550/arXiv.1704.00028
    """
    from tim3d.models.common.training_run import Schedule  # torch takes seconds to load
    from tim3d.stages.generation.cgan_training import CganJob
    from tim3d.stages.generation.training_folder import TrainingFolder

    options = ConditionalOptions(
        crop, batch, learning_rate, average, dropout, seed, mixed_precision, critic_steps
    )
    schedule = Schedule(steps, every, math.inf if minutes is None else 60 * minutes)
    place = TrainingFolder(Path(out), schedule, device, threads, progress)
    ConditionalSpec(1, 1, tuple(widths), blocks), CriticSpec(1, 1, tuple(critic_widths))
    paths = [str(p) for p in ([micrograph] if isinstance(micrograph, str | Path) else micrograph)]
    awaited = next((p for p in paths if will_exist(p) and not Path(p).exists()), None)
    if awaited:
        return Task(partial(cannot_plan, "train_cgan", awaited), lambda: place.weights)
    material = of_table(paths, conditions, phases, pixel_size, scale)
    inputs = sum(one.columns for one in material.conditions)
    channels = state_channels(len(phases))
    spec = ConditionalSpec(channels, inputs, tuple(widths), blocks)
    critic = CriticSpec(channels, inputs, tuple(critic_widths))
    job = CganJob(material, options, place, held_out, on_look, spec, critic)
    return Task(partial(job.plans, overwrite), partial(job.start, overwrite))
