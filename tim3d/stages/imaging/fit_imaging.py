"""The verb `fit_imaging`: how the microscope shows the phases of a stack, from its grey values alone."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tim3d.engine import Outline, Plan, lock_sample
from tim3d.errors import ArgumentError, MixedRunError
from tim3d.forecast import expect, is_forecasting
from tim3d.grid import Box
from tim3d.kernels.image.imaging_fit import Classified, classified, fit
from tim3d.kernels.image.imaging_model import GREYS, Imaging
from tim3d.kernels.image.threshold import multi_otsu
from tim3d.kernels.image.valleys import doubts_of_cuts
from tim3d.stages.imaging.imaging_file import IMAGING, read_imaging, write_imaging
from tim3d.stages.imaging.looked_at import boxes
from tim3d.stages.shared.field import Options
from tim3d.stages.shared.histogram import Histogram, check_thresholds
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import outputs, store
from tim3d.storage.schema import Field
from tim3d.typed import GreyValues, Names

log = logging.getLogger(__name__)


@Verb
def fit_imaging(
    sample: str,
    model: str | Path,
    *,
    phases: Names,
    field: str = "raw",
    thresholds: GreyValues | None = None,
    through: str = "",
    overwrite: bool = False,
    progress: bool = True,
) -> Task[Path]:
    """Fit an imaging model to a grey stack without labels: levels, noise, blur, stripes, drift, shine-through.

    It is written as JSON, to be looked at and edited; `tim3d render` shows labels by it. See
    docs/label-free.md for what is estimated how, and how well.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    model : path
        File of the imaging model, ending with .json.
    phases : sequence of str
        Names of the phases, from the darkest.
    field : str
        The grey field, uint8 or uint16.
    thresholds : sequence of float, optional
        Grey values between the phases (default: by Otsu's method over the histogram of the volume).
    through : str
        Phase through which what is behind it is seen, such as pore (default: none).
    overwrite : bool
        Replace a model that was fitted to something else, or edited.
    progress : bool
        Show a progress bar on standard error.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    MissingFieldError
        If the grey field is missing.
    ArgumentError
        If the field holds labels or floats, there are too few phases or slices, or the thresholds are
        not one fewer than the phases.
    InputError
        If a phase has too few pixels away from others.
    MixedRunError
        If `model` exists and is another one.
    """
    grey = store.complete_field(sample, field)
    if grey.labels or grey.dtype not in GREYS:
        raise ArgumentError(
            f"field {field!r} holds {'labels' if grey.labels else grey.dtype}; an imaging model is fitted to "
            f"grey values of {' or '.join(GREYS)}"
        )
    names = _names(phases, through)
    if thresholds is not None and len(thresholds) != len(names) - 1:
        raise ArgumentError(
            f"{len(names)} phases have {len(names) - 1} thresholds between them, not {len(thresholds)}"
        )
    check_thresholds(thresholds or (), grey)
    target = outputs.check_target(model, IMAGING)
    if target.suffix != ".json":
        raise ArgumentError(f"{target}: an imaging model is a file that ends with .json")
    options = Options(progress=progress)
    given = tuple(float(t) for t in thresholds) if thresholds is not None else ()
    fitting = Fitting(sample, grey, target, names, given, through, overwrite, options)
    return Task(fitting.plans, fitting.run)


def _names(phases: Names, through: str) -> tuple[str, ...]:
    names = tuple([phases] if isinstance(phases, str) else phases)
    if len(names) < 2 or len(set(names)) < len(names):
        raise ArgumentError(
            f"an imaging model has two or more phases of different names, not {', '.join(names) or 'none'}; "
            "name them from the darkest: --phases pore,solid"
        )
    if through and through not in names:
        raise ArgumentError(f"--through {through} is not a phase; there are {', '.join(names)}")
    if through == names[-1]:
        raise ArgumentError(
            f"--through {through} is the brightest phase, and what shines through a phase is brighter than it: "
            f"--through {names[0]}"
        )
    return names


@dataclass(frozen=True)
class Fitting:
    """A fit to some slices of a stack."""

    sample: str
    grey: Field
    target: Path
    names: tuple[str, ...]
    given: tuple[float, ...]
    through: str
    overwrite: bool
    options: Options

    def plans(self) -> list[Plan | Outline]:
        """The pass over the histogram, and the fit."""
        if self._is_there():
            return []
        expect("file", str(self.target), self._usual())
        counting = [] if self.given else self._histogram.plans()
        count = sum(box.shape[0] for box in boxes(self.grey))
        return [
            *counting,
            Outline(
                "fit-imaging", f"looks at {count} slices of {self.sample}, writes {self.target}"
            ),
        ]

    def run(self) -> Path:
        """The file, written unless it holds the model."""
        if not self._is_there():
            thresholds = self.given or self._found()
            runs = [self._classified(box, thresholds) for box in boxes(self.grey)]
            found = fit(runs, self.names, self.grey.spacing_nm, self.grey.dtype, self.through)
            write_imaging(self.target, found, self._asked() | {"by_thresholds": list(thresholds)})
        return self.target

    def _usual(self) -> Imaging:
        """A usual model, by which later steps of a recipe are planned."""
        dz, dy, dx = self.grey.spacing_nm
        levels = {name: 50.0 + n for n, name in enumerate(self.names)}
        seen = {"through": self.through, "shine": 0.85} if self.through else {}
        return Imaging(levels, self.grey.dtype, blur_nm=2 * max(dy, dx), decay_nm=4 * dz, **seen)  # type: ignore[arg-type]

    def _asked(self) -> dict[str, Any]:
        return {
            "field": self.grey.name,
            "fingerprint": store.fingerprint_of(self.sample, self.grey.name),
            "phases": list(self.names),
            "thresholds": list(self.given),
            "through": self.through,
        }

    def _is_there(self) -> bool:
        """Whether the file is the model of this question; refuse another without `overwrite`."""
        if self.overwrite or is_forecasting() or not self.target.exists():
            return False
        read_imaging(self.target)
        fitted = _fitted(self.target)
        if {key: fitted.get(key) for key in self._asked()} != self._asked():
            raise MixedRunError(
                f"{self.target} is an imaging model of something else. Write to another file, or replace it: "
                "--overwrite"
            )
        return True

    @property
    def _histogram(self) -> Histogram:
        return Histogram(self.sample, self.grey, "none", self.options)

    def _found(self) -> tuple[float, ...]:
        with lock_sample(self.sample):
            counts, centres = self._histogram.count()
        found = tuple(multi_otsu(counts, centres, len(self.names)))
        for doubt in doubts_of_cuts(counts, centres, found, self.names):
            log.warning("%s", doubt)
        return found

    def _classified(self, box: Box, thresholds: tuple[float, ...]) -> Classified:
        array = store.field_array(self.sample, self.grey.name)
        return classified(store.read_box(array, box), thresholds)


def _fitted(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()).get("fitted", {})
    return found
