"""Samples as zarr groups: data model, reading, writing, integrity, removal."""
