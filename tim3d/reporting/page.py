"""Parts of a self-contained HTML page: tables, pictures, sections, style."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from tim3d.errors import ArgumentError
from tim3d.plotting.style import COLOURS, LINES, NAMED
from tim3d.reporting.table import Line, cell
from tim3d.storage import outputs
from tim3d.units import Shown, quotient

DPI = 120
# Formats of figures in whose metadata matplotlib names itself.
FORMATS = (".png", ".pdf", ".svg", ".eps")

# All text inserted into a template is escaped, unless it is markup from a template.
_TEMPLATES = Environment(
    loader=PackageLoader("tim3d.reporting"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)


def _part(name: str, *values: Any) -> Markup:
    """Markup that a macro of the templates makes from values."""
    return Markup(getattr(_TEMPLATES.get_template("parts.html").module, name)(*values).strip())


def document(title: str, body: Iterable[str]) -> str:
    """A whole page; text is escaped, markup from the functions of this module is not."""
    return _TEMPLATES.get_template("page.html").render(title=title, body=list(body)) + "\n"


def head(title: str, version: str, now: str, facts: Iterable[tuple[str, str]]) -> Markup:
    """The title of a page, with a table of facts."""
    return _part("head", title, version, now, list(facts))


def footer(version: str) -> Markup:
    """The last line of a page."""
    return _part("footer", version)


def section(heading: str, *parts: str) -> Markup:
    """A heading and the content below it; empty without content."""
    filled = [part for part in parts if part]
    return _part("section", heading, filled) if filled else Markup()


def table(
    header: Sequence[str], body: Iterable[Sequence[str]], numbers: int, caption: str = ""
) -> Markup:
    """A table of texts or markup; the columns from index `numbers` on are right-aligned.

    >>> "<td>a &lt; b</td>" in table(["sample"], [["a < b"]], 1)
    True
    """
    return _part("table", header, list(body), numbers, caption)


def measured(line: Line, column: str, units: Mapping[str, Shown]) -> str:
    """A number of a line in the unit of its table, with its uncertainty; empty if there is none."""
    value, error = cell(line, column, units[line.units].factor)
    shown = number(value) or ("–" if column in line.values else "")
    return Markup("{} ± {}").format(shown, number(error)) if error else shown


def missing(entries: Iterable[tuple[str, str]], heading: str = "Not here yet") -> Markup:
    """A list of numbers that are missing, each with the command that adds it; empty without any."""
    listed = list(entries)
    return _part("missing", heading, listed) if listed else Markup()


def note(text: str) -> Markup:
    """A paragraph of plain text in small grey type.

    >>> print(note("a < b"))
    <p class="note">a &lt; b</p>
    """
    return _part("note", text)


def definitions(entries: Iterable[tuple[str, str]]) -> Markup:
    """A list of names and their meanings; empty if there are none."""
    listed = list(entries)
    return _part("definitions", listed) if listed else Markup()


def code(text: str, *, long: bool = False) -> Markup:
    """A name or command; a long one may be broken into lines.

    >>> print(code("a<b"))
    <code>a&lt;b</code>
    """
    return Markup('<code class="long">{}</code>' if long else "<code>{}</code>").format(text)


def picture(figure: Figure, caption: str) -> Markup:
    """A figure as an embedded PNG with its caption, which is the alternative text too."""
    return _part("picture", base64.b64encode(png(figure)).decode(), caption)


def png(figure: Figure, dpi: int = DPI) -> bytes:
    """A figure as a PNG of at most 256 colours, a third of the usual bytes; lossless for grey."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi)
    image = Image.open(drawn).convert("RGB")
    pixels = np.asarray(image)
    grey = bool((pixels == pixels[..., :1]).all())
    out = io.BytesIO()
    (image.convert("L") if grey else _few_colours(image)).save(out, "PNG", optimize=True)
    return out.getvalue()


def _few_colours(image: Image.Image) -> Image.Image:
    """Reduce an image to at most 256 colours; the colours of phases and lines stay exact."""
    kept = np.array(
        [to_rgb(shade) for shade in (*NAMED.values(), *COLOURS, *LINES, "white", "black")]
    )
    exact = np.rint(255 * kept).astype(np.uint8)
    first = 256 - len(exact)
    found = image.quantize(first, dither=Image.Dither.NONE)
    places, pixels = np.array(found), np.asarray(image)
    for place, shade in enumerate(exact, first):
        places[(pixels == shade).all(axis=-1)] = place
    few = Image.fromarray(places, "L")
    few.putpalette([*(found.getpalette() or [])[: 3 * first], *exact.ravel().tolist()])
    return few


def units(text: str) -> Markup:
    """A unit with its exponents as superscripts; one of several factors as a quotient.

    >>> print(units("nm-1"), units("1"), units("W m-1 K-1"))
    nm<sup>−1</sup> 1 W/(m K)
    """
    raised = re.sub(
        r"(?<=[A-Za-zµ])-?\d+",
        lambda power: f"<sup>{power[0].replace('-', '−')}</sup>",
        str(escape(quotient(text))),
    )
    return Markup(raised)  # escaped above


def number(text: str) -> Markup:
    """A number as text with its power of ten written out.

    >>> print(number("-1.500e-07"), number("0.35"))
    −1.500 × 10<sup>−7</sup> 0.35
    """
    mantissa, _, power = text.replace("-", "−").partition("e")
    sign = "−" if power.startswith("−") else ""
    raised = Markup("{} × 10<sup>{}{}</sup>").format(mantissa, sign, power.lstrip("−+0"))
    return raised if power else escape(mantissa)


def check_figure(path: str | Path) -> None:
    """Refuse a file that `write_figure` would refuse, before its content is computed.

    Raises
    ------
    ArgumentError
        If its ending is not of a figure format, or `tim3d.storage.outputs.check_target` refuses it.
    """
    if Path(path).suffix.lower() not in FORMATS:
        raise ArgumentError(f"--figure {path}: give a name that ends in {', '.join(FORMATS)}")
    outputs.check_target(path, outputs.FIGURE)


def write_figure(figure: Figure, path: str | Path, dpi: int | None = None) -> None:
    """Write a figure to a file atomically, in the format of its ending, for example ``study.png``.

    Raises
    ------
    ArgumentError
        As raised by `check_figure`.
    WriteError
        If the file cannot be written.
    """
    check_figure(path)
    drawn = io.BytesIO()
    figure.savefig(drawn, format=Path(path).suffix.lower().removeprefix("."), dpi=dpi or "figure")
    outputs.write_file(path, drawn.getvalue(), outputs.FIGURE)
