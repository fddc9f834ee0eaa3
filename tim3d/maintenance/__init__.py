"""Checks and repairs of samples and machines."""
