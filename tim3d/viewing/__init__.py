"""Viewing a sample in a browser of this machine, through neuroglancer."""
