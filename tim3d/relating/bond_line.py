"""The verb `bond_line`: a virtual ASTM D5470, conductivity and contact resistance from several bond lines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tim3d.engine import Outline
from tim3d.errors import ArgumentError
from tim3d.lazy import xarray as xr
from tim3d.relating import impedance
from tim3d.relating.job import as_json, tidy
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import outputs
from tim3d.typed import Names, Samples

TABLE = outputs.Kind(
    "a table of bond lines", lambda data: data.startswith(b"variable,sample,value")
)
JSON = outputs.Kind("bond lines of tim3d", lambda data: data.startswith(b'{"kind": "bond lines"'))


@Verb
def bond_line(
    samples: Samples,
    *,
    substrates: Names | None = None,
    field: str = "phase",
    transport: str = "",
    axis: Literal["z", "y", "x"] = "z",
    level: float = 0.95,
    csv: str | Path | None = None,
    json: str | Path | None = None,
    page: str | Path | None = None,
) -> Task[xr.Dataset]:
    """Fit thermal impedance against bond line: conductivity and contact resistance, as ASTM D5470.

    Of samples that `solve` has solved under one condition. No voxel is read. The slope of the line
    is 1/k of the material, its intercept twice the contact resistance. See docs/interfaces.md.

    Parameters
    ----------
    samples : list of str
        Paths or URLs of the samples, three or more bond lines of one material.
    substrates : list of str, optional
        Phases that are substrates (default: those whose names begin with substrate). Their own
        resistance is taken off, and the bond line is what they leave.
    field : str
        The label field.
    transport : str
        Name of the result of solve that is meant (default: the only one).
    axis : {"z", "y", "x"}
        Axis along which the heat flows.
    level : float
        Probability that an interval holds the true value.
    csv : path, optional
        File to which all numbers are written as a tidy table (default: none).
    json : path, optional
        File to which everything is written as JSON (default: none).
    page : path, optional
        HTML file with the figure and tables (default: none).

    Returns
    -------
    xarray.Dataset
        Over ``sample``: `bond_line`, `thermal_impedance`, `fitted`, `residual` and more. Of all:
        `conductivity` and `contact_resistance`, each with ``_error``, ``_low`` and ``_high``, and
        `slope`, `intercept`. docs/interfaces.md defines each.

    Raises
    ------
    ArgumentError
        If there are fewer than three samples, the level is out of range, a substrate is not a phase,
        or a file must not be written.
    InputError
        If samples were solved under different conditions, or all have one bond line.
    MissingFieldError
        If a sample was not solved along the axis.
    MixedRunError
        If a result is outdated.

    References
    ----------
    ASTM D5470-17, Standard Test Method for Thermal Transmission Properties of Thermally Conductive
    Electrical Insulation Materials. DOI 10.1520/D5470-17
    """
    given = [samples] if isinstance(samples, str) else [str(one) for one in samples]
    chosen = None if substrates is None else tuple(substrates)
    question = impedance.Question(chosen, field, transport, axis, level)
    asking = Asking(given, question, csv, json, page)
    asking.check()
    text = f"fits a line through {len(given)} results of solve, and reads no voxel"
    return Task(lambda: [Outline("bond_line", text)], asking.run)


@dataclass(frozen=True)
class Asking:
    """A question to samples, and the files in which the answer is kept."""

    samples: list[str]
    question: impedance.Question
    csv: str | Path | None
    json: str | Path | None
    page: str | Path | None

    def check(self) -> None:
        """Refuse what can be refused before anything is read.

        Raises
        ------
        ArgumentError
            If the samples, the question or a file is refused.
        """
        if len(self.samples) < impedance.FEWEST:
            raise ArgumentError(
                f"a line with a known error needs {impedance.FEWEST} bond lines or more, and {len(self.samples)} "
                "are given: tim3d bond-line thin.zarr medium.zarr thick.zarr"
            )
        self.question.check()
        for path, kind in (
            (self.csv, TABLE),
            (self.json, JSON),
            (self.page, outputs.REPORT),
        ):
            if path is not None:
                outputs.check_target(path, kind)
        if self.page is not None and Path(self.page).suffix.lower() not in (".html", ".htm"):
            raise ArgumentError(
                f"--page is HTML, and {self.page} has another ending: --page {Path(self.page).with_suffix('.html')}"
            )

    def run(self) -> xr.Dataset:
        """Fit, and write the files."""
        found = impedance.fitted(self.samples, self.question)
        if self.csv is not None:
            outputs.write_file(self.csv, tidy(found).encode(), TABLE)
        if self.json is not None:
            outputs.write_file(self.json, as_json(found, "bond lines").encode(), JSON)
        if self.page is not None:
            from tim3d.reporting.bond_line import bond_line_page  # matplotlib takes a while to load

            outputs.write_file(self.page, bond_line_page(found).encode(), outputs.REPORT)
        return found
