"""Looks at a network of images under conditions: what it draws beside the examples of some of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tim3d.stages.generation.diffusion_examples import Material
from tim3d.stages.generation.training_images import Look, Micrographs

# Images of a look, and their edge in crops.
SHOWN, SIZE = 3, 2


def look_of(
    folder: Path,
    history: Sequence[dict[str, float]],
    material: Material,
    draw: Callable[[int, Mapping[str, float | str]], NDArray[np.uint8]],
) -> Look:
    """Images under the conditions of some examples, beside these; `draw` makes one from its number and conditions."""
    chosen = [round(n) for n in np.linspace(0, len(material.values) - 1, SHOWN)]
    images = [draw(number, material.given[of]) for number, of in enumerate(chosen)]
    beside = Micrographs(
        tuple(np.asarray(material.values[of])[None] for of in chosen), material.phases, material.spacing_nm,
        material.sources,
    )  # fmt: skip
    names = [", ".join(f"{k} {v}" for k, v in material.given[of].items()) for of in chosen]
    plain = [f"image {n}" for n in range(SHOWN)]
    titles = tuple(a or b for a, b in zip(names, plain, strict=True))
    return Look(folder, list(history), tuple(images), beside, titles)
