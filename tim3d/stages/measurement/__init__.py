"""Descriptors from sums over blocks."""
