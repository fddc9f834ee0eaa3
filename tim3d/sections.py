"""Sections of reports for `tim3d.report`, and what a section of one's own is made of (docs/extend.md)."""

from tim3d.reporting.html import SECTIONS
from tim3d.reporting.page import code, note, number, picture, table, units
from tim3d.reporting.section import Parts, Section

__all__ = ["SECTIONS", "Parts", "Section", "code", "note", "number", "picture", "table", "units"]
