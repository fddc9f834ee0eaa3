"""Figures in files: PNG, SVG and PDF."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tim3d.formats.base import FigureFormat

# Pixels per inch of a bitmap: enough for print.
DPI = 300


class Drawing(FigureFormat):
    """A format of matplotlib, and the entry of its metadata that keeps a line of text."""

    entry: ClassVar[str]
    keeps_mark = True

    def write(self, figure: Any, path: Path, mark: str) -> None:
        """Draw the figure without a date, so that the same figure gives the same file."""
        dated = (
            {} if self.name == "png" else {"Date" if self.name == "svg" else "CreationDate": None}
        )
        figure.savefig(path, format=self.name, dpi=DPI, metadata={self.entry: mark, **dated})


@dataclass(frozen=True)
class Png(Drawing):
    """PNG with 300 pixels per inch."""

    name = "png"
    suffixes = (".png",)
    entry = "Description"


@dataclass(frozen=True)
class Svg(Drawing):
    """SVG."""

    name = "svg"
    suffixes = (".svg",)
    entry = "Description"


@dataclass(frozen=True)
class Pdf(Drawing):
    """PDF."""

    name = "pdf"
    suffixes = (".pdf",)
    entry = "Subject"
