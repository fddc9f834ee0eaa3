"""Figures of a sample as files: each figure of the report by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from tim3d import plotting
from tim3d.engine import Outline
from tim3d.errors import ArgumentError, MissingFieldError
from tim3d.exporting.job import Export
from tim3d.forecast import is_forecasting
from tim3d.formats.base import FigureFormat
from tim3d.lazy import xarray as xr
from tim3d.plotting.clusters import ROWS
from tim3d.plotting.correlations import endings
from tim3d.plotting.transport import has_profiles
from tim3d.reporting.fidelity import FIDELITY
from tim3d.reporting.history import curves, training_summary
from tim3d.reporting.inspection import is_inspection
from tim3d.reporting.likeness import is_likeness
from tim3d.reporting.study import is_study
from tim3d.storage import store
from tim3d.storage.schema import AXES

TRUTH, RAW = "truth", "raw"


@dataclass(frozen=True)
class Subject:
    """A node of a sample, or the file of a network, that a figure may show."""

    sample: str
    name: str

    @cached_property
    def record(self) -> dict[str, Any]:
        """Provenance of the node; empty for a file."""
        return {} if self.is_model else store.node_attributes(self.sample, self.name)

    @property
    def is_model(self) -> bool:
        """Whether it is the file of a trained network."""
        return self.name.endswith(".safetensors")

    @cached_property
    def dataset(self) -> xr.Dataset | None:
        """The result, without variables of components; None for a field or a file."""
        if self.record.get("kind") != "dataset":
            return None
        return store.open_dataset(self.sample, self.name).drop_dims("component", errors="ignore")

    @property
    def is_labels(self) -> bool:
        """Whether it is a field of labels of phases."""
        is_field = self.record.get("kind") == "field"
        return is_field and store.read_field(self.sample, self.name).phases is not None

    def field(self, name: str) -> str | None:
        """A further field, if it is there and complete."""
        record = store.node_attributes(self.sample, name)
        return name if (record.get("kind"), record.get("status")) == ("field", "complete") else None

    def has(self, *variables: str) -> bool:
        """Whether it is a result with all these variables."""
        return self.dataset is not None and set(variables) <= set(self.dataset.variables)


Draw = Callable[[Subject], Figure]


def _one(draw: Draw, _: Subject) -> dict[str, Draw]:
    return {"": draw}


@dataclass(frozen=True)
class Drawn:
    """A figure: the subjects that it suits, and how it is drawn of one.

    `several` has a figure for each set of parameters with which a descriptor was measured, by the
    ending of their variables; other figures are one.
    """

    suits: Callable[[Subject], bool]
    draw: Draw
    several: Callable[[Draw, Subject], Mapping[str, Draw]] = _one

    def each(self, subject: Subject) -> Mapping[str, Draw]:
        """Figures of a subject that it suits, by what is added to the name."""
        return self.several(self.draw, subject)


def _of(draw: Callable[[xr.Dataset], Figure]) -> Draw:
    return lambda subject: draw(subject.dataset)  # type: ignore[arg-type]


def _descriptor(variable: str, draw: Callable[..., Figure]) -> Drawn:
    """Figures of a descriptor with parameters, one for each ending of this variable."""

    def drawn(ending: str, subject: Subject) -> Figure:
        return draw(subject.dataset, ending)

    def several(_: Draw, subject: Subject) -> dict[str, Draw]:
        return {one: partial(drawn, one) for one in endings(_dataset(subject), variable)}

    return Drawn(lambda s: bool(endings(_dataset(s), variable)), _of(draw), several)


def _dataset(subject: Subject) -> xr.Dataset:
    return xr.Dataset() if subject.dataset is None else subject.dataset


def _is_made_by(subject: Subject, *verbs: str) -> bool:
    return subject.record.get("kind") == "field" and subject.record.get("verb") in verbs


def _is_histogram(subject: Subject) -> bool:
    """Whether it is one histogram; steps of corrections have one for each stage."""
    dataset = subject.dataset
    return dataset is not None and subject.has("grey", "voxels") and dataset["voxels"].ndim == 1


def _is_grey(subject: Subject) -> bool:
    is_field = subject.record.get("kind") == "field" and not subject.record.get("labels")
    return is_field and not _is_made_by(subject, "solve", "geodesic")


def _disagreement(subject: Subject) -> Figure:
    return plotting.disagreement(subject.sample, subject.name, TRUTH, subject.field(RAW))


def _field_slices(subject: Subject) -> Figure:
    label = store.read_field(subject.sample, subject.name).long_name
    return plotting.field_slices(subject.sample, subject.name, label)


def _has_profiles(subject: Subject) -> bool:
    return subject.has("phase") and any(subject.has(f"phase_fraction_{axis}") for axis in AXES)


def _is_fidelity(subject: Subject) -> bool:
    return subject.dataset is not None and FIDELITY.shows(subject.dataset)


def _is_likeness(subject: Subject) -> bool:
    return subject.dataset is not None and is_likeness(subject.dataset)


def _has_residues(subject: Subject) -> bool:
    return _is_fidelity(subject) and subject.has("residue_fraction")


# Every figure of the report under the name of its function in `tim3d.plotting`; of several that
# suit a subject the first is the default.
FIGURES: Mapping[str, Drawn] = {
    "orthoslices": Drawn(_is_grey, lambda s: plotting.orthoslices(s.sample, s.name)),
    "overlay": Drawn(
        lambda s: s.is_labels, lambda s: plotting.overlay(s.sample, s.name, s.field(RAW))
    ),
    "overlay_slice": Drawn(
        lambda s: s.is_labels, lambda s: plotting.overlay_slice(s.sample, s.name, s.field(RAW))
    ),
    "phases_3d": Drawn(lambda s: s.is_labels, lambda s: plotting.phases_3d(s.sample, s.name)),
    "disagreement": Drawn(
        lambda s: s.is_labels and s.name != TRUTH and s.field(TRUTH) is not None, _disagreement
    ),
    "field_slices": Drawn(lambda s: _is_made_by(s, "solve", "geodesic"), _field_slices),
    "histogram": Drawn(
        _is_histogram,
        lambda s: plotting.histogram({s.name: s.dataset}),  # type: ignore[dict-item]
    ),
    "drift": Drawn(lambda s: s.has("grey_mean", "grey_std", "z"), _of(plotting.drift)),
    "inspection_figure": Drawn(
        lambda s: s.dataset is not None and is_inspection(s.dataset),
        _of(plotting.inspection_figure),
    ),
    "profiles": Drawn(_has_profiles, _of(plotting.profiles)),
    "thickness_figure": _descriptor("thickness_share", plotting.thickness_figure),
    "distance_figure": _descriptor("distance_share", plotting.distance_figure),
    "correlation_figure": _descriptor("two_point_radial", plotting.correlation_figure),
    "chord_figure": _descriptor("chord_length_count", plotting.chord_figure),
    "cluster_figure": _descriptor("two_point_cluster", plotting.cluster_figure),
    "curvature_figure": _descriptor("curvature_area", plotting.curvature_figure),
    "slice_shape_figure": Drawn(
        lambda s: s.has(*(f"slice_{name}_{axis}" for name, _ in ROWS for axis in AXES)),
        _of(plotting.slice_shape_figure),
    ),
    "porosimetry_figure": Drawn(
        lambda s: s.has("granulometry_share", "intruded_share"), _of(plotting.porosimetry_figure)
    ),
    "particle_figure": Drawn(
        lambda s: s.has("particle_diameter", "particle_weight"), _of(plotting.particle_figure)
    ),
    "study_figure": Drawn(
        lambda s: s.dataset is not None and is_study(s.dataset), _of(plotting.study_figure)
    ),
    "strut_figure": Drawn(
        lambda s: s.has("strut_diameter_fit_mean", "branch_middle"), _of(plotting.strut_figure)
    ),
    "curves_figure": Drawn(_is_fidelity, _of(plotting.curves_figure)),
    "residues_figure": Drawn(_has_residues, _of(plotting.residues_figure)),
    "slices_figure": Drawn(_is_fidelity, _of(plotting.slices_figure)),
    "grey_look_figure": Drawn(_is_likeness, _of(plotting.grey_look_figure)),
    "crop_pairs_figure": Drawn(_is_likeness, _of(plotting.crop_pairs_figure)),
    "crop_map_figure": Drawn(_is_likeness, _of(plotting.crop_map_figure)),
    "conductivity_bounds": Drawn(
        lambda s: s.has("effective_conductivity", "axis"), _of(plotting.conductivity_bounds)
    ),
    "geodesic_profiles": Drawn(
        lambda s: s.dataset is not None and has_profiles(s.dataset), _of(plotting.geodesic_profiles)
    ),
    "training_curves": Drawn(
        lambda s: s.is_model,
        lambda s: plotting.training_curves(curves(training_summary(Path(s.name)).get("history"))),
    ),
}


def drawings(subject: Subject) -> dict[str, Draw]:
    """Every figure of a subject by name; those of further parameters carry them in their names."""
    return {
        name + ending: draw
        for name, one in FIGURES.items()
        if one.suits(subject)
        for ending, draw in one.each(subject).items()
    }


def named(wanted: str, names: Iterable[str]) -> list[str]:
    """Names that a user means by one: itself, or those that go on after it.

    >>> named("chord", ["chord_figure", "chord_figure_lags_64", "drift"])
    ['chord_figure', 'chord_figure_lags_64']
    >>> named("overlay", ["overlay", "overlay_slice"])
    ['overlay']
    """
    every = list(names)
    return [wanted] if wanted in every else [n for n in every if n.startswith(f"{wanted}_")]


@dataclass(frozen=True)
class FigureExport(Export):
    """A figure of the report as a file of its own."""

    @cached_property
    def subject(self) -> Subject:
        """Node or file that is shown."""
        if len(self.asked.names) > 1:
            raise ArgumentError(
                f"a figure shows one of {' and '.join(self.asked.names)}: leave out --beside"
            )
        return Subject(self.asked.sample, self.asked.names[0])

    def drawn(self) -> Draw:
        """The figure that is wanted, or the first that suits the subject."""
        fitting, wanted = drawings(self.subject), self.asked.given["drawing"]
        meant = named(wanted, fitting) if wanted else list(fitting)
        if not meant:
            listed = ", ".join(fitting) or "none"
            seen = f"no figure {wanted!r} of" if wanted else "no figure of"
            raise ArgumentError(f"{seen} {self.subject.name!r}; there is {listed}")
        return fitting[meant[0]]

    def inputs(self) -> dict[str, str]:
        """Fingerprints of the subject and of the fields that may be shown with it."""
        sample, name = self.asked.sample, self.subject.name
        if self.subject.is_model:
            return {name: training_fingerprint(Path(name))}
        if self.subject.record.get("status") != "complete":
            raise MissingFieldError(
                f"no finished {name!r} in {sample}; it has {', '.join(store.nodes(sample))}"
            )
        store.refuse_outdated(sample, name)
        return {n: store.fingerprint_of(sample, n) for n in (name, RAW, TRUTH)}

    def steps(self) -> list[Outline]:
        """One line: a few planes are read at most."""
        if not is_forecasting():
            self.drawn()  # a figure that is not there is refused
        return [Outline(f"export {self.asked.format.name}", f"draws {self.subject.name}")]

    def write(self, path: Path) -> None:
        """Draw the figure."""
        assert isinstance(self.asked.format, FigureFormat)
        self.asked.format.write(self.drawn()(self.subject), path, self.mark)


def training_fingerprint(model: Path) -> str:
    """Hash of what is known of the training of a network."""
    from tim3d.storage import schema

    return schema.fingerprint(summary=training_summary(model))
