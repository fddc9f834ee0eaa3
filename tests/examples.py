"""How many examples a law is tried with: few by default, a thousand in ``make slow``.

A law takes the numbers from here: one of its own would hold for ``make slow`` too.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

QUICK, THOROUGH = 10, 1000
# How busy the machine is decides no test: neither deadlines nor the time that it takes to draw.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples in each run: what fails by default has been broken by the last change, and
# fails again. New examples are drawn in ``make slow``.
settings.register_profile("quick", UNTIMED, max_examples=QUICK, derandomize=True)
settings.register_profile("thorough", UNTIMED, max_examples=THOROUGH)
# Here and not by an option of pytest: what follows is decided when the tests are imported.
settings.load_profile(os.environ.get("TIM3D_EXAMPLES", "quick"))


def scaled(count: int) -> int:
    """As many trials of a law that draws its own as its examples would be: `count` by default."""
    return count * settings().max_examples // QUICK


# For a law whose every example writes a store or packs particles.
costly = settings(max_examples={QUICK: 3}.get(settings().max_examples, THOROUGH // 6))
