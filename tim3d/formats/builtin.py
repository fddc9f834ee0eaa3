"""All built-in formats, and the one that a file's ending or a name stands for."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tim3d.errors import ArgumentError, MissingExtraError
from tim3d.formats.base import Format
from tim3d.formats.dense import MetaImage, Npy, Nrrd, RawMetaImage
from tim3d.formats.figures import Pdf, Png, Svg
from tim3d.formats.finite_elements import Abaqus, Gmsh, Nastran, Vtu
from tim3d.formats.hdf5 import Hdf5
from tim3d.formats.lines import Vtp
from tim3d.formats.surfaces import Obj, Ply, Stl
from tim3d.formats.tables import Csv, Json, Parquet
from tim3d.formats.tiff import ImageJTiff, OmeTiff, TiffStack
from tim3d.formats.vtk import Vti, VtkHdf
from tim3d.spelling import suggestion

VOLUMES = (
    TiffStack(),
    ImageJTiff(),
    OmeTiff(),
    RawMetaImage(),
    MetaImage(),
    Nrrd(),
    Npy(),
    Vti(),
    VtkHdf(),
    Hdf5(),
)
SURFACES = (Stl(), Ply(), Obj())
ELEMENTS = (Abaqus(), Gmsh(), Nastran(), Vtu())
LINES = (Vtp(),)
TABLES = (Csv(), Json(), Parquet())
FIGURES = (Png(), Svg(), Pdf())
FORMATS: dict[str, Format] = {
    one.name: one for one in (*VOLUMES, *SURFACES, *ELEMENTS, *LINES, *TABLES, *FIGURES)
}


def format_of(out: str | Path, wanted: str | Format | None = None) -> Format:
    """The format that is wanted, or that the ending of a file stands for.

    Raises
    ------
    ArgumentError
        If the ending is not known, or is that of another format.
    MissingExtraError
        If a package is not installed that the format needs.

    Examples
    --------
    >>> format_of("a.ome.tif").name, format_of("slices").name, format_of("slices", "tiff-stack").name
    ('ome-tiff', 'tiff-stack', 'tiff-stack')
    """
    found = wanted if isinstance(wanted, Format) else _named(out, wanted)
    refuse_missing(found)
    return found


def refuse_missing(one: Format) -> None:
    """Raise `MissingExtraError` if a package is not installed that a format needs."""
    for package in one.needs:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(
                f"{one.name} needs the package {package}. Type: pip install 'tim3d[export]'"
            )


def _named(out: str | Path, wanted: str | None) -> Format:
    return _by_ending(out) if wanted is None else _by_name(out, wanted)


def _by_ending(out: str | Path) -> Format:
    name = Path(out).name.lower()
    endings = {ending: one for one in FORMATS.values() for ending in one.suffixes or ("",)}
    fitting = [ending for ending in endings if ending and name.endswith(ending)]
    if not fitting and Path(name).suffix:
        known = ", ".join(sorted(filter(None, endings)))
        raise ArgumentError(
            f"{out}: no format has this ending. Endings are {known}; a folder of TIFF slices has none"
        )
    return endings[max(fitting, key=len, default="")]


def _by_name(out: str | Path, wanted: str) -> Format:
    if wanted not in FORMATS:
        raise ArgumentError(
            f"no format {wanted!r}{suggestion(wanted, FORMATS)}; there are {', '.join(FORMATS)}"
        )
    found = FORMATS[wanted]
    if found.suffixes and not str(out).lower().endswith(found.suffixes):
        raise ArgumentError(
            f"--format {wanted} writes {' or '.join(found.suffixes)}, and {out} has another ending"
        )
    return found
