"""The parts of an HTML page that needs nothing but itself: tables, pictures, sections, style."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from tim3d.errors import ArgumentError
from tim3d.plotting.style import COLOURS, LINES, NAMED
from tim3d.storage import outputs

DPI = 120
# Formats of figures in which matplotlib says that it wrote them.
FORMATS = (".png", ".pdf", ".svg", ".eps")

STYLE = """
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif; color: #1c1c1c;
       background: #fff; max-width: 62rem; margin: 2rem auto 4rem; padding: 0 1.5rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .2rem; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; padding-bottom: .25rem; border-bottom: 1px solid #ccc; }
.subtitle { color: #666; margin: 0 0 1.2rem; }
table { border-collapse: collapse; font-size: .87rem; margin: .6rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: #555; padding-bottom: .4rem; }
th, td { text-align: left; padding: .28rem .8rem .28rem 0; border-bottom: 1px solid #e6e6e6; vertical-align: top; }
thead th { border-bottom: 1.5px solid #888; white-space: nowrap; }
th { font-weight: 600; }
sup { line-height: 0; font-size: .75em; }
td.n, th.n { text-align: right; padding-left: .6rem; white-space: nowrap; }
code { font: .92em ui-monospace, "DejaVu Sans Mono", monospace; white-space: nowrap; }
code.long { white-space: normal; overflow-wrap: break-word; }
figure { margin: 1rem 0 1.4rem; }
figure img { display: block; max-width: 100%; height: auto; }
figcaption, .note { color: #555; font-size: .87rem; max-width: 52rem; }
dl { font-size: .87rem; } dt { font-weight: 600; margin-top: .5rem; } dd { margin: 0 0 0 1.2rem; color: #444; }
footer { margin-top: 3rem; color: #777; font-size: .8rem; }
@media print { body { margin: 0; max-width: none; font-size: 10pt; padding: 0; }
  figure, tr, dt, dd { break-inside: avoid; } h2 { break-after: avoid; } }
""".strip()


def document(title: str, body: Iterable[str]) -> str:
    """A whole page; the title is escaped, the body is not."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


def section(heading: str, *parts: str) -> str:
    """A heading and what stands under it; nothing if there is nothing."""
    filled = [part for part in parts if part]
    return f"<section>\n<h2>{escape(heading)}</h2>\n" + "\n".join(filled) + "\n</section>" if filled else ""


def table(header: Sequence[str], body: Iterable[Sequence[str]], numbers: int, caption: str = "") -> str:
    """A table whose cells are HTML already; the columns from the place `numbers` on are set to the right."""
    tag = f"<caption>{escape(caption)}</caption>" if caption else ""
    head = _cells("th", header, numbers)
    lines = "\n".join(f"<tr>{_cells('td', row, numbers)}</tr>" for row in body)
    return f"<table>{tag}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody></table>"


def _cells(tag: str, cells: Sequence[str], numbers: int) -> str:
    return "".join(f"<{tag}{' class=n' if n >= numbers else ''}>{cell}</{tag}>" for n, cell in enumerate(cells))


def note(text: str) -> str:
    """A paragraph of plain text in small grey type."""
    return f'<p class="note">{escape(text)}</p>'


def picture(figure: Figure, caption: str) -> str:
    """A figure as an embedded PNG with its caption; the caption stands in where pictures are not shown."""
    data = base64.b64encode(png(figure)).decode()
    text = escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}">\n<figcaption>{text}</figcaption></figure>'


def png(figure: Figure, dpi: int = DPI) -> bytes:
    """A figure as a PNG of at most 256 colours, a third of the size of one with all; grey ones lose nothing."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi)
    image = Image.open(drawn).convert("RGB")
    pixels = np.asarray(image)
    grey = bool((pixels == pixels[..., :1]).all())
    out = io.BytesIO()
    (image.convert("L") if grey else _few_colours(image)).save(out, "PNG", optimize=True)
    return out.getvalue()


def _few_colours(image: Image.Image) -> Image.Image:
    """At most 256 colours, those of the phases and lines exactly as they are."""
    kept = np.array([to_rgb(shade) for shade in (*NAMED.values(), *COLOURS, *LINES, "white", "black")])
    exact = np.rint(255 * kept).astype(np.uint8)
    first = 256 - len(exact)
    found = image.quantize(first, dither=Image.Dither.NONE)
    places, pixels = np.array(found), np.asarray(image)
    for place, shade in enumerate(exact, first):
        places[(pixels == shade).all(axis=-1)] = place
    few = Image.fromarray(places, "L")
    few.putpalette([*(found.getpalette() or [])[: 3 * first], *exact.ravel().tolist()])
    return few


def units(text: str) -> str:
    """A unit with its exponents raised.

    >>> units("nm-1"), units("1"), units("W m-1 K-1")
    ('nm<sup>−1</sup>', '1', 'W m<sup>−1</sup> K<sup>−1</sup>')
    """
    return re.sub(r"(?<=[A-Za-z])-?\d+", lambda power: f"<sup>{power[0].replace('-', '−')}</sup>", escape(text))


def number(text: str) -> str:
    """A number as text with its power of ten written out.

    >>> number("-1.500e-07"), number("0.35")
    ('−1.500 × 10<sup>−7</sup>', '0.35')
    """
    mantissa, _, power = text.replace("-", "−").partition("e")
    sign = "−" if power.startswith("−") else ""
    return f"{mantissa} × 10<sup>{sign}{power.lstrip('−+0')}</sup>" if power else mantissa


def check_figure(path: str | Path) -> None:
    """Refuse a file that `write_figure` would refuse, before what it shows is computed.

    Raises
    ------
    ArgumentError
        If its ending names no format of figures, or something else is there.
    """
    if Path(path).suffix.lower() not in FORMATS:
        raise ArgumentError(f"--figure {path}: give a name that ends in {', '.join(FORMATS)}")
    outputs.check_target(path, outputs.FIGURE)


def write_figure(figure: Figure, path: str | Path, dpi: int | None = None) -> None:
    """Write a figure to a file, in one piece; its ending says the format, for example ``study.png``.

    Raises
    ------
    ArgumentError
        As `check_figure` says.
    WriteError
        If the file cannot be written.
    """
    check_figure(path)
    drawn = io.BytesIO()
    figure.savefig(drawn, format=Path(path).suffix.lower().removeprefix("."), dpi=dpi or "figure")
    outputs.write_file(path, drawn.getvalue(), outputs.FIGURE)
