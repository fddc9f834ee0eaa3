"""Images of grey values and colours: what is read, how they are made smaller, and what is refused."""

from __future__ import annotations

import hashlib
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.micrographs import blobs, shades
from tim3d.errors import ArgumentError, InputError
from tim3d.phases import Phases
from tim3d.relating.section_images import grey_image
from tim3d.sources.grey_image import averaged, read_picture
from tim3d.sources.labelled_image import read_micrograph

GREY = shades(40)[:31]
RGB = np.stack([shades(40, 1.5, seed)[:31] for seed in range(3)], axis=-1)


def written(path: Path, pixels: np.ndarray) -> Path:
    if path.suffix == ".npy":
        np.save(path, pixels)
    elif path.suffix == ".png":
        Image.fromarray(pixels).save(path)
    else:
        tifffile.imwrite(path, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
    return path


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.npy"])
def test_every_format_gives_the_same(tmp_path, name):
    path = written(tmp_path / name, GREY)
    found = read_picture(path, pixel_size=(4, 2))
    assert np.array_equal(found.values, GREY[None])
    assert (found.shape, found.pixel_nm) == ((31, 40), (4.0, 2.0))
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    coloured = read_picture(written(tmp_path / f"rgb{name}", RGB))
    assert np.array_equal(coloured.values, np.moveaxis(RGB, 2, 0))
    assert (coloured.shape, coloured.pixel_nm) == ((31, 40), None)


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_colours_that_are_all_equal_are_grey(tmp_path, name):
    assert np.array_equal(
        read_picture(written(tmp_path / name, np.stack([GREY] * 3, axis=-1))).values, GREY[None]
    )


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_whole_numbers_up_to_255_may_be_of_any_type(tmp_path, dtype):
    assert np.array_equal(
        read_picture(written(tmp_path / "a.npy", GREY.astype(dtype))).values[0], GREY
    )


def test_the_pixel_size_of_the_file_grows_with_the_scale(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", GREY, imagej=True, resolution=(0.5, 0.25), metadata={"unit": "nm"}
    )
    assert read_picture(tmp_path / "a.tif", scale=3).pixel_nm == (12.0, 6.0)
    assert read_picture(tmp_path / "a.tif", pixel_size=1, scale=3).pixel_nm == (3.0, 3.0)


def test_a_smaller_image_has_the_means_of_squares_halves_up(tmp_path):
    found = read_picture(written(tmp_path / "a.png", RGB), scale=4).values
    squares = np.moveaxis(RGB, 2, 0)[:, :28].reshape(3, 7, 4, 10, 4).mean(axis=(2, 4))
    assert np.array_equal(found, np.floor(squares + 0.5))
    for scale in (0, 32, 1.5):
        with pytest.raises(ArgumentError, match="takes 1 to 31"):
            averaged(GREY[None], scale)


NOT_FINITE = np.where(GREY.max() == GREY, np.nan, GREY.astype(np.float32)).astype(np.float32)
FLAT_BLUE = RGB * np.array([1, 1, 0], np.uint8)
WRONG = [
    ("nan.npy", NOT_FINITE, "values that are NaN"),
    ("nan.tif", NOT_FINITE, "values that are NaN"),
    ("constant.png", np.full((9, 9), 7, np.uint8), "grey is 7 everywhere"),
    ("constant.png", np.full((9, 9, 3), 7, np.uint8), "grey is 7 everywhere"),
    ("blue.png", FLAT_BLUE, "blue is 0 everywhere"),
    (
        "deep.png",
        GREY.astype(np.uint16) * 200,
        r"uint16 values from \d+ to \d+; .*0 to 255.*same for every image",
    ),
    ("deep.tif", GREY.astype(np.uint16) + 200, "uint16 values from"),
    ("share.npy", GREY.astype(np.float32) / 255, "float32 values from"),
    ("below.npy", GREY.astype(np.float32) - 200, "float32 values from -"),
    (
        "labels.png",
        blobs(40) * 255,
        r"values 0, 255 only: it is labelled.*--phases NAME=0,NAME=255",
    ),
    ("alpha.png", np.dstack([RGB, GREY]), "4 channels"),
    ("deep.npy", RGB.astype(np.uint16), "3 channels of uint16"),
    ("stack.npy", np.stack([GREY] * 5), "has 3 axes"),
]


@pytest.mark.parametrize(("name", "pixels", "says"), WRONG)
def test_bad_images_are_refused(tmp_path, name, pixels, says):
    with pytest.raises(InputError, match=says):
        read_picture(written(tmp_path / name, pixels))


def test_numbers_of_a_palette_are_no_grey_values(tmp_path):
    image = Image.fromarray(RGB).quantize(32)
    image.save(tmp_path / "palette.png")
    with pytest.raises(InputError, match="palette"):
        read_picture(tmp_path / "palette.png")


def test_phases_are_no_colours_and_say_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r"3 channels.*Leave out --phases"):
        read_micrograph(written(tmp_path / "a.png", RGB), {"pore": 0, "solid": 255})
    with pytest.raises(InputError, match=r"leave out --phases"):
        read_micrograph(written(tmp_path / "b.png", GREY), {"pore": 0, "solid": 255})


def test_colours_are_refused_where_one_channel_is_compared(tmp_path):
    with pytest.raises(InputError, match="--field raw_red"):
        read_picture(written(tmp_path / "a.png", RGB), grey_only=True)


def test_an_image_that_is_one_grey_at_its_scale_is_refused(tmp_path):
    fine = np.indices((32, 32)).sum(axis=0) % 2 * 10 + np.arange(32) % 16
    path = written(tmp_path / "a.png", np.concatenate([fine, 25 - fine]).astype(np.uint8)[:, :32])
    with pytest.raises(InputError, match="at scale 32"):
        read_picture(path, scale=32)


@pytest.mark.parametrize(
    "size", [0, -1, math.inf, math.nan, (5, 0), (math.inf, 5), (5, math.nan), (5,), (5, 5, 5)]
)
@pytest.mark.parametrize("read", [read_picture, partial(read_micrograph, phases=Phases(a=0, b=1))])
def test_what_is_no_length_is_refused_as_a_pixel_size(tmp_path, read, size):
    with pytest.raises(ArgumentError, match="one positive length in nm, or two for y, x"):
        read(written(tmp_path / "a.png", GREY), pixel_size=size)


@pytest.mark.parametrize("size", [(4.0, 5.0), (5.0, 4.0), (6.2, 5.0), (5.0, 6.2), (2.5, 2.5)])
def test_an_image_of_larger_or_smaller_pixels_is_not_taken_for_a_section(tmp_path, size):
    """A network of 5 nm sees what is 5 nm, within a twentieth, along both axes."""
    path = written(tmp_path / "a.png", GREY)
    with pytest.raises(InputError, match="the network was trained on 5 x 5 nm"):
        grey_image(path, (5.0, 5.0), size)
    for near in ((5.0, 5.0), (5.2, 4.8)):
        assert np.array_equal(grey_image(path, (5.0, 5.0), near), GREY)
