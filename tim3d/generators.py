"""Generators of volumes for `tim3d.generate`, and the parts of a new one (docs/extend.md)."""

from tim3d.grid import Box
from tim3d.kernels.generation.gaussian_field import GaussianField, LevelCuts
from tim3d.kernels.generation.generator import Generator, Grown, Numbered
from tim3d.kernels.generation.iterated import Iterated
from tim3d.kernels.generation.packing import HardCore, Overlapping, Packed
from tim3d.kernels.generation.particles import Grains, lognormal
from tim3d.kernels.generation.philox import Noise
from tim3d.kernels.generation.polycrystal import Polycrystal
from tim3d.kernels.generation.rough_contact import RoughContact
from tim3d.kernels.generation.rough_surface import RoughSurface
from tim3d.kernels.generation.spectral_field import SpectralField
from tim3d.kernels.generation.spinodal import Spinodal
from tim3d.kernels.generation.thermal_interface import (
    Delamination,
    ThermalInterface,
    Voids,
    squeezed_bond_line_nm,
)
from tim3d.stages.generation.diffusion import Diffusion
from tim3d.stages.generation.network import Network

__all__ = [
    "Box",
    "Delamination",
    "Diffusion",
    "GaussianField",
    "Generator",
    "Grains",
    "Grown",
    "HardCore",
    "Iterated",
    "LevelCuts",
    "Network",
    "Noise",
    "Numbered",
    "Overlapping",
    "Packed",
    "Polycrystal",
    "RoughContact",
    "RoughSurface",
    "SpectralField",
    "Spinodal",
    "ThermalInterface",
    "Voids",
    "lognormal",
    "squeezed_bond_line_nm",
]
