"""``python -m tim3d`` is the command ``tim3d``."""

import sys

from tim3d.cli.main import main

sys.exit(main())
