"""Steps of `tim3d.clean`, and what a step of one's own is made of (docs/extend.md)."""

from tim3d.stages.cleaning.balls import Closing, Majority, Opening
from tim3d.stages.cleaning.holes import Holes
from tim3d.stages.cleaning.islands import Floating, Islands
from tim3d.stages.cleaning.naming import Merge, Rename
from tim3d.stages.cleaning.steps import ComponentStep, LocalStep, Step

__all__ = [
    "Closing",
    "ComponentStep",
    "Floating",
    "Holes",
    "Islands",
    "LocalStep",
    "Majority",
    "Merge",
    "Opening",
    "Rename",
    "Step",
]
