"""Everything of the package that runs on a device, by name: what is prepared on the host, and what then runs.

Each path is a function of a folder that prepares its files and returns what to run on the device.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from tests import diffusers
from tests.dry_cuda import FREE
from tests.generators import TINY, field_of, saved
from tests.micrographs import blobs
from tests.nets import tiny_checkpoint_3d
from tests.stencils import KERNELS, SHIFTS, Volume, conduction, w_cycle
from tim3d.grid import Box
from tim3d.kernels.generation.architecture import Architecture
from tim3d.kernels.statistics.generator_score import target_of
from tim3d.kernels.windows.lattice import Lattice, blend_lattice, crop_lattice, slice_lattice
from tim3d.models.common.training_run import Schedule, carry_out
from tim3d.models.conduction import stencil
from tim3d.models.conduction.device import Device
from tim3d.models.generation.adversarial import AdversarialOptions
from tim3d.models.generation.checkpoint_selection import Judge, judged_edge
from tim3d.models.generation.slice_sampler import Views, one_hot
from tim3d.models.generation.training import SliceGANTraining
from tim3d.models.segmentation import checkpoint
from tim3d.models.segmentation.by_network import network_segmenter
from tim3d.models.segmentation.checkpoint import Normalisation
from tim3d.models.segmentation.dropout import Pass
from tim3d.models.segmentation.inference import Predictor, ready, segment_core
from tim3d.models.segmentation.losses import LOSSES
from tim3d.models.segmentation.network_segmenter import Inference, NetworkSegmenter
from tim3d.models.segmentation.precision import check_precision
from tim3d.models.segmentation.training import TrainingOptions, train
from tim3d.models.segmentation.training_cost import measured_times
from tim3d.models.segmentation.unet import UNetSpec, build
from tim3d.phases import Phases
from tim3d.stages.generation.diffusion import Diffusion
from tim3d.stages.generation.diffusion_generator import diffusion_field

Run = Callable[[], Any]
SHAPE = (2, 16, 24)
WHOLE = Box.whole(SHAPE)
LATTICES: dict[str, Callable[[], Lattice]] = {
    "slices": lambda: slice_lattice(SHAPE, 4),
    "crop": lambda: crop_lattice(SHAPE, (1, 16, 16), (0, 4, 4)),
    "blend": lambda: blend_lattice(SHAPE, (1, 16, 16), (0, 8, 8)),
}
TABLE = Normalisation("table", (100.0, 110.0), (30.0,) * 2)
PATHS: dict[str, Callable[[Path], Run]] = {}


def path(name: str) -> Callable[[Callable[[Path], Run]], Callable[[Path], Run]]:
    """Give a path its name."""

    def named(prepare: Callable[[Path], Run]) -> Callable[[Path], Run]:
        PATHS[name] = prepare
        return prepare

    return named


def small_checkpoint(file: Path, classes: tuple[str, ...]) -> Path:
    """An untrained U-Net of few layers, total stride 4."""
    spec = UNetSpec(classes, encoder="resnet18", depth=2, decoder_channels=(8, 4))
    known = Normalisation("volume", (120.0,), (40.0,))
    checkpoint.save(file, build(spec), checkpoint.Description(spec, known, (20.0, 5.0, 5.0)))
    return file


def _inference(
    mode: str, precision: str = "fp32", dtype: Any = np.uint8, device: str = "cuda", **how: Any
) -> Callable[[Path], Run]:
    def prepare(folder: Path) -> Run:
        file = small_checkpoint(folder / "net.safetensors", ("pore", "solid", "binder"))
        called = Predictor(
            str(file), checkpoint.digest(file), device=device, precision=precision, batch=4, **how
        )  # type: ignore[arg-type]
        return lambda: segmented(called, LATTICES[mode](), dtype)

    return prepare


def segmented(predictor: Predictor, lattice: Lattice, dtype: Any = np.uint8) -> None:
    """Labels of the whole volume, of cropped windows with probabilities."""
    box = lattice.read_box(WHOLE)
    volume = np.random.default_rng(0).integers(0, 200, box.shape).astype(dtype)
    wanted: Any = ("labels", "probabilities") if lattice.halo != (0, 0, 0) else ("labels",)
    found = segment_core(predictor, lattice, WHOLE, volume, box, wanted)
    assert found["labels"].shape == SHAPE
    assert found["labels"].dtype == np.uint8


for _mode in LATTICES:
    for _precision in ("fp32", "fp16", "bf16"):
        PATHS[f"inference, {_mode}, {_precision}"] = _inference(_mode, _precision)
PATHS["inference, 16-bit grey values, a table of slices"] = _inference(
    "crop", "fp16", np.uint16, normalisation=TABLE
)
PATHS["inference, second device"] = _inference("slices", "fp16", device="cuda:1")


@path("inference, a batch by free memory")
def _by_free_memory(folder: Path) -> Run:
    file = small_checkpoint(folder / "net.safetensors", ("pore", "solid"))
    spec, digest = checkpoint.describe(file).spec, checkpoint.digest(file)
    grey = np.zeros(SHAPE, np.uint8)

    def run() -> None:
        for planes, device in (("z",), "cuda"), (("z", "y"), "cuda:1"):
            called = Predictor(str(file), digest, device=device)
            made: Any = network_segmenter(SHAPE, spec, called, Inference(planes=planes))
            assert made.room.free == FREE
            assert made.predictor.batch == 2
            assert made.description()["batch"] == "by free memory"
            assert made.region(SHAPE, WHOLE, grey, WHOLE)["labels"].shape == SHAPE

    return run


@path("inference, dropout")
def _dropout(folder: Path) -> Run:
    spec = UNetSpec(
        ("pore", "solid"), encoder="resnet18", depth=2, decoder_channels=(8, 4), dropout=0.5
    )
    known, file = Normalisation("volume", (120.0,), (40.0,)), folder / "net.safetensors"
    checkpoint.save(file, build(spec), checkpoint.Description(spec, known, (20.0, 5.0, 5.0)))
    called = Predictor(
        str(file), checkpoint.digest(file), device="cuda", batch=4, dropping=Pass(0, 1)
    )
    return lambda: segmented(called, LATTICES["crop"]())


@path("inference, volumes")
def _volumes(folder: Path) -> Run:
    file = tiny_checkpoint_3d(folder / "net.safetensors")
    called = Predictor(str(file), checkpoint.digest(file), device="cuda", precision="fp16", batch=2)
    return lambda: segmented(called, crop_lattice(SHAPE, (2, 16, 16), (0, 4, 4)))


@path("inference, halving")
def _halving(folder: Path) -> Run:
    file = small_checkpoint(folder / "net.safetensors", ("pore", "solid"))
    called = Predictor(
        str(file), checkpoint.digest(file), device="cuda", batch=4, normalisation=TABLE
    )

    def refuse(module: Any, inputs: Any) -> None:
        if len(inputs[0]) > 1:
            raise torch.OutOfMemoryError("pretended")

    def run() -> None:
        ready(called).model.register_forward_pre_hook(refuse)
        segmented(called, LATTICES["crop"]())

    return run


OPTIONS = TrainingOptions(
    epochs=1, steps=2, batch=2, crop=16, device="cuda", class_weights=(1.0, 2.0)
)
SMALL = UNetSpec(("pore", "solid"), encoder="resnet18", depth=2, decoder_channels=(8, 4))


def carried_out(training: Any, folder: Path, steps: int = 2) -> Run:
    """A training on a device, kept and judged every second step."""
    return lambda: carry_out(
        training,
        folder / "made.safetensors",
        Schedule(steps, 2),
        state=folder / "made.state",
        device="cuda",
    )


def _labelled() -> tuple[np.ndarray, np.ndarray]:
    labels = np.stack([blobs(32, seed=n) for n in range(4)]).astype(np.uint8)
    return (60 + 90 * labels).astype(np.uint8), labels


def _training(**how: Any) -> Callable[[Path], Run]:
    def prepare(folder: Path) -> Run:
        grey, labels = _labelled()
        options = dataclasses.replace(OPTIONS, **how)
        return lambda: train(
            grey, labels, SMALL, folder / "net.safetensors", options, spacing_nm=(10.0, 5.0, 5.0)
        )

    return prepare


PATHS["training, fp16"] = _training()
PATHS["training, fp32"] = _training(mixed_precision=False, class_weights=())
for _name in LOSSES:
    PATHS[f"training, {_name}"] = _training(loss=(_name,), encoder_rate=0.1, class_weights=())


@path("training, volumes")
def _training_3d(folder: Path) -> Run:
    from tim3d.models.segmentation.crops_3d import prepare_stack
    from tim3d.models.segmentation.training_3d import UNet3DTraining
    from tim3d.models.segmentation.unet_3d import UNet3DSpec

    grey, labels = (np.repeat(part, 3, axis=0) for part in _labelled())
    known = Normalisation("volume", (100.0,), (40.0,))
    stack = prepare_stack(grey, labels, 2, known)
    spec = UNet3DSpec(("pore", "solid"), ((1, 2, 2), (2, 2, 2)), (2, 4, 6))
    options = dataclasses.replace(OPTIONS, class_weights=())
    training = UNet3DTraining(stack, spec, options, known, (10.0, 5.0, 5.0))
    return lambda: training.carry_out(folder / "net.safetensors")


@path("training, its cost")
def _cost(folder: Path) -> Run:
    return lambda: measured_times(SMALL, OPTIONS, 16)


GENERATORS = {
    "labels": (Architecture("tiny", "transposed", (4, 8, 8, 2), (2, 2, 3), (8, 16)), 1),
    "three planes": (Architecture("tiny", "transposed", (4, 8, 8, 2), (2, 2, 3), (8, 16)), 3),
}


def _adversarial(architecture: Architecture, planes: int) -> Callable[[Path], Run]:
    def prepare(folder: Path) -> Run:
        views = Views(tuple(one_hot(blobs(64, seed=n), (0, 1)) for n in range(planes)))
        judge = Judge(target_of([blobs(64)], 2, judged_edge(architecture)), 0, volumes=1)
        options = AdversarialOptions(batch=2, slices=4, critic_steps=2, penalties=6)
        training = SliceGANTraining(
            architecture, views, options, judge, phases=Phases(pore=0, solid=1)
        )
        return carried_out(training, folder)

    return prepare


for _name, (_architecture, _planes) in GENERATORS.items():
    PATHS[f"generator training, {_name}"] = _adversarial(_architecture, _planes)


def _synthesis(architecture: Architecture, precision: str) -> Callable[[Path], Run]:
    def prepare(folder: Path) -> Run:
        shape = (20, 24, 28)
        field = field_of(saved(folder, architecture), architecture, shape)
        dry = dataclasses.replace(field, device="cuda", precision=precision)  # type: ignore[arg-type]
        return lambda: dry.labels(Box.whole(shape))

    return prepare


for _name, _architecture in TINY.items():
    PATHS[f"synthesis, {_name}"] = _synthesis(_architecture, "float32")
for _precision in ("float16", "bfloat16"):
    PATHS[f"synthesis, two phases, {_precision}"] = _synthesis(TINY["two phases"], _precision)


def _diffusion(name: str) -> Callable[[Path], Run]:
    def prepare(folder: Path) -> Run:
        shape = (8, 12, 10)
        made = Diffusion(diffusers.saved(folder, name), steps=1, tile=16, device="cpu")
        dry = dataclasses.replace(diffusion_field(made, shape), device="cuda")
        return lambda: dry.labels(Box.whole(shape))

    return prepare


for _name in diffusers.SPECS:
    PATHS[f"diffusion, {_name}"] = _diffusion(_name)


@path("diffusion, what is said of it")
def _of_diffusion(folder: Path) -> Run:
    made = Diffusion(diffusers.saved(folder, "volumes"), steps=1, tile=16, device="cpu")
    field = diffusion_field(made, (8, 12, 10))
    on_gpu = dataclasses.replace(field, device="cuda")

    def run() -> None:
        assert on_gpu.description() != field.description()
        assert on_gpu.block_bytes((8, 8, 8)) < field.block_bytes((8, 8, 8))

    return run


def _diffusion_training(objective: Any) -> Callable[[Path], Run]:
    def prepare(folder: Path) -> Run:
        from tests.unit.test_diffusion_training import training

        how = {"mixed_precision": objective == "flow"}
        asked = training(objective, axes=True, options=how)
        return carried_out(asked, folder)

    return prepare


for _name in ("flow", "ddpm"):
    PATHS[f"diffusion training, {_name}"] = _diffusion_training(_name)


@path("diffusion, images")
def _images(folder: Path) -> Run:
    from tim3d.models.diffusion.drawing import Drawing
    from tim3d.models.diffusion.images import drawn
    from tim3d.models.diffusion.network_file import load_network

    net, about, _ = load_network(diffusers.saved(folder, "sections"))

    def run() -> None:
        net.to("cuda")
        (image,) = drawn(net, about, (12, 14), range(1), Drawing(steps=1), {"axis": "y"})
        assert image.shape == (12, 14)

    return run


@path("conditional GAN, training")
def _conditional_training(folder: Path) -> Run:
    from tests.unit.test_conditional_training import training

    return carried_out(training(), folder)


@path("conditional GAN, images")
def _conditional_images(folder: Path) -> Run:
    from tests.nets import untrained_cgan
    from tim3d.models.conditional.images import made
    from tim3d.models.conditional.network_file import load_conditional

    untrained_cgan(folder / "n.safetensors")
    net, about, _ = load_conditional(folder / "n.safetensors")

    def run() -> None:
        net.to("cuda")
        assert made(net, 2, (12, 14), 0, 0, about.inputs({})).shape == (12, 14)

    return run


def _kernel(
    name: str, shape: tuple[int, int, int], shifts: Any = SHIFTS[:3]
) -> Callable[[Path], Run]:
    def prepare(folder: Path) -> Run:
        return lambda: [run_kernel(name, Volume(shape, one, 4)) for one in shifts]

    return prepare


def run_kernel(name: str, volume: Volume) -> None:
    """A kernel on a device, its arguments and its results."""
    device, (count, arguments) = Device("cuda"), volume.call(name)
    mine = [device.from_numpy(a) if isinstance(a, np.ndarray) else a for a in arguments]
    device.run(getattr(stencil, name), range(1, count + 1), 0, *mine)


for _name in KERNELS:
    PATHS[f"flux kernel {_name}"] = _kernel(_name, (9, 7, 8))
    # More voxels than `stencil.SMALL`: relaxed lattice by lattice.
    PATHS[f"flux kernel {_name}, large"] = _kernel(_name, (64, 64, 65), SHIFTS[:1])


@path("flux, a cycle")
def _cycle(folder: Path) -> Run:
    problem, steps = conduction((16, 17, 18), 2), [(1, 1, 1)] * 2
    return lambda: w_cycle(Device("cuda"), *problem, steps)


def _prompted(family: str) -> Callable[[Path], Run]:
    def prepare(folder: Path) -> Run:
        import tim3d
        from tests.promptable import saved_folder
        from tim3d.models.promptable.file_network import network_of
        from tim3d.models.promptable.prompts import Prompt, batches
        from tim3d.models.segmentation.model_file import read_model

        out = tim3d.import_network(saved_folder(family, folder / family), folder / "m.safetensors")
        network = network_of(read_model(out), "cuda")
        image = np.random.default_rng(0).integers(0, 255, (48, 64)).astype(np.float32)
        prompt = Prompt(
            np.array([[10.0, 20.0], [30.0, 40.0]]), np.array([1, 0]), (5.0, 6.0, 40.0, 41.0)
        )

        def run() -> None:
            on_cpu = dataclasses.replace(network, device="cpu")
            assert network.description()["device"] == "cuda"
            assert network.bytes_for(image.shape, 1) <= on_cpu.bytes_for(image.shape, 1)
            session = network.open()
            embedding = session.embed(image)
            (batch,) = batches([prompt], 4)
            answer = session.answer(embedding, image.shape, batch, True)
            assert answer.logits(0, 0).shape == image.shape

        return run

    return prepare


for _name in ("sam", "sam2", "sam_hq"):
    PATHS[f"promptable, {_name}"] = _prompted(_name)


def _decoder(transposed: bool) -> Callable[[Path], Run]:
    def prepare(folder: Path) -> Run:
        import tim3d
        from tests.promptable import decoder_weights, saved_folder
        from tim3d.models.promptable.file_network import network_of
        from tim3d.models.segmentation.model_file import read_model

        torch.save(decoder_weights(transposed), folder / "decoder.pt")
        out = tim3d.import_network(
            saved_folder("sam", folder / "sam"),
            folder / "m.safetensors",
            decoder=folder / "decoder.pt",
        )
        network = network_of(read_model(out), "cuda")
        image = np.random.default_rng(0).integers(0, 255, (48, 64)).astype(np.float32)

        def run() -> None:
            session = network.open()
            assert session.decoded(session.embed(image), image.shape).shape == (3, 48, 64)

        return run

    return prepare


for _transposed in (False, True):
    PATHS[f"decoder of objects, transposed {_transposed}"] = _decoder(_transposed)


def _tuning(adapt: str) -> Callable[[Path], Run]:
    def prepare(folder: Path) -> Run:
        import tim3d
        from tests.promptable import saved_folder
        from tim3d.kernels.masks.mask_set import mask_of
        from tim3d.models.promptable.file_network import network_of
        from tim3d.models.promptable.tuning import Tuning
        from tim3d.models.promptable.tuning_data import Example, TuningOptions
        from tim3d.models.segmentation.model_file import read_model

        out = tim3d.import_network(saved_folder("sam", folder / "sam"), folder / "m.safetensors")
        square, known = np.zeros((48, 64), bool), np.ones((48, 64), bool)
        square[10:30, 20:40], known[:, :4] = True, False
        example = Example(np.where(square, 200, 60).astype(np.float32), (mask_of(square),), known)
        options = TuningOptions(adapt=adapt, batch=1)
        training = Tuning(network_of(read_model(out)), [example], [example], options)
        return carried_out(training, folder)

    return prepare


for _name in ("decoder", "lora"):
    PATHS[f"fine-tuning, {_name}"] = _tuning(_name)


@path("fine-tuning, embeddings")
def _embeddings(folder: Path) -> Run:
    import tim3d
    from tim3d.kernels.masks.mask_set import mask_of
    from tim3d.models.promptable.embedding_tuning import EmbeddingTuning
    from tim3d.models.promptable.tuning_data import Example, TuningOptions
    from tim3d.models.segmentation.bpartis import BPartIS
    from tim3d.models.segmentation.branched_erfnet import BranchedErfnet
    from tim3d.models.segmentation.model_file import read_model

    torch.save(BranchedErfnet().state_dict(), folder / "seg-model.pt")
    out = tim3d.import_network(folder / "seg-model.pt", folder / "base.safetensors")
    square, known = np.zeros((24, 32), bool), np.ones((24, 32), bool)
    square[10:20, 8:20], known[:, :4] = True, False
    example = Example(np.where(square, 200, 60).astype(np.float32), (mask_of(square),), known)
    base = BPartIS(
        str(out), read_model(out).sha256, window=(1, 24, 32), halo=(0, 8, 8), device="cuda"
    )
    training = EmbeddingTuning(base, [example], [example], TuningOptions(batch=1))
    return carried_out(training, folder)


def _translator(method: str) -> Callable[[Path], Run]:
    def prepare(folder: Path) -> Run:
        from tests.translators import SMALL, training

        asked = training(dataclasses.replace(SMALL, method=method), (90, 130))
        return carried_out(asked, folder, 4)

    return prepare


for _name in ("fastcut", "cut", "cyclegan"):
    PATHS[f"translation, {_name}"] = _translator(_name)


@path("bpartis")
def _bpartis(folder: Path) -> Run:
    import tim3d
    from tim3d.models.segmentation.bpartis import BPartIS
    from tim3d.models.segmentation.branched_erfnet import BranchedErfnet
    from tim3d.models.segmentation.model_file import read_model

    torch.save(BranchedErfnet().state_dict(), folder / "seg-model.pt")
    out = tim3d.import_network(folder / "seg-model.pt", folder / "made.safetensors")
    how = BPartIS(
        str(out),
        read_model(out).sha256,
        window=(1, 24, 32),
        halo=(0, 8, 8),
        passes=2,
        device="cuda",
    )
    grey = np.zeros((1, 24, 32), np.uint8)
    return lambda: how.open()(grey, Box.whole(grey.shape))


def _surrogate(*adapt: str) -> Callable[[Path], Run]:
    def prepare(folder: Path) -> Run:
        from tim3d.models.surrogate.examples import Examples, SurrogateOptions
        from tim3d.models.surrogate.training import SurrogateTraining

        random = np.random.default_rng(0)
        seen = Examples(
            random.integers(0, 255, (60, 2, 16, 16), np.uint8), random.uniform(0.2, 0.8, 60)
        )
        options = SurrogateOptions(adapt=adapt, channels=(8, 8, 8), batch=8)
        real = random.integers(0, 255, (30, 20, 20), np.uint8) if adapt else None
        training = SurrogateTraining(seen, options, real, {"pixel_nm": [1.0, 1.0]}, level=0.8)
        return carried_out(training, folder)

    return prepare


PATHS["surrogate"] = _surrogate()
for _name in ("coral", "dann", "adabn"):
    PATHS[f"surrogate, {_name}"] = _surrogate("standardise", _name)


def _imprecise() -> None:
    """The check of half precision, for which no difference is small enough."""
    device = torch.device("cuda")
    with patch("tim3d.models.segmentation.precision.BOUND", -1.0):
        check_precision(build(SMALL).eval().to(device), SMALL, device, "fp16")


def _network_on(device: str, folder: Path) -> NetworkSegmenter:
    file = small_checkpoint(folder / "said.safetensors", ("pore", "solid"))
    called = Predictor(str(file), checkpoint.digest(file), device=device)
    return NetworkSegmenter(checkpoint.describe(file).spec, called, LATTICES["crop"](), 1000)


@path("what is said and refused")
def _said(folder: Path) -> Run:
    from tim3d.errors import ArgumentError, DeviceError, MemoryPlanError
    from tim3d.models.common.device import named_device
    from tim3d.models.generation.synthesis import check_room

    field = field_of(saved(folder, TINY["resize"]), TINY["resize"], (20, 24, 28))
    on_gpu = dataclasses.replace(field, device="cuda")
    segmenter = _network_on("cuda", folder)
    refused: list[tuple[type[Exception], Run]] = [
        (DeviceError, lambda: named_device("cuda:7")),
        (ArgumentError, lambda: dataclasses.replace(field, precision="float16")),
        (ArgumentError, lambda: Predictor("net", "0" * 64, precision="fp16")),
        (MemoryPlanError, lambda: check_room(on_gpu, 10)),
        (ArgumentError, _imprecise),
    ]

    def run() -> None:
        assert on_gpu.description()["device"] == "cuda"
        assert on_gpu.block_bytes((8, 8, 8)) < field.block_bytes((8, 8, 8))
        on_cpu = _network_on("cpu", folder)
        assert (segmenter.blocks_at_once, on_cpu.blocks_at_once) == (2, 1)
        assert segmenter.description()["device"] == "cuda"
        needs = [one.block_bytes(SHAPE, SHAPE, SHAPE, 1) for one in (segmenter, on_cpu)]
        assert needs[1] - needs[0] == on_cpu.activation_bytes
        for error, call in refused:
            try:
                call()
            except error:
                continue
            raise AssertionError(error)

    return run
