"""Readers of slices and stacks: what a microscope writes, as one lazily read volume."""
