"""A section of a report as a value: the results it shows, in the file and in the shell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import TypeAlias

from matplotlib.figure import Figure

from tim3d.lazy import xarray as xr
from tim3d.reporting import page
from tim3d.reporting.results import outdated_note
from tim3d.storage import store


@dataclass(frozen=True)
class Parts:
    """Subject of a report: a sample, names of its fields (None if missing), a model, the file."""

    sample: str
    raw: str | None = None
    field: str | None = None
    truth: str | None = None
    annotation: str | None = None
    model: Path | None = None
    pore: tuple[str, ...] = ()
    density: Mapping[str, float] = dataclass_field(default_factory=dict)
    out: str = "report.html"


Nodes: TypeAlias = Callable[[Parts], Iterable[str]]
Html: TypeAlias = Callable[[Parts, str], Iterable[str]]
Missing: TypeAlias = Callable[[Parts], Iterable[tuple[str, str]]]


def _whole(_: Parts) -> tuple[str, ...]:
    return ("",)


def _nothing(_: Parts) -> tuple[tuple[str, str], ...]:
    return ()


def _never(_: xr.Dataset) -> bool:
    return False


@dataclass(frozen=True)
class Section:
    """A section of a report; it is left out where it shows nothing.

    Parameters
    ----------
    title : str
        Heading.
    html : callable
        ``html(parts, node)`` returns the content below the heading for one node: markup from
        `page.table`, `page.picture` and `page.note`. Plain text is escaped.
    nodes : callable, optional
        ``nodes(parts)`` names the results that it shows. Missing and incomplete results are left
        out, and an outdated one is replaced by a note with the command that renews it. By default
        the section is about the sample as a whole, and `html` is called once, with an empty name.
    named : bool
        Whether each of several results is headed by its name.
    missing : callable, optional
        ``missing(parts)`` names what the section could show and the sample does not have: pairs of
        words and of the command that adds it. They are listed below the content; of a section that
        shows nothing, at the end of the report.
    shows : callable, optional
        ``shows(dataset)`` returns whether a result is of this kind: the shell then uses `text` and
        `figure` for it.
    text : callable, optional
        ``text(dataset)``, the text that the shell prints for a result.
    figure : callable, optional
        ``figure(dataset)``, the figure that ``--figure`` of the shell writes.
    """

    title: str
    html: Html
    nodes: Nodes = _whole
    named: bool = False
    missing: Missing = _nothing
    shows: Callable[[xr.Dataset], bool] = _never
    text: Callable[[xr.Dataset], str] | None = None
    figure: Callable[[xr.Dataset], Figure] | None = None

    @classmethod
    def of_shell(
        cls,
        title: str,
        shows: Callable[[xr.Dataset], bool],
        text: Callable[[xr.Dataset], str],
        figure: Callable[[xr.Dataset], Figure] | None = None,
    ) -> Section:
        """Text and figure of results that no sample holds: they are in no report."""
        return cls(
            title, lambda _, __: (), nodes=lambda _: (), shows=shows, text=text, figure=figure
        )

    def blocks(self, parts: Parts) -> Iterator[str]:
        """Content below the heading, one block after the other."""
        nodes = [node for node in self.nodes(parts) if not node or _is_finished(parts.sample, node)]
        for node in nodes:
            note = outdated_note(parts.sample, node) if node else ""
            if note:
                yield note
                continue
            if self.named and len(nodes) > 1:
                yield page.note(f"Results {node}:")
            yield from self.html(parts, node)

    def markup(self, parts: Parts) -> str:
        """The section as HTML, with what it lacks; empty if it shows nothing."""
        blocks = [block for block in self.blocks(parts) if block]
        return page.section(
            self.title, *blocks, page.missing(self.missing(parts)) if blocks else ""
        )


def _is_finished(sample: str, node: str) -> bool:
    return bool(store.node_attributes(sample, node).get("status") == "complete")
