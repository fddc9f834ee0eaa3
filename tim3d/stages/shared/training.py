"""A training of any kind into a file: refuse or resume, lock, train with a bar, and write whatever is better."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tim3d.engine import lock_sample, progress_bar
from tim3d.errors import MixedRunError
from tim3d.models.common.distributed import is_first
from tim3d.models.common.training_run import Record, Schedule, Training, TrainingRun, carry_out
from tim3d.storage import outputs
from tim3d.storage.removal import remove_file


def run_training(
    training: Training,
    model: str | Path,
    *,
    steps: int,
    every: int = 50,
    patience: int | None = None,
    minutes: float | None = None,
    device: str = "auto",
    threads: int = 0,
    overwrite: bool = False,
    progress: bool = True,
    on_look: Callable[[TrainingRun], None] | None = None,
) -> Path:
    """Carry out a training of your own and write its product to `model`; interrupted, it goes on where it was.

    The product of the best judgement is kept, and written whenever there is a better one. The state
    of the training lies beside it in ``MODEL.state``: the same call goes on from there and ends
    with the same bits, on a CPU with the same number of threads; with more `steps` it goes on as
    well. See docs/extend.md.

    Parameters
    ----------
    training : Training
        What is learnt from what: a value with `seed`, `key`, `start` and `save`, see
        `tim3d.models.common.training_run.Training`.
    model : path
        File to write.
    steps, every : int
        Steps in all, and from one judgement to the next.
    patience : int, optional
        End after this many judgements without a better one.
    minutes : float, optional
        End this call after this time even if steps are left.
    device : str
        "auto", "cpu", "cuda" or "cuda:1". Started by torchrun, each process takes a GPU of its own.
    threads : int
        CPU threads; another number gives other bits. 0 leaves torch its own number.
    overwrite : bool
        Forget an earlier training into the same file.
    progress : bool
        Show a bar.
    on_look : callable, optional
        Called after every judgement with the run, whose `history` and `judged` network are new.

    Returns
    -------
    Path
        The product.

    Raises
    ------
    ArgumentError
        If a number is out of range, or the losses are no longer numbers.
    MixedRunError
        If the file holds, or its state belongs to, another training.
    CheckpointError
        If the state is damaged.
    LockedError
        If another process trains into the same file.
    """
    schedule = Schedule(steps, every, math.inf if minutes is None else 60 * minutes, patience)
    target = outputs.check_target(model, outputs.WEIGHTS)
    state = Path(f"{target}.state")
    _refuse_another(target, state, overwrite)

    def look(run: TrainingRun) -> None:
        if run.is_best:
            run.export(target)
        if on_look:
            on_look(run)

    decided = {"every": every, "threads": threads}
    with writing_alone(target, state, overwrite), bar(schedule, progress) as show:
        carry_out(
            training, target, schedule, state=state, device=device, threads=threads, decided=decided, on_step=show,
            on_look=look,
        )  # fmt: skip
    return target


@contextlib.contextmanager
def writing_alone(target: Path, state: Path, overwrite: bool) -> Iterator[None]:
    """Hold the lock of a training's file; with `overwrite` forget the state, while the file itself stays.

    Of several processes the first one does it, and the others wait for it before they read what is
    there.
    """
    with lock_sample(str(target)) if is_first() else contextlib.nullcontext():
        if overwrite and is_first():
            remove_file(state)
        yield


@contextlib.contextmanager
def bar(
    schedule: Schedule, progress: bool, shown: Sequence[str] = ()
) -> Iterator[Callable[[TrainingRun, Record], None]]:
    """Show a bar over the steps of a training; gives what is to be called after each of them.

    Parameters
    ----------
    schedule : Schedule
        Of the training.
    progress : bool
        Whether there is anything to show.
    shown : sequence of str
        Which numbers of the step and of the last judgement are shown; by default the losses.
    """
    with progress_bar(
        total=schedule.steps, desc="train", unit=schedule.unit, shown=progress and is_first()
    ) as shows:

        def show(run: TrainingRun, record: Record) -> None:
            shows.update(run.done - shows.n)
            numbers = {**run.history[-1], **record} if run.history else record
            names = shown or [name for name in record if name != schedule.unit]
            shows.set_postfix({name: f"{numbers[name]:.3g}" for name in names if name in numbers})

        yield show


def _refuse_another(target: Path, state: Path, overwrite: bool) -> None:
    if target.exists() and not state.exists() and not overwrite:
        raise MixedRunError(
            f"{target} is there without the state of a training, {state}. Replace it with --overwrite, or write to "
            "another file"
        )
