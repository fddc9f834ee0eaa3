"""Descriptors as values: partials that add up over blocks, and how to finalize them."""
