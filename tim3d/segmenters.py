"""Segmenters for `tim3d.segment`, and model files of one's own (docs/extend.md)."""

from tim3d.kernels.morphology.offset_votes import Voting
from tim3d.models.segmentation.bpartis import BPartIS
from tim3d.models.segmentation.local_threshold import LocalThreshold
from tim3d.models.segmentation.model_file import ModelFile, read_model, write_model
from tim3d.models.segmentation.segmenter import EXACT, Map, Segmenter
from tim3d.stages.segmentation.kinds import register

__all__ = [
    "EXACT",
    "BPartIS",
    "LocalThreshold",
    "Map",
    "ModelFile",
    "Segmenter",
    "Voting",
    "read_model",
    "register",
    "write_model",
]
