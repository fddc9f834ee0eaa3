"""Cost of training a generator, and the warnings that are given before it starts."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tim3d.engine.clusters.memory import available_memory
from tim3d.errors import MemoryPlanError
from tim3d.kernels.generation.architecture import CROP_NODES, Architecture
from tim3d.kernels.statistics import orthogonal_consistency
from tim3d.stages.generation.training_images import Micrographs
from tim3d.storage.schema import AXES

if TYPE_CHECKING:
    from tim3d.models.common.training_run import Schedule
    from tim3d.models.generation.adversarial import AdversarialOptions

log = logging.getLogger(__name__)
FLOAT_BYTES = 4
# For the workspace of convolutions: measured peaks are 0.99 to 1.15 of the rest.
MARGIN = 1.25


def summary(
    architecture: Architecture, images: Micrographs, options: AdversarialOptions, schedule: Schedule
) -> list[str]:
    """Lines that state the network, its images, the length of the training and its memory."""
    rows, columns = images.shape
    z, y, x = images.spacing_nm
    kinds = (
        "1 micrograph for all directions"
        if len(images.values) == 1
        else "3 micrographs, one for each direction"
    )
    return [
        *architecture.described().splitlines(),
        f"{kinds}: {rows} x {columns} pixels, voxels of {z:g} x {y:g} x {x:g} nm; {images.described()}",
        f"correlation to {images.correlation} pixels; the network reaches {architecture.correlation}",
        f"{schedule.steps} steps of the generator and {schedule.steps * options.critic_steps} of "
        f"{len(images.values)} critic(s), a look every {schedule.every}",
        f"memory {memory_bytes(architecture, len(images.values), options) / 2**30:.2f} GiB",
    ]


def warn_of_reach(architecture: Architecture, images: Micrographs) -> None:
    """Warn if features are longer than the reach of the network: it cannot learn them."""
    if images.correlation >= architecture.correlation:
        factor = math.ceil((images.correlation + 1) / architecture.correlation)
        log.warning(
            "the micrograph is correlated over %d pixels, and preset %r makes voxels independent at %d; longer "
            "features will be missing. Use --scale %d or more, or a preset with more layers",
            images.correlation, architecture.name, architecture.correlation, images.sources[0]["scale"] * factor,
        )  # fmt: skip


def warn_of_gaps(images: Micrographs) -> None:
    """Warn if two planes differ along their common axis: no volume can match both."""
    if len(images.values) < 3:
        return
    seen = (
        [orthogonal_consistency.indicators(v[0], len(images.phases)) for v in images.values]
        if images.phases
        else images.values
    )
    profiles = orthogonal_consistency.profiles_of(seen)
    found = orthogonal_consistency.gaps(profiles)
    turned = orthogonal_consistency.turns(profiles) if found else None
    names = [source["file"] for source in images.sources]
    for gap in found:
        log.warning(
            "%s and %s contradict each other along %s: their correlations differ by %.2f on average, by chance it "
            "would be %.2f; a volume has one, so it misses them by %.2f at least. %s",
            *(names[i] for i in gap.images), AXES[gap.axis], gap.difference, gap.chance, gap.difference / 2,
            _cure_of_gaps(names, turned),
        )  # fmt: skip


def _cure_of_gaps(names: Sequence[str], turned: orthogonal_consistency.Turns | None) -> str:
    if turned is None:
        return "Are they of one material, at one scale, and of the planes normal to z, y and x in this order?"
    return f"Turn by a quarter, and all three agree: {', '.join(itertools.compress(names, turned))}"


def memory_bytes(architecture: Architecture, critics: int, options: AdversarialOptions) -> int:
    """Bytes of a training besides its libraries: weights, and buffers of a generator step."""
    weights = 9 * architecture.parameters + 7 * critics * _critic_parameters(architecture)
    volumes = 0
    for edge, channels in zip(architecture.edges(CROP_NODES), architecture.channels, strict=False):
        volumes += 4 * channels * edge**3
    if architecture.kind != "transposed":
        volumes += 2 * architecture.channels[-2] * (architecture.crop + 4) ** 3
    pixels, edge = 3 * architecture.outputs * architecture.crop**2, architecture.crop
    for channels in architecture.critic:
        edge //= 2
        pixels += 3 * channels * edge**2
    kept = weights + options.batch * (volumes + 3 * architecture.crop * pixels)
    return int(MARGIN * FLOAT_BYTES * kept)


def _critic_parameters(architecture: Architecture) -> int:
    widths = (architecture.outputs, *architecture.critic, 1)
    return sum(16 * a * b for a, b in itertools.pairwise(widths))


def check_memory(
    architecture: Architecture, images: Micrographs, options: AdversarialOptions, device: str
) -> None:
    """Raise `MemoryPlanError` if a training on the CPU does not fit."""
    need, free = memory_bytes(architecture, len(images.values), options), available_memory()
    if device == "cpu" and need > free:
        raise MemoryPlanError(
            f"training {architecture.name!r} needs {need / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free; use "
            f"--batch below {options.batch}, or a smaller --preset"
        )
