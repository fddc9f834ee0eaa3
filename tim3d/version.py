"""The version of tim3d, recorded in every node that it writes."""

__version__ = "0.1.0"
