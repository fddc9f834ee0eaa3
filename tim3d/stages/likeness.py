"""What volumes and micrographs show, put together: values, deviations, intervals, imprint and seams as one Dataset."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from tim3d import schema, store
from tim3d.errors import ArgumentError
from tim3d.grid import Triple
from tim3d.kernels import fidelity as law
from tim3d.kernels.correlation import ranks_of
from tim3d.kernels.integral_range import fraction_interval
from tim3d.schema import AXES, Field
from tim3d.sources.micrograph import Micrograph
from tim3d.stages.coupled import answers
from tim3d.stages.inplane import Slices, added, tortuosities, ways
from tim3d.stages.lines import Lags, Lines, lines_of

TORQUATO = "doi:10.1007/978-1-4757-6355-3"
LANTUEJOUL = "doi:10.1111/j.1365-2818.1991.tb03099.x, doi:10.48550/arXiv.2410.19568"
EFRON = "doi:10.1214/aos/1176344552"


@dataclass(frozen=True)
class Case:
    """What is compared with what: everything that decides the numbers, never how it runs."""

    urls: Sequence[str]
    fields: Sequence[Field]
    images: tuple[Micrograph, ...]
    names: tuple[str, ...]
    lags: Lags
    slices: int
    period: int | None
    seam: Triple
    seed: int

    @property
    def isotropic(self) -> bool:
        """One image stands for all directions."""
        return len(self.images) == 1

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Of the volumes, in nm."""
        return self.fields[0].spacing_nm

    @property
    def sources(self) -> list[str]:
        """Fingerprints of the label fields."""
        pairs = zip(self.urls, self.fields, strict=True)
        return [str(store.node_attributes(url, f.name)["fingerprint"]) for url, f in pairs]

    @property
    def parameters(self) -> dict[str, Any]:
        """As recorded."""
        lags = {axis: list(lags) for axis, lags in zip(AXES, self.lags, strict=True)}
        same = {"slices": self.slices, "period": self.period, "seam": list(self.seam), "seed": self.seed}
        return {"lags": lags, **same}

    def codes(self, number: int) -> tuple[int, ...]:
        """Codes of the phases in a volume, in the order of the micrograph's."""
        phases = self.fields[number].phases
        assert phases is not None
        return tuple(phases[name] for name in self.names)

    def ranks(self, normal: int) -> np.ndarray:
        """The image of the slices across an axis as a volume of one slice, phases by number."""
        image = self.images[normal % len(self.images)]
        codes = tuple(image.phases[name] for name in self.names)
        return np.expand_dims(ranks_of(image.labels, codes), normal)

    def window(self, normal: int) -> tuple[int, int]:
        """Rows and columns that fit into the image and into the slices of every volume."""
        image = self.images[normal % len(self.images)].labels.shape
        rows, columns = (
            min(edge, *(f.shape[axis] for f in self.fields))
            for edge, axis in zip(image, law.PLANES[normal], strict=True)
        )
        return (rows, columns)

    def slices_of(self, number: int) -> list[Slices]:
        """The slices across z, y, x in which ways are sought."""
        shape = self.fields[number].shape
        return [Slices(shape, a, min(self.slices, shape[a]), self.window(a)) for a in range(3)] if self.slices else []

    def check(self, given_period: int | None) -> None:
        """Refuse what cannot be done before anything is read."""
        for name, value in (("slices", self.slices), ("seed", self.seed)):
            if value < 0:
                raise ArgumentError(f"--{name} is {value}; it must be 0 or more")
        if min(self.seam) < 1:
            raise ArgumentError(f"--seam is {self.seam}; it must be 1 voxel or more")
        shortest = min(min(f.shape) for f in self.fields)
        if given_period is not None and not 2 <= given_period <= shortest // 2:
            raise ArgumentError(f"--period is {given_period}; it must be 2 to {shortest // 2}, half the shortest edge")


@dataclass(frozen=True)
class Seen:
    """What one volume shows: lines; tortuosity and share reached in slices across z, y, x; its 3-D results."""

    lines: Lines
    tortuosity: list[np.ndarray]
    reached: list[np.ndarray]
    known: Mapping[str, float]


def known(url: str, labels: Field) -> dict[str, float]:
    """Single numbers among the results of `solve`, `geodesic` and `label` that a sample holds, by name and place.

    Those by plane or component are left out.
    """
    if labels.phases is None:
        return {}
    found = {}
    for results in answers(url, labels, labels.phases, None):
        for name, values in results.data_vars.items():
            if values.dtype.kind in "fiub" and not set(values.dims) & {*AXES, "component"} and values.size <= 64:
                found.update(_flat(str(name), values))
    return found


def _flat(name: str, values: xr.DataArray) -> dict[str, float]:
    labels = [[str(v) for v in values[d].values] if d in values.coords else range(values.sizes[d]) for d in values.dims]
    out = {}
    for place, value in np.ndenumerate(values.values):
        where = ", ".join(f"{label[i]}" for label, i in zip(labels, place, strict=True))
        out[f"{name} ({where})" if where else name] = float(value)
    return out


Arrays = dict[str, np.ndarray]


def _of_volumes(case: Case, seen: Sequence[Seen]) -> Arrays:
    """Values of each volume, as `kernels.fidelity.deviations` takes them."""
    nothing = np.full((3, 2, len(case.names)), np.nan)
    return {
        "phase_fraction": np.array([s.lines.fraction for s in seen]),
        "two_point": np.array([s.lines.two_point for s in seen]),
        "lineal_path": np.array([s.lines.lineal_path for s in seen]),
        "surface": np.array([s.lines.surface for s in seen]),
        "slice_tortuosity": np.array([s.tortuosity or nothing for s in seen]),
        "slice_reached": np.array([s.reached or nothing for s in seen]),
    }


def _of_images(case: Case) -> Arrays:
    """Values of the images of the slices across z, y, x."""
    lines = [lines_of(case.ranks(n), len(case.names), case.lags, case.spacing) for n in range(3)]
    ways_found = [_ways_in_image(case, n) for n in range(3)]
    return {
        "phase_fraction": np.array([one.fraction for one in lines]),
        "phase_fraction_interval": np.array([_intervals(case, n) for n in range(3)]),
        **{
            name: np.array([getattr(one, name)[list(plane)] for one, plane in zip(lines, law.PLANES, strict=True)])
            for name in ("two_point", "lineal_path", "surface")
        },
        "slice_tortuosity": np.array([one[0] for one in ways_found]),
        "slice_reached": np.array([one[1] for one in ways_found]),
    }


def _intervals(case: Case, normal: int) -> list[float]:
    ranks = case.ranks(normal).squeeze(normal)
    return [fraction_interval(ranks == phase) for phase in range(len(case.names))]


def _ways_in_image(case: Case, normal: int) -> tuple[np.ndarray, np.ndarray]:
    """The same windows as are cut out of the slices, side by side in the middle of the image."""
    if not case.slices:
        return (np.full((2, len(case.names)), np.nan),) * 2
    ranks, window = case.ranks(normal), case.window(normal)
    image = ranks.squeeze(normal)
    counts = [n // w for n, w in zip(image.shape, window, strict=True)]
    first = [(n - c * w) // 2 for n, c, w in zip(image.shape, counts, window, strict=True)]
    records = []
    for row, column in np.ndindex(*counts):
        y, x = first[0] + row * window[0], first[1] + column * window[1]
        piece = np.expand_dims(image[y : y + window[0], x : x + window[1]], normal)
        records.append(ways(piece, len(case.names), normal, case.spacing))
    return tortuosities(added(records), normal, case.spacing)


def dataset(case: Case, seen: Sequence[Seen]) -> xr.Dataset:
    """The result: see docs/fidelity.md."""
    volumes, images = _of_volumes(case, seen), _of_images(case)
    variables = _judged(case, volumes, images) | _values(volumes, images)
    variables |= _imprint(case, seen) | _seams(case, seen) | _reported(seen) | _pictures(case)
    return xr.Dataset(variables, _coordinates(case, seen), _about(case))


def _judged(case: Case, volumes: Arrays, images: Arrays) -> dict[str, Any]:
    """Deviations of the mean of all volumes with their intervals, and the spread between volumes."""
    count = len(case.urls)
    means = law.deviations({k: v.mean(axis=0) for k, v in volumes.items()}, images, isotropic=case.isotropic)
    drawn = {k: law.resampled(v, case.seed) for k, v in volumes.items()}
    intervals = {k: law.interval(v, count) for k, v in law.deviations(drawn, images, isotropic=case.isotropic).items()}
    single = law.deviations(volumes, images, isotropic=case.isotropic)
    spread = {k: v.std(axis=0, ddof=1) if count > 1 else np.full(v.shape[1:], np.nan) for k, v in single.items()}
    goals = np.array([law.GOALS[q] for q in law.QUANTITIES])
    deviation = np.array([means[q] for q in law.QUANTITIES])
    dims = ("quantity", "slices", "phase")
    text = "mean of all volumes against the micrograph; see the coordinate meaning"
    return {
        "deviation": (dims, deviation, _about_value("1", text)),
        "deviation_low": (dims, np.array([intervals[q][0] for q in law.QUANTITIES]), _bound("2.5 %")),
        "deviation_high": (dims, np.array([intervals[q][1] for q in law.QUANTITIES]), _bound("97.5 %")),
        "spread": (dims, np.array([spread[q] for q in law.QUANTITIES]), _about_value("1", "s.d. between volumes")),
        "goal": ("quantity", goals, _about_value("1", "largest deviation that is within the goal; nan: none")),
        "within": (dims, _within(deviation, goals), _about_value("1", "1 within the goal, 0 not, nan without a goal")),
    }


def _within(deviation: np.ndarray, goals: np.ndarray) -> np.ndarray:
    limit = np.broadcast_to(goals[:, None, None], deviation.shape)
    # A phase without a surface in the image is compared with nothing, and so is no success.
    return np.where(np.isnan(limit), np.nan, (np.abs(deviation) <= limit).astype(float))


def _about_value(units: str, long_name: str, reference: str = "") -> dict[str, str]:
    return {"units": units, "long_name": long_name} | ({"reference": reference} if reference else {})


def _bound(share: str) -> dict[str, str]:
    return _about_value("1", f"{share} quantile of the deviation over volumes drawn with replacement", EFRON)


# Dimensions of a volume's and of an image's value, unit, what it is, source.
_TABLE: dict[str, tuple[tuple[str, ...], tuple[str, ...], str, str, str]] = {
    "phase_fraction": (("phase",), ("phase",), "1", "share of the voxels", ""),
    "two_point": (("axis", "phase", "lag"), ("line", "phase", "lag"), "1", "S2 along lines", TORQUATO),
    "lineal_path": (("axis", "phase", "lag"), ("line", "phase", "lag"), "1", "L along lines", TORQUATO),
    "surface": (("axis", "phase"), ("line", "phase"), "nm-1", "2 P_L, twice the crossings per length", ""),
    "slice_tortuosity": (
        ("slices", "line", "phase"), ("line", "phase"), "1",
        "geodesic over straight length in slices, mean over the last quarter of the way", "",
    ),
    "slice_reached": (("slices", "line", "phase"), ("line", "phase"), "1", "share of the phase that ways reach", ""),
}  # fmt: skip


def _values(volumes: Arrays, images: Arrays) -> dict[str, Any]:
    out = {}
    for name, (dims, flat, units, text, reference) in _TABLE.items():
        out[name] = (("volume", *dims), volumes[name], _about_value(units, text, reference))
        about = _about_value(units, f"{text}, of the micrograph", reference)
        out[f"micrograph_{name}"] = (("slices", *flat), images[name], about)
    text = "half width of the 95 % interval of the micrograph's phase fraction, 1.96 sqrt(phi (1 - phi) A / pixels)"
    about = _about_value("1", text, LANTUEJOUL)
    out["micrograph_phase_fraction_interval"] = (("slices", "phase"), images["phase_fraction_interval"], about)
    return out


def _imprint(case: Case, seen: Sequence[Seen]) -> dict[str, Any]:
    """Phase fractions by residue, all volumes together; nothing without a period that fits twice."""
    period = case.period
    if period is None or period < 2 or min(min(f.shape) for f in case.fields) < 2 * period:
        return {}
    found = [law.imprint([s.lines.planes[axis] for s in seen], period) for axis in range(3)]
    texts = {
        "span": "largest minus smallest phase fraction by residue of the plane",
        "error": "standard error of the phase fraction of one residue, from planes of the same residue",
        "ratio": "r.m.s. deviation of the residues over that error; about 1 or below without an imprint",
    }
    out: dict[str, Any] = {
        f"imprint_{name}": (("axis", "phase"), np.array([getattr(f, name) for f in found]), _about_value("1", text))
        for name, text in texts.items()
    }
    profile = np.array([f.profile for f in found])
    text = "phase fraction of the planes across an axis by their place modulo the period"
    return out | {"residue_fraction": (("axis", "residue", "phase"), profile, _about_value("1", text))}


def _seams(case: Case, seen: Sequence[Seen]) -> dict[str, Any]:
    found = [law.seams([s.lines.changes[a] for s in seen], case.seam[a], case.period) for a in range(3)]
    text = "share of voxel pairs of two phases across faces of chunks, over that elsewhere; 1 without seams"
    return {
        "seam_ratio": ("axis", np.array([f.ratio for f in found]), _about_value("1", text)),
        "seam_ratio_error": ("axis", np.array([f.error for f in found]), _about_value("1", "its standard error")),
        "seam_faces": ("axis", np.array([f.faces for f in found]), _about_value("1", "planes of faces")),
    }


def _reported(seen: Sequence[Seen]) -> dict[str, Any]:
    """3-D results, for which no image knows the truth."""
    names = list(dict.fromkeys(name for s in seen for name in s.known))
    if not names:
        return {}
    values = np.array([[s.known.get(name, math.nan) for name in names] for s in seen])
    text = "3-D results of the samples, in their own units: an image knows no truth for them"
    return {"reported": (("volume", "result"), values, {"units": "mixed", "long_name": text})}


def _pictures(case: Case) -> dict[str, Any]:
    """The images as they were compared, so that the report needs no file."""
    out = {}
    for normal, image in zip(AXES, case.images, strict=False):
        codes = tuple(image.phases[name] for name in case.names)
        about = _about_value("1", "number of the phase") | {"path": image.path, "sha256": image.sha256}
        out[f"micrograph_{normal}"] = (
            (f"row_{normal}", f"column_{normal}"), ranks_of(image.labels, codes), about,
        )  # fmt: skip
    return out


def _coordinates(case: Case, seen: Sequence[Seen]) -> dict[str, Any]:
    numbers = np.arange(1, len(case.lags[0]) + 1)
    lengths = np.array([[n * h for n in lags] for lags, h in zip(case.lags, case.spacing, strict=True)])
    names = list(dict.fromkeys(name for s in seen for name in s.known))
    known_results = {"result": np.array(names, dtype=object)} if names else {}
    return {
        "volume": np.array([str(url) for url in case.urls], dtype=object),
        "quantity": np.array(law.QUANTITIES, dtype=object),
        "meaning": ("quantity", np.array([law.MEANING[q] for q in law.QUANTITIES], dtype=object)),
        "slices": np.array(AXES, dtype=object),
        "axis": np.array(AXES, dtype=object),
        "line": np.array(["rows", "columns"], dtype=object),
        "phase": np.array(case.names, dtype=object),
        "lag": ("lag", numbers, _about_value("1", "number of the lag")),
        "lag_nm": (("axis", "lag"), lengths, _about_value(schema.UNIT, "lag along an axis")),
        **known_results,
    }


def _about(case: Case) -> dict[str, Any]:
    few = len(case.urls) < law.FEWEST_VOLUMES
    return {
        "field": case.fields[0].name,
        "spacing_nm": list(case.spacing),
        "isotropic": int(case.isotropic),
        "volumes": len(case.urls),
        "seam_voxels": list(case.seam),
        "period_voxels": case.period or 0,
        "slices_each": case.slices,
        "windows": [list(case.window(n)) for n in range(3)],
        "seed": case.seed,
        "warning": f"few volumes: {law.FEWEST_VOLUMES} tell the spread between runs" if few else "",
    }
