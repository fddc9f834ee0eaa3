"""How a promptable network wants its images: range, mean, size. A part of its file. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tim3d.errors import ArgumentError, CheckpointError

# Mean and deviation of ImageNet, of grey values from 0 to 1, for the three equal channels.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NAMES = ("sam", "medsam", "square")


@dataclass(frozen=True)
class Preprocessing:
    """Preparation of an image for a promptable network.

    Parameters
    ----------
    size : {"long side", "square"}
        Whether the long side is scaled to the network's edge and the rest filled with zeros, or
        both sides are, so that the aspect is lost.
    grey : {"range", "image"}
        Whether grey values from 0 to 1 are those of the stack's range, or of each image from its
        darkest to its brightest pixel.
    mean, std : (float, float, float)
        Subtracted and divided by, in each of the three equal channels.
    """

    size: Literal["long side", "square"] = "long side"
    grey: Literal["range", "image"] = "range"
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD

    def shape(self, shape: tuple[int, int], edge: int) -> tuple[int, int]:
        """Pixels (y, x) that the image fills of the square of the network.

        >>> Preprocessing().shape((512, 1024), 1024), Preprocessing("square").shape((512, 1024), 1024)
        ((512, 1024), (1024, 1024))
        """
        if self.size == "square":
            return edge, edge
        scale = edge / max(shape)
        return int(shape[0] * scale + 0.5), int(shape[1] * scale + 0.5)

    def description(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Inverse of `description`."""
        return cls(values["size"], values["grey"], tuple(values["mean"]), tuple(values["std"]))


SAM = Preprocessing()
MEDSAM = Preprocessing("square", "image", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
SQUARE = Preprocessing("square")


def preprocessing_of(
    family: str, named: str | None, processor: Mapping[str, Any], where: str
) -> Preprocessing:
    """Preprocessing that the user names, or that goes with a family of networks.

    Raises
    ------
    ArgumentError
        If there is none of this name.
    CheckpointError
        If the folder states one that is not known.
    """
    if named is not None:
        if named not in NAMES:
            raise ArgumentError(f"no preprocessing {named!r}; there are {', '.join(NAMES)}")
        return {"sam": SAM, "medsam": MEDSAM, "square": SQUARE}[named]
    usual = SAM if family in ("sam", "sam_hq") else SQUARE
    if not processor:
        return usual
    if processor.get("rescale_factor", 1 / 255) != 1 / 255 or not processor.get(
        "do_normalize", True
    ):
        raise CheckpointError(f"{where} prepares images in a way that is not known: {processor}")
    mean, std = (
        tuple(float(v) for v in processor.get(f"image_{name}", default))
        for name, default in (("mean", usual.mean), ("std", usual.std))
    )
    return Preprocessing(usual.size, usual.grey, mean, std)  # type: ignore[arg-type]
