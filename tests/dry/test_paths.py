"""Every path on a device runs without one: places, types, pins and waits are those of a real one."""

from __future__ import annotations

import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

if torch.version.cuda is None:
    pytest.skip(
        "this torch is a build for the CPU; type: make -B EXTRAS=gpu,test setup",
        allow_module_level=True,
    )

from tests import dry_cuda as harness
from tests.dry.device_lines import device_statements, listed, traced
from tests.dry.paths import PATHS
from tests.dry_cuda import UnfinishedCopyError, dry_cuda
from tim3d.models.segmentation import inference

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(3000)]

Waits = Counter[tuple[str, str]]

# Where the host may wait for the device, and why: nowhere else, and not in the inference of a batch.
LOADING = "a network is loaded once"
ANSWER = "the host needs the answer, and nothing is left to compute meanwhile"
STEP = "losses and batches of a step of a training, which have the step to themselves"
MAY_WAIT: dict[tuple[str, str], str] = {}


def unexpected(waits: Waits) -> list[tuple[str, str]]:
    """Waits that nobody has accounted for."""
    return sorted(set(waits) - set(MAY_WAIT))


@cache
def outcome(name: str) -> tuple[Waits, frozenset[tuple[str, int]]]:
    """Where the host waited on a path, and the lines that ran."""
    seen: set[tuple[str, int]] = set()
    with tempfile.TemporaryDirectory() as folder:
        run = PATHS[name](Path(folder))
        with dry_cuda(2) as dry, traced(seen):
            run()
    return dry.waits, frozenset(seen)


@pytest.mark.parametrize("name", PATHS)
def test_a_path_runs_on_a_device_and_waits_only_where_it_may(name: str) -> None:
    assert unexpected(outcome(name)[0]) == []


def test_nearly_every_statement_that_depends_on_the_device_has_run() -> None:
    seen = {line for name in PATHS for line in outcome(name)[1]}
    every = device_statements()
    missed = [one for one in every if not one.ran(seen)]
    print(f"{len(every) - len(missed)} of {len(every)} statements ran; not these:", listed(missed))
    assert len(missed) <= 0.05 * len(every), listed(missed)


# The net catches what it is there for


def classified(folder: Path) -> Waits:
    """Waits of a segmentation by a network whose faults the tests plant."""
    inference._loaded.clear()
    run = PATHS["inference, slices, fp32"](folder)
    with dry_cuda() as dry:
        run()
    return dry.waits


def test_a_tensor_left_on_the_host_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(inference, "_upload", lambda array, device: torch.from_numpy(array))
    with pytest.raises(RuntimeError, match="device"):
        classified(tmp_path)


def test_a_value_read_in_the_middle_is_seen(tmp_path: Path, monkeypatch: Any) -> None:
    plain = inference._reduce

    def reads(logits: torch.Tensor, reduction: Any) -> torch.Tensor:
        if logits.max() > 1e6:
            raise ArithmeticError
        return plain(logits, reduction)

    monkeypatch.setattr(inference, "_reduce", reads)
    assert ("value", "models.segmentation.inference:_call.<locals>.forward") in unexpected(
        classified(tmp_path)
    )


def test_a_type_that_a_kernel_does_not_take_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    plain = inference._load

    def halved(predictor: Any) -> Any:
        loaded = plain(predictor)
        loaded.model.half()
        return loaded

    monkeypatch.setattr(inference, "_load", halved)
    with pytest.raises(RuntimeError, match=r"type|dtype"):
        classified(tmp_path)


def test_a_copy_from_memory_that_is_not_pinned_is_seen(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    assert ("unpinned", "models.segmentation.inference:_upload") in unexpected(classified(tmp_path))


def test_a_result_read_before_its_copy_is_done_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(harness._Event, "synchronize", lambda event: None)
    with pytest.raises(UnfinishedCopyError):
        classified(tmp_path)
