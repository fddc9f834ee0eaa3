"""Probabilities, their calibration, and what they leave open of numbers."""
