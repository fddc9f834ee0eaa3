"""Small files of many kinds, made by the libraries of the field, and what tim3d must make of each."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
import zarr
from PIL import Image

Z, Y, X = SHAPE = (4, 18, 20)
V = np.random.default_rng(3).integers(0, 200, SHAPE).astype(np.uint8)
W = (255 - V).astype(np.uint8)  # a second channel, time or scene
WIDE = V.astype(np.uint16) * 300
UNKNOWN = (None, None, None)
# Steps of a pyramid down and to the right: they differ, so that neither stands for the other.
LEVELS = ((1, 1), (3, 2))


@dataclass(frozen=True)
class Variant:
    """A file: its kind, what is special in it, who writes it, and what is read or said."""

    kind: str
    what: str
    by: str
    write: Callable[[Path], Any]
    options: dict[str, Any] = field(default_factory=dict)
    values: np.ndarray | None = None
    size: tuple[float | None, float | None, float | None] = UNKNOWN
    remark: str = ""
    refused: str = ""

    @property
    def typed(self) -> str:
        """The options as they are typed."""
        return " ".join(
            f"--{name.replace('_', '-')} {value}" for name, value in self.options.items()
        )

    @property
    def needs(self) -> list[str]:
        """Packages that are not always installed."""
        names = {"SimpleITK", "mrcfile", "nrrd", "nibabel", "vtk", "numcodecs", "imagecodecs"}
        return [one for one in names if one in self.by]

    @property
    def outcome(self) -> str:
        """What is read, for the table."""
        if self.refused:
            return "refused"
        assert self.values is not None
        sizes = ", ".join("?" if v is None else f"{v:g}" for v in self.size)
        shape = " x ".join(map(str, self.values.shape))
        said = "; said" if self.remark else ""
        return f"{shape} {self.values.dtype}, {sizes} nm{said}"


TABLE: list[Variant] = []


def variant(kind: str, what: str, by: str, **expected: Any) -> Callable[..., Callable[[Path], Any]]:
    """Add the decorated function, which writes the file and returns its path, to the table."""

    def add(write: Callable[[Path], Any]) -> Callable[[Path], Any]:
        TABLE.append(Variant(kind, what, by, write, **expected))
        return write

    return add


def tiff(path: Path, data: np.ndarray = V, **options: Any) -> Path:
    """A TIFF of one page a slice."""
    tifffile.imwrite(path / "a.tif", data, **({"photometric": "minisblack"} | options))
    return path / "a.tif"


def tagged(path: Path, tag: int, text: str, data: np.ndarray = V[0]) -> Path:
    """A TIFF with the private tag of a microscope."""
    return tiff(path, data, extratags=[(tag, "s", 0, text.encode("cp1252"), True)])


def in_jpeg(data: np.ndarray) -> np.ndarray:
    """What is left of slices that tifffile writes as JPEG."""
    if find_spec("imagecodecs") is None:
        return data
    held = io.BytesIO()
    tifffile.imwrite(held, data, photometric="minisblack", compression="jpeg")
    held.seek(0)
    return tifffile.imread(held)


# TIFF: codecs, depths, byte orders ------------------------------------------------------------

for codec in ("none", "zlib", "lzma", "packbits", "lzw", "zstd", "png", "jpeg2000", "lerc"):
    variant("TIFF", f"codec {codec}", "tifffile, imagecodecs", values=V,
            remark="may have changed" if codec in ("jpeg2000", "lerc") else "")(
        lambda path, codec=codec: tiff(path, compression=None if codec == "none" else codec)
    )  # fmt: skip
variant("TIFF", "codec jpeg", "tifffile, imagecodecs", values=in_jpeg(V), remark="lossy")(
    lambda path: tiff(path, compression="jpeg")
)
variant("TIFF", "LZW with horizontal predictor", "tifffile, imagecodecs", values=WIDE)(
    lambda path: tiff(path, WIDE, compression="lzw", predictor=True)
)
variant(
    "TIFF",
    "deflate with floating-point predictor",
    "tifffile, imagecodecs",
    values=V.astype(np.float32),
)(lambda path: tiff(path, V.astype(np.float32), compression="zlib", predictor=3))
variant("TIFF", "LZW", "PIL, imagecodecs", values=V)(lambda path: pil_pages(path, "tiff_lzw"))
variant("TIFF", "CCITT group 4, 1 bit", "PIL, imagecodecs", values=(V > 99).astype(np.uint8))(
    lambda path: pil_pages(path, "group4", bilevel=True)
)
variant("TIFF", "tiles of 16 x 16, big endian", "tifffile", values=WIDE)(
    lambda path: tiff(path, WIDE, tile=(16, 16), byteorder=">")
)
variant("TIFF", "BigTIFF, float32", "tifffile", values=V.astype(np.float32))(
    lambda path: tiff(path, V.astype(np.float32), bigtiff=True)
)
variant("TIFF", "12 bits packed", "tifffile, imagecodecs", values=(V.astype(np.uint16) * 16))(
    lambda path: packed_bits(path, V.astype(np.uint16) * 16, 12)
)
variant("TIFF", "4 bits packed", "tifffile, imagecodecs", values=V % 16)(
    lambda path: packed_bits(path, V % 16, 4)
)
variant("TIFF", "bits from the right (FillOrder 2)", "tifffile, imagecodecs", values=V)(
    lambda path: fill_order(path)
)
variant("TIFF", "int16, all 0 to 65535", "tifffile", values=WIDE // 4)(
    lambda path: tiff(path, (WIDE // 4).astype(np.int16))
)
variant("TIFF", "int16, some negative", "tifffile", refused="--convert shift, which adds 32768")(
    lambda path: tiff(path, V.astype(np.int16) - 5)
)
variant("TIFF", "int16, some negative", "tifffile", options={"convert": "shift"},
        values=V.astype(np.uint16) + 32763, remark="plus 32768")(
    lambda path: tiff(path, V.astype(np.int16) - 5)
)  # fmt: skip
variant("TIFF", "uint32 codes below 256", "tifffile", values=V)(
    lambda path: tiff(path, V.astype(np.uint32))
)
variant("TIFF", "float64 that is not float32", "tifffile", refused="--convert float32")(
    lambda path: tiff(path, V / 3.0)
)
variant("TIFF", "float64 that is not float32", "tifffile", options={"convert": "float32"},
        values=(V / 3.0).astype(np.float32))(
    lambda path: tiff(path, V / 3.0)
)  # fmt: skip
variant("TIFF", "float64 that is float32", "tifffile", values=(V / 4).astype(np.float32))(
    lambda path: tiff(path, V / 4.0)
)
variant("TIFF", "float16", "tifffile", values=V.astype(np.float32))(
    lambda path: tiff(path, V.astype(np.float16))
)
variant("TIFF", "complex64", "tifffile", refused="one real number a voxel")(
    lambda path: tiff(path, V.astype(np.complex64))
)

# TIFF: what the numbers mean ---------------------------------------------------------------------

variant("TIFF", "0 means white", "tifffile", values=V, remark="0 means white")(
    lambda path: tiff(path, photometric="miniswhite")
)
variant("TIFF", "palette in colour", "tifffile", values=V[:1], remark="numbers of the colours")(
    lambda path: tiff(
        path,
        V[0],
        photometric="palette",
        colormap=np.arange(768, dtype=np.uint16).reshape(3, 256) * 80,
    )
)
variant("TIFF", "palette from black to white", "tifffile", values=V[:1])(
    lambda path: tiff(
        path, V[0], photometric="palette", colormap=np.array([np.arange(256) * 257] * 3, np.uint16)
    )
)
for number, channel in enumerate(("red", "green", "blue")):
    # One of 256 greys is a colour: which of the channels differs does not matter.
    colours = np.array([np.arange(256) * 257] * 3, np.uint16)
    colours[number, 200] = 7
    variant(
        "TIFF",
        f"palette of greys and one {channel}",
        "tifffile",
        values=V[:1],
        remark="numbers of the colours",
    )(lambda path, colours=colours: tiff(path, V[0], photometric="palette", colormap=colours))
variant("TIFF", "colour", "tifffile", refused="3 channels.*mkdir grey")(
    lambda path: tiff(path, np.stack([V[0]] * 3, -1), photometric="rgb")
)
variant("TIFF", "colour mosaic (CFA)", "tifffile", refused="kind CFA")(
    lambda path: tiff(path, V[0], photometric="cfa")
)
variant("TIFF", "mask of transparency", "tifffile", refused="kind MASK")(
    lambda path: tiff(path, V[0], photometric="mask")
)
for number, turned in enumerate(
    [V, V[:, :, ::-1], V[:, ::-1, ::-1], V[:, ::-1], V.swapaxes(1, 2), V.swapaxes(1, 2)[:, :, ::-1],
     V.swapaxes(1, 2)[:, ::-1, ::-1], V.swapaxes(1, 2)[:, ::-1]], 1
):  # fmt: skip
    variant("TIFF", f"Orientation {number}", "tifffile", values=turned,
            remark="" if number == 1 else "turned upright")(
        lambda path, number=number: tiff(path, extratags=[(274, "H", 1, number, False)])
    )  # fmt: skip
variant("TIFF", "a thumbnail behind the slices", "tifffile", values=V)(
    lambda path: with_thumbnail(path)
)
variant("TIFF", "a page that is a volume", "tifffile", refused="a volume of 16 slices")(
    lambda path: tiff(path, np.zeros((16, 32, 32), np.uint8), volumetric=True, tile=(16, 16, 16))
)
variant("TIFF", "dots per inch", "tifffile", values=V[:1])(
    lambda path: tiff(path, V[0], resolution=(300, 300), resolutionunit="INCH")
)
variant("TIFF", "a TIFF named .dat", "tifffile", values=V)(
    lambda path: tiff(path).rename(path / "a.dat")
)
variant("TIFF", "a PNG named .tif", "PIL", values=V[:1])(
    lambda path: pil(path, V[0], "a.tif", "PNG")
)


variant("TIFF", "a value for missing data (GDAL_NODATA)", "tifffile", refused="names as missing data")(
    lambda path: tiff(path, extratags=[(42113, "s", 0, str(V[0, 0, 0]), True)])
)  # fmt: skip
variant("TIFF", "a value for missing data that does not occur", "tifffile", values=V)(
    lambda path: tiff(path, extratags=[(42113, "s", 0, "255", True)])
)  # fmt: skip


def pil_pages(path: Path, compression: str, bilevel: bool = False) -> Path:
    pages = [Image.fromarray(plane > 99 if bilevel else plane) for plane in V]
    pages[0].save(path / "a.tif", save_all=True, append_images=pages[1:], compression=compression)
    return path / "a.tif"


def packed_bits(path: Path, values: np.ndarray, bits: int) -> Path:
    """A TIFF whose pixels are packed, the highest bit first, each row from a byte on."""
    rows = values.reshape(-1, values.shape[-1]).astype(np.uint16)
    ones = (rows[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1
    packed = np.packbits(ones.reshape(len(rows), -1).astype(np.uint8), axis=1)
    pages = packed.reshape(len(values), -1)
    with tifffile.TiffWriter(path / "a.tif") as file:
        for page in pages:
            file.write(
                iter([page.tobytes()]), shape=values.shape[1:], dtype=values.dtype, bitspersample=bits,
                photometric="minisblack", compression="none", rowsperstrip=values.shape[1], metadata=None,
            )  # fmt: skip
    return path / "a.tif"


def fill_order(path: Path) -> Path:
    reverse = np.array([int(f"{i:08b}"[::-1], 2) for i in range(256)], np.uint8)
    # tifffile does not write this tag: CellLength is written in its place and renamed.
    found = tiff(path, reverse[V], extratags=[(265, "H", 1, 2, False)])
    content = found.read_bytes()
    found.write_bytes(
        content.replace(struct.pack("<HHI", 265, 3, 1), struct.pack("<HHI", 266, 3, 1))
    )
    return found


def with_thumbnail(path: Path) -> Path:
    with tifffile.TiffWriter(path / "a.tif") as file:
        file.write(V, photometric="minisblack")
        file.write(V[0, ::2, ::2], photometric="minisblack", subfiletype=1)
    return path / "a.tif"


# Microscopes -----------------------------------------------------------------------------------------

ZEISS, FEI, FIBICS = 34118, 34682, 51023


def zeiss(path: Path, *entries: str, data: np.ndarray = V[0]) -> Path:
    return tagged(path, ZEISS, "\r\n0\r\n" + "".join(f"{entry}\r\n" for entry in entries), data)


def wide(columns: int) -> np.ndarray:
    return np.zeros((columns * 3 // 4, columns), np.uint8)


REFERENCE = "AP_PIXEL_SIZE\r\nPixel Size = 5.000 nm"
WIDTH_NM = ("AP_WIDTH\r\nWidth = 5.120 µm", "AP_HEIGHT\r\nHeight = 3.840 µm")
for columns in (512, 1024, 2048):
    variant("Zeiss", f"AP_PIXEL_SIZE of an image {columns} wide", "tifffile", values=wide(columns)[None],
            size=(None, 10240 / columns, 10240 / columns))(
        lambda path, columns=columns: zeiss(path, "AP_PIXEL_SIZE\r\nPixel Size = 10.00 nm", data=wide(columns))
    )  # fmt: skip
    variant("Zeiss", f"AP_WIDTH of an image {columns} wide", "tifffile", values=wide(columns)[None],
            size=(None, 5120 / columns, 5120 / columns))(
        lambda path, columns=columns: zeiss(path, *WIDTH_NM, REFERENCE, data=wide(columns))
    )  # fmt: skip
variant(
    "Zeiss",
    "AP_IMAGE_PIXEL_SIZE and AP_FIB_SLICE_HEIGHT",
    "tifffile",
    values=V[:1],
    size=(20.0, 5.5, 5.5),
)(
    lambda path: zeiss(
        path,
        "AP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 5.500 nm",
        "AP_FIB_SLICE_HEIGHT\r\nSlice Height = 20.0 nm",
    )
)
variant("Zeiss", "cropped since (DP_IMAGE_STORE)", "tifffile", values=V[:1])(
    lambda path: zeiss(
        path,
        "DP_IMAGE_STORE\r\nStore resolution = 1024 * 768",
        "AP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 5.500 nm",
    )
)
variant("Zeiss", "width and height contradict each other", "tifffile", values=wide(512)[None])(
    lambda path: zeiss(path, WIDTH_NM[0], "AP_HEIGHT\r\nHeight = 5.120 µm", data=wide(512))
)
TILT = (
    "AP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 5.000 nm",
    "AP_TILT_ANGLE\r\nTilt Angle = 54.0 °",
)
variant("Zeiss", "tilted, correction on", "tifffile", values=V[:1], size=(None, 5.0, 5.0))(
    lambda path: zeiss(path, *TILT, "DP_TILT_CORRECTION\r\nTilt Corrn. = On")
)
variant("Zeiss", "tilted, correction off", "tifffile", values=V[:1], size=(None, None, 5.0))(
    lambda path: zeiss(path, *TILT, "DP_TILT_CORRECTION\r\nTilt Corrn. = Off")
)
variant(
    "Zeiss",
    "tilted, nothing said of correction",
    "tifffile",
    values=V[:1],
    size=(None, 5.0, 5.0),
    remark="do not say",
)(lambda path: zeiss(path, *TILT))


def fei(path: Path, *sections: str, data: np.ndarray = V[0]) -> Path:
    return tagged(path, FEI, "[User]\r\n" + "\r\n".join(sections) + "\r\n", data)


SCAN = "[Scan]\r\nPixelWidth=5e-009\r\nPixelHeight=4e-009"


def image_of(rows: int, columns: int) -> str:
    return f"[Image]\r\nResolutionX={columns}\r\nResolutionY={rows}"


variant("FEI", "no data bar", "tifffile", values=V[:1], size=(None, 4.0, 5.0))(
    lambda path: fei(path, SCAN, image_of(Y, X), "[PrivateFei]\r\nDatabarHeight=0")
)
variant(
    "FEI",
    "data bar of 5 rows",
    "tifffile",
    values=V[:1, :13],
    size=(None, 4.0, 5.0),
    remark="lowest 5 rows",
)(lambda path: fei(path, SCAN, image_of(13, X), "[PrivateFei]\r\nDatabarHeight=5"))
variant(
    "FEI",
    "a stack of files with data bars",
    "tifffile",
    values=V[:2, :13],
    size=(None, 4.0, 5.0),
    remark="lowest 5 rows",
)(lambda path: fei_stack(path))
variant("FEI", "data bar of another height than the tags tell", "tifffile", refused="data bar")(
    lambda path: fei(path, SCAN, image_of(13, X), "[PrivateFei]\r\nDatabarHeight=3")
)
variant("FEI", "a data bar higher than the image", "tifffile", refused="a data bar of 500")(
    lambda path: fei(path, SCAN, "[PrivateFei]\r\nDatabarHeight=500")
)
variant("FEI", "cropped since", "tifffile", values=V[:1])(
    lambda path: fei(path, SCAN, image_of(100, 200))
)
variant("FEI", "tilted, correction off", "tifffile", values=V[:1], size=(None, None, 5.0))(
    lambda path: fei(path, SCAN, "[EBeam]\r\nTiltCorrectionIsOn=no\r\nTiltCorrectionAngle=0.9076")
)
variant("Fibics", "scan vectors", "tifffile", values=V[:1], size=(None, 5.0, 4.0))(
    lambda path: tagged(
        path,
        FIBICS,
        "<Fibics><Scan><Ux>0.004</Ux><Uy>0</Uy><Vx>0</Vx><Vy>-0.005</Vy></Scan></Fibics>",
    )
)


def fei_stack(path: Path) -> Path:
    for z in range(2):
        fei(path, SCAN, image_of(13, X), "[PrivateFei]\r\nDatabarHeight=5", data=V[z]).rename(
            path / f"s{z}.tif"
        )
    return path


# ImageJ ---------------------------------------------------------------------------------------------------


def imagej(path: Path, data: np.ndarray, axes: str, **metadata: Any) -> Path:
    resolution = metadata.pop("resolution", (0.2, 0.25))
    tifffile.imwrite(
        path / "a.tif",
        data,
        imagej=True,
        resolution=resolution,
        metadata={"axes": axes, **metadata},
    )
    return path / "a.tif"


variant("ImageJ", "z spacing and unit", "tifffile", values=V, size=(10.0, 4.0, 5.0))(
    lambda path: imagej(path, V, "ZYX", unit="nm", spacing=10)
)
variant("ImageJ", "a unit for each axis", "tifffile", values=V, size=(20.0, 4000.0, 5.0))(
    lambda path: imagej(path, V, "ZYX", unit="nm", yunit="um", zunit="um", spacing=0.02)
)
variant("ImageJ", "pixels without a unit", "tifffile", values=V)(
    lambda path: imagej(path, V, "ZYX")
)
variant("ImageJ", "two channels", "tifffile", refused="holds 2 channels.*--channel 0")(
    lambda path: imagej(path, np.stack([V, W], 1), "ZCYX")
)
variant("ImageJ", "two channels", "tifffile", options={"channel": 1}, values=W)(
    lambda path: imagej(path, np.stack([V, W], 1), "ZCYX")
)
variant(
    "ImageJ",
    "two channels",
    "tifffile",
    options={"channel": 2},
    refused="has 2 channels, 0 to 1; --channel 2 is not there",
)(lambda path: imagej(path, np.stack([V, W], 1), "ZCYX"))
variant(
    "ImageJ", "two frames and two channels", "tifffile", options={"time": 1, "channel": 0}, values=W
)(lambda path: imagej(path, np.stack([np.stack([V, V], 1), np.stack([W, V], 1)]), "TZCYX"))
variant(
    "ImageJ", "int16 (calibrated by -32768)", "tifffile", values=WIDE, remark="int16 plus 32768"
)(lambda path: imagej(path, WIDE, "ZYX", cf=0, c0=-32768.0, c1=1.0))
variant(
    "ImageJ", "grey values calibrated by a line", "tifffile", refused="Analyze > Calibrate > None"
)(lambda path: imagej(path, V, "ZYX", cf=0, c0=-3.0, c1=0.5))


variant("ImageJ", "a folder of files with two channels each", "tifffile", options={"channel": 1}, values=W)(
    lambda path: folder_of_pairs(path)
)  # fmt: skip


def folder_of_pairs(path: Path) -> Path:
    for z in range(Z):
        imagej(path, np.stack([V[z], W[z]]), "CYX").rename(path / f"s{z}.tif")
    return path


# OME-TIFF --------------------------------------------------------------------------------------------------

PHYSICAL = {
    "PhysicalSizeX": 5,
    "PhysicalSizeXUnit": "nm",
    "PhysicalSizeY": 4,
    "PhysicalSizeYUnit": "nm",
}
PHYSICAL |= {"PhysicalSizeZ": 0.02, "PhysicalSizeZUnit": "µm"}


def ome(path: Path, data: np.ndarray, axes: str, **metadata: Any) -> Path:
    tifffile.imwrite(path / "a.ome.tif", data, ome=True, metadata={"axes": axes, **PHYSICAL, **metadata},
                     photometric="minisblack")  # fmt: skip
    return path / "a.ome.tif"


OME_SIZE = (20.0, 4.0, 5.0)
variant("OME-TIFF", "sizes in units", "tifffile", values=V, size=OME_SIZE)(
    lambda path: ome(path, V, "ZYX")
)
variant("OME-TIFF", "sizes in angstrom", "tifffile", values=V, size=(20.0, 4.0, 0.5))(
    lambda path: ome(path, V, "ZYX", PhysicalSizeXUnit="Å")
)
variant(
    "OME-TIFF",
    "two named channels",
    "tifffile",
    options={"channel": "ESB"},
    values=W,
    size=OME_SIZE,
)(lambda path: ome(path, np.stack([V, W]), "CZYX", Channel={"Name": ["SE2", "ESB"]}))
variant("OME-TIFF", "two named channels", "tifffile", refused="2 channels.*0 SE2, 1 ESB")(
    lambda path: ome(path, np.stack([V, W]), "CZYX", Channel={"Name": ["SE2", "ESB"]})
)
variant(
    "OME-TIFF", "channels inside z", "tifffile", options={"channel": 1}, values=W, size=OME_SIZE
)(lambda path: ome(path, np.stack([V, W], 1), "ZCYX"))
variant("OME-TIFF", "two times", "tifffile", options={"time": 1}, values=W, size=OME_SIZE)(
    lambda path: ome(path, np.stack([V, W]), "TZYX")
)
variant(
    "OME-TIFF", "two scenes", "tifffile", options={"scene": 1}, values=W, size=(30.0, None, None)
)(lambda path: ome_scenes(path))
variant("OME-TIFF", "two scenes", "tifffile", refused="holds 2 scenes")(
    lambda path: ome_scenes(path)
)
variant("OME-TIFF", "even positions of planes", "tifffile", values=V, size=OME_SIZE)(
    lambda path: ome_planes(path, [0, 0.02, 0.04, 0.06])
)
variant(
    "OME-TIFF",
    "positions that contradict PhysicalSizeZ",
    "tifffile",
    values=V,
    size=OME_SIZE,
    remark="positions are taken",
)(lambda path: ome_planes(path, [0, 0.03, 0.06, 0.09]))
variant(
    "OME-TIFF",
    "a level of a pyramid",
    "tifffile",
    options={"level": 1},
    values=V[:, ::3, ::2],
    size=(20.0, 12.0, 10.0),
)(lambda path: ome_pyramid(path))
variant("OME-TIFF", "slices in other files", "tifffile", refused="lie in other files")(
    lambda path: ome_elsewhere(path)
)
variant("OME-TIFF", "described in another file", "tifffile", refused="companion.ome")(
    lambda path: tiff(path, V, metadata=None, description=(
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><BinaryOnly MetadataFile="companion.ome" '
        'UUID="urn:uuid:0"/></OME>'))
)  # fmt: skip
variant("TIFF", "tifffile's own axes, two channels", "tifffile", options={"channel": 1}, values=W)(
    lambda path: tiff(path, np.stack([V, W]), metadata={"axes": "CZYX"})
)
variant("TIFF", "four axes without names", "tifffile", refused="2 x 4 planes")(
    lambda path: tiff(path, np.stack([V, W]))
)


def ome_scenes(path: Path) -> Path:
    with tifffile.TiffWriter(path / "a.ome.tif", ome=True) as file:
        file.write(V, photometric="minisblack", metadata={"axes": "ZYX"})
        file.write(
            W,
            photometric="minisblack",
            metadata={"axes": "ZYX", "PhysicalSizeZ": 30, "PhysicalSizeZUnit": "nm"},
        )
    return path / "a.ome.tif"


def ome_planes(path: Path, z_um: list[float]) -> Path:
    return ome(path, V, "ZYX", Plane={"PositionZ": z_um, "PositionZUnit": ["µm"] * Z})


def ome_pyramid(path: Path) -> Path:
    with tifffile.TiffWriter(path / "a.ome.tif", ome=True) as file:
        file.write(V, photometric="minisblack", subifds=1, metadata={"axes": "ZYX", **PHYSICAL})
        file.write(V[:, ::3, ::2], photometric="minisblack", subfiletype=1)
    return path / "a.ome.tif"


def ome_elsewhere(path: Path) -> Path:
    text = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1"><Image ID="Image:0"><Pixels '
        f'ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="{X}" SizeY="{Y}" SizeZ="4" SizeC="1" SizeT="1">'
    )
    for z in range(4):
        number, name = (1, "a.tif") if z < 2 else (2, "b.tif")
        text += f'<TiffData IFD="{z % 2}" FirstZ="{z}"><UUID FileName="{name}">urn:uuid:{number}</UUID></TiffData>'
    return tiff(path, V[:2], metadata=None, description=text + "</Pixels></Image></OME>")


# PNG, JPEG, BMP ----------------------------------------------------------------------------------------


def pil(path: Path, plane: Any, name: str, form: str | None = None, **options: Any) -> Path:
    image = plane if isinstance(plane, Image.Image) else Image.fromarray(plane)
    image.save(path / name, form, **options)
    return path / name


def palette(path: Path, name: str) -> Path:
    image = Image.fromarray(V[0] % 3).convert("L").convert("P")
    image.putdata((V[0] % 3).ravel().tolist())
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    return pil(path, image, name)


def through_pil(plane: np.ndarray, form: str, **options: Any) -> np.ndarray:
    held = io.BytesIO()
    Image.fromarray(plane).save(held, form, **options)
    return np.asarray(Image.open(held))[None]


def exif(orientation: int) -> bytes:
    held = Image.Exif()
    held[274] = orientation
    return held.tobytes()


variant("PNG", "8 bits", "PIL", values=V[:1])(lambda path: pil(path, V[0], "a.png"))
variant("PNG", "16 bits", "PIL", values=WIDE[:1])(lambda path: pil(path, WIDE[0], "a.png"))
variant("PNG", "1 bit", "PIL", values=(V[:1] > 99).astype(np.uint8))(
    lambda path: pil(path, V[0] > 99, "a.png")
)
variant("PNG", "palette", "PIL", values=V[:1] % 3, remark="numbers of the colours")(
    lambda path: palette(path, "a.png")
)
variant("PNG", "grey and opacity", "PIL", refused="2 channels.*mkdir grey")(
    lambda path: pil(path, Image.fromarray(V[0]).convert("LA"), "a.png")
)
variant("PNG", "a grey value that is transparent", "PIL", refused="transparent")(
    lambda path: pil(path, V[0], "a.png", transparency=7)
)
variant("PNG", "animation", "PIL", refused="several images")(
    lambda path: pil(path, V[0], "a.png", save_all=True, append_images=[Image.fromarray(V[1])])
)
variant("JPEG", "grey", "PIL", values=through_pil(V[0], "JPEG"), remark="lossy")(
    lambda path: pil(path, V[0], "a.jpg")
)
variant(
    "JPEG",
    "grey, turned (Exif)",
    "PIL",
    values=through_pil(V[0], "JPEG").swapaxes(1, 2)[:, :, ::-1],
    remark="lossy",
)(lambda path: pil(path, V[0], "a.jpg", exif=exif(6)))
variant("JPEG", "colour", "PIL", refused="3 channels.*mkdir grey")(
    lambda path: pil(path, np.stack([V[0]] * 3, -1), "a.jpg")
)
variant("JPEG", "previews beside TIFF", "PIL, tifffile", values=V[:1])(
    lambda path: pil(path, V[0], "a.jpg").parent if tiff(path, V[0]) else path
)
variant("BMP", "grey", "PIL", values=V[:1])(lambda path: pil(path, V[0], "a.bmp"))
variant("BMP", "palette", "PIL", values=V[:1] % 3, remark="numbers of the colours")(
    lambda path: palette(path, "a.bmp")
)

# npy, raw ----------------------------------------------------------------------------------------------------


def npy(path: Path, data: np.ndarray) -> Path:
    np.save(path / "a.npy", data)
    return path / "a.npy"


def raw(path: Path, name: str, *parts: bytes) -> Path:
    (path / name).write_bytes(b"".join(parts))
    return path / name


variant("npy", "Fortran order", "numpy", values=V)(lambda path: npy(path, np.asfortranarray(V)))
variant("npy", "two axes", "numpy", values=V[:1])(lambda path: npy(path, V[0]))
variant("npy", "big-endian uint16", "numpy", values=WIDE)(
    lambda path: npy(path, WIDE.astype(">u2"))
)
variant("npy", "bool", "numpy", values=(V > 99).astype(np.uint8))(lambda path: npy(path, V > 99))
variant("npy", "four axes", "numpy", refused="4 axes without names")(
    lambda path: npy(path, np.stack([V, W]))
)
variant("raw", "named .raw", "numpy", options={"shape": SHAPE, "dtype": ">u2"}, values=WIDE)(
    lambda path: raw(path, "a.raw", WIDE.astype(">u2").tobytes())
)
variant("raw", "without options", "numpy", refused="--shape 1000,1024,1024 --dtype uint8")(
    lambda path: raw(path, "a.raw", V.tobytes())
)

# MRC -----------------------------------------------------------------------------------------------------------


def mrc(
    path: Path, data: np.ndarray, voxel: tuple[float, float, float] = (50, 40, 200), **header: Any
) -> Path:
    import mrcfile

    with mrcfile.new(path / "a.mrc", overwrite=True) as file:
        file.set_data(data)
        file.voxel_size = voxel
        for name, value in header.items():
            setattr(file.header, name, value) if name != "stack" else file.set_image_stack()
    return path / "a.mrc"


def imod_bytes(path: Path) -> Path:
    found = mrc(path, V.view(np.int8))
    data = bytearray(found.read_bytes())
    data[152:160] = struct.pack("<ii", 1146047817, 0)
    found.write_bytes(bytes(data))
    return found


MRC_SIZE = (20.0, 4.0, 5.0)
variant("MRC", "float32", "mrcfile", values=V.astype(np.float32), size=MRC_SIZE)(
    lambda path: mrc(path, V.astype(np.float32))
)
variant("MRC", "uint16", "mrcfile", values=WIDE, size=MRC_SIZE)(lambda path: mrc(path, WIDE))
variant("MRC", "bytes without a sign (IMOD)", "mrcfile", values=V, size=MRC_SIZE)(imod_bytes)
variant(
    "MRC",
    "axes in another order",
    "mrcfile",
    values=V.transpose(2, 1, 0).astype(np.float32),
    size=(50.0, 4.0, 2.0),
)(lambda path: permuted_mrc(path))
variant("MRC", "a stack of images", "mrcfile", values=WIDE, size=(None, 4.0, 5.0))(
    lambda path: mrc(path, WIDE, stack=True)
)
variant("MRC", "1 angstrom", "mrcfile", values=WIDE)(lambda path: mrc(path, WIDE, (1, 1, 1)))
variant("MRC", "complex", "mrcfile", refused="complex float32; save it as")(
    lambda path: mrc(path, V.astype(np.complex64))
)
variant("MRC", "truncated", "mrcfile", refused="truncated")(
    lambda path: raw(path, "b.mrc", mrc(path, WIDE).read_bytes()[:-9])
)


def permuted_mrc(path: Path) -> Path:
    import mrcfile

    with mrcfile.new(path / "a.mrc", overwrite=True) as file:
        file.set_data(V.astype(np.float32))
        # Columns run along z of the cell, sections along x.
        file.header.mapc, file.header.mapr, file.header.maps = 3, 2, 1
        file.header.mx, file.header.my, file.header.mz = Z, Y, X
        file.header.cella.x, file.header.cella.y, file.header.cella.z = (
            20.0 * Z,
            40.0 * Y,
            500.0 * X,
        )
    return path / "a.mrc"


# NRRD ----------------------------------------------------------------------------------------------------------


def nrrd(path: Path, data: np.ndarray = V, name: str = "a.nrrd", **header: Any) -> Path:
    import nrrd as writer

    writer.write(str(path / name), data, header, index_order="C")
    return path / name


def nrrd_behind(path: Path) -> Path:
    """Voxels behind a head of another program, whose length the header does not know."""
    header = nrrd(path, WIDE, "a.nhdr", encoding="raw", **UNITS)
    voxels = (path / "a.raw").read_bytes()
    (path / "a.raw").write_bytes(b"head" * 5 + voxels)
    header.write_text(header.read_text().replace("encoding: raw", "encoding: raw\nbyte skip: -1"))
    return header


UNITS = {"spacings": [5, 4, 20], "units": ["nm", "nm", "nm"]}
for packing in ("raw", "gzip", "bzip2"):
    variant("NRRD", f"encoding {packing}", "nrrd", values=V, size=OME_SIZE)(
        lambda path, packing=packing: nrrd(path, encoding=packing, **UNITS)
    )
variant("NRRD", "detached header", "nrrd", values=WIDE, size=OME_SIZE)(
    lambda path: nrrd(path, WIDE, "a.nhdr", encoding="raw", **UNITS)
)
variant("NRRD", "detached header, voxels missing", "nrrd", refused="which is not there")(
    lambda path: (nrrd(path, WIDE, "a.nhdr", encoding="raw"), (path / "a.raw").unlink())[0]
)
variant(
    "NRRD", "detached header, voxels at the end of their file", "nrrd", values=WIDE, size=OME_SIZE
)(lambda path: nrrd_behind(path))
variant("NRRD", "space directions in mm (medical)", "nrrd", values=V, size=(2e7, 4e6, 5e6))(
    lambda path: nrrd(
        path, **{"space": "left-posterior-superior", "space directions": np.diag([5.0, 4.0, 20.0])}
    )
)
variant("NRRD", "space in two units of length", "nrrd", refused="measures its space in um and nm")(
    lambda path: nrrd(
        path,
        **{
            "space dimension": 3,
            "space directions": np.diag([5.0, 4.0, 0.02]),
            "space units": ["nm", "nm", "um"][::-1],
        },
    )
)
variant("NRRD", "spacings without a unit", "nrrd", values=V)(
    lambda path: nrrd(path, spacings=[5, 4, 20])
)
variant("NRRD", "axes that are not at right angles", "nrrd", refused="right angles")(
    lambda path: nrrd(
        path,
        **{
            "space dimension": 3,
            "space directions": np.array([[5.0, 0, 0], [3, 4, 0], [0, 0, 20]]),
        },
    )
)
variant("NRRD", "vectors", "nrrd", refused="holds 2 channels")(
    lambda path: nrrd(path, np.stack([V, W], -1), kinds=["vector", "domain", "domain", "domain"])
)
variant("NRRD", "vectors", "nrrd", options={"channel": 1}, values=W)(
    lambda path: nrrd(
        path, np.stack([V, W], -1), kinds=["vector", "domain", "domain", "domain"], encoding="gzip"
    )
)
variant("NRRD", "text", "nrrd", refused="encoding ascii")(lambda path: nrrd(path, encoding="ascii"))

# MetaImage, NIfTI -----------------------------------------------------------------------------------------


def itk(
    path: Path, name: str, data: np.ndarray = V, compress: bool = False, **options: Any
) -> Path:
    import SimpleITK

    image = SimpleITK.GetImageFromArray(data, **options)
    image.SetSpacing((5.0, 4.0, 20.0))
    SimpleITK.WriteImage(image, str(path / name), compress)
    return path / name


variant("MetaImage", ".mha", "SimpleITK", values=WIDE)(lambda path: itk(path, "a.mha", WIDE))
variant("MetaImage", ".mhd with .raw", "SimpleITK", values=V)(lambda path: itk(path, "a.mhd"))
variant("MetaImage", ".mha, compressed", "SimpleITK", values=WIDE)(
    lambda path: itk(path, "a.mha", WIDE, True)
)
variant("MetaImage", ".mhd with .zraw", "SimpleITK", values=WIDE)(
    lambda path: itk(path, "a.mhd", WIDE, True)
)
variant("MetaImage", "two channels", "SimpleITK", options={"channel": 1}, values=W)(
    lambda path: itk(path, "a.mha", np.stack([V, W], -1), isVector=True)
)
variant("MetaImage", "lengths in um", "SimpleITK", values=V, size=(20000.0, 4000.0, 5000.0))(
    lambda path: with_line(itk(path, "a.mha"), b"ElementDataFile", b"DistanceUnits = um\n")
)
variant("MetaImage", "slices in several files", "SimpleITK", refused="several files")(
    lambda path: replaced(
        itk(path, "a.mhd"), b"ElementDataFile = a.raw", b"ElementDataFile = s%02d.raw 0 3 1"
    )
)
variant("MetaImage", "int32, all 0 to 255", "SimpleITK", values=V)(
    lambda path: itk(path, "a.mha", V.astype(np.int32))
)


def with_line(path: Path, before: bytes, line: bytes) -> Path:
    return replaced(path, before, line + before)


def replaced(path: Path, old: bytes, new: bytes) -> Path:
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    return path


def nifti(
    path: Path, data: np.ndarray = V, name: str = "a.nii", unit: str = "micron", **scale: float
) -> Path:
    import nibabel

    image = nibabel.Nifti1Image(
        np.moveaxis(data, range(data.ndim), range(data.ndim)[::-1]), np.diag([5, 4, 20, 1.0])
    )
    if unit == "undefined":
        image.header["xyzt_units"] = 5
    else:
        image.header.set_xyzt_units(xyz=unit)
    if scale:
        image.header.set_slope_inter(scale["slope"], scale["inter"])
    nibabel.save(image, path / name)
    return path / name


NIFTI_SIZE = (20000.0, 4000.0, 5000.0)
variant("NIfTI", ".nii in micrometres", "nibabel", values=V, size=NIFTI_SIZE)(nifti)
variant("NIfTI", ".nii.gz", "nibabel", values=WIDE, size=NIFTI_SIZE)(
    lambda path: nifti(path, WIDE, "a.nii.gz")
)
variant("NIfTI", ".nii.gz", "SimpleITK", values=WIDE, size=(2e7, 4e6, 5e6))(
    lambda path: itk(path, "a.nii.gz", WIDE)
)
variant("NIfTI", "unit not given", "nibabel", values=V)(lambda path: nifti(path, unit="unknown"))
variant("NIfTI", "a unit that is not defined", "nibabel", values=V)(
    lambda path: nifti(path, unit="undefined")
)
variant(
    "NIfTI",
    "slope and intercept",
    "nibabel",
    values=(V * 0.5 + 3).astype(np.float32),
    size=NIFTI_SIZE,
)(lambda path: scaled_nifti(path))
variant("NIfTI", "two times", "nibabel", options={"time": 1}, values=W, size=NIFTI_SIZE)(
    lambda path: nifti(path, np.stack([V, W]))
)
variant("NIfTI", ".hdr with .img", "nibabel", values=V, size=NIFTI_SIZE)(
    lambda path: nifti_pair(path)
)


def scaled_nifti(path: Path) -> Path:
    found = nifti(path)
    data = bytearray(found.read_bytes())
    data[112:120] = struct.pack("<ff", 0.5, 3.0)
    found.write_bytes(bytes(data))
    return found


def nifti_pair(path: Path) -> Path:
    import nibabel

    image = nibabel.Nifti1Pair(np.moveaxis(V, (0, 1, 2), (2, 1, 0)), np.diag([5, 4, 20, 1.0]))
    image.header.set_xyzt_units(xyz="micron")
    nibabel.save(image, path / "a.hdr")
    return path / "a.hdr"


# VTK -----------------------------------------------------------------------------------------------------------------


def vti(path: Path, data: np.ndarray = V, mode: str = "appended", encode: bool = False, compressor: str = "",
        cells: bool = False, name: str = "a.vti") -> Path:  # fmt: skip
    from vtk.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkIOXML import vtkXMLImageDataWriter

    image = vtkImageData()
    image.SetDimensions(*(n + cells for n in data.shape[2::-1]))
    image.SetSpacing(5, 4, 20)
    array = numpy_to_vtk(data.reshape(-1), deep=True)
    array.SetName("grey")
    (image.GetCellData() if cells else image.GetPointData()).SetScalars(array)
    writer = vtkXMLImageDataWriter()
    writer.SetFileName(str(path / name))
    writer.SetInputData(image)
    {
        "appended": writer.SetDataModeToAppended,
        "binary": writer.SetDataModeToBinary,
        "ascii": writer.SetDataModeToAscii,
    }[mode]()
    writer.SetEncodeAppendedData(encode)
    writer.SetBlockSize(1024)
    {"": writer.SetCompressorTypeToNone, "zlib": writer.SetCompressorTypeToZLib, "lz4": writer.SetCompressorTypeToLZ4,
     "lzma": writer.SetCompressorTypeToLZMA}[compressor]()  # fmt: skip
    writer.Write()
    return path / name


for mode, encode, compressor in [
    ("appended", False, ""), ("appended", True, ""), ("appended", False, "zlib"), ("appended", True, "zlib"),
    ("appended", False, "lz4"), ("appended", False, "lzma"), ("binary", False, ""), ("binary", False, "zlib"),
    ("ascii", False, ""),
]:  # fmt: skip
    what = " ".join([mode, "base64" if encode else "", compressor or "plain"]).replace("  ", " ")
    variant("VTI", what, "vtk, imagecodecs" if compressor == "lz4" else "vtk", values=WIDE)(
        lambda path, mode=mode, encode=encode, compressor=compressor: vti(
            path, WIDE, mode, encode, compressor
        )
    )
variant("VTI", "cell data", "vtk", values=V)(lambda path: vti(path, cells=True))
variant("VTI", "an unstructured grid", "vtk", refused="Resample To Image")(
    lambda path: raw(path, "a.vtu", b'<VTKFile type="UnstructuredGrid" version="1.0">')
)


def vtkhdf(path: Path, data: np.ndarray = V, kind: bytes = b"ImageData") -> Path:
    with h5py.File(path / "a.vtkhdf", "w") as file:
        group = file.create_group("VTKHDF")
        group.attrs["Version"] = (2, 2)
        group.attrs.create("Type", kind, dtype=h5py.string_dtype("ascii", len(kind)))
        group.attrs["WholeExtent"] = (0, X - 1, 0, Y - 1, 0, Z - 1)
        group.attrs["Spacing"], group.attrs["Origin"] = (5.0, 4.0, 20.0), (0.0, 0.0, 0.0)
        group["PointData/grey"] = data
        group["PointData/other"] = 255 - data
    return path / "a.vtkhdf"


variant("VTK-HDF", "image data, one of two arrays", "h5py", options={"dataset": "other"}, values=W)(
    vtkhdf
)
variant("VTK-HDF", "two arrays", "h5py", refused="--dataset VTKHDF/PointData/grey")(vtkhdf)
variant("VTK-HDF", "an unstructured grid", "h5py", refused="Resample To Image")(
    lambda path: vtkhdf(path, kind=b"UnstructuredGrid")
)

# HDF5 and Imaris ---------------------------------------------------------------------------------------


def hdf5(path: Path, data: np.ndarray = V, name: str = "a.h5", **attributes: Any) -> Path:
    with h5py.File(path / name, "w") as file:
        file["v"] = data
        for key, value in attributes.items():
            file["v"].attrs[key] = value
    return path / name


def labelled(path: Path, data: np.ndarray, axes: str) -> Path:
    with h5py.File(path / "a.h5", "w") as file:
        file["v"] = data
        for dimension, name in zip(file["v"].dims, axes, strict=True):
            dimension.label = name
    return path / "a.h5"


def scaled(path: Path, data: np.ndarray, axes: str) -> Path:
    """Axes named by their scales alone, as netCDF does it."""
    with h5py.File(path / "a.nc", "w") as file:
        file["v"] = data
        for dimension, name in zip(file["v"].dims, axes, strict=True):
            file[name] = np.arange(data.shape["xzy".index(name)], dtype=np.float64)
            file[name].make_scale(name)
            dimension.attach_scale(file[name])
    return path / "a.nc"


def imaris(path: Path) -> Path:
    """The layout of Imaris, with voxels padded to whole chunks."""

    def letters(text: str) -> np.ndarray:
        return np.array([letter.encode() for letter in text], "S1")

    with h5py.File(path / "a.ims", "w") as file:
        image = file.create_group("DataSetInfo/Image")
        for i, (axis, n, length) in enumerate((("X", X, 5.0), ("Y", Y, 4.0), ("Z", Z, 20.0))):
            image.attrs[axis] = letters(str(n))
            image.attrs[f"ExtMin{i}"], image.attrs[f"ExtMax{i}"] = (
                letters("0"),
                letters(str(n * length)),
            )
        image.attrs["Unit"] = letters("nm")
        for level, (down, right) in enumerate(LEVELS):
            for channel, data in enumerate((V, W)):
                file.require_group(f"DataSetInfo/Channel {channel}").attrs["Name"] = letters(
                    ("SE", "BSE")[channel]
                )
                small = data[:, ::down, ::right]
                group = file.create_group(
                    f"DataSet/ResolutionLevel {level}/TimePoint 0/Channel {channel}"
                )
                for axis, n in zip("ZYX", small.shape, strict=True):
                    group.attrs[f"ImageSize{axis}"] = letters(str(n))
                group["Data"] = np.pad(small, ((0, 4), (0, 14), (0, 12)))
    return path / "a.ims"


variant("HDF5", "one volume", "h5py", values=V)(hdf5)
variant("HDF5", "dimension labels, two channels", "h5py", options={"channel": 1}, values=W)(
    lambda path: labelled(path, np.stack([V, W], -1).swapaxes(0, 2), "xyzc")
)
variant("HDF5", "dimensions x, z, y of netCDF", "h5py", values=V)(
    lambda path: scaled(path, V.transpose(2, 0, 1), "xzy")
)
variant("HDF5", "rows, columns and slices of MATLAB 7.3", "h5py", values=V, remark="rows are y")(
    lambda path: hdf5(path, V.transpose(0, 2, 1), "a.mat", MATLAB_class=np.bytes_("uint8"))
)
variant("HDF5", "element_size_um (Fiji)", "h5py", values=V, size=(20.0, 4.0, 5.0))(
    lambda path: hdf5(path, element_size_um=[0.02, 0.004, 0.005])
)
variant("HDF5", "scale_factor (netCDF)", "h5py", values=(V * 0.5 + 1).astype(np.float32))(
    lambda path: hdf5(path, scale_factor=0.5, add_offset=1.0)
)
variant("HDF5", "0 means white (HDF5 image)", "h5py", values=V, remark="0 means white")(
    lambda path: hdf5(path, IMAGE_WHITE_IS_ZERO=np.uint8(1))
)
variant("HDF5", "a value for missing data (_FillValue)", "h5py", refused="names as missing data")(
    lambda path: hdf5(path, _FillValue=V[1, 2, 3])
)  # fmt: skip
variant("Imaris", "two channels", "h5py", refused="2 channels.*0 SE, 1 BSE")(imaris)
variant("Imaris", "two channels", "h5py", options={"channel": "BSE"}, values=W, size=OME_SIZE)(
    imaris
)
variant(
    "Imaris",
    "a level",
    "h5py",
    options={"channel": 0, "level": 1},
    values=V[:, ::3, ::2],
    size=(20.0, 12.0, 10.0),
)(imaris)
IMARIS_PATH = "DataSet/ResolutionLevel 0/TimePoint 0/Channel 1/Data"
variant("Imaris", "a level by its path", "h5py", options={"dataset": IMARIS_PATH},
        values=W, size=OME_SIZE)(imaris)  # fmt: skip

# Zarr and N5 -------------------------------------------------------------------------------------------------


def ome_zarr(path: Path, data: np.ndarray = V, axes: str = "zyx", version: str = "0.5", unit: str = "nanometer",
             image: dict[str, Any] | None = None, **attributes: Any) -> Path:  # fmt: skip
    group = zarr.open_group(path / "a.zarr", mode="w", zarr_format=2 if version == "0.4" else 3)
    write_image(group, data, axes, version, unit, image or {}, attributes)
    return path / "a.zarr"


def write_image(
    group: Any,
    data: np.ndarray,
    axes: str,
    version: str,
    unit: str,
    image: dict[str, Any],
    attributes: dict[str, Any],
) -> None:
    lengths = {"z": 20.0, "y": 4.0, "x": 5.0}
    levels = []
    for level, (down, right) in enumerate(LEVELS):
        small = data[..., ::down, ::right]
        group.create_array(str(level), data=np.ascontiguousarray(small), chunks=small.shape)
        scale = [lengths.get(a, 1.0) * {"y": down, "x": right}.get(a, 1) for a in axes]
        steps = [
            {"type": "scale", "scale": scale},
            {"type": "translation", "translation": [0.5 * s for s in scale]},
        ]
        levels.append({"path": str(level), "coordinateTransformations": steps})
    named = [
        {"name": a, "type": "space", "unit": unit}
        if a in lengths
        else {"name": a, "type": "channel" if a == "c" else "time"}
        for a in axes
    ]
    held = {"multiscales": [{"axes": named, "datasets": levels, **image}], **attributes}
    group.attrs.update(held if version == "0.4" else {"ome": {"version": version, **held}})


LABELS = {"omero": {"channels": [{"label": "SE"}, {"label": "BSE"}]}}
for version in ("0.4", "0.5"):
    variant("OME-Zarr", f"{version}, full resolution", "zarr", values=V, size=OME_SIZE)(
        lambda path, version=version: ome_zarr(path, version=version)
    )
    variant(
        "OME-Zarr",
        f"{version}, one of two channels",
        "zarr",
        options={"channel": "bse"},
        values=W,
        size=OME_SIZE,
    )(
        lambda path, version=version: ome_zarr(
            path, np.stack([V, W])[None], "tczyx", version, **LABELS
        )
    )
variant(
    "OME-Zarr",
    "a level",
    "zarr",
    options={"level": 1},
    values=V[:, ::3, ::2],
    size=(20.0, 12.0, 10.0),
)(ome_zarr)
variant(
    "OME-Zarr", "a level that is not there", "zarr", options={"level": 7}, refused="has 2 levels"
)(ome_zarr)
variant("OME-Zarr", "scale of the whole image", "zarr", values=V, size=(40.0, 12.0, 20.0))(
    lambda path: ome_zarr(
        path, image={"coordinateTransformations": [{"type": "scale", "scale": [2.0, 3.0, 4.0]}]}
    )
)
variant("OME-Zarr", "an affine transformation", "zarr", refused="transformation 'affine'")(
    lambda path: ome_zarr(
        path, image={"coordinateTransformations": [{"type": "affine", "affine": []}]}
    )
)
variant("OME-Zarr", "axes without units", "zarr", values=V)(lambda path: ome_zarr(path, unit=""))
variant("OME-Zarr", "x, y, z", "zarr", values=V, size=OME_SIZE)(lambda path: ome_zarr_xyz(path))
variant(
    "OME-Zarr", "two scenes (bioformats2raw)", "zarr", options={"scene": 1}, values=W, size=OME_SIZE
)(lambda path: scenes(path))
variant("OME-Zarr", "two scenes (bioformats2raw)", "zarr", refused="holds 2 scenes")(
    lambda path: scenes(path)
)
variant("OME-Zarr", "labels beside the image", "zarr", values=V, size=OME_SIZE)(
    lambda path: with_labels(path)
)
variant(
    "OME-Zarr",
    "labels beside the image",
    "zarr",
    options={"dataset": "labels/cells"},
    values=W,
    size=OME_SIZE,
)(lambda path: with_labels(path))


def ome_zarr_xyz(path: Path) -> Path:
    group = zarr.open_group(path / "a.zarr", mode="w")
    group.create_array("0", data=np.ascontiguousarray(V.T), chunks=V.T.shape)
    axes = [{"name": a, "type": "space", "unit": "nanometer"} for a in "xyz"]
    steps = [{"type": "scale", "scale": [5.0, 4.0, 20.0]}]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    return path / "a.zarr"


def scenes(path: Path) -> Path:
    group = zarr.open_group(path / "a.zarr", mode="w", zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    for name, data in (("0", V), ("1", W)):
        write_image(group.create_group(name), data, "zyx", "0.4", "nanometer", {}, {})
    return path / "a.zarr"


def with_labels(path: Path) -> Path:
    found = ome_zarr(path)
    group = zarr.open_group(found, mode="a")
    write_image(
        group.create_group("labels/cells"), W, "zyx", "0.5", "nanometer", {}, {"image-label": {}}
    )
    return found


def n5(path: Path, codec: str, hole: bool = False, **attributes: Any) -> Path:
    """The layout of N5: blocks of 8 x 7 x 3 (x y z), big endian, named by x, y, z."""
    pack = {"raw": bytes, "gzip": gzip.compress, "zlib": zlib.compress}.get(codec)
    if pack is None:
        from numcodecs import get_codec

        pack = get_codec({"id": codec}).encode
    kind = {"type": "gzip", "useZlib": True} if codec == "zlib" else {"type": codec}
    held = {
        "dimensions": [X, Y, Z],
        "blockSize": [8, 7, 3],
        "dataType": "uint16",
        "compression": kind,
        **attributes,
    }
    folder = path / "a.n5" / "setup" / "s0"
    for x in range(0, X, 8):
        for y in range(0, Y, 7):
            for z in range(0, Z, 3):
                piece = WIDE[z : z + 3, y : y + 7, x : x + 8]
                block = folder / str(x // 8) / str(y // 7) / str(z // 3)
                block.parent.mkdir(parents=True, exist_ok=True)
                head = struct.pack(">HH3I", 0, 3, *piece.shape[::-1])
                block.write_bytes(head + pack(piece.astype(">u2").tobytes()))
    if hole:
        (folder / "0" / "0" / "0").unlink()
    (folder / "attributes.json").write_text(json.dumps(held))
    (path / "a.n5" / "attributes.json").write_text('{"n5": "2.5.1"}')
    return path / "a.n5"


N5_PIXEL = {"pixelResolution": {"dimensions": [5, 4, 20], "unit": "nm"}}
for codec in ("raw", "gzip", "zlib"):
    variant("N5", codec, "by hand", values=WIDE, size=OME_SIZE)(
        lambda path, codec=codec: n5(path, codec, **N5_PIXEL)
    )
for codec in ("blosc", "zstd"):
    variant("N5", codec, "by hand, numcodecs", values=WIDE)(
        lambda path, codec=codec: n5(path, codec)
    )
variant("N5", "axes named (COSEM)", "by hand", values=WIDE, size=OME_SIZE)(
    lambda path: n5(
        path, "raw", transform={"axes": ["z", "y", "x"], "scale": [20, 4, 5], "units": ["nm"] * 3}
    )
)
variant("N5", "a block that is not there", "by hand", refused="1 of 18 chunks are not there")(
    lambda path: n5(path, "raw", hole=True)
)
variant("N5", "lz4 in the blocks of Java", "by hand", refused="compressed with lz4")(
    lambda path: replaced(n5(path, "raw") / "setup/s0/attributes.json", b'"raw"', b'"lz4"').parents[
        2
    ]
)

# Amira, DigitalMicrograph --------------------------------------------------------------------------------


def amira(
    path: Path, item: str = "byte", coding: str = "", payload: bytes | None = None, more: str = ""
) -> Path:
    box = f"BoundingBox 0 {5 * (X - 1)} 0 {4 * (Y - 1)} 0 {20 * (Z - 1)}"
    head = (
        f"# AmiraMesh BINARY-LITTLE-ENDIAN 2.1\n\n\ndefine Lattice {X} {Y} {Z}\n\nParameters {{\n{more}    {box},\n"
        f'    CoordType "uniform"\n}}\n\nLattice {{ {item} Data }} @1{coding}\n\n# Data section follows\n@1\n'
    )
    return raw(path, "a.am", head.encode(), V.tobytes() if payload is None else payload, b"\n")


def run_lengths(data: bytes) -> bytes:
    """Runs of Amira: equal bytes as count and value, others as 128 + count and the bytes."""
    out, i = bytearray(), 0
    while i < len(data):
        run = 1
        while run < 127 and i + run < len(data) and data[i + run] == data[i]:
            run += 1
        if run > 1:
            out += bytes([run, data[i]])
        else:
            out += bytes([0x81, data[i]])
        i += run
    return bytes(out)


ROUGH = V // 100
NM = '    Units {\n        Coordinates "nm"\n    }\n'
variant("Amira", "bytes, in nm", "by hand", values=V, size=OME_SIZE)(
    lambda path: amira(path, more=NM)
)
variant("Amira", "bytes, no unit", "by hand", values=V)(amira)
variant("Amira", "run-length", "by hand", values=ROUGH, size=OME_SIZE)(
    lambda path: amira(
        path,
        coding=f"(HxByteRLE,{len(run_lengths(ROUGH.tobytes()))})",
        payload=run_lengths(ROUGH.tobytes()),
        more=NM,
    )
)
variant("Amira", "ushort, zlib", "by hand", values=WIDE)(
    lambda path: amira(
        path,
        "ushort",
        f"(HxZip,{len(zlib.compress(WIDE.tobytes()))})",
        zlib.compress(WIDE.tobytes()),
    )
)
variant("Amira", "text", "by hand", refused="is text")(
    lambda path: replaced(amira(path), b"BINARY-LITTLE-ENDIAN", b"3D ASCII")
)
variant("Amira", "vectors", "by hand", refused="one number a voxel")(
    lambda path: amira(path, "float[3]")
)


def dm(path: Path, version: int, data: np.ndarray = WIDE) -> Path:
    """The tree of tags of DigitalMicrograph, with a thumbnail in colour and the image."""
    word = ">i" if version == 3 else ">q"

    def number(n: int) -> bytes:
        return struct.pack(word, n)

    def tag(name: str, kind: int, body: bytes) -> bytes:
        size = struct.pack(">q", len(body)) if version == 4 else b""
        return struct.pack(">BH", kind, len(name)) + name.encode() + size + body

    def group(name: str, *tags: bytes) -> bytes:
        return tag(name, 20, b"\1\0" + number(len(tags)) + b"".join(tags))

    def value(name: str, kind: int, packed: bytes) -> bytes:
        return tag(name, 21, b"%%%%" + number(1) + number(kind) + packed)

    def array(name: str, kind: int, count: int, packed: bytes) -> bytes:
        return tag(
            name, 21, b"%%%%" + number(3) + number(20) + number(kind) + number(count) + packed
        )

    def image(data: np.ndarray, kind: int, letter: int) -> bytes:
        steps = [
            group("", value("Origin", 6, struct.pack("<f", 0)), value("Scale", 6, struct.pack("<f", length)),
                  array("Units", 4, 2, "nm".encode("utf-16-le")))
            for length in (5.0, 4.0, 20.0)
        ]  # fmt: skip
        sizes = [value("", 5, struct.pack("<I", n)) for n in data.shape[::-1]]
        calibrations = group("Calibrations", group("Dimension", *steps))
        content = array(
            "Data", letter, data.size, data.astype(data.dtype.newbyteorder("<")).tobytes()
        )
        held = group(
            "ImageData",
            calibrations,
            content,
            value("DataType", 5, struct.pack("<I", kind)),
            group("Dimensions", *sizes),
        )
        return group("", held)

    small = np.zeros((4, 4), np.int32)
    tags = group("ImageList", image(small, 23, 3), image(data, 10, 4))
    root = b"\1\0" + number(1) + tags
    head = struct.pack(">i", version) + number(len(root)) + struct.pack(">i", 1)
    return raw(path, f"a.dm{version}", head, root, bytes(8))


for dm_version in (3, 4):
    variant(
        "DigitalMicrograph",
        f"DM{dm_version} with a thumbnail",
        "by hand",
        values=WIDE,
        size=OME_SIZE,
    )(lambda path, dm_version=dm_version: dm(path, dm_version))

variant(
    "MetaImage",
    "the .raw instead of the .mhd",
    "SimpleITK",
    refused="belong to a.mhd: give that file",
)(lambda path: itk(path, "a.mhd").with_suffix(".raw"))
variant(
    "MRC",
    "raw voxels named .mrc",
    "numpy, mrcfile",
    refused="does not start like an MRC file.*--shape",
)(lambda path: raw(path, "a.mrc", V.tobytes()))
variant("raw", "empty", "by hand", refused="is empty")(lambda path: raw(path, "a.nrrd", b""))
variant("MetaImage", "a pattern of two volumes", "SimpleITK", refused="matches 2 volumes")(
    lambda path: (itk(path, "a.mha"), itk(path, "b.mha"), str(path / "*.mha"))[2]
)

# Not read ------------------------------------------------------------------------------------------------------------

for magic, name, said in [
    (b"ZISRAWFILE", "a.czi", "is Zeiss CZI.*bfconvert a.czi"),
    (b"\xd0\xcf\x11\xe0", "a.txm", "is OLE.*bfconvert a.txm"),
    (b"\0" * 128 + b"DICM", "a.dcm", "is DICOM.*dcm2niix a.dcm"),
    (b"# vtk DataFile Version 3.0", "a.vtk", "is VTK of the old form.*\\.vti"),
    (gzip.compress(V.tobytes()), "a.raw.gz", "is gzip.*gunzip -k a.raw.gz"),
    (b"PK\3\4", "a.zip", "is zip.*unzip a.zip"),
]:
    variant("not read", name, "by hand", refused=said)(
        lambda path, magic=magic, name=name: raw(path, name, magic + bytes(64))
    )


def rows(table: list[Variant] = TABLE) -> list[str]:
    """The table as lines of Markdown."""
    head = ["| format | file | written with | typed | read as |", "|---|---|---|---|---|"]
    return head + [
        f"| {v.kind} | {v.what} | {v.by} | {f'`{v.typed}`' if v.options else ''} | {v.outcome} |"
        for v in table
    ]


def main() -> None:
    """Write the table into the documentation."""
    page = Path(__file__).parents[1] / "docs" / "variants.md"
    head = page.read_text().split("| format |")[0]
    page.write_text(head + "\n".join(rows()) + "\n")


if __name__ == "__main__":
    main()
