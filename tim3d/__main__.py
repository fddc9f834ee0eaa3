"""Entry point of ``python -m tim3d``, the same as the command ``tim3d``."""

from tim3d.cli.main import program

program()
