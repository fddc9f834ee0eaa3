"""Time and memory of a promptable network with random weights on a CPU: embedding, prompts, decoder of objects, masks.

    python -m benchmarks.promptable                          # SAM ViT-B, an image of 1024 x 1024
    python -m benchmarks.promptable --tiny --edge 64         # a quick look

Random weights take the time of trained ones, but for the masks that pass: rules are timed on discs
whose truth is known.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tim3d.kernels.masks.containment import removed
from tim3d.kernels.masks.mask_set import Mask, mask_of, suppressed
from tim3d.kernels.masks.painting import painted
from tim3d.kernels.masks.structure_points import centres, edge_regions, grid_points
from tim3d.models.promptable.decoder_layout import Layout
from tim3d.models.promptable.file_network import FileNetwork
from tim3d.models.promptable.networks import Loaded, import_transformers
from tim3d.models.promptable.object_decoder import ObjectDecoder
from tim3d.models.promptable.preprocessing import SAM
from tim3d.models.promptable.prompts import batches, point
from tim3d.models.promptable.tuning import Tuner, Tuning
from tim3d.models.promptable.tuning_data import Example, TuningOptions

VIT_B: dict[str, dict[str, Any]] = {
    "vision_config": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "mlp_dim": 3072},
    "prompt_encoder_config": {},
    "mask_decoder_config": {},
}  # fmt: skip


def network(tiny: bool) -> Loaded:
    """A random network."""
    package = import_transformers()
    sizes = VIT_B
    if tiny:
        from tests.promptable import SAM_SIZES

        sizes = SAM_SIZES
    torch.manual_seed(0)
    made = package.SamModel(package.SamConfig(**sizes)).eval().requires_grad_(False)
    return Loaded(made, "sam", made.config.vision_config.image_size, SAM, "cpu")


def seconds(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Elapsed and CPU seconds of a call, and what it returns; `peak` is that of the call."""
    Path("/proc/self/clear_refs").write_text("5")
    start, cpu = time.perf_counter(), time.process_time()
    found = work()
    return time.perf_counter() - start, time.process_time() - cpu, found


def peak() -> float:
    """Peak memory of this process in GiB since the last call of `seconds` began."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**20


def discs(edge: int, count: int) -> tuple[np.ndarray, list[Mask]]:
    """An image of bright discs, and three masks of each."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices((edge, edge))
    image, masks = np.full((edge, edge), 60, np.uint8), []
    for x, y in rng.integers(0, edge, (count, 2)):
        far = np.hypot(rows - y, columns - x)
        image[far < edge / 40] = 200
        masks += [mask_of(far < edge / 40 * share, 0.99 - 0.05 * share) for share in (1, 0.9, 2)]
    return image, masks


def row(name: str, found: tuple[float, float, Any], per: str = "") -> str:
    """Row of the table."""
    return f"| {name} | {found[0]:.3g} | {found[1]:.3g} | {per} |"


def tuned_step(loaded: Loaded, embedding: Any, image: np.ndarray, batch: int) -> float:
    """Loss of a step of fine-tuning of the decoder by boxes of masks, on a kept embedding."""
    masks = tuple(discs(len(image), batch)[1][::3])
    grey, known = image.astype(np.float32), np.ones(image.shape, bool)
    one = Example(grey, masks, known, embedding)
    given = FileNetwork("random", loaded.family, {}, loaded.preprocessing)
    tuner = Tuner(Tuning(given, [one], [one], TuningOptions(batch=batch)), loaded)
    return tuner.step(1, np.random.default_rng(0))["loss"]


def with_decoder(loaded: Loaded, embedding: Any) -> Loaded:
    """The network with a random decoder of micro-sam, in the widths of the published ones."""
    channels = embedding[0].shape[1]
    decoder = ObjectDecoder(Layout(channels, 2 * channels, transposed=False))
    return replace(loaded, decoder=decoder.eval().requires_grad_(False))


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edge", type=int, default=1024)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    image, masks = discs(given.edge, 60)
    loaded = network(given.tiny)
    before = peak()
    print("| step | seconds | CPU seconds | |\n|---|---|---|---|")
    made = seconds(lambda: loaded.embed(image.astype(np.float32)))
    print(row("an embedding", made, f"peak {peak():.2f} GiB, before {before:.2f}"))
    both = with_decoder(loaded, made[2])
    maps = seconds(lambda: both.decoded(made[2], image.shape))
    print(row("maps of the decoder of objects", maps, f"peak {peak():.2f} GiB"))
    prompts = [point(x, y) for x, y in grid_points(image.shape, 64)[: given.prompts]]
    asked = list(batches(prompts, given.batch))
    answered = seconds(lambda: [loaded.answer(made[2], image.shape, one, True) for one in asked])
    rate = len(prompts) / answered[1]
    print(
        row(
            f"{len(prompts)} points",
            answered,
            f"{rate:.3g} prompts per CPU second, peak {peak():.2f} GiB",
        )
    )
    answers = answered[2][0]
    pairs = [(n, m) for n in range(min(4, len(asked[0]))) for m in range(3)]
    wide = seconds(lambda: [answers.logits(n, m) for n, m in pairs])
    each = wide[1] / len(pairs)
    print(row(f"{len(pairs)} masks enlarged", wide, f"{each:.3g} CPU seconds each"))
    learnt = seconds(lambda: tuned_step(loaded, made[2], image, 8))
    print(row("a step of fine-tuning, 8 boxes", learnt, f"peak {peak():.2f} GiB"))
    print(row("centres of structure", seconds(lambda: centres(edge_regions(image)))))
    kept = seconds(lambda: suppressed(masks, 0.7))
    print(row(f"suppression of {len(masks)} masks", kept, f"{len(kept[2])} left"))
    print(row("removal", seconds(lambda: removed(kept[2], image.shape))))
    print(row("painting", seconds(lambda: painted(kept[2], image.shape))))


if __name__ == "__main__":
    main()
