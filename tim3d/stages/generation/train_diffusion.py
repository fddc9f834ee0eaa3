"""The verb `train_diffusion`: a network that turns noise into images or volumes step by step."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from tim3d.errors import ArgumentError
from tim3d.forecast import expected, will_exist
from tim3d.models.common.conditioned_network import state_channels
from tim3d.models.diffusion.network_spec import LocalNetworkSpec
from tim3d.models.diffusion.training_options import DiffusionOptions
from tim3d.phases import Phases
from tim3d.stages.generation.diffusion_examples import (
    Material,
    check_conditions,
    of_field,
    of_micrographs,
    of_table,
)
from tim3d.stages.generation.local_fractions import with_local_fractions
from tim3d.stages.generation.training_images import Look, read_micrographs
from tim3d.stages.shared.awaited import cannot_plan
from tim3d.stages.shared.verb import Task, Verb
from tim3d.typed import Channels, Folder, Images, Minutes, PixelSize


@Verb
def train_diffusion(
    micrograph: Images,
    out: Folder,
    *,
    phases: Phases | None = None,
    pixel_size: PixelSize | None = None,
    scale: int = 1,
    conditions: str | Path | None = None,
    field: str | None = None,
    coarse_window: float | None = None,
    objective: Literal["flow", "ddpm"] = "flow",
    widths: Channels = (32, 48),
    blocks: int = 1,
    unshuffle: int = 2,
    crop: int = 64,
    batch: int = 16,
    learning_rate: float = 1e-3,
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
    """Train a diffusion: a network that estimates, from noisy images, the way back to images of a material.

    Every voxel of its output depends on those within a bounded reach only, and no statistics of a
    window enter, so that a volume of any size can be generated block by block. Kept is the state with
    the lowest loss on crops that training does not see, if the image is large enough for that. An
    interrupted training resumes where it stopped, and ends with the same weights; a finished one
    continues if `steps` is larger.

    Parameters
    ----------
    micrograph : path, or several paths
        One image of an isotropic material; three, of the planes normal to z, y and x; with
        `conditions` any number; or, with `field`, a sample. Images are of labels or grey values.
    out : path
        Folder for the network, ``generator.safetensors``, the state of its training, its history and
        pictures.
    phases : Phases, optional
        Name and grey value of each phase of labelled images (default: grey values are learnt).
    pixel_size : float or (z, y, x), optional
        Pixels of the files in nm, of three images along z, y, x (default: as their metadata say).
    scale : int
        Pixels of a file along the edge of one that is trained on.
    conditions : path, optional
        CSV with a row for each image, its name in the column ``file``, and a condition in every other
        column, numbers or names of classes (default: none).
    field : str, optional
        Field of labels of a sample: a network of volumes is trained on it (default: of images).
    coarse_window : float, optional
        Length in nm over which the phase fraction is averaged, some times the size of the structures:
        the network is given the local fraction of the first of two phases around every voxel, and
        what is generated varies slowly as the material does (default: it is given nothing).
    objective : {"flow", "ddpm"}
        Estimate of the network: the velocity from noise to data (flow matching), or the noise, with
        the 1000 steps and linear variances of DDPM.
    widths : sequence of int
        Channels of the network at each level; the edge of a cell doubles from one to the next.
    blocks : int
        Residual blocks at each level, on the way down and on the way up.
    unshuffle : int
        Edge in voxels of a cell of the first level.
    crop : int
        Edge of a crop in pixels or voxels.
    batch : int
        Crops of a step.
    learning_rate : float
        Learning rate of AdamW.
    average : float
        Share that the averaged network keeps in a step.
    dropout : float
        Share of the crops that are learnt without their conditions, for guidance.
    steps : int
        Steps in all. With more of them a finished training goes on.
    minutes : float, optional
        Time after which it ends even if steps are left (default: none). The next call goes on.
    every : int
        Steps from one look at the result to the next.
    held_out : float, optional
        Share of the columns, or of the slices of a volume, that only the selection sees (default: a
        fifth of a large image, otherwise none).
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
        Called after every look at a network of images; `tim3d.reporting.generator.write_figures` draws
        curves and samples into the folder, as the shell does.

    Returns
    -------
    Path
        The network.

    Raises
    ------
    ArgumentError
        If an argument is out of range.
    InputError
        If an image, the table or the field cannot be used.
    MissingFieldError
        If the field is missing.
    MixedRunError
        If the folder holds another training.
    MemoryPlanError
        If the training does not fit into memory.
    LockedError
        If another process trains into the folder.

    References
    ----------
    Lipman et al., ICLR 2023 (flow matching), DOI 10.48550/arXiv.2210.02747. Ho et al., NeurIPS 2020
    (DDPM), DOI 10.48550/arXiv.2006.11239
    """
    from tim3d.models.common.training_run import Schedule  # torch takes seconds to load
    from tim3d.stages.generation.diffusion_training import DiffusionJob
    from tim3d.stages.generation.training_folder import TrainingFolder

    options = DiffusionOptions(crop, batch, learning_rate, average, dropout, seed, mixed_precision)
    schedule = Schedule(steps, every, math.inf if minutes is None else 60 * minutes)
    place = TrainingFolder(Path(out), schedule, device, threads, progress)
    beside = 0 if coarse_window is None else 1
    LocalNetworkSpec(3 if field else 2, 1, tuple(widths), blocks, unshuffle, 0, objective, beside)
    paths = [str(p) for p in ([micrograph] if isinstance(micrograph, str | Path) else micrograph)]
    awaited = next((p for p in paths if will_exist(p) and not Path(p).exists()), None)
    if field and beside and expected("field", f"{paths[0]}/{field}") is not None:
        awaited = f"{paths[0]}/{field}"
    if awaited:
        return Task(partial(cannot_plan, "train_diffusion", awaited), lambda: place.weights)
    material = _material(paths, field, conditions, phases, pixel_size, scale)
    if coarse_window is not None:
        material = with_local_fractions(material, coarse_window)
    inputs = sum(one.columns for one in material.conditions)
    spec = LocalNetworkSpec(
        material.dimensions, state_channels(material.labels or 1), tuple(widths), blocks, unshuffle, inputs, objective,
        beside,
    )  # fmt: skip
    job = DiffusionJob(material, options, place, held_out, on_look, spec)
    return Task(partial(job.plans, overwrite), partial(job.start, overwrite))


def _material(
    paths: list[str],
    field: str | None,
    conditions: str | Path | None,
    phases: Phases | None,
    pixel_size: PixelSize | None,
    scale: int,
) -> Material:
    """Examples of the kind that is asked for."""
    if field is not None:
        given = {"phases": phases, "pixel-size": pixel_size, "conditions": conditions}
        foreign = [name for name, value in given.items() if value is not None]
        if foreign or len(paths) != 1 or scale != 1:
            word = foreign[0] if foreign else "scale"
            raise ArgumentError(
                f"--field names the labels of one sample, and {len(paths)} path(s) and --{word} are for images: leave "
                "out what does not apply"
            )
        return of_field(paths[0], field)
    check_conditions(paths, conditions)
    if conditions is not None:
        return of_table(paths, conditions, phases, pixel_size, scale)
    return of_micrographs(read_micrographs(paths, phases, pixel_size, scale))
