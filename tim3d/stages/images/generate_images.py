"""The verb `generate_images`: images of a material from a trained diffusion, under conditions that are asked for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from tim3d.engine import Outline
from tim3d.engine.clusters.memory import available_memory
from tim3d.engine.passes.plan import size_text
from tim3d.engine.passes.run import TORCH_BASE_BYTES
from tim3d.errors import ArgumentError, MemoryPlanError
from tim3d.forecast import NOT_TRAINED, expected, will_exist
from tim3d.kernels.statistics.generator_score import PLANES
from tim3d.lazy import xarray as xr
from tim3d.models.diffusion.drawing import Drawing, drawing_bytes
from tim3d.models.diffusion.network_file import (
    AXES,
    AXIS,
    LocalNetworkDescription,
    describe_network,
)
from tim3d.stages.images.masks import Masks, encoded
from tim3d.stages.shared.awaited import cannot_plan
from tim3d.stages.shared.verb import Task, Verb
from tim3d.typed import ConditionValues, Folder, Window

log = logging.getLogger(__name__)


@Verb
def generate_images(
    weights: str | Path,
    out: Folder,
    *,
    shape: Window = (128, 128),
    count: int = 24,
    conditions: ConditionValues | None = None,
    steps: int = 16,
    sampler: Literal["euler", "heun"] = "euler",
    guidance: float = 1.0,
    seed: int = 0,
    format: Literal["png", "tif"] = "png",
    device: str = "auto",
    overwrite: bool = False,
    progress: bool = True,
) -> Task[xr.Dataset]:
    """Generate labelled images, one file each, from a network that `train_diffusion` trained on images.

    An image depends on the network, the seed, its number and the arguments, not on the images beside
    it: with a larger `count` the folder grows, and an interrupted call goes on. No border is seen:
    every image is cut out of a larger periodic one.

    Parameters
    ----------
    weights : path
        File of the network.
    out : path
        Folder of the images and their record, as of `segment_images`.
    shape : (y, x)
        Pixels of an image.
    count : int
        Number of images.
    conditions : mapping of name to value, optional
        Conditions of the network (default: none is given). A number outside the training is warned
        of.
    steps : int
        Steps from noise to data. Too few show as speckle.
    sampler : {"euler", "heun"}
        Method of a step; Heun's evaluates the network twice. Euler's is DDIM for the objective ddpm.
    guidance : float
        Weight of the conditions: 1 as they were learnt, above 1 exaggerated; then an evaluation is
        done twice.
    seed : int
        Number from which the noise follows, 0 to 2^64 - 1.
    format : {"png", "tif"}
        Format of the images. A TIFF has the pixel size.
    device : str
        Device of the network: auto, cpu, cuda or cuda:1.
    overwrite : bool
        Replace images that were made with other arguments.
    progress : bool
        Show a progress bar on standard error.

    Returns
    -------
    xarray.Dataset
        Area fraction of each phase in each image.

    Raises
    ------
    CheckpointError
        If the file is not a network for diffusion.
    ArgumentError
        If an argument is out of range, a condition is unknown, or the network is of volumes or of
        grey values.
    MixedRunError
        If the folder holds images that were made with other arguments.
    MemoryPlanError
        If an image does not fit into memory.

    References
    ----------
    Ho and Salimans, 2022 (guidance). DOI 10.48550/arXiv.2207.12598
    """
    drawing = Drawing(steps, sampler == "heun", guidance, seed)
    if len(shape) != 2 or min(*shape, count) < 1:
        raise ArgumentError(
            f"{count} images of shape {tuple(shape)}: give one or more, with two edges, as --shape 128,128"
        )
    given: dict[str, float | str] = dict(conditions or {})
    job = Images(
        Path(weights), Path(out), (shape[0], shape[1]), count, given, drawing, format, device, overwrite, progress
    )  # fmt: skip
    described = expected("diffusion", str(weights)) and not Path(out).exists()
    if will_exist(str(weights)) and not described and not Path(weights).exists():
        return Task(partial(cannot_plan, "generate_images", str(weights)), job.run)
    return Task(job.plans, job.run)


@dataclass(frozen=True)
class Images:
    """Checked arguments of `generate_images`."""

    weights: Path
    out: Path
    shape: tuple[int, int]
    count: int
    given: Mapping[str, float | str]
    drawing: Drawing
    format: str
    device: str
    overwrite: bool
    progress: bool

    def plans(self) -> list[Outline]:
        """One line, or nothing if all images are there."""
        about, sha256 = self._network()
        masks = self._masks(about, sha256)
        left = self._left(masks, sha256)
        for text in about.beyond(self.given):
            log.warning("%s: the network never saw it", text)
        if not left:
            return []
        needed = TORCH_BASE_BYTES + drawing_bytes(about.spec, self.shape)
        return [
            Outline(
                "generate-images",
                f"{len(left)} of {self.count} images left, of {self.shape[0]} x {self.shape[1]} pixels in "
                f"{self.drawing.steps} steps, into {self.out}; peak {size_text(needed)}",
            )
        ]

    def run(self) -> xr.Dataset:
        """Draw the missing images."""
        from tim3d.models.common.determinism import cpu_threads
        from tim3d.models.common.device import choose_device, named_device
        from tim3d.models.diffusion.images import drawn
        from tim3d.models.diffusion.network_file import load_network

        about, sha256 = self._network()
        masks = self._masks(about, sha256)
        left = self._left(masks, sha256)
        for text in about.beyond(self.given):
            log.warning("%s: the network never saw it", text)
        if left:
            self._check_memory(about)
            net = load_network(self.weights)[0].to(named_device(choose_device(self.device)))
        if left or self.overwrite:
            masks.begin()
        with cpu_threads(1):
            for number in tqdm(
                left, desc="generate-images", disable=not self.progress, leave=False
            ):
                one = range(number, number + 1)
                (labels,) = drawn(net, about, self.shape, one, self.drawing, self.given)
                self._add(masks, number, labels, about, sha256)
        return masks.shares([_name(number) for number in range(self.count)])

    def _network(self) -> tuple[LocalNetworkDescription, str]:
        """Description and hash of the network; refuse one that makes no labelled images."""
        planned = expected("diffusion", str(self.weights))
        about, sha256 = (planned, NOT_TRAINED) if planned else describe_network(self.weights)
        if about.spec.dimensions != 2:
            raise ArgumentError(
                f"{self.weights} is a network of volumes, and images are of a network that was trained on images"
            )
        if about.phases is None:
            raise ArgumentError(
                f"{self.weights} is a network of grey values, and a folder of images has labels; train one with "
                "--phases"
            )
        about.inputs(self.given)
        self._check_guidance(about)
        return about, sha256

    def _check_guidance(self, about: LocalNetworkDescription) -> None:
        """Refuse a weight of conditions where there are none."""
        weight, known = self.drawing.guidance, [c for c in about.conditions if c.name != AXIS]
        if weight == 1 or set(self.given) - {AXIS}:
            return
        cure = (
            f"none is given: --conditions {known[0].example}"
            if known
            else f"{self.weights} was trained without any: leave --guidance out"
        )
        raise ArgumentError(f"guidance {weight:g} is a weight of conditions, and {cure}")

    def _masks(self, about: LocalNetworkDescription, sha256: str) -> Masks:
        """The folder with what is done; refuse one of another question."""
        assert about.phases is not None
        question = {
            "network": sha256, "shape": list(self.shape), "conditions": dict(self.given), **asdict(self.drawing),
            "format": self.format, "values": "codes", "names": "{name}",
        }  # fmt: skip
        names = [_name(number) for number in range(self.count)]
        masks = Masks(self.out, question, about.phases, wanted=names)
        masks.load(overwrite=self.overwrite)
        return masks

    def _left(self, masks: Masks, sha256: str) -> list[int]:
        return [n for n in range(self.count) if not masks.is_done(_name(n), sha256)]

    def _check_memory(self, about: LocalNetworkDescription) -> None:
        needed, free = drawing_bytes(about.spec, self.shape), available_memory()
        if self.device == "cpu" and needed > free:
            raise MemoryPlanError(
                f"an image of {self.shape[0]} x {self.shape[1]} pixels needs {size_text(needed)}, and "
                f"{size_text(free)} are free: give a smaller --shape"
            )

    def _add(
        self,
        masks: Masks,
        number: int,
        labels: np.ndarray,
        about: LocalNetworkDescription,
        sha256: str,
    ) -> None:
        """Write an image with the codes of its phases."""
        assert about.phases is not None
        plane = PLANES[AXES.index(str(self.given.get(AXIS, AXES[0])))]
        rows, columns = (about.spacing_nm[axis] for axis in plane)
        codes = np.array(about.phases.codes, np.uint8)[labels]
        suffix = f".{self.format}"
        data = encoded(codes, suffix, palette=False, pixel_nm=(rows, columns))
        record = {
            "source": self.weights.name, "source_sha256": sha256, "pixel_nm": [rows, columns],
            "pixels": {n: int((codes == code).sum()) for n, code in about.phases.items()},
        }  # fmt: skip
        masks.add(_name(number), _name(number) + suffix, data, record)


def _name(number: int) -> str:
    return f"image_{number:05d}"
