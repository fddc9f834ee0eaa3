"""Diffusion by networks of bounded reach: networks, trainings, images."""
