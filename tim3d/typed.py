"""Types of arguments that the shell takes as one string, with their meaning and unit.

`tim3d.cli.readers` parses each type and has the messages about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from tim3d.grid import Triple

# Places.
Sources = str | Path | Sequence[str]  # a folder, a glob or files
Images = str | Path | Sequence[str | Path]  # one image, or three
Samples = Sequence[str]
SampleSlices = Mapping[str, slice]  # some slices of each; "" is the sample of the verb
ModelFiles = str | Path | Sequence[str | Path]  # one, or several with commas
Folder = str | Path
Folders = str | Path | Sequence[str | Path]  # one, or several with commas
Settings = Iterable[str]  # key=value, each with an option of its own
# Names.
Names = Sequence[str]
Losses = Sequence[str]  # each may have numbers: focal:gamma=3
CropChanges = Sequence[str]  # the same
Nodes = str | Sequence[str]  # of a sample; they may hold commas
Axes = str | Sequence[str]  # of z, y and x
Directions = Sequence[str]  # of +z, -z, +y, -y, +x and -x
Seeds = Sequence[str]  # a label field and one of its phases
ConditionValues = Mapping[str, str]  # of a network of diffusion; a class or a number, by name
Merges = Mapping[str, str]  # a class and the one that it counts as
Derivations = Mapping[str, str]  # a feature, and its formula with columns
Roles = Mapping[str, str]  # what a column is, and its name
QuantityName = str
FormatName = str
Steps = Sequence[Any]  # corrections, each a name with its parameters
CleaningSteps = Sequence[Any]  # of labels, in the same form
PromptWord = Any  # where prompts come from, with its parameters
MaskWord = Any  # what becomes of masks, with its limits
Pick = str | int  # a number from 0, or a name
# Voxels.
Shape = Triple  # of a volume
Edges = Triple  # of a block or shard
Window = tuple[int, ...]  # y, x; z, y, x of a network of volumes
SliceRange = slice
# Lengths in pixels.
PixelScales = Sequence[float]
VoxelRange = slice  # along one axis
PixelShift = tuple[float, float]  # y, x, a slice
SliceNumbers = Sequence[int]
Sizes = Sequence[int]  # edges of windows
VoxelLags = Sequence[int]
Channels = Sequence[int]
# Lengths in nm.
VoxelSize = Mapping[str, float]  # by axis
PartialVoxelSize = Mapping[str, float | None]  # the same; metadata may give the rest
PixelSize = float | Sequence[float]
Cell = Sequence[float]  # edges z, y, x
Correlations = float | Sequence[float]  # one, or z, y, x
Lengths = Sequence[float]
Range = slice
ByAxis = Mapping[str, float]  # some of z, y and x
# Numbers.
GreyValues = Sequence[float]
GreyLevels = Mapping[str, float]  # by phase
LookNumbers = Mapping[str, float]  # of rendered images, by name
Fractions = Mapping[str, float]  # of the volume, by phase
ClassWeights = Mapping[str, float]  # in a loss, by class
Densities = Mapping[str, float]  # in g cm-3, by phase
Histogram = Mapping[str, float]  # how many, by diameter in nm
Orientation = Sequence[float]  # weights of z, y, x
ByName = Mapping[str, float]  # numbers, lengths in nm as their names say
Targets = Mapping[str, float]  # of descriptors, by name
Conductivities = Mapping[str, float | Sequence[float]]  # by phase; one, or along z, y, x
ByPair = Mapping[str, float]  # conductance per area, by two phases
Contacts = float | Sequence[float]  # conductance per area; one, or of the low and the high face
Seconds = float
Minutes = float
Bytes = int  # written in GiB


def sequence_of(kind: str) -> Literal["texts", "numbers", "one or more numbers", ""]:
    """Return what an argument of a type is a sequence of; empty for others, and where one text may stand.

    >>> [sequence_of(kind) for kind in ("Names", "Sizes", "Window", "PixelSize", "Axes", "str")]
    ['texts', 'numbers', 'numbers', 'one or more numbers', '', '']
    """
    alias = globals().get(kind)
    inner = get_args(alias)
    if str in inner:
        return "texts" if alias in (Sequence[str], Iterable[str]) else ""
    if (
        alias in (Sequence[int], Sequence[float], Triple)
        or getattr(alias, "__origin__", None) is tuple
    ):
        return "numbers"
    return "one or more numbers" if Sequence[float] in inner else ""
