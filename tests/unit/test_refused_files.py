"""Files whose headers contradict themselves or their voxels are refused by name, with what to do."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from tests import variants
from tests.variants import V, X, Y, Z, nrrd, replaced
from tim3d.errors import ArgumentError, InputError
from tim3d.sources import open_source
from tim3d.sources.axes import layout_by_name
from tim3d.sources.collection import images_in, listed_in
from tim3d.sources.image import read_pixels
from tim3d.sources.image_files import read_image
from tim3d.sources.table_rows import read_table

Writer = Callable[[Path], Any]


def header(file: Path, old: bytes, new: bytes) -> Path:
    """A file in which one line of the header says something else."""
    assert old in file.read_bytes(), file
    return replaced(file, old, new)


def changed(file: Path, at: int, packed: bytes) -> Path:
    """A file in which the bytes from `at` on are others."""
    data = bytearray(file.read_bytes())
    data[at : at + len(packed)] = packed
    file.write_bytes(bytes(data))
    return file


def described(file: Path, **attributes: Any) -> Path:
    """An array of N5 whose attributes say something else."""
    where = file / "setup" / "s0" / "attributes.json"
    where.write_text(json.dumps(json.loads(where.read_text()) | attributes))
    return file


def scaled(path: Path, scale: list[float]) -> Path:
    """An OME-Zarr image whose first level has other scales."""
    file = variants.ome_zarr(path)
    where = file / "zarr.json"
    held = json.loads(where.read_text())
    image = held["attributes"]["ome"]["multiscales"][0]
    image["datasets"][0]["coordinateTransformations"][0]["scale"] = scale
    where.write_text(json.dumps(held))
    return file


def turned(path: Path) -> Path:
    """A TIFF whose second page lies on its side."""
    with tifffile.TiffWriter(path / "a.tif") as file:
        for orientation in (1, 6):
            tag = (274, "H", 1, orientation, True)
            file.write(V[0], extratags=[tag], metadata=None, photometric="minisblack")
    return path / "a.tif"


def modulo(path: Path) -> Path:
    """An OME-TIFF that counts something else along its slices."""
    text = tifffile.tiffcomment(variants.ome(path, V, "ZYX")).replace("µm", "um")
    return remark(path, text.replace("</OME>", "<!-- ModuloAlongT --></OME>"))


def remark(path: Path, text: str) -> Path:
    """A TIFF of four pages with a description."""
    return variants.tiff(path, V, description=text, metadata=None)


ITK = ("SimpleITK",)
FILES: dict[str, tuple[str, Writer, tuple[str, ...]]] = {
    "Amira, coding": (
        "is coded as HxOther; save it as raw binary",
        lambda path: variants.amira(path, coding="(HxOther,9)"),
        (),
    ),
    "Amira, cut runs": (
        "is truncated: its voxels end at byte .* and it has",
        lambda path: variants.amira(path, coding="(HxByteRLE,9999)", payload=b"\5\1"),
        (),
    ),
    "MetaImage, text": (
        "holds text instead of binary numbers",
        lambda path: header(
            variants.itk(path, "a.mha"), b"BinaryData = True", b"BinaryData = False"
        ),
        ITK,
    ),
    "MetaImage, letters": (
        "holds MET_STRING; save binary numbers",
        lambda path: header(variants.itk(path, "a.mha"), b"MET_UCHAR", b"MET_STRING"),
        ITK,
    ),
    "MetaImage, voxels missing": (
        "names the file of voxels .*a.raw, which is not there",
        lambda path: (variants.itk(path, "a.mhd"), (path / "a.raw").unlink())[0],
        ITK,
    ),
    "MetaImage, larger than said": (
        "goes on to",
        lambda path: header(
            variants.itk(path, "a.mhd"),
            f"DimSize = {X} {Y} {Z}".encode(),
            f"DimSize = {X} {Y} 2".encode(),
        ),
        ITK,
    ),
    "MRC, slanted cell": (
        r"cell angles \[90.0, 80.0, 90.0\]; voxels of a volume are rectangular",
        lambda path: changed(variants.mrc(path, V.astype(np.float32)), 56, struct.pack("<f", 80)),
        ("mrcfile",),
    ),
    "MRC, volumes": (
        "holds 2 volumes; save the one you want",
        lambda path: variants.mrc(path, V.astype(np.float32), ispg=401, mz=2),
        ("mrcfile",),
    ),
    "MRC, axes": (
        r"numbers its axes \[1, 2, 1\]; expected 1, 2 and 3",
        lambda path: variants.mrc(path, V.astype(np.float32), maps=1, mapr=2, mapc=1),
        ("mrcfile",),
    ),
    "N5, damaged lengths": (
        "promises .* blocks; its attributes.json is damaged",
        lambda path: described(variants.n5(path, "raw"), dimensions=[10**6, 10**6, 10**6]),
        (),
    ),
    "NIfTI, colours": (
        "is in colour; save one grey value a voxel",
        lambda path: changed(variants.nifti(path), 70, struct.pack("<h", 128)),
        ("nibabel",),
    ),
    "NIfTI, voxels missing": (
        "has its voxels in .*a.img, which is not there",
        lambda path: (variants.nifti_pair(path), (path / "a.img").unlink())[0],
        ("nibabel",),
    ),
    "NRRD, quantised": (
        "holds quantised values",
        lambda path: header(nrrd(path, encoding="raw"), b"encoding:", b"old min: 0\nencoding:"),
        ("nrrd",),
    ),
    "NRRD, blocks": (
        "holds blocks of bytes, not numbers",
        lambda path: header(nrrd(path, encoding="raw"), b"type: uint8", b"type: block"),
        ("nrrd",),
    ),
    "NRRD, files of slices": (
        "keeps its slices in several files",
        lambda path: header(
            nrrd(path, name="a.nhdr", encoding="raw"),
            b"data file: a.raw",
            b"data file: s%02d.raw 0 3 1",
        ),
        ("nrrd",),
    ),
    "NRRD, colours": (
        "is in colour .rgb-color.; save one grey value a voxel",
        lambda path: nrrd(
            path, V[..., :3], encoding="raw", kinds=["RGB-color", "domain", "domain"]
        ),
        ("nrrd",),
    ),
    "OME-TIFF, ModuloAlong": (
        "counts something else along its planes as well .ModuloAlong.",
        modulo,
        (),
    ),
    "OME-Zarr, scales": ("has 2 scales for 3 axes", lambda path: scaled(path, [4.0, 5.0]), ()),
    "TIFF, orientation": ("page 1 has another orientation than page 0", turned, ()),
    "TIFF, ImageJ": (
        "says that it has 1 frames, 3 slices and 1 channels, and it has 4 images",
        lambda path: remark(path, "ImageJ=1.53\nimages=3\nslices=3\n"),
        (),
    ),
    "TIFF, axes": (
        "a page holds y and x",
        lambda path: remark(path, json.dumps({"shape": list(V.shape), "axes": "XYZ"})),
        (),
    ),
    "VTI, packing": (
        "is compressed with vtkOther; save it uncompressed",
        lambda path: header(
            variants.vti(path, compressor="zlib"), b"vtkZLibDataCompressor", b"vtkOther"
        ),
        ("vtk",),
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_refused_by_what_it_says(tmp_path: Path, name: str) -> None:
    text, write, needs = FILES[name]
    for package in needs:
        pytest.importorskip(package)
    file = write(tmp_path)
    with pytest.raises(InputError, match=text) as caught:
        open_source(file)
    assert file.name in str(caught.value)


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def lists(path: Path, text: str, name: str = "l.json", subset: str = "test") -> Any:
    """Lists of the images a and b, read from a file."""
    return listed_in({"a": path, "b": path}, written(path / name, text), subset)


def coco(path: Path, masks: int) -> Any:
    """A file of masks in one image of 2 by 2 pixels."""
    mask = {"image_id": 7, "segmentation": [[0, 0, 1, 0, 1, 1]]}
    image = {"id": 7, "height": 2, "width": 2}
    held = json.dumps({"images": [image], "annotations": [mask] * masks})
    return open_source(written(path / "m.json", held))


def sample(path: Path) -> Path:
    written(path / "zarr.json", "{}")
    return path


READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "a sample for images": (
        "is a sample, not a folder of single images",
        lambda path: images_in(sample(path)),
    ),
    "no folder": (
        "no folder .*; give a folder of single images",
        lambda path: images_in(path / "b"),
    ),
    "an image that is not there": (
        "lists c in 'test', and the folder has no",
        lambda path: lists(path, '{"test": ["a.tif", "c"]}'),
    ),
    "an image twice": (
        "lists a twice in 'test'",
        lambda path: lists(path, '{"test": ["a.tif", "a"]}'),
    ),
    "broken lists": ("is not a file of lists", lambda path: lists(path, "{")),
    "lists without a column": (
        "is not a file of lists",
        lambda path: lists(path, "name,group\na,test\n", "l.csv"),
    ),
    "no such list": (
        "has no list 'test'; at 'test' there are train",
        lambda path: lists(path, '{"train": []}'),
    ),
    "lists of lists": (
        "is not a list of names; write test/x",
        lambda path: lists(path, '{"test": {"x": ["a"]}}'),
    ),
    "too many masks": ("image 7 has 65536 masks, and 65535", lambda path: coco(path, 65536)),
    "a table that is no text": (
        "is not text in UTF-8. Save it",
        lambda path: read_table(written(path / "t.csv", b"\xff\xfe1"), "a table", []),
    ),
    "no table": (
        "no file .*: it should be a table of z",
        lambda path: read_table(path / "t.csv", "a table of z", []),
    ),
    "a column that is not there": (
        "has no column 'z'",
        lambda path: read_table(written(path / "t.csv", "y\n1\n"), "a table", ["z"]),
    ),
    "a column twice": (
        "has two columns 'z'",
        lambda path: read_table(written(path / "t.csv", "z,z\n1,2\n"), "a table", ["z"]),
    ),
    "a table without rows": (
        "has no row below its header",
        lambda path: read_table(written(path / "t.csv", "z\n"), "a table", ["z"]),
    ),
    "an open quote": (
        "close each quote",
        lambda path: read_table(written(path / "t.csv", 'z\n"1\n'), "a table", ["z"]),
    ),
    "a text as an image": (
        "is not an image; expected .tif",
        lambda path: read_image(written(path / "t.txt", "x")),
    ),
    "a text as a micrograph": (
        "is not a micrograph; expected .tif",
        lambda path: read_pixels(written(path / "t.txt", "x")),
    ),
    "no micrograph": ("no micrograph at", lambda path: read_pixels(path / "a.tif")),
    "pages as a micrograph": (
        "holds 4 pages; a micrograph is one image",
        lambda path: read_pixels(variants.tiff(path)),
    ),
    "a volume as a micrograph": (
        "has 3 axes",
        lambda path: read_pixels(variants.npy(path, np.zeros((2, 3, 5)))),
    ),
    "two channels as a micrograph": (
        "2 channels of uint8",
        lambda path: read_pixels(variants.npy(path, np.zeros((4, 3, 2), np.uint8))),
    ),
    "a name that no path has": ("cannot be a path", lambda path: open_source(path / ("a" * 5000))),
}


@pytest.mark.parametrize("name", READERS)
def test_what_is_read_beside_volumes_is_refused_alike(tmp_path: Path, name: str) -> None:
    text, read = READERS[name]
    with pytest.raises((InputError, ArgumentError), match=text):
        read(tmp_path)


@pytest.mark.parametrize(
    ("names", "shape", "text"),
    [
        ("zyy", (2, 3, 4), "every axis needs one name of its own"),
        ("zy", (2, 3, 4), "every axis needs one name of its own"),
        ("zyq", (2, 3, 4), "x is not among them"),
        ("qzyx", (5, 2, 3, 4), "5 volumes along q"),
    ],
)
def test_axes_are_those_of_one_volume(names: str, shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(InputError, match=text):
        layout_by_name(shape, names, "here")


def test_slices_that_change_after_they_were_opened_are_refused(tmp_path: Path) -> None:
    for z in range(3):
        tifffile.imwrite(tmp_path / f"{z}.tif", V[z])
    found = open_source(tmp_path)
    tifffile.imwrite(tmp_path / "1.tif", V[1, :5])
    with pytest.raises(InputError, match=r"1.tif is now \(5, 20\), it was \(18, 20\) when opened"):
        found.load(0, 3)
