"""The verb `likeness`: grey values of simulated stacks against those of a real one, by two-sample tests of crops."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from tim3d.engine import Gathering, Outline, Plan
from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.image import grey_look as look
from tim3d.kernels.image.grey_look import Look
from tim3d.kernels.statistics.two_sample import (
    Area,
    Chance,
    Crops,
    KernelSums,
    by_chance,
    classifier_auc,
    embedded,
    require_sklearn,
    standardised,
)
from tim3d.lazy import xarray as xr
from tim3d.stages.imaging import likeness_dataset as described
from tim3d.stages.imaging.adaptations import SIZE_TOLERANCE, Stack, check_alike
from tim3d.stages.imaging.likeness_dataset import Compared
from tim3d.stages.imaging.regions import DEEP, FEWEST, Layout
from tim3d.stages.shared.field import DEFAULTS, Options
from tim3d.stages.shared.results import (
    ResultMaking,
    is_kept,
    plan_result,
    produce_result,
    result_name,
)
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import store
from tim3d.storage.files import absolute
from tim3d.typed import Names

SMALLEST_CROP, LARGEST_CROP = 4, 512
# Bytes of a pixel of one crop in its filters and sums, of a crop in forests and picture, and of
# scikit-learn and scipy once they are loaded; all measured (tests/integration/test_likeness.py).
PIXEL_BYTES, CROP_BYTES, LIBRARY_BYTES = 160, 40_000, 120 * 2**20


@Verb
def likeness(
    sample: str,
    like: str | Path,
    *,
    fields: Names = ("raw",),
    like_field: str = "raw",
    crop: int = 32,
    regions: int = 16,
    count: int = 16,
    relabellings: int = 500,
    seed: int = 0,
    out: str = "",
    options: Options = DEFAULTS,
) -> Task[xr.Dataset]:
    """Compare rendered, adapted or translated grey values with those of a real stack, by crops of slices.

    Entropy and distributions of grey values; and what these do not see: correlation, power spectrum,
    a classifier that tells the stacks apart, and a kernel distance of local features. Each with what it
    is by chance, when regions of both stacks are dealt out at random. See docs/label-free.md.

    Parameters
    ----------
    sample : str
        Path or URL of the sample whose grey values are judged, in which the result is kept.
    like : str
        Sample with the stack that they should resemble; no label of it is read.
    fields : sequence of str
        Grey fields that are judged, such as the steps of an adaptation one after the other.
    like_field : str
        Grey field of the stack, of the same type and pixel size.
    crop : int
        Edge of a crop in pixels, 4 to 512.
    regions : int
        Most regions of a stack: slices, or strips of crops where that gives more that lie a crop's edge
        apart. 4 or more.
    count : int
        Most crops of a region, of their middle slice, that do not overlap.
    relabellings : int
        How often regions are dealt out at random, 20 or more.
    seed : int
        Number from which crops, forests, relabellings and the picture follow.
    out : str
        Name of the result (default: FIELD_likeness and what is not a default).
    options : Options
        How it runs.

    Returns
    -------
    xarray.Dataset
        `value` of each quantity and field with `chance`, its standard deviation `chance_deviation` and
        `p_value`; entropies with their spread over regions; histograms, correlations and spectra of
        all stacks; places of crops in a t-SNE picture; some crops to look at.

    Raises
    ------
    MissingFieldError
        If a grey field is missing.
    MissingExtraError
        Without scikit-learn.
    ArgumentError
        If a field does not hold grey values of 8 or 16 bits, the stacks differ in type or pixel size, or
        a number is out of range.
    InputError
        If slices are smaller than a crop, there are fewer than four regions, or a stack has one grey
        value only.
    """
    require_sklearn()
    names = tuple([fields] if isinstance(fields, str) else fields)
    _check(names, crop, regions, count, relabellings, seed)
    real = Stack(str(like), store.complete_field(str(like), like_field))
    judged = [Stack(sample, store.complete_field(sample, name, "render")) for name in names]
    for one in judged:
        check_alike(one, real, "likeness")
    comparing = Comparing(tuple(judged), real, crop, regions, count, relabellings, seed)
    comparing.check()
    node = result_name(
        f"{names[0]}_likeness", fields=(names, names[:1]), like=(Path(str(like)).stem, ""),
        like_field=(like_field, "raw"), crop=(crop, 32), regions=(regions, 16), count=(count, 16),
        relabellings=(relabellings, 500), seed=(seed, 0),
    )  # fmt: skip
    making = comparing.making(out or node)
    return Task(
        partial(_plans, comparing, making, options), partial(_run, comparing, making, options)
    )


def _check(
    names: Sequence[str], crop: int, regions: int, count: int, relabellings: int, seed: int
) -> None:
    if not names or len(set(names)) < len(names):
        raise ArgumentError(f"{', '.join(names) or 'no field'}: name each field once, --fields raw")
    for name, value, least, most in (
        ("crop", crop, SMALLEST_CROP, LARGEST_CROP), ("regions", regions, FEWEST, 4096), ("count", count, 1, 4096),
        ("relabellings", relabellings, 20, 10**6), ("seed", seed, 0, 2**32 - 1),
    ):  # fmt: skip
        if not least <= value <= most:
            raise ArgumentError(f"--{name} {value} is not from {least} to {most}")


def _plans(comparing: Comparing, making: ResultMaking, options: Options) -> list[Plan | Outline]:
    left = not is_kept(making, options)
    return [*plan_result(making, options), *([comparing.plan()] if left else [])]


def _run(comparing: Comparing, making: ResultMaking, options: Options) -> xr.Dataset:
    if not is_kept(making, options):
        comparing.plan().check()
    return produce_result(making, options)


@dataclass(frozen=True)
class Seen:
    """A stack that was looked at: sums by region, features by crop, and some crops."""

    look: Look
    features: np.ndarray
    region: np.ndarray
    examples: np.ndarray


@dataclass(frozen=True)
class Comparing:
    """Grey fields, the stack that they should resemble, and how they are looked at."""

    judged: tuple[Stack, ...]
    real: Stack
    crop: int
    regions: int
    count: int
    relabellings: int
    seed: int

    @property
    def stacks(self) -> list[Stack]:
        """All fields, the real one last."""
        return [*self.judged, self.real]

    def layout(self, one: Stack) -> Layout:
        """Crops of a field."""
        return Layout(
            one.grey.shape, one.grey.spacing_nm, self.crop, self.regions, self.count, self.seed
        )

    def check(self) -> None:
        """Refuse slices that are smaller than a crop, and stacks with too few regions."""
        for one in self.stacks:
            y, x = one.grey.shape[1:]
            if min(y, x) < self.crop:
                raise InputError(
                    f"slices of {one.sample} have {y} x {x} pixels, fewer than a crop of {self.crop}: "
                    f"--crop {min(y, x)}"
                )
            if (number := self.layout(one).number) < FEWEST:
                raise InputError(
                    f"{one.sample} has {number} regions that lie a crop's edge apart, and {FEWEST} are needed to find "
                    f"what chance makes: a --crop smaller than {self.crop}"
                )

    @cached_property
    def along_z(self) -> bool:
        """Whether slices of all fields are equally thick, and there are several."""
        thick = self.real.grey.spacing_nm[0]
        return all(
            one.grey.shape[0] > 1 and abs(one.grey.spacing_nm[0] - thick) <= SIZE_TOLERANCE * thick
            for one in self.stacks
        )

    @property
    def lags(self) -> tuple[tuple[int, ...], ...]:
        """Lags along z, y and x in voxels."""
        deep = min(DEEP, *(one.grey.shape[0] for one in self.stacks))
        across = look.lags_within(self.crop)
        along = tuple(lag for lag in look.LAGS if lag < deep) if self.along_z else ()
        return (along, across, across)

    def making(self, node: str) -> ResultMaking:
        """The result; crops are read one by one, in this process."""
        real, sample = self.real, self.judged[0].sample
        used = {real.grey.name: store.fingerprint_of(real.sample, real.grey.name)}
        inputs: dict[str, Any] = {
            one.grey.name: store.fingerprint_of(sample, one.grey.name) for one in self.judged
        }
        parameters = {
            "fields": [one.grey.name for one in self.judged], "like": absolute(real.sample),
            "like_field": real.grey.name, "crop": self.crop, "regions": self.regions, "count": self.count,
            "relabellings": self.relabellings, "seed": self.seed,
        }  # fmt: skip
        inputs |= {"volumes": {absolute(real.sample): used}}
        return ResultMaking("likeness", sample, node, inputs, parameters, (), self.result)

    def plan(self) -> Gathering:
        """Memory of the comparison: one crop at a time, features of all, forests of two fields."""
        crops = sum(self.layout(one).number for one in self.stacks) * self.count
        chunk = max(math.prod(one.grey.chunk) for one in self.stacks)
        pixels = PIXEL_BYTES * self.crop**2 + 8 * chunk
        classes = 8 * 2**16 * 2 * (self.regions + 4) if self.real.grey.dtype == "uint16" else 0
        held = LIBRARY_BYTES + pixels + CROP_BYTES * crops + classes
        text = f"compares {crops} crops or fewer of {len(self.stacks)} fields"
        return Gathering("likeness", text, held, (CROP_BYTES, "crops"))

    def result(self) -> xr.Dataset:
        """All numbers."""
        width = self._class_width()
        seen = [self._seen(one, width) for one in self.stacks]
        values = [self._compared(one, seen[-1], width) for one in seen[:-1]]
        picture = embedded(standardised(np.concatenate([one.features for one in seen])), self.seed)
        return described.dataset(
            self.judged, self.real, [one.look for one in seen], values, self.lags, width
        ).assign(
            described.pictures(
                [len(one.features) for one in seen], picture, [one.examples for one in seen]
            )
        ).assign_attrs(
            crop=self.crop, regions=[len(one.look.crops) for one in seen],
            region_axis=[self.layout(one).axis for one in self.stacks], most_regions=self.regions,
            most_crops=self.count, relabellings=self.relabellings, seed=self.seed, class_width=width,
            fields=[one.grey.name for one in self.judged],
            pixel_nm=list(self.real.grey.spacing_nm[1:]), like=self.real.sample, like_field=self.real.grey.name,
        )  # fmt: skip

    def _class_width(self) -> int:
        """Grey values of a class: from the range of the real stack, so that no judged field decides it."""
        if self.real.grey.dtype == "uint8":
            return 1
        array = store.field_array(self.real.sample, self.real.grey.name)
        ends = [
            (int(grey.min()), int(grey.max()))
            for region in self.layout(self.real).boxes()
            for grey in (store.read_box(array, box)[middle] for box, middle in region)
        ]
        return look.class_width(min(low for low, _ in ends), max(high for _, high in ends))

    def _seen(self, one: Stack, width: int) -> Seen:
        """Look at the crops of a field, one by one."""
        array = store.field_array(one.sample, one.grey.name)
        classes = (int(np.iinfo(one.grey.dtype).max) + 1) // width
        pixel, rows, features, region, examples = one.grey.spacing_nm[1:], [], [], [], []
        for number, boxes in enumerate(self.layout(one).boxes()):
            sums: list[list[np.ndarray]] = []
            for place, (box, middle) in enumerate(boxes):
                grey = store.read_box(array, box)
                if place == len(boxes) // 2:
                    examples.append(grey[middle])
                sums.append(self._sums(grey, middle, pixel, width, classes))
                features.append(look.crop_features(grey[middle], pixel))
                region.append(number)
            rows.append(
                [*(np.sum(each, axis=0) for each in zip(*sums, strict=True)), np.float64(len(sums))]
            )
        own = Look(*map(np.stack, zip(*rows, strict=True)))
        if own.shares.max() == 1:
            raise InputError(
                f"all crops of {one.grey.name!r} of {one.sample} have one grey value: there is nothing to compare"
            )
        chosen = np.linspace(0, len(examples) - 1, described.EXAMPLES).round().astype(int)
        return Seen(
            own, np.array(features), np.array(region), np.stack([examples[n] for n in chosen])
        )  # fmt: skip

    def _sums(
        self, box: np.ndarray, middle: int, pixel: Sequence[float], width: int, classes: int
    ) -> list[np.ndarray]:
        """Sums of one crop in the order of `Look`."""
        grey = box[middle]
        values = grey.astype(np.float64)
        moments = np.array([values.size, values.sum(), (values**2).sum()])
        squares = [
            look.squared_differences(box if axis == 0 else grey[None], lags, axis)
            for axis, lags in enumerate(self.lags)
        ]
        counts = np.bincount((grey // width).ravel(), minlength=classes).astype(np.float64)
        return [counts, moments, *squares, look.radial_power(grey, pixel)]

    def _compared(self, one: Seen, real: Seen, width: int) -> Compared:
        """Every quantity of a field, with what it is by chance."""
        both, first = one.look.beside(real.look).trimmed(), len(one.look.crops)
        pixel = self.real.grey.spacing_nm[1:]
        crops = Crops(
            np.concatenate([one.features, real.features]),
            np.concatenate([one.region, real.region + first]),
            first,
        )
        kernel = KernelSums.of(crops)

        def of(distance: Callable[[Look, Look], float]) -> Callable[[np.ndarray], float]:
            return lambda own: distance(both.of(own), both.of(~own))

        distances = {
            "entropy_difference": of(look.entropy_difference),
            "histogram_distance": of(partial(look.histogram_distance, width=width)),
            **{
                f"correlation_distance_{axis}": of(partial(look.correlation_distance, axis=n))
                for n, axis in enumerate("zyx")
            },
            "spectrum_distance": of(partial(look.spectrum_distance, pixel_nm=pixel)),
            "kernel_distance": kernel.distance,
        }
        second = len(real.look.crops)
        found = {
            name: by_chance(distance, first, second, self.relabellings, self.seed)
            for name, distance in distances.items()
        }
        area = classifier_auc(crops, self.seed)
        return Compared(found | {"classifier_auc": _by_classifier(area)}, area.error)


def _by_classifier(found: Area) -> tuple[float, Chance]:
    """Area of a classifier, and what it is by chance, normally distributed about .5."""
    apart = (found.area - 0.5) / found.chance_deviation
    p_value = 0.5 * math.erfc(apart / math.sqrt(2))
    return found.area, Chance(0.5, found.chance_deviation, p_value)
