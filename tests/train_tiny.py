"""A process that trains a tiny generator: FILE, and the step in which it kills itself (0: none), or "dump"."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace

import torch

from tests.unit import test_adversarial as tiny
from tim3d.models.common.distributed import processes
from tim3d.models.common.training_run import Schedule, TrainingRun


def main() -> None:
    path, what = sys.argv[1:]
    torch.set_num_threads(1)
    with processes("cpu") as place:
        options = replace(tiny.OPTIONS, critic_steps=1) if what == "dump" else tiny.OPTIONS
        run = TrainingRun(tiny.training(options), path, place)
        for record in run.steps(Schedule(1 if what == "dump" else 6, 3, keep_seconds=0.0)):
            if what == str(int(record["step"])):
                os.kill(os.getpid(), signal.SIGKILL)
        if what == "dump":
            parts = run.learner.parts()
            tensors = {f"grad.{name}": p.grad for name, p in parts["critics"].named_parameters()}
            torch.save(
                tensors | dict(parts["generator"].named_parameters()), f"{path}.{place.rank}"
            )


if __name__ == "__main__":
    main()
