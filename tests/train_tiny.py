"""A process that trains a tiny generator: FILE, and the step in which it kills itself (0: none), or "dump"."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace

import torch

from tests.unit import test_adversarial as tiny
from tim3d.kernels.statistics.generator_score import target_of
from tim3d.models.common.distributed import processes
from tim3d.models.generation.adversarial import Adversaries
from tim3d.models.generation.adversarial_run import Course, Schedule
from tim3d.models.generation.checkpoint_selection import Judge, judged_edge


def main() -> None:
    path, what = sys.argv[1:]
    torch.set_num_threads(1)
    with processes("cpu") as (rank, size, device):
        options = replace(tiny.OPTIONS, critic_steps=1) if what == "dump" else tiny.OPTIONS
        adversaries = Adversaries(tiny.TINY, tiny.views(), options, device, rank, size)
        judge = Judge(target_of([tiny.blobs(64)], 2, judged_edge(tiny.TINY)), 0)
        course = Course(adversaries, judge, path)
        for record in course.run(Schedule(1 if what == "dump" else 6, 3, keep_seconds=0.0)):
            if what == str(int(record["step"])):
                os.kill(os.getpid(), signal.SIGKILL)
        if what == "dump":
            tensors = {f"grad.{name}": p.grad for name, p in adversaries.critics.named_parameters()}
            torch.save(tensors | dict(adversaries.generator.named_parameters()), f"{path}.{rank}")


if __name__ == "__main__":
    main()
