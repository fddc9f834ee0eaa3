"""How many examples a law is tried with: few by default, a thousand in ``make slow``."""

from __future__ import annotations

import os

from hypothesis import settings

QUICK, THOROUGH = 25, 1000
settings.register_profile("quick", max_examples=QUICK, deadline=None)
settings.register_profile("thorough", max_examples=THOROUGH, deadline=None)
# Here and not by an option of pytest: what follows is decided when the tests are imported.
settings.load_profile(os.environ.get("TIM3D_EXAMPLES", "quick"))

# For a law whose every example writes a store or packs particles: a sixth of the others.
costly = settings(max_examples=settings().max_examples // 6)
