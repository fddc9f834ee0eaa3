"""The verb `train_translator`: a network that makes rendered grey values look like those of a stack."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tim3d.engine import Outline
from tim3d.errors import ArgumentError, InputError, MixedRunError
from tim3d.forecast import expect, expected, is_forecasting
from tim3d.kernels.image.edge_profile import profile, step_width
from tim3d.models.translation.model_file import describe
from tim3d.stages.imaging.adaptations import Stack, check_alike
from tim3d.stages.imaging.field_crops import FieldCrops
from tim3d.stages.imaging.looked_at import boxes
from tim3d.stages.shared.grid_agreement import refuse_unlike
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import outputs, schema, store
from tim3d.storage.schema import Field
from tim3d.typed import Minutes

if TYPE_CHECKING:
    from tim3d.models.translation.training import TranslatorOptions

log = logging.getLogger(__name__)
# Share of crops without an interface from which on features are said to be larger than a crop.
MOSTLY = 0.5
# Width of an interface from 10 to 90 % of its step, in deviations of the error function.
TEN_TO_NINETY = 2.563
# Largest view of a pixel in widths of an interface, and the largest reach that is chosen.
WIDTHS, MOST = 3.0, 6


@Verb
def train_translator(
    sample: str,
    like: str | Path,
    model: str | Path,
    *,
    field: str = "raw",
    labels: str = "phase",
    like_field: str = "raw",
    method: str = "cut",
    reach: int | None = None,
    channels: int = 16,
    crop: int = 64,
    batch: int = 4,
    learning_rate: float = 2e-4,
    pool: int = 50,
    steps: int = 4000,
    minutes: Minutes | None = None,
    every: int = 100,
    seed: int = 0,
    device: str = "auto",
    threads: int = 1,
    mixed_precision: bool = True,
    overwrite: bool = False,
    progress: bool = True,
) -> Task[Path]:
    """Train a network that translates rendered grey values into those of a stack without labels.

    Crops of the two are not paired. A pixel depends on those within `reach` alone and no statistics of
    a window enter, so that a translation does not show its tiles. Each state is judged on crops whose
    phases are known: one that moves interfaces, swaps phases or invents objects is kept only if there
    is no other, and `translate` refuses it. An interrupted training goes on where it was.

    Parameters
    ----------
    sample : str
        Path or URL of the sample with rendered grey values and their labels.
    like : str
        Sample with the stack that they should resemble; no label of it is read.
    model : path
        File of the translator.
    field, labels, like_field : str
        The rendered grey field, the labels it was rendered from, and the grey field of the stack.
    method : {"cut", "fastcut", "cyclegan"}
        What keeps the structure: places that are found again, or a translation back.
    reach : int, optional
        Pixels around one on which its translation depends (default: as many as see no more than three
        widths of an interface, at most 6).
    channels : int
        Channels of the translator, and of the first layer of the critic.
    crop, batch : int
        Edge of a crop in pixels, and crops of a step.
    learning_rate : float
        Learning rate of all networks.
    pool : int
        Earlier translations that the critic sees.
    steps : int
        Steps in all. With more of them a finished training goes on.
    minutes : float, optional
        Time after which it ends even if steps are left (default: none). The next call goes on.
    every : int
        Steps from one judgement to the next.
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
        Forget an earlier training into the same file.
    progress : bool
        Show a progress bar on standard error.

    Returns
    -------
    Path
        The translator.

    Raises
    ------
    MissingFieldError
        If a field is missing.
    ArgumentError
        If an argument is out of range, the stacks differ in type or pixel size, slices are smaller than
        a crop, or a pixel would see more than three widths of an interface.
    InputError
        If a phase is not in the parts of the rendered stack that are looked at.
    MixedRunError
        If the file holds another training.
    LockedError
        If another process trains into the same file.

    References
    ----------
    CUT and FastCUT: Park et al., ECCV 2020, DOI 10.1007/978-3-030-58545-7_19. CycleGAN: Zhu et al.,
    ICCV 2017, DOI 10.1109/ICCV.2017.244
    """
    # torch takes seconds to load
    from tim3d.models.common.training_run import Schedule
    from tim3d.models.translation.training import TranslatorOptions

    source = Stack(sample, store.complete_field(sample, field, "render"))
    known = store.complete_field(sample, labels, "generate")
    target = Stack(str(like), store.complete_field(str(like), like_field))
    check_alike(source, target)
    if not known.labels or len(known.phases or {}) < 2:
        raise ArgumentError(
            f"field {labels!r} does not hold two phases or more; name the labels that were rendered: --labels"
        )
    refuse_unlike(sample, source.grey, known)
    Schedule(
        steps, every, math.inf if minutes is None else 60 * minutes
    )  # refuses what is not above 0
    options = TranslatorOptions(
        method,
        MOST if reach is None else reach,
        channels,
        crop,
        batch,
        learning_rate,
        pool,
        mixed_precision,
    )
    for one in (source, target):
        if min(one.grey.shape[1:]) < crop:
            rows, columns = one.grey.shape[1:]
            raise ArgumentError(
                f"slices of {one.sample} have {rows} x {columns} pixels, fewer than a crop of {crop}: "
                f"--crop {min(rows, columns) // 4 * 4}"
            )
    path = outputs.check_target(model, outputs.WEIGHTS)
    how = How(steps, minutes, every, device, threads, overwrite, progress)
    training = Translators(source, known, target, options, reach, seed, path, how)
    return Task(training.plans, training.run)


@dataclass(frozen=True)
class How:
    """How long and where it runs."""

    steps: int
    minutes: float | None
    every: int
    device: str
    threads: int
    overwrite: bool
    progress: bool


@dataclass(frozen=True)
class Translators:
    """Checked arguments of `train_translator`."""

    source: Stack
    labels: Field
    target: Stack
    options: TranslatorOptions
    reach: int | None
    seed: int
    path: Path
    how: How

    def plans(self) -> list[Outline]:
        """One line, or nothing if the translator is there."""
        if self._is_done():
            return []
        expect("file", str(self.path), "a translator")
        return [
            Outline(
                "train_translator",
                f"{self.how.steps} steps of {self.options.method} with {self.options.batch} crops of "
                f"{self.options.crop} x {self.options.crop} pixels, into {self.path}",
            )
        ]

    def run(self) -> Path:
        """Train, unless the translator is there."""
        if self._is_done():
            return self.path
        from tim3d.models.translation.training import TranslatorTraining
        from tim3d.stages.shared.training import run_training

        names, width = self._seen()
        asked = {**asdict(self.options), "reach": self._reach(width)}
        known: dict[str, int] = dict(self.labels.phases or {})
        numbers = {known[name]: n for n, name in enumerate(names)}
        training = TranslatorTraining(
            FieldCrops.of(self.source.sample, self.source.grey),
            FieldCrops.of(self.source.sample, self.labels, numbers),
            FieldCrops.of(self.target.sample, self.target.grey),
            names, self._scale(), type(self.options)(**asked),
            {"question": self._question, "interface_px": width, "pixel_nm": list(self.source.grey.spacing_nm[1:])},
            self.seed,
        )  # fmt: skip
        how = self.how
        return run_training(
            training, self.path, steps=how.steps, every=how.every, minutes=how.minutes, device=how.device,
            threads=how.threads, overwrite=how.overwrite, progress=how.progress,
        )  # fmt: skip

    @cached_property
    def _question(self) -> str:
        """Hash of all that decides the translator but the number of steps."""
        made = [
            store.fingerprint_of(self.source.sample, self.source.grey.name),
            store.fingerprint_of(self.source.sample, self.labels.name),
            store.fingerprint_of(self.target.sample, self.target.grey.name),
        ]
        return schema.fingerprint(
            fields=made, options=asdict(self.options), reach=self.reach, seed=self.seed, every=self.how.every,
            threads=self.how.threads,
        )  # fmt: skip

    def _is_done(self) -> bool:
        """Whether the file holds this training to its end; refuse another."""
        if self.how.overwrite or not self.path.exists():
            return False
        if is_forecasting() and expected("file", str(self.path)) is not None:
            return False
        known = describe(self.path).about
        if known.get("about", {}).get("question") != self._question:
            raise MixedRunError(
                f"{self.path} holds another training. Replace it with --overwrite, or write to another file"
            )
        return bool(known["training"]["steps"] >= self.how.steps)

    def _seen(self) -> tuple[tuple[str, ...], float]:
        """Phases from the darkest, and the width of the interface between the two darkest, in pixels."""
        known: dict[str, int] = dict(self.labels.phases or {})
        codes = FieldCrops.of(self.source.sample, self.labels)
        grey = FieldCrops.of(self.source.sample, self.source.grey)
        parts = [(grey.box(box), codes.box(box)) for box in boxes(self.source.grey)]
        levels = {name: _mean(parts, code) for name, code in known.items()}
        names = tuple(sorted(levels, key=levels.__getitem__))
        if absent := [name for name, level in levels.items() if math.isnan(level)]:
            raise InputError(
                f"{self.labels.name!r} has no {' and no '.join(absent)} in the parts that are looked at, and a "
                "translator needs to know how each phase is shown: generate a structure with more of it"
            )
        if (share := one_phase_share([two for _, two in parts], self.options.crop)) > MOSTLY:
            log.warning(
                "%.0f %% of the crops of %d pixels hold one phase only: features are larger than a crop, which then "
                "shows no interface. Take a larger --crop, or a finer structure",
                100 * share, self.options.crop,
            )  # fmt: skip
        table = np.zeros(256, np.uint8)
        table[[known[name] for name in names]] = range(len(names))
        slices = [pair for one, two in parts for pair in zip(one, table[two], strict=True)]
        edges = profile(slices, 0, (1.0, 1.0), bright_side=False)
        return names, TEN_TO_NINETY * step_width(edges, levels[names[0]], levels[names[1]])

    def _reach(self, width: float) -> int:
        """Reach that is given or chosen; refuse one that sees more than three widths of an interface."""
        most = max(1, int((WIDTHS * width - 1) / 2))
        if self.reach is not None and self.reach > most:
            raise ArgumentError(
                f"a reach of {self.reach} sees {2 * self.reach + 1} pixels, more than {WIDTHS:g} times the {width:.1f} "
                f"pixels from 10 to 90 % of an interface; structure could be moved: --reach {most}"
            )
        return min(most, MOST) if self.reach is None else self.reach

    def _scale(self) -> tuple[float, float]:
        """Mean and deviation of the real grey values."""
        values = np.concatenate([one.ravel() for one in self.target.parts()])
        return float(values.mean(dtype=np.float64)), max(float(values.std(dtype=np.float64)), 1.0)


def one_phase_share(parts: Iterable[np.ndarray], crop: int) -> float:
    """Share of crops, side by side in slices (z, y, x), that hold one label only; 0 without any.

    >>> labels = np.zeros((1, 8, 8), np.uint8)
    >>> labels[:, :, 6:] = 1
    >>> one_phase_share([labels], 4)
    0.5
    """
    alone = [
        np.ptp(plane[y : y + crop, x : x + crop]) == 0
        for part in parts
        for plane in part
        for y in range(0, plane.shape[0] - crop + 1, crop)
        for x in range(0, plane.shape[1] - crop + 1, crop)
    ]
    return float(np.mean(alone)) if alone else 0.0


def _mean(parts: list[tuple[np.ndarray, np.ndarray]], code: int) -> float:
    """Mean grey of a phase; NaN of one that is not there."""
    total, count = 0, 0
    for grey, codes in parts:
        inside = grey[codes == code]
        total, count = total + int(inside.sum(dtype=np.int64)), count + len(inside)
    return total / count if count else float("nan")
