"""Conductivity and tortuosity factor from the flux solver."""
