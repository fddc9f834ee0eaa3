"""The verb `generate_images`: images of a material from a trained network, under conditions that are asked for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tim3d.engine import Outline, progress_bar
from tim3d.engine.clusters.memory import available_memory
from tim3d.engine.passes.plan import size_text
from tim3d.engine.passes.run import TORCH_BASE_BYTES
from tim3d.errors import ArgumentError
from tim3d.forecast import expected, will_exist
from tim3d.kernels.statistics.generator_score import PLANES
from tim3d.lazy import xarray as xr
from tim3d.models.diffusion.drawing import Drawing
from tim3d.models.diffusion.network_file import AXES, AXIS
from tim3d.stages.images.image_networks import ImageNetwork, image_network
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
    coarse: float = 1.0,
    seed: int = 0,
    format: Literal["png", "tif"] = "png",
    device: str = "auto",
    overwrite: bool = False,
    progress: bool = True,
) -> Task[xr.Dataset]:
    """Generate labelled images, one file each, from a network of `train_diffusion` or `train_cgan`.

    An image depends on the network, the seed, its number and the arguments, not on the images beside
    it: with a larger `count` the folder grows, and an interrupted call goes on. No border is seen: by
    diffusion every image is cut out of a larger periodic one; a conditional GAN computes in windows,
    and a larger image begins with the smaller one.

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
        Steps from noise to data of a diffusion. Too few show as speckle.
    sampler : {"euler", "heun"}
        Method of a step of a diffusion; Heun's evaluates the network twice. Euler's is DDIM for the
        objective ddpm.
    guidance : float
        Weight of the conditions in a diffusion: 1 as they were learnt, above 1 exaggerated; then an
        evaluation is done twice.
    coarse : float
        Factor of the standard deviation of the local fraction, of a diffusion that was trained with
        --coarse-window: 1 as it was measured, 0 the same fraction everywhere.
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
        If the file is not a network for diffusion or a conditional GAN.
    ArgumentError
        If an argument is out of range, a condition is unknown, the network is of volumes or of grey
        values, or steps, sampler or guidance are given for a conditional GAN.
    MixedRunError
        If the folder holds images that were made with other arguments.
    MemoryPlanError
        If an image does not fit into memory.

    References
    ----------
    Ho and Salimans, 2022 (guidance). DOI 10.48550/arXiv.2207.12598
    """
    drawing = Drawing(steps, sampler == "heun", guidance, seed, coarse)
    if len(shape) != 2 or min(*shape, count) < 1:
        raise ArgumentError(
            f"{count} images of shape {tuple(shape)}: give one or more, with two edges, as --count 24 --shape 128,128"
        )
    given: dict[str, float | str] = dict(conditions or {})
    job = Images(
        Path(weights), Path(out), (shape[0], shape[1]), count, given, drawing, format, device, overwrite, progress
    )  # fmt: skip
    trained = expected("diffusion", str(weights)) or expected("cgan", str(weights))
    described = trained and not Path(out).exists()
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
        net, _, _, left = self._left()
        if not left:
            return []
        needed = TORCH_BASE_BYTES + net.bytes(self.shape)
        return [
            Outline(
                "generate-images",
                f"{len(left)} of {self.count} images left, of {self.shape[0]} x {self.shape[1]} pixels "
                f"{net.said(self.drawing)}, into {self.out}; peak {size_text(needed)}",
                refusal=self._refusal(net),
            )
        ]

    def run(self) -> xr.Dataset:
        """Draw the missing images."""
        from tim3d.models.common.determinism import cpu_threads

        net, sha256, masks, left = self._left()
        if left:
            Outline("generate-images", "", refusal=self._refusal(net)).check()
            draw = net.draw(self.weights, self.device, self.shape, self.given, self.drawing)
        if left or self.overwrite:
            masks.begin()
        with cpu_threads(1):
            for number in progress_bar(left, desc="generate-images", shown=self.progress):
                self._add(masks, number, draw(number), net, sha256)
        return masks.shares([_name(number) for number in range(self.count)])

    def _left(self) -> tuple[ImageNetwork, str, Masks, list[int]]:
        """The network, its SHA-256, the folder with what is done, and the numbers of images that are left.

        Refuse what the network cannot do, and a folder of another question.
        """
        net, sha256 = image_network(self.weights)
        net.check(self.weights, self.given, self.drawing)
        masks = self._masks(net, sha256)
        for text in net.about.beyond(self.given):
            log.warning("%s: the network never saw it", text)
        left = [n for n in range(self.count) if not masks.is_done(_name(n), sha256)]
        return net, sha256, masks, left

    def _masks(self, net: ImageNetwork, sha256: str) -> Masks:
        """The folder with what is done."""
        question = {
            "network": sha256, "shape": list(self.shape), "conditions": dict(self.given), **net.question(self.drawing),
            "format": self.format, "values": "codes", "names": "{name}",
        }  # fmt: skip
        names = [_name(number) for number in range(self.count)]
        masks = Masks(self.out, question, net.phases, wanted=names)
        masks.load(overwrite=self.overwrite)
        return masks

    def _refusal(self, net: ImageNetwork) -> str:
        """Return why an image does not fit into the memory of this machine; empty if it does, and on a GPU."""
        from tim3d.models.common.device import choose_device  # torch takes seconds to load

        needed, free = net.bytes(self.shape), available_memory()
        if self.device in ("auto", "cpu") and needed <= free:
            return ""
        if choose_device(self.device) != "cpu" or needed <= free:
            return ""
        return (
            f"an image of {self.shape[0]} x {self.shape[1]} pixels needs {size_text(needed)}, and "
            f"{size_text(free)} are free: give a smaller --shape"
        )

    def _add(
        self, masks: Masks, number: int, labels: NDArray[np.uint8], net: ImageNetwork, sha256: str
    ) -> None:
        """Write an image with the codes of its phases."""
        plane = PLANES[AXES.index(str(self.given.get(AXIS, AXES[0])))]
        rows, columns = (net.about.spacing_nm[axis] for axis in plane)
        codes = np.array(net.phases.codes, np.uint8)[labels]
        suffix = f".{self.format}"
        data = encoded(codes, suffix, palette=False, pixel_nm=(rows, columns))
        record = {
            "source": self.weights.name, "source_sha256": sha256, "pixel_nm": [rows, columns],
            "pixels": {n: int(np.count_nonzero(codes == code)) for n, code in net.phases.items()},
        }  # fmt: skip
        masks.add(_name(number), _name(number) + suffix, data, record)


def _name(number: int) -> str:
    return f"image_{number:05d}"
