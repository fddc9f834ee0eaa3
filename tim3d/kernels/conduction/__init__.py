"""Conduction through a label volume: stencils, multigrid, the flux solver."""
