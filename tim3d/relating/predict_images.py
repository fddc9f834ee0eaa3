"""The verb `predict_images`: a property of a material from images of its sections, by a trained network."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tim3d.engine import Outline
from tim3d.errors import ArgumentError, CheckpointError, InputError
from tim3d.forecast import will_exist
from tim3d.lazy import xarray as xr
from tim3d.relating.section_images import grey_image, groups_of
from tim3d.sources.image import size_of
from tim3d.stages.images.listing import check_table, chosen_images, write_table
from tim3d.stages.shared.awaited import cannot_plan
from tim3d.stages.shared.verb import Task, Verb
from tim3d.typed import Folder, PixelSize

if TYPE_CHECKING:
    from tim3d.models.surrogate.model_file import SurrogateDescription

log = logging.getLogger(__name__)


@Verb
def predict_images(
    folder: Folder,
    *,
    model: str | Path,
    pixel_size: PixelSize | None = None,
    outside: Literal["warn", "refuse"] = "warn",
    splits: str | Path | None = None,
    subset: str | None = None,
    csv: str | Path | None = None,
) -> Task[xr.Dataset]:
    """Predict the conductivity of materials from images of their sections, with intervals.

    The axis of the flux runs down an image. An image may be larger than the sections of the training.
    One that is farther from these than any that was kept out lies outside the range of the training
    set, and its interval guarantees nothing.

    Parameters
    ----------
    folder : path
        Folder of grey images, uint8 or uint16.
    model : path
        File that train-surrogate wrote.
    pixel_size : float or (dy, dx), optional
        Edges of a pixel in nm, of all images (default: as the metadata say).
    outside : {"warn", "refuse"}
        What is done about images outside the range of the training set.
    splits : path, optional
        File of lists of images, JSON or CSV (default: all images).
    subset : str, optional
        The list that is taken, as test or Super2/test (needed with splits).
    csv : path, optional
        File to which the table is written (default: none).

    Returns
    -------
    xarray.Dataset
        Over ``image`` (of several that make one prediction, the first): ``predicted``, with
        ``predicted_low`` and ``predicted_high``, ``distance_from_training`` in units of the largest
        one of images that were kept out, and ``within_training``.

    Raises
    ------
    ArgumentError
        If the file must not be written.
    CheckpointError
        If the file holds no such network.
    InputError
        If an image cannot be read, has other pixels, is smaller than the training sections, or is outside
        while that is refused.

    References
    ----------
    Lei et al., J. Am. Stat. Assoc. 113 (2018) 1094 (intervals). DOI 10.1080/01621459.2017.1307116
    """
    if outside not in ("warn", "refuse"):
        raise ArgumentError(f"outside is {outside!r}; it is warn or refuse")
    size, target = size_of(pixel_size), check_table(csv)
    images = chosen_images(folder, splits, subset)
    if will_exist(str(model)) and not Path(model).is_file():
        return Task(lambda: cannot_plan("predict_images", str(model)), lambda: xr.Dataset())
    if not Path(model).is_file():
        raise CheckpointError(
            f"no network at {model}. Make one: tim3d train-surrogate SAMPLES --model {model}"
        )
    predicting = PredictingImages(folder, images, Path(model), size, outside, target)
    return Task(predicting.plans, predicting.run)


@dataclass(frozen=True)
class PredictingImages:
    """Images, the network, and where the table goes."""

    folder: str | Path
    images: Mapping[str, Path]
    model: Path
    size: tuple[float, float] | None
    outside: str
    target: Path | None

    def plans(self) -> list[Outline]:
        """One line."""
        return [Outline("predict-images", f"predicts from {len(self.images)} images")]

    def run(self) -> xr.Dataset:
        """Look at each group of images, and write the table."""
        # torch takes seconds to load, and a plan does not need it
        import tim3d.models.surrogate.training as surrogate
        from tim3d.models.surrogate.model_file import read_surrogate

        net, about = read_surrogate(self.model)
        groups = groups_of(self.images, about.options.sections, self.folder)
        found = [
            surrogate.predict_one(net, about.scale, self._group(group, about)) for group in groups
        ]
        said, known = np.array([one[0] for one in found]), about.calibration
        farthest = np.array([known.cloud.distances(points).max() for _, points in found])
        distances = np.round(farthest / known.farthest, 4)  # not by the last bits of a sum
        self._judge([group[0] for group in groups], distances)
        made = self._dataset([group[0] for group in groups], said, distances, about)
        write_table(made, self.target)
        return made

    def _group(self, names: list[str], about: SurrogateDescription) -> np.ndarray:
        """Images of one sample (n, y, x), cut to the smallest of them."""
        greys = [grey_image(self.images[n], about.about["pixel_nm"], self.size) for n in names]
        rows, columns = about.about["section"]
        for name, grey in zip(names, greys, strict=True):
            if grey.shape[0] < rows or grey.shape[1] < columns:
                raise InputError(
                    f"{self.images[name]} has {grey.shape[0]}x{grey.shape[1]} pixels, and the network was trained on "
                    f"sections of {rows}x{columns}: a smaller one gives less than the interval states"
                )
        down, right = (min(grey.shape[n] for grey in greys) for n in (0, 1))
        return np.stack([grey[:down, :right] for grey in greys])

    def _judge(self, names: list[str], distances: np.ndarray) -> None:
        far = [n for n, d in zip(names, distances, strict=True) if d > 1]
        if not far:
            return
        text = (
            f"{len(far)} of {len(names)} images are outside the range of the training set (first {far[0]}; up to "
            f"{distances.max():.3g} times the farthest image that was kept out): their intervals guarantee nothing. "
            "Train with --adapt and these images"
        )
        if self.outside == "refuse":
            raise InputError(f"{text}, or let them pass: --outside warn")
        log.warning(text)

    def _dataset(
        self, names: list[str], said: np.ndarray, distances: np.ndarray, about: SurrogateDescription
    ) -> xr.Dataset:
        known, unit = about.calibration, str(about.about["units"])
        what = f"{about.about['property']} along {about.about['axis']}"
        method = f"network on {about.options.sections} section(s); split conformal, {known.count} samples kept out"

        def column(values: Any, units: str, long_name: str) -> tuple[str, Any, dict[str, Any]]:
            return "image", values, {"units": units, "long_name": long_name, "method": method}

        return xr.Dataset(
            {
                "predicted": column(np.exp(said), unit, what),
                "predicted_low": column(
                    np.exp(said - known.half_width), unit, f"{what}, lower end"
                ),
                "predicted_high": column(
                    np.exp(said + known.half_width), unit, f"{what}, upper end"
                ),
                "distance_from_training": column(
                    distances, "1", "distance over the farthest that was kept out"
                ),
                "within_training": column(
                    distances <= 1, "1", "whether the image lies in the range of the training set"
                ),
            },
            {"image": np.array(names, object)},
            {
                "level": known.level,
                "scatter_of_one_section": float(about.about["scatter_of_one_section"]),
            },
        )
