"""Schedules of the learning rate: its share of the highest one, by the share of the batches that are done.

References
----------
Loshchilov, Hutter (2017), arXiv:1608.03983 (cosine); Smith, Topin (2019), DOI 10.1117/12.2520589
(one-cycle).
"""

from __future__ import annotations

import math
from collections.abc import Callable

# Share of the batches in which one-cycle rises, and of the highest rate where it begins and ends.
RISE, FIRST, LAST = 0.3, 1 / 25, 1e-4


def cosine(done: float) -> float:
    """Falls to a hundredth along half a cosine.

    >>> cosine(0.0), round(cosine(0.5), 3), round(cosine(1.0), 3)
    (1.0, 0.505, 0.01)
    """
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


def one_cycle(done: float) -> float:
    """Rises from 1/25 along half a cosine in the first 30 % of the batches, then falls to 1/10000.

    >>> [round(one_cycle(done), 4) for done in (0.0, 0.3, 0.65, 1.0)]
    [0.04, 1.0, 0.5, 0.0001]
    """
    start, end, share = (
        (FIRST, 1.0, done / RISE) if done < RISE else (1.0, LAST, (done - RISE) / (1 - RISE))
    )
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))


def constant(done: float) -> float:
    """Stays.

    >>> constant(0.7)
    1.0
    """
    return 1.0


SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": cosine,
    "one-cycle": one_cycle,
    "constant": constant,
}
