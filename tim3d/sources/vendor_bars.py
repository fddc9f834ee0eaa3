"""Height of the data bar that a microscope added below the image, from its own tags."""

from __future__ import annotations

from pathlib import Path

from tifffile import TiffFile

from tim3d.errors import InputError
from tim3d.sources.metadata import section_of, tags_of


def data_bar(path: Path, tif: TiffFile, shape: tuple[int, ...]) -> int:
    """Rows at the bottom of an FEI / Thermo image that are its data bar.

    `[Image] ResolutionY` is the height of the image without the bar, and `[PrivateFei]
    DatabarHeight` that of the bar.

    Raises
    ------
    InputError
        If the bar is higher than the image.
    """
    tags = tags_of(tif.fei_metadata)
    rows, columns = shape[0], shape[1]
    image = section_of(tags, "Image")
    height, width = (_whole(image.get(f"Resolution{axis}")) for axis in "YX")
    bar = _whole(section_of(tags, "PrivateFei").get("DatabarHeight"))
    if bar >= rows:
        raise InputError(
            f"{path} has {rows} rows, and its tags state a data bar of {bar}: it was cropped since. Save it without "
            "these tags, for example in ImageJ"
        )
    if height and width and (rows - height, columns) not in ((0, width), (bar, width)):
        return _from_height(path, (rows, columns), (height, width), bar)
    return rows - height if height and width else bar


def _from_height(path: Path, seen: tuple[int, int], tagged: tuple[int, int], bar: int) -> int:
    """Rows below the height that the tags state; 0 if the image was cropped, which the calibration says."""
    below = seen[0] - tagged[0]
    if seen[1] == tagged[1] and below > 0 and not bar:
        return below
    if seen[1] == tagged[1] and below > 0:
        raise InputError(
            f"{path} has {seen[0]} rows; its tags state {tagged[0]} of the image and {bar} of the data bar. Cut off "
            "the bar yourself and save new files"
        )
    return 0


def _whole(value: object) -> int:
    good = isinstance(value, int | float) and not isinstance(value, bool)
    return max(int(value), 0) if good else 0  # type: ignore[call-overload]
