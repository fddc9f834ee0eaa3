"""A library of generators as text in the shell and as a page."""

from __future__ import annotations

import datetime
import math
import shlex
from collections.abc import Iterator, Mapping

import numpy as np
from markupsafe import Markup

from tim3d.lazy import xarray as xr
from tim3d.reporting import page, table
from tim3d.reporting.fidelity import fidelity_html
from tim3d.reporting.section import Section
from tim3d.version import __version__

# Columns of deviations: name in the table, and whether it is shown in percent.
DEVIATIONS = {
    "phase_fraction": ("|Δφ|", False),
    "two_point": ("S2", False),
    "lineal_path": ("lineal path", False),
    "surface": ("surface", True),
    "slice_tortuosity": ("tortuosity", True),
    "histogram": ("grey values", False),
    "correlation": ("correlation", False),
    "step": ("step", True),
}
# From here on a quantile of 90 % lies between two values and not beyond the last but one.
FEWEST_FOR_P90 = 10
# States that --evaluate ends; any other states its cure itself.
TO_EVALUATE = ("not evaluated", "outdated")


def is_library(found: xr.Dataset) -> bool:
    """Whether a result was made by `tim3d.library`."""
    return found.attrs.get("kind") == "library"


def header(found: xr.Dataset) -> list[str]:
    """Columns of the table of a library."""
    return [
        *("generator", "phases", "licence", "volumes"),
        *(DEVIATIONS[name][0] for name in _shown(found)),
        *("goals", "state"),
    ]


def rows(found: xr.Dataset) -> list[list[str]]:
    """A row of texts for each generator, in the columns of `header`."""
    out = []
    for name in found["generator"].values:
        one = found.sel(generator=name)
        volumes, edge = float(one["volumes"]), float(one["edge"])
        reached = f"{float(one['reached']):.0f} of {float(one['judged']):.0f}"
        is_judged = math.isfinite(volumes)
        out.append(
            [
                str(name),
                _phases(one).replace(",", ", ") or "-",
                str(one["licence"].item()) or "-",
                f"{volumes:.0f} × {edge:.0f}³" if is_judged else "-",
                *(_deviation(one, quantity) for quantity in _shown(found)),
                reached if is_judged else "-",
                str(one["state"].item()),
            ]
        )
    return out


def _is_trained(found: xr.Dataset) -> np.ndarray:
    """Whether there is a generator yet: a licence is recorded with it."""
    return np.asarray(found["licence"].values != "")


def _phases(one: xr.Dataset) -> str:
    """Names and values of the phases; empty if its training is unfinished."""
    return str(one["phases"].item()) or ("grey values" if _is_trained(one) else "")


def _shown(found: xr.Dataset) -> list[str]:
    return [name for name in DEVIATIONS if f"{name}_deviation" in found]


def _deviation(one: xr.Dataset, name: str) -> str:
    value = float(one[f"{name}_deviation"])
    if not math.isfinite(value):
        return "-"
    return f"{100 * value:.1f} %" if DEVIATIONS[name][1] else f"{value:.4f}"


def says(found: xr.Dataset) -> Iterator[str]:
    """Sentences on the library as a whole, beside MicroLib's figures."""
    errors = _errors(found)
    count = int(_is_trained(found).sum())
    if not found.sizes["generator"]:
        command = f"tim3d library {shlex.quote(str(found.attrs['folder']))}"
        yield f"The library is empty. Train generators: {command} --train micrographs.csv. Or add one with --add."
        return
    yield f"{count} generator{'s' * (count != 1)}, {len(errors)} with labels that were judged."
    if len(errors):
        most = f"largest {errors.max():.4f}"
        if len(errors) >= FEWEST_FOR_P90:
            most = f"90 % quantile {np.quantile(errors, 0.9):.4f}, {most}"
        about = found.attrs
        yield f"|Δφ| of these: mean {errors.mean():.4f}, median {np.median(errors):.4f}, {most}."
        yield (
            f"MicroLib: mean {about['microlib_mean']:g}, median {about['microlib_median']:g}, 90 % quantile "
            f"{about['microlib_p90']:g}, largest {about['microlib_largest']:g}, of {about['microlib_generators']} "
            "generators of two phases, by 50 volumes of 512³ each, against images of its own."
        )


def _errors(found: xr.Dataset) -> np.ndarray:
    """Errors of the phase fraction that are known."""
    if "phase_fraction_deviation" not in found:
        return np.empty(0)
    values = found["phase_fraction_deviation"].values
    return np.asarray(values[np.isfinite(values)], np.float64)


def text(found: xr.Dataset) -> str:
    """The library as a plain table, with sentences below."""
    return "\n".join([*table.aligned([header(found), [], *rows(found)]), "", *says(found)])


def library_page(found: xr.Dataset, details: Mapping[str, xr.Dataset]) -> str:
    """The text of a self-contained HTML page: a row and a section for each generator.

    Parameters
    ----------
    found : xarray.Dataset
        What `tim3d.library` returns.
    details : mapping of str to xarray.Dataset
        Comparison of each generator that is judged, by name.
    """
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    title = "Library of generators"
    facts = [
        ("Folder", str(found.attrs["folder"])),
        ("Generators", str(_is_trained(found).sum())),
    ]
    every = (*("|Δφ|, S2, lineal path and surface are the mean of the volumes against the micrograph, the "
               "largest over slices and phases.",), *says(found))  # fmt: skip
    sections = [
        page.section(str(name), *_section(found, str(name), details.get(str(name))))
        for name in found["generator"].values
    ]
    return page.document(
        title,
        [
            page.head(title, __version__, now, facts),
            page.section(
                "Generators",
                page.table(header(found), rows(found), 3),
                *map(page.note, every),
            ),
            *sections,
            page.footer(__version__),
        ],
    )


def _section(found: xr.Dataset, name: str, detail: xr.Dataset | None) -> Iterator[str]:
    """Facts of a generator, its slices beside the micrograph, table and curves."""
    one = found.sel(generator=name)
    edges = " × ".join(f"{float(one[f'voxel_{axis}']):.5g}" for axis in "zyx")
    facts = [
        *([key, str(one[key].item())] for key in ("micrograph", "licence", "origin", "network")),
        ["phases in the image", _phases(one)],
        ["voxel (z, y, x)", f"{edges} nm" if np.isfinite(one["voxel_z"]) else ""],
        ["state", str(one["state"].item())],
        *_judged(one),
    ]
    yield page.table(["", name], [row for row in facts if row[1]], 2)
    if detail is not None:
        # All 3-D values are in the volumes' own reports; the facts above have some of them.
        yield fidelity_html(detail.drop_dims("result", errors="ignore"))
        return
    if str(one["state"].item()) not in TO_EVALUATE:
        return
    folder = shlex.quote(str(found.attrs["folder"]))
    yield Markup("{}{}").format(
        page.note("Not evaluated. Type:"), page.code(f"tim3d library {folder} --evaluate")
    )


def _judged(one: xr.Dataset) -> Iterator[list[str]]:
    """Seeds, 3-D values, and distances to the nearest part of the image."""
    if not math.isfinite(float(one["volumes"])):
        return
    first, count = int(one["seed"]), int(one["volumes"])
    yield ["seeds", f"{first} to {first + count - 1}" if count > 1 else str(first)]
    for key, values in one.data_vars.items():
        meaning = str(values.attrs.get("long_name", ""))
        if meaning.startswith(("3-D", "mean distance")) and np.isfinite(values):
            quantity, _, phase = str(key).partition(".")
            words, _, unit = meaning.rpartition(", share of the ")
            named = f"{words} ({quantity})" if words else f"{quantity} of {phase}, {meaning}"
            yield [
                named,
                f"{table.number(float(values))} {f'of the {unit}' if words else ''}".rstrip(),
            ]


LIBRARY = Section.of_shell("Library of generators", is_library, text)
