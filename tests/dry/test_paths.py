"""Every path on a device runs without one: places, types, pins and waits are those of a real one."""

from __future__ import annotations

import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
if torch.version.cuda is None:
    pytest.skip(
        "this torch is a build for the CPU; type: make -B EXTRAS=gpu,test setup",
        allow_module_level=True,
    )

from tests import dry_cuda as harness  # noqa: E402
from tests.dry.device_lines import device_statements, listed, traced  # noqa: E402
from tests.dry.paths import PATHS  # noqa: E402
from tests.dry_cuda import UnfinishedCopyError, dry_cuda  # noqa: E402
from tim3d.models.segmentation import inference  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(3000)]

Waits = Counter[tuple[str, str]]

# Where the host may wait for the device, and why: nowhere else, and never between two batches of an
# inference. A value of a U-Net's step is what its scaler of float16 asks for.
LOADING = (
    "upload models.segmentation.inference:_load",
    "upload models.segmentation.precision:check_precision",
    "value models.segmentation.precision:check_precision",
    "upload models.segmentation.training:UNetLearner.__init__",
    "upload models.generation.subpixel:Doubling.to",
    "upload models.generation.synthesis:Home._moved",
    "upload models.generation.adversarial:Adversaries.__init__",
    "upload models.promptable.file_network:FileNetwork.open",
    "upload models.segmentation.bpartis:BPartIS.open",
    "upload models.surrogate.training:SurrogateLearner.__init__",
    "upload models.translation.training:TranslatorLearner.__init__",
    "upload models.promptable.low_rank:attach",
    "upload models.promptable.embedding_tuning:EmbeddingTuner.__init__",
    "upload models.diffusion.reverse_field:Home.__init__",
    "upload models.diffusion.training:DiffusionLearner.__init__",
    "upload models.conditional.training:ConditionalLearner.__init__",
)
STEP = (
    "value models.segmentation.training:UNetLearner._descend",
    "value models.segmentation.training:UNetLearner.step",
    "upload models.generation.adversarial:Adversaries._noise",
    "upload models.generation.adversarial:Adversaries._critic_step",
    "value models.generation.adversarial:Adversaries.step",
    "upload models.surrogate.training:SurrogateLearner.step",
    "value models.surrogate.training:SurrogateLearner.step",
    "value models.surrogate.network:coral",
    "value models.translation.training:TranslatorLearner.step",
    "value models.promptable.tuning:Tuner.step",
    "value models.promptable.embedding_tuning:EmbeddingTuner.step",
    "value models.diffusion.training:DiffusionLearner.step",
    "value models.conditional.training:ConditionalLearner.step",
)
JUDGEMENT = (
    "value models.segmentation.training:UNetLearner.judge",
    "download models.segmentation.training:UNetLearner.judge",
    "value models.common.training_run:TrainingRun._save",
    "download models.common.training_state:packed",
    "download models.common.weights:write_weights",
    "all models.segmentation.training_cost:_second",
    "upload models.generation.checkpoint_selection:calibrated",
    "value models.generation.slicegan:Generator.forward",
    "upload models.generation.checkpoint_selection:voxels_of",
    "download models.generation.checkpoint_selection:voxels_of",
    "download models.generation.export:fold",
    "upload models.surrogate.training:predict",
    "download models.surrogate.training:predict",
    "upload models.surrogate.training:SurrogateLearner.adapt_statistics",
    "value models.surrogate.network:Surrogate.features",
    "download models.translation.training:TranslatorLearner.judge",
    "value models.promptable.tuning:Tuner.judge",
    "value models.diffusion.training:DiffusionLearner.judge",
    "download models.conditional.training:ConditionalLearner.judge",
    "download models.promptable.tuning:Tuning.save",
    "value models.promptable.embedding_tuning:EmbeddingTuner.judge",
    "download models.promptable.embedding_tuning:EmbeddingTuner.judge",
    "download models.promptable.embedding_tuning:EmbeddingTuning.save",
    "download models.promptable.low_rank:merged",
)
ANSWER = (
    "upload models.generation.synthesis:Home.tile",
    "download models.generation.synthesis:Home.tile",
    "upload models.generation.official_resize:Stretch._interpolated",
    "upload models.segmentation.bpartis:Opened._draws",
    "upload models.segmentation.bpartis:Opened.raw",
    "download models.segmentation.bpartis:Opened.raw",
    "download models.promptable.networks:Loaded.embed",
    "download models.promptable.networks:Loaded.answer",
    "download models.promptable.networks:Loaded.decoded",
    "download models.promptable.networks:Loaded.answer.<locals>.enlarged",
    "download models.diffusion.network_file:save_network",
    "upload models.diffusion.reverse_field:Home.velocity",
    "download models.diffusion.reverse_field:Home.velocity",
    "upload models.diffusion.images:drawn",
    "download models.diffusion.images:drawn",
    "download models.conditional.network_file:save_conditional",
    "upload models.conditional.images:made",
    "download models.conditional.images:made",
    "upload models.conduction.device:Device.from_numpy",
    "download models.conduction.device:Device.to_numpy",
)
MAY_WAIT = {*LOADING, *STEP, *JUDGEMENT, *ANSWER}


# Several processes, each with a device: what they do is tested on CPUs (tests/unit/test_ring.py).
TOGETHER = {
    ("common/distributed.py", "shared"),
    ("common/distributed.py", "agreed"),
    ("conduction/ring.py", "__init__"),
}


def unexpected(waits: Waits) -> list[str]:
    """Waits of the package that nobody has accounted for."""
    return sorted({f"{why} {where}" for why, where in waits if where} - MAY_WAIT)


@cache
def outcome(name: str) -> tuple[Waits, frozenset[tuple[str, int]]]:
    """Where the host waited on a path, and the lines that ran."""
    seen: set[tuple[str, int]] = set()
    with tempfile.TemporaryDirectory() as folder, traced(seen):
        run = PATHS[name](Path(folder))
        with dry_cuda(2) as dry:
            run()
    return dry.waits, frozenset(seen)


@pytest.mark.parametrize("name", PATHS)
def test_a_path_runs_on_a_device_and_waits_only_where_it_may(name: str) -> None:
    assert unexpected(outcome(name)[0]) == []


def test_nearly_every_statement_that_depends_on_the_device_has_run() -> None:
    seen = {line for name in PATHS for line in outcome(name)[1]}
    every = [one for one in device_statements() if (one.file, one.scope) not in TOGETHER]
    missed = [one for one in every if not one.ran(seen)]
    print(f"{len(every) - len(missed)} of {len(every)} statements ran; not these:", listed(missed))
    assert len(missed) <= 0.05 * len(every), listed(missed)


# The net catches what it is there for


def classified(folder: Path) -> Waits:
    """Waits of a segmentation by a network whose faults the tests plant."""
    inference.loaded_networks.clear()
    run = PATHS["inference, slices, fp32"](folder)
    with dry_cuda() as dry:
        run()
    return dry.waits


def test_a_tensor_left_on_the_host_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(inference, "upload", lambda array, device: torch.from_numpy(array))
    with pytest.raises(RuntimeError, match="device"):
        classified(tmp_path)


def test_a_value_read_in_the_middle_is_seen(tmp_path: Path, monkeypatch: Any) -> None:
    plain = inference.reduced_logits

    def reads(logits: Any, reduction: Any) -> Any:
        if logits.max() > 1e6:
            raise ArithmeticError
        return plain(logits, reduction)

    monkeypatch.setattr(inference, "reduced_logits", reads)
    seen = unexpected(classified(tmp_path))
    assert seen == ["value models.segmentation.inference:_call.<locals>.forward"]


def test_a_type_that_a_kernel_does_not_take_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    plain = inference.load

    def halved(path: str) -> Any:
        checkpoint = plain(path)
        checkpoint.model.half()
        return checkpoint

    monkeypatch.setattr(inference, "load", halved)
    with pytest.raises(RuntimeError, match=r"type|dtype"):
        classified(tmp_path)


def test_a_copy_from_memory_that_is_not_pinned_is_seen(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    assert "unpinned models.common.transfer:upload" in unexpected(classified(tmp_path))


def test_a_result_read_before_its_copy_is_done_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(harness.DryEvent, "synchronize", lambda event: None)
    with pytest.raises(UnfinishedCopyError):
        classified(tmp_path)
