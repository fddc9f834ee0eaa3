"""Imaging models: fitted to a stack, kept in a file that can be edited, and applied to labels."""
