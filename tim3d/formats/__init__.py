"""Formats of exported files: each is a value in one file; `tim3d.formats.builtin` lists them."""
