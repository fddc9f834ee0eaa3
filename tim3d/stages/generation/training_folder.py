"""Folder of a training of a generator: its files, what it is known by, and the run into it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tim3d.models.common.determinism import threads_used
from tim3d.models.common.device import choose_device
from tim3d.models.common.training_run import Schedule, Training, TrainingRun, carry_out
from tim3d.stages.shared.training import bar, writing_alone
from tim3d.storage import outputs

WEIGHTS, STATE, HISTORY = "generator.safetensors", "training.state", "history"
# Files that a training writes into its folder.
FILES = {
    WEIGHTS: outputs.WEIGHTS, STATE: outputs.STATE,
    f"{HISTORY}.json": outputs.HISTORY, f"{HISTORY}.csv": outputs.HISTORY,
    "curves.png": outputs.FIGURE, "samples.png": outputs.FIGURE,
}  # fmt: skip


@dataclass(frozen=True)
class TrainingFolder:
    """Where a generator is trained, how long, and on what.

    Parameters
    ----------
    path : path
        The folder.
    schedule : Schedule
        Steps, looks and the time limit of a call.
    device : str
        "auto", "cpu", "cuda" or "cuda:1".
    threads : int
        CPU threads; 0 leaves torch its own number.
    progress : bool
        Whether a bar is shown.
    """

    path: Path
    schedule: Schedule
    device: str
    threads: int
    progress: bool

    @property
    def weights(self) -> Path:
        """Path of the generator."""
        return self.path / WEIGHTS

    @property
    def decided(self) -> dict[str, Any]:
        """Record of what determines the generator besides data, network and options."""
        device = choose_device(self.device).partition(":")[0]
        return {
            "every": self.schedule.every,
            "device": device,
            "threads": threads_used(self.threads) if device == "cpu" else None,
        }

    def is_end_of(self, trained: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
        """Whether a record of a training has what is `known` of one, and all its steps."""
        same = all(trained.get(k) == v for k, v in json.loads(json.dumps(known)).items())
        return bool(same and trained["steps"] >= self.schedule.steps)

    def run(
        self,
        training: Training,
        shown: Sequence[str],
        on_look: Callable[[TrainingRun], None],
        *,
        overwrite: bool,
    ) -> Path:
        """Train into the folder, alone; start from the beginning with `overwrite`.

        `shown` are the records beside the bar.
        """
        self._prepare()
        with (
            writing_alone(self.weights, self.path / STATE, overwrite),
            bar(self.schedule, self.progress, shown) as show,
        ):
            carry_out(
                training, self.weights, self.schedule, state=self.path / STATE, device=self.device,
                threads=self.threads, on_step=show, on_look=on_look,
            )  # fmt: skip
        return self.weights

    def keep(self, run: TrainingRun) -> None:
        """Write the history so far, and the generator if it is the best."""
        self._write_history(run.history)
        if run.is_best:
            run.export(self.weights)

    def _prepare(self) -> None:
        """Create the folder, if all files of a training can be written into it."""
        for name, kind in FILES.items():
            outputs.check_target(self.path / name, kind, makes_folder=True)
        outputs.make_folder(self.path)

    def _write_history(self, history: Sequence[Mapping[str, float]]) -> None:
        """Write the records of a training as JSON and as CSV."""
        table = io.StringIO()
        rows = csv.DictWriter(table, list(history[0]), lineterminator="\n")
        rows.writeheader()
        rows.writerows(history)
        text = json.dumps(history, indent=1)
        for suffix, content in ((".json", text), (".csv", table.getvalue())):
            outputs.write_file(self.path / f"{HISTORY}{suffix}", content.encode(), outputs.HISTORY)
