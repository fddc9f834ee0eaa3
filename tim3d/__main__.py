"""Entry point of ``python -m tim3d``, the same as the command ``tim3d``."""

import sys

from tim3d.cli.main import main

sys.exit(main())
