"""The verb `plot`: every figure of the results of a sample, each in a file of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tim3d.engine import Outline, Plan
from tim3d.errors import ArgumentError, MissingFieldError
from tim3d.exporting.asked import DEFAULT, Asked
from tim3d.forecast import expect, is_forecasting
from tim3d.formats.builtin import FIGURES, format_of
from tim3d.spelling import suggestion
from tim3d.stages.shared.field import Options
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import outputs, store
from tim3d.typed import Folder, Names, Nodes

if TYPE_CHECKING:
    from tim3d.exporting.figures import FigureExport

log = logging.getLogger(__name__)


@Verb
def plot(
    sample: str,
    out: Folder,
    *,
    results: Nodes = (),
    drawings: Names = (),
    format: Literal["png", "svg", "pdf"] = "png",
    overwrite: bool = False,
) -> Task[Path]:
    """Draw every distribution and curve that a sample holds, each figure in a file of its own.

    They are the figures of the report and of `tim3d.plotting`: thickness, intrusion, correlations, chords,
    clusters, curvatures, slices, windows of a study, profiles and what else was measured. No voxel is read.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    out : path
        Folder of the files, which are named after result and figure. It is made if it is missing.
    results : list of str
        Results that are drawn, or fields: slices, overlay, surfaces (default: all results).
    drawings : list of str
        Figures that are drawn, by the names of `tim3d.plotting`, as thickness_figure or short
        thickness (default: all).
    format : {"png", "svg", "pdf"}
        Format of the files; a PNG has 300 pixels per inch.
    overwrite : bool
        Replace figures of earlier versions of the results.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ArgumentError
        If `out` is a file or has the ending of one, a figure is not among those of the results, or
        a file exists that no export wrote.
    MissingFieldError
        If a result is not there, or none has a figure.
    MixedRunError
        If a result that was asked for is of another version of its field, or a file shows another
        version of a result and `overwrite` is not set.
    WriteError
        If a file cannot be written.
    """
    if not store.is_sample(sample) and not store.nodes(sample):
        store.open_sample(sample)
    if format not in (known := [one.name for one in FIGURES]):
        raise ArgumentError(f"--format {format}: there are {', '.join(known)}")
    chosen, wanted = ((v,) if isinstance(v, str) else tuple(v) for v in (results, drawings))
    plotting = Plotting(sample, _folder(out, sample), chosen, wanted, format, overwrite)
    if not is_forecasting():
        plotting.exports()  # bad names are refused before anything is planned
    return Task(plotting.plans, plotting.run)


def _folder(out: Folder, sample: str) -> Path:
    """The folder, unless it is, or is called as, a file."""
    target = outputs.check_place(out, "a folder of figures")
    endings = [ending for one in FIGURES for ending in one.suffixes]
    if target.is_file() or target.suffix.lower() in endings:
        raise ArgumentError(
            f"plot writes a folder of figures, and {out} is the name of a file. Name a folder, or draw "
            f"one figure: tim3d export {sample} RESULT {target.with_suffix('.png')} --drawing NAME"
        )
    return target


@dataclass(frozen=True)
class Plotting:
    """Figures of a sample; `results` and `drawings` are those that were asked for."""

    sample: str
    folder: Path
    results: tuple[str, ...]
    drawings: tuple[str, ...]
    format: str
    overwrite: bool

    def exports(self) -> list[FigureExport]:
        """An export for each figure.

        Raises
        ------
        ArgumentError, MissingFieldError
            If none, or not all that were asked for, can be drawn.
        """
        from tim3d.exporting.figures import named  # matplotlib takes a while to load

        found = dict(self._found)
        if not found:
            raise MissingFieldError(
                f"no result of {self.sample} has a figure. Measure one: tim3d measure {self.sample} "
                "--descriptors correlation,chord_length,slice_shape"
            )
        names = list(dict.fromkeys(drawing for _, drawing in found))
        for wanted in self.drawings:
            if not named(wanted, names):
                raise ArgumentError(
                    f"no figure {wanted!r} of {self.sample}{suggestion(wanted, names)}; "
                    f"there are {', '.join(names)}"
                )
        chosen = {one for wanted in self.drawings for one in named(wanted, names)} or set(names)
        return [self._export(*pair) for pair in found if pair[1] in chosen]

    @cached_property
    def _found(self) -> dict[tuple[str, str], None]:
        """Pairs of a result and of a figure of it."""
        from tim3d.exporting.figures import Subject, drawings

        nodes = self._named() if self.results else self._every()
        return {
            (node, drawing): None
            for node in nodes
            for drawing in drawings(Subject(self.sample, node))
        }

    def _named(self) -> Iterator[str]:
        for node in self.results:
            if store.node_attributes(self.sample, node).get("status") != "complete":
                raise MissingFieldError(
                    f"no finished {node!r} in {self.sample}; it has {', '.join(store.nodes(self.sample))}"
                )
            store.refuse_outdated(self.sample, node)
            yield node

    def _every(self) -> Iterator[str]:
        """All finished results of the fields that are there now; others are named in the log."""
        for node in store.nodes(self.sample):
            record = store.node_attributes(self.sample, node)
            if (record.get("kind"), record.get("status")) != ("dataset", "complete"):
                continue
            if why := store.why_outdated(self.sample, node):
                log.warning("%s is not drawn: %s", node, why)
            else:
                yield node

    def _export(self, node: str, drawing: str) -> FigureExport:
        from tim3d.exporting.figures import FigureExport

        target = self.folder / f"{node}_{drawing}.{self.format}"
        given, options = (
            DEFAULT | {"drawing": drawing},
            Options(overwrite=self.overwrite, progress=False),
        )
        return FigureExport(Asked(self.sample, (node,), target, format_of(target), given, options))

    def plans(self) -> list[Plan | Outline]:
        """One line for each figure that is not there yet."""
        expect("file", str(self.folder), "figures")
        if is_forecasting():
            return [Outline("plot", f"draws the results of {self.sample}")]
        left = [one.asked.target.name for one in self.exports() if one.plans()]
        return [Outline("plot", f"draws {name}") for name in left]

    def run(self) -> Path:
        """Draw the figures that are not there yet."""
        exports = self.exports()
        for one in exports:
            one.plans()  # what must not be replaced is refused before anything is written
        outputs.make_folder(self.folder)
        for one in exports:
            one.run()
        log.info("%d figures in %s", len(exports), self.folder)
        return self.folder
